// The camera: its states, its light, and its pictures for the decoder.
import type { Read } from './decoder.worker'

export type CameraState = 'off' | 'starting' | 'on' | 'none' | 'refused' | 'busy' | 'insecure' | 'lost'

const patience = 4000 // ms that a code may be seen and not read before it is said aloud
const absence = 1500 // ms without a sight after which a code has gone

export class Camera {
  state = $state<CameraState>('off')
  torch = $state(false)
  hasTorch = $state(false)
  several = $state(false)
  /** A code is there: since when, in whole seconds of not being readable; -1 for none. */
  unread = $state(-1)

  #video: HTMLVideoElement | undefined
  #stream: MediaStream | undefined
  #run = 0
  #device: string | undefined
  #paused = false
  #look: (picture: ImageBitmap) => Promise<Read>
  #found: (texts: Uint8Array[], frame: number) => void
  #seenSince = 0
  #seenLast = 0

  constructor(look: (picture: ImageBitmap) => Promise<Read>, found: (texts: Uint8Array[], frame: number) => void) {
    this.#look = look
    this.#found = found
  }

  get unreadable(): boolean {
    return this.unread * 1000 >= patience
  }

  attach(video: HTMLVideoElement): () => void {
    this.#video = video
    this.#play()
    return () => {
      this.#video = undefined
    }
  }

  async start(): Promise<void> {
    this.stop()
    if (!navigator.mediaDevices) {
      this.state = 'insecure'
      return
    }
    this.state = 'starting'
    const run = ++this.#run
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: {
          width: { ideal: 1280 }, height: { ideal: 960 },
          ...(this.#device ? { deviceId: { exact: this.#device } } : { facingMode: 'environment' }),
        },
      })
      if (run !== this.#run) {
        for (const t of stream.getTracks()) t.stop()
        return
      }
      this.#stream = stream
      const track = stream.getVideoTracks()[0]!
      track.onended = () => {
        if (run === this.#run) this.#end('lost')
      }
      this.hasTorch = 'torch' in (track.getCapabilities?.() ?? {})
      this.several = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === 'videoinput').length > 1
      this.state = 'on'
      this.#play()
    } catch (e) {
      if (run !== this.#run) return
      const name = e instanceof DOMException ? e.name : ''
      // A camera that was chosen and has gone since: take another one.
      if (this.#device) {
        this.#device = undefined
        return this.start()
      }
      this.#end(name === 'NotAllowedError' || name === 'SecurityError' ? 'refused' : name === 'NotFoundError' || name === 'OverconstrainedError' ? 'none' : 'busy')
    }
  }

  stop(): void {
    this.#end('off')
  }

  #end(state: CameraState): void {
    this.#run++
    for (const t of this.#stream?.getTracks() ?? []) t.stop()
    this.#stream = undefined
    if (this.#video) this.#video.srcObject = null
    this.torch = this.hasTorch = false
    this.#paused = false
    this.#forget()
    this.state = state
  }

  /** While a verdict is shown, the stream and its light stay on: the identity document has to be read too. */
  pause(): void {
    this.#paused = true
    this.#forget()
  }

  resume(): void {
    this.#paused = false
  }

  async switchTorch(): Promise<void> {
    const track = this.#stream?.getVideoTracks()[0]
    try {
      await track?.applyConstraints({ advanced: [{ torch: !this.torch } as MediaTrackConstraintSet] })
      this.torch = !this.torch
    } catch {
      this.hasTorch = false // it said it had one
    }
  }

  async switchCamera(): Promise<void> {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === 'videoinput')
    const used = this.#stream?.getVideoTracks()[0]?.getSettings().deviceId
    this.#device = cameras[(cameras.findIndex((c) => c.deviceId === used) + 1) % cameras.length]?.deviceId
    await this.start()
  }

  #play(): void {
    const [video, stream] = [this.#video, this.#stream]
    if (!video || !stream || video.srcObject === stream) return
    video.srcObject = stream
    video.play().catch(() => {}) // the stream was stopped meanwhile
    void this.#watch(video, this.#run)
  }

  async #watch(video: HTMLVideoElement, run: number): Promise<void> {
    while (run === this.#run && video === this.#video) {
      await nextFrame(video)
      if (run !== this.#run || this.#paused || video.videoWidth === 0 || document.hidden) continue
      const frame = performance.now()
      let read: Read
      try {
        read = await this.#look(await createImageBitmap(video))
      } catch {
        continue // a frame that could not be taken; the next may be
      }
      if (run !== this.#run || this.#paused) continue
      this.#notice(read.seen && read.texts.length === 0, performance.now())
      if (read.texts.length > 0) {
        this.#forget()
        this.#found(read.texts, frame)
      }
    }
  }

  #notice(seen: boolean, now: number): void {
    if (seen) {
      if (this.#seenSince === 0) this.#seenSince = now
      this.#seenLast = now
    } else if (now - this.#seenLast > absence) {
      this.#forget()
    }
    if (this.#seenSince > 0) this.unread = Math.floor((now - this.#seenSince) / 1000)
  }

  #forget(): void {
    this.#seenSince = this.#seenLast = 0
    this.unread = -1
  }
}

// nextFrame waits for a picture that has not been looked at, or a moment where
// none comes: a video that is not on screen has none.
function nextFrame(video: HTMLVideoElement): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 200)
    const done = () => {
      clearTimeout(timer)
      resolve()
    }
    if ('requestVideoFrameCallback' in video) video.requestVideoFrameCallback(done)
    else requestAnimationFrame(done)
  })
}
