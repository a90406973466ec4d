package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/internal/ledgertest"
	"ampoule/internal/logside"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
	"ampoule/party/verifier"
)

// ledger is a notary for the scripts, over a replica that makes a block of each
// transaction. Of four members it keeps the first one's node.
//
//	ledger make VKEY       writes what others need: policy, the keys of the members
//	                       (member-1.pem …) and of an issuer, the genesis' hash (chain)
//	ledger serve DIR       keeps the log in the folder, serves it at $PORT, and has it
//	                       cosigned by the witness at $GATE
//	ledger vote N          votes yes on the proposal that the file of that name shows
//	ledger fork DIR        makes another history of the same log, signed by all but the
//	                       witness
func ledger() {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	t := dying{}
	switch os.Args[1] {
	case "make":
		vkey, err := os.ReadFile(os.Args[2])
		check(err)
		text := fmt.Sprintf("log %s\nwitness node %s\nwitness outside %s\ngroup both all node outside\nquorum both\n",
			ledgertest.LogKey(1).Key, ledgertest.CosignerKey(1).Key, strings.TrimSpace(string(vkey)))
		check(os.WriteFile("policy", []byte(text), 0o600))
		for n := 1; n <= 4; n++ {
			check(keys.Save(fmt.Sprintf("member-%d.pem", n), &keys.Key{Signer: ledgertest.MemberKey(n)}, keys.Unencrypted()))
		}
		check(keys.Save("issuer.pem", &keys.Key{Signer: ledgertest.IssuerKey()}, keys.Unencrypted()))
		r := scriptReplica(t, "prepared")
		r.Read(func(s *state.State) {
			chain := s.Chain()
			check(os.WriteFile("chain", []byte(hex.EncodeToString(chain[:])), 0o600))
		})
	case "serve":
		dir := os.Args[2]
		r := scriptReplica(t, dir)
		tx, root := r.Batch(t, 1)
		check(os.WriteFile("tx", tx, 0o600))
		check(os.WriteFile("root", []byte(hex.EncodeToString(root[:])), 0o600))
		data, err := os.ReadFile("policy")
		check(err)
		p, err := tlog.ParsePolicy(data)
		check(err)
		witness, err := logside.NewWitness("http://127.0.0.1:" + os.Getenv("GATE"))
		check(err)
		n, err := notary.New(notary.Config{
			Replica: r, Log: ledgertest.LogKey(1), Receipts: ledgertest.ES256("notary"), Policy: p, Witnesses: []notary.Remote{witness},
			Cosigner: &notary.Cosigner{
				Signers: []*tlog.NoteSigner{ledgertest.CosignerKey(1)}, Logs: []*tlog.Key{ledgertest.LogKey(1).Key},
				Seen: new(ledgertest.Seen), Now: time.Now, Random: rand.Reader,
			},
			Shelf: logside.Shelf{Path: filepath.Join(dir, "checkpoint"), Perm: 0o644}, Now: time.Now, Random: rand.Reader,
		})
		check(err)
		go func() {
			for ; ; time.Sleep(50 * time.Millisecond) {
				_ = n.Publish(context.Background()) // the script sees whether it was
			}
		}()
		listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
		check(err)
		page := &httpapi.Page{Verifier: new(verifier.Verifier), API: &httpapi.API{Version: "test"}, Ledger: n}
		check(httpapi.NewServer(page.Handler(), nil).Serve(listener))
	case "vote": // of a member, on the proposal in the file of that name
		text, err := os.ReadFile("proposal")
		check(err)
		id := regexp.MustCompile(`proposal +([0-9a-f]{64})`).FindStringSubmatch(string(text))
		os.Exit(run([]string{"node", "vote", id[1], "yes", "--notary", "http://127.0.0.1:" + os.Getenv("PORT"), "--unencrypted",
			"--member", ledgertest.Arc + ".9." + os.Args[2], "--key", "member-" + os.Args[2] + ".pem"}, terminal{os.Stdin, os.Stdout, os.Stderr}))
	case "fork":
		dir := os.Args[2]
		r := scriptReplica(t, dir)
		r.Batch(t, 77)
		head := r.Head()
		note, err := (&tlog.Checkpoint{Origin: ledgertest.Origin, Size: head.Size, Root: head.Root}).Note()
		check(err)
		check(ledgertest.LogKey(1).Sign(rand.Reader, note, 0))
		check(ledgertest.CosignerKey(1).Sign(rand.Reader, note, time.Now().Unix()))
		check(os.WriteFile(filepath.Join(dir, "checkpoint"), note.Encode(), 0o600))
	}
}

func scriptReplica(t testing.TB, dir string) *ledgertest.Replica {
	r := ledgertest.NewChain(ledgertest.Genesis(4, 2)).Join(t, dir)
	r.Register(t)
	return r
}

// dying ends the process where a test would fail.
type dying struct{ testing.TB }

func (dying) Helper()        {}
func (dying) Fatal(v ...any) { panic(fmt.Sprint(v...)) }
