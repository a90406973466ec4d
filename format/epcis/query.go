package epcis

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format/gs1"
	"ampoule/format/strictjson"
)

// Query is a query for events (EPCIS 2.0 section 8.2.7). An event answers it that meets
// all that is asked.
//
// Identifiers of GS1 are the same in any of their forms, and words of the vocabulary in
// any of theirs. Numbers with a unit are compared in that unit alone: nothing is
// converted.
type Query struct {
	OrderBy    string // eventTime, recordTime; "": in no order that counts
	Descending bool
	Limit      int // eventCountLimit; 0: none
	Max        int // maxEventCount: where there are more, there is no answer; 0: none

	// What an index can narrow: times in milliseconds, from one until before another.
	From, Until                 time.Time // of the event; zero: unbounded
	RecordedFrom, RecordedUntil time.Time
	// IDs are the names of events that are asked for; nil: any.
	IDs []string
	// Needs are what an event must have to answer: one key of each.
	Needs [][]Key

	terms  []func(*Event) bool
	within []*within
}

// Index is what events are found by.
type Index string

// The indexes.
const (
	ByEPC         Index = "e" // of whatever part in the event
	ByClass       Index = "q"
	ByStep        Index = "s"
	ByDisposition Index = "d"
	ByLocation    Index = "l" // bizLocation
	ByReadPoint   Index = "r"
	ByParty       Index = "p" // every place, source and destination: who takes part
	ByType        Index = "t" // of extended types alone: of the standard's there are five
)

// Key is one entry of an event in an index. Identifiers and words are in their one form.
type Key struct {
	Index Index
	Value string
}

// Keys are the entries of an event, each once.
func (e *Event) Keys() []Key {
	out := make([]Key, 0, 12+len(e.EPCs)+len(e.Children))
	seen := make(map[Key]bool, cap(out))
	add := func(i Index, value string) {
		if k := (Key{i, value}); value != "" && !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	add(ByStep, e.Step)
	add(ByDisposition, e.Disposition)
	if _, standard := typeFields[e.Type]; !standard {
		add(ByType, string(e.Type))
	}
	for _, p := range []struct {
		in  Index
		uri string
	}{{ByLocation, e.Location}, {ByReadPoint, e.ReadPoint}} {
		name := constrained(p.uri)
		add(p.in, name)
		add(ByParty, name)
	}
	for _, list := range [][]Typed{e.Sources, e.Destinations} {
		for _, t := range list {
			add(ByParty, constrained(t.ID))
		}
	}
	add(ByEPC, constrained(e.Parent))
	for _, list := range [][]string{e.EPCs, e.Children, e.Inputs, e.Outputs} {
		for _, epc := range list {
			add(ByEPC, constrained(epc))
		}
	}
	for _, list := range [][]Quantity{e.Quantities, e.ChildQuantities, e.InputQuantities, e.OutputQuantities} {
		for _, q := range list {
			add(ByClass, constrained(q.Class))
		}
	}
	return out
}

// Short is what stands in an index as lists give it: of a word of the vocabulary the word
// alone.
func Short(in Index, value string) string {
	switch in {
	case ByStep:
		return bizSteps.short(value)
	case ByDisposition:
		return dispositions.short(value)
	}
	return value
}

// Matches reports whether an event answers the query. How many are asked for does not
// count here.
func (q *Query) Matches(e *Event) bool {
	for _, t := range q.terms {
		if !t(e) {
			return false
		}
	}
	return true
}

// AsksWithin reports whether what lies in a place is asked for.
func (q *Query) AsksWithin() bool { return len(q.within) > 0 }

// Within asks a function for what lies in each of the places whose descendants are asked
// for: which place is in which is known to the repository.
func (q *Query) Within(inside func(place string) []string) {
	for _, w := range q.within {
		for place := range w.places {
			for _, p := range inside(place) {
				w.add(p)
			}
		}
		need := make([]Key, 0, len(w.all))
		for p := range w.all {
			need = append(need, Key{w.index, p})
		}
		slices.SortFunc(need, func(a, b Key) int { return strings.Compare(a.Value, b.Value) })
		q.Needs = append(q.Needs, need)
	}
	q.within = nil
}

// within are places, and what is in them.
type within struct {
	index       Index
	places, all map[string]bool
}

func (w *within) add(place string) { w.all[constrained(place)] = true }

// The bounds of a query.
const (
	MaxQuery      = 1 << 20 // bytes
	maxParameters = 200
	maxValues     = 5000 // of one parameter
)

// ParseQuery reads a query from JSON (query-schema.json of the standard). It fails with
// [ErrQuery] where it does not know a parameter, or not what it is to be.
func ParseQuery(data []byte) (*Query, error) {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxQuery, Depth: 8})
	if err != nil {
		return nil, fmt.Errorf("epcis: query: %w: %w", err, ErrQuery)
	}
	if v.Kind() != strictjson.Object {
		return nil, fmt.Errorf("epcis: a query is an object: %w", ErrQuery)
	}
	b := builder{q: new(Query), prefixes: Prefixes{}}
	if c := v.Get("@context"); c.Exists() {
		b.prefixes, _ = new(reader).context(c, nil)
	}
	n := 0
	for m := range v.All() {
		if m.Name() == "@context" {
			continue
		}
		if n++; n > maxParameters {
			return nil, fmt.Errorf("epcis: more than %d parameters: %w", maxParameters, ErrQuery)
		}
		a, err := arguments(m)
		if err == nil {
			err = b.parameter(m.Name(), a)
		}
		if err != nil {
			return nil, fmt.Errorf("epcis: %s: %w", visible(m.Name()), err)
		}
	}
	return b.done()
}

// ParseParameters reads a query from the parameters of an address, where a bar stands
// between the values of one.
func ParseParameters(values url.Values, prefixes Prefixes) (*Query, error) {
	if len(values) > maxParameters {
		return nil, fmt.Errorf("epcis: more than %d parameters: %w", maxParameters, ErrQuery)
	}
	b := builder{q: new(Query), prefixes: prefixes}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var a []string
		for _, v := range values[name] {
			a = append(a, strings.Split(v, "|")...)
		}
		if strings.HasPrefix(name, "EXISTS_") && len(a) == 1 && a[0] == "" {
			a[0] = "true"
		}
		if err := b.parameter(name, a); err != nil {
			return nil, fmt.Errorf("epcis: %s: %w", visible(name), err)
		}
	}
	return b.done()
}

// visible bounds a name that is told in an error.
func visible(name string) string {
	if len(name) > 80 {
		name = name[:80] + "…"
	}
	return strconv.QuoteToASCII(name)
}

// arguments are the values of a member, as text.
func arguments(v strictjson.Value) ([]string, error) {
	one := func(v strictjson.Value) (string, bool) {
		switch v.Kind() {
		case strictjson.String:
			return v.Text()
		case strictjson.Number:
			n, ok := v.Number()
			return string(n), ok
		case strictjson.True, strictjson.Null: // EXISTS_ is asked with null
			return "true", true
		case strictjson.False:
			return "false", true
		}
		return "", false
	}
	if v.Kind() != strictjson.Array {
		text, ok := one(v)
		if !ok {
			return nil, bad("no value, and no list of some")
		}
		return []string{text}, nil
	}
	out := make([]string, 0, v.Len())
	for item := range v.All() {
		text, ok := one(item)
		if !ok {
			return nil, bad("a list of values")
		}
		out = append(out, text)
	}
	return out, nil
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrQuery)
}

// builder makes a query of its parameters.
type builder struct {
	q        *Query
	prefixes Prefixes
	ordered  bool // a direction was given
}

func (b *builder) term(t func(*Event) bool) error {
	b.q.terms = append(b.q.terms, t)
	return nil
}

func (b *builder) done() (*Query, error) {
	q := b.q
	if q.Limit > 0 && q.Max > 0 {
		return nil, fmt.Errorf("epcis: eventCountLimit and maxEventCount exclude each other: %w", ErrQuery)
	}
	q.Descending = q.Descending && q.OrderBy != ""
	return q, nil
}

// The comparisons.
var comparisons = []string{"EQ", "GT", "GE", "LT", "LE"}

// parameter takes one parameter.
func (b *builder) parameter(name string, a []string) error {
	if len(a) == 0 || len(a) > maxValues {
		return bad("from 1 to %d values", maxValues)
	}
	how, what, found := strings.Cut(name, "_")
	switch {
	case name == "eventType":
		types := set(a, func(t string) string {
			return string(Type(b.prefixes.full(t)))
		})
		return b.term(func(e *Event) bool { return types[b.typeOf(e)] })
	case name == "orderBy", name == "orderDirection", name == "eventCountLimit", name == "maxEventCount":
		return b.amount(name, a)
	case !found:
		return bad("unknown parameter")
	}
	switch how {
	case "MATCH":
		return b.match(what, a)
	case "WD":
		return b.descendants(what, a)
	case "EXISTS":
		return b.exists(what, a)
	case "HASATTR":
		return b.attribute(what, a, nil)
	case "EQATTR":
		i := strings.LastIndexByte(what, '_')
		if i < 0 {
			return bad("a field and an attribute of it")
		}
		return b.attribute(what[:i], []string{what[i+1:]}, a)
	}
	if !slices.Contains(comparisons, how) {
		return bad("unknown parameter")
	}
	if rest, ok := strings.CutPrefix(what, "ATTR_"); ok && how == "EQ" { // so the schema has it
		return b.parameter("EQATTR_"+rest, a)
	}
	if how == "EQ" {
		if done, err := b.equal(what, a); done {
			return err
		}
	}
	if done, err := b.time(how, what, a); done {
		return err
	}
	if done, err := b.number(how, what, a); done {
		return err
	}
	return b.extension(how, what, a)
}

// full is a name with its prefix written out.
func (p Prefixes) full(name string) string {
	prefix, rest, ok := strings.Cut(name, ":")
	if !ok || strings.HasPrefix(rest, "//") {
		return name
	}
	if ns, known := p[prefix]; known {
		return ns + rest
	}
	return p.expand(name)
}

func (b *builder) typeOf(e *Event) string { return e.Prefixes.full(string(e.Type)) }

func (b *builder) amount(name string, a []string) error {
	if len(a) != 1 {
		return bad("one value")
	}
	switch name {
	case "orderBy":
		if a[0] != "eventTime" && a[0] != "recordTime" {
			return bad("eventTime or recordTime")
		}
		b.q.OrderBy = a[0]
		b.q.Descending = b.q.Descending || !b.ordered // section 8.2.7.1: DESC where nothing is said
		return nil
	case "orderDirection":
		if a[0] != "ASC" && a[0] != "DESC" {
			return bad("ASC or DESC")
		}
		b.ordered, b.q.Descending = true, a[0] == "DESC"
		return nil
	}
	n, err := strconv.ParseInt(a[0], 10, 32)
	if err != nil || n < 1 {
		return bad("a number above 0")
	}
	if name == "eventCountLimit" {
		b.q.Limit = int(n)
	} else {
		b.q.Max = int(n)
	}
	return nil
}

func set(list []string, form func(string) string) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, text := range list {
		out[form(text)] = true
	}
	return out
}

// need notes that an event must have one of some keys.
func (b *builder) need(in Index, values map[string]bool) {
	keys := make([]Key, 0, len(values))
	for v := range values {
		keys = append(keys, Key{in, v})
	}
	slices.SortFunc(keys, func(x, y Key) int { return strings.Compare(x.Value, y.Value) })
	b.q.Needs = append(b.q.Needs, keys)
}

// words are the URIs of words of a vocabulary.
func (b *builder) words(v *vocabulary, a []string) (map[string]bool, error) {
	out := make(map[string]bool, len(a))
	for _, text := range a {
		uri, ok := v.uri(text, b.prefixes)
		if !ok {
			return nil, bad("%s is no word of the vocabulary, and no URI", visible(text))
		}
		out[b.prefixes.full(uri)] = true
	}
	return out, nil
}

// equal are the parameters EQ_ of the standard's own fields; false: it is none of them.
func (b *builder) equal(what string, a []string) (bool, error) {
	word := func(v *vocabulary, index Index, get func(*Event) []string) (bool, error) {
		words, err := b.words(v, a)
		if err != nil {
			return true, err
		}
		if index != "" {
			b.need(index, words)
		}
		return true, b.term(func(e *Event) bool {
			return slices.ContainsFunc(get(e), func(s string) bool { return words[e.Prefixes.full(s)] })
		})
	}
	names := func(index Index, get func(*Event) []string) (bool, error) {
		uris := set(a, constrained)
		if index != "" {
			b.need(index, uris)
		}
		return true, b.term(func(e *Event) bool {
			return slices.ContainsFunc(get(e), func(s string) bool { return s != "" && uris[constrained(s)] })
		})
	}
	typed := func(kind string, v *vocabulary, get func(*Event) []Typed) (bool, error) {
		uri, ok := v.uri(kind, b.prefixes)
		if !ok {
			return true, bad("%s is no type of the vocabulary", visible(kind))
		}
		uri = b.prefixes.full(uri)
		uris := set(a, constrained)
		if v == &partyTypes {
			b.need(ByParty, uris)
		}
		return true, b.term(func(e *Event) bool {
			return slices.ContainsFunc(get(e), func(t Typed) bool { return e.Prefixes.full(t.Type) == uri && uris[constrained(t.ID)] })
		})
	}
	report := func(get func(*Report) string, form func(string) string) (bool, error) {
		values := set(a, form)
		return true, b.term(func(e *Event) bool {
			return anyReport(e, func(r *Report) bool { s := get(r); return s != "" && values[form(s)] })
		})
	}
	sensor := func(meta func(*Sensor) string, get func(*Report) string) (bool, error) {
		uris := set(a, constrained)
		return true, b.term(func(e *Event) bool {
			for i := range e.Sensors {
				if s := meta(&e.Sensors[i]); s != "" && uris[constrained(s)] {
					return true
				}
			}
			return anyReport(e, func(r *Report) bool { s := get(r); return s != "" && uris[constrained(s)] })
		})
	}
	plain := func(s string) string { return s }
	switch what {
	case "action":
		actions := set(a, plain)
		for action := range actions {
			if action != string(Add) && action != string(Observe) && action != string(Delete) {
				return true, bad("ADD, OBSERVE or DELETE")
			}
		}
		return true, b.term(func(e *Event) bool { return actions[string(e.Action)] })
	case "bizStep":
		return word(&bizSteps, ByStep, func(e *Event) []string { return []string{e.Step} })
	case "disposition":
		return word(&dispositions, ByDisposition, func(e *Event) []string { return []string{e.Disposition} })
	case "persistentDisposition_set":
		return word(&dispositions, "", func(e *Event) []string { return e.Set })
	case "persistentDisposition_unset":
		return word(&dispositions, "", func(e *Event) []string { return e.Unset })
	case "errorReason":
		return word(&errorReasons, "", func(e *Event) []string {
			if e.Error == nil {
				return nil
			}
			return []string{e.Error.Reason}
		})
	case "type":
		words, err := b.words(&measurements, a)
		if err != nil {
			return true, err
		}
		return true, b.term(func(e *Event) bool {
			return anyReport(e, func(r *Report) bool { return words[e.Prefixes.full(r.Type)] })
		})
	case "readPoint":
		return names(ByReadPoint, func(e *Event) []string { return []string{e.ReadPoint} })
	case "bizLocation":
		return names(ByLocation, func(e *Event) []string { return []string{e.Location} })
	case "transformationID":
		return names("", func(e *Event) []string { return []string{e.Transformation} })
	case "eventID":
		ids := set(a, plain)
		if b.q.IDs == nil {
			b.q.IDs = slices.Clone(a)
		}
		return true, b.term(func(e *Event) bool { return ids[e.ID] })
	case "correctiveEventID":
		return names("", func(e *Event) []string {
			if e.Error == nil {
				return nil
			}
			return e.Error.Corrective
		})
	case "deviceID":
		return sensor(func(s *Sensor) string { return s.DeviceID }, func(r *Report) string { return r.DeviceID })
	case "dataProcessingMethod":
		return sensor(func(s *Sensor) string { return s.Method }, func(r *Report) string { return r.Method })
	case "bizRules":
		return sensor(func(s *Sensor) string { return s.Rules }, func(r *Report) string { return r.Rules })
	case "microorganism":
		return report(func(r *Report) string { return r.Microorganism }, constrained)
	case "chemicalSubstance":
		return report(func(r *Report) string { return r.Substance }, constrained)
	case "uriValue":
		return report(func(r *Report) string { return r.URI }, constrained)
	case "stringValue":
		return report(func(r *Report) string { return r.Text }, plain)
	case "hexBinaryValue":
		return report(func(r *Report) string { return r.Hex }, strings.ToLower)
	case "booleanValue":
		if len(a) != 1 || a[0] != "true" && a[0] != "false" {
			return true, bad("true or false")
		}
		return true, b.term(func(e *Event) bool {
			return anyReport(e, func(r *Report) bool { return r.Bool != nil && *r.Bool == (a[0] == "true") })
		})
	}
	if kind, ok := strings.CutPrefix(what, "bizTransaction_"); ok {
		return typed(kind, &transactionTypes, func(e *Event) []Typed { return e.Transactions })
	}
	if kind, ok := strings.CutPrefix(what, "source_"); ok {
		return typed(kind, &partyTypes, func(e *Event) []Typed { return e.Sources })
	}
	if kind, ok := strings.CutPrefix(what, "destination_"); ok {
		return typed(kind, &partyTypes, func(e *Event) []Typed { return e.Destinations })
	}
	return false, nil
}

func anyReport(e *Event, is func(*Report) bool) bool {
	for i := range e.Sensors {
		for k := range e.Sensors[i].Reports {
			if is(&e.Sensors[i].Reports[k]) {
				return true
			}
		}
	}
	return false
}

// time are the parameters GE_ and LT_ of times.
func (b *builder) time(how, what string, a []string) (bool, error) {
	one := func(t time.Time) []time.Time { return []time.Time{t} }
	sensor := func(meta func(*Sensor) time.Time, report bool) func(*Event) []time.Time {
		return func(e *Event) (out []time.Time) {
			for i := range e.Sensors {
				out = append(out, meta(&e.Sensors[i]))
				for k := range e.Sensors[i].Reports {
					if report {
						out = append(out, e.Sensors[i].Reports[k].Time)
					}
				}
			}
			return out
		}
	}
	var get func(*Event) []time.Time
	switch what {
	case "eventTime":
		get = func(e *Event) []time.Time { return one(e.Time) }
	case "recordTime":
		get = func(e *Event) []time.Time { return one(e.RecordTime) }
	case "errorDeclarationTime", "errorDeclaration_Time":
		get = func(e *Event) []time.Time {
			if e.Error == nil {
				return nil
			}
			return one(e.Error.At)
		}
	case "time":
		get = sensor(func(s *Sensor) time.Time { return s.Time }, true)
	case "startTime":
		get = sensor(func(s *Sensor) time.Time { return s.Start }, false)
	case "endTime":
		get = sensor(func(s *Sensor) time.Time { return s.End }, false)
	default:
		return false, nil
	}
	if how != "GE" && how != "LT" {
		return true, bad("unknown parameter")
	}
	at, ok := parseTime(a[0])
	if len(a) != 1 || !ok {
		return true, bad("a time, as 2026-11-01T09:00:00Z")
	}
	switch how + "_" + what {
	case "GE_eventTime":
		b.q.From = at
	case "LT_eventTime":
		b.q.Until = at
	case "GE_recordTime":
		b.q.RecordedFrom = at
	case "LT_recordTime":
		b.q.RecordedUntil = at
	}
	return true, b.term(func(e *Event) bool {
		return slices.ContainsFunc(get(e), func(t time.Time) bool {
			return !t.IsZero() && (how == "LT") == t.Before(at)
		})
	})
}

// quantities of reports, by the name of their parameter.
var reportNumbers = map[string]func(*Report) string{
	"value": func(r *Report) string { return r.Value }, "minValue": func(r *Report) string { return r.Low },
	"maxValue": func(r *Report) string { return r.High }, "meanValue": func(r *Report) string { return r.Mean },
	"sDev": func(r *Report) string { return r.Deviation }, "percValue": func(r *Report) string { return r.PercValue },
}

// number are the parameters of numbers.
func (b *builder) number(how, what string, a []string) (bool, error) {
	name, unit, _ := strings.Cut(what, "_")
	get, isReport := reportNumbers[name]
	switch {
	case name == "quantity" && (unit == "" || units.MatchString(unit)):
	case what == "percRank":
		get, unit = func(r *Report) string { return r.PercRank }, ""
	case isReport && units.MatchString(unit):
	default:
		return false, nil
	}
	is, err := compare(how, a, true)
	if err != nil {
		return true, err
	}
	if name == "quantity" {
		return true, b.term(func(e *Event) bool {
			for _, list := range [][]Quantity{e.Quantities, e.ChildQuantities, e.InputQuantities, e.OutputQuantities} {
				for _, q := range list {
					if q.Amount != "" && (unit == "" || q.Unit == unit) && is(q.Amount) {
						return true
					}
				}
			}
			return false
		})
	}
	return true, b.term(func(e *Event) bool {
		return anyReport(e, func(r *Report) bool {
			s := get(r)
			return s != "" && (unit == "" || r.Unit == unit) && is(s)
		})
	})
}

// compare makes a comparison with one value, or equality with one of several. What are
// both numbers are compared as such, and what are both times.
func compare(how string, a []string, numeric bool) (func(string) bool, error) {
	if how != "EQ" && len(a) != 1 {
		return nil, bad("one value")
	}
	for _, text := range a {
		_, isTime := parseTime(text)
		if !isNumber(text) && (numeric || how != "EQ" && !isTime) {
			return nil, bad("a number%s", map[bool]string{false: " or a time"}[numeric])
		}
	}
	if how == "EQ" {
		forms := set(a, oneForm)
		return func(s string) bool { return forms[oneForm(s)] }, nil
	}
	sign := func(s string) (int, bool) { // of s against the argument
		if isNumber(a[0]) {
			x, err := strconv.ParseFloat(s, 64)
			y, _ := strconv.ParseFloat(a[0], 64)
			switch {
			case err != nil || !isNumber(s):
				return 0, false
			case x < y:
				return -1, true
			case x > y:
				return 1, true
			}
			return 0, true
		}
		x, ok := parseTime(s)
		y, _ := parseTime(a[0])
		return x.Compare(y), ok
	}
	return func(s string) bool {
		n, ok := sign(s)
		return ok && (how == "GT" && n > 0 || how == "GE" && n >= 0 || how == "LT" && n < 0 || how == "LE" && n <= 0)
	}, nil
}

func isNumber(s string) bool { return s != "" && len(s) <= maxNumber && numbers.MatchString(s) }

// oneForm is a value as equality has it: a number without what says nothing, a time in
// UTC, an identifier in its one form.
func oneForm(s string) string {
	if isNumber(s) {
		return plainNumber(s)
	}
	if t, ok := parseTime(s); ok {
		return formatTime(t)
	}
	return constrained(s)
}

// match are the parameters MATCH_ (section 8.2.7.1.1).
func (b *builder) match(what string, a []string) error {
	classes := func(lists ...[]Quantity) (out []string) {
		for _, list := range lists {
			for _, q := range list {
				out = append(out, q.Class)
			}
		}
		return out
	}
	index := ByEPC
	if strings.HasSuffix(what, "Class") {
		index = ByClass
	}
	var get func(*Event) []string
	switch what {
	case "epc":
		get = func(e *Event) []string { return slices.Concat(e.EPCs, e.Children) }
	case "parentID":
		get = func(e *Event) []string { return []string{e.Parent} }
	case "inputEPC":
		get = func(e *Event) []string { return e.Inputs }
	case "outputEPC":
		get = func(e *Event) []string { return e.Outputs }
	case "anyEPC":
		get = func(e *Event) []string {
			return slices.Concat([]string{e.Parent}, e.EPCs, e.Children, e.Inputs, e.Outputs)
		}
	case "epcClass":
		get = func(e *Event) []string { return classes(e.Quantities, e.ChildQuantities) }
	case "inputEPCClass":
		get = func(e *Event) []string { return classes(e.InputQuantities) }
	case "outputEPCClass":
		get = func(e *Event) []string { return classes(e.OutputQuantities) }
	case "anyEPCClass":
		get = func(e *Event) []string {
			return classes(e.Quantities, e.ChildQuantities, e.InputQuantities, e.OutputQuantities)
		}
	default:
		return bad("unknown parameter")
	}
	var patterns []pattern
	names := make(map[string]bool, len(a))
	for _, text := range a {
		if !isURI(text) {
			return bad("%s is no URI", visible(text))
		}
		names[constrained(text)] = true
		if p, ok := parsePattern(text); ok {
			patterns = append(patterns, p)
		}
	}
	if len(patterns) == 0 {
		b.need(index, names)
	}
	return b.term(func(e *Event) bool {
		return slices.ContainsFunc(get(e), func(s string) bool {
			if s == "" {
				return false
			}
			return names[constrained(s)] || slices.ContainsFunc(patterns, func(p pattern) bool { return p.matches(s) })
		})
	})
}

// pattern is a pattern of EPC URNs (EPC Tag Data Standard section 8):
// urn:epc:idpat:sgtin:9521321.012345.*, or of lots urn:epc:class:lgtin:9521321.012345.*.
type pattern struct {
	scheme string
	parts  []string
	length int // of the company prefix; 0: any
}

// urnBody is what follows "urn:epc:" and the kind of an EPC URN.
func urnBody(urn string) (scheme, body string, ok bool) {
	rest, ok := strings.CutPrefix(urn, "urn:epc:")
	if !ok {
		return "", "", false
	}
	kind, rest, _ := strings.Cut(rest, ":")
	if kind != "id" && kind != "idpat" && kind != "class" {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

func parsePattern(uri string) (pattern, bool) {
	scheme, body, ok := urnBody(uri)
	if !ok || !strings.Contains(body, "*") {
		return pattern{}, false
	}
	p := pattern{scheme: scheme, parts: strings.Split(body, ".")}
	if p.parts[0] != "*" {
		p.length = len(p.parts[0])
	}
	return p, true
}

// matches reports whether an identifier is of the pattern, in whichever form it is
// written. A Digital Link does not tell its company prefix: the pattern does.
func (p *pattern) matches(uri string) bool {
	if strings.HasPrefix(uri, "http") {
		d, err := gs1.ParseDigitalLink(constrained(uri))
		if err != nil {
			return false
		}
		length := p.length
		if length == 0 {
			length = 7 // of any length there is a URN, and the pattern asks for the scheme alone
		}
		if uri, err = d.Key.URN(length); err != nil {
			return false
		}
	}
	scheme, body, ok := urnBody(uri)
	if !ok || scheme != p.scheme {
		return false
	}
	parts := strings.SplitN(body, ".", len(p.parts))
	if len(parts) != len(p.parts) {
		return false
	}
	for i, part := range p.parts {
		if part != "*" && part != parts[i] {
			return false
		}
	}
	return true
}

// descendants are the parameters WD_.
func (b *builder) descendants(what string, a []string) error {
	w := &within{places: set(a, constrained), all: set(a, constrained)}
	var get func(*Event) string
	switch what {
	case "readPoint":
		w.index, get = ByReadPoint, func(e *Event) string { return e.ReadPoint }
	case "bizLocation":
		w.index, get = ByLocation, func(e *Event) string { return e.Location }
	default:
		return bad("unknown parameter")
	}
	b.q.within = append(b.q.within, w)
	return b.term(func(e *Event) bool { s := get(e); return s != "" && w.all[constrained(s)] })
}

// scopes are what stands before the name of a field that the standard does not have, and
// where such fields are then.
var scopes = []struct {
	name string
	in   func(*Event) []strictjson.Value
}{
	{"ILMD_", func(e *Event) []strictjson.Value { return []strictjson.Value{e.value.Get("ilmd")} }},
	{"ERROR_DECLARATION_", func(e *Event) []strictjson.Value { return []strictjson.Value{e.value.Get("errorDeclaration")} }},
	{"SENSORELEMENT_", func(e *Event) []strictjson.Value { return slices.Collect(e.value.Get("sensorElementList").All()) }},
	{"SENSORMETADATA_", func(e *Event) (out []strictjson.Value) {
		for s := range e.value.Get("sensorElementList").All() {
			out = append(out, s.Get("sensorMetadata"))
		}
		return out
	}},
	{"SENSORREPORT_", func(e *Event) (out []strictjson.Value) {
		for s := range e.value.Get("sensorElementList").All() {
			out = slices.AppendSeq(out, s.Get("sensorReport").All())
		}
		return out
	}},
	{"readPoint_", func(e *Event) []strictjson.Value { return []strictjson.Value{e.value.Get("readPoint")} }},
	{"bizLocation_", func(e *Event) []strictjson.Value { return []strictjson.Value{e.value.Get("bizLocation")} }},
	{"", func(e *Event) []strictjson.Value { return []strictjson.Value{e.value} }},
}

// field finds the members of an event by the name that a parameter gives: with a prefix,
// maybe with a scope before it, and at any depth where it begins with INNER_.
func (b *builder) field(what string) (func(*Event) []strictjson.Value, error) {
	what, inner := strings.CutPrefix(what, "INNER_")
	for _, s := range scopes {
		name, ok := strings.CutPrefix(what, s.name)
		if !ok {
			continue
		}
		prefix, _, hasPrefix := strings.Cut(name, ":")
		if !hasPrefix {
			return nil, bad("unknown parameter")
		}
		if _, known := b.prefixes[prefix]; !known && standardPrefixes[prefix] == "" && !strings.HasPrefix(name, prefix+"://") && prefix != "urn" {
			return nil, fmt.Errorf("%w: %w", NoPrefix, ErrQuery)
		}
		ns, local, _ := b.prefixes.split(name)
		full := ns + local
		return func(e *Event) (out []strictjson.Value) {
			is := func(m strictjson.Value) bool {
				if !strings.Contains(m.Name(), ":") {
					return false
				}
				ns, local, _ := e.Prefixes.split(m.Name())
				return ns+local == full
			}
			for _, v := range s.in(e) {
				if v.Kind() != strictjson.Object {
					continue
				}
				for m := range v.All() {
					switch {
					case inner && strings.Contains(m.Name(), ":"):
						out = append(out, inside(m, is)...)
					case !inner && is(m):
						out = append(out, m)
					}
				}
			}
			return out
		}, nil
	}
	return nil, bad("unknown parameter")
}

// inside are the members below a value.
func inside(v strictjson.Value, is func(strictjson.Value) bool) (out []strictjson.Value) {
	if v.Kind() != strictjson.Object && v.Kind() != strictjson.Array {
		return nil
	}
	for m := range v.All() {
		if v.Kind() == strictjson.Object && is(m) {
			out = append(out, m)
		}
		out = append(out, inside(m, is)...)
	}
	return out
}

// holds reports whether a value, or one of a list, is as asked.
func holds(v strictjson.Value, is func(string) bool) bool {
	if v.Kind() == strictjson.Array {
		for item := range v.All() {
			if item.Kind() != strictjson.Array && holds(item, is) {
				return true
			}
		}
		return false
	}
	a, err := arguments(v)
	return err == nil && len(a) == 1 && v.Kind() != strictjson.Null && is(a[0])
}

func (b *builder) extension(how, what string, a []string) error {
	fields, err := b.field(what)
	if err != nil {
		return err
	}
	is, err := compare(how, a, false)
	if err != nil {
		return err
	}
	return b.term(func(e *Event) bool {
		return slices.ContainsFunc(fields(e), func(v strictjson.Value) bool { return holds(v, is) })
	})
}

// exists are the parameters EXISTS_.
func (b *builder) exists(what string, a []string) error {
	if len(a) != 1 {
		return bad("no value, or true")
	}
	switch a[0] {
	case "true", "1":
	case "false", "0": // as if it were not asked
		return nil
	default:
		return bad("no value, or true")
	}
	switch what {
	case "errorDeclaration":
		return b.term(func(e *Event) bool { return e.Error != nil })
	case "sensorElementList":
		return b.term(func(e *Event) bool { return len(e.Sensors) > 0 })
	case "ilmd", "ILMD":
		return b.term(func(e *Event) bool { return e.value.Get("ilmd").Exists() })
	}
	fields, err := b.field(what)
	if err != nil {
		return err
	}
	return b.term(func(e *Event) bool { return len(fields(e)) > 0 })
}

// attribute are the parameters HASATTR_ and EQATTR_: of a field that is an object, that
// it has a member, and with which value.
func (b *builder) attribute(what string, names, values []string) error {
	fields, err := b.field(what)
	if err != nil {
		return err
	}
	wanted := set(names, func(s string) string { ns, local, _ := b.prefixes.split(s); return ns + local })
	var is func(string) bool
	if values != nil {
		if is, err = compare("EQ", values, false); err != nil {
			return err
		}
	}
	return b.term(func(e *Event) bool {
		return slices.ContainsFunc(fields(e), func(v strictjson.Value) bool {
			if v.Kind() != strictjson.Object {
				return false
			}
			for m := range v.All() {
				ns, local, _ := e.Prefixes.split(m.Name())
				if wanted[ns+local] && (is == nil || holds(m, is)) {
					return true
				}
			}
			return false
		})
	})
}
