package tlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"ampoule/format"
)

// The kinds of defect of tiles and entry bundles.
const (
	ErrTilePath    = format.Defect("bad-tile-path")
	ErrTile        = format.Defect("bad-tile")
	ErrEntryBundle = format.Defect("bad-entry-bundle")
	ErrEntrySize   = format.Defect("entry-too-large")
	ErrFileSize    = format.Defect("file-too-large")
)

const (
	// TileWidth is how many hashes a full tile has, and entries a full bundle.
	TileWidth = 256
	// MaxEntry is the longest entry: its length stands in sixteen bits.
	MaxEntry = 1<<16 - 1

	tileHeight = 8
	tileLevels = 8 // 256^8 leaves are more than MaxSize
	maxBundle  = TileWidth * (2 + MaxEntry)
)

// Entries is the level of the tiles that hold entries in place of hashes.
const Entries = -1

// CheckpointPath is where the newest checkpoint of a log lies.
const CheckpointPath = "checkpoint"

// Tile names a tile: the hashes of level over the leaves from Index *
// 256^(level+1), Width of them from the left. Those of level 0 are leaf hashes,
// those above the roots of full tiles below.
type Tile struct {
	Level int // 0 to 7, or Entries
	Index uint64
	Width int // 1 to 256; less than 256: partial
}

// height is by how many bits an index of the tile's hashes is shorter than the
// index of a leaf.
func (t Tile) height() int { return tileHeight * max(t.Level, 0) }

func (t Tile) check() error {
	h := t.height()
	if t.Level < Entries || t.Level >= tileLevels || t.Width < 1 || t.Width > TileWidth ||
		t.Index > MaxSize>>h/TileWidth || t.Index*TileWidth+uint64(t.Width) > MaxSize>>h {
		return fmt.Errorf("tile %d of level %d, width %d: %w", t.Index, t.Level, t.Width, ErrTilePath)
	}
	return nil
}

// Path is where the tile lies: tile/<L>/<N>[.p/<W>], the entries of level 0 at
// tile/entries/<N>[.p/<W>]. N stands in groups of three digits, all but the last
// after an x: 1234067 is x001/x234/067.
func (t Tile) Path() string {
	level := "entries"
	if t.Level >= 0 {
		level = strconv.Itoa(t.Level)
	}
	n := fmt.Sprintf("%03d", t.Index%1000)
	for rest := t.Index / 1000; rest > 0; rest /= 1000 {
		n = fmt.Sprintf("x%03d/%s", rest%1000, n)
	}
	path := "tile/" + level + "/" + n
	if t.Width < TileWidth {
		path += ".p/" + strconv.Itoa(t.Width)
	}
	return path
}

// ParseTilePath reads a path. Only the one form that Path writes is taken.
func ParseTilePath(path string) (Tile, error) {
	bad := func() (Tile, error) {
		if len(path) > 64 {
			path = path[:64]
		}
		return Tile{}, fmt.Errorf("path %q: %w", path, ErrTilePath)
	}
	rest, ok := strings.CutPrefix(path, "tile/")
	level, n, cut := strings.Cut(rest, "/")
	if !ok || !cut || len(path) > 64 {
		return bad()
	}
	t := Tile{Level: Entries, Width: TileWidth}
	var err error
	if level != "entries" {
		if t.Level, err = strconv.Atoi(level); err != nil || t.Level < 0 {
			return bad()
		}
	}
	if name, width, partial := strings.Cut(n, ".p/"); partial {
		n = name
		if t.Width, err = strconv.Atoi(width); err != nil || t.Width >= TileWidth {
			return bad()
		}
	}
	if t.Index, err = strconv.ParseUint(strings.NewReplacer("x", "", "/", "").Replace(n), 10, 64); err != nil {
		return bad()
	}
	if t.check() != nil || t.Path() != path {
		return bad()
	}
	return t, nil
}

// widthAt is how many hashes the tile has in a tree of size leaves.
func widthAt(level int, index, size uint64) int {
	hashes := size >> Tile{Level: level}.height()
	if hashes/TileWidth > index {
		return TileWidth
	}
	if hashes/TileWidth < index {
		return 0
	}
	return int(hashes % TileWidth)
}

// NewTiles lists the tiles of hashes, and with level Entries first the bundles,
// that a log of size leaves has and that it had not, or not as wide, with old
// leaves.
func NewTiles(old, size uint64) []Tile {
	var tiles []Tile
	for level := Entries; level < tileLevels; level++ {
		h := Tile{Level: level}.height()
		for index := old >> h / TileWidth; index<<h*TileWidth < size; index++ {
			if w := widthAt(level, index, size); w > 0 && w != widthAt(level, index, old) {
				tiles = append(tiles, Tile{level, index, w})
			}
			if index == MaxSize>>h/TileWidth {
				break
			}
		}
	}
	return tiles
}

// ParseTile reads the hashes of a tile of a width.
func ParseTile(data []byte, width int) ([]Hash, error) {
	if width < 1 || width > TileWidth || len(data) != width*HashSize {
		return nil, fmt.Errorf("tile of %d bytes for %d hashes: %w", len(data), width, ErrTile)
	}
	return splitHashes(data), nil
}

// AppendEntry appends an entry to a bundle: its length in two bytes, most
// significant first, and itself.
func AppendEntry(dst, entry []byte) ([]byte, error) {
	if len(entry) > MaxEntry {
		return dst, fmt.Errorf("entry of %d bytes: %w", len(entry), ErrEntrySize)
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(entry))), entry...), nil
}

// ParseEntries reads the entries of a bundle of a width. They share the memory of
// data.
func ParseEntries(data []byte, width int) ([][]byte, error) {
	if width < 1 || width > TileWidth {
		return nil, fmt.Errorf("bundle of %d entries: %w", width, ErrEntryBundle)
	}
	entries := make([][]byte, 0, width)
	for len(data) > 0 && len(entries) < width {
		if len(data) < 2 {
			break
		}
		n := 2 + int(binary.BigEndian.Uint16(data))
		if len(data) < n {
			break
		}
		entries = append(entries, data[2:n:n])
		data = data[n:]
	}
	if len(entries) != width || len(data) != 0 {
		return nil, fmt.Errorf("bundle of %d entries: %d whole ones and %d bytes more: %w", width, len(entries), len(data), ErrEntryBundle)
	}
	return entries, nil
}

// TileNodes finds the nodes of a tree of Size leaves in its tiles, each of which
// it asks for once. It believes what it reads: a proof that is made of it says
// nothing before it is verified.
type TileNodes struct {
	Size uint64
	Read func(Tile) ([]byte, error)

	tiles map[Tile][]Hash
}

// Node is the root of a complete subtree.
func (n *TileNodes) Node(level int, index uint64) (Hash, error) {
	missing := func() (Hash, error) {
		return Hash{}, fmt.Errorf("node %d of level %d, of %d leaves: %w", index, level, n.Size, ErrMissingNode)
	}
	if level < 0 || level > maxPath || n.Size > MaxSize || index >= n.Size>>level {
		return missing()
	}
	inside := level % tileHeight
	first := index << inside // of the tile's hashes
	t := Tile{Level: level / tileHeight, Index: first / TileWidth}
	t.Width = widthAt(t.Level, t.Index, n.Size)
	offset := int(first % TileWidth)
	if offset+1<<inside > t.Width {
		return missing()
	}
	hashes, err := n.tile(t)
	if err != nil {
		return Hash{}, err
	}
	row := append([]Hash(nil), hashes[offset:offset+1<<inside]...)
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = NodeHash(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0], nil
}

func (n *TileNodes) tile(t Tile) ([]Hash, error) {
	if hashes, ok := n.tiles[t]; ok {
		return hashes, nil
	}
	data, err := n.Read(t)
	if err != nil {
		return nil, err
	}
	hashes, err := ParseTile(data, t.Width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Path(), err)
	}
	if n.tiles == nil {
		n.tiles = map[Tile][]Hash{}
	}
	n.tiles[t] = hashes
	return hashes, nil
}

// Files reads a log from its files, at most as many bytes of each as it may have.
type Files struct{ FS fs.FS }

// Checkpoint reads the newest checkpoint. It is not verified.
func (f Files) Checkpoint() ([]byte, error) { return f.read(CheckpointPath, MaxNote) }

// Tile reads a tile of hashes or a bundle of entries. A partial one may be gone
// once there is the full one, which is then cut.
func (f Files) Tile(t Tile) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	limit := func(width int) int {
		if t.Level == Entries {
			return maxBundle
		}
		return width * HashSize
	}
	data, err := f.read(t.Path(), limit(t.Width))
	if t.Width == TileWidth || !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	full := Tile{t.Level, t.Index, TileWidth}
	whole, errFull := f.read(full.Path(), limit(TileWidth))
	if errFull != nil {
		return nil, err
	}
	if t.Level != Entries {
		if len(whole) != TileWidth*HashSize {
			return nil, fmt.Errorf("%s: %d bytes: %w", full.Path(), len(whole), ErrTile)
		}
		return whole[:t.Width*HashSize], nil
	}
	entries, err := ParseEntries(whole, TileWidth)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", full.Path(), err)
	}
	n := 0
	for _, e := range entries[:t.Width] {
		n += 2 + len(e)
	}
	return whole[:n], nil
}

// Entry reads one entry of a log of size leaves. It is not verified.
func (f Files) Entry(index, size uint64) ([]byte, error) {
	if err := checkIndex(index, size); err != nil {
		return nil, err
	}
	t := Tile{Entries, index / TileWidth, widthAt(Entries, index/TileWidth, size)}
	data, err := f.Tile(t)
	if err != nil {
		return nil, err
	}
	entries, err := ParseEntries(data, t.Width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Path(), err)
	}
	return entries[index%TileWidth], nil
}

func (f Files) read(path string, limit int) ([]byte, error) {
	file, err := f.FS.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", path, limit, ErrFileSize)
	}
	return data, nil
}
