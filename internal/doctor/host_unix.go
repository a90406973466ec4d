//go:build linux || darwin

package doctor

import "syscall"

// DiskFree returns how many bytes a user may still write to the disk of a folder,
// and how many it has.
func DiskFree(dir string) (free, total uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

// fileLimit is how many files this process may have open. Go has raised it to what
// the system allows, as it will for the server.
func fileLimit() (uint64, error) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return l.Cur, err
}
