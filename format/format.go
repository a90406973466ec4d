// Package format holds what the codecs below it share: the type of their
// sentinel errors, findings, and what is asked of texts and days. Each folder below is one outside specification, bytes to Go
// values and back; none decides anything, none does any input or output.
package format

import "errors"

// Defect is one kind of defect that a codec can find. Its text is the stable
// reason word that a verdict shows ("truncated", "duplicate-key"), so it never
// changes once released. Codecs declare their defects as sentinels and wrap
// them with the place:
//
//	fmt.Errorf("base45: character %d: %w", i, ErrInvalidCharacter)
//
// Match with errors.Is, never by text.
type Defect string

// Error returns the reason word.
func (d Defect) Error() string { return string(d) }

// Reason returns the reason word of the defect that err wraps, or other where
// err wraps none.
func Reason(err error, other string) string {
	var d Defect
	if errors.As(err, &d) {
		return string(d)
	}
	return other
}
