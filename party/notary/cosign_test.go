package notary_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"ampoule/internal/ledgertest"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// logOf is a log of leaves in memory, and its signed checkpoints.
type logOf struct {
	t    *testing.T
	tree *tlog.Tree
}

func newLog(t *testing.T, leaves int, name string) *logOf {
	l := &logOf{t, new(tlog.Tree)}
	for n := range leaves {
		l.tree.Append(tlog.LeafHash([]byte(fmt.Sprint(name, n))))
	}
	return l
}

func (l *logOf) at(size uint64) (tlog.Hash, []byte) {
	l.t.Helper()
	root, err := tlog.TreeRoot(size, l.tree)
	if err != nil {
		l.t.Fatal(err)
	}
	return root, signed(l.t, ledgertest.LogKey(1), size, root)
}

func (l *logOf) request(old, size uint64) []byte {
	l.t.Helper()
	_, note := l.at(size)
	proof, err := tlog.ProveConsistency(old, size, l.tree)
	if err != nil {
		l.t.Fatal(err)
	}
	return (&notary.Request{Old: old, Proof: proof, Checkpoint: note}).Encode()
}

// TestAddCheckpoint: each status of tlog-witness, in the order in which a witness
// sees them.
func TestAddCheckpoint(t *testing.T) {
	log, fork := newLog(t, 40, "leaf"), newLog(t, 40, "other")
	var alarms []notary.Alarm
	seen := new(ledgertest.Seen)
	key := ledgertest.WitnessKey("witness.example/w", tlog.MLDSA44Cosignature)
	w := ledgertest.Outside(1, &notary.Cosigner{
		Signers: []*tlog.NoteSigner{key, ledgertest.WitnessKey("witness.example/w", tlog.Ed25519Cosignature)}, Seen: seen, Now: clock, Random: rand.Reader,
		Alarm: func(a notary.Alarm) { alarms = append(alarms, a) },
	})
	change := func(body []byte, old, new string) []byte {
		t.Helper()
		out := bytes.Replace(body, []byte(old), []byte(new), 1)
		if bytes.Equal(out, body) {
			t.Fatalf("%q is not in it", old)
		}
		return out
	}
	_, other := fork.at(20)
	for _, test := range []struct {
		name   string
		body   []byte
		status int
		answer string // or its beginning
	}{
		{"not a request", []byte("hello\n"), 400, "malformed-add-checkpoint"},
		{"sign before the size", change(log.request(0, 10), "old 0", "old +0"), 400, "malformed-add-checkpoint"},
		{"zeros before the size", change(log.request(0, 10), "old 0", "old 00"), 400, "malformed-add-checkpoint"},
		{"64 hashes", change(log.request(0, 10), "old 0\n", "old 0\n"+strings.Repeat(strings.Repeat("A", 43)+"=\n", 64)), 400, "malformed-add-checkpoint"},
		{"no checkpoint", []byte("old 0\n\n"), 400, "malformed-add-checkpoint"},
		{"another log", (&notary.Request{Checkpoint: signed(t, ledgertest.WitnessKey("oid/1.2.3.1.1", tlog.Ed25519Note), 3, tlog.Hash{1})}).Encode(), 404, "unknown-origin"},
		{"not by the log", (&notary.Request{Checkpoint: signed(t, ledgertest.LogKey(2), 3, tlog.Hash{1})}).Encode(), 403, "not-signed-by-that-log"},
		{"signature for another size", change(log.request(0, 10), "\n10\n", "\n11\n"), 403, "not-signed-by-that-log"},
		{"from more than it is", change(log.request(0, 10), "old 0", "old 11"), 400, "malformed-add-checkpoint"},
		{"from a size that was never cosigned", log.request(5, 10), 409, "0\n"},
		{"hashes from 0", change(log.request(0, 10), "old 0\n", "old 0\n"+strings.Repeat("A", 43)+"=\n"), 422, "not-a-continuation"},
		{"the first", log.request(0, 10), 200, "— witness.example/w "},
		{"the same again", log.request(10, 10), 200, "— witness.example/w "},
		{"from 0 again", log.request(0, 10), 409, "10\n"},
		{"back", log.request(5, 7), 409, "10\n"},
		{"the next", log.request(10, 20), 200, "— witness.example/w "},
		{"another root", (&notary.Request{Old: 20, Checkpoint: other}).Encode(), 409, "20\n"},
		{"another tree", fork.request(20, 30), 422, "not-a-continuation"},
		{"a proof with a flipped bit", change(log.request(20, 30), "\n\n", "A\n\n"), 400, "malformed-add-checkpoint"},
		{"a hash too many", change(log.request(20, 30), "\n\n", "\n"+strings.Repeat("A", 43)+"=\n\n"), 422, "not-a-continuation"},
		{"and goes on", log.request(20, 40), 200, "— witness.example/w "},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := w.AddCheckpoint(t.Context(), test.body)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != test.status || !strings.HasPrefix(string(a.Body), test.answer) {
				t.Fatalf("%d %q", a.Status, a.Body)
			}
			if (a.Status == 409) != (a.Type == notary.SizeType) {
				t.Errorf("type %q", a.Type)
			}
			if a.Status != 200 {
				return
			}
			r, _ := notary.ParseRequest(test.body)
			n, _ := tlog.ParseNote(r.Checkpoint)
			with, err := tlog.ParseNote(append([]byte(n.Text+"\n"), a.Body...))
			if err != nil {
				t.Fatal(err)
			}
			got, err := with.Verify(key.Key, w.Signers[1].Key)
			if err != nil || len(got) != 2 || got[0].Time != now.Unix() {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if len(alarms) != 1 || alarms[0].Name != notary.SplitView {
		t.Errorf("%d alarms: %+v", len(alarms), alarms)
	}
}

// TestDurableFirst: where what is to be signed cannot be kept, nothing is signed.
func TestDurableFirst(t *testing.T) {
	log := newLog(t, 20, "leaf")
	full := errors.New("disk full")
	seen := &failing{Seen: new(ledgertest.Seen), err: full}
	w := ledgertest.Outside(1, &notary.Cosigner{Signers: []*tlog.NoteSigner{ledgertest.WitnessKey("w", tlog.Ed25519Cosignature)}, Seen: seen, Now: clock, Random: rand.Reader})
	a, err := w.AddCheckpoint(t.Context(), log.request(0, 10))
	if a != nil || !errors.Is(err, full) {
		t.Fatalf("%+v, %v", a, err)
	}
	seen.err = nil
	if a, err := w.AddCheckpoint(t.Context(), log.request(0, 10)); err != nil || a.Status != 200 {
		t.Fatalf("%+v, %v", a, err)
	}
}

type failing struct {
	notary.Seen
	err error
}

func (f *failing) Put(origin string, l notary.Last) error {
	if f.err != nil {
		return f.err
	}
	return f.Seen.Put(origin, l)
}

// TestRace: of two that come at once, the older never takes the place of the newer.
func TestRace(t *testing.T) {
	log := newLog(t, 300, "leaf")
	seen := new(ledgertest.Seen)
	w := ledgertest.Outside(1, &notary.Cosigner{Signers: []*tlog.NoteSigner{ledgertest.WitnessKey("w", tlog.Ed25519Cosignature)}, Seen: &rising{Seen: seen, t: t}, Now: clock, Random: rand.Reader})
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for size := uint64(10 + n); size <= 300; size += 8 {
				old, _ := seen.Last(ledgertest.Origin)
				if old.Size > size {
					continue
				}
				if _, err := w.AddCheckpoint(t.Context(), log.request(old.Size, size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if last, _ := seen.Last(ledgertest.Origin); last.Size < 290 {
		t.Errorf("%d", last.Size)
	}
}

type rising struct {
	notary.Seen
	t    *testing.T
	last uint64 // owned by the cosigner's lock
}

func (r *rising) Put(origin string, l notary.Last) error {
	if l.Size < r.last {
		r.t.Errorf("from %d back to %d", r.last, l.Size)
	}
	r.last = l.Size
	return r.Seen.Put(origin, l)
}

// FuzzParseRequest: what is taken encodes to the same bytes again.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("old 0\n\nx"))
	f.Add((&notary.Request{Old: 20852014, Proof: []tlog.Hash{{1}, {2}}, Checkpoint: []byte("a\n1\nb\n\n— c d\n")}).Encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := notary.ParseRequest(body)
		if err != nil {
			if !errors.Is(err, notary.ErrRequest) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(r.Encode(), body) {
			t.Fatalf("%q becomes %q", body, r.Encode())
		}
	})
}
