// Package hotkeys verifies ECDSA signatures under P-256 keys that come again and
// again. A verifier sees few issuers and each of them thousands of times, so the
// multiples of an issuer's public key are computed once, and the expensive half
// of a verification becomes a walk through a table.
//
// The answer is always that of crypto/ecdsa: the same checks of r and s, the same
// equation (FIPS 186-5 section 6.4.2). Everything in a verification is public, so
// nothing here has to run in constant time, and nothing here must ever be used
// with a secret.
package hotkeys

import (
	"bytes"
	"container/list"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"math/big"
	"sync"

	"filippo.io/nistec"
)

// The table has a row for each window of the scalar and in it the multiples that
// the window can ask for. Six bits balance the size of the table (260 KB) and
// the additions of a verification (43).
const (
	window  = 6
	rows    = (256 + window - 1) / window
	columns = 1<<window - 1
)

// TableSize is what the table of one key takes, in bytes.
const TableSize = rows * columns * 96

// Key is a public key with its table. It is used wherever a public key is: it
// has the method that format/cose asks for.
type Key struct {
	Public *ecdsa.PublicKey
	table  [rows][columns]nistec.P256Point
}

// NewKey computes the table of a P-256 key, in some two milliseconds.
func NewKey(pub *ecdsa.PublicKey) (*Key, error) {
	if pub.Curve != elliptic.P256() {
		return nil, fmt.Errorf("hotkeys: a key on %s", pub.Curve.Params().Name)
	}
	encoded, err := pub.Bytes() // refuses what is not on the curve
	if err != nil {
		return nil, fmt.Errorf("hotkeys: %w", err)
	}
	base, err := nistec.NewP256Point().SetBytes(encoded)
	if err != nil {
		return nil, fmt.Errorf("hotkeys: %w", err)
	}
	k := &Key{Public: pub}
	for i := range k.table {
		row := &k.table[i]
		row[0].Set(base)
		for j := 1; j < columns; j++ {
			row[j].Add(&row[j-1], base)
		}
		base.Add(&row[columns-1], base) // 64 times the base
	}
	return k, nil
}

var (
	order      = elliptic.P256().Params().N
	orderBytes = order.Bytes()
)

// VerifyP256 checks the signature r || s of 32 bytes each over a digest of 32
// bytes.
func (k *Key) VerifyP256(digest, rs []byte) bool {
	if len(digest) != 32 || len(rs) != 64 {
		return false
	}
	r, s := rs[:32], rs[32:]
	if !inOrder(r) || !inOrder(s) {
		return false
	}
	var e, w, u big.Int
	w.ModInverse(w.SetBytes(s), order)
	var u1, u2 [32]byte
	u.Mod(u.Mul(e.SetBytes(digest), &w), order).FillBytes(u1[:])
	u.Mod(u.Mul(e.SetBytes(r), &w), order).FillBytes(u2[:])

	sum, err := nistec.NewP256Point().ScalarBaseMult(u1[:])
	if err != nil {
		return false
	}
	for i := range k.table {
		if d := digit(&u2, i); d != 0 {
			sum.Add(sum, &k.table[i][d-1])
		}
	}
	x, err := sum.BytesX() // fails for the point at infinity
	if err != nil {
		return false
	}
	// x is below the field's prime, which is above the order: x mod n is x or x-n.
	if bytes.Compare(x, orderBytes) >= 0 {
		new(big.Int).Sub(new(big.Int).SetBytes(x), order).FillBytes(x)
	}
	return bytes.Equal(x, r)
}

// inOrder reports whether n is from 1 to the order less 1.
func inOrder(n []byte) bool {
	var zero [32]byte
	return bytes.Compare(n, orderBytes) < 0 && !bytes.Equal(n, zero[:])
}

// digit returns window i of a scalar, counted from the least significant bit.
func digit(scalar *[32]byte, i int) int {
	bit := i * window
	at := 31 - bit/8
	v := int(scalar[at])
	if at > 0 {
		v |= int(scalar[at-1]) << 8
	}
	return v >> (bit % 8) & columns
}

// Cache makes tables for the keys that are used most. It is safe for concurrent
// use. A nil Cache makes none.
type Cache struct {
	max  int
	mu   sync.Mutex
	keys map[*ecdsa.PublicKey]*list.Element // of *entry
	used list.List                          // the latest first
}

// entry is a key on its way to a table: it gets one when it keeps coming back.
type entry struct {
	public *ecdsa.PublicKey
	seen   int
	key    *Key
}

// warm is the number of uses at which a table pays: a table costs as much time as
// some forty verifications save.
const warm = 8

// NewCache holds the tables of at most max keys, of [TableSize] bytes each.
func NewCache(max int) *Cache {
	return &Cache{max: max, keys: make(map[*ecdsa.PublicKey]*list.Element)}
}

// Public returns the key to verify with: pub itself, or its table where the key
// is a hot one. The two give the same answer. A key is known by its pointer, so
// pub must not be changed afterwards.
func (c *Cache) Public(pub crypto.PublicKey) crypto.PublicKey {
	p, ok := pub.(*ecdsa.PublicKey)
	if c == nil || c.max < 1 || !ok || p.Curve != elliptic.P256() {
		return pub
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := c.keys[p]
	if !known {
		c.keys[p] = c.used.PushFront(&entry{public: p})
		if c.used.Len() > c.max {
			delete(c.keys, c.used.Remove(c.used.Back()).(*entry).public)
		}
		return pub
	}
	c.used.MoveToFront(at)
	e := at.Value.(*entry)
	if e.key == nil {
		if e.seen++; e.seen < warm {
			return pub
		}
		var err error
		if e.key, err = NewKey(p); err != nil { // under the lock: the others would build the same
			e.key, e.seen = nil, 0
			return pub
		}
	}
	return e.key
}
