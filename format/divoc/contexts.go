package divoc

// The contexts of a DIVOC certificate say, for each member name of its JSON,
// which statement it makes. They are compiled in, as facts, and never fetched: a
// certificate that could choose its context could choose what it says. A test
// compares them, certificate by certificate, with the published documents.

// The contexts that a certificate may name: the first, and one of the others.
const (
	contextCredentials = "https://www.w3.org/2018/credentials/v1"
	contextVaccination = "https://cowin.gov.in/credentials/vaccination/"
)

const (
	xsd        = "http://www.w3.org/2001/XMLSchema#"
	xsdDate    = xsd + "dateTime"
	xsdInteger = xsd + "integer"
	xsdDouble  = xsd + "double"
	xsdBoolean = xsd + "boolean"
	rdfType    = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
	credBase   = "https://www.w3.org/2018/credentials#"
	secBase    = "https://w3id.org/security#"
	schemaBase = "https://schema.org/"
	dcBase     = "http://purl.org/dc/terms/"
)

// term is what a name means: an IRI, or one of the keywords @id and @type.
type term struct {
	iri string
	// coerce is the type that a text takes: a datatype, or one of @id and @vocab
	// where it is the IRI of something. Empty for plain text.
	coerce string
	// prefix: "name:rest" means the IRI followed by rest. JSON-LD 1.1 section
	// 4.4 has that only for IRIs that end in a delimiter, so that the prefix "vac"
	// of the vaccination contexts is none: "vac:city" is an IRI as it stands.
	prefix bool
	// graph: the value is a graph of its own. Only proof has that, and it is cut
	// off before the statements are made.
	graph bool
	// within are the names that hold inside: of a property, in its value; of a
	// type, in the node that has it.
	within vocabulary
}

type vocabulary map[string]term

// with returns v and the names of w.
func (v vocabulary) with(w vocabulary) vocabulary {
	all := make(vocabulary, len(v)+len(w))
	for _, names := range [...]vocabulary{v, w} {
		for name, t := range names {
			all[name] = t
		}
	}
	return all
}

var keywords = vocabulary{"id": {iri: "@id"}, "type": {iri: "@type"}}

var (
	prefixCred = term{iri: credBase, prefix: true}
	prefixSec  = term{iri: secBase, prefix: true}
	prefixXSD  = term{iri: xsd, prefix: true}
)

// proofNames are those of Ed25519Signature2018 and RsaSignature2018 as types of
// a node inside the certificate. The certificate's own proof is read with
// [security].
var proofNames = vocabulary{
	"challenge":    {iri: secBase + "challenge"},
	"created":      {iri: dcBase + "created", coerce: xsdDate},
	"domain":       {iri: secBase + "domain"},
	"expires":      {iri: secBase + "expiration", coerce: xsdDate},
	"jws":          {iri: secBase + "jws"},
	"nonce":        {iri: secBase + "nonce"},
	"proofPurpose": {iri: secBase + "proofPurpose", coerce: "@vocab", within: purposes.with(vocabulary{"sec": prefixSec})},
	"proofValue":   {iri: secBase + "proofValue"},

	"verificationMethod": {iri: secBase + "verificationMethod", coerce: "@id"},
}

var purposes = keywords.with(vocabulary{
	"assertionMethod": {iri: secBase + "assertionMethod", coerce: "@id"},
	"authentication":  {iri: secBase + "authenticationMethod", coerce: "@id"},
})

// credentials is https://www.w3.org/2018/credentials/v1 but for presentations
// and the signatures on NIST and Bitcoin curves, which are no DIVOC certificates.
var credentials = keywords.with(vocabulary{
	"VerifiableCredential": {iri: credBase + "VerifiableCredential", within: keywords.with(vocabulary{
		"cred": prefixCred, "sec": prefixSec, "xsd": prefixXSD,
		"credentialSchema": {iri: credBase + "credentialSchema", coerce: "@id", within: keywords.with(vocabulary{
			"cred":                    prefixCred,
			"JsonSchemaValidator2018": {iri: credBase + "JsonSchemaValidator2018"},
		})},
		"credentialStatus":  {iri: credBase + "credentialStatus", coerce: "@id"},
		"credentialSubject": {iri: credBase + "credentialSubject", coerce: "@id"},
		"evidence":          {iri: credBase + "evidence", coerce: "@id"},
		"expirationDate":    {iri: credBase + "expirationDate", coerce: xsdDate},
		"holder":            {iri: credBase + "holder", coerce: "@id"},
		"issued":            {iri: credBase + "issued", coerce: xsdDate},
		"issuer":            {iri: credBase + "issuer", coerce: "@id"},
		"issuanceDate":      {iri: credBase + "issuanceDate", coerce: xsdDate},
		"proof":             {iri: secBase + "proof", coerce: "@id", graph: true},
		"refreshService": {iri: credBase + "refreshService", coerce: "@id", within: keywords.with(vocabulary{
			"cred":                     prefixCred,
			"ManualRefreshService2018": {iri: credBase + "ManualRefreshService2018"},
		})},
		"termsOfUse": {iri: credBase + "termsOfUse", coerce: "@id"},
		"validFrom":  {iri: credBase + "validFrom", coerce: xsdDate},
		"validUntil": {iri: credBase + "validUntil", coerce: xsdDate},
	})},
	"Ed25519Signature2018": {iri: secBase + "Ed25519Signature2018", within: keywords.with(proofNames).with(vocabulary{"sec": prefixSec, "xsd": prefixXSD})},
	// This one repeats neither the keywords nor the prefixes, which it inherits
	// where they are defined.
	"RsaSignature2018": {iri: secBase + "RsaSignature2018", within: proofNames},
	"proof":            {iri: secBase + "proof", coerce: "@id", graph: true},
})

var address = term{iri: schemaBase + "PostalAddress", within: vocabulary{
	"streetAddress":  {iri: schemaBase + "streetAddress"},
	"streetAddress2": {iri: "vac:addressLine2"},
	"city":           {iri: "vac:city"},
	"district":       {iri: "vac:district"},
	"addressRegion":  {iri: schemaBase + "addressRegion"},
	"postalCode":     {iri: schemaBase + "postalCode"},
	"addressCountry": {iri: schemaBase + "addressCountry"},
}}

var personV1 = vocabulary{
	"refId":       {iri: schemaBase + "id"},
	"uhid":        {iri: schemaBase + "id"},
	"name":        {iri: schemaBase + "name"},
	"age":         {iri: schemaBase + "Number"},
	"gender":      {iri: schemaBase + "gender"},
	"sex":         {iri: schemaBase + "gender"},
	"nationality": {iri: schemaBase + "nationality"},
	"address":     address,
}

var vaccinationV1 = vocabulary{
	"certificateId":  {iri: schemaBase + "id"},
	"feedbackUrl":    {iri: schemaBase + "url"},
	"infoUrl":        {iri: schemaBase + "url"},
	"batch":          {iri: schemaBase + "id"},
	"vaccine":        {iri: schemaBase + "id"},
	"manufacturer":   {iri: schemaBase + "id"},
	"date":           {iri: schemaBase + "date"},
	"effectiveStart": {iri: schemaBase + "date"},
	"effectiveUntil": {iri: schemaBase + "date"},
	"dose":           {iri: schemaBase + "doseValue"},
	"totalDoses":     {iri: schemaBase + "doseValue"},
	"verifier": {iri: "vac:verifier", within: vocabulary{
		"id":         {iri: schemaBase + "id"}, // no longer the keyword
		"name":       {iri: schemaBase + "name"},
		"sign-image": {iri: schemaBase + "image"},
	}},
	"facility": {iri: "vac:Facility", within: vocabulary{
		"name":       {iri: schemaBase + "name"},
		"address":    address,
		"seal-image": {iri: schemaBase + "image"},
	}},
}

// certificates are the names at the top of a certificate, by the version of its
// vaccination context.
var certificates = map[string]vocabulary{
	"v1": certificate("v1", personV1, vaccinationV1),
	"v2": certificate("v2",
		personV1.with(vocabulary{"dob": {iri: schemaBase + "date"}}),
		vaccinationV1.with(vocabulary{
			"icd11Code":   {iri: schemaBase + "id"},
			"prophylaxis": {iri: schemaBase + "name"},
		})),
}

func certificate(version string, person, vaccination vocabulary) vocabulary {
	return credentials.with(vocabulary{
		"schema":                       {iri: schemaBase, prefix: true},
		"vac":                          {iri: contextVaccination + version},
		"ProofOfVaccinationCredential": {iri: schemaBase + "ProofOfVaccinationCredential", within: vocabulary{"nonTransferable": {iri: "vac:nonTransferable"}}},
		"Person":                       {iri: schemaBase + "Person", within: person},
		"Vaccination":                  {iri: "vac:Vaccination", within: vaccination},
	})
}

// security is what https://w3id.org/security/v2, under which proofs are signed,
// says of the members that the proof of a certificate can have.
var security = keywords.with(vocabulary{
	"dc": {iri: dcBase, prefix: true}, "sec": prefixSec, "xsd": prefixXSD,
	suiteEd25519:         {iri: secBase + suiteEd25519},
	suiteRSA:             {iri: secBase + suiteRSA},
	"assertionMethod":    {iri: secBase + "assertionMethod", coerce: "@id"},
	"authentication":     {iri: secBase + "authenticationMethod", coerce: "@id"},
	"challenge":          {iri: secBase + "challenge"},
	"created":            {iri: dcBase + "created", coerce: xsdDate},
	"creator":            {iri: dcBase + "creator", coerce: "@id"},
	"domain":             {iri: secBase + "domain"},
	"expires":            {iri: secBase + "expiration", coerce: xsdDate},
	"nonce":              {iri: secBase + "nonce"},
	"proofPurpose":       {iri: secBase + "proofPurpose", coerce: "@vocab"},
	"verificationMethod": {iri: secBase + "verificationMethod", coerce: "@id"},
})

// meanings are the IRIs that any name stands for.
var meanings = func() map[string]bool {
	all := map[string]bool{rdfType: true}
	var add func(v vocabulary)
	add = func(v vocabulary) {
		for _, t := range v {
			all[t.iri] = true
			add(t.within)
		}
	}
	for _, v := range certificates {
		add(v)
	}
	add(security)
	return all
}()
