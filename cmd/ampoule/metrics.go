package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ampoule/internal/config"
	"ampoule/internal/doctor"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/party/notary"
)

// measures are the metrics of what a server keeps. They are looked up when they are
// asked for.
type measures struct {
	settings *config.Config
	store    *store.Store // nil: there is none
	commits  prometheus.Histogram
	signing  []*keys.Key
	ledger   func() notary.Trouble // nil: nothing is brought to a ledger
}

func newMeasures(c *config.Config) *measures {
	return &measures{settings: c, commits: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "ampoule_store_commit_seconds", Help: "How long a commit of the database took, its sync included.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
	})}
}

var (
	buildInfo     = prometheus.NewDesc("ampoule_build_info", "1; the labels say what runs.", []string{"version", "go"}, nil)
	storeRecords  = prometheus.NewDesc("ampoule_store_records", "Records in the store.", nil, nil)
	storeReady    = prometheus.NewDesc("ampoule_store_ready", "1 where the store can be read and written, 0 where not.", nil, nil)
	diskFreeBytes = prometheus.NewDesc("ampoule_store_disk_free_bytes", "Room that is left on the disk of the store.", nil, nil)
	keyExpiry     = prometheus.NewDesc("ampoule_signing_key_expiry_timestamp_seconds", "When the certificate of a signing key ends.", []string{"kid"}, nil)
	backupMade    = prometheus.NewDesc("ampoule_backup_timestamp_seconds", "When the last backup was made, 0 where there is none, of the database and of the key side.", []string{"what"}, nil)
	outboxEntries = prometheus.NewDesc("ampoule_ledger_entries", "Batches and lists on their way into the log of the ledger, by how far they are.", []string{"stage"}, nil)
	outboxOldest  = prometheus.NewDesc("ampoule_ledger_oldest_timestamp_seconds", "When the oldest was put that is not logged, 0 where all are.", nil, nil)
	ledgerTrouble = prometheus.NewDesc("ampoule_ledger_trouble", "1 where something keeps entries from the ledger, by its word, 0 where nothing does. Nothing that is issued or verified waits for it.", []string{"reason"}, nil)
	ledgerFailed  = prometheus.NewDesc("ampoule_ledger_failed_rounds_total", "Rounds in which nothing came to the ledger.", nil, nil)
	tlsExpiry     = prometheus.NewDesc("ampoule_tls_expiry_timestamp_seconds", "When the certificate of the server ends.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (m *measures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, storeRecords, storeReady, diskFreeBytes, keyExpiry, backupMade, tlsExpiry, outboxEntries, outboxOldest, ledgerTrouble, ledgerFailed} {
		out <- d
	}
	m.commits.Describe(out)
}

// Collect implements [prometheus.Collector]. What cannot be found out is left away:
// an alert on its absence tells.
func (m *measures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(buildInfo, 1, version, runtime.Version())
	if file := m.settings.TLS.Certificate; file != "" {
		if pair, err := tls.LoadX509KeyPair(file, m.settings.TLS.Key); err == nil {
			if c, err := x509.ParseCertificate(pair.Certificate[0]); err == nil {
				gauge(tlsExpiry, float64(c.NotAfter.Unix()))
			}
		}
	}
	if m.store == nil {
		return
	}
	m.commits.Collect(out)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if n, err := m.store.Records(ctx); err == nil {
		gauge(storeRecords, float64(n))
	}
	ready := 0.0
	if m.store.Ready(ctx) == nil {
		ready = 1
	}
	gauge(storeReady, ready)
	if free, _, err := doctor.DiskFree(m.settings.Store.Dir); err == nil {
		gauge(diskFreeBytes, float64(free))
	}
	for _, k := range m.signing {
		gauge(keyExpiry, float64(k.Certificate().NotAfter.Unix()), hex.EncodeToString(k.KID()))
	}
	m.collectLedger(ctx, out, gauge)
	made := readBackups(m.settings.Store.Dir)
	for _, what := range []string{"database", "keys"} {
		at := made[what].At
		if at.IsZero() {
			at = time.Unix(0, 0)
		}
		gauge(backupMade, float64(at.Unix()), what)
	}
}

// collectLedger tells of the way into the log. A server that brings nothing to a ledger
// has no trouble with it, and nothing of it is late.
func (m *measures) collectLedger(ctx context.Context, out chan<- prometheus.Metric, gauge func(*prometheus.Desc, float64, ...string)) {
	var t notary.Trouble
	if m.ledger != nil {
		t = m.ledger()
	}
	trouble := 0.0
	if t.Reason != "" {
		trouble = 1
	}
	gauge(ledgerTrouble, trouble, t.Reason)
	out <- prometheus.MustNewConstMetric(ledgerFailed, prometheus.CounterValue, float64(t.Rounds))
	sum, err := m.store.Outbox().Tally(ctx)
	if err != nil {
		return
	}
	for stage, n := range []int{sum.Waiting, sum.Submitted, sum.Logged, sum.Kept, sum.Refused} {
		gauge(outboxEntries, float64(n), notary.Stage(stage).String())
	}
	oldest := 0.0
	if m.ledger != nil && !sum.Oldest.IsZero() {
		oldest = float64(sum.Oldest.Unix())
	}
	gauge(outboxOldest, oldest)
}
