package fleet

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/format/oid"
)

// NewDeviceID makes an identifier for a device: below the arc of the operator, or below
// 2.25 (X.667), by 122 random bits.
func (f *Fleet) NewDeviceID() (device.ID, error) {
	f.start()
	var random [16]byte
	if _, err := io.ReadFull(f.Rand, random[:]); err != nil {
		return "", fmt.Errorf("identifier of a device: %w", err)
	}
	if f.Arc != "" {
		return oid.Parse(fmt.Sprintf("%s.4.%d", f.Arc, binary.BigEndian.Uint64(random[:])>>1))
	}
	random[6], random[8] = random[6]&0x0f|0x40, random[8]&0x3f|0x80 // RFC 9562 section 5.4
	return oid.Parse("2.25." + new(big.Int).SetBytes(random[:]).String())
}

// NewClaim makes a code for the label of a device.
func (f *Fleet) NewClaim() (device.Claim, error) {
	f.start()
	return device.NewClaim(f.Rand)
}

// PutEquipment makes equipment, or changes it: e is what it is to be, with the version
// that the actor has seen. Other terms hold from now on; what was an alarm under the old
// ones stays one.
func (f *Fleet) PutEquipment(ctx context.Context, by Actor, e *Equipment, terms coldchain.Terms) error {
	f.start()
	now := f.Now()
	switch {
	case !by.Within.Holds(e.Place):
		return ErrPlace
	case e.Name == "" || len(e.Name) > 100 || !utf8.ValidString(e.Name) || strings.ContainsFunc(e.Name, func(c rune) bool { return c < ' ' }):
		return fmt.Errorf("name: %w", ErrOrder)
	case !slices.Contains(Kinds, e.Kind):
		return fmt.Errorf("kind %.20q: %w", e.Kind, ErrOrder)
	case e.Silence < 0 || e.Lost < 0:
		return fmt.Errorf("silence: %w", ErrOrder)
	case e.Latitude != nil && !(*e.Latitude >= -90 && *e.Latitude <= 90) || e.Longitude != nil && !(*e.Longitude >= -180 && *e.Longitude <= 180) || (e.Latitude == nil) != (e.Longitude == nil):
		return fmt.Errorf("position: %w", ErrOrder)
	}
	if err := terms.Check(); err != nil {
		return fmt.Errorf("terms: %w: %w", err, ErrOrder)
	}
	new := TermsFrom{From: now.Unix(), Terms: terms, By: by.ID}
	if e.ID == "" {
		id, err := f.newID()
		if err != nil {
			return err
		}
		e.ID, e.Version, e.Made = id, 1, now
		new.From = 0
		e.Terms = []TermsFrom{new}
		return f.Book.PutEquipment(ctx, e)
	}
	old, err := f.equipment1(ctx, by, e.ID)
	if err != nil {
		return err
	}
	if e.Version != old.Version {
		return ErrChanged
	}
	e.Version, e.Made = old.Version+1, old.Made
	if e.Terms = old.Terms; !sameTerms(&old.Terms[len(old.Terms)-1].Terms, &terms) {
		e.Terms = append(slices.Clone(old.Terms), new)
	}
	if err := f.Book.PutEquipment(ctx, e); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.equipment, e.ID)
	for _, w := range f.streams {
		if w.in != nil && w.in.ID == e.ID {
			w.stale.Store(true) // and is found again, with all that it goes by
		}
	}
	return nil
}

func sameTerms(a, b *coldchain.Terms) bool {
	same := func(a, b *coldchain.Limit) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.Profile == b.Profile && a.Gap == b.Gap && slices.Equal(a.Rules, b.Rules) && same(a.Door, b.Door) && same(a.Power, b.Power)
}

// equipment1 returns equipment at the actor's place; other is not there.
func (f *Fleet) equipment1(ctx context.Context, by Actor, id ID) (*Equipment, error) {
	e, err := f.Book.Equipment(ctx, id)
	if err != nil {
		return nil, err
	}
	if !by.Within.Holds(e.Place) {
		return nil, ErrNoEquipment
	}
	return e, nil
}

// Register puts a device into the registry, with the hash of the code on its label if it
// has one.
func (f *Fleet) Register(ctx context.Context, by Actor, d *Device) error {
	f.start()
	if !by.Within.Holds(d.Place) {
		return ErrPlace
	}
	if len(d.Names) > maxNames {
		return fmt.Errorf("%d names: %w", len(d.Names), ErrOrder)
	}
	if d.ID == "" {
		var err error
		if d.ID, err = f.NewDeviceID(); err != nil {
			return err
		}
	}
	d.Version, d.State = 1, device.Claimed
	d.Steps = []Step{{State: device.Claimed, At: f.Now(), By: by.ID}}
	return f.Book.PutDevice(ctx, d)
}

const maxNames = 32

// Device returns a device at the actor's place; others are not there.
func (f *Fleet) Device(ctx context.Context, by Actor, id device.ID) (*Device, error) {
	d, err := f.Book.Device(ctx, id)
	if err != nil {
		return nil, err
	}
	if !by.Within.Holds(d.Place) {
		return nil, ErrNoDevice
	}
	return d, nil
}

// Devices lists those of the actor's place that are in a state ("" for any), and what was
// heard of them last.
func (f *Fleet) Devices(ctx context.Context, by Actor, state device.Life, after device.ID, limit int) ([]Device, map[device.ID]Heard, error) {
	all, err := f.Book.DevicesAt(ctx, by.Within, state, after, limit)
	if err != nil || len(all) == 0 {
		return nil, nil, err
	}
	heard, err := f.Book.Heard(ctx, all[0].ID, all[len(all)-1].ID)
	return all, heard, err
}

// change changes a device in one step, and has what is known of it in memory read again.
func (f *Fleet) change(ctx context.Context, by Actor, id device.ID, how func(*Device) error) (*Device, error) {
	f.start()
	for range 8 { // others change it too
		d, err := f.Device(ctx, by, id)
		if err != nil {
			return nil, err
		}
		if err := how(d); err != nil {
			return nil, err
		}
		d.Version++
		if err = f.Book.PutDevice(ctx, d); err == nil {
			f.Forget(id)
			return d, nil
		} else if !isChanged(err) {
			return nil, err
		}
	}
	return nil, ErrChanged
}

// Turn brings a device into another state of its life.
func (f *Fleet) Turn(ctx context.Context, by Actor, id device.ID, to device.Life, why device.Reason) (*Device, error) {
	return f.change(ctx, by, id, func(d *Device) error {
		if err := device.Step(d.State, to, why); err != nil {
			return err
		}
		d.State = to
		d.Steps = append(d.Steps, Step{State: to, At: f.Now(), By: by.ID, Why: why})
		if to == device.Retired {
			now := f.Now()
			for i := range d.Stays {
				if d.Stays[i].Until == 0 {
					d.Stays[i].Until = now.Unix()
				}
			}
			for i := range d.Keys {
				if d.Keys[i].Until.IsZero() {
					d.Keys[i].Until = now
				}
			}
		}
		return nil
	})
}

// active says that a device was heard for the first time.
func (f *Fleet) active(ctx context.Context, id device.ID, now time.Time) error {
	d, err := f.Book.Device(ctx, id)
	if err != nil {
		return err
	}
	_, err = f.change(ctx, Actor{Within: d.Place}, id, func(d *Device) error {
		if d.State == device.Claimed || d.State == device.Enrolled {
			d.State = device.Active
			d.Steps = append(d.Steps, Step{State: device.Active, At: now, By: "readings"})
		}
		return nil
	})
	return err
}

// Move says in which equipment a sensor of a device is from a time on, which may be past:
// what it has measured since then is evaluated again, there. "" takes it out.
func (f *Fleet) Move(ctx context.Context, by Actor, id device.ID, sensor string, to ID, from int64) (*Device, error) {
	f.start()
	if to != "" {
		if _, err := f.equipment1(ctx, by, to); err != nil {
			return nil, err
		}
	}
	d, err := f.change(ctx, by, id, func(d *Device) error {
		if from <= 0 || from > f.Now().Add(24*time.Hour).Unix() {
			return fmt.Errorf("a move at %d: %w", from, ErrOrder)
		}
		if len(d.Stays) >= maxStays {
			return fmt.Errorf("more than %d moves: %w", maxStays, ErrOrder)
		}
		kept := d.Stays[:0]
		for _, s := range d.Stays {
			if s.Sensor == sensor {
				if s.From >= from {
					continue // said otherwise now
				}
				if s.Until == 0 || s.Until > from {
					s.Until = from
				}
			}
			kept = append(kept, s)
		}
		d.Stays = kept
		if to != "" {
			d.Stays = append(d.Stays, Stay{Equipment: to, Sensor: sensor, From: from})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, f.Reevaluate(ctx, d, sensor, from)
}

const maxStays = 1000

// Correct says how the clock of a device was wrong for a time. Alarms of that time are
// evaluated again.
func (f *Fleet) Correct(ctx context.Context, by Actor, id device.ID, c Correction) (*Device, error) {
	d, err := f.change(ctx, by, id, func(d *Device) error {
		if c.From < 0 || c.Until != 0 && c.Until <= c.From || c.Why == "" || len(d.Corrections) >= maxStays {
			return fmt.Errorf("correction: %w", ErrOrder)
		}
		c.By, c.Made = by.ID, f.Now()
		d.Corrections = append([]Correction{c}, d.Corrections...) // the newest counts
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, f.Reevaluate(ctx, d, "", c.From)
}

// Reclaim gives a device another code for its label: the one before was lost, or was used
// for a certificate that never arrived. Keys that it has stay its own.
func (f *Fleet) Reclaim(ctx context.Context, by Actor, id device.ID) (*Device, device.Claim, error) {
	c, err := f.NewClaim()
	if err != nil {
		return nil, c, err
	}
	hash := c.Hash()
	d, err := f.change(ctx, by, id, func(d *Device) error {
		if !d.State.Heard() {
			return fmt.Errorf("a code for a device that is %s: %w", d.State, ErrOrder)
		}
		d.Claim = hash[:]
		return nil
	})
	return d, c, err
}

// Calibrate keeps a calibration.
func (f *Fleet) Calibrate(ctx context.Context, by Actor, id device.ID, c Calibration) (*Device, error) {
	return f.change(ctx, by, id, func(d *Device) error {
		if !c.Until.After(c.At) || c.By == "" || len(d.Calibrations) >= maxStays {
			return fmt.Errorf("calibration: %w", ErrOrder)
		}
		d.Calibrations = append(d.Calibrations, c)
		slices.SortFunc(d.Calibrations, func(a, b Calibration) int { return a.At.Compare(b.At) })
		return nil
	})
}

// Reevaluate evaluates the streams of a device again from a time on: where it was, or what
// its clock said, is seen otherwise now. "" is all of its sensors.
func (f *Fleet) Reevaluate(ctx context.Context, d *Device, sensor string, from int64) error {
	f.round.Lock()
	defer f.round.Unlock()
	if err := f.load(ctx); err != nil {
		return err
	}
	streams, err := f.Book.StreamsOf(ctx, d.ID)
	if err != nil {
		return err
	}
	e := Evaluation{Cursor: f.cursor}
	for i := range streams {
		if sensor != "" && streams[i].Sensor != sensor {
			continue
		}
		w, err := f.watch(ctx, streams[i].N)
		if err != nil {
			return err
		}
		w.device = d
		n := news{f: f, w: w}
		if err := n.again(ctx, max(from, earliest)); err != nil {
			return err
		}
		alarms, err := n.alarms(ctx)
		if err != nil {
			return err
		}
		e.Alarms, e.Streams = append(e.Alarms, alarms...), append(e.Streams, w.stream)
	}
	if err := f.keep(ctx, &e); err != nil {
		return err
	}
	f.tell(nil, e.Alarms)
	return nil
}

// announced is how many devices of an account wait to be claimed: as they were counted,
// and those since.
type announced struct {
	n  int
	at time.Time // when they were counted
}

const (
	defaultAnnounced = 10_000
	// recount is how long a count that is too high holds: who is refused may come many
	// times a second, and each count reads the registry.
	recount = time.Minute
)

// mayAnnounce counts what an account has announced. It is called with announcing held.
func (f *Fleet) mayAnnounce(ctx context.Context, s *Source) error {
	account, most, now := s.account(), cmp.Or(f.Announce, defaultAnnounced), f.Now()
	a, counted := f.announced[account]
	if !counted || a.n >= most && now.Sub(a.at) >= recount {
		n, err := f.Book.Announced(ctx, s.Organisation, account)
		if err != nil {
			return err
		}
		a = announced{n, now}
		f.announced[account] = a
	}
	if a.n >= most {
		return fmt.Errorf("%d devices of %s wait to be claimed: %w", a.n, account, ErrAnnounced)
	}
	return nil
}
