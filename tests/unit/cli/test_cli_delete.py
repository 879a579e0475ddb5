from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mirrord.oci.digest import Digest
from mirrord.planning.attachment import cosign_tags, fallback_tag
from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.faults import Respond
from tests.fakes.images import child, index_of, make_artifact, make_image, make_index
from tests.fakes.profiles import DISTRIBUTION_V2, DISTRIBUTION_V3, Deletes, Refusal, TagList
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")

IMAGE = make_image("app")
OTHER = make_image("other")
ATTACHED = make_artifact("sbom", subject=IMAGE.descriptor)
SIGNATURE = make_artifact("signature")
SIGNATURE_TAG = str(cosign_tags(IMAGE.digest)[0])
OFF = Refusal(status=405, code="UNSUPPORTED", message="The operation is unsupported.")


@pytest.fixture
def v3() -> Iterator[FakeRegistry]:
    with serving(DISTRIBUTION_V3) as (registry,):
        yield registry


@pytest.fixture
def v2() -> Iterator[FakeRegistry]:
    """A registry that deletes by digest only."""
    with serving(DISTRIBUTION_V2) as (registry,):
        yield registry


def delete(registry: FakeRegistry, image: str, *options: str) -> Finished:
    return run_command("delete", f"{registry.host}/{image}", "--plain-http", registry.host, *options)


def deletions(registry: FakeRegistry) -> list[str]:
    return [record.route.reference for record in registry.traffic.records if record.method == "DELETE"]


@pytest.mark.covers("C17")
def test_delete_takes_a_tag_alone(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "1.0", "latest")

    done = delete(v3, "app:latest", "--yes")

    assert done.code == 0
    assert v3.store.tags("app") == {"1.0": IMAGE.digest}
    assert v3.traffic.counts["tags/list"] == 0
    assert done.stdout == f"deleted the tag {v3.host}/app:latest\n"


@pytest.mark.parametrize("named", ["app:1.0", f"app@{IMAGE.digest}"])
def test_delete_without_yes_only_says_what_it_would_do(v3: FakeRegistry, named: str) -> None:
    put(v3.store, "app", IMAGE, "1.0", "latest")
    put(v3.store, "app", OTHER, "2.0")

    done = delete(v3, named)

    assert done.code == 4
    assert "latest" in done.stdout
    assert "2.0" not in done.stdout
    assert "nothing was deleted" in done.stdout
    assert not deletions(v3)


def test_delete_by_tag_falls_back_to_the_digest_if_no_one_else_uses_it(v2: FakeRegistry) -> None:
    put(v2.store, "app", IMAGE, "1.0")
    put(v2.store, "app", OTHER, "2.0")

    done = delete(v2, "app:1.0", "--yes")

    assert done.code == 0
    assert v2.store.tags("app") == {"2.0": OTHER.digest}
    assert f"deleted {v2.host}/app@{IMAGE.digest}" in done.stdout


@pytest.mark.covers("C17")
def test_delete_by_tag_refuses_where_another_tag_would_go_with_it(v2: FakeRegistry) -> None:
    put(v2.store, "app", IMAGE, "1.0", "latest")

    done = delete(v2, "app:1.0", "--yes")

    assert done.code == 4
    assert "DIGEST_HAS_TAGS: the registry deletes by digest only" in done.stderr
    assert "also the tag latest, which would go with it" in done.stderr
    assert v2.store.tags("app") == {"1.0": IMAGE.digest, "latest": IMAGE.digest}
    assert deletions(v2) == ["1.0"]


@pytest.mark.covers("C17")
def test_delete_by_digest_refuses_while_tags_name_it(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "1.0", "latest")

    done = delete(v3, f"app@{IMAGE.digest}", "--yes")

    assert done.code == 4
    assert "has the tags 1.0, latest, which would go with it" in done.stderr
    assert not deletions(v3)


def test_delete_by_digest_takes_tags_along_when_told(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "1.0", "latest")

    done = delete(v3, f"app@{IMAGE.digest}", "--yes", "--with-tags", "--output", "json")

    told = json.loads(done.stdout)
    assert done.code == 0
    assert not v3.store.tags("app")
    assert (told["tags"], told["manifests"]) == (["1.0", "latest"], [str(IMAGE.digest)])


def test_delete_by_digest_may_take_the_one_tag_that_was_named_with_it(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "1.0")

    done = delete(v3, f"app:1.0@{IMAGE.digest}", "--yes")

    assert done.code == 0
    assert IMAGE.digest not in v3.store.manifests("app")


def test_delete_refuses_a_tag_that_is_no_longer_the_digest_named_with_it(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE)
    put(v3.store, "app", OTHER, "1.0")

    done = delete(v3, f"app:1.0@{IMAGE.digest}", "--yes")

    assert done.code == 1
    assert "it was moved" in done.stderr
    assert not deletions(v3)


@pytest.mark.covers("C17")
@pytest.mark.parametrize("depth", [1, 2], ids=["index", "index-of-indexes"])
def test_delete_never_breaks_an_index(v3: FakeRegistry, depth: int) -> None:
    root = make_index("app")
    for _ in range(depth - 1):
        root = index_of([(root, child(root))])
    put(v3.store, "app", root, "multi")
    member = next(digest for digest in root.manifests if digest != root.digest)

    done = delete(v3, f"app@{member}", "--yes", "--with-tags", "--with-attachments")

    assert done.code == 4
    assert f"DIGEST_IN_INDEX: {v3.host}/app@{member} is part of {v3.host}/app:multi" in done.stderr
    assert not deletions(v3)


@pytest.mark.covers("C17")
def test_delete_refuses_to_leave_attachments_without_an_image(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "1.0")
    put(v3.store, "app", ATTACHED)

    done = delete(v3, f"app:1.0@{IMAGE.digest}", "--yes")

    assert done.code == 4
    assert "DIGEST_HAS_ATTACHMENTS" in done.stderr
    assert str(ATTACHED.digest) in done.stderr
    assert not deletions(v3)


def test_delete_takes_attachments_along_when_told_the_image_last(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "1.0")
    put(v3.store, "app", ATTACHED)
    put(v3.store, "app", SIGNATURE, SIGNATURE_TAG)

    done = delete(v3, f"app:1.0@{IMAGE.digest}", "--yes", "--with-attachments")

    assert done.code == 0
    assert not v3.store.manifests("app")
    assert deletions(v3) == [str(SIGNATURE.digest), str(ATTACHED.digest), str(IMAGE.digest)]


def test_delete_spares_attachments_that_have_names_of_their_own(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE)
    put(v3.store, "app", ATTACHED, "sbom-1.0")

    done = delete(v3, f"app@{IMAGE.digest}", "--yes", "--with-attachments")

    assert done.code == 4
    assert "has tags of its own (sbom-1.0)" in done.stderr


def test_delete_takes_attachments_along_where_an_index_would_keep_them() -> None:
    held = Refusal(status=405, code="DENIED", message="an index holds it")
    with serving(replace(DISTRIBUTION_V2, deletes=replace(DISTRIBUTION_V2.deletes, referenced=held))) as (registry,):
        put(registry.store, "app", IMAGE, "1.0")
        put(registry.store, "app", index_of([(ATTACHED, child(ATTACHED))]), str(fallback_tag(IMAGE.digest)))

        done = delete(registry, "app:1.0", "--yes", "--with-attachments")

        assert (done.code, done.stderr) == (0, "")
        assert registry.store.manifests("app") == {}


def test_delete_finds_attachments_by_the_fallback_tag(v2: FakeRegistry) -> None:
    put(v2.store, "app", IMAGE, "1.0")
    listing = index_of([(ATTACHED, child(ATTACHED))])
    put(v2.store, "app", listing, f"sha256-{IMAGE.digest.hex}")

    refused = delete(v2, "app:1.0", "--yes")
    done = delete(v2, "app:1.0", "--yes", "--with-attachments")

    assert refused.code == 4
    assert done.code == 0
    assert not v2.store.manifests("app")


@pytest.mark.covers("C17")
def test_delete_decides_nothing_on_an_incomplete_listing() -> None:
    profile = replace(DISTRIBUTION_V3, tags=TagList(page_entries=1), deletes=DISTRIBUTION_V2.deletes)
    with serving(profile) as (registry,):
        put(registry.store, "app", IMAGE, "1.0", "latest")
        registry.fault(Respond(403), kind="tags/list", nth=2, times=None)

        done = delete(registry, "app:1.0", "--yes")

        assert done.code == 1
        assert "LISTING_INCOMPLETE" in done.stderr
        assert deletions(registry) == ["1.0"]


@pytest.mark.covers("C17")
def test_delete_decides_nothing_if_one_tag_cannot_be_asked_for(v2: FakeRegistry) -> None:
    put(v2.store, "app", IMAGE, "1.0", "latest")
    v2.fault(
        Respond(401),
        kind="manifest HEAD",
        where=lambda record: record.route.reference == "latest",
        times=None,
    )

    done = delete(v2, "app:1.0", "--yes", "--with-tags")

    assert done.code == 1
    assert deletions(v2) == ["1.0"]


@pytest.mark.parametrize("named", ["app:1.0", f"app:1.0@{IMAGE.digest}"], ids=["tag", "digest"])
def test_delete_says_how_to_switch_deletion_on(named: str) -> None:
    with serving(replace(DISTRIBUTION_V3, deletes=Deletes(tag=OFF, manifest=OFF))) as (registry,):
        put(registry.store, "app", IMAGE, "1.0")

        done = delete(registry, named, "--yes")

        assert done.code == 1
        assert "UNSUPPORTED" in done.stderr
        assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in done.stderr
        assert registry.store.tags("app") == {"1.0": IMAGE.digest}


def test_delete_takes_tags_first_where_a_registry_wants_that() -> None:
    dangling = Refusal(status=400, code="GOOGLE_MANIFEST_DANGLING_TAG", message="manifest is still referenced by tag")
    with serving(replace(DISTRIBUTION_V3, deletes=Deletes(manifest_with_tags=dangling))) as (registry,):
        put(registry.store, "app", IMAGE, "1.0", "latest")

        done = delete(registry, f"app@{IMAGE.digest}", "--yes", "--with-tags")

        assert done.code == 0
        assert not registry.store.manifests("app")


def test_delete_does_not_believe_a_registry_that_goes_on_serving(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "1.0")
    v3.fault(Respond(202), method="DELETE")

    done = delete(v3, "app:1.0", "--yes")

    assert done.code == 1
    assert "DELETION_NOT_SEEN" in done.stderr


@pytest.mark.parametrize("named", ["app:nope", f"app@{Digest.of(b'nothing')}"], ids=["tag", "digest"])
@pytest.mark.parametrize("options", [[], ["--yes"]], ids=["asked", "done"])
def test_delete_of_what_is_not_there_fails(v3: FakeRegistry, named: str, options: list[str]) -> None:
    put(v3.store, "app", IMAGE, "1.0")

    done = delete(v3, named, *options)

    assert done.code == 1
    assert "NOT_FOUND" in done.stderr


def test_delete_never_deletes_a_whole_repository(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "latest")

    done = delete(v3, "app", "--yes")

    assert done.code == 2
    assert "whole repositories are not deleted" in done.stderr
    assert not v3.traffic.counts


def test_delete_works_on_a_layout_directory(v3: FakeRegistry) -> None:
    put(v3.store, "app", IMAGE, "1.0")
    run_command("copy", f"{v3.host}/app:1.0", "oci:./there", "--plain-http", v3.host)

    done = run_command("delete", "oci:./there:1.0", "--yes")

    assert done.code == 0
    assert not run_command("tags", "oci:./there").stdout
