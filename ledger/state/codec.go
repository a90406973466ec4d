package state

import (
	"bytes"
	"crypto"
	"fmt"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/ledger/tlog"
)

// Hash is a SHA-256.
type Hash = tlog.Hash

// limits hold the largest transaction: a trust list by vote.
var limits = cbor.Limits{Depth: 8, Items: 16384, Pairs: 4}

// maxNumber is the largest whole number of the ledger, that of JavaScript: sums
// of two fit 64 bits, so nothing overflows.
const maxNumber = 1<<53 - 1

// Key is a public key with its COSE_Key and thumbprint.
type Key struct {
	Public crypto.PublicKey
	KID    Hash
	cose   string
}

// NewKey makes a Key of an ES256, Ed25519 or ML-DSA-65 key.
func NewKey(pub crypto.PublicKey) (Key, error) {
	encoded, err := cose.AppendKey(nil, pub)
	if err != nil {
		return Key{}, err
	}
	kid, err := cose.Thumbprint(pub)
	return Key{pub, Hash(kid), string(encoded)}, err
}

func parseKey(encoded string) (Key, error) {
	v, err := cbor.ParseString(encoded, limits)
	if err != nil {
		return Key{}, err
	}
	return readKey(v)
}

func readKey(v cbor.Value) (Key, error) {
	pub, err := cose.ReadKey(v)
	if err != nil {
		return Key{}, err
	}
	return NewKey(pub)
}

// reader takes the elements of one array in order, and keeps the first defect.
// What it does not check, such as the shortest form of a head, shows when the
// value is encoded again.
type reader struct {
	items []cbor.Value
	at    int
	err   error
}

func newReader(v cbor.Value) *reader {
	r := &reader{items: make([]cbor.Value, 0, 12)}
	if v.Kind() != cbor.Array {
		r.fail("is "+v.Kind().String(), ErrForm)
	}
	for e := range v.Elements() {
		r.items = append(r.items, e)
	}
	return r
}

// parse reads one array that fills data.
func parse(data string, lim cbor.Limits) (*reader, error) {
	v, err := cbor.ParseString(data, lim)
	if err != nil {
		return nil, err
	}
	return newReader(v), nil
}

func (r *reader) fail(what string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("element %d: %s: %w", r.at, what, err)
	}
}

func (r *reader) next() cbor.Value {
	if r.at >= len(r.items) {
		r.fail("missing", ErrForm)
		return cbor.Value{}
	}
	r.at++
	return r.items[r.at-1]
}

// end refuses elements that nobody asked for.
func (r *reader) end() error {
	if r.err == nil && r.at != len(r.items) {
		r.fail("not expected", ErrForm)
	}
	return r.err
}

func (r *reader) bytes() string {
	b, ok := r.next().ByteString()
	if !ok {
		r.fail("no byte string", ErrForm)
	}
	return b
}

func (r *reader) hash() (h Hash) {
	if b := r.bytes(); len(b) == len(h) {
		copy(h[:], b)
	} else {
		r.fail(fmt.Sprintf("%d bytes", len(b)), ErrForm)
	}
	return h
}

func (r *reader) oid() OID {
	o := OID(r.bytes())
	if err := o.Check(); err != nil {
		r.fail("identifier", err)
	}
	return o
}

// number is a whole number in a range.
func (r *reader) number(least, most uint64) uint64 {
	n, ok := r.next().Int()
	if !ok || n < 0 || uint64(n) < least || uint64(n) > most {
		r.fail("number", ErrRange)
		return least
	}
	return uint64(n)
}

func (r *reader) boolean() bool {
	b, ok := r.next().Bool()
	if !ok {
		r.fail("no truth value", ErrForm)
	}
	return b
}

// code is a text of two or three capital letters: a participant of the trust
// network.
func (r *reader) code() string {
	s, ok := r.next().Text()
	if !ok || len(s) < 2 || len(s) > 3 {
		r.fail("participant", ErrForm)
		return ""
	}
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			r.fail("participant", ErrForm)
			return ""
		}
	}
	return s
}

func (r *reader) key() Key {
	k, err := readKey(r.next())
	if err != nil {
		r.fail("key", err)
	}
	return k
}

// readList reads an array of least to most elements, each by one call.
func readList[T any](r *reader, least, most int, one func(*reader) T) []T {
	in := newReader(r.next())
	if in.err != nil {
		r.fail("list", in.err)
	}
	if n := len(in.items); n < least || n > most {
		r.fail(fmt.Sprintf("%d elements", n), ErrRange)
		return nil
	}
	var out []T
	for range in.items {
		out = append(out, one(in))
	}
	if in.err != nil {
		r.fail("list", in.err)
	}
	return out
}

// inside reads an array within the array.
func inside(r *reader) *reader {
	in := newReader(r.next())
	if in.err != nil {
		r.fail("array", in.err)
	}
	return in
}

func (r *reader) close(in *reader) {
	if err := in.end(); err != nil {
		r.fail("array", err)
	}
}

func appendHash(dst []byte, h Hash) []byte  { return cbor.AppendBytes(dst, h[:]) }
func appendNum(dst []byte, n uint64) []byte { return cbor.AppendInt(dst, int64(n)) }
func appendKey(dst []byte, k Key) []byte    { return append(dst, k.cose...) }
func appendStr(dst []byte, s string) []byte { return append(cbor.AppendBytesHead(dst, len(s)), s...) }
func compareHash(a, b Hash) int             { return bytes.Compare(a[:], b[:]) }
func array(n int) []byte                    { return cbor.AppendArray(nil, n) }

func appendList[T any](dst []byte, all []T, one func([]byte, T) []byte) []byte {
	dst = cbor.AppendArray(dst, len(all))
	for _, e := range all {
		dst = one(dst, e)
	}
	return dst
}

// ascending tells whether a list is sorted and has nothing twice.
func ascending[T any](all []T, compare func(a, b T) int) bool {
	for i := 1; i < len(all); i++ {
		if compare(all[i-1], all[i]) >= 0 {
			return false
		}
	}
	return true
}
