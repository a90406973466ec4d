package httpapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"ampoule/party/verifier"
	"ampoule/web"
)

// built is a page as make build leaves it. The form for br is not compressed: what
// matters is which file is sent.
func built(t *testing.T) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range map[string]string{"verifier/index.html": "<!DOCTYPE html>", "verifier/assets/engine-1.wasm": "\x00asm", "verifier/notes.md": "x"} {
		var gz bytes.Buffer
		w := gzip.NewWriter(&gz)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files[name+".gz"], files[name+".br"] = &fstest.MapFile{Data: gz.Bytes()}, &fstest.MapFile{Data: []byte("br:" + text)}
	}
	return files
}

func TestPageFiles(t *testing.T) {
	files := built(t)
	s := newServer(&Page{})
	get := func(name string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/"+name, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		s.page(&answer{ResponseWriter: rec}, r, files, builtPages[0], name)
		return rec
	}
	for _, tt := range []struct {
		name, accept, encoding, body, kind string
	}{
		{"verifier/index.html", "gzip, deflate, br, zstd", "br", "br:<!DOCTYPE html>", "text/html; charset=utf-8"},
		{"verifier/index.html", "br;q=0, gzip;q=0.5", "gzip", "<!DOCTYPE html>", "text/html; charset=utf-8"},
		{"verifier/index.html", "", "", "<!DOCTYPE html>", "text/html; charset=utf-8"},
		{"verifier/assets/engine-1.wasm", "br", "br", "br:\x00asm", "application/wasm"},
		{"verifier/assets/engine-1.wasm", "identity", "", "\x00asm", "application/wasm"},
	} {
		rec := get(tt.name, "Accept-Encoding", tt.accept)
		h, body := rec.Result().Header, rec.Body.Bytes()
		if h.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = inflate(body); err != nil {
				t.Fatal(err)
			}
		}
		if rec.Code != http.StatusOK || h.Get("Content-Encoding") != tt.encoding || string(body) != tt.body || h.Get("Content-Type") != tt.kind || h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s for %q: %d %v %q", tt.name, tt.accept, rec.Code, h, body)
		}
		if policy := h.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe-inline") || strings.Contains(policy, "http") {
			t.Errorf("policy %q", policy)
		}
		if !strings.Contains(h.Get("Permissions-Policy"), "camera=(self)") {
			t.Errorf("permissions %q", h.Get("Permissions-Policy"))
		}
		if kept := strings.Contains(h.Get("Cache-Control"), "immutable"); kept != strings.Contains(tt.name, "/assets/") {
			t.Errorf("%s: %s", tt.name, h.Get("Cache-Control"))
		}
	}
	tag := get("verifier/index.html").Result().Header.Get("ETag")
	if rec := get("verifier/index.html", "If-None-Match", tag); rec.Code != http.StatusNotModified || rec.Body.Len() > 0 {
		t.Errorf("%d with %d bytes", rec.Code, rec.Body.Len())
	}
	for _, name := range []string{"verifier/none.js", "verifier/notes.md", "verifier/../verifier/index.html", "verifier//index.html", "verifier/index.html.br"} {
		if rec := get(name); rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d", name, rec.Code)
		}
	}
}

// TestPagePolicies: the portal runs no code of others, none that was made on the way,
// and no worker; it has no camera. A server that issues nothing has no portal.
func TestPagePolicies(t *testing.T) {
	files := fstest.MapFS{}
	for name, f := range built(t) {
		files[strings.Replace(name, "verifier", "issuer", 1)] = f
	}
	s := newServer(&Page{})
	rec := httptest.NewRecorder()
	s.page(&answer{ResponseWriter: rec}, httptest.NewRequest("GET", "/issuer/", nil), files, builtPages[1], "issuer/index.html")
	policy := rec.Result().Header.Get("Content-Security-Policy")
	if rec.Code != http.StatusOK || !strings.Contains(policy, "form-action 'self'") || strings.Contains(policy, "wasm") || strings.Contains(policy, "worker") || strings.Contains(policy, "unsafe") {
		t.Errorf("%d %q", rec.Code, policy)
	}
	if strings.Contains(rec.Result().Header.Get("Permissions-Policy"), "camera=(self)") {
		t.Error("the portal may use the camera")
	}
	rec = httptest.NewRecorder()
	(&Page{}).Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/issuer/", nil))
	if rec.Code != http.StatusNotFound {
		t.Errorf("without issuing: %d", rec.Code)
	}
}

// TestVerifierPage: the address answers, whether the binary has the page or not.
func TestVerifierPage(t *testing.T) {
	rec := httptest.NewRecorder()
	(&Page{}).Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/verifier/", nil))
	if _, has := web.Pages(); has {
		if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `<div id="page">`) {
			t.Errorf("%d %.200s", rec.Code, rec.Body)
		}
		return
	}
	if rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), "make build") {
		t.Errorf("%d %.200s", rec.Code, rec.Body)
	}
}

// TestTour: there is a tour where there is a scene, and nowhere else; it tells where
// things are, and that nobody is logged in.
func TestTour(t *testing.T) {
	ask := func(p *Page, method, path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		p.Handler().ServeHTTP(rec, httptest.NewRequest(method, path, nil))
		return rec
	}
	none := &Page{Verifier: &verifier.Verifier{}}
	for _, path := range []string{"/tour/", "/tour/scene.json"} {
		if got := ask(none, "GET", path).Code; got != http.StatusNotFound {
			t.Errorf("%s without a scene: %d", path, got)
		}
	}
	page := &Page{Verifier: &verifier.Verifier{}, Demonstration: true, Scene: func() []byte { return []byte(`{"ready":true}`) }}
	rec := ask(page, "GET", "/tour/scene.json")
	if got, want := rec.Body.String(), `{"scene":{"ready":true},"visitor":""}`; rec.Code != http.StatusOK || got != want {
		t.Errorf("the scene: %d %s, want %s", rec.Code, got, want)
	}
	if got := rec.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("the scene may be kept: %s", got)
	}
	if got := ask(page, "POST", "/tour/scene.json").Code; got != http.StatusMethodNotAllowed {
		t.Errorf("a scene is sent: %d", got)
	}
	for p, want := range map[*Page]bool{none: false, page: true} {
		if got := strings.Contains(ask(p, "GET", "/").Body.String(), `href="/tour/"`); got != want {
			t.Errorf("the tour is linked to: %v, want %v", got, want)
		}
	}
}
