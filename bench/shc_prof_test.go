package main
import "testing"
func BenchmarkSHC(b *testing.B) {
	cs, err := newCases(); if err != nil { b.Fatal(err) }
	for _, c := range cs { if c.name == "verify-shc" { for b.Loop() { if err := c.run(); err != nil { b.Fatal(err) } } } }
}
