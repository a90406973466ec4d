package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ampoule/format/senml"
)

// runSenML resolves every pack that has a resolved one beside it, in JSON and CBOR.
func runSenML(t *testing.T, b *board, dir string) {
	resolved, err := filepath.Glob(filepath.Join(dir, "*.resolved.json"))
	if err != nil || len(resolved) == 0 {
		t.Fatalf("no packs in %s: %v", dir, err)
	}
	for _, path := range resolved {
		var want []map[string]any
		readJSON(t, path, &want)
		for ext, parse := range map[string]func([]byte, float64) ([]senml.Record, error){".json": senml.ParseJSON, ".cbor": senml.ParseCBOR} {
			pack := strings.TrimSuffix(path, ".resolved.json") + ext
			data, err := os.ReadFile(pack)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			r := result{format: "senml", group: ext[1:], name: filepath.Base(pack), judgement: agree}
			switch err := judgePack(data, parse, want); {
			case errors.Is(err, errNoData):
				r.judgement, r.rule, r.detail = disagree, "data values", err.Error()
			case err != nil:
				r.judgement, r.detail = disagree, err.Error()
			}
			b.add(r)
		}
	}
}

// errNoData says that a resolved pack leaves out the records that have data.
var errNoData = errors.New("the resolved pack has no data values")

// judgePack resolves a pack whose relative times count from the time at which the
// examples were made: that by which its first record comes out right.
func judgePack(data []byte, parse func([]byte, float64) ([]senml.Record, error), want []map[string]any) error {
	got, err := parse(data, 0)
	if err != nil {
		return err
	}
	var noData error
	without := slices.DeleteFunc(slices.Clone(got), func(r senml.Record) bool { return r.Data != nil })
	if len(got) != len(want) && len(without) == len(want) {
		got, noData = without, errNoData
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d records, want %d", len(got), len(want))
	}
	first, _ := want[0]["t"].(float64)
	if now := first - got[0].Time; math.Abs(now) > 1e-6 {
		for i := range got {
			got[i].Time += now
		}
	}
	for i, r := range got {
		has := map[string]any{"n": r.Name, "t": r.Time}
		put := func(name string, value any, there bool) {
			if there {
				has[name] = value
			}
		}
		put("u", r.Unit, r.Unit != "")
		put("l", r.Link, r.Link != "")
		if r.Value != nil {
			has["v"] = *r.Value
		}
		if r.Text != nil {
			has["vs"] = *r.Text
		}
		if r.Boolean != nil {
			has["vb"] = *r.Boolean
		}
		if r.Sum != nil {
			has["s"] = *r.Sum
		}
		if r.Data != nil {
			has["vd"] = r.Data
		}
		for name, value := range want[i] {
			switch mine := has[name].(type) {
			case float64:
				if f, ok := value.(float64); !ok || math.Abs(mine-f) > 1e-9*max(1, math.Abs(f)) {
					return fmt.Errorf("record %d: %s is %v, want %v", i, name, mine, value)
				}
			case []byte:
				text, _ := json.Marshal(mine)
				if strings.Trim(strings.NewReplacer("+", "-", "/", "_").Replace(string(text)), `"=`) != value {
					return fmt.Errorf("record %d: %s differs", i, name)
				}
			default:
				if mine != value {
					return fmt.Errorf("record %d: %s is %v, want %v", i, name, mine, value)
				}
			}
			delete(has, name)
		}
		if len(has) > 0 {
			return fmt.Errorf("record %d: %v besides", i, has)
		}
	}
	return noData
}
