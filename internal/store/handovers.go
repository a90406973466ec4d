package store

import (
	"context"
	"fmt"
	"strings"

	"ampoule/party/custody"
)

// PutHandover implements [custody.StockBook].
func (g *Goods) PutHandover(ctx context.Context, h *custody.Handover, l custody.Line) error {
	g.capturing.Lock() // while it is numbered
	defer g.capturing.Unlock()
	return g.db.write(ctx, func(t tx) error {
		line := g.store.line(auditLine{at: unix(l.At), by: l.By, action: l.Action, subject: h.ID, reason: l.Reason, organisation: l.Organisation})
		if h.Version > 1 {
			return t.all(stmt{
				sql:  `UPDATE handover SET version = $1, content = $2 WHERE id = $3 AND version = $4`,
				args: []any{h.Version, h.File, h.ID, h.Version - 1},
				one:  custody.ErrConflict,
			}, line)
		}
		var last int64
		if err := t.row(`SELECT coalesce(max(n), 0) FROM handover`, nil, &last); err != nil {
			return err
		}
		h.N = last + 1
		return t.all(stmt{
			sql: `INSERT INTO handover (id, n, version, giver, giver_facility, receiver, receiver_facility, at, content)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			args:  []any{h.ID, h.N, h.Version, h.Giver.Organisation, h.Giver.Facility, h.Receiver.Organisation, h.Receiver.Facility, unix(h.At), h.File},
			taken: custody.ErrConflict,
		}, line)
	})
}

const handoverColumns = `id, n, version, giver, giver_facility, receiver, receiver_facility, at, content`

func scanHandover(s scan) (h custody.Handover, err error) {
	var at int64
	err = s(&h.ID, &h.N, &h.Version, &h.Giver.Organisation, &h.Giver.Facility, &h.Receiver.Organisation, &h.Receiver.Facility, &at, &h.File)
	h.At = fromUnix(at)
	return h, err
}

// Handover implements [custody.StockBook].
func (g *Goods) Handover(ctx context.Context, id string) (*custody.Handover, error) {
	found, err := query(ctx, g.db, `SELECT `+handoverColumns+` FROM handover WHERE id = $1`, []any{id}, scanHandover)
	return first(found, err, custody.ErrNoHandover)
}

// HandoversAt implements [custody.StockBook].
func (g *Goods) HandoversAt(ctx context.Context, at custody.Place, before int64, limit int) ([]custody.Handover, error) {
	args := []any{at.Organisation, int64(limit)}
	var sides []string
	if at.Facility != "" {
		args = append(args, at.Facility)
	}
	for _, side := range []string{"giver", "receiver"} {
		where := side + " = $1"
		if at.Facility != "" {
			where += " AND " + side + "_facility = $3"
		}
		sides = append(sides, "("+where+")")
	}
	where := "(" + strings.Join(sides, " OR ") + ")"
	if before > 0 {
		args = append(args, before)
		where += fmt.Sprintf(" AND n < $%d", len(args))
	}
	return query(ctx, g.db, `SELECT `+handoverColumns+` FROM handover WHERE `+where+` ORDER BY n DESC LIMIT $2`, args, scanHandover)
}
