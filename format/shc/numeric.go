package shc

import (
	"fmt"
	"strconv"
	"strings"
)

// offset is the code of '-', the least character of a JWS (specification,
// "Encoding QRs"); most is the value of 'z', the greatest.
const (
	offset = '-'
	most   = 'z' - offset
)

// Numeric writes a JWS as the text of one QR code. The scheme is meant for a
// segment in byte mode, the digits for one in numeric mode.
func Numeric(jws string) (string, error) {
	if len(jws) > MaxQR {
		return "", fmt.Errorf("SHC: a JWS of %d characters, and a QR code of version 22 holds %d: %w", len(jws), MaxQR, irregularTooLong)
	}
	out := append(make([]byte, 0, len(Scheme)+2*len(jws)), Scheme...)
	for i := range len(jws) {
		c := jws[i] - offset
		if c > most { // a smaller character wraps to a large one
			return "", fmt.Errorf("SHC: character %d: %w", i, ErrEncoding)
		}
		out = append(out, '0'+c/10, '0'+c%10)
	}
	return string(out), nil
}

// chunk is one QR code of a set.
type chunk struct {
	index, total int
	digits       string
}

// joinNumeric turns the texts of QR codes into the JWS.
func joinNumeric(p Profile, remarks *[]string, texts []string) (string, error) {
	upper := false
	for _, t := range texts {
		if !hasScheme(t) {
			return "", fmt.Errorf("SHC: several texts that are not all of one card: %w", ErrSeveral)
		}
		upper = upper || t[:len(Scheme)] != Scheme
	}
	if upper {
		if err := irregular(p, remarks, ErrUppercase); err != nil {
			return "", err
		}
	}
	if body := texts[0][len(Scheme):]; len(texts) == 1 && !strings.Contains(body, "/") {
		jws, err := decodeDigits(body)
		if err == nil && len(jws) > MaxQR {
			err = irregular(p, remarks, irregularTooLong)
		}
		return jws, err
	}
	chunks, err := readChunks(texts)
	if err != nil {
		return "", err
	}
	note(remarks, noteChunked)
	var jws strings.Builder
	long := false
	for i, digits := range chunks {
		part, err := decodeDigits(digits)
		if err != nil {
			return "", fmt.Errorf("chunk %d: %w", i+1, err)
		}
		long = long || len(part) > maxChunk
		jws.WriteString(part)
	}
	if long {
		if err := irregular(p, remarks, irregularChunkLong); err != nil {
			return "", err
		}
	}
	if jws.Len() <= MaxQR {
		if err := irregular(p, remarks, irregularChunked); err != nil {
			return "", err
		}
	}
	return jws.String(), nil
}

// readChunks puts the texts of a set into their order, which is any: people
// scan as they like. Nothing is allocated by what a text says of itself.
func readChunks(texts []string) ([]string, error) {
	var chunks []string
	for i, t := range texts {
		c, err := readChunk(t[len(Scheme):])
		switch {
		case err != nil:
			return nil, fmt.Errorf("chunk text %d: %w", i+1, err)
		case chunks == nil:
			chunks = make([]string, c.total) // at most maxChunks
		case len(chunks) != c.total:
			return nil, fmt.Errorf("chunk text %d is of %d, and another of %d: %w", i+1, c.total, len(chunks), ErrTotals)
		}
		if chunks[c.index-1] != "" {
			return nil, fmt.Errorf("chunk %d is there twice: %w", c.index, ErrDuplicateChunk)
		}
		chunks[c.index-1] = c.digits
	}
	for i, digits := range chunks {
		if digits == "" {
			return nil, fmt.Errorf("chunk %d of %d: %w", i+1, len(chunks), ErrMissingChunk)
		}
	}
	return chunks, nil
}

// readChunk reads "index/total/digits".
func readChunk(body string) (c chunk, err error) {
	part := strings.Split(body, "/")
	if len(part) == 1 {
		return c, fmt.Errorf("a whole card among chunks: %w", ErrSeveral)
	}
	if len(part) != 3 || part[2] == "" {
		return c, fmt.Errorf("not index/total/digits: %w", ErrNotDigits)
	}
	if c.total = ordinal(part[1], maxChunks); c.total == 0 {
		return c, fmt.Errorf("total: not a number from 1 to %d: %w", maxChunks, ErrBadTotal)
	}
	if c.index = ordinal(part[0], c.total); c.index == 0 {
		return c, fmt.Errorf("index: not a number from 1 to %d: %w", c.total, ErrBadIndex)
	}
	c.digits = part[2]
	return c, nil
}

// ordinal reads a number from 1 to most in its shortest form; 0 for anything
// else.
func ordinal(text string, most int) int {
	if len(text) > 3 || text == "" || text[0] < '1' || text[0] > '9' {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n > most {
		return 0
	}
	return n
}

// decodeDigits turns pairs of digits into characters.
func decodeDigits(digits string) (string, error) {
	if len(digits) == 0 || len(digits)%2 != 0 {
		return "", whyNotDigits(digits)
	}
	out := make([]byte, len(digits)/2)
	for i := range out {
		pair := digits[2*i : 2*i+2]
		tens, ones := pair[0]-'0', pair[1]-'0'
		n := 10*tens + ones
		if tens > 9 || ones > 9 || n > most {
			return "", whyNotDigits(digits)
		}
		out[i] = n + offset
	}
	return string(out), nil
}

// whyNotDigits names the first defect.
func whyNotDigits(digits string) error {
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		return fmt.Errorf("SHC: character %d: %w", i, ErrNotDigits)
	}
	if len(digits) == 0 || len(digits)%2 != 0 {
		return fmt.Errorf("SHC: %d digits: %w", len(digits), ErrLength)
	}
	i := 0
	for 10*(digits[i]-'0')+digits[i+1]-'0' <= most {
		i += 2
	}
	return fmt.Errorf("SHC: digits %d and %d: %w", i, i+1, ErrOutOfRange)
}
