package epcisapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/epcis"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/party/custody"
)

// The places: of a works, of a ministry with a depot and two clinics, of a rival.
const (
	works = "https://id.gs1.org/414/9521321000018"
	depot = "https://id.gs1.org/414/9521321000025"
	north = "https://id.gs1.org/414/9521321000032"
	rival = "https://id.gs1.org/414/9521321000049"
	lot   = "https://id.gs1.org/01/09521321123458/10/SPEC-IPV"
	box   = "https://id.gs1.org/00/095213210000000117"
)

// bed is a repository that is asked over HTTP. Who asks says so in the token:
// organisation, or organisation/facility.
type bed struct {
	*custody.Custody
	t      *testing.T
	server *httptest.Server
	now    time.Time
	outbox sync.Mutex // several reports go out at once
	sent   []custody.Report
}

func newBed(t *testing.T) *bed {
	t.Helper()
	master, err := keys.NewMasterKey(rand.Reader)
	must(t, err)
	c := store.Config{Dir: t.TempDir(), Master: master, NoSync: true}
	must(t, store.Create(t.Context(), c))
	s, err := store.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	b := &bed{t: t, now: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)}
	b.Custody = &custody.Custody{
		Events: s.Goods(), Stock: s.Goods(), Secret: s.Goods().Secret(), Now: func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler),
		Send: func(_ context.Context, r custody.Report) error {
			b.outbox.Lock()
			defer b.outbox.Unlock()
			b.sent = append(b.sent, r)
			return nil
		},
	}
	for uri, at := range map[string]custody.Place{works: {Organisation: "works"}, depot: {Organisation: "moh"}, north: {Organisation: "moh", Facility: "north"}, rival: {Organisation: "rival"}} {
		must(t, b.Stock.PutLocation(t.Context(), &custody.Location{URI: uri, Place: at, Version: 1, Name: "Specimen"}))
	}
	b.server = httptest.NewServer((&API{Custody: b.Custody, Version: "test", Log: b.Log, By: func(r *http.Request, capture bool) (custody.Actor, error) {
		who, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		organisation, facility, _ := strings.Cut(who, "/")
		switch {
		case who == "":
			return custody.Actor{}, ErrNobody
		case organisation == "reader" && capture:
			return custody.Actor{}, ErrDenied
		}
		return custody.Actor{ID: "u-" + organisation, Within: custody.Place{Organisation: organisation, Facility: facility}}, nil
	}}).Handler())
	t.Cleanup(b.server.Close)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what was answered.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

func (b *bed) ask(who, method, path, body string, header ...string) answer {
	b.t.Helper()
	if !strings.HasPrefix(path, Prefix) {
		path = Prefix + path
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, strings.NewReader(body))
	must(b.t, err)
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+who)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := b.server.Client().Do(r)
	must(b.t, err)
	defer a.Body.Close()
	data, err := io.ReadAll(a.Body)
	must(b.t, err)
	return answer{a.StatusCode, a.Header, string(data)}
}

// object is an object event of a day.
func object(day int, rest string) string {
	return fmt.Sprintf(`{"type":"ObjectEvent","eventTime":"2026-11-%02dT09:00:00Z","eventTimeZoneOffset":"+00:00","action":"OBSERVE",%s}`, day, rest)
}

func document(events ...string) string {
	return fmt.Sprintf(`{"@context":[%q,{"note":"https://ns.example.org/"}],"type":"EPCISDocument","schemaVersion":"2.0","creationDate":"2026-11-20T00:00:00Z","epcisBody":{"eventList":[%s]}}`,
		epcis.Context, strings.Join(events, ","))
}

const things = `"quantityList":[{"epcClass":"` + lot + `","quantity":100}],"epcList":["urn:epc:id:sscc:9521321.0000000011"]`

func at(place string) string { return `"readPoint":{"id":"` + place + `"}` }

func to(place string) string {
	return `"destinationList":[{"type":"location","destination":"` + place + `"}]`
}

// tell captures events, which must all be taken.
func (b *bed) tell(who string, events ...string) {
	b.t.Helper()
	if job := b.job(who, document(events...)); !job.Success {
		b.t.Fatalf("%+v", job)
	}
}

func (b *bed) job(who, document string, header ...string) (j jobBody) {
	b.t.Helper()
	a := b.ask(who, "POST", "/capture", document, header...)
	if a.Status != http.StatusAccepted {
		b.t.Fatalf("%d %s", a.Status, a.Body)
	}
	a = b.ask(who, "GET", a.Header.Get("Location"), "")
	must(b.t, json.Unmarshal([]byte(a.Body), &j))
	return j
}

// names reads the events of an answer, by their names.
func names(t *testing.T, body string) string {
	t.Helper()
	d, findings, err := epcis.Parse([]byte(body))
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v, %v: %s", err, findings, body)
	}
	var out []string
	for _, e := range d.Events {
		out = append(out, strings.TrimPrefix(e.ID, "urn:x:"))
	}
	return strings.Join(out, " ")
}

func named(id string) string { return `"eventID":"urn:x:` + id + `"` }

// world has events of all, and some that are nobody's but their own.
func (b *bed) world(others bool) {
	b.now = time.Date(2026, 11, 20, 1, 0, 0, 0, time.UTC)
	if others {
		b.tell("works", object(1, named("made")+`,"bizStep":"commissioning","disposition":"active",`+things+`,"bizLocation":{"id":"`+works+`"}`),
			object(2, named("shipped")+`,"bizStep":"shipping",`+things+`,`+at(works)+`,`+to(depot)))
		b.tell("moh", object(3, named("received")+`,"bizStep":"receiving","note:a":7,`+things+`,"bizLocation":{"id":"`+depot+`"}`),
			object(4, named("onward")+`,"bizStep":"shipping",`+things+`,`+at(depot)+`,`+to(north)))
	}
	must(b.t, b.Deliver(b.t.Context()))
	b.now = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)
	b.tell("rival", object(5, named("rivals")+`,"bizStep":"storing",`+things+`,"bizLocation":{"id":"`+rival+`"}`), object(6, named("rivals2")+`,"bizStep":"holding","epcList":["urn:x:thing"],`+at(rival)))
	b.tell("works", object(6, named("sold")+`,"bizStep":"shipping",`+things+`,`+at(works)+`,`+to("urn:epc:id:sgln:9521321.00004.0")))
	b.now = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
}

func TestWhoSeesWhat(t *testing.T) {
	b := newBed(t)
	b.world(true)
	sscc := "MATCH_anyEPC=" + url.QueryEscape(box)
	for _, c := range []struct{ who, query, want string }{
		{"works", "", "made shipped sold"},
		{"moh", "", "shipped received onward"},
		{"moh/north", "", "onward"},
		{"moh/south", "", ""},
		{"rival", "", "rivals rivals2 sold"},
		{"stranger", "", ""},
		{"rival", sscc, "rivals sold"},
		{"rival", "EQ_eventID=urn:x:received|urn:x:sold", "sold"},
		{"moh", "EQ_bizStep=shipping&" + sscc + "&orderBy=eventTime", "onward shipped"},
		{"moh", "EQ_bizLocation=urn:epc:id:sgln:9521321.00002.0", "received"},
		{"moh", "orderBy=eventTime&orderDirection=ASC&eventCountLimit=2", "shipped received"},
		{"moh", "MATCH_epcClass=urn:epc:class:lgtin:9521321.012345.*", "shipped received onward"},
		{"moh", "MATCH_epcClass=urn:epc:class:lgtin:9521321.012346.*", ""},
		{"moh", "EQ_https://ns.example.org/a=7.0", "received"},
		{"moh", "maxEventCount=3", "shipped received onward"},
	} {
		a := b.ask(c.who, "GET", "/events?"+c.query, "")
		if got := names(t, a.Body); a.Status != 200 || got != c.want {
			t.Errorf("%s asks %q: %q, want %q", c.who, c.query, got, c.want)
		}
	}
	// The prefix of a parameter is told in a header.
	if a := b.ask("moh", "GET", "/events?GE_n:a=7", "", "GS1-Extensions", "n=https://ns.example.org/"); names(t, a.Body) != "received" {
		t.Error(a)
	}
	for _, c := range []struct {
		who, path string
		status    int
		want      string
	}{
		{"moh", "/events/urn:x:received", 200, "received"}, {"works", "/events/urn:x:received", 404, ""}, {"works", "/events/urn:x:none", 404, ""},
		{"works", "/events/urn:x:made", 200, "made"},
		{"moh", "/bizSteps/receiving/events", 200, "received"}, {"works", "/bizSteps/receiving/events", 404, ""},
		{"moh", "/epcs/" + url.PathEscape(box) + "/events", 200, "shipped received onward"},
		{"moh", "/epcs/urn:epc:id:sscc:9521321.0000000011/events?EQ_action=OBSERVE&EQ_bizStep=receiving", 200, "received"},
		{"moh", "/bizLocations/" + url.PathEscape(depot) + "/events", 200, "received"},
		{"moh", "/eventTypes/ObjectEvent/events", 200, "shipped received onward"}, {"moh", "/eventTypes/AssociationEvent/events", 200, ""}, {"moh", "/eventTypes/Nonsense/events", 404, ""},
		{"works", "/dispositions/active/events", 200, "made"}, {"moh", "/dispositions/active", 404, ""}, {"moh", "/readPoints/" + url.PathEscape(works), 200, "-"},
	} {
		a := b.ask(c.who, "GET", c.path, "")
		if a.Status != c.status {
			t.Errorf("%s asks %s: %d %s", c.who, c.path, a.Status, a.Body)
		} else if c.status == 200 && c.want != "-" && names(t, a.Body) != c.want {
			t.Errorf("%s asks %s: %s, want %q", c.who, c.path, names(t, a.Body), c.want)
		}
	}
	if a := b.ask("rival", "GET", "/epcs", ""); !strings.Contains(a.Body, `"member":["`+box+`","urn:x:thing"]`) {
		t.Error(a.Body)
	}
	if a := b.ask("moh", "GET", "/bizSteps", ""); !strings.Contains(a.Body, `"member":["receiving","shipping"]`) {
		t.Error(a.Body)
	}
}

// changing is what differs between two answers that tell the same.
var changing = regexp.MustCompile(`nextPageToken=[^&>]+|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]+|ETag: .*`)

// TestOthersAreAsIfNotThere asks two repositories all that can be asked: one that has
// events of others beside those that the asker may see, and one that has not. The answers
// are the same to the byte, and so is what is sent to who subscribed.
func TestOthersAreAsIfNotThere(t *testing.T) {
	transcript := func(others bool) (out []string) {
		b := newBed(t)
		note := func(what string, a answer) {
			a.Header.Del("Date")
			out = append(out, changing.ReplaceAllString(fmt.Sprintf("%s: %d %v %s", what, a.Status, a.Header, a.Body), "…"))
		}
		b.now = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
		for _, q := range []string{`{"name":"all","query":{}}`, `{"name":"thing","query":{"MATCH_anyEPC":["` + box + `"]}}`} {
			note("query", b.ask("rival", "POST", "/queries", q))
		}
		if others { // whose queries are theirs
			b.ask("works", "POST", "/queries", `{"name":"all2","query":{}}`)
		}
		for _, s := range []string{`"stream":true`, `"schedule":{"minute":"[0-59]"},"reportIfEmpty":true`, `"stream":true,"initialRecordTime":"2026-11-20T01:30:00Z"`} {
			b.now = b.now.Add(time.Second) // their order is told
			note("subscribe", b.ask("rival", "POST", "/queries/all/subscriptions", `{"dest":"https://example.org/in","signatureToken":"SPECIMEN-token-0123456789",`+s+`}`))
		}
		b.world(others)
		must(t, b.Deliver(t.Context()))
		paths := []string{
			"/events", "/events?perPage=1", "/events?orderBy=eventTime&perPage=2", "/events?orderBy=recordTime", "/events?maxEventCount=3", "/events?maxEventCount=2",
			"/events?eventCountLimit=1&perPage=1", "/events?EQ_bizStep=shipping", "/events?EQ_bizLocation=" + url.QueryEscape(depot), "/events?WD_bizLocation=" + url.QueryEscape(depot),
			"/queries", "/queries/all", "/queries/all2", "/queries/all/events", "/queries/thing/events", "/queries/all/subscriptions", "/capture", "/eventTypes",
		}
		for _, id := range []string{"made", "shipped", "received", "onward", "sold", "none"} {
			paths = append(paths, "/events/urn:x:"+id)
		}
		for _, of := range []string{"epcs", "bizSteps", "bizLocations", "readPoints", "dispositions"} {
			paths = append(paths, "/"+of, "/"+of+"?perPage=1")
			for _, value := range []string{box, lot, "receiving", "commissioning", "shipping", "active", depot, works, north, rival} {
				paths = append(paths, "/"+of+"/"+url.PathEscape(value), "/"+of+"/"+url.PathEscape(value)+"/events")
			}
		}
		for _, path := range paths {
			for page := 0; path != "" && page < 20; page++ {
				a := b.ask("rival", "GET", path, "")
				note(changing.ReplaceAllString(path, "…"), a)
				path, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
			}
		}
		// A name that another's event has tells nothing.
		note("capture", b.ask("rival", "POST", "/events", strings.Replace(object(9, named("made")+`,`+things+`,`+at(rival)), "{", fmt.Sprintf(`{"@context":%q,`, epcis.Context), 1)))
		slices.SortFunc(b.sent, func(a, b custody.Report) int { return bytes.Compare(a.Body, b.Body) })
		for _, r := range b.sent {
			out = append(out, "sent "+changing.ReplaceAllString(string(r.Body), "…"))
		}
		return out
	}
	with, without := transcript(true), transcript(false)
	if diff := cmp.Diff(without, with); diff != "" {
		t.Errorf("what others have shows: %s", diff)
	}
	if text := strings.Join(with, "\n"); strings.Count(text, "sent ") != 4 || strings.Contains(text, "urn:x:received\"") || !strings.Contains(text, "urn:x:sold") {
		t.Error(text)
	}
}

func TestCapture(t *testing.T) {
	b := newBed(t)
	good, foreign := object(1, named("a")+`,"bizStep":"storing",`+things+`,"bizLocation":{"id":"`+depot+`"}`), object(1, named("b")+`,`+things+`,`+at(works))
	broken := strings.Replace(object(1, named("c")+`,`+things+`,`+at(depot)), "OBSERVE", "LOOK", 1)
	smuggled := object(2, named("d")+`,"bizStep":"shipping",`+things+`,"bizLocation":{"id":"`+depot+`"},`+at(works)+`,`+to(rival))
	free := object(2, named("e")+`,`+things+`,`+at("urn:x:a-place-that-nobody-registered"))
	reasons := func(j jobBody) string {
		var out []string
		for _, e := range j.Errors {
			out = append(out, e.Path+" "+string(e.Reason)+" "+e.Type)
		}
		return strings.Join(out, "; ")
	}
	foreignAt := func(i int) string {
		return fmt.Sprintf("epcisBody.eventList[%d] not-your-place epcisException:SecurityException", i)
	}
	for _, c := range []struct {
		name, who, document string
		proceed             bool
		want                string
		events              string
	}{
		{"another's place", "moh", document(good, foreign), false, foreignAt(1), ""},
		{"another's place, read there", "moh", document(smuggled), false, foreignAt(0), ""},
		{"broken", "moh", document(good, broken), false, "epcisBody.eventList[1].action bad-value epcisException:ValidationException", ""},
		{"as far as it goes", "moh", document(foreign, good, broken), true, "epcisBody.eventList[2].action bad-value epcisException:ValidationException; " + foreignAt(0), "a"},
		{"once more", "moh", document(good), false, "", "a"},
		{"another of that name", "moh", document(strings.Replace(good, "storing", "holding", 1)), false, "epcisBody.eventList[0] event-exists epcisException:ResourceAlreadyExistsException", "a"},
		{"twice, differently", "moh", document(free, strings.Replace(free, "OBSERVE", "ADD", 1)), false, "epcisBody.eventList[1] event-exists epcisException:ResourceAlreadyExistsException", "a"},
		{"a place that nobody registered", "moh", document(free), false, "", "a e"},
		{"that place, by one of a facility", "moh/north", document(strings.Replace(free, "urn:x:e", "urn:x:f", 1)), false, foreignAt(0), "a e"},
		{"another facility's", "moh/north", document(good), false, foreignAt(0), "a e"},
	} {
		behaviour := map[bool]string{false: "rollback", true: "proceed"}[c.proceed]
		j := b.job(c.who, c.document, "GS1-Capture-Error-Behaviour", behaviour)
		if got := reasons(j); got != c.want || j.Success != (c.want == "") || j.Running || j.Behaviour != behaviour {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := names(t, b.ask("moh", "GET", "/events", "").Body); got != c.events {
			t.Errorf("%s: there are %q", c.name, got)
		}
	}
	var jobs []jobBody
	must(t, json.Unmarshal([]byte(b.ask("moh", "GET", "/capture", "").Body), &jobs))
	if len(jobs) != 10 || b.ask("rival", "GET", "/capture/"+string(jobs[0].ID), "").Status != 404 || b.ask("moh/north", "GET", "/capture/"+string(jobs[3].ID), "").Status != 200 {
		t.Errorf("%d captures are listed", len(jobs))
	}
	// One event, without a name: it is named by its hash.
	one := strings.Replace(object(3, things+`,`+at(depot)), "{", fmt.Sprintf(`{"@context":%q,`, epcis.Context), 1)
	a := b.ask("moh", "POST", "/events", one)
	if a.Status != 201 || !strings.HasPrefix(a.Header.Get("Location"), "/epcis/events/ni:%2F%2F%2Fsha-256%3B") {
		t.Fatal(a)
	}
	if a := b.ask("moh", "GET", a.Header.Get("Location"), ""); a.Status != 200 || !strings.HasPrefix(names(t, a.Body), "ni:///sha-256;") {
		t.Error(a)
	}
	d, _, err := epcis.Parse([]byte(b.ask("moh", "GET", "/events?EQ_eventID=urn:x:a", "").Body))
	must(t, err)
	if !d.Events[0].RecordTime.Equal(b.now) {
		t.Errorf("recorded at %v", d.Events[0].RecordTime)
	}
	for _, c := range []struct {
		name, who, path, body string
		header                []string
		status                int
		kind                  string
	}{
		{"nobody", "", "/capture", document(good), nil, 401, "SecurityException"},
		{"who may not", "reader", "/capture", document(good), nil, 403, "SecurityException"},
		{"no JSON", "moh", "/capture", `{"type":`, nil, 400, "ValidationException"},
		{"no document", "moh", "/capture", `{"@context":"x:y","type":"EPCISDocument"}`, nil, 400, "ValidationException"},
		{"what a query found", "moh", "/capture", strings.NewReplacer("EPCISDocument", "EPCISQueryDocument", `{"eventList":[`, `{"queryResults":{"queryName":"q","resultsBody":{"eventList":[`, `]}}`, `]}}}}`).Replace(document(good)), nil, 400, "ValidationException"},
		{"XML", "moh", "/capture", `<a/>`, []string{"Content-Type", "application/xml"}, 415, "UnsupportedMediaTypeException"},
		{"another behaviour", "moh", "/capture", document(good), []string{"GS1-Capture-Error-Behaviour", "perhaps"}, 400, "ValidationException"},
		{"XML is asked for", "moh", "/capture", document(good), []string{"Accept", "application/xml"}, 406, "NotAcceptableException"},
		{"URNs are asked for", "moh", "/capture", document(good), []string{"GS1-EPC-Format", "Always_EPC_URN"}, 406, "NotAcceptableException"},
		{"a later version", "moh", "/capture", document(good), []string{"GS1-EPCIS-Min", "2.1"}, 406, "NotAcceptableException"},
		{"too much", "moh", "/capture", strings.Repeat(" ", epcis.MaxDocument+1), nil, 413, "CaptureLimitExceededException"},
		{"two events", "moh", "/events", document(good, good), nil, 400, "ValidationException"},
		{"one of another's place", "moh", "/events", document(foreign), nil, 403, "SecurityException"},
		{"one of a name that is there", "moh", "/events", document(strings.Replace(good, "storing", "holding", 1)), nil, 409, "ResourceAlreadyExistsException"},
	} {
		a := b.ask(c.who, "POST", c.path, c.body, c.header...)
		if a.Status != c.status || !strings.Contains(a.Body, `"type":"epcisException:`+c.kind+`"`) || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Body)
		}
	}
}

func TestAsking(t *testing.T) {
	b := newBed(t)
	b.world(true)
	for _, c := range []struct {
		name, method, path string
		header             []string
		status             int
		want               string
	}{
		{"unknown parameter", "GET", "/events?EQ_bizStap=shipping", nil, 400, "QueryParameterException"},
		{"no number", "GET", "/events?perPage=many", nil, 400, "QueryParameterException"},
		{"a token of nobody", "GET", "/events?nextPageToken=abc", nil, 400, "QueryParameterException"},
		{"twice", "GET", "/bizSteps/receiving/events?EQ_bizStep=shipping", nil, 400, "QueryParameterException"},
		{"more than wanted", "GET", "/events?maxEventCount=2", nil, 413, "QueryTooLargeException"},
		{"long", "GET", "/events?EQ_eventID=" + strings.Repeat("a", maxAddress), nil, 414, "URITooLongException"},
		{"no such address", "GET", "/nothing", nil, 404, "NoSuchResourceException"},
		{"no such query", "GET", "/queries/none/events", nil, 404, "NoSuchNameException"},
		{"another method", "PATCH", "/events", nil, 405, "ImplementationException"},
		{"forget a page", "DELETE", "/nextPageToken/abc", nil, 501, "ImplementationException"},
	} {
		if a := b.ask("moh", c.method, c.path, "", c.header...); a.Status != c.status || !strings.Contains(a.Body, c.want) {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Body)
		}
	}
	// Pages: all of it, each once; a token is good for who it was made for, and for an hour.
	first := b.ask("moh", "GET", "/events?perPage=2&orderBy=eventTime", "")
	link, _, _ := strings.Cut(strings.TrimPrefix(first.Header.Get("Link"), "<"), ">")
	if got := names(t, first.Body); got != "onward received" || first.Header.Get("GS1-Next-Page-Token-Expires") != "2026-11-20T04:00:00Z" {
		t.Errorf("%q %v", got, first.Header)
	}
	if last := b.ask("moh", "GET", link, ""); names(t, last.Body) != "shipped" || last.Header.Get("Link") != "" {
		t.Error(last)
	}
	for who, path := range map[string]string{"works": link, "moh/north": link, "moh": strings.Replace(link, "eventTime", "recordTime", 1)} {
		if a := b.ask(who, "GET", path, ""); a.Status != 400 {
			t.Errorf("the page of another: %d %s", a.Status, a.Body)
		}
	}
	b.now = b.now.Add(time.Hour)
	if a := b.ask("moh", "GET", link, ""); a.Status != 400 {
		t.Errorf("a page after an hour: %d", a.Status)
	}
	// What is spoken.
	a := b.ask("", "OPTIONS", "/capture", "")
	want := map[string]string{"Allow": "OPTIONS, GET, HEAD, POST", "GS1-EPCIS-Capture-Limit": "10000", "GS1-EPCIS-Capture-File-Size-Limit": "16777216", "GS1-EPCIS-Version": "2.0.0", "GS1-EPC-Format": "Never_Translates"}
	for name, value := range want {
		if a.Header.Get(name) != value || a.Status != 204 {
			t.Errorf("%s: %q", name, a.Header.Get(name))
		}
	}
	if a := b.ask("moh", "HEAD", "/events", ""); a.Status != 200 || a.Body != "" {
		t.Error(a)
	}
	if a := b.ask("moh", "GET", "/", "", "Accept", "application/ld+json;q=0.9, text/html;q=0"); a.Status != 200 || a.Header.Get("Content-Type") != "application/ld+json" {
		t.Error(a)
	}
}

func TestSubscription(t *testing.T) {
	b := newBed(t)
	if a := b.ask("moh", "POST", "/queries", `{"name":"received","query":{"EQ_bizStep":["receiving"]}}`); a.Status != 201 || a.Header.Get("Location") != "/epcis/queries/received" {
		t.Fatal(a)
	}
	order := `{"dest":"https://example.org/in","signatureToken":"SPECIMEN-token-0123456789","stream":true}`
	for name, c := range map[string]struct {
		path, body string
		status     int
	}{
		"name taken":          {"/queries", `{"name":"received","query":{}}`, 409},
		"no query":            {"/queries", `{"name":"x","query":{"EQ_nothing":1}}`, 400},
		"neither nor":         {"/queries/received/subscriptions", strings.Replace(order, "true", "false", 1), 400},
		"short token":         {"/queries/received/subscriptions", strings.Replace(order, "0123456789", "", 1), 400},
		"no https":            {"/queries/received/subscriptions", strings.Replace(order, "https", "http", 1), 400},
		"no such day":         {"/queries/received/subscriptions", strings.Replace(order, `"stream":true`, `"schedule":{"dayOfMonth":"31","month":"2"}`, 1), 400},
		"to no query":         {"/queries/none/subscriptions", order, 404},
		"a member that is no": {"/queries/received/subscriptions", strings.Replace(order, "stream", "streem", 1), 400},
	} {
		if a := b.ask("moh", "POST", c.path, c.body); a.Status != c.status {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	a := b.ask("moh", "POST", "/queries/received/subscriptions", order)
	place := a.Header.Get("Location")
	if a.Status != 201 || strings.Contains(a.Body, "SPECIMEN") {
		t.Fatal(a)
	}
	if b.ask("works", "GET", place, "").Status != 404 || b.ask("moh/north", "DELETE", place, "").Status != 404 || b.ask("moh", "GET", place, "").Status != 200 {
		t.Error("it is there for others, or not for its owner")
	}
	receive := func(id string) string {
		return object(3, named(id)+`,"bizStep":"receiving",`+things+`,"bizLocation":{"id":"`+depot+`"}`)
	}
	// Not taken, tried again later with the same name and events, and then it goes on.
	fail := true
	var tried []custody.Report
	b.Send = func(_ context.Context, r custody.Report) error {
		tried = append(tried, r)
		if fail {
			return http.ErrHandlerTimeout
		}
		return nil
	}
	b.tell("moh", receive("1"))
	must(t, b.Deliver(t.Context()))
	b.tell("moh", receive("2"))
	must(t, b.Deliver(t.Context())) // too soon
	fail = false
	b.now = b.now.Add(10 * time.Second)
	must(t, b.Deliver(t.Context()))
	must(t, b.Deliver(t.Context()))
	must(t, b.Deliver(t.Context()))
	var got []string
	for _, r := range tried {
		got = append(got, names(t, string(r.Body)))
	}
	if diff := cmp.Diff([]string{"1", "1", "2"}, got); diff != "" || tried[0].ID != tried[1].ID || tried[1].ID == tried[2].ID || string(tried[0].Token) != "SPECIMEN-token-0123456789" {
		t.Error(diff, tried)
	}
	// Who may not read any more is sent nothing.
	b.Still = func(context.Context, custody.Actor) (bool, error) { return false, nil }
	b.tell("moh", receive("3"))
	must(t, b.Deliver(t.Context()))
	if len(tried) != 3 {
		t.Error("something is sent to who may not read")
	}
	if a := b.ask("moh", "DELETE", "/queries/received", ""); a.Status != 204 || b.ask("moh", "GET", place, "").Status != 404 {
		t.Error(a)
	}
}

// TestDescendants asks with what lies in a place.
func TestDescendants(t *testing.T) {
	b := newBed(t)
	const room, shelf = "urn:x:room", "urn:x:shelf"
	for uri, within := range map[string]string{room: depot, shelf: room} {
		must(t, b.Stock.PutLocation(t.Context(), &custody.Location{URI: uri, Place: custody.Place{Organisation: "moh"}, Version: 1, Within: within, Name: "Specimen"}))
	}
	b.tell("moh", object(1, named("shelf")+`,`+things+`,"bizLocation":{"id":"`+shelf+`"}`), object(1, named("depot")+`,`+things+`,"bizLocation":{"id":"`+depot+`"}`), object(1, named("north")+`,`+things+`,"bizLocation":{"id":"`+north+`"}`))
	if got := names(t, b.ask("moh", "GET", "/events?WD_bizLocation=urn:epc:id:sgln:9521321.00002.0", "").Body); got != "shelf depot" {
		t.Error(got)
	}
}

// TestManyEvents goes through more events than are looked at, at a time, of which each
// third answers.
func TestManyEvents(t *testing.T) {
	b := newBed(t)
	var events []string
	for i := range 1600 {
		step := []string{"storing", "holding", "shipping"}[i%3]
		events = append(events, object(1, named(fmt.Sprint(i))+`,"note:n":`+fmt.Sprint(i%3)+`,"bizStep":"`+step+`",`+things+`,`+at(depot)))
	}
	b.tell("moh", events...)
	for _, query := range []string{"EQ_https://ns.example.org/n=1", "EQ_bizStep=holding", "EQ_bizStep=holding&orderBy=eventTime", "EQ_bizStep=holding&orderBy=recordTime&orderDirection=ASC", "EQ_https://ns.example.org/n=1&eventCountLimit=400"} {
		want := 533
		if strings.HasSuffix(query, "400") {
			want = 400
		}
		seen := map[string]bool{}
		pages := 0
		for path := "/events?perPage=70&" + query; path != ""; pages++ {
			a := b.ask("moh", "GET", path, "")
			for _, name := range strings.Fields(names(t, a.Body)) {
				if seen[name] {
					t.Errorf("%s: %s comes twice", query, name)
				}
				seen[name] = true
			}
			path, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
		}
		if len(seen) != want || pages != (want+69)/70 {
			t.Errorf("%s: %d events on %d pages", query, len(seen), pages)
		}
	}
	if a := b.ask("moh", "GET", "/events?EQ_bizStep=holding&maxEventCount=533&perPage=1000", ""); len(strings.Fields(names(t, a.Body))) != 533 {
		t.Error(a.Status)
	}
	if a := b.ask("moh", "GET", "/events?EQ_bizStep=holding&maxEventCount=532", ""); a.Status != 413 {
		t.Error(a.Status)
	}
}
