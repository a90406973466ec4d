package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"ampoule/coldchain"
	"ampoule/device"
)

// watched is a stream under evaluation.
type watched struct {
	stream Stream
	device *Device // nil: to be read
	// changes is how often it had changed then, and stale says that its equipment has. Who
	// changes them does not wait for a round, which may be in the middle of it.
	changes int
	stale   atomic.Bool
	// What its readings come to until stream.Last, within one stay and under one set of
	// terms. ready says that it is known.
	ready bool
	state coldchain.State
	in    *Equipment // nil: it was in none
	terms *coldchain.Terms
	steps [4]int64 // the last distances between readings
	// from and until are the times of the device between which that is so.
	from, until int64
	// standing are its alarms that go on, by rule and since.
	standing map[episodeID]*Alarm
}

type episodeID struct {
	rule  string
	since int64
}

func idOf(e *coldchain.Episode) episodeID { return episodeID{e.Rule, e.Since} }

// Bounds of a round of evaluation.
const (
	roundBlocks   = 2048
	lookBack      = 24 * 3600 // seconds, at first, before readings that came late
	maxEquipments = 100_000
)

// Evaluate holds what has arrived since the last round against the rules, in the time of
// the devices, and reports whether there may be more. Readings that come late have
// everything from before them on evaluated again: alarms that were none are withdrawn,
// and those that nobody could know of are raised at the minute at which they began.
//
// What it finds is a function of the readings that are kept and of no more. A round that
// was broken off is made again.
func (f *Fleet) Evaluate(ctx context.Context) (more bool, err error) {
	f.start()
	f.round.Lock()
	defer f.round.Unlock()
	if err := f.load(ctx); err != nil {
		return false, err
	}
	// Step 1: what has arrived, by stream.
	blocks, err := f.Book.Arrived(ctx, f.cursor, roundBlocks)
	if err != nil || len(blocks) == 0 {
		return false, err
	}
	e := Evaluation{Cursor: blocks[len(blocks)-1].N}
	byStream := make(map[int64][]Block)
	var order []int64
	for _, b := range blocks {
		if len(byStream[b.Stream]) == 0 {
			order = append(order, b.Stream)
		}
		byStream[b.Stream] = append(byStream[b.Stream], b)
	}
	// Step 2: each stream.
	var changes []Change
	touched := make([]*watched, 0, len(order))
	for _, n := range order {
		w, err := f.watch(ctx, n)
		if err != nil {
			return false, err
		}
		alarms, err := f.evaluate(ctx, w, byStream[n])
		if errors.Is(err, ErrPacked) {
			// What is damaged must not keep the alarms of all others back.
			f.Log.Error("a stream cannot be evaluated: what is kept of it is damaged", "error", fmt.Errorf("stream %d: %w", n, err).Error())
			w.ready = false
			continue
		}
		if err != nil {
			return false, fmt.Errorf("stream %d: %w", n, err)
		}
		e.Alarms = append(e.Alarms, alarms...)
		e.Streams = append(e.Streams, w.stream)
		touched = append(touched, w)
		if w.in != nil {
			changes = append(changes, Change{Place: w.in.Place, Equipment: w.in.ID})
		}
	}
	// Step 3: keep what was found. Where that fails, nothing of it is known.
	if err := f.keep(ctx, &e); err != nil {
		for _, w := range touched {
			w.ready = false
		}
		return false, err
	}
	f.cursor = e.Cursor
	f.tell(changes, e.Alarms)
	return len(blocks) == roundBlocks, nil
}

// keep signs new versions of alarms, makes the notices of them, and writes all.
func (f *Fleet) keep(ctx context.Context, e *Evaluation) error {
	for i := range e.Alarms {
		if err := f.sign(&e.Alarms[i]); err != nil {
			return err
		}
		notices, err := f.noticesOf(&e.Alarms[i])
		if err != nil {
			return err
		}
		e.Notices = append(e.Notices, notices...)
	}
	return f.Book.Evaluated(ctx, e)
}

// tell says what has changed to who looks.
func (f *Fleet) tell(changes []Change, alarms []Alarm) {
	if f.Changed == nil {
		return
	}
	seen := make(map[ID]bool, len(changes))
	for _, c := range changes {
		if !seen[c.Equipment] {
			seen[c.Equipment] = true
			f.Changed(c)
		}
	}
	for i := range alarms {
		f.Changed(Change{Place: alarms[i].Place, Equipment: alarms[i].Equipment, Alarm: alarms[i].ID})
	}
}

// load reads what a service begins with. The caller holds f.round.
func (f *Fleet) load(ctx context.Context) (err error) {
	if f.loaded {
		return nil
	}
	if f.cursor, err = f.Book.Cursor(ctx); err != nil {
		return err
	}
	targets, err := f.Book.Targets(ctx)
	if err != nil {
		return err
	}
	equipment := make(map[ID]*Equipment)
	streams := make(map[int64]*watched)
	err = f.Book.EachStream(ctx, func(s *Stream, d *Device) error {
		// Those of which silence is an alarm; others when they speak.
		id := d.In(s.Sensor, s.Last.At)
		if id == "" || s.Quantity != device.Temperature {
			return nil
		}
		e, known := equipment[id]
		if !known {
			if e, err = f.Book.Equipment(ctx, id); err != nil {
				return err
			}
			equipment[id] = e
		}
		if e.Silence > 0 && e.Retired.IsZero() {
			streams[s.N] = &watched{stream: *s, device: d, in: e, standing: make(map[episodeID]*Alarm)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	standing, err := f.standing(ctx)
	if err != nil {
		return err
	}
	for i := range standing {
		if w := streams[standing[i].Stream]; w != nil {
			w.standing[idOf(&standing[i].Episode)] = &standing[i]
		}
	}
	f.mu.Lock()
	f.streams, f.targets, f.equipment, f.loaded = streams, targets, equipment, true
	f.mu.Unlock()
	return nil
}

// standing are all alarms that go on.
func (f *Fleet) standing(ctx context.Context) (all []Alarm, err error) {
	before := ID("")
	for {
		page, err := f.Book.Alarms(ctx, Place{}, Standing, before, 1000)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < 1000 {
			return all, nil
		}
		before = page[len(page)-1].ID
	}
}

// watch returns a stream as it is watched.
func (f *Fleet) watch(ctx context.Context, n int64) (*watched, error) {
	f.mu.Lock()
	w := f.streams[n]
	f.mu.Unlock()
	if w == nil {
		s, err := f.Book.Stream(ctx, n)
		if err != nil {
			return nil, err
		}
		w = &watched{stream: *s, standing: make(map[episodeID]*Alarm)}
		alarms, err := f.Book.AlarmsOf(ctx, n, math.MinInt64)
		if err != nil {
			return nil, err
		}
		for i := range alarms {
			if alarms[i].State == Standing {
				w.standing[idOf(&alarms[i].Episode)] = &alarms[i]
			}
		}
		f.mu.Lock()
		f.streams[n] = w
		f.mu.Unlock()
	}
	return w, f.refresh(ctx, w)
}

// refresh reads the device of a stream where it is to be read.
func (f *Fleet) refresh(ctx context.Context, w *watched) error {
	f.mu.Lock()
	changes := f.changes[w.stream.Device]
	f.mu.Unlock()
	if !w.stale.Swap(false) && w.device != nil && w.changes == changes {
		return nil
	}
	k, err := f.byID(ctx, w.stream.Device)
	if err != nil {
		w.stale.Store(true)
		return err
	}
	w.device, w.changes, w.ready = k.Device, changes, false
	return nil
}

// at puts a stream where it was at a time.
func (f *Fleet) at(ctx context.Context, w *watched, at int64) error {
	id := w.device.In(w.stream.Sensor, at)
	f.put(w, nil)
	w.terms, w.from, w.until = nil, earliest, math.MaxInt64
	edge := func(t int64) {
		if t > at {
			w.until = min(w.until, t)
		} else {
			w.from = max(w.from, t)
		}
	}
	for _, s := range w.device.Stays {
		edge(s.From)
		if s.Until != 0 {
			edge(s.Until)
		}
	}
	if id == "" {
		return nil
	}
	e, err := f.equipmentOf(ctx, id)
	if err != nil {
		return err
	}
	f.put(w, e)
	w.terms = e.termsOf(&w.stream, at)
	for _, t := range e.Terms[1:] {
		edge(t.From)
	}
	return nil
}

// put says in which equipment a stream is: [Fleet.PutEquipment] looks for it.
func (f *Fleet) put(w *watched, e *Equipment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.in = e
}

func (f *Fleet) equipmentOf(ctx context.Context, id ID) (*Equipment, error) {
	f.mu.Lock()
	e := f.equipment[id]
	f.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e, err := f.Book.Equipment(ctx, id)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.equipment) >= maxEquipments {
		clear(f.equipment)
	}
	f.equipment[id] = e
	return e, nil
}

// evaluate takes the new blocks of a stream, and returns the alarms that changed.
func (f *Fleet) evaluate(ctx context.Context, w *watched, blocks []Block) ([]Alarm, error) {
	// Step 1: the readings, in the order of their times, each time once.
	var readings []device.Reading
	var forks []Block
	for i := range blocks {
		if blocks[i].Origin == Forked {
			forks = append(forks, blocks[i])
			continue
		}
		if blocks[i].Origin == Open {
			if w.stream.Open == 0 {
				w.stream.Opened = blocks[i].Received
			}
			w.stream.Open += int64(blocks[i].Count)
		}
		var err error
		if readings, err = blocks[i].Readings(readings); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(readings, byTime)
	readings = slices.CompactFunc(readings, func(a, b device.Reading) bool { return a.At == b.At })
	var alarms []Alarm
	for i := range forks {
		a, err := f.forked(ctx, w, &forks[i])
		if err != nil {
			return nil, err
		}
		if a != nil {
			alarms = append(alarms, *a)
		}
	}
	if len(readings) == 0 {
		return alarms, nil
	}
	if every := w.pace(readings); every != w.stream.Interval {
		w.stream.Interval, w.ready = every, false // what is a gap is another now
	}
	// Step 2: those after all that there were go on from there.
	received := blocks[len(blocks)-1].Received
	fresh := readings[len(readings)-1].At > w.stream.Last.At // what is sent again is no sign of life
	news := news{f: f, w: w}
	if w.stream.Last.At == 0 {
		w.state, w.ready = coldchain.State{}, true // there was nothing before
	}
	if w.ready && readings[0].At > w.stream.Last.At {
		if err := news.walk(ctx, readings); err != nil {
			return nil, err
		}
	} else {
		// Step 3: late ones have what is after them evaluated again.
		if err := news.again(ctx, readings[0].At); err != nil {
			return nil, err
		}
	}
	if fresh {
		w.stream.Heard = received
	}
	changed, err := news.alarms(ctx)
	return append(alarms, changed...), err
}

// slowest is the longest distance between readings that is taken for an interval.
const slowest = 6 * 3600

// pace is how far apart readings are as a rule: what the last of them show, or else what
// was known. A logger that measures each hour must not look like one that is lost for
// three quarters of it.
func (w *watched) pace(readings []device.Reading) int64 {
	all := readings
	if w.stream.Last.At != 0 && readings[0].At > w.stream.Last.At {
		all = append([]device.Reading{w.stream.Last}, readings...)
	}
	for i := max(1, len(all)-len(w.steps)); i < len(all); i++ {
		copy(w.steps[:], w.steps[1:])
		w.steps[len(w.steps)-1] = all[i].At - all[i-1].At
	}
	least, most := slices.Min(w.steps[:]), slices.Max(w.steps[:])
	if least > 0 && most <= slowest && most-least <= least/10 {
		if known := w.stream.Interval; known >= least-least/10 && known <= most+most/10 {
			return known
		}
		return least
	}
	return w.stream.Interval
}

// again evaluates a stream from before a time on.
func (n *news) again(ctx context.Context, first int64) error {
	f, w := n.f, n.w
	if err := f.at(ctx, w, first); err != nil {
		return err
	}
	for back := int64(lookBack); ; back *= 2 {
		// Before its stay and the terms that hold there nothing counts.
		from := max(w.from, first-back)
		if w.terms != nil && slices.ContainsFunc(w.terms.Rules, func(r coldchain.Rule) bool { return r.Mode == coldchain.Cumulative }) {
			from = w.from
		}
		all, err := f.readings(ctx, w.stream.N, from, math.MaxInt64)
		if err != nil || len(all) == 0 {
			return err
		}
		// Far enough: a reading that breaks no rule, or the beginning.
		if from > w.from && w.terms != nil && !w.quiet(all[0]) {
			continue
		}
		w.state, w.ready, w.stream.Last = coldchain.State{}, true, device.Reading{}
		n.since, n.whole = w.device.Corrected(all[0].At), true
		return n.walk(ctx, all)
	}
}

// quiet reports whether a reading breaks no rule, so that nothing which began before it
// goes on after it.
func (w *watched) quiet(x device.Reading) bool {
	switch w.stream.Quantity {
	case device.Temperature:
		return w.terms.Profile.Holds(coldchain.Temperature(x.Value))
	case device.Door:
		return x.Value == 0
	case device.Supply:
		return x.Value > 0
	}
	return true
}

// readings are those of a stream from one time to another, both included, in the order
// of their times, each time once: what was kept first counts.
func (f *Fleet) readings(ctx context.Context, stream, from, until int64) ([]device.Reading, error) {
	blocks, err := f.Book.Blocks(ctx, stream, from, until)
	if err != nil {
		return nil, err
	}
	return readingsOf(blocks, from, until)
}

func readingsOf(blocks []Block, from, until int64) (all []device.Reading, err error) {
	sorted := true
	for i := range blocks {
		if blocks[i].Origin == Forked {
			continue
		}
		n := len(all)
		if all, err = blocks[i].Readings(all); err != nil {
			return nil, err
		}
		sorted = sorted && (n == 0 || len(all) == n || all[n-1].At < all[n].At)
	}
	if !sorted {
		slices.SortStableFunc(all, byTime)
		all = slices.CompactFunc(all, func(a, b device.Reading) bool { return a.At == b.At })
	}
	return slices.DeleteFunc(all, func(r device.Reading) bool { return r.At < from || r.At > until }), nil
}

// news is what a walk over readings finds.
type news struct {
	f     *Fleet
	w     *watched
	found []found
	// since is where the walk began, where it went over what had been evaluated before:
	// whole says so, and that an alarm since then which was not found is none.
	since int64
	whole bool
}

// found is an episode, and where.
type found struct {
	coldchain.Episode
	in    *Equipment
	terms *coldchain.Terms
}

// walk takes readings that are after all before them.
func (n *news) walk(ctx context.Context, readings []device.Reading) error {
	w := n.w
	for _, x := range readings {
		if x.At >= w.until {
			before, terms, from := w.in, w.terms, w.from
			if err := n.f.at(ctx, w, x.At); err != nil {
				return err
			}
			if terms != nil && w.from != from {
				for _, e := range w.state.Changed(terms, w.device.Corrected(x.At)) {
					n.add(found{e, before, terms})
				}
			}
		}
		if w.terms != nil {
			at := w.device.Corrected(x.At)
			var episodes []coldchain.Episode
			switch w.stream.Quantity {
			case device.Temperature:
				episodes = w.state.Temperature(w.terms, coldchain.Reading{At: at, T: coldchain.Temperature(x.Value)})
			case device.Door:
				episodes = w.state.Door(w.terms, coldchain.Spent{At: at, Interval: w.stream.Interval, Seconds: int64(x.Value)})
			case device.Supply:
				episodes = w.state.Supply(w.terms, coldchain.Spent{At: at, Interval: w.stream.Interval, Seconds: int64(x.Value)})
			}
			for _, e := range episodes {
				n.add(found{e, w.in, w.terms})
			}
		}
		w.stream.Last = x
	}
	return nil
}

// add keeps the last that was said of an episode.
func (n *news) add(x found) {
	if x.Shown {
		return // seen on the chart, and no alarm
	}
	for i := range n.found {
		if idOf(&n.found[i].Episode) == idOf(&x.Episode) {
			n.found[i] = x
			return
		}
	}
	n.found = append(n.found, x)
}

// alarms makes new versions of those that changed.
func (n *news) alarms(ctx context.Context) (changed []Alarm, err error) {
	known := n.w.standing
	if n.whole {
		all, err := n.f.Book.AlarmsOf(ctx, n.w.stream.N, n.since)
		if err != nil {
			return nil, err
		}
		known = make(map[episodeID]*Alarm, len(all))
		for i := range all {
			if silenceRule(all[i].Episode.Rule) {
				continue // is told by the server's clock, and by no reading
			}
			known[idOf(&all[i].Episode)] = &all[i]
		}
	}
	now := n.f.Now()
	for _, x := range n.found {
		id := idOf(&x.Episode)
		old := known[id]
		if old == nil {
			a, err := n.f.raise(n.w, x, now)
			if err != nil {
				return nil, err
			}
			changed = append(changed, *a)
			continue
		}
		if old.Episode == x.Episode || old.Episode.End == coldchain.EndSensorLost && x.End == "" {
			continue
		}
		a := *old
		a.Episode, a.Changed = x.Episode, now
		switch {
		case x.End != "":
			a.State, a.Why = Ended, "ended"
		case old.State != Standing:
			a.State, a.Why = Standing, "late-data"
		default:
			a.State, a.Why = Standing, "worse"
		}
		if n.whole && a.Why == "ended" {
			a.Why = "late-data"
		}
		changed = append(changed, a)
	}
	if n.whole {
		for id, old := range known {
			if old.State == Withdrawn || id.since < n.since || slices.ContainsFunc(n.found, func(x found) bool { return idOf(&x.Episode) == id }) {
				continue
			}
			a := *old
			a.State, a.Changed, a.Why = Withdrawn, now, "late-data"
			changed = append(changed, a)
		}
	}
	for i := range changed {
		a := &changed[i]
		a.Version++
		id := idOf(&a.Episode)
		if a.State == Standing {
			kept := *a
			n.w.standing[id] = &kept
		} else {
			delete(n.w.standing, id)
		}
	}
	return changed, nil
}

// raise makes an alarm of an episode.
func (f *Fleet) raise(w *watched, x found, now time.Time) (*Alarm, error) {
	id, err := f.newID()
	if err != nil {
		return nil, err
	}
	a := &Alarm{
		ID: id, Place: x.in.Place, State: Standing, Stream: w.stream.N, Equipment: x.in.ID, Name: x.in.Name, Device: w.stream.Device, Sensor: w.stream.Sensor,
		Episode: x.Episode, Terms: *x.terms, Raised: now, Changed: now, Why: "raised",
	}
	if x.End != "" {
		a.State = Ended
	}
	return a, nil
}

// forked raises the alarm of a device that has signed two things as one.
func (f *Fleet) forked(ctx context.Context, w *watched, b *Block) (*Alarm, error) {
	if err := f.at(ctx, w, b.First); err != nil {
		return nil, err
	}
	at := b.Received.Unix()
	e := coldchain.Episode{Rule: RuleForked, Since: b.First, At: at, Until: at, End: RuleForked}
	all, err := f.Book.AlarmsOf(ctx, w.stream.N, b.First)
	if err != nil {
		return nil, err
	}
	if w.in == nil || slices.ContainsFunc(all, func(a Alarm) bool { return a.Episode.Rule == RuleForked && a.Episode.Since == b.First }) {
		return nil, nil
	}
	a, err := f.raise(w, found{e, w.in, w.terms}, f.Now())
	if err != nil {
		return nil, err
	}
	a.Version = 1
	return a, nil
}

// Rules that no reading breaks.
const (
	RuleSilent = "SILENT" // nothing new for too long, by the server's clock
	RuleForked = "FORKED" // two segments of one number, both signed by the device
)

func silenceRule(rule string) bool { return rule == RuleSilent || rule == RuleForked }

// Work evaluates, seals, watches for silence and tells, until ctx ends.
func (f *Fleet) Work(ctx context.Context) {
	f.start()
	trouble := func(what string, err error) {
		if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			f.Log.Error("a round of the fleet failed, and is tried again", "round", what, "error", err.Error())
		}
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	var forgotten time.Time
	for {
		begun := time.Now()
		more, err := f.Evaluate(ctx)
		took := time.Since(begun)
		trouble("evaluate", err)
		if more && err == nil && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-f.arrived:
			// What comes in the next moment is evaluated with it: a longer one where a round costs
			// much, as where a device brings what it kept, the newest first, and all after it is
			// evaluated again.
			select {
			case <-time.After(min(max(gatherFor, gatherShare*took), gatherMost)):
			case <-ctx.Done():
				return
			}
		case <-tick.C:
			trouble("silence", f.Silence(ctx))
			trouble("notices", f.Tell(ctx))
			for more := true; more && ctx.Err() == nil; {
				var err error
				more, err = f.Seal(ctx)
				trouble("seal", err)
				more = more && err == nil
			}
			if now := f.Now(); now.Sub(forgotten) >= forgetEvery {
				forgotten = now
				before := int64(0)
				if f.Keep > 0 {
					before = now.Add(-f.Keep).Unix()
				}
				_, _, err := f.Book.Forget(ctx, now, before)
				trouble("forget", err)
			}
		}
	}
}

const (
	tickEvery = 10 * time.Second
	gatherFor = 50 * time.Millisecond
	// gatherShare times as long as the last round took is gathered for, so that no more than
	// a fifth of a core evaluates again and again; but not longer than gatherMost.
	gatherShare = 4
	gatherMost  = 2 * time.Second

	forgetEvery = time.Hour
)
