package comet

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cometbft/cometbft/crypto"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/crypto/mldsa65"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// What is in the folder of a node. The keys of the member itself are in keys/.
const (
	GenesisFile = "genesis.cbor"
	LogFolder   = "log"

	stateFile   = "state.db"
	cometFolder = "comet"
	keyFile     = "validator_key.json"   // in comet/
	signedFile  = "validator_state.json" // what the key has signed last
	nodeKeyFile = "node_key.json"
)

// Identity is what others have to know of a node.
type Identity struct {
	Type uint64 // state.ConsensusEd25519 or state.ConsensusMLDSA65
	Key  string // with which it votes
	ID   string // of the node, by which its peers know it
}

// MakeKeys makes the keys with which the node in a folder votes and is known to its
// peers. Keys that are there stay.
func MakeKeys(dir string, typ uint64) (*Identity, error) {
	at := filepath.Join(dir, cometFolder)
	if err := os.MkdirAll(filepath.Join(at, "data"), 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(at, keyFile)); errors.Is(err, fs.ErrNotExist) {
		var key crypto.PrivKey = cmted25519.GenPrivKey()
		if typ == state.ConsensusMLDSA65 {
			if key, err = mldsa65.GenPrivKey(); err != nil {
				return nil, err
			}
		}
		privval.NewFilePV(key, filepath.Join(at, keyFile), filepath.Join(at, signedFile)).Save()
	} else if err != nil {
		return nil, err
	}
	if _, err := p2p.LoadOrGenNodeKey(filepath.Join(at, nodeKeyFile)); err != nil {
		return nil, err
	}
	return ReadIdentity(dir)
}

// ReadIdentity reads what others have to know of the node in a folder.
func ReadIdentity(dir string) (*Identity, error) {
	k, err := readKeys(dir)
	if err != nil {
		return nil, err
	}
	id := &Identity{ID: string(k.node.ID())}
	id.Type, id.Key, err = fromEngine(k.validator.Key.PubKey)
	return id, err
}

// nodeKeys are the keys of the engine.
type nodeKeys struct {
	validator *privval.FilePV
	node      *p2p.NodeKey
}

// readKeys reads the keys. The engine's own reader ends the process at a mistake.
// What the key has signed last must be there: without it the node would sign twice.
func readKeys(dir string) (*nodeKeys, error) {
	at := filepath.Join(dir, cometFolder)
	paths := [...]string{filepath.Join(at, keyFile), filepath.Join(at, signedFile)}
	var data [len(paths)][]byte
	for i, path := range paths {
		var err error
		if data[i], err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("keys of the node: %w", err)
		}
	}
	var key privval.FilePVKey
	if err := cmtjson.Unmarshal(data[0], &key); err != nil || key.PrivKey == nil {
		return nil, fmt.Errorf("%s: %w", paths[0], ErrDamaged)
	}
	k := &nodeKeys{validator: privval.NewFilePV(key.PrivKey, paths[0], paths[1])}
	if err := cmtjson.Unmarshal(data[1], &k.validator.LastSignState); err != nil {
		return nil, fmt.Errorf("%s: %w", paths[1], ErrDamaged)
	}
	var err error
	if k.node, err = p2p.LoadNodeKey(filepath.Join(at, nodeKeyFile)); err != nil {
		return nil, fmt.Errorf("keys of the node: %w", err)
	}
	return k, nil
}

// fromEngine is the key of a validator as the ledger has it.
func fromEngine(key crypto.PubKey) (typ uint64, raw string, err error) {
	switch key := key.(type) {
	case cmted25519.PubKey:
		return state.ConsensusEd25519, string(key), nil
	case mldsa65.PubKey:
		return state.ConsensusMLDSA65, string(key.Bytes()), nil
	}
	return 0, "", fmt.Errorf("validator key of type %s: %w", key.Type(), ErrKeyType)
}

// toEngine is the key of a validator as the engine has it.
func toEngine(typ uint64, raw string) (crypto.PubKey, error) {
	switch {
	case typ == state.ConsensusEd25519 && len(raw) == ed25519.PublicKeySize:
		return cmted25519.PubKey(raw), nil
	case typ == state.ConsensusMLDSA65:
		key, err := mldsa65.NewPubKeyFromBytes([]byte(raw))
		if err != nil {
			return nil, fmt.Errorf("validator key: %v: %w", err, ErrKeyType)
		}
		return key, nil
	}
	return nil, fmt.Errorf("validator key of type %d: %w", typ, ErrKeyType)
}

// ReadGenesis reads the genesis of a node's folder.
func ReadGenesis(dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, GenesisFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s: %w", dir, GenesisFile, ErrNoGenesis)
	}
	return data, err
}

// ChainID is the name of a chain in the engine, which takes 50 bytes.
func ChainID(genesis []byte) string {
	sum := sha256.Sum256(genesis)
	return fmt.Sprintf("ampoule-%x", sum[:20])
}

// engineGenesis is the genesis as the engine has it: nothing but what follows from
// ours.
func engineGenesis(data []byte) (*types.GenesisDoc, error) {
	g, err := state.ParseGenesis(data)
	if err != nil {
		return nil, err
	}
	doc := &types.GenesisDoc{
		GenesisTime: time.Unix(int64(g.Time), 0).UTC(), ChainID: ChainID(data), InitialHeight: 1,
		ConsensusParams: types.DefaultConsensusParams(),
	}
	doc.ConsensusParams.Block.MaxBytes = blockBytes(g.Params)
	doc.ConsensusParams.Validator.PubKeyTypes = []string{types.ABCIPubKeyTypeEd25519, types.ABCIPubKeyTypeMlDsa65}
	doc.ConsensusParams.Version.App = state.AppVersion
	for _, v := range g.Validators {
		key, err := toEngine(v.Type, v.Key)
		if err != nil {
			return nil, err
		}
		doc.Validators = append(doc.Validators, types.GenesisValidator{Address: key.Address(), PubKey: key, Power: enginePower(v.Power)})
	}
	if doc.AppState, err = json.Marshal(data); err != nil {
		return nil, err
	}
	return doc, doc.ValidateAndComplete()
}

// enginePower is the power of a validator as the engine has it: many times ours,
// because the engine computes a third of all in whole numbers. Of four or five with a
// power of one each, one is then that third, without which there is no block, and votes
// at once instead of fetching first what it has missed.
func enginePower(power uint64) int64 { return int64(power) * powerUnit }

const powerUnit = 1000

// mempoolBytes is what may wait for a block.
const mempoolBytes = 16 << 20

// blockBytes is the bound that the engine has for a block: so large that all that
// waits is shown to the application, which then chooses. The bound that counts is
// that of the parameters.
func blockBytes(p state.Params) int64 { return int64(max(p.BlockBytes, mempoolBytes) + 4<<20) }

// logFolder is where the log lies.
func logFolder(dir string) string { return filepath.Join(dir, LogFolder) }

// hashOf takes a hash of the engine.
func hashOf(b []byte) (h tlog.Hash) {
	copy(h[:], b)
	return h
}
