package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
)

// The clinic of the demonstration: a service as `ampoule serve` runs it, with people
// who can log in and a morning's certificates.

const demoOrganisation = "demonstration"

// settings are those of a server on the files of the demonstration.
func (d *demo) settings(dir, listen string) (*config.Config, error) {
	in := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	set := map[string]string{
		"listen": listen, "http.rate": "0", "http.stop": "5s", "log.level": "warn",
		"store.dir":               in("store"),
		"ledger.dir":              in("ledger"),
		"cards.address":           demoAddress,
		"publish.key":             in("private", "bundle-root.key"),
		"publish.file":            in("bundle.cbor"),
		"publish.days":            "30",
		"custody.products":        in(demoProductsFile),
		"verifier.trust":          strings.Join([]string{in("trustlist", "did.json"), demoAddress + "=" + in("trustlist", "jwks.json"), in("trustlist", "csca.pem"), in("trustlist", "divoc.json")}, ","),
		"verifier.pin":            in("trustlist", "pin.pem"),
		"verifier.status":         in("revoked.json"),
		"verifier.catalogue":      "demo",
		"verifier.transcript_key": in("private", "dsc-any.key"),
		"verifier.lots":           in("lots.txt"),
		"verifier.lot_key":        strings.Join(demoLotKeys(dir), ","),
		"custody.key":             in("private", "places.key"),
		"custody.authority":       demoParticipant,
	}
	network, net, err := d.network(dir)
	if err != nil {
		return nil, err
	}
	d.net = net
	maps.Copy(set, network)
	var source config.Source
	for name, value := range set {
		source.Set = append(source.Set, name+"="+value)
	}
	c, _, err := config.Load(source)
	if err != nil {
		return nil, usageError("%w (try --listen 127.0.0.1:0)", err)
	}
	return c, nil
}

// demoLogin is somebody who can log in.
type demoLogin struct{ name, password, does string }

// people sets the service up, and lets in one of each who works there.
func (d *demo) people(ctx context.Context, s *service) ([]demoLogin, error) {
	folder := filepath.Join(s.settings.Store.Dir, signingFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	for name, k := range map[string]*keys.Key{"dsc": d.trusted.signers["dsc-any"], "seal": d.trusted.others["dsc-seal"]} {
		if err := keys.Save(filepath.Join(folder, name+".key"), k, keys.Unencrypted()); err != nil {
			return nil, err
		}
	}
	token, err := s.accounts.SetupToken(ctx)
	if err != nil {
		return nil, err
	}
	admin := demoLogin{"admin", rand.Text(), "lets people in"}
	login, err := s.accounts.SetUp(ctx, access.Setup{
		Token: token, Organisation: demoOrganisation, Name: "Demonstration Health Authority", Participant: demoParticipant,
		Country: "XA", Language: "en", TimeZone: "UTC", Login: admin.name, Password: admin.password,
	}, netip.Addr{})
	if err != nil {
		return nil, err
	}
	visitor := &access.Visitor{Principal: login.Account.Principal(), Account: login.Account, Session: &login.Session}
	logins := []demoLogin{admin}
	for _, p := range []struct {
		name   string
		grants []access.Grant
		does   string
	}{
		{"clerk", []access.Grant{{Role: access.Clerk, Facility: "north-clinic"}}, "issues, at the north clinic"},
		{"supervisor", []access.Grant{{Role: access.Supervisor}}, "corrects, revokes and erases, at every clinic"},
		{"manager", []access.Grant{{Role: access.ColdChainManager}}, "watches the stores, and acknowledges alarms"},
		{"technician", []access.Grant{{Role: access.Technician}}, "sets devices and equipment up"},
		{"auditor", []access.Grant{{Role: access.Auditor}}, "reads the audit log"},
		{"operator", []access.Grant{{Role: access.Operator}}, "keeps the service running"},
		{"supplier", []access.Grant{{Role: access.Technician}}, "sends what its loggers say, by a token"},
		{"guide", []access.Grant{{Role: access.Clerk, Facility: "north-clinic"}, {Role: access.Clerk, Facility: "south-clinic"}, {Role: access.ColdChainManager}}, "goes round with visitors: the tour logs them in"},
	} {
		invited, err := s.accounts.Create(ctx, visitor, p.name, p.grants)
		if err != nil {
			return nil, err
		}
		l := demoLogin{p.name, rand.Text(), p.does}
		accepted, err := s.accounts.AcceptPassword(ctx, invited.Secret, l.password)
		if err != nil {
			return nil, err
		}
		if p.name == "guide" {
			d.change(func(s *scene) { s.Guide.Login, s.Guide.Password = l.name, l.password })
		}
		if p.name == "supplier" {
			if d.supplier, err = supplierOf(ctx, s.accounts, accepted); err != nil {
				return nil, err
			}
		}
		logins = append(logins, l)
	}
	return logins, s.accounts.Book.End(ctx, login.Account.ID, login.Session.ID, access.Line{
		At: time.Now(), By: login.Account.ID, Event: access.EventLogout, Subject: login.Session.ID, Organisation: demoOrganisation,
	})
}

// records are a morning at two clinics: some certificates, one corrected, one revoked.
func (d *demo) records(ctx context.Context, s *service) error {
	set := instance{Participant: demoParticipant, Name: "Demonstration Health Authority", Country: "XA"}
	all, err := loadSigningKeys(s.settings)
	if err != nil {
		return err
	}
	now := time.Now()
	r := &issuer.Registry{Book: s.store, Country: set.Country, Now: time.Now, Issuers: issuers(all, set, demoAddress, cert.DemoCatalogue(), now)}
	given := []string{"Ada", "Ben", "Cleo", "Dara", "Elif", "Finn", "Gita", "Hugo"}
	clerk := issuer.Actor{ID: "demonstration", Within: issuer.Place{Organisation: demoOrganisation}}
	var made []*issuer.Receipt
	for n, name := range given {
		record := &cert.Certificate{
			Kind: cert.KindVaccination, Authority: set.Name,
			Person: cert.Person{
				Name: cert.Name{Family: "Specimen", Given: name}, BirthDate: cert.Date(fmt.Sprintf("19%02d-%02d-%02d", 60+4*n, 1+n, 3+2*n)),
				Sex: []string{"female", "male"}[n%2], Nationality: "XXA", Document: cert.Document{Number: fmt.Sprintf("SPEC1%03d", n), Type: "PPN"},
			},
			Vaccination: &cert.Vaccination{
				Disease: cert.Code{Code: "840539006"}, Vaccine: cert.Code{Code: "1119349007"}, Product: cert.Code{Code: "EU/1/20/1528"},
				Manufacturer: cert.Code{Code: "ORG-100030215"}, Lot: "DEMO-LOT-2", Date: day(now), Dose: 1, Doses: 2, Country: "XA",
			},
		}
		wanted := []issuer.Wanted{{Format: issuer.EUDCC, Expires: now.AddDate(0, 11, 0)}}
		if n%2 == 0 {
			record.Vaccination = &cert.Vaccination{Product: cert.Code{Code: "DEMO-YF-0001"}, Lot: "DEMO-LOT-1", Date: day(now), Clinician: "Demonstration clinic"}
			record.Person.Name = cert.Name{Full: name + " Specimen"}
			wanted = []issuer.Wanted{{Format: issuer.ICVP}}
		}
		at := issuer.Place{Organisation: demoOrganisation, Facility: []string{"north-clinic", "south-clinic"}[n/4]}
		receipt, err := r.Issue(ctx, issuer.Order{By: clerk, At: at, Record: record, Wanted: wanted})
		if err != nil {
			return err
		}
		made = append(made, receipt)
	}
	wrong := *made[1].Record
	wrong.ID, wrong.Person.BirthDate = "", "1964-02-06"
	order := issuer.Order{By: clerk, Record: &wrong, Wanted: []issuer.Wanted{{Format: issuer.EUDCC, Expires: now.AddDate(0, 11, 0)}}}
	if _, err := r.Correct(ctx, issuer.Guard{ID: made[1].ID, Version: 1}, issuer.ReasonData, order); err != nil {
		return err
	}
	_, err = r.Revoke(ctx, clerk, issuer.Guard{ID: made[3].ID, Version: 1}, issuer.ReasonNotDone)
	return err
}
