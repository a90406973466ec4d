package httpapi

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"math/big"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/eudcc"
	"ampoule/format/hcert"
	"ampoule/internal/messages"
	"ampoule/internal/paper"
	"ampoule/internal/qr"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
	"ampoule/trust"
)

// today is the day of all tests.
var today = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// signer is a key with its certificate.
type signer struct {
	crypto.Signer
	der []byte
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{"XA"}, CommonName: "test signer"},
		NotBefore: today.AddDate(-1, 0, 0), NotAfter: today.AddDate(2, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, der}
}

// The persons. No two share a word, so that one found in an answer tells whose
// it is.
const (
	validName, forgedName, strangerName, expiredName = "Amara Okonkwo", "Bjarne Lindqvist", "Chiara Montefiore", "Dmitri Vasilenko"
	birthDate, documentNumber                        = "1987-03-14", "QX7654321"
	clinician, lot                                   = "Doctor Placeholder", "LOT-77-B"
)

// secrets are what no answer other than a valid one and no log line may hold.
var secrets = []string{validName, "AMARA", forgedName, "BJARNE", strangerName, "CHIARA", expiredName, "DMITRI", birthDate, documentNumber, clinician, lot}

type bed struct {
	page    *Page
	server  *server
	handler http.Handler
	log     *bytes.Buffer
	known   signer // whose key is trusted
	text    map[string]string
	paper   map[string]*paper.Certificate
}

func newBed(t testing.TB) *bed {
	t.Helper()
	b := &bed{log: new(bytes.Buffer), known: newSigner(t), text: map[string]string{}, paper: map[string]*paper.Certificate{}}
	stranger := newSigner(t)
	key, err := trust.NewKey(b.known.der)
	if err != nil {
		t.Fatal(err)
	}
	key.Participant = "XXA"
	list := new(trust.List)
	list.Insert(key)

	issue := func(id, name string, by signer, kidOf signer, expires time.Time) {
		i := &issuer.Issuer{
			Signer: by.Signer, KID: []byte(trust.DeriveKeyID(kidOf.der)), NotBefore: today.AddDate(-1, 0, 0), NotAfter: today.AddDate(2, 0, 0),
			Participant: "XXA", Catalogue: cert.DemoCatalogue(), Now: func() time.Time { return today.AddDate(0, -1, 0) },
		}
		out, err := i.Issue(issuer.Request{Format: issuer.ICVP, Expires: expires, Record: &cert.Certificate{
			Kind: cert.KindVaccination,
			Person: cert.Person{
				Name: cert.Name{Full: name}, BirthDate: birthDate, Sex: "female", Nationality: "UTO",
				Document: cert.Document{Number: documentNumber, Type: "PPN"},
			},
			Vaccination: &cert.Vaccination{Product: cert.Code{Code: "DEMO-YF-0001"}, Lot: lot, Date: "2026-10-10", Clinician: clinician},
		}})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		b.text[id] = out.Text
		b.paper[id] = &paper.Certificate{Format: out.Format, Text: out.Text, Participant: "XXA", Record: out.Record()}
	}
	issue("good", validName, b.known, b.known, today.AddDate(1, 0, 0))
	issue("forged", forgedName, stranger, b.known, today.AddDate(1, 0, 0))
	issue("stranger", strangerName, stranger, stranger, today.AddDate(1, 0, 0))
	issue("expired", expiredName, b.known, b.known, today.AddDate(0, 0, -3))

	b.page = &Page{
		Verifier: &verifier.Verifier{Trust: list, Catalogue: cert.DemoCatalogue(), Now: func() time.Time { return today }},
		Samples: []Sample{
			{"good", "Good <one>", "It is valid.", b.text["good"], verifier.Valid, b.paper["good"]},
			{"forged", "Forged", "Signed by somebody else.", b.text["forged"], verifier.BadSignature, nil},
			{"stranger", "Stranger", "Nobody knows the issuer.", b.text["stranger"], verifier.UnknownIssuer, nil},
			{"expired", "Expired", "It is over.", b.text["expired"], verifier.Expired, nil},
		},
		TrustSummary:  "One key, of XXA.\nMade for this test.",
		Demonstration: true,
		Log:           slog.New(slog.NewJSONHandler(b.log, nil)),
	}
	b.server = newServer(b.page)
	b.server.patience = 10 * time.Millisecond
	b.handler = b.server.handler()
	return b
}

// do makes a request and checks what holds for every answer.
func (b *bed) do(t testing.TB, r *http.Request) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	b.log.Reset()
	b.handler.ServeHTTP(w, r)
	res := w.Result()
	for name, want := range headers {
		if name != "Cache-Control" && res.Header.Get(name) != want {
			t.Errorf("%s: %q", name, res.Header.Get(name))
		}
	}
	if r.Method == http.MethodPost || res.StatusCode >= 400 {
		if got := res.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control: %q", got)
		}
	}
	b.checkLog(t, res.StatusCode)
	return res
}

// checkLog sees that a request leaves one line of known keys and nobody's data.
func (b *bed) checkLog(t testing.TB, status int) {
	t.Helper()
	var line map[string]any
	if err := json.Unmarshal(b.log.Bytes(), &line); err != nil {
		t.Errorf("log: %v: %s", err, b.log)
		return
	}
	for key := range line {
		if !slices.Contains([]string{"time", "level", "msg", "method", "pattern", "status", "duration", "outcome"}, key) {
			t.Errorf("log has the key %q", key)
		}
	}
	if line["status"] != float64(status) {
		t.Errorf("log: status %v, answer %d", line["status"], status)
	}
	for _, s := range append([]string{"HC1:"}, secrets...) {
		if strings.Contains(b.log.String(), s) {
			t.Errorf("log holds %q", s)
		}
	}
}

func (b *bed) get(t testing.TB, path string) *http.Response {
	t.Helper()
	return b.do(t, httptest.NewRequest("GET", path, nil))
}

func (b *bed) post(t testing.TB, form url.Values, accept string) *http.Response {
	t.Helper()
	r := httptest.NewRequest("POST", "/verify", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	return b.do(t, r)
}

type part struct {
	name, file string
	data       []byte
}

func (b *bed) upload(t testing.TB, accept string, parts ...part) *http.Response {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, p := range parts {
		var w io.Writer
		var err error
		if p.file != "" {
			w, err = form.CreateFormFile(p.name, p.file)
		} else {
			w, err = form.CreateFormField(p.name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/verify", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	return b.do(t, r)
}

func read(t testing.TB, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func wantStatus(t testing.TB, res *http.Response, status int, contentType string) string {
	t.Helper()
	body := read(t, res)
	if res.StatusCode != status || !strings.HasPrefix(res.Header.Get("Content-Type"), contentType) {
		t.Fatalf("%d %s, want %d %s\n%s", res.StatusCode, res.Header.Get("Content-Type"), status, contentType, body)
	}
	return body
}

func wantNoPerson(t testing.TB, body string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(body, s) {
			t.Errorf("the answer holds %q", s)
		}
	}
}

func picture(t testing.TB, texts ...string) image.Image {
	t.Helper()
	var codes []image.Image
	side := 0
	for _, text := range texts {
		symbol, err := qr.Encode(text, qr.Q)
		if err != nil {
			t.Fatal(err)
		}
		data, err := symbol.PNG(qr.Options{})
		if err != nil {
			t.Fatal(err)
		}
		code, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		codes, side = append(codes, code), max(side, code.Bounds().Dx())
	}
	sheet := image.NewGray(image.Rect(0, 0, side, side*len(codes)))
	draw.Draw(sheet, sheet.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	for i, code := range codes {
		draw.Draw(sheet, code.Bounds().Add(image.Pt(0, i*side)), code, code.Bounds().Min, draw.Src)
	}
	return sheet
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHome(t *testing.T) {
	b := newBed(t)
	body := wantStatus(t, b.get(t, "/"), 200, "text/html")
	for _, want := range []string{
		`<html lang="en"`, "Demonstration.", "Good &lt;one&gt;", `src="/samples/good.svg"`, `href="/samples/good.png"`, `href="/samples/good.txt"`,
		`value="forged"`, "Bad signature", "One key, of XXA.", `enctype="multipart/form-data"`, `name="text"`, `name="picture"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	wantNoPerson(t, body)
	if strings.Contains(body, "<script") || strings.Contains(body, "style=") || strings.Contains(body, "http") {
		t.Error("the page has a script, an inline style or an address elsewhere")
	}

	b.page.Demonstration, b.page.Samples, b.page.TrustSummary = false, nil, ""
	body = wantStatus(t, b.get(t, "/"), 200, "text/html")
	if strings.Contains(body, "Demonstration.") || strings.Contains(body, "Sample certificates") || !strings.Contains(body, "No keys of issuers are loaded") {
		t.Error("the page of an empty verifier")
	}
}

func TestPageHeaders(t *testing.T) {
	csp := headers["Content-Security-Policy"]
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("the policy lacks %q", want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") || strings.Contains(csp, "http") || strings.Contains(csp, "*") {
		t.Errorf("the policy allows too much: %s", csp)
	}
}

func TestFiles(t *testing.T) {
	b := newBed(t)
	for path, contentType := range map[string]string{
		"/style.css": "text/css", "/icon.svg": "image/svg+xml", "/healthz": "text/plain",
		"/samples/good.svg": "image/svg+xml", "/samples/good.png": "image/png", "/samples/good.txt": "text/plain",
		"/samples/good.pdf": "application/pdf",
	} {
		wantStatus(t, b.get(t, path), 200, contentType)
		wantStatus(t, b.do(t, httptest.NewRequest("HEAD", path, nil)), 200, contentType)
		res := b.do(t, httptest.NewRequest("DELETE", path, nil))
		wantStatus(t, res, 405, "text/html")
		if res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow: %q", path, res.Header.Get("Allow"))
		}
	}
	if body := read(t, b.get(t, "/healthz")); strings.TrimSpace(body) != "ok" {
		t.Errorf("healthz: %q", body)
	}
	if got := read(t, b.get(t, "/samples/good.txt")); got != b.text["good"] {
		t.Errorf("text of the sample: %q", got)
	}
	texts, err := qr.Read([]byte(read(t, b.get(t, "/samples/forged.png"))))
	if err != nil || !slices.Equal(texts, []string{b.text["forged"]}) {
		t.Errorf("code of the sample: %q, %v", texts, err)
	}
	svg := read(t, b.get(t, "/samples/good.svg"))
	if !strings.Contains(svg, `width="50mm"`) || !strings.Contains(svg, "Good &lt;one&gt;") {
		t.Errorf("drawing of the sample: %.200s", svg)
	}
	for _, path := range []string{"/samples/good", "/samples/good.gif", "/samples/forged.pdf", "/samples/none.svg", "/samples/", "/samples/.svg", "/samples/good.svg.png", "/nowhere", "/favicon.ico"} {
		wantStatus(t, b.get(t, path), 404, "text/html")
	}
	wantStatus(t, b.get(t, "/verify"), 405, "text/html")
}

// TestPaper: a sample is printed in the language that is asked for, beside
// English or French.
func TestPaper(t *testing.T) {
	b := newBed(t)
	for accept, lang := range map[string]string{"": "en", "en": "en", "ar": "en", "fr-CA": "fr", "pt, en;q=0.5": "en"} {
		r := httptest.NewRequest("GET", "/samples/good.pdf", nil)
		r.Header.Set("Accept-Language", accept)
		res := b.do(t, r)
		body := read(t, res)
		if want := fmt.Sprintf("/Lang <FEFF%04X%04X>", lang[0], lang[1]); !strings.HasPrefix(body, "%PDF-1.7") || !strings.Contains(body, want) {
			t.Errorf("%q: %d bytes, not in %s", accept, len(body), lang)
		}
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/pdf" {
			t.Errorf("%q: %d, %s", accept, res.StatusCode, res.Header.Get("Content-Type"))
		}
		if res.Header.Get("Vary") != "Accept-Language" {
			t.Errorf("%q: the answer does not say that it varies", accept)
		}
	}
	if home := read(t, b.get(t, "/")); !strings.Contains(home, `href="/samples/good.pdf"`) || strings.Contains(home, "forged.pdf") {
		t.Error("the links to paper are not those of the samples that have one")
	}
}

func TestSamplesMustBeSound(t *testing.T) {
	for name, samples := range map[string][]Sample{
		"no text":   {{ID: "a"}},
		"too long":  {{ID: "a", Text: strings.Repeat("a", 5000)}},
		"bad ID":    {{ID: "../a", Text: "x"}},
		"dot":       {{ID: "a.b", Text: "x"}},
		"no ID":     {{Text: "x"}},
		"same ID":   {{ID: "a", Text: "x"}, {ID: "a", Text: "y"}},
		"line feed": {{ID: "a\n", Text: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("taken")
				}
			}()
			(&Page{Samples: samples}).Handler()
		})
	}
}

var outcomeWord = regexp.MustCompile(`data-outcome="([a-z-]+)"`)

func outcomes(body string) (words []string) {
	for _, m := range outcomeWord.FindAllStringSubmatch(body, -1) {
		words = append(words, m[1])
	}
	return words
}

func TestVerdicts(t *testing.T) {
	b := newBed(t)
	tests := []struct {
		form    url.Values
		outcome verifier.Outcome
	}{
		{url.Values{"sample": {"good"}}, verifier.Valid},
		{url.Values{"text": {b.text["good"]}}, verifier.Valid},
		{url.Values{"text": {"\r\n\t" + b.text["good"] + "\r\n"}}, verifier.Valid},
		{url.Values{"text": {b.text["good"]}, "sample": {""}, "other": {"x"}}, verifier.Valid},
		{url.Values{"sample": {"forged"}}, verifier.BadSignature},
		{url.Values{"sample": {"stranger"}}, verifier.UnknownIssuer},
		{url.Values{"sample": {"expired"}}, verifier.Expired},
		{url.Values{"text": {"HC1:" + strings.Repeat("A", 99)}}, verifier.Malformed},
		{url.Values{"text": {"hello"}}, verifier.Unsupported},
		{url.Values{"text": {strings.Repeat("0", maxForm-5)}}, verifier.Unsupported},
	}
	for _, tt := range tests {
		body := wantStatus(t, b.post(t, tt.form, ""), 200, "text/html")
		if !strings.Contains(b.log.String(), `"outcome":"`+string(tt.outcome)+`"`) {
			t.Errorf("log: %s", b.log)
		}
		if got := outcomes(body); !slices.Equal(got, []string{string(tt.outcome)}) {
			t.Errorf("%v: outcomes %v", tt.outcome, got)
		}
		said, notKnown := messages.English.Outcome(tt.outcome), messages.English.Advice(verifier.NotKnown)
		order := []string{
			`role="status"`, said.Title, html.EscapeString(said.Verifier), html.EscapeString(said.Holder),
			html.EscapeString(notKnown.Verifier), "Issuer and kind", "The checks",
		}
		for s := verifier.StepRead; s <= verifier.StepBinding; s++ {
			order = append(order, `data-check="`+s.String()+`"`, html.EscapeString(messages.English.Question(s)))
		}
		rest := body
		for _, want := range order {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Fatalf("%s: %q is missing or out of order", tt.outcome, want)
			}
			rest = after
		}
		if shows := strings.Contains(body, "data-content"); shows != (tt.outcome == verifier.Valid) {
			t.Errorf("%s: content shows: %v", tt.outcome, shows)
		}
		if tt.outcome != verifier.Valid {
			wantNoPerson(t, body)
			continue
		}
		for _, want := range []string{"<bdi>" + validName + "</bdi>", ">AMARA&lt;OKONKWO</bdi>", birthDate, documentNumber, lot, "Yellow fever", "XXA", "2027-11-20"} {
			if !strings.Contains(body, want) {
				t.Errorf("content lacks %q", want)
			}
		}
		if title := body[:strings.Index(body, "</head>")]; strings.Contains(title, validName) {
			t.Error("the title, which browsers keep, names the person")
		}
	}
}

func TestReports(t *testing.T) {
	b := newBed(t)
	for id, outcome := range map[string]verifier.Outcome{"good": verifier.Valid, "forged": verifier.BadSignature, "stranger": verifier.UnknownIssuer, "expired": verifier.Expired} {
		body := wantStatus(t, b.post(t, url.Values{"text": {b.text[id]}}, "application/json"), 200, "application/json")
		var got verifier.Report
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Outcome != outcome || len(got.Checks) != 12 || got.Format != "icvp" {
			t.Errorf("%s: %+v", id, got)
		}
		if outcome == verifier.Valid {
			if got.Certificate == nil || got.Certificate.Person.Name.Full != validName {
				t.Errorf("%s: %+v", id, got.Certificate)
			}
			continue
		}
		wantNoPerson(t, body)
	}
}

func TestPictures(t *testing.T) {
	b := newBed(t)
	img := picture(t, b.text["good"])
	var asJPEG, asGIF bytes.Buffer
	if err := jpeg.Encode(&asJPEG, img, nil); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&asGIF, img, nil); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"a.png": pngOf(t, img), "a.jpg": asJPEG.Bytes(), "a.gif": asGIF.Bytes()} {
		body := wantStatus(t, b.upload(t, "", part{"picture", name, data}), 200, "text/html")
		if got := outcomes(body); !slices.Equal(got, []string{"valid"}) {
			t.Errorf("%s: %v", name, got)
		}
	}

	two := pngOf(t, picture(t, b.text["good"], b.text["forged"]))
	body := wantStatus(t, b.upload(t, "", part{"picture", "two.png", two}), 200, "text/html")
	if got := outcomes(body); !slices.Equal(got, []string{"valid", "bad-signature"}) {
		t.Errorf("two codes: %v", got)
	}
	if !strings.Contains(body, "2 codes in the picture") || !strings.Contains(body, "Code 2:") || strings.Contains(body, forgedName) || !strings.Contains(body, validName) {
		t.Error("page of two verdicts")
	}
	if !strings.Contains(b.log.String(), `"outcome":"valid,bad-signature"`) {
		t.Errorf("log: %s", b.log)
	}
	body = wantStatus(t, b.upload(t, "application/json", part{"picture", "two.png", two}), 200, "application/json")
	var reports []verifier.Report
	if err := json.Unmarshal([]byte(body), &reports); err != nil || len(reports) != 2 || reports[1].Outcome != verifier.BadSignature || reports[1].Certificate != nil {
		t.Errorf("two reports: %v, %s", err, body)
	}

	// The other fields may come in this form too; a browser sends the empty file.
	for _, p := range []part{{"text", "", []byte(b.text["good"])}, {"sample", "", []byte("good")}} {
		body = wantStatus(t, b.upload(t, "", p, part{"picture", "none", nil}), 200, "text/html")
		if got := outcomes(body); !slices.Equal(got, []string{"valid"}) {
			t.Errorf("%s: %v", p.name, got)
		}
	}
}

func TestProblems(t *testing.T) {
	b := newBed(t)
	blank := image.NewGray(image.Rect(0, 0, 50, 50))
	good := pngOf(t, picture(t, b.text["good"]))
	damaged := good[:len(good)/2]
	huge := pngOf(t, image.NewPaletted(image.Rect(0, 0, 4097, 4096), color.Palette{color.Black, color.White}))
	raw := func(contentType, body string) func(string) *http.Response {
		return func(accept string) *http.Response {
			r := httptest.NewRequest("POST", "/verify", strings.NewReader(body))
			r.Header.Set("Content-Type", contentType)
			r.Header.Set("Accept", accept)
			return b.do(t, r)
		}
	}
	form := func(v url.Values) func(string) *http.Response {
		return func(accept string) *http.Response { return b.post(t, v, accept) }
	}
	send := func(parts ...part) func(string) *http.Response {
		return func(accept string) *http.Response { return b.upload(t, accept, parts...) }
	}
	file := func(data []byte) part { return part{"picture", "a.png", data} }

	tests := []struct {
		name string
		do   func(accept string) *http.Response
		want *problem
	}{
		{"empty form", form(nil), problemNothing},
		{"empty text", form(url.Values{"text": {" \r\n "}}), problemNothing},
		{"no file chosen", send(file(nil)), problemNothing},
		{"no part", send(), problemNothing},
		{"unknown sample", form(url.Values{"sample": {validName}}), problemNoSample},
		{"two texts", form(url.Values{"text": {"a", "b"}}), problemSeveral},
		{"text and sample", form(url.Values{"text": {"a"}, "sample": {"good"}}), problemSeveral},
		{"text and picture", send(part{"text", "", []byte("a")}, file(good)), problemSeveral},
		{"two pictures", send(file(good), file(good)), problemSeveral},
		{"bad escape", raw("application/x-www-form-urlencoded", "text=%zz"), problemForm},
		{"broken multipart", raw("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"picture\"\r\n\r\nabc"), problemForm},
		{"no boundary", raw("multipart/form-data", "x"), problemMediaType},
		{"JSON in", raw("application/json", "{}"), problemMediaType},
		{"no type", raw("", "x"), problemMediaType},
		{"long text", form(url.Values{"text": {strings.Repeat("a", maxForm)}}), problemTextTooLarge},
		{"long text in parts", send(part{"text", "", bytes.Repeat([]byte("a"), maxForm+1)}), problemTextTooLarge},
		{"many parts", send(slices.Repeat([]part{{"x", "", nil}}, 50)...), problemForm},
		{"long unknown part", send(part{"x", "", bytes.Repeat([]byte("a"), maxForm+1)}), problemTextTooLarge},
		{"large picture", send(file(append(bytes.Clone(good), make([]byte, maxPicture)...))), problemPictureTooLarge},
		{"larger than a form", send(file(make([]byte, maxUpload+1))), problemPictureTooLarge},
		{"wide picture", send(file(huge)), problemPictureTooLarge},
		{"not a picture", send(file([]byte("%PDF-1.7"))), problemNotPicture},
		{"blank picture", send(file(pngOf(t, blank))), problemNoCode},
		{"damaged picture", send(file(damaged)), problemDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := wantStatus(t, tt.do("text/html"), tt.want.Status, "text/html")
			if !strings.Contains(body, `data-reason="`+tt.want.Reason+`"`) || !strings.Contains(body, html.EscapeString(tt.want.in(messages.English).Title)) {
				t.Errorf("want %s\n%s", tt.want.Reason, body)
			}
			wantNoPerson(t, body)
			if strings.HasPrefix(tt.name, "large") {
				return // once is enough for what takes long to send
			}
			var got problem
			body = wantStatus(t, tt.do("application/json"), tt.want.Status, "application/problem+json")
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Reason != tt.want.Reason || got.Status != tt.want.Status {
				t.Errorf("%v: %s", err, body)
			}
		})
	}
}

// TestBusy fills the gates: a picture waits and is then refused, a text is not.
func TestBusy(t *testing.T) {
	b := newBed(t)
	good := part{"picture", "a.png", pngOf(t, picture(t, b.text["good"]))}
	for _, g := range []gate{b.server.decodes, b.server.uploads} {
		for range cap(g) {
			g <- struct{}{}
		}
		res := b.upload(t, "", good)
		if body := wantStatus(t, res, 503, "text/html"); !strings.Contains(body, `data-reason="busy"`) || res.Header.Get("Retry-After") == "" {
			t.Errorf("busy: %s", body)
		}
		wantStatus(t, b.post(t, url.Values{"sample": {"good"}}, ""), 200, "text/html")
		for range cap(g) {
			<-g
		}
		wantStatus(t, b.upload(t, "", good), 200, "text/html")
	}
	if len(b.server.decodes) != 0 || len(b.server.uploads) != 0 {
		t.Error("a gate was not left")
	}
	if cap(b.server.decodes) != 2 {
		t.Error("more than two pictures are decoded at once")
	}

	// Room that comes in time is taken.
	b.server.patience = 10 * time.Second
	b.server.decodes <- struct{}{}
	b.server.decodes <- struct{}{}
	time.AfterFunc(20*time.Millisecond, b.server.decodes.leave)
	wantStatus(t, b.upload(t, "", good), 200, "text/html")
}

func TestCrossSite(t *testing.T) {
	b := newBed(t)
	for site, status := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200, "": 200} {
		r := httptest.NewRequest("POST", "/verify", strings.NewReader("sample=good"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		wantStatus(t, b.do(t, r), status, "text/html")
	}
	r := httptest.NewRequest("POST", "/verify", strings.NewReader("sample=good"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://elsewhere.example")
	wantStatus(t, b.do(t, r), 403, "text/html")
}

// forge signs any content with the trusted key, as an issuer gone astray could.
func (b *bed) forge(t testing.TB, name string) string {
	t.Helper()
	content := eudcc.Append(nil, &eudcc.Certificate{
		Version: "1.3.0", DateOfBirth: birthDate,
		Name: eudcc.Name{Surname: name, StandardSurname: "A<B", Forename: name, StandardForename: "C"},
		Vaccination: &eudcc.Vaccination{
			Target: "840539006", Prophylaxis: "1119349007", Product: "EU/1/20/1528", Manufacturer: "ORG-100030215", Dose: 1, Doses: 2,
			Date: "2026-10-01", Country: "XA", Issuer: name, ID: "URN:UVCI:01:XA:TEST#A",
		},
	})
	claims := hcert.AppendClaims(nil, hcert.Claims{Issuer: "XA", IssuedAt: today.AddDate(0, -1, 0), ExpiresAt: today.AddDate(1, 0, 0)}, hcert.SubclaimDCC, content)
	text, err := hcert.Encode(rand.Reader, b.known, []byte(trust.DeriveKeyID(b.known.der)), claims)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestHostileText(t *testing.T) {
	b := newBed(t)
	body := wantStatus(t, b.post(t, url.Values{"text": {b.forge(t, "<script>alert(1)</script>\u202eevil\u2066\x07\u200b\" onload=x '")}}, ""), 200, "text/html")
	if !slices.Equal(outcomes(body), []string{"valid"}) {
		t.Fatalf("outcomes %v: the test needs a valid one", outcomes(body))
	}
	if strings.Contains(body, "<script") || strings.ContainsAny(body, "\u202e\u2066\x07\u200b") {
		t.Error("hostile characters are in the page")
	}
	for _, want := range []string{"&lt;script&gt;", `\u202eevil\u2066\a\u200b&#34; onload=x &#39;</bdi>`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Count(body, "<bdi") != strings.Count(body, "</bdi>") {
		t.Error("isolation is not closed")
	}
	if !strings.Contains(body, "suspicious-text") {
		t.Error("the page does not say that the name has hidden characters")
	}
}

// TestNothingOnDisk sends a picture larger than what the standard library keeps
// in memory.
func TestNothingOnDisk(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if got := os.TempDir(); got != dir {
		t.Skipf("temporary files go to %s", got)
	}
	b := newBed(t)
	wantStatus(t, b.upload(t, "", part{"picture", "a.png", append(pngOf(t, picture(t, b.text["good"])), make([]byte, maxPicture-1<<20)...)}), 200, "text/html")
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != dir {
			t.Errorf("%s was left", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestTooLargeOverWire sends a little too much over a connection: the sender
// must be able to read why it was refused.
func TestTooLargeOverWire(t *testing.T) {
	b := newBed(t)
	srv := httptest.NewServer(b.handler)
	defer srv.Close()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	w, err := form.CreateFormFile("picture", "a.png")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, maxUpload+8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Post(srv.URL+"/verify", form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	wantStatus(t, res, 413, "text/html")
}

// TestPanic: whatever a parser panics with stays out of the answer and the log.
func TestPanic(t *testing.T) {
	b := newBed(t)
	b.page.Verifier = &verifier.Verifier{Trust: b.page.Verifier.Trust, Now: func() time.Time { panic(validName) }}
	r := httptest.NewRequest("POST", "/verify", strings.NewReader("sample=good"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	if body := wantStatus(t, w.Result(), 500, "text/html"); strings.Contains(body, validName) {
		t.Error("the answer holds the value")
	}
	if log := b.log.String(); strings.Contains(log, validName) || !strings.Contains(log, "handler panicked") || !strings.Contains(log, `"status":500`) {
		t.Errorf("log: %s", log)
	}
}

func TestWantsJSON(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "text/html": false, "application/json": true, "application/problem+json": true, "Application/JSON; charset=utf-8": true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false,
		"application/json;q=0.5, text/html":                               false, "text/html;q=0.5, application/json": true,
		"application/json;q=0": false, "application/json;q=x": false, ";;;": false,
	} {
		if got := wantsJSON(http.Header{"Accept": {accept}}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

// TestContents lays out a record of every kind.
func TestContents(t *testing.T) {
	date := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	code := cert.Code{Code: "C1", Display: "Meaning"}
	for _, tt := range []struct {
		record cert.Certificate
		want   string
	}{
		{cert.Certificate{Vaccination: &cert.Vaccination{Disease: code, Dose: 2, Doses: 3, ValidUntil: "2030-01-01"}, Issued: date},
			"Vaccination[Against=Meaning (C1) Dose=2 of 3 Counts until=2030-01-01] Certificate[Issued=2026-05-04 Valid until=no end is stated]"},
		{cert.Certificate{Test: &cert.Test{Disease: cert.Code{Code: "C2"}, Result: cert.Code{Display: "Not detected"}, Sampled: "2026-05-04T03:02:01Z"}, Expires: date.Add(time.Hour)},
			"Test[For=C2 Result=Not detected Sample taken=2026-05-04T03:02:01Z] Certificate[Valid until=2026-05-04 01:00 UTC]"},
		{cert.Certificate{Recovery: &cert.Recovery{Disease: code, FirstPositive: "2026-01-01"}, Authority: "Ministry", Expires: date},
			"Recovery[From=Meaning (C1) First positive test=2026-01-01] Certificate[Issued by=Ministry Valid until=2026-05-04]"},
		{cert.Certificate{Link: &cert.Link{URL: "https://example.org/x", Passcode: true, Expires: date}},
			"Link to health documents[Address=https://example.org/x Passcode=the holder must tell it Ends=2026-05-04] Certificate[Valid until=no end is stated]"},
		{cert.Certificate{Person: cert.Person{Name: cert.Name{Family: "B", FamilyMRZ: "B"}, Document: cert.Document{Number: "1", Type: "ZZ"}, Guardian: "G"}},
			"Person[Family name=B Family name as in a passport's machine-readable zone=B Identity document=1 Kind of document=ZZ Parent or guardian=G] Certificate[Valid until=no end is stated]"},
	} {
		var groups []string
		for _, g := range contentOf(messages.English, &tt.record) {
			var facts []string
			for _, f := range g.Facts {
				facts = append(facts, f.Label+"="+f.Value)
			}
			groups = append(groups, g.Title+"["+strings.Join(facts, " ")+"]")
		}
		if got := strings.Join(groups, " "); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	if contentOf(messages.English, nil) != nil {
		t.Error("content of nothing")
	}
}

// TestTones: only valid looks good, and unknown looks like neither.
func TestTones(t *testing.T) {
	seen := map[string]int{}
	for _, o := range []verifier.Outcome{verifier.Malformed, verifier.Unsupported, verifier.BadSignature, verifier.UnknownIssuer, verifier.UntrustedKey,
		verifier.Revoked, verifier.Superseded, verifier.Expired, verifier.NotYetValid, verifier.SchemaInvalid, verifier.ProofInvalid,
		verifier.NotHolder, verifier.RuleFailed, verifier.Unknown, verifier.Valid, ""} {
		seen[tone(o)]++
	}
	if seen["good"] != 1 || seen["open"] != 1 || seen["bad"] != 14 || tone(verifier.Valid) != "good" || tone(verifier.Unknown) != "open" {
		t.Errorf("tones: %v", seen)
	}
}

func FuzzText(f *testing.F) {
	b := newBed(f)
	for _, text := range b.text {
		f.Add(text)
	}
	for _, text := range []string{"HC1:", "HC1:6BF", "shc:/1", "<script>", "\x00", "\u202e", "{}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := httptest.NewRequest("POST", "/verify", strings.NewReader(url.Values{"text": {text}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		switch w.Code {
		case 200:
			body := w.Body.String()
			words := outcomes(body)
			if len(words) != 1 {
				t.Fatalf("outcomes %v", words)
			}
			if words[0] != "valid" {
				wantNoPerson(t, body)
			}
			if strings.Contains(body, "<script") || strings.ContainsAny(body, "\u202e\u2066") {
				t.Error("hostile text is in the page")
			}
		case 400, 413:
		default:
			t.Errorf("status %d", w.Code)
		}
	})
}

func FuzzMultipart(f *testing.F) {
	b := newBed(f)
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nHC1:\r\n--x--\r\n"))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"a\"\r\n\r\nGIF89a\r\n--x--\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/verify", bytes.NewReader(body))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("status %d", w.Code)
		}
	})
}

// TestEarlierEvents: a certificate of several doses shows them all.
func TestEarlierEvents(t *testing.T) {
	c := &cert.Certificate{
		Vaccination: &cert.Vaccination{Date: "2026-03-02", Lot: "LOT-2"},
		Earlier:     []cert.Event{{Vaccination: &cert.Vaccination{Date: "2026-02-01", Lot: "LOT-1"}}, {Test: &cert.Test{Sampled: "2026-01-01"}}},
	}
	var titles []string
	for _, g := range contentOf(messages.English, c) {
		titles = append(titles, g.Title)
	}
	if want := []string{"Vaccination", "Earlier vaccination", "Earlier test", "Certificate"}; !slices.Equal(titles, want) {
		t.Errorf("%q, want %q", titles, want)
	}
}
