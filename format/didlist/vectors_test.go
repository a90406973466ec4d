package didlist

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func pinned(t testing.TB, dir string) crypto.PublicKey {
	t.Helper()
	keys, err := ParseKeyDocument(readFile(t, dir, "signer", "tng-participants-dev__WHO__signing__DID.json"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("ParseKeyDocument: %d keys, %v", len(keys), err)
	}
	return keys[0].Key
}

func TestManifest(t *testing.T) {
	dir := vectors(t)
	key := pinned(t, dir)
	var cases []struct {
		File          string
		ID            string
		Created       time.Time
		ProofVerifies bool
		Entries       int
	}
	if err := json.Unmarshal(readFile(t, dir, "manifest.json"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 15 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, tc := range cases {
		t.Run(filepath.Base(tc.File), func(t *testing.T) {
			d, err := Parse(readFile(t, dir, "..", tc.File))
			if err != nil {
				t.Fatal(err)
			}
			err = d.VerifyProof(key)
			if !tc.ProofVerifies {
				if !errors.Is(err, ErrSignature) {
					t.Errorf("VerifyProof = %v, want %v", err, ErrSignature)
				}
				return
			}
			if err != nil {
				t.Errorf("VerifyProof: %v", err)
			}
			if d.ID != tc.ID || (!tc.Created.IsZero() && !d.Created.Equal(tc.Created)) {
				t.Errorf("id %s created %s", d.ID, d.Created)
			}
			if d.Context != ContextDevelop || d.Proof.SignatureForm != FormDER {
				t.Errorf("context %s, form %s", d.Context, d.Proof.SignatureForm)
			}
			if n := len(d.Entries) + len(d.References); n != tc.Entries {
				t.Errorf("%d entries and references, want %d", n, tc.Entries)
			}
			for _, e := range d.Entries {
				// Every published entry has a certificate whose key we can read.
				if e.Err != nil || e.Key == nil || len(e.KID) == 0 || e.Domain == "" || e.Participant == "" || e.KeyUsage == "" {
					t.Errorf("%s: %v %T %x %q %q %q", e.ID, e.Err, e.Key, e.KID, e.Domain, e.Participant, e.KeyUsage)
				}
			}
		})
	}
}

// The counts were taken with a program of another language from the same file.
func TestRootProblems(t *testing.T) {
	d, err := Parse(readFile(t, vectors(t), "dev", "v2__trustlist.json"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[Problem]int{}
	chains := map[int]int{}
	for _, e := range d.Entries {
		chains[len(e.Chain)]++
		for _, p := range e.Problems {
			got[p]++
		}
	}
	if diff := cmp.Diff(map[int]int{1: 158, 2: 97}, chains); diff != "" {
		t.Error(diff)
	}
	if got[ProblemUnknownCurve] != 2 || got[ProblemKIDNotDerived] == 0 || got[ProblemPaddedCoordinate] == 0 {
		t.Error(got)
	}
	if got[ProblemJWKDiffers]+got[ProblemNoX5C]+got[ProblemMissingCode]+got[ProblemPlainCode] != 0 {
		t.Error(got)
	}
	t.Log(got)
}

func ourCanonical(data []byte) (doc, proof string, err error) {
	root, err := decodeObject(data)
	if err != nil {
		return "", "", err
	}
	context, err := parseContext(root["@context"])
	if err != nil {
		return "", "", err
	}
	lines, err := canonicalDocument(root, context)
	if err != nil {
		return "", "", err
	}
	doc = string(lines)
	options, ok := root["proof"].(map[string]any)
	if !ok {
		return doc, "", nil
	}
	lines, err = canonicalProof(options)
	return doc, string(lines), err
}

func compareWithOracle(t *testing.T, o oracle, data []byte) (accepted bool) {
	t.Helper()
	doc, proof, err := ourCanonical(data)
	if err != nil {
		return false
	}
	wantDoc, wantProof, err := o.canonical(data)
	if errors.Is(err, errOracle) {
		return false
	}
	if err != nil {
		t.Fatalf("the oracle refuses what we accept: %v\n%s", err, data)
	}
	if diff := cmp.Diff(wantDoc, doc); diff != "" {
		t.Fatalf("document statements (-oracle +ours):\n%s\n%s", diff, data)
	}
	if diff := cmp.Diff(wantProof, proof); diff != "" {
		t.Fatalf("proof statements (-oracle +ours):\n%s\n%s", diff, data)
	}
	return true
}

func TestPublishedAgainstOracle(t *testing.T) {
	dir := vectors(t)
	files, err := filepath.Glob(filepath.Join(dir, "dev", "*.json"))
	if err != nil || len(files) < 11 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if testing.Short() && strings.HasSuffix(file, "v2__trustlist.json") {
			continue // 1.7 s for the oracle
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			if !compareWithOracle(t, oracle{dir}, readFile(t, file)) {
				_, _, err := ourCanonical(readFile(t, file))
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// Whatever we accept after random damage must mean the same to a general
// processor; refusing more than it does is allowed, saying something else not.
func TestMutationsAgainstOracle(t *testing.T) {
	dir := vectors(t)
	const rounds = 1500
	rng := rand.New(rand.NewPCG(20, 26))
	accepted, changed := 0, 0
	for _, file := range []string{"v2__trustlist__DDCC__XXA.json", "v2__trustlist__DCC__LVA.json", "v2__trustlist-ref__DCC__XXA__DSC.json"} {
		original := readFile(t, dir, "dev", file)
		before, _, err := ourCanonical(original)
		if err != nil {
			t.Fatal(err)
		}
		for range rounds {
			var root any
			if err := json.Unmarshal(original, &root); err != nil {
				t.Fatal(err)
			}
			for range 1 + rng.IntN(3) {
				root = mutate(rng, root)
			}
			data, err := json.Marshal(root)
			if err != nil {
				t.Fatal(err)
			}
			if compareWithOracle(t, oracle{dir}, data) {
				accepted++
				if after, _, _ := ourCanonical(data); after != before {
					changed++
				}
			}
		}
	}
	t.Logf("accepted %d, of which %d say something else than the original", accepted, changed)
	// Were nearly all refused, the comparison would show nothing.
	if accepted < rounds/5 || changed < rounds/10 {
		t.Errorf("accepted %d, changed %d of %d", accepted, changed, 3*rounds)
	}
}

var (
	mutantValues = []any{
		nil, true, 7.0, "", "x", "#X", "#-", "X", "-", "DSC", "#a.b_c", ".", "..", "a/b", "#", "##", "did:web:a", "did:web:a#1",
		"did:web:b?c=d", "https://example.org", "https://example.org/a#b", "urn:a:b", "did:", "did:x", "_:b0", "mailto:a@b",
		"did:web:a b", "did:web:ä", "did:web:%zz", "did:web:a%20", "did:web:a#b#c", "JsonWebKey2020", "JsonWebSignature2020",
		"assertionMethod", "authentication", "quote\" back\\ and / é \U0001F489 <>&", "tab\tline\nreturn\r",
		[]any{}, []any{"x"}, []any{"did:web:c", "did:web:c"}, map[string]any{}, map[string]any{"code": "#Y"},
		map[string]any{"code": "Y"}, map[string]any{"code": "#Y", "foo": "bar"}, map[string]any{"id": "#Y"},
		map[string]any{"@value": "x"}, map[string]any{"@id": "did:web:d"}, map[string]any{"@list": []any{"did:web:d"}},
		map[string]any{"z": nil, "\U0001F600": true, "\uFFFD": []any{"b", map[string]any{"": "\b\f\x01"}}, "a": false},
	}
	mutantNames = []string{
		"foo", "code", "name", "", "a b", "id", "type", "controller", "domain", "participant", "keyusage", "proof", "nonce",
		"challenge", "created", "expires", "publicKeyJwk", "privateKeyJwk", "verificationMethod", "assertionMethod",
		"service", "serviceEndpoint", "alsoKnownAs", "JsonWebKey2020", "JsonWebSignature2020", "@id", "@graph", "@type",
		"@context", "@base", "@foo", "https://example.org/p", "a:b", "kid", "use", "jws", "proofPurpose",
	}
)

// clone copies v, so that later rounds do not change the original with it.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		copied := map[string]any{}
		for name, value := range v {
			copied[name] = clone(value)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, value := range v {
			copied[i] = clone(value)
		}
		return copied
	}
	return v
}

// mutate changes one random place below v.
func mutate(rng *rand.Rand, v any) any {
	value := func() any { return clone(mutantValues[rng.IntN(len(mutantValues))]) }
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 || rng.IntN(5) == 0 {
			v[mutantNames[rng.IntN(len(mutantNames))]] = value()
			return v
		}
		names := sortedNames(v)
		name := names[rng.IntN(len(names))]
		if name == "@context" && rng.IntN(20) != 0 {
			return v
		}
		if rng.IntN(12) == 0 {
			delete(v, name)
			return v
		}
		v[name] = mutate(rng, v[name])
		return v
	case []any:
		switch n := rng.IntN(6); {
		case n == 0 || len(v) == 0:
			return append(v, value())
		case n == 1: // the same again, to be changed or not by a later round
			return append(v, clone(v[rng.IntN(len(v))]))
		case n == 2:
			i, j := rng.IntN(len(v)), rng.IntN(len(v))
			v[i], v[j] = v[j], v[i]
			return v
		default:
			i := rng.IntN(len(v))
			v[i] = mutate(rng, v[i])
			return v
		}
	}
	return value()
}

// A property that the contexts do not define is outside the proof: the
// document still verifies, and nothing of the property is to be seen.
func TestUnsignedExtraProperty(t *testing.T) {
	dir := vectors(t)
	original := readFile(t, dir, "dev", "v2__trustlist__DCC__SVN.json")
	want, err := Parse(original)
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{`"type":"JsonWebKey2020"`, `"code":"#DCC"`, `"id":"did:web:tng-cdn-dev.who.int:v2:trustlist:DCC:SVN"`} {
		data := bytes.Replace(original, []byte(old), []byte(old+`,"validUntil":"2099-01-01","trusted":{"deep":[1]}`), 1)
		if bytes.Equal(data, original) {
			t.Fatalf("%s not found", old)
		}
		d, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.VerifyProof(pinned(t, dir)); err != nil {
			t.Errorf("beside %s: %v", old, err)
		}
		if diff := cmp.Diff(want.Entries, d.Entries); diff != "" {
			t.Error(diff)
		}
	}
	// The same in the JWK is signed, because the JWK is one literal.
	data := bytes.Replace(original, []byte(`"kty":"EC"`), []byte(`"kty":"EC","use":"sig"`), 1)
	d, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.VerifyProof(pinned(t, dir)); !errors.Is(err, ErrSignature) {
		t.Errorf("in the JWK: %v", err)
	}
}

// What New and Sign write must verify for a reader that is not ours, so the
// statements it signed are compared with the oracle's.
func TestSignedAgainstOracle(t *testing.T) {
	o := oracle{vectors(t)}
	for _, context := range []Context{ContextProduction, ContextUAT, ContextDevelop} {
		d := demoList(t, context)
		data, err := d.Sign(testKey(t), nil, testTime, "a nonce \"with\" \\", FormRS)
		if err != nil {
			t.Fatal(err)
		}
		if !compareWithOracle(t, o, data) {
			t.Error("refused by ourselves")
		}
	}
}

func BenchmarkRoot(b *testing.B) {
	dir := vectors(b)
	data, key := readFile(b, dir, "dev", "v2__trustlist.json"), pinned(b, dir)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		d, err := Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.VerifyProof(key); err != nil {
			b.Fatal(err)
		}
	}
}
