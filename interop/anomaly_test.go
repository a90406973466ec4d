package interop

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"ampoule/coldchain"
	"ampoule/format/cce"
)

// labelled is a series of which it is known what was wrong, and from when.
type labelled struct {
	Config struct {
		Fault    string  `json:"fault_type"`
		Offset   float64 `json:"fault_start_offset_s"`
		Duration float64 `json:"fault_duration_s"`
		Interval int64
	} `json:"config_summary"`
	Records []map[string]any
}

// judgeFault tells a series with a fault from a sound one, by what our rules and
// anomalies say of it: of a sound one nothing; of a door, of power and of a compressor
// the right word, of the first two at the very record.
func judgeFault(t *testing.T, path string) result {
	t.Helper()
	var series labelled
	readJSON(t, path, &series)
	data, err := json.Marshal(map[string]any{"meta": map[string]any{"transferType": cce.EMS}, "data": []any{map[string]any{"records": series.Records}}})
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := cce.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	records := got.Reports[0].Records
	terms, _ := coldchain.TermsOf("refrigerated")
	said, shown := words(t, &terms, records, series.Config.Interval)

	c, r := series.Config, result{format: "cce-interop", group: "faults", name: filepath.Base(path), judgement: agree}
	begins := records[0].At.Unix() + int64(c.Offset)
	ends := records[len(records)-1].At.Unix()
	if c.Duration > 0 {
		ends = min(ends, begins+int64(c.Duration)-c.Interval)
	}
	// firstAfter is the first record that is at a time, or after it.
	firstAfter := func(at int64) int64 {
		for _, x := range records {
			if x.At.Unix() >= at {
				return x.At.Unix()
			}
		}
		return 0
	}
	var wrong string
	switch c.Fault {
	case "none":
		if len(said) > 0 {
			wrong = "of a sound one"
		}
	case "stuck_door":
		if at, ok := said["DOOR"]; !ok || at != firstAfter(begins) {
			wrong = "no DOOR at the record with which the door stays open"
		}
	case "power_outage":
		due := firstAfter(begins + coldchain.NoPower.For)
		if at, ok := shown["AWAY"]; !ok || at != firstAfter(begins) {
			wrong = "power is not shown as away from the first record on"
		} else if at := said["POWR"]; ends-begins >= coldchain.NoPower.For && at != due || ends-begins < coldchain.NoPower.For && at != 0 {
			wrong = "POWR is not at 24 hours"
		}
	case "compressor_failure":
		if said[coldchain.ReasonIdle] == 0 && said["HEAT"] == 0 {
			wrong = "no word of the compressor"
		}
	case "refrigerant_leak":
		if said[coldchain.ReasonWeak] == 0 && said["HEAT"] == 0 {
			r.judgement, r.rule, r.detail = notApplicable, "A leak that has done nothing yet", fmt.Sprintf("said: %v", said)
			return r
		}
	default:
		t.Errorf("%s: no judgement of %q", path, c.Fault)
	}
	if wrong != "" {
		r.judgement, r.detail = disagree, fmt.Sprintf("%s; said %v, shown %v", wrong, said, shown)
	}
	return r
}

// words are the alarms and anomalies of a series, and what is only shown, each with the
// time of the record with which it was certain first.
func words(t *testing.T, terms *coldchain.Terms, records []cce.Record, interval int64) (said, shown map[string]int64) {
	t.Helper()
	said, shown = map[string]int64{}, map[string]int64{}
	var state coldchain.State
	var watcher coldchain.Watcher
	for _, r := range records {
		x := coldchain.Sample{At: r.At.Unix(), Interval: interval}
		number := func(code string, h coldchain.Has) float64 {
			v, ok := r.Numbers[code]
			if ok {
				x.Has |= h
			}
			return v
		}
		x.T = celsius(t, number("TVC", coldchain.HasTemperature))
		x.Ambient = celsius(t, number("TAMB", coldchain.HasAmbient))
		x.Compressor = int64(number("CMPR", coldchain.HasCompressor))
		x.Door = int64(number("DORV", coldchain.HasDoor))
		x.Supply = int64(number("SVA", coldchain.HasSupply))
		x.Holdover = int64(number("HOLD", coldchain.HasHoldover) * 86400)
		var episodes []coldchain.Episode
		if x.Has&coldchain.HasTemperature != 0 {
			episodes = state.Temperature(terms, coldchain.Reading{At: x.At, T: x.T})
		}
		if x.Has&coldchain.HasDoor != 0 {
			episodes = append(episodes, state.Door(terms, coldchain.Spent{At: x.At, Interval: interval, Seconds: x.Door})...)
		}
		if x.Has&coldchain.HasSupply != 0 {
			episodes = append(episodes, state.Supply(terms, coldchain.Spent{At: x.At, Interval: interval, Seconds: x.Supply})...)
		}
		for _, e := range episodes {
			into := said
			if e.Shown {
				into = shown
			}
			if _, known := into[e.Rule]; !known && e.End == "" {
				into[e.Rule] = e.At
			}
		}
		for _, a := range watcher.Next(&x) {
			if _, known := said[a.Reason]; !known {
				said[a.Reason] = a.At
			}
		}
	}
	return said, shown
}

// runAnomalies runs the watcher over real temperatures, in which it is known when
// something was wrong: each window is a case, and what is said outside them is counted.
func runAnomalies(t *testing.T, b *board, dir string) {
	var windows map[string][][2]string
	readJSON(t, filepath.Join(dir, "windows.json"), &windows)
	for _, name := range slices.Sorted(maps.Keys(windows)) {
		samples := fahrenheit(t, filepath.Join(dir, name))
		hits := make([]map[string]int, len(windows[name]))
		falsely := map[string]int{}
		outside := 0
		var watcher coldchain.Watcher
		for i := range samples {
			for _, a := range watcher.Next(&samples[i]) {
				in := -1
				for w, window := range windows[name] {
					if a.At >= moment(t, window[0]) && a.At <= moment(t, window[1]) {
						in = w
					}
				}
				if in < 0 {
					falsely[a.Reason]++
					outside++
				} else {
					if hits[in] == nil {
						hits[in] = map[string]int{}
					}
					hits[in][a.Reason]++
				}
			}
		}
		for w, hit := range hits {
			r := result{format: "anomaly-temperature", group: "windows", name: fmt.Sprintf("%s %v", name, windows[name][w]), judgement: agree, detail: fmt.Sprint(hit)}
			if len(hit) == 0 {
				r.judgement, r.rule, r.detail = disagree, "Anomalies without a store around them", "nothing was said"
			}
			b.add(r)
			t.Logf("%s: %v", r.name, hit)
		}
		days := float64(samples[len(samples)-1].At-samples[0].At) / 86400
		t.Logf("%s: outside of the windows %.2f in 30 days: %v", name, 30*float64(outside)/days, falsely)
	}
}

func moment(t *testing.T, text string) int64 {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		t.Fatal(err)
	}
	return at.Unix()
}

// fahrenheit reads times and degrees. The interval is the commonest one.
func fahrenheit(t *testing.T, path string) (samples []coldchain.Sample) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	often := map[int64]int{}
	for _, row := range rows[1:] {
		v, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		x := coldchain.Sample{At: moment(t, row[0]), Has: coldchain.HasTemperature, T: celsius(t, math.Round((v-32)/1.8*1000)/1000)}
		if n := len(samples); n > 0 {
			often[x.At-samples[n-1].At]++
		}
		samples = append(samples, x)
	}
	interval := slices.MaxFunc(slices.Collect(maps.Keys(often)), func(a, b int64) int { return often[a] - often[b] })
	for i := range samples {
		samples[i].Interval = interval
	}
	return samples
}
