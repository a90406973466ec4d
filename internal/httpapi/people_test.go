//go:build linux

package httpapi

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ampoule/internal/access"
)

// loggedIn is a browser of somebody with a role, put straight into the book.
func (b *peopleBed) loggedIn(organisation string, g access.Grant) (*browser, access.Account, access.Session) {
	b.t.Helper()
	b.made++
	now := time.Now().UTC().Truncate(time.Second)
	name := fmt.Sprintf("%032d", b.made)
	p := access.Account{ID: "u-" + name, Organisation: organisation, Login: "specimen." + name, Grants: []access.Grant{g}, Created: now, Version: 1}
	line := access.Line{At: now, By: p.ID, Event: access.EventAccountCreated, Subject: p.ID, Organisation: organisation}
	if err := b.accounts.Book.Create(b.t.Context(), p, access.Invitation{Hash: sha256.Sum256([]byte(name)), Account: p.ID, Ends: now.Add(time.Hour)}, line); err != nil {
		b.t.Fatal(err)
	}
	cookie := "x" + strings.Repeat("0", 10) + name
	s := access.Session{ID: "s-" + name, Hash: sha256.Sum256([]byte(cookie)), Account: p.ID, Kind: access.Password, Created: now, Seen: now, Ends: now.Add(time.Hour)}
	line.Event = access.EventLogin
	if err := b.accounts.Book.Begin(b.t.Context(), s, line); err != nil {
		b.t.Fatal(err)
	}
	w := b.browser()
	w.cookies[hostPrefix+sessionCookie] = &http.Cookie{Name: hostPrefix + sessionCookie, Value: cookie}
	return w, p, s
}

// TestPeopleByRoleAndPlace asks for every operation on people as everybody: an
// administrator manages the people of their own place, everybody their own
// sessions and tokens, and nobody those of others.
func TestPeopleByRoleAndPlace(t *testing.T) {
	b := newPeopleBed(t)
	b.administrator() // somebody must always be able to let others in
	asked := 0
	for _, role := range testedRoles() {
		for place, at := range map[string]struct {
			organisation, facility string
			mine                   bool // the north facility of org-1 is theirs
		}{
			"at the place":         {"org-1", "north", true},
			"the whole":            {"org-1", "", true},
			"another facility":     {"org-1", "south", false},
			"another organisation": {"org-2", "", false},
		} {
			manages := role == access.Administrator && at.mine
			settles := (role == access.Administrator || role == access.Operator) && place == "the whole"
			asker, self, own := b.loggedIn(at.organisation, access.Grant{Role: role, Facility: at.facility})
			for _, o := range []struct {
				name, method, path, body string
				want                     int // where it is allowed
				allowed                  bool
				hidden                   int // what it answers otherwise
			}{
				{"who am I", "GET", "/v1/session", "", 200, true, 0},
				{"my sessions", "GET", "/v1/sessions", "", 200, true, 0},
				{"another's session", "DELETE", "/v1/sessions/{session}", "", 204, false, 404},
				{"my tokens", "GET", "/v1/tokens", "", 200, true, 0},
				{"a token of my own", "POST", "/v1/tokens", `{"name":"x","scopes":["certificate:issue"],"days":1}`, 201, true, 0},
				{"another's token", "DELETE", "/v1/tokens/{token}", "", 204, false, 404},
				{"people", "GET", "/v1/people", "", 200, role == access.Administrator, 403},
				{"let in at the place", "POST", "/v1/people", `{"login":"{login}","grants":[{"role":"clerk","facility":"north"}]}`, 201, manages || role == access.Administrator && at.organisation == "org-2", 403},
				{"let in elsewhere", "POST", "/v1/people", `{"login":"{login}","organisation":"org-9","grants":[{"role":"clerk"}]}`, 0, false, 422},
				{"a person", "GET", "/v1/people/{id}", "", 200, manages, 404},
				{"change a person", "PATCH", "/v1/people/{id}", `{"version":1,"grants":[{"role":"verifier","facility":"north"}],"disabled":false}`, 200, manages, 404},
				{"invite a person", "POST", "/v1/people/{id}/invitation", "", 200, manages, 404},
				{"settings", "GET", "/v1/settings", "", 200, settles, 403},
				{"change settings", "PATCH", "/v1/settings", `{}`, 428, settles, 403},
				{"log out", "DELETE", "/v1/session", "", 204, true, 0},
			} {
				_, victim, session := b.loggedIn("org-1", access.Grant{Role: access.Clerk, Facility: "north"})
				token := access.Token{ID: "t-" + victim.ID[2:], Hash: sha256.Sum256([]byte(victim.ID)), Account: victim.ID, Name: "x", Scopes: []access.Action{access.CertificateIssue}, Created: victim.Created, Ends: victim.Created.Add(time.Hour)}
				if err := b.accounts.Book.MakeToken(t.Context(), token, access.Line{At: victim.Created, By: victim.ID, Event: access.EventTokenMade, Subject: token.ID, Organisation: "org-1"}); err != nil {
					t.Fatal(err)
				}
				fill := strings.NewReplacer("{id}", victim.ID, "{session}", session.ID, "{token}", token.ID, "{login}", "new."+victim.Login)
				name := fmt.Sprintf("%s as %s, %s", o.name, role, place)

				if res := b.browser().ask(o.method, fill.Replace(o.path), fill.Replace(o.body)); res.StatusCode != 401 {
					t.Errorf("%s, as nobody: %d", o.name, res.StatusCode)
				}
				res := asker.ask(o.method, fill.Replace(o.path), fill.Replace(o.body))
				text, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				asked++
				switch {
				case o.allowed && res.StatusCode != o.want && !(o.want == 204 && res.StatusCode == 200) && !(o.want == 200 && res.StatusCode == 201):
					t.Errorf("%s: %d, want %d: %s", name, res.StatusCode, o.want, text)
				case !o.allowed && res.StatusCode != o.hidden && !(o.hidden == 404 && res.StatusCode == 403 && role != access.Administrator):
					t.Errorf("%s: %d, want %d: %s", name, res.StatusCode, o.hidden, text)
				}
				if !manages && o.name != "let in at the place" && (strings.Contains(string(text), victim.ID) || strings.Contains(string(text), victim.Login)) {
					t.Errorf("%s is told of somebody else: %s", name, text)
				}
				// What was refused was not done.
				if now, err := b.accounts.Book.Account(t.Context(), victim.ID); err != nil || !o.allowed && now.Version != 1 {
					t.Errorf("%s: %+v, %v", name, now, err)
				}
				if list, err := b.accounts.Book.Sessions(t.Context(), victim.ID); err != nil || len(list) != 1 {
					t.Errorf("%s: %d sessions, %v", name, len(list), err)
				}
				if list, err := b.accounts.Book.Tokens(t.Context(), victim.ID); err != nil || len(list) != 1 {
					t.Errorf("%s: %d tokens, %v", name, len(list), err)
				}
				var who struct{ ID string }
				if o.name == "who am I" && (json.Unmarshal(text, &who) != nil || who.ID != self.ID) {
					t.Errorf("%s: %s", name, text)
				}
				if o.name == "my sessions" && !strings.Contains(string(text), own.ID) {
					t.Errorf("%s: %s", name, text)
				}
			}
			if res := asker.ask("GET", "/v1/session", ""); res.StatusCode != 401 {
				t.Errorf("%s, %s: logged out, and %d", role, place, res.StatusCode)
			}
		}
	}
	if want := len(testedRoles()) * 4 * 15; asked != want {
		t.Errorf("%d were asked, want %d", asked, want)
	}
}
