package simulation

import "math/bits"

// source is xoshiro256** (Blackman and Vigna, 2018), seeded by SplitMix64 as they ask.
type source [4]uint64

func newSource(seed uint64) (s source) {
	for i := range s {
		seed += 0x9E3779B97F4A7C15
		z := seed
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		s[i] = z ^ z>>31
	}
	return s
}

func (s *source) next() uint64 {
	r := bits.RotateLeft64(s[1]*5, 7) * 9
	t := s[1] << 17
	s[2] ^= s[0]
	s[3] ^= s[1]
	s[1] ^= s[2]
	s[0] ^= s[3]
	s[2] ^= t
	s[3] = bits.RotateLeft64(s[3], 45)
	return r
}

// uniform is in [0, 1).
func (s *source) uniform() float64 { return float64(s.next()>>11) / (1 << 53) }

// between is in [low, high).
func (s *source) between(low, high float64) float64 { return low + (high-low)*s.uniform() }

// normal is near enough to the normal distribution for the noise of a sensor: the sum of
// four uniform numbers of 16 bits each, of deviation 1 and within 3.5.
func (s *source) normal() float64 {
	r := s.next()
	sum := r&0xffff + r>>16&0xffff + r>>32&0xffff + r>>48
	return (float64(sum)/65536 - 2) * 1.7320508075688772 // √3: a sum of four has a variance of 1/3
}
