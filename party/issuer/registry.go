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
	"ampoule/ledger/print"
	"ampoule/thing"
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

// Actor is who asks. To an actor there are no records but those of its place.
type Actor struct {
	ID     string // names no person: letters, digits and ._:-
	Within Place
}

// Order is what to issue.
type Order struct {
	By Actor
	// At is where the record will belong; zero: the actor's own place, and for a
	// correction that of the record it corrects.
	At Place
	// Key makes a repetition harmless: the same order under the same key hands out
	// the same certificates again. It counts within the actor's organisation. Empty
	// for none.
	Key    string
	Record *cert.Certificate
	Wanted []Wanted
	// Session is opened stock from which the dose was given; "": none. It is of the place
	// to which the record will belong.
	Session string
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
	if corrects != (Guard{}) {
		wrong, err := r.head(ctx, o.By, corrects.ID)
		if err != nil {
			return nil, err
		}
		if o.At == (Place{}) {
			o.At = wrong.Place
		}
	}
	if o.At == (Place{}) {
		o.At = o.By.Within
	}
	if !o.By.Within.Holds(o.At) {
		return nil, fmt.Errorf("issuing: %w", ErrPlace)
	}
	line.Place = o.At

	// Step 2: hand out again what was made when this was asked before.
	var asked Asked
	if o.Key != "" {
		asked.Key = askedKey(o.By, o.Key)
		var err error
		// What is asked for is the order and what it corrects, not who asks.
		asked.Content, err = json.Marshal([]any{o.Record, o.Wanted, o.At, corrects.ID, corrects.Version, why, o.Session})
		if err != nil {
			return nil, fmt.Errorf("order: %w", err)
		}
		if receipt, err := r.replay(ctx, asked, o.By); !errors.Is(err, ErrNotFound) {
			return receipt, err
		}
	}

	// Step 3: sign in each format, under one identifier.
	entry, err := r.draft(o, r.sign)
	if err != nil {
		return nil, err
	}
	id := entry.ID
	line.Record = id
	entry.Asked, entry.Corrects, entry.Line = asked, corrects, line

	// Step 4: keep it, and what it corrects in its new state.
	same, err := r.Book.Append(ctx, entry)
	if errors.Is(err, ErrKeyUsed) {
		return r.replay(ctx, asked, o.By) // the same order came twice at once
	}
	if err != nil {
		return nil, fmt.Errorf("record %s: keeping it: %w", id, err)
	}

	// Step 5: hand it out.
	head := Head{ID: id, Place: o.At, Version: 1, State: Valid, Issued: line.At, Changed: line.At, Corrects: corrects.ID}
	for _, a := range entry.Artefacts {
		head.Formats = append(head.Formats, a.Format)
	}
	return &Receipt{Held: Held{head, entry.Record, entry.Artefacts}, Same: same}, nil
}

// askedKey is a request key as the book knows it: it counts within an organisation.
func askedKey(by Actor, key string) string { return by.Within.Organisation + "/" + key }

// CheckOrder makes every check of an order that [Registry.Issue] makes, by the same
// steps, and signs nothing: an order that passes is issued, but for what another
// moment brings, such as the end of a key.
func (r *Registry) CheckOrder(o Order) error {
	if err := o.check(); err != nil {
		return err
	}
	_, err := r.draft(o, r.lint)
	return err
}

// draft makes the certificates of a record, by a function that signs or does not.
func (r *Registry) draft(o Order, sign func(Wanted, *cert.Certificate) (signedAs, error)) (Entry, error) {
	record := *o.Record
	id, err := NewID(r.Now(), r.Rand)
	if err != nil {
		return Entry{}, err
	}
	entry := Entry{ID: id, Place: o.At, Record: &record}
	if slices.ContainsFunc(o.Wanted, func(w Wanted) bool { return w.Format == EUDCC || w.Format == DDCC || w.Format == VDSNC }) {
		if err := (&Issuer{Rand: r.Rand}).identify(&record); err != nil {
			return Entry{}, err
		}
	}
	said := []*cert.Certificate{&record}
	for _, w := range o.Wanted {
		s, err := sign(w, &record)
		if err != nil {
			return Entry{}, err
		}
		entry.Artefacts, entry.Leaves = append(entry.Artefacts, s.artefact), append(entry.Leaves, s.leaf)
		if s.record != nil {
			said = append(said, s.record)
		}
	}
	entry.Terms, entry.Dose = termsOf(&record), doseOf(o.Session, said...)
	return entry, nil
}

// doseOf is what ties a record to goods, by all codes of the product in the record and
// in what was signed of it, where a format brings its own code system; nil where its lot
// is not told.
func doseOf(session string, said ...*cert.Certificate) *Dose {
	v := said[0].Vaccination
	if v == nil || thing.NormalLot(v.Lot) == "" {
		return nil
	}
	d := &Dose{Lot: thing.NormalLot(v.Lot), Day: string(v.Date), Session: session}
	for _, c := range said {
		if c.Vaccination == nil {
			continue
		}
		for _, code := range append([]cert.Code{c.Vaccination.Product, c.Vaccination.Vaccine}, c.Vaccination.Synonyms...) {
			if p := (thing.Product{Code: code.Code, System: code.System}); code.Code != "" && !slices.Contains(d.Products, p) {
				d.Products = append(d.Products, p)
			}
		}
	}
	return d
}

// Check says what is wrong with a certificate that is wanted, or nil where it can
// be issued. Nothing is signed.
func (r *Registry) Check(w Wanted, record *cert.Certificate) error {
	copied := *record
	_, err := r.lint(w, &copied)
	return err
}

func (r *Registry) replay(ctx context.Context, asked Asked, by Actor) (*Receipt, error) {
	held, err := r.Book.Replay(ctx, asked, r.line(by, ActionReplay))
	if err != nil {
		return nil, fmt.Errorf("request key: %w", err)
	}
	return &Receipt{Held: *held, Replayed: true}, nil
}

// signedAs is one certificate, ready to be kept, its fingerprint, and what a reader will
// see of it; nil where nothing was signed.
type signedAs struct {
	artefact Artefact
	leaf     print.Leaf
	record   *cert.Certificate
}

// sign makes one certificate.
func (r *Registry) sign(w Wanted, record *cert.Certificate) (s signedAs, err error) {
	i := r.Issuers[w.Format]
	if i == nil {
		return s, fmt.Errorf("%s: no key signs it here: %w", w.Format, ErrFormat)
	}
	issued, err := i.Issue(Request{w.Format, record, w.Expires})
	if err != nil {
		return s, err
	}
	s.artefact = Artefact{Format: w.Format, KID: issued.kid, Text: issued.Text, Expires: issued.claims.ExpiresAt, Current: true}
	s.artefact.Scheme, s.artefact.Mark, s.leaf, err = issued.traces()
	s.record = issued.Record()
	return s, err
}

// lint is sign without a signature.
func (r *Registry) lint(w Wanted, record *cert.Certificate) (signedAs, error) {
	i := r.Issuers[w.Format]
	if i == nil {
		return signedAs{}, fmt.Errorf("%s: no key signs it here: %w", w.Format, ErrFormat)
	}
	return signedAs{artefact: Artefact{Format: w.Format}}, i.Check(Request{w.Format, record, w.Expires})
}

// check refuses an order that is none.
func (o Order) check() error {
	if err := checkBy(o.By); err != nil {
		return err
	}
	switch {
	case o.Record == nil:
		return fmt.Errorf("there is no record: %w", format.RequiredMissing)
	case o.Session != "" && doseOf("", o.Record) == nil:
		return fmt.Errorf("from a session is given what has a lot: %w", format.RequiredMissing)
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
func checkBy(a Actor) error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
	if a.ID == "" || len(a.ID) > 64 || strings.Trim(a.ID, letters) != "" {
		return fmt.Errorf("who asks: %w", ErrBy)
	}
	return nil
}

func (r *Registry) line(by Actor, action Action) Line {
	return Line{At: r.Now().UTC().Truncate(time.Second), By: by.ID, Place: by.Within, Action: action}
}

// Head returns what is known of a record of the actor's place without reading it.
func (r *Registry) Head(ctx context.Context, by Actor, id ID) (Head, error) {
	if err := checkBy(by); err != nil {
		return Head{}, err
	}
	return r.head(ctx, by, id)
}

// head finds a record. One of another place is none.
func (r *Registry) head(ctx context.Context, by Actor, id ID) (Head, error) {
	head, err := r.Book.Head(ctx, id)
	if err == nil && !by.Within.Holds(head.Place) {
		err = ErrNotFound
	}
	if err != nil {
		return Head{}, fmt.Errorf("record %s: %w", id, err)
	}
	return head, nil
}

// Duplicates returns the valid records of the same event of the same person in
// the actor's organisation, for a form to show before it is sent.
func (r *Registry) Duplicates(ctx context.Context, by Actor, record *cert.Certificate) ([]Head, error) {
	return r.find(ctx, by, Place{Organisation: by.Within.Organisation}, doses(record), func(h Head) bool { return h.State == Valid })
}

// maxFound is the most records that a search returns. A search that finds more is
// for a person to narrow down.
const maxFound = 100

// Search returns the records of the actor's place that fit any part of the query, newest first. It
// finds whole values in any spelling that [nameKey] makes one; to read a record
// is another step.
func (r *Registry) Search(ctx context.Context, by Actor, q Query) ([]Head, error) {
	return r.find(ctx, by, by.Within, q.terms(), func(Head) bool { return true })
}

func (r *Registry) find(ctx context.Context, by Actor, within Place, terms []Term, keep func(Head) bool) ([]Head, error) {
	if err := checkBy(by); err != nil {
		return nil, err
	}
	if len(terms) == 0 {
		return nil, fmt.Errorf("nothing to search for: a name with a birth date, a document or a certificate: %w", format.RequiredMissing)
	}
	found, err := r.Book.Find(ctx, terms, within, maxFound, r.line(by, ActionSearch))
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return slices.DeleteFunc(found, func(h Head) bool { return !keep(h) }), nil
}

// Read returns a record with its certificates. That it was read is on the audit
// log before it is.
func (r *Registry) Read(ctx context.Context, by Actor, id ID) (*Held, error) {
	head, err := r.Head(ctx, by, id)
	if err != nil {
		return nil, err
	}
	line := r.line(by, ActionRead)
	line.Record, line.Place = id, head.Place
	held, err := r.Book.Read(ctx, id, line)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", id, err)
	}
	return held, nil
}

// List returns a page of the records of the actor's place, newest first, and the
// cursor of the next page, which is zero after the last.
func (r *Registry) List(ctx context.Context, by Actor, cursor ID, limit int) (page []Head, next ID, err error) {
	limit = min(max(limit, 1), 1000)
	if page, err = r.Book.List(ctx, by.Within, cursor, limit+1); err != nil {
		return nil, ID{}, fmt.Errorf("list: %w", err)
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	return page, next, nil
}
