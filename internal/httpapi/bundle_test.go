package httpapi

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestBundle: the bundle and its root are fetched as they are, kept, and asked
// for again by their tag.
func TestBundle(t *testing.T) {
	page := &Page{Verifier: newBed(t).page.Verifier, Bundle: []byte("a bundle"), BundleRoot: []byte("its root")}
	handler := page.Handler()
	ask := func(method, path, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	for _, c := range []struct{ path, contentType, body string }{
		{"/bundle", `application/cose; cose-type="cose-sign"`, "a bundle"},
		{"/bundle/root", "application/x-pem-file", "its root"},
	} {
		t.Run(c.path, func(t *testing.T) {
			w := ask("GET", c.path, "")
			tag := w.Header().Get("ETag")
			if w.Code != http.StatusOK || w.Body.String() != c.body || w.Header().Get("Content-Type") != c.contentType || len(tag) != 66 {
				t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
			}
			if got := w.Header().Get("Cache-Control"); got != "public, max-age=300" {
				t.Errorf("Cache-Control: %q", got)
			}
			if w := ask("GET", c.path, tag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
				t.Errorf("by its tag: %d, %d bytes", w.Code, w.Body.Len())
			}
			if w := ask("GET", c.path, `"another"`); w.Code != http.StatusOK {
				t.Errorf("by another tag: %d", w.Code)
			}
			if w := ask("HEAD", c.path, ""); w.Code != http.StatusOK || w.Body.Len() != 0 {
				t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
			}
			if w := ask("POST", c.path, ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("POST: %d, Allow %q", w.Code, w.Header().Get("Allow"))
			}
			if res := newBed(t).get(t, c.path); res.StatusCode != http.StatusNotFound {
				t.Errorf("a page without a bundle: %d", res.StatusCode)
			}
		})
	}
}

// TestBundleDelta: who says what it keeps gets what makes the newest from it, or
// nothing where it is the newest, or the whole.
func TestBundleDelta(t *testing.T) {
	newest := []byte("the newest bundle")
	hash := func(file string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(file))) }
	page := &Page{Verifier: newBed(t).page.Verifier, Bundle: newest, BundleRoot: []byte("its root"), Deltas: map[string][]byte{hash("the one before"): []byte("a delta")}}
	handler := page.Handler()
	for _, c := range []struct {
		from   string
		status int
		media  string
		body   string
	}{
		{hash("the one before"), 200, mediaDelta, "a delta"},
		{hash("one long ago"), 200, `application/cose; cose-type="cose-sign"`, string(newest)},
		{"nonsense", 200, `application/cose; cose-type="cose-sign"`, string(newest)},
		{hash(string(newest)), 204, "", ""},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/bundle?from="+c.from, nil))
		if w.Code != c.status || w.Header().Get("Content-Type") != c.media || w.Body.String() != c.body {
			t.Errorf("%s: %d %q %q", c.from, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}
