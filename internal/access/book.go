package access

import (
	"context"
	"time"

	"ampoule/format"
)

// Account is a person who may log in.
type Account struct {
	ID           string // u- and a UUIDv7: it names no person, and stands in audit lines
	Organisation string
	Login        string // personal
	Grants       []Grant
	Disabled     bool
	Created      time.Time
	Version      int64 // +1 with each change, from 1
}

// Principal returns the account as one who asks.
func (a *Account) Principal() *Principal {
	return &Principal{ID: a.ID, Organisation: a.Organisation, Grants: a.Grants}
}

// Kind is a way to log in.
type Kind string

// The kinds of credential.
const (
	Passkey  Kind = "passkey"
	OIDC     Kind = "oidc"
	Password Kind = "password" // break-glass
)

// Credential is something by which a person logs in.
type Credential struct {
	ID      string // c- and a UUIDv7
	Account string
	Kind    Kind
	// Handle is what it is found by, one of its kind: the identifier of a passkey,
	// issuer and subject of OpenID Connect, the account of a password.
	Handle  string
	Content []byte // what it is checked by; secret
	Name    string // by which its person tells it from others; personal
	Created time.Time
	Used    time.Time // zero: never
}

// Invitation lets a person set the first credential of an account, once.
type Invitation struct {
	Hash    [32]byte // SHA-256 of the secret in the link
	Account string
	Ends    time.Time
}

// Session is a browser that is logged in.
type Session struct {
	ID      string   // s- and a UUIDv7
	Hash    [32]byte // SHA-256 of the cookie
	Account string
	Kind    Kind // of the credential by which it began
	Created time.Time
	Seen    time.Time // to some minutes
	Ends    time.Time
}

// Token lets a program act for an account.
type Token struct {
	ID       string   // t- and a UUIDv7
	Hash     [32]byte // SHA-256 of the token
	Account  string
	Name     string // personal
	Scopes   []Action
	Facility string // empty: wherever the account may act
	Created  time.Time
	Ends     time.Time
	Used     time.Time // the day of its last use; zero: never
}

// Event is what an audit line about people tells of.
type Event string

// The events.
const (
	EventSetup           Event = "setup"
	EventLogin           Event = "login"
	EventBreakGlass      Event = "break-glass" // a login by password
	EventLoginFailed     Event = "login-failed"
	EventLogout          Event = "logout"
	EventSessionRevoked  Event = "session-revoked"
	EventAccountCreated  Event = "account-created"
	EventAccountInvited  Event = "account-invited"
	EventAccountChanged  Event = "account-changed"
	EventAccountDisabled Event = "account-disabled"
	EventCredentialAdded Event = "credential-added"
	EventCredentialGone  Event = "credential-removed"
	EventTokenMade       Event = "token-made"
	EventTokenRevoked    Event = "token-revoked"
	EventSettingsChanged Event = "settings-changed"
	EventLedgerVote      Event = "ledger-vote"
	EventMessageRead     Event = "message-read" // of a device or its supplier, as it came
)

// Line is an audit line about people. It names none: who acted and who it is
// about are identifiers.
type Line struct {
	At           time.Time
	By           string // who acted
	Event        Event
	Subject      string // the account, session, token or credential that it is about
	Organisation string
	Reason       string // one of a few words
}

// The defects of what is asked of a [Book].
const (
	ErrNotFound   = format.Defect("no-such-account")    // or session, token, credential, invitation
	ErrConflict   = format.Defect("changed-meanwhile")  // the account has another version
	ErrLoginTaken = format.Defect("login-name-taken")   // by another account
	ErrTaken      = format.Defect("credential-taken")   // it belongs to an account already
	ErrSetUp      = format.Defect("set-up-already")     // that happens once
	ErrLastOne    = format.Defect("last-administrator") // somebody must be able to let others in
)

// A Book keeps people. Each method that changes something is one durable step,
// its audit line included: on the disk when it returns nil, and none of it there
// when it returns an error. What is personal or secret in its arguments nobody
// reads without the book's master key. It is used by many at once.
type Book interface {
	// Setup writes the settings, the first account and its credential, if that has
	// never been done: otherwise it returns [ErrSetUp]. Of several at once one wins.
	Setup(ctx context.Context, settings map[string]string, a Account, c Credential, line Line) error

	// Settings returns all settings; none before Setup.
	Settings(ctx context.Context) (map[string]string, error)

	// ChangeSettings gives settings the values of to, or none of them and [ErrConflict]
	// where one has another value than from says.
	ChangeSettings(ctx context.Context, from, to map[string]string, line Line) error

	// Create makes an account with an invitation. It returns [ErrLoginTaken].
	Create(ctx context.Context, a Account, i Invitation, line Line) error

	// Account returns an account, or [ErrNotFound].
	Account(ctx context.Context, id string) (Account, error)

	// ByLogin returns the account of a login name, or [ErrNotFound].
	ByLogin(ctx context.Context, login string) (Account, error)

	// People returns accounts of an organisation by their identifiers: those after one.
	People(ctx context.Context, organisation, after string, limit int) ([]Account, error)

	// Change replaces grants and state of an account in the version given. One that
	// is disabled loses its sessions, tokens and invitations in the same step. It
	// returns [ErrConflict] for another version, and [ErrLastOne] if no account
	// that is not disabled would be left that administrates the whole organisation.
	Change(ctx context.Context, a Account, line Line) error

	// Invite puts an invitation in the place of those before.
	Invite(ctx context.Context, i Invitation, line Line) error

	// Invited returns the account of an invitation that has not ended, or [ErrNotFound].
	Invited(ctx context.Context, hash [32]byte, now time.Time) (Account, error)

	// Accept ends an invitation and adds a credential to its account. It returns
	// [ErrNotFound] where there is none (any more), and [ErrTaken].
	Accept(ctx context.Context, hash [32]byte, now time.Time, c Credential, line Line) error

	// Credentials returns those of an account, oldest first.
	Credentials(ctx context.Context, account string) ([]Credential, error)

	// Credential returns the one of a kind and a handle, or [ErrNotFound].
	Credential(ctx context.Context, kind Kind, handle string) (Credential, error)

	// AddCredential returns [ErrTaken] where there is one of its kind and handle;
	// a password takes the place of the one before.
	AddCredential(ctx context.Context, c Credential, line Line) error

	// UseCredential replaces content and time of use.
	UseCredential(ctx context.Context, c Credential) error

	// RemoveCredential returns [ErrNotFound] if the account has none of the
	// identifier, or no other.
	RemoveCredential(ctx context.Context, account, id string, line Line) error

	// Begin makes a session, and removes those of the account that have ended.
	Begin(ctx context.Context, s Session, line Line) error

	// Session returns the session of a cookie with its account, or [ErrNotFound].
	// It may have ended.
	Session(ctx context.Context, hash [32]byte) (Session, Account, error)

	// Seen notes that a session was used.
	Seen(ctx context.Context, id string, at time.Time) error

	// Sessions returns those of an account, newest first.
	Sessions(ctx context.Context, account string) ([]Session, error)

	// End removes a session of an account, or [ErrNotFound].
	End(ctx context.Context, account, id string, line Line) error

	// MakeToken keeps a token.
	MakeToken(ctx context.Context, t Token, line Line) error

	// Token returns a token with its account, or [ErrNotFound]. It may have ended.
	Token(ctx context.Context, hash [32]byte) (Token, Account, error)

	// TokenNamed is the same by the token's identifier.
	TokenNamed(ctx context.Context, id string) (Token, Account, error)

	// Used notes the day on which a token was used.
	Used(ctx context.Context, id string, day time.Time) error

	// Tokens returns those of an account, newest first.
	Tokens(ctx context.Context, account string) ([]Token, error)

	// RevokeToken removes a token of an account, or [ErrNotFound].
	RevokeToken(ctx context.Context, account, id string, line Line) error

	// Log records a line alone.
	Log(ctx context.Context, line Line) error
}
