package didlist

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	"ampoule/format/strictjson"
)

// header is the protected JWS header that the network writes, unpadded
// base64url of it first. RFC 7797: with b64 false the payload is signed as it
// is and not base64 of it.
const header = `{"b64":false,"crit":["b64"],"alg":"ES256"}`

// VerifyProof checks the proof of a parsed document under a pinned key:
//
//	signing input = header "." SHA-256(statements of the proof options) SHA-256(statements of the document)
//
// (JsonWebSignature2020, detached payload of RFC 7797; the statements are
// those of canonical.go). The header must say ES256 and nothing else and the
// key must be on P-256, so no other algorithm can be talked into. Both
// signature forms are accepted; [Proof.SignatureForm] says which one it was.
//
// Errors wrap [ErrNoProof], [ErrBadProof], [ErrAlgorithm], [ErrKeyType],
// [ErrShape], [ErrNotAbsolute] or [ErrSignature].
func (d *Document) VerifyProof(key crypto.PublicKey) error {
	if d.root == nil {
		return ErrNoProof // made by New, never signed
	}
	if d.proofErr != nil {
		return d.proofErr
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return ErrKeyType
	}
	proof := d.root["proof"].(map[string]any)
	headerText, _, _ := strings.Cut(proof["jws"].(string), ".")
	digest, err := signingDigest(headerText, d.root, proof, d.Context)
	if err != nil {
		return err
	}
	switch d.Proof.SignatureForm {
	case FormDER:
		ok = ecdsa.VerifyASN1(public, digest, d.Proof.Signature)
	case FormRS:
		r, s := new(big.Int).SetBytes(d.Proof.Signature[:32]), new(big.Int).SetBytes(d.Proof.Signature[32:])
		ok = ecdsa.Verify(public, digest, r, s)
	default:
		ok = false
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

func signingDigest(headerText string, root, proof map[string]any, context Context) ([]byte, error) {
	statements, err := canonicalProof(proof)
	if err != nil {
		return nil, err
	}
	options := sha256.Sum256(statements)
	if statements, err = canonicalDocument(root, context); err != nil {
		return nil, err
	}
	document := sha256.Sum256(statements)
	h := sha256.New()
	h.Write([]byte(headerText + "."))
	h.Write(options[:])
	h.Write(document[:])
	return h.Sum(nil), nil
}

// parseProof fills Proof and Created. It leaves the statements to VerifyProof.
func (d *Document) parseProof(v any) error {
	if v == nil {
		return ErrNoProof
	}
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("proof: %w", ErrBadProof)
	}
	var jws, created string
	for _, m := range []struct {
		name string
		to   *string
	}{
		{"created", &created}, {"verificationMethod", &d.Proof.VerificationMethod},
		{"proofPurpose", &d.Proof.Purpose}, {"jws", &jws},
	} {
		if *m.to, ok = object[m.name].(string); !ok {
			return fmt.Errorf("proof.%s: %w", m.name, ErrBadProof)
		}
	}
	d.Proof.Nonce, _ = object["nonce"].(string) // optional

	at, err := time.Parse(time.RFC3339, created)
	if err != nil {
		return fmt.Errorf("proof.created: %w", ErrBadProof)
	}
	d.Created = at

	headerText, rest, ok := strings.Cut(jws, ".")
	signatureText, detached := strings.CutPrefix(rest, ".")
	if !ok || !detached {
		return fmt.Errorf("proof.jws: %w", ErrBadProof)
	}
	if err := checkHeader(headerText); err != nil {
		return fmt.Errorf("proof.jws: %w", err)
	}
	if d.Proof.Signature, err = decodeBase64URL(signatureText); err != nil {
		return fmt.Errorf("proof.jws: %w", ErrBadProof)
	}
	if d.Proof.SignatureForm, ok = formOf(d.Proof.Signature); !ok {
		return fmt.Errorf("proof.jws: signature of neither form: %w", ErrBadProof)
	}
	return nil
}

// checkHeader accepts the three members in any order and spacing, and no
// fourth: a member that we do not know could change what the signature means.
func checkHeader(text string) error {
	raw, err := decodeBase64URL(text)
	if err != nil {
		return ErrBadProof
	}
	got, err := strictjson.Decode(raw, strictjson.Limits{Bytes: 1024, Depth: 4})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadProof, err)
	}
	want := map[string]any{"b64": false, "crit": []any{"b64"}, "alg": "ES256"}
	if !reflect.DeepEqual(got, want) {
		return ErrAlgorithm
	}
	return nil
}

func decodeBase64URL(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which DecodeString would skip
		return nil, errBase64
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// formOf tells the forms apart. That the 64 bytes of a random R and S also
// read as an ASN.1 sequence of two numbers has a chance below 2^-40.
func formOf(signature []byte) (form SignatureForm, ok bool) {
	var sequence struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &sequence); err == nil && len(rest) == 0 {
		return FormDER, true
	}
	return FormRS, len(signature) == 64
}
