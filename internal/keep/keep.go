// Package keep replaces files that are kept: after a crash there is the old one
// or the new one, whole, and never a mixture or none.
package keep

import (
	"errors"
	"fmt"
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
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be opened for this there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	// Without this the file can be on the disk and its name not.
	return errors.Join(d.Sync(), d.Close())
}
