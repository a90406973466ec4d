package store

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"ampoule/party/custody"
	"ampoule/thing"
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
