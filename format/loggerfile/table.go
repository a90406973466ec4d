package loggerfile

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The names of columns, in the languages in which programs of loggers export. A column
// is known by the whole of its name, or by its beginning before a number or a bracket.
var (
	dateTimeNames = []string{
		"date/time", "date time", "datetime", "date & time", "date and time", "timestamp", "time stamp",
		"date et heure", "date/heure", "date heure", "fecha y hora", "fecha/hora", "fecha hora",
		"data e hora", "data/hora", "data hora", "datum/uhrzeit", "datum/zeit", "datum uhrzeit", "zeitstempel",
		"data e ora", "data/ora", "дата и время", "дата/время", "التاريخ والوقت",
	}
	dateNames        = []string{"date", "fecha", "data", "datum", "дата", "التاريخ"}
	timeNames        = []string{"time", "heure", "hora", "zeit", "uhrzeit", "ora", "время", "الوقت"}
	temperatureNames = []string{"temperature", "temp", "temp.", "t", "température", "temperatura", "temperatur", "температура", "درجة الحرارة"}
	humidityNames    = []string{"humidity", "relative humidity", "rh", "rh%", "%rh", "humidité", "humidité relative", "hr", "humedad", "humedad relativa", "umidade", "humidade", "luftfeuchtigkeit", "luftfeuchte", "feuchte", "umidità", "влажность", "الرطوبة"}

	serialNames   = []string{"serial #", "serial number", "serial no", "serial no.", "serial", "s/n", "sn", "device id", "logger id", "numéro de série", "n° de série", "número de serie", "número de série", "seriennummer", "серийный номер", "الرقم التسلسلي"}
	modelNames    = []string{"model", "product model", "model name", "modèle", "modelo", "modell", "modello", "модель", "الطراز"}
	labelNames    = []string{"description", "user id", "name", "descripción", "descrição", "beschreibung", "описание"}
	intervalNames = []string{"reading interval", "logging interval", "log interval", "sampling interval", "interval", "intervalle", "intervalo", "intervall"}
)

// maxHead is how many lines may stand before the names of the columns.
const maxHead = 200

type column struct {
	at         int
	name       string
	humid      bool
	fahrenheit bool
	unit       bool // it was told
}

// table is where things are in a table.
type table struct {
	separator  rune
	line       int // of the names of the columns, from 0
	when, time int // columns; time -1: when has both
	values     []column
}

// normal is a name of a column without its unit, and the unit.
func normal(cell string) (name, unit string) {
	s := strings.ToLower(strings.Trim(strings.TrimSpace(cell), `"`))
	s = strings.NewReplacer("º", "°", "℃", "°c", "℉", "°f", "deg ", "°", "\u00a0", " ").Replace(s)
	for _, u := range []string{"c", "f"} {
		for _, form := range []string{"(°" + u + ")", "[°" + u + "]", "°" + u, "(" + u + ")", "[" + u + "]"} {
			if strings.Contains(s, form) {
				s, unit = strings.Replace(s, form, " ", 1), strings.ToUpper(u)
				break
			}
		}
		if unit != "" {
			break
		}
	}
	for _, form := range []string{"(%rh)", "[%rh]", "(% rh)", "(%)", "[%]", "()", "[]"} {
		s = strings.Replace(s, form, " ", 1)
	}
	return strings.Join(strings.Fields(strings.TrimRight(s, " :,")), " "), unit
}

// named tells whether a name is one of a list, or one of it with a number after.
func named(name string, list []string) bool {
	bare := strings.TrimRightFunc(name, func(r rune) bool { return unicode.IsDigit(r) || r == '#' || r == '_' || r == ' ' })
	return slices.Contains(list, name) || slices.Contains(list, bare)
}

// head finds the names of the columns in a line.
func head(cells []string, o *Options) (t table, ok bool) {
	t.when, t.time = -1, -1
	alone := -1
	for i, cell := range cells {
		name, unit := normal(cell)
		asked := func(s string) bool {
			return s != "" && strings.EqualFold(strings.TrimSpace(cell), strings.TrimSpace(s))
		}
		switch {
		case asked(o.Temperature), o.Temperature == "" && named(name, temperatureNames):
			t.values = append(t.values, column{at: i, name: clip(cell), fahrenheit: unit == "F", unit: unit != ""})
		case asked(o.Humidity), o.Humidity == "" && named(name, humidityNames):
			t.values = append(t.values, column{at: i, name: clip(cell), humid: true, unit: true})
		case asked(o.Time), o.Time == "" && t.when < 0 && slices.Contains(dateTimeNames, name):
			t.when = i
		case o.Time == "" && t.when < 0 && slices.Contains(dateNames, name):
			t.when = i
		case o.Time == "" && slices.Contains(timeNames, name) && alone < 0:
			alone = i
		}
	}
	if t.when < 0 {
		t.when = alone
	} else if name, _ := normal(cells[t.when]); slices.Contains(dateNames, name) {
		t.time = alone
	}
	return t, t.when >= 0 && len(t.values) > 0
}

// row is a line of a table before its times are understood.
type row struct {
	line      int
	date, day string // as they stand: with the time, or the two apart
	values    []string
}

func parseTable(text string, o *Options) (*File, error) {
	lines := strings.Split(text, "\n")
	t, found := table{}, false
	for i := 0; i < min(len(lines), maxHead) && !found; i++ {
		for _, separator := range "\t;," {
			if here, ok := head(split(lines[i], separator), o); ok {
				here.line, here.separator = i, separator
				t, found = here, true
				break
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("no line names a time and a temperature: %w", ErrColumns)
	}
	f := &File{Kind: "table"}
	told := f.meta(lines[:t.line], t.separator)
	for i := range t.values {
		c := &t.values[i]
		if c.unit {
			continue
		}
		switch unit := cmpOr(o.Unit, told); unit {
		case "C":
		case "F":
			c.fahrenheit = true
		default:
			return nil, fmt.Errorf("column %q: %w", c.name, ErrUnit)
		}
	}
	rows, err := f.rows(lines, &t)
	if err != nil {
		return nil, err
	}
	return f, f.fill(rows, &t, o)
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// split cuts a line at a separator, outside of quotes.
func split(line string, separator rune) []string {
	in := csv.NewReader(strings.NewReader(line))
	in.Comma, in.LazyQuotes, in.FieldsPerRecord = separator, true, -1
	cells, err := in.Read()
	if err != nil {
		return nil
	}
	return cells
}

// meta takes what stands before the table: a key and a value in each line. It returns
// the unit that is told there, where only one is.
func (f *File) meta(lines []string, separator rune) (unit string) {
	celsius, fahrenheit := false, false
	for _, line := range lines {
		cells := split(line, separator)
		if len(cells) < 2 {
			key, value, found := strings.Cut(line, ":")
			if !found {
				continue
			}
			cells = []string{key, value}
		}
		key, _ := normal(cells[0])
		value := clip(strings.Trim(cells[1], `" `))
		_, u := normal(value)
		celsius, fahrenheit = celsius || u == "C", fahrenheit || u == "F"
		if strings.Contains(strings.ToLower(line), "logtag") || key == "serial #" {
			f.Kind, f.Maker = "logtag", "LogTag"
		}
		switch {
		case slices.Contains(serialNames, key):
			f.Serial = value
		case slices.Contains(modelNames, key):
			f.Model = value
		case slices.Contains(labelNames, key):
			f.Name = value
		case slices.Contains(intervalNames, key):
			if n := duration(value); n > 0 {
				f.Series = []Series{{Interval: n}} // until the columns are filled
			}
		}
	}
	switch {
	case celsius && !fahrenheit:
		return "C"
	case fahrenheit && !celsius:
		return "F"
	}
	return ""
}

// duration reads "5 minutes", "30 s" and 00:05:00.
func duration(s string) int64 {
	if t, err := time.Parse(time.TimeOnly, s); err == nil {
		return int64(t.Hour()*3600 + t.Minute()*60 + t.Second())
	}
	number, unit, _ := strings.Cut(strings.TrimSpace(s), " ")
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 {
		return 0
	}
	switch unit = strings.ToLower(unit); {
	case strings.HasPrefix(unit, "s"):
		return n
	case strings.HasPrefix(unit, "m"):
		return n * 60
	case strings.HasPrefix(unit, "h"):
		return n * 3600
	}
	return 0
}

func (f *File) rows(lines []string, t *table) ([]row, error) {
	in := csv.NewReader(strings.NewReader(strings.Join(lines[t.line+1:], "\n")))
	in.Comma, in.LazyQuotes, in.FieldsPerRecord, in.ReuseRecord = t.separator, true, -1, true
	width := len(split(lines[t.line], t.separator))
	var all []row
	wide, cells := 0, 0
	for {
		record, err := in.Read()
		if err == io.EOF {
			break
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			f.find(t.line+1+broken.StartLine, "", ErrRow)
			break
		}
		at, _ := in.FieldPos(0)
		r := row{line: t.line + 1 + at}
		if len(record) > width && strings.TrimSpace(strings.Join(record[width:], "")) != "" {
			wide++
		}
		if len(record) <= t.when || len(record) <= t.time {
			if strings.TrimSpace(strings.Join(record, "")) != "" {
				f.find(r.line, "", ErrRow)
			}
			continue
		}
		r.date = strings.TrimSpace(record[t.when])
		if t.time >= 0 {
			r.day = strings.TrimSpace(record[t.time])
		}
		for _, c := range t.values {
			value := ""
			if c.at < len(record) {
				value = strings.Clone(strings.TrimSpace(record[c.at]))
			}
			r.values = append(r.values, value)
			cells++
		}
		if cells > maxReadings {
			return nil, fmt.Errorf("%d readings: %w", maxReadings, ErrTooLarge)
		}
		r.date, r.day = strings.Clone(r.date), strings.Clone(r.day)
		if r.date != "" {
			all = append(all, r)
		}
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("no rows below the names of the columns: %w", ErrUnknown)
	case t.separator == ',' && wide == len(all):
		return nil, fmt.Errorf("every row has more cells than the names of the columns; commas may be decimal marks: %w", ErrDecimals)
	}
	return all, nil
}

// fill understands the times, and makes a series of each column.
func (f *File) fill(rows []row, t *table, o *Options) error {
	order, err := dateOrder(rows, o.Order)
	if err != nil {
		return err
	}
	stated := int64(0)
	if len(f.Series) > 0 {
		stated = f.Series[0].Interval
	}
	f.Series = nil
	for _, c := range t.values {
		s := Series{Sensor: c.name, Quantity: Temperature, Interval: stated}
		if c.humid {
			s.Quantity = Humidity
		}
		f.Series = append(f.Series, s)
	}
	if newestFirst(rows, order) {
		slices.Reverse(rows)
	}
	after, local := int64(0), false
	for _, r := range rows {
		w, offset, ok := r.when(order)
		if !ok {
			f.find(r.line, "", ErrTime)
			continue
		}
		var at int64
		if offset != nil {
			at = time.Date(w.year, time.Month(w.month), w.day, w.hour, w.minute, w.second, 0, offset).Unix()
		} else {
			if o.Zone == nil {
				return fmt.Errorf("the times have no offset: %w", ErrZone)
			}
			local = true
			at = f.local(o.Zone, w, after, r.line)
		}
		after = at
		for i, value := range r.values {
			switch strings.ToLower(value) {
			case "", missing, "-", "--", "nan", "n/a", "na":
				continue
			}
			n, err := thousandths(value, t.values[i].fahrenheit)
			if err != nil || t.values[i].humid && (n < 0 || n > 100_000) {
				f.find(r.line, t.values[i].name, ErrValue)
				continue
			}
			f.add(&f.Series[i], Reading{at, n}, r.line)
		}
	}
	if local {
		f.Zone = o.Zone.String()
	}
	f.Series = slices.DeleteFunc(f.Series, func(s Series) bool { return len(s.Readings) == 0 })
	if len(f.Series) == 0 {
		return fmt.Errorf("no reading: %w", ErrUnknown)
	}
	for i := range f.Series {
		if f.Series[i].Interval == 0 {
			f.Series[i].Interval = interval(f.Series[i].Readings)
		}
	}
	return nil
}

// newestFirst tells whether more rows go back in time than on, as some programs export.
func newestFirst(rows []row, order Order) bool {
	back, on := 0, 0
	var before time.Time
	for _, r := range rows {
		w, offset, ok := r.when(order)
		if !ok {
			continue
		}
		if offset == nil {
			offset = time.UTC
		}
		now := time.Date(w.year, time.Month(w.month), w.day, w.hour, w.minute, w.second, 0, offset)
		if now.Before(before) {
			back++
		} else {
			on++
		}
		before = now
	}
	return back >= on
}

// dateOrder finds in which order days and months stand: one number above 12 tells it
// for all. The order of the rows would be a guess.
func dateOrder(rows []row, asked Order) (Order, error) {
	order, open := asked, false
	for _, r := range rows {
		parts, sep, ok := dateParts(r.date)
		if !ok || len(strconv.Itoa(parts[0])) == 4 {
			continue
		}
		told := Order("")
		switch {
		case sep == '.':
			// Nobody writes the month first with points.
			told = DayMonth
		case parts[0] > 12 && parts[1] <= 12:
			told = DayMonth
		case parts[1] > 12 && parts[0] <= 12:
			told = MonthDay
		case parts[0] == parts[1]:
			continue
		default:
			open = true
			continue
		}
		if order != "" && order != told {
			return "", fmt.Errorf("line %d is of another order than others, or than was said: %w", r.line, ErrOrder)
		}
		order = told
	}
	if open && order == "" {
		return "", fmt.Errorf("every day could be a month: %w", ErrOrder)
	}
	return order, nil
}

// dateParts cuts a date into its three numbers.
func dateParts(s string) (parts [3]int, sep byte, ok bool) {
	end := strings.IndexFunc(s, func(r rune) bool { return r == ' ' || r == 'T' || r == ',' })
	if end >= 0 {
		s = s[:end]
	}
	i := strings.IndexAny(s, "/-.")
	if i < 0 {
		return parts, 0, false
	}
	sep = s[i]
	fields := strings.Split(s, string(sep))
	if len(fields) != 3 {
		return parts, 0, false
	}
	for i, field := range fields {
		if len(field) > 4 || strings.Trim(field, "0123456789") != "" {
			return parts, 0, false
		}
		n, err := strconv.Atoi(field)
		if err != nil {
			return parts, 0, false
		}
		parts[i] = n
	}
	return parts, sep, len(fields[0]) == 4 || len(fields[2]) == 4 || len(fields[2]) == 2
}

// when reads the time of a row. offset is that which it states, nil for none.
func (r *row) when(order Order) (w wall, offset *time.Location, ok bool) {
	parts, _, ok := dateParts(r.date)
	if !ok {
		return w, nil, false
	}
	switch {
	case len(strconv.Itoa(parts[0])) == 4:
		w.year, w.month, w.day = parts[0], parts[1], parts[2]
	case order == MonthDay:
		w.month, w.day, w.year = parts[0], parts[1], parts[2]
	default:
		w.day, w.month, w.year = parts[0], parts[1], parts[2]
	}
	if w.year < 100 {
		w.year += 2000
	}
	rest := r.day
	if i := strings.IndexAny(r.date, " T,"); i >= 0 {
		rest = strings.TrimSpace(strings.TrimLeft(r.date[i:], " T,") + " " + r.day)
	}
	rest, offset = cutOffset(rest)
	if rest == "" || !clockTime(rest, &w) {
		return w, nil, false
	}
	return w, offset, w.valid()
}

// cutOffset takes Z or +hh:mm off a time.
func cutOffset(s string) (string, *time.Location) {
	if rest, ok := strings.CutSuffix(s, "Z"); ok {
		return strings.TrimSpace(rest), time.UTC
	}
	i := strings.LastIndexAny(s, "+-")
	if i <= 0 {
		return s, nil
	}
	for _, layout := range []string{"-07:00", "-0700"} {
		if t, err := time.Parse(layout, s[i:]); err == nil {
			_, seconds := t.Zone()
			return strings.TrimSpace(s[:i]), time.FixedZone("", seconds)
		}
	}
	return s, nil
}

// clockTime reads 16:44, 16:44:30, 4:44:30 PM and 4:44 p.m.
func clockTime(s string, w *wall) bool {
	// Parts of a second are passed over; the points of a.m. are none.
	if i := strings.IndexByte(s, '.'); i > 0 && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9' {
		s = s[:i] + strings.TrimLeft(s[i+1:], "0123456789")
	}
	s = strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(s, ".", ""), "\u202f", " "))
	afternoon := strings.HasSuffix(s, "PM")
	half := afternoon || strings.HasSuffix(s, "AM")
	if half {
		s = strings.TrimSpace(s[:len(s)-2])
	}
	fields := strings.Split(s, ":")
	if len(fields) < 2 || len(fields) > 3 {
		return false
	}
	var n [3]int
	for i, field := range fields {
		if len(field) == 0 || len(field) > 2 || strings.Trim(field, "0123456789") != "" {
			return false
		}
		n[i], _ = strconv.Atoi(field)
	}
	if half {
		if n[0] < 1 || n[0] > 12 {
			return false
		}
		n[0] %= 12
		if afternoon {
			n[0] += 12
		}
	}
	w.hour, w.minute, w.second = n[0], n[1], n[2]
	return true
}
