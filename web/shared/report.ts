// The lines that the engine answers with: party/verifier.Report.

export type Outcome =
  | 'malformed' | 'unsupported' | 'bad-signature' | 'unknown-issuer' | 'untrusted-key' | 'revoked' | 'superseded' | 'expired'
  | 'not-yet-valid' | 'schema-invalid' | 'proof-invalid' | 'not-holder' | 'rule-failed' | 'unknown' | 'valid'
export type Result = 'pass' | 'fail' | 'unknown' | 'not-applicable' | 'not-checked'
export type CheckName =
  | 'read' | 'decode' | 'keys' | 'signature' | 'key-validity' | 'period' | 'schema' | 'status' | 'dose' | 'proof' | 'rules' | 'binding'

export interface Check { name: CheckName; outcome: Result; reason?: string; detail?: string }
export interface Code { code: string; display?: string }

export interface Event {
  vaccination?: {
    disease: Code; vaccine?: Code; product?: Code; manufacturer?: Code; lot?: string; date?: string; dose?: number; doses?: number
    country?: string; clinician?: string; valid_from?: string; valid_until?: string
  }
  test?: { disease: Code; type: Code; name?: string; device?: Code; sampled: string; reported?: string; result: Code; centre?: string; country?: string }
}

export interface Certificate extends Event {
  kind: string
  id?: string
  authority?: string
  issued?: string
  valid_from?: string
  expires?: string
  person?: {
    name: { full?: string; family?: string; given?: string; full_mrz?: string; family_mrz?: string; given_mrz?: string }
    birth_date?: string; sex?: string; nationality?: string; document?: { number?: string; type?: string }; guardian?: string
  }
  recovery?: { disease: Code; first_positive: string; country?: string; valid_from?: string; valid_until?: string }
  link?: { url: string; label?: string; passcode?: boolean; long_term?: boolean; expires?: string }
  earlier?: Event[]
}

export interface Report {
  format: string
  outcome: Outcome
  reason: string
  advice: { value: 'concern' | 'no-concern' | 'not-known'; reason?: string }
  checks: Check[]
  issuer: { participant?: string; kid?: string }
  certificate?: Certificate
}

/** Tone is the shape and colour of an outcome. What could not be decided is not red: nothing was found against it. */
export type Tone = 'good' | 'bad' | 'open'
export const toneOf = (o: Outcome): Tone => (o === 'valid' ? 'good' : o === 'unknown' ? 'open' : 'bad')
