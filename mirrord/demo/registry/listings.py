"""Lists: repositories, tags, referrers.

Source: distribution-spec v1.1.1 spec.md "Listing Tags", "Listing Referrers"; distribution's catalog API.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from mirrord.demo.registry.asgi import Answer, OciError, Request, json_answer
from mirrord.demo.registry.names import parse_digest
from mirrord.demo.registry.routes import Route
from mirrord.demo.registry.store import Store, StoredManifest
from mirrord.oci.mediatype import OCI_INDEX

MAX_ENTRIES = 1_000
CATALOG_ENTRIES = 100


async def list_repositories(store: Store, request: Request, _route: Route) -> Answer:
    """Answer with the names of the repositories, a page at a time; more than 1000 at once are refused."""
    n = _page_size(request)
    if n is not None and n > MAX_ENTRIES:
        raise _bad_page_size(str(n))
    page, link = _page(request, store.repositories(), CATALOG_ENTRIES if n is None else n)
    return json_answer({"repositories": page}, headers=link)


async def list_tags(store: Store, request: Request, route: Route) -> Answer:
    """Answer with the tags of a repository, sorted; all of them without ``n``, at most 1000 with it."""
    if not store.knows(route.repository):
        raise unknown_repository(route.repository)
    n = _page_size(request)
    tags = sorted(store.tags(route.repository))
    page, link = _page(request, tags, None if n is None else min(n, MAX_ENTRIES))
    return json_answer({"name": route.repository, "tags": page}, headers=link)


async def list_referrers(store: Store, request: Request, route: Route) -> Answer:
    """Answer with an index of the manifests whose subject is the digest; an unknown one has none."""
    found = store.referrers(route.repository, parse_digest(route.reference))
    wanted = request.query("artifactType")
    headers = []
    if wanted is not None:
        found = [manifest for manifest in found if manifest.artifact_type == wanted]
        headers = [("OCI-Filters-Applied", "artifactType")]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_referrer(manifest) for manifest in found]}
    return json_answer(index, headers=headers, media_type=OCI_INDEX)


def unknown_repository(repository: str) -> OciError:
    """Return the error for a repository that does not exist."""
    return OciError(404, "NAME_UNKNOWN", "repository name not known to registry", detail={"name": repository})


def _referrer(manifest: StoredManifest) -> dict[str, object]:
    entry: dict[str, object] = {
        "mediaType": manifest.media_type,
        "digest": str(manifest.digest),
        "size": len(manifest.raw),
    }
    if manifest.artifact_type:
        entry["artifactType"] = manifest.artifact_type
    if manifest.annotations:
        entry["annotations"] = dict(manifest.annotations)
    return entry


def _page_size(request: Request) -> int | None:
    text = request.query("n")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise _bad_page_size(text)
    return int(text)


def _bad_page_size(text: str) -> OciError:
    return OciError(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", detail={"n": text})


def _page(request: Request, names: Sequence[str], n: int | None) -> tuple[list[str], list[tuple[str, str]]]:
    """Return a page of sorted names, and the Link to the next if there is one. ``last`` need not exist any more."""
    last = request.query("last") or ""
    rest = [name for name in names if name > last]
    if n is None or len(rest) <= n or n == 0:
        return rest[:n], []
    query = urlencode({"last": rest[n - 1], "n": n})
    return rest[:n], [("Link", f'<{request.path}?{query}>; rel="next"')]
