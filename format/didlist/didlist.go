// Package didlist reads, verifies, writes and signs the trust lists that the
// WHO Global Digital Health Certification Network publishes: DID documents
// (W3C did-core) of "trust list version 2", one per domain, participant and
// key usage, signed with JsonWebSignature2020.
//
//	{
//	  "@context": ["https://www.w3.org/ns/did/v1",
//	               "https://w3id.org/security/suites/jws-2020/v1",
//	               "https://smart.who.int/trust/tng-context/v1.jsonld"],
//	  "id": "did:web:tng-cdn.who.int:v2:trustlist:DCC:XXA",
//	  "controller": "did:web:tng-cdn.who.int:v2:trustlist:DCC",
//	  "verificationMethod": [
//	    { "id": "did:web:tng-cdn.who.int:v2:trustlist:DCC:XXA:DSC#<kid>",
//	      "type": "JsonWebKey2020",
//	      "controller": "did:web:tng-cdn.who.int:v2:trustlist:DCC",
//	      "publicKeyJwk": {"kty": "EC", "kid": "<kid>", "x5c": ["..."], "crv": "P-256", "x": "...", "y": "..."},
//	      "domain": {"code": "#DCC"}, "participant": {"code": "#XXA"}, "keyusage": {"code": "#DSC"} },
//	    "did:web:tng-cdn.who.int:v2:trustlist:DCC:XXB" ],
//	  "proof": {"type": "JsonWebSignature2020", "created": "...", "nonce": "...",
//	            "proofPurpose": "assertionMethod", "verificationMethod": "did:web:...", "jws": "<header>..<signature>"}
//	}
//
// The steps of a reader are [Parse], then [Document.VerifyProof] with a key
// that was pinned beforehand (the key's own DID resolves through a code
// hosting site: never fetch it), then the entries whose Err is nil. What the
// proof cannot tell: it covers no expiry, no sequence number and no previous
// list, so an old list verifies as well as a new one. Compare
// [Document.Created] with what was seen before.
//
// The proof is over the RDF statements of the document, not over its bytes.
// canonical.go derives those statements for this one shape of document and
// refuses every other; properties that the contexts do not define have no
// statement, are not signed, and are never shown.
package didlist

import (
	"crypto"
	"time"

	"ampoule/format"
)

// Defects of a whole document, from [Parse] and [ParseKeyDocument]. Defects of
// the JSON itself are those of package strictjson.
const (
	ErrNotDocument    format.Defect = "not-a-did-document"  // no object, or id, controller or verificationMethod missing or of a wrong type
	ErrUnknownContext format.Defect = "unknown-context"     // @context is none of the three published lists
	ErrTooManyEntries format.Defect = "too-many-entries"    // more than [MaxEntries]
	ErrNotAbsolute    format.Defect = "not-an-absolute-iri" // an identifier that JSON-LD would drop or resolve; also as Entry.Err
)

// Defects of a proof, from [Document.VerifyProof].
const (
	ErrNoProof       format.Defect = "no-proof"             // the document carries none
	ErrBadProof      format.Defect = "malformed-proof"      // a member missing, of a wrong type, or not decodable
	ErrAlgorithm     format.Defect = "algorithm-refused"    // the JWS header is not exactly alg ES256, b64 false, crit b64
	ErrKeyType       format.Defect = "key-type-refused"     // the key is not on P-256
	ErrSignature     format.Defect = "bad-signature"        // the signature does not verify
	ErrShape         format.Defect = "unsupported-shape"    // valid JSON-LD perhaps, but nothing the network publishes
	ErrSignerRefused format.Defect = "signer-key-not-p-256" // Sign was given another kind of key
)

// Defects of one entry, found in [Entry.Err]. The other entries stay usable.
const (
	ErrEntry          format.Defect = "malformed-entry"   // neither an object nor a string, or a member of a wrong type
	ErrEntryType      format.Defect = "entry-type"        // type is not JsonWebKey2020, so its key would not be signed
	ErrBadCode        format.Defect = "malformed-code"    // domain, participant or keyusage is not a code
	ErrBadKID         format.Defect = "malformed-kid"     // the key identifier is missing or not base64
	ErrBadCertificate format.Defect = "malformed-x5c"     // x5c is not a list of base64 DER certificates
	ErrNoKey          format.Defect = "no-key"            // neither x5c nor a usable JWK
	ErrUnsupportedKey format.Defect = "unsupported-key"   // a curve, algorithm or size that no profile uses
	ErrRepeated       format.Defect = "repeated-entry"    // the same entry again; the first one stands
	ErrAmbiguousID    format.Defect = "ambiguous-id"      // two different entries under one id: the proof cannot tell which parts belong together
	ErrTooLong        format.Defect = "certificate-chain" // more than [MaxChain] certificates
)

// Bounds on what one document may hold. The largest published list has 501
// entries, the longest chain two certificates.
const (
	MaxEntries = 20000
	MaxChain   = 8
)

// A Context names the third JSON-LD context of a document, and with it the
// environment that the document belongs to.
type Context string

// The three published contexts.
const (
	ContextProduction Context = "https://smart.who.int/trust/tng-context/v1.jsonld"
	ContextUAT        Context = "https://smart.who.int/trust/tng-context/v1-UAT.jsonld"
	ContextDevelop    Context = "https://smart.who.int/trust/tng-context/v1-DEV.jsonld"
)

// The first two contexts, the same in every document.
const (
	contextDID = "https://www.w3.org/ns/did/v1"
	contextJWS = "https://w3id.org/security/suites/jws-2020/v1"
)

// suffix is what the environment adds to the names of its value sets.
func (c Context) suffix() (suffix string, known bool) {
	switch c {
	case ContextProduction:
		return "", true
	case ContextUAT:
		return "-UAT", true
	case ContextDevelop:
		return "-DEV", true
	}
	return "", false
}

// A Document is one trust list. The exported fields are a reading of the
// parsed bytes; [Document.VerifyProof] speaks about those bytes, and changing
// a field afterwards does not change what it says.
type Document struct {
	Context    Context
	ID         string    // the DID of the list
	Controller string    // the DID of the list above it
	Created    time.Time // when the list was signed, by the signer's clock; zero without a readable proof
	Entries    []Entry
	References []string // other DIDs whose documents belong to this list, also of foreign hosts
	Proof      Proof

	root     map[string]any // what was parsed; nil for a document made by New
	proofErr error          // why Proof is empty or incomplete
}

// A Proof is what the document says about its signature.
type Proof struct {
	VerificationMethod string // DID of the signing key, as claimed
	Nonce              string
	Purpose            string // always "assertionMethod"
	Signature          []byte // as carried, in SignatureForm
	SignatureForm      SignatureForm
}

// SignatureForm tells how an ECDSA signature is laid out.
type SignatureForm string

const (
	// FormDER is the ASN.1 sequence of R and S. The network signs its lists so,
	// although RFC 7518 section 3.4 asks for the other form.
	FormDER SignatureForm = "asn1-der"
	// FormRS is R and S, 32 bytes each (RFC 7518 section 3.4).
	FormRS SignatureForm = "r-s"
)

// An Entry is one key of the list. Entries whose Err is set are incomplete and
// must not be used; they are kept so that a caller can say what was dropped
// and why.
type Entry struct {
	ID          string
	Type        string // always JsonWebKey2020 where Err is nil
	Controller  string
	Domain      string           // DCC, PH4H, ...; the leading '#' is removed
	Participant string           // ISO 3166 alpha-3 or a virtual country (XXA)
	KeyUsage    string           // SCA, DSC, DECA, DESC, TLS, UP; DEV lists also say CSCA
	KID         []byte           // key identifier; usually SHA-256(certificate)[0:8], but see ProblemKIDNotDerived
	Chain       [][]byte         // DER certificates: the key's own, then its issuer where the network found one
	JWK         JWK              // the key as the list restates it: a hint
	Key         crypto.PublicKey // from Chain[0], or from the JWK where there is no chain
	Problems    []Problem        // oddities that do not stop the entry
	Err         error
}

// JWK is the key as publicKeyJwk restates it. Coordinates are as carried: the
// network writes many with a leading zero byte, some with a byte missing.
type JWK struct {
	Kty, Crv   string
	X, Y, N, E []byte
}

// A Problem is an oddity of an entry: known from published lists, harmless to
// a reader who takes the key from the certificate, and worth showing to the
// participant whose entry it is.
type Problem string

// The oddities.
const (
	ProblemPaddedCoordinate Problem = "padded-coordinate"    // x, y or n starts with a zero byte too many
	ProblemShortCoordinate  Problem = "short-coordinate"     // x or y lacks its leading zero byte
	ProblemUnknownCurve     Problem = "unknown-curve-name"   // crv is not a registered name ("UNKNOWN CURVE")
	ProblemJWKDiffers       Problem = "jwk-differs-from-x5c" // the JWK is not the key of the certificate
	ProblemNoX5C            Problem = "no-x5c"               // the key comes from the JWK alone
	ProblemKIDNotDerived    Problem = "kid-not-derived"      // a custom identifier
	ProblemKIDDiffers       Problem = "kid-differs-from-id"  // publicKeyJwk.kid is not the fragment of id
	ProblemPlainCode        Problem = "plain-code"           // a code without '#', or not in an object
	ProblemMissingCode      Problem = "missing-code"         // no domain, participant or keyusage
)
