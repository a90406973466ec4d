package keys

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
)

func TestCosigner(t *testing.T) {
	c, err := NewCosigner(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cosigner.pem")
	if err := SaveCosigner(path, c, Unencrypted()); err != nil {
		t.Fatal(err)
	}
	again, err := LoadCosigner(path, Unencrypted())
	if err != nil {
		t.Fatal(err)
	}
	signature, err := again.Sign(nil, []byte("text"), nil)
	if err != nil || !mldsa44.Verify(c.Public().(*mldsa44.PublicKey), []byte("text"), nil, signature) {
		t.Errorf("%v", err)
	}
	if err := SaveCosigner(path, c, Unencrypted()); !errors.Is(err, ErrExists) {
		t.Errorf("written over: %v", err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "twice": append(bytes.Clone(good), good...), "text before": append([]byte("x\n"), good...), "cut off": good[:len(good)/2],
	} {
		if _, err := parseCosigner(bad); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(path, Unencrypted()); err == nil {
		t.Error("taken for the key of a document signer")
	}
}

// FuzzParseCosigner: what is taken is a key that is written and read again.
func FuzzParseCosigner(f *testing.F) {
	c, err := NewCosigner(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := c.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add(plain[:len(plain)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCosigner(data)
		if err != nil {
			return
		}
		again, err := c.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if d, err := parseCosigner(again); err != nil || !d.Public().(*mldsa44.PublicKey).Equal(c.Public()) {
			t.Error(err)
		}
	})
}
