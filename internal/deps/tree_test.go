package deps

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// file is a Go file of the module.
type file struct {
	dir  string // relative to the module, "." for its root
	name string
	ast  *ast.File
}

func (f *file) test() bool { return strings.HasSuffix(f.name, "_test.go") }

// violation is a breach of a rule, at a place.
type violation struct {
	pos  token.Position
	what string
}

func (v violation) String() string {
	return fmt.Sprintf("%s:%d: %s", v.pos.Filename, v.pos.Line, v.what)
}

// moduleRoot returns the directory of go.mod, from the working directory
// upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// parseTree parses the Go files under a file system, in order of path; mode is
// the parser's. Directories that the go command ignores are left out. It reads
// the files itself, so that a cached test result is stale when one changes.
func parseTree(fset *token.FileSet, fsys fs.FS, mode parser.Mode) ([]*file, error) {
	var files []*file
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_"):
			return nil
		}
		src, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, p, src, mode)
		if err != nil {
			return err
		}
		files = append(files, &file{dir: path.Dir(p), name: name, ast: f})
		return nil
	})
	return files, err
}

// imports calls each for the imports of a file.
func (f *file) imports(fset *token.FileSet, each func(pos token.Position, importPath string)) {
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		each(fset.Position(spec.Pos()), p)
	}
}

// own returns the directory of a package of this module.
func own(importPath string) (dir string, ok bool) {
	if importPath == module {
		return root, true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// standard reports whether a path is of the standard library: its first
// element has no dot.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// covers reports whether an entry of a list stands for a path: itself, or with
// "/..." all below.
func covers(entry, p string) bool {
	if prefix, ok := strings.CutSuffix(entry, "/..."); ok {
		return strings.HasPrefix(p, prefix+"/")
	}
	return entry == p
}

// within reports whether a package is of one of the modules.
func within(modules []string, importPath string) bool {
	for _, m := range modules {
		if importPath == m || strings.HasPrefix(importPath, m+"/") {
			return true
		}
	}
	return false
}
