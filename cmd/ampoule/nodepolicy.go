package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"

	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// notaryKeys are the public keys by which a member vouches for the log. Their file
// is text:
//
//	member   <oid> <code>
//	log      <base64>   Ed25519, as a log
//	cosigner <base64>   ML-DSA-44, as a cosigner
//	receipts <base64>   SubjectPublicKeyInfo, ES256
type notaryKeys struct {
	OID      state.OID
	Code     string
	Log      crypto.PublicKey
	Cosigner crypto.PublicKey
	Receipts crypto.PublicKey
}

func (k *notaryKeys) encode() ([]byte, error) {
	receipts, err := x509.MarshalPKIXPublicKey(k.Receipts)
	if err != nil {
		return nil, err
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, "member %s %s\nlog %s\ncosigner %s\nreceipts %s\n", k.OID, k.Code,
		b64(k.Log.(ed25519.PublicKey)), b64(k.Cosigner.(*mldsa44.PublicKey).Bytes()), b64(receipts)), nil
}

func parseNotaryKeys(data []byte) (*notaryKeys, error) {
	var member, code, log, cosigner, receipts string
	if n, err := fmt.Sscanf(string(data), "member %s %s\nlog %s\ncosigner %s\nreceipts %s\n", &member, &code, &log, &cosigner, &receipts); err != nil {
		return nil, fmt.Errorf("no keys of a notary, line %d: %w", n, err)
	}
	k := &notaryKeys{Code: code}
	var err error
	if k.OID, err = state.ParseOID(member); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(log)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errors.New("the key of the log is no Ed25519 key in base64")
	}
	k.Log = ed25519.PublicKey(raw)
	if raw, err = base64.StdEncoding.DecodeString(cosigner); err != nil {
		return nil, fmt.Errorf("the key of the cosigner: %w", err)
	}
	public := new(mldsa44.PublicKey)
	if err := public.UnmarshalBinary(raw); err != nil {
		return nil, fmt.Errorf("the key of the cosigner: %w", err)
	}
	k.Cosigner = public
	if raw, err = base64.StdEncoding.DecodeString(receipts); err != nil {
		return nil, fmt.Errorf("the key of receipts: %w", err)
	}
	if k.Receipts, err = x509.ParsePKIXPublicKey(raw); err != nil {
		return nil, fmt.Errorf("the key of receipts: %w", err)
	}
	if again, err := k.encode(); err != nil || !bytes.Equal(again, data) {
		return nil, errors.New("keys of a notary in another form than 'node init' writes")
	}
	return k, nil
}

// policyText writes the policy: each member's node signs as the log, and more than
// two thirds of them cosign, as they would have to agree on a block; with witnesses
// outside, more than half of these as well.
func policyText(federation state.OID, members []*notaryKeys, outside []string) ([]byte, error) {
	var b bytes.Buffer
	origin := originOf(federation)
	for _, m := range members {
		key, err := tlog.NewKey(origin, tlog.Ed25519Note, m.Log)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "log %s\n", key)
	}
	var names, others []string
	for _, m := range members {
		key, err := tlog.NewKey(cosignerName(m.OID), tlog.MLDSA44Cosignature, m.Cosigner)
		if err != nil {
			return nil, err
		}
		names = append(names, m.Code)
		fmt.Fprintf(&b, "witness %s %s\n", m.Code, key)
	}
	for _, text := range outside {
		name, vkey, ok := strings.Cut(text, "=")
		key, err := tlog.ParseKey(vkey)
		if !ok || err != nil {
			return nil, usageError("--outside: NAME=VKEY, as 'ampoule log key' shows it: %w", cmp.Or(err, errors.New("no =")))
		}
		others = append(others, name)
		fmt.Fprintf(&b, "witness %s %s\n", name, key)
	}
	quorum := "members"
	fmt.Fprintf(&b, "group members %d %s\n", len(names)*2/3+1, strings.Join(names, " "))
	if len(others) > 0 {
		fmt.Fprintf(&b, "group outside %d %s\ngroup all all members outside\n", len(others)/2+1, strings.Join(others, " "))
		quorum = "all"
	}
	fmt.Fprintf(&b, "quorum %s\n", quorum)
	if _, err := tlog.ParsePolicy(b.Bytes()); err != nil {
		return nil, exitError{exitUsage, err}
	}
	return b.Bytes(), nil
}

// originOf is the name of a federation's log, and cosignerName that of a member's
// cosigner.
func originOf(federation state.OID) string { return "oid/" + federation.String() + ".1.1" }
func cosignerName(member state.OID) string { return "oid/" + member.String() + ".2.1" }

// writer is what a service of a member writes under, beside the member itself.
type writer struct {
	name  string // of its files
	role  state.Role
	scope uint64
	below string // the member's identifier: where it is by default
}

// The writers: what issues and publishes lists, and the gateway of devices.
var (
	issuerWriter   = writer{"issuer", state.Issuer, state.ScopeBatch | state.ScopeSingle | state.ScopeStatus | state.ScopeCustody, ".3.1"}
	readingsWriter = writer{"readings", state.Device, state.ScopeTelemetry, ".4.1"}
)

func inFolder(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
func (w writer) files(dir string) (id, key string) {
	return inFolder(dir, w.name+".oid"), inFolder(dir, "keys/"+w.name+".pem")
}

type nodePolicyCmd struct {
	Dir     string   `arg:"" name:"folder" type:"existingdir" help:"Folder of one's own node, into which the policy goes."`
	Keys    []string `arg:"" optional:"" name:"keys" help:"member.keys of the members, one's own among them; its own, where there is none."`
	Outside []string `sep:"none" placeholder:"NAME=VKEY" help:"A witness outside the federation; more than half of them must cosign."`
	Print   bool     `help:"Print it, and write nothing."`
}

func (c *nodePolicyCmd) Run(t terminal) error {
	data, err := readInput(inFolder(c.Dir, "genesis.cbor"), nil)
	if err != nil {
		return exitError{exitUsage, err}
	}
	genesis, err := state.ParseGenesis(data)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if len(c.Keys) == 0 {
		c.Keys = []string{inFolder(c.Dir, keysFile)}
	}
	var members []*notaryKeys
	for _, file := range c.Keys {
		data, err := readInput(file, nil)
		if err != nil {
			return exitError{exitUsage, err}
		}
		k, err := parseNotaryKeys(data)
		if err != nil {
			return usageError("%s: %w", file, err)
		}
		members = append(members, k)
	}
	text, err := policyText(genesis.Federation, members, c.Outside)
	if err != nil {
		return err
	}
	if c.Print {
		_, err := t.out.Write(text)
		return err
	}
	if err := keep.Replace(inFolder(c.Dir, notaryPolicy), text, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s  %d members, %d witnesses outside\n", inFolder(c.Dir, notaryPolicy), len(members), len(c.Outside))
	return nil
}

type nodeIssuerCmd struct {
	secretFlags
	Dir     string        `arg:"" name:"folder" type:"existingdir" help:"Folder of the member's node, with its online key."`
	Notary  string        `required:"" placeholder:"A" help:"Address of a notary, such as https://notary.example."`
	OID     string        `name:"oid" placeholder:"OID" help:"Identifier of the issuer. Below that of the member otherwise."`
	Device  bool          `name:"readings" help:"Register the gateway of its devices instead, which anchors readings."`
	Years   int           `default:"10" help:"For how long it may write (default: 10)."`
	Timeout time.Duration `default:"2m" placeholder:"D" help:"How long to wait (default: 2m)."`
}

// Run makes the issuer's key, registers it under the member, and waits until it is
// logged. Then the service whose settings name the folder writes by it.
func (c *nodeIssuerCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	data, err := readInput(inFolder(c.Dir, statementFile), nil)
	if err != nil {
		return exitError{exitUsage, err}
	}
	statement, err := state.ParseStatement(data)
	if err != nil {
		return usageError("%s: %w", inFolder(c.Dir, statementFile), err)
	}
	member := statement.Member.OID
	w := issuerWriter
	if c.Device {
		w = readingsWriter
	}
	oid, err := state.ParseOID(cmp.Or(c.OID, member.String()+w.below))
	if err != nil {
		return usageError("--oid: %w", err)
	}
	body, proves, err := w.entry(c.Dir, oid, lock, time.Now(), c.Years)
	if err != nil {
		return err
	}
	as := actorFlags{secretFlags: c.secretFlags, Notary: c.Notary, Key: []string{inFolder(c.Dir, memberKey)}, Wait: true, Timeout: c.Timeout}
	// It may be there already, from a run that did not wait for the end.
	service, err := as.service()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	if actor, err := service.Actor(ctx, oid); err == nil && slices.Equal(actor.Keys, []tlog.Hash{body.Keys[0].KID}) {
		fmt.Fprintf(t.out, "%s is registered with this key\n", oid)
		return nil
	}
	_, err = as.send(t, member, body, proves...)
	return err
}

// entry makes the key of a writer, where the folder has none, and what registers it, with
// the keys that must sign that besides the member's: a device is at home as a rule, and
// not where its sponsor signs, so that its own does not.
func (w writer) entry(dir string, oid state.OID, lock keys.Lock, now time.Time, years int) (body *state.Put, proves []crypto.Signer, err error) {
	id, file := w.files(dir)
	key, err := keys.Load(file, lock)
	if errors.Is(err, fs.ErrNotExist) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		key = &keys.Key{Signer: private}
		if err := keys.Save(file, key, lock); err != nil {
			return nil, nil, err
		}
	} else if err != nil {
		return nil, nil, exitError{exitUsage, err}
	}
	if err := os.WriteFile(id, []byte(oid.String()+"\n"), 0o644); err != nil {
		return nil, nil, err
	}
	public, err := state.NewKey(key.Signer.Public())
	if err != nil {
		return nil, nil, err
	}
	if w.role != state.Device {
		proves = append(proves, key.Signer)
	}
	return &state.Put{Role: w.role, OID: oid, Keys: []state.Key{public}, Scope: w.scope,
		From: uint64(now.Add(-time.Hour).Unix()), Until: uint64(now.AddDate(years, 0, 0).Unix())}, proves, nil
}
