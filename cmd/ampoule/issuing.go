package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ampoule/cert"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
	"ampoule/trust"
)

// The folders of a store's folder that have keys: those that sign, and the
// authority's, which belongs on hardware and elsewhere once there is more than a
// trial.
const (
	signingFolder   = "keys"
	authorityFolder = "authority"
)

// listedAfter is how long a document signer is on the lists before it signs here:
// verifiers keep theirs for a day.
const listedAfter = 24 * time.Hour

// newest returns, of the keys that sign visible digital seals or of the others, the
// one that is valid now and began last, of those first that began a day ago: what a
// signer signs that verifiers do not know yet is refused. Without one that is valid,
// it is the last to begin.
func newest(all []*keys.Key, seal bool, now time.Time) (best *keys.Key) {
	rank := func(k *keys.Key) int {
		c := k.Certificate()
		switch {
		case now.Before(c.NotBefore) || now.After(c.NotAfter):
			return 0
		case !seal && now.Before(c.NotBefore.Add(listedAfter)):
			return 1
		}
		return 2
	}
	for _, k := range all {
		if trust.SignsSeals(k.Certificate()) != seal {
			continue
		}
		if best == nil || rank(k) > rank(best) || rank(k) == rank(best) && k.Certificate().NotBefore.After(best.Certificate().NotBefore) {
			best = k
		}
	}
	return best
}

// issuerOf is one key with what certificates say of their issuer.
func issuerOf(k *keys.Key, participant, address string, catalogue *cert.Catalogue) *issuer.Issuer {
	c := k.Certificate()
	i := &issuer.Issuer{
		Signer: k.Signer, KID: k.KID(), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Participant: participant, Address: address, Catalogue: catalogue, Now: time.Now,
	}
	for _, c := range k.Chain {
		i.Chain = append(i.Chain, c.Raw)
	}
	return i
}

// issuers are those of each format that the keys can sign now.
func issuers(all []*keys.Key, set instance, address string, catalogue *cert.Catalogue, now time.Time) map[issuer.Format]*issuer.Issuer {
	out := make(map[issuer.Format]*issuer.Issuer)
	if k := newest(all, false, now); k != nil {
		i := issuerOf(k, set.Participant, address, catalogue)
		out[issuer.EUDCC], out[issuer.DDCC] = i, i
		if catalogue.Len() > 0 {
			out[issuer.ICVP] = i
		}
		if cardKey(k) != nil && strings.HasPrefix(address, "https://") {
			out[issuer.SHC] = i
		}
	}
	if k := newest(all, true, now); k != nil {
		state, known := cert.Alpha3(set.Country)
		if !known {
			state = set.Participant
		}
		out[issuer.VDSNC] = issuerOf(k, state, address, catalogue)
	}
	return out
}

// trustOwn has a verifier trust the keys that sign here: a desk must be able to
// read what it wrote.
func trustOwn(list *trust.List, all []*keys.Key, set instance, address string, jwks []byte) error {
	for _, k := range all {
		if trust.SignsSeals(k.Certificate()) {
			for _, c := range k.Chain[1:] {
				a, err := trust.NewAuthority(c.Raw)
				if err != nil {
					return err
				}
				list.InsertAuthority(a)
			}
			continue
		}
		for _, d := range []trust.Domain{trust.DCC, trust.DDCC, trust.ICVP} {
			own, err := trust.NewKey(k.Certificate().Raw)
			if err != nil {
				return err
			}
			own.Domain, own.Participant = d, set.Participant
			list.Insert(own)
		}
	}
	if len(jwks) == 0 {
		return nil
	}
	return list.Add(trust.Source{Name: "own cards", Data: jwks, Issuer: address})
}

// makeServerKeys makes the keys of a new service: an authority, and a signer for
// each kind of certificate.
func makeServerKeys(dir string, set instance, lock keys.Lock) error {
	made, err := newKeySet(keys.Participant{Country: set.Country, Organization: set.Name, Name: set.Name + " SCA"}, set.Participant, time.Now())
	if err != nil {
		return err
	}
	if err := made.save(filepath.Join(dir, authorityFolder), []string{"DCC", "DDCC", "ICVP"}, lock); err != nil {
		return err
	}
	folder := filepath.Join(dir, signingFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, k := range map[string]*keys.Key{"dsc": made.signers["dsc-any"], "seal": made.others["dsc-seal"]} {
		if k == nil {
			continue // no three letters name the state
		}
		if err := keys.Save(filepath.Join(folder, name+".key"), k, lock); err != nil {
			return err
		}
	}
	return nil
}

// instance is what the first run settled.
type instance struct{ Participant, Name, Country, Language, TimeZone string }

// desk is the issuing side of a service, as it is at a time.
type desk struct {
	settings  instance
	address   string // of the issuer of SMART Health Cards
	keys      []*keys.Key
	jwks      []byte // of SMART Health Cards; nil: none are issued
	lists     []issuer.StatusList
	landmarks []byte // nil: no batch of fingerprints is closed
	ledger    []byte // nil: none of them is logged
	held      held   // against doses
	registry  *issuer.Registry
	log       *slog.Logger
}

func instanceOf(settled map[string]string) instance {
	return instance{
		Participant: settled[access.SettingParticipant], Name: settled[access.SettingName], Country: settled[access.SettingCountry],
		Language: settled[access.SettingLanguage], TimeZone: settled[access.SettingTimeZone],
	}
}

// desk reads settings, keys, status lists and landmarks. It is nil before the service is
// set up.
func (s *service) desk(ctx context.Context) (*desk, error) {
	if s.store == nil {
		return nil, nil
	}
	settled, err := s.store.Accounts().Settings(ctx)
	if err != nil || len(settled) == 0 {
		return nil, err
	}
	set := instanceOf(settled)
	c := &desk{settings: set, address: cmp.Or(s.settings.Cards.Address, s.settings.Access.Origin), log: s.log}
	if c.keys, err = s.keys.load(s.settings); err != nil {
		return nil, err
	}
	if strings.HasPrefix(c.address, "https://") {
		var cards []*ecdsa.PublicKey
		for _, k := range c.keys {
			if p := cardKey(k); p != nil {
				cards = append(cards, p)
			}
		}
		if c.jwks, err = jwkSet(cards...); err != nil {
			return nil, err
		}
	}
	c.registry = &issuer.Registry{Book: s.store, Country: set.Country, Now: time.Now}
	if c.lists, err = c.registry.StatusLists(ctx); err != nil {
		return nil, err
	}
	if c.landmarks, err = c.registry.Landmarks(ctx); err != nil {
		return nil, err
	}
	if c.ledger, err = s.ledgerDoc(ctx); err != nil {
		return nil, err
	}
	if c.held, err = s.goods.held(ctx, set.Country); err != nil {
		return nil, err
	}
	return c, nil
}

// cardKey returns the key as one of SMART Health Cards, which are signed on P-256
// alone; nil: it is none.
func cardKey(k *keys.Key) *ecdsa.PublicKey {
	p, ok := k.Signer.Public().(*ecdsa.PublicKey)
	if !ok || p.Curve.Params().BitSize != 256 || trust.SignsSeals(k.Certificate()) {
		return nil
	}
	return p
}

// mark tells whether anything is another than before.
func (c *desk) mark(now time.Time) string {
	if c == nil {
		return "not set up"
	}
	var b strings.Builder
	fmt.Fprint(&b, c.settings, c.address)
	for _, k := range c.keys {
		fmt.Fprint(&b, " ", hex.EncodeToString(k.KID()))
	}
	for _, seal := range []bool{false, true} {
		if k := newest(c.keys, seal, now); k != nil {
			fmt.Fprint(&b, " signs ", hex.EncodeToString(k.KID())) // which changes with time alone
		}
	}
	for _, l := range c.lists {
		fmt.Fprint(&b, " ", l.Scheme, hex.EncodeToString(l.KID), l.Counter)
	}
	fmt.Fprint(&b, " ", len(c.landmarks), len(c.ledger)) // which only grow
	fmt.Fprintf(&b, " %x %x", sha256.Sum256(c.held.lines), sha256.Sum256(c.held.doses))
	return b.String()
}

// join adds what the desk knows to a page: its keys are trusted, what it took
// back is revoked, and its routes are there.
func (c *desk) join(page *httpapi.Page, s *service) error {
	v := page.Verifier
	if err := trustOwn(v.Trust, c.keys, c.settings, c.address, c.jwks); err != nil {
		return err
	}
	if err := c.held.join(v); err != nil {
		return err
	}
	for _, l := range c.lists {
		if v.Status == nil {
			v.Status = new(trust.Status)
		}
		if err := v.Status.Add("own "+string(l.Scheme), bytes.Clone(l.Document)); err != nil {
			return err
		}
	}
	c.registry.Issuers = issuers(c.keys, c.settings, c.address, v.Catalogue, time.Now())
	if s.registry.Swap(c.registry) == nil {
		close(s.ready)
	}
	page.Issuing = &httpapi.Issuing{
		Registry: c.registry, Bulk: s.bulk, Policy: s.accounts.Policy, Participant: c.settings.Participant, Authority: c.settings.Name,
		Address: c.address, Keys: c.jwks, Changed: s.changed, Made: s.started,
		Terms:  httpapi.Terms{Catalogue: v.Catalogue, Country: c.settings.Country},
		Outbox: s.store.Outbox(), Ledger: c.ledger,
	}
	page.Issuing.Trouble = s.trouble
	return nil
}

// changed takes a revocation into account before the one who revoked is answered:
// who verifies next here is told of it. Of many at once the first to look does it for
// the others.
func (s *service) changed() {
	if err := s.refresh(context.Background()); err != nil {
		s.log.Error("what is kept goes on to be used", "error", err.Error())
	}
}

// keyCache are the signing keys as their files were read last: to open one takes a
// second of work, on purpose.
type keyCache struct {
	of   string // names, sizes and times of the files
	keys []*keys.Key
}

func (k *keyCache) load(c *config.Config) ([]*keys.Key, error) {
	files, err := filepath.Glob(filepath.Join(c.Store.Dir, signingFolder, "*.key"))
	if err != nil {
		return nil, err
	}
	var of strings.Builder
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(&of, path, info.Size(), info.ModTime().UnixNano())
	}
	if of.String() == k.of {
		return k.keys, nil
	}
	loaded, err := loadSigningKeys(c)
	if err != nil {
		return nil, err
	}
	k.of, k.keys = of.String(), loaded
	return loaded, nil
}

// openAccounts opens the accounts of a service.
func (s *service) openAccounts() error {
	c := s.settings.Access
	config := access.Config{
		Origin: c.Origin, Idle: c.SessionIdle, Absolute: c.SessionEnd,
		OIDC: access.OIDCConfig{Issuer: c.OIDCIssuer, ClientID: c.OIDCClientID},
	}
	if c.OIDCClientSecretFile != "" {
		data, err := readInput(c.OIDCClientSecretFile, nil)
		if err != nil {
			return usageError("access.oidc_client_secret_file: %w", err)
		}
		config.OIDC.ClientSecret = strings.TrimSpace(string(data))
	}
	var err error
	if s.accounts, err = access.New(s.store.Accounts(), config); err != nil {
		return usageError("%w", err)
	}
	return nil
}

// firstRun tells how the first run begins, where that is yet to come.
func (s *service) firstRun(ctx context.Context, t terminal, address string) error {
	token, err := s.accounts.SetupToken(ctx)
	if err != nil || token == "" {
		return err
	}
	if origin := s.settings.Access.Origin; origin != "" {
		address = origin
	}
	fmt.Fprintf(t.out, "This service is new. Set it up with the token, which counts until it is stopped:\n\nopen:   %s/setup\ntoken:  %s\n", address, token)
	return nil
}

// settled makes the keys of a service that was set up just now, unless they were
// put there before, and shows what it can do.
func (s *service) settled(ctx context.Context) error {
	settled, err := s.store.Accounts().Settings(ctx)
	if err != nil {
		return err
	}
	keys, err := loadSigningKeys(s.settings)
	if err == nil && len(keys) == 0 {
		lock, err := storeLock(s.settings)
		if err != nil {
			return err
		}
		if err := makeServerKeys(s.settings.Store.Dir, instanceOf(settled), lock); err != nil {
			return err
		}
		s.log.Info("signing keys made")
	}
	return errors.Join(err, s.refresh(ctx)) // before anybody asks for what is there now
}

// work issues the files of doses that were uploaded, and closes batches of
// fingerprints, until ctx ends. The function that it returns waits for that.
func (s *service) work(ctx context.Context) (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-s.ready:
			s.bulk.Serve(ctx)
		case <-ctx.Done():
		}
	})
	wg.Go(func() {
		select {
		case <-s.ready:
		case <-ctx.Done():
		}
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			s.closeBatches(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return wg.Wait
}

// closeBatches closes the open batch of fingerprints when it is due.
func (s *service) closeBatches(ctx context.Context) {
	registry := s.registry.Load()
	if registry == nil {
		return // nothing was issued yet
	}
	c := issuer.Closing{Every: s.settings.Fingerprints.Every, Full: s.settings.Fingerprints.Full}
	closed, err := registry.CloseBatches(ctx, c)
	if err != nil && ctx.Err() == nil {
		s.log.Error("a batch of fingerprints was not closed", "error", err.Error())
	}
	for _, b := range closed {
		s.log.Info("a batch of fingerprints was closed", "batch", b.Number, "size", b.Size)
	}
	if len(closed) > 0 {
		s.wakeUp() // the next bundle has the roots
		select {
		case s.anchored <- struct{}{}: // and the ledger is to have them
		default:
		}
	}
}
