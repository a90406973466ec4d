package issuer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"ampoule/cert"
	"ampoule/format"
)

// column is one that a CSV file may have. Each row is one vaccination.
type column struct {
	name    string
	aliases string // in English, French, Spanish and Portuguese, parted by commas
	// paths are where the rules name what the cell says: in the record, and in the
	// payloads of the formats.
	paths string
	kind  cellKind
	set   func(r *cert.Certificate, cell string) error
}

// cellKind says how the cells of a column are read, where the column as a whole
// has a say in it.
type cellKind int

const (
	kindText cellKind = iota
	kindDate
	kindPartialDate // a year, or a year and month, will do
	kindSex
)

// columns in the order of the template.
var columns = []column{
	{"family_name", "surname,last name,nom,nom de famille,apellido,apellidos,sobrenome,apelido", "person.name.family nam.fn nam.fnt", kindText,
		func(r *cert.Certificate, s string) error { r.Person.Name.Family = s; return nil }},
	{"given_name", "given names,first name,forename,prenom,prenoms,nombre,nombres,nome proprio,nomes proprios", "person.name.given nam.gn nam.gnt", kindText,
		func(r *cert.Certificate, s string) error { r.Person.Name.Given = s; return nil }},
	{"name", "full name,nom complet,nom et prenom,nombre completo,nome,nome completo", "person.name nam name n pid.n", kindText,
		func(r *cert.Certificate, s string) error { r.Person.Name.Full = s; return nil }},
	{"birth_date", "date of birth,dob,born,date de naissance,ne le,fecha de nacimiento,data de nascimento", "person.birth_date dob birthDate pid.dob", kindPartialDate,
		func(r *cert.Certificate, s string) error { r.Person.BirthDate = cert.Date(s); return nil }},
	{"sex", "gender,sexe,genre,sexo,genero", "person.sex gender sex s pid.sex", kindSex,
		func(r *cert.Certificate, s string) error { r.Person.Sex = s; return nil }},
	{"nationality", "nationalite,nacionalidad,nacionalidade", "person.nationality nt", kindText,
		func(r *cert.Certificate, s string) error { r.Person.Nationality = strings.ToUpper(s); return nil }},
	{"document_number", "document,passport,passport number,numero de document,numero du document,passeport,numero de passeport,numero de documento,pasaporte,numero de pasaporte,passaporte,numero do documento,numero do passaporte",
		"person.document.number person.document id identifier pid.i pid.ai", kindText,
		func(r *cert.Certificate, s string) error { r.Person.Document.Number = s; return nil }},
	{"document_type", "type of document,type de document,tipo de documento", "person.document.type dt", kindText,
		func(r *cert.Certificate, s string) error { r.Person.Document.Type = strings.ToUpper(s); return nil }},
	{"guardian", "parent,parent or guardian,tuteur,representant legal,tutor,responsavel", "person.guardian gn", kindText,
		func(r *cert.Certificate, s string) error { r.Person.Guardian = s; return nil }},
	{"disease", "target disease,maladie,enfermedad,doenca", "vaccination.disease v[0].tg disease ve[0].dis", kindText,
		func(r *cert.Certificate, s string) error { r.Vaccination.Disease = diseaseCell(s); return nil }},
	{"vaccine", "prophylaxis,vaccine code,vaccin,vacuna,vacina", "vaccination.vaccine v[0].vp vaccineCode vaccine ve[0].des", kindText,
		codeCell(cert.ValueSetProphylaxis, func(r *cert.Certificate) *cert.Code { return &r.Vaccination.Vaccine })},
	{"product", "vaccine product,medicinal product,produit,producto,produto", "vaccination.product v[0].mp brand ve[0].nam vx.vp", kindText,
		codeCell(cert.ValueSetProduct, func(r *cert.Certificate) *cert.Code { return &r.Vaccination.Product })},
	{"manufacturer", "marketing authorisation holder,fabricant,fabricante", "vaccination.manufacturer v[0].ma manufacturer manufacturer|maholder", kindText,
		codeCell(cert.ValueSetManufacturer, func(r *cert.Certificate) *cert.Code { return &r.Vaccination.Manufacturer })},
	{"lot", "lot number,batch,batch number,numero de lot,lote,numero de lote", "vaccination.lot lotNumber lot ve[0].vd[0].lot vx.bo", kindText,
		func(r *cert.Certificate, s string) error { r.Vaccination.Lot = s; return nil }},
	{"date", "date of vaccination,vaccination date,given on,date de vaccination,date de la vaccination,fecha,fecha de vacunacion,data,data de vacinacao,data da vacinacao",
		"vaccination.date v[0].dt occurrenceDateTime date ve[0].vd[0].dvc vx.dv", kindDate,
		func(r *cert.Certificate, s string) error { r.Vaccination.Date = cert.Date(s); return nil }},
	{"dose", "dose number,numero de dose,dosis,numero de dosis,numero da dose", "vaccination.dose v[0].dn dose ve[0].vd[0].seq", kindText,
		countCell(func(r *cert.Certificate) *int { return &r.Vaccination.Dose })},
	{"doses", "doses in series,total doses,series doses,nombre de doses,total de doses,total de dosis,dosis totales", "vaccination.doses v[0].sd", kindText,
		countCell(func(r *cert.Certificate) *int { return &r.Vaccination.Doses })},
	{"country", "country of vaccination,pays,pays de vaccination,pais,pais de vacunacion,pais de vacinacao", "country vaccination.country v[0].co ve[0].vd[0].ctr", kindText,
		func(r *cert.Certificate, s string) error { r.Vaccination.Country = strings.ToUpper(s); return nil }},
	{"clinician", "vaccinator,health worker,centre,center,clinic,vaccinateur,soignant,vacunador,centro,vacinador", "vaccination.clinician performer ve[0].vd[0].adm vx.cn", kindText,
		func(r *cert.Certificate, s string) error { r.Vaccination.Clinician = s; return nil }},
	{"authority", "issuing authority,issuer,autorite,autorite de delivrance,autoridad,autoridad emisora,autoridade,autoridade emissora", "authority v[0].is vx.is vx.cn|vx.is", kindText,
		func(r *cert.Certificate, s string) error { r.Authority = s; return nil }},
	{"valid_from", "valable du,valido desde", "vaccination.valid_from vx.vls", kindDate,
		func(r *cert.Certificate, s string) error { r.Vaccination.ValidFrom = cert.Date(s); return nil }},
	{"valid_until", "valid to,valable jusqu au,valido hasta,valido ate", "vaccination.valid_until vx.vle", kindDate,
		func(r *cert.Certificate, s string) error { r.Vaccination.ValidUntil = cert.Date(s); return nil }},
}

// The columns that we add to the failed rows that we give back. They are passed
// over when the file comes again.
var answered = []string{"error_line", "error_column", "error_reason", "error"}

// required are the columns that a format cannot do without: of those in one word,
// parted by bars, one at least.
var required = map[Format][]string{
	ICVP:  {"name|family_name|given_name", "birth_date", "sex", "nationality", "product", "lot", "date"},
	EUDCC: {"family_name|given_name", "birth_date", "disease", "vaccine", "product", "manufacturer", "date", "dose", "doses", "country", "authority"},
	DDCC:  {"name|family_name|given_name", "disease", "vaccine", "product", "manufacturer", "lot", "date", "dose", "country"},
	SHC:   {"name|family_name|given_name", "birth_date", "vaccine|product", "date"},
	VDSNC: {"name|family_name|given_name", "disease", "vaccine", "product", "date", "dose", "country", "clinician", "lot"},
}

// Required are the columns that a format cannot do without: of those in one word,
// parted by bars, one at least.
func Required(f Format) []string { return slices.Clone(required[f]) }

// headerKey makes one text of the spellings of a column's name: case, accents and
// what stands between words do not count.
func headerKey(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, norm.NFD.String(s))
}

// columnOf has the columns by every name, and -1 for those that we add.
var columnOf = func() map[string]int {
	out := make(map[string]int)
	for i, c := range columns {
		for _, name := range append(strings.Split(c.aliases, ","), c.name) {
			out[headerKey(name)] = i
		}
	}
	for _, name := range answered {
		out[headerKey(name)] = -1
	}
	return out
}()

// findColumn returns the column of a name, or the name that is nearest to it.
func findColumn(header string) (at int, nearest string, known bool) {
	key := headerKey(header)
	if at, known = columnOf[key]; known {
		return at, "", true
	}
	best := -1
	for name, i := range columnOf {
		if i < 0 {
			continue
		}
		far := format.Distance(key, name)
		// The same distance has the same answer whatever the map's order.
		if best < 0 || far < best || far == best && columns[i].name < nearest {
			best, nearest = far, columns[i].name
		}
	}
	return 0, nearest, false
}

// DateOrder is how dates with slashes are written.
type DateOrder string

// The orders. Without one, a column that can be read in both is refused: a day
// and month that change places make another person.
const (
	DateOrderFound DateOrder = ""
	DayFirst       DateOrder = "dmy"
	MonthFirst     DateOrder = "mdy"
)

// layout is what the rows of a CSV file are read by.
type layout struct {
	Header  []string    `json:"header"` // as the file has it
	Comma   string      `json:"comma"`
	Columns []int       `json:"columns"`         // of each cell; -1: passed over
	Dates   []DateOrder `json:"dates,omitempty"` // of each cell
	Letters []bool      `json:"letters"`         // of each cell, whether M and F are told apart

	seen []evidence // of each cell
}

// evidence is what the cells of a column say about how it is to be read.
type evidence struct {
	day, month, either bool // there is a date that is one only with the day first, …
	f, h, m            bool // there is a single F, H or M
}

// newLayout reads a header.
func newLayout(header []string, comma byte, u Upload) (*layout, error) {
	l := &layout{
		Header: header, Comma: string(comma), Columns: make([]int, len(header)),
		Dates: make([]DateOrder, len(header)), Letters: make([]bool, len(header)), seen: make([]evidence, len(header)),
	}
	have := make(map[string]bool)
	for i, name := range header {
		if name == "" {
			l.Columns[i] = -1 // a column without a name has no meaning; its cells must be empty
			continue
		}
		at, nearest, known := findColumn(name)
		switch {
		case !known:
			return nil, &UploadError{Reason: ErrUnknownColumn, Cell: i + 1, Header: name, Hint: "did you mean " + nearest + "?"}
		case at >= 0 && have[columns[at].name]:
			return nil, &UploadError{Reason: ErrColumnTwice, Cell: i + 1, Column: columns[at].name, Header: name}
		case at >= 0:
			have[columns[at].name] = true
		}
		l.Columns[i] = at
	}
	have["country"] = have["country"] || u.Country != ""
	have["authority"] = have["authority"] || u.Authority != ""
	for _, w := range u.Wanted {
		for _, need := range required[w.Format] {
			if !slices.ContainsFunc(strings.Split(need, "|"), func(name string) bool { return have[name] }) {
				return nil, &UploadError{Reason: ErrColumnMissing, Column: strings.ReplaceAll(need, "|", " or "), Hint: string(w.Format) + " needs it"}
			}
		}
	}
	return l, nil
}

// kind returns how the cell of a place is read.
func (l *layout) kind(i int) cellKind {
	if l.Columns[i] < 0 {
		return kindText
	}
	return columns[l.Columns[i]].kind
}

// note looks at a row for what it says about its columns.
func (l *layout) note(cells []string) {
	for i, cell := range cells[:min(len(cells), len(l.Columns))] {
		e := &l.seen[i]
		switch l.kind(i) {
		case kindDate, kindPartialDate:
			a, b, y, ok := slashed(cell)
			if !ok {
				continue
			}
			day, month := validDay(y, b, a), validDay(y, a, b)
			e.day = e.day || day && !month
			e.month = e.month || month && !day
			e.either = e.either || day && month && a != b
		case kindSex:
			e.f = e.f || strings.EqualFold(cell, "f")
			e.h = e.h || strings.EqualFold(cell, "h")
			e.m = e.m || strings.EqualFold(cell, "m")
		}
	}
}

// settle decides how each column is read, after all rows were looked at.
func (l *layout) settle(order DateOrder) error {
	for i, e := range l.seen {
		if l.Columns[i] < 0 {
			continue
		}
		fail := func(hint string) error {
			return &UploadError{Reason: ErrAmbiguousColumn, Cell: i + 1, Column: columns[l.Columns[i]].name, Header: l.Header[i], Hint: hint}
		}
		switch {
		case order != DateOrderFound:
			l.Dates[i] = order
		case e.day && e.month:
			return fail("some dates have the day first and some the month; say date order dmy or mdy, and the others are told row by row")
		case e.day:
			l.Dates[i] = DayFirst
		case e.month:
			l.Dates[i] = MonthFirst
		case e.either:
			return fail("every date can be read with the day first or the month first; say date order dmy or mdy")
		default:
			l.Dates[i] = DayFirst // of dates such as 07/07/2026 it makes none
		}
		// M is a man in English and a woman, "mujer", in Spanish, where H is the man.
		if e.h && e.m || e.m && !e.f {
			return fail("M alone can be a man or a woman; write male and female")
		}
		l.Letters[i] = true
	}
	return nil
}

// slashed reads a/b/yyyy.
func slashed(s string) (a, b, y int, ok bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 || len(parts[0]) > 2 || len(parts[1]) > 2 || len(parts[2]) != 4 {
		return 0, 0, 0, false
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return 0, 0, 0, false
		}
		n[i] = int(v)
	}
	return n[0], n[1], n[2], true
}

func validDay(y, m, d int) bool {
	return format.IsDate(fmt.Sprintf("%04d-%02d-%02d", y, m, d))
}

// Days that a spreadsheet counts from 1899-12-30, as numbers of five digits: from
// 1927-05-18 to 2173-10-13. Shorter ones are taken for what people write, a year.
const (
	firstSerial = 10_000
	lastSerial  = 99_999
)

// dateCell reads a date as people and spreadsheets write it.
func dateCell(s string, order DateOrder, partial bool) (string, error) {
	switch {
	case format.IsDate(s), partial && format.IsPartialDate(s):
		return s, nil
	case len(s) == 5 && strings.Trim(s, "0123456789") == "":
		if n, _ := strconv.Atoi(s); n >= firstSerial && n <= lastSerial {
			return time.Date(1899, 12, 30+n, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), nil
		}
	}
	dots := strings.Count(s, ".") == 2 && !strings.Contains(s, "/")
	a, b, y, ok := slashed(strings.ReplaceAll(s, ".", "/"))
	if !ok {
		return "", format.BadDate
	}
	if !dots && order == MonthFirst { // dates with dots have the day first everywhere
		a, b = b, a
	}
	if !validDay(y, b, a) {
		return "", format.BadDate
	}
	return fmt.Sprintf("%04d-%02d-%02d", y, b, a), nil
}

var sexWords = map[string]string{
	"male": "male", "man": "male", "homme": "male", "masculin": "male", "hombre": "male", "varon": "male", "masculino": "male", "homem": "male",
	"female": "female", "woman": "female", "femme": "female", "feminin": "female", "mujer": "female", "femenino": "female", "feminino": "female", "mulher": "female",
	"other": "other", "autre": "other", "otro": "other", "outro": "other",
	"unknown": "unknown", "inconnu": "unknown", "desconocido": "unknown", "desconhecido": "unknown",
}

func sexCell(s string, letters bool) (string, error) {
	key := headerKey(s)
	if word := sexWords[key]; word != "" {
		return word, nil
	}
	if letters {
		switch key {
		case "m", "h":
			return "male", nil
		case "f":
			return "female", nil
		}
	}
	return "", format.BadCode
}

// systems are short names of code systems, for cells such as cvx|207.
var systems = map[string]string{
	"cvx": "http://hl7.org/fhir/sid/cvx", "mvx": "http://hl7.org/fhir/sid/mvx", "snomed": "http://snomed.info/sct",
	"icd11": "http://id.who.int/icd/release/11/mms", "atc": "http://www.whocc.no/atc",
}

// tokenCell reads a code, with its code system before a bar where there is one.
func tokenCell(s string) cert.Code {
	system, code, found := strings.Cut(s, "|")
	if !found {
		return cert.Code{Code: s}
	}
	if long := systems[strings.ToLower(strings.TrimSpace(system))]; long != "" {
		system = long
	}
	return cert.Code{Code: strings.TrimSpace(code), System: strings.TrimSpace(system)}
}

// codeCell reads a code. Without a system it gets that of the value set that has
// it, and none where none has.
func codeCell(set cert.ValueSet, field func(*cert.Certificate) *cert.Code) func(*cert.Certificate, string) error {
	return func(r *cert.Certificate, s string) error {
		c := tokenCell(s)
		if c.System == "" {
			c.System = cert.SystemOf(set, c.Code)
		}
		if c.System == "" && icd11Vaccine(c.Code) {
			c.System = systems["icd11"]
		}
		*field(r) = c
		return nil
	}
}

// icd11Vaccine tells the extension codes of ICD-11, such as XM0N24, from others.
func icd11Vaccine(code string) bool {
	rest, ok := strings.CutPrefix(code, "XM")
	return ok && len(rest) == 4 && strings.Trim(rest, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// diseaseCell reads a disease by our word or by a code of SNOMED CT or ICD-11.
func diseaseCell(s string) cert.Code {
	c := tokenCell(s)
	d, known := cert.FindDisease(c.Code)
	if !known {
		d, known = cert.FindDisease(strings.ToLower(strings.ReplaceAll(c.Code, " ", "-")))
		c.Code = cmp.Or(d.SNOMED, c.Code)
	}
	switch {
	case c.System != "" || !known:
	case c.Code == d.ICD11:
		c.System = systems["icd11"]
	default:
		c.Code, c.System = d.SNOMED, systems["snomed"]
	}
	return c
}

func countCell(field func(*cert.Certificate) *int) func(*cert.Certificate, string) error {
	return func(r *cert.Certificate, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 99 {
			return format.BadValue
		}
		*field(r) = n
		return nil
	}
}

// Fault is one thing that is wrong with a row.
type Fault struct {
	// Column is ours, or the place in a FHIR resource; empty where the row as a
	// whole is meant. It is not personal, and neither is the reason.
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
	Text   string `json:"text"` // for people; may repeat what is in the row
}

// record reads a row.
func (l *layout) record(cells []string) (*cert.Certificate, []Fault) {
	r := &cert.Certificate{Kind: cert.KindVaccination, Vaccination: new(cert.Vaccination)}
	var faults []Fault
	fault := func(column string, reason error, text string) {
		faults = append(faults, Fault{column, format.Reason(reason, "error"), text})
	}
	for i, cell := range cells {
		switch {
		case cell == "":
			continue
		case i >= len(l.Columns) || l.Columns[i] < 0 && l.Header[i] == "":
			fault("", ErrColumnMissing, fmt.Sprintf("cell %d has no column: a separator stands where none should, or quotation marks are missing", i+1))
			continue
		case l.Columns[i] < 0:
			continue
		}
		c := columns[l.Columns[i]]
		clean, odd := format.Clean(cell)
		if odd || strings.ContainsRune(clean, '\ufffd') {
			fault(c.name, format.SuspiciousText, "there are characters in it that cannot be seen or were lost")
			continue
		}
		var err error
		switch c.kind {
		case kindDate, kindPartialDate:
			if clean, err = dateCell(clean, l.Dates[i], c.kind == kindPartialDate); err != nil {
				fault(c.name, err, fmt.Sprintf("%q is no date; write it as 2026-10-31", cell))
				continue
			}
		case kindSex:
			if clean, err = sexCell(clean, l.Letters[i]); err != nil {
				fault(c.name, err, fmt.Sprintf("%q; write male, female, other or unknown", cell))
				continue
			}
		}
		if err := c.set(r, clean); err != nil {
			fault(c.name, err, fmt.Sprintf("%q is not a number from 1 to 99", cell))
		}
	}
	return r, faults
}

// faultsOf names the columns of what the rules of issuing found.
func faultsOf(err error) (out []Fault) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			out = append(out, faultsOf(e)...)
		}
		return out
	}
	// An error that wraps several, such as "EU DCC: " before them all.
	if one, ok := err.(interface{ Unwrap() error }); ok {
		if _, ok := one.Unwrap().(interface{ Unwrap() []error }); ok {
			return faultsOf(one.Unwrap())
		}
	}
	return []Fault{{columnNamed(err.Error()), format.Reason(err, "error"), err.Error()}}
}

// columnNamed finds the column whose path stands in the text of an error: errors
// name a place first, after the format at most.
func columnNamed(text string) string {
	for part := range strings.SplitSeq(text, ": ") {
		part = strings.TrimPrefix(part, "fhirBundle.")
		if _, rest, ok := strings.Cut(part, "].resource."); ok {
			part = rest
		}
		part, _, _ = strings.Cut(part, " ")
		for _, c := range columns {
			for path := range strings.SplitSeq(c.paths, " ") {
				if part == path || strings.HasPrefix(part, path+".") || strings.HasPrefix(part, path+"[") {
					return c.name
				}
			}
		}
	}
	return ""
}

// Template returns a CSV file with the columns that the formats need, those that
// they can use, and one row of a fictitious person.
func Template(formats []Format) []byte {
	example := map[string]string{
		"family_name": "Specimen", "given_name": "Ada", "birth_date": "1990-02-28", "sex": "female", "nationality": "UTO",
		"document_number": "SPECIMEN01", "document_type": "PPN", "guardian": "", "disease": "covid-19", "vaccine": "1119349007", "product": "EU/1/20/1528",
		"manufacturer": "ORG-100030215", "lot": "SPECIMEN-LOT", "date": "2026-10-01", "dose": "1", "doses": "2", "country": "AT",
		"clinician": "Specimen centre", "authority": "Specimen authority",
	}
	switch {
	case slices.Contains(formats, ICVP):
		for name, cell := range map[string]string{"disease": "yellow-fever", "vaccine": "", "product": "DEMO-YF-0001", "manufacturer": "", "doses": "1"} {
			example[name] = cell
		}
	case slices.Contains(formats, VDSNC):
		for name, cell := range map[string]string{"disease": "yellow-fever", "vaccine": "XM0N24", "product": "SPECIMEN-YF", "manufacturer": "", "doses": "1", "nationality": "UTO"} {
			example[name] = cell
		}
	}
	var header, row []string
	for _, c := range columns {
		if _, in := example[c.name]; in {
			header, row = append(header, c.name), append(row, example[c.name])
		}
	}
	// With the mark, a spreadsheet knows that it is UTF-8.
	return appendCSV(appendCSV([]byte("\ufeff"), ',', header...), ',', row...)
}

// source is a row as it is kept: the cells of a CSV row, or a FHIR bundle.
func encodeCells(cells []string) []byte {
	data, err := json.Marshal(cells)
	if err != nil {
		panic(err) // texts always can
	}
	return data
}
