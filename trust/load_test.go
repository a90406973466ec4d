package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"ampoule/format"
	"ampoule/format/dcctrustlist"
	"ampoule/format/didlist"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

// entrySpec is one entry of a DID list in the making.
type entrySpec struct {
	domain, participant, usage string
	kid                        string // a custom one
	bare                       bool   // a JWK without a certificate
	der                        []byte // default: a fresh certificate
}

const listDID = "did:web:trust.example:v2:trustlist"

// signedList makes a list and signs it; pin is the key to check it under.
func signedList(t testing.TB, specs []entrySpec, references ...string) (pin []crypto.PublicKey, data []byte) {
	t.Helper()
	var entries []didlist.Entry
	for _, s := range specs {
		e := didlist.Entry{Domain: s.domain, Participant: s.participant, KeyUsage: s.usage, KID: []byte(s.kid)}
		switch {
		case s.bare:
			e.Key = newECKey(t, elliptic.P256()).Public()
		case s.der != nil:
			e.Chain = [][]byte{s.der}
		default:
			e.Chain = [][]byte{dsc(t, "XA")}
		}
		entries = append(entries, e)
	}
	doc, err := didlist.New(didlist.ContextProduction, listDID, listDID, "did:web:trust.example:signing", entries, references)
	if err != nil {
		t.Fatal(err)
	}
	signer := newECKey(t, elliptic.P256())
	data, err = doc.Sign(signer, rand.Reader, from, "nonce", didlist.FormDER)
	if err != nil {
		t.Fatal(err)
	}
	return []crypto.PublicKey{signer.Public()}, data
}

func TestAddDIDList(t *testing.T) {
	weak := certify(t, "XA", newRSAKey(t, rsa1024), nil)
	pin, data := signedList(t, []entrySpec{
		{domain: "DCC", participant: "XXA", usage: "DSC"},
		{domain: "dICVP", participant: "XXA", usage: "DSC", kid: "ABCDEFGH"},
		{domain: "IPS", participant: "XXB", usage: "DSC", bare: true, kid: "bare-key"},
		{domain: "DCC", participant: "XXA", usage: "DSC", der: weak},
		{domain: "DCC", participant: "XXA", usage: "SCA", der: certify(t, "XA", newECKey(t, elliptic.P256()), authority)},
		{domain: "DCC", participant: "XXA", usage: "CSCA"},
		{domain: "DCC", participant: "XXA", usage: "TLS"},
		{domain: "DCC", participant: "XXA", usage: "UP"},
		{domain: "DCC", participant: "XXA", usage: "DECA"},
		{domain: "DCC", participant: "XXA", usage: "DESC"},
		{domain: "DCC", participant: "XXA", usage: ""},
	}, "did:web:elsewhere.example:trustlist")
	other := newECKey(t, elliptic.P256()).Public()

	t.Run("under the pin", func(t *testing.T) {
		for name, pins := range map[string][]crypto.PublicKey{"alone": pin, "beside others": {other, newRSAKey(t, rsa2048).Public(), pin[0]}} {
			l := new(List)
			if err := l.Add(Source{Name: "list", Data: data, Pins: pins}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			type row struct {
				Domain      Domain
				Participant string
				ID          string
				Weak, Dated bool
				Notes       []string
			}
			sum := sha256.Sum256(weak)
			var got []row
			for _, k := range l.All() {
				id := string(k.ID)
				if k.Domain == DCC && !k.Weak {
					id = "derived" // from a certificate that is new in every run
				}
				got = append(got, row{k.Domain, k.Participant, id, k.Weak, !k.NotAfter.IsZero(), k.Notes})
				if k.Source != "list" {
					t.Errorf("source %q", k.Source)
				}
			}
			want := []row{
				{DCC, "XXA", "derived", false, true, nil},
				{ICVP, "XXA", "ABCDEFGH", false, true, []string{"kid-not-derived"}},
				{Pilgrimage, "XXB", "bare-key", false, false, []string{"no-x5c"}},
				{DCC, "XXA", string(sum[:8]), true, true, nil},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(map[string]int{"not-a-signer": 7, "reference": 1}, reasons(l)); diff != "" {
				t.Error(diff)
			}
		}
	})

	refused := func(name string, data []byte, pins []crypto.PublicKey, want error) {
		t.Run(name, func(t *testing.T) {
			l := new(List)
			if err := l.Add(Source{Name: "list", Data: data, Pins: pins}); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			if len(l.All())+len(l.Drops()) > 0 {
				t.Errorf("%d keys and %d drops of a refused list", len(l.All()), len(l.Drops()))
			}
		})
	}
	refused("no pin", data, nil, ErrNoPin)
	refused("another pin", data, []crypto.PublicKey{other}, ErrProof)
	refused("a pin of another kind", data, []crypto.PublicKey{newRSAKey(t, rsa2048).Public()}, ErrProof)
	for _, change := range [][2]string{{"#XXA", "#XXB"}, {"#DSC", "#SCA"}, {"#SCA", "#DSC"}, {"2026-01-01", "2026-01-02"}, {"#DCC", "#PH4H"}} {
		refused("tampered: "+change[0]+" to "+change[1], bytes.Replace(data, []byte(change[0]), []byte(change[1]), 1), pin, ErrProof)
	}
	refused("an entry taken out", withoutEntry(t, data), pin, ErrProof)
	refused("the proof taken out", without(t, data, "proof"), pin, didlist.ErrNoProof)
	// Without its context the list is none that is known, signed or not.
	refused("the context taken out", without(t, data, "@context"), pin, dcctrustlist.ErrNotList)
	refused("cut off", data[:len(data)/2], pin, strictjson.ErrMalformed)
	refused("a member twice", bytes.Replace(data, []byte(`"controller"`), []byte(`"id":"did:web:rogue.example","controller"`), 1), pin, strictjson.ErrDuplicateName)
}

// reasons counts the drops by their word.
func reasons(l *List) map[string]int {
	count := map[string]int{}
	for _, d := range l.Drops() {
		count[d.Reason]++
	}
	return count
}

// without removes a member of a JSON object.
func without(t *testing.T, data []byte, member string) []byte {
	t.Helper()
	var root map[string]json.RawMessage
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	delete(root, member)
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func withoutEntry(t *testing.T, data []byte) []byte {
	t.Helper()
	var root map[string]json.RawMessage
	var methods []json.RawMessage
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(root["verificationMethod"], &methods); err != nil {
		t.Fatal(err)
	}
	var err error
	if root["verificationMethod"], err = json.Marshal(methods[1:]); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDIDListSourceTwice: the same list again adds nothing, and says so.
func TestDIDListSourceTwice(t *testing.T) {
	pin, data := signedList(t, []entrySpec{{domain: "DCC", participant: "XXA", usage: "DSC"}})
	l := new(List)
	for range 2 {
		if err := l.Add(Source{Name: "list", Data: data, Pins: pin}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]int{"duplicate": 1}, reasons(l)); diff != "" || len(l.All()) != 1 {
		t.Errorf("%d keys\n%s", len(l.All()), diff)
	}
}

// euEntry is one entry of an EU list.
func euEntry(country, kind string, der []byte, more string) string {
	sum := sha256.Sum256(der)
	return fmt.Sprintf(`{"kid":%q,"timestamp":"2026-01-01T00:00:00Z","country":%q,"certificateType":%q,"thumbprint":%q,"rawData":%q%s}`,
		base64.StdEncoding.EncodeToString(sum[:8]), country, kind, hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(der), more)
}

func euList(t testing.TB) (list string, good []byte) {
	t.Helper()
	good = dsc(t, "XA")
	entries := []string{
		euEntry("XA", "DSC", good, ""),
		euEntry("XA", "DSC", certify(t, "XA", newRSAKey(t, rsa1024), nil), ""),
		euEntry("XA", "CSCA", certify(t, "XA", newECKey(t, elliptic.P256()), authority), ""),
		euEntry("XA", "UPLOAD", dsc(t, "XA"), ""),
		euEntry("XA", "AUTHENTICATION", dsc(t, "XA"), ""),
		euEntry("XA", "DSC", dsc(t, "XA"), `,"signature":null`),
		euEntry("xa", "DSC", dsc(t, "XA"), ""),
		euEntry("XA", "DSC", []byte("no certificate"), ""),
		euEntry("XA", "DSC", good, ""),
	}
	return "[" + strings.Join(entries, ",") + "]", good
}

// signLine puts the signature line before a list.
func signLine(t testing.TB, key *ecdsa.PrivateKey, body, lineBreak string) string {
	t.Helper()
	digest := sha256.Sum256([]byte(body))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	rs := make([]byte, 64)
	r.FillBytes(rs[:32])
	s.FillBytes(rs[32:])
	return base64.StdEncoding.EncodeToString(rs) + lineBreak + body
}

func TestAddEUList(t *testing.T) {
	list, good := euList(t)
	wrapped := `{"certificates":` + list + `}`
	signer := newECKey(t, elliptic.P256())
	pins := []crypto.PublicKey{newECKey(t, elliptic.P256()).Public(), signer.Public()}
	wrong := pins[:1]
	signed := signLine(t, signer, wrapped, "\n")
	for _, tt := range []struct {
		name, data string
		pins       []crypto.PublicKey
		want       error
	}{
		{"plain", list, nil, nil},
		{"wrapped", wrapped, nil, nil},
		{"with a byte order mark and blanks", "\ufeff \r\n" + list + "\n", nil, nil},
		{"signed", signed, pins, nil},
		{"signed, with a carriage return", signLine(t, signer, wrapped, "\r\n"), pins, nil},
		{"signed, the array alone", signLine(t, signer, list, "\n"), pins, nil},
		{"signed to the last byte, which ends a line", signLine(t, signer, wrapped+"\n", "\n"), pins, nil},
		{"signed, and a byte added", signed + "\n", pins, ErrProof},
		{"signed, no pin", signed, nil, ErrNoPin},
		{"signed, another pin", signed, wrong, ErrProof},
		{"signed, and changed", strings.Replace(signed, `"XA"`, `"XB"`, 1), pins, ErrProof},
		{"signed with half a line", signed[2:], pins, dcctrustlist.ErrSignatureLine},
		{"cut off", list[:len(list)-1], nil, strictjson.ErrMalformed},
		{"another object", `{"name":"package"}`, nil, dcctrustlist.ErrNotList},
		{"a member twice", `{"certificates":[],"certificates":` + list + `}`, nil, strictjson.ErrDuplicateName},
		{"without entries", `[]`, nil, ErrEmptySource},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := new(List)
			err := l.Add(Source{Name: "eu", Data: []byte(tt.data), Pins: tt.pins})
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if tt.want != nil {
				if len(l.All())+len(l.Drops()) > 0 {
					t.Errorf("%d keys and %d drops of a refused list", len(l.All()), len(l.Drops()))
				}
				return
			}
			if len(l.All()) != 2 {
				t.Fatalf("%d keys", len(l.All()))
			}
			if k := l.All()[0]; k.Domain != DCC || k.Participant != "XA" || k.ID != DeriveKeyID(good) || k.Source != "eu" || k.Weak {
				t.Errorf("%+v", k)
			}
			if k := l.All()[1]; !k.Weak {
				t.Error("the weak key is not marked")
			}
			want := map[string]int{"not-a-signer": 3, "deleted": 1, "malformed-country": 1, "unreadable-certificate": 1, "duplicate": 1}
			if diff := cmp.Diff(want, reasons(l)); diff != "" {
				t.Error(diff)
			}
			for _, d := range l.Drops() {
				if d.Source != "eu" || d.Entry == "" {
					t.Errorf("drop %+v", d)
				}
			}
		})
	}
	t.Run("a kid of the owner's choice", func(t *testing.T) {
		der := dsc(t, "XA")
		entry := strings.Replace(euEntry("XA", "DSC", der, ""), `"kid":"`, `"kid":"QUJD","x":"`, 1)
		l := new(List)
		if err := l.Add(Source{Data: []byte("[" + entry + "]")}); err != nil {
			t.Fatal(err)
		}
		if k := l.All()[0]; k.ID != "ABC" || !slices.Contains(k.Notes, "kid-not-derived") {
			t.Errorf("%q %v", k.ID, k.Notes)
		}
	})
}

func pemBlock(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// endsLikeBlank makes a certificate whose last byte, a random one of the
// signature, looks like white space.
func endsLikeBlank(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	for range 10_000 {
		if der := certify(t, "XA", key, nil); bytes.IndexByte([]byte(" \t\r\n"), der[len(der)-1]) >= 0 {
			return der
		}
	}
	t.Fatal("10,000 certificates, and none ends in a blank")
	return nil
}

func TestAddCertificates(t *testing.T) {
	one, two := dsc(t, "XA"), dsc(t, "")
	sca := certify(t, "XB", newECKey(t, elliptic.P256()), authority)
	private, err := x509.MarshalPKCS8PrivateKey(newECKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(newECKey(t, elliptic.P256()).Public())
	if err != nil {
		t.Fatal(err)
	}
	blank := endsLikeBlank(t, newECKey(t, elliptic.P256()))
	everything := pemBlock("CERTIFICATE", one) + "some words between\n" + pemBlock("PRIVATE KEY", private) + pemBlock("CERTIFICATE", sca) +
		pemBlock("PUBLIC KEY", public) + pemBlock("CERTIFICATE", []byte("no certificate")) + pemBlock("CERTIFICATE", two)
	for _, tt := range []struct {
		name  string
		data  string
		want  []KeyID
		drops map[string]int
		err   error
	}{
		{"PEM", pemBlock("CERTIFICATE", one), []KeyID{DeriveKeyID(one)}, map[string]int{}, nil},
		{"PEM behind a byte order mark", "\ufeff" + pemBlock("CERTIFICATE", one), []KeyID{DeriveKeyID(one)}, map[string]int{}, nil},
		{"PEM of several blocks", everything, []KeyID{DeriveKeyID(one), DeriveKeyID(sca), DeriveKeyID(two)}, map[string]int{"not-a-signer": 2, "unreadable-certificate": 1}, nil},
		{"PEM that is broken", "-----BEGIN CERTIFICATE-----\nnothing\n", nil, map[string]int{}, ErrUnknownSource},
		{"DER", string(one), []KeyID{DeriveKeyID(one)}, map[string]int{}, nil},
		{"DER that ends like a blank", string(blank), []KeyID{DeriveKeyID(blank)}, map[string]int{}, nil},
		{"DER that is cut", string(one[:50]), nil, map[string]int{"unreadable-certificate": 1}, nil},
		{"empty", "", nil, map[string]int{}, ErrUnknownSource},
		{"blanks", " \r\n", nil, map[string]int{}, ErrUnknownSource},
		{"garbage", "\x00\x01\x02", nil, map[string]int{}, ErrUnknownSource},
		{"words", "a key of the ministry", nil, map[string]int{}, ErrUnknownSource},
		{"huge garbage", strings.Repeat("x", 32<<20), nil, map[string]int{}, ErrUnknownSource},
		{"huge JSON", "[" + strings.Repeat(" ", 65<<20) + "]", nil, map[string]int{}, strictjson.ErrTooLarge},
		{"deep JSON", strings.Repeat("[", 100_000), nil, map[string]int{}, strictjson.ErrTooDeep},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := new(List)
			if err := l.Add(Source{Name: "file", Data: []byte(tt.data)}); !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			var got []KeyID
			for _, k := range l.All() {
				got = append(got, k.ID)
				if k.Domain != AnyDomain || k.Participant != k.Country {
					t.Errorf("%+v", k)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.drops, reasons(l)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("an authority is noted", func(t *testing.T) {
		l := new(List)
		if err := l.Add(Source{Data: sca}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"is-an-authority"}, l.All()[0].Notes); diff != "" {
			t.Error(diff)
		}
	})
}

// TestEmptySourceAfterDrops: a source without keys is an error even where an
// earlier one left drops behind.
func TestEmptySourceAfterDrops(t *testing.T) {
	l := new(List)
	if err := l.Add(Source{Data: []byte("0 is how DER begins")}); err != nil || len(l.Drops()) != 1 {
		t.Fatalf("%v, %d drops", err, len(l.Drops()))
	}
	if err := l.Add(Source{Data: []byte("[]")}); !errors.Is(err, ErrEmptySource) {
		t.Errorf("%v, want %v", err, ErrEmptySource)
	}
}

func TestAddFolder(t *testing.T) {
	pin, did := signedList(t, []entrySpec{{domain: "ICVP", participant: "XXA", usage: "DSC"}})
	eu, _ := euList(t)
	one, two := dsc(t, "XA"), dsc(t, "XB")
	folder := fstest.MapFS{
		"README.md":     {Data: []byte("What this folder holds.")},
		"a/did.json":    {Data: did},
		"b/signer.pem":  {Data: []byte(pemBlock("CERTIFICATE", one))},
		"c/signer.der":  {Data: two},
		"d/eu.json":     {Data: []byte(eu)},
		"d/e/empty.txt": {},
	}
	t.Run("mixed", func(t *testing.T) {
		l := new(List)
		if err := l.AddFolder(folder, "trust", pin); err != nil {
			t.Fatal(err)
		}
		var sources []string
		for _, k := range l.All() {
			sources = append(sources, k.Source)
		}
		if diff := cmp.Diff([]string{"trust/a/did.json", "trust/b/signer.pem", "trust/c/signer.der", "trust/d/eu.json", "trust/d/eu.json"}, sources); diff != "" {
			t.Error(diff)
		}
		var unknown []string
		for _, d := range l.Drops() {
			if d.Reason == string(ErrUnknownSource) {
				unknown = append(unknown, d.Entry)
			}
		}
		if diff := cmp.Diff([]string{"README.md", "d/e/empty.txt"}, unknown); diff != "" {
			t.Error(diff)
		}
	})
	for _, tt := range []struct {
		name string
		data []byte
		pins []crypto.PublicKey
		want error
	}{
		{"a list without a pin", did, nil, ErrNoPin},
		{"a list that was changed", bytes.Replace(did, []byte("#XXA"), []byte("#XXB"), 1), pin, ErrProof},
		{"a list that is cut", did[:len(did)/2], pin, strictjson.ErrMalformed},
		{"JSON that is no list", []byte(`{"name":"package"}`), pin, dcctrustlist.ErrNotList},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := fstest.MapFS{"README.md": folder["README.md"], "z.json": {Data: tt.data}}
			if err := new(List).AddFolder(broken, "trust", tt.pins); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
	t.Run("a folder that cannot be read", func(t *testing.T) {
		if err := new(List).AddFolder(os.DirFS(filepath.Join(t.TempDir(), "missing")), "trust", nil); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
}

func TestParsePin(t *testing.T) {
	ec, r := newECKey(t, elliptic.P256()), newRSAKey(t, rsa2048)
	cert := certify(t, "XA", ec, nil)
	spki, err := x509.MarshalPKIXPublicKey(r.Public())
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	document := fmt.Sprintf(`{"@context":["https://www.w3.org/ns/did/v1"],"id":"did:web:trust.example:signing","verificationMethod":[
		{"id":"did:web:trust.example:signing#1","type":"JsonWebKey2020","controller":"did:web:trust.example:signing",
		 "publicKeyJwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}}]}`, encode(point[1:33]), encode(point[33:]))
	for _, tt := range []struct {
		name string
		data []byte
		want []crypto.PublicKey
		err  error
	}{
		{"certificate in PEM", []byte(pemBlock("CERTIFICATE", cert)), []crypto.PublicKey{ec.Public()}, nil},
		{"certificate in PEM among blanks", []byte("\r\n " + pemBlock("CERTIFICATE", cert) + "\n\n"), []crypto.PublicKey{ec.Public()}, nil},
		{"certificate in DER", cert, []crypto.PublicKey{ec.Public()}, nil},
		{"certificate in DER that ends like a blank", endsLikeBlank(t, ec), []crypto.PublicKey{ec.Public()}, nil},
		{"public key in PEM", []byte(pemBlock("PUBLIC KEY", spki)), []crypto.PublicKey{r.Public()}, nil},
		{"both", []byte(pemBlock("CERTIFICATE", cert) + pemBlock("PUBLIC KEY", spki)), []crypto.PublicKey{ec.Public(), r.Public()}, nil},
		{"DID key document", []byte(document), []crypto.PublicKey{ec.Public()}, nil},
		{"a private key", []byte(pemBlock("PRIVATE KEY", pkcs8)), nil, ErrPublicKey},
		{"a certificate and a private key", []byte(pemBlock("CERTIFICATE", cert) + pemBlock("PRIVATE KEY", pkcs8)), nil, ErrPublicKey},
		{"a broken certificate in PEM", []byte(pemBlock("CERTIFICATE", cert[:60])), nil, ErrCertificate},
		{"a broken certificate in DER", cert[:60], nil, ErrCertificate},
		{"a broken public key", []byte(pemBlock("PUBLIC KEY", spki[:60])), nil, ErrPublicKey},
		{"a DID document without a key", []byte(`{"id":"did:web:trust.example:signing"}`), nil, didlist.ErrNotDocument},
		{"empty", nil, nil, ErrPublicKey},
		{"words", []byte("the key of the ministry"), nil, ErrPublicKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParsePin(tt.data)
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			same := func(a, b crypto.PublicKey) bool {
				return a.(interface{ Equal(x crypto.PublicKey) bool }).Equal(b)
			}
			if !slices.EqualFunc(got, tt.want, same) {
				t.Errorf("%v", got)
			}
		})
	}
}

// TestDevelopList loads the network's development list and counts its entries a
// second time from the JSON alone.
func TestDevelopList(t *testing.T) {
	root := os.Getenv("AMPOULE_VECTORS")
	if root == "" {
		root = "../shared/vectors"
	}
	if !filepath.IsAbs(root) {
		root = filepath.Join("..", root) // tests run in their package's folder
	}
	dir := filepath.Join(root, "trust", "did-trustlist")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no vectors: %s is not there; set AMPOULE_VECTORS to run them", dir)
	}
	var pins []crypto.PublicKey
	signers, err := filepath.Glob(filepath.Join(dir, "signer", "*.json"))
	if err != nil || len(signers) == 0 {
		t.Fatalf("no signer in %s: %v", dir, err)
	}
	for _, f := range signers {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := ParsePin(data)
		if err != nil {
			t.Fatal(err)
		}
		pins = append(pins, keys...)
	}
	data, err := os.ReadFile(filepath.Join(dir, "dev", "v2__trustlist.json"))
	if err != nil {
		t.Fatal(err)
	}
	l := new(List)
	if err := l.Add(Source{Name: "dev", Data: data, Pins: pins}); err != nil {
		t.Fatal(err)
	}

	var doc struct {
		VerificationMethod []json.RawMessage
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	type code struct{ Code string }
	wantKeys, wantDrops := map[string]int{}, map[string]int{}
	seen := map[string]bool{}
	for _, m := range doc.VerificationMethod {
		var e struct {
			PublicKeyJwk struct {
				KID string
				X5C []string
			}
			Domain, Participant, KeyUsage code
		}
		if json.Unmarshal(m, &e) != nil { // a string: the name of another list
			wantDrops["reference"]++
			continue
		}
		if e.KeyUsage.Code != "#DSC" {
			wantDrops["not-a-signer"]++
			continue
		}
		der, err := base64.StdEncoding.DecodeString(e.PublicKeyJwk.X5C[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x509.ParseCertificate(der); err != nil {
			wantDrops["unreadable-certificate"]++
			continue
		}
		id := fmt.Sprint(e.Domain, e.Participant, e.PublicKeyJwk.KID, sha256.Sum256(der))
		if seen[id] {
			wantDrops["duplicate"]++
			continue
		}
		seen[id] = true
		domain := strings.TrimPrefix(e.Domain.Code, "#")
		if domain == "IPS" { // the list has both names of this one
			domain = "IPS-PILGRIMAGE"
		}
		wantKeys[domain+" "+strings.TrimPrefix(e.Participant.Code, "#")]++
	}
	if len(wantKeys) < 10 {
		t.Fatalf("only %d domains and participants in the list", len(wantKeys))
	}
	gotKeys := map[string]int{}
	for _, k := range l.All() {
		gotKeys[string(k.Domain)+" "+k.Participant]++
	}
	if diff := cmp.Diff(wantKeys, gotKeys); diff != "" {
		t.Errorf("keys by domain and participant:\n%s", diff)
	}
	if diff := cmp.Diff(wantDrops, reasons(l)); diff != "" {
		t.Errorf("drops by reason:\n%s", diff)
	}
	t.Logf("%d keys; drops %v", len(l.All()), reasons(l))
	for _, d := range l.Drops() {
		if d.Entry == "" || d.Reason == "" || format.Defect(d.Reason) == "unreadable" {
			t.Errorf("drop %+v", d)
		}
	}
}
