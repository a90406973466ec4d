import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig, type Plugin } from 'vite'

// The texts that only the server and paper say stay out of the files that the page
// loads. Their type in messages.svelte.ts leaves out the same.
const texts: Plugin = {
  name: 'texts',
  generateBundle(_, bundle) {
    for (const file of Object.values(bundle)) {
      if (file.type !== 'asset' || !file.originalFileNames.some((name) => name.includes('internal/messages/'))) continue
      const all = JSON.parse(file.source.toString()) as Record<string, string>
      file.source = JSON.stringify(Object.fromEntries(Object.entries(all).filter(([key]) => !/^(paper|problem|access|role|action)\./.test(key))))
    }
  },
}

// One input per page. What is built stands in dist/pages and is embedded by
// embed.go after pack.mjs has compressed it.
export default defineConfig({
  root: import.meta.dirname,
  plugins: [svelte(), texts],
  worker: { format: 'es' },
  json: { stringify: false },
  build: {
    outDir: 'dist/pages',
    // Within the scope of the service worker: a worker from outside of it would not be found offline.
    assetsDir: 'verifier/assets',
    target: 'es2022',
    assetsInlineLimit: 0, // the policy of the pages allows no data: but pictures
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1 << 20,
    rolldownOptions: {
      input: { verifier: 'verifier/index.html', sw: 'verifier/src/sw.ts' },
      output: {
        // The address of a service worker must stay: it is how it is updated.
        entryFileNames: (chunk) => (chunk.name === 'sw' ? 'verifier/sw.js' : 'verifier/assets/[name]-[hash].js'),
      },
    },
  },
})
