package coldchain

// Alarms of equipment that stores vaccines at 2 to 8 °C: those of WHO PQS E006, 30-day
// recorders, and of DS01 (WHO/PQS/E006/DS01).
var (
	Heat   = Rule{ID: "HEAT", Op: Above, Limit: 8_000, For: 10 * 3600, Mode: Consecutive}
	Freeze = Rule{ID: "FRZE", Op: AtMost, Limit: -500, For: 3600, Mode: Consecutive}
)
