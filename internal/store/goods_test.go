package store

import (
	"testing"

	"ampoule/internal/storetest"
)

func TestGoods(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		storetest.Goods(t, func(t *testing.T) storetest.GoodsBook {
			own := c
			own.Dir = t.TempDir()
			if c.Postgres != "" {
				own.Postgres, _ = storetest.Postgres(t)
			}
			if err := Create(t.Context(), own); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), own)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s.Goods()
		})
	})
}
