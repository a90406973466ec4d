package shc

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"

	"ampoule/format"
	"ampoule/format/deflate"
	"ampoule/format/fhir"
	"ampoule/format/jwks"
)

// Encode signs a card and returns its JWS. What Strict would refuse to read is
// not signed. The header names the key by its thumbprint, as a card must; the
// payload is the same for the same card, the signature is another every time.
func Encode(random io.Reader, signer crypto.Signer, c *Card) (string, error) {
	kid, err := jwks.KID(signer.Public())
	if err != nil {
		return "", fmt.Errorf("SHC: signing with %T: %w", signer.Public(), ErrAlgNotAllowed)
	}
	payload, err := c.payload()
	if err != nil {
		return "", err
	}
	checked, err := DecodePayload(Strict, payload)
	if err != nil {
		return "", err
	}
	if len(checked.Findings) > 0 {
		f := checked.Findings[0]
		return "", fmt.Errorf("SHC: fhirBundle.%s: %w", f.Path, f.Reason)
	}
	compressed, err := deflate.Deflate(payload)
	if err != nil {
		return "", fmt.Errorf("SHC: %w", err)
	}
	header := fmt.Appendf(nil, `{"zip":"DEF","alg":"ES256","kid":"%s"}`, kid)
	signed := encodeBase64(header) + "." + encodeBase64(compressed)
	digest := sha256.Sum256([]byte(signed))
	der, err := signer.Sign(random, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("SHC: signing: %w", err)
	}
	signature, err := splitSignature(der)
	if err != nil {
		return "", err
	}
	return signed + "." + encodeBase64(signature), nil
}

// payload writes the claims, minified.
func (c *Card) payload() ([]byte, error) {
	if c.Bundle == nil {
		return nil, fmt.Errorf("SHC: %w", ErrNoBundle)
	}
	bundle, err := c.Bundle.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	type subject struct {
		Version string          `json:"fhirVersion"`
		Bundle  json.RawMessage `json:"fhirBundle"`
	}
	type credential struct {
		Type    []string `json:"type"`
		Subject subject  `json:"credentialSubject"`
		RID     string   `json:"rid,omitempty"`
	}
	claims := struct {
		Issuer     string     `json:"iss"`
		NotBefore  int64      `json:"nbf"`
		Expires    int64      `json:"exp,omitempty"`
		Credential credential `json:"vc"`
	}{c.Issuer, c.NotBefore.Unix(), 0, credential{c.Types, subject{c.FHIRVersion, bundle}, c.RID}}
	if c.NotBefore.IsZero() {
		return nil, fmt.Errorf("SHC: nbf: %w", format.RequiredMissing)
	}
	if !c.Expires.IsZero() {
		// Second zero would read as "no end" to the omitempty above.
		if claims.Expires = c.Expires.Unix(); claims.Expires <= 0 {
			return nil, fmt.Errorf("SHC: exp: %w", ErrNumericDate)
		}
	}
	if claims.Credential.Subject.Version == "" {
		claims.Credential.Subject.Version = fhir.Version
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(claims); err != nil {
		return nil, fmt.Errorf("SHC: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// splitSignature turns the DER of a signer into r and s of 32 bytes each (RFC
// 7518 section 3.4).
func splitSignature(der []byte) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &pair)
	if err != nil || len(rest) > 0 || pair.R.Sign() <= 0 || pair.S.Sign() <= 0 || pair.R.BitLen() > 256 || pair.S.BitLen() > 256 {
		return nil, fmt.Errorf("SHC: the signer's signature: %w", ErrSignatureForm)
	}
	out := make([]byte, 64)
	pair.R.FillBytes(out[:32])
	pair.S.FillBytes(out[32:])
	return out, nil
}

func encodeBase64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
