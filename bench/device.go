package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"ampoule/device"
	"ampoule/format/oid"
)

// deviceCases measures what a device signs: the whole way of a segment against the
// bare check of a signature over as many bytes, and bare decoding of as many readings.
func deviceCases() ([]bench, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	name, err := oid.Parse("2.25.329800735698586629295641978511506172918.4.1")
	if err != nil {
		return nil, err
	}
	var cases []bench
	for _, n := range []int{60, 240} {
		readings := make([]device.Reading, n)
		values := []byte(nil)
		before := int64(0)
		for i := range readings {
			v := int64(500 + math.Round(80*math.Sin(float64(i)/20)))
			readings[i] = device.Reading{At: 1767225600 + 60*int64(i), Value: int32(10 * v)}
			values = binary.AppendVarint(values, v-before)
			before = v
		}
		s := &device.Segment{Device: name, Stream: 1, Quantity: device.Temperature, Seq: 1, Interval: 60, Clock: device.ClockSet, Readings: readings}
		data, err := s.Sign(rand.Reader, key)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(data)
		signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return nil, err
		}
		bare, whole := fmt.Sprintf("bare check and decoding, %d readings", n), fmt.Sprintf("segment of %d readings: read, checked, linked", n)
		cases = append(cases,
			bench{name: bare, run: func() error {
				out, rest, value := make([]device.Reading, 0, n), values, int64(0)
				for i := range n {
					d, k := binary.Varint(rest)
					rest, value = rest[k:], value+d
					out = append(out, device.Reading{At: 1767225600 + 60*int64(i), Value: int32(10 * value)})
				}
				digest := sha256.Sum256(data)
				if len(out) != n || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
					return errors.New("bare")
				}
				return nil
			}},
			// Three quarters of the rate are four thirds of the time.
			bench{name: whole, base: bare, goal: 4.0 / 3, run: func() error {
				s, err := device.ParseSegment(data)
				if err != nil {
					return err
				}
				if (device.Head{}).Follow(s) != device.Linked {
					return errors.New("not linked")
				}
				return s.Verify(&key.PublicKey)
			}})
	}
	return cases, nil
}
