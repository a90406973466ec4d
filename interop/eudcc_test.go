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
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/eudcc"
	"ampoule/format/hcert"
	"ampoule/internal/qr"
	"ampoule/party/verifier"
	"ampoule/trust"
)

func runEUDCC(t *testing.T, b *board, dir string) {
	wrong := flagsWrongInSource(t, dir)
	for _, group := range []struct {
		name string
		run  func(t *testing.T, b *board, name, path string)
	}{{"dgc-testdata", judgeFlags}, {"qa", judgeQA}, {"kde", judgeQA}} {
		for _, path := range jsonFiles(t, filepath.Join(dir, group.name)) {
			name, _ := filepath.Rel(filepath.Join(dir, group.name), path)
			from := len(b.results)
			group.run(t, b, name, path)
			for i := range b.results[from:] {
				r := &b.results[from+i]
				flag := strings.TrimPrefix(r.group, group.name+" ")
				if r.judgement == disagree && r.rule == "" && wrong[group.name+"/"+filepath.ToSlash(name)][flag] != nil {
					r.rule = "flag wrong in the source"
				}
			}
		}
	}
}

// flagsWrongInSource are the flags that an independent check of the corpus found
// to contradict the case's own data, as the manifest lists them.
func flagsWrongInSource(t *testing.T, dir string) map[string]map[string]any {
	var manifest struct {
		Cases []struct {
			File      any
			Disagrees map[string]any `json:"oracle_disagrees"`
		}
	}
	readJSON(t, filepath.Join(dir, "manifest.json"), &manifest)
	wrong := map[string]map[string]any{}
	for _, c := range manifest.Cases {
		if file, ok := c.File.(string); ok {
			wrong[file] = c.Disagrees
		}
	}
	return wrong
}

// flagCase is a file of dgc-testdata: the pipeline step by step, and for each
// step whether it must succeed.
type flagCase struct {
	JSON       json.RawMessage
	CBOR       string
	COSE       string
	COMPRESSED string
	BASE45     string
	PREFIX     string
	Picture    string `json:"2DCODE"`
	TESTCTX    struct {
		CERTIFICATE     string
		VALIDATIONCLOCK string
	}
	EXPECTEDRESULTS map[string]any
}

// steps are the flags that a README describes or a ruling reads. Each runs one
// step and returns nil if it succeeded.
var flagSteps = map[string]func(c *flagCase) error{
	"EXPECTEDUNPREFIX":         (*flagCase).unprefix,
	"EXPECTEDB45DECODE":        (*flagCase).base45,
	"EXPECTEDCOMPRESSION":      (*flagCase).inflate,
	"EXPECTEDDECODE":           (*flagCase).decode,
	"EXPECTEDVALIDJSON":        (*flagCase).content,
	"EXPECTEDVALIDOBJECT":      (*flagCase).object,
	"EXPECTEDENCODE":           (*flagCase).encode,
	"EXPECTEDVERIFY":           (*flagCase).verify,
	"EXPECTEDEXPIRATIONCHECK":  (*flagCase).period,
	"EXPECTEDKEYUSAGE":         (*flagCase).usage,
	"EXPECTEDSCHEMAVALIDATION": (*flagCase).schema,
	"EXPECTEDPICTUREDECODE":    (*flagCase).picture,
}

// errNotHere marks a step whose input the case does not ship.
var errNotHere = errors.New("the case ships no input for this step")

func judgeFlags(t *testing.T, b *board, name, path string) {
	var c flagCase
	readJSON(t, path, &c)
	flags := c.EXPECTEDRESULTS
	if inner, ok := flags["EXPECTEDRESULTS"].(map[string]any); ok {
		flags = inner // ruling 2
	}
	for flag, want := range flags {
		step, expected := flagSteps[flag], want == true
		if step == nil {
			continue // ruling 2: EXPTECTEDEXPIRED and the like are ignored
		}
		err := step(&c)
		r := result{format: "eu-dcc", group: "dgc-testdata " + flag, name: name, judgement: agree}
		switch {
		case errors.Is(err, errNotHere):
			r.judgement, r.rule, r.detail = notApplicable, "no input for the step", fmt.Sprintf("want %v", want)
		case (err == nil) != expected:
			r.judgement, r.detail = disagree, fmt.Sprintf("want %v, got %v", want, err)
			switch {
			case flag == "EXPECTEDSCHEMAVALIDATION":
				r.rule = "schema flag against the schema"
			case flag == "EXPECTEDVERIFY" && c.p384():
				r.rule = "ES256 with a P-384 key"
			case flag == "EXPECTEDVALIDJSON" && errors.Is(err, errRounded):
				r.rule = "fractional seconds lost by the source"
			}
		}
		b.add(r)
	}
}

func (c *flagCase) unprefix() error {
	body, _, err := hcert.Unprefix(c.PREFIX, hcert.Field)
	if err == nil && c.BASE45 != "" && body != c.BASE45 {
		return errors.New("the text is not the prefix and BASE45")
	}
	return err
}

func (c *flagCase) base45() error {
	if c.BASE45 == "" {
		return errNotHere
	}
	data, err := hcert.DecodeBase45(c.BASE45)
	if want, _ := hex.DecodeString(c.COMPRESSED); err == nil && c.COMPRESSED != "" && !bytes.Equal(data, want) {
		return errors.New("not COMPRESSED")
	}
	return err
}

func (c *flagCase) inflate() error {
	if c.COMPRESSED == "" {
		return errNotHere
	}
	data, err := hex.DecodeString(c.COMPRESSED)
	if err != nil {
		return err
	}
	got, err := hcert.Inflate(data)
	if want, _ := hex.DecodeString(c.COSE); err == nil && c.COSE != "" && !bytes.Equal(got, want) {
		return errors.New("not COSE")
	}
	return err
}

// message is the COSE bytes: the case's own, else those of its text.
func (c *flagCase) message() ([]byte, error) {
	if c.COSE != "" {
		return hex.DecodeString(c.COSE)
	}
	body, _, err := hcert.Unprefix(c.PREFIX, hcert.Field)
	if err != nil {
		return nil, err
	}
	data, err := hcert.DecodeBase45(body)
	if err != nil {
		return nil, err
	}
	return hcert.Inflate(data)
}

func (c *flagCase) hcert() (*hcert.Message, error) {
	data, err := c.message()
	if err != nil {
		return nil, err
	}
	return hcert.DecodeCOSE(data, hcert.Field)
}

func (c *flagCase) decode() error {
	m, err := c.hcert()
	if err != nil || c.CBOR == "" {
		return err
	}
	data, err := hex.DecodeString(c.CBOR)
	if err != nil {
		return err
	}
	want, err := cbor.Parse(data, cbor.DefaultLimits)
	if err != nil {
		return err
	}
	// CBOR may be the claims or only the certificate.
	for _, got := range []cbor.Value{m.ClaimSet, m.Certificate} {
		if sameValue(got, want) {
			return nil
		}
	}
	return errors.New("neither the claims nor the certificate is CBOR")
}

func sameValue(a, b cbor.Value) bool {
	return same(fromJSON(a.AppendJSON(nil)), fromJSON(b.AppendJSON(nil)))
}

func fromJSON(data []byte) any {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return nil
	}
	return v
}

var errRounded = errors.New("the same but for fractions of a second")

func (c *flagCase) content() error {
	if len(c.JSON) == 0 {
		return errNotHere
	}
	m, err := c.hcert()
	if err != nil {
		return err
	}
	got, want := fromJSON(m.Certificate.AppendJSON(nil)), fromJSON(c.JSON)
	if same(got, want) {
		return nil
	}
	if same(truncateTimes(got), truncateTimes(want)) {
		return errRounded
	}
	return errors.New("the content is not JSON")
}

func (c *flagCase) object() error {
	m, err := c.hcert()
	if err != nil {
		return err
	}
	d, _ := eudcc.Decode(m.Certificate)
	if d.Vaccination == nil && d.Test == nil && d.Recovery == nil {
		return errors.New("no entry could be read")
	}
	return nil
}

func (c *flagCase) encode() error {
	m, err := c.hcert()
	if err != nil {
		return err
	}
	before, _ := eudcc.Decode(m.Certificate)
	v, err := cbor.Parse(eudcc.Append(nil, before), cbor.DefaultLimits)
	if err != nil {
		return err
	}
	if !same(withoutEmpty(fromJSON(v.AppendJSON(nil))), withoutEmpty(fromJSON(m.Certificate.AppendJSON(nil)))) {
		return errors.New("what was encoded decodes to something else")
	}
	return nil
}

func (c *flagCase) key() (*trust.Key, error) {
	der, err := base64.StdEncoding.DecodeString(c.TESTCTX.CERTIFICATE)
	if err != nil || len(der) == 0 {
		return nil, errNotHere
	}
	return trust.NewKey(der)
}

func (c *flagCase) p384() bool {
	k, err := c.key()
	return err == nil && k.IsECDSA() && k.Algorithm == cose.NoAlgorithm
}

func (c *flagCase) verify() error {
	data, err := c.message()
	if err != nil {
		return err
	}
	m, err := cose.Parse(data, cbor.DefaultLimits)
	if err != nil {
		return err
	}
	k, err := c.key()
	if err != nil {
		return err
	}
	list := new(trust.List)
	list.Insert(k)
	keys := list.Keys(trust.Scope{Domain: trust.DCC}, trust.KeyID(m.KID))
	if len(keys) == 0 {
		return errors.New("the kid is not the certificate's")
	}
	return m.Verify(keys[0].Public)
}

// period asks the engine's own check, at the clock of the case.
func (c *flagCase) period() error {
	clock, err := parseClock(c.TESTCTX.VALIDATIONCLOCK)
	if err != nil {
		return errNotHere
	}
	return checkPassed(c.PREFIX, clock, verifier.StepPeriod)
}

func checkPassed(text string, clock time.Time, step verifier.Step) error {
	v := &verifier.Verifier{Trust: new(trust.List), Now: func() time.Time { return clock }}
	if check := v.Verify(text).Check(step); check.Result != verifier.Pass {
		return fmt.Errorf("%s: %s %s", check.Name, check.Result, check.Reason)
	}
	return nil
}

func (c *flagCase) usage() error {
	k, err := c.key()
	if err != nil {
		return err
	}
	m, err := c.hcert()
	if err != nil {
		return err
	}
	d, _ := eudcc.Decode(m.Certificate)
	var purpose trust.Usage
	switch {
	case d.Vaccination != nil:
		purpose = trust.UsageVaccination
	case d.Test != nil:
		purpose = trust.UsageTest
	case d.Recovery != nil:
		purpose = trust.UsageRecovery
	}
	if !k.Usages.Allows(purpose) {
		return fmt.Errorf("the key is for %s", k.Usages)
	}
	return nil
}

// schema is strict: nothing is tolerable here (ruling 5).
func (c *flagCase) schema() error {
	m, err := c.hcert()
	if err != nil {
		return err
	}
	_, findings := eudcc.Decode(m.Certificate)
	for _, f := range findings {
		if f.Reason != format.SuspiciousText { // not of the schema
			return fmt.Errorf("%s: %w", f.Path, f.Reason)
		}
	}
	return nil
}

func (c *flagCase) picture() error {
	if c.Picture == "" {
		return errNotHere // ruling 4
	}
	return pictureHolds(c.Picture, c.PREFIX)
}

func pictureHolds(encoded, text string) error {
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded[strings.IndexByte(encoded, ',')+1:]))
	if err != nil {
		return err
	}
	texts, err := qr.Read(data)
	if err != nil {
		return err
	}
	for _, got := range texts {
		if got == text {
			return nil
		}
	}
	return errors.New("the picture holds another text")
}

// qaCase is a QR code of dcc-quality-assurance or of KDE's tests, decoded by
// other readers.
type qaCase struct {
	Prefix      string
	KID         string
	Certificate string
	Claims      json.RawMessage
	Expected    struct {
		Decode      bool
		Signature   *bool
		Revoked     *bool
		SingleEvent *bool `json:"single_event"`
	}
}

func judgeQA(t *testing.T, b *board, name, path string) {
	var c qaCase
	readJSON(t, path, &c)
	group := strings.Split(filepath.ToSlash(path), "/eu-dcc/")[1]
	group = group[:strings.IndexByte(group, '/')]
	judge := func(what string, err error) {
		r := result{format: "eu-dcc", group: group + " " + what, name: name, judgement: agree}
		if err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}
	skip := func(what, rule string) {
		b.add(result{format: "eu-dcc", group: group + " " + what, name: name, judgement: notApplicable, rule: rule})
	}

	m, err := hcert.Decode(format.TrimText(c.Prefix), hcert.Field)
	if err == nil && len(c.Claims) > 0 && !same(fromJSON(m.ClaimSet.AppendJSON(nil)), fromJSON(c.Claims)) {
		err = errors.New("the claims are others")
	}
	if err == nil && c.KID != "" && base64.StdEncoding.EncodeToString(m.Sign1.KID) != c.KID {
		err = errors.New("the kid is another")
	}
	if !c.Expected.Decode && err != nil {
		judge("decode", nil)
		return
	}
	judge("decode", err)
	if err != nil {
		return
	}
	d, findings := eudcc.Decode(m.Certificate)
	_ = d
	if want := c.Expected.SingleEvent; want != nil {
		several := false
		for _, f := range findings {
			several = several || f.Reason == format.SeveralCertificates
		}
		if several == *want {
			err = fmt.Errorf("several events: %v", several)
		}
		judge("single event", err)
	}
	if png, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".png"); err == nil {
		judge("picture", pictureHolds(base64.StdEncoding.EncodeToString(png), c.Prefix))
	}
	switch {
	case c.Expected.Signature == nil:
		skip("verdict", "the key is not there")
		return
	case c.Expected.Revoked != nil && *c.Expected.Revoked:
		skip("verdict", "the revocation list is not published")
		return
	}
	der, err := base64.StdEncoding.DecodeString(c.Certificate)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	list := new(trust.List)
	if err := list.Add(trust.Source{Name: "case", Data: der}); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	// Ruling 3: without a clock, at the certificate's own iat.
	v := &verifier.Verifier{Trust: list, Now: func() time.Time { return m.Claims.IssuedAt }}
	verdict := v.Verify(c.Prefix)
	want := verifier.Valid
	if c.Expected.SingleEvent != nil && !*c.Expected.SingleEvent {
		want = verifier.SchemaInvalid
	}
	if !*c.Expected.Signature {
		want = verifier.BadSignature
	}
	if verdict.Outcome != want {
		judge("verdict", fmt.Errorf("want %s, got %s (%s): %+v", want, verdict.Outcome, verdict.Reason, verdict.Checks))
		return
	}
	judge("verdict", nil)
}
