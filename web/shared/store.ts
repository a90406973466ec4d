// What a page keeps on the device: choices of its operator. Nothing of a
// certificate or a person ever.

export function stored(key: string): string | null {
  try {
    return localStorage.getItem('ampoule.' + key)
  } catch {
    return null // storage is switched off: the choices last as long as the page
  }
}

export function store(key: string, value: string): void {
  try {
    localStorage.setItem('ampoule.' + key, value)
  } catch {
    // see stored
  }
}
