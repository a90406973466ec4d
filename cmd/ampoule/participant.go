package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/format/dccrevocation"
	"ampoule/format/tng"
	"ampoule/internal/fetch"
	"ampoule/internal/gatewayclient"
	"ampoule/internal/keys"
	"ampoule/party/participant"
	"ampoule/trust"
)

type participantCmd struct {
	Init   participantInitCmd   `cmd:"" help:"Make what a new participant hands over for its onboarding, and the keys behind it."`
	Check  participantCheckCmd  `cmd:"" help:"Say what the onboarding would object to in a participant's folder."`
	Upload participantUploadCmd `cmd:"" help:"Publish document signers, or batches of revoked certificates."`
	Revoke participantRevokeCmd `cmd:"" help:"Take document signers or batches back."`
	Pull   participantPullCmd   `cmd:"" help:"Take the gateway's lists, check every entry, and keep what stands."`
	Accept participantAcceptCmd `cmd:"" help:"Put a list in use that was kept apart, after a person has looked at it."`
	Resign participantResignCmd `cmd:"" help:"Sign again what the gateway holds of us, after the UP changed."`
	Status participantStatusCmd `cmd:"" help:"Show what is kept, how old it is, and what is odd about it."`
}

type participantInitCmd struct {
	secretFlags
	Dir          string   `arg:"" name:"folder" help:"Folder to make; it must not exist."`
	Country      string   `required:"" placeholder:"CC" help:"Two letters; XA to XZ are for tests."`
	Organization string   `default:"Demonstration Health Authority" help:"Name in the certificates."`
	Domain       []string `default:"DCC" help:"Domains of the trust network to take part in."`
	SCAYears     int      `name:"sca-years" default:"4" help:"Validity of the signing authority, 2 to 4."`
	UPYears      int      `name:"up-years" default:"1" help:"Validity of the upload certificate, 1 or 2."`
	TLSYears     int      `name:"tls-years" default:"1" help:"Validity of the client certificate, 1 or 2."`
}

func (c *participantInitCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.Dir); err == nil {
		return usageError("%s exists, and keys are never overwritten", c.Dir)
	}
	p := keys.Participant{Country: c.Country, Organization: c.Organization, Name: c.Organization + " SCA"}
	m, err := keys.NewMember(p, keys.MaterialProfile{SCAYears: c.SCAYears, UPYears: c.UPYears, TLSYears: c.TLSYears}, time.Now(), rand.Reader)
	if err != nil {
		return exitError{exitUsage, err}
	}
	private, repository := filepath.Join(c.Dir, "private"), filepath.Join(c.Dir, "repository")
	if err := os.MkdirAll(private, 0o700); err != nil {
		return exitError{exitUsage, err}
	}
	byName := map[string]*keys.Key{"sca": m.SCA.Key, "up": m.UP, "tls": m.TLS, "dsc": m.DSC}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if err := keys.Save(filepath.Join(private, name+".key"), byName[name], lock); err != nil {
			return err
		}
	}
	files := map[string][]byte{filepath.Join(c.Dir, "dsc.pem"): certificatePEM(m.DSC), filepath.Join(c.Dir, "sca.pem"): certificatePEM(m.SCA.Key)}
	for _, domain := range c.Domain {
		for _, name := range []string{"sca", "up", "tls"} {
			role := strings.ToUpper(name)
			files[filepath.Join(repository, "onboarding", domain, role, role+".pem")] = certificatePEM(byName[name])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, files[path], 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, `%[1]s/private/      private keys: sca, up, tls, dsc
%[1]s/repository/   what is handed over, as the participant template has it
%[1]s/dsc.pem       the first document signer, to upload once the gateway has taken the rest in

check:   ampoule participant check %[1]s/repository --participant %[2]s
`, c.Dir, trust.CountryParticipant(c.Country))
	return nil
}

type participantCheckCmd struct {
	Dir         string            `arg:"" name:"folder" type:"existingdir" help:"Folder that holds 'onboarding', as the participant template has it."`
	Participant string            `required:"" placeholder:"CCC" help:"Code of the participant: three letters."`
	Other       map[string]string `placeholder:"CCC=DIR" help:"Folder of another participant, whose keys must be others."`
	Environment map[string]string `placeholder:"NAME=DIR" help:"Folder of the same participant in another environment, likewise."`
	At          string            `placeholder:"T" help:"Judge as of this time (RFC 3339) instead of now."`
	JSON        bool              `name:"json" help:"One JSON object a line."`
}

func (c *participantCheckCmd) Run(t terminal) error {
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	files, err := readMaterial(c.Dir)
	if err != nil {
		return err
	}
	var known []trust.Known
	for _, others := range []struct {
		folders     map[string]string
		environment bool
	}{{c.Other, false}, {c.Environment, true}} {
		for _, name := range slices.Sorted(maps.Keys(others.folders)) {
			k := trust.Known{Participant: name}
			if others.environment {
				k = trust.Known{Participant: c.Participant, Environment: name}
			}
			material, err := readMaterial(others.folders[name])
			if err != nil {
				return err
			}
			for _, m := range material {
				if block, _ := pem.Decode(m.Data); block != nil {
					k.Certificate = block.Bytes
					known = append(known, k)
				}
			}
		}
	}
	findings := trust.CheckMaterial(c.Participant, files, known, clock())
	for _, f := range findings {
		if c.JSON {
			writeJSON(t.out, map[string]string{"path": f.Path, "reason": string(f.Reason), "detail": f.Detail})
			continue
		}
		fmt.Fprintf(t.out, "%s: %s: %s\n", f.Path, f.Reason, f.Detail)
	}
	if len(findings) > 0 {
		return exitError{code: exitNotValid}
	}
	if !c.JSON {
		fmt.Fprintf(t.out, "%d files, and nothing to object to\n", len(files))
	}
	return nil
}

// readMaterial reads what lies under 'onboarding'.
func readMaterial(dir string) ([]trust.Material, error) {
	var files []trust.Material
	root := os.DirFS(dir)
	err := fs.WalkDir(root, "onboarding", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := readBounded(filepath.Join(dir, path), nil, 1<<20)
		files = append(files, trust.Material{Path: path, Data: data})
		return err
	})
	if err != nil {
		return nil, usageError("%s: %w", dir, err)
	}
	return files, nil
}

// gatewayFlags are what a participant needs to speak with its gateway.
type gatewayFlags struct {
	State      string        `required:"" placeholder:"DIR" help:"Folder in which what was accepted is kept."`
	Anchor     []string      `sep:"none" placeholder:"F" help:"Pinned trust anchor of the gateway: certificate in PEM or DER. FROM/UNTIL=F pins it for a time (YYYY-MM-DD, either may be left out)."`
	MaxShrink  float64       `default:"0.1" help:"Part of the entries that may go at once without a person."`
	Frozen     time.Duration `default:"720h" help:"Tell when nothing has changed for so long."`
	Stale      time.Duration `default:"48h" help:"Tell when the gateway has not answered for so long."`
	Delta      bool          `help:"Ask for what changed since: only for gateways that can answer that."`
	Revocation bool          `help:"Take the revocation list, too."`
}

// connectFlags are what it needs to be let in and to upload.
type connectFlags struct {
	secretFlags
	gatewayFlags
	Gateway string   `required:"" placeholder:"URL" help:"Address of the gateway's API."`
	TLS     string   `name:"tls" required:"" placeholder:"F" help:"Key file of the client certificate."`
	UP      string   `name:"up" placeholder:"F" help:"Key file of the upload certificate."`
	SCA     []string `name:"sca" sep:"none" placeholder:"F" help:"Our signing authorities, in PEM or DER."`
	CA      []string `name:"ca" sep:"none" placeholder:"F" help:"Authority of the gateway's own certificate, instead of the system's."`
	Private bool     `help:"The gateway's host may have an address of a private network."`
}

// kept makes a participant that knows what is kept, and is not connected.
func (f *gatewayFlags) kept() (p *participant.Participant, folder *gatewayclient.Folder, release func() error, err error) {
	p = &participant.Participant{
		Guard: participant.Guard{MaxShrink: f.MaxShrink, Frozen: f.Frozen, Stale: f.Stale},
		Delta: f.Delta, Revocation: f.Revocation, Random: rand.Reader, Now: time.Now,
	}
	if f.MaxShrink < 0 || f.MaxShrink > 1 {
		return nil, nil, nil, usageError("--max-shrink %v: a part from 0 to 1", f.MaxShrink)
	}
	for _, text := range f.Anchor {
		a, err := readAnchor(text)
		if err != nil {
			return nil, nil, nil, err
		}
		p.Anchors = append(p.Anchors, a...)
	}
	folder, release, err = gatewayclient.Open(f.State)
	if err != nil {
		return nil, nil, nil, exitError{exitUsage, err}
	}
	p.Keep = folder
	return p, folder, release, nil
}

// readAnchor reads F or FROM/UNTIL=F.
func readAnchor(text string) (anchors []participant.Anchor, err error) {
	var a participant.Anchor
	window, path, windowed := strings.Cut(text, "=")
	if !windowed {
		window, path = "/", text
	}
	from, until, ok := strings.Cut(window, "/")
	for _, side := range []struct {
		text string
		to   *time.Time
	}{{from, &a.From}, {until, &a.Until}} {
		if side.text == "" || !ok {
			continue
		}
		if *side.to, err = time.Parse(time.DateOnly, side.text); err != nil {
			ok = false
		}
	}
	if !ok {
		return nil, usageError("--anchor %q: want F, or FROM/UNTIL=F with days such as 2026-11-22", text)
	}
	data, err := readInput(path, nil)
	if err != nil {
		return nil, usageError("--anchor: %w", err)
	}
	pins, err := trust.ParsePin(data)
	if err != nil {
		return nil, usageError("--anchor %s: %w", path, err)
	}
	for _, pin := range pins {
		a.Key = pin
		anchors = append(anchors, a)
	}
	return anchors, nil
}

// connect makes a participant that can speak with its gateway.
func (f *connectFlags) connect() (p *participant.Participant, folder *gatewayclient.Folder, release func() error, err error) {
	lock, err := f.lock()
	if err != nil {
		return nil, nil, nil, err
	}
	client, err := keys.Load(f.TLS, lock)
	if err != nil {
		return nil, nil, nil, exitError{exitUsage, err}
	}
	certificate := client.Certificate()
	if certificate == nil || len(certificate.Subject.Country) != 1 {
		return nil, nil, nil, usageError("--tls %s: its certificate must name one country", f.TLS)
	}
	options := fetch.Options{Certificate: &tls.Certificate{Certificate: rawChain(client), PrivateKey: client.Signer}, Bytes: tng.MaxList, Timeout: 2 * time.Minute}
	for _, path := range f.CA {
		authorities, err := readCertificates(path)
		if err != nil {
			return nil, nil, nil, usageError("--ca: %w", err)
		}
		options.Roots = append(options.Roots, authorities...)
	}
	if f.Private {
		u, err := url.Parse(f.Gateway)
		if err != nil {
			return nil, nil, nil, usageError("--gateway: %w", fetch.ErrBadTarget)
		}
		options.PrivateHosts = []string{u.Hostname()}
	}
	api, err := gatewayclient.New(f.Gateway, options)
	if err != nil {
		return nil, nil, nil, exitError{exitUsage, err}
	}
	var uploader *participant.Uploader
	if f.UP != "" {
		up, err := keys.Load(f.UP, lock)
		if err != nil {
			return nil, nil, nil, exitError{exitUsage, err}
		}
		if up.Certificate() == nil {
			return nil, nil, nil, usageError("--up %s has no certificate", f.UP)
		}
		uploader = &participant.Uploader{Certificate: up.Certificate(), Signer: up.Signer}
	}
	if p, folder, release, err = f.kept(); err != nil {
		return nil, nil, nil, err
	}
	p.Country, p.API, p.Gateway, p.Uploader = certificate.Subject.Country[0], api, f.Gateway, uploader
	for _, path := range f.SCA {
		authorities, err := readCertificates(path)
		if err != nil {
			return nil, nil, nil, usageError("--sca: %w", err)
		}
		p.Authorities = append(p.Authorities, authorities...)
	}
	return p, folder, release, nil
}

// readCertificates reads the certificates of a file in PEM, or the one in DER.
func readCertificates(path string) (list []*x509.Certificate, err error) {
	data, err := readInput(path, nil)
	if err != nil {
		return nil, err
	}
	if len(data) > 0 && data[0] == 0x30 {
		list, err = x509.ParseCertificates(data)
	}
	for rest := data; err == nil; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: a block %q, want CERTIFICATE", path, block.Type)
		}
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			list = append(list, c)
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case len(list) == 0:
		return nil, fmt.Errorf("%s: no certificate in PEM or DER", path)
	}
	return list, nil
}

type participantUploadCmd struct {
	connectFlags
	Domain   string            `placeholder:"D" help:"Domain of the trust network; the gateway's default (DCC) without."`
	KID      string            `name:"kid" placeholder:"K" help:"Identifier of one's own choice, in base64; the derived one without."`
	Property map[string]string `help:"Further property of the certificate."`
	Files    []string          `arg:"" name:"file" help:"Certificates in PEM or DER, or batches of revoked certificates in JSON."`
}

func (c *participantUploadCmd) Run(t terminal) error {
	p, _, release, err := c.connect()
	if err != nil {
		return err
	}
	defer release()
	if c.KID != "" && len(c.Files) > 1 {
		return usageError("--kid is for one certificate")
	}
	for _, path := range c.Files {
		data, err := readInput(path, nil)
		if err != nil {
			return exitError{exitUsage, err}
		}
		if strings.HasPrefix(strings.TrimSpace(string(data)), "{") || strings.HasPrefix(strings.TrimSpace(string(data)), "[") {
			batches, err := dccrevocation.Parse(data)
			if err != nil {
				return usageError("%s: %w", path, err)
			}
			for _, b := range batches {
				id, err := p.UploadBatch(context.Background(), b)
				if err != nil {
					return err
				}
				fmt.Fprintf(t.out, "%s\tbatch of %d\n", id, len(b.Hashes))
			}
			continue
		}
		certificates, err := readCertificates(path)
		if err != nil {
			return exitError{exitUsage, err}
		}
		for _, dsc := range certificates {
			order := participant.Order{Certificate: dsc.Raw, Domain: c.Domain, KID: c.KID, Properties: c.Property}
			if order.Domain != "" {
				order.Group = tng.DSC
			}
			if err := p.Upload(context.Background(), order); err != nil {
				return exitError{exitNotValid, err}
			}
			fmt.Fprintf(t.out, "%s\tuploaded\n", hex.EncodeToString([]byte(trust.DeriveKeyID(dsc.Raw))))
		}
	}
	return nil
}

type participantRevokeCmd struct {
	connectFlags
	What []string `arg:"" name:"what" help:"Certificates of document signers in PEM or DER, or names of batches."`
}

func (c *participantRevokeCmd) Run(t terminal) error {
	p, _, release, err := c.connect()
	if err != nil {
		return err
	}
	defer release()
	for _, what := range c.What {
		if tng.IsUUID(what) {
			if err := p.DeleteBatch(context.Background(), what); err != nil {
				return exitError{exitNotValid, err}
			}
			fmt.Fprintf(t.out, "%s\ttaken back\n", what)
			continue
		}
		certificates, err := readCertificates(what)
		if err != nil {
			return exitError{exitUsage, err}
		}
		for _, dsc := range certificates {
			if err := p.Revoke(context.Background(), dsc.Raw); err != nil {
				return exitError{exitNotValid, err}
			}
			fmt.Fprintf(t.out, "%s\ttaken back\n", hex.EncodeToString([]byte(trust.DeriveKeyID(dsc.Raw))))
		}
	}
	return nil
}

type participantPullCmd struct {
	connectFlags
	JSON bool `name:"json" help:"One JSON object."`
}

type pulledJSON struct {
	Applied bool                `json:"applied"`
	Digest  string              `json:"digest"`
	Listed  map[string]int      `json:"listed"`
	Batches int                 `json:"batches"`
	Changes []changeJSON        `json:"changes"`
	Alarms  []participant.Alarm `json:"alarms"`
	Drops   []dropJSON          `json:"drops"`
}

type changeJSON struct {
	Kind  participant.ChangeKind `json:"kind"`
	Entry string                 `json:"entry"`
}

type dropJSON struct {
	Entry       string `json:"entry"`
	Participant string `json:"participant,omitempty"`
	Reason      string `json:"reason"`
	Detail      string `json:"detail,omitempty"`
}

// Run exits with 1 when the list was kept apart, and with 2 when it was taken and
// something about it is odd.
func (c *participantPullCmd) Run(t terminal) error {
	p, folder, release, err := c.connect()
	if err != nil {
		return err
	}
	defer release()
	pulled, err := p.Pull(context.Background())
	if pulled == nil {
		return err
	}
	out := pulledJSON{
		Applied: pulled.Applied, Digest: pulled.Digest, Listed: countTypes(pulled.Listed), Batches: pulled.Batches,
		Changes: []changeJSON{}, Alarms: append([]participant.Alarm{}, pulled.Alarms...), Drops: []dropJSON{},
	}
	for _, change := range pulled.Changes {
		out.Changes = append(out.Changes, changeJSON(change))
	}
	for _, d := range pulled.Drops {
		out.Drops = append(out.Drops, dropJSON{d.Entry, d.Participant, d.Reason, d.Detail})
	}
	if c.JSON {
		writeJSON(t.out, out)
	} else {
		out.print(t, folder)
	}
	switch {
	case err != nil:
		return err
	case !pulled.Applied:
		return exitError{code: exitNotValid}
	case len(pulled.Alarms) > 0:
		return exitError{code: exitUndecided}
	}
	return nil
}

func countTypes(listed []trust.Listed) map[string]int {
	n := map[string]int{}
	for _, l := range listed {
		n[l.Type]++
	}
	return n
}

func (p pulledJSON) print(t terminal, folder *gatewayclient.Folder) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, d := range p.Drops {
		fmt.Fprintf(w, "dropped\t%s\t%s\t%s\t%s\n", d.Participant, d.Entry, d.Reason, d.Detail)
	}
	for _, c := range p.Changes {
		fmt.Fprintf(w, "%s\t%s\n", c.Kind, c.Entry)
	}
	for _, a := range p.Alarms {
		fmt.Fprintf(w, "alarm\t%s\t%s\n", a.Reason, a.Detail)
	}
	w.Flush()
	fmt.Fprintf(t.out, "%d signers, %d authorities, %d uploaders, %d batches; %d entries dropped\n",
		p.Listed[tng.DSC], p.Listed[tng.CSCA], p.Listed[tng.UploadType], p.Batches, len(p.Drops))
	if p.Applied {
		fmt.Fprintf(t.out, "in use: %s\n", folder.List())
		return
	}
	fmt.Fprintf(t.out, "kept apart; the list before stays in use. Once a person has looked: ampoule participant accept %s\n", p.Digest)
}

type participantAcceptCmd struct {
	gatewayFlags
	Digest string `arg:"" name:"digest" help:"Digest of the list, as 'pull' and 'status' show it."`
}

func (c *participantAcceptCmd) Run(t terminal) error {
	p, folder, release, err := c.kept()
	if err != nil {
		return err
	}
	defer release()
	if err := p.Accept(context.Background(), c.Digest); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "in use: %s\n", folder.List())
	return nil
}

type participantResignCmd struct {
	connectFlags
	Old []string `required:"" sep:"none" placeholder:"F" help:"Earlier upload certificates of ours. Nothing else is signed again."`
}

func (c *participantResignCmd) Run(t terminal) error {
	p, _, release, err := c.connect()
	if err != nil {
		return err
	}
	defer release()
	var old []*x509.Certificate
	for _, path := range c.Old {
		certificates, err := readCertificates(path)
		if err != nil {
			return usageError("--old: %w", err)
		}
		old = append(old, certificates...)
	}
	done, err := p.Resign(context.Background(), old)
	if err != nil {
		return err
	}
	failed := 0
	for _, d := range done {
		state := "signed"
		if d.Err != nil {
			failed++
			state = d.Err.Error()
		}
		fmt.Fprintf(t.out, "%d\t%s\t%s\n", d.EntityID, d.Type, state)
	}
	fmt.Fprintf(t.out, "%d messages, %d of them not signed\n", len(done), failed)
	if failed > 0 {
		return exitError{code: exitNotValid}
	}
	return nil
}

type participantStatusCmd struct {
	gatewayFlags
}

func (c *participantStatusCmd) Run(t terminal) error {
	p, folder, release, err := c.kept()
	if err != nil {
		return err
	}
	defer release()
	s, err := p.Status(context.Background())
	if err != nil {
		return err
	}
	if s.Kept.List == nil {
		fmt.Fprintln(t.out, "nothing has been accepted yet")
	} else {
		n := countTypes(s.Listed)
		fmt.Fprintf(t.out, "gateway    %s\nanswered   %s\nchanged    %s\naccepted   %s\nin use     %s\ndigest     %s\n",
			s.Kept.List.Gateway, s.Kept.Polled.Format(time.RFC3339), s.Kept.Changed.Format(time.RFC3339), s.Kept.Accepted.Format(time.RFC3339), folder.List(), s.Kept.Digest)
		fmt.Fprintf(t.out, "holds      %d signers, %d authorities, %d uploaders, %d issuers, %d references, %d batches; %d entries dropped\n",
			n[tng.DSC], n[tng.CSCA], n[tng.UploadType], len(s.Kept.List.Issuers), len(s.Kept.References), len(s.Kept.Batches), len(s.Drops))
	}
	if s.Kept.Pending != nil {
		fmt.Fprintf(t.out, "waiting    %s, since %s\n", s.Kept.Pending.Digest, s.Kept.Pending.At.Format(time.RFC3339))
	}
	for _, a := range s.Alarms {
		fmt.Fprintf(t.out, "alarm      %s: %s\n", a.Reason, a.Detail)
	}
	switch {
	case s.Kept.Pending != nil:
		return exitError{code: exitNotValid}
	case len(s.Alarms) > 0:
		return exitError{code: exitUndecided}
	}
	return nil
}
