// The texts, from the same files that the server and the command line use:
// internal/messages. The keys of the English file are the type of all keys, but
// for those that no page loads: texts.ts.
import { isolate } from './isolate'
import type { texts } from './texts'
import type english from '../../internal/messages/en.json'

type Word = (typeof texts)[keyof typeof texts][number]
export type Key = Extract<keyof typeof english, `${Word}.${string}`>
/** Stem is a key that depends on a number: there are such keys in ".one", ".other" and what else a language needs. */
export type Stem = { [K in Key]: K extends `${infer S}.one` ? (`${S}.other` extends Key ? S : never) : never }[Key]
type Values = Record<string, string | number>

const files = import.meta.glob<string>('../../internal/messages/*.json', { query: '?url', import: 'default', eager: true })
const address = (tag: string) => files[`../../internal/messages/${tag}.json`]!

/** Languages in their own words. A name in a language that cannot be read helps nobody. */
export const languages = { en: 'English', fr: 'Français', es: 'Español', ar: 'العربية', pt: 'Português' } as const
export type Tag = keyof typeof languages

export const isTag = (s: string | null | undefined): s is Tag => s != null && s in languages

/** preferred is the first language of the device that there is. */
export function preferred(): Tag {
  for (const wanted of navigator.languages) {
    const tag = wanted.split('-')[0]
    if (isTag(tag)) return tag
  }
  return 'en'
}

class Messages {
  tag = $state<Tag>('en')
  #texts = $state.raw<Record<string, string>>({})

  /** Takes a language into use once its texts are there. */
  async use(tag: Tag): Promise<void> {
    const answer = await fetch(address(tag))
    if (!answer.ok) throw new Error(`texts: ${answer.status}`)
    this.#texts = (await answer.json()) as Record<string, string>
    this.tag = tag
    document.documentElement.lang = tag
    document.documentElement.dir = tag === 'ar' ? 'rtl' : 'ltr'
  }

  has(key: string): key is Key {
    return key in this.#texts
  }

  text(key: Key, values?: Values): string {
    return this.#fill(this.#texts[key] ?? `⟦${key}⟧`, values)
  }

  plural(stem: Stem, count: number, values?: Values): string {
    const form = new Intl.PluralRules(this.tag).select(count)
    return this.#fill(this.#texts[`${stem}.${form}`] ?? this.#texts[`${stem}.other`] ?? `⟦${stem}⟧`, { ...values, count })
  }

  /** Words of an outcome, an advice or a reason; undefined for a word that has none. */
  word(kind: 'outcome' | 'advice' | 'reason', word: string, part: 'title' | 'verifier' | 'holder'): string | undefined {
    return this.#texts[`${kind}.${word}.${part}`]
  }

  #fill(text: string, values: Values = {}): string {
    return text.replace(/\{([a-z]+)\}/g, (whole, name: string) => {
      const value = values[name]
      return value === undefined ? whole : typeof value === 'number' ? String(value) : isolate(value)
    })
  }

  // Digits stay those of the certificates, which people compare by eye.
  get #locale(): string {
    return `${this.tag === 'en' ? 'en-GB' : this.tag}-u-nu-latn-ca-gregory` // 3 February is the same day everywhere
  }

  date(at: Date): string {
    return new Intl.DateTimeFormat(this.#locale, { dateStyle: 'medium' }).format(at)
  }

  moment(at: Date): string {
    return new Intl.DateTimeFormat(this.#locale, { dateStyle: 'medium', timeStyle: 'short' }).format(at)
  }

  /** A date of a certificate, which may lack its day or month and has no zone. */
  day(date: string): string {
    const m = /^(\d{4})-(\d\d)(?:-(\d\d))?$/.exec(date)
    if (!m) return date
    const at = new Date(Date.UTC(+m[1]!, +m[2]! - 1, Number(m[3] ?? 1)))
    return new Intl.DateTimeFormat(this.#locale, { day: m[3] ? 'numeric' : undefined, month: 'long', year: 'numeric', timeZone: 'UTC' }).format(at)
  }

  time(at: Date): string {
    return new Intl.DateTimeFormat(this.#locale, { timeStyle: 'short' }).format(at)
  }

  /** How long ago, in the largest unit that fits. */
  ago(at: Date, now: Date): string {
    const minutes = Math.round((at.getTime() - now.getTime()) / 60e3)
    const format = new Intl.RelativeTimeFormat(this.#locale, { numeric: 'auto' })
    if (Math.abs(minutes) < 60) return format.format(minutes, 'minute')
    if (Math.abs(minutes) < 48 * 60) return format.format(Math.round(minutes / 60), 'hour')
    return format.format(Math.round(minutes / 1440), 'day')
  }

  country(code: string): string {
    try {
      return new Intl.DisplayNames(this.tag, { type: 'region' }).of(code) ?? code
    } catch {
      return code
    }
  }
}

export const messages = new Messages()
