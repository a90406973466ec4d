//go:build linux

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

func backup(t testing.TB, s *Store) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := s.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// elsewhere is a folder with copies of the key file and the erasure list as they
// are now, and no database.
func elsewhere(t testing.TB, c Config) Config {
	t.Helper()
	n := Config{Dir: t.TempDir(), Master: c.Master}
	for _, name := range []string{keyFile, erasedFile} {
		data, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.Dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// databases gives a config a new, empty database of either kind.
func databases(t *testing.T, test func(t *testing.T, into func(Config) Config)) {
	t.Run("into sqlite", func(t *testing.T) { test(t, func(c Config) Config { return c }) })
	t.Run("into postgres", func(t *testing.T) {
		test(t, func(c Config) Config {
			c.Postgres, _ = storetest.Postgres(t)
			return c
		})
	})
}

// TestRestore: a backup that is older than an erasure, into either database.
func TestRestore(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		k := storetest.NewKit(t, s)
		var receipts []*issuer.Receipt
		for n := range 8 {
			r, err := k.Registry.Issue(t.Context(), storetest.Order(fmt.Sprint(n), storetest.Dose(n)))
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, r)
		}
		revoke := func(n int) {
			t.Helper()
			if _, err := k.Registry.Revoke(t.Context(), storetest.By("clerk-1"), issuer.Guard{ID: receipts[n].ID, Version: 1}, issuer.ReasonData); err != nil {
				t.Fatal(err)
			}
		}
		erase := func(n int) {
			t.Helper()
			if _, err := k.Registry.Erase(t.Context(), storetest.By("officer-1"), receipts[n].ID); err != nil {
				t.Fatal(err)
			}
		}
		for n := 2; n < 4; n++ {
			if _, err := k.Registry.Report(t.Context(), storetest.By("clerk-1"), receipts[n].ID, issuer.Guard{}, storetest.Fever()); err != nil {
				t.Fatal(err)
			}
		}
		revoke(0)
		erase(1)
		old := backup(t, s)
		lists := k.Lists(t)
		before, _, err := k.Registry.List(t.Context(), storetest.By("clerk-1"), issuer.ID{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		// After the backup: an erasure of a revoked record and of a valid one.
		erase(0)
		erase(2)
		shut(t, s)

		databases(t, func(t *testing.T, into func(Config) Config) {
			n := into(elsewhere(t, c))
			count, err := Restore(t.Context(), n, bytes.NewReader(old))
			if err != nil || count != 5 {
				t.Fatalf("%d records, %v", count, err)
			}
			r := open(t, n)
			k.Registry.Book = r
			for i, receipt := range receipts {
				held, err := k.Registry.Read(t.Context(), storetest.By("clerk-1"), receipt.ID)
				if i < 3 {
					if !errors.Is(err, issuer.ErrNotFound) {
						t.Errorf("record %d was erased: %v", i, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("record %d: %v", i, err)
				} else if diff := cmp.Diff(receipt.Held, *held); diff != "" {
					t.Error(diff)
				}
				again, err := k.Registry.Issue(t.Context(), storetest.Order(fmt.Sprint(i), storetest.Dose(i)))
				if err != nil || !again.Replayed {
					t.Errorf("its request is not known any more: %v", err)
				}
			}
			after, _, err := k.Registry.List(t.Context(), storetest.By("clerk-1"), issuer.ID{}, 100)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.DeleteFunc(slices.Clone(before), func(h issuer.Head) bool { return h.ID == receipts[0].ID || h.ID == receipts[2].ID })
			if diff := cmp.Diff(want, after); diff != "" {
				t.Error(diff)
			}
			for n, want := range map[int]int{2: 0, 3: 1} {
				reports, err := r.Adverse(t.Context(), receipts[n].ID, issuer.Line{By: "test", Action: issuer.ActionRead})
				if err != nil || len(reports) != want || want == 1 && reports[0].Text != storetest.Fever().Text {
					t.Errorf("adverse events of record %d: %+v, %v", n, reports, err)
				}
			}
			// The lists say what they said, and are newer than any that were published.
			restored := k.Lists(t)
			for i, l := range restored {
				if l.Counter <= lists[i].Counter+1000 {
					t.Errorf("counter %d after %d", l.Counter, lists[i].Counter)
				}
				if l.Scheme == issuer.SchemeSignature && !bytes.Equal(l.Document, lists[i].Document) {
					t.Errorf("%s", l.Document)
				}
			}
			for _, a := range receipts[0].Artefacts {
				if outcome := k.Verify(t, a.Text, restored); outcome != "revoked" {
					t.Errorf("%s of the erased and revoked record: %s", a.Format, outcome)
				}
			}
			if r.Close() != nil {
				t.Error("close")
			}
			if _, err := Restore(t.Context(), n, bytes.NewReader(old)); !errors.Is(err, ErrExists) {
				t.Errorf("over a store: %v", err)
			}
		})
	})
}

// TestBackupCannotRead: a backup, the master key, and a key file in which the key
// was erased: all three together do not bring the record back.
func TestBackupCannotRead(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	r := issue(t, s, 1)[0]
	old := backup(t, s)
	list, err := os.ReadFile(filepath.Join(c.Dir, erasedFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Erase(t.Context(), []issuer.Guard{{ID: r.ID, Version: 1}}, issuer.Line{By: "test", Action: issuer.ActionErase}); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	n := elsewhere(t, c)
	// Somebody has put the old, empty list back.
	if err := os.WriteFile(filepath.Join(n.Dir, erasedFile), list, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), n, bytes.NewReader(old)); err != nil {
		t.Fatal(err)
	}
	if err := readable(t, open(t, n), r.ID); !errors.Is(err, issuer.ErrUnreadable) {
		t.Errorf("%v", err)
	}
}

// TestBackupOnline: a backup that is made while others write is of one moment.
func TestBackupOnline(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		k := storetest.NewKit(t, s)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					r, err := k.Registry.Issue(t.Context(), storetest.Order(fmt.Sprintf("%d/%d", worker, n), storetest.Dose(n)))
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := k.Registry.Revoke(t.Context(), storetest.By("clerk-1"), issuer.Guard{ID: r.ID, Version: 1}, issuer.ReasonData); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		var backups [][]byte
		for range 3 {
			backups = append(backups, backup(t, s))
		}
		stop()
		wg.Wait()
		shut(t, s)
		for _, b := range backups {
			n := elsewhere(t, c)
			if _, err := Restore(t.Context(), n, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			r := open(t, n)
			var halves int64
			err := r.db.read(t.Context(), func(t tx) error {
				return t.row(`SELECT (SELECT count(*) FROM record WHERE (SELECT count(*) FROM artefact WHERE artefact.record = record.id) <> 2)
					+ (SELECT count(*) FROM record WHERE state = 'revoked' AND (SELECT count(*) FROM revoked WHERE revoked.record = record.id) <> 2)
					+ (SELECT abs(count(*) * 5 - (SELECT count(*) FROM term)) FROM record)`, nil, &halves)
			})
			if err != nil || halves != 0 {
				t.Errorf("%d records in halves, %v", halves, err)
			}
			shut(t, r)
		}
	})
}

// TestRestoreRefuses: a backup with a changed byte, a missing end or something
// else in it brings nothing back at all.
func TestRestoreRefuses(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	issue(t, s, 2)
	good := backup(t, s)
	err := s.db.write(t.Context(), func(t tx) error {
		return t.all(stmt{sql: `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`})
	})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	n := elsewhere(t, c)
	refused := func(name string, data []byte) {
		t.Helper()
		if _, err := Restore(t.Context(), n, bytes.NewReader(data)); err == nil {
			t.Errorf("%s: restored", name)
		}
		if _, err := Open(t.Context(), n); !errors.Is(err, ErrNoStore) {
			t.Errorf("%s: there is a store now, %v", name, err)
		}
	}
	for _, cut := range []int{0, 3, 20, len(good) / 2, len(good) - 33, len(good) - 1} {
		refused(fmt.Sprintf("cut at %d", cut), good[:cut])
	}
	for at := 0; at < len(good); at += 1 + len(good)/60 {
		changed := slices.Clone(good)
		changed[at] ^= 0x20
		refused(fmt.Sprintf("byte %d changed", at), changed)
	}
	refused("no backup", []byte("PGDMP and so on, a whole lot of it"))
	another := Config{Dir: t.TempDir(), Master: c.Master}
	shut(t, create(t, another))
	other := elsewhere(t, another)
	if _, err := Restore(t.Context(), other, bytes.NewReader(good)); !errors.Is(err, ErrMismatch) {
		t.Errorf("under another store's key file: %v", err)
	}
	if _, err := Restore(t.Context(), n, bytes.NewReader(good)); err != nil {
		t.Errorf("the good one, after all: %v", err)
	}
}

// TestBackedUp: no table and no column is forgotten, but for the jobs, which are
// in no backup on purpose.
func TestBackedUp(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	var got []table
	err := s.db.read(t.Context(), func(t tx) error {
		return t.rows(`SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE 'goose%'
			AND m.name NOT IN ('job', 'job_row', 'doomed') ORDER BY m.rowid, c.cid`, nil, func(s scan) error {
			var name, column string
			if err := s(&name, &column); err != nil {
				return err
			}
			if len(got) == 0 || got[len(got)-1].name != name {
				got = append(got, table{name: name})
			}
			got[len(got)-1].columns = append(got[len(got)-1].columns, column)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, backedUp, cmp.AllowUnexported(table{})); diff != "" {
		t.Error(diff)
	}
}

// nowhere takes rows and keeps none.
type nowhere struct{ n int }

func (w *nowhere) row(string, []any, ...any) error            { return errNoRow }
func (w *nowhere) rows(string, []any, func(scan) error) error { return nil }
func (w *nowhere) all(stmts ...stmt) error                    { w.n += len(stmts); return nil }

func FuzzBackup(f *testing.F) {
	c := Config{Dir: f.TempDir(), Master: newMaster(f)}
	s := create(f, c)
	issue(f, s, 1)
	f.Add(backup(f, s))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newBackupReader(bytes.NewReader(data))
		head, err := in.header()
		if err != nil {
			return
		}
		for _, table := range head.tables {
			for _, c := range table.columns {
				if !isName(c) {
					t.Errorf("%q goes into a statement", c)
				}
			}
		}
		_ = in.rows(new(nowhere), head.tables)
	})
}
