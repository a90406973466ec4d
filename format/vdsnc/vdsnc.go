// Package vdsnc reads and writes the visible digital seal for non-constrained environments
// of the ICAO (technical report VDS-NC): a proof of vaccination or of testing
// as JSON in a QR code, signed under the public key infrastructure of passports.
//
//	{"data": {"hdr": {"t": "icao.vacc", "v": 1, "is": "UTO"},      type, version, issuing state
//	          "msg": {…}},
//	 "sig":  {"alg": "ES256", "cer": "<DER, base64url>", "sigvl": "<r || s, base64url>"}}
//
// The signature covers the canonical form of data (RFC 8785), so that the text
// may be laid out in any way; everything beside data is unsigned. [Decode] takes
// the content from that canonical form: what is shown is what was signed.
//
// The certificate in the seal is the holder's word. A signature under it proves
// nothing until the certificate is known to be a state's signer, which is the
// caller's to find out.
package vdsnc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/gowebpki/jcs"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// MaxText bounds a seal. A QR code of version 40 holds 2,953 bytes; a seal on a
// screen or in a file may be laid out for reading.
const MaxText = 8192

// maxDepth bounds arrays and objects inside each other: the format has seven.
const maxDepth = 16

// The kinds of defect, besides those of strictjson.
const (
	ErrNotSeal       = format.Defect("not-a-seal")
	ErrTextTooLong   = format.Defect("text-too-long")
	ErrNotIJSON      = format.Defect("not-i-json") // RFC 8785 has no canonical form for it
	ErrDuplicateKey  = format.Defect("duplicate-key")
	ErrShape         = format.Defect("bad-shape")
	ErrType          = format.Defect("unknown-type")
	ErrVersion       = format.Defect("unsupported-version")
	ErrBase64        = format.Defect("bad-base64")
	ErrNoCertificate = format.Defect("no-certificate")
	ErrIrregular     = format.Defect("irregular")
	ErrAlgNotAllowed = format.Defect("alg-not-allowed")
	ErrSignature     = format.Defect("bad-signature")
)

// Profile says how much of the field's practice is accepted.
type Profile int

// Field accepts, with a remark each: base64 with or without padding and in either
// alphabet, the dose's number as a text, a signature in DER, members beside the
// signed ones. Strict refuses them. White space is no irregularity: RFC 8785
// makes it meaningless.
const (
	Field Profile = iota
	Strict
)

// The types of seal (hdr.t).
const (
	TypeVaccination = "icao.vacc"
	TypeTest        = "icao.test"
)

// Seal is a decoded, unverified seal.
type Seal struct {
	Type    string // hdr.t
	Version int    // hdr.v
	Issuer  string // hdr.is, the three-letter code of Doc 9303-3

	// Exactly one is set.
	Vaccination *Vaccination
	Test        *Test

	Algorithm   string // sig.alg, as the seal names it
	Certificate []byte // sig.cer, DER: whose it is, is to be found out
	Signature   []byte // sig.sigvl

	Remarks []string // deviations that the profile forgave: stable words
	signed  []byte
}

// Signed returns what the signature covers, the RFC 8785 form of data.
func (s *Seal) Signed() []byte { return s.signed }

// Is reports whether text may be a seal: a look at its beginning, to tell it
// from other codes. Whether it is one, [Decode] says.
func Is(text string) bool {
	return strings.HasPrefix(strings.TrimLeft(strings.TrimPrefix(text, "\ufeff"), " \t\r\n"), "{")
}

// Decode reads the text of one seal. The findings say where its content departs
// from the report's model. Nothing in the result is verified.
func Decode(text string, p Profile) (*Seal, []format.Finding, error) {
	s, findings, err := decode(format.TrimText(text), p)
	if err != nil {
		return nil, nil, fmt.Errorf("VDS-NC: %w", err)
	}
	return s, findings, nil
}

func decode(text string, p Profile) (*Seal, []format.Finding, error) {
	if len(text) > MaxText {
		return nil, nil, fmt.Errorf("%d bytes, at most %d: %w", len(text), MaxText, ErrTextTooLong)
	}
	raw := []byte(text)
	if err := strictjson.Check(raw, strictjson.Limits{Bytes: MaxText, Depth: maxDepth}); err != nil {
		return nil, nil, inOurWords(err)
	}
	s := new(Seal)
	top, ok := members(raw)
	if !ok || top["data"] == nil || top["sig"] == nil {
		return nil, nil, fmt.Errorf("no data and sig: %w", ErrNotSeal)
	}
	canonical, err := jcs.Transform(top["data"])
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w: %w", ErrNotIJSON, err)
	}
	s.signed = canonical
	if err := s.readSignature(top["sig"], p); err != nil {
		return nil, nil, err
	}
	if len(top) > 2 {
		// Nobody signed them, so they are not read.
		if err := s.irregular(p, "unsigned-members"); err != nil {
			return nil, nil, err
		}
	}
	data, ok := members(canonical)
	if !ok {
		return nil, nil, fmt.Errorf("data: %w", ErrShape)
	}
	findings, err := s.readData(data, p)
	return s, findings, err
}

// inOurWords gives the reasons of a reader of JSON the names that they have in
// the world of signed JSON.
func inOurWords(err error) error {
	switch {
	case errors.Is(err, strictjson.ErrDuplicateName):
		return fmt.Errorf("%w: %w", ErrDuplicateKey, err)
	case errors.Is(err, strictjson.ErrInvalidUTF8):
		return fmt.Errorf("%w: %w", ErrNotIJSON, err)
	}
	return err
}

// members takes an object apart, keeping each value's own text. Names are
// exact: encoding/json would take "Data" for "data" in a struct.
func members(raw []byte) (map[string]json.RawMessage, bool) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		return nil, false
	}
	return m, true
}

// irregular notes a deviation under Field and refuses it under Strict.
func (s *Seal) irregular(p Profile, word string) error {
	if p == Strict {
		return fmt.Errorf("%s: %w", word, ErrIrregular)
	}
	s.Remarks = append(s.Remarks, word)
	return nil
}

func (s *Seal) readSignature(raw []byte, p Profile) error {
	sig, ok := members(raw)
	if !ok {
		return fmt.Errorf("sig: %w", ErrShape)
	}
	text := map[string]string{}
	for _, name := range [...]string{"alg", "cer", "sigvl"} {
		// The values are looked at as texts and nothing else: JSON null is none.
		var t *string
		if json.Unmarshal(sig[name], &t) != nil || t == nil {
			return fmt.Errorf("sig.%s: %w", name, ErrShape)
		}
		text[name] = *t
	}
	if len(sig) > 3 {
		if err := s.irregular(p, "unsigned-members"); err != nil {
			return err
		}
	}
	s.Algorithm = text["alg"]
	var err error
	if s.Certificate, err = s.base64("cer", text["cer"], p); err != nil {
		return err
	}
	if len(s.Certificate) == 0 {
		return fmt.Errorf("sig.cer: %w", ErrNoCertificate)
	}
	if s.Signature, err = s.base64("sigvl", text["sigvl"], p); err != nil {
		return err
	}
	return s.fromDER(p)
}

// base64 reads base64url. The report pads it, and Japan does not; the ordinary
// alphabet is seen for certificates. Bits that are left over must be zero, or
// one seal would have several texts.
func (s *Seal) base64(name, text string, p Profile) ([]byte, error) {
	body := strings.TrimRight(text, "=")
	if pad := len(text) - len(body); pad == 0 && len(text)%4 != 0 {
		if err := s.irregular(p, name+"-unpadded"); err != nil {
			return nil, err
		}
	} else if len(text)%4 != 0 || pad > 2 {
		return nil, fmt.Errorf("sig.%s: %w", name, ErrBase64)
	}
	encoding := base64.RawURLEncoding
	if strings.ContainsAny(body, "+/") {
		if err := s.irregular(p, name+"-standard-alphabet"); err != nil {
			return nil, err
		}
		encoding = base64.RawStdEncoding
	}
	if strings.ContainsAny(body, "\r\n") { // which the decoder would skip
		return nil, fmt.Errorf("sig.%s: %w", name, ErrBase64)
	}
	out, err := encoding.Strict().DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("sig.%s: %w", name, ErrBase64)
	}
	return out, nil
}

// algorithms are those of RFC 7518 section 3.4 that the report allows, and the
// bytes of r and of s.
var algorithms = map[string]struct {
	curve   elliptic.Curve
	size    int
	options crypto.Hash
	hash    func([]byte) []byte
}{
	"ES256": {elliptic.P256(), 32, crypto.SHA256, func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }},
	"ES384": {elliptic.P384(), 48, crypto.SHA384, func(b []byte) []byte { h := sha512.Sum384(b); return h[:] }},
	"ES512": {elliptic.P521(), 66, crypto.SHA512, func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }},
}

// fromDER turns a signature in DER, as an early implementation wrote it, into
// r || s. Only the one right encoding of the pair is taken for it.
func (s *Seal) fromDER(p Profile) error {
	a, ok := algorithms[s.Algorithm]
	if !ok || len(s.Signature) == 2*a.size || len(s.Signature) == 0 || s.Signature[0] != 0x30 {
		return nil
	}
	half := make([]byte, 2*a.size)
	if !fill(s.Signature, half[:a.size], half[a.size:]) {
		return nil
	}
	s.Signature = half
	return s.irregular(p, "signature-der")
}

// fill reads SEQUENCE { INTEGER, INTEGER } into r and s, and reports whether it
// fills der in its shortest form.
func fill(der, r, s []byte) bool {
	take := func(data []byte, tag byte) (body, rest []byte, ok bool) {
		if len(data) < 2 || data[0] != tag {
			return nil, nil, false
		}
		n, at := int(data[1]), 2
		if n == 0x81 && len(data) > 2 && data[2] >= 0x80 {
			n, at = int(data[2]), 3
		} else if n >= 0x80 {
			return nil, nil, false
		}
		if len(data)-at < n {
			return nil, nil, false
		}
		return data[at : at+n], data[at+n:], true
	}
	body, rest, ok := take(der, 0x30)
	if !ok || len(rest) > 0 {
		return false
	}
	for _, to := range [][]byte{r, s} {
		var n []byte
		if n, body, ok = take(body, 0x02); !ok || len(n) == 0 || n[0] >= 0x80 || len(n) > 1 && n[0] == 0 && n[1] < 0x80 {
			return false
		}
		n = bytes.TrimLeft(n, "\x00")
		if len(n) > len(to) {
			return false
		}
		copy(to[len(to)-len(n):], n)
	}
	return len(body) == 0
}

// Verify checks the signature under a key: that of the seal's certificate, once
// it is known whose it is. The algorithm is the key's, and a seal that names
// another is refused.
func (s *Seal) Verify(pub crypto.PublicKey) error {
	a, known := algorithms[s.Algorithm]
	k, ok := pub.(*ecdsa.PublicKey)
	if !known || !ok || k == nil || k.Curve != a.curve {
		return fmt.Errorf("VDS-NC: the key does not make %.16q: %w", s.Algorithm, ErrAlgNotAllowed)
	}
	if len(s.Signature) != 2*a.size {
		return fmt.Errorf("VDS-NC: %d bytes: %w", len(s.Signature), ErrSignature)
	}
	r, v := new(big.Int).SetBytes(s.Signature[:a.size]), new(big.Int).SetBytes(s.Signature[a.size:])
	if !ecdsa.Verify(k, a.hash(s.signed), r, v) {
		return fmt.Errorf("VDS-NC: %w", ErrSignature)
	}
	return nil
}
