package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"ampoule/internal/config"
	"ampoule/internal/control"
	"ampoule/internal/keys"
	"ampoule/internal/store"
)

type migrateCmd struct {
	configFlags
	DryRun      bool `help:"Show the schema that the store has and the newest one, and change nothing."`
	Create      bool `help:"Make a new, empty store, and its master key, where there is none."`
	Unencrypted bool `help:"With --create: allow a master key in the clear."`
}

// Run brings the schema of a store up to date. A server does so too when it opens
// the store; this is for seeing what would be done, and for doing it while nobody
// waits.
func (c *migrateCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if c.Create {
		if err := c.create(ctx, settings); err != nil {
			return err
		}
		fmt.Fprintf(t.out, "%s: a new store; %s opens it\n", settings.Store.Dir, masterFile(settings))
	}
	where, err := storeConfig(settings)
	if err != nil {
		return err
	}
	now, newest, err := store.Schema(ctx, where)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "schema %d, newest %d\n", now, newest)
	switch {
	case now > newest:
		return exitError{exitNotValid, fmt.Errorf("the store was made by a newer version of Ampoule (schema %d): install that version or a newer one; nothing was changed", now)}
	case now == newest:
		fmt.Fprintln(t.out, "up to date")
		return nil
	case c.DryRun:
		fmt.Fprintf(t.out, "to do: %d to %d; take a backup first, there is no way back\n", now+1, newest)
		return nil
	}
	if client, err := control.Dial(ctx, settings.Store.Dir); err == nil {
		_ = client.Close()
		return errors.New("a server has the store open: stop it first")
	}
	was, is, err := store.Migrate(ctx, where)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "brought from %d to %d\n", was, is)
	return nil
}

// create makes a store. A master key that is there is used: it may have been made
// elsewhere, or the last attempt was interrupted.
func (c *migrateCmd) create(ctx context.Context, settings *config.Config) error {
	if settings.Store.Dir == "" {
		return usageError("store.dir is not set")
	}
	path := masterFile(settings)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		lock, err := storeLock(settings)
		if err != nil {
			return err
		}
		if !c.Unencrypted && settings.Store.Passphrase == "" && os.Getenv("AMPOULE_PASSPHRASE") == "" {
			return usageError("a master key opens every record: set store.passphrase_file or AMPOULE_PASSPHRASE (or --unencrypted, for a store that protects nothing)")
		}
		if err := os.MkdirAll(settings.Store.Dir, 0o700); err != nil {
			return exitError{exitUsage, err}
		}
		master, err := keys.NewMasterKey(rand.Reader)
		if err != nil {
			return err
		}
		if err := keys.SaveMasterKey(path, master, lock); err != nil {
			return err
		}
	}
	where, err := storeConfig(settings)
	if err != nil {
		return err
	}
	if now, _, err := store.Schema(ctx, where); err == nil && now > 0 {
		return usageError("%s: %w", settings.Store.Dir, store.ErrExists)
	}
	return store.Create(ctx, where)
}
