package custody

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"ampoule/coldchain"
	"ampoule/format/uuid"
	"ampoule/thing"
	"ampoule/thing/trail"
	"ampoule/thing/vaccine"
)

// Evidence is what stands behind what was measured in a time: the segments of one stream
// of a device, signed by one key, whose signatures and chain have been verified again.
type Evidence struct {
	Device string `json:"device"` // object identifier
	Sensor string `json:"sensor"`
	Signer string `json:"signer,omitempty"` // kid: of the device, or of the service that sealed what came unsigned
	From   int64  `json:"from"`             // of the segments, by the device's clock
	Until  int64  `json:"until"`
	// Root is that of a tree as in RFC 6962 over the SHA-256s of the segments, in their order.
	Root     string `json:"root,omitempty"`
	Segments int    `json:"segments"`
	Readings int    `json:"readings"`
	Unsigned int    `json:"unsigned"` // readings that are in no segment yet
	// Faults are what is wrong with the chains of the device, in words; none: they hold from
	// the first segment to the last.
	Faults []string `json:"faults"`
}

// Sound reports whether all of it is signed, and holds.
func (e *Evidence) Sound() bool { return e.Unsigned == 0 && len(e.Faults) == 0 }

// A Prover verifies again what [Fridges] tells of. It may keep what it has verified, and
// is used once.
type Prover interface {
	InEquipment(ctx context.Context, equipment string, from, until int64) ([]Evidence, error)
	ByDevice(ctx context.Context, name string, from, until int64) ([]Evidence, error)
}

// Judged is what is known of a lot at a place by one catalogue.
type Judged struct {
	Concern thing.Value `json:"concern,omitempty"` // heat or freeze; "": none
	From    time.Time   `json:"from,omitzero"`     // of the concern: doses of this day and later are meant
	Where   string      `json:"where,omitempty"`
	Outcome string      `json:"outcome"`
	Why     string      `json:"why,omitempty"`
	Share   int64       `json:"share"` // of the budget that is used, in millionths
	// Bands are the budget, and what is used of each.
	Bands []JudgedBand `json:"bands"`
}

// JudgedBand is one band of a budget.
type JudgedBand struct {
	Above   coldchain.Temperature `json:"above"` // 0.001 °C
	Minutes int64                 `json:"minutes"`
	Budget  int64                 `json:"budget"` // minutes
}

// Affected counts doses of records, and their certificates.
type Affected struct {
	Doses        int            `json:"doses"`
	Certificates int            `json:"certificates"`
	ByFormat     map[string]int `json:"formats"`
}

// Move is a lot at a place that is judged otherwise.
type Move struct {
	Lot     string     `json:"lot"` // its name in events
	Number  string     `json:"number"`
	Product string     `json:"product,omitempty"` // its name
	Site    string     `json:"site"`
	Name    string     `json:"name"`
	At      Place      `json:"at"`
	Before  Judged     `json:"before"`
	After   Judged     `json:"after"`
	Doubted Affected   `json:"doubted"` // against which something would be held, and is not now
	Cleared Affected   `json:"cleared"` // against which nothing would be held any more
	Proof   []Evidence `json:"evidence"`
}

// Reassessed is what another catalogue would change.
type Reassessed struct {
	At     time.Time `json:"at"`
	Judged int       `json:"judged"` // lots at places
	Moves  []Move    `json:"moves"`
}

// Reassess says which doses would be judged otherwise if the products bore what another
// catalogue says, at the actor's place. It changes nothing: [Custody.Sweep] does, under
// the catalogue that is in use.
func (c *Custody) Reassess(ctx context.Context, by Actor, next *vaccine.Catalogue) (*Reassessed, error) {
	// Step 1: every lot at every place, by both catalogues.
	locations, err := c.locationsOf(ctx, nil)
	if err != nil {
		return nil, err
	}
	lots, err := c.Events.LotsAt(ctx, locations)
	if err != nil {
		return nil, err
	}
	now := c.Now()
	out := &Reassessed{At: now.UTC().Truncate(time.Second), Moves: []Move{}}
	var moved []moving
	for _, lot := range lots {
		t, sites, err := c.follow(ctx, lot)
		if err != nil {
			return nil, err
		}
		for _, place := range slices.Sorted(maps.Keys(t.Places)) {
			site := sites.find(place)
			if site == nil || by.Within.Organisation != "" && !by.Within.Holds(site.Place) {
				continue
			}
			path := t.Path(place, now)
			legs, err := c.legs(ctx, sites, path)
			if err != nil {
				return nil, err
			}
			out.Judged++
			before, after := judge(t, place, path, legs, c.vaccineOf(lot)), judge(t, place, path, legs, vaccineIn(next, lot))
			m := moving{was: concernOf(before, site, now), is: concernOf(after, site, now), path: path, sites: sites}
			if m.was == nil && m.is == nil || m.was != nil && m.is != nil && m.was.Value == m.is.Value && m.was.From.Equal(m.is.From) {
				continue
			}
			m.Move = Move{Lot: lot, Site: place, Name: sites.name(place), At: site.Place, Before: judged(before, m.was), After: judged(after, m.is), Proof: []Evidence{}}
			m.Doubted.ByFormat, m.Cleared.ByFormat = map[string]int{}, map[string]int{}
			_, _, m.Number, _ = trail.ParseLotName(lot)
			if v := vaccineIn(next, lot); v != nil {
				m.Product = v.Name
			}
			moved = append(moved, m)
		}
		if sites.err != nil {
			return nil, sites.err
		}
	}

	// Step 2: the doses, lot by lot.
	byNumber := map[string][]*moving{}
	for i := range moved {
		number := thing.NormalLot(moved[i].Number)
		byNumber[number] = append(byNumber[number], &moved[i])
	}
	for number, moves := range byNumber {
		err := c.Stock.Certified(ctx, number, func(x *Certified) error {
			for _, m := range moves {
				m.count(x)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}

	// Step 3: what was measured is proven once more, for what moves.
	if c.Prove != nil && len(moved) > 0 {
		prover := c.Prove()
		for i := range moved {
			if err := moved[i].prove(ctx, prover); err != nil {
				return nil, err
			}
		}
	}
	for i := range moved {
		out.Moves = append(out.Moves, moved[i].Move)
	}
	slices.SortFunc(out.Moves, func(a, b Move) int { return strings.Compare(a.Lot+" "+a.Site, b.Lot+" "+b.Site) })
	return out, nil
}

// moving is a move that is being looked at.
type moving struct {
	Move
	was, is *Concern
	path    []trail.Stay
	sites   *sites
	last    uuid.UUID // the record that was counted last
}

// count counts a certificate, if something else is held against its dose now.
func (m *moving) count(x *Certified) {
	was, is := m.was != nil && m.was.covers(x), m.is != nil && m.is.covers(x)
	if was == is {
		return
	}
	n := &m.Doubted
	if was {
		n = &m.Cleared
	}
	if x.Record != m.last {
		m.last = x.Record
		n.Doses++
	}
	n.Certificates++
	n.ByFormat[x.Format]++
}

// prove collects what stands behind the path.
func (m *moving) prove(ctx context.Context, prover Prover) error {
	for i := range m.path {
		s := &m.path[i]
		devices, in := m.sites.watched(s)
		for _, device := range devices {
			found, err := prover.ByDevice(ctx, device, s.From.Unix(), s.Until.Unix())
			if err != nil {
				return err
			}
			m.Proof = append(m.Proof, found...)
		}
		if in != nil {
			found, err := prover.InEquipment(ctx, in.Equipment, s.From.Unix(), s.Until.Unix())
			if err != nil {
				return err
			}
			m.Proof = append(m.Proof, found...)
		}
	}
	return nil
}

func judged(k *Known, held *Concern) Judged {
	j := Judged{Outcome: string(k.Outcome), Why: k.Why, Share: k.Share, Bands: []JudgedBand{}}
	if held != nil {
		j.Concern, j.From, j.Where = held.Value, held.From, held.Where
	}
	for i, spent := range k.Spent {
		band := k.Vaccine.Budget.Bands[i]
		j.Bands = append(j.Bands, JudgedBand{band.Above, spent / 60, band.Seconds / 60})
	}
	return j
}
