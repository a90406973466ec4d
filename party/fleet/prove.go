package fleet

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"math"
	"slices"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/ledger/tlog"
)

// Proof is what stands behind the temperatures of one sensor in a time, by one signer.
type Proof struct {
	Device      device.ID
	Sensor      string
	Signer      []byte // kid of the segments; nil: nothing is signed yet
	From, Until int64  // of the segments, by the device's clock
	// Root is that of the tree of the segments' hashes, in their order, as of a [Window].
	Root     tlog.Hash
	Segments int
	Readings int
	Unsigned int // readings in no segment yet
	// Findings are what is wrong with the evidence of the device as a whole.
	Findings []device.Finding
}

// Prover verifies evidence of devices, each once.
type Prover struct {
	fleet        *Fleet
	certificates [][]byte
	roots        *x509.CertPool
	known        map[device.ID]*proven
}

// proven is the evidence of a device, verified.
type proven struct {
	device   *Device
	streams  []Stream
	segments []device.Segment // of temperatures, in the order of the file
	findings []device.Finding
}

// Prover begins to prove what was measured. certificates are those of the service's key and
// of who stands for it, as in evidence; the roots are those of the devices' certificates.
func (f *Fleet) Prover(certificates [][]byte, roots *x509.CertPool) *Prover {
	return &Prover{f, certificates, roots, map[device.ID]*proven{}}
}

// Inside proves what [Fleet.Inside] tells.
func (p *Prover) Inside(ctx context.Context, id ID, from, until int64) (all []Proof, err error) {
	devices, err := p.fleet.Book.DevicesIn(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := range devices {
		found, err := p.of(ctx, &devices[i], from, until, func(d *Device, s *Stream, at int64) bool { return d.In(s.Sensor, at) == id })
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Along proves what [Fleet.Along] tells.
func (p *Prover) Along(ctx context.Context, name device.Name, from, until int64) ([]Proof, error) {
	d, err := p.fleet.Book.DeviceNamed(ctx, name)
	if errors.Is(err, ErrNoDevice) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return p.of(ctx, d, from, until, func(_ *Device, s *Stream, _ int64) bool { return s.Sensor != freezerSensor })
}

// verify makes the evidence of a device, whole, and checks it as anybody would.
func (p *Prover) verify(ctx context.Context, d *Device) (*proven, error) {
	if known := p.known[d.ID]; known != nil {
		return known, nil
	}
	var file bytes.Buffer
	if err := p.fleet.Evidence(ctx, Actor{Within: d.Place}, d.ID, math.MinInt64, math.MaxInt64, p.certificates, nil, &file); err != nil {
		return nil, err
	}
	report, err := device.VerifyEvidence(bytes.NewReader(file.Bytes()), p.roots, p.fleet.Now())
	if err != nil {
		return nil, err
	}
	k := &proven{device: d, findings: report.Findings}
	if k.streams, err = p.fleet.Book.StreamsOf(ctx, d.ID); err != nil {
		return nil, err
	}
	err = device.ScanEvidence(&file, func(item device.Item) error {
		if item.Kind != "segment" {
			return nil
		}
		s, err := device.ParseSegment(item.Content)
		if err != nil {
			return nil // told among the findings
		}
		if s.Quantity == device.Temperature {
			s.KeyID = slices.Clone(s.KeyID)
			k.segments = append(k.segments, *s)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.known[d.ID] = k
	return k, nil
}

// of proves the readings of a device that count, in a time by the right clock.
func (p *Prover) of(ctx context.Context, d *Device, from, until int64, counts func(*Device, *Stream, int64) bool) ([]Proof, error) {
	k, err := p.verify(ctx, d)
	if err != nil {
		return nil, err
	}
	var all []Proof
	for i := range k.streams {
		s := &k.streams[i]
		if s.Quantity != device.Temperature {
			continue
		}
		gap := int64(coldchain.Gap)
		if s.Interval > 0 {
			gap = max(gap, coldchain.GapOf(s.Interval))
		}
		used := func(readings []device.Reading) (n int) {
			for _, r := range readings {
				if at := d.Corrected(r.At); at >= from-gap && at <= until+gap && counts(d, s, r.At) {
					n++
				}
			}
			return n
		}
		var found []Proof
		var hashes [][]tlog.Hash
		for j := range k.segments {
			g := &k.segments[j]
			if g.Stream != s.number() && g.Stream != s.own() {
				continue
			}
			n := used(g.Readings)
			if n == 0 {
				continue
			}
			at := slices.IndexFunc(found, func(x Proof) bool { return bytes.Equal(x.Signer, g.KeyID) })
			if at < 0 {
				at = len(found)
				found = append(found, Proof{Device: d.ID, Sensor: s.Sensor, Signer: g.KeyID, From: g.Start, Findings: k.findings})
				hashes = append(hashes, nil)
			}
			x := &found[at]
			x.Until, x.Segments, x.Readings = max(x.Until, g.End()), x.Segments+1, x.Readings+n
			hashes[at] = append(hashes[at], tlog.LeafHash(g.Hash[:]))
		}
		for at := range found {
			found[at].Root = tlog.NewTree(hashes[at]).Root()
		}
		open, err := p.fleet.Book.Blocks(ctx, s.N, from-gap-slack(d), until+gap+slack(d))
		if err != nil {
			return nil, err
		}
		unsigned := 0
		for j := range open {
			if open[j].Origin == Open {
				readings, err := open[j].Readings(nil)
				if err != nil {
					return nil, err
				}
				unsigned += used(readings)
			}
		}
		if unsigned > 0 && len(found) == 0 {
			found = append(found, Proof{Device: d.ID, Sensor: s.Sensor, Findings: k.findings})
		}
		if len(found) > 0 {
			found[len(found)-1].Unsigned = unsigned
		}
		all = append(all, found...)
	}
	return all, nil
}
