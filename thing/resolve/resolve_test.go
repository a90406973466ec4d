package resolve_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/gs1"
	"ampoule/format/linkset"
	"ampoule/format/oid"
	"ampoule/thing/resolve"
	"ampoule/thing/trail"
)

const gtin = "https://id.gs1.org/01/09521321123458"

func TestParse(t *testing.T) {
	link, err := gs1.ParseDigitalLink("https://a.example/01/09521321123458/10/AB-1?17=290331")
	if err != nil {
		t.Fatal(err)
	}
	lot := trail.LotName("urn:x:products", "IPV", "AB 1")
	for _, c := range []struct {
		text   string
		scheme resolve.Scheme
		name   string
	}{
		{"https://anybody.example/some/path/01/09521321123458/10/AB-1?17=290331", resolve.GS1, gtin + "/10/AB-1"},
		{link.Compress(), resolve.GS1, gtin + "/10/AB-1"},
		{link.CompressPartly(), resolve.GS1, gtin + "/10/AB-1"},
		{"(01)09521321123458(17)290331(10)AB-1", resolve.GS1, gtin + "/10/AB-1"},
		{"urn:epc:id:sgtin:9521321.012345.7", resolve.GS1, gtin + "/21/7"},
		{"URN:EPC:class:lgtin:9521321.012345.AB-1", resolve.GS1, gtin + "/10/AB-1"},
		{"2.25.329800735698586629295641978511506172918", resolve.OID, "urn:oid:2.25.329800735698586629295641978511506172918"},
		{"urn:oid:1.3.6.1.4.1.99999.4.7", resolve.OID, "urn:oid:1.3.6.1.4.1.99999.4.7"},
		{"did:web:a.example%3A8443:things:2.25.1", resolve.DID, "did:web:a.example%3A8443:things:2.25.1"},
		{lot, resolve.Lot, lot},
		{"urn:uuid:00000000-0000-4000-8000-00000000000a", resolve.URI, "urn:uuid:00000000-0000-4000-8000-00000000000a"},
	} {
		id, err := resolve.Parse(c.text)
		if err != nil || id.Scheme != c.scheme || id.Name != c.name {
			t.Errorf("%s: %s %s, %v", c.text, id.Scheme, id.Name, err)
		}
	}
	for _, c := range []struct {
		text string
		want error
	}{
		{"", resolve.Err}, {"AB 1", resolve.Err}, {"urn:x", resolve.Err}, {"mailto:a b", resolve.Err},
		{"did:web:", resolve.ErrDID}, {"did:web:a#key", resolve.ErrDID}, {"did:web:a/b", resolve.ErrDID}, {"did:Web:a", resolve.ErrDID}, {"did:web:a%2", resolve.ErrDID},
		{"https://a.example/about", gs1.ErrNoKey}, {"https://a.example/01/09521321123459", gs1.ErrCheckDigit},
		{"3.1", oid.Err}, {"urn:oid:", oid.Err}, {"(01)1", gs1.ErrLength}, {"urn:epc:id:nothing:1", gs1.ErrScheme},
		{strings.Repeat("a", resolve.MaxIdentifier+1), resolve.Err},
	} {
		if id, err := resolve.Parse(c.text); !errors.Is(err, c.want) {
			t.Errorf("%.60q: %+v, %v, want %v", c.text, id, err, c.want)
		}
	}
}

func TestLevels(t *testing.T) {
	id, err := resolve.Parse("https://a.example/01/09521321123458/22/2A/10/AB/21/7")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range id.Levels() {
		got = append(got, strings.TrimPrefix(l.Name, gtin))
	}
	if diff := cmp.Diff([]string{"/22/2A/10/AB/21/7", "/22/2A/10/AB", "/22/2A", ""}, got); diff != "" {
		t.Error(diff)
	}
	if id.Stock() != gtin+"/21/7" {
		t.Errorf("stock is kept by %s", id.Stock())
	}
}

func TestChoose(t *testing.T) {
	to := func(name string) linkset.Link { return linkset.Link{Href: "https://a.example/" + name, Title: name} }
	said := func(name, language, context, media string) linkset.Link {
		l := to(name)
		if language != "" {
			l.Languages = strings.Split(language, " ")
		}
		if context != "" {
			l.Context = []string{context}
		}
		l.MediaType = media
		return l
	}
	lot := linkset.Context{Relations: []linkset.Relation{{Type: linkset.RecallStatus, Links: []linkset.Link{to("recall")}}}}
	product := linkset.Context{Relations: []linkset.Relation{
		{Type: linkset.DefaultLink, Links: []linkset.Link{to("default")}},
		{Type: linkset.Earlier + "defaultLinkMulti", Links: []linkset.Link{said("multi-fr", "fr", "", ""), said("multi-br", "pt", "BR", ""), to("plain")}},
		{Type: linkset.PatientLeaflet, Links: []linkset.Link{
			said("en", "en", "", "text/html"), said("fr", "fr", "", "text/html"), said("fr-be", "fr", "BE", "text/html"), said("pdf", "en fr", "", "application/pdf"),
		}},
	}}
	for _, c := range []struct {
		name string
		want resolve.Want
		to   string
	}{
		{"nothing asked", resolve.Want{}, "default"},
		{"another language", resolve.Want{Languages: []string{"de"}}, "default"},
		{"a language of several", resolve.Want{Languages: []string{"fr-CA", "en"}}, "multi-fr"},
		{"a context of several", resolve.Want{Context: "br"}, "multi-br"},
		{"the context, and another language", resolve.Want{Context: "BR", Languages: []string{"en"}}, "default"},
		{"what takes all asks for none", resolve.Want{Media: []string{"text/html", "*/*"}}, "default"},
		{"type at the lot", resolve.Want{Type: linkset.RecallStatus}, "recall"},
		{"type further up", resolve.Want{Type: linkset.PatientLeaflet}, "en"},
		{"type and language", resolve.Want{Type: linkset.PatientLeaflet, Languages: []string{"fr"}}, "fr"},
		{"the better language counts", resolve.Want{Type: linkset.PatientLeaflet, Languages: []string{"fr", "en"}}, "fr"},
		{"type, language and context", resolve.Want{Type: linkset.PatientLeaflet, Languages: []string{"en", "fr"}, Context: "BE"}, "fr-be"},
		{"type and media", resolve.Want{Type: linkset.PatientLeaflet, Media: []string{"application/pdf"}}, "pdf"},
		{"a language of none", resolve.Want{Type: linkset.PatientLeaflet, Languages: []string{"de"}}, "en"},
		{"no such type", resolve.Want{Type: linkset.SafetyInfo}, ""},
	} {
		l, ok := resolve.Choose([]linkset.Context{lot, product}, c.want)
		if ok != (c.to != "") || l.Title != c.to {
			t.Errorf("%s: %q, want %q", c.name, l.Title, c.to)
		}
	}
}

func TestPassed(t *testing.T) {
	for _, c := range []struct {
		href, query string
		forward     *bool
		want        string
	}{
		{"https://a.example/", "", nil, "https://a.example/"},
		{"https://a.example/", "17=290331&x=1", nil, "https://a.example/?17=290331&x=1"},
		{"https://a.example/?id=1#top", "x=1", nil, "https://a.example/?id=1&x=1#top"},
		{"https://a.example/", "x=1", new(false), "https://a.example/"},
		{"https://a.example/", "x=1", new(true), "https://a.example/?x=1"},
	} {
		if got := resolve.Passed(linkset.Link{Href: c.href, ForwardQuery: c.forward}, c.query); got != c.want {
			t.Errorf("%s and %s: %s", c.href, c.query, got)
		}
	}
}

func TestAddDefault(t *testing.T) {
	full := linkset.Link{Href: "https://a.example/data", Title: "data", MediaType: "application/json", Languages: []string{"en"}}
	c := linkset.Context{Anchor: "https://a.example/01/1", Description: "x"}
	resolve.Merge(&c, linkset.Relation{Type: linkset.RecallStatus, Links: []linkset.Link{{Href: "https://a.example/r", Title: "r"}}}, linkset.Relation{Type: linkset.MasterData, Links: []linkset.Link{full}})
	resolve.AddDefault(&c)
	resolve.Describe(&c)
	if got := c.Links(linkset.DefaultLink); len(got) != 1 || !cmp.Equal(got[0], linkset.Link{Href: full.Href, Title: full.Title}) {
		t.Errorf("the default has attributes: %+v", got)
	}
	// A default of the operator's that nothing describes is a product page too.
	c = linkset.Context{Anchor: "https://a.example/01/1", Description: "x"}
	resolve.Merge(&c, linkset.Relation{Type: linkset.DefaultLink, Links: []linkset.Link{full}})
	resolve.AddDefault(&c)
	resolve.Describe(&c)
	if got := c.Links(linkset.ProductPage); len(got) != 1 || got[0].Href != full.Href {
		t.Errorf("nothing describes the default: %+v", c)
	}
}

// TestKeyDID are the vectors of the did:key method, and every kind of key there and back.
func TestKeyDID(t *testing.T) {
	for _, did := range []string{
		"did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",                        // Ed25519
		"did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",                       // P-256
		"did:key:z82Lm1MpAkeJcix9K8TMiLd5NMAhnwkjjCBeWHXyu3U4oT2MVJJKXkcVBgjGhnLBn2Kaau9", // P-384
	} {
		pub, err := resolve.ParseKeyDID(did)
		if err != nil {
			t.Errorf("%s: %v", did, err)
			continue
		}
		if again, err := resolve.KeyDID(pub); err != nil || again != did {
			t.Errorf("%s: %s, %v", did, again, err)
		}
	}
	for range 50 {
		p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		did, err := resolve.KeyDID(p256.Public())
		if err != nil {
			t.Fatal(err)
		}
		pub, err := resolve.ParseKeyDID(did)
		if err != nil || !p256.PublicKey.Equal(pub) {
			t.Fatalf("%s: %v", did, err)
		}
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	did, err := resolve.KeyDID(ed)
	if err != nil {
		t.Fatal(err)
	}
	if pub, err := resolve.ParseKeyDID(did); err != nil || !ed.Equal(pub) {
		t.Errorf("%s: %v", did, err)
	}
	for text, want := range map[string]error{
		"did:key:": resolve.ErrDID, "did:key:z": resolve.ErrDID, "did:key:z0": resolve.ErrDID, "did:key:m6Mk": resolve.ErrDID, "did:key:z6Mk": resolve.ErrKey,
		"did:key:z" + strings.Repeat("2", 200): resolve.ErrDID, "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme": resolve.ErrKey, // secp256k1
	} {
		if _, err := resolve.ParseKeyDID(text); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

func TestWebDID(t *testing.T) {
	did, err := resolve.WebDID("https://a.example:8443", "things", "2.25.1")
	if err != nil || did != "did:web:a.example%3A8443:things:2.25.1" {
		t.Fatalf("%s, %v", did, err)
	}
	host, path, err := resolve.ParseWebDID(did)
	if err != nil || host != "a.example:8443" || !cmp.Equal(path, []string{"things", "2.25.1"}) {
		t.Errorf("%s %q %v", host, path, err)
	}
	for _, bad := range []string{"did:web:a::b", "did:web:a:..", "did:key:zA", "did:web:%00%"} {
		if _, _, err := resolve.ParseWebDID(bad); !errors.Is(err, resolve.ErrDID) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := resolve.WebDID("https://a.example/below"); !errors.Is(err, resolve.ErrDID) {
		t.Errorf("an address with a path: %v", err)
	}
}

func TestDocument(t *testing.T) {
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	given := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	s := resolve.Subject{ID: "did:web:a.example", AlsoKnownAs: []string{"urn:oid:2.25.1"}, Methods: []resolve.Method{
		{Fragment: "now", Public: ed, Authentication: true}, {Fragment: "before", Public: ed, Authentication: true, Until: given}}}
	data, err := s.Document()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		ID                              string
		Authentication, AssertionMethod []string
		VerificationMethod              []struct{ ID, Controller, Revoked string }
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(doc.Authentication, []string{"did:web:a.example#now"}) || !cmp.Equal(doc.AssertionMethod, doc.Authentication) ||
		len(doc.VerificationMethod) != 2 || doc.VerificationMethod[1].Revoked != "2026-11-01T00:00:00Z" || doc.VerificationMethod[0].Controller != s.ID {
		t.Errorf("%s", data)
	}
}

func TestSeal(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const at = "https://a.example/resolve?id=2.25.1"
	body := []byte(`{"linkset":[]}`)
	s := resolve.Seal{KID: "k", URL: at, Made: made, Until: made.Add(time.Hour)}
	text, err := s.Sign(rand.Reader, key, body)
	if err != nil {
		t.Fatal(err)
	}
	head, tail, _ := strings.Cut(text, "..")
	for _, c := range []struct {
		name string
		pub  crypto.PublicKey
		text string
		url  string
		body []byte
		now  time.Time
		want error
	}{
		{"as it was", key.Public(), text, at, body, made.Add(time.Minute), nil},
		{"another key", other.Public(), text, at, body, made, resolve.ErrSeal},
		{"another body", key.Public(), text, at, []byte(`{"linkset":[] }`), made, resolve.ErrSeal},
		{"another address", key.Public(), text, at + "2", body, made, resolve.ErrSealURL},
		{"too old", key.Public(), text, at, body, made.Add(time.Hour), resolve.ErrSealStale},
		{"not yet", key.Public(), text, at, body, made.Add(-time.Hour), resolve.ErrSealStale},
		{"no signature", key.Public(), head + "..", at, body, made, resolve.ErrSeal},
		{"no header", key.Public(), ".." + tail, at, body, made, resolve.ErrSeal},
		{"no algorithm", key.Public(), "eyJhbGciOiJub25lIn0..", at, body, made, resolve.ErrSeal},
		{"a body in it", key.Public(), head + ".e30." + tail, at, body, made, resolve.ErrSeal},
	} {
		got, err := resolve.VerifySeal(c.pub, c.text, c.url, c.body, c.now)
		if !errors.Is(err, c.want) || (err == nil) != (got != nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(rand.Reader, p384, body); err == nil {
		t.Error("ES256 was signed with another curve")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://a.example/01/09521321123458/10/A", "urn:epc:id:sgtin:9521321.012345.7", "2.25.1", "did:web:a%3A1:b", "(01)09521321123458", "urn:ampoule:lot:a:b:c", "https://id.gs1.org/AQnYUc1gmg"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := resolve.Parse(s)
		if err != nil {
			return
		}
		// The one form is its own.
		again, err := resolve.Parse(id.Name)
		if err != nil || again.Name != id.Name || again.Scheme != id.Scheme {
			t.Errorf("%q is %s %q, and that %s %q, %v", s, id.Scheme, id.Name, again.Scheme, again.Name, err)
		}
		for _, l := range id.Levels() {
			if _, err := resolve.Parse(l.Name); err != nil {
				t.Errorf("%q: level %q: %v", s, l.Name, err)
			}
		}
	})
}

func FuzzKeyDID(f *testing.F) {
	f.Add("did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169")
	f.Add("did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp")
	f.Fuzz(func(t *testing.T, s string) {
		pub, err := resolve.ParseKeyDID(s)
		if err != nil {
			return
		}
		if again, err := resolve.KeyDID(pub); err != nil || again != s {
			t.Errorf("%q became %q, %v", s, again, err)
		}
	})
}

func FuzzSeal(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6ImsiLCJpYXQiOjEsImV4cCI6MiwidXJsIjoidSJ9..AA")
	f.Fuzz(func(t *testing.T, s string) {
		seal, err := resolve.ParseSeal(s)
		if err == nil && (seal.Until.Before(seal.Made) || bytes.ContainsAny([]byte(s), "\n\r")) {
			t.Errorf("%q: %+v", s, seal)
		}
	})
}
