// Package keys keeps signing keys in files and makes the certificates of a
// demonstration participant.
//
// A key file is a PKCS #8 private key and its certificate chain, the signer's
// own certificate first, as PEM blocks inside one age file (age-encryption.org,
// version 1). Nothing in it can be read without the passphrase or identity that
// opens it:
//
//	lock, err := keys.Passphrase(secret)
//	...
//	key, err := keys.Load("dsc.key", lock)
//	...
//	signature, err := key.Signer.Sign(rand.Reader, digest, crypto.SHA256)
//
// Files are written whole or not at all, readable by their owner only, and
// never over another file. A key file without encryption is refused unless the
// caller asks for it with [Unencrypted].
//
// The file of a [BundleRoot] has two private keys and no certificate.
//
// [NewSCA], [SCA.IssueDSC], [NewUP] and [NewTLS] make the certificates that a
// participant of the WHO's Global Digital Health Certification Network needs,
// and [Lint] checks them the way its onboarding does. [NewCSCA] and
// [SCA.IssueSealSigner] make those of a state's visible digital seals. All are for
// demonstrations and tests: a country's certificate authority belongs on
// hardware, offline, and under four eyes.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"ampoule/format"
)

// Defects of key files and of what is to be written to one.
const (
	ErrExists        format.Defect = "file-exists"          // there is a file of that name, and it stays
	ErrPermissions   format.Defect = "permissions-too-wide" // others than the owner may read or write the file
	ErrTooLarge      format.Defect = "file-too-large"       // the file is over MaxFile
	ErrNotEncrypted  format.Defect = "not-encrypted"        // the file is a plain key and the caller did not allow that
	ErrEncrypted     format.Defect = "encrypted"            // the file is encrypted and the caller brought nothing to open it
	ErrWrongSecret   format.Defect = "wrong-passphrase"     // the passphrase, or the identity, does not open the file
	ErrEmptySecret   format.Defect = "empty-passphrase"     // there is no passphrase or no identity
	ErrDamaged       format.Defect = "damaged"              // cut off, altered, or no key file at all
	ErrKeyType       format.Defect = "unsupported-key"      // neither ECDSA on a NIST curve, RSA of 2048 bits or more, nor Ed25519
	ErrMismatch      format.Defect = "certificate-mismatch" // the certificate is for another key, or the chain has a gap
	ErrNotExportable format.Defect = "key-not-exportable"   // the signer's private part is not in this process
)

// Key is a signing key and the certificates that vouch for it.
type Key struct {
	Signer crypto.Signer

	// Chain starts with the certificate of Signer; each certificate is signed by
	// the next. It is empty while the key waits for its certificate.
	Chain []*x509.Certificate
}

// Certificate returns the certificate of the key, or nil.
func (k *Key) Certificate() *x509.Certificate {
	if len(k.Chain) == 0 {
		return nil
	}
	return k.Chain[0]
}

// KID returns the key identifier of the key's certificate: the first 8 bytes of
// the SHA-256 of its DER form (HCERT specification, appendix A.1). It is nil
// for a key without a certificate.
func (k *Key) KID() []byte {
	c := k.Certificate()
	if c == nil {
		return nil
	}
	sum := sha256.Sum256(c.Raw)
	return sum[:8]
}

// maxChain is the most certificates of a key file. The network has two levels;
// some room is left for others.
const maxChain = 8

// check tells whether the key is of a supported kind and the chain is its own.
func (k *Key) check() error {
	if k == nil || k.Signer == nil {
		return fmt.Errorf("no signer: %w", ErrKeyType)
	}
	public := k.Signer.Public()
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if p.Curve == nil || p.Curve.Params().BitSize < 256 {
			return fmt.Errorf("ECDSA curve below 256 bits: %w", ErrKeyType)
		}
	case *rsa.PublicKey:
		if p.N.BitLen() < 2048 {
			return fmt.Errorf("RSA of %d bits: %w", p.N.BitLen(), ErrKeyType)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("%T: %w", public, ErrKeyType)
	}
	if len(k.Chain) > maxChain {
		return fmt.Errorf("%d certificates, limit %d: %w", len(k.Chain), maxChain, ErrMismatch)
	}
	for i, c := range k.Chain {
		if i == 0 {
			// All three kinds have Equal; crypto.PublicKey just cannot say so.
			if p := public.(interface{ Equal(crypto.PublicKey) bool }); !p.Equal(c.PublicKey) {
				return fmt.Errorf("the first certificate is for another key: %w", ErrMismatch)
			}
			continue
		}
		if err := k.Chain[i-1].CheckSignatureFrom(c); err != nil {
			return fmt.Errorf("certificate %d is not signed by the next (%v): %w", i, err, ErrMismatch)
		}
	}
	return nil
}

const (
	privateBlock     = "PRIVATE KEY" // PKCS #8 (RFC 7468, section 10)
	certificateBlock = "CERTIFICATE" // RFC 7468, section 5
)

// marshal returns the PEM form of a key. The caller clears it after use.
func marshal(k *Key) ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
	if err != nil {
		return nil, fmt.Errorf("%T: %w", k.Signer, ErrNotExportable)
	}
	defer clear(der)
	out := pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der})
	for _, c := range k.Chain {
		// Not appended in place: growing would leave a copy of the key behind.
		block := pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})
		grown := make([]byte, 0, len(out)+len(block))
		grown = append(append(grown, out...), block...)
		clear(out)
		out = grown
	}
	return out, nil
}

// parse reads the PEM form of a key, strictly: the key, its certificates, and
// nothing else.
func parse(data []byte) (*Key, error) {
	k := new(Key)
	for rest := data; len(rest) > 0; {
		block, next := pem.Decode(rest)
		if block == nil {
			return nil, fmt.Errorf("something else after the last PEM block: %w", ErrDamaged)
		}
		// pem.Decode skips what it does not know; here everything must be known.
		if len(block.Headers) > 0 || rest[0] != '-' {
			return nil, fmt.Errorf("headers or text around a PEM block: %w", ErrDamaged)
		}
		rest = next
		switch {
		case k.Signer == nil && block.Type == privateBlock:
			private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			clear(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("private key: %v: %w", err, ErrDamaged)
			}
			signer, ok := private.(crypto.Signer)
			if !ok {
				return nil, fmt.Errorf("%T cannot sign: %w", private, ErrKeyType)
			}
			k.Signer = signer
		case k.Signer != nil && block.Type == certificateBlock:
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate %d: %v: %w", len(k.Chain)+1, err, ErrDamaged)
			}
			k.Chain = append(k.Chain, c)
		default:
			return nil, fmt.Errorf("unexpected PEM block %q: %w", block.Type, ErrDamaged)
		}
	}
	if k.Signer == nil {
		return nil, fmt.Errorf("no private key: %w", ErrDamaged)
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	return k, nil
}
