package ampoule_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "ampoule"

// shelf ranks the top-level folders: imports point to a lower rank, or to
// another package of the same one where the rank allows it.
var shelf = map[string]int{
	"format": 0,
	"cert":   1, "trust": 1, "thing": 1, "bundle": 1, "ledger": 1, "coldchain": 1, "device": 1,
	"party":    2,
	"internal": 3, "web": 3, "client": 3,
	"cmd": 4, "bench": 4, "interop": 4, "deploy": 4,
}

// impure are the packages that ranks 0 and 1 do without: they do no input or
// output, keep no clock and draw no lots, so that the same code runs in a
// server, in a browser and in a handheld.
var impure = []string{
	"context", "crypto/rand", "database/sql", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "syscall",
}

// doors are what a party never sees.
var doors = []string{"database/sql", "net", "net/http", "os", "os/exec"}

// clockCalls read the clock behind the caller's back.
var clockCalls = []string{"time.Now", "time.Since", "time.Until", "time.After", "time.Sleep", "time.NewTimer", "time.NewTicker"}

func TestImportsPointDown(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && file != "." || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		files++
		checkFile(t, filepath.ToSlash(file))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files were looked at", files)
	}
}

func checkFile(t *testing.T, file string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	dir := path.Dir(file)
	top, _, _ := strings.Cut(dir, "/")
	from, known := shelf[top]
	if !known {
		t.Errorf("%s: the folder %q is on no shelf", file, top)
		return
	}
	for _, spec := range f.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		if from <= 1 && slices.Contains(impure, imp) || from == 2 && slices.Contains(doors, imp) {
			t.Errorf("%s imports %q, which rank %d does not", file, imp, from)
		}
		rel, ours := strings.CutPrefix(imp, module+"/")
		if !ours {
			continue
		}
		to, known := shelf[strings.SplitN(rel, "/", 2)[0]]
		switch {
		case !known:
			t.Errorf("%s imports %q, which is on no shelf", file, imp)
		case to > from:
			t.Errorf("%s imports %q: arrows point down only", file, imp)
		case from == 2 && to == 2 && !strings.HasPrefix(imp, module+"/"+dir):
			t.Errorf("%s imports %q: parties do not know each other", file, imp)
		case strings.HasPrefix(rel, "interop"), strings.HasPrefix(rel, "bench"), strings.HasPrefix(rel, "cmd"):
			t.Errorf("%s imports %q, which nothing imports", file, imp)
		}
	}
	if from <= 1 {
		checkCalls(t, file, f)
	}
}

// checkCalls finds calls that read the clock, and x509 verification that would.
func checkCalls(t *testing.T, file string, f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && slices.Contains(clockCalls, x.Name+"."+n.Sel.Name) {
				t.Errorf("%s uses %s.%s: time comes as an argument", file, x.Name, n.Sel.Name)
			}
		case *ast.CompositeLit:
			s, ok := n.Type.(*ast.SelectorExpr)
			if !ok || s.Sel.Name != "VerifyOptions" {
				return true
			}
			set := slices.ContainsFunc(n.Elts, func(e ast.Expr) bool {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok {
					return false
				}
				key, ok := kv.Key.(*ast.Ident)
				return ok && key.Name == "CurrentTime"
			})
			if !set {
				t.Errorf("%s verifies a certificate chain without CurrentTime", file)
			}
		}
		return true
	})
}
