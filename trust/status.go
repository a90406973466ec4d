package trust

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"ampoule/format/dccfilter"
	"ampoule/format/dccrevocation"
	"ampoule/format/statuslist"

	"github.com/FastFilter/xorfilter"
)

// Status knows which certificates were listed one by one: by 128 bits of a hash
// over an identifier or the signature (EU batches, snapshots, filters), by the
// revocation identifier of a card, or by their place in a status list. It is
// filled first and then read, by many at once.
type Status struct {
	groups  map[groupKey][]*group
	filters []foreignFilter
	cards   map[KeyID][]cardList
	tokens  map[string]tokenList // by the address of the list
	strings map[string]bitstring // by the address of the credential
}

// Purpose is what it means to be listed.
type Purpose string

// The purposes. That of a dose is advice: it never decides whether a certificate
// is in force.
const (
	PurposeRevoked    Purpose = "revoked"
	PurposeSuperseded Purpose = "superseded" // corrected: another stands in its place
	PurposeSuspended  Purpose = "suspended"  // until it is lifted; only status lists know it
	PurposeDose       Purpose = "dose"       // something is known against the dose
)

// Scheme is what was hashed.
type Scheme string

// The schemes: the three hashes of the EU DCC, and the revocation identifier of a
// SMART Health Card.
const (
	SchemeSignature  = Scheme(dccrevocation.TypeSignature)
	SchemeUCI        = Scheme(dccrevocation.TypeUCI)
	SchemeCountryUCI = Scheme(dccrevocation.TypeCountryUCI)
	SchemeRID        = Scheme("RID")
)

// groupKey has the country too: the hashes are public, and a batch that copies
// another country's must stand beside it, never in its place.
type groupKey struct {
	scheme  Scheme
	country string // of the batch; empty if it named none
	kid     KeyID  // empty where the batch does not name the key
}

// group is what one source lists under one key, for one purpose.
type group struct {
	source  string
	purpose Purpose
	// guessed: an EU batch, which has no purpose and lists what was corrected too.
	guessed bool
	hashes  []dccrevocation.Hash128 // ascending, each once
	// filter answers "not listed" in a tenth of the time of a search. What it finds
	// is looked for in the hashes, so that it can never revoke anything. It is made
	// here and not taken from outside: one that lacks a hash would hide it.
	filter *xorfilter.BinaryFuse[uint16]
}

// minFilter is from how many hashes on a filter is made; below, a search takes
// hardly longer.
const minFilter = 64

func filterKey(h dccrevocation.Hash128) uint64 { return binary.BigEndian.Uint64(h[:8]) }

func compareHashes(a, b dccrevocation.Hash128) int { return slices.Compare(a[:], b[:]) }

func (g *group) has(h dccrevocation.Hash128) bool {
	if g.filter != nil && !g.filter.Contains(filterKey(h)) {
		return false
	}
	_, found := slices.BinarySearchFunc(g.hashes, h, compareHashes)
	return found
}

// seal makes the filter. Whoever grinds hashes that begin alike can keep it from
// being made, which costs time and nothing else.
func (g *group) seal() {
	g.filter = nil
	if len(g.hashes) < minFilter {
		return
	}
	keys := make([]uint64, len(g.hashes))
	for i, h := range g.hashes {
		keys[i] = filterKey(h)
	}
	keys = slices.Compact(keys)
	if f, err := xorfilter.NewBinaryFuse[uint16](keys); err == nil {
		g.filter = f
	}
}

// insert adds hashes, in any order, to what the source lists already.
func (s *Status) insert(key groupKey, source string, purpose Purpose, guessed bool, hashes []dccrevocation.Hash128) {
	if s.groups == nil {
		s.groups = make(map[groupKey][]*group)
	}
	for _, g := range s.groups[key] {
		if g.source == source && g.purpose == purpose && g.guessed == guessed {
			g.hashes = append(g.hashes, hashes...)
			slices.SortFunc(g.hashes, compareHashes)
			g.hashes = slices.Compact(g.hashes)
			g.seal()
			return
		}
	}
	if !slices.IsSortedFunc(hashes, compareHashes) {
		slices.SortFunc(hashes, compareHashes)
	}
	g := &group{source: source, purpose: purpose, guessed: guessed, hashes: slices.Compact(hashes)}
	g.seal()
	s.groups[key] = append(s.groups[key], g)
}

// Revoke inserts one hash. country is the issuer of the batch and kid the key it
// names; either may be empty for unknown.
func (s *Status) Revoke(source, country string, kid KeyID, kind dccrevocation.HashType, hash dccrevocation.Hash128) {
	s.insert(groupKey{Scheme(kind), country, kid}, source, PurposeRevoked, true, []dccrevocation.Hash128{hash})
}

// AddBatches reads EU DCC revocation batches. A batch that has expired counts
// too: its certificates are out of force by then, and those without end stay
// revoked.
func (s *Status) AddBatches(source string, data []byte) error {
	batches, err := dccrevocation.Parse(data)
	if err != nil {
		return fmt.Errorf("status source %s: %w", source, err)
	}
	all := make(map[groupKey][]dccrevocation.Hash128)
	for _, b := range batches {
		key := groupKey{Scheme(b.Type), b.Country, KeyID(b.KID)}
		all[key] = append(all[key], b.Hashes...)
	}
	for key, hashes := range all {
		s.insert(key, source, PurposeRevoked, true, hashes)
	}
	return nil
}

// foreignFilter is a filter of the EU's distribution service, which came without
// the hashes in it.
type foreignFilter struct {
	source  string
	country string // empty for unknown
	kid     KeyID  // empty for unknown
	filter  *dccfilter.Filter
}

// AddFilter adds a filter whose hashes are not at hand. What it finds is never
// more than unknown.
func (s *Status) AddFilter(source, country string, kid KeyID, f *dccfilter.Filter) {
	s.filters = append(s.filters, foreignFilter{source, country, kid, f})
}

// Len returns the number of hashes that take certificates out of force. One that
// stands in two sources is counted twice.
func (s *Status) Len() int {
	n := 0
	for _, groups := range s.groups {
		for _, g := range groups {
			if g.purpose != PurposeDose {
				n += len(g.hashes)
			}
		}
	}
	return n
}

// Cards returns the number of revocation identifiers of cards, one that stands in
// two lists twice.
func (s *Status) Cards() int {
	n := 0
	for _, lists := range s.cards {
		for _, l := range lists {
			n += l.crl.Len()
		}
	}
	return n
}

// Pointed returns the number of entries of status lists that are not valid.
func (s *Status) Pointed() int {
	n := 0
	count := func(b *statuslist.Bitmap) {
		for value, entries := range b.Counts() {
			if value != statuslist.Valid {
				n += entries
			}
		}
	}
	for _, l := range s.tokens {
		count(l.token.List.Bitmap)
	}
	for _, l := range s.strings {
		count(l.list.List)
	}
	return n
}

// StatusQuery is what a certificate offers for look-up.
type StatusQuery struct {
	Signature []byte // of the COSE message
	UCI       string // unique certificate identifier; empty if the format has none
	Issuer    string // iss
	Country   string // of the event
}

// StatusHit is a certificate that was found.
type StatusHit struct {
	Kind    dccrevocation.HashType // empty for a card or a status list: they have identifiers, not hashes
	Purpose Purpose
	// Unconfirmed: a filter found it whose hashes are not at hand. It may be any
	// other certificate that the filter holds: nobody is refused for that.
	Unconfirmed bool
	Source      string
	Detail      string
}

// rank orders what is found: what an issuer says of the purpose goes before a
// batch, which calls everything revoked; of two that say it, the harder one.
func (g *group) rank() int {
	switch {
	case g.guessed:
		return 1
	case g.purpose == PurposeSuperseded:
		return 2
	}
	return 3
}

// look searches the hashes of a scheme for a certificate of a key: under its
// identifier and those that name none, under its country and its participant.
func (s *Status) look(k *Key, scheme Scheme, hash dccrevocation.Hash128, dose bool) *group {
	var best *group
	for _, kid := range [...]KeyID{k.ID, ""} {
		for i, country := range [...]string{"", k.Country, k.Participant} {
			if i > 0 && country == "" {
				continue
			}
			for _, g := range s.groups[groupKey{scheme, country, kid}] {
				if (g.purpose == PurposeDose) == dose && (best == nil || g.rank() > best.rank()) && g.has(hash) {
					best = g
				}
			}
		}
	}
	return best
}

// Find looks a certificate up. The key must be the one that signed it: a
// revocation by one country does not touch another's certificates, although
// they may share a key identifier.
func (s *Status) Find(k *Key, q StatusQuery) (StatusHit, bool) { return s.find(k, q, false) }

// FindDose looks up whether something is known against the dose of a certificate.
func (s *Status) FindDose(k *Key, q StatusQuery) (StatusHit, bool) {
	if s == nil {
		return StatusHit{}, false
	}
	return s.find(k, q, true)
}

func (s *Status) find(k *Key, q StatusQuery, dose bool) (StatusHit, bool) {
	var best *group
	var hit StatusHit
	try := func(kind dccrevocation.HashType, hash dccrevocation.Hash128) {
		if g := s.look(k, Scheme(kind), hash, dose); g != nil {
			if best == nil || g.rank() > best.rank() {
				best = g
				hit = StatusHit{Kind: kind, Purpose: g.purpose, Source: g.source, Detail: fmt.Sprintf("by %s hash, in %s", kind, g.source)}
			}
			return
		}
		if best != nil || dose {
			return
		}
		for _, f := range s.filters {
			if (f.kid == k.ID || f.kid == "") && (f.country == "" || f.country == k.Country || f.country == k.Participant) && f.filter.MightContain(hash) {
				hit = StatusHit{Kind: kind, Purpose: PurposeRevoked, Unconfirmed: true, Source: f.source,
					Detail: fmt.Sprintf("by %s hash, in %s: listed by a filter, not confirmed", kind, f.source)}
				return
			}
		}
	}
	// For ECDSA only r is hashed: (r, n-s) verifies too, and must not be a way
	// around the list.
	if hash, err := dccrevocation.Signature(q.Signature, k.IsECDSA()); err == nil {
		try(dccrevocation.TypeSignature, hash)
	}
	if q.UCI == "" {
		return hit, hit.Source != ""
	}
	// An identifier is upper case by its specification. Issuers who print it
	// otherwise may have hashed either form, and a reprint in another case is no
	// other certificate.
	for i, uci := range [...]string{q.UCI, strings.ToUpper(q.UCI), strings.ToLower(q.UCI)} {
		if i > 0 && uci == q.UCI {
			continue
		}
		try(dccrevocation.TypeUCI, dccrevocation.UCI(uci))
		// The specification says the issuer's country code; implementations hash the
		// country of the event. They differ for territories, so both are looked up.
		for i, country := range [...]string{q.Issuer, q.Country} {
			if country == "" || i == 1 && country == q.Issuer {
				continue
			}
			try(dccrevocation.TypeCountryUCI, dccrevocation.CountryUCI(country, uci))
		}
	}
	return hit, hit.Source != ""
}
