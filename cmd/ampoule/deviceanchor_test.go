package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/device"
	"ampoule/internal/keys"
	"ampoule/internal/ledgertest"
	"ampoule/internal/store"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/fleet"
)

// fleetKit is what a fleet of three days ago stands on.
type fleetKit struct {
	now                time.Time
	dir                string
	authority, service *keys.Key
	kid                []byte
	book               *store.Fleet
}

func newFleetKit(t *testing.T) *fleetKit {
	t.Helper()
	k := &fleetKit{now: time.Now().UTC().Truncate(time.Second).Add(-72 * time.Hour), dir: t.TempDir()}
	var err error
	k.authority, err = keys.NewDeviceCA(k.now.Add(-time.Hour), rand.Reader)
	must(t, err)
	k.service, err = keys.NewService(k.authority, k.now.Add(-time.Hour), rand.Reader)
	must(t, err)
	k.kid, err = device.KeyID(k.service.Signer.Public())
	must(t, err)
	master, err := keys.NewMasterKey(rand.Reader)
	must(t, err)
	folder := filepath.Join(k.dir, "store")
	must(t, os.Mkdir(folder, 0o700))
	k.book, err = store.OpenFleet(t.Context(), store.Config{Dir: folder, Master: master, NoSync: true})
	must(t, err)
	t.Cleanup(func() { _ = k.book.Close() })
	return k
}

// TestDeviceVerifyAnchored: segments that are under a root in the log are told, under the
// policy that believes it and no other; a proof that was changed proves nothing.
func TestDeviceVerifyAnchored(t *testing.T) {
	k := newFleetKit(t)
	must := func(err error) { t.Helper(); must(t, err) }
	now, dir, authority, service, kid, book := k.now, k.dir, k.authority, k.service, k.kid, k.book
	clock := now
	f := &fleet.Fleet{Book: book, Signer: service.Signer, KID: kid, Now: func() time.Time { return clock }, Log: slog.New(slog.DiscardHandler)}
	by := fleet.Actor{ID: "specimen", Within: fleet.Place{Organisation: "moh"}}
	name, err := device.NewName(device.Serial, "Specimen/1")
	must(err)
	d := &fleet.Device{Place: by.Within, Names: []device.Name{name}, Supplier: "supplier"}
	must(f.Register(t.Context(), by, d))
	// Two windows, of which the ledger gets the first alone.
	windows := 0
	for range 2 {
		readings := make([]device.Reading, device.SealSize)
		for i := range readings {
			readings[i] = device.Reading{At: clock.Unix() - int64(len(readings)-i)*10, Value: 5000 + int32(i)}
		}
		_, err := f.Ingest(t.Context(), &fleet.Delivery{Source: fleet.Source{Supplier: "supplier", Level: device.LevelToken, Organisation: "moh"}, Series: []fleet.Series{{Device: name, Sensor: "TVC", Quantity: device.Temperature, Interval: 10, Readings: readings}}})
		must(err)
		for more := true; more; {
			more, err = f.Evaluate(t.Context())
			must(err)
		}
		_, err = f.Seal(t.Context())
		must(err)
		for more := true; more; {
			more, err = f.Evaluate(t.Context())
			must(err)
		}
		clock = clock.Add(2 * time.Hour)
		w, err := f.Close(t.Context(), time.Hour)
		must(err)
		if w != nil {
			windows = int(w.N)
		}
	}
	if windows != 2 {
		t.Fatalf("%d windows", windows)
	}
	logged := func(_ context.Context, w *fleet.Window) (message, proof []byte, err error) {
		if w.N > 1 {
			return nil, nil, nil
		}
		actor, err := state.ParseOID(ledgertest.Arc + ".9.1")
		must(err)
		tx := &state.Tx{Actor: actor, Seq: 1, ValidUntil: 1000, Body: &state.TelemetryAnchor{Device: actor, From: uint64(w.Since.Unix()), Until: uint64(w.Until.Unix()), Root: state.Hash(w.Root), Count: uint64(w.Readings)}}
		message, err = tx.Sign(rand.Reader, ledgertest.MemberKey(1))
		must(err)
		tree := tlog.NewTree([]tlog.Hash{{1}, tlog.LeafHash(message), {3}})
		path, err := tlog.ProveInclusion(1, tree.Size(), tree)
		must(err)
		note, err := (&tlog.Checkpoint{Origin: ledgertest.Origin, Size: tree.Size(), Root: tree.Root()}).Note()
		must(err)
		must(ledgertest.LogKey(1).Sign(rand.Reader, note, 0))
		must(ledgertest.CosignerKey(1).Sign(rand.Reader, note, clock.Unix()))
		proof, err = (&tlog.LogProof{Extra: message, Index: 1, Path: path, Checkpoint: note.Encode()}).Encode()
		return message, proof, err
	}
	var out bytes.Buffer
	must(f.Evidence(t.Context(), by, d.ID, 0, 1<<40, [][]byte{service.Certificate().Raw, authority.Certificate().Raw}, logged, &out))
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, data, 0o600))
		return path
	}
	evidence := file("evidence", out.Bytes())
	ca := file("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate().Raw}))
	policy := func(log int) string {
		return file(fmt.Sprintf("policy-%d", log), fmt.Appendf(nil, "log %s\nwitness node %s\nquorum node\n", ledgertest.LogKey(log).Key, ledgertest.CosignerKey(log).Key))
	}
	verify := func(code int, words ...string) (shown shownEvidence) {
		t.Helper()
		var said, wrong bytes.Buffer
		if got := run(append([]string{"device", "verify", "--json", "--ca", ca}, words...), terminal{os.Stdin, &said, &wrong}); got != code {
			t.Fatalf("%d, want %d: %s%s", got, code, said.String(), wrong.String())
		}
		must(json.Unmarshal(said.Bytes(), &shown))
		return shown
	}
	if s := verify(0, evidence); len(s.Streams) != 1 || s.Streams[0].Anchored != -1 || s.Streams[0].Signer != "service" || s.Streams[0].Segments != 2 {
		t.Errorf("without a policy: %+v", s.Streams)
	}
	s := verify(0, "--policy", policy(1), evidence)
	if s.Streams[0].Anchored != 1 || len(s.Anchors) != 1 || s.Anchors[0].Segments != 1 || !s.Anchors[0].Logged.Equal(clock) || s.Anchors[0].Entry != 1 {
		t.Errorf("%+v %+v", s.Streams, s.Anchors)
	}
	if s := verify(1, "--policy", policy(2), evidence); s.Streams[0].Anchored != 0 || s.Anchors[0].Reason == "" {
		t.Errorf("under another policy: %+v", s.Anchors)
	}
	// The seal covers the anchors; without it their own proof does.
	believed, err := tlog.ParsePolicy([]byte(fmt.Sprintf("log %s\nwitness node %s\nquorum node\n", ledgertest.LogKey(1).Key, ledgertest.CosignerKey(1).Key)))
	must(err)
	report, err := device.VerifyEvidence(bytes.NewReader(out.Bytes()), nil, time.Now())
	must(err)
	good := report.Anchors[0]
	if _, err := fleet.VerifyAnchor(&good, believed); err != nil {
		t.Fatal(err)
	}
	for i := range good.Proof {
		bad := device.Anchor{Leaf: good.Leaf, Proof: bytes.Clone(good.Proof)}
		bad.Proof[i] ^= 1
		if a, err := fleet.VerifyAnchor(&bad, believed); err == nil && len(a.Segments) > 0 {
			// A note may have a signature of somebody else besides, which counts for nothing.
			for h := range a.Segments {
				if !bytes.Contains(good.Proof, h[:]) {
					t.Errorf("byte %d: another segment is proven", i)
				}
			}
		}
	}
	bad := device.Anchor{Leaf: append(bytes.Clone(good.Leaf), 0), Proof: good.Proof}
	if _, err := fleet.VerifyAnchor(&bad, believed); err == nil {
		t.Error("another transaction is proven")
	}
}
