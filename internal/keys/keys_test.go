package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"

	"ampoule/format"
)

var (
	now      = time.Date(2026, 3, 1, 12, 0, 0, 123, time.UTC)
	ministry = Participant{Country: "XA", Organization: "Ministry of Health", Name: "XA SCA"}
)

// cheap is a passphrase lock that takes no second to try.
func cheap(t testing.TB, secret string) Lock {
	t.Helper()
	l, err := passphrase([]byte(secret), 4)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newSCA(t testing.TB) *SCA {
	t.Helper()
	s, err := NewSCA(ministry, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newDSC(t testing.TB) *Key {
	t.Helper()
	k, err := newSCA(t).IssueDSC(DSCProfile{}, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// same tells whether two keys are equal and the second one really signs.
func same(t *testing.T, want, got *Key) {
	t.Helper()
	if got == nil {
		t.Fatal("no key")
	}
	if p := want.Signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !p.Equal(got.Signer.Public()) {
		t.Error("another key came back")
	}
	raw := func(k *Key) (all [][]byte) {
		for _, c := range k.Chain {
			all = append(all, c.Raw)
		}
		return all
	}
	if d := cmp.Diff(raw(want), raw(got)); d != "" {
		t.Errorf("chain (-want +got):\n%s", d)
	}
	digest := sha256.Sum256([]byte("message"))
	if c := want.Certificate(); c != nil {
		opts := crypto.SignerOpts(crypto.SHA256)
		message, algorithm := digest[:], x509.ECDSAWithSHA256
		switch c.PublicKey.(type) {
		case *rsa.PublicKey:
			algorithm = x509.SHA256WithRSA
		}
		signature, err := got.Signer.Sign(rand.Reader, message, opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckSignature(algorithm, []byte("message"), signature); err != nil {
			t.Error(err)
		}
	}
}

func TestSaveLoad(t *testing.T) {
	sca := newSCA(t)
	rsaKey, err := sca.IssueDSC(DSCProfile{Algorithm: PS256}, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identities, err := Identities([]byte("# made for a test\n" + identity.String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := Recipients([]byte(identity.Recipient().String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name         string
		key          *Key
		close, open  Lock
		start        string
		certificates int
	}{
		{"passphrase", newDSC(t), cheap(t, "s3cret"), cheap(t, "s3cret"), ageMagic, 2},
		{"passphrase, armored", newDSC(t), cheap(t, "s3cret").Armored(), cheap(t, "s3cret"), armor.Header, 2},
		{"identity", newDSC(t), identities, identities, ageMagic, 2},
		{"recipient, armored", newDSC(t), recipients.Armored(), identities, armor.Header, 2},
		{"RSA", rsaKey, cheap(t, "s3cret"), cheap(t, "s3cret"), ageMagic, 2},
		{"authority", sca.Key, cheap(t, "s3cret"), cheap(t, "s3cret"), ageMagic, 1},
		{"Ed25519, no certificate yet", &Key{Signer: ed}, identities, identities, ageMagic, 0},
		{"in the clear", newDSC(t), Unencrypted(), Unencrypted(), "-----BEGIN PRIVATE KEY-----", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dsc.key")
			if err := Save(path, test.key, test.close); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(data), test.start) {
				t.Errorf("the file starts with %.40q, want %q", data, test.start)
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
			}
			if left, err := Leftovers(filepath.Dir(path)); err != nil || len(left) > 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
			got, err := Load(path, test.open)
			if err != nil {
				t.Fatal(err)
			}
			same(t, test.key, got)
			if len(got.Chain) != test.certificates {
				t.Errorf("%d certificates, want %d", len(got.Chain), test.certificates)
			}
		})
	}
}

// The passphrase lock that callers get works at full cost, once.
func TestPassphraseFullCost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	lock, err := Passphrase([]byte("s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dsc.key")
	key := newDSC(t)
	if err := Save(path, key, lock); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(data[:200], []byte(" 18\n")) {
		t.Errorf("no work factor of 18 in %.200q (%v)", data, err)
	}
	got, err := Load(path, lock)
	if err != nil {
		t.Fatal(err)
	}
	same(t, key, got)
}

func TestEmptySecret(t *testing.T) {
	if _, err := Passphrase(nil); !errors.Is(err, ErrEmptySecret) {
		t.Errorf("empty passphrase: %v", err)
	}
	if _, err := Identities([]byte("AGE-SECRET-KEY-1NONSENSE\n")); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "NONSENSE") {
		t.Errorf("bad identity: %v, want %v without the line", err, ErrDamaged)
	}
	if _, err := Recipients([]byte("age1nonsense\n")); !errors.Is(err, ErrDamaged) {
		t.Errorf("bad recipient: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	key := newDSC(t)
	lock := cheap(t, "s3cret")
	plain, err := marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	seal := func(content []byte, l Lock) []byte {
		data, err := seal(content, l)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	sealed, text := seal(plain, lock), seal(plain, lock.Armored())
	flip := func(data []byte, at int) []byte {
		data = bytes.Clone(data)
		data[(at+len(data))%len(data)] ^= 1
		return data
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identities, err := Identities([]byte(identity.String()))
	if err != nil {
		t.Fatal(err)
	}
	// A header that asks for 2^19. The number is changed afterwards: reading it
	// must fail before any work, so nobody need do the work here either.
	ten, err := passphrase([]byte("s3cret"), 10)
	if err != nil {
		t.Fatal(err)
	}
	hard := bytes.Replace(seal(plain, ten), []byte(" 10\n"), []byte(" 19\n"), 1)
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8 := func(private any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return block(privateBlock, der)
	}
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := newDSC(t)
	private, _ := pem.Decode(plain)
	leaf, authority := block(certificateBlock, key.Chain[0].Raw), block(certificateBlock, key.Chain[1].Raw)
	onlyKey := block(privateBlock, private.Bytes)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

	for _, test := range []struct {
		name string
		data []byte
		lock Lock
		want error
	}{
		{"wrong passphrase", sealed, cheap(t, "S3cret"), ErrWrongSecret},
		{"wrong passphrase, armored", text, cheap(t, "S3cret"), ErrWrongSecret},
		{"identity for a passphrase file", sealed, identities, ErrWrongSecret},
		{"passphrase for an identity file", seal(plain, identities), lock, ErrWrongSecret},
		{"nothing to open it with", sealed, Lock{}, ErrEncrypted},
		{"only the recipient's side", sealed, Unencrypted(), ErrEncrypted},
		{"more work than allowed", hard, lock, ErrDamaged},
		{"empty", nil, lock, ErrDamaged},
		{"other text", []byte("hello"), lock, ErrDamaged},
		{"header cut off", sealed[:60], lock, ErrDamaged},
		{"one byte cut off", sealed[:len(sealed)-1], lock, ErrDamaged},
		{"half", sealed[:len(sealed)/2], lock, ErrDamaged},
		{"half, armored", text[:len(text)/2], lock, ErrDamaged},
		{"no payload", sealed[:bytes.Index(sealed, []byte("\n---"))+50], lock, ErrDamaged},
		{"payload altered", flip(sealed, -20), lock, ErrDamaged},
		{"payload altered in the middle", flip(sealed, 3*len(sealed)/4), lock, ErrDamaged},
		{"header authentication altered", flip(sealed, bytes.Index(sealed, []byte("\n---"))+8), lock, ErrDamaged},
		{"something behind it", append(bytes.Clone(sealed), 'x'), lock, ErrDamaged},
		{"something behind the armor", append(bytes.Clone(text), 'x'), lock, ErrDamaged},
		{"in the clear, not allowed", plain, lock, ErrNotEncrypted},
		{"too large", append(bytes.Clone(sealed), make([]byte, MaxFile)...), lock, ErrTooLarge},

		{"inside: nothing", seal(nil, lock), lock, ErrDamaged},
		{"inside: only certificates", seal(leaf, lock), lock, ErrDamaged},
		{"inside: two keys", seal(join(onlyKey, onlyKey), lock), lock, ErrDamaged},
		{"inside: certificate before the key", seal(join(leaf, onlyKey), lock), lock, ErrDamaged},
		{"inside: text before the key", seal(join([]byte("note\n"), plain), lock), lock, ErrDamaged},
		{"inside: text after", seal(join(plain, []byte("note\n")), lock), lock, ErrDamaged},
		{"inside: another block", seal(join(plain, block("EC PARAMETERS", []byte{5, 0})), lock), lock, ErrDamaged},
		{"inside: damaged key", seal(block(privateBlock, private.Bytes[:20]), lock), lock, ErrDamaged},
		{"inside: damaged certificate", seal(join(onlyKey, block(certificateBlock, []byte{1})), lock), lock, ErrDamaged},
		{"inside: another key's certificate", seal(join(onlyKey, block(certificateBlock, other.Chain[0].Raw)), lock), lock, ErrMismatch},
		{"inside: another authority", seal(join(onlyKey, leaf, block(certificateBlock, other.Chain[1].Raw)), lock), lock, ErrMismatch},
		{"inside: the chain backwards", seal(join(onlyKey, authority, leaf), lock), lock, ErrMismatch},
		{"inside: P-224", seal(pkcs8(small), lock), lock, ErrKeyType},
		{"inside: X25519", seal(pkcs8(x25519), lock), lock, ErrKeyType},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k")
			if err := os.WriteFile(path, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			k, err := Load(path, test.lock)
			if !errors.Is(err, test.want) || k != nil {
				t.Fatalf("got %v, %v; want %v", k, err, test.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Error("the passphrase is in the message")
			}
		})
	}
}

func TestLoadPermissions(t *testing.T) {
	dir := t.TempDir()
	lock := cheap(t, "s3cret")
	path := filepath.Join(dir, "k")
	if err := Save(path, newDSC(t), lock); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o666, 0o700, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, lock)
		if !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %#o: %v, want %v and a hint", mode, err, ErrPermissions)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, lock); err != nil {
		t.Errorf("mode 0400 is narrower: %v", err)
	}
	if _, err := Load(dir, lock); err == nil {
		t.Error("a folder was loaded")
	}
	if _, err := Load(filepath.Join(dir, "absent"), lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// remote is a signer whose private part is elsewhere, like one in hardware.
type remote struct{ crypto.Signer }

func (r remote) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return r.Signer.Sign(random, digest, opts)
}

func TestSaveRefuses(t *testing.T) {
	key, lock := newDSC(t), cheap(t, "s3cret")
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		key  *Key
		lock Lock
		want error
	}{
		{"no lock", key, Lock{}, ErrEmptySecret},
		{"no key", nil, lock, ErrKeyType},
		{"no signer", &Key{Chain: key.Chain}, lock, ErrKeyType},
		{"weak key", &Key{Signer: small}, lock, ErrKeyType},
		{"in hardware", &Key{Signer: remote{key.Signer}, Chain: key.Chain}, lock, ErrNotExportable},
		{"another key's certificate", &Key{Signer: key.Signer, Chain: newDSC(t).Chain}, lock, ErrMismatch},
		{"chain with a gap", &Key{Signer: key.Signer, Chain: []*x509.Certificate{key.Chain[0], key.Chain[0]}}, lock, ErrMismatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := Save(filepath.Join(dir, "k"), test.key, test.lock); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("%v left behind (%v)", entries, err)
			}
		})
	}
}

func TestSaveNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), dangling); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, dangling} {
		if err := Save(p, newDSC(t), cheap(t, "s3cret")); !errors.Is(err, ErrExists) {
			t.Errorf("Save(%s): %v, want %v", p, err, ErrExists)
		}
		// The same where the file appears after the first look.
		if err := writeFile(p, []byte("new")); !errors.Is(err, ErrExists) {
			t.Errorf("writeFile(%s): %v, want %v", p, err, ErrExists)
		}
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("the file holds %q now (%v)", data, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link was followed (%v)", err)
	}
	if left, err := Leftovers(dir); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if err := Save(filepath.Join(dir, "no", "folder", "k"), newDSC(t), cheap(t, "s3cret")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// A process that is killed while it saves leaves whole key files and temporary
// ones, nothing between.
func TestSaveKilled(t *testing.T) {
	const variable = "AMPOULE_TEST_SAVE_INTO"
	if dir := os.Getenv(variable); dir != "" {
		key := newDSC(t)
		for i := 0; ; i++ {
			if err := Save(filepath.Join(dir, hex.EncodeToString([]byte{byte(i >> 8), byte(i)})+".key"), key, cheap(t, "s3cret")); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	for i := range 4 {
		folder := filepath.Join(dir, string(rune('a'+i)))
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		child := exec.Command(os.Args[0], "-test.run=^TestSaveKilled$")
		child.Env = append(os.Environ(), variable+"="+folder)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// Once it is at work, kill it a different while later each time.
		for range 1000 {
			if m, err := filepath.Glob(filepath.Join(folder, "*.key")); err == nil && len(m) > 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Duration(7*i) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		saved, err := filepath.Glob(filepath.Join(folder, "*.key"))
		if err != nil || len(saved) == 0 {
			t.Fatalf("nothing was saved (%v)", err)
		}
		for _, path := range saved {
			if _, err := Load(path, cheap(t, "s3cret")); err != nil {
				t.Error(err)
			}
		}
		left, err := Leftovers(folder)
		if err != nil || len(left) > 1 {
			t.Errorf("left over: %v, %v", left, err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil || len(entries) != len(saved)+len(left) {
			t.Errorf("%d files, %d of them saved and %d left over (%v)", len(entries), len(saved), len(left), err)
		}
	}
}

func TestKID(t *testing.T) {
	key := newDSC(t)
	sum := sha256.Sum256(key.Chain[0].Raw)
	if got := key.KID(); !bytes.Equal(got, sum[:8]) || len(got) != 8 {
		t.Errorf("got %x, want %x", got, sum[:8])
	}
	if got := (&Key{Signer: key.Signer}).KID(); got != nil {
		t.Errorf("a key without a certificate has the KID %x", got)
	}
}

func FuzzOpen(f *testing.F) {
	key := newDSC(f)
	plain, err := marshal(key)
	if err != nil {
		f.Fatal(err)
	}
	lock, err := passphrase([]byte("s3cret"), 1)
	if err != nil {
		f.Fatal(err)
	}
	for _, l := range []Lock{lock, lock.Armored(), Unencrypted()} {
		data, err := seal(plain, l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n"))
	// A file of the fuzzer's may ask for the most work allowed; keep that low.
	identity, err := age.NewScryptIdentity("s3cret")
	if err != nil {
		f.Fatal(err)
	}
	identity.SetMaxWorkFactor(4)
	lock.identities = []age.Identity{identity}
	lock.plain = true
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := open(bytes.Clone(data), lock)
		if err != nil {
			if k != nil || format.Reason(err, "") == "" {
				t.Fatalf("got %v, %v", k, err)
			}
			return
		}
		// What was accepted can be written and read back.
		again, err := marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parse(again); err != nil {
			t.Fatal(err)
		} else if !bytes.Equal(got.KID(), k.KID()) {
			t.Errorf("KID %x became %x", k.KID(), got.KID())
		}
	})
}
