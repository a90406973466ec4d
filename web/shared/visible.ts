// format.Visible: characters that make a text look other than it is are written as
// escapes. Joiners are letters' business in Persian and Indic names, and direction
// marks occur in Arabic ones.
const suspicious = /(?![\u200c-\u200f])[\p{Cc}\p{Cf}\u2028\u2029]/gu

export const visible = (text: string) => text.replace(suspicious, (c) => {
  const code = c.codePointAt(0)!
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
})
