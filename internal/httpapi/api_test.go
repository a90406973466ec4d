package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ampoule/party/verifier"
)

// newFrontBed is a server of the API with all that stands before it.
func newFrontBed(t *testing.T, change func(*Front)) (*bed, http.Handler) {
	t.Helper()
	b := newBed(t)
	b.page.API = &API{Version: "test", Trust: TrustInfo{Keys: 1, Bundle: &BundleInfo{Serial: 7, Maker: "XXA", Issued: today, Next: today.AddDate(0, 1, 0), Digest: "00"}}}
	f := NewFront()
	if change != nil {
		change(f)
	}
	f.Show(b.page, func() error { return nil })
	return b, f.Handler()
}

func ask(h http.Handler, method, target, body string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func readAll(t testing.TB, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func requestOf(texts ...string) string {
	body, err := json.Marshal(map[string]any{"texts": texts})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// TestAPIKeepsItsDescription asks for every operation of the published
// description, well and badly, and holds each answer against its schema there.
func TestAPIKeepsItsDescription(t *testing.T) {
	b, h := newFrontBed(t, nil)
	var description map[string]any
	published := readAll(t, ask(h, "GET", "/openapi.json", ""))
	if err := json.Unmarshal([]byte(published), &description); err != nil {
		t.Fatal(err)
	}
	if v := description["openapi"]; v != "3.1.0" {
		t.Errorf("OpenAPI %v", v)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(published))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("openapi.json", document); err != nil {
		t.Fatal(err)
	}
	requests := map[string][]string{ // by operation: bodies that are answered with 200
		"POST /v1/verify": {
			requestOf(b.text["good"]), requestOf(b.text["good"], b.text["forged"], "nonsense"),
			fmt.Sprintf(`{"texts":[%q],"at":"2030-01-01T00:00:00Z","arrival":"de","show":true}`, b.text["expired"]),
		},
		"GET /v1/trust": {""},
	}
	bad := map[string][]string{
		"POST /v1/verify": {`{}`, `{"texts":[]}`, `{"texts":"one"}`, `{"texts":["` + validName + `"],"other":1}`, `{`, `[]`, `{"texts":["x"],"at":"yesterday"}`, `{"texts":["x"],"arrival":"Germany"}`},
	}
	operations := 0
	for path, item := range description["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			operations++
			name := strings.ToUpper(method) + " " + path
			schema, err := compiler.Compile("openapi.json#/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path) + "/" + method + "/responses/200/content/application~1json/schema")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(requests[name]) == 0 {
				t.Errorf("%s is described, and not asked for here", name)
			}
			for _, body := range requests[name] {
				res := ask(h, strings.ToUpper(method), path, body)
				text := readAll(t, res)
				v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
				if err == nil {
					err = schema.Validate(v)
				}
				if res.StatusCode != http.StatusOK || err != nil {
					t.Errorf("%s %s: %d %v: %s", name, body, res.StatusCode, err, text)
				}
			}
			for _, body := range bad[name] {
				res := ask(h, strings.ToUpper(method), path, body)
				text := readAll(t, res)
				var p problem
				if err := json.Unmarshal([]byte(text), &p); err != nil || p.Status != res.StatusCode || p.Reason == "" || p.Title == "" ||
					res.StatusCode < 400 || res.StatusCode >= 500 || res.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s %s: %d %s: %s", name, body, res.StatusCode, res.Header.Get("Content-Type"), text)
				}
				if strings.Contains(text, validName) {
					t.Errorf("%s: the answer repeats what was sent", name)
				}
			}
		}
	}
	if operations < 2 {
		t.Errorf("%d operations", operations)
	}
}

// TestAPIVerdicts: the same verdicts as everywhere, in the order of the texts.
func TestAPIVerdicts(t *testing.T) {
	b, h := newFrontBed(t, nil)
	var answer struct{ Verdicts []json.RawMessage }
	if err := json.Unmarshal([]byte(readAll(t, ask(h, "POST", "/v1/verify", requestOf(b.text["good"], b.text["expired"])))), &answer); err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"good", "expired"} {
		if want := b.page.Verifier.Verify(b.text[id]).Report(false).JSON(); !bytes.Equal(answer.Verdicts[i], want) {
			t.Errorf("%s\nwant %s", answer.Verdicts[i], want)
		}
	}
	log := b.log.String()
	if !strings.Contains(log, `"outcome":"valid,expired"`) || !strings.Contains(log, `"pattern":"/v1/verify"`) || strings.Contains(log, validName) {
		t.Errorf("logged: %s", log)
	}
	if metrics := readAll(t, ask(h, "GET", "/metrics", "")); !strings.Contains(metrics, `ampoule_verdicts_total{outcome="expired"} 1`) ||
		!strings.Contains(metrics, `ampoule_http_requests_total{method="POST",route="/v1/verify",status="200"} 1`) || !strings.Contains(metrics, `what="next"`) {
		t.Errorf("counted:\n%s", metrics)
	}
	if docs := readAll(t, ask(h, "GET", "/docs", "")); !strings.Contains(docs, "POST /v1/verify") || !strings.Contains(docs, "too-many-requests") {
		t.Error("the documentation does not say what there is")
	}
}

func TestAPIRefuses(t *testing.T) {
	_, h := newFrontBed(t, nil)
	for _, tt := range []struct {
		name, method, target, body, contentType string
		status                                  int
		reason                                  string
	}{
		{"too large", "POST", "/v1/verify", requestOf(strings.Repeat("x", maxBody)), "application/json", 413, "body-too-large"},
		{"too many", "POST", "/v1/verify", requestOf(make([]string, maxTexts+1)...), "application/json", 422, "invalid-request"},
		{"a form", "POST", "/v1/verify", "texts=HC1:", "application/x-www-form-urlencoded", 415, "not-json"},
		{"no such address", "GET", "/v1/nothing", "", "", 404, "not-found"},
		{"another method", "GET", "/v1/verify", "", "", 405, "method-not-allowed"},
		{"a method of nobody", "BREW", "/v1/trust", "", "", 405, "method-not-allowed"},
	} {
		res := ask(h, tt.method, tt.target, tt.body, "Content-Type", tt.contentType)
		var p problem
		if err := json.Unmarshal([]byte(readAll(t, res)), &p); err != nil || res.StatusCode != tt.status || p.Reason != tt.reason {
			t.Errorf("%s: %d %s, want %d %s", tt.name, res.StatusCode, p.Reason, tt.status, tt.reason)
		}
	}
}

func TestCORS(t *testing.T) {
	for _, tt := range []struct {
		name    string
		origins []string
		origin  string
		want    string
	}{
		{"allowed", []string{"https://desk.example"}, "https://desk.example", "https://desk.example"},
		{"not allowed", []string{"https://desk.example"}, "https://evil.example", ""},
		{"a part of it", []string{"https://desk.example"}, "https://desk.example.evil.example", ""},
		{"everybody", []string{"*"}, "https://any.example", "*"},
		{"nobody", nil, "https://any.example", ""},
	} {
		b, h := newFrontBed(t, func(f *Front) { f.Origins = tt.origins })
		before := ask(h, "OPTIONS", "/v1/verify", "", "Origin", tt.origin, "Access-Control-Request-Method", "POST")
		if got := before.Header.Get("Access-Control-Allow-Origin"); before.StatusCode != http.StatusNoContent || got != tt.want || (tt.want == "") != (before.Header.Get("Access-Control-Allow-Methods") == "") {
			t.Errorf("%s, asked before: %d %q", tt.name, before.StatusCode, got)
		}
		res := ask(h, "POST", "/v1/verify", requestOf(b.text["good"]), "Origin", tt.origin, "Sec-Fetch-Site", "cross-site")
		if got := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != http.StatusOK || got != tt.want || res.Header.Get("Vary") == "" {
			t.Errorf("%s: %d %q", tt.name, res.StatusCode, got)
		}
		// The forms of the pages stay closed to others.
		form := ask(h, "POST", "/verify", "text=x", "Origin", tt.origin, "Sec-Fetch-Site", "cross-site", "Content-Type", "application/x-www-form-urlencoded")
		if form.StatusCode != http.StatusForbidden {
			t.Errorf("%s: a form of another site got %d", tt.name, form.StatusCode)
		}
	}
}

func TestLimits(t *testing.T) {
	_, h := newFrontBed(t, func(f *Front) {
		f.Rate, f.Burst = 1, 3
		f.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	from := func(peer, forwarded string) int {
		r := httptest.NewRequest("GET", "/v1/trust", nil)
		r.RemoteAddr = peer
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests && (w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "too-many-requests")) {
			t.Errorf("limited without a word: %s", w.Body)
		}
		return w.Code
	}
	for _, tt := range []struct{ name, peer, forwarded string }{
		{"an address", "192.0.2.1:1", ""},
		{"an address that claims another", "192.0.2.2:1", "198.51.100.1"},
		{"behind a proxy", "10.0.0.1:1", "198.51.100.2"},
		{"behind two", "10.0.0.1:1", "198.51.100.3, 10.1.1.1"},
		{"a claim before the proxy's", "10.0.0.1:1", "203.0.113.9, 198.51.100.4"},
		{"a network of IPv6", "[2001:db8::1]:1", ""},
	} {
		for i := range 3 {
			if got := from(tt.peer, tt.forwarded); got != http.StatusOK {
				t.Errorf("%s: request %d got %d", tt.name, i, got)
			}
		}
		if got := from(tt.peer, tt.forwarded); got != http.StatusTooManyRequests {
			t.Errorf("%s: the fourth got %d", tt.name, got)
		}
	}
	if got := from("192.0.2.2:2", "198.51.100.7"); got != http.StatusTooManyRequests {
		t.Errorf("another claim of the same address got %d", got)
	}
	if got := from("[2001:db8::2]:1", ""); got != http.StatusTooManyRequests {
		t.Errorf("a neighbour in the same network of IPv6 got %d", got)
	}
	if got := from("10.0.0.1:1", "198.51.100.5"); got != http.StatusOK {
		t.Errorf("another behind the proxy got %d", got)
	}
}

// TestLimitsForget: no more addresses are remembered than there is room for, and
// those that were quiet are forgotten first.
func TestLimitsForget(t *testing.T) {
	var l Limits[netip.Prefix]
	at := today
	for i := range maxLimits {
		l.Allow(Network(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), 1, 2, at)
	}
	late := netip.MustParseAddr("192.0.2.1")
	if l.Allow(Network(late), 1, 2, at.Add(time.Second)) {
		t.Error("one more was let in")
	}
	if !l.Allow(Network(late), 1, 2, at.Add(3*time.Second)) || len(l.by) != 1 {
		t.Errorf("%d are remembered after all were quiet", len(l.by))
	}
}

func TestReadyAndRequestID(t *testing.T) {
	b := newBed(t)
	f := NewFront()
	why := errors.New("the bundle was due")
	f.Show(b.page, func() error { return why })
	h := f.Handler()
	if res := ask(h, "GET", "/readyz", ""); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(readAll(t, res), why.Error()) {
		t.Errorf("not ready: %d", res.StatusCode)
	}
	if res := ask(h, "GET", "/healthz", ""); res.StatusCode != http.StatusOK {
		t.Errorf("alive: %d", res.StatusCode)
	}
	f.Show(b.page, func() error { return nil })
	if res := ask(h, "GET", "/readyz", ""); res.StatusCode != http.StatusOK {
		t.Errorf("ready: %d", res.StatusCode)
	}
	for given, kept := range map[string]bool{"0123abcd-ef": true, "short": false, "../../etc/passwd": false, strings.Repeat("a", 65): false, "name=" + "00000000": false} {
		if got := ask(h, "GET", "/healthz", "", "X-Request-Id", given).Header.Get("X-Request-Id"); (got == given) != kept || len(got) < 8 {
			t.Errorf("%q became %q", given, got)
		}
	}
	// Without the API there is none.
	if res := ask(h, "POST", "/v1/verify", requestOf("x")); res.StatusCode != http.StatusNotFound {
		t.Errorf("no API: %d", res.StatusCode)
	}
}

// TestWith: a date and a country of one request do not change the verifier of
// others.
func TestWith(t *testing.T) {
	b, h := newFrontBed(t, nil)
	later := fmt.Sprintf(`{"texts":[%q],"at":%q}`, b.text["good"], today.AddDate(2, 0, 0).Format(time.RFC3339))
	if got := readAll(t, ask(h, "POST", "/v1/verify", later)); !strings.Contains(got, `"outcome":"expired"`) {
		t.Errorf("in two years: %.200s", got)
	}
	if v := b.page.Verifier.Verify(b.text["good"]); v.Outcome != verifier.Valid {
		t.Errorf("today: %s", v.Outcome)
	}
}
