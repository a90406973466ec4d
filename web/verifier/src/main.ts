import { mount } from 'svelte'
import Page from './Page.svelte'
import '../../shared/base.css'
import './page.css'
import { app } from './lib/app.svelte'
import { messages } from '../../shared/messages.svelte'
import { settings } from './lib/settings.svelte'

if (settings.theme !== 'auto') document.documentElement.dataset.theme = settings.theme
await messages.use(settings.language).catch(() => {}) // the page shows keys then, which is better than nothing
const place = document.getElementById('page')!
place.replaceChildren()
mount(Page, { target: place })
// The engine is large: what there is to see comes first.
requestAnimationFrame(() => setTimeout(() => void app.start()))
