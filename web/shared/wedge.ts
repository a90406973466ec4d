// Hand scanners that type. They send a code as key strokes, a few milliseconds
// apart, and mostly Enter at the end; no field has to have the focus.

const gap = 120 // ms between two keys of one code; people who type fast need more for most
const silence = 350 // ms after which a code without Enter is whole
const shortest = 16 // characters: shorter than any code, longer than a key held down for a moment

/** listen calls found with what a scanner types, and returns how to stop. */
export function listen(found: (text: string) => void): () => void {
  let text = ''
  let last = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  const end = () => {
    clearTimeout(timer)
    const whole = text
    text = ''
    // One key held down repeats itself as fast as a scanner types.
    if (whole.length >= shortest && new Set(whole).size > 3) found(whole)
  }

  const key = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return
    const target = event.target as Element | null
    if (target?.closest('textarea, input, select, [contenteditable]')) return
    const fast = event.timeStamp - last < gap
    if (!fast) text = ''
    if (event.key === 'Enter' || event.key === 'Tab') {
      if (!fast || text.length < shortest) return
      stop(event)
      end()
      return
    }
    if (event.key.length !== 1) return // Shift and the like
    last = event.timeStamp
    // A space of a code must not press the button that has the focus.
    if (fast && text.length > 2) stop(event)
    text += event.key
    clearTimeout(timer)
    timer = setTimeout(end, silence)
  }
  const stop = (event: KeyboardEvent) => {
    event.preventDefault()
    event.stopPropagation()
  }
  window.addEventListener('keydown', key, true)
  return () => {
    clearTimeout(timer)
    window.removeEventListener('keydown', key, true)
  }
}
