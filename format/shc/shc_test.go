package shc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/deflate"
	"ampoule/format/fhir"
	"ampoule/format/jwks"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

var testKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// specimen is a card of two doses.
func specimen() *Card {
	dose := func(day, lot string) *fhir.Immunization {
		return &fhir.Immunization{
			Status: "completed", Occurrence: day, LotNumber: lot,
			VaccineCode: fhir.Concept{Coding: []fhir.Coding{{System: fhir.SystemCVX, Code: "184"}}},
			Patient:     fhir.Reference{Reference: "resource:0"},
			Performer:   []fhir.Performer{{Actor: fhir.Reference{Display: "Clinic <A> & B"}}},
		}
	}
	return &Card{
		Issuer: "https://issuer.example/shc", NotBefore: time.Unix(1_772_409_600, 0).UTC(), FHIRVersion: "4.0.1",
		Types: []string{TypeCard, TypeImmunization}, RID: "AAAA-_9",
		Bundle: &fhir.Bundle{Type: "collection", Entries: []fhir.Entry{
			{Patient: &fhir.Patient{Name: []fhir.HumanName{{Family: "Specimen", Given: []string{"Ada", "B."}}}, BirthDate: "1990-02-03"}},
			{Immunization: dose("2026-02-01", "LOT-1")},
			{Immunization: dose("2026-03-01", "LOT-2")},
		}},
	}
}

func issue(t testing.TB, c *Card) string {
	t.Helper()
	jws, err := Encode(rand.Reader, testKey(), c)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func numeric(t testing.TB, jws string) string {
	t.Helper()
	text, err := Numeric(jws)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// digits writes a JWS of any length.
func digits(jws string) string {
	var b strings.Builder
	for i := range len(jws) {
		fmt.Fprintf(&b, "%02d", jws[i]-45)
	}
	return b.String()
}

// sign makes a JWS over any header and compressed payload.
func sign(t testing.TB, header string, compressed []byte) string {
	t.Helper()
	signed := encodeBase64([]byte(header)) + "." + encodeBase64(compressed)
	digest := sha256.Sum256([]byte(signed))
	der, err := testKey().Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := splitSignature(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encodeBase64(rs)
}

const goodHeader = `{"zip":"DEF","alg":"ES256","kid":"some"}`

// signPayload makes a JWS over any text.
func signPayload(t testing.TB, payload string) string {
	t.Helper()
	compressed, err := deflate.Deflate([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, goodHeader, compressed)
}

func payloadOf(t testing.TB) string {
	t.Helper()
	p, err := specimen().payload()
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestEncodeDecode(t *testing.T) {
	want := specimen()
	want.Expires = time.Unix(1_900_000_000, 0).UTC()
	jws := issue(t, want)
	for _, text := range []string{jws, numeric(t, jws)} {
		for _, p := range []Profile{Field, Strict} {
			j, err := Parse(p, text)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Verify(testKey().Public()); err != nil {
				t.Error(err)
			}
			id, err := jwks.Thumbprint(testKey().Public())
			if err != nil || !bytes.Equal(j.KeyID(), id) {
				t.Errorf("key %x, want %x: %v", j.KeyID(), id, err)
			}
			got, err := j.Open()
			if err != nil {
				t.Fatal(err)
			}
			if got.Issuer != want.Issuer || !got.NotBefore.Equal(want.NotBefore) || !got.Expires.Equal(want.Expires) || got.RID != want.RID ||
				!slices.Equal(got.Types, want.Types) || got.FHIRVersion != "4.0.1" || len(got.Findings) != 0 || len(got.Remarks) != 0 {
				t.Errorf("card %+v", got)
			}
			for i, e := range got.Bundle.Entries {
				w := want.Bundle.Entries[i]
				if diff := cmp.Diff([]any{w.Patient, w.Immunization}, []any{e.Patient, e.Immunization}); diff != "" {
					t.Error(diff)
				}
				if e.Immunization != nil && e.Subject != got.Bundle.Entries[0].Patient {
					t.Error("a dose of nobody")
				}
			}
			if !bytes.Contains(got.Payload, []byte("<A> & B")) {
				t.Errorf("payload %s", got.Payload)
			}
		}
	}
	a, b := issue(t, want), issue(t, want)
	if a == b || a[:strings.LastIndexByte(a, '.')] != b[:strings.LastIndexByte(b, '.')] {
		t.Error("all but the signature must be the same every time")
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, edit := range map[string]func(c *Card){
		"no issuer":            func(c *Card) { c.Issuer = "" },
		"issuer with a slash":  func(c *Card) { c.Issuer += "/" },
		"issuer not https":     func(c *Card) { c.Issuer = "http://issuer.example" },
		"no date":              func(c *Card) { c.NotBefore = time.Time{} },
		"an end before":        func(c *Card) { c.Expires = c.NotBefore.Add(-time.Second) },
		"an end before 1970":   func(c *Card) { c.Expires = time.Unix(0, 0) },
		"no type":              func(c *Card) { c.Types = nil },
		"a rid too long":       func(c *Card) { c.RID = strings.Repeat("A", 25) },
		"a rid with a dot":     func(c *Card) { c.RID = "A.1" },
		"no bundle":            func(c *Card) { c.Bundle = nil },
		"another resource":     func(c *Card) { c.Bundle.Entries[1] = fhir.Entry{Type: "Coverage"} },
		"a dose without code":  func(c *Card) { c.Bundle.Entries[1].Immunization.VaccineCode = fhir.Concept{} },
		"a dose not given":     func(c *Card) { c.Bundle.Entries[1].Immunization.Status = "not-done" },
		"a dose of nobody":     func(c *Card) { c.Bundle.Entries[1].Immunization.Patient.Reference = "resource:7" },
		"a display":            func(c *Card) { c.Bundle.Entries[1].Immunization.VaccineCode.Coding[0].Display = "YF" },
		"two patients":         func(c *Card) { c.Bundle.Entries[1] = c.Bundle.Entries[0] },
		"a day that is no day": func(c *Card) { c.Bundle.Entries[1].Immunization.Occurrence = "2026-02-30" },
	} {
		c := specimen()
		edit(c)
		if jws, err := Encode(rand.Reader, testKey(), c); err == nil || format.Reason(err, "") == "" {
			t.Errorf("%s: signed %d characters, %v", name, len(jws), err)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Encode(rand.Reader, other, specimen()); !errors.Is(err, ErrAlgNotAllowed) {
		t.Errorf("P-384: %v", err)
	}
	if _, err := Numeric(strings.Repeat("A", MaxQR+1)); !errors.Is(err, irregularTooLong) {
		t.Errorf("too long for a QR code: %v", err)
	}
	if text, err := Numeric(strings.Repeat("A", MaxQR)); err != nil || len(text) != 5+2*MaxQR {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := Numeric("a b"); !errors.Is(err, ErrEncoding) {
		t.Errorf("a blank: %v", err)
	}
}

func TestParseTexts(t *testing.T) {
	jws := issue(t, specimen())
	text := numeric(t, jws)
	third := 2 * (len(jws) / 3)
	body := text[5:]
	set := []string{"shc:/1/3/" + body[:third], "shc:/2/3/" + body[third:2*third], "shc:/3/3/" + body[2*third:]}
	long := digits(strings.Repeat("A", 1192))
	one := func(s string) []string { return []string{s} }
	for _, tc := range []struct {
		name          string
		texts         []string
		field, strict error
		remarks       []string
	}{
		{"digits", one(text), nil, nil, nil},
		{"JWS", one(jws), nil, nil, nil},
		{"capitals", one("SHC:/" + body), nil, ErrUppercase, []string{"uppercase-scheme"}},
		{"mixed", one("Shc:/" + body), nil, ErrUppercase, []string{"uppercase-scheme"}},
		{"blanks around", one(" \t" + text + "\r\n"), nil, irregularSpace, []string{"surrounding-space"}},
		{"a mark before", one("\ufeff" + text), nil, irregularMark, []string{"byte-order-mark"}},
		{"a set", set, nil, irregularChunked, []string{"chunked", "needless-chunks"}},
		{"a set in another order", []string{set[2], set[0], set[1]}, nil, irregularChunked, []string{"chunked", "needless-chunks"}},
		{"a set of one", one("shc:/1/1/" + body), nil, irregularChunked, []string{"chunked", "needless-chunks"}},

		{"no text", nil, ErrNoScheme, ErrNoScheme, nil},
		{"empty", one(""), ErrNotJWS, ErrNotJWS, nil},
		{"another scheme", one("shlink:/abc"), ErrNotJWS, ErrNotJWS, nil},
		{"scheme without slash", one("shc:" + body), ErrNotJWS, ErrNotJWS, nil},
		{"scheme alone", one("shc:/"), ErrLength, ErrLength, nil},
		{"a letter", one("shc:/x" + body), ErrNotDigits, ErrNotDigits, nil},
		{"a digit of another script", one("shc:/٣" + body), ErrNotDigits, ErrNotDigits, nil},
		{"a blank inside", one("shc:/" + body[:8] + " " + body[8:]), ErrNotDigits, ErrNotDigits, nil},
		{"odd", one("shc:/" + body + "1"), ErrLength, ErrLength, nil},
		{"a pair over 77", one("shc:/78" + body), ErrOutOfRange, ErrOutOfRange, nil},
		{"a pair of 99", one("shc:/99" + body), ErrOutOfRange, ErrOutOfRange, nil},
		{"a slash in the JWS", one("shc:/02" + body), ErrEncoding, ErrEncoding, nil},
		{"too long", one("shc:/" + strings.Repeat("0", MaxText)), ErrTextTooLong, ErrTextTooLong, nil},
		{"too long together", slices.Repeat(one(strings.Repeat("0", MaxText/2)), 3), ErrTextTooLong, ErrTextTooLong, nil},

		{"two cards", []string{text, text}, ErrSeveral, ErrSeveral, nil},
		{"a card and a chunk", []string{set[0], text}, ErrSeveral, ErrSeveral, nil},
		{"a chunk and a JWS", []string{set[0], jws}, ErrSeveral, ErrSeveral, nil},
		{"a chunk too few", set[:2], ErrMissingChunk, ErrMissingChunk, nil},
		{"a chunk too many", append(slices.Clone(set), set[0]), ErrDuplicateChunk, ErrDuplicateChunk, nil},
		{"other totals", []string{set[0], strings.Replace(set[1], "/3/", "/4/", 1), set[2]}, ErrTotals, ErrTotals, nil},
		{"index 0", []string{strings.Replace(set[0], "/1/", "/0/", 1), set[1], set[2]}, ErrBadIndex, ErrBadIndex, nil},
		{"index over the total", []string{"shc:/4/3/" + body}, ErrBadIndex, ErrBadIndex, nil},
		{"a negative index", one("shc:/-1/3/" + body), ErrBadIndex, ErrBadIndex, nil},
		{"an index with zeros", one("shc:/01/3/" + body), ErrBadIndex, ErrBadIndex, nil},
		{"no total", one("shc:/1//" + body), ErrBadTotal, ErrBadTotal, nil},
		{"total 0", one("shc:/1/0/" + body), ErrBadTotal, ErrBadTotal, nil},
		{"a large total", one("shc:/1/1000000000/" + body), ErrBadTotal, ErrBadTotal, nil},
		{"a total over the bound", one("shc:/1/33/" + body), ErrBadTotal, ErrBadTotal, nil},
		{"two parts", one("shc:/1/" + body), ErrNotDigits, ErrNotDigits, nil},
		{"four parts", one("shc:/1/1/1/" + body), ErrNotDigits, ErrNotDigits, nil},
		{"a letter in a chunk", one("shc:/1/1/x" + body), ErrNotDigits, ErrNotDigits, nil},
		{"a chunk too long", []string{"shc:/1/2/" + long, "shc:/2/2/" + long}, ErrNotJWS, irregularChunkLong, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j, err := Parse(Field, tc.texts...)
			if !errors.Is(err, tc.field) || err == nil && j.Text != jws {
				t.Fatalf("field: %v, want %v", err, tc.field)
			}
			if err == nil && !slices.Equal(j.Remarks, tc.remarks) {
				t.Errorf("remarks %v, want %v", j.Remarks, tc.remarks)
			}
			if _, err := Parse(Strict, tc.texts...); !errors.Is(err, tc.strict) {
				t.Errorf("strict: %v, want %v", err, tc.strict)
			}
		})
	}
	// Longer than a QR code of version 22 holds, and seen all the same.
	big := specimen()
	for range 60 {
		random := make([]byte, 16)
		_, _ = rand.Read(random)
		i := *big.Bundle.Entries[1].Immunization
		i.LotNumber = fmt.Sprintf("%x", random)
		big.Bundle.Entries = append(big.Bundle.Entries, fhir.Entry{Immunization: &i})
	}
	text = "shc:/" + digits(issue(t, big))
	if j, err := Parse(Field, text); err != nil || !slices.Equal(j.Remarks, []string{"jws-too-long"}) {
		t.Errorf("a long card: %v", err)
	}
	if _, err := Parse(Strict, text); !errors.Is(err, irregularTooLong) {
		t.Errorf("a long card, strict: %v", err)
	}
}

func TestHeader(t *testing.T) {
	compressed, err := deflate.Deflate([]byte(payloadOf(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		header  string
		err     error
		alg     string
		remarks []string
	}{
		{goodHeader, nil, "ES256", nil},
		{`{"zip":"DEF","alg":"none","kid":"k"}`, nil, "none", nil},
		{`{"zip":"DEF","kid":"k"}`, nil, "", nil},
		{`{"zip":"DEF","alg":"ES256"}`, nil, "ES256", nil},
		{`{"zip":"DEF","alg":"ES256","kid":"k","typ":"JWT"}`, nil, "ES256", []string{"other-header"}},
		{`{"zip":"DEF","alg":"ES256","kid":"k","jku":"https://attacker.example","jwk":{"kty":"EC"}}`, nil, "ES256", []string{"other-header"}},
		{`{"zip":"DEF","alg":"ES256","kid":"k","crit":["exp"],"exp":1}`, ErrCritical, "", nil},
		{`{"zip":"DEF","alg":"ES256","kid":"k","crit":[]}`, ErrCritical, "", nil},
		{`{"zip":"DEF","alg":"ES256","kid":"k","crit":null}`, ErrCritical, "", nil},
		{`{"alg":"ES256","kid":"k"}`, ErrZip, "", nil},
		{`{"zip":"def","alg":"ES256","kid":"k"}`, ErrZip, "", nil},
		{`{"zip":["DEF"],"alg":"ES256","kid":"k"}`, ErrZip, "", nil},
		{`{"zip":"DEF","alg":7,"kid":"k"}`, ErrHeader, "", nil},
		{`{"zip":"DEF","alg":"ES256","kid":null}`, ErrHeader, "", nil},
		{`{"zip":"DEF","alg":"none","alg":"ES256","kid":"k"}`, strictjson.ErrDuplicateName, "", nil},
		{`{"zip":"DEF","alg":"ES256","kid":"k"} `, nil, "ES256", nil},
		{`["DEF"]`, ErrHeader, "", nil},
		{`{`, strictjson.ErrMalformed, "", nil},
		{strings.Repeat("[", 20), strictjson.ErrTooDeep, "", nil},
		{strings.Repeat(" ", 5000), ErrHeader, "", nil},
	} {
		j, err := Parse(Strict, sign(t, tc.header, compressed))
		if !errors.Is(err, tc.err) || err == nil && (j.Alg != tc.alg || !slices.Equal(j.Remarks, tc.remarks)) {
			t.Errorf("%s: %v, want %v", tc.header, err, tc.err)
		}
	}
	good := sign(t, goodHeader, compressed)
	part := strings.Split(good, ".")
	for name, text := range map[string]string{
		"padding":            part[0] + "." + part[1] + "." + part[2] + "==",
		"a line break":       part[0] + "." + part[1] + "\n." + part[2],
		"the other alphabet": part[0] + "." + strings.Repeat("+/", 20) + "." + part[2],
		"bits at the end":    part[0] + "." + part[1] + "." + part[2][:85] + "h",
	} {
		if _, err := Parse(Field, text); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{"two parts": part[0] + "." + part[1], "four parts": good + ".", "no header": "." + part[1] + "." + part[2]} {
		if _, err := Parse(Field, text); !errors.Is(err, ErrNotJWS) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every algorithm but one is refused, whatever the key.
func TestVerify(t *testing.T) {
	jws := issue(t, specimen())
	good := func() *JWS {
		j, err := Parse(Strict, jws)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	half := func(v *big.Int) []byte { return v.FillBytes(make([]byte, 32)) }
	pub := testKey().Public()
	for _, tc := range []struct {
		name string
		edit func(j *JWS)
		key  crypto.PublicKey
		want error
	}{
		{"good", func(*JWS) {}, pub, nil},
		{"the twin", func(j *JWS) {
			s := new(big.Int).Sub(n, new(big.Int).SetBytes(j.Signature[32:]))
			copy(j.Signature[32:], half(s))
		}, pub, nil}, // ECDSA is so; what is revoked is found by rid, never by signature
		{"another key", func(*JWS) {}, other.Public(), ErrSignature},
		{"P-384", func(*JWS) {}, p384.Public(), ErrAlgNotAllowed},
		{"RSA", func(*JWS) {}, &rsa.PublicKey{N: big.NewInt(5), E: 3}, ErrAlgNotAllowed},
		{"no key", func(*JWS) {}, nil, ErrAlgNotAllowed},
		{"a private key", func(*JWS) {}, testKey(), ErrAlgNotAllowed},
		{"none", func(j *JWS) { j.Alg, j.Signature = "none", nil }, pub, ErrAlgNotAllowed},
		{"no alg", func(j *JWS) { j.Alg = "" }, pub, ErrAlgNotAllowed},
		{"HS256", func(j *JWS) { j.Alg = "HS256" }, pub, ErrAlgNotAllowed},
		{"RS256", func(j *JWS) { j.Alg = "RS256" }, pub, ErrAlgNotAllowed},
		{"ES384", func(j *JWS) { j.Alg = "ES384" }, pub, ErrAlgNotAllowed},
		{"es256", func(j *JWS) { j.Alg = "es256" }, pub, ErrAlgNotAllowed},
		{"no signature", func(j *JWS) { j.Signature = nil }, pub, ErrSignatureForm},
		{"DER", func(j *JWS) {
			j.Signature, _ = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(j.Signature[:32]), new(big.Int).SetBytes(j.Signature[32:])})
		}, pub, ErrSignatureForm},
		{"a byte more", func(j *JWS) { j.Signature = append(j.Signature, 0) }, pub, ErrSignatureForm},
		{"zeros", func(j *JWS) { j.Signature = make([]byte, 64) }, pub, ErrSignature},
		{"r zero", func(j *JWS) { clear(j.Signature[:32]) }, pub, ErrSignature},
		{"s zero", func(j *JWS) { clear(j.Signature[32:]) }, pub, ErrSignature},
		{"s over n", func(j *JWS) {
			copy(j.Signature[32:], half(n))
		}, pub, ErrSignature},
		{"another header", func(j *JWS) { j.signed = "e30" + j.signed[strings.IndexByte(j.signed, '.'):] }, pub, ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := good()
			tc.edit(j)
			if err := j.Verify(tc.key); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	good := payloadOf(t)
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	deep := `{"iss":"https://a","nbf":1,"vc":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`
	for _, tc := range []struct {
		name, payload string
		field, strict error
		remarks       []string
	}{
		{"good", good, nil, nil, nil},
		{"a fraction", swap(`1772409600`, `1772409600.448`), nil, nil, []string{"fraction"}},
		{"a fraction of the end", swap(`"nbf":1772409600`, `"nbf":1772409600,"exp":1772409700.5`), nil, nil, []string{"fraction"}},
		{"another type", swap(`"https://smarthealth.cards#health-card",`, `"VerifiableCredential","https://smarthealth.cards#health-card",`), nil, nil, []string{"other-type"}},
		{"no content type", swap(`,"https://smarthealth.cards#immunization"`, ``), nil, nil, []string{"content-type-missing"}},
		{"no card type", swap(`"https://smarthealth.cards#health-card",`, ``), nil, irregularType, []string{"card-type-missing"}},
		{"no types", swap(`"type":["https://smarthealth.cards#health-card","https://smarthealth.cards#immunization"]`, `"type":null`), nil, irregularType, []string{"card-type-missing", "content-type-missing"}},
		{"http", swap(`https://issuer`, `http://issuer`), nil, ErrIssuerURL, []string{"issuer-url"}},
		{"a slash", swap(`/shc"`, `/shc/"`), nil, ErrIssuerURL, []string{"issuer-url"}},
		{"a name", swap(`https://issuer.example/shc`, `Ministry of Health`), nil, ErrIssuerURL, []string{"issuer-url"}},
		{"milliseconds", swap(`1772409600`, `1772409600000`), nil, irregularFarFuture, []string{"nbf-after-9999"}},
		{"a far day", swap(`1772409600`, `1e300`), nil, irregularFarFuture, []string{"nbf-after-9999"}},
		{"an end before", swap(`"nbf":1772409600`, `"nbf":1772409600,"exp":1`), nil, irregularPeriod, []string{"exp-before-nbf"}},
		{"white space", swap(`"nbf":`, `"nbf": `), nil, irregularMinified, []string{"not-minified"}},
		{"a line after", good + "\n", nil, irregularMinified, []string{"not-minified"}},
		{"a mark", "\ufeff" + good, nil, irregularMark, []string{"byte-order-mark"}},
		{"FHIR 3", swap(`4.0.1`, `3.0.2`), nil, irregularVersion, []string{"fhir-version"}},
		{"an escaped quote", swap(`Clinic <A>`, `\" \\`), nil, nil, nil},

		{"a string", `"{\"iss\":\"https://a\"}"`, ErrClaims, ErrClaims, nil},
		{"an array", `[]`, ErrClaims, ErrClaims, nil},
		{"no JSON", `iss`, strictjson.ErrMalformed, strictjson.ErrMalformed, nil},
		{"two documents", good + good, strictjson.ErrMalformed, strictjson.ErrMalformed, nil},
		{"iss twice", swap(`{"iss"`, `{"iss":"https://attacker.example","iss"`), strictjson.ErrDuplicateName, strictjson.ErrDuplicateName, nil},
		{"deep", deep, strictjson.ErrTooDeep, strictjson.ErrTooDeep, nil},
		{"half a pair", swap(`Specimen`, `\ud800`), strictjson.ErrInvalidUTF8, strictjson.ErrInvalidUTF8, nil},
		{"no UTF-8", swap(`Specimen`, "\xff"), strictjson.ErrInvalidUTF8, strictjson.ErrInvalidUTF8, nil},
		{"no iss", swap(`"iss"`, `"ISS"`), ErrClaims, ErrClaims, nil},
		{"an empty iss", swap(`https://issuer.example/shc`, ``), ErrClaims, ErrClaims, nil},
		{"iss a number", swap(`"https://issuer.example/shc"`, `7`), ErrClaims, ErrClaims, nil},
		{"no nbf", swap(`"nbf"`, `"iat"`), format.RequiredMissing, format.RequiredMissing, nil},
		{"nbf text", swap(`1772409600`, `"1772409600"`), ErrNumericDate, ErrNumericDate, nil},
		{"nbf null", swap(`1772409600`, `null`), ErrNumericDate, ErrNumericDate, nil},
		{"nbf negative", swap(`1772409600`, `-1`), ErrNumericDate, ErrNumericDate, nil},
		{"nbf over all floats", swap(`1772409600`, `1e999`), ErrNumericDate, ErrNumericDate, nil},
		{"exp in milliseconds", swap(`"nbf":1772409600`, `"nbf":1772409600,"exp":1772409700000`), ErrNumericDate, ErrNumericDate, nil},
		{"exp text", swap(`"nbf":1772409600`, `"nbf":1772409600,"exp":"never"`), ErrNumericDate, ErrNumericDate, nil},
		{"exp null", swap(`"nbf":1772409600`, `"nbf":1772409600,"exp":null`), ErrNumericDate, ErrNumericDate, nil},
		{"no vc", swap(`"vc"`, `"vp"`), ErrClaims, ErrClaims, nil},
		{"no subject", swap(`"credentialSubject"`, `"subject"`), ErrNoBundle, ErrNoBundle, nil},
		{"no bundle", swap(`"fhirBundle"`, `"bundle"`), ErrNoBundle, ErrNoBundle, nil},
		{"a type that is no text", swap(`"https://smarthealth.cards#health-card",`, `7,`), ErrClaims, ErrClaims, nil},
		{"a long rid", swap(`AAAA-_9`, strings.Repeat("A", 25)), ErrRID, ErrRID, nil},
		{"an empty rid", swap(`AAAA-_9`, ``), ErrRID, ErrRID, nil},
		{"a rid with a time", swap(`AAAA-_9`, `AAAA.1`), ErrRID, ErrRID, nil},
		{"a rid of another alphabet", swap(`AAAA-_9`, `AAAA+9`), ErrRID, ErrRID, nil},
		{"rid null", swap(`"AAAA-_9"`, `null`), ErrRID, ErrRID, nil},
		{"too large", strings.Repeat(" ", 1<<20) + good, deflate.ErrTooLarge, deflate.ErrTooLarge, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			jws := signPayload(t, tc.payload)
			c, err := Decode(Field, jws)
			if !errors.Is(err, tc.field) {
				t.Fatalf("field: %v, want %v", err, tc.field)
			}
			if err == nil && !slices.Equal(c.Remarks, tc.remarks) {
				t.Errorf("remarks %v, want %v", c.Remarks, tc.remarks)
			}
			if err == nil && c.NotBefore.Year() > 9999 {
				t.Error("a year that no date format has")
			}
			if _, err := Decode(Strict, jws); !errors.Is(err, tc.strict) {
				t.Errorf("strict: %v, want %v", err, tc.strict)
			}
		})
	}
	// Findings on the content are for the verifier; they are no errors here.
	if c, err := Decode(Strict, signPayload(t, swap(`"completed"`, `"not-done"`))); err != nil || len(c.Findings) != 1 || c.Findings[0].Reason != fhir.BadStatus {
		t.Errorf("findings: %v", err)
	}
	for name, tc := range map[string]struct {
		compressed []byte
		want       error
	}{
		"cut":     {func() []byte { b, _ := deflate.Deflate([]byte(good)); return b[:len(b)/2] }(), deflate.ErrTruncated},
		"trailer": {func() []byte { b, _ := deflate.Deflate([]byte(good)); return append(b, 1) }(), deflate.ErrTrailing},
		"nothing": {nil, deflate.ErrEmpty},
	} {
		if _, err := Decode(Field, sign(t, goodHeader, tc.compressed)); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestFile(t *testing.T) {
	a, b := issue(t, specimen()), issue(t, specimen())
	file, err := MarshalFile(a, b)
	if err != nil {
		t.Fatal(err)
	}
	answer := fmt.Sprintf(`{"resourceType":"Parameters","parameter":[{"name":"resourceLink"},{"name":"verifiableCredential","valueString":%q},{"name":"verifiableCredential","valueString":%q}]}`, a, b)
	for name, data := range map[string][]byte{"file": file, "with a mark": append([]byte("\ufeff"), file...), "answer": []byte(answer)} {
		cards, err := ParseFile(Strict, data)
		if err != nil || len(cards) != 2 || cards[0].Err != nil || cards[1].Err != nil || cards[0].JWS.Text != a || cards[1].JWS.Text != b {
			t.Errorf("%s: %v", name, err)
		}
		if !IsFile(data) {
			t.Errorf("%s is not seen as a file", name)
		}
	}
	// One bad card is that card's error.
	cards, err := ParseFile(Field, fmt.Appendf(nil, `{"verifiableCredential":["a.b",%q,7,%q]}`, a, numeric(t, a)))
	if err != nil || !errors.Is(cards[0].Err, ErrNotJWS) || cards[1].Err != nil || !errors.Is(cards[2].Err, ErrNotJWS) || !errors.Is(cards[3].Err, ErrNotJWS) {
		t.Errorf("%v %v", cards, err)
	}
	for _, bad := range []string{`{}`, `[]`, `{"verifiableCredential":[]}`, `{"verifiableCredential":"x"}`, `{"resourceType":"Parameters","parameter":[]}`,
		`{"resourceType":"Bundle","parameter":[{"name":"verifiableCredential","valueString":"x"}]}`,
		`{"verifiableCredential":[` + strings.Repeat(`"x",`, 64) + `"x"]}`} {
		if _, err := ParseFile(Field, []byte(bad)); !errors.Is(err, ErrFile) {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
	if _, err := ParseFile(Field, []byte(`{"verifiableCredential":["a"],"verifiableCredential":["b"]}`)); !errors.Is(err, strictjson.ErrDuplicateName) {
		t.Errorf("twice: %v", err)
	}
	for _, bad := range [][]string{nil, {"x"}, {numeric(t, a)}} {
		if _, err := MarshalFile(bad...); err == nil {
			t.Errorf("%v was written", bad)
		}
	}
	for text, want := range map[string]bool{a: true, numeric(t, a): true, " SHC:/12": true, "shlink:/x": false, "eyJh": false, "HC1:x": false, "": false} {
		if IsCard(text) != want {
			t.Errorf("%.20s: %v", text, !want)
		}
	}
}

func TestCRL(t *testing.T) {
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }
	c, err := ParseCRL([]byte("\ufeff" + `{"kid":"k","method":"rid","ctr":3,"rids":["always","timed.1000","half.1000.5","both.1000","both","earlier.2000","earlier.1000"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		rid  string
		nbf  int64
		want bool
	}{
		{"always", 0, true}, {"always", 1 << 33, true},
		{"timed", 999, true}, {"timed", 1000, false}, {"timed", 1001, false},
		{"half", 1000, true}, {"half", 1001, false},
		{"both", 5000, true},
		{"earlier", 1999, true}, {"earlier", 2000, false},
		{"ALWAYS", 0, false}, {"timed.1000", 0, false}, {"", 0, false},
	} {
		if got := c.Revokes(tc.rid, at(tc.nbf)); got != tc.want {
			t.Errorf("%s at %d: %v", tc.rid, tc.nbf, got)
		}
	}
	if c.KID != "k" || c.Counter != 3 || c.Len() != 5 || len(c.Findings) != 2 || c.Findings[0].Reason != DuplicateRID {
		t.Errorf("%+v", c)
	}
	for in, want := range map[string]error{
		`[]`:                                 ErrCRL,
		`{"method":"rid","ctr":1,"rids":[]}`: ErrCRL,
		`{"kid":"k","method":"hash","ctr":1,"rids":[]}`:                 ErrMethod,
		`{"kid":"k","ctr":1,"rids":[]}`:                                 ErrMethod,
		`{"kid":"k","method":"rid","rids":[]}`:                          ErrCRL,
		`{"kid":"k","method":"rid","ctr":"1","rids":[]}`:                ErrCRL,
		`{"kid":"k","method":"rid","ctr":-1,"rids":[]}`:                 ErrCRL,
		`{"kid":"k","method":"rid","ctr":1}`:                            ErrCRL,
		`{"kid":"k","method":"rid","ctr":1,"rids":["a b"]}`:             ErrRID,
		`{"kid":"k","method":"rid","ctr":1,"rids":[7]}`:                 ErrRID,
		`{"kid":"k","method":"rid","ctr":1,"rids":["a."]}`:              ErrNumericDate,
		`{"kid":"k","method":"rid","ctr":1,"rids":["a.x"]}`:             ErrNumericDate,
		`{"kid":"k","method":"rid","ctr":1,"rids":["a.NaN"]}`:           ErrNumericDate,
		`{"kid":"k","method":"rid","ctr":1,"rids":["a.1e3"]}`:           ErrNumericDate,
		`{"kid":"k","method":"rid","ctr":1,"rids":["a.-1"]}`:            ErrNumericDate,
		`{"kid":"k","method":"rid","ctr":1,"rids":["a.9999999999999"]}`: ErrNumericDate,
		`{"kid":"k","method":"rid","ctr":1,"rids":["a"],"rids":[]}`:     strictjson.ErrDuplicateName,
	} {
		if _, err := ParseCRL([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", in, err, want)
		}
	}
}

// FuzzDecode: nothing panics, and what Strict accepts, Field accepts the same.
func FuzzDecode(f *testing.F) {
	jws := issue(f, specimen())
	f.Add(numeric(f, jws), "")
	f.Add(jws, "")
	f.Add("shc:/1/2/"+digits(jws[:400]), "shc:/2/2/"+digits(jws[400:]))
	f.Add("shc:/1/1000000000/00", "")
	f.Fuzz(func(t *testing.T, first, second string) {
		texts := []string{first}
		if second != "" {
			texts = append(texts, second)
		}
		strict, err := Decode(Strict, texts...)
		if err != nil {
			_, _ = Decode(Field, texts...)
			return
		}
		field, err := Decode(Field, texts...)
		if err != nil {
			t.Fatalf("strict accepted, field did not: %v", err)
		}
		if diff := cmp.Diff(strict, field); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzPayload reads any JSON as a payload.
func FuzzPayload(f *testing.F) {
	f.Add([]byte(payloadOf(f)))
	f.Add([]byte(`{"iss":"https://a","nbf":1e400,"vc":{}}`))
	f.Add([]byte(`"{}"`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, err := DecodePayload(Field, payload)
		if err != nil {
			if format.Reason(err, "") == "" {
				t.Errorf("no reason in %v", err)
			}
			return
		}
		if c.NotBefore.Year() > 9999 || c.Expires.Year() > 9999 || c.Bundle == nil {
			t.Errorf("%+v", c)
		}
	})
}

func FuzzFile(f *testing.F) {
	file, err := MarshalFile(issue(f, specimen()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`{"resourceType":"Parameters","parameter":[{"name":"verifiableCredential","valueString":"a.b.c"},7]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cards, _ := ParseFile(Field, data)
		for _, c := range cards {
			if (c.JWS == nil) != (c.Err != nil) {
				t.Errorf("%+v", c)
			}
		}
	})
}

func FuzzCRL(f *testing.F) {
	f.Add([]byte(`{"kid":"k","method":"rid","ctr":3,"rids":["a","a.1","b.1.5"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseCRL(data); err == nil {
			c.Revokes("a", time.Unix(0, 0))
		}
	})
}

func TestEncodeCRL(t *testing.T) {
	for _, rids := range [][]string{nil, {"AAAA"}, {"b", "AAAA-_9"}} {
		data, err := EncodeCRL("kid", 7, rids)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCRL(data)
		if err != nil || c.KID != "kid" || c.Counter != 7 || c.Len() != len(rids) {
			t.Errorf("%s: %+v, %v", data, c, err)
		}
		for _, rid := range rids {
			if !c.Revokes(rid, time.Now()) {
				t.Errorf("%s does not revoke %s", data, rid)
			}
		}
	}
	for name, rids := range map[string][]string{"twice": {"a", "a"}, "with a time": {"a.5"}, "a blank": {"a b"}, "empty": {""}} {
		if _, err := EncodeCRL("kid", 1, rids); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}
