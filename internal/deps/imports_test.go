package deps

import (
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// policyOf returns the policy for a package, nil if there is none.
func policyOf(dir string) *policy {
	for i := range policies {
		if covers(policies[i].dir, dir) {
			return &policies[i]
		}
	}
	return nil
}

// checkImports returns the imports of the files that no policy allows.
func checkImports(fset *token.FileSet, files []*file) (out []violation) {
	for _, f := range files {
		p := policyOf(f.dir)
		if p == nil {
			pos := fset.Position(f.ast.Package)
			out = append(out, violation{pos, fmt.Sprintf("package %s has no import policy", f.dir)})
			continue
		}
		f.imports(fset, func(pos token.Position, imp string) {
			if why := refuse(p, f.test(), imp); why != "" {
				out = append(out, violation{pos, fmt.Sprintf("package %s may not import %s: %s", f.dir, imp, why)})
			}
		})
	}
	return out
}

// refuse says why a file of a package may not import imp; "": it may.
func refuse(p *policy, test bool, imp string) string {
	dir, ours := own(imp)
	switch {
	case imp == "C":
		return "no cgo"
	case imp == "unsafe":
		return "no unsafe"
	case standard(imp):
		return ""
	case ours && test: // tests may use any package that the compiler lets them
		return ""
	case ours:
		if !slices.ContainsFunc(p.own, func(entry string) bool { return covers(entry, dir) }) {
			return "not in its policy"
		}
		return ""
	case within(p.modules, imp):
		return ""
	case test && within(slices.Collect(maps.Keys(reasons)), imp):
		return ""
	}
	return "third-party module not in its policy"
}

func tree(t *testing.T, mode parser.Mode) (*token.FileSet, []*file) {
	dir, err := moduleRoot()
	require.NoError(t, err)
	fset := token.NewFileSet()
	files, err := parseTree(fset, os.DirFS(dir), mode)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return fset, files
}

func report(t *testing.T, violations []violation) {
	for _, v := range violations {
		t.Error(v)
	}
}

func TestImports(t *testing.T) {
	fset, files := tree(t, parser.ImportsOnly)
	report(t, checkImports(fset, files))
}

// TestStandalone follows the imports that there are, not those allowed.
func TestStandalone(t *testing.T) {
	fset, files := tree(t, parser.ImportsOnly)
	for _, dir := range standalone {
		report(t, checkStandalone(fset, files, dir))
	}
}

// checkStandalone returns the imports of third-party modules by a package and
// all that it imports.
func checkStandalone(fset *token.FileSet, files []*file, dir string) (out []violation) {
	seen, queue := map[string]bool{dir: true}, []string{dir}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, f := range files {
			if f.dir != at || f.test() {
				continue
			}
			f.imports(fset, func(pos token.Position, imp string) {
				next, ours := own(imp)
				switch {
				case ours && !seen[next]:
					seen[next] = true
					queue = append(queue, next)
				case !ours && !standard(imp):
					out = append(out, violation{pos, fmt.Sprintf("%s, which is to stand alone, pulls in %s", dir, imp)})
				}
			})
		}
	}
	return out
}

// TestTable: the data contradicts neither itself nor the module.
func TestTable(t *testing.T) {
	used := map[string]bool{}
	for _, p := range policies {
		for _, m := range p.modules {
			used[m] = true
		}
	}
	for _, m := range slices.Sorted(maps.Keys(used)) {
		require.NotEmpty(t, reasons[m], "no reason given for %s", m)
	}
	_, files := tree(t, parser.ImportsOnly)
	dirs := map[string]bool{}
	for _, f := range files {
		dirs[f.dir] = true
	}
	for _, dir := range slices.Concat(standalone, coreDirs) {
		require.True(t, dirs[dir], "there is no package %s", dir)
	}
	names := map[string]bool{}
	for _, f := range files {
		names[f.dir+"/"+f.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(notCore)) {
		require.True(t, names[name], "there is no file %s", name)
	}
}

func TestTopLevel(t *testing.T) {
	dir, err := moduleRoot()
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "_test.go") || slices.Contains(topLevel, name) {
			continue
		}
		if slices.ContainsFunc(built, func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }) {
			continue
		}
		t.Errorf("%s: the top level is fixed", name)
	}
}
