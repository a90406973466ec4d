package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format"
)

// Registry issues certificates that are kept, and stands behind them: it revokes,
// corrects, reissues and erases. Each method is one flow, and each durable step of
// a flow one call of the [Book].
type Registry struct {
	Book Book
	// Issuers sign each format, now.
	Issuers map[Format]*Issuer
	Country string // ISO 3166-1 alpha-2, under which revocation batches are published
	Now     func() time.Time
	Rand    io.Reader // nil: crypto/rand
}

// Order is what to issue.
type Order struct {
	// By is who asks, by an identifier that names no person.
	By string
	// Key makes a repetition harmless: the same order under the same key hands out
	// the same certificates again. Empty for none.
	Key    string
	Record *cert.Certificate
	Wanted []Wanted
}

// Wanted is one certificate of an order.
type Wanted struct {
	Format  Format    `json:"format"`
	Expires time.Time `json:"expires,omitzero"` // zero: no end
}

// Receipt is what was issued, or was before under the same key.
type Receipt struct {
	Held
	Replayed bool
	// Same are valid records that certify the same event of the same person. They
	// are a warning: two people may share a name and a birthday.
	Same []ID
}

// Issue signs a record in every format that is wanted and keeps it.
//
// The record is durable before the signed bytes leave this function: a crash can
// lose a certificate nobody received, never leave one unrecorded.
func (r *Registry) Issue(ctx context.Context, o Order) (*Receipt, error) {
	return r.issue(ctx, o, Guard{}, "")
}

// Correct issues a record in the place of one that is wrong. In the same step the
// wrong one becomes superseded and is listed as revoked in all its formats; both
// stay to be read. It returns [ErrConflict] where somebody else was quicker.
func (r *Registry) Correct(ctx context.Context, wrong Guard, why Reason, o Order) (*Receipt, error) {
	if !slices.Contains(reasons, why) {
		return nil, fmt.Errorf("correction: %w", ErrReason)
	}
	return r.issue(ctx, o, wrong, why)
}

func (r *Registry) issue(ctx context.Context, o Order, corrects Guard, why Reason) (*Receipt, error) {
	// Step 1: refuse what is no order.
	line := r.line(o.By, ActionIssue)
	if line.Reason = why; why != "" {
		line.Action = ActionCorrect
	}
	if err := o.check(); err != nil {
		return nil, err
	}

	// Step 2: hand out again what was made when this was asked before.
	asked := Asked{Key: o.Key}
	if o.Key != "" {
		var err error
		// What is asked for is the order and what it corrects, not who asks.
		asked.Content, err = json.Marshal([]any{o.Record, o.Wanted, corrects.ID, corrects.Version, why})
		if err != nil {
			return nil, fmt.Errorf("order: %w", err)
		}
		if receipt, err := r.replay(ctx, asked, o.By); !errors.Is(err, ErrNotFound) {
			return receipt, err
		}
	}

	// Step 3: sign in each format, under one identifier.
	record := *o.Record
	id, err := NewID(r.Now(), r.Rand)
	if err != nil {
		return nil, err
	}
	entry := Entry{ID: id, Record: &record, Asked: asked, Corrects: corrects, Line: line}
	if slices.ContainsFunc(o.Wanted, func(w Wanted) bool { return w.Format == EUDCC || w.Format == DDCC || w.Format == VDSNC }) {
		if err := (&Issuer{Rand: r.Rand}).identify(&record); err != nil {
			return nil, err
		}
	}
	for _, w := range o.Wanted {
		a, err := r.sign(w, &record)
		if err != nil {
			return nil, err
		}
		entry.Artefacts = append(entry.Artefacts, a)
	}
	entry.Terms, entry.Line.Record = termsOf(&record), id

	// Step 4: keep it, and what it corrects in its new state.
	same, err := r.Book.Append(ctx, entry)
	if errors.Is(err, ErrKeyUsed) {
		return r.replay(ctx, asked, o.By) // the same order came twice at once
	}
	if err != nil {
		return nil, fmt.Errorf("record %s: keeping it: %w", id, err)
	}

	// Step 5: hand it out.
	head := Head{ID: id, Version: 1, State: Valid, Issued: line.At, Changed: line.At, Corrects: corrects.ID}
	for _, a := range entry.Artefacts {
		head.Formats = append(head.Formats, a.Format)
	}
	return &Receipt{Held: Held{head, &record, entry.Artefacts}, Same: same}, nil
}

func (r *Registry) replay(ctx context.Context, asked Asked, by string) (*Receipt, error) {
	held, err := r.Book.Replay(ctx, asked, r.line(by, ActionReplay))
	if err != nil {
		return nil, fmt.Errorf("request key: %w", err)
	}
	return &Receipt{Held: *held, Replayed: true}, nil
}

// sign makes one certificate, ready to be kept.
func (r *Registry) sign(w Wanted, record *cert.Certificate) (Artefact, error) {
	i := r.Issuers[w.Format]
	if i == nil {
		return Artefact{}, fmt.Errorf("%s: no key signs it here: %w", w.Format, ErrFormat)
	}
	issued, err := i.Issue(Request{w.Format, record, w.Expires})
	if err != nil {
		return Artefact{}, err
	}
	a := Artefact{Format: w.Format, KID: issued.kid, Text: issued.Text, Expires: issued.claims.ExpiresAt, Current: true}
	a.Scheme, a.Mark, err = issued.mark()
	return a, err
}

// check refuses an order that is none.
func (o Order) check() error {
	if err := checkBy(o.By); err != nil {
		return err
	}
	switch {
	case o.Record == nil:
		return fmt.Errorf("there is no record: %w", format.RequiredMissing)
	case len(o.Wanted) == 0:
		return fmt.Errorf("no format is asked for: %w", ErrOrder)
	case len(o.Key) > 255:
		return fmt.Errorf("a request key of %d bytes, at most 255: %w", len(o.Key), format.TooLong)
	}
	for n, w := range o.Wanted {
		if slices.ContainsFunc(o.Wanted[:n], func(e Wanted) bool { return e.Format == w.Format }) {
			return fmt.Errorf("%s is asked for twice: %w", w.Format, ErrOrder)
		}
	}
	return nil
}

// checkBy keeps texts about persons out of the audit log.
func checkBy(by string) error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
	if by == "" || len(by) > 64 || strings.Trim(by, letters) != "" {
		return fmt.Errorf("who asks: %w", ErrBy)
	}
	return nil
}

func (r *Registry) line(by string, action Action) Line {
	return Line{At: r.Now().UTC().Truncate(time.Second), By: by, Action: action}
}

// Duplicates returns the valid records of the same event of the same person, for
// a form to show before it is sent.
func (r *Registry) Duplicates(ctx context.Context, by string, record *cert.Certificate) ([]Head, error) {
	return r.find(ctx, by, doses(record), func(h Head) bool { return h.State == Valid })
}

// maxFound is the most records that a search returns. A search that finds more is
// for a person to narrow down.
const maxFound = 100

// Search returns the records that fit any part of the query, newest first. It
// finds whole values in any spelling that [nameKey] makes one; to read a record
// is another step.
func (r *Registry) Search(ctx context.Context, by string, q Query) ([]Head, error) {
	return r.find(ctx, by, q.terms(), func(Head) bool { return true })
}

func (r *Registry) find(ctx context.Context, by string, terms []Term, keep func(Head) bool) ([]Head, error) {
	if err := checkBy(by); err != nil {
		return nil, err
	}
	if len(terms) == 0 {
		return nil, fmt.Errorf("nothing to search for: a name with a birth date, a document or a certificate: %w", format.RequiredMissing)
	}
	found, err := r.Book.Find(ctx, terms, maxFound, r.line(by, ActionSearch))
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return slices.DeleteFunc(found, func(h Head) bool { return !keep(h) }), nil
}

// Read returns a record with its certificates. That it was read is on the audit
// log before it is.
func (r *Registry) Read(ctx context.Context, by string, id ID) (*Held, error) {
	if err := checkBy(by); err != nil {
		return nil, err
	}
	line := r.line(by, ActionRead)
	line.Record = id
	held, err := r.Book.Read(ctx, id, line)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", id, err)
	}
	return held, nil
}

// List returns a page of records, newest first, and the cursor of the next page,
// which is zero after the last.
func (r *Registry) List(ctx context.Context, cursor ID, limit int) (page []Head, next ID, err error) {
	limit = min(max(limit, 1), 1000)
	if page, err = r.Book.List(ctx, cursor, limit+1); err != nil {
		return nil, ID{}, fmt.Errorf("list: %w", err)
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	return page, next, nil
}
