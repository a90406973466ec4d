package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"ampoule/internal/keys"
	"ampoule/ledger/state"
	"ampoule/party/issuer"
)

// The ledger of the demonstration: four members, of which one has a node, and writes.
// The others vote from their folders.

// demoArc is an UUID that was drawn for the demonstration's federation.
const demoArc = "2.25.329800735698586629295641978511506172918"

var demoMember = demoArc + ".1"

// ledger makes the folder of the node, tied to the participant's signing authority,
// and those of the other members beside it.
func (d *demo) ledger(dir, authority string) error {
	silent := terminal{out: io.Discard, err: io.Discard}
	plain := secretFlags{Unencrypted: true}
	first := nodeInitCmd{secretFlags: plain, Dir: dir, OID: demoMember, Code: demoParticipant, SCA: authority, Consensus: "Ed25519"}
	if err := first.Run(silent); err != nil {
		return err
	}
	statements := []string{inFolder(dir, statementFile)}
	for i, code := range []string{"XXB", "XXC", "XXD"} {
		other := inFolder(dir, "others/"+code)
		if err := os.MkdirAll(filepath.Dir(other), 0o700); err != nil {
			return err
		}
		c := nodeInitCmd{secretFlags: plain, Dir: other, OID: fmt.Sprintf("%s.%d", demoArc, i+2), Code: code, Consensus: "Ed25519"}
		if err := c.Run(silent); err != nil {
			return err
		}
		statements = append(statements, inFolder(other, statementFile))
	}
	genesis := nodeGenesisCmd{Dir: dir, Members: statements, Federation: demoArc, Validator: []string{demoParticipant}}
	if err := genesis.Run(silent); err != nil {
		return err
	}
	if err := (&nodePolicyCmd{Dir: dir}).Run(silent); err != nil {
		return err
	}
	for _, w := range []writer{issuerWriter, readingsWriter} {
		if _, _, err := w.entry(dir, mustOID(demoMember+w.below), keys.Unencrypted(), time.Now(), 1); err != nil {
			return err
		}
	}
	return nil
}

// logRecords registers the service on the ledger, closes the batch of its first
// records, for which a clinic waits until the end of the day, and has another member
// propose something.
func (d *demo) logRecords(ctx context.Context, s *service) error {
	l, dir := s.ledger, s.settings.Ledger.Dir
	for _, w := range []writer{issuerWriter, readingsWriter} {
		body, proves, err := w.entry(dir, mustOID(demoMember+w.below), keys.Unencrypted(), time.Now(), 1)
		if err != nil {
			return err
		}
		if err := l.await(ctx, l.member, body, proves...); err != nil {
			return err
		}
	}
	r := &issuer.Registry{Book: s.store, Now: time.Now}
	if _, err := r.CloseBatches(ctx, issuer.Closing{Every: time.Hour, Full: 1}); err != nil {
		return err
	}
	other, err := readMember(inFolder(dir, "others/XXB"), keys.Unencrypted())
	if err != nil {
		return err
	}
	params := state.DefaultParams
	params.EpochBlocks = 300
	return l.await(ctx, other, &state.Propose{Proposal: &state.NewParams{Params: params}})
}

func mustOID(dotted string) state.OID {
	o, err := state.ParseOID(dotted)
	if err != nil {
		panic(err) // it is written above
	}
	return o
}
