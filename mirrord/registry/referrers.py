"""Referrers: what is attached to a manifest, by the API or by the fallback tag.

Source: distribution-spec v1.1.1 "Listing referrers" (end-12), "Pushing manifests with subject",
"Unavailable referrers API".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import anyio

from mirrord.errors import InvalidManifestError, ListingIncompleteError, NotFoundError, RegistryError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index, parse_manifest
from mirrord.oci.mediatype import OCI_INDEX, essence
from mirrord.oci.reference import Tag
from mirrord.planning.attachment import fallback_tag
from mirrord.ports.events import EventSink, Noted
from mirrord.ports.registry import ReferrersAnswer
from mirrord.registry import scopes
from mirrord.registry.call import Answer, Call
from mirrord.registry.errortext import read_error_body
from mirrord.registry.http import RegistryHttp
from mirrord.registry.links import next_link
from mirrord.registry.manifests import get_manifest, head_manifest, put_manifest
from mirrord.registry.tags import list_tags

MAX_REFERRERS = 1_000
MAX_PAGES = 100
MAX_BODY = 8 * 1024 * 1024
_NOT_OURS: Literal["not ours"] = "not ours"
_SUBJECT: Literal["the subject"] = "the subject"
_TAGS_AT_ONCE = 1000
_NO_TAG = frozenset({400, 404, 405})
"""How a registry refuses a tag that it takes for a digest."""

_MISSING = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN"})
_NO_API = frozenset({301, 302, 303, 307, 308, 400, 404, 405, 406, 410, 415, 501})


@dataclass(slots=True)
class ReferrersHabits:
    """What was learned about one registry: whether it has the API (None: not asked yet). Guards its fallback tags."""

    has_api: bool | None
    probe: anyio.Lock = field(default_factory=anyio.Lock)
    locks: dict[tuple[str, Digest], anyio.Lock] = field(default_factory=dict)


async def list_referrers(
    http: RegistryHttp,
    path: str,
    subject: Digest,
    habits: ReferrersHabits,
    events: EventSink,
    *,
    fallback: bool = True,
) -> ReferrersAnswer:
    """Return the manifests that refer to ``subject``, by the API or else, with ``fallback``, by the fallback tag.

    Raises:
        ListingIncompleteError: more than 1,000, or pages without an end.
        RegistryError: the registry could not be asked; an error is never taken for "none".
    """
    found = await _ask_api(http, path, subject, habits)
    if found is not None:
        return ReferrersAnswer(descriptors=found, from_api=True)
    if not fallback:
        return ReferrersAnswer(descriptors=(), from_api=False)
    index = await _fallback_index(http, path, subject, events)
    return ReferrersAnswer(descriptors=index.children() if isinstance(index, Index) else (), from_api=False)


async def keep_fallback_tag(
    http: RegistryHttp, path: str, manifest: AnyManifest, habits: ReferrersHabits, events: EventSink
) -> None:
    """Add a manifest to the fallback tag of its subject, where the registry has no referrers API.

    Read, change, write: guarded against other tasks of this process, not against other writers.
    """
    subject = manifest.subject
    assert subject is not None
    if habits.has_api is None:
        await _ask_api(http, path, subject.digest, habits)
    if habits.has_api:
        return
    async with _guard(habits, (path, subject.digest)):
        index = await _fallback_index(http, path, subject.digest, events)
        tag = fallback_tag(subject.digest)
        if index is _NOT_OURS or (index is _SUBJECT and await _has_tag(http, path, tag)):
            return
        entries = json.loads(index.raw)["manifests"] if isinstance(index, Index) else []
        if any(entry.get("digest") == str(manifest.descriptor.digest) for entry in entries):
            return
        entries.append(_entry(manifest))
        raw = json.dumps(
            {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, separators=(",", ":")
        ).encode()
        fresh = parse_manifest(raw, what="the referrers index")
        try:
            await put_manifest(http, path, fresh, tag)
        except RegistryError as exc:
            if index is not _SUBJECT or exc.status not in _NO_TAG:
                raise
            events.emit(Noted(what="referrers_tag_refused", text=str(exc), host=http.host))


@asynccontextmanager
async def _guard(habits: ReferrersHabits, key: tuple[str, Digest]) -> AsyncIterator[None]:
    """Hold the lock of one fallback tag; who is the last to need it gives it up."""
    lock = habits.locks.setdefault(key, anyio.Lock())
    try:
        async with lock:
            yield
    finally:
        if not lock.locked() and not lock.statistics().tasks_waiting:
            habits.locks.pop(key, None)


def _entry(manifest: AnyManifest) -> dict[str, object]:
    """Return the descriptor that the spec wants in a referrers index."""
    config = getattr(manifest, "config", None)
    artifact_type = manifest.artifact_type or (config.media_type if isinstance(config, Descriptor) else "")
    entry: dict[str, object] = {
        "mediaType": manifest.descriptor.media_type,
        "digest": str(manifest.descriptor.digest),
        "size": manifest.descriptor.size,
    }
    if artifact_type:
        entry["artifactType"] = artifact_type
    if manifest.annotations:
        entry["annotations"] = dict(manifest.annotations)
    return entry


async def _ask_api(
    http: RegistryHttp, path: str, subject: Digest, habits: ReferrersHabits
) -> tuple[Descriptor, ...] | None:
    """Ask by the API, unless there is none; of several first questions one finds that out for all."""
    if habits.has_api is None:
        async with habits.probe:
            if habits.has_api is None:
                return await _by_api(http, path, subject, habits)
    return await _by_api(http, path, subject, habits) if habits.has_api else None


async def _by_api(
    http: RegistryHttp, path: str, subject: Digest, habits: ReferrersHabits
) -> tuple[Descriptor, ...] | None:
    """Return what the API says, or None where there is none: support is 200 with an OCI index, nothing else."""
    found: list[Descriptor] = []
    answered = False
    async for answer in _api_pages(http, path, subject):
        if answer.status != 200 or essence(answer.headers.get("content-type", "")) != OCI_INDEX:  # noqa: PLR2004 - OK
            if answered:
                raise ListingIncompleteError(
                    f"{http.host}/{path}@{subject}: a later page of referrers answered with status {answer.status}",
                    host=http.host,
                )
            if habits.has_api is None and not _says_nothing(answer):
                habits.has_api = False
            return None
        habits.has_api = answered = True
        page = parse_manifest(answer.body, media_type=OCI_INDEX, what=f"the referrers of {subject}")
        found.extend(page.children())
        if len(found) > MAX_REFERRERS:
            raise ListingIncompleteError(
                f"{http.host}/{path}@{subject} has more than {MAX_REFERRERS} referrers", host=http.host
            )
    return tuple({descriptor.digest: descriptor for descriptor in found}.values())


def _says_nothing(answer: Answer) -> bool:
    """Say whether a refusal leaves open if there is an API: it misses the repository, or does not know the digest.

    Quay answers 400 to a digest that it does not know, zot 404 for a repository that is not there yet.
    """
    missing = answer.status == 404 and not _MISSING.isdisjoint(read_error_body(answer.body).codes)  # noqa: PLR2004
    return missing or answer.status == 400  # noqa: PLR2004 - Bad Request


async def _api_pages(http: RegistryHttp, path: str, subject: Digest) -> AsyncIterator[Answer]:
    target = f"/v2/{path}/referrers/{subject}"
    for _ in range(MAX_PAGES):
        call = Call(
            method="GET",
            target=target,
            what=f"list the referrers of {http.host}/{path}@{subject}",
            scopes=scopes.pull(path),
            headers={"Accept": OCI_INDEX},
            ok=_NO_API | {200},
            limit=MAX_BODY,
            follow=False,
        )
        answer = await http.request(call)
        yield answer
        following = next_link(answer.headers.get_list("link"), answer.url)
        if following is None:
            return
        target = following
    raise ListingIncompleteError(f"{http.host}/{path}@{subject}: the pages of referrers have no end", host=http.host)


async def _has_tag(http: RegistryHttp, path: str, tag: Tag) -> bool:
    """Say whether a tag is listed: GitLab resolves a fallback tag that is not there to the subject itself."""
    try:
        async for page in list_tags(http, path, _TAGS_AT_ONCE):
            if any(entry.tag == tag for entry in page.entries):
                return True
    except NotFoundError:
        pass  # nothing is tagged yet
    return False


async def _fallback_index(
    http: RegistryHttp, path: str, subject: Digest, events: EventSink
) -> Index | Literal["not ours", "the subject"] | None:
    """Return the index under the fallback tag, None where there is no such tag, or what else is there."""
    tag = fallback_tag(subject)
    try:
        if http.metering is None:
            manifest = await get_manifest(http, path, tag)
        else:  # a look is free, fetching is not
            head = await head_manifest(http, path, tag)
            if head is None:
                return None
            manifest = await get_manifest(http, path, head.digest)
    except NotFoundError:
        return None
    except InvalidManifestError as exc:
        events.emit(Noted(what="referrers_tag_invalid", text=str(exc), host=http.host))
        return _NOT_OURS
    if not isinstance(manifest, Index) or manifest.descriptor.digest == subject:
        # GitLab resolves the tag to the subject itself; others keep images under such names: neither is ours to use.
        text = f"REFERRERS_TAG_INVALID: {http.host}/{path}:{tag} is no index of referrers; it is left alone"
        events.emit(Noted(what="referrers_tag_invalid", text=text, host=http.host))
        return _SUBJECT if manifest.descriptor.digest == subject else _NOT_OURS
    return manifest
