package paper

import "testing"

func BenchmarkPrint(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Print(sheets[0].certificates, sheets[0].options); err != nil {
			b.Fatal(err)
		}
	}
}
