package ddcc

import (
	"maps"
	"slices"
	"testing"

	"ampoule/format"
	"ampoule/format/cbor"

	"github.com/google/go-cmp/cmp"
)

// object is a JSON-like map that tests change before they encode it.
type object map[string]any

func encode(dst []byte, x any) []byte {
	switch x := x.(type) {
	case nil:
		return cbor.AppendNull(dst)
	case string:
		return cbor.AppendText(dst, x)
	case int:
		return cbor.AppendInt(dst, int64(x))
	case []any:
		dst = cbor.AppendArray(dst, len(x))
		for _, e := range x {
			dst = encode(dst, e)
		}
		return dst
	case object:
		dst = cbor.AppendMap(dst, len(x))
		for _, k := range slices.Sorted(maps.Keys(x)) {
			dst = encode(cbor.AppendText(dst, k), x[k])
		}
		return dst
	}
	panic("cannot encode this")
}

func parse(t testing.TB, x any) cbor.Value {
	t.Helper()
	v, err := cbor.Parse(encode(nil, x), cbor.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func coding(code, system string) object { return object{"code": code, "system": system} }

func person() object {
	return object{
		"name": "Aulë Testová", "birthDate": "1990-12-31", "sex": coding("female", "http://hl7.org/fhir/administrative-gender"),
		"identifier": object{"value": "P123", "system": "urn:x"},
	}
}

// vaccination is nested as the logical model has it.
func vaccination() object {
	p := person()
	p["certificate"] = object{
		"issuer": object{"identifier": "Ministry", "display": "Ministry of Health"}, "hcid": object{"value": "HC-1"}, "version": "RC2",
		"period": object{"start": "2021-07-08", "end": "2022-07-08"},
	}
	p["vaccination"] = object{
		"vaccine": coding("XM0GQ8", "http://id.who.int/icd11/mms"), "brand": object{"code": "XM8NQ0", "system": "http://id.who.int/icd11/mms", "display": "A vaccine"},
		"manufacturer": coding("M-1", "urn:m"), "maholder": coding("H-1", "urn:h"), "disease": coding("RA01.0", "http://id.who.int/icd11/mms"),
		"lot": "LOT 1", "date": "2021-07-08", "dose": 1, "total_doses": 2, "country": coding("XAA", "urn:iso:std:iso:3166"),
		"centre": "Centre", "practitioner": object{"value": "N-7"},
	}
	return p
}

func testResult() object {
	p := person()
	p["certificate"] = object{"issuer": "Ministry of Health", "hcid": "HC-2", "version": "RC2"}
	p["test"] = object{
		"pathogen": coding("XN109", "icd"), "type": coding("94500-6", "http://loinc.org"), "brand": coding("B", "urn:b"),
		"manufacturer": coding("M", "urn:m"), "origin": coding("258500001", "sct"), "result": coding("260415000", "sct"),
		"date": "2021-07-08T10:00:00Z", "country": coding("XAA", "urn:iso:std:iso:3166"), "centre": "Centre",
	}
	return p
}

func wantVaccination() *Certificate {
	return &Certificate{
		Name: "Aulë Testová", BirthDate: "1990-12-31", Sex: "female", Identifier: "P123",
		Issuer: "Ministry of Health", ID: "HC-1", Version: "RC2", ValidFrom: "2021-07-08", ValidUntil: "2022-07-08",
		Vaccination: &Vaccination{
			Vaccine: Coding{Code: "XM0GQ8", System: "http://id.who.int/icd11/mms"},
			Brand:   Coding{"XM8NQ0", "http://id.who.int/icd11/mms", "A vaccine"}, Manufacturer: Coding{"M-1", "urn:m", ""},
			Holder: Coding{"H-1", "urn:h", ""}, Disease: Coding{"RA01.0", "http://id.who.int/icd11/mms", ""},
			Lot: "LOT 1", Date: "2021-07-08", Dose: 1, Doses: 2, Country: Coding{"XAA", "urn:iso:std:iso:3166", ""},
			Centre: "Centre", Practitioner: "N-7",
		},
	}
}

// flat moves the members of a group up beside the person.
func flat(x object, group string) object {
	maps.Copy(x, x[group].(object))
	delete(x, group)
	return x
}

func TestDecodeVaccination(t *testing.T) {
	// sample has the spellings and shapes of the published sample.
	sample := flat(vaccination(), "vaccination")
	delete(sample, "certificate")
	delete(sample, "maholder")
	delete(sample, "total_doses")
	delete(sample, "practitioner")
	maps.Copy(sample, object{
		"issuer": "Ministry of Health", "hcid": "HC-1", "version": "RC2", "valid_from": "2021-07-08", "valid_until": "2022-07-08",
		"ma_holder": coding("H-1", "urn:h"), "totalDoses": 2, "hw": "N-7", "sex": "female", "identifier": "P123",
	})
	plain := vaccination()
	for key, val := range plain["vaccination"].(object) {
		if c, ok := val.(object); ok && c["code"] != nil {
			plain["vaccination"].(object)[key] = c["code"]
		}
	}
	wantPlain := wantVaccination()
	v := wantPlain.Vaccination
	for _, c := range []*Coding{&v.Vaccine, &v.Brand, &v.Manufacturer, &v.Holder, &v.Disease, &v.Country} {
		*c = Coding{Code: c.Code}
	}
	for _, tt := range []struct {
		name string
		in   object
		want *Certificate
	}{
		{"nested", vaccination(), wantVaccination()},
		{"flat", flat(vaccination(), "vaccination"), wantVaccination()},
		{"flat, other spellings", sample, wantVaccination()},
		{"plain codes", plain, wantPlain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, findings := DecodeVaccination(parse(t, tt.in))
			if findings != nil {
				t.Errorf("findings %v", findings)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("certificate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeTest(t *testing.T) {
	want := &Certificate{
		Name: "Aulë Testová", BirthDate: "1990-12-31", Sex: "female", Identifier: "P123",
		Issuer: "Ministry of Health", ID: "HC-2", Version: "RC2",
		Test: &Test{
			Pathogen: Coding{"XN109", "icd", ""}, Type: Coding{"94500-6", "http://loinc.org", ""}, Brand: Coding{"B", "urn:b", ""},
			Manufacturer: Coding{"M", "urn:m", ""}, Origin: Coding{"258500001", "sct", ""}, Result: Coding{"260415000", "sct", ""},
			Date: "2021-07-08T10:00:00Z", Country: Coding{"XAA", "urn:iso:std:iso:3166", ""}, Centre: "Centre",
		},
	}
	for name, in := range map[string]object{"nested": testResult(), "flat": flat(testResult(), "test")} {
		t.Run(name, func(t *testing.T) {
			got, findings := DecodeTest(parse(t, in))
			if findings != nil {
				t.Errorf("findings %v", findings)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("certificate (-want +got):\n%s", diff)
			}
		})
	}
}

func bad(path string, reason format.Defect) format.Finding {
	return format.Finding{Path: path, Reason: reason}
}

func odd(path string, reason format.Defect) format.Finding {
	return format.Finding{Path: path, Reason: reason, Tolerable: true}
}

func TestFindings(t *testing.T) {
	type remove struct{}
	top := func(in object, key string, value any) object {
		in[key] = value
		if value == (any)(remove{}) {
			delete(in, key)
		}
		return in
	}
	vac := func(key string, value any) object {
		in := vaccination()
		top(in["vaccination"].(object), key, value)
		return in
	}
	type findings []format.Finding
	for _, tt := range []struct {
		name string
		in   any
		want findings
	}{
		{"not a map", []any{}, findings{bad("", format.BadType)}},
		{"empty", object{}, findings{
			bad("name", format.RequiredMissing), bad("vaccine", format.RequiredMissing), odd("brand", format.RequiredMissing),
			odd("lot", format.RequiredMissing), bad("date", format.RequiredMissing), odd("country", format.RequiredMissing),
		}},
		{"least", object{"name": "A", "vaccination": object{"vaccine": "X", "brand": "B", "lot": "L", "date": "2021-01-01", "country": "XAA"}}, nil},

		{"name empty", top(vaccination(), "name", ""), findings{bad("name", format.RequiredMissing)}},
		{"name null", top(vaccination(), "name", nil), findings{bad("name", format.RequiredMissing)}},
		{"name a number", top(vaccination(), "name", 7), findings{bad("name", format.BadType)}},
		{"name turned around", top(vaccination(), "name", "A\u202eB"), findings{odd("name", format.SuspiciousText)}},
		{"birth date a year", top(vaccination(), "birthDate", "1990"), nil},
		{"birth date wrong", top(vaccination(), "birthDate", "31.12.1990"), findings{odd("birthDate", format.BadDate)}},
		{"birth date missing", top(vaccination(), "birthDate", remove{}), nil},
		{"sex a number", top(vaccination(), "sex", 2), findings{odd("sex", format.BadType)}},
		{"identifier a list", top(vaccination(), "identifier", []any{}), findings{odd("identifier", format.BadType)}},
		{"identifier without value", top(vaccination(), "identifier", object{"system": "x"}), nil},
		{"issuer nested deeper", top(vaccination(), "certificate", object{"issuer": object{"identifier": object{"value": "x"}}}), findings{odd("issuer", format.BadType)}},

		{"group null", top(vaccination(), "vaccination", nil), findings{bad("vaccination", format.BadType)}},
		{"group a text", top(vaccination(), "vaccination", "x"), findings{bad("vaccination", format.BadType)}},
		{"several doses", top(vaccination(), "vaccination", []any{object{}, object{}}), findings{bad("vaccination", format.SeveralDoses)}},

		{"vaccine missing", vac("vaccine", remove{}), findings{bad("vaccine", format.RequiredMissing)}},
		{"vaccine null", vac("vaccine", nil), findings{bad("vaccine", format.RequiredMissing)}},
		{"vaccine empty", vac("vaccine", ""), findings{bad("vaccine", format.RequiredMissing)}},
		{"vaccine a number", vac("vaccine", 1), findings{bad("vaccine", format.BadType)}},
		{"vaccine without code", vac("vaccine", object{"system": "x"}), findings{bad("vaccine.code", format.RequiredMissing)}},
		{"vaccine code a number", vac("vaccine", object{"code": 1}), findings{bad("vaccine.code", format.BadType)}},
		{"vaccine display turned around", vac("vaccine", object{"code": "X", "display": "a\u2066b"}), findings{odd("vaccine.display", format.SuspiciousText)}},
		{"vaccine plain and turned around", vac("vaccine", "X\u202e"), findings{odd("vaccine", format.SuspiciousText)}},
		{"vaccine system a number", vac("vaccine", object{"code": "X", "system": 1}), findings{odd("vaccine.system", format.BadType)}},
		{"brand missing", vac("brand", remove{}), findings{odd("brand", format.RequiredMissing)}},
		{"brand without code", vac("brand", object{"display": "x"}), findings{odd("brand.code", format.RequiredMissing)}},
		{"brand a number", vac("brand", 1), findings{odd("brand", format.BadType)}},
		{"disease without code", vac("disease", object{}), nil},
		{"holder a number", vac("maholder", 1), findings{odd("maholder", format.BadType)}},
		{"lot missing", vac("lot", remove{}), findings{odd("lot", format.RequiredMissing)}},
		{"lot a number", vac("lot", 7), findings{odd("lot", format.BadType)}},
		{"country missing", vac("country", remove{}), findings{odd("country", format.RequiredMissing)}},
		{"practitioner a number", vac("practitioner", 1), findings{odd("practitioner", format.BadType)}},
		{"date missing", vac("date", remove{}), findings{bad("date", format.RequiredMissing)}},
		{"date with a time", vac("date", "2021-07-08T10:00:00+02:00"), nil},
		{"date a month", vac("date", "2021-07"), findings{odd("date", format.BadDate)}},
		{"date on no day", vac("date", "2021-02-30"), findings{bad("date", format.BadDate)}},
		{"date with more behind", vac("date", "2021-07-08, perhaps"), findings{bad("date", format.BadDate)}},
		{"date with a digit behind", vac("date", "2021-07-081"), findings{bad("date", format.BadDate)}},
		{"dose zero", vac("dose", 0), findings{odd("dose", format.BadValue)}},
		{"dose a text", vac("dose", "1"), findings{odd("dose", format.BadValue)}},
		{"dose null", vac("dose", nil), nil},
		{"doses negative", vac("total_doses", -1), findings{odd("total_doses", format.BadValue)}},
		{"other elements", vac("nextDose", "2021-10-01"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, got := DecodeVaccination(parse(t, tt.in))
			if diff := cmp.Diff(tt.want, findings(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if c == nil || c.Test != nil {
				t.Errorf("certificate %+v", c)
			}
		})
	}

	_, got := DecodeTest(parse(t, object{}))
	if diff := cmp.Diff([]format.Finding{
		bad("name", format.RequiredMissing), odd("pathogen", format.RequiredMissing), odd("type", format.RequiredMissing),
		bad("result", format.RequiredMissing), bad("date", format.RequiredMissing), odd("country", format.RequiredMissing),
	}, got); diff != "" {
		t.Errorf("empty test (-want +got):\n%s", diff)
	}
	for _, value := range []any{nil, 1, "x", []any{}} {
		c, got := DecodeTest(parse(t, top(testResult(), "test", value)))
		if len(got) != 1 || got[0].Path != "test" || got[0].Tolerable || c.Test != nil {
			t.Errorf("test %v: %v", value, got)
		}
	}
}

// TestNormalised: strings are read as if in normalisation form C, codings' too.
func TestNormalised(t *testing.T) {
	in := vaccination()
	in["name"] = "Aule\u0308 Testova\u0301"
	in["vaccination"].(object)["brand"] = object{"code": "e\u0301", "display": "o\u0308"}
	c, findings := DecodeVaccination(parse(t, in))
	if findings != nil || c.Name != "Aulë Testová" || c.Vaccination.Brand != (Coding{Code: "é", Display: "ö"}) {
		t.Errorf("%q, %+v, %v", c.Name, c.Vaccination.Brand, findings)
	}
}

// FuzzDecode: nothing panics, and without a finding the elements that make a
// certificate one are there.
func FuzzDecode(f *testing.F) {
	for _, in := range []object{vaccination(), testResult(), flat(vaccination(), "vaccination"), {}, {"vaccination": []any{}, "test": nil}} {
		f.Add(encode(nil, in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			return
		}
		c, findings := DecodeVaccination(v)
		fatal := slices.ContainsFunc(findings, func(f format.Finding) bool { return !f.Tolerable })
		if !fatal && (c.Name == "" || c.Vaccination == nil || c.Vaccination.Vaccine.Code == "" || !startsWithDate(c.Vaccination.Date) && !format.IsPartialDate(c.Vaccination.Date)) {
			t.Errorf("accepted as a vaccination: %+v", c)
		}
		c, findings = DecodeTest(v)
		fatal = slices.ContainsFunc(findings, func(f format.Finding) bool { return !f.Tolerable })
		if !fatal && (c.Name == "" || c.Test == nil || c.Test.Result.Code == "" || c.Test.Date == "") {
			t.Errorf("accepted as a test: %+v", c)
		}
	})
}
