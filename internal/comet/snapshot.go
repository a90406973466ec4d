package comet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cometbft/cometbft/types"

	"ampoule/internal/keep"
	"ampoule/ledger/state"
)

// Snapshots are for nodes that join: the rows as they stood at the end of an epoch,
// under whose leaf in the log they can be checked. Two are kept, so that one that is
// being fetched stays until the second next epoch.
const (
	snapshotFolder = "snapshots"
	snapshotsKept  = 2
)

// shelf is the folder of the snapshots, each a file that is named by its height.
type shelf string

func openShelf(dir string) (shelf, error) {
	s := shelf(filepath.Join(dir, snapshotFolder))
	return s, os.MkdirAll(string(s), 0o755)
}

// heights are those of the snapshots, ascending.
func (s shelf) heights() ([]uint64, error) {
	entries, err := os.ReadDir(string(s))
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		if height, err := strconv.ParseUint(e.Name(), 10, 63); err == nil {
			all = append(all, height)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (s shelf) path(height uint64) string {
	return filepath.Join(string(s), strconv.FormatUint(height, 10))
}

// put keeps the snapshot of a state, and takes away those that are too old.
func (s shelf) put(st *state.State) error {
	if err := keep.Replace(s.path(st.Height()), st.Snapshot(), 0o644); err != nil {
		return err
	}
	all, err := s.heights()
	if err != nil {
		return err
	}
	for _, old := range all[:max(len(all)-snapshotsKept, 0)] {
		if err := os.Remove(s.path(old)); err != nil {
			return err
		}
	}
	return nil
}

// Snapshots implements [notary.Origin].
func (n *Node) Snapshots() ([]uint64, error) { return n.app.shelf.heights() }

// Snapshot implements [notary.Origin].
func (n *Node) Snapshot(height uint64) ([]byte, error) {
	return os.ReadFile(n.app.shelf.path(height))
}

// Block implements [notary.Origin]: the header of a block, the commit of it, and the
// validators of its height with their turns, in the engine's encoding (LightBlock).
func (n *Node) Block(height uint64) ([]byte, error) {
	missing := fmt.Errorf("block %d: %w", height, fs.ErrNotExist)
	blocks := n.node.BlockStore()
	if height == 0 || height > uint64(blocks.Height()) {
		return nil, missing
	}
	meta := blocks.LoadBlockMeta(int64(height))
	commit := blocks.LoadBlockCommit(int64(height)) // it came with the next block
	if commit == nil {
		commit = blocks.LoadSeenCommit(int64(height))
	}
	if meta == nil || commit == nil {
		return nil, missing
	}
	validators, err := n.states.LoadValidators(int64(height))
	if err != nil {
		return nil, errors.Join(missing, err)
	}
	light := &types.LightBlock{SignedHeader: &types.SignedHeader{Header: &meta.Header, Commit: commit}, ValidatorSet: validators}
	message, err := light.ToProto()
	if err != nil {
		return nil, fmt.Errorf("ledger: block %d: %w", height, err)
	}
	return message.Marshal()
}
