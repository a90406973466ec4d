package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"
)

// Front is what stands before a [Page] for as long as the server runs, while the
// pages behind it are replaced as newer data come: it limits, counts, numbers
// requests, and says whether the server is ready.
type Front struct {
	// Origins are those of other sites whose pages may ask the API, * for all.
	Origins []string
	// Proxies are networks whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Rate is how many requests a second an address may send, and Burst how many at
	// once; 0: no limit.
	Rate, Burst int
	// Checks are what the server needs besides what is shown; /readyz?verbose lists
	// them.
	Checks []Check
	// Answered is told of every answered request; nil: nobody.
	Answered func(Answered)

	shown    atomic.Pointer[shown]
	limits   Limits[netip.Prefix]
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bundle   *prometheus.GaugeVec
}

// Check is one of the things without which a server is not ready.
type Check struct {
	Name string
	Run  func(context.Context) error // nil where it is well
}

// Answered is a request that was answered. Nothing of it is personal.
type Answered struct {
	Route, Method string
	Status        int
	Begun         time.Time
	Took          time.Duration
	TraceParent   string // header traceparent, as it was sent
}

// shown is the page that is behind the front at a time.
type shown struct {
	http.Handler
	ready func() error
}

// NewFront returns a front with its metrics.
func NewFront() *Front {
	f := &Front{registry: prometheus.NewRegistry()}
	f.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ampoule_http_requests_total", Help: "Requests by route, method and status."}, []string{"route", "method", "status"})
	f.outcomes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ampoule_verdicts_total", Help: "Verdicts by outcome."}, []string{"outcome"})
	f.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "ampoule_http_request_seconds", Help: "Time to answer, by route.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
	}, []string{"route"})
	f.bundle = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "ampoule_bundle_timestamp_seconds", Help: "Of the bundle that is gone by: when it was issued, and when the next is due."}, []string{"what"})
	f.registry.MustRegister(f.requests, f.outcomes, f.seconds, f.bundle, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return f
}

// Register adds metrics to those that /metrics answers.
func (f *Front) Register(c ...prometheus.Collector) { f.registry.MustRegister(c...) }

// Show puts a page behind the front, in the place of the one before. ready
// returns why the page cannot answer well, or nil.
func (f *Front) Show(p *Page, ready func() error) {
	p.front = f
	f.shown.Store(&shown{p.Handler(), ready})
	if p.API != nil && p.API.Trust.Bundle != nil {
		f.bundle.WithLabelValues("issued").Set(float64(p.API.Trust.Bundle.Issued.Unix()))
		f.bundle.WithLabelValues("next").Set(float64(p.API.Trust.Bundle.Next.Unix()))
	}
}

// Handler returns the front as a handler. Show must have been called.
func (f *Front) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(f.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /readyz", f.ready)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { f.shown.Load().ServeHTTP(w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", RequestID(r))
		if f.cors(w, r) {
			return
		}
		if !f.limits.Allow(Network(f.address(r)), f.Rate, f.Burst, time.Now()) {
			(&server{Page: &Page{}, log: slog.New(slog.DiscardHandler)}).fail(&answer{ResponseWriter: w}, plain(r), problemTooMany)
			f.requests.WithLabelValues("limited", method(r), "429").Inc()
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// plain returns the request as one that wants a problem document: a page is not
// drawn for who asks too often.
func plain(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "application/problem+json")
	return r
}

// readyWithin bounds how long the checks may take together.
const readyWithin = 5 * time.Second

func (f *Front) ready(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	checks := append([]Check{{"verifier", func(context.Context) error { return f.shown.Load().ready() }}}, f.Checks...)
	var verbose, failed strings.Builder
	for _, c := range checks {
		if err := c.Run(ctx); err != nil {
			fmt.Fprintf(&verbose, "%s: %v\n", c.Name, err)
			fmt.Fprintln(&failed, err)
			continue
		}
		fmt.Fprintf(&verbose, "%s: ok\n", c.Name)
	}
	if failed.Len() > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	switch {
	case r.URL.Query().Has("verbose"):
		fmt.Fprint(w, verbose.String())
	case failed.Len() > 0:
		fmt.Fprint(w, failed.String())
	default:
		fmt.Fprintln(w, "ready")
	}
}

// count notes an answered request.
func (f *Front) count(r *http.Request, a *answer, took time.Duration) {
	route := pattern(r)
	if route == "" {
		route = "none"
	}
	f.requests.WithLabelValues(route, method(r), fmt.Sprint(a.status)).Inc()
	f.seconds.WithLabelValues(route).Observe(took.Seconds())
	if f.Answered != nil {
		f.Answered(Answered{Route: route, Method: method(r), Status: a.status, Begun: time.Now().Add(-took), Took: took, TraceParent: r.Header.Get("traceparent")})
	}
	if a.outcome != "" {
		for outcome := range strings.SplitSeq(a.outcome, ",") {
			f.outcomes.WithLabelValues(outcome).Inc()
		}
	}
}

// RequestID returns the number that the sender gave the request, if it is one
// that may stand in a log, or a new one.
func RequestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); len(id) >= 8 && len(id) <= 64 && strings.Trim(id, "0123456789abcdefABCDEF-") == "" {
		return id
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// cors answers what a browser asks before a page of another site may use the
// API, and lets the page read the answer. It reports whether that was all.
func (f *Front) cors(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || !isAPI(r.URL.Path) {
		return false
	}
	w.Header().Add("Vary", "Origin")
	allowed := slices.Contains(f.Origins, origin)
	if slices.Contains(f.Origins, "*") {
		origin, allowed = "*", true
	}
	if allowed {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After, ETag, Link, Location, GS1-EPCIS-Version, GS1-CBV-Version, GS1-EPC-Format, GS1-Next-Page-Token-Expires")
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if allowed {
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id, "+
			"GS1-Capture-Error-Behaviour, GS1-EPCIS-Version, GS1-EPCIS-Min, GS1-EPCIS-Max, GS1-CBV-Version, GS1-CBV-Min, GS1-CBV-Max, GS1-EPC-Format, GS1-Extensions")
		w.Header().Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// address returns whose request it is: the last address that no believed proxy
// has put there.
func (f *Front) address(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(forwarded) - 1; i >= 0 && f.believed(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr
}

func (f *Front) believed(addr netip.Addr) bool {
	return slices.ContainsFunc(f.Proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Limits are those of each who asks. The zero value is ready.
type Limits[K comparable] struct {
	mu sync.Mutex // held while one is looked up
	by map[K]*limit
}

type limit struct {
	*rate.Limiter
	used time.Time
}

// maxLimits bounds how many are remembered: 100 bytes each.
const maxLimits = 1 << 16

// Network is what addresses share a limit: an IPv6 network of 64 bits is one.
func Network(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}

// Allow reports whether who may ask now, so many times a second and so many at
// once; perSecond 0: always.
func (l *Limits[K]) Allow(who K, perSecond, burst int, now time.Time) bool {
	if perSecond == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = make(map[K]*limit)
	}
	known := l.by[who]
	if known == nil {
		if len(l.by) >= maxLimits {
			// Who has been quiet for long enough has all of its burst again, and need
			// not be remembered.
			whole := time.Duration(burst) * time.Second / time.Duration(perSecond)
			for n, k := range l.by {
				if now.Sub(k.used) > whole {
					delete(l.by, n)
				}
			}
			if len(l.by) >= maxLimits {
				return false
			}
		}
		known = &limit{Limiter: rate.NewLimiter(rate.Limit(perSecond), burst)}
		l.by[who] = known
	}
	known.used = now
	return known.AllowN(now, 1)
}
