package didlist

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// This file says what RDF statements a trust list makes, sorted as the
// canonicalisation algorithm URDNA2015 (W3C rdf-canon) would. A general JSON-LD
// processor takes seconds for the largest list and minutes for a hostile one.
// The published documents have one shape under fixed contexts, for which these
// rules are complete:
//
//	subject        property of JSON     predicate                                object
//	document id    controller           https://w3id.org/security#controller     IRI
//	document id    verificationMethod   https://w3id.org/security#verific...     IRI: the entry's id, or the string itself
//	entry id       type                 rdf:type                                 https://w3id.org/security#JsonWebKey2020
//	entry id       controller           https://w3id.org/security#controller     IRI
//	entry id       publicKeyJwk         https://w3id.org/security#publicKeyJwk   literal of type rdf:JSON, RFC 8785 form
//	entry id       domain, participant, .../trust/ValueSet-Domains-DEV.jsonld    IRI: code resolved against the predicate
//	               keyusage             (Participants, KeyUsage likewise)
//	_:c14n0        type, created, ...   the proof options, see canonicalProof
//
// The document has no blank node and the proof options have one, so naming
// blank nodes, the expensive half of URDNA2015, is settled: the one is
// _:c14n0. What remains is to write each statement as a line of N-Quads, sort
// the lines, and write equal lines once (a graph is a set).
//
// A property that no active context defines makes no statement: it is skipped
// here as JSON-LD skips it, and Parse does not show it. A property that is
// defined, but that no published document uses in that place, is refused with
// [ErrShape]; so are keywords ("@graph"), the empty name (processors differ on
// it), names with a colon (they may be IRIs), identifiers that are not absolute
// IRIs (JSON-LD drops their statements), and arrays, nulls or numbers where
// published documents have a string.

const (
	securityVocab = "https://w3id.org/security#"
	trustBase     = "https://smart.who.int/trust/"
	rdfType       = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
	rdfJSON       = "http://www.w3.org/1999/02/22-rdf-syntax-ns#JSON"
	xsdDateTime   = "http://www.w3.org/2001/XMLSchema#dateTime"
	dcCreated     = "http://purl.org/dc/terms/created"

	typeKey   = "JsonWebKey2020"
	typeProof = "JsonWebSignature2020"
)

// definedEverywhere are the terms that the three contexts define at the top,
// and that therefore make statements wherever they stand.
var definedEverywhere = []string{
	"id", "type", "alsoKnownAs", "assertionMethod", "authentication", "capabilityDelegation",
	"capabilityInvocation", "controller", "keyAgreement", "service", "verificationMethod",
	"privateKeyJwk", typeKey, typeProof,
	"proof", "domain", "participant", "keyusage",
}

// checkProperties refuses the members of object that make a statement, other
// than those in known. extra are the terms that the object's own context adds.
func checkProperties(object map[string]any, known, extra []string) error {
	for name := range object {
		switch {
		case slices.Contains(known, name):
		case name == "", strings.HasPrefix(name, "@"), strings.Contains(name, ":"),
			slices.Contains(definedEverywhere, name), slices.Contains(extra, name):
			// The name is the writer's text: it stays out of the error.
			return fmt.Errorf("a property that is not used here: %w", ErrShape)
		}
	}
	return nil
}

// canonicalDocument returns the statements of the document without its proof.
func canonicalDocument(root map[string]any, context Context) ([]byte, error) {
	known := []string{"@context", "id", "controller", "verificationMethod", "proof"}
	if err := checkProperties(root, known, nil); err != nil {
		return nil, err
	}
	id, err := iri(root, "id")
	if err != nil {
		return nil, err
	}
	controller, err := iri(root, "controller")
	if err != nil {
		return nil, err
	}
	methods, ok := root["verificationMethod"].([]any)
	if !ok {
		return nil, fmt.Errorf("verificationMethod: %w", ErrShape)
	}
	lines := make([]string, 0, 2+7*len(methods))
	lines = append(lines, line("<"+id+">", securityVocab+"controller", "<"+controller+">"))
	for i, method := range methods {
		object := method
		if entry, ok := method.(map[string]any); ok {
			statements, err := entryStatements(entry, context)
			if err != nil {
				return nil, fmt.Errorf("verificationMethod[%d]: %w", i, err)
			}
			lines = append(lines, statements...)
			object = entry["id"]
		}
		target, ok := object.(string)
		if !ok || !isAbsolute(target) {
			return nil, fmt.Errorf("verificationMethod[%d]: %w", i, ErrShape)
		}
		lines = append(lines, line("<"+id+">", securityVocab+"verificationMethod", "<"+target+">"))
	}
	return canonicalLines(lines), nil
}

func entryStatements(entry map[string]any, context Context) ([]string, error) {
	known := []string{"id", "type", "controller", "publicKeyJwk", "domain", "participant", "keyusage"}
	if err := checkProperties(entry, known, nil); err != nil {
		return nil, err
	}
	id, err := iri(entry, "id")
	if err != nil {
		return nil, err
	}
	subject := "<" + id + ">"
	if entry["type"] != typeKey {
		// Any other type is a relative IRI and makes no statement, nor would
		// publicKeyJwk, which only this type's context defines.
		return nil, fmt.Errorf("type: %w", ErrShape)
	}
	lines := []string{line(subject, rdfType, "<"+securityVocab+typeKey+">")}
	if _, present := entry["controller"]; present {
		controller, err := iri(entry, "controller")
		if err != nil {
			return nil, err
		}
		lines = append(lines, line(subject, securityVocab+"controller", "<"+controller+">"))
	}
	if jwk, present := entry["publicKeyJwk"]; present {
		object, ok := jwk.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("publicKeyJwk: %w", ErrShape)
		}
		text, err := appendCanonicalJSON(nil, object)
		if err != nil {
			return nil, fmt.Errorf("publicKeyJwk: %w", err)
		}
		lines = append(lines, line(subject, securityVocab+"publicKeyJwk", literal(string(text))+"^^<"+rdfJSON+">"))
	}
	suffix, _ := context.suffix()
	for _, code := range []struct{ property, valueSet string }{
		{"domain", "ValueSet-Domains"}, {"participant", "ValueSet-Participants"}, {"keyusage", "ValueSet-KeyUsage"},
	} {
		value, present := entry[code.property]
		if !present {
			continue
		}
		text, _, err := codeText(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", code.property, err)
		}
		// The context sets @base to the predicate with '#' at its end. Against
		// that, RFC 3986 section 5.2 resolves "#X" to the predicate with the
		// fragment X, and "X" to X beside the value set.
		predicate := trustBase + code.valueSet + suffix + ".jsonld"
		object := predicate + text
		if !strings.HasPrefix(text, "#") {
			object = trustBase + text
		}
		lines = append(lines, line(subject, predicate, "<"+object+">"))
	}
	return lines, nil
}

// codeText returns the text of a domain, participant or keyusage: {"code": s}
// or s itself, which mean the same (the property's own context, with its base,
// holds for both). wrapped tells which. The text is a name, or '#' and a name.
func codeText(v any) (text string, wrapped bool, err error) {
	if object, ok := v.(map[string]any); ok {
		// publicKeyJwk is here because processors differ on whether the
		// entry's type reaches this far down.
		if err := checkProperties(object, []string{"code"}, []string{"publicKeyJwk"}); err != nil {
			return "", true, err
		}
		v, wrapped = object["code"], true
	}
	text, ok := v.(string)
	name := strings.TrimPrefix(text, "#")
	if !ok || !isName(name) {
		return "", wrapped, ErrShape
	}
	return text, wrapped, nil
}

// isName keeps to characters that resolving an IRI reference leaves alone; a
// name that starts with a dot could be a path segment with a meaning.
func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !isAlphanumeric(c) && c != '-' && (i == 0 || (c != '_' && c != '.')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// canonicalProof returns the statements of the proof without its signature:
//
//	_:c14n0 rdf:type                      <https://w3id.org/security#JsonWebSignature2020>
//	_:c14n0 dc:created, security#expiration      "..."^^xsd:dateTime
//	_:c14n0 security#nonce, #challenge, #domain  "..."
//	_:c14n0 security#proofPurpose         <https://w3id.org/security#assertionMethod>
//	_:c14n0 security#verificationMethod   IRI
func canonicalProof(proof map[string]any) ([]byte, error) {
	known := []string{"type", "created", "expires", "nonce", "challenge", "domain", "proofPurpose", "verificationMethod", "jws"}
	if err := checkProperties(proof, known, nil); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	const subject = "_:c14n0"
	if proof["type"] != typeProof {
		return nil, fmt.Errorf("proof.type: %w", ErrShape)
	}
	if proof["proofPurpose"] != "assertionMethod" {
		return nil, fmt.Errorf("proof.proofPurpose: %w", ErrShape)
	}
	method, err := iri(proof, "verificationMethod")
	if err != nil {
		return nil, fmt.Errorf("proof.%w", err)
	}
	lines := []string{
		line(subject, rdfType, "<"+securityVocab+typeProof+">"),
		line(subject, securityVocab+"proofPurpose", "<"+securityVocab+"assertionMethod>"),
		line(subject, securityVocab+"verificationMethod", "<"+method+">"),
	}
	for _, p := range []struct{ property, predicate, datatype string }{
		{"created", dcCreated, "^^<" + xsdDateTime + ">"},
		{"expires", securityVocab + "expiration", "^^<" + xsdDateTime + ">"},
		{"nonce", securityVocab + "nonce", ""},
		{"challenge", securityVocab + "challenge", ""},
		{"domain", securityVocab + "domain", ""},
	} {
		value, present := proof[p.property]
		if !present {
			continue
		}
		text, ok := value.(string)
		if !ok || hasControl(text) {
			return nil, fmt.Errorf("proof.%s: %w", p.property, ErrShape)
		}
		lines = append(lines, line(subject, p.predicate, literal(text)+p.datatype))
	}
	return canonicalLines(lines), nil
}

func iri(object map[string]any, name string) (string, error) {
	s, ok := object[name].(string)
	if !ok {
		return "", fmt.Errorf("%s: %w", name, ErrShape)
	}
	if !isAbsolute(s) {
		return "", fmt.Errorf("%s: %w", name, ErrNotAbsolute)
	}
	return s, nil
}

// isAbsolute accepts the identifiers that every processor takes for absolute
// IRIs and leaves as they are: DIDs and https URLs in ASCII.
func isAbsolute(s string) bool {
	rest, isDID := strings.CutPrefix(s, "did:")
	if !isDID {
		var isURL bool
		if rest, isURL = strings.CutPrefix(s, "https://"); !isURL {
			return false
		}
	}
	// The DID method, or the host, which takes no user and no port here.
	n := 0
	for n < len(rest) && (isAlphanumeric(rest[n]) || (!isDID && (rest[n] == '.' || rest[n] == '-'))) {
		n++
	}
	if n == 0 || (isDID && (n == len(rest) || rest[n] != ':' || n+1 == len(rest))) {
		return false
	}
	if !isDID && n < len(rest) && rest[n] != '/' {
		return false
	}
	fragment := false
	for i := n; i < len(rest); i++ {
		switch c := rest[i]; {
		case isAlphanumeric(c), strings.IndexByte("-._~:/?@!$&'()*+,;=", c) >= 0:
		case c == '#' && !fragment:
			fragment = true
		case c == '%' && i+2 < len(rest) && isHex(rest[i+1]) && isHex(rest[i+2]):
		default:
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f'
}

// hasControl finds the characters that the two generations of canonical
// N-Quads escape differently (URDNA2015 writes a tab as it is, RDFC-1.0 as
// \t). Nothing published has one.
func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7F }) >= 0
}

// line writes one statement. The subject and the object come with their
// brackets or quotes.
func line(subject, predicate, object string) string {
	return subject + " <" + predicate + "> " + object + " .\n"
}

var literalEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// literal quotes a string. Line breaks, the other characters that N-Quads
// escapes, cannot occur: see hasControl and appendCanonicalString.
func literal(s string) string { return `"` + literalEscaper.Replace(s) + `"` }

func canonicalLines(lines []string) []byte {
	slices.Sort(lines)
	return []byte(strings.Join(slices.Compact(lines), ""))
}

// sameStatements tells whether two entries say exactly the same.
func sameStatements(context Context, a, b any) bool {
	objectA, okA := a.(map[string]any)
	objectB, okB := b.(map[string]any)
	if !okA || !okB {
		return false
	}
	linesA, errA := entryStatements(objectA, context)
	linesB, errB := entryStatements(objectB, context)
	return errA == nil && errB == nil && slices.Equal(linesA, linesB)
}

// appendCanonicalJSON writes v as RFC 8785 wants it. Numbers are refused: no
// member of a JWK is one (RFC 7517 section 4, RFC 7518 section 6).
func appendCanonicalJSON(to []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(to, "null"...), nil
	case bool:
		return fmt.Appendf(to, "%t", v), nil
	case string:
		return appendCanonicalString(to, v)
	case []any:
		to = append(to, '[')
		for i, item := range v {
			if i > 0 {
				to = append(to, ',')
			}
			if to, err = appendCanonicalJSON(to, item); err != nil {
				return nil, err
			}
		}
		return append(to, ']'), nil
	case map[string]any:
		to = append(to, '{')
		for i, name := range sortedNames(v) {
			if i > 0 {
				to = append(to, ',')
			}
			if to, err = appendCanonicalString(to, name); err != nil {
				return nil, err
			}
			to = append(to, ':')
			if to, err = appendCanonicalJSON(to, v[name]); err != nil {
				return nil, err
			}
		}
		return append(to, '}'), nil
	}
	return nil, fmt.Errorf("a number: %w", ErrShape)
}

// sortedNames orders by UTF-16 code units, RFC 8785 section 3.2.3. That
// differs from the order of the bytes above U+FFFF.
func sortedNames(object map[string]any) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	return names
}

// appendCanonicalString is RFC 8785 section 3.2.2.2.
func appendCanonicalString(to []byte, s string) ([]byte, error) {
	to = append(to, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c >= 0x20 && c != 0x7F:
			to = append(to, c)
		case c == '\b':
			to = append(to, `\b`...)
		case c == '\t':
			to = append(to, `\t`...)
		case c == '\n':
			to = append(to, `\n`...)
		case c == '\f':
			to = append(to, `\f`...)
		case c == '\r':
			to = append(to, `\r`...)
		case c < 0x20:
			to = fmt.Appendf(to, `\u%04x`, c)
		default: // DEL, which stands bare in JSON: see hasControl
			return nil, fmt.Errorf("a control character: %w", ErrShape)
		}
	}
	return append(to, '"'), nil
}
