package deps

import (
	"fmt"
	"go/parser"
	"go/token"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// The checkers themselves, on snippets that break the rules one at a time.

func snippet(t *testing.T, files map[string]string) (*token.FileSet, []*file) {
	fsys := fstest.MapFS{}
	for name, src := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(src)}
	}
	fset := token.NewFileSet()
	parsed, err := parseTree(fset, fsys, parser.SkipObjectResolution)
	require.NoError(t, err)
	return fset, parsed
}

func TestImportChecker(t *testing.T) {
	for _, c := range []struct{ name, imp, want string }{
		{"xshard/a.go", "fmt", ""},
		{"xshard/a.go", module, ""},
		{"xshard/a.go", module + "/internal/wire", ""},
		{"xshard/a.go", module + "/fbft", "xshard/a.go:3: package xshard may not import " + module + "/fbft: not in its policy"},
		{"xshard/a_test.go", module + "/fbft", ""},
		{"xshard/a_test.go", testify + "/require", ""},
		{"xshard/a.go", testify + "/require", "third-party module not in its policy"},
		{"xshard/a_test.go", "example.com/x", "third-party module not in its policy"},
		{"xshard/a.go", "C", "no cgo"},
		{"xshard/a_test.go", "unsafe", "no unsafe"},
		{"xshard/internal/a.go", "fmt", "package xshard/internal has no import policy"},
		{"a.go", module + "/internal/wire", "package . may not import"},
		{"erasure/a.go", reedsolomon, ""},
		{"erasure/a.go", reedsolomon + "x", "third-party module not in its policy"},
		{"examples/chain/light/a.go", module + "/ledger", ""},
		{"examples/chain/a.go", module + "/internal/merkle", "not in its policy"},
		{"examples/chain/a.go", pebble, "third-party module not in its policy"},
		{"xshard/testdata/a.go", "C", ""},
		{"xshard/_a.go", "C", ""},
		{".git/a.go", "C", ""},
	} {
		fset, files := snippet(t, map[string]string{c.name: fmt.Sprintf("package p\n\nimport %q\n", c.imp)})
		got := checkImports(fset, files)
		if c.want == "" {
			require.Empty(t, got, "%s in %s", c.imp, c.name)
			continue
		}
		require.Len(t, got, 1, "%s in %s", c.imp, c.name)
		require.Contains(t, got[0].String(), c.want)
	}
}

func TestStandaloneChecker(t *testing.T) {
	fset, files := snippet(t, map[string]string{
		"doc.go":             "package shardkit",
		"xshard/a.go":        "package xshard\nimport _ \"" + module + "/internal/wire\"",
		"xshard/a_test.go":   "package xshard\nimport _ \"" + testify + "\"",
		"internal/wire/a.go": "package wire\nimport _ \"example.com/deep\"",
	})
	got := checkStandalone(fset, files, "xshard")
	require.Len(t, got, 1)
	require.Equal(t, "internal/wire/a.go:2: xshard, which is to stand alone, pulls in example.com/deep", got[0].String())
}

func TestCoreChecker(t *testing.T) {
	const types = "package xshard\ntype set map[int]bool\ntype box struct{ in set; list []int }\nfunc (b box) all() set { return b.in }\n"
	for _, c := range []struct{ imports, body, want string }{
		{"", "go func() {}()", "go statement"},
		{"", "select {}", "select statement"},
		{"", "for range map[int]int{} {}", "range over a map"},
		{"", "for range b.in {}", "range over a map"},
		{"", "for range b.all() {}", "range over a map"},
		{"", "m := b.in; for k := range m { _ = k }", "range over a map"},
		{"", "for range b.list {}", ""},
		{"", "for range 10 {}", ""},
		{"", "for range \"text\" {}", ""},
		{"", "for range func(func() bool) {} {}", ""},
		{"", "for range unknown {}", "cannot be told"},
		{"example.com/x", "for range x.F() {}", "cannot be told"},
		{"time", "_ = time.Now()", "time.Now: a core has no clock"},
		{"time", "f := time.Since; _ = f", "time.Since"},
		{"time", "var d time.Duration; _ = d", ""},
		{"math/rand/v2", "_ = rand.Int()", "imports math/rand/v2"},
		{"crypto/rand", "_ = rand.Text()", "imports crypto/rand"},
		{"log/slog", "slog.Info(\"x\")", "imports log/slog"},
		{"sync", "var wg sync.WaitGroup; wg.Go(func() {})", "starts no goroutine"},
		{"maps", "for range maps.Keys(b.in) {}", "maps.Keys outside of slices.Sorted"},
		{"maps", "f := maps.Values(b.in); _ = f", "maps.Values outside"},
		{"maps\"; import \"slices", "for range slices.Sorted(maps.Keys(b.in)) {}", ""},
		{"maps\"; import \"slices", "for range slices.Collect(maps.Keys(b.in)) {}", "maps.Keys outside"},
	} {
		src := "package xshard\n"
		if c.imports != "" {
			src += fmt.Sprintf("import \"%s\"\n", c.imports)
		}
		src += "func f(b box) {\n" + c.body + "\n}\n"
		files := map[string]string{"xshard/a.go": src, "xshard/types.go": types}
		got := checkCores(snippet(t, files))
		if c.want == "" {
			require.Empty(t, got, c.body)
			continue
		}
		require.Len(t, got, 1, c.body)
		require.Contains(t, got[0].String(), c.want)
		require.Contains(t, got[0].String(), "xshard/a.go:")

		// The same is allowed in a driver, a test, and a package without a core.
		for _, name := range []string{"xshard/driver_x.go", "xshard/a_test.go", "ledger/a.go"} {
			require.Empty(t, checkCores(snippet(t, map[string]string{name: src, "xshard/types.go": types})), name)
		}
	}
}

// TestGenericRange: a map behind a type parameter, and one of another package.
func TestGenericRange(t *testing.T) {
	got := checkCores(snippet(t, map[string]string{
		"doc.go":           "package shardkit\ntype Set map[int]bool",
		"xshard/a.go":      "package xshard\nimport \"" + module + "\"\nfunc f[M ~map[int]bool](m M, s shardkit.Set) {\nfor range m {}\nfor range s {}\n}\nfunc g[S ~[]int](s S) { for range s {} }",
		"xshard/driver.go": "package xshard\nfunc h() { go h() }",
	}))
	require.Len(t, got, 2)
	require.Equal(t, "xshard/a.go:4: range over what may be a map: the order is by chance", got[0].String())
	require.Equal(t, "xshard/a.go:5: range over a map: the order is by chance", got[1].String())
}

func TestCovers(t *testing.T) {
	require.True(t, covers("a", "a"))
	require.True(t, covers("a/...", "a/b/c"))
	require.False(t, covers("a/...", "a"))
	require.False(t, covers("a/...", "ab"))
	require.False(t, covers("a", "a/b"))
}
