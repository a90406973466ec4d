//go:build linux

package store

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/device"
	"ampoule/internal/storetest"
	"ampoule/party/fleet"
)

func minutes(stream, from int64, values ...int32) fleet.Block {
	all := make([]device.Reading, len(values))
	for i, v := range values {
		all[i] = device.Reading{At: from + int64(i)*60, Value: v}
	}
	return fleet.OpenBlock(stream, device.LevelToken, storetest.Day, all)
}

func somePlain(body string) *fleet.Raw {
	return &fleet.Raw{Media: "application/senml+json", Supplier: "supplier", Body: []byte(body), Until: storetest.Day}
}

func TestJournalEntry(t *testing.T) {
	blocks := []fleet.Block{minutes(7, 1000, 1, -2, 3), minutes(1<<40, -60, math.MaxInt32)}
	raws := []*fleet.Raw{somePlain("EXAMPLE"), somePlain("")}
	data := appendEntry(nil, blocks, raws)
	blocks[0].N, blocks[1].N = 41, 42
	gotBlocks, gotRaws, err := readEntry(42, data)
	if diff := cmp.Diff(blocks, gotBlocks); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if diff := cmp.Diff(raws, gotRaws); diff != "" {
		t.Error(diff)
	}
	for n := range data {
		if _, _, err := readEntry(42, data[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
	}
}

func FuzzJournalEntry(f *testing.F) {
	f.Add(appendEntry(nil, []fleet.Block{minutes(7, 1000, 1, 2)}, []*fleet.Raw{somePlain("EXAMPLE")}))
	f.Add([]byte{1, 2, 2, 0, 2, 2, 2, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		blocks, raws, err := readEntry(100, data)
		if err != nil {
			return
		}
		again, _, err := readEntry(100, appendEntry(nil, blocks, raws))
		if diff := cmp.Diff(blocks, again); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}

// Blocks of one stream are one, up to where another level begins; the first of two readings
// of one time stays the first.
func TestJoined(t *testing.T) {
	all := []fleet.Block{minutes(1, 600, 6), minutes(2, 600, 7), minutes(1, 300, 3), minutes(1, 600, 8), minutes(1, 900, 9), minutes(1, 960, 10)}
	for i := range all {
		all[i].N = int64(i + 11)
	}
	all[4].Level = device.LevelMutual
	got := joined(all)
	want := []fleet.Block{
		all[1],
		fleet.OpenBlock(1, device.LevelToken, storetest.Day, []device.Reading{{At: 300, Value: 3}, {At: 600, Value: 6}, {At: 600, Value: 8}}),
		all[4], all[5],
	}
	want[1].N = 14
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	long := make([]int32, joinMost-1)
	got = joined([]fleet.Block{minutes(1, 0, long...), minutes(1, 60*joinMost, long...)})
	if len(got) != 2 || got[0].Count != joinMost || got[1].Count != joinMost-2 {
		t.Errorf("%d blocks", len(got))
	}
	damaged := []fleet.Block{minutes(1, 0, 1), {N: 2, Stream: 1, Level: device.LevelToken, Data: []byte{0x80}}}
	if got = joined(damaged); len(got) != 2 || got[1].N != 2 {
		t.Errorf("%+v", got)
	}
}

// kept reads what a book has of a stream, and how many rows wait in its journal.
func kept(t *testing.T, f *Fleet, stream int64) (all []device.Reading, waits int64) {
	t.Helper()
	if err := f.db.readRow(t.Context(), `SELECT count(*) FROM journal`, nil, &waits); err != nil {
		t.Fatal(err)
	}
	blocks, err := f.Blocks(t.Context(), stream, 0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	for i := range blocks {
		if all, err = blocks[i].Readings(all); err != nil {
			t.Fatal(err)
		}
	}
	return all, waits
}

// What was acknowledged is there in a copy that was taken at any moment, as of a process
// that was killed then, and once.
func TestFleetJournalKilled(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenFleet(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &fleet.Stream{Device: device.ID("\x88\x37\x01"), Sensor: "TVC", Quantity: device.Temperature}
	if err := f.AddStream(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	journalled := 0
	for round := range 40 {
		var want []device.Reading
		for i := range round + 1 {
			want = append(want, device.Reading{At: int64(1000 + 60*i), Value: int32(i)})
		}
		last := want[round]
		if _, err := f.Append(t.Context(), &fleet.Addition{Blocks: []fleet.Block{fleet.OpenBlock(s.N, device.LevelToken, storetest.Day, []device.Reading{last})}, Raw: somePlain("EXAMPLE")}); err != nil {
			t.Fatal(err)
		}
		if round%5 == 4 { // some of it folded, some not
			if err := f.settle(); err != nil {
				t.Fatal(err)
			}
		}
		f.numbers.Lock() // nothing is folded while it is copied
		copied := t.TempDir()
		for _, name := range []string{fleetFile, fleetFile + "-wal"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(copied, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !f.wait.empty() {
			journalled++
		}
		f.numbers.Unlock()
		again, err := OpenFleet(t.Context(), Config{Dir: copied})
		if err != nil {
			t.Fatal(err)
		}
		// Its sender has not heard of it, and sends it again.
		repeated, err := again.Append(t.Context(), &fleet.Addition{Blocks: []fleet.Block{fleet.OpenBlock(s.N, device.LevelToken, storetest.Day, []device.Reading{last})}})
		if err != nil || !repeated {
			t.Errorf("round %d: repeated %v, %v", round, repeated, err)
		}
		if got, waits := kept(t, again, s.N); !slices.Equal(got, want) || waits != 0 {
			t.Fatalf("round %d: %v, and %d rows in the journal", round, got, waits)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
	if journalled == 0 {
		t.Error("nothing was ever in the journal")
	}
}

// stuck is a database in which nothing can be written.
type stuck struct{ engine }

func (stuck) write(context.Context, func(tx) error) error { return fleet.ErrFull }

// Where nothing can be folded readings are seen all the same, and folded when it can be.
func TestFleetJournalStuck(t *testing.T) {
	f, err := OpenFleet(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &fleet.Stream{Device: device.ID("\x88\x37\x01"), Sensor: "TVC", Quantity: device.Temperature}
	if err := f.AddStream(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := f.settle(); err != nil {
		t.Fatal(err)
	}
	f.numbers.Lock()
	works := f.db
	f.numbers.Unlock()
	swap := func(e engine) {
		f.numbers.Lock()
		defer f.numbers.Unlock()
		f.db = e
	}
	if _, err := f.Append(t.Context(), &fleet.Addition{Blocks: []fleet.Block{minutes(s.N, 1000, 1, 2)}}); err != nil {
		t.Fatal(err)
	}
	swap(stuck{works})
	if got, _ := kept(t, f, s.N); len(got) != 2 {
		t.Errorf("%d readings are seen", len(got))
	}
	if _, err := f.Append(t.Context(), &fleet.Addition{Blocks: []fleet.Block{minutes(s.N, 2000, 1)}}); !errors.Is(err, fleet.ErrFull) {
		t.Error(err)
	}
	swap(works)
	for range 100 {
		if got, waits := kept(t, f, s.N); len(got) != 2 {
			t.Fatalf("%d readings", len(got))
		} else if waits == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("it is never folded")
}
