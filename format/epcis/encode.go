package epcis

import (
	"maps"
	"slices"
	"time"

	"ampoule/format/strictjson"
)

// Kept is an event as a repository keeps it: without white space and without a context,
// whose prefixes stand beside it. Members are in the order in which they were told.
type Kept struct {
	JSON     []byte
	Prefixes Prefixes
}

// Keep writes an event for keeping. What a repository says of it takes the place of what
// the event says itself: its name, and when it was recorded.
func (e *Event) Keep(id string, recorded time.Time) Kept {
	b := []byte{'{'}
	member := func(name string, write func([]byte) []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(strictjson.AppendString(b, name), ':')
		b = write(b)
	}
	for m := range e.value.All() {
		switch m.Name() {
		case "@context", "eventID", "recordTime":
		default:
			member(m.Name(), m.AppendJSON)
		}
	}
	text := func(s string) func([]byte) []byte {
		return func(b []byte) []byte { return strictjson.AppendString(b, s) }
	}
	member("eventID", text(id))
	member("recordTime", text(formatTime(recorded)))
	return Kept{append(b, '}'), e.Prefixes}
}

// Event reads what was kept.
func (k Kept) Event() (*Event, error) {
	v, err := strictjson.Parse(k.JSON, strictjson.Limits{Bytes: MaxDocument, Depth: maxDepth})
	if err != nil {
		return nil, err
	}
	return new(reader).event(v, "", k.Prefixes, nil), nil
}

// formatTime writes a time as events have it.
func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// AppendQueryDocument writes what a query found as an EPCISQueryDocument (section 8.2).
// Where events mean different things by one prefix, the later brings a context of its
// own.
func AppendQueryDocument(dst []byte, created time.Time, query, subscription string, events []Kept) []byte {
	all := Prefixes{}
	own := make([]bool, len(events))
	for i, e := range events {
		for prefix, ns := range e.Prefixes {
			if before, ok := all[prefix]; ok && before != ns {
				own[i] = true
			}
		}
		if !own[i] {
			maps.Copy(all, e.Prefixes)
		}
	}
	dst = append(dst, `{"@context":`...)
	dst = appendContext(dst, all)
	dst = append(dst, `,"type":"EPCISQueryDocument","schemaVersion":"2.0","creationDate":`...)
	dst = strictjson.AppendString(dst, formatTime(created))
	dst = append(dst, `,"epcisBody":{"queryResults":{`...)
	if subscription != "" {
		dst = append(dst, `"subscriptionID":`...)
		dst = append(strictjson.AppendString(dst, subscription), ',')
	}
	dst = append(dst, `"queryName":`...)
	dst = strictjson.AppendString(dst, query)
	dst = append(dst, `,"resultsBody":{"eventList":[`...)
	for i, e := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		if own[i] {
			dst = e.AppendAlone(dst)
		} else {
			dst = append(dst, e.JSON...)
		}
	}
	return append(dst, `]}}}}`...)
}

// AppendAlone writes an event as a document of its own, with its context.
func (k Kept) AppendAlone(dst []byte) []byte {
	dst = append(dst, `{"@context":`...)
	dst = appendContext(dst, k.Prefixes)
	dst = append(dst, ',')
	return append(dst, k.JSON[1:]...)
}

func appendContext(dst []byte, p Prefixes) []byte {
	dst = append(dst, '[')
	dst = strictjson.AppendString(dst, Context)
	for _, prefix := range slices.Sorted(maps.Keys(p)) {
		dst = append(dst, `,{`...)
		dst = append(strictjson.AppendString(dst, prefix), ':')
		dst = strictjson.AppendString(dst, p[prefix])
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
