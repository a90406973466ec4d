package hotkeys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"sync"
	"testing"
)

func newKey(t testing.TB) (*ecdsa.PrivateKey, *Key) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return private, k
}

func sign(t testing.TB, private *ecdsa.PrivateKey, digest []byte) []byte {
	t.Helper()
	r, s, err := ecdsa.Sign(rand.Reader, private, digest)
	if err != nil {
		t.Fatal(err)
	}
	return pair(r, s)
}

func pair(r, s *big.Int) []byte {
	rs := make([]byte, 64)
	r.FillBytes(rs[:32])
	s.FillBytes(rs[32:])
	return rs
}

// standard is the answer of the standard library.
func standard(pub *ecdsa.PublicKey, digest, rs []byte) bool {
	return len(rs) == 64 && ecdsa.Verify(pub, digest, new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:]))
}

// TestAgrees: signatures, their twins and their neighbours get the answer of the
// standard library.
func TestAgrees(t *testing.T) {
	for range 8 {
		private, k := newKey(t)
		for n := range 24 {
			digest := sha256.Sum256([]byte{byte(n)})
			good := sign(t, private, digest[:])
			twin := pair(new(big.Int).SetBytes(good[:32]), new(big.Int).Sub(order, new(big.Int).SetBytes(good[32:])))
			if !k.VerifyP256(digest[:], good) || !k.VerifyP256(digest[:], twin) {
				t.Fatal("a genuine signature or its twin is refused")
			}
			for bit := 0; bit < 512; bit += 37 {
				bad := append([]byte(nil), good...)
				bad[bit/8] ^= 1 << (bit % 8)
				if k.VerifyP256(digest[:], bad) != standard(k.Public, digest[:], bad) {
					t.Fatalf("bit %d: not the answer of the standard library", bit)
				}
			}
			other := sha256.Sum256([]byte{byte(n), 1})
			if k.VerifyP256(other[:], good) {
				t.Fatal("a signature over something else is accepted")
			}
		}
	}
}

// TestEdges: the numbers at the ends of their ranges.
func TestEdges(t *testing.T) {
	private, k := newKey(t)
	digest := sha256.Sum256([]byte("edges"))
	good := sign(t, private, digest[:])
	r, s := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])
	one := big.NewInt(1)
	top := new(big.Int).Sub(new(big.Int).Lsh(one, 256), one)
	over := new(big.Int).Add(order, one)
	under := new(big.Int).Sub(order, one)
	numbers := []*big.Int{new(big.Int), one, big.NewInt(2), under, order, over, top, r, s}
	var zero, ones [32]byte
	for i := range ones {
		ones[i] = 0xff
	}
	for _, d := range [][]byte{digest[:], zero[:], ones[:], orderBytes} {
		for _, x := range numbers {
			for _, y := range numbers {
				rs := pair(x, y)
				if got, want := k.VerifyP256(d, rs), standard(k.Public, d, rs); got != want {
					t.Errorf("digest %x, r %x, s %x: %v, the standard library says %v", d[:2], x, y, got, want)
				}
			}
		}
	}
	for _, n := range []int{0, 1, 63, 65, 128} {
		if k.VerifyP256(digest[:], make([]byte, n)) {
			t.Errorf("%d bytes are a signature", n)
		}
	}
	if k.VerifyP256(digest[:31], good) {
		t.Error("a digest of 31 bytes")
	}
}

// TestInfinity: u1·G + u2·Q is the point at infinity for r = -e/d, whatever s is.
func TestInfinity(t *testing.T) {
	private, k := newKey(t)
	digest := sha256.Sum256([]byte("infinity"))
	secret, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r := new(big.Int).ModInverse(new(big.Int).SetBytes(secret), order)
	r.Mul(r, new(big.Int).SetBytes(digest[:])).Neg(r).Mod(r, order)
	for s := int64(1); s < 20; s++ {
		rs := pair(r, big.NewInt(s))
		if k.VerifyP256(digest[:], rs) || standard(k.Public, digest[:], rs) {
			t.Fatal("the point at infinity has an x")
		}
	}
}

// TestDoubling: a key that is the generator or close to it makes the additions
// meet equal and opposite points.
func TestDoubling(t *testing.T) {
	for _, secret := range []int64{1, 2, 3, 63, 64, 65, 4096} {
		d := make([]byte, 32)
		big.NewInt(secret).FillBytes(d)
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewKey(&private.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 16 {
			digest := sha256.Sum256([]byte{byte(n), byte(secret)})
			if !k.VerifyP256(digest[:], sign(t, private, digest[:])) {
				t.Fatalf("the key %d·G refuses its own signature", secret)
			}
		}
	}
}

func TestOtherCurve(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKey(&private.PublicKey); err == nil {
		t.Error("a P-384 key has a table")
	}
	c := NewCache(2)
	for range 2 * warm {
		if c.Public(&private.PublicKey) != crypto.PublicKey(&private.PublicKey) {
			t.Fatal("a P-384 key was replaced")
		}
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if c.Public(&r.PublicKey) != crypto.PublicKey(&r.PublicKey) {
		t.Error("an RSA key was replaced")
	}
}

func TestCache(t *testing.T) {
	var none *Cache
	a, _ := newKey(t)
	if none.Public(&a.PublicKey) != crypto.PublicKey(&a.PublicKey) {
		t.Error("no cache replaced a key")
	}
	c := NewCache(2)
	heat := func(k *ecdsa.PrivateKey) crypto.PublicKey {
		var got crypto.PublicKey
		for range warm + 1 {
			got = c.Public(&k.PublicKey)
		}
		return got
	}
	if c.Public(&a.PublicKey) != crypto.PublicKey(&a.PublicKey) {
		t.Error("a key is hot at its first use")
	}
	hot, ok := heat(a).(*Key)
	if !ok || !hot.Public.Equal(&a.PublicKey) {
		t.Fatal("a key that comes again and again has no table")
	}
	if again := c.Public(&a.PublicKey); again != crypto.PublicKey(hot) {
		t.Error("the table was made again")
	}
	b, _ := newKey(t)
	d, _ := newKey(t)
	heat(b)
	heat(d)
	if got := c.Public(&a.PublicKey); got != crypto.PublicKey(&a.PublicKey) {
		t.Error("three keys in a cache of two")
	}
	if len(c.keys) != 2 || c.used.Len() != 2 {
		t.Errorf("%d and %d entries in a cache of two", len(c.keys), c.used.Len())
	}
}

func TestCacheConcurrently(t *testing.T) {
	c := NewCache(3)
	var keys []*ecdsa.PrivateKey
	for range 5 {
		k, _ := newKey(t)
		keys = append(keys, k)
	}
	digest := sha256.Sum256([]byte("concurrent"))
	var wait sync.WaitGroup
	for w := range 4 {
		wait.Go(func() {
			for n := range 60 {
				k := keys[(n/10+w)%len(keys)]
				if hot, ok := c.Public(&k.PublicKey).(*Key); ok && !hot.Public.Equal(&k.PublicKey) {
					t.Error("another key's table")
				} else if ok && hot.VerifyP256(digest[:], make([]byte, 64)) {
					t.Error("zeros are a signature")
				}
			}
		})
	}
	wait.Wait()
}

// FuzzVerify compares every answer with the standard library's.
func FuzzVerify(f *testing.F) {
	private, k := newKey(f)
	digest := sha256.Sum256([]byte("seed"))
	f.Add(digest[:], sign(f, private, digest[:]))
	f.Add(make([]byte, 32), make([]byte, 64))
	f.Add(orderBytes, append(append([]byte(nil), orderBytes...), orderBytes...))
	f.Fuzz(func(t *testing.T, digest, rs []byte) {
		if len(digest) != 32 {
			sum := sha256.Sum256(digest)
			digest = sum[:]
		}
		if got, want := k.VerifyP256(digest, rs), standard(k.Public, digest, rs); got != want {
			t.Errorf("%x over %x: %v, the standard library says %v", rs, digest, got, want)
		}
		// A genuine signature over the same, with the input as a disturbance.
		good := sign(t, private, digest)
		for i := range rs {
			good[i%64] ^= rs[i]
		}
		if got, want := k.VerifyP256(digest, good), standard(k.Public, digest, good); got != want {
			t.Errorf("%x over %x: %v, the standard library says %v", good, digest, got, want)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	private, k := newKey(b)
	digest := sha256.Sum256([]byte("benchmark"))
	rs := sign(b, private, digest[:])
	b.Run("table", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !k.VerifyP256(digest[:], rs) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("standard", func(b *testing.B) {
		der, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], der) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewKey(&private.PublicKey); err != nil {
				b.Fatal(err)
			}
		}
	})
}
