// The guided tour of the demonstration: a newcomer comes with the guide, and every
// station leads where it says.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { axe, browser, noSidewaysScroll, phone, server, shot } from './kit.mjs'

let chromium
const opened = []
before(async () => { chromium = await browser() })
after(async () => chromium?.close())
afterEach(async () => {
  for (const page of opened.splice(0)) {
    assert.deepEqual(page.complaints, [], 'the console complained, or a request left the server')
    await page.context().close()
  }
})

/** open opens the tour, and waits until the whole scene stands. */
async function open(options = {}) {
  const context = await chromium.newContext({ locale: 'en-GB', viewport: { width: 1100, height: 900 }, reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(15e3)
  const page = Object.assign(await context.newPage(), { complaints: [], away: [] })
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) page.complaints.push(m.text()) })
  page.on('pageerror', (e) => page.complaints.push(String(e)))
  page.on('request', (r) => { if (![server.origin, ...page.away].includes(new URL(r.url()).origin) && !/^(data|blob):/.test(r.url())) page.complaints.push('request to ' + r.url()) })
  opened.push(page)
  await tour(page)
  return page
}

async function tour(page) {
  await page.goto(new URL('/tour/', server).href)
  await page.locator('main[data-ready=true][data-batch]').waitFor({ timeout: 60e3 })
  await page.locator('[data-station=stolen] [data-verdict=stolen-anew]').waitFor()
}

async function withGuide(page) {
  await page.locator('#guide ~ form button').click()
  await page.locator('main[data-visitor=guide][data-batch]').waitFor()
  await page.locator('[data-station=power] [data-fact]').waitFor()
}

const said = (page, station) => page.locator(`[data-station=${station}] [data-verdict]`).evaluateAll((rows) => rows.map((r) => [r.dataset.verdict, r.dataset.outcome, r.dataset.advice]))

test('each station leads where it says', async () => {
  const page = await open()
  // Before anybody has logged in there is no face that would refuse.
  assert.deepEqual(await page.locator('[data-leads]').evaluateAll((all) => all.map((a) => a.dataset.leads)), ['border', 'ledger'])
  await withGuide(page)

  const scene = await page.evaluate(async () => (await (await fetch('/tour/scene.json')).json()).scene)
  const arrives = {
    works: () => page.locator('[data-lot="DEMO-IPV-1"]').first().waitFor(),
    carrier: () => page.getByText('9521321LOGGER1').first().waitFor(),
    store: () => page.getByText('Central store, cold room').first().waitFor(),
    clinic: () => page.locator('[data-session]').first().waitFor(),
    certificate: () => page.locator('main[data-view=record]').getByText('Jonas').first().waitFor(),
    border: () => page.locator('main[data-engine=ready]').waitFor({ timeout: 30e3 }),
    freeze: async () => { await page.getByRole('heading', { name: scene.freeze.name }).waitFor() },
    trace: async () => {
      await page.locator('#trace-lot').fill(scene.lot)
      await page.locator('main[data-view=trace] button.primary').click()
      await page.getByText('North clinic, fridge 2').first().waitFor()
    },
    power: async () => { await page.getByRole('heading', { name: scene.power_cut.name }).waitFor() },
    ledger: () => page.getByText('Batch of fingerprints').first().waitFor(),
  }
  for (const [station, there] of Object.entries(arrives)) {
    if (station === 'border') page.away.push(scene.country.address)
    await page.locator(`[data-leads=${station}]`).click()
    await there()
    await tour(page)
    await page.locator('[data-station=power] [data-fact]').waitFor()
  }
})

test('what the stations say is what the services say', async () => {
  const page = await open()
  await withGuide(page)
  const good = (sample, advice) => [sample, 'valid', advice]
  assert.deepEqual(await said(page, 'border'), [
    good('icvp-yellow-fever', 'not-known'), good('dcc-test', 'not-known'), good('recalled-lot', 'concern'), good('given-frozen', 'concern'),
    good('given-beside', 'not-known'), good('given-elsewhere', 'not-known'), ['forged', 'bad-signature', 'not-known'],
  ])
  assert.deepEqual(await said(page, 'freeze'), [good('given-frozen', 'concern'), good('given-beside', 'not-known'), good('given-elsewhere', 'not-known')])
  assert.deepEqual(await said(page, 'recall'), [good('recalled-lot', 'concern')])
  assert.deepEqual(await said(page, 'stolen'), [
    good('stolen-before', 'not-known'), good('stolen-key', 'not-known'), // before it was known
    ['stolen-key', 'unknown-issuer', 'not-known'], ['stolen-before', 'unknown-issuer', 'not-known'], good('stolen-anew', 'not-known'),
  ])
  assert.deepEqual(await said(page, 'forged'), [['forged', 'bad-signature', 'not-known']])
  assert.match(await page.locator('[data-station=freeze] [data-fact]').innerText(), /North clinic, fridge 2.*-\d+\.\d.* °C/)
  assert.equal(await page.locator('[data-station=works] [data-fact]').count(), 2)
  assert.match(await page.locator('[data-station=carrier] [data-fact]').innerText(), /9\d\s?%/)

  // The same verdict by the plain page, with every step.
  await page.locator('[data-station=stolen] [data-verdict=stolen-key] button').click()
  await page.waitForURL('**/verify')
  assert.equal(await page.locator('.verdict').getAttribute('data-outcome'), 'unknown-issuer')
})

test('everybody can walk it', async () => {
  for (const [look, options] of Object.entries({ desk: {}, dark: { colorScheme: 'dark' }, phone: { viewport: phone } })) {
    const page = await open(options)
    await withGuide(page)
    for (const tag of look === 'desk' ? ['en', 'fr', 'es', 'pt', 'ar'] : ['en']) {
      await page.locator('select.language').selectOption(tag)
      await page.locator(`html[lang=${tag}]`).waitFor({ state: 'attached' })
      assert.ok(!(await page.locator('body').innerText()).includes('⟦'), `${tag}: a text is missing`)
      await noSidewaysScroll(page, `${look} ${tag}`)
      await shot(page, `tour-${look}-${tag}`)
      if (tag === 'en' || tag === 'ar') await axe(page, `${look} ${tag}`)
    }
    // By keyboard: from the list of stations to the station.
    await page.locator('.way a').first().focus()
    await page.keyboard.press('Enter')
    assert.equal(new URL(page.url()).hash, '#works')
  }
})
