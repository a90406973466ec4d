package thing

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ampoule/trust/hotkeys"
)

// maxStatements bounds a list: more lots than are under discussion in the world at a
// time.
const maxStatements = 1 << 17

// maxTables bounds the keys that have a table while a file is read: one authority
// makes most of its statements.
const maxTables = 8

// LotEntry is a statement of a list and what became of it.
type LotEntry struct {
	SignedLot
	Source string
	// Refused is why it is not believed; nil where it is.
	Refused error
	// Withdrawn and Superseded tell statements that were believed once.
	Withdrawn, Superseded bool
}

// counts reports whether the statement still says something of its lot.
func (e *LotEntry) counts() bool {
	return e.Refused == nil && !e.Withdrawn && !e.Superseded && e.Statement.Value != Withdrawn
}

// LotList holds what is known about lots. It is safe for concurrent use as long
// as nothing is added.
type LotList struct {
	entries []*LotEntry
	byLot   map[string][]*LotEntry // those that count, by normalised lot
}

// Add reads a file of statements: one a line, or a roll of them, the signed message in
// base64 (RFC 4648 section 4, with padding). Empty lines and those that begin with # are
// passed over, so files can be joined and commented.
//
// A line that is no statement refuses the file: what it would have said must not
// be missed in silence. A statement that is not believed is kept with its reason.
func (l *LotList) Add(source string, data []byte, keys LotKeys, now time.Time) error {
	var added []*LotEntry
	hot := hotkeys.NewCache(min(len(keys), maxTables))
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		message, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil {
			return fmt.Errorf("%s, line %d: not base64: %w", source, n, ErrLine)
		}
		signed, err := ParseLots(message)
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", source, n, err)
		}
		if len(l.entries)+len(added)+len(signed) > maxStatements {
			return fmt.Errorf("%s, line %d: over %d: %w", source, n, maxStatements, ErrTooMany)
		}
		for i, refused := range keys.believe(signed, now, hot) {
			added = append(added, &LotEntry{SignedLot: signed[i], Source: source, Refused: refused})
		}
	}
	l.entries = append(l.entries, added...)
	l.settle()
	return nil
}

// AppendLine appends a signed statement to a file of them.
func AppendLine(dst, message []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(dst, message), '\n')
}

// Clone is a list of its own with the same statements; of none, an empty one.
func (l *LotList) Clone() *LotList {
	out := new(LotList)
	if l != nil {
		for _, e := range l.entries {
			own := *e
			out.entries = append(out.entries, &own)
		}
		out.settle()
	}
	return out
}

// Entries returns every statement that was read, in that order.
func (l *LotList) Entries() []*LotEntry { return l.entries }

// Numbers are the lots about which something counts, by their letters and digits; of no
// list, none.
func (l *LotList) Numbers() []string {
	if l == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(l.byLot))
}

// subject is what a later statement takes the place of: the same authority
// saying the same of the same doses. Another value takes no place: a recall is
// not lifted by stating the expiry of the lot, only by withdrawing it.
type subject struct {
	role                                           Role
	authority                                      string
	product                                        Product
	lot, country, centre, from, until, value, part string
}

func subjectOf(s *LotStatement) subject {
	return subject{
		s.Role, s.Authority, s.Product, NormalLot(s.Lot), s.Country, s.Centre, s.From, s.Until,
		string(s.Value), string(s.Part),
	}
}

// speaker is whose statement may withdraw whose.
type speaker struct {
	role      Role
	authority string
	id        StatementID
}

// settle works out which statements count.
func (l *LotList) settle() {
	withdrawn := make(map[speaker]bool)
	latest := make(map[subject]time.Time)
	seen := make(map[StatementID]bool)
	for _, e := range l.entries {
		e.Withdrawn, e.Superseded = false, false
		if s := e.Statement; e.Refused == nil && s.Withdraws != (StatementID{}) {
			withdrawn[speaker{s.Role, s.Authority, s.Withdraws}] = true
		}
	}
	for _, e := range l.entries {
		if e.Refused != nil {
			continue
		}
		e.Withdrawn = withdrawn[speaker{e.Statement.Role, e.Statement.Authority, e.ID}]
		if !e.counts() {
			continue
		}
		e.Superseded = seen[e.ID] // the same once more
		seen[e.ID] = true
		if about := subjectOf(e.Statement); e.Statement.Issued.After(latest[about]) {
			latest[about] = e.Statement.Issued
		}
	}
	l.byLot = make(map[string][]*LotEntry)
	for _, e := range l.entries {
		// Two different ones of the same second both stand, and the worse is heard.
		e.Superseded = e.Superseded || e.counts() && e.Statement.Issued.Before(latest[subjectOf(e.Statement)])
		if e.counts() {
			lot := NormalLot(e.Statement.Lot)
			l.byLot[lot] = append(l.byLot[lot], e)
		}
	}
}

// find returns the statements that count about the dose's lot and product, and
// whether one about another product is in a code system that the dose uses too:
// then it is known to be another, and otherwise it may be the same.
func (l *LotList) find(d Dose) (about []*LotStatement, mapped bool) {
	for _, e := range l.byLot[NormalLot(d.Lot)] {
		s := e.Statement
		if slices.Contains(d.Products, s.Product) {
			about = append(about, s)
		}
		sameSystem := func(p Product) bool { return p.System == s.Product.System }
		mapped = mapped || slices.ContainsFunc(d.Products, sameSystem)
	}
	return about, mapped
}
