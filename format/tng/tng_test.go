package tng

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	der  = []byte("0\x03\x02\x01\x07")
	cms  = []byte("0\x80\x06\x00\x00\x00")
	when = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
)

const batchID = "0190f5a1-6c3e-7d2b-8a4f-1234567890ab"

func trustList() []TrustListEntry {
	return []TrustListEntry{
		{KID: DerivedKID(der), Timestamp: when, Country: "XA", Type: DSC, Thumbprint: Thumbprint(der), Signature: cms, Raw: der},
		{KID: "ABCDEFGH", Timestamp: when, Country: "XB", Type: CSCA, Thumbprint: Thumbprint(der), Signature: cms, Raw: der},
		{KID: DerivedKID(der), Timestamp: when, Country: "XA", Type: DSC, Thumbprint: Thumbprint(der), Raw: der, Deleted: true},
	}
}

func certificates() []CertificateEntry {
	return []CertificateEntry{
		{Raw: der, Signature: cms, KID: "ABCDEFGH", Group: DSC, Country: "XA", Domain: "PH4H", UUID: batchID, Version: 3, SourceGateway: batchID, Properties: map[string]string{"use": "<test> & trial"}},
		{Raw: der, Signature: cms, KID: DerivedKID(der), Group: CSCA, Country: "XB", Properties: map[string]string{}},
	}
}

func issuers() []Issuer {
	return []Issuer{
		{
			URL: "https://xa.example/jwks;v=1", Type: IssuerHTTP, Country: "XA", Thumbprint: "00", SSLPublicKey: "AA==", KeyStorageType: "JWKS",
			Signature: cms, Timestamp: when, Name: "Ministry of Demonstration", Domain: "DCC", UUID: batchID, Version: 1, SourceGateway: batchID,
		},
		{URL: "did:web:xb.example", Type: IssuerDID, Country: "XB", Signature: cms},
	}
}

func references() []Reference {
	return []Reference{{
		UUID: batchID, Version: "1", Country: "XA", Type: "FHIR", Service: "ValueSet", Thumbprint: "00", Name: "sets",
		SSLPublicKey: "AA==", ContentType: "application/json", SignatureType: "NONE", ReferenceVersion: "2", Domain: "DCC",
	}}
}

func download() *Download {
	return &Download{"https://gateway.example", when, trustList(), certificates(), issuers()}
}

// TestBodies writes every body, reads it back, and writes it again.
func TestBodies(t *testing.T) {
	for _, tc := range []struct {
		name   string
		want   any
		encode func() ([]byte, error)
		parse  func([]byte) (any, error)
	}{
		{"trust list", trustList(), func() ([]byte, error) { return EncodeTrustList(trustList()) }, func(b []byte) (any, error) { return ParseTrustList(b) }},
		{"certificates", certificates(), func() ([]byte, error) { return EncodeCertificates(certificates()) }, func(b []byte) (any, error) { return ParseCertificates(b) }},
		{"issuers", issuers(), func() ([]byte, error) { return EncodeIssuers(issuers()) }, func(b []byte) (any, error) { return ParseIssuers(b) }},
		{"references", references(), func() ([]byte, error) { return EncodeReferences(references()) }, func(b []byte) (any, error) { return ParseReferences(b) }},
		{"reference", references()[0], references()[0].Encode, func(b []byte) (any, error) { return ParseReference(b) }},
		{"reference delete", batchID, func() ([]byte, error) { return EncodeReferenceDelete(batchID) }, func(b []byte) (any, error) { return ParseReferenceDelete(b) }},
		{"upload", Upload{cms, "ABCDEFGH", DSC, "PH4H", map[string]string{"a": "b"}}, Upload{cms, "ABCDEFGH", DSC, "PH4H", map[string]string{"a": "b"}}.Encode, func(b []byte) (any, error) { return ParseUpload(b) }},
		{"bare upload", Upload{CMS: cms, Properties: map[string]string{}}, Upload{CMS: cms}.Encode, func(b []byte) (any, error) { return ParseUpload(b) }},
		{"problem", Problem{CodeExists, "exists", "a", "b"}, Problem{CodeExists, "exists", "a", "b"}.Encode, func(b []byte) (any, error) { return ParseProblem(b) }},
		{
			"revocation page", RevocationPage{true, []RevocationItem{{batchID, "XA", when.Add(123456789), false}, {batchID, "XB", when, true}}},
			RevocationPage{true, []RevocationItem{{batchID, "XA", when.Add(123456789), false}, {batchID, "XB", when, true}}}.Encode,
			func(b []byte) (any, error) { return ParseRevocationPage(b) },
		},
		{"batch delete", batchID, func() ([]byte, error) { return EncodeBatchDelete(batchID) }, func(b []byte) (any, error) { return ParseBatchDelete(b) }},
		{"package", Package{cms, 7, PackageDSC, nil}, Package{cms, 7, PackageDSC, nil}.Encode, func(b []byte) (any, error) { return ParsePackage(b) }},
		{"packages", []Package{{cms, 7, PackageDSC, nil}}, func() ([]byte, error) { return EncodePackages([]Package{{cms, 7, PackageDSC, nil}}) }, func(b []byte) (any, error) { return ParsePackages(b) }},
		{"countries", []string{"XA", "XB"}, func() ([]byte, error) { return EncodeCountries([]string{"XA", "XB"}) }, func(b []byte) (any, error) { return ParseCountries(b) }},
		{"no countries", []string{}, func() ([]byte, error) { return EncodeCountries(nil) }, func(b []byte) (any, error) { return ParseCountries(b) }},
		{"onboarding", Onboarding{cms, der, Thumbprint(der), "XA"}, Onboarding{cms, der, "", "XA"}.Encode, func(b []byte) (any, error) { return ParseOnboarding(b) }},
		{"download", download(), download().Encode, func(b []byte) (any, error) { return ParseDownload(b) }},
		{"CMS", cms, func() ([]byte, error) { return EncodeCMS(cms), nil }, func(b []byte) (any, error) { return ParseCMS(b) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body, err := tc.encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := tc.parse(body)
			if err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("%s\n%s", body, diff)
			}
		})
	}
}

// TestMembers pins the names that the other side reads.
func TestMembers(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		encode     func() ([]byte, error)
	}{
		{
			"trust list", `[{"kid":"kid","timestamp":"2026-11-22T10:00:00Z","country":"XA","certificateType":"DSC",` +
				`"thumbprint":"` + Thumbprint(der) + `","signature":"MIAGAAAA","rawData":"MAMCAQc="}]`,
			func() ([]byte, error) {
				return EncodeTrustList([]TrustListEntry{{KID: "kid", Timestamp: when.Add(1), Country: "XA", Type: DSC, Signature: cms, Raw: der}})
			},
		},
		{
			"deleted", `[{"kid":"kid","timestamp":"","country":"XA","certificateType":"DSC","thumbprint":"","signature":null,"rawData":""}]`,
			func() ([]byte, error) {
				return EncodeTrustList([]TrustListEntry{{KID: "kid", Country: "XA", Type: DSC, Deleted: true}})
			},
		},
		{"upload", `{"cms":"MIAGAAAA","properties":{}}`, Upload{CMS: cms}.Encode},
		{"no batches", `{"more":false,"batches":[]}`, RevocationPage{}.Encode},
		{"package", `{"cms":"MIAGAAAA","entityId":7,"type":"REVOCATION_LIST"}`, Package{CMS: cms, EntityID: 7, Type: PackageRevocation}.Encode},
		{"batch delete", `{"batchId":"x"}`, func() ([]byte, error) { return EncodeBatchDelete("x") }},
		{"problem", `{"code":"0x004","problem":"<&>","sendValue":"","details":""}`, Problem{Code: CodeCertificate, Problem: "<&>"}.Encode},
		{"no references", `[]`, func() ([]byte, error) { return EncodeReferences(nil) }},
		{"no certificates", `[]`, func() ([]byte, error) { return EncodeCertificates(nil) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.encode()
			if err != nil || string(got) != tc.want {
				t.Errorf("%s, %v\nwant %s", got, err, tc.want)
			}
		})
	}
}

func TestSignedText(t *testing.T) {
	if got := issuers()[0].SignedText(); got != "XA;Ministry of Demonstration;https://xa.example/jwks;v=1;HTTP;" {
		t.Error(got)
	}
}

// edit changes the one object of a body.
func edit(t *testing.T, body []byte, change func(map[string]any)) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	o, ok := v.(map[string]any)
	if !ok {
		o = v.([]any)[0].(map[string]any)
	}
	change(o)
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEntries(t *testing.T) {
	list, err := EncodeTrustList(trustList()[:1])
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, member string
		value        any // nil takes it away
		want         error
	}{
		{"good", "kid", "ABCDEFGH", nil},
		{"unknown member", "more", 1, nil},
		{"kid number", "kid", 1, ErrMember},
		{"kid long", "kid", strings.Repeat("A", MaxText+1), ErrTooLarge},
		{"country", "country", "Utopia", ErrCountry},
		{"no country", "country", nil, ErrCountry},
		{"time without offset", "timestamp", "2021-06-01T10:00:00", nil},
		{"time", "timestamp", "1.6.2021", ErrTime},
		{"thumbprint", "thumbprint", strings.Repeat("0", 64), ErrThumbprint},
		{"no thumbprint", "thumbprint", nil, nil},
		{"upper-case thumbprint", "thumbprint", strings.ToUpper(Thumbprint(der)), nil},
		{"no signature", "signature", nil, ErrMember},
		{"empty signature", "signature", "", ErrEmpty},
		{"signature of two lines", "signature", "MIAG\nAAAA", ErrBase64},
		{"signature", "signature", "*", ErrBase64},
		{"signature long", "signature", strings.Repeat("A", 2*MaxCMS), ErrTooLarge},
		{"no certificate", "rawData", nil, ErrMember},
		{"certificate", "rawData", "MAMCAQc", ErrBase64},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseTrustList(edit(t, list, func(o map[string]any) {
				if delete(o, tc.member); tc.value != nil {
					o[tc.member] = tc.value
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(got[0].Err, tc.want) || tc.want == nil && got[0].Err != nil {
				t.Errorf("%v, want %v", got[0].Err, tc.want)
			}
		})
	}
	t.Run("one bad, one good", func(t *testing.T) {
		got, err := ParseTrustList(bytes.Replace(list, []byte("["), []byte(`[7,{"kid":[]},`), 1))
		if err != nil || len(got) != 3 || !errors.Is(got[0].Err, ErrShape) || !errors.Is(got[1].Err, ErrMember) || got[2].Err != nil {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestRefused(t *testing.T) {
	many := func(n int) []byte { return []byte("[" + strings.Repeat("0,", n) + "0]") }
	page := func(item string) []byte { return []byte(`{"more":false,"batches":[` + item + `]}`) }
	item := `{"batchId":"` + batchID + `","country":"XA","date":"2026-11-22T10:00:00Z","deleted":false}`
	for _, tc := range []struct {
		name  string
		parse func([]byte) error
		in    []byte
		want  error
	}{
		{"list that is none", errOf(ParseTrustList), []byte(`{}`), ErrShape},
		{"list too long", errOf(ParseTrustList), many(MaxEntries), ErrTooManyEntries},
		{"list with a name twice", errOf(ParseTrustList), []byte(`[{"kid":"a","kid":"b"}]`), strictjson.ErrDuplicateName},
		{"upload that is none", errOf(ParseUpload), []byte(`[]`), ErrShape},
		{"upload without CMS", errOf(ParseUpload), []byte(`{"kid":"a"}`), ErrMember},
		{"upload with a list of properties", errOf(ParseUpload), []byte(`{"cms":"MIAGAAAA","properties":[]}`), ErrMember},
		{"upload with a number as property", errOf(ParseUpload), []byte(`{"cms":"MIAGAAAA","properties":{"a":1}}`), ErrMember},
		{"upload too large", errOf(ParseUpload), bytes.Repeat([]byte(" "), MaxBody+1), strictjson.ErrTooLarge},
		{"page without batches", errOf(ParseRevocationPage), []byte(`{"more":true}`), ErrMember},
		{"page of too many", errOf(ParseRevocationPage), page(strings.Repeat(item+",", MaxBatches) + item), ErrTooManyEntries},
		{"batch without date", errOf(ParseRevocationPage), page(strings.Replace(item, "2026-11-22T10:00:00Z", "", 1)), ErrTime},
		{"batch of a foreign name", errOf(ParseRevocationPage), page(strings.Replace(item, batchID, "../../signerCertificate", 1)), ErrUUID},
		{"batch of no country", errOf(ParseRevocationPage), page(strings.Replace(item, "XA", "xa", 1)), ErrCountry},
		{"batch flag", errOf(ParseRevocationPage), page(strings.Replace(item, "false", `"no"`, 1)), ErrMember},
		{"delete without batch", errOf(ParseBatchDelete), []byte(`{}`), ErrUUID},
		{"delete without reference", errOf(ParseReferenceDelete), []byte(`{}`), ErrUUID},
		{"package with a text as number", errOf(ParsePackage), []byte(`{"cms":"MIAGAAAA","entityId":"7","type":"DSC"}`), ErrMember},
		{"countries", errOf(ParseCountries), []byte(`["XA",1]`), ErrCountry},
		{"countries that are none", errOf(ParseCountries), []byte(`{}`), ErrShape},
		{"onboarding of another certificate", errOf(ParseOnboarding), []byte(`{"trustAnchorSignature":"MIAGAAAA","certificateRawData":"MAMCAQc=","certificateThumbprint":"00","country":"XA"}`), ErrThumbprint},
		{"download that is none", errOf(ParseDownload), []byte(`{"trustList":[],"certificates":[],"issuers":[]}`), ErrDownload},
		{"download of a newer form", errOf(ParseDownload), []byte(`{"gatewayDownload":2,"trustList":[],"certificates":[],"issuers":[]}`), ErrDownload},
		{"download without a list", errOf(ParseDownload), []byte(`{"gatewayDownload":1,"certificates":[],"issuers":[]}`), ErrShape},
		{"CMS of two lines", errOf(ParseCMS), []byte("MIAG\nAAAA"), ErrBase64},
		{"no CMS", errOf(ParseCMS), []byte("\n"), ErrEmpty},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.parse(tc.in); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
	for name, change := range map[string]func(map[string]any){
		"no address":       func(o map[string]any) { delete(o, "url") },
		"unknown type":     func(o map[string]any) { o["type"] = "FTP" },
		"separator":        func(o map[string]any) { o["name"] = "a;b" },
		"version as text":  func(o map[string]any) { o["version"] = "one" },
		"signature absent": func(o map[string]any) { delete(o, "signature") },
	} {
		t.Run("issuer: "+name, func(t *testing.T) {
			body, err := EncodeIssuers(issuers()[:1])
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseIssuers(edit(t, body, change))
			if err != nil || got[0].Err == nil {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func errOf[T any](parse func([]byte) (T, error)) func([]byte) error {
	return func(b []byte) error {
		_, err := parse(b)
		return err
	}
}

func TestSince(t *testing.T) {
	for _, text := range []string{"2026-11-22T10:00:00Z", "2026-11-22T11:00:00+01:00", "Sun, 22 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 10:00:00 +0000", FormatSince(when)} {
		if got, err := ParseSince(text); err != nil || !got.Equal(when) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := ParseSince("yesterday"); !errors.Is(err, ErrTime) {
		t.Error(err)
	}
}

func TestIsUUID(t *testing.T) {
	for text, want := range map[string]bool{
		batchID: true, "": false, strings.ToUpper(batchID): false, batchID + "0": false,
		strings.Replace(batchID, "-", "0", 1): false, strings.Replace(batchID, "0", "-", 1): false, strings.Replace(batchID, "0", "/", 1): false,
	} {
		if IsUUID(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

// FuzzBodies: what can be read is written and read again as the same.
func FuzzBodies(f *testing.F) {
	for _, seed := range []func() ([]byte, error){
		func() ([]byte, error) { return EncodeTrustList(trustList()) },
		func() ([]byte, error) { return EncodeCertificates(certificates()) },
		func() ([]byte, error) { return EncodeIssuers(issuers()) },
		func() ([]byte, error) { return EncodeReferences(references()) },
		Upload{CMS: cms}.Encode, Problem{Code: CodeExists}.Encode,
		RevocationPage{false, []RevocationItem{{batchID, "XA", when, true}}}.Encode,
		func() ([]byte, error) { return EncodePackages([]Package{{CMS: cms, EntityID: 1}}) },
		Onboarding{Signature: cms, Raw: der, Country: "XA"}.Encode,
	} {
		body, err := seed()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		again(t, body, ParseTrustList, EncodeTrustList, func(list []TrustListEntry) bool {
			for i, e := range list {
				if e.Err != nil || year(e.Timestamp) || e.Deleted && e.Raw == nil {
					return false
				}
				list[i].Timestamp = e.Timestamp.UTC().Truncate(time.Second)
				list[i].Thumbprint = Thumbprint(e.Raw)
			}
			return true
		})
		again(t, body, ParseCertificates, EncodeCertificates, func(list []CertificateEntry) bool {
			for _, e := range list {
				if e.Err != nil {
					return false
				}
			}
			return true
		})
		again(t, body, ParseIssuers, EncodeIssuers, func(list []Issuer) bool {
			for i, e := range list {
				if e.Err != nil || year(e.Timestamp) {
					return false
				}
				list[i].Timestamp = e.Timestamp.UTC().Truncate(time.Second)
			}
			return true
		})
		again(t, body, ParseReferences, EncodeReferences, func(list []Reference) bool {
			for _, e := range list {
				if e.Err != nil {
					return false
				}
			}
			return true
		})
		if d, err := ParseDownload(body); err == nil && len(d.TrustList) > MaxEntries {
			t.Error("too many")
		}
		again(t, body, ParseUpload, Upload.Encode, nil)
		again(t, body, ParseProblem, Problem.Encode, nil)
		again(t, body, ParsePackage, Package.Encode, nil)
		again(t, body, ParseOnboarding, Onboarding.Encode, nil)
		again(t, body, ParseRevocationPage, RevocationPage.Encode, func(p RevocationPage) bool {
			for i, b := range p.Batches {
				if year(b.Date) {
					return false
				}
				p.Batches[i].Date = b.Date.UTC()
			}
			return true
		})
	})
}

// year reports whether a time has no four digits for its year in UTC.
func year(t time.Time) bool { y := t.UTC().Year(); return y < 1 || y > 9999 }

func again[T any](t *testing.T, body []byte, parse func([]byte) (T, error), encode func(T) ([]byte, error), comparable func(T) bool) {
	v, err := parse(body)
	if err != nil || comparable != nil && !comparable(v) {
		return
	}
	written, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(written)
	if err != nil {
		t.Fatalf("%s became %s: %v", body, written, err)
	}
	if diff := cmp.Diff(v, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s\n%s", fmt.Sprintf("%.200s", body), diff)
	}
}
