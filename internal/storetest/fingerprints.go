package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"ampoule/format/hcert"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
	"ampoule/ledger/print"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
)

// daily closes a batch once a day.
var daily = issuer.Closing{Every: 24 * time.Hour, Full: print.MaxBatch}

// at sets the clock of the issuer.
func (k *Kit) at(now time.Time) { k.Registry.Now = func() time.Time { return now } }

// Leaf makes the fingerprint of a certificate, as who holds it would.
func Leaf(t testing.TB, a issuer.Artefact) print.Leaf {
	t.Helper()
	var leaf print.Leaf
	var err error
	switch a.Format {
	case issuer.SHC:
		var jws *shc.JWS
		if jws, err = shc.Parse(shc.Field, a.Text); err == nil {
			leaf, err = print.OfJWS(jws)
		}
	case issuer.VDSNC:
		var seal *vdsnc.Seal
		if seal, _, err = vdsnc.Decode(a.Text, vdsnc.Field); err == nil {
			leaf, err = print.OfSeal(seal)
		}
	default:
		var m *hcert.Message
		if m, err = hcert.Decode(a.Text, hcert.Field); err == nil {
			leaf, err = print.OfSign1(m.Sign1)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// CloseBatches closes the open batch on the next day.
func (k *Kit) CloseBatches(t testing.TB) []issuer.ClosedBatch {
	t.Helper()
	now := k.Registry.Now
	defer func() { k.Registry.Now = now }()
	k.at(now().AddDate(0, 0, 1))
	closed, err := k.Registry.CloseBatches(t.Context(), daily)
	if err != nil {
		t.Fatal(err)
	}
	return closed
}

// Included checks that every certificate of a record is in a closed batch.
func (k *Kit) Included(t testing.TB, id issuer.ID) (batches []int64) {
	t.Helper()
	for n, a := range read(t, k, id).Artefacts {
		in, err := k.Registry.Inclusion(t.Context(), By("clerk-1"), id, n)
		if err != nil {
			t.Errorf("certificate %d, %s: %v", n, a.Format, err)
			continue
		}
		leaf := Leaf(t, a)
		if in.Leaf != leaf {
			t.Errorf("%s: the leaf is not that of the certificate", a.Format)
		}
		if err := in.Path.Verify(leaf.Hash(), in.Batch.Root); err != nil || in.Path.Size() != uint64(in.Batch.Size) {
			t.Errorf("%s: %v", a.Format, err)
		}
		batches = append(batches, in.Batch.Number)
	}
	return batches
}

// Proof returns what step 10 says of a certificate with a batch path, to a verifier
// that has the landmarks.
func (k *Kit) Proof(t testing.TB, text string, landmarks, path []byte) verifier.Check {
	t.Helper()
	v := &verifier.Verifier{Trust: k.list, Now: k.now, Landmarks: new(print.Landmarks)}
	if err := v.Landmarks.Add(landmarks); err != nil {
		t.Fatal(err)
	}
	return v.With(verifier.Options{Proof: path}).Verify(text).Checks[verifier.StepProof]
}

// ProofOf returns what step 10 says of a certificate, with a proof beside it or
// without, to a verifier that has what a bundle says of a ledger.
func (k *Kit) ProofOf(t testing.TB, text string, ledger *print.Ledger, proof []byte) verifier.Check {
	t.Helper()
	v := &verifier.Verifier{Trust: k.list, Now: k.now}
	if ledger != nil {
		v.Ledgers = []*print.Ledger{ledger}
	}
	return v.With(verifier.Options{Proof: proof}).Verify(text).Checks[verifier.StepProof]
}

func openLeaves(t testing.TB, k *Kit) int {
	t.Helper()
	b, err := k.Registry.Book.OpenBatch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b.Leaves
}

// testFingerprints: whatever signs leaves a leaf for each certificate, and what signs
// nothing leaves none.
func testFingerprints(t *testing.T, k *Kit) {
	count := 0
	more := func(what string, n int) {
		t.Helper()
		if count += n; openLeaves(t, k) != count {
			t.Fatalf("%s: %d leaves, want %d", what, openLeaves(t, k), count)
		}
	}
	more("nothing", 0)
	seal := Order("", SealDose(7))
	seal.Wanted = []issuer.Wanted{{Format: issuer.VDSNC}}
	sealed := issue(t, k, seal)
	more("a seal", 1)
	o := Order("row-1", Dose(1))
	o.Wanted = append(o.Wanted, issuer.Wanted{Format: issuer.DDCC})
	first := issue(t, k, o)
	more("an order of three formats", 3)
	issue(t, k, o)
	more("the same order again", 0)
	bad := Order("", Dose(2))
	bad.Wanted[1].Format = issuer.ICVP
	if _, err := k.Registry.Issue(t.Context(), bad); err == nil {
		t.Fatal("no key signs it")
	}
	more("an order that is refused", 0)
	second := issue(t, k, Order("", Dose(2)))
	more("an order of two", 2)
	fixed, err := k.Registry.Correct(t.Context(), guard(second.Head), issuer.ReasonData, Order("", Dose(3)))
	if err != nil {
		t.Fatal(err)
	}
	more("a correction", 2)
	if _, err := k.Registry.Correct(t.Context(), guard(second.Head), issuer.ReasonData, Order("", Dose(3))); !errors.Is(err, issuer.ErrConflict) {
		t.Fatal(err)
	}
	more("a correction that comes too late", 0)
	added, err := k.Registry.Add(t.Context(), By("clerk-1"), guard(fixed.Head), issuer.Wanted{Format: issuer.DDCC})
	if err != nil {
		t.Fatal(err)
	}
	more("a further format", 1)
	if _, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(added.Head), issuer.ReasonData); err != nil {
		t.Fatal(err)
	}
	more("a revocation", 0)
	old := first.Artefacts[0].KID
	k.NewKeys(t)
	again, err := k.Registry.Reissue(t.Context(), By("operator-1"), old)
	if err != nil || again.Done != 2 { // the EU DCC and the DDCC of the first record
		t.Fatalf("%+v, %v", again, err)
	}
	more("a reissue", 2)

	// Still open: there is no path yet.
	if _, err := k.Registry.Inclusion(t.Context(), By("clerk-1"), first.ID, 0); !errors.Is(err, issuer.ErrOpenBatch) {
		t.Errorf("an open batch: %v", err)
	}
	closed := k.CloseBatches(t)
	if len(closed) != 1 || closed[0].Size != 64 || closed[0].Number != 1 || openLeaves(t, k) != 0 {
		t.Fatalf("%+v, %d open", closed, openLeaves(t, k))
	}
	for _, id := range []issuer.ID{sealed.ID, first.ID, second.ID, fixed.ID} {
		k.Included(t, id)
	}
	if n := len(read(t, k, first.ID).Artefacts); n != 5 {
		t.Errorf("%d certificates", n)
	}
	for name, id := range map[string]issuer.ID{"no record": {1}, "no such certificate": second.ID} {
		if _, err := k.Registry.Inclusion(t.Context(), By("clerk-1"), id, 9); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A leaf that is of another certificate is in no batch.
	if _, _, err := k.Registry.Book.BatchOf(t.Context(), first.ID, 0, print.Leaf{1}); !errors.Is(err, issuer.ErrNoFingerprint) {
		t.Errorf("another leaf: %v", err)
	}
}

// testClosing: a batch closes at the end of its period or when it is full, once, and
// stays as it was.
func testClosing(t *testing.T, k *Kit) {
	ctx := t.Context()
	c := issuer.Closing{Every: 6 * time.Hour, Full: 64}
	closes := func(now time.Time, want int) []issuer.ClosedBatch {
		t.Helper()
		k.at(now)
		closed, err := k.Registry.CloseBatches(ctx, c)
		if err != nil || len(closed) != want {
			t.Fatalf("%s: %+v, %v; want %d", now, closed, err, want)
		}
		return closed
	}
	closes(Day, 0) // nothing is there
	closes(Day.AddDate(1, 0, 0), 0)
	k.at(Day) // 12:30
	first := issue(t, k, Order("", Dose(1)))
	closes(Day.Add(5*time.Hour+29*time.Minute), 0) // 17:59
	one := closes(Day.Add(5*time.Hour+30*time.Minute), 1)
	closes(Day.Add(48*time.Hour), 0)
	_, before, err := k.Registry.Book.BatchOf(ctx, first.ID, 0, Leaf(t, first.Artefacts[0]))
	if err != nil {
		t.Fatal(err)
	}

	// Full before its time.
	k.at(Day)
	var full []*issuer.Receipt
	for n := range 32 {
		if full = append(full, issue(t, k, Order("", Dose(10+n)))); n < 31 {
			closes(Day, 0)
		}
	}
	two := closes(Day, 1)
	if one[0].Number != 1 || two[0].Number != 2 || two[0].Size != 64 {
		t.Errorf("%+v, then %+v", one, two)
	}
	// A clock that was put back closes nothing again, and loses nothing.
	last := issue(t, k, Order("", Dose(3)))
	closes(Day.AddDate(0, 0, -3), 0)
	k.at(Day)
	k.CloseBatches(t)
	for n, r := range append(full, first, last) {
		want := int64(2)
		switch r.ID {
		case first.ID:
			want = 1
		case last.ID:
			want = 3
		}
		if got := k.Included(t, r.ID); !slices.Equal(got, []int64{want, want}) {
			t.Errorf("record %d is in the batches %v, want %d", n, got, want)
		}
	}
	_, after, err := k.Registry.Book.BatchOf(ctx, first.ID, 0, Leaf(t, first.Artefacts[0]))
	if err != nil || !slices.Equal(after.Bytes(), before.Bytes()) {
		t.Errorf("a closed batch has changed, %v", err)
	}
	page, err := k.Registry.Book.Batches(ctx, 0, 2)
	if err != nil || len(page) != 2 || page[0] != one[0] || page[1] != two[0] {
		t.Errorf("%+v, %v", page, err)
	}
	if rest, err := k.Registry.Book.Batches(ctx, 2, 10); err != nil || len(rest) != 1 || rest[0].Number != 3 {
		t.Errorf("%+v, %v", rest, err)
	}
}

// testClosingFails: where no batch can be made, the leaves stay in the open one.
func testClosingFails(t *testing.T, k *Kit) {
	r := issue(t, k, Order("", Dose(1)))
	broken := errors.New("no random bytes")
	_, err := k.Registry.Book.CloseBatches(t.Context(), Day, func([]print.Leaf) ([]*print.Batch, error) { return nil, broken })
	if !errors.Is(err, broken) || openLeaves(t, k) != 2 {
		t.Fatalf("%v, %d leaves", err, openLeaves(t, k))
	}
	k.CloseBatches(t)
	k.Included(t, r.ID)
}

// testClosingAtOnce: while others issue, every leaf gets into exactly one batch.
func testClosingAtOnce(t *testing.T, k *Kit) {
	k.at(Day)
	var mu sync.Mutex
	var ids []issuer.ID
	var closed []issuer.ClosedBatch
	stop := make(chan struct{})
	var issuing, closing sync.WaitGroup
	for worker := range 8 {
		issuing.Go(func() {
			// Until some batches were closed meanwhile, as a loaded machine gets to it.
			some := func() bool { mu.Lock(); defer mu.Unlock(); return len(closed) > 2 }
			for i := 0; i < 12 || i < 500 && !some(); i++ {
				r := tryIssue(t, k, Order(fmt.Sprintf("%d-%d", worker, i), Dose(1000*worker+i)))
				mu.Lock()
				ids = append(ids, r.ID)
				mu.Unlock()
			}
		})
	}
	for range 2 {
		closing.Go(func() {
			for {
				c, err := k.Registry.CloseBatches(t.Context(), issuer.Closing{Every: 24 * time.Hour, Full: 1})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				closed = append(closed, c...)
				mu.Unlock()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	issuing.Wait()
	close(stop)
	closing.Wait()
	k.CloseBatches(t)
	if t.Failed() {
		return
	}
	for _, id := range ids {
		k.Included(t, id)
	}
	all, err := k.Registry.Book.Batches(t.Context(), 0, 1000)
	if err != nil || len(closed) < 2 || len(all) < len(closed) {
		t.Fatalf("%d batches were closed and %d are kept, %v", len(closed), len(all), err)
	}
	for i, b := range all {
		if b.Number != int64(i+1) {
			t.Fatalf("batch %d has number %d", i+1, b.Number)
		}
	}
}

// testErasedLeaf: the leaf of an erased record stays as a bare node, in the open
// batch and in a closed one, and leads nobody to anything.
func testErasedLeaf(t *testing.T, k *Kit) {
	early := issue(t, k, Order("", Dose(1)))
	beside := issue(t, k, Order("", Dose(2)))
	k.CloseBatches(t)
	_, before, err := k.Registry.Book.BatchOf(t.Context(), beside.ID, 0, Leaf(t, beside.Artefacts[0]))
	if err != nil {
		t.Fatal(err)
	}
	late := issue(t, k, Order("", Dose(3)))
	for _, r := range []*issuer.Receipt{early, late} {
		if _, err := k.Registry.Erase(t.Context(), By("officer-1"), r.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Registry.Inclusion(t.Context(), By("clerk-1"), r.ID, 0); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("an erased record: %v", err)
		}
	}
	if openLeaves(t, k) != 2 {
		t.Errorf("%d leaves are open", openLeaves(t, k))
	}
	_, after, err := k.Registry.Book.BatchOf(t.Context(), beside.ID, 0, Leaf(t, beside.Artefacts[0]))
	if err != nil || !slices.Equal(before.Bytes(), after.Bytes()) {
		t.Fatalf("the batch has changed: %v", err)
	}
	k.Included(t, beside.ID)
	// Whoever kept the certificate could still be shown that it is there.
	if _, found := after.Find(Leaf(t, early.Artefacts[0])); !found {
		t.Error("the node is gone, and with it everybody's path")
	}
	last := issue(t, k, Order("", Dose(4)))
	k.CloseBatches(t)
	k.Included(t, last.ID)
	_, batch, err := k.Registry.Book.BatchOf(t.Context(), last.ID, 0, Leaf(t, last.Artefacts[0]))
	if err != nil {
		t.Fatal(err)
	}
	if _, found := batch.Find(Leaf(t, late.Artefacts[0])); !found {
		t.Error("the leaf of a record that was erased before its batch closed is gone")
	}
}
