package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/party/gateway"
)

// Gateway holds a book against its contract. open returns a new, empty book.
func Gateway(t *testing.T, open func(*testing.T) gateway.Book) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, gateway.Book)
	}{
		{"items", testGatewayItems},
		{"names and claims", testGatewayTaken},
		{"together or not at all", testGatewayTogether},
		{"who is needed", testGatewayNeeds},
		{"signed again", testGatewayResign},
		{"once", testGatewayOnce},
		{"in the order of time", testGatewayOrder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, open(t))
		})
	}
}

func item(n int) gateway.Item {
	return gateway.Item{
		ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Kind: gateway.KindCertificate, Name: fmt.Sprintf("name %d", n),
		Country: "XA", Group: "DSC", Domain: "DCC", KID: fmt.Sprintf("kid+%d=", n), Claims: true, Signer: "signer",
		Expires: Day.AddDate(1, 0, 0), About: map[string]string{"colour": "blue"}, Content: []byte("content"), Signed: []byte("signed"),
	}
}

func gatewayLine() gateway.Line {
	return gateway.Line{At: Day, By: "client", Country: "XA", Action: gateway.ActionUpload, Subject: "subject"}
}

func insert(t testing.TB, b gateway.Book, items ...gateway.Item) {
	t.Helper()
	must(t, b.Change(t.Context(), gateway.Changes{Insert: items, Line: gatewayLine()}, Day))
}

func ids(t testing.TB, b gateway.Book, q gateway.Query) []string {
	t.Helper()
	items, err := b.Items(t.Context(), q)
	must(t, err)
	out := []string{}
	for _, i := range items {
		out = append(out, i.ID[len(i.ID)-1:])
	}
	return out
}

func testGatewayItems(t *testing.T, b gateway.Book) {
	newest, err := b.Newest(t.Context())
	if must(t, err); !newest.IsZero() {
		t.Errorf("an empty book changed at %s", newest)
	}
	two, three := item(2), item(3)
	two.Country, two.Claims, two.About, two.Expires = "XB", false, nil, time.Time{}
	three.Kind, three.Content = gateway.KindBatch, nil
	insert(t, b, item(1), two)
	insert(t, b, three)

	items, err := b.Items(t.Context(), gateway.Query{})
	must(t, err)
	if len(items) != 3 {
		t.Fatalf("%d items", len(items))
	}
	newest, err = b.Newest(t.Context())
	if must(t, err); !newest.Equal(items[2].Changed) {
		t.Errorf("newest %s, want %s", newest, items[2].Changed)
	}
	for n, want := range []gateway.Item{item(1), two, three} {
		got := items[n]
		if got.Number != int64(n+1) || !got.Created.Equal(got.Changed) || got.Changed.Before(Day) || n > 0 && !got.Changed.After(items[n-1].Changed) {
			t.Errorf("item %d: number %d, created %s, changed %s", n, got.Number, got.Created, got.Changed)
		}
		got.Number, got.Created, got.Changed = 0, time.Time{}, time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}

	must(t, b.Change(t.Context(), gateway.Changes{Delete: []string{two.ID}, Line: gatewayLine()}, Day.Add(time.Hour)))
	deleted, err := b.Items(t.Context(), gateway.Query{IDs: []string{two.ID}, Deleted: true})
	if must(t, err); len(deleted) != 1 || !deleted[0].Deleted || deleted[0].Content != nil || deleted[0].Signed != nil || deleted[0].Changed.Before(Day.Add(time.Hour)) {
		t.Errorf("deleted: %+v", deleted)
	}
	for _, tc := range []struct {
		name string
		q    gateway.Query
		want []string
	}{
		{"living", gateway.Query{}, []string{"1", "3"}},
		{"all, by change", gateway.Query{Deleted: true}, []string{"1", "3", "2"}},
		{"kind", gateway.Query{Kind: gateway.KindBatch}, []string{"3"}},
		{"country", gateway.Query{Country: "XA"}, []string{"1", "3"}},
		{"number", gateway.Query{Number: 3}, []string{"3"}},
		{"identifiers", gateway.Query{IDs: []string{item(1).ID, item(9).ID}}, []string{"1"}},
		{"since", gateway.Query{Since: Day.Add(time.Hour), Deleted: true}, []string{"2"}},
		{"since the change itself", gateway.Query{Since: deleted[0].Changed, Deleted: true}, []string{"2"}},
		{"since then", gateway.Query{Since: deleted[0].Changed.Add(time.Microsecond), Deleted: true}, []string{}},
		{"limit", gateway.Query{Limit: 1}, []string{"1"}},
	} {
		if diff := cmp.Diff(tc.want, ids(t, b, tc.q)); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

func testGatewayTaken(t *testing.T, b gateway.Book) {
	insert(t, b, item(1))
	try := func(name string, change func(*gateway.Item), as error) {
		t.Helper()
		i := item(2)
		change(&i)
		want(t, name, b.Change(t.Context(), gateway.Changes{Insert: []gateway.Item{i}, Line: gatewayLine()}, Day), as)
	}
	try("the same name", func(i *gateway.Item) { i.Name = item(1).Name }, gateway.ErrTaken)
	try("the same claim", func(i *gateway.Item) { i.KID = item(1).KID }, gateway.ErrTaken)
	try("the same claim, written otherwise", func(i *gateway.Item) { i.KID = "kid-1" }, gateway.ErrTaken)
	try("no claim", func(i *gateway.Item) { i.KID, i.Claims, i.ID, i.Name = item(1).KID, false, item(3).ID, "name 3" }, nil)
	try("the same name of another kind", func(i *gateway.Item) { i.Name, i.Kind = item(1).Name, gateway.KindRule }, nil)
	must(t, b.Change(t.Context(), gateway.Changes{Delete: []string{item(1).ID}, Line: gatewayLine()}, Day))
	try("after it was deleted", func(i *gateway.Item) { i.Name, i.KID, i.ID = item(1).Name, item(1).KID, item(4).ID }, nil)
}

func testGatewayTogether(t *testing.T, b gateway.Book) {
	insert(t, b, item(1))
	before, err := b.Newest(t.Context())
	must(t, err)
	clash := item(3)
	clash.Name = item(1).Name
	want(t, "one of two", b.Change(t.Context(), gateway.Changes{Insert: []gateway.Item{item(2), clash}, Line: gatewayLine()}, Day), gateway.ErrTaken)
	want(t, "deletion of what is not there", b.Change(t.Context(), gateway.Changes{Delete: []string{item(1).ID, item(9).ID}, Line: gatewayLine()}, Day), gateway.ErrGone)
	if diff := cmp.Diff([]string{"1"}, ids(t, b, gateway.Query{Deleted: true})); diff != "" {
		t.Error(diff)
	}
	after, err := b.Newest(t.Context())
	if must(t, err); !after.Equal(before) {
		t.Errorf("a change that failed has a time: %s", after)
	}
	// One that replaces may have the name of the one that goes.
	again := item(2)
	again.Name, again.KID = item(1).Name, item(1).KID
	must(t, b.Change(t.Context(), gateway.Changes{Delete: []string{item(1).ID}, Insert: []gateway.Item{again}, Line: gatewayLine()}, Day))
}

func testGatewayNeeds(t *testing.T, b gateway.Book) {
	insert(t, b, item(1))
	change := gateway.Changes{Needs: []string{item(1).ID}, Insert: []gateway.Item{item(2)}, Line: gatewayLine()}
	must(t, b.Change(t.Context(), change, Day))
	must(t, b.Change(t.Context(), gateway.Changes{Delete: []string{item(1).ID}, Line: gatewayLine()}, Day))
	change.Insert = []gateway.Item{item(3)}
	want(t, "after it was deleted", b.Change(t.Context(), change, Day), gateway.ErrGone)
	change.Needs = []string{item(9).ID}
	want(t, "of what never was", b.Change(t.Context(), change, Day), gateway.ErrGone)
}

func testGatewayResign(t *testing.T, b gateway.Book) {
	insert(t, b, item(1))
	change := gateway.Changes{Resign: []gateway.Resigned{{ID: item(1).ID, Before: []byte("signed"), Signed: []byte("again"), Signer: "new"}}, Line: gatewayLine()}
	must(t, b.Change(t.Context(), change, Day.Add(time.Hour)))
	items, err := b.Items(t.Context(), gateway.Query{IDs: []string{item(1).ID}})
	if must(t, err); len(items) != 1 || string(items[0].Signed) != "again" || items[0].Signer != "new" || string(items[0].Content) != "content" || !items[0].Changed.After(items[0].Created) {
		t.Errorf("%+v", items)
	}
	want(t, "one that was signed again meanwhile", b.Change(t.Context(), change, Day), gateway.ErrGone)
}

func testGatewayOnce(t *testing.T, b gateway.Book) {
	change := gateway.Changes{Insert: []gateway.Item{item(1)}, Once: "digest", Line: gatewayLine()}
	must(t, b.Change(t.Context(), change, Day))
	change.Insert = []gateway.Item{item(2)}
	want(t, "twice", b.Change(t.Context(), change, Day), gateway.ErrApplied)
	if diff := cmp.Diff([]string{"1"}, ids(t, b, gateway.Query{})); diff != "" {
		t.Error(diff)
	}
}

// testGatewayOrder has many write while one reads what is new since the last that
// it saw: it must miss nothing.
func testGatewayOrder(t *testing.T, b gateway.Book) {
	const writers, each = 4, 25
	ctx := t.Context()
	var writing sync.WaitGroup
	failed := make(chan error, writers)
	for w := range writers {
		writing.Go(func() {
			for n := range each {
				err := b.Change(ctx, gateway.Changes{Insert: []gateway.Item{item(w*each + n)}, Line: gatewayLine()}, Day)
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	seen := map[string]bool{}
	var since, last time.Time
	for end := false; !end; {
		select {
		case <-done:
			end = true // and once more
		default:
		}
		items, err := b.Items(ctx, gateway.Query{Since: since})
		must(t, err)
		if !slices.IsSortedFunc(items, func(a, b gateway.Item) int { return a.Changed.Compare(b.Changed) }) {
			t.Fatal("not in the order of time")
		}
		for _, i := range items {
			seen[i.ID] = true
			last = i.Changed
		}
		if since = last.Add(time.Microsecond); last.IsZero() {
			since = time.Time{}
		}
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	if len(seen) != writers*each {
		t.Errorf("saw %d of %d", len(seen), writers*each)
	}
}
