package httpapi

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/format/hcert"
	"ampoule/internal/access"
	"ampoule/ledger/tlog"
	"ampoule/party/issuer"
	"ampoule/party/notary"
)

// The media types of proofs, see docs/spec.
const (
	batchPathType = "application/vnd.ampoule.batch-path+cbor"
	receiptType   = `application/cose; cose-type="cose-sign1"`
	logProofType  = "text/plain; charset=utf-8" // of C2SP, which has no type of its own
)

// logBody is how far the fingerprint of a certificate is on its way into the log.
type logBody struct {
	State  string `json:"state" enum:"waiting,closed,submitted,logged" doc:"waiting: its batch is open; closed: it is not, and what stands below is; submitted: the root of the batch is signed and handed in; logged: it is in the log, under a cosigned checkpoint"`
	Batch  int64  `json:"batch,omitempty" doc:"Number of the batch, here"`
	Root   string `json:"root,omitempty" doc:"Of the batch, in hexadecimal"`
	Reason string `json:"reason,omitempty" doc:"Why the ledger did not take it last"`
	// Index is a pointer since the first leaf of a log has the number 0.
	Index      *uint64   `json:"index,omitempty" doc:"Of the entry in the log"`
	Checkpoint time.Time `json:"checkpoint,omitzero" doc:"Time of the checkpoint that it was proven under first"`
}

// logged tells of each certificate of a record; nil of those that have no fingerprint.
func (i *Issuing) logged(ctx context.Context, held *issuer.Held) ([]*logBody, error) {
	out := make([]*logBody, len(held.Artefacts))
	for n := range held.Artefacts {
		in, err := i.Registry.Included(ctx, held, n)
		switch {
		case errors.Is(err, issuer.ErrOpenBatch):
			out[n] = &logBody{State: "waiting"}
			continue
		case errors.Is(err, issuer.ErrNoFingerprint), errors.Is(err, issuer.ErrNotFound): // erased meanwhile
			continue
		case err != nil:
			return nil, err
		}
		b := &logBody{State: "closed", Batch: in.Batch.Number, Root: hex.EncodeToString(in.Batch.Root[:])}
		out[n] = b
		e, err := i.entry(ctx, in)
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		b.Reason = e.Reason
		switch e.Stage {
		case notary.Submitted, notary.Logged:
			b.State = "submitted"
		case notary.Kept:
			b.State, b.Index, b.Checkpoint = "logged", &e.Index, e.Cosigned
		}
	}
	return out, nil
}

// entry returns what the outbox knows of the batch of a fingerprint; nil where there
// is no outbox.
func (i *Issuing) entry(ctx context.Context, in *issuer.Inclusion) (*notary.Entry, error) {
	if i.Outbox == nil {
		return nil, nil
	}
	e, err := i.Outbox.Entry(ctx, notary.BatchKey(in.Batch.Number))
	if errors.Is(err, notary.ErrNoEntry) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if e.Root != in.Batch.Root {
		return nil, fmt.Errorf("batch %d: the outbox has another root", in.Batch.Number)
	}
	return e, nil
}

// proofKinds are the files by which a certificate is shown to be in the log.
var proofKinds = map[string]string{"batch-path": batchPathType, "receipt": receiptType, "with-receipt": "text/plain; charset=utf-8", "log-proof": logProofType,
	"batch-path.svg": "image/svg+xml", "receipt.svg": "image/svg+xml",
}

// proof makes one of the files. It returns [problemNoRecord] until there is one.
func (i *Issuing) proof(ctx context.Context, held *issuer.Held, n int, kind string) ([]byte, error) {
	in, err := i.Registry.Included(ctx, held, n)
	if errors.Is(err, issuer.ErrOpenBatch) || errors.Is(err, issuer.ErrNoFingerprint) {
		return nil, problemNoRecord
	}
	if err != nil {
		return nil, issuingProblem(err)
	}
	if kind == "batch-path" {
		return in.Path.Encode()
	}
	e, err := i.entry(ctx, in)
	if err != nil {
		return nil, err
	}
	if e == nil || e.Stage != notary.Kept {
		return nil, problemNoRecord
	}
	if kind == "log-proof" {
		return e.Proof, nil
	}
	by, err := tlog.ParseRootSignature(e.Receipt)
	if err != nil {
		return nil, err
	}
	receipt, err := (&tlog.Receipt{By: by, Path: in.Path}).Encode()
	if err != nil || kind == "receipt" {
		return receipt, err
	}
	message, err := hcert.COSE(held.Artefacts[n].Text, hcert.Strict)
	if err != nil { // a format that is no COSE has no header
		return nil, problemNoRecord
	}
	if message, err = tlog.AttachReceipts(message, receipt); err != nil {
		return nil, err
	}
	text, err := hcert.EncodeCOSE(message)
	return []byte(text + "\n"), err
}

// outboxEntryBody is one thing that is to be logged.
type outboxEntryBody struct {
	Key    string    `json:"key" doc:"What it is: batch/7, or a list"`
	Kind   string    `json:"kind" enum:"fp.batch,status.anchor"`
	Put    time.Time `json:"put"`
	State  string    `json:"state" enum:"waiting,submitted,logged"`
	Reason string    `json:"reason,omitempty" doc:"Why the ledger did not take it last"`
}

// outboxBody is how far what was closed and published here is logged.
type outboxBody struct {
	Ledger       bool              `json:"ledger" doc:"This server brings what it closes to a ledger"`
	Waiting      int               `json:"waiting"`
	Submitted    int               `json:"submitted"`
	Logged       int               `json:"logged" doc:"With their proofs, or waiting for them"`
	Refused      int               `json:"refused" doc:"For good"`
	Oldest       time.Time         `json:"oldest,omitzero" doc:"Since when the oldest waits that is not logged"`
	Trouble      string            `json:"trouble,omitempty" doc:"What keeps entries from the log now, in one word"`
	TroubleSince time.Time         `json:"trouble_since,omitzero"`
	FailedRounds uint64            `json:"failed_rounds" doc:"Since the server was started"`
	Pending      []outboxEntryBody `json:"pending" doc:"The first hundred that are not done"`
}

// describeOutbox registers what an operator asks about the way into the log.
func (s *server) describeOutbox(api huma.API) {
	i := s.Issuing
	register(api, huma.Operation{
		OperationID: "outbox", Method: "GET", Path: "/v1/outbox", Summary: "Tell how far what was closed and published here is logged",
		Description: "Nothing that is issued or verified waits for it.",
		Errors:      []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound},
		Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
	}, func(ctx context.Context, _ *struct{}) (*struct{ Body outboxBody }, error) {
		who := principal(ctx)
		if ok, _ := i.Policy.Allow(who, access.AuditRead, issuer.Place{Organisation: who.Organisation}); !ok {
			return nil, problemDenied
		}
		if i.Outbox == nil {
			return nil, problemNotFound.with("nothing here is brought to a ledger")
		}
		sum, err := i.Outbox.Tally(ctx)
		if err != nil {
			return nil, err
		}
		pending, err := i.Outbox.Pending(ctx, 0, 100)
		if err != nil {
			return nil, err
		}
		b := outboxBody{Waiting: sum.Waiting, Submitted: sum.Submitted, Logged: sum.Logged + sum.Kept, Refused: sum.Refused, Oldest: sum.Oldest, Pending: []outboxEntryBody{}}
		if i.Trouble != nil {
			t := i.Trouble()
			b.Ledger, b.Trouble, b.TroubleSince, b.FailedRounds = true, t.Reason, t.Since, t.Rounds
		}
		for _, e := range pending {
			b.Pending = append(b.Pending, outboxEntryBody{e.Key, string(e.Kind), e.Put, e.Stage.String(), e.Reason})
		}
		return &struct{ Body outboxBody }{b}, nil
	})
}
