package trail

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/epcis"
	"ampoule/format/gs1"
)

// The places of the tests. Refrigerators stand in the store.
const (
	factory = "https://id.gs1.org/414/9521321000018"
	store   = "https://id.gs1.org/414/9521321000025"
	fridgeA = "urn:uuid:00000000-0000-4000-8000-00000000000a"
	fridgeB = "urn:uuid:00000000-0000-4000-8000-00000000000b"
	clinic  = "https://id.gs1.org/414/9521321000032"
	lot     = "https://id.gs1.org/01/09521321123458/10/SPEC-1"
	other   = "https://id.gs1.org/01/09521321123458/10/SPEC-2"
	box     = "https://id.gs1.org/00/095213210000000117"
)

func within(location string) string {
	if location == fridgeA || location == fridgeB {
		return store
	}
	return location
}

// day is a time of the tests.
func day(n int) time.Time { return time.Date(2026, 11, n, 8, 0, 0, 0, time.UTC) }

// event writes an event of a day.
func event(n int, kind, rest string) string {
	return fmt.Sprintf(`{"type":%q,"eventID":"urn:x:%d","eventTime":%q,"eventTimeZoneOffset":"+00:00",%s}`, kind, n, day(n).Format(time.RFC3339), rest)
}

func quantity(name string, amount int) string {
	return fmt.Sprintf(`[{"epcClass":%q,"quantity":%d}]`, name, amount)
}

// moves reads events and returns what they did.
func moves(t *testing.T, events ...string) (out []Move) {
	t.Helper()
	d, findings, err := epcis.Parse([]byte(`{"@context":["` + epcis.Context + `"],"type":"EPCISDocument","schemaVersion":"2.0","creationDate":"2026-11-30T00:00:00Z",
		"epcisBody":{"eventList":[` + strings.Join(events, ",") + `]}}`))
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v, %v", findings, err)
	}
	for _, e := range d.Events {
		out = append(out, Moves(e)...)
	}
	return out
}

// journey is a lot from the factory to a clinic, in a box on the way to the store.
var journey = []string{
	event(1, "ObjectEvent", `"action":"ADD","bizStep":"commissioning","bizLocation":{"id":"`+factory+`"},"quantityList":`+quantity("urn:epc:class:lgtin:9521321.012345.SPEC-1", 1000)),
	event(2, "AggregationEvent", `"action":"ADD","bizStep":"packing","parentID":"urn:epc:id:sscc:9521321.0000000011","bizLocation":{"id":"`+factory+`"},"childQuantityList":`+quantity(lot, 600)),
	event(3, "AssociationEvent", `"action":"ADD","bizStep":"installing","parentID":"`+box+`","childEPCs":["urn:epc:id:giai:9521321.LOGGER1"]`),
	event(4, "ObjectEvent", `"action":"OBSERVE","bizStep":"shipping","readPoint":{"id":"`+factory+`"},"epcList":["`+box+`"],
		"destinationList":[{"type":"location","destination":"`+store+`"}],"bizTransactionList":[{"type":"desadv","bizTransaction":"urn:x:despatch:1"}]`),
	event(6, "ObjectEvent", `"action":"OBSERVE","bizStep":"receiving","bizLocation":{"id":"`+store+`"},"epcList":["`+box+`"],
		"bizTransactionList":[{"type":"desadv","bizTransaction":"urn:x:despatch:1"}]`),
	event(7, "AggregationEvent", `"action":"DELETE","bizStep":"unpacking","parentID":"`+box+`","bizLocation":{"id":"`+store+`"}`),
	event(8, "ObjectEvent", `"action":"OBSERVE","bizStep":"storing","bizLocation":{"id":"`+fridgeA+`"},"quantityList":[{"epcClass":"`+lot+`"}]`),
	event(10, "ObjectEvent", `"action":"OBSERVE","bizStep":"storing","bizLocation":{"id":"`+fridgeB+`"},"quantityList":`+quantity(lot, 200)),
	event(12, "ObjectEvent", `"action":"OBSERVE","bizStep":"shipping","readPoint":{"id":"`+fridgeB+`"},"quantityList":`+quantity(lot, 100)+`,
		"destinationList":[{"type":"location","destination":"`+clinic+`"}]`),
	event(13, "ObjectEvent", `"action":"OBSERVE","bizStep":"receiving","bizLocation":{"id":"`+clinic+`"},"quantityList":`+quantity(lot, 95)),
	event(14, "ObjectEvent", `"action":"DELETE","bizStep":"dispensing","bizLocation":{"id":"`+clinic+`"},"quantityList":`+quantity(lot, 30)),
	event(15, "ObjectEvent", `"action":"DELETE","bizStep":"destroying","bizLocation":{"id":"`+clinic+`"},"quantityList":`+quantity(lot, 5)),
	event(16, "ObjectEvent", `"action":"OBSERVE","bizStep":"stock_taking","bizLocation":{"id":"`+clinic+`"},"quantityList":`+quantity(lot, 58)),
	event(17, "ObjectEvent", `"action":"OBSERVE","bizStep":"receiving","bizLocation":{"id":"`+clinic+`"},"quantityList":`+quantity(other, 7)),
}

func TestFold(t *testing.T) {
	want := &Trail{
		Lot: lot,
		Stays: []Stay{
			{Place: factory, From: day(1), Amount: 1000},
			{From: day(4), Until: day(6), Source: factory, Destination: store, Devices: []string{"https://id.gs1.org/8004/9521321LOGGER1"}, Amount: 600},
			{Place: store, From: day(6), Until: day(8), Amount: 600},
			{Place: store, Spot: fridgeA, From: day(8), Amount: 600},
			{Place: store, Spot: fridgeB, From: day(10), Amount: 200},
			{From: day(12), Until: day(13), Source: store, Destination: clinic, Amount: 100},
			{Place: clinic, From: day(13), Amount: 95},
		},
		Places: map[string]Balance{
			factory: {Here: 400, Known: true}, store: {Here: 500, Known: true}, clinic: {Here: 58, Given: 30, Gone: 5, Known: true},
		},
		Imbalances: []Imbalance{
			{clinic, day(13), LostOnWay, 100, 95, "urn:x:13"},
			{clinic, day(16), Miscounted, 60, 58, "urn:x:16"},
		},
	}
	all := moves(t, journey...)
	if diff := cmp.Diff(want, Fold(lot, all, within)); diff != "" {
		t.Error(diff)
	}
	// What comes late is put where it belongs.
	for range 20 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if diff := cmp.Diff(want, Fold(lot, all, within)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestPath(t *testing.T) {
	trail := Fold(lot, moves(t, journey...), within)
	var got []string
	for _, s := range trail.Path(clinic, day(14)) {
		got = append(got, fmt.Sprintf("%s %s %d-%d", last(s.Place), last(s.Spot), s.From.Day(), s.Until.Day()))
	}
	want := []string{
		"9521321000018  1-4", "  4-6", "9521321000025  6-8", "9521321000025 00000000-0000-4000-8000-00000000000a 8-12",
		"9521321000025 00000000-0000-4000-8000-00000000000b 10-12", "  12-13", "9521321000032  13-14",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := trail.Path("urn:x:nowhere", day(14)); got != nil {
		t.Errorf("a path to where it never was: %v", got)
	}
}

func last(name string) string { return name[strings.LastIndexAny(name, "/:")+1:] }

func TestMoves(t *testing.T) {
	const item = "urn:epc:id:sgtin:9521321.012345.77"
	commissioned := event(1, "ObjectEvent", `"action":"ADD","bizStep":"commissioning","bizLocation":{"id":"`+factory+`"},"epcList":["`+item+`"],"ilmd":{"cbvmda:lotNumber":"SPEC-1"}`)
	given := event(5, "ObjectEvent", `"action":"DELETE","bizStep":"dispensing","bizLocation":{"id":"`+factory+`"},"epcList":["`+item+`"]`)
	trail := Fold(lot, moves(t, commissioned, given), within)
	if b := trail.Places[factory]; b.Given != 1 || b.Here != 0 || len(trail.Imbalances) != 0 {
		t.Errorf("an item of the lot: %+v, %v", b, trail.Imbalances)
	}
	for _, c := range []struct{ name, event string }{
		{"declared wrong", event(1, "ObjectEvent", `"action":"ADD","epcList":["`+item+`"],"errorDeclaration":{"declarationTime":"2026-11-02T00:00:00Z","reason":"did_not_occur"}`)},
		{"a transaction", event(1, "TransactionEvent", `"action":"ADD","bizTransactionList":[{"bizTransaction":"urn:x:1"}],"epcList":["`+item+`"]`)},
	} {
		if got := moves(t, c.event); len(got) != 0 {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	made := moves(t, event(1, "TransformationEvent", `"inputEPCList":["urn:x:a"],"outputQuantityList":`+quantity(lot, 3)))
	if len(made) != 2 || made[0].Deed != Gone || made[1].Deed != Made || made[1].Amount != 3 {
		t.Errorf("a transformation: %+v", made)
	}
	weighed := moves(t, event(1, "ObjectEvent", `"action":"OBSERVE","quantityList":[{"epcClass":"`+lot+`","quantity":2,"uom":"KGM"}]`))
	if len(weighed) != 1 || weighed[0].Amount != Many || weighed[0].Deed != Seen {
		t.Errorf("a weight: %+v", weighed)
	}
}

func TestLotName(t *testing.T) {
	for _, c := range []struct{ system, code, lot, want string }{
		{gs1.GTINSystem, "09521321123458", "A/1", "https://id.gs1.org/01/09521321123458/10/A%2F1"},
		{"http://hl7.org/fhir/sid/cvx", "10", "a:1", "urn:ampoule:lot:http%3A%2F%2Fhl7.org%2Ffhir%2Fsid%2Fcvx:10:a%3A1"},
	} {
		name := LotName(c.system, c.code, c.lot)
		if name != c.want {
			t.Errorf("%s, want %s", name, c.want)
		}
		if system, code, lot, ok := ParseLotName(name); !ok || system != c.system || code != c.code || lot != c.lot {
			t.Errorf("%s: %s %s %s %v", name, system, code, lot, ok)
		}
	}
	for _, name := range []string{"", "urn:x:y", "https://id.gs1.org/01/09521321123458", "https://id.gs1.org/00/095213210000000117", lotURN + "a:b", lotURN + "a:b:%zz", lotURN + "::"} {
		if _, _, _, ok := ParseLotName(name); ok {
			t.Errorf("%q is the name of a lot", name)
		}
	}
}

func FuzzLotName(f *testing.F) {
	f.Add(lot)
	f.Add("urn:ampoule:lot:a:b:c")
	f.Fuzz(func(t *testing.T, name string) {
		system, code, number, ok := ParseLotName(name)
		if !ok {
			return
		}
		again := LotName(system, code, number)
		if s, c, n, ok := ParseLotName(again); !ok || s != system || c != code || n != number {
			t.Errorf("%q: %q is read as %q %q %q %v", name, again, s, c, n, ok)
		}
	})
}

// TestInDoses: a clinic gives less than the pack that came. Where nobody knows how many
// doses are in it, what was told in doses takes nothing away.
func TestInDoses(t *testing.T) {
	told := moves(t,
		event(1, "ObjectEvent", `"action":"ADD","bizStep":"commissioning","bizLocation":{"id":"`+clinic+`"},"quantityList":`+quantity(lot, 3)),
		event(2, "ObjectEvent", `"action":"DELETE","bizStep":"dispensing","readPoint":{"id":"`+clinic+`"},"quantityList":[{"epcClass":"`+lot+`","quantity":7,"uom":"E27"}]`),
		event(3, "ObjectEvent", `"action":"DELETE","bizStep":"destroying","readPoint":{"id":"`+clinic+`"},"quantityList":[{"epcClass":"`+lot+`","quantity":3,"uom":"E27"}]`),
	)
	for perPack, want := range map[int64]Balance{
		10: {Here: 20, Given: 7, Gone: 3, Known: true},
		0:  {Here: 3, Known: true},
	} {
		got := Fold(lot, InDoses(told, perPack), within)
		if b := got.Places[clinic]; b != want || len(got.Imbalances) != 0 {
			t.Errorf("%d in a pack: %+v, %+v", perPack, b, got.Imbalances)
		}
	}
	if b := Fold(lot, told, within).Places[clinic]; b != (Balance{Here: 3, Known: true}) {
		t.Errorf("in two units at once: %+v", b)
	}
}
