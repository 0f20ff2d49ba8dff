// The pages before the console: what was typed as a password can be looked at.

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-reveal]');
  if (!button) return;
  const field = button.form.elements.password;
  const shown = field.type === 'password';
  field.type = shown ? 'text' : 'password';
  button.setAttribute('aria-pressed', String(shown));
  button.textContent = shown ? 'Hide the password' : 'Show the password';
  field.focus();
});
