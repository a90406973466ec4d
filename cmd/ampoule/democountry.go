package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format/cose"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
)

// demoCountryCmd is another country of the demonstration: a service of its own, in a
// process of its own, with its own keys and store. It lives for as long as whoever
// started it holds its standard input open, and does what it is told there, a line of
// JSON each, with an answer for each on its standard output.
type demoCountryCmd struct {
	Dir         string   `required:"" help:"Folder to make."`
	Country     string   `required:"" help:"Two letters."`
	Participant string   `required:"" help:"Three letters."`
	Node        string   `help:"Folder of its node of the ledger."`
	Listen      string   `help:"Address of the node."`
	Peer        []string `sep:"none" help:"Other nodes."`
	NodeOnly    bool     `help:"It has nothing but the node."`
}

// demoOrder is what a country is told.
type demoOrder struct {
	Do      string      `json:"do"` // join or compromise
	Network demoNetwork `json:"network"`
	// Lots are statements of the first country about lots, and who is believed in them.
	Lots    []string `json:"lots,omitempty"`
	LotKeys []string `json:"lot_keys,omitempty"`
}

// demoAnswer is its answer: to the first line, too, which is its own.
type demoAnswer struct {
	Did     string `json:"did"` // serve, join or compromise
	Error   string `json:"error,omitempty"`
	Address string `json:"address,omitempty"`
	// Texts are certificates of the country, by what they are.
	Texts    map[string]string `json:"texts,omitempty"`
	KID      string            `json:"kid,omitempty"`
	Reissued int               `json:"reissued,omitempty"`
}

// Run serves until the input ends.
func (c *demoCountryCmd) Run(t terminal) error {
	within, cancel := context.WithCancel(context.Background())
	defer cancel()
	settings, n, err := c.settings()
	if err != nil {
		return err
	}
	answer := func(a demoAnswer) { writeJSON(t.out, a) }
	var s *service
	return serve(terminal{in: t.in, out: io.Discard, err: t.err}, settings, hooks{
		within: within,
		prepare: func(ctx context.Context, made *service) error {
			s = made
			return n.settle(ctx, s)
		},
		decorate: func(p *httpapi.Page) { p.Demonstration = true },
		serving: func(address string) {
			answer(demoAnswer{Did: "serve", Address: address})
			go func() {
				defer cancel()
				lines := bufio.NewScanner(t.in)
				lines.Buffer(nil, 1<<20)
				for lines.Scan() {
					var o demoOrder
					err := json.Unmarshal(lines.Bytes(), &o)
					var a demoAnswer
					if err == nil && n != nil {
						a, err = n.do(within, s, o)
					}
					if a.Did = o.Do; err != nil {
						a.Error = err.Error()
					}
					answer(a)
				}
			}()
		},
	})
}

// settings are those of its server, after its keys are made.
func (c *demoCountryCmd) settings() (*config.Config, *neighbour, error) {
	set := []string{"listen=127.0.0.1:0", "http.rate=0", "http.stop=5s", "log.level=error", "verifier.refresh=10m"}
	if c.Node != "" {
		set = append(set, "ledger.dir="+c.Node, "ledger.listen="+c.Listen, "ledger.peers="+strings.Join(c.Peer, ","))
	}
	var n *neighbour
	if !c.NodeOnly {
		var err error
		if n, err = newNeighbour(c.Dir, c.Country, c.Participant, time.Now()); err != nil {
			return nil, nil, err
		}
		in := func(parts ...string) string { return filepath.Join(append([]string{c.Dir}, parts...)...) }
		set = append(set, "store.dir="+in("store"), "publish.key="+in("private", "bundle-root.key"), "publish.file="+in("bundle.cbor"),
			"publish.days=30", "publish.shrink=100", "verifier.catalogue=demo")
	}
	settings, _, err := config.Load(config.Source{Set: set})
	return settings, n, err
}

// neighbour is the other country from within.
type neighbour struct {
	dir                  string
	country, participant string
	keys                 *keySet
	thief                string // a certificate that the country did not issue
	held                 issuer.ID
	own                  string // a certificate that it issued
}

func newNeighbour(dir, country, participant string, now time.Time) (*neighbour, error) {
	// A thief has had the key for a while.
	made := now.AddDate(0, -2, 0)
	set, err := newKeySet(keys.Participant{Country: country, Organization: "Second Demonstration Authority", Name: "Second Demonstration SCA"}, participant, made)
	if err != nil {
		return nil, err
	}
	if err := set.save(dir, demoDomains, keys.Unencrypted()); err != nil {
		return nil, err
	}
	err = makeBundleRoot(filepath.Join(dir, "private", "bundle-root.key"), filepath.Join(dir, "bundle-root.pem"), cose.ES256, now.Add(-time.Hour), now.AddDate(1, 0, 0), keys.Unencrypted())
	return &neighbour{dir: dir, country: country, participant: participant, keys: set}, err
}

// settle sets the service up, and issues with the key that a thief has, too.
func (n *neighbour) settle(ctx context.Context, s *service) error {
	folder := filepath.Join(s.settings.Store.Dir, signingFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := keys.Save(filepath.Join(folder, "first.key"), n.keys.signers["dsc-vaccination"], keys.Unencrypted()); err != nil {
		return err
	}
	token, err := s.accounts.SetupToken(ctx)
	if err != nil {
		return err
	}
	set := instance{Participant: n.participant, Name: "Second Demonstration Authority", Country: n.country}
	if _, err := s.accounts.SetUp(ctx, access.Setup{
		Token: token, Organisation: demoOrganisation, Name: set.Name, Participant: n.participant,
		Country: n.country, Language: "en", TimeZone: "UTC", Login: "admin", Password: rand.Text(),
	}, netip.Addr{}); err != nil {
		return err
	}
	signing, err := loadSigningKeys(s.settings)
	if err != nil {
		return err
	}
	now := time.Now()
	r := &issuer.Registry{Book: s.store, Country: set.Country, Now: time.Now, Issuers: issuers(signing, set, demoAddress, cert.DemoCatalogue(), now)}
	by := issuer.Actor{ID: "demonstration", Within: issuer.Place{Organisation: demoOrganisation}}
	for i, name := range []string{"Lena", "Milo", "Nora"} {
		receipt, err := r.Issue(ctx, issuer.Order{By: by, Record: n.record(name, i, now), Wanted: []issuer.Wanted{{Format: issuer.ICVP}}})
		if err != nil {
			return err
		}
		n.held, n.own = receipt.ID, receipt.Artefacts[0].Text
	}
	stolen, err := r.Issuers[issuer.ICVP].Issue(issuer.Request{Format: issuer.ICVP, Record: n.record("Otto", 3, now)})
	if err != nil {
		return err
	}
	n.thief = stolen.Text
	return nil
}

// record is of a dose of a month ago.
func (n *neighbour) record(name string, i int, now time.Time) *cert.Certificate {
	return &cert.Certificate{
		Kind: cert.KindVaccination, Authority: "Second Demonstration Authority",
		Person: cert.Person{
			Name: cert.Name{Full: name + " Specimen"}, BirthDate: cert.Date(fmt.Sprintf("19%02d-%02d-%02d", 80+i, 2+i, 5+i)),
			Sex: "female", Nationality: n.participant, Document: cert.Document{Number: fmt.Sprintf("SPEC3%03d", i), Type: "PPN"},
		},
		Vaccination: &cert.Vaccination{Product: cert.Code{Code: "DEMO-YF-0001"}, Lot: "DEMO-LOT-7", Date: day(now.AddDate(0, -1, 0)), Clinician: "Demonstration clinic"},
	}
}

// do does what it is told.
func (n *neighbour) do(ctx context.Context, s *service, o demoOrder) (a demoAnswer, err error) {
	switch o.Do {
	case "join":
		if err := o.Network.upload(n.dir); err != nil {
			return a, err
		}
		if err := n.take(ctx, s, o); err != nil {
			return a, err
		}
		return demoAnswer{Texts: map[string]string{"held": n.own, "thief": n.thief}, KID: fmt.Sprintf("%x", n.keys.signers["dsc-vaccination"].KID())}, nil
	case "pull":
		return a, n.take(ctx, s, o)
	case "compromise":
		// Another key takes its place; what it signed for holders is signed anew.
		kid := n.keys.signers["dsc-vaccination"].KID()
		next := filepath.Join(s.settings.Store.Dir, signingFolder, "second.key")
		if err := keys.Save(next, n.keys.signers["dsc-any"], keys.Unencrypted()); err != nil {
			return a, err
		}
		hangs, err := s.KeyAffected(ctx, kid)
		if err != nil {
			return a, err
		}
		done, err := s.KeyCompromised(ctx, kid, "reissue", hangs.Records)
		if err != nil {
			return a, err
		}
		if done.Left > 0 {
			return a, fmt.Errorf("%d records are left: %v", done.Left, done.Reasons)
		}
		if err := o.Network.withdraw(n.dir, "dsc-vaccination"); err != nil {
			return a, err
		}
		if err := n.take(ctx, s, o); err != nil {
			return a, err
		}
		held, err := s.registry.Load().Read(ctx, issuer.Actor{ID: "demonstration", Within: issuer.Place{Organisation: demoOrganisation}}, n.held)
		if err != nil {
			return a, err
		}
		i := slices.IndexFunc(held.Artefacts, func(a issuer.Artefact) bool { return a.Current })
		if i < 0 {
			return a, errors.New("no certificate of the record is current")
		}
		return demoAnswer{Texts: map[string]string{"anew": held.Artefacts[i].Text}, Reissued: done.Reissued}, nil
	}
	return a, fmt.Errorf("%q: no such order", o.Do)
}

// take takes the lists of the network, and what another country says of lots.
func (n *neighbour) take(ctx context.Context, s *service, o demoOrder) error {
	list, err := o.Network.pull(n.dir)
	if err != nil {
		return err
	}
	s.believe(func(c *config.Config) {
		c.Verifier.Trust, c.Verifier.Pin = []string{list}, []string{o.Network.Anchor}
		if len(o.Lots) > 0 {
			c.Verifier.Lots, c.Verifier.LotKey = o.Lots, o.LotKeys
		}
	})
	_, err = s.publishNow(ctx)
	return err
}

// believe changes what the service goes by.
func (s *service) believe(change func(*config.Config)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.settings)
	s.forgetLocked()
}
