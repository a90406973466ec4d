package custody_test

import (
	"fmt"
	"strings"
	"testing"

	"ampoule/format/epcis"
	"ampoule/party/custody"
)

// told is a document of so many events: pallets that leave the works, each of 20 boxes and
// with a lot of its own.
func told(events int) []byte {
	var list []string
	for i := range events {
		var boxes []string
		for k := range 20 {
			boxes = append(boxes, fmt.Sprintf(`"urn:epc:id:sgtin:9521321.012345.%d"`, i*20+k))
		}
		list = append(list, fmt.Sprintf(`{"type":"ObjectEvent","eventTime":"2026-11-01T09:00:00.%03dZ","eventTimeZoneOffset":"+00:00","action":"OBSERVE","bizStep":"shipping","disposition":"in_transit","readPoint":{"id":%q},
			"epcList":[%s],"quantityList":[{"epcClass":"urn:epc:class:lgtin:9521321.012345.SPEC-%d","quantity":20}],"destinationList":[{"type":"location","destination":%q}]}`, i%1000, works, strings.Join(boxes, ","), i, depot))
	}
	return fmt.Appendf(nil, `{"@context":%q,"type":"EPCISDocument","schemaVersion":"2.0","creationDate":"2026-11-01T10:00:00Z","epcisBody":{"eventList":[%s]}}`, epcis.Context, strings.Join(list, ","))
}

// few is the same of events of one box each, as most are.
func few(events int) []byte {
	var list []string
	for i := range events {
		list = append(list, fmt.Sprintf(`{"type":"ObjectEvent","eventTime":"2026-11-01T09:00:00.%03dZ","eventTimeZoneOffset":"+00:00","action":"OBSERVE","bizStep":"storing","disposition":"active","bizLocation":{"id":%q},"quantityList":[{"epcClass":"urn:epc:class:lgtin:9521321.012345.SPEC-%d","quantity":20}]}`,
			i%1000, works, i))
	}
	return fmt.Appendf(nil, `{"@context":%q,"type":"EPCISDocument","schemaVersion":"2.0","creationDate":"2026-11-01T10:00:00Z","epcisBody":{"eventList":[%s]}}`, epcis.Context, strings.Join(list, ","))
}

// BenchmarkNewEvent reads, checks, names, folds and indexes events without sensors, before
// anything is written.
func BenchmarkNewEvent(b *testing.B) {
	for name, document := range map[string][]byte{"a lot": few(1000), "a lot and 20 items": told(1000)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				d, findings, err := custody.Document(document)
				if err != nil || len(findings) > 0 {
					b.Fatal(err, findings)
				}
				for _, e := range d.Events {
					custody.NewEvent(e, "works", "account", day(1))
				}
				n += len(d.Events)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkCapture is the same with all that is written of it: the event, what it did, and
// what it is found by, into SQLite, 1000 events at a time.
func BenchmarkCapture(b *testing.B) {
	for name, document := range map[string]func(int) []byte{"a lot": few, "a lot and 20 items": told} {
		b.Run(name, func(b *testing.B) {
			k := newKit(b)
			n := 0
			for b.Loop() {
				b.StopTimer()
				// Others than before.
				text := strings.NewReplacer("SPEC-", fmt.Sprintf("S%d-", n), "012345.", fmt.Sprintf("012345.%d", n)).Replace(string(document(1000)))
				b.StartTimer()
				j, err := k.Capture(b.Context(), custody.Actor{ID: "account", Within: custody.Place{Organisation: "works"}}, []byte(text), false)
				if err != nil || j.Added != 1000 {
					b.Fatal(err, j)
				}
				n += 1000
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
