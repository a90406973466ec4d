package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"testing"
	"time"

	"ampoule/format/jwks"
	"ampoule/format/shc"
	"ampoule/format/vci"
)

// jwkOf writes a key as issuers of cards do, with more members after it.
func jwkOf(t testing.TB, key *ecdsa.PrivateKey, more string) string {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	kid, err := jwks.KID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"kty":"EC","kid":"%s","use":"sig","alg":"ES256","crv":"P-256","x":"%s","y":"%s"%s}`, kid, enc(point[1:33]), enc(point[33:]), more)
}

func chainOf(t testing.TB, key *ecdsa.PrivateKey, addresses ...string) string {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	for _, a := range addresses {
		u, err := url.Parse(a)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`,"x5c":["%s"]`, base64.StdEncoding.EncodeToString(der))
}

func cardKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func idOf(t testing.TB, key *ecdsa.PrivateKey) KeyID {
	t.Helper()
	id, err := jwks.Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return KeyID(id)
}

func TestAddJWKS(t *testing.T) {
	key, other := cardKey(t), cardKey(t)
	set := `{"keys":[` + jwkOf(t, key, `,"crlVersion":3`) + `,{"kty":"RSA","kid":"no"}]}`
	const here, there = "https://a.example/shc", "https://b.example/shc"

	l := new(List)
	for _, iss := range []string{here, there} {
		if err := l.Add(Source{Name: "set", Data: []byte("\ufeff" + set), Issuer: iss}); err != nil {
			t.Fatal(err)
		}
	}
	got := l.Keys(Scope{Domain: SHC, Issuer: there}, idOf(t, key))
	if len(got) != 1 || got[0].Issuer != there || got[0].Participant != there || got[0].Domain != SHC || got[0].CRLVersion != 3 ||
		!key.PublicKey.Equal(got[0].Public) || !got[0].NotAfter.IsZero() {
		t.Errorf("%+v", got)
	}
	if got := l.Keys(Scope{Domain: SHC}, idOf(t, key)); len(got) != 2 {
		t.Errorf("for any issuer %d keys", len(got))
	}
	for _, iss := range []string{here + "/", "https://A.example/shc", "http://a.example/shc", "https://a.example/x/../shc"} {
		if got := l.Keys(Scope{Domain: SHC, Issuer: iss}, idOf(t, key)); len(got) != 0 {
			t.Errorf("%s has %v", iss, got)
		}
	}
	if len(l.Keys(Scope{Domain: DCC, Issuer: here}, idOf(t, key))) != 0 || len(l.Keys(Scope{Domain: SHC, Issuer: here}, idOf(t, other))) != 0 {
		t.Error("another domain, another key")
	}
	if d := l.Drops(); len(d) != 2 || d[0].Reason != string(jwks.ErrKeyType) || d[0].Participant != here {
		t.Errorf("drops %+v", d)
	}
	// The index is as it was: looking up is reading.
	if got := l.Keys(Scope{Domain: SHC}, idOf(t, key)); got[0].Issuer != here || got[1].Issuer != there {
		t.Error("a look-up changed the list")
	}
	for _, bad := range []string{`{"keys":{}}`, `{"keys":[],"keys":[]}`} {
		if err := new(List).Add(Source{Name: "set", Data: []byte(bad)}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if err := new(List).Add(Source{Name: "set", Data: []byte(`{"keys":[]}`)}); !errors.Is(err, ErrEmptySource) {
		t.Errorf("an empty set: %v", err)
	}
}

// A set without an issuer says nothing of whose it is; a certificate in it does.
func TestAddJWKSWithoutIssuer(t *testing.T) {
	bare, certified, nameless := cardKey(t), cardKey(t), cardKey(t)
	const named = "https://named.example/shc"
	set := []byte(`{"keys":[` + jwkOf(t, bare, "") + "," + jwkOf(t, certified, chainOf(t, certified, named)) + "," + jwkOf(t, nameless, chainOf(t, nameless)) + `]}`)
	l := new(List)
	if err := l.Add(Source{Name: "their.json", Data: set}); err != nil {
		t.Fatal(err)
	}
	for _, iss := range []string{"https://anybody.example", named} {
		if k := l.Keys(Scope{Domain: SHC, Issuer: iss}, idOf(t, bare)); len(k) != 1 || k[0].Participant != "their.json" || k[0].Issuer != "" {
			t.Errorf("bare, %s: %v", iss, k)
		}
	}
	if k := l.Keys(Scope{Domain: SHC, Issuer: named}, idOf(t, certified)); len(k) != 1 || k[0].Participant != named {
		t.Errorf("certified: %v", k)
	}
	if k := l.Keys(Scope{Domain: SHC, Issuer: "https://anybody.example"}, idOf(t, certified)); len(k) != 0 {
		t.Errorf("certified, for somebody else: %v", k)
	}
	if d := l.Drops(); len(d) != 1 || d[0].Reason != string(jwks.ErrX5CIssuer) {
		t.Errorf("drops %+v", d)
	}
	// And one that is given must be the one in the certificate.
	l = new(List)
	if err := l.Add(Source{Name: "set", Data: set, Issuer: "https://other.example"}); err != nil {
		t.Fatal(err)
	}
	if len(l.All()) != 1 || len(l.Drops()) != 2 {
		t.Errorf("%d keys, drops %+v", len(l.All()), l.Drops())
	}
	if err := new(List).Add(Source{Name: "key", Data: []byte(jwkOf(t, bare, ""))}); err != nil {
		t.Errorf("one key alone: %v", err)
	}
}

func TestAddVCI(t *testing.T) {
	key := cardKey(t)
	issuer := func(iss, name, more string) string {
		return fmt.Sprintf(`{"issuer":{"iss":%q,"name":%q},"keys":[%s]%s}`, iss, name, jwkOf(t, key, ""), more)
	}
	kid, err := jwks.KID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	crl := fmt.Sprintf(`{"kid":%q,"method":"rid","ctr":2,"rids":["gone","late.2000"]}`, kid)
	data := `{"directory":"x","time":"2026-08-22T04:43:50Z","issuerInfo":[`
	for i := range 40 {
		data += issuer(fmt.Sprintf("https://%d.example", i), "", "") + ","
	}
	data += issuer("https://last.example", "State of Specimen", `,"crls":[`+crl+`]`) + `]}`

	l := new(List)
	if err := l.Add(Source{Name: "directory", Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
	// One key of forty-one issuers: the one that is meant is found behind them all.
	got := l.Keys(Scope{Domain: SHC, Issuer: "https://last.example"}, idOf(t, key))
	if len(got) != 1 || got[0].Participant != "State of Specimen" {
		t.Errorf("%v", got)
	}
	if got := l.Keys(Scope{Domain: SHC}, idOf(t, key)); len(got) != maxCandidates || got[0].Participant != "https://0.example" {
		t.Errorf("%d candidates", len(got))
	}

	s := new(Status)
	if n, err := s.AddVCI("directory", []byte(data)); n != 1 || err != nil {
		t.Errorf("%d lists, %v", n, err)
	}
	if _, revoked := s.FindCard(got[0], "gone", time.Unix(0, 0)); !revoked {
		t.Error("not revoked")
	}
	bad := bytes.ReplaceAll([]byte(data), []byte(`"late.2000"`), []byte(`"late.soon"`))
	if _, err := new(Status).AddVCI("directory", bad); !errors.Is(err, shc.ErrNumericDate) {
		t.Errorf("a list that cannot be read: %v", err)
	}
	if err := new(List).Add(Source{Name: "directory", Data: []byte(`{"issuerInfo":7}`)}); !errors.Is(err, vci.ErrShape) {
		t.Errorf("no directory: %v", err)
	}
	l = new(List)
	if err := l.Add(Source{Name: "directory", Data: []byte(`{"issuerInfo":[{"keys":[]}]}`)}); err != nil || len(l.Drops()) != 1 {
		t.Errorf("a bad entry: %v %v", err, l.Drops())
	}
}

func TestCardStatus(t *testing.T) {
	key, other := cardKey(t), cardKey(t)
	list := func(key *ecdsa.PrivateKey, counter int, rids string) []byte {
		kid, err := jwks.KID(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, `{"kid":%q,"method":"rid","ctr":%d,"rids":[%s]}`, kid, counter, rids)
	}
	k, o := &Key{ID: idOf(t, key)}, &Key{ID: idOf(t, other)}
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }

	var none *Status
	if _, loaded := none.CardCounter(k); loaded {
		t.Error("no status has a list")
	}
	if _, revoked := none.FindCard(k, "a", at(0)); revoked {
		t.Error("no status revokes")
	}
	s := new(Status)
	for _, data := range [][]byte{list(key, 1, `"a"`), list(key, 3, `"a","b.2000"`), []byte("\ufeff" + string(list(key, 2, `"a"`)))} {
		if err := s.Add("list", data); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add("batch", []byte(batch("XA", "XXA-kid1", "UCI", later, someUCI))); err != nil || s.Len() != 1 {
		t.Errorf("a batch beside: %v", err)
	}
	if n, loaded := s.CardCounter(k); n != 3 || !loaded {
		t.Errorf("counter %d %v", n, loaded)
	}
	if _, loaded := s.CardCounter(o); loaded {
		t.Error("a list of another key")
	}
	for _, tc := range []struct {
		key  *Key
		rid  string
		nbf  int64
		want bool
	}{
		{k, "a", 5000, true}, {k, "b", 1999, true}, {k, "b", 2000, false}, {k, "c", 0, false}, {k, "", 0, false}, {o, "a", 0, false},
	} {
		hit, revoked := s.FindCard(tc.key, tc.rid, at(tc.nbf))
		if revoked != tc.want || revoked && (hit.Source != "list" || hit.Detail == "") {
			t.Errorf("%s at %d: %v %+v", tc.rid, tc.nbf, revoked, hit)
		}
	}
	if err := s.Add("list", list(key, 1, `"a b"`)); !errors.Is(err, shc.ErrRID) {
		t.Errorf("a bad list: %v", err)
	}
	if err := s.Add("directory", []byte(`{"issuerInfo":[{}]}`)); !errors.Is(err, vci.ErrIssuer) {
		t.Errorf("a bad directory: %v", err)
	}
}
