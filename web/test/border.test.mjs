// A border: the camera and nothing else. Every code of the demonstration comes before it
// once, without a network; what is said of each is what the command line says, nothing is
// asked of anybody, and nobody's name is left behind.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { browser, next, open, phone, relay, samples, verdict, wanted } from './kit.mjs'

const rate = 10 // frames a second, which is how Chromium shows a film of pictures

/** film paints each code for two seconds, and the bare desk for one after it. */
async function film() {
  const b = await browser()
  try {
    const painter = await b.newPage()
    const frame = async (png, turn) => Buffer.from(await painter.evaluate(async ([png, turn]) => {
      const canvas = new OffscreenCanvas(1280, 720)
      const c = canvas.getContext('2d')
      c.fillStyle = '#777'
      c.fillRect(0, 0, 1280, 720)
      if (png) {
        c.translate(640, 360)
        c.rotate(turn)
        c.drawImage(await createImageBitmap(await (await fetch('data:image/png;base64,' + png)).blob()), -290, -290, 580, 580)
      }
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 })).arrayBuffer())
      return btoa(Array.from(bytes, (x) => String.fromCharCode(x)).join(''))
    }, [png, turn]), 'base64')
    const desk = await frame(null, 0)
    const frames = []
    for (const [n, s] of samples.entries()) {
      const code = await frame((await readFile(s.png)).toString('base64'), (n % 5 - 2) / 30)
      for (let i = 0; i < 2 * rate; i++) frames.push(code)
      for (let i = 0; i < rate; i++) frames.push(desk)
    }
    return Buffer.concat(frames)
  } finally {
    await b.close()
  }
}

/** left is all that a page has put away, as text. */
const left = (page) => page.evaluate(async () => {
  const out = [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]
  for (const { name } of await indexedDB.databases()) {
    const db = await new Promise((done, fail) => Object.assign(indexedDB.open(name), { onsuccess: (e) => done(e.target.result), onerror: fail }))
    for (const kept of db.objectStoreNames) {
      const all = db.transaction(kept).objectStore(kept).getAll()
      await new Promise((done, fail) => Object.assign(all, { onsuccess: done, onerror: fail }))
      for (const v of all.result) out.push(JSON.stringify(v, (_, x) => (x instanceof ArrayBuffer || ArrayBuffer.isView(x) ? new TextDecoder('latin1').decode(x) : x)))
    }
    db.close()
  }
  for (const name of await caches.keys()) {
    const cache = await caches.open(name)
    for (const q of await cache.keys()) if (!/\.wasm$/.test(q.url)) out.push(q.url, await (await cache.match(q)).text())
  }
  return out.join('\n')
})

test('every code before the camera, without a network', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'ampoule-border-'))
  const r = await relay()
  let b
  try {
    const path = join(folder, 'border.mjpeg')
    await writeFile(path, await film())
    b = await browser('--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${path}`)
    const own = await b.newContext({ viewport: phone })
    const first = await open(own, r.url)
    await first.locator('.offline.on').waitFor({ timeout: 60e3 })
    await first.close()
    r.cut = true
    await own.setOffline(true)
    r.asked.length = 0

    const page = await open(own, r.url)
    await page.locator('.scan').click()
    const said = []
    const names = new Set()
    while (said.length < samples.length) {
      const v = await verdict(page)
      said.push([v.outcome, v.reason, v.advice].join(' '))
      for (const word of (await page.locator('.verdict').innerText()).match(/[A-Z][A-Za-z]*PECIMEN[A-Z ]*|Specimen \w+/g) ?? []) names.add(word)
      await next(page)
    }
    // The film goes round: where in it the camera was switched on does not matter.
    const want = samples.map((s) => Object.values(wanted(s)).join(' '))
    const rounds = want.map((_, n) => [...want.slice(n), ...want.slice(0, n)])
    const match = rounds.find((x) => x.join('\n') === said.join('\n'))
    assert.ok(match, `said:\n${said.join('\n')}\nin the film:\n${want.join('\n')}`)
    t.diagnostic(`${said.length} codes, ${new Set(said).size} different answers`)

    // The browser itself looks whether there is a new service worker.
    assert.deepEqual(r.asked.filter((u) => u !== '/verifier/sw.js'), [], 'requests reached the network')
    assert.deepEqual(page.complaints, [])
    const kept = await left(page)
    for (const s of samples) {
      assert.ok(!kept.includes(s.text.slice(0, 60)), `${s.id} is kept`)
      for (const word of [s.want.certificate?.person?.name?.family, s.want.certificate?.person?.name?.full, s.want.certificate?.person?.document?.number]) {
        assert.ok(!word || !kept.includes(word), `${word} of ${s.id} is kept`)
      }
    }
  } finally {
    await b?.close()
    r.close()
    await rm(folder, { recursive: true, force: true })
  }
})
