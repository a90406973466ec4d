package coldchain

// Alarms of equipment that stores vaccines at 2 to 8 °C: those of WHO PQS E006, 30-day
// recorders, and of DS01 (WHO/PQS/E006/DS01).
var (
	Heat   = Rule{"HEAT", Above, 8_000, 10 * 3600, Consecutive}
	Freeze = Rule{"FRZE", AtMost, -500, 3600, Consecutive}
)

// Alarms of shipping indicators (WHO/PQS/E006/TR07). Type 1 goes with vaccines that
// freezing spoils, type 2 with those that it does not.
var (
	Type1 = []Rule{
		{"T1-45", AtLeast, 45_000, 3600, Consecutive},
		{"T1-30", AtLeast, 30_000, 10 * 3600, Cumulative},
		{"T1-FRZ", AtMost, -500, 3600, Consecutive},
	}
	Type2 = []Rule{
		{"T2-45", AtLeast, 45_000, 3600, Consecutive},
		{"T2-30", AtLeast, 30_000, 10 * 3600, Cumulative},
		{"T2-10", AtLeast, 10_000, 20 * 3600, Cumulative},
	}
)

// Profile is the range in which something is to be stored. What a product bears beyond
// it, and for how long, is the product's own.
type Profile struct {
	ID        string
	Low, High Temperature // both allowed
}

// The profiles that programmes use.
var (
	Refrigerated = Profile{"refrigerated", 2_000, 8_000}
	Frozen       = Profile{"frozen", -25_000, -15_000}
	UltraCold    = Profile{"ultra-cold", -90_000, -60_000}
)

// Holds reports whether a temperature is within the profile.
func (p *Profile) Holds(t Temperature) bool { return t >= p.Low && t <= p.High }
