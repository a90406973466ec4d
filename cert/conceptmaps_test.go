package cert

import (
	"errors"
	"strings"
	"testing"

	"ampoule/format"
	"ampoule/format/fhir"

	"github.com/google/go-cmp/cmp"
)

// table makes a file of concept maps of lines "a:1 equivalent b:2".
func table(lines ...string) []byte {
	var b strings.Builder
	b.WriteString("source_system,source_code,equivalence,target_system,target_code\n")
	for _, line := range lines {
		b.WriteString(strings.NewReplacer(":", ",", " ", ",").Replace(line) + "\n")
	}
	return []byte(b.String())
}

func TestTranslate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		from  string // in system a
		want  string // in system z, with its equivalence; "" for none
	}{
		{"the same", []string{"a:1 equivalent z:9"}, "1", "9 equivalent"},
		{"equal", []string{"a:1 equal z:9"}, "1", "9 equal"},
		{"read from the other side", []string{"z:9 equivalent a:1"}, "1", "9 equivalent"},
		{"wider", []string{"a:1 wider z:9"}, "1", "9 wider"},
		{"a kind of it", []string{"a:1 subsumes z:9"}, "1", "9 subsumes"},
		{"narrower, read from the other side", []string{"z:9 narrower a:1"}, "1", "9 wider"},
		{"exact before wider", []string{"a:1 wider z:8", "a:1 equivalent z:9"}, "1", "9 equivalent"},
		{"two maps agree", []string{"a:1 equivalent z:9", "z:9 equivalent a:1"}, "1", "9 equivalent"},
		{"another code", []string{"a:1 equivalent z:9"}, "2", ""},
		{"narrower", []string{"a:1 narrower z:9"}, "1", ""},
		{"specializes", []string{"a:1 specializes z:9"}, "1", ""},
		{"wider, read from the other side", []string{"z:9 wider a:1"}, "1", ""},
		{"related", []string{"a:1 relatedto z:9"}, "1", ""},
		{"inexact", []string{"a:1 inexact z:9"}, "1", ""},
		{"disjoint", []string{"a:1 disjoint z:9"}, "1", ""},
		{"unmatched", []string{"a:1 unmatched z:"}, "1", ""},
		{"two exact ones", []string{"a:1 equivalent z:8", "a:1 equivalent z:9"}, "1", ""},
		{"two wider ones", []string{"a:1 wider z:8", "a:1 wider z:9"}, "1", ""},
		{"two exact ones, and one wider", []string{"a:1 equivalent z:7", "a:1 equivalent z:8", "a:1 wider z:9"}, "1", ""},
		{"a map denies it", []string{"a:1 equivalent z:9", "a:1 disjoint z:9"}, "1", ""},
		{"a map has it otherwise", []string{"a:1 equivalent z:9", "a:1 narrower z:9"}, "1", ""},
		{"a map has nothing for it", []string{"a:1 wider z:9", "a:1 unmatched z:"}, "1", ""},
		{"one that others are too", []string{"a:1 equivalent z:9", "a:2 equivalent z:9"}, "1", "9 equivalent"},

		{"through a hub", []string{"a:1 equivalent h:5", "h:5 equivalent z:9"}, "1", "9 equivalent"},
		{"through a hub, from the other side", []string{"h:5 equal a:1", "z:9 equal h:5"}, "1", "9 equivalent"},
		{"through two", []string{"a:1 equivalent h:5", "h:5 equivalent i:6", "i:6 equivalent z:9"}, "1", "9 equivalent"},
		{"through three", []string{"a:1 equivalent h:5", "h:5 equivalent i:6", "i:6 equivalent j:7", "j:7 equivalent z:9"}, "1", ""},
		{"in a circle", []string{"a:1 equivalent h:5", "h:5 equivalent i:6", "i:6 equivalent a:1"}, "1", ""},
		{"a chain that is not exact at first", []string{"a:1 wider h:5", "h:5 equivalent z:9"}, "1", ""},
		{"a chain that is not exact at last", []string{"a:1 equivalent h:5", "h:5 wider z:9"}, "1", ""},
		{"a chain through a crossing", []string{"a:1 equivalent h:5", "a:2 equivalent h:5", "h:5 equivalent z:9"}, "1", ""},
		{"a chain that forks", []string{"a:1 equivalent h:5", "h:5 equivalent z:8", "h:5 equivalent z:9"}, "1", ""},
		{"a chain that comes out twice", []string{"a:1 equivalent h:5", "a:1 equivalent i:6", "h:5 equivalent z:8", "i:6 equivalent z:9"}, "1", ""},
		{"no chain where there is a statement", []string{"a:1 narrower z:8", "a:1 equivalent h:5", "h:5 equivalent z:9"}, "1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := new(ConceptMaps)
			if err := m.Add("table", table(tt.lines...)); err != nil {
				t.Fatal(err)
			}
			match, ok := m.Translate(Code{Code: tt.from, System: "a"}, "z")
			got := ""
			if ok {
				got = match.Code.Code + " " + string(match.Equivalence)
				if len(match.Maps) == 0 {
					t.Error("no map says so")
				}
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestConceptMapsAdd(t *testing.T) {
	const resource = `{"resourceType": "ConceptMap", "url": "https://example.org/map", "version": "2", "copyright": "CC0",
		"group": [{"source": "http://snomed.info/sct|2024", "target": "http://id.who.int/icd11/mms", "element": [
		{"code": "1", "target": [{"code": "X1", "display": "an X", "equivalence": "equivalent"}]},
		{"code": "2", "target": [{"code": "X2", "equivalence": "equivalent", "dependsOn": [{"property": "age", "value": "child"}]}]}]}]}`
	m := BuiltinConceptMaps()
	builtin := len(m.Sources())
	if err := m.Add("map.json", []byte(resource)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]ConceptMapSource{{"https://example.org/map|2", "CC0", 1}}, m.Sources()[builtin:]); diff != "" {
		t.Error(diff)
	}
	// The systems go by several names, and by versions.
	got := m.Matches(Code{Code: "1", System: "urn:oid:2.16.840.1.113883.6.96"}, "http://id.who.int/icd/release/11/2025-01/mms")
	want := []Match{{Code{"X1", "http://id.who.int/icd11/mms", "an X"}, fhir.Equivalent, []string{"https://example.org/map|2"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := m.Matches(Code{Code: "2", System: systemSNOMED}, systemICD11); got != nil {
		t.Errorf("a statement that depends on more than the code: %v", got)
	}
	// What one loads does not reach another's.
	if got := BuiltinConceptMaps().Matches(Code{Code: "1", System: systemSNOMED}, systemICD11); got != nil {
		t.Errorf("the built-in maps were changed: %v", got)
	}
	if err := m.Add("retired.json", []byte(strings.Replace(resource, `"version"`, `"status": "retired", "version"`, 1))); err != nil || len(m.Sources()) != builtin+1 {
		t.Errorf("a retired map: %v, %d maps", err, len(m.Sources()))
	}
	var none *ConceptMaps
	if _, ok := none.Translate(Code{Code: "1", System: "a"}, "z"); ok {
		t.Error("no maps translate")
	}
}

func TestConceptMapsAddRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       error
		place      string
	}{
		{"nothing", "", ErrConceptTable, "file"},
		{"no equivalence", "source_system,source_code,target_system,target_code\na,1,b,2\n", ErrConceptTable, "equivalence"},
		{"an equivalence of nobody", string(table("a:1 same z:9")), format.BadCode, "line 2"},
		{"a line too short", "source_system,source_code,target_system,target_code,equivalence\na,1,b,2\n", ErrConceptTable, "line 2"},
		{"no code", string(table("a:1 equivalent z:9", "a: equivalent z:9")), format.RequiredMissing, "line 3"},
		{"no target", string(table("a:1 equivalent z:")), format.RequiredMissing, "line 2"},
		{"a value set", `{"resourceType": "ValueSet"}`, format.BadType, "ValueSet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := new(ConceptMaps)
			err := m.Add("file", []byte(tt.text))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.place) {
				t.Errorf("%v, want %v at %s", err, tt.want, tt.place)
			}
			if len(m.Sources()) > 0 || len(m.statements) > 0 {
				t.Error("a part of it was kept")
			}
		})
	}
}

// TestBuiltinConceptMaps: the codes of our own maps are those of the value sets,
// and a map contradicts neither itself nor another.
func TestBuiltinConceptMaps(t *testing.T) {
	m := BuiltinConceptMaps()
	for key, statements := range m.statements {
		for _, s := range statements {
			if set := map[string]ValueSet{systemEURegister: ValueSetProduct}[s.key.system]; set != "" {
				if _, known := Display(set, s.key.code); !known {
					t.Errorf("%s is not in %s", s.key.code, set)
				}
			}
			for _, other := range statements {
				if s.key == other.key && s.equivalence != other.equivalence {
					t.Errorf("%v to %v: %s and %s", key, s.key, s.equivalence, other.equivalence)
				}
			}
		}
	}
	for _, tt := range []struct{ from, system, want string }{
		{"208 " + fhir.SystemCVX, systemEURegister, "EU/1/20/1528 wider"},
		{"208 " + fhir.SystemCVX, systemSNOMED, "1119349007 wider"},
		{"10 " + fhir.SystemCVX, systemATC, "J07BF03 equivalent"},
		{"1D47 " + systemICD11, systemSNOMED, "16541001 equivalent"},
		{"RA01.0 " + systemICD11, systemSNOMED, "840539006 wider"},
		{"EU/1/20/1528 " + systemEURegister, fhir.SystemCVX, ""}, // it is five of CVX, each narrower
		{"J07BN01 " + systemATC, systemSNOMED, "1119349007 equivalent"},
	} {
		code, system, _ := strings.Cut(tt.from, " ")
		match, ok := m.Translate(Code{Code: code, System: system}, tt.system)
		got := ""
		if ok {
			got = match.Code.Code + " " + string(match.Equivalence)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.from, got, tt.want)
		}
	}
	for _, s := range m.Sources() {
		if s.Licence == "" {
			t.Errorf("%s has no licence", s.Name)
		}
	}
}

func FuzzConceptMaps(f *testing.F) {
	f.Add(table("a:1 equivalent z:9", "z:9 wider b:2"), "1")
	f.Add([]byte(`{"resourceType": "ConceptMap", "group": [{"source": "a", "target": "z", "element": [{"code": "1", "target": [{"code": "9", "equivalence": "equal"}]}]}]}`), "1")
	f.Fuzz(func(t *testing.T, data []byte, code string) {
		m := new(ConceptMaps)
		if m.Add("file", data) != nil {
			return
		}
		if match, ok := m.Translate(Code{Code: code, System: "a"}, "z"); ok && !match.Equivalence.Exact() && !match.Equivalence.MeansMore() {
			t.Errorf("%s stands for %q, and is %s", match.Code.Code, code, match.Equivalence)
		}
	})
}
