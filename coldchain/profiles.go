package coldchain

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
