package divoc

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"ampoule/format/rdfc"
	"ampoule/format/strictjson"
)

// The signature suites, and the algorithm that each one's JWS names.
const (
	suiteRSA     = "RsaSignature2018"
	suiteEd25519 = "Ed25519Signature2018"

	algRSA     = "PS256"
	algEd25519 = "EdDSA"
)

// Proof is the linked data proof of a certificate. It is not verified.
type Proof struct {
	Suite              string // its type
	Created            time.Time
	VerificationMethod string // the signer's key, by its DID or DID URL
	Purpose            string
	Algorithm          string // as the header of the JWS says
	Signature          []byte
}

// Limits of a proof.
const (
	maxWork   = 1 << 15 // a millisecond or ten; see rdfc.Options
	maxHeader = 1 << 10
	minRSA    = 2048 // bits of a modulus
)

const purposeAssertion = "assertionMethod"

// canonicalHash is SHA-256 of the canonical statements of an object.
func canonicalHash(object map[string]any, names vocabulary) ([sha256.Size]byte, error) {
	quads, err := statementsOf(object, names)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	// The processors that sign know the form from before the Recommendation.
	r, err := rdfc.Canonicalize(quads, rdfc.Options{Form: rdfc.URDNA2015, MaxWork: maxWork})
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256([]byte(r.Text)), nil
}

// readProof reads the proof that stood beside the members of root. What keeps
// the bytes that were signed from being known is an error; what only keeps the
// signature from being right is left for Verify to say.
func (d *Document) readProof(value any, document [sha256.Size]byte) error {
	if value == nil {
		d.proofErr = fmt.Errorf("DIVOC: %w", ErrNoProof)
		return nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		d.proofErr = fmt.Errorf("DIVOC: proof: not one object: %w", ErrBadProof)
		return nil
	}
	options := make(map[string]any, len(object))
	for name, v := range object {
		if name != "jws" {
			options[name] = v
		}
	}
	hashed, err := canonicalHash(options, security)
	if err != nil {
		return fmt.Errorf("DIVOC: proof: %w", err)
	}
	if err := d.Proof.read(object); err != nil {
		d.proofErr = fmt.Errorf("DIVOC: proof: %w", err)
	}
	jws, _ := object["jws"].(string)
	header, _, _ := strings.Cut(jws, ".")
	d.signed = signingInput(header, hashed, document)
	return nil
}

// signingInput is what is signed. Linked Data Proofs 1.0 section 4: the hash of
// the options, then that of the document. RFC 7797: with b64 false, the payload
// is signed as it is.
func signingInput(header string, options, document [sha256.Size]byte) []byte {
	return append(append([]byte(header+"."), options[:]...), document[:]...)
}

// read reads the members of a proof. The key's name and the suite are read even
// where the rest is not right, so that a verdict can say whose it claims to be.
func (p *Proof) read(object map[string]any) error {
	var jws, created string
	var missing error
	for _, m := range [...]struct {
		name string
		to   *string
	}{
		{"type", &p.Suite}, {"verificationMethod", &p.VerificationMethod}, {"proofPurpose", &p.Purpose},
		{"created", &created}, {"jws", &jws},
	} {
		var ok bool
		if *m.to, ok = object[m.name].(string); !ok && missing == nil {
			missing = fmt.Errorf("%s: %w", m.name, ErrBadProof)
		}
	}
	if missing != nil {
		return missing
	}
	var err error
	if p.Created, err = time.Parse(time.RFC3339, created); err != nil {
		return fmt.Errorf("created: %w", ErrBadProof)
	}
	part := strings.Split(jws, ".")
	if len(part) != 3 || part[1] != "" {
		return fmt.Errorf("jws: not detached: %w", ErrBadProof)
	}
	if err := p.readHeader(part[0]); err != nil {
		return fmt.Errorf("jws: %w", err)
	}
	if p.Signature, err = decodeBase64URL(part[2]); err != nil || len(p.Signature) == 0 {
		return fmt.Errorf("jws: signature: %w", ErrBadProof)
	}
	return nil
}

// readHeader reads the header: alg, and that the payload is not encoded. A
// member that we do not know could change what the signature means.
func (p *Proof) readHeader(text string) error {
	raw, err := decodeBase64URL(text)
	if err != nil {
		return fmt.Errorf("header: %w", ErrBadProof)
	}
	v, err := strictjson.Decode(raw, strictjson.Limits{Bytes: maxHeader, Depth: 4})
	if err != nil {
		return fmt.Errorf("header: %w: %w", ErrBadProof, err)
	}
	header, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("header: %w", ErrBadProof)
	}
	p.Algorithm, _ = header["alg"].(string)
	if p.Algorithm != algRSA && p.Algorithm != algEd25519 {
		return fmt.Errorf("header: alg: %w", ErrAlgNotAllowed)
	}
	if !reflect.DeepEqual(header, map[string]any{"alg": p.Algorithm, "b64": false, "crit": []any{"b64"}}) {
		return fmt.Errorf("header: %w", ErrHeader)
	}
	return nil
}

func decodeBase64URL(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which DecodeString would skip
		return nil, errors.New("a line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// ProofError returns what is wrong with the proof whatever the key is: there is
// none, or it names an algorithm that no DIVOC key has. It is nil for a proof
// that a key has to decide about.
func (d *Document) ProofError() error { return d.proofErr }

// Verify checks the proof under a key:
//
//	signing input = header "." SHA-256(options) SHA-256(document)
//
// The key names the algorithm: an RSA key of 2048 bits or more PS256 and
// RsaSignature2018, an Ed25519 key EdDSA and Ed25519Signature2018. A proof that
// says otherwise fails with ErrAlgMismatch, a signature that does not fit with
// ErrSignature. A proof for another purpose than to assert the content fails
// with ErrPurpose.
func (d *Document) Verify(pub crypto.PublicKey) error {
	if d.proofErr != nil {
		return d.proofErr
	}
	var alg, suite string
	switch pub.(type) {
	case *rsa.PublicKey:
		alg, suite = algRSA, suiteRSA
	case ed25519.PublicKey:
		alg, suite = algEd25519, suiteEd25519
	default:
		return fmt.Errorf("DIVOC: proof under a key of %T: %w", pub, ErrAlgNotAllowed)
	}
	if d.Proof.Algorithm != alg || d.Proof.Suite != suite {
		return fmt.Errorf("DIVOC: proof under a key for %s: %w", alg, ErrAlgMismatch)
	}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return fmt.Errorf("DIVOC: RSA key of %d bits: %w", k.N.BitLen(), ErrWeakKey)
		}
		digest := sha256.Sum256(d.signed)
		// RFC 7518 section 3.5: the salt is as long as the hash.
		if err := rsa.VerifyPSS(k, crypto.SHA256, digest[:], d.Proof.Signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
			return fmt.Errorf("DIVOC: %w", ErrSignature)
		}
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize || !ed25519.Verify(k, d.signed, d.Proof.Signature) {
			return fmt.Errorf("DIVOC: %w", ErrSignature)
		}
	}
	if d.Proof.Purpose != purposeAssertion {
		return fmt.Errorf("DIVOC: %w", ErrPurpose)
	}
	return nil
}
