// Detection counts what the rules and anomalies of the cold chain find of faults that are
// known, and how often they speak without one, on units that are simulated:
//
//	go run ./bench/detection -seed 1 -units 1000 -days 30
//
// Each fault gets that many units with it: a third each are refrigerators with a
// thermostat, with ice, and freezers, a fifth of them with nothing but a temperature. As
// many have none. A fault is found by a word that is for it, from its start until a day
// after its end. What is said without a fault is a false alarm, unless it says that it is
// too warm or too cold, and it is.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	seed := flag.Uint64("seed", 1, "of the units")
	units := flag.Int("units", 1000, "with each fault, and without")
	days := flag.Int("days", 30, "of each unit")
	flag.Parse()
	if *units < 1 || *days < 15 {
		fmt.Fprintln(os.Stderr, "detection: at least one unit, and 15 days: a fault begins after ten")
		os.Exit(80)
	}
	start := time.Now()
	table, samples := run(*seed, *units, *days)
	table.print(os.Stdout)
	took := time.Since(start)
	fmt.Printf("\n%d samples made and judged in %.1f s, %.2f M a second and core\n", samples, took.Seconds(), float64(samples)/1e6/took.Seconds()/float64(min(runtime.NumCPU(), runtime.GOMAXPROCS(0))))
}

// run makes and judges all units.
func run(seed uint64, units, days int) (table, int64) {
	t := make(table, len(rows)+1)
	var samples int64
	var mu sync.Mutex
	var wait sync.WaitGroup
	work := make(chan [2]int)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for w := range work {
				o := judge(seed, w[0], w[1], days)
				mu.Lock()
				t[w[0]] = append(t[w[0]], o)
				samples += o.samples
				mu.Unlock()
			}
		})
	}
	for row := range t {
		for unit := range units {
			work <- [2]int{row, unit}
		}
	}
	close(work)
	wait.Wait()
	return t, samples
}

// table has the outcomes of each row; the last is of those without a fault.
type table [][]outcome

func (t table) print(w *os.File) {
	fmt.Fprintln(w, "| fault | injected | found | median delay | by | false alarms per 1,000 unit-days |\n|---|---|---|---|---|---|")
	for i, outcomes := range t {
		name := "none"
		if i < len(rows) {
			name = rows[i].fault.Kind.String()
		}
		s := sum(outcomes)
		if i == len(rows) {
			fmt.Fprintf(w, "| %s | 0 | | | | %.2f%s |\n", name, s.rate(), s.words(s.falsely))
			continue
		}
		fmt.Fprintf(w, "| %s | %d | %d (%.1f %%) | %s |%s | %.2f%s |\n", name, len(outcomes), s.found, 100*float64(s.found)/float64(len(outcomes)), duration(s.median), s.words(s.by), s.rate(), s.words(s.falsely))
	}
}

type summary struct {
	found       int
	median      int64
	falsely, by map[string]int
	false       int
	days        float64
}

func sum(outcomes []outcome) (s summary) {
	s.falsely, s.by = map[string]int{}, map[string]int{}
	var delays []int64
	for _, o := range outcomes {
		if o.by != "" {
			delays = append(delays, o.delay)
			s.by[o.by]++
		}
		for reason, n := range o.falsely {
			s.falsely[reason] += n
			s.false += n
		}
		s.days += o.sound
	}
	s.found = len(delays)
	if slices.Sort(delays); len(delays) > 0 {
		s.median = delays[len(delays)/2]
	}
	return s
}

func (s *summary) rate() float64 { return 1000 * float64(s.false) / s.days }

func (s *summary) words(count map[string]int) string {
	var all []string
	for reason := range count {
		all = append(all, reason)
	}
	slices.SortFunc(all, func(a, b string) int { return count[b] - count[a] })
	for i, reason := range all {
		all[i] = fmt.Sprintf("%s %d", reason, count[reason])
	}
	if len(all) == 0 {
		return ""
	}
	return " " + strings.Join(all, ", ")
}

func duration(seconds int64) string {
	switch {
	case seconds >= 2*86400:
		return fmt.Sprintf("%.1f days", float64(seconds)/86400)
	case seconds >= 2*3600:
		return fmt.Sprintf("%.1f h", float64(seconds)/3600)
	}
	return fmt.Sprintf("%d min", seconds/60)
}
