package store

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ampoule/format/epcis"
	"ampoule/party/custody"
)

// Secret seals what custody gives out and keeps, by a key of this store.
func (g *Goods) Secret() cipher.AEAD { return g.store.vault.people }

// indexed are the statements that enter an event into the indexes.
func indexed(n int64, e *custody.Event) ([]stmt, error) {
	keys := e.Keys
	if keys == nil {
		read, err := e.Kept.Event()
		if err != nil {
			return nil, fmt.Errorf("store: event %s: %w", e.ID, err)
		}
		keys = read.Keys()
	}
	const most = 100 // rows of a statement
	var stmts []stmt
	for len(keys) > 0 {
		some := keys[:min(most, len(keys))]
		keys = keys[len(some):]
		sql := []byte(`INSERT INTO event_key (event, kind, value) VALUES `)
		args := []any{n}
		for i, k := range some {
			if i > 0 {
				sql = append(sql, ", "...)
			}
			args = append(args, string(k.Index), k.Value)
			sql = fmt.Appendf(sql, "($1, $%d, $%d)", len(args)-1, len(args))
		}
		stmts = append(stmts, stmt{sql: string(sql), args: args})
	}
	return stmts, nil
}

// Hashes implements [custody.EventBook].
func (g *Goods) Hashes(ctx context.Context, organisation string, names []custody.Name) (map[custody.Name][sha256.Size]byte, error) {
	var out map[custody.Name][sha256.Size]byte
	err := g.db.read(ctx, func(t tx) error {
		out = map[custody.Name][sha256.Size]byte{}
		for _, name := range names {
			declared := int64(0)
			if name.Declares {
				declared = 1
			}
			var hash []byte
			switch err := t.row(`SELECT hash FROM event WHERE id = $1 AND organisation = $2 AND declared = $3`, []any{name.ID, organisation, declared}, &hash); {
			case err == nil && len(hash) == sha256.Size:
				out[name] = [sha256.Size]byte(hash)
			case err != errNoRow:
				return err
			}
		}
		return nil
	})
	return out, err
}

// question builds a condition with its arguments.
type question struct {
	where []string
	args  []any
}

func (q *question) arg(v any) string {
	q.args = append(q.args, v)
	return "$" + strconv.Itoa(len(q.args))
}

// and adds a condition, in which question marks stand for the arguments.
func (q *question) and(condition string, args ...any) {
	for _, a := range args {
		condition = strings.Replace(condition, "?", q.arg(a), 1)
	}
	q.where = append(q.where, condition)
}

// seenBy is the condition that a place may see an event: that it is its organisation's,
// or that somebody takes part in it whom the organisation registered.
func (q *question) seenBy(at custody.Place) {
	part := `EXISTS (SELECT 1 FROM event_key k JOIN location l ON l.uri = k.value WHERE k.kind = 'p' AND k.event = event.n AND l.organisation = ` + q.arg(at.Organisation)
	if at.Facility != "" {
		q.where = append(q.where, part+` AND l.facility = `+q.arg(at.Facility)+`)`)
		return
	}
	q.where = append(q.where, `(event.organisation = $`+strconv.Itoa(len(q.args))+` OR `+part+`))`)
}

// maxNarrow bounds the values of one condition; a query of more is narrowed by others,
// or by what is found.
const maxNarrow = 500

// Find implements [custody.EventBook].
func (g *Goods) Find(ctx context.Context, s custody.Search) ([]custody.Event, error) {
	q := new(question)
	q.seenBy(s.Within)
	for _, keys := range s.Query.Needs {
		if len(keys) == 0 || len(keys) > maxNarrow {
			continue
		}
		values := make([]string, len(keys))
		for i, k := range keys {
			values[i] = q.arg(k.Value)
		}
		q.where = append(q.where, `event.n IN (SELECT event FROM event_key WHERE kind = `+q.arg(string(keys[0].Index))+` AND value IN (`+strings.Join(values, ", ")+`))`)
	}
	if ids := s.Query.IDs; len(ids) > 0 && len(ids) <= maxNarrow {
		values := make([]string, len(ids))
		for i, id := range ids {
			values[i] = q.arg(id)
		}
		q.where = append(q.where, `event.id IN (`+strings.Join(values, ", ")+`)`)
	}
	for _, b := range []struct {
		column, is string
		at         time.Time
	}{{"at", ">=", s.Query.From}, {"at", "<", s.Query.Until}, {"recorded", ">=", s.Query.RecordedFrom}, {"recorded", "<", s.Query.RecordedUntil}} {
		if !b.at.IsZero() {
			q.and(b.column+" "+b.is+" ?", b.at.UnixMilli())
		}
	}
	if s.Above > 0 {
		q.and("n > ?", s.Above)
	}
	if s.Until > 0 {
		q.and("n <= ?", s.Until)
	}
	column, order, beyond := "", " ASC", ">"
	switch s.Query.OrderBy {
	case "eventTime":
		column = "at"
	case "recordTime":
		column = "recorded"
	}
	if s.Query.Descending {
		order, beyond = " DESC", "<"
	}
	by := "n" + order
	switch {
	case column == "" && s.After != nil:
		q.and("n "+beyond+" ?", s.After.N)
	case column != "":
		by = column + order + ", " + by
		if s.After != nil {
			q.and("("+column+", n) "+beyond+" (?, ?)", s.After.At, s.After.N)
		}
	}
	sql := `SELECT ` + eventColumns + ` FROM event WHERE ` + strings.Join(q.where, " AND ") + ` ORDER BY ` + by + ` LIMIT ` + q.arg(int64(s.Limit))
	return query(ctx, g.db, sql, q.args, scanEvent)
}

// Values implements [custody.EventBook].
func (g *Goods) Values(ctx context.Context, within custody.Place, in epcis.Index, after string, limit int) ([]string, error) {
	q := new(question)
	q.seenBy(within)
	sql := `SELECT DISTINCT event_key.value FROM event_key JOIN event ON event.n = event_key.event WHERE event_key.kind = ` + q.arg(string(in)) +
		` AND event_key.value > ` + q.arg(after) + ` AND ` + strings.Join(q.where, " AND ") + ` ORDER BY event_key.value LIMIT ` + q.arg(int64(limit))
	return query(ctx, g.db, sql, q.args, func(s scan) (v string, err error) { return v, s(&v) })
}

func (g *Goods) number(ctx context.Context, sql string, args ...any) (n int64, err error) {
	err = g.db.readRow(ctx, sql, args, &n)
	return n, err
}

// Last implements [custody.EventBook].
func (g *Goods) Last(ctx context.Context) (int64, error) {
	return g.number(ctx, `SELECT coalesce(max(n), 0) FROM event`)
}

// LastBefore implements [custody.EventBook].
func (g *Goods) LastBefore(ctx context.Context, at time.Time) (int64, error) {
	// Of two that were captured at once the later number may have the earlier time.
	return g.number(ctx, `SELECT coalesce((SELECT min(n) - 1 FROM event WHERE recorded >= $1), (SELECT max(n) FROM event), 0)`, at.UnixMilli())
}

// actionLooked is that events were read.
const actionLooked = "events-read"

// Looked implements [custody.EventBook].
func (g *Goods) Looked(ctx context.Context, l custody.Look) error {
	const most = 1000 // bytes of a query
	said := l.Query
	if len(said) > most {
		said = said[:most]
	}
	return g.db.write(ctx, func(t tx) error {
		return t.all(g.store.line(auditLine{at: unix(l.At), by: l.By, action: actionLooked, reason: strconv.Itoa(l.Count), subject: strings.ToValidUTF8(said, ""), organisation: l.Organisation}))
	})
}

// PutJob implements [custody.EventBook].
func (g *Goods) PutJob(ctx context.Context, j *custody.Job) error {
	content, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return g.db.write(ctx, func(t tx) error {
		return t.all(stmt{sql: `INSERT INTO capture_job (id, organisation, captured, content) VALUES ($1, $2, $3, $4)`, args: []any{string(j.ID), j.Organisation, j.By, content}})
	})
}

func scanCapture(s scan) (j custody.Job, err error) {
	var id string
	var content []byte
	if err := s(&id, &j.Organisation, &j.By, &content); err != nil {
		return j, err
	}
	j.ID = custody.ID(id)
	if err := json.Unmarshal(content, &j); err != nil {
		return j, fmt.Errorf("store: capture %s: %w", id, ErrDamaged)
	}
	return j, nil
}

const captureColumns = `id, organisation, captured, content`

// Job implements [custody.EventBook].
func (g *Goods) Job(ctx context.Context, id custody.ID) (*custody.Job, error) {
	found, err := query(ctx, g.db, `SELECT `+captureColumns+` FROM capture_job WHERE id = $1`, []any{string(id)}, scanCapture)
	return first(found, err, custody.ErrNoJob)
}

// Jobs implements [custody.EventBook].
func (g *Goods) Jobs(ctx context.Context, organisation, by string, before custody.ID, limit int) ([]custody.Job, error) {
	q := new(question)
	q.and("organisation = ?", organisation)
	if by != "" {
		q.and("captured = ?", by)
	}
	if before != "" {
		q.and("id < ?", string(before))
	}
	return query(ctx, g.db, `SELECT `+captureColumns+` FROM capture_job WHERE `+strings.Join(q.where, " AND ")+` ORDER BY id DESC LIMIT `+q.arg(int64(limit)), q.args, scanCapture)
}

// PutQuery implements [custody.EventBook].
func (g *Goods) PutQuery(ctx context.Context, q *custody.NamedQuery) error {
	return g.db.write(ctx, func(t tx) error {
		return t.all(stmt{
			sql:   `INSERT INTO event_query (organisation, name, facility, account, created, content) VALUES ($1, $2, $3, $4, $5, $6)`,
			args:  []any{q.Owner.Within.Organisation, q.Name, q.Owner.Within.Facility, q.Owner.ID, q.Created.UnixMilli(), q.Text},
			taken: custody.ErrQueryTaken,
		})
	})
}

const queryColumns = `organisation, name, facility, account, created, content`

func scanQuery(s scan) (q custody.NamedQuery, err error) {
	var created int64
	at := &q.Owner.Within
	err = s(&at.Organisation, &q.Name, &at.Facility, &q.Owner.ID, &created, &q.Text)
	q.Created = time.UnixMilli(created).UTC()
	return q, err
}

// NamedQuery implements [custody.EventBook].
func (g *Goods) NamedQuery(ctx context.Context, organisation, name string) (*custody.NamedQuery, error) {
	found, err := query(ctx, g.db, `SELECT `+queryColumns+` FROM event_query WHERE organisation = $1 AND name = $2`, []any{organisation, name}, scanQuery)
	return first(found, err, custody.ErrNoQuery)
}

// Queries implements [custody.EventBook].
func (g *Goods) Queries(ctx context.Context, organisation, after string, limit int) ([]custody.NamedQuery, error) {
	return query(ctx, g.db, `SELECT `+queryColumns+` FROM event_query WHERE organisation = $1 AND name > $2 ORDER BY name LIMIT $3`, []any{organisation, after, int64(limit)}, scanQuery)
}

// DropQuery implements [custody.EventBook].
func (g *Goods) DropQuery(ctx context.Context, organisation, name string) error {
	return g.db.write(ctx, func(t tx) error {
		return t.all(
			stmt{sql: `DELETE FROM event_query WHERE organisation = $1 AND name = $2`, args: []any{organisation, name}, one: custody.ErrNoQuery},
			stmt{sql: `DELETE FROM subscription WHERE organisation = $1 AND query = $2`, args: []any{organisation, name}},
		)
	})
}

// PutSubscription implements [custody.EventBook].
func (g *Goods) PutSubscription(ctx context.Context, s *custody.Subscription) error {
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	scheduled := int64(0)
	if s.Schedule != nil {
		scheduled = 1
	}
	at := s.Owner.Within
	return g.db.write(ctx, func(t tx) error {
		return t.all(
			stmt{sql: `UPDATE event_query SET name = name WHERE organisation = $1 AND name = $2`, args: []any{at.Organisation, s.Query}, one: custody.ErrNoQuery}, // which is not dropped meanwhile
			stmt{
				sql:  `INSERT INTO subscription (id, organisation, query, facility, account, position, due, scheduled, content) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
				args: []any{string(s.ID), at.Organisation, s.Query, at.Facility, s.Owner.ID, s.Position, s.Due.UnixMilli(), scheduled, content},
			},
		)
	})
}

const subscriptionColumns = `id, organisation, query, facility, account, position, due, content`

func scanSubscription(s scan) (x custody.Subscription, err error) {
	var id string
	var due int64
	var content []byte
	at := &x.Owner.Within
	if err := s(&id, &at.Organisation, &x.Query, &at.Facility, &x.Owner.ID, &x.Position, &due, &content); err != nil {
		return x, err
	}
	x.ID, x.Due = custody.ID(id), time.UnixMilli(due).UTC()
	if err := json.Unmarshal(content, &x); err != nil {
		return x, fmt.Errorf("store: subscription %s: %w", id, ErrDamaged)
	}
	return x, nil
}

// Subscription implements [custody.EventBook].
func (g *Goods) Subscription(ctx context.Context, id custody.ID) (*custody.Subscription, error) {
	found, err := query(ctx, g.db, `SELECT `+subscriptionColumns+` FROM subscription WHERE id = $1`, []any{string(id)}, scanSubscription)
	return first(found, err, custody.ErrNoSubscription)
}

// Subscriptions implements [custody.EventBook].
func (g *Goods) Subscriptions(ctx context.Context, organisation, name string, after custody.ID, limit int) ([]custody.Subscription, error) {
	return query(ctx, g.db, `SELECT `+subscriptionColumns+` FROM subscription WHERE organisation = $1 AND query = $2 AND id > $3 ORDER BY id LIMIT $4`,
		[]any{organisation, name, string(after), int64(limit)}, scanSubscription)
}

// Due implements [custody.EventBook].
func (g *Goods) Due(ctx context.Context, at time.Time, limit int) ([]custody.Subscription, error) {
	return query(ctx, g.db, `SELECT `+subscriptionColumns+` FROM subscription
		WHERE due <= $1 AND (scheduled = 1 OR position < (SELECT coalesce(max(n), 0) FROM event)) ORDER BY due, id LIMIT $2`,
		[]any{at.UnixMilli(), int64(limit)}, scanSubscription)
}

// Advance implements [custody.EventBook].
func (g *Goods) Advance(ctx context.Context, s *custody.Subscription) error {
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return g.db.write(ctx, func(t tx) error {
		return t.all(stmt{sql: `UPDATE subscription SET position = $1, due = $2, content = $3 WHERE id = $4`, args: []any{s.Position, s.Due.UnixMilli(), content, string(s.ID)}})
	})
}

// DropSubscription implements [custody.EventBook].
func (g *Goods) DropSubscription(ctx context.Context, id custody.ID) error {
	return g.db.write(ctx, func(t tx) error {
		return t.all(stmt{sql: `DELETE FROM subscription WHERE id = $1`, args: []any{string(id)}, one: custody.ErrNoSubscription})
	})
}
