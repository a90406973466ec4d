package interop

import (
	"fmt"
	"time"

	"ampoule/format/eudcc"
)

// parseClock reads a validation clock. Ruling 3: without a zone it is UTC, and
// +0200 is accepted.
func parseClock(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("clock %q cannot be read", s)
}

func sameInstant(a, b string) bool {
	if len(a) < 16 || len(b) < 16 {
		return false
	}
	x, errX := eudcc.ParseDateTime(a)
	y, errY := eudcc.ParseDateTime(b)
	return errX == nil && errY == nil && x.Equal(y)
}

// walk applies f to every text of a JSON value.
func walk(v any, f func(string) string) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = walk(e, f)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = walk(e, f)
		}
		return out
	case string:
		return f(x)
	}
	return v
}

func truncateTimes(v any) any {
	return walk(v, func(s string) string {
		if t, err := eudcc.ParseDateTime(s); err == nil && len(s) >= 16 {
			return t.UTC().Truncate(time.Second).Format(time.RFC3339)
		}
		return s
	})
}

// withoutEmpty drops members that are null or empty text: a certificate says the
// same without them.
func withoutEmpty(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range x {
			if e = withoutEmpty(e); e != nil && e != "" {
				out[k] = e
			}
		}
		return out
	case []any:
		for i, e := range x {
			x[i] = withoutEmpty(e)
		}
	}
	return v
}
