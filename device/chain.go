package device

// Link is how a segment stands to the head of its chain.
type Link uint8

// The links.
const (
	Linked  Link = iota // the next
	Missing             // one before it has not come
	Broken              // the next by its number, and it names another one before
	Forked              // of the number of the head, and another
	Old                 // of the number of the head or below: repeated, or late
)

func (l Link) String() string {
	return [...]string{"linked", "missing", "broken", "forked", "old"}[min(l, Old)]
}

// Head is the last segment of a chain: of one stream, by one signer. The zero Head is
// of a chain that has none.
type Head struct {
	Seq  uint64
	Hash Hash
}

// Follow tells how a segment stands to the head.
func (h Head) Follow(s *Segment) Link {
	switch {
	case s.Seq == h.Seq && s.Hash != h.Hash:
		return Forked
	case s.Seq <= h.Seq:
		return Old
	case s.Seq > h.Seq+1:
		return Missing
	case s.Prev != h.Hash:
		return Broken
	}
	return Linked
}

// Head is the head of a chain that the segment is the last of.
func (s *Segment) Head() Head { return Head{s.Seq, s.Hash} }
