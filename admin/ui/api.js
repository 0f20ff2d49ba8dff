// Calls of the API, with the login's own proof that a page of this console makes them.

const csrf = () => document.querySelector('meta[name=csrf]')?.content ?? '';

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<{ok: boolean, status: number, answer: any}>} a problem document where it was refused
 */
export async function call(method, path, body) {
  const headers = { Accept: 'application/json', 'Chappe-Csrf': csrf() };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    return { ok: false, status: 0, answer: { detail: 'This node cannot be reached. Nothing is known of what you asked for: look before you try again.' } };
  }
  if (response.status === 401 && location.pathname !== '/admin/login') {
    location.assign(`/admin/login?to=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = { detail: response.ok ? undefined : `The node answered ${response.status}.` };
  }
  return { ok: response.ok, status: response.status, answer };
}

/** Says for some seconds what was done, or why not. */
export function tell(words, bad = false) {
  const line = document.createElement('p');
  line.textContent = words;
  if (bad) line.className = 'bad';
  document.getElementById('toasts')?.append(line);
  setTimeout(() => line.remove(), bad ? 10_000 : 4_000);
}
