package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"ampoule/coldchain"
	"ampoule/format/epcis"
	"ampoule/internal/keys"
	"ampoule/party/custody"
	"ampoule/thing"
	"ampoule/thing/vaccine"
)

// BenchmarkRecall counts what a recall of 100,000 doses reaches, and lists their
// certificates for a bundle, in a store with ten times as many.
func BenchmarkRecall(b *testing.B) {
	s := create(b, Config{Dir: b.TempDir(), Master: newMaster(b), NoSync: true})
	const doses, lots = 1_000_000, 10
	product := thing.Product{Code: "SPEC", System: "urn:x:codes"}
	var macs [lots][]byte
	for i := range macs {
		macs[i] = s.lotMAC(thing.NormalLot(fmt.Sprint("SPEC-", i)))
	}
	for from := 0; from < doses; from += 10_000 {
		var stmts []stmt
		for n := from; n < from+10_000; n++ {
			id := make([]byte, 16)
			binary.BigEndian.PutUint64(id, uint64(n))
			stmts = append(stmts,
				stmt{sql: `INSERT INTO record (id, slot, version, state, reason, issued, changed, terms, content, organisation, facility) VALUES ($1, $2, 1, 'valid', '', 0, 0, $1, $1, 'moh', $3)`,
					args: []any{id, int64(n), fmt.Sprint("clinic-", n%200)}},
				stmt{sql: `INSERT INTO artefact (record, n, format, kid, scheme, mark, expires, current, content, batch) VALUES ($1, 0, 'eu-dcc', $2, 'dcc-signature', $1, 0, 1, $1, 0)`,
					args: []any{id, []byte("EXAMPLE")}},
				stmt{sql: `INSERT INTO dose (record, lot, products, day, organisation, facility, session) VALUES ($1, $2, $3, '2026-10-01', 'moh', $4, '')`,
					args: []any{id, macs[n%lots], `[{"code":"SPEC","system":"urn:x:codes"}]`, fmt.Sprint("clinic-", n%200)}},
			)
		}
		if err := s.db.writeAll(b.Context(), stmts...); err != nil {
			b.Fatal(err)
		}
	}
	book := &custody.Custody{Events: s.Goods(), Stock: s.Goods(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			r, err := book.Recall(b.Context(), custody.Actor{ID: "bench"}, product, "SPEC 3")
			if err != nil || r.Doses != doses/lots || len(r.Places) != 200/lots {
				b.Fatalf("%d doses at %d places, %v", r.Doses, len(r.Places), err)
			}
		}
	})
	b.Run("list", func(b *testing.B) {
		var size int
		for b.Loop() {
			concern := &custody.Concern{ID: "01a1569b-9800-7000-b07c-c86d07b8289c", Version: 1, Stands: true, Number: "SPEC-3", Products: []thing.Product{product},
				At: custody.Place{Organisation: "moh", Facility: "clinic-3"}, Value: thing.Freeze, From: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)}
			if err := s.Goods().PutConcern(b.Context(), concern); err != nil && size == 0 {
				b.Fatal(err)
			}
			doubts, err := book.Doubts(b.Context(), nil, "XA")
			if err != nil || len(doubts) != doses/200 {
				b.Fatalf("%d in doubt, %v", len(doubts), err)
			}
			list, err := custody.DoseList(doubts, "XA")
			if err != nil {
				b.Fatal(err)
			}
			size = len(list)
		}
		b.ReportMetric(float64(size), "bytes")
	})
}

// BenchmarkLots is 1,000,000 doses of 100,000 lots, each of which froze at the clinic
// that gave them: found, said, published, read by a verifier, and looked up.
func BenchmarkLots(b *testing.B) {
	s := create(b, Config{Dir: b.TempDir(), Master: newMaster(b), NoSync: true})
	const doses, lots, clinics = 1_000_000, 100_000, 1000
	const system, code = "https://id.gs1.org/01", "09521321000018"
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return time.Date(2026, 9, n, 0, 0, 0, 0, time.UTC) }
	lotOf := func(n int) string { return fmt.Sprintf("SPEC%05d", n) }
	clinic := func(n int) string { return fmt.Sprintf("https://id.gs1.org/414/9521321%05d9", n) }
	for from := 0; from < doses; from += 10_000 {
		var stmts []stmt
		for n := from; n < from+10_000; n++ {
			id := make([]byte, 16)
			binary.BigEndian.PutUint64(id, uint64(n)*0x9e3779b97f4a7c15) // as marks are: anywhere
			stmts = append(stmts,
				stmt{sql: `INSERT INTO record (id, slot, version, state, reason, issued, changed, terms, content, organisation, facility) VALUES ($1, $2, 1, 'valid', '', 0, 0, $1, $1, 'moh', $3)`,
					args: []any{id, int64(n), fmt.Sprint("clinic-", n%clinics)}},
				stmt{sql: `INSERT INTO artefact (record, n, format, kid, scheme, mark, expires, current, content, batch) VALUES ($1, 0, 'eu-dcc', $2, 'dcc-signature', $1, 0, 1, $1, 0)`,
					args: []any{id, []byte("EXAMPLE")}},
				stmt{sql: `INSERT INTO dose (record, lot, products, day, organisation, facility, session) VALUES ($1, $2, $3, '2026-10-01', 'moh', $4, '')`,
					args: []any{id, s.lotMAC(thing.NormalLot(lotOf(n % lots))), `[{"code":"` + code + `","system":"` + system + `"}]`, fmt.Sprint("clinic-", n%clinics)}},
			)
		}
		if err := s.db.writeAll(b.Context(), stmts...); err != nil {
			b.Fatal(err)
		}
	}
	g := s.Goods()
	for n := range clinics {
		l := &custody.Location{URI: clinic(n), Place: custody.Place{Organisation: "moh", Facility: fmt.Sprint("clinic-", n)}, Version: 1, Name: "Clinic", Country: "XA", Equipment: fmt.Sprint("fridge-", n)}
		if err := g.PutLocation(b.Context(), l); err != nil {
			b.Fatal(err)
		}
	}
	for from := 0; from < lots; from += 1000 {
		var events []custody.Event
		for n := from; n < from+1000; n++ {
			text := fmt.Appendf(nil, `{"@context":%q,"type":"ObjectEvent","eventID":"urn:x:%d","eventTime":"2026-09-01T00:00:00Z","eventTimeZoneOffset":"+00:00","action":"OBSERVE","bizStep":"receiving","bizLocation":{"id":%q},"quantityList":[{"epcClass":"https://id.gs1.org/01/%s/10/%s","quantity":10}]}`,
				epcis.Context, n, clinic(n%clinics), code, lotOf(n))
			d, findings, err := epcis.Parse(text)
			if err != nil || len(findings) > 0 {
				b.Fatal(findings, err)
			}
			events = append(events, custody.NewEvent(d.Events[0], "moh", "account", now))
		}
		if _, err := g.Capture(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	catalogue, err := vaccine.New([]vaccine.Vaccine{{Name: "Specimen", Codes: []thing.Product{{Code: code, System: system}}, Storage: "refrigerated", Freeze: thing.Harmed}})
	if err != nil {
		b.Fatal(err)
	}
	book := &custody.Custody{Events: g, Stock: g, Fridges: frozen{day(12).Unix()}, Catalogue: func() *vaccine.Catalogue { return catalogue }, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Specimen authority", Name: "XAA"}, now.AddDate(-1, 0, 0), nil)
	if err != nil {
		b.Fatal(err)
	}
	dsc, err := sca.IssueDSC(keys.DSCProfile{}, now.AddDate(0, -1, 0), nil)
	if err != nil {
		b.Fatal(err)
	}
	listed, err := thing.NewLotKey(thing.Participant, "XAA", "", dsc.Certificate().Raw)
	if err != nil {
		b.Fatal(err)
	}
	country := &custody.Authority{Role: thing.Participant, Name: "XAA", Signer: dsc.Signer, KID: dsc.KID(), Listed: listed}
	step := func(name string, each func() string) {
		b.Run(name, func(b *testing.B) {
			var said string
			for b.Loop() {
				said = each()
			}
			b.Log(said)
		})
	}
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	step("find", func() string {
		changed, err := book.Sweep(b.Context())
		check(err)
		return fmt.Sprint(len(changed), " concerns")
	})
	step("find again", func() string {
		changed, err := book.Sweep(b.Context())
		check(err)
		return fmt.Sprint(len(changed), " concerns")
	})
	step("find in one refrigerator", func() string {
		changed, err := book.Sweep(b.Context(), "fridge-7")
		check(err)
		return fmt.Sprint(len(changed), " concerns")
	})
	step("say", func() string {
		made, err := book.Speak(b.Context(), country)
		check(err)
		return fmt.Sprint(made, " statements")
	})
	step("say again", func() string {
		made, err := book.Speak(b.Context(), country)
		check(err)
		return fmt.Sprint(made, " statements")
	})
	var lines []byte
	step("publish", func() string {
		lines, err = book.Published(b.Context(), country)
		check(err)
		each, err := book.Lines(b.Context())
		check(err)
		return fmt.Sprintf("%d bytes in rolls, %d each for itself", len(lines), len(each))
	})
	list := new(thing.LotList)
	step("read", func() string {
		list = new(thing.LotList)
		check(list.Add("service", lines, thing.LotKeys{country.Listed}, now))
		return fmt.Sprint(len(list.Entries()), " statements")
	})
	var doubts []custody.Doubt
	step("doubts", func() string {
		doubts, err = book.Doubts(b.Context(), list, "XA")
		check(err)
		return fmt.Sprint(len(doubts), " certificates")
	})
	step("list", func() string {
		data, err := custody.DoseList(doubts, "XA")
		check(err)
		return fmt.Sprint(len(data), " bytes")
	})
	n := 0
	step("look up", func() string {
		n++
		a := list.Advise(thing.Dose{Products: []thing.Product{{Code: code, System: system}}, Lot: lotOf(n % lots), Country: "XA", Centre: fmt.Sprint("clinic-", n%lots%clinics), Given: "2026-10-01"})
		return string(a.Value) + " " + a.Reason
	})
}

// frozen are refrigerators that froze at a time.
type frozen struct{ at int64 }

func (f frozen) InEquipment(_ context.Context, _ string, from, until int64) (custody.Readings, error) {
	r := custody.Readings{Gap: coldchain.Gap, Level: 3}
	for at := from; at < until; at += 900 {
		value := coldchain.Temperature(5000)
		if at >= f.at && at < f.at+7200 {
			value = -3000
		}
		r.Readings = append(r.Readings, coldchain.Reading{At: at, T: value})
	}
	return r, nil
}

func (f frozen) ByDevice(context.Context, string, int64, int64) (custody.Readings, error) {
	return custody.Readings{}, nil
}
