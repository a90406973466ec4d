package main

import (
	"testing"
	"time"

	"ampoule/internal/keys"
)

// TestNewest: a new signer is listed for a day before it signs, unless there is no
// other.
func TestNewest(t *testing.T) {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Specimen", Name: "Specimen SCA"}, begin, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := func(at time.Time) *keys.Key {
		t.Helper()
		k, err := sca.IssueDSC(keys.DSCProfile{}, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	old, next := made(begin), made(begin.AddDate(1, 0, 0))
	for _, c := range []struct {
		name string
		all  []*keys.Key
		at   time.Time
		want *keys.Key
	}{
		{"the first, at once", []*keys.Key{old}, begin, old},
		{"the next is not listed yet", []*keys.Key{old, next}, begin.AddDate(1, 0, 0).Add(23 * time.Hour), old},
		{"for a day", []*keys.Key{next, old}, begin.AddDate(1, 0, 1), next},
		{"before it begins", []*keys.Key{next, old}, begin.AddDate(0, 6, 0), old},
		{"the old has ended", []*keys.Key{old, next}, begin.AddDate(2, 0, 1), next},
		{"none", nil, begin, nil},
	} {
		if got := newest(c.all, false, c.at); got != c.want {
			t.Errorf("%s: another key", c.name)
		}
	}
}
