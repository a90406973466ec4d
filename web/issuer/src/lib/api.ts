// What the page asks of the server: /v1/, as /docs describes it.
import { messages } from '../../../shared/messages.svelte'
import type { Certificate, Report } from '../../../shared/report'

export type Format = 'icvp' | 'eu-dcc' | 'ddcc' | 'shc' | 'vds-nc'
export type State = 'valid' | 'revoked' | 'superseded'

export interface Session { id: string; organisation: string; grants: { role: string; facility?: string }[]; actions: string[]; ledger: boolean; cold_chain: boolean; ends?: string }
export interface Code { code: string; system?: string; display?: string }
export interface Offered { format: Format; must_expire: boolean; may_expire: boolean; last_expiry?: string; irrevocable: boolean; required: string[] }
export interface Offer {
  authority: string
  participant: string
  country?: string
  formats: Offered[]
  places: { organisation: string; facility?: string }[]
  reasons: string[]
  products: (Code & { disease?: string; manufacturer?: string })[]
  diseases: { word: string; snomed: string; icd11: string; name: string }[]
  sets: Record<string, (Code & { alpha3?: string })[]>
}
export interface Head {
  id: string; organisation: string; facility?: string; version: number; state: State; reason?: string
  issued: string; changed: string; corrects?: string; correction?: string; formats: Format[]
}
export interface Held extends Head {
  record: Certificate
  advice?: { value: 'concern' | 'not-known'; reason: string }
  certificates: { format: Format; kid: string; text: string; expires?: string; current: boolean; revocable: boolean; log?: Logged }[]
}
export interface Logged { state: 'waiting' | 'closed' | 'submitted' | 'logged'; batch?: number; root?: string; reason?: string; index?: number; checkpoint?: string }
export interface Receipt extends Held { replayed: boolean; same: string[] }
export interface Order { record: Record<string, unknown>; formats: { format: Format; expires?: string }[]; facility?: string; session?: string }
export interface Opened {
  id: string; facility?: string; version: number; lot: string; number: string; product: Code; codes: Code[]; name?: string; expiry?: string; location: string
  opened: string; discard: string; ended?: string; doses: number; given: number; wasted: number; rest: number; override?: { reason: string; against: string[] }
}
export interface Stay { where: string; from: string; until: string }
export interface StockLot {
  lot: string; number: string; product: Code; vaccine?: { name: string; form?: string }; expiry?: string; location: string; facility?: string
  fit: boolean; findings: { reason: string; why?: string; detail?: string; refuses: boolean }[]; here: number; unit: 'dose' | 'pack'
  assessment: { outcome: string; share: number; whole: number; measured: number; gaps: Stay[]; path: Stay[] }
}
export interface Wanted { lot?: string; product?: Code; number?: string; expiry?: string; serial?: string; location?: string; facility?: string }
export interface Place { uri: string; name: string; within?: string }
export interface Imbalance { lot: string; at: string; kind: 'too-few' | 'count-differs' | 'lost-on-the-way' | 'more-than-left'; expected: number; found: number; event: string }
export interface TraceFinding { check: string; result: 'pass' | 'fail' | 'unknown'; reason: string; leg?: number; subject?: string; detail?: string }
export interface Thread {
  result: 'pass' | 'fail' | 'unknown'; made: string; number: string; vaccine?: string; place: string; until: string
  certificate?: { format: string; leaf: string }; dose?: { record: string; day: string }; session?: { id: string; opened: string; doses: number }
  events: { id: string; at: string; type: string; step?: string; hash: string; organisation: string }[]
  legs: { where: string; from: string; until: string; equipment?: string; devices: string[]; readings: number; low?: number; high?: number }[]
  assessment: { outcome: 'sound' | 'heat' | 'freeze' | 'not-known'; why?: string; at?: string; where?: string; whole: number; measured: number }
  findings: TraceFinding[]; withheld: ('events' | 'readings')[]; file: string
}
export interface Checked { findings: string[]; same: Head[]; spelling: { full?: string; family?: string; given?: string; unmapped?: string } }
export interface Counts { total: number; ready: number; done: number; failed: number; skipped: number; warned: number }
export interface Job {
  id: string; facility?: string; version: number; state: 'uploaded' | 'checked' | 'running' | 'paused' | 'finished' | 'cancelled'
  media: string; size: number; series?: string; formats: { format: Format; expires?: string }[]; rows: Counts; rate?: number
  created: string; started?: string; ended?: string; destroyed: boolean
}
export interface Row { row: number; line: number; state: string; faults?: { column?: string; reason: string; text: string }[] }

/** Problem is an answer other than the one asked for, or none at all. */
export class Problem extends Error {
  constructor(readonly status: number, readonly reason: string, readonly title: string, readonly detail = '', readonly tries: string[] = []) {
    super(reason)
  }
  /** Whether the server may have done what was asked of it: no answer came, or one that does not tell. */
  get lost(): boolean { return this.status === 0 || (this.status >= 500 && ['unknown', 'internal'].includes(this.reason)) }
}

const unreachable = () => new Problem(0, 'unreachable', messages.text('desk.unreachable'), messages.text('desk.unreachable.text'))

/** leave is what happens when nobody is logged in any more: desk.svelte.ts sets it. */
export const nobody = { leave: () => {} }

async function ask<T>(method: string, path: string, body?: unknown, header: Record<string, string> = {}): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(path, {
      method, cache: 'no-store',
      headers: { Accept: 'application/json', 'Accept-Language': messages.tag, ...(body === undefined || body instanceof Blob ? {} : { 'Content-Type': 'application/json' }), ...header },
      body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(body instanceof Blob ? 300e3 : 30e3),
    })
    if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as T
  } catch {
    throw unreachable()
  }
  const said = (await answer.json().catch(() => ({}))) as { reason?: string; title?: string; detail?: string; try?: string[] }
  if (answer.status === 401) nobody.leave()
  throw new Problem(answer.status, said.reason ?? 'unknown', said.title ?? messages.text('desk.unreachable'), said.detail, said.try)
}

const match = (version: number) => ({ 'If-Match': `"${version}"` })
const query = (values: Record<string, string | undefined>) => {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) if (value) q.set(name, value)
  return q.size ? `?${q}` : ''
}
const record = (id: string) => `/v1/certificates/${encodeURIComponent(id)}`
const vial = (id: string) => `/v1/stock/sessions/${encodeURIComponent(id)}`
const job = (id: string) => `/v1/jobs/${encodeURIComponent(id)}`

export const api = {
  session: () => ask<Session>('GET', '/v1/session'),
  issuing: () => ask<Offer>('GET', '/v1/issuing'),
  list: (facility: string, cursor = '') => ask<{ items: Head[]; next?: string }>('GET', `/v1/certificates${query({ facility, cursor })}`),
  search: (what: Record<string, unknown>) => ask<{ items: Head[] }>('POST', '/v1/certificates/search', what),
  read: (id: string) => ask<Held>('GET', record(id)),
  check: (order: Order) => ask<Checked>('POST', '/v1/certificates/check', order),
  issue: (order: Order, key: string) => ask<Receipt>('POST', '/v1/certificates', order, { 'Idempotency-Key': key }),
  correct: (head: Head, order: Order, reason: string, key: string) =>
    ask<Receipt>('POST', `${record(head.id)}/correct`, { ...order, reason }, { ...match(head.version), 'Idempotency-Key': key }),
  revoke: (head: Head, reason: string) => ask<Head>('POST', `${record(head.id)}/revoke`, { reason }, match(head.version)),
  reinstate: (head: Head) => ask<Head>('POST', `${record(head.id)}/reinstate`, undefined, match(head.version)),
  erase: (id: string) => ask<{ erased: string[] }>('DELETE', record(id)),
  code: (id: string, format: Format) => `${record(id)}/codes/${format}.svg`,
  proof: (id: string, format: Format, kind: 'receipt' | 'with-receipt' | 'log-proof' | 'batch-path') => `${record(id)}/codes/${format}.${kind}`,
  paper: (id: string, first: string, second: string, sheet: number) => `${record(id)}/certificate.pdf${query({ first, second, per_sheet: String(sheet) })}`,
  verify: (texts: string[]) => ask<{ verdicts: Report[] }>('POST', '/v1/verify', { texts, show: true }),

  stock: (facility: string) => ask<{ items: StockLot[] }>('GET', `/v1/stock${query({ facility })}`),
  fitness: (what: Wanted) => ask<StockLot>('POST', '/v1/stock/fitness', stated(what)),
  scan: (text: string) => ask<{ product: Code; number?: string; expiry?: string; serial?: string }>('POST', '/v1/scan', { text }),
  sessions: (facility: string, open: boolean) => ask<{ items: Opened[] }>('GET', `/v1/stock/sessions${query({ facility, open: open ? 'true' : '' })}`),
  open: (what: Wanted & { doses?: number; diluent?: string; override?: string }) => ask<Opened>('POST', '/v1/stock/sessions', stated(what)),
  waste: (s: Opened, doses: number, reason: string) => ask<Opened>('POST', `${vial(s.id)}/waste`, { doses, reason }, match(s.version)),
  end: (s: Opened, unrecorded: number, left: number, reason: string) => ask<Opened>('POST', `${vial(s.id)}/end`, { unrecorded, left, reason }, match(s.version)),
  places: (facility: string) => ask<{ items: Place[] }>('GET', `/v1/locations${query({ facility })}`),
  imbalances: (facility: string) => ask<{ items: Imbalance[] }>('GET', `/v1/imbalances${query({ facility })}`),

  trace: (what: { code?: string; lot?: string; facility?: string }) => ask<Thread>('POST', '/v1/trace', stated(what)),

  jobs: (facility: string, cursor = '') => ask<{ items: Job[]; next?: string }>('GET', `/v1/jobs${query({ facility, cursor })}`),
  job: (id: string) => ask<Job>('GET', job(id)),
  rows: (id: string, state: string, cursor = 0) => ask<{ items: Row[]; next?: number }>('GET', `${job(id)}/rows${query({ state, cursor: cursor ? String(cursor) : '' })}`),
  move: (j: Job, to: 'start' | 'pause' | 'resume' | 'cancel') => ask<Job>('POST', `${job(j.id)}/${to}`, undefined, match(j.version)),
  upload: (file: Blob, media: string, formats: Format[], more: Record<string, string | undefined>) =>
    ask<Job>('POST', `/v1/jobs${query(more)}&${formatsQuery(formats)}`.replace('/v1/jobs&', '/v1/jobs?'), file, { 'Content-Type': media }),
  template: (formats: Format[]) => `/v1/jobs/template.csv?${formatsQuery(formats)}`,
  errors: (id: string) => `${job(id)}/errors.csv`,
  papers: (id: string, first: string, second: string, sheet: number) => `${job(id)}/certificates.zip${query({ first, second, per_sheet: String(sheet) })}`,
}

/** What was left empty is not said. */
const stated = (what: object) => Object.fromEntries(Object.entries(what).filter(([, v]) => v !== '' && v !== undefined))
const formatsQuery = (formats: Format[]) => formats.map((f) => `format=${f}`).join('&')
