package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"ampoule/internal/config"
	"ampoule/internal/keys"
	"ampoule/internal/keyside"
	"ampoule/internal/store"
)

type restoreCmd struct {
	configFlags
	openFlags
	Keys string `placeholder:"F" help:"Backup of the key side, where the folder of the store does not have it any more. The newest one."`
	File string `arg:"" help:"Backup of a database, of SQLite or of PostgreSQL, for either."`
}

// Run makes a store from backups, where there is none. What was erased since the
// backup was made is erased again before anybody can open the store.
func (c *restoreCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if err != nil {
		return err
	}
	if settings.Store.Dir == "" {
		return usageError("there is no store to restore: store.dir is not set")
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	dir := settings.Store.Dir
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); err == nil {
		return usageError("%s has a database: restore into an empty store", dir)
	}
	// Everything is read before anything is written.
	info, err := checkDatabase(c.File, lock)
	if err != nil {
		return backupError(c.File, err)
	}
	place := keyside.Place{Dir: dir, Master: masterFile(settings)}
	var side *keyside.Info
	if c.Keys != "" {
		if _, err := checkKeySide(c.Keys, lock); err != nil {
			return backupError(c.Keys, err)
		}
		err := opened(c.Keys, lock, func(r io.Reader) error {
			side, err = keyside.Restore(r, place)
			return err
		})
		if err != nil {
			return backupError(c.Keys, err)
		}
	}
	records, err := restoreDatabase(settings, c.File, lock)
	if err != nil {
		if side != nil {
			err = errors.Join(err, side.Remove(place))
		}
		if errors.Is(err, store.ErrNoStore) && side == nil {
			return usageError("%w; bring the key side back with --keys", err)
		}
		return err
	}
	fmt.Fprintf(t.out, "%d records of %s, schema %d", records, info.Made.Format(time.RFC3339), info.Schema)
	if gone := info.Records - int64(records); gone > 0 {
		fmt.Fprintf(t.out, "; %d were erased since, and are erased again", gone)
	}
	fmt.Fprintln(t.out)
	if side != nil {
		fmt.Fprintf(t.out, "key side of %s: %d keys of records, %d erasures, %d signing keys\n", side.Made.Format(time.RFC3339), side.Keys, side.Erased, len(side.Signing))
	}
	return nil
}

// restoreDatabase makes the database of a store, and takes its file away again
// where that failed. The caller has seen that there was none.
func restoreDatabase(settings *config.Config, file string, lock keys.Lock) (records int, err error) {
	where, err := storeConfig(settings)
	if err != nil {
		return 0, err
	}
	err = opened(file, lock, func(r io.Reader) error {
		records, err = store.Restore(context.Background(), where, r)
		return err
	})
	if err == nil || where.Postgres != "" || errors.Is(err, store.ErrInUse) {
		return records, err
	}
	for _, name := range []string{databaseFile, databaseFile + "-wal", databaseFile + "-shm"} {
		if e := os.Remove(filepath.Join(where.Dir, name)); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return 0, err
}

// databaseFile is SQLite's, in the folder of the store.
const databaseFile = "ampoule.db"
