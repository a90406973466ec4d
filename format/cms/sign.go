package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"ampoule/format/der"
	"ampoule/format/pkix"
)

const (
	oidECDSASHA256 = "1.2.840.10045.4.3.2"
	oidRSA         = "1.2.840.113549.1.1.1"
)

// Sign makes a message of the gateway profile in DER: SHA-256 with the key of
// the certificate, which must be signer's. A detached message leaves its content
// out. at is the signing time that it states. random is what signer draws from.
func Sign(random io.Reader, content []byte, certificate *pkix.Certificate, signer crypto.Signer, at time.Time, detached bool) ([]byte, error) {
	pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(certificate.PublicKey) {
		return nil, fmt.Errorf("signed message: the key is not that of the certificate: %w", ErrSigner)
	}
	var algorithm []byte
	switch signer.Public().(type) {
	case *ecdsa.PublicKey:
		algorithm = der.Encode(der.TagSequence, der.EncodeOID(oidECDSASHA256))
	case *rsa.PublicKey:
		algorithm = der.Encode(der.TagSequence, der.EncodeOID(oidRSA), der.Encode(der.TagNull))
	default:
		return nil, fmt.Errorf("signed message: a key of type %T: %w", signer.Public(), pkix.ErrPublicKey)
	}
	sum := sha256.Sum256(content)
	attributes := [][]byte{
		attribute(oidContentType, der.EncodeOID(Data)),
		attribute(oidSigningTime, encodeTime(at)),
		attribute(oidMessageDigest, der.Encode(der.TagOctetString, sum[:])),
	}
	// A SET OF is in the order of its encodings (X.690 section 11.6).
	slices.SortFunc(attributes, bytes.Compare)
	digest := sha256.Sum256(der.Encode(der.TagSet, attributes...))
	signature, err := signer.Sign(random, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signed message: %w", err)
	}
	sha := der.Encode(der.TagSequence, der.EncodeOID(pkix.OIDSHA256))
	one := der.Encode(der.TagInteger, []byte{1})
	info := der.Encode(der.TagSequence,
		one,
		der.Encode(der.TagSequence, certificate.Issuer.Raw, der.Encode(der.TagInteger, certificate.Serial)),
		sha,
		der.Encode(der.TagContext0, attributes...),
		algorithm,
		der.Encode(der.TagOctetString, signature))
	encap := [][]byte{der.EncodeOID(Data)}
	if !detached {
		encap = append(encap, der.Encode(der.TagContext0, der.Encode(der.TagOctetString, content)))
	}
	return der.Encode(der.TagSequence, der.EncodeOID(oidSignedData), der.Encode(der.TagContext0, der.Encode(der.TagSequence,
		one,
		der.Encode(der.TagSet, sha),
		der.Encode(der.TagSequence, encap...),
		der.Encode(der.TagContext0, certificate.Raw),
		der.Encode(der.TagSet, info)))), nil
}

// Certificates makes a message that carries certificates and nothing else, in DER:
// neither content nor signers, the "certs-only" message of RFC 8551 section 3.8, with
// which EST answers (RFC 7030 section 4.1.3). [Parse] reads it.
func Certificates(certificates ...[]byte) ([]byte, error) {
	if len(certificates) == 0 || len(certificates) > maxCertificates {
		return nil, fmt.Errorf("signed message of %d certificates: %w", len(certificates), ErrCertificates)
	}
	for _, raw := range certificates {
		if _, err := pkix.ParseCertificate(raw); err != nil {
			return nil, fmt.Errorf("signed message: %w", err)
		}
	}
	// A SET OF is in the order of its encodings (X.690 section 11.6).
	sorted := slices.Clone(certificates)
	slices.SortFunc(sorted, bytes.Compare)
	return der.Encode(der.TagSequence, der.EncodeOID(oidSignedData), der.Encode(der.TagContext0, der.Encode(der.TagSequence,
		der.Encode(der.TagInteger, []byte{1}),
		der.Encode(der.TagSet),
		der.Encode(der.TagSequence, der.EncodeOID(Data)),
		der.Encode(der.TagContext0, sorted...),
		der.Encode(der.TagSet)))), nil
}

// Detach takes the content out of a message: what is left is DER, and verifies
// beside the content as before.
func Detach(message []byte) ([]byte, error) { return replaceContent(message, nil) }

// Attach puts the content into a message that was without it.
func Attach(message, content []byte) ([]byte, error) {
	return replaceContent(message, der.Encode(der.TagContext0, der.Encode(der.TagOctetString, content)))
}

func replaceContent(message, tagged []byte) ([]byte, error) {
	data, err := der.Definite(message)
	if err != nil {
		return nil, fmt.Errorf("signed message: %w", err)
	}
	r := &der.Reader{Rest: data}
	info := r.Sequence("ContentInfo")
	kind := info.Take(der.TagOID, "contentType")
	explicit := info.Enter(der.TagContext0, "content")
	signed := explicit.Sequence("SignedData")
	version := signed.Take(der.TagInteger, "version")
	digests := signed.Take(der.TagSet, "digestAlgorithms")
	encap := signed.Sequence("encapContentInfo")
	content := encap.Take(der.TagOID, "eContentType")
	if err := der.First(r, info, explicit, signed, encap).Err; err != nil {
		return nil, fmt.Errorf("signed message: %w", err)
	}
	return der.Encode(der.TagSequence, kind.Raw, der.Encode(der.TagContext0, der.Encode(der.TagSequence,
		version.Raw, digests.Raw, der.Encode(der.TagSequence, content.Raw, tagged), signed.Rest))), nil
}

func attribute(oid string, value []byte) []byte {
	return der.Encode(der.TagSequence, der.EncodeOID(oid), der.Encode(der.TagSet, value))
}

// encodeTime writes a signing time: UTCTime until 2049, GeneralizedTime after
// (RFC 5652 section 11.3).
func encodeTime(t time.Time) []byte {
	if t = t.UTC(); t.Year() >= 1950 && t.Year() < 2050 {
		return der.Encode(der.TagUTCTime, []byte(t.Format("060102150405Z")))
	}
	return der.Encode(der.TagGeneralizedTime, []byte(t.Format("20060102150405Z")))
}
