// Package keep makes and replaces files that are kept: after a crash there is the
// old one or the new one, whole, and never a mixture or none.
package keep

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// tempPrefix starts the names of files that are not finished yet. One that is
// found was left by a crash, and can be deleted while nothing is being replaced.
const tempPrefix = ".ampoule-new-"

// Replace writes a file in the place of the one of that name, if there is one.
// When it returns nil the new one is on the disk.
func Replace(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(perm), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return SyncDir(dir)
}

// Create makes a new file of what write gives it, readable by its owner only. It
// refuses a name that is taken; after an error there is no file of that name.
// When it returns nil the file is on the disk.
func Create(path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	// Told early; the answer that counts comes last.
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	f, err := os.CreateTemp(dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	err = write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// A link, not a rename: that would replace what has come there meanwhile.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	if err := SyncDir(dir); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// SyncDir makes a new name durable: without it the file can be on the disk and its
// name not.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be opened for this there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
