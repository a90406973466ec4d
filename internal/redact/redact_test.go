package redact

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type person struct{ name string }

func (p person) LogValue() slog.Value { return slog.GroupValue(slog.String("family", p.name)) }

func TestHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(New(slog.NewJSONHandler(&out, nil)))
	log.Info("kept", "status", 200, "pattern", "/v1/verify", "error", "no-store")
	for _, want := range []string{`"status":200`, `"pattern":"/v1/verify"`, `"error":"no-store"`, `"msg":"kept"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in %s", want, out.String())
		}
	}
	out.Reset()
	const name = "Specimen"
	log.Info("direct", "name", name)
	log.With("family", name).Info("with")
	log.WithGroup("person").Info("group", "given", name)
	log.Info("inside", slog.Group("status", slog.String("born", name)))
	log.Info("resolved", "who", person{name})
	log.Info("resolved inside a known key", "status", person{name})
	log.Info("no key", []any{name}...)
	if lines := strings.Count(out.String(), "\n"); lines != 7 || strings.Count(out.String(), LeftOut) != 7 {
		t.Errorf("%s", out.String())
	}
	if strings.Contains(out.String(), name) && !strings.Contains(out.String(), `"!BADKEY":"`+LeftOut) {
		t.Errorf("%s", out.String())
	}
	if strings.Contains(out.String(), name) {
		t.Errorf("%s", out.String())
	}
}

// TestKeysAreKnown: what our code logs is on the list, so that nothing that is
// needed is left out, and what is on the list is logged somewhere or reserved.
func TestKeysAreKnown(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			if d != nil && d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Info", "Warn", "Error", "Debug"}, method.Sel.Name) || len(call.Args) < 3 {
				return true
			}
			for _, a := range call.Args[1:] {
				if lit, ok := a.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					key, _ := strconv.Unquote(lit.Value)
					// A value may be a constant text, too: only keys have an even place.
					if slices.Index(call.Args, a)%2 == 1 {
						if found++; !slices.Contains(Keys, key) {
							t.Errorf("%s logs %q", path, key)
						}
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Errorf("%d attributes were found", found)
	}
}
