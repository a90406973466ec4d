package resolve

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/strictjson"
)

// SealHeader is where the signature of an answer stands.
const SealHeader = "Ampoule-Signature"

// The defects of a signature.
const (
	ErrSeal      format.Defect = "bad-answer-signature" // no detached JWS, or of another key
	ErrSealURL   format.Defect = "answer-of-another-address"
	ErrSealStale format.Defect = "answer-too-old"
)

// Seal is what the signature of an answer says beside the answer: a detached JWS (RFC
// 7515 appendix F) over the exact bytes of the body,
//
//	BASE64URL(header) "." "." BASE64URL(signature)
//	header = {"alg":"ES256","kid":…,"iat":…,"exp":…,"url":…}
//
// so that a cache can keep body and header together, and nobody can put the answer to
// one question, or an old one, in the place of another.
type Seal struct {
	KID   string    // thumbprint of the key (RFC 7638)
	URL   string    // that was asked for
	Made  time.Time // whole seconds
	Until time.Time // the first moment at which it counts no more
}

type sealHeader struct {
	Alg string `json:"alg"`
	KID string `json:"kid"`
	IAT int64  `json:"iat"`
	Exp int64  `json:"exp"`
	URL string `json:"url"`
}

// Sign signs a body.
func (s *Seal) Sign(random io.Reader, signer crypto.Signer, body []byte) (string, error) {
	header, err := json.Marshal(sealHeader{"ES256", s.KID, s.Made.Unix(), s.Until.Unix(), s.URL})
	if err != nil {
		return "", fmt.Errorf("signing an answer: %w", err)
	}
	protected := base64.RawURLEncoding.EncodeToString(header)
	signature, err := cose.SignES256(random, signer, signed(protected, body))
	if err != nil {
		return "", fmt.Errorf("signing an answer: %w", err)
	}
	return protected + ".." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func signed(protected string, body []byte) []byte {
	return []byte(protected + "." + base64.RawURLEncoding.EncodeToString(body))
}

const maxSeal = 8 << 10 // bytes

// ParseSeal reads what a signature says. Nothing is checked by it; the key is looked for
// by it.
func ParseSeal(text string) (*Seal, error) {
	s, _, _, err := parseSeal(text)
	return s, err
}

func parseSeal(text string) (s *Seal, protected string, signature []byte, err error) {
	fail := func() (*Seal, string, []byte, error) {
		return nil, "", nil, fmt.Errorf("signature of an answer: %w", ErrSeal)
	}
	protected, rest, ok := strings.Cut(text, "..")
	if !ok || len(text) > maxSeal || strings.ContainsAny(text, "\r\n") {
		return fail()
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(protected)
	if err != nil {
		return fail()
	}
	var h sealHeader
	if strictjson.UnmarshalKnown(data, &h, strictjson.Limits{Bytes: maxSeal}) != nil || h.Alg != "ES256" || h.IAT < 0 || h.Exp < h.IAT || h.Exp > 253402300799 {
		return fail()
	}
	if signature, err = base64.RawURLEncoding.Strict().DecodeString(rest); err != nil {
		return fail()
	}
	return &Seal{KID: h.KID, URL: h.URL, Made: time.Unix(h.IAT, 0).UTC(), Until: time.Unix(h.Exp, 0).UTC()}, protected, signature, nil
}

// VerifySeal checks that an answer is what the holder of a key answered to a question,
// and that it counts at a time.
func VerifySeal(pub crypto.PublicKey, text, url string, body []byte, now time.Time) (*Seal, error) {
	s, protected, signature, err := parseSeal(text)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(signed(protected, body))
	switch {
	case !cose.VerifyES256(pub, digest[:], signature):
		return nil, fmt.Errorf("signature of an answer: %w", ErrSeal)
	case s.URL != url:
		return nil, fmt.Errorf("signature of an answer: %w", ErrSealURL)
	case !now.Before(s.Until) || now.Before(s.Made.Add(-skew)):
		return nil, fmt.Errorf("signature of an answer: %w", ErrSealStale)
	}
	return s, nil
}

// skew is how far two clocks may be apart.
const skew = 5 * time.Minute
