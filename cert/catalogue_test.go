package cert_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"ampoule/cert"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

// hash stands for the hash that ends a product id of WHO's 2025 list.
const hash = "0123456789abcdef0123456789abcdef"

const ownCatalogue = `{
	"catalogue": "Ministry of Health", "version": "2026-11",
	"products": [
		{"id": "YF-1", "display": "Yellow fever vaccine, 10 doses", "disease": "yellow-fever", "manufacturer": "Maker", "doses": 10},
		{"id": "P-1", "disease": "1C81"}
	]}`

const codeList = `{
	"source": "a list", "licence": "none",
	"codes": [
		{"id": "P-1", "display": "Polio vaccine", "disease": "polio"},
		{"id": "YellowFeverProduct` + hash + `", "display": "yellow"},
		{"id": "X-1", "display": "of no disease"}
	]}`

const composedValueSet = `{
	"resourceType": "ValueSet", "url": "http://example.org/vs", "version": "1",
	"compose": {
		"include": [
			{"system": "http://example.org/cs", "concept": [
				{"code": "PolioVaccineOralOPVBivalProduct` + hash + `", "display": "oral"},
				{"code": "DiphtheriaTetanusPertussProduct` + hash + `", "display": "Diphtheria-Tetanus-Polio (Inactivated)"}
			]},
			{"system": "http://example.org/cs2", "concept": [{"code": "GONE"}]}
		],
		"exclude": [{"concept": [{"code": "GONE"}]}]
	}}`

const expandedValueSet = `{
	"resourceType": "ValueSet", "url": "http://example.org/vs",
	"compose": {"include": [{"system": "http://example.org/cs"}]},
	"expansion": {"total": 3, "contains": [
		{"abstract": true, "display": "vaccines", "contains": [
			{"code": "YellowFeverProduct` + hash + `", "display": "yellow"},
			{"code": "a3K3X000005atRtUAI", "display": "FVP-P-447", "inactive": true}
		]}
	]}}`

const codeSystem = `{
	"resourceType": "CodeSystem", "name": "Products", "version": "0.2", "content": "complete",
	"concept": [
		{"code": "A", "display": "a", "property": [
			{"code": "vaccineType", "valueCode": "PolioVaccineNovelOralnOPVType2"},
			{"code": "manufacturer", "valueString": "Maker"}
		]},
		{"code": "B", "property": [
			{"code": "disease", "valueCoding": {"system": "http://snomed.info/sct", "code": "16541001"}},
			{"code": "status", "valueCode": "retired"}
		], "concept": [{"code": "C", "property": [{"code": "inactive", "valueBoolean": true}]}]}
	]}`

func TestReadCatalogue(t *testing.T) {
	for _, tt := range []struct {
		name, data      string
		source, version string
		want            []cert.Product
	}{
		{"own", ownCatalogue, "Ministry of Health", "2026-11", []cert.Product{
			{ID: "P-1", Disease: "polio", Lists: []string{"Ministry of Health"}},
			{ID: "YF-1", Display: "Yellow fever vaccine, 10 doses", Disease: "yellow-fever", Manufacturer: "Maker", Doses: 10, Lists: []string{"Ministry of Health"}},
		}},
		{"code list", codeList, "a list", "", []cert.Product{
			{ID: "P-1", Display: "Polio vaccine", Disease: "polio", Lists: []string{"a list"}},
			{ID: "X-1", Display: "of no disease", Lists: []string{"a list"}},
			{ID: "YellowFeverProduct" + hash, Display: "yellow", Disease: "yellow-fever", Lists: []string{"a list"}},
		}},
		{"value set, composed", composedValueSet, "http://example.org/vs", "1", []cert.Product{
			{ID: "DiphtheriaTetanusPertussProduct" + hash, Display: "Diphtheria-Tetanus-Polio (Inactivated)", Disease: "polio", Lists: []string{"http://example.org/vs|1"}},
			{ID: "PolioVaccineOralOPVBivalProduct" + hash, Display: "oral", Disease: "polio", Lists: []string{"http://example.org/vs|1"}},
		}},
		{"value set, expanded", expandedValueSet, "http://example.org/vs", "", []cert.Product{
			{ID: "YellowFeverProduct" + hash, Display: "yellow", Disease: "yellow-fever", Lists: []string{"http://example.org/vs"}},
			{ID: "a3K3X000005atRtUAI", Display: "FVP-P-447", Inactive: true, Lists: []string{"http://example.org/vs"}},
		}},
		{"code system", codeSystem, "Products", "0.2", []cert.Product{
			{ID: "A", Display: "a", Disease: "polio", Manufacturer: "Maker", Lists: []string{"Products|0.2"}},
			{ID: "B", Disease: "yellow-fever", Inactive: true, Lists: []string{"Products|0.2"}},
			{ID: "C", Inactive: true, Lists: []string{"Products|0.2"}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := cert.ReadCatalogue([]byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, slices.Collect(c.Products())); diff != "" {
				t.Errorf("products (-want +got):\n%s", diff)
			}
			if c.Source() != tt.source || c.Version() != tt.version || c.Demonstration() {
				t.Errorf("source %q, version %q, demonstration %v", c.Source(), c.Version(), c.Demonstration())
			}
			if c.Len() != len(tt.want) {
				t.Errorf("Len = %d, want %d", c.Len(), len(tt.want))
			}
			for _, want := range tt.want {
				if got, ok := c.Product(want.ID); !ok || !cmp.Equal(got, want) {
					t.Errorf("Product(%q) = %+v, %v", want.ID, got, ok)
				}
			}
			for _, id := range []string{"", "GONE", strings.ToLower(tt.want[0].ID), tt.want[0].ID + " "} {
				if got, ok := c.Product(id); ok {
					t.Errorf("Product(%q) = %+v, want unknown", id, got)
				}
			}
		})
	}
}

func TestReadCatalogueRefuses(t *testing.T) {
	own := func(products string) string { return `{"catalogue": "c", "products": [` + products + `]}` }
	concepts := func(more string) string {
		return `{"resourceType": "CodeSystem", "content": "complete", "concept": [{"code": "A"` + more + `}]}`
	}
	for _, tt := range []struct {
		name, data string
		want       error
	}{
		{"nothing", ``, strictjson.ErrMalformed},
		{"cut", ownCatalogue[:len(ownCatalogue)-2], strictjson.ErrMalformed},
		{"not JSON", `{"catalogue": 'c'}`, strictjson.ErrMalformed},
		{"second value", ownCatalogue + `{}`, strictjson.ErrMalformed},
		{"trailing comma", own(`{"id": "A", "disease": "polio",}`), strictjson.ErrMalformed},
		{"not UTF-8", own("{\"id\": \"A\", \"display\": \"\xff\", \"disease\": \"polio\"}"), strictjson.ErrInvalidUTF8},
		{"deep", strings.Repeat(`{"codes":[`, 5000) + strings.Repeat(`]}`, 5000), strictjson.ErrTooDeep},
		{"name twice", own(`{"id": "A", "disease": "polio", "id": "B"}`), strictjson.ErrDuplicateName},
		{"name twice, one escaped", own(`{"id": "A", "disease": "polio", "\u0069d": "B"}`), strictjson.ErrDuplicateName},
		{"array", `[]`, cert.ErrCatalogueShape},
		{"other object", `{"products": []}`, cert.ErrCatalogueShape},
		{"other resource", `{"resourceType": "Patient"}`, cert.ErrCatalogueShape},
		{"own: no name", `{"catalogue": "", "products": []}`, cert.ErrCatalogueShape},
		{"own: member unknown", own(`{"id": "A", "disease": "polio", "dose": 1}`), cert.ErrCatalogueShape},
		{"own: member in other case", own(`{"ID": "A", "disease": "polio"}`), cert.ErrCatalogueShape},
		{"own: root member unknown", `{"catalogue": "c", "demo": true, "products": []}`, cert.ErrCatalogueShape},
		{"own: products no array", `{"catalogue": "c", "products": {}}`, cert.ErrCatalogueShape},
		{"own: doses a text", own(`{"id": "A", "disease": "polio", "doses": "1"}`), cert.ErrCatalogueShape},
		{"own: doses negative", own(`{"id": "A", "disease": "polio", "doses": -1}`), cert.ErrCatalogueShape},
		{"own: doses a fraction", own(`{"id": "A", "disease": "polio", "doses": 1.5}`), cert.ErrCatalogueShape},
		{"own: demonstration a text", `{"catalogue": "c", "demonstration": "no", "products": []}`, cert.ErrCatalogueShape},
		{"own: empty", own(``), cert.ErrCatalogueEmpty},
		{"own: no id", own(`{"disease": "polio"}`), cert.ErrCatalogueProduct},
		{"own: id with a space", own(`{"id": "A B", "disease": "polio"}`), cert.ErrCatalogueProduct},
		{"own: id not ASCII", own(`{"id": "А", "disease": "polio"}`), cert.ErrCatalogueProduct},
		{"own: id long", own(`{"id": "` + strings.Repeat("A", 129) + `", "disease": "polio"}`), cert.ErrCatalogueProduct},
		{"own: no disease", own(`{"id": "A"}`), cert.ErrCatalogueProduct},
		{"own: disease unknown", own(`{"id": "A", "disease": "flu"}`), cert.ErrCatalogueProduct},
		{"own: id twice", own(`{"id": "A", "disease": "polio"}, {"id": "A", "disease": "polio"}`), cert.ErrCatalogueConflict},
		{"codes: two diseases", `{"codes": [{"id": "A", "disease": "polio"}, {"id": "A", "disease": "yellow-fever"}]}`, cert.ErrCatalogueConflict},
		{"codes: none", `{"codes": []}`, cert.ErrCatalogueEmpty},
		{"value set: none", `{"resourceType": "ValueSet"}`, cert.ErrCatalogueEmpty},
		{"value set: by system", `{"resourceType": "ValueSet", "compose": {"include": [{"system": "s"}]}}`, cert.ErrCatalogueIncomplete},
		{"value set: by filter", `{"resourceType": "ValueSet", "compose": {"include": [{"system": "s", "filter": [{}], "concept": [{"code": "A"}]}]}}`, cert.ErrCatalogueIncomplete},
		{"value set: exclude by set", `{"resourceType": "ValueSet", "compose": {"include": [{"concept": [{"code": "A"}]}], "exclude": [{"valueSet": ["u"]}]}}`, cert.ErrCatalogueIncomplete},
		{"value set: a page", `{"resourceType": "ValueSet", "expansion": {"total": 2, "contains": [{"code": "A"}]}}`, cert.ErrCatalogueIncomplete},
		{"code system: fragment", `{"resourceType": "CodeSystem", "content": "fragment", "concept": [{"code": "A"}]}`, cert.ErrCatalogueIncomplete},
		{"code system: property no object", concepts(`, "property": ["x"]`), cert.ErrCatalogueShape},
		{"code system: property no text", concepts(`, "property": [{"code": "disease", "valueCode": 1}]`), cert.ErrCatalogueShape},
		{"code system: inactive no bool", concepts(`, "property": [{"code": "inactive", "valueBoolean": "yes"}]`), cert.ErrCatalogueShape},
		{"too large", `"` + strings.Repeat(" ", cert.MaxCatalogueSize) + `"`, cert.ErrCatalogueTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := cert.ReadCatalogue([]byte(tt.data))
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if c != nil {
				t.Error("a catalogue beside the error")
			}
		})
	}
}

func TestCatalogueMerge(t *testing.T) {
	read := func(data string) *cert.Catalogue {
		t.Helper()
		c, err := cert.ReadCatalogue([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	own, list := read(ownCatalogue), read(codeList)
	merged, err := own.Merge(list)
	if err != nil {
		t.Fatal(err)
	}
	if merged.Len() != 4 || own.Len() != 2 || list.Len() != 3 {
		t.Errorf("lengths: merged %d, of %d and %d", merged.Len(), own.Len(), list.Len())
	}
	got, _ := merged.Product("P-1")
	want := cert.Product{ID: "P-1", Display: "Polio vaccine", Disease: "polio", Lists: []string{"Ministry of Health", "a list"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a product of both (-want +got):\n%s", diff)
	}
	if before, _ := own.Product("P-1"); before.Display != "" || len(before.Lists) != 1 {
		t.Errorf("merging changed its receiver: %+v", before)
	}
	if got, want := merged.Source(), "Ministry of Health; a list"; got != want {
		t.Errorf("Source = %q, want %q", got, want)
	}
	if got, want := merged.Version(), "2026-11; "; got != want {
		t.Errorf("Version = %q, want %q", got, want)
	}

	retired := read(`{"codes": [{"id": "P-1", "inactive": true}, {"id": "OLD", "inactive": true}]}`)
	both, err := own.Merge(retired)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"P-1": false, "OLD": true} {
		if p, ok := both.Product(id); !ok || p.Inactive != want {
			t.Errorf("%s: inactive %v, want %v: one list that wants it is enough", id, p.Inactive, want)
		}
	}

	other := read(`{"codes": [{"id": "YF-1", "disease": "polio"}]}`)
	if _, err := own.Merge(other); !errors.Is(err, cert.ErrCatalogueConflict) {
		t.Errorf("two diseases for one product: %v", err)
	}
	usurper := read(`{"codes": [{"id": "DEMO-YF-0001", "disease": "yellow-fever"}]}`)
	if _, err := usurper.Merge(cert.DemoCatalogue()); !errors.Is(err, cert.ErrCatalogueConflict) {
		t.Errorf("a real product under a fictitious id: %v", err)
	}
	mixed, err := own.Merge(cert.DemoCatalogue())
	if err != nil {
		t.Fatal(err)
	}
	if !mixed.Demonstration() {
		t.Error("a catalogue with fictitious products does not say so")
	}
	for p := range mixed.Products() {
		if fictitious := strings.HasPrefix(p.ID, "DEMO-"); p.Demonstration != fictitious {
			t.Errorf("%s: Demonstration = %v", p.ID, p.Demonstration)
		}
	}
}

func TestDemoCatalogue(t *testing.T) {
	c := cert.DemoCatalogue()
	if !c.Demonstration() || !strings.Contains(strings.ToLower(c.Source()), "demonstration") {
		t.Errorf("not marked: %q, %v", c.Source(), c.Demonstration())
	}
	count := make(map[string]int)
	for p := range c.Products() {
		count[p.Disease]++
		if !strings.HasPrefix(p.ID, "DEMO-") || !strings.HasSuffix(p.Display, "(fictitious)") ||
			!strings.HasSuffix(p.Manufacturer, "(fictitious)") || !p.Demonstration {
			t.Errorf("not plainly fictitious: %+v", p)
		}
	}
	if count[cert.DiseaseYellowFever] < 2 || count[cert.DiseasePolio] < 2 {
		t.Errorf("products by disease: %v", count)
	}
	// What is handed out belongs to the caller.
	p, _ := c.Product("DEMO-YF-0001")
	p.Lists[0] = "changed"
	if again, _ := c.Product("DEMO-YF-0001"); again.Lists[0] == "changed" {
		t.Error("a caller changed the catalogue")
	}
}

// TestCatalogueOfWHO reads WHO's list of ICVP products, and checks that the
// diseases that ReadCatalogue derives from ids alone are those stated.
func TestCatalogueOfWHO(t *testing.T) {
	data, err := os.ReadFile(publishedVectors(t, "valuesets", "icvp", "ICVPProductIds.json"))
	if err != nil {
		t.Fatal(err)
	}
	stated, err := cert.ReadCatalogue(data)
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for p := range stated.Products() {
		count[p.Disease]++
	}
	if diff := cmp.Diff(map[string]int{"yellow-fever": 11, "polio": 49}, count); diff != "" {
		t.Errorf("products by disease (-want +got):\n%s", diff)
	}

	// The same list as WHO ships it: a value set without diseases.
	type code struct {
		Code    string `json:"code"`
		Display string `json:"display"`
	}
	var codes []code
	for p := range stated.Products() {
		codes = append(codes, code{p.ID, p.Display})
	}
	valueSet, err := json.Marshal(map[string]any{
		"resourceType": "ValueSet",
		"compose":      map[string]any{"include": []any{map[string]any{"concept": codes}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	derived, err := cert.ReadCatalogue(valueSet)
	if err != nil {
		t.Fatal(err)
	}
	for want := range stated.Products() {
		if got, _ := derived.Product(want.ID); got.Disease != want.Disease {
			t.Errorf("%s: derived %q, stated %q", want.ID, got.Disease, want.Disease)
		}
	}
}

func FuzzReadCatalogue(f *testing.F) {
	for _, seed := range []string{ownCatalogue, codeList, composedValueSet, expandedValueSet, codeSystem, `{`, `[[]]`, `{"a":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := cert.ReadCatalogue(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatal("read what is not JSON")
		}
		if c.Len() == 0 {
			t.Fatal("an empty catalogue")
		}
		for p := range c.Products() {
			if _, known := cert.FindDisease(p.Disease); p.ID == "" || p.Disease != "" && !known {
				t.Fatalf("product %+v", p)
			}
		}
	})
}

func TestFindDisease(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range cert.Diseases() {
		for _, key := range []string{d.Word, d.ICD11, d.SNOMED} {
			if got, ok := cert.FindDisease(key); !ok || got != d {
				t.Errorf("FindDisease(%q) = %+v, %v; want %+v", key, got, ok, d)
			}
			if key == "" || seen[key] {
				t.Errorf("%q is empty or stands twice", key)
			}
			seen[key] = true
		}
		if d.DisplayEN == "" || d.DisplayFR == "" {
			t.Errorf("%s: a display is missing", d.Word)
		}
	}
	if yf, _ := cert.FindDisease("1D47"); yf.Word != cert.DiseaseYellowFever || yf.SNOMED != "16541001" {
		t.Errorf("1D47 is %+v", yf)
	}
	if polio, _ := cert.FindDisease("398102009"); polio.Word != cert.DiseasePolio || polio.ICD11 != "1C81" {
		t.Errorf("398102009 is %+v", polio)
	}
	for _, key := range []string{"", "flu", "1d47", "Yellow fever"} {
		if got, ok := cert.FindDisease(key); ok {
			t.Errorf("FindDisease(%q) = %+v, want unknown", key, got)
		}
	}
}

func TestIsLifetime(t *testing.T) {
	for text, want := range map[string]bool{
		"life of person vaccinated":          true,
		"vie entière du sujet vacciné":       true,
		"":                                   false,
		"life":                               false,
		"Life of person vaccinated":          false,
		"life of person vaccinated ":         false,
		"vie entiere du sujet vaccine":       false,
		"2027-01-01":                         false,
		"vie entie\u0300re du sujet vacciné": true,
	} {
		if got := cert.IsLifetime(text); got != want {
			t.Errorf("IsLifetime(%q) = %v, want %v", text, got, want)
		}
	}
}
