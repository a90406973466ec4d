import { mount } from 'svelte'
import Page from './Page.svelte'
import '../../shared/base.css'
import './page.css'
import { watch } from './lib/watch.svelte'
import { messages } from '../../shared/messages.svelte'
import { look } from '../../shared/look.svelte'

look.apply()
await messages.use(look.language).catch(() => {}) // the page shows keys then, which is better than nothing
const place = document.getElementById('page')!
place.replaceChildren()
mount(Page, { target: place })
void watch.start()
