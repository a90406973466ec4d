package tlog

import "crypto/sha256"

// climber hashes its way up. Its buffer stays in place from step to step: a path
// is verified without an allocation.
type climber struct {
	hash Hash
	buf  [1 + 2*HashSize]byte
}

func (c *climber) start(leaf Hash) { c.hash, c.buf[0] = leaf, 1 }

// right takes a sibling that stands right of where the climber is.
func (c *climber) right(sibling *Hash) { c.step(&c.hash, sibling) }

// left takes a sibling that stands left of it.
func (c *climber) left(sibling *Hash) { c.step(sibling, &c.hash) }

func (c *climber) step(left, right *Hash) {
	copy(c.buf[1:], left[:])
	copy(c.buf[1+HashSize:], right[:])
	c.hash = sha256.Sum256(c.buf[:])
}
