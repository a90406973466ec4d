// Package client lets a platform that issues certificates itself have them logged:
// it hands batches of fingerprints to a notary over HTTP, and gets proofs and
// receipts, which anybody can verify without asking anybody.
//
//	c, err := client.New("https://notary.example")
//	s, err := c.SubmitBatch(ctx, client.Batch{Issuer: issuer, Schema: schema, Epoch: day, Leaves: batch}, key)
//	err = c.Wait(ctx, s.Tx, time.Second)
//	proof, err := c.Prove(ctx, s.Leaf)
//	cosigned, err := client.Verify(s.Tx, proof, policy)
//
// Nothing here belongs before the moment at which a certificate is handed out: what
// is submitted waits, is submitted again, and is proven later.
package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/ledger/print"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// The defects of asking.
const (
	ErrAddress = format.Defect("bad-notary-address")
	ErrAnswer  = format.Defect("bad-notary-answer")
	ErrChain   = format.Defect("another-ledger")
)

// Client is one notary. It is a [notary.Service].
type Client struct {
	// HTTP makes the requests. The one of New follows no redirects.
	HTTP *http.Client
	// Chain is the SHA-256 of the genesis. Whoever leaves it zero signs for the ledger
	// that the notary names.
	Chain tlog.Hash

	base string
}

var _ notary.Service = (*Client)(nil)

// maxAnswer bounds an answer: an entry of the longest kind with its proof.
const maxAnswer = 2 << 20

// New makes a client of the notary at an address: https, or http to an address of
// this machine.
func New(address string) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("notary %q: %w", address, ErrAddress)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme != "https" && !(u.Scheme == "http" && err == nil && ip.IsLoopback()) {
		return nil, fmt.Errorf("notary %q: not https: %w", address, ErrAddress)
	}
	return &Client{base: strings.TrimSuffix(address, "/") + "/v1/ledger", HTTP: &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Refused is an answer that is no success, and no word of the ledger either.
type Refused struct {
	Status int
	Reason string // the reason word, where there is one
}

func (r *Refused) Error() string {
	return fmt.Sprintf("the notary answered %d %.60s", r.Status, r.Reason)
}

// do makes one request.
func (c *Client) do(ctx context.Context, method, path, kind string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("notary: %w", ErrAddress)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.Header.Set("Accept", "application/json, text/plain")
	a, err := c.HTTP.Do(r)
	if err != nil {
		return nil, fmt.Errorf("notary: %w", err)
	}
	defer a.Body.Close()
	data, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("notary: %w", err)
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("notary: more than %d bytes: %w", maxAnswer, ErrAnswer)
	case a.StatusCode/100 == 2:
		return data, nil
	}
	refused := &Refused{Status: a.StatusCode}
	if t, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); t == "application/problem+json" {
		var p struct{ Reason string }
		if json.Unmarshal(data, &p) == nil {
			refused.Reason = p.Reason
		}
	}
	return nil, refused
}

func (c *Client) get(ctx context.Context, path string, out any) error {
	data, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return known(err)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("notary: %v: %w", err, ErrAnswer)
	}
	return nil
}

// known turns the words that [notary.Service] promises into their errors.
func known(err error) error {
	var r *Refused
	if !errors.As(err, &r) {
		return err
	}
	switch d := format.Defect(r.Reason); d {
	case notary.ErrNotLogged, notary.ErrNotCosigned, notary.ErrNoActor, notary.ErrNoEntry:
		return fmt.Errorf("notary: %w", d)
	}
	return err
}

func parseHash(text string) (h tlog.Hash, err error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(h) {
		return h, fmt.Errorf("notary: a hash of %d digits: %w", len(text), ErrAnswer)
	}
	return tlog.Hash(data), nil
}

// Actor implements [notary.Service].
func (c *Client) Actor(ctx context.Context, oid state.OID) (*notary.Actor, error) {
	var b struct {
		Chain   string
		Height  uint64
		MaxLife uint64 `json:"max_life"`
		Seq     uint64
		Hybrid  bool
		Keys    []string
		Batch   string
		Epoch   uint64
	}
	if err := c.get(ctx, "/actors/"+oid.String(), &b); err != nil {
		return nil, err
	}
	a := &notary.Actor{Height: b.Height, MaxLife: b.MaxLife, Seq: b.Seq, Hybrid: b.Hybrid, Epoch: b.Epoch}
	var err error
	if a.Chain, err = parseHash(b.Chain); err != nil {
		return nil, err
	}
	if c.Chain != (tlog.Hash{}) && c.Chain != a.Chain {
		return nil, fmt.Errorf("notary: chain %x: %w", a.Chain[:8], ErrChain)
	}
	for _, k := range b.Keys {
		h, err := parseHash(k)
		if err != nil {
			return nil, err
		}
		a.Keys = append(a.Keys, h)
	}
	if b.Batch != "" {
		a.Batch, err = parseHash(b.Batch)
	}
	return a, err
}

// Submit implements [notary.Service]. The same bytes may be submitted again; what is
// logged already is taken.
func (c *Client) Submit(ctx context.Context, tx []byte) error {
	_, err := c.do(ctx, http.MethodPost, "/transactions", "application/cose", tx)
	var r *Refused
	if !errors.As(err, &r) {
		return err
	}
	switch {
	case r.Status == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("notary: %w", state.ErrTooLarge)
	case r.Reason == "" || r.Reason == "too-many-requests" || r.Status/100 != 4:
		return err // it was not the ledger that refused
	case r.Status == http.StatusConflict, r.Status == http.StatusUnprocessableEntity, r.Status == http.StatusTooManyRequests:
		return fmt.Errorf("notary: %w", format.Defect(r.Reason))
	}
	return err
}

// Standing implements [notary.Service].
func (c *Client) Standing(ctx context.Context, leaf tlog.Hash) (*notary.Standing, error) {
	s := new(notary.Standing)
	return s, c.get(ctx, "/transactions/"+hex.EncodeToString(leaf[:]), s)
}

// Prove implements [notary.Service]. What comes back is verified by [Verify].
func (c *Client) Prove(ctx context.Context, leaf tlog.Hash) ([]byte, error) {
	data, err := c.do(ctx, http.MethodGet, "/proofs/"+hex.EncodeToString(leaf[:]), "", nil)
	return data, known(err)
}

// Receipt implements [notary.Service]. The signature is not checked: the notary's key
// is the caller's to know.
func (c *Client) Receipt(ctx context.Context, root tlog.Hash) (*tlog.RootSignature, error) {
	var b struct {
		Alg       int64
		KID       string
		Signature []byte
	}
	if err := c.get(ctx, "/receipts/"+hex.EncodeToString(root[:]), &b); err != nil {
		return nil, err
	}
	s := &tlog.RootSignature{Alg: cose.Algorithm(b.Alg), Signature: b.Signature}
	kid, err := hex.DecodeString(b.KID)
	if err != nil || len(kid) != len(s.KID) {
		return nil, fmt.Errorf("notary: kid of %d digits: %w", len(b.KID), ErrAnswer)
	}
	copy(s.KID[:], kid)
	return s, nil
}

// Resolve asks what the ledger has under an identifier. [notary.Resolved.Verify]
// tells whether that is so.
func (c *Client) Resolve(ctx context.Context, oid state.OID) (*notary.Resolved, error) {
	var b struct {
		OID, Kind, Proof, Since string
		Value, State            []byte
		Rows                    []struct {
			Key          string
			Value, Proof []byte
		}
	}
	if err := c.get(ctx, "/resolve/"+oid.String(), &b); err != nil {
		return nil, err
	}
	got, err := state.ParseOID(b.OID)
	if err != nil {
		return nil, fmt.Errorf("notary: %v: %w", err, ErrAnswer)
	}
	r := &notary.Resolved{OID: got, Kind: b.Kind, Value: b.Value, State: b.State, Since: b.Since}
	if b.Proof != "" {
		r.Proof = []byte(b.Proof)
	}
	for _, row := range b.Rows {
		key, err := hex.DecodeString(row.Key)
		if err != nil {
			return nil, fmt.Errorf("notary: key of a row: %w", ErrAnswer)
		}
		r.Rows = append(r.Rows, notary.ResolvedRow{Key: string(key), Value: row.Value, Proof: row.Proof})
	}
	return r, nil
}

// Batch is a closed batch of fingerprints that an issuer has logged.
type Batch struct {
	Issuer, Schema state.OID
	Epoch          uint64 // never less than that of the batch before; the day, as a rule
	Leaves         *print.Batch
}

// Submitted is what was submitted. The bytes are to be kept until they are proven.
type Submitted struct {
	Tx   []byte
	Leaf tlog.Hash // of the transaction, in the log
	Root tlog.Hash // of the batch
}

// SubmitBatch signs fp.batch as the next transaction of its issuer, and hands it in.
// Where an error comes with what was submitted, it may have arrived: the same bytes
// are to be submitted again, see [Client.Wait].
func (c *Client) SubmitBatch(ctx context.Context, b Batch, signers ...crypto.Signer) (*Submitted, error) {
	a, err := c.Actor(ctx, b.Issuer)
	if err != nil {
		return nil, err
	}
	s := &Submitted{Root: b.Leaves.Root()}
	body := &state.Batch{
		Root: s.Root, Class: uint64(bits.Len(uint(b.Leaves.Size())) - 1), Schema: b.Schema, Issuer: b.Issuer, Epoch: b.Epoch, Previous: a.Batch,
	}
	if s.Tx, err = Sign(a, b.Issuer, body, signers...); err != nil {
		return nil, err
	}
	s.Leaf = tlog.LeafHash(s.Tx)
	return s, c.Submit(ctx, s.Tx)
}

// Sign makes the next transaction of an actor, valid for as long as may be.
func Sign(a *notary.Actor, actor state.OID, body state.Body, signers ...crypto.Signer) ([]byte, error) {
	tx := &state.Tx{Chain: a.Chain, Actor: actor, Seq: a.Seq + 1, ValidUntil: a.Height + a.MaxLife, Body: body}
	return tx.Sign(rand.Reader, signers...)
}

// Wait submits a transaction again and again until it is logged and cosigned. It
// ends with the context, or where the ledger refuses.
func (c *Client) Wait(ctx context.Context, tx []byte, every time.Duration) error {
	return Wait(ctx, c, tx, every)
}

// Wait is [Client.Wait] with any service.
func Wait(ctx context.Context, s notary.Service, tx []byte, every time.Duration) error {
	leaf := tlog.LeafHash(tx)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		standing, err := s.Standing(ctx, leaf)
		if err == nil && standing.Cosigned {
			return nil
		}
		if err == nil && !standing.Logged {
			err = s.Submit(ctx, tx)
			if word := format.Reason(err, ""); err != nil && word != "" && !temporary(err) {
				// It may have been logged since it was asked for.
				if again, errAgain := s.Standing(ctx, leaf); errAgain != nil || !again.Logged {
					return err
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// temporary tells what another try may mend.
func temporary(err error) bool {
	return errors.Is(err, ErrAnswer) || errors.Is(err, state.ErrSeqGap) || errors.Is(err, state.ErrQuota) || errors.Is(err, state.ErrBlockFull) || errors.Is(err, state.ErrKeyNotInForce)
}

// Verify tells whether a transaction is in the log, under a checkpoint that the
// policy is satisfied with. It asks nobody.
func Verify(tx, proof []byte, policy *tlog.Policy) (*tlog.Cosigned, error) {
	p, err := tlog.ParseLogProof(proof)
	if err != nil {
		return nil, err
	}
	return p.Verify(tlog.LeafHash(tx), policy)
}
