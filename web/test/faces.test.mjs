// Every face of the verifier's page: each state in each language and direction,
// in light, dark and forced colours, on a phone, a desk and at 200 % zoom. None may
// break WCAG 2.2 AA, scroll sideways or lack a text.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { axe, browser, next, noSidewaysScroll, open, paste, sample, shot, verdict } from './kit.mjs'

let chromium
before(async () => { chromium = await browser() })
after(() => chromium?.close())

const refuse = (page, name) => page.evaluate((n) => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', n)) }, name)
const judged = (id) => async (page) => {
  await paste(page, sample(id).text)
  await verdict(page)
  await page.locator('details.checks summary').click()
  return () => next(page)
}

// Each brings the page into a state and returns how to leave it.
const states = {
  start: async (page) => {
    await page.locator('details.rules summary').click()
    return () => page.locator('details.rules summary').click()
  },
  paste: async (page) => {
    const button = page.locator('.ways button[aria-expanded]')
    await button.click()
    return () => button.click()
  },
  settings: async (page) => {
    await page.locator('button.icon').click()
    return () => page.keyboard.press('Escape')
  },
  'camera-refused': async (page) => {
    await refuse(page, 'NotAllowedError')
    await page.locator('.scan').click()
    await page.locator('[data-camera=refused]').waitFor()
    return () => page.locator('.camera-failed button').nth(1).click()
  },
  'no-code': async (page) => {
    await page.locator('[data-file]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: await page.screenshot() })
    await page.locator('[data-trouble]').waitFor()
    return async () => {}
  },
  good: judged('dcc-test'),
  concern: judged('recalled-lot'),
  bad: judged('forged'),
  expired: judged('expired'),
  'another-day': async (page) => {
    await page.locator('details.rules summary').click()
    await page.locator('input[type=date]').fill(new Date(Date.now() + 60 * 864e5).toISOString().slice(0, 10))
    const leave = await judged('not-yet-valid')(page)
    return async () => {
      await leave()
      await page.locator('.strip button').click()
    }
  },
}

const looks = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  forced: { colorScheme: 'dark', forcedColors: 'active' },
}
const screens = { phone: { width: 390, height: 844 }, small: { width: 320, height: 568 }, desk: { width: 1280, height: 900 }, zoomed: { width: 640, height: 450 } }

for (const tag of ['en', 'fr', 'es', 'ar', 'pt']) {
  for (const [look, media] of Object.entries(looks)) {
    test(`${tag}, ${look}`, async () => {
      const context = await chromium.newContext({ reducedMotion: 'reduce', ...media })
      await context.addInitScript('delete Navigator.prototype.serviceWorker')
      const page = await open(context)
      await page.locator('.language select').selectOption(tag)
      await page.locator(`html[lang=${tag}]`).waitFor({ state: 'attached' })
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).direction), tag === 'ar' ? 'rtl' : 'ltr')
      for (const [state, enter] of Object.entries(states)) {
        const leave = await enter(page)
        for (const [screen, size] of Object.entries(screens)) {
          const where = `${tag}, ${look}, ${state}, ${screen}`
          await page.setViewportSize(size)
          await noSidewaysScroll(page, where)
          assert.ok(!(await page.locator('body').innerText()).includes('⟦'), `${where}: a text is missing`)
          if (screen === 'phone' || screen === 'desk') await axe(page, where)
          await shot(page, `${tag}-${look}-${screen}-${state}`)
        }
        await leave()
      }
      assert.deepEqual(page.complaints, [])
      await context.close()
    })
  }
}
