"""Manifests over the wire: looked up, fetched, put and deleted, from registries that lie and from those that don't."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from mirrord.demo.registry.asgi import Answer
from mirrord.errors import (
    ContentMismatchError,
    DeniedError,
    InvalidManifestError,
    MirrordError,
    MissingContentError,
    NotFoundError,
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    UnsupportedError,
)
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import MAX_MANIFEST_SIZE
from mirrord.oci.mediatype import ACCEPT, OCI_MANIFEST
from mirrord.oci.reference import Tag
from mirrord.ports.events import IntegrityFailed
from tests.contract.images import build_image, build_index, write_blobs, write_image
from tests.fakes.clients import Client, open_client
from tests.fakes.faults import Change, Endless, Raw, Respond, corrupt
from tests.fakes.profiles import Deletes, Manifests, Profile, Rate, Refusal
from tests.fakes.registry import DISTRIBUTION_V2, DISTRIBUTION_V3, FakeRegistry
from tests.fakes.wire import with_headers

pytestmark = pytest.mark.anyio

IMAGE = build_image()
TAG = Tag("1.0")
OF_TYPE = (("Content-Type", OCI_MANIFEST),)
HTML = b"<!doctype html><title>Please log in</title>"


def filled(**manifests: object) -> FakeRegistry:
    registry = FakeRegistry(Profile(manifests=Manifests(**manifests)))  # type: ignore[arg-type]  # switches by name
    fill(registry)
    return registry


def fill(registry: FakeRegistry) -> None:
    for digest, content in IMAGE.contents.items():
        registry.store.add_blob("team/app", content, digest)
    registry.store.add_manifest("team/app", IMAGE.manifest.raw, IMAGE.manifest.descriptor.media_type, tags=["1.0"])


# --- looking up


def mismatches(client: Client) -> list[IntegrityFailed]:
    return [event for event in client.events.events if isinstance(event, IntegrityFailed)]


async def test_head_costs_one_request_and_names_every_type() -> None:
    """Trap 16: what is not asked for is not found, or comes as something else."""
    async with filled() as registry, open_client(registry) as client:
        assert await client.reader().head(TAG) == IMAGE.manifest.descriptor

    assert registry.traffic.counts == {"ping": 1, "manifest HEAD": 1}
    accept = registry.traffic.of("manifest HEAD")[0].header("Accept") or ""
    assert accept.split(", ") == list(ACCEPT)
    assert {kind.rpartition(".")[2] for kind in ACCEPT} >= {"v1+json", "v2+json"}


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-16-distribution-v2")])
async def test_docker_list_comes_back_as_a_list(trap: str) -> None:
    children = [build_image(architecture=name, docker=True) for name in ("amd64", "arm64")]
    index = build_index(*(child.manifest for child in children), docker=True)
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        for child in children:
            await write_image(client.writer(), child)
        await client.writer().put_manifest(index, TAG)

        assert await client.reader().head(TAG) == index.descriptor


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_missing_digest_header_is_made_up_for_by_a_get(by: str) -> None:
    """Trap 17, ECR."""
    async with filled(digest_header="absent") as registry, open_client(registry) as client:
        found = await client.reader().head(TAG if by == "tag" else IMAGE.digest)

    assert found == IMAGE.manifest.descriptor
    assert registry.traffic.counts["manifest GET"] == (1 if by == "tag" else 0)


@pytest.mark.parametrize("value", ["", "sha256:xyz", "md5:d41d8cd98f00b204e9800998ecf8427e", "\xff\xfe"])
async def test_unusable_digest_header_is_made_up_for_by_a_get(value: str) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: with_headers(answer, docker_content_digest=value)), times=2, nth=2)
        assert await client.reader().head(TAG) == IMAGE.manifest.descriptor


@pytest.mark.parametrize("trap", [pytest.param("", id="E23:trap-17-distribution")])
async def test_false_digest_header_is_an_error(trap: str) -> None:
    async with filled() as registry, open_client(registry) as client:
        lie = Change(lambda answer: with_headers(answer, docker_content_digest=str(Digest.of(b"something else"))))
        absent = Change(lambda answer: with_headers(answer, docker_content_digest=None))
        registry.fault(absent, kind="manifest HEAD")
        registry.fault(lie, kind="manifest GET", times=None)
        with pytest.raises(ContentMismatchError, match="DIGEST_HEADER_MISMATCH"):
            await client.reader().head(TAG)


async def test_digest_header_of_another_algorithm_is_checked_by_it() -> None:
    async with filled() as registry, open_client(registry) as client:
        longer = str(Digest.of(IMAGE.manifest.raw, "sha512"))
        registry.fault(Change(lambda answer: with_headers(answer, docker_content_digest=longer)), nth=2)
        found = await client.reader().head(TAG)

    assert found is not None
    assert str(found.digest) == longer


@pytest.mark.parametrize(
    ("refusal", "tag"),
    [
        pytest.param(Refusal(status=405), "1.0", id="trap-18-distribution-405"),
        pytest.param(Refusal(status=403), "1.0", id="trap-18-artifactory-403"),
        pytest.param(Refusal(status=400), "1.0", id="trap-18-ecr-400"),
    ],
)
async def test_refused_head_falls_through_to_get(refusal: Refusal, tag: str) -> None:
    async with filled(head=refusal) as registry, open_client(registry) as client:
        assert await client.reader().head(Tag(tag)) == IMAGE.manifest.descriptor
        assert await client.reader().head(Tag("missing")) is None

    assert registry.traffic.counts["manifest GET"] == 2


async def test_head_and_get_that_are_both_refused_are_the_error_of_the_get() -> None:
    async with filled(head=Refusal(status=403)) as registry, open_client(registry) as client:
        registry.fault(Respond(403, body=b'{"errors":[{"code":"DENIED","message":"not you"}]}'), kind="manifest GET")
        with pytest.raises(DeniedError, match="not you"):
            await client.reader().head(TAG)


@pytest.mark.covers("E24")
async def test_length_of_a_head_is_not_compared_with_that_of_the_get() -> None:
    """Trap 18, Harbor."""
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: with_headers(answer, content_length="7")), kind="manifest HEAD")
        found = await client.reader().head(TAG)
        assert found is not None
        assert (found.digest, found.size) == (IMAGE.digest, 7)
        assert (await client.reader().manifest(found.digest)).raw == IMAGE.manifest.raw


@pytest.mark.parametrize(
    "suffix", ["; charset=utf-8", ";charset=UTF-8"], ids=["trap-20-distribution-charset", "upper-case"]
)
async def test_parameters_of_a_type_are_ignored(suffix: str) -> None:
    async with filled(content_type_suffix=suffix) as registry, open_client(registry) as client:
        assert await client.reader().head(TAG) == IMAGE.manifest.descriptor
        assert (await client.reader().manifest(IMAGE.digest)).descriptor == IMAGE.manifest.descriptor


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", "text/plain", None])
async def test_type_that_says_nothing_gives_way_to_that_of_the_manifest(content_type: str | None) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: with_headers(answer, content_type=content_type)), kind="manifest GET")
        found = await client.reader().manifest(IMAGE.digest)

    assert found.descriptor == IMAGE.manifest.descriptor


@pytest.mark.covers("D66")
@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_proxy_that_answers_everything_with_html_is_told(by: Literal["tag", "digest"]) -> None:
    async with filled() as registry, open_client(registry) as client:
        page = Respond(200, (("Content-Type", "text/html; charset=utf-8"),), HTML)
        registry.fault(page, times=None)
        with pytest.raises(MirrordError, match="expected a JSON manifest, got text/html") as caught:
            await client.reader().head(TAG if by == "tag" else IMAGE.digest)

    assert "proxy" in caught.value.remedy


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-26-dockerhub")])
async def test_looking_up_costs_no_pull(trap: str) -> None:
    async with FakeRegistry(Profile(rate=Rate(pulls=1))) as registry, open_client(registry) as client:
        fill(registry)
        for _ in range(20):
            await client.reader().head(TAG)
        await client.reader().manifest(IMAGE.digest)
        with pytest.raises(RateLimitedError):
            await client.reader().manifest(IMAGE.digest)

    assert registry.traffic.counts["manifest HEAD"] == 20


# --- fetching


@pytest.mark.covers("E22")
async def test_manifest_of_another_digest_is_never_returned() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(corrupt(20), kind="manifest GET")
        with pytest.raises(ContentMismatchError, match="DIGEST_MISMATCH"):
            await client.reader().manifest(IMAGE.digest)

    assert mismatches(client) == [IntegrityFailed(host=client.host, reason="digest")]


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(
            Respond(200, (("Content-Type", OCI_MANIFEST),), b" " * (MAX_MANIFEST_SIZE + 1)), id="E25:too-large"
        ),
        pytest.param(Endless(headers=(("Content-Type", OCI_MANIFEST),)), id="E26:endless"),
    ],
)
async def test_manifest_that_is_too_large_is_cut_off(action: Respond | Endless) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(action, kind="manifest GET")
        with pytest.raises(ProtocolViolationError, match=f"MANIFEST_TOO_LARGE.*{MAX_MANIFEST_SIZE}"):
            await client.reader().manifest(IMAGE.digest)


@pytest.mark.covers("E65")
@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip", "x-unknown"])
async def test_compressed_manifest_is_refused(encoding: str) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(200, (("Content-Encoding", encoding),), b"whatever"), kind="manifest GET")
        with pytest.raises(ProtocolViolationError, match="CONTENT_ENCODING_UNEXPECTED"):
            await client.reader().manifest(IMAGE.digest)

    assert registry.traffic.of("manifest GET")[0].header("Accept-Encoding") == "identity"


async def test_manifest_that_is_no_json_is_an_error_of_the_manifest() -> None:
    raw = b"not json"
    async with filled() as registry, open_client(registry) as client:
        digest = registry.store.add_manifest("team/app", raw, OCI_MANIFEST, tags=["bad"])
        with pytest.raises(InvalidManifestError, match="MANIFEST_NOT_JSON"):
            await client.reader().manifest(digest)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(HTML, "text/html", id="trap-19-distribution-html-of-a-proxy"),
        pytest.param(b"404 page not found\n", "text/plain", id="trap-19-distribution-text"),
        pytest.param(b'{"code":"UNKNOWN"}', "application/json", id="trap-19-zot"),
        pytest.param(b'{"details":"no"}', "application/json", id="details"),
        pytest.param(b'{"errors":', "application/json", id="cut-off"),
        pytest.param(b"\xff\xfe\x00", "application/json", id="E62:not-utf-8"),
        pytest.param(b"\x1b[31mred" + b"x" * 1_000_000, "text/plain", id="E62:long-and-coloured"),
        pytest.param(b"", "", id="trap-19-ecr-empty"),
    ],
)
async def test_status_decides_whatever_the_error_body_is(body: bytes, content_type: str) -> None:
    async with filled() as registry, open_client(registry) as client:
        headers = (("Content-Type", content_type),) if content_type else ()
        registry.fault(Respond(404, headers, body), kind="manifest GET")
        registry.fault(Respond(403, headers, body), kind="manifest GET", nth=1)
        with pytest.raises(NotFoundError):
            await client.reader().manifest(IMAGE.digest)
        with pytest.raises(DeniedError) as caught:
            await client.reader().manifest(IMAGE.digest)

    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.covers("E62")
async def test_error_body_that_breaks_off_or_never_ends_does_not_matter() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Endless(status=403), kind="manifest GET")
        with pytest.raises(DeniedError):
            await client.reader().manifest(IMAGE.digest)
        registry.fault(Change(lambda _: Answer(status=403, body=b"no")), kind="manifest GET")
        with pytest.raises(DeniedError):
            await client.reader().manifest(IMAGE.digest)


# --- redirects


async def test_manifest_may_be_redirected_and_the_loop_is_cut() -> None:
    async with filled() as registry, open_client(registry) as client:
        there = f"/v2/team/app/manifests/{IMAGE.digest}?moved=%2F"
        registry.fault(Respond(307, (("Location", there),)), kind="manifest GET")
        assert (await client.reader().manifest(IMAGE.digest)).raw == IMAGE.manifest.raw
        assert registry.traffic.records[-1].target == there.encode()

        registry.traffic.clear()
        registry.fault(Respond(302, (("Location", there),)), kind="manifest GET", times=None)
        with pytest.raises(ProtocolViolationError, match="REDIRECT_LOOP"):
            await client.reader().manifest(IMAGE.digest)

    assert registry.traffic.counts["manifest GET"] == 6


@pytest.mark.covers("D63")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_of_a_write_is_not_followed(status: int) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(status, (("Location", f"{registry.url}/v2/x"),)), kind="manifest PUT")
        with pytest.raises(ProtocolViolationError, match=f"UNEXPECTED_STATUS.*{status}"):
            await client.writer().put_manifest(IMAGE.manifest, TAG)

    assert registry.traffic.counts["other"] == 0


async def test_redirect_without_a_location_is_an_error() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(307), kind="manifest GET")
        with pytest.raises(ProtocolViolationError, match="without Location"):
            await client.reader().manifest(IMAGE.digest)


# --- putting


@pytest.mark.covers("E61")
@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_success_of_a_put_is_one(status: int) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: Answer(status=status, headers=answer.headers)), kind="manifest PUT")
        await client.writer().put_manifest(IMAGE.manifest, Tag("2.0"))

    assert registry.store.tags("team/app")["2.0"] == IMAGE.digest
    assert registry.traffic.of("manifest PUT")[0].header("Content-Type") == IMAGE.manifest.descriptor.media_type


@pytest.mark.covers("E61")
async def test_odd_success_of_a_put_is_none() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(206), kind="manifest PUT")
        with pytest.raises(ProtocolViolationError, match="UNEXPECTED_STATUS"):
            await client.writer().put_manifest(IMAGE.manifest, TAG)


@pytest.mark.parametrize("trap", [pytest.param("", id="E60:another-digest")])
async def test_registry_that_stores_another_digest_is_an_error(trap: str) -> None:
    other = str(Digest.of(b"rewritten"))
    async with filled() as registry, open_client(registry) as client:
        registry.fault(
            Change(lambda answer: with_headers(answer, docker_content_digest=other)), kind="manifest PUT", times=2
        )
        with pytest.raises(ContentMismatchError, match="TARGET_DIGEST_CHANGED"):
            await client.writer().put_manifest(IMAGE.manifest, TAG)
        with pytest.raises(ContentMismatchError, match="TARGET_DIGEST_CHANGED"):
            await client.writer().put_manifest(IMAGE.manifest)

    assert mismatches(client) == [IntegrityFailed(host=client.host, reason="digest")] * 2


async def test_digest_of_another_algorithm_in_the_answer_to_a_put_says_nothing() -> None:
    longer = str(Digest.of(b"whatever", "sha512"))
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: with_headers(answer, docker_content_digest=longer)), kind="manifest PUT")
        await client.writer().put_manifest(IMAGE.manifest, TAG)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("MANIFEST_BLOB_UNKNOWN", id="trap-36-distribution-v2"),
        pytest.param("BLOB_UNKNOWN", id="trap-36-zot"),
    ],
)
async def test_missing_content_is_told_apart(code: str) -> None:
    async with (
        FakeRegistry(Profile(manifests=Manifests(missing_content_code=code))) as registry,
        open_client(registry) as client,
    ):
        with pytest.raises(MissingContentError, match="MANIFEST_BLOB_UNKNOWN"):
            await client.writer().put_manifest(IMAGE.manifest, TAG)
        await write_blobs(client.writer(), IMAGE)
        await client.writer().put_manifest(IMAGE.manifest, TAG)


@pytest.mark.parametrize(
    ("refusal", "error", "code"),
    [
        pytest.param(
            Refusal(status=400, code="TAG_INVALID", message="The image tag already exists and cannot be overwritten"),
            DeniedError,
            "TAG_IMMUTABLE",
            id="trap-37-ecr",
        ),
        pytest.param(Refusal(status=412, code="PRECONDITION"), DeniedError, "TAG_IMMUTABLE", id="trap-37-harbor"),
        pytest.param(
            Refusal(status=409, code="TAG_IMMUTABLE", message="tag is immutable"),
            DeniedError,
            "TAG_IMMUTABLE",
            id="trap-37-quay",
        ),
        pytest.param(
            Refusal(status=405, message="The operation is disallowed: is locked"),
            DeniedError,
            "TAG_IMMUTABLE",
            id="trap-37-acr",
        ),
        pytest.param(Refusal(status=405), UnsupportedError, "UNSUPPORTED", id="trap-38-ecr"),
    ],
)
async def test_refused_tag_is_told_by_its_cause_and_tried_once(
    refusal: Refusal, error: type[RegistryError], code: str
) -> None:
    another = build_image("another")
    async with filled(immutable_tags=refusal) as registry, open_client(registry) as client:
        await write_blobs(client.writer(), another)
        with pytest.raises(error) as caught:
            await client.writer().put_manifest(another.manifest, TAG)

    assert caught.value.code == code
    assert registry.traffic.counts["manifest PUT"] == 1


async def test_immutable_tag_that_holds_the_manifest_already_is_a_success() -> None:
    """The answer to an earlier put may have been lost, and some registries refuse even what changes nothing."""
    refusal = Refusal(status=400, code="TAG_INVALID", message="The image tag already exists and is immutable")
    async with filled(immutable_tags=refusal) as registry, open_client(registry) as client:
        await client.writer().put_manifest(IMAGE.manifest, TAG)

    assert registry.traffic.counts["manifest PUT"] == 1
    assert registry.traffic.counts["manifest HEAD"] == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(404, NotFoundError, id="trap-38-ecr-name-unknown"),
        pytest.param(403, DeniedError, id="trap-38-google"),
    ],
)
async def test_missing_repository_of_a_target_is_one_clear_error(status: int, error: type[Exception]) -> None:
    unknown = Refusal(status=status, code="NAME_UNKNOWN", message="(or it may not exist)")
    async with (
        FakeRegistry(Profile(manifests=Manifests(create_on_push=False, unknown_repository=unknown))) as registry,
        open_client(registry) as client,
    ):
        with pytest.raises(error):
            await client.writer().put_manifest(IMAGE.manifest, TAG)


# --- deleting


async def test_tag_goes_alone_and_a_manifest_with_all_its_tags() -> None:
    async with FakeRegistry(DISTRIBUTION_V3) as registry, open_client(registry) as client:
        fill(registry)
        registry.store.tag("team/app", "latest", IMAGE.digest)
        await client.writer().delete(TAG)
        assert registry.store.tags("team/app") == {"latest": IMAGE.digest}
        await client.writer().delete(IMAGE.digest)

    assert registry.store.manifest("team/app", IMAGE.digest) is None


@pytest.mark.parametrize(
    ("deletes", "by", "error"),
    [
        pytest.param(Deletes(tag=Refusal(status=400)), "tag", RegistryError, id="trap-40-distribution-v2"),
        pytest.param(
            Deletes(manifest=Refusal(status=405)), "digest", UnsupportedError, id="trap-40-distribution-disabled"
        ),
        pytest.param(Deletes(manifest_with_tags=Refusal(status=400)), "digest", RegistryError, id="trap-40-google"),
        pytest.param(Deletes(manifest=Refusal(status=404)), "digest", None, id="trap-40-distribution-gone-already"),
    ],
)
async def test_refused_deletion_is_an_error_and_a_missing_one_is_done(
    deletes: Deletes, by: str, error: type[Exception] | None
) -> None:
    async with FakeRegistry(Profile(deletes=deletes)) as registry, open_client(registry) as client:
        fill(registry)
        deletion = client.writer().delete(TAG if by == "tag" else IMAGE.digest)
        if error is None:
            await deletion
        else:
            with pytest.raises(error):
                await deletion


async def test_size_that_the_registry_does_not_tell_is_zero() -> None:
    async with filled() as registry, open_client(registry) as client:
        told = f"Connection: close\r\nContent-Type: {OCI_MANIFEST}\r\nDocker-Content-Digest: {IMAGE.digest}"
        registry.fault(Raw(f"HTTP/1.1 200 OK\r\n{told}\r\n\r\n".encode()), kind="manifest HEAD")
        found = await client.reader().head(TAG)

    assert isinstance(found, Descriptor)
    assert found.size == 0


async def test_manifest_is_put_byte_for_byte() -> None:
    """Trap 38: spaces, order of keys and a missing mediaType are part of the digest."""
    image = build_image(typed=False)
    fields = json.loads(image.manifest.raw)
    assert "mediaType" not in fields
    async with FakeRegistry() as registry, open_client(registry) as client:
        await write_image(client.writer(), image, "1.0")

    stored = registry.store.manifest("team/app", "1.0")
    assert stored is not None
    assert stored.raw == image.manifest.raw
