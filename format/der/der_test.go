package der

import (
	"bytes"
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	for _, tc := range []struct {
		tag  byte
		text string
		want string
	}{
		{TagUTCTime, "491231235959Z", "2049-12-31T23:59:59Z"},
		{TagUTCTime, "500101000000Z", "1950-01-01T00:00:00Z"},
		{TagUTCTime, "690101000000Z", "1969-01-01T00:00:00Z"},
		{TagGeneralizedTime, "20560101000000Z", "2056-01-01T00:00:00Z"},
		{TagUTCTime, "2601010000Z", ""},
		{TagGeneralizedTime, "20561301000000Z", ""},
		{TagOctetString, "20560101000000Z", ""},
	} {
		r := &Reader{Rest: Encode(tc.tag, []byte(tc.text))}
		got := r.Time("t")
		if tc.want == "" {
			if r.Err == nil {
				t.Errorf("%s: accepted as %s", tc.text, got)
			}
		} else if r.Err != nil || got.Format(time.RFC3339) != tc.want {
			t.Errorf("%s: %s, want %s (%v)", tc.text, got, tc.want, r.Err)
		}
	}
}

func FuzzDefinite(f *testing.F) {
	f.Add([]byte{0x30, 0x80, 0x24, 0x80, 4, 1, 1, 4, 1, 2, 0, 0, 0, 0})
	f.Add([]byte{0x30, 3, 2, 1, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Definite(data)
		if err != nil {
			return
		}
		again, err := Definite(out)
		if err != nil || !bytes.Equal(again, out) || len(out) > len(data)+8 && len(out) > 2*len(data) {
			t.Errorf("%x became %x, and then %x: %v", data, out, again, err)
		}
		r := &Reader{Rest: out}
		if r.Next("all"); r.Err != nil || len(r.Rest) != 0 {
			t.Errorf("%x became %x, which is not one element: %v", data, out, r.Err)
		}
	})
}
