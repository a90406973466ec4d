package trust

import (
	"bytes"
	"fmt"
	"time"

	"ampoule/format/jwks"
	"ampoule/format/shc"
	"ampoule/format/statuslist"
	"ampoule/format/vci"
)

// cardList is a card revocation list and where it came from.
type cardList struct {
	source string
	crl    *shc.CRL
}

// Add reads a status source of any known kind, seen from its bytes: a snapshot, a
// Token Status List as JWT or CWT, the credential of a Bitstring Status List, a
// card revocation list, the directory of the VCI with such lists inside, or EU
// DCC revocation batches.
func (s *Status) Add(source string, data []byte) error {
	if IsSnapshot(data) {
		return s.AddSnapshot(source, data)
	}
	if statuslist.IsToken(data) {
		t, err := statuslist.Parse(data)
		if err != nil {
			return fmt.Errorf("status source %s: %w", source, err)
		}
		s.AddToken(source, t)
		return nil
	}
	top := topMembers(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff"))))
	switch {
	case top["credentialSubject"] != nil:
		l, err := statuslist.ParseBitstring(data)
		if err != nil {
			return fmt.Errorf("status source %s: %w", source, err)
		}
		return s.AddBitstring(source, l)
	case top["rids"] != nil:
		return s.AddCRL(source, data)
	case top["issuerInfo"] != nil:
		_, err := s.AddVCI(source, data)
		return err
	}
	return s.AddBatches(source, data)
}

// AddCRL reads a card revocation list. A list names the key whose cards it
// revokes, and a key is its owner's alone. Of several lists of one key all
// count: an older one revokes nothing that a newer one takes back, since what is
// revoked stays so.
func (s *Status) AddCRL(source string, data []byte) error {
	crl, err := shc.ParseCRL(data)
	if err != nil {
		return fmt.Errorf("status source %s: %w", source, err)
	}
	s.RevokeCards(source, crl)
	return nil
}

// AddVCI takes the card revocation lists from the VCI's directory. It returns
// how many there were; an issuer whose entry cannot be read is an error, since
// what it revoked would be unknown.
func (s *Status) AddVCI(source string, data []byte) (lists int, err error) {
	d, err := vci.Parse(data)
	if err != nil {
		return 0, fmt.Errorf("status source %s: %w", source, err)
	}
	for _, i := range d.Issuers {
		if i.Err != nil {
			return 0, fmt.Errorf("status source %s: %w", source, i.Err)
		}
	}
	for _, i := range d.Issuers {
		for n := range i.CRLs {
			s.RevokeCards(source, &i.CRLs[n])
			lists++
		}
	}
	return lists, nil
}

// RevokeCards inserts a list.
func (s *Status) RevokeCards(source string, crl *shc.CRL) {
	if s.cards == nil {
		s.cards = make(map[KeyID][]cardList)
	}
	id := KeyID(jwks.ParseKID(crl.KID))
	s.cards[id] = append(s.cards[id], cardList{source, crl})
}

// CardCounter returns the counter of the newest card revocation list of a key.
// An issuer that keeps such a list announces its counter beside the key: one
// that is missing here, or behind, leaves the status of a card unknown.
func (s *Status) CardCounter(k *Key) (counter int64, loaded bool) {
	if s == nil {
		return 0, false
	}
	for _, l := range s.cards[k.ID] {
		counter, loaded = max(counter, l.crl.Counter), true
	}
	return counter, loaded
}

// FindCard looks a SMART Health Card up by its revocation identifier and its
// date of issue, in the snapshots and lists of the key that signed it. A card
// without an identifier cannot be revoked so.
func (s *Status) FindCard(k *Key, rid string, nbf time.Time) (StatusHit, bool) {
	if s == nil || rid == "" {
		return StatusHit{}, false
	}
	if g := s.look(k, SchemeRID, HashRID(rid), false); g != nil {
		return StatusHit{Purpose: g.purpose, Source: g.source, Detail: "by its revocation identifier, in " + g.source}, true
	}
	for _, l := range s.cards[k.ID] {
		if l.crl.Revokes(rid, nbf) {
			return StatusHit{Purpose: PurposeRevoked, Source: l.source, Detail: "by its revocation identifier, in " + l.source}, true
		}
	}
	return StatusHit{}, false
}
