package gs1

import (
	"strconv"
	"strings"
	"sync"
)

// An AI is an Application Identifier, as section 3 of the General Specifications
// defines it; the table is of July 2026.
type AI struct {
	Code  string
	Title string
	// Predefined: it ends by its length, and no FNC1 follows it (section 7.8).
	Predefined bool
	// Attribute: it may stand in the query of a Digital Link.
	Attribute bool
	// Primary: it is a primary key of a Digital Link. Qualifiers are the sequences of
	// AIs that may follow it in the path, in this order, any of them left out.
	Primary    bool
	Qualifiers [][]string

	parts     []part
	required  [][]string // one of these groups of AIs must be there whole
	exclusive []string   // none of these AIs may be there
	longest   int
}

// part is a component of a value.
type part struct {
	set      byte // N digits, X set 82, Y set 39, Z set 64
	min, max int
	optional bool
	linters  []string
}

// Lookup returns the AI of a code of two to four digits.
func Lookup(code string) (*AI, bool) {
	if n := index(code); n >= 0 {
		ai := table()[n]
		return ai, ai != nil
	}
	return nil, false
}

// AIs returns every AI, by code.
func AIs() []*AI {
	var all []*AI
	for _, r := range rows {
		for i := range r.n {
			ai, _ := Lookup(plus(r.code, i))
			all = append(all, ai)
		}
	}
	return all
}

// String is the whole definition, in the notation of GS1's syntax dictionary:
// "414 *? N13,csum,gcppos1 dlpkey=254|7040 # LOC No.".
func (ai *AI) String() string {
	words := []string{ai.Code}
	flags := ""
	if ai.Predefined {
		flags += "*"
	}
	if ai.Attribute {
		flags += "?"
	}
	if flags != "" {
		words = append(words, flags)
	}
	for _, p := range ai.parts {
		words = append(words, strings.Join(append([]string{p.String()}, p.linters...), ","))
	}
	join := func(key string, groups [][]string, inner, outer string) {
		var all []string
		for _, group := range groups {
			all = append(all, strings.Join(group, inner))
		}
		if len(all) > 0 {
			words = append(words, key+"="+strings.Join(all, outer))
		}
	}
	join("req", ai.required, "+", ",")
	if len(ai.exclusive) > 0 {
		words = append(words, "ex="+strings.Join(ai.exclusive, ","))
	}
	if ai.Primary && len(ai.Qualifiers) == 0 {
		words = append(words, "dlpkey")
	}
	join("dlpkey", ai.Qualifiers, ",", "|")
	return strings.Join(append(words, "#", ai.Title), " ")
}

func (p part) String() string {
	s := string(p.set)
	if p.min != p.max {
		s += ".."
	}
	s += strconv.Itoa(p.max)
	if p.optional {
		return "[" + s + "]"
	}
	return s
}

// index numbers the codes of two, three and four digits, each apart from the others:
// 23 and 023 are different. It is negative where s is no such code.
func index(s string) int {
	base := 0
	switch len(s) {
	case 2:
	case 3:
		base = 100
	case 4:
		base = 1100
	default:
		return -1
	}
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return -1
		}
		n = 10*n + int(c)
	}
	return base + n
}

func plus(code string, i int) string {
	n, _ := strconv.Atoi(code)
	s := strconv.Itoa(n + i)
	return strings.Repeat("0", len(code)-len(s)) + s
}

// codeLength returns how many digits the AIs have whose first two are these; the
// General Specifications give AIs so that those tell (section 7.8). Zero: no AI
// begins so.
func codeLength(s string) int {
	if len(s) < 2 || s[0]-'0' > 9 || s[1]-'0' > 9 {
		return 0
	}
	return lengths()[10*(s[0]-'0')+s[1]-'0']
}

// table is the AIs by their index.
var table = sync.OnceValue(func() []*AI {
	all := make([]*AI, 11100)
	for _, r := range rows {
		for i := range r.n {
			ai := r.ai(plus(r.code, i))
			all[index(ai.Code)] = ai
		}
	}
	return all
})

var lengths = sync.OnceValue(func() (by [100]int) {
	for _, r := range rows {
		for i := range r.n {
			code := plus(r.code, i)
			n, _ := strconv.Atoi(code[:2])
			by[n] = len(code)
		}
	}
	return by
})

// ai spells a row out. The rows are ours, so a mistake in one is a mistake in the
// program; a test reads them all.
func (r row) ai(code string) *AI {
	ai := &AI{
		Code: code, Title: r.title,
		Predefined: r.flags&predefined != 0, Attribute: r.flags&attribute != 0, Primary: r.flags&primary != 0,
		exclusive: split(r.exclusive, ","),
	}
	for _, s := range strings.Fields(r.parts) {
		names := strings.Split(s, ",")
		var p part
		s, p.optional = strings.CutPrefix(names[0], "[")
		s = strings.TrimSuffix(s, "]")
		p.set, p.linters, p.min = s[0], names[1:], 1
		digits, variable := strings.CutPrefix(s[1:], "..")
		p.max, _ = strconv.Atoi(digits)
		if !variable {
			p.min = p.max
		}
		ai.parts = append(ai.parts, p)
		ai.longest += p.max
	}
	for _, group := range split(r.required, ",") {
		ai.required = append(ai.required, split(group, "+"))
	}
	for _, sequence := range split(r.qualifiers, "|") {
		ai.Qualifiers = append(ai.Qualifiers, split(sequence, ","))
	}
	return ai
}

func split(s, sep string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, sep)
}

const (
	predefined = 1 << iota
	attribute
	primary
)

// row is one AI, or several that follow each other and differ in nothing but the last
// digits: of weights and amounts, where the decimal point stands.
//
// parts have, after the format, what the component must be besides (lint.go);
// brackets stand around those that may be left out. required has groups of AIs, one of
// which must be there whole: "01+21,02" is 01 and 21, or 02; an n stands for any digit.
// exclusive has those that must not. qualifiers has the sequences of key qualifiers,
// with a bar between alternatives.
type row struct {
	code                            string
	n                               int
	parts                           string
	flags                           uint8
	required, exclusive, qualifiers string
	title                           string
}

var rows = []row{
	{"00", 1, "N18,csum,gcppos2", predefined | attribute | primary, "", "", "", "SSCC"},
	{"01", 1, "N14,csum,gcppos2", predefined | attribute | primary, "", "255,37", "22,10,21|235", "GTIN"},
	{"02", 1, "N14,csum,gcppos2", predefined | attribute, "37", "01,03", "", "CONTENT"},
	{"03", 1, "N14,csum,gcppos2", predefined, "", "01,02,37,235", "", "MTO GTIN"},
	{"10", 1, "X..20", attribute, "01,02,03,8006,8026", "", "", "BATCH/LOT"},
	{"11", 1, "N6,yymmd0", predefined | attribute, "01,02,03,8006,8026", "", "", "PROD DATE"},
	{"12", 1, "N6,yymmd0", predefined | attribute, "8020", "", "", "DUE DATE"},
	{"13", 1, "N6,yymmd0", predefined | attribute, "01,02,03,8006,8026", "", "", "PACK DATE"},
	{"15", 1, "N6,yymmd0", predefined | attribute, "01,02,03,8006,8026", "", "", "BEST BEFORE or BEST BY"},
	{"16", 1, "N6,yymmd0", predefined | attribute, "01,02,03,8006,8026", "", "", "SELL BY"},
	{"17", 1, "N6,yymmd0", predefined | attribute, "01,02,03,255,8006,8026", "", "", "USE BY or EXPIRY"},
	{"20", 1, "N2", predefined | attribute, "01,02,03,8006,8026", "", "", "VARIANT"},
	{"21", 1, "X..20", 0, "01,03,8006", "235", "", "SERIAL"},
	{"22", 1, "X..20", 0, "01", "", "", "CPV"},
	{"235", 1, "X..28", 0, "01", "", "", "TPX"},
	{"240", 1, "X..30", attribute, "01,02,03,8006,8026", "", "", "ADDITIONAL ID"},
	{"241", 1, "X..30", attribute, "01,02,03,8006,8026", "", "", "CUST. PART No."},
	{"242", 1, "N..6", attribute, "01,02,8006,8026", "", "", "MTO VARIANT"},
	{"243", 1, "X..20", attribute, "01,03", "", "", "PCN"},
	{"250", 1, "X..30", attribute, "01+21,03+21,8006+21", "", "", "SECONDARY SERIAL"},
	{"251", 1, "X..30", attribute, "01,03,8006", "", "", "REF. TO SOURCE"},
	{"253", 1, "N13,csum,gcppos1 [X..17]", attribute | primary, "", "", "", "GDTI"},
	{"254", 1, "X..20", 0, "414", "", "", "GLN EXTENSION COMPONENT"},
	{"255", 1, "N13,csum,gcppos1 [N..12]", attribute | primary, "", "01,02,415,8006,8020,8026", "", "GCN"},
	{"30", 1, "N..8", attribute, "01,02", "", "", "VAR. COUNT"},
	{"3100", 6, "N6", predefined | attribute, "01,02", "310n", "", "NET WEIGHT (kg)"},
	{"3110", 6, "N6", predefined | attribute, "01,02", "311n", "", "LENGTH (m)"},
	{"3120", 6, "N6", predefined | attribute, "01,02", "312n", "", "WIDTH (m)"},
	{"3130", 6, "N6", predefined | attribute, "01,02", "313n", "", "HEIGHT (m)"},
	{"3140", 6, "N6", predefined | attribute, "01,02", "314n", "", "AREA (m²)"},
	{"3150", 6, "N6", predefined | attribute, "01,02", "315n", "", "NET VOLUME (l)"},
	{"3160", 6, "N6", predefined | attribute, "01,02", "316n", "", "NET VOLUME (m³)"},
	{"3200", 6, "N6", predefined | attribute, "01,02", "320n", "", "NET WEIGHT (lb)"},
	{"3210", 6, "N6", predefined | attribute, "01,02", "321n", "", "LENGTH (in)"},
	{"3220", 6, "N6", predefined | attribute, "01,02", "322n", "", "LENGTH (ft)"},
	{"3230", 6, "N6", predefined | attribute, "01,02", "323n", "", "LENGTH (yd)"},
	{"3240", 6, "N6", predefined | attribute, "01,02", "324n", "", "WIDTH (in)"},
	{"3250", 6, "N6", predefined | attribute, "01,02", "325n", "", "WIDTH (ft)"},
	{"3260", 6, "N6", predefined | attribute, "01,02", "326n", "", "WIDTH (yd)"},
	{"3270", 6, "N6", predefined | attribute, "01,02", "327n", "", "HEIGHT (in)"},
	{"3280", 6, "N6", predefined | attribute, "01,02", "328n", "", "HEIGHT (ft)"},
	{"3290", 6, "N6", predefined | attribute, "01,02", "329n", "", "HEIGHT (yd)"},
	{"3300", 6, "N6", predefined | attribute, "00,01", "330n", "", "GROSS WEIGHT (kg)"},
	{"3310", 6, "N6", predefined | attribute, "00,01", "331n", "", "LENGTH (m), log"},
	{"3320", 6, "N6", predefined | attribute, "00,01", "332n", "", "WIDTH (m), log"},
	{"3330", 6, "N6", predefined | attribute, "00,01", "333n", "", "HEIGHT (m), log"},
	{"3340", 6, "N6", predefined | attribute, "00,01", "334n", "", "AREA (m²), log"},
	{"3350", 6, "N6", predefined | attribute, "00,01", "335n", "", "VOLUME (l), log"},
	{"3360", 6, "N6", predefined | attribute, "00,01", "336n", "", "VOLUME (m³), log"},
	{"3370", 6, "N6", predefined | attribute, "01", "337n", "", "KG PER m²"},
	{"3400", 6, "N6", predefined | attribute, "00,01", "340n", "", "GROSS WEIGHT (lb)"},
	{"3410", 6, "N6", predefined | attribute, "00,01", "341n", "", "LENGTH (in), log"},
	{"3420", 6, "N6", predefined | attribute, "00,01", "342n", "", "LENGTH (ft), log"},
	{"3430", 6, "N6", predefined | attribute, "00,01", "343n", "", "LENGTH (yd), log"},
	{"3440", 6, "N6", predefined | attribute, "00,01", "344n", "", "WIDTH (in), log"},
	{"3450", 6, "N6", predefined | attribute, "00,01", "345n", "", "WIDTH (ft), log"},
	{"3460", 6, "N6", predefined | attribute, "00,01", "346n", "", "WIDTH (yd), log"},
	{"3470", 6, "N6", predefined | attribute, "00,01", "347n", "", "HEIGHT (in), log"},
	{"3480", 6, "N6", predefined | attribute, "00,01", "348n", "", "HEIGHT (ft), log"},
	{"3490", 6, "N6", predefined | attribute, "00,01", "349n", "", "HEIGHT (yd), log"},
	{"3500", 6, "N6", predefined | attribute, "01,02", "350n", "", "AREA (in²)"},
	{"3510", 6, "N6", predefined | attribute, "01,02", "351n", "", "AREA (ft²)"},
	{"3520", 6, "N6", predefined | attribute, "01,02", "352n", "", "AREA (yd²)"},
	{"3530", 6, "N6", predefined | attribute, "00,01", "353n", "", "AREA (in²), log"},
	{"3540", 6, "N6", predefined | attribute, "00,01", "354n", "", "AREA (ft²), log"},
	{"3550", 6, "N6", predefined | attribute, "00,01", "355n", "", "AREA (yd²), log"},
	{"3560", 6, "N6", predefined | attribute, "01,02", "356n", "", "NET WEIGHT (tr oz)"},
	{"3570", 6, "N6", predefined | attribute, "01,02", "357n", "", "NET VOLUME (oz)"},
	{"3600", 6, "N6", predefined | attribute, "01,02", "360n", "", "NET VOLUME (qt (US))"},
	{"3610", 6, "N6", predefined | attribute, "01,02", "361n", "", "NET VOLUME (gal.)"},
	{"3620", 6, "N6", predefined | attribute, "00,01", "362n", "", "VOLUME (qt (US)), log"},
	{"3630", 6, "N6", predefined | attribute, "00,01", "363n", "", "VOLUME (gal (US)), log"},
	{"3640", 6, "N6", predefined | attribute, "01,02", "364n", "", "NET VOLUME (in³)"},
	{"3650", 6, "N6", predefined | attribute, "01,02", "365n", "", "NET VOLUME (ft³)"},
	{"3660", 6, "N6", predefined | attribute, "01,02", "366n", "", "NET VOLUME (yd³)"},
	{"3670", 6, "N6", predefined | attribute, "00,01", "367n", "", "VOLUME (in³), log"},
	{"3680", 6, "N6", predefined | attribute, "00,01", "368n", "", "VOLUME (ft³), log"},
	{"3690", 6, "N6", predefined | attribute, "00,01", "369n", "", "VOLUME (yd³), log"},
	{"37", 1, "N..8", attribute, "00+02,00+8026", "", "", "COUNT"},
	{"3900", 10, "N..15", attribute, "255,8020", "390n,391n,394n,8111", "", "AMOUNT"},
	{"3910", 10, "N3,iso4217 N..15", attribute, "8020", "391n", "", "AMOUNT"},
	{"3920", 10, "N..15", attribute, "01+30,01+31nn,01+32nn,01+35nn,01+36nn", "392n,393n", "", "PRICE"},
	{"3930", 10, "N3,iso4217 N..15", attribute, "30,31nn,32nn,35nn,36nn", "393n", "", "PRICE"},
	{"3940", 4, "N4", attribute, "255", "394n,8111", "", "PRCNT OFF"},
	{"3950", 6, "N6", attribute, "30,31nn,32nn,35nn,36nn", "392n,393n,395n,8005", "", "PRICE/UoM"},
	{"400", 1, "X..30", attribute, "", "", "", "ORDER NUMBER"},
	{"401", 1, "X..30,gcppos1", attribute | primary, "", "", "", "GINC"},
	{"402", 1, "N17,csum,gcppos1", attribute | primary, "", "", "", "GSIN"},
	{"403", 1, "X..30", attribute, "00", "", "", "ROUTE"},
	{"410", 1, "N13,csum,gcppos1", predefined | attribute, "", "", "", "SHIP TO LOC"},
	{"411", 1, "N13,csum,gcppos1", predefined | attribute, "", "", "", "BILL TO"},
	{"412", 1, "N13,csum,gcppos1", predefined | attribute, "", "", "", "PURCHASE FROM"},
	{"413", 1, "N13,csum,gcppos1", predefined | attribute, "", "", "", "SHIP FOR LOC"},
	{"414", 1, "N13,csum,gcppos1", predefined | attribute | primary, "", "", "254|7040", "LOC No."},
	{"415", 1, "N13,csum,gcppos1", predefined | attribute | primary, "8020", "", "8020", "PAY TO"},
	{"416", 1, "N13,csum,gcppos1", predefined | attribute, "", "", "", "PROD/SERV LOC"},
	{"417", 1, "N13,csum,gcppos1", predefined | attribute | primary, "", "", "7040", "PARTY"},
	{"420", 1, "X..20", attribute, "", "421", "", "SHIP TO POST"},
	{"421", 1, "N3,iso3166 X..9", attribute, "", "4307", "", "SHIP TO POST"},
	{"422", 1, "N3,iso3166", attribute, "01,02,03,8006,8026", "426", "", "ORIGIN"},
	{"423", 1, "N3,iso3166 [N3],iso3166 [N3],iso3166 [N3],iso3166 [N3],iso3166", attribute, "01,02,03", "426", "", "COUNTRY - INITIAL PROCESS"},
	{"424", 1, "N3,iso3166", attribute, "01,02,03", "426", "", "COUNTRY - PROCESS"},
	{"425", 1, "N3,iso3166 [N3],iso3166 [N3],iso3166 [N3],iso3166 [N3],iso3166", attribute, "01,02,03", "426", "", "COUNTRY - DISASSEMBLY"},
	{"426", 1, "N3,iso3166", attribute, "01,02,03", "", "", "COUNTRY - FULL PROCESS"},
	{"427", 1, "X..3", attribute, "01+422,02+422,03+422", "", "", "ORIGIN SUBDIVISION"},
	{"4300", 1, "X..35,pcenc", attribute, "00", "", "", "SHIP TO COMP"},
	{"4301", 1, "X..35,pcenc", attribute, "00", "", "", "SHIP TO NAME"},
	{"4302", 1, "X..70,pcenc", attribute, "00", "", "", "SHIP TO ADD1"},
	{"4303", 1, "X..70,pcenc", attribute, "4302", "", "", "SHIP TO ADD2"},
	{"4304", 1, "X..70,pcenc", attribute, "00", "", "", "SHIP TO SUB"},
	{"4305", 1, "X..70,pcenc", attribute, "00", "", "", "SHIP TO LOC"},
	{"4306", 1, "X..70,pcenc", attribute, "00", "", "", "SHIP TO REG"},
	{"4307", 1, "X2,iso3166alpha2", attribute, "00", "", "", "SHIP TO COUNTRY"},
	{"4308", 1, "X..30", attribute, "00", "", "", "SHIP TO PHONE"},
	{"4309", 1, "N10,latitude N10,longitude", attribute, "00", "", "", "SHIP TO GEO"},
	{"4310", 1, "X..35,pcenc", attribute, "00", "", "", "RTN TO COMP"},
	{"4311", 1, "X..35,pcenc", attribute, "00", "", "", "RTN TO NAME"},
	{"4312", 1, "X..70,pcenc", attribute, "00", "", "", "RTN TO ADD1"},
	{"4313", 1, "X..70,pcenc", attribute, "4312", "", "", "RTN TO ADD2"},
	{"4314", 1, "X..70,pcenc", attribute, "00", "", "", "RTN TO SUB"},
	{"4315", 1, "X..70,pcenc", attribute, "00", "", "", "RTN TO LOC"},
	{"4316", 1, "X..70,pcenc", attribute, "00", "", "", "RTN TO REG"},
	{"4317", 1, "X2,iso3166alpha2", attribute, "00", "", "", "RTN TO COUNTRY"},
	{"4318", 1, "X..20", attribute, "00", "", "", "RTN TO POST"},
	{"4319", 1, "X..30", attribute, "00", "", "", "RTN TO PHONE"},
	{"4320", 1, "X..35,pcenc", attribute, "00", "", "", "SRV DESCRIPTION"},
	{"4321", 1, "N1,yesno", attribute, "00", "", "", "DANGEROUS GOODS"},
	{"4322", 1, "N1,yesno", attribute, "00", "", "", "AUTH TO LEAVE"},
	{"4323", 1, "N1,yesno", attribute, "00", "", "", "SIG REQUIRED"},
	{"4324", 1, "N6,yymmd0 N4,hhmi", attribute, "00", "", "", "NOT BEF DEL DT"},
	{"4325", 1, "N6,yymmd0 N4,hhmi", attribute, "00", "", "", "NOT AFT DEL DT"},
	{"4326", 1, "N6,yymmdd", attribute, "00", "", "", "REL DATE"},
	{"4330", 1, "N6 [X1],hyphen", attribute, "00", "4331", "", "MAX TEMP F."},
	{"4331", 1, "N6 [X1],hyphen", attribute, "00", "4330", "", "MAX TEMP C."},
	{"4332", 1, "N6 [X1],hyphen", attribute, "00", "4333", "", "MIN TEMP F."},
	{"4333", 1, "N6 [X1],hyphen", attribute, "00", "4332", "", "MIN TEMP C."},
	{"7001", 1, "N13", attribute, "01,02,8006,8026", "", "", "NSN"},
	{"7002", 1, "X..30", attribute, "01,02", "", "", "MEAT CUT"},
	{"7003", 1, "N6,yymmdd N4,hhmi", attribute, "01,02,03", "", "", "EXPIRY TIME"},
	{"7004", 1, "N..4", attribute, "01+10,03+10", "", "", "ACTIVE POTENCY"},
	{"7005", 1, "X..12", attribute, "01,02", "", "", "CATCH AREA"},
	{"7006", 1, "N6,yymmdd", attribute, "01,02", "", "", "FIRST FREEZE DATE"},
	{"7007", 1, "N6,yymmdd [N6],yymmdd", attribute, "01,02", "", "", "HARVEST DATE"},
	{"7008", 1, "X..3", attribute, "01,02", "", "", "AQUATIC SPECIES"},
	{"7009", 1, "X..10", attribute, "01,02", "", "", "FISHING GEAR TYPE"},
	{"7010", 1, "X..2", attribute, "01,02,03", "", "", "PROD METHOD"},
	{"7011", 1, "N6,yymmdd [N4],hhmi", attribute, "01,02,03", "", "", "TEST BY DATE"},
	{"7020", 1, "X..20", attribute, "01+416,03+416,8006+416", "", "", "REFURB LOT"},
	{"7021", 1, "X..20", attribute, "01,03,8006", "", "", "FUNC STAT"},
	{"7022", 1, "X..20", attribute, "01+7021,03+7021,8006+7021", "", "", "REV STAT"},
	{"7023", 1, "X..30,gcppos1", attribute, "", "", "", "GIAI - ASSEMBLY"},
	{"7030", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 0"},
	{"7031", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 1"},
	{"7032", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 2"},
	{"7033", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 3"},
	{"7034", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 4"},
	{"7035", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 5"},
	{"7036", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 6"},
	{"7037", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 7"},
	{"7038", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 8"},
	{"7039", 1, "N3,iso3166999 X..27", attribute, "01,02", "", "", "PROCESSOR # 9"},
	{"7040", 1, "N1 X1 X1 X1,importeridx", 0, "", "", "", "UIC+EXT"},
	{"7041", 1, "X..4,packagetype", 0, "00", "", "", "UFRGT UNIT TYPE"},
	{"710", 1, "X..20", attribute, "01", "", "", "NHRN PZN"},
	{"711", 1, "X..20", attribute, "01", "", "", "NHRN CIP"},
	{"712", 1, "X..20", attribute, "01", "", "", "NHRN CN"},
	{"713", 1, "X..20", attribute, "01", "", "", "NHRN DRN"},
	{"714", 1, "X..20", attribute, "01", "", "", "NHRN AIM"},
	{"715", 1, "X..20", attribute, "01", "", "", "NHRN NDC"},
	{"716", 1, "X..20", attribute, "01", "", "", "NHRN AIC"},
	{"717", 1, "X..20", attribute, "01", "", "", "NHRN SRN"},
	{"7230", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 1"},
	{"7231", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 2"},
	{"7232", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 3"},
	{"7233", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 4"},
	{"7234", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 5"},
	{"7235", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 6"},
	{"7236", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 7"},
	{"7237", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 8"},
	{"7238", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 9"},
	{"7239", 1, "X2 X..28", attribute, "01,8004", "", "", "CERT # 10"},
	{"7240", 1, "X..20", attribute, "01,8006", "03", "", "PROTOCOL"},
	{"7241", 1, "N2,mediatype", attribute, "8017,8018", "", "", "AIDC MEDIA TYPE"},
	{"7242", 1, "X..25", attribute, "8017,8018", "", "", "VCN"},
	{"7250", 1, "N8,yyyymmdd", attribute, "8018", "7251", "", "DOB"},
	{"7251", 1, "N8,yyyymmdd N4,hhmi", attribute, "8018", "7250", "", "DOB TIME"},
	{"7252", 1, "N1,iso5218", attribute, "8018", "", "", "BIO SEX"},
	{"7253", 1, "X..40,pcenc", attribute, "8017,8018", "7256,7259", "", "FAMILY NAME"},
	{"7254", 1, "X..40,pcenc", attribute, "8017,8018", "7256,7259", "", "GIVEN NAME"},
	{"7255", 1, "X..10", attribute, "8017,8018", "7256,7259", "", "SUFFIX"},
	{"7256", 1, "X..90,pcenc", attribute, "8017,8018", "", "", "FULL NAME"},
	{"7257", 1, "X..70,pcenc", attribute, "8018", "", "", "PERSON ADDR"},
	{"7258", 1, "X3,posinseqslash", attribute, "8018+7259", "", "", "BIRTH SEQUENCE"},
	{"7259", 1, "X..40,pcenc", attribute, "8018", "7256", "", "BABY"},
	{"8001", 1, "N4,nonzero N5,nonzero N3,nonzero N1,winding N1", attribute, "01", "", "", "DIMENSIONS"},
	{"8002", 1, "X..20", attribute, "", "", "", "CMT No."},
	{"8003", 1, "N1,zero N13,csum,gcppos1 [X..16]", attribute | primary, "", "", "", "GRAI"},
	{"8004", 1, "X..30,gcppos1", attribute | primary, "", "", "7040", "GIAI"},
	{"8005", 1, "N6", attribute, "01,02", "", "", "PRICE PER UNIT"},
	{"8006", 1, "N14,csum,gcppos2 N4,pieceoftotal", attribute | primary, "", "01,03,37", "22,10,21", "ITIP"},
	{"8007", 1, "X..34,iban", attribute, "415", "", "", "IBAN"},
	{"8008", 1, "N6,yymmdd N2,hh [N2],mi [N2],ss", attribute, "01,02,03", "", "", "PROD TIME"},
	{"8009", 1, "X..50", attribute, "00,01,03", "", "", "OPTSEN"},
	{"8010", 1, "Y..30,gcppos1", attribute | primary, "", "", "8011", "CPID"},
	{"8011", 1, "N..12,nozeroprefix", 0, "8010", "", "", "CPID SERIAL"},
	{"8012", 1, "X..20", attribute, "01,03,8006", "", "", "VERSION"},
	{"8013", 1, "X..25,csumalpha,gcppos1", attribute | primary, "", "", "", "GMN"},
	{"8014", 1, "X..25,csumalpha,gcppos1,hasnondigit", 0, "01", "", "", "MUDI"},
	{"8017", 1, "N18,csum,gcppos1", attribute | primary, "", "8018", "8019", "GSRN - PROVIDER"},
	{"8018", 1, "N18,csum,gcppos1", attribute | primary, "", "8017", "8019", "GSRN - RECIPIENT"},
	{"8019", 1, "N..10", 0, "8017,8018", "", "", "SRIN"},
	{"8020", 1, "X..25", 0, "415", "", "", "REF No."},
	{"8026", 1, "N14,csum,gcppos2 N4,pieceoftotal", attribute, "37", "02,03,8006", "", "ITIP CONTENT"},
	{"8030", 1, "Z..90", attribute, "00,01+21,03+21,253,255,8003,8004,8006+21,8010+8011,8017,8018", "", "", "DIGSIG"},
	{"8040", 1, "N15", 0, "01+21", "", "", "IMEI"},
	{"8041", 1, "N15", 0, "01+21+8040", "", "", "IMEI2"},
	{"8042", 1, "N32", 0, "01+21+8040", "", "", "ESIM"},
	{"8043", 1, "N18 [N..2]", 0, "01+21+8040", "", "", "PSIM"},
	{"8110", 1, "X..70,couponcode", attribute, "", "", "", ""},
	{"8111", 1, "N4", attribute, "255", "", "", "POINTS"},
	{"8112", 1, "X..70,couponposoffer", attribute, "", "", "", ""},
	{"8200", 1, "X..70", 0, "01", "", "", "PRODUCT URL"},
	{"90", 1, "X..30", attribute, "", "", "", "INTERNAL"},
	{"91", 9, "X..90", attribute, "", "", "", "INTERNAL"},
}
