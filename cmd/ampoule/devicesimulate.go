package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ampoule/coldchain"
	"ampoule/coldchain/simulation"
	"ampoule/device"
	"ampoule/format"
	"ampoule/internal/fetch"
	"ampoule/party/fleet"
)

type deviceSimulateCmd struct {
	apiFlags
	Devices  int           `default:"10" placeholder:"N" help:"How many stores, each with a logger: refrigerators for the most part, freezers and shippers (default: ${default})."`
	Days     float64       `default:"7" placeholder:"D" help:"How many days, which end now (default: ${default})."`
	Speed    float64       `placeholder:"X" help:"Seconds of the simulation in a second; 0: as fast as the server takes them."`
	Seed     uint64        `default:"1" placeholder:"S" help:"The same seed makes the same stores with the same faults."`
	Faults   string        `default:"all" placeholder:"LIST" help:"Faults that may happen, such as power-cut,stuck,clock-jump,drawn; all, or none."`
	Faulty   float64       `default:"0.2" placeholder:"SHARE" help:"Share of the stores that have one (default: ${default})."`
	Format   string        `enum:"cce,senml,segments" default:"cce" help:"How readings are sent: ${enum}."`
	Interval time.Duration `default:"15m" placeholder:"D" help:"Time between readings (default: ${default})."`
	Per      int           `default:"4" placeholder:"N" help:"Readings of a logger in a message (default: ${default})."`
	Door     string        `placeholder:"URL" help:"Of segments: address of the door, where each logger gets its certificate."`
	DoorCA   string        `name:"door-ca" placeholder:"F" help:"Of segments: certificate of the authority of the devices, in PEM."`
	Workers  int           `default:"4" placeholder:"N" help:"How many messages are on their way at a time."`
}

// simulated is one store with its logger.
type simulated struct {
	name    device.Name
	kind    string
	profile coldchain.Profile
	unit    *simulation.Unit
	faults  []simulation.Fault
	// Of one that signs:
	id   device.ID
	key  *ecdsa.PrivateKey
	head device.Head
	last int64
	// What it was outside of its profile, as it was.
	outside *truth
	extreme coldchain.Temperature
}

// truth is a line of what really was, for those who compare.
type truth struct {
	Truth  string  `json:"truth"` // store, fault, outside
	Device string  `json:"device"`
	Kind   string  `json:"kind,omitempty"`
	Fault  string  `json:"fault,omitempty"`
	From   int64   `json:"from,omitempty"`
	Until  int64   `json:"until,omitempty"` // 0: to the end
	Size   float64 `json:"size,omitempty"`
	// Extreme is the worst temperature, in thousandths of a degree.
	Extreme *int32 `json:"extreme,omitempty"`
}

var simulatedKinds = []struct {
	name    string
	kind    simulation.Kind
	profile coldchain.Profile
}{
	{"mains", simulation.Mains, coldchain.Refrigerated}, {"ice-lined", simulation.IceLined, coldchain.Refrigerated}, {"mains", simulation.Mains, coldchain.Refrigerated},
	{"ice-lined", simulation.IceLined, coldchain.Refrigerated}, {"freezer", simulation.Freezer, coldchain.Frozen}, {"shipper", simulation.Shipper, coldchain.Refrigerated},
}

// simulatedPEN is the enterprise number of examples (RFC 5612), below which names stand.
const simulatedPEN = "32473"

// perMessage is how many loggers share a message, as those of a supplier do.
const perMessage = 25

// Run makes the stores, tells their faults, and sends what their loggers say.
func (c *deviceSimulateCmd) Run(t terminal) error {
	kinds, err := c.faultKinds()
	if err != nil {
		return err
	}
	u, err := c.address()
	if err != nil {
		return err
	}
	token, err := c.token()
	if err != nil {
		return err
	}
	roots, err := c.roots()
	if err != nil {
		return err
	}
	interval := int64(c.Interval / time.Second)
	samples := int64(c.Days * 86400 / float64(max(interval, 1)))
	switch {
	case c.Devices < 1 || c.Devices > 100_000:
		return usageError("--devices %d: 1 to 100000", c.Devices)
	case interval < 1 || samples < 1 || samples > 10_000_000:
		return usageError("--days %g by --interval %s: no readings, or too many", c.Days, c.Interval)
	case c.Per < 1 || c.Per > 1000 || c.Workers < 1 || c.Workers > 64:
		return usageError("--per is 1 to 1000, --workers 1 to 64")
	case (c.Format == "segments") != (c.Door != ""):
		return usageError("--format segments needs --door, and nothing else does")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	start := time.Now().Unix()/interval*interval - samples*interval
	stores := make([]*simulated, c.Devices)
	for i := range stores {
		stores[i] = c.store(i, start, samples*interval, kinds)
	}
	client := clientOf(u, roots, nil, time.Minute)
	o := &outlet{c: c, client: client, server: u, token: token}
	if c.Format == "segments" {
		if err := o.enrol(ctx, stores); err != nil {
			return err
		}
	}
	for _, s := range stores {
		writeJSON(t.out, truth{Truth: "store", Device: s.name.String(), Kind: s.kind})
		for _, f := range s.faults {
			l := truth{Truth: "fault", Device: s.name.String(), Fault: f.Kind.String(), From: f.At, Size: f.Size}
			if f.Seconds > 0 {
				l.Until = f.At + f.Seconds
			}
			writeJSON(t.out, l)
		}
	}
	// Step by step, so that the server hears all stores of one time together.
	began := time.Now()
	var telling sync.Mutex
	for done := int64(0); done < samples && ctx.Err() == nil; done += int64(c.Per) {
		if c.Speed > 0 {
			due := began.Add(time.Duration(float64(done*interval) / c.Speed * float64(time.Second)))
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(due)):
			}
		}
		parts := make(chan []*simulated)
		var working sync.WaitGroup
		for range c.Workers {
			working.Go(func() {
				for part := range parts {
					lines := o.part(ctx, part, min(int64(c.Per), samples-done))
					telling.Lock()
					for _, l := range lines {
						writeJSON(t.out, l)
					}
					telling.Unlock()
				}
			})
		}
		for part := range slices.Chunk(stores, perMessage) {
			parts <- part
		}
		close(parts)
		working.Wait()
	}
	for _, s := range stores {
		if s.outside != nil {
			writeJSON(t.out, s.end(0))
		}
	}
	fmt.Fprintf(t.err, "ampoule: %d readings in %d messages in %s, %d tried again; %d stored, %d repeated, %d refused, %d messages lost\n",
		o.readings, o.messages, time.Since(began).Round(time.Millisecond), o.again, o.stored, o.repeated, o.refused, o.lost)
	switch {
	case o.refused > 0:
		return exitError{exitNotValid, fmt.Errorf("refused, for one: %s", format.Visible(o.why))}
	case o.lost > 0:
		return exitError{exitUndecided, fmt.Errorf("the server did not take all, for one: %s", format.Visible(o.why))}
	}
	return nil
}

func (c *deviceSimulateCmd) faultKinds() (kinds []simulation.FaultKind, err error) {
	all := simulation.FaultKinds()
	switch c.Faults {
	case "all":
		return all, nil
	case "none", "":
		return nil, nil
	}
	for _, name := range strings.Split(c.Faults, ",") {
		i := slices.IndexFunc(all, func(k simulation.FaultKind) bool { return k.String() == strings.TrimSpace(name) })
		if i < 0 {
			return nil, usageError("--faults: %q is none; there are %v", name, all)
		}
		kinds = append(kinds, all[i])
	}
	return kinds, nil
}

// store makes one store: what it is and what happens to it follows from seed and number.
func (c *deviceSimulateCmd) store(n int, start, length int64, kinds []simulation.FaultKind) *simulated {
	r := mathrand.New(mathrand.NewPCG(c.Seed, uint64(n)))
	k := simulatedKinds[r.IntN(len(simulatedKinds))]
	config := simulation.Config{Kind: k.kind, Start: start, Interval: int64(c.Interval / time.Second), Ambient: 20 + 12*r.Float64()}
	s := &simulated{kind: k.name, profile: k.profile}
	// It is of the form of a name that all formats can say.
	s.name, _ = device.NewName(device.Serial, fmt.Sprintf("PEN%s/S%d-%d", simulatedPEN, c.Seed, n+1))
	if len(kinds) > 0 && r.Float64() < c.Faulty {
		f := simulation.Fault{Kind: kinds[r.IntN(len(kinds))], At: start + length/10 + r.Int64N(max(length*7/10, 1))}
		switch f.Kind {
		case simulation.PowerCut, simulation.Freezing, simulation.Gap, simulation.CompressorFails:
			f.Seconds = 3600 * (2 + r.Int64N(30))
		case simulation.DoorOpen:
			f.Seconds = 1800 + r.Int64N(3*3600)
		}
		s.faults = []simulation.Fault{f}
		config.Faults = s.faults
	}
	s.unit = simulation.New(r.Uint64(), config)
	return s
}

// take is the next samples of a store that arrive, and what was true of them.
func (s *simulated) take(n int64) (all []simulation.Sample, lines []truth) {
	for range n {
		v := s.unit.Next()
		switch worse := v.True < s.extreme == (v.True < s.profile.Low); {
		case s.profile.Holds(v.True):
			if s.outside != nil {
				lines = append(lines, s.end(v.Real))
			}
		case s.outside == nil:
			s.outside, s.extreme = &truth{Truth: "outside", Device: s.name.String(), From: v.Real}, v.True
		case worse:
			s.extreme = v.True
		}
		if !v.Missing {
			all = append(all, v)
		}
	}
	return all, lines
}

func (s *simulated) end(until int64) truth {
	l, extreme := *s.outside, int32(s.extreme)
	l.Until, l.Extreme, s.outside = until, &extreme, nil
	return l
}

// outlet sends what loggers say.
type outlet struct {
	c      *deviceSimulateCmd
	client *fetch.Client
	server *url.URL
	token  string

	mu                                                         sync.Mutex // guards what follows
	messages, readings, again, stored, repeated, refused, lost int
	why                                                        string
}

// part sends the next readings of some stores in one message.
func (o *outlet) part(ctx context.Context, part []*simulated, n int64) (lines []truth) {
	var body []byte
	var reports []any
	var pack []map[string]any
	readings := 0
	for _, s := range part {
		all, said := s.take(n)
		lines = append(lines, said...)
		if len(all) == 0 {
			continue
		}
		readings += len(all)
		switch o.c.Format {
		case "cce":
			reports = append(reports, s.report(all))
		case "senml":
			pack = append(pack, s.pack(all)...)
		default:
			data, err := s.sign(all, int64(o.c.Interval/time.Second))
			if err != nil {
				o.note(func() { o.lost, o.why = o.lost+1, err.Error() })
				continue
			}
			body = append(body, data...)
		}
	}
	path, media := "/devices/segments", fleet.MediaSegments
	var err error
	switch {
	case len(reports) > 0:
		path, media = "/devices/cce", "application/json"
		body, err = json.Marshal(map[string]any{
			"meta": map[string]any{"schemaVersion": "0.8.1", "transferType": "ems", "transferId": "simulated-" + rand.Text(), "transferSrc": "org.specimen", "transferredAt": time.Now().UTC().Format(time.RFC3339)},
			"data": reports,
		})
	case len(pack) > 0:
		path, media = "/devices/senml", "application/senml+json"
		body, err = json.Marshal(pack)
	case len(body) == 0:
		return lines // nothing was measured
	}
	if err == nil {
		err = o.send(ctx, path, media, body, readings)
	}
	if err != nil {
		o.note(func() { o.lost, o.why = o.lost+1, err.Error() })
	}
	return lines
}

func (o *outlet) note(how func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	how()
}

// tries is how often a message is sent before it is lost.
const tries = 8

func (o *outlet) send(ctx context.Context, path, media string, body []byte, readings int) error {
	wait := 200 * time.Millisecond
	var last error
	for n := range tries {
		if n > 0 {
			o.note(func() { o.again++ })
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
			wait *= 2
		}
		res, err := o.client.Do(ctx, http.MethodPost, o.server.String()+path, http.Header{"Authorization": {"Bearer " + o.token}, "Content-Type": {media}}, body)
		switch {
		case err != nil:
			last = err
			continue
		case res.Status == http.StatusTooManyRequests || res.Status >= 500:
			last = answerError(res)
			continue
		case res.Status != http.StatusOK:
			return apiProblem(res)
		}
		var r doorReceipt
		if err := json.Unmarshal(res.Body, &r); err != nil {
			return err
		}
		o.note(func() {
			o.messages++
			o.readings, o.stored, o.repeated, o.refused = o.readings+readings, o.stored+r.Stored, o.repeated+r.Repeated, o.refused+len(r.Refused)
			if len(r.Refused) > 0 {
				o.why = r.Refused[0].Path + " " + r.Refused[0].Reason
			}
		})
		return nil
	}
	return last
}

func degrees(v coldchain.Temperature) float64 { return float64(v) / 1000 }

// report is a report of DS01 (EMS).
func (s *simulated) report(all []simulation.Sample) map[string]any {
	_, serial, _ := strings.Cut(s.name.Value, "/")
	records := []map[string]any{}
	for _, v := range all {
		r := map[string]any{
			"ABST": time.Unix(v.At, 0).UTC().Format("20060102T150405Z"), "ALRM": nil, "BEMD": 14, "BLOG": 14, "EERR": nil, "LERR": nil,
			"TAMB": degrees(v.Ambient), "TVC": nil, "CMPR": nil, "DORV": nil, "SVA": nil,
		}
		if v.Has&coldchain.HasTemperature != 0 {
			r["TVC"] = degrees(v.T)
		}
		if v.Has&coldchain.HasDoor != 0 {
			r["CMPR"], r["DORV"], r["SVA"] = v.Compressor, v.Door, v.Supply
		}
		records = append(records, r)
	}
	return map[string]any{
		"LSV": "1.0", "EMSV": "1.0", "LAT": -1.95, "LNG": 30.06, "CID": "RWA", "ADOP": "2024-01-01", "AMFR": "SPECIMEN Fridges", "AMOD": s.kind, "APQS": "E003/001", "ASER": "A-" + serial,
		"LDOP": "2024-01-01", "LMFR": "PEN" + simulatedPEN, "LMOD": "Simulated", "LPQS": "E006/001", "LSER": serial, "EDOP": "2024-01-01", "EMFR": "SPECIMEN Radio", "EMOD": "R1", "EPQS": "E006/002", "ESER": "R-" + serial,
		"LID": serial, "EID": serial, "records": records,
	}
}

// pack is a pack of SenML.
func (s *simulated) pack(all []simulation.Sample) (pack []map[string]any) {
	_, serial, _ := strings.Cut(s.name.Value, "/")
	base := map[string]any{"bn": "urn:dev:os:" + simulatedPEN + "-" + serial + "_"}
	add := func(r map[string]any) {
		for k, v := range base {
			r[k] = v
		}
		base = nil
		pack = append(pack, r)
	}
	for _, v := range all {
		if v.Has&coldchain.HasTemperature != 0 {
			add(map[string]any{"n": "TVC", "u": "Cel", "t": v.At, "v": degrees(v.T)})
		}
		add(map[string]any{"n": "TAMB", "u": "Cel", "t": v.At, "v": degrees(v.Ambient)})
		if v.Has&coldchain.HasDoor != 0 {
			add(map[string]any{"n": "DORV", "u": "s", "t": v.At, "v": v.Door})
			add(map[string]any{"n": "CMPR", "u": "s", "t": v.At, "v": v.Compressor})
		}
	}
	return pack
}

// sign is a segment of temperatures. A logger whose clock goes back says nothing until it
// has caught up: its chain has no way to say it.
func (s *simulated) sign(all []simulation.Sample, interval int64) ([]byte, error) {
	x := &device.Segment{Device: s.id, Stream: 1, Quantity: device.Temperature, Seq: s.head.Seq + 1, Prev: s.head.Hash, Interval: interval, Clock: device.ClockSet}
	for _, v := range all {
		if v.Has&coldchain.HasTemperature != 0 && v.At > s.last {
			s.last = v.At
			x.Readings = append(x.Readings, device.Reading{At: v.At, Value: int32(v.T)})
		}
	}
	if len(x.Readings) == 0 {
		return nil, nil
	}
	data, err := x.Sign(rand.Reader, s.key)
	if err != nil {
		return nil, err
	}
	s.head = x.Head()
	return data, nil
}

// enrol puts the loggers into the registry, and gets each a certificate by its claim code.
func (o *outlet) enrol(ctx context.Context, stores []*simulated) error {
	door, err := (&serverFlags{Server: o.c.Door}).address()
	if err != nil {
		return err
	}
	roots, err := (&serverFlags{CA: o.c.DoorCA}).roots()
	if err != nil {
		return err
	}
	var table bytes.Buffer
	table.WriteString("maker,model,serial\n")
	for _, s := range stores {
		maker, serial, _ := strings.Cut(s.name.Value, "/")
		fmt.Fprintf(&table, "%s,Simulated,%s\n", maker, serial)
	}
	var r struct {
		Rows []struct{ ID, Label, Reason string }
	}
	if err := o.c.ask("/v1/devices/roster", url.Values{}, "text/csv", table.Bytes(), &r); err != nil {
		return err
	}
	if len(r.Rows) != len(stores) {
		return exitError{exitUndecided, errors.New("the server took another number of devices")}
	}
	client := clientOf(door, roots, nil, time.Minute)
	for i, s := range stores {
		if r.Rows[i].Label == "" {
			return exitError{exitNotValid, fmt.Errorf("%s: %s; with another --seed the loggers are others", s.name, format.Visible(r.Rows[i].Reason))}
		}
		claim, err := device.ParseClaim(r.Rows[i].Label)
		if err != nil {
			return err
		}
		if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
		header := http.Header{"Content-Type": {"application/pkcs10"}, "Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("device:"+claim.String()))}}
		chain, err := certificateOf(ctx, client, door, "simpleenroll", s.key, header, &x509.CertificateRequest{})
		if err != nil {
			return err
		}
		if s.id, err = device.CertificateID(chain[0]); err != nil {
			return err
		}
	}
	return nil
}
