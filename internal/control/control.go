// Package control lets the commands of an operator ask the server that has a store
// open. One process at a time opens a store, so `ampoule backup` and `ampoule
// doctor` cannot open it beside a server: they ask it, over a Unix socket in the
// folder of the store.
//
// Who may open the socket is decided by the file system: it has mode 0600 in a
// folder of mode 0700, so it is the user of the server, who can read the key files
// anyway, and root. Nothing else is asked.
//
//	GET /health      what the store says of itself, in JSON
//	GET /database    a backup of the database
//	GET /keys        the file of the records' keys
//	GET /erased      the erasure list
//	GET /audit       what a check of the audit log finds, in JSON
//	GET /audit/lines the lines of the audit log and their seals, as JSON, one a line;
//	                 ?from= and ?to= bound them (RFC 3339)
//	GET /key         how many certificates in force are of ?kid=, in JSON
//	POST /key        the signing key ?kid= is compromised: it signs no more, and
//	                 ?do= revoke, reissue or nothing is done to ?agreed= records
//	POST /affected   how many records in force are of a choice, {"kid", "lot", …}
//	POST /revoke     revokes the records of a choice, as many as were agreed to
//	POST /revoke/list  revokes the records of a list, with a result for each line
//	GET /gateway     who takes part in the gateway, in JSON
//	GET /gateway/lists  all its lists with their proofs, as a participant keeps them
//	POST /gateway    applies a proposal, {"proposal", "approvals"} in base64
//
// Every answer that is no JSON object is followed by the trailer Ampoule-End: whole. A
// stream that ends without it was cut off.
package control

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ampoule/format"
	"ampoule/internal/store"
	"ampoule/party/gateway"
	"ampoule/party/issuer"
)

// ErrNoServer says that no server has the store of a folder open.
const ErrNoServer format.Defect = "no-server"

// ErrCutOff says that the server ended before its answer did.
const ErrCutOff format.Defect = "cut-off"

// socketFile is the name of the socket in the folder of a store.
const socketFile = "control.sock"

const (
	endTrailer = "Ampoule-End"
	endWhole   = "whole"
)

// Store is what the socket gives away of a store.
type Store interface {
	Health(context.Context) (*store.Health, error)
	Backup(context.Context, io.Writer) (records int, err error)
	KeyFile(context.Context) (io.Reader, int64, error)
	ErasedList() (io.Reader, int64)
	VerifyAudit(context.Context) (*store.AuditReport, error)
	ExportAudit(ctx context.Context, w io.Writer, organisation string, from, to time.Time) error
}

// Desk is what issues beside the store.
type Desk interface {
	// KeyAffected counts the records in force with a current certificate of a key.
	KeyAffected(ctx context.Context, kid []byte) (*Affected, error)
	// KeyCompromised stops a key and, where they are as many as were agreed to,
	// revokes or reissues those records.
	KeyCompromised(ctx context.Context, kid []byte, do string, agreed int) (*Compromised, error)
	// Affected counts the records of a choice, RevokeMany revokes as many as were
	// agreed to, and RevokeListed those of a list: see issuer.Registry.
	Affected(ctx context.Context, w issuer.Which) (*Affected, error)
	RevokeMany(ctx context.Context, w issuer.Which, why issuer.Reason, agreed int) (*issuer.RevokedMany, error)
	RevokeListed(ctx context.Context, lines []string, why issuer.Reason, dry bool) ([]issuer.ListedRow, error)
}

// Revocation is what is asked of many records.
type Revocation struct {
	Which  issuer.Which  `json:"which"`
	Lines  []string      `json:"lines,omitempty"`
	Reason issuer.Reason `json:"reason,omitempty"`
	Agreed int           `json:"agreed"`
	Dry    bool          `json:"dry,omitempty"`
}

// RevokedMany tells how far a revocation came.
type RevokedMany struct {
	Revoked int      `json:"revoked"`
	Left    int      `json:"left"`
	Reasons []string `json:"reasons,omitempty"` // of those that failed, and are left
}

// Affected is what hangs on a signing key.
type Affected struct {
	Records int            `json:"records"`
	Formats map[string]int `json:"formats"` // certificates
	Signs   bool           `json:"signs"`   // it is a key of this service
}

// Compromised tells what was done, and how long each step took.
type Compromised struct {
	Affected
	File     string   `json:"file"` // where the key file is now; empty: it was no key of this service
	Revoked  int      `json:"revoked"`
	Reissued int      `json:"reissued"`
	Left     int      `json:"left"` // that could not be done
	Reasons  []string `json:"reasons,omitempty"`
	Stopped  float64  `json:"stopped_s"` // until it signed no more, and was trusted no more here
	Done     float64  `json:"done_s"`    // until the records were done
	Told     float64  `json:"told_s"`    // until verifiers can know: lists and bundle are out
	Serial   int64    `json:"serial"`    // of that bundle; 0: this service makes none
}

// Gateway is what the socket gives away of a gateway.
type Gateway interface {
	ApplyProposal(ctx context.Context, proposal []byte, approvals [][]byte) (*gateway.Applied, error)
	GatewayStatus(context.Context) (*gateway.Status, error)
	GatewayLists(context.Context) ([]byte, error) // a file of [tng.Download]
}

// Serve answers on the socket of a folder until stop is called. g is nil where
// there is no gateway. The caller has the store of that folder open, so that a socket
// that is there already is of a server that is gone.
func Serve(dir string, s Store, desk Desk, g Gateway, log *slog.Logger) (stop func() error, err error) {
	path, release, err := address(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	// The address may be of a file descriptor that is gone by then: removed below, by
	// its name.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: handler(s, desk, g, log), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the control socket has ended", "error", err.Error())
		}
	}()
	return func() error {
		return errors.Join(server.Close(), os.Remove(filepath.Join(dir, socketFile)))
	}, nil
}

func handler(s Store, desk Desk, g Gateway, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	object := func(what string, get func(*http.Request) (any, error)) {
		mux.HandleFunc(what, func(w http.ResponseWriter, r *http.Request) {
			v, err := get(r)
			if err != nil {
				log.Error("control", "what", what, "error", err.Error())
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v) // who asked has gone
		})
	}
	object("GET /health", func(r *http.Request) (any, error) { return s.Health(r.Context()) })
	object("GET /audit", func(r *http.Request) (any, error) { return s.VerifyAudit(r.Context()) })
	asked := func(r *http.Request) (a Revocation, err error) {
		err = json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRevocation)).Decode(&a)
		return a, err
	}
	object("POST /affected", func(r *http.Request) (any, error) {
		a, err := asked(r)
		if err != nil {
			return nil, err
		}
		return desk.Affected(r.Context(), a.Which)
	})
	object("POST /revoke", func(r *http.Request) (any, error) {
		a, err := asked(r)
		if err != nil {
			return nil, err
		}
		done, err := desk.RevokeMany(r.Context(), a.Which, a.Reason, a.Agreed)
		if err != nil {
			return nil, err
		}
		out := RevokedMany{Revoked: done.Done, Left: done.Left + len(done.Failed)}
		for _, f := range done.Failed {
			var defect format.Defect
			if errors.As(f.Err, &defect) && !slices.Contains(out.Reasons, string(defect)) {
				out.Reasons = append(out.Reasons, string(defect))
			}
		}
		return out, nil
	})
	object("POST /revoke/list", func(r *http.Request) (any, error) {
		a, err := asked(r)
		if err != nil {
			return nil, err
		}
		rows, err := desk.RevokeListed(r.Context(), a.Lines, a.Reason, a.Dry)
		if err != nil {
			return nil, err
		}
		results := make([]string, len(rows))
		for i, row := range rows {
			results[i] = row.Result
		}
		return results, nil
	})
	key := func(r *http.Request) ([]byte, error) {
		kid, err := hex.DecodeString(r.URL.Query().Get("kid"))
		if err != nil || len(kid) == 0 {
			return nil, fmt.Errorf("a key identifier in hexadecimal: %w", format.RequiredMissing)
		}
		return kid, nil
	}
	object("GET /key", func(r *http.Request) (any, error) {
		kid, err := key(r)
		if err != nil {
			return nil, err
		}
		return desk.KeyAffected(r.Context(), kid)
	})
	object("POST /key", func(r *http.Request) (any, error) {
		kid, err := key(r)
		if err != nil {
			return nil, err
		}
		agreed, err := strconv.Atoi(r.URL.Query().Get("agreed"))
		if err != nil {
			return nil, fmt.Errorf("how many records are agreed to: %w", format.RequiredMissing)
		}
		return desk.KeyCompromised(r.Context(), kid, r.URL.Query().Get("do"), agreed)
	})
	if g != nil {
		mux.HandleFunc("GET /gateway/lists", func(w http.ResponseWriter, r *http.Request) {
			data, err := g.GatewayLists(r.Context())
			if err != nil {
				log.Error("control", "what", "gateway lists", "error", err.Error())
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data) // who asked has gone
		})
		object("GET /gateway", func(r *http.Request) (any, error) { return g.GatewayStatus(r.Context()) })
		mux.HandleFunc("POST /gateway", func(w http.ResponseWriter, r *http.Request) {
			var order gatewayOrder
			err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&order)
			var applied *gateway.Applied
			if err == nil {
				applied, err = g.ApplyProposal(r.Context(), order.Proposal, order.Approvals)
			}
			if err != nil {
				log.Warn("a proposal was not applied", "error", err.Error())
				http.Error(w, err.Error(), http.StatusUnprocessableEntity)
				return
			}
			log.Info("a proposal was applied", "count", applied.Added+applied.Removed)
			_ = json.NewEncoder(w).Encode(applied) // who asked has gone
		})
	}
	stream := func(what string, copy func(*http.Request, io.Writer) error) {
		mux.HandleFunc("GET /"+what, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", endTrailer)
			w.Header().Set("Content-Type", "application/octet-stream")
			if err := copy(r, w); err != nil {
				log.Error("control", "what", what, "error", err.Error())
				panic(http.ErrAbortHandler) // so that who asked sees that it is not all
			}
			w.Header().Set(endTrailer, endWhole)
			log.Info("copied for an operator", "what", what)
		})
	}
	stream("database", func(r *http.Request, w io.Writer) error {
		_, err := s.Backup(r.Context(), w)
		return err
	})
	file := func(of func(context.Context) (io.Reader, int64, error)) func(*http.Request, io.Writer) error {
		return func(r *http.Request, w io.Writer) error {
			file, size, err := of(r.Context())
			if err != nil {
				return err
			}
			w.(http.ResponseWriter).Header().Set("Ampoule-Size", strconv.FormatInt(size, 10))
			_, err = io.Copy(w, file)
			return err
		}
	}
	stream("keys", file(s.KeyFile))
	stream("erased", file(func(context.Context) (io.Reader, int64, error) {
		r, size := s.ErasedList()
		return r, size, nil
	}))
	stream("audit/lines", func(r *http.Request, w io.Writer) error {
		var bounds [2]time.Time
		for n, name := range []string{"from", "to"} {
			if text := r.URL.Query().Get(name); text != "" {
				var err error
				if bounds[n], err = time.Parse(time.RFC3339, text); err != nil {
					return err
				}
			}
		}
		return s.ExportAudit(r.Context(), w, "", bounds[0], bounds[1])
	})
	return mux
}

// address is the path of the socket. That of a socket may have 108 bytes (unix(7)):
// a longer one is named by a descriptor of the folder, which release closes.
func address(dir string) (path string, release func(), err error) {
	path = filepath.Join(dir, socketFile)
	if len(path) < 104 {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("control: %s is too long for a socket: %w", path, format.TooLong)
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("control: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketFile), func() { _ = d.Close() }, nil
}

// Client asks the server that has a store open.
type Client struct {
	dir  string
	http *http.Client
}

// Dial returns a client of the server that has the store of a folder open, or
// ErrNoServer.
func Dial(ctx context.Context, dir string) (*Client, error) {
	c := &Client{dir: dir}
	conn, err := c.dial(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("control: %s: %w", dir, ErrNoServer)
	case err != nil:
		return nil, fmt.Errorf("control: %w; run it as the user of the server", err)
	}
	_ = conn.Close() // it answers; a request makes its own
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}}
	return c, nil
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	path, release, err := address(c.dir)
	if err != nil {
		return nil, err
	}
	defer release()
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// Close ends the client.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *Client) get(ctx context.Context, what string) (*http.Response, error) {
	return c.ask(ctx, http.MethodGet, what, nil)
}

func (c *Client) ask(ctx context.Context, method, what string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://control/"+what, body)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("control: the server: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		_ = res.Body.Close()
		return nil, fmt.Errorf("control: the server says %s: %s", res.Status, format.Visible(string(text)))
	}
	return res, nil
}

// Health asks what the store says of itself.
func (c *Client) Health(ctx context.Context) (*store.Health, error) {
	h := new(store.Health)
	return h, c.object(ctx, "health", h)
}

// VerifyAudit has the server check the audit log.
func (c *Client) VerifyAudit(ctx context.Context) (*store.AuditReport, error) {
	r := new(store.AuditReport)
	return r, c.object(ctx, "audit", r)
}

// maxRevocation bounds what is asked of many records.
const maxRevocation = 4 << 20

// Affected asks how many records are of a choice.
func (c *Client) Affected(ctx context.Context, w issuer.Which) (*Affected, error) {
	a := new(Affected)
	return a, c.post(ctx, "affected", Revocation{Which: w}, a)
}

// RevokeMany has the records of a choice revoked.
func (c *Client) RevokeMany(ctx context.Context, w issuer.Which, why issuer.Reason, agreed int) (*RevokedMany, error) {
	done := new(RevokedMany)
	return done, c.post(ctx, "revoke", Revocation{Which: w, Reason: why, Agreed: agreed}, done)
}

// RevokeListed has the records of a list revoked, and returns a stable word for each
// line.
func (c *Client) RevokeListed(ctx context.Context, lines []string, why issuer.Reason, dry bool) (results []string, err error) {
	err = c.post(ctx, "revoke/list", Revocation{Lines: lines, Reason: why, Dry: dry}, &results)
	return results, err
}

// KeyAffected asks what hangs on a signing key.
func (c *Client) KeyAffected(ctx context.Context, kid string) (*Affected, error) {
	a := new(Affected)
	return a, c.object(ctx, "key?"+url.Values{"kid": {kid}}.Encode(), a)
}

// KeyCompromised has the server stop a signing key.
func (c *Client) KeyCompromised(ctx context.Context, kid, do string, agreed int) (*Compromised, error) {
	done := new(Compromised)
	return done, c.answer(ctx, http.MethodPost, "key?"+url.Values{"kid": {kid}, "do": {do}, "agreed": {strconv.Itoa(agreed)}}.Encode(), nil, done)
}

// gatewayOrder is the body of POST /gateway.
type gatewayOrder struct {
	Proposal  []byte   `json:"proposal"`
	Approvals [][]byte `json:"approvals"`
}

// maxOrder bounds it: a proposal in base64, and a few approvals.
const maxOrder = 2 * gateway.MaxProposal

// GatewayStatus asks who takes part in the gateway.
func (c *Client) GatewayStatus(ctx context.Context) (*gateway.Status, error) {
	s := new(gateway.Status)
	return s, c.object(ctx, "gateway", s)
}

// maxLists bounds what is read of the lists.
const maxLists = 64 << 20

// GatewayLists asks for all lists of the gateway.
func (c *Client) GatewayLists(ctx context.Context) ([]byte, error) {
	res, err := c.get(ctx, "gateway/lists")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxLists+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("control: gateway lists: %w: %w", err, ErrCutOff)
	case len(data) > maxLists:
		return nil, fmt.Errorf("control: gateway lists: %w", format.TooLong)
	}
	return data, nil
}

// ApplyProposal has the server apply a proposal.
func (c *Client) ApplyProposal(ctx context.Context, proposal []byte, approvals [][]byte) (*gateway.Applied, error) {
	body, err := json.Marshal(gatewayOrder{proposal, approvals})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/gateway", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("control: the server: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("control: the server says: %s", format.Visible(strings.TrimSpace(string(answer))))
	}
	a := new(gateway.Applied)
	if err := json.Unmarshal(answer, a); err != nil {
		return nil, fmt.Errorf("control: gateway: %w", err)
	}
	return a, nil
}

func (c *Client) object(ctx context.Context, what string, v any) error {
	return c.answer(ctx, http.MethodGet, what, nil, v)
}

func (c *Client) post(ctx context.Context, what string, body, v any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return c.answer(ctx, http.MethodPost, what, bytes.NewReader(data), v)
}

func (c *Client) answer(ctx context.Context, method, what string, body io.Reader, v any) error {
	res, err := c.ask(ctx, method, what, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(v); err != nil {
		return fmt.Errorf("control: %s: %w", what, err)
	}
	return nil
}

// AuditLines copies the lines of the audit log from one time to another, with their
// seals. A zero time is no bound.
func (c *Client) AuditLines(ctx context.Context, w io.Writer, from, to time.Time) error {
	bounds := make(url.Values)
	for name, at := range map[string]time.Time{"from": from, "to": to} {
		if !at.IsZero() {
			bounds.Set(name, at.Format(time.RFC3339))
		}
	}
	return c.copy(ctx, "audit/lines?"+bounds.Encode(), func(_ int64, r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// Database copies a backup of the database.
func (c *Client) Database(ctx context.Context, w io.Writer) error {
	return c.copy(ctx, "database", func(_ int64, r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// Keys gives the file of the records' keys to f, with its size. Erased is to be
// called after it.
func (c *Client) Keys(ctx context.Context, f func(int64, io.Reader) error) error {
	return c.copy(ctx, "keys", f)
}

// Erased gives the erasure list to f.
func (c *Client) Erased(ctx context.Context, f func(int64, io.Reader) error) error {
	return c.copy(ctx, "erased", f)
}

func (c *Client) copy(ctx context.Context, what string, f func(int64, io.Reader) error) error {
	res, err := c.get(ctx, what)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	size, _ := strconv.ParseInt(res.Header.Get("Ampoule-Size"), 10, 64)
	if err := f(size, res.Body); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return fmt.Errorf("control: %s: %w: %w", what, err, ErrCutOff)
	}
	if res.Trailer.Get(endTrailer) != endWhole {
		return fmt.Errorf("control: %s: %w", what, ErrCutOff)
	}
	return nil
}

// Opened is a store that this process has open itself, asked as a server would be.
type Opened struct{ *store.Store }

// Database copies a backup of the database.
func (o Opened) Database(ctx context.Context, w io.Writer) error {
	_, err := o.Backup(ctx, w)
	return err
}

// Keys gives the file of the records' keys to f, with its size.
func (o Opened) Keys(ctx context.Context, f func(int64, io.Reader) error) error {
	r, size, err := o.KeyFile(ctx)
	if err != nil {
		return err
	}
	return f(size, r)
}

// AuditLines copies the lines of the audit log from one time to another, with their
// seals.
func (o Opened) AuditLines(ctx context.Context, w io.Writer, from, to time.Time) error {
	return o.ExportAudit(ctx, w, "", from, to)
}

// Erased gives the erasure list to f.
func (o Opened) Erased(_ context.Context, f func(int64, io.Reader) error) error {
	r, size := o.ErasedList()
	return f(size, r)
}
