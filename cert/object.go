package cert

import (
	"encoding/json"
	"fmt"
)

// object is a JSON object of a catalogue, as package strictjson reads it. Names
// are compared exactly, unlike in encoding/json's structs, where "ID" overwrites
// "id".
type object map[string]any

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
	child, ok := value.(map[string]any)
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
		child, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s[%d]: not an object: %w", name, i, ErrCatalogueShape)
		}
		children[i] = child
	}
	return children, nil
}
