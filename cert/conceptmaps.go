package cert

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"ampoule/format"
	"ampoule/format/fhir"
)

// ConceptMaps says what the codes of one system are in another. It holds the
// statements of every map that was loaded, read in both directions, each with the
// equivalence that the map gives it (FHIR R4 ConceptMap).
//
// What stands for a code must be true of it. So only two kinds of statement
// translate: an exact one, and one whose target means more, which is told. A
// code is never narrowed, and what is merely related is shown and not used.
//
// A ConceptMaps does not change once loaded; it may then be used concurrently.
type ConceptMaps struct {
	sources    []ConceptMapSource
	statements map[conceptKey][]statement
}

// ConceptMapSource is one map that was loaded.
type ConceptMapSource struct {
	Name    string `json:"name"`    // its canonical URL with the version, or the name in a table
	Licence string `json:"licence"` // what the map says of it; empty where it says nothing
	Pairs   int    `json:"pairs"`
}

// conceptKey is a code of a system, both in the form in which they are compared.
type conceptKey struct{ system, code string }

// statement is what one map says of a concept.
type statement struct {
	target      Code
	key         conceptKey
	equivalence fhir.Equivalence
	source      int
}

// Match is a concept of another system, how it is related to the one that was
// asked about ("the match is wider"), and the maps that say so.
type Match struct {
	Code        Code             `json:"code"`
	Equivalence fhir.Equivalence `json:"equivalence"`
	Maps        []string         `json:"maps"`
}

// Defects of a file of concept maps, besides those of package fhir.
const (
	ErrConceptTable = format.Defect("concept-table-unknown-form")
	ErrTooManyPairs = format.Defect("too-many-pairs")
)

// maxPairs bounds what is kept: CVX to everything has some thousand pairs, the
// largest maps of SNOMED CT some hundred thousand.
const maxPairs = 1 << 20

// builtinConcepts are maps of our own: see the comment at the head of the file.
//
//go:embed conceptmaps.csv
var builtinConcepts []byte

// BuiltinConceptMaps returns the maps that come with Ampoule: the diseases under
// ICD-11 and SNOMED CT, and some vaccines under CVX, ATC and the EU's codes. Others
// have licences that do not let us: operators load what WHO publishes.
func BuiltinConceptMaps() *ConceptMaps {
	return &ConceptMaps{sources: slices.Clip(builtinMaps().sources), statements: cloneStatements(builtinMaps().statements)}
}

var builtinMaps = sync.OnceValue(func() *ConceptMaps {
	m := new(ConceptMaps)
	name := m.source("ampoule:diseases", "Ampoule's own table of identifiers of ICD-11 (WHO) and SNOMED CT (SNOMED International)")
	for _, d := range diseases {
		m.state(name, Code{d.ICD11, systemICD11, d.DisplayEN}, Code{d.SNOMED, systemSNOMED, d.DisplayEN}, fhir.Equivalent)
	}
	if err := m.Add("conceptmaps.csv", builtinConcepts); err != nil {
		panic("cert: " + err.Error())
	}
	return m
})

func cloneStatements(from map[conceptKey][]statement) map[conceptKey][]statement {
	to := make(map[conceptKey][]statement, len(from))
	for k, v := range from {
		to[k] = slices.Clip(v) // so that an append copies
	}
	return to
}

// Sources returns the maps that were loaded, in that order.
func (m *ConceptMaps) Sources() []ConceptMapSource {
	if m == nil {
		return nil
	}
	return m.sources
}

// Add reads a file: a FHIR R4 ConceptMap or a Bundle of them in JSON, or a table
// (RFC 4180) whose first line names its columns: source_system, source_code,
// target_system, target_code and equivalence, and if it likes map,
// source_display, target_display and licence. Lines that begin with # are
// passed over.
//
// A file that cannot be read as a whole adds nothing.
func (m *ConceptMaps) Add(name string, data []byte) error {
	grown := &ConceptMaps{sources: slices.Clip(m.sources), statements: cloneStatements(m.statements)}
	read := grown.addTable
	if trimmed := bytes.TrimLeft(data, "\ufeff \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		read = grown.addFHIR
	}
	if err := read(name, data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*m = *grown
	return nil
}

func (m *ConceptMaps) addFHIR(name string, data []byte) error {
	maps, err := fhir.DecodeConceptMaps(data)
	if err != nil {
		return err
	}
	for _, c := range maps {
		if c.Status == "retired" {
			continue
		}
		title := c.URL
		if title == "" {
			title = name
		}
		if c.Version != "" {
			title += "|" + c.Version
		}
		s := m.source(title, c.Copyright)
		for _, g := range c.Group {
			for _, e := range g.Element {
				for _, t := range e.Target {
					if len(t.DependsOn) > 0 || len(t.Product) > 0 {
						continue // it holds only together with more than a code
					}
					if err := m.state(s, Code{e.Code, g.Source, e.Display}, Code{t.Code, g.Target, t.Display}, t.Equivalence); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (m *ConceptMaps) addTable(name string, data []byte) error {
	if len(data) > fhir.MaxConceptMapSize {
		return fmt.Errorf("%d bytes: %w", len(data), format.TooLong)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.Comment, r.ReuseRecord = '#', true
	head, err := r.Read()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConceptTable, err)
	}
	column := make(map[string]int)
	for i, title := range head {
		column[strings.TrimSpace(title)] = i
	}
	for _, title := range []string{"source_system", "source_code", "target_system", "target_code", "equivalence"} {
		if _, there := column[title]; !there {
			return fmt.Errorf("no column %s: %w", title, ErrConceptTable)
		}
	}
	named := make(map[string]int)
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrConceptTable, err)
		}
		cell := func(title string) string {
			if i, there := column[title]; there {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		line, _ := r.FieldPos(0)
		e := fhir.Equivalence(cell("equivalence"))
		if _, reversible := e.Reversed(); !reversible && e != fhir.Unmatched {
			return fmt.Errorf("line %d: equivalence %.40q: %w", line, e, format.BadCode)
		}
		from := Code{cell("source_code"), cell("source_system"), cell("source_display")}
		to := Code{cell("target_code"), cell("target_system"), cell("target_display")}
		if from.Code == "" || from.System == "" || to.System == "" || to.Code == "" && e != fhir.Unmatched && e != fhir.Disjoint {
			return fmt.Errorf("line %d: a code or a system: %w", line, format.RequiredMissing)
		}
		title := cell("map")
		if title == "" {
			title = name
		}
		s, known := named[title]
		if !known {
			s = m.source(title, cell("licence"))
			named[title] = s
		}
		if err := m.state(s, from, to, e); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

func (m *ConceptMaps) source(name, licence string) int {
	m.sources = append(m.sources, ConceptMapSource{Name: name, Licence: licence})
	return len(m.sources) - 1
}

// state keeps a statement, and the same read from the other side.
func (m *ConceptMaps) state(source int, from, to Code, e fhir.Equivalence) error {
	if m.statements == nil {
		m.statements = make(map[conceptKey][]statement)
	}
	if m.pairs() >= maxPairs {
		return fmt.Errorf("over %d: %w", maxPairs, ErrTooManyPairs)
	}
	m.sources[source].Pairs++
	a, b := keyOf(from), keyOf(to)
	m.statements[a] = append(m.statements[a], statement{to, b, e, source})
	if back, ok := e.Reversed(); ok && to.Code != "" {
		m.statements[b] = append(m.statements[b], statement{from, a, back, source})
	}
	return nil
}

func (m *ConceptMaps) pairs() int {
	n := 0
	for _, s := range m.sources {
		n += s.Pairs
	}
	return n
}

func keyOf(c Code) conceptKey { return conceptKey{conceptSystem(c.System), c.Code} }

// systemAliases are further names of code systems: as object identifiers, and as
// published maps and certificates write them.
var systemAliases = map[string]string{
	"urn:oid:2.16.840.1.113883.6.96":   systemSNOMED,
	"urn:oid:2.16.840.1.113883.6.1":    systemLOINC,
	"urn:oid:2.16.840.1.113883.6.73":   systemATC,
	"urn:oid:2.16.840.1.113883.12.292": fhir.SystemCVX,
	// The EU's product list mixes entries of its register with names for what no
	// register of the Union has; WHO's map calls both by the register.
	systemTempProduct: systemEURegister,
	systemTempHolder:  systemSPOR,
}

// conceptSystem is the form in which code systems are compared: one name, no
// version. ICD-11's linearisation for mortality and morbidity statistics goes by
// the addresses of its releases.
func conceptSystem(system string) string {
	system, _, _ = strings.Cut(system, "|")
	if known, ok := systemAliases[system]; ok {
		return known
	}
	if strings.HasPrefix(system, "http://id.who.int/icd") && strings.HasSuffix(system, "/mms") {
		return systemICD11
	}
	return system
}

// systemNames are short names for the code systems that certificates use.
var systemNames = map[string]string{
	"atc": systemATC, "cvx": fhir.SystemCVX, "eu-product": systemEURegister, "icd11": systemICD11,
	"icvp-product": SystemICVPProduct, "loinc": systemLOINC, "snomed": systemSNOMED,
}

// SystemNamed returns the code system with a short name, such as cvx, and every
// other text as it is.
func SystemNamed(name string) string {
	if system, known := systemNames[name]; known {
		return system
	}
	return name
}

// Matches returns what the maps say of a code in a system: each statement, exact
// ones first; and where there is none of them, an exact concept that a chain of
// one-to-one statements leads to.
func (m *ConceptMaps) Matches(c Code, system string) []Match {
	if m == nil || c.Code == "" {
		return nil
	}
	system = conceptSystem(system)
	var matches []Match
	for _, s := range m.statements[keyOf(c)] {
		if s.key.system != system {
			continue
		}
		found := slices.IndexFunc(matches, func(other Match) bool {
			return other.Code.Code == s.target.Code && other.Equivalence == s.equivalence
		})
		if found < 0 {
			matches = append(matches, Match{Code: s.target, Equivalence: s.equivalence})
			found = len(matches) - 1
		}
		if name := m.sources[s.source].Name; !slices.Contains(matches[found].Maps, name) {
			matches[found].Maps = append(matches[found].Maps, name)
		}
	}
	slices.SortStableFunc(matches, func(a, b Match) int { return closeness(a.Equivalence) - closeness(b.Equivalence) })
	if len(matches) == 0 {
		if chained, ok := m.chain(c, system); ok {
			matches = append(matches, chained)
		}
	}
	return matches
}

func closeness(e fhir.Equivalence) int {
	switch {
	case e.Exact():
		return 0
	case e.MeansMore():
		return 1
	}
	return 2
}

// Translate returns the concept that may stand for a code in a system: the only
// exact one, else the only one that means more. Where maps contradict each other,
// or offer several, none does.
func (m *ConceptMaps) Translate(c Code, system string) (Match, bool) {
	matches := m.Matches(c, system)
	denied := func(code string) bool { // by another statement on the same pair
		return slices.ContainsFunc(matches, func(other Match) bool {
			return closeness(other.Equivalence) == 2 && (other.Code.Code == code || other.Code.Code == "")
		})
	}
	for want := range 2 {
		var found []Match
		for _, match := range matches {
			if closeness(match.Equivalence) == want && !denied(match.Code.Code) &&
				!slices.ContainsFunc(found, func(f Match) bool { return f.Code.Code == match.Code.Code }) {
				found = append(found, match)
			}
		}
		if len(found) > 0 {
			return found[0], len(found) == 1
		}
	}
	return Match{}, false
}

// Equivalents returns every concept that has the same meaning: those that one-to-one
// statements lead to, over [maxChain] of them at most.
func (m *ConceptMaps) Equivalents(c Code) []Code {
	if m == nil || c.Code == "" {
		return nil
	}
	var found []Code
	seen := map[conceptKey]bool{keyOf(c): true}
	front := []conceptKey{keyOf(c)}
	for range maxChain {
		var next []conceptKey
		for _, from := range front {
			for _, s := range m.oneToOne(from) {
				if !seen[s.key] {
					seen[s.key] = true
					found = append(found, s.target)
					next = append(next, s.key)
				}
			}
		}
		front = next
	}
	return found
}

// maxChain is how many maps a chain may go through: into a hub such as ICD-11,
// out of it, and one more.
const maxChain = 3

// chain looks for the only concept of a system that a chain of exact statements
// leads to. Each step must be one to one: published maps call one vaccine
// equivalent to three groups at once, and from such a crossing a chain would come
// out anywhere. What is not exact is never chained.
func (m *ConceptMaps) chain(c Code, system string) (Match, bool) {
	type path struct {
		at   statement
		maps []string
	}
	start := keyOf(c)
	seen := map[conceptKey]bool{start: true}
	front := []path{{at: statement{target: c, key: start}}}
	for range maxChain {
		var next []path
		var found []Match
		for _, p := range front {
			for _, s := range m.oneToOne(p.at.key) {
				if seen[s.key] {
					continue
				}
				seen[s.key] = true
				step := path{s, append(slices.Clone(p.maps), m.sources[s.source].Name)}
				if s.key.system == system {
					found = append(found, Match{s.target, fhir.Equivalent, step.maps})
				}
				next = append(next, step)
			}
		}
		if len(found) > 0 {
			return found[0], len(found) == 1
		}
		front = next
	}
	return Match{}, false
}

// oneToOne returns the exact statements of a concept that are the only ones to
// their system, and the only ones back.
func (m *ConceptMaps) oneToOne(from conceptKey) []statement {
	only := func(of conceptKey, system string) (s statement, ok bool) {
		for _, x := range m.statements[of] {
			if x.key.system != system || !x.equivalence.Exact() {
				continue
			}
			if ok && x.key != s.key {
				return statement{}, false
			}
			s, ok = x, true
		}
		return s, ok
	}
	var steps []statement
	for _, s := range m.statements[from] {
		forth, ok := only(from, s.key.system)
		if !ok || slices.ContainsFunc(steps, func(o statement) bool { return o.key == forth.key }) {
			continue
		}
		if back, ok := only(forth.key, from.system); ok && back.key == from {
			steps = append(steps, forth)
		}
	}
	return steps
}
