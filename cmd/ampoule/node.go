package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/internal/comet"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/internal/logside"
	"ampoule/internal/tiles"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

type nodeCmd struct {
	Init    nodeInitCmd    `cmd:"" help:"Make the keys of a member and its node, and the statement that the others take it in by."`
	Genesis nodeGenesisCmd `cmd:"" help:"Make the genesis of a ledger from the statements of its first members."`
	Join    nodeJoinCmd    `cmd:"" help:"Make a node follow a ledger; the members may let it vote later."`
	Status  nodeStatusCmd  `cmd:"" help:"Show where the node in a folder stands."`
	Policy  nodePolicyCmd  `cmd:"" help:"Write the policy by which members and witnesses vouch for the log together."`
	Issuer  nodeIssuerCmd  `cmd:"" help:"Register what a service of this member writes under, and make its key."`
	Export  nodeExportCmd  `cmd:"" help:"Write a node's state and all its blocks to a new folder."`
	Replay  nodeReplayCmd  `cmd:"" help:"Apply all blocks again, and compare what comes out at every height."`
	nodeVoteCmds
}

// The keys of a member, in the folder of its node. The engine has its own.
const (
	memberKey     = "keys/member.pem"
	memberRoot    = "keys/root.pem" // to be taken off the machine
	memberSCA     = "keys/sca.pem"  // of a demonstration only
	logKey        = "keys/log.pem"
	notaryKey     = "keys/notary.pem"
	statementFile = "member.statement"
	keysFile      = "member.keys" // public keys of the notary
	scaFile       = "sca.crt"
)

type nodeInitCmd struct {
	secretFlags
	Dir       string `arg:"" name:"folder" help:"Folder of the node to make; it must not exist."`
	OID       string `name:"oid" required:"" placeholder:"1.2.3" help:"Identifier of the member."`
	Code      string `required:"" placeholder:"CCC" help:"Code of the participant in the trust network: two or three capitals."`
	SCA       string `name:"sca" placeholder:"F" help:"Certificate of its signing authority, PEM or DER. Without one an authority is made, for demonstrations."`
	Provider  string `placeholder:"NAME" help:"Who hosts the node; only the hash of it is told. Nodes of one provider may not have a third of the votes. The code is taken otherwise."`
	Observer  bool   `help:"A member without a vote."`
	Consensus string `enum:"Ed25519,ML-DSA-65" default:"Ed25519" help:"Key with which the node votes: ${enum}."`
}

func (c *nodeInitCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.Dir); err == nil {
		return usageError("%s exists, and keys are never overwritten", c.Dir)
	}
	oid, err := state.ParseOID(c.OID)
	if err != nil {
		return usageError("--oid: %w", err)
	}
	// Step 1: the signing authority.
	authority, made, err := c.authority()
	if err != nil {
		return err
	}
	provider := c.Provider
	if provider == "" {
		provider = c.Code
	}
	// Step 2: the keys.
	if err := os.MkdirAll(filepath.Join(c.Dir, "keys"), 0o700); err != nil {
		return exitError{exitUsage, err}
	}
	_, member, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	_, root, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	_, signsLog, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signsRoots, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	for name, key := range map[string]*keys.Key{memberKey: {Signer: member}, memberRoot: {Signer: root}, logKey: {Signer: signsLog}, notaryKey: {Signer: signsRoots}, memberSCA: made} {
		if key != nil {
			if err := keys.Save(filepath.Join(c.Dir, name), key, lock); err != nil {
				return err
			}
		}
	}
	typ := uint64(state.ConsensusEd25519)
	if c.Consensus == "ML-DSA-65" {
		typ = state.ConsensusMLDSA65
	}
	identity, err := comet.MakeKeys(c.Dir, typ)
	if err != nil {
		return err
	}
	// Step 3: what is told to the others.
	online, err := state.NewKey(member.Public())
	if err != nil {
		return err
	}
	offline, err := state.NewKey(root.Public())
	if err != nil {
		return err
	}
	s := &state.Statement{
		Member: state.Member{OID: oid, Code: c.Code, SCA: sha256.Sum256(authority), Provider: sha256.Sum256([]byte(provider)),
			Voting: !c.Observer, Keys: []state.Key{online}, Root: offline},
		Validator: state.Validator{Member: oid, Type: identity.Type, Key: identity.Key, Power: 1},
	}
	statement, err := s.Sign(rand.Reader, member, root)
	if err != nil {
		return err
	}
	if _, err := state.ParseStatement(statement); err != nil {
		return exitError{exitUsage, err}
	}
	cosigner, err := loadOrMakeCosigner(filepath.Join(c.Dir, notaryCosignerKey), lock)
	if err != nil {
		return err
	}
	vouches := notaryKeys{OID: oid, Code: c.Code, Log: signsLog.Public(), Cosigner: cosigner.Public(), Receipts: signsRoots.Public()}
	told, err := vouches.encode()
	if err != nil {
		return err
	}
	files := map[string][]byte{statementFile: statement, keysFile: told}
	if made != nil {
		files[scaFile] = certificatePEM(made)
	}
	for name, data := range files {
		if err := keep.Replace(filepath.Join(c.Dir, name), data, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, `%[1]s/keys/              keys of the member; take root.pem off this machine, and keep it safe
%[1]s/comet/             keys of the node
%[1]s/%[2]s   for the other members
%[1]s/%[5]s        for the other members, too: keys by which the log is vouched for
statement  %[3]x
peer       %[4]s@HOST:PORT

alone:     ampoule node genesis %[1]s
`, c.Dir, statementFile, s.Digest(), identity.ID, keysFile)
	if made != nil {
		fmt.Fprintf(t.out, "           %s/%s is an authority for demonstrations, and trusted by nobody\n", c.Dir, scaFile)
	}
	return nil
}

// authority is the certificate of the signing authority that the member names, DER.
// Without one it is made, as that of a demonstration participant.
func (c *nodeInitCmd) authority() (der []byte, made *keys.Key, err error) {
	if c.SCA != "" {
		der, err := readAuthority(c.SCA)
		return der, nil, err
	}
	country := c.Code
	if two, ok := cert.Alpha2(country); ok {
		country = two
	} else if len(country) != 2 {
		country = "XA"
	}
	const name = "Demonstration Health Authority"
	sca, err := keys.NewSCA(keys.Participant{Country: country, Organization: name, Name: name + " SCA"}, time.Now(), rand.Reader)
	if err != nil {
		return nil, nil, usageError("--code %s: %w", c.Code, err)
	}
	return sca.Key.Certificate().Raw, sca.Key, nil
}

// readAuthority reads a certificate, PEM or DER, and returns it as DER.
func readAuthority(file string) ([]byte, error) {
	data, err := readInput(file, nil)
	if err != nil {
		return nil, usageError("certificate: %w", err)
	}
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	certificate, err := x509.ParseCertificate(data)
	if err != nil {
		return nil, usageError("certificate %s: %w", file, err)
	}
	return certificate.Raw, nil
}

type nodeGenesisCmd struct {
	Dir        string   `arg:"" name:"folder" help:"Folder of one's own node."`
	Members    []string `arg:"" optional:"" name:"statement" help:"Statements of the members, one's own among them; its own, where there is none."`
	Federation string   `placeholder:"OID" help:"Identifier of the federation. The first member's is taken otherwise."`
	Validator  []string `placeholder:"CODE" help:"Members whose nodes vote from the beginning: one, or four and more. All, where not said."`
	Time       string   `placeholder:"T" help:"Time of the genesis (RFC 3339); now otherwise. All who make it must say the same."`
}

func (c *nodeGenesisCmd) Run(t terminal) error {
	if len(c.Members) == 0 {
		c.Members = []string{filepath.Join(c.Dir, statementFile)}
	}
	clock, err := parseClock(c.Time)
	if err != nil {
		return err
	}
	g := &state.Genesis{Time: uint64(clock().Unix()), Params: state.DefaultParams}
	trusted := map[string][]tlog.Hash{}
	for _, file := range c.Members {
		data, err := readInput(file, nil)
		if err != nil {
			return exitError{exitUsage, err}
		}
		s, err := state.ParseStatement(data)
		if err != nil {
			return usageError("%s: %w", file, err)
		}
		fmt.Fprintf(t.out, "member     %s  %s  statement %x\n", s.Member.Code, s.Member.OID, s.Digest())
		g.Members = append(g.Members, s.Member)
		if s.Member.Voting && (len(c.Validator) == 0 || slices.Contains(c.Validator, s.Member.Code)) {
			g.Validators = append(g.Validators, s.Validator)
		}
		if known := trusted[s.Member.Code]; !slices.Contains(known, s.Member.SCA) {
			trusted[s.Member.Code] = append(known, s.Member.SCA)
		}
	}
	g.Federation = g.Members[0].OID
	if c.Federation != "" {
		if g.Federation, err = state.ParseOID(c.Federation); err != nil {
			return usageError("--federation: %w", err)
		}
	}
	slices.SortFunc(g.Members, func(a, b state.Member) int { return strings.Compare(string(a.OID), string(b.OID)) })
	slices.SortFunc(g.Validators, func(a, b state.Validator) int { return strings.Compare(string(a.Member), string(b.Member)) })
	for code, authorities := range trusted {
		slices.SortFunc(authorities, func(a, b tlog.Hash) int { return bytes.Compare(a[:], b[:]) })
		g.Trust = append(g.Trust, state.Participant{Code: code, SCAs: authorities})
	}
	slices.SortFunc(g.Trust, func(a, b state.Participant) int { return strings.Compare(a.Code, b.Code) })
	return joinLedger(t, c.Dir, g.Encode())
}

type nodeJoinCmd struct {
	Dir     string        `arg:"" name:"folder" help:"Folder of the node; keys that it lacks are made."`
	Genesis string        `required:"" placeholder:"F" help:"Genesis of the ledger. Compare its SHA-256 with what the members have published."`
	From    string        `placeholder:"A" help:"Address of a service with a node, such as https://notary.example: begin with what the ledger has at its newest snapshot. Otherwise the node fetches all blocks from its peers."`
	Policy  string        `placeholder:"F" help:"With --from: the policy (C2SP tlog-policy) that a checkpoint must satisfy, by which all that is fetched is checked."`
	MaxAge  time.Duration `default:"24h" placeholder:"D" help:"With --from: how old that checkpoint may be (default: 24h)."`
	Timeout time.Duration `default:"1h" placeholder:"D" help:"With --from: how long it may take (default: 1h)."`
}

func (c *nodeJoinCmd) Run(t terminal) error {
	data, err := readInput(c.Genesis, nil)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if (c.From == "") != (c.Policy == "") {
		return usageError("--from and --policy belong together")
	}
	if c.From == "" {
		return joinLedger(t, c.Dir, data)
	}
	text, err := readInput(c.Policy, nil)
	if err != nil {
		return exitError{exitUsage, err}
	}
	policy, err := tlog.ParsePolicy(text)
	if err != nil {
		return usageError("%s: %w", c.Policy, err)
	}
	origin, err := logside.NewOrigin(c.From)
	if err != nil {
		return usageError("--from: %w", err)
	}
	if err := joinLedger(t, c.Dir, data); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	joined, err := comet.Join(ctx, comet.Joining{Dir: c.Dir, Policy: policy, From: origin, Now: time.Now(), MaxAge: c.MaxAge})
	switch {
	case errors.Is(err, comet.ErrJoined):
		return exitError{exitUsage, err}
	case err != nil && (errors.Is(err, comet.ErrNoSnapshot) || format.Reason(err, "") == ""):
		return exitError{exitUndecided, err}
	case err != nil:
		return exitError{exitNotValid, err}
	}
	fmt.Fprintf(t.out, "joined     at height %d with %d entries, under the checkpoint of %d\n", joined.Height, joined.Size, joined.Checkpoint.Size)
	return nil
}

// joinLedger makes a folder one of a ledger's node.
func joinLedger(t terminal, dir string, genesis []byte) error {
	if _, err := state.New(genesis); err != nil {
		return exitError{exitUsage, err}
	}
	path := filepath.Join(dir, comet.GenesisFile)
	switch old, err := os.ReadFile(path); {
	case err == nil && !bytes.Equal(old, genesis):
		return usageError("%s is of another ledger, and is never overwritten", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	identity, err := comet.MakeKeys(dir, state.ConsensusEd25519)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if err := keep.Replace(path, genesis, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "genesis    %s\nSHA-256    %x\npeer       %s@HOST:PORT\n\nserve:     ampoule serve --set ledger.dir=%s\n",
		path, sha256.Sum256(genesis), identity.ID, dir)
	return nil
}

type nodeStatusCmd struct {
	Dir   string `arg:"" name:"folder" type:"existingdir" help:"Folder of the node."`
	Check bool   `help:"Read the log whole, and hold every entry against its root."`
	JSON  bool   `name:"json" help:"As one JSON object."`
}

func (c *nodeStatusCmd) Run(t terminal) error {
	s, err := comet.Stored(context.Background(), c.Dir)
	if err != nil {
		return exitError{exitUsage, err}
	}
	identity, err := comet.ReadIdentity(c.Dir)
	if err != nil {
		return exitError{exitUsage, err}
	}
	validators := s.Validators()
	votes := slices.ContainsFunc(validators, func(v state.Validator) bool { return v.Key == identity.Key })
	chain, root, app := s.Chain(), s.LogRoot(), s.AppHash()
	status := []struct {
		name  string
		value any
	}{
		{"chain", hex.EncodeToString(chain[:])}, {"height", s.Height()}, {"time", time.Unix(int64(s.Time()), 0).UTC().Format(time.RFC3339)},
		{"size", s.LogSize()}, {"root", hex.EncodeToString(root[:])}, {"app", hex.EncodeToString(app[:])},
		{"validators", len(validators)}, {"votes", votes}, {"peer", identity.ID},
	}
	if c.JSON {
		object := map[string]any{}
		for _, line := range status {
			object[line.name] = line.value
		}
		writeJSON(t.out, object)
	} else {
		for _, line := range status {
			fmt.Fprintf(t.out, "%-10s %v\n", line.name, line.value)
		}
	}
	if !c.Check || s.Height() == 0 {
		return nil
	}
	err = tiles.Check(os.DirFS(filepath.Join(c.Dir, comet.LogFolder)), s.LogSize(), root)
	if err == nil {
		err = comet.CheckIndex(context.Background(), c.Dir, s.LogSize())
	}
	if err != nil {
		return exitError{exitNotValid, err}
	}
	if !c.JSON {
		fmt.Fprintf(t.out, "%-10s every entry is under the root, and found by its hash\n", "log")
	}
	return nil
}

// What is in an export, besides the genesis.
const (
	blocksFile   = "blocks"
	snapshotFile = "snapshot.cbor"
)

type nodeExportCmd struct {
	Dir string `arg:"" name:"folder" type:"existingdir" help:"Folder of the node, which must not run."`
	Out string `arg:"" help:"Folder to make; it must not exist."`
}

// Run writes the genesis, the blocks, each after its length in four bytes, most
// significant first, and the snapshot that they make.
func (c *nodeExportCmd) Run(t terminal) error {
	genesis, err := comet.ReadGenesis(c.Dir)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if err := os.Mkdir(c.Out, 0o755); err != nil {
		return exitError{exitUsage, err}
	}
	file, err := os.Create(filepath.Join(c.Out, blocksFile))
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	last, err := state.New(genesis)
	if err != nil {
		return exitError{exitUsage, err}
	}
	err = comet.Blocks(c.Dir, func(b *state.Block, s *state.State) error {
		data := b.Encode()
		last = s
		_, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data))))
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	})
	if err != nil {
		return exitError{exitUsage, err}
	}
	if err := errors.Join(w.Flush(), file.Sync()); err != nil {
		return err
	}
	for name, data := range map[string][]byte{comet.GenesisFile: genesis, snapshotFile: last.Snapshot()} {
		if err := keep.Replace(filepath.Join(c.Out, name), data, 0o644); err != nil {
			return err
		}
	}
	app := last.AppHash()
	fmt.Fprintf(t.out, "%d blocks, %d entries, app %x\n", last.Height(), last.LogSize(), app)
	return nil
}

type nodeReplayCmd struct {
	Dir string `arg:"" name:"folder" type:"existingdir" help:"Folder of a node, which must not run, or of an export."`
}

func (c *nodeReplayCmd) Run(t terminal) error {
	begun := time.Now()
	replay := c.node
	if _, err := os.Stat(filepath.Join(c.Dir, blocksFile)); err == nil {
		replay = c.export
	}
	s, err := replay()
	switch {
	case errors.Is(err, comet.ErrReplay):
		return exitError{exitNotValid, err}
	case err != nil:
		return exitError{exitUsage, err}
	}
	app := s.AppHash()
	fmt.Fprintf(t.out, "%d blocks, %d entries, app %x: the same, in %s\n", s.Height(), s.LogSize(), app, time.Since(begun).Round(time.Millisecond))
	return nil
}

// node replays the blocks of a node's folder. Each block has the application hash of
// the one before; what the last one makes is in the state on the disk.
func (c *nodeReplayCmd) node() (*state.State, error) {
	stored, err := comet.Stored(context.Background(), c.Dir)
	if err != nil {
		return nil, err
	}
	found, last := stored.Height() == 0, stored
	err = comet.Blocks(c.Dir, func(b *state.Block, s *state.State) error {
		if last = s; b.Height != stored.Height() {
			return nil
		}
		found = true
		if s.AppHash() != stored.AppHash() || !bytes.Equal(s.Snapshot(), stored.Snapshot()) {
			return fmt.Errorf("at height %d the state on the disk is another: %w", b.Height, comet.ErrReplay)
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("the blocks end before height %d of the state on the disk: %w", stored.Height(), comet.ErrReplay)
	}
	return last, err
}

// export replays the blocks of an export, which must make its snapshot.
func (c *nodeReplayCmd) export() (*state.State, error) {
	genesis, err := comet.ReadGenesis(c.Dir)
	if err != nil {
		return nil, err
	}
	snapshot, err := os.ReadFile(filepath.Join(c.Dir, snapshotFile))
	if err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(c.Dir, blocksFile))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := bufio.NewReader(file)
	var broken error
	s, err := state.Replay(genesis, func(yield func([]byte) bool) {
		for {
			var block []byte
			if block, broken = readBlock(r); broken != nil || !yield(block) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%v: %w", err, comet.ErrReplay)
	case broken != io.EOF:
		return nil, fmt.Errorf("after block %d: %v: %w", s.Height(), broken, comet.ErrReplay)
	case !bytes.Equal(s.Snapshot(), snapshot):
		return nil, fmt.Errorf("the blocks make another snapshot: %w", comet.ErrReplay)
	}
	return s, nil
}

// maxBlock is more than a block may have.
const maxBlock = 128 << 20

// readBlock reads the next block of an export; the end is io.EOF.
func readBlock(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxBlock {
		return nil, fmt.Errorf("a block of %d bytes", n)
	}
	var block bytes.Buffer
	if _, err := io.CopyN(&block, r, int64(n)); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return block.Bytes(), nil
}
