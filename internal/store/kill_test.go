//go:build linux

package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ampoule/internal/keys"
	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

// childVariable has a childTask in JSON: the test binary is then a process that
// issues until it is killed.
const childVariable = "AMPOULE_STORE_CHILD"

type childTask struct {
	Dir, Postgres string
	Round         int
	FileLimit     uint64 // largest file it may write, in bytes; 0: any
}

// request is the order of one worker's nth certificate; the parent can make it too.
func (c childTask) request(worker, n int) issuer.Order {
	person := worker*10000 + n
	return storetest.Order(fmt.Sprintf("%d/%d/%d", c.Round, worker, n), storetest.Dose(person))
}

// child issues with eight workers, erases every seventh record, and tells of each
// after it was acknowledged: "issued worker n id hash" or "erased id".
func child() {
	var c childTask
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	check(json.Unmarshal([]byte(os.Getenv(childVariable)), &c))
	master, err := keys.LoadMasterKey(filepath.Join(c.Dir, "master"), keys.Unencrypted())
	check(err)
	if c.FileLimit > 0 {
		signal.Ignore(syscall.SIGXFSZ)
		check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: c.FileLimit, Max: c.FileLimit}))
	}
	s, err := Open(context.Background(), Config{Dir: c.Dir, Postgres: c.Postgres, Master: master})
	check(err)
	k := storetest.NewKit(&testing.T{}, s)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				r, err := k.Registry.Issue(context.Background(), c.request(worker, n))
				if err != nil {
					fmt.Printf("failed %q\n", err.Error())
					return
				}
				fmt.Printf("issued %d %d %s %x\n", worker, n, r.ID, textSum(r.Artefacts))
				if n%7 == 6 {
					if _, err := k.Registry.Erase(context.Background(), storetest.By("officer-1"), r.ID); err != nil {
						fmt.Printf("failed %q\n", err.Error())
						return
					}
					fmt.Printf("erased %s\n", r.ID)
				}
			}
		})
	}
	wg.Wait()
}

func textSum(artefacts []issuer.Artefact) (sum []byte) {
	h := sha256.New()
	for _, a := range artefacts {
		h.Write([]byte(a.Text))
	}
	return h.Sum(nil)[:8]
}

// acknowledged is what a child told of.
type acknowledged struct {
	issued map[issuer.ID]promise
	erased map[issuer.ID]bool
	failed []string
}

type promise struct {
	task      childTask
	worker, n int
	sum       string
}

// start runs a child and notes what it tells, until it ends. It returns when that
// many lines were told: a slow disk makes a test longer, and no weaker.
func (a *acknowledged) start(t *testing.T, c childTask, lines int) (kill, wait func()) {
	t.Helper()
	task, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(task))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		told := 0
		for scan := bufio.NewScanner(out); scan.Scan(); {
			a.note(t, c, scan.Text())
			if told++; told == lines {
				close(enough)
			}
		}
	}()
	select {
	case <-enough:
	case <-ended:
	}
	kill = func() { _ = cmd.Process.Kill() }
	wait = func() {
		<-ended
		_ = cmd.Wait()
		if stderr.Len() > 0 {
			t.Errorf("the child: %s", stderr.String())
		}
	}
	return kill, wait
}

func (a *acknowledged) note(t *testing.T, c childTask, line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "issued":
		p := promise{task: c}
		var id string
		if _, err := fmt.Sscan(rest, &p.worker, &p.n, &id, &p.sum); err != nil {
			return // the line was cut off
		}
		parsed, err := issuer.ParseID(id)
		if err != nil || len(p.sum) != 16 {
			return
		}
		a.issued[parsed] = p
	case "erased":
		if id, err := issuer.ParseID(rest); err == nil {
			a.erased[id] = true
		}
	case "failed":
		a.failed = append(a.failed, rest)
	default:
		t.Errorf("the child says %q", line)
	}
}

// hold checks a store against all that was acknowledged: every certificate is
// there, once, and the same; every erased one is not.
func (a *acknowledged) hold(t *testing.T, s *Store) {
	t.Helper()
	k := storetest.NewKit(t, s)
	for id, p := range a.issued {
		order := p.task.request(p.worker, p.n)
		if a.erased[id] {
			if err := readable(t, s, id); !errors.Is(err, issuer.ErrNotFound) {
				t.Errorf("erased, and: %v", err)
			}
			continue
		}
		r, err := k.Registry.Issue(t.Context(), order)
		if err != nil {
			// A child that was killed between an erasure and its acknowledgement.
			t.Errorf("%s: %v", order.Key, err)
			continue
		}
		if !r.Replayed && p.n%7 == 6 {
			continue // erased, and killed before it could say so: a new one now
		}
		if !r.Replayed || r.ID != id || fmt.Sprintf("%x", textSum(r.Artefacts)) != p.sum {
			t.Errorf("%s: issued again, or another", order.Key)
		}
	}
	if r := verifyAudit(t, s); !r.Whole() || r.Open > 0 && r.Seals == 0 {
		t.Errorf("the audit log: %+v", r)
	}
	var records, requests, artefacts, keysUsed int64
	err := s.db.read(t.Context(), func(t tx) error {
		return t.row(`SELECT (SELECT count(*) FROM record), (SELECT count(asked) FROM record), (SELECT count(*) FROM artefact), (SELECT count(DISTINCT slot) FROM record)`,
			nil, &records, &requests, &artefacts, &keysUsed)
	})
	if err != nil || records != requests || artefacts != 2*records || keysUsed != records {
		t.Errorf("%d records, %d requests, %d certificates, %d keys, %v", records, requests, artefacts, keysUsed, err)
	}
}

func saveMaster(t testing.TB, c Config) {
	t.Helper()
	if err := keys.SaveMasterKey(filepath.Join(c.Dir, "master"), c.Master, keys.Unencrypted()); err != nil {
		t.Fatal(err)
	}
}

// TestKill kills the process, with SIGKILL, at random moments.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("the short tests look for races, and what is killed tells of none")
	}
	engines(t, func(t *testing.T, c Config) {
		shut(t, create(t, c))
		saveMaster(t, c)
		a := &acknowledged{issued: make(map[issuer.ID]promise), erased: make(map[issuer.ID]bool)}
		const rounds = 4
		for round := range rounds {
			// Eight workers erase their first record after fifty-six.
			kill, wait := a.start(t, childTask{Dir: c.Dir, Postgres: c.Postgres, Round: round}, 70+rand.IntN(70))
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			kill()
			wait()
		}
		t.Logf("%d issued, %d erased in %d lives", len(a.issued), len(a.erased), rounds)
		if len(a.issued) < 50*rounds || len(a.failed) > 0 {
			t.Errorf("%d issued, %q", len(a.issued), a.failed)
		}
		a.hold(t, open(t, c))
	})
}

// TestServerCrash ends PostgreSQL itself, without its leave, in the middle.
func TestServerCrash(t *testing.T) {
	dsn, server := storetest.Postgres(t)
	c := Config{Dir: t.TempDir(), Master: newMaster(t), Postgres: dsn}
	shut(t, create(t, c))
	saveMaster(t, c)
	a := &acknowledged{issued: make(map[issuer.ID]promise), erased: make(map[issuer.ID]bool)}
	_, wait := a.start(t, childTask{Dir: c.Dir, Postgres: c.Postgres}, 40)
	if err := server.Crash(); err != nil {
		t.Fatal(err)
	}
	wait() // every worker meets an error and ends
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if len(a.issued) < 10 || len(a.failed) != 8 {
		t.Errorf("%d issued, %q", len(a.issued), a.failed)
	}
	a.hold(t, open(t, c))
}

// TestFullDisk lets the process write files up to a size only.
func TestFullDisk(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	shut(t, create(t, c))
	saveMaster(t, c)
	a := &acknowledged{issued: make(map[issuer.ID]promise), erased: make(map[issuer.ID]bool)}
	_, wait := a.start(t, childTask{Dir: c.Dir, FileLimit: 600 << 10}, 1)
	wait()
	if len(a.issued) < 10 || len(a.failed) != 8 {
		t.Errorf("%d issued, %q", len(a.issued), a.failed)
	}
	a.hold(t, open(t, c))
}

// TestFullDatabase: what does not fit is refused, what fits is kept, and when
// there is room again it goes on.
func TestFullDatabase(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	k := storetest.NewKit(t, s)
	pages := func(n int64) {
		t.Helper()
		err := s.db.write(t.Context(), func(t tx) error {
			return t.rows(fmt.Sprintf(`PRAGMA max_page_count = %d`, n), nil, func(scan) error { return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pages(120)
	var kept []issuer.ID
	var mu sync.Mutex
	var wg sync.WaitGroup
	failures := 0
	for worker := range 8 {
		wg.Go(func() {
			for n := range 30 {
				r, err := k.Registry.Issue(t.Context(), storetest.Order(fmt.Sprintf("%d/%d", worker, n), storetest.Dose(100*worker+n)))
				mu.Lock()
				if err == nil {
					kept = append(kept, r.ID)
				} else {
					failures++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(kept) == 0 || failures == 0 {
		t.Fatalf("%d kept, %d refused", len(kept), failures)
	}
	pages(1 << 20)
	if _, err := k.Registry.Issue(t.Context(), storetest.Order("after", storetest.Dose(1))); err != nil {
		t.Errorf("with room again: %v", err)
	}
	shut(t, s)
	s = open(t, c)
	for _, id := range kept {
		if err := readable(t, s, id); err != nil {
			t.Error(err)
		}
	}
	if page, err := s.List(t.Context(), issuer.Place{}, issuer.ID{}, 1000); err != nil || len(page) != len(kept)+1 {
		t.Errorf("%d records, %d were acknowledged, %v", len(page), len(kept)+1, err)
	}
}

// TestKeyFileFails: no record is sealed under a key that may not be on the disk.
func TestKeyFileFails(t *testing.T) {
	c := Config{Dir: t.TempDir(), Master: newMaster(t)}
	s := create(t, c)
	k := storetest.NewKit(t, s)
	keyFile := s.vault.keys.file
	for _, tt := range []struct {
		name, file string
		failed     bool
	}{
		{"full", "/dev/full", false},
		{"a sync that fails", "/dev/null", true},
	} {
		device, err := os.OpenFile(tt.file, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.vault.keys.file, s.vault.free = device, nil
		if _, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(1))); err == nil || errors.Is(err, ErrFailed) != tt.failed {
			t.Errorf("%s: %v", tt.name, err)
		}
		s.vault.keys.file = keyFile
		_ = device.Close()
		// A disk that has room again is used again; one whose sync failed is not.
		if _, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(1))); (err != nil) != tt.failed {
			t.Errorf("%s, afterwards: %v", tt.name, err)
		}
		s.vault.free = nil
	}
	shut(t, s)
	s = open(t, c)
	if page, err := s.List(t.Context(), issuer.Place{}, issuer.ID{}, 10); err != nil || len(page) != 1 {
		t.Errorf("%d records, %v", len(page), err)
	}
	issue(t, s, 1)
}
