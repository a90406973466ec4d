package cert

import (
	_ "embed"
	"iter"
	"strings"
	"sync"
)

// ValueSet names one of the closed lists of codes that the EU Digital COVID
// Certificate uses. A code outside its list is a remark, never a failure: the
// lists grew every few months, issuers ran ahead of them, and a signature is
// not made wrong by a product that our copy has not heard of.
type ValueSet string

// The value sets of the EU eHealth Network, with the field of the certificate
// that each governs.
const (
	ValueSetDisease      ValueSet = "disease-agent-targeted"    // tg
	ValueSetProphylaxis  ValueSet = "vaccine-prophylaxis"       // v.vp
	ValueSetProduct      ValueSet = "vaccine-medicinal-product" // v.mp
	ValueSetManufacturer ValueSet = "vaccine-mah-manf"          // v.ma
	ValueSetTestType     ValueSet = "test-type"                 // t.tt
	ValueSetTestDevice   ValueSet = "test-manf"                 // t.ma
	ValueSetTestResult   ValueSet = "test-result"               // t.tr
	ValueSetCountry      ValueSet = "country-2-codes"           // co
)

// valuesets.tsv holds one code a line, sorted: set, code, display, and the
// word "withdrawn" where the network no longer wants the code issued.
//
// The facts are those of the EU eHealth Network's value sets, with the dates
// that the sets carry: prophylaxis 2023-01-25, products 2022-11-30, holders
// 2022-01-26, disease, test types and results 2021-04-27. The test devices are
// the 88 published as an example on 2021-07-01; the living list of the Joint
// Research Centre grew longer, so an unlisted device is the ordinary case.
//
//go:embed valuesets.tsv
var valueSetsText string

// concept is one row of a value set.
type concept struct {
	display   string
	withdrawn bool
}

// valueSetTables holds every set but the countries, which country.go keeps.
type valueSetTables struct {
	codes    map[ValueSet][]string // sorted
	concepts map[ValueSet]map[string]concept
}

var valueSets = sync.OnceValue(func() valueSetTables {
	t := valueSetTables{
		codes:    make(map[ValueSet][]string),
		concepts: make(map[ValueSet]map[string]concept),
	}
	for line := range strings.Lines(valueSetsText) {
		field := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		set, code := ValueSet(field[0]), field[1]
		if t.concepts[set] == nil {
			t.concepts[set] = make(map[string]concept)
		}
		t.codes[set] = append(t.codes[set], code)
		t.concepts[set][code] = concept{
			display:   field[2],
			withdrawn: len(field) > 3,
		}
	}
	return t
})

// Display returns the English words for a code of a set. Codes that the
// network has withdrawn are still known: certificates that carry them exist.
// The code must be given exactly; spaces that some issuers put around it are
// the caller's to trim.
func Display(set ValueSet, code string) (display string, known bool) {
	if set == ValueSetCountry {
		name, ok := countries().name[code]
		return name, ok
	}
	c, ok := valueSets().concepts[set][code]
	return c.display, ok
}

// Withdrawn reports whether code is one that the network has taken out of use.
// It is false for unknown codes.
func Withdrawn(set ValueSet, code string) bool {
	return valueSets().concepts[set][code].withdrawn
}

// Codes yields the codes of a set, sorted; none for an unknown set.
func Codes(set ValueSet) iter.Seq[string] {
	if set == ValueSetCountry {
		return Countries()
	}
	return func(yield func(string) bool) {
		for _, code := range valueSets().codes[set] {
			if !yield(code) {
				return
			}
		}
	}
}

// The code systems behind the value sets, as FHIR writes them where FHIR has
// a name for them. The "temp" systems are the EU's own, for products and
// companies that no register of the Union lists.
const (
	systemSNOMED      = "http://snomed.info/sct"
	systemLOINC       = "http://loinc.org"
	systemATC         = "http://www.whocc.no/atc"
	systemISO3166     = "urn:iso:std:iso:3166"
	systemSPOR        = "https://spor.ema.europa.eu/v1/organisations"
	systemEURegister  = "https://ec.europa.eu/health/documents/community-register/html/"
	systemTestDevices = "https://covid-19-diagnostics.jrc.ec.europa.eu/devices"
	systemTempProduct = "http://ec.europa.eu/temp/vaccineproductname"
	systemTempHolder  = "http://ec.europa.eu/temp/vaccinemanufacturer"
	systemTempCountry = "http://ec.europa.eu/temp/countrycodes"
	prefixSPOR        = "ORG-"
	prefixEURegister  = "EU/1/"
	codeATCCOVID19    = "J07BX03"
	codeKosovo        = "XK"
)

// System returns the code system from which most codes of a set come: "" for
// an unknown set. Three sets mix several; [SystemOf] tells a code's own.
func System(set ValueSet) string {
	switch set {
	case ValueSetDisease, ValueSetProphylaxis, ValueSetTestResult:
		return systemSNOMED
	case ValueSetTestType:
		return systemLOINC
	case ValueSetManufacturer:
		return systemSPOR
	case ValueSetProduct:
		return systemEURegister
	case ValueSetTestDevice:
		return systemTestDevices
	case ValueSetCountry:
		return systemISO3166
	}
	return ""
}

// SystemOf returns the code system of one known code of a set, and "" for a
// code that the set does not hold: to guess there would make a certificate
// say, once converted, what its issuer did not.
func SystemOf(set ValueSet, code string) string {
	if _, known := Display(set, code); !known {
		return ""
	}
	switch {
	case set == ValueSetManufacturer && !strings.HasPrefix(code, prefixSPOR):
		return systemTempHolder
	case set == ValueSetProduct && !strings.HasPrefix(code, prefixEURegister):
		return systemTempProduct
	case set == ValueSetProphylaxis && code == codeATCCOVID19:
		return systemATC
	case set == ValueSetCountry && code == codeKosovo:
		return systemTempCountry
	}
	return System(set)
}
