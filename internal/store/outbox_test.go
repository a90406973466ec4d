//go:build linux

package store

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/internal/storetest"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// desk is an issuer's store with a ledger behind it.
type desk struct {
	*storetest.Ledger
	t    *testing.T
	c    Config
	s    *Store
	sub  *notary.Submitter
	fail func(call string) error // asked before each call of the notary and of the outbox
	now  time.Time
}

func newDesk(t *testing.T, c Config, hybrid bool) *desk {
	d := &desk{Ledger: storetest.NewLedger(t, hybrid), t: t, c: c, s: create(t, c), now: storetest.Day}
	d.start()
	return d
}

// start makes a submitter that knows nothing of the one before.
func (d *desk) start() {
	d.sub = &notary.Submitter{
		Service: faulty{d.Ledger, d}, Outbox: faultyBox{d.s.Outbox(), d}, Actor: d.Issuer, Signers: d.Keys, Schema: storetest.TestOID(d.t, "6.1"),
		Policy: d.Policy, Notaries: []crypto.PublicKey{d.Notary.Public()}, Now: func() time.Time { return d.now },
	}
}

// reopen ends the process, as far as the store can tell, and begins another.
func (d *desk) reopen() {
	d.t.Helper()
	shut(d.t, d.s)
	d.s = open(d.t, d.c)
	d.start()
}

func (d *desk) put(wanted ...notary.Wanted) {
	d.t.Helper()
	if err := d.s.Outbox().Put(d.t.Context(), d.now, wanted...); err != nil {
		d.t.Fatal(err)
	}
}

// drain makes rounds with blocks between them until nothing moves.
func (d *desk) drain() {
	d.t.Helper()
	for range 100 {
		busy, err := d.sub.Drain(d.t.Context())
		if err != nil {
			d.t.Fatal(err)
		}
		if !busy {
			return
		}
		d.Block()
		d.Cosign()
	}
	d.t.Fatal("it never ends")
}

func (d *desk) entry(key string) *notary.Entry {
	d.t.Helper()
	e, err := d.s.Outbox().Entry(d.t.Context(), key)
	if err != nil {
		d.t.Fatal(err)
	}
	return e
}

func (d *desk) stands(key string, stage notary.Stage, reason string) {
	d.t.Helper()
	if e := d.entry(key); e.Stage != stage || e.Reason != reason {
		d.t.Errorf("%s: %s (%s), want %s (%s)", key, e.Stage, e.Reason, stage, reason)
	}
}

// logged checks the log as a whole: each of these is in it once, batches in a chain,
// and what is kept of each proves it.
func (d *desk) logged(keys ...string) {
	d.t.Helper()
	count := make(map[tlog.Hash]int)
	var last tlog.Hash
	for _, b := range d.Bodies() {
		switch b := b.(type) {
		case *state.Batch:
			if b.Previous != last {
				d.t.Error("a batch that does not follow on the one before")
			}
			last = b.Root
			count[b.Root]++
		case *state.StatusAnchor:
			count[b.Digest]++
		}
	}
	if len(count) != len(keys) {
		d.t.Errorf("%d things are in the log, want %d", len(count), len(keys))
	}
	for _, key := range keys {
		e := d.entry(key)
		what := e.Root
		if e.Kind != "fp.batch" {
			what = e.Digest
		}
		if count[what] != 1 {
			d.t.Errorf("%s: %d times in the log", key, count[what])
		}
		if e.Stage != notary.Kept {
			d.t.Errorf("%s: %s (%s)", key, e.Stage, e.Reason)
			continue
		}
		p, err := tlog.ParseLogProof(e.Proof)
		if err != nil {
			d.t.Fatal(err)
		}
		if _, err := p.Verify(tlog.LeafHash(p.Extra), d.Policy); err != nil || p.Index != e.Index || e.Cosigned.IsZero() {
			d.t.Errorf("%s: proof of leaf %d at %v: %v", key, p.Index, e.Cosigned, err)
		}
		if e.Kind != "fp.batch" {
			continue
		}
		by, err := tlog.ParseRootSignature(e.Receipt)
		if err != nil {
			d.t.Fatal(err)
		}
		if err := by.Verify(d.Notary.Public(), e.Root); err != nil {
			d.t.Errorf("%s: receipt: %v", key, err)
		}
	}
}

var errAway = errors.New("nobody answers")

// faulty is a notary that a test can make fail, before or after it did what it was
// asked.
type faulty struct {
	*storetest.Ledger
	d *desk
}

func (f faulty) may(call string) error {
	if f.d.fail == nil {
		return nil
	}
	return f.d.fail(call)
}

func (f faulty) Actor(ctx context.Context, o state.OID) (*notary.Actor, error) {
	if err := f.may("actor"); err != nil {
		return nil, err
	}
	return f.Ledger.Actor(ctx, o)
}

func (f faulty) Submit(ctx context.Context, tx []byte) error {
	if err := f.may("submit"); err != nil {
		return err
	}
	if err := f.Ledger.Submit(ctx, tx); err != nil {
		return err
	}
	return f.may("submitted")
}

func (f faulty) Standing(ctx context.Context, leaf tlog.Hash) (*notary.Standing, error) {
	if err := f.may("standing"); err != nil {
		return nil, err
	}
	return f.Ledger.Standing(ctx, leaf)
}

func (f faulty) Prove(ctx context.Context, leaf tlog.Hash) ([]byte, error) {
	if err := f.may("prove"); err != nil {
		return nil, err
	}
	return f.Ledger.Prove(ctx, leaf)
}

func (f faulty) Receipt(ctx context.Context, root tlog.Hash) (*tlog.RootSignature, error) {
	if err := f.may("receipt"); err != nil {
		return nil, err
	}
	return f.Ledger.Receipt(ctx, root)
}

// faultyBox is an outbox whose process can end before and after it has kept an entry.
type faultyBox struct {
	notary.Outbox
	d *desk
}

func (f faultyBox) Keep(ctx context.Context, e *notary.Entry) error {
	if err := (faulty{d: f.d}).may("keep"); err != nil {
		return err
	}
	if err := f.Outbox.Keep(ctx, e); err != nil {
		return err
	}
	return faulty{d: f.d}.may("kept")
}

func fresh(t *testing.T) Config { return Config{Dir: t.TempDir(), Master: newMaster(t)} }

// TestSubmit: what is wanted is logged, in order, once, with proof and receipt, under
// one signature and under two.
func TestSubmit(t *testing.T) {
	for _, hybrid := range []bool{false, true} {
		t.Run(fmt.Sprint("hybrid ", hybrid), func(t *testing.T) {
			d := newDesk(t, fresh(t), hybrid)
			d.drain() // nothing
			d.put(storetest.WantedBatch(1), storetest.WantedList("list", 1), storetest.WantedBatch(2))
			d.drain()
			d.logged("batch/1", "batch/2", "list/1")
			if e := d.entry("batch/1"); e.Index >= d.entry("list/1").Index || d.entry("list/1").Index >= d.entry("batch/2").Index {
				t.Error("out of order")
			}
			d.now = d.now.Add(time.Hour)
			d.put(storetest.WantedList("list", 2), storetest.WantedBatch(1))
			d.drain()
			d.logged("batch/1", "batch/2", "list/1", "list/2")
		})
	}
}

// TestSubmitFaults: whichever call fails, before or after it did what it was asked,
// whether the process goes on or ends, and whether the node loses what waits:
// nothing is lost and nothing doubled.
func TestSubmitFaults(t *testing.T) {
	calls := []string{"actor", "submit", "submitted", "standing", "prove", "receipt", "keep", "kept"}
	for _, call := range calls {
		for _, ends := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, ends %v", call, ends), func(t *testing.T) {
				d := newDesk(t, fresh(t), false)
				d.put(storetest.WantedBatch(1), storetest.WantedList("list", 1))
				// Every first, second, … time that the call is made it fails once.
				for at := range 8 {
					n := 0
					d.fail = func(c string) error {
						if c == call {
							if n++; n == at+1 {
								return errAway
							}
						}
						return nil
					}
					for range 4 {
						if _, err := d.sub.Drain(t.Context()); err != nil {
							if !errors.Is(err, errAway) {
								t.Fatal(err)
							}
							if got := d.sub.Trouble(); got.Reason != "notary-not-reached" || got.Rounds == 0 || got.Since != d.now {
								t.Errorf("%+v", got)
							}
							if ends {
								d.reopen()
								d.Forget()
							}
						}
						if at%2 == 0 {
							d.Block()
						}
						d.Cosign()
					}
				}
				d.fail = nil
				d.drain()
				d.logged("batch/1", "list/1")
				if got := d.sub.Trouble(); got.Reason != "" {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// TestSubmitChance: faults as they come, of every kind at once.
func TestSubmitChance(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 0))
			d := newDesk(t, fresh(t), false)
			var keys []string
			d.fail = func(string) error {
				if chance.IntN(6) == 0 {
					return errAway
				}
				return nil
			}
			for n := range 60 {
				if n%10 == 0 {
					d.put(storetest.WantedBatch(n))
					keys = append(keys, notary.BatchKey(int64(n)))
				}
				_, _ = d.sub.Drain(t.Context())
				switch chance.IntN(6) {
				case 0:
					d.Forget()
				case 1:
					d.reopen()
				case 2:
					d.Cosign()
				default:
					d.Block()
				}
			}
			d.fail = nil
			d.drain()
			d.logged(keys...)
		})
	}
}

// TestSubmitSame: the bytes that were kept are those that are submitted again, until
// their last height has passed without them.
func TestSubmitSame(t *testing.T) {
	d := newDesk(t, fresh(t), false)
	d.put(storetest.WantedBatch(1))
	round := func() []byte {
		t.Helper()
		if _, err := d.sub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		return d.entry("batch/1").Message
	}
	first := round()
	d.Forget()
	d.Blocks(10)
	if string(round()) != string(first) {
		t.Error("signed again while the first could still be logged")
	}
	d.Forget()
	d.Blocks(int(state.DefaultParams.MaxLife))
	if string(round()) == string(first) {
		t.Error("submitted though it has expired")
	}
	d.Block()
	d.drain()
	d.logged("batch/1")
}

// TestSubmitNumberTaken: another process with the same key has used the number.
func TestSubmitNumberTaken(t *testing.T) {
	d := newDesk(t, fresh(t), false)
	d.put(storetest.WantedList("list", 1))
	if _, err := d.sub.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Forget()
	other := storetest.WantedList("other", 1)
	d.WriteAsIssuer(&state.StatusAnchor{List: other.List, Epoch: 1, Digest: other.Digest, ValidUntil: uint64(other.Until.Unix())})
	d.drain()
	d.stands("list/1", notary.Kept, "")
}

// TestSubmitRefused: a refusal is kept with its word. What is of the entry lets others
// pass; what is of the actor lets nothing pass, until it is over.
func TestSubmitRefused(t *testing.T) {
	t.Run("for good", func(t *testing.T) {
		d := newDesk(t, fresh(t), false)
		late := storetest.WantedList("late", 1)
		late.Until = d.now.Add(-time.Hour)
		d.put(late, storetest.WantedBatch(1))
		d.drain()
		d.stands("late/1", notary.Refused, "bad-period")
		d.logged("batch/1")
	})
	t.Run("of one kind, for a time", func(t *testing.T) {
		d := newDesk(t, fresh(t), false)
		d.Register(state.ScopeBatch)
		d.put(storetest.WantedList("list", 1), storetest.WantedBatch(1))
		d.drain()
		d.stands("list/1", notary.Waiting, "not-authorised")
		d.logged("batch/1")
		d.Register(state.ScopeBatch | state.ScopeStatus)
		d.drain()
		d.stands("list/1", notary.Waiting, "not-authorised") // it is not tried at once
		d.now = d.now.Add(time.Hour)
		d.drain()
		d.logged("batch/1", "list/1")
	})
	t.Run("of the actor", func(t *testing.T) {
		d := newDesk(t, fresh(t), false)
		d.Suspend()
		d.put(storetest.WantedBatch(1), storetest.WantedBatch(2))
		for range 3 {
			if _, err := d.sub.Drain(t.Context()); !errors.Is(err, state.ErrActorSuspended) {
				t.Fatal(err)
			}
			d.reopen()
		}
		d.stands("batch/1", notary.Submitted, "actor-suspended")
		d.stands("batch/2", notary.Waiting, "")
		d.Register(state.ScopeBatch)
		d.drain()
		d.logged("batch/1", "batch/2")
	})
	t.Run("not by the ledger", func(t *testing.T) {
		d := newDesk(t, fresh(t), false)
		d.put(storetest.WantedBatch(1), storetest.WantedBatch(2))
		d.fail = func(call string) error {
			if call == "submit" {
				return format.Defect("engine-failed")
			}
			return nil
		}
		if _, err := d.sub.Drain(t.Context()); err == nil || d.sub.Trouble().Reason != "engine-failed" {
			t.Fatal(err)
		}
		d.stands("batch/1", notary.Submitted, "")
		d.stands("batch/2", notary.Waiting, "")
		d.fail = nil
		d.drain()
		d.logged("batch/1", "batch/2")
	})
	t.Run("without a key", func(t *testing.T) {
		d := newDesk(t, fresh(t), false)
		d.put(storetest.WantedBatch(1))
		d.sub.Signers = nil
		if _, err := d.sub.Drain(t.Context()); !errors.Is(err, notary.ErrSigner) || d.sub.Trouble().Reason != "no-key-of-the-actor" {
			t.Fatal(err)
		}
		d.start()
		d.drain()
		d.logged("batch/1")
	})
	t.Run("one key of two", func(t *testing.T) {
		d := newDesk(t, fresh(t), true)
		d.put(storetest.WantedBatch(1))
		d.sub.Signers = d.Keys[:1]
		if _, err := d.sub.Drain(t.Context()); !errors.Is(err, state.ErrNeedTwo) {
			t.Fatal(err)
		}
		d.start()
		d.drain()
		d.logged("batch/1")
	})
	t.Run("by a key that has ended", func(t *testing.T) {
		d := newDesk(t, fresh(t), false)
		d.put(storetest.WantedBatch(1))
		if _, err := d.sub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.Forget()
		d.Rotate()
		d.start()
		if _, err := d.sub.Drain(t.Context()); !errors.Is(err, state.ErrKeyNotInForce) {
			t.Fatal(err)
		}
		d.drain()
		d.logged("batch/1")
	})
}

// TestSubmitLies: a proof of something else and a receipt of nobody are not kept.
func TestSubmitLies(t *testing.T) {
	d := newDesk(t, fresh(t), false)
	d.put(storetest.WantedBatch(1))
	other := storetest.NewLedger(t, false)
	d.sub.Policy, d.sub.Notaries = other.Policy, []crypto.PublicKey{other.Notary.Public()}
	round := func() error {
		_, err := d.sub.Drain(t.Context())
		d.Block()
		d.Cosign()
		return err
	}
	if err := round(); err != nil {
		t.Fatal(err)
	}
	if err := round(); err == nil || d.entry("batch/1").Proof != nil {
		t.Errorf("a proof under a log that the policy does not have: %v", err)
	}
	d.sub.Policy = d.Policy
	if err := round(); !errors.Is(err, notary.ErrOtherNotary) {
		t.Errorf("a receipt under a key that nobody knows: %v", err)
	}
	if e := d.entry("batch/1"); e.Proof == nil || e.Receipt != nil || e.Stage != notary.Logged {
		t.Errorf("%s", e.Stage)
	}
	// Whoever comes after it is not held up.
	d.put(storetest.WantedList("list", 1))
	for range 4 {
		if err := round(); !errors.Is(err, notary.ErrOtherNotary) {
			t.Errorf("a receipt under a key that nobody knows: %v", err)
		}
	}
	d.stands("list/1", notary.Kept, "")
	d.sub.Notaries = []crypto.PublicKey{other.Notary.Public(), d.Notary.Public()}
	d.drain()
	d.logged("batch/1", "list/1")
}

// TestClosedIsWanted: a batch that is closed is in the outbox, on either database.
func TestClosedIsWanted(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		d := newDesk(t, c, false)
		k := storetest.NewKit(t, d.s)
		if _, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(1))); err != nil {
			t.Fatal(err)
		}
		closed := k.CloseBatches(t)
		if e := d.entry("batch/1"); len(closed) != 1 || e.Root != closed[0].Root || e.Size != uint64(closed[0].Size) {
			t.Fatalf("%+v", e)
		}
		d.drain()
		d.logged("batch/1")
	})
}

// TestErasedWithLedger: from issue to erasure with a ledger behind it. What the log
// has stays whole and says nothing of the person; the others' receipts go on to
// verify.
func TestErasedWithLedger(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		d := newDesk(t, c, false)
		k := storetest.NewKit(t, d.s)
		by := storetest.By("officer-1")
		gone, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(1)))
		if err != nil {
			t.Fatal(err)
		}
		stays, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(2)))
		if err != nil {
			t.Fatal(err)
		}
		k.CloseBatches(t)
		d.drain()
		receipt := func(leaf tlog.Hash, path *tlog.BatchPath) {
			t.Helper()
			by, err := tlog.ParseRootSignature(d.entry("batch/1").Receipt)
			if err != nil {
				t.Fatal(err)
			}
			root, err := (&tlog.Receipt{By: by, Path: path}).Verify(leaf, d.Notary.Public())
			if err != nil || root != d.entry("batch/1").Root {
				t.Errorf("a receipt: %v", err)
			}
		}
		// What the holder took along.
		held, err := k.Registry.Inclusion(t.Context(), by, gone.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		before := len(d.Bodies())
		if _, err := k.Registry.Erase(t.Context(), by, gone.ID); err != nil {
			t.Fatal(err)
		}
		d.drain()
		if len(d.Bodies()) != before {
			t.Error("the erasure has written to the log")
		}
		d.logged("batch/1")
		other, err := k.Registry.Inclusion(t.Context(), by, stays.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		receipt(other.Leaf.Hash(), other.Path)
		receipt(held.Leaf.Hash(), held.Path)
		if _, err := k.Registry.Inclusion(t.Context(), by, gone.ID, 0); err == nil {
			t.Error("the erased certificate is found again")
		}
		d.reopen()
		d.drain()
		d.logged("batch/1")
	})
}
