package tlog

import (
	"bytes"
	"fmt"
)

// Edge is a log at its growing end: the compact range, and of each level the tile
// that is not full. Leaves are appended, then Tiles tells what to write.
type Edge struct {
	Range
	partial [tileLevels][]Hash
	changed [tileLevels]bool
	full    []TileData
}

// TileData is a tile with its bytes.
type TileData struct {
	Tile Tile
	Data []byte
}

// OpenEdge finds the end of a log of size leaves in its tiles. Whether they are
// those of the log shows when its Root is compared with the checkpoint's.
func OpenEdge(size uint64, read func(Tile) ([]byte, error)) (*Edge, error) {
	if size > MaxSize {
		return nil, fmt.Errorf("log of %d leaves: %w", size, ErrSize)
	}
	e := new(Edge)
	nodes := &TileNodes{Size: size, Read: read}
	e.size = size
	for level := maxPath; level >= 0; level-- {
		if size>>level&1 == 0 {
			continue
		}
		// The subtree of this bit stands after those of the higher ones.
		node, err := nodes.Node(level, size>>level-1)
		if err != nil {
			return nil, err
		}
		e.hashes = append(e.hashes, node)
	}
	for level := range e.partial {
		index := size >> (tileHeight * level) / TileWidth
		width := widthAt(level, index, size)
		if width == 0 {
			continue
		}
		hashes, err := nodes.tile(Tile{level, index, width})
		if err != nil {
			return nil, err
		}
		e.partial[level] = append(make([]Hash, 0, TileWidth), hashes...)
	}
	return e, nil
}

// Append adds a leaf by its hash.
func (e *Edge) Append(leaf Hash) error {
	if err := e.Range.Append(leaf); err != nil {
		return err
	}
	for level := range e.partial {
		tile := append(e.partial[level], leaf)
		e.partial[level], e.changed[level] = tile, true
		if len(tile) < TileWidth {
			break
		}
		index := e.size>>(tileHeight*level)/TileWidth - 1
		e.full = append(e.full, TileData{Tile{level, index, TileWidth}, joinHashes(tile)})
		e.partial[level], e.changed[level] = tile[:0], false
		leaf = NewTree(tile).Root()
	}
	return nil
}

// Tiles returns the tiles that have changed since it was last called: full ones in
// the order in which they became full, then partial ones. It is NewTiles with the
// bytes, without the bundles of entries.
func (e *Edge) Tiles() []TileData {
	tiles := e.full
	e.full = nil
	for level, hashes := range e.partial {
		if e.changed[level] {
			index := e.size >> (tileHeight * level) / TileWidth
			tiles = append(tiles, TileData{Tile{level, index, len(hashes)}, joinHashes(hashes)})
			e.changed[level] = false
		}
	}
	return tiles
}

func joinHashes(hashes []Hash) []byte {
	data := make([]byte, 0, HashSize*len(hashes))
	for i := range hashes {
		data = append(data, hashes[i][:]...)
	}
	return data
}

// Audit reads a log of size leaves whole: every entry must be in the tiles as they
// lie there, every tile be what the entries make it, and all of them have the
// root.
func Audit(size uint64, root Hash, read func(Tile) ([]byte, error)) error {
	if size > MaxSize {
		return fmt.Errorf("log of %d leaves: %w", size, ErrSize)
	}
	var e Edge
	compare := func(tiles []TileData) error {
		for _, want := range tiles {
			got, err := read(want.Tile)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want.Data) {
				return fmt.Errorf("%s: %w", want.Tile.Path(), ErrTile)
			}
		}
		return nil
	}
	for index := uint64(0); index*TileWidth < size; index++ {
		t := Tile{Entries, index, widthAt(Entries, index, size)}
		data, err := read(t)
		if err != nil {
			return err
		}
		entries, err := ParseEntries(data, t.Width)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Path(), err)
		}
		for _, entry := range entries {
			if err := e.Append(LeafHash(entry)); err != nil {
				return err
			}
		}
		full := e.full
		e.full = nil
		if err := compare(full); err != nil {
			return err
		}
	}
	if err := compare(e.Tiles()); err != nil {
		return err
	}
	if e.Root() != root {
		return fmt.Errorf("log of %d leaves: %w", size, ErrRoot)
	}
	return nil
}
