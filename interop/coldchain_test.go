package interop

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"ampoule/coldchain"
)

// tolerance is that of the folder: of degrees, and of fractions.
const tolerance = 1e-6

// runColdChainMath judges alarms, mean kinetic temperatures and vial monitors.
func runColdChainMath(t *testing.T, b *board, dir string) {
	add := func(group, name string, err error) {
		r := result{format: "cold-chain-math", group: group, name: name, judgement: agree}
		if err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}
	judgeAlarms(t, add, filepath.Join(dir, "alarms.json"))

	var means []struct {
		ID         string
		Temps      []float64
		Weighted   [][2]float64 `json:"temp_seconds"`
		Activation float64      `json:"dh_over_r_K"`
		MKT        float64      `json:"mkt_c"`
	}
	readJSON(t, filepath.Join(dir, "mkt.json"), &means)
	for _, c := range means {
		var stays []coldchain.Stay
		for _, degrees := range c.Temps {
			stays = append(stays, coldchain.Stay{T: celsius(t, degrees), Seconds: 1})
		}
		for _, s := range c.Weighted {
			stays = append(stays, coldchain.Stay{T: celsius(t, s[0]), Seconds: int64(s[1])})
		}
		got, err := coldchain.MKT(stays, c.Activation)
		add("mkt", c.ID, near(got, c.MKT, err))
	}

	var monitors struct {
		Cases []struct {
			ID       string
			VVM      string
			Segments [][2]float64 `json:"segments_c_h"`
			Fraction float64
		}
	}
	readJSON(t, filepath.Join(dir, "vvm.json"), &monitors)
	for _, c := range monitors.Cases {
		var v coldchain.VVM
		if _, err := fmt.Sscanf(c.VVM, "VVM%d", &v); err != nil {
			t.Fatalf("%s: %v", c.ID, err)
		}
		var stays []coldchain.Stay
		for _, s := range c.Segments {
			stays = append(stays, coldchain.Stay{T: celsius(t, s[0]), Seconds: int64(math.Round(s[1] * 3600))})
		}
		got, err := v.Used(stays)
		add("vvm", c.ID, near(got, c.Fraction, err))
	}
}

// judgeAlarms holds every rule of every case against its readings, in the order of
// their times however they arrived.
func judgeAlarms(t *testing.T, add func(group, name string, err error), path string) {
	var file struct {
		Rules map[string]struct {
			Op   string
			C    float64
			S    int64
			Mode string
		}
		Cases []struct {
			ID      string
			Gap     int64 `json:"max_gap_s"`
			Rules   []string
			Samples [][2]float64
			Arrival []int
			Alarms  map[string][]int64
		}
	}
	readJSON(t, path, &file)
	ours := map[string]coldchain.Rule{}
	for _, r := range slices.Concat([]coldchain.Rule{coldchain.Heat, coldchain.Freeze}, coldchain.Type1, coldchain.Type2) {
		ours[r.ID] = r
	}
	for id, r := range file.Rules {
		want := coldchain.Rule{ID: id, Limit: celsius(t, r.C), For: r.S,
			Op:   map[string]coldchain.Op{">": coldchain.Above, ">=": coldchain.AtLeast, "<=": coldchain.AtMost, "<": coldchain.Below}[r.Op],
			Mode: map[string]coldchain.Mode{"consecutive": coldchain.Consecutive, "cumulative": coldchain.Cumulative}[r.Mode]}
		var err error
		if known, ok := ours[id]; ok && known != want {
			err = fmt.Errorf("our rule is %s, the file's %s", &known, &want)
		}
		ours[id] = want
		add("rules", id, err)
	}
	for _, c := range file.Cases {
		var readings []coldchain.Reading
		for _, s := range c.Samples {
			readings = append(readings, coldchain.Reading{At: int64(s[0]), T: celsius(t, s[1])})
		}
		if len(c.Arrival) > 0 {
			arrived := make([]coldchain.Reading, 0, len(readings))
			for _, i := range c.Arrival {
				arrived = append(arrived, readings[i])
			}
			readings = arrived
		}
		slices.SortFunc(readings, func(x, y coldchain.Reading) int { return int(x.At - y.At) })
		for _, id := range c.Rules {
			rule, ok := ours[id]
			if !ok {
				t.Fatalf("%s: no rule %s", c.ID, id)
			}
			got := []int64{}
			for _, a := range coldchain.Alarms(&rule, c.Gap, readings) {
				got = append(got, a.At)
			}
			var err error
			if want := c.Alarms[id]; !slices.Equal(got, want) {
				err = fmt.Errorf("alarms at %v, want %v", got, want)
			}
			add("alarms", c.ID+" "+id, err)
		}
	}
}

func celsius(t *testing.T, degrees float64) coldchain.Temperature {
	t.Helper()
	got, err := coldchain.Celsius(degrees)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func near(got, want float64, err error) error {
	if err == nil && !(math.Abs(got-want) <= tolerance) {
		err = fmt.Errorf("%v, want %v", got, want)
	}
	return err
}
