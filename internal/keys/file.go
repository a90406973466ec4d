package keys

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

const (
	// MaxFile is the largest key file that Load reads, in bytes. An RSA key of
	// 4096 bits with a chain of three certificates takes about 10 KiB.
	MaxFile = 64 << 10

	// workFactor is the cost of trying one passphrase: scrypt with N = 2^18,
	// which takes about a second and 256 MiB. Load refuses files that ask for
	// more, because a forged one could ask for days.
	workFactor = 18

	// filePerm lets only the owner read and write.
	filePerm fs.FileMode = 0o600
)

// Lock is what closes and opens key files. Its zero value opens nothing.
type Lock struct {
	recipients []age.Recipient
	identities []age.Identity
	armored    bool
	plain      bool
}

// Passphrase returns the lock of a passphrase. It returns ErrEmptySecret for an
// empty one. The caller may clear secret afterwards; the lock keeps a copy for
// as long as it lives, which Go cannot clear.
func Passphrase(secret []byte) (Lock, error) { return passphrase(secret, workFactor) }

func passphrase(secret []byte, factor int) (Lock, error) {
	if len(secret) == 0 {
		return Lock{}, fmt.Errorf("keys: %w", ErrEmptySecret)
	}
	recipient, err := age.NewScryptRecipient(string(secret))
	if err != nil {
		return Lock{}, fmt.Errorf("keys: passphrase: %v: %w", err, ErrEmptySecret)
	}
	recipient.SetWorkFactor(factor)
	identity, err := age.NewScryptIdentity(string(secret))
	if err != nil {
		return Lock{}, fmt.Errorf("keys: passphrase: %v: %w", err, ErrEmptySecret)
	}
	identity.SetMaxWorkFactor(workFactor)
	return Lock{recipients: []age.Recipient{recipient}, identities: []age.Identity{identity}}, nil
}

// Identities returns the lock of an age identity file: lines of
// AGE-SECRET-KEY-..., comments after #. It closes files for all the identities
// in it and opens files closed for any.
func Identities(file []byte) (Lock, error) {
	identities, err := age.ParseIdentities(bytes.NewReader(file))
	if err != nil {
		// The text of err can repeat a line of the file, which is secret.
		return Lock{}, fmt.Errorf("keys: identity file: %w", ErrDamaged)
	}
	lock := Lock{identities: identities}
	for _, i := range identities {
		switch i := i.(type) {
		case *age.X25519Identity:
			lock.recipients = append(lock.recipients, i.Recipient())
		case *age.HybridIdentity:
			lock.recipients = append(lock.recipients, i.Recipient())
		}
	}
	return lock, nil
}

// Recipients returns a lock that closes files for age recipients (age1...), one
// a line, and opens none: for writing a key that only another machine can read.
func Recipients(file []byte) (Lock, error) {
	recipients, err := age.ParseRecipients(bytes.NewReader(file))
	if err != nil {
		return Lock{}, fmt.Errorf("keys: recipients: %v: %w", err, ErrDamaged)
	}
	return Lock{recipients: recipients}, nil
}

// Unencrypted returns the lock that is none: it opens and writes key files in
// the clear. Whoever reads such a file, or a backup of it, can sign.
func Unencrypted() Lock { return Lock{plain: true} }

// Armored returns the lock writing text instead of bytes. Load knows either.
func (l Lock) Armored() Lock {
	l.armored = true
	return l
}

// Load reads a key file, or opens the key on hardware that one names: see [Token].
// The error wraps ErrPermissions, ErrTooLarge,
// ErrNotEncrypted, ErrEncrypted, ErrWrongSecret, ErrDamaged, ErrKeyType or
// ErrMismatch, or is that of the file system.
func Load(path string, lock Lock) (*Key, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var k *Key
	if readsAsToken(data) {
		k, err = openTokenFile(data)
	} else {
		k, err = open(data, lock)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w%s", path, err, hint(path, err))
	}
	return k, nil
}

// loadPlain opens a file whose plain text parse reads, and wipes that afterwards.
func loadPlain[K any](path string, lock Lock, parse func([]byte) (*K, error)) (*K, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	plain, err := decrypt(data, lock)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w%s", path, err, hint(path, err))
	}
	defer clear(plain)
	k, err := parse(plain)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", path, err)
	}
	return k, nil
}

// hint says what an operator can do about an error.
func hint(path string, err error) string {
	switch {
	case errors.Is(err, ErrNotEncrypted):
		return fmt.Sprintf("; encrypt it (age -p -o %s.age %s) or allow unencrypted key files explicitly", path, path)
	case errors.Is(err, ErrEncrypted):
		return "; give its passphrase or identity file"
	case errors.Is(err, ErrWrongSecret):
		return "; check that passphrase or identity file belong to this key file"
	}
	return ""
}

// readFile reads a file within the limits, refusing one that others can read.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer f.Close()
	// Of the open file, not of the path: that could be another one by now.
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("keys: %s is not a regular file: %w", path, ErrDamaged)
	}
	// Windows has no such permissions; Go makes some up.
	if wide := info.Mode().Perm() &^ filePerm; wide != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("keys: %s has mode %#o: %w; run: chmod 600 %s", path, info.Mode().Perm(), ErrPermissions, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("keys: %s is over %d bytes: %w", path, MaxFile, ErrTooLarge)
	}
	return data, nil
}

// ageMagic starts every binary age file (age-encryption.org/v1, "Header").
const ageMagic = "age-encryption.org/"

// open decrypts and parses the content of a key file.
func open(data []byte, lock Lock) (*Key, error) {
	plain, err := decrypt(data, lock)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return parse(plain)
}

// decrypt returns the content of a key file, which the caller clears after use.
func decrypt(data []byte, lock Lock) ([]byte, error) {
	armored := bytes.HasPrefix(data, []byte(armor.Header))
	if !armored && !bytes.HasPrefix(data, []byte(ageMagic)) {
		if !bytes.HasPrefix(data, []byte("-----BEGIN ")) {
			return nil, ErrDamaged
		}
		if !lock.plain {
			return nil, ErrNotEncrypted
		}
		return data, nil
	}
	if len(lock.identities) == 0 {
		return nil, ErrEncrypted
	}
	reader := bufio.NewReader(bytes.NewReader(data))
	var source io.Reader = reader
	if armored {
		source = armor.NewReader(reader)
	}
	decrypted, err := age.Decrypt(source, lock.identities...)
	if err != nil {
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return nil, ErrWrongSecret
		}
		return nil, fmt.Errorf("%v: %w", err, ErrDamaged)
	}
	// Encryption adds to the size, so this never cuts anything off.
	plain := make([]byte, len(data))
	n, err := io.ReadFull(decrypted, plain)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(plain)
		return nil, fmt.Errorf("%v: %w", err, ErrDamaged)
	}
	// ReadFull answers io.ErrUnexpectedEOF for a short file and passes the same
	// error on from a file that was cut off, so the end is asked for once more:
	// only whole files end in a clean io.EOF.
	if _, err := decrypted.Read(make([]byte, 1)); err != io.EOF {
		clear(plain)
		return nil, fmt.Errorf("cut off: %w", ErrDamaged)
	}
	return plain[:n], nil
}

// Save writes a key to a new file. When it returns nil the file is on the disk,
// whole; when it fails, or the machine stops, there is no file of that name, at
// most a temporary one with the same content (see Leftovers). The one exception
// is a temporary file that cannot be removed, which the error tells. The error
// wraps ErrExists, ErrEmptySecret, ErrKeyType, ErrMismatch or ErrNotExportable,
// or is that of the file system.
func Save(path string, k *Key, lock Lock) error {
	return save(path, func() ([]byte, error) { return marshal(k) }, lock)
}

// save writes what marshal returns, and clears it.
func save(path string, marshal func() ([]byte, error), lock Lock) error {
	if len(lock.recipients) == 0 && !lock.plain {
		return fmt.Errorf("keys: %s: %w", path, ErrEmptySecret)
	}
	// Told early, before a second of scrypt; the answer that counts comes last.
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("keys: %s: %w; choose another name, or move it away", path, ErrExists)
	}
	plain, err := marshal()
	if err != nil {
		return fmt.Errorf("keys: %s: %w", path, err)
	}
	defer clear(plain)
	data, err := seal(plain, lock)
	if err != nil {
		return fmt.Errorf("keys: %s: %w", path, err)
	}
	return writeFile(path, data)
}

// seal encrypts the content of a key file.
func seal(plain []byte, lock Lock) ([]byte, error) {
	if lock.plain {
		return bytes.Clone(plain), nil
	}
	var out bytes.Buffer
	var sink io.WriteCloser = nopCloser{&out}
	if lock.armored {
		sink = armor.NewWriter(&out)
	}
	w, err := age.Encrypt(sink, lock.recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	if err := errors.Join(w.Close(), sink.Close()); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return out.Bytes(), nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// tempPrefix starts the names of files that are not finished yet.
const tempPrefix = ".ampoule-key-"

// writeFile makes a new file, durable when it returns nil.
func writeFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer func() {
		if e := os.Remove(f.Name()); e != nil && err == nil {
			err = fmt.Errorf("keys: %s is written, but: %w", path, e)
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(filePerm), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("keys: %s: %w", path, err)
	}
	// A link, not a rename: rename replaces what is there, and a key lost that
	// way is lost for good.
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("keys: %s: %w; choose another name, or move it away", path, ErrExists)
		}
		return fmt.Errorf("keys: %w", err)
	}
	if err := syncDir(dir); err != nil {
		// Not durable, so not there: the caller is told that it failed.
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// syncDir makes the new name durable. Without it the file can be on the disk
// and its name not.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be opened for this there
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("keys: %s: %w", dir, err)
	}
	return nil
}

// Leftovers returns the unfinished files in a folder, which a Save that was
// killed left behind. They can be deleted while nothing is being saved there.
func Leftovers(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	var found []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found, nil
}
