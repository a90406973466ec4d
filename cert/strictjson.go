package cert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxJSONDepth is far above what any catalogue nests (a FHIR expansion, six).
const maxJSONDepth = 32

// object is a JSON object whose names were all different. Names are compared
// exactly, unlike in encoding/json's structs, where "ID" overwrites "id".
type object map[string]any

// strictJSON reads one JSON value: UTF-8, no name twice in an object, at most
// [maxJSONDepth] deep, nothing behind it. Objects come as object, arrays as
// []any, numbers as json.Number. Which of two equal names counts differs
// between programs, so a file that has them says different things to different
// readers.
func strictJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("not UTF-8: %w", ErrCatalogueSyntax)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	value, err := strictValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("byte %d: more after the value: %w", dec.InputOffset(), ErrCatalogueSyntax)
	}
	return value, nil
}

// strictValue reads the next value from dec.
func strictValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("byte %d: nested too deep: %w", dec.InputOffset(), ErrCatalogueSyntax)
	}
	token, err := strictToken(dec)
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		array := []any{}
		for dec.More() {
			value, err := strictValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			array = append(array, value)
		}
		_, err := strictToken(dec) // ]
		return array, err
	case json.Delim('{'):
		o := object{}
		for dec.More() {
			name, err := strictToken(dec)
			if err != nil {
				return nil, err
			}
			// In an object the decoder lets only a string stand here.
			key, _ := name.(string)
			if _, twice := o[key]; twice {
				return nil, fmt.Errorf("byte %d: name %q: %w", dec.InputOffset(), key, ErrCatalogueDuplicateName)
			}
			value, err := strictValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			o[key] = value
		}
		_, err := strictToken(dec) // }
		return o, err
	}
	return token, nil
}

// strictToken reads the next token; the end of the data is a defect here.
func strictToken(dec *json.Decoder) (json.Token, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("byte %d: %w", dec.InputOffset(), ErrCatalogueSyntax)
	}
	return token, nil
}

// text returns a member that must be a string if it is there at all.
func (o object) text(name string) (string, error) {
	value, present := o[name]
	if !present || value == nil {
		return "", nil
	}
	s, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("%s: not a string: %w", name, ErrCatalogueShape)
	}
	return s, nil
}

// boolean returns a member that must be true or false if it is there at all.
func (o object) boolean(name string) (bool, error) {
	value, present := o[name]
	if !present || value == nil {
		return false, nil
	}
	b, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("%s: not true or false: %w", name, ErrCatalogueShape)
	}
	return b, nil
}

// count returns a member that must be a whole number from 0 to most if it is
// there at all.
func (o object) count(name string, most int64) (int, error) {
	value, present := o[name]
	if !present || value == nil {
		return 0, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%s: not a number: %w", name, ErrCatalogueShape)
	}
	n, err := number.Int64()
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s: not a whole number from 0 to %d: %w", name, most, ErrCatalogueShape)
	}
	return int(n), nil
}

// member returns a member that must be an object if it is there at all.
func (o object) member(name string) (object, error) {
	value, present := o[name]
	if !present || value == nil {
		return nil, nil
	}
	child, ok := value.(object)
	if !ok {
		return nil, fmt.Errorf("%s: not an object: %w", name, ErrCatalogueShape)
	}
	return child, nil
}

// objects returns a member that must be an array of objects if it is there at
// all.
func (o object) objects(name string) ([]object, error) {
	value, present := o[name]
	if !present || value == nil {
		return nil, nil
	}
	array, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: not an array: %w", name, ErrCatalogueShape)
	}
	children := make([]object, len(array))
	for i, value := range array {
		child, ok := value.(object)
		if !ok {
			return nil, fmt.Errorf("%s[%d]: not an object: %w", name, i, ErrCatalogueShape)
		}
		children[i] = child
	}
	return children, nil
}
