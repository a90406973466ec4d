package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"ampoule/internal/keep"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

type logAnchorCmd struct {
	actorFlags
	Actor   string `required:"" placeholder:"OID" help:"Identifier of the issuer that anchors, in the ledger."`
	Address string `required:"" placeholder:"URL" help:"Where it is published. The SHA-256 of this text is the name of the list."`
	File    string `arg:"" name:"file" help:"What is published there, byte by byte."`
	Until   string `placeholder:"T" help:"Until when it counts (RFC 3339); for 30 days otherwise."`
	Policy  string `placeholder:"F" help:"Whose signatures count (C2SP tlog-policy), for --out."`
	Out     string `placeholder:"F" help:"Keep the proof, a .tlog-proof that carries its entry. It waits for that."`
}

// Run anchors the digest of something published: a trust list, a status list, the
// keys of an organisation. What a service publishes itself, it anchors itself.
func (c *logAnchorCmd) Run(t terminal) error {
	// Step 1: what, and by whom.
	oid, err := state.ParseOID(c.Actor)
	if err != nil {
		return usageError("--actor: %w", err)
	}
	data, err := readInput(c.File, t.in)
	if err != nil {
		return exitError{exitUsage, err}
	}
	now := time.Now()
	until := now.Add(listLife)
	if c.Until != "" {
		if until, err = time.Parse(time.RFC3339, c.Until); err != nil || until.Before(time.Unix(0, 0)) {
			return usageError("--until: %q is no time such as 2027-01-31T00:00:00Z", c.Until)
		}
	}
	var policy *tlog.Policy
	if (c.Out == "") != (c.Policy == "") {
		return usageError("--out and --policy belong together")
	}
	if c.Out != "" {
		c.Wait = true
		if policy, err = (&logPolicyFlag{c.Policy}).read(); err != nil {
			return err
		}
	}
	// Step 2: into the log. The epoch is the second: a list is never anchored behind
	// one that is newer.
	tx, err := c.send(t, oid, &state.StatusAnchor{
		List: sha256.Sum256([]byte(c.Address)), Epoch: uint64(now.Unix()), Digest: sha256.Sum256(data), Bytes: uint64(len(data)),
		ValidUntil: uint64(until.Unix()),
	})
	if err != nil || policy == nil {
		return err
	}
	// Step 3: its proof.
	service, err := c.service()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	proof, err := service.Prove(ctx, tlog.LeafHash(tx))
	if err != nil {
		return exitError{exitUndecided, err}
	}
	p, err := tlog.ParseLogProof(proof)
	if err != nil {
		return exitError{exitNotValid, err}
	}
	if _, err := p.Verify(tlog.LeafHash(tx), policy); err != nil {
		return exitError{exitNotValid, fmt.Errorf("the notary's proof: %w", err)}
	}
	p.Extra = tx
	if proof, err = p.Encode(); err != nil {
		return err
	}
	if err := keep.Replace(c.Out, proof, 0o644); err != nil {
		return exitError{exitUsage, err}
	}
	return nil
}
