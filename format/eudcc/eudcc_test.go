package eudcc

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"

	fx "github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// object is a JSON-like map that tests change before they encode it.
type object map[string]any

// raw is encoded CBOR.
type raw []byte

// encode writes objects, slices, texts, numbers and raw CBOR; keys are sorted.
func encode(dst []byte, x any) []byte {
	switch x := x.(type) {
	case nil:
		return cbor.AppendNull(dst)
	case string:
		return cbor.AppendText(dst, x)
	case int:
		return cbor.AppendInt(dst, int64(x))
	case bool, float64, uint64:
		b, err := fx.Marshal(x)
		if err != nil {
			panic(err)
		}
		return append(dst, b...)
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

func decode(t testing.TB, x any) (*Certificate, []format.Finding) {
	t.Helper()
	return Decode(parse(t, encode(nil, x)))
}

func person() object {
	return object{"fn": "Černá", "fnt": "CERNA", "gn": "Žofie", "gnt": "ZOFIE"}
}

func vaccination() object {
	return object{
		"tg": "840539006", "vp": "1119349007", "mp": "EU/1/20/1528", "ma": "ORG-100030215",
		"dn": 2, "sd": 2, "dt": "2021-06-11", "co": "XA", "is": "Ministry of Health", "ci": "URN:UVCI:01:XA:1#A",
	}
}

func test() object {
	return object{
		"tg": "840539006", "tt": "LP6464-4", "nm": "a test", "ma": "1232", "sc": "2021-06-11T12:34:56Z",
		"tr": "260415000", "tc": "Centre", "co": "XA", "is": "Ministry of Health", "ci": "URN:UVCI:01:XA:2#B",
	}
}

func recovery() object {
	return object{
		"tg": "840539006", "fr": "2021-04-21", "co": "XA", "is": "Ministry of Health",
		"df": "2021-05-01", "du": "2021-10-21", "ci": "URN:UVCI:01:XA:3#C",
	}
}

// payload is one certificate of a version; "" leaves the version out.
func payload(version, group string, entry object) object {
	p := object{"nam": person(), "dob": "1990-12-31", group: []any{entry}}
	if version != "" {
		p["ver"] = version
	}
	return p
}

var groups = map[string]func() object{"v": vaccination, "t": test, "r": recovery}

// versions are all that were published.
var versions = []string{"1.0.0", "1.0.1", "1.1.0", "1.2.0", "1.2.1", "1.3.0", "1.3.1", "1.3.2"}

func TestDecode(t *testing.T) {
	v, findings := decode(t, payload("1.3.2", "v", vaccination()))
	if findings != nil {
		t.Errorf("vaccination: %v", findings)
	}
	want := &Certificate{
		Version: "1.3.2", Name: Name{"Černá", "CERNA", "Žofie", "ZOFIE"}, DateOfBirth: "1990-12-31",
		Vaccination: &Vaccination{
			Target: "840539006", Prophylaxis: "1119349007", Product: "EU/1/20/1528", Manufacturer: "ORG-100030215",
			Dose: 2, Doses: 2, Date: "2021-06-11", Country: "XA", Issuer: "Ministry of Health", ID: "URN:UVCI:01:XA:1#A",
		},
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("vaccination (-want +got):\n%s", diff)
	}

	entry := test()
	entry["dr"] = "2021-06-11T15:00:00+02:00"
	c, findings := decode(t, payload("1.0.0", "t", entry))
	if findings != nil {
		t.Errorf("test: %v", findings)
	}
	want = &Certificate{
		Version: "1.0.0", Name: want.Name, DateOfBirth: want.DateOfBirth,
		Test: &Test{
			Target: "840539006", Type: "LP6464-4", Name: "a test", Device: "1232", SampleTime: "2021-06-11T12:34:56Z",
			ResultTime: "2021-06-11T15:00:00+02:00", Result: "260415000", Centre: "Centre", Country: "XA",
			Issuer: "Ministry of Health", ID: "URN:UVCI:01:XA:2#B",
		},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("test (-want +got):\n%s", diff)
	}

	c, findings = decode(t, payload("1.2.1", "r", recovery()))
	if findings != nil {
		t.Errorf("recovery: %v", findings)
	}
	want = &Certificate{
		Version: "1.2.1", Name: want.Name, DateOfBirth: want.DateOfBirth,
		Recovery: &Recovery{
			Target: "840539006", FirstPositive: "2021-04-21", Country: "XA", Issuer: "Ministry of Health",
			From: "2021-05-01", Until: "2021-10-21", ID: "URN:UVCI:01:XA:3#C",
		},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("recovery (-want +got):\n%s", diff)
	}
}

// bad and odd are the two kinds of finding.
func bad(path string, reason format.Defect) format.Finding {
	return format.Finding{Path: path, Reason: reason}
}

func odd(path string, reason format.Defect) format.Finding {
	return format.Finding{Path: path, Reason: reason, Tolerable: true}
}

func TestFindings(t *testing.T) {
	long := func(n int) string { return strings.Repeat("é", n) }
	in := func(m object, key string, val any) object { m[key] = val; return m }
	without := func(m object, keys ...string) object {
		for _, k := range keys {
			delete(m, k)
		}
		return m
	}
	vac := func(version, key string, val any) object { return payload(version, "v", in(vaccination(), key, val)) }
	tst := func(version, key string, val any) object { return payload(version, "t", in(test(), key, val)) }
	rec := func(version, key string, val any) object { return payload(version, "r", in(recovery(), key, val)) }
	top := func(version, key string, val any) object { return in(payload(version, "v", vaccination()), key, val) }
	nam := func(version, key string, val any) object { return top(version, "nam", in(person(), key, val)) }
	time0 := func(s string) raw { return cbor.AppendText(cbor.AppendTag(nil, 0), s) }
	type findings []format.Finding
	for _, tt := range []struct {
		name string
		in   any
		want findings
	}{
		{"not a map", []any{}, findings{bad("", format.BadType)}},
		{"null", nil, findings{bad("", format.BadType)}},
		{"empty", object{}, findings{bad("ver", format.RequiredMissing), bad("dob", format.RequiredMissing), bad("nam", format.RequiredMissing), bad("v|t|r", format.RequiredMissing)}},

		{"version missing", payload("", "v", vaccination()), findings{bad("ver", format.RequiredMissing)}},
		{"version null", top("", "ver", nil), findings{bad("ver", format.NullValue)}},
		{"version a number", top("", "ver", 1.3), findings{bad("ver", format.BadType)}},
		{"version empty", top("", "ver", ""), findings{odd("ver", format.BadValue)}},
		{"version of two numbers", top("", "ver", "1.3"), findings{odd("ver", format.BadValue)}},
		{"version of four numbers", top("", "ver", "1.3.0.0"), findings{odd("ver", format.BadValue)}},
		{"version with letters", top("", "ver", "v1.3.0"), findings{odd("ver", format.BadValue)}},
		{"version with an empty number", top("", "ver", "1..0"), findings{odd("ver", format.BadValue)}},
		{"version to come", top("", "ver", "1.4.0"), nil},
		{"version national", top("", "ver", "AT-1.0.0"), findings{odd("ver", format.BadValue)}},

		{"name missing", without(payload("1.3.0", "v", vaccination()), "nam"), findings{bad("nam", format.RequiredMissing)}},
		{"name null", top("1.3.0", "nam", nil), findings{bad("nam", format.BadType)}},
		{"name a text", top("1.3.0", "nam", "CERNA"), findings{bad("nam", format.BadType)}},
		{"name empty", top("1.3.2", "nam", object{}), findings{bad("nam.fnt", format.RequiredMissing)}},
		{"fnt alone", top("1.0.0", "nam", object{"fnt": "CERNA"}), nil},
		{"fnt empty", top("1.0.0", "nam", object{"fnt": ""}), nil},
		{"gnt alone, 1.3.0", top("1.3.0", "nam", object{"gnt": "ZOFIE"}), findings{bad("nam.fnt", format.RequiredMissing)}},
		{"gnt alone, 1.3.1", top("1.3.1", "nam", object{"gnt": "ZOFIE"}), findings{bad("nam.fnt", format.RequiredMissing)}},
		{"gnt alone, 1.3.2", top("1.3.2", "nam", object{"gnt": "ZOFIE"}), nil},
		{"gn alone, 1.3.2", top("1.3.2", "nam", object{"gn": "Žofie"}), findings{bad("nam.fnt", format.RequiredMissing)}},
		{"fn null", nam("1.3.0", "fn", nil), findings{odd("nam.fn", format.NullValue)}},
		{"fnt null", nam("1.3.0", "fnt", nil), findings{bad("nam.fnt", format.NullValue)}},
		{"gn a number", nam("1.3.0", "gn", 7), findings{bad("nam.gn", format.BadType)}},
		{"fnt with a blank", nam("1.3.0", "fnt", "CERNA BILA"), findings{odd("nam.fnt", format.BadValue)}},
		{"gnt in lower case", nam("1.3.0", "gnt", "Zofie"), findings{odd("nam.gnt", format.BadValue)}},
		{"gnt with national letters", nam("1.3.0", "gnt", "ŽOFIE"), findings{odd("nam.gnt", format.BadValue)}},
		{"fnt with digits", nam("1.3.0", "fnt", "CERNA2"), findings{odd("nam.fnt", format.BadValue)}},
		{"fnt with fillers", nam("1.3.0", "fnt", "<CERNA<<BILA<"), nil},
		{"fn of 50, 1.2.1", nam("1.2.1", "fn", long(50)), nil},
		{"fn of 51, 1.2.1", nam("1.2.1", "fn", long(51)), findings{odd("nam.fn", format.TooLong)}},
		{"fn of 80, 1.3.0", nam("1.3.0", "fn", long(80)), nil},
		{"fn of 81, 1.3.0", nam("1.3.0", "fn", long(81)), findings{odd("nam.fn", format.TooLong)}},
		{"gn turned around", nam("1.3.0", "gn", "a\u202eb"), findings{odd("nam.gn", format.SuspiciousText)}},
		{"gn long and turned around", nam("1.3.0", "gn", long(90)+"\u2066"), findings{odd("nam.gn", format.TooLong), odd("nam.gn", format.SuspiciousText)}},
		{"gn with a joiner", nam("1.3.0", "gn", "علی\u200cرضا"), nil},

		{"dob missing", without(payload("1.3.0", "v", vaccination()), "dob"), findings{bad("dob", format.RequiredMissing)}},
		{"dob null", top("1.3.0", "dob", nil), findings{bad("dob", format.NullValue)}},
		{"dob empty, 1.2.1", top("1.2.1", "dob", ""), findings{odd("dob", format.BadDate)}},
		{"dob empty, 1.3.0", top("1.3.0", "dob", ""), nil},
		{"dob a year, 1.0.1", top("1.0.1", "dob", "1990"), findings{odd("dob", format.BadDate)}},
		{"dob a month, 1.0.0", top("1.0.0", "dob", "1990-12"), findings{odd("dob", format.BadDate)}},
		{"dob a year, 1.1.0", top("1.1.0", "dob", "1990"), nil},
		{"dob a month, 1.1.0", top("1.1.0", "dob", "1990-12"), nil},
		{"dob with a time", top("1.3.0", "dob", "1990-12-31T00:00:00"), findings{odd("dob", format.BadDate)}},
		{"dob with a time on no day", top("1.3.0", "dob", "1990-02-30T00:00:00"), findings{bad("dob", format.BadDate)}},
		{"dob on no day", top("1.3.0", "dob", "1990-02-30"), findings{bad("dob", format.BadDate)}},
		{"dob in no month", top("1.3.0", "dob", "1990-13"), findings{bad("dob", format.BadDate)}},
		{"dob in another century", top("1.3.0", "dob", "1890-12-31"), findings{bad("dob", format.BadDate)}},
		{"dob in 2100", top("1.3.0", "dob", "2100"), findings{bad("dob", format.BadDate)}},
		{"dob with dots", top("1.3.0", "dob", "31.12.1990"), findings{bad("dob", format.BadDate)}},
		{"dob unknown by X", top("1.3.0", "dob", "1990-XX-XX"), findings{bad("dob", format.BadDate)}},

		{"v null beside t", in(payload("1.3.0", "t", test()), "v", nil), findings{odd("v", format.NullValue)}},
		{"v and r null, undefined", in(in(payload("1.3.0", "t", test()), "v", nil), "r", raw{0xf7}), findings{odd("v", format.NullValue), odd("r", format.NullValue)}},
		{"all null", object{"ver": "1.3.0", "nam": person(), "dob": "", "v": nil, "t": nil, "r": nil}, findings{odd("v", format.NullValue), odd("t", format.NullValue), odd("r", format.NullValue), bad("v|t|r", format.RequiredMissing)}},
		{"v empty", top("1.3.0", "v", []any{}), findings{bad("v", format.BadType), bad("v|t|r", format.RequiredMissing)}},
		{"v empty beside t", in(payload("1.3.0", "t", test()), "v", []any{}), findings{bad("v", format.BadType)}},
		{"v a map", top("1.3.0", "v", vaccination()), findings{bad("v", format.BadType), bad("v|t|r", format.RequiredMissing)}},
		{"v a text", top("1.3.0", "v", "x"), findings{bad("v", format.BadType), bad("v|t|r", format.RequiredMissing)}},
		{"entry a text", top("1.3.0", "v", []any{"x"}), findings{bad("v[0]", format.BadType)}},
		{"two vaccinations", top("1.3.0", "v", []any{vaccination(), vaccination()}), findings{bad("v|t|r", format.SeveralCertificates)}},
		{"two vaccinations, 1.0.0", top("1.0.0", "v", []any{vaccination(), vaccination()}), findings{bad("v|t|r", format.SeveralCertificates)}},
		{"vaccination and test", in(payload("1.3.0", "v", vaccination()), "t", []any{test()}), findings{bad("v|t|r", format.SeveralCertificates)}},
		{"all three", in(in(payload("1.3.0", "v", vaccination()), "t", []any{test()}), "r", []any{recovery()}), findings{bad("v|t|r", format.SeveralCertificates)}},
		{"exemption", in(without(payload("1.3.0", "v", vaccination()), "v"), "ve", []any{object{}}), findings{bad("v|t|r", format.RequiredMissing)}},

		{"v empty entry", top("1.3.0", "v", []any{object{}}), findings{
			bad("v[0].tg", format.RequiredMissing), bad("v[0].vp", format.RequiredMissing), bad("v[0].mp", format.RequiredMissing), bad("v[0].ma", format.RequiredMissing),
			bad("v[0].dn", format.RequiredMissing), bad("v[0].sd", format.RequiredMissing), bad("v[0].dt", format.RequiredMissing),
			bad("v[0].co", format.RequiredMissing), bad("v[0].is", format.RequiredMissing), bad("v[0].ci", format.RequiredMissing),
		}},
		{"t empty entry, 1.2.0", payload("1.2.0", "t", object{}), findings{
			bad("t[0].tg", format.RequiredMissing), bad("t[0].tt", format.RequiredMissing), bad("t[0].sc", format.RequiredMissing), bad("t[0].tr", format.RequiredMissing),
			bad("t[0].tc", format.RequiredMissing), bad("t[0].co", format.RequiredMissing), bad("t[0].is", format.RequiredMissing), bad("t[0].ci", format.RequiredMissing),
		}},
		{"r empty entry", payload("1.3.0", "r", object{}), findings{
			bad("r[0].tg", format.RequiredMissing), bad("r[0].fr", format.RequiredMissing), bad("r[0].co", format.RequiredMissing), bad("r[0].is", format.RequiredMissing),
			bad("r[0].df", format.RequiredMissing), bad("r[0].du", format.RequiredMissing), bad("r[0].ci", format.RequiredMissing),
		}},
		{"other members", vac("1.3.0", "x", object{"y": 1}), nil},
		{"codes of no set", in(vac("1.3.0", "mp", "anything"), "x", 0), nil},
		{"spaces around", vac("1.3.0", "mp", " EU/1/20/1528 "), nil},

		{"ma null", vac("1.3.0", "ma", nil), findings{bad("v[0].ma", format.NullValue)}},
		{"ma of a test null", tst("1.3.0", "ma", nil), findings{odd("t[0].ma", format.NullValue)}},
		{"ma of a test undefined", tst("1.3.0", "ma", raw{0xf7}), findings{odd("t[0].ma", format.NullValue)}},
		{"ma of a test empty", tst("1.3.0", "ma", ""), nil},
		{"nm a list", tst("1.3.0", "nm", []any{"x"}), findings{bad("t[0].nm", format.BadType)}},
		{"nm of 81, 1.2.1", tst("1.2.1", "nm", long(81)), nil},
		{"nm of 81, 1.3.0", tst("1.3.0", "nm", long(81)), findings{odd("t[0].nm", format.TooLong)}},
		{"tc missing, 1.2.1", payload("1.2.1", "t", without(test(), "tc")), findings{bad("t[0].tc", format.RequiredMissing)}},
		{"tc missing, 1.3.0", payload("1.3.0", "t", without(test(), "tc")), nil},
		{"tc null, 1.1.0", tst("1.1.0", "tc", nil), findings{bad("t[0].tc", format.NullValue)}},
		{"tc null, 1.3.0", tst("1.3.0", "tc", nil), findings{odd("t[0].tc", format.NullValue)}},
		{"tc of 51, 1.2.0", tst("1.2.0", "tc", long(51)), findings{odd("t[0].tc", format.TooLong)}},
		{"is of 51, 1.1.0", rec("1.1.0", "is", long(51)), findings{odd("r[0].is", format.TooLong)}},
		{"is of 80, 1.3.1", rec("1.3.1", "is", long(80)), nil},
		{"ci of 81, 1.3.2", vac("1.3.2", "ci", long(81)), findings{odd("v[0].ci", format.TooLong)}},

		{"dn a float", vac("1.3.0", "dn", 2.0), nil},
		{"dn a fraction", vac("1.3.0", "dn", 1.5), findings{bad("v[0].dn", format.BadType)}},
		{"dn NaN", vac("1.3.0", "dn", raw{0xf9, 0x7e, 0}), findings{bad("v[0].dn", format.BadType)}},
		{"dn infinite", vac("1.3.0", "dn", raw{0xf9, 0x7c, 0}), findings{bad("v[0].dn", format.BadType)}},
		{"dn a text", vac("1.3.0", "dn", "1"), findings{bad("v[0].dn", format.BadType)}},
		{"dn null", vac("1.3.0", "dn", nil), findings{bad("v[0].dn", format.BadType)}},
		{"dn zero", vac("1.3.0", "dn", 0), findings{bad("v[0].dn", format.BadValue)}},
		{"dn zero, a float", vac("1.3.0", "dn", 0.0), findings{bad("v[0].dn", format.BadValue)}},
		{"sd negative", vac("1.3.0", "sd", -1), findings{bad("v[0].sd", format.BadValue)}},
		{"sd 9, 1.2.1", vac("1.2.1", "sd", 9), nil},
		{"sd 10, 1.2.1", vac("1.2.1", "sd", 10), findings{odd("v[0].sd", format.BadValue)}},
		{"sd 10, 1.3.0", vac("1.3.0", "sd", 10), nil},
		{"sd huge", vac("1.3.0", "sd", raw{0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), findings{bad("v[0].sd", format.BadType)}},
		{"sd a huge float", vac("1.3.0", "sd", 1e300), findings{bad("v[0].sd", format.BadType)}},

		{"dt on no day", vac("1.3.0", "dt", "2021-02-29"), findings{bad("v[0].dt", format.BadDate)}},
		{"dt empty", vac("1.3.0", "dt", ""), findings{bad("v[0].dt", format.BadDate)}},
		{"dt null", vac("1.3.0", "dt", nil), findings{bad("v[0].dt", format.NullValue), bad("v[0].dt", format.BadDate)}},
		{"dt a month", vac("1.3.0", "dt", "2021-02"), findings{bad("v[0].dt", format.BadDate)}},
		{"dt with a time", vac("1.3.0", "dt", "2021-02-01T00:00:00Z"), findings{odd("v[0].dt", format.BadDate)}},
		{"dt with a blank after", vac("1.3.0", "dt", "2021-02-01 "), findings{bad("v[0].dt", format.BadDate)}},
		{"dt a number", vac("1.3.0", "dt", 20210201), findings{bad("v[0].dt", format.BadType), bad("v[0].dt", format.BadDate)}},
		{"df with a time", rec("1.3.0", "df", "2021-05-01T00:00:00+02:00"), findings{odd("r[0].df", format.BadDate)}},
		{"du reversed", rec("1.3.0", "du", "21-10-2021"), findings{bad("r[0].du", format.BadDate)}},

		{"sc tagged", tst("1.3.0", "sc", time0("2021-06-11T12:34:56Z")), nil},
		{"sc in lower case", tst("1.3.0", "sc", "2021-06-11t12:34:56z"), nil},
		{"sc with a fraction", tst("1.3.0", "sc", "2021-06-11T12:34:56.789+05:30"), nil},
		{"sc with a comma", tst("1.3.0", "sc", "2021-06-11T12:34:56,789Z"), findings{odd("t[0].sc", format.BadDate)}},
		{"sc with an hour of one digit", tst("1.3.0", "sc", "2021-06-11T2:34:56Z"), findings{odd("t[0].sc", format.BadDate)}},
		{"sc without offset", tst("1.3.0", "sc", "2021-06-11T12:34:56"), findings{odd("t[0].sc", format.BadDate)}},
		{"sc with an offset of two digits", tst("1.3.0", "sc", "2021-06-11T12:34:56+02"), findings{odd("t[0].sc", format.BadDate)}},
		{"sc with an offset without colon", tst("1.3.0", "sc", "2021-06-11T12:34:56+0200"), findings{odd("t[0].sc", format.BadDate)}},
		{"sc with a blank", tst("1.3.0", "sc", "2021-06-11 12:34:56Z"), findings{odd("t[0].sc", format.BadDate)}},
		{"sc a date", tst("1.3.0", "sc", "2021-06-11"), findings{odd("t[0].sc", format.BadDate)}},
		{"sc at 25 o'clock", tst("1.3.0", "sc", "2021-06-11T25:34:56Z"), findings{bad("t[0].sc", format.BadDate)}},
		{"sc empty", tst("1.3.0", "sc", ""), findings{bad("t[0].sc", format.BadDate)}},
		{"dr empty, 1.1.0", tst("1.1.0", "dr", ""), findings{odd("t[0].dr", format.BadDate)}},
		{"dr wrong, 1.1.0", tst("1.1.0", "dr", "later"), findings{odd("t[0].dr", format.BadDate)}},
		{"dr null, 1.0.0", tst("1.0.0", "dr", nil), findings{odd("t[0].dr", format.NullValue), odd("t[0].dr", format.BadDate)}},
		{"dr wrong, 1.2.0", tst("1.2.0", "dr", "later"), nil},
		{"dr a number, 1.2.0", tst("1.2.0", "dr", 7), nil},
		{"dr turned around, 1.3.0", tst("1.3.0", "dr", "\u202e2021"), findings{odd("t[0].dr", format.SuspiciousText)}},

		{"co empty", vac("1.3.0", "co", ""), findings{bad("v[0].co", format.BadCode)}},
		{"co in lower case", vac("1.3.0", "co", "xa"), findings{bad("v[0].co", format.BadCode)}},
		{"co of three letters", vac("1.3.0", "co", "XAA"), nil},
		{"co mixed", vac("1.3.0", "co", "1A"), nil},
		{"co null", vac("1.3.0", "co", nil), findings{bad("v[0].co", format.NullValue)}},
		{"co a number", vac("1.3.0", "co", 1), findings{bad("v[0].co", format.BadType)}},
		{"co with a control character", vac("1.3.0", "co", "XA\x00"), findings{odd("v[0].co", format.SuspiciousText)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := decode(t, tt.in)
			if diff := cmp.Diff(tt.want, findings(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnreadable: what cannot be read is empty, and the rest is read all the
// same.
func TestUnreadable(t *testing.T) {
	e := vaccination()
	e["dn"], e["mp"], e["dt"] = "two", 7, nil
	p := payload("1.3.0", "v", e)
	p["nam"] = "CERNA"
	c, findings := decode(t, p)
	want := &Certificate{Version: "1.3.0", DateOfBirth: "1990-12-31", Vaccination: &Vaccination{
		Target: "840539006", Prophylaxis: "1119349007", Manufacturer: "ORG-100030215", Doses: 2,
		Country: "XA", Issuer: "Ministry of Health", ID: "URN:UVCI:01:XA:1#A",
	}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("certificate (-want +got):\n%s", diff)
	}
	if len(findings) != 5 {
		t.Errorf("findings %v", findings)
	}
}

// TestNormalised: strings are read as if in normalisation form C.
func TestNormalised(t *testing.T) {
	p := payload("1.3.0", "t", test())
	p["nam"].(object)["fn"] = "C\u030cerna\u0301"
	p["t"].([]any)[0].(object)["tc"] = "A\u030angstro\u0308m"
	c, findings := decode(t, p)
	if findings != nil || c.Name.Surname != "Černá" || c.Test.Centre != "Ångström" {
		t.Errorf("%q, %q, %v", c.Name.Surname, c.Test.Centre, findings)
	}
	// 50 characters in form C, 100 in form D.
	p = payload("1.2.1", "t", test())
	p["nam"].(object)["fn"] = strings.Repeat("e\u0301", 50)
	if c, findings := decode(t, p); findings != nil || c.Name.Surname != strings.Repeat("é", 50) {
		t.Errorf("%q, %v", c.Name.Surname, findings)
	}
}

// full is a certificate of each group with every field set.
func full() map[string]*Certificate {
	base := Certificate{Version: LatestVersion, Name: Name{"Černá", "CERNA", "Žofie", "ZOFIE"}, DateOfBirth: "1990-12-31"}
	v, t, r := base, base, base
	v.Vaccination = &Vaccination{
		Target: "840539006", Prophylaxis: "1119349007", Product: "EU/1/20/1528", Manufacturer: "ORG-100030215",
		Dose: 3, Doses: 300, Date: "2021-06-11", Country: "XA", Issuer: "Ministry of Health", ID: "URN:UVCI:01:XA:1#A",
	}
	t.Test = &Test{
		Target: "840539006", Type: "LP6464-4", Name: "a test", Device: "1232", SampleTime: "2021-06-11T12:34:56Z",
		ResultTime: "2021-06-11T15:00:00Z", Result: "260415000", Centre: "Centre", Country: "XA",
		Issuer: "Ministry of Health", ID: "URN:UVCI:01:XA:2#B",
	}
	r.Recovery = &Recovery{
		Target: "840539006", FirstPositive: "2021-04-21", Country: "XA", Issuer: "Ministry of Health",
		From: "2021-05-01", Until: "2021-10-21", ID: "URN:UVCI:01:XA:3#C",
	}
	return map[string]*Certificate{"v": &v, "t": &t, "r": &r}
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
	for group, c := range full() {
		t.Run(group, func(t *testing.T) {
			data := Append([]byte("x"), c)[1:]
			deterministic(t, data)
			if encoded, findings := Encode(c); findings != nil || !bytes.Equal(encoded, data) {
				t.Errorf("Encode = %x, %v", encoded, findings)
			}
			again, findings := Decode(parse(t, data))
			if diff := cmp.Diff(c, again); diff != "" || findings != nil {
				t.Errorf("read back: %v\n%s", findings, diff)
			}
		})
	}
	bare := &Certificate{Version: LatestVersion, Name: Name{StandardSurname: "A"}, Test: &Test{
		Target: "1", Type: "2", SampleTime: "2021-06-11T12:34:56Z", Result: "3", Country: "XA", Issuer: "4", ID: "5",
	}}
	data := Append(nil, bare)
	deterministic(t, data)
	if _, findings := Encode(bare); findings != nil {
		t.Errorf("without optional values: %v", findings)
	}
	entry := parse(t, data).Get("t").Index(0)
	for _, key := range []string{"nm", "ma", "tc", "dr"} {
		if entry.Get(key).Exists() {
			t.Errorf("%s is there", key)
		}
	}
}

func TestEncodeFindings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(v *Certificate)
		want   string
	}{
		{"empty", func(c *Certificate) { *c = Certificate{} }, "v|t|r"},
		{"no version", func(c *Certificate) { c.Version = "" }, "ver"},
		{"no name", func(c *Certificate) { c.Name = Name{} }, "nam.fnt"},
		{"no dose", func(c *Certificate) { c.Vaccination.Dose = 0 }, "v[0].dn"},
		{"no date", func(c *Certificate) { c.Vaccination.Date = "" }, "v[0].dt"},
		{"name not transliterated", func(c *Certificate) { c.Name.StandardForename = "Žofie" }, "nam.gnt"},
		{"issuer too long", func(c *Certificate) { c.Vaccination.Issuer = strings.Repeat("a", 81) }, "v[0].is"},
		{"not UTF-8", func(c *Certificate) { c.Name.Surname = "\xff" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := full()["v"]
			tt.change(c)
			_, findings := Encode(c)
			if !slices.ContainsFunc(findings, func(f format.Finding) bool { return f.Path == tt.want }) {
				t.Errorf("findings %v, want one at %q", findings, tt.want)
			}
		})
	}
}

func TestDateTime(t *testing.T) {
	at := func(sec, nsec int64) time.Time { return time.Unix(sec, nsec) }
	for _, tt := range []struct {
		in     string
		strict bool
		want   time.Time // zero if not even ParseDateTime reads it
	}{
		{"2021-06-11T12:34:56Z", true, at(1623414896, 0)},
		{"2021-06-11T12:34:56+02:00", true, at(1623407696, 0)},
		{"2021-06-11T12:34:56-05:30", true, at(1623434696, 0)},
		{"2021-06-11T12:34:56.5Z", true, at(1623414896, 5e8)},
		{"2021-06-11T12:34:56.123456789Z", true, at(1623414896, 123456789)},
		{"2020-02-29T23:59:59-00:00", true, at(1583020799, 0)},
		{"2021-06-11T12:34:56+0200", false, at(1623407696, 0)},
		{"2021-06-11T12:34:56+02", false, at(1623407696, 0)},
		{"2021-06-11T12:34:56", false, at(1623414896, 0)},
		{"2021-06-11 12:34:56Z", false, at(1623414896, 0)},
		{"2021-06-11 12:34:56+02:00", false, at(1623407696, 0)},
		{"2021-06-11T12:34Z", false, at(1623414840, 0)},
		{"2021-06-11T12:34", false, at(1623414840, 0)},
		{"2021-06-11", false, at(1623369600, 0)},
		{"2021-06-11T2:34:56Z", false, at(1623378896, 0)},
		{"2021-06-11T12:34:56+23:59", true, at(1623328556, 0)},
		{"2021-06-11T12:34:56+24:00", false, at(1623328496, 0)},
		{"2021-06-11T12:34:56+00:60", false, at(1623411296, 0)},
		{"2021-06-11T12:34:56,5Z", false, at(1623414896, 5e8)},
		{"", false, time.Time{}},
		{"2021-02-29T12:34:56Z", false, time.Time{}},
		{"2021-06-11T24:00:00Z", false, time.Time{}},
		{"2021-06-11T12:60:00Z", false, time.Time{}},
		{"2021-06-11T12:34:56Z ", false, time.Time{}},
		{" 2021-06-11T12:34:56Z", false, time.Time{}},
		{"2021-06-11T12:34:56ZZ", false, time.Time{}},
		{"11.06.2021", false, time.Time{}},
		{"2021-06", false, time.Time{}},
		// RFC 3339 allows the leap second; no clock here knows it.
		{"2016-12-31T23:59:60Z", false, time.Time{}},
	} {
		t.Run(tt.in, func(t *testing.T) {
			if got := IsDateTime(tt.in); got != tt.strict {
				t.Errorf("IsDateTime = %v", got)
			}
			got, err := ParseDateTime(tt.in)
			if (err != nil) != tt.want.IsZero() || !got.Equal(tt.want) {
				t.Errorf("ParseDateTime = %v, %v; want %v", got, err, tt.want)
			}
			if err != nil && format.Reason(err, "") != string(format.BadDate) {
				t.Errorf("reason of %v", err)
			}
		})
	}
	if !IsDateTime("2021-06-11t12:34:56z") {
		t.Error("lower case is refused: RFC 3339 section 5.6 allows it")
	}
}

// FuzzDecode: nothing panics; what is accepted without a finding is written and
// read back as the same certificate, deterministically.
func FuzzDecode(f *testing.F) {
	for _, version := range versions {
		for group, entry := range groups {
			f.Add(encode(nil, payload(version, group, entry())))
		}
	}
	for _, c := range full() {
		f.Add(Append(nil, c))
	}
	f.Add(encode(nil, payload("1.3.0", "v", object{"dn": 2.0, "co": "", "dt": "2021-02-01T00:00:00Z"})))
	f.Add(encode(nil, object{"v": nil, "t": []any{object{}}, "nam": nil, "dob": "1990"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			return
		}
		c, findings := Decode(v)
		for _, finding := range findings {
			if finding.Reason == "" || len(finding.Path) > 10 {
				t.Errorf("finding %+v", finding)
			}
		}
		if len(findings) > 0 {
			return
		}
		written := Append(nil, c)
		deterministic(t, written)
		again, _ := Decode(parse(t, written))
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("read back (-first +again):\n%s", diff)
		}
	})
}
