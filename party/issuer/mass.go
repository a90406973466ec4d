package issuer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/thing"
)

// Which chooses records in force: those that meet all that is said, and something
// must be.
type Which struct {
	KIDs        [][]byte  // a current certificate is of one of these keys
	Lot         string    // a dose in it is of this lot, compared as thing.NormalLot
	Product     string    // and of the product of this code; "" for any
	From, Until time.Time // it was issued from then, and before then; zero: no bound
}

func (w Which) check() error {
	switch {
	case len(w.KIDs) == 0 && w.Lot == "" && w.From.IsZero() && w.Until.IsZero():
		return fmt.Errorf("which records: a key, a lot or a time: %w", format.RequiredMissing)
	case w.Lot != "" && thing.NormalLot(w.Lot) == "":
		return fmt.Errorf("which records: the lot has neither letter nor digit: %w", ErrOrder)
	case w.Lot == "" && w.Product != "":
		return fmt.Errorf("which records: a product without a lot: %w", ErrOrder)
	case !w.From.IsZero() && !w.Until.IsZero() && !w.From.Before(w.Until):
		return fmt.Errorf("which records: the time ends before it begins: %w", ErrOrder)
	}
	return nil
}

// meets reports whether a record is one of those.
func (w Which) meets(h *Held) bool {
	if !w.From.IsZero() && h.Issued.Before(w.From) || !w.Until.IsZero() && !h.Issued.Before(w.Until) {
		return false
	}
	if w.Lot == "" {
		return true
	}
	given := func(v *cert.Vaccination) bool {
		return v != nil && thing.NormalLot(v.Lot) == thing.NormalLot(w.Lot) && (w.Product == "" || v.Product.Code == w.Product || v.Vaccine.Code == w.Product)
	}
	return given(h.Record.Vaccination) || slices.ContainsFunc(h.Record.Earlier, func(e cert.Event) bool { return given(e.Vaccination) })
}

// Affected is what a choice comes to: counts, and nothing personal.
type Affected struct {
	Records     int
	ByFormat    map[Format]int // current certificates
	ByPlace     map[Place]int  // records
	Irrevocable int            // records with a certificate in a format without a scheme of revocation
	First, Last time.Time      // of their issue
}

// Places are those of its records, in their order.
func (a *Affected) Places() []Place {
	return slices.SortedFunc(maps.Keys(a.ByPlace), func(x, y Place) int {
		return cmp.Or(cmp.Compare(x.Organisation, y.Organisation), cmp.Compare(x.Facility, y.Facility))
	})
}

// Affected counts the records of a choice before anything is done to them.
func (r *Registry) Affected(ctx context.Context, by Actor, w Which) (*Affected, error) {
	out := &Affected{ByFormat: make(map[Format]int), ByPlace: make(map[Place]int)}
	err := r.each(ctx, by, w, ActionSearch, func(h Held) error {
		out.Records++
		out.ByPlace[h.Place]++
		for _, a := range h.Artefacts {
			if a.Current {
				out.ByFormat[a.Format]++
			}
		}
		if len(h.Irrevocable()) > 0 {
			out.Irrevocable++
		}
		if out.First.IsZero() || h.Issued.Before(out.First) {
			out.First = h.Issued
		}
		if h.Issued.After(out.Last) {
			out.Last = h.Issued
		}
		return nil
	})
	return out, err
}

// each calls f with the records of a choice, each once.
func (r *Registry) each(ctx context.Context, by Actor, w Which, action Action, f func(Held) error) error {
	if err := checkBy(by); err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	kids := w.KIDs
	if len(kids) == 0 {
		kids = [][]byte{nil} // whatever the key
	}
	for i, kid := range kids {
		for after := (ID{}); ; {
			page, err := r.Book.InForce(ctx, kid, by.Within, after, reissuePage, r.line(by, action))
			if err != nil {
				return fmt.Errorf("which records: %w", err)
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].ID
			for _, h := range page {
				if !w.meets(&h) || h.hasCurrent(kids[:i]) { // or it came under a key before
					continue
				}
				if err := f(h); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// hasCurrent reports whether a current certificate of a record is of one of the keys.
func (h *Held) hasCurrent(kids [][]byte) bool {
	return slices.ContainsFunc(h.Artefacts, func(a Artefact) bool {
		return a.Current && slices.ContainsFunc(kids, func(kid []byte) bool { return bytes.Equal(a.KID, kid) })
	})
}

// ErrCount says that a choice comes to another number than was agreed to.
const ErrCount = format.Defect("count-changed")

// RevokedMany tells how far a revocation of many came.
type RevokedMany struct {
	Done   int
	Left   int // still to do: the time was over
	Failed []Failure
}

// RevokeMany revokes the records of a choice, where they are as many as the one who
// asks was told and agreed to. It can be stopped at any moment: what is left is
// counted, and is what the next call agrees to.
func (r *Registry) RevokeMany(ctx context.Context, by Actor, w Which, why Reason, agreed int) (*RevokedMany, error) {
	// Step 1: the records, and whether they are as many.
	if !slices.Contains(reasons, why) {
		return nil, fmt.Errorf("revocation: %w", ErrReason)
	}
	var guards []Guard
	err := r.each(ctx, by, w, ActionSearch, func(h Held) error {
		guards = append(guards, Guard{h.ID, h.Version})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(guards) != agreed {
		return nil, fmt.Errorf("revocation: %d records, and %d were agreed to: %w", len(guards), agreed, ErrCount)
	}

	// Step 2: each by itself, many at once, so that they share the disk's syncs.
	out := new(RevokedMany)
	var mu sync.Mutex
	r.hands(guards, func(g Guard) {
		if ctx.Err() != nil {
			mu.Lock()
			out.Left++
			mu.Unlock()
			return
		}
		_, err := r.Revoke(ctx, by, g, why)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			out.Done++
		case ctx.Err() != nil:
			out.Left++ // or done: who looks again is told
		default:
			out.Failed = append(out.Failed, Failure{ID: g.ID, Err: err})
		}
	})
	return out, nil
}

// hands calls f for each, so many at a time.
func (r *Registry) hands(guards []Guard, f func(Guard)) {
	var wg sync.WaitGroup
	hands := make(chan struct{}, reissueHand)
	for _, g := range guards {
		hands <- struct{}{}
		wg.Go(func() {
			defer func() { <-hands }()
			f(g)
		})
	}
	wg.Wait()
}

// ListedRow is what became of one line of a list of records.
type ListedRow struct {
	ID     ID     // zero where none was found
	Result string // a stable word
}

// The results of a line, beside the defects of a [Book].
const (
	RowRevoked    = "revoked"
	RowWouldBe    = "would-be-revoked" // it was only asked about
	RowAlready    = "already-revoked"
	RowSeveral    = "several-records" // the identifier is of more than one: name the record
	RowRepeated   = "repeated"        // it stands in the list before
	RowNotReached = "not-reached"     // the time was over
)

// MaxListed bounds a list of records.
const MaxListed = 10_000

// RevokeListed revokes the records of a list, each named by its identifier or by
// that of its certificate (a UVCI), and tells what became of each line. With dry it
// only tells what would.
func (r *Registry) RevokeListed(ctx context.Context, by Actor, names []string, why Reason, dry bool) ([]ListedRow, error) {
	if err := checkBy(by); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(reasons, why):
		return nil, fmt.Errorf("revocation: %w", ErrReason)
	case len(names) == 0 || len(names) > MaxListed:
		return nil, fmt.Errorf("revocation: %d lines, from 1 to %d: %w", len(names), MaxListed, ErrOrder)
	}
	rows := make([]ListedRow, len(names))
	seen := make(map[ID]bool)
	for i, name := range names {
		rows[i] = ListedRow{Result: RowNotReached}
		if ctx.Err() != nil {
			continue
		}
		head, err := r.named(ctx, by, name)
		var defect format.Defect
		switch {
		case errors.Is(err, errSeveral):
			rows[i].Result = RowSeveral
		case errors.As(err, &defect):
			rows[i].Result = string(defect)
		case ctx.Err() != nil:
		case err != nil:
			return rows, err
		default:
			rows[i].ID = head.ID
			rows[i].Result = r.revokeRow(ctx, by, head, why, dry, seen[head.ID])
			seen[head.ID] = true
		}
	}
	return rows, nil
}

func (r *Registry) revokeRow(ctx context.Context, by Actor, head Head, why Reason, dry, repeated bool) string {
	switch {
	case repeated:
		return RowRepeated
	case head.State != Valid:
		return RowAlready
	case dry:
		return RowWouldBe
	}
	_, err := r.Revoke(ctx, by, Guard{head.ID, head.Version}, why)
	var defect format.Defect
	switch {
	case err == nil:
		return RowRevoked
	case errors.As(err, &defect):
		return string(defect)
	}
	return RowNotReached
}

// errSeveral says that an identifier is of more than one record.
var errSeveral = errors.New("several records")

// named finds the record that a line names: of several with one identifier, the one
// that is in force.
func (r *Registry) named(ctx context.Context, by Actor, name string) (Head, error) {
	if id, err := ParseID(name); err == nil {
		return r.head(ctx, by, id)
	}
	found, err := r.Search(ctx, by, Query{Certificate: name})
	if err != nil {
		return Head{}, err
	}
	valid := slices.DeleteFunc(slices.Clone(found), func(h Head) bool { return h.State != Valid })
	switch {
	case len(valid) == 1:
		return valid[0], nil
	case len(valid) > 1:
		return Head{}, errSeveral
	case len(found) > 0:
		return found[0], nil
	}
	return Head{}, fmt.Errorf("no record of that identifier: %w", ErrNotFound)
}
