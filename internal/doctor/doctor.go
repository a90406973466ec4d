// Package doctor looks for what an operator can get wrong: each check is a function
// of a table, and says what is the case, what that means, and what to do.
//
// A check reads, and changes nothing but a file that it removes again. It never
// prints a secret, and names no person.
package doctor

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"ampoule/bundle"
	"ampoule/internal/config"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/trust"
)

// Level is how bad something is.
type Level string

// The levels, from good to bad.
const (
	OK   Level = "ok"
	Warn Level = "warn" // it works, and will not for long, or not in the day of need
	Fail Level = "fail" // it does not work, or what is kept is in danger
)

// Result is one answer of a check.
type Result struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Means string `json:"means"`         // what is the case, and what comes of it
	Fix   string `json:"fix,omitempty"` // what to do, in one sentence
}

// Host is what is looked at. What it could not be told is nil.
type Host struct {
	Now       time.Time
	Settings  *config.Config
	ConfigErr error  // why there are no settings
	Hostname  string // that clients call the server by; empty: not known
	Master    string // file of the master key
	Running   bool   // a server has the store open
	Lock      func() (keys.Lock, error)
	// Health asks the store, wherever it is open.
	Health func(context.Context) (*store.Health, error)
	// Trust loads what the verifier goes by.
	Trust func() (*trust.List, *bundle.Opened, error)
	// Backups returns when the last backups were made, by their kind.
	Backups func() map[string]time.Time
	// Audit verifies the audit log; nil where there is none.
	Audit func(context.Context) (*store.AuditReport, error)
}

// check is one entry of the table.
type check struct {
	name  string
	store bool // only where there is a store
	run   func(context.Context, *Host) []Result
}

var checks = []check{
	{"configuration", false, configuration},
	{"store-folder", true, storeFolder},
	{"key-files", true, keyFiles},
	{"master-key", true, masterKey},
	{"database", true, database},
	{"audit-log", true, auditLog},
	{"disk", true, diskSpace},
	{"sync", true, syncs},
	{"clock", false, clock},
	{"signing-keys", true, signingKeys},
	{"trust", false, trustData},
	{"tls", false, serverTLS},
	{"listen", false, listen},
	{"backup", true, backups},
	{"ledger", true, ledger},
	{"open-files", false, openFiles},
}

// Run makes all checks.
func Run(ctx context.Context, h *Host) (out []Result) {
	for _, c := range checks {
		if h.Settings == nil && c.name != "configuration" && c.name != "open-files" {
			continue // nothing is known to look at
		}
		if c.store && h.Settings.Store.Dir == "" {
			continue
		}
		for _, r := range c.run(ctx, h) {
			r.Check = c.name
			out = append(out, r)
		}
	}
	return out
}

// Worst returns the worst level of results.
func Worst(results []Result) Level {
	worst := OK
	for _, r := range results {
		if r.Level == Fail || r.Level == Warn && worst == OK {
			worst = r.Level
		}
	}
	return worst
}

func ok(f string, args ...any) []Result {
	return []Result{{Level: OK, Means: fmt.Sprintf(f, args...)}}
}

func bad(l Level, means, fix string) []Result {
	return []Result{{Level: l, Means: means, Fix: fix}}
}

// orOK is what was found, or that all is well.
func orOK(found []Result, f string, args ...any) []Result {
	if len(found) > 0 {
		return found
	}
	return ok(f, args...)
}

func configuration(_ context.Context, h *Host) []Result {
	if h.ConfigErr != nil {
		return bad(Fail, h.ConfigErr.Error()+": the server does not start", "Put the setting right; 'ampoule config print' shows all of them with where they come from.")
	}
	return ok("every setting is known and can be used")
}

func storeFolder(_ context.Context, h *Host) []Result {
	dir := h.Settings.Store.Dir
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return bad(Fail, err.Error()+": the server cannot open its store", "Make the store, restore a backup, or put store.dir right.")
	case !info.IsDir():
		return bad(Fail, dir+" is no folder", "Put store.dir right.")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0:
		return bad(Fail, fmt.Sprintf("%s has mode %#o: others can replace what is in it", dir, info.Mode().Perm()), "Run: chmod 700 "+dir)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return bad(Warn, fmt.Sprintf("%s has mode %#o: others can see what is in it", dir, info.Mode().Perm()), "Run: chmod 700 "+dir)
	}
	var found []Result
	if left, _ := filepath.Glob(filepath.Join(dir, ".ampoule-*")); len(left) > 0 {
		found = bad(Warn, fmt.Sprintf("%d unfinished files of a program that was killed are in %s", len(left), dir), "Delete .ampoule-* there while neither server nor backup runs.")
	}
	return orOK(found, "%s is the server's own", dir)
}

// signingFiles are the files of the signing keys.
func signingFiles(h *Host) []string {
	files, _ := filepath.Glob(filepath.Join(h.Settings.Store.Dir, "keys", "*.key"))
	return files
}

func keyFiles(_ context.Context, h *Host) (found []Result) {
	files := append(signingFiles(h), h.Master, filepath.Join(h.Settings.Store.Dir, "records.keys"))
	for _, path := range []string{h.Settings.Store.Passphrase, h.Settings.TLS.Key} {
		if path != "" {
			files = append(files, path)
		}
	}
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) || path != h.Master { // master-key says that
				found = append(found, bad(Fail, err.Error(), "Bring the file back from the backup of the key side.")...)
			}
			continue
		}
		if wide := info.Mode().Perm() & 0o077; wide != 0 && runtime.GOOS != "windows" {
			found = append(found, bad(Fail, fmt.Sprintf("%s has mode %#o: others on this machine can read a key", path, info.Mode().Perm()), "Run: chmod 600 "+path)...)
		}
	}
	return orOK(found, "%d files can be read by their owner only", len(files))
}

func masterKey(_ context.Context, h *Host) []Result {
	lock, err := h.Lock()
	if err == nil {
		_, err = keys.LoadMasterKey(h.Master, lock)
	}
	switch {
	case err == nil:
		return ok("%s opens", h.Master)
	case errors.Is(err, keys.ErrEncrypted) && h.Running:
		return bad(Warn, "the passphrase was not given here, so the master key was not tried; the server that runs has opened it", "Give store.passphrase_file or AMPOULE_PASSPHRASE to this command, too.")
	case errors.Is(err, fs.ErrNotExist):
		return bad(Fail, err.Error()+": no record can be read", "Bring the master key back from the backup of the key side.")
	}
	return bad(Fail, err.Error()+": no record can be read", "Give the passphrase that the master key was made with.")
}

func database(ctx context.Context, h *Host) []Result {
	health, err := h.Health(ctx)
	if err != nil {
		fix := "Read docs/ops/backup-restore.md before anything in the folder of the store is touched."
		switch {
		case errors.Is(err, store.ErrNewerSchema):
			fix = "Install the version of Ampoule that brought the store up to this schema, or a newer one."
		case errors.Is(err, store.ErrInUse):
			fix = "Wait until the other process that has the store has ended."
		case errors.Is(err, store.ErrWrongMaster):
			fix = "Put store.master right: the store was made under another master key."
		}
		return bad(Fail, err.Error()+": the store cannot be used", fix)
	}
	var found []Result
	for _, p := range health.Problems {
		fix := "Stop the server, keep a copy of the folder, and restore the last backup."
		if health.Engine != "sqlite" {
			fix = "Turn it on in postgresql.conf and reload PostgreSQL."
		}
		found = append(found, bad(Fail, health.Engine+": "+p+": what is acknowledged can be lost", fix)...)
	}
	if health.Schema < health.Newest {
		found = append(found, bad(Warn, fmt.Sprintf("the schema is %d and the newest is %d", health.Schema, health.Newest), "Take a backup, and run: ampoule migrate")...)
	}
	if major, _, _ := strings.Cut(health.Version, "."); health.Engine == "postgresql" && len(major) == 2 && major < oldestPostgres {
		found = append(found, bad(Warn, "PostgreSQL "+health.Version+" gets no corrections any more", "Upgrade PostgreSQL; docs/ops/postgresql.md says how.")...)
	}
	return orOK(found, "%s %s, schema %d, %d records, %d erasures: nothing wrong in it", health.Engine, health.Version, health.Schema, health.Records, health.Erased)
}

// oldestPostgres is the oldest major version that its makers maintain, in November
// 2026.
const oldestPostgres = "14"

func auditLog(ctx context.Context, h *Host) []Result {
	if h.Audit == nil {
		return nil
	}
	r, err := h.Audit(ctx)
	switch {
	case err != nil:
		return bad(Fail, err.Error()+": whether somebody has changed the audit log is not known", "Put right what is wrong with the database, and run: ampoule audit verify")
	case !r.Whole():
		first := r.Breaks[0]
		return bad(Fail, fmt.Sprintf("%d breaks, the first at seal %d (%s): somebody has changed the audit log, or a part of it is lost", len(r.Breaks), first.Seal, first.Kind),
			"Keep a copy of the folder as it is, and tell who is responsible for it; 'ampoule audit verify' lists every place.")
	case r.Trouble != "":
		return bad(Warn, r.Trouble+": new lines of the audit log are not sealed", "Put right what is wrong with the folder of the store or the database.")
	}
	return ok("%d lines under %d seals: nothing was changed", r.Lines, r.Seals)
}

// The room on a disk below which it is told, in bytes.
const (
	lowSpace  = 2 << 30
	noSpace   = 200 << 20
	slowSync  = 100 * time.Millisecond
	fewFiles  = 4096
	clockSlip = 2 * time.Minute
)

func diskSpace(_ context.Context, h *Host) []Result {
	free, total, err := DiskFree(h.Settings.Store.Dir)
	if err != nil {
		return bad(Warn, "the room on the disk is not known: "+err.Error(), "Look at it by other means.")
	}
	return spaceLeft(free, total)
}

func spaceLeft(free, total uint64) []Result {
	what := fmt.Sprintf("%d MB of %d MB are free", free>>20, total>>20)
	switch {
	case free < noSpace:
		return bad(Fail, what+": soon nothing can be issued", "Make room now: nothing is lost, but nothing can be written.")
	case free < lowSpace || free < total/20:
		return bad(Warn, what, "Make room, or a larger disk.")
	}
	return ok("%s", what)
}

func syncs(_ context.Context, h *Host) []Result {
	f, err := os.CreateTemp(h.Settings.Store.Dir, ".ampoule-doctor-*")
	if err != nil {
		return bad(Fail, err.Error()+": nothing can be written to the folder of the store", "Run it as the user of the server, and look at the rights and the mount.")
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		return bad(Fail, err.Error(), "Make room on the disk.")
	}
	begun := time.Now()
	if err := f.Sync(); err != nil {
		return bad(Fail, err.Error()+": what is acknowledged can be lost", "The disk of store.dir has to be one that can sync.")
	}
	if took := time.Since(begun); took > slowSync {
		return bad(Warn, fmt.Sprintf("a sync took %s: every certificate waits for one", took.Round(time.Millisecond)), "Use a faster disk, or one with a cache that outlasts the power.")
	}
	return ok("the disk syncs")
}

func clock(_ context.Context, h *Host) []Result {
	slow := func(than time.Time, what string) []Result {
		if !than.After(h.Now.Add(clockSlip)) {
			return nil
		}
		return bad(Fail, fmt.Sprintf("the clock says %s, and %s is of %s: periods are judged wrongly", h.Now.UTC().Format(time.RFC3339), what, than.UTC().Format(time.RFC3339)), "Set the clock, and let it be kept right (chrony, systemd-timesyncd).")
	}
	var found []Result
	if dir := h.Settings.Store.Dir; dir != "" {
		for _, name := range []string{"records.keys", "erased.list", "ampoule.db"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
				found = append(found, slow(info.ModTime(), name)...)
			}
		}
	}
	if _, b, err := h.Trust(); errors.Is(err, bundle.ErrNotYetIssued) {
		found = append(found, bad(Fail, "the bundle was issued in the future: the clock is wrong, or that of its maker", "Set the clock, and let it be kept right (chrony, systemd-timesyncd).")...)
	} else if b != nil {
		found = append(found, slow(b.Issued, "the bundle")...)
	}
	return orOK(found, "the clock is not behind what was written")
}

// When it is told that a key, a certificate or a backup is near its end.
const (
	keyUrgent  = 30 * 24 * time.Hour
	keySoon    = 90 * 24 * time.Hour
	tlsUrgent  = 7 * 24 * time.Hour
	tlsSoon    = 21 * 24 * time.Hour
	backupSoon = 36 * time.Hour
	backupLate = 7 * 24 * time.Hour
)

func signingKeys(_ context.Context, h *Host) (found []Result) {
	files := signingFiles(h)
	if len(files) == 0 {
		return bad(Warn, "there is no signing key in "+filepath.Join(h.Settings.Store.Dir, "keys")+": nothing can be issued", "Put the key files there, with mode 600.")
	}
	lock, err := h.Lock()
	if err != nil {
		return bad(Fail, err.Error(), "Put store.passphrase_file right.")
	}
	list, _, _ := h.Trust() // the check trust tells an error
	kids := make(map[string]string)
	for _, path := range files {
		k, err := keys.Load(path, lock)
		name := filepath.Base(path)
		if err != nil {
			level, fix := Fail, "Give the passphrase that it was made with, or take the file away."
			if errors.Is(err, keys.ErrEncrypted) && h.Running {
				level, fix = Warn, "Give store.passphrase_file or AMPOULE_PASSPHRASE to this command, too."
			}
			found = append(found, bad(level, err.Error(), fix)...)
			continue
		}
		if k.Certificate() == nil {
			found = append(found, bad(Fail, name+" has no certificate: nobody can trust it", "Have the authority sign it, and put the certificate into the file.")...)
			continue
		}
		kid := hex.EncodeToString(k.KID())
		if other := kids[kid]; other != "" {
			found = append(found, bad(Fail, fmt.Sprintf("%s and %s have the same key identifier %s", other, name, kid), "Take one of them away.")...)
		}
		kids[kid] = name
		found = append(found, signingKey(name, k, h.Now)...)
		if list != nil && !slices.ContainsFunc(list.All(), func(t *trust.Key) bool { return hex.EncodeToString([]byte(t.ID)) == kid }) && !isSealSigner(k.Certificate()) {
			found = append(found, bad(Warn, fmt.Sprintf("%s (%s) is not in the trust data that this server verifies by: others may not know it either", name, kid), "Upload its certificate to the trust network, and take a newer bundle.")...)
		}
	}
	return orOK(found, "%d keys, all good for %.0f days and more", len(files), keySoon.Hours()/24)
}

// isSealSigner tells a signer of visible digital seals: its certificate travels in
// the seal, and no trust list has it.
func isSealSigner(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if e.Id.String() == "2.23.136.1.1.6.2" { // documentTypeList, Doc 9303-12
			return true
		}
	}
	return false
}

func signingKey(name string, k *keys.Key, now time.Time) (found []Result) {
	c := k.Certificate()
	const fix = "Make a new key and have it certified and listed before the old one ends."
	left := c.NotAfter.Sub(now)
	days := fmt.Sprintf("%s ends on %s", name, c.NotAfter.UTC().Format(time.DateOnly))
	switch {
	case now.Before(c.NotBefore):
		found = append(found, bad(Fail, fmt.Sprintf("%s is valid from %s on: nothing can be issued with it", name, c.NotBefore.UTC().Format(time.DateOnly)), "Wait, or set the clock.")...)
	case left <= 0:
		found = append(found, bad(Fail, days+": nothing can be issued with it", "Make a new key, have it certified and listed, and take this one away.")...)
	case left < keyUrgent:
		found = append(found, bad(Fail, fmt.Sprintf("%s, in %d days: a new one takes weeks to be known everywhere", days, int(left.Hours()/24)), fix)...)
	case left < keySoon:
		found = append(found, bad(Warn, fmt.Sprintf("%s, in %d days", days, int(left.Hours()/24)), fix)...)
	}
	if len(k.Chain) > 1 && k.Chain[1].NotAfter.Before(c.NotAfter) {
		found = append(found, bad(Warn, fmt.Sprintf("the authority of %s ends on %s, before the key", name, k.Chain[1].NotAfter.UTC().Format(time.DateOnly)), fix)...)
	}
	if !isSealSigner(c) {
		for _, objection := range keys.Lint(c, keys.RoleDSC) {
			found = append(found, bad(Warn, name+": "+objection, "Have the authority issue a certificate by the network's rules.")...)
		}
	}
	return found
}

func trustData(_ context.Context, h *Host) []Result {
	list, b, err := h.Trust()
	switch {
	case err != nil:
		return bad(Fail, err.Error()+": the verifier does not start", "Put the files of the section verifier right; 'ampoule trust explain' shows what they have.")
	case list == nil || len(list.All()) == 0 && len(list.Authorities()) == 0:
		return bad(Warn, "no key is trusted: every certificate is of an unknown issuer", "Set verifier.bundle and verifier.root, or verifier.trust.")
	case b == nil:
		return ok("%d keys, of files; no bundle", len(list.All()))
	case b.TooOld(h.Now):
		return bad(Fail, fmt.Sprintf("the bundle was due at %s: nothing is valid by it", b.Next.UTC().Format(time.RFC3339)), "Fetch a newer bundle; look at why none has come.")
	case b.Next.Sub(h.Now) < b.Next.Sub(b.Issued)/4:
		return bad(Warn, fmt.Sprintf("the next bundle is due at %s, and has not come", b.Next.UTC().Format(time.RFC3339)), "Look at why no newer bundle comes.")
	}
	return ok("%d keys; bundle %d of %s, the next is due at %s", len(list.All()), b.Serial, b.Maker, b.Next.UTC().Format(time.RFC3339))
}

func serverTLS(_ context.Context, h *Host) []Result {
	if h.Settings.TLS.Certificate == "" {
		host, _, err := net.SplitHostPort(h.Settings.Listen)
		ip := net.ParseIP(host)
		if err == nil && (host == "localhost" || ip != nil && ip.IsLoopback()) {
			return ok("none, and only this machine can connect")
		}
		if len(h.Settings.HTTP.Proxies) > 0 {
			return ok("none: a proxy is before the server")
		}
		return bad(Warn, "the server speaks plain HTTP to other machines: what is sent can be read on the way", "Set tls.certificate and tls.key, or listen on 127.0.0.1 behind a proxy.")
	}
	chain, err := readChain(h.Settings.TLS.Certificate, h.Settings.TLS.Key)
	if err != nil {
		return bad(Fail, err.Error()+": nobody can connect", "Put tls.certificate and tls.key right.")
	}
	leaf := chain[0]
	end := fmt.Sprintf("the certificate of the server ends on %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	var found []Result
	switch left := leaf.NotAfter.Sub(h.Now); {
	case left <= 0:
		found = bad(Fail, end+": nobody can connect", "Renew it; the server takes the new file without a restart.")
	case left < tlsUrgent:
		found = bad(Fail, end, "Renew it now; the server takes the new file without a restart.")
	case left < tlsSoon:
		found = bad(Warn, end, "Look at why it has not been renewed.")
	}
	if h.Hostname != "" {
		if err := leaf.VerifyHostname(h.Hostname); err != nil {
			found = append(found, bad(Fail, err.Error()+": clients refuse it", "Have it issued for that name, too.")...)
		}
	} else if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		found = append(found, bad(Fail, "the certificate of the server has no name that clients look at (subjectAltName)", "Have it issued for the name of the server.")...)
	}
	if len(chain) == 1 && string(leaf.RawIssuer) != string(leaf.RawSubject) {
		found = append(found, bad(Warn, "the certificate of the server comes without that of its authority: some clients cannot build the chain", "Put the whole chain into tls.certificate, the server's own first.")...)
	}
	return orOK(found, "%s", end)
}

func listen(ctx context.Context, h *Host) []Result {
	address := h.Settings.Listen
	if h.Running {
		host, port, err := net.SplitHostPort(address)
		if err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
			address = net.JoinHostPort("localhost", port)
		}
		d := net.Dialer{Timeout: 3 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			if port == "0" {
				return ok("a server runs, on a port that it has chosen")
			}
			return bad(Fail, err.Error()+": the server that has the store open does not answer there", "Restart it with the configuration as it is now.")
		}
		_ = conn.Close()
		return ok("the server answers at %s", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return bad(Fail, err.Error()+": the server cannot start there", "Stop the other program, or set another address in listen.")
	}
	_ = l.Close()
	return ok("%s is free", address)
}

func backups(_ context.Context, h *Host) (found []Result) {
	last := h.Backups()
	for _, kind := range []string{"database", "keys"} {
		command := "ampoule backup"
		if kind == "keys" {
			command += " keys"
		}
		at, made := last[kind]
		switch age := h.Now.Sub(at); {
		case !made:
			found = append(found, bad(Warn, "no backup of the "+kind+" has been made from here", "Make one, every day: "+command)...)
		case age > backupLate:
			found = append(found, bad(Fail, fmt.Sprintf("the last backup of the %s is %d days old", kind, int(age.Hours()/24)), "Look at why the timer does not run: "+command)...)
		case age > backupSoon:
			found = append(found, bad(Warn, fmt.Sprintf("the last backup of the %s is %d hours old", kind, int(age.Hours())), "Look at why the timer does not run: "+command)...)
		}
	}
	return orOK(found, "the last ones are of %s and %s", last["database"].Format(time.RFC3339), last["keys"].Format(time.RFC3339))
}

func openFiles(context.Context, *Host) []Result {
	limit, err := fileLimit()
	if err != nil {
		return bad(Warn, "the limit of open files is not known: "+err.Error(), "Look at it by other means.")
	}
	return enoughFiles(limit)
}

func enoughFiles(limit uint64) []Result {
	if limit < fewFiles {
		return bad(Warn, fmt.Sprintf("a process may have %d files open: each connection is one", limit), fmt.Sprintf("Raise it to %d or more (LimitNOFILE in the systemd unit, ulimit -n).", fewFiles))
	}
	return ok("a process may have %d open", limit)
}

// loggedWithin is how long it may take until something stands in the log: a blackout
// of a federation lasts a day, not a week.
const loggedWithin = 24 * time.Hour

// ledger looks whether what was closed comes into the log. Nothing that is issued or
// verified waits for it.
func ledger(ctx context.Context, h *Host) (found []Result) {
	l := h.Settings.Ledger
	if l.Dir == "" && l.Notary == "" {
		return ok("no ledger is set: fingerprints are vouched for by the bundle alone")
	}
	if l.Dir != "" {
		if _, err := os.Stat(filepath.Join(l.Dir, "genesis.cbor")); err != nil {
			found = append(found, Result{Level: Fail, Means: fmt.Sprintf("the folder of the ledger's node cannot be read: %v: certificates are issued and verified, and nothing is logged", err), Fix: "Bring the folder back as it was last, never an older copy of it, and restart the server: docs/ops/ledger.md."})
		}
	}
	s, err := h.Health(ctx)
	if err != nil {
		return found // the check of the database tells
	}
	if s.Unlogged > 0 && h.Now.Sub(s.UnloggedSince) > loggedWithin {
		found = append(found, Result{Level: Warn, Means: fmt.Sprintf("%d entries wait for the ledger, the oldest since %s: certificates are issued and verified, and their proofs are missing", s.Unlogged, s.UnloggedSince.Format(time.RFC3339)), Fix: "Look at ampoule_ledger_trouble and the log of the server for the reason; ask the notary, or the member that sponsors this server."})
	}
	if s.Refused > 0 {
		found = append(found, Result{Level: Warn, Means: fmt.Sprintf("the ledger has refused %d entries for good", s.Refused), Fix: "GET /v1/outbox names them with their reasons."})
	}
	return orOK(found, "what was closed is logged")
}
