package simulation

import (
	"math"

	"ampoule/coldchain"
)

// FaultKind is what goes wrong.
type FaultKind uint8

// The faults. Those until DoorOpen are of the store, the others of what is told of it.
const (
	CompressorFails FaultKind = iota // power there, no cooling
	Leak                             // cooling fades; Size: share of it that is lost in a day (0: 0.15)
	Freezing                         // the thermostat is off; Size: °C too low (0: 8)
	PowerCut
	DoorOpen // left open
	Stuck    // the sensor tells one value
	Spiked   // single values; Size: °C (0: 8)
	Drifting // Size: °C a day (0: 0.2)
	Dead     // the sensor tells nothing
	Gap      // nothing arrives
	ClockJump
	ClockDrift // Size: seconds a day (0: 600)
	Drawn      // a smooth curve in place of readings
	Replayed   // the readings of the day before, again and again
	faultKinds
)

var faultNames = [faultKinds]string{"compressor-fails", "leak", "freezing", "power-cut", "door-open", "stuck", "spiked", "drifting", "dead", "gap", "clock-jump", "clock-drift", "drawn", "replayed"}

// FaultKinds are all of them.
func FaultKinds() (all []FaultKind) {
	for k := range faultKinds {
		all = append(all, k)
	}
	return all
}

// String is the name of a fault.
func (k FaultKind) String() string {
	if k < faultKinds {
		return faultNames[k]
	}
	return "unknown"
}

// Fault is what goes wrong from a moment on.
type Fault struct {
	Kind    FaultKind
	At      int64 // real, seconds since 1970
	Seconds int64 // 0: it stays
	Size    float64
}

func (f *Fault) active(now int64) bool {
	return now >= f.At && (f.Seconds <= 0 || now < f.At+f.Seconds)
}

func (f *Fault) size(usual float64) float64 {
	if f.Size == 0 {
		return usual
	}
	return f.Size
}

// effect is what all faults of a moment come to.
type effect struct {
	power, broken, door            bool
	cooling, setpoint, bias        float64
	clock                          int64
	missing, dead                  bool
	stuck, spiked, drawn, replayed bool
	spike                          float64
}

func (e *effect) of(c *Config, now int64) {
	e.cooling = 1
	for i := range c.Faults {
		f := &c.Faults[i]
		if !f.active(now) {
			continue
		}
		days := float64(now-f.At) / 86400
		switch f.Kind {
		case CompressorFails:
			e.broken = true
		case Leak:
			e.cooling *= math.Pow(1-min(f.size(0.15), 0.99), days)
		case Freezing:
			e.setpoint -= f.size(8)
		case PowerCut:
			e.power = true
		case DoorOpen:
			e.door = true
		case Stuck:
			e.stuck = true
		case Spiked:
			e.spiked, e.spike = true, f.size(8)
		case Drifting:
			e.bias += days * f.size(0.2)
		case Dead:
			e.dead = true
		case Gap:
			e.missing = true
		case ClockJump:
			e.clock += int64(f.size(-86400))
		case ClockDrift:
			e.clock += int64(days * f.size(600))
		case Drawn:
			e.drawn = true
		case Replayed:
			e.replayed = true
		}
	}
}

// spikes is one sample in how many a spiking sensor spikes.
const spikes = 12

// falsify makes of a sample what arrives.
func (u *Unit) falsify(f *effect, s *Sample) {
	switch {
	case f.stuck && !u.holding:
		u.held, u.holding = s.T, true
	case f.stuck:
		s.T = u.held
	default:
		u.holding = false
	}
	if f.spiked && u.random.next()%spikes == 0 {
		s.T += milli(f.spike)
	}
	if f.drawn { // as somebody would who knows the range and the day
		s.T = milli(math.Round((5+1.5*math.Sin(2*math.Pi*float64(s.Real)/86400))*10) / 10)
	}
	if u.day != nil {
		if whole := cap(u.day); f.replayed && len(u.day) == whole {
			old := u.day[u.replay%whole]
			old.At, old.Interval = s.At, s.Interval
			s.Sample = old
			u.replay++
		} else if len(u.day) < whole {
			u.day = append(u.day, s.Sample)
		} else {
			copy(u.day, u.day[1:])
			u.day[whole-1] = s.Sample
		}
	}
	if f.dead {
		s.Has &^= coldchain.HasTemperature
		s.T = 0
	}
}
