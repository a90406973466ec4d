package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ampoule/format/hcert"
	"ampoule/internal/storetest"
	"ampoule/ledger/print"
	"ampoule/ledger/tlog"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"ampoule": main, "get": get, "ask": askOnce, "clinic": clinic, "flip": flip, "alerts": alerts, "certificate": certificate, "gate": gate, "batch": batch, "ledger": ledger})
}

// tests are those of the package, which share a PostgreSQL.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer storetest.StopPostgres()
	return t.M.Run()
}

// get asks the server of a script, at $PORT, for an address until the answer is
// 200 and matches, for some seconds: get PATH REGEXP [FILE]. With a file, its text
// is sent to be verified.
func get() {
	wanted := regexp.MustCompile(os.Args[2])
	address := "http://127.0.0.1:" + os.Getenv("PORT") + os.Args[1]
	last := "no answer"
	for range 100 {
		text, err := ask(address)
		if err == nil && wanted.MatchString(text) {
			return
		}
		last = fmt.Sprint(text, err)
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, last)
	os.Exit(1)
}

// batch closes a batch of one certificate, as its issuer would: batch CODE LANDMARKS PATH.
func batch() {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	text, err := os.ReadFile(os.Args[1])
	check(err)
	m, err := hcert.Decode(strings.TrimSpace(string(text)), hcert.Strict)
	check(err)
	leaf, err := print.OfSign1(m.Sign1)
	check(err)
	batches, err := print.Close([]print.Leaf{leaf}, rand.Reader)
	check(err)
	landmarks, err := print.EncodeLandmarks([]tlog.Hash{batches[0].Root()})
	check(err)
	check(os.WriteFile(os.Args[2], landmarks, 0o600))
	way, err := batches[0].Path(leaf)
	check(err)
	path, err := way.Encode()
	check(err)
	check(os.WriteFile(os.Args[3], path, 0o600))
	if len(os.Args) < 6 {
		return
	}
	// A log of one entry, and a notary: the receipt, and what a bundle has of the log.
	notary, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	by, err := tlog.SignRoot(rand.Reader, notary, batches[0].Root())
	check(err)
	receipt, err := (&tlog.Receipt{By: by, Path: way}).Encode()
	check(err)
	check(os.WriteFile(os.Args[4], receipt, 0o600))
	_, log, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	origin, err := tlog.NewNoteSigner("oid/2.999.1.1", tlog.Ed25519Note, log)
	check(err)
	note, err := (&tlog.Checkpoint{Origin: "oid/2.999.1.1", Size: 8, Root: tlog.Hash{1}}).Note()
	check(err)
	check(origin.Sign(rand.Reader, note, 0))
	known := &print.Ledger{Checkpoint: note.Encode(), Notaries: []crypto.PublicKey{notary.Public()}}
	if len(os.Args) > 6 {
		known.Places = map[tlog.Hash]uint64{batches[0].Root(): 7}
	}
	ledger, err := known.Encode()
	check(err)
	check(os.WriteFile(os.Args[5], ledger, 0o600))
	message, err := hcert.COSE(strings.TrimSpace(string(text)), hcert.Strict)
	check(err)
	message, err = tlog.AttachReceipts(message, receipt)
	check(err)
	with, err := hcert.EncodeCOSE(message)
	check(err)
	check(os.WriteFile(os.Args[4]+".txt", []byte(with+"\n"), 0o600))
}

// askOnce asks for an address with names in it and in what is sent along, whatever
// the answer: ask PATH BODY.
func askOnce() {
	res, err := http.Post("http://127.0.0.1:"+os.Getenv("PORT")+os.Args[1], "application/json", strings.NewReader(os.Args[2]))
	if err != nil {
		panic(err)
	}
	res.Body.Close()
	fmt.Println(res.StatusCode)
}

func ask(address string) (string, error) {
	method, body := http.MethodGet, []byte(nil)
	if len(os.Args) > 3 {
		text, err := os.ReadFile(os.Args[3])
		if err != nil {
			return "", err
		}
		method = http.MethodPost
		if body, err = json.Marshal(map[string]any{"texts": []string{string(text)}}); err != nil {
			return "", err
		}
	}
	r, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", res.Status)
	}
	return string(text), err
}

// freePort is one that nobody listens at, as far as can be told.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// TestScripts keeps the promises of the command line. Each script runs the
// program as a process of its own, in a folder of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"PORT", "GATE", "PORT2", "GATE2"} {
				port, err := freePort()
				if err != nil {
					return err
				}
				env.Setenv(name, port)
			}
			examples, err := filepath.Abs("../../docs/spec/examples")
			if err != nil {
				return err
			}
			env.Setenv("EXAMPLES", examples)
			env.Setenv("AMPOULE_PASSPHRASE", "a passphrase for tests")
			return nil
		},
	})
}
