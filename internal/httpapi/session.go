package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/messages"
	"ampoule/party/issuer"
)

// Access is what lets people in. A page without it has no accounts: it verifies,
// and nobody is asked who they are.
//
// Whoever wires a server makes it so:
//
//	accounts, err := access.New(store.Accounts(), access.Config{Origin: …, Idle: …, Absolute: …, OIDC: …})
//	token, err := accounts.SetupToken(ctx) // to be printed where it is not empty
//	page.Access = &httpapi.Access{Accounts: accounts}
type Access struct {
	Accounts *access.Accounts
	// Language and Zone are the organisation's own: of pages whose reader asks for no
	// language that there is, and of the times that pages show. nil: English, UTC.
	Language *messages.Language
	Zone     *time.Location
	// Changed is called when the settings are other ones; nil: nobody is told.
	Changed func()
	// SetUp is called when the first run is over, before its administrator goes on;
	// nil: nothing follows from it.
	SetUp func(context.Context) error
	// Audit is the log that auditors read; nil: nobody does here.
	Audit AuditLog
}

// principal returns who asks; nil where nobody is logged in.
func principal(ctx context.Context) *access.Principal {
	if v := visitor(ctx); v != nil {
		return v.Principal
	}
	return nil
}

// visitor returns who is logged in; nil for nobody.
func visitor(ctx context.Context) *access.Visitor {
	if a, ok := ctx.Value(answerKey{}).(*answer); ok {
		return a.visitor
	}
	return nil
}

// Allowed reports whether who sends a request may do something at a place, for handlers
// that stand on a [Page].
func Allowed(ctx context.Context, p *access.Policy, action access.Action, at issuer.Place) bool {
	who := principal(ctx)
	if who == nil {
		return false
	}
	ok, _ := p.Allow(who, action, at)
	return ok
}

// The cookies. The prefix __Host- makes a browser refuse them without TLS, from
// another host and for a part of the paths (RFC 6265bis section 4.1.3.2).
const (
	sessionCookie = "ampoule"
	oidcCookie    = "ampoule-oidc"
	hostPrefix    = "__Host-"
)

// secure reports whether the reader has come by TLS, here or at the proxy before.
func (s *server) secure(r *http.Request) bool { return r.TLS != nil || s.Access.Accounts.Secure() }

func (s *server) cookieName(r *http.Request, name string) string {
	if s.secure(r) {
		return hostPrefix + name
	}
	return name
}

// setCookie sets a cookie until a time; an empty value removes it.
func (s *server) setCookie(w *answer, r *http.Request, name, value string, until time.Time) {
	c := &http.Cookie{
		Name: s.cookieName(r, name), Value: value, Path: "/", HttpOnly: true, Secure: s.secure(r),
		// Lax, so that a link from elsewhere finds its reader logged in; what changes
		// something is never a GET.
		SameSite: http.SameSiteLaxMode, Expires: until,
	}
	if value == "" {
		c.MaxAge, c.Expires = -1, time.Time{}
	}
	http.SetCookie(w, c)
}

// cookie returns the value of a cookie; empty where there is none.
func (s *server) cookie(r *http.Request, name string) string {
	if c, err := r.Cookie(s.cookieName(r, name)); err == nil {
		return c.Value
	}
	return ""
}

// who finds out who asks, by a token or by the cookie of a session, before the
// routes are looked at.
func (s *server) who(next http.Handler) http.Handler {
	if s.Access == nil {
		return next
	}
	// What a browser sends along by itself must come from our own pages, at /v1/ too:
	// a token is never sent by itself.
	own := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := w.(*answer)
		var err error
		if text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			if a.visitor, err = s.Access.Accounts.Token(r.Context(), text); errors.Is(err, access.ErrNotFound) {
				a.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
				s.fail(a, r, problemToken)
				return
			}
		} else if value := s.cookie(r, sessionCookie); value != "" {
			a.visitor, err = s.Access.Accounts.Session(r.Context(), value)
			switch {
			case errors.Is(err, access.ErrNotFound):
				err = nil
				s.setCookie(a, r, sessionCookie, "", time.Time{})
			case err == nil && own.Check(r) != nil:
				a.visitor = nil
				s.fail(a, r, problemCrossSite)
				return
			}
		}
		if err != nil {
			s.log.Error("who asks is not known", "error", err)
			s.fail(a, r, problemInternal)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// from is the address that a request comes from, behind proxies that are believed.
func (s *server) from(r *http.Request) netip.Addr {
	front := s.front
	if front == nil {
		front = new(Front)
	}
	return front.address(r)
}

// loggedIn gives the browser its session, and sends it on.
func (s *server) loggedIn(w *answer, r *http.Request, l *access.Login) {
	s.setCookie(w, r, sessionCookie, l.Cookie, l.Session.Ends)
	w.visitor = nil
}

// accessProblem is what an error about people is answered with; nil for one that
// is nobody's but ours.
func accessProblem(err error) *problem {
	var bad *access.BadSetting
	if errors.As(err, &bad) {
		return problemSetting.of(bad.Name).at(settingFields[bad.Name])
	}
	for _, p := range []struct {
		err     error
		problem *problem
	}{
		{access.ErrNotFound, problemNotFound}, {access.ErrDenied, problemDenied}, {access.ErrCredentials, problemCredentials},
		{access.ErrLogin, problemLoginName}, {access.ErrLoginTaken, problemLoginTaken}, {access.ErrPassword, problemWeak},
		{access.ErrConflict, problemAccountChanged}, {access.ErrLastOne, problemLastOne}, {access.ErrSetUp, problemSetUp},
		{access.ErrSetupToken, problemSetupToken}, {access.ErrSetting, problemSetting}, {access.ErrCeremony, problemCeremony},
		{access.ErrNoSuchWay, problemNoSuchWay}, {access.ErrScope, problemTokenOrder.of("scope").at("scope")}, {access.ErrLifetime, problemTokenOrder.of("days").at("token-days")},
		{access.ErrName, problemTokenOrder.of("name").at("token-name")}, {access.ErrGrant, problemGrant}, {access.ErrTaken, problemTaken},
	} {
		if errors.Is(err, p.err) {
			return p.problem
		}
	}
	var soon *access.TooSoon
	if errors.As(err, &soon) {
		return problemTooSoon.after(soon.After)
	}
	return nil
}

// failAccess answers with what an error about people means.
func (s *server) failAccess(w *answer, r *http.Request, err error) {
	p := accessProblem(err)
	if p == nil {
		s.log.Error("people", "error", err)
		p = problemInternal
	}
	s.fail(w, r, p)
}
