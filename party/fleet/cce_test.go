package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/device"
	"ampoule/format/cce"
)

type object = map[string]any

// emsBody is a transmission of EMS, made here, after change.
func emsBody(t testing.TB, change func(report object, records []object)) []byte {
	t.Helper()
	records := []object{
		{"ABST": "20261122T101500Z", "ALRM": "HEAT", "BEMD": 13.5, "BLOG": 12, "CMPR": 300, "DORV": 5, "EERR": nil, "LERR": nil, "TAMB": 24.5, "TVC": 8.6254, "SVA": 900, "HAMB": 51.25, "HOLD": 3.25, "TCON": 40},
		{"ABST": "20261122T100000Z", "ALRM": nil, "BEMD": 13.5, "BLOG": 12, "CMPR": 0, "DORV": 0, "EERR": "E4", "LERR": "E17", "TAMB": 24, "TVC": nil, "SVA": 0},
	}
	report := object{"LSV": "1.0", "EMSV": "1.1", "LAT": 1.5, "LNG": -2.5, "CID": "DEU", "ADOP": "2024-01-01", "AMFR": "SPECIMEN Fridges", "AMOD": "F1", "APQS": "E003/001", "ASER": "A-1",
		"LDOP": "2024-01-01", "LMFR": "SPECIMEN Loggers", "LMOD": "L1", "LPQS": "E006/001", "LSER": "L-1", "EDOP": "2024-01-01", "EMFR": "SPECIMEN Radio", "EMOD": "R1", "EPQS": "E006/002", "ESER": "R-1", "LID": "(8004)4012345ABC", "EID": "desk 7"}
	if change != nil {
		change(report, records)
	}
	report["records"] = records
	body, err := json.Marshal(object{
		"meta": object{"schemaVersion": "0.8.1", "transferType": "ems", "transferId": "specimen-1", "transferSrc": "org.specimen", "transferredAt": "2026-11-22T10:16:00Z"},
		"data": []object{report},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// lines writes series as text.
func lines(all []Series) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%s %s %s %d", s.Device, s.Sensor, s.Quantity, s.Interval)
		for _, r := range s.Readings {
			fmt.Fprintf(&b, " %d=%d", r.At, r.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestFromCCE(t *testing.T) {
	body := emsBody(t, nil)
	d, transmission, err := FromCCE(Source{Supplier: "specimen", Level: device.LevelToken, Via: "https"}, body)
	if err != nil {
		t.Fatal(err)
	}
	if d.Key != "cce org.specimen specimen-1" || d.Media != MediaCCE || !d.Sent.Equal(time.Date(2026, 11, 22, 10, 16, 0, 0, time.UTC)) || d.Supplier != "specimen" || string(d.Raw) != string(body) || transmission.Type != cce.EMS {
		t.Errorf("%+v", d)
	}
	const first, second = 1795341600, 1795342500
	if want := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).Unix(); want != first {
		t.Fatal(want)
	}
	logger := "serial:SPECIMEN Loggers/L-1 "
	want := logger + "BEMD battery 900 1795341600=13500 1795342500=13500\n" +
		logger + "BLOG battery 900 1795341600=12000 1795342500=12000\n" +
		logger + "CMPR compressor 900 1795341600=0 1795342500=300\n" +
		logger + "DORV door 900 1795341600=0 1795342500=5\n" +
		logger + "HAMB humidity 900 1795342500=51250\n" +
		logger + "HOLD holdover 900 1795342500=3250\n" +
		logger + "SVA supply 900 1795341600=0 1795342500=900\n" +
		logger + "TAMB ambient 900 1795341600=24000 1795342500=24500\n" +
		logger + "TVC temperature 900 1795342500=8625\n"
	if got := lines(d.Series); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	who := d.Describes[0]
	if len(d.Describes) != 1 || who.Device.String()+" " != logger || who.Maker != "SPECIMEN Loggers" || who.Model != "L1" || who.PQS != "E006/001" || who.Country != "DE" || *who.Longitude != -2.5 ||
		who.Equipment != (Equipped{"SPECIMEN Fridges", "F1", "E003/001", "A-1"}) || fmt.Sprint(who.Others) != "[serial:SPECIMEN Radio/R-1 giai:4012345ABC local:org.specimen/desk 7]" {
		t.Errorf("%+v", who)
	}
	at := who.Device
	if want := []Note{{at, second, "ALRM", "HEAT"}, {at, first, "EERR", "E4"}, {at, first, "LERR", "E17"}}; !slices.Equal(d.Notes, want) {
		t.Errorf("%v", d.Notes)
	}
	// The records are not in order, and that is all.
	if len(d.Findings) != 1 || d.Findings[0].Path != "data[0].records[1].ABST" || d.Findings[0].Reason != cce.ReasonOrder {
		t.Errorf("%v", d.Findings)
	}
}

func TestFromCCEOdd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r object, records []object)
		device string // of the first series
		find   string // that must be among the findings
		has    string // in the series
	}{
		{"sun", func(_ object, all []object) {
			for i, r := range all {
				delete(r, "SVA")
				r["DCSV"], r["DCCD"] = float64(i)*17.5, 1.5
			}
		}, "serial:SPECIMEN Loggers/L-1", "", "DCSV supply 900 1795341600=900 1795342500=0\n"},
		{"no logger", func(r object, _ []object) { delete(r, "LSER") }, "serial:SPECIMEN Radio/R-1", "data[0].LSER required-missing", ""},
		{"only the appliance", func(r object, _ []object) { delete(r, "LSER"); delete(r, "ESER"); delete(r, "LID"); delete(r, "EID") }, "serial:SPECIMEN Fridges/A-1", "", ""},
		{"nobody", func(r object, _ []object) {
			for _, code := range []string{"LSER", "ESER", "ASER", "LID", "EID"} {
				delete(r, code)
			}
		}, "", "data[0] no-device-named", ""},
		{"a name that is none", func(r object, _ []object) { r["LSER"] = strings.Repeat("9", 100) }, "serial:SPECIMEN Radio/R-1", "", ""},
		{"the same again", func(_ object, all []object) { all[1]["ABST"] = all[0]["ABST"]; all[1]["CMPR"] = 300 }, "serial:SPECIMEN Loggers/L-1", "data[0].records[1].ABST not-in-order", "CMPR compressor 900 1795342500=300\n"},
		{"a fridge on fire", func(_ object, all []object) { all[0]["TAMB"] = 6000 }, "serial:SPECIMEN Loggers/L-1", "data[0].records[0].TAMB bad-value", "TAMB ambient 900 1795341600=24000\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, _, err := FromCCE(Source{}, emsBody(t, tt.change))
			if err != nil {
				t.Fatal(err)
			}
			if tt.device == "" && len(d.Series) != 0 || tt.device != "" && d.Series[0].Device.String() != tt.device {
				t.Errorf("%v", d.Series)
			}
			found := tt.find == ""
			for _, f := range d.Findings {
				found = found || f.Path+" "+string(f.Reason) == tt.find
			}
			if !found || !strings.Contains(lines(d.Series), tt.has) {
				t.Errorf("%v\n%s", d.Findings, lines(d.Series))
			}
		})
	}
	if _, _, err := FromCCE(Source{}, []byte(`{"data":[]}`)); !errors.Is(err, cce.ErrForm) {
		t.Error(err)
	}
}

func TestFromCCERTM(t *testing.T) {
	body := []byte(`{"meta":{"schemaVersion":"0.8.1","transferType":"rtm","transferId":"","transferSrc":"org.specimen","transferredAt":"2026-11-22T10:16:00Z"},
	"data":[{"AMID":"x","CID":"ATA","EDOP":"2024-01-01","EMFR":"SPECIMEN Radio","EMOD":"R1","EPQS":"E006/2","ESER":"R-2","EMSV":"1","DLST":{"TVC":{"SID":"1","SMFR":"a","SMOD":"b"}},
	"records":[{"ABST":"20261122T100000Z","ALRM":null,"BEMD":1,"EERR":null,"TVC":4},{"ABST":"20261122T100500Z","ALRM":null,"BEMD":1,"EERR":null,"TVC":4},{"ABST":"20261122T101000Z","ALRM":null,"BEMD":1,"EERR":null,"TVC":4},{"ABST":"20261122T112000Z","ALRM":null,"BEMD":1,"EERR":null,"TVC":4}]}]}`)
	d, _, err := FromCCE(Source{}, body)
	if err != nil || len(d.Findings) > 0 {
		t.Fatal(d, err)
	}
	if s := d.Series[1]; s.Device.String() != "serial:SPECIMEN Radio/R-2" || s.Sensor != "TVC" || s.Interval != 300 || len(s.Readings) != 4 || d.Key != "" || d.Describes[0].Country != "AQ" {
		t.Errorf("%+v %q %+v", s, d.Key, d.Describes)
	}
}

// well holds a delivery against what the package promises of every one.
func well(t *testing.T, d *Delivery) {
	for _, s := range d.Series {
		if len(s.Readings) == 0 || s.Sensor == "" || s.Quantity == "" || s.Interval < 0 {
			t.Fatalf("%+v", s)
		}
		if again, err := device.ParseName(s.Device.String()); err != nil || again != s.Device {
			t.Fatalf("%s: %v", s.Device, err)
		}
		if !slices.IsSortedFunc(s.Readings, func(a, b device.Reading) int { return int(max(min(a.At-b.At, 1), -1)) }) {
			t.Fatalf("not in order: %+v", s)
		}
	}
	for _, f := range d.Findings {
		if f.Path == "" || f.Reason == "" {
			t.Fatalf("%+v", f)
		}
	}
}

func FuzzFromCCE(f *testing.F) {
	f.Add(emsBody(f, nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		if d, _, err := FromCCE(Source{Supplier: "s"}, body); err == nil {
			well(t, d)
		}
	})
}
