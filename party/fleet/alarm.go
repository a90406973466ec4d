package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"ampoule/coldchain"
	"ampoule/device"
)

// maxComment bounds what somebody says of an alarm, in bytes.
const maxComment = 1000

// sign makes the statement of an alarm's newest version. It names the one before, so
// that none of them can be left out.
func (f *Fleet) sign(a *Alarm) error {
	terms, err := json.Marshal(a.Terms)
	if err != nil {
		return fmt.Errorf("alarm %s: %w", a.ID, err)
	}
	e := &a.Episode
	s := device.Statement{
		ID: string(a.ID), Version: uint64(a.Version), Device: a.Device, Stream: (&Stream{N: a.Stream}).number(), Equipment: string(a.Equipment),
		Rule: e.Rule, Terms: terms, Since: e.Since, At: e.At, Until: max(e.At, e.Until), End: e.Until, Extreme: int32(e.Extreme),
		State: device.Open, Made: a.Changed.Unix(), Comment: a.Why,
	}
	if e.End != "" {
		s.Comment += ": " + e.End
	}
	switch {
	case a.State == Withdrawn:
		s.State = device.Withdrawn
	case a.State == Ended:
		s.State = device.Closed
	case a.Seen():
		s.State = device.Acknowledged
	}
	if n := len(a.Acknowledged); n > 0 && a.Why == whyAcknowledged {
		s.By, s.Comment = a.Acknowledged[n-1].By, a.Acknowledged[n-1].Comment
	}
	if a.Version > 1 {
		s.Prev = sha256.Sum256(a.Statement)
	}
	a.Statement, err = s.Sign(f.Rand, f.Signer)
	return err
}

const whyAcknowledged = "acknowledged"

// Acknowledge says that somebody has seen to an alarm. It may be said more than once,
// with another comment; the first ends its repetition.
func (f *Fleet) Acknowledge(ctx context.Context, by Actor, id ID, comment string) (*Alarm, error) {
	f.start()
	if len(comment) > maxComment || !utf8.ValidString(comment) {
		return nil, fmt.Errorf("comment of %d bytes: %w", len(comment), ErrOrder)
	}
	f.round.Lock()
	defer f.round.Unlock()
	if err := f.load(ctx); err != nil {
		return nil, err
	}
	a, err := f.alarm(ctx, by, id)
	if err != nil {
		return nil, err
	}
	if len(a.Acknowledged) >= maxAcknowledged {
		return nil, fmt.Errorf("acknowledged %d times: %w", len(a.Acknowledged), ErrOrder)
	}
	now := f.Now()
	a.Acknowledged = append(a.Acknowledged, Acknowledgement{By: by.ID, At: now, Comment: comment})
	a.Version, a.Changed, a.Why = a.Version+1, now, whyAcknowledged
	e := Evaluation{Cursor: f.cursor, Alarms: []Alarm{*a}}
	if err := f.keep(ctx, &e); err != nil {
		return nil, err
	}
	*a = e.Alarms[0]
	f.stands(a)
	f.tell(nil, e.Alarms)
	return a, nil
}

const maxAcknowledged = 100

// stands puts an alarm among those that its stream goes by.
func (f *Fleet) stands(a *Alarm) {
	f.mu.Lock()
	w := f.streams[a.Stream]
	f.mu.Unlock()
	if w == nil {
		return
	}
	if a.State == Standing {
		kept := *a
		w.standing[idOf(&a.Episode)] = &kept
	} else {
		delete(w.standing, idOf(&a.Episode))
	}
}

// alarm returns one at the actor's place; others are not there.
func (f *Fleet) alarm(ctx context.Context, by Actor, id ID) (*Alarm, error) {
	a, err := f.Book.Alarm(ctx, id)
	if err != nil {
		return nil, err
	}
	if !by.Within.Holds(a.Place) {
		return nil, ErrNoAlarm
	}
	return a, nil
}

// Alarm returns an alarm with its signed versions.
func (f *Fleet) Alarm(ctx context.Context, by Actor, id ID) (*Alarm, [][]byte, error) {
	a, err := f.alarm(ctx, by, id)
	if err != nil {
		return nil, nil, err
	}
	versions, err := f.Book.Versions(ctx, id)
	return a, versions, err
}

// Alarms lists those of the actor's place, the newest first.
func (f *Fleet) Alarms(ctx context.Context, by Actor, s State, before ID, limit int) ([]Alarm, error) {
	return f.Book.Alarms(ctx, by.Within, s, before, limit)
}

// Silence raises an alarm for each stream of temperature from which nothing new has come
// for too long, by the clock of the server: a gateway that sends old values again, or a
// device that sends everything but its temperature, is silent. Episodes of a stream that
// is silent for longer still end: its sensor is lost, and will not tell of a recovery.
func (f *Fleet) Silence(ctx context.Context) error {
	f.start()
	f.round.Lock()
	defer f.round.Unlock()
	if err := f.load(ctx); err != nil {
		return err
	}
	now := f.Now()
	var e Evaluation
	e.Cursor = f.cursor
	f.mu.Lock()
	streams := make([]*watched, 0, len(f.streams))
	for _, w := range f.streams {
		streams = append(streams, w)
	}
	f.mu.Unlock()
	for _, w := range streams {
		alarms, err := f.silence(ctx, w, now)
		if err != nil {
			return fmt.Errorf("stream %d: %w", w.stream.N, err)
		}
		e.Alarms = append(e.Alarms, alarms...)
	}
	if len(e.Alarms) == 0 {
		return nil
	}
	if err := f.keep(ctx, &e); err != nil {
		return err
	}
	for i := range e.Alarms {
		f.stands(&e.Alarms[i])
	}
	f.tell(nil, e.Alarms)
	return nil
}

func (f *Fleet) silence(ctx context.Context, w *watched, now time.Time) (changed []Alarm, err error) {
	if w.stream.Quantity != device.Temperature || w.stream.Heard.IsZero() {
		return nil, nil
	}
	if err := f.refresh(ctx, w); err != nil {
		return nil, err
	}
	// Where it is now: by the clock of the server, since there is no other.
	id := w.device.In(w.stream.Sensor, now.Unix())
	var e *Equipment
	if id != "" {
		if e, err = f.equipmentOf(ctx, id); err != nil {
			return nil, err
		}
	}
	var standing *Alarm
	for _, a := range w.standing {
		if a.Episode.Rule == RuleSilent {
			standing = a
		}
	}
	expected := e != nil && e.Silence > 0 && e.Retired.IsZero() && w.device.State.Heard()
	since, silent := int64(0), false
	if expected {
		since, silent = coldchain.Silence(w.stream.Heard.Unix(), e.Silence, now.Unix())
	}
	switch {
	case silent && standing == nil:
		a, err := f.raise(w, found{coldchain.Episode{Rule: RuleSilent, Since: since, At: now.Unix()}, e, e.TermsAt(now.Unix())}, now)
		if err != nil {
			return nil, err
		}
		a.Version = 1
		changed = append(changed, *a)
	case !silent && standing != nil:
		a := *standing
		a.Version, a.State, a.Changed, a.Why = a.Version+1, Ended, now, "ended"
		a.Episode.Until, a.Episode.End = max(a.Episode.At, w.stream.Heard.Unix()), coldchain.EndRecovered
		changed = append(changed, a)
	}
	if silent && e.Lost > 0 && now.Unix()-since >= e.Lost {
		for id, old := range w.standing {
			if silenceRule(id.rule) {
				continue
			}
			a := *old
			a.Version, a.State, a.Changed, a.Why = a.Version+1, Ended, now, "ended"
			a.Episode.Until, a.Episode.End = max(a.Episode.At, w.device.Corrected(w.stream.Last.At)), coldchain.EndSensorLost
			changed = append(changed, a)
		}
		if w.ready && w.terms != nil {
			w.state.Lost(w.terms, w.stream.Last.At)
		}
	}
	return changed, nil
}
