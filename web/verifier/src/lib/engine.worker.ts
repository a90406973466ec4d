// The engine in its own thread, and the trust data that it was last given. That
// is public data; nothing of a certificate is stored.
import '../../../gen/wasm_exec.js'
import engineURL from '../../../gen/engine.wasm?url'
import type { Report } from '../../../shared/report'
import { serve } from './rpc'

export interface Info {
  serial: number; issued: string; next: string; maker: string; root: string; roots: string; keys: number; destinations: string[]
}
export interface Options { show?: boolean; at?: string; arrival?: string; proof?: string }
type Failure = { error: string; detail: string }

/** Loaded is what became of some trust data: what is in use now, and the stable word for why the new was refused. */
export interface Loaded { info?: Info; error?: string }

declare const Go: new () => { importObject: WebAssembly.Imports; run(instance: WebAssembly.Instance): Promise<void> }
declare const ampoule: {
  pin(file: Uint8Array): string
  accept(file: Uint8Array): string
  apply(from: Uint8Array, delta: Uint8Array): Uint8Array | null
  codes(file: Uint8Array): string
  verify(texts: Uint8Array[], options: string): string
}

let info: Info | undefined

// Pages without https have no storage of this kind: they work until they are closed.
const kept = 'caches' in self ? caches.open('ampoule-trust') : undefined
const [bundleURL, rootURL] = ['/bundle', '/bundle/root']
const deltaType = 'application/vnd.ampoule.bundle-delta+cbor'

const hex = (digest: ArrayBuffer): string => Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, '0')).join('')

async function recall(url: string): Promise<Uint8Array | undefined> {
  const answer = await (await kept)?.match(url)
  return answer && new Uint8Array(await answer.arrayBuffer())
}

function pin(file: Uint8Array): string | undefined {
  const failed = ampoule.pin(file)
  return failed ? (JSON.parse(failed) as Failure).error : undefined
}

async function accept(file: Uint8Array, store: boolean): Promise<Loaded> {
  const answer = JSON.parse(ampoule.accept(file)) as Info | Failure
  if ('error' in answer) return { info, error: answer.error }
  info = answer
  if (store) {
    const cache = await kept
    // The roots go last: with the old ones, the bundle before this can be opened still.
    await cache?.put(bundleURL, new Response(file as BufferSource))
    await cache?.put(rootURL, new Response(info.roots))
  }
  return { info }
}

let pinned = false

serve({
  async start(): Promise<Loaded> {
    const go = new Go()
    const { instance } = await WebAssembly.instantiateStreaming(fetch(engineURL), go.importObject)
    void go.run(instance)
    const [root, bundle] = [await recall(rootURL), await recall(bundleURL)]
    pinned = root !== undefined && !pin(root)
    return bundle ? accept(bundle, false) : {}
  },

  /** Asks the server that the page came from. */
  async fetch(): Promise<Loaded> {
    try {
      const from = pinned && info && self.isSecureContext ? await recall(bundleURL) : undefined
      const url = from ? `${bundleURL}?from=${hex(await crypto.subtle.digest('SHA-256', from as BufferSource))}` : bundleURL
      const [bundle, root] = await Promise.all([fetch(url, { cache: 'no-cache' }), pinned ? undefined : fetch(rootURL, { cache: 'no-cache' })])
      if (!bundle.ok || (root && !root.ok)) return { info, error: 'unreachable' }
      // The first root is believed as the page itself is, which comes from the same place.
      if (root) {
        const failed = pin(new Uint8Array(await root.arrayBuffer()))
        if (failed) return { info, error: failed }
        pinned = true
      }
      if (bundle.status === 204) return { info } // nothing newer
      const file = new Uint8Array(await bundle.arrayBuffer())
      if (!from || bundle.headers.get('Content-Type') !== deltaType) return accept(file, true)
      const made = ampoule.apply(from, file)
      return made ? accept(made, true) : { info, error: 'bad-delta' }
    } catch {
      return { info, error: 'unreachable' }
    }
  },

  accept: (file: Uint8Array): Promise<Loaded> => accept(file, true),

  codes(file: Uint8Array): string[] | undefined {
    const answer = JSON.parse(ampoule.codes(file)) as string[] | Failure
    return 'error' in answer ? undefined : answer
  },

  verify(texts: Uint8Array[], options: Options): Report[] {
    return ampoule.verify(texts, JSON.stringify(options)).trimEnd().split('\n').map((line) => JSON.parse(line) as Report)
  },
} satisfies EngineMethods)

export type EngineMethods = {
  start(): Promise<Loaded>
  fetch(): Promise<Loaded>
  accept(file: Uint8Array): Promise<Loaded>
  codes(file: Uint8Array): string[] | undefined
  verify(texts: Uint8Array[], options: Options): Report[]
}
