package coldchain

import "slices"

// Measured is a reading of one of several sensors that measure beside each other.
type Measured struct {
	Reading
	Sensor int // from 0
}

// Worst makes one series of what several sensors measured: each time has the reading
// that is furthest from the middle of a range, of those that are no older than a gap.
// Beside which sensor goods stood, nobody knows.
func Worst(all []Measured, profile Profile, gap int64) (out []Reading) {
	slices.SortStableFunc(all, func(a, b Measured) int { return int(a.At - b.At) })
	middle := (profile.Low + profile.High) / 2
	far := func(t Temperature) Temperature { return max(t-middle, middle-t) }
	var last []Reading // by sensor
	for i, s := range all {
		for len(last) <= s.Sensor {
			last = append(last, Reading{})
		}
		last[s.Sensor] = s.Reading
		if i+1 < len(all) && all[i+1].At == s.At {
			continue // the next of the same time tells of both
		}
		worst := s.Reading
		for _, r := range last {
			if r.At != 0 && s.At-r.At <= gap && far(r.T) > far(worst.T) {
				worst.T = r.T
			}
		}
		out = append(out, worst)
	}
	return out
}
