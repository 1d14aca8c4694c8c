/* global SwaggerUIBundle */
const api = document.getElementById("api");
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);

dark.addEventListener("change", follow);
follow();
SwaggerUIBundle({
  url: api.dataset.openapi,
  domNode: api,
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    const csrf = document.querySelector('meta[name="csrf-token"]');
    if (csrf) request.headers["X-CSRF-Token"] = csrf.content;
    return request;
  },
});
