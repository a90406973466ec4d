package interop

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/format/rdfc"
)

// runRDFCanon runs W3C's tests of RDF Dataset Canonicalization.
func runRDFCanon(t *testing.T, b *board, dir string) {
	var manifest struct {
		Entries []struct {
			ID, Type, Action, Result, HashAlgorithm string
		}
	}
	readJSON(t, filepath.Join(dir, "manifest.jsonld"), &manifest)
	for _, e := range manifest.Entries {
		input, err := os.ReadFile(filepath.Join(dir, e.Action))
		if os.IsNotExist(err) {
			continue // the manifest covers more than what is here
		}
		r := result{format: "rdf-canon", group: strings.TrimPrefix(e.Type, "rdfc:"), name: e.ID, judgement: agree}
		if err == nil {
			var o rdfc.Options
			switch e.HashAlgorithm {
			case "", "SHA256":
			case "SHA384":
				o.Hash = sha512.New384
			default:
				t.Fatalf("%s: hash algorithm %q", e.ID, e.HashAlgorithm)
			}
			var want []byte
			if e.Result != "" {
				want, err = os.ReadFile(filepath.Join(dir, e.Result))
				if os.IsNotExist(err) {
					continue
				}
			}
			if err == nil {
				err = judgeRDFCanon(t, e.Type, filepath.Join(dir, e.Result), string(input), string(want), o)
			}
		}
		if err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}
}

func judgeRDFCanon(t *testing.T, kind, result, input, want string, o rdfc.Options) error {
	quads, err := rdfc.Parse(input)
	if err != nil {
		return err
	}
	got, err := rdfc.Canonicalize(quads, o)
	switch kind {
	case "rdfc:RDFC10NegativeEvalTest":
		if !errors.Is(err, rdfc.ErrTooCostly) {
			return fmt.Errorf("want %s, got %v", rdfc.ErrTooCostly, err)
		}
		return nil
	case "rdfc:RDFC10EvalTest":
		if err == nil && got.Text != want {
			return fmt.Errorf("want\n%sgot\n%s", want, got.Text)
		}
		return err
	case "rdfc:RDFC10MapTest":
		var labels map[string]string
		readJSON(t, result, &labels)
		if err == nil && !maps.Equal(got.Labels, labels) {
			return fmt.Errorf("labels %v, want %v", got.Labels, labels)
		}
		return err
	}
	return fmt.Errorf("a test of the unknown type %s", kind)
}
