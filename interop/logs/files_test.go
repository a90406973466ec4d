package logs

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"ampoule/ledger/tlog"
)

var entries = flag.Uint64("entries", 1_000_000, "entries of the log that we write")

const origin = "oid/2.25.1.1.1"

func entry(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("entry "), i) }

// newSigner returns a key of ours, and the other side's verifier of it.
func newSigner(t *testing.T) (*tlog.NoteSigner, *tlog.Key, note.Verifier) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tlog.NewNoteSigner(origin, tlog.Ed25519Note, priv)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tlog.NewKey(origin, tlog.Ed25519Note, pub)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(key.String())
	if err != nil {
		t.Fatal(err)
	}
	return s, key, v
}

// writeLog writes a log of size entries into a folder, as a node does.
func writeLog(t *testing.T, dir string, size uint64, s *tlog.NoteSigner) tlog.Hash {
	t.Helper()
	write := func(path string, data []byte) {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	edge := new(tlog.Edge)
	for first := uint64(0); first < size; first += tlog.TileWidth {
		width := min(size-first, tlog.TileWidth)
		var bundle []byte
		for i := first; i < first+width; i++ {
			bundle, _ = tlog.AppendEntry(bundle, entry(i))
			if err := edge.Append(tlog.LeafHash(entry(i))); err != nil {
				t.Fatal(err)
			}
		}
		write(tlog.Tile{Level: tlog.Entries, Index: first / tlog.TileWidth, Width: int(width)}.Path(), bundle)
	}
	for _, d := range edge.Tiles() {
		write(d.Tile.Path(), d.Data)
	}
	c := &tlog.Checkpoint{Origin: origin, Size: size, Root: edge.Root()}
	n, err := c.Note()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Sign(rand.Reader, n, 0); err != nil {
		t.Fatal(err)
	}
	write(tlog.CheckpointPath, n.Encode())
	return c.Root
}

// leafHashes is how the other side reads a bundle of entries.
func leafHashes(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(b.Entries))
	for i, e := range b.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(e)
	}
	return hashes, nil
}

// TestTheirsOnOurs: their fsck finds our log whole, and their proofs are ours byte
// by byte.
func TestTheirsOnOurs(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	s, _, verifier := newSigner(t)
	size := *entries
	root := writeLog(t, dir, size, s)
	files := client.FileFetcher{Root: dir}
	start := time.Now()
	if err := fsck.New(origin, verifier, files, leafHashes, fsck.Opts{N: 2}).Check(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("fsck of %d entries: %v", size, time.Since(start).Round(time.Millisecond))

	theirs, err := client.NewProofBuilder(ctx, size, files.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	ours := &tlog.TileNodes{Size: size, Read: tlog.Files{FS: os.DirFS(dir)}.Tile}
	draw := mathrand.New(mathrand.NewPCG(7, 8))
	for range 300 {
		index, old := draw.Uint64N(size), 1+draw.Uint64N(size)
		path, err := theirs.InclusionProof(ctx, index)
		if err != nil {
			t.Fatal(err)
		}
		mine, err := tlog.ProveInclusion(index, size, ours)
		if err != nil {
			t.Fatal(err)
		}
		same(t, path, mine)
		leaf := tlog.LeafHash(entry(index))
		if err := tlog.VerifyInclusion(leaf, index, size, mine, root); err != nil {
			t.Fatal(err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], path, root[:]); err != nil {
			t.Fatal(err)
		}
		if path, err = theirs.ConsistencyProof(ctx, old, size); err != nil {
			t.Fatal(err)
		}
		if mine, err = tlog.ProveConsistency(old, size, ours); err != nil {
			t.Fatal(err)
		}
		same(t, path, mine)
	}
}

// TestDamage: both find a changed byte. The log is small and has many workers, for
// their fsck does not end where its workers have found something and more is to do.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s, _, verifier := newSigner(t)
	const size = 2000
	root := writeLog(t, dir, size, s)
	files := client.FileFetcher{Root: dir}
	for _, tile := range []tlog.Tile{
		{Level: tlog.Entries, Index: 3, Width: tlog.TileWidth}, {Level: 0, Index: 2, Width: tlog.TileWidth},
	} {
		path := filepath.Join(dir, filepath.FromSlash(tile.Path()))
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := len(data)/2 + 8 // within an entry; their fsck panics at a wrong length
		data[at] ^= 1
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if fsck.New(origin, verifier, files, leafHashes, fsck.Opts{N: 64}).Check(t.Context()) == nil {
			t.Errorf("their fsck takes a changed %s", tile.Path())
		}
		if tlog.Audit(size, root, tlog.Files{FS: os.DirFS(dir)}.Tile) == nil {
			t.Errorf("our audit takes a changed %s", tile.Path())
		}
		data[at] ^= 1
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func same(t *testing.T, theirs [][]byte, ours []tlog.Hash) {
	t.Helper()
	if len(theirs) != len(ours) {
		t.Fatalf("%d hashes, theirs %d", len(ours), len(theirs))
	}
	for i := range ours {
		if string(theirs[i]) != string(ours[i][:]) {
			t.Fatalf("hash %d differs", i)
		}
	}
}

// TestOursOnTheirs: our audit finds their log whole, and our proofs lead to the root
// of their checkpoint.
func TestOursOnTheirs(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	dir := t.TempDir()
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(s).WithBatching(512, 50*time.Millisecond).WithCheckpointInterval(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	await := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	const size = 3000
	futures := make([]tessera.IndexFuture, size)
	for i := range futures {
		futures[i] = appender.Add(ctx, tessera.NewEntry(entry(uint64(i))))
	}
	for _, f := range futures {
		if _, _, err := await.Await(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := shutdown(ctx); err != nil {
		t.Fatal(err)
	}

	data, err := os.ReadFile(filepath.Join(dir, tlog.CheckpointPath))
	if err != nil {
		t.Fatal(err)
	}
	key, err := tlog.ParseKey(strings.TrimSpace(public))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := tlog.ParsePolicy(fmt.Appendf(nil, "log %s\nquorum none\n", key))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := policy.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	c := opened.Checkpoint
	if c.Size != size {
		t.Fatalf("a log of %d entries, want %d", c.Size, size)
	}
	files := tlog.Files{FS: os.DirFS(dir)}
	if err := tlog.Audit(c.Size, c.Root, files.Tile); err != nil {
		t.Fatal(err)
	}
	nodes := &tlog.TileNodes{Size: c.Size, Read: files.Tile}
	for index := range c.Size {
		e, err := files.Entry(index, c.Size)
		if err != nil {
			t.Fatal(err)
		}
		path, err := tlog.ProveInclusion(index, c.Size, nodes)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.VerifyInclusion(tlog.LeafHash(e), index, c.Size, path, c.Root); err != nil {
			t.Fatal(err)
		}
	}

	// And they read our checkpoint of the same log.
	ours, _, verifier := newSigner(t)
	n, err := c.Note()
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Sign(rand.Reader, n, 0); err != nil {
		t.Fatal(err)
	}
	theirs, _, _, err := log.ParseCheckpoint(n.Encode(), origin, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if base64.StdEncoding.EncodeToString(theirs.Hash) != base64.StdEncoding.EncodeToString(c.Root[:]) {
		t.Error("another root was read")
	}
}
