package trust

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/masterlist"
	"ampoule/format/pkix"
)

// VDSNC is the domain of visible digital seals. Nobody lists their signers: a
// seal carries its signer's certificate, which must lead to an [Authority].
const VDSNC Domain = "VDS-NC"

// The reasons for which the signer's certificate in a seal is not believed. For
// the first two there is no key at all; the others stand beside one.
const (
	ErrUnknownIssuer    = format.Defect("unknown-issuer")
	ErrChain            = format.Defect("chain-not-valid")
	ErrSignerRevoked    = format.Defect("dsc-revoked")
	ErrSignerState      = format.Defect("issuer-mismatch")
	ErrSignerUsage      = format.Defect("key-usage")
	ErrSignerWeak       = format.Defect("weak-key")
	ErrSignerEarly      = format.Defect("dsc-not-yet-valid")
	ErrSignerExpired    = format.Defect("dsc-expired")
	ErrAuthorityEarly   = format.Defect("csca-not-yet-valid")
	ErrAuthorityExpired = format.Defect("csca-expired")
	ErrNotAuthority     = format.Defect("not-an-authority")
)

// usageSeal is the extended key usage of those who sign seals, and documentSeal
// the document type of their certificates (VDS-NC section on certificates).
const (
	usageSeal    = "2.23.136.1.1.14.2"
	documentSeal = "NV"
)

// SignsSeals reports whether a certificate is one of those who sign seals.
func SignsSeals(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.UnknownExtKeyUsage, func(id asn1.ObjectIdentifier) bool { return id.String() == usageSeal })
}

// Authority is a country signing authority (CSCA): the root of one state's
// passports and seals. It signs certificates, never seals.
type Authority struct {
	Participant string // three-letter code of Doc 9303-3: what seals name as their issuer
	Country     string // C of the subject, two letters
	ID          KeyID  // subject key identifier; "" where the certificate has none
	Public      crypto.PublicKey
	Subject     pkix.Name // empty for a bare key
	NotBefore   time.Time // zero for a bare key
	NotAfter    time.Time
	Source      string
	Notes       []string
	fingerprint [sha256.Size]byte
}

// NewAuthority makes an authority from its certificate. The participant is that
// of the certificate's country; the source is the caller's.
//
// The certificate's own signature is not asked for: whoever gives it, a signed
// list or an operator, vouches for it, and a self-signature adds nothing. So a
// SHA-1 in it harms nobody; under a signer's certificate it does.
func NewAuthority(der []byte) (*Authority, error) {
	c, err := pkix.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	switch {
	case !c.IsAuthority || c.KeyUsage != 0 && c.KeyUsage&pkix.KeyUsageCertSign == 0:
		return nil, ErrNotAuthority
	case c.Weak():
		return nil, ErrSignerWeak
	}
	a := &Authority{
		Country: c.Subject.Country, ID: KeyID(c.SubjectKeyID), Public: c.PublicKey, Subject: c.Subject,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Notes: c.Notes, fingerprint: sha256.Sum256(der),
	}
	if a.Participant = stateOf(a.Country); a.Participant == "" {
		a.Participant = c.State
	}
	if a.Participant == "" { // of no state that is known: no seal can name it
		a.Participant = a.Country
	}
	return a, nil
}

// NewBareAuthority makes an authority of a key whose certificate is not at hand.
// Signers name it by its identifier.
func NewBareAuthority(participant string, id KeyID, pub crypto.PublicKey) *Authority {
	a := &Authority{Participant: participant, ID: id, Public: pub}
	a.Country, _ = countryOf(participant)
	if a.fingerprint = newBareKey(pub).fingerprint; a.fingerprint == [sha256.Size]byte{} {
		// The standard library cannot write it.
		if k, ok := pub.(*pkix.ECKey); ok {
			a.fingerprint = sha256.Sum256(append([]byte(k.Curve.Name), k.Bytes()...))
		}
	}
	return a
}

// states are the codes of Doc 9303-3 section 5 that are no countries of ISO
// 3166-1, by the two letters that certificates have for them.
var states = map[string]string{
	"EU": "EUE", // laissez-passer of the European Union
	"KS": "RKS", // Kosovo, as passports write it
	"UN": "UNO", // laissez-passer of the United Nations
	"UT": "UTO", // Utopia, the state of specimens
}

// stateOf returns the three-letter code of a country, or "".
func stateOf(country string) string {
	if state, ok := states[country]; ok {
		return state
	}
	state, _ := cert.Alpha3(country)
	return state
}

// countryOf is the way back.
func countryOf(state string) (string, bool) {
	for country, s := range states {
		if s == state {
			return country, true
		}
	}
	return cert.Alpha2(state)
}

// sameState compares the issuing state that a seal names with a participant.
// Germany is D in passports, and Kosovo has the code of its passports and that
// of everybody else.
func sameState(state, participant string) bool {
	plain := func(s string) string {
		if three := stateOf(s); three != "" { // of a file that an operator gave
			s = three
		}
		switch s {
		case "D":
			return "DEU"
		case "RKS":
			return "XKX"
		}
		return s
	}
	return state != "" && plain(state) == plain(participant)
}

// authorities are held apart from keys: no identifier in a certificate leads to
// one, so that none can be used as a signer by mistake.
type authorities struct {
	order []*Authority
	byID  map[KeyID][]*Authority
}

// InsertAuthority adds an authority. One that is there already is dropped.
func (l *List) InsertAuthority(a *Authority) {
	same := func(o *Authority) bool { return o.fingerprint == a.fingerprint && o.Participant == a.Participant }
	if slices.ContainsFunc(l.authorities.byID[a.ID], same) {
		l.drop(a.Source, a.Subject.String(), a.Participant, ErrDuplicate)
		return
	}
	if l.authorities.byID == nil {
		l.authorities.byID = make(map[KeyID][]*Authority)
	}
	l.authorities.byID[a.ID] = append(l.authorities.byID[a.ID], a)
	l.authorities.order = append(l.authorities.order, a)
}

// Authorities returns every authority in the order of the sources. The caller
// must not change it.
func (l *List) Authorities() []*Authority {
	if l == nil {
		return nil
	}
	return l.authorities.order
}

// VerifySigner finds out whose the certificate in a seal is. It must have been
// given by an operator's own file, or be signed by an authority of the list that
// bears the name of its issuer. state is the issuing state that the seal names.
//
// No key means that nobody of the list vouches for it (unknown-issuer), or that
// it uses the name or key identifier of an authority that did not sign it
// (chain-not-valid). A key with an error is one whose chain holds and that is
// not to be believed: the seal's signature can be checked all the same, and the
// reason given.
//
// The model is the shell: signer and authority must both be valid now. A state
// makes its authority outlive every signer (Doc 9303-12 section 5), so that
// an expired one above a valid signer is a fault. One key in several
// certificates of a list is valid while one of them is.
func (l *List) VerifySigner(der []byte, state string, now time.Time) (*Key, error) {
	if k, err := l.pinnedSigner(der, state, now); k != nil {
		return k, err
	}
	c, err := pkix.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	candidates := l.issuersOf(c)
	if len(candidates) == 0 {
		return nil, fmt.Errorf("%.120s: %w", c.Issuer, ErrUnknownIssuer)
	}
	var chosen *Authority
	var problem, refused error
	for _, a := range candidates {
		if err := a.signed(c); err != nil {
			refused = err
			continue
		}
		p := signerProblem(c, a, state, now)
		if chosen == nil || p == nil {
			chosen, problem = a, p
		}
		if p == nil {
			break
		}
	}
	if chosen == nil {
		return nil, fmt.Errorf("%w: %.120s did not sign it: %w", ErrChain, c.Issuer, refused)
	}
	return &Key{
		Domain: VDSNC, Participant: chosen.Participant, Country: chosen.Country,
		ID: DeriveKeyID(der), Public: c.PublicKey, Algorithm: cose.KeyAlgorithm(c.PublicKey),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Weak: c.Weak(), Subject: c.Subject.String(),
		Source: chosen.Source, Notes: c.Notes, fingerprint: sha256.Sum256(der),
	}, problem
}

// pinnedSigner looks for the very certificate among the keys that an operator
// trusts by having their files: nothing is asked of its chain and usage then.
func (l *List) pinnedSigner(der []byte, state string, now time.Time) (*Key, error) {
	fingerprint := sha256.Sum256(der)
	var found *Key
	for _, k := range l.Keys(Scope{Domain: VDSNC}, DeriveKeyID(der)) {
		if k.fingerprint == fingerprint && (found == nil || k.Revoked) {
			found = k
		}
	}
	switch {
	case found == nil:
		return nil, nil
	case found.Revoked:
		return found, ErrSignerRevoked
	case !sameState(state, found.Participant):
		return found, fmt.Errorf("the signer is %s's: %w", found.Participant, ErrSignerState)
	}
	return found, period(now, found.NotBefore, found.NotAfter, ErrSignerEarly, ErrSignerExpired)
}

// issuersOf returns the authorities that may have signed a certificate: those of
// its key identifier, then those of its issuer's name.
func (l *List) issuersOf(c *pkix.Certificate) []*Authority {
	if l == nil {
		return nil
	}
	var found []*Authority
	if len(c.AuthorityKeyID) > 0 {
		found = append(found, l.authorities.byID[KeyID(c.AuthorityKeyID)]...)
	}
	// An identifier is a hint: authorities have been listed with another one than
	// their signers carry, or with none.
	for _, a := range l.authorities.order {
		if a.Subject.Raw != nil && a.Subject.Equal(c.Issuer) && !slices.Contains(found, a) {
			found = append(found, a)
		}
	}
	return found[:min(len(found), maxCandidates)]
}

// signed checks that the authority issued a certificate: by its name (RFC 5280
// section 6.1.3) and by its key.
func (a *Authority) signed(c *pkix.Certificate) error {
	if a.Subject.Raw != nil && !a.Subject.Equal(c.Issuer) {
		return fmt.Errorf("the issuer's name is not %s: %w", a.Subject, pkix.ErrSignature)
	}
	return c.CheckSignature(a.Public)
}

// signerProblem says why a certificate whose chain holds is not to be believed.
func signerProblem(c *pkix.Certificate, a *Authority, state string, now time.Time) error {
	switch {
	case !sameState(state, a.Participant):
		return fmt.Errorf("the seal is %.8q, and its signer is %s's: %w", state, a.Participant, ErrSignerState)
	case a.Country != "" && c.Subject.Country != a.Country:
		// "The countryCode MUST match the countryCode in the subject field" of the
		// authority (Doc 9303-12 table 6).
		return fmt.Errorf("the signer's own country is %.8q: %w", c.Subject.Country, ErrSignerState)
	case c.Weak():
		return ErrSignerWeak
	}
	if err := sealUsage(c); err != nil {
		return err
	}
	if err := period(now, c.NotBefore, c.NotAfter, ErrSignerEarly, ErrSignerExpired); err != nil {
		return err
	}
	return period(now, a.NotBefore, a.NotAfter, ErrAuthorityEarly, ErrAuthorityExpired)
}

// sealUsage checks that the certificate is for signing seals. The authority
// also signs those who make passports, in far greater numbers and with other
// care, and none of those may sign a seal. So the extended key usage must be
// there, though ICAO's sample of 2021 lacks it: an operator who wants such a
// signer gives its certificate as a file. The list of document types must name
// seals where it can be read; an empty one occurs.
func sealUsage(c *pkix.Certificate) error {
	switch {
	case c.IsAuthority:
		return fmt.Errorf("it is an authority's: %w", ErrSignerUsage)
	case c.KeyUsage != 0 && c.KeyUsage&pkix.KeyUsageDigitalSignature == 0:
		return fmt.Errorf("it may not sign: %w", ErrSignerUsage)
	case !c.HasExtKeyUsage(usageSeal):
		return fmt.Errorf("it is not for seals: %w", ErrSignerUsage)
	case c.DocumentTypes != nil && !slices.Contains(c.DocumentTypes, documentSeal):
		return fmt.Errorf("it is for other documents: %w", ErrSignerUsage)
	}
	return nil
}

func period(now, from, to time.Time, early, expired error) error {
	switch {
	case to.IsZero(): // a bare key: its owner said for how long by trusting it
		return nil
	case now.Before(from):
		return fmt.Errorf("from %s: %w", from.Format(time.DateOnly), early)
	case now.After(to):
		return fmt.Errorf("until %s: %w", to.Format(time.DateOnly), expired)
	}
	return nil
}

// addMasterList reads a master list of passport authorities (Doc 9303-12).
func (l *List) addMasterList(s Source) error {
	if len(s.Pins) == 0 {
		return fmt.Errorf("a master list must be checked under a key that is pinned (--pin): its signer's certificate, or that of the authority that issued it: %w", ErrNoPin)
	}
	doc, err := masterlist.Parse(s.Data)
	if err != nil {
		return err
	}
	for _, pin := range s.Pins {
		if _, err = doc.Verify(pin); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	for i, e := range doc.Entries {
		name := fmt.Sprintf("certificate %d", i)
		a, err := NewAuthority(e.Raw)
		if err != nil {
			participant := ""
			if e.Certificate != nil {
				name, participant = name+": "+e.Certificate.Subject.String(), e.Certificate.Subject.Country
			}
			l.drop(s.Name, name, participant, err)
			continue
		}
		a.Source = s.Name
		l.InsertAuthority(a)
	}
	return nil
}
