package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/jwks"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
)

// Issuing holds a book against its contract, by the flows that stand on it. open
// returns a new, empty book.
func Issuing(t *testing.T, open func(*testing.T) issuer.Book) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, *Kit)
	}{
		{"issue", testIssue},
		{"refused", testRefused},
		{"the same key", testKey},
		{"the same key at once", testKeyAtOnce},
		{"duplicates", testDuplicates},
		{"search", testSearch},
		{"revoke and reinstate", testRevoke},
		{"correct", testCorrect},
		{"correct at once", testCorrectAtOnce},
		{"reissue", testReissue},
		{"revoke many", testRevokeMany},
		{"revoke a list", testRevokeListed},
		{"erase", testErase},
		{"adverse events", testAdverse},
		{"adverse events at once", testAdverseAtOnce},
		{"places", testPlaces},
		{"a further format", testAdd},
		{"pages", testPages},
		{"many at once", testMany},
		{"fingerprints", testFingerprints},
		{"closing a batch", testClosing},
		{"closing a batch fails", testClosingFails},
		{"closing at once", testClosingAtOnce},
		{"the leaf of an erased record", testErasedLeaf},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait for the disk, mostly
			tt.test(t, NewKit(t, open(t)))
		})
	}
}

func issue(t testing.TB, k *Kit, o issuer.Order) *issuer.Receipt {
	t.Helper()
	r, err := k.Registry.Issue(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tryIssue is issue in a goroutine, which must not end the test.
func tryIssue(t testing.TB, k *Kit, o issuer.Order) *issuer.Receipt {
	r, err := k.Registry.Issue(t.Context(), o)
	if err != nil {
		t.Error(err)
		return new(issuer.Receipt)
	}
	return r
}

func guard(h issuer.Head) issuer.Guard { return issuer.Guard{ID: h.ID, Version: h.Version} }

// text returns the last certificate of a format.
func text(t testing.TB, h issuer.Held, f issuer.Format) string {
	t.Helper()
	for _, a := range slices.Backward(h.Artefacts) {
		if a.Format == f {
			return a.Text
		}
	}
	t.Fatalf("no %s", f)
	return ""
}

func read(t testing.TB, k *Kit, id issuer.ID) *issuer.Held {
	t.Helper()
	h, err := k.Registry.Read(t.Context(), By("clerk-1"), id)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func head(t testing.TB, k *Kit, id issuer.ID) issuer.Head {
	t.Helper()
	h, err := k.Registry.Book.Head(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// testIssue: what is handed out is valid, and is what is kept.
func testIssue(t *testing.T, k *Kit) {
	o := Order("", Dose(1))
	o.Wanted = append(o.Wanted, issuer.Wanted{Format: issuer.DDCC})
	got := issue(t, k, o)
	if o.Record.ID != "" {
		t.Error("the caller's record was changed")
	}
	for _, a := range got.Artefacts {
		if outcome := k.Verify(t, a.Text, nil); outcome != verifier.Valid {
			t.Errorf("%s: %s", a.Format, outcome)
		}
	}
	kept := read(t, k, got.ID)
	if diff := cmp.Diff(got.Held, *kept); diff != "" {
		t.Errorf("what is kept is not what was handed out (-out +kept):\n%s", diff)
	}
	want := *o.Record
	want.ID = kept.Record.ID
	if diff := cmp.Diff(&want, kept.Record); diff != "" || kept.Record.ID == "" {
		t.Errorf("the record: %s", diff)
	}
	if f := []issuer.Format{issuer.EUDCC, issuer.SHC, issuer.DDCC}; !slices.Equal(kept.Formats, f) || kept.Version != 1 || kept.State != issuer.Valid {
		t.Errorf("%+v", kept.Head)
	}
	if lists := k.Lists(t); len(lists) != 0 {
		t.Errorf("%d lists, and nothing is revoked", len(lists))
	}
}

// testRefused: nothing of an order that is refused is kept.
func testRefused(t *testing.T, k *Kit) {
	for name, tt := range map[string]struct {
		change func(*issuer.Order)
		want   error
	}{
		"nobody asks":       {func(o *issuer.Order) { o.By.ID = "" }, issuer.ErrBy},
		"a person asks":     {func(o *issuer.Order) { o.By.ID = "Ada Specimen" }, issuer.ErrBy},
		"no record":         {func(o *issuer.Order) { o.Record = nil }, format.RequiredMissing},
		"no format":         {func(o *issuer.Order) { o.Wanted = nil }, issuer.ErrOrder},
		"a format twice":    {func(o *issuer.Order) { o.Wanted = append(o.Wanted, o.Wanted[0]) }, issuer.ErrOrder},
		"a format unsigned": {func(o *issuer.Order) { o.Wanted[1].Format = issuer.ICVP }, issuer.ErrFormat},
		"the second fails":  {func(o *issuer.Order) { o.Wanted[1].Format = issuer.VDSNC; o.Wanted[1].Expires = Day.AddDate(0, 1, 0) }, issuer.ErrExpiry},
	} {
		o := Order("key", Dose(1))
		tt.change(&o)
		if _, err := k.Registry.Issue(t.Context(), o); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if page, _, err := k.Registry.List(t.Context(), By("clerk-1"), issuer.ID{}, 10); err != nil || len(page) != 0 {
		t.Errorf("%d records, %v", len(page), err)
	}
	if _, err := k.Registry.Read(t.Context(), By("clerk-1"), issuer.ID{1}); !errors.Is(err, issuer.ErrNotFound) {
		t.Error(err)
	}
	// The key of what was refused is free.
	issue(t, k, Order("key", Dose(1)))
}

// testKey: asking twice hands out the same; asking for something else is refused.
func testKey(t *testing.T, k *Kit) {
	first := issue(t, k, Order("row-1", Dose(1)))
	again := issue(t, k, Order("row-1", Dose(1)))
	if !again.Replayed || first.Replayed {
		t.Errorf("replayed: %v, then %v", first.Replayed, again.Replayed)
	}
	if diff := cmp.Diff(first.Held, again.Held); diff != "" {
		t.Error(diff)
	}
	other := Order("row-1", Dose(1))
	other.Record.Vaccination.Dose = 2
	if _, err := k.Registry.Issue(t.Context(), other); !errors.Is(err, issuer.ErrKeyReused) {
		t.Error(err)
	}
	if _, err := k.Registry.Correct(t.Context(), guard(first.Head), issuer.ReasonData, Order("row-1", Dose(1))); !errors.Is(err, issuer.ErrKeyReused) {
		t.Errorf("a correction is another request than an issue: %v", err)
	}
	if second := issue(t, k, Order("row-2", Dose(1))); second.ID == first.ID {
		t.Error("another key is another request")
	}
}

func testKeyAtOnce(t *testing.T, k *Kit) {
	const n = 24
	got := make([]*issuer.Receipt, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { got[i] = tryIssue(t, k, Order("row-1", Dose(1))) })
	}
	wg.Wait()
	made := 0
	for _, r := range got {
		if !r.Replayed {
			made++
		}
		if diff := cmp.Diff(got[0].Held, r.Held); diff != "" {
			t.Error(diff)
		}
	}
	if page, _, _ := k.Registry.List(t.Context(), By("clerk-1"), issuer.ID{}, 10); made != 1 || len(page) != 1 {
		t.Errorf("made %d times, %d records", made, len(page))
	}
}

// testDuplicates: a second certificate of the same event is issued, with a warning.
func testDuplicates(t *testing.T, k *Kit) {
	first := issue(t, k, Order("", Dose(1)))
	if len(first.Same) > 0 {
		t.Errorf("%v", first.Same)
	}
	spelled := Dose(1)
	spelled.Person.Name.Family = "MUSTERFRAU"
	spelled.Person.Document.Number = ""
	spelled.Vaccination.Lot = "spec lot 7"
	found, err := k.Registry.Duplicates(t.Context(), By("clerk-1"), spelled)
	if err != nil || len(found) != 1 || found[0].ID != first.ID {
		t.Errorf("%v, %v", found, err)
	}
	second := issue(t, k, Order("", spelled))
	if !slices.Equal(second.Same, []issuer.ID{first.ID}) {
		t.Errorf("%v, want %v", second.Same, first.ID)
	}
	misspelled := Dose(1) // the document tells
	misspelled.Person.Name.Family = "Mustermann"
	if r := issue(t, k, Order("", misspelled)); !slices.Equal(r.Same, []issuer.ID{first.ID}) {
		t.Errorf("%v", r.Same)
	}
	for name, change := range map[string]func(*cert.Certificate){
		"another person":  func(r *cert.Certificate) { *r = *Dose(2) },
		"another day":     func(r *cert.Certificate) { r.Vaccination.Date = "2026-10-02" },
		"another lot":     func(r *cert.Certificate) { r.Vaccination.Lot = "SPEC-LOT-8" },
		"another product": func(r *cert.Certificate) { r.Vaccination.Product.Code = "EU/1/20/1507" },
	} {
		r := Dose(1)
		change(r)
		if r := issue(t, k, Order("", r)); len(r.Same) > 0 {
			t.Errorf("%s: %v", name, r.Same)
		}
	}
	// What is not in force is no duplicate.
	if _, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(first.Head), issuer.ReasonData); err != nil {
		t.Fatal(err)
	}
	if found, err = k.Registry.Duplicates(t.Context(), By("clerk-1"), Dose(1)); err != nil || slices.ContainsFunc(found, func(h issuer.Head) bool { return h.ID == first.ID }) {
		t.Errorf("%v, %v", found, err)
	}
}

func testSearch(t *testing.T, k *Kit) {
	record := Dose(4)
	record.Person.Name = cert.Name{Family: "Müller-Spécimen", Given: "Ada Łucja"}
	record.Person.BirthDate = "1990-02"
	one := issue(t, k, Order("", record))
	two := issue(t, k, Order("", Dose(2)))
	for name, tt := range map[string]struct {
		query issuer.Query
		want  []issuer.ID
	}{
		"as written":                  {issuer.Query{Name: record.Person.Name, BirthDate: "1990-02"}, []issuer.ID{one.ID}},
		"as a passport has it":        {issuer.Query{Name: cert.Name{Full: "ADA LUCJA MUELLER SPECIMEN"}, BirthDate: "1990-02"}, []issuer.ID{one.ID}},
		"from the machine's zone":     {issuer.Query{Name: cert.Name{FamilyMRZ: "MUELLER<SPECIMEN", GivenMRZ: "ADA<LUCJA"}, BirthDate: "1990-02"}, []issuer.ID{one.ID}},
		"another birthday":            {issuer.Query{Name: record.Person.Name, BirthDate: "1990-03"}, nil},
		"part of the name":            {issuer.Query{Name: cert.Name{Family: "Müller"}, BirthDate: "1990-02"}, nil},
		"the document":                {issuer.Query{Document: "specdoc 00002"}, []issuer.ID{two.ID}},
		"the certificate":             {issuer.Query{Certificate: two.Record.ID}, []issuer.ID{two.ID}},
		"any of them, newest first":   {issuer.Query{Document: "SPECDOC00004", Certificate: two.Record.ID}, []issuer.ID{two.ID, one.ID}},
		"a document as certificate":   {issuer.Query{Certificate: "SPECDOC00004"}, nil},
		"somebody who is not known":   {issuer.Query{Name: cert.Name{Family: "Nobody"}, BirthDate: "1990-02"}, nil},
		"two ways to the same record": {issuer.Query{Document: "SPECDOC00002", Certificate: two.Record.ID}, []issuer.ID{two.ID}},
	} {
		found, err := k.Registry.Search(t.Context(), By("clerk-1"), tt.query)
		var ids []issuer.ID
		for _, h := range found {
			ids = append(ids, h.ID)
		}
		// Two records of one millisecond stand in either order.
		if err != nil || len(ids) != len(tt.want) || !slices.IsSortedFunc(ids, func(a, b issuer.ID) int { return -slices.Compare(a[:], b[:]) }) {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
		for _, want := range tt.want {
			if !slices.Contains(ids, want) {
				t.Errorf("%s: %v is missing", name, want)
			}
		}
	}
	if _, err := k.Registry.Search(t.Context(), By("clerk-1"), issuer.Query{Name: record.Person.Name}); !errors.Is(err, format.RequiredMissing) {
		t.Errorf("a name alone: %v", err)
	}
}

// testRevoke: one revocation covers every format, in the scheme that it has; what
// has none is said. A reinstatement takes all of it back.
func testRevoke(t *testing.T, k *Kit) {
	o := Order("", Dose(1))
	o.Wanted = append(o.Wanted, issuer.Wanted{Format: issuer.DDCC})
	one, other := issue(t, k, o), issue(t, k, Order("", Dose(2)))
	before := k.Lists(t)
	h, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(one.Head), issuer.ReasonData)
	if err != nil {
		t.Fatal(err)
	}
	if h.State != issuer.Revoked || h.Version != 2 || h.Reason != issuer.ReasonData || len(h.Irrevocable()) > 0 {
		t.Errorf("%+v", h)
	}
	if diff := cmp.Diff(h, head(t, k, one.ID)); diff != "" {
		t.Error(diff)
	}
	lists := k.Lists(t)
	if again := k.Lists(t); !cmp.Equal(lists, again) {
		t.Error("the same state gave two lists")
	}
	for _, f := range one.Formats {
		was, is := k.Verify(t, text(t, one.Held, f), before), k.Verify(t, text(t, one.Held, f), lists)
		if was != verifier.Valid || is != verifier.Revoked {
			t.Errorf("%s: %s, then %s", f, was, is)
		}
	}
	for _, f := range other.Formats {
		if outcome := k.Verify(t, text(t, other.Held, f), lists); outcome != verifier.Valid {
			t.Errorf("%s of somebody else: %s", f, outcome)
		}
	}
	for name, tt := range map[string]struct {
		change func() error
		want   error
	}{
		"an old version": {func() error {
			_, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(one.Head), issuer.ReasonData)
			return err
		}, issuer.ErrConflict},
		"revoked twice": {func() error {
			_, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(h), issuer.ReasonData)
			return err
		}, issuer.ErrState},
		"no reason": {func() error {
			_, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(h), "because Ada said so")
			return err
		}, issuer.ErrReason},
		"nobody": {func() error {
			_, err := k.Registry.Revoke(t.Context(), By(""), guard(h), issuer.ReasonData)
			return err
		}, issuer.ErrBy},
		"no record": {func() error {
			_, err := k.Registry.Revoke(t.Context(), By("clerk-1"), issuer.Guard{}, issuer.ReasonData)
			return err
		}, issuer.ErrNotFound},
		"in force": {func() error {
			_, err := k.Registry.Reinstate(t.Context(), By("clerk-1"), guard(other.Head))
			return err
		}, issuer.ErrState},
		"what the book says": {func() error {
			return k.Registry.Book.Change(t.Context(), issuer.Change{Guard: guard(h), From: issuer.Valid, To: issuer.Revoked})
		}, issuer.ErrConflict},
	} {
		if err := tt.change(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if !cmp.Equal(lists, k.Lists(t)) {
		t.Error("what was refused changed the lists")
	}
	if _, err = k.Registry.Reinstate(t.Context(), By("clerk-1"), guard(h)); err != nil {
		t.Fatal(err)
	}
	after := k.Lists(t)
	for _, f := range one.Formats {
		if outcome := k.Verify(t, text(t, one.Held, f), after); outcome != verifier.Valid {
			t.Errorf("%s after reinstatement: %s", f, outcome)
		}
	}
	for i, l := range after {
		if l.Counter != lists[i].Counter+1 && l.Scheme != issuer.SchemeSnapshot || l.Counter <= lists[i].Counter {
			t.Errorf("%s: counter %d after %d", l.Scheme, l.Counter, lists[i].Counter)
		}
	}
	// A seal has no scheme of revocation.
	sealed := issue(t, k, issuer.Order{By: By("clerk-1"), Record: SealDose(3), Wanted: []issuer.Wanted{{Format: issuer.VDSNC}, {Format: issuer.SHC}}})
	h, err = k.Registry.Revoke(t.Context(), By("clerk-1"), guard(sealed.Head), issuer.ReasonProduct)
	if err != nil || !slices.Equal(h.Irrevocable(), []issuer.Format{issuer.VDSNC}) {
		t.Errorf("%v, %v", h.Irrevocable(), err)
	}
	if outcome := k.Verify(t, text(t, sealed.Held, issuer.SHC), k.Lists(t)); outcome != verifier.Revoked {
		t.Errorf("the card: %s", outcome)
	}
	if outcome := k.Verify(t, text(t, sealed.Held, issuer.VDSNC), k.Lists(t)); outcome != verifier.Valid {
		t.Errorf("the seal: %s", outcome)
	}
}

// testCorrect: a wrong dose number. By yesterday's lists the old certificate is
// valid, by today's it is not; both versions can be read.
func testCorrect(t *testing.T, k *Kit) {
	wrong := issue(t, k, Order("", Dose(1)))
	yesterday := k.Lists(t)
	right := Dose(1)
	right.Vaccination.Dose = 2
	fixed, err := k.Registry.Correct(t.Context(), guard(wrong.Head), issuer.ReasonData, Order("fix-1", right))
	if err != nil {
		t.Fatal(err)
	}
	today := k.Lists(t)
	for _, f := range wrong.Formats {
		was, is, now := k.Verify(t, text(t, wrong.Held, f), yesterday), k.Verify(t, text(t, wrong.Held, f), today), k.Verify(t, text(t, fixed.Held, f), today)
		if was != verifier.Valid || is != verifier.Superseded || now != verifier.Valid {
			t.Errorf("%s: the wrong one %s, then %s; the right one %s", f, was, is, now)
		}
	}
	old, current := read(t, k, wrong.ID), read(t, k, fixed.ID)
	if old.State != issuer.Superseded || old.Correction != fixed.ID || old.Version != 2 || old.Reason != issuer.ReasonData || old.Record.Vaccination.Dose != 1 {
		t.Errorf("the wrong one: %+v", old.Head)
	}
	if current.State != issuer.Valid || current.Corrects != wrong.ID || current.Version != 1 || current.Record.Vaccination.Dose != 2 {
		t.Errorf("the right one: %+v", current.Head)
	}
	again, err := k.Registry.Correct(t.Context(), guard(wrong.Head), issuer.ReasonData, Order("fix-1", right))
	if err != nil || !again.Replayed || again.ID != fixed.ID {
		t.Errorf("asked again: %v", err)
	}
	if _, err := k.Registry.Correct(t.Context(), guard(old.Head), issuer.ReasonData, Order("", right)); !errors.Is(err, issuer.ErrConflict) {
		t.Errorf("corrected twice: %v", err)
	}
	if _, err := k.Registry.Reinstate(t.Context(), By("clerk-1"), guard(old.Head)); !errors.Is(err, issuer.ErrState) {
		t.Errorf("the wrong one was put back in force: %v", err)
	}
	if _, err := k.Registry.Correct(t.Context(), guard(fixed.Head), "", Order("", right)); !errors.Is(err, issuer.ErrReason) {
		t.Errorf("no reason: %v", err)
	}
}

// testCorrectAtOnce: of two clerks one corrects, and the other is told.
func testCorrectAtOnce(t *testing.T, k *Kit) {
	wrong := issue(t, k, Order("", Dose(1)))
	var mu sync.Mutex
	done, conflicts := 0, 0
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			right := Dose(1)
			right.Vaccination.Dose = 2
			_, err := k.Registry.Correct(t.Context(), guard(wrong.Head), issuer.ReasonData, Order(fmt.Sprintf("fix-%d", i), right))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case errors.Is(err, issuer.ErrConflict):
				conflicts++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	page, _, _ := k.Registry.List(t.Context(), By("clerk-1"), issuer.ID{}, 20)
	if done != 1 || conflicts != 11 || len(page) != 2 {
		t.Errorf("%d corrected, %d refused, %d records", done, conflicts, len(page))
	}
}

// testReissue: all of a key under a new one, interrupted and gone on with.
func testReissue(t *testing.T, k *Kit) {
	const n = 300 // more than one step takes
	heads := make([]issuer.Head, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { heads[i] = tryIssue(t, k, Order("", Dose(i))).Head })
	}
	wg.Wait()
	if _, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(heads[0]), issuer.ReasonFraud); err != nil {
		t.Fatal(err)
	}
	old := k.Registry.Issuers[issuer.EUDCC]
	if _, err := k.Registry.Reissue(t.Context(), By("operator-1"), old.KID); !errors.Is(err, issuer.ErrSameKey) {
		t.Errorf("under the same key: %v", err)
	}
	k.NewKeys(t)

	// It is stopped in its first step.
	ctx, stop := context.WithCancel(t.Context())
	k.Registry.Book = &stopping{Book: k.Registry.Book, after: 40, stop: stop}
	first, err := k.Registry.Reissue(ctx, By("operator-1"), old.KID)
	if !errors.Is(err, context.Canceled) || first.Done == 0 || first.Done == n-1 {
		t.Fatalf("%d done, %v", first.Done, err)
	}
	k.Registry.Book = k.Registry.Book.(*stopping).Book
	second, err := k.Registry.Reissue(t.Context(), By("operator-1"), old.KID)
	if err != nil || len(second.Failed) > 0 || first.Done+second.Done != n-1 {
		t.Fatalf("%d done before, %d now, %v, %v", first.Done, second.Done, second.Failed, err)
	}
	third, err := k.Registry.Reissue(t.Context(), By("operator-1"), old.KID)
	if err != nil || third.Done != 0 {
		t.Errorf("a third time: %+v, %v", third, err)
	}
	// The cards are of another key, though it is the same pair.
	thumbprint, err := jwks.KID(old.Signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	if cards, err := k.Registry.Reissue(t.Context(), By("operator-1"), []byte(thumbprint)); err != nil || cards.Done != n-1 {
		t.Errorf("cards: %+v, %v", cards, err)
	}

	revoked, kept := read(t, k, heads[0].ID), read(t, k, heads[1].ID)
	if len(revoked.Artefacts) != 2 {
		t.Errorf("a revoked record was reissued: %d certificates", len(revoked.Artefacts))
	}
	if len(kept.Artefacts) != 4 || kept.Artefacts[0].Current || kept.Artefacts[1].Current || !kept.Artefacts[2].Current || !kept.Artefacts[3].Current || len(kept.Formats) != 2 {
		t.Errorf("%+v", kept.Head)
	}
	for _, a := range kept.Artefacts {
		if outcome := k.Verify(t, a.Text, k.Lists(t)); outcome != verifier.Valid {
			t.Errorf("%s: %s", a.Format, outcome)
		}
	}
	if _, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(kept.Head), issuer.ReasonFraud); err != nil {
		t.Fatal(err)
	}
	for _, a := range kept.Artefacts {
		if outcome := k.Verify(t, a.Text, k.Lists(t)); outcome != verifier.Revoked {
			t.Errorf("%s under %x: %s", a.Format, a.KID, outcome)
		}
	}
}

// stopping is a book that has its caller stopped after some replacements.
type stopping struct {
	issuer.Book
	mu    sync.Mutex
	after int
	stop  context.CancelFunc
}

func (s *stopping) Replace(ctx context.Context, r issuer.Replacement) error {
	s.mu.Lock()
	if s.after--; s.after < 0 {
		s.stop()
	}
	s.mu.Unlock()
	return s.Book.Replace(ctx, r)
}

// testErase: nothing of the person is left, what was revoked stays so.
func testErase(t *testing.T, k *Kit) {
	wrong := issue(t, k, Order("row-1", Dose(1)))
	fixed, err := k.Registry.Correct(t.Context(), guard(wrong.Head), issuer.ReasonData, Order("", Dose(1)))
	if err != nil {
		t.Fatal(err)
	}
	other := issue(t, k, Order("row-2", Dose(2)))
	lists := k.Lists(t)
	erased, err := k.Registry.Erase(t.Context(), By("officer-1"), wrong.ID)
	if err != nil || len(erased) != 2 || !slices.Contains(erased, fixed.ID) {
		t.Fatalf("%v, %v", erased, err)
	}
	for _, id := range erased {
		if _, err := k.Registry.Read(t.Context(), By("clerk-1"), id); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	if found, err := k.Registry.Search(t.Context(), By("clerk-1"), issuer.Query{Document: Dose(1).Person.Document.Number}); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
	if !cmp.Equal(lists, k.Lists(t)) {
		t.Error("the lists have changed")
	}
	if outcome := k.Verify(t, text(t, wrong.Held, issuer.EUDCC), k.Lists(t)); outcome != verifier.Superseded {
		t.Errorf("%s", outcome)
	}
	if _, err := k.Registry.Erase(t.Context(), By("officer-1"), wrong.ID); !errors.Is(err, issuer.ErrNotFound) {
		t.Errorf("erased twice: %v", err)
	}
	if err := k.Registry.Book.Erase(t.Context(), []issuer.Guard{{ID: other.ID, Version: 7}}, issuer.Line{}); !errors.Is(err, issuer.ErrConflict) {
		t.Errorf("another version: %v", err)
	}
	if r := issue(t, k, Order("row-1", Dose(5))); r.Replayed {
		t.Error("the request of an erased record is remembered")
	}
	if got := read(t, k, other.ID); got.Record.Person.Document != Dose(2).Person.Document {
		t.Error("another record is not what it was")
	}
	if page, _, _ := k.Registry.List(t.Context(), By("clerk-1"), issuer.ID{}, 10); len(page) != 2 {
		t.Errorf("%d records", len(page))
	}
}

func testPages(t *testing.T, k *Kit) {
	var want []issuer.ID
	for i := range 11 {
		want = append(want, issue(t, k, Order("", Dose(i))).ID)
	}
	slices.SortFunc(want, func(a, b issuer.ID) int { return -slices.Compare(a[:], b[:]) })
	var got []issuer.ID
	pages := 0
	for cursor := (issuer.ID{}); ; pages++ {
		page, next, err := k.Registry.List(t.Context(), By("clerk-1"), cursor, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range page {
			got = append(got, h.ID)
		}
		if cursor = next; next == (issuer.ID{}) {
			break
		}
	}
	if !slices.Equal(got, want) || pages != 2 {
		t.Errorf("%d of %d records on %d pages", len(got), len(want), pages+1)
	}
}

// testMany: everything at once leaves a state in which each record is whole.
func testMany(t *testing.T, k *Kit) {
	var wg sync.WaitGroup
	for worker := range 12 {
		wg.Go(func() {
			for i := range 8 {
				r := tryIssue(t, k, Order(fmt.Sprintf("%d-%d", worker, i), Dose(100*worker+i)))
				switch i % 4 {
				case 1:
					if _, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(r.Head), issuer.ReasonData); err != nil {
						t.Error(err)
					}
				case 2:
					if _, err := k.Registry.Correct(t.Context(), guard(r.Head), issuer.ReasonData, Order("", Dose(100*worker+50+i))); err != nil {
						t.Error(err)
					}
				case 3:
					if _, err := k.Registry.Erase(t.Context(), By("officer-1"), r.ID); err != nil {
						t.Error(err)
					}
				}
				if _, err := k.Registry.StatusLists(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	page, _, err := k.Registry.List(t.Context(), By("clerk-1"), issuer.ID{}, 1000)
	if err != nil || len(page) != 12*8 { // 24 more by correction, 24 fewer by erasure
		t.Fatalf("%d records, %v", len(page), err)
	}
	lists := k.Lists(t)
	for _, h := range page {
		want := verifier.Valid
		switch h.State {
		case issuer.Revoked:
			want = verifier.Revoked
		case issuer.Superseded:
			want = verifier.Superseded
		}
		held := read(t, k, h.ID)
		for _, a := range held.Artefacts {
			if outcome := k.Verify(t, a.Text, lists); outcome != want {
				t.Errorf("%s of a record that is %s: %s", a.Format, h.State, outcome)
			}
		}
	}
	for _, l := range lists {
		if l.Counter != 12*2*2 && l.Scheme != issuer.SchemeSnapshot { // a revocation and a correction in 4 of each worker's 8
			t.Errorf("%s: counter %d", l.Scheme, l.Counter)
		}
	}
}

// testPlaces: to an actor there are no records but those of its place.
func testPlaces(t *testing.T, k *Kit) {
	ctx := t.Context()
	north, south := issuer.Place{Organisation: "org-a", Facility: "north"}, issuer.Place{Organisation: "org-a", Facility: "south"}
	other := issuer.Place{Organisation: "org-b", Facility: "north"}
	at := func(within issuer.Place) issuer.Actor { return issuer.Actor{ID: "clerk-1", Within: within} }
	order := func(by issuer.Actor, place issuer.Place, n int) issuer.Order {
		o := Order("same key everywhere", Dose(n))
		o.By, o.At = by, place
		return o
	}
	mine := issue(t, k, order(at(north), issuer.Place{}, 1))
	theirs := issue(t, k, order(at(other), issuer.Place{}, 1))
	if mine.Place != north || theirs.Place != other || theirs.Replayed || len(theirs.Same) != 0 {
		t.Errorf("issued at %v and %v, replayed %t, same %v", mine.Place, theirs.Place, theirs.Replayed, theirs.Same)
	}
	for _, tt := range []struct{ by, at issuer.Place }{{north, south}, {north, other}, {north, issuer.Place{Organisation: "org-a"}}} {
		if _, err := k.Registry.Issue(ctx, order(at(tt.by), tt.at, 2)); !errors.Is(err, issuer.ErrPlace) {
			t.Errorf("%v issues at %v: %v", tt.by, tt.at, err)
		}
	}

	// The same event at another facility of the organisation is warned of, and no
	// more is told of it.
	again := Order("", Dose(1))
	again.By = at(south)
	if r := issue(t, k, again); !slices.Equal(r.Same, []issuer.ID{mine.ID}) {
		t.Errorf("same: %v", r.Same)
	} else if _, err := k.Registry.Erase(ctx, at(issuer.Place{Organisation: "org-a"}), r.ID); err != nil {
		t.Error(err)
	}

	for name, act := range map[string]func(by issuer.Actor) error{
		"head": func(by issuer.Actor) error { _, err := k.Registry.Head(ctx, by, mine.ID); return err },
		"read": func(by issuer.Actor) error { _, err := k.Registry.Read(ctx, by, mine.ID); return err },
		"revoke": func(by issuer.Actor) error {
			_, err := k.Registry.Revoke(ctx, by, guard(mine.Head), issuer.ReasonData)
			return err
		},
		"reinstate": func(by issuer.Actor) error { _, err := k.Registry.Reinstate(ctx, by, guard(mine.Head)); return err },
		"correct": func(by issuer.Actor) error {
			o := Order("", Dose(3))
			o.By = by
			_, err := k.Registry.Correct(ctx, guard(mine.Head), issuer.ReasonData, o)
			return err
		},
		"erase": func(by issuer.Actor) error { _, err := k.Registry.Erase(ctx, by, mine.ID); return err },
	} {
		for _, place := range []issuer.Place{south, other, {Organisation: "org-b"}} {
			if err := act(at(place)); !errors.Is(err, issuer.ErrNotFound) {
				t.Errorf("%s from %v: %v", name, place, err)
			}
		}
	}
	query := issuer.Query{Document: mine.Record.Person.Document.Number}
	for place, want := range map[issuer.Place]int{north: 1, south: 0, other: 1, {Organisation: "org-a"}: 1, {}: 2} {
		found, err := k.Registry.Search(ctx, at(place), query)
		page, _, listErr := k.Registry.List(ctx, at(place), issuer.ID{}, 10)
		if err != nil || listErr != nil || len(found) != want || len(page) != want {
			t.Errorf("from %v: %d found, %d listed; want %d (%v, %v)", place, len(found), len(page), want, err, listErr)
		}
	}
	// Signing anew is bounded too.
	old := theirs.Artefacts[0].KID
	k.NewKeys(t)
	if done, err := k.Registry.Reissue(ctx, at(north), old); err != nil || done.Done != 1 {
		t.Errorf("reissued %+v, %v", done, err)
	}
	// A correction stays where the wrong record was.
	head, err := k.Registry.Head(ctx, at(north), mine.ID)
	if err != nil {
		t.Fatal(err)
	}
	o := Order("", Dose(4))
	o.By = at(issuer.Place{Organisation: "org-a"})
	if r, err := k.Registry.Correct(ctx, guard(head), issuer.ReasonData, o); err != nil || r.Place != north {
		t.Errorf("corrected: %+v, %v", r, err)
	}
}

func testAdd(t *testing.T, k *Kit) {
	o := Order("", Dose(1))
	o.Wanted = o.Wanted[:1]
	r := issue(t, k, o)
	h, err := k.Registry.Add(t.Context(), By("clerk-1"), guard(r.Head), issuer.Wanted{Format: issuer.SHC})
	if err != nil {
		t.Fatal(err)
	}
	read, err := k.Registry.Read(t.Context(), By("clerk-1"), r.ID)
	if err != nil || !slices.Equal(read.Formats, []issuer.Format{issuer.EUDCC, issuer.SHC}) || !cmp.Equal(read.Head, h.Head) || text(t, *read, issuer.SHC) != text(t, *h, issuer.SHC) {
		t.Errorf("read %+v, told %+v, %v", read, h, err)
	}
	for _, text := range []string{text(t, *read, issuer.SHC), text(t, *read, issuer.EUDCC)} {
		if got := k.Verify(t, text, nil); got != verifier.Valid {
			t.Errorf("%s", got)
		}
	}
	for name, tt := range map[string]struct {
		guard issuer.Guard
		want  issuer.Wanted
		err   error
	}{
		"an old version": {guard(r.Head), issuer.Wanted{Format: issuer.DDCC}, issuer.ErrConflict},
		"there already":  {guard(h.Head), issuer.Wanted{Format: issuer.SHC}, issuer.ErrOrder},
		"no record":      {issuer.Guard{Version: 1}, issuer.Wanted{Format: issuer.SHC}, issuer.ErrNotFound},
	} {
		if _, err := k.Registry.Add(t.Context(), By("clerk-1"), tt.guard, tt.want); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	head, err := k.Registry.Revoke(t.Context(), By("clerk-1"), guard(h.Head), issuer.ReasonData)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{text(t, *read, issuer.SHC), text(t, *read, issuer.EUDCC)} {
		if got := k.Verify(t, text, k.Lists(t)); got != verifier.Revoked {
			t.Errorf("%s, revoked", got)
		}
	}
	if _, err := k.Registry.Add(t.Context(), By("clerk-1"), guard(head), issuer.Wanted{Format: issuer.DDCC}); !errors.Is(err, issuer.ErrState) {
		t.Errorf("revoked, and: %v", err)
	}
}
