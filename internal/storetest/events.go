package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/epcis"
	"ampoule/party/custody"
	"ampoule/thing/trail"
)

// toldBy reads an event of an organisation.
func toldBy(t *testing.T, organisation, id string, day int, rest string) custody.Event {
	e := goodsEvent(t, id, day, "ObjectEvent", `"action":"OBSERVE","bizStep":"shipping",`+rest)
	e.Organisation = organisation
	return e
}

// names are the names of events, in their order.
func names(events []custody.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, strings.TrimPrefix(e.ID, "urn:x:"))
	}
	return strings.Join(out, " ")
}

func mustQuery(t *testing.T, text string) *epcis.Query {
	t.Helper()
	q, err := epcis.ParseQuery([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func testFind(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	const (
		one, two   = "https://id.gs1.org/414/9521321000025", "https://id.gs1.org/414/9521321000032"
		oneFreezer = "urn:uuid:00000000-0000-4000-8000-0000000000aa"
	)
	for _, l := range []custody.Location{
		{URI: one, Place: custody.Place{Organisation: "one"}}, {URI: oneFreezer, Place: custody.Place{Organisation: "one", Facility: "north"}, Within: one}, {URI: two, Place: custody.Place{Organisation: "two"}},
	} {
		l.Version, l.Name = 1, "Example"
		if err := b.PutLocation(ctx, &l); err != nil {
			t.Fatal(err)
		}
	}
	thing := `"epcList":["urn:epc:id:sscc:9521321.0000000011"]`
	to := func(place string) string {
		return `,"destinationList":[{"type":"location","destination":"` + place + `"}]`
	}
	events := []custody.Event{
		toldBy(t, "one", "urn:x:own", 1, thing+`,"readPoint":{"id":"`+one+`"}`),
		toldBy(t, "one", "urn:x:toTwo", 2, thing+`,"readPoint":{"id":"`+one+`"}`+to("urn:epc:id:sgln:9521321.00003.0")),
		toldBy(t, "two", "urn:x:secret", 3, thing+`,"readPoint":{"id":"`+two+`"}`+to("https://id.gs1.org/414/9521321000049")),
		toldBy(t, "two", "urn:x:toFreezer", 4, thing+`,"readPoint":{"id":"`+two+`"}`+to(oneFreezer)),
		toldBy(t, "two", "urn:x:own", 5, thing+`,"readPoint":{"id":"`+two+`"}`), // of the name of another's
	}
	events[3].Keys = nil // the book finds out for itself
	if n, err := b.Capture(ctx, events); err != nil || n != 5 {
		t.Fatal(n, err)
	}
	sscc := `"MATCH_anyEPC":["https://id.gs1.org/00/095213210000000117"]`
	for _, c := range []struct {
		name   string
		within custody.Place
		query  string
		change func(*custody.Search)
		want   string
	}{
		{"one", custody.Place{Organisation: "one"}, `{}`, nil, "own toTwo toFreezer"},
		{"two", custody.Place{Organisation: "two"}, `{}`, nil, "toTwo secret toFreezer own"},
		{"a facility of one", custody.Place{Organisation: "one", Facility: "north"}, `{}`, nil, "toFreezer"},
		{"another facility", custody.Place{Organisation: "one", Facility: "south"}, `{}`, nil, ""},
		{"nobody", custody.Place{Organisation: "three"}, `{` + sscc + `}`, nil, ""},
		{"by thing", custody.Place{Organisation: "one"}, `{` + sscc + `}`, nil, "own toTwo toFreezer"},
		{"by another thing", custody.Place{Organisation: "one"}, `{"MATCH_anyEPC":["urn:x:other"]}`, nil, ""},
		{"by place", custody.Place{Organisation: "one"}, `{"EQ_readPoint":["` + two + `"]}`, nil, "toFreezer"},
		{"narrowed, and no more", custody.Place{Organisation: "one"}, `{"EQ_bizStep":["shipping","receiving"],"EQ_destination_location":["` + two + `"]}`, nil, "toTwo toFreezer"},
		{"by name", custody.Place{Organisation: "one"}, `{"EQ_eventID":["urn:x:own","urn:x:secret"]}`, nil, "own"},
		{"by time", custody.Place{Organisation: "two"}, `{"GE_eventTime":"2026-11-03T08:00:00Z","LT_eventTime":"2026-11-04T08:00:00Z"}`, nil, "secret"},
		{"by record", custody.Place{Organisation: "two"}, `{"GE_recordTime":"2026-11-04T09:00:00Z"}`, nil, "toFreezer own"},
		{"newest first", custody.Place{Organisation: "two"}, `{"orderBy":"eventTime"}`, func(s *custody.Search) { s.Limit = 2 }, "own toFreezer"},
		{"on from there", custody.Place{Organisation: "two"}, `{"orderBy":"eventTime"}`, func(s *custody.Search) {
			s.After = &custody.Position{At: events[3].At.UnixMilli(), N: 4}
		}, "secret toTwo"},
		{"by record, on from there", custody.Place{Organisation: "two"}, `{"orderBy":"recordTime","orderDirection":"ASC"}`, func(s *custody.Search) {
			s.After = &custody.Position{At: events[3].Recorded.UnixMilli(), N: 4}
		}, "own"},
		{"by capture, on from there", custody.Place{Organisation: "two"}, `{}`, func(s *custody.Search) { s.After = &custody.Position{N: 3} }, "toFreezer own"},
		{"some numbers", custody.Place{Organisation: "two"}, `{}`, func(s *custody.Search) { s.Above, s.Until = 2, 4 }, "secret toFreezer"},
	} {
		s := custody.Search{Within: c.within, Query: mustQuery(t, c.query), Limit: 100}
		if c.change != nil {
			c.change(&s)
		}
		found, err := b.Find(ctx, s)
		if got := names(found); got != c.want || err != nil {
			t.Errorf("%s: %q, want %q, %v", c.name, got, c.want, err)
		}
	}
	for _, c := range []struct {
		organisation string
		in           epcis.Index
		after        string
		want         []string
	}{
		{"one", epcis.ByReadPoint, "", []string{one, two}}, {"one", epcis.ByReadPoint, one, []string{two}},
		{"three", epcis.ByEPC, "", nil}, {"two", epcis.ByStep, "", []string{epcis.Shipping}},
		{"one", epcis.ByParty, "", []string{one, two, oneFreezer}},
	} {
		got, err := b.Values(ctx, custody.Place{Organisation: c.organisation}, c.in, c.after, 10)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s of %s: %s, %v", c.in, c.organisation, diff, err)
		}
	}
	// A declaration of another organisation undoes nothing, and a name tells nothing.
	wrong := toldBy(t, "three", "urn:x:own", 1, `"quantityList":[{"epcClass":"`+goodsLot+`","quantity":1}],"errorDeclaration":{"declarationTime":"2026-11-05T00:00:00Z"}`)
	lot := goodsEvent(t, "urn:x:lot", 1, "ObjectEvent", fmt.Sprintf(madeOf, 100))
	wrongLot := wrong
	wrongLot.ID = "urn:x:lot"
	if n, err := b.Capture(ctx, []custody.Event{wrong, wrongLot, lot}); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
	wrongLot.Organisation = "four"
	if _, err := b.Capture(ctx, []custody.Event{wrongLot}); err != nil {
		t.Error(err)
	}
	if moves, err := b.Moves(ctx, goodsLot); err != nil || len(moves) != 1 || moves[0].Deed != trail.Made {
		t.Errorf("%v, %v", moves, err)
	}
	hashes, err := b.Hashes(ctx, "one", []custody.Name{{ID: "urn:x:own"}, {ID: "urn:x:own", Declares: true}, {ID: "urn:x:secret"}})
	if diff := cmp.Diff(map[custody.Name][32]byte{{ID: "urn:x:own"}: events[0].Hash}, hashes); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	if n, err := b.Last(ctx); n != 9 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for at, want := range map[time.Time]int64{events[2].Recorded: 2, events[4].Recorded.Add(time.Second): 9, events[0].Recorded: 0} {
		if n, err := b.LastBefore(ctx, at); n != want || err != nil {
			t.Errorf("before %v: %d, want %d, %v", at, n, want, err)
		}
	}
	if err := b.Looked(ctx, custody.Look{At: events[0].Recorded, By: "u-1", Organisation: "one", Query: strings.Repeat("é", 900), Count: 3}); err != nil {
		t.Error(err)
	}
}

func testCaptures(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	var all []custody.Job
	for i, who := range []string{"one a", "two b", "one b"} {
		organisation, by, _ := strings.Cut(who, " ")
		j := custody.Job{
			ID: custody.ID(fmt.Sprintf("00000000-0000-7000-8000-00000000000%d", i+1)), Organisation: organisation, By: by, Created: at, Finished: at.Add(time.Second),
			Proceed: i == 2, Events: 3, Added: 2, Errors: []custody.Refused{{Event: 1, Path: "epcisBody.eventList[1].bizStep", Reason: epcis.BadValue}},
		}
		if err := b.PutJob(ctx, &j); err != nil {
			t.Fatal(err)
		}
		all = append(all, j)
	}
	got, err := b.Job(ctx, all[2].ID)
	if diff := cmp.Diff(&all[2], got); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	if _, err := b.Job(ctx, "x"); !errors.Is(err, custody.ErrNoJob) {
		t.Error(err)
	}
	for _, c := range []struct {
		organisation, by string
		before           custody.ID
		want             []custody.Job
	}{
		{"one", "", "", []custody.Job{all[2], all[0]}}, {"one", "", all[2].ID, []custody.Job{all[0]}}, {"one", "b", "", []custody.Job{all[2]}}, {"three", "", "", nil},
	} {
		got, err := b.Jobs(ctx, c.organisation, c.by, c.before, 10)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%+v: %s, %v", c, diff, err)
		}
	}
}

func testSubscriptions(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	owner := custody.Actor{ID: "u-1", Within: custody.Place{Organisation: "one", Facility: "north"}}
	q := custody.NamedQuery{Name: "all", Owner: owner, Created: at, Text: []byte(`{}`)}
	if err := b.PutQuery(ctx, &q); err != nil {
		t.Fatal(err)
	}
	if err := b.PutQuery(ctx, &q); !errors.Is(err, custody.ErrQueryTaken) {
		t.Errorf("the name once more: %v", err)
	}
	other := q
	other.Owner.Within.Organisation = "two"
	if err := b.PutQuery(ctx, &other); err != nil {
		t.Errorf("the name at another organisation: %v", err)
	}
	got, err := b.NamedQuery(ctx, "one", "all")
	if diff := cmp.Diff(&q, got); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	if _, err := b.NamedQuery(ctx, "three", "all"); !errors.Is(err, custody.ErrNoQuery) {
		t.Error(err)
	}
	if all, err := b.Queries(ctx, "one", "", 10); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
	s := custody.Subscription{ID: "s-1", Query: "all", Owner: owner, Created: at, Dest: "https://example.org/in", Token: []byte{1, 2}, Empty: true, Due: at}
	nightly := s
	nightly.ID, nightly.Schedule, nightly.Due = "s-2", &epcis.Schedule{Hour: "1"}, at.Add(time.Hour)
	for _, x := range []custody.Subscription{s, nightly} {
		if err := b.PutSubscription(ctx, &x); err != nil {
			t.Fatal(err)
		}
	}
	lost := s
	lost.ID, lost.Query = "s-3", "none"
	if err := b.PutSubscription(ctx, &lost); !errors.Is(err, custody.ErrNoQuery) {
		t.Errorf("to a query that is not there: %v", err)
	}
	due := func(at time.Time) string {
		all, err := b.Due(ctx, at, 10)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, x := range all {
			out = append(out, string(x.ID))
		}
		return strings.Join(out, " ")
	}
	if got := due(at.Add(time.Hour)); got != "s-2" {
		t.Errorf("without an event %q is due", got)
	}
	if _, err := b.Capture(ctx, []custody.Event{toldBy(t, "one", "urn:x:1", 1, `"epcList":["urn:x:thing"]`)}); err != nil {
		t.Fatal(err)
	}
	if got := due(at); got != "s-1" {
		t.Errorf("with one %q is due", got)
	}
	s.Position, s.Until, s.Report, s.Tries, s.Ran, s.Notified = 1, 7, "r", 3, at, at
	if err := b.Advance(ctx, &s); err != nil {
		t.Fatal(err)
	}
	if got := due(at); got != "" {
		t.Errorf("%q is due that has come to the end", got)
	}
	read, err := b.Subscription(ctx, "s-1")
	if diff := cmp.Diff(&s, read); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	if all, err := b.Subscriptions(ctx, "one", "all", "s-1", 10); err != nil || len(all) != 1 || all[0].Schedule.Hour != "1" {
		t.Errorf("%+v, %v", all, err)
	}
	if err := b.DropSubscription(ctx, "s-2"); err != nil {
		t.Error(err)
	}
	if err := b.DropSubscription(ctx, "s-2"); !errors.Is(err, custody.ErrNoSubscription) {
		t.Error(err)
	}
	if err := b.DropQuery(ctx, "one", "all"); err != nil {
		t.Error(err)
	}
	if _, err := b.Subscription(ctx, "s-1"); !errors.Is(err, custody.ErrNoSubscription) {
		t.Errorf("of a query that was dropped: %v", err)
	}
	if err := b.DropQuery(ctx, "one", "all"); !errors.Is(err, custody.ErrNoQuery) {
		t.Error(err)
	}
}
