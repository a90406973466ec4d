package httpapi

import (
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/messages"
	"ampoule/party/issuer"
)

//go:embed pages/passkey.js
var passkeyScript []byte

// accessPolicy is the policy of the pages that know passkeys: one script of our
// own, which asks this server only.
var accessPolicy = headers["Content-Security-Policy"] + "; script-src 'self'; connect-src 'self'"

// accessRoutes are the pages of people. Each works without a script; passkeys are
// what a script adds.
func (s *server) accessRoutes(route func(string, func(*answer, *http.Request)), allowed map[string]string) {
	for _, r := range []struct {
		pattern string
		handle  func(*answer, *http.Request)
	}{
		{"GET /setup", s.setupPage}, {"POST /setup", s.setup}, {"POST /setup/passkey", s.setupPasskey},
		{"GET /login", s.loginPage}, {"POST /login", s.login}, {"POST /login/passkey/begin", s.loginPasskeyBegin}, {"POST /login/passkey", s.loginPasskey},
		{"GET /login/oidc", s.loginOIDC}, {"GET " + access.OIDCCallback, s.loginOIDCBack},
		{"POST /logout", s.logout},
		{"GET /invitation/{secret}", s.invitationPage}, {"POST /invitation/{secret}", s.invitation},
		{"POST /invitation/{secret}/passkey", s.invitationPasskey}, {"GET /invitation/{secret}/oidc", s.loginOIDC},
		{"POST /passkey", s.finishPasskey},
		{"GET /account", s.personal(s.accountPage)}, {"POST /account/password", s.personal(s.setPassword)}, {"POST /account/passkey", s.personal(s.addPasskey)},
		{"POST /account/credentials/{id}/remove", s.personal(s.removeCredential)}, {"POST /account/sessions/{id}/revoke", s.personal(s.revokeSession)},
		{"POST /account/tokens", s.personal(s.makeToken)}, {"POST /account/tokens/{id}/revoke", s.personal(s.revokeToken)},
		{"GET /people", s.personal(s.peoplePage)}, {"POST /people", s.personal(s.createPerson)},
		{"GET /people/{id}", s.personal(s.personPage)}, {"POST /people/{id}", s.personal(s.changePerson)}, {"POST /people/{id}/invitation", s.personal(s.invitePerson)},
		{"GET /settings", s.personal(s.settingsPage)}, {"POST /settings", s.personal(s.changeSettings)},
		{"GET /passkey.js", s.asset("text/javascript; charset=utf-8", passkeyScript)},
	} {
		route(r.pattern, r.handle)
		method, path, _ := strings.Cut(r.pattern, " ")
		if method == http.MethodGet {
			method = "GET, HEAD"
		}
		if before := allowed[path]; before != "" {
			method = before + ", " + method
		}
		allowed[path] = method
	}
}

// accessView is what every page of people shows.
type accessView struct {
	Problem *problem // what was wrong with the form before; nil for nothing
	Ways    []access.Kind
	Visitor *access.Visitor
	Manages bool // the visitor manages people
	Settles bool // the visitor manages settings
	Issues  bool // the visitor issues certificates
	Watches bool // the visitor watches stores
	Page    string
	Saved   bool // the form before was taken
	Body    any
}

// Has reports whether there is a way to log in.
func (v accessView) Has(way string) bool { return slices.Contains(v.Ways, access.Kind(way)) }

// show writes a page of people; err is what was wrong with the form before.
func (s *server) show(w *answer, r *http.Request, name string, status int, err error, body any) {
	v := s.viewsFor(r)
	view := accessView{
		Ways: s.Access.Accounts.Ways(), Visitor: w.visitor, Manages: s.Access.Accounts.ManagesPeople(w.visitor),
		Settles: s.Access.Accounts.ManagesSettings(w.visitor), Saved: r.Method == http.MethodGet && r.URL.Query().Has("saved"), Page: name, Body: body,
		Issues:  w.visitor != nil && s.issues(w.visitor.Organisation, w.visitor.Grants),
		Watches: w.visitor != nil && s.watches(w.visitor.Organisation, w.visitor.Grants),
	}
	if err != nil {
		p := &problem{}
		if !errors.As(err, &p) {
			p = accessProblem(err)
		}
		if p == nil {
			s.failAccess(w, r, err)
			return
		}
		view.Problem, status = p.in(v.language), p.Status
		if p.wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(p.wait))
		}
	}
	w.Header().Set("Vary", "Accept-Language")
	w.Header().Set("Content-Security-Policy", accessPolicy)
	s.render(w, status, v.access[name], frame{Title: v.language.Text("access." + name), People: true, Body: view})
}

// personal lets in who is logged in; others are sent to log in first.
func (s *server) personal(next func(*answer, *http.Request)) func(*answer, *http.Request) {
	return func(w *answer, r *http.Request) {
		switch {
		case w.visitor != nil && w.visitor.Session != nil:
			next(w, r)
		case r.Method == http.MethodPost || w.visitor != nil || wantsJSON(r.Header):
			s.fail(w, r, problemNobody)
		default:
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
		}
	}
}

// fields reads a form of ours. Names that it does not have are refused: nobody
// sets what no form offers.
func (s *server) fields(w *answer, r *http.Request, names ...string) (url.Values, bool) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.ContentLength == 0 {
		return url.Values{}, true // a button alone
	}
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		s.fail(w, r, problemMediaType)
		return nil, false
	}
	r.Body = http.MaxBytesReader(w.ResponseWriter, r.Body, maxForm)
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTime)) // what has no connection has no slow one
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, readProblem(err, problemTextTooLarge))
		return nil, false
	}
	for name := range r.PostForm {
		if !slices.Contains(names, name) {
			s.fail(w, r, problemForm)
			return nil, false
		}
	}
	return r.PostForm, true
}

// readJSON reads what our script sends, which has the members of v and no others.
func (s *server) readJSON(w *answer, r *http.Request, v any) bool {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		s.fail(w, r, problemNotJSON)
		return false
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTime))
	d := json.NewDecoder(http.MaxBytesReader(w.ResponseWriter, r.Body, maxForm))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		s.fail(w, r, problemInvalid.with("body"))
		return false
	}
	if _, err := d.Token(); err != io.EOF {
		s.fail(w, r, problemInvalid.with("body"))
		return false
	}
	return true
}

func (s *server) sendJSON(w *answer, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // ours, or the library's own
	}
	w.send(http.StatusOK, "application/json", append(body, '\n'))
}

// sendOn sends the browser to a page after what it posted.
func (s *server) sendOn(w *answer, r *http.Request, path string) {
	http.Redirect(w, r, path, http.StatusSeeOther)
}

// localPath returns an address of ours that somebody is to be sent to, and empty
// for any other: a link must not lead through our login to a page of somebody else.
func localPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > 200 || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(text, "/") ||
		strings.HasPrefix(text, "//") || strings.ContainsAny(text, "\\\t\r\n") || u.Path != "/" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
		return ""
	}
	return text
}

// landing is where somebody goes on after the login: where they were going, or to
// their work, or to their account.
func (s *server) landing(l *access.Login, next string) string {
	if to := localPath(next); to != "" {
		return to
	}
	if s.issues(l.Account.Organisation, l.Account.Grants) {
		return "/issuer/"
	}
	return "/account"
}

// issues reports whether somebody may issue at one of their places.
func (s *server) issues(organisation string, grants []access.Grant) bool {
	return s.Issuing != nil && s.mayAnywhere(access.CertificateIssue, organisation, grants)
}

// watches reports whether who has these grants may look at stores somewhere.
func (s *server) watches(organisation string, grants []access.Grant) bool {
	return s.Watching != nil && s.mayAnywhere(access.FleetRead, organisation, grants)
}

// mayAnywhere reports whether grants allow an action at one of their places.
func (s *server) mayAnywhere(action access.Action, organisation string, grants []access.Grant) bool {
	who := &access.Principal{Organisation: organisation, Grants: grants}
	return slices.ContainsFunc(grants, func(g access.Grant) bool {
		ok, _ := s.Access.Accounts.Policy.Allow(who, action, issuer.Place{Organisation: organisation, Facility: g.Facility})
		return ok
	})
}

func (s *server) loginPage(w *answer, r *http.Request) {
	if done, err := s.Access.Accounts.IsSetUp(r.Context()); err == nil && !done {
		s.sendOn(w, r, "/setup")
		return
	}
	s.show(w, r, "login", http.StatusOK, nil, loginView{Next: localPath(r.URL.Query().Get("next"))})
}

func (s *server) login(w *answer, r *http.Request) {
	form, ok := s.fields(w, r, "login", "password", "next")
	if !ok {
		return
	}
	l, err := s.Access.Accounts.LoginPassword(r.Context(), form.Get("login"), form.Get("password"), s.from(r))
	if err != nil {
		if errors.Is(err, access.ErrCredentials) {
			err = problemCredentials.at("password")
		}
		s.show(w, r, "login", http.StatusOK, err, loginView{form.Get("login"), localPath(form.Get("next"))})
		return
	}
	s.loggedIn(w, r, l)
	s.sendOn(w, r, s.landing(l, form.Get("next")))
}

func (s *server) loginPasskeyBegin(w *answer, r *http.Request) {
	c, err := s.Access.Accounts.BeginLogin()
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	s.sendJSON(w, c)
}

// passkeyAnswer is what our script sends to finish a ceremony.
type passkeyAnswer struct {
	Ceremony string          `json:"ceremony"`
	Name     string          `json:"name"`
	Next     string          `json:"next"` // where to go on after a login
	Answer   json.RawMessage `json:"answer"`
}

// next tells our script where to go.
type next struct {
	Next string `json:"next"`
}

func (s *server) loginPasskey(w *answer, r *http.Request) {
	var in passkeyAnswer
	if !s.readJSON(w, r, &in) {
		return
	}
	l, err := s.Access.Accounts.LoginPasskey(r.Context(), in.Ceremony, in.Answer)
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	s.loggedIn(w, r, l)
	s.sendJSON(w, next{s.landing(l, in.Next)})
}

// finishPasskey ends what began at set-up, with an invitation or in the account.
func (s *server) finishPasskey(w *answer, r *http.Request) {
	var in passkeyAnswer
	if !s.readJSON(w, r, &in) {
		return
	}
	l, err := s.Access.Accounts.FinishPasskey(r.Context(), w.visitor, in.Ceremony, in.Name, in.Answer)
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	if l == nil {
		s.sendJSON(w, next{"/account?saved"})
		return
	}
	s.settled(r) // it may have been the first run's
	s.loggedIn(w, r, l)
	s.sendJSON(w, next{"/account"})
}

// loginOIDC sends the browser to the organisation's own login. It changes nothing
// here: what it begins is in memory, and worth nothing without the way back.
func (s *server) loginOIDC(w *answer, r *http.Request) {
	address, binding, err := s.Access.Accounts.BeginOIDC(r.Context(), r.PathValue("secret"))
	if err != nil {
		if accessProblem(err) == nil {
			s.log.Error("provider of OpenID Connect", "error", err)
			s.fail(w, r, problemProvider)
			return
		}
		s.failAccess(w, r, err)
		return
	}
	s.setCookie(w, r, oidcCookie, binding, time.Now().Add(10*time.Minute))
	s.sendOn(w, r, address)
}

// loginOIDCBack is the one GET that begins something, as the protocol has it. It
// does so once for each way there, in the browser that went.
func (s *server) loginOIDCBack(w *answer, r *http.Request) {
	binding := s.cookie(r, oidcCookie)
	s.setCookie(w, r, oidcCookie, "", time.Time{})
	q := r.URL.Query()
	l, err := s.Access.Accounts.FinishOIDC(r.Context(), q.Get("state"), q.Get("code"), binding)
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	s.loggedIn(w, r, l)
	s.sendOn(w, r, s.landing(l, ""))
}

func (s *server) logout(w *answer, r *http.Request) {
	if w.visitor != nil && w.visitor.Session != nil {
		if err := s.Access.Accounts.Logout(r.Context(), w.visitor); err != nil && !errors.Is(err, access.ErrNotFound) {
			s.failAccess(w, r, err)
			return
		}
	}
	s.setCookie(w, r, sessionCookie, "", time.Time{})
	// What the browser has kept of the pages goes too.
	w.Header().Set("Clear-Site-Data", `"cache"`)
	s.sendOn(w, r, "/login")
}

// invitationView is the page of an invitation.
type invitationView struct{ Secret, Login string }

func (s *server) invitationPage(w *answer, r *http.Request) { s.showInvitation(w, r, nil) }

func (s *server) showInvitation(w *answer, r *http.Request, problem error) {
	secret := r.PathValue("secret")
	p, err := s.Access.Accounts.Invited(r.Context(), secret)
	if errors.Is(err, access.ErrNotFound) {
		s.fail(w, r, problemInvitation)
		return
	}
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	s.show(w, r, "invitation", http.StatusOK, problem, invitationView{secret, p.Login})
}

func (s *server) invitation(w *answer, r *http.Request) {
	form, ok := s.fields(w, r, "password")
	if !ok {
		return
	}
	l, err := s.Access.Accounts.AcceptPassword(r.Context(), r.PathValue("secret"), form.Get("password"))
	if err != nil {
		s.showInvitation(w, r, err)
		return
	}
	s.loggedIn(w, r, l)
	s.sendOn(w, r, "/account")
}

func (s *server) invitationPasskey(w *answer, r *http.Request) {
	c, err := s.Access.Accounts.AcceptPasskey(r.Context(), r.PathValue("secret"))
	if errors.Is(err, access.ErrNotFound) {
		s.fail(w, r, problemInvitation)
		return
	}
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	s.sendJSON(w, c)
}

// accountView is a person's own page.
type accountView struct {
	Account     access.Account
	Credentials []access.Credential
	HasPassword bool
	Sessions    []access.Session
	Current     string // the session that asks
	Tokens      []access.Token
	Scopes      []access.Action // that the person may give to a token
	NewToken    string          // shown once
	Filled      url.Values      // of the form of a token, before
}

func (s *server) accountPage(w *answer, r *http.Request) { s.showAccount(w, r, nil, "") }

func (s *server) showAccount(w *answer, r *http.Request, problem error, newToken string) {
	ctx, accounts, v := r.Context(), s.Access.Accounts, w.visitor
	view := accountView{Account: v.Account, Current: v.Session.ID, NewToken: newToken, Filled: url.Values{"days": {"90"}}}
	if problem != nil && r.PostForm.Has("days") {
		view.Filled = r.PostForm
	}
	var errs [3]error
	view.Credentials, errs[0] = accounts.Credentials(ctx, v)
	view.Sessions, errs[1] = accounts.Sessions(ctx, v)
	view.Tokens, errs[2] = accounts.Tokens(ctx, v)
	if err := errors.Join(errs[:]...); err != nil {
		s.failAccess(w, r, err)
		return
	}
	view.HasPassword = slices.ContainsFunc(view.Credentials, func(c access.Credential) bool { return c.Kind == access.Password })
	view.Scopes = s.scopes(v)
	s.show(w, r, "account", http.StatusOK, problem, view)
}

// scopes are what somebody may do at one of their places at least, and may give
// to a token.
func (s *server) scopes(v *access.Visitor) (out []access.Action) {
	for _, a := range access.Actions {
		if a == access.PeopleManage {
			continue
		}
		if slices.ContainsFunc(v.Grants, func(g access.Grant) bool {
			ok, _ := s.Access.Accounts.Policy.Allow(v.Principal, a, placeOf(v, g))
			return ok
		}) {
			out = append(out, a)
		}
	}
	return out
}

// personalChange answers a form of the account page.
func (s *server) personalChange(w *answer, r *http.Request, err error) {
	if err != nil {
		s.showAccount(w, r, err, "")
		return
	}
	s.sendOn(w, r, "/account?saved")
}

func (s *server) setPassword(w *answer, r *http.Request) {
	if form, ok := s.fields(w, r, "old", "password"); ok {
		err := s.Access.Accounts.SetPassword(r.Context(), w.visitor, form.Get("old"), form.Get("password"), s.from(r))
		if errors.Is(err, access.ErrCredentials) {
			err = problemOldPassword
		}
		s.personalChange(w, r, err)
	}
}

func (s *server) addPasskey(w *answer, r *http.Request) {
	c, err := s.Access.Accounts.AddPasskey(r.Context(), w.visitor)
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	s.sendJSON(w, c)
}

func (s *server) removeCredential(w *answer, r *http.Request) {
	if _, ok := s.fields(w, r); ok {
		s.personalChange(w, r, s.Access.Accounts.RemoveCredential(r.Context(), w.visitor, r.PathValue("id")))
	}
}

func (s *server) revokeSession(w *answer, r *http.Request) {
	if _, ok := s.fields(w, r); ok {
		s.personalChange(w, r, s.Access.Accounts.RevokeSession(r.Context(), w.visitor, r.PathValue("id")))
	}
}

func (s *server) revokeToken(w *answer, r *http.Request) {
	if _, ok := s.fields(w, r); ok {
		s.personalChange(w, r, s.Access.Accounts.RevokeToken(r.Context(), w.visitor, r.PathValue("id")))
	}
}

func (s *server) makeToken(w *answer, r *http.Request) {
	form, ok := s.fields(w, r, "name", "scope", "facility", "days")
	if !ok {
		return
	}
	var scopes []access.Action
	for _, scope := range form["scope"] {
		scopes = append(scopes, access.Action(scope))
	}
	days, _ := strconv.Atoi(form.Get("days"))
	_, text, err := s.Access.Accounts.MakeToken(r.Context(), w.visitor, form.Get("name"), scopes, strings.TrimSpace(form.Get("facility")), tokenLife(days))
	s.showAccount(w, r, err, text)
}

// tokenLife is the life of a token in days; none for a number that is out of reach.
func tokenLife(days int) time.Duration {
	if days < 1 || days > 366 {
		return 0
	}
	return time.Duration(days) * 24 * time.Hour
}

// accessFunctions are what the pages of people need of a language.
func accessFunctions(l *messages.Language, zone *time.Location) map[string]any {
	return map[string]any{
		"moment": func(t time.Time) string { return t.In(zone).Format("2006-01-02 15:04 MST") },
		"filled": filled,
		"role":   func(r access.Role) string { return l.Text("role." + string(r)) },
		"action": func(a access.Action) string { return l.Text("action." + strings.ReplaceAll(string(a), ":", "-")) },
		"way":    func(k access.Kind) string { return l.Text("access.way." + string(k)) },
	}
}
