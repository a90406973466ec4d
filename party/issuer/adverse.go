package issuer

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/thing"
)

// Adverse is an adverse event following immunisation (AEFI): something untoward that came
// after a dose. That it came after is all that is said; whether it came of the dose is for
// those who investigate. It has the core variables of WHO's standard reporting form for
// AEFI (Global manual on surveillance of adverse events following immunization, revised
// 2016) that the record of the dose does not have already. It is personal.
type Adverse struct {
	What  []Untoward `json:"what"`
	Onset cert.Date  `json:"onset"` // on which day it began
	// Hours from the dose to the onset; nil: not known.
	Hours *int `json:"hours,omitempty"`
	// Serious is why it is serious; empty: it is not.
	Serious  []Gravity `json:"serious,omitempty"`
	Outcome  Outcome   `json:"outcome"`
	Text     string    `json:"text,omitempty"`
	Role     string    `json:"role"` // of the one who reported it, here
	Reported time.Time `json:"reported"`
	// Withdrawn is set where it was reported of the wrong dose, or did not happen.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// Untoward is one box of the form's list.
type Untoward string

// The list of the form, in its order.
const (
	SevereLocal      Untoward = "severe-local-reaction" // over three days, or beyond the nearest joint
	Seizures         Untoward = "seizures"
	Abscess          Untoward = "abscess"
	Sepsis           Untoward = "sepsis"
	Encephalopathy   Untoward = "encephalopathy"
	ToxicShock       Untoward = "toxic-shock-syndrome"
	Thrombocytopenia Untoward = "thrombocytopenia"
	Anaphylaxis      Untoward = "anaphylaxis"
	Fever            Untoward = "fever" // 38 °C or more
	OtherUntoward    Untoward = "other" // as the text says
)

// Untowards are all of them.
var Untowards = []Untoward{SevereLocal, Seizures, Abscess, Sepsis, Encephalopathy, ToxicShock, Thrombocytopenia, Anaphylaxis, Fever, OtherUntoward}

// Gravity is why an event is serious.
type Gravity string

// Why it is.
const (
	Death           Gravity = "death"
	LifeThreatening Gravity = "life-threatening"
	Disability      Gravity = "disability"
	Hospitalised    Gravity = "hospitalisation"
	Congenital      Gravity = "congenital-anomaly"
	OtherGravity    Gravity = "other-important"
)

// Gravities are all of them, in the order of the form.
var Gravities = []Gravity{Death, LifeThreatening, Disability, Hospitalised, Congenital, OtherGravity}

// Outcome is how it went on.
type Outcome string

// The outcomes.
const (
	Recovering   Outcome = "recovering"
	Recovered    Outcome = "recovered"
	WithSequelae Outcome = "recovered-with-sequelae"
	NotRecovered Outcome = "not-recovered"
	Died         Outcome = "died"
	NotKnown     Outcome = "unknown"
)

// Outcomes are all of them, in the order of the form.
var Outcomes = []Outcome{Recovering, Recovered, WithSequelae, NotRecovered, Died, NotKnown}

// The bounds of a report.
const (
	MaxAdverseText  = 1000       // characters
	MaxAdverseHours = 24 * 36525 // a lifetime
	MaxAdverse      = 100        // reports of a record
)

// The defects of a report, besides those of [Book].
const (
	ErrAdverse     = format.Defect("malformed-adverse-event")   // what it says does not go together
	ErrNoLot       = format.Defect("no-lot")                    // the record tells of no dose with a lot
	ErrManyAdverse = format.Defect("too-many-adverse-events")   // of this record
	ErrNoAdverse   = format.Defect("no-such-adverse-event")     // of this record
	ErrWithdrawn   = format.Defect("adverse-event-withdrawn")   // what was withdrawn stays so
	ErrAdverseDate = format.Defect("adverse-event-before-dose") // it did not follow
)

// AdverseReport is a report as it is kept: of the dose of a record.
type AdverseReport struct {
	ID      ID
	Version int64 // +1 with each change, from 1; the earlier ones stay, sealed
	Record  ID    // of which it was reported
	Adverse
}

// Check says what is wrong with an event after a dose of a day, or nil.
func (a *Adverse) Check(dose cert.Date, now time.Time) error {
	if err := knownOnce("what", a.What, Untowards); err != nil {
		return err
	}
	if err := knownOnce("serious", a.Serious, Gravities); err != nil {
		return err
	}
	if err := notInFuture("onset", a.Onset, now); err != nil {
		return err
	}
	switch {
	case len(a.What) == 0:
		return fmt.Errorf("what: %w", format.RequiredMissing)
	case !slices.Contains(Outcomes, a.Outcome):
		return fmt.Errorf("outcome: %w", ErrAdverse)
	case slices.Contains(a.Serious, Death) != (a.Outcome == Died):
		return fmt.Errorf("outcome: died, and death is why it is serious, go together: %w", ErrAdverse)
	case utf8.RuneCountInString(a.Text) > MaxAdverseText:
		return fmt.Errorf("text: over %d characters: %w", MaxAdverseText, format.TooLong)
	case slices.ContainsFunc([]rune(a.Text), func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) && r != '\n' }):
		return fmt.Errorf("text: %w", ErrAdverse)
	case a.Text == "" && (slices.Contains(a.What, OtherUntoward) || slices.Contains(a.Serious, OtherGravity)):
		return fmt.Errorf("text: says what other means: %w", format.RequiredMissing)
	case a.Hours != nil && (*a.Hours < 0 || *a.Hours > MaxAdverseHours):
		return fmt.Errorf("hours: %w", ErrAdverse)
	}
	given, err := time.Parse(time.DateOnly, string(dose))
	if err != nil {
		return nil // a dose of a month or a year: what followed it on which day is not to be told
	}
	onset, _ := time.Parse(time.DateOnly, string(a.Onset)) // checked above
	if onset.Before(given) {
		return fmt.Errorf("onset: %w", ErrAdverseDate)
	}
	// The dose was given at some hour of its day, so that the onset's day leaves a day open
	// on both sides.
	if days := int(onset.Sub(given) / (24 * time.Hour)); a.Hours != nil && (*a.Hours < 24*(days-1) || *a.Hours > 24*(days+1)) {
		return fmt.Errorf("hours: not on the day of onset: %w", ErrAdverse)
	}
	return nil
}

// Says reports whether another report says the same, whoever said it and when.
func (r *AdverseReport) Says(o AdverseReport) bool {
	a, b := r.Adverse, o.Adverse
	hours := a.Hours == b.Hours || a.Hours != nil && b.Hours != nil && *a.Hours == *b.Hours
	return hours && slices.Equal(a.What, b.What) && a.Onset == b.Onset && slices.Equal(a.Serious, b.Serious) && a.Outcome == b.Outcome && a.Text == b.Text && a.Withdrawn == b.Withdrawn
}

// knownOnce reports whether each word is a known one, and none there twice.
func knownOnce[T ~string](path string, words, known []T) error {
	for n, w := range words {
		if !slices.Contains(known, w) || slices.Contains(words[:n], w) {
			return fmt.Errorf("%s: %w", path, ErrAdverse)
		}
	}
	return nil
}

// Report keeps an adverse event that followed the dose of a record. Where corrects names
// an earlier report of that record in the version that was seen, this is its next version;
// the earlier one stays and counts no more. One that is withdrawn says nothing else. To
// report once more what stands already makes no second report, but returns the first.
func (r *Registry) Report(ctx context.Context, by Actor, record ID, corrects Guard, a Adverse) (*AdverseReport, error) {
	// Step 1: refuse what can be refused by what is known now.
	head, err := r.Head(ctx, by, record)
	switch {
	case err != nil:
		return nil, err
	case head.State == Superseded || head.State == Revoked && head.Reason == ReasonNotDone:
		return nil, fmt.Errorf("record %s is %s: %w", record, head.State, ErrState)
	}
	day, err := r.Book.DoseDay(ctx, record)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", record, err)
	}
	line := r.line(by, ActionAdverse)
	line.Record, line.Place = record, head.Place
	a.Reported = line.At
	report := &AdverseReport{ID: corrects.ID, Version: corrects.Version + 1, Record: record, Adverse: a}
	switch {
	case a.Withdrawn && corrects == (Guard{}):
		return nil, fmt.Errorf("what is withdrawn was reported: %w", ErrNoAdverse)
	case a.Withdrawn:
		report.Adverse = Adverse{Withdrawn: true, Role: a.Role, Reported: a.Reported}
	default:
		if err := a.Check(day, r.Now()); err != nil {
			return nil, err
		}
	}
	if corrects == (Guard{}) {
		if report.ID, err = NewID(r.Now(), r.Rand); err != nil {
			return nil, err
		}
	}

	// Step 2: keep it.
	if err := r.Book.PutAdverse(ctx, report, line); err != nil {
		return nil, fmt.Errorf("record %s: %w", record, err)
	}
	return report, nil
}

// Reports returns the newest version of what was reported of a record's dose, those of the
// records that it corrects among them, in the order of the reports. That they were read is
// on the audit log before they are.
func (r *Registry) Reports(ctx context.Context, by Actor, record ID) ([]AdverseReport, error) {
	head, err := r.Head(ctx, by, record)
	if err != nil {
		return nil, err
	}
	line := r.line(by, ActionRead)
	line.Record, line.Place = record, head.Place
	reports, err := r.Book.Adverse(ctx, record, line)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", record, err)
	}
	return reports, nil
}

// LotDoses are doses of a lot that one place gave of one product.
type LotDoses struct {
	Place    Place
	Products []thing.Product
	Doses    int
	Adverse  []Adverse
}

// fewer is the number under which a count could point at a person.
const fewer = 5

// Count is a number, or as much of it as is told: one from From to To; To below From: no
// less than From.
type Count struct{ From, To int }

// countOf tells a number exactly, or coarsely: none, fewer than five, five or more.
func countOf(n int, exact bool) Count {
	switch {
	case exact || n == 0:
		return Count{n, n}
	case n < fewer:
		return Count{1, fewer - 1}
	}
	return Count{fewer, 0}
}

// LotCounts is what was reported of the doses of a lot, in numbers. A number of reports is
// no signal by itself, and says nothing about what they came of.
type LotCounts struct {
	// Doses are those given that records tell of.
	Doses Count
	// Told is false where so few doses are known that a count of reports would be about
	// one of them; the rest is empty then.
	Told bool
	// Reports, and Serious among them; What by what happened. A report can have several of these.
	Reports, Serious Count
	What             map[Untoward]Count
}

// LotCounts counts what was reported of the doses of a lot that the actor's place gave.
// codes are all codes of the product.
func (r *Registry) LotCounts(ctx context.Context, by Actor, codes []thing.Product, lot string) (*LotCounts, error) {
	if err := checkBy(by); err != nil {
		return nil, err
	}
	var of []LotDoses
	err := r.Book.LotAdverse(ctx, thing.NormalLot(lot), by.Within, func(d LotDoses) error {
		if slices.ContainsFunc(d.Products, func(p thing.Product) bool { return slices.Contains(codes, p) }) {
			of = append(of, d)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lot: %w", err)
	}
	return countLot(of), nil
}

// tally is what is counted.
type tally struct {
	reports, serious int
	what             map[Untoward]int
}

func (t *tally) add(events []Adverse) {
	for _, a := range events {
		t.reports++
		if len(a.Serious) > 0 {
			t.serious++
		}
		for _, w := range a.What {
			t.what[w]++
		}
	}
}

// small reports whether one of its numbers, or of their differences, is one to four.
func (t *tally) small() bool {
	few := func(n int) bool { return 0 < n && n < fewer }
	if few(t.reports) || few(t.serious) || few(t.reports-t.serious) {
		return true
	}
	boxes := 0
	for _, n := range t.what {
		if few(n) || few(t.reports-n) {
			return true
		}
		boxes += n
	}
	return few(boxes - t.reports) // of reports with several
}

// countLot tells all numbers, or all of them coarsely: a single one that is held back
// could be worked out from the others. They are told where none is small at any place or
// of any product that is counted together: what one asks of the whole, and knows or asks
// of a part, has no small difference then.
func countLot(of []LotDoses) *LotCounts {
	whole, exact, doses := &tally{what: map[Untoward]int{}}, true, 0
	for _, d := range of {
		part := &tally{what: map[Untoward]int{}}
		part.add(d.Adverse)
		whole.add(d.Adverse)
		exact = exact && !part.small()
		doses += d.Doses
	}
	out := &LotCounts{Doses: countOf(doses, doses >= fewer)}
	if doses < fewer {
		return out
	}
	out.Told, out.Reports, out.Serious = true, countOf(whole.reports, exact), countOf(whole.serious, exact)
	out.What = make(map[Untoward]Count, len(Untowards))
	for _, w := range Untowards {
		out.What[w] = countOf(whole.what[w], exact)
	}
	return out
}
