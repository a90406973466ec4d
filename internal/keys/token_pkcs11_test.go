//go:build pkcs11

package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// softHSM is where Debian puts the module.
const softHSM = "/usr/lib/softhsm/libsofthsm2.so"

// newToken makes a token of SoftHSM, and returns the URI of a key on it.
func newToken(t testing.TB) (uri func(object string, id byte) string, pin string) {
	t.Helper()
	if _, err := os.Stat(softHSM); err != nil {
		t.Fatalf("SoftHSM is not here (make deps): %v", err)
	}
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	configuration := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(configuration, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", configuration)
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "specimen", "--pin", "123456", "--so-pin", "1234567").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pin = filepath.Join(dir, "pin")
	if err := os.WriteFile(pin, []byte("123456\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(object string, id byte) string {
		return fmt.Sprintf("pkcs11:token=specimen;object=%s;id=%%%02x?module-path=%s&pin-source=%s", object, id, softHSM, pin)
	}, pin
}

// TestToken: a document signer whose key never leaves the token, from its making to
// what breaks. One test, since a module is opened once in a process.
func TestToken(t *testing.T) {
	uri, pin := newToken(t)
	parsed, err := ParseToken(uri("dsc-1", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenToken(parsed); !errors.Is(err, ErrNoTokenKey) {
		t.Errorf("before it is made: %v", err)
	}
	signer, err := MakeOnToken(parsed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := MakeOnToken(parsed); !errors.Is(err, ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	sca, err := NewSCA(Participant{Country: "XA", Organization: "Specimen", Name: "Specimen SCA"}, planned, nil)
	if err != nil {
		t.Fatal(err)
	}
	made, err := sca.IssueDSC(DSCProfile{Signer: signer}, planned, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dsc.key")
	if err := SaveToken(path, uri("dsc-1", 1), made.Chain); err != nil {
		t.Fatal(err)
	}
	if err := SaveToken(path, uri("dsc-1", 1), made.Chain); !errors.Is(err, ErrExists) {
		t.Errorf("written over: %v", err)
	}
	if err := Save(filepath.Join(t.TempDir(), "copy.key"), made, Unencrypted()); !errors.Is(err, ErrNotExportable) {
		t.Errorf("the private half was written: %v", err)
	}
	k, err := Load(path, Lock{}) // there is nothing to unlock
	if err != nil {
		t.Fatal(err)
	}
	check := func(k *Key) error {
		digest := sha256.Sum256([]byte(time.Now().String()))
		signature, err := k.Signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err == nil && !ecdsa.VerifyASN1(k.Certificate().PublicKey.(*ecdsa.PublicKey), digest[:], signature) {
			err = errors.New("the signature is not good")
		}
		return err
	}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 20 {
				if err := check(k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()

	// A session that is gone is opened anew, whoever comes first.
	onToken := k.Signer.(*token)
	if err := onToken.context.Close(); err != nil {
		t.Fatal(err)
	}
	onToken.key = lost{onToken.key}
	for range 8 {
		wg.Go(func() {
			if err := check(k); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	// What else is wrong.
	other, err := ParseToken(uri("dsc-2", 2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := MakeOnToken(other); err != nil {
		t.Fatal(err)
	}
	swapped := filepath.Join(t.TempDir(), "swapped.key")
	if err := SaveToken(swapped, uri("dsc-2", 2), made.Chain); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(swapped, Lock{}); !errors.Is(err, ErrMismatch) {
		t.Errorf("the certificate of another key: %v", err)
	}
	if err := os.Chmod(pin, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, Lock{}); !errors.Is(err, ErrPermissions) {
		t.Errorf("a PIN that all can read: %v", err)
	}
	if err := os.Chmod(pin, 0o600); err != nil {
		t.Fatal(err)
	}
	away := *parsed
	away.Label = "another"
	if _, err := OpenToken(&away); !errors.Is(err, ErrNoToken) {
		t.Errorf("another token: %v", err)
	}
	away = *parsed
	away.Module = "/usr/lib/no-module.so"
	if _, err := OpenToken(&away); !errors.Is(err, ErrNoToken) {
		t.Errorf("no module: %v", err)
	}
}

// lost is a key whose session is gone.
type lost struct{ crypto11.Signer }

func (lost) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID)
}
