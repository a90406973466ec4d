package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ampoule/client"
	"ampoule/internal/comet"
	"ampoule/internal/keys"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// The federation of a run: four members, each with a node that votes, and issuers
// that each of them has registered.
const (
	members    = 4
	issuersOf  = 5
	arc        = "2.25.32980073"
	nodePort   = "26656"
	httpPort   = "8080"
	policyFile = "policy"
)

// federation is four nodes, each `ampoule serve` on a machine of its own. A lab may
// have a fifth machine, whose node the others know and which the run has for itself.
type federation struct {
	lab     *lab
	build   *builder
	dir     string
	program string // the product
	genesis string // file
	trusted *x509.CertPool
	nodes   []*node
	issuers [members][]*writer
	load    *load
	watch   *watch
}

// node is one machine and what runs there.
type node struct {
	number  int
	dir     string
	id      string // by which its peers know it
	door    string // where it is asked
	client  *client.Client
	http    *http.Client
	program string
	env     []string
	cmd     *exec.Cmd     // nil: it does not run
	ended   chan struct{} // closed when it has ended
	log     string
}

// found makes the members, their genesis and policy, as their operators would.
func found(ctx context.Context, l *lab, b *builder, dir string, params func(*state.Params)) (*federation, error) {
	f := &federation{lab: l, build: b, dir: dir, genesis: filepath.Join(dir, "genesis.cbor"), watch: newWatch()}
	var err error
	if f.program, err = b.program(ctx, "ampoule", nil); err != nil {
		return nil, err
	}
	if err := f.certify(); err != nil {
		return nil, err
	}
	genesis := []string{"node", "genesis", filepath.Join(dir, "first"), "--federation", arc}
	var policy []string
	for i := 1; i <= l.nodes; i++ {
		n := f.add(i)
		if i > members {
			continue
		}
		if _, err := f.ampoule(ctx, "node", "init", n.dir, "--unencrypted", "--code", "X"+string(rune('A'+i-1)), "--oid", fmt.Sprintf("%s.%d", arc, i)); err != nil {
			return nil, err
		}
		genesis = append(genesis, filepath.Join(n.dir, "member.statement"))
		policy = append(policy, filepath.Join(n.dir, "member.keys"))
	}
	if _, err := f.ampoule(ctx, genesis...); err != nil {
		return nil, err
	}
	data, err := comet.ReadGenesis(filepath.Join(dir, "first"))
	if err != nil {
		return nil, err
	}
	if params != nil {
		g, err := state.ParseGenesis(data)
		if err != nil {
			return nil, err
		}
		params(&g.Params)
		data = g.Encode()
	}
	if err := os.WriteFile(f.genesis, data, 0o600); err != nil {
		return nil, err
	}
	for _, n := range f.nodes {
		if _, err := f.ampoule(ctx, "node", "join", n.dir, "--genesis", f.genesis); err != nil {
			return nil, err
		}
		if n.number <= members {
			if _, err := f.ampoule(ctx, append([]string{"node", "policy", n.dir}, policy...)...); err != nil {
				return nil, err
			}
		}
		identity, err := comet.ReadIdentity(n.dir)
		if err != nil {
			return nil, err
		}
		n.id = identity.ID
	}
	return f, nil
}

// The certificate of all machines, under which nodes ask each other to cosign.
const certificateFile, certificateKey = "tls.pem", "tls.key"

func (f *federation) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for i := 1; i <= f.lab.nodes; i++ {
		c.IPAddresses = append(c.IPAddresses, net.ParseIP(f.lab.address(i)), net.ParseIP(f.lab.door(i)))
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	f.trusted = x509.NewCertPool()
	f.trusted.AppendCertsFromPEM(text)
	return errors.Join(os.WriteFile(filepath.Join(f.dir, certificateFile), text, 0o600),
		os.WriteFile(filepath.Join(f.dir, certificateKey), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// add makes a node of this run, which is asked at the door of its machine.
func (f *federation) add(i int) *node {
	h := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, TLSClientConfig: &tls.Config{RootCAs: f.trusted},
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
	}}
	door := "https://" + net.JoinHostPort(f.lab.door(i), httpPort)
	c, err := client.New(door)
	if err != nil {
		panic(err) // the address is ours
	}
	c.HTTP = h
	n := &node{number: i, dir: filepath.Join(f.dir, fmt.Sprintf("n%d", i)), door: door, client: c, http: h, program: f.program, log: filepath.Join(f.dir, fmt.Sprintf("n%d.log", i))}
	f.nodes = append(f.nodes, n)
	return n
}

// voters are the nodes of the members.
func (f *federation) voters() []*node { return f.nodes[:members] }

// ampoule runs a command of the product here.
func (f *federation) ampoule(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, f.program, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("ampoule %s: %w: %s", strings.Join(args[:2], " "), err, tail(out))
	}
	return string(out), nil
}

func tail(out []byte) []byte {
	out = bytes.TrimSpace(out)
	return out[max(0, len(out)-600):]
}

// serve is the command line by which a node runs.
func (f *federation) serve(n *node) *exec.Cmd {
	var peers, witnesses []string
	for _, p := range f.nodes {
		if p == n {
			continue
		}
		peers = append(peers, p.id+"@"+net.JoinHostPort(f.lab.address(p.number), nodePort))
		if p.number <= members && n.number <= members {
			witnesses = append(witnesses, "https://"+net.JoinHostPort(f.lab.address(p.number), httpPort)+"/ledger")
		}
	}
	c := f.lab.command(n.number, n.program, "serve", "--set", "listen=0.0.0.0:"+httpPort,
		"--set", "tls.certificate="+filepath.Join(f.dir, certificateFile), "--set", "tls.key="+filepath.Join(f.dir, certificateKey), "--set", "http.rate=0", "--set", "log.level=info",
		"--set", "ledger.dir="+n.dir, "--set", "ledger.listen="+net.JoinHostPort(f.lab.address(n.number), nodePort),
		"--set", "ledger.peers="+strings.Join(peers, ","), "--set", "ledger.witnesses="+strings.Join(witnesses, ","))
	c.Dir, c.Env = f.dir, append(append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(f.dir, certificateFile)), n.env...)
	return c
}

// start starts nodes. It does not wait for them.
func (f *federation) start(nodes ...*node) error {
	for _, n := range nodes {
		out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		n.cmd = f.serve(n)
		n.cmd.Stdout, n.cmd.Stderr = out, out
		if err := n.cmd.Start(); err != nil {
			out.Close()
			n.cmd = nil
			return err
		}
		ended := make(chan struct{})
		n.ended = ended
		go func(c *exec.Cmd) {
			c.Wait()
			out.Close()
			close(ended)
		}(n.cmd)
	}
	return nil
}

// kill is SIGKILL, and stop SIGTERM with time to end well; to all at once.
func kill(nodes ...*node) { end(syscall.SIGKILL, nodes) }
func stop(nodes ...*node) { end(syscall.SIGTERM, nodes) }

func end(signal syscall.Signal, nodes []*node) {
	for _, n := range nodes {
		if n.cmd != nil {
			n.cmd.Process.Signal(signal)
		}
	}
	for _, n := range nodes {
		if n.cmd == nil {
			continue
		}
		select {
		case <-n.ended:
		case <-time.After(30 * time.Second):
			n.cmd.Process.Kill()
			<-n.ended
		}
		n.cmd = nil
		n.http.CloseIdleConnections()
	}
}

// close ends what runs.
func (f *federation) close() { kill(f.nodes...) }

// standing is what a node says of itself.
type standing struct {
	Height uint64
	Time   time.Time
	Log    struct {
		Size uint64
		Root string
	}
	CatchingUp bool `json:"catching_up"`
	Validating bool
	Peers      int
}

func (n *node) get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.door+path, nil)
	if err != nil {
		return nil, err
	}
	a, err := n.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	data, err := io.ReadAll(io.LimitReader(a.Body, 1<<20))
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d", path, a.StatusCode)
	}
	return data, err
}

func (n *node) status(ctx context.Context) (s standing, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	data, err := n.get(ctx, "/v1/ledger/status")
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// register makes the issuers of all members, and has them logged.
func (f *federation) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	schema, err := state.ParseOID(arc + ".9")
	if err != nil {
		return err
	}
	now := uint64(time.Now().Unix())
	var txs [][]byte
	for i, n := range f.voters() {
		member, err := state.ParseOID(fmt.Sprintf("%s.%d", arc, i+1))
		if err != nil {
			return err
		}
		online, err := keys.Load(filepath.Join(n.dir, "keys/member.pem"), keys.Unencrypted())
		if err != nil {
			return err
		}
		actor, err := f.actor(ctx, f.nodes[0], member)
		if err != nil {
			return err
		}
		for k := range issuersOf {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			public, err := state.NewKey(key.Public())
			if err != nil {
				return err
			}
			oid, err := state.ParseOID(fmt.Sprintf("%s.3.%d", member, k+1))
			if err != nil {
				return err
			}
			put := &state.Put{Role: state.Issuer, OID: oid, Keys: []state.Key{public}, Scope: state.ScopeSingle, From: now - 2*3600, Until: now + 24*3600}
			tx, err := client.Sign(actor, member, put, online.Signer, crypto.Signer(key))
			if err != nil {
				return err
			}
			actor.Seq++
			txs = append(txs, tx)
			f.issuers[i] = append(f.issuers[i], &writer{oid: oid, key: key, schema: schema})
		}
	}
	for _, tx := range txs {
		for at := 0; ; at++ {
			err := f.nodes[0].client.Submit(ctx, tx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("an issuer is not registered: %w", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	for _, tx := range txs {
		for {
			s, err := f.nodes[0].client.Standing(ctx, tlog.LeafHash(tx))
			if err == nil && s.Logged {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("an issuer is not registered: %w", errors.Join(err, ctx.Err()))
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

// actor asks until the node answers.
func (f *federation) actor(ctx context.Context, n *node, oid state.OID) (*notary.Actor, error) {
	for {
		a, err := n.client.Actor(ctx, oid)
		if err == nil {
			return a, nil
		}
		select {
		case <-n.ended:
			data, _ := os.ReadFile(n.log)
			return nil, fmt.Errorf("node %d has ended: %s", n.number, tail(data))
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// watch is what was seen of the nodes from outside, from moment to moment.
type watch struct {
	mu      sync.Mutex
	heights map[int]uint64 // of each node, as it said last
	grown   []time.Time    // when a height was first seen, with some node
	top     uint64
	roots   map[uint64]string // of the log, by its size
	forked  []string
	signed  map[string]map[int64][]uint64 // sizes that a cosigner has signed, by its time
	stop    context.CancelFunc
	done    sync.WaitGroup
}

func newWatch() *watch {
	return &watch{heights: map[int]uint64{}, roots: map[uint64]string{}, signed: map[string]map[int64][]uint64{}, stop: func() {}}
}

// look is how often each node is asked where it stands.
const look = 50 * time.Millisecond

func (f *federation) look(ctx context.Context) error {
	data, err := os.ReadFile(filepath.Join(f.nodes[0].dir, policyFile))
	if err != nil {
		return err
	}
	policy, err := tlog.ParsePolicy(data)
	if err != nil {
		return err
	}
	w := f.watch
	ctx, w.stop = context.WithCancel(ctx)
	for _, n := range f.voters() {
		w.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if s, err := n.status(ctx); err == nil {
					w.saw(n.number, s)
				}
				if i%20 == 0 {
					if note, err := n.get(ctx, "/ledger/checkpoint"); err == nil {
						if c, err := policy.Open(note); err == nil {
							w.sawCheckpoint(c)
						}
					}
				}
				time.Sleep(look)
			}
		})
	}
	return nil
}

func (w *watch) end() {
	w.stop()
	w.done.Wait()
}

func (w *watch) saw(number int, s standing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heights[number] = s.Height
	if s.Height > w.top {
		w.top = s.Height
		w.grown = append(w.grown, time.Now())
	}
	if root, ok := w.roots[s.Log.Size]; ok && root != s.Log.Root {
		w.forked = append(w.forked, fmt.Sprintf("node %d has another root at %d", number, s.Log.Size))
	}
	w.roots[s.Log.Size] = s.Log.Root
}

func (w *watch) sawCheckpoint(c *tlog.Cosigned) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range c.Witnesses {
		if w.signed[one.Name] == nil {
			w.signed[one.Name] = map[int64][]uint64{}
		}
		w.signed[one.Name][one.Time] = append(w.signed[one.Name][one.Time], c.Checkpoint.Size)
	}
}

// backwards counts cosignatures of a size below one that was signed in a second
// before.
func (w *watch) backwards() (checkpoints, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, times := range w.signed {
		before := uint64(0)
		for _, at := range slices.Sorted(maps.Keys(times)) {
			checkpoints += len(times[at])
			if slices.Min(times[at]) < before {
				n++
			}
			before = max(before, slices.Max(times[at]))
		}
	}
	return checkpoints, n
}

func (w *watch) height() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.top
}

// gap is the longest time without a new block that was seen between two moments, and
// whatever of it was before or after.
func (w *watch) gap(from, to time.Time) (longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := 1; i < len(w.grown); i++ {
		if w.grown[i].After(from) && w.grown[i-1].Before(to) {
			longest = max(longest, w.grown[i].Sub(w.grown[i-1]))
		}
	}
	return longest
}

// pace is the median time between blocks before a moment.
func (w *watch) pace(until time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []time.Duration
	for i := 1; i < len(w.grown) && w.grown[i].Before(until); i++ {
		all = append(all, w.grown[i].Sub(w.grown[i-1]))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// commit waits for the first block that comes after a moment, and tells how long that
// was.
func (w *watch) commit(ctx context.Context, after time.Time, most time.Duration) (time.Duration, error) {
	for deadline := time.Now().Add(most); ; time.Sleep(look) {
		w.mu.Lock()
		i := slices.IndexFunc(w.grown, after.Before)
		var took time.Duration
		if i >= 0 {
			took = w.grown[i].Sub(after)
		}
		w.mu.Unlock()
		switch {
		case i >= 0:
			return took, nil
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case time.Now().After(deadline):
			return 0, fmt.Errorf("no block within %s", most)
		}
	}
}

// level waits until nodes have the newest block of now, and tells how long that was
// from a moment on.
func (f *federation) level(ctx context.Context, from time.Time, most time.Duration, nodes ...*node) (time.Duration, error) {
	want := f.watch.height()
	deadline := time.Now().Add(most)
	for _, n := range nodes {
		for {
			s, err := n.status(ctx)
			if err == nil {
				f.watch.saw(n.number, s)
			}
			if err == nil && s.Height >= want && !s.CatchingUp {
				break
			}
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if time.Now().After(deadline) {
				data, _ := os.ReadFile(n.log)
				return 0, fmt.Errorf("node %d is at %d and not at %d after %s (%v): %s", n.number, s.Height, want, most, err, tail(data))
			}
			time.Sleep(look)
		}
	}
	return time.Since(from), nil
}

// audited is what was found in the folders of nodes that have ended.
type audited struct {
	blocks, entries uint64
	forked          []string
	told            map[tlog.Hash]int // entries of the longest log, by their hash
	twice           int               // leaves of writers that stand there again
}

// audit reads the folders of nodes whole: every entry and tile against the root, every
// block applied again, and holds them against each other at equal heights and sizes.
func (f *federation) audit(ctx context.Context, nodes ...*node) (*audited, error) {
	a := new(audited)
	apps, roots := map[uint64]state.Hash{}, map[uint64]state.Hash{}
	for _, n := range nodes {
		if out, err := f.ampoule(ctx, "node", "status", n.dir, "--check"); err != nil || !strings.Contains(out, "every entry is under the root") {
			return nil, fmt.Errorf("node %d: %w: %s", n.number, err, tail([]byte(out)))
		}
		stored, err := comet.Stored(ctx, n.dir)
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", n.number, err)
		}
		differs := func(what string, of map[uint64]state.Hash, at uint64, is state.Hash) {
			if was, ok := of[at]; ok && was != is {
				a.forked = append(a.forked, fmt.Sprintf("node %d has another %s at %d", n.number, what, at))
			}
			of[at] = is
		}
		differs("application hash", apps, stored.Height(), stored.AppHash())
		differs("root", roots, stored.LogSize(), stored.LogRoot())
		if err := comet.Blocks(n.dir, func(b *state.Block, s *state.State) error {
			differs("application hash", apps, b.Height, s.AppHash())
			differs("root", roots, s.LogSize(), s.LogRoot())
			return nil
		}); err != nil {
			return nil, fmt.Errorf("node %d: %w", n.number, err)
		}
		entries, twice, err := readLog(tlog.Files{FS: os.DirFS(filepath.Join(n.dir, comet.LogFolder))}, stored.LogSize(), stored.LogRoot())
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", n.number, err)
		}
		if a.blocks = max(a.blocks, stored.Height()); stored.LogSize() > a.entries {
			a.entries, a.told, a.twice = stored.LogSize(), entries, twice
		}
	}
	for size, root := range f.watch.roots {
		if was, ok := roots[size]; ok && fmt.Sprintf("%x", was) != root {
			a.forked = append(a.forked, fmt.Sprintf("a node has shown another root at %d", size))
		}
	}
	a.forked = append(a.forked, f.watch.forked...)
	return a, nil
}
