//go:build linux

package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/internal/store"
	"ampoule/party/issuer"
)

// fake is a store whose copies end as the test wants.
type fake struct {
	database error
	text     string
}

func (f fake) Health(context.Context) (*store.Health, error) {
	return &store.Health{Engine: "fake", Records: 7}, f.database
}

func (f fake) Backup(_ context.Context, w io.Writer) (int, error) {
	_, _ = io.WriteString(w, f.text)
	return 0, f.database
}

func (f fake) KeyFile(context.Context) (io.Reader, int64, error) {
	return strings.NewReader(f.text), int64(len(f.text)), nil
}

func (f fake) ErasedList() (io.Reader, int64) {
	return strings.NewReader("list"), int64(len("list"))
}

func (f fake) VerifyAudit(context.Context) (*store.AuditReport, error) {
	return &store.AuditReport{Lines: 7, Breaks: []store.Break{{Kind: store.BreakMissing, Seal: 2}}}, f.database
}

func (f fake) ExportAudit(_ context.Context, w io.Writer, organisation string, from, to time.Time) error {
	fmt.Fprint(w, organisation, from.Unix(), " ", to.IsZero(), f.text)
	return f.database
}

func (f fake) KeyAffected(_ context.Context, kid []byte) (*Affected, error) {
	return &Affected{Records: len(kid), Signs: true}, f.database
}

func (f fake) KeyCompromised(_ context.Context, kid []byte, do string, agreed int) (*Compromised, error) {
	return &Compromised{File: do, Left: agreed}, f.database
}

func (f fake) Affected(_ context.Context, w issuer.Which) (*Affected, error) {
	return &Affected{Records: len(w.Lot)}, f.database
}

func (f fake) RevokeMany(_ context.Context, w issuer.Which, why issuer.Reason, agreed int) (*issuer.RevokedMany, error) {
	return &issuer.RevokedMany{Done: agreed, Left: len(why), Failed: []issuer.Failure{{Err: issuer.ErrConflict}}}, f.database
}

func (f fake) RevokeListed(_ context.Context, lines []string, why issuer.Reason, dry bool) ([]issuer.ListedRow, error) {
	return []issuer.ListedRow{{Result: fmt.Sprintln(lines, why, dry)}}, f.database
}

func TestControl(t *testing.T) {
	for _, c := range []struct {
		name string
		dir  func(*testing.T) string
		text string
	}{
		{"short", func(t *testing.T) string { return t.TempDir() }, "some"},
		{"much", func(t *testing.T) string { return t.TempDir() }, strings.Repeat("much ", 1<<20)},
		{"a long path", func(t *testing.T) string {
			dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			return dir
		}, "some"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.dir(t)
			if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoServer) {
				t.Errorf("nobody is there: %v", err)
			}
			// What a server that was killed has left.
			if err := os.WriteFile(filepath.Join(dir, socketFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			stop, err := Serve(dir, fake{text: c.text}, fake{text: c.text}, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(dir, socketFile)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			client, err := Dial(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if h, err := client.Health(t.Context()); err != nil || h.Records != 7 {
				t.Errorf("%+v, %v", h, err)
			}
			var out bytes.Buffer
			if err := client.Database(t.Context(), &out); err != nil || out.String() != c.text {
				t.Errorf("%d bytes, %v", out.Len(), err)
			}
			if r, err := client.VerifyAudit(t.Context()); err != nil || r.Lines != 7 || r.Whole() || r.Breaks[0].Seal != 2 {
				t.Errorf("%+v, %v", r, err)
			}
			out.Reset()
			if err := client.AuditLines(t.Context(), &out, time.Unix(86400, 0), time.Time{}); err != nil || out.String() != "86400 true"+c.text {
				t.Errorf("%d bytes, %v", out.Len(), err)
			}
			out.Reset()
			err = client.Keys(t.Context(), func(size int64, r io.Reader) error {
				if size != int64(len(c.text)) {
					t.Errorf("size %d", size)
				}
				_, err := io.Copy(&out, r)
				return err
			})
			if err != nil || out.String() != c.text {
				t.Errorf("%d bytes, %v", out.Len(), err)
			}
			if a, err := client.KeyAffected(t.Context(), "00ff"); err != nil || a.Records != 2 || !a.Signs {
				t.Errorf("%+v, %v", a, err)
			}
			if _, err := client.KeyAffected(t.Context(), "zz"); err == nil {
				t.Error("no key identifier, and it was answered")
			}
			if a, err := client.Affected(t.Context(), issuer.Which{Lot: "AB"}); err != nil || a.Records != 2 {
				t.Errorf("%+v, %v", a, err)
			}
			if d, err := client.RevokeMany(t.Context(), issuer.Which{}, issuer.ReasonKey, 9); err != nil || d.Revoked != 9 || d.Left != 4 || len(d.Reasons) != 1 {
				t.Errorf("%+v, %v", d, err)
			}
			if r, err := client.RevokeListed(t.Context(), []string{"a"}, issuer.ReasonKey, true); err != nil || len(r) != 1 || r[0] != "[a] key true\n" {
				t.Errorf("%+v, %v", r, err)
			}
			if d, err := client.KeyCompromised(t.Context(), "00ff", "revoke", 9); err != nil || d.File != "revoke" || d.Left != 9 {
				t.Errorf("%+v, %v", d, err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoServer) {
				t.Errorf("it has ended: %v", err)
			}
		})
	}
}

// TestCutOff: a copy that failed at the server is not taken for a whole one.
func TestCutOff(t *testing.T) {
	for _, text := range []string{"", "some", strings.Repeat("much ", 1<<20)} {
		dir := t.TempDir()
		var log bytes.Buffer
		stop, err := Serve(dir, fake{errors.New("the disk"), text}, fake{errors.New("the disk"), text}, nil, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		client, err := Dial(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Database(t.Context(), io.Discard); err == nil {
			t.Errorf("%d bytes are taken for all", len(text))
		}
		if err := client.AuditLines(t.Context(), io.Discard, time.Time{}, time.Time{}); err == nil {
			t.Errorf("%d bytes of the audit log are taken for all", len(text))
		}
		if r, err := client.VerifyAudit(t.Context()); err == nil {
			t.Errorf("what could not be checked is %+v", r)
		}
		if _, err := client.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk") {
			t.Errorf("%v", err)
		}
		_ = client.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "the disk") {
			t.Errorf("%s", log.String())
		}
	}
}
