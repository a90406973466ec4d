package cert_test

import (
	"errors"
	"strings"
	"testing"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/icvp"

	"github.com/google/go-cmp/cmp"
)

func products(t testing.TB) *cert.Catalogue {
	t.Helper()
	c, err := cert.ReadCatalogue([]byte(`{"source": "specimen list", "codes": [
		{"id": "YF-1", "display": "Specimen yellow fever vaccine", "disease": "yellow-fever", "manufacturer": "Specimen Biologicals"},
		{"id": "PV-1", "display": "Specimen polio vaccine", "disease": "polio"},
		{"id": "NN-1", "display": "Specimen vaccine of no disease"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func generation3() *icvp.Certificate {
	return &icvp.Certificate{
		Generation: 3, Name: "Spécimen Ada", DateOfBirth: "1990-02-03", Sex: "female", Nationality: "XXA", DocumentNumber: "SPEC0001",
		DocumentType: "PPN", Guardian: "Specimen Parent", Template: icvp.TemplateVersion,
		Dose: icvp.Dose{Product: "YF-1", Date: "2026-02-20", Clinician: "Specimen Clinician", Authority: "XXA", Lot: "SPEC-LOT-1"},
	}
}

func generation2() *icvp.Certificate {
	c := generation3()
	c.Generation, c.Template, c.Dose.ValidFrom, c.Dose.ValidUntil = 2, "", "2026-03-02", "2036-03-02"
	return c
}

func generation1() *icvp.Certificate {
	c := generation2()
	c.Generation, c.Sex = 1, "F"
	c.Dose.Product, c.Dose.Number, c.Dose.Disease, c.Dose.ProductName, c.Dose.Manufacturer, c.Dose.ManufacturerID = "XM0N24", "Primary", "1D47", "Specimen vaccine", "Specimen Biologicals", "MAN-1"
	return c
}

func TestICVPRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *icvp.Certificate)
	}{
		{"complete", func(*icvp.Certificate) {}},
		{"the least", func(c *icvp.Certificate) {
			c.DocumentNumber, c.DocumentType, c.Guardian, c.Dose.Clinician = "", "", "", ""
		}},
		{"a product whose disease is not known", func(c *icvp.Certificate) { c.Dose.Product = "NN-1" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			payload := generation3()
			tt.change(payload)
			back, err := cert.FromICVP(payload, products(t)).ToICVP(products(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(payload, back); diff != "" {
				t.Error(diff)
			}
			if _, findings := icvp.Encode(back); len(findings) > 0 {
				t.Errorf("findings %v", findings)
			}
		})
	}
}

// TestFromICVP reads the three generations into one form.
func TestFromICVP(t *testing.T) {
	person := cert.Person{
		Name:      cert.Name{Full: "Spécimen Ada", FullMRZ: "SPECIMEN<ADA"},
		BirthDate: "1990-02-03", Sex: "female", Nationality: "XXA", Document: cert.Document{Number: "SPEC0001", Type: "PPN"}, Guardian: "Specimen Parent",
	}
	yellowFever := cert.Code{Code: "1D47", System: "http://id.who.int/icd/release/11/mms", Display: "Yellow fever"}
	product := cert.Code{Code: "YF-1", System: cert.SystemICVPProduct}
	listed := product
	listed.Display = "Specimen yellow fever vaccine"
	changed := func(change func(c *icvp.Certificate)) *icvp.Certificate {
		c := generation1()
		change(c)
		return c
	}
	for _, tt := range []struct {
		name      string
		given     *icvp.Certificate
		catalogue *cert.Catalogue
		want      cert.Vaccination
	}{
		{"generation 3", generation3(), products(t), cert.Vaccination{
			Disease: yellowFever, Product: listed, Manufacturer: cert.Code{Display: "Specimen Biologicals"}, Lot: "SPEC-LOT-1", Date: "2026-02-20", Clinician: "Specimen Clinician"}},
		{"generation 3 without a catalogue", generation3(), nil, cert.Vaccination{
			Product: product, Lot: "SPEC-LOT-1", Date: "2026-02-20", Clinician: "Specimen Clinician"}},
		{"generation 2", generation2(), products(t), cert.Vaccination{
			Disease: yellowFever, Product: listed, Manufacturer: cert.Code{Display: "Specimen Biologicals"}, Lot: "SPEC-LOT-1", Date: "2026-02-20", Clinician: "Specimen Clinician",
			ValidFrom: "2026-03-02", ValidUntil: "2036-03-02"}},
		{"generation 1", generation1(), nil, cert.Vaccination{
			Disease: yellowFever, Vaccine: cert.Code{Code: "XM0N24", System: "http://id.who.int/icd/release/11/mms"}, Product: cert.Code{Display: "Specimen vaccine"},
			Manufacturer: cert.Code{Code: "MAN-1", Display: "Specimen Biologicals"}, Lot: "SPEC-LOT-1", Date: "2026-02-20", Clinician: "Specimen Clinician",
			ValidFrom: "2026-03-02", ValidUntil: "2036-03-02"}},
		{"generation 1 of a disease that no table knows", changed(func(c *icvp.Certificate) { c.Dose.Disease = "9Z99" }), nil, cert.Vaccination{
			Disease: cert.Code{Code: "9Z99"}, Vaccine: cert.Code{Code: "XM0N24", System: "http://id.who.int/icd/release/11/mms"}, Product: cert.Code{Display: "Specimen vaccine"},
			Manufacturer: cert.Code{Code: "MAN-1", Display: "Specimen Biologicals"}, Lot: "SPEC-LOT-1", Date: "2026-02-20", Clinician: "Specimen Clinician",
			ValidFrom: "2026-03-02", ValidUntil: "2036-03-02"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := &cert.Certificate{Kind: cert.KindVaccination, Authority: "XXA", Person: person, Vaccination: &tt.want}
			if diff := cmp.Diff(want, cert.FromICVP(tt.given, tt.catalogue)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSex: the words and letters of the generations become one set.
func TestSex(t *testing.T) {
	for given, want := range map[string]string{
		"male": "male", "M": "male", "female": "female", "f": "female", "other": "other", "O": "other", "unknown": "unknown", "X": "unknown", "weiblich": "unknown", "": "",
	} {
		payload := generation3()
		payload.Sex = given
		if got := cert.FromICVP(payload, nil).Person.Sex; got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

func TestToICVP(t *testing.T) {
	record := func() *cert.Certificate { return cert.FromICVP(generation3(), products(t)) }
	for _, tt := range []struct {
		name      string
		change    func(c *cert.Certificate)
		catalogue *cert.Catalogue
		want      error
		place     string
	}{
		{"no vaccination", func(c *cert.Certificate) { c.Kind, c.Vaccination = cert.KindTest, nil }, products(t), cert.ErrNotCarried, "test"},
		{"a product that is not listed", func(c *cert.Certificate) { c.Vaccination.Product.Code = "ZZ-1" }, products(t), format.BadCode, `vaccination.product "ZZ-1"`},
		{"no catalogue", func(*cert.Certificate) {}, nil, format.BadCode, "vaccination.product"},
		{"another disease", func(c *cert.Certificate) { c.Vaccination.Disease.Code = "1C81" }, products(t), format.BadCode, "vaccination.disease"},
		{"a disease that no table knows", func(c *cert.Certificate) { c.Vaccination.Disease.Code = "9Z99" }, products(t), format.BadCode, "vaccination.disease"},
		{"the disease in another code", func(c *cert.Certificate) { c.Vaccination.Disease.Code = "16541001" }, products(t), nil, ""},
		{"the disease in a word", func(c *cert.Certificate) { c.Vaccination.Disease.Code = "yellow-fever" }, products(t), nil, ""},
		{"no disease", func(c *cert.Certificate) { c.Vaccination.Disease = cert.Code{} }, products(t), nil, ""},
		{"a name in two parts", func(c *cert.Certificate) { c.Person.Name = cert.Name{Given: "Spécimen", Family: "Ada"} }, products(t), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := record()
			tt.change(c)
			payload, err := c.ToICVP(tt.catalogue)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.place) || payload != nil {
					t.Errorf("%q does not name %q", err, tt.place)
				}
				return
			}
			if diff := cmp.Diff(generation3(), payload); diff != "" {
				t.Error(diff)
			}
		})
	}
}
