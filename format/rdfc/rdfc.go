// Package rdfc puts RDF datasets into their canonical form: RDF Dataset
// Canonicalization, RDFC-1.0 (W3C Recommendation, 2024), known before as
// URDNA2015. Two datasets that differ only in the names of their blank nodes and
// in the order of their statements become the same text, which can be hashed and
// signed.
//
//	canonical form = the statements as N-Quads, blank nodes named _:c14n0,
//	                 _:c14n1, …, sorted by code point, each once
//
// Naming the blank nodes is the isomorphism of graphs, and takes factorial time
// on graphs made for it: ten nodes that all point to each other keep a processor
// busy for minutes. So every hash and permutation is counted, and a dataset that
// needs more than [Options.MaxWork] is refused with [ErrTooCostly].
package rdfc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"

	"ampoule/format"
)

// The defects of a dataset.
const (
	ErrSyntax    = format.Defect("bad-n-quads")
	ErrTerm      = format.Defect("bad-rdf-term")
	ErrTooCostly = format.Defect("canonicalisation-too-costly")
)

// DefaultWork is enough for every graph that anyone wrote down to say something,
// and is used up within a second.
const DefaultWork = 1 << 20

// Kind is what a term is.
type Kind uint8

// The kinds of term. The zero Kind is no term: the default graph.
const (
	None Kind = iota
	IRI
	Blank
	Literal
)

// Term is one part of a statement.
type Term struct {
	Kind Kind
	// Value is the IRI, the label of the blank node without "_:", or the text of
	// the literal.
	Value string
	// Datatype is the IRI of a literal's type; empty for a plain string.
	Datatype string
	Language string // of a literal, as it was written
}

const (
	xsdString  = "http://www.w3.org/2001/XMLSchema#string"
	langString = "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString"
)

// Quad is one statement, in the default graph or in a named one.
type Quad struct{ Subject, Predicate, Object, Graph Term }

// Form says how the text of literals is escaped.
type Form uint8

// RDFC10 escapes every control character. URDNA2015, which signatures from
// before 2024 were made with, escapes only what ends a literal or a line.
const (
	RDFC10 Form = iota
	URDNA2015
)

// Options of a canonicalization. The zero value is RDFC-1.0 with SHA-256.
type Options struct {
	Hash func() hash.Hash // nil: SHA-256
	Form Form
	// MaxWork is how much may be spent on telling blank nodes apart, counted in
	// hashes, comparisons and copied names; 0 means DefaultWork. A dataset whose
	// blank nodes differ in their own statements costs nothing of it.
	MaxWork int
}

// Result is a canonical dataset.
type Result struct {
	Text string // canonical N-Quads
	// Labels are the canonical labels by the labels of the input, both without
	// "_:".
	Labels map[string]string
}

// Canonicalize computes the canonical form (RDFC-1.0 section 4.4). It fails only
// with ErrTerm or ErrTooCostly.
func Canonicalize(quads []Quad, o Options) (*Result, error) {
	c := canonicalizer{
		newHash: o.Hash, form: o.Form, work: o.MaxWork,
		nodes: map[string]*node{}, canonical: newIssuer("c14n"),
	}
	if c.newHash == nil {
		c.newHash = sha256.New
	}
	if c.work <= 0 {
		c.work = DefaultWork
	}
	if err := c.read(quads); err != nil {
		return nil, err
	}
	if err := c.label(); err != nil {
		return nil, err
	}
	lines := make([]string, 0, len(c.quads))
	for _, q := range c.quads {
		lines = append(lines, c.line(q, func(label string) string { return c.canonical.labels[label] }))
	}
	slices.Sort(lines) // UTF-8 sorts by code point
	return &Result{Text: strings.Join(lines, ""), Labels: c.canonical.labels}, nil
}

// canonicalizer is the canonicalization state (section 4.2).
type canonicalizer struct {
	newHash   func() hash.Hash
	form      Form
	work      int
	quads     []Quad           // each once
	nodes     map[string]*node // by label
	order     []*node          // in the order of the input, so that every run does the same
	canonical *issuer
}

// node is a blank node and the statements it stands in.
type node struct {
	label string
	quads []int
	first string // hash first degree quads
}

// read takes the statements in, each once: a dataset is a set.
func (c *canonicalizer) read(quads []Quad) error {
	seen := make(map[Quad]struct{}, len(quads))
	for _, q := range quads {
		if q.Object.Kind == Literal && q.Object.Datatype == xsdString {
			q.Object.Datatype = ""
		}
		if q.Object.Kind == Literal && q.Object.Language != "" {
			q.Object.Datatype = ""
		}
		if err := checkQuad(q); err != nil {
			return err
		}
		if _, again := seen[q]; again {
			continue
		}
		seen[q] = struct{}{}
		i := len(c.quads)
		c.quads = append(c.quads, q)
		for _, t := range [...]Term{q.Subject, q.Object, q.Graph} {
			if t.Kind != Blank {
				continue
			}
			n := c.nodes[t.Value]
			if n == nil {
				n = &node{label: t.Value}
				c.nodes[t.Value] = n
				c.order = append(c.order, n)
			}
			if len(n.quads) == 0 || n.quads[len(n.quads)-1] != i {
				n.quads = append(n.quads, i)
			}
		}
	}
	return nil
}

func checkQuad(q Quad) error {
	ok := (q.Subject.Kind == IRI || q.Subject.Kind == Blank) && q.Predicate.Kind == IRI && q.Object.Kind != None && q.Graph.Kind != Literal
	for _, t := range [...]Term{q.Subject, q.Predicate, q.Object, q.Graph} {
		switch t.Kind {
		case IRI:
			ok = ok && isIRI(t.Value)
		case Blank:
			ok = ok && isLabel(t.Value)
		case Literal:
			ok = ok && (t.Datatype == "" || isIRI(t.Datatype)) && (t.Language == "" || isLanguage(t.Language))
		}
	}
	if !ok {
		// The statement is its writer's text, and may be about a person.
		return fmt.Errorf("RDF: %w", ErrTerm)
	}
	return nil
}

// label names the blank nodes (section 4.4.3, steps 3 to 5).
func (c *canonicalizer) label() error {
	byHash := map[string][]*node{}
	for _, n := range c.order {
		n.first = c.hashFirstDegree(n)
		byHash[n.first] = append(byHash[n.first], n)
	}
	hashes := make([]string, 0, len(byHash))
	for h := range byHash {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	for _, h := range hashes {
		if len(byHash[h]) == 1 {
			c.canonical.issue(byHash[h][0].label)
		}
	}
	for _, h := range hashes {
		if len(byHash[h]) == 1 {
			continue
		}
		var paths []path
		for _, n := range byHash[h] {
			if _, done := c.canonical.labels[n.label]; done {
				continue
			}
			temporary := newIssuer("b")
			temporary.issue(n.label)
			p, err := c.hashNDegree(n, temporary)
			if err != nil {
				return err
			}
			paths = append(paths, p)
		}
		slices.SortStableFunc(paths, func(a, b path) int { return strings.Compare(a.hash, b.hash) })
		for _, p := range paths {
			for _, label := range p.issuer.order {
				c.canonical.issue(label)
			}
		}
	}
	return nil
}

// hashFirstDegree hashes the statements of a node, with _:a for itself and _:z
// for every other blank node (section 4.6.3).
func (c *canonicalizer) hashFirstDegree(n *node) string {
	lines := make([]string, 0, len(n.quads))
	for _, i := range n.quads {
		lines = append(lines, c.line(c.quads[i], func(label string) string {
			if label == n.label {
				return "a"
			}
			return "z"
		}))
	}
	slices.Sort(lines)
	return c.hash(strings.Join(lines, ""))
}

// hashRelated hashes how a node is related to another (section 4.7.3).
func (c *canonicalizer) hashRelated(related *node, q Quad, temporary *issuer, position string) string {
	input := position
	if position != "g" {
		input += "<" + q.Predicate.Value + ">"
	}
	if label, ok := c.canonical.labels[related.label]; ok {
		input += "_:" + label
	} else if label, ok := temporary.labels[related.label]; ok {
		input += "_:" + label
	} else {
		input += related.first
	}
	return c.hash(input)
}

// path is the outcome of hashing one node by its neighbourhood.
type path struct {
	hash   string
	issuer *issuer
}

// hashNDegree hashes a node by the nodes that it is related to, and those by
// theirs, in the order that gives the least path (section 4.8.3).
func (c *canonicalizer) hashNDegree(n *node, temporary *issuer) (path, error) {
	if err := c.spend(1 + len(n.quads)); err != nil {
		return path{}, err
	}
	related := map[string][]*node{}
	for _, i := range n.quads {
		q := c.quads[i]
		for _, part := range [...]struct {
			term     Term
			position string
		}{{q.Subject, "s"}, {q.Object, "o"}, {q.Graph, "g"}} {
			if part.term.Kind != Blank || part.term.Value == n.label {
				continue
			}
			other := c.nodes[part.term.Value]
			h := c.hashRelated(other, q, temporary, part.position)
			related[h] = append(related[h], other)
		}
	}
	hashes := make([]string, 0, len(related))
	for h := range related {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)

	var data strings.Builder
	for _, h := range hashes {
		data.WriteString(h)
		var chosenPath string
		var chosenIssuer *issuer
		err := permutations(related[h], func(order []*node) error {
			p, after, err := c.walk(order, temporary, chosenPath)
			if err == nil && after != nil && (chosenPath == "" || p < chosenPath) {
				chosenPath, chosenIssuer = p, after
			}
			return err
		})
		if err != nil {
			return path{}, err
		}
		data.WriteString(chosenPath)
		temporary = chosenIssuer
	}
	return path{c.hash(data.String()), temporary}, nil
}

// walk follows the related nodes in one order. It gives up, without an issuer,
// as soon as the path is longer or later than the best one so far.
func (c *canonicalizer) walk(order []*node, temporary *issuer, best string) (string, *issuer, error) {
	if err := c.spend(len(order) + len(temporary.order)); err != nil {
		return "", nil, err
	}
	after := temporary.clone()
	var p strings.Builder
	worse := func() bool { return best != "" && p.Len() >= len(best) && p.String() > best }
	var recurse []*node
	for _, other := range order {
		if label, ok := c.canonical.labels[other.label]; ok {
			p.WriteString("_:" + label)
		} else {
			if _, known := after.labels[other.label]; !known {
				recurse = append(recurse, other)
			}
			p.WriteString("_:" + after.issue(other.label))
		}
		if worse() {
			return "", nil, nil
		}
	}
	for _, other := range recurse {
		result, err := c.hashNDegree(other, after)
		if err != nil {
			return "", nil, err
		}
		p.WriteString("_:" + after.issue(other.label) + "<" + result.hash + ">")
		after = result.issuer
		if worse() {
			return "", nil, nil
		}
	}
	return p.String(), after, nil
}

func (c *canonicalizer) spend(n int) error {
	if c.work -= n; c.work < 0 {
		return fmt.Errorf("RDF: %d blank nodes that are hard to tell apart: %w", len(c.order), ErrTooCostly)
	}
	return nil
}

func (c *canonicalizer) hash(text string) string {
	h := c.newHash()
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// permutations calls visit with every order of the nodes, until it fails.
// (Heap's algorithm; the slice is the caller's and is left in some order.)
func permutations(nodes []*node, visit func([]*node) error) error {
	if err := visit(nodes); err != nil {
		return err
	}
	counter := make([]int, len(nodes))
	for i := 1; i < len(nodes); {
		if counter[i] >= i {
			counter[i] = 0
			i++
			continue
		}
		j := 0
		if i%2 == 1 {
			j = counter[i]
		}
		nodes[i], nodes[j] = nodes[j], nodes[i]
		if err := visit(nodes); err != nil {
			return err
		}
		counter[i]++
		i = 1
	}
	return nil
}

// issuer gives out labels in the order in which they are asked for (section 4.5).
type issuer struct {
	prefix string
	labels map[string]string
	order  []string
}

func newIssuer(prefix string) *issuer { return &issuer{prefix: prefix, labels: map[string]string{}} }

func (i *issuer) issue(label string) string {
	if issued, ok := i.labels[label]; ok {
		return issued
	}
	issued := fmt.Sprintf("%s%d", i.prefix, len(i.order))
	i.labels[label] = issued
	i.order = append(i.order, label)
	return issued
}

func (i *issuer) clone() *issuer {
	labels := make(map[string]string, len(i.labels)+1)
	for k, v := range i.labels {
		labels[k] = v
	}
	return &issuer{i.prefix, labels, slices.Clone(i.order)}
}
