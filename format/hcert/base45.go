package hcert

import (
	"fmt"
	"slices"
)

// The base45 alphabet is that of the QR alphanumeric mode (RFC 9285 section 4).
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// digit maps a character to its value, 255 for characters outside the alphabet.
var digit = func() (t [256]uint8) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte(alphabet) {
		t[c] = uint8(i)
	}
	return t
}()

// DecodeBase45 decodes the text after the context identifier (RFC 9285).
func DecodeBase45(text string) ([]byte, error) { return appendBase45Decoded(nil, text) }

// appendBase45Decoded decodes text (RFC 9285 section 4): three characters c, d,
// e give the number c + 45d + 45²e and two bytes, a final two characters one.
func appendBase45Decoded(dst []byte, text string) ([]byte, error) {
	// The length is judged first: no end of input has to be watched below.
	if len(text)%3 == 1 {
		if err := invalidCharacter(text, 0); err != nil {
			return dst, err // a character of several bytes upset the length
		}
		return dst, fmt.Errorf("base45: %d characters: %w", len(text), ErrBase45Length)
	}
	at := len(dst)
	dst = slices.Grow(dst, 2*len(text)/3+1)[:at+2*(len(text)/3)]
	i := 0
	for rest := text; len(rest) >= 3; rest = rest[3:] {
		c, d, e := digit[rest[0]], digit[rest[1]], digit[rest[2]]
		if c|d|e >= 64 { // the values are below 64, so 255 shows in the union
			return dst[:at], invalidCharacter(text, i)
		}
		n := uint(c) + 45*uint(d) + 2025*uint(e)
		if n > 0xffff {
			return dst[:at], fmt.Errorf("base45: characters %d to %d: %w", i, i+2, ErrBase45Overflow)
		}
		two := dst[at : at+2]
		two[0], two[1] = byte(n>>8), byte(n)
		at += 2
		i += 3
	}
	if i < len(text) {
		c, d := digit[text[i]], digit[text[i+1]]
		if c|d >= 64 {
			return dst, invalidCharacter(text, i)
		}
		n := uint(c) + 45*uint(d)
		if n > 0xff {
			return dst, fmt.Errorf("base45: characters %d to %d: %w", i, i+1, ErrBase45Overflow)
		}
		dst = append(dst, byte(n))
	}
	return dst, nil
}

// invalidCharacter names the first character outside the alphabet.
func invalidCharacter(text string, from int) error {
	for i := from; i < len(text); i++ {
		if digit[text[i]] == 255 {
			return fmt.Errorf("base45: character %d is byte 0x%02x: %w", i, text[i], ErrBase45Character)
		}
	}
	return nil
}

// EncodeBase45 encodes data as the text after the context identifier.
func EncodeBase45(data []byte) string { return string(appendBase45(nil, data)) }

// appendBase45 encodes data (RFC 9285 section 4).
func appendBase45(dst, data []byte) []byte {
	i := 0
	for ; i+2 <= len(data); i += 2 {
		n := uint(data[i])<<8 | uint(data[i+1])
		dst = append(dst, alphabet[n%45], alphabet[n/45%45], alphabet[n/2025])
	}
	if i < len(data) {
		n := uint(data[i])
		dst = append(dst, alphabet[n%45], alphabet[n/45])
	}
	return dst
}
