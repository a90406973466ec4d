// Devices that speak MQTT by a client of another language: npm's mqtt, over TLS, with
// both versions of the protocol. What it is told that it arrived is in the API.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import mqtt from 'mqtt'
import { setUp } from './desk.mjs'
import { Service } from './service.mjs'

let service, dir, people, fridge, account, secret, ca, url
const begin = Math.floor(Date.now() / 1000) - 7 * 86400
const clients = []

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ampoule-mqtt-'))
  const s = createServer().listen(0, '127.0.0.1')
  await once(s, 'listening')
  const { port } = s.address()
  s.close()
  url = `mqtts://127.0.0.1:${port}`
  service = new Service(dir, null, { 'fleet.mqtt': `127.0.0.1:${port}` })
  await service.start()
  people = await setUp(service.url, service.out.match(/token: +(\S+)/)[1])
  await people.letIn('specimen.manager', 'a cold chain of the specimen 4', { 'whole-cold-chain-manager': '1' })
  fridge = (await api('POST', '/v1/equipment', { name: 'Specimen fridge', kind: 'fridge' })).id
  account = (await api('GET', '/v1/session')).id
  secret = (await api('POST', '/v1/tokens', { name: 'loggers', scopes: ['readings:send'], days: 1 })).secret
  ca = readFileSync(join(dir, 'store', 'devices', 'authority.pem'))
})
after(async () => {
  for (const c of clients) c.end(true)
  await service?.kill()
  rmSync(dir, { recursive: true, force: true })
})

const api = async (...of) => {
  const { status, body } = await people.api('specimen.manager', ...of)
  assert.ok(status < 300, `${of}: ${status} ${JSON.stringify(body)}`)
  return body
}
/** logger registers a device that the account speaks for, in the fridge. */
async function logger(name) {
  const { id } = await api('POST', '/v1/devices', { names: [`serial:Specimen/${name}`], supplier: account })
  await api('POST', `/v1/devices/${id}/stays`, { equipment: fridge, from: 1 })
  return id
}
const pack = (id, n) => JSON.stringify([{ n: `urn:oid:${id}/TVC`, u: 'Cel', t: begin + 900 * n, v: 4 + n / 10 }])
/** kept are the readings of a device, as the API has them. */
const kept = async (id) => {
  const { lines } = await api('GET', `/v1/equipment/${fridge}/chart?from=${begin - 1}&until=${begin + 86400}&points=1000`)
  const line = lines.find((l) => l.device === id)
  return line ? line.at.map((at, i) => [(at - begin) / 900, line.low[i]]) : []
}
const open = (more) => {
  const c = mqtt.connect(url, { ca, username: secret, clean: false, reconnectPeriod: 200, connectTimeout: 5e3, ...more })
  clients.push(c)
  return c
}
const versions = [[5, { protocolVersion: 5, properties: { sessionExpiryInterval: 3600 } }], [4, { protocolVersion: 4 }]]

for (const [version, options] of versions) {
  const name = version === 5 ? '5' : '3.1.1'
  test(`MQTT ${name}: what is acknowledged is in the API`, async () => {
    const id = await logger(`V-${version}`)
    const c = open({ ...options, clientId: `logger-${version}` })
    await once(c, 'connect')
    assert.ok(c.stream.encrypted && c.stream.authorized, 'not over TLS, or with a certificate of nobody')
    for (let n = 0; n < 3; n++) await c.publishAsync(`s/${account}/senml`, pack(id, n), { qos: 1 })
    assert.deepEqual(await kept(id), [[0, 4000], [1, 4100], [2, 4200]])
    await c.endAsync()
  })

  test(`MQTT ${name}: a server that was killed gets what it had not acknowledged`, async () => {
    const id = await logger(`K-${version}`)
    const c = open({ ...options, clientId: `killed-${version}` })
    c.on('error', () => {}) // nobody is there for a while
    await once(c, 'connect')
    await c.publishAsync(`s/${account}/senml`, pack(id, 0), { qos: 1 })
    await service.kill()
    const waiting = [1, 2, 3].map((n) => c.publishAsync(`s/${account}/senml`, pack(id, n), { qos: 1 }))
    await service.start()
    await Promise.all(waiting)
    assert.deepEqual((await kept(id)).map(([n]) => n), [0, 1, 2, 3])
    await c.endAsync()
  })

  test(`MQTT ${name}: who is nobody, and who speaks for another, is told so`, async () => {
    const stranger = open({ ...options, username: 'nobody', clientId: `stranger-${version}`, reconnectPeriod: 0 })
    const [refused] = await once(stranger, 'error')
    assert.equal(refused.code, version === 5 ? 134 : 5)

    const c = open({ ...options, clientId: `other-${version}`, reconnectPeriod: 0 })
    c.on('error', () => {})
    await once(c, 'connect')
    const sent = c.publishAsync('s/another/senml', pack('1.2.3', 0), { qos: 1 })
    if (version === 5) {
      await assert.rejects(sent, (e) => e.code === 135, 'it was taken')
    } else {
      sent.catch(() => {})
      await once(c, 'close') // 3.1.1 has no other way to say no
    }
    c.end(true)
  })
}
