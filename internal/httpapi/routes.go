package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/internal/access"
	"ampoule/internal/epcisapi"
	"ampoule/internal/messages"
	"ampoule/internal/paper"
)

// handler builds the routes and what stands around them.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, h func(*answer, *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h(w.(*answer), r) })
	}
	route("GET /{$}", s.home)
	route("POST /verify", s.verify)
	route("GET /samples/{file}", s.sampleFile)
	route("GET /style.css", s.asset("text/css; charset=utf-8", styleSheet))
	route("GET /icon.svg", s.asset("image/svg+xml", icon))
	if s.Bundle != nil {
		route("GET /bundle", s.fetchedBundle())
		route("GET /bundle/root", s.fetched("application/x-pem-file", s.BundleRoot))
	}
	if s.Ledger != nil {
		s.ledgerFiles(route)
	}
	if s.Watching != nil {
		route("GET /v1/fleet/events", s.live)
	}
	if s.Devices != nil {
		mux.Handle("/devices/", s.Devices)
	}
	if s.Stocking != nil {
		mux.Handle(epcisapi.Prefix+"/", s.events())
	}
	s.pages(route)
	if s.Scene != nil {
		route("GET /tour/scene.json", s.scene)
	}
	var described *huma.OpenAPI
	if s.API != nil {
		described = s.describe(mux)
		route("GET /docs", s.docs(described))
	}
	route("GET /healthz", func(w *answer, _ *http.Request) { w.send(http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n")) })

	// Known addresses asked for in a way they do not have, and unknown ones.
	allowed := map[string]string{
		"/{$}": "GET, HEAD", "/samples/{file}": "GET, HEAD", "/style.css": "GET, HEAD", "/icon.svg": "GET, HEAD", "/healthz": "GET, HEAD",
		"/verify": "POST",
	}
	for _, p := range s.builtPages() {
		for _, pattern := range p.patterns() {
			allowed[pattern] = "GET, HEAD"
		}
	}
	if s.Bundle != nil {
		allowed["/bundle"], allowed["/bundle/root"] = "GET, HEAD", "GET, HEAD"
	}
	if s.Ledger != nil {
		allowed["/ledger/checkpoint"], allowed["/ledger/tile/{path...}"] = "GET, HEAD", "GET, HEAD"
		if s.Ledger.Cosigner != nil {
			allowed["/ledger/add-checkpoint"] = "POST"
		}
	}
	if s.Watching != nil {
		allowed["/v1/fleet/events"] = "GET, HEAD"
	}
	if s.API != nil {
		allowed["/docs"], allowed["/openapi.json"], allowed["/openapi.yaml"] = "GET, HEAD", "GET, HEAD", "GET, HEAD"
		for path, item := range described.Paths {
			allowed[path] = methods(item)
		}
	}
	if s.Access != nil {
		s.accessRoutes(route, allowed)
	}
	// Beside the other, whose patterns have methods: there the two would conflict.
	known := http.NewServeMux()
	for pattern, allow := range allowed {
		known.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			s.fail(w.(*answer), r, problemMethod)
		})
	}
	route("/", func(w *answer, r *http.Request) {
		if h, pattern := known.Handler(r); pattern != "" {
			h.ServeHTTP(w, r)
			return
		}
		if s.Resolver != nil && s.Resolver.Takes(r) {
			r.Pattern = "/{identifier}" // for the log: the address is what somebody asked about
			s.Resolver.ServeHTTP(w, r)
			return
		}
		s.fail(w, r, problemNotFound)
	})

	// A page elsewhere must not post a person's certificate here through that
	// person's browser, although nothing here keeps state that it could change.
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w.(*answer), r, problemCrossSite)
	}))
	guarded := guard.Handler(mux)
	return s.around(s.who(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What a program sends is not what a browser was tricked into: it has no
		// cookie. Pages of other sites ask by leave of CORS, and without cookies too.
		if r.Header.Get("Cookie") == "" && isAPI(r.URL.Path) {
			mux.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})))
}

// isAPI reports whether an address is one that programs ask.
func isAPI(path string) bool {
	return strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/fhir/") || strings.HasPrefix(path, "/ledger/") || strings.HasPrefix(path, "/devices/") || strings.HasPrefix(path, epcisapi.Prefix+"/")
}

// methods are those of an address, as the header Allow lists them.
func methods(item *huma.PathItem) string {
	var out []string
	for _, m := range []struct {
		name string
		o    *huma.Operation
	}{{"GET, HEAD", item.Get}, {"POST", item.Post}, {"PUT", item.Put}, {"PATCH", item.Patch}, {"DELETE", item.Delete}} {
		if m.o != nil {
			out = append(out, m.name)
		}
	}
	return strings.Join(out, ", ")
}

// answer is the response with what the log line tells of it.
type answer struct {
	http.ResponseWriter
	status  int
	visitor *access.Visitor // who asks; nil for nobody
	accept  string          // Accept-Language of the request
	outcome string          // of the verdicts, worded as outcomes only
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// send writes a whole answer.
func (a *answer) send(status int, contentType string, body []byte) {
	a.Header().Set("Content-Type", contentType)
	a.WriteHeader(status)
	_, _ = a.Write(body) // the reader has gone; nobody is left to be told
}

// headers stand on every answer. The page has no script and loads nothing from
// elsewhere, so the policy can be short.
var headers = map[string]string{
	"Content-Security-Policy": strings.Join([]string{
		"default-src 'none'", "style-src 'self'", "img-src 'self' data:", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
	}, "; "),
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Permissions-Policy":           "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Embedder-Policy": "require-corp",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store", // assets and samples say otherwise
}

// pageHeaders are the headers in the form of [http.Header], and apiHeaders those of
// them that concern what no browser shows.
var pageHeaders, apiHeaders = func() (page, api http.Header) {
	page, api = make(http.Header), make(http.Header)
	for name, value := range headers {
		page.Set(name, value)
		switch name {
		case "X-Frame-Options", "Permissions-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy":
		default:
			api.Set(name, value)
		}
	}
	return page, api
}()

// around sets the headers, keeps a panic from ending more than its own request,
// and writes the log line.
func (s *server) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		a := &answer{ResponseWriter: w, accept: r.Header.Get("Accept-Language")}
		r = r.WithContext(context.WithValue(r.Context(), answerKey{}, a)) // which learns its pattern further in
		h, lists := a.Header(), pageHeaders
		if isAPI(r.URL.Path) {
			lists = apiHeaders
		}
		for name, values := range lists {
			h[name] = values // shared: whoever adds to one gets another
		}
		defer func() {
			switch v := recover(); {
			case v == http.ErrAbortHandler:
				panic(v)
			case v != nil:
				// What a parser panicked with can quote what it was parsing: the
				// place is logged and the value is not.
				s.log.Error("handler panicked", "pattern", pattern(r), "stack", string(debug.Stack()))
				if a.status == 0 {
					s.fail(a, r, problemInternal)
				}
			}
			line := []any{"method", method(r), "pattern", pattern(r), "status", a.status, "duration", time.Since(start)}
			if a.outcome != "" {
				line = append(line, "outcome", a.outcome)
			}
			if id := w.Header().Get("X-Request-Id"); id != "" {
				line = append(line, "request", id)
			}
			s.log.Log(r.Context(), slog.LevelInfo, "request", line...)
			if s.front != nil {
				s.front.count(r, a, time.Since(start))
			}
		}()
		next.ServeHTTP(a, r)
	})
}

// method returns the method of a request for the log, where a made-up one could
// carry anything.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// pattern returns the route for the log. The path itself is whatever somebody
// typed or sent.
func pattern(r *http.Request) string {
	if _, path, ok := strings.Cut(r.Pattern, " "); ok {
		return path
	}
	return r.Pattern
}

// sampleFile serves /samples/{id}.svg, .png, .txt and .pdf.
func (s *server) sampleFile(w *answer, r *http.Request) {
	id, kind, _ := strings.Cut(r.PathValue("file"), ".")
	found := s.samples[id]
	if found == nil {
		s.fail(w, r, problemNotFound)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	switch kind {
	case "svg":
		w.send(http.StatusOK, "image/svg+xml", found.svg)
	case "png":
		w.send(http.StatusOK, "image/png", found.png)
	case "txt":
		w.send(http.StatusOK, "text/plain; charset=utf-8", []byte(found.Text))
	case "pdf":
		s.samplePaper(w, r, found)
	default:
		s.fail(w, r, problemNotFound)
	}
}

// samplePaper prints a sample in the language that is asked for and another one.
func (s *server) samplePaper(w *answer, r *http.Request, found *sample) {
	if found.Paper == nil {
		s.fail(w, r, problemNotFound)
		return
	}
	french := messages.Accept("fr")
	o := paper.Options{First: messages.English, Second: messages.Accept(r.Header.Get("Accept-Language")), Made: found.Paper.Record.Issued}
	switch o.Second {
	case messages.English:
		o.Second = french
	case french:
		o.First, o.Second = french, messages.English
	}
	printed := *found.Paper
	printed.Advice = s.Verifier.Verify(found.Text).Advice
	file, err := paper.Print([]paper.Certificate{printed}, o)
	if err != nil {
		// The samples are ours, and a test prints them all.
		s.log.Error("sample not printed", "sample", found.ID)
		s.fail(w, r, problemInternal)
		return
	}
	w.Header().Set("Vary", "Accept-Language")
	w.send(http.StatusOK, "application/pdf", file)
}

// asset serves a file of the page itself, whose address changes with it.
func (s *server) asset(contentType string, body []byte) func(*answer, *http.Request) {
	return func(w *answer, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=86400")
		w.send(http.StatusOK, contentType, body)
	}
}

// fetchedBundle answers GET /bundle. Who says which one it keeps (?from=, the
// SHA-256 of the file, which is its tag too) gets a delta, where there is one, which
// the media type tells, or nothing where there is nothing newer.
func (s *server) fetchedBundle() func(*answer, *http.Request) {
	whole := s.fetched(`application/cose; cose-type="cose-sign"`, s.Bundle) // RFC 9052 section 11.3.1
	deltas := make(map[string]func(*answer, *http.Request))
	for from, delta := range s.Deltas {
		deltas[from] = s.fetched(mediaDelta, delta)
	}
	newest := fmt.Sprintf("%x", sha256.Sum256(s.Bundle))
	return func(w *answer, r *http.Request) {
		from := r.URL.Query().Get("from")
		switch delta := deltas[from]; {
		case delta != nil:
			delta(w, r)
		case from == newest:
			w.Header().Set("Cache-Control", "no-cache")
			w.WriteHeader(http.StatusNoContent)
		default:
			whole(w, r)
		}
	}
}

const mediaDelta = "application/vnd.ampoule.bundle-delta+cbor"

// fetched serves what others keep a copy of: they may hold it for a while, and
// ask then whether it has changed.
func (s *server) fetched(contentType string, body []byte) func(*answer, *http.Request) {
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	return func(w *answer, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Header().Set("ETag", tag)
		w.Header().Set("Content-Type", contentType)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}
