package statuslist

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/strictjson"
)

// The kinds of defect of a token and of a reference to one. Those of the COSE
// message are format/cose's.
const (
	ErrNotToken      = format.Defect("not-a-status-token")
	ErrTooLarge      = format.Defect("status-token-too-large")
	ErrHeader        = format.Defect("bad-header")
	ErrCritical      = format.Defect("critical-header")
	ErrType          = format.Defect("bad-token-type") // typ is not that of a status list
	ErrClaims        = format.Defect("bad-claims")
	ErrAlgNotAllowed = format.Defect("alg-not-allowed")
	ErrSignature     = format.Defect("bad-signature")
	ErrNoReference   = format.Defect("no-status-reference")
	ErrSubject       = format.Defect("status-list-mismatch") // sub is not the uri of the reference
	ErrExpired       = format.Defect("status-list-too-old")
	ErrNotYetIssued  = format.Defect("not-yet-issued")
)

// MaxToken bounds a token in bytes or characters: a list of MaxBytes that does
// not compress, in base64url twice.
const MaxToken = 64 << 20

const (
	maxHeader = 16 << 10 // characters of a JWT's header, which may bring certificates
	clockSkew = 5 * time.Minute
)

// The media types of the two forms, and their typ in a JWT.
const (
	TypeJWT = "application/statuslist+jwt"
	TypeCWT = "application/statuslist+cwt"
	typJWT  = "statuslist+jwt"
	typCWT  = "statuslist+cwt"
)

// Labels of the CWT's claims (RFC 8392 section 4, Token Status List section 5.2
// and 14.2), and of the header parameter typ (RFC 9596).
const (
	labelSubject    = 2
	labelExpires    = 4
	labelIssued     = 6
	labelTTL        = 65534
	labelStatusList = 65533
	labelStatus     = 65535 // of a referenced token
	headerType      = 16
)

// Token is a Status List Token, signed by the issuer or by whom it lets publish
// its statuses. Nothing in it is verified until Verify has said so.
//
//	{"sub": uri, "iat": seconds, ? "exp": seconds, ? "ttl": seconds, "status_list": …}
//	{2: uri, 6: seconds, ? 4: seconds, ? 65534: seconds, 65533: …}      ;; CWT
type Token struct {
	URI     string // sub: where the list is published, and what references name
	Issued  time.Time
	Expires time.Time     // zero for no end
	TTL     time.Duration // for how long a copy may be kept before another is asked for; 0 where not said
	List    StatusList

	KID []byte // as text in a JWT; empty where there is none
	CWT bool   // else a JWT

	alg       algorithm
	signed    []byte
	signature []byte
}

// Algorithm names the algorithm that the token names.
func (t *Token) Algorithm() string { return string(t.alg) }

// IsToken reports whether data look like a token, so that what is wrong with it
// can be told as a token's defect.
func IsToken(data []byte) bool {
	text := format.TrimText(string(data[:min(len(data), maxHeader+4)]))
	if head, _, ok := strings.Cut(text, "."); ok && strings.HasPrefix(head, "eyJ") {
		raw, err := decodeBase64(head)
		return err == nil && strings.Contains(string(raw), typJWT)
	}
	return len(data) > 2 && (data[0] == 0xd2 || data[0] == 0xd8 || data[0] == 0x84) && strings.Contains(text, typCWT)
}

// Parse reads a token of either form: the text of a JWT, or the bytes of a CWT.
func Parse(data []byte) (*Token, error) {
	if len(data) > 3 && (data[0] == 0xd2 || data[0] == 0xd8 || data[0] == 0x84) { // tag 18, tag 61, array of four
		return ParseCWT(data)
	}
	return ParseJWT(format.TrimText(string(data)))
}

// ParseJWT reads the compact serialisation of a JWS (RFC 7515 section 7.1).
func ParseJWT(text string) (*Token, error) {
	if len(text) > MaxToken {
		return nil, fmt.Errorf("status token: %d characters: %w", len(text), ErrTooLarge)
	}
	part := strings.Split(text, ".")
	if len(part) != 3 || part[0] == "" || len(part[0]) > maxHeader {
		return nil, fmt.Errorf("status token: %w", ErrNotToken)
	}
	var raw [3][]byte
	for i := range part {
		var err error
		if raw[i], err = decodeBase64(part[i]); err != nil {
			return nil, fmt.Errorf("status token: part %d: %w", i, err)
		}
	}
	t := &Token{signed: []byte(text[:len(part[0])+1+len(part[1])]), signature: raw[2]}
	header, err := strictjson.Parse(raw[0], strictjson.Limits{Bytes: maxHeader, Depth: 8})
	if err != nil {
		return nil, fmt.Errorf("status token: header: %w", err)
	}
	// RFC 7515 section 4.1.11: what is listed MUST be understood.
	if header.Get("crit").Exists() {
		return nil, fmt.Errorf("status token: crit: %w", ErrCritical)
	}
	// RFC 7515 section 4.1.9: application/ may be left out.
	if typ, _ := header.Get("typ").Text(); typ != typJWT && typ != TypeJWT {
		return nil, fmt.Errorf("status token: typ %.40q: %w", typ, ErrType)
	}
	alg, ok := header.Get("alg").Text()
	if !ok {
		return nil, fmt.Errorf("status token: alg: %w", ErrHeader)
	}
	t.alg = algorithm(alg)
	if kid := header.Get("kid"); kid.Exists() {
		text, ok := kid.Text()
		if !ok {
			return nil, fmt.Errorf("status token: kid: %w", ErrHeader)
		}
		t.KID = []byte(text)
	}
	claims, err := strictjson.Parse(raw[1], jsonLimits)
	if err != nil {
		return nil, fmt.Errorf("status token: %w", err)
	}
	number := func(name string) (seconds float64, err error) {
		v := claims.Get(name)
		if !v.Exists() {
			return math.NaN(), nil
		}
		n, ok := v.Number()
		if ok {
			seconds, err = n.Float64()
		}
		if !ok || err != nil {
			return 0, fmt.Errorf("status token: %s: %w", name, ErrClaims)
		}
		return seconds, nil
	}
	var times [3]float64
	for i, name := range [...]string{"iat", "exp", "ttl"} {
		if times[i], err = number(name); err != nil {
			return nil, err
		}
	}
	sub, _ := claims.Get("sub").Text()
	if err := t.setClaims(sub, times); err != nil {
		return nil, err
	}
	t.List, err = statusListFromJSON(claims.Get("status_list"))
	return t, err
}

// ParseCWT reads a COSE_Sign1 over the claims.
func ParseCWT(data []byte) (*Token, error) {
	if len(data) > MaxToken {
		return nil, fmt.Errorf("status token: %d bytes: %w", len(data), ErrTooLarge)
	}
	m, err := cose.Parse(data, cbor.DefaultLimits)
	if err != nil {
		return nil, fmt.Errorf("status token: %w", err)
	}
	// Section 5.2: typ is REQUIRED, and a header that is not protected can be
	// written by anybody.
	if typ, _ := m.Header.GetInt(headerType).Text(); typ != TypeCWT && typ != typCWT {
		return nil, fmt.Errorf("status token: typ %.40q: %w", typ, ErrType)
	}
	if m.AlgUnprotected {
		return nil, fmt.Errorf("status token: alg is not protected: %w", ErrHeader)
	}
	claims, err := m.ParsePayload(cbor.DefaultLimits)
	if err != nil {
		return nil, fmt.Errorf("status token: %w", err)
	}
	t := &Token{CWT: true, KID: m.KID, alg: algorithmOfCOSE(m.Alg), signed: m.AppendSigStructure(nil), signature: m.Signature}
	var times [3]float64
	for i, label := range [...]int64{labelIssued, labelExpires, labelTTL} {
		v := claims.GetInt(label)
		if n, ok := v.Int(); ok {
			times[i] = float64(n)
		} else if f, ok := v.Float(); ok {
			times[i] = f
		} else if !v.Exists() {
			times[i] = math.NaN()
		} else {
			return nil, fmt.Errorf("status token: claim %d: %w", label, ErrClaims)
		}
	}
	sub, _ := claims.GetInt(labelSubject).Text()
	if err := t.setClaims(sub, times); err != nil {
		return nil, err
	}
	t.List, err = statusListFromCBOR(claims.GetInt(labelStatusList))
	return t, err
}

// maxTime is the end of the year 9999.
const maxTime = 253402300799

// setClaims takes what both forms have: iat, exp and ttl in seconds, NaN for one
// that is missing.
func (t *Token) setClaims(sub string, times [3]float64) error {
	for i, s := range times {
		if !math.IsNaN(s) && (s < 0 || s > maxTime) || i == 0 && math.IsNaN(s) || i == 2 && s == 0 {
			return fmt.Errorf("status token: iat, exp or ttl: %w", ErrClaims)
		}
	}
	if sub == "" || len(sub) > maxURI {
		return fmt.Errorf("status token: sub: %w", ErrClaims)
	}
	t.URI, t.Issued = sub, time.Unix(int64(times[0]), 0).UTC()
	if !math.IsNaN(times[1]) {
		t.Expires = time.Unix(int64(times[1]), 0).UTC()
	}
	if !math.IsNaN(times[2]) {
		t.TTL = time.Duration(min(times[2], maxTTL)) * time.Second
	}
	return nil
}

// maxTTL is ten years in seconds: what is longer is not meant.
const maxTTL = 10 * 365 * 24 * 3600

// Verify checks the signature under a key. The algorithm is the key's: another
// one fails with ErrAlgNotAllowed, a signature that does not fit with
// ErrSignature.
func (t *Token) Verify(pub crypto.PublicKey) error {
	if err := t.alg.verify(pub, t.signed, t.signature); err != nil {
		return fmt.Errorf("status token: %w", err)
	}
	return nil
}

// Check says whether the token may be used now: section 8.3 asks that exp has
// not passed.
func (t *Token) Check(now time.Time) error {
	switch {
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		return fmt.Errorf("status token: expired %s: %w", t.Expires.Format(time.RFC3339), ErrExpired)
	case t.Issued.After(now.Add(clockSkew)):
		return fmt.Errorf("status token: issued %s: %w", t.Issued.Format(time.RFC3339), ErrNotYetIssued)
	}
	return nil
}

// Due is when another copy should be asked for; zero where the token does not
// say. It is counted from the day of issue, the one day that a copy tells.
func (t *Token) Due() time.Time {
	if t.TTL == 0 {
		return time.Time{}
	}
	return t.Issued.Add(t.TTL)
}

// Status returns what the list says of a reference. Section 8.3: sub MUST equal
// uri, and an index beyond the list MUST be refused.
func (t *Token) Status(r Reference, now time.Time) (Status, error) {
	if t.URI != r.URI {
		return 0, fmt.Errorf("status token: %w", ErrSubject)
	}
	if err := t.Check(now); err != nil {
		return 0, err
	}
	return t.List.Get(r.Index)
}

func (t *Token) checkWritten() error {
	iat, exp := t.Issued.Unix(), t.Expires.Unix()
	switch {
	case t.URI == "" || len(t.URI) > maxURI || format.Suspicious(t.URI):
		return fmt.Errorf("status token: sub: %w", ErrClaims)
	case iat < 0 || iat > maxTime, !t.Expires.IsZero() && (exp <= iat || exp > maxTime):
		return fmt.Errorf("status token: iat and exp: %w", ErrClaims)
	case t.TTL < 0 || t.TTL > maxTTL*time.Second || t.TTL%time.Second != 0:
		return fmt.Errorf("status token: ttl: %w", ErrClaims)
	case t.List.Bitmap == nil:
		return fmt.Errorf("status token: %w", ErrShape)
	}
	return nil
}

// SignJWT writes the token as a JWT.
func (t *Token) SignJWT(random io.Reader, signer crypto.Signer, kid string) (string, error) {
	if err := t.checkWritten(); err != nil {
		return "", err
	}
	alg := signerAlgorithm(signer.Public())
	header, err := json.Marshal(struct {
		Alg algorithm `json:"alg"`
		KID string    `json:"kid,omitempty"`
		Typ string    `json:"typ"`
	}{alg, kid, typJWT})
	if err != nil {
		return "", err
	}
	claims := struct {
		Expires int64      `json:"exp,omitempty"`
		Issued  int64      `json:"iat"`
		List    StatusList `json:"status_list"`
		Subject string     `json:"sub"`
		TTL     int64      `json:"ttl,omitempty"`
	}{0, t.Issued.Unix(), t.List, t.URI, int64(t.TTL / time.Second)}
	if !t.Expires.IsZero() {
		claims.Expires = t.Expires.Unix()
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("status token: %w", err)
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sig, err := alg.sign(random, signer, []byte(signed))
	if err != nil {
		return "", fmt.Errorf("status token: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// SignCWT writes the token as a CWT: tag 18, algorithm, key identifier and type
// protected, in deterministic encoding.
func (t *Token) SignCWT(random io.Reader, signer crypto.Signer, kid []byte) ([]byte, error) {
	if err := t.checkWritten(); err != nil {
		return nil, err
	}
	alg := signerAlgorithm(signer.Public())
	pair := func(dst []byte, label, value int64) []byte { return cbor.AppendInt(cbor.AppendInt(dst, label), value) }

	pairs := 2
	if len(kid) > 0 {
		pairs = 3
	}
	m := cose.Sign1{Protected: pair(cbor.AppendMap(nil, pairs), 1, int64(alg.cose()))}
	if len(kid) > 0 {
		m.Protected = cbor.AppendBytes(cbor.AppendInt(m.Protected, 4), kid)
	}
	m.Protected = cbor.AppendText(cbor.AppendInt(m.Protected, headerType), TypeCWT)

	pairs = 3
	if !t.Expires.IsZero() {
		pairs++
	}
	if t.TTL > 0 {
		pairs++
	}
	claims := cbor.AppendText(cbor.AppendInt(cbor.AppendMap(nil, pairs), labelSubject), t.URI)
	if !t.Expires.IsZero() {
		claims = pair(claims, labelExpires, t.Expires.Unix())
	}
	claims = pair(claims, labelIssued, t.Issued.Unix())
	claims, err := t.List.AppendCBOR(cbor.AppendInt(claims, labelStatusList))
	if err != nil {
		return nil, fmt.Errorf("status token: %w", err)
	}
	if t.TTL > 0 {
		claims = pair(claims, labelTTL, int64(t.TTL/time.Second))
	}
	m.Payload = claims
	sig, err := alg.sign(random, signer, m.AppendSigStructure(nil))
	if err != nil {
		return nil, fmt.Errorf("status token: %w", err)
	}
	out := cbor.AppendArray(cbor.AppendTag(nil, cose.TagSign1), 4)
	out = cbor.AppendMap(cbor.AppendBytes(out, m.Protected), 0)
	return cbor.AppendBytes(cbor.AppendBytes(out, m.Payload), sig), nil
}
