import json
from collections.abc import Mapping, Sequence

import pytest

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import Index, parse_manifest
from mirrord.oci.mediatype import DOCKER_LIST, OCI_INDEX
from mirrord.oci.platform import Platform
from mirrord.planning.rewrite import absent_children, filter_index, rewrite_index
from mirrord.planning.rule import IndexMode, PlatformSelector
from tests.fakes.images import (
    ATTESTATION_SUBJECT,
    child,
    descriptor_json,
    digest_of,
    index_of,
    make_artifact,
    make_image,
    make_index,
)

AMD64, ARM64, S390X = Platform("linux", "amd64"), Platform("linux", "arm64"), Platform("linux", "s390x")
UNKNOWN = Platform("unknown", "unknown")
IMAGE = make_image().descriptor


def wanted(*platforms: str) -> PlatformSelector:
    return PlatformSelector(platforms=tuple(map(Platform.parse, platforms)))


def member(
    name: str,
    platform: Platform | None = None,
    annotations: Mapping[str, str] | None = None,
    media_type: str = IMAGE.media_type,
) -> Descriptor:
    return Descriptor(
        media_type=media_type, digest=digest_of(name), size=1, platform=platform, annotations=annotations or {}
    )


def about(name: str, subject: str, platform: Platform | None = UNKNOWN) -> Descriptor:
    return member(name, platform, {ATTESTATION_SUBJECT: str(digest_of(subject))})


def make(*members: Descriptor) -> Index:
    fields = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor_json(one) for one in members]}
    index = parse_manifest(json.dumps(fields).encode())
    assert isinstance(index, Index)
    return index


def names(descriptors: Sequence[Descriptor], *all_names: str) -> list[str]:
    known = {digest_of(name): name for name in all_names}
    return [known[one.digest] for one in descriptors]


def test_filter_without_platforms_keeps_everything() -> None:
    index = make_index(attestations=True).index
    filtered = filter_index(index, PlatformSelector())

    assert filtered.kept == index.manifests
    assert (filtered.dropped, filtered.missing) == ((), ())


@pytest.mark.parametrize(
    ("members", "platforms", "kept"),
    [
        pytest.param([member("a", AMD64), member("b", ARM64)], ["linux/arm64"], ["b"], id="one of two"),
        pytest.param([member("a", AMD64), member("b", ARM64)], ["linux/s390x"], [], id="none"),
        pytest.param(
            [member("a", Platform("linux", "arm", "v6")), member("b", Platform("linux", "arm", "v7"))],
            ["linux/arm/v7"],
            ["b"],
            id="variant",
        ),
        pytest.param([member("a", AMD64), member("b", AMD64)], ["linux/amd64"], ["a", "b"], id="E37:same platform"),
        pytest.param(
            [
                member("a", Platform("windows", "amd64", "", "10.1")),
                member("b", Platform("windows", "amd64", "", "10.2")),
            ],
            ["windows/amd64"],
            ["a", "b"],
            id="E37:versions of an os",
        ),
        pytest.param([member("a"), member("b", ARM64)], ["linux/amd64"], ["a"], id="E38:no platform"),
        pytest.param([member("a", Platform("", "")), member("b", ARM64)], ["linux/amd64"], ["a"], id="E38:empty"),
        pytest.param([member("a", UNKNOWN), member("b", ARM64)], ["linux/amd64"], ["a"], id="E38:about nothing"),
        pytest.param([member("a", Platform("linux", "")), member("b", AMD64)], ["linux/amd64"], ["b"], id="half"),
        pytest.param(
            [member("a", AMD64), member("b", ARM64), about("c", "a"), about("d", "b")],
            ["linux/amd64"],
            ["a", "c"],
            id="E38:attestations",
        ),
        pytest.param(
            [about("d", "b"), about("c", "a"), member("b", ARM64), member("a", AMD64)],
            ["linux/amd64"],
            ["c", "a"],
            id="E38:attestations first",
        ),
        pytest.param([member("a", AMD64), about("c", "z")], ["linux/amd64"], ["a"], id="E38:about a stranger"),
        pytest.param([member("b", ARM64), about("c", "b", None)], ["linux/amd64"], [], id="E38:without platform"),
        pytest.param(
            [member("a", AMD64), about("b", "a", ARM64)], ["linux/arm64"], ["b"], id="E38:an image that refers to one"
        ),
        pytest.param([member("a"), about("c", "a")], ["linux/amd64"], ["a", "c"], id="E38:of an artifact"),
        pytest.param(
            [member("a", None, None, OCI_INDEX), member("b", ARM64)], ["linux/amd64"], ["a"], id="nested index"
        ),
    ],
)
def test_filter_keeps_what_is_wanted_in_order(members: list[Descriptor], platforms: list[str], kept: list[str]) -> None:
    filtered = filter_index(make(*members), wanted(*platforms))

    assert names(filtered.kept, "a", "b", "c", "d") == kept
    assert sorted(filtered.kept + filtered.dropped, key=members.index) == members


@pytest.mark.parametrize(
    ("members", "missing"),
    [
        pytest.param([member("a", AMD64), member("b", S390X)], [], id="all there"),
        pytest.param([member("a", AMD64)], [S390X], id="one"),
        pytest.param([member("a")], [AMD64, S390X], id="an artifact is for none"),
        pytest.param([about("a", "z")], [AMD64, S390X], id="an attestation is for none"),
        pytest.param([member("a", None, None, OCI_INDEX)], [], id="a nested index may hold any"),
        pytest.param([member("a", ARM64, None, OCI_INDEX)], [AMD64, S390X], id="a nested index of a platform"),
    ],
)
def test_filter_tells_which_platforms_are_missing(members: list[Descriptor], missing: list[Platform]) -> None:
    assert list(filter_index(make(*members), wanted("linux/amd64", "linux/s390x")).missing) == missing


@pytest.mark.covers("C1")
def test_sparse_copy_lacks_exactly_what_the_filter_left_out() -> None:
    index = make_index(platforms=["linux/amd64", "linux/arm64", "linux/s390x"], attestations=True).index
    selector = PlatformSelector(platforms=(AMD64,), mode=IndexMode.SPARSE)
    absent = absent_children(index, selector)

    assert absent == {one.digest for one in filter_index(index, selector).dropped}
    assert len(absent) == 4


def test_sparse_copy_has_content_that_stands_under_two_platforms() -> None:
    index = make(member("a", AMD64), member("a", ARM64), member("b", ARM64))

    assert absent_children(index, wanted("linux/amd64")) == {digest_of("b")}


@pytest.mark.covers("C2")
def test_rewriting_nothing_returns_the_index_itself() -> None:
    index = make_index(attestations=True).index

    assert rewrite_index(index, index.manifests) is index


@pytest.mark.parametrize("docker", [True, False], ids=["docker", "oci"])
def test_rewritten_index_has_the_kept_children_alone(*, docker: bool) -> None:
    index = make_index(attestations=not docker, docker=docker, annotations={"a": "b"}).index
    kept = filter_index(index, wanted("linux/arm64")).kept
    rewritten = rewrite_index(index, kept)

    assert rewritten.manifests == kept
    assert rewritten.descriptor.media_type == (DOCKER_LIST if docker else OCI_INDEX)
    assert rewritten.descriptor.digest == Digest.of(rewritten.raw) != index.descriptor.digest
    assert rewritten.descriptor.size == len(rewritten.raw) < len(index.raw)
    assert rewritten.annotations == index.annotations


@pytest.mark.covers("C2")
def test_rewritten_index_keeps_every_other_field_as_written() -> None:
    kept, dropped = (json.dumps(descriptor_json(member(name))) for name in "ab")
    kept = kept.replace('"size": 1', '"x-float": 1.50, "size": 1, "x-null": null, "x": [true, false, -0, 1E400, {}]')
    raw = (
        '{ "x-before": 12345678901234567890123456789012345678901234567890,\n "schemaVersion": 2, "x-text": '
        f'"\\u00e9 \\ud83d\\ude00 \\" \\n \u2028 </", "manifests": [{dropped}, {kept}],\n'
        f'"mediaType": "{OCI_INDEX}", "x-after": 1.000000000000000000001, "annotations": {{"b": "1", "a": "2"}} }}'
    )
    index = parse_manifest(raw.encode())
    assert isinstance(index, Index)
    rewritten = rewrite_index(index, index.manifests[1:])

    text = rewritten.raw.decode()
    assert text.startswith('{"x-before":12345678901234567890123456789012345678901234567890,"schemaVersion":2,')
    assert '"x-text":"\u00e9 \U0001f600 \\" \\n \u2028 </"' in text
    assert '"x-float":1.50,"size":1,"x-null":null,"x":[true,false,-0,1E400,{}]' in text
    assert text.endswith('"x-after":1.000000000000000000001,"annotations":{"b":"1","a":"2"}}')


def test_rewritten_index_without_a_type_inside_keeps_the_one_outside() -> None:
    fields = {"schemaVersion": 2, "manifests": [descriptor_json(member("a", AMD64)), descriptor_json(member("b"))]}
    index = parse_manifest(json.dumps(fields).encode(), media_type=OCI_INDEX)
    assert isinstance(index, Index)
    rewritten = rewrite_index(index, index.manifests[:1])

    assert b"mediaType" not in rewritten.raw.partition(b"[")[0]
    assert rewritten.descriptor.media_type == OCI_INDEX


def test_rewriting_drops_one_of_two_entries_of_one_digest() -> None:
    index = make(member("a", AMD64), member("a", ARM64))

    assert rewrite_index(index, filter_index(index, wanted("linux/arm64")).kept).manifests == (member("a", ARM64),)


def test_rewriting_to_nothing_gives_an_empty_index() -> None:
    assert rewrite_index(make(member("a")), ()).manifests == ()


def test_rewriting_of_an_index_under_sha512_gives_a_sha256() -> None:
    raw = make(member("a"), member("b")).raw
    index = parse_manifest(raw, digest=Digest.of(raw, "sha512"))
    assert isinstance(index, Index)

    assert rewrite_index(index, index.manifests[:1]).descriptor.digest.algorithm == "sha256"


def test_rewritten_index_keeps_its_subject() -> None:
    artifact = make_artifact()
    built = index_of(
        [(artifact, child(artifact)), (artifact, child(artifact, AMD64))], extra={"subject": descriptor_json(IMAGE)}
    )

    assert rewrite_index(built.index, built.index.manifests[:1]).subject == IMAGE
