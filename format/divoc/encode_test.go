package divoc

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"ampoule/format"

	"github.com/google/go-cmp/cmp"
)

// credential is what the specimen says.
func credential(t testing.TB) *Credential {
	t.Helper()
	d, findings, err := Decode(encode(t, specimen("v2")))
	if err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	return &d.Credential
}

// What is written is what was to be said, and its proof holds, in the archive
// and in base64, under either kind of key.
func TestWrite(t *testing.T) {
	want := credential(t)
	certificate, findings := Encode(want)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	created := time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC)
	for name, signer := range map[string]crypto.Signer{"RSA": testRSA(), "Ed25519": testEd25519()} {
		signed, err := Sign(rand.Reader, signer, "did:example:utopia", created, certificate)
		if err != nil {
			t.Fatal(err)
		}
		archive, err := Pack(signed)
		if err != nil {
			t.Fatal(err)
		}
		for form, text := range map[string]string{"archive": string(archive), "base64": Text(archive), "JSON": string(signed)} {
			d, findings, err := Decode(text)
			if err != nil || len(findings) > 0 {
				t.Fatalf("%s, %s: %v %v", name, form, err, findings)
			}
			if err := d.Verify(signer.Public()); err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
			}
			if diff := cmp.Diff(want, &d.Credential); diff != "" {
				t.Errorf("%s, %s: %s", name, form, diff)
			}
			if d.Context != "v2" || string(d.KeyID()) != "did:example:utopia" || !d.Proof.Created.Equal(created) {
				t.Errorf("%s, %s: %s %s %v", name, form, d.Context, d.KeyID(), d.Proof)
			}
		}
	}
}

// A general processor of JSON-LD makes the same statements of what is written,
// certificate and proof.
func TestWriteAgainstOracle(t *testing.T) {
	dir := vectors(t)
	certificate, _ := Encode(credential(t))
	for name, signer := range map[string]crypto.Signer{"RSA": testRSA(), "Ed25519": testEd25519()} {
		signed, err := Sign(rand.Reader, signer, "did:example:utopia", time.Now(), certificate)
		if err != nil {
			t.Fatal(err)
		}
		if !same(t, oracle{dir}, signed) {
			t.Errorf("%s: no second opinion", name)
		}
	}
}

// Another reader of archives finds the same file.
func TestPack(t *testing.T) {
	archive, err := Pack([]byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil || len(r.File) != 1 || r.File[0].Name != fileName {
		t.Fatal(err, r)
	}
	f, err := r.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(f); err != nil || string(content) != "content" {
		t.Errorf("%q %v", content, err)
	}
	if _, err := Pack(make([]byte, maxJSON+1)); err == nil {
		t.Error("packed more than is read")
	}
}

func TestEncodeFindings(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(c *Credential)
		want []format.Finding
	}{
		{"nothing", func(*Credential) {}, nil},
		{"no name", func(c *Credential) { c.Person.Name = "" }, []format.Finding{{Path: "credentialSubject.name", Reason: format.RequiredMissing}}},
		{"no issuer", func(c *Credential) { c.Issuer = "" }, []format.Finding{{Path: "issuer", Reason: format.RequiredMissing}}},
		{"an issuer by its name", func(c *Credential) { c.Issuer = "Ministry of Health" }, []format.Finding{{Path: "issuer", Reason: ErrRelative}}},
		{"an identifier with a blank", func(c *Credential) { c.Person.ID = "did:Passport:A B" }, []format.Finding{{Path: "credentialSubject.id", Reason: ErrRelative}}},
		{"a dose that is no IRI", func(c *Credential) { c.Vaccinations[0].ID = "1" }, []format.Finding{{Path: "evidence[0].id", Reason: ErrRelative}}},
		{"no day of issue", func(c *Credential) { c.Issued = time.Time{} }, []format.Finding{{Path: "issuanceDate", Reason: format.RequiredMissing}}},
		{"no dose", func(c *Credential) { c.Vaccinations = nil }, []format.Finding{{Path: "evidence", Reason: format.RequiredMissing}}},
		{"no vaccine", func(c *Credential) { c.Vaccinations[0].Vaccine = "" }, []format.Finding{{Path: "evidence[0].vaccine", Reason: format.RequiredMissing}}},
		{"a date that is none", func(c *Credential) { c.Vaccinations[0].Date = "yesterday" }, []format.Finding{{Path: "evidence[0].date", Reason: format.BadDate}}},
		{"not UTF-8", func(c *Credential) { c.Vaccinations[0].Batch = "\xff" }, []format.Finding{{Reason: format.BadValue}}},
		{"turned around", func(c *Credential) { c.Person.Name = "A\u202eB" }, []format.Finding{{Path: "credentialSubject.name", Reason: format.SuspiciousText, Tolerable: true}}},
		{"one identifier twice", func(c *Credential) { c.Vaccinations = append(c.Vaccinations, c.Vaccinations[0]) }, []format.Finding{{Reason: ErrShape}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := credential(t)
			tc.edit(c)
			if _, got := Encode(c); cmp.Diff(tc.want, got) != "" {
				t.Error(cmp.Diff(tc.want, got))
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	certificate, _ := Encode(credential(t))
	signed, err := Sign(rand.Reader, testEd25519(), "did:example:utopia", time.Now(), certificate)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2047)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		signer crypto.Signer
		method string
		text   string
		want   error
	}{
		{"an RSA key of 2047 bits", weak, "did:example:utopia", string(certificate), ErrWeakKey},
		{"a key for ECDSA", ec, "did:example:utopia", string(certificate), ErrAlgNotAllowed},
		{"a key without a name", testEd25519(), "", string(certificate), ErrRelative},
		{"signed already", testEd25519(), "did:example:utopia", string(signed), ErrNotCredential},
		{"another context", testEd25519(), "did:example:utopia", strings.Replace(string(certificate), "/v2", "/v9", 1), ErrContext},
		{"not JSON", testEd25519(), "did:example:utopia", "x", format.Defect("")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Sign(rand.Reader, tc.signer, tc.method, time.Now(), []byte(tc.text))
			if err == nil || tc.want != format.Defect("") && !errors.Is(err, tc.want) {
				t.Error(err)
			}
		})
	}
}
