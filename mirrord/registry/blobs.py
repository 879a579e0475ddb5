"""Blobs over the distribution API: HEAD, and GET with Range.

Source: distribution-spec v1.1.1 "Pulling blobs" (end-2); RFC 9110 section 14 for ranges.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import httpx2

from mirrord.errors import ContentMismatchError, NotFoundError, ProtocolViolationError, UnavailableError
from mirrord.oci.descriptor import Descriptor
from mirrord.registry import scopes
from mirrord.registry.call import Call, count_of
from mirrord.registry.http import RegistryHttp
from mirrord.registry.links import content_range
from mirrord.registry.origin import Door

_PARTIAL = 206
_MOST_URLS = 8
_HEAD_OK = frozenset({200, 404})
_GET_OK = frozenset({200, _PARTIAL})


async def has_blob(http: RegistryHttp, path: str, blob: Descriptor, *, held: bool = False) -> bool:
    """Say whether a repository holds a blob of this digest and, where the registry tells it, of this size.

    ``held``: the caller holds a place at the registry; another one might never come.
    """
    call = Call(
        method="HEAD",
        target=f"/v2/{path}/blobs/{blob.digest}",
        what=f"look up the blob {http.host}/{path}@{blob.digest}",
        scopes=scopes.pull(path),
        ok=_HEAD_OK,
    )
    answer = await http.request(call, held=held)
    length = count_of(answer.headers.get("content-length", ""))
    return answer.status == 200 and length in (None, blob.size)  # noqa: PLR2004 - OK


@asynccontextmanager
async def open_blob(
    http: RegistryHttp, path: str, blob: Descriptor, offset: int, longest_read: int | None = None
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a blob from ``offset`` on, under a place held by the caller.

    It is one exchange, or where more than ``longest_read`` bytes are wanted one after the other, each for a part.

    Raises:
        NotFoundError: there is no such blob.
        ContentMismatchError: the answer's length is not that of the descriptor (SIZE_MISMATCH).
        UnavailableError: the body broke off; asking again from where it broke may help.
    """
    if longest_read is None or blob.size - offset <= longest_read:
        async with _open_part(http, path, blob, offset, None) as pieces:
            yield pieces
        return
    async with _open_part(http, path, blob, offset, offset + longest_read) as first:
        pieces = _parts(http, path, blob, first, offset=offset, longest=longest_read)
        try:
            yield pieces
        finally:
            await pieces.aclose()


async def _parts(
    http: RegistryHttp, path: str, blob: Descriptor, first: AsyncIterator[bytes], *, offset: int, longest: int
) -> AsyncGenerator[bytes, None]:
    """Yield the first part, which is open, and then open the others; a registry may answer a part with the whole."""
    position = offset
    async for piece in first:
        position += len(piece)
        yield piece
    while position < blob.size:
        async with _open_part(http, path, blob, position, min(position + longest, blob.size)) as pieces:
            async for piece in pieces:
                position += len(piece)
                yield piece


@asynccontextmanager
async def _open_part(
    http: RegistryHttp, path: str, blob: Descriptor, offset: int, end: int | None
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open one exchange for the bytes from ``offset`` to ``end``, or to the end of the blob."""
    async with AsyncExitStack() as stack:
        response = await _open(http, _calls(http, path, blob, offset, end), stack)
        skip = 0
        if response.status_code != _PARTIAL:
            end = None  # the whole blob comes, whatever was asked for
        if (offset or end is not None) and not _starts_at(response, offset):
            if response.status_code == _PARTIAL:
                # The part begins elsewhere: nothing of it can be trusted, so ask for the whole.
                await response.aclose()
                end = None
                response = await _open(http, _calls(http, path, blob, 0, None), stack)
                if response.status_code == _PARTIAL:
                    raise ProtocolViolationError(
                        f"{http.host} answers the blob {blob.digest} in parts that nobody asked for", host=http.host
                    )
            skip = offset
        until = blob.size if end is None else end
        _check_length(http, blob, response, offset - skip, until)
        yield _pieces(http, blob, response, offset=offset, skip=skip, until=until)


async def _open(http: RegistryHttp, calls: Sequence[Call], stack: AsyncExitStack) -> httpx2.Response:
    """Open the first of ``calls`` that does not say "not found"."""
    for call in calls[:-1]:
        try:
            return await stack.enter_async_context(http.open(call))
        except NotFoundError:
            continue
    return await stack.enter_async_context(http.open(calls[-1]))


def _calls(http: RegistryHttp, path: str, blob: Descriptor, offset: int, end: int | None) -> list[Call]:
    """Return the registry's own address of a blob, then the urls of its descriptor (foreign layers have some)."""
    call = Call(
        method="GET",
        target=f"/v2/{path}/blobs/{blob.digest}",
        what=f"fetch the blob {http.host}/{path}@{blob.digest}",
        scopes=scopes.pull(path),
        headers={"Range": f"bytes={offset}-{'' if end is None else end - 1}"} if offset or end is not None else {},
        ok=_GET_OK,
    )
    elsewhere = blob.urls[:_MOST_URLS] if blob.is_foreign else ()
    return [call, *(replace(call, target=url, credential=False, door=Door.DESCRIPTOR_URL) for url in elsewhere)]


def _starts_at(response: httpx2.Response, offset: int) -> bool:
    if response.status_code != _PARTIAL:
        return False
    found = content_range(response.headers.get("content-range", ""))
    return found is not None and found[0] == offset


def _check_length(http: RegistryHttp, blob: Descriptor, response: httpx2.Response, start: int, until: int) -> None:
    if response.headers.get("content-encoding", "identity") not in ("identity", ""):
        raise ProtocolViolationError(
            f"{http.host} sends the blob {blob.digest} compressed, which was not asked for",
            code="CONTENT_ENCODING_UNEXPECTED",
            remedy="switch off compression in the proxy before the registry",
            host=http.host,
        )
    length = count_of(response.headers.get("content-length", ""))
    if length is not None and length != until - start:
        raise _wrong_size(http, blob, start + length + blob.size - until)


async def _pieces(
    http: RegistryHttp, blob: Descriptor, response: httpx2.Response, *, offset: int, skip: int, until: int
) -> AsyncIterator[bytes]:
    """Yield the bytes from ``offset`` to ``until``, having thrown away ``skip`` bytes of a whole answer."""
    position = offset - skip
    try:
        async for piece in response.aiter_raw():
            await http.throttle.bandwidth.take(len(piece))
            start, position = position, position + len(piece)
            if position > until:
                raise _wrong_size(http, blob, position + blob.size - until)
            if position <= offset:
                continue
            yield piece[offset - start :] if start < offset else piece
    except httpx2.TransportError as exc:
        raise UnavailableError(
            f"the blob {blob.digest} broke off at byte {position} of {blob.size}: {exc}", host=http.host, method="GET"
        ) from exc
    if position < until:
        raise UnavailableError(
            f"the blob {blob.digest} ended at byte {position} of {blob.size}", host=http.host, method="GET"
        )


def _wrong_size(http: RegistryHttp, blob: Descriptor, actual: int) -> ContentMismatchError:
    return ContentMismatchError(
        f"{http.host} sends {'at least ' if actual > blob.size else ''}{actual} bytes for the blob {blob.digest}; "
        f"its manifest says {blob.size}",
        code="SIZE_MISMATCH",
        host=http.host,
        method="GET",
    )
