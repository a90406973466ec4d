package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/internal/access"
)

// People holds a book against its contract. open returns a new, empty book.
func People(t *testing.T, open func(*testing.T) access.Book) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, access.Book)
	}{
		{"set-up", testSetup},
		{"set-up at once", testSetupAtOnce},
		{"accounts", testAccounts},
		{"last administrator", testLastAdministrator},
		{"invitations", testInvitations},
		{"credentials", testCredentials},
		{"sessions", testSessions},
		{"tokens", testTokens},
		{"disabled", testDisabled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, open(t))
		})
	}
}

const organisation = "org-1"

func line(e access.Event) access.Line {
	return access.Line{At: Day, By: "u-test", Event: e, Organisation: organisation}
}

// person is an account with a name that must not stand anywhere in the clear.
func person(n int, grants ...access.Grant) access.Account {
	return access.Account{
		ID: fmt.Sprintf("u-%04d", n), Organisation: organisation, Login: fmt.Sprintf("specimen.login.%d", n), Grants: grants, Created: Day, Version: 1,
	}
}

func password(n int, account string) access.Credential {
	return access.Credential{ID: fmt.Sprintf("c-%04d", n), Account: account, Kind: access.Password, Handle: account, Content: []byte("hash"), Created: Day}
}

func passkey(n int, account string) access.Credential {
	return access.Credential{
		ID: fmt.Sprintf("c-%04d", n), Account: account, Kind: access.Passkey, Handle: fmt.Sprint("key ", n), Content: []byte("public"), Name: "Specimen's telephone", Created: Day,
	}
}

var administrator = access.Grant{Role: access.Administrator}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func same(t testing.TB, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// newBook is a book that is set up, with the first administrator.
func newBook(t testing.TB, b access.Book) access.Account {
	t.Helper()
	a := person(1, administrator)
	must(t, b.Setup(t.Context(), map[string]string{"organisation": organisation, "language": "fr"}, a, password(1, a.ID), line(access.EventSetup)))
	return a
}

func testSetup(t *testing.T, b access.Book) {
	ctx := t.Context()
	if s, err := b.Settings(ctx); err != nil || len(s) != 0 {
		t.Errorf("before: %v %v", s, err)
	}
	a := newBook(t, b)
	s, err := b.Settings(ctx)
	if err != nil || s["organisation"] != organisation || s["language"] != "fr" || s["set-up"] == "" {
		t.Errorf("after: %v %v", s, err)
	}
	other := person(2, administrator)
	want(t, "again", b.Setup(ctx, map[string]string{"organisation": "evil"}, other, password(2, other.ID), line(access.EventSetup)), access.ErrSetUp)
	_, err = b.Account(ctx, other.ID)
	want(t, "the second administrator", err, access.ErrNotFound)
	got, err := b.Account(ctx, a.ID)
	must(t, err)
	same(t, a, got)

	must(t, b.ChangeSettings(ctx, s, map[string]string{"language": "ar"}, line(access.EventSettingsChanged)))
	want(t, "as it was before", b.ChangeSettings(ctx, s, map[string]string{"language": "es"}, line(access.EventSettingsChanged)), access.ErrConflict)
	s["language"] = "ar"
	want(t, "a setting that is not there", b.ChangeSettings(ctx, s, map[string]string{"language": "es", "colour": "red"}, line(access.EventSettingsChanged)), access.ErrConflict)
	s, err = b.Settings(ctx)
	must(t, err)
	same(t, "ar", s["language"])
}

func testSetupAtOnce(t *testing.T, b access.Book) {
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for n := range errs {
		wg.Go(func() {
			a := person(n, administrator)
			errs[n] = b.Setup(t.Context(), map[string]string{"organisation": fmt.Sprint(n)}, a, password(n, a.ID), line(access.EventSetup))
		})
	}
	wg.Wait()
	won := -1
	for n, err := range errs {
		switch {
		case err == nil && won < 0:
			won = n
		case err == nil:
			t.Errorf("%d won, and %d", won, n)
		default:
			want(t, "who lost", err, access.ErrSetUp)
		}
	}
	people, err := b.People(t.Context(), organisation, "", 10)
	if s, _ := b.Settings(t.Context()); err != nil || len(people) != 1 || s["organisation"] != fmt.Sprint(won) {
		t.Errorf("%v %v", people, err)
	}
}

func testAccounts(t *testing.T, b access.Book) {
	ctx := t.Context()
	first := newBook(t, b)
	all := []access.Account{first}
	for n := 2; n < 6; n++ {
		a := person(n, access.Grant{Role: access.Clerk, Facility: "north"}, access.Grant{Role: access.Verifier})
		must(t, b.Create(ctx, a, access.Invitation{Hash: sha256.Sum256([]byte(a.ID)), Account: a.ID, Ends: Day.Add(time.Hour)}, line(access.EventAccountCreated)))
		all = append(all, a)
	}
	foreign := person(9)
	foreign.Organisation = "org-2"
	must(t, b.Create(ctx, foreign, access.Invitation{Hash: sha256.Sum256([]byte("9")), Account: foreign.ID}, line(access.EventAccountCreated)))
	twin := person(7)
	twin.Login = all[3].Login
	want(t, "a login name twice", b.Create(ctx, twin, access.Invitation{Account: twin.ID}, line(access.EventAccountCreated)), access.ErrLoginTaken)

	got, err := b.ByLogin(ctx, all[3].Login)
	must(t, err)
	same(t, all[3], got)
	_, err = b.ByLogin(ctx, "nobody")
	want(t, "nobody's login", err, access.ErrNotFound)
	page, err := b.People(ctx, organisation, "", 3)
	must(t, err)
	same(t, all[:3], page)
	page, err = b.People(ctx, organisation, page[2].ID, 3)
	must(t, err)
	same(t, all[3:], page)

	changed := all[2]
	changed.Grants = []access.Grant{{Role: access.Supervisor}}
	must(t, b.Change(ctx, changed, line(access.EventAccountChanged)))
	want(t, "an old version", b.Change(ctx, changed, line(access.EventAccountChanged)), access.ErrConflict)
	changed.Version++
	got, err = b.Account(ctx, changed.ID)
	must(t, err)
	same(t, changed, got)
	elsewhere := changed
	elsewhere.Organisation = "org-2"
	want(t, "another organisation's", b.Change(ctx, elsewhere, line(access.EventAccountChanged)), access.ErrConflict)
}

func testLastAdministrator(t *testing.T, b access.Book) {
	ctx := t.Context()
	a := newBook(t, b)
	disabled := a
	disabled.Disabled = true
	want(t, "disabled", b.Change(ctx, disabled, line(access.EventAccountDisabled)), access.ErrLastOne)
	clerk := a
	clerk.Grants = []access.Grant{{Role: access.Clerk}, {Role: access.Administrator, Facility: "north"}}
	want(t, "made a clerk", b.Change(ctx, clerk, line(access.EventAccountChanged)), access.ErrLastOne)

	// Two who take the right from each other at once.
	second := person(2, administrator)
	must(t, b.Create(ctx, second, access.Invitation{Account: second.ID}, line(access.EventAccountCreated)))
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for n, one := range []access.Account{a, second} {
		one.Disabled = true
		wg.Go(func() { errs[n] = b.Change(ctx, one, line(access.EventAccountDisabled)) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), access.ErrLastOne) {
		t.Errorf("%v", errs)
	}
}

func testInvitations(t *testing.T, b access.Book) {
	ctx := t.Context()
	newBook(t, b)
	a := person(2, access.Grant{Role: access.Clerk})
	hash := sha256.Sum256([]byte("first"))
	must(t, b.Create(ctx, a, access.Invitation{Hash: hash, Account: a.ID, Ends: Day.Add(time.Hour)}, line(access.EventAccountCreated)))
	got, err := b.Invited(ctx, hash, Day)
	must(t, err)
	same(t, a, got)
	_, err = b.Invited(ctx, hash, Day.Add(time.Hour))
	want(t, "one that has ended", err, access.ErrNotFound)
	want(t, "one that has ended", b.Accept(ctx, hash, Day.Add(time.Hour), password(2, a.ID), line(access.EventCredentialAdded)), access.ErrNotFound)
	want(t, "for another account", b.Accept(ctx, hash, Day, password(2, "u-0001"), line(access.EventCredentialAdded)), access.ErrNotFound)

	next := sha256.Sum256([]byte("second"))
	must(t, b.Invite(ctx, access.Invitation{Hash: next, Account: a.ID, Ends: Day.Add(time.Hour)}, line(access.EventAccountInvited)))
	_, err = b.Invited(ctx, hash, Day)
	want(t, "the one before", err, access.ErrNotFound)

	errs := make([]error, 6)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() { errs[n] = b.Accept(ctx, next, Day, passkey(10+n, a.ID), line(access.EventCredentialAdded)) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			want(t, "who was late", err, access.ErrNotFound)
		}
	}
	if list, err := b.Credentials(ctx, a.ID); err != nil || won != 1 || len(list) != 1 {
		t.Errorf("%d won, %d credentials, %v", won, len(list), err)
	}
}

func testCredentials(t *testing.T, b access.Book) {
	ctx := t.Context()
	a := newBook(t, b)
	key := passkey(2, a.ID)
	must(t, b.AddCredential(ctx, key, line(access.EventCredentialAdded)))
	twin := passkey(3, "u-0002")
	twin.Handle = key.Handle
	want(t, "the same passkey", b.AddCredential(ctx, twin, line(access.EventCredentialAdded)), access.ErrTaken)
	got, err := b.Credential(ctx, access.Passkey, key.Handle)
	must(t, err)
	same(t, key, got)
	_, err = b.Credential(ctx, access.OIDC, key.Handle)
	want(t, "of another kind", err, access.ErrNotFound)

	key.Content, key.Used = []byte("counted"), Day.Add(time.Minute)
	must(t, b.UseCredential(ctx, key))
	newer := password(4, a.ID)
	newer.Content = []byte("another")
	must(t, b.AddCredential(ctx, newer, line(access.EventCredentialAdded)))
	list, err := b.Credentials(ctx, a.ID)
	must(t, err)
	same(t, []access.Credential{key, newer}, list)

	want(t, "another's", b.RemoveCredential(ctx, "u-0002", key.ID, line(access.EventCredentialGone)), access.ErrNotFound)
	must(t, b.RemoveCredential(ctx, a.ID, key.ID, line(access.EventCredentialGone)))
	want(t, "the last one", b.RemoveCredential(ctx, a.ID, newer.ID, line(access.EventCredentialGone)), access.ErrNotFound)
}

func session(n int, account string) access.Session {
	return access.Session{
		ID: fmt.Sprintf("s-%04d", n), Hash: sha256.Sum256([]byte{byte(n)}), Account: account, Kind: access.Passkey,
		Created: Day, Seen: Day, Ends: Day.Add(time.Hour),
	}
}

func testSessions(t *testing.T, b access.Book) {
	ctx := t.Context()
	a := newBook(t, b)
	old, one, two := session(1, a.ID), session(2, a.ID), session(3, a.ID)
	old.Ends = Day
	for _, s := range []access.Session{old, one, two} {
		must(t, b.Begin(ctx, s, line(access.EventLogin)))
	}
	list, err := b.Sessions(ctx, a.ID)
	must(t, err)
	same(t, []access.Session{two, one}, list)
	must(t, b.Seen(ctx, two.ID, Day.Add(5*time.Minute)))
	two.Seen = Day.Add(5 * time.Minute)
	got, account, err := b.Session(ctx, two.Hash)
	must(t, err)
	same(t, two, got)
	same(t, a, account)
	want(t, "another's", b.End(ctx, "u-0002", one.ID, line(access.EventSessionRevoked)), access.ErrNotFound)
	must(t, b.End(ctx, a.ID, one.ID, line(access.EventLogout)))
	_, _, err = b.Session(ctx, one.Hash)
	want(t, "an ended one", err, access.ErrNotFound)
}

func token(n int, account string) access.Token {
	return access.Token{
		ID: fmt.Sprintf("t-%04d", n), Hash: sha256.Sum256([]byte{byte(n)}), Account: account, Name: "Specimen's program",
		Scopes: []access.Action{access.CertificateIssue}, Facility: "north", Created: Day, Ends: Day.AddDate(1, 0, 0),
	}
}

func testTokens(t *testing.T, b access.Book) {
	ctx := t.Context()
	a := newBook(t, b)
	one, two := token(1, a.ID), token(2, a.ID)
	two.Scopes = []access.Action{}
	must(t, b.MakeToken(ctx, one, line(access.EventTokenMade)))
	must(t, b.MakeToken(ctx, two, line(access.EventTokenMade)))
	must(t, b.Used(ctx, one.ID, Day.Truncate(24*time.Hour)))
	one.Used = Day.Truncate(24 * time.Hour)
	list, err := b.Tokens(ctx, a.ID)
	must(t, err)
	same(t, []access.Token{two, one}, list)
	got, account, err := b.Token(ctx, one.Hash)
	must(t, err)
	same(t, one, got)
	same(t, a, account)
	want(t, "another's", b.RevokeToken(ctx, "u-0002", one.ID, line(access.EventTokenRevoked)), access.ErrNotFound)
	must(t, b.RevokeToken(ctx, a.ID, one.ID, line(access.EventTokenRevoked)))
	_, _, err = b.Token(ctx, one.Hash)
	want(t, "a revoked one", err, access.ErrNotFound)
}

// testDisabled: everything that acts for an account ends with it, in one step.
func testDisabled(t *testing.T, b access.Book) {
	ctx := t.Context()
	newBook(t, b)
	a := person(2, access.Grant{Role: access.Clerk})
	hash := sha256.Sum256([]byte("x"))
	must(t, b.Create(ctx, a, access.Invitation{Hash: hash, Account: a.ID, Ends: Day.Add(time.Hour)}, line(access.EventAccountCreated)))
	must(t, b.Begin(ctx, session(1, a.ID), line(access.EventLogin)))
	must(t, b.MakeToken(ctx, token(1, a.ID), line(access.EventTokenMade)))
	a.Disabled = true
	must(t, b.Change(ctx, a, line(access.EventAccountDisabled)))
	_, _, err := b.Session(ctx, session(1, a.ID).Hash)
	want(t, "its session", err, access.ErrNotFound)
	_, _, err = b.Token(ctx, token(1, a.ID).Hash)
	want(t, "its token", err, access.ErrNotFound)
	want(t, "its invitation", b.Accept(ctx, hash, Day, password(5, a.ID), line(access.EventCredentialAdded)), access.ErrNotFound)
}
