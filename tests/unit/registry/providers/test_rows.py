"""Rows of tag lists: read without trust, and of several rows of one tag the newest."""

from __future__ import annotations

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.planning.listing import TagEntry, TagPage
from mirrord.registry.providers.rows import NewestRows, read_digest, read_tag
from tests.fakes.images import digest_of

ONE, TWO = digest_of("one"), digest_of("two")


@pytest.mark.parametrize(
    ("name", "tag"), [("1.0", Tag("1.0")), ("a/b", None), ("", None), (1, None), (None, None), (["1.0"], None)]
)
def test_name_of_a_row_is_a_tag_or_nothing(name: object, tag: Tag | None) -> None:
    assert read_tag(name) == tag


@pytest.mark.parametrize(
    ("text", "digest"), [(str(ONE), ONE), ("", None), ("md5:1", None), (None, None), (1, None), ({}, None)]
)
def test_digest_of_a_row_that_is_none_is_not_told(text: object, digest: Digest | None) -> None:
    assert read_digest(text) == digest


@pytest.mark.parametrize(
    ("rows", "digest"),
    [
        ([(1, ONE), (2, TWO)], TWO),
        ([(2, ONE), (1, TWO)], ONE),
        ([(1, ONE), (1, ONE)], ONE),
        ([(1, ONE), (1, TWO)], None),
        ([(1, ONE), (1, TWO), (2, ONE)], ONE),
        ([(1, None)], None),
    ],
    ids=["newer", "older", "the same", "as new, and another", "settled by a newer one", "without a digest"],
)
def test_newest_row_of_a_tag_counts(rows: list[tuple[int, Digest | None]], digest: Digest | None) -> None:
    newest: NewestRows[int] = NewestRows()
    for moment, found in rows:
        newest.add("1.0", moment, found)

    assert newest.page() == TagPage(entries=(TagEntry(tag=Tag("1.0"), digest=digest),), skipped=0)


def test_page_tells_what_was_new_since_the_one_before_and_counts_what_is_no_tag() -> None:
    newest: NewestRows[int] = NewestRows()
    assert not newest
    newest.add("1.0", 1, ONE)
    newest.add("a/b", 1, ONE)
    newest.add(None, 1, ONE)
    first = newest.page()
    newest.add("1.0", 1, ONE)
    newest.add("2.0", 1, TWO)

    assert first == TagPage(entries=(TagEntry(tag=Tag("1.0"), digest=ONE),), skipped=2)
    assert newest.page() == TagPage(entries=(TagEntry(tag=Tag("2.0"), digest=TWO),), skipped=0)
    assert newest
