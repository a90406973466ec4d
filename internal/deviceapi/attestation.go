package deviceapi

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/strictjson"
	"ampoule/party/fleet"
)

// Attester judges what a device shows of its state. It must be usable concurrently.
type Attester interface {
	Challenge(ctx context.Context, id device.ID) (nonce []byte, until time.Time, err error)
	Attest(ctx context.Context, id device.ID, x *fleet.Attestation) (*device.Appraisal, error)
}

const (
	attestationPath = "/attestation"
	mediaEAT        = "application/eat+cwt" // RFC 9782
	maxAttestation  = 32 << 10
)

// nonceBody is what a device attests by.
type nonceBody struct {
	Nonce []byte    `json:"nonce"`
	Until time.Time `json:"until"`
}

// appraisalBody is what became of an attestation.
type appraisalBody struct {
	Until     time.Time   `json:"until,omitzero"`
	Reference string      `json:"reference,omitempty"`
	Checks    []checkBody `json:"checks"`
}

type checkBody struct {
	Name   string        `json:"name"`
	Pass   bool          `json:"pass"`
	Reason format.Defect `json:"reason,omitempty"`
}

// attestation gives a device a nonce, or takes what it shows:
//
//	{"attest": TPMS_ATTEST, "signature": TPMT_SIGNATURE, "registers": {"0": hex, …}}   both in base64
//	application/eat+cwt: an Entity Attestation Token
//
// A device is one that shows its certificate here: nobody attests for another.
func (s *Server) attestation(w http.ResponseWriter, r *http.Request) {
	c := &call{Server: s, r: r}
	failed := func(p *problem) {
		answer(w, p)
		s.Log.Warn("an attestation was refused", "device", c.source.Device.String(), "status", p.Status, "reason", p.Reason)
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		failed(&problem{Status: http.StatusTooManyRequests, Reason: "busy", wait: waitBusy})
		return
	}
	if p := c.identify(w); p != nil {
		failed(p)
		return
	}
	if c.source.Device == "" || c.seen.Way != "certificate" {
		failed(&problem{Status: http.StatusForbidden, Reason: string(fleet.ErrDenied)})
		return
	}
	switch r.Method {
	case http.MethodGet:
		nonce, until, err := s.Attester.Challenge(r.Context(), c.source.Device)
		if p := s.attestProblem(err); p != nil {
			failed(p)
			return
		}
		write(w, http.StatusOK, "application/json", nonceBody{nonce, until.UTC().Truncate(time.Second)})
	case http.MethodPost:
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAttestation))
		if err != nil {
			failed(&problem{Status: http.StatusRequestEntityTooLarge, Reason: string(fleet.ReasonTooLarge)})
			return
		}
		x, p := readAttestation(r.Header.Get("Content-Type"), body)
		if p != nil {
			failed(p)
			return
		}
		a, err := s.Attester.Attest(r.Context(), c.source.Device, x)
		if p := s.attestProblem(err); p != nil {
			failed(p)
			return
		}
		out, status := appraisalBody{Until: a.Until.UTC(), Reference: a.Reference}, http.StatusOK
		for _, k := range a.Checks {
			out.Checks = append(out.Checks, checkBody{k.Name, k.Pass, k.Reason})
		}
		if !a.Good() {
			out.Until, out.Reference, status = time.Time{}, "", http.StatusForbidden
			reason := format.Defect("")
			for _, k := range a.Checks {
				if !k.Pass {
					reason = k.Reason
					break
				}
			}
			s.Log.Warn("a device is not attested", "device", c.source.Device.String(), "reason", string(reason))
		}
		write(w, status, "application/json", out)
	default:
		w.Header().Set("Allow", "GET, POST")
		failed(&problem{Status: http.StatusMethodNotAllowed, Reason: "method-not-allowed"})
	}
}

func (s *Server) attestProblem(err error) *problem {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fleet.ErrNotEndorsed):
		return &problem{Status: http.StatusConflict, Reason: string(fleet.ErrNotEndorsed)}
	case errors.Is(err, fleet.ErrDenied), errors.Is(err, fleet.ErrNoDevice):
		return &problem{Status: http.StatusForbidden, Reason: string(fleet.ErrDenied)}
	}
	s.Log.Error("an attestation could not be judged", "error", err)
	return &problem{Status: http.StatusServiceUnavailable, Reason: "internal", wait: waitBusy}
}

// readAttestation reads what a device sends.
func readAttestation(contentType string, body []byte) (*fleet.Attestation, *problem) {
	unreadable := &problem{Status: http.StatusBadRequest, Reason: "unreadable"}
	switch media, _, _ := mime.ParseMediaType(contentType); media {
	case mediaEAT:
		return &fleet.Attestation{Token: body}, nil
	case "application/json":
	default:
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Reason: "content-type"}
	}
	var in struct {
		Attest    []byte            `json:"attest"`
		Signature []byte            `json:"signature"`
		Registers map[string]string `json:"registers"`
	}
	if err := strictjson.Unmarshal(body, &in, strictjson.Limits{}); err != nil {
		return nil, unreadable
	}
	x := &fleet.Attestation{Message: in.Attest, Signature: in.Signature, Registers: make(map[int]device.Hash)}
	for name, value := range in.Registers {
		n, err := strconv.ParseUint(name, 10, 8)
		b, bad := hex.DecodeString(value)
		// One name for each: of 0 and 00 either could be the one that counts.
		if err != nil || strconv.FormatUint(n, 10) != name || bad != nil || len(b) != len(device.Hash{}) {
			return nil, unreadable
		}
		x.Registers[int(n)] = device.Hash(b)
	}
	return x, nil
}
