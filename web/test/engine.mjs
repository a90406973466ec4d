// The engine outside of a browser: node engine.mjs ENGINE FOLDER verifies the cases
// of FOLDER/cases.jsonl by FOLDER/bundle.cbor and FOLDER/root.pem, and prints what the
// engine answers, a line of JSON for each. interop compares it with the Go code
// compiled for this machine.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { argv, stdout } from 'node:process'
import { fileURLToPath } from 'node:url'

/** load starts the engine. */
export async function load(wasm) {
  await import(join(dirname(wasm), 'wasm_exec.js'))
  const go = new globalThis.Go()
  const { instance } = await WebAssembly.instantiate(readFileSync(wasm), go.importObject)
  void go.run(instance)
  return globalThis.ampoule
}

/** trust gives an engine its roots and its bundle. */
export function trust(engine, root, bundle) {
  const failed = engine.pin(readFileSync(root))
  if (failed) throw new Error(failed)
  const info = JSON.parse(engine.accept(readFileSync(bundle)))
  if (info.error) throw new Error(JSON.stringify(info))
  return info
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [wasm, folder] = argv.slice(2)
  const engine = await load(wasm)
  trust(engine, join(folder, 'root.pem'), join(folder, 'bundle.cbor'))
  for (const line of readFileSync(join(folder, 'cases.jsonl'), 'utf8').trimEnd().split('\n')) {
    const { texts, options } = JSON.parse(line)
    stdout.write(JSON.stringify(engine.verify(texts.map((t) => new Uint8Array(Buffer.from(t, 'base64'))), JSON.stringify(options))) + '\n')
  }
  stdout.write('', () => process.exit()) // the engine itself never ends
}
