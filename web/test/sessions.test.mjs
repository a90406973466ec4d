// Stock at the desk, on the demonstration: at the north clinic one lot is sound, and one
// froze in its refrigerator.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
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

/** open opens the stock as somebody. */
async function open(who, options = {}) {
  const context = await chromium.newContext({ locale: 'en-GB', viewport: screens.desk, reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(10e3)
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
  await page.locator('main[data-view=today]').waitFor()
  await page.keyboard.press('Alt+s')
  await page.locator('[data-lot]').first().waitFor()
  return page
}
const sessions = (page) => page.locator('[data-session]')
const idle = (page) => page.locator('.head button:enabled').waitFor()
const verdict = (page, lot) => page.locator(`[data-lot="${lot}"] .lot`).getAttribute('data-verdict')
/** A hand scanner types the code of a carton. */
async function scan(page, text) {
  await page.locator('h1').focus()
  await page.keyboard.type(text, { delay: 5 })
  await page.keyboard.press('Enter')
}
const stock = (page) => page.evaluate(async () => (await (await fetch('/v1/stock')).json()).items.find((l) => l.number === 'DEMO-LOT-1'))

test('a vial from its code to its end', async () => {
  const page = await open('clerk')
  assert.equal(await verdict(page, 'DEMO-LOT-1'), 'fit')
  const before = await sessions(page).count()
  const was = await stock(page)

  // Opened by a scanner.
  await scan(page, '(01)09521321123465(17)280131(10)DEMO-LOT-1')
  await page.locator('#opening').waitFor()
  assert.equal(await page.locator('#expiry').inputValue(), '2028-01-31', 'the last day is that of the code')
  await shot(page, 'stock-opening')
  await page.locator('#diluent').fill('DIL-9')
  await page.locator('#opening button.primary').click()
  await page.locator('#opening').waitFor({ state: 'detached' })
  await idle(page)
  assert.equal(await sessions(page).count(), before + 1)
  const vial = sessions(page).first()
  assert.match(await vial.innerText(), /Doses left: 10 of 10/)

  // Given: product, lot and day are there, and the person is all that is typed.
  await vial.getByRole('button', { name: 'Give from it' }).click()
  await page.locator('main[data-view=new]').waitFor()
  await page.waitForFunction(() => document.querySelector('#lot')?.value === 'DEMO-LOT-1')
  assert.notEqual(await page.locator('#vial').inputValue(), '')
  assert.equal(await page.locator('#product').inputValue(), 'Demonstration yellow fever vaccine, ten doses (fictitious)')
  for (const [id, value] of Object.entries({ family: 'SPECIMEN', given: 'STOCK', born: '1990-02-03', clinician: 'Specimen Clinician' })) await page.locator(`#${id}`).fill(value)
  await page.locator('#sex').selectOption('female')
  await page.locator('#docType').selectOption('PPN')
  await page.locator('#docNumber').fill('SPEC9001')
  await page.locator('#nationality').fill('XXA')
  await page.locator('#nationality').press('Tab')
  await shot(page, 'stock-giving')
  await page.keyboard.press('Control+Enter')
  await page.locator('.groups, .summary, .trouble').first().waitFor()
  assert.equal(await page.locator('.summary, .trouble').allInnerTexts().then((t) => t.join()), '')
  const anyway = page.locator('[data-same] input')
  if (await anyway.count()) await anyway.check()
  await page.keyboard.press('Control+Enter')
  await page.locator('.codes img').waitFor()

  // Wasted and ended, by keyboard.
  await page.keyboard.press('Alt+s')
  await page.locator('[data-lot]').first().waitFor()
  assert.match(await vial.innerText(), /Doses left: 9 of 10/)
  await vial.getByRole('button', { name: 'Waste doses' }).focus()
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => document.activeElement?.id === 'count')
  await page.keyboard.press('Control+a')
  await page.keyboard.type('2')
  await page.locator('#why').selectOption('broken')
  await page.locator('#count').press('Enter')
  await page.waitForFunction(() => document.querySelector('[data-session]').innerText.includes('Doses left: 7 of 10'))
  await vial.getByRole('button', { name: 'End' }).click()
  await page.locator('#unrecorded').fill('3')
  await shot(page, 'stock-ending')
  await page.locator('#unrecorded').press('Enter')
  await page.waitForFunction((n) => document.querySelectorAll('[data-session]').length === n, before)
  const now = await stock(page)
  assert.deepEqual([now.here - was.here, now.given - was.given, now.gone - was.gone], [-10, 4, 6], 'ten doses of the vial have left the stock')
})

test('what froze is refused, and opened by who answers for it', async () => {
  const clerk = await open('clerk')
  assert.equal(await verdict(clerk, 'DEMO-IPV-1'), 'unfit')
  await clerk.locator('[data-lot="DEMO-IPV-1"] button').click()
  await clerk.locator('#opening').waitFor()
  assert.match(await clerk.locator('#opening').innerText(), /It froze, and does not bear that/)
  assert.equal(await clerk.locator('#opening button.primary').count(), 0)
  assert.equal(await clerk.locator('#override').count(), 0)
  await shot(clerk, 'stock-refused')
  const answer = await clerk.evaluate(async () => (await fetch('/v1/stock/sessions', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ lot: 'https://id.gs1.org/01/09521321123458/10/DEMO-IPV-1', override: 'outbreak' }) })).status).catch(() => 0)
  assert.equal(answer, 403)
  clerk.complaints = clerk.complaints.filter((c) => !/403/.test(c))

  const page = await open('supervisor')
  const lot = page.locator('[data-lot="DEMO-IPV-1"]').filter({ hasText: 'It froze' })
  await lot.getByRole('button').click()
  await page.locator('#override').selectOption('outbreak')
  await page.locator('#opening button.primary').click()
  await page.locator('#opening').waitFor({ state: 'detached' })
  await idle(page)
  assert.match(await sessions(page).first().innerText(), /Opened in spite of: \u2068It froze/)
  await shot(page, 'stock-override')
  await sessions(page).first().getByRole('button', { name: 'End' }).click()
  await page.locator('#left').fill('5')
  await page.locator('#left').press('Enter')
  await page.waitForFunction(() => !document.body.innerText.includes('Opened in spite of'))
})

test('a code without a product says so, and a vial that nobody told of is no secret', async () => {
  const page = await open('clerk')
  page.allowed.push(/422/)
  await scan(page, '(10)DEMO-LOT-1(21)SERIAL77')
  await page.locator('[data-reason=not-a-product-code]').waitFor()
  await page.locator('#code').fill('(01)09521321123465(17)280131(10)NEVER-SEEN')
  await page.locator('#code').press('Enter')
  await page.locator('#opening').waitFor()
  assert.match(await page.locator('#opening').innerText(), /Nobody told that it came here/)
  assert.equal(await page.locator('#opening .lot').getAttribute('data-verdict'), 'told')
})

test('in every language and at every width', async () => {
  const page = await open('clerk')
  for (const tag of ['en', 'fr', 'es', 'pt', 'ar']) {
    await page.setViewportSize(screens.desk)
    await page.locator('select.language').selectOption(tag)
    await page.locator(`html[lang=${tag}]`).waitFor({ state: 'attached' })
    await page.locator('[data-lot="DEMO-IPV-1"] button').click()
    await page.locator('#opening').waitFor()
    await page.locator('[data-lot="DEMO-LOT-1"] summary').click()
    await sessions(page).first().getByRole('button').last().click()
    await page.locator('#unrecorded').waitFor()
    for (const [name, size] of Object.entries({ ...screens, phone })) {
      await page.setViewportSize(size)
      await noSidewaysScroll(page, `${tag}, ${name}`)
      assert.ok(!(await page.locator('body').innerText()).includes('⟦'), `${tag}: a text is missing`)
      if (name !== 'zoomed') await axe(page, `${tag}, ${name}`)
      if (name !== 'zoomed') await shot(page, `stock-${tag}-${name}`)
    }
    await page.setViewportSize(screens.desk)
    await page.locator('[data-lot="DEMO-LOT-1"] summary').click()
    await sessions(page).first().locator('form button').last().click()
    await page.locator('#opening .buttons button').last().click()
  }
})
