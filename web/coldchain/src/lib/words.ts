// Figures and words as they are shown.
import { messages, type Key } from '../../../shared/messages.svelte'
import type { Alarm, Equipment, Limit, Reading, Rule, Terms } from './api'

const signed = (options: Intl.NumberFormatOptions) => new Intl.NumberFormat(`${messages.tag}-u-nu-latn`, { signDisplay: 'exceptZero', ...options })

/** degrees is a temperature with its sign: +5.4 °C. */
export const degrees = (thousandths: number): string => `\u2066${signed({ minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(thousandths / 1000).replace('-', '−')} °C\u2069`

export const number = (n: number, digits = 0): string => new Intl.NumberFormat(`${messages.tag}-u-nu-latn`, { maximumFractionDigits: digits }).format(n)

export const percent = (share: number): string =>
  new Intl.NumberFormat(`${messages.tag}-u-nu-latn`, { style: 'percent', maximumFractionDigits: share > 0.9 && share < 1 ? 2 : 1 }).format(share < 1 ? Math.floor(share * 1e4) / 1e4 : 1)

/** word is the text for a word of the server, and the word itself where there is none. */
export function word(kind: string, value: string): string {
  const key = `cold.${kind}.${value.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')}`
  return messages.has(key) ? messages.text(key) : value
}

/** has tells whether there is a text for a word of the server. */
export const hasWord = (kind: string, value: string): boolean => messages.has(`cold.${kind}.${value.toLowerCase()}`)

/** at is a moment in the zone of who reads. */
export const at = (seconds: number): string => messages.moment(new Date(seconds * 1000))

/** utc is the same in UTC: 2026-11-22 18:30 UTC. */
export const utc = (seconds: number): string => `\u2066${new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC\u2069`

/** lasted is a length of time in its two largest units. */
export function lasted(seconds: number): string {
  const unit = (n: number, u: 'day' | 'hour' | 'minute' | 'second') => new Intl.NumberFormat(`${messages.tag}-u-nu-latn`, { style: 'unit', unit: u, unitDisplay: 'short' }).format(n)
  const s = Math.max(0, Math.round(seconds))
  const [d, h, m] = [Math.floor(s / 86400), Math.floor((s % 86400) / 3600), Math.floor((s % 3600) / 60)]
  if (d) return h ? `${unit(d, 'day')} ${unit(h, 'hour')}` : unit(d, 'day')
  if (h) return m ? `${unit(h, 'hour')} ${unit(m, 'minute')}` : unit(h, 'hour')
  return m ? unit(m, 'minute') : unit(s, 'second')
}

/** newest is the newest temperature of the vaccine, which stands first. */
export const newest = (e: Equipment): Reading | undefined => e.readings.find((r) => r.quantity === 'temperature')

/** outside tells on which side of the profile a temperature is. */
export const outside = (t: number, terms: Terms): 'low' | 'high' | undefined => (t < terms.profile.low ? 'low' : t > terms.profile.high ? 'high' : undefined)

export const facilityOf = (e: { facility?: string }): string => e.facility || messages.text('cold.whole')

const ops = { '>': 'above', '>=': 'at-least', '<=': 'at-most', '<': 'below' } as const

/** ruleText is a rule in words: above +8.0 °C for 10 hr without a break. */
export function ruleText(r: Rule): string {
  const limit = degrees(r.limit)
  const op = messages.text(`cold.op.${ops[r.op]}`, { limit })
  return r.for ? messages.text(`cold.rule.for.${r.mode}`, { op, time: lasted(r.for) }) : op
}
export const limitText = (l: Limit): string => (l.for ? messages.text('cold.rule.longer', { time: lasted(l.for) }) : messages.text('cold.rule.at-once'))

/** kindOf is what an alarm is about: what to do depends on it. */
export function kindOf(a: Alarm): 'freeze' | 'heat' | 'cold' | 'door' | 'power' | 'silent' | 'forked' {
  if (a.rule === 'SILENT') return 'silent'
  if (a.rule === 'FORKED') return 'forked'
  if (a.terms.door?.id === a.rule) return 'door'
  if (a.terms.power?.id === a.rule || a.terms.away?.id === a.rule) return 'power'
  const r = a.terms.rules.find((r) => r.id === a.rule)
  if (!r || r.op === '>' || r.op === '>=') return 'heat'
  return r.limit <= 0 && a.terms.profile.low >= 0 ? 'freeze' : 'cold'
}

/** showsExtreme tells whether an alarm is about a temperature. */
export const showsExtreme = (a: Alarm): boolean => ['freeze', 'heat', 'cold'].includes(kindOf(a))

export const seen = (a: Alarm): boolean => a.acknowledged.length > 0

/** title is what an alarm is, in words. */
export const title = (a: Alarm): string => (hasWord('rule-is', a.rule) ? word('rule-is', a.rule) : messages.text(`cold.kind-of.${kindOf(a)}` as Key))
