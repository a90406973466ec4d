package vaccine

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ampoule/cert"
	"ampoule/coldchain"
	"ampoule/format/gs1"
	"ampoule/thing"
)

const two = `{"vaccines": [
 {"name": "Specimen IPV", "maker": "Specimen Works", "form": "liquid", "storage": "refrigerated", "freeze": "harmed", "vvm": 7, "doses": 10, "vials": 5,
  "codes": [{"code": "9521321123458", "system": "https://id.gs1.org/01"}, {"code": "10", "system": "http://hl7.org/fhir/sid/cvx"}],
  "open": {"days": true}, "budget": {"bands": [{"above": 8000, "seconds": 172800}], "freezeSensitive": true}},
 {"name": "Specimen YF", "form": "freeze-dried", "freeze": "not-harmed", "codes": [{"code": "SPEC-YF", "system": "urn:x:codes"}], "diluent": {"name": "Specimen water"}}
]}`

func TestParse(t *testing.T) {
	c, err := Parse([]byte(two))
	if err != nil {
		t.Fatal(err)
	}
	// A GTIN of 13 digits is that of 14.
	ipv := c.Find(thing.Product{Code: "no", System: "such"}, thing.Product{Code: "09521321123458", System: gs1.GTINSystem})
	if ipv == nil || ipv.Name != "Specimen IPV" || ipv.PerPack() != 50 {
		t.Fatalf("%+v", ipv)
	}
	b := ipv.Bearing()
	if b.Storage != coldchain.Refrigerated || !b.FreezeHarms || !b.FreezeKnown || b.VVM != coldchain.VVM7 || len(b.Budget.Bands) != 1 {
		t.Errorf("%+v", b)
	}
	if at, why := ipv.Discard(1000, 2000, 0); at != 1000+28*86400 || why != coldchain.DiscardDays {
		t.Errorf("an opened vial is used until %d, %s", at, why)
	}
	yellow := c.Find(thing.Product{Code: "SPEC-YF", System: "urn:x:codes"})
	if b := yellow.Bearing(); b.FreezeHarms || !b.FreezeKnown || b.Storage != coldchain.Refrigerated {
		t.Errorf("%+v", b)
	}
	if at, why := yellow.Discard(1000, 0, 0); at != 1000+6*3600 || why != coldchain.DiscardHours {
		t.Errorf("a reconstituted vial is used until %d, %s", at, why)
	}
	if v := (*Catalogue)(nil).Find(thing.Product{}); v != nil {
		t.Error("no catalogue has a product")
	}
}

func TestParseRefuses(t *testing.T) {
	one := func(with string) string {
		return `{"vaccines":[{"name":"A","codes":[{"code":"1","system":"s"}]` + with + `}]}`
	}
	for name, text := range map[string]string{
		"no JSON": `x`, "a misspelt member": one(`,"freez":"harmed"`), "no codes": `{"vaccines":[{"name":"A"}]}`,
		"no name": `{"vaccines":[{"codes":[{"code":"1","system":"s"}]}]}`, "a form": one(`,"form":"gas"`), "a store": one(`,"storage":"warm"`),
		"a harm": one(`,"freeze":"perhaps"`), "a monitor": one(`,"vvm":9`), "a budget": one(`,"budget":{"bands":[]}`),
		"a GTIN":          `{"vaccines":[{"name":"A","codes":[{"code":"09521321123450","system":"https://id.gs1.org/01"}]}]}`,
		"one code of two": `{"vaccines":[{"name":"A","codes":[{"code":"1","system":"s"}]},{"name":"B","codes":[{"code":"1","system":"s"}]}]}`,
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := Parse([]byte(`{"vaccines":[{"name":"A","codes":[{"code":"1","system":"s"}]},{"name":"B","codes":[{"code":"1","system":"s"}]}]}`)); !errors.Is(err, ErrTwice) {
		t.Error(err)
	}
}

func TestParseWHO(t *testing.T) {
	const list = "\ufeffid,fvp,status,date,type,commercial,full,applicant,form,doses,storage,vvm,multidose_policy_excerpt\n" +
		"spec1,FVP-S-1,Prequalified,2020-01-01,IPV,Specimen IPV,\"Poliomyelitis vaccine (inactivated)\",Specimen Works,Liquid: Ready to use,10,2 - 8°C,Type 7,\"WHO recommends that opened vials of this vaccine may be used in subsequent sessions (up to 28 days)\"\n" +
		"spec2,FVP-S-2,Withdrawn,2020-01-01,YF,,Yellow fever vaccine,Specimen Works,Lyophilised active component,5,-20°C,None,\"discarded 6 hours after opening\"\n" +
		"spec3,,Prequalified,2020-01-01,New,Specimen N,Something new,,Powder,x,cool,Type 99,\n" +
		"spec4,,,,,,,,,,,,\n"
	c, findings, err := ParseWHO([]byte(list))
	if err != nil || len(c.Vaccines) != 3 || len(findings) != 4 {
		t.Fatalf("%d products, %v, %v", len(c.Vaccines), findings, err)
	}
	system := cert.SystemICVPProduct
	want := []Vaccine{
		{Name: "Specimen IPV", Maker: "Specimen Works", Codes: []thing.Product{{Code: "spec1", System: system}, {Code: "FVP-S-1", System: system}}, Form: Liquid,
			Storage: "refrigerated", Freeze: thing.Harmed, VVM: 7, Doses: 10, Open: &Open{Days: true}},
		{Name: "Yellow fever vaccine", Maker: "Specimen Works", Codes: []thing.Product{{Code: "spec2", System: system}, {Code: "FVP-S-2", System: system}}, Form: FreezeDried,
			Storage: "frozen", Freeze: thing.NotHarmed, Diluent: &Diluent{Name: "diluent of Yellow fever vaccine"}, Doses: 5, Open: &Open{Hours: 6}},
		{Name: "Specimen N", Codes: []thing.Product{{Code: "spec3", System: system}}, Freeze: thing.HarmNotKnown},
	}
	for i := range want {
		want[i].Source = "WHO list of prequalified vaccines"
	}
	if diff := cmp.Diff(want, c.Vaccines); diff != "" {
		t.Error(diff)
	}
	if _, _, err := ParseWHO([]byte("id,fvp\n")); !errors.Is(err, ErrCatalogue) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(two))
	f.Add([]byte("id,fvp,status,type,commercial,full,applicant,form,doses,storage,vvm,multidose_policy_excerpt\na,b,c,d,e,f,g,h,1,2 - 8°C,Type 7,\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Parse(data); err == nil {
			for i := range c.Vaccines {
				c.Vaccines[i].Bearing()
				c.Vaccines[i].Discard(0, 0, 0)
			}
		}
		ParseWHO(data)
	})
}
