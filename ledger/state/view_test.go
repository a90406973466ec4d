package state

import (
	"testing"
)

// TestView: what is shown of the rows is what the rules go by.
func TestView(t *testing.T) {
	k := ready(t)
	m, ok := k.s.Entry(member0())
	if !ok || m.Role != MemberRole || m.Standing != Active || !m.Voting || m.Code != country(0).Code || len(m.Keys) != 1 || m.Keys[0] != key(online(0)).KID {
		t.Errorf("%+v, %t", m, ok)
	}
	e, ok := k.s.Entry(issuerOID)
	if !ok || e.Role != Issuer || e.Sponsor != member0() || e.Standing != Active || e.Keys[0] != key(es("issuer")).KID || e.Until != start+86400 {
		t.Errorf("%+v, %t", e, ok)
	}
	if _, ok := k.s.Entry(id("9.9")); ok {
		t.Error("somebody who is not registered")
	}
	if n := len(k.s.Members()); n != 5 {
		t.Errorf("%d members", n)
	}
	if root, _ := k.s.LastBatch(issuerOID); root != (Hash{}) {
		t.Errorf("a batch before the first")
	}
	k.must(issuerOID, batch(), es("issuer"))
	if root, epoch := k.s.LastBatch(issuerOID); root != hash("root 1") || epoch != 7 {
		t.Errorf("%x, %d", root, epoch)
	}
	k.must(member0(), &Suspend{Issuer, issuerOID}, online(0))
	if e, _ := k.s.Entry(issuerOID); e.Standing != Suspended {
		t.Errorf("%+v", e)
	}
	proposal := k.vote(&NewParams{DefaultParams}, 2)
	open := k.s.Open()
	if len(open) != 1 || open[0].ID != proposal || len(open[0].Yes) != 2 || open[0].Outcome != "open" || open[0].Proposal == nil {
		t.Fatalf("%+v", open)
	}
	k.must(country(2).OID, &Vote{proposal, false}, online(2))
	k.must(country(3).OID, &Vote{proposal, true}, online(3))
	b, ok := k.s.Ballots(proposal)
	if !ok || b.Outcome != "passed" || len(b.No) != 1 || len(k.s.Open()) != 0 || b.Proposal != nil {
		t.Errorf("%+v", b)
	}
}

// TestEpochLeaf: the leaf of an epoch reads back, and proves the rows of then.
func TestEpochLeaf(t *testing.T) {
	g := genesis(5, 4)
	g.Params.EpochBlocks = 3
	k := newKit(t, g)
	var out *Outcome
	for k.s.Height() < 3 {
		out = k.block()
	}
	l, ok := ParseLeaf(out.Entries[0])
	if !ok || l.Height != 3 || l.Time != k.time {
		t.Fatalf("%+v, %t", l, ok)
	}
	r, ok, err := k.s.Registry()
	if err != nil || !ok || r.Root() != l.Registry {
		t.Fatalf("%t, %v", ok, err)
	}
	for _, key := range EntryKeys(member0()) {
		row, found := k.s.Row(key)
		if !found {
			p, err := r.ProveAbsence([]byte(key))
			if err != nil || p.Verify([]byte(key), l.Registry) != nil {
				t.Errorf("%q: %v", key, err)
			}
			continue
		}
		p, err := r.Prove([]byte(key))
		if err != nil || p.Verify([]byte(key), row, l.Registry) != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	k.must(member0(), put(Device, fridgeOID, ScopeSingle, ed("fridge")), online(0))
	if _, ok, err := k.s.Registry(); ok || err != nil {
		t.Errorf("rows that have changed: %t, %v", ok, err)
	}
	for _, entry := range [][]byte{nil, k.gen, append(out.Entries[0], 0), out.Entries[0][1:]} {
		if _, ok := ParseLeaf(entry); ok {
			t.Errorf("%x is a leaf", entry)
		}
	}
}
