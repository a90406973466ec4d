package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ampoule/party/gateway"
)

// gatewayBook is what a store lists for the operator of a gateway.
type gatewayBook struct{ *Store }

// Gateway returns the store as the book of a gateway.
func (s *Store) Gateway() gateway.Book { return gatewayBook{s} }

const gatewayColumns = `id, number, kind, name, country, grp, domain, kid, claim, signer, created, changed, expires, deleted, about, content, signed`

// auditGateway is the statement that records a line of the gateway.
func (s *Store) auditGateway(l gateway.Line) stmt {
	return s.line(auditLine{at: unix(l.At), by: l.By, action: string(l.Action), subject: l.Subject, reason: l.Reason, organisation: l.Country})
}

// Change implements [gateway.Book].
func (b gatewayBook) Change(ctx context.Context, c gateway.Changes, now time.Time) error {
	return b.db.write(ctx, func(t tx) error {
		// Step 1: the time of the change. Nobody else gets one before this is done.
		var at, number int64
		n := int64(len(c.Insert) + len(c.Delete) + len(c.Resign))
		err := t.row(`INSERT INTO gateway_clock (id, changed, number) VALUES (1, $4, $3)
			ON CONFLICT (id) DO UPDATE SET
				changed = $2 + CASE WHEN gateway_clock.changed >= $1 THEN gateway_clock.changed ELSE $1 END,
				number = gateway_clock.number + $3
			RETURNING changed, number`,
			[]any{now.UnixMicro(), n, int64(len(c.Insert)), now.UnixMicro() + n}, &at, &number)
		if err != nil {
			return err
		}
		// The clock has the last of the times and numbers.
		at -= n
		number -= int64(len(c.Insert))

		// Step 2: what must be living.
		for _, id := range c.Needs {
			var deleted int64
			err := t.row(`SELECT deleted FROM gateway_item WHERE id = $1`, []any{id}, &deleted)
			if errors.Is(err, errNoRow) || err == nil && deleted != 0 {
				return gateway.ErrGone
			} else if err != nil {
				return err
			}
		}

		// Step 3: the changes. Deletions come first: what replaces may have the name.
		var stmts []stmt
		if c.Once != "" {
			stmts = append(stmts, stmt{sql: `INSERT INTO gateway_applied (digest, changed) VALUES ($1, $2)`, args: []any{c.Once, now.UnixMicro()}, taken: gateway.ErrApplied})
		}
		for _, id := range c.Delete {
			at++
			stmts = append(stmts, stmt{
				sql:  `UPDATE gateway_item SET deleted = 1, changed = $1, content = NULL, signed = NULL WHERE id = $2 AND deleted = 0`,
				args: []any{at, id}, one: gateway.ErrGone,
			})
		}
		for _, r := range c.Resign {
			at++
			stmts = append(stmts, stmt{
				sql:  `UPDATE gateway_item SET signed = $1, signer = $2, changed = $3 WHERE id = $4 AND deleted = 0 AND signed = $5`,
				args: []any{r.Signed, r.Signer, at, r.ID, r.Before}, one: gateway.ErrGone,
			})
		}
		for _, i := range c.Insert {
			at++
			number++
			stmts = append(stmts, stmt{
				sql: `INSERT INTO gateway_item (` + gatewayColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, 0, $13, $14, $15)`,
				args: []any{
					i.ID, number, string(i.Kind), i.Name, i.Country, i.Group, i.Domain, i.KID, i.Claim(), i.Signer, at, unix(i.Expires),
					toJSON(i.About), i.Content, i.Signed,
				},
				taken: gateway.ErrTaken,
			})
		}
		return t.all(append(stmts, b.auditGateway(c.Line))...)
	})
}

// Items implements [gateway.Book].
func (b gatewayBook) Items(ctx context.Context, q gateway.Query) (items []gateway.Item, err error) {
	var where []string
	var args []any
	and := func(text string, v any) {
		args = append(args, v)
		where = append(where, fmt.Sprintf(text, len(args)))
	}
	if q.Kind != "" {
		and("kind = $%d", string(q.Kind))
	}
	if len(q.IDs) > 0 {
		where = append(where, "id IN ("+places(len(args)+1, len(q.IDs))+")")
		for _, id := range q.IDs {
			args = append(args, id)
		}
	}
	if q.Number != 0 {
		and("number = $%d", q.Number)
	}
	if q.Country != "" {
		and("country = $%d", q.Country)
	}
	if !q.Since.IsZero() {
		and("changed >= $%d", q.Since.UnixMicro())
	}
	if !q.Deleted {
		where = append(where, "deleted = 0")
	}
	sql := `SELECT ` + gatewayColumns + ` FROM gateway_item`
	if len(where) > 0 {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	sql += " ORDER BY changed"
	if q.Limit > 0 {
		args = append(args, int64(q.Limit))
		sql += fmt.Sprintf(" LIMIT $%d", len(args))
	}
	err = b.db.read(ctx, func(t tx) error {
		items = nil
		return t.rows(sql, args, func(s scan) error {
			i, err := scanItem(s)
			items = append(items, i)
			return err
		})
	})
	return items, err
}

func scanItem(s scan) (i gateway.Item, err error) {
	var kind, claim, about string
	var created, changed, expires, deleted int64
	err = s(&i.ID, &i.Number, &kind, &i.Name, &i.Country, &i.Group, &i.Domain, &i.KID, &claim, &i.Signer, &created, &changed, &expires, &deleted, &about, &i.Content, &i.Signed)
	if err != nil {
		return i, err
	}
	i.Kind, i.Claims, i.Deleted = gateway.Kind(kind), claim != "", deleted != 0
	i.Created, i.Changed, i.Expires = time.UnixMicro(created).UTC(), time.UnixMicro(changed).UTC(), fromUnix(expires)
	if err := json.Unmarshal([]byte(about), &i.About); err != nil {
		return i, fmt.Errorf("store: item %s: %w", i.ID, ErrDamaged)
	}
	return i, nil
}

// Newest implements [gateway.Book].
func (b gatewayBook) Newest(ctx context.Context) (time.Time, error) {
	var at int64
	err := b.db.readRow(ctx, `SELECT changed FROM gateway_clock WHERE id = 1`, nil, &at)
	if errors.Is(err, errNoRow) {
		return time.Time{}, nil
	} else if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(at).UTC(), nil
}
