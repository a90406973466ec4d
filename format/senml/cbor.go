package senml

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"ampoule/format/cbor"
)

// The labels in CBOR (RFC 8428 section 6, table 4).
const (
	labelBaseVersion = -1
	labelBaseName    = -2
	labelBaseTime    = -3
	labelBaseUnit    = -4
	labelBaseValue   = -5
	labelBaseSum     = -6
	labelName        = 0
	labelUnit        = 1
	labelValue       = 2
	labelText        = 3
	labelBoolean     = 4
	labelSum         = 5
	labelTime        = 6
	labelUpdate      = 7
	labelData        = 8
)

const decimalFraction = 4 // tag: [exponent, mantissa] (RFC 8949 section 3.4.4)

// ParseCBOR reads a pack in CBOR and resolves it, as [ParseJSON] does.
func ParseCBOR(data []byte, now float64) ([]Record, error) {
	if len(data) > MaxPack {
		return nil, fmt.Errorf("senml: %d bytes: %w", len(data), ErrSize)
	}
	v, err := cbor.Parse(data, cbor.Limits{Depth: 8, Items: 32 * MaxRecords, Pairs: 32})
	if err != nil {
		return nil, fmt.Errorf("senml: %w", err)
	}
	if v.Kind() != cbor.Array || v.Len() == 0 {
		return nil, fmt.Errorf("senml: no array of records: %w", ErrForm)
	}
	if v.Len() > MaxRecords {
		return nil, fmt.Errorf("senml: %d records: %w", v.Len(), ErrSize)
	}
	pack := make([]record, 0, v.Len())
	for item := range v.Elements() {
		var r record
		if item.Kind() != cbor.Map {
			return nil, fmt.Errorf("senml: record %d: %w", len(pack), ErrForm)
		}
		for key, value := range item.Pairs() {
			if err := r.pair(key, value); err != nil {
				return nil, fmt.Errorf("senml: record %d: %.60s: %w", len(pack), key.AppendJSON(nil), err)
			}
		}
		pack = append(pack, r)
	}
	return resolve(pack, now)
}

// pair takes one field of a record.
func (r *record) pair(key, v cbor.Value) error {
	if s, ok := key.Text(); ok { // an extension
		switch {
		case s == "l":
			return textOf(v, &r.link)
		case strings.HasSuffix(s, "_"):
			return ErrMustKnow
		}
		return nil
	}
	label, ok := key.Int()
	if !ok {
		return ErrField
	}
	switch label {
	case labelBaseVersion:
		return numberOf(v, &r.baseVer)
	case labelBaseName:
		return textOf(v, &r.baseName)
	case labelBaseTime:
		return numberOf(v, &r.baseTime)
	case labelBaseUnit:
		return textOf(v, &r.baseUnit)
	case labelBaseValue:
		return numberOf(v, &r.baseValue)
	case labelBaseSum:
		return numberOf(v, &r.baseSum)
	case labelName:
		return textOf(v, &r.name)
	case labelUnit:
		return textOf(v, &r.unit)
	case labelValue:
		return numberOf(v, &r.value)
	case labelText:
		return textOf(v, &r.text)
	case labelBoolean:
		b, ok := v.Bool()
		if !ok {
			return ErrField
		}
		r.boolean = &b
	case labelSum:
		return numberOf(v, &r.sum)
	case labelTime:
		return numberOf(v, &r.time)
	case labelUpdate:
		return numberOf(v, &r.update)
	case labelData:
		if r.data, r.hasData = v.Bytes(); !r.hasData {
			return ErrField
		}
	}
	return nil // an extension that may be passed over
}

func textOf(v cbor.Value, to **string) error {
	s, ok := v.Text()
	if !ok {
		return ErrField
	}
	*to = &s
	return nil
}

// numberOf takes an integer, a float, or a decimal fraction.
func numberOf(v cbor.Value, to **float64) error {
	var f float64
	if n, ok := v.Int(); ok {
		f = float64(n)
	} else if x, ok := v.Float(); ok {
		f = x
	} else if tag, content, ok := v.Tag(); ok && tag == decimalFraction {
		exponent, one := content.Index(0).Int()
		mantissa, two := content.Index(1).Int()
		if !one || !two || content.Len() != 2 || exponent < -400 || exponent > 400 {
			return ErrField
		}
		// Through its text, so that 235 · 10^-1 is 23.5 as JSON would have it.
		var err error
		if f, err = strconv.ParseFloat(fmt.Sprintf("%de%d", mantissa, exponent), 64); err != nil {
			return ErrNotANumber
		}
	} else {
		return ErrField
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return ErrNotANumber
	}
	*to = &f
	return nil
}
