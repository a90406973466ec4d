// The verification page as a person uses it: in a browser, by mouse and by keys.
//
//   AMPOULE_URL  address of a running server with samples, such as http://127.0.0.1:8080
//   CHROMIUM     the browser, /usr/bin/chromium unless set
//   SHOTS        a folder for screenshots; none are taken unless set
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'

assert.ok(process.env.AMPOULE_URL, 'AMPOULE_URL must name a running server')
const home = new URL('/', process.env.AMPOULE_URL).href
const { origin } = new URL(home)
const desktop = { width: 1280, height: 900 }
const phone = { width: 320, height: 640 }

let profile, context, page
let samples = [] // as the cards show them
let foreign = [] // requests that went elsewhere
let complaints = [] // of the console

before(async () => {
  profile = await mkdtemp(join(tmpdir(), 'ampoule-page-'))
  if (process.env.SHOTS) await mkdir(process.env.SHOTS, { recursive: true })
  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    viewport: desktop,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  })
  context.on('request', (r) => {
    const url = new URL(r.url())
    if (url.origin !== origin && !['data:', 'about:', 'blob:'].includes(url.protocol)) foreign.push(r.url())
  })
  context.on('console', (m) => { if (['error', 'warning'].includes(m.type())) complaints.push(m.text()) })
  context.on('weberror', (e) => complaints.push(String(e.error())))

  page = await open()
  samples = await page.locator('.card').evaluateAll((cards) => cards.map((c) => ({
    id: c.querySelector('input[name=sample]').value,
    title: c.querySelector('h3').textContent.trim(),
    want: c.dataset.want,
    word: c.querySelector('.expected strong')?.textContent.trim(),
    png: c.querySelector('a[href$=".png"]').href,
    svg: c.querySelector('a[href$=".svg"]').href,
    txt: c.querySelector('a[href$=".txt"]').href,
  })))
  await page.close()
})

after(async () => {
  await context?.close()
  if (profile) await rm(profile, { recursive: true, force: true })
})

beforeEach(async () => {
  foreign = []
  complaints = []
  page = await open()
})

afterEach(async () => {
  await page.close()
  assert.deepEqual(foreign, [], 'requests left the origin')
  assert.deepEqual(complaints, [], 'the console complained')
})

async function open(path = '') {
  const opened = await context.newPage()
  await opened.setViewportSize(desktop)
  await opened.goto(home + path)
  return opened
}

async function shot(name) {
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, name + '.png'), fullPage: true })
}

const one = (wanted) => samples.find((s) => wanted(s.want))
const valid = () => one((w) => w === 'valid') ?? assert.fail('there is no sample that is valid')
const large = () => samples.filter((s) => ['vds-nc', 'divoc'].includes(s.id)) // the codes with most modules
const bad = () => one((w) => w && w !== 'valid') ?? assert.fail('there is no sample that is not valid')

const verifySample = (s) => page.locator(`#sample-${s.id}`).getByRole('button').click()

// outcome checks that the page is one verdict, and returns it.
async function outcome() {
  const verdict = page.locator('.verdict')
  assert.equal(await verdict.count(), 1)
  assert.equal(await verdict.locator('tbody tr').count(), 12, 'checks')
  const found = await verdict.getAttribute('data-outcome')
  const status = verdict.getByRole('status')
  assert.equal(await status.getByRole('heading').count(), 1)
  assert.equal(await status.locator('svg').count(), 1, 'shapes beside the word')
  assert.equal(await verdict.locator('[data-content]').count(), found === 'valid' ? 1 : 0, 'content shows')
  return { outcome: found, word: await verdict.locator('.word').innerText() }
}

// facts returns what the page says of the person.
const facts = () => page.locator('[data-content] .group', { has: page.getByRole('heading', { name: 'Person' }) })
  .locator('bdi').allInnerTexts()

test('every sample gets the outcome that its card expects', async () => {
  assert.ok(samples.length > 0, 'samples')
  const persons = new Set()
  const refused = []
  for (const s of samples) {
    await page.goto(home)
    await verifySample(s)
    const got = await outcome()
    if (s.want) assert.deepEqual(got, { outcome: s.want, word: s.word }, s.title)
    assert.match(await page.title(), new RegExp(`^${got.word}: `))
    if (got.outcome === 'valid') for (const f of await facts()) persons.add(f)
    else refused.push([s.title, await page.content()])
    await shot(`verdict-${s.id}`)
  }
  // Short facts, such as a country, may stand in other places with right.
  const telling = [...persons].filter((f) => f.length >= 6)
  assert.ok(telling.length > 0, 'a valid sample shows its person')
  for (const [title, html] of refused) {
    for (const f of telling) assert.ok(!html.includes(f), `${title}: shows ${f}`)
  }
})

test('a text that is pasted', async () => {
  for (const s of [valid(), bad()]) {
    const text = await (await context.request.get(s.txt)).text()
    await page.goto(home)
    await page.getByLabel('Paste a text').fill(text)
    await page.getByRole('button', { name: 'Verify the text' }).click()
    assert.equal((await outcome()).outcome, s.want)
  }
})

test('a text that is no code', async () => {
  await page.getByLabel('Paste a text').fill('<b>\u202eno code</b>')
  await page.getByRole('button', { name: 'Verify the text' }).click()
  assert.equal((await outcome()).outcome, 'unsupported')
})

test('a picture that is sent', async () => {
  for (const s of [valid(), bad(), ...large()]) {
    const png = await (await context.request.get(s.png)).body()
    await page.goto(home)
    await page.getByLabel('Send a picture').setInputFiles({ name: 'code.png', mimeType: 'image/png', buffer: png })
    await page.getByRole('button', { name: 'Verify the picture' }).click()
    assert.equal((await outcome()).outcome, s.want)
  }
})

test('the code on the screen is one that can be read', async () => {
  const code = page.locator(`#sample-${valid().id} .code`)
  await code.scrollIntoViewIfNeeded()
  const png = await code.screenshot()
  await page.getByLabel('Send a picture').setInputFiles({ name: 'screen.png', mimeType: 'image/png', buffer: png })
  await page.getByRole('button', { name: 'Verify the picture' }).click()
  assert.equal((await outcome()).outcome, 'valid')
})

test('several codes in one picture', async () => {
  const two = [valid(), bad()]
  await page.setContent(two.map((s) => `<p><img width="700" alt="" src="${s.png}">`).join(''), { waitUntil: 'load' })
  await page.waitForFunction(() => [...document.images].every((i) => i.complete && i.naturalWidth))
  const png = await page.screenshot({ fullPage: true })
  await page.goto(home)
  await page.getByLabel('Send a picture').setInputFiles({ name: 'two.png', mimeType: 'image/png', buffer: png })
  await page.getByRole('button', { name: 'Verify the picture' }).click()
  const got = await page.locator('.verdict').evaluateAll((all) => all.map((v) => [v.dataset.outcome, v.querySelectorAll('[data-content]').length]))
  assert.deepEqual(got, two.map((s) => [s.want, s.want === 'valid' ? 1 : 0]))
  await shot('verdict-of-two')
})

test('what goes wrong is explained', async () => {
  const send = async (buffer, name) => {
    await page.goto(home)
    await page.getByLabel('Send a picture').setInputFiles({ name, mimeType: 'image/png', buffer })
    await page.getByRole('button', { name: 'Verify the picture' }).click()
    await page.waitForSelector('.problem')
    // The browser notes the status of such an answer itself.
    complaints = complaints.filter((c) => !/status of 4\d\d/.test(c))
    return page.locator('.problem').getAttribute('data-reason')
  }
  assert.equal(await send(Buffer.from('no picture'), 'a.png'), 'not-a-picture')
  const blank = await page.locator('body').screenshot({ clip: { x: 0, y: 0, width: 8, height: 8 } })
  assert.equal(await send(blank, 'b.png'), 'no-code-found')
  assert.deepEqual(await violations(), [])
  await shot('problem')
  assert.equal(await send(Buffer.alloc(34 << 20), 'c.png'), 'picture-too-large')
  await page.goto(home + 'nowhere')
  assert.equal(await page.locator('.problem').getAttribute('data-reason'), 'not-found')
  complaints = complaints.filter((c) => !/status of 4\d\d/.test(c))
})

test('by keys alone', async () => {
  const text = await (await context.request.get(valid().txt)).text()
  const focused = () => page.evaluate(() => {
    const e = document.activeElement
    const style = getComputedStyle(e)
    const box = e.getBoundingClientRect()
    return {
      what: e.id || e.textContent.trim(),
      seen: e === document.body || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && box.top >= 0 && box.bottom <= innerHeight),
    }
  })
  const tabTo = async (what) => {
    for (let i = 0; i < 100; i++) {
      await page.keyboard.press('Tab')
      const f = await focused()
      assert.ok(f.seen, `the focus on ${f.what} cannot be seen`)
      if (f.what === what) return
    }
    assert.fail(`${what} cannot be reached`)
  }
  await tabTo('Skip to the content')
  await page.keyboard.press('Enter')
  assert.equal((await focused()).what, 'main')
  await tabTo('picture')
  await tabTo('Verify the picture')
  await tabTo('text')
  await page.keyboard.insertText(text)
  await tabTo('Verify the text')
  await Promise.all([page.waitForURL('**/verify'), page.keyboard.press('Enter')])
  assert.equal((await outcome()).outcome, 'valid')
  await tabTo('Verify another certificate')
  await Promise.all([page.waitForURL(home), page.keyboard.press('Enter')])
  await tabTo(`Verify this: ${bad().title}`)
  await Promise.all([page.waitForURL('**/verify'), page.keyboard.press('Space')])
  assert.equal((await outcome()).outcome, bad().want)
})

async function violations() {
  const found = await new AxeBuilder({ page })
    .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice']).analyze()
  return found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target + ' ' + n.failureSummary).join('; ')}`)
}

// views are the page in its states.
const views = [
  ['home', async () => {}],
  ['valid', () => verifySample(valid())],
  ['bad', () => verifySample(bad())],
]

for (const colorScheme of ['light', 'dark']) {
  test(`nothing stands in anyone's way, ${colorScheme}`, async () => {
    for (const [name, go] of views) {
      for (const viewport of [desktop, phone]) {
        await page.emulateMedia({ colorScheme })
        await page.setViewportSize(viewport)
        await page.goto(home)
        await go()
        assert.deepEqual(await violations(), [], `${name}, ${viewport.width} wide`)
        await shot(`${name}-${colorScheme}-${viewport.width}`)
      }
    }
  })
}

test('nothing has to be scrolled sideways', async () => {
  for (const [name, go] of views) {
    for (const width of [320, 640, 1280]) { // 640 is a window of 1280 at 200 %
      await page.setViewportSize({ width, height: 640 })
      await page.goto(home)
      await go()
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} at ${width}`)
    }
    // Larger letters alone, as some people set them.
    await page.setViewportSize({ width: 640, height: 640 })
    await page.evaluate(() => { document.documentElement.style.fontSize = '200%' })
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} with letters of twice the size`)
  }
})

test('on paper', async () => {
  await page.emulateMedia({ media: 'print', colorScheme: 'dark' })
  for (const box of await page.locator('.card .code').evaluateAll((all) => all.map((e) => e.getBoundingClientRect().width))) {
    assert.ok(box >= 40 / 25.4 * 96, `a code is ${(box / 96 * 25.4).toFixed(1)} mm wide`)
  }
  assert.equal(await page.locator('form:visible').count(), 0)
  if (process.env.SHOTS) {
    await page.emulateMedia({ media: null })
    await page.pdf({ path: join(process.env.SHOTS, 'home.pdf'), format: 'A4', preferCSSPageSize: true })
    await verifySample(valid())
    await outcome()
    await page.pdf({ path: join(process.env.SHOTS, 'verdict.pdf'), format: 'A4', preferCSSPageSize: true })
  }
})

test('with colours of one\'s own', async () => {
  await page.emulateMedia({ forcedColors: 'active' })
  await verifySample(bad())
  assert.equal((await outcome()).outcome, bad().want)
  await shot('bad-forced-colors')
})
