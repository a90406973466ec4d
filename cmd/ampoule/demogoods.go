package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ampoule/format/epcis"
	"ampoule/party/custody"
	"ampoule/party/fleet"
	"ampoule/thing/trail"
)

// The products of the demonstration. Their codes are those of the demonstration's
// catalogue for certificates, and GTINs of GS1's prefix for examples (952).
const demoProducts = `{"vaccines": [
 {"name": "Demonstration yellow fever vaccine, ten doses (fictitious)", "maker": "Demonstration Manufacturer Two (fictitious)", "form": "freeze-dried",
  "codes": [{"code": "DEMO-YF-0002", "system": "http://smart.who.int/icvp/CodeSystem/ICVPProductIds"}, {"code": "09521321123465", "system": "https://id.gs1.org/01"}],
  "storage": "refrigerated", "freeze": "not-harmed", "diluent": {"name": "Demonstration diluent (fictitious)"}, "vvm": 14, "doses": 10, "open": {"hours": 6},
  "budget": {"bands": [{"above": 8000, "seconds": 604800}, {"above": 25000, "seconds": 172800}], "freezeSensitive": false}, "source": "made up"},
 {"name": "Demonstration inactivated poliomyelitis vaccine (fictitious)", "maker": "Demonstration Manufacturer One (fictitious)", "form": "liquid",
  "codes": [{"code": "DEMO-POLIO-0001", "system": "http://smart.who.int/icvp/CodeSystem/ICVPProductIds"}, {"code": "09521321123458", "system": "https://id.gs1.org/01"}],
  "storage": "refrigerated", "freeze": "harmed", "vvm": 7, "doses": 5, "open": {"days": true},
  "budget": {"bands": [{"above": 8000, "seconds": 172800}], "freezeSensitive": true}, "source": "made up"}
]}
`

const demoProductsFile = "products.json"

func writeDemoProducts(dir string) error {
	return os.WriteFile(filepath.Join(dir, demoProductsFile), []byte(demoProducts), 0o644)
}

// The lots and places of the demonstration.
const (
	demoYellowLot = "https://id.gs1.org/01/09521321123465/10/DEMO-LOT-1"
	demoPolioLot  = "https://id.gs1.org/01/09521321123458/10/DEMO-IPV-1"
	demoWorks     = "https://id.gs1.org/414/9521321000018"
	demoCentral   = "https://id.gs1.org/414/9521321000025"
	demoNorth     = "https://id.gs1.org/414/9521321000032"
	demoSouth     = "https://id.gs1.org/414/9521321000049"
)

// stock has two lots travel from the works to two clinics, and opens a session at each.
// One refrigerator froze the vaccine that does not bear it: see [demoStores].
func (d *demo) stock(ctx context.Context, s *service) error {
	g := s.goods
	equipment, err := s.fleet.Book.EquipmentAt(ctx, fleet.Place{Organisation: demoOrganisation})
	if err != nil {
		return err
	}
	watched := map[string]string{}
	for _, e := range equipment {
		watched[e.Name] = string(e.ID)
	}
	spot := func(site, name string) string { return site + "/254/" + name } // GLN extension component
	for _, l := range []struct{ uri, facility, name, within, equipment string }{
		{demoWorks, "works", "Demonstration works", "", ""},
		{demoCentral, "central-store", "Central store", "", ""},
		{spot(demoCentral, "1"), "central-store", "cold room", demoCentral, "Central store, cold room"},
		{demoNorth, "north-clinic", "North clinic", "", ""},
		{spot(demoNorth, "1"), "north-clinic", "fridge 1", demoNorth, "North clinic, fridge 1"},
		{spot(demoNorth, "2"), "north-clinic", "fridge 2", demoNorth, "North clinic, fridge 2"},
		{demoSouth, "south-clinic", "South clinic", "", ""},
		{spot(demoSouth, "1"), "south-clinic", "fridge", demoSouth, "South clinic, fridge"},
	} {
		at := custody.Actor{ID: "demonstration", Within: custody.Place{Organisation: demoOrganisation, Facility: l.facility}}
		if err := g.PutLocation(ctx, at, &custody.Location{URI: l.uri, Place: at.Within, Version: 1, Name: l.name, Country: "XA", Within: l.within, Equipment: watched[l.equipment]}); err != nil {
			return err
		}
	}

	now := time.Now().UTC().Truncate(time.Minute)
	ago := func(days, hours int) time.Time { return now.AddDate(0, 0, -days).Add(time.Duration(hours) * time.Hour) }
	expiry := now.AddDate(1, 6, 0).Format(time.DateOnly)
	var events []custody.Event
	tell := func(at time.Time, lot string, packs int, action, step, rest string) error {
		e, err := demoEvent(fmt.Sprintf("urn:ampoule:demonstration:%d", len(events)+1), at, lot, packs, action, step, rest)
		events = append(events, e)
		return err
	}
	where := func(uri string) string { return `,"bizLocation":{"id":"` + uri + `"}` }
	from := func(uri, to string) string {
		return `,"readPoint":{"id":"` + uri + `"},"destinationList":[{"type":"location","destination":"` + to + `"}]`
	}
	for _, lot := range []struct{ name, north string }{{demoYellowLot, "1"}, {demoPolioLot, "2"}} {
		type told struct {
			at           time.Time
			packs        int
			action, step string
			rest         string
		}
		for _, x := range []told{
			{ago(28, 0), 200, "ADD", "commissioning", where(demoWorks) + `,"ilmd":{"cbvmda:itemExpirationDate":"` + expiry + `"}`},
			{ago(28, 2), 200, "OBSERVE", "shipping", from(demoWorks, demoCentral)},
			{ago(28, 6), 200, "OBSERVE", "receiving", where(demoCentral)},
			{ago(28, 6), 200, "OBSERVE", "storing", where(spot(demoCentral, "1"))},
			{ago(22, 0), 40, "OBSERVE", "shipping", from(spot(demoCentral, "1"), demoNorth)},
			{ago(22, 2), 40, "OBSERVE", "receiving", where(demoNorth)},
			{ago(22, 2), 40, "OBSERVE", "storing", where(spot(demoNorth, lot.north))},
			{ago(22, 0), 40, "OBSERVE", "shipping", from(spot(demoCentral, "1"), demoSouth)},
			{ago(22, 4), 40, "OBSERVE", "receiving", where(demoSouth)},
			{ago(22, 4), 40, "OBSERVE", "storing", where(spot(demoSouth, "1"))},
		} {
			if err := tell(x.at, lot.name, x.packs, x.action, x.step, x.rest); err != nil {
				return err
			}
		}
	}
	if _, err := g.Events.Capture(ctx, events); err != nil {
		return err
	}
	for facility, location := range map[string]string{"north-clinic": spot(demoNorth, "1"), "south-clinic": spot(demoSouth, "1")} {
		by := custody.Actor{ID: "demonstration", Within: custody.Place{Organisation: demoOrganisation, Facility: facility}}
		if _, _, err := g.Open(ctx, by, custody.Opening{Wanted: custody.Wanted{Lot: demoYellowLot, Location: location}, Diluent: "DEMO-DIL-1"}); err != nil {
			return fmt.Errorf("session of %s: %w", facility, err)
		}
	}
	return nil
}

// demoEvent is an event as the organisation of the demonstration captures it.
func demoEvent(id string, at time.Time, lot string, packs int, action, step, rest string) (custody.Event, error) {
	doc, findings, err := epcis.Parse(fmt.Appendf(nil, `{"@context":%q,"type":"ObjectEvent","eventID":%q,"eventTime":%q,"eventTimeZoneOffset":"+00:00","action":%q,"bizStep":%q,
		"quantityList":[{"epcClass":%q,"quantity":%d}]%s}`, epcis.Context, id, at.Format(time.RFC3339), action, step, lot, packs, rest))
	if err == nil && len(findings) > 0 {
		err = fmt.Errorf("%s: %w", findings[0].Path, findings[0].Reason)
	}
	if err != nil {
		return custody.Event{}, err
	}
	e := doc.Events[0]
	return custody.Event{
		ID: id, Hash: e.Hash(), At: e.Time, Recorded: at, Organisation: demoOrganisation, By: "demonstration", Kept: e.Keep(id, at), Moves: trail.Moves(e),
	}, nil
}
