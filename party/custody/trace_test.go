package custody_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/format/oid"
	"ampoule/format/uuid"
	"ampoule/internal/keys"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/thing"
	"ampoule/thing/thread"
)

// witnesses sign what the refrigerators of the tests measured, as a service does that
// seals readings.
type witnesses struct {
	k         *kit
	authority *keys.Key
	service   *keys.Key
	others    []string // equipment that is not the asker's to see
}

func newWitnesses(t *testing.T, k *kit) *witnesses {
	t.Helper()
	authority, err := keys.NewDeviceCA(day(1).AddDate(-1, 0, 0), nil)
	must(t, err)
	service, err := keys.NewService(authority, day(1).AddDate(-1, 0, 0), nil)
	must(t, err)
	w := &witnesses{k: k, authority: authority, service: service}
	k.Witnesses = w
	k.Signer = &custody.Signer{Key: service.Signer, Certificates: [][]byte{service.Certificate().Raw, authority.Certificate().Raw}}
	return w
}

func (w *witnesses) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(w.authority.Certificate())
	return p
}

func (w *witnesses) InEquipment(_ context.Context, _ custody.Actor, name string, from, until int64) (*custody.Witnessed, error) {
	if slices.Contains(w.others, name) {
		return nil, custody.ErrNotYours
	}
	id, err := oid.Parse(fmt.Sprintf("2.25.%d", len(name)*1000+int(name[0])))
	if err != nil {
		return nil, err
	}
	const stream = 1
	var file bytes.Buffer
	e := device.NewEvidence(&file, device.ID(id), nil, w.k.now)
	e.Certificate(w.service.Certificate().Raw)
	e.Stream(stream, "TVC", device.Temperature)
	g := device.Segment{Device: device.ID(id), Stream: stream, Quantity: device.Temperature, Seq: 7, Prev: device.Hash{1}, Interval: 900, Clock: device.ClockFree}
	for _, x := range w.k.cold[name] {
		if x.At >= from-coldchain.Gap && x.At <= until+coldchain.Gap {
			g.Readings = append(g.Readings, device.Reading{At: x.At, Value: int32(x.T)})
		}
	}
	for part := range slices.Chunk(g.Readings, 500) {
		one := g
		one.Readings = part
		data, err := one.Sign(rand.Reader, w.service.Signer)
		if err != nil {
			return nil, err
		}
		e.Segment(data)
		g.Seq, g.Prev = g.Seq+1, one.Head().Hash
	}
	e.Location(device.Location{Since: day(1).Unix(), Place: "moh", Equipment: name})
	if err := e.Seal(rand.Reader, w.service.Signer); err != nil {
		return nil, err
	}
	return &custody.Witnessed{Profile: coldchain.Refrigerated, Watches: []thread.Watch{{
		Device: device.ID(id).String(), Level: uint8(device.LevelMutual), Evidence: file.Bytes(), Counts: []thread.Count{{Sensor: "TVC", Gap: coldchain.Gap, From: day(1).Unix()}},
	}}}, nil
}

func (w *witnesses) ByDevice(ctx context.Context, by custody.Actor, name string, from, until int64) (*custody.Witnessed, error) {
	return w.InEquipment(ctx, by, name, from, until)
}

// check reads a file as somebody does who trusts the authority of the devices.
func (w *witnesses) check(t *testing.T, file []byte, o thread.Options) *thread.Report {
	t.Helper()
	s, err := thread.Parse(file)
	must(t, err)
	o.Roots, o.At = w.roots(), w.k.now.Add(time.Hour)
	return s.Check(o)
}

// frozen is the story of the clinic whose refrigerator freezes on day 12.
func frozen(t *testing.T) (*kit, *witnesses) {
	k := newKit(t)
	w := newWitnesses(t, k)
	k.deliver(ipvLot)
	k.deliver(yellowLot)
	k.cold.hold("depot-cold", 1, 6, 5_000)
	k.cold.hold("south-cold", 5, 20, 4_000)
	k.cold.hold("north-cold", 5, 12, 5_000)
	k.cold.hold("north-cold", 12, 13, -3_000)
	k.cold.hold("north-cold", 13, 20, 5_000)
	return k, w
}

var ministry = custody.Actor{ID: "u-auditor", Within: custody.Place{Organisation: "moh"}}

// recordOf issues the certificate of a dose, and is its record.
func (k *kit) recordOf(n int, product thing.Product, lot, facility string, d int) uuid.UUID {
	k.t.Helper()
	record := storetest.Dose(n)
	record.Vaccination.Product.Code, record.Vaccination.Lot, record.Vaccination.Date = product.Code, lot, cert.Date(day(d).Format(time.DateOnly))
	o := storetest.Order(fmt.Sprint("order ", n), record)
	o.At = issuer.Place{Organisation: "moh", Facility: facility}
	r, err := k.desk.Registry.Issue(k.t.Context(), o)
	must(k.t, err)
	return r.ID
}

// TestTrace follows doses of a clinic whose refrigerator froze: the thread holds, says
// the same as the assessment of the service, and has nothing of a person in it.
func TestTrace(t *testing.T) {
	k, w := frozen(t)
	for _, c := range []struct {
		name    string
		product thing.Product
		number  string
		lot     string
		place   string
		at      string
		d       int
		outcome coldchain.Outcome
	}{
		{"before the freeze", ipv, "SPEC-IPV", ipvLot, north, "north", 11, coldchain.Sound},
		{"after it", ipv, "SPEC-IPV", ipvLot, north, "north", 15, coldchain.Froze},
		{"a lot beside it that bears it", yellow, "SPEC-YF", yellowLot, north, "north", 15, coldchain.Sound},
		{"the same lot elsewhere", ipv, "spec ipv", ipvLot, south, "south", 15, coldchain.Sound},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.t = t
			record := k.recordOf(c.d*10+len(c.name), c.product, c.number, c.at, c.d)
			file, made, err := k.Trace(t.Context(), ministry, custody.Question{Record: record, Lot: c.number})
			must(t, err)
			if made.Lot != c.lot || made.Place != c.place || made.Assessment.Outcome != c.outcome || made.Dose.Record != record.String() {
				t.Errorf("%s at %s: %s", made.Lot, made.Place, made.Assessment.Outcome)
			}
			known, err := k.Assess(t.Context(), c.lot, c.place, made.Until)
			must(t, err)
			a, _ := json.Marshal(known.Assessment)
			b, _ := json.Marshal(made.Assessment)
			// The works told its own event of making, which the ministry does not see.
			if known.Outcome != made.Assessment.Outcome || known.Measured != made.Assessment.Measured || known.At != made.Assessment.At || known.MKT == nil || math.Abs(*known.MKT-*made.Assessment.MKT) > 1e-9 {
				t.Errorf("the service says %s\nthe thread says %s", a, b)
			}
			report := w.check(t, file, thread.Options{})
			if report.Result() != thread.Pass {
				t.Errorf("%+v", report.Findings)
			}
			if bytes.Contains(file, []byte("SPECIMEN")) || bytes.Contains(file, []byte("Specimen 1")) {
				t.Error("there is somebody in it")
			}
			t.Logf("%d bytes, %d events, %d legs", len(file), len(made.Events), len(made.Legs))
		})
	}
}

// TestTraceAsked asks in all ways, and as those who may see less.
func TestTraceAsked(t *testing.T) {
	k, w := frozen(t)
	record := k.recordOf(1, ipv, "SPEC-IPV", "north", 15)
	for _, c := range []struct {
		name     string
		by       custody.Actor
		q        custody.Question
		place    string
		legs     int
		withheld []string
		err      error
	}{
		{"by its lot", ministry, custody.Question{Lot: yellowLot, Place: south}, south, 6, []string{"events"}, nil},
		{"by number", ministry, custody.Question{Lot: "spec yf", Product: thing.Product{Code: "09521321123465", System: "https://id.gs1.org/01"}, Place: northCold}, north, 6, []string{"events"}, nil},
		{"of a clinic alone", clerk("north"), custody.Question{Record: record, Lot: "SPEC-IPV"}, north, 3, []string{"events"}, nil},
		{"of another clinic", clerk("south"), custody.Question{Record: record, Lot: "SPEC-IPV"}, "", 0, nil, custody.ErrNoDose},
		{"of another organisation", custody.Actor{ID: "x", Within: custody.Place{Organisation: "other"}}, custody.Question{Record: record, Lot: "SPEC-IPV"}, "", 0, nil, custody.ErrNoDose},
		{"of a lot by another organisation", custody.Actor{ID: "x", Within: custody.Place{Organisation: "other"}}, custody.Question{Lot: ipvLot}, "", 0, nil, custody.ErrNoTrace},
		{"of a lot that nobody told of", ministry, custody.Question{Lot: strings.Replace(ipvLot, "SPEC-IPV", "NONE", 1)}, "", 0, nil, custody.ErrNoTrace},
		{"of another's place", ministry, custody.Question{Lot: ipvLot, Place: works}, "", 0, nil, custody.ErrNoLocation},
		{"of a record that is none", ministry, custody.Question{Record: uuid.UUID{1}, Lot: "SPEC-IPV"}, "", 0, nil, custody.ErrNoDose},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, made, err := k.Trace(t.Context(), c.by, c.q)
			if !errors.Is(err, c.err) || err != nil && c.err == nil {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			if made.Place != c.place || len(made.Legs) != c.legs || !slices.Equal(made.Withheld, c.withheld) {
				t.Errorf("%s, %d legs, withheld %q", made.Place, len(made.Legs), made.Withheld)
			}
			if report := w.check(t, file, thread.Options{}); report.Result() != thread.Pass {
				t.Errorf("%+v", report.Findings)
			}
			for _, other := range []string{"Specimen works", works + `","name`} {
				if strings.Contains(string(file), other) {
					t.Errorf("%s is told", other)
				}
			}
		})
	}
	// Equipment of somebody else tells nothing, and the thread says so.
	w.others = []string{"north-cold"}
	_, made, err := k.Trace(t.Context(), ministry, custody.Question{Record: record, Lot: "SPEC-IPV"})
	must(t, err)
	if !slices.Contains(made.Withheld, thread.WithheldReadings) || made.Assessment.Outcome == coldchain.Froze {
		t.Errorf("withheld %q, %s", made.Withheld, made.Assessment.Outcome)
	}
}

// TestTraceChanged changes what the thread says, and signs it again with the key of the
// service: each change is found by what others said, or by what follows from it.
func TestTraceChanged(t *testing.T) {
	k, w := frozen(t)
	record := k.recordOf(1, ipv, "SPEC-IPV", "north", 15)
	country := authority(t, thing.Participant, "XAA", "XA")
	_, err := k.Sweep(t.Context())
	must(t, err)
	_, err = k.Speak(t.Context(), country)
	must(t, err)
	_, made, err := k.Trace(t.Context(), ministry, custody.Question{Record: record, Lot: "SPEC-IPV"})
	must(t, err)
	_, yellow, err := k.Trace(t.Context(), ministry, custody.Question{Lot: yellowLot, Place: north})
	must(t, err)
	if len(made.Statements) != 2 {
		t.Fatalf("%d statements", len(made.Statements))
	}
	last := len(made.Legs) - 1
	for _, c := range []struct {
		name   string
		change func(*thread.Thread)
		check  string // "": nothing is wrong
		reason string
	}{
		{"nothing", func(*thread.Thread) {}, "", ""},
		{"an event is missing", func(x *thread.Thread) {
			x.Events = slices.DeleteFunc(x.Events, func(e thread.Event) bool { return bytes.Contains(e.Event, []byte(northCold)) })
		}, thread.CheckWay, thread.ReasonNotFollows},
		{"an event tells another amount", func(x *thread.Thread) {
			x.Events[0].Event = bytes.Replace(x.Events[0].Event, []byte(`"quantity":100`), []byte(`"quantity":90`), 1)
		}, thread.CheckEvents, thread.ReasonHash},
		{"an event has another hash", func(x *thread.Thread) { x.Events[0].Hash = x.Events[1].Hash }, thread.CheckEvents, thread.ReasonHash},
		{"a leg is missing", func(x *thread.Thread) { x.Legs = x.Legs[:last] }, thread.CheckWay, thread.ReasonNotFollows},
		{"a leg ended earlier", func(x *thread.Thread) { x.Legs[last].Until = day(11) }, thread.CheckWay, thread.ReasonNotFollows},
		{"other equipment", func(x *thread.Thread) { x.Legs[last].Equipment = "south-cold" }, thread.CheckWay, thread.ReasonNotFollows},
		{"equipment that the evidence is not of", func(x *thread.Thread) {
			x.Legs[last].Equipment = "south-cold"
			for i := range x.Places {
				if x.Places[i].URI == northCold {
					x.Places[i].Equipment = "south-cold"
				}
			}
		}, thread.CheckReadings, thread.ReasonElsewhere},
		{"the evidence of another leg", func(x *thread.Thread) { x.Legs[last].Watches = x.Legs[2].Watches }, thread.CheckReadings, thread.ReasonElsewhere},
		{"readings are left out", func(x *thread.Thread) { x.Legs[last].Watches = nil }, thread.CheckAssessment, thread.ReasonNotFollows},
		{"the sensor was there for less time", func(x *thread.Thread) { x.Legs[last].Watches[0].Counts[0].Until = day(11).Unix() }, thread.CheckAssessment, thread.ReasonNotFollows},
		{"the clock was wrong", func(x *thread.Thread) {
			x.Legs[last].Watches[0].Corrections = []thread.Shift{{Offset: 30 * 86400}}
		}, thread.CheckAssessment, thread.ReasonNotFollows},
		{"a level that the device did not earn", func(x *thread.Thread) { x.Legs[last].Watches[0].Level = uint8(device.LevelSigned) }, thread.CheckReadings, thread.ReasonElsewhere},
		{"a bit of a reading", func(x *thread.Thread) {
			e := bytes.Clone(x.Legs[last].Watches[0].Evidence)
			e[len(e)/2] ^= 1
			x.Legs[last].Watches[0].Evidence = e
		}, thread.CheckReadings, ""},
		{"half of the evidence", func(x *thread.Thread) {
			x.Legs[last].Watches[0].Evidence = x.Legs[last].Watches[0].Evidence[:900]
		}, thread.CheckReadings, thread.ReasonUnreadable},
		{"it is said to be sound", func(x *thread.Thread) {
			x.Assessment.Outcome, x.Assessment.At, x.Assessment.Where = coldchain.Sound, 0, ""
		}, thread.CheckAssessment, thread.ReasonNotFollows},
		{"a product that bears it", func(x *thread.Thread) { x.Product = yellow.Product }, thread.CheckDose, thread.ReasonNotTogether},
		{"another lot's file with this dose", func(x *thread.Thread) { dose := x.Dose; *x = *yellow; x.Dose = dose }, thread.CheckDose, thread.ReasonNotTogether},
		{"a dose of another session", func(x *thread.Thread) { x.Dose.Session = "other" }, thread.CheckDose, thread.ReasonNotTogether},
		{"a statement of another lot", func(x *thread.Thread) { *x = *yellow; x.Statements = made.Statements }, thread.CheckStatements, thread.ReasonOtherLot},
		{"a bit of a statement", func(x *thread.Thread) {
			m := bytes.Clone(x.Statements[0])
			m[len(m)-1] ^= 1
			x.Statements = [][]byte{m}
		}, thread.CheckStatements, "bad-signature"},
		{"made tomorrow", func(x *thread.Thread) { x.Made = k.now.AddDate(0, 0, 1) }, thread.CheckSignature, thread.ReasonFuture},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x thread.Thread
			whole, err := json.Marshal(made)
			must(t, err)
			must(t, json.Unmarshal(whole, &x))
			c.change(&x)
			file, err := x.Sign(rand.Reader, w.service.Signer)
			must(t, err)
			report := w.check(t, file, thread.Options{Keys: thing.LotKeys{country.Listed}})
			if c.check == "" {
				if report.Result() != thread.Pass {
					t.Errorf("%+v", report.Findings)
				}
				return
			}
			if report.Result() != thread.Fail || !slices.ContainsFunc(report.Findings, func(f thread.Finding) bool {
				return f.Result == thread.Fail && f.Check == c.check && (c.reason == "" || f.Reason == c.reason)
			}) {
				t.Errorf("%+v", report.Findings)
			}
		})
	}
	// Signed by somebody else, or vouched for by nobody.
	other := newWitnesses(t, k)
	file, err := made.Sign(rand.Reader, other.service.Signer)
	must(t, err)
	if report := w.check(t, file, thread.Options{}); report.Result() != thread.Fail {
		t.Error("another service's key signed it")
	}
	file, err = made.Sign(rand.Reader, w.service.Signer)
	must(t, err)
	s, err := thread.Parse(file)
	must(t, err)
	if report := s.Check(thread.Options{At: k.now.Add(time.Hour)}); report.Result() != thread.Unknown {
		t.Errorf("without an authority: %s %+v", report.Result(), report.Findings)
	}
	// Every byte counts.
	for i := 0; i < len(file); i += 1 + len(file)/400 {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		if s, err := thread.Parse(changed); err == nil && s.Check(thread.Options{Roots: w.roots(), At: k.now.Add(time.Hour)}).Result() != thread.Fail {
			t.Fatalf("byte %d of %d is not covered", i, len(file))
		}
	}
}
