//go:build linux

package access_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-jose/go-jose/v4"

	"ampoule/internal/access"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/party/issuer"
)

const origin = "https://desk.example"

var desk = netip.MustParseAddr("192.0.2.7")

// bed is a service over a real store, with a clock of its own.
type bed struct {
	*access.Accounts
	store *store.Store
	mu    sync.Mutex
	at    time.Time
}

func (b *bed) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at
}

func (b *bed) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = b.at.Add(d)
}

func newBed(t *testing.T, provider string) *bed {
	t.Helper()
	master, err := keys.NewMasterKey(rand.Reader)
	must(t, err)
	c := store.Config{Dir: t.TempDir(), Master: master}
	must(t, store.Create(t.Context(), c))
	s, err := store.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	b := &bed{store: s, at: time.Now().UTC().Truncate(time.Second)}
	config := access.Config{Origin: origin, Idle: 30 * time.Minute, Absolute: 8 * time.Hour, Now: b.now}
	if provider != "" {
		config.OIDC = access.OIDCConfig{Issuer: provider, ClientID: "ampoule", ClientSecret: "hush"}
	}
	b.Accounts, err = access.New(s.Accounts(), config)
	must(t, err)
	return b
}

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

const secret = "correct horse battery staple"

func order(token string) access.Setup {
	return access.Setup{
		Token: token, Organisation: "org-1", Name: "Specimen authority", Participant: "XXA", Country: "XA", Language: "fr", TimeZone: "Africa/Nairobi",
		Login: "Specimen.Admin", Password: secret,
	}
}

// administrator is a bed that is set up, and who did it.
func administrator(t *testing.T, provider string) (*bed, *access.Visitor) {
	t.Helper()
	b := newBed(t, provider)
	token, err := b.SetupToken(t.Context())
	must(t, err)
	l, err := b.SetUp(t.Context(), order(token), desk)
	must(t, err)
	return b, visit(t, b, l)
}

func visit(t testing.TB, b *bed, l *access.Login) *access.Visitor {
	t.Helper()
	v, err := b.Session(t.Context(), l.Cookie)
	must(t, err)
	return v
}

// events are the events of the audit log.
func (b *bed) events(t testing.TB) (out []string) {
	t.Helper()
	var log bytes.Buffer
	must(t, b.store.ExportAudit(t.Context(), &log, "", time.Time{}, time.Time{}))
	if strings.Contains(strings.ToLower(log.String()), "specimen") {
		t.Errorf("the audit log names somebody: %s", log.String())
	}
	for d := json.NewDecoder(&log); d.More(); {
		var l struct{ Action, By, Subject, Reason string }
		must(t, d.Decode(&l))
		if l.Action != "" {
			out = append(out, strings.TrimSpace(l.Action+" "+l.Reason))
		}
	}
	return out
}

// TestSetup: with the token that was printed last, once, and of several at the
// same time by one.
func TestSetup(t *testing.T) {
	b := newBed(t, "")
	ctx := t.Context()
	old, err := b.SetupToken(ctx)
	must(t, err)
	token, err := b.SetupToken(ctx)
	must(t, err)
	for name, change := range map[string]func(*access.Setup){
		"an old token": func(s *access.Setup) { s.Token = old },
		"no token":     func(s *access.Setup) { s.Token = "" },
	} {
		s := order(token)
		change(&s)
		_, err := b.SetUp(ctx, s, desk)
		want(t, name, err, access.ErrSetupToken)
	}
	for name, tt := range map[string]struct {
		change func(*access.Setup)
		want   error
	}{
		"a country in words":  {func(s *access.Setup) { s.Country = "Utopia" }, access.ErrSetting},
		"no time zone":        {func(s *access.Setup) { s.TimeZone = "" }, access.ErrSetting},
		"a zone of nowhere":   {func(s *access.Setup) { s.TimeZone = "../etc/passwd" }, access.ErrSetting},
		"a language unspoken": {func(s *access.Setup) { s.Language = "la" }, access.ErrSetting},
		"a code of digits":    {func(s *access.Setup) { s.Participant = "X1" }, access.ErrSetting},
		"a name for a place":  {func(s *access.Setup) { s.Organisation = "Ministry of Health" }, access.ErrSetting},
		"a weak password":     {func(s *access.Setup) { s.Password = "password1" }, access.ErrPassword},
		"a password of one":   {func(s *access.Setup) { s.Password = strings.Repeat("a", 40) }, access.ErrPassword},
		"its own name":        {func(s *access.Setup) { s.Password = "specimen.admin specimen.admin" }, access.ErrPassword},
		"a login of blanks":   {func(s *access.Setup) { s.Login = "a b" }, access.ErrLogin},
	} {
		s := order(token)
		tt.change(&s)
		_, err := b.SetUp(ctx, s, desk)
		want(t, name, err, tt.want)
	}
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for n := range errs {
		wg.Go(func() { _, errs[n] = b.SetUp(ctx, order(token), netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			want(t, "who was late", err, access.ErrSetUp)
		}
	}
	if token, err := b.SetupToken(ctx); won != 1 || token != "" || err != nil {
		t.Errorf("%d got through; then a token %q, %v", won, token, err)
	}
	if got := fmt.Sprint(b.events(t)); got != "[setup break-glass password]" {
		t.Errorf("%s", got)
	}
}

// TestBackoff: who guesses waits, longer each time, at the account and at the
// address, also when many guesses come at once; who knows goes in.
func TestBackoff(t *testing.T) {
	b, _ := administrator(t, "")
	ctx := t.Context()
	guess := func(login string, from byte) error {
		_, err := b.LoginPassword(ctx, login, "wrong", netip.AddrFrom4([4]byte{10, 0, 0, from}))
		return err
	}
	var soon *access.TooSoon
	refused := 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			err := guess("specimen.admin", byte(n))
			mu.Lock()
			defer mu.Unlock()
			if errors.As(err, &soon) {
				refused++
			} else {
				want(t, "a guess", err, access.ErrCredentials)
			}
		})
	}
	wg.Wait()
	if refused != 7 {
		t.Errorf("of twelve guesses at once %d were refused", refused)
	}
	if _, err := b.LoginPassword(ctx, "specimen.admin", secret, desk); !errors.As(err, &soon) || soon.After != time.Second {
		t.Errorf("the right one, too soon: %v", err)
	}
	last := soon.After
	for range 4 {
		b.pass(last)
		want(t, "after the wait", guess("specimen.admin", 1), access.ErrCredentials)
		if err := guess("specimen.admin", 2); !errors.As(err, &soon) || soon.After != 2*last {
			t.Errorf("after %s: %v", last, err)
		}
		last = soon.After
	}
	b.pass(last)
	if _, err := b.LoginPassword(ctx, " Specimen.Admin ", secret, desk); err != nil {
		t.Errorf("the right one: %v", err)
	}
	want(t, "and all is forgotten", guess("specimen.admin", 1), access.ErrCredentials)

	// One address guesses at many names, of which none need be there.
	b.pass(2 * time.Hour)
	for n := range 25 {
		want(t, "a name", guess(fmt.Sprint("nobody", n), 99), access.ErrCredentials)
	}
	if err := guess("somebody", 99); !errors.As(err, &soon) {
		t.Errorf("the twenty-sixth: %v", err)
	}
	want(t, "from elsewhere", guess("somebody", 98), access.ErrCredentials)
	failed := 0
	for _, e := range b.events(t) {
		if e == "login-failed password" {
			failed++
		}
	}
	if failed != 5+4+1+25+1 {
		t.Errorf("%d failures are recorded", failed)
	}
}

// TestSessions: an identifier is new at each login, ends by itself, and is ended.
func TestSessions(t *testing.T) {
	b, v := administrator(t, "")
	ctx := t.Context()
	login := func() *access.Login {
		l, err := b.LoginPassword(ctx, "specimen.admin", secret, desk)
		must(t, err)
		return l
	}
	one, two := login(), login()
	if one.Cookie == two.Cookie || one.Session.ID == two.Session.ID || len(one.Cookie) != 43 {
		t.Errorf("%q and %q", one.Cookie, two.Cookie)
	}
	gone := func(what string, l *access.Login) {
		t.Helper()
		_, err := b.Session(ctx, l.Cookie)
		want(t, what, err, access.ErrNotFound)
	}
	if list, err := b.Sessions(ctx, v); err != nil || len(list) != 3 {
		t.Errorf("%d sessions, %v", len(list), err)
	}
	must(t, b.RevokeSession(ctx, v, one.Session.ID))
	gone("revoked", one)
	must(t, b.Logout(ctx, visit(t, b, two)))
	gone("logged out", two)
	for _, cookie := range []string{"", "x", strings.Repeat("A", 43), two.Session.ID} {
		_, err := b.Session(ctx, cookie)
		want(t, "made up", err, access.ErrNotFound)
	}
	// Used now and then it lasts, and not for ever.
	three, idle := login(), login()
	for range 19 {
		b.pass(25 * time.Minute)
		if _, err := b.Session(ctx, three.Cookie); err != nil {
			t.Errorf("in use: %v", err)
		}
	}
	gone("idle", idle)
	b.pass(5 * time.Minute)
	gone("too long", three)
}

// TestPeople: an administrator lets somebody in, within the reach of the own
// roles, and out again.
func TestPeople(t *testing.T) {
	b, admin := administrator(t, "")
	ctx := t.Context()
	north := []access.Grant{{Role: access.Administrator, Facility: "north"}}
	i, err := b.Create(ctx, admin, "Specimen.North", north)
	must(t, err)
	_, err = b.AcceptPassword(ctx, "wrong", secret)
	want(t, "another secret", err, access.ErrNotFound)
	_, err = b.AcceptPassword(ctx, i.Secret, "short")
	want(t, "a weak password", err, access.ErrPassword)
	l, err := b.AcceptPassword(ctx, i.Secret, secret)
	must(t, err)
	_, err = b.AcceptPassword(ctx, i.Secret, secret)
	want(t, "twice", err, access.ErrNotFound)
	chief := visit(t, b, l)

	clerk := []access.Grant{{Role: access.Clerk, Facility: "north"}}
	made, err := b.Create(ctx, chief, "specimen.clerk", clerk)
	must(t, err)
	for name, grants := range map[string][]access.Grant{
		"a role of the whole":   {{Role: access.Clerk}},
		"a role elsewhere":      {{Role: access.Clerk, Facility: "south"}},
		"one of two elsewhere":  {{Role: access.Clerk, Facility: "north"}, {Role: access.Auditor}},
		"nothing, so the whole": nil,
	} {
		_, err := b.Create(ctx, chief, "specimen.other", grants)
		want(t, name, err, access.ErrDenied)
		_, err = b.Change(ctx, chief, made.Account.ID, 1, grants, false)
		want(t, name, err, access.ErrDenied)
	}
	_, err = b.Change(ctx, chief, chief.Account.ID, chief.Account.Version, []access.Grant{{Role: access.Administrator}}, false)
	want(t, "more for oneself", err, access.ErrDenied)
	_, err = b.Change(ctx, chief, admin.Account.ID, 1, north, true)
	want(t, "who stands above", err, access.ErrNotFound)
	_, err = b.Invite(ctx, chief, admin.Account.ID)
	want(t, "an invitation to who stands above", err, access.ErrNotFound)
	if list, _, err := b.People(ctx, chief, "", 10); err != nil || len(list) != 2 {
		t.Errorf("%d people of the north, %v", len(list), err)
	}
	if list, _, err := b.People(ctx, admin, "", 10); err != nil || len(list) != 3 {
		t.Errorf("%d people, %v", len(list), err)
	}
	for name, grants := range map[string][]access.Grant{
		"a made-up role": {{Role: "king"}}, "twice": {clerk[0], clerk[0]}, "a facility with a blank": {{Role: access.Clerk, Facility: "a b"}},
	} {
		_, err := b.Create(ctx, admin, "specimen.other", grants)
		want(t, name, err, access.ErrGrant)
	}

	l, err = b.AcceptPassword(ctx, made.Secret, secret)
	must(t, err)
	v := visit(t, b, l)
	_, _, err = b.People(ctx, v, "", 10)
	want(t, "a clerk", err, access.ErrDenied)
	_, err = b.Create(ctx, v, "specimen.x", clerk)
	want(t, "a clerk", err, access.ErrDenied)
	_, text, err := b.MakeToken(ctx, v, "desk", []access.Action{access.CertificateIssue}, "", 24*time.Hour)
	must(t, err)

	// A role that is taken away counts no more, in a session that goes on.
	changed, err := b.Change(ctx, chief, made.Account.ID, 1, []access.Grant{{Role: access.Verifier, Facility: "north"}}, false)
	must(t, err)
	if ok, _ := b.Policy.Allow(visit(t, b, l).Principal, access.CertificateIssue, issuer.Place{Organisation: "org-1", Facility: "north"}); ok {
		t.Error("a clerk no more, and issues")
	}
	_, err = b.Change(ctx, chief, made.Account.ID, changed.Version, changed.Grants, true)
	must(t, err)
	_, err = b.Session(ctx, l.Cookie)
	want(t, "the session of who was disabled", err, access.ErrNotFound)
	_, err = b.Token(ctx, text)
	want(t, "the token of who was disabled", err, access.ErrNotFound)
	_, err = b.LoginPassword(ctx, "specimen.clerk", secret, desk)
	want(t, "the login of who was disabled", err, access.ErrCredentials)
	if got := fmt.Sprint(b.events(t)); !strings.HasSuffix(got, "token-made account-changed account-disabled login-failed password]") {
		t.Errorf("%s", got)
	}
}

// TestTokens: within its scopes, its facility and its time, and never more than
// its account.
func TestTokens(t *testing.T) {
	b, admin := administrator(t, "")
	ctx := t.Context()
	i, err := b.Create(ctx, admin, "specimen.clerk", []access.Grant{{Role: access.Clerk}, {Role: access.Supervisor, Facility: "south"}, {Role: access.Administrator}})
	must(t, err)
	l, err := b.AcceptPassword(ctx, i.Secret, secret)
	must(t, err)
	v := visit(t, b, l)
	scopes := []access.Action{access.CertificateIssue, access.CertificateRevoke}
	for name, tt := range map[string]struct {
		name   string
		scopes []access.Action
		life   time.Duration
		want   error
	}{
		"no name":          {"", scopes, time.Hour, access.ErrName},
		"no scope":         {"x", nil, time.Hour, access.ErrScope},
		"a made-up scope":  {"x", []access.Action{"all"}, time.Hour, access.ErrScope},
		"people":           {"x", []access.Action{access.PeopleManage}, time.Hour, access.ErrScope},
		"no end":           {"x", scopes, 0, access.ErrLifetime},
		"more than a year": {"x", scopes, 367 * 24 * time.Hour, access.ErrLifetime},
	} {
		_, _, err := b.MakeToken(ctx, v, tt.name, tt.scopes, "", tt.life)
		want(t, name, err, tt.want)
	}
	token, text, err := b.MakeToken(ctx, v, "Specimen program", scopes, "north", 24*time.Hour)
	must(t, err)
	if !strings.HasPrefix(text, "amp_") || len(text) != 47 {
		t.Errorf("%q", text)
	}
	who, err := b.Token(ctx, text)
	must(t, err)
	place := func(facility string) issuer.Place { return issuer.Place{Organisation: "org-1", Facility: facility} }
	for _, tt := range []struct {
		action access.Action
		at     issuer.Place
		want   bool
	}{
		{access.CertificateIssue, place("north"), true},
		{access.CertificateIssue, place("south"), false},  // not its facility
		{access.CertificateIssue, place(""), false},       // nor the whole
		{access.CertificateRead, place("north"), false},   // not its scope
		{access.CertificateRevoke, place("south"), false}, // its account's, and not its facility
		{access.CertificateRevoke, place("north"), false}, // not its account's
		{access.PeopleManage, place("north"), false},
	} {
		if got, why := b.Policy.Allow(who.Principal, tt.action, tt.at); got != tt.want {
			t.Errorf("%s at %q: %v, %s", tt.action, tt.at.Facility, got, why)
		}
	}
	// What belongs to a person is not done by a program.
	_, _, err = b.MakeToken(ctx, who, "another", scopes, "", time.Hour)
	want(t, "a token by a token", err, access.ErrDenied)
	_, err = b.Create(ctx, who, "specimen.x", nil)
	want(t, "an account by a token", err, access.ErrDenied)
	_, err = b.AddPasskey(ctx, who)
	want(t, "a passkey by a token", err, access.ErrDenied)
	want(t, "a password by a token", b.SetPassword(ctx, who, secret, secret+secret, desk), access.ErrDenied)
	_, err = b.Sessions(ctx, who)
	want(t, "sessions by a token", err, access.ErrDenied)

	if list, err := b.Tokens(ctx, v); err != nil || len(list) != 1 || list[0].Name != "Specimen program" || list[0].Used.IsZero() {
		t.Errorf("%+v %v", list, err)
	}
	want(t, "another's token", b.RevokeToken(ctx, admin, token.ID), access.ErrNotFound)
	b.pass(24 * time.Hour)
	_, err = b.Token(ctx, text)
	want(t, "at its end", err, access.ErrNotFound)
	for _, wrong := range []string{"", "amp_", text[:46], text + "x", "AMP_" + text[4:]} {
		_, err := b.Token(ctx, wrong)
		want(t, wrong, err, access.ErrNotFound)
	}
}

// authenticator is a device with passkeys (WebAuthn level 3, section 6), ES256.
type authenticator struct {
	t       *testing.T
	key     *ecdsa.PrivateKey
	id      []byte
	handle  []byte
	counter uint32
	origin  string
	flags   byte // besides those that each needs
}

func newAuthenticator(t *testing.T) *authenticator {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	return &authenticator{t: t, key: key, id: id, origin: origin, flags: userPresent | userVerified}
}

const (
	userPresent  = 1 << 0
	userVerified = 1 << 2
	attested     = 1 << 6
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// options are what the server asked for.
type options struct {
	PublicKey struct {
		Challenge string
		RP        struct{ ID string }
		RPID      string
		User      struct{ ID string }
	}
}

func (a *authenticator) asked(c *access.Ceremony) (o options) {
	a.t.Helper()
	data, err := json.Marshal(c.Options)
	must(a.t, err)
	must(a.t, json.Unmarshal(data, &o))
	return o
}

func (a *authenticator) client(kind, challenge string) []byte {
	return fmt.Appendf(nil, `{"type":%q,"challenge":%q,"origin":%q,"crossOrigin":false}`, kind, challenge, a.origin)
}

func (a *authenticator) data(rp string, flags byte) []byte {
	sum := sha256.Sum256([]byte(rp))
	return append(append(sum[:], flags), byte(a.counter>>24), byte(a.counter>>16), byte(a.counter>>8), byte(a.counter))
}

// create answers navigator.credentials.create.
func (a *authenticator) create(c *access.Ceremony) []byte {
	a.t.Helper()
	o := a.asked(c)
	var err error
	a.handle, err = base64.RawURLEncoding.DecodeString(o.PublicKey.User.ID)
	must(a.t, err)
	point, err := a.key.PublicKey.Bytes()
	must(a.t, err)
	public, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	must(a.t, err)
	data := a.data(o.PublicKey.RP.ID, a.flags|attested)
	data = append(data, make([]byte, 16)...) // AAGUID
	data = append(append(data, 0, byte(len(a.id))), a.id...)
	data = append(data, public...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	must(a.t, err)
	out, err := json.Marshal(map[string]any{
		"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"clientDataJSON": b64(a.client("webauthn.create", o.PublicKey.Challenge)), "attestationObject": b64(object)},
	})
	must(a.t, err)
	return out
}

// get answers navigator.credentials.get.
func (a *authenticator) get(c *access.Ceremony) []byte {
	a.t.Helper()
	o := a.asked(c)
	a.counter++
	data, client := a.data(o.PublicKey.RPID, a.flags), a.client("webauthn.get", o.PublicKey.Challenge)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], sum[:]...))
	signature, err := a.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	must(a.t, err)
	out, err := json.Marshal(map[string]any{
		"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature), "userHandle": b64(a.handle)},
	})
	must(a.t, err)
	return out
}

// TestPasskeys: a first run, an invitation and an account take one; a login asks
// for nothing but it; what is not right is refused.
func TestPasskeys(t *testing.T) {
	b := newBed(t, "")
	ctx := t.Context()
	token, err := b.SetupToken(ctx)
	must(t, err)
	first := order(token)
	first.Password = ""
	c, err := b.SetUpPasskey(ctx, first, desk)
	must(t, err)
	device := newAuthenticator(t)
	l, err := b.FinishPasskey(ctx, nil, c.Secret, "Specimen's key", device.create(c))
	must(t, err)
	admin := visit(t, b, l)
	_, err = b.FinishPasskey(ctx, nil, c.Secret, "", device.create(c))
	want(t, "a ceremony twice", err, access.ErrCeremony)

	login := func(a *authenticator) (*access.Login, error) {
		t.Helper()
		c, err := b.BeginLogin()
		must(t, err)
		return b.LoginPasskey(ctx, c.Secret, a.get(c))
	}
	l, err = login(device)
	must(t, err)
	if visit(t, b, l).Account.ID != admin.Account.ID || l.Session.Kind != access.Passkey {
		t.Errorf("%+v", l)
	}
	used, err := b.Credentials(ctx, admin)
	must(t, err)
	if len(used) != 1 || used[0].Used.IsZero() || used[0].Name != "Specimen's key" || used[0].Content != nil {
		t.Errorf("%+v", used)
	}

	i, err := b.Create(ctx, admin, "specimen.clerk", []access.Grant{{Role: access.Clerk}})
	must(t, err)
	c, err = b.AcceptPasskey(ctx, i.Secret)
	must(t, err)
	_, err = b.FinishPasskey(ctx, nil, c.Secret, "", device.create(c))
	want(t, "a passkey of another account", err, access.ErrTaken)
	c, err = b.AcceptPasskey(ctx, i.Secret)
	must(t, err)
	second := newAuthenticator(t)
	l, err = b.FinishPasskey(ctx, nil, c.Secret, "", second.create(c))
	must(t, err)
	clerk := visit(t, b, l)

	// One that another began is not finished by this visitor.
	c, err = b.AddPasskey(ctx, admin)
	must(t, err)
	third := newAuthenticator(t)
	_, err = b.FinishPasskey(ctx, clerk, c.Secret, "", third.create(c))
	want(t, "for another's account", err, access.ErrDenied)

	for name, change := range map[string]func(*authenticator){
		"of another page":   func(a *authenticator) { a.origin = "https://desk.example.evil.example" },
		"without the user":  func(a *authenticator) { a.flags = userPresent },
		"a copy":            func(a *authenticator) { a.counter = 0 },
		"of nobody":         func(a *authenticator) { a.handle = []byte("u-nobody") },
		"another's handle":  func(a *authenticator) { a.handle = []byte(admin.Account.ID) },
		"another's key":     func(a *authenticator) { a.key = third.key },
		"another's passkey": func(a *authenticator) { a.id = device.id },
	} {
		wrong := *second
		wrong.counter = 5
		if _, err := login(&wrong); err != nil { // so that a counter can go back
			wrong.counter = 100
		}
		change(&wrong)
		_, err := login(&wrong)
		want(t, name, err, access.ErrCredentials)
	}
	c, err = b.BeginLogin()
	must(t, err)
	b.pass(6 * time.Minute)
	_, err = b.LoginPasskey(ctx, c.Secret, second.get(c))
	want(t, "too late", err, access.ErrCeremony)
	c, err = b.BeginLogin()
	must(t, err)
	other, err := b.BeginLogin()
	must(t, err)
	_, err = b.LoginPasskey(ctx, c.Secret, second.get(other))
	want(t, "the answer to another challenge", err, access.ErrCredentials)

	want(t, "the only one", b.RemoveCredential(ctx, clerk, used[0].ID), access.ErrNotFound)
	must(t, b.SetPassword(ctx, admin, "", secret, desk))
	must(t, b.RemoveCredential(ctx, admin, used[0].ID))
	_, err = login(device)
	want(t, "a removed one", err, access.ErrCredentials)
	want(t, "a password without the old one", b.SetPassword(ctx, admin, "", secret+" more", desk), access.ErrCredentials)
}

// provider is a small OpenID provider: discovery, keys, PKCE (RFC 7636).
type provider struct {
	*httptest.Server
	t       *testing.T
	key     *ecdsa.PrivateKey
	subject string
	break_  func(claims map[string]any)
	codes   map[string]url.Values
}

func newProvider(t *testing.T) *provider {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p := &provider{t: t, key: key, subject: "subject-1", codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		asked := p.codes[r.FormValue("code")]
		delete(p.codes, r.FormValue("code"))
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		id, password, _ := r.BasicAuth()
		if asked == nil || asked.Get("code_challenge") != b64(sum[:]) || asked.Get("code_challenge_method") != "S256" || id != "ampoule" || password != "hush" ||
			r.FormValue("redirect_uri") != asked.Get("redirect_uri") {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]any{"error": "invalid_grant"})
			return
		}
		claims := map[string]any{
			"iss": p.URL, "sub": p.subject, "aud": "ampoule", "nonce": asked.Get("nonce"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		}
		if p.break_ != nil {
			p.break_(claims)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
		must(t, err)
		payload, err := json.Marshal(claims)
		must(t, err)
		signed, err := signer.Sign(payload)
		must(t, err)
		text, err := signed.CompactSerialize()
		must(t, err)
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": text})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// visit is what a browser does at the provider: it returns state and code.
func (p *provider) visit(address string) (state, code string) {
	p.t.Helper()
	u, err := url.Parse(address)
	must(p.t, err)
	q := u.Query()
	if q.Get("response_type") != "code" || q.Get("redirect_uri") != origin+access.OIDCCallback || q.Get("scope") != "openid" {
		p.t.Errorf("asked with %s", address)
	}
	code = fmt.Sprint("code-", len(q.Get("state")), time.Now().UnixNano())
	p.codes[code] = q
	return q.Get("state"), code
}

// TestOIDC: an account is linked by an invitation, and found by issuer and
// subject; nothing else that a provider says counts.
func TestOIDC(t *testing.T) {
	p := newProvider(t)
	b, admin := administrator(t, p.URL)
	ctx := t.Context()
	i, err := b.Create(ctx, admin, "specimen.clerk", []access.Grant{{Role: access.Clerk}})
	must(t, err)
	round := func(invited string) (*access.Login, error) {
		t.Helper()
		address, binding, err := b.BeginOIDC(ctx, invited)
		must(t, err)
		state, code := p.visit(address)
		return b.FinishOIDC(ctx, state, code, binding)
	}
	_, err = round("")
	want(t, "whom nobody knows", err, access.ErrCredentials)
	l, err := round(i.Secret)
	must(t, err)
	id := visit(t, b, l).Account.ID
	l, err = round("")
	must(t, err)
	if visit(t, b, l).Account.ID != id || l.Session.Kind != access.OIDC {
		t.Errorf("%+v", l)
	}
	for name, change := range map[string]func(map[string]any){
		"another nonce":      func(c map[string]any) { c["nonce"] = "x" },
		"no nonce":           func(c map[string]any) { delete(c, "nonce") },
		"another audience":   func(c map[string]any) { c["aud"] = "other" },
		"another issuer":     func(c map[string]any) { c["iss"] = "https://evil.example" },
		"over":               func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
		"another subject":    func(c map[string]any) { c["sub"] = "subject-2" },
		"the same by e-mail": func(c map[string]any) { c["sub"], c["email"] = "subject-3", "specimen.clerk" },
	} {
		p.break_ = change
		_, err := round("")
		want(t, name, err, access.ErrCredentials)
	}
	p.break_ = nil

	address, binding, err := b.BeginOIDC(ctx, "")
	must(t, err)
	state, code := p.visit(address)
	_, err = b.FinishOIDC(ctx, state, code, "another browser's")
	want(t, "another browser", err, access.ErrCeremony)
	_, err = b.FinishOIDC(ctx, state, code, binding)
	want(t, "a state twice", err, access.ErrCeremony)
	_, err = b.FinishOIDC(ctx, "made up", code, binding)
	want(t, "a made-up state", err, access.ErrCeremony)
	one, _, err := b.BeginOIDC(ctx, "")
	must(t, err)
	two, bound, err := b.BeginOIDC(ctx, "")
	must(t, err)
	_, stolen := p.visit(one)
	state, _ = p.visit(two)
	_, err = b.FinishOIDC(ctx, state, stolen, bound)
	want(t, "a code that another began (PKCE)", err, access.ErrCredentials)

	again, err := b.Create(ctx, admin, "specimen.other", nil)
	must(t, err)
	_, err = round(again.Secret)
	want(t, "a second account of the same subject", err, access.ErrTaken)
	p.Close()
	if _, _, err := b.BeginOIDC(context.Background(), ""); err != nil {
		t.Errorf("its address is known already: %v", err)
	}
}

// TestNew: a service that could not be safe does not start.
func TestNew(t *testing.T) {
	for name, c := range map[string]access.Config{
		"no lifetimes":       {},
		"idle for longer":    {Idle: 2 * time.Hour, Absolute: time.Hour},
		"http":               {Idle: 1, Absolute: 1, Origin: "http://desk.example"},
		"a path":             {Idle: 1, Absolute: 1, Origin: "https://desk.example/x"},
		"no host":            {Idle: 1, Absolute: 1, Origin: "https://"},
		"OIDC, no origin":    {Idle: 1, Absolute: 1, OIDC: access.OIDCConfig{Issuer: "https://login.example", ClientID: "x"}},
		"OIDC without TLS":   {Idle: 1, Absolute: 1, Origin: origin, OIDC: access.OIDCConfig{Issuer: "http://login.example", ClientID: "x"}},
		"OIDC, no client":    {Idle: 1, Absolute: 1, Origin: origin, OIDC: access.OIDCConfig{Issuer: "https://login.example"}},
		"somebody in origin": {Idle: 1, Absolute: 1, Origin: "https://a@desk.example"},
	} {
		if _, err := access.New(nil, c); err == nil {
			t.Errorf("%s: started", name)
		}
	}
	for _, o := range []string{"", origin, "http://localhost:8080", "http://127.0.0.1:8080"} {
		if _, err := access.New(nil, access.Config{Origin: o, Idle: 1, Absolute: 1}); err != nil {
			t.Errorf("%q: %v", o, err)
		}
	}
}
