// Package certlogic reads, checks and evaluates CertLogic, the dialect of
// JsonLogic that the EU's rules for health certificates are written in
// (eu-dcc-business-rules, CertLogic specification 1.3.2), and the rule
// documents around it.
//
//	expression = string | integer | true | false | [ expression... ]
//	           | { "var": path }                       ;; "payload.v.0.dt"; "" is all data
//	           | { operation: [ operand... ] }
//
//	if                                     guard, then, else; only one branch is evaluated
//	===  in  +                             two operands
//	and                                    two or more, evaluated until one is falsy
//	<  >  <=  >=                           two or three integers
//	after  before  not-after  not-before   two or three date-times
//	!                                      one operand
//	plusTime                               date or date-time, amount, "year" | "month" | "day" | "hour"
//	dccDateOfBirth                         YYYY, YYYY-MM or YYYY-MM-DD: the last day it can be
//	reduce                                 array, lambda over { current, accumulator }, initial
//	extractFromUVCI                        certificate identifier or null, index
//
// Nothing is coerced: 1 is not "1", a text is no date until an operation makes
// it one, and a value that does not fit its operation is an error, never false.
//
// [Parse] makes an [Expr]; [Expr.Evaluate] gives its value for some data.
// [ParseRule] reads a rule, [Rule.Check] holds it against what the EU gateway
// asks of rules, [Select] finds the rules that apply to a journey and [Apply]
// answers each with passed, failed or open.
package certlogic

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// SpecificationVersion is the version of the CertLogic specification that this
// package implements. A rule that asks for a newer engine stays open.
const SpecificationVersion = "1.3.2"

// Bounds of an expression. The longest published rule has 4 KiB and nests 15
// deep.
const (
	MaxBytes = 256 << 10
	MaxDepth = 128 // arrays and objects inside each other; an operation is two
	MaxNodes = 10_000
	// MaxSteps bounds one evaluation. A step is one operation, one item of a
	// searched array or 64 bytes of a text that is looked through, so that a
	// reduce inside a reduce ends. A published rule takes fewer than a hundred,
	// and the length of the value set that it searches.
	MaxSteps = 100_000
)

// The defects of an expression, wrapped with the place: if[1].plusTime[0] is
// the first operand of the plusTime in the second operand of the if.
const (
	ErrNull         format.Defect = "null-literal"          // null is no expression
	ErrNotInteger   format.Defect = "non-integer-number"    // integers are those that a double holds exactly
	ErrNotOneKey    format.Defect = "not-one-operation"     // an object with no member or several
	ErrNotOperands  format.Defect = "operands-not-in-array" // {"op": x} where {"op": [x]} is due
	ErrOperation    format.Defect = "unknown-operation"
	ErrOperandCount format.Defect = "wrong-operand-count"
	ErrPath         format.Defect = "bad-data-path"      // not a text, or with an empty fragment
	ErrAmount       format.Defect = "amount-not-integer" // second operand of plusTime
	ErrUnit         format.Defect = "unknown-time-unit"  // third operand of plusTime
	ErrIndex        format.Defect = "index-not-integer"  // second operand of extractFromUVCI
	ErrTooManyNodes format.Defect = "too-many-nodes"     // more than MaxNodes
)

// Expr is a valid expression. It never changes and may be evaluated from
// several goroutines at once.
type Expr struct{ root *node }

// node is one expression inside an expression.
type node struct {
	op      operation
	args    []*node
	literal any        // opLiteral: bool, int64 or string
	path    []fragment // opVar
	text    string     // opVar: the path as written
	amount  int64      // opPlusTime: how many units; opExtractFromUVCI: index
	unit    unit       // opPlusTime
	parent  *node      // nil for the root
	index   int        // which operand of the parent
}

// fragment is one step of a data path.
type fragment struct {
	name  string
	index int // -1 where the name is no array index
}

type operation uint8

const (
	opLiteral operation = iota
	opArray
	opVar
	opIf
	opEqual
	opIn
	opPlus
	opAnd
	opLess
	opGreater
	opLessOrEqual
	opGreaterOrEqual
	opBefore
	opAfter
	opNotAfter
	opNotBefore
	opNot
	opPlusTime
	opDateOfBirth
	opReduce
	opExtractFromUVCI
)

// signature is the name of an operation and how many operands it takes.
type signature struct {
	name     string
	min, max int
}

// unlimited is more operands than an expression can have.
const unlimited = MaxNodes

var signatures = [...]signature{
	opVar:             {"var", 1, 1}, // its operand stands without an array
	opIf:              {"if", 3, 3},
	opEqual:           {"===", 2, 2},
	opIn:              {"in", 2, 2},
	opPlus:            {"+", 2, 2},
	opAnd:             {"and", 2, unlimited},
	opLess:            {"<", 2, 3},
	opGreater:         {">", 2, 3},
	opLessOrEqual:     {"<=", 2, 3},
	opGreaterOrEqual:  {">=", 2, 3},
	opBefore:          {"before", 2, 3},
	opAfter:           {"after", 2, 3},
	opNotAfter:        {"not-after", 2, 3},
	opNotBefore:       {"not-before", 2, 3},
	opNot:             {"!", 1, 1},
	opPlusTime:        {"plusTime", 3, 3},
	opDateOfBirth:     {"dccDateOfBirth", 1, 1},
	opReduce:          {"reduce", 3, 3},
	opExtractFromUVCI: {"extractFromUVCI", 2, 2},
}

var operations = func() map[string]operation {
	m := make(map[string]operation)
	for op, s := range signatures {
		if s.name != "" {
			m[s.name] = operation(op)
		}
	}
	return m
}()

// Parse reads an expression. The error wraps the defects that it has, each with
// its place, or the defect of the JSON text.
func Parse(data []byte) (*Expr, error) {
	v, err := strictjson.Decode(data, strictjson.Limits{Bytes: MaxBytes, Depth: MaxDepth})
	if err != nil {
		return nil, fmt.Errorf("certlogic: %w", err)
	}
	x, findings := compile(v)
	if len(findings) > 0 {
		return nil, asError(findings)
	}
	return x, nil
}

// Validate lists everything that keeps data from being an expression; none
// means that [Parse] reads it.
func Validate(data []byte) []format.Finding {
	v, err := strictjson.Decode(data, strictjson.Limits{Bytes: MaxBytes, Depth: MaxDepth})
	if err != nil {
		return []format.Finding{{Reason: format.Defect(format.Reason(err, string(strictjson.ErrMalformed)))}}
	}
	_, findings := compile(v)
	return findings
}

// asError joins the first findings; [Validate] lists all.
func asError(findings []format.Finding) error {
	const most = 8
	var errs []error
	for _, f := range findings[:min(len(findings), most)] {
		errs = append(errs, fmt.Errorf("certlogic: %s: %w", placeOrRoot(f.Path), f.Reason))
	}
	return errors.Join(errs...)
}

func placeOrRoot(path string) string {
	if path == "" {
		return "expression"
	}
	return path
}

// compiler turns decoded JSON into nodes.
type compiler struct {
	nodes    int
	findings []format.Finding
}

// compile makes an expression of decoded JSON; it is nil where there are
// findings.
func compile(v any) (*Expr, []format.Finding) {
	var c compiler
	root := c.node(v, nil, 0)
	if len(c.findings) > 0 {
		return nil, c.findings
	}
	return &Expr{root}, nil
}

func (c *compiler) report(n *node, defect format.Defect) {
	c.findings = append(c.findings, format.Finding{Path: n.place(), Reason: defect})
}

func (c *compiler) node(v any, parent *node, index int) *node {
	n := &node{parent: parent, index: index}
	switch c.nodes++; {
	case c.nodes == MaxNodes+1:
		c.report(n, ErrTooManyNodes)
		return n
	case c.nodes > MaxNodes:
		return n
	}
	switch v := v.(type) {
	case nil:
		c.report(n, ErrNull)
	case string, bool:
		n.literal = v
	case []any:
		n.op = opArray
		c.operands(n, v)
	case map[string]any:
		c.operation(n, v)
	default: // a number
		i, ok := asInteger(v)
		if !ok {
			c.report(n, ErrNotInteger)
		}
		n.literal = i
	}
	return n
}

func (c *compiler) operands(n *node, values []any) {
	n.args = make([]*node, len(values))
	for i, v := range values {
		n.args[i] = c.node(v, n, i)
	}
}

func (c *compiler) operation(n *node, object map[string]any) {
	if len(object) != 1 {
		c.report(n, ErrNotOneKey)
		return
	}
	for name, v := range object {
		if name == "var" {
			c.access(n, v)
			return
		}
		values, ok := v.([]any)
		if !ok || len(values) == 0 {
			c.report(n, ErrNotOperands)
			return
		}
		op, known := operations[name]
		if !known {
			c.report(n, ErrOperation)
			return
		}
		n.op = op
		s := signatures[op]
		if len(values) < s.min || len(values) > s.max {
			c.report(n, ErrOperandCount)
		}
		switch {
		case op == opPlusTime:
			c.literals(n, values, ErrAmount)
		case op == opExtractFromUVCI:
			c.literals(n, values, ErrIndex)
		default:
			c.operands(n, values[:min(len(values), s.max)])
		}
	}
}

// literals reads the operations whose first operand alone is an expression: an
// integer stands second, in plusTime a time unit third.
func (c *compiler) literals(n *node, values []any, notInteger format.Defect) {
	c.operands(n, values[:1])
	if len(values) > 1 {
		var ok bool
		if n.amount, ok = asInteger(values[1]); !ok {
			c.report(n, notInteger)
		}
	}
	if n.op == opPlusTime && len(values) > 2 {
		name, _ := values[2].(string)
		if n.unit = unit(slices.Index(unitNames[:], name)); n.unit < 0 {
			c.report(n, ErrUnit)
		}
	}
}

// access reads the path of a var.
func (c *compiler) access(n *node, v any) {
	n.op = opVar
	path, ok := v.(string)
	if !ok {
		c.report(n, ErrPath)
		return
	}
	n.text = path
	if path == "" {
		return
	}
	for name := range strings.SplitSeq(path, ".") {
		if name == "" {
			c.report(n, ErrPath)
			return
		}
		n.path = append(n.path, fragment{name, arrayIndex(name)})
	}
}

// arrayIndex reads an integer fragment of a path, or returns -1.
func arrayIndex(name string) int {
	if len(name) > 9 {
		return -1
	}
	for i := range len(name) {
		if name[i] < '0' || name[i] > '9' {
			return -1
		}
	}
	i, _ := strconv.Atoi(name)
	return i
}

// place writes the way from the root to n: and[1].===[0].
func (n *node) place() string {
	if n.parent == nil {
		return ""
	}
	var b strings.Builder
	n.writePlace(&b)
	return b.String()
}

func (n *node) writePlace(b *strings.Builder) {
	p := n.parent
	if p == nil {
		return
	}
	p.writePlace(b)
	if p.op != opArray {
		if p.parent != nil {
			b.WriteByte('.')
		}
		b.WriteString(signatures[p.op].name)
	}
	fmt.Fprintf(b, "[%d]", n.index)
}

// Fields lists the data paths that x accesses, sorted, each once. What a
// reduce's lambda accesses is its own current item and accumulator, no data of
// the caller, and is left out.
func (x *Expr) Fields() []string {
	fields := map[string]struct{}{}
	x.root.fields(fields)
	list := make([]string, 0, len(fields))
	for f := range fields {
		list = append(list, f)
	}
	slices.Sort(list)
	return list
}

func (n *node) fields(into map[string]struct{}) {
	if n.op == opVar {
		into[n.text] = struct{}{}
	}
	for i, arg := range n.args {
		if n.op != opReduce || i != 1 {
			arg.fields(into)
		}
	}
}
