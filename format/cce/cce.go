// Package cce reads what suppliers of cold chain equipment push to countries: the
// transmissions of WHO PQS E006/DS01 in the form of the schema cce-interop 0.8, in
// JSON.
//
// A transmission may break rules and be of use all the same: what can be read is
// given back, and each rule that it breaks is a finding, for the report that the
// supplier gets. Nothing is corrected, and what is missing stays missing.
package cce

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// MaxTransmission bounds a transmission, in bytes. The megabyte of DS01.3 clause 5.1.6
// counts what is sent; of what comes out of gzip nothing is said.
const MaxTransmission = 8 << 20

// The bounds of what is in one.
const (
	maxReports  = 1000
	maxFindings = 1000
)

// The kinds of defect.
const (
	ErrSize = format.Defect("transmission-too-large")
	ErrForm = format.Defect("no-transmission")
)

// The kinds of finding that are this format's own.
const (
	ReasonSupply  = format.Defect("supply-of-mains-or-sun")  // SVA, or DCSV and DCCD, and not both
	ReasonNoError = format.Defect("no-reading-and-no-error") // TVC is null without LERR
	ReasonTwice   = format.Defect("said-twice")              // a version of the report and of its records
	ReasonSensor  = format.Defect("no-such-sensor")
	ReasonNothing = format.Defect("nothing-measured")
	ReasonOrder   = format.Defect("not-in-order") // of time, or one time twice
)

// The types of transmissions.
const (
	EMS = "ems" // equipment monitoring systems, prequalified
	RTM = "rtm" // remote temperature monitoring
)

// Transmission is one push.
type Transmission struct {
	Schema  string    // version of the schema
	Type    string    // EMS or RTM
	ID      string    // of the transmission; the same again is a repetition
	Source  string    // who sends
	At      time.Time // when it was sent; zero: not readable
	Reports []Report
}

// Report is what one device tells.
type Report struct {
	Text    map[string]string // data objects that are text, by their codes: ASER, LSER, CID …
	Where   *Place
	Sensors map[string]Sensor // of RTM, by what they measure: TVC, TFRZ, TAMB, IDRV
	Records []Record
}

// Place is where a device was.
type Place struct {
	Latitude, Longitude float64  // degrees
	Accuracy            *float64 // metres
}

// Sensor is one sensor of a device of RTM.
type Sensor struct{ ID, Maker, Model, Made string }

// Record is what was measured in one interval, of 15 minutes as a rule.
type Record struct {
	At      time.Time          // end of the interval, ABST
	Numbers map[string]float64 // data objects that are numbers, by their codes: TVC, TAMB, CMPR …; null is not in it
	Text    map[string]string  // ALRM, EERR, LERR …; null is not in it
	Main    *bool              // MSW: switched on
}

// Number returns a number of a record.
func (r *Record) Number(code string) (float64, bool) {
	n, ok := r.Numbers[code]
	return n, ok
}

// checker collects findings while a transmission is read.
type checker struct{ findings []format.Finding }

func (c *checker) find(path string, reason format.Defect) {
	if len(c.findings) < maxFindings { // the supplier has enough to do with these
		c.findings = append(c.findings, format.Finding{Path: path, Reason: reason})
	}
}

// Parse reads a transmission. The error says that it is none, or that it cannot be
// read at all; findings say which rules it breaks.
func Parse(data []byte) (*Transmission, []format.Finding, error) {
	if len(data) > MaxTransmission {
		return nil, nil, fmt.Errorf("cce: %d bytes: %w", len(data), ErrSize)
	}
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxTransmission, Depth: 8})
	if err != nil {
		return nil, nil, fmt.Errorf("cce: %w", err)
	}
	meta, reports := v.Get("meta"), v.Get("data")
	if v.Kind() != strictjson.Object || meta.Kind() != strictjson.Object || reports.Kind() != strictjson.Array {
		return nil, nil, fmt.Errorf("cce: no meta or no data: %w", ErrForm)
	}
	if reports.Len() > maxReports {
		return nil, nil, fmt.Errorf("cce: %d reports: %w", reports.Len(), ErrSize)
	}
	var c checker
	t := c.meta(meta)
	if reports.Len() == 0 {
		c.find("data", format.RequiredMissing)
	}
	i := 0
	for item := range reports.All() {
		path := "data[" + strconv.Itoa(i) + "]"
		i++
		if item.Kind() != strictjson.Object {
			c.find(path, format.BadType)
			continue
		}
		t.Reports = append(t.Reports, c.report(t.Type, path, item))
	}
	return t, c.findings, nil
}

var (
	sentAt     = regexp.MustCompile(`^2[0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]+)?Z$`)
	measuredAt = regexp.MustCompile(`^2[0-9]{7}T[0-2][0-9]{5}(\.[0-9]+)?Z$`)
)

func (c *checker) meta(v strictjson.Value) *Transmission {
	t := new(Transmission)
	field := func(name string) (s string, ok bool) {
		m := v.Get(name)
		s, ok = m.Text()
		switch {
		case !m.Exists():
			c.find("meta."+name, format.RequiredMissing)
		case !ok:
			c.find("meta."+name, format.BadType)
		}
		return s, ok
	}
	t.Schema, _ = field("schemaVersion")
	t.ID, _ = field("transferId")
	t.Source, _ = field("transferSrc")
	var ok bool
	if t.Type, ok = field("transferType"); ok && t.Type != EMS && t.Type != RTM {
		c.find("meta.transferType", format.BadValue)
	}
	if at, ok := field("transferredAt"); ok {
		var err error
		if t.At, err = time.Parse(time.RFC3339Nano, at); err != nil || !sentAt.MatchString(at) {
			c.find("meta.transferredAt", format.BadDate)
		}
	}
	return t
}

// need finds what is not there.
func (c *checker) need(path string, v strictjson.Value, codes []string) {
	for _, code := range codes {
		if !v.Get(code).Exists() {
			c.find(path+"."+code, format.RequiredMissing)
		}
	}
}

// take reads one data object of the table, and tells what is wrong with it.
func (c *checker) take(path string, v strictjson.Value, o object, toText map[string]string, toNumbers map[string]float64) (b *bool) {
	path += "." + v.Name()
	if v.Kind() == strictjson.Null {
		if o.required {
			c.find(path, format.BadType)
		}
		return nil
	}
	switch o.kind {
	case text:
		s, ok := v.Text()
		if !ok {
			c.find(path, format.BadType)
			return nil
		}
		toText[v.Name()] = s
	case boolean:
		val, ok := v.Any().(bool)
		if !ok {
			c.find(path, format.BadType)
			return nil
		}
		return &val
	case number:
		n, ok := v.Number()
		if !ok {
			c.find(path, format.BadType)
			return nil
		}
		f, err := strconv.ParseFloat(string(n), 64)
		if err != nil || f < o.from || f > o.to {
			// It is kept out: a fridge at 6,000 degrees is a fault of the sensor.
			c.find(path, format.BadValue)
			return nil
		}
		if toNumbers != nil {
			toNumbers[v.Name()] = f
		}
	}
	return nil
}

func (c *checker) report(kind, path string, v strictjson.Value) Report {
	r := Report{Text: map[string]string{}}
	must, record := emsReport, emsRecord
	if kind != EMS {
		must, record = rtmdReport, rtmdRecord
	}
	c.need(path, v, must)
	numbers := map[string]float64{}
	for member := range v.All() {
		name := member.Name()
		switch o, known := objects[name]; {
		case name == "records":
		case name == "DLST" && kind != EMS:
			r.Sensors = c.sensors(path+".DLST", member)
		case known && !slices.Contains(perRecord, name):
			c.take(path, member, o, r.Text, numbers)
		}
	}
	latitude, north := numbers["LAT"]
	longitude, east := numbers["LNG"]
	if north && east {
		r.Where = &Place{Latitude: latitude, Longitude: longitude}
		if a, ok := numbers["LACC"]; ok {
			r.Where.Accuracy = &a
		}
	}
	records := v.Get("records")
	switch {
	case !records.Exists():
		c.find(path+".records", format.RequiredMissing)
	case records.Kind() != strictjson.Array:
		c.find(path+".records", format.BadType)
		return r
	case records.Len() == 0:
		c.find(path+".records", format.RequiredMissing)
	}
	// The versions stand in the report, or in each of its records.
	versions := []string{"EMSV"}
	if kind == EMS {
		versions = append(versions, "LSV")
	}
	for _, version := range versions {
		each := records.Len() > 0
		for item := range records.All() {
			each = each && item.Get(version).Exists()
		}
		switch here := v.Get(version).Exists(); {
		case here && each:
			c.find(path+"."+version, ReasonTwice)
		case !here && !each:
			c.find(path+"."+version, format.RequiredMissing)
		}
	}
	i := 0
	var last time.Time
	for item := range records.All() {
		at := path + ".records[" + strconv.Itoa(i) + "]"
		i++
		if item.Kind() != strictjson.Object {
			c.find(at, format.BadType)
			continue
		}
		c.need(at, item, record)
		if x, ok := c.record(kind, at, item); ok {
			if !x.At.After(last) {
				c.find(at+".ABST", ReasonOrder)
			}
			last = x.At
			r.Records = append(r.Records, x)
		}
	}
	return r
}

// perRecord are data objects that mean something in a record only.
var perRecord = []string{"ABST", "ALRM", "EERR", "LERR", "TVC", "TFRZ", "TAMB", "TCON", "TCON2", "TPCB", "TPCB2", "HAMB", "HCOM", "CMPR", "CMPR2", "DORF", "DORV", "DRCF", "DRCV",
	"SVA", "CMPS", "CMPS2", "FANS", "ACCD", "ACSV", "DCCD", "DCSV", "BEMD", "BLOG", "HOLD", "IDRF", "IDRV", "MSW"}

// sensors reads the list of a device's sensors.
func (c *checker) sensors(path string, v strictjson.Value) map[string]Sensor {
	if v.Kind() != strictjson.Object {
		c.find(path, format.BadType)
		return nil
	}
	if !v.Get("TVC").Exists() {
		c.find(path+".TVC", format.RequiredMissing)
	}
	all := map[string]Sensor{}
	for s := range v.All() {
		at := path + "." + s.Name()
		if !slices.Contains(sensors, s.Name()) {
			c.find(at, ReasonSensor)
			continue
		}
		if s.Kind() != strictjson.Object {
			c.find(at, format.BadType)
			continue
		}
		c.need(at, s, []string{"SID", "SMFR", "SMOD"})
		var sensor Sensor
		for f := range s.All() {
			to := map[string]*string{"SID": &sensor.ID, "SMFR": &sensor.Maker, "SMOD": &sensor.Model, "SDOP": &sensor.Made}[f.Name()]
			value, ok := f.Text()
			switch {
			case to == nil:
				c.find(at+"."+f.Name(), format.BadValue)
			case !ok:
				c.find(at+"."+f.Name(), format.BadType)
			default:
				*to = value
			}
		}
		all[s.Name()] = sensor
	}
	return all
}

// record reads one record. Without a time it is of no use.
func (c *checker) record(kind, path string, v strictjson.Value) (r Record, ok bool) {
	r = Record{Numbers: map[string]float64{}, Text: map[string]string{}}
	for member := range v.All() {
		o, known := objects[member.Name()]
		if !known {
			continue
		}
		if b := c.take(path, member, o, r.Text, r.Numbers); b != nil {
			r.Main = b
		}
	}
	if kind == EMS {
		tvc, sva := v.Get("TVC"), v.Get("SVA").Exists()
		sun := v.Get("DCSV").Exists() && v.Get("DCCD").Exists()
		if sva == sun {
			c.find(path+".SVA", ReasonSupply)
		}
		switch {
		case !tvc.Exists():
			c.find(path+".TVC", format.RequiredMissing)
		case tvc.Kind() == strictjson.Null && r.Text["LERR"] == "":
			c.find(path+".TVC", ReasonNoError)
		}
	} else if !v.Get("TVC").Exists() && !v.Get("TFRZ").Exists() && !v.Get("TAMB").Exists() {
		c.find(path+".TVC", ReasonNothing)
	}
	stamp, there := r.Text["ABST"]
	if !there {
		return r, false
	}
	delete(r.Text, "ABST")
	at, err := time.Parse("20060102T150405.999999999Z", stamp)
	if err != nil || !measuredAt.MatchString(stamp) {
		c.find(path+".ABST", format.BadDate)
		return r, false
	}
	r.At = at
	return r, true
}
