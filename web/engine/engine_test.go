package engine

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/bundle"
	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// rule refuses everybody who comes to XB.
const rule = `{"Identifier": "VR-XB-0001", "Type": "Acceptance", "Country": "XB", "Version": "1.0.0", "SchemaVersion": "1.0.0", "Engine": "CERTLOGIC",
	"EngineVersion": "0.7.5", "CertificateType": "Vaccination", "Description": [{"lang": "en", "desc": "Nobody comes in."}],
	"ValidFrom": "2026-01-01T00:00:00Z", "ValidTo": "2030-06-01T00:00:00Z", "AffectedFields": ["v.0.dn"],
	"Logic": {"===": [{"var": "payload.v.0.dn"}, 99]}}`

// world is an engine, the root of its bundles, and a certificate that lasts for
// half a year.
type world struct {
	*Engine
	t    *testing.T
	now  time.Time
	root *keys.BundleRoot
	file []byte // of the public root
	list []byte // of the trusted key
	text string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: noon}
	w.Engine = &Engine{Now: func() time.Time { return w.now }}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.root, err = keys.NewBundleRoot(cose.ES256, time.Time{}, time.Time{}, rand.Reader)
	must(err)
	root, err := w.root.Signer().Root()
	must(err)
	w.file, err = bundle.EncodeRoots(root)
	must(err)
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Specimen", Name: "Specimen SCA"}, noon.AddDate(-1, 0, 0), rand.Reader)
	must(err)
	dsc, err := sca.IssueDSC(keys.DSCProfile{Name: "Specimen DSC"}, noon.AddDate(-1, 0, 0), rand.Reader)
	must(err)
	w.list = dsc.Certificate().Raw
	i := issuer.Issuer{
		Signer: dsc.Signer, KID: dsc.KID(), NotBefore: dsc.Certificate().NotBefore, NotAfter: dsc.Certificate().NotAfter,
		Participant: "XA", Now: w.Now,
	}
	issued, err := i.Issue(issuer.Request{Format: issuer.EUDCC, Expires: noon.AddDate(0, 6, 0), Record: &cert.Certificate{
		Person: cert.Person{Name: cert.Name{Family: "Specimen", Given: "Demo"}, BirthDate: "1990-02-03"}, Authority: "Specimen authority",
		Vaccination: &cert.Vaccination{
			Disease: cert.Code{Code: "840539006"}, Vaccine: cert.Code{Code: "1119349007"}, Product: cert.Code{Code: "EU/1/20/1528"},
			Manufacturer: cert.Code{Code: "ORG-100030215"}, Date: "2026-01-01", Dose: 2, Doses: 2, Country: "XA",
		},
	}})
	must(err)
	w.text = issued.Text
	return w
}

// bundle makes one that is good for thirty days.
func (w *world) bundle() []byte {
	w.t.Helper()
	root, err := w.root.Signer().Root()
	if err != nil {
		w.t.Fatal(err)
	}
	b, _, err := bundle.Make(bundle.Input{
		Maker: "XA", Issued: noon, Next: noon.AddDate(0, 0, 30), Signers: []bundle.Root{root},
		Documents: []bundle.Document{{Kind: bundle.Trust, Name: "dsc", Data: w.list}, {Kind: bundle.Rules, Name: "rules", Data: []byte(rule)}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	file, err := bundle.Sign(rand.Reader, b, w.root.Signer())
	if err != nil {
		w.t.Fatal(err)
	}
	return file
}

// judge returns "outcome (reason)" of the only certificate.
func (w *world) judge(o Options) string {
	w.t.Helper()
	var r verifier.Report
	lines := w.Verify([]string{w.text}, o)
	if err := json.Unmarshal(lines, &r); err != nil || strings.Count(string(lines), "\n") != 1 {
		w.t.Fatalf("%v: %s", err, lines)
	}
	if shown := r.Certificate != nil; shown != (o.Show || r.Outcome == verifier.Valid) {
		w.t.Errorf("%s: content shown: %v", r.Outcome, shown)
	}
	return fmt.Sprintf("%s (%s)", r.Outcome, r.Reason)
}

func TestEngine(t *testing.T) {
	w := newWorld(t)
	if got := w.judge(Options{}); got != "unknown-issuer (unknown-kid)" {
		t.Errorf("without a bundle: %s", got)
	}
	file := w.bundle()
	if _, err := w.Accept(file); !errors.Is(err, bundle.ErrNoRoot) {
		t.Errorf("without a root: %v", err)
	}
	if err := w.Pin([]byte("-----BEGIN")); !errors.Is(err, bundle.ErrRoot) {
		t.Errorf("%v", err)
	}
	if err := w.Pin(w.file); err != nil {
		t.Fatal(err)
	}
	info, err := w.Accept(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Serial != 1 || info.Keys != 1 || info.Maker != "XA" || len(info.Root) != 64 || info.Roots != string(w.file) ||
		!info.Next.Equal(noon.AddDate(0, 0, 30)) || fmt.Sprint(info.Destinations) != "[XB]" {
		t.Errorf("%+v", info)
	}
	if _, err := w.Accept(file); !errors.Is(err, bundle.ErrKept) {
		t.Errorf("again: %v", err)
	}

	const valid, old = "valid (all-required-checks-passed)", "unknown (bundle-too-old)"
	for _, tt := range []struct {
		name string
		days int // since the bundle was made
		o    Options
		want string
	}{
		{"now", 0, Options{}, valid},
		{"shown", 0, Options{Show: true}, valid},
		{"a destination without rules", 0, Options{Arrival: "XA"}, valid},
		{"the destination", 0, Options{Arrival: "XB"}, "rule-failed (destination-rule)"},
		{"a day after the bundle, by what is known today", 0, Options{At: noon.AddDate(0, 0, 60)}, valid},
		{"a day after the certificate", 0, Options{At: noon.AddDate(1, 0, 0)}, "expired (expired)"},
		{"refused and shown", 0, Options{At: noon.AddDate(1, 0, 0), Show: true}, "expired (expired)"},
		{"with an old bundle", 30, Options{}, old},
		{"with an old bundle, as of a day when it was new", 30, Options{At: noon}, old},
		{"with an old bundle, as of a later day", 30, Options{At: noon.AddDate(0, 0, 60)}, old},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.now = noon.AddDate(0, 0, tt.days)
			if got := w.judge(tt.o); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestSeveral: each certificate has a line, in the order of the codes.
func TestSeveral(t *testing.T) {
	w := newWorld(t)
	lines := strings.Split(string(w.Verify([]string{"nonsense", w.text, "shc:/1/2/56", "shc:/2/2/56"}, Options{})), "\n")
	if len(lines) != 4 || lines[3] != "" {
		t.Fatalf("%q", lines)
	}
	for i, want := range []string{"unsupported", "unknown-issuer", "malformed"} {
		if !strings.Contains(lines[i], `"outcome":"`+want+`"`) {
			t.Errorf("line %d is not %s: %s", i+1, want, lines[i])
		}
	}
}

func TestCodesAndFailure(t *testing.T) {
	if got, err := Codes([]byte("HC1:A\nhc1:b\n")); err != nil || string(got) != `["HC1:A","hc1:b"]` {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Codes([]byte(`{"verifiableCredential": []}`)); err == nil {
		t.Error("a card file without cards")
	}
	for want, err := range map[string]error{"truncated": fmt.Errorf("x: %w", format.Defect("truncated")), "failed": errors.New("x")} {
		var f struct{ Error, Detail string }
		if e := json.Unmarshal(Failure(err), &f); e != nil || f.Error != want || f.Detail != err.Error() {
			t.Errorf("%+v, %v", f, e)
		}
	}
}
