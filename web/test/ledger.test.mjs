// The page of the ledger, on the demonstration's.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, afterEach, before, test } from 'node:test'
import { axe, browser, noSidewaysScroll, phone, server, shot } from './kit.mjs'

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

async function open(options = {}, path = '/ledger/') {
  const context = await chromium.newContext({ locale: 'en-GB', ...options })
  context.setDefaultTimeout(15e3)
  const page = Object.assign(await context.newPage(), { complaints: [] })
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) page.complaints.push(m.text()) })
  page.on('pageerror', (e) => page.complaints.push(String(e)))
  page.on('request', (r) => { if (new URL(r.url()).origin !== server.origin) page.complaints.push('request to ' + r.url()) })
  opened.push(page)
  await page.goto(new URL(path, server).href)
  return page
}
const shown = (page) => page.locator('main[data-height]').waitFor()

test('who keeps the ledger, where it stands, what waits for votes', async () => {
  const page = await open()
  await shown(page)
  assert.equal(await page.locator('[data-member]').count(), 4)
  assert.match(await page.locator('[data-member=XXA]').innerText(), /active.*yes.*power 1/s)
  await page.locator('[data-proposal=params]').waitFor()
  assert.equal(await page.locator('[data-proposal] button').count(), 0, 'a stranger may vote')
  // What the service has closed and published comes within seconds.
  await page.getByRole('button', { name: /Batch of fingerprints/ }).first().waitFor()
  await axe(page, 'the ledger')
  await shot(page, 'ledger')

  // The way to it, from where certificates are verified.
  await page.goto(new URL('/', server).href)
  await page.locator('.foot a[href="/ledger/"]').click()
  await shown(page)
})

test('an entry with its proof, computed in the page', async () => {
  const page = await open()
  await shown(page)
  await page.getByRole('button', { name: /Batch of fingerprints/ }).first().click()
  await page.locator('[data-good=true]').waitFor()
  assert.match(await page.locator('.entry').innerText(), /root\s+[0-9a-f]{64}/)
  assert.ok((await page.locator('.tree rect').count()) >= 3)
  const leaf = await page.locator('.entry dl div').last().locator('code').innerText()
  await axe(page, 'an entry')

  // By its leaf hash, and by its identifier.
  await page.locator('#find').fill(leaf)
  await page.keyboard.press('Enter')
  await page.locator('.entry').filter({ hasText: leaf }).waitFor()
  await page.locator('#find').fill('2.25.329800735698586629295641978511506172918.1.1.0')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Entry 0' }).waitFor()
  await page.locator('[data-good=true]').waitFor()
  await page.locator('#find').fill('nonsense')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').waitFor()
})

test('an entry that the node has changed', async () => {
  const page = await open()
  await shown(page)
  await page.route('**/v1/ledger/entries/0', async (route) => {
    const answer = await route.fetch()
    const entry = await answer.json()
    const bytes = Buffer.from(entry.entry, 'base64')
    bytes[40] ^= 1
    await route.fulfill({ response: answer, json: { ...entry, entry: bytes.toString('base64') } })
  })
  await page.locator('#find').fill('0')
  await page.keyboard.press('Enter')
  await page.locator('[data-good=false]').waitFor()
})

test('a vote of the member, by its administrator', async () => {
  const password = /^admin +(\S+)/m.exec(readFileSync(process.env.AMPOULE_LOGINS, 'utf8'))[1]
  const page = await open({}, '/login?next=/ledger/')
  await page.locator('input[name=login]').fill('admin')
  await page.locator('input[name=password]').fill(password)
  await page.keyboard.press('Enter')
  await page.waitForURL('**/ledger/')
  await shown(page)
  await page.getByRole('button', { name: 'Vote yes' }).click()
  await page.locator('[data-proposal=params]').filter({ hasText: /Yes: .*XXA/ }).waitFor()
})

test('every language, on a phone, in the dark', async () => {
  const page = await open({ viewport: phone, colorScheme: 'dark' })
  await shown(page)
  await page.locator('.lines button').last().click()
  await page.locator('[data-good=true]').waitFor()
  for (const tag of ['fr', 'es', 'ar', 'pt', 'en']) {
    await page.locator('select.language').selectOption(tag)
    await page.locator(`html[lang=${tag}]`).waitFor()
    assert.ok(!(await page.locator('body').innerText()).includes('⟦'), tag)
    await noSidewaysScroll(page, tag)
  }
  await axe(page, 'on a phone')
})
