package didlist

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"
)

// The JSON of a document, in the order of the published ones.
type (
	jsonDocument struct {
		Context            []string   `json:"@context"`
		ID                 string     `json:"id"`
		Controller         string     `json:"controller"`
		VerificationMethod []any      `json:"verificationMethod"`
		Proof              *jsonProof `json:"proof,omitempty"`
	}
	jsonEntry struct {
		ID          string    `json:"id"`
		Type        string    `json:"type"`
		Controller  string    `json:"controller"`
		Key         jsonJWK   `json:"publicKeyJwk"`
		Domain      *jsonCode `json:"domain,omitempty"`
		Participant *jsonCode `json:"participant,omitempty"`
		KeyUsage    *jsonCode `json:"keyusage,omitempty"`
	}
	jsonJWK struct {
		Kty string   `json:"kty"`
		KID string   `json:"kid"`
		X5C []string `json:"x5c,omitempty"`
		Crv string   `json:"crv,omitempty"`
		X   string   `json:"x,omitempty"`
		Y   string   `json:"y,omitempty"`
		N   string   `json:"n,omitempty"`
		E   string   `json:"e,omitempty"`
	}
	jsonCode struct {
		Code string `json:"code"`
	}
	jsonProof struct {
		Type               string `json:"type"`
		Created            string `json:"created"`
		Nonce              string `json:"nonce"`
		Purpose            string `json:"proofPurpose"`
		VerificationMethod string `json:"verificationMethod"`
		JWS                string `json:"jws,omitempty"`
	}
)

// New makes an unsigned list. keyDID is the DID of the key that will sign it.
//
// An entry needs a Chain, or a Key; the rest follows from them where it is
// empty: KID is SHA-256(Chain[0])[0:8], JWK restates the key, Controller is the
// list's own, and ID is the list's DID followed by domain, participant, usage
// and kid. An entry with a Key and no Chain needs its KID.
//
// Errors wrap the defects of entries and documents that [Parse] knows.
func New(context Context, id, controller, keyDID string, entries []Entry, references []string) (*Document, error) {
	d := &Document{
		Context:    context,
		ID:         id,
		Controller: controller,
		Entries:    slices.Clone(entries),
		References: slices.Clone(references),
		Proof:      Proof{VerificationMethod: keyDID, Purpose: "assertionMethod"},
	}
	for i := range d.Entries {
		if err := d.complete(&d.Entries[i]); err != nil {
			return nil, fmt.Errorf("entries[%d]: %w", i, err)
		}
	}
	if !isAbsolute(keyDID) {
		return nil, fmt.Errorf("keyDID: %w", ErrNotAbsolute)
	}
	// What we write, others must be able to read: the reader is the check.
	data, err := marshal(d.json())
	if err != nil {
		return nil, err
	}
	read, err := Parse(data)
	if err != nil {
		return nil, err
	}
	for _, e := range read.Entries {
		if e.Err != nil {
			return nil, e.Err
		}
	}
	_, err = canonicalDocument(read.root, read.Context)
	return d, err
}

func (d *Document) complete(e *Entry) error {
	e.Type = typeKey
	if len(e.Chain) > 0 {
		key, err := certificateKey(e.Chain[0])
		if err != nil {
			return err
		}
		e.Key = key
		if len(e.KID) == 0 {
			sum := sha256.Sum256(e.Chain[0])
			e.KID = sum[:8]
		}
	}
	if e.Key == nil {
		return ErrNoKey
	}
	if len(e.KID) == 0 {
		return ErrBadKID
	}
	if e.JWK.Kty == "" {
		jwk, err := newJWK(e.Key)
		if err != nil {
			return err
		}
		e.JWK = jwk
	}
	if e.Controller == "" {
		e.Controller = d.ID
	}
	if e.ID == "" {
		e.ID = d.ID
		for _, code := range []string{e.Domain, e.Participant, e.KeyUsage} {
			if code != "" {
				e.ID += ":" + code
			}
		}
		e.ID += "#" + base64.StdEncoding.EncodeToString(e.KID)
	}
	return nil
}

func (d *Document) json() jsonDocument {
	out := jsonDocument{
		Context:            []string{contextDID, contextJWS, string(d.Context)},
		ID:                 d.ID,
		Controller:         d.Controller,
		VerificationMethod: []any{},
	}
	for _, e := range d.Entries {
		if e.Err != nil {
			continue
		}
		encode := base64.RawURLEncoding.EncodeToString
		jwk := jsonJWK{
			Kty: e.JWK.Kty, KID: base64.StdEncoding.EncodeToString(e.KID), Crv: e.JWK.Crv,
			X: encode(e.JWK.X), Y: encode(e.JWK.Y), N: encode(e.JWK.N), E: encode(e.JWK.E),
		}
		for _, der := range e.Chain {
			jwk.X5C = append(jwk.X5C, base64.StdEncoding.EncodeToString(der))
		}
		out.VerificationMethod = append(out.VerificationMethod, jsonEntry{
			ID: e.ID, Type: e.Type, Controller: e.Controller, Key: jwk,
			Domain: newCode(e.Domain), Participant: newCode(e.Participant), KeyUsage: newCode(e.KeyUsage),
		})
	}
	for _, ref := range d.References {
		out.VerificationMethod = append(out.VerificationMethod, ref)
	}
	return out
}

func newCode(name string) *jsonCode {
	if name == "" {
		return nil
	}
	return &jsonCode{"#" + name}
}

// Sign writes the document with a fresh proof. signer must hold a P-256 key,
// rand is handed to it, created is written in UTC with whole seconds, and form
// chooses between what the network publishes and what RFC 7518 asks for.
// Entries with an Err are left out.
//
// The document itself is not changed; the list that was signed is what Parse
// makes of the returned bytes, which have been verified once before they are
// returned. Errors wrap [ErrSignerRefused], [ErrBadProof] for an unknown form,
// what the signer returned, or what VerifyProof reports.
func (d *Document) Sign(signer crypto.Signer, rand io.Reader, created time.Time, nonce string, form SignatureForm) ([]byte, error) {
	public, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, ErrSignerRefused
	}
	if form != FormDER && form != FormRS {
		return nil, fmt.Errorf("signature form: %w", ErrBadProof)
	}
	out := d.json()
	out.Proof = &jsonProof{
		Type:               typeProof,
		Created:            created.UTC().Format("2006-01-02T15:04:05Z"),
		Nonce:              nonce,
		Purpose:            "assertionMethod",
		VerificationMethod: d.Proof.VerificationMethod,
	}
	unsigned, err := marshal(out)
	if err != nil {
		return nil, err
	}
	root, err := decodeObject(unsigned)
	if err != nil {
		return nil, err
	}
	headerText := base64.RawURLEncoding.EncodeToString([]byte(header))
	digest, err := signingDigest(headerText, root, root["proof"].(map[string]any), d.Context)
	if err != nil {
		return nil, err
	}
	signature, err := signer.Sign(rand, digest, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if form == FormRS {
		var sequence struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(signature, &sequence); err != nil ||
			sequence.R.Sign() < 0 || sequence.S.Sign() < 0 || sequence.R.BitLen() > 256 || sequence.S.BitLen() > 256 {
			return nil, fmt.Errorf("signing: %w", ErrSignature)
		}
		signature = make([]byte, 64)
		sequence.R.FillBytes(signature[:32])
		sequence.S.FillBytes(signature[32:])
	}
	out.Proof.JWS = headerText + ".." + base64.RawURLEncoding.EncodeToString(signature)
	data, err := marshal(out)
	if err != nil {
		return nil, err
	}
	// A signer that is a device may answer in a form or with a key of its own:
	// better no list than one that nobody can verify.
	written, err := Parse(data)
	if err != nil {
		return nil, err
	}
	if err := written.VerifyProof(public); err != nil {
		return nil, fmt.Errorf("verifying what was signed: %w", err)
	}
	return data, nil
}

// marshal writes JSON without the escapes of '<', '>' and '&' for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
