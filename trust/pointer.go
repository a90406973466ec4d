package trust

import (
	"fmt"
	"time"

	"ampoule/format"
	"ampoule/format/statuslist"
)

// Why a status list does not tell.
const (
	ErrNoStatusList = format.Defect("no-status-list")
	ErrStatusValue  = format.Defect("unknown-status-value") // reserved, or the application's own
)

// tokenList is a Token Status List and where it came from.
type tokenList struct {
	source string
	token  *statuslist.Token
}

// bitstring is a Bitstring Status List and where it came from.
type bitstring struct {
	source string
	list   *statuslist.Bitstring
}

// AddToken inserts a Token Status List under its own address. Of two of one
// address the one that was issued later counts. Whoever loads it vouches for its
// signature, as for a batch's: which key may sign is the affair of the credential
// that points to it.
func (s *Status) AddToken(source string, t *statuslist.Token) {
	if s.tokens == nil {
		s.tokens = make(map[string]tokenList)
	}
	if old, ok := s.tokens[t.URI]; !ok || !t.Issued.Before(old.token.Issued) {
		s.tokens[t.URI] = tokenList{source, t}
	}
}

// AddBitstring inserts a Bitstring Status List under the address of its
// credential. One that is not about being in force is refused: nothing here would
// read it, and what is not read must not look loaded.
func (s *Status) AddBitstring(source string, l *statuslist.Bitstring) error {
	if l.Purpose != statuslist.PurposeRevocation && l.Purpose != statuslist.PurposeSuspension {
		return fmt.Errorf("status source %s: %s: %w", source, l.Purpose, statuslist.ErrPurpose)
	}
	if s.strings == nil {
		s.strings = make(map[string]bitstring)
	}
	if old, ok := s.strings[l.URI]; !ok || !l.ValidFrom.Before(old.list.ValidFrom) {
		s.strings[l.URI] = bitstring{source, l}
	}
	return nil
}

// FindPointer looks up a credential that points to its status: in the Token
// Status List, or else the Bitstring Status List, of that address.
//
// An error means that the list does not tell: it is not loaded
// ([ErrNoStatusList]), too old, shorter than the index, or has a value whose
// meaning is not known. None of these is ever valid.
func (s *Status) FindPointer(r statuslist.Reference, now time.Time) (hit StatusHit, listed bool, err error) {
	if s == nil {
		return StatusHit{}, false, ErrNoStatusList
	}
	if l, ok := s.tokens[r.URI]; ok {
		value, err := l.token.Status(r, now)
		if err != nil {
			return StatusHit{}, false, err
		}
		hit = StatusHit{Source: l.source, Detail: fmt.Sprintf("entry %d of the status list in %s", r.Index, l.source)}
		switch {
		case value == statuslist.Valid:
			return StatusHit{}, false, nil
		case value == statuslist.Invalid:
			hit.Purpose = PurposeRevoked
		case value == statuslist.Suspended:
			hit.Purpose = PurposeSuspended
		// Of our own lists of two bits; in a wider one the value may be anybody's.
		case value == statuslist.Superseded && l.token.List.Bits() == 2:
			hit.Purpose = PurposeSuperseded
		default:
			return StatusHit{}, false, fmt.Errorf("%s, %s: %w", hit.Detail, value, ErrStatusValue)
		}
		return hit, true, nil
	}
	l, ok := s.strings[r.URI]
	if !ok {
		return StatusHit{}, false, ErrNoStatusList
	}
	if err := l.list.Check(now); err != nil {
		return StatusHit{}, false, err
	}
	value, err := l.list.List.Get(r.Index)
	if err != nil || value == statuslist.Valid {
		return StatusHit{}, false, err
	}
	hit = StatusHit{Purpose: PurposeRevoked, Source: l.source, Detail: fmt.Sprintf("entry %d of the bitstring in %s", r.Index, l.source)}
	if l.list.Purpose == statuslist.PurposeSuspension {
		hit.Purpose = PurposeSuspended
	}
	return hit, true, nil
}
