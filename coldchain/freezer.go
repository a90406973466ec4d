package coldchain

// Alarms of freezers, -25 to -15 °C, and of ultra-cold freezers, -90 to -60 °C. The
// ranges are WHO's; neither PQS E006 nor DS01 sets an alarm for them, so the times are
// ours: an hour is more than a defrost or a door takes, and what is ultra-cold thaws
// within minutes once it is warmer.
var (
	FreezerHigh   = Rule{ID: "FREEZER-HIGH", Op: Above, Limit: -15_000, For: 3600, Mode: Consecutive}
	FreezerLow    = Rule{ID: "FREEZER-LOW", Op: Below, Limit: -25_000, For: 3600, Mode: Consecutive}
	UltraColdHigh = Rule{ID: "ULTRA-HIGH", Op: Above, Limit: -60_000, For: 15 * 60, Mode: Consecutive}
	UltraColdLow  = Rule{ID: "ULTRA-LOW", Op: Below, Limit: -90_000, For: 15 * 60, Mode: Consecutive}
)
