package senml

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ampoule/format/strictjson"
)

// ParseJSON reads a pack in JSON (RFC 8428 section 5) and resolves it. now is the
// time from which relative times count, in seconds since 1970.
func ParseJSON(data []byte, now float64) ([]Record, error) {
	if len(data) > MaxPack {
		return nil, fmt.Errorf("senml: %d bytes: %w", len(data), ErrSize)
	}
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxPack, Depth: 8})
	if err != nil {
		return nil, fmt.Errorf("senml: %w", err)
	}
	if v.Kind() != strictjson.Array || v.Len() == 0 {
		return nil, fmt.Errorf("senml: no array of records: %w", ErrForm)
	}
	if v.Len() > MaxRecords {
		return nil, fmt.Errorf("senml: %d records: %w", v.Len(), ErrSize)
	}
	pack := make([]record, 0, v.Len())
	for item := range v.All() {
		var r record
		if item.Kind() != strictjson.Object {
			return nil, fmt.Errorf("senml: record %d: %w", len(pack), ErrForm)
		}
		for member := range item.All() {
			if err := r.member(member); err != nil {
				return nil, fmt.Errorf("senml: record %d: %.40q: %w", len(pack), member.Name(), err)
			}
		}
		pack = append(pack, r)
	}
	return resolve(pack, now)
}

// member takes one field of a record.
func (r *record) member(v strictjson.Value) error {
	number := func(to **float64) error {
		n, ok := v.Number()
		if !ok {
			return ErrField
		}
		f, err := strconv.ParseFloat(string(n), 64)
		if err != nil {
			return errors.Join(ErrNotANumber, err)
		}
		*to = &f
		return nil
	}
	text := func(to **string) error {
		s, ok := v.Text()
		if !ok {
			return ErrField
		}
		*to = &s
		return nil
	}
	switch name := v.Name(); name {
	case "bn":
		return text(&r.baseName)
	case "bt":
		return number(&r.baseTime)
	case "bu":
		return text(&r.baseUnit)
	case "bv":
		return number(&r.baseValue)
	case "bs":
		return number(&r.baseSum)
	case "bver":
		return number(&r.baseVer)
	case "n":
		return text(&r.name)
	case "u":
		return text(&r.unit)
	case "v":
		return number(&r.value)
	case "vs":
		return text(&r.text)
	case "vb":
		b, ok := v.Any().(bool)
		if !ok {
			return ErrField
		}
		r.boolean = &b
	case "vd":
		s, ok := v.Text()
		if !ok {
			return ErrField
		}
		// Base64url without padding (section 5).
		var err error
		if r.data, err = base64.RawURLEncoding.Strict().DecodeString(s); err != nil {
			return errors.Join(ErrField, err)
		}
		r.hasData = true
	case "s":
		return number(&r.sum)
	case "t":
		return number(&r.time)
	case "ut":
		return number(&r.update)
	case "l":
		return text(&r.link)
	default:
		if strings.HasSuffix(name, "_") {
			return ErrMustKnow
		}
	}
	return nil
}
