import { createHash } from 'node:crypto'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig, type Plugin } from 'vite'
import { texts } from './shared/texts.ts'

// One build per page, named by PAGE: the pages share sources, and no files. What is
// built stands in dist/pages and is embedded by embed.go after pack.mjs has
// compressed it.
const page = (process.env.PAGE ?? 'verifier') as keyof typeof texts
if (!(page in texts)) throw new Error(`PAGE is one of ${Object.keys(texts).join(', ')}`)

// The texts of a page stay in the files that it loads, and no others: a key of
// another page is an error of the build.
const words = texts[page] as readonly string[]
const taken = createHash('sha256').update(words.join(' ')).digest('hex').slice(0, 6)
const only: Plugin = {
  name: 'texts',
  generateBundle(_, bundle) {
    const known = new Set<string>()
    const files = Object.values(bundle)
    for (const file of files) {
      if (file.type !== 'asset' || !file.originalFileNames.some((name) => name.includes('internal/messages/'))) continue
      const all = JSON.parse(file.source.toString()) as Record<string, string>
      for (const key of Object.keys(all)) known.add(key)
      file.source = JSON.stringify(Object.fromEntries(Object.entries(all).filter(([key]) => words.includes(key.split('.')[0]!))))
    }
    for (const file of files) {
      if (file.type !== 'chunk') continue
      for (const [, key] of file.code.matchAll(/["'`]([a-z-]+(?:\.[a-z0-9-]+)+)["'`]/g)) {
        if (known.has(key!) && !words.includes(key!.split('.')[0]!)) this.error(`${key} is not among the texts of ${page}`)
      }
    }
  },
}

export default defineConfig({
  root: import.meta.dirname,
  plugins: [svelte(), only],
  publicDir: page === 'verifier' ? 'public' : false,
  worker: { format: 'es' },
  json: { stringify: false },
  build: {
    outDir: 'dist/pages',
    emptyOutDir: false, // another page is in it
    // Within the scope of the service worker: a worker from outside of it would not be found offline.
    assetsDir: `${page}/assets`,
    target: 'es2022',
    assetsInlineLimit: 0, // the policy of the pages allows no data: but pictures
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1 << 20,
    rolldownOptions: {
      input: { [page]: `${page}/index.html`, ...(page === 'verifier' ? { sw: 'verifier/src/sw.ts' } : {}) },
      output: {
        // Texts are made of their file and of what is taken from it.
        assetFileNames: (asset) => `${page}/assets/[name]-[hash]${asset.originalFileNames.some((f) => f.endsWith('.json')) ? '-' + taken : ''}[extname]`,
        // The address of a service worker must stay: it is how it is updated.
        entryFileNames: (chunk) => (chunk.name === 'sw' ? 'verifier/sw.js' : `${page}/assets/[name]-[hash].js`),
      },
    },
  },
})
