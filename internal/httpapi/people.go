package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/internal/access"
	"ampoule/internal/messages"
	"ampoule/party/issuer"
)

// peopleOnPage is how many accounts a page lists.
const peopleOnPage = 50

func placeOf(v *access.Visitor, g access.Grant) issuer.Place {
	return issuer.Place{Organisation: v.Organisation, Facility: g.Facility}
}

// peopleView is the list of accounts.
type peopleView struct {
	People     []access.Account
	Next       string
	Login      string // filled in before
	grantsView        // filled in before
	Invitation *invitationShown
}

// invitationShown is an invitation that was just made: its link is shown once.
type invitationShown struct {
	Login, Link string
	Ends        time.Time
}

// link returns the address of an invitation, as this reader reaches the service.
func (s *server) link(r *http.Request, i *access.NewInvitation) *invitationShown {
	scheme := "http"
	if s.secure(r) {
		scheme = "https"
	}
	u := url.URL{Scheme: scheme, Host: r.Host, Path: "/invitation/" + i.Secret}
	return &invitationShown{i.Account.Login, u.String(), i.Ends}
}

func (s *server) peoplePage(w *answer, r *http.Request) { s.showPeople(w, r, nil, peopleView{}) }

func (s *server) showPeople(w *answer, r *http.Request, problem error, view peopleView) {
	var err error
	view.People, view.Next, err = s.Access.Accounts.People(r.Context(), w.visitor, r.URL.Query().Get("after"), peopleOnPage)
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	s.show(w, r, "people", http.StatusOK, problem, view)
}

// grantFields are the fields of a form by which roles are given: each role for
// the whole organisation, or at the facilities that are named.
func grantFields() (names []string) {
	for _, role := range access.Roles {
		names = append(names, "whole-"+string(role), "at-"+string(role))
	}
	return names
}

func grantsOf(form url.Values) (grants []access.Grant) {
	for _, role := range access.Roles {
		if form.Get("whole-"+string(role)) != "" {
			grants = append(grants, access.Grant{Role: role})
		}
		for _, facility := range strings.FieldsFunc(form.Get("at-"+string(role)), func(r rune) bool { return r == ',' || r == ' ' }) {
			grants = append(grants, access.Grant{Role: role, Facility: facility})
		}
	}
	return grants
}

func (s *server) createPerson(w *answer, r *http.Request) {
	form, ok := s.fields(w, r, append(grantFields(), "login")...)
	if !ok {
		return
	}
	i, err := s.Access.Accounts.Create(r.Context(), w.visitor, form.Get("login"), grantsOf(form))
	if err != nil {
		s.showPeople(w, r, err, peopleView{Login: form.Get("login"), grantsView: grantsView{grantsOf(form)}})
		return
	}
	s.showPeople(w, r, nil, peopleView{Invitation: s.link(r, i)})
}

// personView is one account.
type personView struct {
	Person access.Account
	grantsView
	Invitation *invitationShown
}

func (s *server) personPage(w *answer, r *http.Request) { s.showPerson(w, r, nil, nil) }

func (s *server) showPerson(w *answer, r *http.Request, problem error, i *invitationShown) {
	p, err := s.Access.Accounts.Person(r.Context(), w.visitor, r.PathValue("id"))
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	view := personView{p, grantsView{p.Grants}, i}
	if errors.Is(problem, access.ErrGrant) {
		view.Grants = grantsOf(r.PostForm) // as they were filled in
	}
	s.show(w, r, "person", http.StatusOK, problem, view)
}

func (s *server) changePerson(w *answer, r *http.Request) {
	form, ok := s.fields(w, r, append(grantFields(), "version", "disabled")...)
	if !ok {
		return
	}
	version, _ := strconv.ParseInt(form.Get("version"), 10, 64)
	_, err := s.Access.Accounts.Change(r.Context(), w.visitor, r.PathValue("id"), version, grantsOf(form), form.Get("disabled") != "")
	if err != nil {
		s.showPerson(w, r, err, nil)
		return
	}
	s.sendOn(w, r, "/people?saved")
}

func (s *server) invitePerson(w *answer, r *http.Request) {
	if _, ok := s.fields(w, r); !ok {
		return
	}
	i, err := s.Access.Accounts.Invite(r.Context(), w.visitor, r.PathValue("id"))
	if err != nil {
		s.showPerson(w, r, err, nil)
		return
	}
	s.showPerson(w, r, nil, s.link(r, i))
}

// What the API tells of people.

type grantBody struct {
	Role     access.Role `json:"role" enum:"clerk,supervisor,verifier,cold-chain-manager,technician,epidemiologist,operator,auditor,administrator"`
	Facility string      `json:"facility,omitempty" maxLength:"64" doc:"Absent: the whole organisation"`
}

type sessionBody struct {
	ID           string          `json:"id" doc:"The account or the token, as audit lines name it"`
	Organisation string          `json:"organisation"`
	Grants       []grantBody     `json:"grants"`
	Actions      []access.Action `json:"actions" doc:"What is allowed at one place at least"`
	Token        bool            `json:"token" doc:"A program asks, and not a person"`
	Ledger       bool            `json:"ledger" doc:"This server has a page of the ledger, /ledger/"`
	ColdChain    bool            `json:"cold_chain" doc:"And one of the stores, /coldchain/"`
	Ends         time.Time       `json:"ends,omitzero"`
}

type sessionItem struct {
	ID      string      `json:"id"`
	By      access.Kind `json:"by" doc:"How it began"`
	Created time.Time   `json:"created"`
	Seen    time.Time   `json:"seen"`
	Ends    time.Time   `json:"ends"`
	Current bool        `json:"current"`
}

type tokenItem struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Scopes   []access.Action `json:"scopes"`
	Facility string          `json:"facility,omitempty"`
	Created  time.Time       `json:"created"`
	Ends     time.Time       `json:"ends"`
	Used     time.Time       `json:"used,omitzero" doc:"The day of its last use"`
	Secret   string          `json:"secret,omitempty" doc:"Shown once, when it is made"`
}

type personItem struct {
	ID         string          `json:"id"`
	Login      string          `json:"login"`
	Grants     []grantBody     `json:"grants"`
	Disabled   bool            `json:"disabled"`
	Created    time.Time       `json:"created"`
	Version    int64           `json:"version"`
	Invitation *invitationItem `json:"invitation,omitempty" doc:"Shown once, when it is made"`
}

type invitationItem struct {
	Secret string    `json:"secret" doc:"The link is /invitation/ and this"`
	Ends   time.Time `json:"ends"`
}

func grantsOut(grants []access.Grant) []grantBody {
	out := make([]grantBody, len(grants))
	for i, g := range grants {
		out[i] = grantBody(g)
	}
	return out
}

func grantsIn(grants []grantBody) []access.Grant {
	out := make([]access.Grant, len(grants))
	for i, g := range grants {
		out[i] = access.Grant(g)
	}
	return out
}

func personOut(p access.Account) personItem {
	return personItem{ID: p.ID, Login: p.Login, Grants: grantsOut(p.Grants), Disabled: p.Disabled, Created: p.Created, Version: p.Version}
}

func tokenOut(t access.Token) tokenItem {
	return tokenItem{t.ID, t.Name, t.Scopes, t.Facility, t.Created, t.Ends, t.Used, ""}
}

// body is an answer that nobody keeps.
type body[T any] struct {
	CacheControl string `header:"Cache-Control"`
	Body         T
}

func answerOf[T any](v T) *body[T] { return &body[T]{"no-store", v} }

type listOf[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Ask for after= this to go on; absent at the end"`
}

type byID struct {
	ID string `path:"id" maxLength:"64"`
}

// asked returns who asks, or the problem that nobody does.
func (s *server) asked(ctx context.Context) (*access.Visitor, error) {
	if v := visitor(ctx); v != nil {
		return v, nil
	}
	return nil, s.refused(ctx, problemNobody)
}

// refused returns a problem as the library takes it, in the language of its asker.
func (s *server) refused(ctx context.Context, p *problem) error {
	l := messages.English
	if a, ok := ctx.Value(answerKey{}).(*answer); ok {
		l = messages.Accept(a.accept)
	}
	said := p.in(l)
	h := http.Header{"Content-Language": {l.Tag}, "Vary": {problemVary}}
	if p.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(p.wait))
	}
	return huma.ErrorWithHeaders(said, h)
}

// apiError returns an error about people as the library takes it.
func (s *server) apiError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	p := accessProblem(err)
	if p == nil {
		s.log.Error("people", "error", err)
		p = problemInternal
	}
	return s.refused(ctx, p)
}

// describeAccess registers the operations about people.
func (s *server) describeAccess(api huma.API) {
	accounts := s.Access.Accounts
	errs := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Errors: errs, MaxBodyBytes: maxForm, BodyReadTimeout: formTime,
			Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}

	huma.Register(api, op("session", http.MethodGet, "/v1/session", "Tell who asks, and what they may do"),
		func(ctx context.Context, _ *struct{}) (*body[sessionBody], error) {
			v, err := s.asked(ctx)
			if err != nil {
				return nil, err
			}
			out := sessionBody{ID: v.ID, Organisation: v.Organisation, Grants: grantsOut(v.Grants), Actions: []access.Action{}, Token: v.Session == nil, Ledger: s.Ledger != nil, ColdChain: s.Watching != nil}
			for _, a := range access.Actions {
				for _, g := range v.Grants {
					if ok, _ := accounts.Policy.Allow(v.Principal, a, placeOf(v, g)); ok {
						out.Actions = append(out.Actions, a)
						break
					}
				}
			}
			if v.Session != nil {
				out.Ends = v.Session.Ends
			}
			return answerOf(out), nil
		})
	huma.Register(api, op("logout", http.MethodDelete, "/v1/session", "End the session that asks"),
		func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			v, err := s.asked(ctx)
			if err == nil {
				err = s.apiError(ctx, accounts.Logout(ctx, v))
			}
			return nil, err
		})
	huma.Register(api, op("sessions", http.MethodGet, "/v1/sessions", "List one's own sessions"),
		func(ctx context.Context, _ *struct{}) (*body[listOf[sessionItem]], error) {
			v, err := s.asked(ctx)
			if err != nil {
				return nil, err
			}
			list, err := accounts.Sessions(ctx, v)
			if err != nil {
				return nil, s.apiError(ctx, err)
			}
			out := listOf[sessionItem]{Items: []sessionItem{}}
			for _, one := range list {
				out.Items = append(out.Items, sessionItem{one.ID, one.Kind, one.Created, one.Seen, one.Ends, one.ID == v.Session.ID})
			}
			return answerOf(out), nil
		})
	huma.Register(api, op("session-revoke", http.MethodDelete, "/v1/sessions/{id}", "End one of one's own sessions"),
		func(ctx context.Context, in *byID) (*struct{}, error) {
			v, err := s.asked(ctx)
			if err == nil {
				err = s.apiError(ctx, accounts.RevokeSession(ctx, v, in.ID))
			}
			return nil, err
		})
	huma.Register(api, op("tokens", http.MethodGet, "/v1/tokens", "List one's own tokens"),
		func(ctx context.Context, _ *struct{}) (*body[listOf[tokenItem]], error) {
			v, err := s.asked(ctx)
			if err != nil {
				return nil, err
			}
			list, err := accounts.Tokens(ctx, v)
			if err != nil {
				return nil, s.apiError(ctx, err)
			}
			out := listOf[tokenItem]{Items: []tokenItem{}}
			for _, one := range list {
				out.Items = append(out.Items, tokenOut(one))
			}
			return answerOf(out), nil
		})
	made := op("token-make", http.MethodPost, "/v1/tokens", "Make a token for a program")
	made.DefaultStatus = http.StatusCreated
	huma.Register(api, made, func(ctx context.Context, in *struct {
		Body struct {
			Name     string          `json:"name" minLength:"1" maxLength:"128"`
			Scopes   []access.Action `json:"scopes" minItems:"1" maxItems:"64" doc:"What it may do, where its account may"`
			Facility string          `json:"facility,omitempty" maxLength:"64" doc:"Where alone it counts"`
			Days     int             `json:"days" minimum:"1" maximum:"366"`
		}
	}) (*body[tokenItem], error) {
		v, err := s.asked(ctx)
		if err != nil {
			return nil, err
		}
		t, secret, err := accounts.MakeToken(ctx, v, in.Body.Name, in.Body.Scopes, in.Body.Facility, tokenLife(in.Body.Days))
		if err != nil {
			return nil, s.apiError(ctx, err)
		}
		out := tokenOut(t)
		out.Secret = secret
		return answerOf(out), nil
	})
	huma.Register(api, op("token-revoke", http.MethodDelete, "/v1/tokens/{id}", "End one of one's own tokens"),
		func(ctx context.Context, in *byID) (*struct{}, error) {
			v, err := s.asked(ctx)
			if err == nil {
				err = s.apiError(ctx, accounts.RevokeToken(ctx, v, in.ID))
			}
			return nil, err
		})
	huma.Register(api, op("people", http.MethodGet, "/v1/people", "List the accounts that one manages"),
		func(ctx context.Context, in *struct {
			After string `query:"after" maxLength:"64"`
			Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		}) (*body[listOf[personItem]], error) {
			v, err := s.asked(ctx)
			if err != nil {
				return nil, err
			}
			list, next, err := accounts.People(ctx, v, in.After, in.Limit)
			if err != nil {
				return nil, s.apiError(ctx, err)
			}
			out := listOf[personItem]{Items: []personItem{}, Next: next}
			for _, one := range list {
				out.Items = append(out.Items, personOut(one))
			}
			return answerOf(out), nil
		})
	created := op("person-create", http.MethodPost, "/v1/people", "Make an account, with an invitation")
	created.DefaultStatus = http.StatusCreated
	huma.Register(api, created, func(ctx context.Context, in *struct {
		Body struct {
			Login  string      `json:"login" minLength:"1" maxLength:"128"`
			Grants []grantBody `json:"grants" maxItems:"64"`
		}
	}) (*body[personItem], error) {
		v, err := s.asked(ctx)
		if err != nil {
			return nil, err
		}
		i, err := accounts.Create(ctx, v, in.Body.Login, grantsIn(in.Body.Grants))
		if err != nil {
			return nil, s.apiError(ctx, err)
		}
		out := personOut(i.Account)
		out.Invitation = &invitationItem{i.Secret, i.Ends}
		return answerOf(out), nil
	})
	huma.Register(api, op("person", http.MethodGet, "/v1/people/{id}", "Tell of an account that one manages"),
		func(ctx context.Context, in *byID) (*body[personItem], error) {
			v, err := s.asked(ctx)
			if err != nil {
				return nil, err
			}
			p, err := accounts.Person(ctx, v, in.ID)
			if err != nil {
				return nil, s.apiError(ctx, err)
			}
			return answerOf(personOut(p)), nil
		})
	huma.Register(api, op("person-change", http.MethodPatch, "/v1/people/{id}", "Change the grants of an account, or disable it"),
		func(ctx context.Context, in *struct {
			ID   string `path:"id" maxLength:"64"` // not embedded: the library fills in no unexported member
			Body struct {
				Version  int64       `json:"version" doc:"Of the account as it was read"`
				Grants   []grantBody `json:"grants" maxItems:"64" doc:"All of them: they replace those before"`
				Disabled bool        `json:"disabled"`
			}
		}) (*body[personItem], error) {
			v, err := s.asked(ctx)
			if err != nil {
				return nil, err
			}
			p, err := accounts.Change(ctx, v, in.ID, in.Body.Version, grantsIn(in.Body.Grants), in.Body.Disabled)
			if err != nil {
				return nil, s.apiError(ctx, err)
			}
			return answerOf(personOut(p)), nil
		})
	huma.Register(api, op("person-invite", http.MethodPost, "/v1/people/{id}/invitation", "Make a new invitation, in the place of those before"),
		func(ctx context.Context, in *byID) (*body[personItem], error) {
			v, err := s.asked(ctx)
			if err != nil {
				return nil, err
			}
			i, err := accounts.Invite(ctx, v, in.ID)
			if err != nil {
				return nil, s.apiError(ctx, err)
			}
			out := personOut(i.Account)
			out.Invitation = &invitationItem{i.Secret, i.Ends}
			return answerOf(out), nil
		})
}
