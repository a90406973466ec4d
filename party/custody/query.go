package custody

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"ampoule/format/epcis"
)

// What one sees is decided in one place, [EventBook.Find]: all that goes out, answers,
// counts, lists, pages and reports to those who subscribed, is taken from it.

// Look is a line of the audit log: who read how many events, by which query.
type Look struct {
	At           time.Time
	By           string
	Organisation string
	Query        string // its parameters, in which no person is named
	Count        int
}

// Page is what a query found.
type Page struct {
	Events []epcis.Kept
	// Next is the token of the next page, until Expires; "": this is the last.
	Next    string
	Expires time.Time
}

// The bounds of a page.
const (
	MaxPage     = 1000
	DefaultPage = 100
	// tokenFor is how long the token of a page is taken.
	tokenFor = time.Hour
	// batch is how many events are looked at, at a time, and maxSeen how many for one page:
	// then it ends where it is, and the next goes on.
	batch   = 500
	maxSeen = 100_000
)

// cursor is what a token of a page holds.
type cursor struct {
	After Position
	Given int // events that were given before
}

// Query finds events: what the one who asks may see of those that answer. said is how the
// query was asked, which the audit log keeps, and which a token is bound to.
func (c *Custody) Query(ctx context.Context, by Actor, q *epcis.Query, said, token string, limit int) (*Page, error) {
	if err := c.inside(ctx, by, q); err != nil {
		return nil, err
	}
	var from cursor
	if err := c.unseal(by, "query "+said, token, &from); err != nil {
		return nil, err
	}
	limit = min(max(limit, 1), MaxPage)
	s := Search{Within: by.Within, Query: q}
	if token != "" {
		s.After = &from.After
	}
	if token == "" && q.Max > 0 {
		// More than the asker bears: no answer, and no count of how many more.
		if found, _, _, err := c.find(ctx, s, q.Max+1); err != nil || len(found) > q.Max {
			if err == nil {
				err = fmt.Errorf("custody: more than %d events: %w", q.Max, ErrTooLarge)
			}
			return nil, err
		}
	}
	if q.Limit > 0 {
		limit = min(limit, q.Limit-from.Given)
	}
	found, last, more, err := c.find(ctx, s, limit)
	if err != nil {
		return nil, err
	}
	p := &Page{}
	for i := range found {
		p.Events = append(p.Events, found[i].Kept)
	}
	from.Given += len(found)
	if more && (q.Limit == 0 || from.Given < q.Limit) {
		from.After = last
		p.Next, p.Expires = c.seal(by, "query "+said, from), c.Expires()
	}
	return p, c.Events.Looked(ctx, Look{c.Now(), by.ID, by.Within.Organisation, said, len(found)})
}

// find returns the first events that answer, where it came to, and whether there may be
// more that the asker sees.
func (c *Custody) find(ctx context.Context, s Search, limit int) (found []Event, last Position, more bool, err error) {
	if s.After != nil {
		last = *s.After
	}
	s.Limit = batch
	for seen := 0; ; {
		events, err := c.Events.Find(ctx, s)
		if err != nil {
			return nil, last, false, err
		}
		for i := range events {
			e, err := events[i].Kept.Event()
			if err != nil {
				return nil, last, false, fmt.Errorf("custody: event %d: %w", events[i].N, err)
			}
			if s.Query.Matches(e) {
				if len(found) == limit {
					return found, last, true, nil
				}
				found = append(found, events[i])
			}
			last = position(s.Query, &events[i])
		}
		if len(events) < s.Limit {
			return found, last, false, nil
		}
		if seen += len(events); seen >= maxSeen {
			return found, last, true, nil
		}
		s.After = &last
	}
}

// position is where an event stands in the order of a query.
func position(q *epcis.Query, e *Event) Position {
	switch q.OrderBy {
	case "eventTime":
		return Position{e.At.UnixMilli(), e.N}
	case "recordTime":
		return Position{e.Recorded.UnixMilli(), e.N}
	}
	return Position{0, e.N}
}

// inside tells a query what lies in the places that it asks for. Of that one knows what
// one's own organisation registered.
func (c *Custody) inside(ctx context.Context, by Actor, q *epcis.Query) error {
	if !q.AsksWithin() {
		return nil
	}
	in := map[string][]string{}
	for after, more := "", true; more; {
		some, err := c.Stock.LocationsAt(ctx, Place{Organisation: by.Within.Organisation}, after, MaxPage)
		if err != nil {
			return err
		}
		for _, l := range some {
			in[l.Within] = append(in[l.Within], l.URI)
			after = l.URI
		}
		more = len(some) == MaxPage
	}
	q.Within(func(place string) []string {
		out, seen := []string{place}, map[string]bool{place: true}
		for i := 0; i < len(out); i++ {
			for _, l := range in[out[i]] {
				if !seen[l] {
					seen[l] = true
					out = append(out, l)
				}
			}
		}
		return out
	})
	return nil
}

// EventsNamed returns those of a name that one may see, a declaration that they are wrong
// first, or [ErrNoEvent].
func (c *Custody) EventsNamed(ctx context.Context, by Actor, id string) ([]epcis.Kept, error) {
	found, err := c.Events.Find(ctx, Search{Within: by.Within, Query: &epcis.Query{IDs: []string{id}}, Limit: MaxPage})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNoEvent
	}
	var out []epcis.Kept
	for i := range found {
		out = append(out, found[i].Kept)
	}
	return out, c.Events.Looked(ctx, Look{c.Now(), by.ID, by.Within.Organisation, "eventID=" + id, len(found)})
}

// Values lists what stands in an index of events that one may see.
func (c *Custody) Values(ctx context.Context, by Actor, in epcis.Index, token string, limit int) (values []string, next string, err error) {
	var after string
	if err := c.unseal(by, "values "+string(in), token, &after); err != nil {
		return nil, "", err
	}
	limit = min(max(limit, 1), MaxPage)
	if values, err = c.Events.Values(ctx, by.Within, in, after, limit+1); err != nil {
		return nil, "", err
	}
	if len(values) > limit {
		values = values[:limit]
		next = c.seal(by, "values "+string(in), values[limit-1])
	}
	return values, next, c.Events.Looked(ctx, Look{c.Now(), by.ID, by.Within.Organisation, "list of " + string(in), len(values)})
}

// Has reports whether an event that one may see has a value in an index.
func (c *Custody) Has(ctx context.Context, by Actor, in epcis.Index, value string) (bool, error) {
	found, err := c.Events.Find(ctx, Search{Within: by.Within, Query: &epcis.Query{Needs: [][]epcis.Key{{{Index: in, Value: value}}}}, Limit: 1})
	return len(found) > 0, err
}

// --- Tokens ---

// Expires is when a token that is made now ends.
func (c *Custody) Expires() time.Time { return c.Now().Add(tokenFor).UTC().Truncate(time.Second) }

// seal makes a token of where a page ended. Numbers of events count all that there are,
// those that the asker must not know of too: so nobody reads them, and a token is good
// for the one it was made for and the query alone, for an hour.
func (c *Custody) seal(by Actor, of string, v any) string {
	text, err := json.Marshal(struct {
		Until int64 `json:"u"`
		V     any   `json:"v"`
	}{c.Now().Add(tokenFor).Unix(), v})
	if err != nil {
		panic(err) // numbers and text
	}
	return base64.RawURLEncoding.EncodeToString(c.Secret.Seal(nil, nil, text, bound(by, of)))
}

func (c *Custody) unseal(by Actor, of, token string, v any) error {
	if token == "" {
		return nil
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return ErrToken
	}
	text, err := c.Secret.Open(nil, nil, data, bound(by, of))
	if err != nil {
		return ErrToken
	}
	var held struct {
		Until int64           `json:"u"`
		V     json.RawMessage `json:"v"`
	}
	if err := json.Unmarshal(text, &held); err != nil || c.Now().Unix() >= held.Until {
		return ErrToken
	}
	return json.Unmarshal(held.V, v)
}

func bound(by Actor, of string) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "custody %q %q %q", by.Within.Organisation, by.Within.Facility, of))
	return sum[:]
}
