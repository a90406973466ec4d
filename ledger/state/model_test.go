package state

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the rules for issuers and votes told again, as plainly as they can be:
// no rows, no encoding, no signatures but who made them.
type model struct {
	height, time uint64
	seq          map[string]uint64
	issuers      map[string]*modelIssuer
	keyOwner     map[string]string
	members      map[string]bool // in force
	open         map[Hash]*modelVote
}

type modelIssuer struct {
	sponsor string
	status  int
	keys    map[string]uint64 // from height
	last    string
	epoch   uint64
	until   uint64
}

type modelVote struct {
	yes, no  map[string]bool
	deadline uint64
	closed   bool
	twoThird bool
	suspends string
}

const modelMembers = 5

func (m *model) voters() (n int) {
	for _, in := range m.members {
		if in {
			n++
		}
	}
	return n
}

func (m *model) actor(name string) string {
	if in, ok := m.members[name]; ok {
		if !in {
			return "actor-suspended"
		}
		return ""
	}
	i, ok := m.issuers[name]
	switch {
	case !ok:
		return "actor-unknown"
	case i.status == 3:
		return "actor-revoked"
	case i.status == 2:
		return "actor-suspended"
	case m.time >= i.until:
		return "actor-not-in-its-period"
	case !m.members[i.sponsor]:
		return "sponsor-not-in-force"
	}
	return ""
}

// TestModel drives the machine and the model with the same random transactions.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := newKit(t, genesis(modelMembers, 4))
		m := &model{time: start, seq: map[string]uint64{}, issuers: map[string]*modelIssuer{}, keyOwner: map[string]string{}, members: map[string]bool{}, open: map[Hash]*modelVote{}}
		oids := map[string]OID{}
		for n := range modelMembers {
			name := fmt.Sprint("m", n)
			m.members[name], oids[name] = true, country(n).OID
			m.keyOwner[fmt.Sprint("member ", n)] = name
		}
		issuers := []string{"i0", "i1", "i2"}
		for n, name := range issuers {
			oids[name] = id(fmt.Sprintf("3.%d", n))
		}
		var proposals []Hash
		draw := func(label string, most int) int { return rapid.IntRange(0, most).Draw(rt, label) }
		memberName := func() (string, int) { n := draw("member", modelMembers-1); return fmt.Sprint("m", n), n }

		// send gives the machine a transaction and compares.
		send := func(name string, body Body, keyName string, extra []crypto.Signer, want func() string) bool {
			seq := m.seq[name] + 1
			if draw("seq", 9) == 0 {
				seq += uint64(draw("by", 2)) - 1
			}
			if seq == 0 {
				seq = 1
			}
			tx := &Tx{Chain: k.s.Chain(), Actor: oids[name], Seq: seq, ValidUntil: m.height + 5, Body: body}
			reason := func() string {
				if r := m.actor(name); r != "" {
					return r
				}
				if seq <= m.seq[name] {
					return "sequence-used"
				}
				if seq > m.seq[name]+1 {
					return "sequence-gap"
				}
				owner, known := m.keyOwner[keyName]
				switch {
				case !known:
					return "key-unknown"
				case owner != name:
					return "stray-signature"
				}
				if i, ok := m.issuers[name]; ok {
					from, have := i.keys[keyName]
					if !have || m.height+1 < from {
						return "key-not-in-force"
					}
				}
				return want()
			}()
			got := k.send(k.sign(tx, append(slices.Clone(extra), ed(keyName))...))
			m.height++
			m.time = k.time
			if got != reason {
				rt.Fatalf("%s by %s with %s: %q, and the model says %q", body.Kind(), name, keyName, got, reason)
			}
			if got == "" {
				m.seq[name] = seq
			}
			return got == ""
		}
		// Each action happens in a block one second later.
		before := func() {
			m.time = k.time + 1
			for _, v := range m.open {
				v.closed = v.closed || m.time >= v.deadline
			}
		}
		decide := func(v *modelVote) {
			yes, no, all := 0, 0, m.voters()
			for who := range v.yes {
				if m.members[who] {
					yes++
				}
			}
			for who := range v.no {
				if m.members[who] {
					no++
				}
			}
			passed, lost := 2*yes > all, 2*no >= all
			if v.twoThird {
				passed, lost = 3*yes > 2*all, 3*no >= all
			}
			v.closed = passed || lost
			if passed && v.suspends != "" && m.members[v.suspends] {
				m.members[v.suspends] = false
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(*rapid.T) {
				before()
				who, n := memberName()
				name := issuers[draw("issuer", 2)]
				keyName := fmt.Sprint("issuer key ", draw("key", 5))
				i, exists := m.issuers[name]
				p := put(Issuer, oids[name], ScopeBatch)
				p.Until = start + 1e6
				var extra []crypto.Signer
				if withKey := draw("with key", 3) > 0 != exists; withKey {
					p.Keys, extra = keys(ed(keyName)), by(ed(keyName))
				}
				if owner, known := m.keyOwner[keyName]; known && len(p.Keys) > 0 && owner != who {
					// The key signs, and is another's.
					send(who, p, fmt.Sprint("member ", n), extra, func() string { return "stray-signature" })
					return
				}
				if send(who, p, fmt.Sprint("member ", n), extra, func() string {
					switch {
					case !exists && len(p.Keys) == 0:
						return "wrong-number-of-keys"
					case exists && i.sponsor != who:
						return "already-registered"
					case exists && i.status == 3:
						return "already-revoked"
					case exists && len(p.Keys) > 0:
						return "wrong-number-of-keys"
					}
					return ""
				}) {
					if !exists {
						i = &modelIssuer{sponsor: who, keys: map[string]uint64{keyName: m.height + 1}, until: start + 1e6}
						m.issuers[name], m.keyOwner[keyName] = i, name
					}
					i.status = 1
				}
			},
			"suspend or revoke": func(*rapid.T) {
				before()
				who, n := memberName()
				name := issuers[draw("issuer", 2)]
				i, exists := m.issuers[name]
				revoke := draw("revoke", 4) == 0
				var body Body = &Suspend{Issuer, oids[name]}
				if revoke {
					body = &Revoke{Issuer, oids[name]}
				}
				if send(who, body, fmt.Sprint("member ", n), nil, func() string {
					switch {
					case !exists:
						return "not-registered"
					case i.sponsor != who:
						return "not-authorised"
					case i.status == 3:
						return "already-revoked"
					case i.status == 2 && !revoke:
						return "repeated"
					}
					return ""
				}) {
					if i.status = 2; revoke {
						i.status, i.keys = 3, map[string]uint64{}
					}
				}
			},
			"batch": func(*rapid.T) {
				before()
				name := issuers[draw("issuer", 2)]
				keyName := fmt.Sprint("issuer key ", draw("key", 5))
				i := m.issuers[name]
				if i == nil {
					i = &modelIssuer{}
				} else if draw("own key", 4) > 0 {
					for _, k := range slices.Sorted(maps.Keys(i.keys)) {
						keyName = k
					}
				}
				last, epoch := i.last, uint64(draw("epoch", 3))
				root := fmt.Sprint("root ", draw("root", 20))
				if draw("wrong", 5) == 0 {
					last = "another"
				}
				b := &Batch{Root: hash(root), Class: 10, Schema: schemaOID, Issuer: oids[name], Epoch: epoch}
				if last != "" {
					b.Previous = hash(last)
				}
				if send(name, b, keyName, nil, func() string {
					switch {
					case root == i.last:
						return "repeated"
					case last != i.last:
						return "not-after-the-last-batch"
					case epoch < i.epoch:
						return "older-than-the-last"
					}
					return ""
				}) {
					i.last, i.epoch = root, epoch
				}
			},
			"propose": func(*rapid.T) {
				before()
				who, n := memberName()
				v := &modelVote{yes: map[string]bool{who: true}, no: map[string]bool{}, deadline: m.time + DefaultParams.VoteSeconds}
				body := changed(func(p *Params) { p.VoteSeconds = DefaultParams.VoteSeconds })
				if draw("about", 3) == 0 {
					victim := draw("victim", modelMembers-1)
					v.twoThird, v.suspends = true, fmt.Sprint("m", victim)
					body = act(SuspendMember, victim)
				}
				tx := &Tx{Chain: k.s.Chain(), Actor: oids[who], Seq: m.seq[who] + 1, ValidUntil: m.height + 5, Body: body}
				if send(who, body, fmt.Sprint("member ", n), nil, func() string {
					if v.suspends != "" && !m.members[v.suspends] {
						return "not-at-that-stage"
					}
					if v.suspends != "" && m.validatorsLeft(v.suspends) == 0 {
						return "no-validator-left"
					}
					return ""
				}) {
					tx.Seq = m.seq[who]
					p := Hash(sha256.Sum256(tx.Payload()))
					m.open[p] = v
					proposals = append(proposals, p)
					decide(v)
				}
			},
			"vote": func(*rapid.T) {
				if len(proposals) == 0 {
					return
				}
				before()
				who, n := memberName()
				p := proposals[draw("proposal", len(proposals)-1)]
				v, yes := m.open[p], draw("yes", 2) > 0
				if send(who, &Vote{p, yes}, fmt.Sprint("member ", n), nil, func() string {
					switch {
					case v.closed:
						return "proposal-closed"
					case v.yes[who] || v.no[who]:
						return "already-voted"
					}
					return ""
				}) {
					if yes {
						v.yes[who] = true
					} else {
						v.no[who] = true
					}
					decide(v)
				}
			},
			"": func(rt *rapid.T) {
				if k.s.Height() != m.height {
					rt.Fatalf("height %d, and the model has %d", k.s.Height(), m.height)
				}
				for name := range m.seq {
					if got := k.s.Seq(oids[name]); got != m.seq[name] {
						rt.Fatalf("%s is at %d, and in the model at %d", name, got, m.seq[name])
					}
				}
			},
		})
	})
}

// validatorsLeft is how many validators there are when a member has gone; the
// first four have one.
func (m *model) validatorsLeft(without string) (n int) {
	for i := range 4 {
		if name := fmt.Sprint("m", i); m.members[name] && name != without {
			n++
		}
	}
	return n
}
