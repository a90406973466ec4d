package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"ampoule/web"
)

// builtPage is a page that runs in a browser, under /{name}/.
type builtPage struct {
	name   string
	policy string // its Content-Security-Policy; it loads nothing from elsewhere
	camera bool
}

// patterns are its addresses. That of the ledger's page is the log's as well.
func (p builtPage) patterns() []string {
	if p.name == "ledger" {
		return []string{"/ledger/{$}", "/ledger/assets/"}
	}
	return []string{"/" + p.name + "/"}
}

// builtPages are all of them.
var builtPages = []builtPage{
	// Its engine is WebAssembly, which needs a word of its own.
	{"verifier", strings.Join([]string{
		"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
		"worker-src 'self'", "manifest-src 'self'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'",
	}, "; "), true},
	{"issuer", strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
		"form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
	}, "; "), false},
	{"coldchain", strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
		"form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
	}, "; "), false},
	{"ledger", strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
		"form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'",
	}, "; "), false},
	{"tour", strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
		"form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
	}, "; "), false},
}

// pageTypes are the types of the files of the pages, which a server's own table
// may not know.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".json": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json",
}

// pages are the routes of the built pages. They were compressed when they were
// built; nobody is asked to compress ten megabytes for every reader.
func (s *server) pages(route func(pattern string, h func(*answer, *http.Request))) {
	files, built := web.Pages()
	for _, p := range s.builtPages() {
		serve := func(w *answer, r *http.Request) {
			if !built {
				s.fail(w, r, problemNotBuilt)
				return
			}
			name := strings.TrimPrefix(r.URL.Path, "/")
			if strings.HasSuffix(name, "/") {
				name += "index.html"
			}
			s.page(w, r, files, p, name)
		}
		for _, pattern := range p.patterns() {
			route("GET "+pattern, serve)
		}
	}
}

// builtPages are those that this server has something behind.
func (s *server) builtPages() []builtPage {
	return slices.DeleteFunc(slices.Clone(builtPages), func(p builtPage) bool {
		return p.name == "issuer" && s.Issuing == nil || p.name == "ledger" && s.Ledger == nil || p.name == "coldchain" && s.Watching == nil || p.name == "tour" && s.Scene == nil
	})
}

func (s *server) page(w *answer, r *http.Request, files fs.FS, p builtPage, name string) {
	kind, known := pageTypes[path.Ext(name)]
	if !known || !fs.ValidPath(name) {
		s.fail(w, r, problemNotFound)
		return
	}
	encoding := "gzip"
	body, err := fs.ReadFile(files, name+".gz")
	if accepts(r.Header, "br") {
		encoding = "br"
		body, err = fs.ReadFile(files, name+".br")
	} else if err == nil && !accepts(r.Header, "gzip") {
		encoding = ""
		body, err = inflate(body)
	}
	if err != nil {
		s.fail(w, r, problemNotFound)
		return
	}
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	h.Set("Content-Security-Policy", p.policy)
	if p.camera {
		h.Set("Permissions-Policy", strings.Replace(headers["Permissions-Policy"], "camera=()", "camera=(self)", 1))
	}
	if strings.Contains(name, "/assets/") {
		h.Set("Cache-Control", "public, max-age=31536000, immutable") // their hash is in their address
	} else {
		h.Set("Cache-Control", "no-cache")
		tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.send(http.StatusOK, kind, body)
}

// scene tells the page of the tour where things are, and who looks at it.
func (s *server) scene(w *answer, _ *http.Request) {
	visitor := ""
	if w.visitor != nil {
		visitor = w.visitor.Account.Login
	}
	body, err := json.Marshal(map[string]any{"visitor": visitor, "scene": json.RawMessage(s.Scene())})
	if err != nil {
		panic(fmt.Sprintf("httpapi: scene: %v", err)) // whoever made the page gives JSON
	}
	w.send(http.StatusOK, "application/json", body)
}

// accepts reports whether a reader takes an encoding (RFC 9110 section 12.5.3).
// None of those who matter refuses one by a weight of zero but by its absence.
func accepts(h http.Header, encoding string) bool {
	for part := range strings.SplitSeq(h.Get("Accept-Encoding"), ",") {
		name, parameters, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err == nil && name == encoding {
			q, err := strconv.ParseFloat(parameters["q"], 64)
			return err != nil || q > 0
		}
	}
	return false
}

func inflate(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
