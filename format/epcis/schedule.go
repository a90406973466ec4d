package epcis

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Schedule is when a query is run (EPCIS 2.0 section 8.2.5.3). Each of its fields is a
// list of numbers and of ranges, "1,[10-12]"; one that is empty is any. Times are UTC.
type Schedule struct {
	Second     string `json:"second,omitempty"`
	Minute     string `json:"minute,omitempty"`
	Hour       string `json:"hour,omitempty"`
	DayOfMonth string `json:"dayOfMonth,omitempty"`
	Month      string `json:"month,omitempty"`
	DayOfWeek  string `json:"dayOfWeek,omitempty"` // 1 is Monday
}

// fields are the bits of what each field allows.
func (s *Schedule) fields() (f [6]uint64, err error) {
	for i, c := range []struct {
		name, text string
		low, high  int
	}{
		{"second", s.Second, 0, 59}, {"minute", s.Minute, 0, 59}, {"hour", s.Hour, 0, 23},
		{"dayOfMonth", s.DayOfMonth, 1, 31}, {"month", s.Month, 1, 12}, {"dayOfWeek", s.DayOfWeek, 1, 7},
	} {
		if f[i], err = field60(c.text, c.low, c.high); err != nil {
			return f, fmt.Errorf("epcis: schedule: %s: %w", c.name, err)
		}
	}
	return f, nil
}

func field60(text string, low, high int) (set uint64, err error) {
	if len(text) > 400 {
		return 0, ErrQuery
	}
	if text == "" {
		return ^uint64(0), nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, until := part, part
		if inner, ok := strings.CutPrefix(part, "["); ok {
			if inner, ok = strings.CutSuffix(inner, "]"); !ok {
				return 0, ErrQuery
			}
			if from, until, ok = strings.Cut(inner, "-"); !ok {
				return 0, ErrQuery
			}
		}
		a, err1 := strconv.ParseUint(from, 10, 8)
		b, err2 := strconv.ParseUint(until, 10, 8)
		if err1 != nil || err2 != nil || int(a) < low || int(b) > high || a > b {
			return 0, ErrQuery
		}
		for n := a; n <= b; n++ {
			set |= 1 << n
		}
	}
	return set, nil
}

// Check fails with [ErrQuery] where the schedule is none, or never comes.
func (s *Schedule) Check() error {
	if _, err := s.fields(); err != nil {
		return err
	}
	if s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return fmt.Errorf("epcis: schedule: there is no such day: %w", ErrQuery)
	}
	return nil
}

// Next is the first time of the schedule after one; zero where there is none.
func (s *Schedule) Next(after time.Time) time.Time {
	f, err := s.fields()
	if err != nil {
		return time.Time{}
	}
	has := func(i, n int) bool { return f[i]>>n&1 == 1 }
	t := after.UTC().Truncate(time.Second).Add(time.Second)
	// Days first: of 29 February on a given day of the week there is one in 40 years at
	// the latest.
	for range 41 * 366 {
		day := int(t.Weekday()+6)%7 + 1
		if has(4, int(t.Month())) && has(3, t.Day()) && has(5, day) {
			for h := t.Hour(); h < 24; h++ {
				if !has(2, h) {
					continue
				}
				m, sec := 0, 0
				if h == t.Hour() {
					m, sec = t.Minute(), t.Second()
				}
				for ; m < 60; m, sec = m+1, 0 {
					if !has(1, m) {
						continue
					}
					if rest := f[0] >> sec << sec & (1<<60 - 1); rest != 0 {
						return time.Date(t.Year(), t.Month(), t.Day(), h, m, bits.TrailingZeros64(rest), 0, time.UTC)
					}
				}
			}
		}
		t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
	}
	return time.Time{}
}
