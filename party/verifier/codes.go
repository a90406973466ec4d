package verifier

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"ampoule/format/shc"
)

// Codes returns the texts in a file that is no picture: of the cards of a
// .smart-health-card file, or of a text file, in which each line that begins like
// a code is one.
func Codes(data []byte) ([]string, error) {
	if shc.IsFile(data) {
		return cardCodes(data)
	}
	text := string(bytes.TrimPrefix(data, []byte("\ufeff")))
	var codes []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if !codeScheme.MatchString(line) {
			return []string{text}, nil // not a list of codes: one text, judged as it is
		}
		codes = append(codes, line)
	}
	if len(codes) == 0 {
		return []string{""}, nil
	}
	return codes, nil
}

// codeScheme begins a code that is one line.
var codeScheme = regexp.MustCompile(`(?i)^(hc.|shc|shlink|vhlink):`)

func cardCodes(data []byte) ([]string, error) {
	cards, err := shc.ParseFile(shc.Field, data)
	if err != nil {
		return nil, err
	}
	var texts []string
	for i, card := range cards {
		if card.Err != nil {
			return nil, fmt.Errorf("card %d: %w", i+1, card.Err)
		}
		texts = append(texts, card.JWS.Text)
	}
	return texts, nil
}
