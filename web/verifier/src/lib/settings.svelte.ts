// What is kept on the device: choices of its operator, and how many certificates
// were verified today. Nothing else is kept, and nothing of a certificate ever.
import { isTag, preferred, type Tag } from '../../../shared/messages.svelte'
import type { Tone } from '../../../shared/report'
import { store, stored } from '../../../shared/store'

export type Theme = 'auto' | 'light' | 'dark'
export type Profile = 'venue' | 'border'

/** Seconds after which a verdict is cleared; 0: never. */
export const resets = [10, 20, 30, 60, 0]

const today = () => new Date().toLocaleDateString('sv') // 2026-11-22, by the clock of the place

type Counts = Record<Tone, number>

class Settings {
  language = $state<Tag>(((tag) => (isTag(tag) ? tag : preferred()))(stored('language')))
  theme = $state<Theme>((['light', 'dark'] as const).find((t) => t === stored('theme')) ?? 'auto')
  profile = $state<Profile>(stored('profile') === 'border' ? 'border' : 'venue')
  sound = $state(stored('sound') === 'on')
  vibration = $state(stored('vibration') === 'on')
  reset = $state(((n) => (resets.includes(n) ? n : 30))(Number(stored('reset') ?? 30)))
  counts = $state<Counts>({ good: 0, bad: 0, open: 0 })
  #day = today()

  constructor() {
    try {
      const { day, good, bad, open } = JSON.parse(stored('counts') ?? '{}') as Partial<Counts> & { day?: string }
      if (day === this.#day) this.counts = { good: Number(good) || 0, bad: Number(bad) || 0, open: Number(open) || 0 }
    } catch {
      // counts that cannot be read begin anew
    }
  }

  save(): void {
    for (const [key, value] of Object.entries({ language: this.language, theme: this.theme, profile: this.profile, reset: String(this.reset) })) store(key, value)
    store('sound', this.sound ? 'on' : 'off')
    store('vibration', this.vibration ? 'on' : 'off')
  }

  count(tone: Tone): void {
    if (this.#day !== today()) this.counts = { good: 0, bad: 0, open: 0 }
    this.#day = today()
    this.counts[tone]++
    this.#keep()
  }

  clearCounts(): void {
    this.counts = { good: 0, bad: 0, open: 0 }
    this.#keep()
  }

  #keep(): void {
    store('counts', JSON.stringify({ day: this.#day, ...this.counts }))
  }
}

export const settings = new Settings()
