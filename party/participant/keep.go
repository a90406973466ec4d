package participant

import (
	"context"
	"encoding/json"
	"time"

	"ampoule/format/tng"
	"ampoule/trust"
)

// Keep is where a participant remembers what it accepted.
type Keep interface {
	// Load returns what was saved last, or an empty value.
	Load(ctx context.Context) (*Kept, error)
	// Save must be durable when it returns: what is forgotten can be rolled back.
	Save(ctx context.Context, k *Kept) error
}

// Kept is what a participant remembers between polls.
type Kept struct {
	List     *tng.Download // accepted; nil before the first
	Digest   string        // of what is listed there and stood every check
	Accepted time.Time
	Polled   time.Time // when the gateway last answered
	Changed  time.Time // when it last listed something else
	Full     time.Time // when the list was last taken whole

	// Gone are entries that were taken from the list, by name, with what the
	// gateway had said of when it took them in. One that comes back with the same was not
	// uploaded again: an old list was.
	Gone map[string]Intake
	// Pending is a list that a person must accept before it is used; nil for none.
	Pending *Pending
	// Own are the thumbprints of the signers that we uploaded.
	Own []string

	References []tng.Reference // said by the gateway alone

	Batches    []Batch
	BatchSince time.Time // date of the newest change of a batch that was seen
}

// Intake is what the gateway says of when it took an entry in.
type Intake struct {
	Timestamp time.Time `json:"timestamp"`
	Version   int64     `json:"version"`
	UUID      string    `json:"uuid,omitempty"`
}

// Pending is a list that was not applied.
type Pending struct {
	List   *tng.Download
	Digest string
	At     time.Time
	Alarms []Alarm
}

// Batch is a batch of revoked certificates whose signature was checked.
type Batch struct {
	ID      string          `json:"id"`
	Country string          `json:"country"`
	Date    time.Time       `json:"date"`
	Payload json.RawMessage `json:"payload"` // as its country signed it
}

// remember notes that a signer is ours.
func (p *Participant) remember(ctx context.Context, der []byte) error {
	kept, err := p.Keep.Load(ctx)
	if err != nil {
		return err
	}
	thumbprint := tng.Thumbprint(der)
	for _, own := range kept.Own {
		if own == thumbprint {
			return nil
		}
	}
	kept.Own = append(kept.Own, thumbprint)
	return p.Keep.Save(ctx, kept)
}

// Status is what a person wants to know first.
type Status struct {
	Kept   *Kept
	Listed []trust.Listed
	Drops  []trust.Drop
	Alarms []Alarm
}

// Status judges what is kept, without asking the gateway.
func (p *Participant) Status(ctx context.Context) (*Status, error) {
	kept, err := p.Keep.Load(ctx)
	if err != nil {
		return nil, err
	}
	s := &Status{Kept: kept}
	if kept.List != nil {
		anchors, err := p.anchors()
		if err != nil {
			return nil, err
		}
		s.Listed, s.Drops = trust.CheckGateway(p.Gateway, kept.List, anchors)
	}
	s.Alarms = p.Guard.silence(kept, p.Now())
	if kept.Pending != nil {
		s.Alarms = append(s.Alarms, kept.Pending.Alarms...)
	}
	return s, nil
}
