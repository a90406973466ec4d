package store

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/party/issuer"
)

// The kinds of sealed content. They are associated data, so that what was sealed
// as one thing cannot be put in the place of another.
const (
	sealRecord   = "record"
	sealArtefact = "artefact"
	sealAdverse  = "adverse"
)

// sealFor binds content to its record, its kind and its number.
func sealFor(id issuer.ID, kind string, n int) []byte {
	return binary.BigEndian.AppendUint32(append(id[:len(id):len(id)], kind...), uint32(n))
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromUnix(sec int64) time.Time {
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0).UTC()
}

// idOrNone is nil for the zero identifier.
func idOrNone(id issuer.ID) any {
	if id == (issuer.ID{}) {
		return nil
	}
	return id[:]
}

// termSize is the length of what a term is found by. With 128 bits two terms in
// the world never meet, and the index is half as large.
const termSize = 16

func (s *Store) termMAC(t issuer.Term) []byte {
	return s.vault.mac("term "+string(t.Kind), t.Text)[:termSize]
}

// termMACs returns what terms are found by, each once, and those among them that
// tell a dose.
func (s *Store) termMACs(terms []issuer.Term) (macs [][]byte, doses []any) {
	for _, t := range terms {
		mac := s.termMAC(t)
		if slices.ContainsFunc(macs, func(m []byte) bool { return bytes.Equal(m, mac) }) {
			continue
		}
		macs = append(macs, mac)
		if t.Kind == issuer.TermDose {
			doses = append(doses, mac)
		}
	}
	return macs, doses
}

// insertTerms inserts the terms of a record.
func insertTerms(macs [][]byte, id issuer.ID) stmt {
	var text strings.Builder
	text.WriteString(`INSERT INTO term (mac, record) VALUES `)
	args := []any{id[:]}
	for i, mac := range macs {
		if i > 0 {
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "($%d, $1)", i+2)
		args = append(args, mac)
	}
	return stmt{sql: text.String(), args: args}
}

// places are n parameters of a statement, from one on.
func places(from, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("$%d", from+i)
	}
	return strings.Join(out, ", ")
}

// Append implements [issuer.Book].
func (s *Store) Append(ctx context.Context, e issuer.Entry) (same []issuer.ID, err error) {
	if e.Corrects != (issuer.Guard{}) {
		s.erasing.RLock()
		defer s.erasing.RUnlock()
	}
	key, err := s.vault.take()
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(e.Record)
	if err != nil {
		return nil, fmt.Errorf("store: record: %w", err)
	}
	macs, doses := s.termMACs(e.Terms)
	insert := stmt{
		sql: `INSERT INTO record (id, slot, version, state, reason, issued, changed, corrects, correction, asked, request, terms, content, organisation, facility)
			VALUES ($1, $2, 1, $3, '', $4, $4, $5, NULL, $6, $7, $8, $9, $10, $11)`,
		args: []any{
			e.ID[:], key.slot, string(issuer.Valid), unix(e.Line.At), idOrNone(e.Corrects.ID), nil, nil,
			slices.Concat(macs...), key.aead.Seal(nil, nil, content, sealFor(e.ID, sealRecord, 0)),
			e.Place.Organisation, e.Place.Facility,
		},
	}
	if e.Asked.Key != "" {
		insert.args[5], insert.args[6] = s.vault.mac("request key", e.Asked.Key), s.vault.mac("request", string(e.Asked.Content))
		insert.taken = issuer.ErrKeyUsed // identifier and slot are never taken
	}
	stmts := []stmt{insert}
	for n, a := range e.Artefacts {
		stmts = append(stmts, insertArtefact(key, e.ID, n, a, s.nextBatch.Load()))
	}
	for _, l := range e.Leaves {
		stmts = append(stmts, insertLeaf(l, e.Line.At))
	}
	if len(macs) > 0 {
		stmts = append(stmts, insertTerms(macs, e.ID))
	}
	if e.Corrects != (issuer.Guard{}) {
		stmts = append(append(stmts, correct(e), moveAdverse(e)), list(e.Corrects.ID)...)
	}
	drawn, err := s.draw(e)
	if err != nil {
		return nil, err
	}
	stmts = append(append(stmts, drawn...), s.audit(e.Line))
	var found []issuer.ID
	if len(doses) > 0 {
		stmts = append(stmts, findTerms(doses, &found))
	}
	if e.Corrects == (issuer.Guard{}) && (e.Dose == nil || e.Dose.Session == "") {
		err = s.db.writeAll(ctx, stmts...)
	} else {
		err = s.db.write(ctx, func(t tx) error {
			found = nil
			return t.all(stmts...)
		})
	}
	if err != nil {
		return nil, err
	}
	// It is durable now. What follows is advice: an error of it must not look as if
	// nothing was kept.
	for _, id := range found {
		if id == e.ID || slices.Contains(same, id) {
			continue
		}
		if h, err := s.Head(ctx, id); err == nil && h.State == issuer.Valid && h.Place.Organisation == e.Place.Organisation {
			same = append(same, id)
		}
	}
	return same, nil
}

// draw ties a record to the lot of its dose, and takes the dose out of its session.
func (s *Store) draw(e issuer.Entry) ([]stmt, error) {
	d := e.Dose
	if d == nil {
		return nil, nil
	}
	products, err := json.Marshal(d.Products)
	if err != nil {
		return nil, fmt.Errorf("store: dose: %w", err)
	}
	stmts := []stmt{{
		sql:  `INSERT INTO dose (record, lot, products, day, organisation, facility, session) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		args: []any{e.ID[:], s.lotMAC(d.Lot), string(products), d.Day, e.Place.Organisation, e.Place.Facility, d.Session},
	}}
	if d.Session == "" {
		return stmts, nil
	}
	from := []any{d.Session, e.Place.Organisation, e.Place.Facility}
	if e.Corrects != (issuer.Guard{}) {
		// A record that is put right is of the dose that was given, not of one more.
		from = append(from, e.Corrects.ID[:])
		return append(stmts, stmt{
			sql: `UPDATE stock_session SET version = version WHERE id = $1 AND organisation = $2 AND facility = $3
				AND id IN (SELECT session FROM dose WHERE record = $4)`,
			args: from, one: issuer.ErrSession,
		}), nil
	}
	from = append(from, unix(e.Line.At))
	return append(stmts, stmt{
		sql: `UPDATE stock_session SET given = given + 1, version = version + 1
			WHERE id = $1 AND organisation = $2 AND facility = $3 AND ended = 0 AND discard > $4 AND given + wasted < doses`,
		args: from, one: issuer.ErrSession,
	}), nil
}

// lotMAC is what doses of a lot are found by.
func (s *Store) lotMAC(lot string) []byte { return s.vault.mac("lot", lot)[:termSize] }

// findTerms finds the records of terms, newest first. That is one statement, and
// reading the records others, so that no database is tempted to join the two by
// reading all of them.
func findTerms(macs []any, ids *[]issuer.ID) stmt {
	return stmt{
		sql:  `SELECT DISTINCT record FROM term WHERE mac IN (` + places(1, len(macs)) + `) ORDER BY record DESC LIMIT 1000`,
		args: macs,
		each: func(scan scan) error {
			var id []byte
			err := scan(&id)
			*ids = append(*ids, issuer.ID(id))
			return err
		},
	}
}

func insertArtefact(key recordKey, id issuer.ID, n int, a issuer.Artefact, batch int64) stmt {
	mark := a.Mark
	if mark == nil {
		mark = []byte{}
	}
	return stmt{
		sql:  `INSERT INTO artefact (record, n, format, kid, scheme, mark, expires, current, content, batch) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9)`,
		args: []any{id[:], int64(n), string(a.Format), a.KID, string(a.Scheme), mark, unix(a.Expires), key.aead.Seal(nil, nil, []byte(a.Text), sealFor(id, sealArtefact, n)), batch},
	}
}

// correct makes a record superseded.
func correct(e issuer.Entry) stmt {
	g := e.Corrects
	return stmt{
		sql: `UPDATE record SET version = version + 1, state = $1, reason = $2, changed = $3, correction = $4
			WHERE id = $5 AND version = $6 AND state = $7`,
		args: []any{string(issuer.Superseded), string(e.Line.Reason), unix(e.Line.At), e.ID[:], g.ID[:], g.Version, string(issuer.Valid)},
		one:  issuer.ErrConflict,
	}
}

// list puts the certificates of a record on the lists of their schemes.
func list(id issuer.ID) []stmt {
	return []stmt{
		{sql: `INSERT INTO list (scheme, kid, counter) SELECT DISTINCT scheme, kid, (SELECT base FROM store) FROM artefact WHERE record = $1 AND scheme <> '' ON CONFLICT DO NOTHING`, args: []any{id[:]}},
		count(id),
		{
			sql: `INSERT INTO revoked (scheme, kid, mark, change, expires, record)
				SELECT a.scheme, a.kid, a.mark, l.counter, a.expires, a.record FROM artefact a JOIN list l ON l.scheme = a.scheme AND l.kid = a.kid
				WHERE a.record = $1 AND a.scheme <> ''`,
			args: []any{id[:]},
		},
	}
}

// unlist takes them off.
func unlist(id issuer.ID) []stmt {
	return []stmt{count(id), {sql: `DELETE FROM revoked WHERE record = $1`, args: []any{id[:]}}}
}

// count marks the lists of a record's certificates as changed.
func count(id issuer.ID) stmt {
	return stmt{
		sql:  `UPDATE list SET counter = counter + 1 WHERE (scheme, kid) IN (SELECT scheme, kid FROM artefact WHERE record = $1 AND scheme <> '')`,
		args: []any{id[:]},
	}
}

// Replay implements [issuer.Book].
func (s *Store) Replay(ctx context.Context, asked issuer.Asked, line issuer.Line) (*issuer.Held, error) {
	var known, id []byte
	err := s.db.readRow(ctx, `SELECT request, id FROM record WHERE asked = $1`, []any{s.vault.mac("request key", asked.Key)}, &known, &id)
	switch {
	case errors.Is(err, errNoRow):
		return nil, issuer.ErrNotFound
	case err != nil:
		return nil, err
	case !hmac.Equal(known, s.vault.mac("request", string(asked.Content))):
		return nil, issuer.ErrKeyReused
	}
	line.Record = issuer.ID(id)
	return s.Read(ctx, line.Record, line)
}

// Read implements [issuer.Book].
func (s *Store) Read(ctx context.Context, id issuer.ID, line issuer.Line) (*issuer.Held, error) {
	var sealed sealedRecord
	err := s.db.write(ctx, func(t tx) error {
		var err error
		if sealed, err = readSealed(t, id); err != nil {
			return err
		}
		return t.all(s.audit(line))
	})
	if errors.Is(err, errNoRow) {
		return nil, issuer.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return s.unseal(sealed)
}

// sealedRecord is a record as it stands in the database.
type sealedRecord struct {
	head      issuer.Head
	slot      int64
	content   []byte
	artefacts []issuer.Artefact
	texts     [][]byte
}

const headColumns = `id, slot, version, state, reason, issued, changed, corrects, correction, organisation, facility`

// scanHead reads the columns of a head, and those after them into more.
func scanHead(s scan, more ...any) (h issuer.Head, slot int64, err error) {
	var id, corrects, correction []byte
	var state, reason string
	var issued, changed int64
	if err := s(append([]any{&id, &slot, &h.Version, &state, &reason, &issued, &changed, &corrects, &correction, &h.Place.Organisation, &h.Place.Facility}, more...)...); err != nil {
		return h, 0, err
	}
	for _, c := range []struct {
		to   *issuer.ID
		from []byte
	}{{&h.ID, id}, {&h.Corrects, corrects}, {&h.Correction, correction}} {
		copy(c.to[:], c.from)
	}
	h.State, h.Reason, h.Issued, h.Changed = issuer.State(state), issuer.Reason(reason), fromUnix(issued), fromUnix(changed)
	return h, slot, nil
}

func readSealed(t tx, id issuer.ID) (r sealedRecord, err error) {
	found := false
	err = t.rows(`SELECT `+headColumns+`, content FROM record WHERE id = $1`, []any{id[:]}, func(s scan) (err error) {
		found = true
		r.head, r.slot, err = scanHead(s, &r.content)
		return err
	})
	if err == nil && !found {
		err = errNoRow
	}
	if err != nil {
		return r, err
	}
	err = t.rows(`SELECT format, kid, scheme, mark, expires, current, content FROM artefact WHERE record = $1 ORDER BY n`, []any{id[:]}, func(s scan) error {
		var a issuer.Artefact
		var kind, scheme string
		var expires, current int64
		var text []byte
		if err := s(&kind, &a.KID, &scheme, &a.Mark, &expires, &current, &text); err != nil {
			return err
		}
		a.Format, a.Scheme, a.Expires, a.Current = issuer.Format(kind), issuer.Scheme(scheme), fromUnix(expires), current == 1
		if len(a.Mark) == 0 {
			a.Mark = nil
		}
		if a.Current {
			r.head.Formats = append(r.head.Formats, a.Format)
		}
		r.artefacts, r.texts = append(r.artefacts, a), append(r.texts, text)
		return nil
	})
	return r, err
}

// unseal opens a record with its key.
func (s *Store) unseal(r sealedRecord) (*issuer.Held, error) {
	key, err := s.vault.key(r.slot)
	if err != nil {
		return nil, err
	}
	open := func(data []byte, kind string, n int) ([]byte, error) {
		plain, err := key.aead.Open(nil, nil, data, sealFor(r.head.ID, kind, n))
		if err != nil {
			return nil, fmt.Errorf("store: record %s: its content: %w", r.head.ID, ErrDamaged)
		}
		return plain, nil
	}
	content, err := open(r.content, sealRecord, 0)
	if err != nil {
		return nil, err
	}
	held := &issuer.Held{Head: r.head, Record: new(cert.Certificate), Artefacts: r.artefacts}
	if err := json.Unmarshal(content, held.Record); err != nil {
		// The text of err can repeat a part of the record.
		return nil, fmt.Errorf("store: record %s: its content is no record: %w", r.head.ID, ErrDamaged)
	}
	for n, text := range r.texts {
		plain, err := open(text, sealArtefact, n)
		if err != nil {
			return nil, err
		}
		held.Artefacts[n].Text = string(plain)
	}
	return held, nil
}

// Head implements [issuer.Book].
func (s *Store) Head(ctx context.Context, id issuer.ID) (h issuer.Head, err error) {
	heads, err := s.heads(ctx, `WHERE id = $1`, id[:])
	if err == nil && len(heads) == 0 {
		err = issuer.ErrNotFound
	}
	if err != nil {
		return issuer.Head{}, err
	}
	return heads[0], nil
}

// heads reads heads by a condition, with the formats of their certificates.
func (s *Store) heads(ctx context.Context, where string, args ...any) (heads []issuer.Head, err error) {
	err = s.db.read(ctx, func(t tx) (err error) {
		heads, err = readHeads(t, where, args...)
		return err
	})
	return heads, err
}

func readHeads(t tx, where string, args ...any) (heads []issuer.Head, err error) {
	err = t.rows(`SELECT `+headColumns+` FROM record `+where, args, func(s scan) error {
		h, _, err := scanHead(s)
		heads = append(heads, h)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range heads {
		h := &heads[i]
		err := t.rows(`SELECT format FROM artefact WHERE record = $1 AND current = 1 ORDER BY n`, []any{h.ID[:]}, func(s scan) error {
			var f string
			err := s(&f)
			h.Formats = append(h.Formats, issuer.Format(f))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return heads, nil
}

// Find implements [issuer.Book].
func (s *Store) Find(ctx context.Context, terms []issuer.Term, within issuer.Place, limit int, line issuer.Line) (heads []issuer.Head, err error) {
	macs := make([]any, len(terms))
	for i, t := range terms {
		macs[i] = s.termMAC(t)
	}
	err = s.db.write(ctx, func(t tx) error {
		heads = nil
		var ids []issuer.ID
		if err := t.all(s.audit(line), findTerms(macs, &ids)); err != nil {
			return err
		}
		for _, id := range ids {
			found, err := readHeads(t, `WHERE id = $1`, id[:])
			if err != nil {
				return err
			}
			if len(found) > 0 && within.Holds(found[0].Place) {
				if heads = append(heads, found[0]); len(heads) == limit {
					break
				}
			}
		}
		return nil
	})
	return heads, err
}

// List implements [issuer.Book].
func (s *Store) List(ctx context.Context, within issuer.Place, before issuer.ID, limit int) ([]issuer.Head, error) {
	if before == (issuer.ID{}) {
		before = lastID
	}
	where, args := `WHERE id < $1`, []any{before[:]}
	for _, c := range []struct{ column, value string }{{"organisation", within.Organisation}, {"facility", within.Facility}} {
		if c.value != "" {
			args = append(args, c.value)
			where += fmt.Sprintf(` AND %s = $%d`, c.column, len(args))
		}
	}
	args = append(args, int64(limit))
	return s.heads(ctx, where+fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args)), args...)
}

// lastID is after every record.
var lastID = issuer.ID(bytes.Repeat([]byte{0xff}, 16))

// Change implements [issuer.Book].
func (s *Store) Change(ctx context.Context, c issuer.Change) error {
	stmts := []stmt{{
		sql:  `UPDATE record SET version = version + 1, state = $1, reason = $2, changed = $3 WHERE id = $4 AND version = $5 AND state = $6`,
		args: []any{string(c.To), string(c.Line.Reason), unix(c.Line.At), c.ID[:], c.Version, string(c.From)},
		one:  issuer.ErrConflict,
	}}
	if c.To == issuer.Valid {
		stmts = append(stmts, unlist(c.ID)...)
	} else {
		stmts = append(stmts, list(c.ID)...)
	}
	stmts = append(stmts, s.audit(c.Line))
	return s.db.write(ctx, func(t tx) error { return t.all(stmts...) })
}

// InForce implements [issuer.Book].
func (s *Store) InForce(ctx context.Context, kid []byte, within issuer.Place, after issuer.ID, limit int, line issuer.Line) ([]issuer.Held, error) {
	var sealed []sealedRecord
	err := s.db.write(ctx, func(t tx) error {
		sealed = nil
		var ids []issuer.ID
		query := `SELECT r.id FROM record r WHERE r.id > $1 AND r.state = $2
			AND ($3 = '' OR r.organisation = $3) AND ($4 = '' OR r.facility = $4) ORDER BY r.id LIMIT $5`
		args := []any{after[:], string(issuer.Valid), within.Organisation, within.Facility, int64(limit)}
		if kid != nil {
			query = `SELECT DISTINCT r.id FROM artefact a JOIN record r ON r.id = a.record
			WHERE r.id > $1 AND r.state = $2 AND ($3 = '' OR r.organisation = $3) AND ($4 = '' OR r.facility = $4)
			AND a.kid = $6 AND a.current = 1 ORDER BY r.id LIMIT $5`
			args = append(args, kid)
		}
		err := t.rows(query, args, func(s scan) error {
			var id []byte
			err := s(&id)
			ids = append(ids, issuer.ID(id))
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			r, err := readSealed(t, id)
			if err != nil {
				return err
			}
			sealed = append(sealed, r)
		}
		return t.all(s.audit(line))
	})
	if err != nil {
		return nil, err
	}
	out := make([]issuer.Held, len(sealed))
	for i, r := range sealed {
		held, err := s.unseal(r)
		if err != nil {
			return nil, err
		}
		out[i] = *held
	}
	return out, nil
}

// Replace implements [issuer.Book].
func (s *Store) Replace(ctx context.Context, r issuer.Replacement) error {
	err := s.db.write(ctx, func(t tx) error {
		var slot, n int64
		err := t.row(`SELECT r.slot, max(a.n) + 1 FROM record r JOIN artefact a ON a.record = r.id WHERE r.id = $1 GROUP BY r.slot`, []any{r.ID[:]}, &slot, &n)
		if err != nil {
			return err
		}
		key, err := s.vault.key(slot)
		if err != nil {
			return err
		}
		stmts := []stmt{{
			sql:  `UPDATE record SET version = version + 1, changed = $1 WHERE id = $2 AND version = $3 AND state = $4`,
			args: []any{unix(r.Line.At), r.ID[:], r.Version, string(issuer.Valid)},
			one:  issuer.ErrConflict,
		}}
		if r.Of != issuer.None {
			stmts = append(stmts, stmt{
				sql:  `UPDATE artefact SET current = 0 WHERE record = $1 AND n = $2 AND current = 1`,
				args: []any{r.ID[:], int64(r.Of)},
				one:  issuer.ErrConflict,
			})
		}
		return t.all(append(stmts, insertArtefact(key, r.ID, int(n), r.Artefact, s.nextBatch.Load()), insertLeaf(r.Leaf, r.Line.At), s.audit(r.Line))...)
	})
	if errors.Is(err, errNoRow) {
		return issuer.ErrNotFound
	}
	return err
}

// Erase implements [issuer.Book]: list, key, rows, in this order (see the package
// comment).
func (s *Store) Erase(ctx context.Context, records []issuer.Guard, line issuer.Line) error {
	s.erasing.Lock()
	defer s.erasing.Unlock()

	var ids []issuer.ID
	var slots []int64
	err := s.db.read(ctx, func(t tx) error {
		ids, slots = nil, nil
		for _, g := range records {
			var slot, version int64
			if err := t.row(`SELECT slot, version FROM record WHERE id = $1`, []any{g.ID[:]}, &slot, &version); err != nil {
				return err
			}
			if version != g.Version {
				return issuer.ErrConflict
			}
			ids, slots = append(ids, g.ID), append(slots, slot)
		}
		return nil
	})
	if errors.Is(err, errNoRow) {
		return issuer.ErrNotFound
	}
	if err != nil {
		return err
	}
	if err := s.vault.erase(ids, slots); err != nil {
		return err
	}
	// From here on there is no way back: a caller that has gone away stops nothing.
	return s.db.write(context.WithoutCancel(ctx), func(t tx) error {
		// From the last that was done: an earlier erasure may have failed here.
		var done int64
		if err := t.row(`SELECT erased FROM store`, nil, &done); err != nil {
			return err
		}
		all, err := s.vault.erasedSince(done)
		if err != nil {
			return err
		}
		return s.forget(t, all, done+int64(len(all)), line)
	})
}

// forget deletes the rows of erased records. What the lists need stays and names
// no record.
func (s *Store) forget(t tx, ids []issuer.ID, done int64, line issuer.Line) error {
	if line.Action == "" {
		line = issuer.Line{At: time.Now(), By: "store", Action: issuer.ActionErase}
	}
	var stmts []stmt
	for _, id := range ids {
		var terms []byte
		err := t.row(`SELECT terms FROM record WHERE id = $1`, []any{id[:]}, &terms)
		if err != nil && !errors.Is(err, errNoRow) { // it may be in no backup yet
			return err
		}
		for mac := range slices.Chunk(terms, termSize) {
			stmts = append(stmts, stmt{sql: `DELETE FROM term WHERE mac = $1 AND record = $2`, args: []any{mac, id[:]}})
		}
		stmts = append(stmts,
			stmt{
				sql:  `UPDATE revoked SET record = $1 WHERE record = $2 AND EXISTS (SELECT 1 FROM record WHERE id = $2 AND state = $3)`,
				args: []any{goneSuperseded, id[:], string(issuer.Superseded)},
			},
			stmt{sql: `UPDATE revoked SET record = NULL WHERE record = $1`, args: []any{id[:]}},
			stmt{sql: `DELETE FROM artefact WHERE record = $1`, args: []any{id[:]}},
			stmt{sql: `DELETE FROM adverse WHERE record = $1`, args: []any{id[:]}},
			stmt{sql: `DELETE FROM dose WHERE record = $1`, args: []any{id[:]}},
			stmt{sql: `DELETE FROM record WHERE id = $1`, args: []any{id[:]}})
		line.Record = id
		stmts = append(stmts, s.audit(line))
	}
	return t.all(append(stmts, stmt{sql: `UPDATE store SET erased = $1`, args: []any{done}, one: ErrDamaged})...)
}

// goneSuperseded stands on the lists in the place of a record that was corrected
// and then erased: a list that changed then would tell of the erasure.
var goneSuperseded = []byte{0}

// Listed implements [issuer.Book].
func (s *Store) Listed(ctx context.Context) (lists []issuer.Listed, err error) {
	err = s.db.read(ctx, func(t tx) error {
		lists = nil
		err := t.rows(`SELECT scheme, kid, counter FROM list ORDER BY scheme, kid`, nil, func(s scan) error {
			var l issuer.Listed
			var scheme string
			err := s(&scheme, &l.KID, &l.Counter)
			l.Scheme = issuer.Scheme(scheme)
			lists = append(lists, l)
			return err
		})
		if err != nil {
			return err
		}
		for i := range lists {
			l := &lists[i]
			err := t.rows(`SELECT l.change, l.mark, l.expires, CASE WHEN l.record = $3 OR r.state = $4 THEN 1 ELSE 0 END FROM revoked l LEFT JOIN record r ON r.id = l.record
				WHERE l.scheme = $1 AND l.kid = $2 ORDER BY l.change, l.mark`, []any{string(l.Scheme), l.KID, goneSuperseded, string(issuer.Superseded)}, func(s scan) error {
				var item issuer.ListedItem
				var expires, superseded int64
				err := s(&item.Change, &item.Mark, &expires, &superseded)
				item.Expires, item.Superseded = fromUnix(expires), superseded == 1
				l.Items = append(l.Items, item)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return lists, err
}
