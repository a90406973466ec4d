package masterlist

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

// Certificate is an X.509 certificate of the passport world: of an authority, a
// signer of lists or a signer of seals.
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
	algorithm algorithm
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
	text    string
	folded  string
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
	return c.algorithm.verify(issuer, "", c.RawTBS, c.signature)
}

func (c *Certificate) note(word string) {
	if !slices.Contains(c.Notes, word) {
		c.Notes = append(c.Notes, word)
	}
}

// ParseCertificate reads one certificate that fills der. No signature is
// checked.
func ParseCertificate(der []byte) (*Certificate, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("certificate: %d bytes: %w", len(der), ErrTooLarge)
	}
	c := &Certificate{Raw: der}
	r := &reader{rest: der}
	outer := r.sequence("certificate")
	r.end("certificate")
	tbs := outer.take(tagSequence, "tbsCertificate")
	c.RawTBS = tbs.raw
	c.algorithm = outer.algorithm("signatureAlgorithm")
	c.signature = outer.bits("signatureValue")
	outer.end("certificate")
	if err := first(r, outer).err; err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := c.readTBS(tbs.inside()); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func (c *Certificate) readTBS(in *reader) error {
	version, ok := in.optional(tagContext0)
	if ok {
		v := version.inside()
		if n := v.take(tagInteger, "version").body; v.err == nil && (len(n) != 1 || n[0] > 2) {
			return ErrVersion
		}
		v.end("version")
		in.keep(v)
	}
	c.Serial = in.take(tagInteger, "serialNumber").body
	if in.err == nil && (len(c.Serial) == 0 || c.Serial[0]&0x80 != 0 || len(c.Serial) > 21) {
		if len(c.Serial) == 0 || len(c.Serial) > 64 {
			return fmt.Errorf("serialNumber: %w", ErrMalformed)
		}
		c.note("negative-serial")
	}
	if inner := in.algorithm("signature"); in.err == nil && !bytes.Equal(inner.raw, c.algorithm.raw) {
		// RFC 5280 section 4.1.1.2 wants both the same; only the parameters may differ,
		// for the outer one is not under the signature.
		if inner.oid != c.algorithm.oid || inner.hash != c.algorithm.hash || inner.salt != c.algorithm.salt {
			return fmt.Errorf("signature: two algorithms: %w", ErrMalformed)
		}
		c.note("algorithms-differ")
	}
	c.Issuer = in.name("issuer")
	validity := in.sequence("validity")
	c.NotBefore, c.NotAfter = validity.time("notBefore"), validity.time("notAfter")
	validity.end("validity")
	in.keep(validity)
	c.Subject = in.name("subject")
	key := in.take(tagSequence, "subjectPublicKeyInfo")
	in.optional(0x81) // issuerUniqueID
	in.optional(0x82) // subjectUniqueID
	extensions, has := in.optional(tagContext3)
	in.end("tbsCertificate")
	if in.err != nil {
		return in.err
	}
	c.RawPublicKey = key.raw
	pub, note, err := readKey(key.inside())
	if err != nil {
		return err
	}
	if c.PublicKey = pub; note != "" {
		c.note(note)
	}
	if has {
		return c.readExtensions(extensions.inside())
	}
	return nil
}

// ParsePublicKey reads a SubjectPublicKeyInfo, as leniently as that of a
// certificate.
func ParsePublicKey(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("public key: %d bytes: %w", len(der), ErrTooLarge)
	}
	r := &reader{rest: der}
	in := r.sequence("subjectPublicKeyInfo")
	r.end("subjectPublicKeyInfo")
	pub, _, err := readKey(in)
	if err = r.or(err); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return pub, nil
}

// readKey reads a key. note is a word of [Certificate.Notes], or "".
func readKey(in *reader) (pub crypto.PublicKey, note string, err error) {
	id := in.sequence("algorithm")
	kind := id.oid("algorithm")
	bits := in.bits("subjectPublicKey")
	in.end("subjectPublicKeyInfo")
	if err := first(in, id).err; err != nil {
		return nil, "", err
	}
	switch kind {
	case oidEC:
		curve, explicit, err := readCurve(id.next("parameters"))
		if err != nil {
			return nil, "", err
		}
		if explicit {
			note = "explicit-curve"
		}
		pub, err = curve.newKey(bits)
		return pub, note, err
	case oidRSA, oidPSS:
		if null, ok := id.optional(tagNull); kind == oidRSA && (!ok || len(null.body) != 0) {
			note = "rsa-parameters"
		}
		r := &reader{rest: bits}
		k := r.sequence("RSAPublicKey")
		n, e := k.take(tagInteger, "modulus").body, k.take(tagInteger, "publicExponent").body
		k.end("RSAPublicKey")
		r.end("RSAPublicKey")
		if err := first(r, k).err; err != nil {
			return nil, "", err
		}
		modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
		if !positive(n) || !positive(e) || modulus.BitLen() > maxRSA || exponent.BitLen() > 31 || exponent.Bit(0) == 0 || exponent.Int64() < 3 {
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

func (c *Certificate) readExtensions(in *reader) error {
	list := in.sequence("extensions")
	in.end("extensions")
	in.keep(list)
	seen := map[string]bool{}
	for in.err == nil && len(list.rest) > 0 {
		e := list.sequence("extension")
		oid := e.oid("extnID")
		critical := false
		if b, ok := e.optional(tagBoolean); ok {
			critical = len(b.body) == 1 && b.body[0] != 0
		}
		value := e.take(tagOctetString, "extnValue").body
		e.end("extension")
		if in.keep(list, e); in.err != nil {
			break
		}
		switch {
		case seen[oid]:
			return fmt.Errorf("extension %s: %w", oid, ErrDuplicate)
		case len(seen) == maxExtensions:
			return fmt.Errorf("extensions: %w", ErrTooMany)
		}
		seen[oid] = true
		read, err := c.readExtension(oid, &reader{rest: value})
		switch {
		case err != nil:
			return fmt.Errorf("extension %s: %w", oid, err)
		case !read && critical:
			return fmt.Errorf("extension %s: %w", oid, ErrCritical)
		}
	}
	return in.err
}

// readExtension reads what bears on trust. It says whether the extension is
// known at all.
func (c *Certificate) readExtension(oid string, in *reader) (isKnown bool, err error) {
	switch oid {
	case extSubjectKeyID:
		c.SubjectKeyID = in.take(tagOctetString, "keyIdentifier").body
		in.end("keyIdentifier")
	case extAuthorityKeyID:
		id := in.sequence("authorityKeyIdentifier")
		if e, ok := id.optional(tagContext0Primitive); ok {
			c.AuthorityKeyID = e.body
		}
		in.keep(id)
	case extKeyUsage:
		for i, b := range in.bits("keyUsage") {
			for bit := range 8 {
				if i < 2 && b&(0x80>>bit) != 0 {
					c.KeyUsage |= 1 << (8*i + bit)
				}
			}
		}
		in.end("keyUsage")
	case extConstraints:
		c.HasConstraints = true
		s := in.sequence("basicConstraints")
		if b, ok := s.optional(tagBoolean); ok {
			c.IsAuthority = len(b.body) == 1 && b.body[0] != 0
			if c.IsAuthority && b.body[0] != 0xff { // DER has one TRUE
				c.note("odd-basic-constraints")
			}
		}
		if _, ok := s.optional(tagInteger); ok && !c.IsAuthority {
			c.note("odd-basic-constraints")
		}
		s.end("basicConstraints")
		in.end("basicConstraints")
		in.keep(s)
	case extExtKeyUsage:
		s := in.sequence("extKeyUsage")
		for s.err == nil && len(s.rest) > 0 {
			if len(c.ExtKeyUsage) == maxUsages {
				return true, ErrTooMany
			}
			c.ExtKeyUsage = append(c.ExtKeyUsage, s.oid("keyPurposeId"))
		}
		in.end("extKeyUsage")
		in.keep(s)
	case extDocumentTypeList:
		c.readDocumentTypes(in)
		return true, nil
	case extSubjectAltName:
		c.readState(in)
		return true, nil
	default:
		return slices.Contains(known, oid), nil
	}
	return true, in.err
}

// readDocumentTypes reads {version, SET OF PrintableString}. Signers have been
// made with an empty one.
func (c *Certificate) readDocumentTypes(in *reader) {
	list := in.sequence("documentTypeList")
	list.take(tagInteger, "version")
	set := list.enter(tagSet, "docTypeList")
	var types []string
	for set.err == nil && len(set.rest) > 0 && len(types) < maxUsages {
		types = append(types, string(set.next("documentType").body))
	}
	if first(in, list, set).err != nil {
		c.note("odd-extension")
		return
	}
	c.DocumentTypes = append([]string{}, types...)
}

// readState finds the locality in the alternative names.
func (c *Certificate) readState(in *reader) {
	names := in.sequence("subjectAltName")
	for names.err == nil && len(names.rest) > 0 {
		e := names.next("generalName")
		if e.tag != tagContext4 { // directoryName
			continue
		}
		inside := e.inside()
		n := inside.name("directoryName")
		if inside.err != nil {
			c.note("odd-extension")
			return
		}
		for part := range strings.SplitSeq(n.folded, "\x00") {
			if code, ok := strings.CutPrefix(part, "2.5.4.7="); ok && len(code) == 3 {
				c.State = strings.ToUpper(code)
			}
		}
	}
	if names.err != nil {
		c.note("odd-extension")
	}
}

// bits reads a BIT STRING of whole bytes, or of named bits.
func (r *reader) bits(what string) []byte {
	e := r.take(tagBitString, what)
	if r.err != nil {
		return nil
	}
	if len(e.body) == 0 || e.body[0] > 7 {
		r.fail(what, ErrMalformed)
		return nil
	}
	return e.body[1:]
}

// attributeNames are those of the attributes that names are made of.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.10": "O", "2.5.4.11": "OU", "1.2.840.113549.1.9.1": "E",
}

// name reads a distinguished name.
func (r *reader) name(what string) Name {
	e := r.take(tagSequence, what)
	n := Name{Raw: e.raw}
	var shown, folded []string
	in := e.inside()
	for in.err == nil && len(in.rest) > 0 {
		set := in.enter(tagSet, what)
		in.keep(set)
		for in.err == nil && len(set.rest) > 0 {
			if len(shown) == maxName {
				in.fail(what, ErrTooMany)
				break
			}
			pair := set.sequence(what)
			oid := pair.oid(what)
			value := pair.next(what)
			pair.end(what)
			if in.keep(set, pair); in.err != nil {
				break
			}
			text := decodeText(value)
			label := attributeNames[oid]
			switch label {
			case "":
				label = oid
			case "C":
				n.Country = strings.ToUpper(text)
			}
			shown = append(shown, label+"="+format.Visible(text))
			folded = append(folded, oid+"="+strings.ToLower(strings.Join(strings.Fields(text), " ")))
		}
	}
	r.keep(in)
	n.text, n.folded = strings.Join(shown, ", "), strings.Join(folded, "\x00")
	return n
}

// decodeText reads a directory string. Bytes that are no UTF-8 are Latin-1, the
// T.61 of practice.
func decodeText(e element) string {
	const bmpString = 0x1e
	switch {
	case e.tag == bmpString && len(e.body)%2 == 0:
		units := make([]uint16, len(e.body)/2)
		for i := range units {
			units[i] = uint16(e.body[2*i])<<8 | uint16(e.body[2*i+1])
		}
		return string(utf16.Decode(units))
	case utf8.Valid(e.body):
		return string(e.body)
	}
	runes := make([]rune, len(e.body))
	for i, b := range e.body {
		runes[i] = rune(b)
	}
	return string(runes)
}
