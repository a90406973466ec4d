package trust

import (
	"fmt"
	"strings"

	"ampoule/format/dccrevocation"
)

// Status knows which certificates were revoked one by one: by the hashes of the
// EU DCC scheme, 128 bits over an identifier or the signature, and by the
// revocation lists of SMART Health Cards. It is filled first and then read.
type Status struct {
	entries map[statusKey]string // to the source
	cards   map[KeyID][]cardList
}

// statusKey has the country too: the hashes are public, and a batch that copies
// another country's must stand beside it, never in its place.
type statusKey struct {
	kid     KeyID  // empty where the batch does not name the key
	country string // of the batch; empty if it named none
	kind    dccrevocation.HashType
	hash    dccrevocation.Hash128
}

// Revoke inserts one hash. country is the issuer of the batch and kid the key it
// names; either may be empty for unknown.
func (s *Status) Revoke(source, country string, kid KeyID, kind dccrevocation.HashType, hash dccrevocation.Hash128) {
	if s.entries == nil {
		s.entries = make(map[statusKey]string)
	}
	s.entries[statusKey{kid, country, kind, hash}] = source
}

// AddBatches reads EU DCC revocation batches. A batch that has expired counts
// too: its certificates are out of force by then, and those without end stay
// revoked.
func (s *Status) AddBatches(source string, data []byte) error {
	batches, err := dccrevocation.Parse(data)
	if err != nil {
		return fmt.Errorf("status source %s: %w", source, err)
	}
	for _, b := range batches {
		for _, h := range b.Hashes {
			s.Revoke(source, b.Country, KeyID(b.KID), b.Type, h)
		}
	}
	return nil
}

// Len returns the number of hashes.
func (s *Status) Len() int { return len(s.entries) }

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

// StatusQuery is what a certificate offers for look-up.
type StatusQuery struct {
	Signature []byte // of the COSE message
	UCI       string // unique certificate identifier; empty if the format has none
	Issuer    string // iss
	Country   string // of the event
}

// StatusHit is a revocation that was found.
type StatusHit struct {
	Kind   dccrevocation.HashType // empty for a card: its list has identifiers, not hashes
	Source string
	Detail string
}

// Find looks a certificate up. The key must be the one that signed it: a
// revocation by one country does not touch another's certificates, although
// they may share a key identifier.
func (s *Status) Find(k *Key, q StatusQuery) (StatusHit, bool) {
	try := func(kind dccrevocation.HashType, hash dccrevocation.Hash128) (StatusHit, bool) {
		for _, kid := range [...]KeyID{k.ID, ""} {
			for _, country := range [...]string{"", k.Country, k.Participant} {
				if source, ok := s.entries[statusKey{kid, country, kind, hash}]; ok {
					return StatusHit{kind, source, fmt.Sprintf("by %s hash, in %s", kind, source)}, true
				}
			}
		}
		return StatusHit{}, false
	}
	// For ECDSA only r is hashed: (r, n-s) verifies too, and must not be a way
	// around the list.
	if hash, err := dccrevocation.Signature(q.Signature, k.IsECDSA()); err == nil {
		if hit, ok := try(dccrevocation.TypeSignature, hash); ok {
			return hit, true
		}
	}
	if q.UCI == "" {
		return StatusHit{}, false
	}
	// An identifier is upper case by its specification. Issuers who print it
	// otherwise may have hashed either form, and a reprint in another case is no
	// other certificate.
	for i, uci := range [...]string{q.UCI, strings.ToUpper(q.UCI), strings.ToLower(q.UCI)} {
		if i > 0 && uci == q.UCI {
			continue
		}
		if hit, ok := try(dccrevocation.TypeUCI, dccrevocation.UCI(uci)); ok {
			return hit, true
		}
		// The specification says the issuer's country code; implementations hash the
		// country of the event. They differ for territories, so both are looked up.
		for i, country := range [...]string{q.Issuer, q.Country} {
			if country == "" || i == 1 && country == q.Issuer {
				continue
			}
			if hit, ok := try(dccrevocation.TypeCountryUCI, dccrevocation.CountryUCI(country, uci)); ok {
				return hit, true
			}
		}
	}
	return StatusHit{}, false
}
