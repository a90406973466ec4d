package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/party/custody"
)

// testHandovers: hand-overs are numbered as they come, answered once, and told to both
// sides and nobody else.
func testHandovers(t *testing.T, b GoodsBook) {
	ctx := context.Background()
	at := time.Date(2026, 11, 5, 8, 0, 0, 0, time.UTC)
	line := custody.Line{At: at, By: "account", Action: "handover-offer", Organisation: "works"}
	offered := func(n int, giver, receiver custody.Place) *custody.Handover {
		return &custody.Handover{ID: fmt.Sprintf("%032x", n), N: int64(n), Version: 1, Giver: giver, Receiver: receiver, At: at, File: []byte{byte(n)}}
	}
	depot, north := custody.Place{Organisation: "moh", Facility: "depot"}, custody.Place{Organisation: "moh", Facility: "north"}
	works, partner := custody.Place{Organisation: "works"}, custody.Place{Organisation: "elsewhere"}
	first, second, third := offered(1, works, depot), offered(2, partner, north), offered(3, depot, partner)
	for _, h := range []*custody.Handover{first, second, third} {
		kept := *h
		kept.N = 0
		if err := b.PutHandover(ctx, &kept, line); err != nil || kept.N != h.N {
			t.Fatalf("number %d: %v", kept.N, err)
		}
	}
	if err := b.PutHandover(ctx, offered(1, works, depot), line); !errors.Is(err, custody.ErrConflict) {
		t.Errorf("the same once more: %v", err)
	}
	answered := *first
	answered.Version, answered.File = 2, []byte("both")
	if err := b.PutHandover(ctx, &answered, line); err != nil {
		t.Fatal(err)
	}
	if err := b.PutHandover(ctx, &answered, line); !errors.Is(err, custody.ErrConflict) {
		t.Errorf("answered twice: %v", err)
	}
	if got, err := b.Handover(ctx, first.ID); err != nil || cmp.Diff(&answered, got) != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := b.Handover(ctx, "none"); !errors.Is(err, custody.ErrNoHandover) {
		t.Errorf("one that is none: %v", err)
	}
	for _, c := range []struct {
		at     custody.Place
		before int64
		limit  int
		want   []custody.Handover
	}{
		{custody.Place{Organisation: "moh"}, 0, 10, []custody.Handover{*third, *second, answered}},
		{custody.Place{Organisation: "moh"}, 3, 1, []custody.Handover{*second}},
		{depot, 0, 10, []custody.Handover{*third, answered}},
		{north, 0, 10, []custody.Handover{*second}},
		{works, 0, 10, []custody.Handover{answered}},
		{custody.Place{Organisation: "nobody"}, 0, 10, nil},
	} {
		got, err := b.HandoversAt(ctx, c.at, c.before, c.limit)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%+v: %s, %v", c, diff, err)
		}
	}
}
