package trail

import (
	"slices"
	"strings"
	"time"
)

// Stay is where goods of a lot were for a time: at a place, or on the way to one.
type Stay struct {
	Place string // "": on the way
	// Spot is where within the place, such as in which refrigerator; "": not told.
	Spot  string
	From  time.Time
	Until time.Time // zero: still there
	// Source and Destination are of what is on its way.
	Source, Destination string
	Devices             []string // that were with it on the way
	Amount              int64    // the most that was there; [Many]: not known
}

// Open reports whether the goods are still there.
func (s *Stay) Open() bool { return s.Until.IsZero() }

// Imbalance is where what is told of amounts does not agree.
type Imbalance struct {
	Place    string
	At       time.Time
	Kind     ImbalanceKind
	Expected int64
	Found    int64
	Event    string
}

// ImbalanceKind says in what amounts do not agree.
type ImbalanceKind string

// The kinds.
const (
	TooFew      ImbalanceKind = "too-few"         // more went than was there
	Miscounted  ImbalanceKind = "count-differs"   // a count found another number
	LostOnWay   ImbalanceKind = "lost-on-the-way" // less arrived than had left
	FromNowhere ImbalanceKind = "more-than-left"  // more arrived than had left
)

// Balance is what became of a lot at a place, as far as amounts were told.
type Balance struct {
	Here, Given, Gone int64
	Known             bool // no amount was left out
}

// Trail is where a lot was, by its stays in the order in which they began.
type Trail struct {
	Lot        string
	Stays      []Stay
	Places     map[string]Balance
	Imbalances []Imbalance
}

// Fold follows a lot through moves: its own, those of its items, and those of what they
// were packed into; others are passed over, and so is what was told in another unit than
// packs ([InDoses] brings all into one). within says in which place a location is,
// and is the location itself where it is in none.
func Fold(lot string, moves []Move, within func(string) string) *Trail {
	f := &folder{
		trail: &Trail{Lot: lot, Places: map[string]Balance{}}, within: within,
		items: map[string]bool{}, inside: map[string]int64{}, devices: map[string][]string{}, holds: map[string][]*hold{},
	}
	moves = slices.Clone(moves)
	slices.SortStableFunc(moves, func(a, b Move) int { return a.At.Compare(b.At) })
	// Where an event names the lot, what it says of the container says the same once more.
	named := map[string]bool{}
	for _, m := range moves {
		if m.Thing == lot {
			named[m.Event] = true
		}
	}
	for _, m := range moves {
		f.take(m, named[m.Event])
	}
	for _, s := range f.stays {
		f.trail.Stays = append(f.trail.Stays, *s)
	}
	slices.SortStableFunc(f.trail.Stays, func(a, b Stay) int { return a.From.Compare(b.From) })
	for place, holds := range f.holds {
		b := f.trail.Places[place]
		b.Known = true
		for _, h := range holds {
			if h.amount == Many {
				b.Known = false
			} else {
				b.Here += h.amount
			}
		}
		f.trail.Places[place] = b
	}
	return f.trail
}

// hold is what is at one spot of a place now.
type hold struct {
	spot   string
	amount int64 // [Many]: not known
	stay   *Stay
}

// carried is what is on its way.
type carried struct {
	stay      *Stay
	papers    []string
	container string
	amount    int64
}

type folder struct {
	trail   *Trail
	within  func(string) string
	stays   []*Stay
	holds   map[string][]*hold // by place
	ways    []*carried
	items   map[string]bool
	inside  map[string]int64    // of the lot, by container
	devices map[string][]string // by container or lot
}

// take takes one move. named tells that its event names the lot itself.
func (f *folder) take(m Move, named bool) {
	if m.Unit != "" {
		return
	}
	amount, container := m.Amount, ""
	switch {
	case m.Thing == f.trail.Lot:
	case m.Lot == f.trail.Lot || f.items[m.Thing]:
		f.items[m.Thing] = true
	case m.Deed == Unpacked && m.Thing == "":
		delete(f.inside, m.Other)
		return
	default:
		content, ok := f.inside[m.Thing]
		if !ok || named && m.Deed != Attached && m.Deed != Detached {
			return
		}
		amount, container = content, m.Thing
	}
	place := f.place(m.Place)
	switch m.Deed {
	case Made:
		f.add(place, m.Place, amount, m.At)
	case Left:
		if place == "" {
			return
		}
		if amount == Many {
			amount = f.held(place)
		}
		f.remove(place, m.Place, amount, m, false)
		s := &Stay{From: m.At, Source: place, Destination: f.place(m.Other), Devices: slices.Clone(f.devices[m.Thing]), Amount: amount}
		f.stays = append(f.stays, s)
		f.ways = append(f.ways, &carried{s, m.Papers, container, amount})
	case Arrived:
		f.arrive(m, place, amount, container)
	case Kept:
		f.keep(place, m.Place, amount, m.At)
	case Counted:
		f.count(place, m, amount)
	case Given, Gone:
		if place == "" {
			return
		}
		f.remove(place, m.Place, amount, m, true)
	case Packed:
		f.inside[m.Other] = sum(f.inside[m.Other], amount)
	case Unpacked:
		if left := less(f.inside[m.Other], amount); left == 0 {
			delete(f.inside, m.Other)
		} else {
			f.inside[m.Other] = left
		}
	case Attached:
		f.devices[m.Thing] = append(f.devices[m.Thing], m.Other)
		for _, w := range f.ways {
			if w.container == m.Thing {
				w.stay.Devices = append(w.stay.Devices, m.Other)
			}
		}
	case Detached:
		f.devices[m.Thing] = slices.DeleteFunc(f.devices[m.Thing], func(d string) bool { return m.Other == "" || d == m.Other })
	}
}

func (f *folder) place(location string) string {
	if location == "" {
		return ""
	}
	return f.within(location)
}

// sum adds amounts, one of which may not be known.
func sum(a, b int64) int64 {
	if a == Many || b == Many {
		return Many
	}
	return a + b
}

// less takes an amount away: all, where it was not told.
func less(a, b int64) int64 {
	switch {
	case b == Many:
		return 0
	case a == Many:
		return Many
	}
	return max(0, a-b)
}

// held is all that is at a place; [Many] where some of it is not known.
func (f *folder) held(place string) (all int64) {
	for _, h := range f.holds[place] {
		all = sum(all, h.amount)
	}
	return all
}

// add puts goods to a place.
func (f *folder) add(place, location string, amount int64, at time.Time) {
	if place == "" {
		return
	}
	spot := location
	if spot == place {
		spot = ""
	}
	for _, h := range f.holds[place] {
		if h.spot == spot {
			h.amount = sum(h.amount, amount)
			h.stay.Amount = more(h.stay.Amount, h.amount)
			return
		}
	}
	s := &Stay{Place: place, Spot: spot, From: at, Amount: amount}
	f.stays = append(f.stays, s)
	f.holds[place] = append(f.holds[place], &hold{spot, amount, s})
}

func more(a, b int64) int64 {
	if a == Many || b == Many {
		return Many
	}
	return max(a, b)
}

// remove takes goods from a place: from the spot that is named, and otherwise from those
// that hold the least told first. It counts them where they are gone for good.
func (f *folder) remove(place, location string, amount int64, m Move, forGood bool) {
	if forGood && amount != Many {
		b := f.trail.Places[place]
		if m.Deed == Given {
			b.Given += amount
		} else {
			b.Gone += amount
		}
		f.trail.Places[place] = b
	}
	holds := f.holds[place]
	slices.SortStableFunc(holds, func(a, b *hold) int {
		rank := func(h *hold) int {
			switch h.spot {
			case location:
				return 0
			case "":
				return 1
			}
			return 2
		}
		return rank(a) - rank(b)
	})
	rest := amount
	for _, h := range holds {
		switch {
		case rest == 0:
		case rest == Many || h.amount == rest:
			h.amount, rest = 0, less(rest, h.amount)
			if amount == Many {
				rest = Many
			}
		case h.amount == Many:
			rest = 0
		case h.amount < rest:
			rest -= h.amount
			h.amount = 0
		default:
			h.amount -= rest
			rest = 0
		}
		if h.amount == 0 {
			h.stay.Until = m.At
		}
	}
	if rest > 0 {
		f.trail.Imbalances = append(f.trail.Imbalances, Imbalance{place, m.At, TooFew, amount, amount - rest, m.Event})
	}
	f.holds[place] = slices.DeleteFunc(holds, func(h *hold) bool { return h.amount == 0 })
}

// arrive ends what was on its way to a place, found by its papers, its container, or
// where it was sent.
func (f *folder) arrive(m Move, place string, amount int64, container string) {
	i := slices.IndexFunc(f.ways, func(w *carried) bool {
		return container != "" && w.container == container ||
			slices.ContainsFunc(m.Papers, func(p string) bool { return slices.Contains(w.papers, p) })
	})
	if i < 0 {
		i = slices.IndexFunc(f.ways, func(w *carried) bool { return w.stay.Destination == place && place != "" })
	}
	if i >= 0 {
		w := f.ways[i]
		w.stay.Until = m.At
		if w.stay.Destination == "" {
			w.stay.Destination = place
		}
		if w.amount != Many && amount != Many && w.amount != amount {
			kind := LostOnWay
			if amount > w.amount {
				kind = FromNowhere
			}
			f.trail.Imbalances = append(f.trail.Imbalances, Imbalance{place, m.At, kind, w.amount, amount, m.Event})
		}
		if amount == Many {
			amount = w.amount
		}
		f.ways = slices.Delete(f.ways, i, i+1)
	}
	f.add(place, m.Place, amount, m.At)
}

// keep puts goods of a place to a spot in it.
func (f *folder) keep(place, location string, amount int64, at time.Time) {
	if place == "" {
		return
	}
	all := f.held(place)
	if len(f.holds[place]) == 0 {
		f.add(place, location, amount, at) // it was there before anybody told of it
		return
	}
	spot := location
	if spot == place {
		spot = ""
	}
	if amount == Many || all != Many && amount >= all {
		amount = all
		for _, h := range f.holds[place] {
			if h.spot != spot {
				h.amount, h.stay.Until = 0, at
			} else {
				h.amount, amount = all, 0
				h.stay.Amount = more(h.stay.Amount, all)
			}
		}
		f.holds[place] = slices.DeleteFunc(f.holds[place], func(h *hold) bool { return h.amount == 0 })
		if amount == 0 {
			return
		}
	} else {
		f.remove(place, "", amount, Move{At: at, Deed: Kept}, false)
	}
	f.add(place, location, amount, at)
}

// count sets what is at a place, or at the spot that was counted.
func (f *folder) count(place string, m Move, amount int64) {
	if place == "" || amount == Many {
		return
	}
	spot := m.Place
	if spot == place {
		spot = ""
	}
	was, known := int64(0), true
	for _, h := range f.holds[place] {
		if spot == "" || h.spot == spot {
			was = sum(was, h.amount)
		}
	}
	known = was != Many
	if known && was != amount && len(f.holds[place]) > 0 {
		f.trail.Imbalances = append(f.trail.Imbalances, Imbalance{place, m.At, Miscounted, was, amount, m.Event})
	}
	switch {
	case known && was == amount:
	case known && was > amount:
		f.remove(place, m.Place, was-amount, Move{At: m.At, Deed: Counted}, false)
	case known:
		f.add(place, m.Place, amount-was, m.At)
	default:
		for _, h := range f.holds[place] {
			if h.amount == Many && (spot == "" || h.spot == spot) {
				h.amount = amount
			}
		}
	}
}

// Path are the stays that goods at a place went through until a time, in the order of
// time: those at the place, the ways to it, and those before.
func (t *Trail) Path(place string, at time.Time) []Stay {
	type step struct {
		place string
		until time.Time
	}
	seen := map[string]bool{}
	var out []Stay
	todo := []step{{place, at}}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		if seen[next.place] {
			continue
		}
		seen[next.place] = true
		for _, s := range t.Stays {
			if !s.From.Before(next.until) && s.From != next.until {
				continue
			}
			switch {
			case s.Place != "" && s.Place == next.place:
				out = append(out, clip(s, next.until))
			case s.Place == "" && s.Destination == next.place && s.Source != "":
				out = append(out, clip(s, next.until))
				todo = append(todo, step{s.Source, s.From})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Stay) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return strings.Compare(a.Place, b.Place)
	})
	return out
}

// clip ends a stay at a time.
func clip(s Stay, until time.Time) Stay {
	if s.Open() || s.Until.After(until) {
		s.Until = until
	}
	return s
}
