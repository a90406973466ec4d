package coldchain

// Misses is after how many deliveries in a row that did not come an equipment is
// silent: one may be lost and one late on any mobile network.
const Misses = 3

// Silence reports since when an equipment is silent: from the moment at which the first
// delivery that did not come was due. Both times are of the clock of who receives, since
// that of a device which says nothing is not known; received is of the last reading of
// that equipment, or, where none has come, of when it was put into use. It is asked for
// each equipment: a gateway that is heard says nothing of a logger behind it.
func Silence(received, expected, now int64) (since int64, silent bool) {
	if expected <= 0 || now-received <= Misses*expected {
		return 0, false
	}
	return received + expected, true
}
