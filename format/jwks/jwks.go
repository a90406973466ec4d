// Package jwks reads JSON Web Key sets (RFC 7517) as the issuers of SMART
// Health Cards publish them at /.well-known/jwks.json:
//
//	{"keys": [
//	  {"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256",
//	   "kid": "<thumbprint of the key, RFC 7638>",
//	   "x": "<32 bytes, base64url>", "y": "<32 bytes, base64url>",
//	   "x5c": ["<DER, base64>", …],     optional: certificate of the key, and its chain
//	   "crlVersion": 1}                  optional: counter of the card revocation list
//	]}
//
// A key that departs from this carries its defect in Key.Err: the others of the
// set stay usable, and whoever asks can be told which one is to blame.
package jwks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// The defects of a set, and of one key.
const (
	ErrShape      = format.Defect("not-a-key-set")
	ErrTooMany    = format.Defect("too-many-keys")
	ErrPrivate    = format.Defect("private-key") // the set gives the secret away
	ErrKeyType    = format.Defect("bad-key-type")
	ErrUse        = format.Defect("bad-key-use")
	ErrAlgorithm  = format.Defect("bad-key-algorithm")
	ErrCurve      = format.Defect("bad-curve")
	ErrPoint      = format.Defect("bad-point")
	ErrKID        = format.Defect("kid-not-thumbprint")
	ErrX5C        = format.Defect("bad-x5c")
	ErrX5CKey     = format.Defect("x5c-key-mismatch")
	ErrX5CIssuer  = format.Defect("x5c-issuer-mismatch")
	ErrCRLVersion = format.Defect("bad-crl-version")
	ErrDuplicate  = format.Defect("duplicate-key")
)

// Limits of a set. The largest that a directory publishes has 57 keys.
const (
	maxBytes = 1 << 20
	maxKeys  = 1024
	maxChain = 8
)

// Key is one key of a set.
type Key struct {
	KID    string
	Public *ecdsa.PublicKey // P-256
	// Chain are the certificates of x5c, the key's own first. They are read, and
	// the first is known to carry the key; nothing is verified about them.
	Chain []*x509.Certificate
	// CRLVersion is the counter of the issuer's card revocation list for this
	// key; 0 where the issuer announces none.
	CRLVersion int64
	Err        error // why the key is not to be used; nil for a good one
}

// ID returns the thumbprint, 32 bytes: what KID writes in base64url.
func (k *Key) ID() []byte {
	id, err := Thumbprint(k.Public)
	if err != nil {
		return nil
	}
	return id
}

// Issuers are the addresses that the key's certificate names as the issuer's
// (subject alternative names of the URI kind); nil for a key without one.
func (k *Key) Issuers() []string {
	if len(k.Chain) == 0 {
		return nil
	}
	names := make([]string, 0, len(k.Chain[0].URIs))
	for _, u := range k.Chain[0].URIs {
		names = append(names, u.String())
	}
	return names
}

// CheckIssuer holds a key's certificate against the issuer whose key it is to
// be. A key without a certificate says nothing about that.
func (k *Key) CheckIssuer(iss string) error {
	if len(k.Chain) > 0 && !slices.Contains(k.Issuers(), iss) {
		return fmt.Errorf("x5c: the certificate does not name the issuer: %w", ErrX5CIssuer)
	}
	return nil
}

// Thumbprint is the SHA-256 thumbprint of a P-256 key (RFC 7638 section 3):
// the hash of its required members, in the order of their names and without
// white space.
func Thumbprint(pub crypto.PublicKey) ([]byte, error) {
	k, ok := pub.(*ecdsa.PublicKey)
	if !ok || k == nil || k.Curve != elliptic.P256() {
		return nil, fmt.Errorf("a thumbprint of %T: %w", pub, ErrCurve)
	}
	point, err := k.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPoint, err)
	}
	x, y := point[1:33], point[33:]
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, encode(x), encode(y)))
	return sum[:], nil
}

// KID is the thumbprint in base64url, as it stands in sets and cards.
func KID(pub crypto.PublicKey) (string, error) {
	id, err := Thumbprint(pub)
	return encode(id), err
}

// ParseKID returns the bytes of a kid in base64url. A kid that is not written so
// stands for itself: no thumbprint can equal it.
func ParseKID(kid string) []byte {
	if id, err := decode(kid); err == nil && len(id) == sha256.Size {
		return id
	}
	return []byte(kid)
}

// Parse reads a key set, or one key by itself. An error means that the document
// is no such thing; defects of single keys are in their Err.
func Parse(data []byte) ([]Key, error) {
	v, err := strictjson.Decode(bytes.TrimPrefix(data, []byte("\ufeff")), strictjson.Limits{Bytes: maxBytes, Depth: 8})
	if err != nil {
		return nil, fmt.Errorf("JWK set: %w", err)
	}
	keys, err := FromJSON(v)
	if err != nil {
		return nil, fmt.Errorf("JWK set: %w", err)
	}
	return keys, nil
}

// FromJSON reads a set that [strictjson.Decode] has read: an object with keys,
// an array of keys, or one key.
func FromJSON(v any) ([]Key, error) {
	var entries []any
	switch v := v.(type) {
	case []any:
		entries = v
	case map[string]any:
		keys, isSet := v["keys"]
		if !isSet {
			if _, isKey := v["kty"]; !isKey {
				return nil, ErrShape
			}
			entries = []any{v}
			break
		}
		var ok bool
		if entries, ok = keys.([]any); !ok {
			return nil, fmt.Errorf("keys: %w", ErrShape)
		}
	default:
		return nil, ErrShape
	}
	if len(entries) > maxKeys {
		return nil, fmt.Errorf("%d keys, at most %d: %w", len(entries), maxKeys, ErrTooMany)
	}
	keys := make([]Key, len(entries))
	for i, e := range entries {
		if err := keys[i].parse(e); err != nil {
			keys[i].Err = fmt.Errorf("keys[%d]: %w", i, err)
			continue
		}
		// One key with several certificates stands several times (specification,
		// "Determining keys"); the same entry twice is somebody's mistake.
		for j := range i {
			if k := &keys[j]; k.Err == nil && k.KID == keys[i].KID && k.CRLVersion == keys[i].CRLVersion && sameLeaf(k.Chain, keys[i].Chain) {
				keys[i].Err = fmt.Errorf("keys[%d] is keys[%d] again: %w", i, j, ErrDuplicate)
			}
		}
	}
	return keys, nil
}

func sameLeaf(a, b []*x509.Certificate) bool {
	return len(a) == 0 && len(b) == 0 || len(a) > 0 && len(b) > 0 && a[0].Equal(b[0])
}

func (k *Key) parse(v any) error {
	o, ok := v.(map[string]any)
	if !ok {
		return ErrShape
	}
	k.KID, _ = o["kid"].(string)
	if _, secret := o["d"]; secret {
		return ErrPrivate
	}
	for _, m := range [...]struct {
		name, want string
		err        error
	}{{"kty", "EC", ErrKeyType}, {"use", "sig", ErrUse}, {"alg", "ES256", ErrAlgorithm}, {"crv", "P-256", ErrCurve}} {
		if got, ok := o[m.name].(string); !ok || got != m.want {
			return fmt.Errorf("%s: %w", m.name, m.err)
		}
	}
	if err := k.parsePoint(o); err != nil {
		return err
	}
	if want, err := KID(k.Public); err != nil || k.KID != want {
		return fmt.Errorf("kid: %w", ErrKID)
	}
	if version, present := o["crlVersion"]; present {
		n, ok := version.(json.Number)
		if !ok {
			return fmt.Errorf("crlVersion: %w", ErrCRLVersion)
		}
		var err error
		if k.CRLVersion, err = n.Int64(); err != nil || k.CRLVersion < 1 {
			return fmt.Errorf("crlVersion: %w", ErrCRLVersion)
		}
	}
	if chain, present := o["x5c"]; present {
		return k.parseChain(chain)
	}
	return nil
}

// parsePoint reads x and y (RFC 7518 section 6.2.1: the full size of a
// coordinate, leading zeros included). The point must be on the curve.
func (k *Key) parsePoint(o map[string]any) error {
	point := []byte{4} // uncompressed
	for _, name := range [...]string{"x", "y"} {
		text, ok := o[name].(string)
		if !ok {
			return fmt.Errorf("%s: %w", name, ErrPoint)
		}
		b, err := decode(text)
		if err != nil || len(b) != 32 {
			return fmt.Errorf("%s: %w", name, ErrPoint)
		}
		point = append(point, b...)
	}
	var err error
	if k.Public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
		k.Public = nil
		return fmt.Errorf("%w: %w", ErrPoint, err)
	}
	return nil
}

// parseChain reads x5c: base64 with padding, not base64url (RFC 7517 section
// 4.7), the first certificate being the key's own.
func (k *Key) parseChain(v any) error {
	texts, ok := v.([]any)
	if !ok || len(texts) == 0 || len(texts) > maxChain {
		return fmt.Errorf("x5c: %w", ErrX5C)
	}
	var chain []*x509.Certificate
	for i, t := range texts {
		text, ok := t.(string)
		if !ok || strings.ContainsAny(text, "\r\n") {
			return fmt.Errorf("x5c[%d]: %w", i, ErrX5C)
		}
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return fmt.Errorf("x5c[%d]: %w", i, ErrX5C)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("x5c[%d]: %w: %v", i, ErrX5C, err)
		}
		chain = append(chain, c)
	}
	if !k.Public.Equal(chain[0].PublicKey) {
		return fmt.Errorf("x5c[0]: %w", ErrX5CKey)
	}
	k.Chain = chain
	return nil
}

var errNewline = errors.New("a line break")

func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which DecodeString would skip
		return nil, errNewline
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
