package custody

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/epcis"
	"ampoule/thing/handover"
	"ampoule/thing/thread"
	"ampoule/thing/trail"
)

// Hands is with what a service signs that goods change hands, and whom it believes.
type Hands struct {
	Signer crypto.Signer // for its own organisations
	// Partners are the certificates of those at other services, by their names in
	// hand-overs. No organisation of this service has such a name.
	Partners map[string]*x509.Certificate
}

// Handover is a hand-over as it is kept: the file, and whose it is here.
type Handover struct {
	ID      string // handover.Handover.ID
	N       int64  // order in which they were kept, from 1
	Version int64  // 1: offered, 2: answered
	// Giver and Receiver are who they are of: facilities only of places that this service
	// has.
	Giver, Receiver Place
	At              time.Time // when it was kept here; whole seconds
	File            []byte
}

// Read reads the file.
func (h *Handover) Read() (*handover.Handover, error) { return handover.Parse(h.File) }

// The defects of hand-overs.
const (
	ErrNoHands      format.Defect = "no-key-for-hand-overs"
	ErrNoHandover   format.Defect = "no-such-hand-over"
	ErrPartner      format.Defect = "not-a-partner"       // nobody listed it, or it has the name of one
	ErrCertificate  format.Defect = "partner-not-valid"   // the certificate of a partner is not in force
	ErrAnswered     format.Defect = "answered"            // once is enough
	ErrNotShipped   format.Defect = "not-shipped"         // the event is not of what leaves, or of another thing
	ErrNotReceived  format.Defect = "not-received"        // the event is not of what arrived, at that place
	ErrNowhere      format.Defect = "no-destination"      // the event does not say where to
	ErrWhichThing   format.Defect = "which-thing"         // the event is of several
	ErrOwnSignature format.Defect = "not-our-offer"       // it is answered, and was not offered here
	ErrRefusal      format.Defect = "no-reason-to-refuse" // not one of handover.Reasons
)

// Shipping is what is to be offered: a thing that left by an event.
type Shipping struct {
	Event string // its name
	Thing string // "": the only one of the event
	// To is where it goes, and Receiver who answers for that place: where the event and the
	// locations do not tell.
	To       string
	Receiver string
}

// signs is the key of the service, for an organisation of its own.
func (c *Custody) signs(by Actor) (crypto.Signer, error) {
	if c.Hands == nil || c.Hands.Signer == nil {
		return nil, fmt.Errorf("custody: %w", ErrNoHands)
	}
	if c.Hands.Partners[by.Within.Organisation] != nil {
		return nil, fmt.Errorf("custody: the organisation has the name of a partner: %w", ErrPartner)
	}
	return c.Hands.Signer, nil
}

// keyOf is the key of a partner, now.
func (c *Custody) keyOf(name string) (crypto.PublicKey, error) {
	certificate := c.Hands.Partners[name]
	if certificate == nil {
		return nil, fmt.Errorf("custody: %w", ErrPartner)
	}
	if now := c.Now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return nil, fmt.Errorf("custody: %w", ErrCertificate)
	}
	return certificate.PublicKey, nil
}

// ownEvent is an event that the actor's organisation answers for, at a place of the actor's.
func (c *Custody) ownEvent(ctx context.Context, by Actor, id string) (*Event, []trail.Move, error) {
	const most = 1000 // of one name: its own, those of others, and declarations
	found, err := c.Events.Find(ctx, Search{Within: by.Within, Query: &epcis.Query{IDs: []string{id}}, Limit: most})
	if err != nil {
		return nil, nil, err
	}
	var own *Event
	for i := range found {
		e := &found[i]
		if e.Organisation != by.Within.Organisation {
			continue
		}
		if e.Declares {
			return nil, nil, fmt.Errorf("custody: declared wrong: %w", ErrNoEvent)
		}
		own = e
	}
	if own == nil {
		return nil, nil, fmt.Errorf("custody: %w", ErrNoEvent)
	}
	e, err := own.Kept.Event()
	if err != nil {
		return nil, nil, fmt.Errorf("an event that was kept: %w", err)
	}
	ours, err := c.sites(ctx).ours(by, e)
	if err == nil && !ours {
		err = fmt.Errorf("custody: %w", ErrNotYours)
	}
	return own, trail.Moves(e), err
}

// Offer signs that a thing left a place of the actor's for another's.
func (c *Custody) Offer(ctx context.Context, by Actor, s Shipping) (*Handover, error) {
	signer, err := c.signs(by)
	if err != nil {
		return nil, err
	}

	// Step 1: what left, by the event that tells of it.
	event, moves, err := c.ownEvent(ctx, by, s.Event)
	if err != nil {
		return nil, err
	}
	thing := trail.Name(s.Thing)
	moves = slices.DeleteFunc(moves, func(m trail.Move) bool {
		return m.Deed != trail.Left || m.Place == "" || s.Thing != "" && m.Thing != thing
	})
	switch {
	case len(moves) == 0:
		return nil, fmt.Errorf("custody: %w", ErrNotShipped)
	case len(moves) > 1:
		return nil, fmt.Errorf("custody: %w", ErrWhichThing)
	}
	left := moves[0]

	// Step 2: from whom to whom.
	at := c.sites(ctx)
	to := left.Other
	if to == "" {
		to = trail.Name(s.To)
	}
	if to == "" || s.To != "" && trail.Name(s.To) != to {
		return nil, fmt.Errorf("custody: %w", ErrNowhere)
	}
	h := &Handover{Version: 1, Giver: Place{Organisation: by.Within.Organisation}, Receiver: Place{Organisation: s.Receiver}}
	if l := at.find(left.Place); l != nil {
		h.Giver = l.Place
	}
	if l := at.find(to); l != nil {
		if s.Receiver != "" && s.Receiver != l.Place.Organisation {
			return nil, fmt.Errorf("custody: the place is another's: %w", ErrPartner)
		}
		h.Receiver = l.Place
	} else if _, err := c.keyOf(s.Receiver); err != nil {
		return nil, err
	}
	if at.err != nil {
		return nil, at.err
	}
	if h.Receiver.Organisation == h.Giver.Organisation {
		return nil, fmt.Errorf("custody: within one organisation nothing changes hands: %w", ErrPartner)
	}

	// Step 3: what it went through.
	now := c.Now().UTC().Truncate(time.Second)
	path, err := c.pathTo(ctx, by, left.Thing, at.within(left.Place), left.At)
	if err != nil {
		return nil, err
	}

	// Step 4: sign and keep it.
	o := &handover.Offer{
		Thing: left.Thing, Amount: left.Amount, Unit: left.Unit,
		Giver: handover.Party{Name: h.Giver.Organisation, Place: left.Place}, Receiver: handover.Party{Name: h.Receiver.Organisation, Place: to},
		Left: left.At.UTC().Truncate(time.Second), Offered: now, Events: []handover.Sum{event.Hash}, Path: path,
	}
	if h.File, err = o.Sign(rand.Reader, signer); err != nil {
		return nil, err
	}
	return h, c.keepHandover(ctx, by, h, now, "handover-offer", "")
}

// keepHandover writes a hand-over, with a line of the audit log.
func (c *Custody) keepHandover(ctx context.Context, by Actor, h *Handover, now time.Time, action, reason string) error {
	read, err := h.Read()
	if err != nil {
		return err
	}
	h.ID = read.ID()
	if h.Version == 1 {
		h.At = now
	}
	return c.Stock.PutHandover(ctx, h, Line{At: now, By: by.ID, Action: action, Reason: reason, Organisation: by.Within.Organisation})
}

// pathTo is what a lot went through up to when it left a site, by what was signed and by
// nothing else. Of an item or a container nobody says.
func (c *Custody) pathTo(ctx context.Context, by Actor, lot, site string, left time.Time) (handover.Path, error) {
	p := handover.Path{Outcome: coldchain.NotKnown}
	if _, _, _, ok := trail.ParseLotName(lot); !ok {
		return p, nil
	}
	t := &thread.Thread{Lot: lot, Place: site, Until: left, Product: c.vaccineOf(lot)}
	if err := c.told(ctx, by, t); err != nil {
		return p, err
	}
	if err := t.Lay(); err != nil {
		return p, err
	}
	for i := range t.Legs {
		if err := c.witness(ctx, by, t, &t.Legs[i]); err != nil {
			return p, err
		}
		for _, w := range t.Legs[i].Watches {
			p.By = append(p.By, w.Device)
		}
	}
	slices.Sort(p.By)
	p.By = slices.Compact(p.By)
	p.By = p.By[:min(len(p.By), handover.MaxDevices)]
	a, err := t.Judge()
	if err != nil {
		return p, err
	}
	p.Outcome, p.Outside = a.Outcome, a.Outside/60
	if a.Whole > 0 {
		p.Measured = int(a.Measured * 10000 / a.Whole)
	}
	return p, nil
}

// Accept signs that what was offered arrived at a place of the actor's, by the event that
// tells of it. What came is told as the event has it, be it more or less than what left.
func (c *Custody) Accept(ctx context.Context, by Actor, id, event string) (*Handover, error) {
	return c.answer(ctx, by, id, "handover-accept", "", func(h *handover.Handover) (*handover.Answer, error) {
		e, moves, err := c.ownEvent(ctx, by, event)
		if err != nil {
			return nil, err
		}
		at := c.sites(ctx)
		i := slices.IndexFunc(moves, func(m trail.Move) bool {
			return m.Deed == trail.Arrived && m.Thing == h.Offer.Thing && at.within(m.Place) == at.within(h.Offer.Receiver.Place)
		})
		if at.err != nil {
			return nil, at.err
		}
		if i < 0 || moves[i].At.Before(h.Offer.Left) {
			return nil, fmt.Errorf("custody: %w", ErrNotReceived)
		}
		return &handover.Answer{
			Outcome: handover.Accepted, Amount: moves[i].Amount, Unit: moves[i].Unit, Arrived: moves[i].At.UTC().Truncate(time.Second), Events: []handover.Sum{e.Hash},
		}, nil
	})
}

// Refuse signs that what was offered is not taken, for one of [handover.Reasons].
func (c *Custody) Refuse(ctx context.Context, by Actor, id, reason string) (*Handover, error) {
	return c.answer(ctx, by, id, "handover-refuse", reason, func(*handover.Handover) (*handover.Answer, error) {
		if !slices.Contains(handover.Reasons, reason) {
			return nil, fmt.Errorf("custody: %w", ErrRefusal)
		}
		return &handover.Answer{Outcome: handover.Refused, Reason: reason, Amount: trail.Many}, nil
	})
}

// answer signs an answer to what is kept, for a place of the actor's.
func (c *Custody) answer(ctx context.Context, by Actor, id, action, reason string, make func(*handover.Handover) (*handover.Answer, error)) (*Handover, error) {
	signer, err := c.signs(by)
	if err != nil {
		return nil, err
	}
	h, err := c.Handover(ctx, by, id)
	switch {
	case err != nil:
		return nil, err
	case !by.Within.Holds(h.Receiver):
		return nil, fmt.Errorf("custody: %w", ErrNotYours)
	case h.Version != 1:
		return nil, fmt.Errorf("custody: %w", ErrAnswered)
	}
	read, err := h.Read()
	if err != nil {
		return nil, fmt.Errorf("a hand-over that was kept: %w", err)
	}
	a, err := make(read)
	if err != nil {
		return nil, err
	}
	a.Answered = c.Now().UTC().Truncate(time.Second)
	if h.File, err = read.Sign(rand.Reader, signer, a); err != nil {
		return nil, err
	}
	h.Version++
	return h, c.keepHandover(ctx, by, h, a.Answered, action, reason)
}

// Take takes in what a partner at another service sent: an offer to a place of the
// actor's, or the answer to an offer from one. The same once more does no harm.
func (c *Custody) Take(ctx context.Context, by Actor, file []byte) (*Handover, error) {
	signer, err := c.signs(by)
	if err != nil {
		return nil, err
	}
	read, err := handover.Parse(file)
	if err != nil {
		return nil, err
	}
	now := c.Now().UTC().Truncate(time.Second)
	there, err := c.Handover(ctx, by, read.ID())
	if err != nil && !errors.Is(err, ErrNoHandover) {
		return nil, err
	}
	switch {
	case read.Answer == nil && there != nil:
		return there, nil

	case read.Answer == nil:
		// What is sent to somebody is taken by who answers for the place.
		l, err := c.Stock.Location(ctx, read.Offer.Receiver.Place)
		if err != nil && !errors.Is(err, ErrNoLocation) {
			return nil, err
		}
		if err != nil || !by.Within.Holds(l.Place) || read.Offer.Receiver.Name != l.Place.Organisation {
			return nil, fmt.Errorf("custody: %w", ErrNotYours)
		}
		pub, err := c.keyOf(read.Offer.Giver.Name)
		if err != nil {
			return nil, err
		}
		if err := read.VerifyOffer(pub); err != nil {
			return nil, err
		}
		h := &Handover{Version: 1, Giver: Place{Organisation: read.Offer.Giver.Name}, Receiver: l.Place, File: file}
		return h, c.keepHandover(ctx, by, h, now, "handover-take", "")

	case there == nil:
		return nil, fmt.Errorf("custody: %w", ErrOwnSignature)
	case !by.Within.Holds(there.Giver):
		return nil, fmt.Errorf("custody: %w", ErrNotYours)
	}
	pub, err := c.keyOf(read.Offer.Receiver.Name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(read.VerifyOffer(signer.Public()), read.VerifyAnswer(pub)); err != nil {
		return nil, err
	}
	if there.Version != 1 {
		before, err := there.Read()
		if err != nil {
			return nil, fmt.Errorf("a hand-over that was kept: %w", err)
		}
		if !before.SameAnswer(read) {
			return nil, fmt.Errorf("custody: %w", ErrAnswered)
		}
		return there, nil
	}
	there.Version, there.File = 2, file
	return there, c.keepHandover(ctx, by, there, now, "handover-take", string(read.Answer.Outcome))
}

// Handover returns one from or to a place of the actor's.
func (c *Custody) Handover(ctx context.Context, by Actor, id string) (*Handover, error) {
	h, err := c.Stock.Handover(ctx, id)
	if err != nil {
		return nil, err
	}
	if !by.Within.Holds(h.Giver) && !by.Within.Holds(h.Receiver) {
		return nil, fmt.Errorf("custody: %w", ErrNoHandover)
	}
	return h, nil
}
