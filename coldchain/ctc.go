package coldchain

// ControlledTemperature is the range of the controlled temperature chain: what WHO's
// guidance (Controlled temperature chain: strategic roadmap, 2017) asks of a product
// that is labelled for it is that it bears at least 40 °C for at least three days. It
// is used out of the cold just before it is given, and is thrown away after.
var ControlledTemperature = Profile{"controlled-temperature-chain", 2_000, 40_000}

// CTC are the alarms of a product on the controlled temperature chain: above its limit
// at all, as a peak threshold indicator shows it; above 8 °C for its days in all, since
// the days run from when it leaves the cold; and frozen, since what is on this chain is
// often freeze-sensitive.
func CTC(limit Temperature, days int64) []Rule {
	return []Rule{
		{ID: "CTC-PEAK", Op: Above, Limit: limit, Mode: Consecutive},
		{ID: "CTC-DAYS", Op: Above, Limit: Refrigerated.High, For: days * 86400, Mode: Cumulative},
		{ID: "CTC-FRZ", Op: AtMost, Limit: -500, For: 3600, Mode: Consecutive},
	}
}
