package keep

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "made")
	text := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, _ = io.WriteString(w, s)
			return err
		}
	}
	failed := errors.New("no more")
	if err := Create(path, text("half of it", failed)); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
	if err := Create(path, text("whole", nil)); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, text("another", nil)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	// One that comes while it is written is left alone, too.
	second := filepath.Join(dir, "second")
	err := Create(second, func(w io.Writer) error { return os.WriteFile(second, []byte("theirs"), 0o600) })
	if got, _ := os.ReadFile(second); !errors.Is(err, fs.ErrExist) || string(got) != "theirs" {
		t.Errorf("%q, %v", got, err)
	}
	info, err := os.Stat(path)
	got, _ := os.ReadFile(path)
	if err != nil || info.Mode().Perm() != 0o600 || string(got) != "whole" {
		t.Errorf("%v, %v, %q", info.Mode(), err, got)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
}
