package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ampoule/format"
	"ampoule/format/cce"
)

// runCCE holds our findings against the newest published schema: on the transmissions
// of the folder, which must have none, on each of them with one value changed, and on
// the labelled series, of which it also judges what was wrong.
func runCCE(t *testing.T, b *board, dir string) {
	add := func(group, name string, err error) {
		r := result{format: "cce-interop", group: group, name: name, judgement: agree}
		if err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}
	schemas := jsonFiles(t, filepath.Join(dir, "schema"))
	if len(schemas) == 0 {
		t.Fatal("no schema")
	}
	slices.Sort(schemas)
	schema, err := jsonschema.NewCompiler().Compile(schemas[len(schemas)-1])
	if err != nil {
		t.Fatal(err)
	}
	valid := func(data []byte) bool {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
		return err == nil && schema.Validate(v) == nil
	}
	for _, path := range jsonFiles(t, filepath.Join(dir, "transmissions")) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, findings, err := cce.Parse(data)
		if err == nil && len(findings) > 0 {
			err = fmt.Errorf("%v", findings)
		}
		add("transmissions", filepath.Base(path), err)
		for name, changed := range mutations(t, data) {
			_, findings, err := cce.Parse(changed)
			findings = slices.DeleteFunc(findings, func(f format.Finding) bool { return f.Reason == cce.ReasonOrder }) // which no schema can say
			ours := err == nil && len(findings) == 0
			if theirs := valid(changed); ours != theirs {
				err = fmt.Errorf("the schema says %v; ours: %v %v", theirs, findings, err)
			} else {
				err = nil
			}
			add("changed", filepath.Base(path)+" "+name, err)
		}
	}
	for _, path := range jsonFiles(t, filepath.Join(dir, "fault-fixtures")) {
		var series struct{ Records []map[string]any }
		readJSON(t, path, &series)
		report := map[string]any{"records": series.Records}
		data, err := json.Marshal(map[string]any{"meta": map[string]any{"transferType": cce.EMS}, "data": []any{report}})
		if err != nil {
			t.Fatal(err)
		}
		got, findings, err := cce.Parse(data)
		if err == nil {
			err = sameSeries(got, findings, series.Records)
		}
		add("series", filepath.Base(path), err)
		b.add(judgeFault(t, path))
	}
}

// sameSeries compares every number of a series, whose envelope is ours and so has
// findings of its own.
func sameSeries(got *cce.Transmission, findings []format.Finding, want []map[string]any) error {
	for _, f := range findings {
		if strings.Contains(f.Path, "records[") {
			return fmt.Errorf("%s: %s", f.Path, f.Reason)
		}
	}
	records := got.Reports[0].Records
	if len(records) != len(want) {
		return fmt.Errorf("%d records, want %d", len(records), len(want))
	}
	for i, r := range records {
		if r.At.Format("20060102T150405Z") != want[i]["ABST"] {
			return fmt.Errorf("record %d at %v", i, r.At)
		}
		for code, n := range r.Numbers {
			if want[i][code] != n {
				return fmt.Errorf("record %d: %s is %v, want %v", i, code, n, want[i][code])
			}
		}
		if r.Numbers["TVC"] != want[i]["TVC"] {
			return fmt.Errorf("record %d has no TVC", i)
		}
	}
	return nil
}

// mutations are a document with one member taken out, or one value replaced.
func mutations(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	keep := func(name string) {
		changed, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = changed
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, old := range v {
				delete(v, name)
				keep("without " + path + "." + name)
				for _, other := range []any{nil, "text", "", 1e6, -1e6, 5, true, []any{}, map[string]any{}} {
					v[name] = other
					keep(fmt.Sprintf("%s.%s=%v (%T)", path, name, other, other))
				}
				v[name] = old
				walk(path+"."+name, old)
			}
			v["ZZZ"] = map[string]any{"of": "the supplier"}
			keep("more in " + path)
			delete(v, "ZZZ")
		case []any:
			if len(v) > 0 { // the others are like the first
				walk(path+"[0]", v[0])
			}
		}
	}
	walk("", document)
	return all
}
