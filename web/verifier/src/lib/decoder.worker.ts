// Codes in pictures, in a thread of its own.
import { prepareZXingModule, readBarcodes, type ReaderOptions } from 'zxing-wasm/reader'
import wasmURL from 'zxing-wasm/reader/zxing_reader.wasm?url'
import { serve } from './rpc'

/** Read is what a picture holds: the texts of its codes, and whether there is one that cannot be read. */
export interface Read { texts: Uint8Array[]; seen: boolean }

export type DecoderMethods = {
  start(): Promise<void>
  frame(picture: ImageBitmap): Promise<Read>
  file(picture: ImageBitmap): Promise<Read>
}

// HCERT 1.1.1 section 4.2.4 prefers QR codes and allows Aztec; seals may be any of the three.
const live: ReaderOptions = { formats: ['QRCode', 'Aztec'], tryHarder: true, tryInvert: false, maxNumberOfSymbols: 4, returnErrors: true }
const still: ReaderOptions = { formats: ['QRCode', 'Aztec', 'DataMatrix'], tryHarder: true, maxNumberOfSymbols: 16, returnErrors: true }

function pixels(picture: ImageBitmap, scale = 1): ImageData {
  const [width, height] = [Math.max(1, Math.round(picture.width * scale)), Math.max(1, Math.round(picture.height * scale))]
  const paint = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!
  paint.fillStyle = '#fff' // what is transparent is paper
  paint.fillRect(0, 0, width, height)
  paint.drawImage(picture, 0, 0, width, height)
  return paint.getImageData(0, 0, width, height)
}

async function read(data: ImageData, options: ReaderOptions): Promise<Read> {
  const found = await readBarcodes(data, options)
  const texts = found
    .filter((r) => r.isValid)
    .sort((a, b) => a.position.topLeft.y - b.position.topLeft.y || a.position.topLeft.x - b.position.topLeft.x)
    // The bytes, because the text of a DIVOC code is an archive and no UTF-8.
    .map((r) => (r.hasECI ? new TextEncoder().encode(r.text) : r.bytes.slice()))
  return { texts, seen: found.length > texts.length }
}

let frames = 0

serve({
  start: async () => {
    await prepareZXingModule({ overrides: { locateFile: () => wasmURL }, fireImmediately: true })
  },
  // A screen in dark mode may show its code in reverse: every third look is for that.
  async frame(picture: ImageBitmap): Promise<Read> {
    const data = pixels(picture)
    picture.close()
    return read(data, { ...live, tryInvert: ++frames % 3 === 0 })
  },
  // Sharp noise can hide a code that a smaller picture shows, and a small code
  // needs a larger one.
  async file(picture: ImageBitmap): Promise<Read> {
    const fits = Math.min(1, Math.sqrt(16e6 / (picture.width * picture.height)))
    let best: Read = { texts: [], seen: false }
    for (const scale of [1, 0.5, 2, 0.25]) {
      if (scale === 2 && picture.width * picture.height > 4e6) continue
      const got = await read(pixels(picture, fits * scale), still)
      if (got.texts.length > 0) {
        best = got
        break
      }
      best.seen ||= got.seen
    }
    picture.close()
    return best
  },
} satisfies DecoderMethods)
