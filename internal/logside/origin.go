package logside

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxSnapshot bounds what is read of a snapshot: the rows of a million entries.
const maxSnapshot = 512 << 20

// Origin is a service with a node of the ledger, by which another node joins.
type Origin struct {
	*remote // its log
	api     *remote
}

// NewOrigin takes the address of a service, to which /ledger and /v1/ledger are added.
func NewOrigin(address string) (*Origin, error) {
	c, err := Dial(address, 10*time.Minute, maxSnapshot)
	if err != nil {
		return nil, err
	}
	address = strings.TrimSuffix(address, "/")
	return &Origin{&remote{address + "/ledger", c}, &remote{address + "/v1/ledger", c}}, nil
}

// Snapshots are the heights of which there is one.
func (o *Origin) Snapshots(ctx context.Context) ([]uint64, error) {
	data, err := o.api.get(ctx, "snapshots")
	if err != nil {
		return nil, err
	}
	var all []uint64
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s/snapshots: %w", o.api.base, ErrAnswer)
	}
	return all, nil
}

// Snapshot is the one of a height.
func (o *Origin) Snapshot(ctx context.Context, height uint64) ([]byte, error) {
	return o.api.get(ctx, "snapshots/"+strconv.FormatUint(height, 10))
}

// Block is what shows that a block was agreed on.
func (o *Origin) Block(ctx context.Context, height uint64) ([]byte, error) {
	return o.api.get(ctx, "blocks/"+strconv.FormatUint(height, 10))
}
