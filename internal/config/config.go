// Package config is how a server is told what to be. A setting is looked for in
// four places: the command line, the environment, a file in TOML, and the
// default; the first that has it counts, and `ampoule config print` shows which
// that was.
//
// A setting that nobody knows is an error that names the nearest one. A value
// that cannot be right refuses the start: a server that runs with half of its
// configuration does harm for longer than one that does not run.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"ampoule/format"
)

// Config is what a server can be told. The names in TOML are those of the tags;
// in the environment they are in capitals behind AMPOULE_, with _ for the dot.
type Config struct {
	// Listen is the address of the server; port 0 takes a free one.
	Listen string `toml:"listen" default:"127.0.0.1:8080"`

	TLS struct {
		// Certificate and Key are files in PEM. They are read again when they change,
		// so that a renewed certificate needs no restart.
		Certificate string `toml:"certificate"`
		Key         string `toml:"key"`
	} `toml:"tls"`

	HTTP struct {
		// Origins may call the API from a browser: https://desk.example, or * for all.
		Origins []string `toml:"origins"`
		// Proxies are the networks whose X-Forwarded-For is believed: 10.0.0.0/8.
		Proxies []string `toml:"proxies"`
		// Rate is how many requests a second one address may send, and Burst how many
		// at once. 0: no limit.
		Rate  int `toml:"rate" default:"50"`
		Burst int `toml:"burst" default:"200"`
		// Stop is how long requests under way may take when the server is stopped.
		Stop time.Duration `toml:"stop" default:"10s"`
	} `toml:"http"`

	Verifier struct {
		// Bundle is kept by `ampoule bundle accept` or fetched by other means, and Root
		// must have signed it. A newer one is taken without a restart.
		Bundle string `toml:"bundle"`
		Root   string `toml:"root"`
		// Refresh is how often the file is looked at.
		Refresh time.Duration `toml:"refresh" default:"1m"`
		// Trust, Pin, Status, Catalogue, Map, Lots, LotKey and Rules are files as the
		// flags of `ampoule verify` take them; they add to the bundle.
		Trust     []string `toml:"trust"`
		Pin       []string `toml:"pin"`
		Status    []string `toml:"status"`
		Catalogue []string `toml:"catalogue"`
		Map       []string `toml:"map"`
		Lots      []string `toml:"lots"`
		LotKey    []string `toml:"lot_key"`
		Rules     []string `toml:"rules"`
		ValueSets string   `toml:"value_sets"`
		// Policy is a file that says what is asked of the certificates of each domain.
		Policy string `toml:"policy"`
		// Shrink is how many percent of something that a newer bundle may have lost
		// against the one that is gone by: above it the newer is refused, and a person
		// must look.
		Shrink int `toml:"shrink" default:"50"`
		// HotKeys is how many issuer keys have a table of 260 KB each; 0: none.
		HotKeys int `toml:"hot_keys" default:"64"`
		// TranscriptKey is the file of the key that signs transcripts of verdicts, for those
		// who ask for one. Empty: none are written.
		TranscriptKey string `toml:"transcript_key"`
	} `toml:"verifier"`

	Store struct {
		// Dir is the folder of the store: the database, unless PostgreSQL has it, the
		// keys of the records, the signing keys. Empty: the server verifies, and no more.
		Dir string `toml:"dir"`
		// Postgres is a connection string; empty: SQLite in Dir.
		Postgres string `toml:"postgres" secret:"true"`
		// Master is the file of the master key; empty: master.key in Dir.
		Master string `toml:"master"`
		// Passphrase is a file with the passphrase of the master key and of the signing
		// keys; AMPOULE_PASSPHRASE has it otherwise. Without either they are in the clear.
		Passphrase string `toml:"passphrase_file"`
	} `toml:"store"`

	Access struct {
		// Origin is the address under which people reach the service, such as
		// https://desk.example: passkeys and OpenID Connect are bound to it.
		Origin string `toml:"origin"`
		// OIDCIssuer is where the organisation's own login is; OIDCClientID and the file
		// with the client's secret are what it gave this service.
		OIDCIssuer           string `toml:"oidc_issuer"`
		OIDCClientID         string `toml:"oidc_client_id"`
		OIDCClientSecretFile string `toml:"oidc_client_secret_file"`
		// SessionIdle is how long a session lasts that nobody uses, and SessionEnd how
		// long one lasts at all.
		SessionIdle time.Duration `toml:"session_idle" default:"30m"`
		SessionEnd  time.Duration `toml:"session_end" default:"12h"`
	} `toml:"access"`

	Cards struct {
		// Address is that of the issuer of SMART Health Cards: its keys are published
		// below it, at /.well-known/jwks.json. Empty: that of access.origin. Without
		// https none are issued.
		Address string `toml:"address"`
	} `toml:"cards"`

	Publish struct {
		// Key is the private file of a bundle root. With it the server makes signed
		// bundles of what its verifier goes by, of its own keys and of what it revoked,
		// and serves them at /bundle. Empty: it makes none.
		Key string `toml:"key"`
		// File is where the newest one is kept; empty: bundle.cbor in the store's folder.
		File string `toml:"file"`
		// Days is how long a bundle counts, and Every how old one gets before the next:
		// a revocation makes one at once.
		Days  int           `toml:"days" default:"7"`
		Every time.Duration `toml:"every" default:"1h"`
		// Shrink is how many percent of something may be gone since the bundle before:
		// above it none is made, and a person must look.
		Shrink int `toml:"shrink" default:"20"`
	} `toml:"publish"`

	Fingerprints struct {
		// Every is the period, counted from midnight UTC, at whose end the open batch of
		// fingerprints is closed: whole hours that make up a day. Shorter ones make more
		// roots for others to keep. Full is the number of certificates that closes it
		// before.
		Every time.Duration `toml:"every" default:"24h"`
		Full  int           `toml:"full" default:"16384"`
	} `toml:"fingerprints"`

	Ledger struct {
		// Dir is the folder of a node of the ledger, made by `ampoule node init`, `genesis`
		// or `join`. Empty: this server runs none.
		Dir string `toml:"dir"`
		// Listen is where other nodes reach it, and Peers are those nodes: ID@host:port.
		// No others are talked to. A node without peers is alone, and listens to nobody.
		Listen string   `toml:"listen" default:"127.0.0.1:26656"`
		Peers  []string `toml:"peers"`
		// Keep is how many of the newest blocks are kept; 0: all. Those since the last
		// snapshots stay in any case, and the log always does. Without all blocks
		// `ampoule node replay` and `export` have nothing to begin with.
		Keep int `toml:"keep" default:"0"`
		// Witnesses are asked to cosign each checkpoint, by C2SP tlog-witness: the addresses
		// of other nodes of the federation, and of witnesses outside it.
		Witnesses []string `toml:"witnesses"`
		// Notary is the address of another's notary, https://notary.example, for a server
		// that has something to be logged and runs no node.
		Notary string `toml:"notary"`
		// Actor is the identifier under which this server writes, and Key the files of its
		// keys: two, or one with both halves, where its entry asks for two signatures. A
		// node has both in its folder.
		Actor string   `toml:"actor"`
		Key   []string `toml:"key"`
		// Policy is a file in the form of C2SP tlog-policy: which checkpoints count. A node
		// has it in its folder. NotaryKeys are the public keys, in PEM, of notaries whose
		// receipts count.
		Policy     string   `toml:"policy"`
		NotaryKeys []string `toml:"notary_keys"`
		// Schema is the identifier under which batches are logged: what their leaves are.
		Schema string `toml:"schema" default:"2.25.145047066133193227623213803803999590659.1"`
	} `toml:"ledger"`

	Custody struct {
		// Products are files of what is known of vaccines: in JSON of our own form, or WHO's
		// list of prequalified vaccines as CSV. SIGHUP has them read again.
		Products []string `toml:"products"`
		// Key is the file of the key with which this service speaks of lots, in the role
		// manufacturer, regulator or participant, under the name Authority that verifiers list
		// it by. Empty: it says nothing.
		Key       string `toml:"key"`
		Role      string `toml:"role" default:"participant"`
		Authority string `toml:"authority"`
		// Partners are those at other services to whom goods are handed over, and their
		// certificates: NAME=file. NAME is what their hand-overs say. With Key, hand-overs
		// of this service's own organisations are signed.
		Partners []string `toml:"partners"`
		// Assess is how often all that is in stock is assessed anew. 0: never.
		Assess time.Duration `toml:"assess" default:"1h"`
	} `toml:"custody"`

	Resolver struct {
		// Origin is the address under which identifiers are resolved, such as
		// https://id.example: it stands in links, DIDs and signatures. Empty: that of
		// access.origin; without either none are resolved.
		Origin string `toml:"origin"`
		// Links are files with links of the operator's own, in JSON (RFC 9264): product
		// pages, leaflets. They are read at the start.
		Links []string `toml:"links"`
		// Prefixes are GS1 company prefixes whose things are followed here by their events,
		// whether they are known one by one or not. Elsewhere are those for which another
		// resolver answers: 0950600=https://id.gs1.org.
		Prefixes  []string `toml:"prefixes"`
		Elsewhere []string `toml:"elsewhere"`
		// Valid is for how long an answer counts by its signature, from a cache too.
		Valid time.Duration `toml:"valid" default:"24h"`
	} `toml:"resolver"`

	Fleet struct {
		// Listen is where devices knock by HTTPS, with certificates of their own or with
		// claim codes (EST, DS01, SenML, segments); it is apart from that of the pages. Empty:
		// nowhere; suppliers with tokens reach /devices/ at the pages' address in any case.
		Listen string `toml:"listen"`
		// MQTT is where they knock by MQTT over TLS, and Plain where without TLS: for networks
		// that nobody else is on.
		MQTT  string `toml:"mqtt"`
		Plain string `toml:"plain_mqtt"`
		// Certificate and Key are the doors' own, in PEM. Empty: the authority of the devices
		// makes one for Hosts, which devices that were enrolled here trust.
		Certificate string   `toml:"certificate"`
		Key         string   `toml:"key"`
		Hosts       []string `toml:"hosts" default:"localhost,127.0.0.1"`
		// Makers are files with the roots, in PEM, of makers whose certificates of birth
		// (IDevID) devices may show.
		Makers []string `toml:"makers"`
		// Broker is a broker elsewhere that is read too: mqtts://broker.example:8883. Topics
		// are filters; none: ours. User and the file with its secret log in there. With a
		// Group several servers share the work by one shared subscription, which some brokers
		// forget when they are restarted (mosquitto 2.0): what comes until the next server
		// subscribes is lost then. Empty: each server reads all, and what another has kept in
		// the same database is not kept twice.
		Broker     string   `toml:"broker"`
		Group      string   `toml:"broker_group"`
		User       string   `toml:"broker_user"`
		SecretFile string   `toml:"broker_secret_file"`
		Topics     []string `toml:"broker_topics"`
		// Organisation is the one to which devices belong that nobody has registered and
		// that speak by that broker.
		Organisation string `toml:"broker_organisation"`
		// Codecs are files, in JSON, that say what the payloads of LoRaWAN devices mean, by
		// the profile that the network server has them under.
		Codecs []string `toml:"codecs"`
		// Connections is how many clients the embedded broker takes.
		Connections int `toml:"connections" default:"2000"`
		// Arc is the arc below which devices are named, in dotted form; empty: each below
		// 2.25, by a UUID.
		Arc string `toml:"arc"`
		// Announced is how many devices an account may announce that nobody has claimed.
		Announced int `toml:"announced" default:"10000"`
		// Raw is how long messages are kept as they came, a week at least; 0: not at all, but
		// for those of which something was refused. Keep is how long readings are kept; 0: for
		// ever.
		Raw  time.Duration `toml:"raw" default:"720h"`
		Keep time.Duration `toml:"keep" default:"0s"`
		// Anchor is how often the root of the segments since is brought to the ledger, by a
		// server that has one, and Actor the identifier of the gateway that does, and
		// ActorKey the files of its keys: a node has both in its folder (see 'ampoule node
		// issuer --readings').
		Anchor   time.Duration `toml:"anchor" default:"1h"`
		Actor    string        `toml:"actor"`
		ActorKey []string      `toml:"actor_key"`
		// Repeat is after how long an alarm that nobody has acknowledged is told again, and
		// Escalate after how long it is told to those of rank 1. 0: never.
		Repeat   time.Duration `toml:"repeat" default:"1h"`
		Escalate time.Duration `toml:"escalate" default:"4h"`
		// Mail is the server that takes mail about alarms, host:port, and From its sender.
		// MailUser and the file with its secret log in there.
		Mail           string `toml:"mail"`
		From           string `toml:"mail_from"`
		MailUser       string `toml:"mail_user"`
		MailSecretFile string `toml:"mail_secret_file"`
		// Private are the hosts to which webhooks may go although their addresses are of this
		// machine or of a private network.
		Private []string `toml:"private"`
	} `toml:"fleet"`

	Gateway struct {
		// Name is what the gateway is called in proposals: one for each environment.
		// Empty: there is no gateway.
		Name string `toml:"name"`
		// Listen is its address, apart from that of the pages: who connects there shows
		// a certificate.
		Listen string `toml:"listen" default:"127.0.0.1:8443"`
		// Certificate and Key are its own, in PEM. Without them it serves HTTP, to
		// proxies only.
		Certificate string `toml:"certificate"`
		Key         string `toml:"key"`
		// Proxies are the networks whose X-SSL-Client-… headers are believed.
		Proxies []string `toml:"proxies"`
		// Anchors are files with the trust anchor's certificate or public key, in PEM:
		// two, while one follows the other.
		Anchors []string `toml:"anchors"`
		// Operators are those who approve: NAME=FILE with the public key, in PEM.
		Operators []string `toml:"operators"`
		// Domains are those of the network, each with its other spellings behind =.
		Domains []string `toml:"domains" default:"DCC,DDCC,DICVP=ICVP|dICVP,IPS-PILGRIMAGE,PH4H"`
		// Properties are the names of those that an upload may have.
		Properties []string `toml:"properties"`
		// Rights are those at the revocation list of participants whose proposal names
		// none.
		Rights []string `toml:"rights" default:"RevocationListReader,RevocationUploader,RevocationDeleter"`
		// Strict are the checks of uploads that other gateways leave out: dates, keys,
		// usage, outlive.
		Strict []string `toml:"strict" default:"dates,keys,usage"`
		// ValueSets is a folder of value sets, ID.json each.
		ValueSets string `toml:"value_sets"`
		// Public is the folder that `ampoule trust publish` writes: its lists are served to
		// everybody, below /v2/.
		Public string `toml:"public"`
		// Rate is how many requests a second one participant may send, and Burst how
		// many at once. 0: no limit.
		Rate  int `toml:"rate" default:"20"`
		Burst int `toml:"burst" default:"200"`
	} `toml:"gateway"`

	Telemetry struct {
		// OTLP is the address of a collector that traces are sent to, by OTLP over HTTP:
		// http://127.0.0.1:4318. Empty: none are.
		OTLP string `toml:"otlp"`
	} `toml:"telemetry"`

	Log struct {
		// Level is debug, info, warn or error.
		Level string `toml:"level" default:"info"`
	} `toml:"log"`
}

// Setting is one value, and where it came from.
type Setting struct {
	Name   string
	Value  string
	Origin string // default, the name of the file, of the variable, or --set
}

// Errors of a configuration.
var (
	ErrUnknown = errors.New("there is no such setting")
	ErrValue   = errors.New("a value that cannot be used")
	ErrFile    = errors.New("the file cannot be read as TOML")
)

// prefix begins every variable of the environment that is a setting.
const prefix = "AMPOULE_"

// Source is where settings are looked for.
type Source struct {
	FileName string
	File     []byte   // TOML; nil: there is none
	Environ  []string // as os.Environ has it
	Set      []string // name=value of the command line
}

// Load reads the configuration, and says of each setting where it came from, in
// the order of their declaration.
func Load(s Source) (*Config, []Setting, error) {
	c := new(Config)
	fields := fieldsOf(reflect.ValueOf(c).Elem(), "")
	known := make(map[string]*field, len(fields))
	var names []string
	for _, f := range fields {
		known[f.name] = f
		names = append(names, f.name)
		if err := f.set(f.def, "default"); err != nil {
			return nil, nil, err
		}
	}
	find := func(name, where string) (*field, error) {
		if f := known[name]; f != nil {
			return f, nil
		}
		return nil, fmt.Errorf("%s: %s: %w; did you mean %s?", where, name, ErrUnknown, nearest(name, names))
	}

	if s.File != nil {
		var tree map[string]any
		if err := toml.Unmarshal(s.File, &tree); err != nil {
			return nil, nil, fmt.Errorf("%s: %w: %w", s.FileName, ErrFile, err)
		}
		for _, leaf := range leaves(tree, "") {
			f, err := find(leaf.name, s.FileName)
			if err == nil {
				err = f.setValue(leaf.value, s.FileName)
			}
			if err != nil {
				return nil, nil, err
			}
		}
	}
	for _, variable := range s.Environ {
		name, value, ok := strings.Cut(variable, "=")
		short, ours := strings.CutPrefix(name, prefix)
		if !ok || !ours || slices.Contains(reserved, name) {
			continue
		}
		f := known[fromVariable(short, names)]
		if f == nil {
			return nil, nil, fmt.Errorf("%s: %w; did you mean %s?", name, ErrUnknown, prefix+variableOf(nearest(strings.ToLower(short), names)))
		}
		if err := f.set(value, name); err != nil {
			return nil, nil, err
		}
	}
	for _, text := range s.Set {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, nil, fmt.Errorf("--set %s: it looks like listen=:8080: %w", text, ErrValue)
		}
		f, err := find(name, "--set")
		if err == nil {
			err = f.set(value, "--set")
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if err := c.check(); err != nil {
		return nil, nil, err
	}
	settings := make([]Setting, len(fields))
	for i, f := range fields {
		settings[i] = Setting{f.name, f.text(), f.origin}
	}
	return c, settings, nil
}

// reserved are variables that others of Ampoule's programs read.
var reserved = []string{"AMPOULE_VECTORS", "AMPOULE_PASSPHRASE", "AMPOULE_CONFIG"}

// check refuses what each setting alone cannot show.
func (c *Config) check() error {
	refuse := func(name, why string) error { return fmt.Errorf("%s: %s: %w", name, why, ErrValue) }
	switch {
	case (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		return refuse("tls", "certificate and key belong together")
	case (c.Verifier.Bundle == "") != (c.Verifier.Root == ""):
		return refuse("verifier", "bundle and root belong together")
	case c.Verifier.Bundle == "" && len(c.Verifier.Trust) == 0 && c.Store.Dir == "" && c.Ledger.Dir == "":
		return refuse("verifier", "neither a bundle nor trust: every issuer would be unknown")
	case c.Store.Dir == "" && (c.Store.Postgres != "" || c.Store.Master != "" || c.Store.Passphrase != ""):
		return refuse("store.dir", "a store needs a folder: keys of records are never in the database")
	case c.Ledger.Notary != "" && (c.Ledger.Actor == "" || len(c.Ledger.Key) == 0 || c.Ledger.Policy == ""):
		return refuse("ledger.notary", "actor, key and policy belong to it: another's word alone proves nothing")
	case c.Ledger.Notary != "" && c.Ledger.Dir != "":
		return refuse("ledger.notary", "a server with a node of its own needs no other's")
	case c.Ledger.Keep < 0:
		return refuse("ledger.keep", "a number of blocks; 0 keeps all")
	case c.HTTP.Rate < 0 || c.HTTP.Burst < 0 || c.HTTP.Rate > 0 && c.HTTP.Burst == 0:
		return refuse("http", "rate and burst are numbers of requests")
	case c.HTTP.Stop < 0 || c.HTTP.Stop > time.Hour:
		return refuse("http.stop", "from 0 to an hour")
	case c.Verifier.Refresh < time.Second:
		return refuse("verifier.refresh", "a second at least")
	case c.Verifier.HotKeys < 0 || c.Verifier.HotKeys > 4096:
		return refuse("verifier.hot_keys", "from 0 to 4096, of 260 KB each")
	case c.Verifier.Shrink < 0 || c.Verifier.Shrink > 100:
		return refuse("verifier.shrink", "from 0 to 100")
	case c.Access.SessionIdle < time.Minute || c.Access.SessionEnd < c.Access.SessionIdle || c.Access.SessionEnd > 31*24*time.Hour:
		return refuse("access", "session_idle is a minute at least, and session_end no less than that and 31 days at most")
	case (c.Access.OIDCIssuer == "") != (c.Access.OIDCClientID == ""):
		return refuse("access", "oidc_issuer and oidc_client_id belong together")
	case c.Access.OIDCIssuer != "" && c.Access.Origin == "":
		return refuse("access.origin", "OpenID Connect sends people back to it")
	case c.Publish.Key != "" && (c.Store.Dir == "" || c.Verifier.Bundle != ""):
		return refuse("publish.key", "a server with a store makes bundles, and one that goes by a bundle passes that on")
	case c.Publish.Days < 1 || c.Publish.Days > 366 || c.Publish.Every < time.Minute || c.Publish.Shrink < 0 || c.Publish.Shrink > 100:
		return refuse("publish", "days from 1 to 366, every a minute at least, shrink from 0 to 100")
	case c.Fingerprints.Every < time.Hour || c.Fingerprints.Every%time.Hour != 0 || 24*time.Hour%c.Fingerprints.Every != 0:
		return refuse("fingerprints.every", "whole hours that make up a day: 1h, 2h, 3h, 4h, 6h, 8h, 12h or 24h")
	case c.Fingerprints.Full < 64 || c.Fingerprints.Full > 16384:
		return refuse("fingerprints.full", "from 64 to 16384, the sizes of a batch")
	case c.Access.Origin != "" && c.Store.Dir == "":
		return refuse("access.origin", "people are kept in a store, and store.dir names none")
	case (c.Gateway.Certificate == "") != (c.Gateway.Key == ""):
		return refuse("gateway", "certificate and key belong together")
	case c.Gateway.Name != "" && (c.Store.Dir == "" || len(c.Gateway.Anchors) == 0):
		return refuse("gateway", "it needs a store and a trust anchor")
	case c.Gateway.Name != "" && c.Gateway.Certificate == "" && len(c.Gateway.Proxies) == 0:
		return refuse("gateway", "without a certificate of its own it stands behind a proxy, and gateway.proxies names none")
	case c.Gateway.Name != "" && c.Gateway.Certificate != "" && len(c.Gateway.Proxies) > 0:
		return refuse("gateway", "TLS ends here or at a proxy: certificate and proxies exclude each other")
	case c.Gateway.Rate < 0 || c.Gateway.Burst < 0 || c.Gateway.Rate > 0 && c.Gateway.Burst == 0:
		return refuse("gateway", "rate and burst are numbers of requests")
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level):
		return refuse("log.level", "debug, info, warn or error")
	}
	return nil
}

// field is one setting on its way into the configuration.
type field struct {
	name, def, origin string
	secret            bool // its value is not shown
	value             reflect.Value
}

func fieldsOf(v reflect.Value, above string) (fields []*field) {
	for i := range v.NumField() {
		t := v.Type().Field(i)
		name := above + t.Tag.Get("toml")
		if t.Type.Kind() == reflect.Struct {
			fields = append(fields, fieldsOf(v.Field(i), name+".")...)
			continue
		}
		fields = append(fields, &field{name: name, def: t.Tag.Get("default"), secret: t.Tag.Get("secret") != "", value: v.Field(i)})
	}
	return fields
}

// set reads a value from a text; a list is separated by commas.
func (f *field) set(text, origin string) error {
	switch f.value.Interface().(type) {
	case string:
		f.value.SetString(text)
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%s: %s: %q is no duration such as 90s: %w", origin, f.name, text, ErrValue)
		}
		f.value.SetInt(int64(d))
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%s: %s: %q is no whole number: %w", origin, f.name, text, ErrValue)
		}
		f.value.SetInt(int64(n))
	case []string:
		var list []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		f.value.Set(reflect.ValueOf(list))
	default:
		panic("config: " + f.name + ": a setting of an unknown kind")
	}
	f.origin = origin
	return nil
}

// setValue takes a value as TOML has it, where a list is a list.
func (f *field) setValue(v any, origin string) error {
	bad := func() error {
		return fmt.Errorf("%s: %s: a value of another kind than %s: %w", origin, f.name, f.value.Type(), ErrValue)
	}
	switch v := v.(type) {
	case []any:
		if f.value.Kind() != reflect.Slice {
			return bad()
		}
		list := make([]string, len(v))
		for i, item := range v {
			text, ok := item.(string)
			if !ok {
				return bad()
			}
			list[i] = text
		}
		f.value.Set(reflect.ValueOf(list))
		f.origin = origin
		return nil
	case string:
		if f.value.Kind() != reflect.String && f.value.Type() != reflect.TypeFor[time.Duration]() {
			return bad()
		}
		return f.set(v, origin)
	case int64:
		if f.value.Type() != reflect.TypeFor[int]() {
			return bad()
		}
		return f.set(strconv.FormatInt(v, 10), origin)
	}
	return bad()
}

func (f *field) text() string {
	if f.secret && !f.value.IsZero() {
		return "(secret)"
	}
	switch v := f.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		return v.String()
	}
	return fmt.Sprint(f.value.Interface())
}

// leaf is one value of a tree of TOML.
type leaf struct {
	name  string
	value any
}

func leaves(tree map[string]any, above string) (out []leaf) {
	for name, v := range tree {
		if below, ok := v.(map[string]any); ok {
			out = append(out, leaves(below, above+name+".")...)
			continue
		}
		out = append(out, leaf{above + name, v})
	}
	slices.SortFunc(out, func(a, b leaf) int { return strings.Compare(a.name, b.name) })
	return out
}

func variableOf(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
}

// fromVariable finds the setting of a variable's name without its prefix.
func fromVariable(short string, names []string) string {
	for _, name := range names {
		if variableOf(name) == short {
			return name
		}
	}
	return ""
}

// nearest is the name that takes the fewest changes of a letter, as a whole or
// in its last part.
func nearest(name string, names []string) string {
	far := func(known string) int {
		return min(2*format.Distance(name, known), 2*format.Distance(last(name), last(known))+1)
	}
	return slices.MinFunc(names, func(a, b string) int { return cmp.Compare(far(a), far(b)) })
}

func last(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
