package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/party/fleet"
)

// Fleet holds a book of readings against its contract. open returns a new, empty one.
func Fleet(t *testing.T, open func(*testing.T) fleet.Book) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, fleet.Book)
	}{
		{"equipment", testEquipment},
		{"devices", testDevices},
		{"streams", testStreams},
		{"what was heard last", testHeard},
		{"blocks in the order of arrival", testBlocks},
		{"a message once", testMessageOnce},
		{"a reading once", testReadingsOnce},
		{"chains", testChains},
		{"sealing", testSealing},
		{"alarms", testAlarms},
		{"notices", testNotices},
		{"forgetting", testForgetting},
		{"at once", testFleetAtOnce},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, open(t))
		})
	}
}

var atNorth = fleet.Place{Organisation: "moh", Facility: "north"}

func someEquipment(n int) *fleet.Equipment {
	terms, _ := coldchain.TermsOf("refrigerated")
	latitude, longitude := -1.5, 30.25
	return &fleet.Equipment{
		ID: fleet.ID(fmt.Sprintf("equipment-%02d", n)), Place: atNorth, Version: 1, Name: fmt.Sprintf("Fridge %02d", n), Kind: fleet.Fridge,
		Terms: []fleet.TermsFrom{{From: 0, Terms: terms, By: "example"}}, Silence: 900, Latitude: &latitude, Longitude: &longitude, Made: Day,
	}
}

func testEquipment(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	for n := range 3 {
		must(t, b.PutEquipment(ctx, someEquipment(n)))
	}
	got, err := b.Equipment(ctx, "equipment-01")
	must(t, err)
	if diff := cmp.Diff(someEquipment(1), got); diff != "" {
		t.Error(diff)
	}
	if _, err := b.Equipment(ctx, "none"); !errors.Is(err, fleet.ErrNoEquipment) {
		t.Error(err)
	}
	got.Version, got.Name = 2, "Another"
	must(t, b.PutEquipment(ctx, got))
	if err := b.PutEquipment(ctx, got); !errors.Is(err, fleet.ErrChanged) {
		t.Errorf("the same version again: %v", err)
	}
	if err := b.PutEquipment(ctx, someEquipment(1)); !errors.Is(err, fleet.ErrChanged) {
		t.Errorf("made twice: %v", err)
	}
	for _, tt := range []struct {
		at   fleet.Place
		want int
	}{{atNorth, 3}, {fleet.Place{Organisation: "moh"}, 3}, {fleet.Place{}, 3}, {fleet.Place{Organisation: "moh", Facility: "south"}, 0}, {fleet.Place{Organisation: "other"}, 0}} {
		all, err := b.EquipmentAt(ctx, tt.at)
		must(t, err)
		if len(all) != tt.want {
			t.Errorf("%+v: %d, want %d", tt.at, len(all), tt.want)
		}
	}
	all, err := b.EquipmentAt(ctx, atNorth)
	must(t, err)
	if all[0].Name != "Another" {
		t.Errorf("not by name: %s first", all[0].Name)
	}
	south := someEquipment(3)
	south.ID, south.Place.Facility = "equipment-01-south", "south"
	must(t, b.PutEquipment(ctx, south))
	for _, tt := range []struct {
		at    fleet.Place
		after fleet.ID
		limit int
		want  []fleet.ID
	}{
		{atNorth, "", 2, []fleet.ID{"equipment-00", "equipment-01"}},
		{atNorth, "equipment-01", 2, []fleet.ID{"equipment-02"}},
		{fleet.Place{Organisation: "moh"}, "equipment-00", 9, []fleet.ID{"equipment-01", "equipment-01-south", "equipment-02"}},
		{fleet.Place{}, "equipment-02", 9, nil},
		{fleet.Place{Organisation: "other"}, "", 9, nil},
	} {
		page, err := b.EquipmentAfter(ctx, tt.at, tt.after, tt.limit)
		must(t, err)
		var got []fleet.ID
		for _, e := range page {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v after %q: %q, want %q", tt.at, tt.after, got, tt.want)
		}
	}
}

func deviceID(n int) device.ID {
	var name device.ID
	if err := name.UnmarshalText(fmt.Appendf(nil, "2.25.329800735698586629295641978511506172918.4.%d", n)); err != nil {
		panic(err)
	}
	return name
}

func someDevice(n int) *fleet.Device {
	name, err := device.NewName(device.Serial, fmt.Sprintf("Example/%d", n))
	if err != nil {
		panic(err)
	}
	return &fleet.Device{
		ID: deviceID(n), Place: atNorth, State: device.Claimed, Version: 1, Names: []device.Name{name}, Supplier: "supplier",
		Steps: []fleet.Step{{State: device.Claimed, At: Day, By: "example"}}, Stays: []fleet.Stay{{Equipment: "equipment-00", From: 100}},
	}
}

func testDevices(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	claim := sha256.Sum256([]byte("EXAMPLE claim"))
	for n, supplier := range []string{"a", "a", "b"} {
		d := someDevice(20 + n)
		d.Place.Organisation, d.State, d.Supplier = "waiting", device.Announced, supplier
		must(t, b.PutDevice(ctx, d))
	}
	known := someDevice(23)
	known.Place.Organisation, known.Supplier = "waiting", "a"
	must(t, b.PutDevice(ctx, known))
	for of, want := range map[[2]string]int{{"waiting", "a"}: 2, {"waiting", "b"}: 1, {"waiting", "c"}: 0, {"moh", "a"}: 0} {
		if n, err := b.Announced(ctx, of[0], of[1]); err != nil || n != want {
			t.Errorf("%v has announced %d, %v; want %d", of, n, err, want)
		}
	}
	for state, want := range map[device.Life]int{"": 4, device.Announced: 3, device.Claimed: 1, device.Retired: 0} {
		all, err := b.DevicesAt(ctx, fleet.Place{Organisation: "waiting", Facility: atNorth.Facility}, state, "", 9)
		must(t, err)
		if len(all) != want {
			t.Errorf("%d devices are %q, want %d", len(all), state, want)
		}
	}
	for n := range 5 {
		d := someDevice(n)
		if n == 3 {
			d.Claim = claim[:]
		}
		must(t, b.PutDevice(ctx, d))
	}
	for name, find := range map[string]func() (*fleet.Device, error){
		"by identifier": func() (*fleet.Device, error) { return b.Device(ctx, deviceID(3)) },
		"by name":       func() (*fleet.Device, error) { return b.DeviceNamed(ctx, someDevice(3).Names[0]) },
		"by claim":      func() (*fleet.Device, error) { return b.DeviceClaimed(ctx, claim[:]) },
	} {
		got, err := find()
		must(t, err)
		want := someDevice(3)
		want.Claim = claim[:]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := b.Device(ctx, deviceID(9)); !errors.Is(err, fleet.ErrNoDevice) {
		t.Error(err)
	}
	if _, err := b.DeviceClaimed(ctx, make([]byte, 32)); !errors.Is(err, fleet.ErrNoDevice) {
		t.Error(err)
	}
	taken := someDevice(7)
	taken.Names = append(taken.Names, someDevice(2).Names[0])
	if err := b.PutDevice(ctx, taken); !errors.Is(err, fleet.ErrNameTaken) {
		t.Errorf("a name of another: %v", err)
	}
	if _, err := b.Device(ctx, deviceID(7)); !errors.Is(err, fleet.ErrNoDevice) {
		t.Errorf("half of it is there: %v", err)
	}
	d := someDevice(2)
	d.Version, d.State, d.Names = 2, device.Active, someDevice(8).Names
	must(t, b.PutDevice(ctx, d))
	if err := b.PutDevice(ctx, d); !errors.Is(err, fleet.ErrChanged) {
		t.Errorf("the same version again: %v", err)
	}
	if _, err := b.DeviceNamed(ctx, someDevice(2).Names[0]); !errors.Is(err, fleet.ErrNoDevice) {
		t.Errorf("a name that was given up: %v", err)
	}
	var seen []device.ID
	for after := device.ID(""); ; {
		page, err := b.DevicesAt(ctx, fleet.Place{Organisation: "moh"}, "", after, 2)
		must(t, err)
		for _, d := range page {
			seen = append(seen, d.ID)
		}
		if len(page) < 2 {
			break
		}
		after = page[1].ID
	}
	if len(seen) != 5 || !slices.IsSorted(seen) {
		t.Errorf("%q", seen)
	}
}

// someStream makes a device and one stream of it.
func someStream(t *testing.T, b fleet.Book, n int) *fleet.Stream {
	t.Helper()
	must(t, b.PutDevice(t.Context(), someDevice(n)))
	s := &fleet.Stream{Device: deviceID(n), Sensor: "TVC", Quantity: device.Temperature, Interval: 60}
	must(t, b.AddStream(t.Context(), s))
	return s
}

func testStreams(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	s := someStream(t, b, 1)
	again := &fleet.Stream{Device: s.Device, Sensor: "TVC", Quantity: device.Temperature}
	must(t, b.AddStream(ctx, again))
	if again.N != s.N || s.N == 0 || again.Interval != 60 {
		t.Errorf("%+v is another than %+v", again, s)
	}
	must(t, b.AddStream(ctx, &fleet.Stream{Device: s.Device, Sensor: "TVC", Quantity: device.Ambient}))
	must(t, b.AddStream(ctx, &fleet.Stream{Device: s.Device, Sensor: "DORV", Quantity: device.Door}))
	all, err := b.StreamsOf(ctx, s.Device)
	must(t, err)
	if len(all) != 3 {
		t.Errorf("%d streams", len(all))
	}
	s.Last, s.Heard, s.Open, s.Opened = device.Reading{At: 5000, Value: -7}, Day.Add(1234*time.Millisecond), 12, Day
	must(t, b.Evaluated(ctx, &fleet.Evaluation{Cursor: 77, Streams: []fleet.Stream{*s}}))
	got, err := b.Stream(ctx, s.N)
	must(t, err)
	if diff := cmp.Diff(s, got, cmp.AllowUnexported(fleet.Stream{})); diff != "" {
		t.Error(diff)
	}
	if n, err := b.Cursor(ctx); err != nil || n != 77 {
		t.Errorf("cursor %d, %v", n, err)
	}
	// In which equipment: that of its stays, wherever the device itself belongs.
	must(t, b.PutEquipment(ctx, someEquipment(0)))
	for equipment, want := range map[fleet.ID]int{"equipment-00": 1, "equipment-01": 0} {
		in, err := b.DevicesIn(ctx, equipment)
		must(t, err)
		if len(in) != want {
			t.Errorf("%d devices in %s", len(in), equipment)
		}
	}
	for _, tt := range []struct {
		from, until fleet.ID
		want        int
	}{{"equipment-00", "equipment-00", 3}, {"equipment", "equipment-01", 3}, {"equipment-01", "equipment-99", 0}, {"", "e", 0}} {
		n := 0
		must(t, b.EachStreamIn(ctx, tt.from, tt.until, func(s *fleet.Stream, d *fleet.Device) error {
			n++
			if s.Device != d.ID {
				t.Errorf("a stream of %s with the device %s", s.Device, d.ID)
			}
			return nil
		}))
		if n != tt.want {
			t.Errorf("%d streams from %q to %q, want %d", n, tt.from, tt.until, tt.want)
		}
	}
	moved, err := b.Device(ctx, s.Device)
	must(t, err)
	moved.Version, moved.Stays = 2, nil
	must(t, b.PutDevice(ctx, moved))
	if in, err := b.DevicesIn(ctx, "equipment-00"); err != nil || len(in) != 0 {
		t.Errorf("%d devices, %v", len(in), err)
	}
	count := 0
	must(t, b.EachStream(ctx, func(s *fleet.Stream, d *fleet.Device) error {
		count++
		if s.Device != d.ID {
			t.Errorf("a stream of %s with the device %s", s.Device, d.ID)
		}
		return nil
	}))
	if count != 3 {
		t.Errorf("%d streams", count)
	}
}

// block is an open one from a time on.
func block(s *fleet.Stream, from int64, n int) fleet.Block {
	readings := make([]device.Reading, n)
	for i := range readings {
		readings[i] = device.Reading{At: from + int64(i)*60, Value: int32(i%15 - 5)}
	}
	return fleet.OpenBlock(s.N, device.LevelToken, Day, readings)
}

func signedBlock(s *fleet.Stream, o fleet.Origin, seq uint64, from int64) fleet.Block {
	b := block(s, from, 3)
	b.Origin, b.Seq, b.Data = o, seq, fmt.Appendf(nil, "EXAMPLE segment %d %d", o, seq)
	b.Hash = sha256.Sum256(b.Data)
	return b
}

func appendAll(t *testing.T, b fleet.Book, blocks ...fleet.Block) {
	t.Helper()
	if repeated, err := b.Append(t.Context(), &fleet.Addition{Blocks: blocks}); err != nil || repeated {
		t.Fatal(repeated, err)
	}
}

func testHeard(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	one, other, silent := someStream(t, b, 1), someStream(t, b, 2), someStream(t, b, 3)
	second := &fleet.Stream{Device: one.Device, Sensor: "TAMB", Quantity: device.Ambient}
	must(t, b.AddStream(ctx, second))
	at := func(s *fleet.Stream, first int64, level device.Level, o fleet.Origin) fleet.Block {
		x := block(s, first, 10)
		x.Level, x.Origin = level, o
		return x
	}
	appendAll(t, b, at(one, 1000, device.LevelToken, fleet.Open), at(second, 1000, device.LevelMutual, fleet.Open), at(other, 1000, device.LevelToken, fleet.Open))
	appendAll(t, b, at(one, 9000, device.LevelAttested, fleet.Open))
	for i, s := range []*fleet.Stream{one, second, other} {
		s.Heard = Day.Add(time.Duration(i) * time.Minute)
		must(t, b.Evaluated(ctx, &fleet.Evaluation{Streams: []fleet.Stream{*s}}))
	}
	got, err := b.Heard(ctx, deviceID(1), deviceID(3))
	must(t, err)
	want := map[device.ID]fleet.Heard{one.Device: {At: Day.Add(time.Minute), Level: device.LevelMutual}, other.Device: {At: Day.Add(2 * time.Minute), Level: device.LevelToken}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := b.Heard(ctx, silent.Device, silent.Device); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// arrived reads all that came, in small pages, and holds them against their order.
func arrived(t *testing.T, b fleet.Book, after int64) (all []fleet.Block) {
	t.Helper()
	for {
		page, err := b.Arrived(t.Context(), after, 7)
		must(t, err)
		if len(page) == 0 {
			return all
		}
		for _, x := range page {
			if x.N <= after {
				t.Fatalf("block %d after %d", x.N, after)
			}
			after = x.N
		}
		all = append(all, page...)
	}
}

// readingsOf are those of a stream, in the order in which its blocks have them.
func readingsOf(t *testing.T, blocks []fleet.Block, s *fleet.Stream) (all []device.Reading) {
	t.Helper()
	for i := range blocks {
		if blocks[i].Stream == s.N {
			var err error
			all, err = blocks[i].Readings(all)
			must(t, err)
		}
	}
	return all
}

func testBlocks(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	s, other := someStream(t, b, 1), someStream(t, b, 2)
	appendAll(t, b, block(s, 1000, 10), block(other, 1000, 10))
	appendAll(t, b, block(s, 2000, 5))
	first := arrived(t, b, 0)
	var many []fleet.Block
	for i := range 700 { // more than one statement has
		many = append(many, block(other, int64(10_000+i*600), 10))
	}
	appendAll(t, b, many...)
	cursor := first[len(first)-1].N
	later := arrived(t, b, cursor)
	if mine, others := readingsOf(t, first, s), readingsOf(t, first, other); len(mine) != 15 || len(others) != 10 {
		t.Errorf("%d and %d readings", len(mine), len(others))
	}
	if mine, others := readingsOf(t, later, s), readingsOf(t, later, other); len(mine) != 0 || len(others) != 7000 {
		t.Errorf("later %d and %d readings", len(mine), len(others))
	}
	for _, x := range slices.Concat(first, later) {
		all, err := x.Readings(nil)
		must(t, err)
		want := fleet.OpenBlock(x.Stream, device.LevelToken, Day, all)
		want.N = x.N
		if diff := cmp.Diff(want, x); diff != "" {
			t.Fatal(diff)
		}
	}
	for _, tt := range []struct {
		from, until int64
		want        int // readings between
	}{{0, 999, 0}, {0, 1000, 1}, {1540, 1540, 1}, {1541, 1999, 0}, {1540, 2000, 2}, {2240, math.MaxInt64, 1}, {2241, math.MaxInt64, 0}} {
		got, err := b.Blocks(ctx, s.N, tt.from, tt.until)
		must(t, err)
		between := slices.DeleteFunc(readingsOf(t, got, s), func(r device.Reading) bool { return r.At < tt.from || r.At > tt.until })
		if len(between) != tt.want {
			t.Errorf("from %d until %d: %d readings, want %d", tt.from, tt.until, len(between), tt.want)
		}
	}
}

// testReadingsOnce: a reading stands once, whether it waits to be folded, is in a block, or
// is sealed; and another of the same time stays.
func testReadingsOnce(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	s := someStream(t, b, 1)
	at := func(from int64, values ...int32) fleet.Block {
		var all []device.Reading
		for i, v := range values {
			all = append(all, device.Reading{At: from + int64(i)*60, Value: v})
		}
		return fleet.OpenBlock(s.N, device.LevelToken, Day, all)
	}
	sealed := signedBlock(s, fleet.Sealed, 1, 1000)
	add := func(want bool, blocks ...fleet.Block) {
		t.Helper()
		if repeated, err := b.Append(ctx, &fleet.Addition{Blocks: blocks}); err != nil || repeated != want {
			t.Errorf("repeated %v, %v", repeated, err)
		}
	}
	add(false, at(6000, 1, 2, 3))
	add(true, at(6000, 1, 2, 3)) // at once, from the journal
	add(false, at(1000, 1, 2))   // before all
	add(false, at(3000, 5))      // in between
	if got := readingsOf(t, arrived(t, b, 0), s); len(got) != 6 {
		t.Errorf("%v", got)
	}
	add(true, at(6060, 2), at(1000, 1))
	add(false, at(6000, 1, 9, 3, 4)) // two of them are new
	add(false, sealed)               // whose bytes are none of a segment: they hide nothing
	add(true, at(1000, 1, 2))
	all, err := b.Blocks(ctx, s.N, 3000, math.MaxInt64)
	must(t, err)
	all = slices.DeleteFunc(all, func(x fleet.Block) bool { return x.Origin != fleet.Open })
	got := readingsOf(t, all, s)
	slices.SortStableFunc(got, func(a, b device.Reading) int { return int(a.At - b.At) })
	got = slices.DeleteFunc(got, func(r device.Reading) bool { return r.At < 3000 })
	want := []device.Reading{{At: 3000, Value: 5}, {At: 6000, Value: 1}, {At: 6060, Value: 2}, {At: 6060, Value: 9}, {At: 6120, Value: 3}, {At: 6180, Value: 4}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func testMessageOnce(t *testing.T, b fleet.Book) {
	s := someStream(t, b, 1)
	raw := &fleet.Raw{Digest: sha256.Sum256([]byte("EXAMPLE")), Media: "application/json", Body: []byte("{}"), Supplier: "supplier", Until: Day.Add(time.Hour)}
	for n := range 3 {
		repeated, err := b.Append(t.Context(), &fleet.Addition{Blocks: []fleet.Block{block(s, 1000, 10)}, Raw: raw})
		if err != nil || repeated != (n > 0) {
			t.Errorf("time %d: %v, %v", n, repeated, err)
		}
	}
	if got := readingsOf(t, arrived(t, b, 0), s); len(got) != 10 {
		t.Errorf("%d readings", len(got))
	}
}

func testChains(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	s := someStream(t, b, 1)
	appendAll(t, b, signedBlock(s, fleet.Own, 1, 1000), signedBlock(s, fleet.Own, 3, 3000), signedBlock(s, fleet.Own, 2, 2000), signedBlock(s, fleet.Own, 7, 7000), signedBlock(s, fleet.Forked, 2, 2000))
	three := signedBlock(s, fleet.Own, 3, 3000)
	four := signedBlock(s, fleet.Own, 4, 4000)
	if _, err := b.Append(ctx, &fleet.Addition{Blocks: []fleet.Block{four}, Heads: []fleet.Advance{{Stream: s.N, Own: device.Head{Seq: 4, Hash: four.Hash}, Since: 2, Level: device.LevelSigned}}}); err != nil {
		t.Fatal(err)
	}
	all, err := b.Segments(ctx, s.N, fleet.Own, 1, 100)
	must(t, err)
	var got []string
	for _, x := range all {
		got = append(got, fmt.Sprintf("%d at %d", x.Seq, x.Level))
	}
	if want := []string{"1 at 1", "2 at 3", "3 at 3", "4 at 3", "7 at 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if all[2].Hash != three.Hash || string(all[2].Data) != string(three.Data) {
		t.Error("a segment came back as another")
	}
	if page, err := b.Segments(ctx, s.N, fleet.Own, 3, 1); err != nil || len(page) != 1 || page[0].Seq != 3 {
		t.Errorf("%+v, %v", page, err)
	}
	if page, err := b.Segments(ctx, s.N, fleet.Forked, 1, 10); err != nil || len(page) != 1 {
		t.Errorf("%d forked, %v", len(page), err)
	}
	now, err := b.Stream(ctx, s.N)
	must(t, err)
	if now.Own != (device.Head{Seq: 4, Hash: four.Hash}) {
		t.Errorf("head %d", now.Own.Seq)
	}
}

func testSealing(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	s, few := someStream(t, b, 1), someStream(t, b, 2)
	appendAll(t, b, block(s, 1000, 10), block(few, 1000, 10), block(s, 2000, 10))
	seen := arrived(t, b, 0)
	cursor := seen[len(seen)-1].N
	appendAll(t, b, block(s, 3000, 10))
	s.Open, s.Opened, few.Open, few.Opened = 30, Day, 10, Day
	must(t, b.Evaluated(ctx, &fleet.Evaluation{Cursor: cursor, Streams: []fleet.Stream{*s, *few}}))
	for _, tt := range []struct {
		least  int64
		before time.Time
		want   int
	}{{30, Day, 1}, {31, Day, 0}, {31, Day.Add(time.Second), 2}, {10, Day, 2}} {
		all, err := b.Unsealed(ctx, tt.least, tt.before, 100)
		must(t, err)
		if len(all) != tt.want {
			t.Errorf("%d or before %s: %d, want %d", tt.least, tt.before, len(all), tt.want)
		}
	}
	open, err := b.OpenBlocks(ctx, s.N, cursor)
	must(t, err)
	if got := readingsOf(t, open, s); len(got) != 20 {
		t.Fatalf("%d open readings up to block %d", len(got), cursor)
	}
	var replaced []int64
	for _, x := range open {
		replaced = append(replaced, x.N)
	}
	segment := signedBlock(s, fleet.Sealed, 1, 1000)
	s.Sealed, s.Open, s.Opened = device.Head{Seq: 1, Hash: segment.Hash}, 10, Day
	must(t, b.Seal(ctx, []fleet.Sealing{{Stream: *s, Sealed: []fleet.Block{segment}, Replaced: replaced}}))
	all, err := b.Blocks(ctx, s.N, 0, math.MaxInt64)
	must(t, err)
	if len(all) != 2 || all[0].Origin != fleet.Sealed || all[1].Origin != fleet.Open {
		t.Errorf("%+v", all)
	}
	after := arrived(t, b, cursor)
	if len(after) != 1 || after[0].First != 3000 {
		t.Errorf("what was sealed arrives again: %+v", after)
	}
	appendAll(t, b, block(s, 4000, 10))
	if after := arrived(t, b, after[0].N); len(after) != 1 || after[0].First != 4000 {
		t.Errorf("%+v", after)
	}
	got, err := b.Stream(ctx, s.N)
	must(t, err)
	if got.Sealed != s.Sealed || got.Open != 10 {
		t.Errorf("%+v", got)
	}
}

func someAlarm(s *fleet.Stream, n int) fleet.Alarm {
	terms, _ := coldchain.TermsOf("refrigerated")
	return fleet.Alarm{
		ID: fleet.ID(fmt.Sprintf("alarm-%02d", n)), Version: 1, Place: atNorth, State: fleet.Standing, Stream: s.N, Equipment: "equipment-00", Name: "Fridge",
		Device: s.Device, Sensor: "TVC", Episode: coldchain.Episode{Rule: "HEAT", Since: int64(1000 * n), At: int64(1000*n + 500), Seconds: 500, Extreme: 9100},
		Terms: terms, Raised: Day, Changed: Day, Why: "raised", Statement: fmt.Appendf(nil, "EXAMPLE statement %d", n),
	}
}

func testAlarms(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	s := someStream(t, b, 1)
	var all []fleet.Alarm
	for n := 1; n <= 4; n++ {
		all = append(all, someAlarm(s, n))
	}
	must(t, b.Evaluated(ctx, &fleet.Evaluation{Alarms: all}))
	ended := all[1]
	ended.Version, ended.State, ended.Episode.Until, ended.Statement = 2, fleet.Ended, 2900, []byte("EXAMPLE statement, again")
	ended.Acknowledged = []fleet.Acknowledgement{{By: "example", At: Day, Comment: "seen"}}
	must(t, b.Evaluated(ctx, &fleet.Evaluation{Alarms: []fleet.Alarm{ended}}))
	if err := b.Evaluated(ctx, &fleet.Evaluation{Alarms: []fleet.Alarm{ended}, Cursor: 99}); !errors.Is(err, fleet.ErrChanged) {
		t.Errorf("a version twice: %v", err)
	}
	if n, err := b.Cursor(ctx); err != nil || n == 99 {
		t.Errorf("half of it is there: %d, %v", n, err)
	}
	got, err := b.Alarm(ctx, "alarm-02")
	must(t, err)
	if diff := cmp.Diff(&ended, got); diff != "" {
		t.Error(diff)
	}
	if _, err := b.Alarm(ctx, "none"); !errors.Is(err, fleet.ErrNoAlarm) {
		t.Error(err)
	}
	versions, err := b.Versions(ctx, "alarm-02")
	must(t, err)
	if len(versions) != 2 || string(versions[1]) != "EXAMPLE statement, again" {
		t.Errorf("%q", versions)
	}
	ids := func(all []fleet.Alarm, err error) (out []string) {
		t.Helper()
		must(t, err)
		for _, a := range all {
			out = append(out, string(a.ID[len("alarm-"):]))
		}
		return out
	}
	for _, tt := range []struct {
		name string
		got  []string
		want []string
	}{
		{"standing", ids(b.Alarms(ctx, atNorth, fleet.Standing, "", 10)), []string{"04", "03", "01"}},
		{"all", ids(b.Alarms(ctx, fleet.Place{Organisation: "moh"}, "", "", 10)), []string{"04", "03", "02", "01"}},
		{"of everybody", ids(b.Alarms(ctx, fleet.Place{}, fleet.Ended, "", 10)), []string{"02"}},
		{"a page", ids(b.Alarms(ctx, atNorth, "", "alarm-03", 1)), []string{"02"}},
		{"elsewhere", ids(b.Alarms(ctx, fleet.Place{Organisation: "moh", Facility: "south"}, "", "", 10)), nil},
		{"of a stream", ids(b.AlarmsOf(ctx, s.N, 2000)), []string{"02", "03", "04"}},
		{"in equipment", ids(b.AlarmsIn(ctx, "equipment-00", 2901, 3500)), []string{"01", "03"}},
		{"standing in equipment", ids(b.StandingIn(ctx, "equipment", "equipment-00")), []string{"04", "03", "01"}},
		{"standing in other equipment", ids(b.StandingIn(ctx, "equipment-01", "equipment-09")), nil},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

func testNotices(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	target := &fleet.Target{ID: "target", Place: atNorth, Channel: "webhook", Address: "https://example.org/", Secret: []byte("secret"), Rank: 1, Zone: "UTC"}
	must(t, b.PutTarget(ctx, target))
	target.Rank = 0
	must(t, b.PutTarget(ctx, target))
	all, err := b.Targets(ctx)
	must(t, err)
	if diff := cmp.Diff([]fleet.Target{*target}, all); diff != "" {
		t.Error(diff)
	}
	notices := []fleet.Notice{{ID: "n1", Alarm: "a", Version: 1, Target: "target", Kind: "raised", Due: Day}, {ID: "n2", Alarm: "a", Version: 2, Target: "target", Kind: "repeated", Due: Day.Add(time.Minute)}}
	must(t, b.Evaluated(ctx, &fleet.Evaluation{Notices: notices}))
	due := func(at time.Time) (out []string) {
		t.Helper()
		all, err := b.Due(ctx, at, 10)
		must(t, err)
		for _, n := range all {
			out = append(out, string(n.ID))
		}
		return out
	}
	if got := due(Day.Add(-time.Second)); len(got) != 0 {
		t.Errorf("too soon: %q", got)
	}
	if got := due(Day.Add(time.Hour)); !slices.Equal(got, []string{"n1", "n2"}) {
		t.Errorf("%q", got)
	}
	n := notices[0]
	n.Attempts, n.Due, n.Problem = 1, Day.Add(2*time.Hour), "not-delivered-yet"
	must(t, b.PutNotice(ctx, &n))
	if got := due(Day.Add(time.Hour)); !slices.Equal(got, []string{"n2"}) {
		t.Errorf("put off: %q", got)
	}
	n.Sent = Day.Add(3 * time.Hour)
	must(t, b.PutNotice(ctx, &n))
	second := notices[1]
	second.Given = true
	must(t, b.PutNotice(ctx, &second))
	if got := due(Day.Add(24 * time.Hour)); len(got) != 0 {
		t.Errorf("sent, and given up: %q", got)
	}
	must(t, b.DeleteTarget(ctx, "target"))
	if all, err := b.Targets(ctx); err != nil || len(all) != 0 {
		t.Errorf("%d targets, %v", len(all), err)
	}
}

func testForgetting(t *testing.T, b fleet.Book) {
	ctx := t.Context()
	s := someStream(t, b, 1)
	for n := range 3 {
		_, err := b.Append(ctx, &fleet.Addition{
			Blocks: []fleet.Block{signedBlock(s, fleet.Sealed, uint64(n+1), int64(1000*(n+1))), block(s, int64(1000*(n+1)), 2)},
			Raw:    &fleet.Raw{Digest: sha256.Sum256([]byte{byte(n)}), Media: "x", Supplier: "s", Until: Day.Add(time.Duration(n) * time.Hour)},
		})
		must(t, err)
	}
	raws, segments, err := b.Forget(ctx, Day.Add(90*time.Minute), 2500)
	if err != nil || raws != 2 || segments != 2 {
		t.Errorf("%d messages, %d segments, %v", raws, segments, err)
	}
	left, err := b.Blocks(ctx, s.N, 0, math.MaxInt64)
	must(t, err)
	if got := readingsOf(t, slices.DeleteFunc(left, func(x fleet.Block) bool { return x.Origin != fleet.Open }), s); len(got) != 6 { // what is open is never forgotten
		t.Errorf("%d open readings are left", len(got))
	}
	if raws, segments, err = b.Forget(ctx, Day, 0); err != nil || raws+segments != 0 {
		t.Errorf("%d messages, %d segments, %v", raws, segments, err)
	}
}

// testFleetAtOnce: who reads those after one misses none, however many are added.
func testFleetAtOnce(t *testing.T, b fleet.Book) {
	s := someStream(t, b, 1)
	const hands, each = 8, 40
	var adding sync.WaitGroup
	for h := range hands {
		adding.Go(func() {
			for i := range each {
				if _, err := b.Append(t.Context(), &fleet.Addition{Blocks: []fleet.Block{block(s, int64(h*1_000_000+i*1200), 10), block(s, int64(h*1_000_000+i*1200+600), 5)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { adding.Wait(); close(done) }()
	seen, last := 0, int64(0)
	for over := false; ; {
		page, err := b.Arrived(t.Context(), last, 7)
		must(t, err)
		for _, x := range page {
			if x.N <= last {
				t.Fatalf("%d after %d", x.N, last)
			}
			last = x.N
			seen += x.Count
		}
		if len(page) > 0 {
			continue
		}
		if over {
			break
		}
		select {
		case <-done:
			over = true
		case <-time.After(time.Millisecond):
		}
	}
	if seen != hands*each*15 {
		t.Errorf("%d readings of %d", seen, hands*each*15)
	}
}
