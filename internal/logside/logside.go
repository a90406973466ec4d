// Package logside is the files and requests of those who keep, cosign or watch a log
// of the ledger: what a cosigner has signed last, the checkpoint that is published,
// logs to read from a folder or an address, witnesses to ask.
package logside

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ampoule/format"
	"ampoule/internal/fetch"
	"ampoule/internal/keep"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// The defects of what is kept.
const (
	ErrSeen   = format.Defect("cosigner-memory-damaged")
	ErrInUse  = format.Defect("cosigner-memory-in-use")
	ErrTarget = format.Defect("no-folder-and-no-address")
	ErrAnswer = format.Defect("log-answered-otherwise")
)

// Seen is a folder with one file for each origin: the checkpoint that was cosigned
// last, without signatures. One process at a time has it: two with one memory would
// each be right, and sign two histories.
type Seen struct {
	dir     string
	lock    *os.File
	release func() error
	mu      sync.Mutex
}

// OpenSeen opens a folder, and makes it where there is none.
func OpenSeen(dir string) (*Seen, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	release, err := keep.Own(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %v: %w", dir, err, ErrInUse), f.Close())
	}
	return &Seen{dir: dir, lock: f, release: release}, nil
}

// Close lets another process have it.
func (s *Seen) Close() error { return errors.Join(s.release(), s.lock.Close()) }

func (s *Seen) path(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return filepath.Join(s.dir, fmt.Sprintf("%x", sum[:16]))
}

// Last implements [notary.Seen]. A file that cannot be read is an error and never
// the empty tree: from that, anything would be signed.
func (s *Seen) Last(origin string) (notary.Last, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := os.ReadFile(s.path(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return notary.Last{Root: tlog.EmptyRoot()}, nil
	}
	if err != nil {
		return notary.Last{}, err
	}
	c, err := tlog.ParseCheckpoint(string(data))
	if err != nil || c.Origin != origin {
		return notary.Last{}, fmt.Errorf("%s: %w", s.path(origin), ErrSeen)
	}
	return notary.Last{Size: c.Size, Root: c.Root}, nil
}

// Put implements [notary.Seen].
func (s *Seen) Put(origin string, l notary.Last) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := (&tlog.Checkpoint{Origin: origin, Size: l.Size, Root: l.Root}).Text()
	if err != nil {
		return err
	}
	return keep.Replace(s.path(origin), []byte(text), 0o600)
}

// Shelf is a file with a signed checkpoint: the one that is published, or the one
// that a monitor has believed last.
type Shelf struct {
	Path string
	Perm fs.FileMode
}

// Checkpoint implements [notary.Shelf].
func (s Shelf) Checkpoint() ([]byte, error) {
	data, err := readFile(s.Path, tlog.MaxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Publish implements [notary.Shelf].
func (s Shelf) Publish(note []byte) error { return keep.Replace(s.Path, note, s.Perm) }

// Kept implements [notary.Memory].
func (s Shelf) Kept() ([]byte, error) { return s.Checkpoint() }

// Keep implements [notary.Memory].
func (s Shelf) Keep(note []byte) error { return s.Publish(note) }

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: more than %d bytes: %w", path, limit, tlog.ErrFileSize)
	}
	return data, err
}

// IsAddress tells an address from a folder.
func IsAddress(target string) bool {
	return strings.HasPrefix(target, "https://") || strings.HasPrefix(target, "http://")
}

// Dial makes a client for one address, which an operator has named: it may be in a
// private network, as nodes of a federation are.
func Dial(address string, timeout time.Duration, bytes int64) (*fetch.Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%q: %w", address, fetch.ErrBadTarget)
	}
	return fetch.New(fetch.Options{PrivateHosts: []string{u.Hostname()}, Loopback: true, Timeout: timeout, Bytes: bytes}), nil
}

// Open opens a log in a folder or at an address.
func Open(target string) (notary.Source, error) {
	if !IsAddress(target) {
		info, err := os.Stat(target)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("%s: %w", target, ErrTarget)
		}
		return folder{target, tlog.Files{FS: os.DirFS(target)}}, nil
	}
	c, err := Dial(target, 30*time.Second, maxFile)
	if err != nil {
		return nil, err
	}
	return &remote{strings.TrimSuffix(target, "/"), c}, nil
}

// maxFile is the largest file of a log: a full bundle of entries.
const maxFile = tlog.TileWidth * (2 + tlog.MaxEntry)

type folder struct {
	name  string
	files tlog.Files
}

func (f folder) Name() string                               { return f.name }
func (f folder) Checkpoint(context.Context) ([]byte, error) { return f.files.Checkpoint() }
func (f folder) Tile(_ context.Context, t tlog.Tile) ([]byte, error) {
	return f.files.Tile(t)
}

// remote is a log at an address.
type remote struct {
	base  string
	fetch *fetch.Client
}

func (r *remote) Name() string { return r.base }

func (r *remote) Checkpoint(ctx context.Context) ([]byte, error) {
	return r.get(ctx, tlog.CheckpointPath)
}

// Tile reads a tile. A partial one may be gone once there is the full one.
func (r *remote) Tile(ctx context.Context, t tlog.Tile) ([]byte, error) {
	return tlog.Files{FS: requests{ctx, r}}.Tile(t)
}

func (r *remote) get(ctx context.Context, path string) ([]byte, error) {
	a, err := r.fetch.Do(ctx, http.MethodGet, r.base+"/"+path, nil, nil)
	switch {
	case err != nil:
		return nil, err
	case a.Status == http.StatusNotFound || a.Status == http.StatusGone:
		return nil, fmt.Errorf("%s/%s: %w", r.base, path, fs.ErrNotExist)
	case a.Status != http.StatusOK:
		return nil, fmt.Errorf("%s/%s: status %d: %w", r.base, path, a.Status, ErrAnswer)
	}
	return a.Body, nil
}

// requests is a log at an address as files.
type requests struct {
	ctx context.Context
	r   *remote
}

func (q requests) Open(name string) (fs.File, error) {
	data, err := q.r.get(q.ctx, name)
	if err != nil {
		return nil, err
	}
	return answer{bytes.NewReader(data)}, nil
}

// answer is an answer as a file: it is read and nothing else.
type answer struct{ *bytes.Reader }

func (answer) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (answer) Close() error               { return nil }

// Witness asks a witness at an address, to which /add-checkpoint is added. It is a
// [notary.Remote].
type Witness struct {
	base  string
	fetch *fetch.Client
}

// NewWitness makes one. How long it has to answer is the notary's to say.
func NewWitness(base string) (*Witness, error) {
	c, err := Dial(base, 0, 256<<10)
	if err != nil {
		return nil, err
	}
	return &Witness{strings.TrimSuffix(base, "/"), c}, nil
}

// Name implements [notary.Remote].
func (w *Witness) Name() string { return w.base }

// AddCheckpoint implements [notary.Remote].
func (w *Witness) AddCheckpoint(ctx context.Context, body []byte) (*notary.Answer, error) {
	a, err := w.fetch.Do(ctx, http.MethodPost, w.base+"/add-checkpoint", http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, body)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.Status == notary.StatusConflict && kind != notary.SizeType {
		return nil, fmt.Errorf("%s: a conflict of the type %q: %w", w.base, kind, ErrAnswer)
	}
	return &notary.Answer{Status: a.Status, Type: kind, Body: a.Body}, nil
}

// Handler answers POST add-checkpoint for a cosigner. refused hears of requests that
// could not be decided.
func Handler(c *notary.Cosigner, refused func(error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, notary.MaxRequest))
		var tooLarge *http.MaxBytesError
		if err != nil {
			status := http.StatusBadRequest
			if errors.As(err, &tooLarge) {
				status = http.StatusRequestEntityTooLarge
			}
			answerWith(w, &notary.Answer{Status: status, Body: []byte(notary.ErrRequest + "\n")})
			return
		}
		a, err := c.AddCheckpoint(r.Context(), body)
		if err != nil {
			refused(err)
			answerWith(w, &notary.Answer{Status: http.StatusInternalServerError, Body: []byte("internal\n")})
			return
		}
		answerWith(w, a)
	}
}

func answerWith(w http.ResponseWriter, a *notary.Answer) {
	kind := a.Type
	if kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the reader has gone; nobody is left to be told
}
