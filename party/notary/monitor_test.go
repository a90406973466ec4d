package notary_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"ampoule/internal/ledgertest"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// watched is a log to look at.
type watched struct{ note, dir string }

func (w watched) Name() string { return fmt.Sprint(w.dir, len(w.note), w.note[:min(len(w.note), 90)]) }

func (w watched) Checkpoint(context.Context) ([]byte, error) { return []byte(w.note), nil }

func (w watched) Tile(_ context.Context, t tlog.Tile) ([]byte, error) {
	return tlog.Files{FS: os.DirFS(w.dir)}.Tile(t)
}

type memory struct{ note []byte }

func (m *memory) Kept() ([]byte, error)  { return m.note, nil }
func (m *memory) Keep(note []byte) error { m.note = note; return nil }

func names(r *notary.Report) (out []string) {
	for _, a := range r.Alarms {
		out = append(out, a.Name)
	}
	slices.Sort(out)
	return out
}

// cosigned has the cosigners of a bench sign whatever it is, as if they had all been
// made to.
func cosigned(t *testing.T, r *ledgertest.Replica, keys ...*tlog.NoteSigner) []byte {
	t.Helper()
	h := r.Head()
	n, err := (&tlog.Checkpoint{Origin: ledgertest.Origin, Size: h.Size, Root: h.Root}).Note()
	if err != nil {
		t.Fatal(err)
	}
	if err := ledgertest.LogKey(1).Sign(rand.Reader, n, 0); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := k.Sign(rand.Reader, n, now.Unix()); err != nil {
			t.Fatal(err)
		}
	}
	return n.Encode()
}

// TestMonitor: what a log can do to those who follow it, by name.
func TestMonitor(t *testing.T) {
	one, two := ledgertest.CosignerKey(1), ledgertest.WitnessKey("witness.example/one", tlog.MLDSA44Cosignature)
	p := policy(t, ledgertest.Policy(1, []*tlog.NoteSigner{two}, 1))
	grown := func(batches ...int) (*ledgertest.Replica, string) {
		dir := t.TempDir()
		r := ledgertest.NewChain(ledgertest.Genesis(1, 100)).Join(t, dir)
		r.Register(t)
		for _, n := range batches {
			r.Batch(t, n)
		}
		return r, dir
	}
	r, dir := grown(1, 2)
	first := cosigned(t, r, one, two)
	r.Batch(t, 3)
	second := cosigned(t, r, one, two)
	forked, forkedDir := grown(1, 9)
	forkedSame := cosigned(t, forked, two)
	forked.Batch(t, 10)
	forkedLonger := cosigned(t, forked, one)
	for _, test := range []struct {
		name   string
		before []byte
		source watched
		late   time.Duration
		want   []string
	}{
		{"the first", nil, watched{string(first), dir}, 0, nil},
		{"grown", first, watched{string(second), dir}, 0, nil},
		{"the same", second, watched{string(second), dir}, 0, nil},
		{"an old one again", second, watched{string(first), dir}, 0, []string{notary.Rollback}},
		{"two roots", first, watched{string(forkedSame), forkedDir}, 0, []string{notary.Equivocation, notary.SplitView}},
		{"not continued", first, watched{string(forkedLonger), forkedDir}, 0, []string{notary.Equivocation, notary.SplitView}},
		{"tiles of another", first, watched{string(second), forkedDir}, 0, []string{notary.Damaged}},
		{"silent", first, watched{string(first), dir}, 2 * time.Hour, []string{notary.Silence}},
		{"stolen log key", first, watched{string(cosigned(t, forked)), forkedDir}, 0, []string{notary.Silence, notary.SplitView, notary.TooFew}},
		{"another log", first, watched{string(signed(t, ledgertest.WitnessKey("oid/1.2.1.1", tlog.Ed25519Note), 3, tlog.Hash{})), dir}, 0, []string{notary.Unsigned}},
		{"no note", first, watched{"x", dir}, 0, []string{notary.Unsigned}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem := &memory{note: test.before}
			m := &notary.Monitor{Policy: p, Memory: mem, MaxAge: time.Hour}
			report, err := m.Look(t.Context(), test.source, now.Add(test.late))
			if err != nil {
				t.Fatal(err)
			}
			if got := names(report); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v: %+v", got, test.want, report.Alarms)
			}
			kept := string(mem.note) == test.source.note
			if good := len(test.want) == 0 || test.want[0] == notary.Silence && len(test.want) == 1; kept != good {
				t.Errorf("kept: %t", kept)
			}
		})
	}
}

// TestCopies: of several copies one may lag behind, and one that has another history
// is found even where it is shorter.
func TestCopies(t *testing.T) {
	one := ledgertest.CosignerKey(1)
	p := policy(t, ledgertest.Policy(1, nil, 1))
	made := func(batches ...int) (*ledgertest.Replica, string) {
		dir := t.TempDir()
		r := ledgertest.NewChain(ledgertest.Genesis(1, 100)).Join(t, dir)
		r.Register(t)
		for _, n := range batches {
			r.Batch(t, n)
		}
		return r, dir
	}
	r, dir := made(1, 2)
	lagging := watched{string(cosigned(t, r, one)), dir}
	r.Batch(t, 3)
	newest := watched{string(cosigned(t, r, one)), dir}
	other, otherDir := made(8)
	forked := watched{string(cosigned(t, other, one)), otherDir}
	for _, test := range []struct {
		name   string
		source watched
		want   []string
	}{
		{"lagging", lagging, nil},
		{"forked and shorter", forked, []string{notary.Equivocation, notary.SplitView}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mem := &memory{}
			m := &notary.Monitor{Policy: p, Memory: mem, Copies: []notary.Source{newest, test.source}}
			if report, err := m.Look(t.Context(), newest, now); err != nil || !report.OK() {
				t.Fatalf("%+v, %v", report, err)
			}
			report, err := m.Look(t.Context(), test.source, now)
			if err != nil || !slices.Equal(names(report), test.want) {
				t.Errorf("%+v, %v", report, err)
			}
			if string(mem.note) != newest.note {
				t.Error("an older one is remembered")
			}
		})
	}
}

// TestFsck: a log is read whole, and one flipped byte is found wherever it is.
func TestFsck(t *testing.T) {
	b := newBench(t, 3)
	for n := range 5 {
		b.replica.Batch(t, n)
	}
	b.publish()
	note, _ := b.n.Checkpoint()
	source := watched{string(note), b.dir}
	report, err := notary.Fsck(t.Context(), source, b.policy)
	if err != nil || !report.OK() || report.Checkpoint.Size != b.replica.Head().Size {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, tile := range tlog.NewTiles(0, report.Checkpoint.Size) {
		path := b.dir + "/" + tile.Path()
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(good); at += 101 {
			bad := slices.Clone(good)
			bad[at] ^= 4
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			report, err := notary.Fsck(t.Context(), source, b.policy)
			if err != nil || !slices.Equal(names(report), []string{notary.Damaged}) {
				t.Errorf("%s, byte %d: %+v, %v", path, at, report, err)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
