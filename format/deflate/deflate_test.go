package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"testing"
)

func stream(t testing.TB, text string) []byte {
	t.Helper()
	data, err := Deflate([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestInflate(t *testing.T) {
	const most = 1000
	full := strings.Repeat("x", most)
	whole := stream(t, "The quick brown fox jumps over the lazy dog.")
	for _, tc := range []struct {
		name string
		in   []byte
		want string
		err  error
	}{
		{"a text", whole, "The quick brown fox jumps over the lazy dog.", nil},
		{"nothing inside", stream(t, ""), "", nil},
		{"at the limit", stream(t, full), full, nil},
		{"one more", stream(t, full+"x"), "", ErrTooLarge},
		{"a bomb", stream(t, strings.Repeat("x", 8<<20)), "", ErrTooLarge},
		{"no bytes", nil, "", ErrEmpty},
		{"cut", whole[:len(whole)-2], "", ErrTruncated},
		{"cut in the middle", whole[:len(whole)/2], "", ErrTruncated},
		{"one byte after", append(bytes.Clone(whole), 0), "", ErrTrailing},
		{"twice", append(bytes.Clone(whole), whole...), "", ErrTrailing},
		{"a zlib header", append([]byte{0x78, 0x9c}, whole...), "", ErrCorrupt},
		{"a block of no type", []byte{7}, "", ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Inflate(tc.in, most)
			if !errors.Is(err, tc.err) || string(got) != tc.want {
				t.Errorf("%q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

// A limit is no size: memory follows what comes out.
func TestInflateAllocatesByNeed(t *testing.T) {
	in := stream(t, "short")
	if got, err := Inflate(in, 1<<40); err != nil || cap(got) > 4096 {
		t.Errorf("capacity %d, %v", cap(got), err)
	}
}

// FuzzInflate compares with the standard library.
func FuzzInflate(f *testing.F) {
	whole := stream(f, strings.Repeat("The quick brown fox. ", 20))
	f.Add(whole)
	f.Add(whole[:20])
	f.Add([]byte{1, 0, 0, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 4096
		got, err := Inflate(data, most)
		in := bytes.NewReader(data)
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(in), most+1))
		switch {
		case err == nil && (wantErr != nil || !bytes.Equal(got, want) || in.Len() > 0):
			t.Errorf("accepted %x: the standard library says %v", data, wantErr)
		case err != nil && wantErr == nil && len(want) <= most && in.Len() == 0 && len(data) > 0:
			t.Errorf("refused %x: %v", data, err)
		}
	})
}
