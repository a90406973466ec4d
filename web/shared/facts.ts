// What a certificate says, as lines to show, in the order in which the server's
// page has them.
import { messages, type Key } from './messages.svelte'
import type { Certificate, Code, Event } from './report'
import { visible } from './visible'

/** Fact is one line. What is fixed is to be compared letter by letter. */
export interface Fact { label: Key; value: string; fixed?: boolean }
export interface Group { title: Key; facts: Fact[] }

class Lines {
  facts: Fact[] = []

  add(name: string, value: string | undefined): void {
    if (value) this.facts.push({ label: `fact.${name}` as Key, value: visible(value) })
  }
  fixed(name: string, value: string | undefined): void {
    if (value) this.facts.push({ label: `fact.${name}` as Key, value: visible(value), fixed: true })
  }
  day(name: string, value: string | undefined): void {
    this.add(name, value && messages.day(value))
  }
  moment(name: string, value: string | undefined): void {
    if (!value) return
    const at = new Date(value)
    this.add(name, Number.isNaN(at.getTime()) ? value : messages.moment(at))
  }
  code(name: string, c: Code | undefined): void {
    if (!c) return
    this.add(name, !c.display || c.display === c.code ? c.code : !c.code ? c.display : `${c.display} (${c.code})`)
  }
  /** For a value that the texts have a word for. */
  word(name: string, value: string | undefined): void {
    if (!value) return
    const key = `value.${value}`
    this.add(name, messages.has(key) ? messages.text(key) : value)
  }
}

/** nameOf returns the person's name as it is written, and its machine readable form. */
export function nameOf(c: Certificate): { written: string; machine: string } {
  const n = c.person?.name ?? {}
  return {
    written: visible(n.full ?? [n.given, n.family].filter(Boolean).join(' ')),
    machine: visible(n.full_mrz ?? [n.family_mrz, n.given_mrz].filter(Boolean).join('<<')),
  }
}

function person(c: Certificate): Lines {
  const l = new Lines()
  const p = c.person
  if (!p) return l
  l.add('name', p.name.full)
  l.add('family', p.name.family)
  l.add('given', p.name.given)
  l.fixed('name-mrz', p.name.full_mrz)
  l.fixed('family-mrz', p.name.family_mrz)
  l.fixed('given-mrz', p.name.given_mrz)
  l.day('born', p.birth_date)
  l.word('sex', p.sex)
  l.add('nationality', p.nationality)
  l.fixed('document', p.document?.number)
  switch (p.document?.type) {
    case 'PPN': l.add('document-kind', messages.text('value.passport')); break
    case 'NI': l.add('document-kind', messages.text('value.national-identifier')); break
    default: l.add('document-kind', p.document?.type)
  }
  l.add('guardian', p.guardian)
  return l
}

/** subjectOf says in a few lines what a certificate is about: what a venue has to know besides the person. */
export function subjectOf(c: Certificate): Group {
  const l = new Lines()
  const code = (name: string, value: Code | undefined) => l.add(name, value?.display || value?.code)
  code('against', c.vaccination?.disease)
  if (c.vaccination?.dose && c.vaccination.doses) l.add('dose', messages.text('value.dose-of', { dose: c.vaccination.dose, doses: c.vaccination.doses }))
  code('test-for', c.test?.disease)
  code('result', c.test?.result)
  l.moment('sampled', c.test?.sampled)
  code('recovered-from', c.recovery?.disease)
  l.add('label', c.link?.label)
  const title = c.vaccination ? 'content.vaccination' : c.test ? 'content.test' : c.recovery ? 'content.recovery' : c.link ? 'content.link' : 'content.certificate'
  return { title, facts: l.facts }
}

function event(c: Event & Pick<Certificate, 'recovery' | 'link'>, earlier = false): Group {
  const l = new Lines()
  if (c.vaccination) {
    const v = c.vaccination
    l.code('against', v.disease)
    l.code('vaccine', v.vaccine)
    l.code('product', v.product)
    l.code('manufacturer', v.manufacturer)
    l.fixed('lot', v.lot)
    l.day('vaccinated', v.date)
    if (v.dose) l.add('dose', v.doses ? messages.text('value.dose-of', { dose: v.dose, doses: v.doses }) : String(v.dose))
    l.add('country', v.country)
    l.add('clinician', v.clinician)
    l.day('counts-from', v.valid_from)
    l.day('counts-until', v.valid_until)
    return { title: earlier ? 'content.earlier.vaccination' : 'content.vaccination', facts: l.facts }
  }
  if (c.test) {
    const t = c.test
    l.code('test-for', t.disease)
    l.code('result', t.result)
    l.code('test-kind', t.type)
    l.add('test-name', t.name)
    l.code('device', t.device)
    l.moment('sampled', t.sampled)
    l.moment('reported', t.reported)
    l.add('centre', t.centre)
    l.add('country', t.country)
    return { title: earlier ? 'content.earlier.test' : 'content.test', facts: l.facts }
  }
  if (c.recovery) {
    const r = c.recovery
    l.code('recovered-from', r.disease)
    l.day('first-positive', r.first_positive)
    l.add('country', r.country)
    l.day('counts-from', r.valid_from)
    l.day('counts-until', r.valid_until)
    return { title: 'content.recovery', facts: l.facts }
  }
  if (c.link) {
    // The address is shown and not linked: whoever opens it tells its keeper who is
    // being checked, where and when.
    l.add('label', c.link.label)
    l.fixed('address', c.link.url)
    l.add('passcode', messages.text(c.link.passcode ? 'value.passcode-needed' : 'value.passcode-none'))
    if (c.link.long_term) l.add('documents', messages.text('value.may-change'))
    l.moment('ends', c.link.expires)
  }
  return { title: 'content.link', facts: l.facts }
}

/** contentOf returns all that a certificate says. */
export function contentOf(c: Certificate): Group[] {
  const dates = new Lines()
  dates.add('issued-by', c.authority)
  dates.fixed('identifier', c.id)
  dates.moment('issued', c.issued)
  dates.moment('valid-from', c.valid_from)
  if (c.expires) dates.moment('valid-until', c.expires)
  else dates.add('valid-until', messages.text('value.no-end'))
  const groups: Group[] = [
    { title: 'content.person', facts: person(c).facts },
    event(c),
    ...(c.earlier ?? []).map((e) => event(e, true)),
    { title: 'content.certificate', facts: dates.facts },
  ]
  return groups.filter((g) => g.facts.length > 0)
}
