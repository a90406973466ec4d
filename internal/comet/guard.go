package comet

import (
	"bytes"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

// guard looks for signatures of the node's own key that the node does not know of:
// the key is used elsewhere, too, or what it has signed last was restored from an
// older backup. In both cases the next vote could be the second at its height, and
// cost the member its validator.
//
// The engine has a check of its own, double_sign_check_height. It refuses every
// start within so many blocks of the last vote, an ordinary restart among them, and
// where more than a third were away together, for ever. This one holds the
// signatures against the file of what was signed last, so it is silent in an
// ordinary restart.
type guard struct {
	address []byte
	signed  uint64      // height, of the file, at the start
	voting  func() bool // the node has begun to vote; nil: not yet
	off     bool
}

// check looks at who has signed the block before the one of a height.
func (g *guard) check(height uint64, votes []abci.VoteInfo) error {
	if g.off {
		return nil
	}
	g.off = g.voting != nil && g.voting() // what comes after this block may be its own
	if height < 2 || height-1 <= g.signed {
		return nil
	}
	for _, v := range votes {
		if v.BlockIdFlag == cmtproto.BlockIDFlagCommit && bytes.Equal(v.Validator.Address, g.address) {
			return g.elsewhere(height - 1)
		}
	}
	return nil
}

// checkStored looks at the newest commit that the node has itself.
func (g *guard) checkStored(commit *types.Commit) error {
	if commit == nil || uint64(commit.Height) <= g.signed {
		return nil
	}
	for _, s := range commit.Signatures {
		if s.BlockIDFlag == types.BlockIDFlagCommit && bytes.Equal(s.ValidatorAddress, g.address) {
			return g.elsewhere(uint64(commit.Height))
		}
	}
	return nil
}

func (g *guard) elsewhere(height uint64) error {
	return fmt.Errorf("block %d is signed with this node's key, of which %s knows up to height %d: the key is in use elsewhere, or the file was restored: %w",
		height, signedFile, g.signed, ErrKeyElsewhere)
}
