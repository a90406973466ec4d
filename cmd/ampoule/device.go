package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/cms"
	"ampoule/internal/est"
	"ampoule/internal/fetch"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/thing/thread"
)

type deviceCmd struct {
	Enrol    deviceEnrolCmd    `cmd:"" help:"Make the key of a device, and get its certificate by the claim code on its label."`
	Renew    deviceRenewCmd    `cmd:"" help:"Get the next certificate of a device, for a new key."`
	Run      deviceRunCmd      `cmd:"" help:"Be a logger: measure, sign, keep until a server has it."`
	Simulate deviceSimulateCmd `cmd:"" help:"Be a fleet that does not exist, with faults that are told."`
	Verify   deviceVerifyCmd   `cmd:"" help:"Check evidence of a device. Nobody is asked."`
	Inspect  deviceInspectCmd  `cmd:"" help:"Show a segment, a statement or evidence. Nothing is verified."`
	Import   deviceImportCmd   `cmd:"" help:"Bring the file of a logger to a server."`
	Roster   deviceRosterCmd   `cmd:"" help:"Put the devices of a table into the registry of a server, each with a claim code."`
	Label    deviceLabelCmd    `cmd:"" help:"Draw a claim code as a QR code for a label."`
}

// The files of a device, in its folder.
const (
	deviceKeyFile  = "device.key"  // key and LDevID, with the authority
	deviceNextFile = "next.key"    // a key for which a certificate is asked
	deviceRootFile = "servers.pem" // authorities of the server
)

// deviceFlags name the folder of a device.
type deviceFlags struct {
	secretFlags
	Dir string `required:"" placeholder:"D" help:"Folder of the device: its key, its certificate and what waits to be sent."`
}

// load reads key and certificate, and says which device it is.
func (f *deviceFlags) load() (*keys.Key, device.ID, error) {
	path := filepath.Join(f.Dir, deviceKeyFile)
	lock, err := f.lockOf(path)
	if err != nil {
		return nil, "", err
	}
	k, err := keys.Load(path, lock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", usageError("%s has no device: begin with 'ampoule device enrol'", f.Dir)
	}
	if err != nil {
		return nil, "", exitError{exitUsage, err}
	}
	if k.Certificate() == nil {
		return nil, "", usageError("%s has no certificate", path)
	}
	id, err := device.CertificateID(k.Certificate())
	if err != nil || id == "" {
		return nil, "", usageError("%s: its certificate names no device", path)
	}
	return k, id, nil
}

// roots are the authorities by which the device knows its server; none: the machine's.
func (f *deviceFlags) roots() ([]*x509.Certificate, error) {
	data, err := readInput(filepath.Join(f.Dir, deviceRootFile), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, exitError{exitUsage, err}
	}
	return parseRoots(deviceRootFile, data)
}

// parseRoots reads certificates in PEM, or one in DER.
func parseRoots(name string, data []byte) (all []*x509.Certificate, err error) {
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		c, err := x509.ParseCertificate(data)
		if err != nil {
			return nil, usageError("%s: no certificate", name)
		}
		return []*x509.Certificate{c}, nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, usageError("%s: a block that is no certificate", name)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, usageError("%s: no certificate", name)
	}
	return all, nil
}

// serverFlags name a server, and by which authority it is known.
type serverFlags struct {
	Server string `required:"" placeholder:"URL" help:"Address of the server: https://HOST:PORT."`
	CA     string `name:"ca" placeholder:"F" help:"Certificate of its authority, in PEM. That of the machine otherwise."`
}

// address is the address without a slash at its end.
func (f *serverFlags) address() (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(f.Server, "/"))
	if err != nil || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, usageError("--server %s: it looks like https://readings.example:8444", f.Server)
	}
	return u, nil
}

func (f *serverFlags) roots() ([]*x509.Certificate, error) {
	if f.CA == "" {
		return nil, nil
	}
	data, err := readInput(f.CA, nil)
	if err != nil {
		return nil, usageError("--ca: %w", err)
	}
	return parseRoots(f.CA, data)
}

// clientOf asks one server, which somebody named: it may be in the network of the house.
func clientOf(u *url.URL, roots []*x509.Certificate, k *keys.Key, wait time.Duration) *fetch.Client {
	// The largest answer is a thread, in base64.
	o := fetch.Options{Roots: roots, PrivateHosts: []string{u.Hostname()}, Loopback: true, Timeout: wait, Bytes: 2 * thread.MaxFile}
	if k != nil {
		o.Certificate = &tls.Certificate{Certificate: rawChain(k)[:1], PrivateKey: k.Signer}
	}
	return fetch.New(o)
}

type deviceEnrolCmd struct {
	deviceFlags
	serverFlags
	Fingerprint string `placeholder:"HEX" help:"SHA-256 of the certificate of the authority, instead of --ca: as the server logs it and its operator tells."`
	Claim       string `placeholder:"CODE" help:"Claim code of the label: AMPOULE-CLAIM:…"`
	IDevID      string `name:"idevid" placeholder:"F" help:"Key file with the certificate that the maker gave the device, instead of a claim code."`
}

// Run makes a key, and gets its certificate. The key is on the disk before it is asked
// for, so that an answer which does not arrive costs no more than another try.
func (c *deviceEnrolCmd) Run(t terminal) error {
	u, err := c.address()
	if err != nil {
		return err
	}
	if u.Scheme != "https" {
		return usageError("--server %s: a certificate is given over https alone", c.Server)
	}
	if (c.Claim == "") == (c.IDevID == "") {
		return usageError("either --claim or --idevid")
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/pkcs10"}, "Content-Transfer-Encoding": {"base64"}}
	var birth *keys.Key
	if c.Claim != "" {
		claim, err := device.ParseClaim(c.Claim)
		if err != nil {
			return usageError("--claim: %w", err)
		}
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("device:"+claim.String())))
	} else if birth, err = keys.Load(c.IDevID, lock); err != nil {
		return exitError{exitUsage, err}
	} else if birth.Certificate() == nil {
		return usageError("--idevid %s: it has no certificate", c.IDevID)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return exitError{exitUsage, err}
	}
	unlock, err := keep.Lock(filepath.Join(c.Dir, deviceKeyFile))
	if err != nil {
		return exitError{exitUsage, err}
	}
	defer func() { _ = unlock() }()
	if _, err := os.Stat(filepath.Join(c.Dir, deviceKeyFile)); err == nil {
		return usageError("%s has a device already; 'ampoule device renew' gets its next certificate", c.Dir)
	}
	roots, err := c.serverFlags.roots()
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch {
	case c.Fingerprint != "" && c.CA != "":
		return usageError("either --ca or --fingerprint")
	case c.Fingerprint != "":
		if roots, err = pinnedRoot(ctx, u, c.Fingerprint); err != nil {
			return err
		}
	}
	o := fetch.Options{Roots: roots, PrivateHosts: []string{u.Hostname()}}
	if birth != nil {
		o.Certificate = &tls.Certificate{Certificate: rawChain(birth), PrivateKey: birth.Signer}
	}
	k, err := enrolKey(ctx, fetch.New(o), u, "simpleenroll", filepath.Join(c.Dir, deviceNextFile), lock, header, &x509.CertificateRequest{})
	if err != nil {
		return err
	}
	if len(roots) > 0 {
		var file bytes.Buffer
		for _, r := range roots {
			_ = pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: r.Raw})
		}
		if err := keep.Replace(filepath.Join(c.Dir, deviceRootFile), file.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return c.finish(t, k, lock)
}

// finish puts key and certificate in the place of those before.
func (f *deviceFlags) finish(t terminal, k *keys.Key, lock keys.Lock) error {
	id, err := device.CertificateID(k.Certificate())
	if err != nil || id == "" {
		return exitError{exitUndecided, errors.New("the server's certificate names no device")}
	}
	path, made := filepath.Join(f.Dir, deviceKeyFile), filepath.Join(f.Dir, "certified.key")
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := keys.Save(made, k, lock); err != nil {
		return err
	}
	if err := os.Rename(made, path); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(f.Dir, deviceNextFile)); err != nil {
		return err
	}
	if err := keep.SyncDir(f.Dir); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "device %s\nuntil  %s\n", id, k.Certificate().NotAfter.UTC().Format(time.DateOnly))
	return nil
}

// enrolKey asks for the certificate of a new key, which waits in a file: one that was asked
// for before, without an answer, is asked for again.
func enrolKey(ctx context.Context, client *fetch.Client, u *url.URL, operation, path string, lock keys.Lock, header http.Header, request *x509.CertificateRequest) (*keys.Key, error) {
	k, err := keys.Load(path, lock)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		k = &keys.Key{Signer: signer}
		if err := keys.Save(path, k, lock); err != nil {
			return nil, exitError{exitUsage, err}
		}
	} else if err != nil {
		return nil, exitError{exitUsage, err}
	}
	if k.Chain, err = certificateOf(ctx, client, u, operation, k.Signer, header, request); err != nil {
		return nil, err
	}
	return k, nil
}

// certificateOf asks for the certificate of a key (RFC 7030 section 4.2), and returns it
// with the authorities above it.
func certificateOf(ctx context.Context, client *fetch.Client, u *url.URL, operation string, signer crypto.Signer, header http.Header, request *x509.CertificateRequest) ([]*x509.Certificate, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, request, signer)
	if err != nil {
		return nil, err
	}
	address := u.String() + est.Path
	// The authorities first: a code that is used up must not be lost for want of them.
	res, err := client.Do(ctx, http.MethodGet, address+"cacerts", nil, nil)
	if err != nil {
		return nil, exitError{exitUndecided, hintRoots(err)}
	}
	cas, err := certificatesIn(res)
	if err != nil {
		return nil, exitError{exitUndecided, fmt.Errorf("cacerts: %w", err)}
	}
	res, err = client.Do(ctx, http.MethodPost, address+operation, header, []byte(base64.StdEncoding.EncodeToString(der)))
	if err != nil {
		return nil, exitError{exitUndecided, err}
	}
	if res.Status == http.StatusAccepted {
		return nil, exitError{exitUndecided, fmt.Errorf("somebody must agree first; ask again after %s seconds", format.Visible(res.Header.Get("Retry-After")))}
	}
	got, err := certificatesIn(res)
	if err != nil {
		return nil, err
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if len(got) != 1 || !ok || !public.Equal(got[0].PublicKey) {
		return nil, exitError{exitUndecided, errors.New("the answer is no certificate of this key")}
	}
	pool := x509.NewCertPool()
	for _, ca := range cas {
		pool.AddCert(ca)
	}
	chains, err := got[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, exitError{exitUndecided, fmt.Errorf("the answer is no certificate of the server's authority: %w", err)}
	}
	return chains[0], nil
}

// hintRoots says what to do where the server's certificate is of nobody who is known.
func hintRoots(err error) error {
	var unknown x509.UnknownAuthorityError
	var wrapped *tls.CertificateVerificationError
	if errors.As(err, &unknown) || errors.As(err, &wrapped) {
		return fmt.Errorf("%w; give --ca, or --fingerprint as the server's operator tells it", err)
	}
	return err
}

// certificatesIn reads a certs-only message (RFC 7030 section 4.1.3). What the server
// refuses is not valid, where it says that this is for good.
func certificatesIn(res *fetch.Response) ([]*x509.Certificate, error) {
	if res.Status != http.StatusOK {
		said := format.Visible(strings.TrimSpace(string(res.Body[:min(len(res.Body), 200)])))
		code := exitUndecided
		if res.Status == http.StatusUnauthorized || res.Status == http.StatusForbidden || res.Status == http.StatusBadRequest {
			code = exitNotValid
		}
		return nil, exitError{code, fmt.Errorf("the server says %d: %s", res.Status, said)}
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(res.Body)), ""))
	if err != nil {
		return nil, exitError{exitUndecided, errors.New("an answer that is not base64")}
	}
	m, err := cms.Parse(data)
	if err != nil {
		return nil, exitError{exitUndecided, err}
	}
	var all []*x509.Certificate
	for _, c := range m.Certificates {
		x, err := x509.ParseCertificate(c.Raw)
		if err != nil {
			return nil, exitError{exitUndecided, err}
		}
		all = append(all, x)
	}
	return all, nil
}

// pinnedRoot is the authority with a fingerprint, as the server shows it in its handshake.
// Nothing but the handshake is done with a server that is not known yet.
func pinnedRoot(ctx context.Context, u *url.URL, fingerprint string) ([]*x509.Certificate, error) {
	want, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(fingerprint, "sha256:"), ":", ""))
	if err != nil || len(want) != sha256.Size {
		return nil, usageError("--fingerprint: 64 hexadecimal digits")
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "443")
	}
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	// The chain is held against the fingerprint here, and against the root afterwards.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, exitError{exitUndecided, err}
	}
	defer conn.Close()
	shown := conn.(*tls.Conn).ConnectionState().PeerCertificates
	for _, c := range shown {
		if sum := sha256.Sum256(c.Raw); bytes.Equal(sum[:], want) {
			return []*x509.Certificate{c}, nil
		}
	}
	sum := sha256.Sum256(shown[len(shown)-1].Raw)
	return nil, exitError{exitNotValid, fmt.Errorf("the server shows another authority: %x", sum)}
}

type deviceRenewCmd struct {
	deviceFlags
	Server string `required:"" placeholder:"URL" help:"Address of the server: https://HOST:PORT."`
}

// Run renews under the certificate in use.
func (c *deviceRenewCmd) Run(t terminal) error {
	u, err := (&serverFlags{Server: c.Server}).address()
	if err != nil {
		return err
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	release, err := own(c.Dir)
	if err != nil {
		return err
	}
	defer release()
	old, id, err := c.load()
	if err != nil {
		return err
	}
	roots, err := c.deviceFlags.roots()
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/pkcs10"}, "Content-Transfer-Encoding": {"base64"}}
	// RFC 7030 section 4.2.2: subject and alternative names as they are.
	request := &x509.CertificateRequest{RawSubject: old.Certificate().RawSubject, URIs: []*url.URL{device.URI(id)}}
	k, err := enrolKey(context.Background(), clientOf(u, roots, old, fetch.DefaultTimeout), u, "simplereenroll", filepath.Join(c.Dir, deviceNextFile), lock, header, request)
	if err != nil {
		return err
	}
	return c.finish(t, k, lock)
}

// own takes the folder of a device for this process alone: two that measure for one device
// would fork its chains.
func own(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, exitError{exitUsage, err}
	}
	end, err := keep.Own(f)
	if err != nil {
		f.Close()
		return nil, usageError("%s: another process runs this device", dir)
	}
	return func() { end(); f.Close() }, nil
}
