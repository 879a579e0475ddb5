"""The files of the status page: read once, known by name, sent as they are under a strict policy.

They hold no data of the service, only what shows it, so they are open to everyone; what they show comes from the API.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

INDEX = "index.html"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Scripts, styles and icons come from here and nowhere else, nothing stands inline, no text becomes markup, and the
# page talks to no other place: a name that a registry made up can do nothing but be shown.
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
CONTENT_SECURITY_POLICY = "; ".join(f"{directive} {value}" for directive, value in _POLICY.items())

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # Asked for each time, answered with 304: after an upgrade no page is a mixture of two versions.
        "Cache-Control": "no-cache",
    }
)
"""What every file is sent with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """A file of the page. ``etag`` is quoted, as it stands in the header."""

    name: str
    content: bytes
    content_type: str
    etag: str


def load_page_files() -> Mapping[str, PageFile]:
    """Return the files of the page by name; nothing else is ever served."""
    entries = [entry for entry in files("mirrord.web").joinpath("page").iterdir() if _ending(entry.name) in _TYPES]
    return MappingProxyType({entry.name: _page_file(entry.name, entry.read_bytes()) for entry in entries})


def _page_file(name: str, content: bytes) -> PageFile:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return PageFile(name=name, content=content, content_type=_TYPES[_ending(name)], etag=etag)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix


def page_routes(page: Mapping[str, PageFile] | None = None) -> Sequence[Route]:
    """Return the routes ``/`` and ``/static/{name}`` for GET and HEAD.

    Ranges are not served, and a name that is not known is 404 without a look at any disk.

    Args:
        page: the files, as `load_page_files` returns them; None: read them now.
    """
    known = load_page_files() if page is None else page

    async def index(request: Request) -> Response:
        return _answer(request, known[INDEX])

    async def static(request: Request) -> Response:
        file = known.get(request.path_params["name"])
        if file is None or file.name == INDEX:
            return Response("not found\n", status_code=404, media_type="text/plain", headers=dict(HEADERS))
        return _answer(request, file)

    return (
        Route("/", index, methods=["GET"], name="page", include_in_schema=False),
        Route("/static/{name}", static, methods=["GET"], name="page-static", include_in_schema=False),
    )


def _answer(request: Request, file: PageFile) -> Response:
    headers = {**HEADERS, "ETag": file.etag}
    if _is_known(request.headers.get("if-none-match", ""), file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers={**headers, "Content-Type": file.content_type})


def _is_known(condition: str, etag: str) -> bool:
    """Whether an If-None-Match names the tag; weak comparison (RFC 9110, 13.1.2), for a proxy may weaken it."""
    tags = (tag.strip().removeprefix("W/") for tag in condition.split(","))
    return any(tag in {etag, "*"} for tag in tags)
