package reshard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

type param struct {
	key   string
	value int
}

// name writes a policy the way ParsePolicy reads it.
func name(kind string, minimum int, params ...param) string {
	if minimum > 1 {
		params = append(params, param{"min", minimum})
	}
	var b strings.Builder
	b.WriteString(kind)
	for i, p := range params {
		b.WriteByte(":,"[min(i, 1)])
		b.WriteString(p.key + "=" + strconv.Itoa(p.value))
	}
	return b.String()
}

// Policies lists the names that ParsePolicy knows.
func Policies() []string {
	return []string{"full", "cuckoo", "bounded", "commensal", "pooled", "gradual"}
}

// ParsePolicy reads a policy as Name writes it: "full", "full:min=4",
// "cuckoo:k=4,shift=2", "pooled:percent=20+redraw=8", "full+redraw=8/2".
// Parameters that are left out, or 0, have their defaults.
func ParsePolicy(s string) (Policy, error) {
	text, redraw, wrapped := strings.Cut(s, "+redraw=")
	kind, rest, more := strings.Cut(text, ":")
	values, err := parseParams(rest, more)
	if err != nil {
		return nil, fmt.Errorf("reshard: policy %q: %w", s, err)
	}
	get := func(key string) int {
		i := slices.IndexFunc(values, func(v param) bool { return v.key == key })
		if i < 0 {
			return 0
		}
		v := values[i].value
		values = slices.Delete(values, i, i+1)
		return v
	}
	p := newPolicy(kind, get)
	if p == nil {
		return nil, fmt.Errorf("reshard: policy %q: want one of %s", s, strings.Join(Policies(), ", "))
	}
	if len(values) > 0 {
		return nil, fmt.Errorf("reshard: policy %q: parameter %q", s, values[0].key)
	}
	if !wrapped {
		return p, nil
	}
	tries, units, limited := strings.Cut(redraw, "/")
	n, err := strconv.ParseUint(tries, 10, 16)
	m, err2 := strconv.ParseUint(units, 10, 24)
	if err != nil || n == 0 || limited && (err2 != nil || m == 0) {
		return nil, fmt.Errorf("reshard: policy %q: redraws %q", s, redraw)
	}
	return Redraw{p, int(n), int(m)}, nil
}

func newPolicy(kind string, get func(key string) int) Policy {
	switch kind {
	case "full":
		return Full{Min: get("min")}
	case "cuckoo":
		return Cuckoo{K: get("k"), Shift: get("shift"), Min: get("min")}
	case "bounded":
		return Bounded{K: get("k"), Percent: get("percent"), Min: get("min")}
	case "commensal":
		return Commensal{K: get("k"), Min: get("min")}
	case "pooled":
		return Pooled{Percent: get("percent"), Min: get("min")}
	case "gradual":
		return Gradual{Percent: get("percent"), Min: get("min")}
	}
	return nil
}

func parseParams(s string, any bool) ([]param, error) {
	if !any {
		return nil, nil
	}
	var out []param
	for part := range strings.SplitSeq(s, ",") {
		key, text, ok := strings.Cut(part, "=")
		v, err := strconv.ParseUint(text, 10, 24)
		if !ok || err != nil {
			return nil, fmt.Errorf("parameter %q, want key=number", part)
		}
		if slices.ContainsFunc(out, func(p param) bool { return p.key == key }) {
			return nil, fmt.Errorf("parameter %q twice", key)
		}
		out = append(out, param{key, int(v)})
	}
	return out, nil
}
