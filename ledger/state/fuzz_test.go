package state

import (
	"bytes"
	"crypto/rand"
	"testing"

	"ampoule/format/cbor"
	"ampoule/format/oid"
)

// examples are an encoded payload of each kind, and a few more of proposals.
func examples() map[string][]byte {
	out := map[string][]byte{}
	for _, a := range attempts() {
		if a.body == nil || a.want != nil {
			continue
		}
		tx := &Tx{Chain: hash("chain"), Actor: a.actor, Seq: 1, ValidUntil: 10, Body: a.body}
		out[a.name] = tx.Payload()
	}
	vote := &Tx{Chain: hash("chain"), Actor: member0(), Seq: 1, ValidUntil: 10, Body: &Vote{hash("p"), true}}
	out["gov.vote"] = vote.Payload()
	return out
}

// FuzzTx: whatever is read is written as the same bytes, and the machine has an
// answer to it that leaves it whole.
func FuzzTx(f *testing.F) {
	k := ready(f)
	for _, a := range attempts() {
		if a.body != nil {
			data, err := k.tx(a.actor, a.body).Sign(rand.Reader, a.signers...)
			if err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tx, err := ParseTx(data)
		if err == nil && !bytes.Equal(tx.Payload(), []byte(tx.payload)) {
			t.Fatal("another encoding")
		}
		k.s.Mempool().CheckTx(data)
	})
}

// FuzzPayload goes past the signatures: every kind, with the effect that it has.
func FuzzPayload(f *testing.F) {
	for _, data := range examples() {
		f.Add(data)
	}
	s, err := Restore(populatedSnapshot())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tx := &Tx{payload: string(data)}
		if tx.readPayload() != nil {
			return
		}
		x := s.Mempool().x
		x.t, x.tx, x.params = newTable(s.rows), tx, s.Params()
		var err error
		if x.actor, err = x.inForce(tx.Actor); err != nil {
			x.actor = actor{member: tx.Actor, scope: maxScope, voting: true, own: true}
		}
		x.other = x.actor
		if tx.Body.apply(x) != nil {
			return
		}
		for _, c := range x.t.changes() {
			if c.Row != nil {
				if err := checkRow(c.Key, string(c.Row)); err != nil {
					t.Fatalf("row %q: %v", c.Key, err)
				}
			}
		}
	})
}

func FuzzGenesis(f *testing.F) {
	f.Add(genesis(2, 1).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := New(data); err == nil {
			if _, err := Restore(s.Snapshot()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	f.Add(populatedSnapshot())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Restore(data)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Snapshot(), data) {
			t.Fatal("another encoding")
		}
		s.Mempool().CheckTx(nil)
		if _, err := s.Apply(&Block{Height: s.Height() + 1, Time: s.Time()}); err == nil && s.LogSize() == 0 {
			t.Fatal("an empty log")
		}
	})
}

func FuzzBlock(f *testing.F) {
	f.Add((&Block{Height: 1, Time: start, Txs: [][]byte{{1}, {2, 3}}, Evidence: []OID{member0()}}).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := ParseBlock(data); err == nil && !bytes.Equal(b.Encode(), data) {
			t.Fatal("another encoding")
		}
	})
}

// TestNothingPersonal walks every example: what is not a kind, a code of a
// country or a truth value is a number, an identifier of 40 octets at most, a
// digest of 32 bytes, or a key; or a statement, of which that is true as well, with
// signatures of its keys. There is no room for a name.
func TestNothingPersonal(t *testing.T) {
	seen := 0
	for name, payload := range examples() {
		v, err := cbor.Parse(payload, limits)
		if err != nil {
			t.Fatal(err)
		}
		var walk func(v cbor.Value)
		walk = func(v cbor.Value) {
			seen++
			switch v.Kind() {
			case cbor.Array:
				for e := range v.Elements() {
					walk(e)
				}
			case cbor.Map: // only a key, and only as its thumbprint has it
				if _, err := readKey(v); err != nil {
					t.Errorf("%s: a map that is no key: %v", name, err)
				}
			case cbor.Bytes:
				b, _ := v.Bytes()
				if s, err := openStatement(b); err == nil {
					inner, err := cbor.ParseString(s.message.Payload, limits)
					if err != nil || s.verify() != nil {
						t.Errorf("%s: a statement that its keys have not signed", name)
					}
					walk(inner)
					return
				}
				if len(b) > oid.MaxOctets && len(b) != 1952 {
					t.Errorf("%s: %d bytes", name, len(b))
				}
				if len(b) != 32 && len(b) != 1952 && OID(b).Check() != nil {
					t.Errorf("%s: %x is neither digest nor identifier", name, b)
				}
			case cbor.Text:
				s, _ := v.Text()
				if _, ok := kinds[Kind(s)]; !ok && len(s) > 3 && s != statementName {
					t.Errorf("%s: text %q", name, s)
				}
			case cbor.Uint, cbor.Bool:
			default:
				t.Errorf("%s: %s", name, v.Kind())
			}
		}
		walk(v)
	}
	if seen < 500 {
		t.Fatalf("only %d values were seen", seen)
	}
}

// TestNoRoomForText puts text, and bytes of other lengths, in the place of each
// value of each kind. Only the text of a kind and a country's code may be read.
func TestNoRoomForText(t *testing.T) {
	tried := 0
	for name, payload := range examples() {
		v, err := cbor.Parse(payload, limits)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range [][]byte{
			cbor.AppendText(nil, "SPECIMEN DEMO"), cbor.AppendBytes(nil, []byte("SPECIMEN DEMO, born 1 January 1970, of no place at all")),
			cbor.AppendNull(nil), {0xf9, 0x3c, 0}, {0x20},
		} {
			replaced(v, other, func(changed []byte) {
				tried++
				if (&Tx{payload: string(changed)}).readPayload() == nil {
					t.Errorf("%s: taken with %x in it", name, other)
				}
			})
		}
	}
	if tried < 2000 {
		t.Fatalf("only %d were tried", tried)
	}
}

// replaced yields the encoding of v with each of its leaves in turn replaced.
func replaced(v cbor.Value, other []byte, yield func([]byte)) {
	if v.Kind() != cbor.Array || v.Len() == 0 {
		yield(other)
		return
	}
	var elements [][]byte
	for e := range v.Elements() {
		elements = append(elements, e.Encoded())
	}
	i := 0
	for e := range v.Elements() {
		replaced(e, other, func(changed []byte) {
			b := cbor.AppendArray(nil, len(elements))
			for j, old := range elements {
				if j == i {
					old = changed
				}
				b = append(b, old...)
			}
			yield(b)
		})
		i++
	}
}
