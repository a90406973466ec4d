//go:build linux

package store

import (
	"testing"

	"ampoule/internal/storetest"
	"ampoule/party/fleet"
)

func TestFleet(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		storetest.Fleet(t, func(t *testing.T) fleet.Book {
			own := c
			own.Dir = t.TempDir()
			if c.Postgres != "" {
				own.Postgres, _ = storetest.Postgres(t)
			}
			f, err := OpenFleet(t.Context(), own)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			})
			return f
		})
	})
}
