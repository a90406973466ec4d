package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
)

// Kinds of notices.
const (
	NoticeRaised    = "raised"
	NoticeRepeated  = "repeated"
	NoticeEscalated = "escalated"
	NoticeEnded     = "ended"
)

// noticesOf are those that a new version of an alarm asks for. Versions of one that gets
// worse ask for none: it is told again until somebody acknowledges it.
func (f *Fleet) noticesOf(a *Alarm) ([]Notice, error) {
	switch {
	case a.Version == 1 && a.State == Standing || a.State == Standing && a.Why == "late-data":
		return f.notices(a, NoticeRaised, 0)
	case a.Version == 1: // it was over when it was learned of
		return f.notices(a, NoticeRaised, 0)
	case a.State != Standing && a.Why != whyAcknowledged:
		return f.notices(a, NoticeEnded, a.Escalated)
	}
	return nil, nil
}

// notices are those of a kind to all targets up to a rank.
func (f *Fleet) notices(a *Alarm, kind string, rank int) (out []Notice, err error) {
	if f.Send == nil {
		return nil, nil
	}
	now := f.Now()
	f.mu.Lock()
	targets := slices.Clone(f.targets)
	f.mu.Unlock()
	for i := range targets {
		t := &targets[i]
		if !t.Place.Holds(a.Place) || t.Rank > rank {
			continue
		}
		id, err := f.newID()
		if err != nil {
			return nil, err
		}
		out = append(out, Notice{ID: id, Alarm: a.ID, Version: a.Version, Target: t.ID, Kind: kind, Due: t.next(now)})
	}
	if len(out) > 0 {
		a.Told = now
	}
	return out, nil
}

// next is the first moment from now on that is not quiet.
func (t *Target) next(now time.Time) time.Time {
	if t.QuietFrom == t.QuietUntil {
		return now
	}
	zone, err := time.LoadLocation(t.Zone)
	if err != nil {
		return now // it was checked when it was set
	}
	local := now.In(zone)
	minute := local.Hour()*60 + local.Minute()
	quiet := t.QuietFrom <= minute && minute < t.QuietUntil
	day := 0
	if t.QuietFrom > t.QuietUntil {
		quiet = minute >= t.QuietFrom || minute < t.QuietUntil
		if minute >= t.QuietFrom {
			day = 1
		}
	}
	if !quiet {
		return now
	}
	return time.Date(local.Year(), local.Month(), local.Day()+day, t.QuietUntil/60, t.QuietUntil%60, 0, 0, zone)
}

// Tell repeats what nobody has acknowledged, takes it further up, and sends what is due.
func (f *Fleet) Tell(ctx context.Context) error {
	if f.Send == nil {
		return nil
	}
	f.start()
	if err := f.repeat(ctx); err != nil {
		return err
	}
	now := f.Now()
	due, err := f.Book.Due(ctx, now, 200)
	if err != nil {
		return err
	}
	for i := range due {
		n := &due[i]
		if err := f.send(ctx, n, now); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

// repeat makes the notices of alarms that stand unacknowledged for too long.
func (f *Fleet) repeat(ctx context.Context) error {
	f.round.Lock()
	defer f.round.Unlock()
	if err := f.load(ctx); err != nil {
		return err
	}
	now := f.Now()
	e := Evaluation{Cursor: f.cursor}
	f.mu.Lock()
	var standing []*Alarm
	for _, w := range f.streams {
		for _, a := range w.standing {
			standing = append(standing, a)
		}
	}
	f.mu.Unlock()
	slices.SortFunc(standing, func(a, b *Alarm) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for _, old := range standing {
		if old.Seen() {
			continue
		}
		a := *old
		kind, rank := "", 0
		switch {
		case f.Escalate > 0 && a.Escalated == 0 && now.Sub(a.Raised) >= f.Escalate:
			a.Escalated, kind, rank = 1, NoticeEscalated, 1
		case f.Repeat > 0 && !a.Told.IsZero() && now.Sub(a.Told) >= f.Repeat:
			kind, rank = NoticeRepeated, a.Escalated
		default:
			continue
		}
		a.Version, a.Changed, a.Why = a.Version+1, now, kind
		notices, err := f.notices(&a, kind, rank)
		if err != nil {
			return err
		}
		if err := f.sign(&a); err != nil {
			return err
		}
		e.Alarms, e.Notices = append(e.Alarms, a), append(e.Notices, notices...)
	}
	if len(e.Alarms) == 0 {
		return nil
	}
	if err := f.Book.Evaluated(ctx, &e); err != nil {
		return err
	}
	for i := range e.Alarms {
		f.stands(&e.Alarms[i])
	}
	f.tell(nil, e.Alarms)
	return nil
}

// ErrForGood is a notice that will never be sent: the address is wrong, or refuses it.
const ErrForGood format.Defect = "notice-refused"

// send sends one notice. That it was not sent is no error: it is tried again, later each
// time, for a day.
func (f *Fleet) send(ctx context.Context, n *Notice, now time.Time) error {
	f.mu.Lock()
	at := slices.IndexFunc(f.targets, func(t Target) bool { return t.ID == n.Target })
	var target Target
	if at >= 0 {
		target = f.targets[at]
	}
	f.mu.Unlock()
	if at < 0 {
		n.Given, n.Problem = true, "no-such-target"
		return f.Book.PutNotice(ctx, n)
	}
	a, err := f.Book.Alarm(ctx, n.Alarm)
	if err != nil {
		return err
	}
	if n.Kind != NoticeEnded && a.State == Withdrawn {
		n.Given, n.Problem = true, "withdrawn" // before it was told
		return f.Book.PutNotice(ctx, n)
	}
	n.Attempts++
	if err := f.Send(ctx, &target, n, a); err != nil {
		n.Problem = format.Reason(err, "notice-not-sent")
		n.Due = now.Add(min(time.Minute<<min(n.Attempts-1, 6), time.Hour))
		n.Given = errors.Is(err, ErrForGood) || n.Attempts >= maxAttempts
		f.Log.Warn("a notice was not sent", "reason", n.Problem, "attempt", n.Attempts, "channel", target.Channel)
	} else {
		n.Sent, n.Problem = now, ""
	}
	return f.Book.PutNotice(ctx, n)
}

// maxAttempts is a day of trying, with an hour between.
const maxAttempts = 30

// SetTarget makes a target, or changes the one of its identifier.
func (f *Fleet) SetTarget(ctx context.Context, by Actor, t *Target) error {
	f.start()
	switch {
	case !by.Within.Holds(t.Place):
		return ErrPlace
	case !slices.Contains([]string{"webhook", "mail", "mqtt"}, t.Channel):
		return fmt.Errorf("channel %.20q: %w", t.Channel, ErrOrder)
	case t.Address == "" || len(t.Address) > 500 || strings.ContainsAny(t.Address, "\r\n\x00"):
		return fmt.Errorf("address: %w", ErrOrder)
	case t.Rank < 0 || t.Rank > 1 || t.QuietFrom < 0 || t.QuietFrom >= 1440 || t.QuietUntil < 0 || t.QuietUntil >= 1440:
		return fmt.Errorf("rank or quiet hours: %w", ErrOrder)
	}
	if _, err := time.LoadLocation(t.Zone); err != nil {
		return fmt.Errorf("time zone: %w", ErrOrder)
	}
	if t.ID == "" {
		var err error
		if t.ID, err = f.newID(); err != nil {
			return err
		}
	}
	if err := f.Book.PutTarget(ctx, t); err != nil {
		return err
	}
	return f.readTargets(ctx)
}

// DropTarget deletes a target.
func (f *Fleet) DropTarget(ctx context.Context, by Actor, id ID) error {
	f.start()
	targets, err := f.Targets(ctx, by)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(targets, func(t Target) bool { return t.ID == id }) {
		return ErrNoAlarm
	}
	if err := f.Book.DeleteTarget(ctx, id); err != nil {
		return err
	}
	return f.readTargets(ctx)
}

// Targets are those of the actor's place.
func (f *Fleet) Targets(ctx context.Context, by Actor) ([]Target, error) {
	all, err := f.Book.Targets(ctx)
	return slices.DeleteFunc(all, func(t Target) bool { return !by.Within.Holds(t.Place) }), err
}

func (f *Fleet) readTargets(ctx context.Context) error {
	targets, err := f.Book.Targets(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.targets = targets
	f.mu.Unlock()
	return nil
}
