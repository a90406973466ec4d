package resolve

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"ampoule/format"
)

// The defects of DIDs (DID Resolution, section 10).
const (
	ErrDID    format.Defect = "invalid-did"
	ErrMethod format.Defect = "did-method-not-supported"
	ErrKey    format.Defect = "did-key-not-supported"
)

// checkDID holds a DID against its grammar (DID Core section 3.1). One with a path, a
// query or a fragment is a DID URL, and names no subject.
func checkDID(did string) error {
	rest, ok := strings.CutPrefix(did, "did:")
	method, id, cut := strings.Cut(rest, ":")
	if !ok || !cut || method == "" || strings.Trim(method, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || id == "" || strings.HasSuffix(id, ":") {
		return ErrDID
	}
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', strings.IndexByte(".-_:", c) >= 0:
		case c == '%' && i+2 < len(id) && isHex(id[i+1]) && isHex(id[i+2]):
			i += 2
		default:
			return ErrDID
		}
	}
	return nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f'
}

// WebDID is the did:web of an address (did:web, section 3): of https://host:8443/a/b it is
// did:web:host%3A8443:a:b.
func WebDID(origin string, path ...string) (string, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" && u.Path != "/" {
		return "", fmt.Errorf("did:web of an address: %w", ErrDID)
	}
	did := "did:web:" + strings.ReplaceAll(u.Host, ":", "%3A")
	for _, p := range path {
		did += ":" + url.PathEscape(p)
	}
	if err := checkDID(did); err != nil {
		return "", fmt.Errorf("did:web of an address: %w", err)
	}
	return did, nil
}

// ParseWebDID takes a did:web apart: its host, as in an address, and its path.
func ParseWebDID(did string) (host string, path []string, err error) {
	rest, ok := strings.CutPrefix(did, "did:web:")
	if !ok || checkDID(did) != nil {
		return "", nil, ErrDID
	}
	for i, part := range strings.Split(rest, ":") {
		text, err := url.PathUnescape(part)
		if err != nil || text == "" || i > 0 && (text == "." || text == "..") {
			return "", nil, ErrDID
		}
		if i == 0 {
			host = text
		} else {
			path = append(path, text)
		}
	}
	return host, path, nil
}

// The multicodecs of public keys.
var (
	codecEd25519 = []byte{0xed, 0x01}
	codecP256    = []byte{0x80, 0x24}
	codecP384    = []byte{0x81, 0x24}
)

// KeyDID is the did:key of a public key: of ECDSA with P-256 or P-384, or Ed25519.
func KeyDID(pub crypto.PublicKey) (string, error) {
	var data []byte
	switch k := pub.(type) {
	case ed25519.PublicKey:
		data = append(append(data, codecEd25519...), k...)
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return "", fmt.Errorf("did:key: %w", ErrKey)
		}
		half := len(point) / 2
		codec := map[elliptic.Curve][]byte{elliptic.P256(): codecP256, elliptic.P384(): codecP384}[k.Curve]
		if codec == nil {
			return "", fmt.Errorf("did:key: %w", ErrKey)
		}
		// SEC 1 section 2.3.3: the point, compressed.
		data = append(append(append(data, codec...), 2+point[len(point)-1]&1), point[1:1+half]...)
	default:
		return "", fmt.Errorf("did:key: %T: %w", pub, ErrKey)
	}
	return "did:key:z" + encodeBase58(data), nil
}

// ParseKeyDID reads the key that a did:key is.
func ParseKeyDID(did string) (crypto.PublicKey, error) {
	text, ok := strings.CutPrefix(did, "did:key:z")
	if !ok {
		return nil, ErrDID
	}
	data, ok := decodeBase58(text)
	if !ok {
		return nil, ErrDID
	}
	if rest, ok := bytes.CutPrefix(data, codecEd25519); ok && len(rest) == ed25519.PublicKeySize {
		return ed25519.PublicKey(rest), nil
	}
	for _, c := range []struct {
		codec []byte
		curve elliptic.Curve
	}{{codecP256, elliptic.P256()}, {codecP384, elliptic.P384()}} {
		rest, ok := bytes.CutPrefix(data, c.codec)
		if !ok || len(rest) != 1+(c.curve.Params().BitSize+7)/8 {
			continue
		}
		x, y := elliptic.UnmarshalCompressed(c.curve, rest)
		if x == nil {
			return nil, ErrDID
		}
		half := len(rest) - 1
		point := append([]byte{4}, make([]byte, 2*half)...)
		x.FillBytes(point[1 : 1+half])
		y.FillBytes(point[1+half:])
		return ecdsa.ParseUncompressedPublicKey(c.curve, point)
	}
	return nil, ErrKey
}

const base58Digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

const maxBase58 = 128 // digits; those of a key of P-384 are 70

func encodeBase58(data []byte) string {
	n, radix, digit := new(big.Int).SetBytes(data), big.NewInt(int64(len(base58Digits))), new(big.Int)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, radix, digit)
		out = append([]byte{base58Digits[digit.Int64()]}, out...)
	}
	zeros := len(data) - len(bytes.TrimLeft(data, "\x00"))
	return strings.Repeat("1", zeros) + string(out)
}

func decodeBase58(text string) ([]byte, bool) {
	if len(text) > maxBase58 || text == "" {
		return nil, false
	}
	n, radix := new(big.Int), big.NewInt(int64(len(base58Digits)))
	for i := range len(text) {
		digit := strings.IndexByte(base58Digits, text[i])
		if digit < 0 {
			return nil, false
		}
		n.Add(n.Mul(n, radix), big.NewInt(int64(digit)))
	}
	zeros := len(text) - len(strings.TrimLeft(text, "1"))
	return append(make([]byte, zeros), n.Bytes()...), true
}

// Subject is what a DID document tells (DID Core).
type Subject struct {
	ID          string
	AlsoKnownAs []string
	Methods     []Method
	Services    []Service
}

// Method is a key of a subject, and what it is for.
type Method struct {
	Fragment       string
	Public         crypto.PublicKey
	Authentication bool      // it connects with it; else it signs with it only
	Until          time.Time // since when it is no more; zero: it is
}

// Service is where a subject is reached.
type Service struct{ Fragment, Type, Endpoint string }

// Document writes a DID document in JSON-LD. Keys that were given up stay in it, with
// when they were: what they signed before is still theirs.
func (s *Subject) Document() ([]byte, error) {
	type method struct {
		ID         string          `json:"id"`
		Type       string          `json:"type"`
		Controller string          `json:"controller"`
		JWK        json.RawMessage `json:"publicKeyJwk"`
		Revoked    string          `json:"revoked,omitempty"`
	}
	type service struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Endpoint string `json:"serviceEndpoint"`
	}
	doc := struct {
		Context        []string  `json:"@context"`
		ID             string    `json:"id"`
		AlsoKnownAs    []string  `json:"alsoKnownAs,omitempty"`
		Methods        []method  `json:"verificationMethod,omitempty"`
		Authentication []string  `json:"authentication,omitempty"`
		Assertion      []string  `json:"assertionMethod,omitempty"`
		Services       []service `json:"service,omitempty"`
	}{
		Context: []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"},
		ID:      s.ID, AlsoKnownAs: s.AlsoKnownAs,
	}
	for _, m := range s.Methods {
		jwk, err := JWK(m.Public, "")
		if err != nil {
			return nil, err
		}
		id := s.ID + "#" + m.Fragment
		v := method{ID: id, Type: "JsonWebKey2020", Controller: s.ID, JWK: jwk}
		if m.Until.IsZero() {
			doc.Assertion = append(doc.Assertion, id)
			if m.Authentication {
				doc.Authentication = append(doc.Authentication, id)
			}
		} else {
			v.Revoked = m.Until.UTC().Format(time.RFC3339)
		}
		doc.Methods = append(doc.Methods, v)
	}
	for _, x := range s.Services {
		doc.Services = append(doc.Services, service{s.ID + "#" + x.Fragment, x.Type, x.Endpoint})
	}
	return json.Marshal(doc)
}

// JWK is a public key as JSON (RFC 7517, RFC 8037), with a name where it has one.
func JWK(pub crypto.PublicKey, kid string) (json.RawMessage, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	out := map[string]string{}
	switch k := pub.(type) {
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", b64(k)
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return nil, fmt.Errorf("JWK: %w", ErrKey)
		}
		half := len(point) / 2
		out["kty"], out["crv"], out["x"], out["y"] = "EC", k.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	default:
		return nil, fmt.Errorf("JWK: %T: %w", pub, ErrKey)
	}
	if kid != "" {
		out["kid"] = kid
	}
	return json.Marshal(out)
}

// KeySubject is the subject that a did:key is.
func KeySubject(did string) (*Subject, error) {
	pub, err := ParseKeyDID(did)
	if err != nil {
		return nil, err
	}
	return &Subject{ID: did, Methods: []Method{{Fragment: strings.TrimPrefix(did, "did:key:"), Public: pub, Authentication: true}}}, nil
}
