package keep

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNotLink refuses to replace a folder that this package has not made.
var ErrNotLink = errors.New("a folder stands there that is not replaced: take it away once")

// ReplaceTree puts a tree of files, by their slashed paths, in the place of the
// one of that name. Whoever reads sees the old tree or the new one and never a
// mixture: the name is a link to a folder beside it, and the link is what is
// replaced. The folder before it is kept for those who are reading, older ones
// are removed.
func ReplaceTree(path string, files map[string][]byte) error {
	parent, name := filepath.Dir(path), filepath.Base(path)
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("%s: %w", path, ErrNotLink)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before, _ := os.Readlink(path)
	prefix := "." + name + "-"
	dir, err := os.MkdirTemp(parent, prefix+"*")
	if err != nil {
		return err
	}
	if err := writeTree(dir, files); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	link := dir + ".link"
	if err := os.Symlink(filepath.Base(dir), link); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.Rename(link, path); err != nil {
		return errors.Join(err, os.Remove(link), os.RemoveAll(dir))
	}
	if err := SyncDir(parent); err != nil {
		return err
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, prefix) && n != filepath.Base(dir) && n != filepath.Base(before) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(parent, n)))
		}
	}
	return err
}

// writeTree writes the files and makes them durable, each folder after what is in
// it.
func writeTree(dir string, files map[string][]byte) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	folders := map[string]bool{dir: true}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("%s: a path that leads out", name)
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		for folder := filepath.Dir(path); folder != dir; folder = filepath.Dir(folder) {
			folders[folder] = true
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(files[name])
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		if err := SyncDir(folder); err != nil {
			return err
		}
	}
	return nil
}
