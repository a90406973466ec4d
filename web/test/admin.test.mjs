// A service from its first minute to the day its machine is lost: the wizard in a
// browser, a clerk who is invited, certificates, backups, a restore, and everything
// as it was. On both databases.
//
//   AMPOULE   the binary
//   CHROMIUM  the browser, /usr/bin/chromium unless set
//   SHOTS     a folder for screenshots; none are taken unless set
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { hasPostgres, Postgres, Service } from './service.mjs'

assert.ok(process.env.AMPOULE, 'AMPOULE must name the binary')
if (process.env.SHOTS) mkdirSync(process.env.SHOTS, { recursive: true })

let chrome
before(async () => {
  chrome = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
})
after(() => chrome?.close())

const passwords = { administrator: 'correct battery of the administrator', clerk: 'correct battery of the clerk', supervisor: 'correct battery of the supervisor' }
const given = ['Ada', 'Ben', 'Cleo', 'Dara', 'Elif', 'Finn']

const order = (n, more = {}) => ({
  record: {
    person: { name: { family: 'Specimen', given: given[n] }, birth_date: `19${60 + n}-0${1 + n}-1${n}`, sex: 'female', document: { number: `SPECDOC${n}`, type: 'PPN' } },
    vaccination: {
      disease: { code: '840539006', system: 'http://snomed.info/sct' }, vaccine: { code: '1119349007', system: 'http://snomed.info/sct' },
      product: { code: 'EU/1/20/1528', system: 'https://ec.europa.eu/health/documents/community-register/html/' }, manufacturer: { code: 'ORG-100030215' },
      lot: 'SPEC-LOT-7', date: new Date(Date.now() - 20 * 86400e3).toISOString().slice(0, 10), dose: 1, doses: 2, country: 'AT',
    },
  },
  formats: [{ format: 'eu-dcc', expires: new Date(Date.now() + 180 * 86400e3).toISOString() }, { format: 'shc' }],
  ...more,
})

/** person is a browser of somebody's own, whose complaints are kept. */
async function person(complaints) {
  const page = await (await chrome.newContext()).newPage()
  page.setDefaultTimeout(10e3)
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) complaints.push(m.text()) })
  page.on('pageerror', (e) => complaints.push(String(e)))
  return page
}

async function shot(page, name) {
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, name + '.png'), fullPage: true })
}

async function logIn(page, service, login) {
  await page.goto(service.url + '/login?next=/account')
  await page.getByLabel('Login name').fill('specimen.' + login)
  await page.getByLabel('Password').fill(passwords[login])
  await page.getByRole('button', { name: 'Log in with the password' }).click()
  await page.getByRole('heading', { name: 'Your account' }).waitFor()
}

for (const database of ['sqlite', 'postgresql']) {
  test(`set up, back up, lose everything, restore: ${database}`, async (t) => {
    if (database === 'postgresql' && !hasPostgres()) {
      assert.ok(!process.env.CI, 'PostgreSQL is not installed')
      return t.skip('PostgreSQL is not installed')
    }
    const dir = mkdtempSync(join(tmpdir(), 'ampoule-admin-'))
    const service = new Service(dir, database === 'postgresql' ? await Postgres.start() : null)
    const complaints = []
    t.after(async () => {
      await service.kill()
      await service.postgres?.destroy()
      rmSync(dir, { recursive: true, force: true })
    })

    // The first run, by the token that the server prints.
    await service.start()
    const token = service.out.match(/token: +(\S+)/)[1]
    const admin = await person(complaints)
    await admin.goto(service.out.match(/open: +(\S+)/)[1])
    await admin.getByLabel('Token').fill(token)
    for (const [id, value] of Object.entries({
      name: 'Health authority of the tests', organisation: 'org-1', participant: 'XA', country: 'XA', zone: 'Africa/Nairobi', login: 'specimen.administrator', password: passwords.administrator,
    })) await admin.locator('#' + id).fill(value)
    await shot(admin, `setup-${database}`)
    await admin.getByRole('button', { name: 'Set up with a password' }).click()
    await admin.getByRole('heading', { name: 'Your account' }).waitFor()

    // People are invited, and accept by the link.
    const people = {}
    for (const [login, field] of [['clerk', { name: 'at-clerk', value: 'north' }], ['supervisor', { name: 'at-supervisor', value: 'north' }]]) {
      await admin.goto(service.url + '/people')
      await admin.getByLabel('Login name').fill('specimen.' + login)
      await admin.locator(`[name=${field.name}]`).fill(field.value)
      await admin.getByRole('button', { name: 'Create the account' }).click()
      const link = await admin.locator('code.secret').innerText()
      people[login] = await person(complaints)
      await people[login].goto(link)
      await people[login].locator('#password').fill(passwords[login])
      await people[login].getByRole('button', { name: 'Set a password' }).click()
      await people[login].getByRole('heading', { name: 'Your account' }).waitFor()
    }

    // The clerk's program issues, by a token that was made in the browser.
    const account = people.clerk
    const form = account.locator('form[action="/account/tokens"]')
    await form.locator('[name=name]').fill('desk')
    for (const scope of ['certificate:issue', 'certificate:read', 'certificate:list']) await form.locator(`[name=scope][value="${scope}"]`).check()
    await form.locator('[name=days]').fill('2')
    await form.getByRole('button').click()
    const secret = await account.locator('code.secret').innerText()
    const ask = async (method, path, body) => {
      const r = await fetch(service.url + path, { method, headers: { Authorization: `Bearer ${secret}`, ...(body && { 'Content-Type': 'application/json' }) }, body: body && JSON.stringify(body) })
      return { status: r.status, body: await r.json() }
    }
    const made = []
    for (let n = 0; n < given.length; n++) {
      const { status, body } = await ask('POST', '/v1/certificates', order(n))
      assert.equal(status, 201, JSON.stringify(body))
      made.push({ id: body.id, texts: body.certificates.map((c) => c.text) })
    }
    const supervise = async (method, path, body, status) => {
      const r = await people.supervisor.context().request.fetch(service.url + '/v1/certificates/' + path, { method, data: body, headers: { 'If-Match': '"1"' } })
      assert.equal(r.status(), status, await r.text())
    }
    await supervise('POST', made[1].id + '/revoke', { reason: 'fraud' }, 200)
    await supervise('POST', made[2].id + '/correct', order(2, { reason: 'wrong-data' }), 201)
    await supervise('DELETE', made[3].id, undefined, 200)

    // Backups, while it runs; one more person is erased after the first.
    const recipient = service.run('backup', 'identity', 'backup.identity')
    writeFileSync(join(dir, 'recipient'), recipient)
    await service.operate('backup', '--to-file', 'recipient', 'database.age')
    await supervise('DELETE', made[4].id, undefined, 200)
    await service.operate('backup', 'keys', '--to-file', 'recipient', 'keys.age')

    // state is what everybody sees of it.
    const state = async () => {
      const { body } = await ask('POST', '/v1/verify', { texts: made.flatMap((m) => m.texts) })
      const records = []
      for (const { id } of made) {
        const r = await ask('GET', '/v1/certificates/' + id)
        records.push([r.status, r.body.state, r.body.reason, r.body.record])
      }
      return { outcomes: body.verdicts.map((v) => [v.format, v.outcome, v.reason]), records }
    }
    const was = await state()
    assert.deepEqual(was.records.map((r) => r[0]), [200, 200, 200, 404, 404, 200])
    assert.equal(was.outcomes.length, 12)
    assert.deepEqual(was.outcomes.map((o) => o[1]).slice(0, 6), ['valid', 'valid', 'revoked', 'revoked', 'superseded', 'superseded'])

    // The machine is lost, with its database.
    await service.kill()
    rmSync(join(dir, 'store'), { recursive: true })
    if (service.postgres) {
      await service.postgres.destroy()
      service.postgres = await Postgres.start()
    }
    assert.ok(!existsSync(join(dir, 'store')))

    const said = await service.operate('restore', '--identity', 'backup.identity', '--keys', 'keys.age', 'database.age')
    assert.match(said, /1 were erased since, and are erased again/)
    const log = service.log
    service.log = service.out = ''
    await service.start()
    assert.equal(service.out, '', 'the first run is over')
    assert.deepEqual(await state(), was)

    // People come back by their passwords; the first run stays closed.
    for (const login of ['administrator', 'clerk']) {
      const page = await person(complaints)
      await logIn(page, service, login)
      const setup = await page.context().request.get(service.url + '/setup')
      assert.equal(setup.status(), 403)
    }
    const again = await ask('POST', '/v1/certificates', order(3))
    assert.equal(again.status, 201)
    const verified = await service.operate('audit', 'verify')
    assert.match(verified, /^whole: /)
    assert.match(verified, /restored from backup of seal-\d+/)

    // Neither life of the server has told its log of anybody.
    for (const text of ['Specimen', 'SPECDOC', 'specimen.', ...given.map((_, n) => order(n).record.person.birth_date), ...Object.values(passwords), secret, token]) {
      assert.ok(!(log + service.log).includes(text), `${text} is in the log`)
    }
    assert.match(log, /"pattern":"\/v1\/certificates\/\{id\}\/revoke"/)
    assert.ok(!readFileSync(join(dir, 'database.age')).includes('Specimen'))
    assert.deepEqual(complaints, [], 'the console complained')
  })
}
