package print

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"ampoule/ledger/tlog"
)

func hashesOf(salt string, n int) (out []tlog.Hash) {
	for _, l := range leavesOf(salt, n) {
		out = append(out, tlog.Hash(l))
	}
	return out
}

// TestLandmarks: what is written reads back, in one form.
func TestLandmarks(t *testing.T) {
	roots := hashesOf("root", 5)
	data, err := EncodeLandmarks(append(roots, roots[2]))
	if err != nil {
		t.Fatal(err)
	}
	var l Landmarks
	if err := l.Add(data); err != nil || l.Len() != 5 {
		t.Fatalf("%d roots, %v", l.Len(), err)
	}
	for _, r := range roots {
		if !l.Has(r) {
			t.Errorf("%x is missing", r)
		}
	}
	if l.Has(hashesOf("other", 1)[0]) || new(Landmarks).Has(roots[0]) {
		t.Error("it has what nobody put there")
	}
	more, err := EncodeLandmarks(hashesOf("more", 2))
	if err != nil || l.Add(more) != nil || l.Len() != 7 {
		t.Errorf("%d roots, %v", l.Len(), err)
	}
	if _, err := EncodeLandmarks(nil); !errors.Is(err, ErrLandmarks) {
		t.Errorf("no roots: %v", err)
	}

	all := data[len(data)-5*32:]
	for name, bad := range map[string][]byte{
		"nothing":         nil,
		"another kind":    bytes.Replace(data, []byte("landmarks"), []byte("landmarxs"), 1),
		"no roots":        appendLandmarks(nil, nil),
		"half a root":     appendLandmarks(nil, all[:48]),
		"out of order":    appendLandmarks(nil, slices.Concat(all[32:64], all[:32])),
		"a root twice":    appendLandmarks(nil, slices.Concat(all[:32], all[:32])),
		"something after": append(slices.Clone(data), 0),
		"cut off":         data[:len(data)-1],
		"a longer length": slices.Concat(data[:len(data)-5*32-2], []byte{0x59, 0, 160}, all),
	} {
		t.Run(name, func(t *testing.T) {
			var l Landmarks
			if err := l.Add(bad); !errors.Is(err, ErrLandmarks) || l.Len() != 0 {
				t.Errorf("%v, %d roots", err, l.Len())
			}
		})
	}
}

func FuzzLandmarks(f *testing.F) {
	data, err := EncodeLandmarks(hashesOf("root", 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var l Landmarks
		if l.Add(data) != nil {
			return
		}
		var roots []tlog.Hash
		for r := range l.roots {
			roots = append(roots, r)
		}
		if again, err := EncodeLandmarks(roots); err != nil || !bytes.Equal(again, data) {
			t.Errorf("it encodes to something else, %v", err)
		}
	})
}
