// Package loggerfile reads the files of loggers that have no radio and are read out
// by USB or by a program of their maker: text reports of Fridge-tags, exports of
// LogTags, and tables of others (CSV).
//
// None of these formats says in which time zone its times are, and few say in which
// order day and month stand. What a file does not tell is asked for, by an error that
// names it, and never guessed: an hour of heat in the wrong night is worse than none.
package loggerfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"ampoule/format"
)

// The kinds of defect. Of the first group the caller can answer what is asked, in
// [Options].
const (
	ErrZone     format.Defect = "which-time-zone"
	ErrOrder    format.Defect = "which-date-order"
	ErrUnit     format.Defect = "which-unit"
	ErrColumns  format.Defect = "which-columns"
	ErrDecimals format.Defect = "which-decimal-mark"

	ErrUnknown  format.Defect = "unknown-logger-file"
	ErrTooLarge format.Defect = "too-large"
	ErrTime     format.Defect = "bad-time"
	ErrValue    format.Defect = "bad-value"
	ErrRow      format.Defect = "bad-row"
	ErrTwice    format.Defect = "time-twice"       // the same time again: the first counts
	ErrClock    format.Defect = "time-goes-back"   // the clock was set, or rows were moved
	ErrDST      format.Defect = "local-time-twice" // in the hour that clocks go through twice
	ErrGone     format.Defect = "no-such-local-time"
	ErrSigned   format.Defect = "signature-not-checked"
)

// Bounds.
const (
	MaxBytes    = 32 << 20
	maxReadings = 2_000_000
	maxFindings = 1000
	maxText     = 200
)

// Order is in which order a date is written.
type Order string

// The orders, besides that with the year first, which is told by its form.
const (
	DayMonth Order = "day-month"
	MonthDay Order = "month-day"
)

// Options answer what a file may leave open.
type Options struct {
	Zone  *time.Location // of the logger's clock
	Order Order
	Unit  string // "C" or "F"
	// Time, Temperature and Humidity are names of columns of a table whose own are not
	// known here.
	Time, Temperature, Humidity string
}

// The quantities of series.
const (
	Temperature = "temperature" // thousandths of a degree Celsius
	Humidity    = "humidity"    // thousandths of a percent, relative
)

// Reading is one value.
type Reading struct {
	At    int64 // seconds since 1970
	Value int32
}

// Series are readings of one sensor, in the order of their times.
type Series struct {
	Sensor   string
	Quantity string
	Interval int64 // seconds, as stated or as most are; 0: not known
	Readings []Reading
}

// Day is what a logger kept of a day, by its own clock.
type Day struct {
	Date      string // YYYY-MM-DD
	Min, Max  *Reading
	Mean      *int32
	Alarms    []Alarm
	Checked   []int64 // when somebody looked at the logger
	SensorOff int64   // seconds without a sensor
}

// Alarm is what a logger counted against one of its limits in a day.
type Alarm struct {
	Rule  string // of Rules
	Total int64  // seconds beyond the limit
	At    int64  // when it was raised; 0: it was not
}

// Rule is a limit of the logger.
type Rule struct {
	ID    string
	Below bool
	Limit int32 // thousandths of a degree Celsius
	For   int64 // seconds
}

// File is what a file says.
type File struct {
	Kind     string // fridge-tag, logtag, table
	Maker    string
	Model    string
	Serial   string
	Firmware string
	Name     string // that somebody gave it
	Zone     string // in which its times were read; "": they have their own
	Created  int64  // when the file was made; 0: it does not say
	Rules    []Rule
	Days     []Day
	Series   []Series
	Findings []format.Finding
	More     int // findings beyond those that are listed
}

// Parse reads a file of any of the kinds.
func Parse(data []byte, o Options) (*File, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("logger file: %d bytes: %w", len(data), ErrTooLarge)
	}
	text := decode(data)
	f, err := (*File)(nil), error(nil)
	if first, _, _ := strings.Cut(text, "\n"); strings.HasPrefix(first, "Device:") {
		f, err = parseFridgeTag(text, &o)
	} else {
		f, err = parseTable(text, &o)
	}
	if err != nil {
		return nil, fmt.Errorf("logger file: %w", err)
	}
	return f, nil
}

// decode brings a text to UTF-8: from UTF-16 with a mark, as some programs export, or
// from Latin-1, in which the sign of degrees is no UTF-8.
func decode(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte{0xef, 0xbb, 0xbf}):
		data = data[3:]
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		order := binary.ByteOrder(binary.LittleEndian)
		if data[0] == 0xfe {
			order = binary.BigEndian
		}
		units := make([]uint16, 0, len(data)/2)
		for i := 2; i+1 < len(data); i += 2 {
			units = append(units, order.Uint16(data[i:]))
		}
		return strings.ReplaceAll(string(utf16.Decode(units)), "\r\n", "\n")
	}
	if !utf8.Valid(data) {
		runes := make([]rune, len(data))
		for i, b := range data {
			runes[i] = rune(b)
		}
		return strings.ReplaceAll(string(runes), "\r\n", "\n")
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

func (f *File) find(line int, what string, reason format.Defect) {
	if len(f.Findings) == maxFindings {
		f.More++
		return
	}
	path := fmt.Sprintf("line %d", line)
	if what != "" {
		path += ", " + what
	}
	f.Findings = append(f.Findings, format.Finding{Path: path, Reason: reason})
}

// local finds the second of a local time: the first that is after another one. Twice a
// year there are two, or none.
func (f *File) local(zone *time.Location, t wall, after int64, line int) int64 {
	first := time.Date(t.year, time.Month(t.month), t.day, t.hour, t.minute, t.second, 0, zone)
	if first.Hour() != t.hour || first.Minute() != t.minute {
		f.find(line, "", ErrGone)
		return first.Unix()
	}
	for _, shift := range []time.Duration{-time.Hour, -30 * time.Minute, 30 * time.Minute, time.Hour} {
		other := first.Add(shift)
		if other.Hour() != t.hour || other.Minute() != t.minute {
			continue
		}
		f.find(line, "", ErrDST)
		early, late := min(first.Unix(), other.Unix()), max(first.Unix(), other.Unix())
		if early > after {
			return early
		}
		return late
	}
	return first.Unix()
}

// wall is a time as a clock on a wall shows it.
type wall struct{ year, month, day, hour, minute, second int }

func (w wall) valid() bool {
	if w.year < 1990 || w.year > 2199 || w.month < 1 || w.month > 12 || w.day < 1 || w.hour > 23 || w.minute > 59 || w.second > 59 {
		return false
	}
	return time.Date(w.year, time.Month(w.month), w.day, 0, 0, 0, 0, time.UTC).Day() == w.day
}

// add puts a reading at the end of a series; times that do not go on are told.
func (f *File) add(s *Series, r Reading, line int) {
	if n := len(s.Readings); n > 0 && r.At <= s.Readings[n-1].At {
		if r.At == s.Readings[n-1].At {
			f.find(line, s.Sensor, ErrTwice)
		} else {
			f.find(line, s.Sensor, ErrClock)
		}
		return
	}
	s.Readings = append(s.Readings, r)
}

// interval is the distance that most readings have to the next.
func interval(readings []Reading) int64 {
	count := map[int64]int{}
	best := int64(0)
	for i := 1; i < len(readings); i++ {
		d := readings[i].At - readings[i-1].At
		if count[d]++; count[d] > count[best] || count[d] == count[best] && d < best {
			best = d
		}
	}
	return best
}

// thousandths reads a number with a decimal point or comma; °F becomes °C.
func thousandths(s string, fahrenheit bool) (int32, error) {
	s = strings.TrimSpace(strings.ReplaceAll(s, "\u2212", "-")) // the sign of minus
	if strings.Count(s, ",")+strings.Count(s, ".") > 1 || len(s) > 20 || strings.ContainsAny(s, "eExXpPiInN_") {
		return 0, ErrValue
	}
	v, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64)
	if err != nil {
		return 0, ErrValue
	}
	if fahrenheit {
		v = (v - 32) * 5 / 9
	}
	// The bounds of coldchain.Celsius, which humidity does not reach.
	if v = math.Round(v * 1000); v < -273_150 || v > 1_000_000 {
		return 0, ErrValue
	}
	return int32(v), nil
}

func clip(s string) string {
	s = strings.TrimSpace(s)
	for len(s) > maxText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}
