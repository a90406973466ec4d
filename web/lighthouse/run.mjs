// Lighthouse (mobile) on the verifier's page of a running demonstration, AMPOULE_URL,
// and on the portal of a service of its own, with a clerk logged in.
import assert from 'node:assert/strict'
import { launch } from 'chrome-launcher'
import lighthouse from 'lighthouse'
import { service } from '../test/desk.mjs'

const chrome = await launch({
  chromePath: process.env.CHROMIUM || '/usr/bin/chromium',
  chromeFlags: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
const desk = await service()
try {
  for (const [url, extraHeaders] of [[new URL('/verifier/', process.env.AMPOULE_URL).href, {}], [desk.url + '/issuer/', { Cookie: desk.cookies.clerk }]]) {
    const { lhr } = await lighthouse(url, { port: chrome.port, logLevel: 'error', onlyCategories: ['performance', 'accessibility', 'best-practices'], extraHeaders })
    console.log(lhr.finalDisplayedUrl)
    assert.equal(lhr.runtimeError, undefined)
    assert.equal(lhr.finalDisplayedUrl, url)
    for (const [name, least] of [['performance', 0.95], ['accessibility', 1], ['best-practices', 0.95]]) {
      const { score } = lhr.categories[name]
      console.log(name.padEnd(16), score)
      if (score < least) process.exitCode = 1
    }
    for (const name of ['first-contentful-paint', 'largest-contentful-paint', 'total-blocking-time', 'cumulative-layout-shift', 'speed-index']) {
      console.log(name.padEnd(26), lhr.audits[name].displayValue)
    }
    for (const a of Object.values(lhr.audits)) if (a.score !== null && a.score < 0.9 && a.scoreDisplayMode !== 'informative') console.log('below:', a.id, a.score, a.displayValue ?? '')
  }
} finally {
  desk.stop()
  await chrome.kill()
}
