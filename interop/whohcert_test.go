package interop

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/dccrevocation"
	"ampoule/format/hcert"
	"ampoule/format/icvp"
	"ampoule/party/verifier"
	"ampoule/trust"
)

func runWHOHCERT(t *testing.T, b *board, dir string) {
	var manifest struct {
		Cases []struct {
			File           json.RawMessage
			Group          string
			StatusInSource string `json:"status_in_source"`
		}
	}
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	catalogue := loadCatalogue(t, dir)
	for _, c := range manifest.Cases {
		var files []string
		if json.Unmarshal(c.File, &files) != nil {
			files = []string{""}
			if err := json.Unmarshal(c.File, &files[0]); err != nil {
				t.Fatal(err)
			}
		}
		switch c.Group {
		case "gdhcn-validator":
			judgeValidator(t, b, dir, files, c.StatusInSource)
		case "synthetic":
			judgeSynthetic(t, b, dir, files[0], catalogue)
		default:
			t.Errorf("group %q has no runner", c.Group)
		}
	}
}

// loadCatalogue reads WHO's product identifiers from beside the cases, or from
// the default vectors.
func loadCatalogue(t *testing.T, dir string) *cert.Catalogue {
	for _, root := range []string{filepath.Dir(dir), "../../shared/vectors"} {
		data, err := os.ReadFile(filepath.Join(root, "valuesets", "icvp", "ICVPProductIds.json"))
		if err != nil {
			continue
		}
		c, err := cert.ReadCatalogue(data)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Log("no product catalogue beside the vectors: approval is unknown")
	return nil
}

// validatorOutcome reads the words of the WHO validator's QRDecoder.Status,
// judged without its keys.
var validatorOutcome = map[string]verifier.Outcome{
	"NOT_SUPPORTED":                verifier.Unsupported,
	"INVALID_ENCODING":             verifier.Malformed,
	"INVALID_COMPRESSION":          verifier.Malformed,
	"INVALID_SIGNING_FORMAT":       verifier.Malformed,
	"KID_NOT_INCLUDED":             verifier.UnknownIssuer,
	"ISSUER_NOT_TRUSTED":           verifier.UnknownIssuer,
	"VERIFIED_WITH_PRODUCTION_KEY": verifier.UnknownIssuer, // ruling 10
	"DECODE_ONLY":                  verifier.Unsupported,   // ruling 10: from before claim -260
}

func judgeValidator(t *testing.T, b *board, dir string, files []string, status string) {
	var text, unpacked string
	for _, f := range files {
		switch {
		case strings.HasSuffix(f, ".txt"):
			text = f
		case strings.HasSuffix(f, "Unpacked.json"):
			unpacked = f
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, text))
	if err != nil {
		t.Fatal(err)
	}
	add := func(what string, err error) {
		r := result{format: "who-hcert", group: "gdhcn-validator " + what, name: text, judgement: agree}
		if err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}

	if unpacked != "" {
		add("content", sameUnpacked(t, string(data), filepath.Join(dir, unpacked)))
	}
	want, known := validatorOutcome[status]
	if !known {
		b.add(result{format: "who-hcert", group: "gdhcn-validator verdict", name: text, judgement: notApplicable, rule: "a status of the source that depends on its keys", detail: status})
		return
	}
	v := &verifier.Verifier{Trust: new(trust.List), Now: time.Now}
	if got := v.Verify(string(data)); got.Outcome != want {
		add("verdict", fmt.Errorf("%s: want %s, got %s (%s)", status, want, got.Outcome, got.Reason))
		return
	}
	add("verdict", nil)
}

// sameUnpacked compares headers and claims with those of the source.
func sameUnpacked(t *testing.T, text, path string) error {
	var want struct{ ProtectedAttributes, UnprotectedAttributes, Contents any }
	readJSON(t, path, &want)
	body, _, err := hcert.Unprefix(format.TrimText(text), hcert.Field)
	if err != nil {
		return err
	}
	compressed, err := hcert.DecodeBase45(body)
	if err != nil {
		return err
	}
	data, err := hcert.Inflate(compressed)
	if err != nil {
		return err
	}
	// WHOQR1 has no certificate claim, so the container is read by hand.
	m, err := cose.Parse(data, cbor.DefaultLimits)
	if err != nil {
		return err
	}
	claims, err := cbor.Parse(m.Payload, cbor.DefaultLimits)
	if err != nil {
		return err
	}
	for name, pair := range map[string][2]any{
		"protected":   {hexToBase64(fromJSON(m.Header.AppendJSON(nil))), want.ProtectedAttributes},
		"unprotected": {hexToBase64(fromJSON(m.Unprotected.AppendJSON(nil))), want.UnprotectedAttributes},
		"contents":    {fromJSON(claims.AppendJSON(nil)), want.Contents},
	} {
		if !same(pair[0], pair[1]) {
			return fmt.Errorf("%s: %v is not %v", name, pair[0], pair[1])
		}
	}
	return nil
}

// hexToBase64 writes byte strings as the source does: base64 without padding.
func hexToBase64(v any) any {
	return walk(v, func(s string) string {
		if h, ok := strings.CutPrefix(s, "h'"); ok {
			if raw, err := hex.DecodeString(strings.TrimSuffix(h, "'")); err == nil {
				return base64.RawStdEncoding.EncodeToString(raw)
			}
		}
		return s
	})
}

// syntheticCase is a case made for the corpus.
type syntheticCase struct {
	ID         string
	Input      string
	InputB64   string `json:"input_b64"`
	Trust      string
	Clock      string `json:"validation_clock"`
	Expected   syntheticResult
	InputParts []string `json:"inputs"`
}

type syntheticResult struct {
	Result, Stage, Reason string
	Field                 string
	Participant           string
	NameNFC               string `json:"name_nfc"`
	Generation            int    `json:"icvp_generation"`
	DecisionTable         string `json:"decision_table"`
	Rule                  int
}

// stageSteps are the checks in which a stage's reasons show (the table of the
// vectors' README).
func stageSteps(stage, reason string) []verifier.Step {
	switch {
	case reason == "unknown-kid", reason == "kid-missing":
		return []verifier.Step{verifier.StepKeys}
	case stage == "prefix":
		return []verifier.Step{verifier.StepRead}
	case stage == "base45", stage == "zlib", stage == "cbor", stage == "cose", stage == "claims", stage == "limits":
		return []verifier.Step{verifier.StepDecode}
	case stage == "trust":
		return []verifier.Step{verifier.StepKeyValidity, verifier.StepKeys}
	case stage == "signature":
		return []verifier.Step{verifier.StepSignature}
	case stage == "time":
		return []verifier.Step{verifier.StepPeriod}
	case stage == "schema":
		return []verifier.Step{verifier.StepSchema}
	case stage == "revocation":
		return []verifier.Step{verifier.StepStatus}
	case stage == "rules":
		return []verifier.Step{verifier.StepRules}
	}
	return nil
}

func judgeSynthetic(t *testing.T, b *board, dir, file string, catalogue *cert.Catalogue) {
	var c syntheticCase
	readJSON(t, filepath.Join(dir, file), &c)
	r := result{format: "who-hcert", group: "synthetic", name: c.ID, judgement: agree}
	defer func() { b.add(r) }()

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
	v := &verifier.Verifier{Trust: new(trust.List), Catalogue: catalogue, Now: func() time.Time { return clock }}
	for _, source := range strings.Split(c.Trust, "+") {
		if source = strings.TrimSpace(source); source != "" {
			loadSyntheticTrust(t, v, filepath.Join(dir, "synthetic", source))
		}
	}
	got := v.Verify(text)
	fail := func(format string, args ...any) {
		r.judgement, r.detail = disagree, fmt.Sprintf(format, args...)
	}
	check := got.Check(got.Decided)
	switch c.Expected.Result {
	case "valid":
		if got.Outcome != verifier.Valid {
			fail("want valid, got %s (%s: %s %s)", got.Outcome, check.Name, check.Reason, check.Detail)
			return
		}
		checkExpectations(c.Expected, got, text, fail)
	case "invalid":
		steps := stageSteps(c.Expected.Stage, c.Expected.Reason)
		inStage := false
		for _, s := range steps {
			inStage = inStage || s == got.Decided
		}
		if got.Outcome == verifier.Valid || got.Outcome == verifier.Unknown || !inStage {
			fail("want %s/%s, got %s (%s: %s %s)", c.Expected.Stage, c.Expected.Reason, got.Outcome, check.Name, check.Reason, check.Detail)
			return
		}
		if got.Reason != c.Expected.Reason {
			r.detail = fmt.Sprintf("reason %s for %s", got.Reason, c.Expected.Reason)
			if *printTable {
				fmt.Printf("another word: %s: %s\n", c.ID, r.detail)
			}
		}
		if f := c.Expected.Field; f != "" && check.Detail != f {
			fail("want field %s, got %s", f, check.Detail)
		}
	case "policy":
		// A sound verifier may accept or refuse, but on purpose: docs/interop.md
		// lists what was decided here, and the engine must have decided.
		if got.Outcome == verifier.Unknown {
			fail("undecided: %s %s", check.Name, check.Reason)
			return
		}
		if *printTable {
			fmt.Printf("policy: %s: %s (%s)\n", c.ID, got.Outcome, got.Reason)
		}
	default:
		t.Errorf("%s: result %q", file, c.Expected.Result)
	}
}

// checkExpectations compares what a positive case says beyond its result.
func checkExpectations(want syntheticResult, got *verifier.Verdict, text string, fail func(string, ...any)) {
	if want.Participant != "" && got.Issuer.Participant != want.Participant {
		fail("participant %q, want %q", got.Issuer.Participant, want.Participant)
	}
	if want.NameNFC != "" && got.Certificate.Person.Name.Full != want.NameNFC {
		fail("name %q, want %q", got.Certificate.Person.Name.Full, want.NameNFC)
	}
	if want.Generation != 0 {
		m, err := hcert.Decode(text, hcert.Field)
		if err != nil {
			fail("%v", err)
			return
		}
		if c, _ := icvp.Decode(m.Certificate); c.Generation != want.Generation {
			fail("generation %d, want %d", c.Generation, want.Generation)
		}
	}
	if rule := fmt.Sprintf("%s rule %d", want.DecisionTable, want.Rule); want.DecisionTable != "" && !strings.Contains(got.Check(verifier.StepRules).Detail, rule) {
		fail("%q, want %s", got.Check(verifier.StepRules).Detail, rule)
	}
}

// loadSyntheticTrust reads the two plain files beside the cases (ruling 9).
func loadSyntheticTrust(t *testing.T, v *verifier.Verifier, path string) {
	var doc struct {
		Keys []struct {
			KID, Participant string
			Status           string
			X5C              []string
		}
		Entries []struct{ KID, Type, Hash string }
	}
	readJSON(t, path, &doc)
	decode := func(s string) []byte {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return raw
	}
	for _, k := range doc.Keys {
		key, err := trust.NewKey(decode(k.X5C[0]))
		if err != nil {
			t.Fatalf("%s: %s: %v", path, k.KID, err)
		}
		key.ID, key.Participant, key.Revoked = trust.KeyID(decode(k.KID)), k.Participant, k.Status == "revoked"
		v.Trust.Insert(key)
	}
	for _, e := range doc.Entries {
		if v.Status == nil {
			v.Status = new(trust.Status)
		}
		v.Status.Revoke(path, "", trust.KeyID(decode(e.KID)), dccrevocation.HashType(e.Type), dccrevocation.Hash128(decode(e.Hash)))
	}
}
