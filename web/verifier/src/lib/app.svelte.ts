// The verifier as its operator meets it: what is on screen, and what leads from
// one state to the next. It decides nothing about certificates; the engine does.
import { Camera } from './camera.svelte'
import type { DecoderMethods, Read } from './decoder.worker'
import type { EngineMethods, Info, Loaded } from './engine.worker'
import type { Key } from '../../../shared/messages.svelte'
import { Collector, type Progress } from './parts'
import { toneOf, type Report, type Tone } from '../../../shared/report'
import { Client } from './rpc'
import { settings } from './settings.svelte'
import { sound, vibrate } from './signal'
import { Update } from './update.svelte'
import { listen } from '../../../shared/wedge'

export const largestFile = 16 // MiB
const largestProof = 1 << 16 // bytes; what is longer is none

/** Trouble is why nothing was verified. It is never a verdict. */
export type Trouble = 'file.no-code' | 'file.not-read' | 'file.too-large'

/** What people are told of trust data that was not taken; every other word is "cannot be used". */
const refusals: Partial<Record<string, Key>> = {
  'already-kept': 'data.fetched',
  'older-bundle': 'data.older', 'same-serial': 'data.older', fork: 'data.older',
  'unknown-root': 'data.foreign', 'no-root': 'data.foreign', 'root-window': 'data.foreign',
  'not-yet-issued': 'data.clock',
  unreachable: 'data.unreachable',
}

const bytes = (text: string) => new TextEncoder().encode(text)
const base64 = (data: Uint8Array) => btoa(Array.from(data, (b) => String.fromCharCode(b)).join(''))
const refetch = 60 * 60e3 // ms between two looks for newer trust data

class App {
  engine = $state<'starting' | 'ready' | 'failed'>('starting')
  info = $state.raw<Info>()
  /** What became of the last trust data that was offered. */
  note = $state<Key>()
  fetching = $state(false)
  /** The server was asked once, or cannot be: what is missing now stays missing. */
  asked = $state(false)

  reports = $state.raw<Report[]>([])
  shown = $state(0)
  checking = $state(false)
  trouble = $state<Trouble>()
  progress = $state<Progress>()
  /** Seconds until the verdict is cleared; 0 while it stays. */
  left = $state(0)

  destination = $state('')
  date = $state('') // of travel, 2026-11-22; empty: now
  now = $state.raw(new Date())

  readonly camera = new Camera((p) => this.#look('frame', p), (texts, at) => void this.#take(texts, at))
  readonly update = new Update()

  #engine: Client<EngineMethods> | undefined
  #decoder: Client<DecoderMethods> | undefined
  #ready!: () => void
  readonly #started = new Promise<void>((resolve) => (this.#ready = resolve))
  #collector = new Collector()
  #countdown: ReturnType<typeof setInterval> | undefined
  #turn = 0
  // What the camera saw last, so that a code that is still held there is not
  // verified and counted again. It is never stored.
  #before = { text: '', at: 0 }
  #judged = { destination: '', date: '' }
  // The texts of the verdict on screen, to which a proof may come. Never stored.
  #texts: Uint8Array[] = []
  /** The next code or file is the proof of the certificate that was judged last. */
  proving = $state(false)

  get report(): Report | undefined {
    return this.reports[this.shown]
  }

  get tone(): Tone | undefined {
    return this.report && toneOf(this.report.outcome)
  }

  get old(): boolean {
    return this.info !== undefined && this.now >= new Date(this.info.next)
  }

  /** What the verdict on screen was judged by, where that was not as usual. */
  get judged(): { destination: string; date: string } {
    return this.#judged
  }

  async start(): Promise<void> {
    listen((text) => void this.takeText(text))
    setInterval(() => (this.now = new Date()), 15e3)
    try {
      this.#engine = new Client<EngineMethods>(new Worker(new URL('./engine.worker.ts', import.meta.url), { type: 'module' }))
      this.#loaded(await this.#engine.ask('start', []), false)
      this.engine = 'ready'
      this.#ready()
    } catch {
      this.engine = 'failed'
      return
    }
    await this.fetch(false)
    this.asked = true
    setInterval(() => void this.fetch(false), refetch)
    addEventListener('online', () => void this.fetch(false))
    void this.#decode().catch(() => {}) // who opens a file or the camera is told then
    await this.update.start(() => this.reports.length === 0 && !this.checking && this.progress === undefined)
    if (sessionStorage.getItem('ampoule.camera') === 'on') void this.startCamera()
    sessionStorage.removeItem('ampoule.camera')
    this.update.before = () => {
      if (this.camera.state === 'on') sessionStorage.setItem('ampoule.camera', 'on')
    }
  }

  // ---- trust data

  /** Looks for newer trust data; aloud where a person asked for it. */
  async fetch(aloud: boolean): Promise<void> {
    if (!this.#engine || this.fetching || (!aloud && !navigator.onLine)) return
    this.fetching = true
    try {
      this.#loaded(await this.#engine.ask('fetch', []), aloud)
    } finally {
      this.fetching = false
    }
  }

  async importData(file: File): Promise<void> {
    await this.#started
    const data = new Uint8Array(await file.arrayBuffer())
    this.#loaded(await this.#engine!.ask('accept', [data], [data.buffer]), true)
  }

  #loaded(l: Loaded, aloud: boolean): void {
    this.info = l.info
    this.now = new Date()
    this.note = !aloud ? undefined : l.error ? (refusals[l.error] ?? 'data.bad') : 'data.imported'
  }

  // ---- what is to be verified

  async startCamera(): Promise<void> {
    this.trouble = undefined
    await this.camera.start()
  }

  stopCamera(): void {
    this.camera.stop()
    this.#collector.clear()
    this.progress = undefined
  }

  takeText(text: string): Promise<void> {
    return this.#take([bytes(text)])
  }

  /** What comes next is the proof of the certificate on screen, unless that was cleared meanwhile. */
  #wait(): boolean {
    const texts = this.#texts
    this.clear()
    this.#texts = texts
    return (this.proving = texts.length > 0)
  }

  /** Looks for the code of the proof. */
  async scanProof(): Promise<void> {
    if (this.#wait()) await this.startCamera()
  }

  async takeProof(file: File): Promise<void> {
    if (this.#wait()) await this.takeFile(file)
  }

  async takeFile(file: File): Promise<void> {
    if (!this.proving) this.clear()
    if (file.size > largestFile << 20) {
      this.trouble = 'file.too-large'
      return
    }
    this.checking = true
    try {
      if (file.type.startsWith('image/')) {
        const { texts } = await this.#look('file', await createImageBitmap(file))
        if (texts.length > 0) await this.#take(texts)
        else this.trouble = 'file.no-code'
        return
      }
      await this.#started
      if (this.proving) {
        await this.#take([new Uint8Array(await file.slice(0, largestProof).arrayBuffer())])
        return
      }
      const texts = await this.#engine!.ask('codes', [new Uint8Array(await file.arrayBuffer())])
      if (texts) await this.#take(texts.map(bytes))
      else this.trouble = 'file.not-read'
    } catch {
      this.trouble = 'file.not-read'
    } finally {
      this.checking = false
    }
  }

  /** Verifies texts; those of the camera with the time at which their frame came. */
  async #take(texts: Uint8Array[], frame?: number): Promise<void> {
    const now = performance.now()
    if (frame !== undefined) {
      const text = texts.map((t) => new TextDecoder('latin1').decode(t)).join('\n')
      const held = text === this.#before.text && now - this.#before.at < 1500
      this.#before = { text, at: now }
      if (held) return
      if (this.proving && !text.startsWith('AP1:')) return // the certificate is still held there
    }
    const { whole, progress } = this.#collector.add(texts, now)
    this.progress = progress
    if (whole.length === 0) return
    const proof = this.proving ? whole[0]! : undefined
    if (!proof) this.#texts = whole
    this.proving = false
    this.camera.pause()
    this.checking = true
    const turn = ++this.#turn
    await this.#started
    const judged = { destination: this.destination, date: this.date }
    try {
      const reports = await this.#engine!.ask('verify', [this.#texts, {
        ...(proof ? { proof: base64(proof) } : {}),
        show: settings.profile === 'border',
        arrival: judged.destination,
        // Noon, by the clock of the place: a day of travel is no moment.
        ...(judged.date ? { at: new Date(`${judged.date}T12:00:00`).toISOString() } : {}),
      }])
      if (turn !== this.#turn) return // another was shown meanwhile
      this.#judged = judged
      this.#show(reports)
      requestAnimationFrame(() => performance.measure('ampoule verdict', { start: frame ?? now })) // for docs/benchmarks.md
    } catch {
      this.engine = 'failed'
    } finally {
      if (turn === this.#turn) this.checking = false
    }
  }

  #show(reports: Report[]): void {
    this.trouble = undefined
    this.reports = reports
    this.shown = 0
    for (const r of reports) settings.count(toneOf(r.outcome))
    // Of several, the worst is heard.
    const tones = reports.map((r) => toneOf(r.outcome))
    const tone = (['bad', 'open', 'good'] as const).find((t) => tones.includes(t)) ?? 'open'
    if (settings.sound) sound(tone)
    if (settings.vibration) vibrate(tone)
    clearInterval(this.#countdown)
    this.left = settings.reset
    if (this.left > 0) {
      this.#countdown = setInterval(() => {
        if (--this.left <= 0) this.clear()
      }, 1000)
    }
  }

  keep(): void {
    clearInterval(this.#countdown)
    this.left = 0
  }

  /** Takes the verdict and what came with it off the screen and out of memory. */
  clear(): void {
    clearInterval(this.#countdown)
    this.#turn++
    this.left = 0
    this.checking = false
    this.reports = []
    this.#texts = []
    this.proving = false
    this.shown = 0
    this.trouble = undefined
    this.progress = undefined
    this.#collector.clear()
    this.#before.at = performance.now() // what is held there still has been judged
    this.camera.resume()
  }

  // ---- pictures

  async #decode(): Promise<Client<DecoderMethods>> {
    this.#decoder ??= new Client<DecoderMethods>(new Worker(new URL('./decoder.worker.ts', import.meta.url), { type: 'module' }))
    await this.#decoder.ask('start', [])
    return this.#decoder
  }

  async #look(how: 'frame' | 'file', picture: ImageBitmap): Promise<Read> {
    const decoder = this.#decoder ?? (await this.#decode())
    return decoder.ask(how, [picture], [picture])
  }
}

export const app = new App()
