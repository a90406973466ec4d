package gatewayclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
	"ampoule/format/tng"
	"ampoule/internal/keep"
	"ampoule/party/participant"
)

// ErrState refuses a damaged state: begun anew, nothing would be known of what
// must not come back.
const ErrState = format.Defect("damaged-state")

// The files of a folder.
const (
	stateFile = "state.json"       // what is remembered; the only one that is read again
	listFile  = "gateway.json"     // the accepted lists, for verifiers
	batchFile = "revocations.json" // the revoked certificates, for verifiers
)

const maxState = 512 << 20

// Folder keeps the memory of a participant in files. One process at a time: see
// [Open].
type Folder struct{ dir string }

// Open makes the folder where there is none, and keeps others out until release
// is called.
func Open(dir string) (f *Folder, release func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	if release, err = keep.Lock(filepath.Join(dir, stateFile)); err != nil {
		return nil, nil, err
	}
	return &Folder{dir}, release, nil
}

// List is the name of the file with the accepted lists.
func (f *Folder) List() string { return filepath.Join(f.dir, listFile) }

// Revocations is the name of the file with the revoked certificates.
func (f *Folder) Revocations() string { return filepath.Join(f.dir, batchFile) }

type pendingJSON struct {
	List   json.RawMessage     `json:"list"`
	Digest string              `json:"digest"`
	At     time.Time           `json:"at"`
	Alarms []participant.Alarm `json:"alarms"`
}

type stateJSON struct {
	Version    int                           `json:"participantState"`
	List       json.RawMessage               `json:"list,omitempty"`
	Digest     string                        `json:"digest,omitempty"`
	Accepted   time.Time                     `json:"accepted"`
	Polled     time.Time                     `json:"polled"`
	Changed    time.Time                     `json:"changed"`
	Full       time.Time                     `json:"full"`
	Gone       map[string]participant.Intake `json:"gone,omitempty"`
	Pending    *pendingJSON                  `json:"pending,omitempty"`
	Own        []string                      `json:"own,omitempty"`
	References []tng.Reference               `json:"references,omitempty"`
	Batches    []participant.Batch           `json:"batches,omitempty"`
	BatchSince time.Time                     `json:"batchSince"`
}

// Load reads what was saved last.
func (f *Folder) Load(context.Context) (*participant.Kept, error) {
	path := filepath.Join(f.dir, stateFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &participant.Kept{}, nil
	}
	if err != nil {
		return nil, err
	}
	var s stateJSON
	if err := strictjson.UnmarshalKnown(data, &s, strictjson.Limits{Bytes: maxState}); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrState, err)
	}
	if s.Version != 1 {
		return nil, fmt.Errorf("%s: of another version: %w", path, ErrState)
	}
	k := &participant.Kept{
		Digest: s.Digest, Accepted: s.Accepted, Polled: s.Polled, Changed: s.Changed, Full: s.Full, Gone: s.Gone,
		Own: s.Own, References: s.References, Batches: s.Batches, BatchSince: s.BatchSince,
	}
	if s.List != nil {
		if k.List, err = tng.ParseDownload(s.List); err != nil {
			return nil, fmt.Errorf("%s: list: %w: %w", path, ErrState, err)
		}
	}
	if s.Pending != nil {
		list, err := tng.ParseDownload(s.Pending.List)
		if err != nil {
			return nil, fmt.Errorf("%s: pending: %w: %w", path, ErrState, err)
		}
		k.Pending = &participant.Pending{List: list, Digest: s.Pending.Digest, At: s.Pending.At, Alarms: s.Pending.Alarms}
	}
	return k, nil
}

// Save writes the state, then the files for verifiers. A crash between them
// leaves verifiers with the older lists until the next time.
func (f *Folder) Save(_ context.Context, k *participant.Kept) error {
	s := stateJSON{
		Version: 1, Digest: k.Digest, Accepted: k.Accepted, Polled: k.Polled, Changed: k.Changed, Full: k.Full, Gone: k.Gone,
		Own: k.Own, References: k.References, Batches: k.Batches, BatchSince: k.BatchSince,
	}
	var err error
	if k.List != nil {
		if s.List, err = k.List.Encode(); err != nil {
			return err
		}
	}
	if k.Pending != nil {
		list, err := k.Pending.List.Encode()
		if err != nil {
			return err
		}
		s.Pending = &pendingJSON{list, k.Pending.Digest, k.Pending.At, k.Pending.Alarms}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := keep.Replace(filepath.Join(f.dir, stateFile), data, 0o644); err != nil {
		return err
	}
	if s.List != nil {
		if err := keep.Replace(f.List(), s.List, 0o644); err != nil {
			return err
		}
	}
	if len(k.Batches) == 0 && k.BatchSince.IsZero() {
		return nil
	}
	payloads := make([]json.RawMessage, len(k.Batches))
	for i, b := range k.Batches {
		payloads[i] = b.Payload
	}
	if data, err = json.Marshal(map[string]any{"batches": payloads}); err != nil {
		return err
	}
	return keep.Replace(f.Revocations(), data, 0o644)
}
