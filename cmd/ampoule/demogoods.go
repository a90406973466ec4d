package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ampoule/cert"
	"ampoule/format/epcis"
	"ampoule/internal/httpapi"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
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

// The pallets of the two lots, and what the carrier's logger is called in events.
const (
	demoYellowPallet = "https://id.gs1.org/00/095213210000000117"
	demoPolioPallet  = "https://id.gs1.org/00/095213210000000124"
	demoLoggerURI    = "https://id.gs1.org/8004/" + demoLogger
)

// spot is a place in a site, by the extension component of its GLN.
func spot(site, name string) string { return site + "/254/" + name }

// stock has two lots travel from the works to two clinics. One refrigerator froze both:
// see [demoStores].
func (d *demo) stock(ctx context.Context, s *service) error {
	g := s.goods
	watched := map[string]string{}
	for _, x := range d.stores {
		watched[x.name] = string(x.id)
	}
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
	expiry := demoExpiry(now)
	var events []custody.Event
	where := func(uri string) string { return `,"bizLocation":{"id":"` + uri + `"}` }
	from := func(uri, to string) string {
		return `,"readPoint":{"id":"` + uri + `"},"destinationList":[{"type":"location","destination":"` + to + `"}]`
	}
	packs := func(key, lot string, n int) string {
		return fmt.Sprintf(`,%q:[{"epcClass":%q,"quantity":%d}]`, key, lot, n)
	}
	for _, lot := range []struct{ name, pallet, north string }{{demoYellowLot, demoYellowPallet, "2"}, {demoPolioLot, demoPolioPallet, "2"}} {
		pallet, parent := `,"epcList":["`+lot.pallet+`"]`, `,"parentID":"`+lot.pallet+`"`
		// The makers hand the pallet to the carrier, whose logger goes with it.
		for _, x := range []struct {
			at                 time.Time
			kind, action, step string
			rest               string
		}{
			{ago(28, 0), "ObjectEvent", "ADD", "commissioning", packs("quantityList", lot.name, 200) + where(demoWorks) + `,"ilmd":{"cbvmda:itemExpirationDate":"` + expiry + `"}`},
			{ago(28, 1), "AggregationEvent", "ADD", "packing", parent + packs("childQuantityList", lot.name, 200) + where(demoWorks)},
			{ago(28, 1), "AssociationEvent", "ADD", "assembling", parent + `,"childEPCs":["` + demoLoggerURI + `"]` + where(demoWorks)},
			{ago(28, 2), "ObjectEvent", "OBSERVE", "shipping", pallet + from(demoWorks, demoCentral)},
			{ago(28, 6), "ObjectEvent", "OBSERVE", "receiving", pallet + where(demoCentral)},
			{ago(28, 7), "AggregationEvent", "DELETE", "unpacking", parent + packs("childQuantityList", lot.name, 200) + where(demoCentral)},
			{ago(28, 7), "ObjectEvent", "OBSERVE", "storing", packs("quantityList", lot.name, 200) + where(spot(demoCentral, "1"))},
			{ago(22, 0), "ObjectEvent", "OBSERVE", "shipping", packs("quantityList", lot.name, 40) + from(spot(demoCentral, "1"), demoNorth)},
			{ago(22, 2), "ObjectEvent", "OBSERVE", "receiving", packs("quantityList", lot.name, 40) + where(demoNorth)},
			{ago(22, 2), "ObjectEvent", "OBSERVE", "storing", packs("quantityList", lot.name, 40) + where(spot(demoNorth, lot.north))},
			{ago(22, 0), "ObjectEvent", "OBSERVE", "shipping", packs("quantityList", lot.name, 40) + from(spot(demoCentral, "1"), demoSouth)},
			{ago(22, 4), "ObjectEvent", "OBSERVE", "receiving", packs("quantityList", lot.name, 40) + where(demoSouth)},
			{ago(22, 4), "ObjectEvent", "OBSERVE", "storing", packs("quantityList", lot.name, 40) + where(spot(demoSouth, "1"))},
		} {
			id := fmt.Sprintf("urn:ampoule:demonstration:%d", len(events)+1)
			e, err := demoEvent(id, x.at, x.kind, x.action, x.step, x.rest)
			if err != nil {
				return fmt.Errorf("event %s of %s: %w", x.step, lot.name, err)
			}
			events = append(events, e)
		}
	}
	_, err := g.Events.Capture(ctx, events)
	return err
}

// demoEvent is an event as the organisation of the demonstration captures it.
func demoEvent(id string, at time.Time, kind, action, step, rest string) (custody.Event, error) {
	doc, findings, err := epcis.Parse(fmt.Appendf(nil, `{"@context":%q,"type":%q,"eventID":%q,"eventTime":%q,"eventTimeZoneOffset":"+00:00","action":%q,"bizStep":%q%s}`,
		epcis.Context, kind, id, at.Format(time.RFC3339), action, step, rest))
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

// demoDose is a dose from a session of a clinic, of which the tour shows the
// certificate.
type demoDose struct {
	id, title, note          string // of the sample
	lot, facility, location  string
	product, diluent, person string
	years                    int // of validity; 0: for life
}

// The doses were given before anybody had read the logger of the refrigerator that
// froze.
var demoDoses = []demoDose{
	{"given-frozen", "A dose that froze", "Given at the north clinic from a refrigerator that had frozen: in force, with a concern for a health officer.",
		demoPolioLot, "north-clinic", spot(demoNorth, "2"), "DEMO-POLIO-0001", "", "Ines", 1},
	{"given-beside", "The vaccine beside it", "From the same refrigerator: freezing does not harm this vaccine, and nothing is held against the dose.",
		demoYellowLot, "north-clinic", spot(demoNorth, "2"), "DEMO-YF-0002", "DEMO-DIL-1", "Jonas", 0},
	{"given-elsewhere", "The same lot elsewhere", "Of the lot that froze at the north clinic, given at the south clinic, where it did not.",
		demoPolioLot, "south-clinic", spot(demoSouth, "1"), "DEMO-POLIO-0001", "", "Kira", 1},
}

// demoGiven is how many days ago they were given, a few days after the freeze.
const demoGiven = 15

// given opens a vial for each of the doses, as of the day on which they were given, and
// issues their certificates.
func (d *demo) given(ctx context.Context, s *service) error {
	g, at := s.goods, time.Now().AddDate(0, 0, -demoGiven)
	signing, err := loadSigningKeys(s.settings)
	if err != nil {
		return err
	}
	clock := func() time.Time { return at }
	set := instance{Participant: demoParticipant, Name: "Demonstration Health Authority", Country: "XA"}
	r := &issuer.Registry{Book: s.store, Country: set.Country, Now: clock, Issuers: issuers(signing, set, demoAddress, cert.DemoCatalogue(), at)}
	for _, i := range r.Issuers {
		i.Now = clock
	}
	now := g.Custody.Now
	g.Custody.Now = clock // nobody else goes by it yet
	defer func() { g.Custody.Now = now }()
	for n, x := range demoDoses {
		by := custody.Actor{ID: "demonstration", Within: custody.Place{Organisation: demoOrganisation, Facility: x.facility}}
		opened, _, err := g.Open(ctx, by, custody.Opening{Wanted: custody.Wanted{Lot: x.lot, Location: x.location}, Diluent: x.diluent})
		if err != nil {
			return fmt.Errorf("session of %s: %w", x.facility, err)
		}
		wanted := issuer.Wanted{Format: issuer.ICVP}
		if x.years > 0 {
			wanted.Expires = at.AddDate(x.years, 0, 0).Truncate(time.Second)
		}
		receipt, err := r.Issue(ctx, issuer.Order{
			By: issuer.Actor{ID: by.ID, Within: issuer.Place(by.Within)}, At: issuer.Place(by.Within), Session: string(opened.ID), Wanted: []issuer.Wanted{wanted},
			Record: &cert.Certificate{
				Kind: cert.KindVaccination, Authority: set.Name,
				Person: cert.Person{
					Name: cert.Name{Full: x.person + " Specimen"}, BirthDate: cert.Date(fmt.Sprintf("19%02d-%02d-%02d", 70+n, 1+n, 4+n)),
					Sex: "female", Nationality: "XXA", Document: cert.Document{Number: fmt.Sprintf("SPEC2%03d", n), Type: "PPN"},
				},
				Vaccination: &cert.Vaccination{Product: cert.Code{Code: x.product}, Lot: opened.Number, Date: day(at), Clinician: x.facility},
			},
		})
		if err != nil {
			return fmt.Errorf("dose at %s: %w", x.facility, err)
		}
		// The dose with a record has moved the session on by one.
		if _, err := g.End(ctx, by, opened.ID, opened.Version+1, custody.Closing{Unrecorded: opened.Doses - 1}); err != nil {
			return fmt.Errorf("end of the session of %s: %w", x.facility, err)
		}
		if err := d.add(httpapi.Sample{ID: x.id, Title: x.title, Note: x.note, Text: receipt.Artefacts[0].Text, Want: verifier.Valid}); err != nil {
			return err
		}
		d.scene.Doses = append(d.scene.Doses, sceneDose{x.id, receipt.ID.String(), x.facility, opened.Number})
	}
	return nil
}

// sessions opens stock at each clinic, today.
func (d *demo) sessions(ctx context.Context, s *service) error {
	for facility, location := range map[string]string{"north-clinic": spot(demoNorth, "2"), "south-clinic": spot(demoSouth, "1")} {
		by := custody.Actor{ID: "demonstration", Within: custody.Place{Organisation: demoOrganisation, Facility: facility}}
		if _, _, err := s.goods.Open(ctx, by, custody.Opening{Wanted: custody.Wanted{Lot: demoYellowLot, Location: location}, Diluent: "DEMO-DIL-1"}); err != nil {
			return fmt.Errorf("session of %s: %w", facility, err)
		}
	}
	return nil
}
