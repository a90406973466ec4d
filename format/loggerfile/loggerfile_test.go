package loggerfile

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"ampoule/format"
)

var plusThree = time.FixedZone("+03:00", 3*3600)

func at(t testing.TB, s string) int64 {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v.Unix()
}

// report is as a Fridge-tag 2 L writes it.
const report = `Device: Q-tag Fridge-tag 2 L
Vers: 0.5
Fw Vers: 4.0p0o
Sensor: 1
Conf:
 Serial: 999900000001
 Temp unit: C
 Alarm:
  0:
   T AL: -0.5, t AL: 60
  1:
   T AL: +8.0, t AL: 600
 Int Sensor:
  Timeout: 1, Offset: +0.0
 Logging Interval: 5
Hist:
 TS Actv: 2026-01-02 04:44
 TS Report Creation: 2026-02-14 06:05
 1:
  Date: 2026-02-14
  Min T: +4.0, TS Min T: 00:42
  Max T: +18.8, TS Max T: 04:57
  Avrg T: +9.5
  Alarm:
   0:
    t Acc: 0
   1:
    t Acc: 366, TS A: 04:10, C A: 0
  Int Sensor timeout:
   t AccST: 2
  Events: 0
  Checked:
   TS AM: 05:15
 2:
  Date: 2026-02-13
  Min T: ---, TS Min T: ---
  Max T: ---, TS Max T: ---
  Avrg T: ---
  Alarm:
   0:
    t Acc: 0
   1:
    t Acc: 0
  Events: 0
Data:
	yyyy-MM-dd hh:mm	T	Out of limits
	2026-02-14 04:50	17.2	x
	2026-02-14 04:55	18.7	x
	2026-02-14 05:00	-0.5
Cert:
 Vers: 1.0
Sig: 00
`

func TestFridgeTag(t *testing.T) {
	f, err := Parse([]byte(strings.ReplaceAll(report, "\n", "\r\n")), Options{Zone: plusThree})
	if err != nil {
		t.Fatal(err)
	}
	mean := int32(9500)
	want := &File{
		Kind: "fridge-tag", Maker: "Berlinger", Model: "Q-tag Fridge-tag 2 L", Serial: "999900000001", Firmware: "4.0p0o", Zone: "+03:00",
		Created: at(t, "2026-02-14T06:05:00+03:00"),
		Rules:   []Rule{{"0", true, -500, 3600}, {"1", false, 8000, 36000}},
		Days: []Day{
			{Date: "2026-02-13", Alarms: []Alarm{{Rule: "0"}, {Rule: "1"}}},
			{
				Date: "2026-02-14", Min: &Reading{at(t, "2026-02-14T00:42:00+03:00"), 4000}, Max: &Reading{at(t, "2026-02-14T04:57:00+03:00"), 18800}, Mean: &mean,
				Alarms:  []Alarm{{Rule: "0"}, {"1", 366 * 60, at(t, "2026-02-14T04:10:00+03:00")}},
				Checked: []int64{at(t, "2026-02-14T05:15:00+03:00")}, SensorOff: 120,
			},
		},
		Series: []Series{{"1", Temperature, 300, []Reading{
			{at(t, "2026-02-14T04:50:00+03:00"), 17200}, {at(t, "2026-02-14T04:55:00+03:00"), 18700}, {at(t, "2026-02-14T05:00:00+03:00"), -500},
		}}},
		Findings: []format.Finding{{Path: "line 52, Sig", Reason: ErrSigned}},
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		change func(string) string
		zone   *time.Location
		want   error
	}{
		"no zone":       {func(s string) string { return s }, nil, ErrZone},
		"in °F":         {func(s string) string { return strings.Replace(s, "unit: C", "unit: F", 1) }, plusThree, ErrUnit},
		"no serial":     {func(s string) string { return strings.Replace(s, "Serial", "Cereal", 1) }, plusThree, ErrUnknown},
		"nothing in it": {func(s string) string { return s[:strings.Index(s, "Hist:")] }, plusThree, ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			if f, err := Parse([]byte(c.change(report)), Options{Zone: c.zone}); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
	for name, c := range map[string]struct {
		old, new string
		want     format.Finding
	}{
		"a time of no day":    {"TS Max T: 04:57", "TS Max T: 24:57", format.Finding{Path: "line 20, Max T", Reason: ErrValue}},
		"a value of no sense": {"Min T: +4.0", "Min T: +4.0e9", format.Finding{Path: "line 20, Min T", Reason: ErrValue}},
		"a date of no month":  {"Date: 2026-02-13", "Date: 2026-13-13", format.Finding{Path: "line 35, Date", Reason: ErrTime}},
		"a row out of order":  {"\t2026-02-14 05:00", "\t2026-02-14 04:00", format.Finding{Path: "line 49, 1", Reason: ErrClock}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(strings.Replace(report, c.old, c.new, 1)), Options{Zone: plusThree})
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range f.Findings {
				if got == c.want {
					return
				}
			}
			t.Errorf("%v", f.Findings)
		})
	}
}

func utf16le(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func TestTable(t *testing.T) {
	two := []Reading{{at(t, "2026-02-14T04:50:00+03:00"), 5100}, {at(t, "2026-02-14T04:55:00+03:00"), -500}}
	for _, c := range []struct {
		name, text string
		options    Options
		want       *File
	}{
		{"LogTag", "Serial #,A0C0001\nDescription,Fridge 1\nReading interval,5 minutes\nNon alert range,2.0  to  8.0 °C\n\nReading,Date,Time,Temperature\n1,2026-02-14,04:50:00,5.1\n2,2026-02-14,04:55:00,-0.5\n", Options{},
			&File{Kind: "logtag", Maker: "LogTag", Serial: "A0C0001", Name: "Fridge 1", Series: []Series{{"Temperature", Temperature, 300, two}}}},
		{"German", "Seriennummer;0007\nDatum;Uhrzeit;Temperatur [°C];Luftfeuchte [%]\n14.02.2026;04:50;5,1;40,5\n14.02.2026;04:55;-0,5;---\n", Options{},
			&File{Kind: "table", Serial: "0007", Series: []Series{{"Temperatur [°C]", Temperature, 300, two}, {"Luftfeuchte [%]", Humidity, 0, []Reading{{two[0].At, 40500}}}}}},
		{"French, in Latin-1", latin1("Date/heure;Température (°C)\n14/02/2026 04:50;5,1\n14/02/2026 04:55;-0,5\n"), Options{},
			&File{Kind: "table", Series: []Series{{"Température (°C)", Temperature, 300, two}}}},
		{"Spanish, in UTF-16", utf16le("Fecha y hora\tTemperatura 1 (°C)\n2026-02-14 04:50\t5,1\n2026-02-14 04:55\t-0,5\n"), Options{},
			&File{Kind: "table", Series: []Series{{"Temperatura 1 (°C)", Temperature, 300, two}}}},
		{"Arabic", "التاريخ والوقت,درجة الحرارة (°C)\n2026-02-14 04:50,5.1\n2026-02-14 04:55,-0.5\n", Options{},
			&File{Kind: "table", Series: []Series{{"درجة الحرارة (°C)", Temperature, 300, two}}}},
		{"American", "\"Date/Time\",\"Temp (°F)\"\n\"02/14/2026 4:50:00 AM\",\"41.18\"\n\"02/14/2026 4:55:00 AM\",\"31.1\"\n", Options{},
			&File{Kind: "table", Series: []Series{{"Temp (°F)", Temperature, 300, two}}}},
		{"with an offset", "timestamp,temp °C\n2026-02-14T04:50:00+03:00,5.1\n2026-02-14T01:55:00Z,-0.5\n", Options{},
			&File{Kind: "table", Series: []Series{{"temp °C", Temperature, 300, two}}}},
		{"the newest first", "time,temp °C\n2026-02-14 04:55,-0.5\n2026-02-14 04:50,5.1\n", Options{},
			&File{Kind: "table", Series: []Series{{"temp °C", Temperature, 300, two}}}},
		{"the order was asked", "time,temp °C\n02/02/2026 04:50,5.1\n03/02/2026 04:50,5.1\n", Options{Order: DayMonth},
			&File{Kind: "table", Series: []Series{{"temp °C", Temperature, 86400, []Reading{{at(t, "2026-02-02T04:50:00+03:00"), 5100}, {at(t, "2026-02-03T04:50:00+03:00"), 5100}}}}}},
		{"the columns were asked", "when,probe A\n2026-02-14 04:50,5.1\n2026-02-14 04:55,-0.5\n", Options{Time: "When", Temperature: "Probe A", Unit: "C"},
			&File{Kind: "table", Series: []Series{{"probe A", Temperature, 300, two}}}},
		{"bad rows", "time,temp °C\n2026-02-14 04:50,5.1\n2026-02-30 04:50,5.1\n2026-02-14 04:55,-0.5\n2026-02-14 05:00,9e9\n2026-02-14 04:55,7\n2026-02-14 04:10,7\n", Options{},
			&File{Kind: "table", Series: []Series{{"temp °C", Temperature, 300, two}}, Findings: []format.Finding{
				{Path: "line 3", Reason: ErrTime}, {Path: "line 5, temp °C", Reason: ErrValue}, {Path: "line 6, temp °C", Reason: ErrTwice}, {Path: "line 7, temp °C", Reason: ErrClock}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Zone = plusThree
			f, err := Parse([]byte(c.text), c.options)
			if err != nil {
				t.Fatal(err)
			}
			if f.Zone != "+03:00" && c.name != "with an offset" {
				t.Errorf("read in %q", f.Zone)
			}
			f.Zone = ""
			if diff := cmp.Diff(c.want, f); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAsks: what a file leaves open is asked for, and not guessed.
func TestAsks(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		options Options
		want    error
	}{
		"the zone":                 {"time,temp °C\n2026-02-14 04:50,5.1\n", Options{}, ErrZone},
		"the order":                {"time,temp °C\n02/03/2026 04:50,5.1\n03/03/2026 04:50,5.1\n", Options{Zone: plusThree}, ErrOrder},
		"two orders":               {"time,temp °C\n02/13/2026 04:50,5.1\n13/03/2026 04:50,5.1\n", Options{Zone: plusThree}, ErrOrder},
		"another order than asked": {"time,temp °C\n02/13/2026 04:50,5.1\n", Options{Zone: plusThree, Order: DayMonth}, ErrOrder},
		"the unit":                 {"time,temperature\n2026-02-14 04:50,5.1\n", Options{Zone: plusThree}, ErrUnit},
		"two units":                {"low,2 °C\nhigh,46 °F\ntime,temperature\n2026-02-14 04:50,5.1\n", Options{Zone: plusThree}, ErrUnit},
		"the columns":              {"when,what\n2026-02-14 04:50,5.1\n", Options{Zone: plusThree}, ErrColumns},
		"the decimal mark":         {"time,temp °C\n2026-02-14 04:50,5,1\n2026-02-14 04:55,5,2\n", Options{Zone: plusThree}, ErrDecimals},
		"no rows":                  {"time,temp °C\n", Options{Zone: plusThree}, ErrUnknown},
		"no readings":              {"time,temp °C\n2026-02-14 04:50,---\n", Options{Zone: plusThree}, ErrUnknown},
		"nothing":                  {"", Options{Zone: plusThree}, ErrColumns},
		"too large":                {strings.Repeat(" ", MaxBytes+1), Options{}, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if f, err := Parse([]byte(c.text), c.options); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
}

// TestSummerTime: an hour that comes twice is told apart by the order of the rows.
func TestSummerTime(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	text := "time,temp °C\n2026-10-25 02:15,1\n2026-10-25 02:45,2\n2026-10-25 02:15,3\n2026-10-25 02:45,4\n2026-10-25 03:15,5\n"
	f, err := Parse([]byte(text), Options{Zone: vienna})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"2026-10-25T02:15:00+02:00", "2026-10-25T02:45:00+02:00", "2026-10-25T02:15:00+01:00", "2026-10-25T02:45:00+01:00", "2026-10-25T03:15:00+01:00"} {
		if got := f.Series[0].Readings[i].At; got != at(t, want) {
			t.Errorf("reading %d at %s, want %s", i, time.Unix(got, 0).UTC(), want)
		}
	}
	if len(f.Findings) != 4 || f.Findings[0].Reason != ErrDST {
		t.Errorf("%v", f.Findings)
	}
	f, err = Parse([]byte("time,temp °C\n2026-03-29 02:15,1\n2026-03-29 03:15,2\n"), Options{Zone: vienna})
	if err != nil || len(f.Findings) == 0 || f.Findings[0].Reason != ErrGone {
		t.Errorf("%+v, %v", f, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(report), true)
	f.Add([]byte("Serial #,A0C0001\nReading,Date,Time,Temperature (°C)\n1,2026-02-14,04:50:00,5.1\n"), true)
	f.Add([]byte("Datum;Temperatur [°F]\n14.02.26, 04:50;\"5,1\"\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, asked bool) {
		o := Options{Zone: plusThree}
		if asked {
			o.Order, o.Unit = DayMonth, "C"
		}
		file, err := Parse(data, o)
		if err != nil {
			return
		}
		for _, s := range file.Series {
			for i := 1; i < len(s.Readings); i++ {
				if s.Readings[i].At <= s.Readings[i-1].At {
					t.Fatalf("%s: reading %d", s.Sensor, i)
				}
			}
		}
	})
}
