import json
from dataclasses import replace

import pytest

from mirrord.errors import InvalidManifestError
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, parse_manifest
from mirrord.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from mirrord.planning.graph import MAX_DEPTH, MAX_NODES, order_graph
from tests.fakes.images import Content, child, content, digest_of, index_of, make_artifact, make_image, make_index

SIZE = 10_000
"""Forged indexes are filled up to one size, so that they can name each other with the right one."""


def wrap(member: Content, levels: int) -> Content:
    """Put ``member`` below so many indexes."""
    for _ in range(levels):
        member = index_of([(member, child(member))])
    return member


def forged(name: str, *children: str, size: int = SIZE, child_size: int = SIZE) -> AnyManifest:
    """Return an index under a digest that is not its own, as only a lying registry could serve it."""
    fields = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_INDEX, "digest": str(digest_of(one)), "size": child_size} for one in children],
    }
    return parse_manifest(json.dumps(fields).encode().ljust(size), digest=digest_of(name))


def known(*nodes: AnyManifest) -> dict[Digest, AnyManifest]:
    return {node.descriptor.digest: node for node in nodes}


def refusal(root: AnyManifest, below: dict[Digest, AnyManifest]) -> str:
    with pytest.raises(InvalidManifestError) as caught:
        order_graph(root, below)
    return caught.value.code


def test_graph_of_one_image_is_the_image() -> None:
    image = make_image()

    assert image.graph().manifests == (image.root,)
    assert image.graph().root is image.root
    assert image.graph().absent == frozenset()


@pytest.mark.covers("C1")
def test_graph_has_children_before_parents_and_the_root_last() -> None:
    inner = make_index("inner", attestations=True)
    image = make_image("beside")
    outer = index_of([(inner, child(inner)), (image, child(image))])
    ordered = [manifest.descriptor.digest for manifest in outer.graph().manifests]

    assert ordered[-1] == outer.digest
    assert ordered.index(inner.digest) == 4
    assert len(ordered) == 7
    assert set(ordered) == set(outer.manifests)


def test_graph_has_each_manifest_once() -> None:
    shared = make_image()
    one, other = wrap(shared, 1), wrap(shared, 2)
    root = index_of([(one, child(one)), (other, child(other)), (shared, child(shared))])

    assert [manifest.descriptor.digest for manifest in root.graph().manifests] == [
        shared.digest,
        one.digest,
        other.digest,
        root.digest,
    ]


@pytest.mark.covers("E29")
def test_graph_has_each_blob_once() -> None:
    layers = [content("shared")]
    index = make_index(layers=layers)
    blobs = [blob.digest for blob in index.graph().blobs()]

    assert len(blobs) == len(set(blobs)) == 3
    assert set(blobs) == set(index.blobs)


def test_graph_leaves_absent_children_out() -> None:
    index = make_index()
    first, second = index.index.children()
    sparse = order_graph(index.root, {second.digest: index.manifests[second.digest]}, absent=frozenset({first.digest}))

    assert [manifest.descriptor.digest for manifest in sparse.manifests] == [second.digest, index.digest]
    assert sparse.absent == {first.digest}


def test_graph_of_an_artifact_does_not_follow_its_subject() -> None:
    artifact = make_artifact(subject=make_image().descriptor)

    assert artifact.graph().manifests == (artifact.root,)


def test_graph_that_was_not_read_whole_is_refused() -> None:
    assert refusal(make_index().root, {}) == "GRAPH_INCOMPLETE"


@pytest.mark.covers("E13")
@pytest.mark.parametrize("size", [0, 10], ids=["smaller", "larger"])
def test_graph_with_a_child_of_another_size_is_refused(size: int) -> None:
    image = make_image()
    index = index_of([(image, replace(child(image), size=size))])

    with pytest.raises(InvalidManifestError, match=f"has {size} bytes; it has {len(image.raw)}") as caught:
        index.graph()
    assert caught.value.code == "SIZE_MISMATCH"


@pytest.mark.covers("E32")
@pytest.mark.parametrize("member", [make_image(), make_index()], ids=["image", "index"])
def test_graph_with_a_child_of_another_kind_is_refused(member: Content) -> None:
    said = OCI_MANIFEST if member.descriptor.is_index else OCI_INDEX
    index = index_of([(member, replace(child(member), media_type=said))])

    assert refusal(index.root, dict(index.manifests)) == "MEDIA_TYPE_MISMATCH"


@pytest.mark.parametrize(
    ("root", "below"),
    [
        pytest.param(forged("a", "b"), known(forged("b", "a"), forged("a", "b")), id="E32:two"),
        pytest.param(
            forged("a", "b"), known(forged("b", "c"), forged("c", "d"), forged("d", "b")), id="E32:below the root"
        ),
        pytest.param(
            forged("a", "leaf", "b"),
            known(forged("leaf"), forged("b", "leaf", "a"), forged("a", "b")),
            id="E31:beside a leaf",
        ),
    ],
)
def test_graph_with_a_cycle_is_refused(root: AnyManifest, below: dict[Digest, AnyManifest]) -> None:
    assert refusal(root, below) == "GRAPH_CYCLE"


@pytest.mark.covers("E34")
@pytest.mark.parametrize("levels", [MAX_DEPTH, 99], ids=["one too many", "a hundred"])
def test_graph_that_is_too_deep_is_refused(levels: int) -> None:
    deep = wrap(make_image(), levels)

    assert refusal(deep.root, dict(deep.manifests)) == "GRAPH_TOO_DEEP"


@pytest.mark.covers("E34")
def test_graph_of_the_greatest_depth_is_taken() -> None:
    assert len(wrap(make_image(), MAX_DEPTH - 1).graph().manifests) == MAX_DEPTH


@pytest.mark.parametrize("deep_first", [True, False], ids=["deep first", "shallow first"])
def test_graph_depth_does_not_depend_on_the_order_of_children(*, deep_first: bool) -> None:
    low = wrap(make_image(), 3)
    high = wrap(low, MAX_DEPTH - 4)
    pairs = [(high, child(high)), (low, child(low))]
    root = index_of(pairs if deep_first else pairs[::-1])

    assert refusal(root.root, dict(root.manifests)) == "GRAPH_TOO_DEEP"


@pytest.mark.covers("E33")
def test_graph_of_diamonds_is_walked_once() -> None:
    """Seven levels of thirty indexes, each naming all of the next level: 30^7 paths through 211 manifests."""
    levels = [[f"{level}-{number}" for number in range(30)] for level in range(MAX_DEPTH - 1)]
    nodes = [forged(name, *below) for level, below in zip(levels, [*levels[1:], []], strict=True) for name in level]

    assert len(order_graph(forged("root", *levels[0]), known(*nodes)).manifests) == 211


@pytest.mark.covers("E33")
def test_graph_of_diamonds_deeper_than_the_limit_is_refused() -> None:
    levels = [[f"{level}a", f"{level}b"] for level in range(30)]
    nodes = [forged(name, *below) for level, below in zip(levels, [*levels[1:], []], strict=True) for name in level]

    assert refusal(forged("root", *levels[0]), known(*nodes)) == "GRAPH_TOO_DEEP"


@pytest.mark.covers("E35")
def test_graph_of_too_many_manifests_is_refused_before_it_is_walked() -> None:
    names = [[f"{group}-{number}" for number in range(MAX_NODES // 2)] for group in range(2)]
    groups = [forged(f"group{number}", *members, size=1_000_000) for number, members in enumerate(names)]
    root = forged("root", "group0", "group1", child_size=1_000_000)
    below = known(*groups, *(forged(name) for members in names for name in members))

    assert refusal(root, below) == "GRAPH_TOO_LARGE"


@pytest.mark.covers("E35")
def test_graph_of_the_most_manifests_is_taken() -> None:
    names = [str(number) for number in range(MAX_NODES - 1)]

    assert len(order_graph(forged("root", *names), known(*map(forged, names))).manifests) == MAX_NODES
