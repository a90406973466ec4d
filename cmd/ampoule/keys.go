package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/bundle"
	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/didlist"
	"ampoule/format/jwks"
	"ampoule/internal/keys"
	"ampoule/trust"
)

type keysCmd struct {
	Make       keysMakeCmd       `cmd:"" help:"Make a participant's demonstration keys and the trust list that names them, or the root of bundles."`
	Show       keysShowCmd       `cmd:"" help:"Show the certificate of a key, and what an onboarding check would find; or a bundle root."`
	Compromise keysCompromiseCmd `cmd:"" help:"A signing key has leaked: stop it, revoke or reissue what hangs on it, and tell verifiers."`
	Signer     keysSignerCmd     `cmd:"" help:"Make a document signer, in a file or on hardware (PKCS #11)."`
	Plan       keysPlanCmd       `cmd:"" help:"Say by when which certificate needs a successor."`
}

type keysMakeCmd struct {
	secretFlags
	Dir          string   `arg:"" name:"folder" help:"Folder to make; it must not exist."`
	Kind         string   `enum:"participant,bundle-root" default:"participant" help:"What to make: ${enum}."`
	Algorithm    string   `enum:"ES256,Ed25519" default:"ES256" help:"Classical half of a bundle root: ${enum}; the other is ML-DSA-65."`
	Country      string   `default:"XA" help:"Two letters; XA to XZ are for demonstrations."`
	Participant  string   `default:"XXA" help:"Code of the participant in the trust network."`
	Years        int      `default:"5" help:"How long a bundle root counts, from 1 to 20 years."`
	Organization string   `default:"Demonstration Health Authority" help:"Name in the certificates."`
	Domain       []string `default:"DCC,DDCC,ICVP,PH4H" help:"Domains of the trust network to list the signers in."`
}

// Run makes the material of the WHO's participant template: SCA, UP and TLS
// certificates by domain, and document signers with their private keys.
func (c *keysMakeCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.Dir); err == nil {
		return usageError("%s exists, and keys are never overwritten", c.Dir)
	}
	if c.Years < 1 || c.Years > 20 {
		return usageError("--years %d: from 1 to 20", c.Years)
	}
	if c.Kind == "bundle-root" {
		return c.makeBundleRoot(t, lock)
	}
	set, err := newKeySet(keys.Participant{Country: c.Country, Organization: c.Organization, Name: c.Organization + " SCA"}, c.Participant, time.Now())
	if err != nil {
		return exitError{exitUsage, err}
	}
	if err := set.save(c.Dir, c.Domain, lock); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s\n", strings.TrimSpace(fmt.Sprintf(`
%[1]s/private/          private keys: sca, dsc-vaccination, dsc-test, dsc-recovery, dsc-any, up, tls, list,
                        and for visible digital seals csca, dsc-seal
%[1]s/onboarding/       certificates as the participant template has them
%[1]s/DSC/              certificates of the document signers
%[1]s/trustlist/        did.json, pin.pem that it is checked with, jwks.json for SMART Health Cards,
                        and csca.pem for visible digital seals

issue:   ampoule issue --key %[1]s/private/dsc-vaccination.key --participant %[2]s --catalogue demo ...
verify:  ampoule verify --trust %[1]s/trustlist/did.json --pin %[1]s/trustlist/pin.pem --catalogue demo FILE`, c.Dir, c.Participant)))
	return nil
}

func (c *keysMakeCmd) makeBundleRoot(t terminal, lock keys.Lock) error {
	private := filepath.Join(c.Dir, "private")
	if err := os.MkdirAll(private, 0o700); err != nil {
		return exitError{exitUsage, err}
	}
	algorithm := cose.ES256
	if c.Algorithm == cose.Ed25519.String() {
		algorithm = cose.Ed25519
	}
	key, public := filepath.Join(private, "bundle-root.key"), filepath.Join(c.Dir, "bundle-root.pem")
	// An hour back, for verifiers whose clocks are behind.
	from := time.Now().Add(-time.Hour)
	if err := makeBundleRoot(key, public, algorithm, from, from.AddDate(c.Years, 0, 0), lock); err != nil {
		return err
	}
	fmt.Fprintf(t.out, `%[1]s   private key, both halves
%[2]s   public root, for verifiers to pin

make:    ampoule bundle make --key %[1]s --maker %[3]s --trust ... --out bundle.cbor
verify:  ampoule verify --bundle bundle.cbor --root %[2]s FILE
`, key, public, c.Participant)
	return nil
}

// makeBundleRoot makes a root with its window, and writes its private and its
// public file.
func makeBundleRoot(key, public string, classical cose.Algorithm, from, until time.Time, lock keys.Lock) error {
	made, err := keys.NewBundleRoot(classical, from, until, rand.Reader)
	if err != nil {
		return err
	}
	root, err := made.Signer().Root()
	if err != nil {
		return err
	}
	file, err := bundle.EncodeRoots(root)
	if err != nil {
		return err
	}
	if err := keys.SaveBundleRoot(key, made, lock); err != nil {
		return err
	}
	return os.WriteFile(public, file, 0o644)
}

// keySet is the material of one participant.
type keySet struct {
	participant string
	sca         *keys.SCA
	signers     map[string]*keys.Key // document signers, by name
	others      map[string]*keys.Key // up, tls, the key that signs the list, and csca and dsc-seal
}

// signerNames are in the order in which they are listed.
var signerNames = []string{"dsc-vaccination", "dsc-test", "dsc-recovery", "dsc-any"}

var signerUsages = map[string][]keys.Usage{
	"dsc-vaccination": {keys.UsageVaccination},
	"dsc-test":        {keys.UsageTest},
	"dsc-recovery":    {keys.UsageRecovery},
	"dsc-any":         nil,
}

func newKeySet(p keys.Participant, participant string, now time.Time) (*keySet, error) {
	sca, err := keys.NewSCA(p, now, rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &keySet{participant: participant, sca: sca, signers: map[string]*keys.Key{}, others: map[string]*keys.Key{}}
	for _, name := range signerNames {
		profile := keys.DSCProfile{Usages: signerUsages[name], Name: p.Organization + " " + name}
		if s.signers[name], err = sca.IssueDSC(profile, now, rand.Reader); err != nil {
			return nil, err
		}
	}
	if s.others["up"], err = keys.NewUP(p, now, rand.Reader); err != nil {
		return nil, err
	}
	if s.others["tls"], err = keys.NewTLS(p, now, rand.Reader); err != nil {
		return nil, err
	}
	// The network's own list is signed by the WHO; here the participant signs.
	list := keys.DSCProfile{Name: p.Organization + " trust list"}
	if s.others["list"], err = sca.IssueDSC(list, now, rand.Reader); err != nil {
		return nil, err
	}
	return s, s.makeSealKeys(p, now)
}

// makeSealKeys makes the authority of passports and a signer of visible digital
// seals. They name a state by three letters: those of the country, or the
// participant's code for a demonstration. There are none where neither has three.
func (s *keySet) makeSealKeys(p keys.Participant, now time.Time) error {
	state, known := cert.Alpha3(p.Country)
	if !known {
		state = s.participant
	}
	if !format.IsCapitals(state, 3) {
		return nil
	}
	p.Name = "CSCA" // short: every seal repeats it
	csca, err := keys.NewCSCA(p, state, now, rand.Reader)
	if err != nil {
		return err
	}
	s.others["csca"] = csca.Key
	s.others["dsc-seal"], err = csca.IssueSealSigner("01", now, rand.Reader)
	return err
}

// trustList signs the public side of the set as a GDHCN DID trust list.
func (s *keySet) trustList(domains []string, now time.Time) ([]byte, error) {
	var entries []didlist.Entry
	for _, domain := range domains {
		for _, name := range signerNames {
			entries = append(entries, didlist.Entry{Domain: domain, Participant: s.participant, KeyUsage: "DSC", Chain: rawChain(s.signers[name])})
		}
		entries = append(entries, didlist.Entry{Domain: domain, Participant: s.participant, KeyUsage: "SCA", Chain: [][]byte{s.sca.Key.Certificate().Raw}})
	}
	return signTrustList(entries, s.others["list"].Signer, now)
}

// rawChain is the chain of a key, DER.
func rawChain(k *keys.Key) (chain [][]byte) {
	for _, c := range k.Chain {
		chain = append(chain, c.Raw)
	}
	return chain
}

func signTrustList(entries []didlist.Entry, signer crypto.Signer, now time.Time) ([]byte, error) {
	const host = "did:web:trust.ampoule.invalid:v2:trustlist"
	doc, err := didlist.New(didlist.ContextDevelop, host, host, host+":signer", entries, nil)
	if err != nil {
		return nil, err
	}
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	return doc.Sign(signer, rand.Reader, now, hex.EncodeToString(nonce[:]), didlist.FormDER)
}

// pin is the public key that signs the list, in PEM.
func (s *keySet) pin() ([]byte, error) { return publicPEM(s.others["list"].Signer.Public()) }

func publicPEM(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// jwks is the key for any kind of certificate as the issuers of SMART Health
// Cards publish theirs.
func (s *keySet) jwks() ([]byte, error) {
	public, ok := s.signers["dsc-any"].Signer.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the key is not ECDSA")
	}
	return jwkSet(public)
}

// jwkSet writes keys on P-256 as a JWK set (RFC 7517).
func jwkSet(public ...*ecdsa.PublicKey) ([]byte, error) {
	set := make([]map[string]string, len(public))
	for n, p := range public {
		point, err := p.Bytes() // 4 || x || y
		if err != nil {
			return nil, err
		}
		kid, err := jwks.KID(p)
		if err != nil {
			return nil, err
		}
		set[n] = map[string]string{
			"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": kid,
			"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
		}
	}
	return json.MarshalIndent(map[string]any{"keys": set}, "", " ")
}

func certificatePEM(k *keys.Key) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw})
}

// save writes the set into a new folder.
func (s *keySet) save(dir string, domains []string, lock keys.Lock) error {
	public := map[string][]byte{}
	for _, d := range domains {
		public[filepath.Join("onboarding", d, "SCA", "SCA.pem")] = certificatePEM(s.sca.Key)
		public[filepath.Join("onboarding", d, "UP", "UP.pem")] = certificatePEM(s.others["up"])
		public[filepath.Join("onboarding", d, "TLS", "TLS.pem")] = certificatePEM(s.others["tls"])
	}
	for name, k := range s.signers {
		public[filepath.Join("DSC", name+".pem")] = certificatePEM(k)
	}
	list, err := s.trustList(domains, time.Now())
	if err != nil {
		return err
	}
	pin, err := s.pin()
	if err != nil {
		return err
	}
	if s.others["csca"] != nil {
		public[filepath.Join("trustlist", "csca.pem")] = certificatePEM(s.others["csca"])
	}
	public[filepath.Join("trustlist", "did.json")] = list
	public[filepath.Join("trustlist", "pin.pem")] = pin
	if public[filepath.Join("trustlist", "jwks.json")], err = s.jwks(); err != nil {
		return err
	}

	private := map[string]*keys.Key{"sca": s.sca.Key}
	for _, group := range []map[string]*keys.Key{s.signers, s.others} {
		for name, k := range group {
			private[name] = k
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "private"), 0o700); err != nil {
		return exitError{exitUsage, err}
	}
	for name, k := range private {
		if err := keys.Save(filepath.Join(dir, "private", name+".key"), k, lock); err != nil {
			return err
		}
	}
	for name, data := range public {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

type keysShowCmd struct {
	secretFlags
	File   string `arg:"" name:"file" help:"Key file, a certificate in PEM, or a public bundle root."`
	Public bool   `help:"Write the public file of a bundle root, for verifiers to pin."`
	Role   string `enum:"SCA,DSC,UP,TLS," default:"" help:"Check it against the rules for this role: SCA, DSC, UP or TLS."`
}

func (c *keysShowCmd) Run(t terminal) error {
	certificate, roots, err := c.read()
	if err != nil {
		return err
	}
	if len(roots) > 0 {
		return c.showRoots(t, roots)
	}
	if c.Public {
		return usageError("%s is no bundle root", c.File)
	}
	line := func(name string, value any) { fmt.Fprintf(t.out, "%-10s %v\n", name, value) }
	line("kid", hex.EncodeToString([]byte(trust.DeriveKeyID(certificate.Raw))))
	line("subject", certificate.Subject)
	line("issuer", certificate.Issuer)
	line("from", certificate.NotBefore.UTC().Format(time.RFC3339))
	line("until", certificate.NotAfter.UTC().Format(time.RFC3339))
	if k, err := trust.NewKey(certificate.Raw); err == nil {
		line("algorithm", k.Algorithm)
		line("may sign", k.Usages)
	}
	if c.Role == "" {
		return nil
	}
	findings := keys.Lint(certificate, keys.Role(c.Role))
	for _, f := range findings {
		line("finding", f)
	}
	if len(findings) > 0 {
		return exitError{code: exitNotValid}
	}
	line("rules", "an onboarding check as "+c.Role+" finds nothing")
	return nil
}

// showRoots shows what two people compare before one of them pins a root.
func (c *keysShowCmd) showRoots(t terminal, roots []bundle.Root) error {
	if c.Role != "" {
		return usageError("%s is a bundle root: the network knows no such role", c.File)
	}
	if c.Public {
		file, err := bundle.EncodeRoots(roots...)
		if err == nil {
			_, err = t.out.Write(file)
		}
		return err
	}
	for _, r := range roots {
		fmt.Fprintf(t.out, "%-10s %s\n", "root", rootLine(r))
		for _, pub := range []crypto.PublicKey{r.Classical, r.PostQuantum} {
			kid, err := cose.Thumbprint(pub)
			if err != nil {
				return err
			}
			fmt.Fprintf(t.out, "%-10s %x\n", cose.SignerAlgorithm(pub), kid)
		}
	}
	return nil
}

// read returns a certificate or bundle roots.
func (c *keysShowCmd) read() (*x509.Certificate, []bundle.Root, error) {
	data, err := readInput(c.File, nil)
	if err != nil {
		return nil, nil, exitError{exitUsage, err}
	}
	if block, _ := pem.Decode(data); block != nil && block.Type == "CERTIFICATE" {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, usageError("%s: %w", c.File, err)
		}
		return certificate, nil, nil
	}
	if roots, err := bundle.ParseRoots(data); err == nil {
		return nil, roots, nil
	}
	lock, err := c.lock()
	if err != nil {
		return nil, nil, err
	}
	key, err := keys.Load(c.File, lock)
	if errors.Is(err, keys.ErrDamaged) {
		// As a signing key it is; which kind it is stands inside, encrypted.
		if root, rootErr := keys.LoadBundleRoot(c.File, lock); rootErr == nil {
			public, err := root.Signer().Root()
			return nil, []bundle.Root{public}, err
		}
	}
	if err != nil {
		return nil, nil, exitError{exitUsage, err}
	}
	if key.Certificate() == nil {
		return nil, nil, usageError("%s: the key has no certificate", c.File)
	}
	return key.Certificate(), nil, nil
}
