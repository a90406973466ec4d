package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// outbox is what a store keeps for the log of the ledger.
type outbox struct{ *Store }

// Outbox returns the store as an outbox for the ledger. Closed batches are put into
// it in the step in which they are closed.
func (s *Store) Outbox() notary.Outbox { return outbox{s} }

const outboxColumns = `n, key, kind, about, size, digest, until, put, stage, message, reason, retry, leaf, proof, cosigned, receipt, device, since, gap`

// put makes the statements by which things come into the outbox. The caller holds
// s.closing.
func put(t tx, at time.Time, wanted ...notary.Wanted) (stmts []stmt, err error) {
	var n int64
	if err := t.row(`SELECT coalesce(max(n), 0) FROM outbox`, nil, &n); err != nil {
		return nil, err
	}
	for _, w := range wanted {
		n++
		about, digest := w.List[:], any(w.Digest[:])
		if w.Kind != "status.anchor" {
			about, digest = w.Root[:], nil
		}
		gap := int64(0)
		if w.Gap {
			gap = 1
		}
		stmts = append(stmts, stmt{
			sql: `INSERT INTO outbox (n, key, kind, about, size, digest, until, put, stage, reason, retry, leaf, cosigned, device, since, gap)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, '', 0, 0, 0, $9, $10, $11) ON CONFLICT (key) DO NOTHING`,
			args: []any{n, w.Key, string(w.Kind), about, int64(w.Size), digest, unix(w.Until), unix(at), blob([]byte(w.Device)), unix(w.Since), gap},
		})
	}
	return stmts, nil
}

// Put implements [notary.Outbox].
func (o outbox) Put(ctx context.Context, at time.Time, wanted ...notary.Wanted) error {
	o.closing.Lock()
	defer o.closing.Unlock()
	return o.db.write(ctx, func(t tx) error {
		stmts, err := put(t, at, wanted...)
		if err != nil {
			return err
		}
		return t.all(stmts...)
	})
}

// Keep implements [notary.Outbox].
func (o outbox) Keep(ctx context.Context, e *notary.Entry) error {
	return o.db.write(ctx, func(t tx) error {
		return t.all(stmt{
			sql: `UPDATE outbox SET stage = $1, message = $2, reason = $3, retry = $4, leaf = $5, proof = $6, cosigned = $7, receipt = $8 WHERE n = $9`,
			args: []any{
				int64(e.Stage), blob(e.Message), e.Reason, unix(e.Retry), int64(e.Index), blob(e.Proof), unix(e.Cosigned), blob(e.Receipt), e.Number,
			},
			one: notary.ErrNoEntry,
		})
	})
}

// blob is a value that may be missing.
func blob(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func scanEntry(s scan) (e notary.Entry, err error) {
	var kind string
	var about, digest, device []byte
	var size, until, put, stage, retry, leaf, cosigned, since, gap int64
	err = s(&e.Number, &e.Key, &kind, &about, &size, &digest, &until, &put, &stage, &e.Message, &e.Reason, &retry, &leaf, &e.Proof, &cosigned, &e.Receipt, &device, &since, &gap)
	if err != nil {
		return e, err
	}
	list := kind == "status.anchor"
	if len(about) != tlog.HashSize || list && len(digest) != tlog.HashSize || !list && kind != "fp.batch" && kind != "telemetry.anchor" || stage < 0 || stage > int64(notary.Refused) {
		return e, fmt.Errorf("store: outbox: entry %d: %w", e.Number, ErrDamaged)
	}
	if list {
		e.List, e.Digest = tlog.Hash(about), tlog.Hash(digest)
	} else {
		e.Root = tlog.Hash(about)
	}
	e.Device, e.Since, e.Gap = state.OID(device), fromUnix(since), gap != 0
	e.Kind, e.Size, e.Until = state.Kind(kind), uint64(size), fromUnix(until)
	e.Put, e.Stage, e.Retry = fromUnix(put), notary.Stage(stage), fromUnix(retry)
	e.Index, e.Cosigned = uint64(leaf), fromUnix(cosigned)
	return e, nil
}

// entries reads the entries that a condition asks for.
func (o outbox) entries(ctx context.Context, where string, args ...any) (out []notary.Entry, err error) {
	err = o.db.read(ctx, func(t tx) error {
		out = nil
		return t.rows(`SELECT `+outboxColumns+` FROM outbox WHERE `+where, args, func(s scan) error {
			e, err := scanEntry(s)
			out = append(out, e)
			return err
		})
	})
	return out, err
}

func (o outbox) one(ctx context.Context, where string, args ...any) (*notary.Entry, error) {
	found, err := o.entries(ctx, where, args...)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, notary.ErrNoEntry
	}
	return &found[0], nil
}

// Pending implements [notary.Outbox].
func (o outbox) Pending(ctx context.Context, after int64, limit int) ([]notary.Entry, error) {
	return o.entries(ctx, `stage < $1 AND n > $2 ORDER BY n LIMIT $3`, int64(notary.Kept), after, int64(limit))
}

// Entry implements [notary.Outbox].
func (o outbox) Entry(ctx context.Context, key string) (*notary.Entry, error) {
	return o.one(ctx, `key = $1`, key)
}

// Newest implements [notary.Outbox].
func (o outbox) Newest(ctx context.Context, list tlog.Hash) (*notary.Entry, error) {
	return o.one(ctx, `about = $1 AND kind = 'status.anchor' ORDER BY n DESC LIMIT 1`, list[:])
}

// Proven implements [notary.Outbox].
func (o outbox) Proven(ctx context.Context, after int64, limit int) ([]notary.Entry, error) {
	return o.entries(ctx, `stage = $1 AND kind = 'fp.batch' AND n > $2 ORDER BY n LIMIT $3`, int64(notary.Kept), after, int64(limit))
}

// Tally implements [notary.Outbox].
func (o outbox) Tally(ctx context.Context) (sum notary.Tally, err error) {
	err = o.db.read(ctx, func(t tx) error {
		sum = notary.Tally{}
		counts := [...]*int{&sum.Waiting, &sum.Submitted, &sum.Logged, &sum.Kept, &sum.Refused}
		err := t.rows(`SELECT stage, count(*) FROM outbox GROUP BY stage`, nil, func(s scan) error {
			var stage, n int64
			if err := s(&stage, &n); err != nil {
				return err
			}
			if stage < 0 || stage >= int64(len(counts)) {
				return fmt.Errorf("store: outbox: stage %d: %w", stage, ErrDamaged)
			}
			*counts[stage] = int(n)
			return nil
		})
		if err != nil {
			return err
		}
		var oldest int64
		err = t.row(`SELECT put FROM outbox WHERE stage < $1 ORDER BY put LIMIT 1`, []any{int64(notary.Logged)}, &oldest)
		if errors.Is(err, errNoRow) {
			return nil
		}
		sum.Oldest = fromUnix(oldest)
		return err
	})
	return sum, err
}
