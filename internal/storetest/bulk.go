package storetest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
)

// BulkBook keeps records and jobs.
type BulkBook interface {
	issuer.Book
	issuer.JobBook
}

// Bulk holds a book of jobs against its contract, by the flows that stand on it.
func Bulk(t *testing.T, open func(*testing.T) BulkBook) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, *BulkKit)
	}{
		{"a clinic's morning", testMorning},
		{"checked as issued", testChecked},
		{"duplicates", testBulkDuplicates},
		{"pause and cancel", testPauseCancel},
		{"what is refused", testUploadRefused},
		{"FHIR", testBulkFHIR},
		{"places", testBulkPlaces},
		{"erased meanwhile", testBulkErase},
		{"destroyed in time", testBulkRetention},
		{"trouble", testBulkTrouble},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, NewBulkKit(t, open(t)))
		})
	}
}

// BulkKit is a [Kit] with an office of bulk issuing.
type BulkKit struct {
	*Kit
	Bulk *issuer.Bulk
	Book BulkBook
	by   issuer.Actor
}

// NewBulkKit makes an office over a book. Nobody works in it before [BulkKit.Serve].
func NewBulkKit(t testing.TB, book BulkBook) *BulkKit {
	k := &BulkKit{Kit: NewKit(t, book), Book: book, by: issuer.Actor{ID: "clerk-1", Within: issuer.Place{Organisation: "org-1", Facility: "clinic-1"}}}
	k.Bulk = &issuer.Bulk{Registry: k.Registry, Jobs: book, Trouble: func(id issuer.ID, err error) { t.Errorf("job %s: %v", id, err) }}
	return k
}

// Serve works on jobs until it is stopped, or the test ends.
func (k *BulkKit) Serve(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Bulk.Serve(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// Wanted is what the jobs of the tests ask for.
var Wanted = []issuer.Wanted{{Format: issuer.EUDCC, Expires: Day.AddDate(0, 6, 0)}, {Format: issuer.SHC}}

// Series is an upload of a series.
func Series(name string) issuer.Upload { return issuer.Upload{Series: name, Wanted: Wanted} }

// Header is that of [CSVRow].
const Header = "family_name,given_name,birth_date,document_number,disease,vaccine,product,manufacturer,lot,date,dose,doses,country,authority"

// CSVRow is the dose of person n as a row.
func CSVRow(n int) string {
	r := Dose(n)
	return strings.Join([]string{
		r.Person.Name.Family, r.Person.Name.Given, string(r.Person.BirthDate), r.Person.Document.Number, "covid-19", r.Vaccination.Vaccine.Code,
		r.Vaccination.Product.Code, r.Vaccination.Manufacturer.Code, r.Vaccination.Lot, string(r.Vaccination.Date), "1", "2", "AT", r.Authority,
	}, ",")
}

// CSV is a file of rows.
func CSV(rows ...string) string { return Header + "\r\n" + strings.Join(rows, "\r\n") + "\r\n" }

// Upload uploads a CSV file.
func (k *BulkKit) Upload(t testing.TB, u issuer.Upload, file string) issuer.Job {
	t.Helper()
	j, err := k.Bulk.Upload(t.Context(), k.by, issuer.Place{}, issuer.MediaCSV, u, strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// Until waits until a job is in a state.
func (k *BulkKit) Until(t testing.TB, id issuer.ID, state issuer.JobState) issuer.Job {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		j, err := k.Bulk.Job(context.Background(), k.by, id)
		if err != nil {
			t.Fatal(err)
		}
		if j.State == state {
			return j
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job is %s, want %s: %+v", j.State, state, j.Counts)
		}
	}
}

// Run uploads, starts and waits for the end.
func (k *BulkKit) Run(t testing.TB, u issuer.Upload, file string) issuer.Job {
	t.Helper()
	return k.Finish(t, k.Upload(t, u, file).ID)
}

// Finish starts a job and waits for its end.
func (k *BulkKit) Finish(t testing.TB, id issuer.ID) issuer.Job {
	t.Helper()
	j := k.Until(t, id, issuer.JobChecked)
	if _, err := k.Bulk.Start(t.Context(), k.by, issuer.Guard{ID: j.ID, Version: j.Version}); err != nil {
		t.Fatal(err)
	}
	return k.Until(t, id, issuer.JobFinished)
}

// Errors returns the failed rows of a job as CSV.
func (k *BulkKit) Errors(t testing.TB, id issuer.ID) string {
	t.Helper()
	var out bytes.Buffer
	if err := k.Bulk.Errors(t.Context(), k.by, id, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Issued returns how many records there are.
func (k *BulkKit) Issued(t testing.TB) (n int) {
	t.Helper()
	for cursor := (issuer.ID{}); ; {
		page, next, err := k.Registry.List(t.Context(), k.by, cursor, 1000)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page)
		if cursor = next; next == (issuer.ID{}) {
			return n
		}
	}
}

func guardOf(j issuer.Job) issuer.Guard { return issuer.Guard{ID: j.ID, Version: j.Version} }

// Faults are seven ways in which a row is wrong, with where and why it is told.
var Faults = []struct {
	Old, New, Column, Reason string
}{
	{"2026-10-01", "2030-10-01", "date", "date-in-future"},
	{"2026-10-01", "2026-02-30", "date", "bad-date"},
	{",1,2,", ",one,2,", "dose", "bad-value"},
	{",AT,", ",A1,", "country", "bad-code"},
	{",EU/1/20/1528,", ",,", "product", "required-missing"},
	{",covid-19,", ",,", "disease", "required-missing"},
	{",1,2,", ",3,,", "doses", "bad-value"},
}

// testMorning is the first acceptance scenario: 300 rows with 7 faults give 293
// certificates and 7 explanations; the same file put right gives those 7.
func testMorning(t *testing.T, k *BulkKit) {
	k.Serve(t)
	rows := make([]string, 300)
	for n := range rows {
		rows[n] = CSVRow(n)
	}
	wrong := make(map[int]int) // row → fault
	for i, f := range Faults {
		n := 41*i + 3
		bad := strings.Replace(rows[n], f.Old, f.New, 1)
		if bad == rows[n] {
			t.Fatalf("fault %d changes nothing in %s", i, rows[n])
		}
		rows[n], wrong[n] = bad, i
	}
	file := CSV(rows...)
	j := k.Upload(t, Series("2026-11"), file)
	j = k.Until(t, j.ID, issuer.JobChecked)
	if want := (issuer.Counts{Total: 300, Ready: 293, Failed: 7}); j.Counts != want {
		t.Errorf("checked: %+v, want %+v", j.Counts, want)
	}
	if k.Issued(t) != 0 {
		t.Error("the check has issued")
	}
	failed, err := k.Bulk.Rows(t.Context(), k.by, j.ID, 0, 100, issuer.RowFailed)
	if err != nil || len(failed) != 7 {
		t.Fatalf("%d rows failed, %v", len(failed), err)
	}
	for _, row := range failed {
		f := Faults[wrong[int(row.N-1)]]
		if row.Line != int(row.N)+1 || row.Column != f.Column || row.Reason != f.Reason || len(row.Faults) != 1 || row.Source != nil {
			t.Errorf("line %d: %s %s, want %s %s: %+v", row.Line, row.Column, row.Reason, f.Column, f.Reason, row.Faults)
		}
	}
	j = k.Finish(t, j.ID)
	if want := (issuer.Counts{Total: 300, Done: 293, Failed: 7}); j.Counts != want || j.Ended.IsZero() || j.Started.IsZero() {
		t.Errorf("finished: %+v, want %+v", j.Counts, want)
	}
	if n := k.Issued(t); n != 293 {
		t.Errorf("%d records", n)
	}

	// What was issued can be handed out, and is valid.
	handed := 0
	for held, err := range k.Bulk.Certificates(t.Context(), k.by, j.ID) {
		if err != nil {
			t.Fatal(err)
		}
		if held.Place != k.by.Within {
			t.Errorf("a record of %+v", held.Place)
		}
		if outcome := k.Verify(t, held.Artefacts[handed%2].Text, nil); outcome != verifier.Valid {
			t.Errorf("%s", outcome)
		}
		handed++
	}
	if handed != 293 {
		t.Errorf("%d certificates", handed)
	}

	// The failed rows come back whole, and put right are issued, they alone.
	back := k.Errors(t, j.ID)
	cells, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(back, "\ufeff"))).ReadAll()
	if err != nil || len(cells) != 8 || strings.Join(cells[0], ",") != "error_line,error_column,error_reason,error,"+Header {
		t.Fatalf("%d lines, %v: %q", len(cells), err, back)
	}
	for i, row := range cells[1:] {
		n := 41*i + 3
		if got := strings.Join(row[4:], ","); got != rows[n] {
			t.Errorf("the row came back as %q, was %q", got, rows[n])
		}
		if says := row[:4]; says[0] != fmt.Sprint(n+2) || says[1] != Faults[i].Column || says[2] != Faults[i].Reason || says[3] == "" {
			t.Errorf("%q", says)
		}
	}
	again := k.Run(t, Series("2026-11"), back)
	if want := (issuer.Counts{Total: 7, Failed: 7}); again.Counts != want {
		t.Errorf("uncorrected: %+v", again.Counts)
	}
	fixed := back
	for i := range Faults {
		n := 41*i + 3
		fixed = strings.Replace(fixed, rows[n], CSVRow(n), 1)
	}
	again = k.Run(t, Series("2026-11"), fixed)
	if want := (issuer.Counts{Total: 7, Done: 7}); again.Counts != want || k.Issued(t) != 300 {
		t.Errorf("corrected: %+v, want %+v; %d records", again.Counts, want, k.Issued(t))
	}

	// The whole file, put right, brings nothing new.
	for n := range rows {
		rows[n] = CSVRow(n)
	}
	later := Series("2026-11")
	later.Wanted = []issuer.Wanted{{Format: issuer.EUDCC, Expires: Day.AddDate(0, 5, 0)}, {Format: issuer.SHC}} // asked for another day
	again = k.Run(t, later, CSV(rows...))
	if want := (issuer.Counts{Total: 300, Skipped: 300}); again.Counts != want || k.Issued(t) != 300 {
		t.Errorf("the same again: %+v, want %+v; %d records", again.Counts, want, k.Issued(t))
	}
	skipped, err := k.Bulk.Rows(t.Context(), k.by, again.ID, 0, 1)
	if err != nil || skipped[0].Reason != issuer.AlreadyIssued {
		t.Errorf("%+v, %v", skipped, err)
	}
}

// testChecked: what passes the check is issued, and what does not is not, for the
// same reason.
func testChecked(t *testing.T, k *BulkKit) {
	for name, change := range map[string]func(*issuer.Order){
		"good":             func(*issuer.Order) {},
		"tomorrow":         func(o *issuer.Order) { o.Record.Vaccination.Date = "2027-01-01" },
		"no country":       func(o *issuer.Order) { o.Record.Vaccination.Country = "" },
		"no name":          func(o *issuer.Order) { o.Record.Person.Name = cert.Name{} },
		"a long name":      func(o *issuer.Order) { o.Record.Person.Name.Family = strings.Repeat("A", 90) },
		"a long authority": func(o *issuer.Order) { o.Record.Authority = strings.Repeat("A", 3000) },
		"expired":          func(o *issuer.Order) { o.Wanted[0].Expires = Day.AddDate(0, 0, -1) },
		"not signed here":  func(o *issuer.Order) { o.Wanted[1].Format = issuer.ICVP },
		"an odd code":      func(o *issuer.Order) { o.Record.Vaccination.Disease = cert.Code{Code: "?"} },
		"a seal":           func(o *issuer.Order) { o.Record, o.Wanted = SealDose(1), []issuer.Wanted{{Format: issuer.VDSNC}} },
		"a bad seal": func(o *issuer.Order) {
			o.Record, o.Wanted = SealDose(1), []issuer.Wanted{{Format: issuer.VDSNC}}
			o.Record.Vaccination.Lot = strings.Repeat("L", 60)
		},
		"DDCC": func(o *issuer.Order) { o.Wanted = []issuer.Wanted{{Format: issuer.DDCC}} },
	} {
		o := Order("", Dose(1))
		change(&o)
		before := k.IssuedAnywhere(t)
		checked := k.Registry.CheckOrder(o)
		if k.IssuedAnywhere(t) != before {
			t.Errorf("%s: the check has issued", name)
		}
		_, issued := k.Registry.Issue(t.Context(), o)
		if (checked == nil) != (issued == nil) || checked != nil && checked.Error() != issued.Error() {
			t.Errorf("%s: checked: %v; issued: %v", name, checked, issued)
		}
	}
}

// IssuedAnywhere returns how many records there are of any place.
func (k *BulkKit) IssuedAnywhere(t testing.TB) int {
	t.Helper()
	page, _, err := k.Registry.List(t.Context(), By("clerk-1"), issuer.ID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(page)
}

// testBulkDuplicates: a row that comes twice is issued once; another of the same
// dose is issued, with a warning.
func testBulkDuplicates(t *testing.T, k *BulkKit) {
	k.Serve(t)
	o := Order("", Dose(5))
	o.By = k.by
	issue(t, k.Kit, o) // by hand, another day
	other := Order("", Dose(6))
	other.By = issuer.Actor{ID: "clerk-9", Within: issuer.Place{Organisation: "org-2"}}
	issue(t, k.Kit, other) // of another organisation: not ours to know
	spelled := strings.Replace(CSVRow(1), Lots, strings.ToLower(Lots), 1)
	j := k.Run(t, Series(""), CSV(CSVRow(1), CSVRow(2), CSVRow(1), spelled, CSVRow(5), CSVRow(6)))
	if want := (issuer.Counts{Total: 6, Done: 5, Skipped: 1, Warned: 2}); j.Counts != want {
		t.Errorf("%+v, want %+v", j.Counts, want)
	}
	rows, err := k.Bulk.Rows(t.Context(), k.by, j.ID, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, r := range rows {
		reasons = append(reasons, r.Reason)
		if r.Source != nil {
			t.Error("the row is still there")
		}
	}
	if want := []string{"", "", issuer.Repeated, issuer.DuplicateInFile, issuer.DuplicateInBook, ""}; !slices.Equal(reasons, want) {
		t.Errorf("%q, want %q", reasons, want)
	}
	// A cell too many is a fault each time the row comes.
	j = k.Run(t, Series(""), CSV(CSVRow(7)+",more"))
	if again := k.Run(t, Series(""), k.Errors(t, j.ID)); j.Failed != 1 || again.Failed != 1 {
		t.Errorf("%+v, then %+v", j.Counts, again.Counts)
	}
	// Without a series, another upload is another matter.
	if j = k.Run(t, Series(""), CSV(CSVRow(2))); j.Done != 1 || j.Warned != 1 {
		t.Errorf("%+v", j.Counts)
	}
}

// testPauseCancel: a job stops where it is told to, goes on, and ends.
func testPauseCancel(t *testing.T, k *BulkKit) {
	stop := k.Serve(t)
	rows := make([]string, 1200)
	for n := range rows {
		rows[n] = CSVRow(n)
	}
	rows[7] = strings.Replace(rows[7], "2026-10-01", "never", 1)
	j := k.Upload(t, Series("a"), CSV(rows...))
	j = k.Until(t, j.ID, issuer.JobChecked)
	if _, err := k.Bulk.Pause(t.Context(), k.by, guardOf(j)); !errors.Is(err, issuer.ErrState) {
		t.Errorf("a job that does not run was paused: %v", err)
	}
	if err := k.Bulk.Delete(t.Context(), k.by, guardOf(j)); !errors.Is(err, issuer.ErrState) {
		t.Errorf("deleted before its end: %v", err)
	}
	j, err := k.Bulk.Start(t.Context(), k.by, guardOf(j))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Bulk.Start(t.Context(), k.by, guardOf(j)); !errors.Is(err, issuer.ErrState) {
		t.Errorf("started twice: %v", err)
	}
	if _, err := k.Bulk.Pause(t.Context(), k.by, issuer.Guard{ID: j.ID, Version: j.Version - 1}); !errors.Is(err, issuer.ErrConflict) {
		t.Errorf("an old version: %v", err)
	}
	paused := 0
	for j.State == issuer.JobRunning && paused < 3 {
		now, err := k.Bulk.Pause(t.Context(), k.by, guardOf(j))
		if errors.Is(err, issuer.ErrState) || errors.Is(err, issuer.ErrConflict) {
			break // it was quicker
		}
		if err != nil {
			t.Fatal(err)
		}
		paused++
		if now, err = k.Bulk.Resume(t.Context(), k.by, guardOf(now)); err != nil {
			t.Fatal(err)
		}
		j = now
	}
	if paused == 0 {
		t.Error("it was never paused")
	}
	// The process ends in order, and another takes over.
	stop()
	held, err := k.Bulk.Job(t.Context(), k.by, j.ID)
	if err != nil || held.State != issuer.JobRunning && held.State != issuer.JobFinished {
		t.Fatalf("%s, %v", held.State, err)
	}
	k.Bulk = &issuer.Bulk{Registry: k.Registry, Jobs: k.Book, Trouble: k.Bulk.Trouble}
	k.Serve(t)
	j = k.Until(t, j.ID, issuer.JobFinished)
	if want := (issuer.Counts{Total: 1200, Done: 1199, Failed: 1}); j.Counts != want || k.Issued(t) != 1199 {
		t.Errorf("%+v, %d records", j.Counts, k.Issued(t))
	}

	// Cancelled: what failed is kept, the rest is not.
	for n := range rows {
		rows[n] = CSVRow(5000 + n)
	}
	rows[9] = strings.Replace(rows[9], "2026-10-01", "never", 1)
	c := k.Upload(t, Series("b"), CSV(rows...))
	c = k.Until(t, c.ID, issuer.JobChecked)
	if c, err = k.Bulk.Cancel(t.Context(), k.by, guardOf(c)); err != nil || c.State != issuer.JobCancelled {
		t.Fatalf("%s, %v", c.State, err)
	}
	all, err := k.Book.Rows(t.Context(), c.ID, -1, 2000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if (r.Source != nil) != (r.State == issuer.RowFailed) {
			t.Errorf("row %d, %s: %d bytes", r.N, r.State, len(r.Source))
		}
	}
	if back := k.Errors(t, c.ID); !strings.Contains(back, ",never,") {
		t.Errorf("%q", back)
	}
	if _, err := k.Bulk.Resume(t.Context(), k.by, guardOf(c)); !errors.Is(err, issuer.ErrState) {
		t.Errorf("resumed after its end: %v", err)
	}
	if err := k.Bulk.Delete(t.Context(), k.by, guardOf(c)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Bulk.Job(t.Context(), k.by, c.ID); !errors.Is(err, issuer.ErrNotFound) {
		t.Errorf("deleted, and %v", err)
	}
	jobs, _, err := k.Bulk.List(t.Context(), k.by, issuer.ID{}, 10)
	if err != nil || len(jobs) != 1 || k.Issued(t) != 1199 {
		t.Errorf("%d jobs, %v", len(jobs), err)
	}
}

// testUploadRefused: of a file that is refused nothing is kept.
func testUploadRefused(t *testing.T, k *BulkKit) {
	k.Serve(t)
	try := func(name string, u issuer.Upload, file io.Reader, want error) {
		t.Helper()
		if _, err := k.Bulk.Upload(t.Context(), k.by, issuer.Place{}, issuer.MediaCSV, u, file); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	many := make([]string, 700) // more than a page
	for n := range many {
		many[n] = CSVRow(n)
	}
	try("a quotation mark at the end", Series(""), strings.NewReader(CSV(append(many, `"Ada,`)...)), issuer.ErrQuote)
	try("no rows", Series(""), strings.NewReader(Header), issuer.ErrNoRows)
	try("a series with blanks", Series("of Ada"), strings.NewReader(CSV(CSVRow(1))), issuer.ErrSeries)
	try("no formats", issuer.Upload{}, strings.NewReader(CSV(CSVRow(1))), issuer.ErrOrder)
	try("cut off", Series(""), io.MultiReader(strings.NewReader(CSV(many...)), broken{}), io.ErrUnexpectedEOF)
	try("too large", Series(""), io.MultiReader(strings.NewReader(Header), blankLines{}), issuer.ErrUploadSize)
	if jobs, _, err := k.Bulk.List(t.Context(), k.by, issuer.ID{}, 10); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs, %v", len(jobs), err)
	}
	if jobs, err := k.Book.Jobs(t.Context(), issuer.JobQuery{Limit: 10}); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs, %v", len(jobs), err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type blankLines struct{}

func (blankLines) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// FHIRDose is an immunization of a patient, as a system of records writes it.
func FHIRDose(patient string, lot string) string {
	return fmt.Sprintf(`{"resourceType": "Immunization", "status": "completed", "patient": {"reference": %q}, "occurrenceDateTime": "2026-10-01T09:30:00+02:00", "lotNumber": %q,
	 "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "208"}, {"system": "https://ec.europa.eu/health/documents/community-register/html/", "code": "EU/1/20/1528"},
	 {"system": "http://snomed.info/sct", "code": "1119349007"}]}, "manufacturer": {"identifier": {"system": "https://spor.ema.europa.eu/v1/organisations", "value": "ORG-100030215"}},
	 "protocolApplied": [{"doseNumberPositiveInt": 1, "seriesDosesPositiveInt": 2, "targetDisease": [{"coding": [{"system": "http://snomed.info/sct", "code": "840539006"}]}]}]}`, patient, lot)
}

// FHIRPatient is person n.
func FHIRPatient(id string, n int) string {
	r := Dose(n)
	return fmt.Sprintf(`{"resourceType": "Patient", "id": %q, "name": [{"use": "old", "family": "Formerly"}, {"use": "official", "family": %q, "given": [%q]}], "birthDate": %q}`,
		id, r.Person.Name.Family, r.Person.Name.Given, r.Person.BirthDate)
}

func testBulkFHIR(t *testing.T, k *BulkKit) {
	k.Serve(t)
	u := Series("fhir")
	u.Country, u.Authority = "AT", "Specimen authority"
	bundle := `{"resourceType": "Bundle", "type": "transaction", "entry": [
	 {"fullUrl": "urn:uuid:0c2f3a6e-0000-4000-8000-000000000001", "resource": ` + FHIRPatient("p1", 1) + `, "request": {"method": "POST", "url": "Patient"}},
	 {"fullUrl": "urn:uuid:0c2f3a6e-0000-4000-8000-000000000002", "resource": ` + FHIRDose("urn:uuid:0c2f3a6e-0000-4000-8000-000000000001", "A") + `, "request": {"method": "POST", "url": "Immunization"}},
	 {"resource": ` + FHIRDose("Patient/p1", "B") + `},
	 {"fullUrl": "https://ehr.example/fhir/Patient/77", "resource": ` + FHIRPatient("", 2) + `},
	 {"resource": ` + FHIRDose("Patient/77", "C") + `},
	 {"resource": ` + strings.Replace(FHIRDose("#me", "D"), `{`, `{"contained": [`+FHIRPatient("me", 3)+`],`, 1) + `},
	 {"resource": ` + FHIRDose("Patient/unknown", "E") + `},
	 {"resource": ` + strings.Replace(FHIRDose("Patient/p1", "F"), "completed", "not-done", 1) + `},
	 {"resource": ` + strings.Replace(FHIRDose("Patient/p1", "G"), `"status"`, `"isSubpotent": true, "status"`, 1) + `},
	 {"resource": ` + strings.Replace(FHIRDose("Patient/p1", "H"), `"status"`, `"modifierExtension": [{"url": "https://ehr.example/not"}], "status"`, 1) + `},
	 {"resource": ` + FHIRDose("Patient/p1", "I") + `, "request": {"method": "DELETE", "url": "Immunization/1"}},
	 {"resource": ` + strings.Replace(FHIRDose("Patient/p1", "J"), "2026-10-01T09:30:00+02:00", "2026", 1) + `},
	 {"resource": {"resourceType": "Encounter", "status": "finished"}}]}`
	lines := FHIRDose("Patient/b", "A") + "\n\n" + FHIRPatient("a", 11) + "\n" + FHIRPatient("b", 12) + "\n" + FHIRDose("Patient/a", "B") + "\n" +
		FHIRPatient("twice", 13) + "\n" + FHIRPatient("twice", 14) + "\n" + FHIRDose("Patient/twice", "C") + "\n" +
		`{"resourceType": "Bundle", "type": "collection", "entry": [{"resource": ` + FHIRDose("Patient/x", "D") + `}, {"resource": ` + FHIRPatient("x", 15) + `}]}` + "\n"
	lines = strings.ReplaceAll(strings.ReplaceAll(lines, "\n\t ", " "), "\n\t", " ")
	for _, tt := range []struct {
		media  issuer.Media
		file   string
		want   issuer.Counts
		failed []string
	}{
		{issuer.MediaFHIR, bundle, issuer.Counts{Total: 10, Done: 4, Failed: 6}, []string{
			"7 Immunization.patient unresolved-reference", "8 Immunization.status bad-status", "9 Immunization.isSubpotent bad-value",
			"10 Immunization.modifierExtension not-to-be-carried", "11 Immunization.status bad-status", "12 date bad-date",
		}},
		{issuer.MediaNDJSON, lines, issuer.Counts{Total: 4, Done: 3, Failed: 1}, []string{"8 Immunization.patient unresolved-reference"}},
	} {
		j, err := k.Bulk.Upload(t.Context(), k.by, issuer.Place{}, tt.media, u, strings.NewReader(tt.file))
		if err != nil {
			t.Fatal(err)
		}
		if j = k.Finish(t, j.ID); j.Counts != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.media, j.Counts, tt.want)
		}
		rows, err := k.Bulk.Rows(t.Context(), k.by, j.ID, 0, 20, issuer.RowFailed)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rows {
			got = append(got, fmt.Sprintf("%d %s %s", r.Line, r.Column, r.Reason))
		}
		if diff := cmp.Diff(tt.failed, got); diff != "" {
			t.Errorf("%s: %s\n%s", tt.media, diff, k.Errors(t, j.ID))
		}
		for held, err := range k.Bulk.Certificates(t.Context(), k.by, j.ID) {
			if err != nil {
				t.Fatal(err)
			}
			v := held.Record.Vaccination
			if v.Product.Code != "EU/1/20/1528" || v.Vaccine.Code != "1119349007" || v.Country != "AT" || held.Record.Person.Name.Family == "Formerly" {
				t.Errorf("%+v", v)
			}
		}
		j, err = k.Bulk.Upload(t.Context(), k.by, issuer.Place{}, tt.media, u, strings.NewReader(tt.file))
		if err != nil {
			t.Fatal(err)
		}
		if j = k.Finish(t, j.ID); j.Done != 0 || j.Skipped != tt.want.Done {
			t.Errorf("%s again: %+v", tt.media, j.Counts)
		}
	}
}

// testBulkPlaces: a job is nobody's but its place's, and its series too.
func testBulkPlaces(t *testing.T, k *BulkKit) {
	k.Serve(t)
	j := k.Run(t, Series("s"), CSV(CSVRow(1)))
	at := func(organisation, facility string) issuer.Actor {
		return issuer.Actor{ID: "clerk-2", Within: issuer.Place{Organisation: organisation, Facility: facility}}
	}
	for _, by := range []issuer.Actor{at("org-1", "clinic-2"), at("org-2", ""), at("org-2", "clinic-1")} {
		if _, err := k.Bulk.Job(t.Context(), by, j.ID); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("%+v: %v", by.Within, err)
		}
		if err := k.Bulk.Errors(t.Context(), by, j.ID, io.Discard); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("%+v: errors: %v", by.Within, err)
		}
		if _, err := k.Bulk.Rows(t.Context(), by, j.ID, 0, 10); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("%+v: rows: %v", by.Within, err)
		}
		if err := k.Bulk.Delete(t.Context(), by, guardOf(j)); !errors.Is(err, issuer.ErrNotFound) {
			t.Errorf("%+v: delete: %v", by.Within, err)
		}
		for _, err := range k.Bulk.Certificates(t.Context(), by, j.ID) {
			if !errors.Is(err, issuer.ErrNotFound) {
				t.Errorf("%+v: certificates: %v", by.Within, err)
			}
		}
		if page, _, err := k.Bulk.List(t.Context(), by, issuer.ID{}, 10); err != nil || len(page) > 0 {
			t.Errorf("%+v: %d jobs, %v", by.Within, len(page), err)
		}
		other := *k
		other.by = by
		if o := other.Run(t, Series("s"), CSV(CSVRow(1))); o.Done != 1 {
			t.Errorf("%+v: its series is another: %+v", by.Within, o.Counts)
		}
	}
	if _, err := k.Bulk.Job(t.Context(), at("org-1", ""), j.ID); err != nil {
		t.Errorf("the organisation: %v", err)
	}
	if _, err := k.Bulk.Upload(t.Context(), k.by, issuer.Place{Organisation: "org-1", Facility: "clinic-2"}, issuer.MediaCSV, Series(""), strings.NewReader(CSV(CSVRow(1)))); !errors.Is(err, issuer.ErrPlace) {
		t.Errorf("into another place: %v", err)
	}
}

// testBulkErase: an erasure leaves nothing of the person in the job.
func testBulkErase(t *testing.T, k *BulkKit) {
	k.Serve(t)
	j := k.Run(t, Series("s"), CSV(CSVRow(1), CSVRow(2)))
	rows, err := k.Bulk.Rows(t.Context(), k.by, j.ID, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Registry.Erase(t.Context(), k.by, rows[0].Record); err != nil {
		t.Fatal(err)
	}
	var left []issuer.ID
	for held, err := range k.Bulk.Certificates(t.Context(), k.by, j.ID) {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, held.ID)
	}
	if !slices.Equal(left, []issuer.ID{rows[1].Record}) {
		t.Errorf("%v", left)
	}
}

// testBulkRetention: after its time a job has nothing personal, and what it issued
// is still told.
func testBulkRetention(t *testing.T, k *BulkKit) {
	stop := k.Serve(t)
	bad := strings.Replace(CSVRow(2), "2026-10-01", "never", 1)
	j := k.Run(t, Series("s"), CSV(CSVRow(1), bad))
	idle := k.Upload(t, Series("t"), CSV(CSVRow(3), strings.Replace(bad, "never", "ever", 1)))
	k.Until(t, idle.ID, issuer.JobChecked)
	stop()
	k.Bulk = &issuer.Bulk{Registry: k.Registry, Jobs: k.Book, Trouble: k.Bulk.Trouble, Retention: time.Hour}
	k.Registry.Now = func() time.Time { return Day.Add(59 * time.Minute) }
	stop = k.Serve(t)
	time.Sleep(50 * time.Millisecond)
	stop()
	if k.Errors(t, j.ID); k.Until(t, idle.ID, issuer.JobChecked).State != issuer.JobChecked {
		t.Error("too early")
	}
	k.Registry.Now = func() time.Time { return Day.Add(61 * time.Minute) }
	k.Serve(t)
	k.Until(t, idle.ID, issuer.JobCancelled)
	for deadline := time.Now().Add(time.Minute); !j.Destroyed && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var err error
		if j, err = k.Bulk.Job(t.Context(), k.by, j.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Bulk.Errors(t.Context(), k.by, j.ID, io.Discard); !errors.Is(err, issuer.ErrUnreadable) {
		t.Errorf("%v", err)
	}
	rows, err := k.Bulk.Rows(t.Context(), k.by, j.ID, 0, 10)
	if err != nil || len(rows) != 2 || rows[1].Faults != nil || rows[1].Reason != "bad-date" {
		t.Errorf("%+v, %v", rows, err)
	}
	for held, err := range k.Bulk.Certificates(t.Context(), k.by, j.ID) {
		if err != nil || held.ID != rows[0].Record {
			t.Error(err)
		}
	}
}

// testBulkTrouble: what the store cannot do now is no fault of a row.
func testBulkTrouble(t *testing.T, k *BulkKit) {
	failing := &failingBook{Book: k.Book}
	failing.left.Store(30)
	k.Registry.Book = failing
	told := make(chan error, 100)
	k.Bulk.Trouble = func(_ issuer.ID, err error) { told <- err }
	stop := k.Serve(t)
	rows := make([]string, 600)
	for n := range rows {
		rows[n] = CSVRow(n)
	}
	j := k.Upload(t, Series("s"), CSV(rows...))
	j = k.Until(t, j.ID, issuer.JobChecked)
	if _, err := k.Bulk.Start(t.Context(), k.by, guardOf(j)); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, errTrouble) {
		t.Errorf("%v", err)
	}
	stop()
	if j, _ = k.Bulk.Job(t.Context(), k.by, j.ID); j.State != issuer.JobRunning || j.Failed != 0 || j.Done != 30 {
		t.Errorf("%s, %+v", j.State, j.Counts)
	}
	k.Registry.Book = k.Book
	k.Serve(t)
	if j = k.Until(t, j.ID, issuer.JobFinished); j.Done != 600 || k.Issued(t) != 600 {
		t.Errorf("%+v", j.Counts)
	}
}

const errTrouble = format.Defect("disk-on-fire")

// failingBook keeps some records, and then none.
type failingBook struct {
	issuer.Book
	left atomic.Int64
}

func (b *failingBook) Append(ctx context.Context, e issuer.Entry) ([]issuer.ID, error) {
	if b.left.Add(-1) < 0 {
		return nil, errTrouble
	}
	return b.Book.Append(ctx, e)
}
