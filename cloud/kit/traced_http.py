"""A span for each HTTP request, as far as requests are traced."""

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.kit import tracing

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Traced:
    """Goes on with the caller's trace; without one every change begins one, and some reads do.

    The span has method, route and status: no query, no address, no header, so nothing personal.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not tracing.is_on():
            await self._app(scope, receive, send)
            return
        method, told = scope["method"], _told(scope)
        if told is None and method in _READS and not tracing.by_chance():
            await self._app(scope, receive, send)
            return
        attributes = {"http.request.method": method}
        with tracing.span(method, parent=told, kind="server", attributes=attributes) as span:

            async def send_noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set("http.response.status_code", status)
                    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        span.fail(f"HTTP {status}")
                await send(message)

            try:
                await self._app(scope, receive, send_noting)
            finally:
                route = _route(scope)
                if route is not None:
                    span.rename(f"{method} {route}")
                    span.set("http.route", route)


def _route(scope: Scope) -> str | None:
    """Return the route's template, with the prefix of the router it came from."""
    template = getattr(scope.get("route"), "path_format", None)
    if not isinstance(template, str):
        return None
    asked = template.format(**scope.get("path_params", {}))
    prefix = scope["path"].removesuffix(asked)
    return template if prefix == scope["path"] else f"{prefix}{template}"


def _told(scope: Scope) -> str | None:
    """Return the caller's trace context, if it is one."""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            told = str(value, "latin-1")
            return told if tracing.is_traceparent(told) else None
    return None
