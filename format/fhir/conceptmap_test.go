package fhir

import (
	"errors"
	"strings"
	"testing"

	"ampoule/format"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

const specimenMap = `{"resourceType": "ConceptMap", "url": "https://example.org/map", "version": "1", "status": "active", "copyright": "free",
 "group": [{"source": "urn:a", "target": "urn:b", "element": [
  {"code": "1", "display": "one", "target": [{"code": "x", "equivalence": "equivalent"}, {"code": "y", "equivalence": "wider", "comment": "more"}]},
  {"code": "2", "target": [{"equivalence": "unmatched"}]}], "unmapped": {"mode": "fixed", "code": "z"}}]}`

func TestDecodeConceptMaps(t *testing.T) {
	want := ConceptMap{
		ResourceType: "ConceptMap", URL: "https://example.org/map", Version: "1", Status: "active", Copyright: "free",
		Group: []ConceptMapGroup{{Source: "urn:a", Target: "urn:b", Element: []ConceptMapElement{
			{Code: "1", Display: "one", Target: []ConceptMapTarget{{Code: "x", Equivalence: Equivalent}, {Code: "y", Equivalence: Wider}}},
			{Code: "2", Target: []ConceptMapTarget{{Equivalence: Unmatched}}},
		}}},
	}
	for name, text := range map[string]string{
		"a map":    specimenMap,
		"a bundle": `{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "ValueSet", "version": "1"}}, {"resource": ` + specimenMap + `}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeConceptMaps([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]ConceptMap{want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeConceptMapsRefuses(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(specimenMap, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(specimenMap, old, new, 1)
	}
	for _, tt := range []struct {
		name, text string
		want       error
		place      string
	}{
		{"another resource", `{"resourceType": "ValueSet"}`, format.BadType, "ValueSet"},
		{"nothing", `{}`, format.BadType, ""},
		{"no JSON", `map`, strictjson.ErrMalformed, ""},
		{"an array", `[]`, strictjson.ErrMalformed, ""},
		{"a name twice", `{"resourceType": "ConceptMap", "resourceType": "ConceptMap"}`, strictjson.ErrDuplicateName, ""},
		{"FHIR R5", swap(`"equivalence": "wider"`, `"relationship": "source-is-narrower-than-target"`), format.RequiredMissing, "group[0].element[0].target[1].equivalence"},
		{"an equivalence of nobody", swap(`"equivalence": "wider"`, `"equivalence": "same"`), format.BadCode, "group[0].element[0].target[1].equivalence"},
		{"a target without code", swap(`"code": "y", `, ``), format.RequiredMissing, "group[0].element[0].target[1].code"},
		{"an element without code", swap(`"code": "1", `, ``), format.RequiredMissing, "group[0].element[0].code"},
		{"no source", swap(`"source": "urn:a", `, ``), format.RequiredMissing, "group[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := DecodeConceptMaps([]byte(tt.text))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.place) {
				t.Errorf("%v, want %v at %s", err, tt.want, tt.place)
			}
		})
	}
}

func TestEquivalence(t *testing.T) {
	for e := range reversed {
		back, ok := e.Reversed()
		if again, _ := back.Reversed(); !ok || again != e {
			t.Errorf("%s: reversed twice it is %s", e, again)
		}
		if back.Exact() != e.Exact() || e.MeansMore() && (back.MeansMore() || e.Exact()) {
			t.Errorf("%s and %s contradict each other", e, back)
		}
	}
	if _, ok := Unmatched.Reversed(); ok {
		t.Error("what has no match says something of its match")
	}
}

func FuzzDecodeConceptMaps(f *testing.F) {
	f.Add([]byte(specimenMap))
	f.Add([]byte(`{"resourceType": "Bundle", "entry": [{"resource": ` + specimenMap + `}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		maps, err := DecodeConceptMaps(data)
		if err != nil {
			return
		}
		for _, m := range maps {
			for _, g := range m.Group {
				for _, e := range g.Element {
					for _, target := range e.Target {
						if e.Code == "" || g.Target == "" || target.Equivalence == "" {
							t.Error("what was read says nothing")
						}
					}
				}
			}
		}
	})
}
