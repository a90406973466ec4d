// Package keyside is the backup of what stands beside a store's database: the
// wrapped keys of records, the erasure list, the master key in its own lock, the
// signing keys, the head of the audit log.
//
// It is apart from the backup of the database on purpose. Backups of a database are
// kept for years, and none of them may bring an erased person back: they are sealed
// under keys of records that are in none of them. Of the key side only the newest
// copy is kept, and the ones before are destroyed, so that a key that was
// overwritten is gone.
//
//	keyside = tar (POSIX), closed by age:
//	  ampoule-keys.json   {"kind":"ampoule-keys","version":1,"made":"…"}
//	  records.keys        then
//	  erased.list         read after the keys: it names each that was overwritten meanwhile
//	  master.key          as the file is, in its own lock; left out where it is kept elsewhere
//	  audit.head          where there is one
//	  keys/NAME.key       the signing keys, as the files are
//	  devices/NAME.key    those of the devices: their authority, and what seals and signs for them
//	  end                 empty: a tar that is cut off between two files looks whole
package keyside

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/internal/store"
)

// ErrKeySide says that a file is no backup of a key side.
const ErrKeySide format.Defect = "not-a-key-backup"

const (
	kind    = "ampoule-keys"
	version = 1

	manifestName = "ampoule-keys.json"
	keysName     = "records.keys"
	erasedName   = "erased.list"
	masterName   = "master.key"
	auditName    = "audit.head"
	endName      = "end"

	maxFiles = 1000 // signing keys of decades

	signingFolder = "keys"
)

// folders are those that have key files: of Info.Signing, of Info.Devices.
var folders = []string{signingFolder, "devices"}

// Source is an open store, here or at a server.
type Source interface {
	Keys(context.Context, func(int64, io.Reader) error) error
	Erased(context.Context, func(int64, io.Reader) error) error
}

// Place says where the files of a key side are.
type Place struct {
	Dir    string // of the store
	Master string // file of the master key
}

type manifest struct {
	Kind    string    `json:"kind"`
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
}

// Info is what a backup of a key side has.
type Info struct {
	Made    time.Time `json:"made"`
	Keys    int64     `json:"keys"`   // of records, with those made ahead
	Erased  int64     `json:"erased"` // entries of the erasure list
	Master  bool      `json:"master"`
	Signing []string  `json:"signing"`           // names of the signing keys
	Devices []string  `json:"devices,omitempty"` // names of those of the devices
}

// Write writes a key side.
func Write(ctx context.Context, w io.Writer, p Place, s Source, now time.Time) error {
	out := tar.NewWriter(w)
	add := func(name string, size int64, r io.Reader) error {
		head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: now, Format: tar.FormatPAX}
		if err := out.WriteHeader(head); err != nil {
			return fmt.Errorf("keyside: %s: %w", name, err)
		}
		if n, err := io.Copy(out, r); err != nil || n != size {
			return fmt.Errorf("keyside: %s: %d of %d bytes: %w", name, n, size, errors.Join(err, io.ErrUnexpectedEOF))
		}
		return nil
	}
	head, err := json.Marshal(manifest{kind, version, now.UTC()})
	if err != nil {
		return err
	}
	if err := add(manifestName, int64(len(head)), strings.NewReader(string(head))); err != nil {
		return err
	}
	if err := s.Keys(ctx, func(size int64, r io.Reader) error { return add(keysName, size, r) }); err != nil {
		return err
	}
	if err := s.Erased(ctx, func(size int64, r io.Reader) error { return add(erasedName, size, r) }); err != nil {
		return err
	}
	files := [][2]string{{masterName, p.Master}, {auditName, filepath.Join(p.Dir, auditName)}}
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(p.Dir, folder, "*.key"))
		if err != nil {
			return err
		}
		for _, path := range paths {
			files = append(files, [2]string{folder + "/" + filepath.Base(path), path})
		}
	}
	for _, f := range files {
		data, err := os.ReadFile(f[1])
		if errors.Is(err, fs.ErrNotExist) {
			continue // a master key may be kept elsewhere
		}
		if err != nil {
			return fmt.Errorf("keyside: %w", err)
		}
		if len(data) > keys.MaxFile {
			return fmt.Errorf("keyside: %s: %w", f[1], format.TooLong)
		}
		if err := add(f[0], int64(len(data)), strings.NewReader(string(data))); err != nil {
			return err
		}
	}
	if err := add(endName, 0, strings.NewReader("")); err != nil {
		return err
	}
	return out.Close()
}

// Restore puts a key side where its files belong, whole or not at all. It replaces
// nothing: the master key alone may be there already, if it is the same.
func Restore(r io.Reader, p Place) (*Info, error) {
	info, made, err := unpack(r, p)
	if err != nil {
		for _, path := range made {
			err = errors.Join(err, os.Remove(path))
		}
		return nil, err
	}
	return info, nil
}

// Check reads a backup of a key side to its end, as Restore would.
func Check(r io.Reader) (*Info, error) {
	dir, err := os.MkdirTemp("", "ampoule-check-*")
	if err != nil {
		return nil, fmt.Errorf("keyside: %w", err)
	}
	defer os.RemoveAll(dir)
	info, _, err := unpack(r, Place{dir, filepath.Join(dir, masterName)})
	return info, err
}

// Remove takes away what Restore has made, after a restore that failed later.
func (i *Info) Remove(p Place) error {
	errs := []error{store.RemoveRestored(p.Dir)}
	paths := []string{filepath.Join(p.Dir, auditName)}
	if i.Master {
		paths = append(paths, p.Master)
	}
	for n, names := range [][]string{i.Signing, i.Devices} {
		for _, name := range names {
			paths = append(paths, filepath.Join(p.Dir, folders[n], name))
		}
	}
	for _, path := range paths {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func unpack(r io.Reader, p Place) (info *Info, made []string, err error) {
	in := tar.NewReader(r)
	next := func(want string) error {
		h, err := in.Next()
		if err == io.EOF || errors.Is(err, tar.ErrHeader) {
			return fmt.Errorf("keyside: %w", ErrKeySide)
		}
		if err != nil {
			return fmt.Errorf("keyside: %w", err)
		}
		if h.Typeflag != tar.TypeReg || h.Name != want {
			return fmt.Errorf("keyside: %q stands where %s should: %w", format.Visible(h.Name), want, ErrKeySide)
		}
		return nil
	}
	if err := next(manifestName); err != nil {
		return nil, nil, err
	}
	var m manifest
	head, err := small(in)
	if err != nil {
		return nil, nil, err
	}
	if json.Unmarshal(head, &m) != nil || m.Kind != kind || m.Version != version {
		return nil, nil, fmt.Errorf("keyside: it is none of version %d: %w", version, ErrKeySide)
	}
	info = &Info{Made: m.Made, Signing: []string{}}
	if err := next(keysName); err != nil {
		return nil, nil, err
	}
	info.Keys, info.Erased, err = store.RestoreKeys(p.Dir, in, func() (io.Reader, error) { return in, next(erasedName) })
	if err != nil {
		return nil, nil, err
	}
	made = []string{filepath.Join(p.Dir, keysName), filepath.Join(p.Dir, erasedName)}
	for files := 0; ; files++ {
		h, err := in.Next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // before its end
		}
		if err != nil {
			return nil, made, fmt.Errorf("keyside: %w: %w", err, ErrKeySide)
		}
		if h.Name == endName {
			break
		}
		data, err := small(in)
		if err != nil {
			return nil, made, err
		}
		path := ""
		folder, name, _ := strings.Cut(h.Name, "/")
		switch {
		case h.Typeflag != tar.TypeReg || files > maxFiles:
		case h.Name == masterName:
			path = p.Master
			if there, err := os.ReadFile(path); err == nil {
				if string(there) != string(data) {
					return nil, made, fmt.Errorf("keyside: %s is another master key than that of the backup: %w", path, store.ErrExists)
				}
				continue
			}
			info.Master = true
		case h.Name == auditName:
			path = filepath.Join(p.Dir, auditName)
		case slices.Contains(folders, folder) && isFileName(name):
			path = filepath.Join(p.Dir, folder, name)
			if folder == signingFolder {
				info.Signing = append(info.Signing, name)
			} else {
				info.Devices = append(info.Devices, name)
			}
		}
		if path == "" {
			return nil, made, fmt.Errorf("keyside: %q in it: %w", format.Visible(h.Name), ErrKeySide)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, made, fmt.Errorf("keyside: %w", err)
		}
		err = keep.Create(path, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		if err != nil {
			return nil, made, fmt.Errorf("keyside: %w", err)
		}
		made = append(made, path)
	}
	// What closes the file has not said yet that this was all of it.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, made, err
	}
	slices.Sort(info.Signing)
	return info, made, nil
}

// small reads a file that is no larger than one of a key.
func small(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, keys.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("keyside: %w", err)
	}
	if len(data) > keys.MaxFile {
		return nil, fmt.Errorf("keyside: %w", format.TooLong)
	}
	return data, nil
}

// isFileName tells the name of a key's file from a way out of its folder.
func isFileName(s string) bool {
	return strings.HasSuffix(s, ".key") && !strings.HasPrefix(s, ".") &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}
