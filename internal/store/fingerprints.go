package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ampoule/ledger/print"
	"ampoule/ledger/tlog"
	"ampoule/party/issuer"
	"ampoule/party/notary"
)

// insertLeaf puts a fingerprint into the open batch.
func insertLeaf(l print.Leaf, at time.Time) stmt {
	return stmt{sql: `INSERT INTO leaf (hash, at) VALUES ($1, $2)`, args: []any{l[:], at.Truncate(time.Hour).Unix()}}
}

// firstBatch reads the number of the next batch to be closed.
func (s *Store) firstBatch(t tx) error {
	n, err := nextBatch(t)
	s.nextBatch.Store(n)
	return err
}

func nextBatch(t tx) (n int64, err error) {
	err = t.row(`SELECT coalesce(max(n), 0) + 1 FROM batch`, nil, &n)
	return n, err
}

// OpenBatch implements [issuer.Book].
func (s *Store) OpenBatch(ctx context.Context) (issuer.OpenBatch, error) {
	var leaves, since int64
	err := s.db.readRow(ctx, `SELECT count(*), coalesce(min(at), 0) FROM leaf`, nil, &leaves, &since)
	return issuer.OpenBatch{Leaves: int(leaves), Since: fromUnix(since)}, err
}

// CloseBatches implements [issuer.Book].
func (s *Store) CloseBatches(ctx context.Context, at time.Time, build func([]print.Leaf) ([]*print.Batch, error)) (closed []issuer.ClosedBatch, err error) {
	s.closing.Lock()
	defer s.closing.Unlock()
	err = s.db.write(ctx, func(t tx) error {
		closed = nil
		var leaves []print.Leaf
		// What is returned is what is deleted: a leaf that comes meanwhile stays.
		err := t.rows(`DELETE FROM leaf RETURNING hash`, nil, func(s scan) error {
			var hash []byte
			if err := s(&hash); err != nil {
				return err
			}
			if len(hash) != len(print.Leaf{}) {
				return fmt.Errorf("store: a leaf of %d bytes: %w", len(hash), ErrDamaged)
			}
			leaves = append(leaves, print.Leaf(hash))
			return nil
		})
		if err != nil || len(leaves) == 0 {
			return err
		}
		batches, err := build(leaves)
		if err != nil {
			return err
		}
		n, err := nextBatch(t)
		if err != nil {
			return err
		}
		var stmts []stmt
		var wanted []notary.Wanted
		for i, b := range batches {
			c := issuer.ClosedBatch{Number: n + int64(i), Closed: fromUnix(unix(at)), Size: b.Size(), Root: b.Root()}
			stmts = append(stmts, stmt{
				sql:  `INSERT INTO batch (n, closed, root, leaves) VALUES ($1, $2, $3, $4)`,
				args: []any{c.Number, unix(at), c.Root[:], b.Bytes()},
			})
			closed = append(closed, c)
			wanted = append(wanted, notary.Wanted{Key: notary.BatchKey(c.Number), Kind: "fp.batch", Root: c.Root, Size: uint64(c.Size)})
		}
		// What is closed is to be logged: there is no closed batch that is not put.
		out, err := put(t, at, wanted...)
		if err != nil {
			return err
		}
		return t.all(append(stmts, out...)...)
	})
	if err != nil {
		return nil, err
	}
	if n := len(closed); n > 0 {
		s.nextBatch.Store(closed[n-1].Number + 1)
	}
	return closed, nil
}

// batchesAhead is in how many batches a leaf is looked for. It is in the first,
// unless more leaves than one batch holds were closed with it, or its transaction
// came through after its connection was given up.
const batchesAhead = 64

// BatchOf implements [issuer.Book].
func (s *Store) BatchOf(ctx context.Context, id issuer.ID, n int, l print.Leaf) (at issuer.ClosedBatch, of *print.Batch, err error) {
	err = s.db.read(ctx, func(t tx) error {
		of = nil
		var first int64
		err := t.row(`SELECT batch FROM artefact WHERE record = $1 AND n = $2`, []any{id[:], int64(n)}, &first)
		switch {
		case errors.Is(err, errNoRow):
			return issuer.ErrNotFound
		case err != nil:
			return err
		case first == 0:
			return issuer.ErrNoFingerprint
		}
		for next := first; next < first+batchesAhead; next++ {
			var closed int64
			var root, leaves []byte
			err := t.row(`SELECT closed, root, leaves FROM batch WHERE n = $1`, []any{next}, &closed, &root, &leaves)
			if errors.Is(err, errNoRow) {
				break
			}
			if err != nil {
				return err
			}
			b, err := print.Open(leaves)
			if err != nil {
				return fmt.Errorf("store: batch %d: %w: %w", next, ErrDamaged, err)
			}
			if _, found := b.Find(l); !found {
				continue
			}
			of, at = b, issuer.ClosedBatch{Number: next, Closed: fromUnix(closed), Size: b.Size(), Root: b.Root()}
			if string(root) != string(at.Root[:]) {
				return fmt.Errorf("store: batch %d: its root: %w", next, ErrDamaged)
			}
			return nil
		}
		var open int64
		if err := t.row(`SELECT count(*) FROM leaf WHERE hash = $1`, []any{l[:]}, &open); err != nil {
			return err
		}
		if open > 0 {
			return issuer.ErrOpenBatch
		}
		return issuer.ErrNoFingerprint
	})
	return at, of, err
}

// Batches implements [issuer.Book].
func (s *Store) Batches(ctx context.Context, after int64, limit int) (batches []issuer.ClosedBatch, err error) {
	err = s.db.read(ctx, func(t tx) error {
		batches = nil
		return t.rows(`SELECT n, closed, root, length(leaves) FROM batch WHERE n > $1 ORDER BY n LIMIT $2`, []any{after, int64(limit)}, func(s scan) error {
			var b issuer.ClosedBatch
			var closed, size int64
			var root []byte
			if err := s(&b.Number, &closed, &root, &size); err != nil {
				return err
			}
			if len(root) != len(b.Root) {
				return fmt.Errorf("store: batch %d: its root: %w", b.Number, ErrDamaged)
			}
			b.Closed, b.Size, b.Root = fromUnix(closed), int(size)/len(print.Leaf{}), tlog.Hash(root)
			batches = append(batches, b)
			return nil
		})
	})
	return batches, err
}
