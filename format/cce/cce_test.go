package cce

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/format"
)

// specimen is a transmission of EMS with two records, made here.
func specimen() map[string]any {
	record := func(at string, tvc float64) map[string]any {
		return map[string]any{"ABST": at, "ALRM": nil, "BEMD": 13.5, "BLOG": 12, "CMPR": 300, "DORV": 0, "EERR": nil, "LERR": nil, "TAMB": 24.5, "TVC": tvc, "SVA": 900}
	}
	report := map[string]any{"LSV": "1.0", "EMSV": "1.1", "LAT": 1.5, "LNG": -2.5, "records": []any{record("20261122T100000Z", 4.5), record("20261122T101500Z", 4.625)}}
	for _, code := range emsReport {
		report[code] = "SPECIMEN " + code
	}
	return map[string]any{
		"meta": map[string]any{"schemaVersion": "0.8.1", "transferType": EMS, "transferId": "specimen-1", "transferSrc": "org.specimen", "transferredAt": "2026-11-22T10:16:00.5Z"},
		"data": []any{report},
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParse(t *testing.T) {
	got, findings, err := Parse(encode(t, specimen()))
	if err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
	if got.Type != EMS || got.ID != "specimen-1" || got.Source != "org.specimen" || !got.At.Equal(time.Date(2026, 11, 22, 10, 16, 0, 5e8, time.UTC)) || len(got.Reports) != 1 {
		t.Fatalf("%+v", got)
	}
	r := got.Reports[0]
	if r.Text["ASER"] != "SPECIMEN ASER" || r.Where == nil || r.Where.Latitude != 1.5 || r.Where.Longitude != -2.5 || r.Where.Accuracy != nil || len(r.Records) != 2 {
		t.Fatalf("%+v", r)
	}
	second := r.Records[1]
	tvc, ok := second.Number("TVC")
	if !ok || tvc != 4.625 || !second.At.Equal(time.Date(2026, 11, 22, 10, 15, 0, 0, time.UTC)) || second.Numbers["CMPR"] != 300 {
		t.Fatalf("%+v", second)
	}
	if _, there := second.Text["ALRM"]; there {
		t.Error("null is a text")
	}
}

func TestFindings(t *testing.T) {
	type m = map[string]any
	report := func(d m) m { return d["data"].([]any)[0].(m) }
	record := func(d m, i int) m { return report(d)["records"].([]any)[i].(m) }
	for _, tt := range []struct {
		name   string
		change func(d m)
		want   string // findings, path and reason
		left   int    // records that are given back
	}{
		{"no source", func(d m) { delete(d["meta"].(m), "transferSrc") }, "meta.transferSrc required-missing", 2},
		{"local time", func(d m) { d["meta"].(m)["transferredAt"] = "2026-11-22T10:16:00+01:00" }, "meta.transferredAt bad-date", 2},
		{"no serial number", func(d m) { delete(report(d), "ASER") }, "data[0].ASER required-missing", 2},
		{"a fridge on fire", func(d m) { record(d, 0)["TVC"] = 6000 }, "data[0].records[0].TVC bad-value", 2},
		{"a sensor that says nothing", func(d m) { record(d, 0)["TVC"] = nil }, "data[0].records[0].TVC no-reading-and-no-error", 2},
		{"a sensor that is broken", func(d m) { record(d, 0)["TVC"], record(d, 0)["LERR"] = nil, "E17" }, "", 2},
		{"mains and sun", func(d m) { record(d, 1)["DCSV"], record(d, 1)["DCCD"] = 12, 1 }, "data[0].records[1].SVA supply-of-mains-or-sun", 2},
		{"neither", func(d m) { delete(record(d, 1), "SVA") }, "data[0].records[1].SVA supply-of-mains-or-sun", 2},
		{"a time that is none", func(d m) { record(d, 0)["ABST"] = "20261322T100000Z" }, "data[0].records[0].ABST bad-date", 1},
		{"no time", func(d m) { delete(record(d, 0), "ABST") }, "data[0].records[0].ABST required-missing", 1},
		{"one time twice", func(d m) { record(d, 1)["ABST"] = record(d, 0)["ABST"] }, "data[0].records[1].ABST not-in-order", 2},
		{"a version said twice", func(d m) { record(d, 0)["LSV"], record(d, 1)["LSV"] = "1", "1" }, "data[0].LSV said-twice", 2},
		{"a version in the records alone", func(d m) { delete(report(d), "LSV"); record(d, 0)["LSV"], record(d, 1)["LSV"] = "1", "1" }, "", 2},
		{"text for a number", func(d m) { record(d, 0)["TAMB"] = "24.5" }, "data[0].records[0].TAMB bad-type", 2},
		{"null where a number is due", func(d m) { record(d, 0)["TAMB"] = nil }, "data[0].records[0].TAMB bad-type", 2},
		{"no records", func(d m) { report(d)["records"] = []any{} }, "data[0].EMSV required-missing;data[0].records required-missing", 0},
		{"what the supplier adds", func(d m) { record(d, 0)["ZZZ"] = []any{1} }, "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := specimen()
			tt.change(d)
			if tt.name == "no records" { // whose versions are then nowhere but in the report
				delete(report(d), "EMSV")
			}
			got, findings, err := Parse(encode(t, d))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, f := range findings {
				said = append(said, f.Path+" "+string(f.Reason))
			}
			slices.Sort(said)
			if text := strings.Join(said, ";"); text != tt.want || len(got.Reports[0].Records) != tt.left {
				t.Errorf("%s, %d records; want %s, %d", text, len(got.Reports[0].Records), tt.want, tt.left)
			}
		})
	}
}

func TestRTM(t *testing.T) {
	report := map[string]any{
		"EMSV": "2", "DLST": map[string]any{"TVC": map[string]any{"SID": "s-1", "SMFR": "SPECIMEN", "SMOD": "S", "SDOP": "2026-01-01"}},
		"records": []any{map[string]any{"ABST": "20261122T100000.25Z", "ALRM": "HEAT", "BEMD": nil, "EERR": nil, "TVC": 9.5, "MSW": true}},
	}
	for _, code := range rtmdReport {
		if code != "DLST" {
			report[code] = "SPECIMEN " + code
		}
	}
	d := specimen()
	d["meta"].(map[string]any)["transferType"] = RTM
	d["data"] = []any{report}
	got, findings, err := Parse(encode(t, d))
	if err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
	r := got.Reports[0]
	if (r.Sensors["TVC"] != Sensor{"s-1", "SPECIMEN", "S", "2026-01-01"}) || r.Records[0].Text["ALRM"] != "HEAT" || r.Records[0].Main == nil || !*r.Records[0].Main || r.Text["AMID"] == "" {
		t.Errorf("%+v", r)
	}
	report["DLST"].(map[string]any)["TWC"] = map[string]any{}
	delete(report["records"].([]any)[0].(map[string]any), "TVC")
	_, findings, err = Parse(encode(t, d))
	reasons := map[format.Defect]bool{}
	for _, f := range findings {
		reasons[f.Reason] = true
	}
	if err != nil || !maps.Equal(reasons, map[format.Defect]bool{ReasonSensor: true, ReasonNothing: true}) {
		t.Error(findings, err)
	}
}

func TestRefused(t *testing.T) {
	many := specimen()
	many["data"] = slices.Repeat([]any{map[string]any{}}, maxReports+1)
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"too long":     {make([]byte, MaxTransmission+1), ErrSize},
		"too many":     {encode(t, many), ErrSize},
		"no object":    {[]byte(`[]`), ErrForm},
		"no data":      {[]byte(`{"meta":{}}`), ErrForm},
		"a name twice": {[]byte(`{"meta":{"a":1,"a":2},"data":[]}`), nil},
	} {
		_, _, err := Parse(tt.data)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	// Findings do not grow without an end.
	worst := specimen()
	worst["data"] = slices.Repeat([]any{1}, maxReports)
	worst["meta"] = map[string]any{}
	if _, findings, err := Parse(encode(t, worst)); err != nil || len(findings) != maxFindings {
		t.Error(len(findings), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(encode(f, specimen()))
	f.Add([]byte(`{"meta":{"transferType":"rtm"},"data":[{"DLST":{"TVC":{}},"records":[{"ABST":"20261122T100000Z","TVC":1}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, findings, err := Parse(data)
		if err != nil {
			return
		}
		if len(findings) > maxFindings {
			t.Fatal(len(findings))
		}
		for _, r := range got.Reports {
			for _, x := range r.Records {
				if x.At.IsZero() {
					t.Fatal("a record without a time")
				}
				for code, n := range x.Numbers {
					if o := objects[code]; n < o.from || n > o.to {
						t.Fatal(fmt.Sprint(code, n))
					}
				}
			}
		}
	})
}
