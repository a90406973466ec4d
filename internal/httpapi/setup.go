package httpapi

import (
	"net/http"
	"strings"

	"ampoule/internal/access"
	"ampoule/internal/messages"
)

// setupView is the form of the first run, with what was filled in before.
type setupView struct {
	access.Setup
	Languages []*messages.Language
}

var setupFields = []string{"token", "organisation", "name", "participant", "country", "language", "zone", "login", "password"}

func setupOf(get func(string) string) access.Setup {
	capital := func(name string) string { return strings.ToUpper(strings.TrimSpace(get(name))) }
	plain := func(name string) string { return strings.TrimSpace(get(name)) }
	return access.Setup{
		Token: plain("token"), Organisation: strings.ToLower(plain("organisation")), Name: plain("name"), Participant: capital("participant"),
		Country: capital("country"), Language: plain("language"), TimeZone: plain("zone"), Login: plain("login"), Password: get("password"),
	}
}

// setupPage is open until the first run is over, and closed for good then.
func (s *server) setupPage(w *answer, r *http.Request) {
	done, err := s.Access.Accounts.IsSetUp(r.Context())
	switch {
	case err != nil:
		s.failAccess(w, r, err)
	case done:
		s.fail(w, r, problemSetUp)
	default:
		s.showSetup(w, r, nil, access.Setup{Language: s.viewsFor(r).language.Tag, TimeZone: "UTC"})
	}
}

func (s *server) showSetup(w *answer, r *http.Request, err error, filled access.Setup) {
	filled.Password = ""
	s.show(w, r, "setup", http.StatusOK, err, setupView{filled, messages.Languages})
}

func (s *server) setup(w *answer, r *http.Request) {
	form, ok := s.fields(w, r, setupFields...)
	if !ok {
		return
	}
	filled := setupOf(form.Get)
	l, err := s.Access.Accounts.SetUp(r.Context(), filled, s.from(r))
	switch p := accessProblem(err); {
	case err == nil:
		s.loggedIn(w, r, l)
		s.sendOn(w, r, "/account")
	case p == problemSetUp:
		s.fail(w, r, p)
	default:
		s.showSetup(w, r, err, filled)
	}
}

// setupPasskey begins a first run whose administrator has a passkey.
func (s *server) setupPasskey(w *answer, r *http.Request) {
	form, ok := s.fields(w, r, setupFields...)
	if !ok {
		return
	}
	c, err := s.Access.Accounts.SetUpPasskey(r.Context(), setupOf(form.Get), s.from(r))
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	s.sendJSON(w, c)
}
