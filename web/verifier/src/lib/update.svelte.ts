// New versions of the page. One that has arrived waits until nobody is being
// checked and nothing has been touched for a while, or until the operator agrees:
// what is in use in the middle of a shift does not change under the hands.

const quiet = 60e3 // ms without a touch
const lookAgain = 60 * 60e3 // ms

export class Update {
  ready = $state(false)
  /** The page works without a network. */
  offline = $state(false)
  before = () => {}

  #registration: ServiceWorkerRegistration | undefined
  #touched = 0
  #wanted = false

  async start(idle: () => boolean): Promise<void> {
    if (!('serviceWorker' in navigator)) return
    const had = navigator.serviceWorker.controller !== null
    navigator.serviceWorker.addEventListener('controllerchange', () => {
      // The first worker takes over a page of its own version; another page may have
      // asked for the new one.
      if (had || this.#wanted) this.#wanted = this.ready = true
      if (this.#wanted && idle()) this.#reload()
    })
    try {
      this.#registration = await navigator.serviceWorker.register('/verifier/sw.js', { scope: '/verifier/', updateViaCache: 'none' })
    } catch {
      return // private windows and odd servers: the page works with the network
    }
    const r = this.#registration
    this.#notice()
    r.addEventListener('updatefound', () => r.installing?.addEventListener('statechange', () => this.#notice()))
    void navigator.serviceWorker.ready.then(() => (this.offline = true))

    const touch = () => (this.#touched = performance.now())
    for (const name of ['keydown', 'pointerdown']) addEventListener(name, touch, { capture: true, passive: true })
    setInterval(() => {
      if (this.ready && idle() && performance.now() - this.#touched > quiet) this.use()
    }, 5e3)
    setInterval(() => void r.update().catch(() => {}), lookAgain)
  }

  #notice(): void {
    if (this.#registration?.waiting && navigator.serviceWorker.controller) this.ready = true
  }

  /** Takes the new version into use now. */
  use(): void {
    if (this.#wanted) return this.#reload()
    this.#wanted = true
    this.#registration?.waiting?.postMessage('use')
  }

  #reload(): void {
    this.before()
    location.reload()
  }
}
