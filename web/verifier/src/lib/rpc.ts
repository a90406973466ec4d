// Questions to a worker and their answers, one number each.

type Question = { id: number; name: string; args: unknown[] }
type Answer = { id: number; value?: unknown; error?: string }

/** The names that a worker answers to. */
export type Methods = Record<string, (...args: never[]) => unknown>

/** Client asks a worker. What the worker throws, the promise is refused with. */
export class Client<M extends Methods> {
  #worker: Worker
  #open = new Map<number, { resolve: (v: never) => void; reject: (e: Error) => void }>()
  #last = 0

  constructor(worker: Worker) {
    this.#worker = worker
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const asked = this.#open.get(data.id)
      this.#open.delete(data.id)
      if (data.error !== undefined) asked?.reject(new Error(data.error))
      else asked?.resolve(data.value as never)
    }
    // A worker that cannot be loaded answers nothing any more.
    worker.onerror = (e) => {
      for (const asked of this.#open.values()) asked.reject(new Error(e.message || 'worker'))
      this.#open.clear()
    }
  }

  ask<N extends keyof M & string>(name: N, args: Parameters<M[N]>, transfer: Transferable[] = []): Promise<Awaited<ReturnType<M[N]>>> {
    return new Promise((resolve, reject) => {
      const id = ++this.#last
      this.#open.set(id, { resolve, reject })
      this.#worker.postMessage({ id, name, args } satisfies Question, transfer)
    })
  }
}

/** serve makes a worker of some functions. */
export function serve(methods: Methods): void {
  self.onmessage = async ({ data: { id, name, args } }: MessageEvent<Question>) => {
    try {
      self.postMessage({ id, value: await methods[name]!(...(args as never[])) } satisfies Answer)
    } catch (e) {
      self.postMessage({ id, error: e instanceof Error ? e.message : 'worker' } satisfies Answer)
    }
  }
}
