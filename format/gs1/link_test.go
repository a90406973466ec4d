package gs1

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseDigitalLink(t *testing.T) {
	for _, tt := range []struct {
		name, uri, stem, elements string
		earlier                   bool
		err                       error
	}{
		{name: "canonical", uri: vialLink, stem: "https://id.gs1.org", elements: "(01)09501101530003(10)AB-123(21)0007(17)290331"},
		{name: "below a path", uri: "http://example.org:8080/a/b/414/9501101530003/254/ward%2F3", stem: "http://example.org:8080/a/b", elements: "(414)9501101530003(254)ward/3"},
		{name: "a key in the stem", uri: "https://example.org/00/x/01/09501101530003", stem: "https://example.org/00/x", elements: "(01)09501101530003"},
		{name: "words of earlier versions", uri: "https://example.org/gtin/9501101530003/lot/A/ser/1", stem: "https://example.org", elements: "(01)09501101530003(10)A(21)1", earlier: true},
		{name: "a short GTIN", uri: "https://example.org/01/96385074", stem: "https://example.org", elements: "(01)00000096385074", earlier: true},
		{name: "a short GTIN in the query", uri: "https://example.org/8004/9501101A?01=96385074", stem: "https://example.org", elements: "(8004)9501101A(01)00000096385074", earlier: true},
		{name: "the other sequence", uri: "https://example.org/01/09501101530003/235/x?10=A", stem: "https://example.org", elements: "(01)09501101530003(235)x(10)A"},
		{name: "what is somebody else's", uri: "https://example.org/01/09501101530003?linkType=gs1:pip&lot=7&x#top", stem: "https://example.org", elements: "(01)09501101530003"},
		{name: "another scheme", uri: "ftp://example.org/01/09501101530003", err: ErrURI},
		{name: "no scheme", uri: "example.org/01/09501101530003", err: ErrURI},
		{name: "no domain", uri: "https:///01/09501101530003", err: ErrURI},
		{name: "a name and a password", uri: "https://a:b@example.org/01/09501101530003", err: ErrURI},
		{name: "no port", uri: "https://example.org:/01/09501101530003", err: ErrURI},
		{name: "a space", uri: "https://example.org/01/09501101530003/10/a b", err: ErrURI},
		{name: "a letter that is not ASCII", uri: "https://exämple.org/01/09501101530003", err: ErrURI},
		{name: "no key", uri: "https://example.org/about", err: ErrNoKey},
		{name: "a qualifier alone", uri: "https://example.org/10/A", err: ErrNoKey},
		{name: "a slash at the end", uri: "https://example.org/01/09501101530003/", err: ErrNoKey},
		{name: "out of order", uri: "https://example.org/01/09501101530003/21/1/10/A", err: ErrQualifier},
		{name: "no qualifier of this key", uri: "https://example.org/414/9501101530003/10/A", err: ErrQualifier},
		{name: "both sequences", uri: "https://example.org/01/09501101530003/10/A/235/x", err: ErrQualifier},
		{name: "no AI in the path", uri: "https://example.org/01/09501101530003/zz/1", err: ErrQualifier},
		{name: "twice in the path", uri: "https://example.org/01/09501101530003/10/A/10/A", err: ErrQualifier},
		{name: "in the path and in the query", uri: "https://example.org/01/09501101530003/10/A?10=A", err: ErrRepeated},
		{name: "twice in the query", uri: "https://example.org/01/09501101530003?17=290331&17=290331", err: ErrRepeated},
		{name: "a serial in the query", uri: "https://example.org/01/09501101530003?21=1", err: ErrAttribute},
		{name: "no AI in the query", uri: "https://example.org/01/09501101530003?05=1", err: ErrUnknownAI},
		{name: "no value", uri: "https://example.org/01/09501101530003/10/", err: ErrLength},
		{name: "no value in the query", uri: "https://example.org/01/09501101530003?17", err: ErrLength},
		{name: "half an escape", uri: "https://example.org/01/09501101530003/10/A%2", err: ErrCharacter},
		{name: "a control character", uri: "https://example.org/01/09501101530003/10/A%00", err: ErrCharacter},
		{name: "a plus sign, which might be a space", uri: "https://example.org/01/09501101530003?240=A+1", err: ErrCharacter},
		{name: "a wrong check digit", uri: "https://example.org/01/09501101530004", err: ErrCheckDigit},
		{name: "too long", uri: "https://example.org/01/09501101530003?a=" + strings.Repeat("x", MaxURI), err: ErrTooLong},
		{name: "too many parameters", uri: "https://example.org/01/09501101530003?" + strings.Repeat("a&", maxAIs+1), err: ErrTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ParseDigitalLink(tt.uri)
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if d.Stem != tt.stem || d.Elements().String() != tt.elements || d.Earlier != tt.earlier {
				t.Errorf("%+v: %s", d, d.Elements())
			}
		})
	}
}

func TestWriteDigitalLink(t *testing.T) {
	d, err := ParseDigitalLink("HTTPS://example.org/x/01/09501101530003/10/a%2fb'%21?3103=000195&17=290331&linkType=gs1:epil&x#top")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		d.String():                        "https://example.org/x/01/09501101530003/10/a%2Fb'%21?3103=000195&17=290331&linkType=gs1:epil&x#top",
		d.Canonical():                     "https://id.gs1.org/01/09501101530003/10/a%2Fb'%21?17=290331&3103=000195",
		d.On("https://b.org/y/").String(): "https://b.org/y/01/09501101530003/10/a%2Fb'%21?3103=000195&17=290331&linkType=gs1:epil&x#top",
		d.Key.DigitalLinkOn("http://c"):   "http://c/01/09501101530003/10/a%2Fb'%21",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if !slices.Equal(d.Other, []Parameter{{"linkType", "gs1:epil"}, {"x", ""}}) {
		t.Errorf("%v", d.Other)
	}
}

func TestNewDigitalLink(t *testing.T) {
	for _, tt := range []struct {
		text, key, want string
		err             error
	}{
		{text: "(01)09501101530003(17)290331(10)AB-123(21)0007", want: vialLink},
		{text: "(00)195011000000000153(401)9501101x", key: "00", want: "https://id.gs1.org/00/195011000000000153?401=9501101x"},
		{text: "(00)195011000000000153(401)9501101x", key: "401", want: "https://id.gs1.org/401/9501101x?00=195011000000000153"},
		{text: "(00)195011000000000153(401)9501101x", err: ErrNoKey},
		{text: "(01)09501101530003", key: "00", err: ErrNoKey},
		{text: "(01)09501101530003(10)A", key: "10", err: ErrNoKey},
		{text: "(10)A(17)290331", err: ErrNoKey},
		{text: "(01)09501101530003(235)x(10)A", want: "https://id.gs1.org/01/09501101530003/235/x?10=A"},
		{text: "(01)09501101530003(235)x(21)1", err: ErrAttribute},
		{text: "(414)9501101530003(254)a(21)1", err: ErrAttribute},
	} {
		es, err := ParseElements(tt.text)
		if err != nil {
			t.Fatal(tt.text, err)
		}
		d, err := NewDigitalLink(es, tt.key)
		if !errors.Is(err, tt.err) || err == nil && d.String() != tt.want {
			t.Errorf("%s: %s, want %s: %v", tt.text, d, tt.want, err)
		}
	}
}

func TestDecompress(t *testing.T) {
	for _, tt := range []struct {
		uri, want string
		err       error
	}{
		{uri: "https://id.gs1.org/GhFRJydaKIlXglgZQKMDk", want: "https://id.gs1.org/01/09520123456788/10/ABC1/21/12345?17=180426"},
		{uri: "https://id.gs1.org/01/09520123456788/EESrwRcsDKIQUYHI", want: "https://id.gs1.org/01/09520123456788/10/ABC1/21/12345?17=180426"},
		{uri: "https://example.org/x/GhFRJydaKIlXglgZQKMDk?linkType=all&3103=000195#a", want: "https://example.org/x/01/09520123456788/10/ABC1/21/12345?17=180426&3103=000195&linkType=all#a"},
		{uri: "https://id.gs1.org/GhFRJydaKIlXglgZQKMDk?17=180426", err: ErrRepeated},
		{uri: "https://id.gs1.org/GhFRJydaKIlXglgZQKMD", err: ErrCompressed},   // cut off
		{uri: "https://id.gs1.org/GhFRJydaKIlXglgZQKMDkA", err: ErrCompressed}, // and more
		{uri: "https://id.gs1.org/GhFRJydaKIlXglgZQKMDk=", err: ErrCompressed},
		{uri: "https://id.gs1.org/", err: ErrCompressed},
		{uri: "https://id.gs1.org/4AAA", err: ErrCompressed},   // code E0
		{uri: "https://id.gs1.org/BQAA", err: ErrUnknownAI},    // AI 05
		{uri: "https://id.gs1.org/EKAAAA", err: ErrCompressed}, // an encoding that is none
		{uri: "https://id.gs1.org/EEGg", err: ErrNoKey},        // a lot, and nothing of which it is one
		{uri: vialLink, err: ErrCompressed},
		{uri: "https://id.gs1.org/01/09520123456789/EESrwRcsDKIQUYHI", err: ErrCheckDigit},
	} {
		d, err := Decompress(tt.uri)
		if !errors.Is(err, tt.err) || err == nil && d.String() != tt.want {
			t.Errorf("%s: %s, want %s: %v", tt.uri, d, tt.want, err)
		}
	}
	// A link that nobody has checked is written as it is.
	if s := (DigitalLink{Stem: Canonical, Key: Key{AI: "05", Value: "x"}}).Compress(); s != Canonical+"/05/x" {
		t.Error(s)
	}
}
