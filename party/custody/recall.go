package custody

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"ampoule/coldchain"
	"ampoule/format/dccrevocation"
	"ampoule/format/uuid"
	"ampoule/thing"
	"ampoule/thing/trail"
	"ampoule/thing/vaccine"
	"ampoule/trust"
)

// LotsOf are the lots that moves name, with their numbers in letters and digits.
func LotsOf(moves []trail.Move) map[string]string {
	out := map[string]string{}
	for _, m := range moves {
		for _, name := range []string{m.Thing, m.Lot} {
			if _, _, number, ok := trail.ParseLotName(name); ok {
				out[name] = thing.NormalLot(number)
			}
		}
	}
	return out
}

// Recalled is what a recall of a lot reaches.
type Recalled struct {
	Product thing.Product
	Number  string
	// Lots are the names under which events know it.
	Lots   []string
	Places []RecalledAt
	// OnTheWay is what has left one place and arrived at none; [trail.Many]: not known. It and
	// what is at places is in doses where the catalogue knows the pack, and in packs otherwise.
	OnTheWay int64
	// Doses and Certificates are those of records in force here.
	Doses        int
	Certificates int
	ByFormat     map[string]int
}

// RecalledAt is what it reaches at one place.
type RecalledAt struct {
	URI, Name string
	At        Place // zero: nobody registered it
	trail.Balance
	Doses        int // of records
	Certificates int
	Sessions     []string // from which doses were given
}

// Recall follows a lot of a product from where it was made to the certificates, by any
// code of the product. An actor sees the places of its organisation and counts of all.
func (c *Custody) Recall(ctx context.Context, by Actor, product thing.Product, number string) (*Recalled, error) {
	r := &Recalled{Product: product, Number: number, ByFormat: map[string]int{}}
	normal := thing.NormalLot(number)
	codes := c.Synonyms(product)
	lots, err := c.Events.LotsNumbered(ctx, normal)
	if err != nil {
		return nil, err
	}
	byURI, byPlace := map[string]int{}, map[Place]int{}
	for _, lot := range lots {
		system, code, _, _ := trail.ParseLotName(lot)
		if !slices.Contains(codes, thing.Product{Code: code, System: system}) {
			continue
		}
		r.Lots = append(r.Lots, lot)
		t, sites, err := c.follow(ctx, lot)
		if err != nil {
			return nil, err
		}
		for uri, balance := range t.Places {
			i, ok := byURI[uri]
			if !ok {
				i = len(r.Places)
				byURI[uri] = i
				n := RecalledAt{URI: uri, Name: sites.name(uri), Balance: trail.Balance{Known: true}}
				if l := sites.find(uri); l != nil {
					n.At = l.Place
					byPlace[l.Place] = i
				}
				r.Places = append(r.Places, n)
			}
			p := &r.Places[i]
			p.Here, p.Given, p.Gone = p.Here+balance.Here, p.Given+balance.Given, p.Gone+balance.Gone
			p.Known = p.Known && balance.Known
		}
		for _, s := range t.Stays {
			if s.Place == "" && s.Open() && r.OnTheWay != trail.Many {
				if r.OnTheWay += s.Amount; s.Amount == trail.Many {
					r.OnTheWay = trail.Many
				}
			}
		}
	}
	var last uuid.UUID
	err = c.Stock.Certified(ctx, normal, func(x *Certified) error {
		if !slices.ContainsFunc(x.Products, func(p thing.Product) bool { return slices.Contains(codes, p) }) {
			return nil
		}
		i, ok := byPlace[x.At]
		if !ok {
			i = len(r.Places)
			byPlace[x.At] = i
			r.Places = append(r.Places, RecalledAt{At: x.At, Name: x.At.Facility})
		}
		p := &r.Places[i]
		if x.Record != last {
			last = x.Record
			r.Doses++
			p.Doses++
			if x.Session != "" && !slices.Contains(p.Sessions, x.Session) {
				p.Sessions = append(p.Sessions, x.Session)
			}
		}
		r.Certificates++
		p.Certificates++
		r.ByFormat[x.Format]++
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Places = slices.DeleteFunc(r.Places, func(p RecalledAt) bool { return by.Within.Organisation != "" && !by.Within.Holds(p.At) })
	slices.SortFunc(r.Places, func(a, b RecalledAt) int {
		if c := strings.Compare(a.At.Organisation+"/"+a.At.Facility, b.At.Organisation+"/"+b.At.Facility); c != 0 {
			return c
		}
		return strings.Compare(a.URI, b.URI)
	})
	return r, nil
}

// Records calls each for every record of a dose that a recall reaches at the actor's
// place, once.
func (c *Custody) Records(ctx context.Context, by Actor, product thing.Product, number string, each func(uuid.UUID, Place) error) error {
	codes := c.Synonyms(product)
	var last uuid.UUID
	return c.Stock.Certified(ctx, thing.NormalLot(number), func(x *Certified) error {
		if x.Record == last || !by.Within.Holds(x.At) || !slices.ContainsFunc(x.Products, func(p thing.Product) bool { return slices.Contains(codes, p) }) {
			return nil
		}
		last = x.Record
		return each(x.Record, x.At)
	})
}

// Synonyms are all codes of the product that one is of.
func (c *Custody) Synonyms(product thing.Product) []thing.Product {
	if c.Catalogue != nil {
		if v := c.Catalogue().Find(product); v != nil {
			return v.Codes
		}
	}
	return []thing.Product{product}
}

// Concern is what is held against the doses of a lot that were given at a place: found
// by its path, and held until it is found otherwise.
type Concern struct {
	ID      ID    `json:"-"`
	Version int64 `json:"-"`
	Stands  bool  `json:"-"`

	Lot      string          `json:"lot"` // its name in events
	Number   string          `json:"number"`
	Products []thing.Product `json:"products"` // all codes of the product
	Site     string          `json:"site"`     // URI
	At       Place           `json:"at"`
	Country  string          `json:"country,omitempty"`
	Value    thing.Value     `json:"value"` // heat or freeze
	// From is when the goods were harmed, and Where in the words of the place.
	From  time.Time `json:"from"`
	Where string    `json:"where"`
	Found time.Time `json:"found"`
	// Why it stands no longer: late data showed another path.
	Why string `json:"why,omitempty"`
}

// Sweep assesses lots at every registered place at which they are or were, and writes
// what is found against them, or is not any more: those that stood in some equipment, or
// all where none is named. It returns what changed.
func (c *Custody) Sweep(ctx context.Context, equipment ...string) (changed []Concern, err error) {
	locations, err := c.locationsOf(ctx, equipment)
	if err != nil {
		return nil, err
	}
	lots, err := c.Events.LotsAt(ctx, locations)
	if err != nil {
		return nil, err
	}
	if len(equipment) == 0 {
		// Whatever put a lot there may have been declared wrong.
		standing, err := c.Stock.Concerns(ctx, "")
		if err != nil {
			return nil, err
		}
		for _, x := range standing {
			lots = append(lots, x.Lot)
		}
		slices.Sort(lots)
		lots = slices.Compact(lots)
	}
	now := c.Now()
	for _, lot := range lots {
		t, sites, err := c.follow(ctx, lot)
		if err != nil {
			return nil, err
		}
		standing, err := c.Stock.Concerns(ctx, lot)
		if err != nil {
			return nil, err
		}
		before := map[string]*Concern{} // by site
		for i := range standing {
			before[standing[i].Site] = &standing[i]
		}
		places := slices.AppendSeq(slices.Collect(maps.Keys(t.Places)), maps.Keys(before))
		slices.Sort(places)
		for _, place := range slices.Compact(places) {
			site := sites.find(place)
			if site == nil {
				continue // nobody gives doses where nobody registered a place
			}
			k, err := c.assess(ctx, t, sites, place, now)
			if err != nil {
				return nil, err
			}
			change := c.weigh(k, site, before[place], now)
			if change == nil {
				continue
			}
			if change.Version == 1 {
				change.ID = newID(now)
			}
			if err := c.Stock.PutConcern(ctx, change); err != nil {
				return nil, err
			}
			changed = append(changed, *change)
		}
	}
	return changed, nil
}

// locationsOf are the registered locations that some equipment watches, or all where none
// is named.
func (c *Custody) locationsOf(ctx context.Context, equipment []string) (uris []string, err error) {
	const page = 500
	for after := ""; ; {
		locations, err := c.Stock.LocationsAt(ctx, Place{}, after, page)
		if err != nil {
			return nil, err
		}
		for _, l := range locations {
			if after = l.URI; len(equipment) == 0 || slices.Contains(equipment, l.Equipment) {
				uris = append(uris, l.URI)
			}
		}
		if len(locations) < page {
			return uris, nil
		}
	}
}

// weigh compares what is known of a lot with what was held against it; nil: nothing has
// changed.
func (c *Custody) weigh(k *Known, site *Location, old *Concern, now time.Time) *Concern {
	n := concernOf(k, site, now)
	switch {
	case n == nil && old == nil:
		return nil
	case n == nil:
		gone := *old
		gone.Version, gone.Stands, gone.Why = old.Version+1, false, "late-data"
		return &gone
	case old != nil && old.Value == n.Value && old.From.Equal(n.From):
		return nil
	case old != nil:
		n.ID, n.Version = old.ID, old.Version+1
	}
	return n
}

// concernOf is what is held against a lot at a site by what is known of it; nil: nothing.
func concernOf(k *Known, site *Location, now time.Time) *Concern {
	value, harmed := map[coldchain.Outcome]thing.Value{coldchain.Heated: thing.Heat, coldchain.Froze: thing.Freeze}[k.Outcome]
	if !harmed {
		return nil
	}
	n := &Concern{Version: 1, Lot: k.Lot, Site: k.Place, Value: value, From: time.Unix(k.At, 0).UTC(), Where: k.Where, Found: now.UTC().Truncate(time.Second), Stands: true}
	_, _, n.Number, _ = trail.ParseLotName(k.Lot)
	n.Products, n.At, n.Country = productsOf(k.Lot, k.Vaccine), site.Place, site.Country
	return n
}

// productsOf are the codes of a lot's product.
func productsOf(lot string, v *vaccine.Vaccine) []thing.Product {
	if v != nil {
		return v.Codes
	}
	system, code, _, _ := trail.ParseLotName(lot)
	return []thing.Product{{Code: code, System: system}}
}

// Doubt is one certificate of whose own dose something is known.
type Doubt struct {
	Scheme string
	KID    []byte
	Mark   []byte
	Reason string // of the advice, see package thing
}

// Doubts are the certificates in force of this service whose own dose something is
// known against: by what happened to it here, and by what is believed of its lot. They
// are for bundles, and never for public lists.
func (c *Custody) Doubts(ctx context.Context, lots *thing.LotList, country string) ([]Doubt, error) {
	concerns, err := c.Stock.Concerns(ctx, "")
	if err != nil {
		return nil, err
	}
	byNumber := map[string][]Concern{}
	for _, x := range concerns {
		n := thing.NormalLot(x.Number)
		byNumber[n] = append(byNumber[n], x)
	}
	numbers := map[string]bool{}
	for n := range byNumber {
		numbers[n] = true
	}
	for _, n := range lots.Numbers() {
		numbers[n] = true
	}
	var out []Doubt
	for number := range numbers {
		err := c.Stock.Certified(ctx, number, func(x *Certified) error {
			reason := ""
			for _, k := range byNumber[number] {
				if k.covers(x) {
					reason = map[thing.Value]string{thing.Heat: thing.ReasonHeat, thing.Freeze: thing.ReasonFrozen}[k.Value]
				}
			}
			if a := lots.Advise(thing.Dose{Products: c.allCodes(x.Products), Lot: number, Country: country, Given: x.Day}); a.Value == thing.Concern {
				reason = a.Reason
			}
			if reason != "" && x.Scheme != "" {
				out = append(out, Doubt{x.Scheme, slices.Clone(x.KID), slices.Clone(x.Mark), reason})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b Doubt) int {
		return strings.Compare(a.Scheme+string(a.KID)+string(a.Mark), b.Scheme+string(b.KID)+string(b.Mark))
	})
	return out, nil
}

// allCodes are those of a dose and all others of its product.
func (c *Custody) allCodes(codes []thing.Product) []thing.Product {
	if c.Catalogue != nil {
		if v := c.Catalogue().Find(codes...); v != nil {
			return append(slices.Clone(codes), v.Codes...)
		}
	}
	return codes
}

// covers reports whether a dose is one of those that a concern is about: of its product,
// given at its place, on the day on which the goods were harmed or later.
func (x *Concern) covers(d *Certified) bool {
	return x.At.Organisation == d.At.Organisation && x.At.Facility == d.At.Facility && d.Day >= x.From.Format(time.DateOnly) &&
		slices.ContainsFunc(d.Products, func(p thing.Product) bool { return slices.Contains(x.Products, p) })
}

// DoseList writes doubts as a status snapshot, for bundles: each stands beside a valid
// outcome as an advice. Cards have no place on it.
func DoseList(doubts []Doubt, country string) ([]byte, error) {
	byKey := map[string][]dccrevocation.Hash128{}
	for _, d := range doubts {
		var h dccrevocation.Hash128
		if d.Scheme == signatureScheme && copy(h[:], d.Mark) == len(h) && len(d.Mark) == len(h) {
			byKey[string(d.KID)] = append(byKey[string(d.KID)], h)
		}
	}
	var s trust.Snapshot
	for kid, hashes := range byKey {
		s.Add(trust.SnapshotGroup{Scheme: trust.SchemeSignature, Country: country, KID: trust.KeyID(kid), Purpose: trust.PurposeDose, Hashes: hashes})
	}
	return s.Encode()
}

// signatureScheme is the issuer's name for marks that are hashes of signatures.
const signatureScheme = "dcc-signature"
