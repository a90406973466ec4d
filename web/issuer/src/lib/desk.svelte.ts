// Who sits here, what they may do, and where on the page they are.
import { api, nobody, Problem, type Offer, type Receipt, type Session } from './api'

export type View = 'today' | 'new' | 'search' | 'record' | 'correct' | 'bulk' | 'job' | 'stock' | 'trace'
export interface Route { view: View; id: string }

// The address names a view and at most the identifier of a record or job, which
// says nothing of a person.
function routeOf(hash: string): Route {
  const [view = '', id = ''] = hash.replace(/^#\/?/, '').split('/')
  switch (view) {
    case 'new': case 'search': case 'bulk': case 'stock': case 'trace': return { view, id: '' }
    case 'record': case 'correct': case 'job': return { view, id }
  }
  return { view: 'today', id: '' }
}

class Desk {
  session = $state<Session>()
  offer = $state.raw<Offer>()
  problem = $state<Problem>()
  route = $state<Route>(routeOf(location.hash))
  /** Visits are counted, so that a view begins anew each time it is gone to. */
  visit = $state(0)
  /** Of several facilities, the one that is worked for. */
  facility = $state('')
  /** Something was typed that is not issued: to leave it asks. */
  dirty = $state(false)
  leaving = $state<string>()
  loggedOut = $state(false)
  /** What was issued last, to be handed over. */
  receipt = $state<Receipt>()
  /** The open vial from which doses are given here. */
  vial = $state('')
  /** Said to those who do not see what has changed. */
  said = $state('')
  #here = location.hash

  may = (action: string): boolean => this.session?.actions.includes(action) ?? false
  /** Places at which the one who sits here may issue; more than one must be chosen from. */
  get facilities(): string[] { return [...new Set(this.offer?.places.map((p) => p.facility ?? ''))] }
  /** The facility to name in a request: none where only one is meant. */
  get place(): string { return this.facilities.length > 1 ? this.facility : '' }

  async start(): Promise<void> {
    this.problem = undefined
    nobody.leave = () => {
      if (this.dirty) this.loggedOut = true
      else location.assign('/login?next=/issuer/')
    }
    addEventListener('hashchange', () => this.#moved())
    addEventListener('beforeunload', (e) => { if (this.dirty) e.preventDefault() })
    await this.load()
  }

  async load(): Promise<void> {
    this.problem = undefined
    try {
      const session = await api.session()
      if (session.actions.includes('certificate:issue')) {
        this.offer = await api.issuing()
        this.facility = this.facilities[0] ?? ''
      }
      this.session = session
    } catch (e) {
      this.problem = e as Problem
    }
  }

  /** Goes to a view, unless something would be lost by that. */
  go(hash: string): void {
    if (hash === location.hash) this.#moved()
    else location.hash = hash
  }

  #moved(): void {
    if (this.dirty) {
      // Back to where the form is, until it is decided.
      this.leaving = location.hash
      history.replaceState(null, '', this.#here || '#/today')
      return
    }
    this.#here = location.hash
    this.route = routeOf(location.hash)
    this.visit++
  }

  leave(): void {
    const to = this.leaving ?? '#/today'
    this.leaving = undefined
    this.dirty = false
    history.replaceState(null, '', to)
    this.#moved()
  }
}

export const desk = new Desk()
