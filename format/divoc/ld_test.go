package divoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/piprate/json-gold/ld"
)

// vectors returns the folder of the DIVOC vectors, or skips the test.
func vectors(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("AMPOULE_VECTORS")
	if dir == "" {
		dir = "../../../shared/vectors"
	}
	dir = filepath.Join(dir, "divoc")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no vectors (set AMPOULE_VECTORS): %v", err)
	}
	return dir
}

// oracle is json-gold, a general JSON-LD processor, with the published context
// documents served from files.
type oracle struct{ dir string }

func (o oracle) LoadDocument(url string) (*ld.RemoteDocument, error) {
	data, err := os.ReadFile(filepath.Join(o.dir, "contexts", "index.json"))
	if err != nil {
		return nil, err
	}
	var files map[string]string
	if err := json.Unmarshal(data, &files); err != nil {
		return nil, err
	}
	file, ok := files[url]
	if !ok {
		return nil, fmt.Errorf("no such context: %s", url)
	}
	if data, err = os.ReadFile(filepath.Join(o.dir, "contexts", file)); err != nil {
		return nil, err
	}
	doc, err := ld.DocumentFromReader(bytes.NewReader(data))
	return &ld.RemoteDocument{DocumentURL: url, Document: doc}, err
}

var errOracle = errors.New("the oracle panicked")

func (o oracle) canonicalize(doc any) (statements string, err error) {
	defer func() {
		if recover() != nil {
			err = errOracle
		}
	}()
	opts := ld.NewJsonLdOptions("")
	opts.DocumentLoader = o
	opts.Algorithm = ld.AlgorithmURDNA2015
	opts.Format = "application/n-quads"
	opts.ProcessingMode = ld.JsonLd_1_1
	out, err := ld.NewJsonLdProcessor().Normalize(doc, opts)
	if err != nil {
		return "", err
	}
	return out.(string), nil
}

