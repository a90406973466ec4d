package certlogic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"ampoule/format"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

// decode reads JSON as the callers of Evaluate do.
func decode(t testing.TB, text string) (v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func mustParse(t testing.TB, text string) *Expr {
	t.Helper()
	x, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return x
}

const sample = `{
	"payload": {"v": [{"dn": 2, "sd": 2, "dt": "2021-06-01", "mp": "EU/1/20/1528"}], "dob": "2004-02", "r": [], "x": {}, "half": 0.5, "one": 1.0, "big": 9007199254740992, "0": "zero"},
	"external": {"validationClock": "2021-07-01T10:00:00Z", "codes": ["a", "b", 1, null, [1], {"k": 1}]}
}`

func TestEvaluate(t *testing.T) {
	tests := []struct{ expr, want string }{
		{`"a"`, `"a"`},
		{`[1, "b", {"var": "payload.v.0.dn"}, []]`, `[1, "b", 2, []]`},
		{`1.0`, `1`},
		{`-9007199254740991`, `-9007199254740991`},

		{`{"var": "payload.v.0.mp"}`, `"EU/1/20/1528"`},
		{`{"var": "payload.v.1"}`, `null`},
		{`{"var": "payload.v.-1"}`, `null`},
		{`{"var": "payload.v.00"}`, `{"dn": 2, "sd": 2, "dt": "2021-06-01", "mp": "EU/1/20/1528"}`},
		{`{"var": "payload.v.99999999999999999999"}`, `null`},
		{`{"var": "payload.v.length"}`, `null`},
		{`{"var": "payload.v.0.mp.0"}`, `null`},
		{`{"var": "payload.0"}`, `"zero"`},
		{`{"var": "nothing.at.all"}`, `null`},
		{`{"var": "payload.one"}`, `1`},
		{`{"var": "payload.half"}`, `0.5`},

		{`{"if": [{"var": "payload.v.0"}, "yes", {"+": ["not", "evaluated"]}]}`, `"yes"`},
		{`{"if": [{"var": "payload.x"}, 1, 2]}`, `2`},
		{`{"if": [{"var": "payload.r"}, 1, 2]}`, `2`},
		{`{"and": [true, 0, {"+": ["not", "evaluated"]}]}`, `0`},
		{`{"and": [1, "x", {"var": "payload.x"}]}`, `{}`},
		{`{"!": [[]]}`, `true`},
		{`{"!": ["0"]}`, `false`},

		{`{"===": [1, "1"]}`, `false`},
		{`{"===": [{"var": "payload.one"}, 1]}`, `true`},
		{`{"===": [{"var": "payload.half"}, {"var": "payload.half"}]}`, `true`},
		{`{"===": [{"var": "no"}, {"var": "neither"}]}`, `true`},
		{`{"===": [false, 0]}`, `false`},
		{`{"===": [[1], [2]]}`, `false`},
		{`{"===": [[1], "x"]}`, `false`},
		{`{"===": [{"var": "payload"}, {"var": "external"}]}`, `false`},
		{`{"===": [{"var": "payload"}, []]}`, `false`},
		{`{"===": [{"plusTime": ["2021-01-01", 0, "day"]}, {"plusTime": ["2021-01-01", 1, "day"]}]}`, `false`},
		{`{"===": [{"plusTime": ["2021-01-01", 0, "day"]}, "2021-01-01"]}`, `false`},
		{`{"in": ["b", {"var": "external.codes"}]}`, `true`},
		{`{"in": [1, {"var": "external.codes"}]}`, `true`},
		{`{"in": ["1", {"var": "external.codes"}]}`, `false`},
		{`{"in": [{"var": "no"}, {"var": "external.codes"}]}`, `true`},
		{`{"in": [[2], {"var": "external.codes"}]}`, `false`},
		{`{"+": [9007199254740990, 1]}`, `9007199254740991`},

		{`{"<": [1, 2, 3]}`, `true`},
		{`{"<": [1, 3, 3]}`, `false`},
		{`{">": [3, 2, 2]}`, `false`},
		{`{"<=": [1, 1, 1]}`, `true`},
		{`{">=": [1, 2]}`, `false`},
		{`{"before": [{"plusTime": ["2021-01-01", 0, "day"]}, {"plusTime": ["2021-01-01T00:00:00.001Z", 0, "day"]}]}`, `true`},
		{`{"after": [{"plusTime": ["2021-01-01", 0, "day"]}, {"plusTime": ["2021-01-01", 0, "hour"]}]}`, `false`},
		{`{"not-before": [{"plusTime": ["2021-01-01", 0, "day"]}, {"plusTime": ["2021-01-01", 0, "hour"]}]}`, `true`},
		{`{"not-after": [{"dccDateOfBirth": ["2004"]}, {"plusTime": ["2004", 0, "day"]}, {"dccDateOfBirth": ["2004-12-31"]}]}`, `true`},

		{`{"plusTime": [{"var": "external.validationClock"}, 15, "hour"]}`, `"2021-07-02T01:00:00.000Z"`},
		{`{"dccDateOfBirth": [{"var": "payload.dob"}]}`, `"2004-02-29T00:00:00.000Z"`},
		{`[{"plusTime": ["2021", 0, "day"]}]`, `["2021-12-31T00:00:00.000Z"]`},

		{`{"reduce": [{"var": "no"}, {"+": ["never", "evaluated"]}, "initial"]}`, `"initial"`},
		{`{"reduce": [[1, 2, 3], {"+": [{"var": "accumulator"}, {"var": "current"}]}, 10]}`, `16`},
		{`{"reduce": [[1], {"var": ""}, "x"]}`, `{"current": 1, "accumulator": "x"}`},
		{`{"reduce": [[1], {"var": "payload"}, "x"]}`, `null`},
		{`{"reduce": [[[1, 2], [3]], {"reduce": [{"var": "current"}, {"+": [{"var": "accumulator"}, {"var": "current"}]}, {"var": "accumulator"}]}, 0]}`, `6`},

		{`{"extractFromUVCI": [{"var": "no"}, 1]}`, `null`},
		{`{"extractFromUVCI": ["", 0]}`, `""`},
		{`{"extractFromUVCI": ["", 1]}`, `null`},
		{`{"extractFromUVCI": ["URN:UVCI:01:FR:T5DW#S", 1]}`, `"FR"`},
		{`{"extractFromUVCI": ["URN:UVCI:01:FR:T5DW#S", 3]}`, `"S"`},
		{`{"extractFromUVCI": ["URN:UVCI:01:FR:T5DW#S", 4]}`, `null`},
		{`{"extractFromUVCI": ["urn:uvci:01", 0]}`, `"urn"`},
		{`{"extractFromUVCI": ["a/b", -1]}`, `null`},
	}
	data := decode(t, sample)
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got, err := mustParse(t, tt.expr).Evaluate(data)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, tt.want), decode(t, string(text))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(decode(t, sample), data); diff != "" {
		t.Errorf("the data was changed (-before +after)\n%s", diff)
	}
}

func TestEvaluateErrors(t *testing.T) {
	tests := []struct {
		expr  string
		want  format.Defect
		place string
	}{
		{`{"if": [{"plusTime": ["2021", 0, "day"]}, 1, 2]}`, ErrNotBoolsy, "if[0]"},
		{`{"if": [true, {"!": [{"var": "payload.half"}]}, 2]}`, ErrNotBoolsy, "if[1].![0]"},
		{`{"and": [true, {"var": "payload.half"}]}`, ErrNotBoolsy, "and[1]"},
		{`{"!": [{"var": "payload.big"}]}`, ErrNotBoolsy, "![0]"},
		{`[1, {"+": [1, "1"]}]`, ErrType, "[1].+[1]"},
		{`{"+": [true, 1]}`, ErrType, "+[0]"},
		{`{"+": [{"var": "payload.half"}, 1]}`, ErrType, "+[0]"},
		{`{"+": [9007199254740991, 1]}`, ErrIntegerRange, "expression"},
		{`{"<": [1, 2, "3"]}`, ErrType, "<[2]"},
		{`{">": [2, 1, {"var": "no"}]}`, ErrType, ">[2]"},
		{`{"<": [{"plusTime": ["2021", 0, "day"]}, {"plusTime": ["2021", 0, "day"]}]}`, ErrType, "<[0]"},
		{`{"before": ["2021-01-01", "2021-01-02"]}`, ErrType, "before[0]"},
		{`{"in": ["a", "abc"]}`, ErrType, "in[1]"},
		{`{"in": ["a", {"var": "no"}]}`, ErrType, "in[1]"},
		{`{"in": [[1], {"var": "external.codes"}]}`, ErrType, "expression"},
		{`{"===": [[1], [1]]}`, ErrType, "expression"},
		{`{"===": [{"var": "payload"}, {"var": "payload"}]}`, ErrType, "expression"},
		{`{"===": [{"plusTime": ["2021", 0, "day"]}, {"plusTime": ["2021", 0, "day"]}]}`, ErrType, "expression"},
		{`{"plusTime": [{"var": "no"}, 0, "day"]}`, ErrType, "plusTime[0]"},
		{`{"plusTime": [{"plusTime": ["2021", 0, "day"]}, 0, "day"]}`, ErrType, "plusTime[0]"},
		{`{"plusTime": ["yesterday", 0, "day"]}`, ErrDateTime, "expression"},
		{`{"plusTime": ["2021-01-01", 300000, "year"]}`, ErrDateTimeRange, "expression"},
		{`{"dccDateOfBirth": ["2021-01-01T00:00:00Z"]}`, ErrDateTime, "expression"},
		{`{"dccDateOfBirth": [2004]}`, ErrType, "dccDateOfBirth[0]"},
		{`{"reduce": ["text", 0, 0]}`, ErrType, "reduce[0]"},
		{`{"reduce": [[1], {"+": [{"var": "current"}, {"var": "no"}]}, 0]}`, ErrType, "reduce[1].+[1]"},
		{`{"extractFromUVCI": [12, 1]}`, ErrType, "extractFromUVCI[0]"},
	}
	data := decode(t, sample)
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got, err := mustParse(t, tt.expr).Evaluate(data)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "certlogic: "+tt.place+": ") {
				t.Errorf("got %v, %v, want %s at %s", got, err, tt.want, tt.place)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		expr string
		want []format.Finding
	}{
		{`null`, []format.Finding{{Reason: ErrNull}}},
		{`3.14`, []format.Finding{{Reason: ErrNotInteger}}},
		{`9007199254740992`, []format.Finding{{Reason: ErrNotInteger}}},
		{`1e999`, []format.Finding{{Reason: ErrNotInteger}}},
		{`[1, null]`, []format.Finding{{Path: "[1]", Reason: ErrNull}}},
		{`{}`, []format.Finding{{Reason: ErrNotOneKey}}},
		{`{"!": [1], "if": [1, 2, 3]}`, []format.Finding{{Reason: ErrNotOneKey}}},
		{`{"all": [null]}`, []format.Finding{{Reason: ErrOperation}}},
		{`{"or": [true, false]}`, []format.Finding{{Reason: ErrOperation}}},
		{`{"!!": [true]}`, []format.Finding{{Reason: ErrOperation}}},
		{`{"==": [1, 1]}`, []format.Finding{{Reason: ErrOperation}}},
		{`{"": [1]}`, []format.Finding{{Reason: ErrOperation}}},
		{`{"!": true}`, []format.Finding{{Reason: ErrNotOperands}}},
		{`{"!": []}`, []format.Finding{{Reason: ErrNotOperands}}},
		{`{"var": 0}`, []format.Finding{{Reason: ErrPath}}},
		{`{"var": ["x"]}`, []format.Finding{{Reason: ErrPath}}},
		{`{"var": "a..b"}`, []format.Finding{{Reason: ErrPath}}},
		{`{"var": "."}`, []format.Finding{{Reason: ErrPath}}},
		{`{"if": [true, 1]}`, []format.Finding{{Reason: ErrOperandCount}}},
		{`{"and": [true]}`, []format.Finding{{Reason: ErrOperandCount}}},
		{`{"===": [1, 2, 3]}`, []format.Finding{{Reason: ErrOperandCount}}},
		{`{"after": [1, 2, 3, 4]}`, []format.Finding{{Reason: ErrOperandCount}}},
		{`{"plusTime": ["2021", 1]}`, []format.Finding{{Reason: ErrOperandCount}}},
		{`{"plusTime": ["2021", 1.5, "week"]}`, []format.Finding{{Reason: ErrAmount}, {Reason: ErrUnit}}},
		{`{"plusTime": ["2021", {"var": "x"}, "day"]}`, []format.Finding{{Reason: ErrAmount}}},
		{`{"plusTime": ["2021", 1, 2]}`, []format.Finding{{Reason: ErrUnit}}},
		{`{"extractFromUVCI": ["x", "1"]}`, []format.Finding{{Reason: ErrIndex}}},
		{`{"if": [{"var": 1}, {"!": [null]}, {"and": [true, {"<": [1]}]}]}`, []format.Finding{
			{Path: "if[0]", Reason: ErrPath}, {Path: "if[1].![0]", Reason: ErrNull}, {Path: "if[2].and[1]", Reason: ErrOperandCount}}},
		{`{"!": [1], "!": [2]}`, []format.Finding{{Reason: strictjson.ErrDuplicateName}}},
		{`{"!": [1]`, []format.Finding{{Reason: strictjson.ErrMalformed}}},
		{strings.Repeat(`{"!":[`, 100) + "1" + strings.Repeat(`]}`, 100), []format.Finding{{Reason: strictjson.ErrTooDeep}}},
		{`"` + strings.Repeat("a", MaxBytes) + `"`, []format.Finding{{Reason: strictjson.ErrTooLarge}}},
		{`[` + strings.Repeat("1,", MaxNodes) + `1]`, []format.Finding{{Path: fmt.Sprintf("[%d]", MaxNodes-1), Reason: ErrTooManyNodes}}},
	}
	for _, tt := range tests {
		t.Run(tt.expr[:min(len(tt.expr), 60)], func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Validate([]byte(tt.expr))); diff != "" {
				t.Errorf("findings (-want +got)\n%s", diff)
			}
			x, err := Parse([]byte(tt.expr))
			if x != nil || !errors.Is(err, tt.want[0].Reason) {
				t.Errorf("Parse: %v, want %s", err, tt.want[0].Reason)
			}
		})
	}
	if _, err := Parse([]byte("[" + strings.Repeat("null,", 5000) + "null]")); len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	if findings := Validate([]byte(sample)); len(findings) != 1 {
		t.Errorf("%v", findings)
	}
}

func TestFields(t *testing.T) {
	x := mustParse(t, `{"if": [
		{"var": "payload.v.0"},
		{"and": [
			{"in": [{"var": "payload.v.0.mp"}, {"var": "external.valueSets.vaccines"}]},
			{"reduce": [{"var": "payload.v"}, {"+": [{"var": "current.dn"}, {"var": "accumulator"}]}, {"var": "start"}]},
			{"after": [{"plusTime": [{"var": "payload.v.0.dt"}, 0, "day"]}, {"dccDateOfBirth": [{"var": "payload.dob"}]}]}
		]},
		[{"extractFromUVCI": [{"var": "payload.v.0"}, 1]}, {"!": [{"var": ""}]}]
	]}`)
	want := []string{"", "external.valueSets.vaccines", "payload.dob", "payload.v", "payload.v.0", "payload.v.0.dt", "payload.v.0.mp", "start"}
	if diff := cmp.Diff(want, x.Fields()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := mustParse(t, `1`).Fields(); got == nil || len(got) != 0 {
		t.Errorf("no fields: %v", got)
	}
}

// Go values of every kind that a caller may hand over, and some that it may not.
func TestNumbers(t *testing.T) {
	x := mustParse(t, `[{"var": "n"}, {"===": [{"var": "n"}, 7]}]`)
	for _, n := range []any{7, int8(7), int16(7), int32(7), int64(7), uint(7), uint8(7), uint16(7), uint32(7), uint64(7), float32(7), 7.0, json.Number("7"), json.Number("7.0"), json.Number("70e-1")} {
		got, err := x.Evaluate(map[string]any{"n": n})
		if diff := cmp.Diff([]any{int64(7), true}, got); err != nil || diff != "" {
			t.Errorf("%T: %v\n%s", n, err, diff)
		}
	}
	for _, n := range []any{int64(math.MaxInt64), uint64(math.MaxUint64), int64(math.MinInt64), float32(0.5), 1e300, json.Number("1e300"), json.Number("-0.1")} {
		got, err := mustParse(t, `{"var": ""}`).Evaluate(n)
		if _, ok := got.(float64); !ok || err != nil {
			t.Errorf("%T %v: %v, %v", n, n, got, err)
		}
	}
	for _, n := range []any{math.NaN(), math.Inf(1), json.Number("1e999"), json.Number("x"), struct{}{}, []string{"a"}, map[string]string{}} {
		for _, text := range []string{`{"var": "n"}`, `{"var": ""}`, `{"in": [1, {"var": "list"}]}`} {
			if _, err := mustParse(t, text).Evaluate(map[string]any{"n": n, "list": []any{n}}); !errors.Is(err, ErrData) {
				t.Errorf("%T %s: %v", n, text, err)
			}
		}
	}
	if got, err := mustParse(t, `{"in": ["a", {"var": ""}]}`).Evaluate([]any{json.Number("1"), "a"}); got != true || err != nil {
		t.Error(got, err)
	}
}

// Expressions that would run for years, or whose result would fill the memory.
func TestRunaway(t *testing.T) {
	list := "[" + strings.Repeat("1,", 99) + "1]"
	text := strings.Repeat("a", 1<<20)
	data := map[string]any{"text": text, "list": make([]any, 1<<17)}
	cyclic := map[string]any{}
	cyclic["self"] = cyclic
	tests := map[string]struct {
		expr string
		data any
	}{
		"reduce in reduce":         {strings.ReplaceAll(`{"reduce": [L, {"reduce": [L, {"reduce": [L, {"reduce": [L, {"var": "current"}, 0]}, 0]}, 0]}, 0]}`, "L", list), nil},
		"accumulator twice":        {`{"reduce": [` + list + `, [{"var": "accumulator"}, {"var": "accumulator"}], 1]}`, nil},
		"accumulator twice, equal": {`{"===": [{"reduce": [` + list + `, [{"var": "accumulator"}, {"var": "accumulator"}], 1]}, []]}`, nil},
		"contexts nested":          {`{"reduce": [{"var": "list"}, {"var": ""}, 1]}`, map[string]any{"list": make([]any, 1000)}},
		"long text in a lambda":    {`{"reduce": [` + list + `, {"extractFromUVCI": [{"var": "accumulator"}, 0]}, {"var": "text"}]}`, data},
		"long text compared":       {`[` + strings.Repeat(`{"===": [{"var": "text"}, {"var": "text"}]},`, 20) + `1]`, data},
		"long text searched":       {`{"in": [{"var": "text"}, ` + list + `]}`, data},
		"long array":               {`{"in": ["x", {"var": "list"}]}`, data},
		"long array, numbers":      {`{"in": [1, {"var": "list"}]}`, data},
		"large result":             {`{"var": ""}`, data},
		"cyclic data":              {`{"var": ""}`, cyclic},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := mustParse(t, tt.expr).Evaluate(tt.data); !errors.Is(err, ErrSteps) {
				t.Errorf("got %v, want %s", err, ErrSteps)
			}
		})
	}
}

func TestResultSharesNothing(t *testing.T) {
	data := decode(t, `{"a": [1, {"b": 2}]}`)
	got, err := mustParse(t, `{"var": ""}`).Evaluate(data)
	if err != nil {
		t.Fatal(err)
	}
	got.(map[string]any)["a"].([]any)[1].(map[string]any)["b"] = "changed"
	if diff := cmp.Diff(decode(t, `{"a": [1, {"b": 2}]}`), data); diff != "" {
		t.Errorf("the caller's data changed\n%s", diff)
	}
}

// fuzzSeeds are expressions with every operation.
var fuzzSeeds = []string{
	`{"if": [{"var": "payload.v.0"}, {"and": [{"in": [{"var": "payload.v.0.mp"}, {"var": "external.codes"}]}, {"<=": [1, 2, 3]}]}, true]}`,
	`{"not-after": [{"plusTime": [{"var": "payload.v.0.dt"}, 14, "day"]}, {"plusTime": [{"var": "external.validationClock"}, 0, "hour"]}, {"plusTime": ["2021-01", 1, "month"]}]}`,
	`{"reduce": [[1, 2, 3], {"reduce": [[1, {"var": "current"}], {"+": [{"var": "accumulator"}, {"var": "current"}]}, 0]}, {"!": [1]}]}`,
	`{"reduce": [[1, 2, 3], [{"var": "accumulator"}, {"var": ""}], 0]}`,
	`{"after": [{"dccDateOfBirth": [{"var": "payload.dob"}]}, {"plusTime": [{"var": "external.validationClock"}, -18, "year"]}]}`,
	`{"===": [{"extractFromUVCI": [{"var": "payload.v.0.mp"}, 1]}, [{"var": ""}]]}`,
	`{"plusTime": ["2021-06-01T12:00:00.1239-130", 100000000, "year"]}`,
	`[null, 1e400, {"a": 1, "b": 2}, {"var": ".."}]`,
}

func FuzzParse(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := Parse(data)
		findings := Validate(data)
		if (err == nil) != (len(findings) == 0) || (x == nil) != (err != nil) {
			t.Fatalf("Parse %v, Validate %v", err, findings)
		}
		if x != nil {
			x.Fields()
			if _, err := x.Evaluate(nil); err != nil && format.Reason(err, "") == "" {
				t.Errorf("no reason in %v", err)
			}
		}
	})
}

func FuzzEvaluate(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add([]byte(s), []byte(sample))
	}
	f.Fuzz(func(t *testing.T, expr, data []byte) {
		x, err := Parse(expr)
		if err != nil {
			return
		}
		v, err := strictjson.Decode(data, strictjson.Limits{Bytes: 1 << 16})
		if err != nil {
			return
		}
		first, err := x.Evaluate(v)
		if err != nil && (first != nil || format.Reason(err, "") == "") {
			t.Fatalf("%v with %v", first, err)
		}
		text, jsonErr := json.Marshal(first)
		if jsonErr != nil {
			t.Fatalf("a result that is no JSON: %v", jsonErr)
		}
		second, err2 := x.Evaluate(v)
		again, _ := json.Marshal(second)
		if fmt.Sprint(err) != fmt.Sprint(err2) || !bytes.Equal(text, again) {
			t.Fatalf("twice evaluated: %s (%v) and %s (%v)", text, err, again, err2)
		}
	})
}
