// Package coldchain is what is known of a vaccine by the temperatures at which it
// was: one file for each rule, with its source.
//
// All of it goes by the time at which something was measured, never by that at which
// it arrived, so that data which come late give the same alarms as data which came at
// once. Temperatures are whole thousandths of a degree and times whole seconds: what
// is at a threshold is at it, on every machine. Where a figure is an estimate, it is
// called one, and no alarm rests on it.
package coldchain

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Temperature is in thousandths of a degree Celsius.
type Temperature int32

// The bounds of what is taken for a temperature: absolute zero, and more than any
// sensor of a cold chain measures.
const (
	AbsoluteZero   Temperature = -273_150
	MaxTemperature Temperature = 1_000_000
)

// ErrTemperature is a number that is no temperature.
var ErrTemperature = errors.New("no temperature")

// Celsius rounds degrees to a Temperature, half away from zero.
func Celsius(degrees float64) (Temperature, error) {
	milli := math.Round(degrees * 1000)
	if !(milli >= float64(AbsoluteZero) && milli <= float64(MaxTemperature)) { // NaN is neither
		return 0, fmt.Errorf("%v °C: %w", degrees, ErrTemperature)
	}
	return Temperature(milli), nil
}

// Degrees is the temperature in degrees Celsius.
func (t Temperature) Degrees() float64 { return float64(t) / 1000 }

// String writes degrees with as many decimals as there are: 8, -0.5.
func (t Temperature) String() string {
	sign := ""
	if t < 0 {
		sign, t = "-", -t
	}
	whole, rest := t/1000, t%1000
	if rest == 0 {
		return sign + strconv.Itoa(int(whole))
	}
	return sign + strings.TrimRight(fmt.Sprintf("%d.%03d", whole, rest), "0")
}

// Reading is one temperature at one time.
type Reading struct {
	At int64       `json:"at"` // seconds since 1970, of the device's clock as corrected
	T  Temperature `json:"t"`
}
