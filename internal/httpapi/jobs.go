package httpapi

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"ampoule/format"
	"ampoule/internal/access"
	"ampoule/internal/messages"
	"ampoule/internal/paper"
	"ampoule/party/issuer"
)

// The time that a file may take to arrive, 64 MiB at 2 Mbit/s, and that a reader
// may take for the next piece of an answer that is made as it goes. The rest of a
// file that is refused may take as long as that.
const (
	jobUploadTime = 5 * time.Minute
	jobDrainTime  = 30 * time.Second
	pieceTime     = 30 * time.Second
)

// sheetsAtOnce is how many certificates one PDF of a job has: so many are held in
// memory at a time.
const sheetsAtOnce = 100

// CountsBody are the rows of a job.
type CountsBody struct {
	Total   int64 `json:"total"`
	Ready   int64 `json:"ready" doc:"Checked, and to be issued"`
	Done    int64 `json:"done" doc:"Issued"`
	Failed  int64 `json:"failed"`
	Skipped int64 `json:"skipped" doc:"Issued by an earlier upload of the series, or repeated in this one"`
	Warned  int64 `json:"warned" doc:"Of those that passed the check: the same dose was certified before, or stands further up"`
}

// JobBody is a bulk upload on its way to certificates. Nothing in it is personal.
type JobBody struct {
	ID           string           `json:"id"`
	Organisation string           `json:"organisation"`
	Facility     string           `json:"facility,omitempty"`
	Version      int64            `json:"version" doc:"Also the ETag; If-Match asks for it. Progress does not count"`
	State        issuer.JobState  `json:"state" enum:"uploaded,checked,running,paused,finished,cancelled" doc:"uploaded is being checked; running is being issued"`
	By           string           `json:"by"`
	Media        issuer.Media     `json:"media"`
	SHA256       string           `json:"sha256" doc:"Of the file"`
	Size         int64            `json:"size" doc:"Of the file, in bytes"`
	Series       string           `json:"series,omitempty"`
	Formats      []issuer.Wanted  `json:"formats"`
	Dates        issuer.DateOrder `json:"dates,omitempty"`
	Rows         CountsBody       `json:"rows"`
	Rate         float64          `json:"rate,omitempty" doc:"Rows a second, where it is worked on now"`
	Created      time.Time        `json:"created"`
	Started      time.Time        `json:"started,omitzero"`
	Ended        time.Time        `json:"ended,omitzero"`
	Destroyed    bool             `json:"destroyed" doc:"The failed rows were destroyed: their time was over"`
}

func (i *Issuing) jobOf(j issuer.Job) JobBody {
	return JobBody{
		ID: j.ID.String(), Organisation: j.Place.Organisation, Facility: j.Place.Facility, Version: j.Version, State: j.State,
		By: j.About.By, Media: j.About.Media, SHA256: j.About.SHA256, Size: j.About.Size, Series: j.About.Series, Formats: j.About.Wanted, Dates: j.About.Dates,
		Rows: CountsBody(j.Counts), Rate: i.Bulk.Rate(j.ID), Created: j.Created, Started: j.Started, Ended: j.Ended, Destroyed: j.Destroyed,
	}
}

type jobAnswer struct {
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         JobBody
}

func (i *Issuing) jobAnswer(j issuer.Job) *jobAnswer {
	return &jobAnswer{etag(j.Version), "no-store", i.jobOf(j)}
}

type jobMade struct {
	ETag         string `header:"ETag"`
	Location     string `header:"Location"`
	CacheControl string `header:"Cache-Control"`
	Body         JobBody
}

type jobsAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Link         string `header:"Link" doc:"The next page (RFC 8288)"`
	Body         struct {
		Items []JobBody `json:"items"`
		Next  string    `json:"next,omitempty" doc:"Cursor of the next page; missing after the last"`
	}
}

// FaultBody is one thing that is wrong with a row.
type FaultBody struct {
	Column string `json:"column,omitempty" doc:"Of the file, or the place in a FHIR resource; missing where the row as a whole is meant"`
	Reason string `json:"reason" doc:"A stable word"`
	Text   string `json:"text" doc:"For people; may repeat what is in the row"`
}

// RowBody is what became of a row.
type RowBody struct {
	Row    int64           `json:"row" doc:"From 1"`
	Line   int             `json:"line" doc:"Of the file; of a bundle, the number of the entry"`
	State  issuer.RowState `json:"state" enum:"new,ready,done,failed,skipped"`
	Reason string          `json:"reason,omitempty" doc:"Why it failed or was skipped, or a warning: duplicate-in-file, duplicate-in-book"`
	Column string          `json:"column,omitempty"`
	Record string          `json:"record,omitempty" doc:"Identifier of what was issued"`
	Faults []FaultBody     `json:"faults,omitempty"`
}

type rowsAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Items []RowBody `json:"items"`
		Next  int64     `json:"next,omitempty" doc:"Cursor of the next page; missing after the last"`
	}
}

// JobFile is a file as it comes in. It is read as the rows are kept, and never
// held whole.
type JobFile struct{ body io.Reader }

// Resolve takes the body before anything reads it.
func (f *JobFile) Resolve(c huma.Context) []error {
	// The error says that the connection has no deadline; then there is none to move.
	_ = c.SetReadDeadline(time.Now().Add(jobUploadTime))
	f.body = c.BodyReader()
	return nil
}

// drained lets a sender whose file is refused finish sending it. A proxy that
// cannot send the rest to us tells its client that we are broken, and not what we
// answered. Only who is signed in comes so far.
func drained(c huma.Context, next func(huma.Context)) {
	next(c)
	// The error says that the connection has no deadline; then there is none to move.
	_ = c.SetReadDeadline(time.Now().Add(jobDrainTime))
	_, _ = io.CopyN(io.Discard, c.BodyReader(), issuer.MaxUpload)
}

// describeJobs registers the operations on jobs.
func (s *server) describeJobs(api huma.API) {
	i := s.Issuing
	at := func(id, method, path, summary, description string, problems ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Description: description, MaxBodyBytes: maxBody, BodyReadTimeout: 10 * time.Second,
			Errors: append(problems, http.StatusUnauthorized, http.StatusForbidden), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}

	upload := at("jobUpload", "POST", "/v1/jobs", "Upload a file of doses",
		"CSV as spreadsheets write it, a FHIR R4 Bundle, or FHIR resources line by line. Every row is checked by the rules of issuing; nothing is issued before the job is started. "+
			"Under a series, a row that was issued is not issued again, however often it comes.", 408, 413, 415, 422)
	upload.DefaultStatus = http.StatusCreated
	upload.MaxBodyBytes, upload.BodyReadTimeout = issuer.MaxUpload, jobUploadTime
	upload.Middlewares = append(upload.Middlewares, drained)
	binary := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	upload.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		string(issuer.MediaCSV): binary, string(issuer.MediaFHIR): binary, string(issuer.MediaNDJSON): binary,
	}}
	register(api, upload, s.apiUpload)

	register(api, at("jobs", "GET", "/v1/jobs", "List jobs, newest first", "", 422), func(ctx context.Context, r *struct {
		PlaceParameter
		Cursor string `query:"cursor" maxLength:"36"`
		Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}) (*jobsAnswer, error) {
		by, err := i.actor(ctx, access.JobRead, r.Facility)
		if err != nil {
			return nil, err
		}
		var cursor issuer.ID
		if r.Cursor != "" {
			if cursor, err = issuer.ParseID(r.Cursor); err != nil {
				return nil, problemInvalid.with("query.cursor: none of ours")
			}
		}
		page, next, err := i.Bulk.List(ctx, by, cursor, r.Limit)
		if err != nil {
			return nil, jobProblem(err)
		}
		out := &jobsAnswer{CacheControl: "no-store"}
		out.Body.Items, out.Body.Next = make([]JobBody, len(page)), idOrEmpty(next)
		for n, j := range page {
			out.Body.Items[n] = i.jobOf(j)
		}
		if next != (issuer.ID{}) {
			out.Link = fmt.Sprintf(`</v1/jobs?cursor=%s&limit=%d`, next, r.Limit)
			if r.Facility != "" {
				out.Link += "&facility=" + url.QueryEscape(r.Facility)
			}
			out.Link += `>; rel="next"`
		}
		return out, nil
	})

	template := at("jobTemplate", "GET", "/v1/jobs/template.csv", "A CSV file to fill in, with one row of a fictitious person", "", 422)
	template.Responses = fileResponse("text/csv")
	register(api, template, func(ctx context.Context, r *struct {
		Format []issuer.Format `query:"format,explode" required:"true" enum:"icvp,eu-dcc,ddcc,shc,vds-nc"`
	}) (*fileAnswer, error) {
		return &fileAnswer{"text/csv; charset=utf-8", "no-cache", `attachment; filename="template.csv"`, issuer.Template(r.Format)}, nil
	})

	register(api, at("job", "GET", "/v1/jobs/{id}", "Tell how far a job is", "", 404), func(ctx context.Context, r *IDParameter) (*jobAnswer, error) {
		j, _, err := i.job(ctx, access.JobRead, r.ID)
		if err != nil {
			return nil, err
		}
		return i.jobAnswer(j), nil
	})

	type move = func(context.Context, issuer.Actor, issuer.Guard) (issuer.Job, error)
	for _, m := range []struct {
		id, word, summary string
		move              func(*issuer.Bulk) move
	}{
		{"jobStart", "start", "Issue the rows that passed the check", func(b *issuer.Bulk) move { return b.Start }},
		{"jobPause", "pause", "Stop issuing until it is resumed; what is in hand is finished", func(b *issuer.Bulk) move { return b.Pause }},
		{"jobResume", "resume", "Go on issuing", func(b *issuer.Bulk) move { return b.Resume }},
		{"jobCancel", "cancel", "End a job. What was issued stays; of the rest only the rows that failed are kept", func(b *issuer.Bulk) move { return b.Cancel }},
	} {
		register(api, at(m.id, "POST", "/v1/jobs/{id}/"+m.word, m.summary, "", 404, 409, 412, 428), func(ctx context.Context, r *struct {
			IDParameter
			MatchHeader
		}) (*jobAnswer, error) {
			j, by, err := i.job(ctx, access.JobRun, r.ID)
			if err != nil {
				return nil, err
			}
			version, err := ifMatch(r.Match)
			if err != nil {
				return nil, err
			}
			if j, err = m.move(i.Bulk)(ctx, by, issuer.Guard{ID: j.ID, Version: version}); err != nil {
				return nil, jobProblem(err)
			}
			return i.jobAnswer(j), nil
		})
	}

	register(api, at("jobRows", "GET", "/v1/jobs/{id}/rows", "Tell what became of each row", "Without what is in them, but for what is wrong.", 404, 422), func(ctx context.Context, r *struct {
		IDParameter
		State  []issuer.RowState `query:"state,explode" enum:"new,ready,done,failed,skipped" doc:"All otherwise"`
		Cursor int64             `query:"cursor" minimum:"0"`
		Limit  int               `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}) (*rowsAnswer, error) {
		j, by, err := i.job(ctx, access.JobRead, r.ID)
		if err != nil {
			return nil, err
		}
		rows, err := i.Bulk.Rows(ctx, by, j.ID, r.Cursor, r.Limit, r.State...)
		if err != nil {
			return nil, jobProblem(err)
		}
		out := &rowsAnswer{CacheControl: "no-store"}
		out.Body.Items = make([]RowBody, len(rows))
		for n, row := range rows {
			out.Body.Items[n] = RowBody{Row: row.N, Line: row.Line, State: row.State, Reason: row.Reason, Column: row.Column, Record: idOrEmpty(row.Record)}
			for _, f := range row.Faults {
				out.Body.Items[n].Faults = append(out.Body.Items[n].Faults, FaultBody(f))
			}
		}
		if len(rows) == r.Limit {
			out.Body.Next = rows[len(rows)-1].N
		}
		return out, nil
	})

	failed := at("jobErrors", "GET", "/v1/jobs/{id}/errors.csv", "The rows that failed, to put right and upload again",
		"As they came, with what is wrong in front. A cell that a spreadsheet would compute begins with an apostrophe, which is taken off when the file comes again.", 404, 410)
	failed.Responses = fileResponse("text/csv")
	register(api, failed, func(ctx context.Context, r *IDParameter) (*huma.StreamResponse, error) {
		j, by, err := i.job(ctx, access.JobRun, r.ID)
		if err != nil {
			return nil, err
		}
		if j.Destroyed {
			return nil, problemRowsGone
		}
		return streamed("text/csv; charset=utf-8", j.ID.String()+"-errors.csv", func(ctx context.Context, w io.Writer) error {
			return i.Bulk.Errors(ctx, by, j.ID, w)
		}), nil
	})

	papers := at("jobCertificates", "GET", "/v1/jobs/{id}/certificates.zip", "The certificates of a job on paper, as PDF files in a ZIP",
		"Made as it is sent. The names of the files name no person.", 404, 422)
	papers.Responses = fileResponse("application/zip")
	register(api, papers, s.apiJobPaper)

	register(api, at("jobDelete", "DELETE", "/v1/jobs/{id}", "Delete a job that has ended", "With the rows that failed. What was issued stays.", 404, 409, 412, 428), func(ctx context.Context, r *struct {
		IDParameter
		MatchHeader
	}) (*struct{}, error) {
		j, by, err := i.job(ctx, access.JobRun, r.ID)
		if err != nil {
			return nil, err
		}
		version, err := ifMatch(r.Match)
		if err != nil {
			return nil, err
		}
		return nil, jobProblem(i.Bulk.Delete(ctx, by, issuer.Guard{ID: j.ID, Version: version}))
	})
}

// job returns a job that the one who asks may do that to.
func (i *Issuing) job(ctx context.Context, action access.Action, id string) (issuer.Job, issuer.Actor, error) {
	return owned(ctx, i, action, access.JobRead, id, problemNoJob, func(by issuer.Actor, id issuer.ID) (issuer.Job, issuer.Place, error) {
		j, err := i.Bulk.Job(ctx, by, id)
		return j, j.Place, jobProblem(err)
	})
}

// jobProblem is an error of bulk issuing as an answer. What is wrong with a file is
// told to the one who sent it, and nobody else.
func jobProblem(err error) error {
	var u *issuer.UploadError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, issuer.ErrUploadSize):
		return problemUploadTooLarge
	case errors.As(err, &u):
		detail := u.Error()
		if u.Header != "" {
			detail = fmt.Sprintf("%q: %s", u.Header, detail)
		}
		return problemUpload.with(detail)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemSlow
	case errors.Is(err, issuer.ErrNotFound):
		return problemNoJob
	case errors.Is(err, issuer.ErrUnreadable):
		return problemRowsGone
	case errors.Is(err, issuer.ErrSeries), errors.Is(err, issuer.ErrOrder), errors.Is(err, format.BadCode):
		return problemUpload.with(err.Error())
	}
	return issuingProblem(err)
}

// apiUpload answers POST /v1/jobs.
func (s *server) apiUpload(ctx context.Context, r *struct {
	PlaceParameter
	JobFile
	ContentType string           `header:"Content-Type"`
	Format      []issuer.Format  `query:"format,explode" required:"true" minItems:"1" enum:"icvp,eu-dcc,ddcc,shc,vds-nc"`
	Expires     time.Time        `query:"expires" doc:"End of the validity of the formats that may have one; an EU DCC must"`
	Series      string           `query:"series" maxLength:"64" doc:"Letters, digits and ._:-; under it the same row is issued once"`
	Dates       issuer.DateOrder `query:"dates" enum:"dmy,mdy" doc:"How dates with slashes are written, where the file leaves it open"`
	Country     string           `query:"country" pattern:"^[A-Z]{2}$" patternDescription:"two capital letters" doc:"Of the doses whose row names none"`
	Authority   string           `query:"authority" maxLength:"80" doc:"Of the doses whose row names none; that of the service otherwise"`
}) (*jobMade, error) {
	i := s.Issuing
	by, err := i.actor(ctx, access.JobRun, r.Facility)
	if err != nil {
		return nil, err
	}
	media, _, err := mime.ParseMediaType(r.ContentType)
	if err != nil || !slices.Contains([]issuer.Media{issuer.MediaCSV, issuer.MediaFHIR, issuer.MediaNDJSON}, issuer.Media(media)) {
		return nil, problemNotRows
	}
	u := issuer.Upload{Series: r.Series, Dates: r.Dates, Country: r.Country, Authority: r.Authority}
	if u.Authority == "" {
		u.Authority = i.Authority
	}
	for _, f := range r.Format {
		w := issuer.Wanted{Format: f}
		if f != issuer.VDSNC { // a seal does not expire
			w.Expires = r.Expires
		}
		u.Wanted = append(u.Wanted, w)
	}
	j, err := i.Bulk.Upload(ctx, by, by.Within, issuer.Media(media), u, r.body)
	if err != nil {
		return nil, jobProblem(err)
	}
	return &jobMade{etag(j.Version), "/v1/jobs/" + j.ID.String(), "no-store", i.jobOf(j)}, nil
}

// streamed is an answer that is made as it is sent. Where it cannot be finished the
// connection is cut, so that nobody takes a part for the whole.
func streamed(media, name string, write func(context.Context, io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", media)
		c.SetHeader("Cache-Control", "no-store")
		c.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
		_, w := humago.Unwrap(c)
		if err := write(c.Context(), &pieces{w, http.NewResponseController(w)}); err != nil {
			panic(http.ErrAbortHandler)
		}
	}}
}

// pieces gives the reader time for each piece: the whole may take longer than any
// one answer is given.
type pieces struct {
	w       io.Writer
	control *http.ResponseController
}

func (p *pieces) Write(data []byte) (int, error) {
	// The error says that the connection has no deadline; then there is none to move.
	_ = p.control.SetWriteDeadline(time.Now().Add(pieceTime))
	return p.w.Write(data)
}

// apiJobPaper answers GET /v1/jobs/{id}/certificates.zip.
func (s *server) apiJobPaper(ctx context.Context, r *struct {
	IDParameter
	As       string          `query:"as" enum:"sheets,each" default:"sheets" doc:"Files of 100 certificates to print, or one file for each record, named by its identifier"`
	First    string          `query:"first" enum:"en,fr" default:"en" doc:"English or French, which the Regulations ask for"`
	Second   string          `query:"second" maxLength:"8" doc:"Another language; that of the request otherwise"`
	Format   []issuer.Format `query:"format,explode" enum:"icvp,eu-dcc,ddcc,shc,vds-nc" doc:"Of several formats, those to print; all that are current otherwise"`
	PerSheet int             `query:"per_sheet" minimum:"1" maximum:"4" default:"1" doc:"Certificates on a sheet: 1, 2 or 4"`
}) (*huma.StreamResponse, error) {
	j, by, err := s.Issuing.job(ctx, access.CertificateRead, r.ID)
	if err != nil {
		return nil, err
	}
	o := paper.Options{First: messages.Accept(r.First), Second: languageOf(ctx), PerSheet: r.PerSheet, Made: j.Created}
	if r.Second != "" {
		o.Second = messages.Accept(r.Second)
	}
	if o.Second == o.First { // two are needed
		o.Second = messages.Accept(map[string]string{"en": "fr", "fr": "en"}[o.First.Tag])
	}
	if r.PerSheet == 3 {
		return nil, problemNotPrinted.with("3 on a sheet; 1, 2 or 4")
	}
	return streamed("application/zip", j.ID.String()+".zip", func(ctx context.Context, w io.Writer) error {
		z := zip.NewWriter(w)
		files := 0
		var sheet []paper.Certificate
		add := func(name string, certificates []paper.Certificate) error {
			if len(certificates) == 0 {
				return nil
			}
			file, err := paper.Print(certificates, o)
			if err != nil {
				return err
			}
			files++
			// A PDF is compressed already.
			f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: j.Created})
			if err == nil {
				_, err = f.Write(file)
			}
			return err
		}
		for held, err := range s.Issuing.Bulk.Certificates(ctx, by, j.ID) {
			if err != nil {
				return err
			}
			certificates := s.Issuing.printed(*held, r.Format)
			if r.As == "each" {
				if err := add(held.ID.String()+".pdf", certificates); err != nil {
					return err
				}
				continue
			}
			if sheet = append(sheet, certificates...); len(sheet) < sheetsAtOnce {
				continue
			}
			if err := add(fmt.Sprintf("%04d.pdf", files+1), sheet); err != nil {
				return err
			}
			sheet = nil
		}
		if err := add(fmt.Sprintf("%04d.pdf", files+1), sheet); err != nil {
			return err
		}
		return z.Close()
	}), nil
}
