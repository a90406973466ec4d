// Package tiles keeps a log on disk, as files that a web server can give away: the
// tiles and bundles of entries of C2SP tlog-tiles.
//
// A file is written under another name, synced and renamed, and its folder is
// synced: what Append has returned from is on the disk. A file never changes. After
// a crash the same entries are appended again, and make the same bytes; other bytes
// in a file's place are a log with two histories, which is refused.
//
// A partial tile stands until there is the full one, as the specification has it,
// so that whoever has an older checkpoint finds its tiles.
package tiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"ampoule/format"
	"ampoule/internal/keep"
	"ampoule/ledger/tlog"
)

// ErrForked is a file that has other bytes than the log at its place.
const ErrForked = format.Defect("log-forked")

// Log is a log on disk, at its growing end. One goroutine appends; the files may be
// read at any time.
type Log struct {
	dir     string
	edge    *tlog.Edge
	entries []byte // of the last bundle, if it is partial
}

// Open opens a log of size leaves in a folder, which it makes. What lies there
// beyond that size was written before a crash, and is written again.
func Open(dir string, size uint64) (*Log, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	l := &Log{dir: dir}
	files := tlog.Files{FS: l.FS()}
	var err error
	if l.edge, err = tlog.OpenEdge(size, files.Tile); err != nil {
		return nil, fmt.Errorf("log in %s: %w", dir, err)
	}
	if width := int(size % tlog.TileWidth); width > 0 {
		if l.entries, err = files.Tile(tlog.Tile{Level: tlog.Entries, Index: size / tlog.TileWidth, Width: width}); err != nil {
			return nil, fmt.Errorf("log in %s: %w", dir, err)
		}
		if _, err := tlog.ParseEntries(l.entries, width); err != nil {
			return nil, fmt.Errorf("log in %s: %w", dir, err)
		}
	}
	return l, nil
}

// FS are the files.
func (l *Log) FS() fs.FS { return os.DirFS(l.dir) }

// Size is how many leaves the log has.
func (l *Log) Size() uint64 { return l.edge.Size() }

// Root is the root of its tree.
func (l *Log) Root() tlog.Hash { return l.edge.Root() }

// Append appends entries. After an error the log is to be opened again.
func (l *Log) Append(entries [][]byte) error {
	if len(entries) == 0 {
		return nil
	}
	// Step 1: the bundles and tiles.
	var files []tlog.TileData
	bundle := func(width int) {
		size := l.edge.Size()
		files = append(files, tlog.TileData{Tile: tlog.Tile{Level: tlog.Entries, Index: (size - 1) / tlog.TileWidth, Width: width}, Data: l.entries})
	}
	for _, entry := range entries {
		var err error
		if l.entries, err = tlog.AppendEntry(l.entries, entry); err != nil {
			return fmt.Errorf("log: entry %d: %w", l.edge.Size(), err)
		}
		if err := l.edge.Append(tlog.LeafHash(entry)); err != nil {
			return fmt.Errorf("log: %w", err)
		}
		if l.edge.Size()%tlog.TileWidth == 0 {
			bundle(tlog.TileWidth)
			l.entries = nil
		}
	}
	if width := int(l.edge.Size() % tlog.TileWidth); width > 0 {
		bundle(width)
	}
	files = append(files, l.edge.Tiles()...)

	// Step 2: onto the disk. Files that are synced at once cost little more than one.
	changed := make([][]string, len(files))
	err := atOnce(len(files), func(i int) (err error) {
		changed[i], err = l.write(files[i])
		return err
	})
	if err == nil {
		folders := slices.Concat(changed...)
		slices.Sort(folders)
		folders = slices.Compact(folders)
		err = atOnce(len(folders), func(i int) error { return keep.SyncDir(folders[i]) })
	}
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}

	// Step 3: the partial tiles that nobody needs any more.
	for _, f := range files {
		if f.Tile.Width == tlog.TileWidth {
			if err := os.RemoveAll(filepath.Join(l.dir, f.Tile.Path()) + ".p"); err != nil {
				return fmt.Errorf("log: %w", err)
			}
		}
	}
	return nil
}

// atOnce does f for 0 to n-1, a few at the same time.
func atOnce(n int, f func(int) error) error {
	const most = 8
	errs := make([]error, n)
	var wait sync.WaitGroup
	places := make(chan struct{}, most)
	for i := range n {
		places <- struct{}{}
		wait.Go(func() {
			errs[i] = f(i)
			<-places
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// write writes one file, unless it is there. It returns the folders that have
// changed.
func (l *Log) write(f tlog.TileData) (folders []string, err error) {
	path := filepath.Join(l.dir, filepath.FromSlash(f.Tile.Path()))
	folder := filepath.Dir(path)
	folders = append(folders, folder)
	switch old, err := os.ReadFile(path); {
	case err == nil && bytes.Equal(old, f.Data):
		return folders, nil
	case err == nil:
		return nil, fmt.Errorf("%s has other bytes than the log: %w", path, ErrForked)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	for made := folder; len(made) > len(l.dir); made = filepath.Dir(made) {
		if _, err := os.Lstat(made); err == nil {
			break
		}
		folders = append(folders, filepath.Dir(made))
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	return folders, writeFile(path, f.Data)
}

// writeFile makes a file whole or not at all. Its folder is still to be synced.
func writeFile(path string, data []byte) error {
	temporary := path + ".tmp"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// Check reads a log whole: every entry must be under every tile above it, up to the
// root, which is that of a state or of a cosigned checkpoint.
func Check(files fs.FS, size uint64, root tlog.Hash) error {
	if err := tlog.Audit(size, root, tlog.Files{FS: files}.Tile); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}
