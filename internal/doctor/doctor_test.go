package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/bundle"
	"ampoule/internal/config"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/trust"
)

var day = time.Now().UTC().Truncate(time.Second)

// healthy is a host of which nothing is wrong.
func healthy(t *testing.T) *Host {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(dir, 0o700))
	must(os.Mkdir(filepath.Join(dir, "keys"), 0o700))
	master, err := keys.NewMasterKey(rand.Reader)
	must(err)
	where := store.Config{Dir: dir, Master: master}
	must(store.Create(t.Context(), where))
	must(keys.SaveMasterKey(filepath.Join(dir, "master.key"), master, keys.Unencrypted()))
	s, err := store.Open(t.Context(), where)
	must(err)
	t.Cleanup(func() { _ = s.Close() })
	settings := &config.Config{Listen: "127.0.0.1:0"}
	settings.Store.Dir = dir
	h := &Host{
		Now: day, Settings: settings, Master: filepath.Join(dir, "master.key"),
		Lock: func() (keys.Lock, error) { return keys.Unencrypted(), nil }, Health: s.Health,
		Backups: func() map[string]time.Time {
			return map[string]time.Time{"database": day.Add(-time.Hour), "keys": day.Add(-2 * time.Hour)}
		},
	}
	k := signer(t, h, "dsc.key", day.AddDate(0, 0, -10))
	trusted(t, h, k.Certificate())
	return h
}

// signer makes a signing key of an authority of its own, which begins at a time.
func signer(t *testing.T, h *Host, name string, from time.Time) *keys.Key {
	t.Helper()
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Specimen authority", Name: "XA"}, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := sca.IssueDSC(keys.DSCProfile{}, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	save(t, h, name, k)
	return k
}

func save(t *testing.T, h *Host, name string, k *keys.Key) {
	t.Helper()
	if err := keys.Save(filepath.Join(h.Settings.Store.Dir, "keys", name), k, keys.Unencrypted()); err != nil {
		t.Fatal(err)
	}
}

func trusted(t *testing.T, h *Host, certificates ...*x509.Certificate) {
	t.Helper()
	list := new(trust.List)
	for _, c := range certificates {
		k, err := trust.NewKey(c.Raw)
		if err != nil {
			t.Fatal(err)
		}
		k.Domain, k.Participant = trust.DCC, "XA"
		list.Insert(k)
	}
	h.Trust = func() (*trust.List, *bundle.Opened, error) { return list, nil, nil }
}

func TestHealthy(t *testing.T) {
	h := healthy(t)
	results := Run(t.Context(), h)
	for _, r := range results {
		if r.Level != OK {
			t.Errorf("%+v", r)
		}
	}
	if len(results) < len(checks)-1 || Worst(results) != OK { // no audit log is told of
		t.Errorf("%d results of %d checks", len(results), len(checks))
	}
}

// TestBad has the bad case of every check.
func TestBad(t *testing.T) {
	withKey := func(from time.Time) func(*testing.T, *Host) {
		return func(t *testing.T, h *Host) {
			if err := os.Remove(filepath.Join(h.Settings.Store.Dir, "keys", "dsc.key")); err != nil {
				t.Fatal(err)
			}
			trusted(t, h, signer(t, h, "dsc.key", from).Certificate())
		}
	}
	withHealth := func(change func(*store.Health)) func(*testing.T, *Host) {
		return func(t *testing.T, h *Host) {
			was := h.Health
			h.Health = func(ctx context.Context) (*store.Health, error) {
				health, err := was(ctx)
				if err == nil {
					change(health)
				}
				return health, err
			}
		}
	}
	withBundle := func(issued, next time.Time, err error) func(*testing.T, *Host) {
		return func(t *testing.T, h *Host) {
			list, _, _ := h.Trust()
			b := &bundle.Opened{Bundle: &bundle.Bundle{Serial: 7, Maker: "XXA", Issued: issued, Next: next}}
			h.Trust = func() (*trust.List, *bundle.Opened, error) { return list, b, err }
		}
	}
	chmod := func(mode os.FileMode, name ...string) func(*testing.T, *Host) {
		return func(t *testing.T, h *Host) {
			if err := os.Chmod(filepath.Join(append([]string{h.Settings.Store.Dir}, name...)...), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	years := func(n int) time.Time { return day.AddDate(n, 0, 0) }
	for _, c := range []struct {
		name, check string
		level       Level
		means       string
		spoil       func(*testing.T, *Host)
	}{
		{"unknown setting", "configuration", Fail, "did you mean listen", func(t *testing.T, h *Host) {
			_, _, h.ConfigErr = config.Load(config.Source{Set: []string{"listne=:80"}})
			h.Settings = nil
		}},
		{"no folder", "store-folder", Fail, "no such file", func(t *testing.T, h *Host) { h.Settings.Store.Dir += "/none" }},
		{"a file for a folder", "store-folder", Fail, "is no folder", func(t *testing.T, h *Host) { h.Settings.Store.Dir = h.Master }},
		{"folder of all", "store-folder", Fail, "can replace", chmod(0o777)},
		{"folder that others see", "store-folder", Warn, "can see", chmod(0o755)},
		{"left over", "store-folder", Warn, "unfinished", func(t *testing.T, h *Host) {
			if err := os.WriteFile(filepath.Join(h.Settings.Store.Dir, ".ampoule-new-1"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"open master key", "key-files", Fail, "0644: others on this machine can read a key", chmod(0o644, "master.key")},
		{"open signing key", "key-files", Fail, "others on this machine", chmod(0o640, "keys", "dsc.key")},
		{"no passphrase file", "key-files", Fail, "no such file", func(t *testing.T, h *Host) { h.Settings.Store.Passphrase = "none" }},
		{"no master key", "master-key", Fail, "no record can be read", func(t *testing.T, h *Host) { h.Master += ".gone" }},
		{"damaged master key", "master-key", Fail, "damaged", func(t *testing.T, h *Host) {
			if err := os.WriteFile(h.Master, []byte("-----BEGIN NOTHING"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"no store", "database", Fail, "store-in-use", func(t *testing.T, h *Host) {
			h.Health = func(context.Context) (*store.Health, error) {
				return nil, fmt.Errorf("store: %w", store.ErrInUse)
			}
		}},
		{"damaged database", "database", Fail, "row 3 missing", withHealth(func(h *store.Health) { h.Problems = []string{"row 3 missing from index"} })},
		{"older schema", "database", Warn, "ampoule migrate", withHealth(func(h *store.Health) { h.Newest++ })},
		{"old PostgreSQL", "database", Warn, "no corrections", withHealth(func(h *store.Health) { h.Engine, h.Version = "postgresql", "13.9" })},
		{"not logged for two days", "ledger", Warn, "3 entries wait for the ledger", func(t *testing.T, h *Host) {
			h.Settings.Ledger.Notary = "https://notary.example"
			withHealth(func(s *store.Health) { s.Unlogged, s.UnloggedSince = 3, h.Now.Add(-48*time.Hour) })(t, h)
		}},
		{"refused by the ledger", "ledger", Warn, "refused 2 entries", func(t *testing.T, h *Host) {
			h.Settings.Ledger.Notary = "https://notary.example"
			withHealth(func(s *store.Health) { s.Refused = 2 })(t, h)
		}},
		{"no folder of the node", "ledger", Fail, "nothing is logged", func(t *testing.T, h *Host) { h.Settings.Ledger.Dir = filepath.Join(t.TempDir(), "none") }},
		{"fsync off", "database", Fail, "fsync is off", withHealth(func(h *store.Health) {
			h.Engine, h.Version, h.Problems = "postgresql", "17.2", []string{"fsync is off"}
		})},
		{"audit log", "audit-log", Fail, "changed", func(t *testing.T, h *Host) {
			h.Audit = func(context.Context) (*store.AuditReport, error) {
				return &store.AuditReport{Breaks: []store.Break{{Kind: store.BreakAltered, Seal: 4}}}, nil
			}
		}},
		{"audit log not sealed", "audit-log", Warn, "not sealed", func(t *testing.T, h *Host) {
			h.Audit = func(context.Context) (*store.AuditReport, error) {
				return &store.AuditReport{Trouble: "the disk is full"}, nil
			}
		}},
		{"audit log not read", "audit-log", Fail, "not known", func(t *testing.T, h *Host) {
			h.Audit = func(context.Context) (*store.AuditReport, error) { return nil, errors.New("the disk") }
		}},
		{"nothing can be written", "sync", Fail, "nothing can be written", func(t *testing.T, h *Host) { h.Settings.Store.Dir += "/none" }},
		{"no disk", "disk", Warn, "not known", func(t *testing.T, h *Host) { h.Settings.Store.Dir += "/none" }},
		{"slow clock", "clock", Fail, "periods are judged wrongly", func(t *testing.T, h *Host) { h.Now = h.Now.Add(-time.Hour) }},
		{"bundle of the future", "clock", Fail, "the bundle is of", withBundle(day.Add(time.Hour), day.Add(48*time.Hour), nil)},
		{"bundle refused as of the future", "clock", Fail, "issued in the future", withBundle(day, day, bundle.ErrNotYetIssued)},
		{"no keys", "signing-keys", Warn, "no signing key", func(t *testing.T, h *Host) {
			if err := os.RemoveAll(filepath.Join(h.Settings.Store.Dir, "keys")); err != nil {
				t.Fatal(err)
			}
		}},
		{"key that is no key", "signing-keys", Fail, "damaged", func(t *testing.T, h *Host) {
			if err := os.WriteFile(filepath.Join(h.Settings.Store.Dir, "keys", "x.key"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"key without a certificate", "signing-keys", Fail, "no certificate", func(t *testing.T, h *Host) {
			k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			save(t, h, "x.key", &keys.Key{Signer: k})
		}},
		{"the same key twice", "signing-keys", Fail, "the same key identifier", func(t *testing.T, h *Host) {
			k, err := keys.Load(filepath.Join(h.Settings.Store.Dir, "keys", "dsc.key"), keys.Unencrypted())
			if err != nil {
				t.Fatal(err)
			}
			save(t, h, "again.key", k)
		}},
		{"key that nobody knows", "signing-keys", Warn, "is not in the trust data", func(t *testing.T, h *Host) { trusted(t, h) }},
		{"key of the past", "signing-keys", Fail, "nothing can be issued with it", withKey(years(-5))},
		{"key of 20 days", "signing-keys", Fail, "in 20 days: a new one takes weeks", withKey(years(-2).AddDate(0, 0, 20).Add(time.Hour))},
		{"key of 80 days", "signing-keys", Warn, "in 80 days", withKey(years(-2).AddDate(0, 0, 80).Add(time.Hour))},
		{"key of the future", "signing-keys", Fail, "is valid from", withKey(day.AddDate(0, 0, 5))},
		{"lint", "signing-keys", Warn, "country attributes", func(t *testing.T, h *Host) {
			k := selfMade(t, &x509.Certificate{NotBefore: day.AddDate(0, 0, -1), NotAfter: day.AddDate(2, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature})
			save(t, h, "x.key", k)
		}},
		{"no trust", "trust", Warn, "no key is trusted", func(t *testing.T, h *Host) { trusted(t, h) }},
		{"trust that cannot be read", "trust", Fail, "does not start", func(t *testing.T, h *Host) {
			h.Trust = func() (*trust.List, *bundle.Opened, error) { return nil, nil, errors.New("no such file") }
		}},
		{"bundle too old", "trust", Fail, "nothing is valid by it", withBundle(day.AddDate(0, 0, -9), day.Add(-time.Hour), nil)},
		{"bundle nearly due", "trust", Warn, "has not come", withBundle(day.AddDate(0, 0, -9), day.AddDate(0, 0, 1), nil)},
		{"plain HTTP for all", "tls", Warn, "plain HTTP", func(t *testing.T, h *Host) { h.Settings.Listen = ":0" }},
		{"no certificate", "tls", Fail, "no such file", func(t *testing.T, h *Host) { h.Settings.TLS.Certificate, h.Settings.TLS.Key = "none", "none" }},
		{"certificate of the past", "tls", Fail, "nobody can connect", serverCertificate(-time.Hour, "desk.example")},
		{"certificate of 3 days", "tls", Fail, "ends on", serverCertificate(72*time.Hour, "desk.example")},
		{"certificate of 20 days", "tls", Warn, "ends on", serverCertificate(20*24*time.Hour, "desk.example")},
		{"certificate without a name", "tls", Fail, "subjectAltName", serverCertificate(90 * 24 * time.Hour)},
		{"certificate of another host", "tls", Fail, "clients refuse it", func(t *testing.T, h *Host) {
			serverCertificate(90*24*time.Hour, "desk.example")(t, h)
			h.Hostname = "clinic.example"
		}},
		{"address in use", "listen", Fail, "cannot start there", func(t *testing.T, h *Host) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			h.Settings.Listen = l.Addr().String()
		}},
		{"server that does not answer", "listen", Fail, "does not answer there", func(t *testing.T, h *Host) {
			h.Running, h.Settings.Listen = true, "127.0.0.1:1"
		}},
		{"no backup", "backup", Warn, "no backup of the keys", func(t *testing.T, h *Host) { h.Backups = func() map[string]time.Time { return nil } }},
		{"backup of the day before yesterday", "backup", Warn, "48 hours old", func(t *testing.T, h *Host) {
			h.Backups = func() map[string]time.Time {
				return map[string]time.Time{"database": day.Add(-48 * time.Hour), "keys": day}
			}
		}},
		{"backup of last month", "backup", Fail, "30 days old", func(t *testing.T, h *Host) {
			h.Backups = func() map[string]time.Time {
				return map[string]time.Time{"database": day, "keys": day.AddDate(0, 0, -30)}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := healthy(t)
			c.spoil(t, h)
			found := slices.DeleteFunc(Run(t.Context(), h), func(r Result) bool { return r.Check != c.check })
			if Worst(found) != c.level {
				t.Errorf("level %s, want %s: %+v", Worst(found), c.level, found)
			}
			if !slices.ContainsFunc(found, func(r Result) bool {
				return r.Level == c.level && strings.Contains(r.Means+r.Fix, c.means) && r.Fix != ""
			}) {
				t.Errorf("nobody says %q with a fix: %+v", c.means, found)
			}
		})
	}
}

// TestMeasures has the bad cases of what a test cannot bring about.
func TestMeasures(t *testing.T) {
	for _, c := range []struct {
		got  []Result
		want Level
	}{
		{spaceLeft(100<<20, 100<<30), Fail},
		{spaceLeft(1<<30, 10<<30), Warn},
		{spaceLeft(30<<30, 1000<<30), Warn},
		{spaceLeft(60<<30, 1000<<30), OK},
		{enoughFiles(1024), Warn},
		{enoughFiles(65536), OK},
	} {
		if Worst(c.got) != c.want {
			t.Errorf("%+v, want %s", c.got, c.want)
		}
	}
}

// selfMade is a key with a certificate that it has signed itself.
func selfMade(t *testing.T, template *x509.Certificate) *keys.Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: "Specimen"}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &keys.Key{Signer: k, Chain: []*x509.Certificate{c}}
}

func serverCertificate(left time.Duration, names ...string) func(*testing.T, *Host) {
	return func(t *testing.T, h *Host) {
		k := selfMade(t, &x509.Certificate{NotBefore: day.AddDate(-1, 0, 0), NotAfter: day.Add(left), DNSNames: names})
		der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
		if err != nil {
			t.Fatal(err)
		}
		tls := &h.Settings.TLS
		tls.Certificate, tls.Key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
		for path, block := range map[string]*pem.Block{
			tls.Certificate: {Type: "CERTIFICATE", Bytes: k.Certificate().Raw}, tls.Key: {Type: "PRIVATE KEY", Bytes: der},
		} {
			if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
