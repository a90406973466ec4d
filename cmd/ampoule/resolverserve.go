package main

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"strings"
	"time"

	"ampoule/bundle"
	"ampoule/format/jwks"
	"ampoule/format/linkset"
	"ampoule/format/oid"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/epcisapi"
	"ampoule/internal/httpapi"
	"ampoule/internal/resolverapi"
	"ampoule/party/issuer"
	"ampoule/party/notary"
	"ampoule/thing/resolve"
)

// resolverNode is what a server resolves identifiers by that does not change while it
// runs; nil: it resolves none.
type resolverNode struct {
	origin    string
	links     map[string]linkset.Context
	elsewhere map[string]string
	kid       string
}

// openResolver reads the operator's links. Without an address under which it is known, a
// server is no resolver: its answers could name nothing.
func openResolver(c *config.Config, f *fleetNode) (*resolverNode, error) {
	r := &resolverNode{origin: c.Resolver.Origin, links: map[string]linkset.Context{}, elsewhere: map[string]string{}}
	if r.origin == "" {
		r.origin = c.Access.Origin
	}
	if r.origin == "" {
		return nil, nil
	}
	if u, err := url.Parse(r.origin); err != nil || u.Host == "" || strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usageError("resolver.origin: %q is not like https://resolver.example", r.origin)
	}
	r.origin = strings.TrimSuffix(r.origin, "/")
	for _, path := range c.Resolver.Links {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, usageError("resolver.links: %w", err)
		}
		set, err := resolverapi.Links(data)
		if err != nil {
			return nil, usageError("resolver.links: %s: %w", path, err)
		}
		for name, own := range set {
			have := r.links[name]
			have.Description = own.Description
			resolve.Merge(&have, own.Relations...)
			r.links[name] = have
		}
	}
	for _, p := range c.Resolver.Prefixes {
		if !isPrefix(p) {
			return nil, usageError("resolver.prefixes: %q is no company prefix", p)
		}
	}
	for _, text := range c.Resolver.Elsewhere {
		prefix, stem, ok := strings.Cut(text, "=")
		if u, err := url.Parse(stem); !ok || !isPrefix(prefix) || err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" {
			return nil, usageError("resolver.elsewhere: %q is not like 0950600=https://id.gs1.org", text)
		}
		r.elsewhere[prefix] = stem
	}
	if c.Resolver.Valid < time.Minute {
		return nil, usageError("resolver.valid: an answer counts for a minute at least")
	}
	var err error
	r.kid, err = jwks.KID(f.service.Signer.Public())
	return r, err
}

func isPrefix(s string) bool {
	return len(s) >= 4 && len(s) <= 12 && strings.Trim(s, "0123456789") == ""
}

// showResolver has the page resolve identifiers by what there is now. What is stated of
// lots is what stands in the bundle for everybody.
func (s *service) showResolver(p *httpapi.Page, d *desk, opened *bundle.Opened) {
	r := s.resolver
	if r == nil {
		return
	}
	to := &resolverapi.Server{
		Origin: r.origin, Links: r.links, Prefixes: s.settings.Resolver.Prefixes, Elsewhere: r.elsewhere,
		Stock: s.store.Goods(), Fleet: s.fleet.Fleet.Book, Products: s.goods.catalogue.Load(), Events: epcisapi.Prefix + "/events",
		Allowed: func(ctx context.Context, organisation, facility string) bool {
			return httpapi.Allowed(ctx, s.accounts.Policy, access.FleetRead, issuer.Place{Organisation: organisation, Facility: facility})
		},
		Signer: s.fleet.service.Signer, KID: r.kid, Valid: s.settings.Resolver.Valid, Now: time.Now, Log: s.log,
	}
	for _, c := range s.fleet.service.Chain {
		to.Chain = append(to.Chain, c.Raw)
	}
	if opened != nil {
		to.Lots = opened.Contents.Lots
	}
	if d != nil {
		to.Organisation = resolverapi.Organisation{ID: d.settings.Participant, Name: d.settings.Name, Country: d.settings.Country}
		for _, k := range d.keys {
			to.Organisation.Keys = append(to.Organisation.Keys, resolve.Method{Fragment: hex.EncodeToString(k.KID()), Public: k.Signer.Public()})
		}
	}
	if s.ledger != nil && s.ledger.notary != nil {
		n := s.ledger.notary.Notary
		to.Ledger = func(ctx context.Context, id oid.OID) bool {
			found, err := n.Resolve(ctx, id)
			if err != nil && !errors.Is(err, notary.ErrNoEntry) {
				s.log.Error("the ledger was not asked", "error", err.Error())
			}
			return err == nil && found.Kind != notary.KindAbsent
		}
	}
	p.Resolver = to
}
