package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// The break-glass password: for the day on which neither passkeys nor the
// organisation's own login work. Every use of it is an audit line of its own kind.
const (
	// minPassword and maxPassword are in characters and bytes. NIST SP 800-63B
	// section 3.1.1.2 asks for 15 where a password stands alone.
	minPassword = 15
	maxPassword = 256

	// Argon2id (RFC 9106 section 4, the second recommended option, on one lane).
	argonTime, argonMemory, argonLanes = 3, 64 << 10, 1 // memory in KiB
	argonSalt, argonKey                = 16, 32

	// hashesAtOnce bounds the memory of those who log in at once.
	hashesAtOnce = 2
)

// newPassword makes the credential of a password.
func (a *Accounts) newPassword(ctx context.Context, p Account, password string) (Credential, error) {
	password = norm.NFKC.String(password)
	if utf8.RuneCountInString(password) < minPassword || len(password) > maxPassword || strings.Contains(strings.ToLower(password), p.Login) {
		return Credential{}, ErrPassword
	}
	distinct := make(map[rune]bool)
	for _, r := range password {
		distinct[r] = true
	}
	if len(distinct) < 5 {
		return Credential{}, ErrPassword
	}
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	key, err := a.argon(ctx, password, salt, argonTime, argonMemory, argonLanes, argonKey)
	if err != nil {
		return Credential{}, err
	}
	enc := base64.RawStdEncoding.EncodeToString
	text := fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes, enc(salt), enc(key))
	return Credential{
		ID: a.newID("c"), Account: p.ID, Kind: Password, Handle: p.ID, Content: []byte(text), Created: a.now().Truncate(time.Second),
	}, nil
}

// argon waits for room and computes.
func (a *Accounts) argon(ctx context.Context, password string, salt []byte, time, memory uint32, lanes uint8, size uint32) ([]byte, error) {
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, time, memory, lanes, size), nil
}

// nobody is the hash of a password that nobody has: whether a login name exists
// cannot be told from how long the answer takes.
var nobody = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes,
	strings.Repeat("A", 22), strings.Repeat("A", 43))

// matches reports whether a password has a hash.
func (a *Accounts) matches(ctx context.Context, hash []byte, password string) (bool, error) {
	var version int
	var memory, time uint32
	var lanes uint8
	parts := strings.Split(string(hash), "$")
	if len(parts) != 6 || parts[1] != "argon2id" || len(password) > 4*maxPassword {
		return false, nil
	}
	_, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &time, &lanes)
	salt, badSalt := base64.RawStdEncoding.DecodeString(parts[4])
	key, badKey := base64.RawStdEncoding.DecodeString(parts[5])
	// Bounded: what stands in a database must not decide how much memory is taken.
	if err != nil || badSalt != nil || badKey != nil || version != argon2.Version || memory < 8<<10 || memory > 256<<10 ||
		time < 1 || time > 10 || lanes < 1 || lanes > 4 || len(salt) < 8 || len(key) != argonKey {
		return false, nil
	}
	got, err := a.argon(ctx, norm.NFKC.String(password), salt, time, memory, lanes, argonKey)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, key) == 1, nil
}

// LoginPassword logs in by the break-glass password. from is whose try it is.
func (a *Accounts) LoginPassword(ctx context.Context, login, password string, from netip.Addr) (*Login, error) {
	login, err := NormalLogin(login)
	if err != nil {
		return nil, ErrCredentials
	}
	p, err := a.Book.ByLogin(ctx, login)
	if err != nil && !gone(err) {
		return nil, err
	}
	hash := []byte(nobody)
	if err == nil {
		c, err := a.Book.Credential(ctx, Password, p.ID)
		if err != nil && !gone(err) {
			return nil, err
		}
		if err == nil {
			hash = c.Content
		}
	}
	err = a.try(login, from, func() (bool, error) {
		ok, err := a.matches(ctx, hash, password)
		return ok && p.ID != "" && !p.Disabled, err
	})
	if err == ErrCredentials {
		line := a.line(EventLoginFailed, "nobody", p.ID, p.Organisation)
		line.Reason = string(Password)
		if err := a.Book.Log(ctx, line); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return a.begin(ctx, p, Password)
}

// try lets somebody try something, unless the tries before have failed too often,
// for the login name or from the address.
func (a *Accounts) try(login string, from netip.Addr, check func() (bool, error)) error {
	sum := sha256.Sum256([]byte(login))
	name, address := "n"+string(sum[:]), "a"+network(from)
	// A whole clinic may stand behind one address.
	if wait := a.backoff.enter(a.now(), tries{name, 5}, tries{address, 25}); wait > 0 {
		return &TooSoon{wait}
	}
	ok, err := check()
	if err != nil {
		return err
	}
	if !ok {
		return ErrCredentials
	}
	a.backoff.succeed(name, address)
	return nil
}

// network is the address, of which IPv6 gives everybody 64 bits.
func network(from netip.Addr) string {
	bits := 32
	if from = from.Unmap(); from.Is6() {
		bits = 64
	}
	p, err := from.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// backoff makes those wait who have failed: from one second on, twice as long
// with each try more, up to a quarter of an hour. It is in memory, and begins anew
// when the service does.
type backoff struct {
	mu sync.Mutex // held while one is looked up
	by map[string]*failures
}

type failures struct {
	n    int
	next time.Time // no try before
	last time.Time
}

// tries is who tries, and how often freely.
type tries struct {
	key  string
	free int
}

const (
	longestWait = 15 * time.Minute
	forgetAfter = time.Hour
	maxFailures = 1 << 16 // are remembered
)

// enter returns how long to wait, or counts a try for each. It counts before it
// is known how the try ends: many at once get no more than one after the other.
func (b *backoff) enter(now time.Time, who ...tries) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range who {
		if f := b.by[t.key]; f != nil && now.Sub(f.last) < forgetAfter {
			wait = max(wait, f.next.Sub(now))
		}
	}
	if wait > 0 {
		return wait
	}
	if len(b.by) > maxFailures {
		for key, f := range b.by {
			if now.Sub(f.last) >= forgetAfter {
				delete(b.by, key)
			}
		}
		if len(b.by) > maxFailures {
			return longestWait // somebody is flooding: nobody gets a free guess
		}
	}
	if b.by == nil {
		b.by = make(map[string]*failures)
	}
	for _, t := range who {
		f := b.by[t.key]
		if f == nil || now.Sub(f.last) >= forgetAfter {
			f = new(failures)
			b.by[t.key] = f
		}
		f.n++
		f.last = now
		if over := f.n - t.free; over >= 0 {
			f.next = now.Add(min(longestWait, time.Second<<min(over, 20)))
		}
	}
	return 0
}

// succeed forgets the failures of a name, and the try just counted of an address.
func (b *backoff) succeed(name, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.by, name)
	if f := b.by[address]; f != nil {
		f.n--
		f.next = time.Time{}
	}
}
