package hcert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"

	fx "github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

var testKey = sync.OnceValue(func() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

var testKID = []byte("12345678")

// float is a number that is to be encoded as a double.
type float float64

// raw is encoded CBOR.
type raw []byte

// item encodes one value.
func item(dst []byte, x any) []byte {
	switch x := x.(type) {
	case int:
		return cbor.AppendInt(dst, int64(x))
	case int64:
		return cbor.AppendInt(dst, x)
	case Subclaim:
		return cbor.AppendInt(dst, int64(x))
	case string:
		return cbor.AppendText(dst, x)
	case []byte:
		return cbor.AppendBytes(dst, x)
	case float:
		b, err := fx.Marshal(float64(x))
		if err != nil {
			panic(err)
		}
		return append(dst, b...)
	case raw:
		return append(dst, x...)
	case nil:
		return cbor.AppendNull(dst)
	}
	panic("cannot encode this")
}

// mapOf encodes a map of alternating keys and values.
func mapOf(pairs ...any) raw {
	b := cbor.AppendMap(nil, len(pairs)/2)
	for _, x := range pairs {
		b = item(b, x)
	}
	return b
}

func tagged(tag uint64, x any) raw { return item(cbor.AppendTag(nil, tag), x) }

// body is a claim -260 with one certificate.
var body = mapOf(SubclaimICVP, mapOf("n", "Test"))

// claims are issued in 2026, with the pairs besides.
func claims(pairs ...any) []byte {
	return mapOf(append([]any{6, 1_767_225_600, -260, body}, pairs...)...)
}

// sign makes the text of a certificate over any claims.
func sign(t testing.TB, claims []byte) string {
	t.Helper()
	text, err := Encode(rand.Reader, testKey(), testKID, claims)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// unsigned is a message with any headers and a signature of zeros.
func unsigned(protected, unprotected raw, payload any) []byte {
	b := cbor.AppendArray(cbor.AppendTag(nil, 18), 4)
	b = item(b, []byte(protected))
	b = item(b, unprotected)
	b = item(b, payload)
	return item(b, make([]byte, 64))
}

func TestEncodeDecode(t *testing.T) {
	want := Claims{
		Issuer:    "XA",
		IssuedAt:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		NotBefore: time.Date(2026, 1, 12, 0, 0, 0, 0, time.UTC),
		ExpiresAt: time.Date(2036, 1, 2, 0, 0, 0, 0, time.UTC),
	}
	certificate := mapOf("n", strings.Repeat("Name ", 20))
	text := sign(t, AppendClaims(nil, want, SubclaimICVP, certificate))
	if !strings.HasPrefix(text, Prefix) {
		t.Errorf("text %q", text)
	}
	for _, p := range []Profile{Field, Strict} {
		m, err := Decode(text, p)
		if err != nil {
			t.Fatal(err)
		}
		if m.Claims != want || m.Subclaim != SubclaimICVP || !bytes.Equal(m.Certificate.Encoded(), certificate) || m.Remarks != nil {
			t.Errorf("message %+v", m)
		}
		if !bytes.Equal(m.Sign1.KID, testKID) || m.Sign1.Alg != cose.ES256 {
			t.Errorf("kid %x, alg %v", m.Sign1.KID, m.Sign1.Alg)
		}
		if err := m.Sign1.Verify(testKey().Public()); err != nil {
			t.Error(err)
		}
	}
}

func TestUnprefix(t *testing.T) {
	for _, tt := range []struct {
		text         string
		field, stric error
	}{
		{"HC1:BB8", nil, nil},
		{"HC1:", nil, nil},
		{"hc1:BB8", nil, ErrLowercase},
		{"Hc1:BB8", nil, ErrLowercase},
		{"hC1:BB8", nil, ErrLowercase},
		{"HC2:BB8", ErrUnsupported, ErrUnsupported},
		{"hc2:BB8", ErrUnsupported, ErrUnsupported},
		{"HC0:BB8", ErrUnsupported, ErrUnsupported},
		{"HCA:BB8", ErrUnsupported, ErrUnsupported},
		{"HC::BB8", ErrUnsupported, ErrUnsupported},
		{"", ErrNoPrefix, ErrNoPrefix},
		{"HC1", ErrNoPrefix, ErrNoPrefix},
		{"HC1BB8", ErrNoPrefix, ErrNoPrefix},
		{"HC10:BB8", ErrNoPrefix, ErrNoPrefix},
		{"BB8", ErrNoPrefix, ErrNoPrefix},
		{"NCFOXN", ErrNoPrefix, ErrNoPrefix},
		{"shc:/56", ErrNoPrefix, ErrNoPrefix},
		{" HC1:BB8", ErrNoPrefix, ErrNoPrefix},
		{"XHC1:BB8", ErrNoPrefix, ErrNoPrefix},
		{"HC１:BB8", ErrNoPrefix, ErrNoPrefix},
	} {
		t.Run(tt.text, func(t *testing.T) {
			for p, want := range map[Profile]error{Field: tt.field, Strict: tt.stric} {
				rest, remarks, err := Unprefix(tt.text, p)
				if !errors.Is(err, want) {
					t.Errorf("profile %d: %v, want %v", p, err, want)
				}
				if err != nil {
					continue
				}
				if rest != tt.text[4:] {
					t.Errorf("rest %q", rest)
				}
				if odd := tt.text[:4] != Prefix; odd != slices.Equal(remarks, []string{"lowercase-prefix"}) || !odd && remarks != nil {
					t.Errorf("remarks %q", remarks)
				}
			}
		})
	}
}

func TestDecodeText(t *testing.T) {
	good := sign(t, claims())
	plain, err := DecodeBase45(good[len(Prefix):])
	if err != nil {
		t.Fatal(err)
	}
	packed := func(b []byte) string { return Prefix + string(appendBase45(nil, b)) }
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"good", good, nil},
		{"longest, not base45", Prefix + strings.Repeat("a", MaxText-len(Prefix)), ErrBase45Character},
		{"too long", Prefix + strings.Repeat("0", MaxText-len(Prefix)+1), ErrTextTooLong},
		{"far too long", Prefix + strings.Repeat("0", 10<<20), ErrTextTooLong},
		{"too long, another version", "HC2:" + strings.Repeat("0", MaxText), ErrUnsupported},
		{"prefix alone", Prefix, ErrZlibEmpty},
		{"not compressed", packed(unsigned(mapOf(1, -7), mapOf(), claims())), ErrZlibHeader},
		{"cut inside", packed(plain[:len(plain)/2]), ErrZlibTruncated},
		{"line break inside", good[:50] + "\n" + good[50:], ErrBase45Character},
		{"lower case", Prefix + strings.ToLower(good[len(Prefix):]), ErrBase45Character},
		{"empty message", packed(compress(t, nil, 9)), cbor.ErrMalformed},
		{"bomb", packed(compress(t, make([]byte, 2_000_000), 9)), ErrInflatedTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Decode(tt.text, Field)
			if !errors.Is(err, tt.want) {
				t.Errorf("Decode = %v, want %v", err, tt.want)
			}
			if (m == nil) != (tt.want != nil) {
				t.Errorf("message %v", m)
			}
		})
	}
	for n := range good {
		if m, err := Decode(good[:n], Field); err == nil || m != nil || format.Reason(err, "") == "" {
			t.Errorf("the first %d characters: %v", n, err)
		}
	}
}

func TestDecodeCOSE(t *testing.T) {
	alg, kid := mapOf(1, -7), mapOf(4, testKID)
	for _, tt := range []struct {
		name          string
		message       []byte
		field, strict error
		remarks       []string
	}{
		{"tagged", unsigned(alg, mapOf(), claims()), nil, nil, nil},
		{"untagged", unsigned(alg, mapOf(), claims())[1:], nil, nil, nil},
		{"tags 61 and 18", tagged(61, raw(unsigned(alg, mapOf(), claims()))), nil, nil, nil},
		{"kid unprotected", unsigned(alg, kid, claims()), nil, nil, []string{"kid-unprotected"}},
		{"alg unprotected", unsigned(mapOf(), alg, claims()), nil, ErrIrregular, []string{"alg-unprotected"}},
		{"both unprotected", unsigned(nil, mapOf(1, -7, 4, testKID), claims()), nil, ErrIrregular, []string{"alg-unprotected", "kid-unprotected"}},
		{"no payload", unsigned(alg, mapOf(), nil), ErrNoPayload, ErrNoPayload, nil},
		{"payload empty", unsigned(alg, mapOf(), []byte{}), cbor.ErrMalformed, cbor.ErrMalformed, nil},
		{"payload no map", unsigned(alg, mapOf(), item(nil, "claims")), ErrClaims, ErrClaims, nil},
		{"payload an array", unsigned(alg, mapOf(), []byte{0x80}), ErrClaims, ErrClaims, nil},
		{"payload tagged", unsigned(alg, mapOf(), []byte(tagged(61, raw(claims())))), ErrClaims, ErrClaims, nil},
		{"bytes after the claims", unsigned(alg, mapOf(), append(claims(), 0)), cbor.ErrTrailing, cbor.ErrTrailing, nil},
		{"wrong tag", tagged(98, raw(unsigned(alg, mapOf(), claims())[1:])), cose.ErrWrongTag, cose.ErrWrongTag, nil},
		{"alg a text", unsigned(mapOf(1, "ES256"), mapOf(), claims()), cose.ErrAlgType, cose.ErrAlgType, nil},
		{"crit", unsigned(mapOf(1, -7, 2, raw("\x81\x18\x63"), 99, 0), mapOf(), claims()), cose.ErrCritical, cose.ErrCritical, nil},
	} {
		t.Run(tt.name, func(t *testing.T) { decodes(t, tt.message, tt.field, tt.strict, tt.remarks) })
	}
}

// decodes checks both profiles.
func decodes(t *testing.T, message []byte, field, strict error, remarks []string) {
	t.Helper()
	m, err := DecodeCOSE(message, Field)
	if !errors.Is(err, field) {
		t.Errorf("Field: %v, want %v", err, field)
	}
	if (m == nil) != (field != nil) {
		t.Errorf("Field: message %v", m)
	}
	if m != nil {
		if diff := cmp.Diff(remarks, m.Remarks); diff != "" {
			t.Errorf("remarks (-want +got):\n%s", diff)
		}
	}
	m, err = DecodeCOSE(message, Strict)
	if !errors.Is(err, strict) {
		t.Errorf("Strict: %v, want %v", err, strict)
	}
	if (m == nil) != (strict != nil) {
		t.Errorf("Strict: message %v", m)
	}
}

func TestClaims(t *testing.T) {
	icvp, dcc := mapOf("n", "Test"), mapOf("ver", "1.3.0")
	for _, tt := range []struct {
		name          string
		claims        []byte
		field, strict error
		remarks       []string
	}{
		{"ordinary", claims(1, "XA", 4, 2_000_000_000, 5, 1_800_000_000), nil, nil, nil},
		{"other claims", claims(2, "subject", 7, []byte("id"), "text", nil, -65537, 0), nil, nil, nil},
		{"iss empty", claims(1, ""), nil, nil, nil},
		{"iss a number", claims(1, 7), ErrClaims, ErrClaims, nil},
		{"iss bytes", claims(1, []byte("XA")), ErrClaims, ErrClaims, nil},
		{"iss null", claims(1, nil), ErrClaims, ErrClaims, nil},
		{"exp a float", claims(4, float(2e9)), nil, ErrIrregular, []string{"exp-float"}},
		{"exp a float with a fraction", claims(4, float(2e9+0.5)), nil, ErrIrregular, []string{"exp-float"}},
		{"exp a half-precision float", claims(4, raw("\xf9\x7b\xff")), nil, ErrIrregular, []string{"exp-float"}},
		{"exp minus zero", claims(4, float(math.Copysign(0, -1))), nil, ErrIrregular, []string{"exp-float"}},
		{"exp 1e300", claims(4, float(1e300)), ErrNumericDate, ErrNumericDate, nil},
		{"exp -1e300", claims(4, float(-1e300)), ErrNumericDate, ErrNumericDate, nil},
		{"exp a negative float", claims(4, float(-0.5)), ErrNumericDate, ErrNumericDate, nil},
		{"exp NaN", claims(4, float(math.NaN())), ErrNumericDate, ErrNumericDate, nil},
		{"exp infinite", claims(4, float(math.Inf(1))), ErrNumericDate, ErrNumericDate, nil},
		{"exp minus infinite", claims(4, float(math.Inf(-1))), ErrNumericDate, ErrNumericDate, nil},
		{"exp text", claims(4, "2030-01-01"), ErrNumericDate, ErrNumericDate, nil},
		{"exp null", claims(4, nil), ErrNumericDate, ErrNumericDate, nil},
		{"exp true", claims(4, raw{0xf5}), ErrNumericDate, ErrNumericDate, nil},
		{"exp bytes", claims(4, []byte{1}), ErrNumericDate, ErrNumericDate, nil},
		{"exp zero", claims(4, 0), nil, nil, nil},
		{"exp negative", claims(4, -1), ErrNumericDate, ErrNumericDate, nil},
		{"exp least", claims(4, math.MinInt64), ErrNumericDate, ErrNumericDate, nil},
		{"exp beyond int64", claims(4, raw("\x1b\xff\xff\xff\xff\xff\xff\xff\xff")), ErrNumericDate, ErrNumericDate, nil},
		{"exp in milliseconds", claims(4, 2_000_000_000_000), ErrNumericDate, ErrNumericDate, nil},
		{"exp at the end of 9999", claims(4, maxNumericDate), nil, nil, nil},
		{"exp after 9999", claims(4, maxNumericDate+1), ErrNumericDate, ErrNumericDate, nil},
		{"exp a float after 9999", claims(4, float(maxNumericDate+0.5)), ErrNumericDate, ErrNumericDate, nil},
		{"exp tagged", claims(4, tagged(1, 2_000_000_000)), nil, ErrIrregular, []string{"exp-tagged"}},
		{"exp tagged, a float", claims(4, tagged(1, float(2e9))), nil, ErrIrregular, []string{"exp-float"}},
		{"exp tagged twice", claims(4, tagged(1, tagged(1, 0))), ErrNumericDate, ErrNumericDate, nil},
		{"exp a date", claims(4, tagged(0, "2030-01-01T00:00:00Z")), ErrNumericDate, ErrNumericDate, nil},
		{"exp a large integer", claims(4, tagged(2, []byte{1})), ErrNumericDate, ErrNumericDate, nil},
		{"exp twice", claims(4, 0, 4, 1), cbor.ErrDuplicateKey, cbor.ErrDuplicateKey, nil},
		{"exp twice, longer", claims(4, 0, raw{0x18, 4}, 1), cbor.ErrDuplicateKey, cbor.ErrDuplicateKey, nil},
		{"exp under a float key", claims(float(4), "text"), nil, nil, nil},
		{"nbf a float", claims(5, float(1.5e9)), nil, ErrIrregular, []string{"nbf-float"}},
		{"nbf text", claims(5, "now"), ErrNumericDate, ErrNumericDate, nil},
		{"iat a float", mapOf(6, float(1.5e9), -260, body), nil, ErrIrregular, []string{"iat-float"}},
		{"iat zero", mapOf(6, 0, -260, body), nil, nil, nil},
		{"iat missing", mapOf(-260, body), nil, ErrIrregular, []string{"iat-missing"}},
		{"all irregular", mapOf(4, float(2e9), 5, tagged(1, 0), -260, body), nil, ErrIrregular, []string{"exp-float", "nbf-tagged", "iat-missing"}},
		{"no hcert", mapOf(6, 0), ErrNoHCERT, ErrNoHCERT, nil},
		{"no claims", mapOf(), ErrNoHCERT, ErrIrregular, nil}, // Strict asks for iat first
		{"hcert under 260", mapOf(6, 0, 260, body), ErrNoHCERT, ErrNoHCERT, nil},
		{"hcert null", mapOf(6, 0, -260, nil), ErrClaims, ErrClaims, nil},
		{"hcert an array", mapOf(6, 0, -260, raw{0x81, 0x00}), ErrClaims, ErrClaims, nil},
		{"hcert bytes", mapOf(6, 0, -260, []byte(body)), ErrClaims, ErrClaims, nil},
		{"hcert empty", mapOf(6, 0, -260, mapOf()), ErrUnknownSubclaim, ErrUnknownSubclaim, nil},
		{"hcert tagged", mapOf(6, 0, -260, tagged(61, body)), ErrClaims, ErrClaims, nil},
		{"subclaim unknown", mapOf(6, 0, -260, mapOf(2, dcc)), ErrUnknownSubclaim, ErrUnknownSubclaim, nil},
		{"subclaim a text", mapOf(6, 0, -260, mapOf("1", dcc)), ErrUnknownSubclaim, ErrUnknownSubclaim, nil},
		{"many subclaims unknown", mapOf(6, 0, -260, mapOf(10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15, 0, 16, 0, 17, 0, 18, 0)), ErrUnknownSubclaim, ErrUnknownSubclaim, nil},
		{"two subclaims", mapOf(6, 0, -260, mapOf(SubclaimDCC, dcc, SubclaimICVP, icvp)), ErrSeveral, ErrSeveral, nil},
		{"two subclaims, one null", mapOf(6, 0, -260, mapOf(SubclaimDCC, nil, SubclaimDDCCVS, dcc)), ErrSeveral, ErrSeveral, nil},
		{"subclaim twice", mapOf(6, 0, -260, mapOf(SubclaimDCC, dcc, SubclaimDCC, dcc)), cbor.ErrDuplicateKey, cbor.ErrDuplicateKey, nil},
		{"known and unknown", mapOf(6, 0, -260, mapOf(-7, 0, SubclaimICVP, icvp)), nil, nil, []string{"other-subclaims"}},
		{"duplicate deep inside", mapOf(6, 0, -260, mapOf(SubclaimICVP, mapOf("n", "A", "n", "B"))), cbor.ErrDuplicateKey, cbor.ErrDuplicateKey, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			decodes(t, unsigned(mapOf(1, -7), mapOf(), tt.claims), tt.field, tt.strict, tt.remarks)
		})
	}
}

// TestDates reads what the table above only accepts.
func TestDates(t *testing.T) {
	for _, tt := range []struct {
		name string
		exp  any
		want int64
	}{
		{"integer", 1_800_000_000, 1_800_000_000},
		{"float", float(1.8e9), 1_800_000_000},
		{"float with a fraction", float(1.8e9 + 0.9), 1_800_000_000},
		{"tagged", tagged(1, 1_800_000_000), 1_800_000_000},
		{"tagged float", tagged(1, float(1.8e9+0.9)), 1_800_000_000},
		{"zero", 0, 0},
		{"last", maxNumericDate, maxNumericDate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := DecodeCOSE(unsigned(mapOf(1, -7), mapOf(), claims(4, tt.exp)), Field)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Claims.ExpiresAt; got.IsZero() || got.Unix() != tt.want || got.Nanosecond() != 0 || got.Location() != time.UTC {
				t.Errorf("ExpiresAt = %v, want %v", got, time.Unix(tt.want, 0).UTC())
			}
			if !m.Claims.NotBefore.IsZero() {
				t.Error("nbf from nowhere")
			}
		})
	}
}

func TestSubclaims(t *testing.T) {
	names := make(map[string]bool)
	for _, s := range knownSubclaims {
		m, err := DecodeCOSE(unsigned(mapOf(1, -7), mapOf(), AppendClaims(nil, Claims{IssuedAt: time.Unix(0, 0)}, s, mapOf("x", int64(s)))), Strict)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := m.Certificate.Get("x").Int(); m.Subclaim != s || n != int64(s) {
			t.Errorf("subclaim %d read as %d around %d", int64(s), int64(m.Subclaim), n)
		}
		if name := s.String(); names[name] || strings.HasPrefix(name, "subclaim") {
			t.Errorf("subclaim %d is called %q", int64(s), name)
		}
		names[s.String()] = true
	}
	if got := Subclaim(2).String(); got != "subclaim 2" {
		t.Errorf("subclaim 2 is called %q", got)
	}
}

// TestUnknownSubclaimError: the error names the keys, which are registered
// numbers or the attacker's words, shortly, and never what is under them.
func TestUnknownSubclaimError(t *testing.T) {
	_, err := DecodeCOSE(unsigned(mapOf(1, -7), mapOf(), []byte(mapOf(6, 0, -260, mapOf(2, "Jane Doe", strings.Repeat("k", 5000), 1)))), Field)
	if !errors.Is(err, ErrUnknownSubclaim) {
		t.Fatal(err)
	}
	if text := err.Error(); strings.Contains(text, "Jane") || len(text) > 200 || !strings.Contains(text, `"2"`) {
		t.Errorf("error %.300s", text)
	}
}

// TestAppendClaims compares with the core deterministic encoding of another
// library.
func TestAppendClaims(t *testing.T) {
	mode, err := fx.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	for _, tt := range []struct {
		name   string
		claims Claims
		sub    Subclaim
		want   map[any]any
	}{
		{"none", Claims{}, SubclaimDCC, map[any]any{}},
		{"all", Claims{"XA", at(1), at(300), at(70000)}, SubclaimICVP, map[any]any{1: "XA", 6: 1, 5: 300, 4: 70000}},
		{"issuer", Claims{Issuer: "XCL"}, SubclaimVHL, map[any]any{1: "XCL"}},
		{"times", Claims{IssuedAt: at(0), ExpiresAt: at(1 << 33)}, SubclaimDDCCTR, map[any]any{6: 0, 4: 1 << 33}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want[-260] = map[any]any{int64(tt.sub): map[any]any{"n": "x"}}
			want, err := mode.Marshal(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			got := AppendClaims([]byte("x"), tt.claims, tt.sub, mapOf("n", "x"))
			if !bytes.Equal(got[1:], want) {
				t.Errorf("got  %x\nwant %x", got[1:], want)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	wrong, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := Encode(rand.Reader, wrong, testKID, claims()); !errors.Is(err, cose.ErrAlgNotAllowed) || text != "" {
		t.Errorf("a P-384 key: %q, %v", text, err)
	}
	for _, tt := range []struct {
		name string
		msg  []byte
		want error
	}{
		{"too long for a QR code", mixed(12_000), ErrTextTooLong},
		{"64 KiB of zeros", make([]byte, 64<<10), nil},
		{"more than Decode inflates", make([]byte, 64<<10+1), ErrInflatedTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := EncodeCOSE(tt.msg)
			if !errors.Is(err, tt.want) || (text == "") != (tt.want != nil) {
				t.Errorf("EncodeCOSE = %.40q, %v; want %v", text, err, tt.want)
			}
		})
	}
}

// TestTextMemory holds Decode to 16 MiB on the worst texts that fit a QR code.
// Several of them inflate to the limit.
func TestTextMemory(t *testing.T) {
	text := func(msg []byte) string {
		t.Helper()
		s, err := EncodeCOSE(msg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	fill := func(n int, pattern string) []byte { return bytes.Repeat([]byte(pattern), n/len(pattern)) }
	const room = 64<<10 - 200 // for what stands around the filling
	array := func(b []byte) raw { return append(cbor.AppendArray(nil, len(b)), b...) }
	header := mapOf(1, -7)
	message := func(claims []byte) string { return text(unsigned(header, mapOf(), claims)) }

	// A map within a map as key, around a text of quotes: the worst case for
	// anything that would write keys as JSON within JSON.
	quotes := item(nil, strings.Repeat(`"`, room))
	for range 13 {
		quotes = mapOf(raw(quotes), 0)
	}
	for name, s := range map[string]string{
		"zeros":                    text(make([]byte, 64<<10)),
		"bomb":                     Prefix + string(appendBase45(nil, compress(t, make([]byte, 2_500_000), 9))),
		"nested":                   text(fill(64<<10, "\x81")),
		"nested, indefinite":       text(fill(64<<10, "\x9f")),
		"nested maps":              text(fill(64<<10, "\xa1\x00")),
		"tags":                     text(fill(64<<10, "\xc1")),
		"nested header":            text(append([]byte("\x84\x40\xa1\x18\x63"), fill(60<<10, "\x81")...)),
		"items in the header":      text(unsigned(header, mapOf(99, array(make([]byte, 8000))), make([]byte, 50_000))),
		"items everywhere":         text(unsigned(mapOf(1, -7, 99, array(make([]byte, 8000))), mapOf(99, array(make([]byte, 8000))), []byte(mapOf(6, 0, -260, body, 99, array(make([]byte, 8000)))))),
		"items in the claims":      message(mapOf(6, 0, -260, body, 99, array(make([]byte, 8000)))),
		"too many items":           message(mapOf(6, 0, -260, body, 99, array(make([]byte, room)))),
		"too many items, unclosed": message(append([]byte("\xa1\x06\x9f"), make([]byte, room)...)),
		"text in chunks":           message(mapOf(6, 0, -260, body, 99, raw("\x7f"+strings.Repeat("\x61a", room/2)+"\xff"))),
		"empty chunks":             message(mapOf(6, 0, -260, body, 99, raw("\x5f"+strings.Repeat("\x40", room)+"\xff"))),
		"long issuer":              message(mapOf(1, strings.Repeat("é", room/2), 6, 0, -260, body)),
		"keys that are maps":       message(mapOf(6, 0, -260, mapOf(raw(quotes), 0))),
		"key that is long":         message(mapOf(6, 0, -260, mapOf(strings.Repeat("\x01", room), 0))),
		"keys that are many":       message(mapOf(6, 0, -260, raw(manyKeys(255, 250)))),
		"not base45":               Prefix + strings.Repeat("::0", (MaxText-4)/3),
		"far too long":             Prefix + strings.Repeat("0", 64<<20),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			n := allocated(func() { Decode(s, Field) })
			if n > 16<<20 {
				t.Errorf("%d bytes allocated", n)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
			if len(s) > MaxText && name != "far too long" {
				t.Errorf("%d characters are not the case that is meant", len(s))
			}
			t.Logf("%d characters, %d KiB", len(s), n>>10)
		})
	}
}

// manyKeys is a map of n text keys of that length, all different at the end.
func manyKeys(n, length int) []byte {
	b := cbor.AppendMap(nil, n)
	for i := range n {
		key := bytes.Repeat([]byte("k"), length)
		key[length-1] = 'A' + byte(i%26)
		key[length-2] = 'A' + byte(i/26)
		b = append(cbor.AppendText(b, string(key)), 0)
	}
	return b
}

// FuzzDecode: no text panics; what is accepted says the same once its message
// is packed anew; what Strict accepts, Field accepts.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		sign(f, claims()),
		sign(f, claims(1, "XA", 4, float(2e9), 5, tagged(1, 0))),
		sign(f, AppendClaims(nil, Claims{Issuer: "XCL", IssuedAt: time.Unix(1e9, 0)}, SubclaimDCC, mapOf("ver", "1.3.0"))),
		sign(f, mapOf(6, 0, -260, mapOf(SubclaimDCC, nil, SubclaimICVP, nil))),
		"hc1:" + sign(f, claims())[4:],
		"HC2:BB8", "HC1:", "HC1:BB8", "",
	} {
		f.Add(s)
	}
	for _, msg := range [][]byte{
		unsigned(mapOf(), mapOf(1, -7, 4, testKID), claims()),
		unsigned(mapOf(1, -37), mapOf(), nil),
		tagged(61, raw(unsigned(mapOf(1, -7), mapOf(), claims()))),
	} {
		s, err := EncodeCOSE(msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		strict, strictErr := Decode(text, Strict)
		m, err := Decode(text, Field)
		if err != nil {
			if strictErr == nil {
				t.Errorf("Strict accepts, Field: %v", err)
			}
			if format.Reason(err, "") == "" || m != nil {
				t.Errorf("%v, message %v", err, m)
			}
			return
		}
		if strictErr == nil && (strict.Claims != m.Claims || slices.ContainsFunc(m.Remarks, func(r string) bool {
			return r != "kid-unprotected" && r != "other-subclaims"
		})) {
			t.Errorf("Strict forgave %q", m.Remarks)
		}
		checkRepacked(t, text, m)
	})
}

// FuzzDecodeCOSE gives the fuzzer the bytes inside, which it cannot reach
// through compression and checksum.
func FuzzDecodeCOSE(f *testing.F) {
	for _, msg := range [][]byte{
		unsigned(mapOf(1, -7, 4, testKID), mapOf(), claims()),
		unsigned(mapOf(), mapOf(1, -7, 4, testKID), claims(1, "XA", 4, float(2e9), 5, tagged(1, 0))),
		unsigned(mapOf(1, -37), mapOf(), mapOf(6, 0, -260, mapOf(SubclaimDCC, mapOf("ver", "1.3.0"), 99, 0))),
		tagged(61, raw(unsigned(mapOf(1, -7), mapOf(), claims()))),
		unsigned(mapOf(1, -7), mapOf(), nil),
	} {
		f.Add([]byte(msg))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := DecodeCOSE(msg, Field)
		if err != nil {
			if format.Reason(err, "") == "" || m != nil {
				t.Errorf("%v, message %v", err, m)
			}
			return
		}
		text, err := EncodeCOSE(msg)
		if errors.Is(err, ErrTextTooLong) || errors.Is(err, ErrInflatedTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		checkRepacked(t, text, m)
	})
}

// checkRepacked packs the message inside a text anew and compares what is read
// from it with m.
func checkRepacked(t *testing.T, text string, m *Message) {
	t.Helper()
	packed, err := DecodeBase45(text[len(Prefix):])
	if err != nil {
		t.Fatal(err)
	}
	msg, err := Inflate(packed)
	if err != nil {
		t.Fatal(err)
	}
	text, err = EncodeCOSE(msg)
	if errors.Is(err, ErrTextTooLong) { // the other packer did better
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(text, Field)
	if err != nil {
		t.Fatal(err)
	}
	if m.Claims != again.Claims || m.Subclaim != again.Subclaim || !bytes.Equal(m.Certificate.Encoded(), again.Certificate.Encoded()) ||
		!bytes.Equal(m.Sign1.KID, again.Sign1.KID) || m.Sign1.Digest() != again.Sign1.Digest() || !bytes.Equal(m.Sign1.Signature, again.Sign1.Signature) {
		t.Errorf("packed anew:\n%+v\nbefore:\n%+v", again, m)
	}
	if m.Claims.ExpiresAt.Year() > 9999 || m.Claims.IssuedAt.IsZero() != slices.Contains(m.Remarks, "iat-missing") {
		t.Errorf("claims %+v, remarks %q", m.Claims, m.Remarks)
	}
}
