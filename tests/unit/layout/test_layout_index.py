"""index.json as a value."""

from __future__ import annotations

import json

import pytest

from mirrord.errors import InvalidDigestError, InvalidManifestError, LayoutError
from mirrord.layout.index import LayoutIndex
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.planning.listing import TagEntry
from tests.contract.images import as_fields, build_image
from tests.unit.layout.layouts import REF_NAME

ONE, TWO = build_image("one").manifest.descriptor, build_image("two").manifest.descriptor


def named(name: object, descriptor: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    return {**(descriptor or as_fields(ONE)), "annotations": {REF_NAME: name}, **more}


def index_of(*entries: object, **more: object) -> LayoutIndex:
    return LayoutIndex.parse(json.dumps({"schemaVersion": 2, "manifests": entries, **more}).encode(), "index.json")


def written(index: LayoutIndex) -> dict[str, object]:
    found = json.loads(index.to_bytes())
    assert isinstance(found, dict)
    return found


def test_tags_are_told_once_each_with_their_digests() -> None:
    index = index_of(named("1.0"), as_fields(TWO), named("latest", as_fields(TWO)), named("1.0"))

    assert index.tags().entries == (
        TagEntry(tag=Tag("1.0"), digest=ONE.digest),
        TagEntry(tag=Tag("latest"), digest=TWO.digest),
    )


@pytest.mark.covers("A51")
@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "docker.io/library/nginx:1.27", "-rf", ".hidden", "a" * 129, "tag\n", "täg"],
    ids=["path", "reference", "option", "dot", "long", "newline", "umlaut"],
)
def test_names_that_are_no_tags_are_counted_and_left_out(name: str) -> None:
    page = index_of(named(name), named("good")).tags()

    assert [entry.tag.name for entry in page.entries] == ["good"]
    assert page.skipped == 1


@pytest.mark.parametrize("name", ["", None, 5, ["x"]], ids=str)
def test_entries_without_a_name_are_no_tags_and_not_counted(name: object) -> None:
    assert index_of(named(name)).tags().skipped == 0
    assert index_of(named(name)).tags().entries == ()


@pytest.mark.parametrize(
    ("digest", "code"),
    [
        ("sha256:../../../etc/passwd", "DIGEST_INVALID"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", "DIGEST_ALGORITHM_UNSUPPORTED"),
    ],
    ids=["traversal", "md5"],
)
@pytest.mark.covers("A51")
def test_tag_with_an_unusable_digest_is_listed_without_it_and_refused_when_asked_for(digest: str, code: str) -> None:
    index = index_of(named("bad", {**as_fields(ONE), "digest": digest}), named("good"))

    assert [entry.digest for entry in index.tags().entries] == [None, ONE.digest]
    assert [found.digest for found in index.manifests()] == [ONE.digest]
    assert index.named(Tag("bad")) == ()
    with pytest.raises(InvalidDigestError) as caught:
        index.find(Tag("bad"))
    assert caught.value.code == code


def test_entry_that_is_no_descriptor_names_its_tag_in_the_error() -> None:
    with pytest.raises(InvalidManifestError, match=r'the entry of "bad" in index\.json'):
        index_of(named("bad", {"digest": str(ONE.digest)})).find(Tag("bad"))


def test_tag_with_two_digests_is_listed_without_digest_and_refused_when_asked_for() -> None:
    index = index_of(named("latest"), named("latest", as_fields(TWO)))

    assert index.tags().entries == (TagEntry(tag=Tag("latest"), digest=None),)
    with pytest.raises(LayoutError, match='the tag "latest" 2 times') as caught:
        index.find(Tag("latest"))
    assert caught.value.code == "LAYOUT_AMBIGUOUS"


def test_tag_that_stands_twice_with_one_digest_is_that_digest() -> None:
    found = index_of(named("latest"), named("latest")).find(Tag("latest"))

    assert found is not None
    assert found.digest == ONE.digest


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "is not JSON"),
        (b"[]", "not an object"),
        (b'{"manifests": {}}', "not a list of objects"),
        (b'{"manifests": ["x"]}', "not a list of objects"),
        (b'{"manifests": [], "manifests": []}', "stands twice"),
        (b'{"manifests": ' + b"[" * 100, "nests deeper"),
    ],
    ids=["empty", "list", "object", "text", "duplicate-key", "deep"],
)
def test_index_that_is_none_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(LayoutError, match=text) as caught:
        LayoutIndex.parse(raw, "oci:x: index.json")
    assert caught.value.code == "LAYOUT_INVALID"
    assert caught.value.remedy


@pytest.mark.parametrize("raw", [b'{"schemaVersion": 2, "manifests": null}', b"{}"], ids=["null", "missing"])
def test_index_without_a_list_is_empty(raw: bytes) -> None:
    assert LayoutIndex.parse(raw, "index.json").tags().entries == ()


def test_new_index_is_what_the_specification_asks_for() -> None:
    assert written(LayoutIndex.empty()) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }


def test_changes_keep_what_other_tools_wrote() -> None:
    theirs = named("theirs", platform={"os": "linux", "architecture": "arm64"}, note=1.5)
    index = index_of(theirs, annotations={"org.example": "ümlaut"}, more=[10**20])

    changed = written(index.with_tag(Tag("ours"), TWO))

    assert changed["annotations"] == {"org.example": "ümlaut"}
    assert changed["more"] == [10**20]
    assert changed["manifests"] == [theirs, named("ours", as_fields(TWO))]


def test_tag_replaces_every_entry_of_its_name_and_the_nameless_one_of_its_digest() -> None:
    index = index_of(named("latest"), as_fields(TWO), named("keep"), named("latest"))

    changed = index.with_tag(Tag("latest"), TWO)

    assert written(changed)["manifests"] == [named("keep"), named("latest", as_fields(TWO))]


def test_changes_that_change_nothing_return_the_same_value() -> None:
    index = index_of(named("latest"), as_fields(TWO))

    assert index.with_tag(Tag("latest"), ONE) is index
    assert index.with_bare(ONE) is index
    assert index.with_bare(TWO) is index
    assert index.without_tag(Tag("other")) is index
    assert index.without_bare({ONE.digest}) is index
    assert index.without_digest(Digest.of(b"other")) is index


def test_nameless_entries_of_other_tools_with_notes_are_kept() -> None:
    noted = {**as_fields(ONE), "annotations": {"io.containerd.image.name": "docker.io/library/nginx:1"}}
    index = index_of(noted, as_fields(TWO))

    assert not index.lists_bare(ONE.digest)
    assert index.lists_bare(TWO.digest)
    assert written(index.without_bare({ONE.digest, TWO.digest}))["manifests"] == [noted]


def test_digest_is_taken_away_with_all_its_names() -> None:
    index = index_of(named("a"), as_fields(ONE), named("b"), named("c", as_fields(TWO)))

    assert written(index.without_digest(ONE.digest))["manifests"] == [named("c", as_fields(TWO))]


def test_digest_is_found_in_the_first_entry_that_can_be_read() -> None:
    index = index_of({"digest": str(ONE.digest)}, as_fields(ONE))

    assert index.find_digest(ONE.digest) == ONE
    assert index.find_digest(TWO.digest) is None
