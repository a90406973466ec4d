package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"ampoule/format/uuid"
	"ampoule/party/custody"
	"ampoule/thing"
)

// numberLots makes lots findable by their numbers.
func numberLots(lots map[string]string) []stmt {
	var stmts []stmt
	for lot, number := range lots {
		stmts = append(stmts, stmt{sql: `INSERT INTO lot_number (number, lot) VALUES ($1, $2) ON CONFLICT DO NOTHING`, args: []any{number, lot}})
	}
	return stmts
}

// LotsNumbered implements [custody.EventBook].
func (g *Goods) LotsNumbered(ctx context.Context, number string) ([]string, error) {
	return query(ctx, g.db, `SELECT lot FROM lot_number WHERE number = $1 ORDER BY lot`, []any{number}, scanText)
}

func scanText(s scan) (text string, err error) {
	err = s(&text)
	return text, err
}

// PutConcern implements [custody.StockBook].
func (g *Goods) PutConcern(ctx context.Context, c *custody.Concern) error {
	content, err := json.Marshal(c)
	if err != nil {
		return err
	}
	stands := int64(0)
	if c.Stands {
		stands = 1
	}
	return g.db.write(ctx, func(t tx) error {
		if c.Version == 1 {
			return t.all(stmt{sql: `INSERT INTO concern (id, version, stands, lot, content) VALUES ($1, $2, $3, $4, $5)`,
				args: []any{string(c.ID), c.Version, stands, c.Lot, content}, taken: custody.ErrConflict})
		}
		return t.all(stmt{sql: `UPDATE concern SET version = $1, stands = $2, content = $3 WHERE id = $4 AND version = $5`,
			args: []any{c.Version, stands, content, string(c.ID), c.Version - 1}, one: custody.ErrConflict})
	})
}

// Concerns implements [custody.StockBook].
func (g *Goods) Concerns(ctx context.Context, lot string) ([]custody.Concern, error) {
	where, args := "stands = 1", []any(nil)
	if lot != "" {
		where, args = "stands = 1 AND lot = $1", []any{lot}
	}
	return query(ctx, g.db, `SELECT id, version, stands, content FROM concern WHERE `+where+` ORDER BY lot, id`, args, func(s scan) (c custody.Concern, err error) {
		var id string
		var stands int64
		var content []byte
		if err := s(&id, &c.Version, &stands, &content); err != nil {
			return c, err
		}
		if err := json.Unmarshal(content, &c); err != nil {
			return c, fmt.Errorf("store: concern %s: %w", id, ErrDamaged)
		}
		c.ID, c.Stands = custody.ID(id), stands == 1
		return c, nil
	})
}

// PutStatements implements [custody.StockBook].
func (g *Goods) PutStatements(ctx context.Context, at time.Time, statements map[thing.StatementID][]byte) error {
	return g.db.write(ctx, func(t tx) error {
		var stmts []stmt
		for id, message := range statements {
			stmts = append(stmts, stmt{sql: `INSERT INTO lot_statement (id, at, message) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, args: []any{id[:], unix(at), message}})
		}
		return t.all(stmts...)
	})
}

// Statements implements [custody.StockBook].
func (g *Goods) Statements(ctx context.Context) ([][]byte, error) {
	return query(ctx, g.db, `SELECT message FROM lot_statement ORDER BY at, id`, nil, func(s scan) (message []byte, err error) {
		err = s(&message)
		return message, err
	})
}

// Certified implements [custody.StockBook].
func (g *Goods) Certified(ctx context.Context, number string, each func(*custody.Certified) error) error {
	return g.db.read(ctx, func(t tx) error {
		var c custody.Certified
		last := ""
		return t.rows(`SELECT d.record, d.products, d.day, d.organisation, d.facility, d.session, a.format, a.scheme, a.kid, a.mark
			FROM dose d JOIN record r ON r.id = d.record JOIN artefact a ON a.record = d.record
			WHERE d.lot = $1 AND r.state = 'valid' AND a.current = 1 ORDER BY d.record, a.n`, []any{g.mac(number)}, func(s scan) error {
			var record []byte
			var products string
			if err := s(&record, &products, &c.Day, &c.At.Organisation, &c.At.Facility, &c.Session, &c.Format, &c.Scheme, &c.KID, &c.Mark); err != nil {
				return err
			}
			if copy(c.Record[:], record) != len(uuid.UUID{}) {
				return fmt.Errorf("store: dose: %w", ErrDamaged)
			}
			if products != last {
				c.Products = nil
				if err := json.Unmarshal([]byte(products), &c.Products); err != nil {
					return fmt.Errorf("store: dose: %w", ErrDamaged)
				}
				last = products
			}
			return each(&c)
		})
	})
}

// Dosed implements [custody.StockBook].
func (g *Goods) Dosed(ctx context.Context, record uuid.UUID) (*custody.Dosed, error) {
	found, err := query(ctx, g.db, `SELECT products, day, organisation, facility, session FROM dose WHERE record = $1`, []any{record[:]}, func(s scan) (d custody.Dosed, err error) {
		var products, session string
		if err := s(&products, &d.Day, &d.At.Organisation, &d.At.Facility, &session); err != nil {
			return d, err
		}
		if err := json.Unmarshal([]byte(products), &d.Products); err != nil {
			return d, fmt.Errorf("store: dose: %w", ErrDamaged)
		}
		d.Session = custody.ID(session)
		return d, nil
	})
	return first(found, err, custody.ErrNoDose)
}
