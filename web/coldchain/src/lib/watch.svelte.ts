// What is watched: who sits here, the equipment as it stands, and what changes while
// the page is open.
import { messages } from '../../../shared/messages.svelte'
import { api, Problem, type Condition, type Equipment, type Session } from './api'

export type View = 'stores' | 'map' | 'equipment' | 'alarms' | 'alarm' | 'devices' | 'device' | 'set-up' | 'suppliers' | 'supplier' | 'import'
export interface Route { view: View; id: string }

function routeOf(hash: string): Route {
  const [view = '', id = ''] = hash.replace(/^#\/?/, '').split('/')
  switch (view) {
    case 'map': case 'alarms': case 'devices': case 'suppliers': case 'import': return { view, id: '' }
    case 'equipment': case 'alarm': case 'device': case 'supplier': if (id) return { view, id: decodeURIComponent(id) }; break
    case 'set-up': return { view, id: decodeURIComponent(id) }
  }
  return { view: 'stores', id: '' }
}

/** Worst first. */
export const conditions: Condition[] = ['alarm', 'silent', 'acknowledged', 'no-data', 'ok', 'retired']

class Watch {
  session = $state<Session>()
  problem = $state<Problem>()
  route = $state<Route>(routeOf(location.hash))
  /** Visits are counted, so that a view begins anew each time it is gone to. */
  visit = $state(0)
  /** Of several facilities, the one that is looked at. */
  facility = $state('')
  equipment = $state.raw<Equipment[]>()
  /** Alarms that nobody has seen to, whether they stand or are over; of the newest thousand. */
  unseen = $state(0)
  /** Changes of alarms are counted: who shows them asks again. */
  alarms = $state(0)
  /** Readings of an equipment are counted as they come. */
  news = $state<Record<string, number>>({})
  live = $state<'starting' | 'live' | 'broken'>('starting')
  now = $state(new Date())
  /** Said to those who do not see what has changed. */
  said = $state('')
  #stream: EventSource | undefined
  #waiting = new Set<string>()
  #timer: ReturnType<typeof setTimeout> | undefined

  may = (action: string): boolean => this.session?.actions.includes(action) ?? false

  /** Facilities to choose from; one that is '' is the whole organisation. */
  get facilities(): string[] {
    const all = [...new Set(this.session?.grants.map((g) => g.facility ?? ''))]
    return all.includes('') ? [''] : all
  }
  /** The facility to name in a request: none where only one is meant. */
  get place(): string { return this.facilities.length > 1 ? this.facility : '' }

  name = (id: string): string => this.equipment?.find((e) => e.id === id)?.name ?? id

  async start(): Promise<void> {
    addEventListener('hashchange', () => { this.route = routeOf(location.hash); this.visit++ })
    setInterval(() => { this.now = new Date() }, 20e3)
    await this.load()
  }

  async load(): Promise<void> {
    this.problem = undefined
    try {
      this.session ??= await api.session()
      this.facility ||= this.facilities[0] ?? ''
      if (!this.may('fleet:read')) return
      await this.#all()
      this.#listen()
    } catch (e) {
      this.problem = e as Problem
    }
  }

  async look(facility: string): Promise<void> {
    this.facility = facility
    this.#stream?.close()
    await this.load()
    this.visit++
  }

  async #all(): Promise<void> {
    const [all] = await Promise.all([this.#pages(), this.count()])
    this.equipment = all.sort((a, b) => a.name.localeCompare(b.name, messages.tag))
    this.now = new Date()
  }

  async #pages(): Promise<Equipment[]> {
    const all: Equipment[] = []
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const page = await api.equipment(this.place, cursor)
      all.push(...page.items)
      cursor = page.next
    }
    return all
  }

  async count(): Promise<void> {
    const { items } = await api.alarms(this.place, '', '', 1000)
    this.unseen = items.filter((a) => a.state !== 'withdrawn' && a.acknowledged.length === 0).length
  }

  // After a break everything is asked again: what came meanwhile was told to nobody.
  #listen(): void {
    const facility = this.place
    const stream = new EventSource(`/v1/fleet/events${facility ? `?facility=${encodeURIComponent(facility)}` : ''}`)
    this.#stream = stream
    stream.onopen = () => {
      if (this.live !== 'broken') { this.live = 'live'; return }
      void this.#all().then(() => { if (stream.readyState === EventSource.OPEN) this.live = 'live'; this.alarms++ }, () => this.#later(stream))
    }
    stream.onerror = () => {
      this.live = 'broken'
      // It comes back by itself, unless something else answered.
      if (stream.readyState === EventSource.CLOSED) this.#later(stream)
    }
    for (const kind of ['readings', 'alarm']) {
      stream.addEventListener(kind, (e) => {
        const said = JSON.parse((e as MessageEvent<string>).data) as { equipment: string; alarm: string }
        if (said.alarm) { this.alarms++; void this.count().catch(() => {}) }
        if (said.equipment) this.#heard(said.equipment)
      })
    }
  }

  /** #later begins anew in a while, unless somebody did. */
  #later(stream: EventSource): void {
    stream.close()
    setTimeout(() => {
      if (this.#stream !== stream) return
      void this.#all().then(() => this.#listen(), () => this.#later(stream))
    }, 5e3)
  }

  // A device that empties its memory says many things at once: they are asked for once.
  #heard(id: string): void {
    this.#waiting.add(id)
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      const all = [...this.#waiting]
      this.#waiting.clear()
      if (all.length > 5) void this.#all().catch(() => {})
      else for (const one of all) void this.refresh(one)
      for (const one of all) this.news[one] = (this.news[one] ?? 0) + 1
    }, 400)
  }

  async refresh(id: string): Promise<void> {
    try {
      const e = await api.one(id)
      const before = this.equipment?.find((x) => x.id === id)
      this.equipment = before ? this.equipment!.map((x) => (x.id === id ? e : x)) : [...(this.equipment ?? []), e]
      this.now = new Date()
      if (before && before.state !== e.state) this.said = `${e.name}: ${messages.text(`cold.state.${e.state}`)}`
    } catch {
      // the next look at all of it will tell
    }
  }
}

export const watch = new Watch()
