import { mount } from 'svelte'
import Page from './Page.svelte'
import '../../shared/base.css'
import './page.css'
import { look } from '../../shared/look.svelte'
import { messages } from '../../shared/messages.svelte'

look.apply()
await messages.use(look.language).catch(() => {}) // the page shows keys then, which is better than nothing
const place = document.getElementById('page')!
place.replaceChildren()
mount(Page, { target: place })
