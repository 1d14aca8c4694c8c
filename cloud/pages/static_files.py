"""Static files under an address that changes with their content, so that browsers may keep them."""

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
NOSNIFF = {"X-Content-Type-Options": "nosniff"}


@cache
def version() -> str:
    """Short hash of every static file; computed once in a process."""
    digest = hashlib.sha256()
    for path in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        digest.update(path.relative_to(STATIC).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def asset(name: str) -> str:
    """Address of a static file, e.g. `/static/3f2a…/app.css`."""
    return f"/static/{version()}/{name}"


class VersionedFiles(StaticFiles):
    """Serves `/static/{version}/…`; modules import each other relatively and so keep the version.

    Under the present version an answer may be kept for ever; under another one it is the present
    file still, to be asked for again next time.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with the file below the first folder of the path."""
        asked, _, name = path.partition("/")
        response = await super().get_response(name, scope)
        current = asked == version()
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if current else "no-cache"
        )
        response.headers.update(NOSNIFF)
        return response
