package divoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ampoule/format/rdfc"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
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

// errOracle reports that json-gold panicked: there is no second opinion then.
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

// documents are the certificates of the vectors, as JSON.
func documents(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"samples/*", "synthetic/*.json"} {
		files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var synthetic struct{ Input string }
			if json.Unmarshal(text, &synthetic) == nil && synthetic.Input != "" {
				text = []byte(synthetic.Input)
			}
			if data, _, err := open(string(text)); err == nil && bytes.Contains(data, []byte("credentialSubject")) {
				all[filepath.Base(f)] = data
			}
		}
	}
	return all
}

// same compares our statements of a document with the oracle's, where both have
// some, and returns whether they did.
func same(t *testing.T, o oracle, data []byte) bool {
	t.Helper()
	var root object
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	v, err := strictjson.Decode(data, strictjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ours := v.(object)
	d := new(Document)
	names, err := d.readContext(ours["@context"])
	if err != nil {
		return false
	}
	proof, _ := ours["proof"].(object)
	oracleProof, _ := root["proof"].(object)
	for _, m := range []object{ours, root} {
		delete(m, "proof")
	}
	delete(ours, "@context")
	compare := func(ours object, names vocabulary, theirs object) bool {
		quads, err := statementsOf(ours, names)
		if err != nil {
			return false
		}
		got, err := rdfc.Canonicalize(quads, rdfc.Options{Form: rdfc.URDNA2015, MaxWork: maxWork})
		if err != nil {
			return false
		}
		want, err := o.canonicalize(theirs)
		if errors.Is(err, errOracle) {
			return false
		}
		if err != nil {
			t.Fatalf("the oracle refuses what we read: %v\n%s", err, data)
		}
		if diff := cmp.Diff(want, got.Text); diff != "" {
			t.Fatalf("%s\n%s", data, diff)
		}
		return true
	}
	ok := compare(ours, names, root)
	if proof != nil {
		delete(proof, "jws")
		delete(oracleProof, "jws")
		oracleProof["@context"] = "https://w3id.org/security/v2"
		ok = compare(proof, security, oracleProof) && ok
	}
	return ok
}

// Our facts about the contexts, and the way we use them, must agree with the
// published documents read by another processor: on every certificate there is,
// and on whatever else we accept.
func TestOracle(t *testing.T) {
	o := oracle{vectors(t)}
	docs := documents(t, o.dir)
	for _, version := range []string{"v1", "v2"} {
		docs[version] = []byte(encode(t, sign(t, specimen(version), testEd25519(), nil)))
	}
	if len(docs) < 10 {
		t.Fatalf("only %d documents", len(docs))
	}
	for name, data := range docs {
		if !same(t, o, data) {
			t.Logf("%s: refused by us", name)
		}
	}

	r := rand.New(rand.NewPCG(5, 6))
	compared := 0
	names := []string{"id", "type", "name", "dob", "address", "verifier", "facility", "city", "dose", "batch", "issuer", "holder", "credentialStatus",
		"schema:x", "vac:x", "cred:x", "xsd:x", "https://example.org/p", "@id", "@type", "@value", "created", "proofPurpose", "validUntil",
		"credentialSchema", "refreshService", "evidence", "sign-image", "verificationMethod", "nonce", "expirationDate", "prophylaxis"}
	values := []any{"x", "", "did:a:b", "_:b1", "schema:y", "sec:y", "xsd:string", "vac:y", "cred:y", "Person", "Vaccination", "VerifiableCredential",
		"RsaSignature2018", "Ed25519Signature2018", "assertionMethod", "JsonSchemaValidator2018", "ProofOfVaccinationCredential",
		"quote\"\\\n\r\u007fé😀", 1.0, 1.5, -7.0, 1e21, 2.5e-9, 123456789012.0, true, false, nil, object{}, []any{}, object{"id": "did:c:d"}, object{"id": "_:b2"},
		object{"@value": "x"}, object{"@value": "x", "@type": "xsd:date"}, object{"@value": 2.0, "@type": "xsd:double"}, object{"type": "Person", "name": "B", "address": object{"city": "C"}},
		object{"type": []any{"Vaccination", "Person"}, "facility": object{"name": "N", "address": object{"name": "M", "seal-image": "i"}}},
		object{"id": "_:b1", "type": "VerifiableCredential", "issuer": "did:e:f", "issuanceDate": "x"},
		object{"type": "Ed25519Signature2018", "created": "x", "proofPurpose": "authentication"}, []any{"a", "a", 1.0, nil}}
	keys := slices.Sorted(maps.Keys(docs))
	for range 1500 {
		var root object
		if err := json.Unmarshal(docs[keys[r.IntN(len(keys))]], &root); err != nil {
			t.Fatal(err)
		}
		for range 1 + r.IntN(3) {
			mutate(r, root, names, values)
		}
		data, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		if same(t, o, data) {
			compared++
		}
	}
	if compared < 200 {
		t.Errorf("only %d mutations were compared", compared)
	}
	t.Logf("%d mutations compared", compared)
}

// mutate changes one member somewhere in a document.
func mutate(r *rand.Rand, root object, names []string, values []any) {
	nodes := []object{root}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			nodes = append(nodes, v)
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(v[name])
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(root)
	node := nodes[r.IntN(len(nodes))]
	members := slices.Sorted(maps.Keys(node))
	name := names[r.IntN(len(names))]
	if len(members) > 0 && r.IntN(2) == 0 {
		name = members[r.IntN(len(members))]
	}
	if r.IntN(6) == 0 {
		delete(node, name)
		return
	}
	data, _ := json.Marshal(values[r.IntN(len(values))]) // a copy: the values are shared
	var value any
	_ = json.Unmarshal(data, &value)
	node[name] = value
}
