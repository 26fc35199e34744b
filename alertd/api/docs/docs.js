// The search of /docs: shows only the operations, schemas and problem types that contain all words. The page is complete without it.
const field = document.getElementById('find')
const result = document.getElementById('found')
const sections = [...document.querySelectorAll('[data-section]')]
const main = document.getElementById('content')
const start = document.getElementById('start')
const names = {
  operation: ['operation', 'operations'], schema: ['schema', 'schemas'], problem: ['problem type', 'problem types'],
}
const entries = [...document.querySelectorAll('[data-entry]')].map(element => ({ element, kind: element.dataset.entry, text: '' }))

// Returns the text to search: titles, paths, descriptions and the names of members, without the examples.
const textOf = ({ element, kind }) => {
  const parts = kind === 'problem' ? [element] : element.querySelectorAll(':scope > h3, :scope > p, :scope > .prose, :scope > .members dt')
  const group = kind === 'operation' ? element.closest('[data-section]').querySelector('h2').textContent : ''
  return [element.id, group, ...[...parts].map(each => each.textContent)].join(' ').toLowerCase()
}

const sentence = (counts, query) => {
  const parts = Object.keys(names).filter(kind => counts[kind]).map(kind => `${counts[kind]} ${names[kind][counts[kind] === 1 ? 0 : 1]}`)
  if (!parts.length) return `Nothing found for “${query}”. Try fewer or other words.`
  return `${parts.join(', ').replace(/, ([^,]*)$/, ' and $1')} for “${query}”.`
}

const filter = () => {
  const query = field.value.trim()
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  const counts = {}
  for (const entry of entries) {
    entry.text ||= textOf(entry)
    const fits = words.every(word => entry.text.includes(word))
    entry.element.hidden = !fits
    if (fits) counts[entry.kind] = (counts[entry.kind] || 0) + 1
  }
  for (const section of sections) {
    section.hidden = words.length > 0 && !section.querySelector('[data-entry]:not([hidden])')
  }
  if (start) start.hidden = words.length > 0
  main.classList.toggle('searched', words.length > 0)
  if (words.length && main.getBoundingClientRect().top < 0) main.scrollIntoView()
  result.textContent = words.length ? sentence(counts, query) : ''
}

const clear = () => {
  field.value = ''
  filter()
}

field.addEventListener('input', filter)
field.addEventListener('keydown', event => {
  if (event.key === 'Escape') clear()
  if (event.key === 'Enter') document.querySelector('[data-entry]:not([hidden]) a')?.focus()
})
document.addEventListener('keydown', event => {
  const typing = event.target.closest?.('input, textarea, select, [contenteditable]')
  if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return
  event.preventDefault()
  field.focus()
  field.select()
})
// A link to something that the search hides shows everything again.
addEventListener('hashchange', () => {
  const target = document.getElementById(location.hash.slice(1))
  if (!target?.closest('[hidden]')) return
  clear()
  target.scrollIntoView()
})
document.getElementById('search').hidden = false
if (field.value) filter() // the browser kept it
