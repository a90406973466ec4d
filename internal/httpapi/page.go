// Package httpapi is the door for browsers: the plain verification page, which
// works without a script, and the same verdicts as JSON.
//
// [Page.Handler] serves it. A handler decodes the request, has the engine of
// [ampoule/party/verifier] judge the text, and writes the verdict down; nothing
// is decided here. What is sent in stays in memory for the time of one answer:
// no file is written, and no log line holds a word of it.
//
// The routes are in routes.go, what can go wrong is in problem.go, and the words
// are those of [ampoule/internal/messages], in the language that a request asks
// for.
package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"ampoule/internal/messages"
	"ampoule/internal/paper"
	"ampoule/internal/qr"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
	"ampoule/party/verifier"
)

// Sample is a certificate that the page offers to try, with its code to scan
// and to print.
type Sample struct {
	ID    string // part of its addresses: lower-case letters, digits and hyphens
	Title string
	Note  string // what it shows, in a sentence
	Text  string // of the code
	Want  verifier.Outcome
	Paper *paper.Certificate // to be printed; nil for none
}

// Page is the verification page.
type Page struct {
	Verifier *verifier.Verifier
	// Recorder writes transcripts of verdicts; nil: none are written.
	Recorder *Recorder
	Samples  []Sample
	// TrustSummary says in words whose keys are trusted. Line breaks are kept.
	TrustSummary string
	// Demonstration puts a banner on every page: persons and keys are fictitious.
	Demonstration bool
	// Scene says as JSON where things are in a demonstration, for its guided tour; nil: there
	// is no tour.
	Scene func() []byte
	// Bundle is a signed bundle that pages and other verifiers may fetch, and
	// BundleRoot the public root that signed it; nil: there is none.
	Bundle, BundleRoot []byte
	// Deltas make Bundle from earlier ones, by the SHA-256 of their files in
	// hexadecimal.
	Deltas map[string][]byte
	// API is what programs ask; nil: nothing but the pages is served.
	API *API
	// Issuing is the part of the API that issues; nil: there is none.
	Issuing *Issuing
	// Ledger is the log that this server keeps with others; nil: it keeps none.
	Ledger *notary.Notary
	// LedgerVote hands in a vote of the member that runs this node, and returns the hash
	// of its leaf; nil: its key is not here.
	LedgerVote func(ctx context.Context, proposal tlog.Hash, yes bool) (tlog.Hash, error)
	// Watching is the part of the API for devices and the cold chain; nil: there is none.
	Watching *Watching
	// Stocking is the part of the API for what is told of goods, for stock and for the sessions
	// of clinics; nil: there is none.
	Stocking *Stocking
	// Devices answers below /devices/: to suppliers and gateways with tokens; nil: nobody.
	Devices http.Handler
	// Resolver answers for identifiers, at whatever address it takes that is nobody else's;
	// nil: none are resolved.
	Resolver interface {
		http.Handler
		Takes(*http.Request) bool
	}
	// Access lets people in; nil: there are no accounts.
	Access *Access
	Log    *slog.Logger // nil: nothing is logged

	front *Front // before it, if there is one
}

// The limits of a request. The server's own time-outs bound everything else;
// an upload is slow by nature and gets a limit of its own.
const (
	maxForm    = 64 << 10               // bytes of a form of text
	maxPicture = qr.MaxFile             // bytes of a picture
	maxUpload  = maxPicture + 2*maxForm // bytes of the form around it
	maxParts   = 16                     // fields of a form

	formTime   = 10 * time.Second // for a form of text to arrive
	uploadTime = 60 * time.Second // for a picture to arrive
	drainTime  = 10 * time.Second // to let a sender of too much finish, so that the answer is read

	// A picture takes up to 32 MiB to hold and 96 MiB more to decode.
	uploads = 8
	decodes = 2
	// patience is how long a picture waits for its turn.
	patience = 8 * time.Second
)

// Samples are printed 50 mm wide, and have 117 modules a side at most where
// a lower level of error correction helps: with the quiet zone these are 125, and
// below 0.4 mm a module cheap cameras fail.
const (
	SampleWidth   = 50
	SampleModules = 117
)

// sample is a Sample with its pictures, drawn once.
type sample struct {
	Sample
	svg, png []byte
}

// server is what a Page becomes when it serves.
type server struct {
	*Page
	log     *slog.Logger
	samples map[string]*sample
	views   map[*messages.Language]views

	uploads  gate
	decodes  gate
	patience time.Duration
}

var sampleID = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// newServer draws the samples. It panics where one has a bad or a repeated ID or
// fits no code, as [http.ServeMux] does for patterns: a program that builds such
// a page is wrong, and better off not starting.
func newServer(p *Page) *server {
	s := &server{
		Page: p, log: p.Log, samples: make(map[string]*sample, len(p.Samples)), views: make(map[*messages.Language]views),
		uploads: make(gate, uploads), decodes: make(gate, decodes), patience: patience,
	}
	for _, l := range messages.Languages {
		s.views[l] = parseViews(l, p.zone())
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, given := range p.Samples {
		drawn, err := drawSample(given)
		if err != nil {
			panic(fmt.Sprintf("httpapi: sample %q: %v", given.ID, err))
		}
		if s.samples[given.ID] != nil {
			panic(fmt.Sprintf("httpapi: sample %q: two of this ID", given.ID))
		}
		s.samples[given.ID] = drawn
	}
	return s
}

func drawSample(given Sample) (*sample, error) {
	if !sampleID.MatchString(given.ID) {
		return nil, fmt.Errorf("the ID is not of the form %v", sampleID)
	}
	// Level Q, as HCERT section 4.2.2 recommends, for what is not too large.
	symbol, err := qr.EncodeWithin(given.Text, qr.Q, SampleModules)
	if err != nil {
		return nil, err
	}
	opts := qr.Options{Scale: 6, Millimetres: SampleWidth, QuietZone: 4, Title: "QR code of the sample: " + given.Title}
	drawn := &sample{Sample: given}
	if drawn.svg, err = symbol.SVG(opts); err != nil {
		return nil, err
	}
	if drawn.png, err = symbol.PNG(opts); err != nil {
		return nil, err
	}
	return drawn, nil
}

// gate lets as many in as it has room for.
type gate chan struct{}

// enter waits for room, for the patience given and as long as ctx lives.
func (g gate) enter(ctx context.Context, patience time.Duration) bool {
	select {
	case g <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case g <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (g gate) leave() { <-g }

// Handler returns the page as a handler. Nothing of p may be changed after.
func (p *Page) Handler() http.Handler { return newServer(p).handler() }
