package gateway

import (
	"context"
	"time"

	"ampoule/format/dccrevocation"
	"ampoule/format/tng"
)

// batchPage is the most batches of one answer.
const batchPage = 1000

// Batches returns what changed in the revocation list since a time: GET
// /revocation-list.
func (o *Operator) Batches(ctx context.Context, p *Participant, since time.Time) (page tng.RevocationPage, err error) {
	if err := p.may(RevocationListReader); err != nil {
		return page, err
	}
	if since.After(o.Now()) {
		return page, refuse(Bad, codeList, "IfModifiedSince must be in past", "it is %s", since.UTC().Format(time.RFC3339))
	}
	items, err := o.Book.Items(ctx, Query{Kind: KindBatch, Since: since, Deleted: true, Limit: batchPage + 1})
	if err != nil {
		return page, err
	}
	if page.More = len(items) > batchPage; page.More {
		items = items[:batchPage]
	}
	for _, i := range items {
		page.Batches = append(page.Batches, tng.RevocationItem{BatchID: i.ID, Country: i.Country, Date: i.Changed, Deleted: i.Deleted})
	}
	return page, nil
}

// Batch returns one batch as it was signed: GET /revocation-list/{id}.
func (o *Operator) Batch(ctx context.Context, p *Participant, id string) (signed []byte, err error) {
	if err := p.may(RevocationListReader); err != nil {
		return nil, err
	}
	i, err := o.batch(ctx, id)
	if err != nil {
		return nil, err
	}
	return i.Signed, nil
}

func (o *Operator) batch(ctx context.Context, id string) (*Item, error) {
	items, err := o.Book.Items(ctx, Query{Kind: KindBatch, IDs: []string{id}, Deleted: true})
	switch {
	case err != nil:
		return nil, err
	case len(items) == 0:
		return nil, refuse(Missing, codeList, "Batch does not exist.", "there is no batch of this identifier")
	case items[0].Deleted:
		return nil, refuse(Gone, codeList, "Batch already deleted.", "it was deleted")
	}
	return &items[0], nil
}

// UploadBatch lists a batch of revoked certificates: POST /revocation-list.
func (o *Operator) UploadBatch(ctx context.Context, p *Participant, message []byte) (id string, err error) {
	if err := p.may(RevocationUploader); err != nil {
		return "", err
	}
	// Step 1: who signed it.
	content, uploader, err := o.signedBy(p, message, ofText)
	if err != nil {
		return "", err
	}
	// Step 2: one batch, of the caller's country, that is of use.
	batches, err := dccrevocation.Parse(content)
	now := o.Now()
	switch {
	case err != nil:
		return "", refuse(Bad, codeList, "Batch has invalid values.", "%v", err)
	case len(batches) != 1:
		return "", refuse(Bad, codeList, "Batch has invalid values.", "%d batches, want one", len(batches))
	case batches[0].Country != p.Country:
		return "", refuse(Forbidden, codeList, "Invalid Country sent", "a batch is of the caller's country")
	case batches[0].Expired(now):
		return "", refuse(Bad, codeList, "Batch has invalid values.", "it has expired")
	}
	// Step 3: list it.
	id = newUUID()
	i := Item{
		ID: id, Kind: KindBatch, Name: id, Country: p.Country, Group: string(batches[0].Type), Signer: thumbprintOf(uploader.Name),
		Expires: batches[0].Expires, Signed: message,
	}
	err = o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID}, Insert: []Item{i},
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionUpload, Subject: id, Reason: string(KindBatch)},
	}, now)
	return id, tried(err)
}

// DeleteBatch takes a batch off the list: DELETE /revocation-list.
func (o *Operator) DeleteBatch(ctx context.Context, p *Participant, message []byte) error {
	if err := p.may(RevocationDeleter); err != nil {
		return err
	}
	// Step 1: who signed it.
	content, uploader, err := o.signedBy(p, message, ofText)
	if err != nil {
		return err
	}
	id, err := tng.ParseBatchDelete(content)
	if err != nil {
		return refuse(Bad, codeList, "Delete Request has invalid values.", "%v", err)
	}
	// Step 2: the caller's own.
	i, err := o.batch(ctx, id)
	if err != nil {
		return err
	}
	if i.Country != p.Country {
		return refuse(Forbidden, codeList, "Invalid Country sent", "a batch is deleted by its own country")
	}
	// Step 3: delete it.
	now := o.Now()
	return tried(o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID}, Delete: []string{id},
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionDelete, Subject: id, Reason: string(KindBatch)},
	}, now))
}

// ExpireBatches deletes batches whose certificates have all expired by
// themselves, and returns how many.
func (o *Operator) ExpireBatches(ctx context.Context) (n int, err error) {
	items, err := o.Book.Items(ctx, Query{Kind: KindBatch})
	if err != nil {
		return 0, err
	}
	now := o.Now()
	var old []string
	for _, i := range items {
		if !i.Expires.IsZero() && !now.Before(i.Expires) {
			old = append(old, i.ID)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	return len(old), o.Book.Change(ctx, Changes{
		Delete: old, Line: Line{At: now, By: "gateway", Action: ActionDelete, Subject: "batches", Reason: "expired"},
	}, now)
}
