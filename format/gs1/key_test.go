package gs1

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestKeys: of each key the two forms, one made from the other, both ways.
func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		urn    string
		prefix int
		link   string // after https://id.gs1.org/
	}{
		{"urn:epc:id:sgtin:9501101.053000.0007", 7, "01/09501101530003/21/0007"},
		{"urn:epc:id:sgtin:9501101.053000.a%2Fb%25!", 7, "01/09501101530003/21/a%2Fb%25%21"},
		{"urn:epc:idpat:sgtin:9501101.053000.*", 7, "01/09501101530003"},
		{"urn:epc:class:lgtin:9501101.053000.AB-123", 7, "01/09501101530003/10/AB-123"},
		{"urn:epc:class:lgtin:9501101.053000.AB.12'3", 7, "01/09501101530003/10/AB.12'3"},
		{"urn:epc:id:upui:950110153000.0.x", 12, "01/09501101530003/235/x"},
		{"urn:epc:id:sscc:950110.10000000015", 6, "00/195011000000000153"},
		{"urn:epc:id:sgln:9501101.53000.0", 7, "414/9501101530003"},
		{"urn:epc:id:sgln:9501101.53000.ward.3", 7, "414/9501101530003/254/ward.3"},
		{"urn:epc:id:pgln:950110153000.", 12, "417/9501101530003"},
		{"urn:epc:id:giai:9501101.FRIDGE-1", 7, "8004/9501101FRIDGE-1"},
		{"urn:epc:id:grai:9501101.53000.box", 7, "8003/09501101530003box"},
		{"urn:epc:idpat:grai:9501101.53000.*", 7, "8003/09501101530003"},
		{"urn:epc:id:gsrn:9501101.5300000001", 7, "8018/950110153000000014"},
		{"urn:epc:id:gsrnp:9501101.5300000001", 7, "8017/950110153000000014"},
		{"urn:epc:id:gdti:9501101.53000.form", 7, "253/9501101530003form"},
		{"urn:epc:idpat:gdti:9501101.53000.*", 7, "253/9501101530003"},
		{"urn:epc:id:sgcn:9501101.53000.77", 7, "255/950110153000377"},
		{"urn:epc:idpat:sgcn:9501101.53000.*", 7, "255/9501101530003"},
		{"urn:epc:id:cpi:9501101.A%23%2FB-1.77", 7, "8010/9501101A%23%2FB-1/8011/77"},
		{"urn:epc:idpat:cpi:9501101.A1.*", 7, "8010/9501101A1"},
		{"urn:epc:id:ginc:9501101.xyz%2F1", 7, "401/9501101xyz%2F1"},
		{"urn:epc:id:gsin:9501101.530000001", 7, "402/95011015300000010"},
		{"urn:epc:id:itip:9501101.053000.01.02.0007", 7, "8006/095011015300030102/21/0007"},
		{"urn:epc:idpat:itip:9501101.053000.01.02.*", 7, "8006/095011015300030102"},
	} {
		t.Run(tt.urn, func(t *testing.T) {
			u, err := ParseURN(tt.urn)
			if err != nil {
				t.Fatal(err)
			}
			if u.Prefix != tt.prefix || u.Loose || u.Class == strings.HasPrefix(tt.urn, "urn:epc:id:") {
				t.Errorf("%+v", u)
			}
			if got := u.Key.DigitalLink(); got != "https://id.gs1.org/"+tt.link {
				t.Errorf("%s, want %s", got, tt.link)
			}
			d, err := ParseDigitalLink("https://id.gs1.org/" + tt.link)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := d.Key.URN(tt.prefix); err != nil || back != tt.urn || !d.Key.Equal(u.Key) {
				t.Errorf("%s: %v", back, err)
			}
		})
	}
}

func TestParseURNRefuses(t *testing.T) {
	for urn, want := range map[string]error{
		"":                                                      ErrURN,
		"urn:epc:tag:sgtin-96:1.2":                              ErrURN,
		"urn:epc:id:gid:1.2.3":                                  ErrScheme,
		"urn:epc:id:bic:CSQU305438":                             ErrScheme,
		"urn:epc:id:lgtin:9501101.053000.1":                     ErrScheme,
		"urn:epc:class:sgtin:9501101.053000.1":                  ErrScheme,
		"urn:epc:idpat:sscc:9501101.1000000001":                 ErrScheme,
		"urn:epc:id:sgtin:9501101.053000":                       ErrURN,
		"urn:epc:id:sgtin:9501101.053000.*":                     ErrURN,
		"urn:epc:idpat:sgtin:9501101.053000.1":                  ErrURN,
		"urn:epc:idpat:sgtin:9501101.*.*":                       ErrLength,
		"urn:epc:id:sgtin:9501101.053000.":                      ErrLength,
		"urn:epc:id:sgtin:9501101.05300.1":                      ErrLength,
		"urn:epc:id:sgtin:95011.05300000.1":                     ErrPrefix,
		"urn:epc:id:sgtin:950110A.053000.1":                     ErrPrefix,
		"urn:epc:id:sgtin:9501101.05300A.1":                     ErrLength,
		"urn:epc:id:sgtin:9501101.053000.123456789012345678901": ErrLength,
		"urn:epc:id:sgtin:9501101.053000.a b":                   ErrCharacter,
		"urn:epc:id:sgtin:9501101.053000.a%20b":                 ErrCharacter,
		"urn:epc:id:giai:9501101.":                              ErrLength,
		"urn:epc:id:cpi:9501101.a.1":                            ErrCharacter,
		"urn:epc:id:itip:9501101.053000.1.2.7":                  ErrLength,
		"urn:epc:id:sgtin:" + strings.Repeat("9", MaxURI):       ErrTooLong,
	} {
		if _, err := ParseURN(urn); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, want %v", urn, err, want)
		}
	}
	if u, err := ParseURN("urn:epc:id:sgtin:9501101.053000.a/b%"); err != nil || !u.Loose || u.Key.Qualifiers.Get("21") != "a/b%" {
		t.Errorf("%+v: %v", u, err)
	}
}

func TestURNRefuses(t *testing.T) {
	for link, want := range map[string]error{
		"01/09501101530003/22/2A":             ErrNoURN,
		"01/09501101530003/10/A/21/1":         ErrNoURN,
		"01/09501101530003/21/%2A":            ErrNoURN, // one star, a pattern to whoever reads it
		"414/9501101530003/254/0":             ErrNoURN, // the word for no extension
		"8017/950110153000000014/8019/1":      ErrNoURN,
		"8013/1987654Ad4X4bL5ttr2310c2K":      ErrNoURN,
		"8004/9501A":                          ErrPrefix,
		"https://id.gs1.org/no/such/key/here": ErrNoKey,
	} {
		d, err := ParseDigitalLink("https://id.gs1.org/" + link)
		if err == nil {
			_, err = d.Key.URN(7)
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", link, err, want)
		}
	}
	k, _ := NewKey("01", "09501101530003")
	for _, n := range []int{-1, 0, 5, 13, 100} {
		if s, err := k.URN(n); !errors.Is(err, ErrPrefix) {
			t.Errorf("%d: %s: %v", n, s, err)
		}
	}
}

func TestNewKey(t *testing.T) {
	lot, serial := Element{"10", "A"}, Element{"21", "1"}
	k, err := NewKey("01", "9501101530003", serial, lot)
	if err != nil || k.String() != "(01)09501101530003(10)A(21)1" {
		t.Errorf("%s: %v", k, err)
	}
	for _, tt := range []struct {
		ai, value  string
		qualifiers []Element
		err        error
	}{
		{"10", "A", nil, ErrNoKey},
		{"", "", nil, ErrNoKey},
		{"01", "950110153000", nil, ErrCheckDigit},
		{"01", "950110153", nil, ErrLength},
		{"01", "09501101530003", []Element{{"17", "290331"}}, ErrQualifier},
		{"01", "09501101530003", []Element{lot, lot}, ErrQualifier},
		{"01", "09501101530003", []Element{lot, {"235", "x"}}, ErrQualifier},
		{"01", "09501101530003", []Element{{"10", ""}}, ErrLength},
		{"414", "9501101530003", []Element{{"254", "a"}, {"7040", "1ABC"}}, ErrQualifier},
	} {
		if k, err := NewKey(tt.ai, tt.value, tt.qualifiers...); !errors.Is(err, tt.err) || err == nil {
			t.Errorf("%s %v: %s: %v, want %v", tt.ai, tt.qualifiers, k, err, tt.err)
		}
	}
	for in, want := range map[string]GTIN{"09501101530003": "09501101530003", "9501101530003": "09501101530003", "96385074": "00000096385074", "614141000036": "00614141000036"} {
		if got, err := ParseGTIN(in); err != nil || got != want {
			t.Errorf("%s is %s: %v", in, got, err)
		}
	}
	for link, want := range map[string]GTIN{"01/09501101530003/10/A": "09501101530003", "8006/095011015300030102": "09501101530003", "414/9501101530003": ""} {
		if d, err := ParseDigitalLink("https://id.gs1.org/" + link); err != nil || d.Key.GTIN() != want {
			t.Errorf("%s is of %s: %v", link, d.Key.GTIN(), err)
		}
	}
	if _, err := ParseSSCC("195011000000000158"); !errors.Is(err, ErrCheckDigit) {
		t.Error(err)
	}
	if g, err := ParseGLN("9501101530003"); err != nil || g != "9501101530003" {
		t.Error(g, err)
	}
}

// TestFinest: what the hash of an event keeps of a key.
func TestFinest(t *testing.T) {
	for link, want := range map[string]string{
		"01/09501101530003/22/2A/10/A/21/1": "01/09501101530003/21/1",
		"01/09501101530003/22/2A/10/A":      "01/09501101530003/10/A",
		"01/09501101530003/22/2A":           "01/09501101530003",
		"01/09501101530003/235/x":           "01/09501101530003/235/x",
		"414/9501101530003/254/a":           "414/9501101530003/254/a",
		"414/9501101530003/7040/1ABC":       "414/9501101530003",
		"8010/9501101A1/8011/77":            "8010/9501101A1/8011/77",
	} {
		d, err := ParseDigitalLink("https://example.org/x/" + link + "?linkType=all")
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Key.Finest().DigitalLink(); got != "https://id.gs1.org/"+want {
			t.Errorf("%s: %s", link, got)
		}
	}
}

func TestPrefixes(t *testing.T) {
	table := Prefixes{"950": 7, "9501101": 9, "614": 0}
	for link, want := range map[string]int{
		"01/09501101530003":     9,
		"00/195020000000000014": 7,
		"414/9501101530003":     9,
		"8003/09501101530003":   9,
		"01/00614141000036":     0,
		"417/4012345000009":     0,
	} {
		d, err := ParseDigitalLink("https://id.gs1.org/" + link)
		if err != nil {
			t.Fatal(link, err)
		}
		if got, ok := table.Length(d.Key); got != want || ok != (want > 0) {
			t.Errorf("%s: %d, want %d", link, got, want)
		}
	}
}

func TestDate(t *testing.T) {
	for _, tt := range []struct {
		in   string
		year int
		want string
	}{
		{"290331", 2026, "2029-03-31"},
		{"290200", 2026, "2029-02-28"},
		{"280200", 2026, "2028-02-29"},
		{"280400", 2026, "2028-04-30"},
		{"760101", 2026, "2076-01-01"}, // 50 years on
		{"770101", 2026, "1977-01-01"}, // 51 years on is 49 back
		{"490101", 1999, "2049-01-01"}, // 50 years on
		{"500101", 1999, "1950-01-01"},
		{"000229", 2026, "2000-02-29"},
		{"000229", 2090, ""}, // of 2100, which has none
		{"291301", 2026, ""},
		{"290230", 2026, ""},
		{"29033", 2026, ""},
		{"29033A", 2026, ""},
	} {
		got, err := Date(tt.in, tt.year)
		if got != tt.want || (tt.want == "") != errors.Is(err, ErrDate) {
			t.Errorf("%s in %d: %s, want %s: %v", tt.in, tt.year, got, tt.want, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]error{
		"(01)09501101530003(17)290331(10)A(21)1":         nil,
		"(00)195011000000000153(02)09501101530003(37)24": nil,
		"(10)A":                                            ErrRequired,
		"(17)290331":                                       ErrRequired,
		"(02)09501101530003(37)24":                         ErrRequired, // 37 asks for the SSCC
		"(01)09501101530003(21)1(235)x":                    ErrExclusive,
		"(01)09501101530003(255)9501101530003":             ErrExclusive,
		"(01)09501101530003(3100)000001(3103)000001":       ErrExclusive,
		"(8017)950110153000000014(8018)950110153000000014": ErrExclusive,
		"(01)09501101530003(3922)100":                      ErrRequired,
		"(01)09501101530003(3922)100(3103)000001":          nil,         // 31nn
		"(01)09501101530003(250)x":                         ErrRequired, // 01+21
	} {
		es, err := ParseElements(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if err := es.Check(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	if err := (Elements{{"01", "09501101530003"}, {"01", "96385074"}}).Check(); !errors.Is(err, ErrRepeated) {
		t.Error(err)
	}
	if err := (Elements{{"05", ""}}).Check(); !errors.Is(err, ErrUnknownAI) {
		t.Error(err)
	}
}

// TestTable: every row can be read, its linters exist, and its first two digits tell
// how long the code is.
func TestTable(t *testing.T) {
	all := AIs()
	if len(all) < 500 {
		t.Fatalf("%d AIs", len(all))
	}
	for _, ai := range all {
		if codeLength(ai.Code) != len(ai.Code) || len(ai.parts) == 0 || ai.longest == 0 || ai.Title == "" && ai.Code != "8110" && ai.Code != "8112" {
			t.Errorf("%s", ai)
		}
		for i, p := range ai.parts {
			if p.min < 1 || p.max < p.min || p.max > 90 || !strings.ContainsRune("NXYZ", rune(p.set)) || p.min < p.max && i+1 < len(ai.parts) {
				t.Errorf("%s: %s", ai, p)
			}
			for _, name := range p.linters {
				if linters[name] == nil {
					t.Errorf("%s: no %s", ai, name)
				}
			}
		}
		for _, group := range append(ai.required, ai.Qualifiers...) {
			for _, code := range group {
				if _, ok := Lookup(strings.ReplaceAll(code, "n", "0")); !ok {
					t.Errorf("%s names %s", ai, code)
				}
			}
		}
	}
}

// anyElement draws an element string that its AI allows, by trying.
func anyElement(t *rapid.T, ai *AI) Element {
	alphabets := map[byte]string{'N': "0123456789", 'X': "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz", 'Y': "#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 'Z': "-0123456789ABCXYZ_abcxyz"}
	value := ""
	for _, p := range ai.parts {
		if p.optional && rapid.Bool().Draw(t, "left out") {
			break
		}
		n := rapid.IntRange(p.min, p.max).Draw(t, "length")
		value += rapid.StringOfN(rapid.RuneFrom([]rune(alphabets[p.set])), n, n, -1).Draw(t, "value")
	}
	return Element{ai.Code, value}
}

// TestAnyLink: whatever is in a link, it is read as it was written: plain, compressed
// and half compressed, as element strings of a symbol and as people read them.
func TestAnyLink(t *testing.T) {
	// Those whose values may be anything that their format allows, so that drawn ones
	// are mostly sound.
	var free []*AI
	for _, ai := range AIs() {
		sound := ai.Attribute && !ai.Primary
		for _, p := range ai.parts {
			sound = sound && len(p.linters) == 0
		}
		if sound {
			free = append(free, ai)
		}
	}
	if len(free) < 300 {
		t.Fatalf("only %d", len(free))
	}
	keys := []string{
		"01/09501101530003", "00/195011000000000153", "414/9501101530003", "8003/09501101530003", "8004/9501101FRIDGE-1", "253/9501101530003form", "255/9501101530003",
		"255/950110153000377", "8010/9501101A%2F1", "8006/095011015300030102", "8018/950110153000000014", "401/9501101xyz", "8013/1987654Ad4X4bL5ttr2310c2K",
	}
	text := rapid.StringMatching(`[!"%&'()*+,./0-9:;<=>?A-Z_a-z-]{1,10}`)
	rapid.Check(t, func(t *rapid.T) {
		d, err := ParseDigitalLink("https://example.org/" + rapid.SampledFrom([]string{"", "a/", "a/b.c/"}).Draw(t, "stem") + rapid.SampledFrom(keys).Draw(t, "key"))
		if err != nil {
			t.Fatal(err)
		}
		def, _ := Lookup(d.Key.AI)
		if len(def.Qualifiers) > 0 {
			var qualifiers []Element
			for _, code := range rapid.SampledFrom(def.Qualifiers).Draw(t, "sequence") {
				if ai, _ := Lookup(code); rapid.Bool().Draw(t, code) && code != "7040" {
					qualifiers = append(qualifiers, anyElement(t, ai))
				}
			}
			if d.Key, err = NewKey(d.Key.AI, d.Key.Value, qualifiers...); err != nil && !errors.Is(err, ErrValue) {
				t.Fatal(err)
			} else if err != nil {
				t.Skip()
			}
		}
		for range rapid.IntRange(0, 4).Draw(t, "attributes") {
			e := anyElement(t, rapid.SampledFrom(free).Draw(t, "ai"))
			if d.Elements().Get(e.AI) == "" {
				d.Attributes = append(d.Attributes, e)
			}
		}
		if rapid.Bool().Draw(t, "other") {
			d.Other = []Parameter{{"linkType", string(escape(nil, text.Draw(t, "other"), keptInOther))}, {"a:b", "c"}}
		}
		for _, symbol := range []string{d.Elements().Symbol(FNC1), d.Elements().Symbol('^'), d.Elements().String()} {
			es, err := ParseElements(symbol)
			if err != nil || !slices.Equal(es, d.Elements()) {
				t.Fatalf("%q is %s, want %s: %v", symbol, es, d.Elements(), err)
			}
			// Of a symbol nobody can tell whether a lot stood in the path or in the query.
			if link, err := NewDigitalLink(es, d.Key.AI); err != nil || len(link.Elements()) != len(es) || link.Key.Value != d.Key.Value {
				t.Fatalf("%s, want %s: %v", link, d, err)
			}
		}
		for _, got := range []func() (DigitalLink, error){
			func() (DigitalLink, error) { return ParseDigitalLink(d.String()) },
			func() (DigitalLink, error) { return Decompress(d.Compress()) },
			func() (DigitalLink, error) {
				if s := d.CompressPartly(); s != d.String() {
					return Decompress(s)
				}
				return d, nil
			},
		} {
			again, err := got()
			if err != nil {
				t.Fatalf("%s: %v", d, err)
			}
			if again.Canonical() != d.Canonical() || again.Stem != d.Stem || !again.Key.Equal(d.Key) || len(again.Other) != len(d.Other) {
				t.Fatalf("%s, want %s", again, d)
			}
			for _, p := range d.Other {
				found := false
				for _, q := range again.Other {
					found = found || q == p
				}
				if !found {
					t.Fatalf("%v, want %v", again.Other, d.Other)
				}
			}
		}
	})
}
