package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/jwks"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
)

// testRevokeMany: who is affected is counted first, and exactly those are revoked,
// once, however often it is asked.
func testRevokeMany(t *testing.T, k *Kit) {
	const n = 300 // more than one step takes
	var receipts []*issuer.Receipt
	for i := range n {
		dose := Dose(i)
		if i%3 == 0 {
			dose.Vaccination.Lot = "recalled 7"
		}
		o := Order("", dose)
		if i%2 == 0 {
			o.By.Within.Facility = "north"
		}
		receipts = append(receipts, issue(t, k, o))
	}
	by := By("officer-1")
	recalled := issuer.Which{Lot: "RECALLED-7"}
	affected := func(by issuer.Actor, w issuer.Which) *issuer.Affected {
		t.Helper()
		a, err := k.Registry.Affected(t.Context(), by, w)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	north := by
	north.Within.Facility = "north"
	for name, c := range map[string]struct {
		by    issuer.Actor
		which issuer.Which
		want  int
	}{
		"of a lot":                  {by, recalled, 100},
		"of a lot and product":      {by, issuer.Which{Lot: "recalled7", Product: receipts[0].Record.Vaccination.Product.Code}, 100},
		"of another product":        {by, issuer.Which{Lot: "recalled7", Product: "another"}, 0},
		"at a facility":             {north, recalled, 50},
		"of a key":                  {by, issuer.Which{KIDs: [][]byte{k.Registry.Issuers[issuer.EUDCC].KID}}, n},
		"of a key and a lot":        {by, issuer.Which{KIDs: [][]byte{k.Registry.Issuers[issuer.EUDCC].KID}, Lot: "recalled 7"}, 100},
		"of a key, and as a card's": {by, issuer.Which{KIDs: k.kids(t)}, n},
		"of another key":            {by, issuer.Which{KIDs: [][]byte{[]byte("another!")}}, 0},
		"of a time":                 {by, issuer.Which{From: receipts[0].Issued, Until: receipts[n-1].Issued.Add(time.Second)}, n},
		"before all":                {by, issuer.Which{Until: receipts[0].Issued}, 0},
		"after all":                 {by, issuer.Which{From: receipts[n-1].Issued.Add(time.Second)}, 0},
		"of a lot that is not":      {by, issuer.Which{Lot: "recalled 8"}, 0},
		"of another organisation":   {issuer.Actor{ID: "x", Within: issuer.Place{Organisation: "nobody"}}, recalled, 0},
	} {
		if a := affected(c.by, c.which); a.Records != c.want {
			t.Errorf("%s: %d records, want %d", name, a.Records, c.want)
		}
	}
	a := affected(by, recalled)
	if a.ByFormat[issuer.EUDCC] != 100 || a.ByPlace[issuer.Place{Organisation: by.Within.Organisation, Facility: "north"}] != 50 || len(a.Places()) != 2 || a.First.After(a.Last) {
		t.Errorf("%+v", a)
	}
	for name, w := range map[string]issuer.Which{"all": {}, "a lot of signs": {Lot: "--"}, "a product": {Product: "x"}, "backwards": {From: a.Last, Until: a.First}} {
		if _, err := k.Registry.Affected(t.Context(), by, w); err == nil {
			t.Errorf("%s was counted", name)
		}
	}

	// Another number than was agreed to: nothing is done.
	if _, err := k.Registry.RevokeMany(t.Context(), by, recalled, issuer.ReasonProduct, 99); !errors.Is(err, issuer.ErrCount) {
		t.Errorf("%v", err)
	}
	if _, err := k.Registry.RevokeMany(t.Context(), by, recalled, "boredom", 100); !errors.Is(err, issuer.ErrReason) {
		t.Errorf("%v", err)
	}
	if a := affected(by, recalled); a.Records != 100 {
		t.Fatalf("%d left after refusals", a.Records)
	}

	// It is stopped midway; what is left is told, and done by the next call.
	ctx, stop := context.WithCancel(t.Context())
	book := k.Registry.Book
	k.Registry.Book = &stoppingChange{stopping{Book: book, after: 40, stop: stop}}
	first, err := k.Registry.RevokeMany(ctx, by, recalled, issuer.ReasonProduct, 100)
	k.Registry.Book = book
	if err != nil || first.Done == 0 || first.Left == 0 || len(first.Failed) > 0 {
		t.Fatalf("%+v %v", first, err)
	}
	left := affected(by, recalled).Records
	if left == 0 || left > first.Left {
		t.Errorf("%d left, told %d", left, first.Left)
	}
	second, err := k.Registry.RevokeMany(t.Context(), by, recalled, issuer.ReasonProduct, left)
	if err != nil || second.Done != left || second.Left != 0 {
		t.Errorf("%+v %v", second, err)
	}
	lists := k.Lists(t)
	for i, r := range receipts {
		want := verifier.Valid
		if i%3 == 0 {
			want = verifier.Revoked
		}
		for _, artefact := range r.Artefacts {
			if got := k.Verify(t, artefact.Text, lists); got != want {
				t.Fatalf("%d, %s: %s, want %s", i, artefact.Format, got, want)
			}
		}
	}
}

// kids are the identifiers of the key that signs, on cards too.
func (k *Kit) kids(t *testing.T) [][]byte {
	t.Helper()
	i := k.Registry.Issuers[issuer.EUDCC]
	thumbprint, err := jwks.KID(i.Signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{i.KID, []byte(thumbprint)}
}

// stoppingChange is stopping for changes.
type stoppingChange struct{ stopping }

func (s *stoppingChange) Change(ctx context.Context, c issuer.Change) error {
	s.mu.Lock()
	if s.after--; s.after < 0 {
		s.stop()
	}
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Book.Change(ctx, c)
}

// testRevokeListed: every line of a list has its own result.
func testRevokeListed(t *testing.T, k *Kit) {
	one, two, gone := issue(t, k, Order("", Dose(1))), issue(t, k, Order("", Dose(2))), issue(t, k, Order("", Dose(3)))
	by := By("officer-1")
	if _, err := k.Registry.Revoke(t.Context(), by, guard(gone.Head), issuer.ReasonData); err != nil {
		t.Fatal(err)
	}
	lines := []string{one.ID.String(), two.Record.ID, gone.ID.String(), "01a19716-c7d8-7000-9951-01e14b296c5d", "URN:UVCI:01:XA:NOBODY", one.Record.ID, ""}
	results := func(dry bool) (out []string) {
		t.Helper()
		rows, err := k.Registry.RevokeListed(t.Context(), by, lines, issuer.ReasonFraud, dry)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			out = append(out, r.Result)
		}
		return out
	}
	check := func(dry bool, want ...string) {
		t.Helper()
		got := results(dry)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("dry %v, line %d: %s, want %s", dry, i+1, got[i], want[i])
			}
		}
	}
	missing, empty := string(issuer.ErrNotFound), string(format.RequiredMissing)
	check(true, issuer.RowWouldBe, issuer.RowWouldBe, issuer.RowAlready, missing, missing, issuer.RowRepeated, empty)
	if h := head(t, k, one.ID); h.State != issuer.Valid {
		t.Error("a dry run revoked")
	}
	check(false, issuer.RowRevoked, issuer.RowRevoked, issuer.RowAlready, missing, missing, issuer.RowRepeated, empty)
	check(false, issuer.RowAlready, issuer.RowAlready, issuer.RowAlready)
	for _, r := range []*issuer.Receipt{one, two} {
		if h := head(t, k, r.ID); h.State != issuer.Revoked || h.Reason != issuer.ReasonFraud {
			t.Errorf("%+v", h)
		}
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if rows, err := k.Registry.RevokeListed(ended, by, lines[:1], issuer.ReasonFraud, false); err != nil || rows[0].Result != issuer.RowNotReached {
		t.Errorf("%v %v", rows, err)
	}
	for name, lines := range map[string][]string{"none": nil, "too many": make([]string, issuer.MaxListed+1)} {
		if _, err := k.Registry.RevokeListed(t.Context(), by, lines, issuer.ReasonFraud, false); err == nil {
			t.Errorf("%s: done", name)
		}
	}
	var defect format.Defect
	if _, err := k.Registry.RevokeListed(t.Context(), by, lines, "boredom", false); !errors.As(err, &defect) {
		t.Errorf("%v", err)
	}
}
