package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     error
	}{
		{"object", `{"a":1,"b":{"a":2}}`, nil},
		{"same name in siblings", `[{"a":1},{"a":2}]`, nil},
		{"name as value", `{"a":"a","b":"a"}`, nil},
		{"colon in a string", `{"a":":","b":"\":"}`, nil},
		{"white space around", " \t\r\n{} \n", nil},
		{"scalar", `17`, nil},
		{"pair of surrogates", `"\uD83D\uDC89"`, nil},
		{"escaped backslash before u", `"\\ud800"`, nil},
		{"brackets in strings", `"[[[[[[[[[["`, nil},
		{"brackets after an escaped quote", `"\"[[[[[[[[[["`, nil},
		{"case differs", `{"a":1,"A":2}`, nil},
		{"depth at the limit", `[[[[]]]]`, nil},

		{"empty", ``, ErrMalformed},
		{"byte order mark", "\uFEFF{}", ErrMalformed},
		{"trailing value", `{} {}`, ErrMalformed},
		{"trailing brace", `{}}`, ErrMalformed},
		{"unterminated string", `{"a`, ErrMalformed},
		{"unterminated escape", `"\`, ErrMalformed},
		{"short escape", `"\u12"`, ErrMalformed},
		{"NaN", `NaN`, ErrMalformed},
		{"comment", `{/**/}`, ErrMalformed},
		{"duplicate", `{"a":1,"a":1}`, ErrDuplicateName},
		{"duplicate by escape", `{"a":1,"\u0061":2}`, ErrDuplicateName},
		{"duplicate with space", `{"a" :1,"a"` + "\n" + `:2}`, ErrDuplicateName},
		{"duplicate after a nested object", `{"a":{"b":1},"a":2}`, ErrDuplicateName},
		{"duplicate empty name", `{"":1,"":2}`, ErrDuplicateName},
		{"too deep", `[[[[[]]]]]`, ErrTooDeep},
		{"too deep, mixed and cut", `[{"a":[{"b":[`, ErrTooDeep},
		{"too large", `"` + strings.Repeat("x", 199) + `"`, ErrTooLarge},
		{"not UTF-8", "\"\xff\"", ErrInvalidUTF8},
		{"surrogate in UTF-8", "\"\xed\xa0\x80\"", ErrInvalidUTF8},
		{"high alone", `"\ud800"`, ErrInvalidUTF8},
		{"high then letter", `"\ud800x"`, ErrInvalidUTF8},
		{"high then high", `"\ud800\ud800"`, ErrInvalidUTF8},
		{"low alone", `"\udc00"`, ErrInvalidUTF8},
		{"low alone in a name", `{"\uDC00":1}`, ErrInvalidUTF8},
		{"pair then low", `"\ud800\udc00\udc00"`, ErrInvalidUTF8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := Check([]byte(tc.in), Limits{Bytes: 200, Depth: 4}); !errors.Is(err, tc.want) {
				t.Errorf("Check(%q) = %v, want %v", tc.in, err, tc.want)
			}
		})
	}
}

func TestDefaultLimits(t *testing.T) {
	deep := strings.Repeat("[", DefaultDepth) + strings.Repeat("]", DefaultDepth)
	if err := Check([]byte(deep), Limits{}); err != nil {
		t.Errorf("at the default depth: %v", err)
	}
	if err := Check([]byte("["+deep+"]"), Limits{}); !errors.Is(err, ErrTooDeep) {
		t.Errorf("one deeper: %v", err)
	}
	if err := Check(make([]byte, DefaultBytes+1), Limits{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

// A struct field would take either of two names that differ in case, so
// Unmarshal has to refuse what Check lets pass.
func TestUnmarshalFoldsCase(t *testing.T) {
	var v struct {
		Kid string `json:"kid"`
	}
	for _, in := range []string{`{"kid":"a","KID":"b"}`, `{"kid":"a","\u212Aid":"b"}`} {
		if err := Unmarshal([]byte(in), &v, Limits{}); !errors.Is(err, ErrDuplicateName) {
			t.Errorf("Unmarshal(%s) = %v, want %v", in, err, ErrDuplicateName)
		}
	}
	if err := Unmarshal([]byte(`{"kid":"a"}`), &v, Limits{}); err != nil || v.Kid != "a" {
		t.Errorf("Unmarshal = %q, %v", v.Kid, err)
	}
	if err := Unmarshal([]byte(`{"kid":1}`), &v, Limits{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("wrong type: %v", err)
	}
}

func TestDecode(t *testing.T) {
	got, err := Decode([]byte(`{"n":1.50,"N":[null,true,"x"]} `), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"n": json.Number("1.50"), "N": []any{nil, true, "x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzCheck compares with the standard decoder: what is accepted must be the same
// value there, and what is refused for its grammar must be refused there.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,"\ud83d\udc89"]}`, `{"a":1,"\u0061":2}`, `"\`, `[[`, `{"a"`, "\"\\\\\"", `"\ud800`, `[-0.1e+5, 01, 1., 1e, -]`,
		`{"a":"\"\/\b\f\n\r\t", "b":[true,false,null,{}]}`, "\"\x01\"", `[1,]`, `{"a":1,}`, `tru`, `1 2`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Check(data, Limits{})
		v, again := Decode(data, Limits{})
		if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
			t.Fatalf("Check says %v, Decode %v", err, again)
		}
		if err != nil {
			if errors.Is(err, ErrMalformed) && json.Valid(data) {
				t.Fatalf("%v, and it is JSON", err)
			}
			return
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("accepted, and it is no JSON: %v", err)
		}
		if _, err := dec.Token(); err != io.EOF {
			t.Fatal("accepted, and there is more behind it")
		}
		if diff := cmp.Diff(want, v); diff != "" {
			t.Error(diff)
		}
	})
}

// payload is about what a health card carries.
var payload = []byte(`{"iss":"https://issuer.example","nbf":1670515730.472,"vc":{"type":["https://smarthealth.cards#health-card","https://smarthealth.cards#immunization"],"credentialSubject":{"fhirVersion":"4.0.1","fhirBundle":{"resourceType":"Bundle","type":"collection","entry":[` +
	`{"fullUrl":"resource:0","resource":{"resourceType":"Patient","name":[{"family":"Specimen","given":["Demo","B."]}],"birthDate":"1951-01-20"}}` +
	strings.Repeat(`,{"fullUrl":"resource:1","resource":{"resourceType":"Immunization","status":"completed","vaccineCode":{"coding":[{"system":"http://hl7.org/fhir/sid/cvx","code":"207"}]},"patient":{"reference":"resource:0"},"occurrenceDateTime":"2021-01-01","performer":[{"actor":{"display":"Specimen Hospital"}}],"lotNumber":"0000001"}}`, 2) + `]}}}}`)

func BenchmarkDecode(b *testing.B) {
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(payload, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStandard(b *testing.B) {
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		var v any
		if err := json.Unmarshal(payload, &v); err != nil {
			b.Fatal(err)
		}
	}
}
