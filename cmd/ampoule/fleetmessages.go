package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/httpapi"
	"ampoule/party/fleet"
)

// Messages implements [httpapi.Suppliers]. A message is named by when it is deleted, in
// hexadecimal, and its digest: so its name is the cursor too.
func (f *fleetNode) Messages(ctx context.Context, organisation, supplier, after string, limit int) ([]httpapi.MessageKept, error) {
	if err := f.source(ctx, organisation, supplier); err != nil {
		return nil, err
	}
	var until time.Time
	var digest [32]byte
	if after != "" {
		var err error
		if until, digest, err = messageOf(after); err != nil {
			return nil, err
		}
	}
	all, size, err := f.store.Kept(ctx, supplier, until, digest, limit)
	out := make([]httpapi.MessageKept, len(all))
	for i, m := range all {
		out[i] = httpapi.MessageKept{ID: fmt.Sprintf("%x-%x", m.Until.Unix(), m.Digest), Media: m.Media, Bytes: int(size[i]), Until: m.Until}
	}
	return out, err
}

// Message implements it.
func (f *fleetNode) Message(ctx context.Context, by fleet.Actor, supplier, id string) ([]byte, error) {
	if err := f.source(ctx, by.Within.Organisation, supplier); err != nil {
		return nil, err
	}
	_, digest, err := messageOf(id)
	if err != nil {
		return nil, err
	}
	body, err := f.store.KeptBody(ctx, supplier, digest)
	if err != nil {
		return nil, err
	}
	line := access.Line{At: time.Now().UTC(), By: by.ID, Event: access.EventMessageRead, Subject: id, Organisation: by.Within.Organisation}
	if err := f.accounts.Book.Log(ctx, line); err != nil {
		return nil, err
	}
	return body, nil
}

// source reports whether an account is of an organisation: of another's nothing is told.
func (f *fleetNode) source(ctx context.Context, organisation, account string) error {
	a, err := f.accounts.Book.Account(ctx, account)
	if errors.Is(err, access.ErrNotFound) || err == nil && a.Organisation != organisation {
		return fleet.ErrNoDevice
	}
	return err
}

func messageOf(id string) (until time.Time, digest [32]byte, err error) {
	var seconds int64
	end, rest, _ := strings.Cut(id, "-")
	raw, err := hex.DecodeString(rest)
	if _, bad := fmt.Sscanf(end, "%x", &seconds); bad != nil || err != nil || len(raw) != len(digest) {
		return until, digest, fleet.ErrNoMessage
	}
	copy(digest[:], raw)
	return time.Unix(seconds, 0), digest, nil
}
