"""Templates made into answers: every page with the same headers and the same words."""

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from cloud.kit.auth import csrf_token, principal_of
from cloud.pages import view
from cloud.pages.static_files import NOSNIFF, asset

HEADERS = {
    **NOSNIFF,
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
}

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.globals.update(
    asset=asset,
    chart_ranges=view.RANGES,
    **{
        words.__name__: words
        for words in (
            view.age,
            view.capacity,
            view.cell_scale,
            view.cell_spread,
            view.cells,
            view.doing,
            view.is_stale,
            view.level,
            view.notice,
            view.number,
            view.power,
            view.ranges,
            view.protections,
            view.sensors,
            view.soc,
            view.switch,
        )
    },
)


def page(request: Request, template: str, status_code: int = 200, **context: Any) -> HTMLResponse:  # noqa: ANN401 - Jinja takes anything
    """Return a page; its templates know `who` is signed in, None for nobody, and the `csrf` token.

    Call it in a thread: on a public page it asks the database who is signed in.
    """
    who = getattr(request.state, "principal", None) or principal_of(request)
    csrf = "" if who is None else csrf_token(request)
    text = templates.get_template(template).render(who=who, csrf=csrf, **context)
    return HTMLResponse(text, status_code, HEADERS)
