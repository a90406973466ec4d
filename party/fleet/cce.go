package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"ampoule/cert"
	"ampoule/device"
	"ampoule/format"
	"ampoule/format/cce"
)

// MediaCCE is the type of a transmission of DS01.
const MediaCCE = "application/json"

// ErrNoName is what is no delivery of a device that could be told: its name is missing
// or is none.
const ErrNoName format.Defect = "no-device-named"

// measure is what a data object of DS01 becomes.
type measure struct {
	quantity device.Quantity
	by       float64 // the whole number is the data object times this
}

// measures are the data objects that are kept as readings. Temperatures of compressors
// and circuit boards, currents and fans say nothing of the vaccine, and stay in what was
// sent.
var measures = map[string]measure{
	"TVC": {device.Temperature, 1000}, "TFRZ": {device.Temperature, 1000}, "TAMB": {device.Ambient, 1000},
	"HAMB": {device.Humidity, 1000},
	"CMPR": {device.Compressor, 1}, "CMPR2": {device.Compressor, 1},
	"DORV": {device.Door, 1}, "DORF": {device.Door, 1},
	"SVA":  {device.Supply, 1},
	"HOLD": {device.Holdover, 1000},
	"BLOG": {device.Battery, 1000}, "BEMD": {device.Battery, 1000},
}

// interval is how long the records of an EMS are, in seconds (DS01: 15 minutes).
const interval = 15 * 60

// FromCCE reads a transmission of DS01. Rules that it breaks are findings of the
// delivery; the error says that it cannot be read. The transmission stands beside, for
// those who keep an eye on the supplier.
func FromCCE(source Source, body []byte) (*Delivery, *cce.Transmission, error) {
	t, findings, err := cce.Parse(body)
	if err != nil {
		return nil, nil, err
	}
	d := &Delivery{Source: source, Raw: body, Media: MediaCCE, Sent: t.At, Findings: findings}
	// DS01 clause 5: whoever sends again does so under the transferId of the first time.
	if t.ID != "" {
		d.Key = "cce " + t.Source + " " + t.ID
	}
	all := newStreams()
	for i := range t.Reports {
		r := &t.Reports[i]
		path := fmt.Sprintf("data[%d]", i)
		described, ok := describe(t, r)
		if !ok {
			d.Findings = append(d.Findings, format.Finding{Path: path, Reason: ErrNoName})
			continue
		}
		d.Describes = append(d.Describes, described)
		for j := range r.Records {
			d.Findings = append(d.Findings, all.record(described.Device, fmt.Sprintf("%s.records[%d]", path, j), &r.Records[j])...)
			for _, code := range []string{"ALRM", "EERR", "LERR"} {
				if text := r.Records[j].Text[code]; text != "" {
					d.Notes = append(d.Notes, Note{described.Device, r.Records[j].At.Unix(), code, text})
				}
			}
		}
	}
	stated := int64(0)
	if t.Type == cce.EMS {
		stated = interval
	}
	d.Series = all.series(stated)
	return d, t, nil
}

// describe tells which device a report is of: of EMS the logger, of RTM the monitoring
// device, else the other, else the appliance itself, which then is its own monitor.
func describe(t *cce.Transmission, r *cce.Report) (Description, bool) {
	first, second := [2]string{"LMFR", "LSER"}, [2]string{"EMFR", "ESER"}
	if t.Type != cce.EMS {
		first, second = second, first
	}
	d := Description{Equipment: Equipped{r.Text["AMFR"], r.Text["AMOD"], r.Text["APQS"], r.Text["ASER"]}}
	var names []device.Name
	for _, pair := range [][2]string{first, second, {"AMFR", "ASER"}} {
		maker, serial := r.Text[pair[0]], r.Text[pair[1]]
		// The appliance's serial number is a name of its monitor where that has no other.
		if maker == "" || serial == "" || pair[0] == "AMFR" && len(names) > 0 {
			continue
		}
		n, err := device.NewName(device.Serial, strings.TrimSpace(maker)+"/"+strings.TrimSpace(serial))
		if err != nil {
			continue
		}
		if len(names) == 0 {
			part := pair[0][:1]
			d.Maker, d.Model, d.PQS = maker, r.Text[part+"MOD"], r.Text[part+"PQS"]
		}
		names = append(names, n)
	}
	// An identifier with GS1's own mark is a GIAI; any other is the sender's.
	for _, code := range []string{"LID", "EID"} {
		id := r.Text[code]
		giai, marked := strings.CutPrefix(id, "(8004)")
		n, err := device.NewName(device.GIAI, giai)
		if !marked {
			n, err = device.NewName(device.Local, t.Source+"/"+id)
		}
		if id != "" && err == nil {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return Description{}, false
	}
	d.Device, d.Others = names[0], names[1:]
	d.Country = country(r.Text["CID"])
	if r.Where != nil {
		d.Latitude, d.Longitude = &r.Where.Latitude, &r.Where.Longitude
	}
	return d, true
}

// streams collects readings by stream, in the order in which the streams come.
type streams struct {
	at  map[streamKey]int
	all []Series
}

type streamKey struct {
	device device.Name
	sensor string
}

func newStreams() *streams { return &streams{at: map[streamKey]int{}} }

// add takes a reading, or tells that its value is out of all bounds.
func (s *streams) add(of device.Name, sensor string, q device.Quantity, at int64, value float64) bool {
	value = math.Round(value)
	if math.IsNaN(value) || value < math.MinInt32 || value > math.MaxInt32 {
		return false
	}
	key := streamKey{of, sensor}
	i, there := s.at[key]
	if !there {
		i = len(s.all)
		s.at[key] = i
		s.all = append(s.all, Series{Device: of, Sensor: sensor, Quantity: q})
	}
	if s.all[i].Quantity != q {
		return false
	}
	s.all[i].Readings = append(s.all[i].Readings, device.Reading{At: at, Value: int32(value)})
	return true
}

// record takes the readings of a record of DS01.
func (s *streams) record(of device.Name, path string, r *cce.Record) (findings []format.Finding) {
	for _, code := range slices.Sorted(maps.Keys(r.Numbers)) {
		m, kept := measures[code]
		value := r.Numbers[code] * m.by
		switch {
		case kept:
		case code == "DCSV":
			// What the sun drives has no seconds of supply, but a mean voltage: with any, there
			// was supply.
			if m.quantity = device.Supply; r.Numbers[code] > 0 {
				value = interval
			}
		default:
			continue
		}
		if !s.add(of, code, m.quantity, r.At.Unix(), value) {
			findings = append(findings, format.Finding{Path: path + "." + code, Reason: format.BadValue})
		}
	}
	return findings
}

// series returns what came together, each in the order of its times and each reading
// once. stated is the interval where the sender's format has one, or 0.
func (s *streams) series(stated int64) []Series {
	for i := range s.all {
		one := &s.all[i]
		slices.SortStableFunc(one.Readings, func(a, b device.Reading) int { return cmp.Compare(a.At, b.At) })
		one.Readings = slices.Compact(one.Readings)
		one.Interval = between(one.Readings, stated)
	}
	return s.all
}

// between returns the seconds between readings: those that come most often, the fewer of
// two that come as often.
func between(readings []device.Reading, stated int64) int64 {
	often := map[int64]int{}
	best := stated
	for i := 1; i < len(readings); i++ {
		gap := readings[i].At - readings[i-1].At
		if gap <= 0 {
			continue
		}
		often[gap]++
		if n := often[gap]; n > often[best] || n == often[best] && gap < best {
			best = gap
		}
	}
	return best
}

// country turns a code of ISO 3166-1 into that of two letters, or nothing.
func country(code string) string {
	if two, ok := cert.Alpha2(code); ok {
		return two
	}
	if _, ok := cert.CountryName(code); ok {
		return code
	}
	return ""
}
