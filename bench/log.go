package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"ampoule/ledger/tlog"
)

// logCases measures the proofs of the ledger: paths against another implementation,
// whole checks against the signatures and hashes that are in them.
func logCases() ([]bench, error) {
	// Any hashes are a path, to the root that comes of them.
	const index, size, old = 333_333, 1_000_000, 654_321
	leaf := tlog.LeafHash([]byte("an entry"))
	path, err := drawPath(tlog.InclusionLength(index, size))
	if err != nil {
		return nil, err
	}
	root, err := tlog.InclusionRoot(leaf, index, size, path)
	if err != nil {
		return nil, err
	}
	bare := slicesOf(path)
	growth, oldRoot, newRoot, err := consistentPath(old, size)
	if err != nil {
		return nil, err
	}
	bareGrowth := slicesOf(growth)

	// A receipt in a batch of 2^14.
	batch := new(tlog.Tree)
	for i := range 1 << 14 {
		batch.Append(tlog.LeafHash(fmt.Appendf(nil, "leaf %d", i)))
	}
	notaryKey, notary, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	by, err := tlog.SignRoot(rand.Reader, notary, batch.Root())
	if err != nil {
		return nil, err
	}
	batchPath, err := tlog.NewBatchPath(batch.Size()-1, batch)
	if err != nil {
		return nil, err
	}
	batchLeaf, err := batch.Node(0, batchPath.Index)
	if err != nil {
		return nil, err
	}
	receipt, err := (&tlog.Receipt{By: by, Path: batchPath}).Encode()
	if err != nil {
		return nil, err
	}
	message := make([]byte, 80) // as long as what is signed of a receipt
	signature := ed25519.Sign(notary, message)

	// A proof in a log of 10^6, cosigned by three witnesses.
	file, policy, witness, err := cosignedProof(path, index, size, root)
	if err != nil {
		return nil, err
	}
	cosigned := make([]byte, 128)
	cosignature, err := witness.Sign(rand.Reader, cosigned, nil)
	if err != nil {
		return nil, err
	}
	witnessKey, _ := witness.Public().(*mldsa44.PublicKey)

	climb := func(n int) {
		var node [65]byte
		for range n {
			h := sha256.Sum256(node[:])
			copy(node[1:], h[:])
		}
	}
	return []bench{
		{name: "merkle-inclusion", run: func() error {
			return proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], bare, root[:])
		}},
		{name: "inclusion", base: "merkle-inclusion", goal: 1.10, run: func() error {
			return tlog.VerifyInclusion(leaf, index, size, path, root)
		}},
		{name: "merkle-consistency", run: func() error {
			return proof.VerifyConsistency(rfc6962.DefaultHasher, old, size, bareGrowth, oldRoot[:], newRoot[:])
		}},
		{name: "consistency", base: "merkle-consistency", goal: 1.10, run: func() error {
			return tlog.VerifyConsistency(old, size, oldRoot, newRoot, growth)
		}},
		{name: "receipt-floor", run: func() error {
			climb(14)
			if !ed25519.Verify(notaryKey, message, signature) {
				return errors.New("the signature does not fit")
			}
			return nil
		}},
		{name: "receipt", base: "receipt-floor", goal: 1.30, run: func() error {
			r, err := tlog.ParseReceipt(receipt)
			if err != nil {
				return err
			}
			_, err = r.Verify(batchLeaf, notaryKey)
			return err
		}},
		{name: "proof-floor", run: func() error {
			climb(20)
			for range 3 {
				if !mldsa44.Verify(witnessKey, cosigned, nil, cosignature) {
					return errors.New("the signature does not fit")
				}
			}
			if !ed25519.Verify(notaryKey, message, signature) {
				return errors.New("the signature does not fit")
			}
			return nil
		}},
		{name: "proof", base: "proof-floor", goal: 1.30, run: func() error {
			p, err := tlog.ParseLogProof(file)
			if err != nil {
				return err
			}
			_, err = p.Verify(leaf, policy)
			return err
		}},
	}, nil
}

func drawPath(n int, err error) ([]tlog.Hash, error) {
	path := make([]tlog.Hash, n)
	for i := range path {
		_, _ = rand.Read(path[i][:]) // never fails
	}
	return path, err
}

// consistentPath makes a log of size leaves and proves that it continues that of old
// ones.
func consistentPath(old, size uint64) (path []tlog.Hash, oldRoot, root tlog.Hash, err error) {
	leaves := make([]tlog.Hash, size)
	tree := tlog.NewTree(leaves)
	if path, err = tlog.ProveConsistency(old, size, tree); err != nil {
		return nil, oldRoot, root, err
	}
	oldRoot, err = tlog.TreeRoot(old, tree)
	return path, oldRoot, tree.Root(), err
}

// cosignedProof signs the root as a log, and as three witnesses of which the policy
// asks for all.
func cosignedProof(path []tlog.Hash, index, size uint64, root tlog.Hash) (file []byte, policy *tlog.Policy, witness *mldsa44.PrivateKey, err error) {
	const origin = "oid/1.3.6.1.4.1.99999.1.1"
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	log, err := tlog.NewNoteSigner(origin, tlog.Ed25519Note, key)
	if err != nil {
		return nil, nil, nil, err
	}
	note, err := (&tlog.Checkpoint{Origin: origin, Size: size, Root: root}).Note()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := log.Sign(rand.Reader, note, 0); err != nil {
		return nil, nil, nil, err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "log %s\n", log.Key)
	for i := range 3 {
		if _, witness, err = mldsa44.GenerateKey(rand.Reader); err != nil {
			return nil, nil, nil, err
		}
		s, err := tlog.NewNoteSigner(fmt.Sprintf("oid/1.3.6.1.4.1.99999.2.%d", i), tlog.MLDSA44Cosignature, witness)
		if err != nil {
			return nil, nil, nil, err
		}
		if err := s.Sign(rand.Reader, note, 1_780_000_000); err != nil {
			return nil, nil, nil, err
		}
		fmt.Fprintf(&text, "witness w%d %s\n", i, s.Key)
	}
	text.WriteString("group all all w0 w1 w2\nquorum all\n")
	if policy, err = tlog.ParsePolicy([]byte(text.String())); err != nil {
		return nil, nil, nil, err
	}
	file, err = (&tlog.LogProof{Index: index, Path: path, Checkpoint: note.Encode()}).Encode()
	return file, policy, witness, err
}

func slicesOf(path []tlog.Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}
