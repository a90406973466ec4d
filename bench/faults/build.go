package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// builder makes the programs that nodes run: the product, and builds of it with a
// fault in them. A fault is a file of the sources that the compiler is given in the
// place of another (`go build -overlay`), made of that other: the product has no
// switch for it.
type builder struct {
	dir     string
	product string // of others' making; empty: built
	mu      sync.Mutex
	made    map[string]string
}

// edit is a change of one file: each text, which must stand there once, by another.
type edit struct {
	file  string
	texts [][2]string
}

// unguarded does not look for signatures of its own key that it does not know of.
func unguarded(sources, _ string) edit {
	return edit{filepath.Join(sources, "internal/comet/guard.go"), [][2]string{
		{"if g.off {", "if true {"},
		{"if commit == nil ||", "if true || commit == nil ||"},
	}}
}

// skewed has a clock that is off by as many seconds as FAULT_CLOCK says.
func skewed(_, goroot string) edit {
	return edit{filepath.Join(goroot, "src/time/time.go"), [][2]string{
		{"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n", `var faultClock = func() (sec int64) {
	text, _ := syscall.Getenv("FAULT_CLOCK")
	sign := int64(1)
	for _, c := range text {
		if c == '-' {
			sign = -1
		} else {
			sec = 10*sec + int64(c-'0')
		}
	}
	return sign * sec
}()

func Now() Time {
	sec, nsec, mono := runtimeNow()
	sec += faultClock
`},
		{"import (\n", "import (\n\t\"syscall\"\n"},
	}}
}

// program builds a program, once. A nil fault is the product.
func (b *builder) program(ctx context.Context, name string, fault func(sources, goroot string) edit) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault == nil && b.product != "" {
		return filepath.Abs(b.product)
	}
	if path := b.made[name]; path != "" {
		return path, nil
	}
	path := filepath.Join(b.dir, name)
	args := []string{"build", "-o", path}
	if fault != nil {
		overlay, err := b.overlay(ctx, name, fault)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	c := exec.CommandContext(ctx, "go", append(args, "ampoule/cmd/ampoule")...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build of %s: %w: %s", name, err, out)
	}
	if b.made == nil {
		b.made = map[string]string{}
	}
	b.made[name] = path
	return path, nil
}

func (b *builder) overlay(ctx context.Context, name string, fault func(sources, goroot string) edit) (string, error) {
	ask := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "go", args...).Output()
		return strings.TrimSpace(string(out)), err
	}
	sources, err := ask("list", "-m", "-f", "{{.Dir}}", "ampoule")
	if err != nil {
		return "", err
	}
	goroot, err := ask("env", "GOROOT")
	if err != nil {
		return "", err
	}
	e := fault(sources, goroot)
	data, err := os.ReadFile(e.file)
	if err != nil {
		return "", err
	}
	text := string(data)
	for _, t := range e.texts {
		if strings.Count(text, t[0]) != 1 {
			return "", fmt.Errorf("%s is not as the fault expects it: %q", e.file, t[0])
		}
		text = strings.Replace(text, t[0], t[1], 1)
	}
	changed := filepath.Join(b.dir, name+".go")
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {e.file: changed}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, name+".json")
	return path, os.WriteFile(path, list, 0o600)
}
