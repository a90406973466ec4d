package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ampoule/device"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
)

// spool is what a logger has measured and no server has acknowledged, on its disk:
//
//	spool/STREAM/open              readings that are in no segment yet, a line each
//	spool/STREAM/NUMBER.segment    signed, and not acknowledged
//	spool/STREAM/head              the last that was acknowledged
//	refused/STREAM-NUMBER.segment  what a server will never take
//
// A reading counts as measured when it is on the disk, and a segment leaves when it is:
// whoever pulls the plug finds the chain where it was, and no number is ever signed twice.
type spool struct {
	dir    string
	device device.ID
	key    *keys.Key

	mu     sync.Mutex // guards what follows
	chains map[uint64]*spoolChain
}

// spoolChain is one stream of a spool.
type spoolChain struct {
	dir     string
	head    device.Head
	last    int64 // of the last reading that was sealed
	clock   device.Clock
	sealed  bool             // last and clock are of one
	open    []device.Reading // of one clock
	opened  device.Clock
	journal *os.File
	size    int64
	waiting []uint64
}

const (
	segmentSuffix = ".segment"
	headFile      = "head"
	openFile      = "open"
	refusedFolder = "refused"
)

// openSpool reads what is there. It must be the only process that does: see [own].
func openSpool(dir string, id device.ID, k *keys.Key) (*spool, error) {
	s := &spool{dir: dir, device: id, key: k, chains: make(map[uint64]*spoolChain)}
	entries, err := os.ReadDir(filepath.Join(dir, "spool"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 32); err == nil {
			if _, err := s.chain(n); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// chain opens a stream.
func (s *spool) chain(stream uint64) (*spoolChain, error) {
	if c := s.chains[stream]; c != nil {
		return c, nil
	}
	c := &spoolChain{dir: filepath.Join(s.dir, "spool", strconv.FormatUint(stream, 10))}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	for _, dir := range []string{s.dir, filepath.Dir(c.dir)} {
		if err := keep.SyncDir(dir); err != nil {
			return nil, err
		}
	}
	follow := func(name string) error {
		data, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil {
			return err
		}
		x, err := device.ParseSegment(data)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(c.dir, name), err)
		}
		if x.Device != s.device || x.Stream != stream {
			return fmt.Errorf("%s is of another device or stream", filepath.Join(c.dir, name))
		}
		if name != headFile {
			c.waiting = append(c.waiting, x.Seq)
		}
		// One that was acknowledged and not taken away is there beside the head, and is sent
		// again: a server knows it.
		if !c.sealed || x.Seq > c.head.Seq {
			c.head, c.last, c.clock, c.sealed = x.Head(), x.End(), x.Clock, true
		}
		return nil
	}
	if err := follow(headFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries, err := os.ReadDir(c.dir) // in the order of their names
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), segmentSuffix) {
			if err := follow(e.Name()); err != nil {
				return nil, err
			}
		}
	}
	if c.journal, err = os.OpenFile(filepath.Join(c.dir, openFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := keep.SyncDir(c.dir); err != nil {
		return nil, err
	}
	if err := c.readOpen(); err != nil {
		return nil, err
	}
	s.chains[stream] = c
	return c, nil
}

// readOpen reads the readings that are in no segment. A line that was cut off was never
// counted; readings that are in the last segment were put there before the power failed.
func (c *spoolChain) readOpen() error {
	in := bufio.NewReader(c.journal)
	for {
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		var r device.Reading
		var clock device.Clock
		if n, _ := fmt.Sscanf(line, "%d %d %d\n", &r.At, &r.Value, &clock); n != 3 || err != nil {
			return c.journal.Truncate(c.size)
		}
		c.size += int64(len(line))
		if !c.sealed || c.after(r.At, clock) {
			c.open, c.opened = append(c.open, r), clock
		}
	}
}

// after reports whether a time is after the last that was sealed. Times from the start of
// the device and times since 1970 cannot be compared.
func (c *spoolChain) after(at int64, clock device.Clock) bool {
	return !c.sealed || at > c.last || (clock == device.ClockUnset) != (c.clock == device.ClockUnset)
}

// errBackwards is a clock that went back: what it says cannot be told from what it said.
var errBackwards = errors.New("the clock went back: nothing is measured until it has caught up")

// add keeps a reading. Where it returns nil the reading is on the disk.
func (s *spool) add(stream uint64, r device.Reading, clock device.Clock) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.chain(stream)
	if err != nil {
		return err
	}
	if n := len(c.open); n > 0 && r.At <= c.open[n-1].At || n == 0 && !c.after(r.At, clock) {
		return errBackwards
	}
	line := fmt.Appendf(nil, "%d %d %d\n", r.At, r.Value, clock)
	if _, err := c.journal.WriteAt(line, c.size); err != nil {
		return errors.Join(err, c.journal.Truncate(c.size))
	}
	if err := c.journal.Sync(); err != nil {
		return err
	}
	c.size += int64(len(line))
	c.open, c.opened = append(c.open, r), clock
	return nil
}

// pending is how many readings of a stream are in no segment, and of which clock.
func (s *spool) pending(stream uint64) (int, device.Clock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.chains[stream]; c != nil {
		return len(c.open), c.opened
	}
	return 0, 0
}

// seal signs the open readings of a stream. The segment is on the disk before anything
// else is done with it.
func (s *spool) seal(stream uint64, q device.Quantity, interval int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chains[stream]
	if c == nil || len(c.open) == 0 {
		return nil
	}
	x := &device.Segment{Device: s.device, Stream: stream, Quantity: q, Seq: c.head.Seq + 1, Prev: c.head.Hash, Interval: interval, Clock: c.opened, Readings: c.open}
	data, err := x.Sign(rand.Reader, s.key.Signer)
	if err != nil {
		return err
	}
	if err := keep.Create(c.path(x.Seq), func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
		return err
	}
	c.head, c.last, c.clock, c.sealed = x.Head(), x.End(), x.Clock, true
	c.waiting, c.open, c.size = append(c.waiting, x.Seq), nil, 0
	// Should this fail, the readings are found to be in the segment.
	return c.journal.Truncate(0)
}

func (c *spoolChain) path(seq uint64) string {
	return filepath.Join(c.dir, fmt.Sprintf("%020d%s", seq, segmentSuffix))
}

// spooled is a segment that waits.
type spooled struct {
	stream, seq uint64
	data        []byte
}

// next returns what waits, some of it, in its order.
func (s *spool) next(most, size int) (out []spooled, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams := make([]uint64, 0, len(s.chains))
	for n := range s.chains {
		streams = append(streams, n)
	}
	slices.Sort(streams)
	for _, n := range streams {
		c := s.chains[n]
		for _, seq := range c.waiting {
			data, err := os.ReadFile(c.path(seq))
			if err != nil {
				return nil, err
			}
			if size -= len(data); len(out) == most || size < 0 && len(out) > 0 {
				return out, nil
			}
			out = append(out, spooled{n, seq, data})
		}
	}
	return out, nil
}

// waits is how many segments wait.
func (s *spool) waits() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.chains {
		n += len(c.waiting)
	}
	return n
}

// done takes away what a server has. Of each stream the last stays, as the head.
func (s *spool) done(all []spooled) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range all {
		c := s.chains[x.stream]
		if i+1 == len(all) || all[i+1].stream != x.stream {
			if err := c.keepHead(x.data, x.seq); err != nil {
				return err
			}
		}
	}
	for _, x := range all {
		c := s.chains[x.stream]
		if err := os.Remove(c.path(x.seq)); err != nil {
			return err
		}
		c.waiting = slices.DeleteFunc(c.waiting, func(n uint64) bool { return n == x.seq })
	}
	return nil
}

// keepHead replaces the head by a later segment.
func (c *spoolChain) keepHead(data []byte, seq uint64) error {
	path := filepath.Join(c.dir, headFile)
	if old, err := os.ReadFile(path); err == nil {
		if x, err := device.ParseSegment(old); err == nil && (x.Seq >= seq || bytes.Equal(old, data)) {
			return nil
		}
	}
	return keep.Replace(path, data, 0o600)
}

// aside puts away a segment that a server will never take; the chain goes on after it.
func (s *spool) aside(x spooled) error {
	dir := filepath.Join(s.dir, refusedFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := keep.Replace(filepath.Join(dir, fmt.Sprintf("%d-%020d%s", x.stream, x.seq, segmentSuffix)), x.data, 0o600); err != nil {
		return err
	}
	return s.done([]spooled{x})
}
