package tlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	oracle "golang.org/x/mod/sumdb/tlog"

	"ampoule/format"
)

// testLog is a log in files, as a node would write them.
type testLog struct {
	fstest.MapFS
	edge    *Edge
	entries [][]byte
}

func newTestLog() *testLog { return &testLog{MapFS: fstest.MapFS{}, edge: new(Edge)} }

// grow appends entries up to size and writes what changed.
func (l *testLog) grow(t testing.TB, size uint64) {
	t.Helper()
	old := l.edge.Size()
	for i := old; i < size; i++ {
		e := bytes.Repeat(entry(i), int(i%5)) // some are empty
		l.entries = append(l.entries, e)
		if err := l.edge.Append(LeafHash(e)); err != nil {
			t.Fatal(err)
		}
	}
	var written []Tile
	for _, d := range l.edge.Tiles() {
		written = append(written, d.Tile)
		l.MapFS[d.Tile.Path()] = &fstest.MapFile{Data: d.Data}
	}
	var want []Tile
	for _, tile := range NewTiles(old, size) {
		if tile.Level == Entries {
			var bundle []byte
			for _, e := range l.entries[tile.Index*TileWidth:][:tile.Width] {
				bundle, _ = AppendEntry(bundle, e)
			}
			l.MapFS[tile.Path()] = &fstest.MapFile{Data: bundle}
		} else {
			want = append(want, tile)
		}
	}
	order := func(a, b Tile) int { return strings.Compare(a.Path(), b.Path()) }
	slices.SortFunc(written, order)
	slices.SortFunc(want, order)
	if !slices.Equal(written, want) {
		t.Fatalf("%d to %d leaves: written %v, want %v", old, size, written, want)
	}
}

// TestTilesAgainstOracle lets a log grow by steps of every kind, and compares its
// files with those that the Go checksum database would have, made of tiles of
// height 8.
func TestTilesAgainstOracle(t *testing.T) {
	l := newTestLog()
	draw := rand.New(rand.NewPCG(3, 4))
	size := uint64(0)
	var stored []oracle.Hash
	reader := oracle.HashReaderFunc(func(indexes []int64) ([]oracle.Hash, error) {
		var out []oracle.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	limit := uint64(70_000)
	if testing.Short() {
		limit = 3000
	}
	for size < limit {
		old := size
		switch draw.IntN(4) {
		case 0:
			size++
		case 1:
			size += draw.Uint64N(300)
		case 2:
			size = (size/256 + 1) * 256
		case 3:
			size += draw.Uint64N(limit / 4)
		}
		size = min(size, limit)
		l.grow(t, size)
		for i := old; i < size; i++ {
			hashes, err := oracle.StoredHashes(int64(i), l.entries[i], reader)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, hashes...)
		}
		for _, tile := range oracle.NewTiles(8, int64(old), int64(size)) {
			data, err := oracle.ReadTileData(tile, reader)
			if err != nil {
				t.Fatal(err)
			}
			path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
			if got := l.MapFS[path]; got == nil || !bytes.Equal(got.Data, data) {
				t.Fatalf("%d to %d leaves: %s differs", old, size, path)
			}
		}
		// A node that starts again finds the same end.
		again, err := OpenEdge(size, Files{l.MapFS}.Tile)
		if err != nil {
			t.Fatal(err)
		}
		if again.Root() != l.edge.Root() {
			t.Fatalf("%d leaves: another root after opening", size)
		}
		if draw.IntN(2) == 0 {
			l.edge = again
		}
	}
	if n := len(NewTiles(0, 70_000)); limit == 70_000 && n != 274+274+1+1+1 { // the example of the specification
		t.Errorf("%d tiles", n)
	}
	if err := Audit(size, l.edge.Root(), Files{l.MapFS}.Tile); err != nil {
		t.Fatal(err)
	}
	tree := new(Tree)
	for _, e := range l.entries {
		tree.Append(LeafHash(e))
	}
	for range 300 {
		n := 1 + draw.Uint64N(size)
		index := draw.Uint64N(n)
		nodes := &TileNodes{Size: size, Read: Files{l.MapFS}.Tile}
		got, err := ProveInclusion(index, n, nodes)
		want, _ := ProveInclusion(index, n, tree)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("leaf %d of %d from tiles: %v", index, n, err)
		}
		got, err = ProveConsistency(index, n, nodes)
		want, _ = ProveConsistency(index, n, tree)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d to %d from tiles: %v", index, n, err)
		}
		e, err := Files{l.MapFS}.Entry(index, size)
		if err != nil || !bytes.Equal(e, l.entries[index]) {
			t.Fatalf("entry %d: %v", index, err)
		}
	}
}

// TestAudit changes the files of a log one by one: no change goes unseen.
func TestAudit(t *testing.T) {
	l := newTestLog()
	l.grow(t, 600)
	root := l.edge.Root()
	audit := func(f fs.FS) error { return Audit(600, root, Files{f}.Tile) }
	if err := audit(l.MapFS); err != nil {
		t.Fatal(err)
	}
	for path, file := range l.MapFS {
		changed := fstest.MapFS{}
		for p, f := range l.MapFS {
			changed[p] = f
		}
		data := bytes.Clone(file.Data)
		data[len(data)-1] ^= 1
		changed[path] = &fstest.MapFile{Data: data}
		if err := audit(changed); format.Reason(err, "") == "" {
			t.Errorf("%s changed: %v", path, err)
		}
		delete(changed, path)
		if err := audit(changed); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s gone: %v", path, err)
		}
	}
	if err := Audit(600, Hash{}, Files{l.MapFS}.Tile); !errors.Is(err, ErrRoot) {
		t.Error(err)
	}
	if err := Audit(0, EmptyRoot(), Files{l.MapFS}.Tile); err != nil {
		t.Error(err)
	}
}

// TestPartialTileGone: a partial tile that was deleted is cut from the full one.
func TestPartialTileGone(t *testing.T) {
	l := newTestLog()
	l.grow(t, 100)
	first := l.edge.Root()
	l.grow(t, 600)
	for path := range l.MapFS {
		if strings.HasSuffix(path, ".p/100") {
			delete(l.MapFS, path)
		}
	}
	if err := Audit(100, first, Files{l.MapFS}.Tile); err != nil {
		t.Error(err)
	}
	l.MapFS["tile/0/000"] = &fstest.MapFile{Data: make([]byte, 100*HashSize)}
	l.MapFS["tile/entries/000"] = &fstest.MapFile{Data: make([]byte, 100)}
	if _, err := (Files{l.MapFS}).Tile(Tile{0, 0, 99}); !errors.Is(err, ErrTile) {
		t.Error(err)
	}
	if _, err := (Files{l.MapFS}).Tile(Tile{Entries, 0, 99}); !errors.Is(err, ErrEntryBundle) {
		t.Error(err)
	}
	if _, err := (Files{l.MapFS}).Tile(Tile{3, 0, 99}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestTilePath(t *testing.T) {
	for _, c := range []struct {
		tile Tile
		path string
	}{
		{Tile{0, 0, 256}, "tile/0/000"},
		{Tile{0, 1234067, 256}, "tile/0/x001/x234/067"},
		{Tile{1, 273, 17}, "tile/1/273.p/17"},
		{Tile{Entries, 1000, 1}, "tile/entries/x001/000.p/1"},
		{Tile{7, 0, 127}, "tile/7/000.p/127"},
	} {
		if got := c.tile.Path(); got != c.path {
			t.Errorf("%v: %s, want %s", c.tile, got, c.path)
		}
		if got, err := ParseTilePath(c.path); err != nil || got != c.tile {
			t.Errorf("%s: %v, %v", c.path, got, err)
		}
	}
	for _, path := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/-1/000", "tile/8/000", "tile/+1/000",
		"tile/0/x000/000", "tile/0/001/x000", "tile/0/x001", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p/1/",
		"/tile/0/000", "tile/0/000 ", "tile/data/000", "tile/entries/000.p", "tile/0/../000", "tile/7/000", "tile/7/001", "tile/7/000.p/128", "tile/0/X001/000",
		"tile/0/" + strings.Repeat("x999/", 6) + "999", "tile/0/" + strings.Repeat("x999/", 20) + "999",
	} {
		if got, err := ParseTilePath(path); !errors.Is(err, ErrTilePath) {
			t.Errorf("%q: %v, %v", path, got, err)
		}
	}
}

func TestParseEntries(t *testing.T) {
	largest := make([]byte, MaxEntry)
	one, err := AppendEntry(nil, largest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := AppendEntry(nil, append(largest, 0)); !errors.Is(err, ErrEntrySize) {
		t.Error(err)
	}
	for _, c := range []struct {
		name  string
		data  []byte
		width int
		want  error
	}{
		{"none", nil, 0, ErrEntryBundle},
		{"too many", make([]byte, 2*257), 257, ErrEntryBundle},
		{"one too few", []byte{0, 1, 7}, 2, ErrEntryBundle},
		{"one too many", []byte{0, 1, 7, 0, 0}, 1, ErrEntryBundle},
		{"half a length", []byte{0, 1, 7, 0}, 2, ErrEntryBundle},
		{"cut off", []byte{0, 2, 7}, 1, ErrEntryBundle},
		{"empty entries", make([]byte, 2*256), 256, nil},
		{"the largest", one, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseEntries(c.data, c.width); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// endless is a file system of files that never end.
type endless struct{}

func (endless) Open(string) (fs.File, error) { return endless{}, nil }
func (endless) Stat() (fs.FileInfo, error)   { return nil, fs.ErrInvalid }
func (endless) Read(b []byte) (int, error)   { return len(b), nil }
func (endless) Close() error                 { return nil }

func TestFilesBound(t *testing.T) {
	f := Files{endless{}}
	for _, tile := range []Tile{{0, 0, 256}, {3, 1, 7}, {Entries, 0, 256}} {
		if _, err := f.Tile(tile); !errors.Is(err, ErrFileSize) {
			t.Errorf("%v: %v", tile, err)
		}
	}
	if _, err := f.Checkpoint(); !errors.Is(err, ErrFileSize) {
		t.Error(err)
	}
	if _, err := f.Tile(Tile{0, 0, 0}); !errors.Is(err, ErrTilePath) {
		t.Error(err)
	}
	if _, err := f.Entry(5, 5); !errors.Is(err, ErrIndex) {
		t.Error(err)
	}
	l := newTestLog()
	l.MapFS[CheckpointPath] = &fstest.MapFile{Data: []byte("a note")}
	if got, err := (Files{l.MapFS}).Checkpoint(); err != nil || string(got) != "a note" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTileNodesRefuse(t *testing.T) {
	l := newTestLog()
	l.grow(t, 300)
	short := func(Tile) ([]byte, error) { return make([]byte, 31), nil }
	for _, c := range []struct {
		name  string
		nodes *TileNodes
		level int
		index uint64
		want  error
	}{
		{"beyond the size", &TileNodes{Size: 300, Read: Files{l.MapFS}.Tile}, 0, 300, ErrMissingNode},
		{"an incomplete subtree", &TileNodes{Size: 300, Read: Files{l.MapFS}.Tile}, 8, 1, ErrMissingNode},
		{"level below 0", &TileNodes{Size: 300, Read: Files{l.MapFS}.Tile}, -1, 0, ErrMissingNode},
		{"level beyond 63", &TileNodes{Size: 300, Read: Files{l.MapFS}.Tile}, 64, 0, ErrMissingNode},
		{"size beyond the largest", &TileNodes{Size: 1 << 63, Read: short}, 0, 0, ErrMissingNode},
		{"a tile of another length", &TileNodes{Size: 300, Read: short}, 0, 0, ErrTile},
		{"no tile", &TileNodes{Size: 300, Read: Files{fstest.MapFS{}}.Tile}, 0, 0, fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := c.nodes.Node(c.level, c.index); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestLargestTiles: the tiles of the largest log there can be have paths.
func TestLargestTiles(t *testing.T) {
	for _, tile := range NewTiles(MaxSize-300, MaxSize) {
		if got, err := ParseTilePath(tile.Path()); err != nil || got != tile {
			t.Errorf("%v: %v", tile, err)
		}
	}
}

func FuzzTilePath(f *testing.F) {
	f.Add("tile/0/x001/x234/067.p/5")
	f.Add("tile/entries/000")
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := ParseTilePath(path)
		if err != nil {
			return
		}
		if tile.Path() != path {
			t.Errorf("%q becomes %q", path, tile.Path())
		}
		if tile.Level >= 0 && tile.Width < TileWidth {
			other, err := oracle.ParseTilePath(strings.Replace(path, "tile/", "tile/8/", 1))
			if err != nil || other.L != tile.Level || uint64(other.N) != tile.Index || other.W != tile.Width {
				t.Errorf("%q: others say %v, %v", path, other, err)
			}
		}
	})
}

func FuzzParseEntries(f *testing.F) {
	f.Add([]byte{0, 1, 7, 0, 0}, 2)
	f.Fuzz(func(t *testing.T, data []byte, width int) {
		entries, err := ParseEntries(data, width)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			if again, err = AppendEntry(again, e); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, data) || len(entries) != width {
			t.Errorf("%x becomes %x", data, again)
		}
	})
}

// ExampleTile_Path is the example of the specification.
func ExampleTile_Path() {
	fmt.Println(Tile{Level: 0, Index: 1234067, Width: 256}.Path())
	fmt.Println(Tile{Level: Entries, Index: 273, Width: 112}.Path())
	// Output:
	// tile/0/x001/x234/067
	// tile/entries/273.p/112
}
