// Package gatewayclient speaks the API of a trust network's gateway over mutual
// TLS, as a participant: the WHO's, the EU's, or one of our own.
package gatewayclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ampoule/format/tng"
	"ampoule/internal/fetch"
	"ampoule/party/participant"
)

// Client is one gateway. It is a [participant.API].
type Client struct {
	fetch *fetch.Client
	base  string
}

// New makes a client of the gateway at an address. A redirect is never followed:
// a gateway has no reason for one.
func New(base string, o fetch.Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("gateway %q: want https://host/path: %w", base, fetch.ErrBadTarget)
	}
	o.Redirects = 0
	if o.Bytes == 0 {
		o.Bytes = tng.MaxList
	}
	return &Client{fetch.New(o), strings.TrimSuffix(base, "/")}, nil
}

// Refused is an answer of the gateway that is no success.
type Refused struct {
	Status  int
	Problem tng.Problem // empty where the gateway, or what stands before it, sent none
}

func (r *Refused) Error() string {
	if r.Problem.Code == "" {
		return fmt.Sprintf("the gateway answered %d", r.Status)
	}
	return fmt.Sprintf("the gateway answered %d: %.20s %.200s %.500s", r.Status, r.Problem.Code, r.Problem.Problem, r.Problem.Details)
}

func refused(r *fetch.Response) error {
	e := &Refused{Status: r.Status}
	if p, err := tng.ParseProblem(r.Body); err == nil {
		e.Problem = p
	}
	return e
}

// get asks for a list. What the gateway does not have, or not for us, is
// [participant.ErrNotOffered].
func (c *Client) get(ctx context.Context, path string, header http.Header) (*fetch.Response, error) {
	if header == nil {
		header = http.Header{}
	}
	if header.Get("Accept") == "" {
		header.Set("Accept", "application/json")
	}
	r, err := c.fetch.Do(ctx, http.MethodGet, c.base+path, header, nil)
	if err != nil {
		return nil, err
	}
	switch r.Status {
	case http.StatusOK, http.StatusNoContent:
		return r, nil
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return nil, fmt.Errorf("%s: %w: %w", path, participant.ErrNotOffered, refused(r))
	}
	return nil, fmt.Errorf("%s: %w", path, refused(r))
}

func list[T any](c *Client, ctx context.Context, path string, header http.Header, parse func([]byte) ([]T, error)) ([]T, error) {
	r, err := c.get(ctx, path, header)
	if err != nil || r.Status == http.StatusNoContent {
		return nil, err
	}
	entries, err := parse(r.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

// TrustList asks for the list of the domain DCC, or for what changed since.
func (c *Client) TrustList(ctx context.Context, since time.Time) ([]tng.TrustListEntry, error) {
	header := http.Header{}
	if !since.IsZero() {
		header.Set("If-Modified-Since", tng.FormatSince(since))
	}
	entries, err := list(c, ctx, "/trustList", header, tng.ParseTrustList)
	if errors.Is(err, participant.ErrNotOffered) {
		// Every gateway has this one. Without it nothing is known, and that is no
		// reason to believe that nobody is trusted.
		var r *Refused
		if errors.As(err, &r) {
			return nil, fmt.Errorf("/trustList: %w", r)
		}
	}
	return entries, err
}

// Certificates asks for the list of all domains.
func (c *Client) Certificates(ctx context.Context) ([]tng.CertificateEntry, error) {
	return list(c, ctx, "/trustList/certificate", nil, tng.ParseCertificates)
}

// Issuers asks for the addresses of those who publish keys themselves.
func (c *Client) Issuers(ctx context.Context) ([]tng.Issuer, error) {
	return list(c, ctx, "/trustList/issuers", nil, tng.ParseIssuers)
}

// References asks for the services of participants.
func (c *Client) References(ctx context.Context) ([]tng.Reference, error) {
	return list(c, ctx, "/trustList/references", nil, tng.ParseReferences)
}

// Packages asks for what the gateway holds of us, to be signed again.
func (c *Client) Packages(ctx context.Context) ([]tng.Package, error) {
	return list(c, ctx, "/cms-migration", nil, tng.ParsePackages)
}

// Revocations asks for the batches that changed since a time.
func (c *Client) Revocations(ctx context.Context, since time.Time) (tng.RevocationPage, error) {
	r, err := c.get(ctx, "/revocation-list", http.Header{"If-Modified-Since": {tng.FormatSince(since)}})
	if err != nil || r.Status == http.StatusNoContent {
		return tng.RevocationPage{}, err
	}
	page, err := tng.ParseRevocationPage(r.Body)
	if err != nil {
		return tng.RevocationPage{}, fmt.Errorf("/revocation-list: %w", err)
	}
	return page, nil
}

// Batch asks for one batch.
func (c *Client) Batch(ctx context.Context, id string) ([]byte, error) {
	if !tng.IsUUID(id) {
		return nil, tng.ErrUUID
	}
	r, err := c.get(ctx, "/revocation-list/"+id, http.Header{"Accept": {tng.TypeCMSText + ", " + tng.TypeCMS}})
	if err != nil {
		return nil, err
	}
	return tng.ParseCMS(r.Body)
}

// send makes a change.
func (c *Client) send(ctx context.Context, path, contentType string, body []byte) (*fetch.Response, error) {
	r, err := c.fetch.Do(ctx, http.MethodPost, c.base+path, http.Header{"Content-Type": {contentType}, "Accept": {"application/json"}}, body)
	if err != nil {
		return nil, err
	}
	if r.Status < 200 || r.Status > 299 {
		return nil, fmt.Errorf("%s: %w", path, refused(r))
	}
	return r, nil
}

// UploadSigner publishes a document signer in the default domain.
func (c *Client) UploadSigner(ctx context.Context, message []byte) error {
	_, err := c.send(ctx, "/signerCertificate", tng.TypeCMS, tng.EncodeCMS(message))
	return err
}

// DeleteSigner takes one back. The way without a DELETE: what stands before
// gateways is known to lose the body of one.
func (c *Client) DeleteSigner(ctx context.Context, message []byte) error {
	_, err := c.send(ctx, "/signerCertificate/delete", tng.TypeCMS, tng.EncodeCMS(message))
	return err
}

// UploadTrusted publishes a certificate with its domain.
func (c *Client) UploadTrusted(ctx context.Context, u tng.Upload) error {
	body, err := u.Encode()
	if err != nil {
		return err
	}
	_, err = c.send(ctx, "/trustedCertificate", "application/json", body)
	return err
}

// UploadBatch publishes hashes of revoked certificates. The gateway names them in
// the ETag.
func (c *Client) UploadBatch(ctx context.Context, message []byte) (string, error) {
	r, err := c.send(ctx, "/revocation-list", tng.TypeCMSText, tng.EncodeCMS(message))
	if err != nil {
		return "", err
	}
	id := strings.Trim(r.Header.Get("ETag"), `"`)
	if !tng.IsUUID(id) {
		return "", fmt.Errorf("/revocation-list: the batch is taken, and its name %.60q is none: %w", id, tng.ErrUUID)
	}
	return id, nil
}

// DeleteBatch takes one back.
func (c *Client) DeleteBatch(ctx context.Context, message []byte) error {
	_, err := c.send(ctx, "/revocation-list/delete", tng.TypeCMSText, tng.EncodeCMS(message))
	return err
}

// Replace puts a message in the place of one under an earlier UP.
func (c *Client) Replace(ctx context.Context, p tng.Package) error {
	body, err := p.Encode()
	if err != nil {
		return err
	}
	_, err = c.send(ctx, "/cms-migration", "application/json", body)
	return err
}
