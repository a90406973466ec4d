// What stands between the builds of Vite and the binary: the verifier's service
// worker gets its list of files and their version, and every file is compressed once, as well
// as can be, instead of for every reader. Only the compressed forms stay.
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const pages = join(import.meta.dirname, 'dist', 'pages')
const cache = join(import.meta.dirname, '..', '.cache', 'packed')
const worker = 'verifier/sw.js'

const files = readdirSync(pages, { recursive: true, withFileTypes: true })
  .filter((e) => e.isFile())
  .map((e) => relative(pages, join(e.parentPath, e.name)).split(sep).join('/'))
  .sort()

const kept = files.filter((f) => f.startsWith('verifier/'))
const hash = createHash('sha256')
for (const f of kept) hash.update(f).update('\0').update(readFileSync(join(pages, f)))
const version = hash.digest('hex').slice(0, 12)

// The page itself is kept under its address, and the worker by the browser.
const addresses = kept.filter((f) => f !== worker).map((f) => '/' + f.replace(/index\.html$/, ''))
const replace = (file, what, by) => {
  const text = readFileSync(join(pages, file), 'utf8')
  if (!text.includes(what)) throw new Error(`${file} has no ${what}`)
  writeFileSync(join(pages, file), text.replaceAll(what, by))
}
replace(worker, '__VERSION__', version)
replace(worker, '__FILES__', addresses.join(' '))
replace('verifier/index.html', '__VERSION__', version)

// packed compresses, or remembers how it did: the engine takes half a minute.
function packed(data, kind, compress) {
  mkdirSync(cache, { recursive: true })
  const kept = join(cache, createHash('sha256').update(data).digest('hex') + '.' + kind)
  if (existsSync(kept)) return readFileSync(kept)
  const out = compress(data)
  writeFileSync(kept, out)
  return out
}
const brotli = (data) => brotliCompressSync(data, { params: {
  [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
} })
for (const f of files) {
  const path = join(pages, f)
  const data = readFileSync(path)
  const br = packed(data, 'br', brotli)
  const gz = packed(data, 'gz', (d) => gzipSync(d, { level: 9 }))
  writeFileSync(path + '.br', br)
  writeFileSync(path + '.gz', gz)
  rmSync(path)
  console.log(`${String(data.length).padStart(9)} ${String(gz.length).padStart(8)} gz ${String(br.length).padStart(8)} br  ${f}`)
}
console.log(`version ${version}`)
