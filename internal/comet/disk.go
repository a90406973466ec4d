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
CREATE TABLE IF NOT EXISTS app (one INTEGER PRIMARY KEY CHECK (one = 1), hash BLOB NOT NULL) STRICT;`

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
	var app []byte
	switch err := d.db.QueryRowContext(ctx, `SELECT hash FROM app`).Scan(&app); {
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
	s, err := state.Load(func(yield func(string, []byte) bool) {
		for found.Next() {
			var key, row []byte
			if broken = found.Scan(&key, &row); broken != nil || !yield(string(key), row) {
				return
			}
		}
		broken = found.Err()
	})
	if err = errors.Join(broken, err); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if hash := s.AppHash(); string(hash[:]) != string(app) {
		return nil, fmt.Errorf("state: the rows are not those of the last block: %w", ErrDamaged)
	}
	return s, nil
}

// save writes what a block has changed. The leaves are those from index first on.
func (d *disk) save(ctx context.Context, changes []state.Change, app tlog.Hash, first uint64, entries [][]byte) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	defer tx.Rollback()
	put, err := tx.PrepareContext(ctx, `INSERT INTO rows (key, row) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET row = excluded.row`)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	for _, c := range changes {
		if c.Row == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM rows WHERE key = ?`, []byte(c.Key))
		} else {
			_, err = put.ExecContext(ctx, []byte(c.Key), c.Row)
		}
		if err != nil {
			return fmt.Errorf("state: row %q: %w", c.Key, err)
		}
	}
	leaf, err := tx.PrepareContext(ctx, `INSERT INTO leaves (hash, number) VALUES (?, ?)`)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	for i, e := range entries {
		hash := tlog.LeafHash(e)
		if _, err := leaf.ExecContext(ctx, hash[:], int64(first)+int64(i)); err != nil {
			return fmt.Errorf("state: leaf %d: %w", first+uint64(i), err)
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO app (one, hash) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET hash = excluded.hash`, app[:]); err != nil {
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
