package logside

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/internal/fetch"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// TestSeen: what was signed last is there after a start; a file that was damaged or
// put in another's place is no beginning.
func TestSeen(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenSeen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := s.Last("a"); err != nil || l.Size != 0 || l.Root != tlog.EmptyRoot() {
		t.Errorf("%+v, %v", l, err)
	}
	want := notary.Last{Size: 7, Root: tlog.Hash{1}}
	if err := s.Put("a", want); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSeen(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("two have it: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenSeen(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if l, err := s.Last("a"); err != nil || l != want {
		t.Errorf("%+v, %v", l, err)
	}
	if err := os.Rename(s.path("a"), s.path("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Last("b"); !errors.Is(err, ErrSeen) {
		t.Errorf("that of another log: %v", err)
	}
	for _, bad := range []string{"", "b\n7\n", "b\n07\n" + strings.Repeat("A", 43) + "=\n"} {
		if err := os.WriteFile(s.path("b"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Last("b"); !errors.Is(err, ErrSeen) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestTargets: what is no log is refused before anything is believed of it.
func TestTargets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{file, file + "-none", "http://", "https://u:p@host", "https://host/?q"} {
		if _, err := Open(target); err == nil {
			t.Errorf("%q was opened", target)
		}
	}
	s, err := Open("http://localhost:1/ledger") // a name may lead anywhere
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Checkpoint(t.Context()); !errors.Is(err, fetch.ErrScheme) {
		t.Errorf("%v", err)
	}
}

// TestStrangeAnswers: a server that answers otherwise than the specification says is
// an error, and a partial tile that is gone is cut from the full one.
func TestStrangeAnswers(t *testing.T) {
	full := strings.Repeat("\x01", 256*tlog.HashSize)
	status := http.StatusConflict
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/tile/0/000":
			_, _ = io.WriteString(w, full)
		case r.Method == http.MethodPost:
			w.WriteHeader(status)
		case strings.HasPrefix(r.URL.Path, "/tile"):
			http.NotFound(w, r)
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	s, err := Open(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Checkpoint(t.Context()); !errors.Is(err, ErrAnswer) {
		t.Errorf("%v", err)
	}
	if data, err := s.Tile(t.Context(), tlog.Tile{Width: 3}); err != nil || string(data) != full[:3*tlog.HashSize] {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := s.Tile(t.Context(), tlog.Tile{Index: 1, Width: 3}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	w, err := NewWitness(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddCheckpoint(t.Context(), nil); !errors.Is(err, ErrAnswer) {
		t.Errorf("a conflict of no type: %v", err)
	}
	status = http.StatusTeapot
	if a, err := w.AddCheckpoint(t.Context(), nil); err != nil || a.Status != http.StatusTeapot {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestHandlerBounds: more than a request can be is not read to its end.
func TestHandlerBounds(t *testing.T) {
	h := Handler(new(notary.Cosigner), func(err error) { t.Error(err) })
	for length, status := range map[int]int{notary.MaxRequest + 1: http.StatusRequestEntityTooLarge, 3: http.StatusBadRequest} {
		w := httptest.NewRecorder()
		h(w, httptest.NewRequest(http.MethodPost, "/add-checkpoint", strings.NewReader(strings.Repeat("x", length))))
		if w.Code != status {
			t.Errorf("%d bytes: %d", length, w.Code)
		}
	}
}
