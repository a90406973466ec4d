package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	cmtconfig "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/store"

	"ampoule/client"
	"ampoule/internal/comet"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// faults are all of them. Documents name them.
var faults = []fault{
	{name: "kill-one", do: killOne},
	{name: "kill-two", do: killTwo},
	{name: "kill-all", do: killAll},
	{name: "partition-1-3", do: partitionOne},
	{name: "partition-2-2", do: partitionTwo},
	{name: "double-signer", machines: 5, do: doubleSigner, after: evidence},
	{name: "restored-folder", do: restoredFolder},
	{name: "lying-peer", machines: 5, absent: 4, do: lyingPeer},
	{name: "clock-skew", clocks: true, do: clockSkew},
	{name: "flood", writing: 3, params: smallQuota, do: flood},
	{name: "bytes-flipped", do: func(ctx context.Context, _ *federation, _ *result) error { return wait(ctx, peace) }, after: bytesFlipped},
}

// away is how long a node, or a link, is.
const away = 8 * time.Second

// killOne kills one of four. The others go on.
func killOne(ctx context.Context, f *federation, r *result) error {
	n := f.nodes[3]
	before := f.watch.height()
	kill(n)
	if err := wait(ctx, away); err != nil {
		return err
	}
	r.must(f.watch.height() > before, "three of four have stood still")
	healed := time.Now()
	if err := f.start(n); err != nil {
		return err
	}
	return f.healed(ctx, r, healed)
}

// killTwo kills two of four: the ledger stands still until one is back.
func killTwo(ctx context.Context, f *federation, r *result) error {
	kill(f.nodes[2], f.nodes[3])
	if err := f.halted(ctx, r, away); err != nil {
		return err
	}
	healed := time.Now()
	if err := f.start(f.nodes[2]); err != nil {
		return err
	}
	var err error
	if r.resumed, err = f.watch.commit(ctx, healed, time.Minute); err != nil {
		return err
	}
	if err := f.start(f.nodes[3]); err != nil {
		return err
	}
	r.level, err = f.level(ctx, healed, time.Minute, f.voters()...)
	return err
}

// killAll kills all at one moment.
func killAll(ctx context.Context, f *federation, r *result) error {
	kill(f.voters()...)
	healed := time.Now()
	if err := f.start(f.voters()...); err != nil {
		return err
	}
	return f.healed(ctx, r, healed)
}

func partitionOne(ctx context.Context, f *federation, r *result) error {
	before := f.watch.height()
	if err := f.lab.split(4); err != nil {
		return err
	}
	if err := wait(ctx, away); err != nil {
		return err
	}
	r.must(f.watch.height() > before, "three of four have stood still")
	healed := time.Now()
	if err := f.lab.heal(4); err != nil {
		return err
	}
	return f.healed(ctx, r, healed)
}

func partitionTwo(ctx context.Context, f *federation, r *result) error {
	if err := f.lab.split(3, 4); err != nil {
		return err
	}
	if err := f.halted(ctx, r, away); err != nil {
		return err
	}
	healed := time.Now()
	if err := f.lab.heal(3, 4); err != nil {
		return err
	}
	return f.healed(ctx, r, healed)
}

// says tells whether a node has logged a text, and waits for it.
func (n *node) says(ctx context.Context, text string, most time.Duration) (bool, error) {
	for deadline := time.Now().Add(most); ; time.Sleep(look) {
		data, err := os.ReadFile(n.log)
		switch {
		case err != nil:
			return false, err
		case bytes.Contains(data, []byte(text)):
			return true, nil
		case ctx.Err() != nil:
			return false, ctx.Err()
		case time.Now().After(deadline):
			return false, nil
		}
	}
}

// validators are how many nodes vote, as a node sees it.
func (n *node) validators(ctx context.Context) (int, error) {
	data, err := n.get(ctx, "/v1/ledger/validators")
	if err != nil {
		return 0, err
	}
	var all []json.RawMessage
	err = json.Unmarshal(data, &all)
	return len(all), err
}

// doubleSigner runs the key of the fourth node a second time. The product refuses to:
// it finds the key's signatures in the blocks that it fetches. So the second node is
// then a build that does not look.
func doubleSigner(ctx context.Context, f *federation, r *result) error {
	twin := f.nodes[4]
	const key = "comet/validator_key.json"
	data, err := os.ReadFile(filepath.Join(f.nodes[3].dir, key))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(twin.dir, key), data, 0o600); err != nil {
		return err
	}
	if err := f.start(twin); err != nil {
		return err
	}
	refused, err := twin.says(ctx, string(comet.ErrKeyElsewhere), time.Minute)
	if err != nil {
		return err
	}
	stop(twin)
	n, err := f.nodes[0].validators(ctx)
	if err != nil {
		return err
	}
	r.must(refused && n == members, "the product has voted with a key that is in use, %d nodes vote", n)
	r.also("the product refuses to vote")

	// What it has refused at stays in its folder.
	clean := filepath.Join(f.dir, "twin")
	if _, err := f.ampoule(ctx, "node", "join", clean, "--genesis", f.genesis); err != nil {
		return err
	}
	for _, name := range []string{key, "comet/node_key.json"} {
		if data, err = os.ReadFile(filepath.Join(twin.dir, name)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(clean, name), data, 0o600); err != nil {
			return err
		}
	}
	twin.dir = clean
	if twin.program, err = f.build.program(ctx, "unguarded", unguarded); err != nil {
		return err
	}
	begun := time.Now()
	if err := f.start(twin); err != nil {
		return err
	}
	for n = members; n == members; time.Sleep(look) {
		if n, err = f.nodes[0].validators(ctx); err != nil {
			return err
		}
		if time.Since(begun) > time.Minute {
			r.must(false, "after a minute the validator still votes")
			break
		}
	}
	r.also("out %.1f s after its start", time.Since(begun).Seconds())
	// The others go on without it.
	at := time.Now()
	if _, err := f.watch.commit(ctx, at, time.Minute); err != nil {
		return err
	}
	if err := wait(ctx, peace); err != nil {
		return err
	}
	stop(twin)
	return nil
}

// evidence looks how many blocks and seconds were between the vote that was given
// twice and the block that took the validator out.
func evidence(_ context.Context, f *federation, r *result) error {
	config := cmtconfig.DefaultConfig().SetRoot(filepath.Join(f.nodes[0].dir, "comet"))
	db, err := cmtconfig.DefaultDBProvider(&cmtconfig.DBContext{ID: "blockstore", Config: config})
	if err != nil {
		return err
	}
	blocks := store.NewBlockStore(db)
	defer blocks.Close()
	for height := int64(1); height <= blocks.Height(); height++ {
		b := blocks.LoadBlock(height)
		if len(b.Evidence.Evidence) == 0 {
			continue
		}
		e := b.Evidence.Evidence[0]
		took := b.Time.Sub(e.Time())
		r.also("taken out %d blocks and %.1f s after the vote", height-e.Height(), took.Seconds())
		r.must(height-e.Height() <= 5, "evidence came %d blocks late", height-e.Height())
		return nil
	}
	r.must(false, "no block has evidence")
	return nil
}

// signedFile is what a key has signed last.
const signedFile = "comet/validator_state.json"

// restoredFolder brings a node back from copies of its folder of different ages.
func restoredFolder(ctx context.Context, f *federation, r *result) error {
	n := f.nodes[3]
	at := func(name string) string { return filepath.Join(f.dir, name) }
	// Step 1: an old copy and a new one.
	copies := func(name string) error {
		stop(n)
		if err := copyFolder(at(name), n.dir); err != nil {
			return err
		}
		return f.start(n)
	}
	if err := copies("old"); err != nil {
		return err
	}
	if _, err := f.level(ctx, time.Now(), time.Minute, n); err != nil {
		return err
	}
	if err := wait(ctx, peace); err != nil {
		return err
	}
	if err := copies("new"); err != nil {
		return err
	}
	stop(n)
	put := func(folder, state string) error {
		if err := os.RemoveAll(n.dir); err != nil {
			return err
		}
		if err := copyFolder(n.dir, at(folder)); err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(at(state), signedFile))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(n.dir, signedFile), data, 0o600)
	}

	// Step 2: new blocks, an older file of what was signed. It is refused at once.
	if err := put("new", "old"); err != nil {
		return err
	}
	os.Remove(n.log)
	if err := f.start(n); err != nil {
		return err
	}
	refused, err := n.says(ctx, string(comet.ErrKeyElsewhere), time.Minute)
	if err != nil {
		return err
	}
	r.must(refused, "an older file of what was signed was taken")
	r.also("older sign state: refused")
	stop(n)

	// Step 3: all of it old. It follows, and stops before it votes.
	if err := put("old", "old"); err != nil {
		return err
	}
	os.Remove(n.log)
	if err := f.start(n); err != nil {
		return err
	}
	if refused, err = n.says(ctx, string(comet.ErrKeyElsewhere), time.Minute); err != nil {
		return err
	}
	r.must(refused, "an old folder was voted with")
	r.also("old folder: refused")
	stop(n)

	// Step 4: an old folder with the newest file of what was signed. It follows and votes.
	if err := put("old", "new"); err != nil {
		return err
	}
	os.Remove(n.log)
	begun := time.Now()
	if err := f.start(n); err != nil {
		return err
	}
	if r.level, err = f.level(ctx, begun, time.Minute, n); err != nil {
		return err
	}
	if err := wait(ctx, peace); err != nil {
		return err
	}
	s, err := n.status(ctx)
	if err != nil {
		return err
	}
	r.must(s.Validating && !s.CatchingUp, "an old folder with the newest sign state does not vote")
	r.also("old folder with the newest sign state: level after %.1f s", r.level.Seconds())

	// Step 5: the checkpoint of then is not cosigned again, by nobody.
	note, err := os.ReadFile(filepath.Join(at("old"), "log", tlog.CheckpointPath))
	if err != nil {
		return err
	}
	body := (&notary.Request{Checkpoint: note}).Encode()
	for _, n := range f.voters() {
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, n.door+"/ledger/add-checkpoint", bytes.NewReader(body))
		if err != nil {
			return err
		}
		a, err := n.http.Do(q)
		if err != nil {
			return err
		}
		a.Body.Close()
		r.must(a.StatusCode == http.StatusConflict, "node %d answers %d to an old checkpoint", n.number, a.StatusCode)
	}

	// Step 6: who watches the log is told, when the old copy is served in its place.
	memory := at("memory")
	follow := func(log string) (string, error) {
		return f.ampoule(ctx, "log", "follow", "--policy", filepath.Join(n.dir, policyFile), "--memory", memory, "--log", log)
	}
	if out, err := follow(filepath.Join(n.dir, "log")); err != nil {
		return fmt.Errorf("log follow: %w: %s", err, out)
	}
	out, err := follow(filepath.Join(at("old"), "log"))
	r.must(err != nil && strings.Contains(out, "rollback"), "log follow says of an old log: %s", out)
	r.also("`log follow` raises the rollback")
	return nil
}

// lyingPeer lets a node come late that finds nobody, at first, but a peer which says
// that it has blocks nobody has, and gives none. Then the others come.
func lyingPeer(ctx context.Context, f *federation, r *result) error {
	if err := wait(ctx, 2*peace); err != nil {
		return err
	}
	if err := f.lab.split(4, 5); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	late, liar := f.nodes[3], f.nodes[4]
	genesis, err := os.ReadFile(f.genesis)
	if err != nil {
		return err
	}
	heard, err := os.Create(liar.log)
	if err != nil {
		return err
	}
	defer heard.Close()
	c := f.lab.command(5, self, "lie", filepath.Join(liar.dir, "comet/node_key.json"), comet.ChainID(genesis),
		f.lab.address(5)+":"+nodePort, late.id+"@"+f.lab.address(4)+":"+nodePort)
	c.Stdout, c.Stderr = heard, heard
	if err := c.Start(); err != nil {
		return err
	}
	defer func() {
		c.Process.Signal(syscall.SIGKILL)
		c.Wait()
	}()
	if err := f.start(late); err != nil {
		return err
	}
	asked, err := liar.says(ctx, askedForBlock, time.Minute)
	if err != nil {
		return err
	}
	if !asked {
		return errors.New("the liar was not asked for a block")
	}
	if err := wait(ctx, peace/2); err != nil {
		return err
	}
	s, err := late.status(ctx)
	if err != nil {
		return err
	}
	r.must(s.Height == 0 && s.CatchingUp, "alone with a liar a node is at %d", s.Height)
	r.also("alone with it: waits")

	healed := time.Now()
	if err := f.lab.heal(4, 5); err != nil {
		return err
	}
	if r.level, err = f.level(ctx, healed, 5*time.Minute, late); err != nil {
		return err
	}
	r.also("with the others: %d blocks in %.1f s", f.watch.height(), r.level.Seconds())
	return wait(ctx, peace/2)
}

// stoppedForGood is what a server logs whose node cannot go on.
const stoppedForGood = "the node of the ledger has stopped, and needs you"

// clockSkew has one node an hour ahead, then an hour behind.
func clockSkew(ctx context.Context, f *federation, r *result) error {
	n := f.nodes[3]
	program, err := f.build.program(ctx, "skewed", skewed)
	if err != nil {
		return err
	}
	product := n.program
	for _, off := range []string{"3600", "-3600"} {
		stop(n)
		n.program, n.env = program, []string{"FAULT_CLOCK=" + off}
		begun := time.Now()
		if err := f.start(n); err != nil {
			return err
		}
		if _, err := f.level(ctx, begun, time.Minute, n); err != nil {
			// One that stops may do so before it is level; it says so, and is asked below.
			if stopped, said := n.says(ctx, stoppedForGood, 0); said != nil || !stopped {
				return err
			}
		}
		if err := wait(ctx, 2*peace); err != nil {
			return err
		}
		for _, n := range f.voters() {
			s, err := n.status(ctx)
			if err != nil {
				return err
			}
			if n.number == 4 {
				// The engine refuses a block from its own future, and stops the node.
				stopped, err := n.says(ctx, stoppedForGood, 0)
				if err != nil {
					return err
				}
				if stopped {
					r.also("%s s: it stops, and says so", off)
					continue
				}
				r.also("%s s: it votes", off)
			}
			drift := time.Since(s.Time)
			r.must(drift < 20*time.Second && drift > -5*time.Second, "node %d: the block's time is %s behind", n.number, drift)
			r.must(s.Validating && !s.CatchingUp, "node %d does not vote", n.number)
		}
	}
	stop(n)
	n.program, n.env = product, nil
	begun := time.Now()
	if err := f.start(n); err != nil {
		return err
	}
	r.level, err = f.level(ctx, begun, time.Minute, n)
	r.also("blocks of the others stay within seconds")
	return err
}

// smallQuota is what five issuers of a member use up to a half.
func smallQuota(p *state.Params) { p.QuotaWindow, p.QuotaTxs = 20, 160 }

// flood has the issuers of one member hand in ten times its quota.
func flood(ctx context.Context, f *federation, r *result) error {
	if err := wait(ctx, 2*peace); err != nil {
		return err
	}
	_, _, calm := f.load.count()
	f.load.mu.Lock()
	before := len(f.load.waits)
	f.load.mu.Unlock()
	first := f.watch.height()

	ctxFlood, end := context.WithCancel(ctx)
	defer end()
	rate := time.Duration(float64(time.Second) * 20 * r.block.Seconds() / (10 * 160) * issuersOf)
	var offered, taken atomic.Int64
	for k, w := range f.issuers[3] {
		go w.flood(ctxFlood, f.nodes[k%members].client, rate, &offered, &taken)
	}
	if err := wait(ctx, 4*peace); err != nil {
		return err
	}
	end()
	blocks := f.watch.height() - first
	f.load.mu.Lock()
	during := slices.Sorted(slices.Values(f.load.waits[before:]))
	f.load.mu.Unlock()
	if len(during) == 0 {
		return errors.New("nothing was logged during the flood")
	}
	p95 := during[len(during)*19/20]
	ratio := p95.Seconds() / calm.Seconds()
	r.also("%d offered in %d blocks, %d let in; the others' p95 %.1f s, %.1f s before: %.2f times", offered.Load(), blocks, taken.Load(), p95.Seconds(), calm.Seconds(), ratio)
	r.must(ratio <= 2, "the others wait %.1f times as long", ratio)
	r.must(offered.Load() > 5*taken.Load(), "of %d offered %d were let in", offered.Load(), taken.Load())
	return nil
}

// flood hands in transactions without end, and waits for none.
func (w *writer) flood(ctx context.Context, node *client.Client, every time.Duration, offered, taken *atomic.Int64) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	actor, err := node.Actor(ctx, w.oid)
	for i := 0; ctx.Err() == nil; i++ {
		if err == nil {
			body := &state.SingleLeaf{Leaf: tlog.LeafHash(fmt.Append(nil, w.oid, i)), Schema: w.schema, About: state.AboutDocument}
			var tx []byte
			if tx, err = client.Sign(actor, w.oid, body, w.key); err != nil {
				return
			}
			offered.Add(1)
			switch err = node.Submit(ctx, tx); {
			case err == nil:
				taken.Add(1)
				actor.Seq++
			case errors.Is(err, state.ErrQuota):
				err = nil
			}
		}
		if err != nil {
			actor, err = node.Actor(ctx, w.oid)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// bytesFlipped changes one byte of a node that has ended, in each kind of file, and
// looks who finds it.
func bytesFlipped(ctx context.Context, f *federation, r *result) error {
	n := f.nodes[3]
	data := filepath.Join("comet", "data")
	cases := []struct {
		what string
		flip func(dir string) error
	}{
		{"", func(string) error { return nil }}, // as it is, nobody says anything
		{"tile", func(dir string) error { return flipFile(dir, "log/tile/0", 0.5) }},
		{"entries", func(dir string) error { return flipFile(dir, "log/tile/entries", 0.5) }},
		{"checkpoint", func(dir string) error { return flipFile(dir, "log/checkpoint", 0.5) }},
		{"row", func(dir string) error { return flipRow(dir, "rows", "row", "length(row) > 32") }},
		{"application hash", func(dir string) error { return flipRow(dir, "app", "hash", "1") }},
		{"leaf index", func(dir string) error { return flipRow(dir, "leaves", "hash", "number = 9") }},
		{"block store", func(dir string) error { return flipFile(dir, filepath.Join(data, "blockstore.db"), 0.5) }},
		{"sign state", func(dir string) error { return flipFile(dir, signedFile, 0.1) }},
	}
	for i, c := range cases {
		dir := filepath.Join(f.dir, fmt.Sprintf("flipped%d", i))
		if err := copyFolder(dir, n.dir); err != nil {
			return err
		}
		if err := c.flip(dir); err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		var found []string
		check := func(name string, args ...string) {
			if _, err := f.ampoule(ctx, args...); err != nil {
				found = append(found, name)
			}
		}
		check("`node status --check`", "node", "status", dir, "--check")
		check("`log fsck`", "log", "fsck", "--policy", filepath.Join(dir, policyFile), "--log", filepath.Join(dir, "log"))
		check("`node replay`", "node", "replay", dir)
		refused, err := f.refuses(ctx, n, dir)
		if err != nil {
			return err
		}
		if refused {
			found = append(found, "start")
		}
		if c.what == "" {
			r.must(len(found) == 0, "nothing was changed, and found by %s", strings.Join(found, ", "))
		} else {
			r.must(len(found) > 0, "%s: nobody has found the byte", c.what)
			r.also("%s: %s", c.what, strings.Join(found, ", "))
		}
		os.RemoveAll(dir)
	}
	return nil
}

// refuses tells whether a node does not start in a folder.
func (f *federation) refuses(ctx context.Context, n *node, dir string) (bool, error) {
	own := n.dir
	n.dir = dir
	defer func() { n.dir = own }()
	os.Remove(n.log)
	if err := f.start(n); err != nil {
		return false, err
	}
	defer kill(n)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(look) {
		select {
		case <-n.ended:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		default:
		}
		if _, err := n.status(ctx); err == nil {
			return false, nil
		}
	}
	return false, nil
}

// copyFolder copies a folder as it is, with the modes of its keys.
func copyFolder(to, from string) error {
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy of %s: %w: %s", from, err, out)
	}
	return nil
}

// flipFile changes a bit of the largest file of a folder, or of a file, some way in.
func flipFile(dir, name string, where float64) error {
	var largest string
	var size int64
	err := filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	data, err := os.ReadFile(largest)
	if err != nil {
		return err
	}
	data[int(float64(len(data))*where)] ^= 1
	return os.WriteFile(largest, data, 0o600)
}

// flipRow changes a bit in the middle of a value of state.db.
func flipRow(dir, table, column, which string) error {
	db, err := sql.Open("sqlite", filepath.Join(dir, "state.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	var value []byte
	if err := db.QueryRow("SELECT " + column + " FROM " + table + " WHERE " + which + " LIMIT 1").Scan(&value); err != nil {
		return err
	}
	old := slices.Clone(value)
	value[len(value)/2] ^= 1
	_, err = db.Exec("UPDATE "+table+" SET "+column+" = ? WHERE "+column+" = ?", value, old)
	return err
}
