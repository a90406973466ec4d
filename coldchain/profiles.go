package coldchain

// Alarms of equipment that stores vaccines at 2 to 8 °C: those of WHO PQS E006, 30-day
// recorders, and of DS01 (WHO/PQS/E006/DS01).
var (
	Heat   = Rule{ID: "HEAT", Op: Above, Limit: 8_000, For: 10 * 3600, Mode: Consecutive}
	Freeze = Rule{ID: "FRZE", Op: AtMost, Limit: -500, For: 3600, Mode: Consecutive}
)

// Alarms of shipping indicators (WHO/PQS/E006/TR07). Type 1 goes with vaccines that
// freezing spoils, type 2 with those that it does not.
var (
	Type1 = []Rule{
		{ID: "T1-45", Op: AtLeast, Limit: 45_000, For: 3600, Mode: Consecutive},
		{ID: "T1-30", Op: AtLeast, Limit: 30_000, For: 10 * 3600, Mode: Cumulative},
		{ID: "T1-FRZ", Op: AtMost, Limit: -500, For: 3600, Mode: Consecutive},
	}
	Type2 = []Rule{
		{ID: "T2-45", Op: AtLeast, Limit: 45_000, For: 3600, Mode: Consecutive},
		{ID: "T2-30", Op: AtLeast, Limit: 30_000, For: 10 * 3600, Mode: Cumulative},
		{ID: "T2-10", Op: AtLeast, Limit: 10_000, For: 20 * 3600, Mode: Cumulative},
	}
)

// Profile is the range in which something is to be stored. What a product bears beyond
// it, and for how long, is the product's own.
type Profile struct {
	ID   string      `json:"id"`
	Low  Temperature `json:"low"` // allowed, as High is
	High Temperature `json:"high"`
}

// The profiles that programmes use.
var (
	Refrigerated = Profile{"refrigerated", 2_000, 8_000}
	Frozen       = Profile{"frozen", -25_000, -15_000}
	UltraCold    = Profile{"ultra-cold", -90_000, -60_000}
)

// Holds reports whether a temperature is within the profile.
func (p *Profile) Holds(t Temperature) bool { return t >= p.Low && t <= p.High }
