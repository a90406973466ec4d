package custody_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/coldchain"
	"ampoule/format/epcis"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/thing/trail"
	"ampoule/thing/vaccine"
)

// The things and places of the tests. Two refrigerators stand in the store, one in each
// clinic.
const (
	ipvLot    = "https://id.gs1.org/01/09521321123458/10/SPEC-IPV"
	yellowLot = "https://id.gs1.org/01/09521321123465/10/SPEC-YF"
	works     = "https://id.gs1.org/414/9521321000018"
	depot     = "https://id.gs1.org/414/9521321000025"
	north     = "https://id.gs1.org/414/9521321000032"
	south     = "https://id.gs1.org/414/9521321000049"
	depotCold = "urn:uuid:00000000-0000-4000-8000-00000000000a"
	northCold = "urn:uuid:00000000-0000-4000-8000-00000000000b"
	southCold = "urn:uuid:00000000-0000-4000-8000-00000000000c"
)

const products = `{"vaccines": [
 {"name": "Specimen IPV", "form": "liquid", "storage": "refrigerated", "freeze": "harmed", "doses": 10, "codes": [{"code": "09521321123458", "system": "https://id.gs1.org/01"}, {"code": "EU/1/20/1528", "system": "https://ec.europa.eu/health/documents/community-register/html/"}],
  "budget": {"bands": [{"above": 8000, "seconds": 172800}], "freezeSensitive": true}},
 {"name": "Specimen yellow fever", "form": "freeze-dried", "storage": "refrigerated", "freeze": "not-harmed", "doses": 5, "codes": [{"code": "09521321123465", "system": "https://id.gs1.org/01"}, {"code": "EU/1/20/1507", "system": "https://ec.europa.eu/health/documents/community-register/html/"}],
  "budget": {"bands": [{"above": 8000, "seconds": 172800}], "freezeSensitive": false}}
]}`

// fridges are readings by the name of what measured them: a small fleet.
type fridges map[string][]coldchain.Reading

func (f fridges) InEquipment(_ context.Context, name string, from, until int64) (custody.Readings, error) {
	r := custody.Readings{Gap: coldchain.Gap, Level: 3}
	for _, x := range f[name] {
		if x.At >= from-r.Gap && x.At <= until+r.Gap {
			r.Readings = append(r.Readings, x)
		}
	}
	return r, nil
}

func (f fridges) ByDevice(ctx context.Context, name string, from, until int64) (custody.Readings, error) {
	return f.InEquipment(ctx, name, from, until)
}

// hold has a reading in 15 minutes from one day until another.
func (f fridges) hold(name string, from, until int, t coldchain.Temperature) {
	for at := day(from).Unix(); at < day(until).Unix(); at += 900 {
		f[name] = append(f[name], coldchain.Reading{At: at, T: t})
	}
}

func day(n int) time.Time { return time.Date(2026, 10, n, 0, 0, 0, 0, time.UTC) }

// kit is custody over a store of its own, with a clock that the test sets.
type kit struct {
	*custody.Custody
	t    *testing.T
	now  time.Time
	cold fridges
	n    int
	desk *storetest.Kit // that issues
}

func newKit(t *testing.T) *kit {
	t.Helper()
	master, err := keys.NewMasterKey(rand.Reader)
	must(t, err)
	c := store.Config{Dir: t.TempDir(), Master: master, NoSync: true}
	must(t, store.Create(t.Context(), c))
	s, err := store.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	catalogue, err := vaccine.Parse([]byte(products))
	must(t, err)
	k := &kit{t: t, now: day(20), cold: fridges{}, desk: storetest.NewKit(t, s)}
	k.Custody = &custody.Custody{
		Events: s.Goods(), Stock: s.Goods(), Fridges: k.cold, Catalogue: func() *vaccine.Catalogue { return catalogue },
		Now: func() time.Time { return k.now }, Log: slog.New(slog.DiscardHandler),
	}
	for _, l := range []custody.Location{
		{URI: works, Place: custody.Place{Organisation: "works"}, Name: "Specimen works"},
		{URI: depot, Place: custody.Place{Organisation: "moh", Facility: "depot"}, Name: "Depot", Country: "XA"},
		{URI: depotCold, Place: custody.Place{Organisation: "moh", Facility: "depot"}, Name: "cold room", Within: depot, Equipment: "depot-cold"},
		{URI: north, Place: custody.Place{Organisation: "moh", Facility: "north"}, Name: "North", Country: "XA"},
		{URI: northCold, Place: custody.Place{Organisation: "moh", Facility: "north"}, Name: "fridge", Within: north, Equipment: "north-cold"},
		{URI: south, Place: custody.Place{Organisation: "moh", Facility: "south"}, Name: "South", Country: "XA"},
		{URI: southCold, Place: custody.Place{Organisation: "moh", Facility: "south"}, Name: "fridge", Within: south, Equipment: "south-cold"},
	} {
		l.Version = 1
		must(t, k.Stock.PutLocation(t.Context(), &l))
	}
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tell captures an object event of a day.
func (k *kit) tell(at time.Time, organisation, lot string, amount int, action, step, rest string) {
	k.t.Helper()
	k.n++
	id := fmt.Sprintf("urn:x:%d", k.n)
	d, findings, err := epcis.Parse(fmt.Appendf(nil, `{"@context":%q,"type":"ObjectEvent","eventID":%q,"eventTime":%q,"eventTimeZoneOffset":"+00:00",
		"action":%q,"bizStep":%q,"quantityList":[{"epcClass":%q,"quantity":%d}],%s}`, epcis.Context, id, at.Format(time.RFC3339), action, step, lot, amount, rest))
	if err != nil || len(findings) > 0 {
		k.t.Fatalf("%v, %v", findings, err)
	}
	e := d.Events[0]
	_, err = k.Events.Capture(k.t.Context(), []custody.Event{{
		ID: id, Hash: e.Hash(), At: e.Time, Recorded: k.now, Organisation: organisation, By: "account", Kept: e.Keep(id, k.now), Moves: trail.Moves(e),
	}})
	must(k.t, err)
}

// deliver takes a lot from the works to the depot on day 1, and on day 5 half of it to
// each clinic, into their refrigerators. A logger rides along to the depot.
func (k *kit) deliver(lot string) {
	to := func(place string) string {
		return `"destinationList":[{"type":"location","destination":"` + place + `"}]`
	}
	k.tell(day(1), "works", lot, 100, "ADD", "commissioning", `"bizLocation":{"id":"`+works+`"}`)
	k.tell(day(1).Add(time.Hour), "works", lot, 100, "OBSERVE", "shipping", `"readPoint":{"id":"`+works+`"},`+to(depot))
	k.tell(day(2), "moh", lot, 100, "OBSERVE", "receiving", `"bizLocation":{"id":"`+depot+`"}`)
	k.tell(day(2), "moh", lot, 100, "OBSERVE", "storing", `"bizLocation":{"id":"`+depotCold+`"}`)
	for place, cold := range map[string]string{north: northCold, south: southCold} {
		k.tell(day(5), "moh", lot, 50, "OBSERVE", "shipping", `"readPoint":{"id":"`+depotCold+`"},`+to(place))
		k.tell(day(5).Add(2*time.Hour), "moh", lot, 50, "OBSERVE", "receiving", `"bizLocation":{"id":"`+place+`"}`)
		k.tell(day(5).Add(2*time.Hour), "moh", lot, 50, "OBSERVE", "storing", `"bizLocation":{"id":"`+cold+`"}`)
	}
}

// TestAssess is a refrigerator that freezes on day 12: of two lots in it one bears that,
// and the same lot elsewhere never saw it.
func TestAssess(t *testing.T) {
	k := newKit(t)
	k.deliver(ipvLot)
	k.deliver(yellowLot)
	k.cold.hold("depot-cold", 1, 6, 5_000)
	k.cold.hold("south-cold", 5, 20, 4_000)
	k.cold.hold("north-cold", 5, 12, 5_000)
	k.cold.hold("north-cold", 12, 13, -3_000)
	k.cold.hold("north-cold", 13, 20, 5_000)
	frozen := day(12).Add(time.Hour).Unix()
	for _, c := range []struct {
		lot, place string
		at         time.Time
		outcome    coldchain.Outcome
		when       int64
		where      string
	}{
		{ipvLot, north, day(11), coldchain.Sound, 0, ""},
		{ipvLot, north, day(15), coldchain.Froze, frozen, "North, fridge"},
		{yellowLot, north, day(15), coldchain.Sound, 0, ""},
		{ipvLot, south, day(15), coldchain.Sound, 0, ""},
	} {
		known, err := k.Assess(t.Context(), c.lot, c.place, c.at)
		must(t, err)
		if known.Outcome != c.outcome || known.At != c.when || known.Where != c.where {
			t.Errorf("%s at %s on day %d: %s at %d in %q", c.lot, c.place, c.at.Day(), known.Outcome, known.At, known.Where)
		}
	}
	known, err := k.Assess(t.Context(), ipvLot, south, day(15))
	must(t, err)
	var path []string
	for _, u := range known.Unknown {
		path = append(path, fmt.Sprintf("%s %s", u.Where, time.Duration(u.Until-u.From)*time.Second))
	}
	want := []string{"Specimen works 1h0m0s", "Specimen works → Depot 23h0m0s", "Depot → South 2h0m0s"}
	if diff := cmp.Diff(want, path); diff != "" {
		t.Errorf("what nobody measured: %s", diff)
	}
	if whole := day(15).Sub(day(1)); time.Duration(known.Whole)*time.Second != whole || time.Duration(known.Measured)*time.Second != whole-26*time.Hour {
		t.Errorf("%d of %d seconds were measured", known.Measured, known.Whole)
	}
	// A lot of which nobody knows the product is never sound of itself.
	other := strings.Replace(ipvLot, "09521321123458", "09521321123472", 1)
	k.deliver(other)
	if known, err = k.Assess(t.Context(), other, north, day(15)); err != nil || known.Outcome != coldchain.NotKnown || known.Why != coldchain.WhySensitivity {
		t.Errorf("%+v, %v", known.Assessment, err)
	}
}
