package verifier

// This file holds every word about a verdict that people read, in English.
// Pages, terminals and scripts show these and make up none of their own, so that
// a verdict says the same everywhere and is translated once.

// words are what is said about an outcome or an advice: a title of a few words,
// and what it means and what to do next, for the one who verifies and for the
// holder. The holder stands at the same desk and is rarely at fault.
type words struct{ title, verifier, holder string }

var outcomeWords = map[Outcome]words{
	Malformed: {"Malformed",
		"The code was read, but what is in it is damaged or incomplete; scan it again, or ask for the original on paper or on the holder's own screen.",
		"Your code seems to be damaged or incomplete; please try a clear original, and if that does not help, ask whoever issued it for a new one."},
	Unsupported: {"Not supported",
		"This kind of code cannot be checked here, which says nothing against it; ask for another certificate, or check this one with the tool that is made for it.",
		"Your code is of a kind that cannot be checked here, which says nothing against it; please show another certificate, or have this one checked where its kind is known."},
	BadSignature: {"Bad signature",
		"The signature does not belong to this content, so the code was altered, badly copied or not made by the issuer it names; do not accept it, and ask for the original.",
		"Your code does not match the signature of its issuer, which a faulty copy can cause; please show the original, or ask the issuer for a new one."},
	UnknownIssuer: {"Unknown issuer",
		"No key that is trusted here could have signed this certificate, so nobody known here vouches for it; update the list of trusted keys, and until a key is found, do not accept it.",
		"The issuer of your certificate is not known here, which may be no fault of yours; please show another certificate, or ask the issuer whether its keys are published."},
	UntrustedKey: {"Key not trusted",
		"The signature is right, but the key that made it must not be relied on, for the reason that the check of the key gives; do not accept the certificate, and send the holder to the issuer.",
		"Your certificate was signed with a key that must not be relied on; please ask its issuer for a new one."},
	Revoked: {"Revoked",
		"The certificate is on a list of those that were withdrawn; do not accept it, and send the holder to the issuer, who can say why.",
		"Your certificate has been withdrawn; please ask its issuer why, and whether you can have a new one."},
	Superseded: {"Superseded",
		"The issuer has replaced this certificate by a newer one; do not accept it, and ask the holder for the newer one.",
		"Your certificate was replaced by a newer one; please show that one, or ask the issuer for it."},
	Expired: {"Expired",
		"The time for which the certificate was valid is over; do not accept it, and ask the holder for a newer one.",
		"The time for which your certificate was valid is over; please show a newer one, or ask the issuer to renew it."},
	NotYetValid: {"Not yet valid",
		"The certificate does not count yet; see that the clock of this device is right, and tell the holder from which day the check of the period lets it count.",
		"Your certificate does not count yet; please come back with it on the day from which it does, or show another one."},
	SchemaInvalid: {"Not as its format asks",
		"The content breaks the rules of its own format, so what it means is not sure; do not accept it, and send the holder to the issuer.",
		"There is a mistake in the way your certificate was made; please ask its issuer for a corrected one."},
	ProofInvalid: {"Proof does not hold",
		"The certificate carries a proof that its issue was recorded, and that proof is false; do not accept it, and report it to your authority.",
		"The proof in your certificate that its issue was recorded does not hold; please ask its issuer for a new one."},
	NotHolder: {"Not shown by its holder",
		"It was not proven that the one who presents the certificate is its holder; ask for it to be presented again, from the holder's own wallet.",
		"It could not be proven that this certificate is yours; please present it again, from the wallet it was issued to."},
	RuleFailed: {"Rule not met",
		"The certificate does not meet a rule that applies here, which the check of the rules names; tell the holder which rule it is and what would meet it.",
		"Your certificate does not meet a rule that applies here, such as the waiting time after a vaccination; please ask which rule it is and what would meet it."},
	Unknown: {"Could not be decided",
		"Whether the certificate is valid could not be decided, because something that is needed here is missing or too old; do not take it for valid, load what the checks name, and verify it again.",
		"Whether your certificate is valid could not be decided here, which says nothing against it or you; please have it checked again, or show another one."},
	Valid: {"Valid",
		"The certificate is authentic and in force; if it names a person, compare that person with the identity document of the one before you.",
		"Your certificate is authentic and in force; please show your identity document with it."},
}

var adviceWords = map[AdviceValue]words{
	Concern: {"Concern about the dose",
		"Something is known against the dose itself, which does not make the certificate invalid; show the reason to a health officer, who decides what follows.",
		"There is a question about the dose that you were given; please ask a health worker whether you need another one."},
	NoConcern: {"No concern known about the dose",
		"What is known about the dose speaks for it; there is nothing to do.",
		"Nothing is known that speaks against the dose that you were given; you need do nothing."},
	NotKnown: {"Nothing known about the dose",
		"Nothing is known here about a dose, for it or against it; this is usual, and no reason to refuse the certificate.",
		"Nothing is known here about any dose that you were given, which is usual; you need do nothing."},
}

// Title returns the outcome in a few words.
func (o Outcome) Title() string { return outcomeWords[o].title }

// Sentence returns what the outcome means and what to do next. Both sentences
// are empty for a word that is no outcome.
func (o Outcome) Sentence() (verifier, holder string) {
	w := outcomeWords[o]
	return w.verifier, w.holder
}

// Title returns the advice in a few words.
func (a AdviceValue) Title() string { return adviceWords[a].title }

// Sentence returns what the advice means and what to do next. Both sentences
// are empty for a word that is no advice.
func (a AdviceValue) Sentence() (verifier, holder string) {
	w := adviceWords[a]
	return w.verifier, w.holder
}

var resultTitles = map[Result]string{
	Pass: "passed", Fail: "failed", CannotTell: "unknown", NotApplicable: "not applicable", NotChecked: "not checked",
}

// Title returns the result of a check as people read it.
func (r Result) Title() string { return resultTitles[r] }

var stepQuestions = [steps]string{
	StepRead:        "Is the code of a kind that can be read here?",
	StepDecode:      "Can its content be taken apart without error?",
	StepKeys:        "Is a key with its identifier trusted for this kind of certificate?",
	StepSignature:   "Did one of these keys sign exactly this content?",
	StepKeyValidity: "May that key be relied on for it?",
	StepPeriod:      "Is the certificate in force now?",
	StepSchema:      "Is the content as its format asks?",
	StepStatus:      "Has it been withdrawn or replaced?",
	StepDose:        "Is anything known against the dose?",
	StepProof:       "Does the proof that its issue was recorded hold?",
	StepRules:       "Does it meet the rules that apply here?",
	StepBinding:     "Is it presented by its holder?",
}

// Question returns what a step asks, as people read it.
func (s Step) Question() string { return stepQuestions[s] }
