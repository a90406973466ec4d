package trust

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// ErrDIDDocument refuses a DID document as a whole.
const ErrDIDDocument = format.Defect("not-a-did-document")

// ErrKeyForm is the drop of a key that is not written as its kind is.
const ErrKeyForm = format.Defect("bad-key")

// Limits of a DID document. One describes one signer, not a network.
const (
	maxDIDBytes   = 1 << 20
	maxDIDMethods = 256
	maxBase58     = 64
)

// didContexts are those of DID documents and of the ways to write keys in them.
// A trust list of the GDHCN names one more, and is signed.
var didContexts = []string{
	"https://www.w3.org/ns/did/v1", "https://w3id.org/did/v1", "https://www.w3.org/ns/cid/v1",
	"https://w3id.org/security/v1", "https://w3id.org/security/v2", "https://w3id.org/security/multikey/v1",
	"https://w3id.org/security/suites/ed25519-2018/v1", "https://w3id.org/security/suites/ed25519-2020/v1",
	"https://w3id.org/security/suites/jws-2020/v1",
}

// isDIDDocument reports whether a source is a plain DID document. It must not be
// possible to make one of a signed list by breaking it, so only known contexts
// count, and a document with a proof is for those who check proofs.
func isDIDDocument(top map[string]json.RawMessage) bool {
	if top["verificationMethod"] == nil || top["proof"] != nil {
		return false
	}
	var contexts []string
	if json.Unmarshal(top["@context"], &contexts) != nil {
		contexts = []string{""}
		if json.Unmarshal(top["@context"], &contexts[0]) != nil {
			return false
		}
	}
	return len(contexts) > 0 && !slices.ContainsFunc(contexts, func(c string) bool { return !slices.Contains(didContexts, c) })
}

// AddDIDDocument inserts the keys of a DID document (W3C DID Core 1.0), under
// the names of its verification methods. DIVOC certificates name their key so:
//
//	{"@context": "https://www.w3.org/ns/did/v1", "id": "did:india",
//	 "verificationMethod": [{"id": "did:india", "type": "RsaVerificationKey2018",
//	   "controller": "did:india", "publicKeyPem": "-----BEGIN PUBLIC KEY-----…"}]}
//
// A method writes its key as publicKeyPem, publicKeyJwk, publicKeyBase58 or
// publicKeyMultibase; those that are neither RSA nor Ed25519 are dropped. The
// document is not signed: an operator trusts it by having it. Its keys count in
// the domain DIVOC and nowhere else.
func (l *List) AddDIDDocument(s Source) error {
	v, err := strictjson.Decode([]byte(strings.TrimPrefix(string(s.Data), "\ufeff")), strictjson.Limits{Bytes: maxDIDBytes, Depth: 8})
	if err != nil {
		return fmt.Errorf("DID document: %w", err)
	}
	root, _ := v.(map[string]any)
	did, _ := root["id"].(string)
	methods, _ := root["verificationMethod"].([]any)
	switch {
	case !strings.HasPrefix(did, "did:") || strings.ContainsAny(did, " #"):
		return fmt.Errorf("DID document: id: %w", ErrDIDDocument)
	case len(methods) == 0 || len(methods) > maxDIDMethods:
		return fmt.Errorf("DID document: %d verification methods: %w", len(methods), ErrDIDDocument)
	}
	for i, v := range methods {
		method, _ := v.(map[string]any)
		id, _ := method["id"].(string)
		if strings.HasPrefix(id, "#") {
			id = did + id // DID Core 3.2.2: relative to the document
		}
		// A document speaks for its own DID: another's key in it would be another
		// participant's word.
		if own, _, _ := strings.Cut(id, "#"); own != did {
			l.drop(s.Name, fmt.Sprintf("verificationMethod[%d]", i), did, fmt.Errorf("its id is not of this document: %w", ErrReference))
			continue
		}
		pub, err := methodKey(method)
		if err != nil {
			l.drop(s.Name, id, did, err)
			continue
		}
		k := newBareKey(pub)
		k.Domain, k.Participant, k.ID, k.Source = DIVOC, did, KeyID(id), s.Name
		if r, ok := pub.(*rsa.PublicKey); ok {
			k.Weak = r.N.BitLen() < minRSA
		}
		l.Insert(k)
	}
	return nil
}

// methodKey reads the key of a verification method, which is written in one way.
func methodKey(method map[string]any) (crypto.PublicKey, error) {
	var found []string
	for name := range method {
		if strings.HasPrefix(name, "publicKey") {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d public keys in one method: %w", len(found), ErrKeyForm)
	}
	text, isText := method[found[0]].(string)
	switch name := found[0]; {
	case name == "publicKeyJwk":
		members, _ := method[name].(map[string]any)
		return jwkKey(members)
	case !isText:
		return nil, fmt.Errorf("%s: %w", name, ErrKeyForm)
	case name == "publicKeyPem":
		return pemKey(text)
	case name == "publicKeyBase58":
		return base58Key(text, nil)
	case name == "publicKeyMultibase" && strings.HasPrefix(text, "z"):
		return base58Key(text[1:], []byte{0xed, 0x01}) // multicodec ed25519-pub
	default:
		return nil, fmt.Errorf("%s: %w", name, ErrPublicKey)
	}
}

func pemKey(text string) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return nil, fmt.Errorf("publicKeyPem: no block PUBLIC KEY alone: %w", ErrKeyForm)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("publicKeyPem: %w: %v", ErrKeyForm, err)
	}
	return supportedKey(pub)
}

// supportedKey refuses the keys that no DIVOC certificate is signed with.
func supportedKey(pub crypto.PublicKey) (crypto.PublicKey, error) {
	switch pub.(type) {
	case *rsa.PublicKey, ed25519.PublicKey:
		return pub, nil
	}
	return nil, fmt.Errorf("%T: %w", pub, ErrPublicKey)
}

// jwkKey reads an RSA or Ed25519 key (RFC 7518 section 6.3, RFC 8037).
func jwkKey(members map[string]any) (crypto.PublicKey, error) {
	part := func(name string) []byte {
		text, _ := members[name].(string)
		data, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || strings.ContainsAny(text, "\r\n") {
			return nil
		}
		return data
	}
	if _, private := members["d"]; private {
		return nil, fmt.Errorf("publicKeyJwk: it gives the secret away: %w", ErrKeyForm)
	}
	switch kty, crv := members["kty"], members["crv"]; {
	case kty == "OKP" && crv == "Ed25519":
		if x := part("x"); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x), nil
		}
	case kty == "RSA":
		n, e := new(big.Int).SetBytes(part("n")), new(big.Int).SetBytes(part("e"))
		if n.BitLen() > 0 && n.BitLen() <= 8192 && e.BitLen() <= 31 && e.Int64() > 1 {
			return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
		}
	default:
		return nil, fmt.Errorf("publicKeyJwk: %w", ErrPublicKey)
	}
	return nil, fmt.Errorf("publicKeyJwk: %w", ErrKeyForm)
}

// base58Key reads an Ed25519 key in the base58 of Bitcoin, behind a prefix.
func base58Key(text string, prefix []byte) (crypto.PublicKey, error) {
	data, ok := decodeBase58(text)
	rest, found := strings.CutPrefix(string(data), string(prefix))
	if !ok || !found || len(rest) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("base58: no Ed25519 key: %w", ErrKeyForm)
	}
	return ed25519.PublicKey(rest), nil
}

const base58Digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

func decodeBase58(text string) ([]byte, bool) {
	if len(text) > maxBase58 {
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
	zeros := len(text) - len(strings.TrimLeft(text, "1")) // a leading zero byte each
	return append(make([]byte, zeros), n.Bytes()...), true
}
