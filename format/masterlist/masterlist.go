// Package masterlist reads what the passport world publishes about its keys
// (ICAO Doc 9303-12): master lists, each a signed set of the certificates of
// country signing authorities (CSCA), and those certificates themselves.
//
//	ContentInfo = { id-signedData, SignedData }                    RFC 5652, BER or DER
//	SignedData  = { version, digestAlgorithms,
//	                { id-icao-cscaMasterList, OCTET STRING },      the content
//	                certificates [0], crls [1], SET OF SignerInfo }
//	CscaMasterList = { version 0, SET OF Certificate }             DER
//
// [Parse] reads a list, [List.Verify] says whose it is. [ParseCertificate] reads
// the certificates that crypto/x509 refuses and that passports depend on:
// about one in four of a list. Both are bounded, and what was forgiven is noted.
//
// Nothing here is trusted: who may sign a list, and for what its authorities
// are believed, is the caller's.
package masterlist

import (
	"bytes"
	"crypto"
	"fmt"
	"time"

	"ampoule/format"
)

// The defects of a list. Those of certificates and signatures stand beside
// their code.
const (
	ErrNotMasterList  = format.Defect("not-a-master-list")
	ErrMalformed      = format.Defect("malformed-der")
	ErrTooLarge       = format.Defect("too-large")
	ErrTooDeep        = format.Defect("nesting-too-deep")
	ErrTooMany        = format.Defect("too-many-entries")
	ErrNoSigner       = format.Defect("no-signer")
	ErrDigest         = format.Defect("digest-mismatch")
	ErrNotPinned      = format.Defect("signer-not-pinned")
	ErrSignerUsage    = format.Defect("signer-usage")
	ErrSignerValidity = format.Defect("signer-not-valid")
)

// Limits of a list. The largest of 2026 has 600 KB and 400 certificates.
const (
	MaxBytes        = 8 << 20
	MaxCertificates = 4096
	maxSigners      = 4
	maxCarried      = 16 // certificates of signers beside the list
)

// Object identifiers of CMS (RFC 5652) and of Doc 9303-12.
const (
	oidSignedData    = "1.2.840.113549.1.7.2"
	oidMasterList    = "2.23.136.1.1.2"
	oidContentType   = "1.2.840.113549.1.9.3"
	oidMessageDigest = "1.2.840.113549.1.9.4"
	oidSigningTime   = "1.2.840.113549.1.9.5"
	// usageListSigner is the extended key usage of those who sign master lists
	// (Doc 9303-12 table 6).
	usageListSigner = "2.23.136.1.1.3"
)

// List is a parsed, unverified master list.
type List struct {
	Entries []Entry
	// Carried are the certificates beside the content: of the signer, and of the
	// authority that issued it. They are the sender's word.
	Carried []*Certificate

	content []byte // as signed
	signers []signer
}

// Entry is one certificate of the list. Entries whose Err is set could not be
// read; they are kept to explain what was dropped.
type Entry struct {
	Raw         []byte
	Certificate *Certificate
	Err         error
}

// signer is one SignerInfo.
type signer struct {
	issuer, serial []byte // one form of the SignerIdentifier,
	keyID          []byte // and the other
	digest         string
	attributes     []byte // signedAttrs with the tag of a SET, as they were signed; nil for none
	messageDigest  []byte
	contentType    string
	signingTime    time.Time
	algorithm      algorithm
	signature      []byte
}

// Is reports whether data begins like a master list: a CMS message whose
// content says so. It is a look at the first bytes, not a check.
func Is(data []byte) bool {
	head := data[:min(len(data), 128)]
	signed, list := encodeOID(oidSignedData), encodeOID(oidMasterList)
	i := bytes.Index(head, signed)
	return len(data) > 0 && data[0] == 0x30 && i > 0 && i < 16 && bytes.Contains(head[i:], list)
}

// Parse reads a master list. Defects of one certificate are found in
// [Entry.Err]; nothing is verified.
func Parse(data []byte) (*List, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("master list: %d bytes, at most %d: %w", len(data), MaxBytes, ErrTooLarge)
	}
	l, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("master list: %w", err)
	}
	return l, nil
}

func parse(data []byte) (*List, error) {
	// CMS is BER, and lists with indefinite lengths are published.
	data, err := toDER(data)
	if err != nil {
		return nil, err
	}
	r := &reader{rest: data}
	info := r.sequence("ContentInfo")
	r.end("ContentInfo")
	if kind := info.oid("contentType"); kind != oidSignedData {
		return nil, info.or(r.or(ErrNotMasterList))
	}
	explicit := info.enter(tagContext0, "content")
	info.end("ContentInfo")
	signed := explicit.sequence("SignedData")
	explicit.end("content")
	signed.take(tagInteger, "version")
	signed.take(tagSet, "digestAlgorithms")
	encap := signed.sequence("encapContentInfo")
	if encap.oid("eContentType") != oidMasterList {
		return nil, first(r, info, explicit, signed, encap).or(ErrNotMasterList)
	}
	content := encap.enter(tagContext0, "eContent")
	l := &List{content: content.take(tagOctetString, "eContent").body}
	content.end("eContent")
	encap.end("encapContentInfo")
	carried, hasCarried := signed.optional(tagContext0)
	signed.optional(tagContext1) // revocation lists, which are fetched elsewhere
	infos := signed.enter(tagSet, "signerInfos")
	signed.end("SignedData")
	if err := first(r, info, explicit, signed, encap, content, infos).err; err != nil {
		return nil, err
	}
	for len(infos.rest) > 0 {
		if len(l.signers) == maxSigners {
			return nil, fmt.Errorf("signerInfos: %w", ErrTooMany)
		}
		s, err := parseSigner(infos.sequence("SignerInfo"))
		if err != nil {
			return nil, err
		}
		l.signers = append(l.signers, s)
	}
	if hasCarried {
		in := carried.inside()
		for i := 0; len(in.rest) > 0; i++ {
			if i == maxCarried {
				return nil, fmt.Errorf("certificates: %w", ErrTooMany)
			}
			e := in.next("certificate")
			// Those that are not certificates, or cannot be read, lead to nobody.
			if c, err := ParseCertificate(e.raw); err == nil {
				l.Carried = append(l.Carried, c)
			}
		}
		if in.err != nil {
			return nil, in.err
		}
	}
	return l, l.readContent()
}

// readContent reads the CscaMasterList.
func (l *List) readContent() error {
	r := &reader{rest: l.content}
	list := r.sequence("CscaMasterList")
	r.end("CscaMasterList")
	list.take(tagInteger, "version")
	set := list.enter(tagSet, "certList")
	list.end("CscaMasterList")
	if err := first(r, list, set).err; err != nil {
		return err
	}
	for len(set.rest) > 0 {
		if len(l.Entries) == MaxCertificates {
			return fmt.Errorf("certList: more than %d: %w", MaxCertificates, ErrTooMany)
		}
		e := Entry{Raw: set.next("certificate").raw}
		if set.err != nil {
			return set.err
		}
		e.Certificate, e.Err = ParseCertificate(e.Raw)
		l.Entries = append(l.Entries, e)
	}
	return nil
}

func parseSigner(in *reader) (s signer, err error) {
	in.take(tagInteger, "version")
	if id, ok := in.optional(tagContext0Primitive); ok {
		s.keyID = id.body
	} else {
		id := in.sequence("issuerAndSerialNumber")
		s.issuer = id.take(tagSequence, "issuer").raw
		s.serial = id.take(tagInteger, "serialNumber").body
		id.end("issuerAndSerialNumber")
		in.keep(id)
	}
	digest := in.sequence("digestAlgorithm")
	s.digest = digest.oid("digestAlgorithm")
	in.keep(digest)
	if attributes, ok := in.optional(tagContext0); ok {
		// RFC 5652 section 5.4: "A separate encoding of the signedAttrs field is
		// performed for message digest calculation. The IMPLICIT [0] tag ... is not
		// used for the DER encoding, rather an EXPLICIT SET OF tag is used."
		s.attributes = bytes.Clone(attributes.raw)
		s.attributes[0] = tagSet
		if err := s.readAttributes(attributes.inside()); err != nil {
			return s, err
		}
	}
	s.algorithm = in.algorithm("signatureAlgorithm")
	s.signature = in.take(tagOctetString, "signature").body
	in.optional(tagContext1) // unsignedAttrs
	in.end("SignerInfo")
	return s, in.err
}

func (s *signer) readAttributes(in *reader) error {
	seen := map[string]bool{}
	for len(in.rest) > 0 && in.err == nil {
		attribute := in.sequence("attribute")
		kind := attribute.oid("attrType")
		values := attribute.enter(tagSet, "attrValues")
		attribute.end("attribute")
		if in.keep(attribute, values); in.err == nil && seen[kind] {
			return fmt.Errorf("attribute %s twice: %w", kind, ErrMalformed)
		}
		seen[kind] = true
		switch kind {
		case oidContentType:
			s.contentType = values.oid("contentType")
		case oidMessageDigest:
			s.messageDigest = values.take(tagOctetString, "messageDigest").body
		case oidSigningTime:
			s.signingTime = values.time("signingTime")
		default:
			continue
		}
		values.end("attrValues")
		in.keep(values)
	}
	return in.err
}

// Verify checks that the list was signed under the pinned key: by it, or by a
// list signer whose certificate it issued and whose usage and validity, on the
// day of signing, say that it may. It returns the time of signing that the
// signer states (zero where it states none).
func (l *List) Verify(pin crypto.PublicKey) (time.Time, error) {
	err := error(ErrNoSigner)
	for _, s := range l.signers {
		if err = l.verify(s, pin); err == nil {
			return s.signingTime, nil
		}
	}
	return time.Time{}, err
}

func (l *List) verify(s signer, pin crypto.PublicKey) error {
	h, err := hashOf(s.digest)
	if err != nil {
		return err
	}
	signed := l.content
	if s.attributes != nil {
		// RFC 5652 section 11: both attributes are bound to be there, or a signature
		// over one kind of content could be carried to another.
		w := h.New()
		w.Write(l.content)
		if s.contentType != oidMasterList || !bytes.Equal(s.messageDigest, w.Sum(nil)) {
			return ErrDigest
		}
		signed = s.attributes
	}
	if err = s.algorithm.verify(pin, s.digest, signed, s.signature); err == nil {
		return nil
	}
	for _, c := range l.Carried {
		if !s.names(c) || s.algorithm.verify(c.PublicKey, s.digest, signed, s.signature) != nil {
			continue
		}
		switch {
		case c.CheckSignature(pin) != nil:
			return ErrNotPinned
		case !c.HasExtKeyUsage(usageListSigner):
			return ErrSignerUsage
		case s.signingTime.IsZero() || s.signingTime.Before(c.NotBefore) || s.signingTime.After(c.NotAfter):
			return ErrSignerValidity
		}
		return nil
	}
	return err
}

// names reports whether the SignerIdentifier is that of a certificate.
func (s *signer) names(c *Certificate) bool {
	if s.keyID != nil {
		return bytes.Equal(s.keyID, c.SubjectKeyID)
	}
	return bytes.Equal(s.issuer, c.Issuer.Raw) && bytes.Equal(s.serial, c.Serial)
}
