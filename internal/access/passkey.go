package access

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// newPasskeys is the relying party of an origin (Web Authentication, level 3).
func newPasskeys(u *url.URL, origin string) (*webauthn.WebAuthn, error) {
	return webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Ampoule", RPOrigins: []string{origin},
		// No attestation is asked for: which make of key somebody has is their own affair.
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{
			Login:        webauthn.TimeoutConfig{Enforce: true, Timeout: ceremonyLife, TimeoutUVD: ceremonyLife},
			Registration: webauthn.TimeoutConfig{Enforce: true, Timeout: ceremonyLife, TimeoutUVD: ceremonyLife},
		},
	})
}

// ceremonyLife is how long a person may take.
const ceremonyLife = 5 * time.Minute

// maxCeremonies bounds those that are under way, of 1 KiB each.
const maxCeremonies = 4096

// ceremony is one that has begun.
type ceremony struct {
	passkey *webauthn.SessionData
	account Account // that a passkey is added to
	invited string  // the secret of the invitation that it accepts
	setup   *Setup  // that it finishes
	oidc    *oidcTry
	ends    time.Time
}

// ceremonies are those under way, by a secret that only the browser has which
// began one. Each can be finished once.
type ceremonies struct {
	mu sync.Mutex // held while one is looked up
	by map[string]ceremony
}

func (c *ceremonies) begin(now time.Time, one ceremony) (secret string, err error) {
	one.ends = now.Add(ceremonyLife)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.by) >= maxCeremonies {
		for key, other := range c.by {
			if !now.Before(other.ends) {
				delete(c.by, key)
			}
		}
		if len(c.by) >= maxCeremonies {
			return "", &TooSoon{ceremonyLife}
		}
	}
	if c.by == nil {
		c.by = make(map[string]ceremony)
	}
	secret, _ = newSecret()
	c.by[secret] = one
	return secret, nil
}

func (c *ceremonies) finish(now time.Time, secret string) (ceremony, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one, ok := c.by[secret]
	delete(c.by, secret)
	if !ok || !now.Before(one.ends) {
		return ceremony{}, ErrCeremony
	}
	return one, nil
}

// keyHolder is an account as the library wants it.
type keyHolder struct {
	account Account
	keys    []webauthn.Credential
}

func (k *keyHolder) WebAuthnID() []byte                         { return []byte(k.account.ID) }
func (k *keyHolder) WebAuthnName() string                       { return k.account.Login }
func (k *keyHolder) WebAuthnDisplayName() string                { return k.account.Login }
func (k *keyHolder) WebAuthnCredentials() []webauthn.Credential { return k.keys }

// passkeysOf returns an account with its passkeys, and these as they are kept.
func (a *Accounts) passkeysOf(ctx context.Context, p Account) (*keyHolder, []Credential, error) {
	list, err := a.Book.Credentials(ctx, p.ID)
	if err != nil {
		return nil, nil, err
	}
	list = slices.DeleteFunc(list, func(c Credential) bool { return c.Kind != Passkey })
	holder := &keyHolder{account: p}
	for _, c := range list {
		var key webauthn.Credential
		if err := json.Unmarshal(c.Content, &key); err != nil {
			return nil, nil, fmt.Errorf("access: credential %s: %w", c.ID, err)
		}
		holder.keys = append(holder.keys, key)
	}
	return holder, list, nil
}

// Ceremony is what the browser needs to ask for a passkey: the options for
// navigator.credentials, and the secret by which it finishes.
type Ceremony struct {
	Secret  string `json:"ceremony"`
	Options any    `json:"options"`
}

// AddPasskey begins to add a passkey to a person's account.
func (a *Accounts) AddPasskey(ctx context.Context, v *Visitor) (*Ceremony, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	return a.beginPasskey(ctx, ceremony{account: v.Account})
}

// AcceptPasskey begins to accept an invitation by a passkey.
func (a *Accounts) AcceptPasskey(ctx context.Context, secret string) (*Ceremony, error) {
	p, err := a.Invited(ctx, secret)
	if err != nil {
		return nil, err
	}
	return a.beginPasskey(ctx, ceremony{account: p, invited: secret})
}

func (a *Accounts) beginPasskey(ctx context.Context, c ceremony) (*Ceremony, error) {
	if a.passkeys == nil {
		return nil, ErrNoSuchWay
	}
	holder, _, err := a.passkeysOf(ctx, c.account)
	if err != nil {
		return nil, err
	}
	options, session, err := a.passkeys.BeginRegistration(holder,
		webauthn.WithResidentKeyRequirement(protocol.ResidentKeyRequirementRequired),
		webauthn.WithExclusions(webauthn.Credentials(holder.keys).CredentialDescriptors()))
	if err != nil {
		return nil, fmt.Errorf("access: passkey: %w", err)
	}
	c.passkey = session
	secret, err := a.ceremonies.begin(a.now(), c)
	if err != nil {
		return nil, err
	}
	return &Ceremony{secret, options}, nil
}

// FinishPasskey adds the passkey that a browser has made. Where it accepts an
// invitation or finishes the set-up, its person is then logged in; v is who was
// before. The answer is that of navigator.credentials.create, in JSON.
func (a *Accounts) FinishPasskey(ctx context.Context, v *Visitor, secret, name string, answer []byte) (*Login, error) {
	name, err := label(name)
	if err != nil {
		return nil, err
	}
	c, err := a.ceremonies.finish(a.now(), secret)
	if err != nil {
		return nil, err
	}
	if c.passkey == nil || c.account.ID == "" {
		return nil, ErrCeremony
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, ErrCredentials
	}
	key, err := a.passkeys.CreateCredential(&keyHolder{account: c.account}, *c.passkey, parsed)
	if err != nil {
		return nil, ErrCredentials
	}
	content, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("access: passkey: %w", err)
	}
	credential := Credential{
		ID: a.newID("c"), Account: c.account.ID, Kind: Passkey, Handle: base64.RawURLEncoding.EncodeToString(key.ID), Content: content, Name: name,
		Created: a.now().Truncate(time.Second),
	}
	switch {
	case c.setup != nil:
		return a.setup(ctx, c.setup, c.account, credential)
	case c.invited != "":
		return a.accept(ctx, c.invited, c.account, credential)
	}
	if v.person() != nil || v.Account.ID != c.account.ID {
		return nil, ErrDenied
	}
	line := a.line(EventCredentialAdded, v.ID, credential.ID, v.Organisation)
	line.Reason = string(Passkey)
	return nil, a.Book.AddCredential(ctx, credential, line)
}

// BeginLogin begins a login by passkey. Nobody need say who they are: the passkey
// does.
func (a *Accounts) BeginLogin() (*Ceremony, error) {
	if a.passkeys == nil {
		return nil, ErrNoSuchWay
	}
	options, session, err := a.passkeys.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, fmt.Errorf("access: passkey: %w", err)
	}
	secret, err := a.ceremonies.begin(a.now(), ceremony{passkey: session})
	if err != nil {
		return nil, err
	}
	return &Ceremony{secret, options}, nil
}

// LoginPasskey logs in by the answer of navigator.credentials.get, in JSON.
func (a *Accounts) LoginPasskey(ctx context.Context, secret string, answer []byte) (*Login, error) {
	c, err := a.ceremonies.finish(a.now(), secret)
	if err != nil {
		return nil, err
	}
	if c.passkey == nil || c.account.ID != "" {
		return nil, ErrCeremony
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, ErrCredentials
	}
	var kept []Credential
	var person Account
	var failed error // of the book, which says nothing about the passkey
	_, key, err := a.passkeys.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		var holder *keyHolder
		if person, failed = a.Book.Account(ctx, string(handle)); failed == nil {
			holder, kept, failed = a.passkeysOf(ctx, person)
		}
		if failed != nil {
			return nil, failed
		}
		return holder, nil
	}, *c.passkey, parsed)
	if failed != nil && !gone(failed) {
		return nil, failed
	}
	// A counter that goes back is that of a copy (WebAuthn section 6.1.1).
	if err == nil && key.Authenticator.CloneWarning {
		err = errors.New("counter")
	}
	if err != nil || person.Disabled {
		line := a.line(EventLoginFailed, "nobody", person.ID, person.Organisation)
		line.Reason = string(Passkey)
		return nil, errors.Join(ErrCredentials, a.Book.Log(ctx, line))
	}
	for _, k := range kept {
		var known webauthn.Credential
		if json.Unmarshal(k.Content, &known) != nil || !bytes.Equal(known.ID, key.ID) {
			continue
		}
		if k.Content, err = json.Marshal(key); err != nil {
			return nil, fmt.Errorf("access: passkey: %w", err)
		}
		k.Used = a.now().Truncate(time.Second)
		if err := a.Book.UseCredential(ctx, k); err != nil {
			return nil, err
		}
	}
	return a.begin(ctx, person, Passkey)
}
