"""Manifests: reading with regard to Accept, putting with checks, deleting.

Source: distribution-spec v1.1.1 spec.md "Pulling manifests", "Pushing Manifests", "Deleting Manifests"; distribution's
registry/handlers/manifests.go for Accept and for the limit of 4 MiB.
"""

from __future__ import annotations

from collections.abc import Sequence

from mirrord.demo.registry.asgi import Answer, OciError, Request, json_answer
from mirrord.demo.registry.names import digest_invalid, parse_digest
from mirrord.demo.registry.routes import Route
from mirrord.demo.registry.store import Store, StoredManifest
from mirrord.errors import InvalidDigestError, InvalidManifestError, InvalidReferenceError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index, parse_manifest
from mirrord.oci.mediatype import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, essence
from mirrord.oci.reference import Tag

MAX_MANIFEST_BYTES = 4 * 1024 * 1024


class MissingContentError(OciError):
    """A manifest names content that the repository does not have: one error a digest, as distribution answers."""

    def __init__(self, missing: Sequence[Digest]) -> None:
        super().__init__(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": str(missing[0])})
        self.missing = tuple(missing)

    def answer(self) -> Answer:
        """Return one entry for each missing digest."""
        errors = [{"code": self.code, "message": self.message, "detail": {"digest": str(one)}} for one in self.missing]
        return json_answer({"errors": errors}, status=self.status)


async def get_manifest(store: Store, request: Request, route: Route) -> Answer:
    """Answer with a manifest or index by tag or digest, if the client accepts its type."""
    reference = parse_reference(route)
    found = store.manifest(route.repository, reference)
    if found is None:
        raise unknown_manifest(route)
    accepted = {essence(part) for value in request.headers("Accept") for part in value.split(",")}
    if found.media_type in {OCI_MANIFEST, OCI_INDEX} and found.media_type not in accepted:
        raise unknown_manifest(route, "OCI manifest found, but accept header does not support OCI manifests")
    if found.media_type == DOCKER_LIST and isinstance(reference, str) and DOCKER_LIST not in accepted:
        found = _default_child(store, route, found)
    etag = f'"{found.digest}"'
    if etag in {value.strip() for value in (request.header("If-None-Match") or "").split(",")}:
        return Answer(status=304, headers=(("Etag", etag),))
    headers = (("Content-Type", found.media_type), ("Docker-Content-Digest", str(found.digest)), ("Etag", etag))
    return Answer(status=200, headers=headers, body=found.raw)


async def put_manifest(store: Store, request: Request, route: Route) -> Answer:
    """Store a manifest under a tag or its digest, once everything that it names is there; its subject need not be."""
    reference = parse_reference(route)
    media_type = essence(request.header("Content-Type") or "")
    raw = await _body(request)
    if not media_type:
        raise _invalid_manifest("no Content-Type")
    named = reference if isinstance(reference, Digest) else None
    digest = Digest.of(raw, named.algorithm if named else "sha256")
    if named is not None and named != digest:
        raise digest_invalid(named)
    try:
        view = parse_manifest(raw, media_type=media_type, digest=digest)
    except (InvalidManifestError, InvalidDigestError) as exc:
        raise _invalid_manifest(exc.message) from None
    _check_content(store, route, view)
    tags = [reference] if isinstance(reference, str) else []
    store.add_manifest(route.repository, raw, media_type, tags=tags, digest=digest)
    headers = [("Location", f"/v2/{route.repository}/manifests/{digest}"), ("Docker-Content-Digest", str(digest))]
    if view.subject is not None:
        headers.append(("OCI-Subject", str(view.subject.digest)))
    return Answer(status=201, headers=tuple(headers))


async def delete_manifest(store: Store, _request: Request, route: Route) -> Answer:
    """Delete a tag alone, or a manifest by its digest together with all tags that name it."""
    reference = parse_reference(route)
    if isinstance(reference, str):
        deleted = store.untag(route.repository, reference)
    else:
        deleted = store.remove_manifest(route.repository, reference)
    if not deleted:
        raise unknown_manifest(route)
    return Answer(status=202)


def parse_reference(route: Route) -> str | Digest:
    """Return the digest or the tag (text) that a manifest route names.

    Raises:
        OciError: it is neither.
    """
    if ":" in route.reference:
        return parse_digest(route.reference)
    try:
        return Tag.parse(route.reference).name
    except InvalidReferenceError:
        raise OciError(404, "MANIFEST_UNKNOWN", "no such tag can be", detail={"tag": route.reference}) from None


def unknown_manifest(route: Route, message: str = "manifest unknown") -> OciError:
    """Return the error for a tag or digest that names nothing here."""
    detail = {"name": route.repository, "reference": route.reference}
    return OciError(404, "MANIFEST_UNKNOWN", message, detail=detail)


def _default_child(store: Store, route: Route, found: StoredManifest) -> StoredManifest:
    """Return the linux/amd64 image of a Docker manifest list, which old clients get instead of the list."""
    view = parse_manifest(found.raw, media_type=found.media_type)
    for child in view.children():
        if child.platform and (child.platform.os, child.platform.architecture) == ("linux", "amd64"):
            image = store.manifest(route.repository, child.digest)
            if image is not None:
                return image
    raise unknown_manifest(route)


async def _body(request: Request) -> bytes:
    pieces = []
    size = 0
    async for piece in request.pieces():
        size += len(piece)
        if size > MAX_MANIFEST_BYTES:
            raise _invalid_manifest("http: request body too large")
        pieces.append(piece)
    return b"".join(pieces)


def _check_content(store: Store, route: Route, view: AnyManifest) -> None:
    """Refuse a manifest that names children or blobs which the repository lacks, all of them in one answer."""
    if isinstance(view, Index):
        missing = [item.digest for item in view.children() if store.manifest(route.repository, item.digest) is None]
    else:
        here = store.blobs(route.repository)
        missing = [item.digest for item in view.blobs() if item.digest not in here and not _elsewhere(item)]
    if missing:
        raise MissingContentError(missing)


def _elsewhere(blob: Descriptor) -> bool:
    """Say whether a layer may stay where its urls say."""
    return blob.is_foreign and bool(blob.urls)


def _invalid_manifest(detail: str) -> OciError:
    return OciError(400, "MANIFEST_INVALID", "manifest invalid", detail=detail)
