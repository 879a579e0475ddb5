"""Upload sessions: begin, mount, append, ask, close, cancel.

Source: distribution-spec v1.1.1 spec.md "Pushing blobs"; distribution's ``_state`` in Location: PATCH, PUT and DELETE
need the newest one, a status GET takes any that was given out.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from mirrord.demo.registry.asgi import Answer, OciError, Request
from mirrord.demo.registry.names import digest_invalid, parse_digest
from mirrord.demo.registry.routes import Route
from mirrord.demo.registry.store import Store
from mirrord.demo.registry.upload import Upload
from mirrord.errors import InvalidDigestError
from mirrord.oci.digest import Digest

_CONTENT_RANGE = re.compile(r"([0-9]+)-([0-9]+)")


async def post_upload(store: Store, request: Request, route: Route) -> Answer:
    """Mount a blob, take a whole blob, or begin a session: what the query asks for, as far as it can be had."""
    mounted = _mount(store, request, route)
    if mounted is not None:
        return _created(route.repository, mounted)
    digest_text = request.query("digest")
    digest = parse_digest(digest_text) if digest_text is not None else None
    upload = store.open_upload(route.repository)
    if digest is None:
        return _progress(202, upload)
    await _append(upload, request)
    return _commit(store, upload, digest)


async def get_upload(store: Store, request: Request, route: Route) -> Answer:
    """Answer how much of the content has been stored."""
    return _progress(204, _session(store, request, route, any_state=True))


async def patch_upload(store: Store, request: Request, route: Route) -> Answer:
    """Append a chunk, or a stream of any length, to the session."""
    upload = _session(store, request, route)
    content_type = request.header("Content-Type")
    if content_type not in {None, "application/octet-stream"}:
        raise OciError(500, "UNKNOWN", "unknown error", detail={"Content-Type": content_type})
    _check_content_range(request, upload)
    await _append(upload, request)
    return _progress(202, upload)


async def put_upload(store: Store, request: Request, route: Route) -> Answer:
    """Append the body, if any, and close the session: the content becomes a blob if it has the digest."""
    upload = _session(store, request, route)
    digest = parse_digest(request.query("digest"))
    await _append(upload, request)
    return _commit(store, upload, digest)


async def delete_upload(store: Store, request: Request, route: Route) -> Answer:
    """Cancel the session."""
    upload = _session(store, request, route)
    store.cancel_upload(upload)
    return Answer(status=204, headers=(("Docker-Upload-UUID", upload.id),))


def _mount(store: Store, request: Request, route: Route) -> Digest | None:
    """Mount what the query names; None means that an ordinary session must do, whatever the reason."""
    try:
        digest = Digest.parse(request.query("mount") or "")
    except InvalidDigestError:
        return None
    return digest if store.mount(route.repository, request.query("from") or "", digest) else None


def _session(store: Store, request: Request, route: Route, *, any_state: bool = False) -> Upload:
    upload = store.upload(route.repository, route.reference)
    if upload is None:
        raise OciError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    state = request.query("_state") or ""
    if state != upload.state and not (any_state and upload.issued(state)):
        raise OciError(404, "BLOB_UPLOAD_INVALID", "blob upload invalid")
    return upload


def _check_content_range(request: Request, upload: Upload) -> None:
    text = request.header("Content-Range")
    if text is None:
        return
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None or int(match[1]) != upload.offset or int(match[2]) < int(match[1]):
        headers = _progress(416, upload).headers
        raise OciError(416, "RANGE_INVALID", "invalid content range", detail={"Content-Range": text}, headers=headers)
    length = request.header("Content-Length")
    if length is not None and int(length) != int(match[2]) - int(match[1]) + 1:
        raise OciError(400, "SIZE_INVALID", "provided length did not match content length")


async def _append(upload: Upload, request: Request) -> None:
    """Store the body as it comes; what arrived before a broken connection stays, as on a disk."""
    async for piece in request.pieces():
        upload.append(piece)


def _commit(store: Store, upload: Upload, digest: Digest) -> Answer:
    if not store.commit_upload(upload, digest):
        raise digest_invalid(digest)
    return _created(upload.repository, digest)


def _progress(status: int, upload: Upload) -> Answer:
    """Answer with the place of the session. As in distribution, nothing and one byte stored both read ``0-0``."""
    location = f"/v2/{upload.repository}/blobs/uploads/{upload.id}?_state={quote(upload.state, safe='')}"
    return Answer(
        status=status,
        headers=(
            ("Location", location),
            ("Range", f"0-{max(0, upload.offset - 1)}"),
            ("Docker-Upload-UUID", upload.id),
        ),
    )


def _created(repository: str, digest: Digest) -> Answer:
    location = f"/v2/{repository}/blobs/{digest}"
    return Answer(status=201, headers=(("Location", location), ("Docker-Content-Digest", str(digest))))
