package keys

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

func TestMasterKey(t *testing.T) {
	k, err := NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "master")
	lock := cheap(t, "correct horse")
	if err := SaveMasterKey(path, k, lock); err != nil {
		t.Fatal(err)
	}
	read, err := LoadMasterKey(path, lock)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.Derive("a"), read.Derive("a")) || bytes.Equal(k.Derive("a"), k.Derive("b")) || len(k.Derive("a")) != 32 {
		t.Error("the keys that are derived from it")
	}
	file, err := os.ReadFile(path)
	if err != nil || bytes.Contains(file, k.secret[:]) {
		t.Errorf("it stands in the file, or: %v", err)
	}
	if err := SaveMasterKey(path, k, lock); !errors.Is(err, ErrExists) {
		t.Errorf("written over: %v", err)
	}
	if _, err := LoadMasterKey(path, cheap(t, "another")); !errors.Is(err, ErrWrongSecret) {
		t.Error(err)
	}
	if _, err := NewMasterKey(iotest.ErrReader(errors.New("no randomness"))); err == nil {
		t.Error("made of nothing")
	}
	// A signing key is no master key.
	other := filepath.Join(t.TempDir(), "dsc")
	if err := Save(other, newDSC(t), lock); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMasterKey(other, lock); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
