//go:build linux

package store

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"ampoule/internal/access"
	"ampoule/internal/keys"
	"ampoule/internal/storetest"
	"ampoule/party/gateway"
	"ampoule/party/issuer"
	"ampoule/party/notary"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
		return
	}
	if os.Getenv(bulkChildVariable) != "" {
		bulkChild()
		return
	}
	if os.Getenv(sessionsChildVariable) != "" {
		sessionsChild()
		return
	}
	code := m.Run()
	storetest.StopPostgres()
	os.Exit(code)
}

func newMaster(t testing.TB) *keys.MasterKey {
	t.Helper()
	k, err := keys.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// engines runs a test on both databases. Each config is of a folder, and a
// database, of its own.
func engines(t *testing.T, test func(t *testing.T, c Config)) {
	t.Run("sqlite", func(t *testing.T) { test(t, Config{Dir: t.TempDir(), Master: newMaster(t)}) })
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("the short tests look for races, on one database")
		}
		dsn, _ := storetest.Postgres(t)
		test(t, Config{Dir: t.TempDir(), Master: newMaster(t), Postgres: dsn})
	})
}

func create(t testing.TB, c Config) *Store {
	t.Helper()
	if err := Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return open(t, c)
}

func open(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func shut(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// issue keeps n records, and returns them.
func issue(t testing.TB, s *Store, n int) (out []*issuer.Receipt) {
	t.Helper()
	k := storetest.NewKit(t, s)
	for i := range n {
		r, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(i)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func readable(t testing.TB, s *Store, id issuer.ID) error {
	t.Helper()
	_, err := s.Read(t.Context(), id, issuer.Line{By: "test", Action: issuer.ActionRead})
	return err
}

// TestIssuing is the contract of the issuer's book.
func TestIssuing(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		storetest.Issuing(t, func(t *testing.T) issuer.Book {
			return create(t, Config{Dir: t.TempDir(), Master: newMaster(t)})
		})
	})
	t.Run("postgres", func(t *testing.T) {
		storetest.Issuing(t, func(t *testing.T) issuer.Book {
			dsn, _ := storetest.Postgres(t)
			return create(t, Config{Dir: t.TempDir(), Master: newMaster(t), Postgres: dsn})
		})
	})
}

// TestGateway is the contract of the book of a gateway.
func TestGateway(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		storetest.Gateway(t, func(t *testing.T) gateway.Book {
			return create(t, Config{Dir: t.TempDir(), Master: newMaster(t)}).Gateway()
		})
	})
	t.Run("postgres", func(t *testing.T) {
		storetest.Gateway(t, func(t *testing.T) gateway.Book {
			dsn, _ := storetest.Postgres(t)
			return create(t, Config{Dir: t.TempDir(), Master: newMaster(t), Postgres: dsn}).Gateway()
		})
	})
}

// TestOutbox is the contract of the outbox for the ledger.
func TestOutbox(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		storetest.Outbox(t, func(t *testing.T) notary.Outbox {
			return create(t, Config{Dir: t.TempDir(), Master: newMaster(t)}).Outbox()
		})
	})
	t.Run("postgres", func(t *testing.T) {
		storetest.Outbox(t, func(t *testing.T) notary.Outbox {
			dsn, _ := storetest.Postgres(t)
			return create(t, Config{Dir: t.TempDir(), Master: newMaster(t), Postgres: dsn}).Outbox()
		})
	})
}

// TestBulk is the contract of the book of jobs.
func TestBulk(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		storetest.Bulk(t, func(t *testing.T) storetest.BulkBook {
			return create(t, Config{Dir: t.TempDir(), Master: newMaster(t)})
		})
	})
	t.Run("postgres", func(t *testing.T) {
		storetest.Bulk(t, func(t *testing.T) storetest.BulkBook {
			dsn, _ := storetest.Postgres(t)
			return create(t, Config{Dir: t.TempDir(), Master: newMaster(t), Postgres: dsn})
		})
	})
}

// TestOpenRefuses: a store that does not fit together is not opened.
func TestOpenRefuses(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		file := func(name string) string { return filepath.Join(c.Dir, name) }
		try := func(name string, c Config, want error) {
			t.Helper()
			s, err := Open(t.Context(), c)
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		try("nothing there", c, ErrNoStore)
		s := create(t, c)
		receipts := issue(t, s, 1)
		try("open already", c, ErrInUse)
		shut(t, s)
		if err := Create(t.Context(), c); !errors.Is(err, ErrExists) {
			t.Errorf("made over another: %v", err)
		}
		other := c
		other.Master = newMaster(t)
		try("another master key", other, ErrWrongMaster)

		keyData, err := os.ReadFile(file(keyFile))
		if err != nil {
			t.Fatal(err)
		}
		list, err := os.ReadFile(file(erasedFile))
		if err != nil {
			t.Fatal(err)
		}
		write := func(name string, data []byte) {
			t.Helper()
			if err := os.WriteFile(file(name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(keyFile, keyData[:row])
		try("a key file from before the record", c, ErrMismatch)
		write(keyFile, keyData[:row-1])
		try("half a header", c, ErrDamaged)
		flipped := append([]byte(nil), keyData...)
		flipped[10] ^= 1
		write(keyFile, flipped)
		try("another store's number", c, ErrDamaged)
		if err := os.Remove(file(keyFile)); err != nil {
			t.Fatal(err)
		}
		try("no key file", c, ErrNoStore)
		if c.Postgres != "" {
			if err := Create(t.Context(), c); !errors.Is(err, ErrExists) {
				t.Errorf("a new key file for a database with records: %v", err)
			}
			write(erasedFile, list)
		}
		write(keyFile, keyData)
		if err := os.Remove(file(erasedFile)); err != nil {
			t.Fatal(err)
		}
		try("no erasure list", c, ErrNoStore)
		write(erasedFile, list)

		s = open(t, c)
		if err := s.Erase(t.Context(), []issuer.Guard{{ID: receipts[0].ID, Version: 1}}, issuer.Line{By: "test", Action: issuer.ActionErase}); err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		write(erasedFile, list)
		try("an erasure list from before the erasure", c, ErrMismatch)

		// Files of another store.
		another := Config{Dir: t.TempDir(), Master: c.Master}
		shut(t, create(t, another))
		foreign, err := os.ReadFile(filepath.Join(another.Dir, erasedFile))
		if err != nil {
			t.Fatal(err)
		}
		write(erasedFile, foreign)
		try("another store's erasure list", c, ErrMismatch)
		foreignKeys, err := os.ReadFile(filepath.Join(another.Dir, keyFile))
		if err != nil {
			t.Fatal(err)
		}
		write(keyFile, foreignKeys)
		try("another store's key file and list", c, ErrMismatch)
	})
}

// TestNewerSchema: a database that a newer version has made is left alone.
func TestNewerSchema(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		err := s.db.write(t.Context(), func(t tx) error {
			return t.all(stmt{sql: `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, $1)`, args: []any{c.Postgres != "" || true}})
		})
		if err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		if _, err := Open(t.Context(), c); !errors.Is(err, ErrNewerSchema) {
			t.Errorf("%v", err)
		}
	})
}

// TestCrashes: the process ends between any two steps of an erasure, or between
// the key file and the database; the next opening finishes what was begun.
func TestCrashes(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		receipts := issue(t, s, 4)
		slot := func(id issuer.ID) (slot int64) {
			t.Helper()
			if err := s.db.read(t.Context(), func(t tx) error { return t.row(`SELECT slot FROM record WHERE id = $1`, []any{id[:]}, &slot) }); err != nil {
				t.Fatal(err)
			}
			return slot
		}
		// After the list, before the key.
		id := receipts[0].ID
		sealed := slot(id)
		key := s.vault.keys.file
		s.vault.keys.file, _ = os.Open(os.DevNull) // the key stays as it is
		if err := s.vault.erase([]issuer.ID{id}, []int64{sealed}); err == nil {
			t.Fatal("the key was overwritten")
		}
		s.vault.keys.file = key
		s.vault.keys.bad = nil
		if err := readable(t, s, id); err != nil {
			t.Fatalf("not yet erased: %v", err)
		}
		// After list and key, before the rows.
		second := receipts[1].ID
		if err := s.vault.erase([]issuer.ID{second}, []int64{slot(second)}); err != nil {
			t.Fatal(err)
		}
		if err := readable(t, s, second); !errors.Is(err, issuer.ErrUnreadable) {
			t.Errorf("its key is gone: %v", err)
		}
		// Keys that no record has got.
		if _, err := s.vault.take(); err != nil {
			t.Fatal(err)
		}
		shut(t, s)

		// Half a row at the end of each file.
		for _, name := range []string{keyFile, erasedFile} {
			f, err := os.OpenFile(filepath.Join(c.Dir, name), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write([]byte("cut off")); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, c)
		for i, r := range receipts {
			want := error(nil)
			if i < 2 {
				want = issuer.ErrNotFound
			}
			if err := readable(t, s, r.ID); !errors.Is(err, want) {
				t.Errorf("record %d: %v, want %v", i, err, want)
			}
		}
		if _, err := s.vault.key(sealed); !errors.Is(err, issuer.ErrUnreadable) {
			t.Errorf("the key of an erased record: %v", err)
		}
		issue(t, s, 2)
		shut(t, s)
		s = open(t, c)
		if page, err := s.List(t.Context(), issuer.Place{}, issuer.ID{}, 10); err != nil || len(page) != 4 {
			t.Errorf("%d records, %v", len(page), err)
		}
	})
}

// TestDamagedKey: a key that was changed opens nothing, and is no erasure.
func TestDamagedKey(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	receipts := issue(t, s, 2)
	a, b := make([]byte, row), make([]byte, row)
	for i, r := range [][]byte{a, b} {
		if _, err := s.vault.keys.file.ReadAt(r, int64(i+1)*row); err != nil {
			t.Fatal(err)
		}
	}
	// Each in the other's place: whole rows both, and not theirs.
	for i, r := range [][]byte{b, a} {
		if _, err := s.vault.keys.file.WriteAt(r, int64(i+1)*row); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range receipts {
		if err := readable(t, s, r.ID); !errors.Is(err, ErrDamaged) || !errors.Is(err, issuer.ErrUnreadable) {
			t.Errorf("%v", err)
		}
	}
}

// TestAudit: each flow leaves its line, and what is refused leaves none.
func TestAudit(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		k := storetest.NewKit(t, s)
		ctx := context.Background()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		one, err := k.Registry.Issue(ctx, storetest.Order("key", storetest.Dose(1)))
		must(err)
		_, err = k.Registry.Issue(ctx, storetest.Order("key", storetest.Dose(1)))
		must(err)
		_, err = k.Registry.Read(ctx, storetest.By("clerk-2"), one.ID)
		must(err)
		_, err = k.Registry.Search(ctx, storetest.By("clerk-1"), issuer.Query{Document: "SPECDOC00001"})
		must(err)
		h, err := k.Registry.Revoke(ctx, storetest.By("clerk-1"), issuer.Guard{ID: one.ID, Version: 1}, issuer.ReasonFraud)
		must(err)
		if _, err = k.Registry.Revoke(ctx, storetest.By("clerk-1"), issuer.Guard{ID: one.ID, Version: 1}, issuer.ReasonFraud); err == nil {
			t.Error("revoked twice")
		}
		_, err = k.Registry.Reinstate(ctx, storetest.By("clerk-1"), issuer.Guard{ID: one.ID, Version: h.Version})
		must(err)
		two, err := k.Registry.Correct(ctx, issuer.Guard{ID: one.ID, Version: h.Version + 1}, issuer.ReasonData, storetest.Order("", storetest.Dose(1)))
		must(err)
		if _, err := k.Registry.Read(ctx, storetest.By("clerk-1"), issuer.ID{}); err == nil {
			t.Error("read what is not there")
		}
		_, err = k.Registry.Erase(ctx, storetest.By("officer-1"), two.ID)
		must(err)
		var got []string
		must(s.db.read(ctx, func(t tx) error {
			return t.rows(`SELECT actor, action, reason, record FROM audit ORDER BY id`, nil, func(s scan) error {
				var by, action, reason string
				var id []byte
				if err := s(&by, &action, &reason, &id); err != nil {
					return err
				}
				which := "none"
				switch string(id) {
				case string(one.ID[:]):
					which = "one"
				case string(two.ID[:]):
					which = "two"
				}
				got = append(got, by+" "+action+" "+which+" "+reason)
				return nil
			})
		}))
		want := []string{
			"clerk-1 issue one ", "clerk-1 replay one ", "clerk-2 read one ", "clerk-1 search none ", "clerk-1 revoke one fraud",
			"clerk-1 reinstate one ", "clerk-1 correct two wrong-data", "officer-1 erase two ", "officer-1 erase one ",
		}
		if len(got) != len(want) {
			t.Fatalf("%q", got)
		}
		for i := range want[:len(want)-2] {
			if got[i] != want[i] {
				t.Errorf("line %d: %q, want %q", i, got[i], want[i])
			}
		}
		// The two of the erasure are of one millisecond.
		for _, w := range want[len(want)-2:] {
			if got[len(got)-1] != w && got[len(got)-2] != w {
				t.Errorf("%q is missing in %q", w, got)
			}
		}
	})
}

// TestPeople is the contract of the keeper of people.
func TestPeople(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		storetest.People(t, func(t *testing.T) access.Book {
			n := Config{Dir: t.TempDir(), Master: newMaster(t)}
			if c.Postgres != "" {
				n.Postgres, _ = storetest.Postgres(t)
			}
			return create(t, n).Accounts()
		})
	})
}
