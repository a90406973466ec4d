// Fleet measures what comes in from devices, on the store as it is served, against what
// cannot be done without:
//
//	go run ./bench/fleet            all
//	go run ./bench/fleet -only rest one of signed, ds01, rest, backfill
//
// The ratios are those of docs/benchmarks.md.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite"

	"ampoule/coldchain"
	"ampoule/coldchain/simulation"
	"ampoule/device"
	"ampoule/internal/store"
	"ampoule/party/fleet"
)

func main() {
	only := flag.String("only", "", "signed, ds01, rest, backfill; empty: all")
	profile := flag.String("profile", "", "write a CPU profile to this file")
	flag.Parse()
	if *profile != "" {
		out, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(out)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "fleet:", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	for _, part := range []struct {
		name string
		run  func() error
	}{{"signed", signed}, {"ds01", ds01}, {"rest", rest}, {"backfill", backfill}} {
		if *only != "" && *only != part.name {
			continue
		}
		if err := part.run(); err != nil {
			fmt.Fprintf(os.Stderr, "fleet: %s: %v\n", part.name, err)
			pprof.StopCPUProfile()
			os.Exit(1)
		}
	}
}

// begin is the time of the first reading.
const begin = 1767225600

// yard is a fleet on a store of its own.
type yard struct {
	*fleet.Fleet
	dir  string
	book *store.Fleet
	by   fleet.Actor
}

func newYard() (*yard, error) {
	dir, err := os.MkdirTemp("", "bench-fleet-*")
	if err != nil {
		return nil, err
	}
	book, err := store.OpenFleet(context.Background(), store.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &yard{
		Fleet: &fleet.Fleet{Book: book, Signer: key, Now: time.Now, Log: slog.New(slog.DiscardHandler)},
		dir:   dir, book: book, by: fleet.Actor{ID: "bench", Within: fleet.Place{Organisation: "bench"}},
	}, nil
}

func (y *yard) close() error { return errors.Join(y.book.Close(), os.RemoveAll(y.dir)) }

// logger registers a device in a fridge of its own; with a key it may sign.
func (y *yard) logger(n int, key *ecdsa.PrivateKey) (*fleet.Device, error) {
	ctx := context.Background()
	terms, _ := coldchain.TermsOf("refrigerated")
	e := &fleet.Equipment{Place: y.by.Within, Name: fmt.Sprint("fridge ", n), Kind: fleet.Fridge}
	if err := y.PutEquipment(ctx, y.by, e, terms); err != nil {
		return nil, err
	}
	name, err := device.NewName(device.Serial, fmt.Sprintf("Specimen/L-%d", n))
	if err != nil {
		return nil, err
	}
	d := &fleet.Device{Place: y.by.Within, Names: []device.Name{name}, Supplier: "bench", Stays: []fleet.Stay{{Equipment: e.ID, From: 1}}}
	if key != nil {
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, err
		}
		kid, err := device.KeyID(key.Public())
		if err != nil {
			return nil, err
		}
		d.Keys = []fleet.Key{{KID: kid, Public: public, From: time.Unix(1, 0)}}
	}
	return d, y.Register(ctx, y.by, d)
}

var source = fleet.Source{Supplier: "bench", Level: device.LevelToken, Via: "bench"}

// used is the CPU time of this process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// temperatures are readings of a simulated refrigerator, a minute apart.
func temperatures(seed uint64, interval int64, n int) []device.Reading {
	u := simulation.New(seed, simulation.Config{Kind: simulation.Mains, Start: begin, Interval: interval})
	out := make([]device.Reading, n)
	for i := range out {
		s := u.Next()
		out[i] = device.Reading{At: begin + int64(i)*interval, Value: int32(s.T)}
	}
	return out
}

// chain signs readings in segments of so many.
func chain(d *fleet.Device, key *ecdsa.PrivateKey, readings []device.Reading, each int) (out [][]byte, err error) {
	var head device.Head
	for part := range slices.Chunk(readings, each) {
		s := &device.Segment{Device: d.ID, Stream: 1, Quantity: device.Temperature, Seq: head.Seq + 1, Prev: head.Hash, Interval: part[min(1, len(part)-1)].At - part[0].At, Clock: device.ClockSet, Readings: part}
		data, err := s.Sign(rand.Reader, key)
		if err != nil {
			return nil, err
		}
		head = s.Head()
		out = append(out, data)
	}
	return out, nil
}

// signed compares segments of 60 readings, read, checked, linked and kept on the disk,
// with the bare check of as many signatures and decoding of as many readings.
func signed() error {
	const devices, each, rounds = 64, 100, 5
	y, err := newYard()
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	all := make([][][]byte, devices)
	for n := range all {
		d, err := y.logger(n, key)
		if err != nil {
			return err
		}
		if all[n], err = chain(d, key, temperatures(uint64(n), 60, 60*each*rounds), 60); err != nil {
			return err
		}
	}
	// A signature of the key's over something, and a minute's varints: what bare means.
	digest := sha256.Sum256([]byte("bench"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return err
	}
	var values []byte
	for i := range 60 {
		values = binary.AppendVarint(values, int64(i%7*100))
	}
	var ratios, ours, bares []float64
	for round := range rounds {
		begun := used()
		for n := range all {
			for _, data := range all[n][round*each : (round+1)*each] {
				out, left, value := make([]device.Reading, 0, 60), values, int64(0)
				for i := range 60 {
					d, k := binary.Varint(left)
					left, value = left[k:], value+d
					out = append(out, device.Reading{At: begin + 60*int64(i), Value: int32(value)})
				}
				_ = sha256.Sum256(data)
				if len(out) != 60 || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
					return errors.New("bare")
				}
			}
		}
		bare := used() - begun
		begun = used()
		errs := make([]error, devices)
		var group sync.WaitGroup
		for n := range all {
			group.Go(func() {
				for _, data := range all[n][round*each : (round+1)*each] {
					d, err := fleet.FromSegments(source, data)
					if err == nil {
						var r fleet.Receipt
						if r, err = y.Ingest(context.Background(), d); err == nil && r.Stored != 60 {
							err = fmt.Errorf("%+v", r)
						}
					}
					errs[n] = errors.Join(errs[n], err)
				}
			})
		}
		group.Wait()
		whole := used() - begun
		if err := errors.Join(errs...); err != nil {
			return err
		}
		per := func(d time.Duration) float64 { return float64(d.Microseconds()) / (devices * each) }
		ratios, ours, bares = append(ratios, float64(bare)/float64(whole)), append(ours, per(whole)), append(bares, per(bare))
	}
	fmt.Printf("signed batches of 60 readings, CPU: bare check and decoding %.0f µs, with chain, on the disk %.0f µs: %.2f of the bare rate (%.2f to %.2f), goal 0.75\n",
		median(bares), median(ours), median(ratios), slices.Min(ratios), slices.Max(ratios))
	return y.close()
}

// ds01 compares a day of DS01, read and kept, with the library's reading of its JSON.
func ds01() error {
	const devices, rounds, days = 32, 5, 6
	y, err := newYard()
	if err != nil {
		return err
	}
	bodies := make([][][]byte, devices)
	for n := range bodies {
		if _, err := y.logger(n, nil); err != nil {
			return err
		}
		readings := temperatures(uint64(n), 900, 96*days*rounds)
		for part := range slices.Chunk(readings, 96) {
			bodies[n] = append(bodies[n], transmission(n, part))
		}
	}
	var ratios, ours, bares []float64
	for round := range rounds {
		begun := used()
		for n := range bodies {
			for _, body := range bodies[n][round*days : (round+1)*days] {
				var v any
				if err := json.Unmarshal(body, &v); err != nil {
					return err
				}
			}
		}
		bare := used() - begun
		begun = used()
		errs := make([]error, devices)
		var group sync.WaitGroup
		for n := range bodies {
			group.Go(func() {
				for _, body := range bodies[n][round*days : (round+1)*days] {
					d, _, err := fleet.FromCCE(source, body)
					if err == nil {
						_, err = y.Ingest(context.Background(), d)
					}
					errs[n] = errors.Join(errs[n], err)
				}
			})
		}
		group.Wait()
		whole := used() - begun
		if err := errors.Join(errs...); err != nil {
			return err
		}
		per := func(d time.Duration) float64 { return float64(d.Microseconds()) / (devices * days) }
		ratios, ours, bares = append(ratios, float64(whole)/float64(bare)), append(ours, per(whole)), append(bares, per(bare))
	}
	fmt.Printf("a day of DS01, %d bytes, 96 records, CPU: encoding/json alone %.0f µs, read by its rules and on the disk %.0f µs: %.2f times (%.2f to %.2f)\n",
		len(bodies[0][0]), median(bares), median(ours), median(ratios), slices.Min(ratios), slices.Max(ratios))
	return y.close()
}

// transmission is one of DS01 (EMS).
func transmission(n int, readings []device.Reading) []byte {
	records := make([]map[string]any, len(readings))
	for i, r := range readings {
		records[len(records)-1-i] = map[string]any{
			"ABST": time.Unix(r.At, 0).UTC().Format("20060102T150405Z"), "ALRM": nil, "EERR": nil, "LERR": nil, "BEMD": 13.5, "BLOG": 12, "CMPR": 300, "DORV": 5,
			"HOLD": 3.25, "SVA": 900, "TAMB": 24.5, "TCON": 40, "TVC": float64(r.Value) / 1000,
		}
	}
	body, err := json.Marshal(map[string]any{
		"meta": map[string]any{"schemaVersion": "0.8.1", "transferType": "ems", "transferId": fmt.Sprintf("%d-%d", n, readings[0].At), "transferSrc": "org.specimen", "transferredAt": time.Unix(readings[0].At, 0).UTC()},
		"data": []map[string]any{{
			"LSV": "1.0", "EMSV": "1.1", "CID": "DEU", "ADOP": "2024-01-01", "AMFR": "Specimen", "AMOD": "F1", "APQS": "E003/001", "ASER": fmt.Sprint("A-", n), "LDOP": "2024-01-01", "LMFR": "Specimen", "LMOD": "L1", "LPQS": "E006/001",
			"LSER": fmt.Sprint("L-", n), "EDOP": "2024-01-01", "EMFR": "Specimen", "EMOD": "R1", "EPQS": "E006/002", "ESER": fmt.Sprint("R-", n), "LID": fmt.Sprint("LID-", n), "EID": fmt.Sprint("desk ", n), "records": records,
		}},
	})
	if err != nil {
		panic(err) // of text and numbers
	}
	return body
}

// settle evaluates and seals all that there is.
func (y *yard) settle(seal bool) error {
	for more := true; more; {
		var err error
		if more, err = y.Evaluate(context.Background()); err != nil {
			return err
		}
	}
	for more := seal; more; {
		var err error
		if more, err = y.Seal(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

// size is that of the database, with all of its log in it.
func (y *yard) size(vacuum bool) (int64, error) {
	db, err := sql.Open("sqlite", filepath.Join(y.dir, "readings.db"))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if vacuum {
		if _, err := db.Exec(`VACUUM`); err != nil {
			return 0, err
		}
	}
	if _, err := db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return 0, err
	}
	info, err := os.Stat(filepath.Join(y.dir, "readings.db"))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// rest tells the bytes of an unsigned reading on the disk.
func rest() error {
	const devices = 40
	for _, interval := range []int64{60, 900} {
		y, err := newYard()
		if err != nil {
			return err
		}
		names := make([]device.Name, devices)
		all := make([][]device.Reading, devices)
		n := int(10 * 86400 / interval)
		if interval == 900 {
			n *= 9 // three months
		}
		for i := range all {
			d, err := y.logger(i, nil)
			if err != nil {
				return err
			}
			names[i], all[i] = d.Names[0], temperatures(uint64(i), interval, n)
		}
		empty, err := y.size(true)
		if err != nil {
			return err
		}
		// Ten readings a message, of all devices by turns, and sealed as the server does.
		for at := 0; at < n; at += 10 {
			d := &fleet.Delivery{Source: source}
			for i := range all {
				d.Series = append(d.Series, fleet.Series{Device: names[i], Sensor: "TVC", Quantity: device.Temperature, Interval: interval, Readings: all[i][at : at+10]})
			}
			if _, err := y.Ingest(context.Background(), d); err != nil {
				return err
			}
			if at%240 == 230 {
				if err := y.settle(true); err != nil {
					return err
				}
			}
		}
		if err := y.settle(true); err != nil {
			return err
		}
		as, err := y.size(false)
		if err != nil {
			return err
		}
		tight, err := y.size(true)
		if err != nil {
			return err
		}
		count := float64(devices * n)
		fmt.Printf("at rest, %d streams of %d readings, one in %d s, sealed: %.2f bytes a reading, %.2f after VACUUM; goal 4\n", devices, n, interval, float64(as-empty)/count, float64(tight-empty)/count)
		if err := y.close(); err != nil {
			return err
		}
	}
	return nil
}

// backfill brings what one device kept for half a year.
func backfill() error {
	const n = 250_000
	readings := temperatures(7, 60, n)
	// A fault in each month: a day of heat, and hours of frost.
	for i := range readings {
		switch k := i % 43200; {
		case k >= 10000 && k < 11440:
			readings[i].Value = 9500
		case k >= 30000 && k < 30240:
			readings[i].Value = -1500
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	for _, way := range []struct {
		name      string
		each      int
		signed    bool
		backwards bool
	}{{"signed segments of an hour, 100 a message", 60, true, false}, {"a day a message", 1440, false, false}, {"a day a message, the newest first", 1440, false, true}, {"an hour a message, the newest first", 60, false, true}} {
		for _, live := range []bool{false, true} {
			y, err := newYard()
			if err != nil {
				return err
			}
			d, err := y.logger(0, key)
			if err != nil {
				return err
			}
			var messages []*fleet.Delivery
			if way.signed {
				segments, err := chain(d, key, readings, way.each)
				if err != nil {
					return err
				}
				for part := range slices.Chunk(segments, 100) {
					messages = append(messages, &fleet.Delivery{Source: source, Segments: part})
				}
			} else {
				for part := range slices.Chunk(readings, way.each) {
					messages = append(messages, &fleet.Delivery{Source: source, Series: []fleet.Series{{Device: d.Names[0], Sensor: "TVC", Quantity: device.Temperature, Interval: 60, Readings: part}}})
				}
			}
			if way.backwards {
				slices.Reverse(messages)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var working sync.WaitGroup
			if live {
				working.Go(func() { y.Work(ctx) })
			}
			begun, cpu := time.Now(), used()
			for _, m := range messages {
				if _, err := y.Ingest(ctx, m); err != nil {
					cancel()
					return err
				}
			}
			took := time.Since(begun)
			if err := y.settle(false); err != nil {
				cancel()
				return err
			}
			whole, spent := time.Since(begun), used()-cpu
			alarms, err := y.Alarms(ctx, y.by, "", "", 1000)
			if err != nil {
				cancel()
				return err
			}
			cancel()
			working.Wait()
			how := "evaluated at the end"
			if live {
				how = "evaluated meanwhile"
			}
			fmt.Printf("backfill of %d readings, %s, %s: %.2f s (%.2f s on the disk), %.2f s of CPU, %d alarms; goal 2 s\n", n, way.name, how, whole.Seconds(), took.Seconds(), spent.Seconds(), len(alarms))
			if err := y.close(); err != nil {
				return err
			}
		}
	}
	return nil
}
