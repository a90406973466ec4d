// What the tour asks: where things are in the scene (/tour/scene.json), and what the
// running service says of them now.
import type { Report } from '../../../shared/report'

export interface Verdict { sample: string; by: string; outcome: string; reason?: string; advice: string }
interface Fault { equipment: string; name: string; at: string }
export interface Scene {
  ready: boolean; seconds?: number; trouble?: string; federation: boolean
  guide: { login: string; password: string }
  shipper: string; lot: string; freeze: Fault; power_cut: Fault
  doses: { sample: string; record: string; facility: string; lot: string }[]
  country: { participant: string; address?: string; said?: Verdict[] }
  stolen?: { kid: string; reissued: number; before: Verdict[]; after: Verdict[] }
}
export interface Lot {
  number: string; vaccine?: { name: string }; expiry?: string; facility?: string
  assessment: { outcome: string; share: number; whole: number; measured: number }
}
export interface Vial { name?: string; number: string; discard: string; rest: number; facility?: string }
export interface Alarm { id: string; equipment: string; rule: string; extreme: number; since: number }
export interface Equipment { id: string; state: string }
export interface Ledger { log: { size: number }; peers: number }

/** get asks; undefined where nothing is to be had. */
async function get<T>(path: string): Promise<T | undefined> {
  try {
    const answer = await fetch(path, { cache: 'no-store', headers: { Accept: 'application/json' } })
    return answer.ok ? ((await answer.json()) as T) : undefined
  } catch {
    return undefined
  }
}
const items = async <T>(path: string): Promise<T[]> => (await get<{ items: T[] }>(path))?.items ?? []

export const ask = {
  scene: () => get<{ visitor: string; scene: Scene }>('/tour/scene.json'),
  stock: (facility: string) => items<Lot>(`/v1/stock?facility=${facility}`),
  vials: (facility: string) => items<Vial>(`/v1/stock/sessions?facility=${facility}&open=true`),
  alarms: () => items<Alarm>('/v1/alarms?limit=1000'),
  equipment: () => items<Equipment>('/v1/equipment?limit=1000'),
  ledger: () => get<Ledger>('/v1/ledger/status'),
  validators: async () => (await get<unknown[]>('/v1/ledger/validators'))?.length ?? 0,
  batch: async () => (await get<{ index: number; kind: string }[]>('/v1/ledger/entries'))?.find((e) => e.kind === 'fp.batch')?.index,

  /** Has this service judge a sample, as anybody can. */
  async verdict(sample: string, by: string): Promise<Verdict | undefined> {
    try {
      const text = await fetch(`/samples/${sample}.txt`)
      if (!text.ok) return undefined
      const answer = await fetch('/v1/verify', {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ texts: [(await text.text()).trim()] }),
      })
      const [one] = ((await answer.json()) as { verdicts: Report[] }).verdicts
      return one && { sample, by, outcome: one.outcome, reason: one.reason, advice: one.advice.value }
    } catch {
      return undefined
    }
  },
}
