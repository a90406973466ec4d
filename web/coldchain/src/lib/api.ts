// What the page asks of the server: /v1/, as /docs describes it. Times that are numbers
// are seconds since 1970; temperatures are thousandths of a degree Celsius.
import { messages } from '../../../shared/messages.svelte'

export type Condition = 'alarm' | 'silent' | 'acknowledged' | 'no-data' | 'ok' | 'retired'
export type Quantity = 'temperature' | 'ambient' | 'humidity' | 'door' | 'compressor' | 'supply' | 'holdover' | 'battery'
export type Life = 'announced' | 'claimed' | 'enrolled' | 'active' | 'suspended' | 'retired'

export interface Session { id: string; organisation: string; grants: { role: string; facility?: string }[]; actions: string[]; ledger: boolean; ends?: string }
export interface Profile { id: string; low: number; high: number }
export interface Rule { id: string; op: '>' | '>=' | '<=' | '<'; limit: number; for: number; mode: 'consecutive' | 'cumulative'; shown?: boolean }
export interface Limit { id: string; for: number; shown?: boolean }
export interface Terms { profile: Profile; rules: Rule[]; door?: Limit; power?: Limit; away?: Limit; gap: number }
export interface Reading { device: string; sensor: string; quantity: Quantity; at: number; value: number; heard?: string }
export interface Alarm {
  id: string; organisation: string; facility?: string; version: number; state: 'standing' | 'ended' | 'withdrawn'; equipment: string; name: string
  device: string; sensor: string; rule: string; since: number; at: number; until?: number; extreme: number; seconds: number; end?: string; terms: Terms
  raised: string; changed: string; why?: string; escalated?: number; acknowledged: { by: string; at: string; comment?: string }[]
}
export interface Equipment {
  id: string; organisation: string; facility?: string; version: number; name: string; kind: string; maker?: string; model?: string; pqs?: string; serial?: string
  terms: Terms; silence?: number; lost?: number; latitude?: number; longitude?: number; made: string; retired?: string
  state: Condition; standing: Alarm[]; readings: Reading[]
}
export interface Line {
  device: string; sensor: string; quantity: Quantity; level: number; at: number[]; last: number[]; low: number[]; high: number[]; measured: number; inside: number
}
export interface Chart { from: number; until: number; now: number; terms: { from: number; terms: Terms; by: string }[]; lines: Line[]; alarms: Alarm[] }
export interface Check { name: string; answer: 'pass' | 'fail' | 'unknown'; figure: number; limit: number; least: boolean; unit: string; weight: number }
export interface Anomaly { reason: string; since: number; at: number; figures: { name: string; value: number; limit: number }[] }
export interface Device {
  id: string; organisation: string; facility?: string; version: number; state: Life; next: Life[]; names: string[]; maker?: string; model?: string; pqs?: string; supplier?: string
  claimable: boolean; keys: { kid: string; certificate: boolean; from: string; until?: string }[]
  stays: { equipment: string; sensor?: string; from: number; until?: number }[]
  corrections: { from: number; until: number; offset: number; why: string; by: string; made: string }[]
  calibrations: { at: string; until: string; by: string; note?: string }[]
  steps: { state: Life; at: string; by: string; why?: string }[]; attested?: string
}
export interface Listed extends Device { heard?: string; level?: number }
export interface Known extends Device {
  streams: (Reading & { interval: number; sealed: number; own: number; open: number })[]
  score: number; mean: number; cap: number; level: number; checks: Check[]; anomalies: Anomaly[]
}
export interface Target {
  id?: string; facility?: string; channel: 'webhook' | 'mail' | 'mqtt'; address: string; secret?: string; rank: number; language?: string
  quiet_from: number; quiet_until: number; zone?: string
}
export interface Duty {
  id: string; clause: string; title: string; answer: 'pass' | 'fail' | 'not-seen' | 'not-visible'; seen: number; broken: number; why?: string[]
  examples?: { transfer_id?: string; received: string; path?: string; reason?: string }[]; figures?: Record<string, number>
}
export interface Fault { status: number; wait: number; close: boolean; delay: number }
export interface Conformance {
  report: { supplier: string; from: string; until: string; transmissions: number; duties: Duty[] }
  plan?: { from: string; until: string; faults: Fault[] }; met?: number
}
export interface Finding { path?: string; reason: string; detail?: string; [more: string]: unknown }
export interface Taken {
  kind: string; serial?: string; model?: string; from?: string; until?: string; count: number; low: number; high: number; asks?: string[]
  stored: number; repeated: number; refused: Finding[]; findings: Finding[]
}
interface Page<T> { items: T[]; next?: string }

/** Problem is an answer other than the one asked for, or none at all. */
export class Problem extends Error {
  constructor(readonly status: number, readonly reason: string, readonly title: string, readonly detail = '', readonly tries: string[] = []) {
    super(reason)
  }
}

/** leave is what happens when nobody is logged in any more. */
export const nobody = { leave: () => location.assign(`/login?next=${encodeURIComponent('/coldchain/')}`) }

async function ask<T>(method: string, path: string, body?: unknown, header: Record<string, string> = {}): Promise<T> {
  const raw = body instanceof Blob
  let answer: Response
  try {
    answer = await fetch(path, {
      method, cache: 'no-store',
      headers: { Accept: 'application/json', 'Accept-Language': messages.tag, ...(body === undefined ? {} : { 'Content-Type': raw ? 'application/octet-stream' : 'application/json' }), ...header },
      body: body === undefined ? undefined : raw ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(raw ? 300e3 : 30e3),
    })
    if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as T
  } catch {
    throw new Problem(0, 'unreachable', messages.text('cold.unreachable'), messages.text('cold.unreachable.text'))
  }
  const said = (await answer.json().catch(() => ({}))) as { reason?: string; title?: string; detail?: string; try?: string[] }
  if (answer.status === 401) nobody.leave()
  throw new Problem(answer.status, said.reason ?? 'unknown', said.title ?? messages.text('cold.unreachable'), said.detail, said.try)
}

const query = (values: Record<string, string | number | undefined>) => {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) if (value) q.set(name, String(value))
  return q.size ? `?${q}` : ''
}
const path = (kind: string, id: string) => `/v1/${kind}/${encodeURIComponent(id)}`

export const api = {
  session: () => ask<Session>('GET', '/v1/session'),
  equipment: (facility: string, cursor = '', limit = 1000) => ask<Page<Equipment>>('GET', `/v1/equipment${query({ facility, cursor, limit })}`),
  one: (id: string) => ask<Equipment>('GET', path('equipment', id)),
  make: (e: Record<string, unknown>) => ask<Equipment>('POST', '/v1/equipment', e),
  change: (id: string, version: number, e: Record<string, unknown>) => ask<Equipment>('PUT', path('equipment', id), e, { 'If-Match': `"${version}"` }),
  chart: (id: string, from: number, until: number, points: number) => ask<Chart>('GET', `${path('equipment', id)}/chart${query({ from, until, points })}`),

  alarms: (facility: string, state = '', cursor = '', limit = 100) => ask<Page<Alarm>>('GET', `/v1/alarms${query({ facility, state, cursor, limit })}`),
  alarm: (id: string) => ask<Alarm & { statements: string[] }>('GET', path('alarms', id)),
  acknowledge: (id: string, comment: string) => ask<Alarm>('POST', `${path('alarms', id)}/acknowledgements`, { comment: comment || undefined }),

  devices: (facility: string, cursor = '', state = '') => ask<Page<Listed>>('GET', `/v1/devices${query({ facility, state, cursor })}`),
  device: (id: string) => ask<Known>('GET', path('devices', id)),
  makeDevice: (d: Record<string, unknown>) => ask<Device & { label?: string; code?: string }>('POST', '/v1/devices', d),
  turn: (id: string, state: string, reason?: string) => ask<Device>('POST', `${path('devices', id)}/state`, { state, reason }),
  move: (id: string, to: { equipment?: string; sensor?: string; from: number }) => ask<Device>('POST', `${path('devices', id)}/stays`, to),
  correct: (id: string, c: { from: number; until?: number; offset: number; why: string }) => ask<Device>('POST', `${path('devices', id)}/corrections`, c),
  calibrate: (id: string, c: { at: string; until: string; by: string; note?: string }) => ask<Device>('POST', `${path('devices', id)}/calibrations`, c),
  evidence: (id: string) => `${path('devices', id)}/evidence`,

  targets: (facility: string) => ask<Page<Target>>('GET', `/v1/alarm-targets${query({ facility })}`),
  makeTarget: (t: Target) => ask<Target>('POST', '/v1/alarm-targets', t),
  dropTarget: (id: string) => ask<void>('DELETE', path('alarm-targets', id)),

  suppliers: () => ask<Page<{ id: string; last: string; count: number }>>('GET', '/v1/suppliers'),
  report: (id: string) => ask<Conformance>('GET', `${path('suppliers', id)}/report`),
  plan: (id: string, p: { from: string; until: string; faults: Fault[] }) => ask<void>('PUT', `${path('suppliers', id)}/faults`, p),
  clear: (id: string) => ask<void>('DELETE', `${path('suppliers', id)}/faults`),

  take: (file: Blob, answers: { facility?: string; device?: string; zone?: string; dates?: string; unit?: string; dry?: string }) => ask<Taken>('POST', `/v1/imports${query(answers)}`, file),
}
