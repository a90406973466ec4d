// Package trail says where goods were, from what is told of them: an event of EPCIS
// makes moves, and moves in the order of their times make trails.
//
// Nothing else is kept of goods. What comes late is put where it belongs, and what
// somebody declared wrong is left out.
package trail

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format/epcis"
	"ampoule/format/gs1"
)

// Deed is what was done to a thing.
type Deed string

// The deeds.
const (
	Made     Deed = "made"     // there from now on
	Left     Deed = "left"     // a place, for another
	Arrived  Deed = "arrived"  // at a place
	Kept     Deed = "kept"     // put somewhere within a place
	Counted  Deed = "counted"  // so much is there
	Given    Deed = "given"    // to people
	Gone     Deed = "gone"     // destroyed, thrown away, used up
	Packed   Deed = "packed"   // into another
	Unpacked Deed = "unpacked" // out of it
	Attached Deed = "attached" // a device to it
	Detached Deed = "detached"
	Seen     Deed = "seen" // somewhere, and nothing was done
)

// Many is an amount that was not told.
const Many = -1

// Doses is the unit of what is less than a pack (UN/ECE Recommendation 20: dose).
const Doses = "E27"

// Move is what one event did to one thing.
type Move struct {
	At    time.Time
	Deed  Deed
	Thing string // by [Name]
	// Lot is the lot of one item, where the event tells it; by [Name].
	Lot string
	// Amount is how many of what the thing's class names, or of Unit; [Many] where it was
	// not told.
	Amount int64
	Unit   string // [Doses]; "": pieces
	Place  string // where it is now, or from where it left; by [Name]; "": not told
	// Other is the destination of what left, the source of what arrived, what a thing was
	// packed into, and the device that was attached.
	Other string
	// Papers are the business transactions of the event, by which what left and what
	// arrived find each other.
	Papers []string
	Event  string // its name
}

// Name is the one form of an identifier: of a GS1 key the canonical Digital Link of its
// finest part, of anything else the URI itself.
func Name(uri string) string {
	var key gs1.Key
	switch {
	case strings.HasPrefix(uri, "urn:epc:"):
		u, err := gs1.ParseURN(uri)
		if err != nil {
			return uri
		}
		key = u.Key
	case strings.HasPrefix(uri, "http:") || strings.HasPrefix(uri, "https:"):
		d, err := gs1.ParseDigitalLink(uri)
		if err != nil {
			return uri
		}
		key = d.Key
	default:
		return uri
	}
	return key.Finest().DigitalLink()
}

// lotURN begins the names of lots of products without a GTIN.
const lotURN = "urn:ampoule:lot:"

// LotName is the name of a lot of a product, by the code system of the product. A GTIN is
// of the system "https://id.gs1.org/01".
func LotName(system, code, lot string) string {
	if system == gs1.GTINSystem {
		if k, err := gs1.NewKey("01", code, gs1.Element{AI: "10", Value: lot}); err == nil {
			return k.DigitalLink()
		}
	}
	return lotURN + url.QueryEscape(system) + ":" + url.QueryEscape(code) + ":" + url.QueryEscape(lot)
}

// ParseLotName reads the name of a lot; false where it is of none.
func ParseLotName(name string) (system, code, lot string, ok bool) {
	if rest, is := strings.CutPrefix(name, lotURN); is {
		parts := strings.Split(rest, ":")
		if len(parts) != 3 {
			return "", "", "", false
		}
		for i, into := range []*string{&system, &code, &lot} {
			text, err := url.QueryUnescape(parts[i])
			if err != nil || text == "" {
				return "", "", "", false
			}
			*into = text
		}
		return system, code, lot, true
	}
	d, err := gs1.ParseDigitalLink(name)
	if err != nil || d.Key.AI != "01" || len(d.Key.Qualifiers) != 1 || d.Key.Qualifiers[0].AI != "10" {
		return "", "", "", false
	}
	return gs1.GTINSystem, d.Key.Value, d.Key.Qualifiers[0].Value, true
}

// CBV's attribute for the lot of an item (CBV 2.0 section 10), in its namespaces.
var lotAttributes = [][2]string{
	{"urn:epcglobal:cbv:mda:", "lotNumber"}, {"urn:epcglobal:cbv:mda#", "lotNumber"}, {"urn:epcglobal:cbv:mda", "lotNumber"},
	{"https://ref.gs1.org/cbv/", "lotNumber"},
}

// steps are what the business steps of object events do. What is not here is [Seen].
var steps = map[string]Deed{
	epcis.Commissioning: Made, epcis.Shipping: Left, epcis.Departing: Left,
	epcis.Receiving: Arrived, epcis.Arriving: Arrived, epcis.Accepting: Arrived,
	epcis.Storing: Kept, epcis.Stocking: Kept, epcis.Holding: Kept,
	epcis.StockTaking: Counted, epcis.CycleCounting: Counted, epcis.Dispensing: Given,
	epcis.Destroying: Gone, epcis.Decommissioning: Gone,
}

// Moves returns what an event did. One that was declared wrong did nothing.
func Moves(e *epcis.Event) (out []Move) {
	if e.Error != nil {
		return nil
	}
	base := Move{At: e.Time, Event: cmp.Or(e.ID, e.HashID()), Place: Name(cmp.Or(e.Location, e.ReadPoint))}
	for _, t := range e.Transactions {
		base.Papers = append(base.Papers, t.ID)
	}
	slices.Sort(base.Papers)
	each := func(deed Deed, items []string, lots []epcis.Quantity) {
		m := base
		m.Deed = deed
		for _, item := range items {
			m.Thing, m.Amount = Name(item), 1
			m.Lot = itemLot(e, m.Thing)
			out = append(out, m)
		}
		m.Lot = ""
		for _, q := range lots {
			m.Thing, m.Unit = Name(q.Class), ""
			if q.Unit == Doses {
				m.Unit = Doses
			}
			m.Amount = whole(q)
			out = append(out, m)
		}
	}
	switch e.Type {
	case epcis.ObjectEvent:
		deed, known := steps[e.Step]
		switch {
		case e.Action == epcis.Add:
			deed = Made
		case e.Action == epcis.Delete && deed != Given:
			deed = Gone
		case !known:
			deed = Seen
		}
		switch deed {
		case Left:
			// Where it left is where it was seen last; where it is now nobody says.
			base.Place = Name(cmp.Or(e.ReadPoint, e.Location))
			base.Other = party(e.Destinations)
		case Arrived:
			base.Other = party(e.Sources)
		}
		each(deed, e.EPCs, e.Quantities)
	case epcis.AggregationEvent:
		base.Other = Name(e.Parent)
		switch e.Action {
		case epcis.Add:
			each(Packed, e.Children, e.ChildQuantities)
		case epcis.Delete:
			if len(e.Children)+len(e.ChildQuantities) == 0 {
				each(Unpacked, []string{""}, nil) // all that is in it
			}
			each(Unpacked, e.Children, e.ChildQuantities)
		}
	case epcis.AssociationEvent:
		deed := map[epcis.Action]Deed{epcis.Add: Attached, epcis.Delete: Detached}[e.Action]
		if deed == "" {
			return nil
		}
		for _, child := range e.Children {
			m := base
			m.Deed, m.Thing, m.Amount, m.Other = deed, Name(e.Parent), 1, Name(child)
			out = append(out, m)
		}
		if len(e.Children) == 0 && deed == Detached {
			m := base
			m.Deed, m.Thing, m.Amount = deed, Name(e.Parent), 1
			out = append(out, m)
		}
	case epcis.TransformationEvent:
		each(Gone, e.Inputs, e.InputQuantities)
		each(Made, e.Outputs, e.OutputQuantities)
	}
	return out
}

// itemLot is the lot of an item that an event makes: by the lot number in its master
// data, and the GTIN of the item.
func itemLot(e *epcis.Event, item string) string {
	d, err := gs1.ParseDigitalLink(item)
	if err != nil || d.Key.AI != "01" {
		return ""
	}
	for _, a := range lotAttributes {
		if lot, ok := e.Extension(a[0], a[1]).Text(); ok && lot != "" {
			return LotName(gs1.GTINSystem, d.Key.Value, lot)
		}
	}
	return ""
}

// party is where something goes or comes from: the place rather than who has it.
func party(list []epcis.Typed) string {
	for _, kind := range []string{epcis.PartyLocation, epcis.PossessingParty, epcis.OwningParty} {
		for _, t := range list {
			if t.Type == kind {
				return Name(t.ID)
			}
		}
	}
	return ""
}

// InDoses returns moves with their amounts in doses, of which a pack has so many. Where
// that is not known (0), they stay in packs, and what was told in doses did nothing to
// them that could be counted.
func InDoses(moves []Move, perPack int64) []Move {
	out := slices.Clone(moves)
	for i := range out {
		m := &out[i]
		switch {
		case perPack == 0 && m.Unit == Doses:
			m.Deed = Seen
		case perPack == 0:
		case m.Unit == Doses:
			m.Unit = ""
		case m.Amount > 0:
			m.Amount *= perPack
		}
	}
	return out
}

// whole is a quantity in whole pieces or doses: without a unit, or by the codes of UN/ECE
// Recommendation 20 for pieces, each, and dose.
func whole(q epcis.Quantity) int64 {
	switch q.Unit {
	case "", "H87", "EA", "C62", Doses:
		if n, err := strconv.ParseFloat(q.Amount, 64); err == nil && n >= 0 && n <= 1<<50 && n == float64(int64(n)) {
			return int64(n)
		}
	}
	return Many
}
