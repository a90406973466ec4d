package cbor

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"

	fx "github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// second is another library's opinion, set to the limits of DefaultLimits. It
// differs on purpose in these points, which agree, below, allows for:
//
//   - it counts the tags of a chain but the first towards the depth; Parse
//     counts all of them;
//   - it has no limit on the items of a whole document;
//   - it checks what stands inside tags 0 to 3, and turns it into times and
//     large integers; Parse leaves tags to the format that uses them;
//   - it compares keys as Go does, so that 0.0 and -0.0 are one key and NaN
//     never equals itself; Parse follows RFC 8949 section 5.6.1, by value of
//     the generic data model, where the zeros differ;
//   - it cannot hold arrays, maps, or integers below int64 as keys.
func second(t testing.TB) fx.DecMode {
	mode, err := fx.DecOptions{
		DupMapKey:        fx.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  DefaultLimits.Depth,
		MaxMapPairs:      DefaultLimits.Pairs,
		MaxArrayElements: DefaultLimits.Items,
		IndefLength:      fx.IndefLengthAllowed,
		UTF8:             fx.UTF8RejectInvalid,
		IntDec:           fx.IntDecConvertNone,
		MapKeyByteString: fx.MapKeyByteStringAllowed,
	}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	return mode
}

// contains reports whether an item with that property is in v.
func contains(v Value, property func(Value) bool) bool {
	if property(v) {
		return true
	}
	if _, inner, ok := v.Tag(); ok {
		return contains(inner, property)
	}
	for e := range v.Elements() {
		if contains(e, property) {
			return true
		}
	}
	for k, val := range v.Pairs() {
		if contains(k, property) || contains(val, property) {
			return true
		}
	}
	return false
}

// interpreted reports a tag whose content the other library interprets.
func interpreted(v Value) bool {
	number, _, ok := v.Tag()
	return ok && number <= 3
}

// oddKeys reports a map that the other library cannot hold or compares in its
// own way.
func oddKeys(v Value) bool {
	for k := range v.Pairs() {
		u := k.Untagged()
		_, fits := u.Int()
		f, _ := u.Float()
		switch {
		case u.Kind() == Array || u.Kind() == Map, u.Kind() == Negative && !fits,
			u.Kind() == Float && (f == 0 || math.IsNaN(f)), u.Kind() == Bytes && k.Kind() == Tag,
			u.IsNull(): // it takes null and undefined for one
			return true
		}
	}
	return false
}

// plainSecond turns a value of the other library into what plain returns; maps
// lose their order.
func plainSecond(v any) any {
	switch x := v.(type) {
	case uint64:
		if x > math.MaxInt64 {
			return new(big.Int).SetUint64(x)
		}
		return int64(x)
	case big.Int:
		return &x
	case fx.ByteString:
		return []byte(x)
	case fx.SimpleValue:
		return simple(x)
	case fx.Tag:
		return tagged{x.Number, plainSecond(x.Content)}
	case []any:
		a := []any{}
		for _, e := range x {
			a = append(a, plainSecond(e))
		}
		return a
	case map[any]any:
		m := pairs{}
		for k, val := range x {
			m = append(m, [2]any{plainSecond(k), plainSecond(val)})
		}
		return m
	}
	return v
}

// sorted orders the pairs of every map by their keys' deterministic encoding,
// and writes undefined as the null that the other library makes of it.
func sorted(t *testing.T, val any) any {
	key := func(k any) []byte {
		mode, err := fx.CoreDetEncOptions().EncMode()
		if err != nil {
			t.Fatal(err)
		}
		// Kinds that share an encoding here are told apart by their Go type.
		data, err := mode.Marshal([]any{fmt.Sprintf("%T", k), k})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	switch x := val.(type) {
	case pairs:
		for i := range x {
			x[i][0], x[i][1] = sorted(t, x[i][0]), sorted(t, x[i][1])
		}
		slices.SortFunc(x, func(a, b [2]any) int { return bytes.Compare(key(a[0]), key(b[0])) })
	case []any:
		for i := range x {
			x[i] = sorted(t, x[i])
		}
	case tagged:
		x.Content = sorted(t, x.Content)
		return x
	case undefined:
		return nil
	}
	return val
}

// keyNaN reports a map of the other library with a key that is not a number.
func keyNaN(v any) bool {
	switch x := v.(type) {
	case fx.Tag:
		return keyNaN(x.Content)
	case []any:
		return slices.ContainsFunc(x, keyNaN)
	case map[any]any:
		for k, val := range x {
			tag, isTag := k.(fx.Tag)
			for ; isTag; tag, isTag = k.(fx.Tag) {
				k = tag.Content
			}
			if f, ok := k.(float64); ok && math.IsNaN(f) || keyNaN(val) {
				return true
			}
		}
	}
	return false
}

// agree compares Parse with the other library.
func agree(t *testing.T, data []byte) (Value, error) {
	t.Helper()
	mode := second(t)
	v, err := Parse(data, DefaultLimits)
	wellFormed := mode.Wellformed(data)
	if err != nil {
		var other any
		switch {
		case errors.Is(err, ErrDepth), errors.Is(err, ErrTooManyItems):
			// Parse is stricter, or hits its limit before it sees the defect.
		case errors.Is(err, ErrDuplicateKey), errors.Is(err, ErrUTF8):
			// Validity, which Wellformed does not judge; but Parse stops at the first
			// such defect, and what follows it may be malformed.
			if wellFormed == nil && mode.Unmarshal(data, &other) == nil && !keyNaN(other) {
				t.Errorf("Parse: %v; the other library: %v", err, other)
			}
		case wellFormed == nil:
			t.Errorf("Parse: %v; the other library finds it well-formed", err)
		}
		return v, err
	}
	if wellFormed != nil {
		t.Fatalf("Parse accepts; the other library: %v", wellFormed)
	}
	if contains(v, interpreted) || contains(v, oddKeys) {
		return v, nil
	}
	var other any
	if err := mode.Unmarshal(data, &other); err != nil {
		t.Fatalf("Parse accepts; the other library: %v", err)
	}
	if diff := cmp.Diff(sorted(t, plainSecond(other)), sorted(t, plain(v)), compareNumbers); diff != "" {
		t.Errorf("values (-other +ours):\n%s", diff)
	}
	return v, nil
}

// FuzzParse: no input panics; both libraries accept the same inputs with the
// same values; what the Append functions write of a value is that value.
func FuzzParse(f *testing.F) {
	for _, e := range examples {
		f.Add(unhex(f, e.hex))
	}
	for _, s := range []string{
		"a2616100 7f6161ff 00", "a2 f97e00 00 f97e00 00", "a2 f90000 00 f98000 00", "a2810100 811801 00",
		"d818d818d81800", "5f4161ff", "7f61c361bcff", "f81f", "f820", "a1f6f7", "a1c10100", "a2f600f700",
		"a2 f4 00 e0 00", "9b4000000000000000", "bf6161ff", "a1390103a101a16376657265312e332e30",
	} {
		f.Add(unhex(f, s))
	}
	f.Add(deep(16))
	f.Add(deep(17))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := agree(t, data)
		if err != nil {
			if v.Exists() {
				t.Error("an item beside the error")
			}
			return
		}
		if !bytes.Equal(v.Encoded(), data) {
			t.Errorf("Encoded = %x", v.Encoded())
		}
		v.AppendJSON(nil)
		if again, ok := appendPlain(nil, plain(v)); ok {
			w, err := Parse(again, DefaultLimits)
			if err != nil {
				t.Fatalf("written again: %v", err)
			}
			if diff := cmp.Diff(plain(v), plain(w), compareNumbers); diff != "" {
				t.Errorf("written again:\n%s", diff)
			}
			if len(again) > len(data) {
				t.Errorf("%d bytes written for %d: not the shortest", len(again), len(data))
			}
		}
	})
}
