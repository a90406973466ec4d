package state

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "make the examples of the specification anew")

const (
	specification = "../../docs/spec/ledger-transactions.md"
	exampleFile   = "../../docs/spec/examples/ledger-transactions.txt"
)

// TestExamples holds the examples of the specification to the code.
func TestExamples(t *testing.T) {
	payloads := examples()
	byKind := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(payloads)) {
		tx := &Tx{payload: string(payloads[name])}
		if err := tx.readPayload(); err != nil {
			t.Fatal(err)
		}
		kind := string(tx.Body.Kind())
		if p, ok := tx.Body.(*Propose); ok {
			kind += fmt.Sprintf(" %d", p.Proposal.about())
		}
		if _, ok := byKind[kind]; !ok {
			byKind[kind] = payloads[name]
		}
	}
	signed, err := (&Tx{Chain: hash("chain"), Actor: gatewayOID, Seq: 1, ValidUntil: 10, Body: telemetry()}).Sign(nil, ed("gateway"))
	if err != nil {
		t.Fatal(err)
	}
	byKind["genesis"], byKind["signed telemetry.anchor"] = genesis(1, 1).Encode(), signed
	var want strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		fmt.Fprintf(&want, "%s: %x\n", kind, byKind[kind])
	}
	if *update {
		if err := os.WriteFile(exampleFile, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Error("the examples are others than the code makes")
	}
	for line := range strings.Lines(string(got)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case name == "genesis":
			_, err = New(data)
		case strings.HasPrefix(name, "signed "):
			var tx *Tx
			if tx, err = ParseTx(data); err == nil {
				err = tx.signers[0].check(ed("gateway").Public())
			}
		default:
			tx := &Tx{payload: string(data)}
			if err = tx.readPayload(); err == nil && !bytes.Equal(tx.Payload(), data) {
				err = ErrNotDeterministic
			}
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSpecification: each grammar of the code and each reason stands in the
// specification.
func TestSpecification(t *testing.T) {
	data, err := os.ReadFile(specification)
	if err != nil {
		t.Fatal(err)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, ";;", ";")), " ") }
	have := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		have[squeeze(line)] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	grammar := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			text, ok := strings.CutPrefix(line, "//\t")
			if !ok || file == "rows.go" && !strings.Contains(text, ":") {
				continue
			}
			grammar++
			if !have[squeeze(text)] && file != "rows.go" {
				t.Errorf("%s: not in the specification: %s", file, text)
			}
		}
	}
	if grammar < 150 {
		t.Errorf("only %d lines of grammar", grammar)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if word, _ := strconv.Unquote(lit.Value); !strings.Contains(word, "/") && !strings.Contains(string(data), "| `"+word+"` |") {
				t.Errorf("the specification has no %q", word)
			}
		}
		return true
	})
}
