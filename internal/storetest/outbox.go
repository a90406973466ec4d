package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// Outbox holds an outbox against its contract. open returns a new, empty one.
func Outbox(t *testing.T, open func(*testing.T) notary.Outbox) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, notary.Outbox)
	}{
		{"once, in order", testOutboxOrder},
		{"all of an entry", testOutboxEntry},
		{"stages", testOutboxStages},
		{"the newest of a list", testOutboxNewest},
		{"at once", testOutboxAtOnce},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, open(t))
		})
	}
}

// WantedBatch is the root of a batch of which nobody is a part.
func WantedBatch(n int) notary.Wanted {
	return notary.Wanted{Key: notary.BatchKey(int64(n)), Kind: "fp.batch", Root: sha256.Sum256(fmt.Appendf(nil, "SPECIMEN batch %d", n)), Size: 64}
}

// WantedList is the n-th version of a list.
func WantedList(list string, n int) notary.Wanted {
	return notary.Wanted{
		Key: fmt.Sprintf("%s/%d", list, n), Kind: "status.anchor", List: sha256.Sum256([]byte(list)),
		Digest: sha256.Sum256(fmt.Appendf(nil, "%s %d", list, n)), Size: 1000, Until: Day.AddDate(0, 1, 0),
	}
}

func pending(t testing.TB, o notary.Outbox) []notary.Entry {
	t.Helper()
	all, err := o.Pending(t.Context(), 0, 1000)
	must(t, err)
	return all
}

func keysOf(entries []notary.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.Key)
	}
	return out
}

func testOutboxOrder(t *testing.T, o notary.Outbox) {
	if sum, err := o.Tally(t.Context()); err != nil || sum != (notary.Tally{}) {
		t.Fatalf("empty: %+v, %v", sum, err)
	}
	must(t, o.Put(t.Context(), Day))
	must(t, o.Put(t.Context(), Day, WantedBatch(2), WantedBatch(1)))
	again := WantedBatch(2)
	again.Root = tlog.Hash{1}
	must(t, o.Put(t.Context(), Day.Add(time.Hour), again, WantedList("list", 1)))
	want := []string{"batch/2", "batch/1", "list/1"}
	if got := keysOf(pending(t, o)); !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	first, err := o.Entry(t.Context(), "batch/2")
	must(t, err)
	if first.Root != WantedBatch(2).Root || !first.Put.Equal(Day) {
		t.Error("what was put again has changed what was there")
	}
	page, err := o.Pending(t.Context(), first.Number, 1)
	must(t, err)
	if got := keysOf(page); !slices.Equal(got, want[1:2]) {
		t.Errorf("the page after the first: %v", got)
	}
}

// testOutboxEntry: what is kept comes back, each part of it.
func testOutboxEntry(t *testing.T, o notary.Outbox) {
	must(t, o.Put(t.Context(), Day, WantedBatch(1), WantedList("list", 1)))
	for i, e := range pending(t, o) {
		e.Stage, e.Message, e.Reason, e.Retry = notary.Logged, []byte{1, byte(i)}, "quota-used-up", Day.Add(time.Minute)
		e.Index, e.Proof, e.Cosigned, e.Receipt = 1<<40, []byte("proof"), Day.Add(time.Hour), []byte("receipt")
		must(t, o.Keep(t.Context(), &e))
		got, err := o.Entry(t.Context(), e.Key)
		must(t, err)
		if diff := cmp.Diff(&e, got); diff != "" {
			t.Error(diff)
		}
		// And goes again.
		e.Message, e.Proof, e.Receipt, e.Reason, e.Retry, e.Cosigned = nil, nil, nil, "", time.Time{}, time.Time{}
		must(t, o.Keep(t.Context(), &e))
		if got, err = o.Entry(t.Context(), e.Key); err != nil || got.Message != nil || got.Receipt != nil || !got.Cosigned.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if err := o.Keep(t.Context(), &notary.Entry{Number: 99}); !errors.Is(err, notary.ErrNoEntry) {
		t.Errorf("keeping what is not there: %v", err)
	}
	if _, err := o.Entry(t.Context(), "batch/99"); !errors.Is(err, notary.ErrNoEntry) {
		t.Errorf("what is not there: %v", err)
	}
}

func testOutboxStages(t *testing.T, o notary.Outbox) {
	for n := range 5 {
		must(t, o.Put(t.Context(), Day.Add(time.Duration(n)*time.Hour), WantedBatch(n)))
	}
	for _, e := range pending(t, o) {
		e.Stage = notary.Stage(4 - (e.Number - 1)) // refused, kept, logged, submitted, waiting
		must(t, o.Keep(t.Context(), &e))
	}
	if got := keysOf(pending(t, o)); !slices.Equal(got, []string{"batch/2", "batch/3", "batch/4"}) {
		t.Errorf("pending: %v", got)
	}
	proven, err := o.Proven(t.Context(), 0, 10)
	if err != nil || !slices.Equal(keysOf(proven), []string{"batch/1"}) {
		t.Errorf("proven: %v, %v", keysOf(proven), err)
	}
	if proven, err = o.Proven(t.Context(), proven[0].Number, 10); err != nil || len(proven) > 0 {
		t.Errorf("after the last: %v, %v", keysOf(proven), err)
	}
	sum, err := o.Tally(t.Context())
	if want := (notary.Tally{Waiting: 1, Submitted: 1, Logged: 1, Kept: 1, Refused: 1, Oldest: Day.Add(3 * time.Hour)}); err != nil || sum != want {
		t.Errorf("%+v, want %+v, %v", sum, want, err)
	}
}

func testOutboxNewest(t *testing.T, o notary.Outbox) {
	list := WantedList("one", 0).List
	if _, err := o.Newest(t.Context(), list); !errors.Is(err, notary.ErrNoEntry) {
		t.Fatal(err)
	}
	batch := WantedBatch(1)
	batch.Root = list // a batch is no version of a list
	must(t, o.Put(t.Context(), Day, WantedList("one", 1), WantedList("one", 2), WantedList("two", 3), batch))
	got, err := o.Newest(t.Context(), list)
	if err != nil || got.Key != "one/2" {
		t.Errorf("%v, %v", got, err)
	}
}

// testOutboxAtOnce: whoever puts at the same time loses nothing, and none is there
// twice.
func testOutboxAtOnce(t *testing.T, o notary.Outbox) {
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 10 {
				if err := o.Put(t.Context(), Day, WantedBatch(n), WantedBatch(100*(w+1)+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all := pending(t, o)
	seen := make(map[string]bool)
	for i, e := range all {
		if seen[e.Key] || i > 0 && e.Number <= all[i-1].Number {
			t.Errorf("entry %d: %s again, or out of order", e.Number, e.Key)
		}
		seen[e.Key] = true
	}
	if len(seen) != 50 {
		t.Errorf("%d entries", len(seen))
	}
}
