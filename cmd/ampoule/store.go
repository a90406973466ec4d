package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ampoule/internal/config"
	"ampoule/internal/control"
	"ampoule/internal/keys"
	"ampoule/internal/store"
)

// masterFile is where the master key of a store is.
func masterFile(c *config.Config) string {
	if c.Store.Master != "" {
		return c.Store.Master
	}
	return filepath.Join(c.Store.Dir, "master.key")
}

// storeLock is what opens the master key and the signing keys of a store.
func storeLock(c *config.Config) (keys.Lock, error) {
	secret := []byte(os.Getenv("AMPOULE_PASSPHRASE"))
	if c.Store.Passphrase != "" {
		data, err := readInput(c.Store.Passphrase, nil)
		if err != nil {
			return keys.Lock{}, usageError("store.passphrase_file: %w", err)
		}
		secret, _, _ = bytes.Cut(data, []byte("\n"))
		secret = bytes.TrimRight(secret, "\r")
	} else if len(secret) == 0 {
		return keys.Unencrypted(), nil
	}
	return passphrase(secret)
}

// storeConfig says where a store is, and brings its master key.
func storeConfig(c *config.Config) (store.Config, error) {
	if c.Store.Dir == "" {
		return store.Config{}, usageError("there is no store: store.dir is not set")
	}
	lock, err := storeLock(c)
	if err != nil {
		return store.Config{}, err
	}
	master, err := keys.LoadMasterKey(masterFile(c), lock)
	if err != nil {
		return store.Config{}, usageError("store.master: %w", err)
	}
	return store.Config{Dir: c.Store.Dir, Postgres: c.Store.Postgres, Master: master}, nil
}

// openStore opens the store that the settings name. committed is told how long each
// commit took; nil: nobody.
func openStore(ctx context.Context, c *config.Config, committed func(time.Duration)) (*store.Store, error) {
	where, err := storeConfig(c)
	if err != nil {
		return nil, err
	}
	where.Committed = committed
	return store.Open(ctx, where)
}

// source is a store that is open, here or at the server that has it.
type source interface {
	Health(context.Context) (*store.Health, error)
	Database(context.Context, io.Writer) error
	Keys(context.Context, func(int64, io.Reader) error) error
	Erased(context.Context, func(int64, io.Reader) error) error
	VerifyAudit(context.Context) (*store.AuditReport, error)
	AuditLines(ctx context.Context, w io.Writer, from, to time.Time) error
	Close() error
}

// openSource asks the server that has the store open, or opens it where there is
// none.
func openSource(ctx context.Context, c *config.Config) (s source, server bool, err error) {
	if c.Store.Dir == "" {
		return nil, false, usageError("there is no store: store.dir is not set")
	}
	client, err := control.Dial(ctx, c.Store.Dir)
	if err == nil {
		return client, true, nil
	}
	if !errors.Is(err, control.ErrNoServer) {
		return nil, false, err
	}
	opened, err := openStore(ctx, c, nil)
	if err != nil {
		return nil, false, err
	}
	return control.Opened{Store: opened}, false, nil
}

// createStore makes the store of a first run: where its folder is missing or empty,
// and nowhere else. A wrong path to a folder with something in it must not look like
// a new service.
func createStore(ctx context.Context, c *config.Config) (made bool, err error) {
	dir := c.Store.Dir
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return false, nil // opened, or refused, as it is
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, usageError("store.dir: %w", err)
	}
	lock, err := storeLock(c)
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, usageError("store.dir: %w", err)
	}
	master, err := keys.LoadMasterKey(masterFile(c), lock)
	if errors.Is(err, fs.ErrNotExist) {
		if master, err = keys.NewMasterKey(rand.Reader); err == nil {
			err = keys.SaveMasterKey(masterFile(c), master, lock)
		}
	}
	if err != nil {
		return false, usageError("store.master: %w", err)
	}
	return true, store.Create(ctx, store.Config{Dir: dir, Postgres: c.Store.Postgres, Master: master})
}
