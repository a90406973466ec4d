//go:build linux

package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/internal/keys"
	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

// bulkChildVariable has a bulkTask in JSON: the test binary is then a process that
// works on a job until it is killed.
const bulkChildVariable = "AMPOULE_STORE_BULK_CHILD"

type bulkTask struct {
	Dir, Postgres string
	Job           string
}

// tellingBook says after each durable step that there was one.
type tellingBook struct {
	storetest.BulkBook
}

func (b tellingBook) Append(ctx context.Context, e issuer.Entry) ([]issuer.ID, error) {
	same, err := b.BulkBook.Append(ctx, e)
	fmt.Println("issued")
	return same, err
}

func (b tellingBook) MarkRows(ctx context.Context, id issuer.ID, marks []issuer.RowMark) error {
	err := b.BulkBook.MarkRows(ctx, id, marks)
	fmt.Println("marked")
	return err
}

// bulkChild works on a job, starts it once it is checked, and ends with it.
func bulkChild() {
	var c bulkTask
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	check(json.Unmarshal([]byte(os.Getenv(bulkChildVariable)), &c))
	master, err := keys.LoadMasterKey(filepath.Join(c.Dir, "master"), keys.Unencrypted())
	check(err)
	s, err := Open(context.Background(), Config{Dir: c.Dir, Postgres: c.Postgres, Master: master})
	check(err)
	id, err := issuer.ParseID(c.Job)
	check(err)
	k := storetest.NewBulkKit(&testing.T{}, tellingBook{s})
	k.Bulk.Trouble = func(_ issuer.ID, err error) { check(err) }
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Bulk.Serve(ctx)
	}()
	for ; ; time.Sleep(2 * time.Millisecond) {
		j, err := s.Job(ctx, id)
		check(err)
		switch j.State {
		case issuer.JobChecked:
			_, err := k.Bulk.Start(ctx, bulkClerk, issuer.Guard{ID: id, Version: j.Version})
			check(err)
		case issuer.JobFinished:
			stop()
			<-ended
			check(s.Close())
			fmt.Println("finished")
			return
		}
	}
}

// bulkClerk may see the jobs of every place.
var bulkClerk = issuer.Actor{ID: "clerk-1"}

// TestKillBulk kills the process that works on a job, with SIGKILL, at random
// moments of the check and of the issue, until one lives to the end of it.
func TestKillBulk(t *testing.T) {
	if testing.Short() {
		t.Skip("the short tests look for races, and what is killed tells of none")
	}
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		saveMaster(t, c)
		rows := make([]string, 1500)
		for n := range rows {
			rows[n] = storetest.CSVRow(n)
		}
		for i, f := range storetest.Faults {
			at := len(rows) / 8 * i
			rows[at] = strings.Replace(rows[at], f.Old, f.New, 1)
		}
		k := storetest.NewBulkKit(t, s)
		j := k.Upload(t, storetest.Series("s"), storetest.CSV(rows...))
		shut(t, s)

		task, err := json.Marshal(bulkTask{c.Dir, c.Postgres, j.ID.String()})
		if err != nil {
			t.Fatal(err)
		}
		lives, steps := 0, 0
		for finished := false; !finished; lives++ {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), bulkChildVariable+"="+string(task))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// The first lives end in the check, which is marked page by page.
			most := 20 + rand.IntN(len(rows)/5)
			if lives < 2 {
				most = 1 + rand.IntN(2)
			}
			told := 0
			for scan := bufio.NewScanner(out); scan.Scan(); {
				finished = finished || scan.Text() == "finished"
				if told++; told == most {
					time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
					_ = cmd.Process.Kill()
				}
			}
			_ = cmd.Wait()
			if stderr.Len() > 0 {
				t.Fatalf("the child: %s", stderr.String())
			}
			if steps += told; lives > 100 {
				t.Fatal("it does not come to its end")
			}
		}
		if lives < 5 {
			t.Errorf("only %d lives", lives)
		}
		t.Logf("%d lives, %d steps", lives, steps)

		s = open(t, c)
		j, err = s.Job(t.Context(), j.ID)
		want := issuer.Counts{Total: int64(len(rows)), Done: int64(len(rows) - len(storetest.Faults)), Failed: int64(len(storetest.Faults))}
		if err != nil || j.State != issuer.JobFinished || j.Counts != want {
			t.Errorf("%s, %+v, want %+v, %v", j.State, j.Counts, want, err)
		}
		marked, err := s.Rows(t.Context(), j.ID, 0, 10_000, issuer.RowDone)
		if err != nil {
			t.Fatal(err)
		}
		records := make(map[issuer.ID]bool)
		for _, r := range marked {
			records[r.Record] = true
		}
		k = storetest.NewBulkKit(t, s)
		if n := k.Issued(t); n != len(records) || int64(n) != want.Done {
			t.Errorf("%d records, %d of them told, want %d", n, len(records), want.Done)
		}
		var doomed, keysOf int64
		err = s.db.read(t.Context(), func(t tx) error {
			return t.row(`SELECT (SELECT count(*) FROM doomed), (SELECT count(rows_slot) FROM job)`, nil, &doomed, &keysOf)
		})
		if err != nil || doomed != 0 || keysOf != 0 {
			t.Errorf("%d keys to overwrite, %d of rows left, %v", doomed, keysOf, err)
		}
	})
}

// TestBulkCrashes: an upload that was cut off is gone after the next opening, and a
// key that was to be overwritten is.
func TestBulkCrashes(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		s := create(t, c)
		ctx := t.Context()
		id, err := issuer.NewID(time.Now(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CreateJob(ctx, issuer.Job{ID: id, Version: 1, State: issuer.JobUploading, Created: storetest.Day}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddRows(ctx, id, []issuer.JobRow{{N: 1, Line: 2, Source: []byte(`["Ada"]`)}}); err != nil {
			t.Fatal(err)
		}
		var slots [2]int64
		if err := s.db.read(ctx, func(t tx) error {
			return t.row(`SELECT rows_slot, kept_slot FROM job`, nil, &slots[0], &slots[1])
		}); err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		s = open(t, c)
		if _, err := s.Job(ctx, id); err == nil {
			t.Error("the upload is there")
		}
		var left int64
		if err := s.db.read(ctx, func(t tx) error {
			return t.row(`SELECT (SELECT count(*) FROM job_row) + (SELECT count(*) FROM doomed)`, nil, &left)
		}); err != nil || left != 0 {
			t.Errorf("%d rows, %v", left, err)
		}
		for _, slot := range slots {
			if _, err := s.vault.key(slot); err == nil {
				t.Errorf("key %d is there", slot)
			}
		}

		// The process ends after the end of a job, before its key is overwritten.
		key, err := s.vault.take()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.db.writeAll(ctx, stmt{sql: `INSERT INTO doomed (slot) VALUES ($1)`, args: []any{key.slot}}); err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		s = open(t, c)
		if _, err := s.vault.key(key.slot); err == nil {
			t.Error("the key is there")
		}
	})
}

// TestBulkNothingPersonal: the database has nothing of the rows in the clear, and
// after the end of the job no key to read them with.
func TestBulkNothingPersonal(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	k := storetest.NewBulkKit(t, s)
	k.Serve(t)
	bad := strings.Replace(storetest.CSVRow(2), "2026-10-01", "never", 1)
	j := k.Run(t, storetest.Series("s"), storetest.CSV(storetest.CSVRow(1), bad))
	files, err := filepath.Glob(filepath.Join(c.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		looked += len(data)
		for _, word := range []string{storetest.Families[1], storetest.Families[2], storetest.Documents, storetest.Lots, "never"} {
			if bytes.Contains(data, []byte(word)) {
				t.Errorf("%s: %s", file, word)
			}
		}
	}
	if looked < 100_000 {
		t.Errorf("%d bytes were looked at", looked)
	}
	if j.Done != 1 || j.Failed != 1 {
		t.Errorf("%+v", j.Counts)
	}
}

// TestBulkMemory: a file of the most rows goes through in bounded memory. It takes
// minutes, and runs where it is asked for: AMPOULE_BULK_ROWS=200000.
func TestBulkMemory(t *testing.T) {
	rows := 0
	if _, err := fmt.Sscan(os.Getenv("AMPOULE_BULK_ROWS"), &rows); err != nil {
		t.Skip("AMPOULE_BULK_ROWS says how many rows")
	}
	engines(t, func(t *testing.T, c Config) {
		k := storetest.NewBulkKit(t, create(t, c))
		var peak atomic.Uint64
		done := make(chan struct{})
		go func() {
			var m runtime.MemStats
			for {
				select {
				case <-done:
					return
				case <-time.After(20 * time.Millisecond):
				}
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapAlloc))
			}
		}()
		defer close(done)
		step := func(name string, n int64, since time.Time) {
			t.Logf("%s: %.0f rows/s, %v; peak of the heap %d MiB", name, float64(n)/time.Since(since).Seconds(), time.Since(since).Round(time.Millisecond), peak.Load()>>20)
			peak.Store(0)
		}
		file := &rowsReader{rows: rows}
		since := time.Now()
		j, err := k.Bulk.Upload(t.Context(), issuer.Actor{ID: "clerk-1", Within: issuer.Place{Organisation: "org-1", Facility: "clinic-1"}}, issuer.Place{}, issuer.MediaCSV,
			issuer.Upload{Series: "s", Wanted: storetest.Wanted[:1]}, file)
		if err != nil {
			t.Fatal(err)
		}
		step("upload", j.Total, since)
		since = time.Now()
		k.Serve(t)
		j = wait(t, k, j.ID, issuer.JobChecked)
		step("check", j.Total, since)
		since = time.Now()
		if _, err := k.Bulk.Start(t.Context(), bulkClerk, issuer.Guard{ID: j.ID, Version: j.Version}); err != nil {
			t.Fatal(err)
		}
		j = wait(t, k, j.ID, issuer.JobFinished)
		step("issue", j.Done, since)
		if j.Done != int64(rows) {
			t.Errorf("%+v", j.Counts)
		}
	})
}

func wait(t *testing.T, k *storetest.BulkKit, id issuer.ID, state issuer.JobState) issuer.Job {
	t.Helper()
	for ; ; time.Sleep(10 * time.Millisecond) {
		j, err := k.Book.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if j.State == state {
			return j
		}
	}
}

// rowsReader writes a file as it is read.
type rowsReader struct {
	rows, n int
	left    []byte
}

func (r *rowsReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		switch {
		case r.n == 0:
			r.left = []byte(storetest.Header + "\r\n")
		case r.n > r.rows:
			return 0, io.EOF
		default:
			r.left = []byte(storetest.CSVRow(r.n-1) + "\r\n")
		}
		r.n++
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	if r.n > r.rows && len(r.left) == 0 {
		return n, io.EOF
	}
	return n, nil
}
