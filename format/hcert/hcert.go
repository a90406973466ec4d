// Package hcert reads and writes the container of EU DCC, WHO DDCC, the WHO
// Digital ICVP and Verifiable Health Links: the Electronic Health Certificate
// specification 1.1.1 (HCERT), kept by the WHO.
//
//	text    = "HC1:" base45( zlib( COSE_Sign1 ) )   ;; fits a QR code in alphanumeric mode
//	payload = CWT claims {
//	    ? 1 (iss): tstr,  ? 4 (exp): NumericDate,  ? 5 (nbf): NumericDate,
//	    ? 6 (iat): NumericDate,
//	    -260 (hcert): { subclaim => certificate }
//	}
//
// [Decode] is bounded in every layer before it allocates. Two profiles say how
// much is forgiven: [Strict] is the specification and what [Encode] writes,
// [Field] is what real issuers have been seen to send, each deviation noted in
// Message.Remarks. Neither forgives anything that could let a forger in.
package hcert

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// Prefix is the context identifier of version 1 (section 4.2.2).
const Prefix = "HC1:"

// Limits of one certificate. A QR code of version 40 holds 4,296 alphanumeric
// characters; of a thousand real certificates the longest had 1,093 and
// inflated to 870 bytes.
const (
	MaxText     = 4296
	maxInflated = 64 << 10
)

// The kinds of defect, in the order of the layers. Those of the inner layers
// are cbor's and cose's.
const (
	ErrNoPrefix         = format.Defect("no-prefix")
	ErrUnsupported      = format.Defect("unsupported-version")
	ErrLowercase        = format.Defect("lowercase-prefix")
	ErrTextTooLong      = format.Defect("text-too-long")
	ErrBase45Length     = format.Defect("bad-length")
	ErrBase45Overflow   = format.Defect("overflow")
	ErrBase45Character  = format.Defect("invalid-character")
	ErrZlibEmpty        = format.Defect("empty")
	ErrZlibHeader       = format.Defect("not-zlib")
	ErrZlibDictionary   = format.Defect("preset-dictionary")
	ErrZlibTruncated    = format.Defect("truncated")
	ErrZlibCorrupt      = format.Defect("corrupt")
	ErrZlibChecksum     = format.Defect("checksum")
	ErrZlibTrailing     = format.Defect("trailing-bytes")
	ErrInflatedTooLarge = format.Defect("inflated-too-large")
	ErrNoPayload        = format.Defect("no-payload")
	ErrClaims           = format.Defect("bad-claims")
	ErrNumericDate      = format.Defect("bad-numericdate")
	ErrNoHCERT          = format.Defect("no-hcert")
	ErrUnknownSubclaim  = format.Defect("unknown-subclaim")
	ErrSeveral          = format.Defect("several-certificates")
	ErrIrregular        = format.Defect("irregular")
)

// Profile says how much of the field's practice is accepted.
type Profile int

// Field accepts, with a remark each: a lower-case prefix, kid or alg only in the
// unprotected header, dates as floating point numbers or under tag 1, a missing
// iat. Strict refuses them.
const (
	Field Profile = iota
	Strict
)

// Subclaim numbers the kind of certificate under claim -260 (HCERT section
// 3.3.7 and the WHO registry).
type Subclaim int64

// The registered subclaims that are certificates, and the development number
// that the Digital ICVP uses.
const (
	SubclaimDCC    Subclaim = 1  // EU Digital COVID Certificate
	SubclaimDDCCVS Subclaim = 3  // WHO DDCC vaccination status
	SubclaimDDCCTR Subclaim = 4  // WHO DDCC test result
	SubclaimVHL    Subclaim = 5  // Verifiable Health Link
	SubclaimICVP   Subclaim = -6 // Digital ICVP
)

func (s Subclaim) String() string {
	switch s {
	case SubclaimDCC:
		return "EU Digital COVID Certificate"
	case SubclaimDDCCVS:
		return "WHO DDCC vaccination status"
	case SubclaimDDCCTR:
		return "WHO DDCC test result"
	case SubclaimVHL:
		return "Verifiable Health Link"
	case SubclaimICVP:
		return "WHO Digital ICVP"
	}
	return fmt.Sprintf("subclaim %d", int64(s))
}

var knownSubclaims = [...]Subclaim{SubclaimDCC, SubclaimDDCCVS, SubclaimDDCCTR, SubclaimVHL, SubclaimICVP}

// CWT claim keys (RFC 8392 section 4, HCERT section 3.3).
const (
	claimIss   = 1
	claimExp   = 4
	claimNbf   = 5
	claimIat   = 6
	claimHCERT = -260
)

// Claims are the registered claims of a message. A zero time means that the
// claim is absent.
type Claims struct {
	Issuer                         string
	IssuedAt, NotBefore, ExpiresAt time.Time
}

// Message is a decoded, unverified certificate.
type Message struct {
	Sign1       *cose.Sign1
	ClaimSet    cbor.Value // the whole CWT
	Claims      Claims
	Subclaim    Subclaim
	Certificate cbor.Value // the value of the subclaim
	Remarks     []string   // deviations that the profile forgave: stable words
}

// Unprefix checks and removes the context identifier.
func Unprefix(text string, p Profile) (body string, remarks []string, err error) {
	if len(text) < len(Prefix) || !strings.EqualFold(text[:2], "hc") || text[3] != ':' {
		return "", nil, fmt.Errorf("HCERT: %w", ErrNoPrefix)
	}
	switch {
	case text[:4] == Prefix:
	case text[2] != '1':
		// A later version may change any layer; nothing in it can be assumed.
		return "", nil, fmt.Errorf("HCERT: context identifier %q: %w", text[:4], ErrUnsupported)
	case p == Strict:
		return "", nil, fmt.Errorf("HCERT: context identifier %q: %w", text[:4], ErrLowercase)
	default:
		remarks = append(remarks, string(ErrLowercase))
	}
	return text[4:], remarks, nil
}

// Decode reads the text of one certificate. Nothing in the result is verified.
func Decode(text string, p Profile) (*Message, error) {
	body, remarks, err := Unprefix(text, p)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxText {
		return nil, fmt.Errorf("HCERT: %d characters, more than a QR code holds (%d): %w", len(text), MaxText, ErrTextTooLong)
	}
	buf := compressed.Get().(*[2 * MaxText / 3]byte)
	defer compressed.Put(buf)
	packed, err := appendBase45Decoded(buf[:0], body)
	if err != nil {
		return nil, err
	}
	data, err := inflate(packed)
	if err != nil {
		return nil, err
	}
	m, err := decodeCOSE(data, p)
	if err != nil {
		return nil, err
	}
	m.Remarks = append(remarks, m.Remarks...)
	return m, nil
}

// COSE returns the message inside the text of a certificate, for whoever puts
// something into its unprotected header.
func COSE(text string, p Profile) ([]byte, error) {
	body, _, err := Unprefix(text, p)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxText {
		return nil, fmt.Errorf("HCERT: %d characters, more than a QR code holds (%d): %w", len(text), MaxText, ErrTextTooLong)
	}
	packed, err := DecodeBase45(body)
	if err != nil {
		return nil, err
	}
	return Inflate(packed)
}

// DecodeCOSE reads the COSE_Sign1 message inside the text.
func DecodeCOSE(data []byte, p Profile) (*Message, error) { return decodeCOSE(string(data), p) }

func decodeCOSE(data string, p Profile) (*Message, error) {
	m := new(Message)
	var err error
	if m.Sign1, err = cose.ParseString(data, cbor.DefaultLimits); err != nil {
		return nil, err
	}
	if m.Sign1.Payload == nil {
		return nil, fmt.Errorf("HCERT: %w", ErrNoPayload)
	}
	if m.Sign1.AlgUnprotected {
		if err := m.irregular(p, "alg-unprotected"); err != nil {
			return nil, err
		}
	}
	if m.Sign1.KIDUnprotected {
		// Section 3.3.3 lets the issuer choose; verifiers MUST accept both.
		m.Remarks = append(m.Remarks, "kid-unprotected")
	}
	if m.ClaimSet, err = m.Sign1.ParsePayload(cbor.DefaultLimits); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	if m.ClaimSet.Kind() != cbor.Map {
		return nil, fmt.Errorf("claims: %s: %w", m.ClaimSet.Kind(), ErrClaims)
	}
	if err := m.readClaims(p); err != nil {
		return nil, err
	}
	if err := m.readSubclaim(); err != nil {
		return nil, err
	}
	return m, nil
}

// irregular notes a deviation under Field and refuses it under Strict.
func (m *Message) irregular(p Profile, word string) error {
	if p == Strict {
		return fmt.Errorf("HCERT: %s: %w", word, ErrIrregular)
	}
	m.Remarks = append(m.Remarks, word)
	return nil
}

func (m *Message) readClaims(p Profile) error {
	if iss := m.ClaimSet.GetInt(claimIss); iss.Exists() {
		var ok bool
		if m.Claims.Issuer, ok = iss.Text(); !ok {
			return fmt.Errorf("claims: iss is %s: %w", iss.Kind(), ErrClaims)
		}
	}
	for _, c := range [...]struct {
		key  int64
		name string
		to   *time.Time
	}{
		{claimExp, "exp", &m.Claims.ExpiresAt},
		{claimNbf, "nbf", &m.Claims.NotBefore},
		{claimIat, "iat", &m.Claims.IssuedAt},
	} {
		v := m.ClaimSet.GetInt(c.key)
		if !v.Exists() {
			continue
		}
		t, odd, err := numericDate(v)
		if err != nil {
			return fmt.Errorf("claims: %s: %w", c.name, err)
		}
		if odd != "" {
			if err := m.irregular(p, c.name+"-"+odd); err != nil {
				return err
			}
		}
		*c.to = t
	}
	if m.Claims.IssuedAt.IsZero() {
		return m.irregular(p, "iat-missing")
	}
	return nil
}

// maxNumericDate is the end of the year 9999. Beyond it a date is a mistake of
// units (milliseconds) or an attack on the arithmetic (1e300).
const maxNumericDate = 253402300799

// numericDate reads seconds since 1970 (RFC 8392 section 2: an integer or a
// floating point number, without tag 1). odd names a tolerable deviation.
func numericDate(v cbor.Value) (t time.Time, odd string, err error) {
	if tag, inner, ok := v.Tag(); ok && tag == 1 {
		v, odd = inner, "tagged"
	}
	sec, ok := v.Int()
	if f, isFloat := v.Float(); isFloat {
		// NaN fails every comparison, so the range is asked for, not excluded.
		if ok = f >= 0 && f <= maxNumericDate; ok {
			sec, odd = int64(math.Floor(f)), "float"
		}
	}
	if !ok || sec < 0 || sec > maxNumericDate {
		return time.Time{}, "", fmt.Errorf("%s: %w", v.Kind(), ErrNumericDate)
	}
	return time.Unix(sec, 0).UTC(), odd, nil
}

// readSubclaim finds the one certificate. Two of them could name two persons,
// and which one a reader shows would be chance.
func (m *Message) readSubclaim() error {
	v := m.ClaimSet.GetInt(claimHCERT)
	if !v.Exists() {
		return fmt.Errorf("claims: no claim %d: %w", claimHCERT, ErrNoHCERT)
	}
	if v.Kind() != cbor.Map {
		return fmt.Errorf("claims: claim %d is %s: %w", claimHCERT, v.Kind(), ErrClaims)
	}
	for _, s := range knownSubclaims {
		c := v.GetInt(int64(s))
		if !c.Exists() {
			continue
		}
		if m.Certificate.Exists() {
			return fmt.Errorf("claims: subclaims %d and %d: %w", int64(m.Subclaim), int64(s), ErrSeveral)
		}
		m.Subclaim, m.Certificate = s, c
	}
	if !m.Certificate.Exists() {
		var keys []string // the keys alone: the content may name a person
		for k := range v.Pairs() {
			keys = append(keys, string(k.AppendJSON(nil)))
		}
		return fmt.Errorf("claims: claim %d holds %.8q: %w", claimHCERT, keys[:min(len(keys), 8)], ErrUnknownSubclaim)
	}
	if v.Len() > 1 {
		m.Remarks = append(m.Remarks, "other-subclaims")
	}
	return nil
}

// AppendClaims appends a CWT claims set around an encoded certificate, keys in
// deterministic order. Absent claims are left out.
func AppendClaims(dst []byte, c Claims, s Subclaim, certificate []byte) []byte {
	n := 1
	for _, present := range [...]bool{c.Issuer != "", !c.ExpiresAt.IsZero(), !c.NotBefore.IsZero(), !c.IssuedAt.IsZero()} {
		if present {
			n++
		}
	}
	dst = cbor.AppendMap(dst, n)
	if c.Issuer != "" {
		dst = cbor.AppendText(cbor.AppendInt(dst, claimIss), c.Issuer)
	}
	for _, d := range [...]struct {
		key int64
		t   time.Time
	}{{claimExp, c.ExpiresAt}, {claimNbf, c.NotBefore}, {claimIat, c.IssuedAt}} {
		if !d.t.IsZero() {
			dst = cbor.AppendInt(cbor.AppendInt(dst, d.key), d.t.Unix())
		}
	}
	dst = cbor.AppendMap(cbor.AppendInt(dst, claimHCERT), 1)
	return append(cbor.AppendInt(dst, int64(s)), certificate...)
}

// Encode signs a claims set and returns the text for the QR code.
func Encode(random io.Reader, signer crypto.Signer, kid, claims []byte) (string, error) {
	msg, err := cose.Sign(random, signer, kid, claims)
	if err != nil {
		return "", fmt.Errorf("HCERT: %w", err)
	}
	return EncodeCOSE(msg)
}

// EncodeCOSE wraps a finished COSE_Sign1 message as text.
func EncodeCOSE(msg []byte) (string, error) {
	if len(msg) > maxInflated { // however small it gets, Decode would refuse it
		return "", fmt.Errorf("HCERT: %d bytes: %w", len(msg), ErrInflatedTooLarge)
	}
	w := writers.Get().(*textWriter)
	defer writers.Put(w)
	w.compressed.Reset()
	if err := deflate(&w.compressed, msg); err != nil {
		return "", fmt.Errorf("HCERT: %w", err)
	}
	w.text = appendBase45(append(w.text[:0], Prefix...), w.compressed.Bytes())
	if len(w.text) > MaxText {
		return "", fmt.Errorf("HCERT: %d characters, more than a QR code holds (%d): %w", len(w.text), MaxText, ErrTextTooLong)
	}
	return string(w.text), nil
}

// textWriter is the scratch of one encoding.
type textWriter struct {
	compressed bytes.Buffer
	text       []byte
}

var writers = sync.Pool{New: func() any { return new(textWriter) }}
