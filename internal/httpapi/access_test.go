//go:build linux

package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/keys"
	"ampoule/internal/messages"
	"ampoule/internal/store"
)

const passphrase = "correct horse battery staple"

// peopleBed is a server with accounts, and browsers that keep their cookies.
type peopleBed struct {
	t        *testing.T
	page     *Page
	handler  http.Handler
	accounts *access.Accounts
	log      bytes.Buffer
	token    string // of the first run
	made     int    // accounts that were put straight into the book
}

func newPeopleBed(t *testing.T) *peopleBed {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	master, err := keys.NewMasterKey(rand.Reader)
	ok(err)
	c := store.Config{Dir: t.TempDir(), Master: master}
	ok(store.Create(t.Context(), c))
	s, err := store.Open(t.Context(), c)
	ok(err)
	t.Cleanup(func() { _ = s.Close() })
	b := &peopleBed{t: t}
	b.accounts, err = access.New(s.Accounts(), access.Config{Origin: "https://desk.example", Idle: time.Hour, Absolute: 8 * time.Hour})
	ok(err)
	b.token, err = b.accounts.SetupToken(t.Context())
	ok(err)
	page := newBed(t).page
	page.API, page.Access, page.Log = &API{Version: "test"}, &Access{Accounts: b.accounts}, slog.New(slog.NewJSONHandler(&b.log, nil))
	b.page = page
	f := NewFront()
	f.Show(page, func() error { return nil })
	b.handler = f.Handler()
	return b
}

// browser is one that comes from our own pages.
type browser struct {
	*peopleBed
	cookies map[string]*http.Cookie
}

func (b *peopleBed) browser() *browser { return &browser{b, map[string]*http.Cookie{}} }

// ask makes a request with the cookies; header is pairs of name and value.
func (b *browser) ask(method, target, body string, header ...string) *http.Response {
	b.t.Helper()
	r := httptest.NewRequest(method, "https://desk.example"+target, strings.NewReader(body))
	if method != "GET" {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return res
}

func (b *browser) want(status int, method, target, body string, header ...string) string {
	b.t.Helper()
	res := b.ask(method, target, body, header...)
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		b.t.Errorf("%s %s: %d, want %d; %v %s", method, target, res.StatusCode, status, err, text)
	}
	if strings.Contains(string(text), "⟦") {
		b.t.Errorf("%s %s: a text is missing: %s", method, target, text)
	}
	return string(text)
}

func setupForm(token string) url.Values {
	return url.Values{
		"token": {token}, "organisation": {"org-1"}, "name": {"Specimen authority"}, "participant": {"xxa"}, "country": {"xa"}, "language": {"fr"},
		"zone": {"Africa/Nairobi"}, "login": {"specimen.admin"}, "password": {passphrase},
	}
}

// administrator is a browser that has set the service up.
func (b *peopleBed) administrator() *browser {
	b.t.Helper()
	admin := b.browser()
	admin.want(303, "POST", "/setup", setupForm(b.token).Encode())
	return admin
}

var inviteLink = regexp.MustCompile(`https://desk\.example(/invitation/[A-Za-z0-9_-]{43})`)

// invited is a browser whose person was let in with some roles.
func (b *browser) invited(login string, roles url.Values) *browser {
	b.t.Helper()
	form := url.Values{"login": {login}}
	for name, values := range roles {
		form[name] = values
	}
	m := inviteLink.FindStringSubmatch(b.want(200, "POST", "/people", form.Encode()))
	if m == nil {
		b.t.Fatal("no link")
	}
	one := b.browser()
	one.want(200, "GET", m[1], "")
	one.want(422, "POST", m[1], "password=short")
	one.want(303, "POST", m[1], url.Values{"password": {passphrase}}.Encode())
	one.want(404, "POST", m[1], url.Values{"password": {passphrase}}.Encode())
	return one
}

func (b *peopleBed) quiet() {
	b.t.Helper()
	for _, secret := range []string{"specimen", "battery", b.token, "amp_", "invitation/"} {
		if strings.Contains(strings.ReplaceAll(b.log.String(), "/invitation/{secret}", ""), secret) {
			b.t.Errorf("the log holds %q", secret)
		}
	}
}

// TestSetupPages: the first run, its refusals, and its end.
func TestSetupPages(t *testing.T) {
	b := newPeopleBed(t)
	one := b.browser()
	if res := one.ask("GET", "/login", ""); res.Header.Get("Location") != "/setup" {
		t.Errorf("before the first run: %d", res.StatusCode)
	}
	one.want(200, "GET", "/setup", "")
	wrong := setupForm("wrong")
	if page := one.want(403, "POST", "/setup", wrong.Encode()); !strings.Contains(page, `data-reason="wrong-setup-token"`) || !strings.Contains(page, `value="org-1"`) || strings.Contains(page, "battery") {
		t.Errorf("what was filled in, but for the password: %s", page)
	}
	more := setupForm(b.token)
	more.Set("grants", "clerk")
	one.want(400, "POST", "/setup", more.Encode())
	one.want(403, "POST", "/setup", setupForm(b.token).Encode(), "Sec-Fetch-Site", "cross-site")
	if begun := one.want(200, "POST", "/setup/passkey", setupForm(b.token).Encode()); !strings.Contains(begun, `"challenge"`) || !strings.Contains(begun, `"ceremony"`) {
		t.Errorf("%s", begun)
	}
	one.want(303, "POST", "/setup", setupForm(b.token).Encode())
	one.want(200, "GET", "/account", "")
	for _, who := range []*browser{one, b.browser()} {
		who.want(403, "GET", "/setup", "")
		who.want(403, "POST", "/setup", setupForm(b.token).Encode())
		who.want(403, "POST", "/setup/passkey", setupForm(b.token).Encode())
	}
	b.quiet()
}

// TestLoginPages: a cookie that a browser keeps to itself, new at each login; what
// one has planted is worth nothing.
func TestLoginPages(t *testing.T) {
	b := newPeopleBed(t)
	b.administrator()
	one := b.browser()
	one.cookies["__Host-ampoule"] = &http.Cookie{Name: "__Host-ampoule", Value: strings.Repeat("A", 43)}
	login := url.Values{"login": {"Specimen.Admin"}, "password": {passphrase}}.Encode()
	res := one.ask("POST", "/login", login)
	c := one.cookies["__Host-ampoule"]
	if res.StatusCode != 303 || c == nil || c.Value == strings.Repeat("A", 43) || len(c.Value) != 43 || !c.Secure || !c.HttpOnly ||
		c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Fatalf("%d %+v", res.StatusCode, c)
	}
	first := c.Value
	one.want(200, "GET", "/account", "")
	one.want(303, "POST", "/login", login)
	if one.cookies["__Host-ampoule"].Value == first {
		t.Error("the identifier of a session outlives a login")
	}

	// Another site's pages.
	for _, tt := range []struct{ name, value string }{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		one.want(403, "POST", "/logout", "", tt.name, tt.value)
		one.want(403, "POST", "/login", login, tt.name, tt.value)
		one.want(403, "POST", "/people", "login=specimen.evil", tt.name, tt.value)
		one.want(403, "DELETE", "/v1/session", "", tt.name, tt.value)
		one.want(403, "POST", "/v1/tokens", `{"name":"x","scopes":["settings:manage"],"days":1}`, tt.name, tt.value)
	}
	one.want(403, "POST", "/v1/people", `{"login":"specimen.evil","grants":[]}`, "Sec-Fetch-Site", "", "Origin", "https://evil.example")
	// No GET changes anything.
	for _, path := range []string{"/logout", "/people/x/invitation", "/account/tokens"} {
		one.want(405, "GET", path, "")
	}
	if res := one.ask("GET", "/account", ""); !strings.Contains(res.Header.Get("Content-Security-Policy"), "script-src 'self'; connect-src 'self'") || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", res.Header)
	}

	one.want(303, "POST", "/logout", "")
	if len(one.cookies) != 0 {
		t.Errorf("%v", one.cookies)
	}
	one.cookies["__Host-ampoule"] = &http.Cookie{Name: "__Host-ampoule", Value: first}
	one.want(200, "GET", "/v1/session", "") // the first login's goes on
	if res := one.ask("GET", "/account", ""); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}

	guess := b.browser()
	wrong := url.Values{"login": {"specimen.admin"}, "password": {"wrong"}}.Encode()
	for range 5 {
		guess.want(401, "POST", "/login", wrong)
	}
	res = guess.ask("POST", "/login", login)
	if page := readAll(t, res); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" || !strings.Contains(page, `data-reason="too-many-tries"`) {
		t.Errorf("after five guesses: %d %s", res.StatusCode, page)
	}
	if res := guess.ask("GET", "/people", ""); res.Header.Get("Location") != "/login?next=%2Fpeople" {
		t.Errorf("nobody sees people: %d", res.StatusCode)
	}
	guess.want(401, "POST", "/account/tokens", "name=x")
	guess.want(409, "POST", "/login/passkey", `{"ceremony":"x","answer":{}}`)
	guess.want(422, "POST", "/login/passkey", `{"ceremony":"x","answer":{},"account":"u-1"}`)
	guess.want(200, "POST", "/login/passkey/begin", "")
	b.quiet()
}

// TestPeoplePages: every page in every language, by those who may see it.
func TestPeoplePages(t *testing.T) {
	b := newPeopleBed(t)
	admin := b.administrator()
	clerk := admin.invited("specimen.clerk", url.Values{"at-clerk": {"north, south"}, "whole-verifier": {"1"}})
	list := admin.want(200, "GET", "/people", "")
	m := regexp.MustCompile(`/people/(u-[0-9a-f-]{36})"><bdi>specimen\.clerk`).FindStringSubmatch(list)
	if m == nil {
		t.Fatal(list)
	}
	person := "/people/" + m[1]
	if page := admin.want(200, "GET", person, ""); !strings.Contains(page, `value="north, south"`) || !strings.Contains(page, `name="whole-verifier" value="1" aria-label`) {
		t.Error(page)
	}
	for path, form := range map[string]string{"/people": "login=x", person: "version=1", person + "/invitation": ""} {
		if !strings.HasSuffix(path, "invitation") {
			clerk.want(403, "GET", path, "")
		}
		if text := clerk.want(403, "POST", path, form); !strings.Contains(text, `data-reason="not-allowed"`) {
			t.Errorf("%s", text)
		}
	}
	for _, l := range messages.Languages {
		direction := `dir="` + l.Direction() + `"`
		for path, who := range map[string]*browser{"/account": clerk, "/people": admin, person: admin, "/login": b.browser()} {
			page := who.want(200, "GET", path, "", "Accept-Language", l.Tag)
			if !strings.Contains(page, `<html lang="`+l.Tag+`" `+direction) || strings.Contains(page, l.Text("server.forgotten")) || strings.Contains(page, "style=") {
				t.Errorf("%s in %s", path, l.Tag)
			}
		}
	}

	// Tokens: shown once.
	page := clerk.want(200, "POST", "/account/tokens", "name=desk&scope=certificate:issue&days=30&facility=north")
	text := regexp.MustCompile(`amp_[A-Za-z0-9_-]{43}`).FindString(page)
	if text == "" || strings.Contains(clerk.want(200, "GET", "/account", ""), text) {
		t.Error("a token is shown once")
	}
	clerk.want(422, "POST", "/account/tokens", "name=desk&scope=people:manage&days=30")
	clerk.want(422, "POST", "/account/tokens", "name=desk&scope=certificate:issue&days=400")
	clerk.want(400, "POST", "/account/tokens", "name=desk&scope=certificate:issue&days=4&account=u-1")

	// A change, and one that comes too late.
	change := "version=1&at-supervisor=north"
	admin.want(400, "POST", person, change+"&organisation=org-2")
	admin.want(303, "POST", person, change)
	admin.want(409, "POST", person, change)
	admin.want(422, "POST", person, "version=2&at-clerk=a/b")
	clerk.want(200, "POST", "/account/tokens", "name=desk&scope=certificate:revoke&days=30")
	admin.want(303, "POST", person, "version=2&at-supervisor=north&disabled=1")
	if res := clerk.ask("GET", "/account", ""); res.StatusCode != 303 || len(clerk.cookies) != 0 {
		t.Errorf("who was disabled: %d %v", res.StatusCode, clerk.cookies)
	}
	b.quiet()
}

// TestPeopleAPI: the same by JSON, with tokens and with their bounds.
func TestPeopleAPI(t *testing.T) {
	b := newPeopleBed(t)
	admin := b.administrator()
	nobody := b.browser()
	for _, path := range []string{"/v1/session", "/v1/sessions", "/v1/tokens", "/v1/people", "/v1/people/u-1"} {
		if body := nobody.want(401, "GET", path, "", "Accept-Language", "fr"); !strings.Contains(body, `"reason":"not-logged-in"`) || !strings.Contains(body, "Vous n’êtes pas connecté") {
			t.Errorf("%s: %s", path, body)
		}
	}
	var session struct {
		ID, Organisation string
		Actions          []string
		Token            bool
	}
	decode := func(text string, v any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), v); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	decode(admin.want(200, "GET", "/v1/session", ""), &session)
	if session.Organisation != "org-1" || fmt.Sprint(session.Actions) != "[people:manage settings:manage ledger:vote]" || session.Token {
		t.Errorf("%+v", session)
	}

	var person struct {
		ID         string
		Version    int64
		Disabled   bool
		Invitation struct{ Secret string }
	}
	decode(admin.want(201, "POST", "/v1/people", `{"login":"specimen.clerk","grants":[{"role":"clerk","facility":"north"}]}`), &person)
	if len(person.Invitation.Secret) != 43 || person.Version != 1 {
		t.Errorf("%+v", person)
	}
	for name, body := range map[string]string{
		"an identifier of one's own": `{"login":"specimen.x","grants":[],"id":"u-1"}`,
		"another organisation":       `{"login":"specimen.x","grants":[],"organisation":"org-2"}`,
		"a member of a grant":        `{"login":"specimen.x","grants":[{"role":"clerk","organisation":"org-2"}]}`,
		"a made-up role":             `{"login":"specimen.x","grants":[{"role":"king"}]}`,
	} {
		if text := admin.want(422, "POST", "/v1/people", body); strings.Contains(text, "king") && !strings.Contains(text, "invalid-request") {
			t.Errorf("%s: %s", name, text)
		}
	}
	admin.want(409, "POST", "/v1/people", `{"login":"SPECIMEN.clerk","grants":[]}`)
	admin.want(415, "POST", "/v1/people", `login=x`)
	admin.want(404, "GET", "/v1/people/u-nobody", "")
	path := "/v1/people/" + person.ID
	admin.want(422, "PATCH", path, `{"version":1,"grants":[],"disabled":false,"login":"specimen.y"}`)
	admin.want(200, "PATCH", path, `{"version":1,"grants":[{"role":"clerk"}],"disabled":false}`)
	admin.want(409, "PATCH", path, `{"version":1,"grants":[],"disabled":false}`)
	admin.want(409, "PATCH", "/v1/people/"+session.ID, `{"version":1,"grants":[],"disabled":false}`)
	decode(admin.want(200, "POST", path+"/invitation", ""), &person)

	clerk := b.browser()
	clerk.want(303, "POST", "/invitation/"+person.Invitation.Secret, url.Values{"password": {passphrase}}.Encode())
	clerk.want(403, "GET", "/v1/people", "")
	clerk.want(403, "POST", "/v1/people", `{"login":"specimen.x","grants":[]}`)
	var token struct{ ID, Secret string }
	decode(clerk.want(201, "POST", "/v1/tokens", `{"name":"desk","scopes":["certificate:issue"],"days":30}`), &token)
	if list := clerk.want(200, "GET", "/v1/tokens", ""); !strings.Contains(list, token.ID) || strings.Contains(list, token.Secret) {
		t.Errorf("%s", list)
	}
	// A program, from anywhere: nothing is sent by itself.
	program := []string{"Authorization", "Bearer " + token.Secret, "Sec-Fetch-Site", "cross-site"}
	decode(nobody.want(200, "GET", "/v1/session", "", program...), &session)
	if !session.Token || session.ID != token.ID || fmt.Sprint(session.Actions) != "[certificate:issue]" {
		t.Errorf("%+v", session)
	}
	nobody.want(403, "POST", "/v1/tokens", `{"name":"another","scopes":["certificate:issue"],"days":30}`, program...)
	nobody.want(403, "GET", "/v1/sessions", "", program...)
	nobody.want(403, "GET", "/v1/people", "", program...)
	if page := nobody.ask("GET", "/account", "", program...); page.StatusCode != 401 {
		t.Errorf("a page for a program: %d", page.StatusCode)
	}
	clerk.want(204, "DELETE", "/v1/tokens/"+token.ID, "")
	if text := nobody.want(401, "GET", "/v1/session", "", program...); !strings.Contains(text, "bad-token") {
		t.Error(text)
	}
	// Whoever shows a token that is not valid is not taken for the cookie's person.
	admin.want(401, "GET", "/v1/session", "", "Authorization", "Bearer "+token.Secret)

	var sessions struct {
		Items []struct {
			ID      string
			Current bool
		}
	}
	decode(admin.want(200, "GET", "/v1/sessions", ""), &sessions)
	if len(sessions.Items) != 1 || !sessions.Items[0].Current {
		t.Errorf("%+v", sessions)
	}
	clerk.want(404, "DELETE", "/v1/sessions/"+sessions.Items[0].ID, "")
	admin.want(204, "DELETE", "/v1/session", "")
	admin.want(401, "GET", "/v1/session", "")
	if docs := nobody.want(200, "GET", "/docs", ""); !strings.Contains(docs, "PATCH /v1/people/{id}") || !strings.Contains(docs, "DELETE /v1/session<") {
		t.Error("the documentation lacks an operation")
	}
	b.quiet()
}

// TestNoAccounts: without accounts there is none of it, and the rest is as it was.
func TestNoAccounts(t *testing.T) {
	b := newBed(t)
	for _, path := range []string{"/login", "/setup", "/account", "/people", "/passkey.js"} {
		wantStatus(t, b.get(t, path), 404, "text/html")
	}
	if page := wantStatus(t, b.get(t, "/"), 200, "text/html"); strings.Contains(page, "/account") {
		t.Error("a page of nobody leads to an account")
	}
}

// TestLocalPath: a login leads on within this service, and nowhere else.
func TestLocalPath(t *testing.T) {
	for text, local := range map[string]bool{
		"/": true, "/issuer/": true, "/account": true, "/people/u-1": true, "/verifier/?x=1": true,
		"": false, "issuer": false, "//evil.example": false, "///evil.example": false, "/\\evil.example": false, "\\/evil.example": false, "/\t/evil.example": false,
		"https://evil.example/": false, "javascript:alert(1)": false, "http:evil": false, "//user@evil.example": false, "/%2f/evil.example": false,
		"/../..//evil.example": false, "/a//b": false, "/ok\r\nSet-Cookie: a=b": false, "/" + strings.Repeat("a", 300): false, "@evil.example": false,
	} {
		want := ""
		if local {
			want = text
		}
		if got := localPath(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestLoginLeadsOn: to where somebody was going, and to no other site.
func TestLoginLeadsOn(t *testing.T) {
	b := newPeopleBed(t)
	b.administrator()
	for next, want := range map[string]string{"": "/account", "/people": "/people", "/issuer/": "/issuer/", "//evil.example": "/account", "https://evil.example/": "/account"} {
		one := b.browser()
		if page := one.want(200, "GET", "/login?next="+url.QueryEscape(next), ""); strings.Contains(page, "evil") {
			t.Errorf("%q stands on the page", next)
		}
		res := one.ask("POST", "/login", url.Values{"login": {"specimen.admin"}, "password": {passphrase}, "next": {next}}.Encode())
		if res.StatusCode != 303 || res.Header.Get("Location") != want {
			t.Errorf("%q: %d %q", next, res.StatusCode, res.Header.Get("Location"))
		}
	}
}
