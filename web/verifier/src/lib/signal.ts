// The verdict for ears and hands. Good rises, bad falls and is longer, and what
// could not be decided stays on one note: no two are alike in rhythm.
import type { Tone } from '../../../shared/report'

const notes: Record<Tone, [frequency: number, seconds: number][]> = {
  good: [[660, 0.12], [990, 0.2]],
  bad: [[330, 0.25], [220, 0.45]],
  open: [[440, 0.12], [0, 0.08], [440, 0.12], [0, 0.08], [440, 0.12]],
}
const beats: Record<Tone, number[]> = { good: [90], bad: [350, 120, 350], open: [90, 90, 90, 90, 90] }

let audio: AudioContext | undefined

export function sound(tone: Tone): void {
  audio ??= new AudioContext()
  void audio.resume()
  let at = audio.currentTime + 0.02
  for (const [frequency, seconds] of notes[tone]) {
    if (frequency > 0) {
      const note = audio.createOscillator()
      const volume = audio.createGain()
      note.frequency.value = frequency
      volume.gain.setValueAtTime(0, at)
      volume.gain.linearRampToValueAtTime(0.3, at + 0.01)
      volume.gain.linearRampToValueAtTime(0, at + seconds)
      note.connect(volume).connect(audio.destination)
      note.start(at)
      note.stop(at + seconds)
    }
    at += seconds
  }
}

export function vibrate(tone: Tone): void {
  navigator.vibrate?.(beats[tone])
}
