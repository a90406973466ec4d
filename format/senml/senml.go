// Package senml reads Sensor Measurement Lists (RFC 8428) in JSON and in CBOR, and
// resolves them: every record with its whole name, its unit and its time.
//
// Numbers are 64-bit floats, as the RFC has them; what a record does not say is not
// there, and is never taken for zero.
package senml

import (
	"fmt"
	"math"

	"ampoule/format"
)

// The kinds of defect.
const (
	ErrSize       = format.Defect("senml-too-large")
	ErrForm       = format.Defect("bad-senml")
	ErrField      = format.Defect("senml-field")             // of another type, or twice
	ErrMustKnow   = format.Defect("senml-unknown-mandatory") // a label that ends in "_"
	ErrName       = format.Defect("senml-name")
	ErrNoValue    = format.Defect("senml-no-value")
	ErrValues     = format.Defect("senml-several-values")
	ErrVersion    = format.Defect("senml-version")
	ErrNotANumber = format.Defect("senml-not-a-number")
)

// The bounds of a pack.
const (
	MaxPack    = 1 << 20 // bytes
	MaxRecords = 10_000
)

// The media types (RFC 8428 section 12.3).
const (
	JSONType = "application/senml+json"
	CBORType = "application/senml+cbor"
)

// version is what RFC 8428 has (section 4.4).
const version = 10

// relative is below which a time counts from now (section 4.5.3): 2^28 seconds.
const relative = 1 << 28

// record is a record as it stands in a pack. A nil field is not there.
type record struct {
	baseName, baseUnit                    *string
	baseTime, baseValue, baseSum, baseVer *float64
	name, unit, text, link                *string
	value, sum, time, update              *float64
	boolean                               *bool
	data                                  []byte
	hasData                               bool
}

// Record is a resolved record (section 4.6): whole name, absolute time, no base. Of
// Value, Text, Boolean and Data at most one is there.
type Record struct {
	Name    string
	Unit    string  // empty: none was given
	Time    float64 // seconds since 1970-01-01T00:00:00Z
	Value   *float64
	Text    *string
	Boolean *bool
	Data    []byte // nil: none
	Sum     *float64
	Update  *float64 // seconds until the next value at the latest
	Link    string   // extension "l", RFC 8428 section 2 example
}

// resolve applies the base fields of each record to it and to all after it.
func resolve(pack []record, now float64) ([]Record, error) {
	var baseName, baseUnit string
	var baseTime, baseValue, baseSum float64
	var hasValue, hasSum bool
	ver := float64(version)
	out := make([]Record, 0, len(pack))
	for i := range pack {
		r := &pack[i]
		bad := func(what string, err error) ([]Record, error) {
			return nil, fmt.Errorf("senml: record %d: %s: %w", i, what, err)
		}
		// Step 1: the base, as it is from here on.
		if r.baseVer != nil {
			if *r.baseVer != math.Trunc(*r.baseVer) || *r.baseVer < 1 || *r.baseVer > version || i > 0 && *r.baseVer != ver {
				return bad(fmt.Sprintf("version %v", *r.baseVer), ErrVersion)
			}
			ver = *r.baseVer
		}
		set(&baseName, r.baseName)
		set(&baseUnit, r.baseUnit)
		set(&baseTime, r.baseTime)
		if r.baseValue != nil {
			baseValue, hasValue = *r.baseValue, true
		}
		if r.baseSum != nil {
			baseSum, hasSum = *r.baseSum, true
		}
		// Step 2: what it says itself.
		values := 0
		for _, there := range [...]bool{r.value != nil, r.text != nil, r.boolean != nil, r.hasData} {
			if there {
				values++
			}
		}
		switch {
		case values > 1:
			return bad("value", ErrValues)
		case values == 0 && r.sum == nil:
			if !r.onlyBase() {
				return bad("neither a value nor a sum", ErrNoValue)
			}
			continue // it has nothing but a base
		}
		res := Record{Name: baseName, Unit: baseUnit, Time: baseTime, Text: r.text, Boolean: r.boolean, Update: r.update}
		if r.name != nil {
			res.Name += *r.name
		}
		if !validName(res.Name) {
			return bad(fmt.Sprintf("%.40q", res.Name), ErrName)
		}
		set(&res.Unit, r.unit)
		set(&res.Link, r.link)
		if r.hasData {
			res.Data = append([]byte{}, r.data...)
		}
		// A base value counts for numbers alone (section 4.1).
		if r.value != nil {
			v := *r.value
			if hasValue {
				v += baseValue
			}
			res.Value = &v
		}
		if r.sum != nil {
			v := *r.sum
			if hasSum {
				v += baseSum
			}
			res.Sum = &v
		}
		if r.time != nil {
			res.Time += *r.time
		}
		if res.Time < relative {
			res.Time += now
		}
		for _, n := range [...]*float64{&res.Time, res.Value, res.Sum, res.Update} {
			if n != nil && (math.IsNaN(*n) || math.IsInf(*n, 0)) {
				return bad("beyond a 64-bit float", ErrNotANumber)
			}
		}
		out = append(out, res)
	}
	return out, nil
}

// onlyBase reports whether a record sets the base and says nothing else.
func (r *record) onlyBase() bool {
	based := r.baseName != nil || r.baseUnit != nil || r.baseTime != nil || r.baseValue != nil || r.baseSum != nil || r.baseVer != nil
	return based && r.name == nil && r.unit == nil && r.time == nil && r.update == nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// validName reports whether a name may be one (section 4.5.1).
func validName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && (c == '-' || c == ':' || c == '.' || c == '/' || c == '_'):
		default:
			return false
		}
	}
	return name != ""
}
