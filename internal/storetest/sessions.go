package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/uuid"
	"ampoule/party/custody"
	"ampoule/thing"
)

// testStockSessions: a session, the events that tell of it and the line of the audit log are
// kept together, in the version that was seen.
func testStockSessions(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	at := time.Date(2026, 11, 5, 8, 0, 0, 0, time.UTC)
	line := custody.Line{At: at, By: "account", Action: "session-open"}
	session := func(n int) *custody.Session {
		return &custody.Session{
			ID: custody.ID(fmt.Sprintf("01900000-0000-7000-8000-%012d", n)), Place: custody.Place{Organisation: "moh", Facility: "north"}, Version: 1, Lot: goodsLot,
			Opened: at, Discard: at.Add(6 * time.Hour), Doses: 10, Location: goodsSite, Product: thing.Product{Code: "SPEC-1", System: "urn:x"}, Number: "SPEC-1", Why: "six-hours",
		}
	}
	first := session(1)
	opened := goodsEvent(t, "urn:x:1", 5, "ObjectEvent", fmt.Sprintf(madeOf, 100))
	if err := b.PutSession(ctx, first, []custody.Event{opened}, line); err != nil {
		t.Fatal(err)
	}
	got, err := b.Session(ctx, first.ID)
	if diff := cmp.Diff(first, got); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	if err := b.PutSession(ctx, first, nil, line); !errors.Is(err, custody.ErrConflict) {
		t.Errorf("the same once more: %v", err)
	}

	// One that changed meanwhile leaves no event behind.
	stale := *first
	stale.Version, stale.Wasted = 3, 1
	wasted := goodsEvent(t, "urn:x:2", 5, "ObjectEvent", fmt.Sprintf(madeOf, 1))
	if err := b.PutSession(ctx, &stale, []custody.Event{wasted}, line); !errors.Is(err, custody.ErrConflict) {
		t.Errorf("another version: %v", err)
	}
	if _, err := b.Event(ctx, "urn:x:2"); !errors.Is(err, custody.ErrNoEvent) {
		t.Errorf("an event of what was refused: %v", err)
	}
	// And an event that is refused leaves no session behind.
	other := goodsEvent(t, "urn:x:1", 6, "ObjectEvent", fmt.Sprintf(madeOf, 7))
	second := session(2)
	if err := b.PutSession(ctx, second, []custody.Event{other}, line); !errors.Is(err, custody.ErrOtherEvent) {
		t.Errorf("another event of that name: %v", err)
	}
	if _, err := b.Session(ctx, second.ID); !errors.Is(err, custody.ErrNoSession) {
		t.Errorf("a session of what was refused: %v", err)
	}
	if _, err := b.Dosed(ctx, uuid.UUID{1}); !errors.Is(err, custody.ErrNoDose) {
		t.Errorf("the dose of a record that is none: %v", err)
	}

	next := *first
	next.Version, next.Wasted, next.Wastes = 2, 1, []custody.Waste{{Doses: 1, Reason: "broken", At: at}}
	ended := next
	ended.Version, ended.Ended = 3, at.Add(time.Hour)
	for _, s := range []*custody.Session{&next, &ended, second} {
		if err := b.PutSession(ctx, s, nil, line); err != nil {
			t.Fatal(err)
		}
	}
	again := ended
	again.Version = 4
	if err := b.PutSession(ctx, &again, nil, line); !errors.Is(err, custody.ErrConflict) {
		t.Errorf("one that has ended: %v", err)
	}
	for _, c := range []struct {
		at     custody.Place
		open   bool
		before custody.ID
		want   []custody.Session
	}{
		{custody.Place{Organisation: "moh"}, false, "", []custody.Session{*second, ended}},
		{custody.Place{Organisation: "moh", Facility: "north"}, true, "", []custody.Session{*second}},
		{custody.Place{Organisation: "moh"}, false, second.ID, []custody.Session{ended}},
		{custody.Place{Organisation: "moh", Facility: "south"}, false, "", nil},
		{custody.Place{Organisation: "works"}, false, "", nil},
	} {
		got, err := b.SessionsAt(ctx, c.at, c.open, c.before, 10)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%+v: %s, %v", c, diff, err)
		}
	}
}
