// Package epcisapi is the repository of events over HTTP: the REST interface of EPCIS 2.0
// (GS1, part 12), in JSON-LD.
//
// What is not here says so: there is no XML, no WebSocket, and identifiers are given as
// they were told (GS1-EPC-Format: Never_Translates) but in lists of them, where they have
// their one form. To somebody who may not see an event there is none.
package epcisapi

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/epcis"
	"ampoule/format/strictjson"
	"ampoule/party/custody"
)

// Prefix is where the interface is.
const Prefix = "/epcis"

// Who may not ask.
const (
	ErrNobody format.Defect = "not-logged-in"
	ErrDenied format.Defect = "not-allowed"
	ErrWhich  format.Defect = "which-facility"
)

// API answers below [Prefix].
type API struct {
	Custody *custody.Custody
	// By is who asks, to capture or to read; its errors wrap [ErrNobody], [ErrDenied] or
	// [ErrWhich].
	By      func(r *http.Request, capture bool) (custody.Actor, error)
	Version string
	Log     *slog.Logger
}

// The version of the standards that is spoken.
const standard = "2.0.0"

// maxAddress bounds the query of an address.
const maxAddress = 16 << 10

// resource is what is at one address. Methods that are nil are not there.
type resource struct {
	get, post, delete func(*exchange) error
	capture           bool // posting is capturing
}

// exchange is one request and its answer.
type exchange struct {
	*API
	w  http.ResponseWriter
	r  *http.Request
	by custody.Actor
}

// Handler returns the interface.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	at := func(path string, res resource) {
		mux.HandleFunc(Prefix+path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, res) })
	}
	at("/{$}", resource{get: collection("bizLocations", "bizSteps", "capture", "dispositions", "epcs", "eventTypes", "events", "queries", "readPoints")})
	at("/capture", resource{get: (*exchange).jobs, post: (*exchange).capture, capture: true})
	at("/capture/{id}", resource{get: (*exchange).job})
	at("/events", resource{get: func(x *exchange) error { return x.events("", "") }, post: (*exchange).captureOne, capture: true})
	at("/events/{id}", resource{get: (*exchange).event})
	at("/eventTypes", resource{get: (*exchange).eventTypes})
	at("/eventTypes/{value}", resource{get: (*exchange).eventType})
	at("/eventTypes/{value}/events", resource{get: func(x *exchange) error { return x.events("eventType", "") }})
	for path, of := range map[string]struct {
		parameter string
		in        epcis.Index
	}{
		"/epcs": {"MATCH_anyEPC", epcis.ByEPC}, "/bizSteps": {"EQ_bizStep", epcis.ByStep}, "/dispositions": {"EQ_disposition", epcis.ByDisposition},
		"/bizLocations": {"EQ_bizLocation", epcis.ByLocation}, "/readPoints": {"EQ_readPoint", epcis.ByReadPoint},
	} {
		at(path, resource{get: func(x *exchange) error { return x.values(of.in) }})
		at(path+"/{value}", resource{get: func(x *exchange) error { return x.value(of.parameter, of.in) }})
		at(path+"/{value}/events", resource{get: func(x *exchange) error { return x.events(of.parameter, of.in) }})
	}
	at("/queries", resource{get: (*exchange).queries, post: (*exchange).makeQuery})
	at("/queries/{name}", resource{get: (*exchange).query, delete: (*exchange).dropQuery})
	at("/queries/{name}/events", resource{get: (*exchange).queryEvents})
	at("/queries/{name}/subscriptions", resource{get: (*exchange).subscriptions, post: (*exchange).subscribe})
	at("/queries/{name}/subscriptions/{id}", resource{get: (*exchange).subscription, delete: (*exchange).unsubscribe})
	// Nothing is kept of a page that could be forgotten: its token holds all, sealed.
	at("/nextPageToken/{token}", resource{delete: func(*exchange) error {
		return &problem{http.StatusNotImplemented, "ImplementationException", "Functionality not supported by server", "A token ends by itself."}
	}})
	mux.HandleFunc(Prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		(&exchange{API: a, w: w, r: r}).fail(notFound)
	})
	return mux
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, res resource) {
	x := &exchange{API: a, w: w, r: r}
	h := w.Header()
	h.Set("GS1-EPCIS-Version", standard)
	h.Set("GS1-CBV-Version", standard)
	var do func(*exchange) error
	allow := []string{"OPTIONS"}
	for _, m := range []struct {
		name string
		do   func(*exchange) error
	}{{"GET", res.get}, {"HEAD", res.get}, {"POST", res.post}, {"DELETE", res.delete}} {
		if m.do != nil {
			allow = append(allow, m.name)
			if m.name == r.Method {
				do = m.do
			}
		}
	}
	switch {
	case r.Method == http.MethodOptions:
		h.Set("Allow", strings.Join(allow, ", "))
		x.discover(res)
		return
	case do == nil:
		h.Set("Allow", strings.Join(allow, ", "))
		x.fail(&problem{http.StatusMethodNotAllowed, "ImplementationException", "Method not allowed", ""})
		return
	}
	err := x.negotiate()
	if err == nil {
		x.by, err = a.By(r, res.capture && r.Method == http.MethodPost)
	}
	if err == nil {
		err = do(x)
	}
	if err != nil {
		x.fail(err)
	}
}

// discover answers OPTIONS: what is spoken here, which is no secret.
func (x *exchange) discover(res resource) {
	h := x.w.Header()
	for _, name := range []string{"GS1-EPCIS-Min", "GS1-EPCIS-Max", "GS1-CBV-Min", "GS1-CBV-Max"} {
		h.Set(name, standard)
	}
	h.Set("GS1-EPC-Format", "Never_Translates")
	h.Set("GS1-Vendor-Version", x.Version)
	if res.capture {
		h.Set("GS1-EPCIS-Capture-Limit", strconv.Itoa(epcis.MaxEvents))
		h.Set("GS1-EPCIS-Capture-File-Size-Limit", strconv.Itoa(epcis.MaxDocument))
		h.Set("GS1-Capture-Error-Behaviour", "all") // rollback and proceed
	}
	x.w.WriteHeader(http.StatusNoContent)
}

// negotiate refuses what is asked for in a form that is not here.
func (x *exchange) negotiate() error {
	if len(x.r.URL.RawQuery) > maxAddress {
		return &problem{http.StatusRequestURITooLong, "URITooLongException", "URI Too Long", "A query that is long goes into the body of POST " + Prefix + "/queries."}
	}
	accepted := x.r.Header.Get("Accept") == ""
	for part := range strings.SplitSeq(x.r.Header.Get("Accept"), ",") {
		switch media, params, err := mime.ParseMediaType(part); {
		case err != nil || params["q"] == "0":
		case media == "*/*", media == "application/*", media == "application/json", media == "application/ld+json", media == "application/problem+json":
			accepted = true
		}
	}
	unacceptable := func(what string) error {
		return &problem{http.StatusNotAcceptable, "NotAcceptableException", "Conflicting request and response headers", what}
	}
	if !accepted {
		return unacceptable("application/json and application/ld+json are given.")
	}
	for _, of := range []string{"GS1-EPCIS", "GS1-CBV"} {
		if low := x.r.Header.Get(of + "-Min"); low != "" && compareVersions(low, standard) > 0 {
			return unacceptable(of + "-Min: " + standard + " is spoken.")
		}
		if high := x.r.Header.Get(of + "-Max"); high != "" && compareVersions(high, standard[:3]) < 0 {
			return unacceptable(of + "-Max: " + standard + " is spoken.")
		}
	}
	switch x.r.Header.Get("GS1-EPC-Format") {
	case "", "No_Preference", "Never_Translates":
	default:
		return unacceptable("GS1-EPC-Format: Never_Translates is given.")
	}
	return nil
}

// compareVersions compares versions by their numbers; what is none is the highest.
func compareVersions(a, b string) int {
	numbers := func(s string) (out []int) {
		for part := range strings.SplitSeq(s, ".") {
			n, err := strconv.Atoi(part)
			if err != nil {
				n = 1 << 30
			}
			out = append(out, n)
		}
		for len(out) > 0 && out[len(out)-1] == 0 {
			out = out[:len(out)-1]
		}
		return out
	}
	return slices.Compare(numbers(a), numbers(b))
}

// body reads what was sent, as JSON.
func (x *exchange) body(limit int64) ([]byte, error) {
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" && media != "application/ld+json" {
		return nil, &problem{http.StatusUnsupportedMediaType, "UnsupportedMediaTypeException", "Unsupported Media Type", "application/json and application/ld+json are read."}
	}
	data, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, epcis.ErrSize
	case err != nil:
		return nil, &problem{http.StatusBadRequest, "ValidationException", "The request broke off", ""}
	}
	return data, nil
}

func (x *exchange) send(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	x.write(status, append(body, '\n'))
	return nil
}

func (x *exchange) write(status int, body []byte) {
	media := "application/json"
	if strings.Contains(x.r.Header.Get("Accept"), "application/ld+json") {
		media = "application/ld+json"
	}
	x.w.Header().Set("Content-Type", media)
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // the reader has gone; nobody is left to be told
}

// --- Problems ---

// problem is an answer other than the one asked for (RFC 7807), of a type of EPCIS.
type problem struct {
	Status int
	Type   string
	Title  string
	Detail string
}

func (p *problem) Error() string { return p.Type }

// problemBody is how it is written.
type problemBody struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Of an event that was refused: where it is in the document, and why, in a stable word.
	Path   string        `json:"path,omitempty"`
	Reason format.Defect `json:"reason,omitempty"`
}

func (p *problem) body() problemBody {
	return problemBody{Type: "epcisException:" + p.Type, Title: p.Title, Status: p.Status, Detail: p.Detail}
}

var notFound = &problem{http.StatusNotFound, "NoSuchResourceException", "Resource not found", ""}

// problemOf is an error as an answer; nil for one that is nobody's but ours.
func problemOf(err error) *problem {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	for _, c := range []struct {
		is error
		p  problem
	}{
		{ErrNobody, problem{http.StatusUnauthorized, "SecurityException", "Who asks is not known", ""}},
		{ErrDenied, problem{http.StatusForbidden, "SecurityException", "Not allowed", ""}},
		{ErrWhich, problem{http.StatusForbidden, "SecurityException", "Not allowed", "Of several facilities it must be said which: with a token of one."}},
		{custody.ErrNotYours, problem{http.StatusForbidden, "SecurityException", "The event is of a place that another answers for", ""}},
		{custody.ErrOtherEvent, problem{http.StatusConflict, "ResourceAlreadyExistsException", "Another event has that eventID", ""}},
		{custody.ErrQueryTaken, problem{http.StatusConflict, "ResourceAlreadyExistsException", "A query has that name", ""}},
		{custody.ErrNoQuery, problem{http.StatusNotFound, "NoSuchNameException", "There is no query of that name", ""}},
		{custody.ErrNoEvent, *notFound}, {custody.ErrNoJob, *notFound}, {custody.ErrNoSubscription, *notFound},
		{custody.ErrToken, problem{http.StatusBadRequest, "QueryParameterException", "nextPageToken is none of this query, or has ended", ""}},
		{custody.ErrTooLarge, problem{http.StatusRequestEntityTooLarge, "QueryTooLargeException", "More events answer than maxEventCount", ""}},
		{custody.ErrTooMany, problem{http.StatusRequestEntityTooLarge, "QueryTooComplexException", "There are too many", ""}},
		{custody.ErrSubscription, problem{http.StatusBadRequest, "SubscriptionControlsException", "The subscription is none", err.Error()}},
		{epcis.ErrQuery, problem{http.StatusBadRequest, "QueryParameterException", "The query is not understood", err.Error()}},
		{epcis.ErrSize, problem{http.StatusRequestEntityTooLarge, "CaptureLimitExceededException", "Capture Payload too large", ""}},
	} {
		if errors.Is(err, c.is) {
			return &c.p
		}
	}
	for _, d := range invalid {
		if errors.Is(err, d) {
			return &problem{http.StatusBadRequest, "ValidationException", "The document is not valid", err.Error()}
		}
	}
	return nil
}

// invalid are the defects of what was sent. Their errors quote nothing of it but names.
var invalid = []format.Defect{
	epcis.ErrForm, epcis.Missing, epcis.BadValue, epcis.BadType, epcis.Unexpected, epcis.Repeated, epcis.TooMany, epcis.NoPrefix,
	strictjson.ErrMalformed, strictjson.ErrDuplicateName, strictjson.ErrTooDeep, strictjson.ErrTooLarge, strictjson.ErrInvalidUTF8,
}

func (x *exchange) fail(err error) {
	p := problemOf(err)
	if p == nil {
		x.Log.Error("events", "error", err.Error())
		p = &problem{http.StatusInternalServerError, "ImplementationException", "A server-side error occurred", ""}
	}
	h := x.w.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusRequestEntityTooLarge:
		h.Set("GS1-EPCIS-Capture-Limit", strconv.Itoa(epcis.MaxEvents))
		h.Set("GS1-EPCIS-Capture-File-Size-Limit", strconv.Itoa(epcis.MaxDocument))
	}
	body, err := json.Marshal(p.body())
	if err != nil {
		panic(err) // strings and a number
	}
	h.Set("Content-Type", "application/problem+json")
	x.w.WriteHeader(p.Status)
	_, _ = x.w.Write(append(body, '\n'))
}

// --- Capturing ---

func (x *exchange) capture() error {
	proceed := false
	switch x.r.Header.Get("GS1-Capture-Error-Behaviour") {
	case "", "rollback":
	case "proceed":
		proceed = true
	default:
		return &problem{http.StatusBadRequest, "ValidationException", "GS1-Capture-Error-Behaviour is rollback or proceed", ""}
	}
	data, err := x.body(epcis.MaxDocument)
	if err != nil {
		return err
	}
	j, err := x.Custody.Capture(x.r.Context(), x.by, data, proceed)
	if err != nil {
		return err
	}
	x.w.Header().Set("Location", Prefix+"/capture/"+string(j.ID))
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

func (x *exchange) captureOne() error {
	data, err := x.body(epcis.MaxDocument)
	if err != nil {
		return err
	}
	id, err := x.Custody.One(x.r.Context(), x.by, data)
	if err != nil {
		return err
	}
	x.w.Header().Set("Location", Prefix+"/events/"+url.PathEscape(id))
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

// jobBody is a capture job of the standard.
type jobBody struct {
	ID        custody.ID    `json:"captureID"`
	Created   time.Time     `json:"createdAt"`
	Finished  time.Time     `json:"finishedAt"`
	Running   bool          `json:"running"`
	Success   bool          `json:"success"`
	Behaviour string        `json:"captureErrorBehaviour"`
	Errors    []problemBody `json:"errors"`
}

func jobOf(j *custody.Job) jobBody {
	b := jobBody{ID: j.ID, Created: j.Created, Finished: j.Finished, Success: j.Success(), Behaviour: "rollback", Errors: []problemBody{}}
	if j.Proceed {
		b.Behaviour = "proceed"
	}
	for _, e := range j.Errors {
		p := problemOf(e.Reason).body()
		p.Detail, p.Path, p.Reason = "", e.Path, e.Reason
		b.Errors = append(b.Errors, p)
	}
	return b
}

func (x *exchange) job() error {
	j, err := x.Custody.Job(x.r.Context(), x.by, custody.ID(x.r.PathValue("id")))
	if err != nil {
		return err
	}
	return x.send(http.StatusOK, jobOf(j))
}

func (x *exchange) jobs() error {
	token, limit, err := x.page()
	if err != nil {
		return err
	}
	jobs, next, err := x.Custody.Jobs(x.r.Context(), x.by, token, limit)
	if err != nil {
		return err
	}
	x.next(next, time.Time{})
	out := make([]jobBody, len(jobs))
	for i := range jobs {
		out[i] = jobOf(&jobs[i])
	}
	return x.send(http.StatusOK, out)
}

// --- Asking ---

// page is where a page begins, and how much is on it.
func (x *exchange) page() (token string, limit int, err error) {
	q := x.r.URL.Query()
	limit = custody.DefaultPage
	if text := q.Get("perPage"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return "", 0, &problem{http.StatusBadRequest, "QueryParameterException", "perPage is a number above 0", ""}
		}
	}
	return q.Get("nextPageToken"), min(limit, custody.MaxPage), nil
}

// next tells where the next page is.
func (x *exchange) next(token string, expires time.Time) {
	if token == "" {
		return
	}
	if expires.IsZero() {
		expires = x.Custody.Expires()
	}
	q := x.r.URL.Query()
	q.Set("nextPageToken", token)
	x.w.Header().Set("Link", "<"+x.r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
	x.w.Header().Set("GS1-Next-Page-Token-Expires", expires.UTC().Format(time.RFC3339))
}

// prefixes are those that GS1-Extensions defines: "ns=https://ns.example.org/, …".
func (x *exchange) prefixes() epcis.Prefixes {
	p := epcis.Prefixes{}
	for part := range strings.SplitSeq(strings.Join(x.r.Header.Values("GS1-Extensions"), ","), ",") {
		if name, ns, ok := strings.Cut(strings.TrimSpace(part), "="); ok && len(p) < 64 {
			p[name] = ns
		}
	}
	return p
}

// simple is the name of the query that is not kept (EPCIS 2.0 section 8.2.7.1).
const simple = "SimpleEventQuery"

// events answers with events, of one value alone where the address names it.
func (x *exchange) events(parameter string, in epcis.Index) error {
	values := x.r.URL.Query()
	values.Del("perPage")
	values.Del("nextPageToken")
	if parameter != "" {
		if values.Has(parameter) {
			return &problem{http.StatusBadRequest, "QueryParameterException", parameter + " stands in the address already", ""}
		}
		if in != "" {
			if err := x.there(parameter, in); err != nil {
				return err
			}
		} else if !slices.Contains(epcis.Types, epcis.Type(x.r.PathValue("value"))) && !strings.Contains(x.r.PathValue("value"), ":") {
			return notFound
		}
		values.Set(parameter, x.r.PathValue("value"))
	}
	prefixes := x.prefixes()
	q, err := epcis.ParseParameters(values, prefixes)
	if err != nil {
		return err
	}
	said := values.Encode()
	for _, name := range slices.Sorted(maps.Keys(prefixes)) {
		said += " " + name + "=" + prefixes[name]
	}
	return x.answer(q, simple, said)
}

func (x *exchange) answer(q *epcis.Query, name, said string) error {
	token, limit, err := x.page()
	if err != nil {
		return err
	}
	p, err := x.Custody.Query(x.r.Context(), x.by, q, said, token, limit)
	if err != nil {
		return err
	}
	x.next(p.Next, p.Expires)
	x.w.Header().Set("GS1-EPC-Format", "Never_Translates")
	x.write(http.StatusOK, epcis.AppendQueryDocument(nil, x.Custody.Now(), name, "", p.Events))
	return nil
}

func (x *exchange) event() error {
	found, err := x.Custody.EventsNamed(x.r.Context(), x.by, x.r.PathValue("id"))
	if err != nil {
		return err
	}
	x.w.Header().Set("GS1-EPC-Format", "Never_Translates")
	x.write(http.StatusOK, epcis.AppendQueryDocument(nil, x.Custody.Now(), simple, "", found))
	return nil
}

// list is a collection of the standard.
type list struct {
	Context string   `json:"@context"`
	Type    string   `json:"type"`
	Member  []string `json:"member"`
}

func collection(members ...string) func(*exchange) error {
	return func(x *exchange) error { return x.send(http.StatusOK, list{epcis.Context, "Collection", members}) }
}

// values lists what is in an index of events that the asker sees. What nobody told is in
// no list, be it a word of the standard.
func (x *exchange) values(in epcis.Index) error {
	token, limit, err := x.page()
	if err != nil {
		return err
	}
	values, next, err := x.Custody.Values(x.r.Context(), x.by, in, token, limit)
	if err != nil {
		return err
	}
	x.next(next, time.Time{})
	members := make([]string, len(values))
	for i, v := range values {
		members[i] = epcis.Short(in, v)
	}
	if in == epcis.ByEPC || in == epcis.ByLocation || in == epcis.ByReadPoint {
		x.w.Header().Set("GS1-EPC-Format", "Always_GS1_Digital_Link")
	}
	return x.send(http.StatusOK, list{epcis.Context, "Collection", members})
}

// there fails where the asker sees no event of a value.
func (x *exchange) there(parameter string, in epcis.Index) error {
	q, err := epcis.ParseParameters(url.Values{parameter: {x.r.PathValue("value")}}, x.prefixes())
	if err != nil || len(q.Needs) != 1 || len(q.Needs[0]) != 1 {
		return notFound
	}
	ok, err := x.Custody.Has(x.r.Context(), x.by, in, q.Needs[0][0].Value)
	if err == nil && !ok {
		err = notFound
	}
	return err
}

func (x *exchange) value(parameter string, in epcis.Index) error {
	if err := x.there(parameter, in); err != nil {
		return err
	}
	return collection("events")(x)
}

func (x *exchange) eventTypes() error {
	token, limit, err := x.page()
	if err != nil {
		return err
	}
	more, next, err := x.Custody.Values(x.r.Context(), x.by, epcis.ByType, token, limit)
	if err != nil {
		return err
	}
	x.next(next, time.Time{})
	var members []string
	if token == "" {
		for _, t := range epcis.Types {
			members = append(members, string(t))
		}
	}
	return x.send(http.StatusOK, list{epcis.Context, "Collection", append(members, more...)})
}

func (x *exchange) eventType() error {
	value := x.r.PathValue("value")
	if !slices.Contains(epcis.Types, epcis.Type(value)) {
		ok, err := x.Custody.Has(x.r.Context(), x.by, epcis.ByType, value)
		if err != nil {
			return err
		}
		if !ok {
			return notFound
		}
	}
	return collection("events")(x)
}

// --- Queries that stay ---

type queryBody struct {
	Name  string          `json:"name"`
	Query json.RawMessage `json:"query"`
}

func (x *exchange) queries() error {
	token, limit, err := x.page()
	if err != nil {
		return err
	}
	all, next, err := x.Custody.Queries(x.r.Context(), x.by, token, limit)
	if err != nil {
		return err
	}
	x.next(next, time.Time{})
	out := make([]queryBody, len(all))
	for i, q := range all {
		out[i] = queryBody{q.Name, q.Text}
	}
	return x.send(http.StatusOK, out)
}

func (x *exchange) makeQuery() error {
	data, err := x.body(epcis.MaxQuery)
	if err != nil {
		return err
	}
	var b queryBody
	if err := strictjson.UnmarshalKnown(data, &b, strictjson.Limits{Bytes: epcis.MaxQuery, Depth: 10}); err != nil {
		return err
	}
	if err := x.Custody.Name(x.r.Context(), x.by, b.Name, b.Query); err != nil {
		return err
	}
	x.w.Header().Set("Location", Prefix+"/queries/"+url.PathEscape(b.Name))
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

func (x *exchange) query() error {
	q, err := x.Custody.Named(x.r.Context(), x.by, x.r.PathValue("name"))
	if err != nil {
		return err
	}
	return x.send(http.StatusOK, queryBody{q.Name, q.Text})
}

func (x *exchange) dropQuery() error {
	if err := x.Custody.Forget(x.r.Context(), x.by, x.r.PathValue("name")); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (x *exchange) queryEvents() error {
	if x.r.Header.Get("Upgrade") != "" {
		return &problem{http.StatusNotImplemented, "ImplementationException", "Functionality not supported by server", "There is no WebSocket: a subscription sends to an address."}
	}
	named, err := x.Custody.Named(x.r.Context(), x.by, x.r.PathValue("name"))
	if err != nil {
		return err
	}
	q, err := epcis.ParseQuery(named.Text)
	if err != nil {
		return err
	}
	return x.answer(q, named.Name, "query "+strconv.Quote(named.Name)+" "+string(named.Text))
}

// subscriptionOrder is what is asked for. The standard's schema names the secret twice.
type subscriptionOrder struct {
	Dest              string          `json:"dest"`
	SignatureToken    string          `json:"signatureToken"`
	Secret            string          `json:"secret"`
	InitialRecordTime time.Time       `json:"initialRecordTime"`
	Stream            bool            `json:"stream"`
	Schedule          *epcis.Schedule `json:"schedule"`
	ReportIfEmpty     bool            `json:"reportIfEmpty"`
}

// subscriptionBody is what is told of one; not its secret.
type subscriptionBody struct {
	ID            custody.ID      `json:"subscriptionID"`
	Dest          string          `json:"dest"`
	Created       time.Time       `json:"createdAt"`
	Notified      time.Time       `json:"lastNotifiedAt,omitzero"`
	Initial       time.Time       `json:"initialRecordTime,omitzero"`
	Ran           time.Time       `json:"minRecordTime,omitzero"`
	EPCFormat     string          `json:"epcFormat"`
	Stream        bool            `json:"stream,omitempty"`
	Schedule      *epcis.Schedule `json:"schedule,omitempty"`
	ReportIfEmpty bool            `json:"reportIfEmpty,omitempty"`
}

func subscriptionOf(s *custody.Subscription) subscriptionBody {
	return subscriptionBody{s.ID, s.Dest, s.Created, s.Notified, s.Initial, s.Ran, "Never_Translates", s.Schedule == nil, s.Schedule, s.Empty}
}

func (x *exchange) subscribe() error {
	data, err := x.body(64 << 10)
	if err != nil {
		return err
	}
	var o subscriptionOrder
	if err := strictjson.UnmarshalKnown(data, &o, strictjson.Limits{Depth: 4}); err != nil {
		return err
	}
	if o.Stream == (o.Schedule != nil) {
		return &problem{http.StatusBadRequest, "SubscriptionControlsException", "The subscription is none", "It has a schedule, or stream is true."}
	}
	token := o.SignatureToken
	if token == "" {
		token = o.Secret
	}
	s := &custody.Subscription{Query: x.r.PathValue("name"), Dest: o.Dest, Initial: o.InitialRecordTime, Schedule: o.Schedule, Empty: o.ReportIfEmpty}
	if err := x.Custody.Subscribe(x.r.Context(), x.by, s, []byte(token)); err != nil {
		return err
	}
	x.w.Header().Set("Location", Prefix+"/queries/"+url.PathEscape(s.Query)+"/subscriptions/"+string(s.ID))
	return x.send(http.StatusCreated, subscriptionOf(s))
}

func (x *exchange) subscriptions() error {
	all, err := x.Custody.Subscriptions(x.r.Context(), x.by, x.r.PathValue("name"))
	if err != nil {
		return err
	}
	out := make([]subscriptionBody, len(all))
	for i := range all {
		out[i] = subscriptionOf(&all[i])
	}
	return x.send(http.StatusOK, out)
}

func (x *exchange) subscription() error {
	s, err := x.Custody.Subscription(x.r.Context(), x.by, x.r.PathValue("name"), custody.ID(x.r.PathValue("id")))
	if err != nil {
		return err
	}
	return x.send(http.StatusOK, subscriptionOf(s))
}

func (x *exchange) unsubscribe() error {
	if err := x.Custody.Unsubscribe(x.r.Context(), x.by, x.r.PathValue("name"), custody.ID(x.r.PathValue("id"))); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}
