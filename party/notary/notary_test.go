package notary_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/internal/ledgertest"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

var now = time.Unix(ledgertest.Start+1000, 0).UTC()

func clock() time.Time { return now }

// bench is a notary alone, with two witnesses outside of which one is enough.
type bench struct {
	t       *testing.T
	dir     string
	replica *ledgertest.Replica
	policy  *tlog.Policy
	outside [2]*notary.Cosigner
	shelf   *ledgertest.Shelf
	seen    *ledgertest.Seen
	n       *notary.Notary
}

func policy(t testing.TB, data []byte) *tlog.Policy {
	t.Helper()
	p, err := tlog.ParsePolicy(data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// quorum is how many of the three cosigners are needed: the node's own is one.
func newBench(t *testing.T, quorum int) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), shelf: new(ledgertest.Shelf), seen: new(ledgertest.Seen)}
	b.replica = ledgertest.NewChain(ledgertest.Genesis(1, 4)).Join(t, b.dir)
	b.replica.Register(t)
	keys := []*tlog.NoteSigner{ledgertest.WitnessKey("witness.example/one", tlog.MLDSA44Cosignature), ledgertest.WitnessKey("witness.example/two", tlog.Ed25519Cosignature)}
	b.policy = policy(t, ledgertest.Policy(1, keys, quorum))
	for i, k := range keys {
		b.outside[i] = ledgertest.Outside(1, &notary.Cosigner{Signers: []*tlog.NoteSigner{k}, Seen: new(ledgertest.Seen), Now: clock, Random: rand.Reader})
	}
	b.n = b.notary(b.replica)
	return b
}

func (b *bench) notary(r notary.Replica) *notary.Notary {
	b.t.Helper()
	n, err := notary.New(notary.Config{
		Replica: r, Log: ledgertest.LogKey(1), Receipts: ledgertest.ES256("notary"), Policy: b.policy, Shelf: b.shelf,
		Cosigner: &notary.Cosigner{
			Signers: []*tlog.NoteSigner{ledgertest.CosignerKey(1)}, Logs: []*tlog.Key{ledgertest.LogKey(1).Key}, Seen: b.seen, Now: clock, Random: rand.Reader,
		},
		Witnesses: []notary.Remote{ledgertest.Remote{Called: "one", Cosigner: b.outside[0]}, ledgertest.Remote{Called: "two", Cosigner: b.outside[1]}},
		Now:       clock, Random: rand.Reader, Patience: 300 * time.Millisecond,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *bench) publish() {
	b.t.Helper()
	if err := b.n.Publish(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func wantIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// TestPublish: a transaction is logged, proven under a checkpoint that three have
// signed, and receipted; all of it is verified as a stranger would.
func TestPublish(t *testing.T) {
	b := newBench(t, 3)
	ctx := t.Context()
	tx, root := b.replica.Batch(t, 1)
	leaf := tlog.LeafHash(tx)

	s, err := b.n.Standing(ctx, leaf)
	if err != nil || !s.Logged || s.Cosigned {
		t.Fatalf("%+v, %v", s, err)
	}
	_, err = b.n.Prove(ctx, leaf)
	wantIs(t, err, notary.ErrNotCosigned)
	_, err = b.n.Receipt(ctx, root)
	wantIs(t, err, notary.ErrNotCosigned)
	_, err = b.n.Prove(ctx, tlog.Hash{1})
	wantIs(t, err, notary.ErrNotLogged)

	b.publish()
	s, err = b.n.Standing(ctx, leaf)
	if err != nil || !s.Cosigned || !s.Time.Equal(now) {
		t.Fatalf("%+v, %v", s, err)
	}
	data, err := b.n.Prove(ctx, leaf)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := tlog.ParseLogProof(data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := proof.Verify(leaf, b.policy)
	if err != nil || len(c.Witnesses) != 3 || c.Checkpoint.Origin != ledgertest.Origin {
		t.Fatalf("%+v, %v", c, err)
	}
	receipt, err := b.n.Receipt(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Verify(ledgertest.ES256("notary").Public(), root); err != nil {
		t.Error(err)
	}
	// A root that nobody has anchored is not signed for, were it the log's own.
	for _, other := range []tlog.Hash{{1}, leaf, c.Checkpoint.Root} {
		_, err = b.n.Receipt(ctx, other)
		wantIs(t, err, notary.ErrNotLogged)
	}

	a, err := b.n.Actor(ctx, ledgertest.Issuer)
	if err != nil || a.Seq != 1 || a.Batch != root || a.Hybrid || len(a.Keys) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	_, err = b.n.Actor(ctx, ledgertest.OID("3.99"))
	wantIs(t, err, notary.ErrNoActor)
	wantIs(t, b.n.Submit(ctx, tx), state.ErrSeqUsed)

	// Nothing new: nothing is signed.
	before, _ := b.shelf.Checkpoint()
	b.publish()
	if after, _ := b.shelf.Checkpoint(); !bytes.Equal(before, after) {
		t.Error("a checkpoint was signed again at once")
	}
	// After a start it is where it was left.
	b.n = b.notary(b.replica)
	if _, err := b.n.Prove(ctx, leaf); err != nil {
		t.Error(err)
	}
}

// TestManyEntries: each entry has its proof, across tiles, at each size that was
// published.
func TestManyEntries(t *testing.T) {
	b := newBench(t, 3)
	var leaves []tlog.Hash
	for n := range 300 {
		tx, _ := b.replica.Batch(t, n)
		leaves = append(leaves, tlog.LeafHash(tx))
		if n%37 == 0 || n == 299 {
			b.publish()
		}
	}
	for _, leaf := range leaves {
		data, err := b.n.Prove(t.Context(), leaf)
		if err != nil {
			t.Fatal(err)
		}
		proof, _ := tlog.ParseLogProof(data)
		if _, err := proof.Verify(leaf, b.policy); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.n.Receipt(t.Context(), batchRoot(b, 17)); err != nil {
		t.Error(err)
	}
}

func batchRoot(b *bench, n int) tlog.Hash {
	entry, _, err := b.n.Entry(uint64(n))
	if err != nil {
		b.t.Fatal(err)
	}
	tx, err := state.ParseTx(entry)
	if err != nil {
		b.t.Fatal(err)
	}
	return tx.Body.(*state.Batch).Root
}

// TestWitnessAway: with one witness away nothing is published where all are needed,
// and it is where two suffice; it comes with the next.
func TestWitnessAway(t *testing.T) {
	for _, quorum := range []int{2, 3} {
		t.Run(fmt.Sprint(quorum), func(t *testing.T) {
			b := newBench(t, quorum)
			b.n.Witnesses[1] = away{}
			err := b.n.Publish(t.Context())
			if quorum == 3 {
				wantIs(t, err, tlog.ErrQuorum)
				if note, _ := b.shelf.Checkpoint(); note != nil {
					t.Error("published without a quorum")
				}
			} else if err != nil {
				t.Fatal(err)
			}
			b.n.Witnesses[1] = ledgertest.Remote{Called: "two", Cosigner: b.outside[1]}
			b.replica.Batch(t, 1)
			b.publish()
			if _, c := b.n.Checkpoint(); len(c.Witnesses) != 3 {
				t.Errorf("%+v", c)
			}
		})
	}
}

type away struct{}

func (away) Name() string { return "away" }

func (away) AddCheckpoint(ctx context.Context, _ []byte) (*notary.Answer, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestAttacks: what whoever runs the only log could try, each refused by its name.
func TestAttacks(t *testing.T) {
	tiles := func(b *bench, level, index string) string {
		return filepath.Join(b.dir, "tile", level, index)
	}
	for _, test := range []struct {
		name string
		do   func(t *testing.T, b *bench) error
		want error
	}{
		{"rewritten tiles", func(t *testing.T, b *bench) error {
			b.replica.Batch(t, 2)
			found := false
			size := b.replica.Head().Size
			path := tiles(b, "0", fmt.Sprintf("000.p/%d", size))
			data, err := os.ReadFile(path)
			if err == nil {
				found = true
				data[5] ^= 1
				err = os.WriteFile(path, data, 0o600)
			}
			if err != nil || !found {
				t.Fatal(err)
			}
			return b.n.Publish(t.Context())
		}, notary.ErrTiles},
		{"rewritten tiles, proof", func(t *testing.T, b *bench) error {
			size := b.replica.Head().Size
			path := tiles(b, "0", fmt.Sprintf("000.p/%d", size))
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[5] ^= 1
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err = b.n.Entry(2)
			return err
		}, notary.ErrTiles},
		{"rewritten entry, receipt", func(t *testing.T, b *bench) error {
			size := b.replica.Head().Size
			path := tiles(b, "entries", fmt.Sprintf("000.p/%d", size))
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			root := batchRoot(b, 2)
			forged := tlog.Hash{7}
			changed := bytes.Replace(data, root[:], forged[:], 1)
			if bytes.Equal(changed, data) {
				t.Fatal("not found")
			}
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = b.n.Receipt(t.Context(), forged)
			return err
		}, notary.ErrTiles},
		{"truncated log", func(t *testing.T, b *bench) error {
			short := ledgertest.NewChain(ledgertest.Genesis(1, 4)).Join(t, t.TempDir())
			b.n = b.notary(short)
			return b.n.Publish(t.Context())
		}, notary.ErrRollback},
		{"forked log", func(t *testing.T, b *bench) error {
			b.n = b.notary(fork(t, 5))
			return b.n.Publish(t.Context())
		}, notary.ErrSplitView},
		{"forked log, published checkpoint taken away", func(t *testing.T, b *bench) error {
			b.shelf = new(ledgertest.Shelf)
			b.n = b.notary(fork(t, 5))
			return b.n.Publish(t.Context())
		}, notary.ErrSplitView},
		{"forked log, cosigner's memory taken away too", func(t *testing.T, b *bench) error {
			b.shelf, b.seen = new(ledgertest.Shelf), new(ledgertest.Seen)
			b.n = b.notary(fork(t, 5))
			return b.n.Publish(t.Context())
		}, tlog.ErrQuorum},
		{"cosigned by nobody", func(t *testing.T, b *bench) error {
			_, err := b.policy.Open(signed(t, ledgertest.LogKey(1), 9, tlog.Hash{9}))
			return err
		}, tlog.ErrQuorum},
		{"signed by another's key", func(t *testing.T, b *bench) error {
			_, err := b.policy.Open(signed(t, ledgertest.LogKey(2), 9, tlog.Hash{9}))
			return err
		}, tlog.ErrNoSignature},
		{"of another origin", func(t *testing.T, b *bench) error {
			other, err := tlog.NewNoteSigner("oid/1.2.3.1.1", tlog.Ed25519Note, ledgertest.Ed25519("log 1"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.policy.Open(signed(t, other, 9, tlog.Hash{9}))
			return err
		}, tlog.ErrNoSignature},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, 3)
			b.replica.Batch(t, 1)
			b.publish()
			wantIs(t, test.do(t, b), test.want)
		})
	}
}

// fork is another history of the same federation.
func fork(t *testing.T, batches int) *ledgertest.Replica {
	r := ledgertest.NewChain(ledgertest.Genesis(1, 4)).Join(t, t.TempDir())
	r.Register(t)
	for n := range batches {
		r.Batch(t, 100+n)
	}
	return r
}

func signed(t *testing.T, s *tlog.NoteSigner, size uint64, root tlog.Hash) []byte {
	t.Helper()
	n, err := (&tlog.Checkpoint{Origin: s.Key.Name, Size: size, Root: root}).Note()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Sign(rand.Reader, n, 0); err != nil {
		t.Fatal(err)
	}
	return n.Encode()
}

// TestMutatedProof: no byte of a proof can be changed without it being refused.
// What is between the signatures of others is not ours to judge; here all are known.
func TestMutatedProof(t *testing.T) {
	b := newBench(t, 3)
	tx, _ := b.replica.Batch(t, 1)
	b.publish()
	leaf := tlog.LeafHash(tx)
	data, err := b.n.Prove(t.Context(), leaf)
	if err != nil {
		t.Fatal(err)
	}
	step := max(1, len(data)/400)
	for at := 0; at < len(data); at += step {
		changed := bytes.Clone(data)
		changed[at] ^= 1
		p, err := tlog.ParseLogProof(changed)
		if err != nil {
			continue
		}
		if _, err := p.Verify(leaf, b.policy); err == nil {
			t.Errorf("byte %d: %q", at, changed[at])
		}
	}
}

// TestResolve: each kind of identifier, and what stands for it in the log.
func TestResolve(t *testing.T) {
	b := newBench(t, 3)
	b.replica.Batch(t, 1)
	for b.replica.Head().Height < 4 {
		b.replica.Batch(t, int(b.replica.Head().Height)+10)
	}
	b.publish() // height 4 ends an epoch
	absent := ledgertest.OID("3.99")
	for _, test := range []struct {
		oid, kind string
	}{
		{ledgertest.Arc + ".1.1", notary.KindLog},
		{ledgertest.Arc + ".1.1.0", notary.KindEntry},
		{ledgertest.Arc + ".1.1.2", notary.KindEntry},
		{ledgertest.Arc + ".2.1", notary.KindCosigner},
		{ledgertest.Issuer.String(), notary.KindRegistry},
		{ledgertest.Member(1).String(), notary.KindRegistry},
		{absent.String(), notary.KindAbsent},
	} {
		t.Run(test.oid[len(ledgertest.Arc):], func(t *testing.T) {
			oid, err := state.ParseOID(test.oid)
			if err != nil {
				t.Fatal(err)
			}
			r, err := b.n.Resolve(t.Context(), oid)
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind != test.kind {
				t.Fatalf("%q", r.Kind)
			}
			if _, err := r.Verify(oid, b.policy); err != nil {
				t.Error(err)
			}
			// The answer to another question is none.
			if _, err := r.Verify(ledgertest.OID("3.98"), b.policy); err == nil {
				t.Error("taken for another identifier")
			}
			other := *r
			other.OID = ledgertest.OID("3.98")
			if _, err := other.Verify(other.OID, b.policy); err == nil {
				t.Error("taken with another identifier put in")
			}
			if r.Value != nil {
				other = *r
				other.Value = append(bytes.Clone(r.Value), 0)
				if _, err := other.Verify(oid, b.policy); err == nil {
					t.Error("taken with another value")
				}
			}
		})
	}
	// One that is denied, although it is there.
	r, err := b.n.Resolve(t.Context(), absent)
	if err != nil {
		t.Fatal(err)
	}
	r.OID = ledgertest.Issuer
	for i, key := range state.EntryKeys(r.OID) {
		r.Rows[i].Key = key
	}
	if _, err := r.Verify(r.OID, b.policy); err == nil {
		t.Error("an issuer that is registered was denied")
	}
	_, err = b.n.Resolve(t.Context(), ledgertest.OID("1.1.99"))
	wantIs(t, err, notary.ErrNoEntry)
	// What was written after the epoch has no proof yet.
	b.replica.Must(t, ledgertest.Member(1), &state.Suspend{Role: state.Issuer, OID: ledgertest.Issuer}, ledgertest.MemberKey(1))
	b.publish()
	r, err = b.n.Resolve(t.Context(), ledgertest.Issuer)
	if err != nil || r.Since != notary.SinceChanged {
		t.Fatalf("%+v, %v", r, err)
	}
	_, err = r.Verify(ledgertest.Issuer, b.policy)
	wantIs(t, err, notary.ErrUnproven)
}

// TestFederation: four nodes cosign each other's checkpoints, three are enough, and
// one that is slow does not keep the others.
func TestFederation(t *testing.T) {
	chain := ledgertest.NewChain(ledgertest.Genesis(4, 100))
	p := policy(t, ledgertest.Policy(4, nil, 3))
	var keys []*tlog.Key
	for n := 1; n <= 4; n++ {
		keys = append(keys, ledgertest.LogKey(n).Key)
	}
	var replicas []*ledgertest.Replica
	var cosigners []*notary.Cosigner
	var nodes []*notary.Notary
	for n := 1; n <= 4; n++ {
		replicas = append(replicas, chain.Join(t, t.TempDir()))
		cosigners = append(cosigners, &notary.Cosigner{Signers: []*tlog.NoteSigner{ledgertest.CosignerKey(n)}, Logs: keys, Seen: new(ledgertest.Seen), Now: clock, Random: rand.Reader})
	}
	for n := range 4 {
		var others []notary.Remote
		for m := range 4 {
			if m != n {
				others = append(others, ledgertest.Remote{Called: fmt.Sprint(m), Cosigner: cosigners[m]})
			}
		}
		node, err := notary.New(notary.Config{
			Replica: replicas[n], Log: ledgertest.LogKey(n + 1), Cosigner: cosigners[n], Policy: p, Witnesses: others,
			Shelf: new(ledgertest.Shelf), Now: clock, Random: rand.Reader, Patience: 300 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, node)
	}
	replicas[0].Register(t)
	for round := range 5 {
		replicas[round%4].Batch(t, round)
		errs := make(chan error, 4)
		for _, n := range nodes {
			go func() { errs <- n.Publish(t.Context()) }()
		}
		for range nodes {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	}
	// The third has not the newest block: it cosigns when it has.
	if err := replicas[2].Hold(true); err != nil {
		t.Fatal(err)
	}
	replicas[0].Batch(t, 90)
	if err := nodes[0].Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, c := nodes[0].Checkpoint(); len(c.Witnesses) != 3 {
		t.Errorf("%d have cosigned", len(c.Witnesses))
	}
	a, err := cosigners[2].AddCheckpoint(t.Context(), (&notary.Request{Checkpoint: signed(t, ledgertest.LogKey(1), replicas[0].Head().Size, replicas[0].Head().Root)}).Encode())
	if err != nil || a.Status != notary.StatusUnavailable {
		t.Errorf("%+v, %v", a, err)
	}
	// A node of which the log key was stolen says another root: nobody follows.
	a, err = cosigners[1].AddCheckpoint(t.Context(), (&notary.Request{Checkpoint: signed(t, ledgertest.LogKey(1), replicas[0].Head().Size, tlog.Hash{3})}).Encode())
	if err != nil || a.Status != notary.StatusUnprocessable {
		t.Errorf("%+v, %v", a, err)
	}
	if err := replicas[2].Hold(false); err != nil {
		t.Fatal(err)
	}
	if err := nodes[2].Publish(t.Context()); err != nil {
		t.Error(err)
	}
}
