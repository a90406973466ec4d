package coldchain

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
