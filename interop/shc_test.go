package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/fhir"
	"ampoule/format/hcert"
	"ampoule/format/jwks"
	"ampoule/format/shc"
	"ampoule/format/strictjson"
	"ampoule/format/vhl"
	"ampoule/internal/qr"
	"ampoule/party/verifier"
	"ampoule/trust"
)

// shcCase is an entry of the manifest.
type shcCase struct {
	File             json.RawMessage
	Group            string
	Type             string // of dev-tools: what kind of thing the files are
	Result           string // positive, negative, warning, policy
	Errors, Warnings []string
	Options          string
	SubjectAltName   string `json:"subject_alt_name"`
	ValidationClock  string `json:"validation_clock"`
}

func (c *shcCase) files(t *testing.T) []string {
	var files []string
	if json.Unmarshal(c.File, &files) != nil {
		files = []string{""}
		if err := json.Unmarshal(c.File, &files[0]); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func runSHC(t *testing.T, b *board, dir string) {
	var manifest struct{ Cases []shcCase }
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	for _, c := range manifest.Cases {
		files := c.files(t)
		switch c.Group {
		case "dev-tools":
			judgeDevTools(t, b, dir, &c, files)
		case "dev-tools-keys":
			judgeKeys(t, b, dir, &c, files[0])
		case "hl7-examples":
			judgeExample(t, b, dir, &c, files)
		case "smart-health-links":
			judgeLink(t, b, dir, files)
		case "gdhcn-validator":
			judgeUnpackedCard(t, b, dir, files)
		case "synthetic":
			judgeSyntheticCard(t, b, dir, files[0])
		default:
			t.Errorf("group %q has no runner", c.Group)
		}
	}
}

// cardKit is what a verifier of cards has loaded.
type cardKit struct {
	trust  *trust.List
	status *trust.Status
	clock  time.Time
}

// cardAnswer is the step that decided about a card, and its reason. A card
// without objection has no reason.
type cardAnswer struct {
	step   verifier.Step
	reason string
	detail string
	card   *shc.Card // as far as it was opened
}

// verify asks the engine.
func (k *cardKit) verify(p shc.Profile, texts ...string) cardAnswer {
	policy := verifier.DefaultPolicy(trust.SHC)
	policy.Profile = hcert.Profile(p)
	v := &verifier.Verifier{
		Trust: k.trust, Status: k.status, Now: func() time.Time { return k.clock },
		Policies: map[trust.Domain]verifier.Policy{trust.SHC: policy},
	}
	verdict := v.Verify(texts...)
	card, err := shc.Decode(p, texts...)
	if err != nil {
		card = nil
	}
	if verdict.Outcome == verifier.Valid {
		return cardAnswer{card: card}
	}
	return cardAnswer{step: verdict.Decided, reason: verdict.Reason, detail: verdict.Check(verdict.Decided).Detail, card: card}
}

// Synthetic cases: whole verdicts.

type syntheticCard struct {
	ID       string
	Input    string
	Inputs   []string
	InputB64 string `json:"input_b64"`
	Trust    string
	Clock    string `json:"validation_clock"`
	Claims   any
	Expected struct {
		Result, Stage, Reason string
		MaxMillis             int64 `json:"max_millis"`
		MaxOutput             int   `json:"max_output_bytes"`
	}
}

// cardSteps are the checks in which a stage's reasons show: the table of the
// vectors' README, and for the layers of a card the layers of an HCERT that do
// the same work.
func cardSteps(stage, reason string) []verifier.Step {
	switch {
	case reason == string(shc.ErrAlgNotAllowed):
		return []verifier.Step{verifier.StepSignature}
	case reason == "kid-missing":
		return []verifier.Step{verifier.StepKeys}
	}
	switch stage {
	case "numeric", "chunks", "jws", "deflate", "json":
		return []verifier.Step{verifier.StepDecode}
	}
	return stageSteps(stage, reason)
}

func judgeSyntheticCard(t *testing.T, b *board, dir, file string) {
	var c syntheticCard
	readJSON(t, filepath.Join(dir, file), &c)
	r := result{format: "shc", group: "synthetic", name: c.ID, judgement: agree}
	defer func() { b.add(r) }()
	fail := func(format string, args ...any) {
		r.judgement, r.detail = disagree, fmt.Sprintf(format, args...)
	}

	clock, err := parseClock(c.Clock)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	kit := loadSyntheticIssuers(t, filepath.Join(dir, "synthetic", c.Trust))
	kit.clock = clock
	texts := c.Inputs
	switch {
	case c.InputB64 != "":
		raw, err := base64.StdEncoding.DecodeString(c.InputB64)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		texts = []string{string(raw)}
	case len(texts) == 0:
		texts = []string{c.Input}
	}
	start := time.Now()
	got := kit.verify(shc.Field, texts...)
	elapsed := time.Since(start)

	switch c.Expected.Result {
	case "valid":
		if got.reason != "" {
			fail("want valid, got %s: %s %s", got.step, got.reason, got.detail)
			return
		}
		if c.Claims != nil && !same(fromJSON(got.card.Payload), c.Claims) {
			fail("the claims are others")
		}
	case "invalid":
		if got.reason == "" || !slices.Contains(cardSteps(c.Expected.Stage, c.Expected.Reason), got.step) {
			fail("want %s/%s, got %s: %q %s", c.Expected.Stage, c.Expected.Reason, got.step, got.reason, got.detail)
			return
		}
		if got.reason != c.Expected.Reason && *printTable {
			fmt.Printf("another word: %s: reason %s for %s\n", c.ID, got.reason, c.Expected.Reason)
		}
	case "policy":
		// Accepted or refused, but on purpose: docs/interop.md lists what was decided.
		if *printTable && got.card != nil {
			fmt.Printf("policy: %s: %q, remarked %v\n", c.ID, got.reason, got.card.Remarks)
		} else if *printTable {
			fmt.Printf("policy: %s: %s %s\n", c.ID, got.step, got.reason)
		}
	default:
		t.Errorf("%s: result %q", file, c.Expected.Result)
	}
	if most := c.Expected.MaxMillis; most > 0 && elapsed > time.Duration(most)*time.Millisecond {
		fail("%s, at most %d ms", elapsed, most)
	}
	if most := c.Expected.MaxOutput; most > 0 && got.card != nil && len(got.card.Payload) > most {
		fail("%d bytes came out, at most %d", len(got.card.Payload), most)
	}
}

// loadSyntheticIssuers reads the plain file beside the cases (ruling 9).
func loadSyntheticIssuers(t *testing.T, path string) *cardKit {
	var doc struct {
		Issuers []struct {
			ISS  string
			JWKS json.RawMessage
			CRL  json.RawMessage
		}
	}
	readJSON(t, path, &doc)
	kit := &cardKit{trust: new(trust.List), status: new(trust.Status)}
	for _, i := range doc.Issuers {
		if err := kit.trust.Add(trust.Source{Name: path, Data: i.JWKS, Issuer: i.ISS}); err != nil {
			t.Fatal(err)
		}
		if i.CRL != nil {
			if err := kit.status.AddCRL(path, i.CRL); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kit
}

// The examples of the specification, in all their stages.

// exampleKit trusts the keys of the specification's own examples.
func exampleKit(t *testing.T, dir string) *cardKit {
	var issuers struct {
		Participating []struct{ ISS string } `json:"participating_issuers"`
	}
	readJSON(t, filepath.Join(dir, "jwks", "test-issuers.json"), &issuers)
	kit := &cardKit{trust: new(trust.List), status: new(trust.Status)}
	for _, i := range issuers.Participating {
		kit.addKeys(t, filepath.Join(dir, "jwks", "spec-example-issuer.jwks.json"), i.ISS)
	}
	if err := kit.status.AddCRL("examples", readFile(t, filepath.Join(dir, "jwks", "spec-example-issuer.crl.json"))); err != nil {
		t.Fatal(err)
	}
	return kit
}

func (k *cardKit) addKeys(t *testing.T, path, iss string) {
	t.Helper()
	if err := k.trust.Add(trust.Source{Name: path, Data: readFile(t, path), Issuer: iss}); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// judgeExample compares every stage of an example with the one before.
func judgeExample(t *testing.T, b *board, dir string, c *shcCase, files []string) {
	var bundle, payload, minified, file []byte
	var jws, name string
	var codes []string
	for _, f := range files {
		data := readFile(t, filepath.Join(dir, f))
		switch {
		case strings.Contains(f, "-a-fhirBundle"):
			bundle, name = data, f
		case strings.Contains(f, "-b-jws-payload"):
			payload = data
		case strings.Contains(f, "-c-jws-payload"):
			minified = data
		case strings.Contains(f, "-d-jws"):
			jws = strings.TrimSpace(string(data))
		case strings.Contains(f, "-e-file"):
			file = data
		case strings.Contains(f, "-f-qr-code"):
			codes = append(codes, string(data))
		}
	}
	judge := func(what string, err error) {
		r := result{format: "shc", group: "hl7-examples " + what, name: name, judgement: agree}
		if err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}
	parsed, err := shc.Parse(shc.Field, codes...)
	if err == nil && parsed.Text != jws {
		err = errors.New("the codes hold another JWS")
	}
	judge("codes", err)
	if err == nil {
		slices.Reverse(codes) // people scan as they like
		if again, err := shc.Parse(shc.Field, codes...); err != nil || again.Text != jws {
			judge("codes in another order", fmt.Errorf("another JWS: %v", err))
		}
	}
	cards, err := shc.ParseFile(shc.Field, file)
	if err == nil && (len(cards) != 1 || cards[0].Err != nil || cards[0].JWS.Text != jws) {
		err = errors.New("the file holds another JWS")
	}
	judge("file", err)

	kit := exampleKit(t, dir)
	if kit.clock, err = parseClock(c.ValidationClock); err != nil {
		t.Fatal(err)
	}
	got := kit.verify(shc.Field, jws)
	err = nil
	if got.reason != "" {
		err = fmt.Errorf("%s: %s %s", got.step, got.reason, got.detail)
	}
	judge("verdict", err)
	if got.card == nil {
		return
	}
	content := func(same bool) error {
		if !same {
			return errors.New("another content")
		}
		return nil
	}
	judge("payload", content(bytes.Equal(got.card.Payload, bytes.TrimSpace(minified)) && same(fromJSON(got.card.Payload), fromJSON(payload))))
	claims := fromJSON(payload).(map[string]any)
	subject := claims["vc"].(map[string]any)["credentialSubject"].(map[string]any)
	judge("bundle", content(same(subject["fhirBundle"], fromJSON(bundle))))
	if strict := kit.verify(shc.Strict, jws); len(c.Warnings) == 0 && strict.reason != "" {
		judge("strict", fmt.Errorf("%s: %s %s", strict.step, strict.reason, strict.detail))
	} else if len(c.Warnings) == 0 {
		judge("strict", nil)
	}
	if len(c.Warnings) == 0 { // one code
		text, err := shc.Numeric(jws)
		if err == nil && text != strings.TrimSpace(codes[0]) {
			err = errors.New("another text")
		}
		judge("numeric text", err)
	}
}

// The dev-tools: a validator's test suite. An error of its is a departure from
// the specification, so the strict profile must refuse; a warning is one that
// must not stop a reader, so the field profile must accept, and must have seen
// it.

// evaluation collects what was noticed about a case.
type evaluation struct {
	words   []string // every reason, remark and finding, whatever the profile
	refused error    // why it is not accepted
}

func (e *evaluation) refuse(err error) {
	if err == nil {
		return
	}
	e.words = append(e.words, format.Reason(err, err.Error()))
	if e.refused == nil {
		e.refused = err
	}
}

func (e *evaluation) findings(p shc.Profile, findings []format.Finding) {
	for _, f := range findings {
		e.words = append(e.words, string(f.Reason))
		if (!f.Tolerable || p == shc.Strict) && e.refused == nil {
			e.refused = fmt.Errorf("%s: %w", f.Path, f.Reason)
		}
	}
}

func (e *evaluation) card(p shc.Profile, c *shc.Card, clock time.Time) {
	e.words = append(e.words, c.Remarks...)
	e.findings(p, c.Findings)
	// A warning of theirs, an outcome of ours: it says nothing of the form.
	switch {
	case c.NotBefore.After(clock):
		e.words = append(e.words, "not-yet-valid")
	case !c.Expires.IsZero() && clock.After(c.Expires):
		e.words = append(e.words, "expired")
	}
}

// devToolsClock is the clock of the source's tests.
var devToolsClock = time.Date(2022, 5, 31, 0, 0, 0, 0, time.UTC)

// drawn are the complaints about a picture's version and segments, and about a
// file's name. What is verified here is the text inside.
var drawn = map[string]bool{"INVALID_QR": true, "INVALID_QR_VERSION": true, "INVALID_FILE_EXTENSION": true}

// devToolsWords translates the source's names into the words that show the same
// here. Names that are only counts ("7 errors") are shown by any word.
var devToolsWords = map[string][]string{
	"TRAILING_CHARACTERS":       {"surrounding-space"},
	"INFLATION_ERROR":           {"corrupt", "truncated", "trailing-bytes", "inflated-too-large", "empty"},
	"JWS_HEADER_ERROR":          {"alg-not-allowed", "zip-required", "bad-header", "kid-missing"},
	"JWS_VERIFICATION_ERROR":    {"alg-not-allowed", "zip-required", "kid-missing", "unknown-kid", "unknown-issuer", "issuer-url", "bad-signature"},
	"SIGNATURE_FORMAT_ERROR":    {"bad-signature-form"},
	"REVOCATION_ERROR":          {"unknown-method", "duplicate-rid", "list-behind", "not-a-revocation-list", "bad-rid"},
	"ISSUER_KEY_DOWNLOAD_ERROR": {"unknown-kid", "unknown-issuer"},
	"ISSUER_KID_MISMATCH":       {"unknown-issuer"},
	"INVALID_ISSUER_URL":        {"issuer-url"},
	"EXPIRATION_ERROR":          {"expired", "exp-before-nbf"},
	"NOT_YET_VALID":             {"not-yet-valid"},
	"INVALID_NUMERIC_QR_HEADER": {"not-a-health-card", "not-jws"},
	"INVALID_NUMERIC_QR":        {"bad-length", "not-digits", "out-of-range", "chunk-too-long"},
	"QR_CHUNKING_DEPRECATED":    {"chunked"},
	"QR_DECODE_ERROR":           {"no-code"},
	"JSON_PARSE_ERROR":          {"bad-claims", "malformed-json"},
	"SCHEMA_ERROR":              {"content-type-missing", "card-type-missing", "other-type", "bad-claims", "required-missing"},
	"FHIR_SCHEMA_ERROR":         {"required-missing", "bad-type", "bad-date", "bad-code", "bad-status", "empty-value", "not-minified", "long-url"},
	"PROFILE_ERROR":             {"required-missing", "bad-type", "bad-date", "bad-code", "bad-status", "several-patients"},
	"SHLINK_NOT_HTTPS_URL":      {"malformed-url"},
}

func judgeDevTools(t *testing.T, b *board, dir string, c *shcCase, files []string) {
	name := filepath.Base(files[0])
	r := result{format: "shc", group: "dev-tools", name: name, judgement: agree}
	errorsOfContent := slices.DeleteFunc(slices.Clone(c.Errors), func(e string) bool { return drawn[e] })
	switch c.Result {
	case "negative":
		if len(errorsOfContent) == 0 {
			r.judgement, r.rule, r.detail = notApplicable, "how a picture is drawn", strings.Join(c.Errors, ", ")
			break
		}
		if e := evaluateDevTools(t, dir, c, files, shc.Strict); e.refused == nil {
			r.judgement, r.detail = disagree, fmt.Sprintf("want %v, and it was accepted", c.Errors)
			if c.Type == "fhirbundle" && slices.Equal(errorsOfContent, []string{"TRAILING_CHARACTERS"}) {
				r.rule = "white space around JSON"
			}
		}
	case "positive", "warning":
		profiles := []shc.Profile{shc.Field}
		if c.Result == "positive" {
			profiles = append(profiles, shc.Strict)
		}
		for _, p := range profiles {
			if e := evaluateDevTools(t, dir, c, files, p); e.refused != nil {
				r.judgement, r.detail = disagree, fmt.Sprintf("want it accepted (profile %d): %v", p, e.refused)
			}
		}
	default:
		t.Errorf("%s: result %q", name, c.Result)
	}
	b.add(r)

	// What was named must have been noticed: under the profile that reads on.
	seen := evaluateDevTools(t, dir, c, files, shc.Field)
	names := slices.Concat(c.Errors, c.Warnings)
	slices.Sort(names)
	for _, complaint := range slices.Compact(names) {
		r := result{format: "shc", group: "dev-tools complaints", name: name + " " + complaint, judgement: agree}
		words, known := devToolsWords[complaint]
		switch {
		case drawn[complaint]:
			r.judgement, r.rule, r.detail = notApplicable, "how a picture is drawn", complaint
		case known && !slices.ContainsFunc(seen.words, func(w string) bool { return slices.Contains(words, w) }),
			!known && len(seen.words) == 0:
			r.judgement, r.detail = disagree, fmt.Sprintf("noticed only %v", seen.words)
			if c.Type == "fhirbundle" && complaint == "TRAILING_CHARACTERS" {
				r.rule = "white space around JSON"
			}
		}
		b.add(r)
	}
}

func evaluateDevTools(t *testing.T, dir string, c *shcCase, files []string, p shc.Profile) *evaluation {
	e := new(evaluation)
	var data []byte
	var texts []string
	for _, f := range files {
		data = readFile(t, filepath.Join(dir, f))
		texts = append(texts, string(data))
	}
	kind := c.Type
	if kind == "qr" {
		texts = nil
		for _, f := range files {
			found, err := qr.Read(readFile(t, filepath.Join(dir, f)))
			if err != nil || len(found) == 0 {
				e.refuse(fmt.Errorf("%s: %w: %v", f, format.Defect("no-code"), err))
				return e
			}
			texts = append(texts, found...)
		}
		if kind = "qrnumeric"; strings.Contains(texts[0], "shlink:/") {
			kind = "shlink"
		}
	}
	switch kind {
	case "fhirbundle":
		v, err := strictjson.Parse(data, strictjson.Limits{})
		if err != nil {
			e.refuse(err)
			return e
		}
		_, findings := fhir.Decode(v)
		e.findings(p, findings)
	case "jwspayload":
		// The file is the stage before white space is taken out.
		var payload bytes.Buffer
		if err := json.Compact(&payload, data); err != nil {
			e.refuse(err)
			return e
		}
		card, err := shc.DecodePayload(p, payload.Bytes())
		if err != nil {
			e.refuse(err)
			return e
		}
		e.card(p, card, devToolsClock)
	case "jws", "qrnumeric":
		j, err := shc.Parse(p, texts...)
		e.jws(t, dir, c, files[0], p, j, err)
	case "healthcard", "fhirhealthcard":
		cards, err := shc.ParseFile(p, data)
		e.refuse(err)
		for _, f := range cards {
			e.jws(t, dir, c, files[0], p, f.JWS, f.Err)
		}
	case "shlink":
		_, err := vhl.Parse(texts[0])
		e.refuse(err)
	case "shlmanifest":
		_, err := vhl.ParseManifest(data)
		e.refuse(err)
	default:
		t.Errorf("%s: type %q has no runner", files[0], c.Type)
	}
	return e
}

// jws goes on with a card that has a signature, under the keys that the case
// says are loaded.
func (e *evaluation) jws(t *testing.T, dir string, c *shcCase, file string, p shc.Profile, j *shc.JWS, err error) {
	if err != nil {
		e.refuse(err)
		return
	}
	card, err := j.Open()
	if err != nil {
		e.words = append(e.words, j.Remarks...)
		e.refuse(err)
		return
	}
	e.card(p, card, devToolsClock)
	kit := e.devToolsKit(t, dir, c, file, card)
	kit.clock = card.NotBefore // the source warns of the clock, and e.card has seen it
	if a := kit.verify(p, j.Text); a.reason != "" && a.step != verifier.StepPeriod {
		e.refuse(fmt.Errorf("%s: %w", a.step, format.Defect(a.reason)))
	}
	keys := kit.trust.Keys(trust.Scope{Domain: trust.SHC, Issuer: card.Issuer}, trust.KeyID(j.KeyID()))
	for _, k := range keys {
		// An issuer announces the counter of its list beside the key: another one
		// means that one of the two is out of date.
		if counter, loaded := kit.status.CardCounter(k); loaded && counter != k.CRLVersion {
			e.refuse(format.Defect("list-behind"))
		}
	}
}

var jwkSet = regexp.MustCompile(`jwkset: '[^']*?([^/']+)'`)

// devToolsKit loads what the case's options and neighbours say.
func (e *evaluation) devToolsKit(t *testing.T, dir string, c *shcCase, file string, card *shc.Card) *cardKit {
	kit := exampleKit(t, dir)
	if strings.Contains(c.Options, "clearKeyStore: true") {
		kit.trust = new(trust.List)
	}
	if m := jwkSet.FindStringSubmatch(c.Options); m != nil {
		// Keys that belong to an issuer that is not the card's.
		for _, path := range []string{filepath.Join(dir, "jwks", m[1]), filepath.Join(dir, "dev-tools", m[1])} {
			if _, err := os.Stat(path); err == nil {
				kit.addKeys(t, path, "https://another.issuer.example")
			}
		}
	}
	// A folder well-known beside the case is what the issuer's address serves.
	served := filepath.Join(filepath.Dir(filepath.Join(dir, file)), "well-known")
	if _, err := os.Stat(filepath.Join(served, "jwks.json")); err != nil {
		return kit
	}
	kit.addKeys(t, filepath.Join(served, "jwks.json"), card.Issuer)
	lists, err := filepath.Glob(filepath.Join(served, "crl", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lists {
		crl, err := shc.ParseCRL(readFile(t, path))
		if err != nil {
			e.refuse(err)
			continue
		}
		e.findings(shc.Strict, crl.Findings)
		kit.status.RevokeCards(path, crl)
	}
	return kit
}

// keyIssuer is the address that the source's tests expect in certificates.
const keyIssuer = "https://smarthealth.cards/examples/issuer"

func judgeKeys(t *testing.T, b *board, dir string, c *shcCase, file string) {
	r := result{format: "shc", group: "dev-tools-keys", name: filepath.Base(file), judgement: agree}
	defer func() { b.add(r) }()
	keys, err := jwks.Parse(readFile(t, filepath.Join(dir, file)))
	for i := range keys {
		k := &keys[i]
		if err == nil {
			err = k.Err
		}
		if err == nil && c.SubjectAltName != "" {
			want := keyIssuer
			if quoted, ok := strings.CutPrefix(c.SubjectAltName, "'"); ok {
				want = strings.TrimSuffix(quoted, "'")
			}
			err = k.CheckIssuer(want)
		}
	}
	if (err == nil) != (c.Result == "positive") {
		r.judgement, r.detail = disagree, fmt.Sprintf("%s %v: %v", c.Result, c.Errors, err)
	}
}

// judgeLink opens the file of a link with the link's key.
func judgeLink(t *testing.T, b *board, dir string, files []string) {
	r := result{format: "shc", group: "smart-health-links", name: filepath.Base(files[0]), judgement: agree}
	defer func() { b.add(r) }()
	fail := func(err error) { r.judgement, r.detail = disagree, err.Error() }
	var link *vhl.Link
	var sealed, clear []byte
	for _, f := range files {
		data := readFile(t, filepath.Join(dir, f))
		switch {
		case strings.Contains(string(data[:min(len(data), 512)]), "shlink:/"):
			var err error
			if link, err = vhl.Parse(string(data)); err != nil {
				fail(err)
				return
			}
		case len(data) > 0 && data[0] == '{':
			clear = data
		default:
			sealed = data
		}
	}
	opened, err := vhl.DecryptFile(string(sealed), link.Key)
	switch {
	case err != nil:
		fail(err)
	case !same(fromJSON(opened.Data), fromJSON(clear)):
		fail(errors.New("another document"))
	}
}

// judgeUnpackedCard compares with what the WHO's validator makes of a code: the
// same JWS, and in its FHIR bundle the same person and doses.
func judgeUnpackedCard(t *testing.T, b *board, dir string, files []string) {
	r := result{format: "shc", group: "gdhcn-validator", name: filepath.Base(files[0]), judgement: agree}
	defer func() { b.add(r) }()
	fail := func(text string, args ...any) { r.judgement, r.detail = disagree, fmt.Sprintf(text, args...) }
	text, jws := string(readFile(t, filepath.Join(dir, files[0]))), strings.TrimSpace(string(readFile(t, filepath.Join(dir, files[1]))))
	j, err := shc.Parse(shc.Field, text)
	if err != nil || j.Text != jws {
		fail("another JWS: %v", err)
		return
	}
	kit := exampleKit(t, dir)
	kit.clock = devToolsClock
	got := kit.verify(shc.Field, text)
	if got.reason != "" {
		fail("%s: %s %s", got.step, got.reason, got.detail)
		return
	}
	v, err := strictjson.Parse(readFile(t, filepath.Join(dir, files[2])), strictjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, _ := fhir.Decode(v)
	if a, b := eventsOf(got.card.Bundle), eventsOf(theirs); !slices.Equal(a, b) || len(a) == 0 {
		fail("other content: %v, want %v", len(a), len(b))
	}
}

// judgeVCI loads every directory snapshot and looks each of its keys up under
// the address and identifier that stand beside it.
func judgeVCI(t *testing.T, b *board, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "vci", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var doc struct {
			IssuerInfo []struct {
				Issuer struct{ ISS string }
				Keys   []struct{ KID string }
			}
		}
		readJSON(t, f, &doc)
		r := result{format: "trust", group: "vci", name: filepath.Base(f), judgement: agree}
		list := new(trust.List)
		if err := list.Add(trust.Source{Name: f, Data: readFile(t, f)}); err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		for _, d := range list.Drops() {
			r.judgement, r.detail = disagree, fmt.Sprintf("%s %s: %s", d.Participant, d.Entry, d.Reason)
		}
		for _, i := range doc.IssuerInfo {
			for _, k := range i.Keys {
				scope := trust.Scope{Domain: trust.SHC, Issuer: i.Issuer.ISS}
				if found := list.Keys(scope, trust.KeyID(jwks.ParseKID(k.KID))); len(found) != 1 {
					r.judgement, r.detail = disagree, fmt.Sprintf("%s %s: %d keys", i.Issuer.ISS, k.KID, len(found))
				}
			}
		}
		b.add(r)
	}
}

// eventsOf writes what a bundle says of whom, without its addresses.
func eventsOf(b *fhir.Bundle) []string {
	var events []string
	for _, e := range b.Entries {
		switch {
		case e.Patient != nil:
			events = append(events, fmt.Sprintf("%+v", *e.Patient))
		case e.Immunization != nil:
			i := e.Immunization
			events = append(events, fmt.Sprint(i.Status, i.VaccineCode, i.Occurrence, i.LotNumber, i.Performer))
		case e.Observation != nil:
			x := e.Observation
			events = append(events, fmt.Sprint(x.Status, x.Code, x.Effective, x.Value, x.ValueString, x.Performer))
		}
	}
	return events
}
