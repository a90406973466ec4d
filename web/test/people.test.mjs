// The pages of people as they are used: the first run, logins, accounts, roles and
// settings, by keys, without a script, and with passkeys from a virtual authenticator.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { AxeBuilder } from '@axe-core/playwright'
import { browser, noSidewaysScroll, shot } from './kit.mjs'

const passphrase = 'correct horse battery staple'
const services = []
let chromium, service

/** serve starts a service of its own, which nobody has set up. */
async function serve() {
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address()
  free.close()
  const dir = await mkdtemp(join(tmpdir(), 'ampoule-people-'))
  const set = [`store.dir=${dir}`, `access.origin=http://localhost:${port}`, `listen=127.0.0.1:${port}`, 'http.rate=0', 'log.level=error']
  const child = spawn(process.env.AMPOULE, ['serve', ...set.flatMap((s) => ['--set', s])], {
    stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env.PATH }, // AMPOULE_… would be settings
  })
  services.push({ child, dir, ended: once(child, 'exit') })
  const origin = `http://localhost:${port}`
  const token = await new Promise((found, failed) => {
    let said = ''
    child.stdout.on('data', (chunk) => {
      said += chunk
      const m = /^token: *(\S+)$/m.exec(said)
      if (m) found(m[1])
    })
    child.on('exit', () => failed(new Error('the service did not start: ' + said)))
  })
  for (let i = 0; i < 100 && !(await fetch(origin + '/healthz').catch(() => null))?.ok; i++) await new Promise((r) => setTimeout(r, 50))
  return { origin, token }
}

/** open opens a page whose complaints and requests to elsewhere are kept. */
async function open(options = {}, path = '/', at = service) {
  const context = await chromium.newContext({ locale: 'en', reducedMotion: 'reduce', ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(10e3)
  page.complaints = []
  page.on('console', (m) => {
    // The browser notes the status of a form that was refused itself.
    if (['error', 'warning'].includes(m.type()) && !/status of 4\d\d/.test(m.text())) page.complaints.push(m.text())
  })
  page.on('pageerror', (e) => page.complaints.push(String(e)))
  page.on('request', (r) => { if (new URL(r.url()).origin !== at.origin) page.complaints.push('request to ' + r.url()) })
  await page.goto(at.origin + path)
  page.at = at.origin
  page.done = async () => {
    assert.deepEqual(page.complaints, [])
    await context.close()
  }
  return page
}

/** authenticator gives the page a passkey that unlocks itself. */
async function authenticator(page) {
  const session = await page.context().newCDPSession(page)
  await session.send('WebAuthn.enable')
  const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  })
  return {
    refuse: () => session.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false }),
    keys: async () => (await session.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
    give: (credential) => session.send('WebAuthn.addCredential', { authenticatorId, credential }),
  }
}

/** axe finds what breaks WCAG 2.2 AA. These pages have no frames, for which alone its slower way is. */
async function axe(page, where) {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze()
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(' ')}`), [], where)
}

const field = (page, id) => page.locator('#' + id)
const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.className)
const reason = (page) => page.locator('[data-reason]').getAttribute('data-reason')

/** tabTo goes on by the key Tab to an element, which must be seen to have the focus. */
async function tabTo(page, what) {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab')
    const here = await page.evaluate(() => {
      const e = document.activeElement
      return { is: [e.id, e.textContent.trim()], seen: e === document.body || getComputedStyle(e).outlineStyle !== 'none' }
    })
    assert.ok(here.seen, `the focus on ${here.is} cannot be seen`)
    if (here.is.includes(what)) return
  }
  assert.fail(`${what} cannot be reached`)
}

const wizard = (token) => ({ token, name: 'Specimen authority', organisation: 'org-1', participant: 'xxa', country: 'xa', zone: 'Africa/Nairobi', login: 'specimen.admin' })

async function fill(page, values) {
  for (const [id, value] of Object.entries(values)) await field(page, id).fill(value)
}

async function login(page, name, password = passphrase) {
  await page.goto(page.at + '/login')
  await fill(page, { login: name, password })
  await page.getByRole('button', { name: 'Log in with the password' }).click()
}

/** invite has an administrator let somebody in, and returns the link. */
async function invite(page, name, ...fields) {
  await page.goto(page.at + '/people')
  await field(page, 'login').fill(name)
  for (const f of fields) await page.locator(`[name=${f}]`).check()
  await page.getByRole('button', { name: 'Create the account' }).click()
  return page.locator('.once .secret').innerText()
}

before(async () => {
  ;[chromium, service] = await Promise.all([browser(), serve()])
})

after(async () => {
  await chromium?.close()
  for (const { child, dir, ended } of services) {
    child.kill()
    await ended
    await rm(dir, { recursive: true, force: true })
  }
})

test('the first run, by keys alone and without a script', async () => {
  const page = await open({ javaScriptEnabled: false })
  await page.goto(service.origin + '/account')
  await page.goto(service.origin + '/login')
  assert.equal(page.url(), service.origin + '/setup')
  await shot(page, 'setup-no-script')
  assert.equal(await page.getByText('Set up with a passkey').isVisible(), false)
  const write = async (values) => {
    for (const [id, value] of Object.entries(values)) {
      await tabTo(page, id)
      await page.keyboard.press('Control+A')
      await page.keyboard.insertText(value)
    }
  }
  await write({ ...wizard('no token at all'), password: passphrase })
  await page.keyboard.press('Enter')
  await page.locator('[data-reason=wrong-setup-token]').waitFor()
  assert.equal(await field(page, 'name').inputValue(), 'Specimen authority')
  assert.equal(await field(page, 'password').inputValue(), '')
  assert.equal(await focused(page), 'token')
  const described = await field(page, 'token').getAttribute('aria-describedby')
  assert.equal(described, 'token-hint token-wrong')
  assert.match(await field(page, 'token-wrong').innerText(), /new one each time/)
  assert.equal(await page.getByRole('alert').count(), 1)
  await shot(page, 'setup-wrong-token')
  await page.keyboard.press('Control+A')
  await page.keyboard.insertText(service.token)
  await tabTo(page, 'zone')
  await page.keyboard.insertText('Nowhere/Else')
  await tabTo(page, 'password')
  await page.keyboard.insertText(passphrase)
  await page.keyboard.press('Enter')
  await page.locator('[data-reason=malformed-setting]').waitFor()
  assert.equal(await focused(page), 'zone')
  await page.keyboard.press('Control+A')
  await page.keyboard.insertText('Africa/Nairobi')
  await tabTo(page, 'password')
  await page.keyboard.insertText(passphrase)
  await tabTo(page, 'Set up with a password')
  await page.keyboard.press('Enter')
  await page.waitForURL('**/account')
  assert.match(await page.locator('main').innerText(), /specimen\.admin[\s\S]*Administrator: Whole organisation/)
  await page.done()
})

test('the first run is over for good', async () => {
  const page = await open()
  const answer = await page.goto(service.origin + '/setup')
  assert.equal(answer.status(), 403)
  assert.equal(await reason(page), 'set-up-already')
  await shot(page, 'setup-closed')
  await page.done()
})

test('a first run with a passkey, and the login by it', async () => {
  const other = await serve()
  const page = await open({}, '/setup', other)
  const device = await authenticator(page)
  const set = () => page.getByRole('button', { name: 'Set up with a passkey' }).click()
  await fill(page, { ...wizard(other.token), country: '' })
  await set()
  assert.equal(await focused(page), 'country', 'what is missing has the focus')
  await field(page, 'country').fill('xa')
  await device.refuse()
  await set()
  await page.locator('#passkey-trouble:visible').waitFor()
  assert.match(await page.getByRole('alert').innerText(), /The passkey was not used/)
  await page.done()

  const again = await open({}, '/setup', other)
  const good = await authenticator(again)
  await fill(again, wizard(other.token))
  await again.getByRole('button', { name: 'Set up with a passkey' }).click()
  await again.waitForURL('**/account')
  const [key] = await good.keys()
  await again.getByRole('button', { name: 'Log out' }).click()
  await again.waitForURL('**/login')
  await again.getByRole('button', { name: 'Log in with a passkey' }).click()
  await again.waitForURL('**/account')
  assert.match(await again.locator('[aria-labelledby=sessions]').innerText(), /Passkey/)
  await again.done()

  // The same key in another browser.
  const elsewhere = await open({}, '/login', other)
  await (await authenticator(elsewhere)).give(key)
  await elsewhere.getByRole('button', { name: 'Log in with a passkey' }).click()
  // Its counter begins anew, as that of a copy does.
  await elsewhere.locator('#passkey-trouble:visible').waitFor()
  assert.match(await elsewhere.getByRole('alert').innerText(), /not right/)
  await elsewhere.done()
})

test('a login by password without a script, and what is said of wrong ones', async () => {
  const page = await open({ javaScriptEnabled: false })
  await login(page, 'specimen.admin', 'wrong')
  assert.equal(await reason(page), 'wrong-credentials')
  assert.equal(await field(page, 'login').inputValue(), 'specimen.admin')
  assert.equal(await focused(page), 'password')
  assert.equal(await field(page, 'password').getAttribute('aria-invalid'), 'true')
  assert.equal(await field(page, 'password').getAttribute('aria-describedby'), 'password-wrong')
  await shot(page, 'login-wrong')
  await login(page, 'Specimen.Admin')
  await page.waitForURL('**/account')
  // The first waits are shorter than a slow machine takes for a try.
  for (let i = 0; i < 12; i++) {
    await login(page, 'specimen.nobody', 'wrong')
    if (await reason(page) === 'too-many-tries') break
  }
  assert.equal(await reason(page), 'too-many-tries')
  assert.match(await page.getByRole('alert').innerText(), /Wait \d+ s/)
  assert.match(await focused(page), /trouble/)
  await shot(page, 'login-too-soon')
  await page.done()
})

test('a passkey is added, and logs in', async () => {
  const page = await open()
  const device = await authenticator(page)
  await login(page, 'specimen.admin')
  await field(page, 'passkey-name').fill('blue key')
  await page.getByRole('button', { name: 'Add a passkey' }).click()
  await page.getByRole('status').waitFor()
  assert.match(await page.locator('[aria-labelledby=ways]').innerText(), /Passkey: blue key/)
  assert.equal((await device.keys()).length, 1)
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('button', { name: 'Log in with a passkey' }).click()
  await page.waitForURL('**/account')
  await page.getByRole('button', { name: /Remove.*blue key/ }).click()
  await page.getByRole('status').waitFor()
  assert.doesNotMatch(await page.locator('[aria-labelledby=ways]').innerText(), /Passkey: blue key/)
  await page.done()
})

test('an invitation is accepted, roles change, an account ends', async () => {
  const admin = await open()
  await login(admin, 'specimen.admin')
  const link = await invite(admin, 'specimen.clerk', 'whole-clerk')
  await shot(admin, 'people-invitation')
  assert.ok(link.startsWith(service.origin + '/invitation/'))
  const clerk = await open({ javaScriptEnabled: false }, new URL(link).pathname)
  await field(clerk, 'password').fill('specimen.clerk1')
  await clerk.getByRole('button', { name: 'Set a password' }).click()
  assert.equal(await reason(clerk), 'weak-password')
  assert.equal(await focused(clerk), 'password')
  await field(clerk, 'password').fill(passphrase)
  await clerk.getByRole('button', { name: 'Set a password' }).click()
  await clerk.waitForURL('**/account')
  assert.match(await clerk.locator('main').innerText(), /Clerk: Whole organisation/)
  assert.equal(await clerk.getByRole('link', { name: 'People' }).count(), 0)
  await clerk.goto(link)
  assert.equal(await reason(clerk), 'no-such-invitation')

  await admin.goto(service.origin + '/people')
  await admin.getByRole('link', { name: 'specimen.clerk' }).click()
  await admin.getByLabel('Supervisor: At facilities').fill('north-clinic, a/b')
  await admin.getByRole('button', { name: 'Save' }).click()
  assert.equal(await reason(admin), 'unknown-role')
  assert.equal(await admin.getByLabel('Supervisor: At facilities').inputValue(), 'north-clinic, a/b')
  await admin.getByLabel('Supervisor: At facilities').fill('north-clinic')
  await admin.getByLabel('Clerk: Whole organisation').uncheck()
  await admin.getByRole('button', { name: 'Save' }).click()
  await admin.getByRole('status').waitFor()
  await clerk.goto(service.origin + '/account')
  assert.match(await clerk.locator('main').innerText(), /Supervisor: north-clinic/)

  await admin.getByRole('link', { name: 'specimen.clerk' }).click()
  await admin.getByLabel('Disable this account').check()
  await admin.getByRole('button', { name: 'Save' }).click()
  await clerk.goto(service.origin + '/account')
  assert.equal(clerk.url(), service.origin + '/login')
  // The last administrator stays.
  await admin.getByRole('link', { name: 'specimen.admin' }).click()
  await admin.getByLabel('Administrator: Whole organisation').uncheck()
  await admin.getByRole('button', { name: 'Save' }).click()
  assert.equal(await reason(admin), 'last-administrator')
  assert.match(await focused(admin), /trouble/)
  await clerk.done()
  await admin.done()
})

test('sessions are listed, and one that is ended is out at once', async () => {
  const here = await open()
  const there = await open()
  await login(there, 'specimen.admin')
  await login(here, 'specimen.admin')
  const rows = here.locator('[aria-labelledby=sessions] li')
  assert.equal(await rows.filter({ hasText: 'This browser' }).count(), 1)
  assert.match(await rows.first().innerText(), / EAT/)
  for (let left = await rows.count(); left > 1; left--) {
    await rows.getByRole('button').first().click()
    await here.getByRole('status').waitFor()
    assert.equal(await rows.count(), left - 1)
  }
  await there.goto(service.origin + '/people')
  assert.equal(there.url(), service.origin + '/login')
  await there.done()
  await here.done()
})

test('a token is shown once, works for a program, and ends', async () => {
  const page = await open()
  await login(page, 'specimen.admin')
  await fill(page, { 'token-name': 'night job', 'token-days': '30' })
  const make = () => page.getByRole('button', { name: 'Make a token' }).click()
  await make()
  assert.equal(await reason(page), 'malformed-token-order')
  assert.match(await field(page, 'scope-wrong').innerText(), /at least one/)
  assert.equal(await field(page, 'token-name').inputValue(), 'night job')
  assert.equal(await field(page, 'token-days').inputValue(), '30')
  await page.getByLabel('Change settings').check()
  await make()
  const token = await page.locator('.once .secret').innerText()
  assert.match(token, /^amp_/)
  await shot(page, 'account-token')
  const ask = (path) => fetch(service.origin + path, { headers: { Authorization: `Bearer ${token}` } })
  assert.equal((await ask('/v1/session')).status, 200)
  assert.equal((await ask('/v1/people')).status, 403)
  const settings = await ask('/v1/settings')
  assert.equal((await settings.json()).time_zone, 'Africa/Nairobi')
  await page.goto(service.origin + '/account')
  assert.ok(!(await page.content()).includes(token))
  await page.getByRole('button', { name: /End.*night job/ }).click()
  await page.getByRole('status').waitFor()
  assert.equal((await ask('/v1/session')).status, 401)
  await page.done()
})

test('the password is changed', async () => {
  const page = await open()
  await login(page, 'specimen.admin')
  const change = async (old) => {
    await fill(page, { old, password: passphrase + ' two' })
    await page.getByRole('button', { name: 'Set a password' }).click()
  }
  await change('wrong')
  assert.equal(await reason(page), 'wrong-old-password')
  assert.equal(await focused(page), 'old')
  await change(passphrase)
  await page.getByRole('status').waitFor()
  await fill(page, { old: passphrase + ' two', password: passphrase })
  await page.getByRole('button', { name: 'Set a password' }).click()
  await page.getByRole('status').waitFor()
  await page.done()
})

test('settings change what people see', async () => {
  const [page, other] = [await open(), await open()]
  for (const p of [page, other]) {
    await login(p, 'specimen.admin')
    await p.goto(service.origin + '/settings')
  }
  assert.match(await page.locator('[aria-labelledby=fixed]').innerText(), /another issuer[\s\S]*org-1[\s\S]*XXA[\s\S]*XA/)
  await field(page, 'zone').fill('Moon/Crater')
  await page.getByRole('button', { name: 'Save' }).click()
  assert.equal(await reason(page), 'malformed-setting')
  assert.equal(await focused(page), 'zone')
  await shot(page, 'settings-wrong')
  await fill(page, { zone: 'Asia/Riyadh', name: 'Specimen health authority' })
  await field(page, 'language').selectOption('fr')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('status').waitFor()
  await field(other, 'name').fill('Too late')
  await other.getByRole('button', { name: 'Save' }).click()
  assert.equal(await reason(other), 'settings-changed-meanwhile')
  const foreign = await open({ locale: 'ja' })
  for (let i = 0; i < 50; i++) {
    await foreign.goto(service.origin + '/login')
    if (await foreign.locator('html[lang=fr]').count()) break
    await new Promise((r) => setTimeout(r, 100))
  }
  assert.equal(await foreign.locator('html').getAttribute('lang'), 'fr')
  await fill(page, { zone: 'Africa/Nairobi', name: 'Specimen authority' })
  await field(page, 'language').selectOption('en')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('status').waitFor()
  for (const p of [page, other, foreign]) await p.done()
})

// Every page, as everybody sees it: in each language, and in each look with FACES.
test('nothing stands in anyone’s way', async () => {
  const admin = await open()
  await login(admin, 'specimen.admin')
  const link = new URL(await invite(admin, 'specimen.somebody', 'whole-verifier'))
  await admin.goto(service.origin + '/people')
  const person = await admin.getByRole('link', { name: 'specimen.somebody' }).getAttribute('href')
  const fresh = await serve()
  const cookies = await admin.context().cookies()
  const pages = {
    login: [service, '/login'], invitation: [service, link.pathname],
    account: [service, '/account'], people: [service, '/people'], person: [service, person], settings: [service, '/settings'], closed: [service, '/setup'],
    setup: [fresh, '/setup'], // last: cookies are those of all of localhost, and this one takes away what it does not know
  }
  const looks = { light: { colorScheme: 'light' }, dark: { colorScheme: 'dark' }, forced: { colorScheme: 'dark', forcedColors: 'active' } }
  const check = async (tag, look) => {
    const page = await open({ locale: tag, ...looks[look] }, '/', service)
    page.removeAllListeners('request') // there are two services
    await page.context().addCookies(cookies)
    for (const [name, [at, path]] of Object.entries(pages)) {
      const where = `${name}, ${tag}, ${look}`
      await page.setViewportSize({ width: 1280, height: 900 })
      await page.goto(at.origin + path)
      assert.equal(page.url(), at.origin + path)
      assert.equal(await page.locator('html').getAttribute('lang'), tag, where)
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).direction), tag === 'ar' ? 'rtl' : 'ltr')
      assert.ok(!(await page.content()).includes('⟦'), `${where}: a text is missing`)
      if (['en', 'ar'].includes(tag)) {
        if (look !== 'forced') await axe(page, where)
        await shot(page, `${name}-${tag}-${look}`)
      }
      for (const width of [640, 320]) { // 640 is a window of 1280 at 200 %
        await page.setViewportSize({ width, height: 640 })
        await noSidewaysScroll(page, `${where}, ${width}`)
      }
      if (['en', 'ar'].includes(tag) && look === 'light') await shot(page, `${name}-${tag}-narrow`)
      // Larger letters alone, as some people set them.
      await page.setViewportSize({ width: 640, height: 640 })
      await page.evaluate(() => { document.documentElement.style.fontSize = '200%' }).catch(() => {})
      await noSidewaysScroll(page, `${where}, letters of twice the size`)
    }
    await page.done()
  }
  const all = Object.keys(looks)
  await Promise.all([
    (async () => { for (const look of process.env.FACES ? all : ['light']) await check('en', look) })(),
    (async () => { for (const look of process.env.FACES ? all : ['dark']) await check('ar', look) })(),
    (async () => { for (const tag of ['fr', 'es', 'pt']) await check(tag, process.env.FACES ? 'light' : 'forced') })(),
  ])
  await admin.done()
})
