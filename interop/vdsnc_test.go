package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"ampoule/cert"
	"ampoule/format/pkix"
	"ampoule/format/vdsnc"
	"ampoule/party/verifier"
	"ampoule/trust"
)

// runJCS canonicalises the inputs of RFC 8785's own suite, with the library that
// the seals go through.
func runJCS(t *testing.T, b *board, dir string) {
	inputs, err := filepath.Glob(filepath.Join(dir, "input", "*.json"))
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, path := range inputs {
		name := filepath.Base(path)
		r := result{format: "jcs", group: "RFC 8785", name: name, judgement: agree}
		read := func(folder, name string) []byte {
			data, err := os.ReadFile(filepath.Join(dir, folder, name))
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		want := read("output", name)
		text := strings.Join(strings.Fields(string(read("outhex", strings.TrimSuffix(name, ".json")+".txt"))), "")
		if fromHex, err := hex.DecodeString(text); err != nil || !bytes.Equal(fromHex, want) {
			t.Fatalf("%s: output and outhex differ: %v", name, err)
		}
		got, err := jcs.Transform(read("input", name))
		if err != nil || !bytes.Equal(got, want) {
			r.judgement, r.detail = disagree, fmt.Sprintf("%s, want %s (%v)", got, want, err)
		}
		b.add(r)
	}
}

func runVDSNC(t *testing.T, b *board, dir string) {
	var manifest struct {
		Cases []struct {
			File, Group, Result string
			Signature           bool
		}
	}
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	samples := new(trust.List)
	loadSampleTrust(t, samples, filepath.Join(dir, "samples", "trust"))
	for _, c := range manifest.Cases {
		path := filepath.Join(dir, c.File)
		switch c.Group {
		case "samples":
			judgeSealSample(t, b, samples, path, c.File, c.Signature)
		case "synthetic":
			judgeSyntheticSeal(t, b, path)
		default:
			t.Errorf("group %q has no runner", c.Group)
		}
	}
}

// sealVerdict is the end of one seal: the step that decides, and its reason.
// Step is "" for a valid one.
type sealVerdict struct {
	step, reason, detail string
	record               *cert.Certificate
	participant          string
}

// verifySeal makes the checks of a seal in the order of the engine. Like there,
// a signature that does not fit is worse than a key that is not known, and that
// worse than one that is not believed.
func verifySeal(list *trust.List, text string, now time.Time) sealVerdict {
	v := &verifier.Verifier{Trust: list, Now: func() time.Time { return now }}
	verdict := v.Verify(text)
	if verdict.Outcome == verifier.Valid {
		return sealVerdict{record: verdict.Certificate, participant: verdict.Issuer.Participant}
	}
	return sealVerdict{step: verdict.Decided.String(), reason: verdict.Reason, detail: verdict.Check(verdict.Decided).Detail}
}

// sealSteps are the steps in which a stage's reasons may show.
var sealSteps = map[string][]string{
	"json":      {"decode"},
	"claims":    {"decode"},
	"limits":    {"decode"},
	"signature": {"signature"},
	"trust":     {"keys", "key-validity"},
	"schema":    {"schema"},
}

func judgeSyntheticSeal(t *testing.T, b *board, path string) {
	var c struct {
		syntheticCase
		Claims any
	}
	readJSON(t, path, &c)
	r := result{format: "vds-nc", group: "synthetic", name: c.ID, judgement: agree}
	defer func() { b.add(r) }()

	now, err := parseClock(c.Clock)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	text := c.Input
	if c.InputB64 != "" {
		raw, err := base64.StdEncoding.DecodeString(c.InputB64)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		text = string(raw)
	}
	list := new(trust.List)
	for _, source := range strings.Split(c.Trust, "+") {
		if source = strings.TrimSpace(source); source != "" {
			loadSealTrust(t, list, filepath.Join(filepath.Dir(path), source))
		}
	}
	got := verifySeal(list, text, now)
	switch c.Expected.Result {
	case "valid":
		if got.step != "" {
			r.judgement, r.detail = disagree, fmt.Sprintf("want valid, got %s: %s (%s)", got.step, got.reason, got.detail)
			return
		}
		if c.Claims != nil && !sameClaims(text, c.Claims) {
			r.judgement, r.detail = disagree, "another content"
		}
		if want := c.Expected.Participant; want != "" && got.participant != want {
			r.judgement, r.detail = disagree, fmt.Sprintf("participant %s, want %s", got.participant, want)
		}
	case "invalid":
		if !slices.Contains(sealSteps[c.Expected.Stage], got.step) {
			r.judgement, r.detail = disagree, fmt.Sprintf("want %s/%s, got %s: %s (%s)", c.Expected.Stage, c.Expected.Reason, got.step, got.reason, got.detail)
			return
		}
		if got.reason != c.Expected.Reason {
			r.detail = fmt.Sprintf("reason %s for %s", got.reason, c.Expected.Reason)
			if *printTable {
				fmt.Printf("another word: %s: %s\n", c.ID, r.detail)
			}
		}
	case "policy":
		if *printTable {
			fmt.Printf("policy: %s: %s (%s)\n", c.ID, got.step, got.reason)
		}
	default:
		t.Errorf("%s: result %q", path, c.Expected.Result)
	}
}

// sameClaims compares the content with what an independent reader saw in it:
// data as a whole, or its message alone.
func sameClaims(text string, want any) bool {
	seal, _, err := vdsnc.Decode(text, vdsnc.Field)
	var data map[string]any
	if err != nil || json.Unmarshal(seal.Signed(), &data) != nil {
		return false
	}
	return same(data, want) || same(data["msg"], want) || same(map[string]any{"data": data}, want)
}

// judgeSealSample judges a published specimen: its content and its signature, as
// the manifest says, under its own certificate, which proves no more than that;
// and the whole of it under what is known of its issuer, in the middle of the
// signer's validity, since specimens state no date of their own.
func judgeSealSample(t *testing.T, b *board, list *trust.List, path, name string, signature bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	add := func(what string, err error) *result {
		r := result{format: "vds-nc", group: "samples " + what, name: name, judgement: agree}
		if err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.results = append(b.results, r)
		return &b.results[len(b.results)-1]
	}
	seal, findings, err := vdsnc.Decode(string(text), vdsnc.Field)
	if err == nil {
		for _, f := range findings {
			if !f.Tolerable {
				err = errors.Join(err, fmt.Errorf("%s: %w", f.Path, f.Reason))
			}
		}
	}
	if add("content", err); seal == nil {
		return
	}
	c, err := pkix.ParseCertificate(seal.Certificate)
	if err == nil {
		err = seal.Verify(c.PublicKey)
	}
	if (err == nil) != signature {
		add("signature", fmt.Errorf("the manifest says %v: %w", signature, err))
	} else {
		add("signature", nil)
	}
	if c == nil {
		return
	}
	got := verifySeal(list, string(text), c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore)/2))
	switch got.reason {
	case "":
		add("verdict", nil)
	case string(trust.ErrUnknownIssuer):
		r := add("verdict", nil)
		r.judgement, r.rule, r.detail = notApplicable, "the authority is not there", got.detail
	default:
		add("verdict", fmt.Errorf("%s: %s (%s)", got.step, got.reason, got.detail))
	}
}

// loadSealTrust reads the plain file beside synthetic cases (ruling 9).
func loadSealTrust(t *testing.T, list *trust.List, path string) {
	var doc struct {
		CSCA []struct{ ICAO, X5C string }
	}
	readJSON(t, path, &doc)
	for _, k := range doc.CSCA {
		a, err := trust.NewAuthority(decodeBase64(t, k.X5C))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if a.Source = path; k.ICAO != "" { // specimens come from states that are none
			a.Participant = k.ICAO
		}
		list.InsertAuthority(a)
	}
}

// loadSampleTrust reads what is published about the samples' issuers: their
// certificates, and keys that a registry names by state and key identifier.
func loadSampleTrust(t *testing.T, list *trust.List, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		var doc struct {
			X5C  string
			Keys map[string]struct{ PublicKey string }
		}
		readJSON(t, path, &doc)
		if doc.X5C != "" {
			if err := list.Add(trust.Source{Name: path, Data: decodeBase64(t, doc.X5C)}); err != nil {
				t.Fatal(err)
			}
		}
		for name, k := range doc.Keys {
			state, id, _ := strings.Cut(name, "#")
			pub, err := pkix.ParsePublicKey(decodeBase64(t, k.PublicKey))
			if err != nil {
				t.Fatalf("%s: %s: %v", path, name, err)
			}
			if len(state) == 2 {
				state, _ = cert.Alpha3(state)
			}
			a := trust.NewBareAuthority(state, trust.KeyID(decodeBase64(t, id)), pub)
			a.Source = path
			list.InsertAuthority(a)
		}
	}
}

func decodeBase64(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
