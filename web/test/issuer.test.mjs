// The portal as clerks and supervisors use it, on a whole service of its own.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { axe, browser, noSidewaysScroll, shot } from './kit.mjs'
import { choose, covid, desk, everyView, fill, go, looks, screens, service } from './desk.mjs'

let chromium, s
const open = new Set()
before(async () => { [chromium, s] = await Promise.all([browser(), service()]) })
after(async () => { await chromium?.close(); s?.stop() })
afterEach(async () => {
  for (const page of open) {
    assert.deepEqual(page.complaints, [], 'the console complained, or a request left the server')
    assert.ok(!(await page.locator('body').innerText()).includes('⟦'), 'a text is missing')
    await page.context().close()
  }
  open.clear()
})

async function as(who, options) {
  const page = await desk(chromium, s, who, options)
  open.add(page)
  return page
}
const heading = (page, name) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor({ timeout: 8000 })

async function issued(order = covid(), who = 'clerk') {
  const r = await s.api(who, 'POST', '/v1/certificates', order)
  assert.equal(r.status, 201, JSON.stringify(r.body))
  return r.body
}
const ids = async () => (await s.api('chief', 'GET', '/v1/certificates?limit=1000')).body.items.map((h) => h.id)

test('a clerk’s day by keyboard alone, from the login on', async () => {
  const context = await chromium.newContext({ locale: 'en-GB' })
  context.setDefaultTimeout(8000)
  const page = Object.assign(await context.newPage(), { complaints: [] })
  open.add(page)
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type()) && !/401/.test(m.text())) page.complaints.push(m.text()) })
  await page.goto(s.url + '/issuer/')
  await page.waitForURL(/\/login\?next=/)
  const keys = (...names) => names.reduce((done, k) => done.then(() => page.keyboard.press(k)), Promise.resolve())
  const focused = (selector) => page.waitForFunction((q) => document.activeElement?.matches(q), selector)
  const tabTo = async (selector) => {
    for (let i = 0; i < 80; i++) {
      if (await page.evaluate((q) => document.activeElement?.matches(q), selector)) return
      await page.keyboard.press('Tab')
    }
    assert.fail(`${selector} is not reached by Tab`)
  }
  await tabTo('#login')
  await page.keyboard.type('clerk')
  await tabTo('#password')
  await page.keyboard.type(s.passwords.clerk)
  await keys('Enter')
  await page.waitForURL(s.url + '/issuer/')
  await page.locator('main[data-view=today]').waitFor()

  await keys('Alt+n')
  await focused('h1')
  await tabTo('#product')
  await page.keyboard.type('comirn')
  await keys('ArrowDown', 'Enter', 'Tab')
  assert.equal(await page.locator('#disease').inputValue(), '840539006', 'the product says against what it is')
  assert.ok(await page.locator('[name=format-eu-dcc]').isChecked())
  await tabTo('#vaccine')
  await page.keyboard.type('mrna')
  await keys('ArrowDown', 'Enter')
  await tabTo('#manufacturer')
  await page.keyboard.type('biontech')
  await keys('ArrowDown', 'Enter')
  for (const [id, value] of [['lot', 'LOT-1'], ['date', '01.11.2026'], ['dose', '1'], ['doses', '2'], ['clinician', 'Specimen Clinician'], ['family', 'Spécimen'], ['given', 'Kéy'], ['born', '1990-02']]) {
    await tabTo('#' + id)
    await page.keyboard.type(value)
  }
  assert.equal((await page.locator('#date-read').innerText()).trim(), '1 November 2026')
  assert.equal((await page.locator('#born-read').innerText()).trim(), 'February 1990')
  await keys('Control+Enter')
  await heading(page, 'Review')
  await focused('h1')
  assert.match(await page.locator('main').innerText(), /SPECIMEN/, 'the passport spelling')
  await keys('Control+Enter')
  await heading(page, 'Issued')
  await page.waitForFunction(() => document.querySelector('.codes img')?.naturalWidth > 0)

  // The next person: product, lot, day and clinician stay.
  await tabTo('.buttons button.primary')
  await keys('Enter')
  await focused('#family')
  assert.deepEqual(await Promise.all(['lot', 'date', 'clinician', 'dose', 'family'].map((id) => page.locator('#' + id).inputValue())), ['LOT-1', '01.11.2026', 'Specimen Clinician', '', ''])

  // Search, open.
  await keys('Escape')
  await page.locator('h1').focus()
  await keys('/')
  await page.locator('main[data-view=search]').waitFor()
  await tabTo('#search-name')
  await page.keyboard.type('key specimen')
  await tabTo('#search-born')
  await page.keyboard.type('1990-02')
  await keys('Enter')
  await page.locator('.heads a').waitFor()
  await tabTo('.heads a')
  await keys('Enter')
  await page.locator('main[data-view=record]').waitFor()
  await page.getByText('Kéy').waitFor()
  await page.locator('h1').focus()
  await keys('?')
  await page.locator('dialog[open]').waitFor()
  await keys('Escape')
})

test('the form accepts no nonsense', async () => {
  const page = await as('clerk')
  await go(page, '#/new')
  await page.getByRole('button', { name: 'Review' }).click()
  await page.locator('.summary').waitFor()
  assert.ok(await page.locator('.summary').evaluate((e) => e === document.activeElement))
  await page.locator('.summary a').first().click()
  await fill(page)
  const tomorrow = new Date(Date.now() + 2 * 864e5).toISOString().slice(0, 10)
  for (const [id, value, want] of [
    ['born', '1990-02-30', /no such date/], ['born', '31.04.1990', /no such date/], ['born', '-1990-01-01', /no such date/], ['born', '90-01-01', /no such date/], ['born', 'May', /no such date/],
    ['born', '0001-01-01', /no such date/], ['born', '1790-01-01', /so long ago/], ['born', tomorrow, /future/], ['born', '03/02/1990', /two ways/], ['born', '', /needed/], ['born', '2999', /future/],
    ['date', tomorrow, /future/], ['date', '1989-01-01', /before the date of birth/], ['date', '2026-11', /no such date/], ['date', '11/01/2026', /two ways/], ['date', '31/11/2026', /no such date/],
    ['dose', '0', /1 to 99/], ['dose', 'x', /1 to 99/], ['doses', '-1', /1 to 99/], ['dose', '1.5', /needed|1 to 99/],
    ['family', 'SPECIMEN 1', /no digits/], ['given', '<b>', /no digits/], ['family', '   ', null], ['docNumber', 'A;B', /letters/], ['docNumber', 'AB12', null, 'docType', /needed/],
    ['nationality', 'Nowhere', /list/], ['country', '', /needed/], ['country', 'Atlantis', /list/], ['product', 'a tea', /EU list/], ['vaccine', 'XM0N24', /EU list/], ['manufacturer', '', /needed/],
    ['expires-eu-dcc', '2020-01-01', /past/], ['expires-eu-dcc', '2999-01-01', /No later than/], ['expires-eu-dcc', '', /needed/],
  ]) {
    const at = page.locator(`[id="${id}"]`)
    const before = await at.inputValue()
    await at.fill(value)
    await at.press('Tab')
    await page.getByRole('button', { name: 'Review' }).click()
    const other = want === null && id === 'docNumber' ? 'docType' : id
    if (want === null && id === 'family') {
      await heading(page, 'Review') // a given name is enough
      await page.getByRole('button', { name: 'Back to the form' }).click()
    } else {
      const fault = page.locator(`[id="${other}-fault"]`)
      await fault.waitFor({ timeout: 4000 }).catch(() => assert.fail(`${id} took ${JSON.stringify(value)}`))
      assert.match(await fault.innerText(), want ?? /needed/, `${id} ${value}`)
      const described = await page.locator(`[id="${other}"]`).getAttribute('aria-describedby')
      assert.ok(described.split(' ').includes(`${other}-fault`) && (await page.locator(`[id="${other}"]`).getAttribute('aria-invalid')) === 'true', `${id}: it is not tied to its field`)
      assert.ok(await page.locator('.summary a').count() > 0)
    }
    await at.fill(before)
    await at.press('Tab')
    assert.equal(await page.locator(`[id="${other}-fault"]`).count(), 0, `${id} is right again, and is said to be wrong`)
  }
  // Which day is meant is asked, and the answer is a date that reads one way.
  await page.locator('#date').fill('02/11/2026')
  await page.getByRole('button', { name: '2 November 2026' }).click()
  assert.equal(await page.locator('#date').inputValue(), '2026-11-02')
  // A whole birth date where the format asks for one; a part where it does not.
  await page.locator('#born').fill('1990')
  await page.locator('[name=format-vds-nc]').check()
  await page.getByRole('button', { name: 'Review' }).click()
  assert.match(await page.locator('#born-fault').innerText(), /whole date/)
  await page.locator('[name=format-vds-nc]').uncheck()
  await page.getByRole('button', { name: 'Review' }).click()
  await heading(page, 'Review')
  assert.equal((await ids()).length, 1, 'nothing of this was issued')
  await page.getByRole('button', { name: 'Back to the form' }).click()
  await page.locator('#family').fill('')
  await page.locator('#given').fill('')
})

test('a second certificate of one dose is warned of, and a double click makes one', async () => {
  const page = await as('clerk')
  await go(page, '#/new')
  await fill(page, { family: 'SPECIMENTWICE' })
  const before = (await ids()).length
  await page.keyboard.press('Control+Enter')
  await heading(page, 'Review')
  await page.getByRole('button', { name: 'Issue', exact: true }).dblclick()
  await heading(page, 'Issued')
  assert.equal((await ids()).length, before + 1)
  await page.getByRole('button', { name: 'Next person' }).click()
  await fill(page, { family: 'Twice Specimentwice'.slice(6), given: 'Demo' })
  await page.keyboard.press('Control+Enter')
  await heading(page, 'Review')
  await page.locator('[data-same]').waitFor()
  await shot(page, 'duplicate')
  await axe(page, 'duplicate')
  const issue = page.getByRole('button', { name: 'Issue', exact: true })
  assert.ok(await issue.isDisabled())
  await page.keyboard.press('Control+Enter')
  assert.equal((await ids()).length, before + 1, 'the keys are no way around the warning')
  await page.getByLabel(/issue anyway/).check()
  await issue.click()
  await heading(page, 'Issued')
  assert.equal((await ids()).length, before + 2)
})

test('an answer that is lost makes no second certificate', async () => {
  const page = await as('clerk')
  page.allowed.push(/Failed to load resource/)
  await go(page, '#/new')
  await fill(page, { family: 'SPECIMENLOST' })
  const before = (await ids()).length
  await page.keyboard.press('Control+Enter')
  await heading(page, 'Review')
  let lost = 0
  await page.route('**/v1/certificates', async (route) => {
    if (route.request().method() !== 'POST' || lost++ > 0) return route.continue()
    await route.fetch() // the server has it
    await route.abort('connectionreset')
  })
  await page.keyboard.press('Control+Enter')
  await page.locator('.trouble').waitFor()
  assert.match(await page.locator('.trouble').innerText(), /not known/)
  await shot(page, 'lost')
  await page.getByRole('button', { name: 'Send it again' }).click()
  await heading(page, 'Issued')
  await page.getByText('by the same order').waitFor()
  assert.equal((await ids()).length, before + 1)
})

test('a session that ends keeps what was typed', async () => {
  const page = await as('clerk')
  page.allowed.push(/401/)
  await go(page, '#/new')
  await fill(page, { family: 'SPECIMENEND' })
  const cookies = await page.context().cookies()
  await page.context().clearCookies()
  await page.keyboard.press('Control+Enter')
  await page.getByRole('dialog', { name: 'You are logged out' }).waitFor()
  await page.context().addCookies(cookies) // as another tab would
  await page.getByRole('button', { name: 'I am back' }).click()
  assert.equal(await page.locator('#family').inputValue(), 'SPECIMENEND')
  await page.keyboard.press('Control+Enter')
  await heading(page, 'Review')
  // To leave it asks.
  await page.getByRole('link', { name: 'Records' }).click()
  await page.getByRole('dialog', { name: 'Leave the form?' }).waitFor()
  await page.getByRole('button', { name: 'Stay here' }).click()
  await heading(page, 'Review')
  await page.getByRole('link', { name: 'Search' }).click()
  await page.getByRole('button', { name: 'Leave it' }).click()
  await page.locator('main[data-view=search]').waitFor()
})

test('a correction takes the place of the wrong one, and somebody else may be quicker', async () => {
  const wrong = await issued()
  const page = await as('chief')
  page.allowed.push(/412/)
  await go(page, `#/record/${wrong.id}`)
  await page.getByRole('link', { name: 'Correct' }).click()
  await page.locator('#dose').waitFor()
  assert.equal(await page.locator('#dose').inputValue(), '1')
  await page.locator('#dose').fill('2')
  await page.getByRole('button', { name: 'Review' }).click()
  assert.match(await page.locator('#reason-fault').innerText(), /needed/)
  await page.locator('#reason').selectOption('wrong-data')
  await page.getByRole('button', { name: 'Review' }).click()
  await heading(page, 'Review')
  assert.match(await page.locator('main').innerText(), /will be shown as withdrawn, in all formats/)
  assert.equal(await page.locator('[data-same]').count(), 0, 'the wrong one is no duplicate')
  await shot(page, 'correct-review')
  await page.getByRole('button', { name: 'Issue, and withdraw' }).click()
  await heading(page, 'Issued')
  await page.getByRole('link', { name: 'Open the record' }).click()
  await page.getByRole('link', { name: 'Open the earlier one' }).click()
  await page.locator('[data-state=superseded]').waitFor()
  await shot(page, 'superseded')
  await axe(page, 'superseded')
  await page.getByRole('link', { name: 'Open the record that took its place' }).click()
  await page.getByText('2 of 2').waitFor()

  const raced = await issued()
  await go(page, `#/correct/${raced.id}`, 'correct')
  await page.locator('#lot').fill('LOT-2')
  await page.locator('#reason').selectOption('wrong-data')
  await page.getByRole('button', { name: 'Review' }).click()
  await heading(page, 'Review')
  assert.equal((await s.api('chief', 'POST', `/v1/certificates/${raced.id}/revoke`, { reason: 'fraud' }, { 'if-match': '"1"' })).status, 200)
  await page.getByRole('button', { name: 'Issue, and withdraw' }).click()
  await page.locator('.trouble[data-reason]').waitFor()
  assert.match(await page.locator('.trouble').innerText(), /quicker|as it stands/)
  await shot(page, 'conflict')
})

test('a supervisor withdraws, puts back and erases; a clerk is not offered to', async () => {
  const it = await issued(covid({ formats: [{ format: 'ddcc' }] }))
  const clerk = await as('clerk')
  await go(clerk, `#/record/${it.id}`)
  await clerk.getByText(it.record.person.name.family).first().waitFor()
  for (const name of ['Correct', 'Withdraw', 'Erase']) assert.equal(await clerk.getByRole('button', { name }).count() + await clerk.getByRole('link', { name }).count(), 0, name)

  const page = await as('chief')
  await go(page, `#/record/${it.id}`)
  await page.getByRole('button', { name: 'Withdraw' }).click()
  const now = page.getByRole('button', { name: 'Withdraw now' })
  assert.ok(await now.isDisabled())
  await page.getByLabel('Fraud').check()
  assert.ok(await now.isDisabled(), 'a reason alone is not enough')
  await page.getByLabel(/Yes, withdraw it/).check()
  await shot(page, 'revoke')
  await axe(page, 'revoke')
  await now.click()
  await page.locator('[data-state=revoked]').waitFor()
  await page.getByRole('button', { name: 'Put back in force' }).click()
  await page.getByRole('button', { name: 'Put back in force now' }).click()
  await page.getByRole('button', { name: 'Withdraw' }).waitFor()
  await page.getByRole('button', { name: 'Erase' }).click()
  const erase = page.getByRole('button', { name: 'Erase for good' })
  await page.getByLabel(/asked for it/).check()
  assert.ok(await erase.isDisabled())
  await page.locator('#erase-typed').fill(it.id.slice(-6))
  await shot(page, 'erase')
  await erase.click()
  await page.getByText('erased for good').first().waitFor()
  // The form says so, too: the request may be under way yet.
  let status
  for (let n = 0; n < 50 && status !== 404; n++) {
    await page.waitForTimeout(100)
    status = (await s.api('chief', 'GET', `/v1/certificates/${it.id}`)).status
  }
  assert.equal(status, 404)
})

test('a scanned certificate fills the person, one that is not valid only on demand', async () => {
  const it = await issued()
  const text = it.certificates.find((c) => c.format === 'eu-dcc').text
  const page = await as('clerk')
  await go(page, '#/new')
  await page.locator('h1').focus()
  // As fast as a scanner types, however busy the machine is.
  await page.evaluate((keys) => { for (const key of keys) document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })) }, text)
  await page.keyboard.press('Enter')
  await page.locator('[data-source]').waitFor()
  assert.equal(await page.locator('#family').inputValue(), it.record.person.name.family)
  assert.equal(await page.locator('#born').inputValue(), '1990-02-03')
  assert.match(await page.locator('[data-source]').innerText(), /Specimen Clinic/)

  const other = await issued()
  assert.equal((await s.api('chief', 'POST', `/v1/certificates/${other.id}/revoke`, { reason: 'fraud' }, { 'if-match': '"1"' })).status, 200)
  const bad = other.certificates.find((c) => c.format === 'eu-dcc').text
  const broken = bad.slice(0, -4) + (bad.at(-4) === 'A' ? 'B' : 'A') + bad.slice(-3)
  await page.getByRole('button', { name: 'Paste a code' }).click()
  await page.locator('#code').fill(broken)
  await page.getByRole('button', { name: 'Take the person from it' }).click()
  const told = page.locator('[data-offered], .scanning p[role=status]:not([data-source])')
  await told.first().waitFor()
  assert.equal(await page.locator('#family').inputValue(), it.record.person.name.family, 'nothing was taken unasked')
  await page.locator('#family').fill('') ; await page.locator('#given').fill('')
})

test('nothing of a person is kept', async () => {
  const page = await as('clerk')
  await go(page, '#/new')
  await fill(page, { family: 'SPECIMENKEPT' })
  await page.keyboard.press('Control+Enter')
  await heading(page, 'Review')
  await page.keyboard.press('Control+Enter')
  await heading(page, 'Issued')
  await page.getByRole('link', { name: 'Open the record' }).click()
  await page.getByText('SPECIMENKEPT').first().waitFor()
  const kept = await page.evaluate(async () => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, await indexedDB.databases(), await caches.keys(), document.cookie, location.href, history.state, document.title, (await navigator.serviceWorker.getRegistrations()).length]))
  assert.ok(!/SPECIMEN|1990|LOT-7|HC1/.test(kept), kept)
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), ['ampoule.theme'])
  await page.reload()
  await page.locator('main[data-view=record]').waitFor()
})

test('a file of doses: checked, started, finished, and the faulty row explained', async () => {
  const page = await as('clerk')
  await go(page, '#/bulk')
  await page.locator('[name=bulk-eu-dcc]').check()
  const template = await page.locator('[data-template]').getAttribute('href')
  const csv = await (await fetch(s.url + template, { headers: { cookie: s.cookies.clerk } })).text()
  const [head, row] = csv.trim().split(/\r?\n/)
  const rows = Array.from({ length: 20 }, (_, n) => row.replace('Ada', `Ada${'ABCDEFGHIJKLMNOPQRST'[n]}`))
  rows[7] = rows[7].replace('2026-10-01', '2026-02-31')
  await page.locator('#bulk-file').setInputFiles({ name: 'doses.csv', mimeType: 'text/csv', buffer: Buffer.from([head, ...rows, ''].join('\r\n')) })
  await page.locator('.upload table').waitFor()
  assert.equal(await page.locator('.upload tbody tr').count(), 5)
  await shot(page, 'bulk')
  await axe(page, 'bulk')
  await page.getByRole('button', { name: 'Upload and check' }).click()
  await page.locator('[data-job=checked]').waitFor({ timeout: 15e3 })
  assert.equal(await page.locator('[data-count=failed]').innerText(), '1')
  assert.match(await page.locator('.scroll tbody').innerText(), /9\s+date/)
  await shot(page, 'job-checked')
  await axe(page, 'job')
  await page.reload() // the job goes on without the page
  await page.getByRole('button', { name: 'Issue 19 rows' }).click()
  await page.locator('[data-job=finished]').waitFor({ timeout: 20e3 })
  assert.equal(await page.locator('[data-count=done]').innerText(), '19')
  assert.match(await (await fetch(s.url + (await page.locator('[data-errors]').getAttribute('href')), { headers: { cookie: s.cookies.clerk } })).text(), /2026-02-31/)
  const zip = await fetch(s.url + (await page.locator('[data-print]').getAttribute('href')), { headers: { cookie: s.cookies.clerk } })
  assert.equal(Buffer.from(await zip.arrayBuffer()).subarray(0, 2).toString(), 'PK')
  await page.getByRole('link', { name: 'Many at once' }).click()
  await page.locator('.heads a').first().waitFor()
})

// Every view in two looks that differ in all: the others are in issuer-faces.test.mjs.
for (const [tag, look] of [['en', 'light'], ['ar', 'dark']]) {
  test(`every view: ${tag}, ${look}`, async () => everyView(await as('chief', looks[look]), s, tag, look, await issued()))
}

test('texts that are longer, and marked, fit', async () => {
  const page = await as('chief', { viewport: screens.phone })
  // A pseudo-locale: every text half as long again, between marks.
  await page.route(/assets\/fr-.*\.json$/, async (route) => {
    const all = await (await route.fetch()).json()
    await route.fulfill({ json: Object.fromEntries(Object.entries(all).map(([k, t]) => [k, `[${t} ${'ẃòřď '.repeat(Math.ceil(t.length / 10))}]`])) })
  })
  await page.locator('select.language').selectOption('fr')
  await page.locator('html[lang=fr]').waitFor({ state: 'attached' })
  const it = await issued()
  for (const [hash, view] of [['#/today'], ['#/search'], ['#/new'], ['#/bulk'], [`#/record/${it.id}`, 'record'], [`#/correct/${it.id}`, 'correct']]) {
    await go(page, hash, view)
    await page.locator('main h1').waitFor()
    if (view) await page.locator('.groups, #reason').first().waitFor()
    await noSidewaysScroll(page, `pseudo, ${hash}`)
    const bare = await page.evaluate(() => [...document.querySelectorAll('main h1, main h2, main label, main button, main legend')].filter((e) => e.offsetParent && e.textContent.trim() && !/\[/.test(e.textContent)).map((e) => e.textContent.trim()))
    assert.deepEqual(bare, [], `${hash}: words that stand in no catalogue`)
  }
  await shot(page, 'portal-pseudo')
})
