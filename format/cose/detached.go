package cose

import (
	"crypto"
	"fmt"
	"io"
)

// SignDetached returns the signature of a COSE_Sign1 of Ampoule's own data whose
// payload does not travel with it. The protected header must name the algorithm of
// the signer's key, see [SignerAlgorithm].
func SignDetached(random io.Reader, signer crypto.Signer, protected, payload []byte) ([]byte, error) {
	pub := signer.Public()
	alg := SignerAlgorithm(pub)
	if alg == NoAlgorithm {
		return nil, fmt.Errorf("COSE_Sign1: signing with %s: %w", describe(pub), ErrAlgNotAllowed)
	}
	message := appendSigStructure(nil, protected, payload)
	signature, err := signRaw(random, signer, alg, message)
	if err != nil {
		return nil, err
	}
	if !verifyRaw(pub, message, signature) {
		return nil, fmt.Errorf("COSE_Sign1: the signer of the %s key returned another's signature: %w", alg, ErrSignature)
	}
	return signature, nil
}

// VerifyDetached checks a signature that SignDetached made. alg is what the message
// names, and must be the key's own.
func VerifyDetached(pub crypto.PublicKey, alg Algorithm, protected, payload, signature []byte) error {
	if own := SignerAlgorithm(pub); own == NoAlgorithm || own != alg {
		return fmt.Errorf("COSE_Sign1: %s with a key for %s: %w", alg, describe(pub), ErrAlgNotAllowed)
	}
	if !verifyRaw(pub, appendSigStructure(nil, protected, payload), signature) {
		return ErrSignature
	}
	return nil
}
