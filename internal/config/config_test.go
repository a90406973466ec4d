package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// minimal is what every configuration needs.
var minimal = []string{"verifier.trust=did.json"}

func load(t *testing.T, s Source) (*Config, map[string]Setting) {
	t.Helper()
	s.FileName, s.Set = "ampoule.toml", append(slices.Clone(minimal), s.Set...)
	c, settings, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]Setting)
	for _, s := range settings {
		byName[s.Name] = s
	}
	return c, byName
}

// TestOrder: the command line before the environment, that before the file, that
// before the default, and each setting tells which it was.
func TestOrder(t *testing.T) {
	s := Source{
		File:    []byte("listen = \":1\"\n[http]\nrate = 7\norigins = [\"https://a.example\", \"https://b.example\"]\nstop = \"3s\"\n[log]\nlevel = \"warn\"\n"),
		Environ: []string{"PATH=/bin", "AMPOULE_LISTEN=:2", "AMPOULE_HTTP_RATE=8", "AMPOULE_PASSPHRASE=secret", "AMPOULE_VERIFIER_HOT_KEYS=3"},
		Set:     []string{"listen=:3"},
	}
	c, settings := load(t, s)
	if c.Listen != ":3" || c.HTTP.Rate != 8 || c.Log.Level != "warn" || c.HTTP.Burst != 200 || c.HTTP.Stop != 3*time.Second ||
		c.Verifier.HotKeys != 3 || !slices.Equal(c.HTTP.Origins, []string{"https://a.example", "https://b.example"}) {
		t.Errorf("%+v", c)
	}
	for name, want := range map[string]string{
		"listen": "--set", "http.rate": "AMPOULE_HTTP_RATE", "log.level": "ampoule.toml", "http.burst": "default", "verifier.trust": "--set",
		"http.origins": "ampoule.toml", "verifier.hot_keys": "AMPOULE_VERIFIER_HOT_KEYS",
	} {
		if settings[name].Origin != want {
			t.Errorf("%s is from %q, want %q", name, settings[name].Origin, want)
		}
	}
	if settings["http.origins"].Value != "https://a.example,https://b.example" || settings["http.stop"].Value != "3s" {
		t.Errorf("shown as %q, %q", settings["http.origins"].Value, settings["http.stop"].Value)
	}
}

func TestRefuses(t *testing.T) {
	file := func(text string) Source { return Source{FileName: "ampoule.toml", File: []byte(text), Set: minimal} }
	set := func(values ...string) Source { return Source{Set: append(slices.Clone(minimal), values...)} }
	for _, tt := range []struct {
		name string
		from Source
		want error
		says string
	}{
		{"a misspelt setting", file("[http]\nburts = 3\n"), ErrUnknown, "ampoule.toml: http.burts: there is no such setting; did you mean http.burst?"},
		{"a setting in the wrong place", file("rate = 3\n"), ErrUnknown, "did you mean http.rate?"},
		{"a misspelt variable", Source{Environ: []string{"AMPOULE_LISTN=:1"}, Set: minimal}, ErrUnknown, "AMPOULE_LISTN: there is no such setting; did you mean AMPOULE_LISTEN?"},
		{"a misspelt flag", set("listne=:1"), ErrUnknown, "--set: listne: there is no such setting; did you mean listen?"},
		{"a flag without value", set("listen"), ErrValue, "--set listen"},
		{"no TOML", file("listen = \n"), ErrFile, "ampoule.toml"},
		{"a number for a text", file("listen = 8080\n"), ErrValue, "listen"},
		{"a text for a number", file("[http]\nrate = \"many\"\n"), ErrValue, "http.rate"},
		{"a list of numbers", file("[verifier]\ntrust = [1]\n"), ErrValue, "verifier.trust"},
		{"a text for a list", file("[verifier]\ntrust = \"did.json\"\n"), ErrValue, "verifier.trust"},
		{"a group for a setting", file("[listen]\nport = 1\n"), ErrUnknown, "listen.port"},
		{"no number", set("http.rate=many"), ErrValue, `"many" is no whole number`},
		{"no duration", set("http.stop=10"), ErrValue, `"10" is no duration`},
		{"a certificate without key", set("tls.certificate=a.pem"), ErrValue, "belong together"},
		{"a bundle without root", set("verifier.bundle=b.cbor"), ErrValue, "belong together"},
		{"nothing that is trusted", Source{}, ErrValue, "every issuer would be unknown"},
		{"a rate without burst", set("http.burst=0"), ErrValue, "rate and burst"},
		{"sessions of seconds", set("access.session_idle=1s"), ErrValue, "session_idle"},
		{"sessions that end while in use", set("access.session_end=1m"), ErrValue, "session_end"},
		{"a provider without a client", set("access.oidc_issuer=https://login.example"), ErrValue, "belong together"},
		{"a provider without a way back", set("access.oidc_issuer=https://login.example", "access.oidc_client_id=x"), ErrValue, "access.origin"},
		{"people without a store", set("access.origin=https://desk.example"), ErrValue, "store.dir"},
		{"no such level", set("log.level=all"), ErrValue, "log.level"},
		{"a look every instant", set("verifier.refresh=1ms"), ErrValue, "verifier.refresh"},
		{"a batch of seven hours", set("fingerprints.every=7h"), ErrValue, "make up a day"},
		{"a batch of minutes", set("fingerprints.every=30m"), ErrValue, "make up a day"},
		{"a batch that never fills", set("fingerprints.full=20000"), ErrValue, "16384"},
		{"too many tables", set("verifier.hot_keys=1000000"), ErrValue, "hot_keys"},
		{"fewer blocks than none", set("ledger.keep=-1"), ErrValue, "ledger.keep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Load(tt.from)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; want %v, saying %q", err, tt.want, tt.says)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("listen = \":1\"\n[http]\nrate = 7\n"), "listen=:2")
	f.Add([]byte("[verifier]\ntrust = [\"a\"]\n"), "http.stop=3s")
	f.Fuzz(func(t *testing.T, file []byte, set string) {
		c, settings, err := Load(Source{FileName: "f", File: file, Set: []string{set}})
		if err == nil && (c == nil || len(settings) == 0 || c.Verifier.Bundle == "" && len(c.Verifier.Trust) == 0) {
			t.Error("a configuration that verifies nothing")
		}
	})
}
