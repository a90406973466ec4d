package divoc

import (
	"archive/zip"
	"testing"
)

func BenchmarkDecode(b *testing.B) {
	text := b64(archive(b, file{fileName, encode(b, sign(b, specimen("v2"), testRSA(), nil)), zip.Deflate}))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Decode(text); err != nil {
			b.Fatal(err)
		}
	}
}

// A text made to cost as much as it can: a graph whose nodes all look alike.
func BenchmarkPoison(b *testing.B) {
	text := encode(b, change(func(_, p, _ object) { p["https://example.org/q"] = cliqueNodes(10) }))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Decode(text); err == nil {
			b.Fatal("read")
		}
	}
}
