package vdsnc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gowebpki/jcs"

	"ampoule/format"
	"ampoule/format/strictjson"
)

const vaccination = `{"hdr":{"t":"icao.vacc","v":1,"is":"UTO"},"msg":{"uvci":"U1",
	"pid":{"n":"SPECIMEN  ADA","dob":"1990-02-03","sex":"F","i":"X1"},
	"ve":[{"des":"XM0N24","nam":"Stamaril","dis":"1D47","vd":[
		{"dvc":"2026-03-01","seq":1,"ctr":"UTO","adm":"Clinic","lot":"L1","dvn":"2026-04-01"},
		{"dvc":"2026-04-01","seq":2,"ctr":"UTO","adm":"Clinic"}]}]}}`

const testResult = `{"hdr":{"t":"icao.test","v":1,"is":"UTO"},"msg":{"utci":"U2",
	"pid":{"n":"SPECIMEN  ADA","dob":"1990-02-03","dt":"P","dn":"X1"},
	"sp":{"spn":"Lab","ctr":"UTO","cd":{"p":"+0","e":"lab@example.org","a":"1 Street"}},
	"dat":{"sc":"2026-10-30T12:00:00+08:00","ri":"2026-10-31T14:00:00+08:00"},
	"tr":{"tc":"molecular(PCR)","r":"negative","m":"saliva"},"opt":"note"}}`

func newKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign makes r || s over the canonical form.
func sign(t testing.TB, k *ecdsa.PrivateKey, alg, data string) []byte {
	t.Helper()
	canonical, err := jcs.Transform([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	r, s, err := ecdsa.Sign(rand.Reader, k, algorithms[alg].hash(canonical))
	if err != nil {
		t.Fatal(err)
	}
	size := algorithms[alg].size
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out
}

func seal(data, alg, cer, sigvl string) string {
	return fmt.Sprintf(`{"data":%s,"sig":{"alg":%q,"cer":%q,"sigvl":%q}}`, data, alg, cer, sigvl)
}

func TestDecode(t *testing.T) {
	got, findings, err := Decode(seal(vaccination, "ES256", "AQID", "AAAA"), Strict)
	if err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	want := &Seal{
		Type: TypeVaccination, Version: 1, Issuer: "UTO", Algorithm: "ES256", Certificate: []byte{1, 2, 3}, Signature: []byte{0, 0, 0},
		Vaccination: &Vaccination{
			ID: "U1", Person: Person{Name: "SPECIMEN  ADA", BirthDate: "1990-02-03", Sex: "F", Document: "X1"},
			Events: []Event{{Vaccine: "XM0N24", Name: "Stamaril", Disease: "1D47", Doses: []Dose{
				{Date: "2026-03-01", Number: 1, Country: "UTO", Centre: "Clinic", Lot: "L1", Next: "2026-04-01"},
				{Date: "2026-04-01", Number: 2, Country: "UTO", Centre: "Clinic"},
			}}},
		},
	}
	ignoreSigned := cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "signed" }, cmp.Ignore())
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Seal{}), ignoreSigned); diff != "" {
		t.Error(diff)
	}

	got, findings, err = Decode(seal(testResult, "ES256", "AQID", ""), Strict)
	if err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	wantTest := &Test{
		ID: "U2", Person: Person{Name: "SPECIMEN  ADA", BirthDate: "1990-02-03", Number: "X1", NumberType: "P"},
		Centre: "Lab", Country: "UTO", Phone: "+0", Email: "lab@example.org", Address: "1 Street",
		Sampled: "2026-10-30T12:00:00+08:00", Reported: "2026-10-31T14:00:00+08:00",
		Method: "molecular(PCR)", Result: "negative", Specimen: "saliva", Optional: "note",
	}
	if diff := cmp.Diff(wantTest, got.Test); diff != "" || got.Vaccination != nil {
		t.Error(diff)
	}
}

func TestVerify(t *testing.T) {
	keys := map[string]*ecdsa.PrivateKey{"ES256": newKey(t, elliptic.P256()), "ES384": newKey(t, elliptic.P384()), "ES512": newKey(t, elliptic.P521())}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	others := map[string]crypto.PublicKey{"RSA": r.Public(), "P-224": newKey(t, elliptic.P224()).Public(), "nil": nil, "nil EC": (*ecdsa.PublicKey)(nil)}
	for alg, k := range keys {
		good := sign(t, k, alg, vaccination)
		text := seal(vaccination, alg, "AQID", base64.URLEncoding.EncodeToString(good))
		s, _, err := Decode(text, Strict)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(k.Public()); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if err := s.Verify(newKey(t, k.Curve).Public()); !errors.Is(err, ErrSignature) {
			t.Errorf("%s with another key: %v", alg, err)
		}
		for other, ok := range keys {
			if other != alg {
				if err := s.Verify(ok.Public()); !errors.Is(err, ErrAlgNotAllowed) {
					t.Errorf("%s with a key for %s: %v", alg, other, err)
				}
			}
		}
		for name, pub := range others {
			if err := s.Verify(pub); !errors.Is(err, ErrAlgNotAllowed) {
				t.Errorf("%s with %s: %v", alg, name, err)
			}
		}
		for _, named := range []string{"none", "", "HS256", "RS256", "es256", "ES256K"} {
			s.Algorithm = named
			if err := s.Verify(k.Public()); !errors.Is(err, ErrAlgNotAllowed) {
				t.Errorf("alg %q: %v", named, err)
			}
		}
		// The signature is over the meaning of the JSON, not over its layout.
		s, _, err = Decode(strings.ReplaceAll(strings.ReplaceAll(text, ",", " ,\n\t"), `"v":1`, `"v":1.0e0`), Strict)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(k.Public()); err != nil {
			t.Errorf("%s laid out otherwise: %v", alg, err)
		}
		s, _, err = Decode(strings.Replace(text, `"seq":2`, `"seq":3`, 1), Strict)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(k.Public()); !errors.Is(err, ErrSignature) {
			t.Errorf("%s changed: %v", alg, err)
		}
		for _, n := range []int{0, 1, len(good) - 1, len(good) + 1} {
			s.Signature = make([]byte, n)
			if err := s.Verify(k.Public()); !errors.Is(err, ErrSignature) {
				t.Errorf("%s of %d bytes: %v", alg, n, err)
			}
		}
	}
}

func TestField(t *testing.T) {
	k := newKey(t, elliptic.P256())
	raw := sign(t, k, "ES256", vaccination)
	for raw[0]|raw[32] < 0x80 || raw[0] == 0 || raw[32] == 0 { // so that DER has both lengths
		raw = sign(t, k, "ES256", vaccination)
	}
	sigvl := base64.URLEncoding.EncodeToString(raw)
	der := []byte{0x30, 0}
	for _, half := range [][]byte{raw[:32], raw[32:]} {
		if half[0] >= 0x80 {
			half = append([]byte{0}, half...)
		}
		der = append(append(der, 2, byte(len(half))), half...)
	}
	der[1] = byte(len(der) - 2)
	text := strings.Replace(vaccination, `"seq":1`, `"seq":"1"`, 1)
	numbers := base64.URLEncoding.EncodeToString(sign(t, k, "ES256", text))
	for _, tc := range []struct {
		name, text string
		remarks    []string
	}{
		{"as it should be", seal(vaccination, "ES256", "AQI=", sigvl), nil},
		{"no padding", seal(vaccination, "ES256", "AQI", strings.TrimRight(sigvl, "=")), []string{"cer-unpadded", "sigvl-unpadded"}},
		{"standard alphabet", seal(vaccination, "ES256", "+/+/", sigvl), []string{"cer-standard-alphabet"}},
		{"number as text", seal(text, "ES256", "AQID", numbers), []string{"number-as-text"}},
		{"signature in DER", seal(vaccination, "ES256", "AQID", base64.URLEncoding.EncodeToString(der)), []string{"signature-der"}},
		{"members beside", strings.Replace(seal(vaccination, "ES256", "AQID", sigvl), `{"data"`, `{"x":1,"data"`, 1), []string{"unsigned-members"}},
		{"members in sig", strings.Replace(seal(vaccination, "ES256", "AQID", sigvl), `{"alg"`, `{"x":1,"alg"`, 1), []string{"unsigned-members"}},
		{"byte order mark", "\ufeff " + seal(vaccination, "ES256", "AQID", sigvl) + "\r\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, findings, err := Decode(tc.text, Field)
			if err != nil || len(findings) > 0 {
				t.Fatal(err, findings)
			}
			if diff := cmp.Diff(tc.remarks, s.Remarks); diff != "" {
				t.Error(diff)
			}
			if err := s.Verify(k.Public()); err != nil {
				t.Error(err)
			}
			_, _, err = Decode(tc.text, Strict)
			if (len(tc.remarks) > 0) != errors.Is(err, ErrIrregular) {
				t.Errorf("strict: %v", err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	good := seal(vaccination, "ES256", "AQID", "AAAA")
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not there", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, tc := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", strictjson.ErrMalformed},
		{"another thing", `{"vc":{}}`, ErrNotSeal},
		{"array", `[1]`, ErrNotSeal},
		{"names in capitals", strings.Replace(good, `"data"`, `"Data"`, 1), ErrNotSeal},
		{"data twice", strings.Replace(good, `{"data"`, `{"data":{},"data"`, 1), ErrDuplicateKey},
		{"data twice by an escape", strings.Replace(good, `{"data"`, `{"d\u0061ta":{},"data"`, 1), ErrDuplicateKey},
		{"member twice inside", with(`"n":"SPECIMEN  ADA"`, `"n":"EVE","n":"SPECIMEN  ADA"`), ErrDuplicateKey},
		{"two documents", good + good, strictjson.ErrMalformed},
		{"trailing", good + "x", strictjson.ErrMalformed},
		{"deep", strings.Repeat("[", 3000), strictjson.ErrTooDeep},
		{"deep inside", with(`"sex":"F"`, `"sex":`+strings.Repeat("[", 50)+strings.Repeat("]", 50)), strictjson.ErrTooDeep},
		{"long", strings.Repeat(" ", 100) + strings.Repeat("x", MaxText+1), ErrTextTooLong},
		{"lone surrogate", with("SPECIMEN", `\ud800`), ErrNotIJSON},
		{"not UTF-8", with("SPECIMEN", "\xff"), ErrNotIJSON},
		{"big number", with(`"v":1`, `"v":1e999`), ErrNotIJSON},
		{"unknown type", with("icao.vacc", "icao.other"), ErrType},
		{"type is a number", with(`"icao.vacc"`, "1"), ErrShape},
		{"later version", with(`"v":1`, `"v":2`), ErrVersion},
		{"version as text", with(`"v":1`, `"v":"1"`), ErrVersion},
		{"no version", with(`"v":1,`, ""), ErrVersion},
		{"no state", with(`,"is":"UTO"`, ""), ErrShape},
		{"header is an array", with(`{"t":"icao.vacc","v":1,"is":"UTO"}`, "[]"), ErrShape},
		{"header is null", with(`{"t":"icao.vacc","v":1,"is":"UTO"}`, "null"), ErrShape},
		{"data is null", seal("null", "ES256", "AQID", "AAAA"), ErrShape},
		{"no message", seal(`{"hdr":{"t":"icao.vacc","v":1,"is":"UTO"}}`, "ES256", "AQID", "AAAA"), ErrShape},
		{"sig is a text", `{"data":{},"sig":"x"}`, ErrShape},
		{"alg is a number", with(`"ES256"`, "7"), ErrShape},
		{"sigvl is null", with(`"AAAA"`, "null"), ErrShape},
		{"no cer", with(`"cer":"AQID",`, ""), ErrShape},
		{"empty cer", with(`"AQID"`, `""`), ErrNoCertificate},
		{"not base64", with(`"AQID"`, `"AQ*D"`), ErrBase64},
		{"two alphabets", with(`"AQID"`, `"A-+D"`), ErrBase64},
		{"line break", with(`"AQID"`, `"AQ\nID"`), ErrBase64},
		{"too much padding", with(`"AQID"`, `"A==="`), ErrBase64},
		{"padding in excess", with(`"AQID"`, `"AQID="`), ErrBase64},
		{"bits left over", with(`"AQID"`, `"AR=="`), ErrBase64},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := Decode(tc.text, Field); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		name, in, old, new string
		want               []format.Finding
	}{
		{"no name", vaccination, `"n":"SPECIMEN  ADA",`, "", []format.Finding{{Path: "pid.n", Reason: format.RequiredMissing}}},
		{"blank name", vaccination, `SPECIMEN  ADA`, "  ", []format.Finding{{Path: "pid.n", Reason: format.RequiredMissing}}},
		{"name alone", vaccination, `"dob":"1990-02-03","sex":"F","i":"X1"`, `"sex":"F"`, []format.Finding{{Path: "pid.dob|pid.i", Reason: format.RequiredMissing}}},
		{"partial birth date", vaccination, "1990-02-03", "1990-02", []format.Finding{{Path: "pid.dob", Reason: format.BadDate, Tolerable: true}}},
		{"no date", vaccination, "1990-02-03", "soon", []format.Finding{{Path: "pid.dob", Reason: format.BadDate}}},
		{"no such day", vaccination, `"dvc":"2026-03-01"`, `"dvc":"2026-02-30"`, []format.Finding{{Path: "ve[0].vd[0].dvc", Reason: format.BadDate}}},
		{"no such next day", vaccination, `"dvn":"2026-04-01"`, `"dvn":"2026-04-31"`, []format.Finding{{Path: "ve[0].vd[0].dvn", Reason: format.BadDate, Tolerable: true}}},
		{"sex", vaccination, `"F"`, `"female"`, []format.Finding{{Path: "pid.sex", Reason: format.BadCode, Tolerable: true}}},
		{"state of two letters", vaccination, `"is":"UTO"`, `"is":"UT"`, []format.Finding{{Path: "hdr.is", Reason: format.BadCode}}},
		{"dose is a text", vaccination, `"vd":[`, `"vd":["x",`, []format.Finding{{Path: "ve[0].vd[0]", Reason: format.BadType}}},
		{"number is huge", vaccination, `"seq":1`, `"seq":1e300`, []format.Finding{{Path: "ve[0].vd[0].seq", Reason: format.BadValue, Tolerable: true}}},
		{"number is missing", vaccination, `"seq":1,`, ``, []format.Finding{{Path: "ve[0].vd[0].seq", Reason: format.RequiredMissing, Tolerable: true}}},
		{"unknown member", vaccination, `"lot"`, `"secret":1,"lot"`, []format.Finding{{Path: "ve[0].vd[0].…", Reason: format.NotCarried, Tolerable: true}}},
		{"hidden controls", vaccination, "Clinic", "\u202eClinic", []format.Finding{{Path: "ve[0].vd[0].adm", Reason: format.SuspiciousText, Tolerable: true}}},
		{"no provider", testResult, `"sp":`, `"ps":`, []format.Finding{{Path: "…", Reason: format.NotCarried, Tolerable: true}, {Path: "sp", Reason: format.RequiredMissing}}},
		{"result is a number", testResult, `"negative"`, `0`, []format.Finding{{Path: "tr.r", Reason: format.BadType}}},
		{"a day for a time", testResult, "2026-10-30T12:00:00+08:00", "2026-10-30", []format.Finding{{Path: "dat.sc", Reason: format.BadDate, Tolerable: true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(tc.in, tc.old) {
				t.Fatalf("%s is not there", tc.old)
			}
			_, findings, err := Decode(seal(strings.Replace(tc.in, tc.old, tc.new, 1), "ES256", "AQID", "AAAA"), Field)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, findings); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestShownIsSigned: a number whose digits are lost in the canonical form must
// be lost in what is shown, too.
func TestShownIsSigned(t *testing.T) {
	s, _, err := Decode(seal(strings.Replace(vaccination, `"seq":2`, `"seq":2.00000000000000000001`, 1), "ES256", "AQID", "AAAA"), Field)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Vaccination.Events[0].Doses[1].Number; n != 2 || !strings.Contains(string(s.Signed()), `"seq":2}`) {
		t.Errorf("number %d of %s", n, s.Signed())
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(seal(vaccination, "ES256", "AQID", "AAAA"))
	f.Add(seal(testResult, "ES512", "AQID", "MAYCAQECAQE="))
	f.Add(strings.Replace(seal(vaccination, "ES256", "+/+/", "AA"), `"seq":1`, `"seq":"1"`, 1))
	f.Fuzz(func(t *testing.T, text string) {
		s, findings, err := Decode(text, Field)
		if err != nil {
			return
		}
		if (s.Vaccination == nil) == (s.Test == nil) || len(s.Certificate) == 0 || len(text) > MaxText+16 {
			t.Errorf("%+v", s)
		}
		// The canonical form is its own canonical form, and says the same.
		again, more, err := Decode(seal(string(s.Signed()), "ES256", "AQID", "AAAA"), Field)
		if err != nil {
			if !errors.Is(err, ErrTextTooLong) { // a number may grow in it
				t.Fatal(err)
			}
			return
		}
		if diff := cmp.Diff([]any{s.Vaccination, s.Test, string(s.Signed())}, []any{again.Vaccination, again.Test, string(again.Signed())}); diff != "" {
			t.Error(diff)
		}
		if len(findings) != len(more) {
			t.Errorf("findings %v, then %v", findings, more)
		}
		if !json.Valid(s.Signed()) {
			t.Error("the canonical form is not JSON")
		}
		if err := s.Verify(fuzzKey); err == nil {
			t.Error("verified")
		}
	})
}

var fuzzKey = func() crypto.PublicKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k.Public()
}()
