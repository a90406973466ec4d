// A service of the tests' own: `ampoule serve` as a process, on SQLite or on a
// PostgreSQL that the tests start.
//
//   AMPOULE  the binary
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const versions = '/usr/lib/postgresql'

/** hasPostgres tells whether PostgreSQL is installed, as Debian does it. */
export function hasPostgres() {
  try {
    return readdirSync(versions).length > 0
  } catch {
    return false
  }
}

/** Postgres is a server on a socket in its own folder, with one empty database. */
export class Postgres {
  static async start() {
    const p = new Postgres()
    p.bin = join(versions, readdirSync(versions).at(-1), 'bin')
    p.dir = mkdtempSync(join(tmpdir(), 'ampoule-postgres-'))
    p.as = { cwd: p.dir, stdio: 'ignore' }
    if (process.getuid() === 0) { // it refuses to run as root
      const id = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
      Object.assign(p.as, { uid: id('-u'), gid: id('-g') })
      chownSync(p.dir, p.as.uid, p.as.gid)
    }
    execFileSync(join(p.bin, 'initdb'), ['-D', join(p.dir, 'data'), '-U', 'ampoule', '-A', 'trust', '-E', 'UTF8', '--no-locale'], p.as)
    p.process = spawn(join(p.bin, 'postgres'), ['-D', join(p.dir, 'data'), '-k', p.dir, '-c', 'listen_addresses='], p.as)
    for (let n = 0; spawnSync(join(p.bin, 'pg_isready'), ['-q', '-h', p.dir], p.as).status !== 0; n++) {
      assert.ok(n < 200, 'PostgreSQL did not start')
      await sleep(50)
    }
    return p
  }

  get dsn() { return `host=${this.dir} user=ampoule dbname=postgres` }

  /** destroy ends the server and deletes everything that it had. */
  async destroy() {
    this.process.kill('SIGQUIT')
    if (this.process.exitCode === null) await once(this.process, 'exit')
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** Service is one server and the commands of its operator. */
export class Service {
  constructor(dir, postgres, more = {}) {
    Object.assign(this, { dir, postgres, more, log: '', out: '' })
  }

  async settings() {
    if (!this.port) {
      const s = createServer().listen(0, '127.0.0.1')
      await once(s, 'listening')
      this.port = s.address().port
      s.close()
    }
    return Object.entries({
      listen: `127.0.0.1:${this.port}`, 'http.rate': 0, 'verifier.refresh': '1s', 'store.dir': join(this.dir, 'store'),
      'store.postgres': this.postgres?.dsn ?? '', 'cards.address': 'https://issuer.example/cards', 'log.level': 'debug', ...this.more,
    }).flatMap(([name, value]) => ['--set', `${name}=${value}`])
  }

  get url() { return `http://127.0.0.1:${this.port}` }

  /** run runs a command, and wants its exit code. */
  run(...words) {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AMPOULE')))
    const { status, stdout, stderr } = spawnSync(process.env.AMPOULE, words, { cwd: this.dir, env, encoding: 'utf8' })
    assert.equal(status, 0, `ampoule ${words.join(' ')}: ${stdout}${stderr}`)
    return stdout
  }

  /** operate runs a command with the settings of the service. */
  async operate(...words) { return this.run(...words, ...await this.settings()) }

  async start() {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AMPOULE')))
    this.process = spawn(process.env.AMPOULE, ['serve', ...await this.settings()], { cwd: this.dir, env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.process.stdout.on('data', (d) => { this.out += d })
    this.process.stderr.on('data', (d) => { this.log += d })
    for (let n = 0; ; n++) {
      const ready = await fetch(this.url + '/readyz').then((r) => r.ok, () => false)
      if (ready) return
      assert.ok(n < 400 && this.process.exitCode === null, `the server did not start: ${this.log}`)
      await sleep(25)
    }
  }

  /** kill ends the server as a machine that stops does. */
  async kill() {
    this.process.kill('SIGKILL')
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit')
  }
}
