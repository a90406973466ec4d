package linkset

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"ampoule/format"
	"ampoule/format/strictjson"
)

const leaflet = `{"linkset":[{"anchor":"https://id.gs1.org/01/09501101530003","itemDescription":"Yellow fever <vaccine>","https://ref.gs1.org/voc/epil":[{"href":"https://example.org/leaflet","title":"Leaflet","type":"text/html","hreflang":["en","fr-CH"],"context":["CH"],"fwqs":false,"public":true},{"href":"https://example.org/b","title":"Other"}],"next":[]}]}`

func TestParse(t *testing.T) {
	set, findings, err := Parse([]byte(leaflet))
	if err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
	want := []Context{{
		Anchor: "https://id.gs1.org/01/09501101530003", Description: "Yellow fever <vaccine>",
		Relations: []Relation{
			{PatientLeaflet, []Link{
				{Href: "https://example.org/leaflet", Title: "Leaflet", MediaType: "text/html", Languages: []string{"en", "fr-CH"}, Context: []string{"CH"}, ForwardQuery: new(false), Public: new(true)},
				{Href: "https://example.org/b", Title: "Other"},
			}},
			{Type: "next"},
		},
	}}
	if !reflect.DeepEqual(set, want) {
		t.Errorf("%+v", set)
	}
	for _, name := range []string{"gs1:epil", "https://gs1.org/voc/epil", PatientLeaflet} {
		if len(set[0].Links(name)) != 2 {
			t.Errorf("no links of %s", name)
		}
	}
	if set[0].Links("gs1:pip") != nil {
		t.Error("links of a type that is not there")
	}
	if data, err := Marshal(set); err != nil || string(data) != leaflet {
		t.Errorf("%s: %v", data, err)
	}
}

// TestFindings: one thing is changed in a sound set, and found in its place.
func TestFindings(t *testing.T) {
	for _, tt := range []struct {
		name, old, new, path string
		reason               format.Defect
	}{
		{"no anchor", `"anchor":"https://id.gs1.org/01/09501101530003",`, ``, "linkset[0].anchor", format.RequiredMissing},
		{"an anchor that is relative", `https://id.gs1.org/01`, `/01`, "linkset[0].anchor", format.BadValue},
		{"no description", `"itemDescription":"Yellow fever <vaccine>",`, ``, "linkset[0].itemDescription", format.RequiredMissing},
		{"a description that is none", `"Yellow fever <vaccine>"`, `1`, "linkset[0].itemDescription", format.BadType},
		{"a short name for a type", `https://ref.gs1.org/voc/epil`, `gs1:epil`, "linkset[0].gs1:epil", format.BadCode},
		{"a type with a hyphen in its URI", `voc/epil`, `voc/e-pil`, "linkset[0].https://ref.gs1.org/voc/e-pil", format.BadCode},
		{"capitals in a word", `"next"`, `"Next"`, "linkset[0].Next", format.BadCode},
		{"no title", `,"title":"Other"`, ``, "linkset[0].https://ref.gs1.org/voc/epil[1].title", format.RequiredMissing},
		{"a title that is none", `"title":"Other"`, `"title":null`, "linkset[0].https://ref.gs1.org/voc/epil[1].title", format.BadType},
		{"a target that is relative", `https://example.org/b`, `b`, "linkset[0].https://ref.gs1.org/voc/epil[1].href", format.BadValue},
		{"a language in words", `"en"`, `"English"`, "linkset[0].https://ref.gs1.org/voc/epil[0].hreflang", format.BadCode},
		{"one language", `["en","fr-CH"]`, `"en"`, "linkset[0].https://ref.gs1.org/voc/epil[0].hreflang", format.BadType},
		{"a media type without a slash", `text/html`, `html`, "linkset[0].https://ref.gs1.org/voc/epil[0].type", format.BadValue},
		{"a word for a boolean", `"fwqs":false`, `"fwqs":"no"`, "linkset[0].https://ref.gs1.org/voc/epil[0].fwqs", format.BadType},
		{"something else of a link", `"public":true`, `"title*":[]`, "linkset[0].https://ref.gs1.org/voc/epil[0].title*", format.NotCarried},
		{"something else beside the set", `{"linkset"`, `{"@context":{},"linkset"`, "@context", format.NotCarried},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := strings.Replace(leaflet, tt.old, tt.new, 1)
			_, findings, err := Parse([]byte(data))
			if err != nil || len(findings) != 1 || findings[0] != (format.Finding{Path: tt.path, Reason: tt.reason}) {
				t.Errorf("%s: %v %v", data, findings, err)
			}
		})
	}
	// Findings do not grow without an end.
	worst := `{"linkset":[{"a":[` + strings.Repeat(`{"href":""},`, 2000) + `{"href":""}]}]}`
	if _, findings, err := Parse([]byte(worst)); err != nil || len(findings) != maxFindings {
		t.Error(len(findings), err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		data string
		err  error
	}{
		"nothing":                     {``, strictjson.ErrMalformed},
		"no set":                      {`{}`, ErrForm},
		"an array":                    {`[]`, ErrForm},
		"a set that is no array":      {`{"linkset":{}}`, ErrForm},
		"a context that is none":      {`{"linkset":[1]}`, ErrForm},
		"an anchor that is no text":   {`{"linkset":[{"anchor":1}]}`, ErrForm},
		"a relation that is no array": {`{"linkset":[{"next":{"href":"https://a/"}}]}`, ErrForm},
		"a link that is no object":    {`{"linkset":[{"next":["https://a/"]}]}`, ErrForm},
		"a link without a target":     {`{"linkset":[{"next":[{"title":"A"}]}]}`, ErrForm},
		"a member twice":              {`{"linkset":[{"next":[],"next":[]}]}`, strictjson.ErrDuplicateName},
		"too many links":              {`{"linkset":[{"next":[` + strings.Repeat(`{"href":"https://a/"},`, MaxLinks) + `{"href":""}]}]}`, ErrSize},
		"too long":                    {strings.Repeat(" ", MaxBytes+1), ErrSize},
		"too deep":                    {`{"linkset":[{"next":[{"href":[[[[[[[]]]]]]]}]}]}`, strictjson.ErrTooDeep},
	} {
		if _, _, err := Parse([]byte(tt.data)); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
}

// TestMarshalRefuses: what the schema does not allow is not written.
func TestMarshalRefuses(t *testing.T) {
	for name, c := range map[string]Context{
		"no anchor":    {Description: "x"},
		"no web":       {Anchor: "https://a/", Description: "x", Relations: []Relation{{"next", []Link{{Href: "mailto:a@b", Title: "A"}}}}},
		"a language":   {Anchor: "https://a/", Description: "x", Relations: []Relation{{"next", []Link{{Href: "https://a/", Title: "A", Languages: []string{"english"}}}}}},
		"a short name": {Anchor: "https://a/", Description: "x", Relations: []Relation{{"gs1:pip", nil}}},
	} {
		if data, err := Marshal([]Context{c}); !errors.Is(err, ErrRules) {
			t.Errorf("%s: %s: %v", name, data, err)
		}
	}
	twice := Context{Anchor: "https://a/", Relations: []Relation{{Type: "next"}, {Type: "next"}}}
	if data, err := Marshal([]Context{twice}); !errors.Is(err, strictjson.ErrDuplicateName) {
		t.Errorf("%s: %v", data, err)
	}
}

// FuzzParse: no text panics, and a set without findings is written so that it is read
// to the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(leaflet))
	f.Add([]byte(`{"linkset":[{"anchor":"","next":[{"href":"","title*":[{"value":"a"}]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, findings, err := Parse(data)
		if err != nil || len(findings) > 0 {
			return
		}
		written, err := Marshal(set)
		if errors.Is(err, ErrSize) { // it has grown over the bound
			return
		}
		again, _, err2 := Parse(written)
		if err != nil || err2 != nil || len(again) != len(set) {
			t.Fatalf("%s: %v %v", written, err, err2)
		}
		if data, err := Marshal(again); err != nil || string(data) != string(written) {
			t.Errorf("%s, want %s: %v", data, written, err)
		}
	})
}
