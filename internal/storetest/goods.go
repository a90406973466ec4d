package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/epcis"
	"ampoule/party/custody"
	"ampoule/thing/trail"
)

// GoodsBook is what custody asks of a store.
type GoodsBook interface {
	custody.EventBook
	custody.StockBook
}

// Goods is what every such book must do. open returns one that is empty.
func Goods(t *testing.T, open func(t *testing.T) GoodsBook) {
	for name, test := range map[string]func(*testing.T, GoodsBook){
		"capture": testCapture, "declared wrong": testDeclaredWrong, "moves": testMoves, "locations": testLocations, "sessions": testStockSessions,
		"who sees what": testFind, "jobs": testCaptures, "subscriptions": testSubscriptions, "hand-overs": testHandovers,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

const (
	goodsSite = "https://id.gs1.org/414/9521321000018"
	goodsLot  = "https://id.gs1.org/01/09521321123458/10/SPEC-1"
	goodsBox  = "https://id.gs1.org/00/095213210000000117"
	goodsBox2 = "https://id.gs1.org/00/095213210000000223"
	goodsItem = "https://id.gs1.org/01/09521321123458/21/77"
)

// goodsEvent reads an event as a book is given it.
func goodsEvent(t *testing.T, id string, day int, kind, rest string) custody.Event {
	t.Helper()
	at := time.Date(2026, 11, day, 8, 0, 0, 0, time.UTC)
	d, findings, err := epcis.Parse(fmt.Appendf(nil, `{"@context":[%q,{"note":"https://ns.example.org/"}],"type":%q,"eventID":%q,"eventTime":%q,"eventTimeZoneOffset":"+00:00",%s}`,
		epcis.Context, kind, id, at.Format(time.RFC3339), rest))
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v, %v", findings, err)
	}
	e := d.Events[0]
	recorded := at.Add(time.Hour)
	return custody.Event{
		ID: id, Hash: e.Hash(), At: e.Time, Recorded: recorded, Declares: e.Error != nil, Organisation: "works", By: "account",
		Kept: e.Keep(id, recorded), Moves: trail.Moves(e),
	}
}

const madeOf = `"action":"ADD","bizStep":"commissioning","bizLocation":{"id":"` + goodsSite + `"},"quantityList":[{"epcClass":"` + goodsLot + `","quantity":%d}],"note:a":"b"`

func testCapture(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	first, second := goodsEvent(t, "urn:x:1", 1, "ObjectEvent", fmt.Sprintf(madeOf, 100)), goodsEvent(t, "urn:x:2", 2, "ObjectEvent", fmt.Sprintf(madeOf, 50))
	events := []custody.Event{first, second, first}
	if added, err := b.Capture(ctx, events); err != nil || added != 2 || events[0].N != 1 || events[1].N != 2 || events[2].N != 1 {
		t.Fatalf("%d were added: %v", added, err)
	}
	if added, err := b.Capture(ctx, []custody.Event{second}); err != nil || added != 0 {
		t.Errorf("the same once more: %d were added: %v", added, err)
	}
	other := goodsEvent(t, "urn:x:2", 3, "ObjectEvent", fmt.Sprintf(madeOf, 51))
	third := goodsEvent(t, "urn:x:3", 3, "ObjectEvent", fmt.Sprintf(madeOf, 7))
	if _, err := b.Capture(ctx, []custody.Event{third, other}); !errors.Is(err, custody.ErrOtherEvent) {
		t.Errorf("another of the same name: %v", err)
	}
	if _, err := b.Event(ctx, "urn:x:3"); !errors.Is(err, custody.ErrNoEvent) {
		t.Errorf("of a capture that was refused something stayed: %v", err)
	}
	got, err := b.Event(ctx, "urn:x:1")
	if err != nil {
		t.Fatal(err)
	}
	want := first
	want.N, want.Moves = 1, nil
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Error(diff)
	}
	again, err := got.Kept.Event()
	if err != nil || again.Hash() != first.Hash {
		t.Errorf("what was kept has another hash: %v", err)
	}
}

func testDeclaredWrong(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	made := fmt.Sprintf(madeOf, 100)
	wrong := func(id string) custody.Event {
		return goodsEvent(t, id, 1, "ObjectEvent", made+`,"errorDeclaration":{"declarationTime":"2026-11-05T00:00:00Z","reason":"did_not_occur"}`)
	}
	// One that comes after the event, and one that comes before it.
	for _, events := range [][]custody.Event{
		{goodsEvent(t, "urn:x:1", 1, "ObjectEvent", made)}, {wrong("urn:x:1")},
		{wrong("urn:x:2")}, {goodsEvent(t, "urn:x:2", 1, "ObjectEvent", made)},
	} {
		if added, err := b.Capture(ctx, events); err != nil || added != 1 {
			t.Fatalf("%d were added: %v", added, err)
		}
	}
	if moves, err := b.Moves(ctx, goodsLot); err != nil || len(moves) != 0 {
		t.Errorf("what did not occur did something: %v, %v", moves, err)
	}
	if e, err := b.Event(ctx, "urn:x:1"); err != nil || !e.Declares {
		t.Errorf("the declaration stands first: %+v, %v", e, err)
	}
}

func testMoves(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	events := []custody.Event{
		goodsEvent(t, "urn:x:1", 1, "ObjectEvent", fmt.Sprintf(madeOf, 100)),
		goodsEvent(t, "urn:x:2", 1, "ObjectEvent", `"action":"ADD","bizStep":"commissioning","bizLocation":{"id":"`+goodsSite+`"},"epcList":["`+goodsItem+`"],"ilmd":{"cbvmda:lotNumber":"SPEC-1"}`),
		goodsEvent(t, "urn:x:3", 2, "AggregationEvent", `"action":"ADD","parentID":"`+goodsBox+`","childEPCs":["`+goodsItem+`"]`),
		goodsEvent(t, "urn:x:4", 3, "AggregationEvent", `"action":"ADD","parentID":"`+goodsBox2+`","childEPCs":["`+goodsBox+`"]`),
		goodsEvent(t, "urn:x:5", 4, "ObjectEvent", `"action":"OBSERVE","bizStep":"shipping","readPoint":{"id":"`+goodsSite+`"},"epcList":["`+goodsBox2+`"],"bizTransactionList":[{"bizTransaction":"urn:x:paper"}]`),
		goodsEvent(t, "urn:x:6", 5, "AggregationEvent", `"action":"DELETE","parentID":"`+goodsBox2+`"`),
		goodsEvent(t, "urn:x:7", 6, "ObjectEvent", strings.ReplaceAll(fmt.Sprintf(madeOf, 100), "SPEC-1", "SPEC-2")),
	}
	if _, err := b.Capture(ctx, events); err != nil {
		t.Fatal(err)
	}
	moves, err := b.Moves(ctx, goodsLot)
	if err != nil {
		t.Fatal(err)
	}
	var want []trail.Move
	for _, e := range events[:6] {
		want = append(want, e.Moves...)
	}
	sort := func(m []trail.Move) {
		slices.SortFunc(m, func(a, b trail.Move) int { return strings.Compare(a.Event, b.Event) })
	}
	sort(moves)
	if diff := cmp.Diff(want, moves); diff != "" {
		t.Error(diff)
	}
	lots, err := b.LotsAt(ctx, []string{goodsSite, "urn:x:nowhere"})
	if diff := cmp.Diff([]string{goodsLot, strings.Replace(goodsLot, "SPEC-1", "SPEC-2", 1)}, lots); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
}

func testLocations(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	put := func(uri, organisation, facility string, version int64) error {
		return b.PutLocation(ctx, &custody.Location{
			URI: uri, Place: custody.Place{Organisation: organisation, Facility: facility}, Version: version, Name: "Example " + uri, Country: "XX", Within: "urn:x:site", Equipment: "e",
		})
	}
	for _, c := range []struct {
		uri, organisation, facility string
		version                     int64
		want                        error
	}{
		{"urn:x:a", "one", "north", 1, nil}, {"urn:x:b", "one", "south", 1, nil}, {"urn:x:c", "two", "", 1, nil},
		{"urn:x:a", "one", "north", 1, custody.ErrConflict}, {"urn:x:a", "one", "south", 2, nil}, {"urn:x:a", "one", "south", 2, custody.ErrConflict},
		{"urn:x:c", "one", "south", 2, custody.ErrConflict}, // another's
	} {
		if err := put(c.uri, c.organisation, c.facility, c.version); !errors.Is(err, c.want) {
			t.Errorf("%s version %d of %s: %v, want %v", c.uri, c.version, c.organisation, err, c.want)
		}
	}
	l, err := b.Location(ctx, "urn:x:a")
	want := &custody.Location{URI: "urn:x:a", Place: custody.Place{Organisation: "one", Facility: "south"}, Version: 2, Name: "Example urn:x:a", Country: "XX", Within: "urn:x:site", Equipment: "e"}
	if diff := cmp.Diff(want, l); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	if _, err := b.Location(ctx, "urn:x:z"); !errors.Is(err, custody.ErrNoLocation) {
		t.Error(err)
	}
	for _, c := range []struct {
		at    custody.Place
		after string
		want  string
	}{
		{custody.Place{}, "", "urn:x:a urn:x:b"}, {custody.Place{}, "urn:x:b", "urn:x:c"}, {custody.Place{Organisation: "one"}, "", "urn:x:a urn:x:b"},
		{custody.Place{Organisation: "one", Facility: "north"}, "", ""}, {custody.Place{Organisation: "two"}, "", "urn:x:c"},
	} {
		found, err := b.LocationsAt(ctx, c.at, c.after, 2)
		var got []string
		for _, l := range found {
			got = append(got, l.URI)
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%+v after %q: %v, %v", c.at, c.after, got, err)
		}
	}
}
