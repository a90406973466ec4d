package pkix

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"math/big"
	"sync"

	"ampoule/format/der"
)

// Curve is an elliptic curve y² = x³ + ax + b over a prime field that passports
// use: those of NIST, and those of Brainpool (RFC 5639), which the standard
// library does not have.
type Curve struct {
	Name             string
	P, A, B, X, Y, N *big.Int
	oid              string
	std              elliptic.Curve // nil where the standard library has none
}

func (c *Curve) size() int { return (c.P.BitLen() + 7) / 8 }

// curveText holds the Brainpool curves: name, object identifier, p, a, b, the
// base point and its order.
var curveText = [...][8]string{
	{"brainpoolP224r1", "1.3.36.3.3.2.8.1.1.5",
		"d7c134aa264366862a18302575d1d787b09f075797da89f57ec8c0ff",
		"68a5e62ca9ce6c1c299803a6c1530b514e182ad8b0042a59cad29f43",
		"2580f63ccfe44138870713b1a92369e33e2135d266dbb372386c400b",
		"0d9029ad2c7e5cf4340823b2a87dc68c9e4ce3174c1e6efdee12c07d",
		"58aa56f772c0726f24c6b89e4ecdac24354b9e99caa3f6d3761402cd",
		"d7c134aa264366862a18302575d0fb98d116bc4b6ddebca3a5a7939f"},
	{"brainpoolP256r1", "1.3.36.3.3.2.8.1.1.7",
		"a9fb57dba1eea9bc3e660a909d838d726e3bf623d52620282013481d1f6e5377",
		"7d5a0975fc2c3057eef67530417affe7fb8055c126dc5c6ce94a4b44f330b5d9",
		"26dc5c6ce94a4b44f330b5d9bbd77cbf958416295cf7e1ce6bccdc18ff8c07b6",
		"8bd2aeb9cb7e57cb2c4b482ffc81b7afb9de27e1e3bd23c23a4453bd9ace3262",
		"547ef835c3dac4fd97f8461a14611dc9c27745132ded8e545c1d54c72f046997",
		"a9fb57dba1eea9bc3e660a909d838d718c397aa3b561a6f7901e0e82974856a7"},
	{"brainpoolP320r1", "1.3.36.3.3.2.8.1.1.9",
		"d35e472036bc4fb7e13c785ed201e065f98fcfa6f6f40def4f92b9ec7893ec28fcd412b1f1b32e27",
		"3ee30b568fbab0f883ccebd46d3f3bb8a2a73513f5eb79da66190eb085ffa9f492f375a97d860eb4",
		"520883949dfdbc42d3ad198640688a6fe13f41349554b49acc31dccd884539816f5eb4ac8fb1f1a6",
		"43bd7e9afb53d8b85289bcc48ee5bfe6f20137d10a087eb6e7871e2a10a599c710af8d0d39e20611",
		"14fdd05545ec1cc8ab4093247f77275e0743ffed117182eaa9c77877aaac6ac7d35245d1692e8ee1",
		"d35e472036bc4fb7e13c785ed201e065f98fcfa5b68f12a32d482ec7ee8658e98691555b44c59311"},
	{"brainpoolP384r1", "1.3.36.3.3.2.8.1.1.11",
		"8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b412b1da197fb71123acd3a729901d1a71874700133107ec53",
		"7bc382c63d8c150c3c72080ace05afa0c2bea28e4fb22787139165efba91f90f8aa5814a503ad4eb04a8c7dd22ce2826",
		"04a8c7dd22ce28268b39b55416f0447c2fb77de107dcd2a62e880ea53eeb62d57cb4390295dbc9943ab78696fa504c11",
		"1d1c64f068cf45ffa2a63a81b7c13f6b8847a3e77ef14fe3db7fcafe0cbd10e8e826e03436d646aaef87b2e247d4af1e",
		"8abe1d7520f9c2a45cb1eb8e95cfd55262b70b29feec5864e19c054ff99129280e4646217791811142820341263c5315",
		"8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b31f166e6cac0425a7cf3ab6af6b7fc3103b883202e9046565"},
	{"brainpoolP512r1", "1.3.36.3.3.2.8.1.1.13",
		"aadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca703308717d4d9b009bc66842aecda12ae6a380e62881ff2f2d82c68528aa6056583a48f3",
		"7830a3318b603b89e2327145ac234cc594cbdd8d3df91610a83441caea9863bc2ded5d5aa8253aa10a2ef1c98b9ac8b57f1117a72bf2c7b9e7c1ac4d77fc94ca",
		"3df91610a83441caea9863bc2ded5d5aa8253aa10a2ef1c98b9ac8b57f1117a72bf2c7b9e7c1ac4d77fc94cadc083e67984050b75ebae5dd2809bd638016f723",
		"81aee4bdd82ed9645a21322e9c4c6a9385ed9f70b5d916c1b43b62eef4d0098eff3b1f78e2d0d48d50d1687b93b97d5f7c6d5047406a5e688b352209bcb9f822",
		"7dde385d566332ecc0eabfa9cf7822fdf209f70024a57b1aa000c55b881f8111b2dcde494a5f485e5bca4bd88a2763aed1ca2b2fa8f0540678cd1e0f3ad80892",
		"aadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca70330870553e5c414ca92619418661197fac10471db1d381085ddaddb58796829ca90069"},
}

var curves = sync.OnceValue(func() []*Curve {
	number := func(hex string) *big.Int {
		n, ok := new(big.Int).SetString(hex, 16)
		if !ok {
			panic("curve constant " + hex)
		}
		return n
	}
	var all []*Curve
	for _, t := range curveText {
		all = append(all, &Curve{t[0], number(t[2]), number(t[3]), number(t[4]), number(t[5]), number(t[6]), number(t[7]), t[1], nil})
	}
	for _, s := range []struct {
		oid string
		std elliptic.Curve
	}{
		{"1.3.132.0.33", elliptic.P224()},
		{"1.2.840.10045.3.1.7", elliptic.P256()},
		{"1.3.132.0.34", elliptic.P384()},
		{"1.3.132.0.35", elliptic.P521()},
	} {
		p := s.std.Params()
		a := new(big.Int).Sub(p.P, big.NewInt(3)) // of every NIST curve
		all = append(all, &Curve{p.Name, p.P, a, p.B, p.Gx, p.Gy, p.N, s.oid, s.std})
	}
	return all
})

// ECKey is a public key on a curve that the standard library does not have.
type ECKey struct {
	Curve *Curve
	X, Y  *big.Int
}

// Equal reports whether x is the same key.
func (k *ECKey) Equal(x crypto.PublicKey) bool {
	o, ok := x.(*ECKey)
	return ok && k.Curve == o.Curve && k.X.Cmp(o.X) == 0 && k.Y.Cmp(o.Y) == 0
}

// Bytes returns the point uncompressed (SEC 1 section 2.3.3).
func (k *ECKey) Bytes() []byte {
	n := k.Curve.size()
	out := make([]byte, 1+2*n)
	out[0] = 4
	k.X.FillBytes(out[1 : 1+n])
	k.Y.FillBytes(out[1+n:])
	return out
}

// newKey makes the key of a point as certificates write it (SEC 1 section
// 2.3.3). Compressed points are not used by authorities, and are refused.
func (c *Curve) newKey(point []byte) (crypto.PublicKey, error) {
	n := c.size()
	if len(point) != 1+2*n || point[0] != 4 {
		return nil, fmt.Errorf("point on %s: %w", c.Name, ErrPublicKey)
	}
	if c.std != nil {
		k, err := ecdsa.ParseUncompressedPublicKey(c.std, point)
		if err != nil {
			return nil, fmt.Errorf("point on %s: %w", c.Name, ErrPublicKey)
		}
		return k, nil
	}
	x, y := new(big.Int).SetBytes(point[1:1+n]), new(big.Int).SetBytes(point[1+n:])
	if x.Cmp(c.P) >= 0 || y.Cmp(c.P) >= 0 || !c.contains(x, y) {
		return nil, fmt.Errorf("point on %s: %w", c.Name, ErrPublicKey)
	}
	return &ECKey{c, x, y}, nil
}

func (c *Curve) contains(x, y *big.Int) bool {
	// ((x² + a) x + b - y²) mod p = 0
	v := new(big.Int).Mul(x, x)
	v.Mul(v.Add(v, c.A), x)
	v.Sub(v.Add(v, c.B), new(big.Int).Mul(y, y))
	return v.Mod(v, c.P).Sign() == 0
}

// verify checks an ECDSA signature over a digest (SEC 1 section 4.1.4). It
// handles public values only, so its time may depend on them.
func (k *ECKey) verify(digest []byte, r, s *big.Int) bool {
	n := k.Curve.N
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(n) >= 0 || s.Cmp(n) >= 0 {
		return false
	}
	e := new(big.Int).SetBytes(digest)
	if extra := 8*len(digest) - n.BitLen(); extra > 0 {
		e.Rsh(e, uint(extra))
	}
	w := new(big.Int).ModInverse(s, n)
	u := e.Mod(e.Mul(e, w), n)
	v := w.Mod(w.Mul(w, r), n)

	// u·G + v·Q, bit by bit, with G + Q made beforehand (Shamir's trick).
	g, q := k.Curve.affine(k.Curve.X, k.Curve.Y), k.Curve.affine(k.X, k.Y)
	both := k.Curve.add(g, q)
	sum := jacobian{new(big.Int), new(big.Int), new(big.Int)}
	for i := max(u.BitLen(), v.BitLen()) - 1; i >= 0; i-- {
		sum = k.Curve.double(sum)
		switch {
		case u.Bit(i) == 1 && v.Bit(i) == 1:
			sum = k.Curve.add(sum, both)
		case u.Bit(i) == 1:
			sum = k.Curve.add(sum, g)
		case v.Bit(i) == 1:
			sum = k.Curve.add(sum, q)
		}
	}
	if sum.z.Sign() == 0 {
		return false
	}
	// x = X / Z²
	zz := new(big.Int).Mul(sum.z, sum.z)
	x := zz.Mul(sum.x, zz.ModInverse(zz, k.Curve.P))
	x.Mod(x, k.Curve.P)
	return x.Mod(x, n).Cmp(r) == 0
}

// jacobian is the point (x/z², y/z³); z is 0 for the point at infinity.
type jacobian struct{ x, y, z *big.Int }

func (c *Curve) affine(x, y *big.Int) jacobian { return jacobian{x, y, big.NewInt(1)} }

// mul and sub are the arithmetic of the field.
func (c *Curve) mul(a, b *big.Int) *big.Int {
	v := new(big.Int).Mul(a, b)
	return v.Mod(v, c.P)
}

func (c *Curve) sub(a, b *big.Int) *big.Int {
	v := new(big.Int).Sub(a, b)
	return v.Mod(v, c.P)
}

// double is 2·p (dbl-2007-bl of the Explicit-Formulas Database, for any a).
func (c *Curve) double(p jacobian) jacobian {
	if p.z.Sign() == 0 || p.y.Sign() == 0 {
		return jacobian{new(big.Int), new(big.Int), new(big.Int)}
	}
	xx, yy := c.mul(p.x, p.x), c.mul(p.y, p.y)
	zz := c.mul(p.z, p.z)
	s := c.mul(big.NewInt(4), c.mul(p.x, yy))
	m := c.mul(big.NewInt(3), xx)
	m.Add(m, c.mul(c.A, c.mul(zz, zz)))
	x := c.sub(c.mul(m, m), new(big.Int).Lsh(s, 1))
	y := c.sub(c.mul(m, c.sub(s, x)), c.mul(big.NewInt(8), c.mul(yy, yy)))
	z := c.mul(big.NewInt(2), c.mul(p.y, p.z))
	return jacobian{x, y, z}
}

// add is p + q (add-2007-bl without its shortcuts).
func (c *Curve) add(p, q jacobian) jacobian {
	switch {
	case p.z.Sign() == 0:
		return q
	case q.z.Sign() == 0:
		return p
	}
	pzz, qzz := c.mul(p.z, p.z), c.mul(q.z, q.z)
	u1, u2 := c.mul(p.x, qzz), c.mul(q.x, pzz)
	s1, s2 := c.mul(p.y, c.mul(q.z, qzz)), c.mul(q.y, c.mul(p.z, pzz))
	h, r := c.sub(u2, u1), c.sub(s2, s1)
	if h.Sign() == 0 {
		if r.Sign() == 0 {
			return c.double(p)
		}
		return jacobian{new(big.Int), new(big.Int), new(big.Int)}
	}
	hh := c.mul(h, h)
	hhh, v := c.mul(h, hh), c.mul(u1, hh)
	x := c.sub(c.sub(c.mul(r, r), hhh), new(big.Int).Lsh(v, 1))
	y := c.sub(c.mul(r, c.sub(v, x)), c.mul(s1, hhh))
	return jacobian{x, y, c.mul(h, c.mul(p.z, q.z))}
}

// readCurve finds the curve of a key: by its name, or by parameters spelt out
// that are those of a curve with a name (X9.62 ECParameters). Others are
// refused: whoever may choose a curve can choose one that he knows how to
// forge on.
func readCurve(parameters der.Element) (c *Curve, explicit bool, err error) {
	if parameters.Tag == der.TagOID {
		oid, _ := der.DecodeOID(parameters.Body)
		for _, c := range curves() {
			if c.oid == oid {
				return c, false, nil
			}
		}
		return nil, false, fmt.Errorf("curve %s: %w", oid, ErrPublicKey)
	}
	if parameters.Tag != der.TagSequence {
		return nil, false, fmt.Errorf("curve parameters: %w", ErrPublicKey)
	}
	r := parameters.Inside()
	r.Take(der.TagInteger, "version")
	field := r.Sequence("fieldID")
	kind := field.OID("fieldType")
	p := field.Take(der.TagInteger, "prime").Body
	curve := r.Sequence("curve")
	a := curve.Take(der.TagOctetString, "a").Body
	b := curve.Take(der.TagOctetString, "b").Body
	curve.Optional(der.TagBitString) // the seed, which proves how the curve was chosen
	curve.End("curve")
	base := r.Take(der.TagOctetString, "base").Body
	order := r.Take(der.TagInteger, "order").Body
	cofactor, hasCofactor := r.Optional(der.TagInteger)
	if err := der.First(r, field, curve).Err; err != nil {
		return nil, true, err
	}
	one := new(big.Int).SetBytes(cofactor.Body)
	for _, c := range curves() {
		n := c.size()
		same := func(body []byte, v *big.Int) bool {
			return len(body) <= n+1 && new(big.Int).SetBytes(body).Cmp(v) == 0
		}
		if kind != "1.2.840.10045.1.1" || !same(p, c.P) || !same(a, c.A) || !same(b, c.B) || !same(order, c.N) ||
			hasCofactor && (len(cofactor.Body) != 1 || one.Cmp(big.NewInt(1)) != 0) {
			continue
		}
		g := (&ECKey{c, c.X, c.Y}).Bytes()
		compressed := append([]byte{2 + byte(c.Y.Bit(0))}, g[1:1+n]...)
		if bytes.Equal(base, g) || bytes.Equal(base, compressed) {
			return c, true, nil
		}
	}
	return nil, true, fmt.Errorf("parameters of no named curve: %w", ErrPublicKey)
}
