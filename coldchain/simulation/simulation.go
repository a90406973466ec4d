// Package simulation makes stores of vaccines that do not exist: their physics, the
// sensors in them, and faults of which it is known what they are and when they began.
//
// A unit is one node with a heat capacity that leaks to its surroundings, cooled by a
// compressor with a thermostat, by a bank of ice that a compressor freezes, or by cold
// packs that nothing freezes again. It is no model of any make. The same seed and
// configuration give the same samples on every machine of one architecture; on another
// the last bit of a float may fall the other way.
package simulation

import (
	"math"

	"ampoule/coldchain"
)

// Kind is what sort of store a unit is.
type Kind uint8

// The kinds.
const (
	Mains     Kind = iota // refrigerator with a thermostat
	IceLined              // refrigerator with a bank of ice, filled by its compressor
	Freezer               // -20 °C
	UltraCold             // -75 °C
	Shipper               // box with cold packs; no power, no compressor
)

// Config says what a unit is and where it stands.
type Config struct {
	Kind     Kind
	Start    int64   // seconds since 1970
	Interval int64   // seconds; 0: 900
	Ambient  float64 // °C, mean; 0: 25
	Swing    float64 // °C, of day and night about it; 0: 5
	Doors    float64 // openings an hour from 8 to 16; 0: 1.5; below 0: none
	Step     float64 // °C that the sensor tells apart; 0: 0.1
	Noise    float64 // °C, deviation of the sensor; 0: 0.05; below 0: none
	Faults   []Fault
}

// Sample is what comes of a unit for one interval.
type Sample struct {
	coldchain.Sample
	// Real is when it was, by a right clock.
	Real int64
	// True is the temperature as it was, whatever the sensor says.
	True coldchain.Temperature
	// Humidity of the surroundings, in thousandths of a percent.
	Humidity int32
	// Missing is that nothing arrives.
	Missing bool
}

// thermal is what a kind of store is made of.
type thermal struct {
	setpoint, band float64 // °C, of the thermostat
	leak           float64 // seconds until the difference to the surroundings is 1/e
	door           float64 // the same with an open door
	cool           float64 // °C a second, of a running compressor
	bank           float64 // seconds until the difference to the ice is 1/e; 0: none
	melts          float64 // °C
	ice            float64 // °C by which all of it would cool the store
}

var kinds = [...]thermal{
	Mains:     {setpoint: 5, band: 0.8, leak: 32_000, door: 900, cool: 2.2e-3},
	IceLined:  {leak: 60_000, door: 900, cool: 2.0e-3, bank: 8_000, melts: 1.5, ice: 150},
	Freezer:   {setpoint: -20, band: 1.2, leak: 60_000, door: 2400, cool: 2.4e-3},
	UltraCold: {setpoint: -75, band: 2, leak: 90_000, door: 2400, cool: 2.8e-3},
	Shipper:   {leak: 50_000, door: 600, bank: 9_000, melts: 0, ice: 90},
}

// step is how many seconds of physics are reckoned at once: far less than any of its
// times, and a third of the shortest opening of a door.
const step = 60

// Unit is one store. It must not be used concurrently.
type Unit struct {
	config  Config
	body    thermal
	random  source
	now     int64 // real, the end of the last interval
	t       float64
	ice     float64 // °C that are left of it
	on      bool    // the compressor
	open    float64 // seconds that the door stays open yet
	weather float64 // °C, that wanders
	sunrise float64 // phase of the day
	held    coldchain.Temperature
	holding bool
	day     []coldchain.Sample // of the day before a replay
	replay  int
}

// New makes a unit. Samples come from the first interval after the start on.
func New(seed uint64, c Config) *Unit {
	if c.Interval <= 0 {
		c.Interval = 900
	}
	c.Ambient, c.Swing, c.Doors = or(c.Ambient, 25), or(c.Swing, 5), or(c.Doors, 1.5)
	c.Step, c.Noise = or(c.Step, 0.1), or(c.Noise, 0.05)
	u := &Unit{config: c, body: kinds[min(int(c.Kind), len(kinds)-1)], random: newSource(seed), now: c.Start}
	// No two of a make are the same.
	for _, figure := range []*float64{&u.body.leak, &u.body.door, &u.body.cool, &u.body.bank} {
		*figure *= u.random.between(0.9, 1.1)
	}
	u.t, u.ice = u.body.setpoint, u.body.ice
	if u.body.bank > 0 {
		u.t = u.rest(u.config.Ambient)
	}
	u.sunrise = u.random.between(-0.3, 0.3)
	for i := range c.Faults {
		if c.Faults[i].Kind == Replayed {
			u.day = make([]coldchain.Sample, 0, 86400/c.Interval)
		}
	}
	return u
}

func or(v, usual float64) float64 {
	if v == 0 {
		return usual
	}
	return max(v, 0)
}

// rest is the temperature that a store with ice comes to.
func (u *Unit) rest(ambient float64) float64 {
	return (ambient*u.body.bank + u.body.melts*u.body.leak) / (u.body.bank + u.body.leak)
}

// Next is the next sample.
func (u *Unit) Next() Sample {
	c := &u.config
	var f effect
	f.of(c, u.now)
	at := u.now + c.Interval
	seconds := float64(u.now%86400) / 86400
	u.weather = 0.995*u.weather + 0.05*u.random.normal()*math.Sqrt(float64(c.Interval)/900)
	// The warmest hour is three in the afternoon, by the clock of Greenwich.
	sun := math.Cos(2*math.Pi*(seconds-0.625) + u.sunrise)
	ambient := c.Ambient + c.Swing*sun + 3*u.weather

	compressor, door, supply := u.run(&f, ambient, seconds)
	u.now = at

	s := Sample{Real: at, True: milli(u.t), Missing: f.missing, Humidity: int32(1000 * min(max(55-20*sun+5*u.random.normal(), 5), 99))}
	s.At, s.Interval = at+f.clock, c.Interval
	s.Has = coldchain.HasTemperature | coldchain.HasAmbient
	s.T = u.sense(u.t + f.bias)
	s.Ambient = u.sense(ambient)
	if c.Kind != Shipper {
		s.Has |= coldchain.HasCompressor | coldchain.HasDoor | coldchain.HasSupply
		s.Compressor, s.Door, s.Supply = compressor, door, supply
		if u.body.bank > 0 {
			s.Has |= coldchain.HasHoldover
			s.Holdover = u.holdover(ambient)
		}
	}
	u.falsify(&f, &s)
	return s
}

// run is the physics of one interval.
func (u *Unit) run(f *effect, ambient, seconds float64) (compressor, door, supply int64) {
	c, b := &u.config, &u.body
	chance := 0.0 // that somebody opens the door, in a step
	if hour := seconds * 24; hour >= 8 && hour < 16 {
		chance = c.Doors / 3600 * step
	}
	low, high := b.setpoint-b.band+f.setpoint, b.setpoint+b.band+f.setpoint
	for left := c.Interval; left > 0; left -= step {
		dt := float64(min(left, step))
		if chance > 0 && u.open <= 0 && u.random.uniform() < chance {
			u.open = u.random.between(10, 60)
		}
		opened := min(max(u.open, 0), dt)
		u.open -= dt
		if f.door {
			opened = dt
		}
		powered := !f.power
		switch {
		case !powered || f.broken || c.Kind == Shipper:
			u.on = false
		case b.bank > 0:
			u.on = u.ice < b.ice*0.98 || u.on && u.ice < b.ice
		default:
			u.on = u.t > high || u.on && u.t > low
		}
		change := (ambient - u.t) * (dt/b.leak + opened/b.door)
		if b.bank > 0 && u.ice > 0 {
			given := (u.t - b.melts - f.setpoint*1.6) * dt / b.bank
			change -= given
			u.ice -= max(given, 0)
		}
		if u.on {
			if cold := b.cool * f.cooling * dt; b.bank > 0 {
				u.ice = min(b.ice, max(u.ice, 0)+cold)
			} else {
				change -= cold
			}
			compressor += int64(dt)
		}
		u.t += change
		door += int64(opened)
		if powered {
			supply += int64(dt)
		}
	}
	return compressor, door, supply
}

// holdover is how many seconds the ice that is left lasts at an ambient temperature: none
// where it is too warm for a store with ice.
func (u *Unit) holdover(ambient float64) int64 {
	if u.rest(ambient) > 8 || u.t > 8 {
		return 0
	}
	flow := (u.rest(ambient) - u.body.melts) / u.body.bank
	return int64(min(max(u.ice, 0)/max(flow, 1e-5), 60*86400))
}

// sense is what the sensor makes of a temperature.
func (u *Unit) sense(degrees float64) coldchain.Temperature {
	c := &u.config
	degrees += c.Noise * u.random.normal()
	return milli(math.Round(degrees/c.Step) * c.Step)
}

func milli(degrees float64) coldchain.Temperature {
	return coldchain.Temperature(math.Round(degrees * 1000))
}
