// Package pkix reads X.509 certificates and public keys (RFC 5280) as they are
// in the field: [ParseCertificate] reads those that crypto/x509 refuses and that
// passports and trust networks depend on, about one in four of an ICAO master
// list. It is bounded, and what was forgiven is noted.
//
// Nothing here is trusted: whose key may sign what is the caller's.
package pkix

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"ampoule/format"
	"ampoule/format/der"
)

// The defects of a certificate.
const (
	ErrPublicKey = format.Defect("unsupported-key")
	ErrVersion   = format.Defect("unsupported-version")
	ErrDuplicate = format.Defect("duplicate-extension")
	ErrCritical  = format.Defect("critical-extension")
)

// Limits of one certificate.
const (
	maxCertificate = 32 << 10
	maxExtensions  = 64
	maxName        = 32 // attributes of a name
	maxUsages      = 32
	maxRSA         = 16384 // bits
)

// Certificate is an X.509 certificate: of an authority, or of a signer of
// documents, seals, lists or uploads.
//
//	Certificate = { tbsCertificate, signatureAlgorithm, signatureValue }     RFC 5280
//
// The structure is read as strictly as by others. What authorities in use depart
// from and what changes nothing about whose key it is, is forgiven and stands in
// Notes:
//
//	explicit-curve            the curve is spelt out, and is one with a name
//	negative-serial           the serial number is below zero, or too long
//	rsa-parameters            rsaEncryption without its NULL
//	algorithms-differ         the two statements of the signature algorithm differ
//	odd-basic-constraints     a TRUE that is not FF, or a path length of what is no authority
//	odd-extension             an extension that does not hold what it should, and is no matter of trust
type Certificate struct {
	Raw, RawTBS     []byte
	Serial          []byte // content octets of the INTEGER
	Issuer, Subject Name
	NotBefore       time.Time
	NotAfter        time.Time
	RawPublicKey    []byte           // SubjectPublicKeyInfo
	PublicKey       crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or [*ECKey]

	SubjectKeyID   []byte
	AuthorityKeyID []byte
	// IsAuthority is basicConstraints' cA; HasConstraints says that the extension is
	// there.
	IsAuthority, HasConstraints bool
	// KeyUsage are the bits of keyUsage, the first one (digitalSignature) as 1<<0;
	// zero without the extension, which then forbids nothing.
	KeyUsage    uint16
	ExtKeyUsage []string // object identifiers in dotted form
	// DocumentTypes are those that a document signer is for (Doc 9303-12 section
	// 7.1.1), nil where the certificate has none that can be read.
	DocumentTypes []string
	// State is the three-letter code of the state that the certificate gives beside
	// the two-letter one of its subject (Doc 9303-12: localityName of the subject's
	// alternative name), "" where it gives none.
	State string

	Notes     []string
	algorithm Algorithm
	signature []byte
}

// The bits of keyUsage that matter here.
const (
	KeyUsageDigitalSignature = 1 << 0
	KeyUsageCertSign         = 1 << 5
)

// Name is a distinguished name.
type Name struct {
	Raw     []byte
	Country string // C, in capitals: some authorities write "de"
	// Countries are all of C, as they are written.
	Countries []string
	text      string
	folded    string
}

// String returns the attributes in their order, for people.
func (n Name) String() string { return n.text }

// Equal compares names as RFC 5280 section 7.1 does: kinds of string do not
// matter, nor do capitals and blanks. Authorities renew their certificates with
// UTF8String where PrintableString was.
func (n Name) Equal(o Name) bool { return n.folded == o.folded }

// HasExtKeyUsage reports whether the certificate names an extended key usage.
func (c *Certificate) HasExtKeyUsage(oid string) bool { return slices.Contains(c.ExtKeyUsage, oid) }

// Weak reports whether the key is too short to be believed.
func (c *Certificate) Weak() bool {
	k, ok := c.PublicKey.(*rsa.PublicKey)
	return ok && k.N.BitLen() < minRSA
}

// CheckSignature checks that the certificate was signed by a key. It checks
// nothing else: no name, no date, no usage. SHA-1 and short keys are refused.
func (c *Certificate) CheckSignature(issuer crypto.PublicKey) error {
	return c.algorithm.Verify(issuer, "", c.RawTBS, c.signature)
}

func (c *Certificate) note(word string) {
	if !slices.Contains(c.Notes, word) {
		c.Notes = append(c.Notes, word)
	}
}

// ParseCertificate reads one certificate that fills data. No signature is
// checked.
func ParseCertificate(data []byte) (*Certificate, error) {
	if len(data) > maxCertificate {
		return nil, fmt.Errorf("certificate: %d bytes: %w", len(data), der.ErrTooLarge)
	}
	c := &Certificate{Raw: data}
	r := &der.Reader{Rest: data}
	outer := r.Sequence("certificate")
	r.End("certificate")
	tbs := outer.Take(der.TagSequence, "tbsCertificate")
	c.RawTBS = tbs.Raw
	c.algorithm = ReadAlgorithm(outer, "signatureAlgorithm")
	c.signature = outer.Bits("signatureValue")
	outer.End("certificate")
	if err := der.First(r, outer).Err; err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := c.readTBS(tbs.Inside()); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func (c *Certificate) readTBS(in *der.Reader) error {
	version, ok := in.Optional(der.TagContext0)
	if ok {
		v := version.Inside()
		if n := v.Take(der.TagInteger, "version").Body; v.Err == nil && (len(n) != 1 || n[0] > 2) {
			return ErrVersion
		}
		v.End("version")
		in.Keep(v)
	}
	c.Serial = in.Take(der.TagInteger, "serialNumber").Body
	if in.Err == nil && (len(c.Serial) == 0 || c.Serial[0]&0x80 != 0 || len(c.Serial) > 21) {
		if len(c.Serial) == 0 || len(c.Serial) > 64 {
			return fmt.Errorf("serialNumber: %w", der.ErrMalformed)
		}
		c.note("negative-serial")
	}
	if inner := ReadAlgorithm(in, "signature"); in.Err == nil && !bytes.Equal(inner.raw, c.algorithm.raw) {
		// RFC 5280 section 4.1.1.2 wants both the same; only the parameters may differ,
		// for the outer one is not under the signature.
		if inner.oid != c.algorithm.oid || inner.hash != c.algorithm.hash || inner.salt != c.algorithm.salt {
			return fmt.Errorf("signature: two algorithms: %w", der.ErrMalformed)
		}
		c.note("algorithms-differ")
	}
	c.Issuer = readName(in, "issuer")
	validity := in.Sequence("validity")
	c.NotBefore, c.NotAfter = validity.Time("notBefore"), validity.Time("notAfter")
	validity.End("validity")
	in.Keep(validity)
	c.Subject = readName(in, "subject")
	key := in.Take(der.TagSequence, "subjectPublicKeyInfo")
	in.Optional(0x81) // issuerUniqueID
	in.Optional(0x82) // subjectUniqueID
	extensions, has := in.Optional(der.TagContext3)
	in.End("tbsCertificate")
	if in.Err != nil {
		return in.Err
	}
	c.RawPublicKey = key.Raw
	pub, note, err := readKey(key.Inside())
	if err != nil {
		return err
	}
	if c.PublicKey = pub; note != "" {
		c.note(note)
	}
	if has {
		return c.readExtensions(extensions.Inside())
	}
	return nil
}

// ParsePublicKey reads a SubjectPublicKeyInfo, as leniently as that of a
// certificate.
func ParsePublicKey(data []byte) (crypto.PublicKey, error) {
	if len(data) > maxCertificate {
		return nil, fmt.Errorf("public key: %d bytes: %w", len(data), der.ErrTooLarge)
	}
	r := &der.Reader{Rest: data}
	in := r.Sequence("subjectPublicKeyInfo")
	r.End("subjectPublicKeyInfo")
	pub, _, err := readKey(in)
	if err = r.Or(err); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return pub, nil
}

// readKey reads a key. note is a word of [Certificate.Notes], or "".
func readKey(in *der.Reader) (pub crypto.PublicKey, note string, err error) {
	id := in.Sequence("algorithm")
	kind := id.OID("algorithm")
	bits := in.Bits("subjectPublicKey")
	in.End("subjectPublicKeyInfo")
	if err := der.First(in, id).Err; err != nil {
		return nil, "", err
	}
	switch kind {
	case oidEC:
		curve, explicit, err := readCurve(id.Next("parameters"))
		if err != nil {
			return nil, "", err
		}
		if explicit {
			note = "explicit-curve"
		}
		pub, err = curve.newKey(bits)
		return pub, note, err
	case oidRSA, oidPSS:
		if null, ok := id.Optional(der.TagNull); kind == oidRSA && (!ok || len(null.Body) != 0) {
			note = "rsa-parameters"
		}
		r := &der.Reader{Rest: bits}
		k := r.Sequence("RSAPublicKey")
		n, e := k.Take(der.TagInteger, "modulus").Body, k.Take(der.TagInteger, "publicExponent").Body
		k.End("RSAPublicKey")
		r.End("RSAPublicKey")
		if err := der.First(r, k).Err; err != nil {
			return nil, "", err
		}
		modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
		if !der.Positive(n) || !der.Positive(e) || modulus.BitLen() > maxRSA || exponent.BitLen() > 31 || exponent.Bit(0) == 0 || exponent.Int64() < 3 {
			return nil, "", fmt.Errorf("RSA key: %w", ErrPublicKey)
		}
		return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, note, nil
	}
	return nil, "", fmt.Errorf("key of kind %s: %w", kind, ErrPublicKey)
}

// Object identifiers of extensions.
const (
	extSubjectKeyID     = "2.5.29.14"
	extKeyUsage         = "2.5.29.15"
	extSubjectAltName   = "2.5.29.17"
	extConstraints      = "2.5.29.19"
	extAuthorityKeyID   = "2.5.29.35"
	extExtKeyUsage      = "2.5.29.37"
	extDocumentTypeList = "2.23.136.1.1.6.2"
)

// known are further extensions that may be critical and need no reading: they
// say nothing about a key that is found in a list and used on the day.
var known = []string{
	"2.5.29.16",        // privateKeyUsagePeriod
	"2.5.29.18",        // issuerAltName
	"2.5.29.31",        // cRLDistributionPoints
	"2.5.29.32",        // certificatePolicies
	"2.23.136.1.1.6.1", // name change
}

func (c *Certificate) readExtensions(in *der.Reader) error {
	list := in.Sequence("extensions")
	in.End("extensions")
	in.Keep(list)
	seen := map[string]bool{}
	for in.Err == nil && len(list.Rest) > 0 {
		e := list.Sequence("extension")
		oid := e.OID("extnID")
		critical := false
		if b, ok := e.Optional(der.TagBoolean); ok {
			critical = len(b.Body) == 1 && b.Body[0] != 0
		}
		value := e.Take(der.TagOctetString, "extnValue").Body
		e.End("extension")
		if in.Keep(list, e); in.Err != nil {
			break
		}
		switch {
		case seen[oid]:
			return fmt.Errorf("extension %s: %w", oid, ErrDuplicate)
		case len(seen) == maxExtensions:
			return fmt.Errorf("extensions: %w", der.ErrTooMany)
		}
		seen[oid] = true
		read, err := c.readExtension(oid, &der.Reader{Rest: value})
		switch {
		case err != nil:
			return fmt.Errorf("extension %s: %w", oid, err)
		case !read && critical:
			return fmt.Errorf("extension %s: %w", oid, ErrCritical)
		}
	}
	return in.Err
}

// readExtension reads what bears on trust. It says whether the extension is
// known at all.
func (c *Certificate) readExtension(oid string, in *der.Reader) (isKnown bool, err error) {
	switch oid {
	case extSubjectKeyID:
		c.SubjectKeyID = in.Take(der.TagOctetString, "keyIdentifier").Body
		in.End("keyIdentifier")
	case extAuthorityKeyID:
		id := in.Sequence("authorityKeyIdentifier")
		if e, ok := id.Optional(der.TagContext0Primitive); ok {
			c.AuthorityKeyID = e.Body
		}
		in.Keep(id)
	case extKeyUsage:
		for i, b := range in.Bits("keyUsage") {
			for bit := range 8 {
				if i < 2 && b&(0x80>>bit) != 0 {
					c.KeyUsage |= 1 << (8*i + bit)
				}
			}
		}
		in.End("keyUsage")
	case extConstraints:
		c.HasConstraints = true
		s := in.Sequence("basicConstraints")
		if b, ok := s.Optional(der.TagBoolean); ok {
			c.IsAuthority = len(b.Body) == 1 && b.Body[0] != 0
			if c.IsAuthority && b.Body[0] != 0xff { // DER has one TRUE
				c.note("odd-basic-constraints")
			}
		}
		if _, ok := s.Optional(der.TagInteger); ok && !c.IsAuthority {
			c.note("odd-basic-constraints")
		}
		s.End("basicConstraints")
		in.End("basicConstraints")
		in.Keep(s)
	case extExtKeyUsage:
		s := in.Sequence("extKeyUsage")
		for s.Err == nil && len(s.Rest) > 0 {
			if len(c.ExtKeyUsage) == maxUsages {
				return true, der.ErrTooMany
			}
			c.ExtKeyUsage = append(c.ExtKeyUsage, s.OID("keyPurposeId"))
		}
		in.End("extKeyUsage")
		in.Keep(s)
	case extDocumentTypeList:
		c.readDocumentTypes(in)
		return true, nil
	case extSubjectAltName:
		c.readState(in)
		return true, nil
	default:
		return slices.Contains(known, oid), nil
	}
	return true, in.Err
}

// readDocumentTypes reads {version, SET OF PrintableString}. Signers have been
// made with an empty one.
func (c *Certificate) readDocumentTypes(in *der.Reader) {
	list := in.Sequence("documentTypeList")
	list.Take(der.TagInteger, "version")
	set := list.Enter(der.TagSet, "docTypeList")
	var types []string
	for set.Err == nil && len(set.Rest) > 0 && len(types) < maxUsages {
		types = append(types, string(set.Next("documentType").Body))
	}
	if der.First(in, list, set).Err != nil {
		c.note("odd-extension")
		return
	}
	c.DocumentTypes = append([]string{}, types...)
}

// readState finds the locality in the alternative names.
func (c *Certificate) readState(in *der.Reader) {
	names := in.Sequence("subjectAltName")
	for names.Err == nil && len(names.Rest) > 0 {
		e := names.Next("generalName")
		if e.Tag != der.TagContext4 { // directoryName
			continue
		}
		inside := e.Inside()
		n := readName(inside, "directoryName")
		if inside.Err != nil {
			c.note("odd-extension")
			return
		}
		for part := range strings.SplitSeq(n.folded, "\x00") {
			if code, ok := strings.CutPrefix(part, "2.5.4.7="); ok && len(code) == 3 {
				c.State = strings.ToUpper(code)
			}
		}
	}
	if names.Err != nil {
		c.note("odd-extension")
	}
}

// attributeNames are those of the attributes that names are made of.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.10": "O", "2.5.4.11": "OU", "1.2.840.113549.1.9.1": "E",
}

// readName reads a distinguished name.
func readName(r *der.Reader, what string) Name {
	e := r.Take(der.TagSequence, what)
	n := Name{Raw: e.Raw}
	var shown, folded []string
	in := e.Inside()
	for in.Err == nil && len(in.Rest) > 0 {
		set := in.Enter(der.TagSet, what)
		in.Keep(set)
		for in.Err == nil && len(set.Rest) > 0 {
			if len(shown) == maxName {
				in.Fail(what, der.ErrTooMany)
				break
			}
			pair := set.Sequence(what)
			oid := pair.OID(what)
			value := pair.Next(what)
			pair.End(what)
			if in.Keep(set, pair); in.Err != nil {
				break
			}
			text := decodeText(value)
			label := attributeNames[oid]
			switch label {
			case "":
				label = oid
			case "C":
				n.Country = strings.ToUpper(text)
				n.Countries = append(n.Countries, text)
			}
			shown = append(shown, label+"="+format.Visible(text))
			folded = append(folded, oid+"="+strings.ToLower(strings.Join(strings.Fields(text), " ")))
		}
	}
	r.Keep(in)
	n.text, n.folded = strings.Join(shown, ", "), strings.Join(folded, "\x00")
	return n
}

// decodeText reads a directory string. Bytes that are no UTF-8 are Latin-1, the
// T.61 of practice.
func decodeText(e der.Element) string {
	const bmpString = 0x1e
	switch {
	case e.Tag == bmpString && len(e.Body)%2 == 0:
		units := make([]uint16, len(e.Body)/2)
		for i := range units {
			units[i] = uint16(e.Body[2*i])<<8 | uint16(e.Body[2*i+1])
		}
		return string(utf16.Decode(units))
	case utf8.Valid(e.Body):
		return string(e.Body)
	}
	runes := make([]rune, len(e.Body))
	for i, b := range e.Body {
		runes[i] = rune(b)
	}
	return string(runes)
}
