package fleet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/party/fleet"
)

// day is when the tests begin.
var day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// kit is a fleet over a store of its own, with a clock that the test sets.
type kit struct {
	*fleet.Fleet
	t    *testing.T
	now  time.Time
	book *store.Fleet
	sent []string // notices: kind, rule
	down bool     // nothing can be sent
}

var by = fleet.Actor{ID: "specimen.technician", Within: fleet.Place{Organisation: "moh"}}

func newKit(t *testing.T) *kit {
	t.Helper()
	master, err := keys.NewMasterKey(rand.Reader)
	must(t, err)
	book, err := store.OpenFleet(t.Context(), store.Config{Dir: t.TempDir(), Master: master, NoSync: true})
	must(t, err)
	t.Cleanup(func() { must(t, book.Close()) })
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	k := &kit{t: t, now: day, book: book}
	k.Fleet = k.fleet(signer)
	return k
}

func (k *kit) fleet(signer *ecdsa.PrivateKey) *fleet.Fleet {
	return &fleet.Fleet{
		Book: k.book, Signer: signer, Now: func() time.Time { return k.now }, Log: slog.New(slog.DiscardHandler), KeepRaw: 24 * time.Hour,
		Repeat: time.Hour, Escalate: 3 * time.Hour,
		Send: func(_ context.Context, to *fleet.Target, n *fleet.Notice, a *fleet.Alarm) error {
			if k.down {
				return errors.New("no way out")
			}
			k.sent = append(k.sent, fmt.Sprintf("%s %s to %d", n.Kind, a.Episode.Rule, to.Rank))
			return nil
		},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equipment makes a fridge at 2 to 8 °C.
func (k *kit) equipment(name string) *fleet.Equipment {
	k.t.Helper()
	terms, _ := coldchain.TermsOf("refrigerated")
	e := &fleet.Equipment{Place: by.Within, Name: name, Kind: fleet.Fridge, Silence: 900, Lost: 6 * 3600}
	must(k.t, k.PutEquipment(k.t.Context(), by, e, terms))
	return e
}

// logger registers a device, in equipment from the first day on.
func (k *kit) logger(serial string, in *fleet.Equipment) *fleet.Device {
	k.t.Helper()
	name, err := device.NewName(device.Serial, "Specimen/"+serial)
	must(k.t, err)
	d := &fleet.Device{Place: by.Within, Names: []device.Name{name}, Supplier: "supplier"}
	must(k.t, k.Register(k.t.Context(), by, d))
	if in != nil {
		d, err = k.Move(k.t.Context(), by, d.ID, "", in.ID, day.Unix())
		must(k.t, err)
	}
	return d
}

var source = fleet.Source{Supplier: "supplier", Level: device.LevelToken, Via: "https", Organisation: "moh"}

// every gives a value each 15 minutes from minute on.
func every(minute int, degrees ...float64) (out []device.Reading) {
	for i, d := range degrees {
		out = append(out, device.Reading{At: day.Unix() + int64(minute*60+i*900), Value: int32(d * 1000)})
	}
	return out
}

func times(n int, degrees float64) []float64 { return slices.Repeat([]float64{degrees}, n) }

func (k *kit) deliver(d *fleet.Device, readings []device.Reading) fleet.Receipt {
	k.t.Helper()
	r, err := k.Ingest(k.t.Context(), &fleet.Delivery{Source: source, Series: []fleet.Series{{Device: d.Names[0], Sensor: "TVC", Quantity: device.Temperature, Interval: 900, Readings: readings}}})
	must(k.t, err)
	return r
}

func (k *kit) evaluate() {
	k.t.Helper()
	for more := true; more; {
		var err error
		more, err = k.Evaluate(k.t.Context())
		must(k.t, err)
	}
}

// alarms are those of all equipment, by time: rule, minutes of since, at and until,
// state, end.
func (k *kit) alarms() (out []string) {
	k.t.Helper()
	all, err := k.Alarms(k.t.Context(), by, "", "", 1000)
	must(k.t, err)
	slices.Reverse(all)
	minute := func(at int64) any {
		if at == 0 {
			return "-"
		}
		return (at - day.Unix()) / 60
	}
	for _, a := range all {
		e := a.Episode
		out = append(out, fmt.Sprintf("%s %s %v %v %v %s %s", a.Name, e.Rule, minute(e.Since), minute(e.At), minute(e.Until), a.State, e.End))
	}
	return out
}

func (k *kit) want(want ...string) {
	k.t.Helper()
	got := k.alarms()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		k.t.Errorf("alarms\n%q\nwant\n%q", got, want)
	}
}

func TestAlarmsInDeviceTime(t *testing.T) {
	k := newKit(t)
	fridge := k.equipment("North")
	d := k.logger("1", fridge)
	// Ten hours above 8 °C from minute 60 on, and a freeze that ends.
	all := slices.Concat(times(4, 5), times(44, 9), times(4, 5), times(5, -1), times(3, 4))
	readings := every(0, all...)
	k.deliver(d, readings[:20])
	k.evaluate()
	k.want()
	k.deliver(d, readings[20:46])
	k.evaluate()
	k.want("North HEAT 60 660 - standing ")
	k.deliver(d, readings[46:])
	k.evaluate()
	k.want("North HEAT 60 660 720 ended recovered", "North FRZE 780 840 855 ended recovered")
}

// TestLateData: whatever the order of arrival, the alarms are the same.
func TestLateData(t *testing.T) {
	all := every(0, slices.Concat(times(4, 5), times(60, 9), times(4, 5), times(9, -1), times(9, 4))...)
	want := []string{"North HEAT 60 660 960 ended recovered", "North FRZE 1020 1080 1155 ended recovered"}
	for name, parts := range map[string][][]device.Reading{
		"backwards":        {all[60:], all[30:60], all[:30]},
		"each second late": {odd(all, 0), odd(all, 1)},
		"the middle late":  {all[:20], all[50:], all[20:50]},
		"twice":            {all[:40], all[20:70], all},
		"one by one":       slices.Collect(slices.Chunk(all, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			d := k.logger("1", k.equipment("North"))
			for _, part := range parts {
				k.deliver(d, part)
				k.evaluate()
			}
			var got []string
			for _, a := range k.alarms() {
				if !slices.Contains([]string{"withdrawn "}, a[len(a)-10:]) {
					got = append(got, a)
				}
			}
			slices.Sort(got)
			w := slices.Sorted(slices.Values(want))
			if !slices.Equal(got, w) {
				t.Errorf("%q\nwant %q", got, w)
			}
		})
	}
}

func odd(all []device.Reading, which int) (out []device.Reading) {
	for i, r := range all {
		if i%2 == which {
			out = append(out, r)
		}
	}
	return out
}

// TestSlowLogger: one reading an hour, one by one and nothing said of it, is no gap.
func TestSlowLogger(t *testing.T) {
	for _, stated := range []int64{0, 60, 3600} {
		k := newKit(t)
		d := k.logger("1", k.equipment("North"))
		for hour := range 30 {
			degrees := int32(5000)
			if hour >= 8 && hour < 20 {
				degrees = 9000
			}
			r := []device.Reading{{At: day.Unix() + int64(hour)*3600, Value: degrees}}
			_, err := k.Ingest(t.Context(), &fleet.Delivery{Source: source, Series: []fleet.Series{{Device: d.Names[0], Sensor: "TVC", Quantity: device.Temperature, Interval: stated, Readings: r}}})
			must(t, err)
			k.evaluate()
		}
		k.want("North HEAT 480 1080 1200 ended recovered")
	}
}

// TestDamaged: a block that cannot be read keeps nobody else's alarms back.
func TestDamaged(t *testing.T) {
	k := newKit(t)
	bad, good := k.logger("bad", k.equipment("Bad")), k.logger("good", k.equipment("Good"))
	k.deliver(bad, every(0, 5))
	k.deliver(good, every(0, 5))
	k.evaluate()
	streams, err := k.book.StreamsOf(t.Context(), bad.ID)
	must(t, err)
	_, err = k.book.Append(t.Context(), &fleet.Addition{Blocks: []fleet.Block{{Stream: streams[0].N, First: day.Unix(), Last: day.Unix(), Count: 1, Received: day, Data: []byte{0x80}}}})
	must(t, err)
	k.deliver(good, every(15, times(60, 9)...))
	k.evaluate()
	k.want("Good HEAT 15 615 - standing ")
}

// TestChangedMeanwhile: a device and its equipment change in the middle of a round.
func TestChangedMeanwhile(t *testing.T) {
	k := newKit(t)
	e := k.equipment("North")
	d := k.logger("L-1", e)
	done := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				k.Forget(d.ID)
			}
		}
	})
	changing.Go(func() {
		terms, _ := coldchain.TermsOf("refrigerated")
		for n := range 20 {
			next := *e
			next.Name = fmt.Sprint("North ", n)
			if err := k.PutEquipment(t.Context(), by, &next, terms); err != nil {
				t.Error(err)
				return
			}
			e = &next
		}
	})
	for n := range 60 {
		k.deliver(d, every(n*60, 5, 5, 5, 5))
		k.evaluate()
	}
	close(done)
	changing.Wait()
	k.deliver(d, every(60*60, times(60, 9)...))
	k.evaluate()
	if got := k.alarms(); len(got) != 1 || !strings.HasSuffix(got[0], "standing ") {
		t.Errorf("%q", got)
	}
}

// TestSupplierOfAll: what an account of the whole organisation announces can be put into
// equipment of a facility, and is seen there.
func TestSupplierOfAll(t *testing.T) {
	k := newKit(t)
	north := fleet.Actor{ID: "specimen.nurse", Within: fleet.Place{Organisation: "moh", Facility: "north"}}
	terms, _ := coldchain.TermsOf("refrigerated")
	fridge := &fleet.Equipment{Place: north.Within, Name: "North", Kind: fleet.Fridge}
	must(t, k.PutEquipment(t.Context(), north, fridge, terms))
	name, err := device.NewName(device.Serial, "Specimen/announced")
	must(t, err)
	send := func(readings []device.Reading) {
		_, err := k.Ingest(t.Context(), &fleet.Delivery{Source: source, Series: []fleet.Series{{Device: name, Sensor: "TVC", Quantity: device.Temperature, Interval: 900, Readings: readings}}})
		must(t, err)
		k.evaluate()
	}
	send(every(0, times(60, 9)...))
	k.want() // it is nowhere yet
	d, err := k.book.DeviceNamed(t.Context(), name)
	must(t, err)
	if d.State != device.Announced || d.Place != by.Within {
		t.Errorf("%+v", d)
	}
	_, err = k.Turn(t.Context(), by, d.ID, device.Claimed, "")
	must(t, err)
	// The move is back-dated: what was measured since is the fridge's.
	_, err = k.Move(t.Context(), by, d.ID, "", fridge.ID, day.Unix())
	must(t, err)
	k.want("North HEAT 0 600 - standing ")
	all, err := k.Watching(t.Context(), north, "", 10)
	must(t, err)
	if len(all) != 1 || len(all[0].Streams) != 1 || len(all[0].Standing) != 1 {
		t.Errorf("%+v", all)
	}
	g, err := k.Look(t.Context(), north, fridge.ID)
	must(t, err)
	if len(g.Streams) != 1 || len(g.Standing) != 1 {
		t.Errorf("%+v", g)
	}
	if _, lines, _, err := k.Chart(t.Context(), north, fridge.ID, day.Unix(), day.Unix()+86400, 100); err != nil || len(lines) != 1 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	send(every(900, 4))
	k.want("North HEAT 0 600 900 ended recovered")
}

// TestScenario: 30 days, three fridges, a gap, a dead sensor, a freeze, a double import.
func TestScenario(t *testing.T) {
	k := newKit(t)
	k.Fleet.Repeat, k.Fleet.Escalate = time.Hour, 3*time.Hour
	must(t, k.SetTarget(t.Context(), by, &fleet.Target{Place: by.Within, Channel: "mail", Address: "a@example.org"}))
	must(t, k.SetTarget(t.Context(), by, &fleet.Target{Place: by.Within, Channel: "mail", Address: "b@example.org", Rank: 1}))
	fine, dead, cold := k.equipment("Fine"), k.equipment("Dead"), k.equipment("Cold")
	a, b, c := k.logger("a", fine), k.logger("b", dead), k.logger("c", cold)
	for hour := range 30 * 24 {
		k.now = day.Add(time.Duration(hour) * time.Hour)
		minute := hour * 60
		// The first has a gap of five hours, and what was measured then comes later, twice.
		if hour < 100 || hour >= 105 {
			k.deliver(a, every(minute, times(4, 5)...))
		}
		if hour == 110 {
			for range 2 {
				for h := 100; h < 105; h++ {
					k.deliver(a, every(h*60, times(4, 5)...))
				}
			}
		}
		// The second gets warm and dies.
		switch {
		case hour < 200:
			k.deliver(b, every(minute, times(4, 4)...))
		case hour < 215:
			k.deliver(b, every(minute, times(4, 12)...))
		}
		// The third freezes for two hours.
		temperature := 3.0
		if hour == 300 || hour == 301 {
			temperature = -1
		}
		k.deliver(c, every(minute, times(4, temperature)...))
		k.evaluate()
		must(t, k.Silence(t.Context()))
		must(t, k.Tell(t.Context()))
		_, err := k.Seal(t.Context())
		must(t, err)
	}
	k.want(
		// Nothing came from hour 99 to hour 105, by the clock of the server; what came later
		// for the time between is no alarm.
		"Fine SILENT 5955 6000 6300 ended recovered",
		"Dead HEAT 12000 12600 12885 ended sensor-lost",
		"Dead SILENT 12855 12900 - standing ",
		"Cold FRZE 18000 18060 18120 ended recovered",
	)
	// What was told: that the second is silent each hour, from the third on to those above
	// too; nobody has acknowledged it.
	count := make(map[string]int)
	for _, n := range k.sent {
		count[n]++
	}
	for told, want := range map[string]int{
		"raised SILENT to 0": 2, "raised HEAT to 0": 1, "raised FRZE to 0": 1, "escalated SILENT to 0": 2, "escalated SILENT to 1": 2,
		"ended HEAT to 0": 1, "ended HEAT to 1": 1, "ended FRZE to 0": 1, "ended SILENT to 0": 1, "ended SILENT to 1": 1,
	} {
		if count[told] != want {
			t.Errorf("%s: %d times, want %d", told, count[told], want)
		}
	}
	if n := count["repeated SILENT to 0"]; n < 480 || count["repeated SILENT to 1"] < 480 {
		t.Errorf("silence was repeated %d times in 20 days", n)
	}
	// Somebody sees to it, and says so.
	standing, err := k.Alarms(t.Context(), by, fleet.Standing, "", 10)
	must(t, err)
	silent, err := k.Acknowledge(t.Context(), by, standing[0].ID, "the logger is broken; another is on its way")
	must(t, err)
	before := len(k.sent)
	k.now = k.now.Add(24 * time.Hour)
	must(t, k.Tell(t.Context()))
	if len(k.sent) != before {
		t.Errorf("told after it was acknowledged: %q", k.sent[before:])
	}
	if _, err := k.Acknowledge(t.Context(), fleet.Actor{ID: "other", Within: fleet.Place{Organisation: "other"}}, silent.ID, ""); !errors.Is(err, fleet.ErrNoAlarm) {
		t.Errorf("somebody of another organisation: %v", err)
	}
	// Its versions are signed, each names the one before, and the last says who.
	_, versions, err := k.Alarm(t.Context(), by, silent.ID)
	must(t, err)
	var last *device.Statement
	for n, data := range versions {
		s, err := device.ParseStatement(data)
		must(t, err)
		must(t, s.Verify(k.Signer.Public()))
		if n > 0 && !s.Follows(last) {
			t.Fatalf("version %d does not follow", n+1)
		}
		last = s
	}
	if last.By != by.ID || last.Comment != "the logger is broken; another is on its way" || last.State != device.Acknowledged {
		t.Errorf("%+v", last)
	}
	// The chart shows each, however few points it has.
	for _, points := range []int{10, 100, 1000, 10_000} {
		for _, tt := range []struct {
			e         *fleet.Equipment
			low, high int32
		}{{fine, 5000, 5000}, {dead, 4000, 12000}, {cold, -1000, 3000}} {
			_, lines, alarms, err := k.Chart(t.Context(), by, tt.e.ID, day.Unix(), day.Unix()+30*86400, points)
			must(t, err)
			low, high := lines[0].Buckets[0].Low, lines[0].Buckets[0].High
			for _, b := range lines[0].Buckets {
				low, high = min(low, b.Low), max(high, b.High)
			}
			if low != tt.low || high != tt.high || len(lines[0].Buckets) > points || len(alarms) == 0 {
				t.Errorf("%s in %d points: %d to %d in %d, %d alarms", tt.e.Name, points, low, high, len(lines[0].Buckets), len(alarms))
			}
		}
	}
	// Twice imported is there once.
	_, lines, _, err := k.Chart(t.Context(), by, fine.ID, day.Unix()+100*3600, day.Unix()+105*3600-1, 1000)
	must(t, err)
	if len(lines[0].Buckets) != 20 {
		t.Errorf("%d readings in the five hours that came late, want 20", len(lines[0].Buckets))
	}
}

func TestSigned(t *testing.T) {
	k := newKit(t)
	d := k.logger("1", k.equipment("North"))
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	must(t, err)
	kid, err := device.KeyID(signer.Public())
	must(t, err)
	d.Keys, d.Version = append(d.Keys, fleet.Key{KID: kid, Public: public, From: day}), d.Version+1
	must(t, k.book.PutDevice(t.Context(), d))
	k.Forget(d.ID)
	var chain [][]byte
	var head device.Head
	for i := range 6 {
		s := device.Segment{Device: d.ID, Stream: 1, Quantity: device.Temperature, Seq: head.Seq + 1, Prev: head.Hash, Interval: 60, Clock: device.ClockSet, Readings: every(i*60, 5, 5.5, 5)}
		data, err := s.Sign(rand.Reader, signer)
		must(t, err)
		head = s.Head()
		chain = append(chain, data)
	}
	forked := device.Segment{Device: d.ID, Stream: 1, Quantity: device.Temperature, Seq: 1, Interval: 60, Clock: device.ClockSet, Readings: every(0, 4, 4, 4)}
	other, err := forked.Sign(rand.Reader, signer)
	must(t, err)
	send := func(segments ...[]byte) fleet.Receipt {
		t.Helper()
		r, err := k.Ingest(t.Context(), &fleet.Delivery{Source: fleet.Source{Device: d.ID, Level: device.LevelMutual}, Segments: segments})
		must(t, err)
		return r
	}
	levels := func() (out []device.Level) {
		streams, err := k.book.StreamsOf(t.Context(), d.ID)
		must(t, err)
		for _, s := range streams {
			all, err := k.book.Segments(t.Context(), s.N, fleet.Own, 1, 100)
			must(t, err)
			for _, b := range all {
				out = append(out, b.Level)
			}
		}
		return out
	}
	if r := send(chain[0]); r.Stored != 3 {
		t.Errorf("%+v", r)
	}
	send(chain[2], chain[3])
	if got := levels(); !slices.Equal(got, []device.Level{3, 2, 2}) {
		t.Errorf("with a hole: %v", got)
	}
	if r := send(chain[1]); r.Stored != 3 {
		t.Errorf("%+v", r)
	}
	if got := levels(); !slices.Equal(got, []device.Level{3, 3, 3, 3}) {
		t.Errorf("filled: %v", got)
	}
	if r := send(chain[:4]...); r.Repeated != 12 || r.Stored != 0 {
		t.Errorf("again: %+v", r)
	}
	send(chain[4], chain[5])
	bad := slices.Clone(chain[5])
	bad[len(bad)-1] ^= 1
	if r := send(bad); len(r.Refused) != 1 || r.Refused[0].Reason != fleet.ReasonSignature {
		t.Errorf("a changed one: %+v", r)
	}
	k.evaluate()
	k.want()
	if r := send(other); r.Stored != 0 {
		t.Errorf("forked: %+v", r)
	}
	k.evaluate()
	k.want("North FORKED 0 0 0 ended FORKED")
}

// TestAnnounced: an account announces so many devices; one more is refused by itself, the
// rest of its message is kept, and there is room again when somebody has claimed one.
func TestAnnounced(t *testing.T) {
	k := newKit(t)
	k.Announce = 2
	send := func(of fleet.Source, minute int, serials ...string) (refused []string) {
		t.Helper()
		d := &fleet.Delivery{Source: of}
		for _, serial := range serials {
			name, err := device.NewName(device.Serial, "Specimen/"+serial)
			must(t, err)
			d.Series = append(d.Series, fleet.Series{Device: name, Sensor: "TVC", Quantity: device.Temperature, Interval: 900, Readings: every(minute, 5)})
		}
		r, err := k.Ingest(t.Context(), d)
		must(t, err)
		if r.Stored != len(serials)-len(r.Refused) {
			t.Errorf("%d readings of %d are kept", r.Stored, len(serials))
		}
		for _, f := range r.Refused {
			refused = append(refused, f.Path+" "+string(f.Reason))
		}
		return refused
	}
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("three", send(source, 0, "a", "b", "c"), "series[2] too-many-announced")
	check("those that are known", send(source, 15, "a", "b"))
	other := source
	other.Supplier = "another"
	check("another account", send(other, 0, "d", "e", "f"), "series[2] too-many-announced")
	name, err := device.NewName(device.Serial, "Specimen/a")
	must(t, err)
	d, err := k.book.DeviceNamed(t.Context(), name)
	must(t, err)
	_, err = k.Turn(t.Context(), by, d.ID, device.Claimed, "")
	must(t, err)
	check("as it was counted before", send(source, 30, "c"), "series[0] too-many-announced")
	k.now = k.now.Add(time.Minute)
	check("one was claimed", send(source, 45, "c"))
	check("and its place is taken", send(source, 60, "g"), "series[0] too-many-announced")
	// A service that was started anew counts what there is.
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	k.Fleet = k.fleet(signer)
	k.Announce = 2
	check("after a start", send(source, 75, "g"), "series[0] too-many-announced")
	check("after a start, another", send(other, 75, "d"))
}
