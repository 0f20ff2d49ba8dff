// Search everywhere: `/` or Ctrl-K, arrows, Enter.

const dialog = document.getElementById('search');
const input = dialog?.querySelector('input');
const found = document.getElementById('found');
let asked;

async function look() {
  asked?.abort();
  asked = new AbortController();
  try {
    const answer = await fetch(`/admin/search?q=${encodeURIComponent(input.value)}`, { signal: asked.signal });
    if (answer.redirected) return location.assign(`/admin/login?to=${encodeURIComponent(location.pathname + location.search)}`);
    if (answer.ok) found.innerHTML = await answer.text();
    pick(0);
  } catch {
    // Another letter was typed, or the node is away: the next letter asks again.
  }
}

function pick(at) {
  const links = [...found.querySelectorAll('a')];
  const index = Math.min(Math.max(at, 0), links.length - 1);
  links.forEach((link, i) => link.setAttribute('aria-selected', String(i === index)));
  input.setAttribute('aria-activedescendant', links[index]?.id ?? '');
  links[index]?.scrollIntoView({ block: 'nearest' });
}

if (dialog) {
  document.addEventListener('keydown', (event) => {
    const writing = event.target.closest?.('input, textarea, select, [contenteditable]');
    if ((event.key === '/' && !writing) || (event.key === 'k' && (event.ctrlKey || event.metaKey))) {
      event.preventDefault();
      if (!dialog.open) dialog.showModal();
      input.select();
    }
  });
  dialog.addEventListener('toggle', () => dialog.open && look());
  input.addEventListener('input', look);
  input.addEventListener('keydown', (event) => {
    const links = [...found.querySelectorAll('a')];
    const now = links.findIndex((link) => link.getAttribute('aria-selected') === 'true');
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      pick(now + (event.key === 'ArrowDown' ? 1 : -1));
    } else if (event.key === 'Enter') {
      event.preventDefault();
      links[Math.max(now, 0)]?.click();
    } else if (event.key === 'Escape') {
      dialog.close(); // at once: a browser would only empty the field
    }
  });
}
