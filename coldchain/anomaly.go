package coldchain

import "fmt"

// Has says which figures a sample has.
type Has uint8

// The figures.
const (
	HasTemperature Has = 1 << iota
	HasAmbient
	HasCompressor
	HasDoor
	HasSupply
	HasHoldover
)

// Sample is all that an equipment says of one interval.
type Sample struct {
	At       int64 // by the device's clock
	Interval int64 // seconds
	Has      Has
	T        Temperature // in the vaccine compartment
	Ambient  Temperature
	// Seconds of the interval: the compressor on, the door open, power there.
	Compressor, Door, Supply int64
	Holdover                 int64 // seconds that the appliance says it would hold
}

func (x *Sample) has(h Has) bool { return x.Has&h == h }

// Anomaly is something that a sound sensor in a sound store does not do. It is no alarm:
// it says how far readings can be believed, and what to look at. Its figures are what was
// found and what would have been usual.
type Anomaly struct {
	Reason  string   `json:"reason"`
	Since   int64    `json:"since"`
	At      int64    `json:"at"` // when it was certain
	Figures []Figure `json:"figures"`
}

// Figure is a number behind an anomaly.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
}

// String is the anomaly in words.
func (a *Anomaly) String() string {
	words := a.Reason
	for _, f := range a.Figures {
		words += fmt.Sprintf(", %s %.4g (%.4g)", f.Name, f.Value, f.Limit)
	}
	return words
}

// Why something is an anomaly.
const (
	ReasonStuck    = "sensor-stuck"            // stuck.go
	ReasonSpike    = "spike"                   // spike.go
	ReasonDrift    = "sensor-or-setting-shift" // drift.go
	ReasonWeak     = "cooling-weak"            // drift.go
	ReasonIdle     = "compressor-idle"         // idle.go
	ReasonSmooth   = "too-smooth"              // smooth.go
	ReasonDeaf     = "no-trace-of-compressor"  // response.go
	ReasonCopied   = "copied"                  // copied.go
	ReasonPair     = "sensors-disagree"        // drift.go
	ReasonHoldover = "impossible-holdover"     // reserve.go
	ReasonAhead    = "clock-ahead"             // clock.go
	ReasonBack     = "clock-set-back"          // clock.go
	ReasonBehind   = "clock-behind"            // clock.go
)

// Watcher looks for every anomaly of one equipment in its samples, in the order of their
// times. It is a value of a fixed size, marshals to JSON, and goes on.
type Watcher struct {
	Stuck    Stuck
	Spike    Spike
	Drift    Drift
	Idle     Idle
	Smooth   Smooth
	Response Response
	Copied   Copied
	Reserve  Reserve
}

// Next takes the next sample; usually it returns nil.
func (w *Watcher) Next(x *Sample) (found []Anomaly) {
	note := func(a Anomaly, is bool) {
		if is {
			found = append(found, a)
		}
	}
	if x.has(HasTemperature) {
		note(w.Stuck.Next(x))
		note(w.Spike.Next(x))
		note(w.Smooth.Next(x))
		note(w.Response.Next(x))
		note(w.Copied.Next(x))
		note(w.Reserve.Next(x))
		note(w.Drift.Next(x))
	}
	note(w.Idle.Next(x))
	return found
}

// room is the largest interval, in seconds, that two samples may be apart to be taken
// for neighbours.
func room(x *Sample) int64 {
	if x.Interval > 0 {
		return 3 * x.Interval
	}
	return Gap
}
