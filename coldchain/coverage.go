package coldchain

// Coverage is for how many seconds from one time until another it was measured: those
// between two readings that are no more than gap apart. Readings are in the order of
// their times, and those just before and after the period count for its ends. The rest
// is not measured, and never taken for held.
func Coverage(readings []Reading, gap, from, until int64) (measured int64) {
	for i := 1; i < len(readings); i++ {
		a, b := readings[i-1].At, readings[i].At
		if b <= a || b-a > gap {
			continue
		}
		measured += max(0, min(b, until)-max(a, from))
	}
	return measured
}
