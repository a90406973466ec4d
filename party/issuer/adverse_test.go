package issuer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/format"
)

func TestAdverseCheck(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hours := func(n int) *int { return &n }
	good := Adverse{What: []Untoward{Fever, Anaphylaxis}, Onset: "2026-10-02", Hours: hours(20), Outcome: Recovering}
	for _, tt := range []struct {
		name   string
		change func(*Adverse)
		want   error
	}{
		{"as it is", func(*Adverse) {}, nil},
		{"hours are not known", func(a *Adverse) { a.Hours = nil }, nil},
		{"the same day", func(a *Adverse) { a.Onset, a.Hours = "2026-10-01", hours(0) }, nil},
		{"two days and two thirds", func(a *Adverse) { a.Hours = hours(64) }, ErrAdverse},
		{"below none", func(a *Adverse) { a.Hours = hours(-1) }, ErrAdverse},
		{"of a lifetime", func(a *Adverse) { a.Hours = hours(MaxAdverseHours + 1) }, ErrAdverse},
		{"nothing", func(a *Adverse) { a.What = nil }, format.RequiredMissing},
		{"not on the list", func(a *Adverse) { a.What = []Untoward{"cold"} }, ErrAdverse},
		{"twice", func(a *Adverse) { a.What = []Untoward{Fever, Fever} }, ErrAdverse},
		{"other, and no text", func(a *Adverse) { a.What = []Untoward{OtherUntoward} }, format.RequiredMissing},
		{"other", func(a *Adverse) { a.What, a.Text = []Untoward{OtherUntoward}, "A rash.\nIt went." }, nil},
		{"serious for another reason, and no text", func(a *Adverse) { a.Serious = []Gravity{OtherGravity} }, format.RequiredMissing},
		{"serious", func(a *Adverse) { a.Serious = []Gravity{LifeThreatening, Hospitalised} }, nil},
		{"serious as nothing is", func(a *Adverse) { a.Serious = []Gravity{"very"} }, ErrAdverse},
		{"died", func(a *Adverse) { a.Serious, a.Outcome = []Gravity{Death}, Died }, nil},
		{"died, and that is not serious", func(a *Adverse) { a.Outcome = Died }, ErrAdverse},
		{"death, and recovered", func(a *Adverse) { a.Serious = []Gravity{Death} }, ErrAdverse},
		{"no outcome", func(a *Adverse) { a.Outcome = "" }, ErrAdverse},
		{"before the dose", func(a *Adverse) { a.Onset = "2026-09-30" }, ErrAdverseDate},
		{"to come", func(a *Adverse) { a.Onset = "2026-11-26" }, ErrFuture},
		{"a month", func(a *Adverse) { a.Onset = "2026-10" }, format.BadDate},
		{"long", func(a *Adverse) { a.Text = strings.Repeat("é", MaxAdverseText) }, nil},
		{"too long", func(a *Adverse) { a.Text = strings.Repeat("e", MaxAdverseText+1) }, format.TooLong},
		{"a control character", func(a *Adverse) { a.Text = "a\x1b[2J" }, ErrAdverse},
		{"not UTF-8", func(a *Adverse) { a.Text = "\xff" }, ErrAdverse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := good
			tt.change(&a)
			if err := a.Check("2026-10-01", now); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
	if err := good.Check("2026-10", now); err != nil {
		t.Errorf("after a dose of a month: %v", err)
	}
}

// table is a lot's reports by two or three boxes.
type table struct{ reports, serious, a, b, c int }

// events are reports of which a table tells: every one has a box.
func (x table) events() []Adverse {
	out := make([]Adverse, x.reports)
	for n := range x.serious {
		out[n].Serious = []Gravity{Hospitalised}
	}
	next := 0
	for _, box := range []struct {
		what Untoward
		n    int
	}{{Fever, x.a}, {Sepsis, x.b}, {Abscess, x.c}} {
		for range box.n { // round and round, so that none is without, and none has one twice
			out[next%x.reports].What = append(out[next%x.reports].What, box.what)
			next++
		}
	}
	return out
}

// tables are all of up to n reports.
func tables(n, c int) (out []table) {
	for reports := range n + 1 {
		for serious := range reports + 1 {
			for a := range reports + 1 {
				for b := range reports + 1 {
					for c := range min(reports, c) + 1 {
						if a+b+c >= reports {
							out = append(out, table{reports, serious, a, b, c})
						}
					}
				}
			}
		}
	}
	return out
}

// numbers are those of a table that its numbers, or their differences, tell.
func (x table) numbers() map[string]int {
	return map[string]int{
		"reports": x.reports, "serious": x.serious, "not serious": x.reports - x.serious, "of a": x.a, "of b": x.b, "of c": x.c,
		"not of a": x.reports - x.a, "not of b": x.reports - x.b, "not of c": x.reports - x.c, "several boxes": x.a + x.b + x.c - x.reports,
	}
}

// possible are the values that the numbers can have behind one answer.
type possible map[string]map[string]map[int]bool

func (p possible) add(answer, name string, n int) {
	if p[answer] == nil {
		p[answer] = map[string]map[int]bool{}
	}
	if p[answer][name] == nil {
		p[answer][name] = map[int]bool{}
	}
	p[answer][name][n] = true
}

// check fails where an answer leaves only one value, and that is one to four.
func (p possible) check(t *testing.T) {
	t.Helper()
	for answer, numbers := range p {
		for name, values := range numbers {
			for n := range values {
				if len(values) == 1 && 0 < n && n < fewer {
					t.Errorf("%s tells that %s is %d", answer, name, n)
				}
			}
		}
	}
}

func (c *LotCounts) text() string {
	return fmt.Sprint(c.Reports, c.Serious, c.What[Fever], c.What[Sepsis], c.What[Abscess])
}

// TestCountsTellNoSmallNumber asks of every table what its answer leaves open: whoever
// knows how answers are made, and sees one, can work out no number from one to four.
func TestCountsTellNoSmallNumber(t *testing.T) {
	p, exact := possible{}, 0
	for _, x := range tables(11, 11) {
		c := countLot([]LotDoses{{Doses: 100, Adverse: x.events()}})
		if got, want := c.Reports, (Count{x.reports, x.reports}); got == want && x.reports > 0 {
			exact++
		}
		for name, n := range x.numbers() {
			p.add(c.text(), name, n)
		}
	}
	p.check(t)
	if exact < 10 || len(p) < 20 {
		t.Errorf("%d answers, %d of them exact: nothing is told", len(p), exact)
	}
}

// TestCountsOfTheWholeAndAPart: nor can whoever sees the answers of the whole and of one place
// work out those of the other.
func TestCountsOfTheWholeAndAPart(t *testing.T) {
	// Many with one box, and fewer with two, since all pairs are looked at.
	parts := slices.DeleteFunc(tables(11, 0), func(x table) bool { return x.b > 0 && (x.serious > 0 || x.reports > 7) })
	p := possible{}
	doses := make([]LotDoses, len(parts))
	for n, x := range parts {
		doses[n] = LotDoses{Doses: 50, Adverse: x.events()}
	}
	for n := range parts {
		told := countLot(doses[n : n+1]).text()
		for m, y := range parts {
			answer := countLot([]LotDoses{doses[n], doses[m]}).text() + " of which " + told
			for name, n := range y.numbers() {
				p.add(answer, name, n)
			}
		}
	}
	p.check(t)
}

func TestCountsOfFewDoses(t *testing.T) {
	for _, tt := range []struct {
		doses int
		want  Count
		told  bool
	}{{0, Count{0, 0}, false}, {1, Count{1, 4}, false}, {4, Count{1, 4}, false}, {5, Count{5, 5}, true}} {
		c := countLot([]LotDoses{{Doses: tt.doses, Adverse: table{reports: 1, a: 1}.events()}})
		if c.Doses != tt.want || c.Told != tt.told || !tt.told && (c.Reports != Count{} || c.What != nil) {
			t.Errorf("%d doses: %+v", tt.doses, c)
		}
	}
}
