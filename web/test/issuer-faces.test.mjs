// Every view of the portal in each language, in light, dark and forced colours, on a
// desk, a phone and at 200 % zoom.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { browser } from './kit.mjs'
import { covid, desk, everyView, looks, service } from './desk.mjs'

let chromium, s
before(async () => { [chromium, s] = await Promise.all([browser(), service()]) })
after(async () => { await chromium?.close(); s?.stop() })

for (const tag of ['en', 'fr', 'es', 'ar', 'pt']) {
  for (const [look, media] of Object.entries(looks)) {
    test(`${tag}, ${look}`, async () => {
      const made = await s.api('clerk', 'POST', '/v1/certificates', covid())
      const page = await desk(chromium, s, 'chief', media)
      await everyView(page, s, tag, look, made.body)
      assert.deepEqual(page.complaints, [])
      await page.context().close()
    })
  }
}
