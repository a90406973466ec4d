package divoc

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/deflate"
	"ampoule/format/rdfc"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

var testRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

var testEd25519 = sync.OnceValue(func() ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

type object = map[string]any

// specimen is a certificate without its proof.
func specimen(version string) object {
	address := func() object {
		return object{"streetAddress": "1 Example Street", "streetAddress2": "", "district": "Example", "city": "Example", "addressRegion": "", "addressCountry": "UT", "postalCode": json.Number("10115")}
	}
	doc := object{
		"@context": []any{contextCredentials, contextVaccination + version},
		"type":     []any{"VerifiableCredential", "ProofOfVaccinationCredential"},
		"credentialSubject": object{
			"type": "Person", "id": "did:Passport:SPEC0001", "refId": "12345", "name": "Spécimen Ada", "age": "36", "gender": "Female",
			"nationality": "Utopian", "address": address(),
		},
		"issuer": "https://divoc.example/", "issuanceDate": "2026-03-02T04:00:00.000Z", "nonTransferable": "true",
		"evidence": []any{object{
			"id": "https://divoc.example/vaccine/1", "infoUrl": "https://divoc.example/?1", "feedbackUrl": "https://divoc.example/?f", "certificateId": "1",
			"type": []any{"Vaccination"}, "batch": "SPEC-LOT-1", "vaccine": "Specimen vaccine", "manufacturer": "Specimen Biologicals",
			"date": "2026-03-01T04:00:00.000Z", "effectiveStart": "2026-03-11", "effectiveUntil": "2036-03-11", "dose": json.Number("1"), "totalDoses": json.Number("2"),
			"verifier": object{"name": "Specimen Clinician"}, "facility": object{"name": "Example clinic", "address": address()},
		}},
	}
	if version == "v2" {
		doc["credentialSubject"].(object)["dob"] = "1990-02-03"
		e := doc["evidence"].([]any)[0].(object)
		e["icd11Code"], e["prophylaxis"] = "XM0N24", "Specimen vaccine, live"
	}
	return doc
}

// sign adds a proof, that of [Sign] where it makes one. edit may change it before
// it is signed; such a proof, and those that Sign refuses, are made here.
func sign(t testing.TB, doc object, signer crypto.Signer, edit func(proof object, header *string)) object {
	t.Helper()
	if edit == nil {
		data, err := Sign(rand.Reader, signer, "did:example:utopia", time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC), []byte(encode(t, doc)))
		if err == nil {
			v, err := strictjson.Decode(data, strictjson.Limits{Bytes: maxJSON})
			if err != nil {
				t.Fatal(err)
			}
			return v.(object)
		}
	}
	alg, suite := algRSA, suiteRSA
	if _, ok := signer.(ed25519.PrivateKey); ok {
		alg, suite = algEd25519, suiteEd25519
	}
	proof := object{"type": suite, "created": "2026-03-02T04:00:00Z", "verificationMethod": "did:example:utopia", "proofPurpose": "assertionMethod"}
	header := fmt.Sprintf(`{"alg":"%s","b64":false,"crit":["b64"]}`, alg)
	if edit != nil {
		edit(proof, &header)
	}
	options, err := canonicalHash(proof, security)
	if err != nil {
		t.Fatal(err)
	}
	signed := maps.Clone(doc)
	delete(signed, "@context")
	document, err := canonicalHash(signed, certificates["v2"])
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(header))
	input := append([]byte(text+"."), append(options[:], document[:]...)...)
	var o crypto.SignerOpts = crypto.Hash(0)
	if alg == algRSA {
		digest := sha256.Sum256(input)
		input, o = digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	signature, err := signer.Sign(rand.Reader, input, o)
	if err != nil {
		t.Fatal(err)
	}
	proof["jws"] = text + ".." + base64.RawURLEncoding.EncodeToString(signature)
	out := maps.Clone(doc)
	out["proof"] = proof
	return out
}

func encode(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

type file struct {
	name, content string
	method        uint16
}

func archive(t testing.TB, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		part, err := w.CreateHeader(&zip.FileHeader{Name: f.name, Method: f.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func b64(data string) string { return Prefix + base64.StdEncoding.EncodeToString([]byte(data)) }

func letters(data string, page map[rune]byte) string {
	var b strings.Builder
	for _, c := range []byte(data) {
		r := rune(c)
		for letter, code := range page {
			if code == c {
				r = letter
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}

func TestDecode(t *testing.T) {
	text := encode(t, sign(t, specimen("v2"), testRSA(), nil))
	deflated := archive(t, file{fileName, text, zip.Deflate})
	mojibake := []format.Finding{{Path: "text", Reason: Mojibake, Tolerable: true}}
	for name, tc := range map[string]struct {
		text string
		want []format.Finding
	}{
		"bytes":                    {deflated, nil},
		"bytes and a line end":     {deflated + "\r\n", nil},
		"stored":                   {archive(t, file{fileName, text, zip.Store}), nil},
		"base64":                   {b64(deflated), nil},
		"base64 without padding":   {strings.TrimRight(b64(deflated), "="), nil},
		"base64 and blanks around": {" " + b64(deflated) + "\n", nil},
		"plain JSON":               {"\ufeff" + text, nil},
		"letters of ISO 8859-1":    {letters(deflated, nil), mojibake},
		"letters of Windows-1252":  {letters(deflated, windows1252), mojibake},
	} {
		t.Run(name, func(t *testing.T) {
			if !IsDIVOC(tc.text) {
				t.Error("not recognised")
			}
			d, findings, err := Decode(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, findings); diff != "" {
				t.Error(diff)
			}
			if err := d.Verify(testRSA().Public()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestContent(t *testing.T) {
	address := Address{"1 Example Street", "", "Example", "Example", "", "10115", "UT"}
	want := Credential{
		Types: []string{"VerifiableCredential", "ProofOfVaccinationCredential"}, Issuer: "https://divoc.example/",
		Issued: time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC), NonTransferable: "true",
		Person: Person{"did:Passport:SPEC0001", "12345", "Spécimen Ada", "1990-02-03", "36", "Female", "Utopian", address},
		Vaccinations: []Vaccination{{
			"https://divoc.example/vaccine/1", "1", "Specimen vaccine", "Specimen Biologicals", "SPEC-LOT-1", "XM0N24", "Specimen vaccine, live",
			"2026-03-01T04:00:00.000Z", "2026-03-11", "2036-03-11", 1, 2, "https://divoc.example/?1", "https://divoc.example/?f",
			"Specimen Clinician", "Example clinic", address,
		}},
	}
	d, findings, err := Decode(encode(t, sign(t, specimen("v2"), testEd25519(), nil)))
	if err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	if diff := cmp.Diff(want, d.Credential); diff != "" {
		t.Error(diff)
	}
	if err := d.Verify(testEd25519().Public()); err != nil {
		t.Error(err)
	}
	if string(d.KeyID()) != "did:example:utopia" || d.Context != "v2" || !d.Proof.Created.Equal(want.Issued) {
		t.Errorf("%s %s %v", d.KeyID(), d.Context, d.Proof)
	}
}

// change edits a specimen.
func change(f func(doc, person, dose object)) object {
	doc := specimen("v2")
	f(doc, doc["credentialSubject"].(object), doc["evidence"].([]any)[0].(object))
	return doc
}

func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(doc, person, dose object)
		want []format.Finding
	}{
		{"nothing", func(_, _, _ object) {}, nil},
		{"a date alone", func(_, _, v object) { v["date"] = "2026-03-01" }, nil},
		{"empty numbers", func(_, _, v object) { v["dose"], v["totalDoses"] = "", "" }, nil},
		{"one dose, no array", func(d, _, v object) { d["evidence"] = v }, nil},
		{"null", func(_, p, _ object) { p["age"] = nil }, nil},
		{"the older name", func(_, p, _ object) { delete(p, "gender"); p["sex"] = "Female" }, nil},
		{"no name", func(_, p, _ object) { p["name"] = "" }, []format.Finding{{Path: "credentialSubject.name", Reason: format.RequiredMissing}}},
		{"no person", func(d, _, _ object) { delete(d, "credentialSubject") }, []format.Finding{{Path: "credentialSubject", Reason: format.RequiredMissing}}},
		{"two persons", func(d, _, _ object) {
			d["credentialSubject"] = []any{object{"type": "Person", "name": "A"}, object{"type": "Person", "name": "B"}}
		}, []format.Finding{{Path: "credentialSubject", Reason: format.SeveralCertificates}}},
		{"no evidence", func(d, _, _ object) { d["evidence"] = []any{} }, []format.Finding{{Path: "evidence", Reason: format.RequiredMissing}}},
		{"evidence elsewhere", func(d, _, _ object) { d["evidence"] = "https://divoc.example/1" }, []format.Finding{{Path: "evidence[0]", Reason: format.BadType}}},
		{"another type", func(d, _, _ object) { d["type"] = "VerifiableCredential"; delete(d, "nonTransferable") }, []format.Finding{{Path: "type", Reason: format.BadValue}}},
		{"no issuer", func(d, _, _ object) { delete(d, "issuer") }, []format.Finding{{Path: "issuer", Reason: format.RequiredMissing}}},
		{"no date of issue", func(d, _, _ object) { delete(d, "issuanceDate") }, []format.Finding{{Path: "issuanceDate", Reason: format.RequiredMissing}}},
		{"a date of issue that is none", func(d, _, _ object) { d["issuanceDate"] = "yesterday" }, []format.Finding{{Path: "issuanceDate", Reason: format.BadDate}}},
		{"an empty end", func(d, _, _ object) { d["expirationDate"] = "" }, []format.Finding{{Path: "expirationDate", Reason: format.BadDate}}},
		{"no vaccine", func(_, _, v object) { delete(v, "vaccine") }, []format.Finding{{Path: "evidence[0].vaccine", Reason: format.RequiredMissing}}},
		{"a date that is none", func(_, _, v object) { v["date"] = "2026-02-30T00:00:00Z" }, []format.Finding{{Path: "evidence[0].date", Reason: format.BadDate}}},
		{"a number as text", func(_, _, v object) { v["dose"] = "1" }, []format.Finding{{Path: "evidence[0].dose", Reason: format.BadType, Tolerable: true}}},
		{"half a dose", func(_, _, v object) { v["dose"] = json.Number("1.5") }, []format.Finding{{Path: "evidence[0].dose", Reason: format.BadValue}}},
		{"no words", func(_, _, v object) { v["dose"] = "first" }, []format.Finding{{Path: "evidence[0].dose", Reason: format.BadValue}}},
		{"an array of one", func(_, _, v object) { v["effectiveUntil"] = []any{"2036-03-11"} }, []format.Finding{{Path: "evidence[0].effectiveUntil", Reason: format.BadType}}},
		{"a typed value", func(_, _, v object) { v["effectiveUntil"] = object{"@value": "2036-03-11"} }, []format.Finding{{Path: "evidence[0].effectiveUntil", Reason: format.BadType}}},
		{"an end that is none", func(_, _, v object) { v["effectiveUntil"] = "lifelong" }, []format.Finding{{Path: "evidence[0].effectiveUntil", Reason: format.BadDate, Tolerable: true}}},
		{"a hidden direction", func(_, p, _ object) { p["name"] = "\u202eAda" }, []format.Finding{{Path: "credentialSubject.name", Reason: format.SuspiciousText, Tolerable: true}}},
		{"two genders", func(_, p, _ object) { p["sex"] = "Male" }, []format.Finding{{Path: "credentialSubject.sex", Reason: format.BadValue}}},
		// What the signature does not tell apart.
		{"numbers exchanged", func(_, _, v object) { v["dose"], v["totalDoses"] = v["totalDoses"], v["dose"] }, []format.Finding{{Path: "evidence[0].dose", Reason: format.BadValue}}},
		{"dates exchanged", func(_, _, v object) {
			v["effectiveStart"], v["effectiveUntil"] = v["effectiveUntil"], v["effectiveStart"]
		}, []format.Finding{{Path: "evidence[0].date", Reason: format.BadValue}}},
		{"date and end exchanged", func(_, _, v object) { v["date"], v["effectiveUntil"] = v["effectiveUntil"], v["date"] }, []format.Finding{{Path: "evidence[0].date", Reason: format.BadValue}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, got, err := Decode(encode(t, sign(t, change(tc.edit), testEd25519(), nil)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if err := d.Verify(testEd25519().Public()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(doc, person, dose object)
		want error
	}{
		{"no context", func(d, _, _ object) { delete(d, "@context") }, ErrContext},
		{"one context", func(d, _, _ object) { d["@context"] = contextCredentials }, ErrContext},
		{"another version", func(d, _, _ object) { d["@context"] = []any{contextCredentials, contextVaccination + "v3"} }, ErrContext},
		{"another host", func(d, _, _ object) {
			d["@context"] = []any{contextCredentials, "https://rogue.example/credentials/vaccination/v1"}
		}, ErrContext},
		{"contexts swapped", func(d, _, _ object) { d["@context"] = []any{contextVaccination + "v1", contextCredentials} }, ErrContext},
		{"an inline context", func(d, _, _ object) { d["@context"] = append(d["@context"].([]any), object{"x": nil}) }, ErrContext},
		{"a context below", func(_, p, _ object) { p["@context"] = object{"x": nil} }, ErrContext},
		{"a name that no context has", func(d, _, _ object) { d["note"] = "x" }, ErrUndefined},
		{"a name of the newer context", func(d, p, v object) {
			d["@context"] = []any{contextCredentials, contextVaccination + "v1"}
			delete(v, "icd11Code")
			delete(v, "prophylaxis")
		}, ErrUndefined},
		{"a name of another node", func(_, p, _ object) { p["dose"] = json.Number("2") }, ErrUndefined},
		{"a name of an outer node", func(_, p, _ object) { p["address"].(object)["name"] = "x" }, ErrUndefined},
		{"null under such a name", func(_, p, _ object) { p["dose"] = nil }, ErrUndefined},
		{"a type that no context has", func(_, p, _ object) { p["type"] = []any{"Person", "Hero"} }, ErrUndefined},
		{"no type", func(_, p, _ object) { delete(p, "type") }, ErrUndefined},
		{"empty name", func(_, p, _ object) { p[""] = "x" }, ErrUndefined},
		{"a relative property", func(_, p, _ object) { p["a b:c"] = "x" }, ErrUndefined},
		{"a blank property", func(_, p, _ object) { p["_:c"] = "x" }, ErrUndefined},
		{"a relative identifier", func(_, p, _ object) { p["id"] = "12345" }, ErrRelative},
		{"an empty identifier", func(_, p, _ object) { p["id"] = "" }, ErrRelative},
		{"an identifier with blanks", func(_, p, _ object) { p["id"] = "did:Passport: 1" }, ErrRelative},
		{"an identifier that breaks out", func(_, p, _ object) { p["id"] = "did:a> <a:b" }, ErrRelative},
		{"an identifier that is none", func(_, p, _ object) { p["id"] = json.Number("1") }, ErrShape},
		{"a relative issuer", func(d, _, _ object) { d["issuer"] = "Utopia" }, ErrRelative},
		{"a number as issuer", func(d, _, _ object) { d["issuer"] = json.Number("1") }, ErrShape},
		{"a bad blank node", func(d, _, _ object) { d["issuer"] = "_: x" }, ErrRelative},
		{"two identifiers", func(_, p, _ object) { p["@id"] = "did:a:b" }, ErrShape},
		{"two types", func(_, p, _ object) { p["@type"] = "Person" }, ErrShape},
		{"type as number", func(_, p, _ object) { p["type"] = json.Number("1") }, ErrShape},
		{"type that is a keyword", func(_, p, _ object) { p["type"] = []any{"Person", "id"} }, ErrShape},
		{"no type at all", func(_, p, _ object) { p["type"] = nil }, ErrShape},
		{"a keyword", func(_, p, _ object) { p["@graph"] = []any{} }, ErrShape},
		{"a keyword as value", func(d, _, _ object) { d["issuer"] = "@type" }, ErrShape},
		{"a list", func(_, p, _ object) { p["name"] = object{"@list": []any{"x"}} }, ErrShape},
		{"a language", func(_, p, _ object) { p["name"] = object{"@value": "x", "@language": "en"} }, ErrShape},
		{"a value that is none", func(_, p, _ object) { p["name"] = object{"@value": nil} }, ErrShape},
		{"a value of an odd type", func(_, p, _ object) { p["name"] = object{"@value": "x", "@type": "id"} }, ErrShape},
		{"arrays in arrays", func(_, p, _ object) { p["name"] = []any{[]any{"x"}} }, ErrShape},
		{"a number out of range", func(_, p, _ object) { p["age"] = json.Number("1e999") }, ErrShape},
		{"a proof below", func(_, p, _ object) { p["proof"] = object{} }, ErrShape},
		{"one identifier twice", func(d, _, v object) { d["evidence"] = []any{v, v} }, ErrShape},
		{"a type that redefines", func(_, _, v object) {
			v["verifier"] = object{"id": "x", "type": "Ed25519Signature2018"}
		}, ErrShape},
		{"an IRI for a name", func(d, _, _ object) {
			d[credBase+"expirationDate"] = object{"@value": "2030-01-01T00:00:00Z", "@type": "xsd:dateTime"}
		}, ErrShape},
		{"a compact IRI for a name", func(_, p, _ object) { p["schema:name"] = "x" }, ErrShape},
		{"deep nodes", func(_, p, _ object) {
			for range 14 {
				next := object{}
				p["a:b"], p = next, next
			}
		}, ErrShape},
		{"many values", func(_, p, _ object) { p["a:b"] = make1s(100_000) }, rdfc.ErrTooCostly},
		{"a poison graph", func(_, p, _ object) { p["https://example.org/q"] = cliqueNodes(10) }, rdfc.ErrTooCostly},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc := change(tc.edit)
			doc["proof"] = object{"type": suiteRSA}
			start := time.Now()
			d, findings, err := Decode(encode(t, doc))
			if !errors.Is(err, tc.want) || d != nil || findings != nil {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if took := time.Since(start); took > 2*time.Second*raceFactor { // some twenty times what it takes
				t.Errorf("after %v", took)
			}
		})
	}
}

func make1s(n int) []any { return slices.Repeat([]any{json.Number("1")}, n) }

// cliqueNodes are nodes that all point to each other.
func cliqueNodes(n int) []any {
	var nodes []any
	for i := range n {
		var others []any
		for j := range n {
			if i != j {
				others = append(others, object{"id": fmt.Sprintf("_:b%d", j)})
			}
		}
		nodes = append(nodes, object{"id": fmt.Sprintf("_:b%d", i), "https://example.org/p": others})
	}
	return nodes
}

func TestTextRefuses(t *testing.T) {
	text := encode(t, sign(t, specimen("v1"), testEd25519(), nil))
	whole := archive(t, file{fileName, text, zip.Deflate})
	edit := func(at int, b ...byte) string {
		data := []byte(whole)
		if at < 0 {
			at += len(data)
		}
		copy(data[at:], b)
		return string(data)
	}
	var encrypted = []byte(whole)
	central := bytes.Index(encrypted, []byte("PK\x01\x02"))
	encrypted[6] |= flagEncrypted
	encrypted[central+8] |= flagEncrypted
	for _, tc := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", ErrNotDIVOC},
		{"another code", "HC1:NCF", ErrNotDIVOC},
		{"too long", "{" + strings.Repeat(" ", MaxText), ErrTextTooLong},
		{"base64 that is none", Prefix + "UEsD*", ErrEncoding},
		{"a line break in base64", b64(whole)[:20] + "\n" + b64(whole)[20:], ErrEncoding},
		{"base64 of nothing", Prefix, ErrZip},
		{"base64 of text", b64(text), ErrZip},
		{"cut off", whole[:len(whole)/2], ErrZip},
		{"letters cut off", letters(whole[:len(whole)/2], nil), ErrZip},
		{"cut off by one", whole[:len(whole)-1], ErrZip},
		{"something behind", whole + "x", ErrZip},
		{"something in front", "PK\x03\x04" + whole, ErrZip},
		{"no file", archive(t), ErrNoCertificate},
		{"another name", archive(t, file{"other.json", text, zip.Deflate}), ErrNoCertificate},
		{"in a folder", archive(t, file{"a/certificate.json", text, zip.Deflate}), ErrNoCertificate},
		{"outside", archive(t, file{"../certificate.json", text, zip.Deflate}), ErrNoCertificate},
		{"twice", archive(t, file{fileName, text, zip.Deflate}, file{fileName, "{}", zip.Deflate}), ErrDuplicateEntry},
		{"beside another", archive(t, file{fileName, text, zip.Deflate}, file{"../../x", "x", zip.Store}), ErrExtraEntry},
		{"beside many", archive(t, make([]file, 40)...), ErrExtraEntry},
		{"a bomb", archive(t, file{fileName, strings.Repeat(" ", 50<<20), zip.Deflate}), deflate.ErrTooLarge},
		{"encrypted", string(encrypted), ErrZipFeature},
		{"another method", edit(8, 9), ErrZip},
		{"another name in front", edit(30, 'C'), ErrZip},
		{"another checksum", edit(central+16, ^whole[central+16]), ErrZip},
		{"a wrong size", edit(central+24, 1, 0, 0, 0), ErrZip},
		{"an offset", edit(central+42, 1), ErrZip},
		{"a comment", edit(-2, 1), ErrZip},
		{"another disk", edit(-18, 1), ErrZip},
		{"damaged", edit(40, 0xff, 0xff, 0xff, 0xff), nil},
		{"a name twice", strings.Replace(text, `"dose":`, `"dose":2,"dose":`, 1), strictjson.ErrDuplicateName},
		{"deep JSON", "{" + strings.Repeat(`"a":{`, 5000), strictjson.ErrTooDeep},
		{"JSON that ends early", text[:len(text)-1], strictjson.ErrMalformed},
		{"an array in the archive", archive(t, file{fileName, "[]", zip.Store}), ErrNotCredential},
		{"half a surrogate", strings.Replace(text, "Ada", `\ud800`, 1), strictjson.ErrInvalidUTF8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Decode(tc.text)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), "Ada") || format.Reason(err, "") == "") {
				t.Errorf("the error says too much or has no reason: %v", err)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(edit func(proof object, header *string)) func() object {
		return func() object { return sign(t, specimen("v2"), testRSA(), edit) }
	}
	after := func(edit func(doc, proof object)) func() object {
		return func() object {
			doc := sign(t, specimen("v2"), testRSA(), nil)
			edit(doc, doc["proof"].(object))
			return doc
		}
	}
	header := func(text string) func() object {
		return signed(func(_ object, header *string) { *header = text })
	}
	for _, tc := range []struct {
		name string
		doc  func() object
		key  crypto.PublicKey
		want error
	}{
		{"another key", signed(nil), other.Public(), ErrSignature},
		{"a key of another kind", signed(nil), testEd25519().Public(), ErrAlgMismatch},
		{"a key that is none", signed(nil), []byte("secret"), ErrAlgNotAllowed},
		{"a private key", signed(nil), testRSA(), ErrAlgNotAllowed},
		{"none", after(func(d, _ object) { delete(d, "proof") }), nil, ErrNoProof},
		{"two proofs", after(func(d, p object) { d["proof"] = []any{p, p} }), nil, ErrBadProof},
		{"no jws", after(func(_, p object) { delete(p, "jws") }), nil, ErrBadProof},
		{"no method", signed(func(p object, _ *string) { delete(p, "verificationMethod") }), nil, ErrBadProof},
		{"no date", signed(func(p object, _ *string) { delete(p, "created") }), nil, ErrBadProof},
		{"an odd date", signed(func(p object, _ *string) { p["created"] = "today" }), nil, ErrBadProof},
		{"not detached", after(func(_, p object) { p["jws"] = strings.Replace(p["jws"].(string), "..", ".e30.", 1) }), nil, ErrBadProof},
		{"no signature", after(func(_, p object) { h, _, _ := strings.Cut(p["jws"].(string), ".."); p["jws"] = h + ".." }), nil, ErrBadProof},
		{"padding", after(func(_, p object) { p["jws"] = p["jws"].(string) + "==" }), nil, ErrBadProof},
		{"a header that is none", after(func(_, p object) { p["jws"] = "e3..AA" }), nil, ErrBadProof},
		{"alg none", header(`{"alg":"none","b64":false,"crit":["b64"]}`), nil, ErrAlgNotAllowed},
		{"alg HS256", header(`{"alg":"HS256","b64":false,"crit":["b64"]}`), nil, ErrAlgNotAllowed},
		{"alg RS256", header(`{"alg":"RS256","b64":false,"crit":["b64"]}`), nil, ErrAlgNotAllowed},
		{"alg as number", header(`{"alg":1,"b64":false,"crit":["b64"]}`), nil, ErrAlgNotAllowed},
		{"alg of the other suite", header(`{"alg":"EdDSA","b64":false,"crit":["b64"]}`), nil, ErrAlgMismatch},
		{"another suite", signed(func(p object, _ *string) { p["type"] = suiteEd25519 }), nil, ErrAlgMismatch},
		{"encoded payload", header(`{"alg":"PS256"}`), nil, ErrHeader},
		{"b64 true", header(`{"alg":"PS256","b64":true,"crit":["b64"]}`), nil, ErrHeader},
		{"a key in the header", header(`{"alg":"PS256","b64":false,"crit":["b64"],"jwk":{}}`), nil, ErrHeader},
		{"more crit", header(`{"alg":"PS256","b64":false,"crit":["b64","exp"]}`), nil, ErrHeader},
		{"two algs", header(`{"alg":"none","alg":"PS256","b64":false,"crit":["b64"]}`), nil, ErrBadProof},
		{"another purpose, signed", signed(func(p object, _ *string) { p["proofPurpose"] = "authentication" }), nil, ErrPurpose},
		{"another purpose", after(func(_, p object) { p["proofPurpose"] = "authentication" }), nil, ErrSignature},
		{"another method", after(func(_, p object) { p["verificationMethod"] = "did:a:b" }), nil, ErrSignature},
		{"another date", after(func(_, p object) { p["created"] = "2026-03-02T04:00:01Z" }), nil, ErrSignature},
		{"a nonce", after(func(_, p object) { p["nonce"] = "x" }), nil, ErrSignature},
		{"the holder", after(func(d, _ object) { d["credentialSubject"].(object)["name"] = "Rogue" }), nil, ErrSignature},
		{"an end", after(func(d, _ object) { d["expirationDate"] = "2099-01-01T00:00:00Z" }), nil, ErrSignature},
		{"a further dose", after(func(d, _ object) { d["evidence"] = append(d["evidence"].([]any), object{"type": "Vaccination"}) }), nil, ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, _, err := Decode(encode(t, tc.doc()))
			if err != nil {
				t.Fatal(err)
			}
			key := tc.key
			if key == nil {
				key = testRSA().Public()
			}
			if err := d.Verify(key); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	for name, edit := range map[string]func(proof object){
		"a name that no context has": func(p object) { p["note"] = "x" },
		"a purpose that is none":     func(p object) { p["proofPurpose"] = "whatever" },
		"a relative method":          func(p object) { p["verificationMethod"] = "key-1" },
		"a context":                  func(p object) { p["@context"] = object{} },
	} {
		doc := sign(t, specimen("v2"), testRSA(), nil)
		edit(doc["proof"].(object))
		if _, _, err := Decode(encode(t, doc)); err == nil {
			t.Errorf("proof with %s was read", name)
		}
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2047)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := Decode(encode(t, sign(t, specimen("v2"), weak, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Verify(weak.Public()); !errors.Is(err, ErrWeakKey) {
		t.Error(err)
	}
}

// The order of members and of arrays is not signed, and must not matter.
func TestOrder(t *testing.T) {
	doc := sign(t, change(func(d, _, v object) {
		second := maps.Clone(v)
		second["id"], second["dose"] = "https://divoc.example/vaccine/2", json.Number("2")
		d["evidence"] = append(d["evidence"].([]any), second)
	}), testEd25519(), nil)
	list := doc["evidence"].([]any)
	list[0], list[1] = list[1], list[0]
	d, _, err := Decode(encode(t, doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Verify(testEd25519().Public()); err != nil {
		t.Error(err)
	}
	if len(d.Vaccinations) != 2 || d.Vaccinations[0].Dose != 2 {
		t.Errorf("%+v", d.Vaccinations)
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[string]string{
		"1": `1 integer`, "1.0": `1 integer`, "-0": `0 integer`, "0.0": `0 integer`, "1e2": `100 integer`, "1.5": `1.5E0 double`, "-2.5e-7": `-2.5E-7 double`,
		"12345678901234567890": `12345678901234567168 integer`, "1e21": `1.0E21 double`, "123.456": `1.23456E2 double`, "999999999999999999999": `1.0E21 double`,
		"0.1": `1.0E-1 double`, "1e-300": `1.0E-300 double`,
	} {
		got, err := native(json.Number(in), "")
		if text := got.Value + " " + strings.TrimPrefix(got.Datatype, xsd); err != nil || text != want {
			t.Errorf("%s: %s, %v", in, text, err)
		}
	}
	if got, _ := native(json.Number("0"), xsdDouble); got.Value != "0.0E0" {
		t.Error(got)
	}
	if got, _ := native(true, ""); got.Value != "true" || got.Datatype != xsdBoolean {
		t.Error(got)
	}
}

func FuzzDecode(f *testing.F) {
	text := encode(f, sign(f, specimen("v2"), testEd25519(), nil))
	f.Add(text)
	f.Add(archive(f, file{fileName, text, zip.Deflate}))
	f.Add(letters(archive(f, file{fileName, "{}", zip.Deflate}), nil))
	f.Add(b64(archive(f, file{fileName, "{}", zip.Store})))
	f.Add(encode(f, change(func(_, p, _ object) { p["https://example.org/q"] = cliqueNodes(10) })))
	f.Fuzz(func(t *testing.T, text string) {
		start := time.Now()
		d, findings, err := Decode(text)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%d bytes took %v", len(text), took)
		}
		if err != nil {
			if format.Reason(err, "") == "" || d != nil || findings != nil {
				t.Errorf("an error without a reason, or with a document: %v", err)
			}
			return
		}
		_ = d.Verify(testEd25519().Public())
	})
}
