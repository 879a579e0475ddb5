from __future__ import annotations

from mirrord.demo.registry import Store
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import OCI_MANIFEST

CONTENT = b"layer"


def test_store_answers_for_what_is_not_there() -> None:
    store = Store()
    digest = Digest.of(CONTENT)

    assert store.repositories() == []
    assert (store.tags("a"), store.manifests("a"), store.blobs("a"), store.uploads("a")) == ({}, {}, frozenset(), ())
    assert (store.blob("a", digest), store.manifest("a", "1"), store.upload("a", "1")) == (None, None, None)
    assert not store.knows("a")
    assert not store.mount("a", "b", digest)
    assert not store.remove_blob("a", digest)
    assert not store.remove_manifest("a", digest)
    assert not store.untag("a", "1")


def test_store_forgets_content_with_its_last_link() -> None:
    store = Store()
    digest = store.add_blob("a", CONTENT)
    store.add_blob("a", CONTENT)
    store.mount("b", "a", digest)

    store.remove_blob("a", digest)
    assert store.blob("b", digest) == CONTENT
    store.remove_blob("b", digest)

    assert not store.mount("c", "b", digest)
    assert store.blobs("b") == frozenset()


def test_store_returns_copies() -> None:
    store = Store()
    store.add_manifest("a", b"{}", OCI_MANIFEST, tags=["1"])

    store.tags("a").clear()
    store.manifests("a").clear()

    assert list(store.tags("a")) == ["1"]
    assert len(store.manifests("a")) == 1


def test_store_takes_any_bytes_as_a_manifest() -> None:
    store = Store()

    digest = store.add_manifest("a", b"no json", OCI_MANIFEST, tags=["1"])

    stored = store.manifest("a", digest)
    assert stored is not None
    assert (stored.raw, stored.subject, stored.artifact_type) == (b"no json", None, "")


def test_store_lets_a_tag_point_at_nothing() -> None:
    store = Store()

    store.tag("a", "1", Digest.of(b"gone"))

    assert store.manifest("a", "1") is None
    assert store.knows("a")


def test_store_gives_each_session_its_own_id() -> None:
    store = Store()

    first, second = store.open_upload("a"), store.open_upload("a")

    assert first.id != second.id
    assert store.uploads("a") == (first, second)
    assert store.upload("b", first.id) is None
