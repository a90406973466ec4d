package didlist

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

// vectors returns the folder of the trust list vectors, or skips the test.
func vectors(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("AMPOULE_VECTORS")
	if dir == "" {
		dir = "../../../shared/vectors"
	}
	dir = filepath.Join(dir, "trust", "did-trustlist")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no vectors (set AMPOULE_VECTORS): %v", err)
	}
	return dir
}

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// oracle is json-gold, a general JSON-LD processor, with the contexts served
// from files. It answers the question that canonical.go answers for one shape
// of document only.
type oracle struct {
	dir string
}

func (o oracle) LoadDocument(url string) (*ld.RemoteDocument, error) {
	file, ok := map[string]string{
		contextDID:                "did_v1.json",
		contextJWS:                "jws-2020_v1.json",
		string(ContextProduction): "v1.jsonld",
		string(ContextDevelop):    "v1-dev.jsonld",
		string(ContextUAT):        "v1-uat.jsonld",
	}[url]
	if !ok {
		return nil, fmt.Errorf("no such context: %s", url)
	}
	f, err := os.Open(filepath.Join(o.dir, "contexts", file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	doc, err := ld.DocumentFromReader(f)
	return &ld.RemoteDocument{DocumentURL: url, Document: doc}, err
}

// errOracle reports that json-gold panicked, as it does on two JSON literals
// under one node: there is no second opinion then.
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

// canonical returns the statements of the document without its proof, and of
// the proof without its signature.
func (o oracle) canonical(data []byte) (doc, proof string, err error) {
	var root map[string]any
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&root); err != nil {
		return "", "", err
	}
	options, _ := root["proof"].(map[string]any)
	delete(root, "proof")
	if doc, err = o.canonicalize(root); err != nil {
		return "", "", err
	}
	if options == nil {
		return doc, "", nil
	}
	delete(options, "jws")
	options["@context"] = root["@context"]
	proof, err = o.canonicalize(options)
	return doc, proof, err
}
