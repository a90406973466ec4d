package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/format/dccfilter"
	"ampoule/format/dccrevocation"
	"ampoule/format/statuslist"
)

// statusFile is a case of either folder of token status lists: the two name the
// same things differently.
type statusFile struct {
	Bits, Size      int
	Statuses        map[string]int
	Status          map[string]int
	Default         int
	Lst             string
	JSON            json.RawMessage
	CBORHex         string `json:"cborHex"`
	CBORUnderscored string `json:"cbor_hex"`
	// Of a bitstring status list.
	EncodedList  string
	Set          []int64
	DecodedBytes int
	BitsSet      *int
	// Expect begins with "refuse" where the list must be.
	Expect string
}

// refused turns the answer around for a list that must be refused.
func (c statusFile) refused(err error) (done bool, verdict error) {
	switch {
	case !strings.HasPrefix(c.Expect, "refuse"):
		return false, nil
	case err == nil:
		return true, fmt.Errorf("want: %s", c.Expect)
	}
	return true, nil
}

// runTokenStatusList judges a folder of lists and tokens: every file by what is
// in it.
func runTokenStatusList(t *testing.T, b *board, dir string) {
	judgeTokenStatusLists(t, b, "token-status-list", "", dir, dir)
}

// judgeTokenStatusLists judges dir, with the issuer's key from keys.
func judgeTokenStatusLists(t *testing.T, b *board, formatName, group, dir, keys string) {
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := f.Name()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		add := func(what string, err error) {
			r := result{format: formatName, group: group, name: strings.TrimSpace(name + " " + what), judgement: agree}
			if err != nil {
				r.judgement, r.detail = disagree, err.Error()
			}
			b.add(r)
		}
		text := strings.TrimSpace(string(data))
		switch {
		case name == "README.md", name == "issuer.jwk.json", strings.Contains(name, "diag"):
		case strings.HasPrefix(name, "edge-cases"):
			judgeStatusEdges(t, add, data)
		case strings.HasPrefix(text, "byte_array"):
			add("", judgeByteArray(text))
		case strings.HasPrefix(text, "{") && strings.Contains(text, "}\n."): // a JWT, decoded, to be read by people
		case strings.HasPrefix(text, "{"):
			var c statusFile
			if err := json.Unmarshal(data, &c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			judgeStatusFile(add, c)
		default:
			add("", judgeStatusToken(t, strings.Join(strings.Fields(text), ""), keys))
		}
	}
}

// judgeStatusFile holds every entry of the decoded lists against the case, and
// then those of what is written from it.
func judgeStatusFile(add func(string, error), c statusFile) {
	statuses := c.Statuses
	if statuses == nil {
		statuses = c.Status
	}
	whole := func(l statuslist.StatusList, err error) error {
		if err != nil {
			return err
		}
		return sameStatuses(l.Bitmap, c.Bits, c.Size, c.Default, statuses)
	}
	fromJSON := []byte(c.JSON)
	if fromJSON == nil {
		fromJSON = fmt.Appendf(nil, `{"bits":%d,"lst":%q}`, c.Bits, c.Lst)
	}
	l, err := statuslist.ParseStatusList(fromJSON)
	if done, err := c.refused(err); done {
		add("JSON", err)
		return
	}
	if add("JSON", whole(l, err)); err != nil {
		return
	}
	if text := c.CBORHex + c.CBORUnderscored; text != "" {
		inCBOR, err := hex.DecodeString(text)
		if err != nil {
			add("CBOR", err)
			return
		}
		add("CBOR", whole(statuslist.ParseStatusListCBOR(inCBOR)))
	}
	again, err := l.MarshalJSON()
	if err == nil {
		err = whole(statuslist.ParseStatusList(again))
	}
	add("written as JSON", err)
	if again, err = l.AppendCBOR(nil); err == nil {
		err = whole(statuslist.ParseStatusListCBOR(again))
	}
	add("written as CBOR", err)
}

func sameStatuses(l *statuslist.Bitmap, bits, size, zero int, statuses map[string]int) error {
	if l.Bits() != bits || l.Len() != size {
		return fmt.Errorf("%d entries of %d bits, want %d of %d", l.Len(), l.Bits(), size, bits)
	}
	for i := range int64(size) {
		want, listed := statuses[strconv.FormatInt(i, 10)]
		if !listed {
			want = zero
		}
		if got, err := l.Get(i); err != nil || int(got) != want {
			return fmt.Errorf("entry %d is %d, want %d: %v", i, got, want, err)
		}
	}
	return nil
}

// judgeByteArray reads the small examples: the bytes, and their encoding in JSON
// or in hexadecimal CBOR.
func judgeByteArray(text string) error {
	head, encoded, ok := strings.Cut(text, "encoded:")
	if !ok {
		return errors.New("nothing is encoded")
	}
	var want []byte
	for _, h := range regexp.MustCompile(`0x([0-9a-fA-F]{1,2})`).FindAllStringSubmatch(head, -1) {
		n, err := strconv.ParseUint(h[1], 16, 8)
		if err != nil {
			return err
		}
		want = append(want, byte(n))
	}
	encoded = strings.TrimSpace(encoded)
	var l statuslist.StatusList
	var err error
	if strings.HasPrefix(encoded, "{") {
		l, err = statuslist.ParseStatusList([]byte(encoded))
	} else {
		var data []byte
		if data, err = hex.DecodeString(strings.Join(strings.Fields(encoded), "")); err == nil {
			l, err = statuslist.ParseStatusListCBOR(data)
		}
	}
	if err != nil {
		return err
	}
	var got []byte
	for i := range int64(l.Len()) {
		s, err := l.Get(i)
		if err != nil {
			return err
		}
		per := int64(8 / l.Bits())
		if i%per == 0 {
			got = append(got, 0)
		}
		got[i/per] |= byte(s) << (int(i%per) * l.Bits())
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("bytes %x, want %x", got, want)
	}
	return nil
}

// judgeStatusEdges judges lists that must be refused, or of which one look-up
// must be.
func judgeStatusEdges(t *testing.T, add func(string, error), data []byte) {
	var cases []struct {
		Name, Lst, Expect string
		Bits              int
		Index             *int64
		Status            *int
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		l, err := statuslist.ParseStatusList(fmt.Appendf(nil, `{"bits":%d,"lst":%q}`, c.Bits, c.Lst))
		var got statuslist.Status
		if err == nil && c.Index != nil {
			got, err = l.Get(*c.Index)
		}
		switch refused := strings.HasPrefix(c.Expect, "refuse"); {
		case refused && err != nil:
			err = nil
		case refused:
			err = fmt.Errorf("want: %s", c.Expect)
		case err == nil && c.Status != nil && int(got) != *c.Status:
			err = fmt.Errorf("status %d, want %d", got, *c.Status)
		}
		add(c.Name, err)
	}
}

// judgeStatusToken reads a JWT or a CWT in hexadecimal, verifies it under the
// issuer's key, and changes one byte of it.
func judgeStatusToken(t *testing.T, text, keys string) error {
	data := []byte(text)
	if inHex, err := hex.DecodeString(text); err == nil {
		data = inHex
	}
	tok, err := statuslist.Parse(data)
	if err != nil {
		return err
	}
	if tok.List.Bitmap == nil || tok.URI == "" {
		return errors.New("no list, or no subject")
	}
	path := filepath.Join(keys, "issuer.jwk.json")
	if _, err := os.Stat(path); err != nil {
		return nil // without a key beside it a token is read and not verified
	}
	var jwk struct{ Crv, X, Y string }
	readJSON(t, path, &jwk)
	x, err := base64.RawURLEncoding.DecodeString(jwk.X)
	if err != nil {
		return err
	}
	y, err := base64.RawURLEncoding.DecodeString(jwk.Y)
	if err != nil {
		return err
	}
	if jwk.Crv != "P-256" {
		return fmt.Errorf("the key is of %s", jwk.Crv)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return err
	}
	if err := tok.Verify(pub); err != nil {
		return err
	}
	changed := bytes.Clone(data)
	changed[len(changed)-8] ^= 1
	if c, err := statuslist.Parse(changed); err == nil && c.Verify(pub) == nil {
		return errors.New("it verifies with a changed signature")
	}
	return nil
}

// judgeBitstrings judges the W3C's lists.
func judgeBitstrings(t *testing.T, b *board, dir string) {
	for _, path := range jsonFiles(t, dir) {
		var c statusFile
		readJSON(t, path, &c)
		add := func(what string, err error) {
			r := result{format: "trust", group: "bitstring-status-list", name: filepath.Base(path) + " " + what, judgement: agree}
			if err != nil {
				r.judgement, r.detail = disagree, err.Error()
			}
			b.add(r)
		}
		check := func(l *statuslist.Bitmap, err error) error {
			if err != nil {
				return err
			}
			if c.Statuses != nil {
				return sameStatuses(l, max(c.Bits, 1), c.Size, c.Default, c.Statuses)
			}
			counts := l.Counts()
			switch {
			case c.Size != 0 && l.Len() != c.Size, c.DecodedBytes != 0 && l.Len() != c.DecodedBytes*8:
				return fmt.Errorf("%d entries", l.Len())
			case c.BitsSet != nil && counts[1] != *c.BitsSet, c.BitsSet == nil && counts[1] != len(c.Set):
				return fmt.Errorf("%d entries are set", counts[1])
			}
			for _, i := range c.Set {
				if s, err := l.Get(i); s != 1 || err != nil {
					return fmt.Errorf("entry %d is %d, %v", i, s, err)
				}
			}
			return nil
		}
		l, err := statuslist.DecodeBitstring(c.EncodedList, max(c.Bits, 1))
		if done, err := c.refused(err); done {
			add("read", err)
			continue
		}
		if add("read", check(l, err)); err != nil {
			continue
		}
		text, err := l.EncodeBitstring()
		if err == nil {
			l, err = statuslist.DecodeBitstring(text, max(c.Bits, 1))
		}
		add("written", check(l, err))
	}
}

// judgeFilters asks the filters of the EU's reference programs for what was put
// into them, and for what was not.
func judgeFilters(t *testing.T, b *board, dir string) {
	path := filepath.Join(dir, "filters.json")
	if _, err := os.Stat(path); err != nil {
		return
	}
	var cases []struct {
		Type, File string
		N, K, Bits int
		Size       int
		Members    []string
		Lost       []string `json:"lostByReferenceAfterRoundTrip"`
		Queries    []struct {
			H            string
			MightContain bool
		}
	}
	readJSON(t, path, &cases)
	hash := func(text string) dccrevocation.Hash128 {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != 16 {
			t.Fatalf("%s: %q is no hash", path, text)
		}
		return dccrevocation.Hash128(raw)
	}
	lost, recovered := 0, 0
	for _, c := range cases {
		r := result{format: "trust", group: "eu-filters", name: c.File, judgement: agree}
		data, err := os.ReadFile(filepath.Join(dir, c.File))
		if err != nil {
			t.Fatal(err)
		}
		kind := dccfilter.Bloom
		if c.Type == "VARHASHLIST" {
			kind = dccfilter.VarHashList
		}
		f, err := dccfilter.Parse(kind, data)
		if err != nil {
			r.judgement, r.detail = disagree, err.Error()
			b.add(r)
			continue
		}
		var wrong []string
		for _, m := range c.Members {
			if !f.MightContain(hash(m)) {
				wrong = append(wrong, "member "+m+" is not found")
			}
		}
		for _, q := range c.Queries {
			if f.MightContain(hash(q.H)) != q.MightContain {
				wrong = append(wrong, "query "+q.H+" is answered otherwise")
			}
		}
		for _, m := range c.Lost {
			lost++
			if f.MightContain(hash(m)) {
				recovered++
			}
		}
		if f.Len() != c.N {
			wrong = append(wrong, fmt.Sprintf("%d entries, want %d", f.Len(), c.N))
		}
		for n := range data { // none of its beginnings may be read, or crash
			if _, err := dccfilter.Parse(kind, data[:n]); err == nil {
				wrong = append(wrong, fmt.Sprintf("the first %d bytes are read", n))
				break
			}
		}
		if len(wrong) > 0 {
			r.judgement, r.detail = disagree, strings.Join(wrong, "; ")
		}
		b.add(r)
	}
	t.Logf("%d members that the reference loses when it writes and reads, %d of them found here", lost, recovered)
}
