package issuer

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"ampoule/cert"
	"ampoule/format"
)

// readAll reads a CSV file as an upload does.
func readAll(file io.Reader, u Upload) (records []*cert.Certificate, faults []Fault, err error) {
	c, header, err := newCSV(&bounded{file, MaxUpload})
	if err != nil {
		return nil, nil, err
	}
	l, err := newLayout(header, c.comma, u)
	if err != nil {
		return nil, nil, err
	}
	var rows [][]string
	for {
		cells, _, err := c.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		l.note(cells)
		rows = append(rows, cells)
	}
	if err := l.settle(u.Dates); err != nil {
		return nil, nil, err
	}
	for _, cells := range rows {
		r, f := l.record(cells)
		records, faults = append(records, r), append(faults, f...)
	}
	return records, faults, nil
}

func utf16File(text string, big bool) string {
	out := []byte{0xff, 0xfe}
	if big {
		out = []byte{0xfe, 0xff}
	}
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return string(out)
}

// TestCSV: the same row in every dress.
func TestCSV(t *testing.T) {
	const plain = "family_name,given_name,birth_date,lot,date,dose\r\n\"Spécimen, née Musterfrau\",\"Ada \"\"the\"\" first\",1990-02-28,A1,2026-10-31,1\r\n"
	semicolons := strings.Replace(strings.ReplaceAll(plain, ",", ";"), "Spécimen;", "Spécimen,", 1)
	want := &cert.Certificate{Kind: cert.KindVaccination, Person: cert.Person{Name: cert.Name{Family: "Spécimen, née Musterfrau", Given: `Ada "the" first`}, BirthDate: "1990-02-28"},
		Vaccination: &cert.Vaccination{Lot: "A1", Date: "2026-10-31", Dose: 1}}
	for name, file := range map[string]string{
		"plain":              plain,
		"a byte order mark":  "\ufeff" + plain,
		"UTF-16":             utf16File(plain, false),
		"UTF-16, big":        utf16File(plain, true),
		"semicolons":         semicolons,
		"tabulators":         strings.ReplaceAll(semicolons, ";", "\t"),
		"line feeds":         strings.ReplaceAll(plain, "\r\n", "\n"),
		"carriage returns":   strings.ReplaceAll(plain, "\r\n", "\r"),
		"no last line end":   strings.TrimSuffix(plain, "\r\n"),
		"empty lines":        strings.Replace(plain, "\r\n", "\r\n\r\n,,,,,\r\n", 1) + "\r\n\r\n",
		"the separator told": "sep=;\r\n" + semicolons,
		"French":             strings.Replace(plain, "family_name,given_name,birth_date,lot,date,dose", "NOM,Prénom,Date de naissance,Numéro de lot,Date de vaccination,Numéro de dose", 1),
		"Spanish":            strings.Replace(plain, "family_name,given_name,birth_date,lot,date,dose", "Apellidos,Nombres,Fecha de nacimiento,Lote,Fecha,Dosis", 1),
		"Portuguese":         strings.Replace(plain, "family_name,given_name,birth_date,lot,date,dose", "Sobrenome,Nome próprio,Data de nascimento,Lote,Data de vacinação,Número da dose", 1),
		"slashes":            strings.Replace(plain, "2026-10-31", "31/10/2026", 1),
		"slashes, American":  strings.Replace(plain, "2026-10-31", "10/31/2026", 1),
		"dots":               strings.Replace(plain, "2026-10-31", "31.10.2026", 1),
		"a serial number":    strings.Replace(plain, "2026-10-31", "46326", 1),
		"blanks":             strings.Replace(plain, ",A1,", ",\u00a0A1 ,", 1),
		"our own columns":    strings.NewReplacer(",dose\r", ",dose,error_line,error_column,error_reason,error\r", ",1\r", ",1,7,date,bad-date,\"no, really\"\r").Replace(plain),
	} {
		t.Run(name, func(t *testing.T) {
			records, faults, err := readAll(strings.NewReader(file), Upload{})
			if err != nil || len(faults) > 0 {
				t.Fatalf("%v, %v", faults, err)
			}
			if diff := cmp.Diff([]*cert.Certificate{want}, records); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCSVRefused(t *testing.T) {
	eu := Upload{Wanted: []Wanted{{Format: EUDCC}}}
	for _, tt := range []struct {
		name, file string
		u          Upload
		want       UploadError
	}{
		{"nothing", "", Upload{}, UploadError{Reason: ErrNoRows}},
		{"a quotation mark that never closes", "lot,date\nA,\"2026\n\n", Upload{}, UploadError{Reason: ErrQuote, Line: 2, Cell: 2}},
		{"the same in a long file", "lot,date\nA,\"2026\n" + strings.Repeat("A,2026-10-01\n", 1000), Upload{}, UploadError{Reason: ErrCell, Line: 2, Cell: 2}},
		{"text behind a quotation", "lot,date\n\"A\"B,2026-10-01\n", Upload{}, UploadError{Reason: ErrQuote, Line: 2, Cell: 1}},
		{"a long cell", "lot,date\nA,B\n" + strings.Repeat("A", 5000), Upload{}, UploadError{Reason: ErrCell, Line: 3, Cell: 1}},
		{"many cells", "lot,date\n" + strings.Repeat(",", 500), Upload{}, UploadError{Reason: format.TooLong, Line: 2, Cell: 130}},
		{"of an old encoding", "lot,date\nA\xe9,2026-10-01\n", Upload{}, UploadError{Reason: ErrText, Line: 2, Cell: 1}},
		{"an unknown column", "lot,dat of birth\n", Upload{}, UploadError{Reason: ErrUnknownColumn, Cell: 2, Header: "dat of birth", Hint: "did you mean birth_date?"}},
		{"a person for a header", "Ada Specimen,1990-01-01\n", Upload{}, UploadError{Reason: ErrUnknownColumn, Cell: 1, Header: "Ada Specimen"}},
		{"a column twice", "lot,batch\n", Upload{}, UploadError{Reason: ErrColumnTwice, Cell: 2, Column: "lot", Header: "batch"}},
		{"no manufacturer", "nom,date of birth,disease,vaccine,product,date,dose,doses,country,authority\n", eu, UploadError{Reason: ErrColumnMissing, Column: "manufacturer"}},
		{"no name", "lot,date\n", eu, UploadError{Reason: ErrColumnMissing, Column: "family_name or given_name"}},
		{"dates of two readings", "birth_date\n03/04/1990\n12/11/2020\n", Upload{}, UploadError{Reason: ErrAmbiguousColumn, Cell: 1, Column: "birth_date", Header: "birth_date"}},
		{"dates of both orders", "date\n25/04/2026\n04/25/2026\n", Upload{}, UploadError{Reason: ErrAmbiguousColumn, Cell: 1, Column: "date", Header: "date"}},
		{"M of whom", "sex\nM\n", Upload{}, UploadError{Reason: ErrAmbiguousColumn, Cell: 1, Column: "sex", Header: "sex"}},
		{"hombre o mujer", "sexo\nH\nM\n", Upload{}, UploadError{Reason: ErrAmbiguousColumn, Cell: 1, Column: "sex", Header: "sexo"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := readAll(strings.NewReader(tt.file), tt.u)
			var got *UploadError
			if !errors.As(err, &got) {
				t.Fatalf("%v", err)
			}
			if tt.want.Hint == "" {
				tt.want.Hint = got.Hint
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Error(diff)
			}
			if got.Header != "" && got.Column == "" && strings.Contains(err.Error(), got.Header) {
				t.Errorf("the error repeats the file: %v", err)
			}
		})
	}
}

// TestCells: what a cell says, and the faults of one.
func TestCells(t *testing.T) {
	birth := func(r *cert.Certificate) string { return string(r.Person.BirthDate) }
	day := func(r *cert.Certificate) string { return string(r.Vaccination.Date) }
	code := func(c cert.Code) string { return c.System + "|" + c.Code }
	for _, tt := range []struct {
		name, file string
		dates      DateOrder
		get        func(*cert.Certificate) string
		want       []string // of each row; a reason where it has a fault
	}{
		{"partial dates", "born\n1990\n1990-02\n1990-13\n90\n", "", birth, []string{"1990", "1990-02", "bad-date", "bad-date"}},
		{"whole dates only", "date\n2026\n2026-10\n2026-10-01\n", "", day, []string{"bad-date", "bad-date", "2026-10-01"}},
		{"one date tells the others", "date\n03/04/2026\n25/04/2026\n", "", day, []string{"2026-04-03", "2026-04-25"}},
		{"one tells of the month first", "date\n03/04/2026\n04/25/2026\n", "", day, []string{"2026-03-04", "2026-04-25"}},
		{"the same both ways", "date\n07/07/2026\n", "", day, []string{"2026-07-07"}},
		{"the order said", "date\n03/04/2026\n25/04/2026\n", MonthFirst, day, []string{"2026-03-04", "bad-date"}},
		{"no dates", "date\n99/99/2026\n31/02/2026\n1/2/26\n25/10/2026\n2026-02-29\n", "", day, []string{"bad-date", "bad-date", "bad-date", "2026-10-25", "bad-date"}},
		{"dots have the day first", "date\n03.04.2026\n", MonthFirst, day, []string{"2026-04-03"}},
		{"serial numbers", "date\n46296\n10000\n9999\n46296.5\n", "", day, []string{"2026-10-01", "1927-05-18", "bad-date", "bad-date"}},
		{"two columns, two orders", "born,date\n25/04/1990,04/25/2026\n03/04/1990,03/04/2026\n", "", func(r *cert.Certificate) string { return birth(r) + " " + day(r) },
			[]string{"1990-04-25 2026-04-25", "1990-04-03 2026-03-04"}},
		{"sexes", "sexe\nF\nm\nFemme\nmujer\nHombre\nautre\nx\n", "", func(r *cert.Certificate) string { return r.Person.Sex },
			[]string{"female", "male", "female", "female", "male", "other", "bad-code"}},
		{"homme ou femme", "sexe\nH\nF\n", "", func(r *cert.Certificate) string { return r.Person.Sex }, []string{"male", "female"}},
		{"counts", "dose\n1\n0\n1.5\none\n100\n", "", func(r *cert.Certificate) string { return string(rune('0' + r.Vaccination.Dose)) }, []string{"1", "bad-value", "bad-value", "bad-value", "bad-value"}},
		{"diseases", "disease\nCOVID-19\nyellow fever\n1D47\n16541001\nsnomed|1\nplague\n", "", func(r *cert.Certificate) string { return code(r.Vaccination.Disease) }, []string{
			"http://snomed.info/sct|840539006", "http://snomed.info/sct|16541001", "http://id.who.int/icd/release/11/mms|1D47", "http://snomed.info/sct|16541001", "http://snomed.info/sct|1", "|plague",
		}},
		{"codes", "vaccine\n1119349007\ncvx|207\nXM0N24\nwhat\n", "", func(r *cert.Certificate) string { return code(r.Vaccination.Vaccine) }, []string{
			"http://snomed.info/sct|1119349007", "http://hl7.org/fhir/sid/cvx|207", "http://id.who.int/icd/release/11/mms|XM0N24", "|what",
		}},
		{"a cell too many", "lot,dose\nA,1,\nA,1,2\nA\n", "", func(r *cert.Certificate) string { return r.Vaccination.Lot }, []string{"A", "column-missing", "A"}},
		{"what cannot be seen", "lot\nA\u202eB\nA\u0000B\nA\ufffdB\n", "", func(r *cert.Certificate) string { return r.Vaccination.Lot }, []string{"suspicious-text", "suspicious-text", "suspicious-text"}},
		{"formulas", "lot\n=1+1\n'=1+1\n'A\n-5\n", "", func(r *cert.Certificate) string { return r.Vaccination.Lot }, []string{"=1+1", "=1+1", "'A", "-5"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, header, err := newCSV(strings.NewReader(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			l, err := newLayout(header, c.comma, Upload{})
			if err != nil {
				t.Fatal(err)
			}
			var rows [][]string
			for cells, _, err := c.next(); err == nil; cells, _, err = c.next() {
				l.note(cells)
				rows = append(rows, cells)
			}
			if err := l.settle(tt.dates); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, cells := range rows {
				r, faults := l.record(cells)
				if len(faults) > 0 {
					got = append(got, faults[0].Reason)
				} else {
					got = append(got, tt.get(r))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestCSVRoundTrip: what we write is what we read, and no cell of it is a formula.
func TestCSVRoundTrip(t *testing.T) {
	for _, cells := range [][]string{
		{"=HYPERLINK(\"https://evil.example\")", "+1", "-1", "@SUM(A1)", "plain"},
		{"a,b", "a;b", "a\tb", "a\"b", "two\nlines"},
		{"Ünïcode", "", "x"},
	} {
		for _, comma := range []byte(",;\t") {
			file := appendCSV(appendCSV([]byte("\ufeff"), comma, "lot", "dose", "date", "country", "sex"), comma, cells...)
			c, _, err := newCSV(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := c.next()
			if err != nil || !slices.Equal(got, cells) {
				t.Errorf("%q, %v; want %q", got, err, cells)
			}
			body := strings.SplitN(string(file), "\r\n", 2)[1]
			for _, cell := range strings.Split(body, string(comma)) {
				if cell = strings.Trim(cell, `"`); cell != "" && strings.ContainsAny(cell[:1], "=+-@") {
					t.Errorf("a formula: %q", cell)
				}
			}
		}
	}
}

// TestColumns: the names of the columns do not stand in each other's way.
func TestColumns(t *testing.T) {
	owner := make(map[string]string)
	for _, c := range columns {
		for _, name := range append(strings.Split(c.aliases, ","), c.name) {
			key := headerKey(name)
			if other, taken := owner[key]; taken {
				t.Errorf("%q is %s and %s", name, other, c.name)
			}
			owner[key] = c.name
		}
	}
	if at, nearest, known := findColumn("manufactrer"); known || nearest != "manufacturer" {
		t.Errorf("%d, %q", at, nearest)
	}
}

// TestTemplate: the template is read without a fault, and has what the formats need.
func TestTemplate(t *testing.T) {
	for _, f := range []Format{ICVP, EUDCC, DDCC, SHC, VDSNC} {
		records, faults, err := readAll(bytes.NewReader(Template([]Format{f})), Upload{Wanted: []Wanted{{Format: f}}})
		if err != nil || len(faults) > 0 || len(records) != 1 || records[0].Person.Name.Family != "Specimen" {
			t.Errorf("%s: %v, %v, %d rows", f, err, faults, len(records))
		}
	}
}

func FuzzCSV(f *testing.F) {
	f.Add(Template([]Format{EUDCC}))
	f.Add([]byte("sep=;\nnom;sexe\n\"a\"\"b\";F\n"))
	f.Add([]byte(utf16File("lot,date\r\nA,03/25/2026\r\n", true)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, header, err := newCSV(bytes.NewReader(data))
		if err != nil {
			return
		}
		l, err := newLayout(header, c.comma, Upload{})
		for {
			cells, line, rowErr := c.next()
			if rowErr != nil {
				break
			}
			if line < 1 || len(cells) > maxCells+1 {
				t.Errorf("line %d, %d cells", line, len(cells))
			}
			if err == nil {
				l.note(cells)
				r, faults := l.record(cells)
				if len(faults) == 0 && r.Vaccination.Date != "" && !format.IsDate(string(r.Vaccination.Date)) {
					t.Errorf("%q is no date", r.Vaccination.Date)
				}
			}
			// What we give back is read as what came.
			back, _, backErr := newCSV(bytes.NewReader(appendCSV(appendCSV(nil, c.comma, "a", "b"), c.comma, cells...)))
			if backErr != nil {
				t.Fatal(backErr)
			}
			if again, _, _ := back.next(); !slices.Equal(again, cells) && !slices.ContainsFunc(cells, odd) {
				t.Errorf("%q came back as %q", cells, again)
			}
		}
	})
}

// odd cells are not given back as they were: line ends change, and an apostrophe
// that came is taken for ours.
func odd(cell string) bool { return unguard(cell) != cell || strings.ContainsAny(cell, "\r\ufeff") }

func FuzzFHIR(f *testing.F) {
	f.Add([]byte(`{"resourceType":"Bundle","type":"batch","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","name":[{"family":"S"}]}},
	 {"resource":{"resourceType":"Immunization","status":"completed","patient":{"reference":"urn:uuid:1"},"occurrenceDateTime":"2026-10-01","vaccineCode":{"coding":[{"system":"urn:x","code":"1"}]}}}]}`))
	f.Add([]byte("{\"resourceType\":\"Patient\",\"id\":\"1\"}\n{\"resourceType\":\"Immunization\",\"patient\":{\"reference\":\"Patient/1\"},\"performer\":[{\"actor\":{}}]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sink := func(source []byte, line int) error {
			if line < 1 || !json.Valid(source) {
				t.Errorf("line %d: %q", line, source)
			}
			if r, faults := fhirRecord(source); len(faults) == 0 && r.Vaccination == nil {
				t.Error("no fault and no dose")
			}
			return nil
		}
		_ = readFHIR(data, sink)
		_ = readNDJSON(data, sink)
	})
}
