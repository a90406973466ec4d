// Faults runs a federation of four nodes, each `ampoule serve` on a machine of its
// own (a network namespace), lets issuers write on it, breaks something, and looks
// what becomes of what was acknowledged.
//
//	go run ./bench/faults                           all of them, a table in Markdown
//	go run ./bench/faults -run kill-one,flood       some
//
// It takes root and iproute2. It ends with 1 where two nodes have different histories,
// where an entry that was acknowledged is lost, where one stands twice, or where a
// fault that has to be found was not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 6 && os.Args[1] == "lie" {
		fmt.Fprintln(os.Stderr, "faults:", runLiar(os.Args[2], os.Args[3], os.Args[4], os.Args[5]))
		os.Exit(1)
	}
	names := flag.String("run", "", "faults, with commas between them; all, where not said")
	binary := flag.String("binary", "", "the program; built, where not said")
	keep := flag.Bool("keep", false, "leave the folders of nodes where they are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := runAll(ctx, *names, *binary, *keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
	}
	if !ok || err != nil {
		stop()
		os.Exit(1)
	}
}

func runAll(ctx context.Context, names, binary string, keep bool) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "ampoule-faults-")
	if err != nil {
		return false, err
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	b := &builder{dir: dir, product: binary}
	chosen := faults
	if names != "" {
		chosen = nil
		for _, name := range strings.Split(names, ",") {
			i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
			if i < 0 {
				return false, fmt.Errorf("there is no fault %q", name)
			}
			chosen = append(chosen, faults[i])
		}
	}
	ok = true
	var rows []string
	for _, f := range chosen {
		fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), f.name)
		at := filepath.Join(dir, f.name)
		if err := os.Mkdir(at, 0o700); err != nil {
			return false, err
		}
		r, err := f.run(ctx, b, at)
		if err != nil {
			return false, fmt.Errorf("%s: %w", f.name, errors.Join(err, ctx.Err()))
		}
		rows = append(rows, r.row())
		fmt.Fprintln(os.Stderr, r.row())
		for _, why := range r.wrong {
			ok = false
			fmt.Fprintf(os.Stderr, "faults: %s: %s\n", f.name, why)
		}
		if !keep {
			os.RemoveAll(at)
		}
	}
	fmt.Println(header)
	for _, row := range rows {
		fmt.Println(row)
	}
	return ok, nil
}

const header = `| fault | block time | longest gap | first block after healing | all nodes level after | wait p50, p95 | acknowledged | lost | doubled | forks | besides |
|---|---|---|---|---|---|---|---|---|---|---|`

// result is what a run has measured.
type result struct {
	name    string
	block   time.Duration // median time between blocks before the fault
	gap     time.Duration // longest, from the fault until all were level
	resumed time.Duration // from the healing to the next block
	level   time.Duration // from the healing until all nodes had the newest block
	p50     time.Duration // from handing in to being told that it is logged
	p95     time.Duration
	told    int
	lost    int
	doubled int
	forks   []string
	besides []string
	wrong   []string // what is not as it has to be
}

func (r *result) row() string {
	short := func(d time.Duration) string {
		if d == 0 {
			return "–"
		}
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s, %s | %d | %d | %d | %d | %s |", r.name, short(r.block), short(r.gap), short(r.resumed), short(r.level),
		short(r.p50), short(r.p95), r.told, r.lost, r.doubled, len(r.forks), strings.Join(r.besides, "; "))
}

// also notes what was seen besides, and must is what has to be so.
func (r *result) also(format string, args ...any) {
	r.besides = append(r.besides, fmt.Sprintf(format, args...))
}

func (r *result) must(is bool, format string, args ...any) {
	if !is {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	}
}
