// Package shc reads and writes SMART Health Cards: FHIR resources about a
// person, signed by whoever issued them, small enough for a QR code.
//
//	text    = "shc:/" ( two digits per character of the JWS: its code − 45 )
//	JWS     = base64url(header) "." base64url(DEFLATE(payload)) "." base64url(r ‖ s)
//	header  = {"zip": "DEF", "alg": "ES256", "kid": thumbprint of the key}
//	payload = {"iss": "https://…", "nbf": seconds, ? "exp": seconds,
//	           "vc": {"type": ["https://smarthealth.cards#health-card", …], ? "rid": "…",
//	                  "credentialSubject": {"fhirVersion": "4.0.1", "fhirBundle": {…}}}}
//
// Reading has two steps on purpose. [Parse] takes the signature apart and looks
// at nothing but the header; [JWS.Verify] checks it; [JWS.Open] inflates and
// reads the payload. The key identifier alone finds the keys, so a verifier need
// not inflate, nor read a word of JSON, of a card that nobody signed whom it
// trusts. [Decode] is Parse and Open.
//
// Two profiles say how much is forgiven: [Strict] is the specification and what
// [Encode] writes, [Field] is what real issuers and readers have been seen to
// send, each deviation noted in Remarks. Neither forgives anything that could
// let a forger in.
package shc

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/jwks"
	"ampoule/format/strictjson"
)

// Scheme begins the text of a card in a QR code.
const Scheme = "shc:/"

// Limits. A QR code of version 40 holds 7,089 digits; a file may be larger, and
// a text that is too large for anything is still told from one whose signature
// is not right.
const (
	MaxText     = 512 << 10 // characters of a text
	MaxQR       = 1195      // characters of a JWS in one QR code of version 22
	maxChunk    = 1191      // and in one of several
	maxChunks   = 32        // of a set
	maxInflated = 64 << 10  // bytes of a payload
	maxHeader   = 4 << 10   // bytes of a header
	maxFile     = 4 << 20   // bytes of a file
	maxCards    = 64        // in a file
)

// The kinds of defect, in the order of the layers. Those of the stream are
// deflate's, those of the JSON strictjson's.
const (
	ErrNoScheme       = format.Defect("not-a-health-card")
	ErrUppercase      = format.Defect("uppercase-scheme")
	ErrTextTooLong    = format.Defect("text-too-long")
	ErrNotDigits      = format.Defect("not-digits")
	ErrLength         = format.Defect("bad-length")
	ErrOutOfRange     = format.Defect("out-of-range")
	ErrBadTotal       = format.Defect("bad-total")
	ErrBadIndex       = format.Defect("bad-index")
	ErrTotals         = format.Defect("inconsistent-total")
	ErrDuplicateChunk = format.Defect("duplicate-chunk")
	ErrMissingChunk   = format.Defect("missing-chunk")
	ErrSeveral        = format.Defect("several-certificates")
	ErrFile           = format.Defect("not-a-card-file")
	ErrNotJWS         = format.Defect("not-jws")
	ErrEncoding       = format.Defect("invalid-character")
	ErrHeader         = format.Defect("bad-header")
	ErrCritical       = format.Defect("critical-header")
	ErrZip            = format.Defect("zip-required")
	ErrAlgNotAllowed  = format.Defect("alg-not-allowed")
	ErrSignature      = format.Defect("bad-signature")
	ErrSignatureForm  = format.Defect("bad-signature-form")
	ErrClaims         = format.Defect("bad-claims")
	ErrNumericDate    = format.Defect("bad-numericdate")
	ErrIssuerURL      = format.Defect("issuer-url")
	ErrNoBundle       = format.Defect("no-bundle")
	ErrRID            = format.Defect("bad-rid")
)

// The remarks that are no defects of their own elsewhere: words for deviations
// that Field forgives and Strict refuses.
const (
	irregularSpace     = format.Defect("surrounding-space")
	irregularMark      = format.Defect("byte-order-mark")
	irregularTooLong   = format.Defect("jws-too-long")
	irregularChunkLong = format.Defect("chunk-too-long")
	irregularChunked   = format.Defect("needless-chunks")
	irregularMinified  = format.Defect("not-minified")
	irregularType      = format.Defect("card-type-missing")
	irregularVersion   = format.Defect("fhir-version")
	irregularPeriod    = format.Defect("exp-before-nbf")
	irregularFarFuture = format.Defect("nbf-after-9999")
)

// Notes are remarked under both profiles: the specification allows them, and a
// person who looks into a card may want to know.
const (
	noteChunked     = "chunked"              // deprecated, not forbidden
	noteHeader      = "other-header"         // header members that nothing here acts on: jku, x5c, typ
	noteFraction    = "fraction"             // of a second, in nbf or exp
	noteType        = "other-type"           // readers SHALL ignore types that they do not know
	noteContentType = "content-type-missing" // of what the bundle holds
)

// Profile says how much of the field's practice is accepted.
type Profile int

// Field accepts, with a remark each: the scheme in capitals, white space and
// byte order marks, cards too long for their QR code, payloads with white space,
// issuer addresses that are not https or end in a slash, a missing type or FHIR
// version. Strict refuses them.
const (
	Field Profile = iota
	Strict
)

// JWS is a card that was taken apart: its signature can be checked, its payload
// was not looked at.
type JWS struct {
	Text      string // the compact serialisation
	Alg       string // as the header says; only ES256 verifies
	KID       string // empty where the header has none
	Signature []byte
	Remarks   []string // deviations that the profile forgave: stable words

	signed  string // header "." payload: what was signed
	payload []byte // compressed
	profile Profile
}

// KeyID returns the key identifier in bytes: of a thumbprint, its 32.
func (j *JWS) KeyID() []byte { return jwks.ParseKID(j.KID) }

// Signed returns what the signature covers: header "." payload, as they came
// (RFC 7515 section 5.2).
func (j *JWS) Signed() string { return j.signed }

// irregular notes a deviation under Field and refuses it under Strict.
func irregular(p Profile, remarks *[]string, d format.Defect) error {
	if p == Strict {
		return fmt.Errorf("SHC: the strict profile refuses it: %w", d)
	}
	note(remarks, string(d))
	return nil
}

func note(remarks *[]string, word string) { *remarks = append(*remarks, word) }

// Decode reads a card from the texts of its QR codes in any order (one, or all
// of a set), or from its JWS. Nothing in the result is verified.
func Decode(p Profile, texts ...string) (*Card, error) {
	j, err := Parse(p, texts...)
	if err != nil {
		return nil, err
	}
	return j.Open()
}

// Parse takes a card apart, as far as its signature needs it.
func Parse(p Profile, texts ...string) (*JWS, error) {
	var remarks []string
	size := 0
	for _, t := range texts {
		size += len(t)
	}
	switch {
	case len(texts) == 0:
		return nil, fmt.Errorf("SHC: no text: %w", ErrNoScheme)
	case size > MaxText:
		return nil, fmt.Errorf("SHC: %d characters, at most %d: %w", size, MaxText, ErrTextTooLong)
	}
	trimmed := make([]string, len(texts))
	for i, t := range texts {
		trimmed[i] = format.TrimText(t)
		switch without := strings.TrimPrefix(t, "\ufeff"); {
		case trimmed[i] == t:
		case trimmed[i] == without:
			if err := irregular(p, &remarks, irregularMark); err != nil {
				return nil, err
			}
		default:
			if err := irregular(p, &remarks, irregularSpace); err != nil {
				return nil, err
			}
		}
	}
	text := trimmed[0]
	if hasScheme(text) || len(trimmed) > 1 {
		var err error
		if text, err = joinNumeric(p, &remarks, trimmed); err != nil {
			return nil, err
		}
	}
	j, err := parseJWS(p, text)
	if err != nil {
		return nil, err
	}
	j.Remarks = append(remarks, j.Remarks...)
	return j, nil
}

// IsCard reports whether a text looks like a card, so that whatever is wrong
// with it can be told as a card's defect: a QR code's text, or a JWS.
func IsCard(text string) bool {
	text = format.TrimText(text)
	return hasScheme(text) || strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2 // eyJ is `{"` in base64
}

func hasScheme(text string) bool {
	return len(text) >= len(Scheme) && strings.EqualFold(text[:len(Scheme)], Scheme)
}

// parseJWS reads the compact serialisation (RFC 7515 section 7.1).
func parseJWS(p Profile, text string) (*JWS, error) {
	part := strings.Split(text, ".")
	if len(part) != 3 || part[0] == "" {
		return nil, fmt.Errorf("JWS: %d parts, 3 are due: %w", len(part), ErrNotJWS)
	}
	if len(part[0]) > maxHeader {
		return nil, fmt.Errorf("JWS: a header of %d characters: %w", len(part[0]), ErrHeader)
	}
	var raw [3][]byte
	for i, name := range [...]string{"header", "payload", "signature"} {
		var err error
		if raw[i], err = decodeBase64(part[i]); err != nil {
			return nil, fmt.Errorf("JWS: %s: %w", name, ErrEncoding)
		}
	}
	j := &JWS{
		Text: text, Signature: raw[2], profile: p,
		signed: text[:len(part[0])+1+len(part[1])], payload: raw[1],
	}
	return j, j.readHeader(raw[0])
}

func (j *JWS) readHeader(data []byte) error {
	header, err := strictjson.Parse(data, strictjson.Limits{Bytes: maxHeader, Depth: 8})
	if err != nil {
		return fmt.Errorf("JWS: header: %w", err)
	}
	if header.Kind() != strictjson.Object {
		return fmt.Errorf("JWS: header: no object: %w", ErrHeader)
	}
	// RFC 7515 section 4.1.11: what is listed MUST be understood, and no extension
	// is understood here.
	if header.Get("crit").Exists() {
		return fmt.Errorf("JWS: header: crit: %w", ErrCritical)
	}
	if zip, _ := header.Get("zip").Text(); zip != "DEF" {
		return fmt.Errorf("JWS: header: zip: %w", ErrZip)
	}
	known := 1
	for _, m := range [...]struct {
		name string
		to   *string
	}{{"alg", &j.Alg}, {"kid", &j.KID}} {
		if v := header.Get(m.name); v.Exists() {
			var ok bool
			if *m.to, ok = v.Text(); !ok {
				return fmt.Errorf("JWS: header: %s: %w", m.name, ErrHeader)
			}
			known++
		}
	}
	// A key, or the address of one, that the card itself brings proves nothing: it
	// is not even kept.
	if header.Len() > known {
		note(&j.Remarks, noteHeader)
	}
	return nil
}

// Verify checks the signature under a key. An algorithm other than ES256, or a
// key that is not of P-256, fails with ErrAlgNotAllowed; a signature that is not
// r and s of 32 bytes each (RFC 7518 section 3.4) with ErrSignatureForm; one
// that does not fit with ErrSignature.
func (j *JWS) Verify(pub crypto.PublicKey) error {
	if j.Alg != "ES256" || cose.KeyAlgorithm(pub) != cose.ES256 {
		return fmt.Errorf("JWS: alg %.20q with a %T: %w", j.Alg, pub, ErrAlgNotAllowed)
	}
	if len(j.Signature) != 64 {
		return fmt.Errorf("JWS: a signature of %d bytes, 64 are due: %w", len(j.Signature), ErrSignatureForm)
	}
	var room [2 * MaxQR]byte // on the stack
	digest := sha256.Sum256(append(room[:0], j.signed...))
	if !cose.VerifyES256(pub, digest[:], j.Signature) {
		return ErrSignature
	}
	return nil
}

// ParseFile reads a file of cards: {"verifiableCredential": [JWS, …]}
// (.smart-health-card), or what a FHIR server answers to $health-cards-issue, a
// Parameters resource with the same in its parameters. Each card stands for
// itself: what is wrong with one is its own error.
func ParseFile(p Profile, data []byte) ([]File, error) {
	v, err := strictjson.Decode(bytes.TrimPrefix(data, []byte("\ufeff")), strictjson.Limits{Bytes: maxFile, Depth: 16})
	if err != nil {
		return nil, fmt.Errorf("card file: %w", err)
	}
	o, _ := v.(map[string]any)
	texts, ok := o["verifiableCredential"].([]any)
	if parameters, isAnswer := o["parameter"].([]any); isAnswer && o["resourceType"] == "Parameters" {
		ok = true
		for _, p := range parameters {
			if p, _ := p.(map[string]any); p["name"] == "verifiableCredential" {
				texts = append(texts, p["valueString"])
			}
		}
	}
	switch {
	case !ok || len(texts) == 0:
		return nil, fmt.Errorf("card file: verifiableCredential: %w", ErrFile)
	case len(texts) > maxCards:
		return nil, fmt.Errorf("card file: %d cards, at most %d: %w", len(texts), maxCards, ErrFile)
	}
	files := make([]File, len(texts))
	for i, t := range texts {
		text, ok := t.(string)
		if !ok || hasScheme(text) {
			files[i].Err = fmt.Errorf("card file: verifiableCredential[%d]: %w", i, ErrNotJWS)
			continue
		}
		files[i].JWS, files[i].Err = Parse(p, text)
	}
	return files, nil
}

// File is one card of a file.
type File struct {
	JWS *JWS
	Err error
}

// IsFile reports whether data look like a file of cards.
func IsFile(data []byte) bool {
	data = bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\ufeff")), " \t\r\n")
	return len(data) > 0 && data[0] == '{' && bytes.Contains(data, []byte(`"verifiableCredential"`))
}

// MarshalFile writes a file of cards.
func MarshalFile(jws ...string) ([]byte, error) {
	if len(jws) == 0 || len(jws) > maxCards {
		return nil, fmt.Errorf("card file: %d cards: %w", len(jws), ErrFile)
	}
	for i, text := range jws {
		if _, err := parseJWS(Strict, text); err != nil {
			return nil, fmt.Errorf("card file: verifiableCredential[%d]: %w", i, err)
		}
	}
	return json.Marshal(struct {
		Cards []string `json:"verifiableCredential"`
	}{jws})
}

func decodeBase64(text string) ([]byte, error) {
	if strings.IndexByte(text, '\r') >= 0 || strings.IndexByte(text, '\n') >= 0 { // which DecodeString would skip
		return nil, ErrEncoding
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}
