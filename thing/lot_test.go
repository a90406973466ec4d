package thing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/trust"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// signer is an authority of the test.
type signer struct {
	key *ecdsa.PrivateKey
	der []byte
}

func newSigner(t testing.TB, country string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Specimen authority"},
		NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0),
	}
	if country != "" {
		template.Subject.Country = []string{country}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, der}
}

func (s signer) kid() []byte { return []byte(trust.DeriveKeyID(s.der)) }

func (s signer) sign(t testing.TB, statement *LotStatement) []byte {
	t.Helper()
	message, err := SignLotStatement(rand.Reader, s.key, s.kid(), statement)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func (s signer) as(t testing.TB, role Role, authority, products string) *LotKey {
	t.Helper()
	k, err := NewLotKey(role, authority, products, s.der)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func icvp(code string) Product { return Product{code, cert.SystemICVPProduct} }

// recall is a statement that the changes turn into the case's own.
func recall(changes ...func(*LotStatement)) *LotStatement {
	s := &LotStatement{
		Role: Regulator, Authority: "XXA", Issued: noon.Add(-time.Hour), Product: icvp("YF-1"), Lot: "AB-12/c",
		Part: All, Value: Recalled,
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

func full() *LotStatement {
	return recall(func(s *LotStatement) {
		s.Country, s.Centre, s.From, s.Until, s.Part = "XA", "Specimen centre", "2026-01-01", "2026-02-01", Some
		s.Value, s.Measured, s.Withdraws = Unharmed, 9200, StatementID{1, 2}
	})
}

func TestRoundTrip(t *testing.T) {
	s := newSigner(t, "XA")
	for _, want := range []*LotStatement{recall(), full()} {
		signed, err := ParseLotStatement(s.sign(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, signed.Statement); diff != "" {
			t.Error(diff)
		}
		if again, err := ParseLotStatement(s.sign(t, want)); err != nil || again.ID != signed.ID {
			t.Error("the id depends on the signature")
		}
		if id, err := ParseStatementID(signed.ID.String()); err != nil || id != signed.ID {
			t.Errorf("id %s: %v", signed.ID, err)
		}
	}
}

func TestNormalLot(t *testing.T) {
	for in, want := range map[string]string{"ab-12/c": "AB12C", " AB 12 C ": "AB12C", "ＡＢ１２": "AB12", "лот-7": "ЛОТ7", "-/.": "", "": ""} {
		if got := NormalLot(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, change := range map[string]func(*LotStatement){
		"no authority":              func(s *LotStatement) { s.Authority = "" },
		"long authority":            func(s *LotStatement) { s.Authority = strings.Repeat("A", 129) },
		"hidden text":               func(s *LotStatement) { s.Authority = "X\u202eA" },
		"not composed":              func(s *LotStatement) { s.Lot = "A\u0301" },
		"blank around":              func(s *LotStatement) { s.Lot = "A " },
		"no product":                func(s *LotStatement) { s.Product.Code = "" },
		"no system":                 func(s *LotStatement) { s.Product.System = "" },
		"no lot":                    func(s *LotStatement) { s.Lot = "" },
		"lot of signs":              func(s *LotStatement) { s.Lot = "--" },
		"role":                      func(s *LotStatement) { s.Role = "king" },
		"value":                     func(s *LotStatement) { s.Value = "fine" },
		"part":                      func(s *LotStatement) { s.Part = "" },
		"country":                   func(s *LotStatement) { s.Country = "AUT" },
		"small country":             func(s *LotStatement) { s.Country = "at" },
		"centre nowhere":            func(s *LotStatement) { s.Centre = "C" },
		"no day":                    func(s *LotStatement) { s.From = "2026-02-30" },
		"month":                     func(s *LotStatement) { s.Until = "2026-02" },
		"backwards":                 func(s *LotStatement) { s.From, s.Until = "2026-02-02", "2026-02-01" },
		"expiry of a recall":        func(s *LotStatement) { s.Expiry = "2026-02-02" },
		"expiry without one":        func(s *LotStatement) { s.Value = ExpiresOn },
		"nothing measured":          func(s *LotStatement) { s.Value = Unharmed },
		"more than all":             func(s *LotStatement) { s.Value, s.Measured = Unharmed, 10001 },
		"measured recall":           func(s *LotStatement) { s.Measured = 1 },
		"withdrawal of nothing":     func(s *LotStatement) { s.Value = Withdrawn },
		"before the epoch":          func(s *LotStatement) { s.Issued = time.Unix(-1, 0) },
		"beyond the year ten grand": func(s *LotStatement) { s.Issued = time.Unix(maxTime+1, 0) },
	} {
		if _, err := recall(change).Encode(); !errors.Is(err, ErrField) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShare(t *testing.T) {
	for f, want := range map[float64]int{0: 0, 0.92: 9200, 0.29: 2900, 0.57: 5700, 0.99999: 9999, 1: 10000} {
		if got, err := Share(f); got != want || err != nil {
			t.Errorf("%g: %d, %v", f, got, err)
		}
	}
	for _, f := range []float64{-0.1, 1.1} {
		if _, err := Share(f); err == nil {
			t.Errorf("%g is a share", f)
		}
	}
}

// TestParseRefuses: one form only, and no other signed message taken for one.
func TestParseRefuses(t *testing.T) {
	s := newSigner(t, "XA")
	payload, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	signed := func(payload []byte) []byte {
		message, err := cose.Sign(rand.Reader, s.key, s.kid(), payload)
		if err != nil {
			t.Fatal(err)
		}
		return message
	}
	replaced := func(old, new string) []byte {
		if bytes.Count(payload, []byte(old)) != 1 {
			t.Fatalf("%q", old)
		}
		return signed(bytes.Replace(payload, []byte(old), []byte(new), 1))
	}
	good := signed(payload)
	claims := cbor.AppendText(cbor.AppendInt(cbor.AppendMap(nil, 1), 1), "XXA") // of a certificate
	for name, c := range map[string]struct {
		message []byte
		want    error
	}{
		"a certificate":      {signed(claims), ErrNotStatement},
		"another type":       {replaced("lot statement", "lot statemenT"), ErrNotStatement},
		"another version":    {replaced("statement\x01", "statement\x02"), ErrVersion},
		"long integer":       {replaced("statement\x01", "statement\x18\x01"), ErrEncoding},
		"unknown value":      {replaced("no-concern", "no-cOncern"), ErrField},
		"one element less":   {signed(append([]byte{0x8f}, payload[1:len(payload)-17]...)), ErrField},
		"indefinite":         {signed(append(append([]byte{0x9f}, payload[1:]...), 0xff)), ErrEncoding},
		"trailing":           {signed(append(bytes.Clone(payload), 0)), cbor.ErrTrailing},
		"trailing message":   {append(bytes.Clone(good), 0), cbor.ErrTrailing},
		"no tag":             {good[1:], cose.ErrWrongTag},
		"tag of a CWT":       {append([]byte{0xd8, 61}, good...), cose.ErrWrongTag},
		"too large":          {make([]byte, maxMessage+1), cbor.ErrTooLarge},
		"nothing":            {nil, cbor.ErrMalformed},
		"no key identifier":  {func() []byte { m, _ := cose.Sign(rand.Reader, s.key, nil, payload); return m }(), cose.ErrHeader},
		"unprotected header": {bytes.Replace(good, []byte{0xa0, 0x58}, []byte{0xa1, 0x04, 0x41, 0x01, 0x58}, 1), cose.ErrHeader},
	} {
		if _, err := ParseLotStatement(c.message); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestBelieve(t *testing.T) {
	maker, regulator, participant, stranger := newSigner(t, ""), newSigner(t, "XA"), newSigner(t, "XA"), newSigner(t, "XA")
	keys := LotKeys{
		maker.as(t, Manufacturer, "ORG-1", "YF-"), regulator.as(t, Regulator, "XXA", ""), participant.as(t, Participant, "XXA", ""),
	}
	by := func(role Role, authority string, value Value, country string) *LotStatement {
		return recall(func(s *LotStatement) {
			s.Role, s.Authority, s.Value, s.Country = role, authority, value, country
			if value == Unharmed {
				s.Measured = 1
			}
			if value == ExpiresOn {
				s.Expiry = "2026-01-01"
			}
		})
	}
	for _, c := range []struct {
		name string
		by   signer
		s    *LotStatement
		want error
	}{
		{"recall of a manufacturer", maker, by(Manufacturer, "ORG-1", Recalled, ""), nil},
		{"expiry of a manufacturer", maker, by(Manufacturer, "ORG-1", ExpiresOn, "XB"), nil},
		{"heat of a manufacturer", maker, by(Manufacturer, "ORG-1", Heat, ""), ErrNotItsValue},
		{"another's product", maker, recall(func(s *LotStatement) { s.Role, s.Authority, s.Product = Manufacturer, "ORG-1", icvp("PV-1") }), ErrNotItsProduct},
		{"recall of a regulator", regulator, by(Regulator, "XXA", Recalled, "XB"), nil},
		{"all-clear of a regulator", regulator, by(Regulator, "XXA", Unharmed, ""), nil},
		{"freeze of a regulator", regulator, by(Regulator, "XXA", Freeze, "XA"), ErrNotItsValue},
		{"freeze of a participant", participant, by(Participant, "XXA", Freeze, "XA"), nil},
		{"all-clear of a participant", participant, by(Participant, "XXA", Unharmed, "XA"), nil},
		{"recall of a participant", participant, by(Participant, "XXA", Recalled, "XA"), ErrNotItsValue},
		{"another country", participant, by(Participant, "XXA", Freeze, "XB"), ErrNotItsPlace},
		{"everywhere", participant, by(Participant, "XXA", Heat, ""), ErrNotItsPlace},
		{"another role", participant, by(Regulator, "XXA", Recalled, ""), ErrUnknownAuthority},
		{"another authority", regulator, by(Regulator, "XXB", Recalled, ""), ErrUnknownAuthority},
		{"a stranger", stranger, by(Regulator, "XXA", Recalled, ""), ErrUnknownAuthority},
		{"a stranger under another's identifier", signer{stranger.key, regulator.der}, by(Regulator, "XXA", Recalled, ""), cose.ErrSignature},
		{"ahead of time", regulator, recall(func(s *LotStatement) { s.Issued = noon.Add(time.Hour) }), ErrNotYetIssued},
		{"before the key", regulator, recall(func(s *LotStatement) { s.Issued = noon.AddDate(-2, 0, 0) }), ErrOutsideKey},
	} {
		signed, err := ParseLotStatement(c.by.sign(t, c.s))
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Believe(signed, noon); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestNewLotKeyRefuses(t *testing.T) {
	if _, err := NewLotKey(Participant, "XXA", "", newSigner(t, "").der); !errors.Is(err, ErrNoCountry) {
		t.Errorf("a participant of no country: %v", err)
	}
	der := newSigner(t, "XA").der
	for _, c := range []struct {
		role      Role
		authority string
	}{{"king", "XXA"}, {Regulator, ""}} {
		if _, err := NewLotKey(c.role, c.authority, "", der); !errors.Is(err, ErrField) {
			t.Errorf("%s %q: %v", c.role, c.authority, err)
		}
	}
	if _, err := NewLotKey(Regulator, "XXA", "", der[1:]); format.Reason(err, "") == "" {
		t.Errorf("no certificate: %v", err)
	}
}

func FuzzDecodeLotStatement(f *testing.F) {
	for _, s := range []*LotStatement{recall(), full()} {
		payload, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, err := DecodeLotStatement(payload)
		if err != nil {
			if format.Reason(err, "") == "" {
				t.Errorf("%v has no reason", err)
			}
			return
		}
		again, err := s.Encode()
		if err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x encodes as %x: %v", payload, again, err)
		}
	})
}
