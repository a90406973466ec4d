// Status measures what revocation costs an offline verifier: the bytes of each
// form for some number of certificates, and how fast a snapshot is loaded and
// asked.
//
//	go run ./bench/status            sizes up to 10^8 certificates, and the look-ups
//	go run ./bench/status -large     up to 10^9: some minutes more
//	go run ./bench/status -lookups   the look-ups alone
//	go run ./bench/status -write F   a snapshot of 10^5 hashes, for a bundle
//
// Hashes and indices are drawn from a seed, so that sizes are the same each time.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"ampoule/format/dccfilter"
	"ampoule/format/dccrevocation"
	"ampoule/format/statuslist"
	"ampoule/trust"

	"github.com/FastFilter/xorfilter"
)

func main() {
	large := flag.Bool("large", false, "up to 10^9 certificates")
	only := flag.Bool("lookups", false, "no sizes")
	write := flag.String("write", "", "write a snapshot of 10^5 hashes to this file and nothing else")
	flag.Parse()
	var err error
	if *write != "" {
		var data []byte
		if data, err = snapshot(draw(1e5, 1)); err == nil {
			err = os.WriteFile(*write, data, 0o644)
		}
	} else {
		err = run(*large, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "status:", err)
		os.Exit(1)
	}
}

func run(large, only bool) error {
	if !only {
		if err := allSizes(large); err != nil {
			return err
		}
	}
	fmt.Println("| hashes | snapshot | load | memory | of it filter | not listed | listed | map of the same | search alone | filter alone | SHA-256 of 32 bytes |\n|---|---|---|---|---|---|---|---|---|---|---|")
	for _, n := range []int{1e3, 1e5, 1e6} {
		if err := lookups(n); err != nil {
			return err
		}
	}
	fmt.Println("\n| hashes | filter: bytes if it were carried | share of the file | made | read and checked |\n|---|---|---|---|---|")
	for _, n := range []int{1e5, 1e6} {
		carried(n)
	}
	return nil
}

func allSizes(large bool) error {
	fmt.Println("| issued | revoked | list of 1 bit | of 2 bits | snapshot | EU batches | Bloom 1e-6 / 1e-12 | prefixes 1e-6 | fuse16 / fuse32 |\n|---|---|---|---|---|---|---|---|---|")
	rows := []struct{ issued, revoked int }{{1e6, 1e3}, {1e7, 1e4}, {1e8, 1e4}, {1e8, 1e5}, {1e8, 1e6}}
	if large {
		rows = append(rows, struct{ issued, revoked int }{1e9, 1e6})
	}
	for _, r := range rows {
		if err := sizes(r.issued, r.revoked); err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

func draw(n int, seed byte) []dccrevocation.Hash128 {
	random := rand.NewChaCha8([32]byte{seed})
	out := make([]dccrevocation.Hash128, n)
	for i := range out {
		random.Read(out[i][:])
	}
	return out
}

func snapshot(hashes []dccrevocation.Hash128) ([]byte, error) {
	s := new(trust.Snapshot)
	s.Add(trust.SnapshotGroup{Scheme: trust.SchemeSignature, Country: "XA", KID: "XXA-kid1", Purpose: trust.PurposeRevoked, Hashes: hashes})
	return s.Encode()
}

// most is the largest list that is made whole; beyond, a hundred of lists of 2^20
// stand for all.
const most = 100_000_000

// listSize is the bytes of status lists of so many bits an entry.
func listSize(bits, issued, revoked int) (float64, error) {
	one, lists := issued, 1.0
	if issued*bits > most*2 {
		one = 1 << 20
		lists = float64(issued) / float64(one)
		revoked = int(float64(revoked) / lists)
	}
	const sample = 20
	total, times := 0, 1
	if lists > 1 {
		times = sample
	}
	random := rand.New(rand.NewPCG(1, uint64(issued)))
	for range times {
		b, err := statuslist.NewBitmap(bits, one)
		if err != nil {
			return 0, err
		}
		for range revoked {
			if err := b.Set(random.Int64N(int64(one)), statuslist.Invalid); err != nil {
				return 0, err
			}
		}
		data, err := statuslist.StatusList{Bitmap: b}.AppendCBOR(nil)
		if err != nil {
			return 0, err
		}
		total += len(data)
	}
	return float64(total) / float64(times) * lists, nil
}

func sizes(issued, revoked int) error {
	var lists [2]float64
	for i := range lists {
		var err error
		if lists[i], err = listSize(i+1, issued, revoked); err != nil {
			return err
		}
	}
	hashes := draw(revoked, 1)
	data, err := snapshot(hashes)
	if err != nil {
		return err
	}
	batches := 0
	for part := range slices.Chunk(hashes, dccrevocation.MaxEntries) {
		b := dccrevocation.Batch{Country: "XA", KID: []byte("XXA-kid1"), Type: dccrevocation.TypeSignature, Expires: time.Unix(1<<31, 0), Hashes: part}
		text, err := b.Encode()
		if err != nil {
			return err
		}
		batches += len(text)
	}
	filter := func(kind dccfilter.Kind, rate float64) float64 {
		f, err := dccfilter.New(kind, rate, hashes)
		if err != nil {
			panic(err) // the rates are constants
		}
		return float64(len(f.Encode()))
	}
	f16, f32 := fuse[uint16](hashes), fuse[uint32](hashes)
	fmt.Printf("| %.0e | %g %% | %s | %s | %s | %s | %s / %s | %s | %s / %s |\n", float64(issued), 100*float64(revoked)/float64(issued),
		kb(lists[0]), kb(lists[1]), kb(float64(len(data))), kb(float64(batches)),
		kb(filter(dccfilter.Bloom, 1e-6)), kb(filter(dccfilter.Bloom, 1e-12)), kb(filter(dccfilter.VarHashList, 1e-6)),
		kb(float64(2*len(f16.Fingerprints))), kb(float64(4*len(f32.Fingerprints))))
	return nil
}

// kb writes bytes in thousands or millions.
func kb(n float64) string {
	if n >= 1e6 {
		return fmt.Sprintf("%.2f MB", n/1e6)
	}
	return fmt.Sprintf("%.1f KB", n/1e3)
}

func filterKeys(hashes []dccrevocation.Hash128) []uint64 {
	keys := make([]uint64, len(hashes))
	for i, h := range hashes {
		keys[i] = binary.BigEndian.Uint64(h[:])
	}
	return keys
}

func fuse[T xorfilter.Unsigned](hashes []dccrevocation.Hash128) *xorfilter.BinaryFuse[T] {
	f, err := xorfilter.NewBinaryFuse[T](filterKeys(hashes))
	if err != nil {
		panic(err) // which needs hashes that are alike
	}
	return f
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func nanoseconds(f func(i int)) float64 {
	r := testing.Benchmark(func(b *testing.B) {
		for i := range b.N {
			f(i)
		}
	})
	return float64(r.T.Nanoseconds()) / float64(r.N)
}

// lookups loads a snapshot as a verifier does, and asks it for signatures.
func lookups(n int) error {
	const asked = 1 << 16
	key := &trust.Key{ID: "XXA-kid1", Country: "XA", Participant: "XXA"}
	query := func(i int, listed bool) trust.StatusQuery { // a signature of RSA: the whole is hashed
		s := make([]byte, 32)
		binary.BigEndian.PutUint64(s, uint64(i))
		if listed {
			s[31] = 1
		}
		return trust.StatusQuery{Signature: s}
	}
	hashes := make([]dccrevocation.Hash128, n)
	for i := range hashes {
		hash, err := dccrevocation.Signature(query(i, true).Signature, false)
		if err != nil {
			return err
		}
		hashes[i] = hash
	}
	data, err := snapshot(hashes)
	if err != nil {
		return err
	}
	before := heap()
	begun := time.Now()
	status := new(trust.Status)
	if err := status.Add("snapshot", data); err != nil {
		return err
	}
	load := time.Since(begun)
	memory := heap() - before

	var not, are [asked]trust.StatusQuery
	for i := range not {
		not[i], are[i] = query(i, false), query(i*7919%n, true)
	}
	wrong := 0
	ask := func(q *[asked]trust.StatusQuery, want bool) float64 {
		return nanoseconds(func(i int) {
			if _, found := status.Find(key, q[i%asked]); found != want {
				wrong++
			}
		})
	}
	notListed, listed := ask(&not, false), ask(&are, true)
	if wrong > 0 {
		return fmt.Errorf("%d wrong answers", wrong)
	}
	plain := make(map[dccrevocation.Hash128]string, n)
	for _, h := range hashes {
		plain[h] = "snapshot"
	}
	slices.SortFunc(hashes, func(a, b dccrevocation.Hash128) int { return slices.Compare(a[:], b[:]) })
	others := draw(asked, 3)
	found := 0
	inMap := nanoseconds(func(i int) {
		if _, ok := plain[others[i%asked]]; ok {
			found++
		}
	})
	search := nanoseconds(func(i int) {
		if _, ok := slices.BinarySearchFunc(hashes, others[i%asked], func(a, b dccrevocation.Hash128) int { return slices.Compare(a[:], b[:]) }); ok {
			found++
		}
	})
	filter, keys := fuse[uint16](hashes), filterKeys(others)
	through := 0
	alone := nanoseconds(func(i int) {
		if filter.Contains(keys[i%asked]) {
			through++
		}
	})
	if found > 0 {
		return fmt.Errorf("%d hashes of 128 bits collide", found)
	}
	sha := nanoseconds(func(i int) { sha256.Sum256(not[i%asked].Signature) })
	fmt.Printf("| %.0e | %s | %.1f ms | %s | %s | %.0f ns | %.0f ns | %.0f ns | %.0f ns | %.0f ns | %.0f ns |\n", float64(n), kb(float64(len(data))), load.Seconds()*1e3,
		kb(float64(memory)), kb(float64(2*len(filter.Fingerprints))), notListed, listed, inMap, search, alone, sha)
	runtime.KeepAlive(status)
	return nil
}

// carried holds a filter that is made when a snapshot is loaded against one that
// would be carried, and checked, since one that lacks a hash would hide it.
func carried(n int) {
	hashes := draw(n, 1)
	f := fuse[uint16](hashes)
	made := nanoseconds(func(int) { fuse[uint16](hashes) })
	keys := filterKeys(hashes)
	lost := 0
	checked := nanoseconds(func(int) {
		for _, k := range keys {
			if !f.Contains(k) {
				lost++
			}
		}
	})
	size := 2 * float64(len(f.Fingerprints))
	fmt.Printf("| %.0e | %s | %.0f %% | %.1f ms | %.1f ms |\n", float64(n), kb(size), 100*size/(size+16*float64(n)), made/1e6, checked/1e6)
}
