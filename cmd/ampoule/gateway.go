package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/format"
	"ampoule/format/pkix"
	"ampoule/format/tng"
	"ampoule/internal/control"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/party/gateway"
	"ampoule/trust"
)

type gatewayCmd struct {
	Init    gatewayInitCmd    `cmd:"" help:"Make the key of a gateway's trust anchor, or of one of its operators."`
	Propose gatewayProposeCmd `cmd:"" help:"Check what a participant hands over, and propose to take it in."`
	Remove  gatewayRemoveCmd  `cmd:"" help:"Propose to take certificates of a participant off the list, or all of it."`
	Sign    gatewaySignCmd    `cmd:"" help:"Sign a proposal as the trust anchor, on its own machine."`
	Approve gatewayApproveCmd `cmd:"" help:"Approve a proposal as an operator. Two must."`
	Apply   gatewayApplyCmd   `cmd:"" help:"Do what a proposal says that two operators have approved; also while the server runs."`
	Status  gatewayStatusCmd  `cmd:"" help:"Show who takes part, and what ends soon; also while the server runs."`
	Export  gatewayExportCmd  `cmd:"" help:"Write all lists with their proofs, as a participant keeps them."`
}

type gatewayInitCmd struct {
	secretFlags
	Kind         string `arg:"" enum:"anchor,operator" help:"What to make: anchor or operator."`
	Country      string `default:"XX" help:"Two letters in the certificate of an anchor."`
	Organization string `default:"Demonstration network" help:"Name in the certificate of an anchor."`
	Out          string `required:"" placeholder:"F" help:"Key file to make; the public part stands beside it in F.pem."`
}

// Run makes a key. An anchor gets a certificate: the signatures of its entries
// carry it.
func (c *gatewayInitCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	var key *keys.Key
	var block pem.Block
	if c.Kind == "anchor" {
		if key, err = keys.NewAnchor(keys.Participant{Country: c.Country, Organization: c.Organization, Name: c.Organization + " trust anchor"}, time.Now(), rand.Reader); err != nil {
			return exitError{exitUsage, err}
		}
		block = pem.Block{Type: "CERTIFICATE", Bytes: key.Certificate().Raw}
	} else {
		signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		key = &keys.Key{Signer: signer}
		block.Type = "PUBLIC KEY"
		if block.Bytes, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
			return err
		}
	}
	if err := keys.Save(c.Out, key, lock); err != nil {
		return exitError{exitUsage, err}
	}
	public := c.Out + ".pem"
	if err := createFile(public, pem.EncodeToMemory(&block)); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s   private key\n%s   public, for the gateway's configuration\n", c.Out, public)
	return nil
}

// createFile makes a file for everybody to read, and replaces none.
func createFile(path string, data []byte) error {
	err := keep.Create(path, func(w io.Writer) error { _, err := w.Write(data); return err })
	if err == nil {
		err = os.Chmod(path, 0o644)
	}
	if err != nil {
		return exitError{exitUsage, err}
	}
	return nil
}

type gatewayProposeCmd struct {
	Participant string   `arg:"" help:"Three letters of the participant."`
	Folder      string   `arg:"" help:"Folder that the participant handed over; the certificates are in onboarding/ of it."`
	Gateway     string   `required:"" placeholder:"NAME" help:"Name of the gateway that the proposal is for."`
	Known       []string `placeholder:"P=DIR" help:"Folder of another participant, whose keys must not come again."`
	Rights      []string `placeholder:"R" help:"Rights at the revocation list, instead of the gateway's usual ones: RevocationListReader, RevocationUploader, RevocationDeleter."`
	Issuer      []string `placeholder:"F" help:"File in JSON about an address with keys that are no certificates: name, url, type (HTTP or DID), domain, keyStorageType, thumbprint, sslPublicKey."`
	Reason      string   `help:"Why, for those who approve."`
	Despite     bool     `help:"Propose it despite what the checks found; the findings stand in the proposal."`
	Out         string   `required:"" placeholder:"F" help:"Proposal to make."`
}

// Run exits 1 where the checks found something.
func (c *gatewayProposeCmd) Run(t terminal) error {
	country, ok := trust.ParticipantCountry(c.Participant)
	if !ok {
		return usageError("%s is no participant: three letters of ISO 3166-1, or XXA to XXZ", format.Visible(c.Participant))
	}
	files, err := material(c.Folder)
	if err != nil {
		return err
	}
	var known []trust.Known
	for _, text := range c.Known {
		participant, dir, ok := strings.Cut(text, "=")
		if !ok {
			return usageError("--known %s: it looks like XXB=folder", text)
		}
		others, err := material(dir)
		if err != nil {
			return err
		}
		for _, f := range others {
			if block, _ := pem.Decode(f.Data); block != nil {
				known = append(known, trust.Known{Participant: participant, Certificate: block.Bytes})
			}
		}
	}
	now := time.Now()
	p := &gateway.Proposal{
		Version: 1, Gateway: c.Gateway, Action: gateway.Onboard, Participant: c.Participant, Country: country,
		Made: now.UTC().Truncate(time.Second), Reason: c.Reason,
	}
	for _, f := range trust.CheckMaterial(c.Participant, files, known, now) {
		p.Findings = append(p.Findings, fmt.Sprintf("%s: %s: %s", f.Path, f.Reason, f.Detail))
	}
	var rights []gateway.Right
	for _, r := range c.Rights {
		rights = append(rights, gateway.Right(r))
	}
	types := map[string]string{"SCA": tng.CSCA, "UP": tng.UploadType, "TLS": tng.Authentication, "DECA": tng.DECA}
	for _, f := range files {
		parts := strings.Split(f.Path, "/")
		kind, ok := "", false
		if len(parts) == 4 && parts[3] != "CA.pem" {
			kind, ok = types[parts[2]]
		}
		block, _ := pem.Decode(f.Data)
		if !ok || block == nil || block.Type != "CERTIFICATE" {
			continue
		}
		e := gateway.ProposedEntry{Type: kind, Domain: parts[1], Certificate: block.Bytes}
		if kind == tng.Authentication {
			e.Rights = rights
		}
		p.Entries = append(p.Entries, e)
	}
	for _, file := range c.Issuer {
		data, err := readInput(file, nil)
		if err != nil {
			return usageError("--issuer: %w", err)
		}
		var k gateway.ProposedKeys
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&k); err != nil || k.Signature != nil {
			return usageError("--issuer %s: not what is known of an address with keys: %v", file, err)
		}
		p.Issuers = append(p.Issuers, k)
	}
	for _, f := range p.Findings {
		fmt.Fprintf(t.out, "finding: %s\n", format.Visible(f))
	}
	if len(p.Findings) > 0 && !c.Despite {
		return exitError{exitNotValid, errors.New("nothing is proposed; --despite proposes it with the findings, for the operators to decide")}
	}
	if len(p.Entries) == 0 {
		return usageError("%s: there is no certificate in onboarding/ of it", c.Folder)
	}
	return writeProposal(t, p, c.Out)
}

// material reads what a participant hands over, by its path in its folder.
func material(dir string) (files []trust.Material, err error) {
	root := os.DirFS(dir)
	err = fs.WalkDir(root, "onboarding", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		if strings.Contains(name, "/signed/") { // of the trust anchor's
			return nil
		}
		data, err := readInput(filepath.Join(dir, filepath.FromSlash(name)), nil)
		files = append(files, trust.Material{Path: name, Data: data})
		return err
	})
	if err != nil {
		return nil, usageError("%s: %w", dir, err)
	}
	return files, nil
}

func writeProposal(t terminal, p *gateway.Proposal, out string) error {
	data, err := p.Encode()
	if err != nil {
		return err
	}
	if _, err := gateway.ParseProposal(data); err != nil {
		return exitError{exitUsage, err}
	}
	if err := createFile(out, data); err != nil {
		return err
	}
	summarize(t.out, data, p)
	return nil
}

func summarize(w io.Writer, data []byte, p *gateway.Proposal) {
	for _, line := range p.Summary() {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "digest %s\n", gateway.Digest(data))
}

type gatewayRemoveCmd struct {
	Participant string   `arg:"" help:"Three letters of the participant."`
	Thumbprint  []string `arg:"" optional:"" help:"SHA-256 of certificates, in hex."`
	Gateway     string   `required:"" placeholder:"NAME" help:"Name of the gateway that the proposal is for."`
	Everything  bool     `help:"All that the participant has on the list."`
	Reason      string   `required:"" help:"Why, for those who approve."`
	Out         string   `required:"" placeholder:"F" help:"Proposal to make."`
}

func (c *gatewayRemoveCmd) Run(t terminal) error {
	country, ok := trust.ParticipantCountry(c.Participant)
	if !ok {
		return usageError("%s is no participant: three letters of ISO 3166-1, or XXA to XXZ", format.Visible(c.Participant))
	}
	if c.Everything == (len(c.Thumbprint) > 0) {
		return usageError("give thumbprints, or --everything")
	}
	return writeProposal(t, &gateway.Proposal{
		Version: 1, Gateway: c.Gateway, Action: gateway.Remove, Participant: c.Participant, Country: country,
		Made: time.Now().UTC().Truncate(time.Second), Reason: c.Reason, Remove: c.Thumbprint, Everything: c.Everything,
	}, c.Out)
}

func readProposal(path string) ([]byte, *gateway.Proposal, error) {
	data, err := readBounded(path, nil, gateway.MaxProposal)
	if err != nil {
		return nil, nil, exitError{exitUsage, err}
	}
	p, err := gateway.ParseProposal(data)
	if err != nil {
		return nil, nil, usageError("%s: %w", path, err)
	}
	return data, p, nil
}

type gatewaySignCmd struct {
	secretFlags
	Proposal string `arg:"" help:"Proposal to sign."`
	Key      string `required:"" placeholder:"F" help:"Key file of the trust anchor."`
	Out      string `required:"" placeholder:"F" help:"Signed proposal to make."`
	Files    string `placeholder:"DIR" help:"Folder to make, with the entries as files of the WHO's network: TNG_TA.signed.SCA.json and the like."`
}

func (c *gatewaySignCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	_, p, err := readProposal(c.Proposal)
	if err != nil {
		return err
	}
	key, err := keys.Load(c.Key, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if key.Certificate() == nil {
		return usageError("%s: an anchor's key has a certificate", c.Key)
	}
	anchor, err := pkix.ParseCertificate(key.Certificate().Raw)
	if err != nil {
		return usageError("%s: %w", c.Key, err)
	}
	if p.Action == gateway.Remove {
		return usageError("%s: what is removed needs no signature of the anchor, but the operators' approval", c.Proposal)
	}
	if err := gateway.SignProposal(rand.Reader, p, anchor, key.Signer, time.Now()); err != nil {
		return exitError{exitUsage, err}
	}
	if c.Files != "" {
		files, err := p.Files()
		if err != nil {
			return err
		}
		for name, data := range files {
			to := filepath.Join(c.Files, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return exitError{exitUsage, err}
			}
			if err := createFile(to, data); err != nil {
				return err
			}
		}
	}
	return writeProposal(t, p, c.Out)
}

type gatewayApproveCmd struct {
	secretFlags
	Proposal string `arg:"" help:"Proposal to approve."`
	Key      string `required:"" placeholder:"F" help:"Key file of the operator."`
	Operator string `required:"" placeholder:"NAME" help:"Name of the operator in the gateway's configuration."`
	Out      string `required:"" placeholder:"F" help:"Approval to make."`
}

func (c *gatewayApproveCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	data, p, err := readProposal(c.Proposal)
	if err != nil {
		return err
	}
	key, err := keys.Load(c.Key, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	approval, err := gateway.Approve(rand.Reader, data, c.Operator, key.Signer, time.Now())
	if err != nil {
		return exitError{exitUsage, err}
	}
	if err := createFile(c.Out, approval); err != nil {
		return err
	}
	summarize(t.out, data, p)
	return nil
}

type gatewayApplyCmd struct {
	configFlags
	Proposal  string   `arg:"" help:"Signed proposal."`
	Approvals []string `arg:"" help:"Approvals of two operators."`
}

// Run exits 1 where the gateway refuses.
func (c *gatewayApplyCmd) Run(t terminal) error {
	data, _, err := readProposal(c.Proposal)
	if err != nil {
		return err
	}
	var approvals [][]byte
	for _, path := range c.Approvals {
		a, err := readInput(path, nil)
		if err != nil {
			return exitError{exitUsage, err}
		}
		approvals = append(approvals, a)
	}
	g, done, err := openGateway(&c.configFlags)
	if err != nil {
		return err
	}
	defer done()
	a, err := g.ApplyProposal(context.Background(), data, approvals)
	if err != nil {
		return exitError{exitNotValid, err}
	}
	fmt.Fprintf(t.out, "%s %s: %d added, %d removed, approved by %s\n", a.Action, a.Country, a.Added, a.Removed, strings.Join(a.By, " and "))
	if a.Unsigned > 0 {
		fmt.Fprintf(t.out, "%d items were signed by an uploader that is gone: the participant must sign them again (cms-migration)\n", a.Unsigned)
	}
	return nil
}

type gatewayStatusCmd struct {
	configFlags
	JSON bool `name:"json" help:"As a JSON object."`
}

func (c *gatewayStatusCmd) Run(t terminal) error {
	g, done, err := openGateway(&c.configFlags)
	if err != nil {
		return err
	}
	defer done()
	s, err := g.GatewayStatus(context.Background())
	if err != nil {
		return exitError{exitUndecided, err}
	}
	if c.JSON {
		writeJSON(t.out, s)
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COUNTRY\tKIND\tDOMAIN\tCOUNT")
	for _, l := range s.Counts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", l.Country, l.Group, l.Domain, l.Count)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, e := range s.Ending {
		fmt.Fprintf(t.out, "ends %s: %s %s %s\n", e.Ends.Format(time.DateOnly), e.Country, e.Group, e.Name)
	}
	return nil
}

// openGateway asks the server that has the gateway open, or opens it where there
// is none.
func openGateway(c *configFlags) (control.Gateway, func(), error) {
	settings, _, err := c.load()
	if err != nil {
		return nil, nil, err
	}
	if settings.Gateway.Name == "" {
		return nil, nil, usageError("there is no gateway: gateway.name is not set")
	}
	ctx := context.Background()
	if settings.Store.Dir != "" {
		client, err := control.Dial(ctx, settings.Store.Dir)
		if err == nil {
			return client, func() { _ = client.Close() }, nil
		}
		if !errors.Is(err, control.ErrNoServer) {
			return nil, nil, err
		}
	}
	if _, err := createStore(ctx, settings); err != nil {
		return nil, nil, err
	}
	s, err := openStore(ctx, settings, nil)
	if err != nil {
		return nil, nil, err
	}
	o, err := newOperator(settings, s.Gateway())
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return &namedGateway{o, settings.Gateway.Name}, func() { _ = s.Close() }, nil
}

// namedGateway is an operator under the name of its gateway.
type namedGateway struct {
	*gateway.Operator
	name string
}

func (g *namedGateway) ApplyProposal(ctx context.Context, proposal []byte, approvals [][]byte) (*gateway.Applied, error) {
	return g.Apply(ctx, g.name, proposal, approvals)
}

func (g *namedGateway) GatewayStatus(ctx context.Context) (*gateway.Status, error) {
	return g.Operator.Status(ctx)
}

func (g *namedGateway) GatewayLists(ctx context.Context) ([]byte, error) {
	d, err := g.Download(ctx, g.name, time.Now())
	if err != nil {
		return nil, err
	}
	return d.Encode()
}

type gatewayExportCmd struct {
	configFlags
	Out string `required:"" placeholder:"F" help:"File to write."`
}

// Run writes what a participant would take, with every proof.
func (c *gatewayExportCmd) Run(t terminal) error {
	g, done, err := openGateway(&c.configFlags)
	if err != nil {
		return err
	}
	defer done()
	data, err := g.GatewayLists(context.Background())
	if err != nil {
		return exitError{exitUndecided, err}
	}
	d, err := tng.ParseDownload(data)
	if err != nil {
		return err
	}
	if err := keep.Replace(c.Out, data, 0o644); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: %d certificates, %d issuers\n", c.Out, len(d.Certificates), len(d.Issuers))
	return nil
}

var errTwoKeys = errors.New("it has no one key in PEM")

// publicKey reads the key, or the certificate, in a file in PEM.
func publicKey(path string) (crypto.PublicKey, error) {
	data, err := readInput(path, nil)
	if err != nil {
		return nil, err
	}
	found, err := trust.ParsePin(data)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s: %w", path, errTwoKeys)
	}
	return found[0], nil
}
