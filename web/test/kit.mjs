// What the tests of the verifier's page share: a browser, a relay in front of the
// server that can lose its network and serve a new version, and pictures.
//
//   AMPOULE_URL   address of a running demonstration, such as http://127.0.0.1:8080
//   AMPOULE_DEMO  its folder
//   AMPOULE       the binary
//   AMPOULE_LOGINS  what the demonstration printed
//   CHROMIUM      the browser, /usr/bin/chromium unless set
//   SHOTS         a folder for screenshots; none are taken unless set
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { join } from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'

for (const name of ['AMPOULE_URL', 'AMPOULE_DEMO', 'AMPOULE']) assert.ok(process.env[name], `${name} must be set: see kit.mjs`)
export const server = new URL('/', process.env.AMPOULE_URL)
export const demo = process.env.AMPOULE_DEMO
export const phone = { width: 390, height: 844 }
if (process.env.SHOTS) mkdirSync(process.env.SHOTS, { recursive: true })

/** The samples of the demonstration: their texts, and what the command line says of each. */
export const samples = readdirSync(join(demo, 'samples')).filter((f) => f.endsWith('.txt')).map((f) => {
  const path = join(demo, 'samples', f)
  const said = spawnSync(process.env.AMPOULE, ['verify', '--json', '--bundle', join(demo, 'bundle.cbor'), '--root', join(demo, 'bundle-root.pem'), path], { encoding: 'utf8' })
  return { id: f.slice(0, -4), text: readFileSync(path, 'utf8'), path, png: path.replace(/txt$/, 'png'), want: JSON.parse(said.stdout) }
})
export const sample = (id) => samples.find((s) => s.id === id) ?? assert.fail(`no sample ${id}`)

/** browser starts Chromium; it never speaks to anything but this machine. */
export const browser = (...args) => chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', ...args],
})

/** relay stands before the server. It counts what is asked, and can be cut off or made to serve another version. */
export async function relay() {
  const state = { asked: [], cut: false, version: '' }
  const s = createServer((q, a) => {
    state.asked.push(q.url)
    if (state.cut) return q.socket.destroy()
    const onward = request(new URL(q.url, server), { method: q.method, headers: { ...q.headers, host: server.host, 'accept-encoding': 'identity', 'if-none-match': '' } }, (r) => {
      const chunks = []
      r.on('data', (c) => chunks.push(c))
      r.on('end', () => {
        let body = Buffer.concat(chunks)
        if (state.version && q.url === '/verifier/sw.js') body = Buffer.from(body.toString().replace(/`[0-9a-f]{12}`/, `\`${state.version}\``))
        a.writeHead(r.statusCode, { ...r.headers, 'content-length': body.length }).end(body)
      })
    })
    onward.on('error', () => a.destroy())
    q.pipe(onward)
  }).listen(0, '127.0.0.1')
  await once(s, 'listening')
  return Object.assign(state, { url: `http://127.0.0.1:${s.address().port}/verifier/`, close: () => { s.closeAllConnections(); s.close() } })
}

/** open opens the page and waits until it can verify. */
export async function open(context, url = new URL('/verifier/', server).href) {
  const page = await context.newPage()
  page.complaints = []
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) page.complaints.push(m.text()) })
  page.on('pageerror', (e) => page.complaints.push(String(e)))
  page.on('request', (r) => { if (new URL(r.url()).origin !== new URL(url).origin && !/^(data|blob):/.test(r.url())) page.complaints.push('request to ' + r.url()) })
  await page.goto(url)
  await ready(page)
  return page
}

export async function ready(page) {
  await page.locator('main[data-engine=ready]').waitFor({ timeout: 30e3 })
  await page.locator('[data-age=fresh], [data-age=old]').waitFor({ timeout: 30e3 })
}

/** verdict waits for one and returns what it says. */
export async function verdict(page) {
  const v = page.locator('.verdict')
  await v.waitFor({ timeout: 20e3 })
  return { outcome: await v.getAttribute('data-outcome'), reason: await v.getAttribute('data-reason'), advice: await v.getAttribute('data-advice') }
}

export const wanted = ({ want }) => ({ outcome: want.outcome, reason: want.reason, advice: want.advice.value })

/** paste gives a text to the page as the clipboard does. */
export const paste = (page, text) => page.evaluate((t) => {
  const data = new DataTransfer()
  data.setData('text/plain', t)
  document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
}, text)

export async function next(page) {
  await page.keyboard.press('Escape')
  await page.locator('.verdict').waitFor({ state: 'detached' })
}

export async function shot(page, name) {
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, name + '.png'), fullPage: true })
}

/** axe finds what breaks WCAG 2.2 AA. */
export async function axe(page, where) {
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze()
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(' ')}`), [], where)
}

export async function noSidewaysScroll(page, where) {
  const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth])
  assert.ok(wide <= shown, `${where}: ${wide} wide in ${shown}`)
}
