package statuslist

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/deflate"
	"ampoule/format/strictjson"
)

// The example of Token Status List section 4.1 and of appendix 4.2: 16 entries of
// one bit, the bytes b9 a3.
func TestDraftExample(t *testing.T) {
	want := []Status{1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1}
	inCBOR, err := hex.DecodeString("a2646269747301636c73744a78dadbb918000217015d")
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := ParseStatusList([]byte(`{"bits":1,"lst":"eNrbuRgAAhcBXQ"}`))
	if err != nil {
		t.Fatal(err)
	}
	fromCBOR, err := ParseStatusListCBOR(inCBOR)
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]StatusList{"JSON": fromJSON, "CBOR": fromCBOR} {
		if l.Len() != len(want) {
			t.Fatalf("%s: %d entries", name, l.Len())
		}
		for i, w := range want {
			if got, err := l.Get(int64(i)); got != w || err != nil {
				t.Errorf("%s: entry %d is %v, %v; want %v", name, i, got, err, w)
			}
		}
	}
}

func TestEntries(t *testing.T) {
	for _, bits := range []int{1, 2, 4, 8} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			const n = MinBitstring
			b, err := NewBitmap(bits, n)
			if err != nil {
				t.Fatal(err)
			}
			value := func(i int64) Status { return Status(i*7+i/3) & (1<<bits - 1) }
			for i := range int64(n) {
				if err := b.Set(i, Status(1<<bits-1)); err != nil {
					t.Fatal(err)
				}
				if err := b.Set(i, value(i)); err != nil { // over what stood there
					t.Fatal(err)
				}
			}
			text, err := b.EncodeBitstring()
			if err != nil {
				t.Fatal(err)
			}
			w3c, err := DecodeBitstring(text, bits)
			if err != nil {
				t.Fatal(err)
			}
			data, err := StatusList{Bitmap: b}.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			ietf, err := ParseStatusList(data)
			if err != nil {
				t.Fatal(err)
			}
			counts := map[Status]int{}
			for i := range int64(n) {
				counts[value(i)]++
				for _, l := range []*Bitmap{w3c, ietf.Bitmap} {
					if got, err := l.Get(i); got != value(i) || err != nil {
						t.Fatalf("entry %d is %d, %v; want %d", i, got, err, value(i))
					}
				}
			}
			if got := b.Counts(); fmt.Sprint(got) != fmt.Sprint(counts) {
				t.Errorf("counts %v, want %v", got, counts)
			}
			for _, i := range []int64{-1, n, 1 << 62} {
				if _, err := b.Get(i); !errors.Is(err, ErrIndex) {
					t.Errorf("index %d: %v", i, err)
				}
				if err := b.Set(i, 0); !errors.Is(err, ErrIndex) {
					t.Errorf("index %d: %v", i, err)
				}
			}
			if bits < 8 {
				if err := b.Set(0, 1<<bits); !errors.Is(err, ErrValue) {
					t.Errorf("a value that does not fit: %v", err)
				}
			}
		})
	}
}

// The same bytes mean different entries: the first is the least significant bit
// in one specification and the most significant in the other.
func TestTwoBitOrders(t *testing.T) {
	raw := make([]byte, MinBitstring/8)
	raw[0] = 0b1000_0000
	var z, g bytes.Buffer
	zw, gw := zlib.NewWriter(&z), gzip.NewWriter(&g)
	zw.Write(raw)
	gw.Write(raw)
	zw.Close()
	gw.Close()
	ietf, err := ParseStatusList(fmt.Appendf(nil, `{"bits":1,"lst":%q}`, base64.RawURLEncoding.EncodeToString(z.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	w3c, err := DecodeBitstring("u"+base64.RawURLEncoding.EncodeToString(g.Bytes()), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		list *Bitmap
		set  int64
	}{{ietf.Bitmap, 7}, {w3c, 0}} {
		for i := range int64(8) {
			if got, _ := tc.list.Get(i); (got == 1) != (i == tc.set) {
				t.Errorf("entry %d is %d; only %d is set", i, got, tc.set)
			}
		}
	}
}

func zlibOf(data []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	w.Write(data)
	w.Close()
	return out.Bytes()
}

func TestRefusedLists(t *testing.T) {
	whole := zlibOf([]byte{0xb9, 0xa3})
	changed := bytes.Clone(whole)
	changed[len(changed)-1] ^= 1
	var raw bytes.Buffer
	w, _ := flate.NewWriter(&raw, 9)
	w.Write([]byte{0xb9, 0xa3})
	w.Close()
	var preset bytes.Buffer
	d, _ := zlib.NewWriterLevelDict(&preset, 9, []byte("a dictionary"))
	d.Write([]byte{0xb9, 0xa3})
	d.Close()
	list := func(bits string, lst []byte) string {
		return fmt.Sprintf(`{"bits":%s,"lst":%q}`, bits, base64.RawURLEncoding.EncodeToString(lst))
	}
	for _, tc := range []struct {
		name, in string
		want     error
	}{
		{"raw deflate", list("1", raw.Bytes()), ErrZlib},
		{"a dictionary", list("1", preset.Bytes()), ErrZlib},
		{"bytes after it", list("1", append(bytes.Clone(whole), 0)), deflate.ErrTrailing},
		{"cut", list("1", whole[:len(whole)-1]), deflate.ErrTruncated},
		{"another checksum", list("1", changed), ErrChecksum},
		{"nothing inside", list("1", zlibOf(nil)), ErrEntries},
		{"a bomb", list("1", zlibOf(make([]byte, MaxBytes+1))), deflate.ErrTooLarge},
		{"no bytes", list("1", nil), ErrZlib},
		{"bits 0", list("0", whole), ErrBits},
		{"bits 3", list("3", whole), ErrBits},
		{"bits 16", list("16", whole), ErrBits},
		{"bits -1", list("-1", whole), ErrShape},
		{"bits 1.0", list("1.0", whole), ErrShape},
		{"bits as text", list(`"1"`, whole), ErrShape},
		{"no bits", `{"lst":"eNrbuRgAAhcBXQ"}`, ErrShape},
		{"no lst", `{"bits":1}`, ErrShape},
		{"padding", `{"bits":1,"lst":"eNrbuRgAAhcBXQ=="}`, ErrEncoding},
		{"plain base64", `{"bits":1,"lst":"eNrbuRgAAhcBX+"}`, ErrEncoding},
		{"a line break", `{"bits":1,"lst":"eNrbuRgA\nAhcBXQ"}`, ErrEncoding},
		{"bits twice", `{"bits":1,"bits":2,"lst":"eNrbuRgAAhcBXQ"}`, strictjson.ErrDuplicateName},
		{"no object", `7`, ErrShape},
		{"aggregation_uri is a number", `{"bits":1,"lst":"eNrbuRgAAhcBXQ","aggregation_uri":1}`, ErrShape},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := ParseStatusList([]byte(tc.in)); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
	for name, v := range map[string]string{"no map": "01", "lst as text": "a2646269747301636c73746161", "no bits": "a1636c73744a78dadbb918000217015d"} {
		data, _ := hex.DecodeString(v)
		if _, err := ParseStatusListCBOR(data); !errors.Is(err, ErrShape) {
			t.Errorf("CBOR, %s: %v", name, err)
		}
	}
}

func TestRefusedBitstrings(t *testing.T) {
	gz := func(n int) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(make([]byte, n))
		w.Close()
		return out.Bytes()
	}
	text := func(b []byte) string { return "u" + base64.RawURLEncoding.EncodeToString(b) }
	whole := gz(MinBitstring / 8)
	crc := bytes.Clone(whole)
	crc[len(crc)-8] ^= 1
	size := bytes.Clone(whole)
	size[len(size)-1] ^= 1
	var named bytes.Buffer
	w := gzip.NewWriter(&named)
	w.Name, w.Comment, w.Extra = "list", "of statuses", []byte{1, 2, 3}
	w.Write(make([]byte, MinBitstring/8))
	w.Close()
	for _, tc := range []struct {
		name, in string
		bits     int
		want     error
	}{
		{"good", text(whole), 1, nil},
		{"good, with a name", text(named.Bytes()), 1, nil},
		{"no multibase", text(whole)[1:], 1, ErrEncoding},
		{"another multibase", "z" + text(whole)[1:], 1, ErrEncoding},
		{"zlib", text(zlibOf(make([]byte, MinBitstring/8))), 1, ErrGzip},
		{"one byte short", text(gz(MinBitstring/8 - 1)), 1, ErrShort},
		{"two members", text(append(bytes.Clone(whole), whole...)), 1, deflate.ErrTrailing},
		{"bytes after it", text(append(bytes.Clone(whole), 0)), 1, deflate.ErrTrailing},
		{"cut", text(whole[:len(whole)-9]), 1, deflate.ErrTruncated},
		{"a bomb", text(gz(MaxBytes + 1)), 1, deflate.ErrTooLarge},
		{"another CRC", text(crc), 1, ErrChecksum},
		{"another size", text(size), 1, ErrChecksum},
		{"empty", "u", 1, ErrGzip},
		{"size 3", text(whole), 3, ErrBits},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := DecodeBitstring(tc.in, tc.bits); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func TestBitstringCredential(t *testing.T) {
	b, err := NewBitmap(2, MinBitstring)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Set(94567, 3); err != nil {
		t.Fatal(err)
	}
	subject, err := (&Bitstring{ID: "https://issuer.example/status/3#list", Purpose: PurposeMessage, List: b, TTL: 5 * time.Minute}).Subject()
	if err != nil {
		t.Fatal(err)
	}
	credential := `{"id":"https://issuer.example/status/3","type":["VerifiableCredential","BitstringStatusListCredential"],` +
		`"validFrom":"2026-11-01T00:00:00Z","validUntil":"2026-12-01T00:00:00Z","credentialSubject":` + string(subject) + `}`
	l, err := ParseBitstring([]byte(credential))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.List.Get(94567); got != 3 || err != nil || l.URI != "https://issuer.example/status/3" || l.Purpose != PurposeMessage || l.TTL != 5*time.Minute {
		t.Errorf("%v %v %+v", got, err, l)
	}
	for at, want := range map[string]error{"2026-10-31T00:00:00Z": ErrNotYetIssued, "2026-11-22T00:00:00Z": nil, "2026-12-01T00:00:00Z": ErrExpired} {
		now, _ := time.Parse(time.RFC3339, at)
		if err := l.Check(now); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", at, err, want)
		}
	}
	for _, tc := range []struct {
		old, new string
		want     error
	}{
		{`"BitstringStatusListCredential"`, `"StatusList2021Credential"`, ErrShape},
		{`"statusPurpose":"message"`, `"statusPurpose":"other"`, ErrPurpose},
		{`"statusSize":2`, `"statusSize":3`, ErrBits},
		{`"statusSize":2`, `"statusSize":18446744073709551618`, ErrShape},
		{`"id":"https://issuer.example/status/3",`, ``, ErrShape},
		{`2026-12-01T00:00:00Z`, `tomorrow`, ErrClaims},
		{`"encodedList"`, `"list"`, ErrShape},
	} {
		in := strings.Replace(credential, tc.old, tc.new, 1)
		if _, err := ParseBitstring([]byte(in)); in == credential || !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.new, err, tc.want)
		}
	}
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func token(t testing.TB) *Token {
	t.Helper()
	b, err := NewBitmap(2, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range map[int64]Status{3: Invalid, 500: Suspended, 999: Superseded} {
		if err := b.Set(i, s); err != nil {
			t.Fatal(err)
		}
	}
	return &Token{
		URI: "https://issuer.example/status/1", Issued: noon, Expires: noon.AddDate(0, 0, 7), TTL: 12 * time.Hour,
		List: StatusList{Bitmap: b, AggregationURI: "https://issuer.example/status"},
	}
}

func signers(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"ES256": p256, "ES384": p384, "EdDSA": ed}
}

// forms signs a token in both forms.
func forms(t testing.TB, tok *Token, key crypto.Signer) map[string][]byte {
	t.Helper()
	jwt, err := tok.SignJWT(rand.Reader, key, "12")
	if err != nil {
		t.Fatal(err)
	}
	cwt, err := tok.SignCWT(rand.Reader, key, []byte("12"))
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"JWT": []byte(jwt), "CWT": cwt}
}

func TestSignedTokens(t *testing.T) {
	keys := signers(t)
	for alg, key := range keys {
		for form, data := range forms(t, token(t), key) {
			t.Run(alg+" "+form, func(t *testing.T) {
				if !IsToken(data) {
					t.Error("it does not look like a token")
				}
				got, err := Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				want := token(t)
				if got.URI != want.URI || !got.Issued.Equal(want.Issued) || !got.Expires.Equal(want.Expires) || got.TTL != want.TTL ||
					got.List.AggregationURI != want.List.AggregationURI || !bytes.Equal(got.List.data, want.List.data) || got.Algorithm() != alg || string(got.KID) != "12" || got.CWT != (form == "CWT") {
					t.Errorf("%+v", got)
				}
				for other, k := range keys {
					want := ErrAlgNotAllowed
					if other == alg {
						want = ""
					}
					if err := got.Verify(k.Public()); !(err == nil && want == "") && !errors.Is(err, want) {
						t.Errorf("under the key for %s: %v", other, err)
					}
				}
				if err := got.Verify(signers(t)[alg].Public()); !errors.Is(err, ErrSignature) {
					t.Errorf("under another key: %v", err)
				}
				for i := range data {
					changed := bytes.Clone(data)
					changed[i] ^= 1
					if c, err := Parse(changed); err == nil && c.Verify(key.Public()) == nil {
						t.Fatalf("byte %d can be changed", i)
					}
				}
			})
		}
	}
}

// What is signed does not depend on the day.
func TestSigningIsDeterministic(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, b := forms(t, token(t), key), forms(t, token(t), key)
	for form := range a {
		if !bytes.Equal(a[form], b[form]) {
			t.Errorf("%s: two encodings", form)
		}
	}
}

func TestLookUp(t *testing.T) {
	tok := token(t)
	at := func(index int64) Reference { return Reference{index, tok.URI} }
	for _, tc := range []struct {
		name string
		ref  Reference
		now  time.Time
		want Status
		err  error
	}{
		{"valid", at(0), noon, Valid, nil},
		{"revoked", at(3), noon, Invalid, nil},
		{"suspended", at(500), noon, Suspended, nil},
		{"superseded", at(999), noon, Superseded, nil},
		{"out of range", at(1000), noon, 0, ErrIndex},
		{"far out of range", at(1 << 60), noon, 0, ErrIndex},
		{"another list", Reference{0, tok.URI + "/"}, noon, 0, ErrSubject},
		{"a day before the end", at(3), noon.AddDate(0, 0, 6), Invalid, nil},
		{"at the end", at(0), noon.AddDate(0, 0, 7), 0, ErrExpired},
		{"issued tomorrow", at(0), noon.AddDate(0, 0, -1), 0, ErrNotYetIssued},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := tok.Status(tc.ref, tc.now); got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("%v, %v; want %v, %v", got, err, tc.want, tc.err)
			}
		})
	}
	if due := tok.Due(); !due.Equal(noon.Add(12 * time.Hour)) {
		t.Errorf("due %s", due)
	}
}

func TestRefusedTokens(t *testing.T) {
	key := signers(t)["ES256"]
	b64 := base64.RawURLEncoding.EncodeToString
	const header = `{"alg":"ES256","typ":"statuslist+jwt"}`
	const claims = `{"sub":"https://issuer.example/1","iat":1700000000,"status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"}}`
	jwt := func(header, claims string) string {
		return b64([]byte(header)) + "." + b64([]byte(claims)) + "." + b64(make([]byte, 64))
	}
	for _, tc := range []struct {
		name, in string
		want     error
	}{
		{"good", jwt(header, claims), nil},
		{"long typ", jwt(strings.Replace(header, "statuslist", "application/statuslist", 1), claims), nil},
		{"no typ", jwt(`{"alg":"ES256"}`, claims), ErrType},
		{"typ JWT", jwt(`{"alg":"ES256","typ":"JWT"}`, claims), ErrType},
		{"typ of a CWT", jwt(`{"alg":"ES256","typ":"statuslist+cwt"}`, claims), ErrType},
		{"crit", jwt(`{"alg":"ES256","typ":"statuslist+jwt","crit":["x"],"x":1}`, claims), ErrCritical},
		{"no alg", jwt(`{"typ":"statuslist+jwt"}`, claims), ErrHeader},
		{"kid of a number", jwt(`{"alg":"ES256","typ":"statuslist+jwt","kid":1}`, claims), ErrHeader},
		{"two parts", "e30.e30", ErrNotToken},
		{"no text", "", ErrNotToken},
		{"no sub", jwt(header, strings.Replace(claims, "sub", "sup", 1)), ErrClaims},
		{"no iat", jwt(header, strings.Replace(claims, "iat", "nbf", 1)), ErrClaims},
		{"iat as text", jwt(header, strings.Replace(claims, "1700000000", `"1700000000"`, 1)), ErrClaims},
		{"iat before 1970", jwt(header, strings.Replace(claims, "1700000000", `-1`, 1)), ErrClaims},
		{"ttl 0", jwt(header, strings.Replace(claims, `"iat"`, `"ttl":0,"iat"`, 1)), ErrClaims},
		{"no list", jwt(header, `{"sub":"a","iat":1}`), ErrShape},
		{"claims twice", jwt(header, strings.Replace(claims, `"iat"`, `"sub":"b","iat"`, 1)), strictjson.ErrDuplicateName},
		{"a line break", jwt(header, claims)[:20] + "\n" + jwt(header, claims)[20:], ErrEncoding},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tok, err := ParseJWT(tc.in)
			if !errors.Is(err, tc.want) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			if err == nil && tok.Verify(key.Public()) == nil {
				t.Error("nobody signed it")
			}
		})
	}
	for _, alg := range []string{"none", "HS256", "RS256", "PS256", "ES512", "es256", ""} {
		tok, err := ParseJWT(jwt(fmt.Sprintf(`{"alg":%q,"typ":"statuslist+jwt"}`, alg), claims))
		if err != nil {
			t.Fatal(err)
		}
		for name, k := range signers(t) {
			if err := tok.Verify(k.Public()); !errors.Is(err, ErrAlgNotAllowed) {
				t.Errorf("alg %q under %s: %v", alg, name, err)
			}
		}
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token(t).SignJWT(rand.Reader, rsaKey, ""); !errors.Is(err, ErrAlgNotAllowed) {
		t.Errorf("RSA signs: %v", err)
	}
	if _, err := token(t).SignCWT(rand.Reader, rsaKey, nil); !errors.Is(err, ErrAlgNotAllowed) {
		t.Errorf("RSA signs: %v", err)
	}
}

// A CWT must say that it is a status list where it cannot be changed.
func TestRefusedCWT(t *testing.T) {
	key := signers(t)["ES256"]
	data := forms(t, token(t), key)["CWT"]
	name := bytes.Index(data, []byte(TypeCWT))
	other := bytes.Clone(data)
	other[name] = 'b'
	if _, err := ParseCWT(other); !errors.Is(err, ErrType) {
		t.Errorf("another type: %v", err)
	}
	alg := bytes.Clone(data)
	alg[bytes.Index(alg, []byte{0xa3, 1, 0x26})+2] = 0x38 // -7 becomes a two byte number
	if _, err := ParseCWT(alg); err == nil {
		t.Error("a broken header is read")
	}
}

func TestRefusedToWrite(t *testing.T) {
	key := signers(t)["ES256"]
	for name, change := range map[string]func(*Token){
		"no sub":           func(t *Token) { t.URI = "" },
		"control in sub":   func(t *Token) { t.URI = "https://issuer.example/\u202e" },
		"exp before iat":   func(t *Token) { t.Expires = t.Issued },
		"ttl in fractions": func(t *Token) { t.TTL = time.Millisecond },
		"no list":          func(t *Token) { t.List.Bitmap = nil },
	} {
		tok := token(t)
		change(tok)
		if _, err := tok.SignJWT(rand.Reader, key, ""); err == nil {
			t.Errorf("%s: a JWT is written", name)
		}
		if _, err := tok.SignCWT(rand.Reader, key, nil); err == nil {
			t.Errorf("%s: a CWT is written", name)
		}
	}
}

func TestReferences(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Reference
		err  error
	}{
		{`{"status_list":{"idx":0,"uri":"https://example.com/statuslists/1"}}`, Reference{0, "https://example.com/statuslists/1"}, nil},
		{`{"status_list":{"idx":4294967296,"uri":"a"},"other":1}`, Reference{1 << 32, "a"}, nil},
		{`{"other":1}`, Reference{}, ErrNoReference},
		{`{"status_list":{"idx":-1,"uri":"a"}}`, Reference{}, ErrShape},
		{`{"status_list":{"idx":"0","uri":"a"}}`, Reference{}, ErrShape},
		{`{"status_list":{"idx":0}}`, Reference{}, ErrShape},
		{`{"status_list":{"uri":"a"}}`, Reference{}, ErrShape},
		{`{"status_list":{"idx":0,"uri":""}}`, Reference{}, ErrShape},
	} {
		if got, err := ParseReference([]byte(tc.in)); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, %v", tc.in, got, err)
		}
	}
	// Section 6.3: 65535: {"status_list": {"idx": 0, "uri": "https://example.com/statuslists/1"}}
	data, _ := hex.DecodeString("a119ffffa16b7374617475735f6c697374a2636964780063757269782168747470733a2f2f6578616d706c652e636f6d2f7374617475736c697374732f31")
	v, err := cbor.Parse(data, cbor.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReferenceFromCWT(v); err != nil || got != (Reference{0, "https://example.com/statuslists/1"}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ReferenceFromCWT(cbor.Value{}); !errors.Is(err, ErrNoReference) {
		t.Error(err)
	}
}

func TestAllocator(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 16, 17, 1000, 4097} {
		seed := [32]byte{byte(n)}
		a, err := NewAllocator(seed, n, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen := make([]bool, n)
		var order []int64
		for range n {
			if a.Given()%3 == 1 { // as after a restart
				if a, err = NewAllocator(seed, n, a.Given()); err != nil {
					t.Fatal(err)
				}
			}
			i, err := a.Next()
			if err != nil {
				t.Fatal(err)
			}
			if seen[i] {
				t.Fatalf("%d of %d twice", i, n)
			}
			seen[i] = true
			order = append(order, i)
		}
		if _, err := a.Next(); !errors.Is(err, ErrEntries) {
			t.Errorf("beyond the end: %v", err)
		}
		if n >= 1000 {
			neighbours := 0
			for i := 1; i < n; i++ {
				if d := order[i] - order[i-1]; d == 1 || d == -1 {
					neighbours++
				}
			}
			if neighbours > 20 { // two are due
				t.Errorf("of %d, %d stand beside the one before", n, neighbours)
			}
			other, _ := NewAllocator([32]byte{99}, n, 0)
			same := 0
			for _, i := range order {
				if j, _ := other.Next(); i == j {
					same++
				}
			}
			if same > 20 {
				t.Errorf("another seed gives the same %d of %d", same, n)
			}
		}
	}
	for _, bad := range [][2]int{{0, 0}, {-1, 0}, {10, -1}, {10, 11}, {8*MaxBytes + 1, 0}} {
		if _, err := NewAllocator([32]byte{}, bad[0], bad[1]); !errors.Is(err, ErrEntries) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestStatusNames(t *testing.T) {
	for s, want := range map[Status]string{0: "valid", 1: "invalid", 2: "suspended", 3: "application-specific-0x03", 4: "reserved-0x04", 12: "application-specific-0x0c", 16: "reserved-0x10"} {
		if s.String() != want {
			t.Errorf("%d is %s, want %s", s, s, want)
		}
	}
}

// FuzzParse holds that whatever is read is written and read again as the same.
func FuzzParse(f *testing.F) {
	for _, data := range forms(f, token(f), signers(f)["ES256"]) {
		f.Add(data)
	}
	f.Add([]byte(`{"bits":1,"lst":"eNrbuRgAAhcBXQ"}`))
	data, _ := hex.DecodeString("a2646269747301636c73744a78dadbb918000217015d")
	f.Add(data)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		IsToken(data)
		if l, err := ParseStatusListCBOR(data); err == nil && l.Len() < 1<<20 {
			again, err := l.AppendCBOR(nil)
			if err != nil {
				t.Fatal(err)
			}
			if m, err := ParseStatusListCBOR(again); err != nil || !bytes.Equal(m.data, l.data) || m.AggregationURI != l.AggregationURI {
				t.Fatalf("%v", err)
			}
		}
		if l, err := ParseStatusList(data); err == nil && l.Len() < 1<<20 {
			again, err := l.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if m, err := ParseStatusList(again); err != nil || !bytes.Equal(m.data, l.data) {
				t.Fatalf("%v", err)
			}
		}
		tok, err := Parse(data)
		if err != nil || tok.List.Len() >= 1<<20 {
			return
		}
		cwt, err := tok.SignCWT(rand.Reader, key, tok.KID)
		if err != nil {
			return // what may be read and is not written: an end before the beginning
		}
		again, err := Parse(cwt)
		if err != nil || again.URI != tok.URI || !again.Issued.Equal(tok.Issued) || again.TTL != tok.TTL {
			t.Fatalf("%v: %+v, %+v", err, tok, again)
		}
	})
}

func FuzzBitstring(f *testing.F) {
	b, _ := NewBitmap(1, MinBitstring)
	text, _ := b.EncodeBitstring()
	f.Add(text, 1)
	f.Add(text[:60], 2)
	f.Fuzz(func(t *testing.T, text string, bits int) {
		b, err := DecodeBitstring(text, bits)
		if err != nil {
			if format.Reason(err, "") == "" {
				t.Fatalf("no reason: %v", err)
			}
			return
		}
		again, err := b.EncodeBitstring()
		if err != nil {
			t.Fatal(err)
		}
		if c, err := DecodeBitstring(again, bits); err != nil || !bytes.Equal(b.data, c.data) {
			t.Fatal(err)
		}
	})
}
