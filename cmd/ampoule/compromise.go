package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/jwks"
	"ampoule/internal/control"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
)

type keysCompromiseCmd struct {
	configFlags
	Revoke  bool   `help:"Revoke the records that hang on the key."`
	Reissue bool   `help:"Sign them anew, under the keys that sign then."`
	Stop    bool   `help:"Stop the key, and leave the records."`
	Agreed  int    `default:"-1" placeholder:"N" help:"How many records there are, as this command says without --revoke, --reissue or --stop."`
	JSON    bool   `name:"json" help:"One JSON object."`
	KID     string `arg:"" name:"kid" help:"Key identifier in hexadecimal, of a key that signs here or did."`
}

// Run asks the running server. Without one of the three it only tells how many
// records there are.
func (c *keysCompromiseCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if err != nil {
		return err
	}
	var do []string
	for name, wanted := range map[string]bool{"revoke": c.Revoke, "reissue": c.Reissue, "nothing": c.Stop} {
		if wanted {
			do = append(do, name)
		}
	}
	if len(do) > 1 {
		return usageError("one of --revoke, --reissue and --stop")
	}
	if kid, err := hex.DecodeString(c.KID); err != nil || len(kid) == 0 || strings.ToLower(c.KID) != c.KID {
		return usageError("%s: a key identifier in hexadecimal, in small letters", c.KID)
	}
	ctx := context.Background()
	client, err := control.Dial(ctx, settings.Store.Dir)
	if err != nil {
		return usageError("%w; this asks the server that issues", err)
	}
	defer client.Close()
	if len(do) == 0 {
		a, err := client.KeyAffected(ctx, c.KID)
		if err != nil {
			return exitError{exitUndecided, err}
		}
		if c.JSON {
			writeJSON(t.out, a)
			return nil
		}
		printAffected(t, c.KID, a)
		fmt.Fprintf(t.out, "\nThe key itself: ampoule keys compromise %s --agreed %d and one of\n  --reissue  sign them anew under another key; old copies die with the key\n  --revoke   take them out of force\n  --stop     leave them\n", c.KID, a.Records)
		return nil
	}
	if c.Agreed < 0 {
		return usageError("--agreed: say how many records there are; without --%s this command tells", do[0])
	}
	done, err := client.KeyCompromised(ctx, c.KID, do[0], c.Agreed)
	if err != nil {
		return exitError{exitUndecided, err}
	}
	if c.JSON {
		writeJSON(t.out, done)
	} else {
		printCompromised(t, c.KID, done)
	}
	if done.Left > 0 {
		return exitError{exitUndecided, fmt.Errorf("%d records are left: %s; ask again with --agreed %d", done.Left, strings.Join(done.Reasons, ", "), done.Left)}
	}
	return nil
}

func printAffected(t terminal, kid string, a *control.Affected) {
	state := "no key of this service"
	if a.Signs {
		state = "a key of this service"
	}
	fmt.Fprintf(t.out, "%s: %s, %d records in force hang on it\n", kid, state, a.Records)
	printFormats(t, a)
}

func printCompromised(t terminal, kid string, d *control.Compromised) {
	if d.File != "" {
		fmt.Fprintf(t.out, "%7.2f s  %s signs no more, and is trusted no more here; its file is %s\n", d.Stopped, kid, d.File)
	}
	fmt.Fprintf(t.out, "%7.2f s  %d records revoked, %d certificates reissued, %d left\n", d.Done, d.Revoked, d.Reissued, d.Left)
	if d.Serial > 0 {
		fmt.Fprintf(t.out, "%7.2f s  the lists and bundle %d are out\n", d.Told, d.Serial)
	} else {
		fmt.Fprintf(t.out, "%7.2f s  the lists are out; this service makes no bundle (publish.key)\n", d.Told)
	}
	fmt.Fprintf(t.out, "next:      take it off the network (ampoule participant revoke), and tell the network's secretariat\n")
}

// compromisedFolder is where the files of keys go that must sign no more, in the
// folder of those that sign.
const compromisedFolder = "compromised"

// operatorActor acts where an operator does by the control socket.
var operatorActor = issuer.Actor{ID: "operator"}

// kidsOf are the identifiers under which a key signs: that of its certificate, and
// on SMART Health Cards the thumbprint.
func kidsOf(kid []byte, signing []*keys.Key) (kids [][]byte, key *keys.Key) {
	kids = [][]byte{kid}
	for _, k := range signing {
		if hex.EncodeToString(k.KID()) != hex.EncodeToString(kid) {
			continue
		}
		if thumbprint, err := jwks.KID(k.Signer.Public()); err == nil {
			kids = append(kids, []byte(thumbprint))
		}
		return kids, k
	}
	return kids, nil
}

// KeyAffected implements [control.Desk].
func (s *service) KeyAffected(ctx context.Context, kid []byte) (*control.Affected, error) {
	registry, err := s.issuing()
	if err != nil {
		return nil, err
	}
	signing, err := loadSigningKeys(s.settings)
	if err != nil {
		return nil, err
	}
	kids, key := kidsOf(kid, signing)
	return affected(ctx, registry, issuer.Which{KIDs: kids}, key != nil)
}

func affected(ctx context.Context, r *issuer.Registry, w issuer.Which, signs bool) (*control.Affected, error) {
	a, err := r.Affected(ctx, operatorActor, w)
	if err != nil {
		return nil, err
	}
	out := &control.Affected{Records: a.Records, Formats: make(map[string]int), Signs: signs}
	for f, n := range a.ByFormat {
		out.Formats[string(f)] = n
	}
	return out, nil
}

// KeyCompromised implements [control.Desk]. What cannot be done midway can be done
// by asking again: the key is stopped then, and what is left is counted.
func (s *service) KeyCompromised(ctx context.Context, kid []byte, do string, agreed int) (*control.Compromised, error) {
	began := time.Now()
	since := func() float64 { return time.Since(began).Seconds() }

	// Step 1: what hangs on it, and whether another can take its place.
	registry, err := s.issuing()
	if err != nil {
		return nil, err
	}
	signing, err := loadSigningKeys(s.settings)
	if err != nil {
		return nil, err
	}
	kids, key := kidsOf(kid, signing)
	if key == nil {
		// It was stopped before; its cards are of the same key.
		stopped, err := loadKeys(s.settings, filepath.Join(signingFolder, compromisedFolder))
		if err != nil {
			return nil, err
		}
		kids, _ = kidsOf(kid, stopped)
	}
	hangs, err := affected(ctx, registry, issuer.Which{KIDs: kids}, key != nil)
	if err != nil {
		return nil, err
	}
	if hangs.Records != agreed {
		return nil, fmt.Errorf("%d records hang on it, and %d were agreed to: %w", hangs.Records, agreed, issuer.ErrCount)
	}
	rest := slices.DeleteFunc(slices.Clone(signing), func(k *keys.Key) bool { return k == key })
	if do == "reissue" {
		if k := newest(rest, false, began); k == nil || began.Before(k.Certificate().NotBefore) || began.After(k.Certificate().NotAfter) {
			return nil, fmt.Errorf("no other key can sign: put the file of a new signer into the folder %s first", signingFolder)
		}
	}

	// Step 2: the key signs no more and is trusted no more, also after a restart.
	out := &control.Compromised{Affected: *hangs}
	if key != nil {
		if out.File, err = s.stopKey(kid); err != nil {
			return nil, err
		}
		s.forget()
		if err := s.refresh(ctx); err != nil {
			return nil, fmt.Errorf("the key file was moved to %s, and the service goes on with what it had: %w", out.File, err)
		}
		registry = s.registry.Load()
	}
	out.Stopped = since()

	// Step 3: the records.
	tell := func(f issuer.Failure) {
		out.Left++
		var defect format.Defect
		if errors.As(f.Err, &defect) && !slices.Contains(out.Reasons, string(defect)) {
			out.Reasons = append(out.Reasons, string(defect))
		}
	}
	switch do {
	case "revoke":
		done, err := registry.RevokeMany(ctx, operatorActor, issuer.Which{KIDs: kids}, issuer.ReasonKey, agreed)
		if err != nil {
			return nil, err
		}
		out.Revoked, out.Left = done.Done, done.Left
		for _, f := range done.Failed {
			tell(f)
		}
	case "reissue":
		for _, kid := range kids {
			done, err := registry.Reissue(ctx, operatorActor, kid)
			if err != nil {
				return nil, err
			}
			out.Reissued += done.Done
			for _, f := range done.Failed {
				tell(f)
			}
		}
	case "nothing":
	default:
		return nil, fmt.Errorf("%q: revoke, reissue or nothing: %w", do, format.BadCode)
	}
	out.Done = since()

	// Step 4: whoever verifies can know.
	if out.Serial, err = s.publishNow(ctx); err != nil {
		return nil, err
	}
	out.Told = since()
	s.log.Warn("a signing key was stopped", "kid", hex.EncodeToString(kid), "what", do, "count", out.Revoked+out.Reissued)
	return out, nil
}

// stopKey moves the file of a key to where nothing signs with it.
func (s *service) stopKey(kid []byte) (string, error) {
	folder := filepath.Join(s.settings.Store.Dir, signingFolder)
	files, err := filepath.Glob(filepath.Join(folder, "*.key"))
	if err != nil {
		return "", err
	}
	lock, err := storeLock(s.settings)
	if err != nil {
		return "", err
	}
	for _, path := range files {
		k, err := keys.Load(path, lock)
		if err != nil {
			return "", err
		}
		if hex.EncodeToString(k.KID()) != hex.EncodeToString(kid) {
			continue
		}
		away := filepath.Join(folder, compromisedFolder)
		if err := os.MkdirAll(away, 0o700); err != nil {
			return "", err
		}
		to := filepath.Join(away, hex.EncodeToString(kid)+".key")
		if _, err := os.Lstat(to); err == nil {
			return "", fmt.Errorf("%s exists", to)
		}
		if err := os.Rename(path, to); err != nil {
			return "", err
		}
		return to, errors.Join(keep.SyncDir(away), keep.SyncDir(folder))
	}
	return "", fmt.Errorf("key %x: %w", kid, os.ErrNotExist)
}

// publishNow makes the next bundle, after the pause between two, and returns its
// serial; 0 where this service makes none.
func (s *service) publishNow(ctx context.Context) (int64, error) {
	for {
		if err := s.refresh(ctx); err != nil {
			return 0, err
		}
		s.mu.Lock()
		p := s.publisher
		var wait time.Duration
		serial := int64(0)
		if p != nil && p.last != nil {
			serial = p.last.Serial
			if p.of != s.seen {
				wait = max(time.Until(p.soonest()), 10*time.Millisecond)
			}
		}
		s.mu.Unlock()
		if wait == 0 {
			return serial, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(wait):
		}
	}
}
