package statesync

import "fmt"

// Refuse returns the answer of a node that does not serve what the request is
// about: a replica that is still syncing itself, or none at all. It tells the
// client to ask somebody else, rather than to wait.
func Refuse(request []byte) ([]byte, error) {
	q, err := decodeRequest(request)
	if err != nil {
		return nil, fmt.Errorf("statesync: request: %w", err)
	}
	return (&answer{kind: ansRefused, id: q.id, reason: refusedGone}).appendTo(nil), nil
}
