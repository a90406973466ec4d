package main

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// mustLab makes a lab. A machine that cannot is passed over, aloud; one of CI may not.
func mustLab(t *testing.T, nodes int) *lab {
	t.Helper()
	l, err := newLab(nodes)
	if errors.Is(err, errNoLab) && os.Getenv("CI") == "" {
		t.Skipf("NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// TestFaults is the short form of `make faults`: a node is killed, and one is cut off.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("eight processes")
	}
	mustLab(t, 1)
	b := &builder{dir: t.TempDir()} // builds once
	for _, name := range []string{"kill-one", "partition-1-3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == name })]
			r, err := f.run(t.Context(), b, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.row())
			for _, why := range r.wrong {
				t.Error(why)
			}
			if r.gap == 0 || r.level == 0 {
				t.Error("nothing was measured")
			}
		})
	}
}

// TestLab: nodes on two sides of a split do not reach each other, and nothing is left
// of a lab.
func TestLab(t *testing.T) {
	l := mustLab(t, 2)
	reached := func() bool {
		// A port where nobody listens is refused at once, by a machine that is there.
		c := l.command(1, "timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/"+l.address(2)+"/9")
		out, _ := c.CombinedOutput()
		return strings.Contains(string(out), "refused")
	}
	if !reached() {
		t.Error("nodes of one side do not reach each other")
	}
	if err := l.split(2); err != nil {
		t.Fatal(err)
	}
	if reached() {
		t.Error("nodes of two sides reach each other")
	}
	if err := l.heal(2); err != nil {
		t.Fatal(err)
	}
	if !reached() {
		t.Error("healed, and they do not reach each other")
	}
	l.close()
	for _, args := range [][]string{{"netns", "list"}, {"-o", "link"}} {
		out, err := exec.Command("ip", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), l.name) {
			t.Errorf("left behind: %s", out)
		}
	}
}

// TestWatch: what the tables tell follows from what was seen.
func TestWatch(t *testing.T) {
	w := newWatch()
	start := time.Now()
	for _, s := range []float64{0, 1, 2, 8, 9} {
		w.grown = append(w.grown, start.Add(time.Duration(s*float64(time.Second))))
	}
	second := func(s int) time.Time { return start.Add(time.Duration(s)*time.Second + time.Second/2) }
	if gap := w.gap(second(2), second(5)); gap != 6*time.Second {
		t.Errorf("a gap of %s around", gap)
	}
	if gap := w.gap(second(0), second(1)); gap != time.Second {
		t.Errorf("a gap of %s before", gap)
	}
	if took, err := w.commit(t.Context(), second(5), time.Second); took != 2500*time.Millisecond || err != nil {
		t.Errorf("%s, %v", took, err)
	}
	if pace := w.pace(second(3)); pace != time.Second {
		t.Errorf("a pace of %s", pace)
	}

	saw := func(node int, size uint64, root string) {
		s := standing{Height: size}
		s.Log.Size, s.Log.Root = size, root
		w.saw(node, s)
	}
	saw(1, 5, "a")
	saw(2, 5, "a")
	if len(w.forked) != 0 {
		t.Error(w.forked)
	}
	if saw(3, 5, "b"); len(w.forked) != 1 {
		t.Error("two roots at one size are no fork")
	}
	for at, size := range []uint64{7, 9, 8} {
		w.sawCheckpoint(&tlog.Cosigned{Checkpoint: &tlog.Checkpoint{Size: size}, Witnesses: []tlog.Witnessed{{Name: "A", Time: int64(at)}}})
	}
	if seen, back := w.backwards(); seen != 3 || back != 1 {
		t.Errorf("%d checkpoints, %d back", seen, back)
	}
}

// TestLost: what was told and is not there is lost.
func TestLost(t *testing.T) {
	a, b := state.Hash{1}, state.Hash{2}
	l := &load{told: map[tlog.Hash]bool{a: true, b: true}}
	if n := l.lost(map[tlog.Hash]int{a: 1}); n != 1 {
		t.Errorf("%d", n)
	}
	if n := l.lost(map[tlog.Hash]int{a: 1, b: 1}); n != 0 {
		t.Errorf("%d", n)
	}
}
