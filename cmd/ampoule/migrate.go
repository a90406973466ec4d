package main

import (
	"context"
	"errors"
	"fmt"

	"ampoule/internal/control"
	"ampoule/internal/store"
)

type migrateCmd struct {
	configFlags
	DryRun bool `help:"Show the schema that the store has and the newest one, and change nothing."`
}

// Run brings the schema of a store up to date. A server does so too when it opens
// the store; this is for seeing what would be done, and for doing it while nobody
// waits.
func (c *migrateCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if err != nil {
		return err
	}
	where, err := storeConfig(settings)
	if err != nil {
		return err
	}
	ctx := context.Background()
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
