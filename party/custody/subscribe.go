package custody

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"ampoule/format/epcis"
)

// NamedQuery is a query that stays. It belongs to an organisation, or to one facility of
// it; what it finds is what the one who asks may see.
type NamedQuery struct {
	Name    string
	Owner   Actor
	Created time.Time
	Text    []byte // JSON
}

// Subscription has what a query finds sent to an address. Each report goes on from where
// the one before ended, and holds what its owner would see at that moment.
type Subscription struct {
	ID    ID     `json:"-"`
	Query string `json:"-"`
	Owner Actor  `json:"-"`

	Created  time.Time       `json:"created"`
	Dest     string          `json:"dest"`               // https
	Token    []byte          `json:"token"`              // by which reports are signed, sealed
	Initial  time.Time       `json:"initial,omitzero"`   // initialRecordTime; zero: when it was made
	Schedule *epcis.Schedule `json:"schedule,omitempty"` // nil: at once
	Empty    bool            `json:"empty,omitempty"`    // a report is sent too where nothing was found

	Position int64     `json:"-"` // events up to it were reported, or not seen
	Due      time.Time `json:"-"` // when it is looked at next; of one without a schedule: not before
	Ran      time.Time `json:"ran,omitzero"`
	Notified time.Time `json:"notified,omitzero"` // when a report was taken last
	// Of the report that is on its way: its name, how far it goes, how often it was tried.
	Report ID    `json:"report,omitempty"`
	Until  int64 `json:"until,omitempty"`
	Tries  int   `json:"tries,omitempty"`
}

// Report is what is sent to a subscriber.
type Report struct {
	ID    string // the same at each try
	Dest  string
	Token []byte // the key of its HMAC
	Body  []byte // EPCISQueryDocument
}

// The bounds of what stays.
const (
	MaxQueries       = 1000 // of an organisation
	MaxSubscriptions = 100  // of a query
	maxName          = 100
	// MinToken and MaxToken bound the token of a subscriber, in bytes.
	MinToken = 24
	MaxToken = 256
)

// Name keeps a query under a name.
func (c *Custody) Name(ctx context.Context, by Actor, name string, text []byte) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("custody: a name of 1 to %d bytes: %w", maxName, epcis.ErrQuery)
	}
	if _, err := epcis.ParseQuery(text); err != nil {
		return err
	}
	all, err := c.Events.Queries(ctx, by.Within.Organisation, "", MaxQueries)
	if err != nil {
		return err
	}
	if len(all) >= MaxQueries {
		return fmt.Errorf("custody: more than %d queries: %w", MaxQueries, ErrTooMany)
	}
	return c.Events.PutQuery(ctx, &NamedQuery{Name: name, Owner: by, Created: c.Now().UTC().Truncate(time.Millisecond), Text: text})
}

// Named returns a query that the one who asks may use.
func (c *Custody) Named(ctx context.Context, by Actor, name string) (*NamedQuery, error) {
	q, err := c.Events.NamedQuery(ctx, by.Within.Organisation, name)
	if err != nil {
		return nil, err
	}
	if !by.Within.Holds(q.Owner.Within) {
		return nil, ErrNoQuery
	}
	return q, nil
}

// Queries are those that the one who asks may use.
func (c *Custody) Queries(ctx context.Context, by Actor, token string, limit int) (out []NamedQuery, next string, err error) {
	var after string
	if err := c.unseal(by, "queries", token, &after); err != nil {
		return nil, "", err
	}
	all, err := c.Events.Queries(ctx, by.Within.Organisation, after, MaxQueries)
	if err != nil {
		return nil, "", err
	}
	for _, q := range all {
		if !by.Within.Holds(q.Owner.Within) {
			continue
		}
		if len(out) == limit {
			return out, c.seal(by, "queries", out[limit-1].Name), nil
		}
		out = append(out, q)
	}
	return out, "", nil
}

// Forget removes a query, and with it its subscriptions.
func (c *Custody) Forget(ctx context.Context, by Actor, name string) error {
	if _, err := c.Named(ctx, by, name); err != nil {
		return err
	}
	return c.Events.DropQuery(ctx, by.Within.Organisation, name)
}

// Subscribe has a query's events sent. Of the subscription it takes query, address,
// schedule, what is sent where nothing is found, and from when on; token is what reports
// are signed with.
func (c *Custody) Subscribe(ctx context.Context, by Actor, s *Subscription, token []byte) error {
	named, err := c.Named(ctx, by, s.Query)
	if err != nil {
		return err
	}
	q, err := epcis.ParseQuery(named.Text)
	if err != nil {
		return err
	}
	bad := func(what string) error { return fmt.Errorf("custody: %s: %w", what, ErrSubscription) }
	if q.OrderBy != "" || q.Limit > 0 || q.Max > 0 {
		return bad("a query with an order or a bound is not subscribed to")
	}
	u, err := url.Parse(s.Dest)
	if err != nil || u.Host == "" || u.User != nil || len(s.Dest) > 2048 || u.Scheme != "https" && !loopback(u) {
		return bad("dest is an address of https")
	}
	if len(token) < MinToken || len(token) > MaxToken {
		return bad(fmt.Sprintf("signatureToken has %d to %d bytes", MinToken, MaxToken))
	}
	now := c.Now().UTC().Truncate(time.Millisecond)
	s.ID, s.Owner, s.Created = newID(now), by, now
	s.Due = now
	if s.Schedule != nil {
		if err := s.Schedule.Check(); err != nil {
			return err
		}
		s.Due = s.Schedule.Next(now)
	}
	if s.Initial.IsZero() {
		s.Position, err = c.Events.Last(ctx)
	} else {
		s.Position, err = c.Events.LastBefore(ctx, s.Initial)
	}
	if err != nil {
		return err
	}
	s.Token = c.Secret.Seal(nil, nil, token, []byte("subscription "+s.ID))
	there, err := c.Events.Subscriptions(ctx, by.Within.Organisation, s.Query, "", MaxSubscriptions)
	if err != nil {
		return err
	}
	if len(there) >= MaxSubscriptions {
		return fmt.Errorf("custody: more than %d subscriptions: %w", MaxSubscriptions, ErrTooMany)
	}
	if err := c.Events.PutSubscription(ctx, s); err != nil {
		return err
	}
	c.captured.up()
	return nil
}

// loopback reports whether an address is of this machine, literally: nobody listens in
// between. Whether anything is sent there the sender decides.
func loopback(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() && u.Scheme == "http"
}

// Subscription returns one of a query that the one who asks may use.
func (c *Custody) Subscription(ctx context.Context, by Actor, query string, id ID) (*Subscription, error) {
	s, err := c.Events.Subscription(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.Query != query || !by.Within.Holds(s.Owner.Within) {
		return nil, ErrNoSubscription
	}
	return s, nil
}

// Subscriptions are those of a query, all of them.
func (c *Custody) Subscriptions(ctx context.Context, by Actor, query string) (out []Subscription, err error) {
	if _, err := c.Named(ctx, by, query); err != nil {
		return nil, err
	}
	all, err := c.Events.Subscriptions(ctx, by.Within.Organisation, query, "", MaxSubscriptions)
	for _, s := range all {
		if by.Within.Holds(s.Owner.Within) {
			out = append(out, s)
		}
	}
	return out, err
}

// Unsubscribe ends one.
func (c *Custody) Unsubscribe(ctx context.Context, by Actor, query string, id ID) error {
	if _, err := c.Subscription(ctx, by, query, id); err != nil {
		return err
	}
	return c.Events.DropSubscription(ctx, id)
}

// --- Sending ---

// wake wakes who sends.
type wake struct {
	once sync.Once
	ch   chan struct{}
}

func (w *wake) wait() <-chan struct{} {
	w.once.Do(func() { w.ch = make(chan struct{}, 1) })
	return w.ch
}

func (w *wake) up() {
	w.wait()
	select {
	case w.ch <- struct{}{}:
	default: // it will
	}
}

const (
	senders = 8
	// A report that was not taken is tried again after 10 s, then after twice as long, up
	// to an hour, for as long as the subscription stands.
	firstWait, longestWait = 10 * time.Second, time.Hour
	// notAllowedWait is when one is looked at again whose owner may not read any more.
	notAllowedWait = time.Hour
	lookEvery      = time.Second
)

// Work sends reports until ctx ends.
func (c *Custody) Work(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := c.Deliver(ctx); err != nil && ctx.Err() == nil {
			c.Log.Error("reports to subscribers wait", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.captured.wait():
		}
	}
}

// Deliver sends what is due now, once each.
func (c *Custody) Deliver(ctx context.Context) error {
	if c.Send == nil {
		return nil
	}
	due, err := c.Events.Due(ctx, c.Now(), 64)
	if err != nil {
		return err
	}
	slots := make(chan struct{}, senders)
	var all sync.WaitGroup
	for i := range due {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := c.report(ctx, &due[i]); err != nil && ctx.Err() == nil {
				c.Log.Error("a subscription waits", "job", string(due[i].ID), "error", err.Error())
				due[i].Due = c.Now().Add(firstWait)
				_ = c.Events.Advance(ctx, &due[i]) // or it is due at once
			}
		})
	}
	all.Wait()
	return nil
}

// report brings one subscription on.
func (c *Custody) report(ctx context.Context, s *Subscription) error {
	now := c.Now().UTC().Truncate(time.Millisecond)
	// Step 1: whether its owner may still read.
	if c.Still != nil {
		ok, err := c.Still(ctx, s.Owner)
		if err != nil {
			return err
		}
		if !ok {
			s.Due = now.Add(notAllowedWait)
			return c.Events.Advance(ctx, s)
		}
	}
	// Step 2: what its owner sees of what is new.
	named, err := c.Events.NamedQuery(ctx, s.Owner.Within.Organisation, s.Query)
	if err != nil {
		return err
	}
	q, err := epcis.ParseQuery(named.Text)
	if err != nil {
		return err
	}
	if err := c.inside(ctx, s.Owner, q); err != nil {
		return err
	}
	last, err := c.Events.Last(ctx)
	if err != nil {
		return err
	}
	until := cmp.Or(s.Until, last)
	var found []epcis.Kept
	more := false
	if until > s.Position {
		var at Position
		at, more, err = c.find(ctx, Search{Within: s.Owner.Within, Query: q, Above: s.Position, Until: until}, MaxPage, func(e *Event) { found = append(found, e.Kept) })
		if err != nil {
			return err
		}
		if more {
			until = at.N
		}
	}
	// Step 3: send it. Its end is kept first, so that it is the same at each try.
	if len(found) > 0 || s.Empty && s.Schedule != nil {
		if s.Report == "" {
			s.Until, s.Report = until, newID(now)
			if err := c.Events.Advance(ctx, s); err != nil {
				return err
			}
		}
		token, err := c.Secret.Open(nil, nil, s.Token, []byte("subscription "+s.ID))
		if err != nil {
			return fmt.Errorf("custody: token of a subscription: %w", err)
		}
		if err := c.Events.Looked(ctx, Look{now, s.Owner.ID, s.Owner.Within.Organisation, "subscription " + string(s.ID), len(found)}); err != nil {
			return err
		}
		err = c.Send(ctx, Report{ID: string(s.Report), Dest: s.Dest, Token: token, Body: epcis.AppendQueryDocument(nil, now, s.Query, string(s.ID), found)})
		if err != nil {
			if ctx.Err() != nil {
				return nil // the try does not count
			}
			c.Log.Warn("a report was not taken", "job", string(s.ID), "attempt", s.Tries+1, "error", err.Error())
			s.Due = now.Add(min(firstWait<<min(s.Tries, 10), longestWait))
			s.Tries++
			return c.Events.Advance(ctx, s)
		}
		s.Notified = c.Now().UTC().Truncate(time.Millisecond)
	}
	// Step 4: go on from there.
	s.Position, s.Until, s.Report, s.Tries = until, 0, "", 0
	if s.Schedule != nil || len(found) > 0 {
		s.Ran = now // and not where there is something new that is nothing to its owner
	}
	switch {
	case more:
		s.Due = now
	case s.Schedule != nil:
		s.Due = s.Schedule.Next(now)
	}
	return c.Events.Advance(ctx, s)
}
