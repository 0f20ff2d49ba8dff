// Where the secure page is, as the node says.

const secure = document.querySelector('#secure');
const answer = await fetch('/v1/lan').catch(() => null);
if (answer?.ok) {
  const { url } = await answer.json();
  secure.href = url;
  secure.textContent = url;
} else {
  secure.hidden = true;
  document.querySelector('#absent').hidden = false;
}
