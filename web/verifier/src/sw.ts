// The service worker: it keeps one version of the page, whole, and gives nothing
// else. A new version is fetched beside the one in use and waits until a page asks
// for it; pack.mjs fills in which files those are.
const worker = self as unknown as ServiceWorkerGlobalScope

const prefix = 'ampoule-verifier-'
const version = prefix + '__VERSION__'
const files = '__FILES__'.split(' ')

worker.addEventListener('install', (event) => {
  // Past the browser's own cache: what has no hash in its address may be old there.
  event.waitUntil(caches.open(version).then((cache) => cache.addAll(files.map((f) => new Request(f, { cache: f.includes('/assets/') ? 'default' : 'reload' })))))
})

worker.addEventListener('activate', (event) => {
  event.waitUntil((async () => {
    for (const other of await caches.keys()) if (other.startsWith(prefix) && other !== version) await caches.delete(other)
    await worker.clients.claim() // the page that installed the first version works offline from now on
  })())
})

worker.addEventListener('message', (event) => {
  if (event.data === 'use') void worker.skipWaiting()
})

worker.addEventListener('fetch', (event) => {
  const { origin, pathname } = new URL(event.request.url)
  if (origin !== worker.location.origin || event.request.method !== 'GET' || !files.includes(pathname)) return
  event.respondWith(caches.open(version).then(async (cache) => (await cache.match(pathname)) ?? fetch(event.request)))
})
