// Package print makes fingerprints of signed certificates, and puts them into
// batches of which a log shows nothing but the root.
//
// The fingerprint of a certificate is its leaf:
//
//	leaf = HMAC-SHA-256(key, message)
//	key     = r of an ECDSA signature (r, s), the whole of any other
//	message = the bytes that were signed
//
// A signature that was made with randomness has as many secret bits as the leaf
// needs: who holds the certificate can make its leaf, and who knows all of its
// content, and not the signature, learns nothing from the leaf. Nothing besides has
// to travel with the certificate. Of the two signatures (r, s) and (r, n-s), which
// both verify, r is the same, and so is the leaf; what is not signed, such as an
// unprotected header, is not in it.
//
// Leaves, padded to a size that tells little (see [Batch]), are the leaves of a
// Merkle tree as in RFC 6962. No leaf leaves the issuer: what is published of a
// batch is its root.
package print

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
	"ampoule/ledger/tlog"
)

// Leaf is the fingerprint of a signed certificate, or a decoy that nobody without
// the certificates can tell from one.
type Leaf [sha256.Size]byte

// Hash is the hash of the leaf in its tree, where its path begins.
func (l Leaf) Hash() tlog.Hash { return tlog.LeafHash(l[:]) }

// ErrNoSecret says that a signature is not of a form that has 256 secret bits.
const ErrNoSecret = format.Defect("no-secret-in-signature")

// minSecret is the shortest key of a leaf: r of P-256, in bytes.
const minSecret = 32

// OfSign1 returns the leaf of an HCERT. What was signed is the Sig_structure (RFC
// 9052 section 4.4).
func OfSign1(m *cose.Sign1) (Leaf, error) {
	if m.Payload == nil {
		return Leaf{}, fmt.Errorf("fingerprint: COSE without its payload: %w", ErrNoSecret)
	}
	var room [1024]byte // on the stack
	return leaf(m.Signature, m.Alg == cose.ES256, m.AppendSigStructure(room[:0]))
}

// OfJWS returns the leaf of a SMART Health Card. What was signed is the header and
// the payload as they stand in the card (RFC 7515 section 5.2).
func OfJWS(j *shc.JWS) (Leaf, error) {
	// A card is signed with ES256, and with nothing else.
	return leaf(j.Signature, true, []byte(j.Signed()))
}

// OfSeal returns the leaf of a visible digital seal. What was signed is the RFC
// 8785 form of its data.
func OfSeal(s *vdsnc.Seal) (Leaf, error) {
	// A seal is signed with ECDSA, on one of three curves.
	return leaf(s.Signature, true, s.Signed())
}

func leaf(signature []byte, ecdsa bool, message []byte) (Leaf, error) {
	key := signature
	if ecdsa {
		// r || s, of the same length (RFC 9053 section 2.1, RFC 7518 section 3.4)
		if len(signature)%2 != 0 {
			return Leaf{}, fmt.Errorf("fingerprint: an ECDSA signature of %d bytes: %w", len(signature), ErrNoSecret)
		}
		key = signature[:len(signature)/2]
	}
	if len(key) < minSecret {
		return Leaf{}, fmt.Errorf("fingerprint: a signature of %d bytes: %w", len(signature), ErrNoSecret)
	}
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return Leaf(h.Sum(nil)), nil
}
