// The form of a certificate: what is typed, what is wrong with it, and the order
// that comes of it. The server has the last word: what it finds is shown at the
// same fields.
import { api, type Code, type Format, type Held, type Offer, type Offered, type Opened, type Order } from './api'
import { addDays, after, iso, readDate, today } from './dates'
import { messages, type Key } from '../../../shared/messages.svelte'
import type { Certificate } from '../../../shared/report'

export type Kind = 'vaccination' | 'test' | 'recovery'
export const kinds: Kind[] = ['vaccination', 'test', 'recovery']

// What a format can certify here. A seal of a test also asks for the address and
// telephone of whoever made it, and is not offered.
const carries: Record<Kind, Format[]> = {
  vaccination: ['icvp', 'eu-dcc', 'shc', 'ddcc', 'vds-nc'],
  test: ['eu-dcc', 'shc', 'ddcc'],
  recovery: ['eu-dcc'],
}
const wholeBirthDates: Format[] = ['icvp', 'vds-nc']
const partedNames: Format[] = ['eu-dcc']

const snomed = 'http://snomed.info/sct'
const likeICD11 = /^[0-9A-Z][A-Z][0-9A-Z]{2,}(\.[0-9A-Z]+)?$/

const person = { inOne: false, family: '', given: '', full: '', born: '', sex: '', nationality: '', docType: '', docNumber: '', guardian: '' }
const event = {
  disease: '', product: '', vaccine: '', manufacturer: '', lot: '', date: '', dose: '', doses: '', clinician: '', country: '',
  testType: '', testName: '', device: '', sampledDate: '', sampledTime: '', result: '', centre: '',
  firstPositive: '', from: '', until: '',
}
// What stays for the next person: a morning is mostly one product, one lot, one day.
const staying = ['disease', 'product', 'vaccine', 'manufacturer', 'lot', 'date', 'doses', 'clinician', 'country', 'testType', 'testName', 'device', 'sampledDate', 'result', 'centre'] as const

type Values = typeof person & typeof event
/** Field names a field of the form. */
export type Field = keyof Values | 'formats' | `expires-${Format}` | 'reason' | 'form'
export interface Fault { field: Field; text: string }

// Where the rules of the server and of the formats name what is in a field: in the
// record, in the payloads, and as the columns of a file. The first that fits counts.
const places: [RegExp, Field][] = [
  [/(family_name|person\.name\.family|nam\.fnt?)\b/, 'family'], [/(given_name|person\.name\.given|nam\.gnt?)\b/, 'given'],
  [/(person\.name|nam|pid\.n|name|^n)\b/, 'family'], [/(birth_date|birthDate|\bdob)\b/, 'born'], [/(person\.sex|gender|^sex|^s|pid\.sex)$/, 'sex'],
  [/(nationality|^nt)$/, 'nationality'], [/(document\.type|document_type|^dt|pid\.dt)$/, 'docType'],
  [/(person\.document|document_number|identifier|pid\.(i|ai|dn))\b/, 'docNumber'], [/(guardian|^gn)$/, 'guardian'],
  [/\[0\]\.tt$|test\.type/, 'testType'], [/\[0\]\.nm$|test\.name/, 'testName'], [/t\[0\]\.ma$|test\.device|brand\/test/, 'device'],
  [/\[0\]\.(sc|dr)$|test\.sampled|sample/, 'sampledDate'], [/\[0\]\.tr$|test\.result|^result/, 'result'], [/t\[0\]\.tc$|test\.centre|^centre/, 'centre'],
  [/\[0\]\.fr$|first_positive/, 'firstPositive'], [/\[0\]\.df$|recovery\.valid_from/, 'from'], [/\[0\]\.du$|recovery\.valid_until/, 'until'],
  [/(\.disease|^disease|\.tg|\.dis|pathogen)\b/, 'disease'], [/(vaccination\.vaccine|vaccineCode|^vaccine|\.vp|\.des)$/, 'vaccine'],
  [/(product|\.mp|brand|\.nam|vx\.vp)\b/, 'product'], [/(manufacturer|\.ma|maholder)\b/, 'manufacturer'], [/(lotNumber|\blot|vx\.bo)$/, 'lot'],
  [/(vaccination\.date|\.dt|occurrenceDateTime|^date|\.dvc|vx\.dv)$/, 'date'], [/(\bdoses|\.sd)$/, 'doses'], [/(\bdose|\.dn|\.seq)$/, 'dose'],
  [/(country|\.co|\.ctr)\b/, 'country'], [/(clinician|performer|\.adm|vx\.cn)$/, 'clinician'],
]

const labels = {
  family: 'fact.family', given: 'fact.given', full: 'fact.name', inOne: 'desk.name.in-one', born: 'fact.born', sex: 'fact.sex', nationality: 'fact.nationality',
  docType: 'fact.document-kind', docNumber: 'fact.document', guardian: 'fact.guardian', disease: 'fact.against', product: 'fact.product', vaccine: 'fact.vaccine',
  manufacturer: 'fact.manufacturer', lot: 'fact.lot', date: 'fact.vaccinated', dose: 'desk.dose', doses: 'desk.doses', clinician: 'fact.clinician', country: 'fact.country',
  testType: 'fact.test-kind', testName: 'fact.test-name', device: 'fact.device', sampledDate: 'fact.sampled', sampledTime: 'desk.sampled-time', result: 'fact.result',
  centre: 'fact.centre', firstPositive: 'fact.first-positive', from: 'fact.counts-from', until: 'fact.counts-until', formats: 'desk.formats', reason: 'desk.reason',
  expires: 'fact.valid-until', form: 'desk.new',
} as const satisfies Record<string, Key>

export class Form {
  kind = $state<Kind>('vaccination')
  values = $state<Values>({ ...person, ...event })
  chosen = $state<Partial<Record<Format, boolean>>>({})
  expires = $state<Partial<Record<Format, string>>>({})
  reason = $state('')
  #told = $state.raw<(Fault & { was: string })[]>([])
  /** What was found at the last look, without what was put right since. */
  faults = $derived.by(() => {
    const now = this.#told.length ? this.check() : []
    return this.#told.flatMap((t) => {
      const still = now.find((f) => f.field === t.field)
      return still ? [still] : t.was !== '' && t.was === this.#at(t.field) ? [{ field: t.field, text: t.text }] : []
    })
  })
  /** Where the person was taken from, in words. */
  source = $state('')
  /** The open vial that the dose is from. */
  vial = $state.raw<Opened>()
  /** The record that this one will stand in place of. */
  corrects = $state.raw<Held>()

  constructor(readonly offer: Offer) {
    this.values.country = offer.country ?? ''
    for (const f of offer.formats) if (f.may_expire) this.expires[f.format] = f.must_expire ? this.usual(f) : ''
    const able = kinds.find((k) => this.offered(k).length > 0)
    if (able) this.kind = able
    const only = this.offered(this.kind)
    if (only.length === 1) this.chosen[only[0]!.format] = true
  }

  /** A year, or as long as the key lives. */
  usual(f: Offered): string {
    const year = addDays(today(), 365)
    return f.last_expiry && f.last_expiry.slice(0, 10) < year ? f.last_expiry.slice(0, 10) : year
  }

  offered(kind: Kind = this.kind): Offered[] { return this.offer.formats.filter((f) => carries[kind].includes(f.format)) }
  get formats(): Offered[] { return this.offered().filter((f) => this.chosen[f.format]) }
  has(...formats: Format[]): boolean { return this.formats.some((f) => formats.includes(f.format)) }
  get partialBirthDate(): boolean { return !this.has(...wholeBirthDates) }
  get oneName(): boolean { return this.values.inOne && !this.has(...partedNames) }

  /** Columns that the chosen formats cannot do without. */
  #required = $derived(new Set(this.formats.flatMap((f) => f.required)))
  needs(field: Field): boolean {
    const v = this.values
    switch (field) {
      case 'family': return !v.given
      case 'given': return !v.family
      case 'full': case 'disease': return true
      case 'testType': case 'result': case 'sampledDate': case 'sampledTime': case 'firstPositive': case 'from': case 'until': return true
      case 'centre': return this.has('eu-dcc') && v.testType === 'LP6464-4'
      case 'testName': return false
      case 'country': return true
      case 'date': case 'product': return this.kind === 'vaccination'
    }
    const column = { born: 'birth_date', sex: 'sex', nationality: 'nationality', vaccine: 'vaccine', manufacturer: 'manufacturer', lot: 'lot', dose: 'dose', doses: 'doses', clinician: 'clinician' }[field as string]
    if (field === 'born' && this.kind !== 'vaccination') return true
    return column !== undefined && this.kind === 'vaccination' && this.#required.has(column)
  }

  /** A product of the catalogue of the Regulations, whose disease and manufacturer are known. */
  get catalogued() { return this.offer.products.find((p) => p.code === this.values.product) }

  products(): { code: string; label: string; note?: string }[] {
    const named = (word: string | undefined) => this.offer.diseases.find((d) => d.word === word)?.name ?? word ?? ''
    return [
      ...(this.offer.formats.some((f) => f.format === 'icvp') ? this.offer.products.map((p) => ({ code: p.code, label: p.display ?? p.code, note: [named(p.disease), p.manufacturer].filter(Boolean).join(', ') })) : []),
      ...this.set('vaccine-medicinal-product', 'COVID-19'),
    ]
  }

  set(name: string, note?: string): { code: string; label: string; note?: string }[] {
    return (this.offer.sets[name] ?? []).map((c) => ({ code: c.code, label: c.display || c.code, note: note ? `${note}, ${c.code}` : c.code }))
  }

  countries(): { code: string; label: string; note?: string }[] {
    return (this.offer.sets['country-2-codes'] ?? []).map((c) => ({ code: c.code, label: messages.country(c.code), note: c.code })).sort((a, b) => a.label.localeCompare(b.label, messages.tag))
  }
  nationalities(): { code: string; label: string; note?: string }[] {
    return (this.offer.sets['country-2-codes'] ?? []).filter((c) => c.alpha3).map((c) => ({ code: c.alpha3!, label: messages.country(c.code), note: c.alpha3! })).sort((a, b) => a.label.localeCompare(b.label, messages.tag))
  }

  /** Chooses a product, and with it what follows: the disease, and which formats know it. */
  choose(code: string): void {
    const v = this.values
    v.product = code
    const p = this.catalogued
    if (p) {
      v.disease = this.offer.diseases.find((d) => d.word === p.disease)?.snomed ?? ''
      v.manufacturer = v.vaccine = ''
      this.chosen = { ...this.chosen, 'eu-dcc': false, icvp: this.offered().some((f) => f.format === 'icvp') }
    } else if (this.offer.sets['vaccine-medicinal-product']?.some((c) => c.code === code)) {
      v.disease = this.offer.diseases.find((d) => d.word === 'covid-19')?.snomed ?? ''
      this.chosen = { ...this.chosen, icvp: false }
      if (this.formats.length === 0 && this.offered().some((f) => f.format === 'eu-dcc')) this.chosen['eu-dcc'] = true
    }
  }

  /** Gives from an open vial: product and lot are its own. */
  give(s: Opened | undefined): void {
    this.vial = s
    if (!s) return
    this.kind = 'vaccination'
    const known = this.products().find((p) => s.codes.some((c) => c.code === p.code)) ?? { code: s.product.code }
    this.choose(known.code)
    this.values.lot = s.number
    if (!this.values.date) this.values.date = today()
  }

  /** Says what is wrong that can be told here. */
  check(): Fault[] {
    const v = this.values
    const out: Fault[] = []
    const say = (field: Field, key: Key, values?: Record<string, string | number>) => {
      if (!out.some((f) => f.field === field)) out.push({ field, text: messages.text(key, values) })
    }
    const now = today()
    const born = iso(v.born, true)
    const dated = (field: 'date' | 'sampledDate' | 'firstPositive' | 'from' | 'until', future = false) => {
      const r = readDate(v[field])
      if ('empty' in r) { if (this.needs(field)) say(field, 'desk.fault.missing') }
      else if ('either' in r) say(field, 'desk.fault.which')
      else if ('wrong' in r) say(field, 'desk.fault.date')
      else if (!future && r.iso > now) say(field, 'desk.fault.future')
      else if (born && after(born, r.iso)) say(field, 'desk.fault.before-birth')
    }

    if (this.formats.length === 0) say('formats', 'desk.fault.formats')
    if (this.corrects && !this.reason) say('reason', 'desk.fault.missing')

    // The person.
    if (this.oneName) { if (!v.full.trim()) say('full', 'desk.fault.missing') }
    else if (!v.family.trim() && !v.given.trim()) say('family', 'desk.fault.name')
    for (const field of ['family', 'given', 'full'] as const) if (/[\p{Nd}@<>{}[\]\\|]/u.test(v[field])) say(field, 'desk.fault.name-characters')
    const b = readDate(v.born, true)
    if ('empty' in b) { if (this.needs('born')) say('born', 'desk.fault.missing') }
    else if ('either' in b) say('born', 'desk.fault.which')
    else if ('wrong' in b) say('born', 'desk.fault.date')
    else if (!this.partialBirthDate && b.iso.length < 10) say('born', 'desk.fault.whole-date', { format: messages.text(this.has('icvp') ? 'desk.format.icvp' : 'desk.format.vds-nc') })
    else if (after(b.iso, now)) say('born', 'desk.fault.future')
    else if (b.iso < '1900') say('born', 'desk.fault.long-ago')
    if (this.needs('sex') && !v.sex) say('sex', 'desk.fault.missing')
    if (!v.nationality) { if (this.needs('nationality')) say('nationality', 'desk.fault.missing') }
    else if (!/^[A-Z]{1,3}$/.test(v.nationality)) say('nationality', 'desk.fault.choose')
    if (v.docNumber && !/^[\p{L}\p{Nd} ./-]+$/u.test(v.docNumber)) say('docNumber', 'desk.fault.number-characters')
    if (v.docNumber && !v.docType) say('docType', 'desk.fault.missing')
    if (v.docType && !v.docNumber.trim()) say('docNumber', 'desk.fault.missing')

    // What happened.
    if (this.kind === 'vaccination') {
      if (!v.product.trim()) say('product', 'desk.fault.missing')
      else if (this.has('icvp') && !this.catalogued) say('product', 'desk.fault.catalogue')
      else if (this.has('eu-dcc') && !this.set('vaccine-medicinal-product').some((c) => c.code === v.product)) say('product', 'desk.fault.eu')
      if (!v.disease) say('disease', 'desk.fault.missing')
      if (!v.vaccine.trim()) { if (this.needs('vaccine')) say('vaccine', 'desk.fault.missing') }
      else if (this.has('eu-dcc') && !this.set('vaccine-prophylaxis').some((c) => c.code === v.vaccine)) say('vaccine', 'desk.fault.eu')
      else if (this.has('vds-nc') && !likeICD11.test(v.vaccine)) say('vaccine', this.has('eu-dcc') ? 'desk.fault.both' : 'desk.fault.icd')
      if (!v.manufacturer.trim()) { if (this.needs('manufacturer')) say('manufacturer', 'desk.fault.missing') }
      else if (this.has('eu-dcc') && !this.set('vaccine-mah-manf').some((c) => c.code === v.manufacturer)) say('manufacturer', 'desk.fault.eu')
      if (this.needs('lot') && !v.lot.trim()) say('lot', 'desk.fault.missing')
      dated('date')
      for (const field of ['dose', 'doses'] as const) {
        if (!v[field]) { if (this.needs(field)) say(field, 'desk.fault.missing') }
        else if (!/^[1-9]\d?$/.test(v[field])) say(field, 'desk.fault.count')
      }
      if (this.needs('clinician') && !v.clinician.trim()) say('clinician', 'desk.fault.missing')
    } else if (this.kind === 'test') {
      if (!v.testType) say('testType', 'desk.fault.missing')
      if (v.testType === 'LP217198-3' && this.has('eu-dcc') && !v.device) say('device', 'desk.fault.missing')
      else if (v.device && !this.set('test-manf').some((c) => c.code === v.device)) say('device', 'desk.fault.choose')
      dated('sampledDate')
      if (!/^([01]\d|2[0-3]):[0-5]\d$/.test(v.sampledTime)) say('sampledTime', v.sampledTime ? 'desk.fault.time' : 'desk.fault.missing')
      else if (iso(v.sampledDate) && new Date(`${iso(v.sampledDate)}T${v.sampledTime}`) > new Date()) say('sampledTime', 'desk.fault.future')
      if (!v.result) say('result', 'desk.fault.missing')
      if (this.needs('centre') && !v.centre.trim()) say('centre', 'desk.fault.missing')
    } else {
      dated('firstPositive')
      dated('from', true)
      dated('until', true)
      const [first, from, until] = [iso(v.firstPositive), iso(v.from), iso(v.until)]
      if (first && from && from < first) say('from', 'desk.fault.order')
      if (from && until && until < from) say('until', 'desk.fault.order')
    }
    if (!v.country) say('country', 'desk.fault.missing')
    else if (!/^[A-Z]{2}$/.test(v.country)) say('country', 'desk.fault.choose')

    for (const f of this.formats) {
      if (!f.may_expire) continue
      const field: Field = `expires-${f.format}`
      const r = readDate(this.expires[f.format] ?? '')
      if ('empty' in r) { if (f.must_expire) say(field, 'desk.fault.missing') }
      else if ('either' in r) say(field, 'desk.fault.which')
      else if ('wrong' in r) say(field, 'desk.fault.date')
      else if (r.iso < now) say(field, 'desk.fault.past')
      else if (f.last_expiry && r.iso > f.last_expiry.slice(0, 10)) say(field, 'desk.fault.key', { date: messages.day(f.last_expiry.slice(0, 10)) })
    }
    return out
  }

  /** What the server has found, at the fields where they are known. */
  found(findings: string[]): Fault[] {
    const out: Fault[] = []
    for (const finding of findings) {
      const parts = finding.split(': ')
      const format = parts[0] as Format
      const reason = parts.at(-1)!
      const key = `reason.${reason}.title`
      const own = `desk.finding.${reason}`
      const said = messages.has(own) ? messages.text(own) : messages.has(key) ? messages.text(key) : reason
      const name = messages.has(`desk.format.${format}`) ? messages.text(`desk.format.${format}` as Key) : format
      const path = parts.slice(1, -1).find((p) => /^[a-z0-9_[\].|]+$/i.test(p) && !/^(EU DCC|ICVP|DDCC|SHC|VDS-NC|HCERT)$/.test(p)) ?? parts.slice(1, -1).join(' ')
      let field: Field = reason === 'bad-expiry' ? `expires-${format}` : (places.find(([where]) => where.test(path))?.[1] ?? 'form')
      if (field === 'family' && this.oneName) field = 'full'
      const text = field === 'form' ? `${messages.text('desk.finding', { format: name, said })} ${parts.slice(1, -1).join(': ')}` : messages.text('desk.finding', { format: name, said })
      if (!out.some((f) => f.field === field && f.text === text)) out.push({ field, text })
    }
    return out
  }

  /** Keeps what was found, to be shown until it is put right: by the page, or by the server, which is not asked again meanwhile. */
  tell(faults: Fault[], byServer = false): void {
    this.#told = faults.map((f) => ({ ...f, was: byServer ? this.#at(f.field) : '' }))
  }

  /** What a field holds; of what is no field, all there is. */
  #at(field: Field): string {
    const chosen = JSON.stringify(this.chosen)
    if (field.startsWith('expires-')) return `${chosen} ${this.expires[field.slice(8) as Format]}`
    return `${chosen} ${field in this.values ? JSON.stringify(this.values[field as keyof Values]) : JSON.stringify([this.values, this.expires, this.kind])}`
  }

  label(field: Field): string {
    const [stem, format] = field.startsWith('expires-') ? ['expires', field.slice(8)] : [field, '']
    const key = labels[stem as keyof typeof labels]
    return format ? `${messages.text('fact.valid-until')}, ${messages.text(`desk.format.${format}` as 'desk.format.icvp')}` : messages.text(key)
  }

  fault(field: Field): string { return this.faults.filter((f) => f.field === field).map((f) => f.text).join(' ') }

  order(place: string): Order {
    const v = this.values
    const text = (s: string) => s.trim() || undefined
    const from = (set: string, code: string): Code | undefined => {
      if (!code.trim()) return undefined
      const known = this.offer.sets[set]?.find((c) => c.code === code)
      return known ? { code: known.code, system: known.system, display: known.display } : { code: code.trim() }
    }
    const disease = (): Code | undefined => {
      const d = this.offer.diseases.find((d) => d.snomed === v.disease)
      return d && { code: d.snomed, system: snomed, display: d.name }
    }
    const name = this.oneName ? { full: text(v.full) } : { family: text(v.family), given: text(v.given) }
    const record: Record<string, unknown> = {
      person: {
        name, birth_date: iso(v.born, true) || undefined, sex: v.sex || undefined, nationality: v.nationality || undefined,
        document: v.docNumber.trim() ? { number: v.docNumber.trim(), type: v.docType || undefined } : undefined, guardian: text(v.guardian),
      },
    }
    if (this.corrects?.record.authority) record.authority = this.corrects.record.authority
    if (this.kind === 'vaccination') {
      const p = this.catalogued
      record.vaccination = {
        disease: disease(), vaccine: from('vaccine-prophylaxis', v.vaccine),
        product: p ? { code: p.code, display: p.display } : from('vaccine-medicinal-product', v.product),
        manufacturer: from('vaccine-mah-manf', v.manufacturer), lot: text(v.lot), date: iso(v.date),
        dose: Number(v.dose) || undefined, doses: Number(v.doses) || undefined, country: v.country, clinician: text(v.clinician),
      }
    } else if (this.kind === 'test') {
      record.test = {
        disease: this.#covid(), type: from('test-type', v.testType), name: text(v.testName), device: from('test-manf', v.device),
        // A moment: the clock of the place, written for Greenwich.
        sampled: new Date(`${iso(v.sampledDate)}T${v.sampledTime}`).toISOString().replace('.000Z', 'Z'),
        result: from('test-result', v.result), centre: text(v.centre), country: v.country,
      }
    } else {
      record.recovery = { disease: this.#covid(), first_positive: iso(v.firstPositive), valid_from: iso(v.from), valid_until: iso(v.until), country: v.country }
    }
    return {
      record, facility: this.corrects ? undefined : place || undefined, session: this.kind === 'vaccination' && !this.corrects ? this.vial?.id : undefined,
      formats: this.formats.map((f) => ({ format: f.format, expires: f.may_expire ? this.#end(f) : undefined })),
    }
  }

  #covid(): Code | undefined {
    const d = this.offer.diseases.find((d) => d.word === 'covid-19')
    return d && { code: d.snomed, system: snomed, display: d.name }
  }

  /** The end of the last day, and not after the key. */
  #end(f: Offered): string | undefined {
    const day = iso(this.expires[f.format] ?? '')
    if (!day) return undefined
    return f.last_expiry?.startsWith(day) ? f.last_expiry : `${day}T23:59:59Z`
  }

  /** What the certificates will say, in the form in which it is read. */
  content(spelling: Awaited<ReturnType<typeof api.check>>['spelling'], order: Order): Certificate {
    const record = structuredClone(order.record) as unknown as Certificate
    Object.assign(record.person!.name, { full_mrz: spelling.full, family_mrz: spelling.family, given_mrz: spelling.given })
    record.authority ??= this.offer.authority
    return record
  }

  /** Takes the person from a certificate that was read. */
  takePerson(c: Certificate, source: string): void {
    const p = c.person
    if (!p) return
    const n = p.name
    Object.assign(this.values, person, {
      inOne: !n.family && !n.given, family: n.family ?? n.family_mrz?.replaceAll('<', ' ') ?? '', given: n.given ?? n.given_mrz?.replaceAll('<', ' ') ?? '', full: n.full ?? '',
      born: p.birth_date ?? '', sex: p.sex ?? '', nationality: p.nationality ?? '',
      docType: p.document?.number ? p.document.type ?? '' : '', docNumber: p.document?.number ?? '', guardian: p.guardian ?? '',
    } satisfies typeof person)
    this.source = source
  }

  /** Takes all of a record, to be corrected. */
  take(held: Held): void {
    const r = held.record
    this.corrects = held
    this.kind = kinds.find((k) => k === r.kind) ?? 'vaccination'
    this.takePerson(r, '')
    const v = this.values
    const word = (c: { code: string } | undefined) => this.offer.diseases.find((d) => c && [d.snomed, d.icd11].includes(c.code))?.snomed ?? ''
    if (r.vaccination) {
      const e = r.vaccination
      Object.assign(v, {
        disease: word(e.disease), product: e.product?.code ?? '', vaccine: e.vaccine?.code ?? '', manufacturer: e.manufacturer?.code ?? '', lot: e.lot ?? '',
        date: e.date ?? '', dose: e.dose ? String(e.dose) : '', doses: e.doses ? String(e.doses) : '', clinician: e.clinician ?? '', country: e.country ?? '',
      })
    } else if (r.test) {
      const e = r.test
      const at = new Date(e.sampled)
      Object.assign(v, {
        disease: word(e.disease), testType: e.type.code, testName: e.name ?? '', device: e.device?.code ?? '', result: e.result.code, centre: e.centre ?? '', country: e.country ?? '',
        sampledDate: at.toLocaleDateString('sv'), sampledTime: at.toLocaleTimeString('sv').slice(0, 5),
      })
    } else if (r.recovery) {
      const e = r.recovery
      Object.assign(v, { firstPositive: e.first_positive, from: e.valid_from ?? '', until: e.valid_until ?? '', country: e.country ?? '' })
    }
    const now = today()
    this.chosen = {}
    for (const f of this.offered()) {
      this.chosen[f.format] = held.formats.includes(f.format)
      const end = held.certificates.find((c) => c.current && c.format === f.format)?.expires?.slice(0, 10)
      if (f.may_expire && end) this.expires[f.format] = end < now || (f.last_expiry && end > f.last_expiry.slice(0, 10)) ? this.usual(f) : end
    }
  }

  /** Gets ready for the next person. */
  next(): Form {
    const f = new Form(this.offer)
    f.kind = this.kind
    f.chosen = { ...this.chosen }
    f.expires = { ...this.expires }
    for (const name of staying) f.values[name] = this.values[name]
    f.vial = this.vial
    return f
  }
}
