// The choices of the one who sits here, the same on every page. Nothing
// else is kept on the device.
import { isTag, messages, preferred, type Tag } from './messages.svelte'
import { store, stored } from './store'

export const themes = ['auto', 'light', 'dark'] as const
export type Theme = (typeof themes)[number]

class Look {
  language: Tag = ((tag) => (isTag(tag) ? tag : preferred()))(stored('language'))
  theme = $state<Theme>(themes.find((t) => t === stored('theme')) ?? 'auto')

  apply(): void {
    if (this.theme === 'auto') delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = this.theme
    store('theme', this.theme)
  }

  async speak(tag: string): Promise<void> {
    if (!isTag(tag)) return
    try {
      await messages.use(tag)
      this.language = tag
      store('language', tag)
    } catch {
      // its texts cannot be had now: the page goes on in the language it has
    }
  }
}

export const look = new Look()
