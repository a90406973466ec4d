// Calendar dates as people type them. A date of a record has no time zone: nothing
// here makes an instant of one.

/** What was typed: a date, two of which only a person can tell which is meant, or nothing of the kind. */
export type Read = { iso: string } | { either: [string, string] } | { wrong: true } | { empty: true }

const days = (year: number, month: number) => new Date(Date.UTC(year, month, 0)).getUTCDate()
const pad = (n: number, width = 2) => String(n).padStart(width, '0')

function make(year: number, month: number, day: number): string | undefined {
  if (year < 1000 || month < 1 || month > 12 || day < 1 || day > days(year, month)) return undefined
  return `${pad(year, 4)}-${pad(month)}-${pad(day)}`
}

// Digits of Arabic, Persian and Devanagari keyboards.
const digits = (text: string) => text.replace(/[٠-٩]/g, (c) => String(c.charCodeAt(0) - 0x660)).replace(/[۰-۹]/g, (c) => String(c.charCodeAt(0) - 0x6f0)).replace(/[०-९]/g, (c) => String(c.charCodeAt(0) - 0x966))

/** readDate reads 2026-11-01, 01.11.2026, 01/11/2026 and, where a part will do, 2026-11, 11/2026 and 2026. */
export function readDate(typed: string, partial = false): Read {
  const text = digits(typed).replace(/[\u200e\u200f\u061c\s]/g, '')
  if (text === '') return { empty: true }
  const of = (iso: string | undefined): Read => (iso ? { iso } : { wrong: true })
  let m = /^(\d{4})[-./](\d{1,2})[-./](\d{1,2})$/.exec(text)
  if (m) return of(make(+m[1]!, +m[2]!, +m[3]!))
  m = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/.exec(text) // with dots the day is first, wherever dates are written so
  if (m) return of(make(+m[3]!, +m[2]!, +m[1]!))
  m = /^(\d{1,2})[-/](\d{1,2})[-/](\d{4})$/.exec(text)
  if (m) {
    const dayFirst = make(+m[3]!, +m[2]!, +m[1]!)
    const monthFirst = make(+m[3]!, +m[1]!, +m[2]!)
    if (dayFirst && monthFirst && dayFirst !== monthFirst) return { either: [dayFirst, monthFirst] }
    return of(dayFirst ?? monthFirst)
  }
  if (!partial) return { wrong: true }
  m = /^(\d{4})$/.exec(text)
  if (m && +m[1]! >= 1000) return { iso: m[1]! }
  m = /^(\d{4})[-./](\d{1,2})$/.exec(text) ?? undefined!
  if (m && make(+m[1]!, +m[2]!, 1)) return { iso: `${m[1]}-${pad(+m[2]!)}` }
  m = /^(\d{1,2})[-./](\d{4})$/.exec(text) ?? undefined!
  if (m && make(+m[2]!, +m[1]!, 1)) return { iso: `${m[2]}-${pad(+m[1]!)}` }
  return { wrong: true }
}

/** iso is the date that was typed, and empty for none. */
export function iso(typed: string, partial = false): string {
  const r = readDate(typed, partial)
  return 'iso' in r ? r.iso : ''
}

/** today is the date of the place: a calendar's, not that of Greenwich. */
export const today = () => new Date().toLocaleDateString('sv')

/** after says whether a date is surely later than another; a part of one counts from its last day. */
export const after = (a: string, b: string) => a.slice(0, Math.min(a.length, b.length)) > b.slice(0, Math.min(a.length, b.length))

/** addDays returns the date some days on. */
export function addDays(date: string, n: number): string {
  const at = new Date(`${date}T00:00:00Z`)
  at.setUTCDate(at.getUTCDate() + n)
  return at.toISOString().slice(0, 10)
}
