package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format"
)

// Role is what a certificate is for: a code of the GDHCN's KeyUsage code system.
type Role string

// The roles of a participant's certificates.
const (
	RoleSCA Role = "SCA" // signing certificate authority: issues document signers
	RoleDSC Role = "DSC" // document signer: signs health certificates
	RoleUP  Role = "UP"  // upload: signs what is sent to the gateway
	RoleTLS Role = "TLS" // connects to the gateway
)

// Objections to a certificate, as the onboarding of the WHO's network would make
// them.
const (
	ErrProfileCountry     = format.Defect("country")             // not one C of two upper-case letters
	ErrCountryMismatch    = format.Defect("country-mismatch")    // C is another's than the folder's
	ErrProfileKey         = format.Defect("weak-key")            // EC below 256 bits, RSA below 3072 (2048 for a DSC), or of another kind
	ErrProfileAlgorithm   = format.Defect("signature-algorithm") // of the certificate
	ErrProfileValidity    = format.Defect("validity")            // longer or shorter than the role allows
	ErrProfileConstraints = format.Defect("basic-constraints")   // CA:TRUE where it must not be, or missing
	ErrProfilePath        = format.Defect("path-length")
	ErrProfileKeyUsage    = format.Defect("key-usage")
	ErrProfileExtKeyUsage = format.Defect("ext-key-usage")
	ErrProfileIdentifier  = format.Defect("key-identifier")
	ErrProfileRole        = format.Defect("unknown-role")
)

// Objections to a participant's folder.
const (
	ErrMaterialUnique  = format.Defect("not-unique")   // the certificate, or its key, stands elsewhere for another party, environment or role
	ErrMaterialMissing = format.Defect("role-missing") // a domain lacks a role
	ErrMaterialPlace   = format.Defect("unexpected-file")
	ErrMaterialSecret  = format.Defect("private-key") // a private key in what is handed over
	ErrMaterialPeriod  = format.Defect("not-in-force")
	ErrMaterialChain   = format.Defect("no-authority") // neither self-signed nor signed by the CA.pem beside it
	ErrMaterialName    = format.Defect("bad-participant")
)

// countryOID is the attribute type C of a name (X.520).
var countryOID = asn1.ObjectIdentifier{2, 5, 4, 6}

// Objection is one place where a certificate departs from the profile of its
// role.
type Objection struct {
	Reason format.Defect
	Detail string
}

// CheckProfile returns what the WHO's onboarding would object to in a
// certificate, nil for a good one.
//
// For SCA, UP and TLS the rules are those that the network's participant
// template runs on every request (its tests of subject, key length, signature
// algorithm, basic constraints, key usages and validity range). Document
// signers are uploaded later, not onboarded; theirs are those of the HCERT
// specification and of the template's signer configuration, so RSA may have
// 2048 bits.
//
// The period of a certificate is judged, not whether it holds now.
func CheckProfile(c *x509.Certificate, role Role) []Objection {
	var found []Objection
	object := func(reason format.Defect, f string, args ...any) {
		found = append(found, Objection{reason, fmt.Sprintf(f, args...)})
	}

	// The subject names one country.
	var countries []any
	for _, a := range c.Subject.Names {
		if a.Type.Equal(countryOID) {
			countries = append(countries, a.Value)
		}
	}
	if len(countries) != 1 {
		object(ErrProfileCountry, "the subject has %d country attributes (C), want 1", len(countries))
	} else if s, ok := countries[0].(string); !ok || !format.IsCapitals(s, 2) {
		object(ErrProfileCountry, "the country is %q, want two upper-case letters", countries[0])
	}

	// Keys. The network's RSA minimum is 3072 bits, HCERT's is 2048.
	least := 3072
	if role == RoleDSC {
		least = minRSA
	}
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n < 256 {
			object(ErrProfileKey, "the EC key has %d bits, want 256 or more", n)
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < least {
			object(ErrProfileKey, "the RSA key has %d bits, want %d or more", n, least)
		}
	default: // DSA, too: the template's checks still allow it, and nobody should
		object(ErrProfileKey, "the key type %T is not supported", c.PublicKey)
	}

	switch c.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.SHA256WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
	default:
		object(ErrProfileAlgorithm, "the signature algorithm %v is not allowed", c.SignatureAlgorithm)
	}

	// Years have 365 or 366 days, and a day is given for inclusive ends.
	days := c.NotAfter.Sub(c.NotBefore).Hours() / 24
	period := func(from, to int) {
		if days <= float64(365*from-1) || days >= float64(366*to) {
			object(ErrProfileValidity, "%s is valid for %.0f days, want %d to %d years", role, days, from, to)
		}
	}
	signs := func() {
		if c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
			object(ErrProfileKeyUsage, "%s lacks the key usage digitalSignature", role)
		}
		// The template's own client certificates have keyCertSign. Without CA:TRUE
		// nobody follows it; in a document signer it is refused all the same.
		forbidden := x509.KeyUsageCRLSign
		if role == RoleDSC {
			forbidden |= x509.KeyUsageCertSign
		}
		if c.KeyUsage&forbidden != 0 {
			object(ErrProfileKeyUsage, "%s has a key usage of an authority", role)
		}
		if c.BasicConstraintsValid && c.IsCA {
			object(ErrProfileConstraints, "%s has CA:TRUE", role)
		}
	}
	switch role {
	case RoleSCA:
		period(2, 4)
		if !c.BasicConstraintsValid || !c.IsCA {
			object(ErrProfileConstraints, "SCA lacks the basic constraint CA:TRUE")
		}
		// Go has MaxPathLen 0 for both "absent" and "0"; MaxPathLenZero tells them
		// apart. The template takes either, its configuration has 0, and only 0
		// stops a document signer from becoming an authority.
		if c.MaxPathLen != 0 || !c.MaxPathLenZero {
			object(ErrProfilePath, "SCA lacks the path length 0")
		}
		if c.KeyUsage&x509.KeyUsageCertSign == 0 || c.KeyUsage&x509.KeyUsageCRLSign == 0 {
			object(ErrProfileKeyUsage, "SCA lacks the key usages keyCertSign and cRLSign")
		}
		if len(c.SubjectKeyId) == 0 {
			object(ErrProfileIdentifier, "SCA lacks a subject key identifier")
		}
	case RoleUP:
		period(1, 2)
		signs()
	case RoleTLS:
		period(1, 2)
		signs()
		if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
			object(ErrProfileExtKeyUsage, "TLS lacks the extended key usage clientAuth")
		}
	case RoleDSC:
		signs()
		if !c.NotAfter.After(c.NotBefore.Add(time.Second)) {
			object(ErrProfileValidity, "DSC is never valid")
		}
		if len(c.AuthorityKeyId) == 0 {
			object(ErrProfileIdentifier, "DSC lacks an authority key identifier")
		}
		if len(c.ExtKeyUsage) > 0 {
			object(ErrProfileExtKeyUsage, "DSC has an extended key usage that is not of health certificates")
		}
		for _, oid := range c.UnknownExtKeyUsage {
			if n := len(oid) - 1; n < 0 || oid[n] < 1 || oid[n] > 3 || !oid[:n].Equal(usageArc) {
				object(ErrProfileExtKeyUsage, "DSC has the unknown extended key usage %v", oid)
			}
		}
	default:
		object(ErrProfileRole, "unknown role %q", role)
	}
	return found
}

// virtual are participants for tests whose two letters are not the last two of
// the three (the network's own checks have this table).
var virtual = map[string]string{"XCL": "XL", "XML": "XM", "XJA": "JA"}

// ParticipantCountry returns the two letters that the certificates of a
// participant name as their country: those of ISO 3166-1, and of a virtual
// participant (XXA) mostly the last two.
func ParticipantCountry(participant string) (string, bool) {
	if country, ok := cert.Alpha2(participant); ok {
		return country, true
	}
	if country, ok := virtual[participant]; ok {
		return country, true
	}
	if format.IsCapitals(participant, 3) && strings.HasPrefix(participant, "XX") {
		return participant[1:], true
	}
	return "", false
}

// CountryParticipant is the way back; a code that nobody has stays as it is.
func CountryParticipant(country string) string {
	if three, ok := cert.Alpha3(country); ok {
		return three
	}
	for participant, two := range virtual {
		if two == country {
			return participant
		}
	}
	if format.IsCapitals(country, 2) && country[0] == 'X' {
		return "X" + country
	}
	return country
}

// Material is one file of what a participant hands over for onboarding, by its
// path in the participant's template:
//
//	onboarding/<DOMAIN>/{SCA,UP,TLS}/<name>.pem     one certificate each
//	onboarding/<DOMAIN>/TLS/CA.pem                  who issued TLS certificates that are not self-signed
//	onboarding/<DOMAIN>/{DECA,ISSUER,REFERENCES}/…  not judged here
type Material struct {
	Path string
	Data []byte
}

// Known is a certificate that another participant, or the same one in another
// environment, has handed over before.
type Known struct {
	Participant, Environment string
	Certificate              []byte
}

// MaterialFinding is one objection to a participant's material.
type MaterialFinding struct {
	Path   string
	Reason format.Defect
	Detail string
}

// materialRoles are those that each domain must have.
var materialRoles = []Role{RoleSCA, RoleUP, RoleTLS}

// CheckMaterial repeats what the WHO checks before its trust anchor signs a
// participant's certificates: that each is of the profile of its folder, names
// the participant's country, is in force, is used for one thing only and by
// nobody else, and that every domain has all it needs. No finding means that
// nothing is in the way.
func CheckMaterial(participant string, files []Material, known []Known, now time.Time) []MaterialFinding {
	m := materialCheck{participant: participant, now: now, seen: map[[sha256.Size]byte]usedFor{}}
	var ok bool
	if m.country, ok = ParticipantCountry(participant); !ok {
		m.object("", ErrMaterialName, "%q is no participant: three letters of ISO 3166-1, or XXA to XXZ", participant)
	}
	for _, k := range known {
		if c, err := x509.ParseCertificate(k.Certificate); err == nil {
			m.seen[sha256.Sum256(c.RawSubjectPublicKeyInfo)] = usedFor{party: k.Participant, environment: k.Environment}
		}
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b Material) int { return strings.Compare(a.Path, b.Path) })
	issuers := map[string][]byte{} // by folder
	for _, f := range files {
		if path.Base(f.Path) == "CA.pem" {
			issuers[path.Dir(f.Path)] = f.Data
		}
	}
	have := map[string]map[Role]bool{}
	for _, f := range files {
		parts := strings.Split(f.Path, "/")
		if bytes.Contains(f.Data, []byte("PRIVATE KEY-----")) {
			m.object(f.Path, ErrMaterialSecret, "a private key must never leave its owner; replace the key pair")
			continue
		}
		if len(parts) != 4 || parts[0] != "onboarding" {
			m.object(f.Path, ErrMaterialPlace, "want onboarding/<DOMAIN>/<ROLE>/<name>.pem")
			continue
		}
		domain, role := parts[1], Role(parts[2])
		switch {
		case slices.Contains([]string{"DECA", "ISSUER", "REFERENCES"}, parts[2]):
		case !slices.Contains(materialRoles, role) || path.Ext(f.Path) != ".pem":
			m.object(f.Path, ErrMaterialPlace, "want onboarding/<DOMAIN>/<ROLE>/<name>.pem, the role SCA, UP or TLS")
		case parts[3] == "CA.pem":
		default:
			if m.file(f, role, issuers[path.Dir(f.Path)]) {
				if have[domain] == nil {
					have[domain] = map[Role]bool{}
				}
				have[domain][role] = true
			}
		}
	}
	var domains []string
	for d := range have {
		domains = append(domains, d)
	}
	slices.Sort(domains)
	if len(domains) == 0 {
		m.object("onboarding", ErrMaterialMissing, "there is no certificate in it")
	}
	for _, d := range domains {
		for _, r := range materialRoles {
			if !have[d][r] {
				m.object("onboarding/"+d, ErrMaterialMissing, "it has no %s certificate", r)
			}
		}
	}
	return m.found
}

type usedFor struct {
	party, environment string
	role               Role
}

type materialCheck struct {
	participant, country string
	now                  time.Time
	seen                 map[[sha256.Size]byte]usedFor // by public key
	found                []MaterialFinding
}

func (m *materialCheck) object(file string, reason format.Defect, f string, args ...any) {
	m.found = append(m.found, MaterialFinding{file, reason, fmt.Sprintf(f, args...)})
}

// file judges one certificate, and reports whether there is one.
func (m *materialCheck) file(f Material, role Role, issuer []byte) bool {
	block, rest := pem.Decode(f.Data)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		m.object(f.Path, ErrCertificate, "want one CERTIFICATE in PEM and nothing after it")
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		m.object(f.Path, ErrCertificate, "%v", err)
		return false
	}
	for _, o := range CheckProfile(c, role) {
		m.object(f.Path, o.Reason, "%s", o.Detail)
	}
	if len(c.Subject.Country) == 1 && m.country != "" && c.Subject.Country[0] != m.country {
		m.object(f.Path, ErrCountryMismatch, "the country is %q, and %s is %q", c.Subject.Country[0], m.participant, m.country)
	}
	if m.now.Before(c.NotBefore) || m.now.After(c.NotAfter) {
		m.object(f.Path, ErrMaterialPeriod, "it is valid from %s to %s", c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly))
	}
	m.signed(f.Path, c, issuer)
	m.unique(f.Path, c, role)
	return true
}

// signed checks that a certificate is vouched for by itself or by the authority
// beside it. Go's own check asks a self-signed certificate for CA:TRUE.
func (m *materialCheck) signed(file string, c *x509.Certificate, issuer []byte) {
	if c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
		return
	}
	for rest := issuer; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if ca, err := x509.ParseCertificate(block.Bytes); err == nil && ca.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
			return
		}
	}
	m.object(file, ErrMaterialChain, "it is not self-signed, and no CA.pem beside it signed it")
}

// unique finds a key that is used twice. One participant may use a certificate in
// several of its domains.
func (m *materialCheck) unique(file string, c *x509.Certificate, role Role) {
	key := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	own := usedFor{party: m.participant, role: role}
	before, used := m.seen[key]
	switch {
	case !used:
		m.seen[key] = own
	case before.party != m.participant:
		m.object(file, ErrMaterialUnique, "%s has handed over the same key", before.party)
	case before.environment != "":
		m.object(file, ErrMaterialUnique, "the same key is in the environment %s", before.environment)
	case before.role != role:
		m.object(file, ErrMaterialUnique, "the same key is the participant's %s", before.role)
	}
}
