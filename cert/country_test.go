package cert_test

import (
	"slices"
	"testing"

	"ampoule/cert"
)

func TestCountryCodes(t *testing.T) {
	for _, tt := range []struct{ alpha2, alpha3, name string }{
		{"DE", "DEU", "Germany"},
		{"CH", "CHE", "Switzerland"},
		{"CI", "CIV", "Côte d'Ivoire"},
		{"CD", "COD", "Democratic Republic of the Congo"},
		{"GB", "GBR", "United Kingdom"},
		{"TR", "TUR", "Türkiye"},
		{"XK", "XKX", "Kosovo"},
		{"ZW", "ZWE", "Zimbabwe"},
	} {
		if got, ok := cert.Alpha3(tt.alpha2); got != tt.alpha3 || !ok {
			t.Errorf("Alpha3(%q) = %q, %v; want %q", tt.alpha2, got, ok, tt.alpha3)
		}
		if got, ok := cert.Alpha2(tt.alpha3); got != tt.alpha2 || !ok {
			t.Errorf("Alpha2(%q) = %q, %v; want %q", tt.alpha3, got, ok, tt.alpha2)
		}
		for _, code := range []string{tt.alpha2, tt.alpha3} {
			if got, ok := cert.CountryName(code); got != tt.name || !ok {
				t.Errorf("CountryName(%q) = %q, %v; want %q", code, got, ok, tt.name)
			}
		}
	}
}

func TestCountryUnknown(t *testing.T) {
	// XXA, XCL and XL are participants of the trust network's test
	// environment; D is Germany in passports; EL and UK are the EU's habits.
	for _, code := range []string{"", "XXA", "XCL", "XL", "XX", "D", "EL", "UK", "de", "deu", "DEUX", "EU"} {
		if got, ok := cert.Alpha3(code); ok {
			t.Errorf("Alpha3(%q) = %q, want unknown", code, got)
		}
		if got, ok := cert.Alpha2(code); ok {
			t.Errorf("Alpha2(%q) = %q, want unknown", code, got)
		}
		if got, ok := cert.CountryName(code); ok {
			t.Errorf("CountryName(%q) = %q, want unknown", code, got)
		}
	}
}

func TestCountriesTable(t *testing.T) {
	codes := slices.Collect(cert.Countries())
	if got, want := len(codes), 249+1; got != want {
		t.Errorf("%d countries, want %d (ISO 3166-1 and Kosovo)", got, want)
	}
	if !slices.IsSorted(codes) {
		t.Error("countries are not sorted")
	}
	upper := func(s string) bool {
		for _, r := range s {
			if r < 'A' || r > 'Z' {
				return false
			}
		}
		return true
	}
	seen := make(map[string]string)
	for _, a2 := range codes {
		a3, _ := cert.Alpha3(a2)
		back, _ := cert.Alpha2(a3)
		name, _ := cert.CountryName(a2)
		if len(a2) != 2 || len(a3) != 3 || !upper(a2+a3) || back != a2 || name == "" {
			t.Errorf("row %q %q %q: alpha-3 leads back to %q", a2, a3, name, back)
		}
		for _, key := range []string{a3, name} {
			if other, twice := seen[key]; twice {
				t.Errorf("%q belongs to %s and %s", key, other, a2)
			}
			seen[key] = a2
		}
	}
}
