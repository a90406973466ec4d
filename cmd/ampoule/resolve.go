package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"ampoule/client"
	"ampoule/format"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

type resolveCmd struct {
	logPolicyFlag
	OID  string `arg:"" name:"oid" help:"Identifier: of a log, an entry, a cosigner, a member, issuer, device, verifier or witness."`
	Log  string `required:"" placeholder:"A" help:"Address of a notary, such as https://notary.example."`
	JSON bool   `name:"json" help:"As one JSON object."`
}

type shownResolved struct {
	OID    string           `json:"oid"`
	Kind   string           `json:"kind"`
	Value  []byte           `json:"value,omitempty"`
	Proven bool             `json:"proven"`
	Reason string           `json:"reason,omitempty"`
	Under  *shownCheckpoint `json:"under,omitempty"`
}

// Run asks a notary, and believes what is proven. It exits 1 where the answer is
// wrong, and 2 where it is not proven.
func (c *resolveCmd) Run(t terminal) error {
	policy, err := c.read()
	if err != nil {
		return err
	}
	oid, err := state.ParseOID(c.OID)
	if err != nil {
		return usageError("%s: %w", c.OID, err)
	}
	asked, err := client.New(c.Log)
	if err != nil {
		return usageError("--log: %w", err)
	}
	r, err := asked.Resolve(context.Background(), oid)
	if errors.Is(err, notary.ErrNoEntry) {
		return exitError{exitNotValid, err}
	}
	if err != nil {
		return exitError{exitUndecided, err}
	}
	cosigned, errVerify := r.Verify(oid, policy)
	shown := shownResolved{OID: oid.String(), Kind: r.Kind, Value: r.Value, Proven: errVerify == nil}
	if errVerify != nil {
		shown.Reason = format.Reason(errVerify, "refused")
	}
	if cosigned != nil {
		under := newShownCheckpoint(cosigned, nil)
		shown.Under = &under
	}
	if c.JSON {
		writeJSON(t.out, shown)
	} else {
		printResolved(t, r, shown)
	}
	switch {
	case errors.Is(errVerify, notary.ErrUnproven):
		why := r.Since
		if why == "" {
			why = "no proof came with it"
		}
		return exitError{exitUndecided, fmt.Errorf("%w: %s", errVerify, format.Visible(why))}
	case errVerify != nil:
		return exitError{exitNotValid, errVerify}
	}
	return nil
}

func printResolved(t terminal, r *notary.Resolved, shown shownResolved) {
	line := func(name string, value any) { fmt.Fprintf(t.out, "%-10s %v\n", name, value) }
	line("oid", shown.OID)
	line("kind", format.Visible(shown.Kind))
	switch {
	case r.Kind == notary.KindLog || r.Kind == notary.KindCosigner:
		line("key", format.Visible(strings.TrimSpace(string(r.Value))))
	case len(r.Value) > 0:
		leaf := tlog.LeafHash(r.Value)
		if r.Kind == notary.KindEntry {
			line("leaf", hex.EncodeToString(leaf[:]))
			if tx, err := state.ParseTx(r.Value); err == nil {
				line("actor", tx.Actor)
				line("what", tx.Body.Kind())
			}
		}
		line("bytes", hex.EncodeToString(r.Value))
	}
	if shown.Proven {
		line("proven", "yes")
	} else {
		line("proven", "NO: "+shown.Reason)
	}
	if u := shown.Under; u != nil {
		line("under", fmt.Sprintf("%d entries, root %.16s, cosigned by %d, %s", u.Size, u.Root, len(u.Witnesses), u.Time))
	}
}
