//go:build linux

package keyside

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/internal/control"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

// issued is an open store with some records of which one was erased, and its place.
func issued(t testing.TB, records int) (*store.Store, store.Config, Place, *storetest.Kit, []*issuer.Receipt) {
	t.Helper()
	dir := t.TempDir()
	master, err := keys.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := store.Config{Dir: dir, Master: master}
	if err := store.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	p := Place{dir, filepath.Join(dir, "master.key")}
	if err := keys.SaveMasterKey(p.Master, master, keys.Unencrypted()); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	k := storetest.NewKit(t, s)
	var receipts []*issuer.Receipt
	for n := range records {
		r, err := k.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(n)))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	if records > 1 {
		if _, err := k.Registry.Erase(t.Context(), storetest.By("officer-1"), receipts[1].ID); err != nil {
			t.Fatal(err)
		}
	}
	return s, c, p, k, receipts
}

func written(t testing.TB, s Source, p Place) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(t.Context(), &out, p, s, storetest.Day); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestKeySide(t *testing.T) {
	s, _, p, _, _ := issued(t, 3)
	for name, text := range map[string]string{"keys/a.key": "key a", "devices/service.key": "key of the devices", "audit.head": "head"} {
		path := filepath.Join(p.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data := written(t, control.Opened{Store: s}, p)
	dir := t.TempDir()
	n := Place{filepath.Join(dir, "new"), filepath.Join(dir, "elsewhere.key")}
	info, err := Restore(bytes.NewReader(data), n)
	if err != nil {
		t.Fatal(err)
	}
	if info.Keys != 512 || info.Erased != 1 || !info.Master || fmt.Sprint(info.Signing) != "[a.key]" || !info.Made.Equal(storetest.Day) {
		t.Errorf("%+v", info)
	}
	for from, to := range map[string]string{
		"records.keys": n.Dir + "/records.keys", "erased.list": n.Dir + "/erased.list", "master.key": n.Master, "keys/a.key": n.Dir + "/keys/a.key", "devices/service.key": n.Dir + "/devices/service.key", "audit.head": n.Dir + "/audit.head",
	} {
		want, err := os.ReadFile(filepath.Join(p.Dir, from))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(to)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes instead of %d, %v", from, len(got), len(want), err)
		}
	}
	if _, err := Restore(bytes.NewReader(data), n); !errors.Is(err, os.ErrExist) {
		t.Errorf("again: %v", err)
	}
	if err := info.Remove(n); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(n.Dir + "/*.*"); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	// Under another master key that is there already nothing is put.
	if err := os.WriteFile(n.Master, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(bytes.NewReader(data), n); !errors.Is(err, store.ErrExists) {
		t.Errorf("another master key: %v", err)
	}
	if _, err := os.Stat(n.Dir + "/records.keys"); err == nil {
		t.Error("the keys are there after a restore that failed")
	}
	for cut := 0; cut < len(data)-1024-512; cut += 1 + len(data)/50 { // what ends it is 1536 bytes
		if _, err := Check(bytes.NewReader(data[:cut])); err == nil {
			t.Errorf("cut at %d", cut)
		}
	}
}

// erasing is a source that erases a record after the keys were read, and cuts the
// erased key off halfway, as one that is being overwritten may be read.
type erasing struct {
	control.Opened
	erase func()
}

func (e erasing) Keys(ctx context.Context, f func(int64, io.Reader) error) error {
	err := e.Opened.Keys(ctx, func(size int64, r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		clear(data[64*1+10 : 64*1+40]) // of slot 0
		return f(size, bytes.NewReader(data))
	})
	e.erase()
	return err
}

// TestErasedMeanwhile: a key that is overwritten while it is copied is overwritten in
// the copy, and one that is torn without having been erased is damage.
func TestErasedMeanwhile(t *testing.T) {
	s, c, p, k, receipts := issued(t, 1)
	source := erasing{control.Opened{Store: s}, func() {
		if _, err := k.Registry.Erase(t.Context(), storetest.By("officer-1"), receipts[0].ID); err != nil {
			t.Fatal(err)
		}
	}}
	data := written(t, source, p)
	n := Place{t.TempDir(), filepath.Join(t.TempDir(), "m.key")}
	if info, err := Restore(bytes.NewReader(data), n); err != nil || info.Erased != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	got, err := os.ReadFile(n.Dir + "/records.keys")
	if err != nil || !bytes.Equal(got[64:128], make([]byte, 64)) {
		t.Errorf("%x, %v", got[64:128], err)
	}
	_ = c
	other, _, place, _, _ := issued(t, 1)
	torn := written(t, erasing{control.Opened{Store: other}, func() {}}, place)
	if _, err := Check(bytes.NewReader(torn)); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// TestBadFiles: what is in a file cannot get out of its folder.
func TestBadFiles(t *testing.T) {
	s, _, p, _, _ := issued(t, 1)
	good := written(t, control.Opened{Store: s}, p)
	for _, name := range []string{"../x.key", "keys/../x.key", "keys/a/b.key", "keys/.x.key", "keys/x.txt", "/etc/passwd", "control.sock"} {
		in, out := tar.NewReader(bytes.NewReader(good)), new(bytes.Buffer)
		w := tar.NewWriter(out)
		for {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Name == endName {
				if err := w.WriteHeader(&tar.Header{Name: name, Size: 1, Mode: 0o600, Typeflag: tar.TypeReg}); err != nil {
					t.Fatal(err)
				}
				_, _ = w.Write([]byte("x"))
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(w, in); err != nil {
				t.Fatal(err)
			}
		}
		_ = w.Close()
		if _, err := Check(out); !errors.Is(err, ErrKeySide) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	s, _, p, _, _ := issued(f, 1)
	var out bytes.Buffer
	if err := Write(context.Background(), &out, p, control.Opened{Store: s}, time.Unix(0, 0)); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if _, err := Restore(bytes.NewReader(data), Place{dir + "/store", dir + "/m.key"}); err != nil {
			return
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 2 {
			t.Errorf("%d files beside the store, %v", len(entries), err)
		}
	})
}
