package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"
)

// Login is a session that has just begun.
type Login struct {
	Cookie  string // shown to the browser, and nobody else
	Session Session
	Account Account
}

// begin begins a session. Its identifier is always new, so that one which
// somebody has planted in a browser is worth nothing.
func (a *Accounts) begin(ctx context.Context, p Account, by Kind) (*Login, error) {
	if p.Disabled {
		return nil, ErrCredentials
	}
	now := a.now().Truncate(time.Second)
	cookie, hash := newSecret()
	s := Session{ID: a.newID("s"), Hash: hash, Account: p.ID, Kind: by, Created: now, Seen: now, Ends: now.Add(a.config.Absolute)}
	event := EventLogin
	if by == Password {
		event = EventBreakGlass
	}
	line := a.line(event, p.ID, s.ID, p.Organisation)
	line.Reason = string(by)
	if err := a.Book.Begin(ctx, s, line); err != nil {
		return nil, err
	}
	return &Login{cookie, s, p}, nil
}

// seenEvery is how exactly it is known when a session was last used: each request
// would be a write otherwise.
const seenEvery = time.Minute

// Session returns who has a cookie; [ErrNotFound] where that is nobody any more.
func (a *Accounts) Session(ctx context.Context, cookie string) (*Visitor, error) {
	if len(cookie) != 43 {
		return nil, ErrNotFound
	}
	s, p, err := a.Book.Session(ctx, sha256.Sum256([]byte(cookie)))
	if err != nil {
		return nil, err
	}
	now := a.now()
	if !now.Before(s.Ends) || now.Sub(s.Seen) >= a.config.Idle || p.Disabled {
		return nil, ErrNotFound
	}
	if now.Sub(s.Seen) >= min(seenEvery, a.config.Idle/4) {
		s.Seen = now
		if err := a.Book.Seen(ctx, s.ID, now); err != nil {
			return nil, err
		}
	}
	return &Visitor{p.Principal(), p, &s}, nil
}

// Logout ends the session of a visitor.
func (a *Accounts) Logout(ctx context.Context, v *Visitor) error {
	if err := v.person(); err != nil {
		return err
	}
	return a.Book.End(ctx, v.Account.ID, v.Session.ID, a.line(EventLogout, v.ID, v.Session.ID, v.Organisation))
}

// Sessions returns a person's sessions, newest first.
func (a *Accounts) Sessions(ctx context.Context, v *Visitor) ([]Session, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	list, err := a.Book.Sessions(ctx, v.Account.ID)
	now := a.now()
	return slices.DeleteFunc(list, func(s Session) bool { return !now.Before(s.Ends) || now.Sub(s.Seen) >= a.config.Idle }), err
}

// RevokeSession ends one of a person's own sessions.
func (a *Accounts) RevokeSession(ctx context.Context, v *Visitor, id string) error {
	if err := v.person(); err != nil {
		return err
	}
	return a.Book.End(ctx, v.Account.ID, id, a.line(EventSessionRevoked, v.ID, id, v.Organisation))
}

// Tokens begin with a mark by which a leaked one is recognised.
const tokenPrefix = "amp_"

// maxTokenLife is how long a token lasts at most.
const maxTokenLife = 366 * 24 * time.Hour

// MakeToken makes a token of a person's account, and returns the text that is
// shown once. It can do what its scopes name, where the account may.
func (a *Accounts) MakeToken(ctx context.Context, v *Visitor, name string, scopes []Action, facility string, life time.Duration) (Token, string, error) {
	if err := v.person(); err != nil {
		return Token{}, "", err
	}
	name, err := label(name)
	if err != nil || name == "" {
		return Token{}, "", ErrName
	}
	for i, s := range scopes {
		if !slices.Contains(Actions, s) || s == PeopleManage || slices.Contains(scopes[:i], s) {
			return Token{}, "", ErrScope
		}
	}
	if len(scopes) == 0 {
		return Token{}, "", ErrScope
	}
	if facility != "" && !identifier(facility) {
		return Token{}, "", ErrGrant
	}
	if life < time.Hour || life > maxTokenLife {
		return Token{}, "", ErrLifetime
	}
	secret, _ := newSecret()
	secret = tokenPrefix + secret
	now := a.now().Truncate(time.Second)
	t := Token{
		ID: a.newID("t"), Hash: sha256.Sum256([]byte(secret)), Account: v.Account.ID, Name: name, Scopes: scopes, Facility: facility,
		Created: now, Ends: now.Add(life),
	}
	return t, secret, a.Book.MakeToken(ctx, t, a.line(EventTokenMade, v.ID, t.ID, v.Organisation))
}

// Token returns who has a token; [ErrNotFound] where that is nobody any more.
func (a *Accounts) Token(ctx context.Context, text string) (*Visitor, error) {
	if len(text) != len(tokenPrefix)+43 || !strings.HasPrefix(text, tokenPrefix) {
		return nil, ErrNotFound
	}
	t, p, err := a.Book.Token(ctx, sha256.Sum256([]byte(text)))
	if err != nil {
		return nil, err
	}
	now := a.now()
	if !now.Before(t.Ends) || p.Disabled {
		return nil, ErrNotFound
	}
	if day := now.Truncate(24 * time.Hour); !t.Used.Equal(day) {
		if err := a.Book.Used(ctx, t.ID, day); err != nil {
			return nil, err
		}
	}
	return &Visitor{Principal: t.of(p), Account: p}, nil
}

// of is what a token makes of the account that it is of.
func (t *Token) of(p Account) *Principal {
	who := &Principal{ID: t.ID, Organisation: p.Organisation, Scopes: t.Scopes}
	for _, g := range p.Grants {
		switch {
		case t.Facility == "" || g.Facility == t.Facility:
		case g.Facility == "":
			g.Facility = t.Facility
		default:
			continue
		}
		who.Grants = append(who.Grants, g)
	}
	return who
}

// Principal returns who an account or token is now, by its identifier, for what it had
// done while it is away; [ErrNotFound] where that is nobody any more.
func (a *Accounts) Principal(ctx context.Context, id string) (*Principal, error) {
	if strings.HasPrefix(id, "t-") {
		t, p, err := a.Book.TokenNamed(ctx, id)
		if err != nil {
			return nil, err
		}
		if !a.now().Before(t.Ends) || p.Disabled {
			return nil, ErrNotFound
		}
		return t.of(p), nil
	}
	p, err := a.Book.Account(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.Disabled {
		return nil, ErrNotFound
	}
	return &Principal{ID: p.ID, Organisation: p.Organisation, Grants: p.Grants}, nil
}

// Tokens returns those of a person, newest first.
func (a *Accounts) Tokens(ctx context.Context, v *Visitor) ([]Token, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	return a.Book.Tokens(ctx, v.Account.ID)
}

// RevokeToken ends one of a person's tokens.
func (a *Accounts) RevokeToken(ctx context.Context, v *Visitor, id string) error {
	if err := v.person(); err != nil {
		return err
	}
	return a.Book.RevokeToken(ctx, v.Account.ID, id, a.line(EventTokenRevoked, v.ID, id, v.Organisation))
}

// gone reports whether an error says that nobody is there, as against that it
// could not be found out.
func gone(err error) bool { return errors.Is(err, ErrNotFound) }
