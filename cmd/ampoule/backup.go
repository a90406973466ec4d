package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/internal/config"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/internal/keyside"
	"ampoule/internal/store"
)

type backupCmd struct {
	Database backupDatabaseCmd `cmd:"" default:"withargs" help:"Back up the database; also while a server runs. 'ampoule backup OUT' is short for it."`
	Keys     backupKeysCmd     `cmd:"" help:"Back up what stands beside the database: keys of records, erasures, master key, signing keys. Keep only the newest."`
	Check    backupCheckCmd    `cmd:"" help:"Read a backup to its end, and restore nothing."`
	Identity backupIdentityCmd `cmd:"" help:"Make the identity that opens backups, and print the recipient that they are encrypted to."`
}

// closeFlags say for whom a backup is encrypted.
type closeFlags struct {
	To             []string `placeholder:"age1…" help:"Recipient of the backup. May be repeated."`
	ToFile         []string `placeholder:"F" help:"File of recipients, one a line."`
	PassphraseFile string   `placeholder:"F" help:"File whose first line is a passphrase for the backup, instead of recipients."`
}

func (f *closeFlags) lock() (keys.Lock, error) {
	if f.PassphraseFile != "" {
		if len(f.To)+len(f.ToFile) > 0 {
			return keys.Lock{}, usageError("a passphrase and recipients do not go together")
		}
		return passphraseOf("--passphrase-file", f.PassphraseFile)
	}
	lines := strings.Join(f.To, "\n")
	for _, name := range f.ToFile {
		data, err := readInput(name, nil)
		if err != nil {
			return keys.Lock{}, usageError("--to-file: %w", err)
		}
		lines += "\n" + string(data)
	}
	if strings.TrimSpace(lines) == "" {
		return keys.Lock{}, usageError("a backup is always encrypted: give --to, --to-file or --passphrase-file; 'ampoule backup identity FILE' makes a pair")
	}
	lock, err := keys.Recipients([]byte(lines))
	if err != nil {
		return keys.Lock{}, usageError("--to: %w", err)
	}
	return lock, nil
}

// openFlags say what opens a backup.
type openFlags struct {
	Identity       string `placeholder:"F" help:"age identity file that opens the backup."`
	PassphraseFile string `placeholder:"F" help:"File whose first line is the passphrase of the backup."`
}

func (f *openFlags) lock() (keys.Lock, error) {
	switch {
	case f.Identity != "" && f.PassphraseFile != "":
		return keys.Lock{}, usageError("give an identity or a passphrase")
	case f.PassphraseFile != "":
		return passphraseOf("--passphrase-file", f.PassphraseFile)
	case f.Identity == "":
		return keys.Lock{}, usageError("backups are encrypted: give --identity or --passphrase-file")
	}
	data, err := readInput(f.Identity, nil)
	if err != nil {
		return keys.Lock{}, usageError("--identity: %w", err)
	}
	lock, err := keys.Identities(data)
	if err != nil {
		return keys.Lock{}, usageError("--identity %s: %w", f.Identity, err)
	}
	return lock, nil
}

// passphraseOf is the lock of the first line of a file.
func passphraseOf(flag, path string) (keys.Lock, error) {
	data, err := readInput(path, nil)
	if err != nil {
		return keys.Lock{}, usageError("%s: %w", flag, err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return passphrase(bytes.TrimRight(line, "\r"))
}

type backupDatabaseCmd struct {
	configFlags
	closeFlags
	Out string `arg:"" name:"out" help:"File to write; it must not exist."`
}

func (c *backupDatabaseCmd) Run(t terminal) error {
	var info *store.BackupInfo
	made, err := makeBackup(&c.configFlags, &c.closeFlags, c.Out, func(ctx context.Context, _ *config.Config, s source, w io.Writer) (err error) {
		// What is written is read as it comes: a backup that could not be restored is
		// none.
		r, pipe := io.Pipe()
		go func() { pipe.CloseWithError(s.Database(ctx, pipe)) }()
		info, err = store.CheckBackup(io.TeeReader(r, w))
		r.CloseWithError(err)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s: %d records, schema %d, SHA-256 %s\n", c.Out, info.Records, info.Schema, made.SHA256)
	return noteBackup(made, "database")
}

type backupKeysCmd struct {
	configFlags
	closeFlags
	Out string `arg:"" name:"out" help:"File to write; it must not exist."`
}

func (c *backupKeysCmd) Run(t terminal) error {
	made, err := makeBackup(&c.configFlags, &c.closeFlags, c.Out, func(ctx context.Context, settings *config.Config, s source, w io.Writer) error {
		return keyside.Write(ctx, w, keyside.Place{Dir: settings.Store.Dir, Master: masterFile(settings)}, s, time.Now())
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s: SHA-256 %s\ndestroy the one before it: a key that was erased since is still in that\n", c.Out, made.SHA256)
	return noteBackup(made, "keys")
}

// madeBackup is what is noted of a backup.
type madeBackup struct {
	dir    string
	At     time.Time `json:"at"`
	SHA256 string    `json:"sha256"`
}

// makeBackup writes a new file, encrypted, whole or not at all.
func makeBackup(flags *configFlags, to *closeFlags, out string, write func(context.Context, *config.Config, source, io.Writer) error) (*madeBackup, error) {
	settings, _, err := flags.load()
	if err != nil {
		return nil, err
	}
	lock, err := to.lock()
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(out); err == nil {
		return nil, usageError("%s exists, and backups are never overwritten", out)
	}
	ctx := context.Background()
	s, _, err := openSource(ctx, settings)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	m := &madeBackup{dir: settings.Store.Dir, At: time.Now().UTC().Truncate(time.Second)}
	err = keep.Create(out, func(w io.Writer) error {
		sum := sha256.New()
		closed, err := lock.Encrypt(io.MultiWriter(w, sum))
		if err != nil {
			return err
		}
		if err := write(ctx, settings, s, closed); err != nil {
			return err
		}
		if err := closed.Close(); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		m.SHA256 = hex.EncodeToString(sum.Sum(nil))
		return nil
	})
	return m, err
}

// lastBackupFile, in the folder of the store, says when backups were made: for
// doctor and the metrics.
const lastBackupFile = "backup.last"

func noteBackup(m *madeBackup, what string) error {
	path := filepath.Join(m.dir, lastBackupFile)
	all := readBackups(m.dir)
	all[what] = *m
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := keep.Replace(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("the backup is made, and cannot be noted: %w", err)
	}
	return nil
}

// readBackups returns what was noted; nothing where the file is not there or not
// to be read.
func readBackups(dir string) map[string]madeBackup {
	all := make(map[string]madeBackup)
	if data, err := os.ReadFile(filepath.Join(dir, lastBackupFile)); err == nil && json.Unmarshal(data, &all) != nil {
		return make(map[string]madeBackup)
	}
	return all
}

type backupCheckCmd struct {
	openFlags
	File string `arg:"" help:"Backup of a database or of a key side."`
	JSON bool   `name:"json" help:"As a JSON object."`
}

func (c *backupCheckCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	var info any
	var text string
	database, err := checkDatabase(c.File, lock)
	if err == nil {
		info = database
		text = fmt.Sprintf("database of %s, %d records, schema %d", database.Made.Format(time.RFC3339), database.Records, database.Schema)
	} else if errors.Is(err, store.ErrBackup) {
		var side *keyside.Info
		if side, err = checkKeySide(c.File, lock); err == nil {
			info = side
			text = fmt.Sprintf("key side of %s, %d keys of records, %d erasures, %d signing keys", side.Made.Format(time.RFC3339), side.Keys, side.Erased, len(side.Signing))
			if !side.Master {
				text += ", no master key"
			}
		} else if errors.Is(err, keyside.ErrKeySide) {
			err = fmt.Errorf("neither a backup of a database nor of a key side: %w", store.ErrBackup)
		}
	}
	if err != nil {
		return backupError(c.File, err)
	}
	if c.JSON {
		writeJSON(t.out, info)
		return nil
	}
	fmt.Fprintf(t.out, "%s: whole; %s\n", c.File, text)
	return nil
}

// backupError gives an error of a backup's file its exit code.
func backupError(file string, err error) error {
	code := exitUndecided
	for _, bad := range []error{keys.ErrDamaged, store.ErrBackup, store.ErrChecksum, store.ErrDamaged, store.ErrMismatch, store.ErrNewerSchema, keyside.ErrKeySide} {
		if errors.Is(err, bad) {
			code = exitNotValid
		}
	}
	return exitError{code, fmt.Errorf("%s: %w", file, err)}
}

func checkDatabase(path string, lock keys.Lock) (info *store.BackupInfo, err error) {
	err = opened(path, lock, func(r io.Reader) error {
		info, err = store.CheckBackup(r)
		return err
	})
	return info, err
}

func checkKeySide(path string, lock keys.Lock) (info *keyside.Info, err error) {
	err = opened(path, lock, func(r io.Reader) error {
		info, err = keyside.Check(r)
		return err
	})
	return info, err
}

// opened gives the content of an encrypted file to f.
func opened(path string, lock keys.Lock, f func(io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := lock.Decrypt(file)
	if err != nil {
		return err
	}
	return f(r)
}

type backupIdentityCmd struct {
	File string `arg:"" help:"File to write; it must not exist. Keep it away from the server, and twice."`
}

func (c *backupIdentityCmd) Run(t terminal) error {
	file, recipient, err := keys.NewIdentity()
	if err != nil {
		return err
	}
	err = keep.Create(c.File, func(w io.Writer) error {
		_, err := w.Write(file)
		return err
	})
	if err != nil {
		return usageError("%w", err)
	}
	fmt.Fprintln(t.out, recipient)
	return nil
}
