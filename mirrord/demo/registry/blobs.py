"""Blobs: reading them whole or in ranges, and deleting them.

Source: distribution-spec v1.1.1 spec.md "Pulling blobs", "Deleting Blobs"; RFC 9110 section 14 for ranges.
"""

from __future__ import annotations

import re

from mirrord.demo.registry.asgi import Answer, OciError, Request, text_answer
from mirrord.demo.registry.names import parse_digest
from mirrord.demo.registry.routes import Route
from mirrord.demo.registry.store import Store
from mirrord.oci.digest import Digest

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


async def get_blob(store: Store, request: Request, route: Route) -> Answer:
    """Answer with the content of a blob of this repository, or with one range of it."""
    digest = parse_digest(route.reference)
    content = store.blob(route.repository, digest)
    if content is None:
        raise _unknown_blob(digest)
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Docker-Content-Digest", str(digest)),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "max-age=31536000"),
        ("Etag", f'"{digest}"'),
    ]
    wanted = request.header("Range")
    if wanted is None or request.method == "HEAD":
        return Answer(status=200, headers=tuple(headers), body=content)
    return _range_answer(wanted, content, headers)


async def delete_blob(store: Store, _request: Request, route: Route) -> Answer:
    """Take a blob away from this repository; others that link it keep it."""
    digest = parse_digest(route.reference)
    if not store.remove_blob(route.repository, digest):
        raise _unknown_blob(digest)
    return Answer(status=202)


def _range_answer(wanted: str, content: bytes, headers: list[tuple[str, str]]) -> Answer:
    """Answer a range request. Several ranges at once get the whole content, which RFC 9110 allows."""
    if "," in wanted:
        return Answer(status=200, headers=tuple(headers), body=content)
    match = _RANGE.fullmatch(wanted.replace(" ", ""))
    first, last = _bounds(match[1], match[2], len(content)) if match else (0, -1)
    if not first <= last < len(content):
        unsatisfied = ("Content-Range", f"bytes */{len(content)}")
        return text_answer(416, "invalid range: failed to overlap", headers=[unsatisfied])
    placed = ("Content-Range", f"bytes {first}-{last}/{len(content)}")
    return Answer(status=206, headers=(*headers, placed), body=content[first : last + 1])


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """Return the first and last byte meant, both inclusive; the first is after the last where there is none."""
    if not first:
        return (max(0, size - int(last)), size - 1) if last and int(last) else (0, -1)
    return int(first), min(int(last), size - 1) if last else size - 1


def _unknown_blob(digest: Digest) -> OciError:
    return OciError(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": str(digest)})
