package certlogic

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"ampoule/format"
)

// The defects of an evaluation, wrapped with the place in the expression.
const (
	ErrType          format.Defect = "operand-type"             // a value that the operation does not take
	ErrNotBoolsy     format.Defect = "neither-truthy-nor-falsy" // a date-time or a non-integer as a condition
	ErrDateTime      format.Defect = "not-a-date-time"          // a text in none of the formats, or in no calendar
	ErrDateTimeRange format.Defect = "date-time-out-of-range"   // more than 100,000,000 days from 1970
	ErrIntegerRange  format.Defect = "integer-out-of-range"     // a sum beyond ±(2^53-1)
	ErrSteps         format.Defect = "too-many-steps"           // more than MaxSteps, or a result as large
	ErrData          format.Defect = "data-not-json"            // a Go value that is none of JSON's, or a number beyond a double
)

// maxResultDepth bounds what Evaluate returns; a reduce can nest its
// accumulator once per item.
const maxResultDepth = MaxDepth

// frame is the data context of a reduce's lambda.
type frame struct{ current, accumulator any }

// evaluator is one evaluation.
type evaluator struct{ steps int }

// Evaluate returns the value of x for data, which is plain JSON in Go:
// map[string]any, []any, string, bool, nil, and numbers as [json.Number],
// float64 or an integer type. The value is of the same kinds, with integers as
// int64, other numbers as float64 and moments as [DateTime]; it shares no map
// or slice with data. The same x and data always give the same value or error.
//
// Integers are those that a double holds exactly, however they are written:
// 1.0 is 1. Any other number in the data is a value that only === and in take.
func (x *Expr) Evaluate(data any) (any, error) {
	e := evaluator{MaxSteps}
	v, err := e.eval(x.root, data)
	if err == nil {
		if v, err = e.export(v, 0); err != nil {
			err = fmt.Errorf("result: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("certlogic: %w", err)
	}
	return v, nil
}

// charge pays for work.
func (e *evaluator) charge(n *node, steps int) error {
	if e.steps -= steps; e.steps < 0 {
		return n.fail(ErrSteps)
	}
	return nil
}

// fail wraps a defect with the place of n.
func (n *node) fail(defect error) error {
	return fmt.Errorf("%s: %w", placeOrRoot(n.place()), defect)
}

// eval returns the value of n: nil, bool, int64, float64 (a number that is no
// integer), string, DateTime, or a container whose items are as the caller gave
// them.
func (e *evaluator) eval(n *node, data any) (any, error) {
	if err := e.charge(n, 1); err != nil {
		return nil, err
	}
	switch n.op {
	case opLiteral:
		return n.literal, nil
	case opArray:
		return e.all(n, data)
	case opVar:
		return e.access(n, data)
	case opIf:
		guard, err := e.condition(n.args[0], data)
		if err != nil {
			return nil, err
		}
		if guard {
			return e.eval(n.args[1], data)
		}
		return e.eval(n.args[2], data)
	case opAnd:
		return e.and(n, data)
	case opNot:
		truthy, err := e.condition(n.args[0], data)
		return !truthy, err
	case opEqual, opIn, opPlus:
		return e.binary(n, data)
	case opLess, opGreater, opLessOrEqual, opGreaterOrEqual, opBefore, opAfter, opNotAfter, opNotBefore:
		return e.compare(n, data)
	case opReduce:
		return e.reduce(n, data)
	}
	return e.text(n, data)
}

// all evaluates every operand of n. It returns []any as any, to be a value.
func (e *evaluator) all(n *node, data any) (any, error) {
	values := make([]any, len(n.args))
	for i, arg := range n.args {
		var err error
		if values[i], err = e.eval(arg, data); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// condition evaluates n where a truthy or a falsy value is due.
func (e *evaluator) condition(n *node, data any) (bool, error) {
	v, err := e.eval(n, data)
	if err != nil {
		return false, err
	}
	truthy, ok := boolsiness(v)
	if !ok {
		return false, n.fail(ErrNotBoolsy)
	}
	return truthy, nil
}

// boolsiness tells whether v is truthy; it is not ok where v is neither.
func boolsiness(v any) (truthy, ok bool) {
	switch v := v.(type) {
	case nil:
		return false, true
	case bool:
		return v, true
	case int64:
		return v != 0, true
	case string:
		return v != "", true
	case []any:
		return len(v) > 0, true
	case map[string]any:
		return len(v) > 0, true
	}
	return false, false
}

// and returns the first falsy operand, or the last. "All operands must evaluate
// to either a truthy or falsy value": the last one, too.
func (e *evaluator) and(n *node, data any) (v any, err error) {
	for _, arg := range n.args {
		if v, err = e.eval(arg, data); err != nil {
			return nil, err
		}
		truthy, ok := boolsiness(v)
		if !ok {
			return nil, arg.fail(ErrNotBoolsy)
		}
		if !truthy {
			break
		}
	}
	return v, nil
}

func (e *evaluator) binary(n *node, data any) (any, error) {
	left, err := e.eval(n.args[0], data)
	if err != nil {
		return nil, err
	}
	right, err := e.eval(n.args[1], data)
	if err != nil {
		return nil, err
	}
	if s, ok := left.(string); ok {
		if err := e.charge(n, len(s)/64); err != nil {
			return nil, err
		}
	}
	switch n.op {
	case opEqual:
		return e.equal(n, left, right)
	case opIn:
		items, ok := right.([]any)
		if !ok {
			return nil, n.args[1].fail(ErrType)
		}
		return e.in(n, left, items)
	}
	l, ok := left.(int64)
	if !ok {
		return nil, n.args[0].fail(ErrType)
	}
	r, ok := right.(int64)
	if !ok {
		return nil, n.args[1].fail(ErrType)
	}
	if l += r; l > maxInteger || l < -maxInteger {
		return nil, n.fail(ErrIntegerRange)
	}
	return l, nil
}

// equal is === of two values, n being where it stands. Two arrays, objects or
// date-times that differ are not equal. Where they do not differ it is an error:
// the specification promises nothing for them, some engines compare what is in
// them and some whether they are one and the same, and a rule must not get an
// answer that another engine would not give.
func (e *evaluator) equal(n *node, a, b any) (bool, error) {
	switch x := a.(type) {
	case []any:
		if _, ok := b.([]any); !ok {
			return false, nil
		}
	case map[string]any:
		if _, ok := b.(map[string]any); !ok {
			return false, nil
		}
	case DateTime:
		if a == b {
			return false, n.fail(ErrType)
		}
		return false, nil
	default:
		return x == b, nil
	}
	a, err := e.export(a, 0)
	if err != nil {
		return false, n.fail(err)
	}
	if b, err = e.export(b, 0); err != nil {
		return false, n.fail(err)
	}
	if reflect.DeepEqual(a, b) {
		return false, n.fail(ErrType)
	}
	return false, nil
}

func (e *evaluator) in(n *node, v any, items []any) (any, error) {
	if s, ok := v.(string); ok {
		if err := e.charge(n, len(items)*(1+len(s)/64)); err != nil {
			return nil, err
		}
		for _, item := range items {
			if t, ok := item.(string); ok && t == s {
				return true, nil
			}
		}
		return false, nil
	}
	if err := e.charge(n, len(items)); err != nil {
		return nil, err
	}
	for _, item := range items {
		item, ok := canonical(item)
		if !ok {
			return nil, n.args[1].fail(ErrData)
		}
		if same, err := e.equal(n, v, item); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// compare does the comparisons of integers and of date-times; with three
// operands it is (a op b) and (b op c), all of them of the right type.
func (e *evaluator) compare(n *node, data any) (any, error) {
	var operand [3]int64
	for i, arg := range n.args {
		v, err := e.eval(arg, data)
		if err != nil {
			return nil, err
		}
		var ok bool
		if n.op >= opBefore {
			var d DateTime
			d, ok = v.(DateTime)
			operand[i] = int64(d)
		} else {
			operand[i], ok = v.(int64)
		}
		if !ok {
			return nil, arg.fail(ErrType)
		}
	}
	holds := ordered(n.op, operand[0], operand[1])
	if len(n.args) == 3 {
		holds = holds && ordered(n.op, operand[1], operand[2])
	}
	return holds, nil
}

func ordered(op operation, a, b int64) bool {
	switch op {
	case opLess, opBefore:
		return a < b
	case opGreater, opAfter:
		return a > b
	case opLessOrEqual, opNotAfter:
		return a <= b
	}
	return a >= b
}

// reduce folds an array from the left; of null, as of an empty array, it is the
// initial value.
func (e *evaluator) reduce(n *node, data any) (any, error) {
	v, err := e.eval(n.args[0], data)
	if err != nil {
		return nil, err
	}
	items, ok := v.([]any)
	if !ok && v != nil {
		return nil, n.args[0].fail(ErrType)
	}
	accumulator, err := e.eval(n.args[2], data)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if accumulator, err = e.eval(n.args[1], &frame{item, accumulator}); err != nil {
			return nil, err
		}
	}
	return accumulator, nil
}

// text does the operations on one text.
func (e *evaluator) text(n *node, data any) (any, error) {
	v, err := e.eval(n.args[0], data)
	if err != nil {
		return nil, err
	}
	if v == nil && n.op == opExtractFromUVCI {
		return nil, nil
	}
	s, ok := v.(string)
	if !ok {
		return nil, n.args[0].fail(ErrType)
	}
	if err := e.charge(n, len(s)/64); err != nil {
		return nil, err
	}
	switch n.op {
	case opPlusTime:
		d, err := plusTime(s, n.amount, n.unit)
		if err != nil {
			return nil, n.fail(err)
		}
		return d, nil
	case opDateOfBirth:
		d, ok := parseDateOfBirth(s)
		if !ok {
			return nil, n.fail(ErrDateTime)
		}
		return d, nil
	}
	return extractFromUVCI(s, n.amount), nil
}

// extractFromUVCI returns a fragment of a certificate identifier, or nil. The
// separators are / # and : and the identifier's form is not checked.
func extractFromUVCI(id string, index int64) any {
	id = strings.TrimPrefix(id, "URN:UVCI:")
	for ; index >= 0; index-- {
		end := strings.IndexAny(id, "/#:")
		switch {
		case index > 0 && end < 0:
			return nil
		case index > 0:
			id = id[end+1:]
		case end >= 0:
			return id[:end]
		default:
			return id
		}
	}
	return nil
}

// access follows a path; what is not there is null.
func (e *evaluator) access(n *node, v any) (any, error) {
	if err := e.charge(n, len(n.path)/8); err != nil {
		return nil, err
	}
	for _, f := range n.path {
		switch container := v.(type) {
		case map[string]any:
			v = container[f.name]
		case []any:
			if f.index < 0 || f.index >= len(container) {
				return nil, nil
			}
			v = container[f.index]
		case *frame:
			switch f.name {
			case "current":
				v = container.current
			case "accumulator":
				v = container.accumulator
			default:
				return nil, nil
			}
		default:
			return nil, nil
		}
	}
	if f, ok := v.(*frame); ok {
		return map[string]any{"current": f.current, "accumulator": f.accumulator}, nil
	}
	v, ok := canonical(v)
	if !ok {
		return nil, n.fail(ErrData)
	}
	return v, nil
}

// maxInteger is the largest integer up to which a double holds every one;
// "integer (as a subset of JavaScript's Number type)".
const maxInteger = 1<<53 - 1

// canonical gives numbers the two types that eval knows; it is not ok for a
// value that is not JSON's.
func canonical(v any) (any, bool) {
	switch v.(type) {
	case nil, bool, string, []any, map[string]any, DateTime:
		return v, true
	}
	if i, ok := asInteger(v); ok {
		return i, true
	}
	switch n := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(string(n), 64)
		return f, err == nil
	case float64:
		return n, !math.IsInf(n, 0) && !math.IsNaN(n)
	case float32:
		return canonical(float64(n))
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case int:
		return float64(n), true
	case uint:
		return float64(n), true
	}
	return nil, false
}

// asInteger reads a number that is an integer.
func asInteger(v any) (int64, bool) {
	switch n := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return inRange(i)
		}
		f, err := strconv.ParseFloat(string(n), 64)
		if err != nil {
			return 0, false
		}
		return integral(f)
	case float64:
		return integral(n)
	case float32:
		return integral(float64(n))
	case int64:
		return inRange(n)
	case int:
		return inRange(int64(n))
	case int32:
		return int64(n), true
	case int16:
		return int64(n), true
	case int8:
		return int64(n), true
	case uint64:
		return int64(n), n <= maxInteger
	case uint:
		return asInteger(uint64(n))
	case uint32:
		return int64(n), true
	case uint16:
		return int64(n), true
	case uint8:
		return int64(n), true
	}
	return 0, false
}

func inRange(i int64) (int64, bool) { return i, i <= maxInteger && i >= -maxInteger }

func integral(f float64) (int64, bool) {
	if f != math.Trunc(f) || f > maxInteger || f < -maxInteger {
		return 0, false
	}
	return int64(f), true
}

// export copies a value. It pays for what it copies: a reduce can put its
// accumulator twice into the next one, which is small in memory and endless
// when it is written out.
func (e *evaluator) export(v any, depth int) (any, error) {
	if e.steps--; e.steps < 0 || depth > maxResultDepth {
		return nil, ErrSteps
	}
	switch container := v.(type) {
	case []any:
		list := make([]any, len(container))
		for i, item := range container {
			var err error
			if list[i], err = e.export(item, depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		object := make(map[string]any, len(container))
		for name, item := range container {
			var err error
			if object[name], err = e.export(item, depth+1); err != nil {
				return nil, err
			}
		}
		return object, nil
	}
	v, ok := canonical(v)
	if !ok {
		return nil, ErrData
	}
	return v, nil
}
