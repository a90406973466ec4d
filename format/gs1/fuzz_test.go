package gs1

import (
	"errors"
	"slices"
	"testing"
)

const (
	vialSymbol = "]d201095011015300031729033110AB-123\x1d210007"
	vialLink   = "https://id.gs1.org/01/09501101530003/10/AB-123/21/0007?17=290331"
)

// FuzzParseElements: no text panics, and what is read is written so that it is read to
// the same, as people read it and as a symbol holds it.
func FuzzParseElements(f *testing.F) {
	for _, s := range []string{vialSymbol, "(01)09501101530003(10)A\\(B)", "^8003095011015300030box^3922100", "(8008)28010112", "(4309)18000000003600000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		es, err := ParseElements(text)
		if err != nil {
			return
		}
		_ = es.Check()
		for _, s := range []string{es.String(), es.Symbol(FNC1), es.Symbol('^')} {
			if again, err := ParseElements(s); err != nil || !slices.Equal(again, es) {
				t.Errorf("%q is %q, want %q: %v", s, again, es, err)
			}
		}
	})
}

// sameLink compares two links, of whose other parameters the spelling may differ.
func sameLink(a, b DigitalLink) bool {
	sorted := func(d DigitalLink) []string {
		var all []string
		for _, p := range d.Other {
			value, err := unescape(p.Value, false)
			if err != nil {
				value = p.Value
			}
			all = append(all, p.Name+"="+value)
		}
		slices.Sort(all)
		return all
	}
	return a.Stem == b.Stem && a.Canonical() == b.Canonical() && a.Fragment == b.Fragment && slices.Equal(sorted(a), sorted(b))
}

// FuzzParseDigitalLink: what is read is written so that it is read to the same, plain
// and compressed.
func FuzzParseDigitalLink(f *testing.F) {
	for _, s := range []string{vialLink, "http://a/gtin/9501101530003/lot/a%2Fb?linkType=gs1:epil&99=x#y", "https://a.b:1/x/8004/9501101A?01=09501101530003&other", "https://a/01/x/8004/9501101A?3103=000195", "http://0/01/09501101530003?=&=a&&b="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		d, err := ParseDigitalLink(uri)
		if err != nil || len(d.String()) > MaxURI {
			return
		}
		if again, err := ParseDigitalLink(d.String()); err != nil || !sameLink(again, d) {
			t.Errorf("%s is %s: %v", d, again, err)
		}
		for _, s := range []string{d.Compress(), d.CompressPartly()} {
			if s == d.String() {
				continue
			}
			if again, err := Decompress(s); err != nil || !sameLink(again, d) {
				t.Errorf("%s is %s, want %s: %v", s, again, d, err)
			}
		}
	})
}

// FuzzDecompress: what is decompressed is a link.
func FuzzDecompress(f *testing.F) {
	d, err := ParseDigitalLink(vialLink + "&linkType=gs1:epil&3103=000195")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d.Compress())
	f.Add(d.CompressPartly())
	f.Fuzz(func(t *testing.T, uri string) {
		d, err := Decompress(uri)
		if err != nil || len(d.String()) > MaxURI {
			return
		}
		if again, err := ParseDigitalLink(d.String()); err != nil || !sameLink(again, d) {
			t.Errorf("%s is %s: %v", d, again, err)
		}
	})
}

// FuzzParseURN: what is read is written to the same key, and unless it was loose, to
// an EPC URN that reads the same.
func FuzzParseURN(f *testing.F) {
	for _, s := range []string{"urn:epc:id:sgtin:9501101.053000.a%2Fb", "urn:epc:class:lgtin:9501101.053000.A", "urn:epc:idpat:itip:9501101.053000.01.02.*", "urn:epc:id:cpi:9501101.A%23.7", "urn:epc:id:sgln:950110153000..0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, urn string) {
		u, err := ParseURN(urn)
		if err != nil {
			return
		}
		s, err := u.Key.URN(u.Prefix)
		if errors.Is(err, ErrNoURN) { // a serial of one star, which came escaped
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", urn, err)
		}
		again, err := ParseURN(s)
		if err != nil || !again.Key.Equal(u.Key) || again.Prefix != u.Prefix || again.Loose {
			t.Errorf("%s is %+v, want %+v: %v", s, again, u, err)
		}
		if d, err := ParseDigitalLink(u.Key.DigitalLink()); err != nil || !d.Key.Equal(u.Key) {
			t.Errorf("%s: %v", u.Key.DigitalLink(), err)
		}
	})
}

func BenchmarkParseElements(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseElements(vialSymbol); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseDigitalLink(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseDigitalLink(vialLink); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseURN(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseURN("urn:epc:id:sgtin:9501101.053000.0007"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecompress(b *testing.B) {
	d, err := ParseDigitalLink(vialLink)
	if err != nil {
		b.Fatal(err)
	}
	text := d.Compress()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decompress(text); err != nil {
			b.Fatal(err)
		}
	}
}
