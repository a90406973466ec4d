package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ampoule/internal/comet"
	"ampoule/internal/config"
	"ampoule/internal/keys"
	"ampoule/ledger/state"
	"ampoule/party/issuer"
)

// The ledger of the demonstration: four members, of which one has a node, and writes.
// The others vote from their folders.

// demoArc is an UUID that was drawn for the demonstration's federation.
const demoArc = "2.25.329800735698586629295641978511506172918"

var demoMember = demoArc + ".1"

// demoMembers are the members' codes.
var demoMembers = []string{demoParticipant, demoNeighbour, "XXC", "XXD"}

// ledger makes the folder of the node, tied to the participant's signing authority,
// and those of the other members beside it. In a federation each of them runs a node.
func (d *demo) ledger(c *config.Config, authority string, federation bool) error {
	dir := c.Ledger.Dir
	first := nodeInitCmd{secretFlags: plain, Dir: dir, OID: demoMember, Code: demoParticipant, SCA: authority, Consensus: "Ed25519"}
	if err := first.Run(silent); err != nil {
		return err
	}
	folders := []string{dir}
	for i, code := range demoMembers[1:] {
		other := inFolder(dir, "others/"+code)
		if federation { // each has its own, and not below another's
			other = filepath.Join(filepath.Dir(dir), "countries", code+"-ledger")
		}
		if err := os.MkdirAll(filepath.Dir(other), 0o700); err != nil {
			return err
		}
		init := nodeInitCmd{secretFlags: plain, Dir: other, OID: fmt.Sprintf("%s.%d", demoArc, i+2), Code: code, Consensus: "Ed25519"}
		if err := init.Run(silent); err != nil {
			return err
		}
		folders = append(folders, other)
	}
	d.second = folders[1]
	genesis := nodeGenesisCmd{Dir: dir, Federation: demoArc, Validator: []string{demoParticipant}}
	for _, folder := range folders {
		genesis.Members = append(genesis.Members, inFolder(folder, statementFile))
	}
	if federation {
		genesis.Validator = demoMembers
	}
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
	if !federation {
		return nil
	}
	return d.federate(c, folders)
}

// federate has the nodes in the folders know each other. The first is that of the
// service.
func (d *demo) federate(c *config.Config, folders []string) error {
	var peers []string
	for i, folder := range folders {
		if i > 0 {
			if err := (&nodeJoinCmd{Dir: folder, Genesis: inFolder(folders[0], comet.GenesisFile)}).Run(silent); err != nil {
				return err
			}
			if err := (&nodePolicyCmd{Dir: folder}).Run(silent); err != nil {
				return err
			}
		}
		identity, err := comet.ReadIdentity(folder)
		if err != nil {
			return err
		}
		peers = append(peers, identity.ID+"@"+d.addresses[i])
	}
	others := func(i int) []string { return slices.Delete(slices.Clone(peers), i, i+1) }
	c.Ledger.Listen, c.Ledger.Peers = d.addresses[0], others(0)
	d.nodes = map[string][]string{}
	for i, code := range demoMembers[1:] {
		args := []string{"--node", folders[i+1], "--listen", d.addresses[i+1]}
		for _, peer := range others(i + 1) {
			args = append(args, "--peer", peer)
		}
		d.nodes[code] = args
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
	other, err := readMember(d.second, keys.Unencrypted())
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
