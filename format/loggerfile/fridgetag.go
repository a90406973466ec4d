package loggerfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The text report of Berlinger's Fridge-tags: lines of "key: value", several with
// commas between, in sections that are indented by one blank for each level.
//
//	Device: Q-tag Fridge-tag 2
//	Conf:
//	 Serial: …
//	 Temp unit: C
//	 Alarm:
//	  0:
//	   T AL: -0.5, t AL: 60        limit in °C, minutes a day; 0 is below, 1 above
//	Hist:
//	 TS Report Creation: 2026-02-14 06:05
//	 1:                            the day of the report, 2 the one before …
//	  Date: 2026-02-14
//	  Min T: +18.0, TS Min T: 00:00
//	  Alarm:
//	   1:
//	    t Acc: 366, TS A: 00:00    minutes beyond, when it was raised
//	Data:                          of those that log
//		2026-02-14 04:44	26.3	x
//	Sig: …
//
// Times are those of the logger's clock, whose zone is nowhere in the file. The
// signature is by a key of the maker's over bytes that are not published, so it is
// told that it was not checked.
const maxDays = 1000

func parseFridgeTag(text string, o *Options) (*File, error) {
	if o.Zone == nil {
		return nil, fmt.Errorf("the report does not say where its clock was set: %w", ErrZone)
	}
	f := &File{Kind: "fridge-tag", Maker: "Berlinger", Zone: o.Zone.String()}
	log := Series{Sensor: "1", Quantity: Temperature}
	var path [5]string
	days := map[string]*Day{}
	// Times of a day come before or after its date, so days are read in two passes.
	type stamped struct{ date, min, max, minAt, maxAt string }
	stamps := map[string]*stamped{}
	lines := map[string]int{}
	unit := "C"

	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if strings.TrimSpace(line) == "" {
			continue
		}
		if strings.HasPrefix(line, "\t") && path[0] == "Data" {
			if len(log.Readings) == maxReadings {
				return nil, fmt.Errorf("%d readings: %w", maxReadings, ErrTooLarge)
			}
			f.logged(&log, strings.Split(strings.TrimRight(line[1:], "\r"), "\t"), o.Zone, number)
			continue
		}
		level := len(line) - len(strings.TrimLeft(line, " "))
		if level >= len(path) {
			f.find(number, "", ErrRow)
			continue
		}
		for entry := range strings.SplitSeq(strings.TrimSpace(line), ", ") {
			key, value, found := strings.Cut(entry, ":")
			if !found {
				f.find(number, "", ErrRow)
				continue
			}
			value = strings.TrimSpace(value)
			if value == "" {
				path[level] = key
				clear(path[level+1:])
				continue
			}
			at := append(slices.Clone(path[:level]), key)
			switch {
			case level == 0:
				f.head(key, value, number)
			case path[0] == "Conf" && level == 1 && key == "Serial":
				f.Serial = clip(value)
			case path[0] == "Conf" && level == 1 && key == "Temp unit":
				unit = value
			case path[0] == "Conf" && level == 1 && key == "Logging Interval":
				if n, err := strconv.Atoi(value); err == nil && n > 0 && n <= 1440 {
					log.Interval = int64(n) * 60
				}
			case path[0] == "Conf" && level == 3 && path[1] == "Alarm":
				f.limit(path[2], key, value, number)
			case path[0] == "Hist" && level == 1 && key == "TS Report Creation":
				if t, ok := isoTime(value); ok {
					f.Created = f.local(o.Zone, t, 0, number)
				} else {
					f.find(number, key, ErrTime)
				}
			case path[0] == "Hist" && level >= 2:
				d, s := days[path[1]], stamps[path[1]]
				if d == nil {
					if len(days) == maxDays {
						return nil, fmt.Errorf("%d days: %w", maxDays, ErrTooLarge)
					}
					d, s = new(Day), new(stamped)
					days[path[1]], stamps[path[1]], lines[path[1]] = d, s, number
				}
				switch where := strings.Join(at[2:], "/"); where {
				case "Date":
					s.date = value
				case "Min T":
					s.min = value
				case "Max T":
					s.max = value
				case "TS Min T":
					s.minAt = value
				case "TS Max T":
					s.maxAt = value
				case "Avrg T":
					if n, err := thousandths(value, false); err == nil {
						d.Mean = &n
					} else if value != missing {
						f.find(number, key, ErrValue)
					}
				case "Int Sensor timeout/t AccST":
					d.SensorOff = f.minutes(value, number, key)
				case "Checked/TS AM", "Checked/TS PM":
					if t, ok := clock(s.date, value); ok {
						d.Checked = append(d.Checked, f.local(o.Zone, t, 0, number))
					} else if value != missing {
						f.find(number, key, ErrTime)
					}
				default:
					f.dayAlarm(d, s.date, at[2:], value, o.Zone, number)
				}
			}
		}
	}
	if unit != "C" {
		return nil, fmt.Errorf("the report is in °%.4q: %w", unit, ErrUnit)
	}
	for _, name := range slices.SortedFunc(maps.Keys(stamps), func(a, b string) int { return lines[a] - lines[b] }) {
		s, d, line := stamps[name], days[name], lines[name]
		if _, err := time.Parse(time.DateOnly, s.date); err != nil {
			f.find(line, "Date", ErrTime)
			continue
		}
		d.Date = s.date
		d.Min, d.Max = f.extreme(s.date, s.min, s.minAt, o.Zone, line, "Min T"), f.extreme(s.date, s.max, s.maxAt, o.Zone, line, "Max T")
		f.Days = append(f.Days, *d)
	}
	slices.SortFunc(f.Days, func(a, b Day) int { return strings.Compare(a.Date, b.Date) })
	slices.SortFunc(f.Rules, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
	if f.Serial == "" || len(f.Days) == 0 && len(log.Readings) == 0 {
		return nil, fmt.Errorf("a report without a serial number, or without a day: %w", ErrUnknown)
	}
	if len(log.Readings) > 0 {
		if log.Interval == 0 {
			log.Interval = interval(log.Readings)
		}
		f.Series = append(f.Series, log)
	}
	return f, nil
}

// missing stands where there is no value.
const missing = "---"

func (f *File) head(key, value string, line int) {
	switch key {
	case "Device":
		f.Model = clip(value)
	case "Fw Vers":
		f.Firmware = clip(value)
	case "Sig":
		f.find(line, key, ErrSigned)
	}
}

func (f *File) rule(id string) *Rule {
	for i := range f.Rules {
		if f.Rules[i].ID == id {
			return &f.Rules[i]
		}
	}
	if len(f.Rules) == 16 {
		return new(Rule)
	}
	f.Rules = append(f.Rules, Rule{ID: id, Below: id == "0"})
	return &f.Rules[len(f.Rules)-1]
}

func (f *File) limit(id, key, value string, line int) {
	switch key {
	case "T AL":
		n, err := thousandths(value, false)
		if err != nil {
			f.find(line, key, ErrValue)
			return
		}
		f.rule(clip(id)).Limit = n
	case "t AL":
		f.rule(clip(id)).For = f.minutes(value, line, key)
	}
}

func (f *File) minutes(value string, line int, key string) int64 {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 1<<20 {
		f.find(line, key, ErrValue)
		return 0
	}
	return int64(n) * 60
}

// dayAlarm takes what stands below Alarm/0 and Alarm/1 of a day.
func (f *File) dayAlarm(d *Day, date string, at []string, value string, zone *time.Location, line int) {
	if len(at) != 3 || at[0] != "Alarm" {
		return
	}
	i := slices.IndexFunc(d.Alarms, func(a Alarm) bool { return a.Rule == at[1] })
	if i < 0 {
		if len(d.Alarms) == 16 {
			return
		}
		i = len(d.Alarms)
		d.Alarms = append(d.Alarms, Alarm{Rule: clip(at[1])})
	}
	switch at[2] {
	case "t Acc":
		d.Alarms[i].Total = f.minutes(value, line, at[2])
	case "TS A":
		if t, ok := clock(date, value); ok {
			d.Alarms[i].At = f.local(zone, t, 0, line)
		} else {
			f.find(line, at[2], ErrTime)
		}
	}
}

func (f *File) extreme(date, value, at string, zone *time.Location, line int, key string) *Reading {
	if value == "" || value == missing {
		return nil
	}
	n, err := thousandths(value, false)
	t, ok := clock(date, at)
	if err != nil || !ok {
		f.find(line, key, ErrValue)
		return nil
	}
	return &Reading{f.local(zone, t, 0, line), n}
}

// logged takes a row of the Data section: time, value, and x where it is beyond a
// limit. The first row names the columns.
func (f *File) logged(s *Series, cells []string, zone *time.Location, line int) {
	if len(cells) < 2 || strings.HasPrefix(cells[0], "yyyy") {
		return
	}
	t, ok := isoTime(cells[0])
	if !ok {
		f.find(line, "", ErrTime)
		return
	}
	if cells[1] == missing {
		return
	}
	n, err := thousandths(cells[1], false)
	if err != nil {
		f.find(line, "", ErrValue)
		return
	}
	after := int64(0)
	if n := len(s.Readings); n > 0 {
		after = s.Readings[n-1].At
	}
	f.add(s, Reading{f.local(zone, t, after, line), n}, line)
}

// isoTime reads YYYY-MM-DD hh:mm with or without seconds.
func isoTime(s string) (wall, bool) {
	for _, layout := range []string{"2006-01-02 15:04", time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			w := wall{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second()}
			return w, w.valid()
		}
	}
	return wall{}, false
}

// clock reads hh:mm of a day.
func clock(date, s string) (wall, bool) { return isoTime(date + " " + s) }
