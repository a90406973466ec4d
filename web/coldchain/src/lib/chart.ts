// What is drawn of an answer of the server, and nothing of how. The server gives the
// least and the greatest of each piece of time; here nothing may be lost of that, no gap
// bridged, and no alarm left out at any zoom.
import type { Alarm, Chart, Line, Terms } from './api'

/** Value is a number, null where a gap begins, and undefined where another line has a point. */
export type Value = number | null | undefined
export interface Span { from: number; until: number }
export interface Drawn {
  x: number[]
  low: Value[][] // of each line
  high: Value[][]
  gaps: Span[] // of the first line
}

/** gapOf is how long nothing may be measured before it is a gap: what the terms say. */
export const gapOf = (c: Pick<Chart, 'terms'>): number => Math.max(...c.terms.map((t) => t.terms.gap), 1)

/** drawn puts lines on one axis, in units of so many of theirs. */
export function drawn(lines: Line[], gap: number, unit: number): Drawn {
  const gaps: Span[] = []
  const each = lines.map((l, n) => {
    const x: number[] = [], low: Value[] = [], high: Value[] = []
    const add = (at: number, a: Value, b: Value) => { x.push(at); low.push(a); high.push(b) }
    for (let i = 0; i < l.at.length; i++) {
      const a = l.low[i]! / unit, b = l.high[i]! / unit
      const last = l.last[i]!, next = l.at[i + 1]
      add(l.at[i]!, a, b)
      const before = next !== undefined && next - last > gap
      if (last > l.at[i]! && (before || next === undefined)) add(last, a, b)
      if (!before) continue
      add(last + 1, null, null)
      if (n === 0) gaps.push({ from: last, until: next })
    }
    return { x, low, high }
  })
  if (each.length === 1) return { x: each[0]!.x, low: [each[0]!.low], high: [each[0]!.high], gaps }
  const x = [...new Set(each.flatMap((e) => e.x))].sort((a, b) => a - b)
  const where = new Map(x.map((at, i) => [at, i]))
  const spread = (values: Value[], at: number[]) => {
    const out = new Array<Value>(x.length).fill(undefined)
    values.forEach((v, i) => { out[where.get(at[i]!)!] = v })
    return out
  }
  return { x, low: each.map((e) => spread(e.low, e.x)), high: each.map((e) => spread(e.high, e.x)), gaps }
}

/** termsAt are the terms at a time: those before the first are the first. */
export function termsAt(c: Pick<Chart, 'terms'>, at: number): Terms {
  let found = c.terms[0]!.terms
  for (const t of c.terms) if (t.from <= at) found = t.terms
  return found
}

/** periods are the terms with the time for which they hold, within the chart. */
export function periods(c: Chart): (Span & { terms: Terms })[] {
  return c.terms
    .map((t, i) => ({ from: i === 0 ? c.from : Math.max(t.from, c.from), until: Math.min(c.terms[i + 1]?.from ?? c.until, c.until), terms: t.terms }))
    .filter((p) => p.until > p.from)
}

/** alarmSpans is each alarm with the time that it lasted, as far as it is within the chart. What stands lasts until now. */
export function alarmSpans(c: Chart): (Span & { alarm: Alarm })[] {
  return c.alarms
    .filter((a) => a.state !== 'withdrawn')
    .map((alarm) => ({ alarm, from: alarm.since, until: Math.max(alarm.since, alarm.until || Math.max(c.now, alarm.at)) }))
    .filter((s) => s.from <= c.until && s.until >= c.from)
    .map((s) => ({ ...s, from: Math.max(s.from, c.from), until: Math.min(s.until, c.until) }))
}

/** outside are the times at which a line was out of the profile, each with its worst. */
export function outside(c: Chart, l: Line): (Span & { low: number; high: number })[] {
  const gap = gapOf(c)
  const out: (Span & { low: number; high: number })[] = []
  let open = false
  for (let i = 0; i < l.at.length; i++) {
    const { profile } = termsAt(c, l.at[i]!)
    const is = l.low[i]! < profile.low || l.high[i]! > profile.high
    const joined = i > 0 && l.at[i]! - l.last[i - 1]! <= gap
    if (is && open && joined) {
      const s = out.at(-1)!
      Object.assign(s, { until: l.last[i]!, low: Math.min(s.low, l.low[i]!), high: Math.max(s.high, l.high[i]!) })
    } else if (is) out.push({ from: l.at[i]!, until: l.last[i]!, low: l.low[i]!, high: l.high[i]! })
    open = is
  }
  return out
}

/** pixels is where a span is drawn: never less than so wide, and within the frame. */
export function pixels(s: Span, toX: (at: number) => number, left: number, right: number, least: number): [x: number, width: number] {
  const a = Math.max(left, Math.min(right, toX(s.from))), b = Math.max(left, Math.min(right, toX(s.until)))
  const width = Math.max(b - a, least)
  return [Math.max(left, Math.min(a - (width - (b - a)) / 2, right - width)), width]
}

/** range is what the axis of a line must hold: all that was measured, and the limits. */
export function range(lines: Line[], limits: number[], unit: number): [number, number] {
  let low = Infinity, high = -Infinity
  for (const l of lines) {
    for (const v of l.low) if (v < low) low = v
    for (const v of l.high) if (v > high) high = v
  }
  for (const v of limits) { low = Math.min(low, v); high = Math.max(high, v) }
  if (low > high) return [0, 1]
  const edge = Math.max((high - low) * 0.06, unit / 10)
  return [(low - edge) / unit, (high + edge) / unit]
}

export interface Row extends Span { low: number; high: number }

/** rows is a line as a table of so many rows at most. */
export function rows(l: Line, most: number): Row[] {
  const out: Row[] = []
  if (!l.at.length) return out
  const begin = l.at[0]!, width = Math.max(1, Math.ceil((l.last.at(-1)! + 1 - begin) / most))
  let of = -1
  for (let i = 0; i < l.at.length; i++) {
    const slot = Math.floor((l.at[i]! - begin) / width)
    if (slot !== of) { out.push({ from: l.at[i]!, until: l.last[i]!, low: l.low[i]!, high: l.high[i]! }); of = slot; continue }
    const r = out.at(-1)!
    r.until = l.last[i]!
    r.low = Math.min(r.low, l.low[i]!)
    r.high = Math.max(r.high, l.high[i]!)
  }
  return out
}
