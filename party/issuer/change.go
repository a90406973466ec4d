package issuer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"ampoule/format"
	"ampoule/format/jwks"
)

// Revoke takes a record out of force, in all its formats. Those that the returned
// head calls [Head.Irrevocable] have no scheme: their holders can show them as
// before, and verifiers cannot know.
func (r *Registry) Revoke(ctx context.Context, by Actor, g Guard, why Reason) (Head, error) {
	if !slices.Contains(reasons, why) {
		return Head{}, fmt.Errorf("revocation: %w", ErrReason)
	}
	return r.change(ctx, by, g, Valid, Revoked, ActionRevoke, why)
}

// Reinstate puts a revoked record back in force. One that was corrected stays
// out: there would be two.
func (r *Registry) Reinstate(ctx context.Context, by Actor, g Guard) (Head, error) {
	return r.change(ctx, by, g, Revoked, Valid, ActionReinstate, "")
}

func (r *Registry) change(ctx context.Context, by Actor, g Guard, from, to State, action Action, why Reason) (Head, error) {
	// Step 1: refuse what can be refused by what is known now.
	if err := checkBy(by); err != nil {
		return Head{}, err
	}
	head, err := r.head(ctx, by, g.ID)
	switch {
	case err != nil:
		return Head{}, err
	case head.Version != g.Version:
		return Head{}, fmt.Errorf("record %s: version %d, now %d: %w", g.ID, g.Version, head.Version, ErrConflict)
	case head.State != from:
		return Head{}, fmt.Errorf("record %s is %s: %w", g.ID, head.State, ErrState)
	}

	// Step 2: change it, if it is still the same.
	line := r.line(by, action)
	line.Record, line.Place, line.Reason = g.ID, head.Place, why
	if err := r.Book.Change(ctx, Change{g, from, to, line}); err != nil {
		return Head{}, fmt.Errorf("record %s: %w", g.ID, err)
	}
	head.Version, head.State, head.Reason, head.Changed = g.Version+1, to, why, line.At
	return head, nil
}

// Add signs a valid record in a further format. A revocation of the record covers
// it as the others.
func (r *Registry) Add(ctx context.Context, by Actor, g Guard, w Wanted) (*Held, error) {
	// Step 1: the record, as it was seen.
	held, err := r.Read(ctx, by, g.ID)
	switch {
	case err != nil:
		return nil, err
	case held.Version != g.Version:
		return nil, fmt.Errorf("record %s: version %d, now %d: %w", g.ID, g.Version, held.Version, ErrConflict)
	case held.State != Valid:
		return nil, fmt.Errorf("record %s is %s: %w", g.ID, held.State, ErrState)
	case slices.Contains(held.Formats, w.Format):
		return nil, fmt.Errorf("record %s: %s is there: %w", g.ID, w.Format, ErrOrder)
	}

	// Step 2: sign it, and keep it if the record is still the same.
	s, err := r.sign(w, held.Record)
	if err != nil {
		return nil, err
	}
	line := r.line(by, ActionAdd)
	line.Record, line.Place = g.ID, held.Place
	if err := r.Book.Replace(ctx, Replacement{g, None, s.artefact, s.leaf, line}); err != nil {
		return nil, fmt.Errorf("record %s: %w", g.ID, err)
	}
	held.Version, held.Changed, held.Formats, held.Artefacts = g.Version+1, line.At, append(held.Formats, w.Format), append(held.Artefacts, s.artefact)
	return held, nil
}

// Erase removes a person's record for good, with those that it corrects and that
// correct it. What was revoked of it stays revoked, by bare hashes.
//
// A certificate that is still valid stays so in its holder's hands, and nobody
// can revoke it any more: whoever wants that revokes it before.
func (r *Registry) Erase(ctx context.Context, by Actor, id ID) (erased []ID, err error) {
	if err := checkBy(by); err != nil {
		return nil, err
	}

	// Step 1: the record's whole chain. It has no circles: a correction is younger.
	head, err := r.head(ctx, by, id)
	if err != nil {
		return nil, err
	}
	erased, guards := []ID{id}, []Guard{{id, head.Version}}
	for _, next := range []func(Head) ID{func(h Head) ID { return h.Corrects }, func(h Head) ID { return h.Correction }} {
		for h := head; next(h) != (ID{}); {
			if h, err = r.Book.Head(ctx, next(h)); errors.Is(err, ErrNotFound) {
				break // erased before
			} else if err != nil {
				return nil, fmt.Errorf("record %s: %w", id, err)
			}
			erased, guards = append(erased, h.ID), append(guards, Guard{h.ID, h.Version})
		}
	}

	// Step 2: erase them.
	line := r.line(by, ActionErase)
	line.Record, line.Place = id, head.Place
	if err := r.Book.Erase(ctx, guards, line); err != nil {
		return nil, fmt.Errorf("record %s: erasing: %w", id, err)
	}
	return erased, nil
}

// Reissued tells how far a reissue came.
type Reissued struct {
	Done   int // certificates that were signed anew
	Failed []Failure
}

// Failure is a certificate that could not be signed anew.
type Failure struct {
	ID     ID
	Format Format
	Err    error
}

// The size of a step of [Registry.Reissue]: how many records are held in memory,
// and how many are signed at once, so that they share the disk's syncs.
const (
	reissuePage = 256
	reissueHand = 32
)

// Reissue signs every certificate in force of a key anew, under the keys that
// sign now: the same content with the same identifier. The old ones stay as they
// are, and a revocation of the record covers both; a key that leaked is taken off
// the trust list besides.
//
// It can be stopped at any moment, and started again: what was done is not done
// twice. What fails is told, and the rest goes on.
func (r *Registry) Reissue(ctx context.Context, by Actor, old []byte) (*Reissued, error) {
	// Step 1: refuse what is no key, and the one that still signs.
	if err := checkBy(by); err != nil {
		return nil, err
	}
	if len(old) == 0 {
		return nil, fmt.Errorf("reissue: the key: %w", format.RequiredMissing)
	}
	for _, i := range r.Issuers {
		if thumbprint, err := jwks.KID(i.Signer.Public()); bytes.Equal(i.KID, old) || err == nil && thumbprint == string(old) {
			return nil, fmt.Errorf("reissue: the key still signs: %w", ErrSameKey)
		}
	}
	out := new(Reissued)
	for after := (ID{}); ; {
		// Step 2: the next records.
		page, err := r.Book.InForce(ctx, old, by.Within, after, reissuePage, r.line(by, ActionReissue))
		if err != nil {
			return out, fmt.Errorf("reissue: %w", err)
		}
		if len(page) == 0 {
			return out, nil
		}
		after = page[len(page)-1].ID

		// Step 3: sign each of their certificates under the new key, and keep it.
		var mu sync.Mutex // of out
		var wg sync.WaitGroup
		hands := make(chan struct{}, reissueHand)
		for _, held := range page {
			hands <- struct{}{}
			wg.Go(func() {
				defer func() { <-hands }()
				done, failed := r.reissueOne(ctx, by, old, held)
				mu.Lock()
				defer mu.Unlock()
				out.Done, out.Failed = out.Done+done, append(out.Failed, failed...)
			})
		}
		wg.Wait()
		if err := ctx.Err(); err != nil {
			return out, fmt.Errorf("reissue: %w", err)
		}
	}
}

func (r *Registry) reissueOne(ctx context.Context, by Actor, old []byte, held Held) (done int, failed []Failure) {
	guard := Guard{held.ID, held.Version}
	for n, a := range held.Artefacts {
		if !a.Current || !bytes.Equal(a.KID, old) {
			continue
		}
		s, err := r.sign(Wanted{a.Format, a.Expires}, held.Record)
		if err == nil {
			line := r.line(by, ActionReissue)
			line.Record, line.Place = held.ID, held.Place
			if err = r.Book.Replace(ctx, Replacement{guard, n, s.artefact, s.leaf, line}); err == nil {
				guard.Version++
				done++
				continue
			}
		}
		failed = append(failed, Failure{held.ID, a.Format, err})
	}
	return done, failed
}
