// What the page asks of a node: /v1/ledger/, as /docs describes it. All of it is
// public but the vote.
import { messages } from '../../../shared/messages.svelte'

export interface Tree { size: number; root: string }
export interface Status {
  origin: string; chain: string; height: number; time: string; log: Tree; published?: Tree
  cosigned?: { name: string; time?: string }[]
  catching_up: boolean; validating: boolean; peers: number; may_vote: boolean
}
export interface Member { oid: string; code: string; standing: string; voting: boolean }
export interface Validator { member: string; type: string; power: number }
export interface Proposal { id: string; about: string; proposer: string; deadline: string; yes: string[]; no: string[]; outcome: string; holds?: boolean }
export interface Field { name: string; value: string }
export interface Line { index: number; leaf: string; kind: string; actor?: string }
export interface Entry extends Line { entry: string; proof: string; fields: Field[] }

/** Problem is an answer other than the one asked for, or none at all. */
export class Problem extends Error {
  constructor(readonly status: number, readonly title: string, readonly detail = '') {
    super(title)
  }
}

async function ask<T>(path: string, body?: unknown): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST', cache: 'no-store',
      headers: { Accept: 'application/json', 'Accept-Language': messages.tag, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20e3),
    })
    if (answer.ok) return (await answer.json()) as T
  } catch {
    throw new Problem(0, messages.text('ledger.unreachable'))
  }
  const said = (await answer.json().catch(() => ({}))) as { title?: string; detail?: string }
  throw new Problem(answer.status, said.title ?? messages.text('ledger.unreachable'), said.detail)
}

export const api = {
  status: () => ask<Status>('/v1/ledger/status'),
  members: () => ask<Member[]>('/v1/ledger/members'),
  validators: () => ask<Validator[]>('/v1/ledger/validators'),
  proposals: () => ask<Proposal[]>('/v1/ledger/proposals'),
  entries: (before?: number) => ask<Line[]>(`/v1/ledger/entries${before === undefined ? '' : `?before=${before}`}`),
  entry: (index: number) => ask<Entry>(`/v1/ledger/entries/${index}`),
  find: (leaf: string) => ask<{ logged: boolean; index?: number }>(`/v1/ledger/transactions/${leaf}`),
  vote: (id: string, yes: boolean) => ask<{ leaf: string }>(`/v1/ledger/proposals/${id}/votes`, { yes }),
}
