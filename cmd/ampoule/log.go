package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ampoule/format"
	"ampoule/internal/httpapi"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/internal/logside"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

type logCmd struct {
	Checkpoint logCheckpointCmd `cmd:"" help:"Show the checkpoint of a log, and who has signed it."`
	Prove      logProveCmd      `cmd:"" help:"Make the proof of an entry, as a file."`
	Verify     logVerifyCmd     `cmd:"" help:"Verify the proof of an entry. Nobody is asked."`
	Fsck       logFsckCmd       `cmd:"" help:"Read a log whole, and hold every entry and tile against its checkpoint."`
	Anchor     logAnchorCmd     `cmd:"" help:"Anchor the digest of something published: a trust list, a status list, keys."`
	Follow     logFollowCmd     `cmd:"" help:"Watch logs: raise split views, rollbacks, equivocation, silence."`
	Witness    logWitnessCmd    `cmd:"" help:"Cosign the checkpoints of logs, as a witness outside their federation."`
	Key        logKeyCmd        `cmd:"" help:"Make the key of a witness or cosigner, or show how a policy names it."`
}

// logPolicyFlag is whose signatures count.
type logPolicyFlag struct {
	Policy string `required:"" placeholder:"F" help:"Whose signatures count: logs, witnesses and quorum (C2SP tlog-policy)."`
}

func (f *logPolicyFlag) read() (*tlog.Policy, error) {
	data, err := readBounded(f.Policy, nil, tlog.MaxPolicy)
	if err != nil {
		return nil, usageError("--policy: %w", err)
	}
	p, err := tlog.ParsePolicy(data)
	if err != nil {
		return nil, usageError("--policy %s: %w", f.Policy, err)
	}
	return p, nil
}

// logFlags name a log and whose signatures count.
type logFlags struct {
	logPolicyFlag
	Log string `required:"" placeholder:"L" help:"Folder or address of the log, such as https://notary.example/ledger."`
}

func (f *logFlags) open() (notary.Source, *tlog.Policy, error) {
	p, err := f.read()
	if err != nil {
		return nil, nil, err
	}
	s, err := logside.Open(f.Log)
	if err != nil {
		return nil, nil, usageError("--log: %w", err)
	}
	return s, p, nil
}

// shownCheckpoint is a checkpoint and what the policy says of it.
type shownCheckpoint struct {
	Origin    string            `json:"origin"`
	Size      uint64            `json:"size"`
	Root      string            `json:"root"`
	Quorum    bool              `json:"quorum"`
	Reason    string            `json:"reason,omitempty"`
	Time      string            `json:"time,omitempty"`
	Witnesses []shownCosigner   `json:"witnesses"`
	Groups    []shownGroupState `json:"groups,omitempty"`
	Index     *uint64           `json:"index,omitempty"`
	// Of an entry that its proof carries.
	Actor string `json:"actor,omitempty"`
	What  string `json:"what,omitempty"`
	Batch string `json:"batch,omitempty"` // root of the batch
	// SHA-256 of the address of a list and of the list.
	List   string `json:"list,omitempty"`
	Digest string `json:"digest,omitempty"`
}

type shownCosigner struct {
	Name string `json:"name"`
	Time string `json:"time,omitempty"`
}

type shownGroupState struct {
	Name string `json:"name"`
	Have int    `json:"have"`
	Need int    `json:"need"`
}

func newShownCheckpoint(c *tlog.Cosigned, err error) shownCheckpoint {
	s := shownCheckpoint{Origin: c.Checkpoint.Origin, Size: c.Checkpoint.Size, Root: hex.EncodeToString(c.Checkpoint.Root[:]), Quorum: c.Quorum, Witnesses: []shownCosigner{}}
	if err != nil {
		s.Reason = format.Reason(err, "refused")
	}
	if at := notary.Median(c); !at.IsZero() {
		s.Time = at.Format(time.RFC3339)
	}
	for _, w := range c.Witnesses {
		one := shownCosigner{Name: w.Name}
		if w.Time > 0 {
			one.Time = time.Unix(w.Time, 0).UTC().Format(time.RFC3339)
		}
		s.Witnesses = append(s.Witnesses, one)
	}
	for _, g := range c.Groups {
		s.Groups = append(s.Groups, shownGroupState{g.Name, g.Have, g.Need})
	}
	return s
}

// print shows a checkpoint as lines, or as JSON.
func (s shownCheckpoint) print(t terminal, asJSON bool) {
	if asJSON {
		writeJSON(t.out, s)
		return
	}
	line := func(name string, value any) { fmt.Fprintf(t.out, "%-10s %v\n", name, value) }
	line("origin", format.Visible(s.Origin))
	line("size", s.Size)
	line("root", s.Root)
	if s.Index != nil {
		line("entry", *s.Index)
	}
	if s.What != "" {
		line("what", s.What+" of "+s.Actor)
	}
	if s.Batch != "" {
		line("batch", s.Batch)
	}
	if s.Digest != "" {
		line("list", s.List)
		line("digest", s.Digest)
	}
	for _, w := range s.Witnesses {
		line("cosigned", format.Visible(w.Name)+" "+w.Time)
	}
	for _, g := range s.Groups {
		line("group", fmt.Sprintf("%s %d of %d", format.Visible(g.Name), g.Have, g.Need))
	}
	if s.Quorum {
		line("quorum", "met")
	} else {
		line("quorum", "NOT MET")
	}
}

// undecided tells what could not be read from what is wrong.
func undecided(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return exitError{exitUndecided, err}
	}
	return err
}

type logCheckpointCmd struct {
	logFlags
	Out  string `placeholder:"F" help:"Write the signed checkpoint to a file."`
	JSON bool   `name:"json" help:"As one JSON object."`
}

// Run exits 1 where the policy is not satisfied.
func (c *logCheckpointCmd) Run(t terminal) error {
	source, policy, err := c.open()
	if err != nil {
		return err
	}
	data, err := source.Checkpoint(context.Background())
	if err != nil {
		return undecided(err)
	}
	cosigned, errOpen := policy.Open(data)
	if cosigned == nil {
		return exitError{exitNotValid, errOpen}
	}
	newShownCheckpoint(cosigned, errOpen).print(t, c.JSON)
	if errOpen != nil {
		return exitError{exitNotValid, errOpen}
	}
	if c.Out != "" {
		if err := keep.Replace(c.Out, data, 0o644); err != nil {
			return exitError{exitUsage, err}
		}
	}
	return nil
}

// entryFlags say which entry.
type entryFlags struct {
	Leaf  string `xor:"entry" placeholder:"HEX" help:"Hash of the leaf of the entry."`
	Entry string `xor:"entry" placeholder:"F" help:"File with the entry, such as a transaction."`
}

func (f *entryFlags) leaf(t terminal) (tlog.Hash, bool, error) {
	switch {
	case f.Entry != "":
		data, err := readBounded(f.Entry, t.in, tlog.MaxEntry)
		if err != nil {
			return tlog.Hash{}, false, usageError("--entry: %w", err)
		}
		return tlog.LeafHash(data), true, nil
	case f.Leaf != "":
		data, err := hex.DecodeString(f.Leaf)
		if err != nil || len(data) != tlog.HashSize {
			return tlog.Hash{}, false, usageError("--leaf: 64 hexadecimal digits")
		}
		return tlog.Hash(data), true, nil
	}
	return tlog.Hash{}, false, nil
}

type logProveCmd struct {
	logFlags
	entryFlags
	Index int64  `default:"-1" placeholder:"N" help:"Number of the entry, from 0."`
	Out   string `required:"" placeholder:"F" help:"Proof to write, as a .tlog-proof."`
}

// Run makes a proof of files alone: no notary is asked, any copy of the log will do.
func (c *logProveCmd) Run(t terminal) error {
	source, policy, err := c.open()
	if err != nil {
		return err
	}
	leaf, given, err := c.leaf(t)
	if err != nil {
		return err
	}
	if given == (c.Index >= 0) {
		return usageError("say which entry: --index, --leaf or --entry")
	}
	ctx := context.Background()
	note, err := source.Checkpoint(ctx)
	if err != nil {
		return undecided(err)
	}
	cosigned, err := policy.Open(note)
	if err != nil {
		return exitError{exitNotValid, err}
	}
	cp := cosigned.Checkpoint
	read := func(tile tlog.Tile) ([]byte, error) { return source.Tile(ctx, tile) }
	index := uint64(c.Index)
	if given {
		if index, err = findLeaf(leaf, cp.Size, read); err != nil {
			return err
		}
	}
	nodes := &tlog.TileNodes{Size: cp.Size, Read: read}
	if !given {
		if index >= cp.Size {
			return exitError{exitNotValid, fmt.Errorf("the log has %d entries: %w", cp.Size, notary.ErrNoEntry)}
		}
		if leaf, err = nodes.Node(0, index); err != nil {
			return undecided(err)
		}
	}
	path, err := tlog.ProveInclusion(index, cp.Size, nodes)
	if err != nil {
		return undecided(err)
	}
	p := &tlog.LogProof{Index: index, Path: path, Checkpoint: note}
	if _, err := p.Verify(leaf, policy); err != nil {
		return exitError{exitNotValid, fmt.Errorf("the tiles do not fit the checkpoint: %w", err)}
	}
	data, err := p.Encode()
	if err != nil {
		return err
	}
	if err := keep.Replace(c.Out, data, 0o644); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: entry %d of %d, %d bytes\n", c.Out, index, cp.Size, len(data))
	return nil
}

// findLeaf goes through the leaves of a log.
func findLeaf(leaf tlog.Hash, size uint64, read func(tlog.Tile) ([]byte, error)) (uint64, error) {
	for first := uint64(0); first < size; first += tlog.TileWidth {
		tile := tlog.Tile{Index: first / tlog.TileWidth, Width: int(min(size-first, tlog.TileWidth))}
		data, err := read(tile)
		if err != nil {
			return 0, undecided(err)
		}
		hashes, err := tlog.ParseTile(data, tile.Width)
		if err != nil {
			return 0, exitError{exitNotValid, err}
		}
		for i, h := range hashes {
			if h == leaf {
				return first + uint64(i), nil
			}
		}
	}
	return 0, exitError{exitNotValid, fmt.Errorf("of %d entries none is it: %w", size, notary.ErrNotLogged)}
}

type logVerifyCmd struct {
	logPolicyFlag
	entryFlags
	JSON  bool   `name:"json" help:"As one JSON object."`
	Proof string `arg:"" name:"proof" help:"Proof to verify, a .tlog-proof."`
}

// Run exits 1 where the proof proves nothing. That of a batch, as its issuer gives it,
// carries its entry.
func (c *logVerifyCmd) Run(t terminal) error {
	policy, err := c.read()
	if err != nil {
		return err
	}
	leaf, given, err := c.leaf(t)
	if err != nil {
		return err
	}
	data, err := readInput(c.Proof, nil)
	if err != nil {
		return exitError{exitUsage, err}
	}
	p, err := tlog.ParseLogProof(data)
	if err != nil {
		return exitError{exitNotValid, err}
	}
	switch {
	case given:
	case len(p.Extra) > 0:
		leaf = tlog.LeafHash(p.Extra)
	default:
		return usageError("the proof does not carry its entry: say which it is, --leaf or --entry")
	}
	cosigned, errVerify := p.Verify(leaf, policy)
	if cosigned == nil {
		return exitError{exitNotValid, errVerify}
	}
	shown := newShownCheckpoint(cosigned, errVerify)
	shown.Index = &p.Index
	if tx, err := state.ParseTx(p.Extra); err == nil && tlog.LeafHash(p.Extra) == leaf {
		shown.Actor, shown.What = tx.Actor.String(), string(tx.Body.Kind())
		switch b := tx.Body.(type) {
		case *state.Batch:
			shown.Batch = hex.EncodeToString(b.Root[:])
		case *state.StatusAnchor:
			shown.List, shown.Digest = hex.EncodeToString(b.List[:]), hex.EncodeToString(b.Digest[:])
		}
	}
	shown.print(t, c.JSON)
	if errVerify != nil {
		return exitError{exitNotValid, errVerify}
	}
	return nil
}

// shownReport is what a look at a log has found.
type shownReport struct {
	Log    string       `json:"log"`
	Size   uint64       `json:"size,omitempty"`
	Root   string       `json:"root,omitempty"`
	Time   string       `json:"time,omitempty"`
	Grown  uint64       `json:"grown,omitempty"`
	Alarms []shownAlarm `json:"alarms"`
}

type shownAlarm struct {
	Name   string `json:"name"`
	Who    string `json:"who,omitempty"`
	Detail string `json:"detail"`
}

func printReport(t terminal, name string, r *notary.Report, asJSON bool) {
	s := shownReport{Log: name, Grown: r.Grown, Alarms: []shownAlarm{}}
	if r.Checkpoint != nil {
		s.Size, s.Root = r.Checkpoint.Size, hex.EncodeToString(r.Checkpoint.Root[:])
	}
	if !r.Time.IsZero() {
		s.Time = r.Time.Format(time.RFC3339)
	}
	for _, a := range r.Alarms {
		s.Alarms = append(s.Alarms, shownAlarm{a.Name, a.Who, a.Detail})
	}
	if asJSON {
		writeJSON(t.out, s)
		return
	}
	if r.OK() {
		fmt.Fprintf(t.out, "%s: %d entries, root %.16s, cosigned %s: nothing is wrong\n", name, s.Size, s.Root, s.Time)
	}
	for _, a := range s.Alarms {
		fmt.Fprintf(t.out, "%s: ALARM %s: %s: %s\n", name, a.Name, format.Visible(a.Who), format.Visible(a.Detail))
	}
}

type logFsckCmd struct {
	logFlags
	JSON bool `name:"json" help:"As one JSON object."`
}

// Run exits 1 where something is wrong with the log.
func (c *logFsckCmd) Run(t terminal) error {
	source, policy, err := c.open()
	if err != nil {
		return err
	}
	r, err := notary.Fsck(context.Background(), source, policy)
	if err != nil {
		return undecided(err)
	}
	printReport(t, source.Name(), r, c.JSON)
	if !r.OK() {
		return exitError{code: exitNotValid}
	}
	return nil
}

type logFollowCmd struct {
	logPolicyFlag
	Log    []string      `required:"" sep:"none" placeholder:"L" help:"Folder or address of the log; several are copies of one log, and held against each other."`
	Memory string        `required:"" placeholder:"F" help:"File with the checkpoint that was believed last; it need not exist yet."`
	MaxAge time.Duration `default:"1h" placeholder:"D" help:"For how long the log may be silent (default: 1h)."`
	Every  time.Duration `placeholder:"D" help:"Look again and again, so often. Once, where not said."`
	At     string        `placeholder:"T" help:"Judge as of this time instead of now (RFC 3339)."`
	JSON   bool          `name:"json" help:"As JSON objects, one for each look."`
}

// Run exits 1 as soon as something is wrong. A copy that lags behind is well. Copies
// that cannot be reached leave it undecided, unless another was looked at.
func (c *logFollowCmd) Run(t terminal) error {
	policy, err := c.read()
	if err != nil {
		return err
	}
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	var sources []notary.Source
	for _, l := range c.Log {
		s, err := logside.Open(l)
		if err != nil {
			return usageError("--log: %w", err)
		}
		sources = append(sources, s)
	}
	unlock, err := keep.Lock(c.Memory)
	if err != nil {
		return exitError{exitUsage, err}
	}
	defer unlock()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	m := &notary.Monitor{Policy: policy, Memory: logside.Shelf{Path: c.Memory, Perm: 0o644}, MaxAge: c.MaxAge, Copies: sources}
	for {
		ok, asked := true, 0
		var last error
		for _, s := range sources {
			r, err := m.Look(ctx, s, clock())
			if err != nil {
				fmt.Fprintf(t.err, "ampoule: %v\n", err)
				last = err
				continue
			}
			asked++
			printReport(t, s.Name(), r, c.JSON)
			ok = ok && r.OK()
		}
		switch {
		case !ok:
			return exitError{code: exitNotValid}
		case asked == 0 && c.Every == 0:
			return exitError{exitUndecided, last}
		case c.Every == 0:
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.Every):
		}
	}
}

type logKeyCmd struct {
	secretFlags
	File string `arg:"" name:"file" help:"Key file; made where there is none."`
	Name string `required:"" placeholder:"NAME" help:"Name of the witness or cosigner: a host with a path, or oid/1.2.3."`
}

// Run makes a key where there is none, and shows how a policy names it.
func (c *logKeyCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.File); errors.Is(err, fs.ErrNotExist) {
		k, err := keys.NewCosigner(rand.Reader)
		if err != nil {
			return err
		}
		// The name is tried before the file is made.
		if _, err := tlog.NewKey(c.Name, tlog.MLDSA44Cosignature, k.Public()); err != nil {
			return usageError("--name: %w", err)
		}
		if err := keys.SaveCosigner(c.File, k, lock); err != nil {
			return exitError{exitUsage, err}
		}
	}
	k, err := keys.LoadCosigner(c.File, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	key, err := tlog.NewKey(c.Name, tlog.MLDSA44Cosignature, k.Public())
	if err != nil {
		return usageError("--name: %w", err)
	}
	fmt.Fprintln(t.out, key)
	return nil
}

type logWitnessCmd struct {
	secretFlags
	logPolicyFlag
	Key    string `required:"" placeholder:"F" help:"Key file of the witness, made by 'ampoule log key'."`
	Name   string `required:"" placeholder:"NAME" help:"Name of the witness, as in its verifier key."`
	Seen   string `required:"" placeholder:"DIR" help:"Folder with what was cosigned last. Without it a witness is to be given up, not started again."`
	Listen string `default:"127.0.0.1:8410" placeholder:"A" help:"Where logs reach it (default: 127.0.0.1:8410); TLS is before it."`
}

// Run cosigns until it is told to end. The logs of the policy are those that it
// knows.
func (c *logWitnessCmd) Run(t terminal) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	policy, err := c.read()
	if err != nil {
		return err
	}
	key, err := keys.LoadCosigner(c.Key, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	signer, err := tlog.NewNoteSigner(c.Name, tlog.MLDSA44Cosignature, key)
	if err != nil {
		return usageError("--name: %w", err)
	}
	seen, err := logside.OpenSeen(c.Seen)
	if err != nil {
		return usageError("--seen: %w", err)
	}
	defer seen.Close()
	log := slog.New(slog.NewJSONHandler(t.err, nil))
	w := &notary.Cosigner{
		Signers: []*tlog.NoteSigner{signer}, Seen: seen, Now: time.Now, Random: rand.Reader,
		Alarm: func(a notary.Alarm) { log.Error("alarm", "reason", a.Name, "what", a.Detail) },
	}
	for _, l := range policy.Logs {
		w.Logs = append(w.Logs, l.Key)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", logside.Handler(w, func(err error) { log.Error("could not be decided", "error", err.Error()) }))
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return usageError("--listen: %w", err)
	}
	fmt.Fprintf(t.out, "%s\nlistens at http://%s/add-checkpoint\n", signer.Key, listener.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := httpapi.NewServer(mux, nil)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(last)
}
