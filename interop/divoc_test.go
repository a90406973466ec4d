package interop

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/format/divoc"
	"ampoule/party/verifier"
	"ampoule/trust"
)

func runDIVOC(t *testing.T, b *board, dir string) {
	var manifest struct {
		Cases []struct {
			File               json.RawMessage
			Group, Result, Key string
		}
	}
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	for _, c := range manifest.Cases {
		var files []string
		if json.Unmarshal(c.File, &files) != nil {
			files = []string{""}
			if err := json.Unmarshal(c.File, &files[0]); err != nil {
				t.Fatal(err)
			}
		}
		switch c.Group {
		case "samples":
			judgeDIVOCSample(t, b, dir, files, c.Result, c.Key)
		case "synthetic":
			judgeDIVOCSynthetic(t, b, dir, files[0])
		default:
			t.Errorf("group %q has no runner", c.Group)
		}
	}
}

// divocVerdict is what the judges below ask of a verdict.
type divocVerdict struct {
	valid  bool
	step   verifier.Step // the check that decided
	reason string
	detail string
}

// verifyDIVOC composes what the formats and the trust list say of a text, in the
// order of the verifier's checks.
func verifyDIVOC(text string, list *trust.List, now time.Time) divocVerdict {
	v := &verifier.Verifier{Trust: list, Now: func() time.Time { return now }}
	verdict := v.Verify(text)
	if verdict.Outcome == verifier.Valid {
		return divocVerdict{valid: true}
	}
	return divocVerdict{step: verdict.Decided, reason: verdict.Reason, detail: verdict.Check(verdict.Decided).Detail}
}

// judgeDIVOCSample checks the signature of a certificate from the field, or from
// another's tests, under the key that the manifest says made it; the name that
// the certificate gives for it may be another issuer's. Where the same content
// stands beside it in plain JSON, both must read the same.
func judgeDIVOCSample(t *testing.T, b *board, dir string, files []string, want, keyName string) {
	var all map[string]json.RawMessage
	readJSON(t, filepath.Join(dir, "trust-keys.json"), &all)
	var byDID map[string]string
	if err := json.Unmarshal(all["keys"], &byDID); err != nil {
		t.Fatal(err)
	}
	spki := byDID[keyName]
	if spki == "" && all[keyName] != nil {
		if err := json.Unmarshal(all[keyName], &spki); err != nil {
			t.Fatal(err)
		}
	}
	r := result{format: "divoc", group: "samples", name: files[0], judgement: agree}
	if spki == "" {
		r.judgement, r.rule, r.detail = notApplicable, "the key is not there", keyName
		b.add(r)
		return
	}
	var first *divoc.Document
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if !divoc.IsDIVOC(string(data)) {
			continue // the same in another format
		}
		d, _, err := divoc.Decode(string(data))
		if err == nil {
			err = d.Verify(publicKey(t, spki))
		}
		switch {
		case (err == nil) != (want == "positive"):
			r.judgement, r.detail = disagree, fmt.Sprintf("%s: want %s, got %v", f, want, err)
		case first == nil:
			first = d
		case err == nil && fmt.Sprint(first.Credential) != fmt.Sprint(d.Credential):
			r.judgement, r.detail = disagree, fmt.Sprintf("%s reads otherwise than %s", f, files[0])
		}
	}
	if first == nil && r.judgement == agree {
		r.judgement, r.detail = disagree, "no file of it is a DIVOC code"
	}
	b.add(r)
}

func publicKey(t *testing.T, spki string) crypto.PublicKey {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(spki)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// loadDIVOCTrust reads the keys beside the synthetic cases, whose shape is the
// corpus' own.
func loadDIVOCTrust(t *testing.T, l *trust.List, path string) {
	var file struct {
		Keys []struct{ ID, SPKI string }
	}
	readJSON(t, path, &file)
	for _, k := range file.Keys {
		l.Insert(&trust.Key{Domain: trust.DIVOC, Participant: k.ID, ID: trust.KeyID(k.ID), Public: publicKey(t, k.SPKI), Source: path})
	}
}

// divocSteps are the checks in which a stage's reasons show, beyond those of
// stageSteps.
func divocSteps(stage, reason string) []verifier.Step {
	switch stage {
	case "zip", "json", "base64", "jsonld", "canonicalisation":
		return []verifier.Step{verifier.StepDecode}
	case "trust":
		return []verifier.Step{verifier.StepKeys, verifier.StepKeyValidity}
	case "prefix":
		return []verifier.Step{verifier.StepRead, verifier.StepDecode}
	}
	return stageSteps(stage, reason)
}

func judgeDIVOCSynthetic(t *testing.T, b *board, dir, file string) {
	var c struct {
		syntheticCase
		Expected struct {
			syntheticResult
			MaxMillis int `json:"max_millis"`
		}
	}
	readJSON(t, filepath.Join(dir, file), &c)
	r := result{format: "divoc", group: "synthetic", name: c.ID, judgement: agree}
	defer func() { b.add(r) }()
	fail := func(format string, args ...any) {
		r.judgement, r.detail = disagree, fmt.Sprintf(format, args...)
	}

	clock, err := parseClock(c.Clock)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	text := c.Input
	if c.InputB64 != "" {
		raw, err := base64.StdEncoding.DecodeString(c.InputB64)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		text = string(raw)
	}
	list := new(trust.List)
	for _, source := range strings.Split(c.Trust, "+") {
		if source = strings.TrimSpace(source); source != "" {
			loadDIVOCTrust(t, list, filepath.Join(dir, "synthetic", source))
		}
	}
	start := time.Now()
	got := verifyDIVOC(text, list, clock)
	took := time.Since(start)
	switch c.Expected.Result {
	case "valid":
		if !got.valid {
			fail("want valid, got %s: %s %s", got.step, got.reason, got.detail)
		}
	case "invalid":
		inStage := false
		for _, s := range divocSteps(c.Expected.Stage, c.Expected.Reason) {
			inStage = inStage || s == got.step
		}
		if got.valid || !inStage {
			fail("want %s/%s, got %s: %s %s", c.Expected.Stage, c.Expected.Reason, got.step, got.reason, got.detail)
		} else if got.reason != c.Expected.Reason && *printTable {
			fmt.Printf("another word: %s: reason %s for %s\n", c.ID, got.reason, c.Expected.Reason)
		}
	case "policy":
		if *printTable {
			fmt.Printf("policy: %s: valid %v (%s)\n", c.ID, got.valid, got.reason)
		}
	default:
		t.Errorf("%s: result %q", file, c.Expected.Result)
	}
	if most := time.Duration(c.Expected.MaxMillis) * time.Millisecond; most > 0 && took > most {
		fail("it took %v, at most %v", took, most)
	}
}
