package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"

	"ampoule/format"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/internal/logside"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// What a notary has in the folder of its node.
const (
	notaryLogKey      = "keys/log.pem"
	notaryCosignerKey = "keys/cosigner.pem"
	notaryReceiptKey  = "keys/notary.pem"
	notaryPolicy      = "policy"
	notarySeen        = "seen"
	notaryCheckpoint  = "log/" + tlog.CheckpointPath
)

// openedNotary is a notary with what is to be closed after it.
type openedNotary struct {
	*notary.Notary
	seen *logside.Seen
}

// openNotary makes the notary of a node's folder, over its replica. A cosigner's key
// is made where there is none. A node that is alone gets a policy, which asks for
// its own cosigner; of several, the members agree on one.
func openNotary(dir string, lock keys.Lock, r notary.Replica, witnesses []string, log *slog.Logger) (*openedNotary, error) {
	in := func(name string) string { return inFolder(dir, name) }
	// Step 1: which log it is. The genesis is its first entry.
	data, err := (tlog.Files{FS: r.Files()}).Entry(0, r.Head().Size)
	if err != nil {
		return nil, fmt.Errorf("the first entry of the log: %w", err)
	}
	genesis, err := state.ParseGenesis(data)
	if err != nil {
		return nil, err
	}
	origin := originOf(genesis.Federation)
	// Step 2: its keys.
	logKey, err := keys.Load(in(notaryLogKey), lock)
	if err != nil {
		return nil, err
	}
	c := notary.Config{Replica: r, Shelf: logside.Shelf{Path: in(notaryCheckpoint), Perm: 0o644}, Now: time.Now, Random: rand.Reader, Trace: log}
	if c.Log, err = tlog.NewNoteSigner(origin, tlog.Ed25519Note, logKey.Signer); err != nil {
		return nil, err
	}
	cosigner, err := loadOrMakeCosigner(in(notaryCosignerKey), lock)
	if err != nil {
		return nil, err
	}
	if receipts, err := keys.Load(in(notaryReceiptKey), lock); err == nil {
		c.Receipts = receipts.Signer
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// Step 3: whose signatures suffice, and under which name this cosigner counts.
	policy, err := readBounded(in(notaryPolicy), nil, tlog.MaxPolicy)
	if errors.Is(err, fs.ErrNotExist) {
		if len(genesis.Members) > 1 || len(witnesses) > 0 {
			return nil, usageError("%s is missing: the members and witnesses agree on one; 'ampoule node policy' makes it", in(notaryPolicy))
		}
		key, err := tlog.NewKey(cosignerName(genesis.Members[0].OID), tlog.MLDSA44Cosignature, cosigner.Public())
		if err != nil {
			return nil, err
		}
		policy = fmt.Appendf(nil, "log %s\nwitness node %s\nquorum node\n", c.Log.Key, key)
		if err := keep.Replace(in(notaryPolicy), policy, 0o644); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if c.Policy, err = tlog.ParsePolicy(policy); err != nil {
		return nil, usageError("%s: %w", in(notaryPolicy), err)
	}
	signer, err := cosignerOf(c.Policy, cosigner)
	if err != nil {
		return nil, usageError("%s: %w", in(notaryPolicy), err)
	}
	// Step 4: whom it asks, and what it has signed.
	for _, address := range witnesses {
		w, err := logside.NewWitness(address)
		if err != nil {
			return nil, usageError("ledger.witnesses: %w", err)
		}
		c.Witnesses = append(c.Witnesses, w)
	}
	o := new(openedNotary)
	if o.seen, err = logside.OpenSeen(in(notarySeen)); err != nil {
		return nil, err
	}
	c.Cosigner = &notary.Cosigner{
		Signers: []*tlog.NoteSigner{signer}, Seen: o.seen, Now: time.Now, Random: rand.Reader,
		Alarm: func(a notary.Alarm) { log.Error("alarm", "reason", a.Name, "what", a.Detail) },
	}
	for _, l := range c.Policy.Logs {
		if l.Key.Name == origin {
			c.Cosigner.Logs = append(c.Cosigner.Logs, l.Key)
		}
	}
	if o.Notary, err = notary.New(c); err != nil {
		return nil, errors.Join(err, o.seen.Close())
	}
	return o, nil
}

func loadOrMakeCosigner(path string, lock keys.Lock) (*keys.Cosigner, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		k, err := keys.NewCosigner(rand.Reader)
		if err != nil {
			return nil, err
		}
		if err := keys.SaveCosigner(path, k, lock); err != nil {
			return nil, err
		}
	}
	return keys.LoadCosigner(path, lock)
}

// cosignerOf finds the name of a cosigner in the policy.
func cosignerOf(p *tlog.Policy, k *keys.Cosigner) (*tlog.NoteSigner, error) {
	public := k.Public().(*mldsa44.PublicKey)
	for _, w := range p.Witnesses {
		if w.Key.Type != tlog.MLDSA44Cosignature {
			continue
		}
		signer, err := tlog.NewNoteSigner(w.Key.Name, tlog.MLDSA44Cosignature, k)
		if err == nil && signer.Key.String() == w.Key.String() {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("it does not name the cosigner of this node, whose key begins with %x", public.Bytes()[:8])
}

func (o *openedNotary) close() error { return o.seen.Close() }

// The pace of publishing: a checkpoint a second at most, at once where the last is
// longer ago; and after a failure again, later each time.
const (
	checkpointPause   = time.Second
	checkpointRetry   = 2 * time.Second
	checkpointLongest = time.Minute
)

// keepPublishing publishes whenever the log has grown, until the context ends.
func (o *openedNotary) keepPublishing(ctx context.Context, log *slog.Logger) {
	retry := checkpointRetry
	for {
		grown := o.Replica.Grown() // before it is published: nothing is missed between
		err := o.Publish(ctx)
		var wait <-chan struct{}
		pause := checkpointLongest // in which an old checkpoint is signed again
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Warn("no checkpoint was published", "reason", format.Reason(err, "unreachable"), "error", err.Error())
			pause, retry = retry, min(2*retry, checkpointLongest)
		default:
			retry, wait = checkpointRetry, grown
		}
		begun := time.Now()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-wait:
		case <-timer.C:
		}
		timer.Stop()
		if rest := checkpointPause - time.Since(begun); wait != nil && rest > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(rest):
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}
