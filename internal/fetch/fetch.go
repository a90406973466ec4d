// Package fetch is the only way out: every request that this program makes of
// itself goes through a [Client], which bounds what comes back, how long it may
// take, and to which addresses it may go.
//
// An address that a list names, or to which a server sends us on, could be one of
// our own network that nobody outside may reach. So private, local and reserved
// addresses are refused when the connection is made, after the name was looked
// up; what a name leads to a moment later does not matter. Only https is spoken,
// TLS 1.2 or newer, without the proxy of the environment, which would reach what
// we refuse.
package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"ampoule/format"
)

// Why a request was not made, or its answer not taken.
const (
	ErrAddress   = format.Defect("address-refused") // private, local or reserved
	ErrScheme    = format.Defect("not-https")
	ErrRedirect  = format.Defect("redirect-refused")
	ErrTooLarge  = format.Defect("answer-too-large")
	ErrPin       = format.Defect("server-key-not-pinned")
	ErrBadTarget = format.Defect("bad-address")
)

// Bounds that hold where an option is zero.
const (
	DefaultTimeout = 30 * time.Second
	DefaultBytes   = 16 << 20
)

// Options are what a client may do.
type Options struct {
	// Roots are the authorities of the server, instead of the system's.
	Roots []*x509.Certificate
	// Pins are SHA-256 of public keys (SubjectPublicKeyInfo), of which the server's
	// chain must have one; none: no pin.
	Pins [][sha256.Size]byte
	// Certificate is ours, for mutual TLS. With one, no redirect leaves the host.
	Certificate *tls.Certificate
	// PrivateHosts may have addresses of private networks or of this machine.
	PrivateHosts []string
	// Loopback allows http to a literal address of this machine, where nobody listens
	// in between: a front and a server on one machine, and tests.
	Loopback bool
	// Redirects is how many are followed, to https alone.
	Redirects int
	Timeout   time.Duration // of a whole request
	Bytes     int64         // most of an answer
}

// Client makes requests. It can be used by many goroutines.
type Client struct {
	http     *http.Client
	bytes    int64
	loopback bool
}

// New makes a client.
func New(o Options) *Client {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(o.Roots) > 0 {
		config.RootCAs = x509.NewCertPool()
		for _, c := range o.Roots {
			config.RootCAs.AddCert(c)
		}
	}
	if len(o.Pins) > 0 {
		config.VerifyConnection = func(s tls.ConnectionState) error {
			for _, chain := range s.VerifiedChains {
				for _, c := range chain {
					if slices.Contains(o.Pins, sha256.Sum256(c.RawSubjectPublicKeyInfo)) {
						return nil
					}
				}
			}
			return ErrPin
		}
	}
	if o.Certificate != nil {
		config.Certificates = []tls.Certificate{*o.Certificate}
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Bytes == 0 {
		o.Bytes = DefaultBytes
	}
	transport := &http.Transport{
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  o.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        4,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true, // a bomb would be counted before it goes off
		ForceAttemptHTTP2:      true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
			if host, _, err := net.SplitHostPort(address); err != nil || !slices.ContainsFunc(o.PrivateHosts, func(h string) bool { return strings.EqualFold(h, host) }) {
				d.Control = func(_, address string, _ syscall.RawConn) error { return checkAddress(address) }
			}
			return d.DialContext(ctx, network, address)
		},
	}
	return &Client{bytes: o.Bytes, loopback: o.Loopback, http: &http.Client{
		Transport: transport,
		Timeout:   o.Timeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) > o.Redirects:
				return fmt.Errorf("to %s: %w", r.URL.Host, ErrRedirect)
			case r.URL.Scheme != "https":
				return fmt.Errorf("to %s: %w", r.URL.Scheme, ErrRedirect)
			case o.Certificate != nil && r.URL.Host != via[0].URL.Host:
				return fmt.Errorf("to another host with our certificate: %w", ErrRedirect)
			}
			return nil
		},
	}}
}

// Response is an answer that was read to its end.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do makes one request. A status of any kind is an answer, not an error.
func (c *Client) Do(ctx context.Context, method, address string, header http.Header, body []byte) (*Response, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return nil, fmt.Errorf("request: %w", ErrBadTarget)
	case u.Scheme != "https" && !(c.loopback && u.Scheme == "http" && isLoopback(u.Hostname())):
		return nil, fmt.Errorf("request to %s: %w", u.Host, ErrScheme)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", u.Host, ErrBadTarget)
	}
	if header != nil {
		r.Header = header.Clone()
	}
	r.Header.Set("User-Agent", "ampoule")
	answer, err := c.http.Do(r)
	if err != nil {
		// Of an address a query may be private; the host is enough.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("request to %s: %w", u.Host, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, c.bytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("answer of %s: %w", u.Host, err)
	case int64(len(data)) > c.bytes:
		return nil, fmt.Errorf("answer of %s: more than %d bytes: %w", u.Host, c.bytes, ErrTooLarge)
	}
	return &Response{answer.StatusCode, answer.Header, data}, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// reserved are ranges that net/netip does not name, and through which somebody
// may still be reached who should not (IANA special-purpose registries).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // this network
	netip.MustParsePrefix("100.64.0.0/10"),  // carriers' private addresses
	netip.MustParsePrefix("192.0.0.0/24"),   // protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved, and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),   // IPv4 by translation
	netip.MustParsePrefix("64:ff9b:1::/48"), // the same, of one's own network
	netip.MustParsePrefix("2002::/16"),      // IPv4 in 6to4
	netip.MustParsePrefix("2001::/32"),      // IPv4 in Teredo
	netip.MustParsePrefix("fec0::/10"),      // former site-local
}

// checkAddress refuses what is no public address.
func checkAddress(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrAddress
	}
	ip := at.Addr().Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return fmt.Errorf("%s: %w", ip, ErrAddress)
	}
	return nil
}
