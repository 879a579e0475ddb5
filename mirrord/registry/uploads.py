"""Uploads over the distribution API: mount, one request, or chunks; followed wherever the registry points, as it says.

Source: distribution-spec v1.1.1 "Pushing blobs" (end-4, 5, 6, 11, 13).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import anyio

from mirrord.errors import (
    AddressRefusedError,
    ContentMismatchError,
    ProtocolViolationError,
    RegistryError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)
from mirrord.oci.descriptor import Descriptor
from mirrord.registry import scopes
from mirrord.registry.blobs import has_blob
from mirrord.registry.body import UploadBody
from mirrord.registry.call import Answer, Call
from mirrord.registry.http import RegistryHttp
from mirrord.registry.origin import Door, resolve
from mirrord.registry.providers.base import MIB, Provider
from mirrord.registry.scopes import Scopes

_STARTED = frozenset({202})
_MOUNTED = frozenset({201, 202})
_FINISHED = frozenset({200, 201, 202, 204})
_STORED = frozenset({200, 201, 202, 204})
_CANCEL_TRIES = 4
_STALE = frozenset({400, 404, 416})
_CLOSED = frozenset({400, 404, 409, 416})
_CANCEL_DEADLINE_S = 10
_START_SHIELD_S = 10
_MOST_REFUSED_MOUNTS = 3
_LARGEST_CHUNK = 128 * MIB
_OCTETS = {"Content-Type": "application/octet-stream"}
_UNKNOWN_UPLOAD = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})


@dataclass(slots=True)
class UploadHabits:
    """What was learned about one registry: how it takes uploads, and whether it mounts."""

    chunked: bool
    chunk_size: int
    mounts_refused: int = 0
    may_chunk: bool = True

    @classmethod
    def of(cls, provider: Provider) -> UploadHabits:
        """Return what the provider says beforehand."""
        mounts_refused = 0 if provider.abilities.mount else _MOST_REFUSED_MOUNTS
        abilities = provider.abilities
        return cls(abilities.chunked_only, provider.limits.chunk_size, mounts_refused, not abilities.whole_only)


async def mount_blob(http: RegistryHttp, path: str, blob: Descriptor, origin_path: str, habits: UploadHabits) -> bool:
    """Mount a blob of another repository; False where the registry does not, for whatever reason.

    A registry that refused three times running is not asked again in this process.
    """
    if habits.mounts_refused >= _MOST_REFUSED_MOUNTS:
        return False
    call = Call(
        method="POST",
        target=f"/v2/{path}/blobs/uploads/?mount={blob.digest}&from={origin_path}",
        what=f"mount the blob {blob.digest} from {http.host}/{origin_path} into {path}",
        scopes=scopes.mount(path, origin_path),
        ok=_MOUNTED,
    )
    try:
        answer = await http.request(call)
    except UnavailableError:
        raise
    except RegistryError:
        habits.mounts_refused += 1
        return False
    if answer.status == 201 and (_names(answer, blob) or await has_blob(http, path, blob)):  # noqa: PLR2004 - Created
        habits.mounts_refused = 0
        return True
    habits.mounts_refused += 1
    with suppress(RegistryError):  # a place that cannot be used cannot be given back
        location = _location(http, answer)
        async with http.throttle.place():
            await _cancel(http, path, location)
    return False


def _names(answer: Answer, blob: Descriptor) -> bool:
    """Say whether an answer confirms the very digest; registries that don't are asked whether the blob is there."""
    return answer.headers.get("docker-content-digest") == str(blob.digest)


async def put_blob(
    http: RegistryHttp, path: str, blob: Descriptor, stream: AsyncIterator[bytes], habits: UploadHabits
) -> None:
    """Upload a blob from a stream that can be read once; runs under a place held by the caller.

    Raises:
        RegistryError: the upload failed and was cancelled; ``retryable`` says whether a fresh one may work.
        Exception: what the stream itself raised, after the upload was cancelled.
    """
    body = UploadBody(stream, size=blob.size, bandwidth=http.throttle.bandwidth, clock=http.clock)
    await body.begin()  # a source that has nothing to give leaves no upload behind
    started = await _start(http, path)
    locations = [_location(http, started)]  # the newest comes last: those before it are dead on some registries
    chunked = habits.chunked  # as this upload goes: another may learn better in the meantime
    try:
        if chunked:
            await _send_chunks(http, path, blob, body=body, locations=locations, started=started, habits=habits)
            await _finish(http, path, blob, locations[-1], b"")
        else:
            await _finish(http, path, blob, locations[-1], body)
    except BaseException as exc:
        cause = body.error or exc
        if isinstance(cause, RegistryError) and cause is not body.error:
            if await _is_there_after_all(http, path, blob, body, cause):
                return
            cause = _judge_refusal(cause, habits, chunked=chunked)
        if cause is body.error or not _is_gone(cause):
            await _cancel(http, path, locations[-1])
        if cause is exc:
            raise
        if cause is body.error:
            raise cause  # noqa: B904 - its own cause says what the source did; what that did to the upload is no news
        raise cause from exc


async def try_upload(http: RegistryHttp, path: str) -> None:
    """Begin an upload and cancel it; runs under a place held by the caller.

    Raises:
        RegistryError: the registry opens no upload, or not at a place that could be used.
    """
    await _cancel(http, path, _location(http, await _start(http, path)))


async def _start(http: RegistryHttp, path: str) -> Answer:
    """Open an upload. While the answer is awaited a cancellation waits too, so that the upload can be closed again."""
    call = Call(
        method="POST",
        target=f"/v2/{path}/blobs/uploads/",
        what=f"start an upload to {http.host}/{path}",
        scopes=scopes.push(path),
        ok=_STARTED,
    )
    started: Answer | None = None
    with anyio.CancelScope(shield=True), anyio.move_on_after(_START_SHIELD_S):
        started = await http.request(call, held=True)
    return started or await http.request(call, held=True)


async def _finish(http: RegistryHttp, path: str, blob: Descriptor, location: str, body: UploadBody | bytes) -> None:
    """Close an upload with its digest; sends the whole body where it was not sent in chunks."""
    length = blob.size if isinstance(body, UploadBody) else 0
    call = Call(
        method="PUT",
        target=_with_digest(location, blob),
        what=f"upload the blob {blob.digest} to {http.host}/{path}",
        scopes=scopes.push(path),
        headers={**_OCTETS, "Content-Length": str(length)},
        ok=_FINISHED,
    )
    await (http.send_stream(call, body, blob.size) if isinstance(body, UploadBody) else http.send(call))


async def _send_chunks(
    http: RegistryHttp,
    path: str,
    blob: Descriptor,
    *,
    body: UploadBody,
    locations: list[str],
    started: Answer,
    habits: UploadHabits,
) -> None:
    """Send the body in chunks, each to the newest location; our own count is believed, not the answers' Range."""
    least = started.headers.get("oci-chunk-min-length", "")
    size = max(habits.chunk_size, min(int(least[:18]) if least.isdecimal() else 0, _LARGEST_CHUNK))
    while body.sent < blob.size:
        first = body.sent
        length = min(size, blob.size - first)
        call = Call(
            method="PATCH",
            target=locations[-1],
            what=f"upload bytes {first} to {first + length - 1} of the blob {blob.digest} to {http.host}/{path}",
            scopes=scopes.push(path),
            headers={**_OCTETS, "Content-Length": str(length), "Content-Range": f"{first}-{first + length - 1}"},
            ok=_STORED,
        )
        answer = await http.send_stream(call, body, length)
        if answer.headers.get("location"):
            locations.append(_location(http, answer))


async def _is_there_after_all(
    http: RegistryHttp, path: str, blob: Descriptor, body: UploadBody, cause: RegistryError
) -> bool:
    """Ask whether the blob arrived although the last answer was lost, or told of an upload already closed."""
    lost = isinstance(cause, UnavailableError) or bool(_UNKNOWN_UPLOAD & set(cause.error_codes))
    # ECR may store a blob before the upload is closed, and refuse the closing then, with one code or another.
    refused = cause.status in _CLOSED and "DIGEST_INVALID" not in cause.error_codes
    if not (lost or refused) or body.sent < blob.size:
        return False
    try:
        return await has_blob(http, path, blob, held=True)
    except RegistryError:
        return False


def _judge_refusal(cause: RegistryError, habits: UploadHabits, *, chunked: bool) -> RegistryError:
    """Say whether a fresh upload may work: with a new token, in chunks if this had none, or as the session was lost."""
    if isinstance(cause, UnauthorizedError) and cause.status is not None:
        cause.retryable = True  # the token ended during the upload; the next one starts with a new token
    elif not chunked and (
        cause.status == 416  # noqa: PLR2004 - a whole body has no wrong offset: it is too large for the registry
        or (isinstance(cause, UnsupportedError) and cause.status in (405, 411, 415, 501))
    ):
        if not habits.may_chunk:
            return cause
        habits.chunked = True
        cause.retryable = True
    elif _UNKNOWN_UPLOAD & set(cause.error_codes) or cause.status in (404, 416):
        cause.retryable = True  # the session is gone (a restart, a lost answer): open a new one
    elif "DIGEST_INVALID" in cause.error_codes:
        return ContentMismatchError(
            f"{cause.message}: the bytes were changed on the way to the registry",
            host=cause.host,
            status=cause.status,
            error_codes=cause.error_codes,
            retryable=True,
        )
    return cause


def _is_gone(cause: BaseException) -> bool:
    """A session that the registry itself closed needs no cancelling."""
    return isinstance(cause, ContentMismatchError) or (
        isinstance(cause, RegistryError) and bool(_UNKNOWN_UPLOAD & set(cause.error_codes))
    )


async def _cancel(http: RegistryHttp, path: str, location: str) -> None:
    """Cancel an upload, also when this task is being cancelled; a registry that won't purges it later by itself.

    distribution knows a session by its state, which tells how much it holds: after a body that broke off, the state
    of the beginning is refused, and the newest is told by the session's status.
    """
    access = scopes.push(path)
    with anyio.CancelScope(shield=True), anyio.move_on_after(_CANCEL_DEADLINE_S), suppress(RegistryError):
        for _ in range(_CANCEL_TRIES):
            answer = await http.send(_about(http, path, location, method="DELETE", access=access))
            if answer.status == 401 and access == scopes.push(path):  # noqa: PLR2004 - Unauthorized
                access = scopes.delete(path)  # what distribution wants; other token services refuse to be asked for it
                continue
            if answer.status not in _STALE:
                return
            location = _location(http, await http.send(_about(http, path, location, method="GET", access=access)))


def _about(http: RegistryHttp, path: str, location: str, *, method: str, access: Scopes) -> Call:
    what = f"cancel an upload to {http.host}/{path}"
    return Call(method=method, target=location, what=what, scopes=access, ok=range(200, 500))


def _location(http: RegistryHttp, answer: Answer) -> str:
    location = answer.headers.get("location", "")
    if not location:
        raise ProtocolViolationError(
            f"{http.host} opened an upload without saying where (no Location)",
            code="UPLOAD_LOCATION_MISSING",
            host=http.host,
            status=answer.status,
        )
    try:
        return resolve(answer.url, location)
    except AddressRefusedError as exc:
        raise AddressRefusedError(
            f"{http.host} wants an upload at a place that is not used: {exc.message}",
            code=Door.UPLOAD_LOCATION.value,
            host=http.host,
            status=answer.status,
        ) from exc


def _with_digest(location: str, blob: Descriptor) -> str:
    """Append the digest; everything else of the location stays as the registry wrote it."""
    return f"{location}{'&' if '?' in location else '?'}digest={blob.digest}"
