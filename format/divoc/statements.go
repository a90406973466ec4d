package divoc

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"ampoule/format/rdfc"
)

// This file makes the statements of a document, as the algorithms of JSON-LD
// 1.1 do (W3C, expansion and deserialization to RDF), for what certificates are
// made of: nodes inside nodes, types, identifiers, texts, numbers, arrays as
// sets. Whatever JSON-LD would pass over in silence stays out of the statements
// and so out of the signature; here it refuses the document:
//
//	a name, a type or a value of proofPurpose that no context defines   undefined-term
//	an identifier that is not absolute                                  relative-iri
//	a context inside the document                                       context-not-allowed
//
// JSON-LD's further means (lists, languages, graphs, reverse properties, arrays
// in arrays) occur in no certificate and are refused with unsupported-shape. So
// is one identifier on two nodes: their statements would become one node's, and
// how they are dealt out between the two would not be signed.

// Limits of a document. A certificate nests four nodes deep, and has some 30
// statements and 15 for each dose.
const (
	maxDepth      = 12
	maxStatements = 2000
)

// scope is the active context: the names that hold at one place.
type scope struct {
	names vocabulary
	// before is the context that holds again in nodes below: the names that a type
	// brings are for the node that has it (JSON-LD 1.1 section 4.1.8).
	before *scope
}

// statements collects the statements of a document.
type statements struct {
	quads   []rdfc.Quad
	blanks  int
	labels  map[string]string // blank nodes that the document names
	defined map[string]bool   // nodes that have been described
}

// statementsOf returns the statements of a document under the names at its top.
func statementsOf(root map[string]any, names vocabulary) ([]rdfc.Quad, error) {
	s := statements{labels: map[string]string{}, defined: map[string]bool{}}
	if _, err := s.node(root, &scope{names: names}, nil, 0); err != nil {
		return nil, err
	}
	return s.quads, nil
}

// enter returns the context with the names that a property brings.
func (c *scope) enter(names vocabulary) *scope {
	if len(names) == 0 {
		return c
	}
	return &scope{names: c.names.with(names), before: c.before}
}

// enterType returns the context with the names that a type brings, for this
// node alone. A type must not give a protected name another meaning.
func (c *scope) enterType(names vocabulary, outside *scope) (*scope, error) {
	for name, t := range names {
		if old, present := c.names[name]; present && !reflect.DeepEqual(old, t) {
			return nil, fmt.Errorf("a type that redefines a name: %w", ErrShape)
		}
	}
	inside := &scope{names: c.names.with(names), before: c.before}
	if inside.before == nil {
		inside.before = outside
	}
	return inside, nil
}

// expand returns the IRI that a text stands for. vocab: as the name of a
// property or a type, which may be a defined one.
func (c *scope) expand(text string, vocab bool) (string, error) {
	if vocab {
		if t, ok := c.names[text]; ok {
			return t.iri, nil
		}
	}
	if strings.HasPrefix(text, "@") {
		return "", fmt.Errorf("a keyword: %w", ErrShape)
	}
	if prefix, rest, ok := strings.Cut(text, ":"); ok && prefix != "_" && !strings.HasPrefix(rest, "//") {
		if t, ok := c.names[prefix]; ok && t.prefix {
			text = t.iri + rest
		}
	}
	switch {
	case rdfc.IsIRI(text):
		return text, nil
	case vocab:
		// The name is the writer's text: it stays out of the error.
		return "", fmt.Errorf("a name that no context defines: %w", ErrUndefined)
	}
	return "", fmt.Errorf("an identifier: %w", ErrRelative)
}

// member is a member of a node and what its name means.
type member struct {
	name string
	term term
}

// members sorts out what the names of an object mean.
func (c *scope) members(object map[string]any) (id, kind any, rest []member, err error) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		t, known := c.names[name]
		switch {
		case name == "@context":
			return nil, nil, nil, fmt.Errorf("a context inside the document: %w", ErrContext)
		case known && t.iri == "@id", name == "@id":
			if id != nil || object[name] == nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", name, ErrShape)
			}
			id = object[name]
		case known && t.iri == "@type", name == "@type":
			if kind != nil || object[name] == nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", name, ErrShape)
			}
			kind = object[name]
		case !known:
			if t.iri, err = c.expand(name, true); err != nil {
				return nil, nil, nil, err
			}
			// The same statement under its IRI: a holder could hide the end of the
			// validity from every reader that looks for it by its name.
			if meanings[t.iri] {
				return nil, nil, nil, fmt.Errorf("an IRI in place of a name: %w", ErrShape)
			}
			fallthrough
		default:
			if t.graph {
				return nil, nil, nil, fmt.Errorf("a proof inside the document: %w", ErrShape)
			}
			rest = append(rest, member{name, t})
		}
	}
	return id, kind, rest, nil
}

// node makes the statements of a node and returns its name.
func (s *statements) node(object map[string]any, c *scope, within vocabulary, depth int) (rdfc.Term, error) {
	if depth > maxDepth {
		return rdfc.Term{}, fmt.Errorf("more than %d nodes inside each other: %w", maxDepth, ErrShape)
	}
	// Expansion, step 7: what a type brought ends here, unless the node is no
	// more than a reference.
	if c.before != nil && !c.isReference(object) {
		c = c.before
	}
	c = c.enter(within)
	types, err := s.types(object, c)
	if err != nil {
		return rdfc.Term{}, err
	}
	inside := c
	for _, t := range types {
		if names := c.names[t].within; names != nil {
			if inside, err = inside.enterType(names, c); err != nil {
				return rdfc.Term{}, err
			}
		}
	}
	id, _, rest, err := inside.members(object)
	if err != nil {
		return rdfc.Term{}, err
	}
	subject, err := s.name(id, inside)
	if err != nil {
		return rdfc.Term{}, err
	}
	if key := subject.Value; len(types)+len(rest) > 0 {
		if subject.Kind == rdfc.Blank {
			key = "_:" + key
		}
		if s.defined[key] {
			return rdfc.Term{}, fmt.Errorf("one identifier on two nodes: %w", ErrShape)
		}
		s.defined[key] = true
	}
	for _, t := range types {
		iri, err := c.expand(t, true)
		if err != nil {
			return rdfc.Term{}, err
		}
		s.add(subject, rdfType, rdfc.Term{Kind: rdfc.IRI, Value: iri})
	}
	for _, m := range rest {
		if err := s.values(subject, m, object[m.name], inside, depth); err != nil {
			return rdfc.Term{}, err
		}
	}
	return subject, nil
}

// isReference reports whether an object is a node's identifier and nothing else.
func (c *scope) isReference(object map[string]any) bool {
	if len(object) != 1 {
		return false
	}
	for name := range object {
		return name == "@id" || c.names[name].iri == "@id"
	}
	return false
}

// types returns the types of a node, sorted, as the order in which they bring
// their names.
func (s *statements) types(object map[string]any, c *scope) ([]string, error) {
	var types []string
	for name, value := range object {
		if name != "@type" && c.names[name].iri != "@type" {
			continue
		}
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, v := range list {
			text, ok := v.(string)
			if !ok || c.names[text].iri == "@id" || c.names[text].iri == "@type" {
				return nil, fmt.Errorf("type: %w", ErrShape)
			}
			types = append(types, text)
		}
	}
	slices.Sort(types)
	return slices.Compact(types), nil
}

// name returns the name of a node that has the identifier id, or none.
func (s *statements) name(id any, c *scope) (rdfc.Term, error) {
	if id == nil {
		s.blanks++
		// The labels that a document chooses are renamed, to others than these.
		return rdfc.Term{Kind: rdfc.Blank, Value: "n" + strconv.Itoa(s.blanks)}, nil
	}
	text, ok := id.(string)
	if !ok {
		return rdfc.Term{}, fmt.Errorf("id: %w", ErrShape)
	}
	return s.reference(text, c, false)
}

// reference returns the node that a text names.
func (s *statements) reference(text string, c *scope, vocab bool) (rdfc.Term, error) {
	if label, ok := strings.CutPrefix(text, "_:"); ok {
		if !rdfc.IsLabel(label) {
			return rdfc.Term{}, fmt.Errorf("a blank node: %w", ErrRelative)
		}
		if s.labels[label] == "" {
			s.labels[label] = "d" + strconv.Itoa(len(s.labels))
		}
		return rdfc.Term{Kind: rdfc.Blank, Value: s.labels[label]}, nil
	}
	iri, err := c.expand(text, vocab)
	if err == nil && strings.HasPrefix(iri, "@") {
		err = fmt.Errorf("a keyword as a value: %w", ErrShape)
	}
	return rdfc.Term{Kind: rdfc.IRI, Value: iri}, err
}

func (s *statements) add(subject rdfc.Term, predicate string, object rdfc.Term) {
	s.quads = append(s.quads, rdfc.Quad{Subject: subject, Predicate: rdfc.Term{Kind: rdfc.IRI, Value: predicate}, Object: object})
}

// values makes the statements of one property.
func (s *statements) values(subject rdfc.Term, m member, value any, c *scope, depth int) error {
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	for _, v := range list {
		if v == nil {
			continue // says nothing
		}
		if len(s.quads) > maxStatements {
			return fmt.Errorf("more than %d statements: %w", maxStatements, rdfc.ErrTooCostly)
		}
		var object rdfc.Term
		var err error
		switch v := v.(type) {
		case map[string]any:
			if _, literal := v["@value"]; literal {
				object, err = valueObject(v, c.enter(m.term.within))
			} else {
				object, err = s.node(v, c, m.term.within, depth+1)
			}
		case string:
			switch m.term.coerce {
			case "@id", "@vocab":
				object, err = s.reference(v, c.enter(m.term.within), m.term.coerce == "@vocab")
			default:
				object = rdfc.Term{Kind: rdfc.Literal, Value: v, Datatype: m.term.coerce}
			}
		default:
			if strings.HasPrefix(m.term.coerce, "@") {
				err = fmt.Errorf("a number where an identifier is due: %w", ErrShape)
			} else {
				object, err = native(v, m.term.coerce)
			}
		}
		if err != nil {
			return err
		}
		s.add(subject, m.term.iri, object)
	}
	return nil
}

// valueObject reads {"@value": …, "@type": …}.
func valueObject(object map[string]any, c *scope) (rdfc.Term, error) {
	datatype := ""
	for name, value := range object {
		switch {
		case name == "@value":
		case name == "@type" || c.names[name].iri == "@type":
			text, ok := value.(string)
			if !ok || datatype != "" {
				return rdfc.Term{}, fmt.Errorf("the type of a value: %w", ErrShape)
			}
			var err error
			if datatype, err = c.expand(text, true); err != nil {
				return rdfc.Term{}, err
			}
			if strings.HasPrefix(datatype, "@") {
				return rdfc.Term{}, fmt.Errorf("the type of a value: %w", ErrShape)
			}
		default:
			return rdfc.Term{}, fmt.Errorf("a value with more than a type: %w", ErrShape)
		}
	}
	switch v := object["@value"].(type) {
	case string:
		return rdfc.Term{Kind: rdfc.Literal, Value: v, Datatype: datatype}, nil
	case nil, []any, map[string]any:
		return rdfc.Term{}, fmt.Errorf("the text of a value: %w", ErrShape)
	default:
		return native(v, datatype)
	}
}

// native writes booleans and numbers as JSON-LD does (section 8.2.2 of the
// algorithms): whole numbers below 10^21 as integers, others as doubles in
// their canonical form, 1.5E0.
func native(v any, datatype string) (rdfc.Term, error) {
	literal := rdfc.Term{Kind: rdfc.Literal, Datatype: datatype}
	fallback := func(d string) {
		if literal.Datatype == "" {
			literal.Datatype = d
		}
	}
	switch v := v.(type) {
	case bool:
		literal.Value = strconv.FormatBool(v)
		fallback(xsdBoolean)
	case json.Number:
		f, err := strconv.ParseFloat(string(v), 64) // numbers are doubles in the processors that signed
		if err != nil {
			return rdfc.Term{}, fmt.Errorf("a number that is none: %w", ErrShape)
		}
		if f == 0 {
			f = 0 // −0 is 0
		}
		if math.Abs(f) < 1e21 && f == math.Trunc(f) && datatype != xsdDouble {
			literal.Value = strconv.FormatFloat(f, 'f', 0, 64)
			fallback(xsdInteger)
			break
		}
		literal.Value = double(f)
		fallback(xsdDouble)
	default:
		return rdfc.Term{}, fmt.Errorf("a value: %w", ErrShape)
	}
	return literal, nil
}

// double writes the canonical form of xsd:double with fifteen digits after the
// point and no zeros at their end.
func double(f float64) string {
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', 15, 64), "E")
	mantissa = strings.TrimRight(mantissa, "0")
	if strings.HasSuffix(mantissa, ".") {
		mantissa += "0"
	}
	n, _ := strconv.Atoi(exponent) // "+07" is 7
	return mantissa + "E" + strconv.Itoa(n)
}
