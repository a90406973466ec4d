// The first rows of a file of values, to see that it is the right one. How a file is
// read is decided by the server, which says what is wrong with each row.

export interface Preview { header: string[]; rows: string[][] }

const most = 64 << 10 // bytes that are looked at
const rowsShown = 5

export async function preview(file: Blob): Promise<Preview> {
  const text = new TextDecoder().decode(await file.slice(0, most).arrayBuffer()).replace(/^\ufeff/, '')
  const firstLine = text.slice(0, text.search(/\r|\n|$/))
  const mark = [';', '\t', ','].map((m) => [m, firstLine.split(m).length] as const).sort((a, b) => b[1] - a[1])[0]![0]
  const rows: string[][] = [['']]
  let quoted = false
  for (let i = 0; i < text.length && rows.length <= rowsShown + 1; i++) {
    const c = text[i]!
    const row = rows.at(-1)!
    const add = (t: string) => { row[row.length - 1] = `${row.at(-1)}${t}` }
    if (quoted) {
      if (c !== '"') add(c)
      else if (text[i + 1] === '"') add(text[++i]!)
      else quoted = false
    } else if (c === '"') quoted = true
    else if (c === mark) row.push('')
    else if (c === '\n') rows.push([''])
    else if (c !== '\r') add(c)
  }
  const [header = [], ...rest] = rows.filter((r) => r.some((cell) => cell !== ''))
  return { header, rows: rest.slice(0, rowsShown) }
}
