// Certificates that are spread over several codes, shown one after the other:
// SMART Health Cards of the kind shc:/2/3/….

export interface Progress { have: number; total: number }

const part = /^\s*shc:\/(\d{1,3})\/(\d{1,3})\//i
const forgotten = 60e3 // ms without another part

export class Collector {
  #parts = new Map<number, Uint8Array>()
  #total = 0
  #last = 0

  clear(): void {
    this.#parts.clear()
    this.#total = 0
  }

  /** Takes the texts of one look, and returns those to be verified now and how much is missing of others. */
  add(texts: Uint8Array[], now: number): { whole: Uint8Array[]; progress?: Progress } {
    const whole: Uint8Array[] = []
    for (const text of texts) {
      const m = part.exec(new TextDecoder().decode(text.subarray(0, 32)))
      if (!m) {
        whole.push(text)
        continue
      }
      const [index, total] = [Number(m[1]), Number(m[2])]
      if (total < 2 || index < 1 || index > total) {
        whole.push(text) // what is wrong with it, the engine says
        continue
      }
      if (total !== this.#total || now - this.#last > forgotten) {
        this.clear()
        this.#total = total
      }
      this.#last = now
      this.#parts.set(index, text)
    }
    if (whole.length > 0) {
      this.clear()
      return { whole }
    }
    if (this.#total > 0 && this.#parts.size === this.#total) {
      const all = [...this.#parts.values()]
      this.clear()
      return { whole: all }
    }
    return this.#total > 0 ? { whole, progress: { have: this.#parts.size, total: this.#total } } : { whole }
  }
}
