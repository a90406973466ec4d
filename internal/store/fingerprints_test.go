//go:build linux

package store

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

// TestErasedLeafRestored: a backup that is older than an erasure and than the closing
// of a batch. The erased record does not come back, its leaf is one more decoy, and
// the others have their paths, in the batches of before and in new ones.
func TestErasedLeafRestored(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		k := storetest.NewKit(t, s)
		issued := func(n int) *issuer.Receipt {
			t.Helper()
			r, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(n)))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		closedErased, closedKept := issued(1), issued(2)
		k.CloseBatches(t)
		openErased, openKept := issued(3), issued(4)
		old := backup(t, s)
		lost := issued(5)
		k.CloseBatches(t)
		for _, r := range []*issuer.Receipt{closedErased, openErased} {
			if _, err := k.Registry.Erase(t.Context(), storetest.By("officer-1"), r.ID); err != nil {
				t.Fatal(err)
			}
		}
		k.Included(t, openKept.ID)
		_, first, err := s.BatchOf(t.Context(), closedKept.ID, 0, storetest.Leaf(t, closedKept.Artefacts[0]))
		if err != nil {
			t.Fatal(err)
		}
		shut(t, s)

		databases(t, func(t *testing.T, into func(Config) Config) {
			n := into(elsewhere(t, c))
			if _, err := Restore(t.Context(), n, bytes.NewReader(old)); err != nil {
				t.Fatal(err)
			}
			r := open(t, n)
			k.Registry.Book = r
			for _, gone := range []*issuer.Receipt{closedErased, openErased, lost} {
				if _, err := k.Registry.Inclusion(t.Context(), storetest.By("clerk-1"), gone.ID, 0); !errors.Is(err, issuer.ErrNotFound) {
					t.Errorf("a record that is not there: %v", err)
				}
			}
			if got := k.Included(t, closedKept.ID); !slices.Equal(got, []int64{1, 1}) {
				t.Errorf("batches %v", got)
			}
			_, again, err := r.BatchOf(t.Context(), closedKept.ID, 0, storetest.Leaf(t, closedKept.Artefacts[0]))
			if err != nil || !bytes.Equal(again.Bytes(), first.Bytes()) {
				t.Errorf("the first batch has changed, %v", err)
			}
			if _, found := again.Find(storetest.Leaf(t, closedErased.Artefacts[0])); !found {
				t.Error("the node of the erased record is gone")
			}
			// The open batch is as it was then, and closes under the next number.
			if b, err := r.OpenBatch(t.Context()); err != nil || b.Leaves != 4 {
				t.Errorf("%+v, %v", b, err)
			}
			k.CloseBatches(t)
			if got := k.Included(t, openKept.ID); !slices.Equal(got, []int64{2, 2}) {
				t.Errorf("batches %v", got)
			}
			_, second, err := r.BatchOf(t.Context(), openKept.ID, 0, storetest.Leaf(t, openKept.Artefacts[0]))
			if err != nil {
				t.Fatal(err)
			}
			if _, found := second.Find(storetest.Leaf(t, openErased.Artefacts[1])); !found {
				t.Error("the leaf of a record that was erased is no decoy of the next batch")
			}
			shut(t, r)
		})
	})
}

// TestBatchSurvives: what was closed, and what was open, is there after the store was
// opened again, and numbers go on.
func TestBatchSurvives(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		k := storetest.NewKit(t, s)
		first, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(1)))
		if err != nil {
			t.Fatal(err)
		}
		k.CloseBatches(t)
		second, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(2)))
		if err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		s = open(t, c)
		k.Registry.Book = s
		third, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(3)))
		if err != nil {
			t.Fatal(err)
		}
		if closed := k.CloseBatches(t); len(closed) != 1 || closed[0].Number != 2 {
			t.Errorf("%+v", closed)
		}
		for r, want := range map[*issuer.Receipt]int64{first: 1, second: 2, third: 2} {
			if got := k.Included(t, r.ID); !slices.Equal(got, []int64{want, want}) {
				t.Errorf("batches %v, want %d", got, want)
			}
		}
	})
}

// TestLeafNamesNobody: the rows of fingerprints have no column by which one could
// get from a leaf to a record, nor a time finer than the hour.
func TestLeafNamesNobody(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	r := issue(t, s, 3)[1]
	fine := int64(0)
	err := s.db.read(t.Context(), func(t tx) error {
		return t.row(`SELECT count(*) FROM leaf WHERE at % 3600 <> 0`, nil, &fine)
	})
	if err != nil || fine != 0 {
		t.Errorf("%d leaves tell their second, %v", fine, err)
	}
	k := storetest.NewKit(t, s)
	k.CloseBatches(t)
	for _, table := range []string{"leaf", "batch"} {
		for _, b := range backedUp {
			if b.name != table {
				continue
			}
			for _, column := range b.columns {
				var found int64
				err := s.db.read(t.Context(), func(t tx) error {
					return t.row(`SELECT count(*) FROM `+table+` WHERE instr(`+column+`, $1) > 0`, []any{r.ID[:]}, &found)
				})
				if err != nil || found > 0 {
					t.Errorf("%s.%s names a record, %v", table, column, err)
				}
			}
		}
	}
}

// TestNoFingerprint: a certificate from before there were fingerprints has none, and
// is told apart from one whose batch is open.
func TestNoFingerprint(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	r := issue(t, s, 1)[0]
	// As the migration leaves what it finds.
	if err := s.db.writeAll(t.Context(), stmt{sql: `UPDATE artefact SET batch = 0`}, stmt{sql: `DELETE FROM leaf`}); err != nil {
		t.Fatal(err)
	}
	k := storetest.NewKit(t, s)
	if _, err := k.Registry.Inclusion(t.Context(), storetest.By("clerk-1"), r.ID, 0); !errors.Is(err, issuer.ErrNoFingerprint) {
		t.Error(err)
	}
}
