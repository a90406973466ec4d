package cert

import (
	_ "embed"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Product is one entry of a product catalogue: what the product id of a Digital
// ICVP (vx.vp) stands for. The certificate itself must not carry the disease or
// the manufacturer (REQ-DE-11, 12 and 16); they are derived here.
type Product struct {
	ID            string
	Display       string
	Disease       string   // one of our words, see [Diseases]; "" where the list does not say
	Manufacturer  string   // "" where the list does not say
	Doses         int      // doses in one container; 0 where the list does not say
	Lists         []string // the lists that name it, sorted
	Inactive      bool     // the list keeps the id but no longer wants it used
	Demonstration bool     // fictitious, from a demonstration catalogue
}

// A Catalogue says which products exist. Ampoule ships none of WHO's: its
// licence does not let us, and it changes. Operators load what WHO publishes.
//
// WHO has published two lists of product ids so far that share no id (hashes
// such as YellowFeverProduct… in 2025-10, record keys such as a3K3X… in
// 2026-04), and certificates carry either: load both and [Catalogue.Merge].
//
// A Catalogue does not change once made; it may be used concurrently.
type Catalogue struct {
	products      map[string]Product
	sources       []string
	versions      []string
	demonstration bool
}

// MaxCatalogueSize is the most bytes that a catalogue file may have. All of
// WHO's prequalified vaccines, with their properties, are under 1 MiB.
const MaxCatalogueSize = 8 << 20

// maxProductID is the longest product id taken, in bytes. Those of WHO have up
// to 63; a certificate must stay a readable QR code.
const maxProductID = 128

// Defects that a catalogue can have, besides those of package strictjson.
const (
	ErrCatalogueTooLarge = format.Defect("catalogue-too-large")
	// ErrCatalogueShape: JSON, but none of the forms that ReadCatalogue knows.
	ErrCatalogueShape = format.Defect("catalogue-unknown-form")
	// ErrCatalogueIncomplete: a value set that names its products only by rule,
	// or a page of one. A product that is missing would be judged "not
	// approved", so a part of a list is worse than none.
	ErrCatalogueIncomplete = format.Defect("catalogue-incomplete")
	ErrCatalogueEmpty      = format.Defect("catalogue-empty")
	ErrCatalogueProduct    = format.Defect("catalogue-bad-product")
	// ErrCatalogueConflict: one id, two meanings.
	ErrCatalogueConflict = format.Defect("catalogue-conflict")
)

// ReadCatalogue reads a catalogue in one of four forms:
//
//   - ours: {"catalogue": name, "version": text, "demonstration": bool,
//     "products": [{"id", "display", "disease", "manufacturer", "doses"}]},
//     where only the name, the products and their ids and diseases are required
//     and other members are refused;
//   - a plain code list: {"source": text, "codes": [{"id", "display", "disease"}]};
//   - a FHIR R4 ValueSet: its expansion if it has one, else the concepts listed
//     in compose;
//   - a FHIR R4 CodeSystem: its concepts, nested ones included.
//
// Where a list of the last three forms does not state a disease, it is taken
// from a property of the concept or from the product id, as WHO builds it; see
// diseaseOf. Products whose disease stays unknown are kept, so that the verdict
// can tell a known product from an unlisted one.
func ReadCatalogue(data []byte) (*Catalogue, error) {
	if len(data) > MaxCatalogueSize {
		return nil, fmt.Errorf("catalogue: %d bytes: %w", len(data), ErrCatalogueTooLarge)
	}
	// Which of two equal names counts differs between programs, so a file that has
	// them says different things to different readers.
	value, err := strictjson.Decode(data, strictjson.Limits{Bytes: MaxCatalogueSize})
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("catalogue: not an object: %w", ErrCatalogueShape)
	}
	root := object(members)

	c := &Catalogue{products: make(map[string]Product)}
	switch {
	case root["catalogue"] != nil:
		err = c.readOwn(root)
	case root["resourceType"] == "ValueSet":
		err = c.readValueSet(root)
	case root["resourceType"] == "CodeSystem":
		err = c.readCodeSystem(root)
	case root["codes"] != nil:
		err = c.readCodeList(root)
	default:
		err = ErrCatalogueShape
	}
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	if len(c.products) == 0 {
		return nil, fmt.Errorf("catalogue: %w", ErrCatalogueEmpty)
	}
	return c, nil
}

// readOwn reads our own form. It is strict because it is ours: a misspelt
// member would otherwise be a fact silently lost.
func (c *Catalogue) readOwn(root object) error {
	if err := onlyMembers(root, "catalogue", "version", "demonstration", "products"); err != nil {
		return err
	}
	source, err := root.text("catalogue")
	if err != nil {
		return err
	}
	if source == "" {
		return fmt.Errorf("catalogue: no name: %w", ErrCatalogueShape)
	}
	version, err := root.text("version")
	if err != nil {
		return err
	}
	if c.demonstration, err = root.boolean("demonstration"); err != nil {
		return err
	}
	c.describe(source, version)
	products, err := root.objects("products")
	if err != nil {
		return err
	}
	for i, o := range products {
		place := fmt.Sprintf("products[%d]", i)
		if err := onlyMembers(o, "id", "display", "disease", "manufacturer", "doses"); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		p, err := productOf(o, "id")
		if err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		if p.Disease == "" {
			return fmt.Errorf("%s: disease missing: %w", place, ErrCatalogueProduct)
		}
		if _, twice := c.products[p.ID]; twice {
			return fmt.Errorf("%s: %s a second time: %w", place, p.ID, ErrCatalogueConflict)
		}
		p.Demonstration = c.demonstration
		p.Lists = []string{source}
		if err := c.add(p); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
	}
	return nil
}

// readCodeList reads the plain code list.
func (c *Catalogue) readCodeList(root object) error {
	source, err := root.text("source")
	if err != nil {
		return err
	}
	version, err := root.text("version")
	if err != nil {
		return err
	}
	c.describe(source, version)
	codes, err := root.objects("codes")
	if err != nil {
		return err
	}
	for i, o := range codes {
		if err := c.addConcept(o, "id", source); err != nil {
			return fmt.Errorf("codes[%d]: %w", i, err)
		}
	}
	return nil
}

// readValueSet reads a FHIR R4 ValueSet. Only what lists every product by name
// is taken: a filter, a whole code system or another value set cannot be
// resolved from the file alone, and an expansion can come in pages.
func (c *Catalogue) readValueSet(root object) error {
	list, err := c.describeFHIR(root)
	if err != nil {
		return err
	}
	expansion, err := root.member("expansion")
	if err != nil {
		return err
	}
	if expansion != nil {
		total, err := expansion.count("total", 1<<31-1)
		if err != nil {
			return fmt.Errorf("expansion: %w", err)
		}
		n, err := c.addTree(expansion, "contains", list)
		if err != nil {
			return fmt.Errorf("expansion: %w", err)
		}
		if n < total {
			return fmt.Errorf("expansion: %d of %d: %w", n, total, ErrCatalogueIncomplete)
		}
		return nil
	}

	compose, err := root.member("compose")
	if err != nil {
		return err
	}
	includes, err := compose.objects("include")
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	for i, include := range includes {
		place := fmt.Sprintf("compose.include[%d]", i)
		if include["filter"] != nil || include["valueSet"] != nil || include["concept"] == nil {
			return fmt.Errorf("%s: names no products itself: %w", place, ErrCatalogueIncomplete)
		}
		if _, err := c.addTree(include, "concept", list); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
	}
	excludes, err := compose.objects("exclude")
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	for i, exclude := range excludes {
		place := fmt.Sprintf("compose.exclude[%d]", i)
		if exclude["filter"] != nil || exclude["valueSet"] != nil || exclude["concept"] == nil {
			return fmt.Errorf("%s: names no products itself: %w", place, ErrCatalogueIncomplete)
		}
		concepts, err := exclude.objects("concept")
		if err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		for _, o := range concepts {
			code, err := o.text("code")
			if err != nil {
				return fmt.Errorf("%s: %w", place, err)
			}
			delete(c.products, code)
		}
	}
	return nil
}

// readCodeSystem reads a FHIR R4 CodeSystem.
func (c *Catalogue) readCodeSystem(root object) error {
	list, err := c.describeFHIR(root)
	if err != nil {
		return err
	}
	content, err := root.text("content")
	if err != nil {
		return err
	}
	// FHIR's other contents: not-present, example, fragment, supplement.
	if content != "complete" {
		return fmt.Errorf("content %q: %w", content, ErrCatalogueIncomplete)
	}
	_, err = c.addTree(root, "concept", list)
	return err
}

// describeFHIR records a resource's canonical address, and returns it with the
// version, as FHIR writes the two together.
func (c *Catalogue) describeFHIR(root object) (list string, err error) {
	url, err := root.text("url")
	if err != nil {
		return "", err
	}
	if url == "" {
		if url, err = root.text("name"); err != nil {
			return "", err
		}
	}
	version, err := root.text("version")
	if err != nil {
		return "", err
	}
	c.describe(url, version)
	if version != "" {
		return url + "|" + version, nil
	}
	return url, nil
}

func (c *Catalogue) describe(source, version string) {
	c.sources = []string{source}
	c.versions = []string{version}
}

// addTree adds the concepts in parent's array of that name and, since FHIR
// nests narrower concepts, those in the arrays of the same name below. It
// returns how many concepts there were.
func (c *Catalogue) addTree(parent object, name, list string) (int, error) {
	concepts, err := parent.objects(name)
	if err != nil {
		return 0, err
	}
	n := len(concepts)
	for i, o := range concepts {
		place := fmt.Sprintf("%s[%d]", name, i)
		abstract, err := o.boolean("abstract")
		if err != nil {
			return 0, fmt.Errorf("%s: %w", place, err)
		}
		// FHIR: an abstract entry groups others and is never used as a code.
		if !abstract {
			if err := c.addConcept(o, "code", list); err != nil {
				return 0, fmt.Errorf("%s: %w", place, err)
			}
		}
		below, err := c.addTree(o, name, list)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", place, err)
		}
		n += below
	}
	return n, nil
}

// addConcept adds one product of a list that is not ours.
func (c *Catalogue) addConcept(o object, idName, list string) error {
	p, err := productOf(o, idName)
	if err != nil {
		return err
	}
	if p.Inactive, err = o.boolean("inactive"); err != nil {
		return err
	}
	properties, err := o.objects("property")
	if err != nil {
		return err
	}
	for i, property := range properties {
		if err := applyProperty(&p, property); err != nil {
			return fmt.Errorf("property[%d]: %w", i, err)
		}
	}
	if p.Disease == "" {
		p.Disease = diseaseOf(p.ID, p.Display)
	}
	p.Lists = []string{list}
	return c.add(p)
}

// productOf reads the members that a product has in every form.
func productOf(o object, idName string) (Product, error) {
	var p Product
	for _, field := range []struct {
		name string
		into *string
	}{
		{idName, &p.ID}, {"display", &p.Display}, {"disease", &p.Disease}, {"manufacturer", &p.Manufacturer},
	} {
		value, err := o.text(field.name)
		if err != nil {
			return Product{}, err
		}
		*field.into = value
	}
	if !goodProductID(p.ID) {
		return Product{}, fmt.Errorf("%s %.32q: %w", idName, p.ID, ErrCatalogueProduct)
	}
	if _, known := FindDisease(p.Disease); p.Disease != "" && !known {
		return Product{}, fmt.Errorf("%s: disease %.32q: %w", p.ID, p.Disease, ErrCatalogueProduct)
	}
	if d, ok := FindDisease(p.Disease); ok {
		p.Disease = d.Word
	}
	doses, err := o.count("doses", 1000)
	if err != nil {
		return Product{}, err
	}
	p.Doses = doses
	return p, nil
}

// goodProductID reports whether id is 1 to [maxProductID] visible ASCII
// characters: what a person can compare, and no look-alikes.
func goodProductID(id string) bool {
	outside := func(r rune) bool { return r <= ' ' || r > '~' }
	return id != "" && len(id) <= maxProductID && !strings.ContainsFunc(id, outside)
}

// applyProperty takes from one property of a FHIR concept what we can use.
func applyProperty(p *Product, property object) error {
	code, err := property.text("code")
	if err != nil {
		return err
	}
	switch strings.ToLower(code) {
	case "inactive":
		p.Inactive, err = property.boolean("valueBoolean")
		return err
	case "status":
		value, err := propertyText(property)
		// FHIR's own concept property: retired concepts are inactive.
		if value == "retired" || value == "inactive" {
			p.Inactive = true
		}
		return err
	case "manufacturer":
		value, err := propertyText(property)
		if p.Manufacturer == "" {
			p.Manufacturer = value
		}
		return err
	case "disease", "targetdisease", "vaccinetype":
		value, err := propertyText(property)
		if p.Disease == "" {
			if d, ok := FindDisease(value); ok {
				p.Disease = d.Word
			} else {
				p.Disease = diseaseOfType(value)
			}
		}
		return err
	}
	return nil
}

// propertyText returns the text or code that a property holds, in whichever of
// FHIR's types.
func propertyText(property object) (string, error) {
	for _, name := range []string{"valueCode", "valueString"} {
		if value, err := property.text(name); value != "" || err != nil {
			return value, err
		}
	}
	coding, err := property.member("valueCoding")
	if err != nil {
		return "", err
	}
	return coding.text("code")
}

// diseaseOf derives the disease from a product id of WHO's 2025 list: the type
// of the vaccine cut to 24 letters, "Product", and a hash of 32 hexadecimal
// digits. It returns "" for every other id.
//
// The cut makes vaccines against diphtheria, tetanus and pertussis look alike
// whether or not they hold polio; there the display, which begins with the full
// type, decides.
func diseaseOf(id, display string) string {
	const hash = 32
	if len(id) < hash || strings.Trim(id[len(id)-hash:], "0123456789abcdef") != "" {
		return ""
	}
	kind, ok := strings.CutSuffix(id[:len(id)-hash], "Product")
	if !ok {
		return ""
	}
	if strings.HasPrefix(kind, "DiphtheriaTetanusPertuss") {
		return diseaseOfType(display)
	}
	return diseaseOfType(kind)
}

// diseaseOfType returns the disease that a vaccine type of WHO names, such as
// YellowFever or PolioVaccineInactivatedIPV. Combinations count as polio
// vaccines if they hold one, because that is the only one of their diseases
// that an ICVP concerns.
func diseaseOfType(kind string) string {
	switch {
	case strings.HasPrefix(kind, "YellowFever"):
		return DiseaseYellowFever
	case strings.Contains(kind, "Polio"):
		return DiseasePolio
	}
	return ""
}

// add adds p, or joins it with what c knows under the same id.
func (c *Catalogue) add(p Product) error {
	old, known := c.products[p.ID]
	if !known {
		c.products[p.ID] = p
		return nil
	}
	if old.Disease != "" && p.Disease != "" && old.Disease != p.Disease {
		return fmt.Errorf("%s: %s and %s: %w", p.ID, old.Disease, p.Disease, ErrCatalogueConflict)
	}
	if old.Demonstration != p.Demonstration {
		return fmt.Errorf("%s: real and fictitious: %w", p.ID, ErrCatalogueConflict)
	}
	if old.Display == "" {
		old.Display = p.Display
	}
	if old.Disease == "" {
		old.Disease = p.Disease
	}
	if old.Manufacturer == "" {
		old.Manufacturer = p.Manufacturer
	}
	if old.Doses == 0 {
		old.Doses = p.Doses
	}
	// One list that still wants the id is enough.
	old.Inactive = old.Inactive && p.Inactive
	lists := append(slices.Clone(old.Lists), p.Lists...)
	slices.Sort(lists)
	old.Lists = slices.Compact(lists)
	c.products[p.ID] = old
	return nil
}

// Merge returns the catalogue that holds what c and other hold. Where both
// have a product, what c says stands and other fills the gaps; if they differ
// about its disease, the error is [ErrCatalogueConflict].
func (c *Catalogue) Merge(other *Catalogue) (*Catalogue, error) {
	merged := &Catalogue{
		products:      maps.Clone(c.products),
		sources:       slices.Concat(c.sources, other.sources),
		versions:      slices.Concat(c.versions, other.versions),
		demonstration: c.demonstration || other.demonstration,
	}
	for p := range other.Products() {
		if err := merged.add(p); err != nil {
			return nil, fmt.Errorf("catalogue %s with %s: %w", c.Source(), other.Source(), err)
		}
	}
	return merged, nil
}

// Product returns the product with this id; ids are compared exactly. A nil
// Catalogue has none.
func (c *Catalogue) Product(id string) (Product, bool) {
	if c == nil {
		return Product{}, false
	}
	p, ok := c.products[id]
	p.Lists = slices.Clone(p.Lists)
	return p, ok
}

// Products yields all products in the order of their ids.
func (c *Catalogue) Products() iter.Seq[Product] {
	return func(yield func(Product) bool) {
		for _, id := range slices.Sorted(maps.Keys(c.products)) {
			if p, _ := c.Product(id); !yield(p) {
				return
			}
		}
	}
}

// Len returns the number of products.
func (c *Catalogue) Len() int {
	if c == nil {
		return 0
	}
	return len(c.products)
}

// Source says where the catalogue came from, in its own words; several merged
// ones are parted by "; ".
func (c *Catalogue) Source() string {
	if c == nil {
		return ""
	}
	return strings.Join(c.sources, "; ")
}

// Version returns the catalogue's version in its own words, in the order of
// [Catalogue.Source]; "" where a list has none.
func (c *Catalogue) Version() string { return strings.Join(c.versions, "; ") }

// Demonstration reports whether any of the products is fictitious. A verifier
// with such a catalogue must say so beside its verdicts.
func (c *Catalogue) Demonstration() bool { return c.demonstration }

// onlyMembers refuses members of ours that we do not know.
func onlyMembers(o object, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown member %.32q: %w", name, ErrCatalogueShape)
		}
	}
	return nil
}

//go:embed democatalogue.json
var demoCatalogueText []byte

var demoCatalogue = sync.OnceValue(func() *Catalogue {
	c, err := ReadCatalogue(demoCatalogueText)
	if err != nil {
		panic("cert: democatalogue.json: " + err.Error())
	}
	return c
})

// DemoCatalogue returns a small catalogue of fictitious products, made by us,
// so that a demonstration needs no list of WHO's. Its ids begin with DEMO-,
// its displays say that they are fictitious, and no real verifier knows them.
func DemoCatalogue() *Catalogue { return demoCatalogue() }

// DemoCatalogueJSON returns it in the form that [ReadCatalogue] reads.
func DemoCatalogueJSON() []byte { return slices.Clone(demoCatalogueText) }
