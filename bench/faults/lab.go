package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// A lab is a network of machines on this one: each has a network namespace of its
// own, with one link to a bridge, over which the nodes talk, and one to us, over
// which they are asked. A second bridge is the other side of a partition.
type lab struct {
	name  string // begins the names of all its links and namespaces
	nodes int
	octet int // of its addresses: 10.octet.…
}

// errNoLab says that this machine cannot make network namespaces.
var errNoLab = errors.New("network namespaces cannot be made here: that takes root, and iproute2")

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// labs are those of this process.
var labs struct {
	sync.Mutex
	made int
}

// newLab makes a network of some nodes, from 1 on.
func newLab(nodes int) (*lab, error) {
	labs.Lock()
	defer labs.Unlock()
	sweep()
	l := &lab{name: fmt.Sprintf("am%x%c", os.Getpid(), 'g'+rune(labs.made%20)), nodes: nodes, octet: freeOctet()}
	labs.made++
	if err := ip("netns", "add", l.space(1)); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoLab, err)
	}
	steps := [][]string{
		{"link", "add", l.bridge(0), "type", "bridge"}, {"link", "set", l.bridge(0), "up"},
		{"link", "add", l.bridge(1), "type", "bridge"}, {"link", "set", l.bridge(1), "up"},
	}
	for i := 1; i <= nodes; i++ {
		ns := l.space(i)
		if i > 1 {
			steps = append(steps, []string{"netns", "add", ns})
		}
		steps = append(steps,
			[]string{"link", "add", l.port(i), "type", "veth", "peer", "name", "net0", "netns", ns},
			[]string{"link", "set", l.port(i), "master", l.bridge(0), "up"},
			[]string{"-n", ns, "addr", "add", l.address(i) + "/24", "dev", "net0"},
			[]string{"-n", ns, "link", "set", "net0", "up"},
			[]string{"link", "add", l.line(i), "type", "veth", "peer", "name", "ask0", "netns", ns},
			[]string{"addr", "add", fmt.Sprintf("10.%d.%d.1/30", l.octet, 100+i), "dev", l.line(i)},
			[]string{"link", "set", l.line(i), "up"},
			[]string{"-n", ns, "addr", "add", l.door(i) + "/30", "dev", "ask0"},
			[]string{"-n", ns, "link", "set", "ask0", "up"},
			[]string{"-n", ns, "link", "set", "lo", "up"})
	}
	for _, step := range steps {
		if err := ip(step...); err != nil {
			l.close()
			return nil, fmt.Errorf("%w: %w", errNoLab, err)
		}
	}
	return l, nil
}

// freeOctet finds a network that this machine does not have.
func freeOctet() int {
	addresses, _ := net.InterfaceAddrs()
	for octet := 64; octet < 128; octet++ {
		taken := false
		for _, a := range addresses {
			taken = taken || strings.HasPrefix(a.String(), fmt.Sprintf("10.%d.", octet))
		}
		if !taken {
			return octet
		}
	}
	return 128
}

// sweep takes down what a run has left that was killed.
func sweep() {
	out, _ := exec.Command("ip", "netns", "list").Output()
	left := regexp.MustCompile(`(?m)^(am([0-9a-f]+)[g-z])n(\d)\b`)
	for _, m := range left.FindAllStringSubmatch(string(out), -1) {
		pid, err := strconv.ParseInt(m[2], 16, 32)
		if err == nil && errors.Is(syscall.Kill(int(pid), 0), syscall.ESRCH) {
			n, _ := strconv.Atoi(m[3])
			(&lab{name: m[1], nodes: n}).close()
		}
	}
}

func (l *lab) space(i int) string  { return fmt.Sprintf("%sn%d", l.name, i) }
func (l *lab) bridge(k int) string { return fmt.Sprintf("%sb%d", l.name, k) }
func (l *lab) port(i int) string   { return fmt.Sprintf("%sp%d", l.name, i) }
func (l *lab) line(i int) string   { return fmt.Sprintf("%sl%d", l.name, i) }

// address is where other nodes reach a node, and door where we do.
func (l *lab) address(i int) string { return fmt.Sprintf("10.%d.0.%d", l.octet, i) }
func (l *lab) door(i int) string    { return fmt.Sprintf("10.%d.%d.2", l.octet, 100+i) }

// command is a program on the machine of a node. It does not outlive this one.
func (l *lab) command(i int, program string, args ...string) *exec.Cmd {
	c := exec.Command("ip", append([]string{"netns", "exec", l.space(i), program}, args...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return c
}

// split cuts some nodes off the others. They reach one another.
func (l *lab) split(others ...int) error { return l.move(1, others) }

// heal joins them again.
func (l *lab) heal(others ...int) error { return l.move(0, others) }

func (l *lab) move(bridge int, nodes []int) error {
	for _, i := range nodes {
		if err := ip("link", "set", l.port(i), "master", l.bridge(bridge)); err != nil {
			return err
		}
	}
	return nil
}

// close takes everything down. The links of a namespace go with it.
func (l *lab) close() {
	for i := 1; i <= l.nodes; i++ {
		ip("netns", "del", l.space(i))
		ip("link", "del", l.port(i))
		ip("link", "del", l.line(i))
	}
	ip("link", "del", l.bridge(0))
	ip("link", "del", l.bridge(1))
}
