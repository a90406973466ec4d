//go:build unix && !aix && !solaris && !illumos

package keep

import (
	"os"
	"path/filepath"
	"syscall"
)

// Lock keeps other processes that lock a file of the same folder waiting, until
// unlock is called or this process ends. Who decides by what is kept and then
// replaces it needs it: two that decide at once could each be right, and leave
// the older.
func Lock(path string) (unlock func() error, err error) {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d.Close, nil
}

// Own makes an open file this process's own until release is called or the
// process ends. It fails at once where another process has it.
func Own(f *os.File) (release func() error, err error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, err
	}
	return func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }, nil
}
