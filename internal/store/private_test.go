//go:build linux

package store

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/cert"
	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

// TestNothingPersonal looks through every file of the store and of the database,
// through a backup and through every error, for what was in the records.
func TestNothingPersonal(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		k := storetest.NewKit(t, s)
		ctx := t.Context()
		var said bytes.Buffer // what errors say
		say := func(err error) { fmt.Fprintln(&said, err) }
		var needles []string
		var receipts []*issuer.Receipt
		for n := range 12 {
			record := storetest.Dose(n)
			r, err := k.Registry.Issue(ctx, storetest.Order("row of "+record.Person.Name.Given, record))
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, r)
			p := record.Person
			needles = append(needles, p.Name.Family, p.Name.Given, string(p.BirthDate), p.Document.Number, r.Record.ID, r.Artefacts[0].Text[:40], r.Artefacts[1].Text[:60])
		}
		other := storetest.Order("row of "+receipts[0].Record.Person.Name.Given, storetest.Dose(1))
		_, err := k.Registry.Issue(ctx, other)
		say(err)
		_, err = k.Registry.Correct(ctx, issuer.Guard{ID: receipts[3].ID, Version: 9}, issuer.ReasonData, storetest.Order("", storetest.Dose(3)))
		say(err)
		bad := storetest.Dose(5)
		bad.Vaccination.Date = "2030-01-01"
		_, err = k.Registry.Issue(ctx, storetest.Order("", bad))
		say(err)
		if _, err := k.Registry.Search(ctx, storetest.By("clerk-1"), issuer.Query{Name: cert.Name{Full: receipts[0].Record.Person.Name.Family}, BirthDate: "1950-01-01"}); err != nil {
			say(err)
		}
		event := storetest.Fever()
		event.Text = "slept badly in the Rue Fictive"
		if _, err := k.Registry.Report(ctx, storetest.By("clerk-1"), receipts[2].ID, issuer.Guard{}, event); err != nil {
			t.Fatal(err)
		}
		needles = append(needles, event.Text, "\"fever\"")
		event.Text = "before a \x00"
		_, err = k.Registry.Report(ctx, storetest.By("clerk-1"), receipts[2].ID, issuer.Guard{}, event)
		say(err)
		if _, err := k.Registry.Erase(ctx, storetest.By("officer-1"), receipts[7].ID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.vault.keys.file.WriteAt(make([]byte, 10), row); err != nil { // damage
			t.Fatal(err)
		}
		_, err = k.Registry.Read(ctx, storetest.By("clerk-1"), receipts[0].ID)
		say(err)
		if strings.Count(said.String(), "\n") < 4 || strings.Contains(said.String(), "<nil>") {
			t.Fatalf("the errors to look at: %s", said.String())
		}

		backup := filepath.Join(c.Dir, "backup")
		f, err := os.Create(backup)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Backup(ctx, f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		folders := []string{c.Dir}
		if c.Postgres != "" {
			_, server := storetest.Postgres(t)
			folders = append(folders, server.Data())
			// So that the server's files have everything in them.
			if _, err := s.db.(*postgresDB).pool.Exec(ctx, "CHECKPOINT"); err != nil {
				t.Fatal(err)
			}
		}
		look := func(name string, data []byte) (found []string) {
			for _, n := range needles {
				if bytes.Contains(data, []byte(n)) {
					found = append(found, name+": "+n)
				}
			}
			return found
		}
		if found := look("a plain record", fmt.Append(nil, *receipts[0].Record, receipts[0].Artefacts[0].Text)); len(found) < 4 {
			t.Fatalf("the search finds nothing where it should: %q", found)
		}
		for _, found := range look("an error", said.Bytes()) {
			t.Error(found)
		}
		files, bytesRead := 0, 0
		for _, folder := range folders {
			err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				data, err := os.ReadFile(path)
				if os.IsNotExist(err) {
					return nil // the server has removed it meanwhile
				}
				files++
				bytesRead += len(data)
				for _, found := range look(path, data) {
					t.Error(found)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if files < 4 || bytesRead < 100_000 {
			t.Errorf("%d files of %d bytes were looked at", files, bytesRead)
		}
	})
}
