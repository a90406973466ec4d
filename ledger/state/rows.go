package state

import (
	"fmt"
	"slices"

	"ampoule/format/cbor"
	"ampoule/ledger/tlog"
)

// The rows of the registry, by the first letter of their keys:
//
//	m/ <oid>            a member; "m/" alone: all of them, sorted
//	v/ <oid>            the validator of a member; "v/" alone: all of them, sorted
//	i/ <oid>            an issuer, verifier or witness
//	d/ <oid>            a device
//	k/ <kid>            a key, with the heights from and until which it counts
//	b/ <oid>            the last batch of an issuer
//	s/ <oid> <list>     the last anchor of a list of an issuer
//	a/ <hash>           an agreement
//	g/ <id>             a proposal with its votes; "g/" alone: the open ones, sorted
//	p/ <name>           parameters, trust list, version, upgrade to come
//	c/ <oid>            a contract; "c/" alone: the active ones, sorted
//	x/ <oid>            a foreign ledger with the last anchors
//	n/ <oid>            the last sequence number of an actor
//	q/ <oid>            what a member has used of its window
//	q/ 80 <contract> <actor>   what an actor has used of the window of a contract
//	l/                  height, time and end of the log
//
// Identifiers are the octets of an OID, of which none begins with 80.

// row is a value of the table.
type row interface {
	append(dst []byte) []byte
	read(r *reader)
}

// load reads a row and tells whether it is there. A row that is there and cannot
// be read is not of this program's making.
func load(t *table, key string, v row) bool {
	data, ok := t.get(key)
	if !ok {
		return false
	}
	r, err := parse(data, limits)
	if err == nil {
		v.read(r)
		err = r.end()
	}
	if err != nil {
		panic(fmt.Sprintf("ledger state: row %q: %v", key, err))
	}
	return true
}

func save(t *table, key string, v row) { t.put(key, v.append(nil)) }

// checkRow tells whether a row from outside can be read back, and is as this
// program writes it.
func checkRow(key, data string) error {
	v, err := rowFor(key)
	if err != nil {
		return err
	}
	r, err := parse(data, limits)
	if err != nil {
		return err
	}
	v.read(r)
	if err := r.end(); err != nil {
		return err
	}
	if string(v.append(nil)) != data {
		return ErrNotDeterministic
	}
	return nil
}

func rowFor(key string) (row, error) {
	if len(key) < 2 || key[1] != '/' {
		return nil, ErrSnapshot
	}
	rest := key[2:]
	switch key[0] {
	case 'm', 'v', 'g', 'c':
		if rest == "" {
			return new(names), nil
		}
	}
	switch key[0] {
	case 'm':
		return new(member), nil
	case 'v':
		return new(Validator), nil
	case 'i', 'd':
		return new(entry), nil
	case 'k':
		return new(keyRow), nil
	case 'b':
		return new(batchHead), nil
	case 's':
		return new(listHead), nil
	case 'a':
		return new(agreement), nil
	case 'g':
		return new(proposal), nil
	case 'c':
		return new(contract), nil
	case 'x':
		return new(foreign), nil
	case 'n':
		return new(number), nil
	case 'q':
		return new(usage), nil
	case 'l':
		return new(head), nil
	case 'p':
		switch {
		case rest == "params":
			return new(paramsRow), nil
		case rest == "upgrade":
			return new(Upgrade), nil
		case rest == "version":
			return new(number), nil
		case rest == "chain":
			return new(chainRow), nil
		case len(rest) > 6 && rest[:6] == "trust/":
			return new(trustRow), nil
		}
	}
	return nil, ErrSnapshot
}

// names is a sorted list of identifiers.
type names []string

func (n *names) append(dst []byte) []byte { return appendList(dst, *n, appendStr) }
func (n *names) read(r *reader) {
	for r.at < len(r.items) {
		*n = append(*n, r.bytes())
	}
}

func list(t *table, key string) (n names) {
	load(t, key, &n)
	return n
}

// enlist adds a name to a list, or takes it out.
func enlist(t *table, key, name string, in bool) {
	n := list(t, key)
	at, found := slices.BinarySearch(n, name)
	switch {
	case in && !found:
		n = slices.Insert(n, at, name)
	case !in && found:
		n = slices.Delete(n, at, at+1)
	}
	save(t, key, &n)
}

type number uint64

func (n *number) append(dst []byte) []byte { return appendNum(cbor.AppendArray(dst, 1), uint64(*n)) }
func (n *number) read(r *reader)           { *n = number(r.number(0, maxNumber)) }

type chainRow Hash

func (c *chainRow) append(dst []byte) []byte { return appendHash(cbor.AppendArray(dst, 1), Hash(*c)) }
func (c *chainRow) read(r *reader)           { *c = chainRow(r.hash()) }

type paramsRow Params

func (p *paramsRow) append(dst []byte) []byte {
	return appendParams(cbor.AppendArray(dst, 1), Params(*p))
}
func (p *paramsRow) read(r *reader) { *p = paramsRow(readParams(r)) }

// trustRow is the SCAs of one participant of the trust network, by the SHA-256 of
// their certificates.
type trustRow []Hash

func (s *trustRow) append(dst []byte) []byte { return appendList(dst, *s, appendHash) }
func (s *trustRow) read(r *reader) {
	for r.at < len(r.items) {
		*s = append(*s, r.hash())
	}
}

// head is where the chain stands. It is not of the registry: the hash of a block
// that does nothing is that of the block before.
//
//	l/ = [
//	    height:   uint,
//	    time:     uint,
//	    log:      bstr,            ;; compact range, see tlog.Range
//	    registry: bstr .size 32,   ;; root at the last epoch
//	    changes:  bstr .size 32    ;; chain of what has changed since
//	]
type head struct {
	Height, Time      uint64
	Log               *tlog.Range
	Registry, Changes Hash
}

func (h *head) append(dst []byte) []byte {
	dst = appendNum(appendNum(cbor.AppendArray(dst, 5), h.Height), h.Time)
	log, _ := h.Log.AppendBinary(nil) // never fails
	return appendHash(appendHash(cbor.AppendBytes(dst, log), h.Registry), h.Changes)
}

func (h *head) read(r *reader) {
	h.Height, h.Time = r.number(0, maxNumber), r.number(0, maxTime)
	log, err := tlog.ParseRange([]byte(r.bytes()))
	if err != nil {
		r.fail("log", err)
	} else {
		h.Log = log
	}
	h.Registry, h.Changes = r.hash(), r.hash()
}

// keyRow is a key and its history: it counts in the heights from From until
// before Until, zero for no end. No key comes back, under anybody.
type keyRow struct {
	Owner       OID
	Root        bool // rotates the keys of a member, and signs nothing else
	From, Until uint64
	Key         string // COSE_Key
}

func (k *keyRow) append(dst []byte) []byte {
	dst = cbor.AppendBool(appendOID(cbor.AppendArray(dst, 5), k.Owner), k.Root)
	return appendStr(appendNum(appendNum(dst, k.From), k.Until), k.Key)
}

func (k *keyRow) read(r *reader) {
	k.Owner, k.Root = r.oid(), r.boolean()
	k.From, k.Until, k.Key = r.number(0, maxNumber), r.number(0, maxNumber), r.bytes()
}

func (k *keyRow) at(height uint64) bool {
	return k.From <= height && (k.Until == 0 || height < k.Until)
}

func keyKey(kid Hash) string { return "k/" + string(kid[:]) }

// member is a row of m/.
type member struct {
	Status         uint64
	Code           string // of the trust network
	SCA, Provider  Hash
	Voting, Hybrid bool
	Keys           []Hash
	Root           Hash
	Joined         uint64
}

// What has become of a member, or of an entry.
const (
	active = 1 + iota
	suspended
	gone // removed, or revoked
)

func (m *member) append(dst []byte) []byte {
	dst = cbor.AppendText(appendNum(cbor.AppendArray(dst, 9), m.Status), m.Code)
	dst = appendHash(appendHash(dst, m.SCA), m.Provider)
	dst = cbor.AppendBool(cbor.AppendBool(dst, m.Voting), m.Hybrid)
	return appendNum(appendHash(appendList(dst, m.Keys, appendHash), m.Root), m.Joined)
}

func (m *member) read(r *reader) {
	m.Status, m.Code, m.SCA, m.Provider = r.number(active, gone), r.code(), r.hash(), r.hash()
	m.Voting, m.Hybrid = r.boolean(), r.boolean()
	m.Keys, m.Root, m.Joined = readList(r, 0, maxKeys, (*reader).hash), r.hash(), r.number(0, maxNumber)
}
