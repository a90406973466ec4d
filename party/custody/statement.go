package custody

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"ampoule/format"
	"ampoule/thing"
)

// Authority is in whose name this service speaks of lots.
type Authority struct {
	Role   thing.Role
	Name   string // participant code, or id of an organisation
	Signer crypto.Signer
	KID    []byte
	// Listed is its own key as verifiers list it: what they would not believe is not
	// signed.
	Listed *thing.LotKey
}

// ErrNoAuthority says that the service has no key to speak of lots.
const ErrNoAuthority format.Defect = "no-authority-about-lots"

// Say signs a statement about a lot in the name of the service and keeps it. It
// returns the error of [thing.LotKeys.Believe] for what is not the authority's to say.
func (c *Custody) Say(ctx context.Context, a *Authority, s thing.LotStatement) (thing.StatementID, error) {
	id, message, err := c.sign(a, s)
	if err != nil {
		return id, err
	}
	return id, c.Stock.PutStatements(ctx, c.Now(), map[thing.StatementID][]byte{id: message})
}

func (c *Custody) sign(a *Authority, s thing.LotStatement) (id thing.StatementID, message []byte, err error) {
	if a == nil || a.Signer == nil {
		return id, nil, ErrNoAuthority
	}
	s.Role, s.Authority, s.Issued = a.Role, a.Name, c.Now().UTC().Truncate(time.Second)
	if message, err = thing.SignLotStatement(rand.Reader, a.Signer, a.KID, &s); err != nil {
		return id, nil, err
	}
	signed, err := thing.ParseLotStatement(message)
	if err != nil {
		return id, nil, err
	}
	return signed.ID, message, thing.LotKeys{a.Listed}.Believe(signed, s.Issued)
}

// said is a statement by what it says, whenever it was said.
type said struct {
	product      thing.Product
	lot, country string
	centre, from string
	value        thing.Value
}

// Speak brings what the service says of lots up to what it holds against them: for each
// concern a statement for every code of its product, about its country, its place and the
// days from then on; and a withdrawal of each that no concern stands behind any more. It
// returns how many it made.
func (c *Custody) Speak(ctx context.Context, a *Authority) (made int, err error) {
	if a == nil || a.Role != thing.Participant {
		return 0, nil // a manufacturer or a regulator says what it decides, and not what was measured
	}
	concerns, err := c.Stock.Concerns(ctx, "")
	if err != nil {
		return 0, err
	}
	standing, err := c.standing(ctx, a)
	if err != nil {
		return 0, err
	}
	messages := map[thing.StatementID][]byte{}
	wanted := map[said]bool{}
	for _, x := range concerns {
		for _, product := range x.Products {
			about := said{product, x.Number, x.Country, x.At.Facility, x.From.Format(time.DateOnly), x.Value}
			if x.Country == "" || wanted[about] {
				continue // of no country nobody may speak
			}
			wanted[about] = true
			if _, ok := standing[about]; ok {
				continue
			}
			id, message, err := c.sign(a, thing.LotStatement{
				Product: product, Lot: x.Number, Country: x.Country, Centre: about.centre, From: about.from, Part: thing.All, Value: x.Value,
			})
			if errors.Is(err, thing.ErrNotItsPlace) {
				continue // a place in another country: its own participant speaks of it
			}
			if err != nil {
				return 0, fmt.Errorf("statement about lot %s: %w", x.Number, err)
			}
			messages[id] = message
		}
	}
	for about, id := range standing {
		if wanted[about] || about.value != thing.Heat && about.value != thing.Freeze {
			continue
		}
		withdrawal, message, err := c.sign(a, thing.LotStatement{
			Product: about.product, Lot: about.lot, Country: about.country, Centre: about.centre, From: about.from, Part: thing.All, Value: thing.Withdrawn, Withdraws: id,
		})
		if err != nil {
			return 0, fmt.Errorf("withdrawal about lot %s: %w", about.lot, err)
		}
		messages[withdrawal] = message
	}
	if len(messages) == 0 {
		return 0, nil
	}
	return len(messages), c.Stock.PutStatements(ctx, c.Now(), messages)
}

// standing are the authority's statements that it has not withdrawn.
func (c *Custody) standing(ctx context.Context, a *Authority) (map[said]thing.StatementID, error) {
	messages, err := c.Stock.Statements(ctx)
	if err != nil {
		return nil, err
	}
	var all []*thing.SignedLot
	withdrawn := map[thing.StatementID]bool{}
	for _, m := range messages {
		s, err := thing.ParseLotStatement(m)
		if err != nil {
			return nil, fmt.Errorf("a statement that was kept: %w", err)
		}
		if s.Statement.Role != a.Role || s.Statement.Authority != a.Name {
			continue
		}
		withdrawn[s.Statement.Withdraws] = true
		all = append(all, s)
	}
	out := map[said]thing.StatementID{}
	for _, s := range all {
		if x := s.Statement; !withdrawn[s.ID] && x.Value != thing.Withdrawn {
			out[said{x.Product, x.Lot, x.Country, x.Centre, x.From, x.Value}] = s.ID
		}
	}
	return out, nil
}

// Lines are the statements that were kept, one a line, each signed for itself.
func (c *Custody) Lines(ctx context.Context) (lines []byte, err error) {
	messages, err := c.Stock.Statements(ctx)
	for _, m := range messages {
		lines = thing.AppendLine(lines, m)
	}
	return lines, err
}

// Published are the statements that were kept, as bundles carry them: those that the
// authority's key can vouch for in rolls, and others as they were signed. The same
// statements are published in the same bytes.
func (c *Custody) Published(ctx context.Context, a *Authority) (lines []byte, err error) {
	messages, err := c.Stock.Statements(ctx)
	if err != nil {
		return nil, err
	}
	var own []*thing.LotStatement
	var of []byte
	for _, m := range messages {
		s, err := thing.ParseLotStatement(m)
		if err != nil {
			return nil, fmt.Errorf("a statement that was kept: %w", err)
		}
		if a.Listed.Vouches(s) {
			own, of = append(own, s.Statement), append(of, s.ID[:]...)
		} else {
			lines = thing.AppendLine(lines, m)
		}
	}
	c.rolling.Lock()
	defer c.rolling.Unlock()
	rolls := map[[sha256.Size]byte][]byte{}
	for from := 0; from < len(own); from += thing.MaxRoll {
		until := min(from+thing.MaxRoll, len(own))
		content := sha256.Sum256(slices.Concat(a.KID, of[from*len(thing.StatementID{}):until*len(thing.StatementID{})]))
		roll, ok := c.rolls[content]
		if !ok {
			if roll, err = thing.SignLotRoll(rand.Reader, a.Signer, a.KID, own[from:until]); err != nil {
				return nil, err
			}
		}
		rolls[content] = roll
		lines = thing.AppendLine(lines, roll)
	}
	c.rolls = rolls
	return lines, nil
}
