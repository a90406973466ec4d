package main

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"ampoule/bundle"
	"ampoule/cert"
	"ampoule/format/certlogic"
	"ampoule/format/hcert"
	"ampoule/format/strictjson"
	"ampoule/internal/keys"
	"ampoule/internal/qr"
	"ampoule/party/verifier"
	"ampoule/thing"
	"ampoule/trust"
	"ampoule/trust/hotkeys"
)

// sourceFlags are the documents that a verifier decides by, and that a bundle is
// made of.
type sourceFlags struct {
	Trust     []string `sep:"none" placeholder:"P" help:"Trusted keys: did.json (with --pin), EU list in JSON, JWK set or VCI directory, PEM or DER certificates, or a folder of them. ISSUER=F binds a JWK set to the address of its issuer."`
	Pin       []string `sep:"none" placeholder:"K" help:"Key that must have signed the trust lists: certificate, public key in PEM, or DID key document."`
	Status    []string `sep:"none" placeholder:"P" help:"Revoked certificates: a snapshot, EU DCC revocation batches, the revocation list of SMART Health Cards, or a status list."`
	Catalogue []string `sep:"none" placeholder:"F" help:"WHO's catalogue of ICVP products; 'demo' is a fictitious one."`
	lotFlags
	Map       []string `sep:"none" placeholder:"F" help:"Concept maps beside the built-in ones: FHIR R4 ConceptMap in JSON, or a table (CSV)."`
	Rules     []string `sep:"none" placeholder:"F" help:"Rules in CertLogic that EU DCC are held against: one, or an array of them."`
	ValueSets string   `placeholder:"F" help:"Value sets for the rules, in their compressed form; those that are built in otherwise."`
}

// trustFlags are all that a verifier decides by.
type trustFlags struct {
	Bundle string `placeholder:"F" help:"Signed bundle of all that follows (with --root); the other flags add to it."`
	Root   string `placeholder:"R" help:"Root that must have signed the bundle."`
	sourceFlags
	Arrival string `placeholder:"CC" help:"Country of arrival, whose acceptance rules apply."`
	Region  string `placeholder:"R" help:"Region of the country of arrival."`
	Policy  string `placeholder:"F" help:"What is asked of the certificates of each domain, in JSON."`
	HotKeys int    `placeholder:"N" default:"64" help:"Issuer keys to keep tables of, of 260 KB each; 0 switches it off."`
	At      string `placeholder:"T" help:"Judge as of this time (RFC 3339) instead of now."`
}

// verifier loads the files. The bundle's age is told to whoever watches.
func (f *trustFlags) verifier(watcher io.Writer) (*verifier.Verifier, error) {
	v, _, err := f.opened(watcher)
	return v, err
}

// opened is verifier, with the bundle; nil: there is none.
func (f *trustFlags) opened(watcher io.Writer) (*verifier.Verifier, *bundle.Opened, error) {
	clock, err := parseClock(f.At)
	if err != nil {
		return nil, nil, err
	}
	var b *bundle.Opened
	switch {
	case f.Bundle != "":
		if b, err = openBundle(f.Bundle, f.Root, clock()); err != nil {
			return nil, nil, err
		}
		fmt.Fprintln(watcher, "ampoule:", bundleAge(f.Bundle, b.Bundle, clock()))
	case f.Root != "":
		return nil, nil, usageError("--root is for a bundle, and there is none: give --bundle")
	}
	v, err := f.verifierOf(b, clock)
	return v, b, err
}

// verifierOf loads the files and adds them to a bundle; nil: there is none.
func (f *trustFlags) verifierOf(b *bundle.Opened, clock func() time.Time) (*verifier.Verifier, error) {
	v := &verifier.Verifier{Trust: new(trust.List), Concepts: cert.BuiltinConceptMaps(), Now: clock}
	var believed thing.LotKeys
	if b != nil {
		v, believed = verifier.FromBundle(b, clock), b.Contents.LotKeys
	}
	var err error
	v.HotKeys = hotkeys.NewCache(f.HotKeys)
	if err := f.addKeys(v.Trust); err != nil {
		return nil, err
	}
	for _, path := range f.Status {
		data, err := readInput(path, nil)
		if err != nil {
			return nil, usageError("--status: %w", err)
		}
		if v.Status == nil {
			v.Status = new(trust.Status)
		}
		if err := v.Status.Add(path, data); err != nil {
			return nil, usageError("--status: %w", err)
		}
	}
	if v.Catalogue, err = loadCatalogue(v.Catalogue, f.Catalogue); err != nil {
		return nil, err
	}
	if err := addConceptMaps(v.Concepts, f.Map); err != nil {
		return nil, err
	}
	if v.Rules, err = f.loadRules(v.Rules); err != nil {
		return nil, err
	}
	if f.Policy != "" {
		if v.Policies, err = loadPolicies(f.Policy); err != nil {
			return nil, err
		}
	}
	if v.Lots, err = f.lots(v.Lots, believed, clock()); err != nil {
		return nil, err
	}
	return v, nil
}

// parseClock reads --at; the clock of the machine without it.
func parseClock(at string) (func() time.Time, error) {
	if at == "" {
		return time.Now, nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return nil, usageError("--at %q: a time looks like 2026-11-22T10:00:00Z", at)
	}
	return func() time.Time { return t }, nil
}

// readPins reads the files of a flag.
func readPins(flag string, paths []string) (pins []crypto.PublicKey, err error) {
	for _, path := range paths {
		data, err := readInput(path, nil)
		if err != nil {
			return nil, usageError("%s: %w", flag, err)
		}
		keys, err := trust.ParsePin(data)
		if err != nil {
			return nil, usageError("%s %s: %w", flag, path, err)
		}
		pins = append(pins, keys...)
	}
	return pins, nil
}

// addKeys loads the trusted keys.
func (f *sourceFlags) addKeys(list *trust.List) error {
	pins, err := readPins("--pin", f.Pin)
	if err != nil {
		return err
	}
	for _, source := range f.Trust {
		issuer, path := splitIssuer(source)
		info, err := os.Stat(path)
		if err != nil {
			return usageError("--trust: %w", err)
		}
		if info.IsDir() {
			err = list.AddFolder(os.DirFS(path), path, pins)
		} else {
			var data []byte
			if data, err = readInput(path, nil); err == nil {
				err = list.Add(trust.Source{Name: path, Data: data, Pins: pins, Issuer: issuer})
			}
		}
		if err != nil {
			return usageError("--trust: %w", err)
		}
	}
	return nil
}

// splitIssuer reads ISSUER=F.
func splitIssuer(source string) (issuer, path string) {
	if strings.HasPrefix(source, "https://") {
		issuer, path, _ = strings.Cut(source, "=")
		return issuer, path
	}
	return "", source
}

// loadRules adds to the rules of a bundle, or begins with none; nil where there
// are none.
func (f *trustFlags) loadRules(r *verifier.Rules) (*verifier.Rules, error) {
	if len(f.Rules) > 0 && r == nil {
		r = &verifier.Rules{ValueSets: verifier.DefaultValueSets()}
	}
	if r == nil {
		if f.Arrival != "" || f.Region != "" || f.ValueSets != "" {
			return nil, usageError("--arrival, --region and --value-sets are for rules, and there are none: give --rules")
		}
		return nil, nil
	}
	r.Arrival, r.Region = strings.ToUpper(f.Arrival), f.Region
	for _, path := range f.Rules {
		rules, err := readRules(path)
		if err != nil {
			return nil, err
		}
		r.Rules = append(r.Rules, rules...)
	}
	if f.ValueSets != "" {
		data, err := readInput(f.ValueSets, nil)
		if err != nil {
			return nil, usageError("--value-sets: %w", err)
		}
		if r.ValueSets, err = certlogic.ParseValueSets(data); err != nil {
			return nil, usageError("--value-sets %s: %w", f.ValueSets, err)
		}
	}
	return r, nil
}

// readRules reads a file of one rule or an array of them.
func readRules(path string) ([]*certlogic.Rule, error) {
	data, err := readInput(path, nil)
	if err != nil {
		return nil, usageError("--rules: %w", err)
	}
	rules, err := bundle.ReadRules(data)
	if err != nil {
		return nil, usageError("--rules %s: %w", path, err)
	}
	return rules, nil
}

// readCatalogue reads a file, or the built-in list of fictitious products.
func readCatalogue(path string) ([]byte, error) {
	if path == "demo" {
		return cert.DemoCatalogueJSON(), nil
	}
	data, err := readInput(path, nil)
	if err != nil {
		return nil, usageError("--catalogue: %w", err)
	}
	return data, nil
}

// loadCatalogue adds to the catalogue of a bundle; nil for none.
func loadCatalogue(all *cert.Catalogue, paths []string) (*cert.Catalogue, error) {
	for _, path := range paths {
		data, err := readCatalogue(path)
		if err != nil {
			return nil, err
		}
		c, err := cert.ReadCatalogue(data)
		if err == nil && all != nil {
			c, err = all.Merge(c)
		}
		if err != nil {
			return nil, usageError("--catalogue %s: %w", path, err)
		}
		all = c
	}
	return all, nil
}

// policyFile is one domain's part of a policy file. What it leaves out stays as
// the domain's default.
type policyFile struct {
	Profile        *string           `json:"profile"`
	Model          *string           `json:"model"`
	AcceptIssuedAt *bool             `json:"accept-issued-at"`
	RequireExpiry  *bool             `json:"require-expiry"`
	ClockSkew      *string           `json:"clock-skew"`
	Require        []string          `json:"require"`
	Waive          []string          `json:"waive"`
	MaxAge         *string           `json:"max-age"`
	Aliases        []string          `json:"aliases"`
	StatusSchemes  map[string]string `json:"status-schemes"`
}

var policyMembers = []string{"profile", "model", "accept-issued-at", "require-expiry", "clock-skew", "max-age", "aliases", "require", "waive", "status-schemes"}

// loadPolicies reads {"ICVP": {"accept-issued-at": true, …}, …}.
func loadPolicies(path string) (map[trust.Domain]verifier.Policy, error) {
	data, err := readInput(path, nil)
	if err != nil {
		return nil, usageError("--policy: %w", err)
	}
	var members map[string]map[string]any
	var file map[string]policyFile
	if err := strictjson.Unmarshal(data, &members, strictjson.Limits{}); err != nil {
		return nil, usageError("--policy %s: %w", path, err)
	}
	for domain, m := range members {
		for name := range m {
			if !slices.Contains(policyMembers, name) {
				return nil, usageError("--policy %s: %s.%s is no setting; there are %s", path, domain, name, strings.Join(policyMembers, ", "))
			}
		}
	}
	if err := strictjson.Unmarshal(data, &file, strictjson.Limits{}); err != nil {
		return nil, usageError("--policy %s: %w", path, err)
	}
	policies := make(map[trust.Domain]verifier.Policy)
	for name, f := range file {
		domain := trust.ParseDomain(name)
		p := verifier.DefaultPolicy(domain)
		if err := f.apply(&p); err != nil {
			return nil, usageError("--policy %s: %s: %w", path, name, err)
		}
		policies[domain] = p
	}
	return policies, nil
}

func (f policyFile) apply(p *verifier.Policy) error {
	if f.Profile != nil {
		switch *f.Profile {
		case "field":
			p.Profile = hcert.Field
		case "strict":
			p.Profile = hcert.Strict
		default:
			return fmt.Errorf("profile %q: there are field and strict", *f.Profile)
		}
	}
	if f.Model != nil {
		switch m := verifier.Model(*f.Model); m {
		case verifier.Shell, verifier.Chain:
			p.Model = m
		default:
			return fmt.Errorf("model %q: there are shell and chain", *f.Model)
		}
	}
	if f.AcceptIssuedAt != nil {
		p.AcceptIssuedAt = *f.AcceptIssuedAt
	}
	if f.RequireExpiry != nil {
		p.RequireExpiry = *f.RequireExpiry
	}
	if f.ClockSkew != nil {
		skew, err := time.ParseDuration(*f.ClockSkew)
		if err != nil || skew < 0 || skew > time.Hour {
			return fmt.Errorf("clock-skew %q: a time such as 60s, up to 1h", *f.ClockSkew)
		}
		p.ClockSkew = skew
	}
	for _, name := range f.Aliases {
		alias := trust.ParseDomain(name)
		if alias == trust.AnyDomain {
			return errors.New("aliases: a code of a domain is not empty")
		}
		p.Aliases = append(p.Aliases, alias)
	}
	if f.MaxAge != nil {
		age, err := time.ParseDuration(*f.MaxAge)
		if err != nil || age < time.Minute || age > bundle.MaxLife {
			return fmt.Errorf("max-age %q: a time such as 72h, from 1m to %s", *f.MaxAge, bundle.MaxLife)
		}
		p.MaxAge = age
	}
	for _, change := range []struct {
		names []string
		to    bool
	}{{f.Require, true}, {f.Waive, false}} {
		for _, name := range change.names {
			step, ok := verifier.ParseStep(name)
			switch {
			case !ok:
				return fmt.Errorf("%q is no check", name)
			case step == verifier.StepDose:
				return errors.New("the dose check gives advice and never decides")
			case !change.to && step <= verifier.StepSignature:
				return fmt.Errorf("without %s nothing is verified; it cannot be waived", name)
			}
			p.Required[step] = change.to
		}
	}
	p.StatusSchemes = f.StatusSchemes
	return nil
}

// maxInput bounds a file: the largest picture and the largest trust list are
// well below.
const maxInput = 32 << 20

// readInput reads a file, or standard input for "-".
func readInput(path string, stdin io.Reader) ([]byte, error) {
	return readBounded(path, stdin, maxInput)
}

func readBounded(path string, stdin io.Reader, most int) ([]byte, error) {
	var r io.Reader
	if path == "-" && stdin != nil {
		r = stdin
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("%s: larger than %d MiB", path, most>>20)
	}
	return data, nil
}

// readCodes returns the texts in a file: of the QR codes of a picture, or those
// that [verifier.Codes] finds.
func readCodes(data []byte) ([]string, error) {
	if qr.IsPicture(data) {
		return qr.Read(data)
	}
	return verifier.Codes(data)
}

// secretFlags open and close key files.
type secretFlags struct {
	PassphraseFile string `placeholder:"F" help:"File whose first line is the passphrase of the key files. AMPOULE_PASSPHRASE is used otherwise."`
	Identity       string `placeholder:"F" help:"age identity file that opens the key files, instead of a passphrase."`
	Unencrypted    bool   `help:"Read and write private keys in the clear."`
}

func (f *secretFlags) lock() (keys.Lock, error) {
	return f.lockOf("")
}

// lockOf is what opens one key file: nothing, where it names a key on hardware.
func (f *secretFlags) lockOf(path string) (keys.Lock, error) {
	switch {
	case f.Unencrypted:
		return keys.Unencrypted(), nil
	case f.Identity != "":
		data, err := readInput(f.Identity, nil)
		if err != nil {
			return keys.Lock{}, usageError("--identity: %w", err)
		}
		lock, err := keys.Identities(data)
		if err != nil {
			return keys.Lock{}, usageError("--identity %s: %w", f.Identity, err)
		}
		return lock, nil
	case f.PassphraseFile != "":
		data, err := readInput(f.PassphraseFile, nil)
		if err != nil {
			return keys.Lock{}, usageError("--passphrase-file: %w", err)
		}
		line, _, _ := bytes.Cut(data, []byte("\n"))
		return passphrase(bytes.TrimRight(line, "\r"))
	}
	secret := os.Getenv("AMPOULE_PASSPHRASE")
	if secret == "" && path != "" && keys.OnToken(path) {
		return keys.Lock{}, nil
	}
	if secret == "" {
		return keys.Lock{}, usageError("private keys are encrypted: give --passphrase-file, --identity or AMPOULE_PASSPHRASE (or --unencrypted, for keys that protect nothing)")
	}
	return passphrase([]byte(secret))
}

func passphrase(secret []byte) (keys.Lock, error) {
	lock, err := keys.Passphrase(secret)
	if err != nil {
		return keys.Lock{}, exitError{exitUsage, err}
	}
	return lock, nil
}
