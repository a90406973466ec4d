package custody

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/epcis"
	"ampoule/format/gs1"
	"ampoule/thing"
	"ampoule/thing/trail"
	"ampoule/thing/vaccine"
)

// Session is stock that a clinic opened. Doses are drawn from it: one is given with each
// record that names it, others are wasted, and at its end the rest is told.
type Session struct {
	ID      ID     `json:"-"` // UUIDv7: sessions sort by when they were opened
	Place   Place  `json:"-"`
	Version int64  `json:"-"`
	Lot     string `json:"-"` // by [trail.LotName]
	// Nothing is given from Discard on.
	Opened  time.Time `json:"-"`
	Discard time.Time `json:"-"`
	Ended   time.Time `json:"-"` // zero: it is open
	Doses   int64     `json:"-"` // that were in it
	Given   int64     `json:"-"` // with records
	Wasted  int64     `json:"-"`

	Location      string          `json:"location"` // where it stood, by [trail.Name]
	Product       thing.Product   `json:"product"`  // as certificates name it
	Codes         []thing.Product `json:"codes,omitempty"`
	Name          string          `json:"name,omitempty"`
	Number        string          `json:"number"`           // of the lot, as printed
	Expiry        string          `json:"expiry,omitempty"` // YYYY-MM-DD, the last day
	Serial        string          `json:"serial,omitempty"`
	Why           string          `json:"why"` // it is discarded then (coldchain.DiscardHours and others)
	Reconstituted bool            `json:"reconstituted,omitempty"`
	Diluent       string          `json:"diluent,omitempty"` // its lot
	Wastes        []Waste         `json:"wastes,omitempty"`
	// Unrecorded are doses that were given and no record was made of, and Left those that
	// went back to the stock unopened, as both were counted at the end.
	Unrecorded int64     `json:"unrecorded,omitempty"`
	Left       int64     `json:"left,omitempty"`
	Override   *Override `json:"override,omitempty"`
}

// Rest is how many doses are in it.
func (s *Session) Rest() int64 { return s.Doses - s.Given - s.Unrecorded - s.Wasted - s.Left }

// Waste is doses that nobody got.
type Waste struct {
	Doses  int64     `json:"doses"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// The reasons for which doses are wasted.
const (
	WasteBroken       = "broken"
	WasteOpenVial     = "expired-open-vial"
	WasteContaminated = "contaminated"
	WasteVVM          = "vvm" // the monitor is past its discard point
	WasteExpired      = "expired"
	WasteHeat         = "heat"
	WasteFreeze       = "freeze"
	WasteRecalled     = "recalled"
	WasteMissing      = "missing" // nobody knows where they are
	WasteOther        = "other"
)

// wasted says of each reason in which state the doses are (CBV 2.0 section 7.2).
var wasted = map[string]string{
	WasteBroken: "damaged", WasteOpenVial: "expired", WasteContaminated: "non_conformant", WasteVVM: "non_conformant", WasteExpired: "expired",
	WasteHeat: "non_conformant", WasteFreeze: "non_conformant", WasteRecalled: "recalled", WasteMissing: "unknown", WasteOther: "destroyed",
}

// Override is that a lot was opened although something was found against it.
type Override struct {
	Reason  string   `json:"reason"`
	By      string   `json:"by"`
	Against []string `json:"against"` // what was found
}

// overrides are the reasons for that.
var overrides = []string{"no-other-stock", "outbreak", "assessed-elsewhere", "data-wrong", "other"}

// The reasons that speak against opening stock. The first five refuse it; the others only
// tell.
const (
	UnfitExpired     = "expired"
	UnfitRecalled    = "recalled"
	UnfitHeat        = "heat"
	UnfitFreeze      = "freeze"
	UnfitPastDiscard = "vial-past-discard"
	FitNotKnown      = "not-known"
	FitNotHere       = "not-here" // nobody told that it came to this place
)

// Why it is not known, beside what an assessment says.
const (
	WhyNoProduct = "product-not-in-catalogue"
	WhyNoExpiry  = "expiry-not-told"
)

// Finding is one thing that is known of stock before it is opened.
type Finding struct {
	Reason  string
	Why     string // of what is not known
	Detail  string // whose statement it is; never of a person
	Refuses bool
}

// Fitness says whether stock may be used.
type Fitness struct {
	Wanted   Wanted // with what was found for it
	Place    Place
	Vaccine  *vaccine.Vaccine // nil: the catalogue does not have it
	Findings []Finding
	Advice   thing.Advice
	Known    *Known
}

// Fit reports whether nothing refuses it.
func (f *Fitness) Fit() bool {
	return !slices.ContainsFunc(f.Findings, func(x Finding) bool { return x.Refuses })
}

// Wanted is stock that somebody wants to use, as it is printed on the vial or chosen from
// a list.
type Wanted struct {
	Lot      string        // by [trail.LotName]; "": by product and number
	Product  thing.Product // by any of its codes
	Number   string        // of the lot
	Expiry   string        // YYYY-MM-DD; "": not told
	Serial   string
	Location string // the site or what stands in it; "": the only site of who asks
}

// The defects of what is asked of sessions.
const (
	ErrNoSession     format.Defect = "no-such-session"
	ErrWhichLocation format.Defect = "which-location" // there are several sites, or none
	ErrLot           format.Defect = "bad-lot"        // no lot, or not the one of its product
	ErrDoses         format.Defect = "bad-count"
	ErrReason        format.Defect = "unknown-reason"
	ErrUnfit         format.Defect = "unfit-stock"
	ErrEnded         format.Defect = "session-ended"
)

// maxDoses bounds a session: a carton of vials.
const maxDoses = 100_000

// Fitness says what is known of stock at a place, and whether it may be used there now.
func (c *Custody) Fitness(ctx context.Context, by Actor, w Wanted) (*Fitness, error) {
	now := c.Now()

	// Step 1: where it is.
	f := &Fitness{}
	location, err := c.locate(ctx, by, w.Location)
	if err != nil {
		return nil, err
	}
	at := c.sites(ctx)
	at.known[location.URI] = location
	site := at.within(location.URI)
	w.Location, f.Place = location.URI, location.Place

	// Step 2: what it is.
	if f.Vaccine, err = c.settle(ctx, &w, location.Place, site); err != nil {
		return nil, err
	}
	if w.Expiry == "" {
		if w.Expiry, err = c.expiryOf(ctx, w.Lot); err != nil {
			return nil, err
		}
	}
	f.Wanted = w
	tell := func(reason, why, detail string) {
		refuses := slices.Contains([]string{UnfitExpired, UnfitRecalled, UnfitHeat, UnfitFreeze, UnfitPastDiscard}, reason)
		if !slices.ContainsFunc(f.Findings, func(x Finding) bool { return x.Reason == reason && x.Why == why }) {
			f.Findings = append(f.Findings, Finding{reason, why, detail, refuses})
		}
	}

	// Step 3: what is printed on it. A date is of the whole day.
	switch {
	case w.Expiry == "":
		tell(FitNotKnown, WhyNoExpiry, "")
	case now.UTC().Format(time.DateOnly) > w.Expiry:
		tell(UnfitExpired, "", "")
	}

	// Step 4: what is said of its lot.
	dose := thing.Dose{Products: []thing.Product{w.Product}, Lot: w.Number, Country: location.Country, Centre: at.name(site), Given: now.UTC().Format(time.DateOnly)}
	if f.Vaccine != nil {
		dose.Products, dose.Name = f.Vaccine.Codes, f.Vaccine.Name
	}
	f.Advice = thing.Advice{Value: thing.NotKnown, Reason: thing.ReasonNoStatement}
	if c.Lots != nil {
		if list := c.Lots(); list != nil {
			f.Advice = list.Advise(dose)
		}
	}
	switch f.Advice.Value {
	case thing.Concern:
		word := map[string]string{thing.ReasonRecalled: UnfitRecalled, thing.ReasonExpired: UnfitExpired, thing.ReasonFrozen: UnfitFreeze}[f.Advice.Reason]
		tell(cmp.Or(word, UnfitHeat), "", f.Advice.Detail) // what is spoiled is as good as heated
	case thing.NotKnown:
		switch f.Advice.Reason {
		case thing.ReasonPart, thing.ReasonPlace, thing.ReasonDate, thing.ReasonSensitivity, thing.ReasonNotMapped:
			tell(FitNotKnown, f.Advice.Reason, f.Advice.Detail)
		}
	}

	// Step 5: what its path did to it.
	if f.Known, err = c.Assess(ctx, w.Lot, site, now); err != nil {
		return nil, err
	}
	if len(f.Known.Path) == 0 {
		tell(FitNotHere, "", "")
	}
	switch f.Known.Outcome {
	case coldchain.Heated:
		tell(UnfitHeat, "", f.Known.Where)
	case coldchain.Froze:
		tell(UnfitFreeze, "", f.Known.Where)
	case coldchain.NotKnown:
		tell(FitNotKnown, f.Known.Why, "")
	}
	if f.Vaccine == nil {
		tell(FitNotKnown, WhyNoProduct, "")
	}
	return f, nil
}

// locate finds where stock is that somebody wants: what they name, or the only site of
// their place.
func (c *Custody) locate(ctx context.Context, by Actor, uri string) (*Location, error) {
	if uri != "" {
		l, err := c.Stock.Location(ctx, trail.Name(uri))
		if err == nil && !by.Within.Holds(l.Place) {
			err = fmt.Errorf("custody: %w", ErrNoLocation)
		}
		return l, err
	}
	sites, err := c.Sites(ctx, by)
	switch {
	case err != nil:
		return nil, err
	case len(sites) != 1:
		return nil, fmt.Errorf("custody: %d sites: %w", len(sites), ErrWhichLocation)
	}
	return &sites[0], nil
}

// Sites are those of a place.
func (c *Custody) Sites(ctx context.Context, by Actor) ([]Location, error) {
	all, err := c.locations(ctx, by.Within)
	return slices.DeleteFunc(all, func(l Location) bool { return l.Within != "" }), err
}

// locations are all of a place.
func (c *Custody) locations(ctx context.Context, at Place) (all []Location, err error) {
	const page = 1000
	for after := ""; ; {
		some, err := c.Stock.LocationsAt(ctx, at, after, page)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < page {
			return all, nil
		}
		after = some[len(some)-1].URI
	}
}

// settle finds the lot that is wanted, its number and its product. What nobody told of is
// taken as it is named.
func (c *Custody) settle(ctx context.Context, w *Wanted, at Place, site string) (*vaccine.Vaccine, error) {
	bad := func(why string) error { return fmt.Errorf("custody: %s: %w", why, ErrLot) }
	if w.Expiry != "" && !format.IsDate(w.Expiry) {
		return nil, bad("its expiry is no date")
	}
	if len(w.Serial) > 40 || len(w.Number) > 40 || len(w.Product.Code) > 128 || len(w.Product.System) > 128 {
		return nil, bad("it is too long")
	}
	var v *vaccine.Vaccine
	if c.Catalogue != nil {
		v = c.Catalogue().Find(w.Product)
	}
	if w.Lot != "" {
		w.Lot = trail.Name(w.Lot)
		system, code, number, ok := trail.ParseLotName(w.Lot)
		switch {
		case !ok:
			return nil, bad("it is not named as one")
		case w.Number != "" && thing.NormalLot(w.Number) != thing.NormalLot(number):
			return nil, bad("another number is printed on it")
		}
		w.Number = cmp.Or(w.Number, number)
		if w.Product.Code == "" {
			w.Product = thing.Product{Code: code, System: system}
		}
		return c.vaccineOf(w.Lot), nil
	}
	if thing.NormalLot(w.Number) == "" || w.Product.Code == "" || w.Product.System == "" {
		return nil, bad("its product and its number must be told")
	}
	if v != nil {
		// It may have come here by another code of the same product.
		lots, err := c.lotsAt(ctx, at, site)
		if err != nil {
			return nil, err
		}
		for _, lot := range lots {
			if _, _, number, ok := trail.ParseLotName(lot); ok && thing.NormalLot(number) == thing.NormalLot(w.Number) && c.vaccineOf(lot) == v {
				w.Lot = lot
				return v, nil
			}
		}
	}
	w.Lot = trail.LotName(w.Product.System, w.Product.Code, w.Number)
	return v, nil
}

// lotsAt are the lots that were at a site, by what stands in it too.
func (c *Custody) lotsAt(ctx context.Context, at Place, site string) ([]string, error) {
	all, err := c.locations(ctx, at)
	if err != nil {
		return nil, err
	}
	var uris []string
	for _, l := range all {
		if l.URI == site || l.Within == site {
			uris = append(uris, l.URI)
		}
	}
	return c.Events.LotsAt(ctx, uris)
}

// expiryOf is the expiry of a lot, as the event has it that made it (CBV 2.0 section 10),
// or one of the first that received or counted it; "": none of them told.
func (c *Custody) expiryOf(ctx context.Context, lot string) (string, error) {
	moves, err := c.Events.Moves(ctx, lot)
	if err != nil {
		return "", err
	}
	const most = 16 // events that are looked at
	looked := 0
	for _, m := range moves {
		if m.Deed != trail.Made && m.Deed != trail.Arrived && m.Deed != trail.Counted || m.Thing != lot && m.Lot != lot {
			continue
		}
		if looked++; looked > most {
			break
		}
		told, err := c.Events.Event(ctx, m.Event)
		if err != nil {
			return "", err
		}
		e, err := told.Kept.Event()
		if err != nil {
			return "", err
		}
		if day, ok := e.Extension("urn:epcglobal:cbv:mda:", "itemExpirationDate").Text(); ok && len(day) >= 10 && format.IsDate(day[:10]) {
			return day[:10], nil
		}
	}
	return "", nil
}

// Opening is stock that is opened.
type Opening struct {
	Wanted
	Doses    int64     // 0: those of one vial
	Ends     time.Time // when the session of the clinic will end; zero: not said
	Diluent  string    // lot of what it was reconstituted with
	Override string    // why it is opened although it is unfit, of who may say so; "": it is not
}

// Open opens stock. Of what is unfit it returns why, and [ErrUnfit].
//
// The session, the event that tells of it and the line of the audit log are durable when
// it returns.
func (c *Custody) Open(ctx context.Context, by Actor, o Opening) (*Session, *Fitness, error) {
	// Step 1: what is known of it.
	f, err := c.Fitness(ctx, by, o.Wanted)
	if err != nil {
		return nil, nil, err
	}
	now := c.Now().UTC().Truncate(time.Millisecond)
	w := f.Wanted
	s := &Session{
		Place: f.Place, Version: 1, Lot: w.Lot, Opened: now, Doses: o.Doses,
		Location: w.Location, Product: w.Product, Number: w.Number, Expiry: w.Expiry, Serial: w.Serial, Diluent: o.Diluent,
	}
	v := f.Vaccine
	if v != nil {
		s.Name, s.Codes, s.Reconstituted = v.Name, v.Codes, v.Form == vaccine.FreezeDried
		s.Product = certified(v)
		s.Doses = cmp.Or(s.Doses, int64(v.Doses))
	} else {
		v = new(vaccine.Vaccine) // of which nothing is known: six hours
	}
	switch {
	case s.Doses < 1 || s.Doses > maxDoses:
		return nil, nil, fmt.Errorf("custody: %d doses: %w", s.Doses, ErrDoses)
	case len(o.Diluent) > 40:
		return nil, nil, fmt.Errorf("custody: lot of the diluent: %w", ErrLot)
	}

	// Step 2: refuse what is unfit, unless somebody answers for it.
	l := Line{At: now, By: by.ID, Action: "session-open"}
	if !f.Fit() {
		if o.Override == "" {
			return nil, f, fmt.Errorf("custody: %w", ErrUnfit)
		}
		if !slices.Contains(overrides, o.Override) {
			return nil, nil, fmt.Errorf("custody: override: %w", ErrReason)
		}
		s.Override = &Override{Reason: o.Override, By: by.ID}
		for _, x := range f.Findings {
			if x.Refuses {
				s.Override.Against = append(s.Override.Against, x.Reason)
			}
		}
		l.Action, l.Reason = "session-override", o.Override+": "+strings.Join(s.Override.Against, ", ")
	}

	// Step 3: until when it is used. What is used past its expiry by an override is used for
	// as long as other stock.
	expiry := int64(0)
	if day, err := time.Parse(time.DateOnly, w.Expiry); err == nil && day.AddDate(0, 0, 1).After(now) {
		expiry = day.AddDate(0, 0, 1).Unix()
	}
	ends := int64(0)
	if o.Ends.After(now) {
		ends = o.Ends.Unix()
	}
	discard, why := v.Discard(now.Unix(), ends, expiry)
	s.Discard, s.Why = time.Unix(discard, 0).UTC(), why

	// Step 4: keep it, with what is told of it.
	s.ID = newID(now)
	event, err := s.event("opened", by, now, epcis.Observe, "unpacking", "container_open", s.Doses)
	if err != nil {
		return nil, nil, err
	}
	return s, f, c.Stock.PutSession(ctx, s, []Event{event}, l)
}

// certified is the code by which certificates name a product: one that is of no pack.
func certified(v *vaccine.Vaccine) thing.Product {
	for _, code := range v.Codes {
		if code.System != gs1.GTINSystem {
			return code
		}
	}
	return v.Codes[0]
}

// Sessions are those of a place before one, newest first.
func (c *Custody) Sessions(ctx context.Context, by Actor, open bool, before ID, limit int) ([]Session, error) {
	return c.Stock.SessionsAt(ctx, by.Within, open, before, limit)
}

// Session returns one of a place.
func (c *Custody) Session(ctx context.Context, by Actor, id ID) (*Session, error) {
	s, err := c.Stock.Session(ctx, id)
	if err == nil && !by.Within.Holds(s.Place) {
		err = fmt.Errorf("custody: %w", ErrNoSession)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// SessionFitness is what is known now of the stock of a session.
func (c *Custody) SessionFitness(ctx context.Context, by Actor, s *Session) (*Fitness, error) {
	f, err := c.Fitness(ctx, by, Wanted{Lot: s.Lot, Product: s.Product, Number: s.Number, Expiry: s.Expiry, Serial: s.Serial, Location: s.Location})
	if err == nil && !c.Now().Before(s.Discard) {
		f.Findings = append(f.Findings, Finding{Reason: UnfitPastDiscard, Why: s.Why, Refuses: true})
	}
	return f, err
}

// change finds an open session in the version that was seen.
func (c *Custody) change(ctx context.Context, by Actor, id ID, version int64) (*Session, error) {
	s, err := c.Session(ctx, by, id)
	switch {
	case err != nil:
		return nil, err
	case !s.Ended.IsZero():
		return nil, fmt.Errorf("custody: %w", ErrEnded)
	case s.Version != version:
		return nil, fmt.Errorf("custody: session: %w", ErrConflict)
	}
	s.Version++
	return s, nil
}

// Waste takes doses out of a session that nobody got.
func (c *Custody) Waste(ctx context.Context, by Actor, id ID, version, doses int64, reason string) (*Session, error) {
	s, err := c.change(ctx, by, id, version)
	if err != nil {
		return nil, err
	}
	now := c.Now().UTC().Truncate(time.Millisecond)
	event, err := s.waste(by, now, doses, reason)
	if err != nil {
		return nil, err
	}
	return s, c.Stock.PutSession(ctx, s, []Event{event}, Line{At: now, By: by.ID, Action: "session-waste", Reason: reason})
}

func (s *Session) waste(by Actor, now time.Time, doses int64, reason string) (Event, error) {
	disposition, known := wasted[reason]
	switch {
	case !known:
		return Event{}, fmt.Errorf("custody: waste: %w", ErrReason)
	case doses < 1 || doses > s.Rest():
		return Event{}, fmt.Errorf("custody: %d of %d doses: %w", doses, s.Rest(), ErrDoses)
	}
	s.Wasted += doses
	s.Wastes = append(s.Wastes, Waste{doses, reason, now})
	return s.event(fmt.Sprintf("wasted:%d", len(s.Wastes)), by, now, epcis.Delete, "destroying", disposition, doses)
}

// Closing is what was counted when a session ended.
type Closing struct {
	Unrecorded int64  // given, and no record was made of it
	Left       int64  // unopened: they go back to the stock
	Reason     string // why the rest is wasted; "": the vial was open for too long
}

// End ends a session. What was neither given nor goes back to the stock is wasted. One
// event tells all that was given.
func (c *Custody) End(ctx context.Context, by Actor, id ID, version int64, o Closing) (*Session, error) {
	s, err := c.change(ctx, by, id, version)
	if err != nil {
		return nil, err
	}
	now := c.Now().UTC().Truncate(time.Millisecond)
	if o.Unrecorded < 0 || o.Left < 0 || o.Unrecorded > s.Rest() || o.Left > s.Rest()-o.Unrecorded {
		return nil, fmt.Errorf("custody: %d and %d of %d doses: %w", o.Unrecorded, o.Left, s.Rest(), ErrDoses)
	}
	s.Unrecorded, s.Left = o.Unrecorded, o.Left
	var events []Event
	if rest := s.Rest(); rest > 0 {
		event, err := s.waste(by, now, rest, cmp.Or(o.Reason, WasteOpenVial))
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	if given := s.Given + s.Unrecorded; given > 0 {
		event, err := s.event("given", by, now, epcis.Delete, "dispensing", "dispensed", given)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	s.Ended = now
	return s, c.Stock.PutSession(ctx, s, events, Line{At: now, By: by.ID, Action: "session-end"})
}

// event tells of a session. Its name is made of the session's, so that what is told once
// is never told twice. Amounts are in doses, since a vial is less than what a GTIN of a
// carton names.
func (s *Session) event(what string, by Actor, at time.Time, action epcis.Action, step, disposition string, doses int64) (Event, error) {
	type object map[string]any
	data, err := json.Marshal(object{
		"@context": epcis.Context, "type": epcis.ObjectEvent, "eventID": "urn:ampoule:session:" + string(s.ID) + ":" + what,
		"eventTime": at.Format("2006-01-02T15:04:05.000Z"), "eventTimeZoneOffset": "+00:00",
		"action": action, "bizStep": step, "disposition": disposition,
		"quantityList":       []object{{"epcClass": s.Lot, "quantity": doses, "uom": trail.Doses}},
		"readPoint":          object{"id": s.Location},
		"bizTransactionList": []object{{"bizTransaction": "urn:uuid:" + string(s.ID)}},
	})
	if err != nil {
		return Event{}, err
	}
	d, findings, err := epcis.Parse(data)
	if err == nil && len(findings) > 0 {
		err = fmt.Errorf("custody: event of a session: %s: %w", findings[0].Path, findings[0].Reason)
	}
	if err != nil {
		return Event{}, err
	}
	e := d.Events[0]
	return Event{
		ID: e.ID, Hash: e.Hash(), At: e.Time, Recorded: at, Organisation: s.Place.Organisation, By: by.ID,
		Kept: e.Keep(e.ID, at), Moves: trail.Moves(e),
	}, nil
}

// Imbalance is where what is told of a lot's amounts does not agree.
type Imbalance struct {
	Lot string
	trail.Imbalance
}

// Imbalances are those of the lots that are or were at the sites of a place, newest first.
func (c *Custody) Imbalances(ctx context.Context, by Actor) ([]Imbalance, error) {
	stock, err := c.eachLot(ctx, by)
	if err != nil {
		return nil, err
	}
	var out []Imbalance
	for _, x := range stock {
		for _, i := range x.trail.Imbalances {
			if i.Place == x.site.URI {
				out = append(out, Imbalance{x.trail.Lot, i})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Imbalance) int { return b.At.Compare(a.At) })
	return out, nil
}

// lotAt is one lot at one site.
type lotAt struct {
	site  Location
	trail *trail.Trail
	sites *sites
}

func (c *Custody) eachLot(ctx context.Context, by Actor) (out []lotAt, err error) {
	sites, err := c.Sites(ctx, by)
	if err != nil {
		return nil, err
	}
	for _, site := range sites {
		lots, err := c.lotsAt(ctx, site.Place, site.URI)
		if err != nil {
			return nil, err
		}
		for _, lot := range lots {
			t, at, err := c.follow(ctx, lot)
			if err != nil {
				return nil, err
			}
			out = append(out, lotAt{site, t, at})
		}
	}
	return out, nil
}

// InStock are the lots at the sites of a place of which something is there, or of which
// nobody told how much, with what is known of each.
func (c *Custody) InStock(ctx context.Context, by Actor) (out []Fitness, err error) {
	all, err := c.eachLot(ctx, by)
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		open := slices.ContainsFunc(x.trail.Stays, func(s trail.Stay) bool { return s.Place == x.site.URI && s.Open() })
		if !open {
			continue
		}
		f, err := c.Fitness(ctx, by, Wanted{Lot: x.trail.Lot, Location: x.site.URI})
		if err != nil {
			return nil, err
		}
		out = append(out, *f)
	}
	return out, nil
}
