// What the tests of the portal share: a whole service of its own, set up over HTTP
// with an administrator, a clerk and a supervisor, and a browser that is logged in.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { axe, noSidewaysScroll, shot } from './kit.mjs'

const passwords = { admin: 'an umbrella of the specimen 1', clerk: 'twelve specimen doses of tea 2', chief: 'a lamp beside the specimen 3' }

/** service starts one and returns its address, and how to log in over HTTP and to stop. */
export async function service() {
  const dir = mkdtempSync(join(tmpdir(), 'desk-'))
  const child = spawn(process.env.AMPOULE, ['serve', '--set', `store.dir=${join(dir, 'store')}`, '--set', 'listen=127.0.0.1:0', '--set', 'verifier.catalogue=demo', '--set', 'http.rate=1000', '--set', 'http.burst=1000'], { env: { PATH: process.env.PATH, TMPDIR: tmpdir() } })
  let said = ''
  child.stdout.on('data', (c) => (said += c))
  child.stderr.on('data', (c) => (said += c))
  const found = async (what) => {
    for (let i = 0; i < 200; i++) {
      const m = what.exec(said)
      if (m) return m[1]
      await new Promise((r) => setTimeout(r, 50))
    }
    assert.fail(`the service did not say ${what}: ${said}`)
  }
  const url = new URL(await found(/^open: +(\S+)\/setup$/m)).origin
  const token = await found(/^token: +(\S+)$/m)
  for (let i = 0; ; i++) {
    if (await fetch(url + '/healthz').then((r) => r.ok, () => false)) break
    assert.ok(i < 200, said)
    await new Promise((r) => setTimeout(r, 50))
  }
  return {
    ...await setUp(url, token),
    stop() {
      child.kill('SIGKILL')
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** setUp is the first run of a service, by its token, and the people who work there: how to log in, and to ask the API as one of them. */
export async function setUp(url, token) {
  const post = (path, fields, cookie) =>
    fetch(url + path, { method: 'POST', redirect: 'manual', headers: { 'content-type': 'application/x-www-form-urlencoded', ...(cookie ? { cookie } : {}) }, body: new URLSearchParams(fields) })
  const cookieOf = (r) => r.headers.getSetCookie()[0]?.split(';')[0] ?? assert.fail(`no session: ${r.status}`)
  const cookies = {
    admin: cookieOf(await post('/setup', {
      token, organisation: 'clinic', name: 'Specimen Clinic', participant: 'XXA', country: 'CH', language: 'en', zone: 'UTC', login: 'admin', password: passwords.admin,
    })),
  }
  const letIn = async (login, password, grants) => {
    const shown = await (await post('/people', { login, ...grants }, cookies.admin)).text()
    const secret = /\/invitation\/([\w-]+)/.exec(shown)?.[1] ?? assert.fail(`no invitation for ${login}`)
    cookies[login] = cookieOf(await post(`/invitation/${secret}`, { password }))
  }
  await letIn('clerk', passwords.clerk, { 'at-clerk': 'north' })
  await letIn('chief', passwords.chief, { 'whole-supervisor': '1' })
  return {
    url, passwords, cookies, letIn,
    /** Asks the API as somebody. */
    async api(who, method, path, body, header = {}) {
      const r = await fetch(url + path, { method, headers: { cookie: cookies[who], ...(body ? { 'content-type': 'application/json' } : {}), ...header }, body: body && JSON.stringify(body) })
      const text = await r.text()
      return { status: r.status, body: text ? JSON.parse(text) : undefined }
    },
  }
}

/** desk opens the portal as somebody, and gathers what the console complains of. */
export async function desk(chromium, s, who, options = {}) {
  const context = await chromium.newContext({ locale: 'en-GB', viewport: { width: 1100, height: 900 }, reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(8000)
  const [name, value] = s.cookies[who].split('=')
  await context.addCookies([{ name, value, url: s.url }])
  const page = await context.newPage()
  page.complaints = []
  page.allowed = [] // complaints that a test brings about
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type()) && !page.allowed.some((a) => a.test(m.text()))) page.complaints.push(m.text()) })
  page.on('pageerror', (e) => page.complaints.push(String(e)))
  page.on('request', (r) => { if (new URL(r.url()).origin !== s.url && !/^(data|blob):/.test(r.url())) page.complaints.push('request to ' + r.url()) })
  await page.goto(s.url + '/issuer/')
  await page.locator('main[data-view=today]').waitFor()
  return page
}

/** go follows an entry of the navigation, or an address of the page. */
export async function go(page, hash, view = hash.split('/')[1]) {
  await page.evaluate((h) => { location.hash = h }, hash)
  await page.locator(`main[data-view=${view}]`).waitFor()
}

/** choose types into a combobox and takes the first option. */
export async function choose(page, id, text) {
  await page.locator(`#${id}`).fill(text)
  await page.locator(`#${id}-list [role=option]`).first().waitFor()
  await page.locator(`#${id}`).press('ArrowDown')
  await page.locator(`#${id}`).press('Enter')
}

let count = 0
/** covid is an order that a clerk can send. Each person is another one. */
export const covid = (more = {}) => ({
  record: {
    person: { name: { family: `SPECIMEN${letters(++count)}`, given: 'DEMO' }, birth_date: '1990-02-03', ...more.person },
    vaccination: {
      disease: { code: '840539006', system: 'http://snomed.info/sct' }, vaccine: { code: '1119349007', system: 'http://snomed.info/sct' }, product: { code: 'EU/1/20/1528' },
      manufacturer: { code: 'ORG-100030215' }, lot: 'LOT-1', date: '2026-11-01', dose: 1, doses: 2, country: 'CH', clinician: 'Specimen Clinician', ...more.vaccination,
    },
  },
  formats: more.formats ?? [{ format: 'eu-dcc', expires: soon() }, { format: 'ddcc' }],
})
const letters = (n) => [...String(n)].map((d) => 'ABCDEFGHIJ'[d]).join('')
export const soon = () => new Date(Date.now() + 100 * 864e5).toISOString().slice(0, 10) + 'T23:59:59Z'

/** fill fills a form in, all but what is named. */
export async function fill(page, values = {}) {
  await choose(page, 'product', 'comirnaty')
  await choose(page, 'vaccine', 'mrna')
  await choose(page, 'manufacturer', 'biontech')
  for (const [id, value] of Object.entries({
    lot: 'LOT-7', date: '2026-11-01', dose: '1', doses: '2', clinician: 'Specimen Clinician', family: 'SPECIMEN', given: 'DEMO', born: '1990-02-03', ...values,
  })) await page.locator(`#${id}`).fill(value)
}

export const looks = { light: { colorScheme: 'light' }, dark: { colorScheme: 'dark' }, forced: { colorScheme: 'dark', forcedColors: 'active' } }
export const screens = { desk: { width: 1100, height: 900 }, phone: { width: 390, height: 844 }, zoomed: { width: 320, height: 512 } }

/** everyView goes through them in a language: none may break WCAG 2.2 AA, scroll sideways at any width or lack a text. */
export async function everyView(page, s, tag, look, it) {
  await page.locator('select.language').selectOption(tag)
  await page.locator(`html[lang=${tag}]`).waitFor({ state: 'attached' })
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).direction), tag === 'ar' ? 'rtl' : 'ltr')
  const views = {
    today: () => go(page, '#/today'),
    search: async () => { await go(page, '#/search'); await page.locator('.search button.primary').click() },
    new: async () => { await go(page, '#/new'); await page.locator('form button.primary').click(); await page.locator('.summary').waitFor(); await fill(page) },
    chosen: async () => { await page.locator('#country').fill('s'); await page.locator('#country').press('ArrowDown') },
    review: async () => { await page.locator('#country').fill('CH'); await page.locator('#country').press('Tab'); await page.keyboard.press('Control+Enter'); await page.locator('.groups').waitFor() },
    leave: async () => { await page.evaluate(() => { location.hash = '#/today' }); await page.locator('[data-leaving][open]').waitFor() },
    issued: async () => { await page.keyboard.press('Escape'); const anyway = page.locator('[data-same] input'); if (await anyway.count()) await anyway.check(); await page.keyboard.press('Control+Enter'); await page.locator('.codes img').waitFor() },
    record: async () => { await go(page, `#/record/${it.id}`); await page.locator('.groups').waitFor() },
    correct: async () => { await go(page, `#/correct/${it.id}`, 'correct'); await page.locator('#reason').waitFor() },
    bulk: () => go(page, '#/bulk'),
    help: async () => { await page.locator('header button.icon').click(); await page.locator('dialog[open]').waitFor() },
  }
  for (const [view, enter] of Object.entries(views)) {
    await page.setViewportSize(screens.desk)
    await enter()
    for (const [screen, size] of Object.entries(screens)) {
      const where = `${tag}, ${look}, ${view}, ${screen}`
      await page.setViewportSize(size)
      await noSidewaysScroll(page, where)
      assert.ok(!(await page.locator('body').innerText()).includes('⟦'), `${where}: a text is missing`)
      if (screen === 'desk' && view !== 'help' || screen === 'phone' && view === 'new') await axe(page, where)
      if (screen !== 'zoomed') await shot(page, `portal-${tag}-${look}-${screen}-${view}`)
    }
  }
  await page.keyboard.press('Escape')
}
