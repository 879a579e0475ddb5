from __future__ import annotations

from collections.abc import Collection

import pytest

from mirrord.errors import InvalidManifestError, ListingIncompleteError, NotFoundError, UnavailableError
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import Index
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from mirrord.planning.graph import MAX_DEPTH
from mirrord.planning.rule import Referrers
from mirrord.transfer.graph import (
    MAX_ATTACHMENTS,
    MAX_METADATA,
    Attachment,
    ManifestCache,
    artifact_type,
    find_attachments,
)
from tests.fakes.images import Content, child, index_of, make_artifact, make_image, make_index
from tests.fakes.memory import Memory

pytestmark = pytest.mark.anyio

SOURCE = Repository("source.test", "app")
ALL = Referrers()
SBOM = "application/spdx+json"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"


@pytest.fixture(params=[True, False], ids=["api", "fallback tag"])
def api(request: pytest.FixtureRequest) -> bool:
    has_api: bool = request.param
    return has_api


@pytest.fixture
def memory() -> Memory:
    return Memory()


async def find(
    memory: Memory,
    root: Content,
    wanted: Referrers = ALL,
    *,
    tags: Collection[Tag] | None = None,
    omit: Collection[Digest] = (),
) -> tuple[Attachment, ...]:
    return await find_attachments(memory.reader(SOURCE), root.graph(), wanted, tags=tags, omit=omit)


def digests(found: tuple[Attachment, ...]) -> list[Digest]:
    return [attachment.graph.root.descriptor.digest for attachment in found]


def nested(depth: int) -> Content:
    """Return an image below ``depth - 1`` indexes."""
    root = make_image("bottom")
    for _ in range(depth - 1):
        root = index_of([(root, child(root))])
    return root


# --- graphs


async def test_graph_of_an_image_is_the_image(memory: Memory) -> None:
    image = memory.add(SOURCE, make_image())

    graph = await ManifestCache(memory.reader(SOURCE)).graph(image.root)

    assert graph == image.graph()
    assert memory.log == []


async def test_graph_fetches_each_manifest_once_however_many_indexes_name_it(memory: Memory) -> None:
    shared, other = make_image("shared"), make_image("other")
    one = index_of([(shared, child(shared))])
    two = index_of([(other, child(other)), (shared, child(shared))])
    root = memory.add(SOURCE, index_of([(one, child(one)), (two, child(two)), (shared, child(shared))]))

    graph = await ManifestCache(memory.reader(SOURCE)).graph(root.root)

    assert graph == root.graph()
    assert memory.count("manifest") == 4
    assert len({operation.ref for operation in memory.log}) == 4


async def test_graph_leaves_out_what_is_absent(memory: Memory) -> None:
    index = memory.add(SOURCE, make_index())
    absent = frozenset({index.index.manifests[0].digest})

    graph = await ManifestCache(memory.reader(SOURCE)).graph(index.root, absent)

    assert graph.absent == absent
    assert absent.isdisjoint({manifest.descriptor.digest for manifest in graph.manifests})
    assert memory.count("manifest", ref=next(iter(absent))) == 0


@pytest.mark.covers("C37")
@pytest.mark.parametrize(("depth", "code"), [(MAX_DEPTH, ""), (MAX_DEPTH + 1, "GRAPH_TOO_DEEP")], ids=["most", "more"])
async def test_graph_has_at_most_eight_levels(memory: Memory, depth: int, code: str) -> None:
    root = memory.add(SOURCE, nested(depth))
    found = ""
    try:
        await ManifestCache(memory.reader(SOURCE)).graph(root.root)
    except InvalidManifestError as exc:
        found = exc.code

    assert found == code


@pytest.mark.covers("C37")
async def test_graph_has_at_most_five_thousand_manifests(memory: Memory) -> None:
    image = make_image()
    padding = [
        {"mediaType": image.descriptor.media_type, "digest": str(Digest.of(str(i).encode())), "size": 10}
        for i in range(5_000)
    ]
    root = index_of([], extra={"manifests": padding})
    memory.add(SOURCE, root)

    with pytest.raises(InvalidManifestError) as caught:
        await ManifestCache(memory.reader(SOURCE)).graph(root.root)

    assert caught.value.code == "GRAPH_TOO_LARGE"
    assert memory.log == []


@pytest.mark.covers("C37")
async def test_graph_has_a_bounded_number_of_bytes(memory: Memory) -> None:
    heavy = [make_image(f"heavy {i}", annotations={"padding": "x" * 7_000_000}) for i in range(6)]
    root = memory.add(SOURCE, index_of([(image, child(image)) for image in heavy]))

    with pytest.raises(InvalidManifestError) as caught:
        await ManifestCache(memory.reader(SOURCE)).graph(root.root)

    assert caught.value.code == "GRAPH_TOO_LARGE"
    assert sum(len(image.raw) for image in heavy) > MAX_METADATA


async def test_graph_of_an_index_that_lacks_a_child_is_not_found(memory: Memory) -> None:
    index = memory.add(SOURCE, make_index())
    del memory.at(SOURCE).manifests[index.index.manifests[1].digest]

    with pytest.raises(NotFoundError):
        await ManifestCache(memory.reader(SOURCE)).graph(index.root)


# --- attachments


@pytest.mark.covers("C9")
async def test_attachments_are_found_by_api_and_by_fallback_tag(memory: Memory, api: bool) -> None:
    memory.hosts[SOURCE.host].referrers_api = api
    image = memory.add(SOURCE, make_image())
    sbom = memory.add(SOURCE, make_artifact("sbom", subject=image.descriptor))
    signature = memory.add(SOURCE, make_artifact("signature", subject=image.descriptor))

    found = await find(memory, image)

    assert set(digests(found)) == {sbom.digest, signature.digest}
    assert all(attachment.tag is None for attachment in found)


@pytest.mark.covers("C9")
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
async def test_attachments_are_found_by_the_tags_of_cosign(memory: Memory, listed: bool) -> None:
    image = memory.add(SOURCE, make_image(), "1.0")
    tags = cosign_tags(image.digest)
    attached = [memory.add(SOURCE, make_artifact(str(tag)), str(tag)) for tag in tags]

    found = await find(memory, image, tags=set(memory.at(SOURCE).tags) if listed else None)

    assert digests(found) == [member.digest for member in attached]
    assert [attachment.tag for attachment in found] == list(tags)


async def test_attachments_that_a_listing_does_not_show_are_not_asked_for(memory: Memory) -> None:
    memory.hosts[SOURCE.host].referrers_api = False
    index = memory.add(SOURCE, make_index(), "1.0")

    assert await find(memory, index, tags={Tag("1.0")}) == ()
    assert memory.count("head") == 0
    assert await find(memory, index, tags={Tag("1.0")}) == ()
    assert memory.count("referrers") <= 3


@pytest.mark.covers("C9")
async def test_attachments_of_attachments_are_found(memory: Memory, api: bool) -> None:
    memory.hosts[SOURCE.host].referrers_api = api
    image = memory.add(SOURCE, make_image())
    sbom = memory.add(SOURCE, make_artifact("sbom", subject=image.descriptor))
    by_referrer = memory.add(SOURCE, make_artifact("signature", subject=sbom.descriptor))
    tag = cosign_tags(sbom.digest)[0]
    by_tag = memory.add(SOURCE, make_artifact("tagged"), str(tag))

    found = await find(memory, image)

    assert set(digests(found)) == {sbom.digest, by_referrer.digest, by_tag.digest}
    assert digests(found)[0] == sbom.digest


async def test_attachments_of_every_platform_are_found(memory: Memory) -> None:
    index = memory.add(SOURCE, make_index())
    attached = [
        memory.add(SOURCE, make_artifact(str(i), subject=member)) for i, member in enumerate(index.index.manifests)
    ]

    assert set(digests(await find(memory, index))) == {member.digest for member in attached}


@pytest.mark.covers("A28")
async def test_attachments_of_a_rewritten_index_are_left_behind(memory: Memory) -> None:
    index = memory.add(SOURCE, make_index())
    memory.add(SOURCE, make_artifact("of the index", subject=index.descriptor))
    kept = memory.add(SOURCE, make_artifact("of a child", subject=index.index.manifests[0]))

    assert digests(await find(memory, index, omit=(index.digest,))) == [kept.digest]


async def test_attachments_are_not_looked_for_where_the_rule_wants_none(memory: Memory) -> None:
    image = memory.add(SOURCE, make_image())
    memory.add(SOURCE, make_artifact(subject=image.descriptor))

    assert await find(memory, image, Referrers(enabled=False)) == ()
    assert memory.log == []


async def test_attachments_are_filtered_by_type(memory: Memory, api: bool) -> None:
    memory.hosts[SOURCE.host].referrers_api = api
    image = memory.add(SOURCE, make_image())
    sbom = memory.add(SOURCE, make_artifact("sbom", subject=image.descriptor, artifact_type=SBOM))
    memory.add(SOURCE, make_artifact("signature", subject=image.descriptor, artifact_type=SIGNATURE))
    memory.add(SOURCE, make_artifact("tagged", artifact_type=SIGNATURE), str(cosign_tags(image.digest)[0]))

    assert digests(await find(memory, image, Referrers(types=(SBOM,)))) == [sbom.digest]


async def test_attachments_without_a_type_have_that_of_their_config(memory: Memory) -> None:
    image = make_image()

    assert artifact_type(image.root) == image.manifest.config.media_type
    assert artifact_type(make_index().root) == ""
    assert artifact_type(make_artifact(artifact_type=SBOM).root) == SBOM


@pytest.mark.covers("E69:subject elsewhere")
async def test_attachments_are_those_whose_subject_is_the_image(memory: Memory) -> None:
    """A tag of somebody's own may look like the fallback tag."""
    memory.hosts[SOURCE.host].referrers_api = False
    image = memory.add(SOURCE, make_image())
    other, elsewhere = make_image("other"), make_artifact(subject=make_image("third").descriptor)
    memory.add(
        SOURCE, index_of([(other, child(other)), (elsewhere, child(elsewhere))]), str(fallback_tag(image.digest))
    )

    assert await find(memory, image) == ()


async def test_attachments_that_are_indexes_come_whole(memory: Memory) -> None:
    image = memory.add(SOURCE, make_image())
    members = [make_artifact(f"member {i}") for i in range(2)]
    subject = {"mediaType": image.descriptor.media_type, "digest": str(image.digest), "size": image.descriptor.size}
    bundle = memory.add(SOURCE, index_of([(m, child(m)) for m in members], extra={"subject": subject}))

    (found,) = await find(memory, image)

    assert isinstance(found.graph.root, Index)
    assert len(found.graph.manifests) == 3
    assert found.graph.root.descriptor.digest == bundle.digest


async def test_attachment_under_two_names_keeps_both(memory: Memory) -> None:
    """An attestation may be an SBOM too, and a signature may have both a subject and cosign's tag."""
    image = memory.add(SOURCE, make_image())
    _, attestation, sbom = cosign_tags(image.digest)
    both = memory.add(SOURCE, make_artifact("both", subject=image.descriptor), str(attestation), str(sbom))

    found = await find(memory, image)

    assert set(digests(found)) == {both.digest}
    assert {attachment.tag for attachment in found} >= {attestation, sbom}


@pytest.mark.covers("A32", "C37", "E69:cap")
async def test_attachments_beyond_a_thousand_are_an_error(memory: Memory) -> None:
    image = memory.add(SOURCE, make_image())
    held = memory.at(SOURCE)
    template = make_artifact("0", subject=image.descriptor)
    held.blobs |= template.blobs
    for i in range(MAX_ATTACHMENTS + 1):
        held.manifests |= make_artifact("0", subject=image.descriptor, annotations={"number": str(i)}).manifests

    with pytest.raises(ListingIncompleteError):
        await find(memory, image)

    assert memory.count("manifest") <= MAX_ATTACHMENTS + 1


@pytest.mark.covers("C37")
async def test_attachments_have_a_bounded_number_of_bytes(memory: Memory) -> None:
    image = memory.add(SOURCE, make_image())
    for i in range(6):
        memory.add(SOURCE, make_artifact(str(i), subject=image.descriptor, annotations={"padding": "x" * 7_000_000}))

    with pytest.raises(InvalidManifestError) as caught:
        await find(memory, image)

    assert caught.value.code == "GRAPH_TOO_LARGE"
    assert memory.count("manifest") < 6


async def test_attachments_chained_without_end_are_an_error(memory: Memory) -> None:
    subject = memory.add(SOURCE, make_image())
    image = subject
    for i in range(MAX_DEPTH + 1):
        subject = memory.add(SOURCE, make_artifact(str(i), subject=subject.descriptor))

    with pytest.raises(InvalidManifestError) as caught:
        await find(memory, image)

    assert caught.value.code == "GRAPH_TOO_DEEP"


@pytest.mark.parametrize("verb", ["referrers", "head", "manifest"])
async def test_attachments_that_cannot_be_asked_for_are_never_taken_for_none(memory: Memory, verb: str) -> None:
    image = memory.add(SOURCE, make_image())
    memory.add(SOURCE, make_artifact(subject=image.descriptor))
    memory.fail(verb, UnavailableError("no answer"), times=None)

    with pytest.raises(UnavailableError):
        await find(memory, image)
