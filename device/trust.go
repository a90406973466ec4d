package device

import "fmt"

// Answer is what a check of trust found.
type Answer string

// The answers.
const (
	Yes     Answer = "pass"
	No      Answer = "fail"
	Unknown Answer = "unknown" // it could not be made, and counts for nothing
)

// Observed is what was seen of a device in some days. Times are seconds, temperatures
// thousandths of a degree Celsius. A pointer that is nil is a figure that is not known.
type Observed struct {
	Expected, Received int64 // readings
	Segments           int64 // signed ones that came
	Unlinked           int64 // of those, or of those that they name: missing, broken, forked
	ClockOffset        *int64
	LongestSame        *int64 // how long the value was one and the same
	Steepest           *int64 // largest change in a minute
	Neighbour          *int64 // median difference to devices beside it
	SinceCalibration   *int64
}

// Limits are how far each figure may go.
type Limits struct {
	Continuity       int64 // least share of readings, in ten-thousandths
	ClockOffset      int64
	LongestSame      int64
	Steepest         int64
	Neighbour        int64
	SinceCalibration int64
}

// DefaultLimits are for loggers of vaccine storage that measure to a tenth of a degree
// or better. A sealed fridge swings with its compressor by more than that within hours;
// no air in one changes by five degrees a minute; two sensors in one compartment are
// within a degree; loggers are calibrated for a year.
var DefaultLimits = Limits{
	Continuity: 9500, ClockOffset: 300, LongestSame: 6 * 3600, Steepest: 5000, Neighbour: 1000, SinceCalibration: 365 * 86400,
}

// Judged is one check, with all that its answer rests on.
type Judged struct {
	Name   string
	Answer Answer
	Figure int64
	Limit  int64
	Least  bool // the limit is the least; else the most
	Unit   string
	Weight int64
}

func (j Judged) String() string {
	side := "at most"
	if j.Least {
		side = "at least"
	}
	if j.Answer == Unknown {
		return fmt.Sprintf("%s: unknown (%s %d %s, weight %d)", j.Name, side, j.Limit, j.Unit, j.Weight)
	}
	return fmt.Sprintf("%s: %s, %d of %s %d %s, weight %d", j.Name, j.Answer, j.Figure, side, j.Limit, j.Unit, j.Weight)
}

// Judge makes the checks, all of them, in one order.
func (l *Limits) Judge(o *Observed) []Judged {
	var share, unlinked *int64
	if o.Expected > 0 {
		n := min(o.Received, o.Expected) * 10_000 / o.Expected
		share = &n
	}
	if o.Segments+o.Unlinked > 0 {
		unlinked = &o.Unlinked
	}
	return []Judged{
		judge("continuity", share, l.Continuity, true, "ten-thousandths", 3),
		judge("chain", unlinked, 0, false, "segments", 5),
		judge("clock", magnitude(o.ClockOffset), l.ClockOffset, false, "s", 2),
		judge("stuck", o.LongestSame, l.LongestSame, false, "s", 2),
		judge("rate", magnitude(o.Steepest), l.Steepest, false, "0.001 °C/min", 1),
		judge("neighbours", magnitude(o.Neighbour), l.Neighbour, false, "0.001 °C", 3),
		judge("calibration", o.SinceCalibration, l.SinceCalibration, false, "s", 1),
	}
}

func magnitude(n *int64) *int64 {
	if n == nil || *n >= 0 {
		return n
	}
	m := max(*n, -MaxTime)
	m = -m
	return &m
}

func judge(name string, figure *int64, limit int64, least bool, unit string, weight int64) Judged {
	j := Judged{Name: name, Answer: Unknown, Limit: limit, Least: least, Unit: unit, Weight: weight}
	if figure == nil {
		return j
	}
	j.Figure, j.Answer = *figure, Yes
	if least && j.Figure < limit || !least && j.Figure > limit {
		j.Answer = No
	}
	return j
}

// Reputation is what a device's checks have come to: a Beta distribution whose
// evidence fades, by half in 30 days. Whole numbers, so that it is the same everywhere.
type Reputation struct {
	For, Against int64 // millionths of a weight
}

const (
	million = 1_000_000

	// What is left after a day: 0.5^(1/30), in millionths.
	dailyRest = 977_160
	// After so many days nothing is left of any reputation.
	forgotten = 3000

	// maxEvidence keeps sums within 64 bits.
	maxEvidence = 1_000_000 * million
)

// After is the reputation after some days and the checks at their end.
func (r Reputation) After(days int, checks []Judged) Reputation {
	if days >= forgotten {
		r = Reputation{}
	}
	for range max(days, 0) {
		if r == (Reputation{}) {
			break
		}
		r.For, r.Against = r.For*dailyRest/million, r.Against*dailyRest/million
	}
	for _, c := range checks {
		switch c.Answer {
		case Yes:
			r.For = min(r.For+c.Weight*million, maxEvidence)
		case No:
			r.Against = min(r.Against+c.Weight*million, maxEvidence)
		}
	}
	return r
}

// Mean is the expected share of good checks, in ten-thousandths. Nothing known is a
// half.
func (r Reputation) Mean() int64 {
	return (r.For + million) * 10_000 / (r.For + r.Against + 2*million)
}

// caps are how much trust each level can earn at most, in ten-thousandths: what nobody
// can check of a file is not made good by a long and even record.
var caps = [...]int64{LevelFile: 5000, LevelToken: 6500, LevelMutual: 8000, LevelSigned: 9500, LevelAttested: 10_000}

// Trust is how far a device is believed, and why.
type Trust struct {
	Score int64 // ten-thousandths: the lesser of the two
	Mean  int64 // of the reputation
	Cap   int64 // of the level
	Level Level
	// Checks are the last that were made, all of them.
	Checks     []Judged
	Reputation Reputation
}

// NewTrust joins a reputation, the checks that came last, and the level.
func NewTrust(r Reputation, checks []Judged, level Level) Trust {
	limit := caps[min(level, LevelAttested)]
	return Trust{min(r.Mean(), limit), r.Mean(), limit, level, checks, r}
}
