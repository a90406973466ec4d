package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-webauthn/webauthn/webauthn"
	"golang.org/x/text/unicode/norm"

	"ampoule/format"
	"ampoule/party/issuer"
)

// The defects of what people ask for.
const (
	ErrDenied      = format.Defect("not-allowed")
	ErrCredentials = format.Defect("wrong-credentials") // whose, is not said
	ErrLogin       = format.Defect("malformed-login-name")
	ErrPassword    = format.Defect("weak-password")
	ErrGrant       = format.Defect("unknown-role")
	ErrScope       = format.Defect("unknown-scope")
	ErrLifetime    = format.Defect("token-lifetime")
	ErrName        = format.Defect("malformed-name")
	ErrSetting     = format.Defect("malformed-setting")
	ErrSetupToken  = format.Defect("wrong-setup-token")
	ErrCeremony    = format.Defect("ceremony-over")  // it took too long, or was finished
	ErrNoSuchWay   = format.Defect("not-configured") // this way to log in is not there
	ErrOrigin      = format.Defect("malformed-origin")
)

// TooSoon refuses a try after many that failed.
type TooSoon struct{ After time.Duration }

func (e *TooSoon) Error() string { return fmt.Sprintf("too-soon: %s", e.After) }

// Config is what [New] needs to know.
type Config struct {
	// Origin is the address under which people reach the service, such as
	// https://desk.example. Without it there are no passkeys and no OpenID Connect.
	Origin string
	// Idle is how long a session lasts that nobody uses, and Absolute how long it
	// lasts at all.
	Idle, Absolute time.Duration
	OIDC           OIDCConfig
	Now            func() time.Time // nil: time.Now
}

// Accounts lets people in. Each exported method is one thing that somebody does;
// those that need leave ask the policy for it. It is used by many at once.
type Accounts struct {
	Book   Book
	Policy *Policy

	config     Config
	secure     bool // the origin is https
	backoff    backoff
	ceremonies ceremonies
	passkeys   *webauthn.WebAuthn // nil: there are none
	oidc       *oidcLogin         // nil: there is none
	hashing    chan struct{}      // room for those who compute a password's hash
	setupToken setupToken
}

// New returns the service of a book.
func New(book Book, c Config) (*Accounts, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Idle <= 0 || c.Absolute < c.Idle {
		return nil, fmt.Errorf("access: sessions that last %s idle and %s at all: %w", c.Idle, c.Absolute, ErrSetting)
	}
	a := &Accounts{Book: book, Policy: NewPolicy(), config: c, hashing: make(chan struct{}, hashesAtOnce)}
	if c.Origin == "" {
		if c.OIDC.Issuer != "" {
			return nil, fmt.Errorf("access: OpenID Connect needs the origin of the service: %w", ErrOrigin)
		}
		return a, nil
	}
	u, err := url.Parse(c.Origin)
	local := err == nil && (u.Hostname() == "localhost" || isLoopback(u.Hostname()))
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return nil, fmt.Errorf("access: origin %q: it looks like https://desk.example: %w", c.Origin, ErrOrigin)
	}
	a.secure = u.Scheme == "https"
	if !isAddress(u.Hostname()) { // WebAuthn knows names only
		if a.passkeys, err = newPasskeys(u, c.Origin); err != nil {
			return nil, fmt.Errorf("access: passkeys: %w", err)
		}
	}
	if c.OIDC.Issuer != "" {
		if a.oidc, err = newOIDC(c.OIDC, c.Origin); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Secure reports whether people reach the service by https.
func (a *Accounts) Secure() bool { return a.secure }

// Ways returns the ways to log in that there are.
func (a *Accounts) Ways() (out []Kind) {
	if a.passkeys != nil {
		out = append(out, Passkey)
	}
	if a.oidc != nil {
		out = append(out, OIDC)
	}
	return append(out, Password)
}

func (a *Accounts) now() time.Time { return a.config.Now().UTC() }

// line is an audit line about an account or what belongs to it.
func (a *Accounts) line(e Event, by, subject, organisation string) Line {
	return Line{At: a.now(), By: by, Event: e, Subject: subject, Organisation: organisation}
}

// newID makes an identifier: a letter for what it is, and a UUIDv7.
func (a *Accounts) newID(kind string) string {
	id, err := issuer.NewID(a.now(), nil)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return kind + "-" + id.String()
}

// newSecret makes what only its holder is to know, and the hash by which it is
// kept. 256 bits need no slow hash.
func newSecret() (secret string, hash [32]byte) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	secret = base64.RawURLEncoding.EncodeToString(b[:])
	return secret, sha256.Sum256([]byte(secret))
}

// Visitor is somebody who is logged in.
type Visitor struct {
	*Principal
	Account Account
	Session *Session // nil for a token
}

// person refuses tokens: what belongs to a person alone is not done by a program.
func (v *Visitor) person() error {
	if v == nil || v.Session == nil || v.Scopes != nil {
		return ErrDenied
	}
	return nil
}

// NormalLogin returns the one spelling of a login name.
func NormalLogin(text string) (string, error) {
	login := strings.ToLower(norm.NFKC.String(strings.TrimSpace(text)))
	bad := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-@+", r)
	}
	if login == "" || len(login) > 128 || strings.ContainsFunc(login, bad) {
		return "", ErrLogin
	}
	return login, nil
}

// label checks a name that a person gives to something.
func label(text string) (string, error) {
	text = strings.TrimSpace(norm.NFC.String(text))
	if len(text) > 128 || strings.ContainsFunc(text, unicode.IsControl) {
		return "", ErrName
	}
	return text, nil
}

// identifier reports whether a text is one that may stand in audit lines.
func identifier(text string) bool {
	return text != "" && len(text) <= 64 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// checkGrants refuses roles and facilities that there are not, and repetitions.
func checkGrants(grants []Grant) error {
	for i, g := range grants {
		if !slices.Contains(Roles, g.Role) || g.Facility != "" && !identifier(g.Facility) || slices.Contains(grants[:i], g) {
			return ErrGrant
		}
	}
	if len(grants) > 64 {
		return ErrGrant
	}
	return nil
}

// manages reports whether somebody may manage an account with such grants: each
// of them is at a place that they manage. Nobody so gives away what lies outside
// of their own reach.
func (a *Accounts) manages(by *Visitor, organisation string, grants []Grant) bool {
	if by == nil {
		return false
	}
	places := []issuer.Place{{Organisation: organisation}}
	if len(grants) > 0 {
		places = nil
		for _, g := range grants {
			places = append(places, issuer.Place{Organisation: organisation, Facility: g.Facility})
		}
	}
	return !slices.ContainsFunc(places, func(p issuer.Place) bool {
		ok, _ := a.Policy.Allow(by.Principal, PeopleManage, p)
		return !ok
	})
}

// ManagesPeople reports whether somebody manages people anywhere.
func (a *Accounts) ManagesPeople(by *Visitor) bool {
	return by != nil && slices.ContainsFunc(by.Grants, func(g Grant) bool { return a.manages(by, by.Organisation, []Grant{g}) })
}

// People returns accounts that somebody manages, by their identifiers: those after
// one. next is where to go on; empty at the end.
func (a *Accounts) People(ctx context.Context, by *Visitor, after string, limit int) (list []Account, next string, err error) {
	if !a.ManagesPeople(by) {
		return nil, "", ErrDenied
	}
	page, err := a.Book.People(ctx, by.Organisation, after, limit)
	if err != nil {
		return nil, "", err
	}
	for _, p := range page {
		if a.manages(by, p.Organisation, p.Grants) {
			list = append(list, p)
		}
	}
	if len(page) == limit {
		next = page[limit-1].ID
	}
	return list, next, nil
}

// Person returns an account that somebody manages; to others it is not there.
func (a *Accounts) Person(ctx context.Context, by *Visitor, id string) (Account, error) {
	if !a.ManagesPeople(by) {
		return Account{}, ErrDenied
	}
	p, err := a.Book.Account(ctx, id)
	if err == nil && !a.manages(by, p.Organisation, p.Grants) {
		err = ErrNotFound
	}
	if err != nil {
		return Account{}, err
	}
	return p, nil
}

// invitationLife is how long an invitation may be accepted.
const invitationLife = 72 * time.Hour

// Invitation is one that was just made; its secret is shown once.
type NewInvitation struct {
	Account Account
	Secret  string
	Ends    time.Time
}

func (a *Accounts) invitation(account string) (string, Invitation) {
	secret, hash := newSecret()
	return secret, Invitation{Hash: hash, Account: account, Ends: a.now().Add(invitationLife).Truncate(time.Second)}
}

// Create makes an account, and an invitation by which its person sets how to log in.
func (a *Accounts) Create(ctx context.Context, by *Visitor, login string, grants []Grant) (*NewInvitation, error) {
	login, err := NormalLogin(login)
	if err == nil {
		err = checkGrants(grants)
	}
	if err != nil {
		return nil, err
	}
	if by == nil || !a.manages(by, by.Organisation, grants) {
		return nil, ErrDenied
	}
	p := Account{ID: a.newID("u"), Organisation: by.Organisation, Login: login, Grants: grants, Created: a.now().Truncate(time.Second), Version: 1}
	secret, i := a.invitation(p.ID)
	if err := a.Book.Create(ctx, p, i, a.line(EventAccountCreated, by.ID, p.ID, p.Organisation)); err != nil {
		return nil, err
	}
	return &NewInvitation{p, secret, i.Ends}, nil
}

// Change gives an account other grants, or disables or enables it.
func (a *Accounts) Change(ctx context.Context, by *Visitor, id string, version int64, grants []Grant, disabled bool) (Account, error) {
	if err := checkGrants(grants); err != nil {
		return Account{}, err
	}
	p, err := a.Person(ctx, by, id)
	if err != nil {
		return Account{}, err
	}
	if !a.manages(by, p.Organisation, grants) {
		return Account{}, ErrDenied
	}
	event := EventAccountChanged
	if disabled && !p.Disabled {
		event = EventAccountDisabled
	}
	p.Grants, p.Disabled, p.Version = grants, disabled, version
	if err := a.Book.Change(ctx, p, a.line(event, by.ID, p.ID, p.Organisation)); err != nil {
		return Account{}, err
	}
	p.Version++
	return p, nil
}

// Invite makes a new invitation, in the place of those before: for a person who
// has lost every way to log in, too.
func (a *Accounts) Invite(ctx context.Context, by *Visitor, id string) (*NewInvitation, error) {
	p, err := a.Person(ctx, by, id)
	if err != nil {
		return nil, err
	}
	if p.Disabled {
		return nil, ErrDenied
	}
	secret, i := a.invitation(p.ID)
	if err := a.Book.Invite(ctx, i, a.line(EventAccountInvited, by.ID, p.ID, p.Organisation)); err != nil {
		return nil, err
	}
	return &NewInvitation{p, secret, i.Ends}, nil
}

// Invited returns the account of an invitation that can be accepted.
func (a *Accounts) Invited(ctx context.Context, secret string) (Account, error) {
	return a.Book.Invited(ctx, sha256.Sum256([]byte(secret)), a.now())
}

// AcceptPassword accepts an invitation by setting a password, and logs in.
func (a *Accounts) AcceptPassword(ctx context.Context, secret, password string) (*Login, error) {
	p, err := a.Invited(ctx, secret)
	if err != nil {
		return nil, err
	}
	c, err := a.newPassword(ctx, p, password)
	if err != nil {
		return nil, err
	}
	return a.accept(ctx, secret, p, c)
}

// accept ends an invitation with a credential, and logs in by it.
func (a *Accounts) accept(ctx context.Context, secret string, p Account, c Credential) (*Login, error) {
	line := a.line(EventCredentialAdded, p.ID, c.ID, p.Organisation)
	line.Reason = string(c.Kind)
	if err := a.Book.Accept(ctx, sha256.Sum256([]byte(secret)), a.now(), c, line); err != nil {
		return nil, err
	}
	return a.begin(ctx, p, c.Kind)
}

// Credentials returns the ways by which a person logs in.
func (a *Accounts) Credentials(ctx context.Context, v *Visitor) ([]Credential, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	list, err := a.Book.Credentials(ctx, v.Account.ID)
	for i := range list {
		list[i].Content, list[i].Handle = nil, ""
	}
	return list, err
}

// RemoveCredential takes one away from its person, who must have another.
func (a *Accounts) RemoveCredential(ctx context.Context, v *Visitor, id string) error {
	if err := v.person(); err != nil {
		return err
	}
	return a.Book.RemoveCredential(ctx, v.Account.ID, id, a.line(EventCredentialGone, v.ID, id, v.Organisation))
}

// SetPassword sets a person's password, in the place of the one before. Whoever
// sits at an open session must know the old one.
func (a *Accounts) SetPassword(ctx context.Context, v *Visitor, old, password string, from netip.Addr) error {
	if err := v.person(); err != nil {
		return err
	}
	switch known, err := a.Book.Credential(ctx, Password, v.Account.ID); {
	case err == nil:
		if err := a.try(v.Account.Login, from, func() (bool, error) { return a.matches(ctx, known.Content, old) }); err != nil {
			return err
		}
	case !errors.Is(err, ErrNotFound):
		return err
	}
	c, err := a.newPassword(ctx, v.Account, password)
	if err != nil {
		return err
	}
	line := a.line(EventCredentialAdded, v.ID, c.ID, v.Organisation)
	line.Reason = string(Password)
	return a.Book.AddCredential(ctx, c, line)
}
