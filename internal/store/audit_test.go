//go:build linux

package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/internal/access"
)

// said adds n lines about people, and a seal over them.
func said(t testing.TB, s *Store, n int) {
	t.Helper()
	for i := range n {
		line := access.Line{At: time.Now(), By: "u-1", Event: access.EventLogin, Subject: fmt.Sprint("s-", i), Organisation: "org-1"}
		if err := s.db.writeAll(t.Context(), s.auditAccess(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.seal(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}

func verifyAudit(t testing.TB, s *Store) *AuditReport {
	t.Helper()
	r, err := s.VerifyAudit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// quiet is a config whose sealer comes only when it is called.
func quiet(c Config) Config {
	c.sealEvery = time.Hour
	return c
}

// unguard takes the triggers away, as the owner of a database can.
func unguard(t testing.TB, s *Store) {
	t.Helper()
	for table, names := range map[string][]string{"audit": {"audit_update", "audit_delete"}, "seal": {"seal_update", "seal_delete", "seal_change"}} {
		for _, name := range names {
			text := "DROP TRIGGER IF EXISTS " + name
			if _, ok := s.db.(*postgresDB); ok {
				text += " ON " + table
			}
			do(t, s, text)
		}
	}
}

func do(t testing.TB, s *Store, text string, args ...any) {
	t.Helper()
	if err := s.db.writeAll(t.Context(), stmt{sql: text, args: args}); err != nil {
		t.Fatal(err)
	}
}

// idOf returns the identifier of the nth line of a seal.
func idOf(t testing.TB, s *Store, seal, n int64) (id []byte) {
	t.Helper()
	if err := s.db.readRow(t.Context(), `SELECT id FROM audit WHERE seal = $1 ORDER BY id LIMIT 1 OFFSET $2`, []any{seal, n}, &id); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestAuditTampering: three seals of five lines each, and what somebody does to
// them who owns the database and has no master key.
func TestAuditTampering(t *testing.T) {
	if testing.Short() {
		t.Skip("the short tests look for races, and here is one hand at a time")
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, s *Store)
		want []string // kind and seal
	}{
		{"nothing", func(*testing.T, *Store) {}, nil},
		{"a line altered", func(t *testing.T, s *Store) {
			do(t, s, `UPDATE audit SET actor = 'u-2' WHERE id = $1`, idOf(t, s, 2, 1))
		}, []string{"altered 2", "reordered 2"}},
		{"a time altered", func(t *testing.T, s *Store) {
			do(t, s, `UPDATE audit SET at = at - 3600 WHERE id = $1`, idOf(t, s, 1, 0))
		}, []string{"altered 1", "reordered 1"}},
		{"a line deleted", func(t *testing.T, s *Store) { do(t, s, `DELETE FROM audit WHERE id = $1`, idOf(t, s, 2, 4)) }, []string{"missing 2"}},
		{"a seal's lines deleted", func(t *testing.T, s *Store) { do(t, s, `DELETE FROM audit WHERE seal = 2`) }, []string{"missing 2"}},
		{"a line inserted under a seal", func(t *testing.T, s *Store) {
			do(t, s, `INSERT INTO audit (id, at, actor, action, reason, seal) VALUES ($1, 1, 'u-2', 'read', '', 2)`, bytes.Repeat([]byte{7}, 16))
		}, []string{"inserted 2", "inserted 2"}},
		{"a line inserted to be sealed", func(t *testing.T, s *Store) {
			do(t, s, `INSERT INTO audit (id, at, actor, action, reason) VALUES ($1, 1, 'u-2', 'read', '')`, bytes.Repeat([]byte{7}, 16))
			said(t, s, 1)
		}, []string{"inserted 4"}},
		{"a line inserted with another's HMAC", func(t *testing.T, s *Store) {
			do(t, s, `INSERT INTO audit (id, at, actor, action, reason, subject, organisation, mac)
				SELECT $1, at, actor, action, reason, subject, organisation, mac FROM audit WHERE id = $2`, bytes.Repeat([]byte{7}, 16), idOf(t, s, 1, 1))
			said(t, s, 1)
		}, []string{"altered 4"}},
		{"a line moved to another seal", func(t *testing.T, s *Store) { do(t, s, `UPDATE audit SET seal = 3 WHERE id = $1`, idOf(t, s, 2, 0)) },
			[]string{"missing 2", "inserted 3"}},
		{"a line taken out of its seal", func(t *testing.T, s *Store) { do(t, s, `UPDATE audit SET seal = 0 WHERE id = $1`, idOf(t, s, 2, 0)) }, []string{"missing 2"}},
		{"a line under a seal to come", func(t *testing.T, s *Store) { do(t, s, `UPDATE audit SET seal = 9 WHERE id = $1`, idOf(t, s, 2, 0)) },
			[]string{"missing 2", "missing 9"}},
		{"two lines exchanged", func(t *testing.T, s *Store) {
			one, two := idOf(t, s, 1, 0), idOf(t, s, 2, 0)
			do(t, s, `UPDATE audit SET seal = 2 WHERE id = $1`, one)
			do(t, s, `UPDATE audit SET seal = 1 WHERE id = $1`, two)
		}, []string{"reordered 1", "reordered 2"}},
		{"two lines exchange their identifiers", func(t *testing.T, s *Store) {
			one, two := idOf(t, s, 1, 0), idOf(t, s, 1, 1)
			do(t, s, `UPDATE audit SET id = $1 WHERE id = $2`, bytes.Repeat([]byte{9}, 16), one)
			do(t, s, `UPDATE audit SET id = $1 WHERE id = $2`, one, two)
			do(t, s, `UPDATE audit SET id = $1 WHERE id = $2`, two, bytes.Repeat([]byte{9}, 16))
		}, []string{"altered 1", "altered 1", "reordered 1"}},
		{"two seals exchanged", func(t *testing.T, s *Store) {
			do(t, s, `UPDATE seal SET n = 99 WHERE n = 1`)
			do(t, s, `UPDATE seal SET n = 1 WHERE n = 2`)
			do(t, s, `UPDATE seal SET n = 2 WHERE n = 99`)
		}, []string{"seal 1", "reordered 1", "seal 2", "reordered 2", "reordered 3"}},
		{"a seal made again without the key", func(t *testing.T, s *Store) {
			do(t, s, `UPDATE audit SET actor = 'u-2' WHERE id = $1`, idOf(t, s, 3, 0))
			var l seal
			var lines []auditLine
			err := s.db.read(t.Context(), func(x tx) error {
				return s.walkAudit(x, nil, func(one *seal, its []auditLine) error {
					if one != nil && one.n == 3 {
						l, lines = *one, its
					}
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			do(t, s, `UPDATE seal SET digest = $1 WHERE n = $2`, digestOf(lines), l.n)
		}, []string{"seal 3", "altered 3", "seal 3"}},
		{"a seal in the middle deleted", func(t *testing.T, s *Store) {
			do(t, s, `DELETE FROM seal WHERE n = 2`)
			do(t, s, `DELETE FROM audit WHERE seal = 2`)
		}, []string{"missing 2"}},
		{"the last seal cut off with its lines", func(t *testing.T, s *Store) {
			do(t, s, `DELETE FROM seal WHERE n = 3`)
			do(t, s, `DELETE FROM audit WHERE seal = 3`)
		}, []string{"truncated 2"}},
		{"everything deleted", func(t *testing.T, s *Store) {
			do(t, s, `DELETE FROM seal`)
			do(t, s, `DELETE FROM audit`)
		}, []string{"truncated 0"}},
		{"the head deleted", func(t *testing.T, s *Store) {
			if err := os.Remove(filepath.Join(s.vault.dir, headFile)); err != nil {
				t.Fatal(err)
			}
		}, []string{"head 3"}},
		{"another head", func(t *testing.T, s *Store) {
			data := `{"seal":2,"lines":10,"hash":"00","at":"2026-11-01T00:00:00Z","mac":"00"}`
			if err := os.WriteFile(filepath.Join(s.vault.dir, headFile), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"head 3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			engines(t, func(t *testing.T, c Config) {
				s := create(t, quiet(c))
				for range 3 {
					said(t, s, 5)
				}
				unguard(t, s)
				tt.do(t, s)
				r := verifyAudit(t, s)
				var got []string
				for _, b := range r.Breaks {
					got = append(got, fmt.Sprintf("%s %d", b.Kind, b.Seal))
				}
				if fmt.Sprint(got) != fmt.Sprint(tt.want) || r.Whole() != (tt.want == nil) {
					t.Errorf("found %v, want %v", got, tt.want)
				}
				// It is found after the next start too, and after what the service writes then.
				shut(t, s)
				s = open(t, quiet(c))
				said(t, s, 2)
				if again := verifyAudit(t, s); again.Whole() != (tt.want == nil) {
					t.Errorf("after another start: %+v", again.Breaks)
				}
			})
		})
	}
}

// TestAuditTruncated: an end that was cut off while nobody looked is noticed at
// the next start, recorded, and never forgotten; the service goes on.
func TestAuditTruncated(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, quiet(c))
		said(t, s, 5)
		said(t, s, 5)
		unguard(t, s)
		shut(t, s)
		s = open(t, quiet(c))
		unguard(t, s)
		do(t, s, `DELETE FROM seal WHERE n = 2`)
		do(t, s, `DELETE FROM audit WHERE seal = 2`)
		for range 2 {
			shut(t, s)
			s = open(t, quiet(c))
			said(t, s, 3)
			r := verifyAudit(t, s)
			if len(r.Breaks) != 1 || r.Breaks[0].Kind != BreakRecorded || !strings.HasPrefix(r.Breaks[0].Detail, "truncated:had-2:has-1") {
				t.Errorf("%+v", r.Breaks)
			}
		}
	})
}

// TestAuditGuarded: the database itself refuses to change what is sealed.
func TestAuditGuarded(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, quiet(c))
		said(t, s, 2)
		for _, text := range []string{`UPDATE audit SET actor = 'u-2'`, `DELETE FROM audit`, `UPDATE seal SET total = 0`, `DELETE FROM seal`} {
			if err := s.db.writeAll(t.Context(), stmt{sql: text}); err == nil {
				t.Errorf("%s was done", text)
			}
		}
		if r := verifyAudit(t, s); !r.Whole() || r.Lines != 2 || r.Seals != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// TestAuditAtOnce: lines that come while seals are made, from many at once and out
// of order, are each covered once.
func TestAuditAtOnce(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		c.sealEvery = time.Millisecond
		s := create(t, c)
		const workers, each = 16, 150
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for n := range each {
					err := s.db.write(t.Context(), func(x tx) error {
						if err := x.all(s.auditAccess(access.Line{At: time.Now(), By: fmt.Sprint("u-", w), Event: access.EventLogin, Subject: fmt.Sprint(n)})); err != nil {
							return err
						}
						if c.Postgres != "" && n%10 == 0 {
							time.Sleep(3 * time.Millisecond) // commits late, with an early identifier
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		shut(t, s)
		s = open(t, c)
		r := verifyAudit(t, s)
		if !r.Whole() || r.Lines != workers*each || r.Open != 0 || r.Seals < 3 {
			t.Errorf("%+v", r)
		}
		if when, err := s.AuditSealed(); err != nil {
			t.Errorf("%v %v", when, err)
		}
	})
}

// TestAuditRestored: a backup that is older than the head is restored, and the log
// says so for good.
func TestAuditRestored(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, quiet(c))
		said(t, s, 5)
		old := backup(t, s)
		said(t, s, 5) // with the line of the backup
		said(t, s, 5)
		shut(t, s)
		head, err := os.ReadFile(filepath.Join(c.Dir, headFile))
		if err != nil {
			t.Fatal(err)
		}
		databases(t, func(t *testing.T, into func(Config) Config) {
			for _, withHead := range []bool{true, false} {
				n := quiet(into(elsewhere(t, c)))
				want := "restored from backup of seal-1 at "
				if withHead {
					want = "restored from backup of seal-1:had-3 at "
					if err := os.WriteFile(filepath.Join(n.Dir, headFile), head, 0o600); err != nil {
						t.Fatal(err)
					}
				} else if n.Postgres != "" {
					continue // one empty database is enough
				}
				if _, err := Restore(t.Context(), n, bytes.NewReader(old)); err != nil {
					t.Fatal(err)
				}
				r := open(t, n)
				said(t, r, 3)
				report := verifyAudit(t, r)
				if !report.Whole() || len(report.Restored) != 1 || !strings.HasPrefix(report.Restored[0].Detail, want) || report.Lines != 5+1+3 {
					t.Errorf("%+v", report)
				}
			}
		})
	})
}

// TestAuditAdopted: a store from before there were seals keeps its lines, and what
// comes later needs an HMAC.
func TestAuditAdopted(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		shut(t, create(t, c))
		// As such a version left it: a line, and no head.
		db, err := openEngine(t.Context(), c, false)
		if err != nil {
			t.Fatal(err)
		}
		err = db.writeAll(t.Context(), stmt{sql: `INSERT INTO audit (id, at, actor, action, reason) VALUES ($1, 1, 'clerk-1', 'read', '')`, args: []any{bytes.Repeat([]byte{1}, 16)}})
		if err != nil || db.close() != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(c.Dir, headFile)); err != nil {
			t.Fatal(err)
		}
		s := open(t, quiet(c))
		if r := verifyAudit(t, s); !r.Whole() || r.Lines != 1 || r.Seals != 1 {
			t.Errorf("%+v", r)
		}
		said(t, s, 1)
		do(t, s, `INSERT INTO audit (id, at, actor, action, reason) VALUES ($1, 1, 'clerk-1', 'read', '')`, bytes.Repeat([]byte{2}, 16))
		said(t, s, 1)
		if r := verifyAudit(t, s); len(r.Breaks) != 1 || r.Breaks[0].Kind != BreakInserted {
			t.Errorf("%+v", r)
		}
	})
}

// TestAuditExport: everything comes out, in the order of the seals, and whoever
// has it can follow the chain without the master key.
func TestAuditExport(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, quiet(c))
		issue(t, s, 2)
		said(t, s, 3)
		said(t, s, 1)
		var out bytes.Buffer
		if err := s.ExportAudit(context.Background(), &out, "", time.Time{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		prev := hex.EncodeToString(make([]byte, sha256.Size))
		lines, seals := 0, 0
		for scan := bufio.NewScanner(&out); scan.Scan(); {
			var l struct {
				AuditLine
				Sealed     *time.Time
				Prev, Hash string
			}
			if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
				t.Fatal(err)
			}
			if l.Sealed == nil {
				lines++
				if (l.Action == "issue") != (l.Record != "") || l.By == "" || l.Seal == 0 {
					t.Errorf("%s", scan.Bytes())
				}
				continue
			}
			seals++
			if l.Prev != prev {
				t.Errorf("after %s comes %s", prev, scan.Bytes())
			}
			prev = l.Hash
		}
		if lines != 6 || seals != 2 || prev != verifyAudit(t, s).Head {
			t.Errorf("%d lines, %d seals, %s", lines, seals, prev)
		}
		out.Reset()
		if err := s.ExportAudit(t.Context(), &out, "org-1", time.Time{}, time.Time{}); err != nil || strings.Count(out.String(), "\n") != 4 || strings.Contains(out.String(), "issue") {
			t.Errorf("of one organisation: %v\n%s", err, out.String())
		}
		out.Reset()
		if err := s.ExportAudit(t.Context(), &out, "", time.Now().Add(time.Hour), time.Time{}); err != nil || out.Len() > 0 {
			t.Errorf("of the future: %v\n%s", err, out.String())
		}
	})
}
