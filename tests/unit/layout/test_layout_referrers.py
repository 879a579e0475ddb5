"""Who refers to what in a layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrord.errors import (
    ContentMismatchError,
)
from mirrord.oci.mediatype import OCI_MANIFEST
from tests.contract.images import as_fields, blob_of, build_artifact, build_image, build_index
from tests.unit.layout.layouts import (
    file_of,
    reader_of,
    tagged,
    write_layout,
)

pytestmark = pytest.mark.anyio

IMAGE = build_image()
DIGEST = IMAGE.digest


async def test_referrers_are_found_by_the_fallback_tag_too(layout: Path) -> None:
    """A layout copied from a registry without a referrers API may have nothing but that tag."""
    signature = build_artifact(IMAGE.manifest.descriptor)
    unsaid = build_image("refers to nothing itself")
    gone = build_image("gone")
    fallback = build_index(signature.manifest, unsaid.manifest, gone.manifest)
    write_layout(
        layout,
        [tagged(IMAGE.manifest.descriptor, "latest"), tagged(fallback.descriptor, f"sha256-{DIGEST.hex}")],
        [IMAGE.manifest.raw, fallback.raw, signature.manifest.raw, unsaid.manifest.raw],
    )

    answer = await reader_of(layout).referrers(DIGEST)

    assert answer.from_api
    assert [found.digest for found in answer.descriptors] == [signature.digest, unsaid.digest]
    assert answer.descriptors[0].artifact_type == "application/vnd.example.signature"


async def test_tag_that_only_looks_like_a_fallback_tag_names_no_referrers(layout: Path) -> None:
    other = build_image("other")
    write_layout(layout, [tagged(other.manifest.descriptor, f"sha256-{DIGEST.hex}")], [other.manifest.raw])

    assert (await reader_of(layout).referrers(DIGEST)).descriptors == ()


async def test_referrer_below_an_index_is_found_and_an_index_may_refer(layout: Path) -> None:
    signature = build_artifact(IMAGE.manifest.descriptor)
    holder = build_index(signature.manifest)
    referring = build_index(holder, subject=IMAGE.manifest.descriptor)
    write_layout(layout, [as_fields(referring.descriptor)], [referring.raw, holder.raw, signature.manifest.raw])

    found = (await reader_of(layout).referrers(DIGEST)).descriptors

    assert {descriptor.digest for descriptor in found} == {referring.descriptor.digest, signature.digest}
    assert {descriptor.artifact_type for descriptor in found} == {"", "application/vnd.example.signature"}


async def test_referrer_without_an_artifact_type_has_that_of_its_config(layout: Path) -> None:
    signature = build_artifact(IMAGE.manifest.descriptor, artifact_type="")
    write_layout(layout, [as_fields(signature.manifest.descriptor)], [signature.manifest.raw])

    found = (await reader_of(layout).referrers(DIGEST)).descriptors

    assert [descriptor.artifact_type for descriptor in found] == ["application/vnd.oci.empty.v1+json"]


async def test_search_for_referrers_passes_over_what_it_cannot_read_as_a_manifest(layout: Path) -> None:
    signature = build_artifact(IMAGE.manifest.descriptor)
    text = {**as_fields(blob_of(b"<xml/>", "application/xml"))}
    schema1 = blob_of(b'{"schemaVersion": 1}', OCI_MANIFEST)
    sparse = build_index(IMAGE.manifest, signature.manifest)
    write_layout(
        layout,
        [text, as_fields(schema1), as_fields(sparse.descriptor), as_fields(sparse.descriptor)],
        [b"<xml/>", b'{"schemaVersion": 1}', sparse.raw, signature.manifest.raw],
    )

    found = (await reader_of(layout).referrers(DIGEST)).descriptors

    assert [descriptor.digest for descriptor in found] == [signature.digest]


@pytest.mark.covers("C9")
async def test_damaged_manifest_fails_the_search_for_referrers(layout: Path) -> None:
    """It may be the signature: an image without its signature must not count as copied."""
    signature = build_artifact(IMAGE.manifest.descriptor)
    write_layout(layout, [as_fields(signature.manifest.descriptor)])
    file_of(layout, signature.digest).write_bytes(b"{}")

    with pytest.raises(ContentMismatchError):
        await reader_of(layout).referrers(DIGEST)
