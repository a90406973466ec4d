package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/client"
	"ampoule/internal/keys"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// nodeVoteCmds are what a member does with its online key: all of them are
// transactions, which any node takes.
type nodeVoteCmds struct {
	Propose nodeProposeCmd `cmd:"" help:"Put something to the vote of the members."`
	Vote    nodeVoteCmd    `cmd:"" help:"Vote on a proposal."`
	Leave   nodeLeaveCmd   `cmd:"" help:"Propose that this member leaves."`
	Suspend nodeSuspendCmd `cmd:"" help:"Suspend an issuer, device, verifier or witness: one's own at once, another's by an emergency."`
}

// actorFlags say by which key somebody acts, and whom to ask.
type actorFlags struct {
	secretFlags
	Notary  string        `required:"" placeholder:"A" help:"Address of a notary, such as https://notary.example."`
	Key     []string      `required:"" sep:"none" placeholder:"F" help:"Key file of who acts; two, where it signs with two."`
	Chain   string        `placeholder:"HEX" help:"SHA-256 of the genesis. The notary says it otherwise, and could name another ledger."`
	Wait    bool          `help:"Wait until it is logged and cosigned, and submit it again while it is not."`
	Timeout time.Duration `default:"2m" placeholder:"D" help:"How long to wait (default: 2m)."`
	JSON    bool          `name:"json" help:"As one JSON object."`
}

// memberFlags say which member acts.
type memberFlags struct {
	Member string `required:"" placeholder:"OID" help:"Identifier of the member that acts."`
	actorFlags
}

func (c *memberFlags) send(t terminal, body state.Body, others ...crypto.Signer) error {
	oid, err := state.ParseOID(c.Member)
	if err != nil {
		return usageError("--member: %w", err)
	}
	_, err = c.actorFlags.send(t, oid, body, others...)
	return err
}

type shownSubmitted struct {
	What     string `json:"what"`
	ID       string `json:"id"`   // of a proposal, by which to vote
	Leaf     string `json:"leaf"` // by which to ask for it
	Seq      uint64 `json:"seq"`
	Logged   bool   `json:"logged"`
	Index    uint64 `json:"index,omitempty"`
	Cosigned bool   `json:"cosigned"`
}

// service is the notary.
func (c *actorFlags) service() (*client.Client, error) {
	service, err := client.New(c.Notary)
	if err != nil {
		return nil, usageError("--notary: %w", err)
	}
	if c.Chain != "" {
		if service.Chain, err = hashFlag("--chain", c.Chain); err != nil {
			return nil, err
		}
	}
	return service, nil
}

// send signs the next transaction of an actor, submits it, and returns it. Others
// sign with it: keys that it registers.
func (c *actorFlags) send(t terminal, oid state.OID, body state.Body, others ...crypto.Signer) ([]byte, error) {
	// Step 1: who acts.
	service, err := c.service()
	if err != nil {
		return nil, err
	}
	lock, err := c.lock()
	if err != nil {
		return nil, err
	}
	var signers []crypto.Signer
	for _, path := range c.Key {
		k, err := keys.Load(path, lock)
		if err != nil {
			return nil, exitError{exitUsage, err}
		}
		signers = append(signers, k.Signer)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	actor, err := service.Actor(ctx, oid)
	if err != nil {
		return nil, exitError{exitUndecided, err}
	}
	// Step 2: sign, with keys that are the actor's.
	for i, s := range signers {
		k, err := state.NewKey(s.Public())
		if err != nil {
			return nil, usageError("%s: %w", c.Key[i], err)
		}
		if !slices.Contains(actor.Keys, k.KID) {
			return nil, usageError("%s: not a key of %s", c.Key[i], oid)
		}
	}
	tx := &state.Tx{Chain: actor.Chain, Actor: oid, Seq: actor.Seq + 1, ValidUntil: actor.Height + actor.MaxLife, Body: body}
	id := tlog.Hash(sha256.Sum256(tx.Payload()))
	data, err := client.Sign(actor, oid, body, append(signers, others...)...)
	if err != nil {
		return nil, exitError{exitUsage, err}
	}
	// Step 3: hand in, and wait.
	leaf := tlog.LeafHash(data)
	if err := service.Submit(ctx, data); err != nil {
		return nil, refusedOr(err)
	}
	shown := shownSubmitted{What: string(body.Kind()), ID: hex.EncodeToString(id[:]), Leaf: hex.EncodeToString(leaf[:]), Seq: tx.Seq}
	if c.Wait {
		if err := service.Wait(ctx, data, time.Second); errors.Is(err, context.DeadlineExceeded) {
			return nil, exitError{exitUndecided, fmt.Errorf("after %s leaf %x is not logged and cosigned; it may be later: %w", c.Timeout, leaf, err)}
		} else if err != nil {
			return nil, refusedOr(err)
		}
		s, err := service.Standing(ctx, leaf)
		if err != nil {
			return nil, exitError{exitUndecided, err}
		}
		shown.Logged, shown.Index, shown.Cosigned = s.Logged, s.Index, s.Cosigned
	}
	if c.JSON {
		writeJSON(t.out, shown)
		return data, nil
	}
	line := func(name string, value any) { fmt.Fprintf(t.out, "%-10s %v\n", name, value) }
	line("submitted", shown.What)
	if _, ok := body.(*state.Propose); ok {
		line("proposal", shown.ID)
	}
	line("leaf", shown.Leaf)
	if shown.Cosigned {
		line("logged", fmt.Sprintf("entry %d, cosigned", shown.Index))
	}
	return data, nil
}

// refusedOr tells what the ledger has refused from what could not be handed in.
func refusedOr(err error) error {
	if word := state.Reason(err); word != "refused" {
		return exitError{exitNotValid, err}
	}
	return exitError{exitUndecided, err}
}

type nodeProposeCmd struct {
	Admit      proposeAdmitCmd      `cmd:"" help:"That a member is taken in."`
	Remove     proposeRemoveCmd     `cmd:"" help:"That a member is removed."`
	Suspend    proposeSuspendCmd    `cmd:"" help:"That a member is suspended."`
	Resume     proposeResumeCmd     `cmd:"" help:"That a member that is suspended is a member again."`
	Validators proposeValidatorsCmd `cmd:"" help:"A change of the validators."`
	Trust      proposeTrustCmd      `cmd:"" help:"A change of what the ledger knows of the trust network."`
	Params     proposeParamsCmd     `cmd:"" help:"Other parameters."`
	Emergency  proposeEmergencyCmd  `cmd:"" help:"That an entry of another member is suspended at once, or that this ends."`
	Upgrade    proposeUpgradeCmd    `cmd:"" help:"That other rules hold from a height on."`
}

type proposeMember struct {
	memberFlags
	OID string `arg:"" name:"oid" help:"Identifier of the member."`
}

func (c *proposeMember) send(t terminal, action uint64) error {
	oid, err := state.ParseOID(c.OID)
	if err != nil {
		return usageError("%s: %w", c.OID, err)
	}
	return c.memberFlags.send(t, &state.Propose{Proposal: &state.Membership{Action: action, OID: oid}})
}

type proposeAdmitCmd struct {
	memberFlags
	Statement string `arg:"" name:"statement" help:"Its statement, which 'node init' made."`
}

func (c *proposeAdmitCmd) Run(t terminal) error {
	s, data, err := readStatement(c.Statement)
	if err != nil {
		return err
	}
	return c.send(t, &state.Propose{Proposal: &state.Membership{Action: state.Admit, OID: s.Member.OID, Statement: data}})
}

// readStatement reads a member's statement, and returns its bytes as well.
func readStatement(file string) (*state.Statement, []byte, error) {
	data, err := readInput(file, nil)
	if err != nil {
		return nil, nil, exitError{exitUsage, err}
	}
	s, err := state.ParseStatement(data)
	if err != nil {
		return nil, nil, usageError("%s: %w", file, err)
	}
	return s, data, nil
}

type proposeTrustCmd struct {
	memberFlags
	Change []string `arg:"" name:"participant" help:"CODE=F,F: a participant with the certificates of its signing authorities, or CODE= where it is out."`
}

func (c *proposeTrustCmd) Run(t terminal) error {
	var change state.TrustChange
	for _, text := range c.Change {
		code, files, ok := strings.Cut(text, "=")
		if !ok {
			return usageError("%s: CODE=F,F or CODE=", text)
		}
		p := state.Participant{Code: code}
		for _, file := range strings.FieldsFunc(files, func(r rune) bool { return r == ',' }) {
			der, err := readAuthority(file)
			if err != nil {
				return err
			}
			p.SCAs = append(p.SCAs, sha256.Sum256(der))
		}
		slices.SortFunc(p.SCAs, func(a, b tlog.Hash) int { return bytes.Compare(a[:], b[:]) })
		change = append(change, p)
	}
	slices.SortFunc(change, func(a, b state.Participant) int { return strings.Compare(a.Code, b.Code) })
	return c.send(t, &state.Propose{Proposal: &change})
}

type proposeRemoveCmd struct{ proposeMember }

func (c *proposeRemoveCmd) Run(t terminal) error { return c.send(t, state.RemoveMember) }

type proposeSuspendCmd struct{ proposeMember }

func (c *proposeSuspendCmd) Run(t terminal) error { return c.send(t, state.SuspendMember) }

type proposeResumeCmd struct{ proposeMember }

func (c *proposeResumeCmd) Run(t terminal) error { return c.send(t, state.ResumeMember) }

type proposeValidatorsCmd struct {
	memberFlags
	Change []string `arg:"" name:"change" help:"The statement of a member whose node is to vote, or OID=POWER:TYPE:HEX: the member, its power (0 takes it out), Ed25519 or ML-DSA-65, and the key with which its node votes."`
}

func (c *proposeValidatorsCmd) Run(t terminal) error {
	var set state.Validators
	for _, text := range c.Change {
		name, rest, ok := strings.Cut(text, "=")
		if !ok {
			s, _, err := readStatement(text)
			if err != nil {
				return err
			}
			set = append(set, s.Validator)
			continue
		}
		oid, err := state.ParseOID(name)
		if err != nil {
			return usageError("%s: OID=POWER:TYPE:HEX", text)
		}
		parts := strings.Split(rest, ":")
		power, err := strconv.ParseUint(parts[0], 10, 16)
		if err != nil || len(parts) != 3 {
			return usageError("%s: OID=POWER:TYPE:HEX", text)
		}
		v := state.Validator{Member: oid, Power: power}
		switch parts[1] {
		case "Ed25519":
			v.Type = state.ConsensusEd25519
		case "ML-DSA-65":
			v.Type = state.ConsensusMLDSA65
		default:
			return usageError("%s: Ed25519 or ML-DSA-65", text)
		}
		key, err := hex.DecodeString(parts[2])
		if err != nil {
			return usageError("%s: the key in hexadecimal", text)
		}
		v.Key = string(key)
		set = append(set, v)
	}
	slices.SortFunc(set, func(a, b state.Validator) int { return strings.Compare(string(a.Member), string(b.Member)) })
	return c.send(t, &state.Propose{Proposal: &set})
}

type proposeParamsCmd struct {
	memberFlags
	File string `arg:"" name:"file" help:"All parameters, as a JSON object with their names in ledger-transactions.md."`
}

func (c *proposeParamsCmd) Run(t terminal) error {
	data, err := readInput(c.File, t.in)
	if err != nil {
		return exitError{exitUsage, err}
	}
	p, err := parseParams(data)
	if err != nil {
		return usageError("%s: %w", c.File, err)
	}
	return c.send(t, &state.Propose{Proposal: &state.NewParams{Params: p}})
}

// parseParams reads all parameters: one that is left out would be zero, and nobody
// would have voted on that.
func parseParams(data []byte) (p state.Params, err error) {
	fields := map[string]*uint64{
		"maxLife": &p.MaxLife, "blockBytes": &p.BlockBytes, "blockWork": &p.BlockWork, "reserved": &p.Reserved,
		"quotaWindow": &p.QuotaWindow, "quotaTxs": &p.QuotaTxs, "quotaBytes": &p.QuotaBytes, "quotaUrgent": &p.QuotaUrgent,
		"epochBlocks": &p.EpochBlocks, "voteSeconds": &p.VoteSeconds, "emergencySeconds": &p.EmergencySeconds, "emergencyMembers": &p.EmergencyMembers,
		"openProposals": &p.OpenProposals, "minClass": &p.MinClass,
	}
	var given map[string]uint64
	if err := json.Unmarshal(data, &given); err != nil {
		return p, err
	}
	for name, value := range given {
		field, ok := fields[name]
		if !ok {
			return p, fmt.Errorf("there is no parameter %q", name)
		}
		*field = value
		delete(fields, name)
	}
	for name := range fields {
		return p, fmt.Errorf("%s is missing: give all of them", name)
	}
	return p, nil
}

type proposeEmergencyCmd struct {
	memberFlags
	OID  string `arg:"" name:"oid" help:"Identifier of the entry."`
	Lift bool   `help:"End its suspension."`
}

func (c *proposeEmergencyCmd) Run(t terminal) error {
	oid, err := state.ParseOID(c.OID)
	if err != nil {
		return usageError("%s: %w", c.OID, err)
	}
	return c.send(t, &state.Propose{Proposal: &state.Emergency{OID: oid, Suspend: !c.Lift}})
}

type proposeUpgradeCmd struct {
	memberFlags
	Height    uint64   `required:"" placeholder:"N" help:"Height at which the other rules begin to hold."`
	Version   uint64   `required:"" placeholder:"N" help:"Version of the rules; 0 takes an upgrade back that was voted."`
	Binary    []string `sep:"none" placeholder:"HEX" help:"SHA-256 of a program that knows them."`
	Migration string   `placeholder:"HEX" help:"SHA-256 of what that program does first."`
}

func (c *proposeUpgradeCmd) Run(t terminal) error {
	up := &state.Upgrade{Height: c.Height, Version: c.Version}
	for _, text := range c.Binary {
		h, err := hashFlag("--binary", text)
		if err != nil {
			return err
		}
		up.Binaries = append(up.Binaries, h)
	}
	if c.Migration != "" {
		var err error
		if up.Migration, err = hashFlag("--migration", c.Migration); err != nil {
			return err
		}
	}
	return c.send(t, &state.Propose{Proposal: up})
}

func hashFlag(flag, text string) (tlog.Hash, error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != tlog.HashSize {
		return tlog.Hash{}, usageError("%s: 64 hexadecimal digits", flag)
	}
	return tlog.Hash(data), nil
}

type nodeVoteCmd struct {
	memberFlags
	Proposal string `arg:"" name:"proposal" help:"The proposal, in hexadecimal."`
	Answer   string `arg:"" name:"answer" enum:"yes,no" help:"${enum}."`
}

func (c *nodeVoteCmd) Run(t terminal) error {
	id, err := hashFlag("proposal", c.Proposal)
	if err != nil {
		return err
	}
	return c.send(t, &state.Vote{Proposal: id, Yes: c.Answer == "yes"})
}

type nodeLeaveCmd struct{ memberFlags }

// Run proposes one's own removal: keys and quotas of a member end by vote, so that
// nobody can leave what it sponsors behind without the others knowing.
func (c *nodeLeaveCmd) Run(t terminal) error {
	oid, err := state.ParseOID(c.Member)
	if err != nil {
		return usageError("--member: %w", err)
	}
	return c.send(t, &state.Propose{Proposal: &state.Membership{Action: state.RemoveMember, OID: oid}})
}

type nodeSuspendCmd struct {
	memberFlags
	OID       string `arg:"" name:"oid" help:"Identifier of the entry."`
	Role      string `enum:"issuer,device,verifier,witness" default:"issuer" help:"What it is: ${enum}."`
	Emergency bool   `help:"It is another member's: propose an emergency."`
}

func (c *nodeSuspendCmd) Run(t terminal) error {
	oid, err := state.ParseOID(c.OID)
	if err != nil {
		return usageError("%s: %w", c.OID, err)
	}
	if c.Emergency {
		return c.send(t, &state.Propose{Proposal: &state.Emergency{OID: oid, Suspend: true}})
	}
	role := map[string]state.Role{"issuer": state.Issuer, "device": state.Device, "verifier": state.Verifier, "witness": state.Witness}[c.Role]
	return c.send(t, &state.Suspend{Role: role, OID: oid})
}
