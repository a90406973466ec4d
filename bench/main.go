// Bench measures what docs/benchmarks.md reports: each flow against the bare
// operation of the standard library that it cannot do without.
//
//	go run ./bench                 ratios in CPU time, one core, then two
//	go run ./bench -log            the same for the proofs of the ledger
//	go run ./bench -devices        and for what devices sign
//	go run ./bench -case verify    one case for a profiler that counts instructions
//
// Machines differ, and one machine differs from minute to minute, so only
// ratios are reported: cases take turns in batches of some 20 ms, CPU time is the
// process's own, and the figure is the median over the rounds.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bench is one case. base names the case that it is divided by, less one whose
// time is taken off before.
type bench struct {
	name, base, less string
	goal             float64 // of the ratio; 0 where there is none
	run              func() error
}

func main() {
	only := flag.String("case", "", "run one case and nothing else")
	count := flag.Int("n", 2000, "with -case: how often")
	rounds := flag.Int("rounds", 31, "rounds of the comparison")
	ledger := flag.Bool("log", false, "measure the proofs of the ledger")
	devices := flag.Bool("devices", false, "measure what devices sign")
	flag.Parse()
	cases := newCases
	if *ledger {
		cases = logCases
	}
	if *devices {
		cases = deviceCases
	}
	if err := run(cases, *only, *count, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(newCases func() ([]bench, error), only string, count, rounds int) error {
	cases, err := newCases()
	if err != nil {
		return err
	}
	if only != "" {
		i := slices.IndexFunc(cases, func(b bench) bool { return b.name == only })
		if i < 0 {
			return fmt.Errorf("no case %q", only)
		}
		for range count {
			if err := cases[i].run(); err != nil {
				return err
			}
		}
		return nil
	}
	runtime.GOMAXPROCS(1)
	times, err := measure(cases, rounds)
	if err != nil {
		return err
	}
	fmt.Println("| case | CPU µs | against | ratio | goal | allocations | bytes |\n|---|---|---|---|---|---|---|")
	for _, b := range cases {
		goal, ratio := "", ""
		if b.base != "" {
			ratio = fmt.Sprintf("%.2f", median(ratios(times[b.name], times[b.less], times[b.base])))
		}
		if b.goal != 0 {
			goal = fmt.Sprintf("≤ %.2f", b.goal)
		}
		r := testing.Benchmark(func(tb *testing.B) {
			tb.ReportAllocs()
			for tb.Loop() {
				_ = b.run()
			}
		})
		against := b.base
		if b.less != "" {
			against += ", without " + b.less
		}
		fmt.Printf("| %s | %.1f | %s | %s | %s | %d | %d |\n", b.name, median(times[b.name]), against, ratio, goal, r.AllocsPerOp(), r.AllocedBytesPerOp())
	}
	fmt.Println("\n| case | one core, a second | two cores, a second | gain |\n|---|---|---|---|")
	for _, b := range cases {
		if !strings.HasPrefix(b.name, "png") && !strings.HasPrefix(b.name, "svg") && !strings.HasPrefix(b.name, "paper") {
			one, two := rate(b, 1), rate(b, 2)
			fmt.Printf("| %s | %.0f | %.0f | %.2f |\n", b.name, one, two, two/one)
		}
	}
	return nil
}

// measure lets the cases take turns, and returns microseconds of CPU for each.
func measure(cases []bench, rounds int) (map[string][]float64, error) {
	batch := map[string]int{}
	for _, b := range cases {
		if err := b.run(); err != nil {
			return nil, fmt.Errorf("%s: %w", b.name, err)
		}
		start := time.Now()
		for range 20 {
			_ = b.run()
		}
		batch[b.name] = max(1, int(20*20*time.Millisecond/max(1, time.Since(start))))
	}
	times := map[string][]float64{}
	for range rounds {
		for _, b := range cases {
			start := cpu()
			for range batch[b.name] {
				_ = b.run()
			}
			times[b.name] = append(times[b.name], float64((cpu()-start).Nanoseconds())/1e3/float64(batch[b.name]))
		}
	}
	return times, nil
}

// cpu is the CPU time that the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ratios divides round by round: neighbours in time share the machine's mood.
// less may be empty.
func ratios(a, less, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
		if less != nil {
			out[i] -= less[i] / b[i]
		}
	}
	return out
}

func median(values []float64) float64 {
	v := slices.Clone(values)
	slices.SortFunc(v, cmp.Compare[float64])
	return v[len(v)/2]
}

// rate counts operations a second of wall time.
func rate(b bench, cores int) float64 {
	runtime.GOMAXPROCS(cores)
	const span = 700 * time.Millisecond
	var wait sync.WaitGroup
	done := make([]int, cores)
	start := time.Now()
	for c := range cores {
		wait.Go(func() {
			for time.Since(start) < span {
				_ = b.run()
				done[c]++
			}
		})
	}
	wait.Wait()
	total := 0
	for _, n := range done {
		total += n
	}
	return float64(total) / time.Since(start).Seconds()
}
