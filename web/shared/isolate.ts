/** isolate lets a name or a code keep its own direction inside a sentence of another (U+2068, U+2069). */
export const isolate = (text: string) => `\u2068${text}\u2069`
