package ddcc

import (
	"bytes"
	"testing"

	"ampoule/format"
	"ampoule/format/cbor"

	"github.com/google/go-cmp/cmp"
)

func wantTest() *Certificate {
	c := wantVaccination()
	c.ID, c.ValidFrom, c.ValidUntil, c.Vaccination = "HC-2", "", "", nil
	c.Test = &Test{
		Pathogen: Coding{"XN109", "icd", ""}, Type: Coding{"94500-6", "http://loinc.org", ""}, Brand: Coding{"B", "urn:b", ""},
		Manufacturer: Coding{"M", "urn:m", ""}, Origin: Coding{"258500001", "sct", ""}, Result: Coding{"260415000", "sct", "Not detected"},
		Date: "2021-07-08T10:00:00Z", Country: CountryCoding("XAA"), Centre: "Centre",
	}
	return c
}

// What is written is deterministic, nested as the model has it, and read again
// as it was.
func TestEncode(t *testing.T) {
	for name, want := range map[string]*Certificate{"vaccination": wantVaccination(), "test": wantTest()} {
		t.Run(name, func(t *testing.T) {
			data, findings := Encode(want)
			if len(findings) > 0 {
				t.Fatal(findings)
			}
			limits := cbor.DefaultLimits
			v, err := cbor.Parse(data, limits)
			if err != nil {
				t.Fatal(err)
			}
			decode := DecodeVaccination
			if want.Test != nil {
				decode = DecodeTest
			}
			got, findings := decode(v)
			if diff := cmp.Diff(want, got); diff != "" || len(findings) > 0 {
				t.Error(findings, diff)
			}
			if v.Get(name).Kind() != cbor.Map || v.Get("certificate").Kind() != cbor.Map {
				t.Error("not nested")
			}
			if again, _ := Encode(want); !bytes.Equal(data, again) {
				t.Error("another encoding the second time")
			}
			sorted(t, v)
		})
	}
}

// sorted checks the order of RFC 8949 section 4.2.1 by the encoded keys.
func sorted(t *testing.T, v cbor.Value) {
	t.Helper()
	var before []byte
	for k, val := range v.Pairs() {
		key, _ := k.Text()
		encoded := cbor.AppendText(nil, key)
		if bytes.Compare(before, encoded) >= 0 {
			t.Errorf("%q is out of order", key)
		}
		before = encoded
		if val.Kind() == cbor.Map {
			sorted(t, val)
		}
	}
}

func TestEncodeFindings(t *testing.T) {
	missing := func(path string) []format.Finding { return []format.Finding{bad(path, format.RequiredMissing)} }
	for _, tt := range []struct {
		name string
		edit func(c *Certificate)
		want []format.Finding
	}{
		{"nothing", func(*Certificate) {}, nil},
		{"no name", func(c *Certificate) { c.Name = "" }, missing("name")},
		{"no issuer", func(c *Certificate) { c.Issuer = "" }, missing("issuer")},
		{"no identifier of the certificate", func(c *Certificate) { c.ID = "" }, missing("hcid")},
		{"no version", func(c *Certificate) { c.Version = "" }, missing("version")},
		{"no dose", func(c *Certificate) { c.Vaccination.Dose = 0 }, missing("dose")},
		{"no manufacturer", func(c *Certificate) { c.Vaccination.Manufacturer = Coding{} }, nil},
		{"no holder", func(c *Certificate) { c.Vaccination.Holder = Coding{} }, nil},
		{"neither", func(c *Certificate) {
			c.Vaccination.Manufacturer, c.Vaccination.Holder = Coding{Display: "M"}, Coding{}
		}, missing("manufacturer|maholder")},
		{"no vaccine", func(c *Certificate) { c.Vaccination.Vaccine = Coding{} }, missing("vaccine")},
		{"no lot", func(c *Certificate) { c.Vaccination.Lot = "" }, []format.Finding{odd("lot", format.RequiredMissing)}},
		{"no country", func(c *Certificate) { c.Vaccination.Country = CountryCoding("") }, []format.Finding{odd("country", format.RequiredMissing)}},
		{"only the person", func(c *Certificate) { c.BirthDate, c.Sex, c.Identifier, c.ValidFrom, c.ValidUntil = "", "", "", "", "" }, nil},
		{"a month", func(c *Certificate) { c.Vaccination.Date = "2021-07" }, []format.Finding{odd("date", format.BadDate)}},
		{"neither vaccination nor test", func(c *Certificate) { c.Vaccination = nil }, []format.Finding{
			odd("pathogen", format.RequiredMissing), odd("type", format.RequiredMissing), bad("result", format.RequiredMissing),
			bad("date", format.RequiredMissing), odd("country", format.RequiredMissing), bad("vaccination|test", format.RequiredMissing),
		}},
		{"both", func(c *Certificate) { c.Test = new(Test) }, missing("vaccination")},
		{"not UTF-8", func(c *Certificate) { c.Name = "\xff" }, []format.Finding{bad("", format.BadValue)}},
		{"turned around", func(c *Certificate) { c.Issuer = "A\u202eB" }, []format.Finding{odd("issuer", format.SuspiciousText)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := wantVaccination()
			tt.edit(c)
			if _, got := Encode(c); cmp.Diff(tt.want, got) != "" {
				t.Error(cmp.Diff(tt.want, got))
			}
		})
	}
}

// FuzzEncode: what was read is written so that it reads the same.
func FuzzEncode(f *testing.F) {
	for _, in := range []object{vaccination(), testResult(), flat(vaccination(), "vaccination")} {
		f.Add(encode(nil, in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			return
		}
		for name, decode := range map[string]func(cbor.Value) (*Certificate, []format.Finding){"vaccination": DecodeVaccination, "test": DecodeTest} {
			want, findings := decode(v)
			if len(findings) > 0 || want.Vaccination == nil && want.Test == nil || want.Vaccination != nil && (want.Vaccination.Dose < 0 || want.Vaccination.Doses < 0) {
				continue
			}
			written, _ := Encode(want)
			again, err := cbor.Parse(written, cbor.DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			got, findings := decode(again)
			if diff := cmp.Diff(want, got); diff != "" || len(findings) > 0 {
				t.Errorf("%s: %v %s", name, findings, diff)
			}
		}
	})
}
