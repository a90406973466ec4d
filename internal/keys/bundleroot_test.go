package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"

	"ampoule/bundle"
	"ampoule/format/cose"
)

func newBundleRoot(t testing.TB, alg cose.Algorithm) *BundleRoot {
	t.Helper()
	r, err := NewBundleRoot(alg, time.Time{}, time.Time{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBundleRoot(t *testing.T) {
	for _, alg := range []cose.Algorithm{cose.ES256, cose.Ed25519} {
		t.Run(alg.String(), func(t *testing.T) {
			made := newBundleRoot(t, alg)
			path := filepath.Join(t.TempDir(), "root.key")
			lock := cheap(t, "specimen")
			if err := SaveBundleRoot(path, made, lock); err != nil {
				t.Fatal(err)
			}
			if err := SaveBundleRoot(path, made, lock); !errors.Is(err, ErrExists) {
				t.Errorf("written over: %v", err)
			}
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(file, []byte("PRIVATE")) {
				t.Error("the file is in the clear")
			}
			if _, err := LoadBundleRoot(path, cheap(t, "another")); !errors.Is(err, ErrWrongSecret) {
				t.Errorf("another passphrase: %v", err)
			}
			if _, err := Load(path, lock); !errors.Is(err, ErrDamaged) {
				t.Errorf("read as a signing key: %v", err)
			}
			loaded, err := LoadBundleRoot(path, lock)
			if err != nil {
				t.Fatal(err)
			}
			want, err := made.Signer().Root()
			if err != nil {
				t.Fatal(err)
			}
			got, err := loaded.Signer().Root()
			if err != nil || !got.Equal(want) {
				t.Errorf("another root came back: %v", err)
			}
			// What it signs opens under its public side.
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			b, _, err := bundle.Make(bundle.Input{Maker: "XXA", Issued: now, Next: now.AddDate(0, 0, 7), Signers: []bundle.Root{got}})
			if err != nil {
				t.Fatal(err)
			}
			data, err := bundle.Sign(rand.Reader, b, loaded.Signer())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bundle.Open(data, []bundle.Root{want}, now); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := NewBundleRoot(cose.PS256, time.Time{}, time.Time{}, rand.Reader); !errors.Is(err, ErrKeyType) {
		t.Errorf("RSA: %v", err)
	}
}

// TestBundleRootSecond has the ML-DSA half read by another implementation of
// RFC 9881.
func TestBundleRootSecond(t *testing.T) {
	r := newBundleRoot(t, cose.ES256)
	plain, err := r.marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, rest := pem.Decode(plain)
	block, _ := pem.Decode(rest)
	key, err := mldsax509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	second, ok := key.(*mldsa.PrivateKey)
	if !ok || !bytes.Equal(second.Bytes(), r.lattice.Seed()) {
		t.Errorf("%T", key)
	}
	// Hedged: one message, two signatures, both good there.
	message := []byte("specimen")
	var made [2][]byte
	for i := range made {
		if made[i], err = r.Signer().PostQuantum.Sign(nil, message, nil); err != nil {
			t.Fatal(err)
		}
		if err := mldsa.Verify(second.PublicKey(), message, made[i], nil); err != nil {
			t.Error(err)
		}
	}
	if bytes.Equal(made[0], made[1]) {
		t.Error("the signature is deterministic")
	}
}

func TestBundleRootRefuses(t *testing.T) {
	plain, err := newBundleRoot(t, cose.ES256).marshal()
	if err != nil {
		t.Fatal(err)
	}
	first, rest := pem.Decode(plain)
	second, _ := pem.Decode(rest)
	encode := func(blocks ...*pem.Block) (out []byte) {
		for _, b := range blocks {
			out = append(out, pem.EncodeToMemory(b)...)
		}
		return out
	}
	longer := &pem.Block{Type: second.Type, Bytes: append(bytes.Clone(second.Bytes), 0)}
	expanded := &pem.Block{Type: second.Type, Bytes: bytes.Replace(second.Bytes, seedHead, []byte{0x04, 0x20}, 1)}
	other := &pem.Block{Type: second.Type, Bytes: bytes.Replace(second.Bytes, []byte{3, 4, 3, 18}, []byte{3, 4, 3, 17}, 1)}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrDamaged},
		{"the classical half", encode(first), ErrDamaged},
		{"the ML-DSA half", encode(second), ErrDamaged},
		{"exchanged", encode(second, first), ErrDamaged},
		{"twice classical", encode(first, first), ErrDamaged},
		{"three keys", encode(first, second, second), ErrDamaged},
		{"bytes after the key", encode(first, longer), ErrDamaged},
		{"no seed", encode(first, expanded), ErrDamaged},
		{"ML-DSA-44", encode(first, other), ErrDamaged},
		{"text before", slices.Concat([]byte("specimen\n"), plain), ErrDamaged},
		{"text after", append(bytes.Clone(plain), "specimen"...), ErrDamaged},
		{"another block", []byte(strings.ReplaceAll(string(plain), "PRIVATE KEY", "PUBLIC KEY")), ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parseBundleRoot(c.data); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if _, err := parseBundleRoot(plain); err != nil {
		t.Error(err)
	}
}

func FuzzParseBundleRoot(f *testing.F) {
	plain, err := newBundleRoot(f, cose.Ed25519).marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseBundleRoot(data)
		if err != nil {
			return
		}
		again, err := r.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseBundleRoot(again); err != nil {
			t.Error(err)
		}
	})
}
