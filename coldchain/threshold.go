package coldchain

import (
	"errors"
	"fmt"
	"slices"
)

// Op compares a temperature with a limit.
type Op uint8

// The comparisons. The limit itself is a breach where the op says so: with AtLeast
// 30.0 °C is one, with Above it is not.
const (
	Above   Op = 1 + iota // >
	AtLeast               // >=
	AtMost                // <=
	Below                 // <
)

var ops = [...]string{Above: ">", AtLeast: ">=", AtMost: "<=", Below: "<"}

// MarshalText writes the sign: > >= <= <.
func (o Op) MarshalText() ([]byte, error) { return nameOf(ops[:], uint8(o)) }

// UnmarshalText reads it.
func (o *Op) UnmarshalText(text []byte) (err error) {
	n, err := numberOf(ops[:], string(text))
	*o = Op(n)
	return err
}

// Mode says how time in breach is counted.
type Mode uint8

// The modes.
const (
	// Consecutive counts one run of breaches, from its first reading. A reading that is
	// none ends it, and so does a gap.
	Consecutive Mode = 1 + iota
	// Cumulative counts all of them together: each interval whose first reading is a
	// breach, unless it is a gap.
	Cumulative
)

var modes = [...]string{Consecutive: "consecutive", Cumulative: "cumulative"}

// MarshalText writes consecutive or cumulative.
func (m Mode) MarshalText() ([]byte, error) { return nameOf(modes[:], uint8(m)) }

// UnmarshalText reads it.
func (m *Mode) UnmarshalText(text []byte) (err error) {
	n, err := numberOf(modes[:], string(text))
	*m = Mode(n)
	return err
}

// ErrRule is what is no rule.
var ErrRule = errors.New("no rule of the cold chain")

func nameOf(names []string, n uint8) ([]byte, error) {
	if n == 0 || int(n) >= len(names) {
		return nil, ErrRule
	}
	return []byte(names[n]), nil
}

func numberOf(names []string, name string) (uint8, error) {
	if i := slices.Index(names, name); i > 0 {
		return uint8(i), nil
	}
	return 0, ErrRule
}

// Rule is an alarm by time beyond a limit.
type Rule struct {
	ID    string      `json:"id"` // HEAT, FRZE, T1-45 …
	Op    Op          `json:"op"`
	Limit Temperature `json:"limit"`
	For   int64       `json:"for"` // seconds; 0: the first reading is enough
	Mode  Mode        `json:"mode"`
	// Shown is that it is put on the page and tells nobody.
	Shown bool `json:"shown,omitempty"`
}

// String is the rule in words: above 8 °C for 10h0m.
func (r *Rule) String() string {
	op := [...]string{"?", Above: "above", AtLeast: "at least", AtMost: "at most", Below: "below"}[r.Op%5]
	mode := [...]string{"?", Consecutive: "without a break", Cumulative: "together"}[r.Mode%3]
	return fmt.Sprintf("%s %s °C for %dh%02dm %s", op, r.Limit, r.For/3600, r.For/60%60, mode)
}

// breached reports whether a temperature is beyond the limit.
func (r *Rule) breached(t Temperature) bool {
	switch r.Op {
	case Above:
		return t > r.Limit
	case AtLeast:
		return t >= r.Limit
	case AtMost:
		return t <= r.Limit
	case Below:
		return t < r.Limit
	}
	return false
}

// worse reports whether a is farther beyond the limit than b.
func (r *Rule) worse(a, b Temperature) bool {
	if r.Op <= AtLeast {
		return a > b
	}
	return a < b
}

// Alarm is a rule that was broken.
type Alarm struct {
	Rule string
	// Since is the first reading of the run, or of the first breach that was counted.
	Since int64
	// At is the reading with which it was certain.
	At int64
	// Extreme is the worst temperature until then.
	Extreme Temperature
}

// Watch holds one rule against readings in the order of their times. It is a value:
// one that was kept goes on from where it was, so that late data need the readings
// since then and no others.
type Watch struct {
	Seen   bool // a reading
	Last   Reading
	Since  int64 // of the first breach that counts
	Total  int64 // seconds that count
	Worst  Temperature
	In     bool // a breach counts now: since Since
	Raised bool
}

// Next takes the next reading. It returns an alarm with the reading by which the rule
// is broken: once for each run, and of a cumulative rule once. A reading that is not
// after the last one is passed over.
func (w *Watch) Next(r *Rule, gap int64, x Reading) (a Alarm, raised bool) {
	if w.Seen && x.At <= w.Last.At {
		return Alarm{}, false
	}
	within := w.Seen && x.At-w.Last.At <= gap
	breach := r.breached(x.T)
	if r.Mode == Cumulative {
		if within && r.breached(w.Last.T) {
			w.Total += x.At - w.Last.At
		}
		if breach && !w.In {
			w.In, w.Since, w.Worst = true, x.At, x.T
		}
	} else {
		if !within || !breach {
			w.In, w.Raised, w.Total = false, false, 0
		}
		if breach && !w.In {
			w.In, w.Since, w.Worst = true, x.At, x.T
		}
		if w.In {
			w.Total = x.At - w.Since
		}
	}
	if breach && r.worse(x.T, w.Worst) {
		w.Worst = x.T
	}
	w.Seen, w.Last = true, x
	if w.In && !w.Raised && w.Total >= r.For {
		w.Raised = true
		return Alarm{Rule: r.ID, Since: w.Since, At: x.At, Extreme: w.Worst}, true
	}
	return Alarm{}, false
}

// Alarms holds a rule against readings in the order of their times. An interval of
// more than gap seconds counts for nothing.
func Alarms(r *Rule, gap int64, readings []Reading) (all []Alarm) {
	var w Watch
	for _, x := range readings {
		if a, raised := w.Next(r, gap, x); raised {
			all = append(all, a)
		}
	}
	return all
}
