"""The console: one static page at `/`, for the operator who has a browser and an incident.

The page and its files hold no secret and need no token; what they show they ask of the API, which
does. They obey every other rule of the port (`Access`), since a page of another site that could
frame or read this one would be half way to the kill button.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from aiohttp import web
from multidict import CIMultiDict

from proxy.control.access import READING, Access
from proxy.control.problem import Problem

PAGE = "/"
FILES = "/console/"

# Whatever a tool or an agent managed to get into a name, a reason or a path: nothing but our own
# files runs or is loaded, nothing is sent elsewhere, and text cannot become markup even by a
# mistake of ours (`require-trusted-types-for`).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

_FOLDER = Path(__file__).with_name("static")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StaticFile(NamedTuple):
    """The bytes of one file and what they are."""

    body: bytes
    media_type: str


def console_files(folder: Path = _FOLDER) -> dict[str, StaticFile]:
    """Every file of the console by the path it is served at; the index is the page.

    Read once: requests are looked up in this closed table and never reach the file system, so no
    path in a request can name another file.
    """
    files: dict[str, StaticFile] = {}
    for path in sorted(folder.iterdir()):
        media_type = _TYPES.get(path.suffix)
        if media_type is not None:
            served_at = PAGE if path.name == "index.html" else FILES + path.name
            files[served_at] = StaticFile(path.read_bytes(), media_type)
    if PAGE not in files:
        raise FileNotFoundError(f"the console's page is missing in {folder}")
    return files


def mount_console(app: web.Application, access: Access) -> None:
    """Serve the console on the application of the control API.

    Its paths are routes like others, so that a wrong method is answered and audited like others.
    Reading them is let past the API's edge by a middleware in front of it.
    """
    files = console_files()

    async def serve(request: web.Request) -> web.Response:
        file = files[request.path]
        return web.Response(
            body=file.body, content_type=file.media_type, charset="utf-8", headers=HEADERS
        )

    @web.middleware
    async def without_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_ours = request.method in READING and request.path in files
        if is_ours and _may_load(access, request):
            return await serve(request)
        return await handler(request)  # the edge judges again, and tells what was wrong

    for path in files:
        app.router.add_get(path, serve)
    app.middlewares.insert(0, without_token)


def _may_load(access: Access, request: web.Request) -> bool:
    """Every rule of the port but the token: it is judged last, so a verdict of 401 means that all
    others were kept. The token is not even looked at, lest the page tell whether one is right."""
    headers = CIMultiDict(request.headers)
    headers.popall("Authorization", None)
    verdict = access.judge(request.raw_path, headers)
    return not isinstance(verdict, Problem) or verdict.status == 401
