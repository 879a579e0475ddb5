"""The traps that ECR plays, over sockets and TLS, with the API of AWS beside the registry."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import pytest

from mirrord.app import Gateway
from mirrord.demo.registry.asgi import Answer, json_answer
from mirrord.errors import (
    ContentMismatchError,
    DeniedError,
    MissingContentError,
    PolicyRefusedError,
    RegistryError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Reference, Repository, Tag
from mirrord.planning.attachment import fallback_tag
from mirrord.planning.report import Outcome
from mirrord.ports.events import NullSink
from mirrord.registry.throttle import RegistrySlots
from mirrord.sync.context import Context
from mirrord.sync.delete import Deleted, delete
from mirrord.transfer.source import resumed
from tests.contract.images import stream
from tests.fakes.clients import Client
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Action, Around, Change, CutBody, LoseAnswer, Respond
from tests.fakes.images import Content, content, describe, make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import Profile, Refusal
from tests.fakes.registries.ecr import (
    ECR,
    ECR_PUBLIC,
    HOST,
    IMMUTABLE,
    MIB,
    NAMES_ECR,
    NAMES_ECR_PUBLIC,
    PUBLIC_HOST,
    EcrControl,
    control_plane,
    no_aws,
    open_ecr,
)
from tests.fakes.registries.ecr_scene import open_scene, to_ecr
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

PATH = "team/app"
OCTETS = "application/octet-stream"


def trap(number: int) -> pytest.MarkDecorator:
    """Give a test the id of a trap."""
    return pytest.mark.parametrize("trap", [pytest.param("", id=f"trap-{number:02}-ecr")])


@asynccontextmanager
async def opened(
    monkeypatch: pytest.MonkeyPatch, profile: Profile = ECR, *, clock: FakeClock | None = None
) -> AsyncIterator[tuple[FakeRegistry, EcrControl, Client]]:
    public = profile.name == "ecr-public"
    host, names = (PUBLIC_HOST, NAMES_ECR_PUBLIC) if public else (HOST, NAMES_ECR)
    async with Internet() as internet:
        registry = await internet.join(profile, names)
        registry.switches.created.add(PATH)
        async with (
            control_plane(registry, monkeypatch) as control,
            open_ecr(internet, host=host, clock=clock) as client,
        ):
            yield registry, control, client


def with_manifests(**switches: object) -> Profile:
    return replace(ECR, manifests=replace(ECR.manifests, **switches))  # type: ignore[arg-type]  # switches by name


def with_uploads(**switches: object) -> Profile:
    return replace(ECR, uploads=replace(ECR.uploads, **switches))  # type: ignore[arg-type]  # switches by name


async def put_image(client: Client, image: Content, tag: str | None = None, path: str = PATH) -> None:
    for raw in image.blobs.values():
        await client.writer(path).put_blob(describe(raw, OCTETS), stream(raw, 4096))
    for manifest in image.graph().manifests[:-1]:
        await client.writer(path).put_manifest(manifest)
    await client.writer(path).put_manifest(image.root, Tag(tag) if tag else None)


async def put_again(client: Client, raw: bytes) -> Descriptor:
    """Upload a blob as a run does: once more, with a fresh read, where the error says that this may help."""
    blob = describe(raw, OCTETS)
    for last in (False, True):
        try:
            await client.writer().put_blob(blob, stream(raw, MIB))
            break
        except RegistryError as exc:
            if last or not exc.retryable:
                raise
    return blob


# --- authorisation


@trap(4)
@pytest.mark.parametrize("identity", [False, True], ids=["anonymous", "logged-in"])
async def test_opaque_scope_is_passed_on_and_serves_every_repository(
    monkeypatch: pytest.MonkeyPatch, identity: bool, trap: str
) -> None:
    """public.ecr.aws asks for the scope "aws", which names no repository."""
    async with opened(monkeypatch, ECR_PUBLIC) as (registry, _, client):
        if not identity:
            no_aws(monkeypatch)
        for path in ("team/one", "team/two"):
            image = put(registry, path, make_image(path), "1.0")
            head = await client.reader(path).head(Tag("1.0"))
            assert head is not None
            assert head.digest == image.digest

    [asked] = registry.traffic.of("token")
    assert asked.target.startswith(b"/token/?")
    assert b"scope=aws" in asked.target
    assert b"repository:" not in asked.target
    assert (asked.header("Authorization") is not None) == identity
    assert [record.status for record in registry.traffic.of("manifest HEAD")] == [200, 200]


@trap(10)
async def test_expired_token_is_replaced_once_however_many_requests_it_fails(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        images = {f"1.{n}": put(registry, PATH, make_image(f"app-{n}"), f"1.{n}").digest for n in range(12)}
        await client.tags()
        control.revoke_tokens()
        found: dict[str, Digest | None] = {}

        async def look(tag: str) -> None:
            head = await client.reader().head(Tag(tag))
            found[tag] = head.digest if head is not None else None

        async with anyio.create_task_group() as group:
            for tag in images:
                group.start_soon(look, tag)

    assert found == images
    assert control.calls("GetAuthorizationToken") == 2
    statuses = [record.status for record in registry.traffic.of("manifest GET")]
    assert statuses.count(200) == len(images)
    assert 1 <= statuses.count(403) <= len(images), "each request is refused once at most"


@trap(10)
@pytest.mark.parametrize("method", ["manifest", "blob GET", "blob HEAD", "tags"])
async def test_expired_token_is_replaced_on_every_kind_of_request(
    monkeypatch: pytest.MonkeyPatch, method: str, trap: str
) -> None:
    """Also where the answer has no body that would say so: a HEAD."""
    async with opened(monkeypatch) as (registry, control, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        blob = image.manifest.layers[0]
        await client.tags()
        control.revoke_tokens()
        match method:
            case "manifest":
                assert (await client.reader().manifest(image.digest)).raw == image.raw
            case "blob GET":
                async with client.reader().blob(blob) as pieces:
                    assert b"".join([piece async for piece in pieces]) == image.blobs[blob.digest]
            case "blob HEAD":
                assert await client.writer().has_blob(blob)
            case _:
                assert await client.tags() == ["1.0"]

    assert control.calls("GetAuthorizationToken") == 2
    assert 403 in {record.status for record in registry.traffic.records}


@trap(10)
async def test_token_that_stays_refused_is_told_and_not_fetched_for_ever(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        put(registry, PATH, make_image("app"), "1.0")
        registry.fault(
            Respond(403, body=b'{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}'),
            kind="manifest GET",
            times=None,
        )
        for _ in range(5):
            with pytest.raises(UnauthorizedError, match="AUTH_EXPIRED"):
                await client.reader().head(Tag("1.0"))

    assert control.calls("GetAuthorizationToken") == 2
    assert registry.traffic.counts["manifest GET"] == 6


@trap(10)
async def test_absurd_end_of_a_token_is_not_believed(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """moto says 2015. Who believes it fetches a token for each request, or none at all."""
    async with opened(monkeypatch) as (registry, control, client):
        control.expires_at = datetime(2015, 1, 1, tzinfo=UTC)
        put(registry, PATH, make_image("app"), "1.0")
        for _ in range(30):
            assert await client.reader().head(Tag("1.0")) is not None
            client.clock.advance(61)

    assert control.calls("GetAuthorizationToken") == 1


# --- reading


@trap(12)
async def test_signed_redirect_is_followed_without_the_token(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        blob = image.manifest.layers[0]
        async with client.reader().blob(blob, offset=10) as pieces:
            body = b"".join([piece async for piece in pieces])

    assert body == image.blobs[blob.digest][10:]
    [asked] = registry.storage_traffic.records
    assert asked.status == 206
    assert asked.header("Authorization") is None
    assert asked.header("Range") == "bytes=10-"


@trap(13)
@pytest.mark.parametrize("expired", [False, True], ids=["broken", "expired"])
async def test_broken_blob_is_continued_from_the_registry(
    monkeypatch: pytest.MonkeyPatch, expired: bool, trap: str
) -> None:
    """The old signed URL is never used again: it may have ended."""
    async with opened(monkeypatch) as (registry, _, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        blob = image.manifest.layers[0]
        registry.fault(CutBody(after=100), kind="storage")
        if expired:
            registry.fault(Around(before=lambda: registry.clock.advance(600)), kind="blob GET", nth=2)
        body = b"".join(
            [piece async for piece in resumed(client.reader(), blob, clock=client.clock, jitter=random.Random(1))]
        )

    assert body == image.blobs[blob.digest]
    assert registry.traffic.counts["blob GET"] == 2
    targets = [record.target for record in registry.storage_traffic.records]
    assert len(set(targets)) == 2
    assert [record.header("Range") for record in registry.storage_traffic.records] == [None, "bytes=100-"]


@trap(17)
async def test_digest_that_no_header_tells_is_computed(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        head = await client.reader().head(Tag("1.0"))

    assert head is not None
    assert (head.digest, head.size) == (image.digest, len(image.raw))
    assert registry.traffic.counts["manifest GET"] == 1
    assert registry.traffic.counts["manifest HEAD"] == 0, "it would tell nothing"


@trap(17)
async def test_digest_header_that_contradicts_the_bytes_fails_the_manifest(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with opened(monkeypatch, with_manifests(digest_header="false")) as (registry, _, client):
        put(registry, PATH, make_image("app"), "1.0")
        with pytest.raises(ContentMismatchError, match="DIGEST_HEADER_MISMATCH"):
            await client.reader().head(Tag("1.0"))

    assert registry.traffic.counts["manifest GET"] == 1


@trap(18)
async def test_refused_head_falls_through_to_get(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        registry.fault(Respond(400), kind="manifest HEAD")
        head = await client.reader().head(image.digest)

    assert head is not None
    assert head.digest == image.digest
    assert registry.traffic.counts["manifest GET"] == 1


@trap(18)
async def test_tag_that_ecr_does_not_take_is_named_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    body = b'{"errors":[{"code":"TAG_INVALID","message":"Invalid parameter at \'imageTag\'"}]}'
    async with open_scene(monkeypatch) as scene:
        image = put(scene.plain, PATH, make_image("app"), "1.0")
        put(scene.plain, PATH, make_image("odd"), "odd")
        scene.ecr.fault(
            Respond(400, body=body), kind="manifest PUT", where=lambda r: r.target.endswith(b"/odd"), times=None
        )
        reports = await scene.sync([to_ecr(PATH)])

    assert reports.outcomes == {"1.0": Outcome.COPIED, "odd": Outcome.FAILED}
    assert scene.ecr.store.tags(PATH) == {"1.0": image.digest}
    [problem] = reports.problems
    assert ":odd" in problem
    assert "does not take such a tag" in problem


@trap(19)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html><title>403 Forbidden</title></html>", id="html"),
        pytest.param(b'{"code":"DENIED"', id="cut"),
        pytest.param(b"\xff\x00", id="binary"),
    ],
)
async def test_refusal_without_a_readable_body_is_judged_by_its_status(
    monkeypatch: pytest.MonkeyPatch, body: bytes, trap: str
) -> None:
    """A missing right shows as a bare 403."""
    async with opened(monkeypatch) as (registry, control, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        registry.fault(Respond(403, body=body), kind="manifest GET", times=None)
        registry.fault(Respond(403), kind="blob HEAD", times=None)
        with pytest.raises(DeniedError):
            await client.reader().head(Tag("1.0"))
        for _ in range(3):
            with pytest.raises(DeniedError, match="403 Forbidden"):
                await client.writer().has_blob(image.manifest.layers[0])

    assert registry.traffic.counts["manifest GET"] == 1
    assert control.calls("GetAuthorizationToken") <= 2, "a bare 403 may mean an ended token, but not every time"


@trap(20)
async def test_type_of_blobs_is_not_believed(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """Every blob comes as a Docker config."""
    async with opened(monkeypatch, replace(ECR, blobs=replace(ECR.blobs, redirect=None))) as (registry, _, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        for blob in image.manifest.blobs():
            assert await client.writer().has_blob(blob)
            async with client.reader().blob(blob) as pieces:
                assert b"".join([piece async for piece in pieces]) == image.blobs[blob.digest]
        found = await client.reader().manifest(image.digest)

    assert found.descriptor.media_type == image.descriptor.media_type
    assert [blob.media_type for blob in found.blobs()] == [blob.media_type for blob in image.manifest.blobs()]


# --- listing, limits


@trap(22)
@pytest.mark.parametrize("page_entries", [None, 100], ids=["full-pages", "short-pages"])
async def test_long_list_is_read_to_its_end_with_pages_that_are_allowed(
    monkeypatch: pytest.MonkeyPatch, page_entries: int | None, trap: str
) -> None:
    """More than 1000 at a time is refused."""
    profile = replace(ECR, tags=replace(ECR.tags, page_entries=page_entries))
    async with opened(monkeypatch, profile) as (registry, _, client):
        image = put(registry, PATH, make_image("app"))
        for number in range(2100):
            registry.store.tag(PATH, f"v{number:04}", image.digest)
        assert await client.tags() == [f"v{number:04}" for number in range(2100)]

    asked = registry.traffic.of("tags/list")
    assert {record.status for record in asked} == {200}
    assert asked[0].target.endswith(b"?n=1000")
    assert len(asked) == (3 if page_entries is None else 21)


@trap(27)
@pytest.mark.parametrize(
    ("headers", "least_s"),
    [
        pytest.param((), 1.0, id="none"),
        pytest.param((("Retry-After", "7"),), 7.0, id="seconds"),
        pytest.param((("Retry-After", "Wed, 01 Jan 2020 00:00:00 GMT"),), 1.0, id="past"),
    ],
)
async def test_throttled_request_waits_and_succeeds(
    monkeypatch: pytest.MonkeyPatch, headers: tuple[tuple[str, str], ...], least_s: float, trap: str
) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}'
    async with opened(monkeypatch) as (registry, _, client):
        put(registry, PATH, make_image("app"), "1.0")
        registry.fault(Respond(429, headers=headers, body=body), kind="manifest GET", times=2)
        started = client.clock.monotonic()
        assert await client.reader().head(Tag("1.0")) is not None

    assert client.clock.monotonic() - started >= 2 * least_s
    assert [record.status for record in registry.traffic.of("manifest GET")] == [429, 429, 200]


# --- uploads


@trap(30)
async def test_blob_goes_in_one_request_where_that_is_taken(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        blob = await put_again(client, content("large", 21 * MIB))

    assert registry.traffic.counts["upload PATCH"] == 0
    assert registry.traffic.counts["upload POST"] == 1
    assert registry.store.blob(PATH, blob.digest) is not None


@trap(30)
@pytest.mark.parametrize("status", [405, 416])
async def test_chunks_have_a_size_that_ecr_takes(monkeypatch: pytest.MonkeyPatch, status: int, trap: str) -> None:
    """At least 5 MiB but for the last one, at most 10 MiB."""
    profile = with_uploads(put_body=Refusal(status=status, code="BLOB_UPLOAD_INVALID", message="too large"))
    async with opened(monkeypatch, profile) as (registry, _, client):
        blob = await put_again(client, content("large", 21 * MIB))

    assert registry.store.blob(PATH, blob.digest) is not None
    sizes = [record.received_bytes for record in registry.traffic.of("upload PATCH")]
    assert sizes == [10 * MIB, 10 * MIB, MIB]


@trap(31)
async def test_range_that_stands_still_is_not_believed(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """The answers to all chunks name the end of the first one."""
    profile = with_uploads(put_body=Refusal(status=405))
    async with opened(monkeypatch, profile) as (registry, _, client):
        said: list[str] = []

        def note(answer: Answer) -> Answer:
            said.append(answer.header("Range") or "")
            return answer

        registry.fault(Change(note), kind="upload PATCH", times=None)
        blob = await put_again(client, content("large", 25 * MIB))

    assert said == [f"0-{10 * MIB - 1}"] * 3
    ranges = [record.header("Content-Range") for record in registry.traffic.of("upload PATCH")]
    assert ranges == [
        f"0-{10 * MIB - 1}",
        f"{10 * MIB}-{20 * MIB - 1}",
        f"{20 * MIB}-{25 * MIB - 1}",
    ]
    assert registry.store.blob(PATH, blob.digest) is not None


def refused_after_all(code: str, status: int) -> Callable[[Answer], Answer]:
    """Make an answer that refuses what was stored."""
    return lambda _answer: json_answer({"errors": [{"code": code, "message": "said too late"}]}, status=status)


@trap(33)
@pytest.mark.parametrize(
    "action",
    [
        pytest.param(LoseAnswer(), id="lost"),
        pytest.param(Change(refused_after_all("BLOB_UPLOAD_UNKNOWN", 404)), id="unknown-upload"),
        pytest.param(Change(refused_after_all("LayerAlreadyExistsException", 400)), id="layer-exists"),
    ],
)
async def test_blob_that_arrived_is_not_sent_again_whatever_the_answer(
    monkeypatch: pytest.MonkeyPatch, action: Action, trap: str
) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        registry.fault(action, kind="upload PUT")
        raw = content("layer")
        await client.writer().put_blob(describe(raw, OCTETS), stream(raw, 64))

    assert registry.traffic.counts["upload POST"] == 1
    assert registry.traffic.counts["upload PUT"] == 1
    assert registry.traffic.counts["blob HEAD"] == 1
    assert registry.store.blob(PATH, Digest.of(raw)) == raw


@trap(33)
async def test_early_201_on_a_chunk_is_no_end_of_the_upload(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    profile = with_uploads(put_body=Refusal(status=405))

    def early(answer: Answer) -> Answer:
        return Answer(status=201, headers=answer.headers)

    async with opened(monkeypatch, profile) as (registry, _, client):
        registry.fault(Change(early), kind="upload PATCH", times=None)
        registry.fault(Change(refused_after_all("BLOB_UPLOAD_INVALID", 400)), kind="upload PUT", nth=2)
        blob = await put_again(client, content("large", 12 * MIB))

    assert registry.traffic.counts["upload PATCH"] == 2
    assert registry.store.blob(PATH, blob.digest) is not None


@trap(35)
@pytest.mark.parametrize("mount", ["upload", "done"], ids=["not-opted-in", "opted-in"])
async def test_mount_is_used_where_the_account_has_it_and_costs_no_run_elsewhere(
    monkeypatch: pytest.MonkeyPatch, mount: str, trap: str
) -> None:
    async with open_scene(monkeypatch, with_uploads(mount=mount)) as scene:
        image = make_image("app", layers=2)
        for path in ("team/one", "team/two"):
            put(scene.plain, path, image, "1.0")
        reports = await scene.sync([to_ecr("team/one"), to_ecr("team/two")])

    assert reports.problems == []
    for path in ("team/one", "team/two"):
        assert scene.ecr.store.tags(path) == {"1.0": image.digest}
        assert scene.ecr.store.blobs(path) == set(image.blobs)
        assert scene.ecr.store.uploads(path) == ()
    uploads = scene.ecr.traffic.counts["upload PUT"]
    assert uploads == len(image.blobs) * (1 if mount == "done" else 2)
    assert scene.ecr.traffic.counts["mount"] >= 1


# --- manifests


@trap(36)
async def test_index_comes_after_its_children_and_lost_content_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with open_scene(monkeypatch) as scene:
        index = put(scene.plain, PATH, make_index("app"), "1.0")
        child = index.index.children()[0].digest
        lost = next(iter(index.manifests[child].blobs())).digest
        scene.ecr.fault(
            Around(before=lambda: scene.ecr.store.remove_blob(PATH, lost)),
            kind="manifest PUT",
            where=lambda record: record.target.endswith(str(child).encode()),
        )
        reports = await scene.sync([to_ecr(PATH)])

    assert reports.problems == []
    assert scene.ecr.store.blob(PATH, lost) is not None
    arrived = [record.route.reference for record in scene.ecr.traffic.of("manifest PUT") if record.status == 201]
    children = [str(found.digest) for found in index.index.children()]
    assert arrived[-1] == "1.0", "the tag comes last"
    assert set(arrived[:-1]) == set(children), "the children go by digest, and take no tag up"


@trap(36)
async def test_missing_content_is_told_as_such(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        with pytest.raises(MissingContentError):
            await client.writer().put_manifest(make_image("app").root, Tag("1.0"))

    assert registry.traffic.counts["manifest PUT"] == 1


@trap(37)
async def test_immutable_tag_is_a_success_with_the_same_digest_and_a_conflict_with_another(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with opened(monkeypatch, with_manifests(immutable_tags=IMMUTABLE)) as (registry, _, client):
        image = make_image("app")
        await put_image(client, image, "1.0")
        await client.writer().put_manifest(image.root, Tag("1.0"))
        assert registry.traffic.counts["manifest PUT"] == 2
        another = make_image("another")
        with pytest.raises(DeniedError, match="TAG_IMMUTABLE"):
            await put_image(client, another, "1.0")

    assert registry.traffic.counts["manifest PUT"] == 3, "no second try"
    assert registry.store.tags(PATH) == {"1.0": image.digest}


@trap(37)
async def test_immutable_tag_whose_first_answer_was_lost_is_a_success(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with opened(monkeypatch, with_manifests(immutable_tags=IMMUTABLE)) as (registry, _, client):
        image = make_image("app")
        registry.fault(LoseAnswer(), kind="manifest PUT")
        await put_image(client, image, "1.0")

    assert registry.store.tags(PATH) == {"1.0": image.digest}
    assert registry.traffic.counts["manifest PUT"] == 2


@trap(38)
async def test_manifest_without_a_media_type_is_told_as_not_representable(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        image = make_image("app")
        raw = image.raw.replace(b'"mediaType": "application/vnd.oci.image.manifest.v1+json",', b"", 1)
        assert raw != image.raw
        registry.store.add_manifest("elsewhere", raw, image.descriptor.media_type, tags=["1.0"])
        bare = await client.reader("elsewhere").manifest(Digest.of(raw))
        for blob in image.blobs.values():
            registry.store.add_blob(PATH, blob)
        with pytest.raises(UnsupportedError, match="does not take this kind of manifest"):
            await client.writer().put_manifest(bare, Tag("1.0"))

    assert registry.traffic.counts["manifest PUT"] == 1
    assert registry.store.tags(PATH) == {}


@trap(38)
async def test_missing_repository_is_created_and_the_bytes_arrive_unchanged(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with open_scene(monkeypatch) as scene:
        image = put(scene.plain, PATH, make_image("app"), "1.0")
        assert (await scene.sync([to_ecr(PATH)])).problems == []

    assert scene.control.calls("CreateRepository") == 1
    stored = scene.ecr.store.manifest(PATH, "1.0")
    assert stored is not None
    assert (stored.raw, stored.media_type) == (image.raw, image.descriptor.media_type)


@trap(39)
@pytest.mark.parametrize(
    "style",
    [
        pytest.param("subject-header-without-api", id="header-only"),
        pytest.param(Refusal(status=405), id="405"),
        pytest.param("api", id="api"),
    ],
)
async def test_referrers_are_found_whatever_the_subject_header_says(
    monkeypatch: pytest.MonkeyPatch, style: object, trap: str
) -> None:
    profile = replace(ECR, referrers=style)  # type: ignore[arg-type]  # one of the styles above
    async with opened(monkeypatch, profile) as (registry, _, client):
        image = make_image("app")
        await put_image(client, image, "1.0")
        signature = make_artifact("signature", subject=image.descriptor)
        await put_image(client, signature)
        answer = await client.reader().referrers(image.digest)

    assert [found.digest for found in answer.descriptors] == [signature.digest]
    assert (str(fallback_tag(image.digest)) in registry.store.tags(PATH)) == (style != "api")


# --- deletion


async def delete_at(client: Client, text: str, *, with_attachments: bool = False) -> Deleted:
    context = Context(
        gateway=Gateway(client.gateway),
        slots=RegistrySlots(client.gateway.throttles),
        clock=client.clock,
        events=NullSink(),
    )
    tag, _, digest = text.partition("@")
    reference = Reference(
        location=Repository(HOST, PATH),
        tag=Tag(tag) if tag else None,
        digest=Digest.parse(digest) if digest else None,
    )
    return await delete(context, reference, with_attachments=with_attachments)


@trap(40)
async def test_tag_goes_alone_and_the_image_with_its_last_tag(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        image = put(registry, PATH, make_image("app"), "1.0", "latest")
        other = put(registry, PATH, make_image("other"), "2.0")
        first = await delete_at(client, "1.0")
        assert (first.tags, first.manifests) == ((Tag("1.0"),), ())
        assert registry.store.tags(PATH) == {"latest": image.digest, "2.0": other.digest}
        last = await delete_at(client, "latest")

    assert (last.tags, last.manifests) == ((Tag("latest"),), (image.digest,))
    assert registry.store.tags(PATH) == {"2.0": other.digest}
    assert registry.store.manifest(PATH, image.digest) is None
    assert [call.parameters["imageIds"] for call in control.log if call.operation == "BatchDeleteImage"] == [
        [{"imageTag": "1.0"}],
        [{"imageTag": "latest"}],
    ]
    assert registry.traffic.counts["manifest DELETE"] == 0


@trap(40)
async def test_last_tag_is_kept_where_more_would_go_with_it(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        image = make_image("app")
        await put_image(client, image, "1.0")
        await put_image(client, make_artifact("signature", subject=image.descriptor))
        with pytest.raises(PolicyRefusedError, match="goes with its last tag"):
            await delete_at(client, "1.0")
        assert control.calls("BatchDeleteImage") == 0
        assert registry.store.tags(PATH)["1.0"] == image.digest


@trap(40)
async def test_attachments_go_although_the_index_of_the_fallback_tag_holds_them(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    """ECR keeps a manifest as long as an index has it, and mirrord itself keeps such an index there."""
    async with opened(monkeypatch) as (registry, _, client):
        image = make_image("app")
        await put_image(client, image, "1.0")
        await put_image(client, make_artifact("signature", subject=image.descriptor))
        assert set(registry.store.tags(PATH)) == {"1.0", str(fallback_tag(image.digest))}
        deleted = await delete_at(client, "1.0", with_attachments=True)

    assert registry.store.manifests(PATH) == {}
    assert (deleted.tags, len(deleted.manifests)) == ((Tag("1.0"),), 3)


@trap(40)
async def test_image_goes_by_digest_and_twice_is_no_error(monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        await client.writer().delete(image.digest)
        await client.writer().delete(image.digest)

    assert registry.store.manifests(PATH) == {}
    assert control.calls("BatchDeleteImage") == 2
    assert registry.traffic.counts["manifest DELETE"] == 0


@trap(40)
async def test_deletion_without_the_right_is_told_with_the_right_that_lacks(
    monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        image = put(registry, PATH, make_image("app"), "1.0")
        control.refusals["BatchDeleteImage"] = (400, "AccessDeniedException", "not you")
        with pytest.raises(DeniedError, match="allow ecr:BatchDeleteImage"):
            await delete_at(client, "1.0")

    assert registry.store.tags(PATH) == {"1.0": image.digest}
