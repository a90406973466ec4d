package trust

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/pkix"
)

// What is wrong with how a list is kept. Words for what its document writes oddly
// are those of the document's package.
const (
	AuditDSCExpired    = ErrSignerExpired
	AuditSCAExpired    = format.Defect("sca-expired")
	AuditOnExpired     = format.Defect("on-expired-sca")
	AuditOutlives      = format.Defect("outlives-sca")
	AuditSHA1          = format.Defect("sha1-signature")
	AuditRefused       = format.Defect("x509-refused")
	AuditNotCA         = format.Defect("no-ca-true")
	AuditTooLong       = format.Defect("validity-too-long")
	AuditNoIssuer      = format.Defect("no-issuer")
	AuditBadIssuer     = format.Defect("issuer-did-not-sign")
	AuditWeak          = ErrSignerWeak
	AuditDuplicateKID  = format.Defect("duplicate-kid")
	AuditNotYet        = format.Defect("not-yet-valid")
	AuditOtherCountry  = ErrCountryMismatch
	AuditNotVerified   = format.Defect("not-verified")
	AuditNotVerifiable = format.Defect("not-verifiable")
)

// audited says what is to be mended, and by whom. A reason without a line is the
// participant's own to mend.
var audited = map[format.Defect]struct{ who, what string }{
	AuditDSCExpired:    {"network", "take it from the list, or have verifiers judge by the chain model: certificates under it may still be in use"},
	AuditSCAExpired:    {"participant", "renew the authority and have it onboarded; the network then takes the old one away"},
	AuditOnExpired:     {"participant", "issue the signer anew under an authority in force"},
	AuditOutlives:      {"participant", "issue signers that end before their authority does"},
	AuditSHA1:          {"participant", "issue it anew with SHA-256: strict verifiers do not believe SHA-1"},
	AuditRefused:       {"participant", "issue it anew as RFC 5280 has it: many programs cannot read it"},
	AuditNotCA:         {"participant", "issue the authority anew with CA:TRUE: path validation fails without"},
	AuditTooLong:       {"participant", "order shorter certificates: 4 years for an authority, 2 for a signer"},
	AuditNoIssuer:      {"network", "list the authority that issued it, or take it away"},
	AuditBadIssuer:     {"network", "find issuers by their signature: the name alone led to the wrong one"},
	AuditWeak:          {"participant", "make a new key: EC of 256 bits, RSA of 3072 (2048 for a signer)"},
	AuditDuplicateKID:  {"verifiers", "try every key of the identifier, by issuer"},
	AuditNotYet:        {"verifiers", "wait for its first day"},
	AuditOtherCountry:  {"network", "list a certificate under the country that it names"},
	AuditNotVerified:   {"you", "give the key that signs the list (--pin)"},
	AuditNotVerifiable: {"network", "publish a list that can be verified; nothing of this one is used to verify by"},

	"padded-coordinate":    {"network", "write coordinates in their full length, without zeros before them"},
	"short-coordinate":     {"network", "write coordinates in their full length"},
	"unknown-curve-name":   {"network", "write P-384 and P-521 by their registered names"},
	"jwk-differs-from-x5c": {"network", "write the key that stands in the certificate"},
	"kid-not-derived":      {"verifiers", "take the identifier as it is listed, not as it is derived"},
	"kid-differs-from-id":  {"network", "write one identifier in both places"},
	"no-x5c":               {"participant", "give a certificate: without one there are no dates"},
	"plain-code":           {"network", "write codes as {\"code\": \"#…\"}"},
	"missing-code":         {"network", "write domain, participant and usage"},
}

// AuditFinding is one thing that is wrong with one entry.
type AuditFinding struct {
	Reason      format.Defect
	Entry       string
	Participant string
	Detail      string
}

// Advice returns who should mend a finding of this kind, and how.
func Advice(reason format.Defect) (who, what string) {
	if a, ok := audited[reason]; ok {
		return a.who, a.what
	}
	return "participant", "mend the entry: it cannot be used"
}

// Longest validities by the network's guide, in days; an inclusive end gives one
// more.
const (
	maxSCADays = 4*366 + 1
	maxDSCDays = 2*366 + 1
)

// Audit says what is wrong with a source at a time. It counts entries, not
// certificates: one that stands in two domains is wrong twice.
func Audit(v *Survey, now time.Time) []AuditFinding {
	a := audit{now: now}
	switch {
	case v.Unsigned && strings.HasPrefix(v.Kind, "DID"):
		a.find(AuditNotVerifiable, "", "", "its signing key is published nowhere")
	case !v.Unsigned && !v.Verified:
		a.find(AuditNotVerified, "", "", "no pin has signed it")
	}
	for i := range v.Entries {
		e := &auditEntry{Surveyed: &v.Entries[i]}
		if e.Raw != nil {
			e.c, e.err = pkix.ParseCertificate(e.Raw)
		}
		a.entries = append(a.entries, e)
	}
	for _, e := range a.entries {
		a.judge(e)
	}
	a.duplicates()
	for _, d := range v.Drops {
		a.find(format.Defect(d.Reason), d.Entry, d.Participant, "%s", d.Detail)
	}
	return a.found
}

type auditEntry struct {
	*Surveyed
	c   *pkix.Certificate
	err error
}

type audit struct {
	now     time.Time
	entries []*auditEntry
	found   []AuditFinding
}

func (a *audit) find(reason format.Defect, entry, participant, f string, args ...any) {
	a.found = append(a.found, AuditFinding{reason, entry, participant, fmt.Sprintf(f, args...)})
}

func (a *audit) judge(e *auditEntry) {
	find := func(reason format.Defect, f string, args ...any) { a.find(reason, e.Name, e.Participant, f, args...) }
	for _, p := range e.Problems {
		find(format.Defect(p), "%s", e.Usage)
	}
	if e.Raw == nil {
		return
	}
	x, err := x509.ParseCertificate(e.Raw)
	if err != nil {
		find(AuditRefused, "%v", err)
	}
	if e.err != nil {
		find(ErrCertificate, "%v", e.err)
		return
	}
	c, authority := e.c, e.Usage == "SCA" || e.Usage == "DECA"
	days := c.NotAfter.Sub(c.NotBefore).Hours() / 24
	switch {
	case a.now.Before(c.NotBefore):
		find(AuditNotYet, "from %s", c.NotBefore.Format(time.DateOnly))
	case a.now.After(c.NotAfter) && authority:
		find(AuditSCAExpired, "until %s", c.NotAfter.Format(time.DateOnly))
	case a.now.After(c.NotAfter):
		find(AuditDSCExpired, "until %s", c.NotAfter.Format(time.DateOnly))
	}
	// Authorities of passports live as long as passports do.
	if e.Domain != VDSNC && (authority && days > maxSCADays || !authority && days > maxDSCDays) {
		find(AuditTooLong, "%.0f days", days)
	}
	if authority && !c.IsAuthority {
		find(AuditNotCA, "%.120s", c.Subject)
	}
	if c.Weak() {
		find(AuditWeak, "%T", c.PublicKey)
	}
	if x != nil && (x.SignatureAlgorithm == x509.SHA1WithRSA || x.SignatureAlgorithm == x509.ECDSAWithSHA1) {
		find(AuditSHA1, "%v", x.SignatureAlgorithm)
	}
	if want, ok := ParticipantCountry(e.Participant); ok && c.Subject.Country != want {
		find(AuditOtherCountry, "listed for %s, and the certificate says %.8q", e.Participant, c.Subject.Country)
	}
	if !authority && e.Usage == "DSC" {
		a.judgeIssuer(e, find)
	}
}

// judgeIssuer looks at the authority of a signer: the one that the list gives, or
// one of the same participant that signed it.
func (a *audit) judgeIssuer(e *auditEntry, find func(format.Defect, string, ...any)) {
	var issuer *pkix.Certificate
	if e.Issuer != nil {
		given, err := pkix.ParseCertificate(e.Issuer)
		if err != nil {
			find(AuditNoIssuer, "the issuer that is given cannot be read: %v", err)
			return
		}
		switch err := e.c.CheckSignature(given.PublicKey); {
		case err == nil, errors.Is(err, pkix.ErrWeakAlgorithm): // the algorithm is told of as such
			issuer = given
		default:
			find(AuditBadIssuer, "%.120s is given: %v", given.Subject, err)
		}
	}
	selfSigned := bytes.Equal(e.c.Issuer.Raw, e.c.Subject.Raw)
	for _, o := range a.entries {
		if issuer != nil {
			break
		}
		if o.c != nil && (o.Usage == "SCA" || o.c.IsAuthority) && o.Participant == e.Participant && o != e {
			err := e.c.CheckSignature(o.c.PublicKey)
			if err == nil || errors.Is(err, pkix.ErrWeakAlgorithm) && o.c.Subject.Equal(e.c.Issuer) {
				issuer = o.c
			}
		}
	}
	if issuer == nil {
		if e.Issuer == nil && !selfSigned && a.hasAuthorities() {
			find(AuditNoIssuer, "%.120s is named", e.c.Issuer)
		}
		return
	}
	if a.now.After(issuer.NotAfter) {
		find(AuditOnExpired, "its authority was valid until %s", issuer.NotAfter.Format(time.DateOnly))
	}
	if e.c.NotAfter.After(issuer.NotAfter) {
		find(AuditOutlives, "valid until %s, its authority until %s", e.c.NotAfter.Format(time.DateOnly), issuer.NotAfter.Format(time.DateOnly))
	}
}

// hasAuthorities reports whether the source lists authorities at all: most lists
// for verifiers do not.
func (a *audit) hasAuthorities() bool {
	return slices.ContainsFunc(a.entries, func(e *auditEntry) bool { return e.Usage == "SCA" })
}

// duplicates finds identifiers that several keys have.
func (a *audit) duplicates() {
	keys := map[string][]*auditEntry{}
	var order []string
	for _, e := range a.entries {
		if e.Usage != "DSC" {
			continue
		}
		k := string(e.Domain) + " " + string(e.KID)
		if keys[k] == nil {
			order = append(order, k)
		}
		keys[k] = append(keys[k], e)
	}
	for _, k := range order {
		entries := keys[k]
		for _, e := range entries[1:] {
			if e.Participant != entries[0].Participant || !bytes.Equal(e.Raw, entries[0].Raw) {
				var who []string
				for _, e := range entries {
					if !slices.Contains(who, e.Participant) {
						who = append(who, e.Participant)
					}
				}
				a.find(AuditDuplicateKID, entries[0].Name, entries[0].Participant, "%x: %d entries of %.200s", string(e.KID), len(entries), strings.Join(who, ", "))
				break
			}
		}
	}
}
