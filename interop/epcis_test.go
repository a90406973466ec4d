package interop

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/format/epcis"
	"ampoule/format/strictjson"
)

// runEPCIS reads every example document, takes its events through a repository's form
// and back, and asks that nothing was lost.
func runEPCIS(t *testing.T, b *board, dir string) {
	err := filepath.WalkDir(filepath.Join(dir, "examples"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".jsonld") && !strings.HasSuffix(path, ".json") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		r := result{format: "epcis", group: "examples", name: name, judgement: agree}
		if err := judgeEvents(data); errors.Is(err, strictjson.ErrDuplicateName) {
			r.judgement, r.rule, r.detail = disagree, "a name twice", err.Error()
		} else if err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func judgeEvents(data []byte) error {
	d, findings, err := epcis.Parse(data)
	if err != nil {
		return err
	}
	if len(findings) > 0 {
		return fmt.Errorf("%s: %w", findings[0].Path, findings[0].Reason)
	}
	if len(d.Events) == 0 {
		return errors.New("no event was read")
	}
	recorded := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var kept []epcis.Kept
	for _, e := range d.Events {
		kept = append(kept, e.Keep(e.HashID(), recorded))
	}
	answer, findings, err := epcis.Parse(epcis.AppendQueryDocument(nil, recorded, "all", "", kept))
	if err != nil || len(findings) > 0 {
		return fmt.Errorf("the answer to a query: %v, %w", findings, err)
	}
	for i, e := range d.Events {
		got, want := members(answer.Events[i]), members(e)
		if !same(got, want) {
			return fmt.Errorf("event %d: %v, want %v", i, got, want)
		}
		if answer.Events[i].Hash() != e.Hash() {
			return fmt.Errorf("event %d has another hash", i)
		}
	}
	return nil
}

// members are what an event told, but for what a repository says of it.
func members(e *epcis.Event) map[string]any {
	all, _ := e.Value().Any().(map[string]any)
	all = maps.Clone(all)
	for _, name := range []string{"recordTime", "captureID", "eventID", "@context"} {
		delete(all, name)
	}
	return all
}

// runEventHashes names the events of every document in JSON.
func runEventHashes(t *testing.T, b *board, dir string) {
	paths, err := filepath.Glob(filepath.Join(dir, "examples", "*.hashes"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no hashes in %s: %v", dir, err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".hashes")
		r := result{format: "epcis-hash", group: "examples", name: name, judgement: agree}
		data, err := os.ReadFile(strings.TrimSuffix(path, ".hashes") + ".jsonld")
		if errors.Is(err, fs.ErrNotExist) {
			r.judgement, r.detail = notApplicable, "in XML alone"
			b.add(r)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := judgeHashes(data, strings.Fields(string(want))); err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}
	// Events that are one and the same in several forms.
	equal, err := os.ReadDir(filepath.Join(dir, "expected_equal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, entry := range equal {
		r := result{format: "epcis-hash", group: "equal", name: entry.Name(), judgement: agree}
		if strings.HasSuffix(entry.Name(), ".xml") {
			r.judgement, r.detail = notApplicable, "in XML alone"
			b.add(r)
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, "expected_equal", entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := judgeHashes(data, nil); err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}
}

// judgeHashes compares the names of events with what is wanted; with nil, with each
// other.
func judgeHashes(data []byte, want []string) error {
	d, _, err := epcis.Parse(data)
	if err != nil {
		return err
	}
	if want != nil && len(d.Events) != len(want) {
		return fmt.Errorf("%d events, want %d", len(d.Events), len(want))
	}
	for i, e := range d.Events {
		wanted := d.Events[0].HashID()
		if want != nil {
			wanted = want[i]
		}
		if got := e.HashID(); got != wanted {
			return fmt.Errorf("event %d: %s, want %s", i, got, wanted)
		}
	}
	return nil
}
