import type { Name } from '../../../shared/Shape.svelte'
import type { Condition } from './api'

/** The shapes of the states, which differ without their colours. */
export const shapes: Record<Condition, Name> = { alarm: 'concern', silent: 'not-checked', acknowledged: 'person', 'no-data': 'open', ok: 'good', retired: 'not-applicable' }
