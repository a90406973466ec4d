package senml

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
)

const now = 1_800_000_000

func TestParseJSON(t *testing.T) {
	for _, tt := range []struct {
		name, pack string
		want       []Record
		err        error
	}{
		{name: "base name and time", pack: `[{"bn":"urn:dev:mac:0024befffe804ff1/","bt":1800000100,"bu":"Cel","n":"t","v":4.5},{"n":"t","t":60,"v":4.75}]`, want: []Record{
			{Name: "urn:dev:mac:0024befffe804ff1/t", Unit: "Cel", Time: 1800000100, Value: at(4.5)}, {Name: "urn:dev:mac:0024befffe804ff1/t", Unit: "Cel", Time: 1800000160, Value: at(4.75)}}},
		{name: "a unit of its own", pack: `[{"bu":"Cel","n":"a","u":"%RH","v":1},{"n":"a","v":2}]`, want: []Record{{Name: "a", Unit: "%RH", Time: now, Value: at(1)}, {Name: "a", Unit: "Cel", Time: now, Value: at(2)}}},
		{name: "base value and sum", pack: `[{"bv":20,"bs":100,"n":"a","v":0.5,"s":1},{"n":"b","v":-1},{"n":"c","vs":"open"}]`, want: []Record{
			{Name: "a", Time: now, Value: at(20.5), Sum: at(101)}, {Name: "b", Time: now, Value: at(19)}, {Name: "c", Time: now, Text: new("open")}}},
		{name: "before now", pack: `[{"n":"a","t":-60,"v":1}]`, want: []Record{{Name: "a", Time: now - 60, Value: at(1)}}},
		{name: "nothing but a base first", pack: `[{"bn":"a/","bver":10},{"n":"b","vb":true,"ut":5}]`, want: []Record{{Name: "a/b", Time: now, Boolean: new(true), Update: at(5)}}},
		{name: "data", pack: `[{"n":"a","vd":"aGkgCg"}]`, want: []Record{{Name: "a", Time: now, Data: []byte("hi \n")}}},
		{name: "an extension that may be passed over", pack: `[{"n":"a","v":1,"ct":"60"}]`, want: []Record{{Name: "a", Time: now, Value: at(1)}}},
		{name: "one that may not", pack: `[{"n":"a","v":1,"ct_":"60"}]`, err: ErrMustKnow},
		{name: "no value", pack: `[{"n":"a","u":"Cel"}]`, err: ErrNoValue},
		{name: "two values", pack: `[{"n":"a","v":1,"vb":true}]`, err: ErrValues},
		{name: "no name", pack: `[{"v":1}]`, err: ErrName},
		{name: "a name with a blank", pack: `[{"n":"a b","v":1}]`, err: ErrName},
		{name: "a name that begins with a point", pack: `[{"n":".a","v":1}]`, err: ErrName},
		{name: "a later version", pack: `[{"bver":11,"n":"a","v":1}]`, err: ErrVersion},
		{name: "another version in the middle", pack: `[{"bver":5,"n":"a","v":1},{"bver":6,"n":"a","v":1}]`, err: ErrVersion},
		{name: "a text for a number", pack: `[{"n":"a","v":"1"}]`, err: ErrField},
		{name: "data with padding", pack: `[{"n":"a","vd":"aGkgCg=="}]`, err: ErrField},
		{name: "an object", pack: `{"n":"a","v":1}`, err: ErrForm},
		{name: "nothing", pack: `[]`, err: ErrForm},
		{name: "a number in place of a record", pack: `[1]`, err: ErrForm},
		{name: "beyond a float", pack: `[{"bv":1e308,"n":"a","v":1e308}]`, err: ErrNotANumber},
		{name: "not a float", pack: `[{"n":"a","v":1e999}]`, err: ErrNotANumber},
		{name: "too long", pack: strings.Repeat(" ", MaxPack+1), err: ErrSize},
		{name: "too many", pack: "[" + strings.Repeat(`{"bn":"a"},`, MaxRecords) + `{"bn":"a"}]`, err: ErrSize},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseJSON([]byte(tt.pack), now)
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if d := differ(got, tt.want); d != "" {
				t.Error(d)
			}
		})
	}
	if _, err := ParseJSON([]byte(`[{"n":"a","v":1,"v":2}]`), now); err == nil {
		t.Error("a field twice is taken")
	}
}

func at(f float64) *float64 { return &f }

// differ tells where records differ, or nothing.
func differ(got, want []Record) string {
	if len(got) != len(want) {
		return "another number of records"
	}
	for i := range got {
		a, b := got[i], want[i]
		switch {
		case a.Name != b.Name || a.Unit != b.Unit || a.Link != b.Link:
			return "name, unit or link of " + a.Name
		case a.Time != b.Time:
			return "time of " + a.Name
		case !same(a.Value, b.Value) || !same(a.Sum, b.Sum) || !same(a.Update, b.Update) || !same(a.Text, b.Text) || !same(a.Boolean, b.Boolean):
			return "value of " + a.Name
		case string(a.Data) != string(b.Data) || (a.Data == nil) != (b.Data == nil):
			return "data of " + a.Name
		}
	}
	return ""
}

func same[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func TestParseCBOR(t *testing.T) {
	for _, tt := range []struct {
		name, pack string
		want       []Record
		err        error
	}{
		{name: "integers, floats and fractions", pack: "84" + "a3" + "2161612200" + "0218ff" + "a1" + "02f94480" + "a1" + "02c4822018eb" + "a1" + "0220", want: []Record{
			{Name: "a", Time: now, Value: at(255)}, {Name: "a", Time: now, Value: at(4.5)}, {Name: "a", Time: now, Value: at(23.5)}, {Name: "a", Time: now, Value: at(-1)}}},
		{name: "data and boolean", pack: "82" + "a2" + "006161" + "0842ffd8" + "a2" + "006162" + "04f4", want: []Record{{Name: "a", Time: now, Data: []byte{0xff, 0xd8}}, {Name: "b", Time: now, Boolean: new(false)}}},
		{name: "an extension that may not be passed over", pack: "81" + "a3" + "006161" + "0201" + "6278" + "5f01", err: ErrMustKnow},
		{name: "infinity", pack: "81" + "a2" + "006161" + "02f97c00", err: ErrNotANumber},
		{name: "a fraction beyond a float", pack: "81" + "a2" + "006161" + "02c4821901901903e8", err: ErrNotANumber},
		{name: "a fraction of three", pack: "81" + "a2" + "006161" + "02c483010101", err: ErrField},
		{name: "text in the place of a number", pack: "81" + "a2" + "006161" + "026131", err: ErrField},
		{name: "a map", pack: "a0", err: ErrForm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := hex.DecodeString(tt.pack)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseCBOR(data, now)
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if d := differ(got, tt.want); d != "" {
				t.Errorf("%s: %+v", d, got)
			}
		})
	}
}

// check holds what a parser took against what the package promises.
func check(t *testing.T, all []Record, err error) {
	if err != nil {
		if all != nil {
			t.Fatal("records beside an error")
		}
		return
	}
	for _, r := range all {
		if !validName(r.Name) || math.IsNaN(r.Time) || math.IsInf(r.Time, 0) {
			t.Fatalf("%+v", r)
		}
		if r.Value != nil && (math.IsNaN(*r.Value) || math.IsInf(*r.Value, 0)) {
			t.Fatalf("%+v", r)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`[{"bn":"a/","bt":1.8e9,"bu":"Cel","n":"t","v":4.5},{"n":"t","t":60,"v":4.75,"s":1,"ut":3}]`))
	f.Add([]byte(`[{"n":"a","vd":"aGkgCg"},{"n":"b","vb":true},{"n":"c","vs":"x"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := ParseJSON(data, now)
		check(t, all, err)
	})
}

func FuzzParseCBOR(f *testing.F) {
	for _, pack := range []string{"84a32161612200" + "0218ffa102f94480a102c4822018eba10220", "82a20061610842ffd8a200616204f4"} {
		data, err := hex.DecodeString(pack)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := ParseCBOR(data, now)
		check(t, all, err)
	})
}
