// A clinic's morning and a correction, in the portal and on the verifier's page, of
// the built binary. On both databases.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { covid, desk, go, setUp } from './desk.mjs'
import { browser, next, open, paste, phone, ready, shot, verdict } from './kit.mjs'
import { hasPostgres, Postgres, Service } from './service.mjs'

let chromium
before(async () => { chromium = await browser() })
after(() => chromium?.close())

const daysFrom = (n) => new Date(Date.now() + n * 864e5).toISOString().slice(0, 10)
const day = daysFrom(-20)
const header = 'family_name,given_name,birth_date,document_number,disease,vaccine,product,manufacturer,lot,date,dose,doses,country,authority'
const letters = (n) => [...String(n)].map((d) => 'ABCDEFGHIJ'[d]).join('')
const row = (n) => `Specimen,Demo ${letters(n)},19${50 + n % 50}-${String(1 + n % 12).padStart(2, '0')}-${String(1 + n % 28).padStart(2, '0')},SPECDOC${String(n).padStart(5, '0')},` +
  `covid-19,1119349007,EU/1/20/1528,ORG-100030215,SPEC-LOT-7,${day},1,2,AT,Specimen authority`
const csv = (rows) => ({ name: 'doses.csv', mimeType: 'text/csv', buffer: Buffer.from([header, ...rows, ''].join('\r\n')) })

/** What is put in place of what, the column and how the page explains it. */
const faults = [
  [`,${day},`, `,${daysFrom(400)},`, 'date', /^this is in the future/],
  [`,${day},`, ',2026-02-30,', 'date', /^A date cannot be read/],
  [',1,2,', ',one,2,', 'dose', /^A field holds a value that is not allowed/],
  [',AT,', ',A1,', 'country', /^A code is not of the right form/],
  [',EU/1/20/1528,', ',,', 'product', /^A required field is missing/],
  [',covid-19,', ',,', 'disease', /^A required field is missing/],
  [',1,2,', ',3,,', 'doses', /^A field holds a value that is not allowed/],
]

/** served is a service with its people, which publishes bundles. */
async function served(t, database) {
  const dir = mkdtempSync(join(tmpdir(), 'ampoule-clinic-'))
  const service = new Service(dir, database === 'postgresql' ? await Postgres.start() : null, { 'publish.key': 'root/private/bundle-root.key' })
  t.after(async () => {
    await service.kill()
    await service.postgres?.destroy()
    rmSync(dir, { recursive: true, force: true })
  })
  service.run('keys', 'make', 'root', '--kind', 'bundle-root', '--unencrypted')
  await service.start()
  return { service, ...await setUp(service.url, service.out.match(/token: +(\S+)/)[1]) }
}

/** logIn logs the clerk in if the portal asks for it. */
async function logIn(page, s) {
  await page.goto(s.url + '/issuer/')
  const form = page.locator('#login')
  await form.or(page.locator('main[data-view=today]')).waitFor()
  if (!await form.count()) return
  await form.fill('clerk')
  await page.locator('#password').fill(s.passwords.clerk)
  await page.keyboard.press('Enter')
  await page.locator('main[data-view=today]').waitFor()
}

/** upload uploads a file in the page and returns the address of its job, which is checked. */
async function upload(page, file, rows) {
  await page.getByRole('link', { name: 'Many at once' }).click()
  await page.locator('main[data-view=bulk]').waitFor()
  for (const format of ['eu-dcc', 'shc']) await page.locator(`[name=bulk-${format}]`).check()
  await page.locator('#bulk-series').fill('morning')
  await page.locator('#bulk-file').setInputFiles(file)
  await page.locator('.upload table').waitFor()
  await page.getByRole('button', { name: 'Upload and check' }).click()
  await page.locator('[data-job=checked]').waitFor({ timeout: 30e3 })
  assert.deepEqual(await counts(page), rows)
  return '/v1/jobs/' + page.url().split('/').at(-1)
}

const counts = async (page) => Object.fromEntries(await Promise.all(['total', 'ready', 'done', 'failed'].map(async (c) => [c, Number(await page.locator(`[data-count=${c}]`).innerText())])))

async function ask(s, who, path) {
  const { status, body } = await s.api(who, 'GET', path)
  assert.equal(status, 200, `${path}: ${JSON.stringify(body)}`)
  return body
}
const heads = async (s) => (await ask(s, 'clerk', '/v1/certificates?limit=1000')).items
const records = async (s) => (await heads(s)).map((h) => h.id).sort()
const made = async (s, job) => (await ask(s, 'clerk', job + '/rows?state=done&limit=1000')).items.map((r) => r.record)

for (const database of ['sqlite', 'postgresql']) {
  const on = (name, run) => test(`${name}: ${database}`, async (t) => {
    if (database === 'postgresql' && !hasPostgres()) {
      assert.ok(!process.env.CI, 'PostgreSQL is not installed')
      return t.skip('PostgreSQL is not installed')
    }
    await run(t, await served(t, database))
  })

  on('300 doses with 7 faults, and the server is killed while it issues', async (t, s) => {
    const page = await desk(chromium, s, 'clerk', { acceptDownloads: true })
    t.after(() => page.context().close())
    await page.context().clearCookies()
    page.allowed.push(/401/)
    await logIn(page, s)

    // The check explains each of the 7, and issues nothing.
    const good = Array.from({ length: 300 }, (_, n) => row(n))
    const rows = [...good]
    const wrong = faults.map(([old, now, column, words], i) => {
      const n = 41 * i + 3
      rows[n] = rows[n].replace(old, now)
      assert.notEqual(rows[n], good[n])
      return { n, column, words }
    })
    const job = await upload(page, csv(rows), { total: 300, ready: 293, done: 0, failed: 7 })
    const explained = await page.locator('.scroll tbody tr').evaluateAll((all) => all.map((tr) => [...tr.cells].map((c) => c.textContent.trim())))
    assert.deepEqual(explained.map(([line, column]) => [line, column]), wrong.map(({ n, column }) => [String(n + 2), column]))
    for (const [i, { words }] of wrong.entries()) assert.match(explained[i][2], words)
    assert.deepEqual(await records(s), [])
    await shot(page, `clinic-checked-${database}`)

    // It is killed when some are issued. Records come one by one, and the job tells of
    // some hundred rows at a time: of these it has told nothing.
    page.allowed.push(/Failed to load resource/)
    await page.getByRole('button', { name: 'Issue 293 rows' }).click()
    let before
    do before = await records(s); while (before.length < 20)
    await s.service.kill()
    const died = Date.now()
    t.diagnostic(`killed when ${before.length} were issued`)
    await sleep(1000 - died % 1000) // what is issued now is of a later second
    await s.service.start()

    // The job is listed, and goes on by itself.
    await logIn(page, s)
    await page.getByRole('link', { name: 'Many at once' }).click()
    await page.locator('.heads a').click()
    await page.locator('[data-job=finished]').waitFor({ timeout: 30e3 })
    assert.deepEqual(await counts(page), { total: 300, ready: 0, done: 293, failed: 7 })
    const first = await made(s, job)
    assert.equal(new Set(first).size, 293)
    assert.deepEqual(await records(s), [...first].sort(), 'a record of each row, and no other')
    assert.ok((await heads(s)).some((h) => Date.parse(h.issued) > died), 'it was over before it was killed')
    assert.deepEqual(before.filter((id) => !first.includes(id)), [], 'what was issued before the kill stays')
    await shot(page, `clinic-finished-${database}`)

    // Put right, the 7 are issued, they alone.
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('[data-errors]').click()])
    let right = readFileSync(await download.path(), 'utf8')
    for (const { n } of wrong) {
      assert.ok(right.includes(rows[n]), `row ${n + 1} did not come back: ${right}`)
      right = right.replace(rows[n], good[n])
    }
    const again = await upload(page, { ...csv([]), buffer: Buffer.from(right) }, { total: 7, ready: 7, done: 0, failed: 0 })
    await page.getByRole('button', { name: 'Issue 7 rows' }).click()
    await page.locator('[data-job=finished]').waitFor({ timeout: 30e3 })
    assert.deepEqual(await counts(page), { total: 7, ready: 0, done: 7, failed: 0 })
    const all = [...first, ...await made(s, again)].sort()
    assert.equal(new Set(all).size, 300)
    assert.deepEqual(await records(s), all)
    assert.deepEqual(page.complaints, [], 'the console complained, or a request left the server')
  })

  on('a wrong dose number: yesterday’s bundle says valid, today’s says revoked', async (t, s) => {
    const { status, body: it } = await s.api('clerk', 'POST', '/v1/certificates', covid())
    assert.equal(status, 201, JSON.stringify(it))
    const text = (record) => record.certificates.find((c) => c.format === 'eu-dcc').text
    const serial = async () => (await ask(s, 'chief', '/v1/trust')).bundle?.serial ?? 0
    const newer = async (than) => {
      for (let n = 0; await serial() <= than; n++) {
        assert.ok(n < 200, 'no new bundle')
        await sleep(50)
      }
    }

    // A verifier fetches the bundle, and loses its network for a day.
    await newer(0)
    const yesterday = await serial()
    const context = await chromium.newContext({ viewport: phone, locale: 'en-GB' })
    t.after(() => context.close())
    const visit = await open(context, s.url + '/verifier/')
    await visit.locator('.offline.on').waitFor({ timeout: 60e3 })
    await visit.close()
    await context.setOffline(true)
    await context.clock.setFixedTime(Date.now() + 25 * 36e5)

    // Meanwhile a supervisor corrects the record.
    const page = await desk(chromium, s, 'chief')
    t.after(() => page.context().close())
    await go(page, `#/record/${it.id}`)
    await page.getByRole('link', { name: 'Correct' }).click()
    await page.locator('#dose').fill('2')
    await page.locator('#reason').selectOption('wrong-data')
    await page.getByRole('button', { name: 'Review' }).click()
    await page.getByRole('button', { name: 'Issue, and withdraw' }).click()
    await page.getByRole('link', { name: 'Open the record' }).click()
    await page.getByText('2 of 2').waitFor()
    const right = await ask(s, 'chief', '/v1/certificates/' + page.url().split('/').at(-1))
    assert.equal(right.corrects, it.id)
    await newer(yesterday)

    const verifier = await open(context, s.url + '/verifier/')
    assert.match(await verifier.locator('[data-age]').innerText(), /25 hours ago/)
    for (const record of [it, right]) {
      await paste(verifier, text(record))
      assert.equal((await verdict(verifier)).outcome, 'valid', 'by yesterday’s bundle')
      await shot(verifier, `clinic-yesterday-${database}`)
      await next(verifier)
    }

    // Back in the network it asks for today's.
    await context.clock.setFixedTime(Date.now())
    await context.setOffline(false)
    await verifier.locator('button.icon').click()
    await verifier.getByRole('button', { name: 'Fetch again' }).click()
    await verifier.locator('[data-note="data.imported"], [data-note="data.fetched"]').waitFor() // the page may have been quicker
    await verifier.getByRole('button', { name: 'Close' }).click()
    assert.doesNotMatch(await verifier.locator('[data-age]').innerText(), /hours ago/)
    await paste(verifier, text(it))
    assert.equal((await verdict(verifier)).outcome, 'superseded')
    await shot(verifier, `clinic-today-${database}`)
    await next(verifier)
    await paste(verifier, text(right))
    assert.equal((await verdict(verifier)).outcome, 'valid')
    assert.deepEqual([...page.complaints, ...verifier.complaints], [], 'the console complained, or a request left the server')
  })
}
