// The engine answers with the bytes that the command line prints.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { load, trust } from './engine.mjs'
import { demo, samples } from './kit.mjs'

after(() => setImmediate(() => process.exit())) // the engine itself never ends

const line = (s, ...flags) => spawnSync(process.env.AMPOULE, ['verify', '--json', ...flags, s.path], { encoding: 'utf8' }).stdout.replace(/^\{"file":"[^"]*",/, '{')

test('every sample, shown and not, now and later, with and without trust data', async () => {
  const engine = await load(join(import.meta.dirname, '..', 'gen', 'engine.wasm'))
  const verify = (s, options) => engine.verify([new TextEncoder().encode(s.text)], JSON.stringify(options))
  for (const s of samples) {
    assert.equal(verify(s, {}), line(s), `${s.id} without trust data`)
  }
  const trusted = ['--bundle', join(demo, 'bundle.cbor'), '--root', join(demo, 'bundle-root.pem')]
  trust(engine, join(demo, 'bundle-root.pem'), join(demo, 'bundle.cbor'))
  const soon = new Date(Date.now() + 20 * 864e5).toISOString().replace(/\.\d+/, '')
  for (const s of samples) {
    assert.equal(verify(s, {}), line(s, ...trusted), s.id)
    assert.equal(verify(s, { show: true }), line(s, ...trusted, '--show'), `${s.id} shown`)
    assert.equal(verify(s, { at: soon }), line(s, ...trusted, '--at', soon), `${s.id} later`)
  }
  assert.match(engine.accept(new Uint8Array(10)), /"error"/)
  assert.match(engine.verify([], 'no JSON'), /"error"/)
})
