// Package trust knows which keys may have signed a certificate: the keys of the
// participants of a trust network, by domain, with the dates, usages and
// restrictions under which each may be believed.
//
// A [List] is filled from documents of several kinds by [List.Add] and then
// only read. A key identifier is a hint of 64 bits that two participants may
// share, by chance or on purpose, so [List.Keys] returns every key that carries
// it and a verifier tries them all. The participant is the one the list names
// for the key, never what a certificate says of itself.
//
// Every entry of a source that does not become a key leaves a [Drop] with its
// reason: a verifier that refuses a country's certificates must be able to say
// which line of which list is to blame.
package trust

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cose"
)

// KeyID is a key identifier as it stands in certificates: raw bytes, usually
// the first eight of the SHA-256 of the signer's certificate (HCERT appendix
// A.1), though three and thirty-two of them occur.
type KeyID string

// DeriveKeyID computes the identifier of a certificate (HCERT appendix A.1).
func DeriveKeyID(der []byte) KeyID {
	sum := sha256.Sum256(der)
	return KeyID(sum[:8])
}

// Domain is a purpose of the trust network for which keys are listed (GDHCN
// CodeSystem of domains).
type Domain string

// The domains of the formats that Ampoule reads. AnyDomain belongs to keys that
// an operator trusts for everything.
const (
	AnyDomain  Domain = ""
	DCC        Domain = "DCC"
	DDCC       Domain = "DDCC"
	ICVP       Domain = "ICVP"
	PH4H       Domain = "PH4H"
	Pilgrimage Domain = "IPS-PILGRIMAGE"
	SHC        Domain = "SHC"   // SMART Health Cards: their issuers' own trust, not the WHO's
	DIVOC      Domain = "DIVOC" // keys by the DID URL that a certificate names
)

// domainAliases are spellings seen for one domain: the guide says ICVP, the
// gateway's configuration DICVP, its onboarding tests dICVP.
var domainAliases = map[string]Domain{"DICVP": ICVP, "IPS": Pilgrimage}

// ParseDomain returns the domain that a list names.
func ParseDomain(code string) Domain {
	upper := strings.ToUpper(code)
	if d, ok := domainAliases[upper]; ok {
		return d
	}
	return Domain(upper)
}

// Usage is what a key may sign, as a set. The zero set means anything.
type Usage uint8

// The usages of the extended key usage OIDs (HCERT appendix A.2).
const (
	UsageTest Usage = 1 << iota
	UsageVaccination
	UsageRecovery
)

// Allows reports whether a key of usages u may sign for a purpose.
func (u Usage) Allows(purpose Usage) bool { return u == 0 || u&purpose != 0 }

func (u Usage) String() string {
	var words []string
	for i, w := range [...]string{"test", "vaccination", "recovery"} {
		if u&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return "any"
	}
	return strings.Join(words, "+")
}

// The arc of the usages. The legacy one has a stray zero, and certificates made
// with it are still in use.
var (
	usageArc       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 1847, 2021, 1}
	legacyUsageArc = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 0, 1847, 2021, 1}
)

func usagesOf(c *x509.Certificate) (u Usage) {
	for _, oid := range c.UnknownExtKeyUsage {
		n := len(oid) - 1
		if n < 0 || oid[n] < 1 || oid[n] > 3 {
			continue
		}
		if arc := oid[:n]; arc.Equal(usageArc) || arc.Equal(legacyUsageArc) {
			u |= 1 << (oid[n] - 1)
		}
	}
	return u
}

// minRSA is the least RSA modulus in bits (HCERT section 3.3.2 and the onboarding
// rules of the GDHCN). Smaller ones are kept, so that a verdict can say why.
const minRSA = 2048

// Key is one key of one participant in one domain.
type Key struct {
	Domain      Domain
	Participant string // as the list names it: XXA, AT
	Issuer      string // address that its certificates must name as theirs, letter by letter; "" for any
	Country     string // C of the certificate's subject, ISO 3166-1 alpha-2 or a virtual code; of a bare key, the participant's
	ID          KeyID
	Public      crypto.PublicKey
	Algorithm   cose.Algorithm // the one that fits the key; NoAlgorithm if HCERT has none
	Usages      Usage
	NotBefore   time.Time // zero for a key without a certificate
	NotAfter    time.Time
	CRLVersion  int64 // counter of the card revocation list that its owner announces; 0 for none
	Weak        bool  // the modulus is too short
	Revoked     bool  // the list keeps the key, to refuse it
	Subject     string
	Source      string
	Notes       []string // quirks of the entry that do not matter for believing it
	fingerprint [sha256.Size]byte
}

// NewKey makes a key from a signer's certificate. The identifier is the derived
// one; domain, participant and source are the caller's.
func NewKey(der []byte) (*Key, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		// The parser's own words may quote the certificate, which is public.
		return nil, fmt.Errorf("%w: %v", ErrCertificate, err)
	}
	k := &Key{
		ID:          DeriveKeyID(der),
		Public:      c.PublicKey,
		Algorithm:   cose.KeyAlgorithm(c.PublicKey),
		Usages:      usagesOf(c),
		NotBefore:   c.NotBefore,
		NotAfter:    c.NotAfter,
		Subject:     c.Subject.String(),
		fingerprint: sha256.Sum256(der),
	}
	if len(c.Subject.Country) > 0 {
		k.Country = c.Subject.Country[0]
	}
	if r, ok := c.PublicKey.(*rsa.PublicKey); ok {
		k.Weak = r.N.BitLen() < minRSA
	}
	if c.BasicConstraintsValid && c.IsCA {
		// An SCA that signs persons' certificates too: bad practice, and listed so.
		k.Notes = append(k.Notes, "is-an-authority")
	}
	if c.PublicKey == nil {
		return nil, fmt.Errorf("%w: %s", ErrPublicKey, c.PublicKeyAlgorithm)
	}
	return k, nil
}

// The reasons for which an entry is dropped, besides those of the codecs.
const (
	ErrCertificate = format.Defect("unreadable-certificate")
	ErrPublicKey   = format.Defect("unsupported-key")
	ErrNotSigner   = format.Defect("not-a-signer")
	ErrReference   = format.Defect("reference")
	ErrDuplicate   = format.Defect("duplicate")
	ErrDeleted     = format.Defect("deleted")
)

// Drop is an entry that did not become a key.
type Drop struct {
	Source      string
	Entry       string // the entry's own name in its source
	Participant string
	Reason      string // a stable word
	Detail      string
}

// Scope says what a key is wanted for.
type Scope struct {
	Domain Domain
	// Aliases are other codes under which lists have the domain, beside those that
	// [ParseDomain] knows.
	Aliases []Domain
	Issuer  string // the address that a certificate names as its issuer's; "" for any
}

type index struct {
	domain Domain
	id     KeyID
}

// List holds keys. It is filled first and then read, by any number of
// goroutines. A nil List has no keys.
type List struct {
	keys  map[index][]*Key
	order []*Key
	drops []Drop

	authorities authorities // of passports and seals, see icao.go
}

// maxCandidates bounds the keys tried for one identifier. Honest lists have one,
// rarely two; a flood of collisions must not become work for every scan.
const maxCandidates = 16

// Insert adds a key. A key that is there already is dropped.
func (l *List) Insert(k *Key) {
	if l.keys == nil {
		l.keys = make(map[index][]*Key)
	}
	i := index{k.Domain, k.ID}
	for _, other := range l.keys[i] {
		if other.fingerprint == k.fingerprint && other.Participant == k.Participant && other.Issuer == k.Issuer && other.Revoked == k.Revoked {
			l.drop(k.Source, fmt.Sprintf("%x", string(k.ID)), k.Participant, ErrDuplicate)
			return
		}
	}
	l.keys[i] = append(l.keys[i], k)
	l.order = append(l.order, k)
}

func (l *List) drop(source, entry, participant string, err error) {
	l.drops = append(l.drops, newDrop(source, entry, participant, err))
}

func newDrop(source, entry, participant string, err error) Drop {
	d := Drop{Source: source, Entry: entry, Participant: participant, Reason: format.Reason(err, "unreadable")}
	if text := err.Error(); text != d.Reason {
		d.Detail = text
	}
	return d
}

// Keys returns all keys that carry the identifier within the scope: those that an
// operator trusts everywhere, then those of the lists in their order. HCERT 3.3.3:
// a verifier MUST try every one of them.
func (l *List) Keys(scope Scope, id KeyID) []*Key {
	if l == nil {
		return nil
	}
	keys := l.keys[index{scope.Domain, id}]
	for _, alias := range scope.Aliases {
		if others := l.keys[index{alias, id}]; len(others) > 0 {
			keys = slices.Concat(keys, others)
		}
	}
	if scope.Domain != AnyDomain {
		// First, so that no flood of collisions in a list can crowd them out.
		if everywhere := l.keys[index{AnyDomain, id}]; len(everywhere) > 0 {
			keys = slices.Concat(everywhere, keys)
		}
	}
	if scope.Issuer != "" {
		// Before the bound: issuers share keys, and the one that is meant may be far
		// down. The clone keeps the index as it is.
		keys = slices.DeleteFunc(slices.Clone(keys), func(k *Key) bool { return k.Issuer != "" && k.Issuer != scope.Issuer })
	}
	return keys[:min(len(keys), maxCandidates)]
}

// Elsewhere returns the domains in which an identifier is listed, for the
// detail of a verdict: a key of another domain does not verify, and whoever
// asks why should be told.
func (l *List) Elsewhere(id KeyID) []Domain {
	if l == nil {
		return nil
	}
	var domains []Domain
	for _, k := range l.order {
		if k.ID == id && !slices.Contains(domains, k.Domain) {
			domains = append(domains, k.Domain)
		}
	}
	return domains
}

// All returns every key in the order of the sources. The caller must not change
// it.
func (l *List) All() []*Key { return l.order }

// Drops returns every entry that did not become a key.
func (l *List) Drops() []Drop { return l.drops }
