package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDCConfig says where the organisation's own login is. What somebody may do is
// kept here and not there: of an identity token nothing counts but who it is.
type OIDCConfig struct {
	Issuer       string // https://login.example; empty: there is none
	ClientID     string
	ClientSecret string       // empty for a public client: PKCE protects the code anyway
	Client       *http.Client // nil: one with limits
}

// OIDCCallback is the path to which the provider sends people back.
const OIDCCallback = "/login/oidc/callback"

// oidcLogin is the provider, found when it is first needed: one that is down must
// not keep the service from starting.
type oidcLogin struct {
	config OIDCConfig
	back   string // address of the callback

	mu       sync.Mutex // held while it is being found
	provider *oidc.Provider
}

// oidcTry is a login under way.
type oidcTry struct {
	binding  string // in a cookie of the browser that began
	nonce    string
	verifier string // of PKCE (RFC 7636)
}

func newOIDC(c OIDCConfig, origin string) (*oidcLogin, error) {
	if c.ClientID == "" || !strings.HasPrefix(c.Issuer, "https://") && !strings.HasPrefix(c.Issuer, "http://127.0.0.1:") {
		return nil, fmt.Errorf("access: OpenID Connect needs an issuer of https and a client: %w", ErrSetting)
	}
	if c.Client == nil {
		c.Client = &http.Client{
			Timeout:   10 * time.Second,
			Transport: limited{http.DefaultTransport},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return errors.New("a provider does not redirect what programs ask it")
			},
		}
	}
	return &oidcLogin{config: c, back: origin + OIDCCallback}, nil
}

// limited bounds what an answer may hold.
type limited struct{ http.RoundTripper }

const maxOIDCAnswer = 1 << 20

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxOIDCAnswer), res.Body}
	}
	return res, err
}

// found returns the provider and its client.
func (o *oidcLogin) found(ctx context.Context) (*oidc.Provider, *oauth2.Config, context.Context, error) {
	ctx = oidc.ClientContext(ctx, o.config.Client)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider == nil {
		// The keys are fetched later under the context of now: it must not end.
		p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), o.config.Client), o.config.Issuer)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("access: OpenID Connect: %w", err)
		}
		o.provider = p
	}
	return o.provider, &oauth2.Config{
		ClientID: o.config.ClientID, ClientSecret: o.config.ClientSecret, Endpoint: o.provider.Endpoint(), RedirectURL: o.back,
		Scopes: []string{oidc.ScopeOpenID},
	}, ctx, nil
}

// BeginOIDC returns the address of the provider's login, and what the browser
// keeps in a cookie until it comes back. invited is the secret of an invitation
// that is accepted so; empty for a login.
func (a *Accounts) BeginOIDC(ctx context.Context, invited string) (address, binding string, err error) {
	if a.oidc == nil {
		return "", "", ErrNoSuchWay
	}
	c := ceremony{invited: invited}
	if invited != "" {
		if c.account, err = a.Invited(ctx, invited); err != nil {
			return "", "", err
		}
	}
	_, client, _, err := a.oidc.found(ctx)
	if err != nil {
		return "", "", err
	}
	binding, _ = newSecret()
	nonce, _ := newSecret()
	c.oidc = &oidcTry{binding, nonce, oauth2.GenerateVerifier()}
	state, err := a.ceremonies.begin(a.now(), c)
	if err != nil {
		return "", "", err
	}
	return client.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(c.oidc.verifier)), binding, nil
}

// FinishOIDC logs in whom the provider has sent back. It works once for each
// state, and only in the browser that began.
func (a *Accounts) FinishOIDC(ctx context.Context, state, code, binding string) (*Login, error) {
	if a.oidc == nil {
		return nil, ErrNoSuchWay
	}
	c, err := a.ceremonies.finish(a.now(), state)
	if err != nil {
		return nil, err
	}
	if c.oidc == nil || subtle.ConstantTimeCompare([]byte(c.oidc.binding), []byte(binding)) != 1 {
		return nil, ErrCeremony
	}
	provider, client, ctx, err := a.oidc.found(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := client.Exchange(ctx, code, oauth2.VerifierOption(c.oidc.verifier))
	if err != nil {
		return nil, a.oidcFailed(ctx, err)
	}
	raw, _ := answer.Extra("id_token").(string)
	token, err := provider.Verifier(&oidc.Config{ClientID: a.oidc.config.ClientID, Now: a.now}).Verify(ctx, raw)
	if err != nil || subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(c.oidc.nonce)) != 1 || token.Subject == "" {
		return nil, a.oidcFailed(ctx, err)
	}
	// OpenID Connect Core section 5.7: issuer and subject together, and nothing
	// else, name somebody for good. An e-mail address can be given to the next one.
	handle := token.Issuer + "\n" + token.Subject
	if c.invited != "" {
		return a.accept(ctx, c.invited, c.account, Credential{
			ID: a.newID("c"), Account: c.account.ID, Kind: OIDC, Handle: handle, Created: a.now().Truncate(time.Second),
		})
	}
	known, err := a.Book.Credential(ctx, OIDC, handle)
	if gone(err) {
		return nil, a.oidcFailed(ctx, nil)
	}
	if err != nil {
		return nil, err
	}
	p, err := a.Book.Account(ctx, known.Account)
	if err != nil {
		return nil, err
	}
	if p.Disabled {
		return nil, a.oidcFailed(ctx, nil)
	}
	known.Used = a.now().Truncate(time.Second)
	if err := a.Book.UseCredential(ctx, known); err != nil {
		return nil, err
	}
	return a.begin(ctx, p, OIDC)
}

// oidcFailed records that somebody came back who is not let in. What a provider
// says can name them, and is not kept.
func (a *Accounts) oidcFailed(ctx context.Context, _ error) error {
	line := a.line(EventLoginFailed, "nobody", "", "")
	line.Reason = string(OIDC)
	return errors.Join(ErrCredentials, a.Book.Log(ctx, line))
}
