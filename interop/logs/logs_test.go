// Package logs holds our logs and witnesses against Tessera, another implementation
// of the same specifications. It is a module of its own, since nothing of Tessera
// belongs into ours: go test ./... in this folder.
package logs

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	tesseraclient "github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"ampoule/internal/httpapi"
	"ampoule/internal/ledgertest"
	"ampoule/internal/logside"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
	"ampoule/party/verifier"
)

// TestTesseraReadsOurLog: Tessera's client fetches what we serve, its fsck finds it
// whole, and its proofs verify, before and after a tile is full.
func TestTesseraReadsOurLog(t *testing.T) {
	replica := ledgertest.NewChain(ledgertest.Genesis(1, 50)).Join(t, t.TempDir())
	replica.Register(t)
	policy, err := tlog.ParsePolicy(ledgertest.Policy(1, nil, 1))
	if err != nil {
		t.Fatal(err)
	}
	n, err := notary.New(notary.Config{
		Replica: replica, Log: ledgertest.LogKey(1), Policy: policy, Shelf: new(ledgertest.Shelf), Now: time.Now, Random: rand.Reader,
		Cosigner: &notary.Cosigner{Signers: []*tlog.NoteSigner{ledgertest.CosignerKey(1)}, Seen: new(ledgertest.Seen), Now: time.Now, Random: rand.Reader},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer((&httpapi.Page{Verifier: new(verifier.Verifier), Ledger: n}).Handler())
	defer server.Close()
	root, err := url.Parse(server.URL + "/ledger/")
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewVerifier(ledgertest.LogKey(1).Key.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []int{1, 6, 255, 300} {
		for range more {
			replica.Batch(t, int(replica.Head().Size))
		}
		if err := n.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		fetcher, err := tesseraclient.NewHTTPFetcher(root, http.DefaultClient)
		if err != nil {
			t.Fatal(err)
		}
		bundle := func(data []byte) (hashes [][]byte, err error) {
			for len(data) > 0 {
				size := 2 + int(data[0])<<8 + int(data[1])
				hashes, data = append(hashes, rfc6962.DefaultHasher.HashLeaf(data[2:size])), data[size:]
			}
			return hashes, nil
		}
		if err := fsck.New(ledgertest.Origin, key, fetcher, bundle, fsck.Opts{N: 2}).Check(t.Context()); err != nil {
			t.Errorf("%d entries: %v", replica.Head().Size, err)
		}
		cp, _, _, err := tesseraclient.FetchCheckpoint(t.Context(), fetcher.ReadCheckpoint, key, ledgertest.Origin)
		if err != nil {
			t.Fatal(err)
		}
		builder, err := tesseraclient.NewProofBuilder(t.Context(), cp.Size, fetcher.ReadTile)
		if err != nil {
			t.Fatal(err)
		}
		entry, _, err := n.Entry(2)
		if err != nil {
			t.Fatal(err)
		}
		path, err := builder.InclusionProof(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, 2, cp.Size, rfc6962.DefaultHasher.HashLeaf(entry), path, cp.Hash); err != nil {
			t.Error(err)
		}
	}
}

// TestWeWitnessTessera: a log of Tessera asks our witness, also after that was away
// and after its memory is of an older size, and publishes what our policy takes.
func TestWeWitnessTessera(t *testing.T) {
	const origin = "log.example/specimen"
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	logKey, err := tlog.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	ours := ledgertest.WitnessKey("witness.example/w", tlog.Ed25519Cosignature)
	seen, err := logside.OpenSeen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close()
	w := &notary.Cosigner{Signers: []*tlog.NoteSigner{ours}, Logs: []*tlog.Key{logKey}, Seen: seen, Now: time.Now, Random: rand.Reader}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", logside.Handler(w, func(err error) { t.Error(err) }))
	server := httptest.NewServer(mux)
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := tessera.NewWitness(ours.Key.String(), address)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	policy, err := tlog.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", public, ours.Key))
	if err != nil {
		t.Fatal(err)
	}
	source, err := logside.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for range 2 { // the second time it has forgotten which size the witness has seen
		driver, err := posix.New(t.Context(), posix.Config{Path: dir})
		if err != nil {
			t.Fatal(err)
		}
		appender, shutdown, reader, err := tessera.NewAppender(t.Context(), driver, tessera.NewAppendOptions().
			WithCheckpointSigner(signer).WithCheckpointInterval(200*time.Millisecond).WithBatching(16, 20*time.Millisecond).
			WithWitnesses(tessera.NewWitnessGroup(1, theirs), nil))
		if err != nil {
			t.Fatal(err)
		}
		await := tessera.NewPublicationAwaiter(t.Context(), reader.ReadCheckpoint, 20*time.Millisecond)
		for range 40 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if next%10 == 0 {
				if _, _, err := await.Await(ctx, appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "entry %d", next)))); err != nil {
					t.Fatal(err)
				}
			} else if _, err := appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "entry %d", next)))(); err != nil {
				t.Fatal(err)
			}
			cancel()
			next++
		}
		if err := shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		report, err := notary.Fsck(t.Context(), source, policy)
		if err != nil || !report.OK() {
			t.Fatalf("%+v, %v", report, err)
		}
		if last, err := seen.Last(origin); err != nil || last.Size != report.Checkpoint.Size || last.Root != report.Checkpoint.Root {
			t.Errorf("%+v, %v, and %+v is published", last, err, report.Checkpoint)
		}
	}
}
