package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"ampoule/party/custody"
	"ampoule/thing/trail"
)

// Goods are the events and the stock of a store. They are plain: nothing in them is of a
// person.
type Goods struct {
	db        engine
	store     *Store
	mac       func(lot string) []byte // what doses of a lot are found by
	capturing sync.Mutex              // held while events are numbered
}

var (
	_ custody.EventBook = (*Goods)(nil)
	_ custody.StockBook = (*Goods)(nil)
)

// Goods is what custody keeps in the store.
func (s *Store) Goods() *Goods { return &s.goods }

// Capture implements [custody.EventBook].
func (g *Goods) Capture(ctx context.Context, events []custody.Event) (added int, err error) {
	g.capturing.Lock()
	defer g.capturing.Unlock()
	err = g.db.write(ctx, func(t tx) (err error) {
		added, err = captureAll(t, events)
		return err
	})
	return added, err
}

// captureAll writes events and numbers them. The caller holds capturing.
func captureAll(t tx, events []custody.Event) (added int, err error) {
	var last int64
	if err := t.row(`SELECT coalesce(max(n), 0) FROM event`, nil, &last); err != nil {
		return 0, err
	}
	for i := range events {
		n, err := capture(t, &events[i], last+1)
		if err != nil {
			return 0, err
		}
		if n == last+1 {
			last++
			added++
		}
		events[i].N = n
	}
	return added, nil
}

// capture writes one event under a number, or returns the number of the same one that
// is there.
func capture(t tx, e *custody.Event, n int64) (int64, error) {
	declared := int64(0)
	if e.Declares {
		declared = 1
	}
	var before int64
	var hash []byte
	switch err := t.row(`SELECT n, hash FROM event WHERE id = $1 AND declared = $2 AND organisation = $3`, []any{e.ID, declared, e.Organisation}, &before, &hash); {
	case err == nil && bytes.Equal(hash, e.Hash[:]):
		return before, nil
	case err == nil:
		return 0, fmt.Errorf("store: event %s: %w", e.ID, custody.ErrOtherEvent)
	case err != errNoRow:
		return 0, err
	}
	prefixes, err := json.Marshal(e.Kept.Prefixes)
	if err != nil {
		return 0, err
	}
	stmts := []stmt{{
		sql:  `INSERT INTO event (n, id, declared, hash, at, recorded, organisation, captured, content, prefixes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		args: []any{n, e.ID, declared, e.Hash[:], e.At.UnixMilli(), e.Recorded.UnixMilli(), e.Organisation, e.By, e.Kept.JSON, prefixes},
	}}
	keys, err := indexed(n, e)
	if err != nil {
		return 0, err
	}
	stmts = append(stmts, keys...)
	wrong := int64(0)
	if e.Declares {
		stmts = append(stmts, stmt{sql: `DELETE FROM move WHERE event IN (SELECT n FROM event WHERE id = $1 AND declared = 0 AND organisation = $2)`, args: []any{e.ID, e.Organisation}})
	} else if err := t.row(`SELECT count(*) FROM event WHERE id = $1 AND declared = 1 AND organisation = $2`, []any{e.ID, e.Organisation}, &wrong); err != nil {
		return 0, err
	}
	if wrong == 0 {
		stmts = append(stmts, numberLots(custody.LotsOf(e.Moves))...)
		for k, m := range e.Moves {
			stmts = append(stmts, stmt{
				sql:  `INSERT INTO move (event, k, thing, lot, other, place, deed, at, amount, unit, papers) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
				args: []any{n, int64(k), m.Thing, m.Lot, m.Other, m.Place, string(m.Deed), m.At.UnixMilli(), m.Amount, m.Unit, strings.Join(m.Papers, "\n")},
			})
		}
	}
	return n, t.all(stmts...)
}

const moveColumns = `event.id, move.thing, move.lot, move.other, move.place, move.deed, move.at, move.amount, move.unit, move.papers`

func scanMove(s scan) (m trail.Move, err error) {
	var at int64
	var deed, papers string
	if err := s(&m.Event, &m.Thing, &m.Lot, &m.Other, &m.Place, &deed, &at, &m.Amount, &m.Unit, &papers); err != nil {
		return m, err
	}
	m.At, m.Deed = time.UnixMilli(at).UTC(), trail.Deed(deed)
	if papers != "" {
		m.Papers = strings.Split(papers, "\n")
	}
	return m, nil
}

// Moves implements [custody.EventBook].
func (g *Goods) Moves(ctx context.Context, lot string) (moves []trail.Move, err error) {
	err = g.db.read(ctx, func(t tx) error {
		moves = nil
		seen := map[string]bool{lot: true}
		things := []string{lot}
		add := func(thing string) {
			if thing != "" && !seen[thing] {
				seen[thing] = true
				things = append(things, thing)
			}
		}
		var item string
		if err := t.rows(`SELECT DISTINCT thing FROM move WHERE lot = $1 AND lot <> ''`, []any{lot}, func(s scan) error {
			err := s(&item)
			add(item)
			return err
		}); err != nil {
			return err
		}
		// What it was packed into, what that was packed into, and so on.
		for i := 0; i < len(things); i++ {
			if len(things) > custody.MaxThings {
				return fmt.Errorf("store: lot %s: more than %d items and containers: %w", lot, custody.MaxThings, custody.ErrTooMany)
			}
			if err := t.rows(`SELECT `+moveColumns+` FROM move JOIN event ON event.n = move.event WHERE move.thing = $1`, []any{things[i]}, func(s scan) error {
				m, err := scanMove(s)
				if err != nil {
					return err
				}
				moves = append(moves, m)
				if m.Deed == trail.Packed {
					add(m.Other)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		// A container that was emptied as a whole names no thing.
		for _, thing := range things {
			if err := t.rows(`SELECT `+moveColumns+` FROM move JOIN event ON event.n = move.event WHERE move.thing = '' AND move.other = $1`, []any{thing}, func(s scan) error {
				m, err := scanMove(s)
				moves = append(moves, m)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return moves, err
}

// LotsAt implements [custody.EventBook].
func (g *Goods) LotsAt(ctx context.Context, locations []string) ([]string, error) {
	seen := map[string]bool{}
	var out []string
	err := g.db.read(ctx, func(t tx) error {
		clear(seen)
		out = nil
		for _, uri := range locations {
			err := t.rows(`SELECT DISTINCT CASE WHEN lot <> '' THEN lot ELSE thing END FROM move WHERE place = $1 ORDER BY 1`, []any{uri}, func(s scan) error {
				var thing string
				err := s(&thing)
				if _, _, _, ok := trail.ParseLotName(thing); ok && !seen[thing] {
					seen[thing] = true
					out = append(out, thing)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

const eventColumns = `n, id, declared, hash, at, recorded, organisation, captured, content, prefixes`

func scanEvent(s scan) (e custody.Event, err error) {
	var declared, at, recorded int64
	var hash, prefixes []byte
	if err := s(&e.N, &e.ID, &declared, &hash, &at, &recorded, &e.Organisation, &e.By, &e.Kept.JSON, &prefixes); err != nil {
		return e, err
	}
	if copy(e.Hash[:], hash) != len(e.Hash) {
		return e, fmt.Errorf("store: event %d: %w", e.N, ErrDamaged)
	}
	if err := json.Unmarshal(prefixes, &e.Kept.Prefixes); err != nil {
		return e, fmt.Errorf("store: event %d: %w", e.N, ErrDamaged)
	}
	e.Declares, e.At, e.Recorded = declared == 1, time.UnixMilli(at).UTC(), time.UnixMilli(recorded).UTC()
	return e, nil
}

// Event implements [custody.EventBook].
func (g *Goods) Event(ctx context.Context, id string) (*custody.Event, error) {
	found, err := query(ctx, g.db, `SELECT `+eventColumns+` FROM event WHERE id = $1 ORDER BY declared DESC`, []any{id}, scanEvent)
	return first(found, err, custody.ErrNoEvent)
}

// PutLocation implements [custody.StockBook].
func (g *Goods) PutLocation(ctx context.Context, l *custody.Location) error {
	content, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return g.db.write(ctx, func(t tx) error {
		if l.Version == 1 {
			return t.all(stmt{
				sql:   `INSERT INTO location (uri, organisation, facility, version, content) VALUES ($1, $2, $3, $4, $5)`,
				args:  []any{l.URI, l.Place.Organisation, l.Place.Facility, l.Version, content},
				taken: custody.ErrConflict,
			})
		}
		return t.all(stmt{
			sql:  `UPDATE location SET facility = $1, version = $2, content = $3 WHERE uri = $4 AND organisation = $5 AND version = $6`,
			args: []any{l.Place.Facility, l.Version, content, l.URI, l.Place.Organisation, l.Version - 1},
			one:  custody.ErrConflict,
		})
	})
}

const locationColumns = `uri, organisation, facility, version, content`

func scanLocation(s scan) (l custody.Location, err error) {
	var content []byte
	if err := s(&l.URI, &l.Place.Organisation, &l.Place.Facility, &l.Version, &content); err != nil {
		return l, err
	}
	if err := json.Unmarshal(content, &l); err != nil {
		return l, fmt.Errorf("store: location %s: %w", l.URI, ErrDamaged)
	}
	return l, nil
}

// Location implements [custody.StockBook].
func (g *Goods) Location(ctx context.Context, uri string) (*custody.Location, error) {
	found, err := query(ctx, g.db, `SELECT `+locationColumns+` FROM location WHERE uri = $1`, []any{uri}, scanLocation)
	return first(found, err, custody.ErrNoLocation)
}

// LocationsAt implements [custody.StockBook].
func (g *Goods) LocationsAt(ctx context.Context, at custody.Place, after string, limit int) ([]custody.Location, error) {
	where, args := []string{"uri > $1"}, []any{after, int64(limit)}
	if at.Organisation != "" {
		args = append(args, at.Organisation)
		where = append(where, fmt.Sprintf("organisation = $%d", len(args)))
	}
	if at.Facility != "" {
		args = append(args, at.Facility)
		where = append(where, fmt.Sprintf("facility = $%d", len(args)))
	}
	return query(ctx, g.db, `SELECT `+locationColumns+` FROM location WHERE `+strings.Join(where, " AND ")+` ORDER BY uri LIMIT $2`, args, scanLocation)
}
