package comet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// disk is the state on the disk: its rows, where it stands, and at which index each
// leaf of the log is. What one block has changed comes in one transaction.
type disk struct{ db *sql.DB }

const schema = `
CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS leaves (hash BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS app (one INTEGER PRIMARY KEY CHECK (one = 1), hash BLOB NOT NULL, sum BLOB NOT NULL) STRICT;`

// sum is over all rows: their hashes, added without carry. It finds rows that the
// disk has changed, as nothing else would before the next epoch. Who changes them on
// purpose can change it as well; `ampoule node replay` and the other nodes find that.
type sum tlog.Hash

func (s *sum) toggle(key, row []byte) {
	for i, b := range tlog.RowHash(key, row) {
		s[i] ^= b
	}
}

func openDisk(ctx context.Context, dir string) (*disk, error) {
	path := filepath.Join(dir, stateFile)
	// FULL syncs at every commit: what a block has done is on the disk when the engine
	// is told so.
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-16384)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	_, err = db.ExecContext(ctx, schema)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return &disk{db}, nil
}

func (d *disk) close() error { return d.db.Close() }

// load reads the state; nil where there is none yet.
func (d *disk) load(ctx context.Context) (*state.State, error) {
	var app, want []byte
	switch err := d.db.QueryRowContext(ctx, `SELECT hash, sum FROM app`).Scan(&app, &want); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("state: %w", err)
	}
	found, err := d.db.QueryContext(ctx, `SELECT key, row FROM rows ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	defer found.Close()
	var broken error
	var have sum
	s, err := state.Load(func(yield func(string, []byte) bool) {
		for found.Next() {
			var key, row []byte
			if broken = found.Scan(&key, &row); broken != nil {
				return
			}
			if have.toggle(key, row); !yield(string(key), row) {
				return
			}
		}
		broken = found.Err()
	})
	if broken != nil {
		return nil, fmt.Errorf("state: %w", broken)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %v: %w", err, ErrDamaged)
	}
	if hash := s.AppHash(); string(hash[:]) != string(app) || string(have[:]) != string(want) {
		return nil, fmt.Errorf("state: the rows are not those of the last block: %w", ErrDamaged)
	}
	return s, nil
}

// save writes what a block has changed. The leaves are those from index first on.
func (d *disk) save(ctx context.Context, changes []state.Change, app tlog.Hash, first uint64, leaves []tlog.Hash) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	defer tx.Rollback()
	var rows sum
	var before []byte
	switch err := tx.QueryRowContext(ctx, `SELECT sum FROM app`).Scan(&before); {
	case err == nil:
		copy(rows[:], before)
	case !errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("state: %w", err)
	}
	get, err := tx.PrepareContext(ctx, `SELECT row FROM rows WHERE key = ?`)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	put, err := tx.PrepareContext(ctx, `INSERT INTO rows (key, row) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET row = excluded.row`)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	for _, c := range changes {
		key := []byte(c.Key)
		var old []byte
		switch err := get.QueryRowContext(ctx, key).Scan(&old); {
		case err == nil:
			rows.toggle(key, old)
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("state: row %q: %w", c.Key, err)
		}
		if c.Row == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM rows WHERE key = ?`, key)
		} else {
			rows.toggle(key, c.Row)
			_, err = put.ExecContext(ctx, key, c.Row)
		}
		if err != nil {
			return fmt.Errorf("state: row %q: %w", c.Key, err)
		}
	}
	leaf, err := tx.PrepareContext(ctx, `INSERT INTO leaves (hash, number) VALUES (?, ?)`)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	for i, hash := range leaves {
		if _, err := leaf.ExecContext(ctx, hash[:], int64(first)+int64(i)); err != nil {
			return fmt.Errorf("state: leaf %d: %w", first+uint64(i), err)
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO app (one, hash, sum) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET hash = excluded.hash, sum = excluded.sum`, app[:], rows[:]); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// find returns the index of a leaf.
func (d *disk) find(ctx context.Context, leaf tlog.Hash) (index uint64, ok bool, err error) {
	var number int64
	switch err := d.db.QueryRowContext(ctx, `SELECT number FROM leaves WHERE hash = ?`, leaf[:]).Scan(&number); {
	case errors.Is(err, sql.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("state: %w", err)
	}
	return uint64(number), true, nil
}
