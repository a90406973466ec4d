package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ampoule/party/issuer"
	"ampoule/thing"
)

// Fever is an adverse event on the day of [Dose].
func Fever() issuer.Adverse {
	hours := 6
	return issuer.Adverse{What: []issuer.Untoward{issuer.Fever}, Onset: "2026-10-01", Hours: &hours, Outcome: issuer.Recovered, Role: "clerk", Text: "Adalovelace slept badly"}
}

// another is one with other hours.
func another(n int) issuer.Adverse {
	a, hours := Fever(), n%24
	a.Hours, a.Text = &hours, fmt.Sprint("report ", n)
	return a
}

var doseProduct = thing.Product{Code: "EU/1/20/1528", System: "https://ec.europa.eu/health/documents/community-register/html/"}

func report(t *testing.T, k *Kit, record issuer.ID, corrects issuer.Guard, a issuer.Adverse) *issuer.AdverseReport {
	t.Helper()
	r, err := k.Registry.Report(t.Context(), By("clerk-1"), record, corrects, a)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reports are the newest versions of what was reported of a record.
func reports(t *testing.T, k *Kit, record issuer.ID) []issuer.AdverseReport {
	t.Helper()
	found, err := k.Registry.Reports(t.Context(), By("clerk-1"), record)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func counts(t *testing.T, k *Kit, within issuer.Place, lot string) *issuer.LotCounts {
	t.Helper()
	c, err := k.Registry.LotCounts(t.Context(), issuer.Actor{ID: "officer-1", Within: within}, []thing.Product{doseProduct}, lot)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// testAdverse: what is reported is kept, put right, counted and erased with its record.
func testAdverse(t *testing.T, k *Kit) {
	ctx := t.Context()
	north, south := issuer.Place{Organisation: "org-a", Facility: "north"}, issuer.Place{Organisation: "org-a", Facility: "south"}
	var records []*issuer.Receipt
	for n := range 14 {
		o := Order("", Dose(n))
		if o.At = north; n >= 7 {
			o.At = south
		}
		records = append(records, issue(t, k, o))
	}
	first := report(t, k, records[0].ID, issuer.Guard{}, Fever())
	if got := reports(t, k, records[0].ID); len(got) != 1 || !cmp.Equal(got[0], *first) || first.Version != 1 || first.Reported.IsZero() {
		t.Errorf("kept as %+v, handed out as %+v", got, first)
	}
	for n := 1; n < 6; n++ {
		report(t, k, records[n].ID, issuer.Guard{}, Fever())
	}
	exactly := func(n int) issuer.Count { return issuer.Count{From: n, To: n} }
	few, many := issuer.Count{From: 1, To: 4}, issuer.Count{From: 5}
	if c := counts(t, k, north, "spec lot 7"); c.Doses != exactly(7) || !c.Told || c.Reports != exactly(6) || c.Serious != exactly(0) || c.What[issuer.Fever] != exactly(6) || c.What[issuer.Seizures] != exactly(0) {
		t.Errorf("north: %+v", c)
	}
	if c := counts(t, k, issuer.Place{Organisation: "org-b"}, Lots); c.Told || c.Doses != exactly(0) {
		t.Errorf("another organisation: %+v", c)
	}
	if c := counts(t, k, north, "another"); c.Told {
		t.Errorf("another lot: %+v", c)
	}
	// A single one in the south makes the whole coarse, and not the north.
	grave := Fever()
	grave.Serious = []issuer.Gravity{issuer.Hospitalised}
	southern := report(t, k, records[7].ID, issuer.Guard{}, grave)
	if c := counts(t, k, issuer.Place{Organisation: "org-a"}, Lots); c.Doses != exactly(14) || c.Reports != many || c.Serious != few || c.What[issuer.Fever] != many {
		t.Errorf("the whole: %+v", c)
	}
	if c := counts(t, k, south, Lots); c.Reports != few || c.Serious != few || c.What[issuer.Fever] != few || c.What[issuer.Sepsis] != exactly(0) {
		t.Errorf("south: %+v", c)
	}

	// The next version stands in the place of the one before, and what was seen decides.
	next := report(t, k, records[7].ID, issuer.Guard{ID: southern.ID, Version: 1}, Fever())
	if c := counts(t, k, south, Lots); next.Version != 2 || c.Serious != exactly(0) || c.Reports != few {
		t.Errorf("put right: %+v, %+v", next, c)
	}
	for _, tt := range []struct {
		name   string
		record issuer.ID
		of     issuer.Guard
		want   error
	}{
		{"an older version", records[7].ID, issuer.Guard{ID: southern.ID, Version: 1}, issuer.ErrConflict},
		{"a version to come", records[7].ID, issuer.Guard{ID: southern.ID, Version: 9}, issuer.ErrConflict},
		{"of another record", records[8].ID, issuer.Guard{ID: southern.ID, Version: 2}, issuer.ErrNoAdverse},
	} {
		if _, err := k.Registry.Report(ctx, By("clerk-1"), tt.record, tt.of, Fever()); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	taken := report(t, k, records[7].ID, issuer.Guard{ID: southern.ID, Version: 2}, issuer.Adverse{Withdrawn: true, Role: "clerk", Text: "no more"})
	if got := reports(t, k, records[7].ID); len(got) != 1 || !got[0].Withdrawn || got[0].Text != "" || got[0].What != nil {
		t.Errorf("withdrawn: %+v", got)
	}
	if c := counts(t, k, issuer.Place{Organisation: "org-a"}, Lots); c.Reports != exactly(6) {
		t.Errorf("without it: %+v", c)
	}
	if _, err := k.Registry.Report(ctx, By("clerk-1"), records[7].ID, issuer.Guard{ID: taken.ID, Version: 3}, Fever()); !errors.Is(err, issuer.ErrWithdrawn) {
		t.Errorf("after it was withdrawn: %v", err)
	}

	// A record that is put right takes its reports with it: here to another lot.
	right := Dose(0)
	right.Vaccination.Lot = "SPEC-LOT-8"
	fixed, err := k.Registry.Correct(ctx, guard(records[0].Head), issuer.ReasonData, Order("", right))
	if err != nil {
		t.Fatal(err)
	}
	if got := reports(t, k, fixed.ID); len(got) != 1 || got[0].Record != records[0].ID || got[0].Text != Fever().Text {
		t.Errorf("of the right record: %+v", got)
	}
	if c := counts(t, k, north, Lots); c.Doses != exactly(6) || c.Reports != exactly(5) {
		t.Errorf("the lot that it was not of: %+v", c)
	}
	if _, err := k.Registry.Report(ctx, By("clerk-1"), records[0].ID, issuer.Guard{}, Fever()); !errors.Is(err, issuer.ErrState) {
		t.Errorf("of the wrong record: %v", err)
	}
	if r := report(t, k, fixed.ID, issuer.Guard{ID: first.ID, Version: 1}, Fever()); r.Version != 2 {
		t.Errorf("put right after its record: %+v", r)
	}
	if r := report(t, k, fixed.ID, issuer.Guard{}, Fever()); r.ID != first.ID || r.Version != 2 || len(reports(t, k, fixed.ID)) != 1 {
		t.Errorf("reported twice: %+v", r)
	}
	report(t, k, fixed.ID, issuer.Guard{}, another(1))
	// Identifiers are of milliseconds: within one, chance decides.
	if got := reports(t, k, fixed.ID); len(got) != 2 || got[0].Version+got[1].Version != 3 {
		t.Errorf("two of it: %+v", got)
	}

	// What a dose that was taken back was followed by, counts; what followed none does not.
	if _, err := k.Registry.Revoke(ctx, By("officer-1"), guard(records[1].Head), issuer.ReasonProduct); err != nil {
		t.Fatal(err)
	}
	if c := counts(t, k, north, Lots); c.Reports != exactly(5) {
		t.Errorf("a recalled dose: %+v", c)
	}
	if _, err := k.Registry.Revoke(ctx, By("officer-1"), guard(records[2].Head), issuer.ReasonNotDone); err != nil {
		t.Fatal(err)
	}
	if c := counts(t, k, north, Lots); c.Reports != few || c.Doses != exactly(5) {
		t.Errorf("a dose that was not given: %+v", c)
	}
	if _, err := k.Registry.Report(ctx, By("clerk-1"), records[2].ID, issuer.Guard{}, Fever()); !errors.Is(err, issuer.ErrState) {
		t.Errorf("of a dose that was not given: %v", err)
	}

	// It is gone with its record.
	if _, err := k.Registry.Erase(ctx, By("officer-1"), fixed.ID); err != nil {
		t.Fatal(err)
	}
	if c := counts(t, k, north, "SPEC-LOT-8"); c.Told {
		t.Errorf("erased: %+v", c)
	}
	if left, err := k.Registry.Book.Adverse(ctx, fixed.ID, issuer.Line{By: "test", Action: issuer.ActionRead}); err != nil || len(left) > 0 {
		t.Errorf("erased, and %d reports are left: %v", len(left), err)
	}
	// To another place there is none.
	for _, place := range []issuer.Place{south, {Organisation: "org-b"}} {
		by := issuer.Actor{ID: "clerk-1", Within: place}
		if _, err := k.Registry.Report(ctx, by, records[3].ID, issuer.Guard{}, Fever()); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("%v reports: %v", place, err)
		}
		if _, err := k.Registry.Reports(ctx, by, records[3].ID); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("%v reads: %v", place, err)
		}
	}
	lotless := Dose(20)
	lotless.Vaccination.Lot = ""
	if _, err := k.Registry.Report(ctx, By("clerk-1"), issue(t, k, Order("", lotless)).ID, issuer.Guard{}, Fever()); !errors.Is(err, issuer.ErrNoLot) {
		t.Errorf("of no lot: %v", err)
	}
	for n := 1; n < issuer.MaxAdverse; n++ {
		report(t, k, records[3].ID, issuer.Guard{}, another(n))
	}
	if _, err := k.Registry.Report(ctx, By("clerk-1"), records[3].ID, issuer.Guard{}, another(issuer.MaxAdverse)); !errors.Is(err, issuer.ErrManyAdverse) {
		t.Errorf("of more than a record takes: %v", err)
	}
}

// testAdverseAtOnce: of many who report the same it becomes one report, and of many who
// put it right, one does.
func testAdverseAtOnce(t *testing.T, k *Kit) {
	record := issue(t, k, Order("", Dose(1)))
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for range errs {
		wg.Go(func() {
			if _, err := k.Registry.Report(t.Context(), By("clerk-1"), record.ID, issuer.Guard{}, Fever()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	once := reports(t, k, record.ID)
	if len(once) != 1 || once[0].Version != 1 {
		t.Fatalf("reported at once: %+v", once)
	}
	first := once[0]
	for n := range errs {
		wg.Go(func() {
			_, errs[n] = k.Registry.Report(t.Context(), By("clerk-1"), record.ID, issuer.Guard{ID: first.ID, Version: 1}, Fever())
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		} else if !errors.Is(err, issuer.ErrConflict) {
			t.Error(err)
		}
	}
	if got := reports(t, k, record.ID); done != 1 || len(got) != 1 || got[0].Version != 2 {
		t.Errorf("%d were done: %+v", done, got)
	}
}
