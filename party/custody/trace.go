package custody

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/epcis"
	"ampoule/format/uuid"
	"ampoule/thing"
	"ampoule/thing/thread"
	"ampoule/thing/trail"
)

// Witnesses tell who measured goods, with what was signed of it. They are the fleet, seen
// from here; what is at none of the actor's places is not told.
type Witnesses interface {
	// InEquipment are the devices in a piece of equipment, from one time until another in
	// seconds. It returns [ErrNotYours] where the equipment is another's.
	InEquipment(ctx context.Context, by Actor, equipment string, from, until int64) (*Witnessed, error)
	// ByDevice is a device that travelled with goods, by its name in events.
	ByDevice(ctx context.Context, by Actor, name string, from, until int64) (*Witnessed, error)
}

// Witnessed is what stands behind a leg. The range is that of the equipment.
type Witnessed struct {
	Watches []thread.Watch
	Profile coldchain.Profile
}

// Signer signs threads in the name of the service: a key, and the certificates above it.
type Signer struct {
	Key          crypto.Signer
	Certificates [][]byte // X.509, that of the key first
}

// Question is what is to be followed: the dose of a record, a session, or the stock of a
// lot.
type Question struct {
	// Record is of a dose, and Lot then its number as printed. Certificate is the
	// fingerprint of one of its certificates; nil: of none.
	Record      uuid.UUID
	Certificate *thread.Certificate
	Session     ID
	Lot         string // by [trail.LotName], or its number
	Product     thing.Product
	Place       string // a site; "": where the dose was given, or the only site that it came to
}

// Dosed is what a record ties to goods.
type Dosed struct {
	Products []thing.Product
	Day      string // YYYY-MM-DD
	At       Place
	Session  ID
}

// The defects of what is asked to be traced.
const (
	ErrNoDose   format.Defect = "no-dose-of-the-record"
	ErrNoTrace  format.Defect = "nothing-to-trace" // nobody told of the lot, or not to who asks
	ErrNoSigner format.Defect = "no-key-of-the-service"
)

// Trace follows a dose back to the factory, and returns the thread with its signature.
// What the actor may not see is not in it, and it says so. That it was asked is on the
// audit log before anything of the lot is read.
func (c *Custody) Trace(ctx context.Context, by Actor, q Question) ([]byte, *thread.Thread, error) {
	if c.Signer == nil {
		return nil, nil, fmt.Errorf("custody: %w", ErrNoSigner)
	}
	now := c.Now().UTC().Truncate(time.Millisecond)
	t := &thread.Thread{Made: now, By: by.Within.Organisation, Service: c.Signer.Certificates, Until: now, Certificate: q.Certificate,
		Events: []thread.Event{}, Places: []thread.Place{}, Statements: [][]byte{}, Withheld: []string{}}
	if by.Within.Facility != "" {
		t.By += "/" + by.Within.Facility
	}

	// Step 1: the dose, and the session that it was given from.
	if err := c.startOf(ctx, by, q, t); err != nil {
		return nil, nil, err
	}

	// Step 2: that it was asked.
	if err := c.Events.Looked(ctx, Look{At: now, By: by.ID, Organisation: by.Within.Organisation, Query: "trace " + t.Lot}); err != nil {
		return nil, nil, err
	}

	// Step 3: what was told of the lot, as far as the actor may see it, and of the places in
	// it.
	if err := c.told(ctx, by, t); err != nil {
		return nil, nil, err
	}
	if t.Place == "" {
		if err := c.siteOf(ctx, by, t); err != nil {
			return nil, nil, err
		}
	}
	if err := t.Lay(); err != nil {
		return nil, nil, err
	}

	// Step 4: who measured each leg.
	for i := range t.Legs {
		if err := c.witness(ctx, by, t, &t.Legs[i]); err != nil {
			return nil, nil, err
		}
	}

	// Step 5: what was said of the lot.
	if err := c.saidOf(ctx, t); err != nil {
		return nil, nil, err
	}

	// Step 6: what all this did to it, by what was signed and by nothing else.
	var err error
	if t.Assessment, err = t.Judge(); err != nil {
		return nil, nil, err
	}
	file, err := t.Sign(rand.Reader, c.Signer.Key)
	return file, t, err
}

// startOf finds the lot, the place and the time of a question.
func (c *Custody) startOf(ctx context.Context, by Actor, q Question, t *thread.Thread) error {
	number, product, session, at := q.Lot, q.Product, q.Session, by.Within
	if q.Record != (uuid.UUID{}) {
		d, err := c.Stock.Dosed(ctx, q.Record)
		if err != nil {
			return err
		}
		if !by.Within.Holds(d.At) {
			return fmt.Errorf("custody: %w", ErrNoDose)
		}
		t.Dose = &thread.Dose{Record: q.Record.String(), Day: d.Day, Products: d.Products, Session: string(d.Session)}
		session, at = d.Session, d.At
		if day, err := time.Parse(time.DateOnly, d.Day); err == nil && day.AddDate(0, 0, 1).Before(t.Until) {
			t.Until = day.AddDate(0, 0, 1)
		}
		if len(d.Products) > 0 {
			product = d.Products[0]
		}
	}
	if session != "" {
		s, err := c.Session(ctx, by, session)
		if err != nil {
			return err
		}
		t.Session = &thread.Session{
			ID: string(s.ID), Location: s.Location, Product: s.Product, Number: s.Number, Opened: s.Opened.UTC(), Doses: s.Doses, Reconstituted: s.Reconstituted,
		}
		if !s.Ended.IsZero() {
			t.Session.Ended = s.Ended.UTC()
			if s.Ended.Before(t.Until) {
				t.Until = s.Ended.UTC()
			}
		}
		// What was opened in the night of another day was there then.
		if t.Until.Before(s.Opened) {
			t.Until = s.Opened.UTC()
		}
		t.Lot, t.Place = s.Lot, c.sites(ctx).within(s.Location)
		t.Product = c.vaccineOf(t.Lot)
		return nil
	}
	if _, _, _, ok := trail.ParseLotName(trail.Name(q.Lot)); ok {
		t.Lot = trail.Name(q.Lot)
	} else if err := c.named(ctx, by, at, product, number, t); err != nil {
		return err
	}
	t.Product = c.vaccineOf(t.Lot)
	if q.Place != "" {
		l, err := c.Stock.Location(ctx, trail.Name(q.Place))
		if err == nil && !by.Within.Holds(l.Place) {
			err = fmt.Errorf("custody: %w", ErrNoLocation)
		}
		if err != nil {
			return err
		}
		t.Place = c.sites(ctx).within(l.URI)
	}
	return nil
}

// named finds the lot of a product and number: the one that came to the place, by
// whichever code of the product, or any that is there.
func (c *Custody) named(ctx context.Context, by Actor, at Place, product thing.Product, number string, t *thread.Thread) error {
	lots, err := c.Events.LotsNumbered(ctx, thing.NormalLot(number))
	if err != nil {
		return err
	}
	codes := c.Synonyms(product)
	lots = slices.DeleteFunc(lots, func(lot string) bool {
		system, code, _, _ := trail.ParseLotName(lot)
		return product.Code != "" && !slices.Contains(codes, thing.Product{Code: code, System: system})
	})
	sites, err := c.Sites(ctx, Actor{ID: by.ID, Within: at})
	if err != nil {
		return err
	}
	for _, lot := range lots {
		trail, _, err := c.follow(ctx, lot)
		if err != nil {
			return err
		}
		for _, s := range sites {
			if _, came := trail.Places[s.URI]; came {
				t.Lot, t.Place = lot, s.URI
				return nil
			}
		}
	}
	return fmt.Errorf("custody: %w", ErrNoTrace)
}

// siteOf finds the site of the actor that the lot came to, of several the one that it
// came to last.
func (c *Custody) siteOf(ctx context.Context, by Actor, t *thread.Thread) error {
	sites, err := c.Sites(ctx, by)
	if err != nil {
		return err
	}
	all, err := t.Fold()
	if err != nil {
		return err
	}
	for _, stay := range all.Stays { // in the order in which they began
		if slices.ContainsFunc(sites, func(l Location) bool { return l.URI == stay.Place }) {
			t.Place = stay.Place
		}
	}
	if t.Place == "" {
		return fmt.Errorf("custody: %w", ErrNoTrace)
	}
	return nil
}

// told adds the events of the lot that the actor may see, and the places that they name,
// of which those of others have their name in events and nothing more.
func (c *Custody) told(ctx context.Context, by Actor, t *thread.Thread) error {
	moves, err := c.Events.Moves(ctx, t.Lot)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, m := range moves {
		wanted[m.Event] = true
	}
	ids := slices.Sorted(maps.Keys(wanted))
	seen := map[string]bool{}
	for some := range slices.Chunk(ids, 100) {
		const most = 1000 // of one name: its own, those of others, and declarations
		found, err := c.Events.Find(ctx, Search{Within: by.Within, Query: &epcis.Query{IDs: some}, Limit: most})
		if err != nil {
			return err
		}
		for i := range found {
			e := &found[i]
			if e.Declares {
				continue
			}
			seen[e.ID] = true
			t.Events = append(t.Events, thread.Event{Event: e.Kept.JSON, Prefixes: e.Kept.Prefixes, Hash: epcis.HashID(e.Hash), Organisation: e.Organisation})
		}
	}
	if len(t.Events) == 0 {
		return fmt.Errorf("custody: %w", ErrNoTrace)
	}
	if len(seen) < len(wanted) {
		t.Withheld = append(t.Withheld, thread.WithheldEvents)
	}
	named := map[string]bool{}
	for _, m := range moves {
		if seen[m.Event] {
			named[m.Place], named[m.Other] = true, true
		}
	}
	at := c.sites(ctx)
	ours := func(l *Location) bool { return l.Place.Organisation == by.Within.Organisation }
	for _, uri := range slices.Collect(maps.Keys(named)) {
		if l := at.find(uri); l != nil && l.Within != "" && ours(l) {
			named[l.Within] = true
		}
	}
	for _, uri := range slices.Sorted(maps.Keys(named)) {
		l := at.find(uri)
		if l == nil || !ours(l) {
			continue
		}
		p := thread.Place{URI: uri, Name: l.Name, Within: l.Within}
		if by.Within.Holds(l.Place) {
			p.Equipment = l.Equipment
		}
		t.Places = append(t.Places, p)
	}
	return at.err
}

// witness adds to a leg who measured it.
func (c *Custody) witness(ctx context.Context, by Actor, t *thread.Thread, l *thread.Leg) error {
	l.Watches = []thread.Watch{}
	if c.Witnesses == nil {
		return nil
	}
	withhold := func(err error) error {
		if !errors.Is(err, ErrNotYours) {
			return err
		}
		if !slices.Contains(t.Withheld, thread.WithheldReadings) {
			t.Withheld = append(t.Withheld, thread.WithheldReadings)
		}
		return nil
	}
	from, until := l.From.Unix(), l.Until.Unix()
	if l.Place == "" {
		for _, name := range l.Devices {
			w, err := c.Witnesses.ByDevice(ctx, by, name, from, until)
			if err != nil {
				if err = withhold(err); err != nil {
					return fmt.Errorf("witnesses of a way: %w", err)
				}
				continue
			}
			l.Watches = append(l.Watches, w.Watches...)
		}
		return nil
	}
	if l.Equipment == "" {
		return nil
	}
	w, err := c.Witnesses.InEquipment(ctx, by, l.Equipment, from, until)
	if err != nil {
		if err = withhold(err); err != nil {
			return fmt.Errorf("witnesses of a place: %w", err)
		}
		return nil
	}
	l.Watches = append(l.Watches, w.Watches...)
	if len(w.Watches) > 0 {
		l.Profile = w.Profile
	}
	return nil
}

// saidOf adds the statements about the lot that are kept.
func (c *Custody) saidOf(ctx context.Context, t *thread.Thread) error {
	system, code, number, _ := trail.ParseLotName(t.Lot)
	codes := c.Synonyms(thing.Product{Code: code, System: system})
	messages, err := c.Stock.Statements(ctx)
	if err != nil {
		return err
	}
	for _, m := range messages {
		s, err := thing.ParseLotStatement(m)
		if err != nil {
			return fmt.Errorf("a statement that was kept: %w", err)
		}
		if thing.NormalLot(s.Statement.Lot) == thing.NormalLot(number) && slices.Contains(codes, s.Statement.Product) {
			t.Statements = append(t.Statements, m)
		}
	}
	return nil
}
