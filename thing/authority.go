package thing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/trust"
	"ampoule/trust/hotkeys"
)

// The reasons for which a statement is not believed.
const (
	ErrUnknownAuthority = format.Defect("unknown-authority") // no listed key of that authority in that role made it
	ErrNotItsValue      = format.Defect("not-its-value")     // the role does not say such things
	ErrNotItsPlace      = format.Defect("not-its-place")     // a participant speaks of its own ground only
	ErrNotItsProduct    = format.Defect("not-its-product")
	ErrNotYetIssued     = format.Defect("not-yet-issued")
	ErrOutsideKey       = format.Defect("issued-outside-key") // the key's certificate was not valid on that day
	ErrNoCountry        = format.Defect("no-country")
	ErrWeakKey          = format.Defect("weak-key")
)

// LotKey is a key that may sign statements of one authority in one role. The
// operator lists it; nothing that travels with a statement can.
type LotKey struct {
	Role      Role
	Authority string
	// Products, where it is set, is how the codes begin that the authority may
	// speak of: a manufacturer's own.
	Products string
	key      *trust.Key
}

// NewLotKey makes a key from the signer's certificate in DER. A participant's
// certificate names the country that is its ground.
func NewLotKey(role Role, authority, products string, der []byte) (*LotKey, error) {
	k, err := trust.NewKey(der)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(roles, role):
		return nil, fmt.Errorf("role %q is none of manufacturer, regulator, participant: %w", role, ErrField)
	case authority == "":
		return nil, fmt.Errorf("the authority has no name: %w", ErrField)
	case role == Participant && !format.IsCapitals(k.Country, 2):
		return nil, fmt.Errorf("the certificate of a participant must name its country: %w", ErrNoCountry)
	case k.Weak:
		return nil, ErrWeakKey
	}
	return &LotKey{role, authority, products, k}, nil
}

// LotKeys are all that are listed.
type LotKeys []*LotKey

// clockSkew is how far ahead of ours the clock of an authority may be.
const clockSkew = 5 * time.Minute

// Believe says why a statement is not believed; nil where it is. Every listed
// key under the statement's identifier is tried, for identifiers are hints.
func (keys LotKeys) Believe(s *SignedLot, now time.Time) error {
	return keys.BelieveEach([]SignedLot{*s}, now)[0]
}

// BelieveEach is Believe for the statements of one message: see [ParseLots].
func (keys LotKeys) BelieveEach(said []SignedLot, now time.Time) []error {
	return keys.believe(said, now, nil)
}

// believe is BelieveEach with tables for the keys that sign many messages.
func (keys LotKeys) believe(said []SignedLot, now time.Time, hot *hotkeys.Cache) []error {
	message, role, authority := said[0].message, said[0].Statement.Role, said[0].Statement.Authority
	refused := make([]error, len(said))
	for i := range refused {
		refused[i] = ErrUnknownAuthority
	}
	entitled := make([]bool, len(said))
	for _, k := range keys {
		if k.Role != role || k.Authority != authority || k.key.ID != trust.KeyID(message.KID) {
			continue
		}
		forged := message.Verify(hot.Public(k.key.Public))
		for i := range said {
			if entitled[i] {
				continue
			}
			err := forged
			if err == nil {
				err = k.entitled(said[i].Statement)
			}
			switch {
			case err == nil:
				entitled[i], refused[i] = true, k.inTime(said[i].Statement, now)
			// Of several keys, the one that signed says more than those that did not.
			case refused[i] == ErrUnknownAuthority || forged == nil:
				refused[i] = err
			}
		}
	}
	return refused
}

// Vouches reports whether what a statement says is this key's to say, at the time at
// which it was said. It asks for no signature.
func (k *LotKey) Vouches(s *SignedLot) bool {
	x := s.Statement
	return x.Role == k.Role && x.Authority == k.Authority && k.entitled(x) == nil && k.inTime(x, x.Issued) == nil
}

// says is who may say what.
var says = map[Role][]Value{
	Manufacturer: {Recalled, ExpiresOn, Unharmed, Withdrawn},
	Regulator:    {Recalled, ExpiresOn, Unharmed, Withdrawn},
	Participant:  {Heat, Freeze, Spoiled, Unharmed, Withdrawn},
}

// entitled says why what was signed is not this signer's to say.
func (k *LotKey) entitled(s *LotStatement) error {
	switch {
	case !slices.Contains(says[k.Role], s.Value):
		return fmt.Errorf("a %s does not say %s: %w", k.Role, s.Value, ErrNotItsValue)
	case k.Role == Participant && s.Country == "":
		return fmt.Errorf("a participant must name its country: %w", ErrNotItsPlace)
	case k.Role == Participant && s.Country != k.key.Country:
		return fmt.Errorf("%s is not the country of %s: %w", s.Country, k.Authority, ErrNotItsPlace)
	case !strings.HasPrefix(s.Product.Code, k.Products):
		return fmt.Errorf("%s speaks of products that begin with %s: %w", k.Authority, k.Products, ErrNotItsProduct)
	}
	return nil
}

func (k *LotKey) inTime(s *LotStatement, now time.Time) error {
	switch {
	case s.Issued.After(now.Add(clockSkew)):
		return ErrNotYetIssued
	case s.Issued.Before(k.key.NotBefore) || s.Issued.After(k.key.NotAfter):
		return ErrOutsideKey
	}
	return nil
}
