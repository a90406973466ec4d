package keys

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestStream(t *testing.T) {
	file, recipient, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(recipient, "age1pq1") {
		t.Errorf("%s", recipient)
	}
	to, err := Recipients([]byte(recipient))
	if err != nil {
		t.Fatal(err)
	}
	from, err := Identities(file)
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("what is kept "), 20_000) // some chunks of age, 64 KiB each
	closeFor := func(l Lock) []byte {
		var out bytes.Buffer
		w, err := l.Encrypt(&out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	read := func(l Lock, data []byte) ([]byte, error) {
		r, err := l.Decrypt(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	closed := closeFor(to)
	if got, err := read(from, closed); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	secret, err := passphrase([]byte("a passphrase"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(secret, closeFor(secret)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := Unencrypted().Encrypt(io.Discard); !errors.Is(err, ErrEmptySecret) {
		t.Errorf("in the clear: %v", err)
	}
	other, _, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := Identities(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		lock Lock
		data []byte
		want error
	}{
		"another identity": {wrong, closed, ErrWrongSecret},
		"no identity":      {to, closed, ErrEncrypted},
		"empty":            {from, nil, ErrDamaged},
		"something else":   {from, []byte("AMPKEYS1 and so on, much longer than a header"), ErrDamaged},
	} {
		if _, err := read(c.lock, c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for cut := 0; cut < len(closed); cut += 1 + len(closed)/97 {
		if _, err := read(from, closed[:cut]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	for at := 0; at < len(closed); at += 1 + len(closed)/97 {
		altered := bytes.Clone(closed)
		altered[at] ^= 1
		if _, err := read(from, altered); err == nil {
			t.Fatalf("byte %d was altered", at)
		}
	}
}
