package didlist

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ampoule/format/strictjson"
)

// Parse reads a trust list. It checks no signature: call
// [Document.VerifyProof] before believing anything. A defect of one entry is
// found in [Entry.Err]; a defect of the proof is reported by VerifyProof.
func Parse(data []byte) (*Document, error) {
	root, err := decodeObject(data)
	if err != nil {
		return nil, err
	}
	d := &Document{root: root}
	if d.Context, err = parseContext(root["@context"]); err != nil {
		return nil, err
	}
	if d.ID, err = iriMember(root, "id"); err != nil {
		return nil, err
	}
	if d.Controller, err = iriMember(root, "controller"); err != nil {
		return nil, err
	}
	methods, ok := root["verificationMethod"].([]any)
	if !ok {
		return nil, fmt.Errorf("verificationMethod: %w", ErrNotDocument)
	}
	if len(methods) > MaxEntries {
		return nil, fmt.Errorf("verificationMethod: %d: %w", len(methods), ErrTooManyEntries)
	}
	first := map[string]int{} // id to its place in verificationMethod
	place := map[int]int{}    // place in verificationMethod to index in Entries
	for i, method := range methods {
		if ref, ok := method.(string); ok && isAbsolute(ref) {
			d.References = append(d.References, ref)
			continue
		}
		e := parseEntry(method)
		if e.ID != "" {
			if e.ID == d.ID {
				// Its statements and the document's own would have one subject.
				e.Err = ErrAmbiguousID
			}
			if j, seen := first[e.ID]; !seen {
				first[e.ID] = i
			} else if sameStatements(d.Context, methods[j], method) {
				e.Err = ErrRepeated
			} else {
				// The union of both is signed. Whoever delivers the document
				// may deal its parts out between the two as he likes.
				e.Err = ErrAmbiguousID
				d.Entries[place[j]].Err = fmt.Errorf("verificationMethod[%d]: %w", j, ErrAmbiguousID)
			}
		}
		if e.Err != nil {
			e.Err = fmt.Errorf("verificationMethod[%d]: %w", i, e.Err)
		}
		place[i] = len(d.Entries)
		d.Entries = append(d.Entries, e)
	}
	d.proofErr = d.parseProof(root["proof"])
	return d, nil
}

func decodeObject(data []byte) (map[string]any, error) {
	v, err := strictjson.Decode(data, strictjson.Limits{})
	if err != nil {
		return nil, err
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, ErrNotDocument
	}
	return root, nil
}

func parseContext(v any) (Context, error) {
	list, ok := v.([]any)
	if !ok || len(list) != 3 || list[0] != contextDID || list[1] != contextJWS {
		return "", fmt.Errorf("@context: %w", ErrUnknownContext)
	}
	third, _ := list[2].(string)
	if _, known := Context(third).suffix(); !known {
		return "", fmt.Errorf("@context[2]: %w", ErrUnknownContext)
	}
	return Context(third), nil
}

func iriMember(object map[string]any, name string) (string, error) {
	s, ok := object[name].(string)
	if !ok {
		return "", fmt.Errorf("%s: %w", name, ErrNotDocument)
	}
	if !isAbsolute(s) {
		return "", fmt.Errorf("%s: %w", name, ErrNotAbsolute)
	}
	return s, nil
}

func parseEntry(v any) (e Entry) {
	if ref, ok := v.(string); ok {
		return Entry{ID: ref, Err: ErrNotAbsolute}
	}
	object, ok := v.(map[string]any)
	if !ok {
		return Entry{Err: ErrEntry}
	}
	e.ID, _ = object["id"].(string)
	e.Type, _ = object["type"].(string)
	e.Controller, _ = object["controller"].(string)
	// The first defect names the entry; later ones would mostly follow from it.
	fail := func(err error) {
		if e.Err == nil {
			e.Err = err
		}
	}
	if !isAbsolute(e.ID) {
		fail(fmt.Errorf("id: %w", ErrNotAbsolute))
	}
	if _, present := object["controller"]; present && !isAbsolute(e.Controller) {
		fail(fmt.Errorf("controller: %w", ErrNotAbsolute))
	}
	for _, code := range []struct {
		name string
		to   *string
	}{{"domain", &e.Domain}, {"participant", &e.Participant}, {"keyusage", &e.KeyUsage}} {
		value, present := object[code.name]
		if !present {
			e.note(ProblemMissingCode)
			continue
		}
		text, wrapped, err := codeText(value)
		if err != nil {
			fail(fmt.Errorf("%s: %w", code.name, ErrBadCode))
			continue
		}
		name, fragment := strings.CutPrefix(text, "#")
		if !fragment || !wrapped {
			e.note(ProblemPlainCode)
		}
		*code.to = name
	}
	// Under any other type the contexts do not define publicKeyJwk: JSON-LD
	// drops it, the proof does not cover it, and so it is not even read.
	if e.Type != typeKey {
		fail(fmt.Errorf("type: %w", ErrEntryType))
		return e
	}
	if err := e.parseKey(object["publicKeyJwk"]); err != nil {
		fail(fmt.Errorf("publicKeyJwk: %w", err))
	}
	return e
}

func (e *Entry) parseKey(v any) error {
	object, ok := v.(map[string]any)
	if !ok {
		return ErrNoKey
	}
	var kid string
	if err := e.JWK.parse(object, &kid); err != nil {
		return err
	}
	if err := e.parseKID(kid); err != nil {
		return err
	}
	var err error
	if e.Chain, err = parseChain(object["x5c"]); err != nil {
		return err
	}
	if e.JWK.Crv != "" && curveByName(e.JWK.Crv) == nil {
		e.note(ProblemUnknownCurve)
	}
	if len(e.Chain) == 0 {
		e.note(ProblemNoX5C)
		e.noteCoordinates(curveByName(e.JWK.Crv))
		e.Key, err = e.JWK.PublicKey()
		return err
	}
	if e.Key, err = certificateKey(e.Chain[0]); err != nil {
		return fmt.Errorf("x5c[0]: %w", err)
	}
	if sum := sha256.Sum256(e.Chain[0]); !bytes.Equal(e.KID, sum[:8]) {
		e.note(ProblemKIDNotDerived)
	}
	e.noteCoordinates(curveOf(e.Key))
	if !e.JWK.restates(e.Key) {
		e.note(ProblemJWKDiffers)
	}
	return nil
}

// parseKID takes the identifier from the JWK, else from the fragment of the id.
func (e *Entry) parseKID(fromJWK string) error {
	_, fromID, _ := strings.Cut(e.ID, "#")
	text := fromJWK
	if text == "" {
		text = fromID
	}
	var err error
	if e.KID, err = decodeBase64(text); err != nil || len(e.KID) == 0 {
		return fmt.Errorf("kid: %w", ErrBadKID)
	}
	if fromJWK != "" && fromID != "" {
		if other, err := decodeBase64(fromID); err != nil || !bytes.Equal(other, e.KID) {
			e.note(ProblemKIDDiffers)
		}
	}
	return nil
}

func (e *Entry) note(p Problem) {
	if !slices.Contains(e.Problems, p) {
		e.Problems = append(e.Problems, p)
	}
}

func parseChain(v any) ([][]byte, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("x5c: %w", ErrBadCertificate)
	}
	if len(list) > MaxChain {
		return nil, fmt.Errorf("x5c: %w", ErrTooLong)
	}
	var chain [][]byte
	for i, item := range list {
		text, _ := item.(string)
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		// DecodeString skips line breaks; RFC 7517 section 4.7 allows none.
		if err != nil || len(der) == 0 || strings.ContainsAny(text, "\r\n") {
			return nil, fmt.Errorf("x5c[%d]: %w", i, ErrBadCertificate)
		}
		chain = append(chain, der)
	}
	return chain, nil
}

var errBase64 = errors.New("not base64")

// decodeBase64 reads either alphabet, with or without padding: kids and
// coordinates come in all four forms.
func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errBase64
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}
