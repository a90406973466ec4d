package thing

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ampoule/cert"
	"ampoule/format"
)

// Dose is what a certificate says of one dose, as far as lots go by it.
type Dose struct {
	Products []Product // every code that the certificate has for it
	Name     string    // of the product in a catalogue that the operator loaded; never the issuer's words
	Disease  string    // our word, or a code that [cert.FindDisease] knows
	Lot      string
	Country  string // ISO 3166-1, two or three letters
	// Assumed tells that the country is the issuer's and not stated of the dose. A
	// concern may rest on it, an all-clear may not.
	Assumed bool
	Centre  string
	Given   string // YYYY-MM-DD
}

// AdviceValue is one of three.
type AdviceValue string

// The advices.
const (
	Concern   AdviceValue = "concern"
	NoConcern AdviceValue = "no-concern"
	NotKnown  AdviceValue = "not-known"
)

// The reasons of an advice.
const (
	// Of a concern, the gravest first.
	ReasonRecalled = "recalled"
	ReasonExpired  = "expired-when-given"
	ReasonSpoiled  = "spoiled"
	ReasonHeat     = "heat"
	ReasonFrozen   = "frozen"

	// Of no concern.
	ReasonMeasured = "measured"

	// Of not knowing. The first four leave a concern possible.
	ReasonPart        = "part-of-lot"
	ReasonPlace       = "place-not-known"
	ReasonDate        = "date-not-known"
	ReasonSensitivity = "freeze-sensitivity-not-known"
	ReasonStoodFreeze = "freeze-does-no-harm"
	ReasonInDate      = "in-date-when-given"
	ReasonNotCovered  = "not-covered" // statements of the lot, for other places or days
	ReasonNotMapped   = "product-not-mapped"
	ReasonNoStatement = "no-statement"
	ReasonNoLot       = "no-lot"
)

// Advice is what is known against a dose. Reason is a stable word; Detail is for
// people and holds nothing about a person.
type Advice struct {
	Value  AdviceValue
	Reason string
	Detail string
}

// weight orders what single statements find: the heaviest is the answer.
type weight int

const (
	silent  weight = iota // says nothing for or against the dose
	cleared               // a positive statement that covers it
	// open: a concern if the dose is one of those meant. It outweighs an all-clear,
	// which would claim what cannot be told.
	open
	against
)

type finding struct {
	weight weight
	reason string
	detail string
}

// reasonOrder breaks ties of weight: the first is told.
var reasonOrder = []string{
	ReasonRecalled, ReasonExpired, ReasonSpoiled, ReasonHeat, ReasonFrozen, ReasonMeasured,
	ReasonPart, ReasonPlace, ReasonDate, ReasonSensitivity, ReasonStoodFreeze, ReasonInDate, ReasonNotCovered,
}

// Advise answers for one dose. A concern outweighs everything; no-concern needs
// a positive statement that covers the dose, and nothing left open against it.
func (l *LotList) Advise(d Dose) Advice {
	if l == nil {
		return Advice{NotKnown, ReasonNoStatement, ""}
	}
	if NormalLot(d.Lot) == "" {
		return Advice{NotKnown, ReasonNoLot, ""}
	}
	about, mapped := l.find(d)
	if len(about) == 0 {
		if !mapped && len(l.byLot[NormalLot(d.Lot)]) > 0 {
			return Advice{NotKnown, ReasonNotMapped, "something is said of a lot so marked, of a product that the certificate has no code for"}
		}
		return Advice{NotKnown, ReasonNoStatement, ""}
	}
	var findings []finding
	for _, s := range about {
		findings = append(findings, judge(s, d))
	}
	slices.SortStableFunc(findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight),
			cmp.Compare(slices.Index(reasonOrder, a.reason), slices.Index(reasonOrder, b.reason)))
	})
	const most = 8
	var details []string
	for i, f := range findings {
		if i == most {
			details = append(details, fmt.Sprintf("%d more", len(findings)-most))
			break
		}
		details = append(details, f.detail)
	}
	value := NotKnown
	switch findings[0].weight {
	case against:
		value = Concern
	case cleared:
		value = NoConcern
	}
	return Advice{value, findings[0].reason, strings.Join(details, "; ")}
}

// judge says what one statement, about the dose's product and lot, means for it.
func judge(s *LotStatement, d Dose) finding {
	said := fmt.Sprintf("%s %s: %s", s.Role, s.Authority, s.Value)
	f := finding{weight: against}
	switch s.Value {
	case Recalled:
		f.reason = ReasonRecalled
	case Spoiled:
		f.reason = ReasonSpoiled
	case Heat:
		f.reason = ReasonHeat
	case ExpiresOn:
		said += " " + s.Expiry
		switch {
		case !format.IsDate(d.Given):
			f = finding{weight: open, reason: ReasonDate}
		case d.Given > s.Expiry: // the day printed on the vial is the last on which it may be used
			f.reason = ReasonExpired
		default:
			f = finding{weight: silent, reason: ReasonInDate}
		}
	case Freeze:
		switch FreezeHarm(d) {
		case Harmed:
			f.reason = ReasonFrozen
		case NotHarmed:
			f = finding{weight: silent, reason: ReasonStoodFreeze}
		default:
			f = finding{weight: open, reason: ReasonSensitivity}
		}
	case Unharmed:
		said += ", " + percent(s.Measured) + " of the path measured"
		f = finding{weight: cleared, reason: ReasonMeasured}
	}

	place, period := inPlace(s, d), inPeriod(s, d)
	switch {
	case place == no || period == no:
		f = finding{weight: silent, reason: ReasonNotCovered}
	case s.Part == Some:
		f.leaveOpen(ReasonPart)
	case place == unsure, d.Assumed && s.Country != "" && f.weight == cleared:
		f.leaveOpen(ReasonPlace)
	case period == unsure:
		f.leaveOpen(ReasonDate)
	}
	f.detail = said
	if f.weight != against && f.reason != ReasonMeasured {
		f.detail += " (" + f.reason + ")"
	}
	return f
}

// leaveOpen weakens a finding of which it is not sure that the dose is meant. An
// all-clear that may not cover the dose says nothing.
func (f *finding) leaveOpen(reason string) {
	switch f.weight {
	case against:
		f.weight, f.reason = open, reason
	case cleared:
		f.weight, f.reason = silent, reason
	}
}

// answer is whether a dose is within a scope.
type answer int

const (
	no answer = iota
	unsure
	yes
)

func inPlace(s *LotStatement, d Dose) answer {
	if s.Country == "" {
		return yes
	}
	country := strings.ToUpper(strings.TrimSpace(d.Country))
	if len(country) == 3 {
		country, _ = cert.Alpha2(country) // codes of the network's tests are of no country
	}
	switch {
	case !format.IsCapitals(country, 2):
		return unsure
	case country != s.Country:
		// The issuer's country is a guess about the dose: good enough to find it
		// within a scope, too weak to put it outside of one.
		if d.Assumed {
			return unsure
		}
		return no
	case s.Centre == "":
		return yes
	case samePlace(s.Centre, d.Centre):
		return yes
	}
	return unsure // one centre is written in many ways
}

func samePlace(a, b string) bool {
	fold := func(s string) string { return strings.Join(strings.Fields(format.NFC(s)), " ") }
	return strings.EqualFold(fold(a), fold(b))
}

func inPeriod(s *LotStatement, d Dose) answer {
	switch {
	case s.From == "" && s.Until == "":
		return yes
	case !format.IsDate(d.Given):
		return unsure
	case s.From != "" && d.Given < s.From, s.Until != "" && d.Given > s.Until:
		return no
	}
	return yes
}

// percent writes ten-thousandths as "92 %".
func percent(n int) string {
	return strconv.FormatFloat(float64(n)/100, 'f', -1, 64) + " %"
}

// Worst joins the advices of the doses of one certificate: a concern about any is
// one about the whole, and all must be cleared for no concern. Of equal ones the
// first stands.
func Worst(advices ...Advice) Advice {
	rank := map[AdviceValue]int{Concern: 2, NotKnown: 1, NoConcern: 0}
	worst := advices[0]
	for _, a := range advices[1:] {
		if rank[a.Value] > rank[worst.Value] {
			worst = a
		}
	}
	return worst
}
