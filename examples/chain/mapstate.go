package chain

// mapState is a key-value state in memory, for what has to be computed before
// there is a store: the genesis committees.
type mapState struct{ m map[string][]byte }

func newMapState() *mapState { return &mapState{map[string][]byte{}} }

func (s *mapState) Get(key []byte) ([]byte, bool, error) {
	v, ok := s.m[string(key)]
	return v, ok, nil
}

func (s *mapState) Set(key, value []byte) error {
	s.m[string(key)] = append([]byte(nil), value...)
	return nil
}

func (s *mapState) Delete(key []byte) error {
	delete(s.m, string(key))
	return nil
}
