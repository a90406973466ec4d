package coldchain

import (
	"errors"
	"fmt"
)

// MaxBands is how many bands a budget may have.
const MaxBands = 8

// ErrBudget is what is no stability budget.
var ErrBudget = errors.New("no stability budget")

// Band is what a product bears above a temperature, up to that of the next band.
type Band struct {
	Above   Temperature `json:"above"`
	Seconds int64       `json:"seconds"` // in all; 0: none
}

// Budget is a product's own stability, from its label or its maker: the hours that it
// bears above its storage temperature. It stands over any general rule and over the
// mean kinetic temperature.
type Budget struct {
	Bands           []Band `json:"bands"` // from the coldest
	FreezeSensitive bool   `json:"freezeSensitive"`
}

// Check reports whether a budget can be counted by.
func (b *Budget) Check() error {
	if len(b.Bands) == 0 || len(b.Bands) > MaxBands {
		return fmt.Errorf("%d bands: %w", len(b.Bands), ErrBudget)
	}
	for i, band := range b.Bands {
		if band.Seconds < 0 || band.Seconds > maxBudget || i > 0 && band.Above <= b.Bands[i-1].Above {
			return fmt.Errorf("band %d: %w", i, ErrBudget)
		}
	}
	return nil
}

// maxBudget is a hundred years: more than anything is stored, and far from overflow.
const maxBudget = 100 * 366 * 86400

// Whole is a budget that is used up.
const Whole = 1_000_000

// Use is what readings have used of a budget. It is a value, and goes on.
type Use struct {
	Seen      bool            `json:"seen"`
	First     int64           `json:"first"`
	Last      Reading         `json:"last"`
	Spent     [MaxBands]int64 `json:"spent"`    // seconds by band
	Measured  int64           `json:"measured"` // seconds
	Warmest   Temperature     `json:"warmest"`
	Coldest   Temperature     `json:"coldest"`
	Freezing  Watch           `json:"freezing"`
	Frozen    bool            `json:"frozen"`
	FrozenAt  int64           `json:"frozenAt,omitempty"`
	Exhausted int64           `json:"exhausted,omitempty"` // when the last of it was used
}

// Next takes the next reading, in the order of their times. The time until a reading
// counts at the temperature of the one before; more than gap seconds are not measured,
// and are neither spent nor held.
func (u *Use) Next(b *Budget, gap int64, x Reading) {
	if u.Seen && x.At <= u.Last.At {
		return
	}
	if !u.Seen {
		u.Seen, u.First, u.Warmest, u.Coldest = true, x.At, x.T, x.T
	} else if d := x.At - u.Last.At; d <= gap {
		u.Measured += d
		if i := b.band(u.Last.T); i >= 0 {
			u.Spent[i] += d
		}
	}
	u.Warmest, u.Coldest = max(u.Warmest, x.T), min(u.Coldest, x.T)
	if _, frozen := u.Freezing.Next(&Freeze, gap, x); frozen && b.FreezeSensitive && !u.Frozen {
		u.Frozen, u.FrozenAt = true, x.At
	}
	u.Last = x
	if u.Exhausted == 0 && u.Share(b) >= Whole {
		u.Exhausted = x.At
	}
}

// band is the highest that a temperature is in; -1: none.
func (b *Budget) band(t Temperature) int {
	for i := min(len(b.Bands), MaxBands) - 1; i >= 0; i-- {
		if t > b.Bands[i].Above {
			return i
		}
	}
	return -1
}

// Share is how much is used, in millionths rounded up, of which [Whole] is all: that of
// each band, added. Any time in a band that allows none uses all of it. Freezing is not
// in it, and is told beside it.
func (u *Use) Share(b *Budget) (millionths int64) {
	for i := range min(len(b.Bands), MaxBands) {
		spent, allowed := u.Spent[i], b.Bands[i].Seconds
		switch {
		case spent == 0:
		case allowed <= 0 || spent >= maxBudget:
			millionths += Whole
		default:
			millionths += (spent*Whole + allowed - 1) / allowed
		}
	}
	return millionths
}

// Unmeasured is how many seconds from the first to the last reading are not known.
func (u *Use) Unmeasured() int64 { return u.Last.At - u.First - u.Measured }
