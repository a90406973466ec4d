package hcert

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"ampoule/format"
)

// TestBase45Vectors are the examples of RFC 9285 sections 4.3 and 4.4, and the
// edges of one and two bytes.
func TestBase45Vectors(t *testing.T) {
	for _, tt := range []struct{ plain, text string }{
		{"", ""},
		{"AB", "BB8"},
		{"Hello!!", "%69 VD92EX0"},
		{"base-45", "UJCLQE7W581"},
		{"ietf!", "QED8WEX0"},
		{"\x00", "00"},
		{"\xff", "U5"},
		{"\x00\x00", "000"},
		{"\xff\xff", "FGW"},
		{"\xff\xff\xff", "FGWU5"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			if got := string(appendBase45(nil, []byte(tt.plain))); got != tt.text {
				t.Errorf("encoded %q", got)
			}
			got, err := DecodeBase45(tt.text)
			if err != nil || string(got) != tt.plain {
				t.Errorf("decoded %q, %v", got, err)
			}
		})
	}
}

func TestBase45Refuses(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       format.Defect
	}{
		{"one character", "A", ErrBase45Length},
		{"four characters", "BB8A", ErrBase45Length},
		{"GGW is 65536", "GGW", ErrBase45Overflow},
		{"three of the last", ":::", ErrBase45Overflow},
		{"V5 is 256", "V5", ErrBase45Overflow},
		{"two of the last", "::", ErrBase45Overflow},
		{"overflow at the end", "BB8::", ErrBase45Overflow},
		{"lower case", "bb8", ErrBase45Character},
		{"lower case, last", "BB8BBa", ErrBase45Character},
		{"lower case in two", "Ab", ErrBase45Character},
		{"tab", "BB\t", ErrBase45Character},
		{"line feed", "BB8\n", ErrBase45Character},
		{"NUL", "\x00B8", ErrBase45Character},
		{"character of two bytes", "BB8é", ErrBase45Character},
		{"character of three bytes", "BB8水", ErrBase45Character},
		{"full-width letter", "ＢB8", ErrBase45Character},
		{"not UTF-8", "\xffB8", ErrBase45Character},
		{"underscore", "B_8", ErrBase45Character},
		{"equals sign", "BB=", ErrBase45Character},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := DecodeBase45(tt.text); !errors.Is(err, tt.want) {
				t.Errorf("DecodeBase45(%q) = %v, want %v", tt.text, err, tt.want)
			}
		})
	}
}

// TestBase45Exhaustive decodes every text of two characters of the alphabet and
// every number of two bytes. None of them ends with a space: the last character
// is the highest digit, at most 32 of three and 5 of two.
func TestBase45Exhaustive(t *testing.T) {
	seen := make(map[byte]bool)
	for i := range len(alphabet) {
		for j := range len(alphabet) {
			text := string([]byte{alphabet[i], alphabet[j]})
			got, err := DecodeBase45(text)
			if n := i + 45*j; n > 255 {
				if !errors.Is(err, ErrBase45Overflow) {
					t.Fatalf("%q: %v", text, err)
				}
			} else if err != nil || len(got) != 1 || int(got[0]) != n || seen[got[0]] {
				t.Fatalf("%q is %x, %v", text, got, err)
			} else {
				seen[got[0]] = true
			}
		}
	}
	for n := range 1 << 16 {
		data := binary.BigEndian.AppendUint16(nil, uint16(n))
		text := appendBase45(nil, data)
		if got, err := DecodeBase45(string(text)); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%x is %q is %x, %v", data, text, got, err)
		}
		if text[2] == ' ' {
			t.Fatalf("%x ends with a space", data)
		}
	}
}

// FuzzBase45 goes both ways: what decodes is encoded to the same text, since
// every byte sequence has one text only, and every input comes back.
func FuzzBase45(f *testing.F) {
	for _, s := range []string{"", "BB8", "%69 VD92EX0", "UJCLQE7W581", "GGW", "::", "A", "bb8", "FGWU5", "BB8é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if data, err := DecodeBase45(text); err == nil {
			if again := string(appendBase45(nil, data)); again != text {
				t.Errorf("%q is %x is %q", text, data, again)
			}
		} else if !errors.Is(err, ErrBase45Length) && !errors.Is(err, ErrBase45Overflow) && !errors.Is(err, ErrBase45Character) {
			t.Errorf("%q: %v", text, err)
		}
		encoded := string(appendBase45([]byte("x"), []byte(text)))
		if strings.Trim(encoded[1:], alphabet) != "" {
			t.Errorf("%x is %q", text, encoded)
		}
		if back, err := DecodeBase45(encoded[1:]); err != nil || string(back) != text {
			t.Errorf("%x is %q is %x, %v", text, encoded, back, err)
		}
	})
}
