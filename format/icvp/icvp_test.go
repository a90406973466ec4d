package icvp

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"ampoule/format"
	"ampoule/format/cbor"

	fx "github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// object is a JSON-like map that tests change before they encode it.
type object map[string]any

// raw is encoded CBOR.
type raw []byte

func encode(dst []byte, x any) []byte {
	switch x := x.(type) {
	case nil:
		return cbor.AppendNull(dst)
	case string:
		return cbor.AppendText(dst, x)
	case int:
		return cbor.AppendInt(dst, int64(x))
	case raw:
		return append(dst, x...)
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

func parse(t testing.TB, data []byte) cbor.Value {
	t.Helper()
	v, err := cbor.Parse(data, cbor.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The three generations, as their models have them.
func generation1() object {
	return object{
		"n": "Aína Testová", "dob": "1990-12-31", "s": "female", "ntl": "XA", "nid": "P123", "gn": "Gustav Guardian",
		"v": object{
			"dn": "Primary", "tg": "1D47", "vp": "XM0N24", "mp": "a product", "ma": "a maker", "mid": "M-1",
			"dt": "2024-09-01", "bo": "LOT 1", "vls": "2024-09-11", "vle": "2034-09-11", "cn": "Dr A", "is": "Centre",
		},
	}
}

func generation2() object {
	return object{
		"n": "Aína Testová", "dob": "1990-12-31", "s": "female", "ntl": "XAA", "nid": "P123", "ndt": "PPN", "gn": "Gustav Guardian",
		"v": object{
			"vp": "YellowFeverProduct0", "dt": "2025-07-01", "bo": "LOT 2", "vls": "2025-07-11", "vle": "life", "cn": "Dr A", "is": "Centre",
		},
	}
}

func generation3() object {
	return object{
		"n": "Aína Testová", "dob": "1990-12-31", "s": "female", "nt": "XAA", "id": "P123", "dt": "PPN", "gn": "Gustav Guardian", "v": "1.0.0",
		"vx": object{"vp": "YellowFeverProduct0", "dv": "2026-04-20", "bo": "LOT 3", "cn": "Dr A", "is": "Centre"},
	}
}

// full3 is what generation3 says.
func full3() *Certificate {
	return &Certificate{
		Generation: 3, Name: "Aína Testová", DateOfBirth: "1990-12-31", Sex: "female", Nationality: "XAA",
		DocumentNumber: "P123", DocumentType: "PPN", Guardian: "Gustav Guardian", Template: TemplateVersion,
		Dose: Dose{Product: "YellowFeverProduct0", Date: "2026-04-20", Clinician: "Dr A", Authority: "Centre", Lot: "LOT 3"},
	}
}

func TestDecode(t *testing.T) {
	gen2 := generation2()
	gen2["v"].(object)["vle"] = "2035-07-11"
	for _, tt := range []struct {
		name string
		in   object
		want *Certificate
	}{
		{"generation 1", generation1(), &Certificate{
			Generation: 1, Name: "Aína Testová", DateOfBirth: "1990-12-31", Sex: "female", Nationality: "XA",
			DocumentNumber: "P123", Guardian: "Gustav Guardian",
			Dose: Dose{
				Product: "XM0N24", Date: "2024-09-01", Clinician: "Dr A", Authority: "Centre", Lot: "LOT 1",
				ValidFrom: "2024-09-11", ValidUntil: "2034-09-11", Number: "Primary", Disease: "1D47",
				ProductName: "a product", Manufacturer: "a maker", ManufacturerID: "M-1",
			},
		}},
		{"generation 2", gen2, &Certificate{
			Generation: 2, Name: "Aína Testová", DateOfBirth: "1990-12-31", Sex: "female", Nationality: "XAA",
			DocumentNumber: "P123", DocumentType: "PPN", Guardian: "Gustav Guardian",
			Dose: Dose{
				Product: "YellowFeverProduct0", Date: "2025-07-01", Clinician: "Dr A", Authority: "Centre", Lot: "LOT 2",
				ValidFrom: "2025-07-11", ValidUntil: "2035-07-11",
			},
		}},
		{"generation 3", generation3(), full3()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, findings := Decode(parse(t, encode(nil, tt.in)))
			if findings != nil {
				t.Errorf("findings %v", findings)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("certificate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGeneration(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   object
		want int
	}{
		{"nothing", object{}, 3},
		{"template alone", object{"v": "9.9"}, 3},
		{"template and dose", object{"v": "1.0.0", "vx": object{}}, 3},
		{"dose alone", object{"vx": object{}}, 3},
		{"both kinds of dose", object{"v": object{"tg": "1D47"}, "vx": object{}}, 3},
		{"v a map", object{"v": object{}}, 2},
		{"v null", object{"v": nil}, 2},
		{"v an array", object{"v": []any{object{"tg": "1D47"}}}, 2},
		{"disease", object{"v": object{"tg": "1D47"}}, 1},
		{"number", object{"v": object{"dn": "Primary"}}, 1},
		{"manufacturer", object{"v": object{"ma": "a maker"}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, _ := Decode(parse(t, encode(nil, tt.in))); c.Generation != tt.want {
				t.Errorf("generation %d, want %d", c.Generation, tt.want)
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
	// top and dose change one element of a certificate; remove takes it out.
	type remove struct{}
	top := func(in object, key string, value any) object {
		in[key] = value
		if value == (any)(remove{}) {
			delete(in, key)
		}
		return in
	}
	dose := func(in object, key string, value any) object {
		under := "vx"
		if in["vx"] == nil {
			under = "v"
		}
		top(in[under].(object), key, value)
		return in
	}
	gen1, gen2, gen3 := generation1, generation2, generation3
	type findings []format.Finding
	for _, tt := range []struct {
		name string
		in   any
		want findings
	}{
		{"not a map", "x", findings{bad("", format.BadType)}},
		{"null", nil, findings{bad("", format.BadType)}},
		{"empty", object{}, findings{
			bad("n", format.RequiredMissing), bad("dob", format.RequiredMissing), bad("s", format.RequiredMissing),
			bad("nt", format.RequiredMissing), bad("v", format.RequiredMissing), bad("vx", format.RequiredMissing),
		}},
		{"optional elements missing", object{
			"n": "A", "dob": "1990-12-31", "s": "male", "nt": "XAA", "v": "1.0.0", "vx": object{"vp": "P", "dv": "2026-01-01", "bo": "L", "is": "C"},
		}, nil},

		{"name missing", top(gen3(), "n", remove{}), findings{bad("n", format.RequiredMissing)}},
		{"name null", top(gen3(), "n", nil), findings{bad("n", format.RequiredMissing)}},
		{"name empty", top(gen3(), "n", ""), findings{bad("n", format.RequiredMissing)}},
		{"name blank", top(gen3(), "n", " \u00a0\t"), findings{bad("n", format.RequiredMissing), odd("n", format.SuspiciousText)}},
		{"name a map", top(gen3(), "n", object{}), findings{bad("n", format.BadType)}},
		{"name of 200", top(gen3(), "n", strings.Repeat("é", 200)), nil},
		{"name of 201", top(gen3(), "n", strings.Repeat("é", 201)), findings{odd("n", format.TooLong)}},
		{"name turned around", top(gen3(), "n", "A\u202eB"), findings{odd("n", format.SuspiciousText)}},
		{"name long and turned around", top(gen3(), "n", strings.Repeat("é", 201)+"\u202e"), findings{odd("n", format.TooLong), odd("n", format.SuspiciousText)}},
		{"name tagged", top(gen3(), "n", raw("\xc0\x61A")), nil},

		{"dob missing", top(gen3(), "dob", remove{}), findings{bad("dob", format.RequiredMissing)}},
		{"dob empty", top(gen3(), "dob", ""), findings{bad("dob", format.RequiredMissing)}},
		{"dob a year", top(gen3(), "dob", "1990"), findings{bad("dob", format.BadDate)}},
		{"dob a month, generation 2", top(gen2(), "dob", "1990-12"), findings{bad("dob", format.BadDate), odd("v.vle", format.BadDate)}},
		{"dob on no day", top(gen3(), "dob", "1990-02-30"), findings{bad("dob", format.BadDate)}},
		{"dob with a time", top(gen3(), "dob", "1990-12-31T00:00:00Z"), findings{bad("dob", format.BadDate)}},

		{"sex missing", top(gen3(), "s", remove{}), findings{bad("s", format.RequiredMissing)}},
		{"sex unknown", top(gen3(), "s", "unknown"), nil},
		{"sex other", top(gen3(), "s", "other"), nil},
		{"sex a letter", top(gen3(), "s", "F"), findings{odd("s", format.BadCode)}},
		{"sex with a capital", top(gen3(), "s", "Female"), findings{odd("s", format.BadCode)}},
		{"sex a letter, generation 2", top(gen2(), "s", "F"), findings{odd("v.vle", format.BadDate)}},
		{"sex missing, generation 1", top(gen1(), "s", remove{}), nil},

		{"nationality missing", top(gen3(), "nt", remove{}), findings{bad("nt", format.RequiredMissing)}},
		{"nationality of two letters", top(gen3(), "nt", "XA"), findings{bad("nt", format.BadCode)}},
		{"nationality of four letters", top(gen3(), "nt", "XAAA"), findings{bad("nt", format.BadCode)}},
		{"nationality in lower case", top(gen3(), "nt", "xaa"), findings{bad("nt", format.BadCode)}},
		{"nationality with a digit", top(gen3(), "nt", "XA1"), findings{bad("nt", format.BadCode)}},
		{"nationality in other letters", top(gen3(), "nt", "ÄA"), findings{bad("nt", format.BadCode)}},
		{"nationality under the earlier name", top(top(gen3(), "nt", remove{}), "ntl", "XAA"), findings{bad("nt", format.RequiredMissing), odd("…", format.NotCarried)}},
		{"nationality missing, generation 1", top(gen1(), "ntl", remove{}), nil},

		{"document number a number", top(gen3(), "id", 123), findings{bad("id", format.BadType)}},
		{"document number empty", top(gen3(), "id", ""), nil},
		{"document number null", top(gen3(), "id", nil), nil},
		{"template missing", top(gen3(), "v", remove{}), findings{bad("v", format.RequiredMissing)}},
		{"template to come", top(gen3(), "v", "2.0.0"), nil},
		{"template a number", top(gen3(), "v", 1), findings{bad("v", format.BadType)}},
		{"unknown elements", top(top(gen3(), "x", 1), "Jane Doe", 2), findings{odd("…", format.NotCarried), odd("…", format.NotCarried)}},
		{"unknown elements, generation 2", top(gen2(), "x", 1), findings{odd("v.vle", format.BadDate)}},

		{"dose missing", top(gen3(), "vx", remove{}), findings{bad("vx", format.RequiredMissing)}},
		{"several doses", top(gen3(), "vx", []any{object{}, object{}}), findings{bad("vx", format.SeveralDoses)}},
		{"one dose in an array", top(gen3(), "vx", []any{generation3()["vx"]}), findings{bad("vx", format.SeveralDoses)}},
		{"several doses, generation 2", top(gen2(), "v", []any{object{}}), findings{bad("v", format.SeveralDoses)}},
		{"dose a text", top(gen3(), "vx", "x"), findings{bad("vx", format.BadType)}},
		{"dose null", top(gen3(), "vx", nil), findings{bad("vx", format.BadType)}},
		{"dose null, generation 2", top(gen2(), "v", nil), findings{bad("v", format.BadType)}},
		{"dose empty", top(gen3(), "vx", object{}), findings{
			bad("vx.vp", format.RequiredMissing), bad("vx.dv", format.RequiredMissing), bad("vx.bo", format.RequiredMissing), bad("vx.cn|vx.is", format.RequiredMissing),
		}},
		{"dose empty, generation 2", top(gen2(), "v", object{}), findings{
			bad("v.vp", format.RequiredMissing), bad("v.dt", format.RequiredMissing), bad("v.bo", format.RequiredMissing),
		}},
		{"dose almost empty, generation 1", top(gen1(), "v", object{"dn": 1}), findings{
			bad("v.vp", format.RequiredMissing), bad("v.dt", format.RequiredMissing), bad("v.bo", format.RequiredMissing),
			bad("v.dn", format.BadType), bad("v.tg", format.RequiredMissing),
		}},
		{"clinician alone", dose(gen3(), "is", remove{}), nil},
		{"authority alone", dose(gen3(), "cn", remove{}), nil},
		{"neither", dose(dose(gen3(), "cn", ""), "is", nil), findings{bad("vx.cn|vx.is", format.RequiredMissing)}},
		{"neither, generation 1", dose(dose(gen1(), "cn", remove{}), "is", remove{}), nil},
		{"lot blank", dose(gen3(), "bo", "  "), findings{bad("vx.bo", format.RequiredMissing)}},
		{"date a month", dose(gen3(), "dv", "2026-04"), findings{bad("vx.dv", format.BadDate)}},
		{"date under the earlier name", dose(dose(gen3(), "dv", remove{}), "dt", "2026-04-20"), findings{bad("vx.dv", format.RequiredMissing), odd("vx.…", format.NotCarried)}},
		{"disease carried", dose(gen3(), "tg", "1D47"), findings{odd("vx.…", format.NotCarried)}},
		{"manufacturer carried", dose(gen3(), "ma", "a maker"), findings{odd("vx.…", format.NotCarried)}},
		{"valid for life, generation 2", gen2(), findings{odd("v.vle", format.BadDate)}},
		{"valid from a month, generation 1", dose(gen1(), "vls", "2024-09"), findings{odd("v.vls", format.BadDate)}},
		{"date a month, generation 1", dose(gen1(), "dt", "2024-09"), findings{bad("v.dt", format.BadDate)}},
		{"disease null, generation 1", dose(gen1(), "tg", nil), findings{bad("v.tg", format.RequiredMissing)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := Decode(parse(t, encode(nil, tt.in)))
			if diff := cmp.Diff(tt.want, findings(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnexpectedKeys: elements under keys that are not text are unknown too.
func TestUnexpectedKeys(t *testing.T) {
	in := encode(nil, generation3())
	in[0]++ // one pair more
	in = append(cbor.AppendInt(in, 1), 0)
	_, findings := Decode(parse(t, in))
	if diff := cmp.Diff([]format.Finding{odd("…", format.NotCarried)}, findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestNormalised(t *testing.T) {
	in := generation3()
	in["n"] = "Ai\u0301na Testova\u0301"
	c, findings := Decode(parse(t, encode(nil, in)))
	if findings != nil || c.Name != "Aína Testová" {
		t.Errorf("%q, %v", c.Name, findings)
	}
}

// deterministic fails unless data is in the core deterministic encoding, by
// another library's judgement.
func deterministic(t testing.TB, data []byte) {
	t.Helper()
	mode, err := fx.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := fx.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	want, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("not deterministic:\n%x\n%x", data, want)
	}
}

func TestAppend(t *testing.T) {
	bare := full3()
	bare.DocumentNumber, bare.DocumentType, bare.Guardian, bare.Dose.Clinician = "", "", "", ""
	for name, c := range map[string]*Certificate{"full": full3(), "bare": bare} {
		t.Run(name, func(t *testing.T) {
			data := Append([]byte("x"), c)[1:]
			deterministic(t, data)
			if encoded, findings := Encode(c); findings != nil || !bytes.Equal(encoded, data) {
				t.Errorf("Encode = %x, %v", encoded, findings)
			}
			again, _ := Decode(parse(t, data))
			if diff := cmp.Diff(c, again); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAppendNotCarried: what the product tells is not written, whatever the
// certificate holds from an earlier generation (REQ-DE-12, REQ-DE-16).
func TestAppendNotCarried(t *testing.T) {
	c, _ := Decode(parse(t, encode(nil, generation1())))
	data := Append(nil, c)
	for _, text := range []string{c.Dose.Disease, c.Dose.Manufacturer, c.Dose.ManufacturerID, c.Dose.ProductName, c.Dose.Number, c.Dose.ValidFrom, c.Dose.ValidUntil} {
		if text == "" || bytes.Contains(data, []byte(text)) {
			t.Errorf("%q is carried", text)
		}
	}
	v := parse(t, data)
	for _, m := range []cbor.Value{v, v.Get("vx")} {
		for _, key := range []string{"tg", "ma", "mp", "mid", "dn", "vls", "vle", "ntl", "nid", "ndt"} {
			if m.Get(key).Exists() {
				t.Errorf("%s is carried", key)
			}
		}
	}
	if n, _ := v.Get("vx").Get("vp").Text(); n != "XM0N24" {
		t.Errorf("product %q", n)
	}
}

func TestEncodeFindings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *Certificate)
		want   string
	}{
		{"empty", func(c *Certificate) { *c = Certificate{} }, "vx.bo"},
		{"no name", func(c *Certificate) { c.Name = "" }, "n"},
		{"name blank", func(c *Certificate) { c.Name = " " }, "n"},
		{"no birth date", func(c *Certificate) { c.DateOfBirth = "" }, "dob"},
		{"no lot", func(c *Certificate) { c.Dose.Lot = "" }, "vx.bo"},
		{"no template", func(c *Certificate) { c.Template = "" }, "v"},
		{"nobody responsible", func(c *Certificate) { c.Dose.Authority, c.Dose.Clinician = "", "" }, "vx.cn|vx.is"},
		{"sex by letter", func(c *Certificate) { c.Sex = "F" }, "s"},
		{"lot too long", func(c *Certificate) { c.Dose.Lot = strings.Repeat("1", 201) }, "vx.bo"},
		{"not UTF-8", func(c *Certificate) { c.Name = "\xff" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := full3()
			tt.change(c)
			_, findings := Encode(c)
			if !slices.ContainsFunc(findings, func(f format.Finding) bool { return f.Path == tt.want }) {
				t.Errorf("findings %v, want one at %q", findings, tt.want)
			}
		})
	}
}

// FuzzDecode: nothing panics; a certificate of generation 3 without a finding
// is written and read back as the same, deterministically.
func FuzzDecode(f *testing.F) {
	for _, in := range []object{generation1(), generation2(), generation3(), {}, {"v": "1.0.0", "vx": []any{}}} {
		f.Add(encode(nil, in))
	}
	f.Add(Append(nil, full3()))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			return
		}
		c, findings := Decode(v)
		for _, finding := range findings {
			if finding.Reason == "" || len(finding.Path) > 12 {
				t.Errorf("finding %+v", finding)
			}
		}
		if v.Kind() == cbor.Map && (c.Generation < 1 || c.Generation > 3) {
			t.Errorf("generation %d", c.Generation)
		}
		if c.Generation != 3 || len(findings) > 0 {
			return
		}
		written, findings := Encode(c)
		if findings != nil {
			t.Errorf("written anew: %v", findings)
		}
		deterministic(t, written)
		again, _ := Decode(parse(t, written))
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("read back (-first +again):\n%s", diff)
		}
	})
}
