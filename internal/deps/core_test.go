package deps

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A core is a function of its inputs: what it does may not depend on clocks,
// chance, the order in which goroutines run or in which a map is walked, and it
// has no effects but those that it hands out.

// bannedImports of core files.
var bannedImports = map[string]string{
	"math/rand":    "a core has no source of chance",
	"math/rand/v2": "a core has no source of chance",
	"crypto/rand":  "a core has no source of chance",
	"log":          "a core does not log",
	"log/slog":     "a core does not log",
	"os":           "a core has no files",
	"net":          "a core has no network",
}

// bannedUses of functions and methods, by full name.
var bannedUses = map[string]string{
	"time.Now":                  "a core has no clock",
	"time.Since":                "a core has no clock",
	"time.Until":                "a core has no clock",
	"time.Sleep":                "a core does not wait",
	"time.After":                "a core does not wait",
	"time.AfterFunc":            "a core does not wait",
	"time.Tick":                 "a core does not wait",
	"time.NewTimer":             "a core does not wait",
	"time.NewTicker":            "a core does not wait",
	"(*sync.WaitGroup).Go":      "a core starts no goroutine",
	"(*sync.Map).Range":         "the order is by chance",
	"(*reflect.Value).MapRange": "the order is by chance",
}

// unordered are functions that walk a map in an order of chance; they may only
// be used as the direct argument of one of sorting.
var (
	unordered = []string{"maps.Keys", "maps.Values", "maps.All"}
	sorting   = []string{"slices.Sorted", "slices.SortedFunc", "slices.SortedStableFunc"}
)

// isCore reports whether a file has to keep the core rules.
func isCore(f *file) bool {
	return slices.Contains(coreDirs, f.dir) && !f.test() &&
		!strings.HasPrefix(f.name, "driver") && notCore[f.dir+"/"+f.name] == ""
}

// loader type-checks packages of the module from the parsed files, and those
// of the standard library from its source. Of third-party packages it knows
// nothing: what has their types is unknown.
type loader struct {
	fset     *token.FileSet
	files    []*file
	packages map[string]*types.Package
	info     *types.Info
}

// std imports packages of the standard library, each once.
var std = sync.OnceValue(func() types.Importer {
	build.Default.CgoEnabled = false // the importer would run cgo
	return importer.ForCompiler(token.NewFileSet(), "source", nil)
})

func newLoader(fset *token.FileSet, files []*file) *loader {
	return &loader{
		fset: fset, files: files,
		packages: map[string]*types.Package{},
		info: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{},
			Uses:  map[*ast.Ident]types.Object{},
		},
	}
}

// Import implements types.Importer.
func (l *loader) Import(importPath string) (*types.Package, error) {
	dir, ours := own(importPath)
	if ours {
		return l.load(dir), nil
	}
	if standard(importPath) {
		return std().Import(importPath)
	}
	if p := l.packages[importPath]; p != nil {
		return p, nil
	}
	p := types.NewPackage(importPath, path.Base(importPath))
	p.MarkComplete()
	l.packages[importPath] = p
	return p, nil
}

// load type-checks a package of the module, once. Errors are left to the
// compiler: here they only make types unknown.
func (l *loader) load(dir string) *types.Package {
	if p := l.packages[dir]; p != nil {
		return p
	}
	var syntax []*ast.File
	for _, f := range l.files {
		if f.dir == dir && !f.test() {
			syntax = append(syntax, f.ast)
		}
	}
	cfg := types.Config{Importer: l, Error: func(error) {}}
	p, _ := cfg.Check(module+"/"+dir, l.fset, syntax, l.info)
	l.packages[dir] = p
	return p
}

// checkCores returns the breaches of the core rules.
func checkCores(fset *token.FileSet, files []*file) (out []violation) {
	l := newLoader(fset, files)
	for _, f := range files {
		if isCore(f) {
			l.load(f.dir)
			out = append(out, l.checkFile(f)...)
		}
	}
	return out
}

func (l *loader) checkFile(f *file) (out []violation) {
	add := func(n ast.Node, format string, args ...any) {
		out = append(out, violation{l.fset.Position(n.Pos()), fmt.Sprintf(format, args...)})
	}
	for _, spec := range f.ast.Imports {
		p := strings.Trim(spec.Path.Value, `"`)
		if why := bannedImports[p]; why != "" {
			add(spec, "imports %s: %s", p, why)
		}
	}
	sorted := map[ast.Node]bool{} // arguments of sorting functions
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			add(n, "go statement: a core starts no goroutine")
		case *ast.SelectStmt:
			add(n, "select statement: a core does not wait")
		case *ast.RangeStmt:
			if why := l.badRange(n.X); why != "" {
				add(n, "%s", why)
			}
		case *ast.CallExpr:
			if slices.Contains(sorting, l.name(n.Fun)) {
				for _, arg := range n.Args {
					sorted[arg] = true
				}
			}
			if name := l.name(n.Fun); slices.Contains(unordered, name) && !sorted[n] {
				add(n, "%s outside of slices.Sorted: the order is by chance", name)
			}
		case *ast.Ident:
			if obj, ok := l.info.Uses[n].(*types.Func); ok {
				if why := bannedUses[obj.FullName()]; why != "" {
					add(n, "%s: %s", obj.FullName(), why)
				}
			}
		}
		return true
	})
	return out
}

// name returns the full name of a called function of another package, or "".
func (l *loader) name(fun ast.Expr) string {
	switch e := fun.(type) {
	case *ast.IndexExpr:
		return l.name(e.X)
	case *ast.IndexListExpr:
		return l.name(e.X)
	case *ast.SelectorExpr:
		if obj, ok := l.info.Uses[e.Sel].(*types.Func); ok && obj.Origin() != nil {
			return obj.Origin().FullName()
		}
	}
	return ""
}

// badRange says what is wrong with ranging over an expression; "": nothing.
func (l *loader) badRange(x ast.Expr) string {
	t := l.info.Types[x].Type
	if t == nil || t == types.Typ[types.Invalid] {
		return "range over what has a type that cannot be told here"
	}
	switch u := t.Underlying().(type) {
	case *types.Map:
		return "range over a map: the order is by chance"
	case *types.Interface: // a type parameter: one of its types may be a map
		for i := range u.NumEmbeddeds() {
			if hasMap(u.EmbeddedType(i)) {
				return "range over what may be a map: the order is by chance"
			}
		}
	}
	return ""
}

func hasMap(t types.Type) bool {
	if union, ok := t.(*types.Union); ok {
		for i := range union.Len() {
			if hasMap(union.Term(i).Type()) {
				return true
			}
		}
	}
	_, ok := t.Underlying().(*types.Map)
	return ok
}

func TestCores(t *testing.T) {
	fset, files := tree(t, parser.SkipObjectResolution)
	report(t, checkCores(fset, files))
	n := 0
	for _, f := range files {
		if isCore(f) {
			n++
		}
	}
	require.Greater(t, n, len(coreDirs))
}
