package fleet

import (
	"bytes"
	"testing"
)

func TestFromSegments(t *testing.T) {
	one := []byte{0xd2, 0x84, 0x41, 0xa0, 0xa0, 0x41, 1, 0x41, 2}
	two := []byte{0xd2, 0x84, 0x41, 0xa0, 0xa0, 0x41, 3, 0x41, 4}
	for _, tt := range []struct {
		name string
		body []byte
		want [][]byte // nil: refused
	}{
		{"one", one, [][]byte{one}},
		{"two", bytes.Join([][]byte{one, two}, nil), [][]byte{one, two}},
		{"nothing", nil, nil},
		{"cut off", one[:5], nil},
		{"a break between", bytes.Join([][]byte{one, {0xff}, two}, nil), nil},
		{"a break at the end", append(bytes.Clone(one), 0xff), nil},
		{"too many", bytes.Repeat([]byte{0}, MaxSegments+1), nil},
		{"too long", make([]byte, MaxSegmentBytes+1), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := FromSegments(Source{}, tt.body)
			if (err == nil) != (tt.want != nil) {
				t.Fatal(d, err)
			}
			if err == nil && !bytes.Equal(bytes.Join(d.Segments, []byte("|")), bytes.Join(tt.want, []byte("|"))) {
				t.Errorf("%x", d.Segments)
			}
		})
	}
}

func FuzzFromSegments(f *testing.F) {
	f.Add([]byte{0xd2, 0x84, 0x41, 0xa0, 0xa0, 0x41, 1, 0x41, 2, 0xa0})
	f.Fuzz(func(t *testing.T, body []byte) {
		if d, err := FromSegments(Source{}, body); err == nil && !bytes.Equal(bytes.Join(d.Segments, nil), body) {
			t.Fatalf("%x is not %x", d.Segments, body)
		}
	})
}
