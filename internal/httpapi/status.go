package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/ledger/print"
	"ampoule/party/issuer"
	"ampoule/trust"
)

// statusBody names one published list.
type statusBody struct {
	Scheme  issuer.Scheme `json:"scheme" enum:"dcc-signature,shc-rid,snapshot"`
	KID     string        `json:"kid" doc:"Of the key whose certificates it revokes, in hexadecimal; of a card, its thumbprint; of the snapshot, all"`
	Counter int64         `json:"counter" doc:"How often it was changed; one with a lower counter is older"`
	Address string        `json:"address"`
}

// keyBody names a key that signs here.
type keyBody struct {
	Formats     []issuer.Format `json:"formats"`
	KID         string          `json:"kid"`
	Participant string          `json:"participant"`
	NotBefore   string          `json:"not_before"`
	NotAfter    string          `json:"not_after"`
	Certificate []byte          `json:"certificate,omitempty" doc:"DER, in base64"`
}

// kidText is how a list's key is named in an address: a card's by its thumbprint,
// which is a text already.
func kidText(l issuer.StatusList) string {
	switch l.Scheme {
	case issuer.SchemeRID:
		return string(l.KID)
	case issuer.SchemeSnapshot:
		return "all"
	}
	return hex.EncodeToString(l.KID)
}

// statusType is the media type of a list.
func statusType(s issuer.Scheme) string {
	if s == issuer.SchemeSnapshot {
		return trust.SnapshotType
	}
	return "application/json"
}

// published tells that others may keep a copy for a while, and of which version.
type published struct {
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	ContentType  string `header:"Content-Type"`
	Anybody      string `header:"Access-Control-Allow-Origin"`
	Body         []byte
}

const publicCache = "public, max-age=300"

// describeStatus registers what is published: status lists and keys, for anybody.
func (s *server) describeStatus(api huma.API) {
	i := s.Issuing
	register(api, huma.Operation{
		OperationID: "statusLists", Method: "GET", Path: "/v1/status", Summary: "List the status lists",
		Description: "They hold hashes and random identifiers, and name nobody.",
	}, func(ctx context.Context, _ *struct{}) (*struct {
		CacheControl string `header:"Cache-Control"`
		Body         struct {
			Lists []statusBody `json:"lists"`
		}
	}, error) {
		lists, err := i.Registry.StatusLists(ctx)
		if err != nil {
			return nil, err
		}
		out := new(struct {
			CacheControl string `header:"Cache-Control"`
			Body         struct {
				Lists []statusBody `json:"lists"`
			}
		})
		out.CacheControl, out.Body.Lists = "no-cache", make([]statusBody, len(lists))
		for n, l := range lists {
			out.Body.Lists[n] = statusBody{l.Scheme, kidText(l), l.Counter, fmt.Sprintf("/v1/status/%s/%s", l.Scheme, kidText(l))}
		}
		return out, nil
	})

	list := huma.Operation{
		OperationID: "statusList", Method: "GET", Path: "/v1/status/{scheme}/{kid}", Summary: "One status list",
		Description: "EU revocation batches, a card revocation list, or the snapshot of all, which alone tells what was corrected from what was revoked.",
		Errors:      []int{http.StatusNotFound}, Responses: fileResponse("application/json", trust.SnapshotType),
	}
	type asked struct {
		Scheme issuer.Scheme `path:"scheme" maxLength:"32"`
		KID    string        `path:"kid" maxLength:"128"`
		Match  string        `header:"If-None-Match"`
	}
	one := func(ctx context.Context, r *asked) (*published, error) {
		lists, err := i.Registry.StatusLists(ctx)
		if err != nil {
			return nil, err
		}
		for _, l := range lists {
			if l.Scheme != r.Scheme || kidText(l) != r.KID {
				continue
			}
			tag := etag(l.Counter)
			if r.Match == tag {
				return nil, notModified(tag)
			}
			return &published{tag, publicCache, statusType(l.Scheme), "*", l.Document}, nil
		}
		return nil, problemNoRecord
	}
	register(api, list, one)

	// The specification of SMART Health Cards, "Protocol details": the issuer's keys,
	// and its revocation lists, at these addresses under that of the issuer.
	register(api, huma.Operation{
		OperationID: "cardRevocationList", Method: "GET", Path: "/.well-known/crl/{file}", Summary: "The card revocation list of a key: its thumbprint and .json",
		Errors: []int{http.StatusNotFound}, Responses: fileResponse("application/json"),
	}, func(ctx context.Context, r *struct {
		File  string `path:"file" maxLength:"128"`
		Match string `header:"If-None-Match"`
	}) (*published, error) {
		kid, ok := strings.CutSuffix(r.File, ".json")
		if !ok {
			return nil, problemNoRecord
		}
		return one(ctx, &asked{issuer.SchemeRID, kid, r.Match})
	})
	register(api, huma.Operation{
		OperationID: "cardKeys", Method: "GET", Path: "/.well-known/jwks.json", Summary: "The keys that sign SMART Health Cards",
		Errors: []int{http.StatusNotFound}, Responses: fileResponse("application/json"),
	}, func(context.Context, *struct{}) (*published, error) {
		if len(i.Keys) == 0 {
			return nil, problemNoRecord
		}
		return &published{"", publicCache, "application/json", "*", i.Keys}, nil
	})

	landmarks := huma.Operation{
		OperationID: "landmarks", Method: "GET", Path: "/v1/landmarks", Summary: "The roots of the batches of fingerprints that were closed here",
		Description: "For makers of bundles. They name nobody. Which of them a log has taken is at /v1/landmarks/places.",
		Errors:      []int{http.StatusNotFound}, Responses: fileResponse(print.LandmarksType),
	}
	register(api, landmarks, func(ctx context.Context, r *struct {
		Match string `header:"If-None-Match"`
	}) (*published, error) {
		data, err := i.Registry.Landmarks(ctx)
		switch {
		case err != nil:
			return nil, err
		case data == nil:
			return nil, problemNotFound.with("no batch of fingerprints was closed here yet")
		}
		sum := sha256.Sum256(data)
		tag := `"` + hex.EncodeToString(sum[:8]) + `"`
		if r.Match == tag {
			return nil, notModified(tag)
		}
		return &published{tag, publicCache, print.LandmarksType, "*", data}, nil
	})

	places := huma.Operation{
		OperationID: "places", Method: "GET", Path: "/v1/landmarks/places", Summary: "Where those roots stand in the log of a ledger, and whose receipts count",
		Description: "For makers of bundles: each place was proven to this server.",
		Errors:      []int{http.StatusNotFound}, Responses: fileResponse(print.LedgerType),
	}
	register(api, places, func(context.Context, *struct{}) (*published, error) {
		if len(i.Ledger) == 0 {
			return nil, problemNotFound.with("nothing is logged here yet")
		}
		return &published{"", publicCache, print.LedgerType, "*", i.Ledger}, nil
	})

	register(api, huma.Operation{OperationID: "keys", Method: "GET", Path: "/v1/keys", Summary: "The keys that sign here now"}, func(context.Context, *struct{}) (*struct {
		Body struct {
			Keys []keyBody `json:"keys"`
		}
	}, error) {
		out := new(struct {
			Body struct {
				Keys []keyBody `json:"keys"`
			}
		})
		out.Body.Keys = i.keys()
		return out, nil
	})
}

// keys are those that sign now, each with its formats.
func (i *Issuing) keys() []keyBody {
	out := []keyBody{}
	for _, f := range i.formats() {
		signer := i.Registry.Issuers[f]
		kid := hex.EncodeToString(signer.KID)
		known := false
		for n := range out {
			if out[n].KID == kid {
				out[n].Formats, known = append(out[n].Formats, f), true
			}
		}
		if known {
			continue
		}
		k := keyBody{Formats: []issuer.Format{f}, KID: kid, Participant: signer.Participant, NotBefore: day(signer.NotBefore), NotAfter: day(signer.NotAfter)}
		if len(signer.Chain) > 0 {
			k.Certificate = signer.Chain[0]
		}
		out = append(out, k)
	}
	return out
}
