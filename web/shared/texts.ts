// Which texts each page loads, by the first word of their keys. What is not listed
// stays out of the files of that page: vite.config.ts.
export const texts = {
  verifier: [
    'outcome', 'advice', 'result', 'check', 'reason', 'format', 'content', 'fact', 'value', 'verdict', 'server', 'page', 'ways', 'camera', 'file',
    'data', 'settings', 'rules', 'update', 'offline',
  ],
  issuer: ['desk', 'stock', 'trace', 'result', 'content', 'fact', 'value', 'format', 'outcome', 'reason', 'settings'],
  ledger: ['ledger', 'settings'],
  coldchain: ['cold', 'settings'],
  tour: ['tour', 'outcome', 'advice', 'settings'],
} as const
