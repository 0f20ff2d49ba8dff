// The API's description, to be read and tried (Swagger UI), with the login's own proof that this page makes the calls.

const csrf = document.querySelector('meta[name=csrf]')?.content ?? '';
const root = document.documentElement;
const dark = matchMedia('(prefers-color-scheme: dark)');

// Swagger UI's dark colours hang on this class.
const paint = () => root.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', paint);
paint();

if (window.SwaggerUIBundle) {
  window.SwaggerUIBundle({
    url: '/admin/api/v1/openapi.json',
    dom_id: '#explorer',
    deepLinking: true,
    docExpansion: 'list',
    defaultModelsExpandDepth: 0,
    filter: true,
    validatorUrl: null, // nothing is sent elsewhere
    withCredentials: true,
    requestInterceptor: (request) => {
      request.headers['Chappe-Csrf'] = csrf;
      return request;
    },
  });
} else {
  document.querySelector('#explorer').textContent = 'The explorer could not be loaded from this node. Load the page again.';
}
