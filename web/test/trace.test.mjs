// The proof behind a dose, on the demonstration: of two lots in refrigerators of the north
// clinic one froze, and a certificate leads to each reading.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { screens } from './desk.mjs'
import { axe, browser, noSidewaysScroll, phone, server, shot } from './kit.mjs'

const logins = readFileSync(process.env.AMPOULE_LOGINS, 'utf8')
let chromium
const opened = []
before(async () => { chromium = await browser() })
after(async () => chromium?.close())
afterEach(async () => {
  for (const page of opened.splice(0)) {
    assert.deepEqual(page.complaints, [], 'the console complained, or a request left the server')
    assert.ok(!(await page.locator('body').innerText()).includes('⟦'), 'a text is missing')
    await page.context().close()
  }
})

/** open opens the view as somebody. */
async function open(who, options = {}) {
  const context = await chromium.newContext({ locale: 'en-GB', viewport: screens.desk, reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(15e3)
  const page = Object.assign(await context.newPage(), { complaints: [], allowed: [] })
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type()) && !page.allowed.some((a) => a.test(m.text()))) page.complaints.push(m.text()) })
  page.on('pageerror', (e) => page.complaints.push(String(e)))
  page.on('request', (r) => { if (new URL(r.url()).origin !== server.origin && !/^(data|blob):/.test(r.url())) page.complaints.push('request to ' + r.url()) })
  opened.push(page)
  await page.goto(new URL('/login?next=/issuer/', server).href)
  await page.locator('input[name=login]').fill(who)
  await page.locator('input[name=password]').fill(new RegExp(`^${who} +(\\S+)`, 'm').exec(logins)[1])
  await page.keyboard.press('Enter')
  await page.waitForURL('**/issuer/')
  await page.locator('main[data-view]:not([data-view=""])').waitFor()
  return page
}
const view = (page) => page.locator('nav a[href="#/trace"]')
async function follow(page, what, text) {
  await page.locator(`#trace-${what}`).fill(text)
  await page.locator('form.search button.primary').click()
  await page.locator('[data-outcome]').waitFor()
}
const outcome = (page) => page.locator('[data-outcome]').getAttribute('data-outcome')
const ampoule = (...words) => { try { return [0, execFileSync(process.env.AMPOULE, words, { encoding: 'utf8' })] } catch (e) { return [e.status, e.stdout + e.stderr] } }

test('from a certificate to the readings, and the file that proves it', async () => {
  const page = await open('supervisor')
  // The vial of the demonstration gives a dose, and its certificate is what is asked with.
  const code = await page.evaluate(async () => {
    const session = (await (await fetch('/v1/stock/sessions?open=true&facility=north-clinic')).json()).items[0]
    const answer = await fetch('/v1/certificates', {
      method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ session: session.id, facility: 'north-clinic', formats: [{ format: 'ddcc' }], record: {
        person: { name: { full: 'SPECIMEN THREAD' }, birth_date: '1990-01-02' },
        vaccination: { date: new Date().toISOString().slice(0, 10), disease: { code: '840539006', system: 'http://snomed.info/sct' }, vaccine: { code: '1119349007', system: 'http://snomed.info/sct' }, dose: 1, country: 'XA', manufacturer: { code: 'ORG-100030215' } },
      } }),
    })
    const body = await answer.json()
    return body.certificates ? body.certificates[0].text : JSON.stringify(body)
  })
  assert.match(code, /^HC1:/, code)
  await view(page).click()
  await page.locator('main[data-view=trace] form').waitFor()
  // Nothing is asked with nothing.
  await page.locator('form.search button.primary').click()
  assert.equal(await page.locator('#trace-code').getAttribute('aria-invalid'), 'true')
  let asked = ''
  page.on('request', (r) => { if (r.url().includes('/v1/trace')) asked = r.url() })
  await follow(page, 'code', code)
  assert.ok(asked && !asked.includes('HC1'), 'a code is in no address')
  assert.equal(await outcome(page), 'sound')
  assert.equal(await page.locator('[data-result][data-outcome]').getAttribute('data-result'), 'pass', await page.locator('main').innerText())
  assert.equal(await page.locator('#trace-code').inputValue(), '', 'the code stays on the page')
  const legs = await page.locator('[data-leg]').allInnerTexts()
  assert.ok(legs.length >= 5 && legs.at(-1).includes('North clinic') && /Readings: \D?[\d,]+/.test(legs.at(-1)), legs.join('\n'))
  for (const check of ['signature', 'dose', 'events', 'way', 'assessment']) assert.equal(await page.locator(`[data-check=${check}]`).first().getAttribute('data-result'), 'pass', check)
  assert.ok(!(await page.locator('main').innerText()).includes('SPECIMEN'), 'it names somebody')
  await axe(page, 'trace')
  await noSidewaysScroll(page, 'trace')
  await shot(page, 'trace')

  // The file stands alone: it is of this certificate, and of no other.
  const folder = mkdtempSync(join(tmpdir(), 'thread-'))
  try {
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Keep the proof as a file' }).click()])
    const file = join(folder, 'dose.thread')
    await download.saveAs(file)
    const ca = join(process.env.AMPOULE_DEMO, 'store', 'devices', 'authority.pem')
    const [good, said] = ampoule('trace', 'verify', file, '--ca', ca, '--code', code)
    assert.equal(good, 0, said)
    const bytes = readFileSync(file)
    bytes[bytes.length >> 1] ^= 1
    writeFileSync(file, bytes)
    assert.equal(ampoule('trace', 'verify', file, '--ca', ca)[0], 1, 'a bit of it was changed')
  } finally { rmSync(folder, { recursive: true }) }

  // The lot that froze, and one of which nobody told.
  await follow(page, 'lot', 'DEMO-IPV-1')
  assert.equal(typeof (await outcome(page)), 'string')
  page.allowed.push(/404/)
  await page.locator('#trace-lot').fill('NO-SUCH-LOT')
  await page.locator('form.search button.primary').click()
  await page.getByText('There is nothing to follow').waitFor()
})

test('who has no right to it does not see it', async () => {
  const page = await open('clerk')
  assert.equal(await view(page).count(), 0)
  page.allowed.push(/403/)
  assert.equal(await page.evaluate(async () => (await fetch('/v1/trace?lot=DEMO-IPV-1')).status), 403)
})

for (const [locale, name] of [['ar', 'Arabic'], ['fr', 'French']]) {
  test(`on a phone, in ${name}`, async () => {
    const page = await open('auditor', { viewport: phone, locale })
    await view(page).click()
    await follow(page, 'lot', 'DEMO-IPV-1')
    await axe(page, `trace ${locale}`)
    await noSidewaysScroll(page, `trace ${locale}`)
    await shot(page, `trace-phone-${locale}`)
  })
}
