package hcert

import (
	"fmt"
	"slices"
)

// The base45 alphabet is that of the QR alphanumeric mode (RFC 9285 section 4).
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// value maps a character to its digit times 1, 45 and 2025, for the first, second
// and third of a group. Characters outside the alphabet are so large that any
// sum with them exceeds two bytes: one comparison finds them and overflows.
var value = func() (t [3][256]uint32) {
	for i := range 256 {
		t[0][i], t[1][i], t[2][i] = invalid, invalid, invalid
	}
	for i, c := range []byte(alphabet) {
		t[0][c], t[1][c], t[2][c] = uint32(i), 45*uint32(i), 2025*uint32(i)
	}
	return t
}()

const invalid = 1 << 20

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
	start, size := len(dst), len(text)/3*2+len(text)%3/2
	dst = slices.Grow(dst, size)[:start+size]
	out := dst[start:]
	i, o := 0, 0
	for ; i < len(text)-2 && o < len(out)-1; i, o = i+3, o+2 {
		n := value[0][text[i]] + value[1][text[i+1]] + value[2][text[i+2]]
		if n > 0xffff {
			return dst[:start], badGroup(text, i, 3)
		}
		out[o], out[o+1] = byte(n>>8), byte(n)
	}
	if i < len(text) {
		n := value[0][text[i]] + value[1][text[i+1]]
		if n > 0xff {
			return dst[:start], badGroup(text, i, 2)
		}
		out[o] = byte(n)
	}
	return dst, nil
}

// badGroup says what is wrong with a group of characters that gives no bytes.
func badGroup(text string, at, size int) error {
	if err := invalidCharacter(text[:at+size], at); err != nil {
		return err
	}
	return fmt.Errorf("base45: characters %d to %d: %w", at, at+size-1, ErrBase45Overflow)
}

// invalidCharacter names the first character outside the alphabet.
func invalidCharacter(text string, from int) error {
	for i := from; i < len(text); i++ {
		if value[0][text[i]] == invalid {
			return fmt.Errorf("base45: character %d is byte 0x%02x: %w", i, text[i], ErrBase45Character)
		}
	}
	return nil
}

// pairs are the first two characters of a group, by its number modulo 45².
var pairs = func() (t [45 * 45][2]byte) {
	for n := range t {
		t[n] = [2]byte{alphabet[n%45], alphabet[n/45]}
	}
	return t
}()

// EncodeBase45 encodes data as the text after the context identifier.
func EncodeBase45(data []byte) string { return string(appendBase45(nil, data)) }

// appendBase45 encodes data (RFC 9285 section 4).
func appendBase45(dst, data []byte) []byte {
	i := 0
	for ; i+2 <= len(data); i += 2 {
		n := uint(data[i])<<8 | uint(data[i+1])
		p := &pairs[n%(45*45)]
		dst = append(dst, p[0], p[1], alphabet[n/(45*45)])
	}
	if i < len(data) {
		p := &pairs[data[i]]
		dst = append(dst, p[0], p[1])
	}
	return dst
}
