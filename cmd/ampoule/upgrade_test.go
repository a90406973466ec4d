//go:build linux

package main

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"ampoule/internal/storetest"
)

// TestUpgrade: a service whose store has the schema of the version before goes on
// under this one, with the same certificates and the same verdicts.
func TestUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		s.start()
		supervisor := s.setUp().letIn("specimen.supervisor", "supervisor", "north")
		var texts []string
		var ids []string
		for n := range 6 {
			made := supervisor.want(http.StatusCreated, "POST", "/v1/certificates", s.orderOf(n, 1))
			ids, texts = append(ids, made["id"].(string)), append(texts, textsOf(made)["eu-dcc"])
		}
		supervisor.want(http.StatusOK, "POST", "/v1/certificates/"+ids[1]+"/revoke", `{"reason":"fraud"}`, "If-Match", `"1"`)
		supervisor.want(http.StatusCreated, "POST", "/v1/certificates/"+ids[2]+"/correct", s.orderOf(7, 2, "reason", "wrong-data"), "If-Match", `"1"`)
		supervisor.want(http.StatusOK, "DELETE", "/v1/certificates/"+ids[3], "")
		before := supervisor.documents()
		s.stop()

		newest := s.olderSchema()
		said := s.operate(0, "migrate", "--dry-run")
		if !strings.Contains(said, fmt.Sprintf("schema %d, newest %d", newest-1, newest)) {
			t.Fatalf("%s", said)
		}
		s.start()
		for n, want := range []string{"valid", "revoked", "superseded", "valid", "valid", "valid"} {
			if got := s.outcome(texts[n]); got != want {
				t.Errorf("certificate %d: %s, want %s", n, got, want)
			}
		}
		// The session is one of before.
		if after := supervisor.documents(); fmt.Sprint(after) != fmt.Sprint(before) || len(after) != 6 {
			t.Errorf("%v, were %v", after, before)
		}
		supervisor.want(http.StatusNotFound, "GET", "/v1/certificates/"+ids[3], "")
		supervisor.want(http.StatusCreated, "POST", "/v1/certificates", s.orderOf(8, 1))
		if said := s.operate(0, "migrate", "--dry-run"); !strings.Contains(said, "up to date") {
			t.Errorf("%s", said)
		}
		if said := s.operate(0, "audit", "verify"); !strings.Contains(said, "whole: ") {
			t.Errorf("%s", said)
		}
		s.stop()
	})
}

// olderSchema brings what the database has into a new one, which the migrations made
// but for the last, and returns the number of that.
func (s *box) olderSchema() (newest int64) {
	s.t.Helper()
	check := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	path := filepath.Join(s.store(), databaseFile)
	driver, dialect, source, from := "sqlite", goose.DialectSQLite3, path, "before."
	if s.postgres != "" {
		dsn, _ := storetest.Postgres(s.t)
		_, schema, _ := strings.Cut(s.postgres, "search_path=")
		driver, dialect, source, from, s.postgres = "pgx", goose.DialectPostgres, dsn, schema+".", dsn
	} else {
		check(os.Rename(path, path+".before"))
		for _, name := range []string{"-wal", "-shm"} {
			if err := os.Rename(path+name, path+".before"+name); !os.IsNotExist(err) {
				check(err)
			}
		}
	}
	db, err := sql.Open(driver, source)
	check(err)
	defer db.Close()
	db.SetMaxOpenConns(1) // another one would not know what is attached
	migrations, err := goose.NewProvider(dialect, db, os.DirFS("../../internal/store/migrations"), goose.WithDisableGlobalRegistry(true))
	check(err)
	all := migrations.ListSources()
	newest = all[len(all)-1].Version
	_, err = migrations.UpTo(s.t.Context(), newest-1)
	check(err)
	list := `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`
	if s.postgres == "" {
		_, err := db.Exec(`ATTACH DATABASE ? AS before`, path+".before")
		check(err)
		list = `SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	}
	names := func(query string) (out []string) {
		rows, err := db.Query(query)
		check(err)
		defer rows.Close()
		for rows.Next() {
			var name string
			check(rows.Scan(&name))
			out = append(out, name)
		}
		check(rows.Err())
		return out
	}
	copied := 0
	for _, table := range names(list) {
		if table == "goose_db_version" {
			continue
		}
		rows, err := db.Query(`SELECT * FROM ` + table)
		check(err)
		columns, err := rows.Columns()
		check(err)
		check(rows.Close())
		text := strings.Join(columns, ", ")
		into := table
		if s.postgres == "" {
			into = "main." + table
		}
		result, err := db.Exec(`INSERT INTO ` + into + ` (` + text + `) SELECT ` + text + ` FROM ` + from + table)
		check(err)
		n, err := result.RowsAffected()
		check(err)
		copied += int(n)
	}
	if copied < 20 {
		s.t.Fatalf("%d rows were copied", copied)
	}
	if s.postgres == "" {
		check(db.Close())
	}
	return newest
}
