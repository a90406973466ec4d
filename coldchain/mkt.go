package coldchain

import (
	"errors"
	"fmt"
	"math"
)

// Activation is the heat of activation over the gas constant, ΔH/R in kelvin, where a
// product has none of its own: 83.144 kJ/mol over 8.3144 J/(mol K), by the convention
// of USP <1160>.
const Activation = 83_144 / 8.3144

const kelvin = 273.15 // of 0 °C

// maxActivation is beyond anything that a product has.
const maxActivation = 1e6

// ErrActivation is a ΔH/R that cannot be.
var ErrActivation = errors.New("no heat of activation")

// ErrNothing says that there is nothing to make a mean of.
var ErrNothing = errors.New("no time at any temperature")

// Stay is how long something was at a temperature.
type Stay struct {
	T       Temperature
	Seconds int64
}

// MKT is the mean kinetic temperature (USP <1160>): that at which the same would have
// come to pass as at the temperatures that there were, weighed by their times,
//
//	T = (ΔH/R) / -ln(Σ wᵢ exp(-ΔH/(R Tᵢ)) / Σ wᵢ).
//
// It is no measure of potency, and sees no freezing: it is shown beside the least, the
// greatest and the time out of range.
func MKT(stays []Stay, activation float64) (degrees float64, err error) {
	if !(activation > 0 && activation <= maxActivation) {
		return 0, fmt.Errorf("%v K: %w", activation, ErrActivation)
	}
	// The largest exponent is taken out, so that no term of the sum vanishes at low
	// temperatures.
	warmest := Temperature(math.MinInt32)
	for _, s := range stays {
		if s.Seconds < 0 {
			return 0, fmt.Errorf("%d seconds at %s °C: %w", s.Seconds, s.T, ErrNothing)
		}
		if s.Seconds > 0 {
			warmest = max(warmest, s.T)
		}
	}
	if warmest <= AbsoluteZero {
		return 0, ErrNothing
	}
	top := activation / (warmest.Degrees() + kelvin)
	var sum, weight float64
	for _, s := range stays {
		if s.Seconds == 0 {
			continue
		}
		sum += float64(s.Seconds) * math.Exp(top-activation/(s.T.Degrees()+kelvin))
		weight += float64(s.Seconds)
	}
	return activation/(top-math.Log(sum/weight)) - kelvin, nil
}
