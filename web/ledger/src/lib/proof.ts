// A proof that an entry is in the log (C2SP tlog-proof), made good in this page: the
// way from the entry to the root is hashed here (RFC 6962 section 2.1), and the
// result held against the checkpoint. Whose the signatures under the checkpoint are,
// `ampoule log verify` tells, which has the policy.

/** A step puts a hash beside the one below it, and gives the one above. */
export interface Step { sibling: string; left: boolean; result: string }
export interface Drawn {
  index: number; size: number; leaf: string; steps: Step[]; root: string
  /** The way leads to the root of the checkpoint. */
  good: boolean
  signatures: string[]
}

const bytes = (base64: string) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))
export const hex = (b: Uint8Array) => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('')
const hash = async (...parts: Uint8Array[]) => {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) { all.set(p, at); at += p.length }
  return new Uint8Array(await crypto.subtle.digest('SHA-256', all))
}
const node = Uint8Array.of(1)

/** read makes a proof good for an entry, both as the node gives them; undefined where it is none. */
export async function read(entry: string, proof: string): Promise<Drawn | undefined> {
  const split = proof.indexOf('\n\n')
  const lines = proof.slice(0, split).split('\n')
  if (split < 0 || lines.shift() !== 'c2sp.org/tlog-proof@v1') return
  if (lines[0]?.startsWith('extra ')) lines.shift()
  const index = Number(/^index (\d+)$/.exec(lines.shift() ?? '')?.[1])
  const [text, signed] = proof.slice(split + 2).split('\n\n')
  const [, sizeText, root] = (text ?? '').split('\n')
  const size = Number(sizeText)
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || !(index < size) || !root) return
  let value = await hash(Uint8Array.of(0), bytes(entry))
  const drawn: Drawn = { index, size, leaf: hex(value), steps: [], root: hex(bytes(root)), good: false, signatures: [] }
  // fn and sn are the places of the node and of the last one in its row (RFC 9162 section 2.1.3.2).
  let [fn, sn] = [BigInt(index), BigInt(size - 1)]
  for (const line of lines) {
    if (sn === 0n) return
    const sibling = bytes(line)
    const left = (fn & 1n) === 1n || fn === sn
    value = left ? await hash(node, sibling, value) : await hash(node, value, sibling)
    drawn.steps.push({ sibling: hex(sibling), left, result: hex(value) })
    if (left) while ((fn & 1n) === 0n && fn !== 0n) { fn >>= 1n; sn >>= 1n }
    fn >>= 1n
    sn >>= 1n
  }
  drawn.good = sn === 0n && hex(value) === drawn.root
  drawn.signatures = (signed ?? '').split('\n').map((l) => /^\u2014 (\S+) /.exec(l)?.[1] ?? '').filter((n) => n)
  return drawn
}
