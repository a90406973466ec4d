package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"ampoule/cert"
	"ampoule/format"
)

// Job is an upload on its way to certificates. Nothing in it is personal.
type Job struct {
	ID      ID
	Version int64 // +1 with each change of its state, from 1; progress does not count
	State   JobState
	Place   Place
	About   About

	Created, Changed time.Time
	Started, Ended   time.Time // zero: not yet
	Destroyed        bool      // what was left of its rows is gone

	Counts
}

// About is what a job is of. It stays as it is.
type About struct {
	By     string `json:"by"`
	Media  Media  `json:"media"`
	SHA256 string `json:"sha256"` // of the file, hexadecimal
	Size   int64  `json:"size"`   // bytes
	Upload
}

// Upload says how a file is to be read, and what is to be made of it.
type Upload struct {
	// Series is a name under which the same row is issued once, in however many
	// uploads it comes; empty: within this one alone. Letters, digits and ._:-
	Series string    `json:"series,omitempty"`
	Wanted []Wanted  `json:"wanted"`
	Dates  DateOrder `json:"dates,omitempty"`
	// Country and Authority are those of rows that have none.
	Country   string `json:"country,omitempty"`
	Authority string `json:"authority,omitempty"`
}

// Media is the kind of a file.
type Media string

// The kinds.
const (
	MediaCSV    Media = "text/csv"
	MediaFHIR   Media = "application/fhir+json"
	MediaNDJSON Media = "application/fhir+ndjson"
)

// Counts are the rows of a job. Total is the sum of what is left to check and the
// four that follow; Warned are those of Ready with a warning, when they were
// checked.
type Counts struct {
	Total, Ready, Done, Failed, Skipped int64
	Warned                              int64
}

// JobState is where a job stands.
type JobState string

// The states: uploading → uploaded → checked → running ⇄ paused → finished; each
// but the first and the last may become cancelled.
const (
	JobUploading JobState = "uploading"
	JobUploaded  JobState = "uploaded" // it is being checked
	JobChecked   JobState = "checked"
	JobRunning   JobState = "running"
	JobPaused    JobState = "paused"
	JobFinished  JobState = "finished"
	JobCancelled JobState = "cancelled"
)

// Ended reports whether a job has come to its end.
func (s JobState) Ended() bool { return s == JobFinished || s == JobCancelled }

// JobRow is one row of a job.
type JobRow struct {
	N     int64 // from 1; row 0 has what the others are read by
	Line  int   // of the file, or number of the entry of a bundle
	State RowState
	// Reason is that of a failed or skipped row, or a warning; Column is where.
	Reason string
	Column string
	Record ID // of an issued row
	// Source is the row as it came, and Faults what is wrong with it: both personal.
	// They are nil where they were destroyed.
	Source []byte
	Faults []Fault
}

// RowState is where a row stands.
type RowState string

// The states of a row.
const (
	RowNew     RowState = "new"
	RowReady   RowState = "ready" // checked
	RowDone    RowState = "done"  // issued
	RowFailed  RowState = "failed"
	RowSkipped RowState = "skipped" // issued before, or a repetition
)

// Why a row is skipped, and what a ready one is warned of.
const (
	AlreadyIssued   = "already-issued"    // by an earlier upload of the series
	Repeated        = "repeated"          // the same row stands further up
	DuplicateInFile = "duplicate-in-file" // the same dose of the same person stands further up
	DuplicateInBook = "duplicate-in-book" // there is a valid certificate of the same dose
)

// RowMark is what became of a row.
type RowMark struct {
	N        int64
	From, To RowState
	Reason   string
	Column   string
	Record   ID
	// Source and Faults are of a failed row: that, and a ready row's source, are kept.
	Source []byte
	Faults []Fault
}

// JobMove is a guarded change of a job's state.
type JobMove struct {
	Guard
	From, To JobState
	Total    int64 // of an uploaded job
	Line     Line
	// About is that of an uploaded job: what was not known before the last byte.
	About *About
}

// JobQuery says which jobs are meant.
type JobQuery struct {
	Within Place
	Before ID         // zero: from the newest
	States []JobState // empty: all
	// Untouched, where it is set, means those that were last changed before, and whose
	// rows are still there.
	Untouched time.Time
	Limit     int
}

// Probe asks for one row whether it is in the book.
type Probe struct {
	Key   string // of the request
	Terms []Term
}

// Seen answers a [Probe].
type Seen struct {
	Record ID   // of that request key; zero for none
	Same   bool // a valid record of the organisation has one of the terms of kind [TermDose]
}

// ErrSeries is a name of a series that is none.
const ErrSeries = format.Defect("malformed-series")

// A JobBook keeps jobs as a [Book] keeps records: each method is one durable step.
// The rows of a job are sealed under two keys of the job, one for those that
// failed. It is used by many at once.
type JobBook interface {
	// CreateJob inserts a job, without rows.
	CreateJob(ctx context.Context, j Job) error

	// AddRows adds rows to a job that is uploading. They are new.
	AddRows(ctx context.Context, id ID, rows []JobRow) error

	// Job returns a job, or [ErrNotFound].
	Job(ctx context.Context, id ID) (Job, error)

	// Jobs returns jobs, newest first.
	Jobs(ctx context.Context, q JobQuery) ([]Job, error)

	// MoveJob takes a job to another state. It returns [ErrConflict] if the job has
	// another version or state. With the end of a job, the key of its rows is
	// destroyed and the rows are emptied, but for those that failed.
	MoveJob(ctx context.Context, m JobMove) error

	// MarkRows notes what became of rows, and counts them. It returns [ErrConflict],
	// and has marked none, if one of them has another state. The content of rows that
	// are issued or skipped goes with it.
	MarkRows(ctx context.Context, id ID, marks []RowMark) error

	// Rows returns rows after one, in their order: those in one of the states, or all
	// where none is given. Row 0 is only returned for after -1.
	Rows(ctx context.Context, id ID, after int64, limit int, states ...RowState) ([]JobRow, error)

	// Look answers probes, and records the line.
	Look(ctx context.Context, organisation string, probes []Probe, line Line) ([]Seen, error)

	// EmptyJob destroys what is left of the rows of a job that has ended; DeleteJob
	// deletes it, with them.
	EmptyJob(ctx context.Context, g Guard, line Line) error
	DeleteJob(ctx context.Context, g Guard, line Line) error

	// Note records a line.
	Note(ctx context.Context, line Line) error
}

// The actions of jobs. The record of their lines is the job.
const (
	ActionJobUpload Action = "job-upload"
	ActionJobCheck  Action = "job-check" // its rows were looked for in the book
	ActionJobStart  Action = "job-start"
	ActionJobPause  Action = "job-pause"
	ActionJobResume Action = "job-resume"
	ActionJobCancel Action = "job-cancel"
	ActionJobFinish Action = "job-finish"
	ActionJobRead   Action = "job-read" // rows or their errors were handed out
	ActionJobEmpty  Action = "job-empty"
	ActionJobDelete Action = "job-delete"
)

// rowKey is the request key of a row: the same content is issued once for each
// series of a place, and once in a job without a series. What is signed anew with
// another end is the same; another format is another certificate. The book keeps
// a keyed hash of it.
func (j *Job) rowKey(r *cert.Certificate) string {
	series := "job " + j.ID.String()
	if j.About.Series != "" {
		series = "series " + j.Place.Facility + "/" + j.About.Series
	}
	formats := make([]Format, len(j.About.Wanted))
	for i, w := range j.About.Wanted {
		formats[i] = w.Format
	}
	content, err := json.Marshal([]any{series, formats, r})
	if err != nil {
		panic(err) // a record always can
	}
	sum := sha256.Sum256(content)
	return "bulk " + hex.EncodeToString(sum[:])
}

// order is the order of a row.
func (j *Job) order(r *cert.Certificate) Order {
	return Order{By: j.actor(), At: j.Place, Key: j.rowKey(r), Record: r, Wanted: j.About.Wanted}
}

func (j *Job) actor() Actor { return Actor{j.About.By, j.Place} }

// record reads a row of the job.
func (j *Job) record(l *layout, source []byte) (*cert.Certificate, []Fault) {
	var r *cert.Certificate
	var faults []Fault
	if j.About.Media == MediaCSV {
		var cells []string
		if err := json.Unmarshal(source, &cells); err != nil {
			return nil, []Fault{{"", string(format.BadType), "the row cannot be read"}}
		}
		r, faults = l.record(cells)
	} else {
		r, faults = fhirRecord(source)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if r.Vaccination.Country == "" {
		r.Vaccination.Country = j.About.Country
	}
	if r.Authority == "" {
		r.Authority = j.About.Authority
	}
	return r, nil
}
