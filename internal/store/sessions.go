package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"ampoule/party/custody"
)

// PutSession implements [custody.StockBook].
func (g *Goods) PutSession(ctx context.Context, s *custody.Session, events []custody.Event, l custody.Line) error {
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	g.capturing.Lock()
	defer g.capturing.Unlock()
	return g.db.write(ctx, func(t tx) error {
		if _, err := captureAll(t, events); err != nil {
			return err
		}
		put := stmt{
			sql: `INSERT INTO stock_session (id, organisation, facility, version, lot, opened, discard, ended, doses, given, wasted, content)
				VALUES ($1, $2, $3, 1, $4, $5, $6, 0, $7, 0, 0, $8)`,
			args:  []any{string(s.ID), s.Place.Organisation, s.Place.Facility, s.Lot, unix(s.Opened), unix(s.Discard), s.Doses, content},
			taken: custody.ErrConflict,
		}
		if s.Version > 1 {
			// The doses that were given are counted as records are kept, and by nobody else.
			put = stmt{
				sql:  `UPDATE stock_session SET version = $1, ended = $2, wasted = $3, content = $4 WHERE id = $5 AND version = $6 AND ended = 0`,
				args: []any{s.Version, unix(s.Ended), s.Wasted, content, string(s.ID), s.Version - 1},
				one:  custody.ErrConflict,
			}
		}
		return t.all(put, g.store.line(auditLine{at: unix(l.At), by: l.By, action: l.Action, subject: string(s.ID), reason: l.Reason, organisation: s.Place.Organisation}))
	})
}

const stockSessionColumns = `id, organisation, facility, version, lot, opened, discard, ended, doses, given, wasted, content`

func scanStockSession(s scan) (x custody.Session, err error) {
	var id string
	var opened, discard, ended int64
	var content []byte
	if err := s(&id, &x.Place.Organisation, &x.Place.Facility, &x.Version, &x.Lot, &opened, &discard, &ended, &x.Doses, &x.Given, &x.Wasted, &content); err != nil {
		return x, err
	}
	if err := json.Unmarshal(content, &x); err != nil {
		return x, fmt.Errorf("store: session %s: %w", id, ErrDamaged)
	}
	x.ID, x.Opened, x.Discard, x.Ended = custody.ID(id), fromUnix(opened), fromUnix(discard), fromUnix(ended)
	return x, nil
}

// Session implements [custody.StockBook].
func (g *Goods) Session(ctx context.Context, id custody.ID) (*custody.Session, error) {
	found, err := query(ctx, g.db, `SELECT `+stockSessionColumns+` FROM stock_session WHERE id = $1`, []any{string(id)}, scanStockSession)
	return first(found, err, custody.ErrNoSession)
}

// SessionsAt implements [custody.StockBook].
func (g *Goods) SessionsAt(ctx context.Context, at custody.Place, open bool, before custody.ID, limit int) ([]custody.Session, error) {
	where, args := []string{"organisation = $1"}, []any{at.Organisation, int64(limit)}
	if at.Facility != "" {
		args = append(args, at.Facility)
		where = append(where, fmt.Sprintf("facility = $%d", len(args)))
	}
	if before != "" {
		args = append(args, string(before))
		where = append(where, fmt.Sprintf("id < $%d", len(args)))
	}
	if open {
		where = append(where, "ended = 0")
	}
	return query(ctx, g.db, `SELECT `+stockSessionColumns+` FROM stock_session WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT $2`, args, scanStockSession)
}
