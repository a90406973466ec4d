package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ampoule/cert"
	"ampoule/party/issuer"
)

// sealFor the content of a version of an adverse event.
func sealForAdverse(record, id issuer.ID, version int64) []byte {
	return sealFor(record, sealAdverse+string(id[:]), int(version))
}

// moveAdverse counts what was reported of a record for the one that corrects it.
func moveAdverse(e issuer.Entry) stmt {
	return stmt{sql: `UPDATE adverse SET counted = $1 WHERE counted = $2`, args: []any{e.ID[:], e.Corrects.ID[:]}}
}

// DoseDay implements [issuer.Book].
func (s *Store) DoseDay(ctx context.Context, id issuer.ID) (cert.Date, error) {
	var day string
	err := s.db.readRow(ctx, `SELECT day FROM dose WHERE record = $1`, []any{id[:]}, &day)
	if errors.Is(err, errNoRow) {
		err = issuer.ErrNoLot
	}
	return cert.Date(day), err
}

// PutAdverse implements [issuer.Book].
func (s *Store) PutAdverse(ctx context.Context, a *issuer.AdverseReport, line issuer.Line) error {
	// Nothing is sealed for a record while its key is being erased.
	s.erasing.RLock()
	defer s.erasing.RUnlock()
	content, err := json.Marshal(a.Adverse)
	if err != nil {
		return fmt.Errorf("store: adverse event: %w", err)
	}
	var same *issuer.AdverseReport
	err = s.db.write(ctx, func(t tx) error {
		same = nil
		// What else is done to the record at the same time waits for this, or this for it.
		err := t.all(stmt{sql: `UPDATE record SET version = version WHERE id = $1 AND state <> $2`, args: []any{a.Record[:], string(issuer.Superseded)}, one: issuer.ErrState})
		if err != nil {
			return err
		}
		record := a.Record
		known, err := s.readAdverse(t, `WHERE a.counted = $1`, record[:])
		if err != nil {
			return err
		}
		if a.Version == 1 {
			if n := slices.IndexFunc(known, a.Says); n >= 0 {
				same = &known[n]
				return nil
			}
			if len(known) >= issuer.MaxAdverse {
				return issuer.ErrManyAdverse
			}
		}
		if a.Version > 1 {
			found := false
			for _, k := range known {
				if k.ID != a.ID {
					continue
				}
				switch found = true; {
				case k.Version != a.Version-1:
					return issuer.ErrConflict
				case k.Withdrawn:
					return issuer.ErrWithdrawn
				}
				record = k.Record
			}
			if !found {
				return issuer.ErrNoAdverse
			}
		}
		var slot int64
		if err := t.row(`SELECT slot FROM record WHERE id = $1`, []any{record[:]}, &slot); err != nil {
			return err
		}
		key, err := s.vault.key(slot)
		if err != nil {
			return err
		}
		return t.all(
			stmt{
				sql:   `INSERT INTO adverse (id, version, record, counted, content) VALUES ($1, $2, $3, $4, $5)`,
				args:  []any{a.ID[:], a.Version, record[:], a.Record[:], key.aead.Seal(nil, nil, content, sealForAdverse(record, a.ID, a.Version))},
				taken: issuer.ErrConflict,
			},
			s.audit(line))
	})
	if errors.Is(err, errNoRow) {
		return issuer.ErrNotFound
	}
	if err == nil && same != nil {
		*a = *same
	}
	return err
}

// Adverse implements [issuer.Book].
func (s *Store) Adverse(ctx context.Context, id issuer.ID, line issuer.Line) (out []issuer.AdverseReport, err error) {
	err = s.db.write(ctx, func(t tx) error {
		if err := t.all(s.audit(line)); err != nil {
			return err
		}
		out, err = s.readAdverse(t, `WHERE a.counted = $1`, id[:])
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readAdverse opens the newest versions of adverse events, in the order of their reports.
func (s *Store) readAdverse(t tx, where string, args ...any) (out []issuer.AdverseReport, err error) {
	type sealed struct {
		slot    int64
		content []byte
	}
	var rows []sealed
	err = t.rows(`SELECT a.id, a.version, a.record, a.content, r.slot FROM adverse a JOIN record r ON r.id = a.record `+where+`
		AND a.version = (SELECT max(version) FROM adverse v WHERE v.id = a.id) ORDER BY a.id`, args, func(scan scan) error {
		var a issuer.AdverseReport
		var id, record []byte
		var row sealed
		if err := scan(&id, &a.Version, &record, &row.content, &row.slot); err != nil {
			return err
		}
		if copy(a.ID[:], id) != len(a.ID) || copy(a.Record[:], record) != len(a.Record) {
			return fmt.Errorf("store: adverse event: %w", ErrDamaged)
		}
		out, rows = append(out, a), append(rows, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for n := range out {
		a := &out[n]
		key, err := s.vault.key(rows[n].slot)
		if err != nil {
			return nil, err
		}
		plain, err := key.aead.Open(nil, nil, rows[n].content, sealForAdverse(a.Record, a.ID, a.Version))
		if err == nil {
			err = json.Unmarshal(plain, &a.Adverse)
		}
		if err != nil {
			// Its text can repeat a part of the report.
			return nil, fmt.Errorf("store: adverse event %s: %w", a.ID, ErrDamaged)
		}
	}
	return out, nil
}

// LotAdverse implements [issuer.Book].
func (s *Store) LotAdverse(ctx context.Context, lot string, within issuer.Place, each func(issuer.LotDoses) error) error {
	const given = `d.lot = $1 AND ($2 = '' OR d.organisation = $2) AND ($3 = '' OR d.facility = $3)
		AND (r.state = 'valid' OR r.state = 'revoked' AND r.reason <> 'not-given')`
	args := []any{s.lotMAC(lot), within.Organisation, within.Facility}
	type part struct{ organisation, facility, products string }
	doses, events := map[part]int{}, map[part][]issuer.Adverse{}
	var parts []part
	err := s.db.read(ctx, func(t tx) error {
		clear(doses)
		clear(events)
		parts = nil
		err := t.rows(`SELECT d.organisation, d.facility, d.products, count(*) FROM dose d JOIN record r ON r.id = d.record WHERE `+given+`
			GROUP BY d.organisation, d.facility, d.products ORDER BY d.organisation, d.facility, d.products`, args, func(scan scan) error {
			var p part
			var n int64
			err := scan(&p.organisation, &p.facility, &p.products, &n)
			parts, doses[p] = append(parts, p), int(n)
			return err
		})
		if err != nil {
			return err
		}
		of := map[issuer.ID]part{}
		var order []issuer.ID
		err = t.rows(`SELECT DISTINCT a.counted, d.organisation, d.facility, d.products FROM adverse a JOIN dose d ON d.record = a.counted JOIN record r ON r.id = d.record
			WHERE `+given, args, func(scan scan) error {
			var id []byte
			var p part
			err := scan(&id, &p.organisation, &p.facility, &p.products)
			record := issuer.ID(bytes.Clone(id))
			of[record], order = p, append(order, record)
			return err
		})
		if err != nil {
			return err
		}
		for _, record := range order {
			reports, err := s.readAdverse(t, `WHERE a.counted = $1`, record[:])
			if errors.Is(err, issuer.ErrUnreadable) {
				continue // it is being erased
			}
			if err != nil {
				return err
			}
			for _, a := range reports {
				if !a.Withdrawn {
					events[of[record]] = append(events[of[record]], a.Adverse)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range parts {
		d := issuer.LotDoses{Place: issuer.Place{Organisation: p.organisation, Facility: p.facility}, Doses: doses[p], Adverse: events[p]}
		if err := json.Unmarshal([]byte(p.products), &d.Products); err != nil {
			return fmt.Errorf("store: dose: %w", ErrDamaged)
		}
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}
