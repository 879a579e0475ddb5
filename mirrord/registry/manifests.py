"""Manifests over the distribution API: HEAD, GET, PUT, DELETE.

Source: distribution-spec v1.1.1 "Pulling manifests", "Pushing manifests", "Content management" (end-3, 7, 9).
"""

from __future__ import annotations

from contextlib import suppress

from mirrord.errors import (
    ContentMismatchError,
    DeniedError,
    InvalidDigestError,
    InvalidManifestError,
    NotFoundError,
    RegistryError,
    quote,
)
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import MAX_MANIFEST_SIZE, AnyManifest, parse_manifest
from mirrord.oci.mediatype import ACCEPT, essence
from mirrord.oci.reference import Tag
from mirrord.ports.events import IntegrityFailed
from mirrord.registry import scopes
from mirrord.registry.call import Answer, Call, count_of
from mirrord.registry.http import RegistryHttp

_ACCEPT = {"Accept": ", ".join(ACCEPT)}
_HEAD_OK = frozenset({200, 400, 403, 404, 405})
_PUT_OK = frozenset({200, 201, 202, 204})
_DELETED = frozenset({200, 202, 204, 404})


async def head_manifest(
    http: RegistryHttp, path: str, ref: Tag | Digest, *, tells_digest: bool = True
) -> Descriptor | None:
    """Return what a registry holds under ``ref``, without fetching it where it tells the digest; None: nothing.

    Registries that answer HEAD with another error (405 on old ones, 403 for a missing tag on some) are asked by GET,
    whose answer is believed. So are those of which it is known that their answers do not name digests
    (``tells_digest`` False): one request instead of two.
    """
    if not tells_digest and isinstance(ref, Tag):
        return await _descriptor(http, path, ref)
    call = Call(
        method="HEAD",
        target=_target(path, ref),
        what=f"look up {http.host}/{path}{_separator(ref)}{ref}",
        scopes=scopes.pull(path),
        headers=_ACCEPT,
        ok=_HEAD_OK,
        metered=True,
    )
    answer = await http.request(call)
    if answer.status == 404:  # noqa: PLR2004 - Not Found
        return None
    if answer.status == 200 and not _is_page(answer):  # noqa: PLR2004 - OK
        digest = ref if isinstance(ref, Digest) else _header_digest(answer)
        if digest is not None:
            return Descriptor(
                media_type=essence(answer.headers.get("content-type", "")),
                digest=digest,
                size=count_of(answer.headers.get("content-length", "")) or 0,
            )
    return await _descriptor(http, path, ref)


async def _descriptor(http: RegistryHttp, path: str, ref: Tag | Digest) -> Descriptor | None:
    try:
        return (await get_manifest(http, path, ref)).descriptor
    except NotFoundError:
        return None


async def get_manifest(http: RegistryHttp, path: str, ref: Tag | Digest) -> AnyManifest:
    """Return a manifest, its bytes checked against the digest asked for, or against the answer's digest header.

    Where fetching counts against a quota, one that was fetched before by digest is not fetched again.

    Raises:
        NotFoundError: there is none.
        ContentMismatchError: the bytes have another digest.
        InvalidManifestError: the bytes are no manifest that mirrord copies.
        QuotaExhaustedError: the quota of pulls is used up, or what is left is reserved.
    """
    if http.metering is not None and isinstance(ref, Digest):
        return await http.metering.manifests.get(path, ref, lambda: _fetch_manifest(http, path, ref))
    return await _fetch_manifest(http, path, ref)


async def _fetch_manifest(http: RegistryHttp, path: str, ref: Tag | Digest) -> AnyManifest:
    name = f"{http.host}/{path}{_separator(ref)}{ref}"
    call = Call(
        method="GET",
        target=_target(path, ref),
        what=f"fetch the manifest {name}",
        scopes=scopes.pull(path),
        headers=_ACCEPT,
        limit=MAX_MANIFEST_SIZE,
        too_large_code="MANIFEST_TOO_LARGE",
        metered=True,
    )
    answer = await http.request(call)
    if isinstance(ref, Digest):
        expected, code = ref, "DIGEST_MISMATCH"
    else:
        expected, code = _header_digest(answer) or Digest.of(answer.body), "DIGEST_HEADER_MISMATCH"
    actual = Digest.of(answer.body, expected.algorithm)
    if actual != expected and _is_page(answer):
        raise _page_instead(name, answer)
    if actual != expected:
        http.events.emit(IntegrityFailed(host=http.host, reason="digest"))
        raise ContentMismatchError(
            f"the manifest {name} should have the digest {expected}, but its bytes have {actual}",
            code=code,
            host=http.host,
            method="GET",
            status=answer.status,
        )
    content_type = essence(answer.headers.get("content-type", ""))
    try:
        return parse_manifest(
            answer.body, media_type=_believable(content_type), digest=expected, what=f"the manifest {name}"
        )
    except InvalidManifestError as exc:
        if exc.code == "MANIFEST_NOT_JSON" and _is_page(answer):
            raise _page_instead(name, answer) from exc
        raise


async def put_manifest(http: RegistryHttp, path: str, manifest: AnyManifest, tag: Tag | None) -> None:
    """Put a manifest's bytes, unchanged, under ``tag`` or under its digest.

    An immutable tag that points to this very manifest already is a success: ECR refuses to put it even then, and the
    answer to an earlier put may have been lost.

    Raises:
        MissingContentError: the registry lacks something that the manifest names.
        ContentMismatchError: the registry says that it stored another digest (TARGET_DIGEST_CHANGED).
    """
    digest = manifest.descriptor.digest
    ref = tag or digest
    name = f"{http.host}/{path}{_separator(ref)}{ref}"
    call = Call(
        method="PUT",
        target=_target(path, ref),
        what=f"put the manifest {name}",
        scopes=scopes.push(path),
        headers={"Content-Type": manifest.descriptor.media_type, **_ACCEPT},
        content=manifest.raw,
        ok=_PUT_OK,
    )
    try:
        answer = await http.request(call)
    except DeniedError as exc:
        if tag is not None and exc.code == "TAG_IMMUTABLE" and await _holds(http, path, tag, digest):
            return
        raise
    stored = _header_digest(answer)
    if stored is not None and stored.algorithm == digest.algorithm and stored != digest:
        http.events.emit(IntegrityFailed(host=http.host, reason="digest"))
        raise ContentMismatchError(
            f"{name}: the registry took the manifest {digest}, but says that it stored {stored}",
            code="TARGET_DIGEST_CHANGED",
            remedy="the registry changes manifests; it cannot hold a faithful mirror",
            host=http.host,
        )


async def delete_manifest(http: RegistryHttp, path: str, ref: Tag | Digest) -> None:
    """Delete a tag, or a manifest with all its tags; what is not there counts as deleted.

    Raises:
        UnsupportedError, DeniedError: the registry does not delete, or not like this.
    """
    call = Call(
        method="DELETE",
        target=_target(path, ref),
        what=f"delete {http.host}/{path}{_separator(ref)}{ref}",
        scopes=scopes.delete(path),
        ok=_DELETED,
    )
    await http.request(call)


async def _holds(http: RegistryHttp, path: str, tag: Tag, digest: Digest) -> bool:
    with suppress(RegistryError):
        held = await head_manifest(http, path, tag)
        return held is not None and held.digest == digest
    return False


def _target(path: str, ref: Tag | Digest) -> str:
    return f"/v2/{path}/manifests/{ref}"


def _separator(ref: Tag | Digest) -> str:
    return "@" if isinstance(ref, Digest) else ":"


def _is_page(answer: Answer) -> bool:
    return "html" in essence(answer.headers.get("content-type", ""))


def _page_instead(name: str, answer: Answer) -> InvalidManifestError:
    content_type = essence(answer.headers.get("content-type", ""))
    return InvalidManifestError(
        f"{name}: expected a JSON manifest, got {quote(content_type, 60)}",
        code="MANIFEST_NOT_JSON",
        remedy="a proxy answers in the registry's place; check the address and the proxy",
    )


def _header_digest(answer: Answer) -> Digest | None:
    try:
        return Digest.parse(answer.headers.get("docker-content-digest", ""))
    except InvalidDigestError:
        return None


def _believable(content_type: str) -> str:
    """Drop types that registries and proxies put on everything; the manifest's own mediaType decides then."""
    return content_type if content_type.startswith("application/vnd.") else ""
