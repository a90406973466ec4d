package httpapi

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

// upload is the address to which the tests upload.
var upload = "/v1/jobs?format=eu-dcc&format=shc&expires=" + storetest.Day.AddDate(0, 6, 0).Format(time.RFC3339)

const bad = "2026-02-31"

// uploaded makes a job of the clerk's: of one good row and one bad.
func (b *issuingBed) uploaded(t *testing.T, n int, state issuer.JobState) (id string, version int64) {
	t.Helper()
	b.who = clerk
	_, made := b.do(t, "POST", upload, storetest.CSV(storetest.CSVRow(n), strings.Replace(storetest.CSVRow(n), "2026-10-01", bad, 1)), 201, "Content-Type", "text/csv")
	id = made["id"].(string)
	parsed, err := issuer.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	version = 2
	// Nobody works in the office: the states are set as it would.
	for _, s := range []issuer.JobState{issuer.JobUploaded, issuer.JobChecked, issuer.JobRunning, issuer.JobPaused, issuer.JobFinished} {
		if s == state {
			break
		}
		next := map[issuer.JobState]issuer.JobState{issuer.JobUploaded: issuer.JobChecked, issuer.JobChecked: issuer.JobRunning, issuer.JobRunning: issuer.JobPaused, issuer.JobPaused: issuer.JobFinished}[s]
		if err := b.issuing.Bulk.Jobs.MoveJob(t.Context(), issuer.JobMove{Guard: issuer.Guard{ID: parsed, Version: version}, From: s, To: next, Line: issuer.Line{At: storetest.Day, By: "test"}}); err != nil {
			t.Fatal(err)
		}
		version++
	}
	return id, version
}

// serve has somebody work in the office.
func (b *issuingBed) serve(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.issuing.Bulk.Serve(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
}

func (b *issuingBed) until(t *testing.T, id string, state issuer.JobState) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		_, j := b.do(t, "GET", "/v1/jobs/"+id, "", 200)
		if j["state"] == string(state) {
			return j
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v", j)
		}
	}
}

// TestJobOverHTTP takes a file through everything that can be done to it.
func TestJobOverHTTP(t *testing.T) {
	b := newIssuingBed(t)
	b.serve(t)
	b.who = clerk
	rows := make([]string, 30)
	for n := range rows {
		rows[n] = storetest.CSVRow(n)
	}
	rows[7] = strings.Replace(rows[7], "2026-10-01", bad, 1)
	series := upload + "&series=2026-11"
	res, j := b.do(t, "POST", series, storetest.CSV(rows...), 201, "Content-Type", "text/csv; charset=utf-8")
	id := j["id"].(string)
	if res.Header.Get("Location") != "/v1/jobs/"+id || res.Header.Get("ETag") != `"2"` || j["facility"] != "north" || j["series"] != "2026-11" || len(j["sha256"].(string)) != 64 {
		t.Errorf("%v %v", res.Header, j)
	}
	j = b.until(t, id, issuer.JobChecked)
	if counts := j["rows"].(map[string]any); counts["ready"] != 29.0 || counts["failed"] != 1.0 {
		t.Errorf("%v", j)
	}
	_, page := b.do(t, "GET", "/v1/jobs/"+id+"/rows?limit=10", "", 200)
	if items := page["items"].([]any); len(items) != 10 || page["next"] != 10.0 || items[7].(map[string]any)["reason"] != "bad-date" {
		t.Errorf("%v", page)
	}
	_, page = b.do(t, "GET", "/v1/jobs/"+id+"/rows?state=failed", "", 200)
	if items := page["items"].([]any); len(items) != 1 || items[0].(map[string]any)["line"] != 9.0 || items[0].(map[string]any)["column"] != "date" {
		t.Errorf("%v", page)
	}
	b.do(t, "POST", "/v1/jobs/"+id+"/start", "", 428)
	b.do(t, "POST", "/v1/jobs/"+id+"/start", "", 412, "If-Match", `"1"`)
	b.do(t, "POST", "/v1/jobs/"+id+"/pause", "", 409, "If-Match", `"3"`)
	b.do(t, "DELETE", "/v1/jobs/"+id, "", 409, "If-Match", `"3"`)
	b.do(t, "POST", "/v1/jobs/"+id+"/start", "", 200, "If-Match", `"3"`)
	j = b.until(t, id, issuer.JobFinished)
	if counts := j["rows"].(map[string]any); counts["done"] != 29.0 {
		t.Errorf("%v", j)
	}

	failed := readAll(t, ask(b.handler, "GET", "/v1/jobs/"+id+"/errors.csv", ""))
	if strings.Count(failed, "\r\n") != 2 || !strings.Contains(failed, bad) {
		t.Errorf("%q", failed)
	}
	_, again := b.do(t, "POST", series, strings.ReplaceAll(failed, bad, "2026-10-01"), 201, "Content-Type", "text/csv")
	second := again["id"].(string)
	b.until(t, second, issuer.JobChecked)
	b.do(t, "POST", "/v1/jobs/"+second+"/start", "", 200, "If-Match", `"3"`)
	if j = b.until(t, second, issuer.JobFinished); j["rows"].(map[string]any)["done"] != 1.0 {
		t.Errorf("%v", j)
	}

	for as, want := range map[string]int{"sheets": 1, "each": 29} {
		res := ask(b.handler, "GET", "/v1/jobs/"+id+"/certificates.zip?as="+as+"&per_sheet=2&format=eu-dcc", "")
		body := readAll(t, res)
		z, err := zip.NewReader(strings.NewReader(body), int64(len(body)))
		if err != nil || len(z.File) != want || res.Header.Get("Content-Type") != "application/zip" {
			t.Fatalf("%s: %d files, %v", as, len(z.File), err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			var data bytes.Buffer
			if _, err := data.ReadFrom(r); err != nil || !bytes.HasPrefix(data.Bytes(), []byte("%PDF-")) {
				t.Errorf("%s: %v", f.Name, err)
			}
			for _, word := range storetest.Families {
				if strings.Contains(f.Name, word) {
					t.Errorf("%s names a person", f.Name)
				}
			}
		}
	}

	var seen []string
	for target := "/v1/jobs?limit=1"; target != ""; {
		res, page := b.do(t, "GET", target, "", 200)
		for _, item := range page["items"].([]any) {
			seen = append(seen, item.(map[string]any)["id"].(string))
		}
		target, _, _ = strings.Cut(strings.TrimPrefix(res.Header.Get("Link"), "<"), ">")
	}
	if slices.Sort(seen); !slices.Contains(seen, id) || !slices.Contains(seen, second) || len(seen) != 2 {
		t.Errorf("%v", seen)
	}
	b.do(t, "DELETE", "/v1/jobs/"+id, "", 204, "If-Match", fmt.Sprintf(`"%.0f"`, 5.0))
	b.do(t, "GET", "/v1/jobs/"+id, "", 404)
	if file := readAll(t, ask(b.handler, "GET", "/v1/jobs/template.csv?format=eu-dcc", "")); !strings.Contains(file, "SPECIMEN") {
		t.Errorf("%q", file)
	}
	for _, word := range []string{storetest.Families[1], storetest.Documents, bad} {
		if strings.Contains(b.log.String(), word) {
			t.Errorf("logged: %s", b.log.String())
		}
	}
}

// TestUploadsRefused: what is wrong with a file is told to its uploader, and stays
// out of the log.
func TestUploadsRefused(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	for name, tt := range map[string]struct {
		target, media, file string
		status              int
		reason, says        string
	}{
		"no media":        {upload, "", storetest.CSV(storetest.CSVRow(1)), 415, "not-rows", ""},
		"another media":   {upload, "application/json", `{}`, 415, "not-rows", ""},
		"no format":       {"/v1/jobs", "text/csv", storetest.CSV(storetest.CSVRow(1)), 422, "invalid-request", "format"},
		"a format twice":  {upload + "&format=shc", "text/csv", storetest.CSV(storetest.CSVRow(1)), 422, "upload-refused", "twice"},
		"a name for it":   {upload + "&series=of%20Ada", "text/csv", storetest.CSV(storetest.CSVRow(1)), 422, "upload-refused", ""},
		"no header":       {upload, "text/csv", storetest.CSVRow(1), 422, "upload-refused", `"` + storetest.Families[1] + `"`},
		"an odd column":   {upload, "text/csv", strings.Replace(storetest.CSV(storetest.CSVRow(1)), "birth_date", "dat_of_birth", 1), 422, "upload-refused", "birth_date"},
		"a quotation":     {upload, "text/csv", storetest.CSV(`"Ada`), 422, "upload-refused", "line 2"},
		"two readings":    {upload, "text/csv", storetest.CSV(strings.Replace(storetest.CSVRow(1), "2026-10-01", "03/04/2026", 1)), 422, "upload-refused", "dmy or mdy"},
		"no bundle":       {upload, "application/fhir+json", `{"resourceType":"Patient"}`, 422, "upload-refused", "Bundle"},
		"a facility":      {upload + "&facility=south", "text/csv", storetest.CSV(storetest.CSVRow(1)), 403, "not-allowed", ""},
		"another country": {upload + "&country=Utopia", "text/csv", storetest.CSV(storetest.CSVRow(1)), 422, "invalid-request", "country"},
		"too large":       {upload, "text/csv", storetest.Header + strings.Repeat("\n", issuer.MaxUpload), 413, "upload-too-large", ""},
	} {
		_, p := b.do(t, "POST", tt.target, tt.file, tt.status, "Content-Type", tt.media)
		if p["reason"] != tt.reason || !strings.Contains(fmt.Sprint(p["detail"]), tt.says) {
			t.Errorf("%s: %v", name, p)
		}
	}
	if _, page := b.do(t, "GET", "/v1/jobs", "", 200); len(page["items"].([]any)) != 0 {
		t.Errorf("%v", page)
	}
	if strings.Contains(b.log.String(), storetest.Families[1]) {
		t.Errorf("logged: %s", b.log.String())
	}
}

// TestSlowJob: an upload has longer than other requests.
func TestSlowJob(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	b.serve(t)
	server := &http.Server{Handler: b.handler, ReadTimeout: 100 * time.Millisecond}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }() // it ends with an error, as it should
	t.Cleanup(func() { _ = server.Close() })
	in, out := io.Pipe()
	go func() {
		fmt.Fprint(out, storetest.Header+"\r\n")
		for n := range 6 {
			time.Sleep(50 * time.Millisecond)
			fmt.Fprint(out, storetest.CSVRow(n)+"\r\n")
		}
		_ = out.Close()
	}()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+listener.Addr().String()+upload, in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/csv")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, res); res.StatusCode != 201 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestRefusedFileIsTakenIn: what a proxy sends before it reads the answer, it can
// send to the end, also where the answer needs none of it.
func TestRefusedFileIsTakenIn(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	b.serve(t)
	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)
	for target, status := range map[string]int{
		"/v1/jobs": 422, // no format
		upload:     422, // no header
	} {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		const size = 16 << 20
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: desk.example\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n", target, size)
		if n, err := c.Write(bytes.Repeat([]byte{'a'}, size)); err != nil {
			t.Errorf("%s: %v after %d bytes", target, err, n)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if body := readAll(t, res); res.StatusCode != status {
			t.Errorf("%s: %d %s", target, res.StatusCode, body)
		}
		c.Close()
	}
}
