package cert_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ampoule/cert"

	"github.com/google/go-cmp/cmp"
)

// publishedVectors returns the path of one of the published test vectors, which
// are not part of the project: the folder that AMPOULE_VECTORS names, or one
// beside it. The test is skipped where they are absent.
func publishedVectors(t *testing.T, path ...string) string {
	t.Helper()
	root := os.Getenv("AMPOULE_VECTORS")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "vectors")
	}
	full := filepath.Join(append([]string{root}, path...)...)
	if _, err := os.Stat(full); err != nil {
		t.Skipf("published vectors are absent (set AMPOULE_VECTORS): %v", err)
	}
	return full
}

func TestDisplay(t *testing.T) {
	for _, tt := range []struct {
		set             cert.ValueSet
		code            string
		display, system string
		withdrawn       bool
	}{
		{cert.ValueSetDisease, "840539006", "COVID-19", "http://snomed.info/sct", false},
		{cert.ValueSetProphylaxis, "1119349007", "SARS-CoV-2 mRNA vaccine", "http://snomed.info/sct", false},
		{cert.ValueSetProphylaxis, "J07BX03", "covid-19 vaccines", "http://www.whocc.no/atc", true},
		{cert.ValueSetProduct, "EU/1/20/1528", "Comirnaty", "https://ec.europa.eu/health/documents/community-register/html/", false},
		{cert.ValueSetProduct, "Sputnik-V", "Sputnik-V", "http://ec.europa.eu/temp/vaccineproductname", false},
		{cert.ValueSetProduct, "NVX-CoV2373", "NVX-CoV2373", "http://ec.europa.eu/temp/vaccineproductname", true},
		{cert.ValueSetManufacturer, "ORG-100001699", "AstraZeneca AB", "https://spor.ema.europa.eu/v1/organisations", false},
		{cert.ValueSetManufacturer, "Sinovac-Biotech", "Sinovac Biotech", "http://ec.europa.eu/temp/vaccinemanufacturer", false},
		{cert.ValueSetTestType, "LP6464-4", "Nucleic acid amplification with probe detection", "http://loinc.org", false},
		{cert.ValueSetTestDevice, "1232", "Abbott Rapid Diagnostics, Panbio COVID-19 Ag Rapid Test", "https://covid-19-diagnostics.jrc.ec.europa.eu/devices", false},
		{cert.ValueSetTestResult, "260415000", "Not detected", "http://snomed.info/sct", false},
		{cert.ValueSetCountry, "MK", "North Macedonia", "urn:iso:std:iso:3166", false},
		{cert.ValueSetCountry, "XK", "Kosovo", "http://ec.europa.eu/temp/countrycodes", false},
	} {
		got, known := cert.Display(tt.set, tt.code)
		if got != tt.display || !known {
			t.Errorf("Display(%s, %q) = %q, %v; want %q", tt.set, tt.code, got, known, tt.display)
		}
		if got := cert.SystemOf(tt.set, tt.code); got != tt.system {
			t.Errorf("SystemOf(%s, %q) = %q, want %q", tt.set, tt.code, got, tt.system)
		}
		if got := cert.Withdrawn(tt.set, tt.code); got != tt.withdrawn {
			t.Errorf("Withdrawn(%s, %q) = %v, want %v", tt.set, tt.code, got, tt.withdrawn)
		}
	}
}

func TestDisplayUnknown(t *testing.T) {
	for _, tt := range []struct {
		set  cert.ValueSet
		code string
	}{
		{cert.ValueSetProduct, "EU/1/99/9999"},
		{cert.ValueSetProduct, "EU/1/20/1528 "}, // some issuers leave a space: theirs to trim
		{cert.ValueSetProduct, ""},
		{cert.ValueSetManufacturer, "EU/1/20/1528"}, // of another set
		{cert.ValueSetCountry, "DEU"},               // the field has two letters
		{"no-such-set", "840539006"},
	} {
		if got, known := cert.Display(tt.set, tt.code); known {
			t.Errorf("Display(%s, %q) = %q, want unknown", tt.set, tt.code, got)
		}
		if got := cert.SystemOf(tt.set, tt.code); got != "" {
			t.Errorf("SystemOf(%s, %q) = %q, want none", tt.set, tt.code, got)
		}
	}
	if got := cert.System("no-such-set"); got != "" {
		t.Errorf("System of an unknown set = %q, want none", got)
	}
	for code := range cert.Codes("no-such-set") {
		t.Errorf("an unknown set yields %q", code)
	}
}

// TestValueSetsAgainstPublication compares the shipped table with the JSON files
// that the EU published.
func TestValueSetsAgainstPublication(t *testing.T) {
	for _, tt := range []struct {
		set  cert.ValueSet
		file string
	}{
		{cert.ValueSetDisease, "disease-agent-targeted.json"},
		{cert.ValueSetProphylaxis, "vaccine-prophylaxis.json"},
		{cert.ValueSetProduct, "vaccine-medicinal-product.json"},
		{cert.ValueSetManufacturer, "vaccine-mah-manf.json"},
		{cert.ValueSetTestType, "test-type.json"},
		{cert.ValueSetTestDevice, "test-manf-example.json"},
		{cert.ValueSetTestResult, "test-result.json"},
		{cert.ValueSetCountry, "country-2-codes.json"},
	} {
		t.Run(string(tt.set), func(t *testing.T) {
			data, err := os.ReadFile(publishedVectors(t, "valuesets", "eu-dcc", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			var published struct {
				ValueSetValues map[string]struct {
					Display string
					Active  bool
					System  string
				}
			}
			if err := json.Unmarshal(data, &published); err != nil {
				t.Fatal(err)
			}
			type row struct {
				Code, Display, System string
				Withdrawn             bool
			}
			var want, got []row
			for code, value := range published.ValueSetValues {
				// The publication marks withdrawn codes in the text too.
				display := strings.TrimSuffix(value.Display, " (deprecated)")
				display = strings.Join(strings.Fields(display), " ")
				if tt.set == cert.ValueSetCountry {
					display = "" // our names are everyday English on purpose
				}
				want = append(want, row{code, display, value.System, !value.Active})
			}
			slices.SortFunc(want, func(a, b row) int { return strings.Compare(a.Code, b.Code) })
			for code := range cert.Codes(tt.set) {
				display, _ := cert.Display(tt.set, code)
				if tt.set == cert.ValueSetCountry {
					display = ""
				}
				got = append(got, row{code, display, cert.SystemOf(tt.set, code), cert.Withdrawn(tt.set, code)})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("published (-), shipped (+):\n%s", diff)
			}
		})
	}
}
