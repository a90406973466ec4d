// Package cms reads, verifies and makes signed messages (RFC 5652 SignedData),
// as much of them as trust networks and passports use.
//
//	ContentInfo = { id-signedData, [0] SignedData }                BER or DER
//	SignedData  = { version, digestAlgorithms,
//	                { eContentType, [0] OCTET STRING OPTIONAL },   the content; absent: detached
//	                certificates [0], crls [1], SET OF SignerInfo }
//	SignerInfo  = { version, SignerIdentifier, digestAlgorithm, signedAttrs [0],
//	                signatureAlgorithm, signature, unsignedAttrs [1] }
//
// [Parse] reads a message and verifies nothing. [Signer.Verify] checks one
// signature under one key. [Open] does both for the profile of the gateways of
// the health trust networks: content of type id-data, one certificate, one
// signer, who is that certificate. [Sign] makes such a message, [Certificates] one that
// carries certificates alone.
//
// RSA (PKCS #1 v1.5 and PSS) and ECDSA with SHA-2 are known; SHA-1 and MD5 are
// refused. Whose key it is that signed, and what it may sign, is the caller's.
package cms

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"fmt"
	"time"

	"ampoule/format"
	"ampoule/format/der"
	"ampoule/format/pkix"
)

// The defects of a message. Those of encoding, certificates and signatures are
// [der]'s and [pkix]'s.
const (
	ErrNotSigned    = format.Defect("not-a-signed-message")
	ErrContentType  = format.Defect("content-type")
	ErrDetached     = format.Defect("no-content") // the content is needed, and is not there
	ErrContent      = format.Defect("two-contents")
	ErrCertificates = format.Defect("certificate-count")
	ErrSigners      = format.Defect("signer-count")
	ErrSigner       = format.Defect("signer-not-carried") // the signer is another than the certificate
	ErrDigest       = format.Defect("digest-mismatch")
)

// MaxBytes is the most that a message may have.
const MaxBytes = der.MaxBytes

const (
	maxSigners      = 4
	maxCertificates = 16
)

// Object identifiers of RFC 5652.
const (
	// Data is id-data, the type of content that is bytes and nothing else.
	Data = "1.2.840.113549.1.7.1"

	oidSignedData    = "1.2.840.113549.1.7.2"
	oidContentType   = "1.2.840.113549.1.9.3"
	oidMessageDigest = "1.2.840.113549.1.9.4"
	oidSigningTime   = "1.2.840.113549.1.9.5"
)

// Message is a parsed, unverified message.
type Message struct {
	ContentType string // dotted
	// Content is what was signed, nil in a detached message.
	Content []byte
	// Certificates are those beside the content that can be read. They are the
	// sender's word. Carried counts the others too.
	Certificates []*pkix.Certificate
	Carried      int
	Signers      []Signer
}

// Signer is one SignerInfo.
type Signer struct {
	// SigningTime is what the signer states, zero where it states none.
	SigningTime time.Time

	issuer, serial []byte // one form of the SignerIdentifier,
	keyID          []byte // and the other
	digest         string
	attributes     []byte // signedAttrs with the tag of a SET, as they were signed; nil for none
	messageDigest  []byte
	contentType    string
	algorithm      pkix.Algorithm
	signature      []byte
}

// Is reports whether data begins like a message with this type of content. It
// is a look at the first bytes, not a check.
func Is(data []byte, contentType string) bool {
	head := data[:min(len(data), 128)]
	signed, content := der.EncodeOID(oidSignedData), der.EncodeOID(contentType)
	i := bytes.Index(head, signed)
	return len(data) > 0 && data[0] == der.TagSequence && i > 0 && i < 16 && bytes.Contains(head[i+len(signed):], content)
}

// Parse reads a message in BER or DER that fills data. Nothing is verified.
func Parse(data []byte) (*Message, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("signed message: %d bytes, at most %d: %w", len(data), MaxBytes, der.ErrTooLarge)
	}
	m, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("signed message: %w", err)
	}
	return m, nil
}

func parse(data []byte) (*Message, error) {
	data, err := der.Definite(data)
	if err != nil {
		return nil, err
	}
	r := &der.Reader{Rest: data}
	info := r.Sequence("ContentInfo")
	r.End("ContentInfo")
	if kind := info.OID("contentType"); kind != oidSignedData {
		return nil, info.Or(r.Or(ErrNotSigned))
	}
	explicit := info.Enter(der.TagContext0, "content")
	info.End("ContentInfo")
	signed := explicit.Sequence("SignedData")
	explicit.End("content")
	signed.Take(der.TagInteger, "version")
	signed.Take(der.TagSet, "digestAlgorithms")
	encap := signed.Sequence("encapContentInfo")
	m := &Message{ContentType: encap.OID("eContentType")}
	content := &der.Reader{}
	if e, ok := encap.Optional(der.TagContext0); ok {
		content = e.Inside()
		// Not nil, empty as it may be: nil is a detached message.
		m.Content = append([]byte{}, content.Take(der.TagOctetString, "eContent").Body...)
		content.End("eContent")
	}
	encap.End("encapContentInfo")
	carried, hasCarried := signed.Optional(der.TagContext0)
	signed.Optional(der.TagContext1) // revocation lists, which are fetched elsewhere
	infos := signed.Enter(der.TagSet, "signerInfos")
	signed.End("SignedData")
	if err := der.First(r, info, explicit, signed, encap, content, infos).Err; err != nil {
		return nil, err
	}
	for len(infos.Rest) > 0 {
		if len(m.Signers) == maxSigners {
			return nil, fmt.Errorf("signerInfos: %w", der.ErrTooMany)
		}
		s, err := parseSigner(infos.Sequence("SignerInfo"))
		if err = infos.Or(err); err != nil {
			return nil, err
		}
		m.Signers = append(m.Signers, s)
	}
	if !hasCarried {
		return m, nil
	}
	in := carried.Inside()
	for len(in.Rest) > 0 {
		if m.Carried == maxCertificates {
			return nil, fmt.Errorf("certificates: %w", der.ErrTooMany)
		}
		m.Carried++
		// Those that are not certificates, or cannot be read, lead to nobody.
		if c, err := pkix.ParseCertificate(in.Next("certificate").Raw); err == nil {
			m.Certificates = append(m.Certificates, c)
		}
	}
	return m, in.Err
}

func parseSigner(in *der.Reader) (s Signer, err error) {
	in.Take(der.TagInteger, "version")
	if id, ok := in.Optional(der.TagContext0Primitive); ok {
		s.keyID = id.Body
	} else {
		id := in.Sequence("issuerAndSerialNumber")
		s.issuer = id.Take(der.TagSequence, "issuer").Raw
		s.serial = id.Take(der.TagInteger, "serialNumber").Body
		id.End("issuerAndSerialNumber")
		in.Keep(id)
	}
	digest := in.Sequence("digestAlgorithm")
	s.digest = digest.OID("digestAlgorithm")
	in.Keep(digest)
	if attributes, ok := in.Optional(der.TagContext0); ok {
		// RFC 5652 section 5.4: "A separate encoding of the signedAttrs field is
		// performed for message digest calculation. The IMPLICIT [0] tag ... is not
		// used for the DER encoding, rather an EXPLICIT SET OF tag is used."
		s.attributes = bytes.Clone(attributes.Raw)
		s.attributes[0] = der.TagSet
		if err := s.readAttributes(attributes.Inside()); err != nil {
			return s, err
		}
	}
	s.algorithm = pkix.ReadAlgorithm(in, "signatureAlgorithm")
	s.signature = in.Take(der.TagOctetString, "signature").Body
	in.Optional(der.TagContext1) // unsignedAttrs
	in.End("SignerInfo")
	return s, in.Err
}

func (s *Signer) readAttributes(in *der.Reader) error {
	seen := map[string]bool{}
	for len(in.Rest) > 0 && in.Err == nil {
		attribute := in.Sequence("attribute")
		kind := attribute.OID("attrType")
		values := attribute.Enter(der.TagSet, "attrValues")
		attribute.End("attribute")
		if in.Keep(attribute, values); in.Err == nil && seen[kind] {
			return fmt.Errorf("attribute %s twice: %w", kind, der.ErrMalformed)
		}
		seen[kind] = true
		switch kind {
		case oidContentType:
			s.contentType = values.OID("contentType")
		case oidMessageDigest:
			s.messageDigest = values.Take(der.TagOctetString, "messageDigest").Body
		case oidSigningTime:
			s.SigningTime = values.Time("signingTime")
		default:
			continue
		}
		values.End("attrValues")
		in.Keep(values)
	}
	return in.Err
}

// Names reports whether the SignerIdentifier is that of a certificate.
func (s *Signer) Names(c *pkix.Certificate) bool {
	if s.keyID != nil {
		return bytes.Equal(s.keyID, c.SubjectKeyID)
	}
	return bytes.Equal(s.issuer, c.Issuer.Raw) && bytes.Equal(s.serial, c.Serial)
}

// Verify checks that the signer signed this content, of this type, with the key.
func (s *Signer) Verify(pub crypto.PublicKey, contentType string, content []byte) error {
	h, err := pkix.HashOf(s.digest)
	if err != nil {
		return err
	}
	signed := content
	if s.attributes != nil {
		// RFC 5652 section 11: both attributes are bound to be there, or a signature
		// over one kind of content could be carried to another.
		w := h.New()
		w.Write(content)
		if s.contentType != contentType || subtle.ConstantTimeCompare(s.messageDigest, w.Sum(nil)) != 1 {
			return ErrDigest
		}
		signed = s.attributes
	}
	return s.algorithm.Verify(pub, s.digest, signed, s.signature)
}

// Opened is a message of the gateway profile whose signature is right.
type Opened struct {
	Content     []byte
	Certificate *pkix.Certificate // of the signer; nobody vouches for it yet
	SigningTime time.Time         // as the signer states it; zero for none
}

// Open reads a message in the gateway profile and checks its signature under the
// certificate that it carries. detached is the content of a message without one;
// nil asks that the message brings its own.
//
// An error that wraps [ErrDigest] or [pkix.ErrSignature] says that another
// content was signed, or by another key; every other one is about the form.
func Open(data, detached []byte) (*Opened, error) {
	m, err := Parse(data)
	if err != nil {
		return nil, err
	}
	o, err := m.open(detached)
	if err != nil {
		return nil, fmt.Errorf("signed message: %w", err)
	}
	return o, nil
}

func (m *Message) open(detached []byte) (*Opened, error) {
	content := m.Content
	switch {
	case m.ContentType != Data:
		return nil, fmt.Errorf("content of type %s: %w", m.ContentType, ErrContentType)
	case content == nil && detached == nil:
		return nil, ErrDetached
	case content != nil && detached != nil && !bytes.Equal(content, detached):
		return nil, ErrContent
	case content == nil:
		content = detached
	}
	switch {
	case m.Carried != 1:
		return nil, fmt.Errorf("%d certificates: %w", m.Carried, ErrCertificates)
	case len(m.Certificates) != 1:
		return nil, fmt.Errorf("the certificate cannot be read: %w", ErrCertificates)
	case len(m.Signers) != 1:
		return nil, fmt.Errorf("%d signers: %w", len(m.Signers), ErrSigners)
	case !m.Signers[0].Names(m.Certificates[0]):
		return nil, ErrSigner
	}
	s, c := &m.Signers[0], m.Certificates[0]
	if s.digest == pkix.OIDSHA224 { // which passports have, and no gateway
		return nil, fmt.Errorf("SHA-224: %w", pkix.ErrAlgorithm)
	}
	if err := s.Verify(c.PublicKey, m.ContentType, content); err != nil {
		return nil, err
	}
	return &Opened{content, c, s.SigningTime}, nil
}
