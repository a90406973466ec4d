// The page of the cold chain, on the demonstration: six stores with a month of readings.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { setUp } from './desk.mjs'
import { axe, browser, noSidewaysScroll, phone, server, shot } from './kit.mjs'
import { Service } from './service.mjs'

const logins = readFileSync(process.env.AMPOULE_LOGINS, 'utf8')
const day = 86400
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

/** open opens the page as somebody. */
async function open(who, options = {}) {
  const context = await chromium.newContext({ locale: 'en-GB', timezoneId: 'Africa/Kigali', viewport: { width: 1200, height: 900 }, reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(15e3)
  const page = Object.assign(await context.newPage(), { complaints: [] })
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) page.complaints.push(m.text()) })
  page.on('pageerror', (e) => page.complaints.push(String(e)))
  page.on('request', (r) => { if (new URL(r.url()).origin !== server.origin) page.complaints.push('request to ' + r.url()) })
  opened.push(page)
  await page.goto(new URL('/login?next=/coldchain/', server).href)
  await page.locator('input[name=login]').fill(who)
  await page.locator('input[name=password]').fill(new RegExp(`^${who} +(\\S+)`, 'm').exec(logins)[1])
  await page.keyboard.press('Enter')
  await page.waitForURL('**/coldchain/')
  await page.locator('main[data-live=live]').waitFor()
  return page
}
async function go(page, hash, view = hash.split('/')[1]) {
  await page.evaluate((h) => { location.hash = h }, hash)
  await page.locator(`main[data-view=${view}]`).waitFor()
}
/** ask asks the API as who is logged in there. */
const ask = (page, path, method = 'GET', body) => page.evaluate(async ([path, method, body]) => {
  const r = await fetch(path, { method, headers: body ? { 'Content-Type': 'application/json' } : {}, body: body && JSON.stringify(body) })
  return { status: r.status, body: await r.json().catch(() => undefined) }
}, [path, method, body])
const stores = async (page) => (await ask(page, '/v1/equipment')).body.items
const store = async (page, name) => (await stores(page)).find((e) => e.name.includes(name))
const drawn = (page) => page.waitForFunction(() => performance.getEntriesByName('chart').length > 0)

/** The pure part of the chart, as the browser runs it. */
async function pure() {
  const ts = createRequire(new URL('../package.json', import.meta.url))('typescript')
  const source = readFileSync(new URL('../coldchain/src/lib/chart.ts', import.meta.url), 'utf8')
  const { outputText } = ts.transpileModule(source, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 } })
  return import('data:text/javascript;base64,' + Buffer.from(outputText).toString('base64'))
}

test('what is drawn loses no extreme, bridges no gap and leaves no alarm out, at any zoom', async () => {
  const chart = await pure()
  let seed = 20261122
  const random = () => ((seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) / 0x7fffffff)
  const whole = (n) => Math.floor(random() * n)
  const gap = 2700
  for (let round = 0; round < 300; round++) {
    const buckets = 1 + whole(400), width = 600 * (1 + whole(60))
    const line = { at: [], last: [], low: [], high: [] }
    for (let t = 1.79e9, i = 0; i < buckets; i++) {
      const low = whole(30000) - 10000
      line.at.push(t)
      line.last.push(t + whole(width))
      line.low.push(low)
      line.high.push(low + whole(9000))
      t = line.last[i] + (whole(10) === 0 ? gap + 1 + whole(50000) : 1 + whole(gap))
    }
    const from = line.at[0] - whole(day), until = line.last.at(-1) + 1 + whole(day)
    const alarms = Array.from({ length: whole(12) }, (_, id) => {
      const since = from - 5 * day + whole(until - from + 10 * day)
      return { id, since, at: since, until: whole(4) === 0 ? undefined : since + whole(20000), state: 'standing' }
    })
    const terms = [{ from: 0, terms: { gap, profile: { low: 2000, high: 8000 }, rules: [] } }]
    const c = { from, until, now: until + whole(day), terms, lines: [line], alarms }

    const d = chart.drawn([line], gap, 1000)
    assert.ok(d.x.every((x, i) => i === 0 || x > d.x[i - 1]), 'times go back')
    for (let i = 0; i < buckets; i++) {
      const at = d.x.indexOf(line.at[i])
      assert.deepEqual([d.low[0][at], d.high[0][at]], [line.low[i] / 1000, line.high[i] / 1000])
      if (i + 1 < buckets) {
        const between = d.x.some((x, n) => x > line.last[i] && x < line.at[i + 1] && d.low[0][n] === null && d.high[0][n] === null)
        assert.equal(between, line.at[i + 1] - line.last[i] > gap, 'a gap is bridged, or there is none')
      }
    }
    const [least, most] = chart.range([line], [2000, 8000], 1000)
    assert.ok(least < Math.min(...line.low) / 1000 && most > Math.max(...line.high) / 1000)

    const touches = alarms.filter((a) => a.since <= until && (a.until ?? Math.max(c.now, a.at)) >= from)
    const spans = chart.alarmSpans(c)
    assert.deepEqual(spans.map((s) => s.alarm.id), touches.map((a) => a.id))
    const px = 50 + whole(2000), toX = (t) => 60 + ((t - from) / (until - from)) * px
    for (const s of spans) {
      const [x, w] = chart.pixels(s, toX, 60, 60 + px, 3)
      assert.ok(w >= 3 && x >= 60 && x + w <= 60 + px + 1e-6, `an alarm of ${w} px at ${x}`)
      assert.ok(x <= toX(s.from) + 1e-6 && x + w >= toX(s.until) - 1e-6, 'it is shorter than it was')
    }

    const away = chart.outside(c, line)
    for (let i = 0; i < buckets; i++) {
      const is = line.low[i] < 2000 || line.high[i] > 8000
      assert.equal(away.some((s) => line.at[i] >= s.from && line.last[i] <= s.until), is)
    }
    const rows = chart.rows(line, 60)
    assert.ok(rows.length <= 60)
    assert.equal(Math.min(...rows.map((r) => r.low)), Math.min(...line.low))
    assert.equal(Math.max(...rows.map((r) => r.high)), Math.max(...line.high))

    // Fewer buckets than there are: what is drawn of them has the same extremes and gaps.
    const few = chart.thin(line, 1 + whole(120), gap)
    assert.equal(Math.min(...few.low), Math.min(...line.low))
    assert.equal(Math.max(...few.high), Math.max(...line.high))
    assert.deepEqual(chart.drawn([few], gap, 1000).gaps, d.gaps)

    // Two lines on one axis keep what each has.
    const other = { ...line, at: line.at.map((t) => t + 300), last: line.last.map((t) => t + 300) }
    const both = chart.drawn([line, other], gap, 1000)
    for (const [n, l] of [line, other].entries()) for (let i = 0; i < buckets; i++) assert.equal(both.low[n][both.x.indexOf(l.at[i])], l.low[i] / 1000)
  }
})

test('everything at a glance, and the way there', async () => {
  const page = await open('manager')
  assert.equal(await page.locator('[data-equipment]').count(), 6)
  const tile = page.locator('[data-equipment="North clinic, fridge 2"]')
  assert.match(await tile.innerText(), /[+−]\d+\.\d °C/)
  assert.match(await tile.innerText(), / ago/)
  assert.match(await page.locator('.unseen').innerText(), /Nobody has seen to 4 alarms/)
  await page.getByPlaceholder('Find by name').fill('south')
  assert.equal(await page.locator('[data-equipment]').count(), 1)
  await page.getByPlaceholder('Find by name').fill('')
  await axe(page, 'the stores')
  await shot(page, 'coldchain-stores')
  await page.goto(new URL('/account', server).href)
  await page.locator('nav a[href="/coldchain/"]').click()
  await page.locator('main[data-live=live]').waitFor()
})

test('a stranger is asked who they are', async () => {
  const context = await chromium.newContext()
  const page = await context.newPage()
  await page.goto(new URL('/coldchain/', server).href)
  await page.waitForURL('**/login?next=%2Fcoldchain%2F')
  await context.close()
})

test('the map: points, a cluster that opens, by mouse and by keyboard', async () => {
  const page = await open('manager')
  await go(page, '#/map')
  await page.locator('.point').first().waitFor()
  const many = page.locator('.point:not([data-count="1"])').first()
  const before = await page.locator('.point').count()
  await many.focus()
  await page.keyboard.press('Enter')
  await page.locator('[data-chosen] li').first().waitFor()
  assert.ok((await page.locator('.point').count()) > before, 'the cluster did not open')
  await axe(page, 'the map')
  await shot(page, 'coldchain-map')
  await page.getByRole('button', { name: 'Whole world' }).click()
  assert.equal(await page.locator('.point').count(), 1)
  await shot(page, 'coldchain-world')
  await page.locator('.world').focus()
  await page.keyboard.press('+')
  await page.locator('[data-chosen] a').first().click()
  await page.locator('main[data-view=equipment]').waitFor()
})

test('the freeze is on the chart at every range, and the gap is one', async () => {
  const page = await open('manager')
  const cold = await store(page, 'fridge 2')
  await go(page, `#/equipment/${cold.id}`)
  await drawn(page)
  assert.match(await page.locator('[data-inside]').innerText(), /^9\d\.\d+%$/)
  let worst // of the freeze; how deep it went depends on the hour at which the month began
  for (const days of [90, 365, 30]) {
    const next = page.waitForResponse((r) => r.url().includes('/chart?'))
    await page.locator(`[data-days="${days}"]`).click()
    const c = await (await next).json()
    const line = c.lines.find((l) => l.quantity === 'temperature')
    worst ??= Math.min(...line.low)
    assert.ok(worst < -500)
    assert.equal(Math.min(...line.low), worst, `${days} days`)
    assert.equal(c.alarms.filter((a) => a.rule === 'FRZE').length, 1)
    await page.locator('.drawing[data-busy=false]').waitFor()
    // The alarm is painted: there is its colour above the plot.
    assert.ok(await painted(page, [179, 38, 30]) > 30, `no alarm is drawn over ${days} days`)
    await shot(page, `coldchain-chart-${days}`)
  }
  await page.locator('[data-alarm=FRZE]').waitFor()
  await page.locator('summary').first().click()
  assert.ok((await page.locator('tbody').first().innerText()).includes(`−${(-worst / 1000).toFixed(1)} °C`))
  await axe(page, 'the chart')

  // By keyboard and by drag.
  const span = async () => Number(await page.locator('.drawing').getAttribute('data-until')) - Number(await page.locator('.drawing').getAttribute('data-from'))
  const wide = await span()
  let next = page.waitForResponse((r) => r.url().includes('/chart?'))
  await page.locator('.drawing').focus()
  await page.keyboard.press('+')
  await next
  await page.locator('.drawing[data-busy=false]').waitFor()
  assert.ok(await span() < wide * 0.6)
  const over = await page.locator('.plot.main .u-over').boundingBox()
  next = page.waitForResponse((r) => r.url().includes('/chart?'))
  await page.mouse.move(over.x + over.width * 0.4, over.y + 80)
  await page.mouse.down()
  await page.mouse.move(over.x + over.width * 0.6, over.y + 90, { steps: 5 })
  await page.mouse.up()
  await next
  await page.locator('.drawing[data-busy=false]').waitFor()
  assert.ok(await span() < wide * 0.2)

  // Six hours without a reading are a gap, which no line bridges.
  const ultra = await store(page, 'ultra-cold')
  await go(page, `#/equipment/${ultra.id}`)
  await page.locator('[data-measured]').filter({ hasText: '%' }).waitFor()
  assert.match(await page.locator('.figures').innerText(), /1 gap/)
  await shot(page, 'coldchain-gap')
})

/** painted counts the pixels of a colour on the canvas of the chart. */
const painted = (page, [r, g, b]) => page.waitForTimeout(300).then(() => page.evaluate(([r, g, b]) => {
  const canvas = document.querySelector('.plot.main canvas')
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  let n = 0
  for (let i = 0; i < data.length; i += 4) if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12 && data[i + 3] > 200) n++
  return n
}, [r, g, b]))

test('a year of readings every ten minutes', async () => {
  const page = await open('manager')
  const e = await store(page, 'fridge 2')
  await page.route('**/chart?*', async (route) => {
    const answer = await route.fetch()
    const c = await answer.json()
    const count = 52560, begin = c.now - count * 600
    const at = Array.from({ length: count }, (_, i) => begin + i * 600)
    const low = at.map((t, i) => (i === 31000 ? -4200 : Math.round(5000 + 1500 * Math.sin(t / 4000))))
    const line = c.lines.find((l) => l.quantity === 'temperature')
    await route.fulfill({ json: { ...c, from: begin, until: c.now, lines: [{ ...line, at, last: at, low, high: low, measured: count * 600, inside: count * 590 }] } })
  })
  await go(page, `#/equipment/${e.id}`)
  await drawn(page)
  await page.waitForTimeout(500)
  for (let i = 0; i < 4; i++) {
    await page.locator('[data-days="365"]').click()
    await page.waitForTimeout(600)
    await page.locator('[data-days="90"]').click()
    await page.waitForTimeout(600)
  }
  const took = await page.evaluate(() => performance.getEntriesByName('chart').map((m) => Math.round(m.duration * 10) / 10))
  console.log(`52,560 points: first ${took[0]} ms, then median ${took.slice(1).sort((a, b) => a - b)[Math.floor((took.length - 1) / 2)]} ms of ${took.length - 1}`)
  assert.ok(await painted(page, [179, 106, 0]) > 8, 'one reading of 52,560 is out of sight')
  await shot(page, 'coldchain-year')
  await page.unrouteAll()
})

test('an alarm is acknowledged with a comment, by one who may', async () => {
  const technician = await open('technician')
  const { body } = await ask(technician, '/v1/alarms')
  const frozen = body.items.find((a) => a.rule === 'FRZE')
  await go(technician, `#/alarm/${frozen.id}`)
  await technician.locator('h1').filter({ hasText: 'Frozen' }).waitFor()
  assert.equal(await technician.locator('textarea').count(), 0, 'a technician may acknowledge')

  const page = await open('manager')
  await go(page, '#/alarms')
  await page.locator('[data-alarm=FRZE]').waitFor()
  assert.ok((await page.locator('[data-alarm]').count()) >= 4)
  await axe(page, 'the alarms')
  await shot(page, 'coldchain-alarms')
  await page.locator('[data-alarm=FRZE] a').click()
  await page.locator('textarea').fill('Twelve vials of the specimen vaccine marked "do not use".')
  await axe(page, 'an alarm')
  await shot(page, 'coldchain-alarm')
  await page.getByRole('button', { name: 'I have seen to it' }).click()
  await page.locator('[data-acknowledged]').filter({ hasText: 'Twelve vials' }).waitFor()
  assert.match(await page.locator('[data-acknowledged]').innerText(), /u-[0-9a-f-]+|manager/)
  await page.locator('ol li').nth(1).waitFor() // a second signed version
  // The other, who looks at the same alarm, is told.
  await technician.locator('[data-acknowledged]').filter({ hasText: 'Twelve vials' }).waitFor()
})

test('set up from nothing: equipment, a device with its claim, who is told', async () => {
  const page = await open('technician')
  await go(page, '#/set-up')
  await page.locator('#e-name').fill('Test fridge 9')
  await page.locator('#e-facility').fill('north-clinic')
  await page.locator('#e-lat').fill('-1.5')
  await page.locator('#e-lon').fill('30.5')
  await axe(page, 'set-up')
  await shot(page, 'coldchain-set-up')
  await page.locator('[data-form=equipment] button.primary').click()
  await page.locator('main[data-view=equipment]').waitFor()
  await page.locator('h1').filter({ hasText: 'Test fridge 9' }).waitFor()
  const e = await store(page, 'Test fridge 9')
  assert.equal(e.state, 'no-data')
  assert.equal(e.terms.profile.id, 'refrigerated')

  await go(page, '#/set-up/device', 'set-up')
  await page.locator('#d-maker').fill('Specimen')
  await page.locator('#d-name').fill('T-9')
  await page.locator('#d-facility').fill('north-clinic')
  await page.locator('#d-in').selectOption({ label: 'Test fridge 9' })
  await page.locator('[data-form=device] button.primary').click()
  await page.locator('[data-made="serial:Specimen/T-9"]').waitFor()
  assert.match(await page.locator('[data-label]').innerText(), /\S{10,}/)
  assert.ok((await page.locator('.code svg path').getAttribute('d')).length > 500, 'no code is drawn')
  await axe(page, 'a claim')
  await shot(page, 'coldchain-claim')
  await page.getByRole('link', { name: 'See the device' }).click()
  await page.locator('[data-life]').waitFor()
  assert.match(await page.locator('main').innerText(), /Test fridge 9/)

  // Who is told.
  await go(page, '#/set-up')
  await page.locator('#t-address').fill('night@clinic.example')
  await page.locator('[data-form=target] button').click()
  await page.locator('[data-target="night@clinic.example"]').waitFor()
  await page.locator('[data-target="night@clinic.example"] button').click()
  await page.locator('[data-target]').waitFor({ state: 'detached' })
})

test('a server that goes away, and comes again: the page says so, and asks for all that it missed', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ampoule-stores-'))
  const service = new Service(dir, null)
  let between
  try {
    await service.start()
    const s = await setUp(service.url, service.out.match(/token: +(\S+)/)[1])
    await s.letIn('specimen.manager', 'a cold chain of the specimen 4', { 'whole-cold-chain-manager': '1' })
    const api = async (...of) => (await s.api('specimen.manager', ...of)).body
    const fridge = await api('POST', '/v1/equipment', { name: 'Specimen fridge 1', kind: 'fridge' })
    const { secret } = await api('POST', '/v1/tokens', { name: 'logger', scopes: ['readings:send'], days: 1 })
    const { id: logger } = await api('POST', '/v1/devices', { names: ['serial:Specimen/R-1'], supplier: (await api('GET', '/v1/session')).id })
    await api('POST', `/v1/devices/${logger}/stays`, { equipment: fridge.id, from: 1 })
    const send = async (celsius) => {
      const r = await fetch(service.url + '/devices/senml', {
        method: 'POST', headers: { Authorization: `Bearer ${secret}`, 'Content-Type': 'application/senml+json' },
        body: JSON.stringify([{ n: `urn:oid:${logger}/TVC`, u: 'Cel', t: Math.floor(Date.now() / 1000), v: celsius }]),
      })
      assert.equal(r.status, 200, await r.text())
    }

    const context = await chromium.newContext({ locale: 'en-GB', viewport: phone, reducedMotion: 'reduce' })
    context.setDefaultTimeout(20e3)
    const [name, value] = s.cookies['specimen.manager'].split('=')
    await context.addCookies([{ name, value, url: service.url }])
    const page = await context.newPage()
    await page.goto(service.url + '/coldchain/')
    await page.locator('main[data-live=live]').waitFor()
    const tile = page.locator('[data-equipment="Specimen fridge 1"]')
    await send(4.5)
    await tile.filter({ hasText: '+4.5 °C' }).waitFor() // told, not asked for

    // Nobody answers.
    await service.kill()
    await page.locator('main[data-live=broken]').waitFor()
    await page.getByText('The connection is lost').waitFor()
    assert.match(await tile.innerText(), /\+4\.5 °C/, 'what was known is gone')
    await shot(page, 'coldchain-broken')
    await service.start()
    await send(5.5) // which nobody was told of
    await page.locator('main[data-live=live]').waitFor()
    await tile.filter({ hasText: '+5.5 °C' }).waitFor()
    assert.equal(await page.getByText('The connection is lost').count(), 0)
    await send(6.5)
    await tile.filter({ hasText: '+6.5 °C' }).waitFor()

    // Something else answers, as a proxy does whose server is away: then nothing comes again by itself.
    await service.kill()
    await page.locator('main[data-live=broken]').waitFor()
    let asked = 0
    between = createServer((_, a) => { asked++; a.writeHead(502, { connection: 'close' }).end() }).listen(service.port, '127.0.0.1')
    for (let n = 0; asked < 2; n++) {
      assert.ok(n < 200, 'the page gave up')
      await page.waitForTimeout(100)
    }
    await page.locator('main[data-live=broken]').waitFor()
    assert.match(await tile.innerText(), /\+6\.5 °C/, 'what was known is gone')
    between.closeAllConnections()
    await new Promise((done) => between.close(done))
    await service.start()
    await send(7.5)
    await tile.filter({ hasText: '+7.5 °C' }).waitFor()
    await page.locator('main[data-live=live]').waitFor()
    await send(3.5)
    await tile.filter({ hasText: '+3.5 °C' }).waitFor()
    await context.close()
  } finally {
    between?.close()
    await service.kill()
    rmSync(dir, { recursive: true, force: true })
  }
})

test('a device: its life, how far it is believed, a move dated back, the evidence', async () => {
  const page = await open('technician')
  const e = await store(page, 'South clinic')
  const id = e.readings[0].device
  await go(page, '#/devices')
  await page.locator('[data-device]').first().waitFor()
  // The roster: six loggers that are believed by a token, and two that their supplier announced.
  assert.ok((await page.locator('[data-device]').count()) >= 8)
  assert.match(await page.locator('[data-device="serial:Specimen/L-003"]').innerText(), /claimed|active/)
  assert.match(await page.locator('[data-device="serial:Specimen/L-003"]').innerText(), /1 \/ 4[^]* ago[^]*South clinic, fridge/)
  await axe(page, 'the devices')
  await shot(page, 'coldchain-devices')
  await page.locator('[data-only=state]').selectOption('announced')
  await page.locator('[data-shown]', { hasText: /^2 devices$/ }).waitFor()
  await page.locator('[data-device="serial:PEN32473/D-1"]').waitFor()
  assert.equal(await page.locator('[data-device]').count(), 2)
  await page.locator('[data-only=level]').selectOption('3')
  await page.getByText('No device fits').waitFor()
  await page.locator('[data-only=level]').selectOption('1')
  await page.locator('[data-only=quiet]').click()
  assert.equal(await page.locator('[data-shown]').innerText(), '0 of 2 fit')
  await page.locator('[data-only=quiet]').click()
  await page.getByPlaceholder('Find by name').fill('D-2')
  assert.equal(await page.locator('[data-device]').count(), 1)
  await go(page, `#/device/${id}`)
  await page.locator('[data-score]').waitFor()
  assert.equal(await page.locator('[data-check]').count(), 7)
  await axe(page, 'a device')
  await shot(page, 'coldchain-device')
  await page.locator('#step').selectOption('suspended')
  await page.locator('#why').selectOption('maintenance')
  await page.getByRole('button', { name: 'Do it' }).click()
  await page.locator('[data-life=suspended]').waitFor()
  await page.locator('#step').selectOption('active')
  await page.getByRole('button', { name: 'Do it' }).click()
  await page.locator('[data-life=active]').waitFor()
  await page.getByText('Add a correction').click()
  await page.locator('#c-from').fill('2026-11-01T10:00')
  await page.locator('#c-until').fill('2026-11-01T12:00')
  await page.locator('#c-by').fill('-5')
  await page.locator('#c-why').fill('its clock was five minutes ahead')
  await page.getByRole('button', { name: 'Keep' }).first().click()
  await page.getByText('its clock was five minutes ahead').waitFor()
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('[data-evidence]').click()])
  assert.ok(readFileSync(await download.path()).length > 1000)
})

/** past is a day of this month or the last on which day and month could be taken for each other. */
function past() {
  const d = new Date(Date.now() - 2 * day * 1000)
  while (d.getDate() > 12 || d.getDate() === d.getMonth() + 1) d.setDate(d.getDate() - 1)
  return d
}

test('a file of a logger: looked at, asked about, taken, and taken again', async () => {
  const page = await open('manager')
  const known = await store(page, 'South clinic')
  const d = past(), two = (n) => String(n).padStart(2, '0')
  const rows = Array.from({ length: 144 }, (_, i) => `${two(d.getDate())}/${two(d.getMonth() + 1)}/${d.getFullYear()} ${two(Math.floor(i / 6))}:${two((i % 6) * 10)};${(5 + Math.sin(i / 9)).toFixed(1)}`)
  const file = { name: 'logger.csv', mimeType: 'text/csv', buffer: Buffer.from(['Serial number;L-003', 'Date/Time;Temperature', ...rows, ''].join('\n')) }
  await go(page, '#/import')
  await page.locator('#i-file').setInputFiles(file)
  await page.locator('[data-found=table]').waitFor()
  assert.match(await page.locator('[data-found]').innerText(), /Table \(CSV\)[^]*L-003[^]*144 readings/)
  assert.equal(await page.locator('[data-found] dt').filter({ hasText: 'Temperatures' }).count(), 0, 'a range is told whose unit is not known')
  assert.equal(await page.locator('#i-zone').inputValue(), 'Africa/Kigali')
  await page.locator('#i-device').fill('serial:Specimen/L-003')
  await page.locator('#i-dates').selectOption('dmy')
  await page.locator('#i-unit').selectOption('C')
  await axe(page, 'a file')
  await shot(page, 'coldchain-import')
  await page.getByRole('button', { name: 'Look again' }).click()
  await page.locator('[data-found] dd').filter({ hasText: /\+4\.0 °C.*\+6\.0 °C/ }).waitFor()
  await page.getByRole('button', { name: 'Take it' }).click()
  await page.locator('[data-taken="144"]').waitFor()
  assert.equal(await page.locator('[data-taken] a').getAttribute('href'), `#/equipment/${known.id}`)
  await shot(page, 'coldchain-imported')

  // The readings are on the chart, at the times of the zone that was given.
  const first = Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) / 1000 - 2 * 3600
  const chart = (await ask(page, `/v1/equipment/${known.id}/chart?from=${first - 60}&until=${first + day}&points=1000`)).body
  const line = chart.lines.find((l) => l.quantity === 'temperature' && l.at.length === 144)
  assert.equal(line?.at[0], first)
  assert.equal(line.level, 0)

  // The same bytes under another name.
  await page.locator('#i-file').setInputFiles({ ...file, name: 'again.csv' })
  await page.locator('#i-device').fill('serial:Specimen/L-003')
  await page.locator('#i-dates').selectOption('dmy')
  await page.locator('#i-unit').selectOption('C')
  await page.getByRole('button', { name: 'Take it' }).click()
  await page.getByText('All of this was taken before').waitFor()

  // What is no file of a logger is refused, in words.
  await page.locator('#i-file').setInputFiles({ name: 'letter.csv', mimeType: 'text/csv', buffer: Buffer.from('Dear clinic;\n') })
  await page.locator('.trouble, [role=alert]').first().waitFor()
  page.complaints.length = 0 // that answer
})

/** transmission is one of DS01 with a record, and what is changed of it. */
const transmission = (id, change = {}) => ({
  meta: { schemaVersion: '0.8.1', transferType: 'ems', transferId: id, transferSrc: 'org.specimen', transferredAt: new Date().toISOString() },
  data: [{
    LSV: '1.0', EMSV: '1.0', CID: 'RWA', ADOP: '2024-01-01', AMFR: 'SPECIMEN Fridges', AMOD: 'F', APQS: 'E003/001', ASER: 'A-9', LDOP: '2024-01-01', LMFR: 'PEN32473', LMOD: 'L', LPQS: 'E006/001', LSER: 'T-9',
    EDOP: '2024-01-01', EMFR: 'SPECIMEN Radio', EMOD: 'R', EPQS: 'E006/002', ESER: 'R-9',
    records: [{ ABST: new Date().toISOString().replace(/[-:]|\.\d+/g, ''), ALRM: null, BEMD: 14, BLOG: 14, EERR: null, LERR: null, TAMB: 24, TVC: 5, CMPR: 300, DORV: 0, SVA: 900, ...change }],
  }],
})

test('a supplier: its report as the server judges it, and a plan of faults that it meets', async () => {
  const page = await open('manager')
  await go(page, '#/suppliers')
  await page.locator('[data-supplier]').first().click()
  await page.locator('[data-duty]').first().waitFor()
  assert.equal(await page.locator('[data-duty]').count(), 27)
  // What the supplier of the demonstration does wrong, and nothing else.
  const broken = await page.locator('[data-answer=fail]').evaluateAll((all) => all.map((d) => d.dataset.duty))
  assert.deepEqual(broken, ['1.8', '2.3', '3.2', '4.5'])
  for (const [duty, why] of [['1.8', 'sent again although it had been taken'], ['2.3', 'an alarm came later than 15 minutes'], ['3.2', 'no temperature, and no error that says why'], ['4.5', 'sent again before Retry-After was over']]) {
    assert.equal(await page.locator(`[data-duty="${duty}"] [data-why]`).innerText(), why)
  }
  for (const kept of ['1.1', '1.6', '2.1', '4.1', '4.2', '4.4']) assert.equal(await page.locator(`[data-duty="${kept}"]`).getAttribute('data-answer'), 'pass', kept)
  assert.equal(await page.locator('[data-duty="4.3"]').getAttribute('data-answer'), 'not-seen')
  await page.locator('[data-duty="3.2"] summary').click()
  assert.match(await page.locator('[data-duty="3.2"] details').innerText(), /demonstration-\d+-9.*data\[0\]\.records\[\d+\]\.TVC no temperature/)
  await axe(page, 'a supplier')
  await shot(page, 'coldchain-supplier')

  // The plan is met by who speaks for the supplier, by its token.
  const own = await open('supplier')
  const { status, body: token } = await ask(own, '/v1/tokens', 'POST', { name: 'test', scopes: ['readings:send'], days: 1 })
  assert.equal(status, 201)
  const push = (body) => fetch(new URL('/devices/cce', server), { method: 'POST', headers: { Authorization: `Bearer ${token.secret}`, 'Content-Type': 'application/json' }, body: JSON.stringify(body) }).then((r) => r.status)
  assert.equal(await push(transmission('before')), 200)
  await page.locator('#p-kind').selectOption('400')
  await page.locator('#p-count').fill('3')
  await page.getByRole('button', { name: 'Begin' }).click()
  await page.locator('[data-plan]').filter({ hasText: '0 of 3' }).waitFor()
  const refused = transmission('refused')
  assert.equal(await push(refused), 400)
  await page.reload()
  await page.locator('[data-plan]').filter({ hasText: '1 of 3' }).waitFor()
  // It was refused for good; who sends it again breaks a duty, and plain HTTP another.
  assert.equal(await push(refused), 400)
  await page.getByRole('button', { name: 'End it' }).click()
  await page.locator('[data-plan]').waitFor({ state: 'detached' })
  assert.equal(await push(transmission('after', { TAMB: 600 })), 200)
  await page.reload()
  await page.locator('[data-duty="4.3"][data-answer=fail]').waitFor()
  assert.equal(await page.locator('[data-duty="4.3"] [data-why]').innerText(), 'sent again although it was refused for good')
  assert.equal(await page.locator('[data-duty="1.1"] [data-why]').innerText(), 'it came without TLS')
  assert.match(await page.locator('[data-duty="3.2"] [data-why]').innerText(), /a value that cannot be/)
})

test('every language, on a phone, in the dark', async () => {
  const page = await open('manager', { viewport: phone, colorScheme: 'dark' })
  const cold = await store(page, 'fridge 2')
  const { body } = await ask(page, '/v1/alarms')
  const frozen = body.items.find((a) => a.rule === 'FRZE')
  const supplier = (await ask(page, '/v1/suppliers')).body.items[0].id
  for (const tag of ['fr', 'es', 'pt', 'en', 'ar']) {
    await page.locator('select.language').selectOption(tag)
    await page.locator(`html[lang=${tag}]`).waitFor()
    for (const hash of ['#/stores', '#/map', `#/equipment/${cold.id}`, '#/alarms', `#/alarm/${frozen.id}`, '#/devices', `#/device/${cold.readings[0].device}`, '#/set-up', '#/suppliers', `#/supplier/${supplier}`, '#/import']) {
      await go(page, hash)
      await page.waitForTimeout(250)
      assert.ok(!(await page.locator('body').innerText()).includes('⟦'), `${tag}, ${hash}`)
      await noSidewaysScroll(page, `${tag}, ${hash}`)
      if (tag === 'fr') await shot(page, `coldchain-fr-${hash.split('/')[1]}`)
      if (tag === 'ar') { await axe(page, `${tag}, ${hash}`); await shot(page, `coldchain-ar-${hash.split('/')[1]}`) }
    }
  }
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).direction), 'rtl')
})

test('what is loaded first is small', async () => {
  const page = await open('manager')
  const { files, total } = await page.evaluate(() => {
    const all = performance.getEntriesByType('resource').filter((r) => r.name.includes('/coldchain/')).concat(performance.getEntriesByType('navigation'))
    return { files: all.map((r) => r.name), total: all.reduce((n, r) => n + r.encodedBodySize, 0) }
  })
  console.log(`first load: ${files.length} files, ${Math.round(total / 1024)} KB`)
  assert.ok(total <= 120 * 1024)
  assert.ok(!files.some((f) => /Chart|MapView|Rest/.test(f)), 'something is loaded that nobody sees yet')
})
