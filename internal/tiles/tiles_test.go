package tiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/ledger/tlog"
)

// entry is the i-th entry of the log of these tests.
func entry(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "entry %d;", i), 1+i%7) }

func entries(from, to int) (out [][]byte) {
	for i := from; i < to; i++ {
		out = append(out, entry(i))
	}
	return out
}

func root(size int) tlog.Hash {
	var t tlog.Tree
	for _, e := range entries(0, size) {
		t.Append(tlog.LeafHash(e))
	}
	return t.Root()
}

func open(t *testing.T, dir string, size uint64) *Log {
	t.Helper()
	l, err := Open(dir, size)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestGrowth appends in steps of many widths, opens the log again between them, and
// holds it against a tree in memory.
func TestGrowth(t *testing.T) {
	for _, steps := range [][]int{{1, 2, 255, 256, 257, 600}, {256, 512}, {1, 700, 701, 66000}, {300, 65535, 65536, 65537}} {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			dir := t.TempDir()
			size := 0
			for _, to := range steps {
				l := open(t, dir, uint64(size))
				if err := l.Append(entries(size, to)); err != nil {
					t.Fatal(err)
				}
				size = to
				if l.Size() != uint64(size) || l.Root() != root(size) {
					t.Fatalf("size %d, root %x", l.Size(), l.Root())
				}
				if err := Check(l.FS(), uint64(size), root(size)); err != nil {
					t.Fatal(err)
				}
			}
			files := tlog.Files{FS: os.DirFS(dir)}
			for _, i := range []int{0, size / 2, size - 1} {
				got, err := files.Entry(uint64(i), uint64(size))
				if err != nil || !bytes.Equal(got, entry(i)) {
					t.Errorf("entry %d: %q, %v", i, got, err)
				}
			}
		})
	}
}

// TestPartials: older partial tiles stay until the full one stands, so that a
// checkpoint of every size in between can be proven.
func TestPartials(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	for i := range 300 {
		if err := l.Append([][]byte{entry(i)}); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, i/2 + 1, i + 1} {
			if err := Check(l.FS(), uint64(size), root(size)); err != nil {
				t.Fatalf("of %d leaves, size %d: %v", i+1, size, err)
			}
		}
	}
	for _, name := range list(t, dir) {
		if strings.HasPrefix(name, "tile/0/000.p") || strings.HasPrefix(name, "tile/entries/000.p") || strings.HasSuffix(name, ".tmp") {
			t.Errorf("%s is left", name)
		}
	}
}

// TestReplay opens a log at an earlier size, as after a crash between the tiles and
// the head, and appends the same again.
func TestReplay(t *testing.T) {
	for _, c := range []struct{ size, written int }{{0, 1}, {1, 5}, {200, 256}, {255, 257}, {256, 300}, {100, 900}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, 0)
			for _, step := range []int{c.size, c.written} {
				if err := l.Append(entries(int(l.Size()), step)); err != nil {
					t.Fatal(err)
				}
			}
			before := list(t, dir)
			l = open(t, dir, uint64(c.size))
			if l.Root() != root(c.size) {
				t.Fatal("the root is another")
			}
			if err := l.Append(entries(c.size, c.written)); err != nil {
				t.Fatal(err)
			}
			if after := list(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("%v became %v", before, after)
			}
			if err := Check(l.FS(), uint64(c.written), root(c.written)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFork: other entries at a place where some were written.
func TestFork(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir, 0).Append(entries(0, 10)); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, 0)
	if err := l.Append(append(entries(0, 9), []byte("another"))); !errors.Is(err, ErrForked) {
		t.Errorf("%v", err)
	}
}

// TestDamage flips a byte in every file in turn: the check, or opening, must find it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	const size = 600
	if err := open(t, dir, 0).Append(entries(0, size)); err != nil {
		t.Fatal(err)
	}
	want := root(size)
	names := list(t, dir)
	if len(names) != 7 { // 3 bundles, 3 tiles, 1 tile above
		t.Fatalf("%v", names)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string][]byte{"flipped": flip(good), "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0), "empty": nil} {
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := Check(os.DirFS(dir), size, want); err == nil {
				t.Errorf("%s %s: not found", name, what)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := Check(os.DirFS(dir), size, want); err == nil {
			t.Errorf("%s gone: not found", name)
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Check(os.DirFS(dir), size, root(size-1)); !errors.Is(err, tlog.ErrRoot) {
		t.Errorf("under another root: %v", err)
	}
}

func flip(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	return data
}

func TestEntryTooLong(t *testing.T) {
	l := open(t, t.TempDir(), 0)
	if err := l.Append([][]byte{make([]byte, tlog.MaxEntry+1)}); !errors.Is(err, tlog.ErrEntrySize) {
		t.Errorf("%v", err)
	}
}
