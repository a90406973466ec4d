//go:build linux

package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ampoule/format/gs1"
	"ampoule/internal/keys"
	"ampoule/party/custody"
	"ampoule/thing"
	"ampoule/thing/vaccine"
)

// sessionsChildVariable has a [childTask] in JSON: the test binary is then a clinic that
// opens, wastes and ends until it is killed.
const sessionsChildVariable = "AMPOULE_SESSIONS_CHILD"

const killedLot, killedSite, killedPacks = "https://id.gs1.org/01/09521321123458/10/SPEC-1", "https://id.gs1.org/414/9521321000018", 10_000

// clinicOf is custody over a store, with one product of ten doses.
func clinicOf(s *Store) (*custody.Custody, custody.Actor, error) {
	catalogue, err := vaccine.New([]vaccine.Vaccine{{Name: "Example", Doses: 10, Codes: []thing.Product{{Code: "09521321123458", System: gs1.GTINSystem}}}})
	return &custody.Custody{
		Events: s.Goods(), Stock: s.Goods(), Catalogue: func() *vaccine.Catalogue { return catalogue }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}, custody.Actor{ID: "u-clerk", Within: custody.Place{Organisation: "moh", Facility: "north"}}, err
}

// sessionsChild tells of each step after it was acknowledged: "opened id", "wasted id",
// "ended id".
func sessionsChild() {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	var task childTask
	check(json.Unmarshal([]byte(os.Getenv(sessionsChildVariable)), &task))
	ctx := context.Background()
	master, err := keys.LoadMasterKey(filepath.Join(task.Dir, "master"), keys.Unencrypted())
	check(err)
	s, err := Open(ctx, Config{Dir: task.Dir, Master: master, Postgres: task.Postgres})
	check(err)
	c, by, err := clinicOf(s)
	check(err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				x, _, err := c.Open(ctx, by, custody.Opening{Wanted: custody.Wanted{Lot: killedLot, Expiry: "2099-12-31"}})
				check(err)
				fmt.Println("opened", x.ID)
				_, err = c.Waste(ctx, by, x.ID, 1, 1, custody.WasteBroken)
				check(err)
				fmt.Println("wasted", x.ID)
				_, err = c.End(ctx, by, x.ID, 2, custody.Closing{Unrecorded: 3, Left: 4})
				check(err)
				fmt.Println("ended", x.ID)
			}
		})
	}
	wg.Wait()
}

// TestKillSessions kills a clinic again and again: each step that was acknowledged is
// there, none is there without its events, and to the dose the balance is what the
// sessions say.
func TestKillSessions(t *testing.T) {
	if testing.Short() {
		t.Skip("the short tests look for races, and what is killed tells of none")
	}
	engines(t, func(t *testing.T, config Config) {
		s := create(t, config)
		c, by, err := clinicOf(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.PutLocation(t.Context(), by, &custody.Location{URI: killedSite, Place: by.Within, Version: 1, Name: "North"}); err != nil {
			t.Fatal(err)
		}
		made := fmt.Appendf(nil, `{"@context":"https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld","type":"ObjectEvent","eventTime":"2026-11-01T00:00:00Z","eventTimeZoneOffset":"+00:00",
			"action":"ADD","bizStep":"commissioning","bizLocation":{"id":%q},"quantityList":[{"epcClass":%q,"quantity":%d}]}`, killedSite, killedLot, killedPacks)
		if j, err := c.Capture(t.Context(), by, made, false); err != nil || j.Added != 1 {
			t.Fatalf("%+v, %v", j, err)
		}
		shut(t, s)
		saveMaster(t, config)

		said := map[string]string{} // the last step that was acknowledged of each
		for range 3 {
			task, err := json.Marshal(childTask{Dir: config.Dir, Postgres: config.Postgres})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env, cmd.Stderr = append(os.Environ(), sessionsChildVariable+"="+string(task)), os.Stderr
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			lines := 0
			for scan := bufio.NewScanner(out); scan.Scan(); {
				var word, id string
				if _, err := fmt.Sscan(scan.Text(), &word, &id); err == nil {
					said[id] = word
				}
				if lines++; lines == 30+rand.IntN(10) || lines == 40 {
					_ = cmd.Process.Kill() // lines that were told before are still read
				}
			}
			_ = cmd.Wait()
			if lines < 30 {
				t.Fatalf("the child told %d lines", lines)
			}
		}

		s = open(t, config)
		if c, by, err = clinicOf(s); err != nil {
			t.Fatal(err)
		}
		all, err := c.Sessions(t.Context(), by, false, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]custody.Session{}
		given, gone := int64(0), int64(0)
		for _, x := range all {
			there[string(x.ID)] = x
			gone += x.Wasted
			given += x.Unrecorded
			for what, want := range map[string]bool{"opened": true, "wasted:1": len(x.Wastes) >= 1, "wasted:2": len(x.Wastes) == 2, "wasted:3": false, "given": !x.Ended.IsZero()} {
				_, err := c.Events.Event(t.Context(), "urn:ampoule:session:"+string(x.ID)+":"+what)
				if has := err == nil; has != want || err != nil && !errors.Is(err, custody.ErrNoEvent) {
					t.Errorf("version %d: its event %s is there: %v, %v", x.Version, what, has, err)
				}
			}
		}
		for id, word := range said {
			least := map[string]int64{"opened": 1, "wasted": 2, "ended": 3}[word]
			if x, ok := there[id]; !ok || x.Version < least {
				t.Errorf("%s was acknowledged, and is of version %d", word, x.Version)
			}
		}
		known, err := c.Assess(t.Context(), killedLot, killedSite, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if b := known.Balance; b.Given != given || b.Gone != gone || b.Here != 10*killedPacks-given-gone || len(all) < 10 {
			t.Errorf("%+v, and %d sessions gave %d and wasted %d", b, len(all), given, gone)
		}
	})
}
