package keys

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var planned = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestPlan: a participant's certificates over the years, and what is to be done.
func TestPlan(t *testing.T) {
	p := Participant{Country: "XA", Organization: "Specimen", Name: "Specimen SCA"}
	sca, err := NewSCA(p, planned, nil)
	if err != nil {
		t.Fatal(err)
	}
	dsc := func(sca *SCA, at time.Time, usages ...Usage) *Key {
		t.Helper()
		k, err := sca.IssueDSC(DSCProfile{Usages: usages}, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	file := func(name string, k *Key) Planned {
		out := Planned{Name: name, Role: RoleOf(k.Certificate()), Certificate: k.Certificate()}
		if len(k.Chain) > 1 {
			out.Issuer = k.Chain[1]
		}
		return out
	}
	up, err := NewUP(p, planned, nil)
	if err != nil {
		t.Fatal(err)
	}
	newUP, err := NewUP(p, planned.AddDate(0, 11, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := NewTLS(p, planned, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, second := dsc(sca, planned), dsc(sca, planned.AddDate(0, 11, 0))
	years := planned.AddDate(2, 0, 0)
	for _, c := range []struct {
		name string
		all  []Planned
		now  time.Time
		want string
	}{
		{"a new authority", []Planned{file("sca", sca.Key)}, planned,
			"2027-12-01 order sca later, 2028-02-29 publish sca later, 2028-03-01 use sca later"},
		{"a new signer", []Planned{file("dsc", first)}, planned,
			"2027-01-29 order dsc later, 2027-02-28 publish dsc later, 2027-03-01 use dsc later"},
		{"a signer of 11 months", []Planned{file("dsc", first)}, planned.AddDate(0, 11, 0),
			"2027-01-29 order dsc overdue, 2027-02-28 publish dsc month, 2027-03-01 use dsc month"},
		{"a signer that can sign nothing for a year", []Planned{file("dsc", first)}, planned.AddDate(1, 1, 0),
			"2027-01-29 order dsc overdue, 2027-02-28 publish dsc overdue, 2027-03-01 use dsc overdue"},
		{"with its successor, that day", []Planned{file("dsc", first), file("new", second)}, planned.AddDate(0, 11, 0),
			"2027-02-01 publish dsc overdue by new, 2027-02-02 use dsc week by new, 2028-01-01 order new later, 2028-01-31 publish new later, 2028-02-01 use new later, 2028-03-01 retire dsc later by new"},
		{"and once it is used", []Planned{file("dsc", first), file("new", second)}, planned.AddDate(0, 11, 2),
			"2028-01-01 order new later, 2028-01-31 publish new later, 2028-02-01 use new later, 2028-03-01 retire dsc later by new"},
		{"a successor for something else", []Planned{file("dsc", first), file("tests", dsc(sca, planned.AddDate(0, 11, 0), UsageTest))}, planned.AddDate(0, 11, 2),
			"2027-01-29 order dsc overdue, 2027-02-28 publish dsc month, 2027-03-01 use dsc month, 2028-01-01 order tests later, 2028-01-31 publish tests later, 2028-02-01 use tests later"},
		{"upload and connection", []Planned{file("up", up), file("tls", tls)}, planned,
			"2027-01-28 order tls later, 2027-01-28 order up later, 2027-02-27 publish tls later, 2027-02-27 publish up later, 2027-02-28 use tls later, 2027-02-28 use up later"},
		{"a new upload key", []Planned{file("up", up), file("new", newUP)}, planned.AddDate(0, 11, 0),
			"2027-03-01 re-sign up month by new, 2027-03-01 retire up month by new, 2027-12-31 order new later, 2028-01-30 publish new later, 2028-01-31 use new later"},
		{"ended", []Planned{file("up", up)}, years, "2027-03-01 retire up overdue"},
		{"that outlives its signer", []Planned{{Name: "dsc", Role: RoleDSC, Certificate: second.Certificate(), Issuer: first.Certificate()}}, planned.AddDate(0, 11, 0),
			"2028-01-01 order dsc later, 2028-01-31 publish dsc later, 2028-02-01 use dsc later, 2028-03-01 mend dsc later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, d := range Plan(c.all, DefaultTerms, c.now) {
				line := fmt.Sprintf("%s %s %s %s", d.At.Format(time.DateOnly), d.Task, d.Name, d.Urgency)
				if d.Successor != "" {
					line += " by " + d.Successor
				}
				got = append(got, line)
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("\n%s, want\n%s", strings.Join(got, ", "), c.want)
			}
		})
	}
	for left, want := range map[time.Duration]Urgency{0: Overdue, time.Second: Week, 7 * 24 * time.Hour: Week, 7*24*time.Hour + 1: Month, 30 * 24 * time.Hour: Month, 31 * 24 * time.Hour: Quarter, 90 * 24 * time.Hour: Quarter, 91 * 24 * time.Hour: Later} {
		if got := UrgencyOf(planned.Add(left), planned); got != want {
			t.Errorf("%s: %s, want %s", left, got, want)
		}
	}
	for want, k := range map[Role]*Key{RoleSCA: sca.Key, RoleDSC: first, RoleUP: up, RoleTLS: tls} {
		if got := RoleOf(k.Certificate()); got != want {
			t.Errorf("%s taken for %s", want, got)
		}
	}
}
