package fleet

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/oid"
	"ampoule/format/uuid"
)

// Fleet is the devices of a service and the equipment that they watch.
type Fleet struct {
	Book Book
	// Signer seals readings that nobody signed, and signs alarms; KID names it.
	Signer crypto.Signer
	KID    []byte
	// Arc is what devices are named below: {Arc}.4.N. "": each below 2.25, by a UUID.
	Arc string
	// Announce is how many devices an account may announce that nobody has claimed yet; 0:
	// 10,000.
	Announce int
	// KeepRaw is how long messages are kept as they came; 0: not at all. Keep is how long
	// segments are; 0: for ever.
	KeepRaw, Keep time.Duration
	// Repeat is after how long an alarm that nobody has acknowledged is told again, and
	// Escalate after how long it is told further up. 0: never.
	Repeat, Escalate time.Duration
	// Send sends a notice; nil: none are made.
	Send func(context.Context, *Target, *Notice, *Alarm) error
	// Changed is told what people look at: see [Change]. nil: nobody.
	Changed func(Change)
	Now     func() time.Time
	Rand    io.Reader // nil: crypto/rand
	Log     *slog.Logger

	once    sync.Once
	arrived chan struct{} // there is something to evaluate

	mu         sync.Mutex // guards what follows
	names      map[nameOf]device.ID
	streams    map[int64]*watched
	known      map[device.ID]*known
	changes    map[device.ID]int // how often a device has changed
	equipment  map[ID]*Equipment
	challenges map[device.ID]challenge
	targets    []Target
	loaded     bool
	cursor     int64

	announcing sync.Mutex           // guards what follows
	announced  map[string]announced // by account

	round  sync.Mutex     // held for a round of evaluation, of sealing, of silence
	chains [64]sync.Mutex // each held while a segment of its streams is taken in
}

// nameOf is a name as a source uses it.
type nameOf struct {
	account string
	name    device.Name
}

// known is a device as those see it who take its readings in. It is replaced whole.
type known struct {
	*Device
	mu      sync.Mutex
	streams map[streamOf]*Stream // guarded by mu
	public  map[string]crypto.PublicKey
}

type streamOf struct {
	sensor   string
	quantity device.Quantity
}

func (f *Fleet) start() {
	f.once.Do(func() {
		if f.Rand == nil {
			f.Rand = rand.Reader
		}
		f.arrived = make(chan struct{}, 1)
		f.names, f.known, f.streams = make(map[nameOf]device.ID), make(map[device.ID]*known), make(map[int64]*watched)
		f.changes = make(map[device.ID]int)
		f.equipment, f.challenges = make(map[ID]*Equipment), make(map[device.ID]challenge)
		f.announced = make(map[string]announced)
	})
}

// newID makes an identifier.
func (f *Fleet) newID() (ID, error) {
	id, err := uuid.New(f.Now(), f.Rand)
	return ID(id.String()), err
}

// account is on whose behalf a source speaks: a supplier, or the device itself.
func (s *Source) account() string {
	if s.Supplier != "" {
		return s.Supplier
	}
	if s.Device != "" {
		return s.Device.String()
	}
	return ""
}

// speaks reports whether a source may bring unsigned readings of a device, and at what
// level they come. What a device brings for another is no better than a shared secret.
func (s *Source) speaks(d *Device) (device.Level, bool) {
	switch {
	case s.Device != "" && s.Device == d.ID:
		return min(s.Level, device.LevelMutual), true
	case s.account() != "" && s.account() == d.Supplier:
		return min(s.Level, device.LevelToken), true
	case s.Trusted && s.Organisation == d.Place.Organisation:
		return min(s.Level, device.LevelToken), true
	}
	return 0, false
}

// find returns the device of a name, as a source may use it. What an account says of a
// device that nobody has ever seen announces it: it is in the registry then, at the
// account's organisation and in no equipment, until somebody claims it.
func (f *Fleet) find(ctx context.Context, s *Source, name device.Name, about *Description) (*known, error) {
	key := nameOf{s.account(), name}
	f.mu.Lock()
	id, known := f.names[key]
	k := f.known[id]
	f.mu.Unlock()
	if known && k != nil {
		return k, nil
	}
	if known {
		// It has changed: is the name still its own?
		if k, err := f.byID(ctx, id); err == nil && (name.Scheme == device.OID || slices.Contains(k.Names, name)) {
			return k, nil
		}
	}
	d, err := f.named(ctx, name)
	if errors.Is(err, ErrNoDevice) {
		if s.Organisation == "" || s.Device != "" && name.Scheme != device.Local {
			return nil, fmt.Errorf("%s: %w", name, ErrNoDevice)
		}
		if d, err = f.announce(ctx, s, name, about); errors.Is(err, ErrNameTaken) {
			d, err = f.named(ctx, name) // somebody was quicker
		}
	}
	if err != nil {
		return nil, err
	}
	if k, err = f.know(ctx, d); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.names[key] = k.ID
	f.mu.Unlock()
	return k, nil
}

// named returns the device of a name: its identifier is one of its names, and nobody
// else's.
func (f *Fleet) named(ctx context.Context, name device.Name) (*Device, error) {
	if name.Scheme == device.OID {
		id, err := oid.Parse(name.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, ErrNoDevice)
		}
		if d, err := f.Book.Device(ctx, id); !errors.Is(err, ErrNoDevice) {
			return d, err
		}
	}
	return f.Book.DeviceNamed(ctx, name)
}

func (f *Fleet) announce(ctx context.Context, s *Source, name device.Name, about *Description) (*Device, error) {
	id, err := f.NewDeviceID()
	if err != nil {
		return nil, err
	}
	now := f.Now()
	d := &Device{
		ID: id, Version: 1, State: device.Announced, Place: Place{Organisation: s.Organisation, Facility: s.Facility}, Supplier: s.account(),
		Names: []device.Name{name}, Steps: []Step{{State: device.Announced, At: now, By: s.account()}},
	}
	if about != nil {
		d.Maker, d.Model, d.PQS, d.Described = about.Maker, about.Model, about.PQS, about
		for _, n := range about.Others {
			if !slices.Contains(d.Names, n) {
				d.Names = append(d.Names, n)
			}
		}
	}
	// One after the other: two at once would both see the last place free.
	f.announcing.Lock()
	defer f.announcing.Unlock()
	if err := f.mayAnnounce(ctx, s); err != nil {
		return nil, err
	}
	if err := f.Book.PutDevice(ctx, d); err != nil {
		return nil, err
	}
	a := f.announced[d.Supplier]
	a.n++
	f.announced[d.Supplier] = a
	return d, nil
}

// know makes what is kept of a device in memory.
func (f *Fleet) know(ctx context.Context, d *Device) (*known, error) {
	f.mu.Lock()
	k := f.known[d.ID]
	f.mu.Unlock()
	if k != nil && k.Version == d.Version {
		return k, nil
	}
	k = &known{Device: d, streams: make(map[streamOf]*Stream), public: make(map[string]crypto.PublicKey)}
	for _, key := range d.Keys {
		public, err := x509.ParsePKIXPublicKey(key.Public)
		if err != nil {
			return nil, fmt.Errorf("device %s: a key of the registry: %w", d.ID, err)
		}
		k.public[string(key.KID)] = public
	}
	streams, err := f.Book.StreamsOf(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	for i := range streams {
		streams[i].ahead = true
		k.streams[streamOf{streams[i].Sensor, streams[i].Quantity}] = &streams[i]
	}
	f.mu.Lock()
	f.known[d.ID] = k
	f.mu.Unlock()
	return k, nil
}

// byID returns a device as it is kept in memory.
func (f *Fleet) byID(ctx context.Context, id device.ID) (*known, error) {
	f.mu.Lock()
	k := f.known[id]
	f.mu.Unlock()
	if k != nil {
		return k, nil
	}
	d, err := f.Book.Device(ctx, id)
	if err != nil {
		return nil, err
	}
	return f.know(ctx, d)
}

// Forget drops what is kept of a device in memory: it has changed.
func (f *Fleet) Forget(id device.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, id)
	f.changes[id]++
}

// wish is a stream of a device that something is to be kept in.
type wish struct {
	of       *known
	sensor   string
	quantity device.Quantity
	interval int64
	stream   *Stream // when it was granted
}

// grant sets the streams of wishes. Those that are new are made in one step.
func (f *Fleet) grant(ctx context.Context, all []wish) error {
	var fresh []*Stream
	for i := range all {
		w := &all[i]
		w.of.mu.Lock()
		w.stream = w.of.streams[streamOf{w.sensor, w.quantity}]
		many := len(w.of.streams) >= maxStreams
		w.of.mu.Unlock()
		if w.stream != nil {
			continue
		}
		if many {
			return fmt.Errorf("device %s: more than %d sensors: %w", w.of.ID, maxStreams, format.BadValue)
		}
		w.stream = &Stream{Device: w.of.ID, Sensor: w.sensor, Quantity: w.quantity, Interval: w.interval, ahead: true}
		fresh = append(fresh, w.stream)
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := f.Book.AddStream(ctx, fresh...); err != nil {
		return err
	}
	for i := range all {
		w := &all[i]
		key := streamOf{w.sensor, w.quantity}
		w.of.mu.Lock()
		if s := w.of.streams[key]; s != nil {
			w.stream = s // somebody was quicker, or it is wished for twice
		} else {
			w.stream.ahead = true
			w.of.streams[key] = w.stream
		}
		w.of.mu.Unlock()
	}
	return nil
}

// stream returns a stream of a device, which is made where it is new.
func (f *Fleet) stream(ctx context.Context, k *known, sensor string, q device.Quantity, interval int64) (*Stream, error) {
	w := []wish{{of: k, sensor: sensor, quantity: q, interval: interval}}
	err := f.grant(ctx, w)
	return w[0].stream, err
}

// maxStreams bounds the sensors of a device.
const maxStreams = 256

// Change is something that people look at.
type Change struct {
	Place     Place
	Equipment ID
	Alarm     ID // "": readings came
}
