// Identifiers, by a client of another hand: npm's digital-link.js builds the addresses,
// fetch follows them, and Node's own cryptography checks what the answers are signed
// with, as the operator's guide says.
import assert from 'node:assert/strict'
import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import digitalLink from 'digital-link.js'
import { Service } from './service.mjs'

const { DigitalLink, Utils } = digitalLink
const origin = 'https://id.example'
let service, dir

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ampoule-resolver-'))
  writeFileSync(join(dir, 'products.json'), JSON.stringify({
    vaccines: [{ name: 'Specimen IPV', storage: 'refrigerated', codes: [{ code: '09521321123458', system: 'https://id.gs1.org/01' }] }],
  }))
  service = new Service(dir, null, { 'resolver.origin': origin, 'custody.products': join(dir, 'products.json') })
  await service.start()
})
after(async () => {
  await service?.kill()
  rmSync(dir, { recursive: true, force: true })
})

/** ask asks for an address of the resolver, without following where it leads. */
const ask = (uri, headers = {}) => fetch(uri.replace(origin, service.url), { headers, redirect: 'manual' })

/** links builds the same link in the ways that the library has. */
const links = () => {
  const link = DigitalLink({
    domain: origin, identifier: { '01': '09521321123458' }, keyQualifiers: { 10: 'L-1', 21: '7' }, attributes: { 17: '290331' },
  })
  return { plain: link.toWebUriString(), compressed: link.toCompressedWebUriString(), partly: Utils.compressWebUri(link.toWebUriString(), false) }
}

test('what the library builds is resolved, compressed or not', async () => {
  for (const [form, uri] of Object.entries(links())) {
    const res = await ask(uri, { Accept: 'application/linkset+json' })
    assert.equal(res.status, 200, `${form} ${uri}: ${await res.clone().text()}`)
    assert.equal(res.headers.get('content-type'), 'application/linkset+json')
    const { linkset } = await res.json()
    assert.deepEqual(linkset.map((c) => c.anchor), [
      `${origin}/01/09521321123458/10/L-1/21/7`, `${origin}/01/09521321123458/10/L-1`, `${origin}/01/09521321123458`,
    ], form)
    const to = await ask(uri)
    assert.equal(to.status, 307)
    assert.ok(to.headers.get('location').startsWith(`${origin}/resolve/data?id=`), to.headers.get('location'))
  }
  // The uncompressed address is one that the library reads again.
  const same = (await ask(links().compressed)).headers.get('link').match(/<([^>]+)>; rel="owl:sameAs"/)[1]
  assert.equal(DigitalLink(same).getIdentifier()['01'], '09521321123458')
})

test('what is no link of the standard is refused', async () => {
  const bad = links().plain.replace('09521321123458', '09521321123459')
  assert.equal((await ask(bad)).status, 400)
})

test('an answer is checked by its signature, from a cache too', async () => {
  const { keys: [key] } = await (await ask(`${origin}/resolve/keys`)).json()
  const check = (header, uri, body) => {
    const [head, none, signature] = header.split('.')
    assert.equal(none, '')
    const { alg, kid, url, exp } = JSON.parse(Buffer.from(head, 'base64url'))
    return alg === 'ES256' && kid === key.kid && url === uri && exp > Date.now() / 1000 && verify('sha256',
      Buffer.from(`${head}.${body.toString('base64url')}`), { key: createPublicKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'))
  }
  const uri = `${origin}/resolve?id=${encodeURIComponent('urn:epc:class:lgtin:9521321.012345.L-1')}`
  const res = await ask(uri)
  const body = Buffer.from(await res.arrayBuffer())
  const header = res.headers.get('ampoule-signature')
  assert.ok(check(header, uri, body))
  assert.ok(!check(header, uri + '2', body))
  assert.ok(!check(header, uri, Buffer.concat([body, Buffer.from(' ')])))
  const again = await ask(uri, { 'If-None-Match': res.headers.get('etag') })
  assert.equal(again.status, 304)
  assert.ok(check(again.headers.get('ampoule-signature'), uri, body))
  // The key is certified by the authority whose certificate the operator hands out.
  const [own, authority] = key.x5c.map((der) => new X509Certificate(Buffer.from(der, 'base64')))
  const known = new X509Certificate(readFileSync(join(dir, 'store', 'devices', 'authority.pem')))
  assert.equal(authority.fingerprint256, known.fingerprint256)
  assert.ok(own.verify(known.publicKey))
  assert.deepEqual(own.publicKey.export({ format: 'jwk' }), { crv: key.crv, kty: key.kty, x: key.x, y: key.y })
})
