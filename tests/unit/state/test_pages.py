"""Images a page at a time: which, in which order, and how many in all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from mirrord.oci.reference import Repository
from mirrord.planning.memory import ImageState
from mirrord.planning.report import Problem
from mirrord.planning.status import ImageStatus, ProblemStatus
from mirrord.ports.history import ImageQuery
from mirrord.state import SqlState
from mirrord.state.pages import ORDER, filtered
from mirrord.state.tables import IMAGES
from tests.fakes.clock import START
from tests.fakes.states import ONE, SOURCE, TARGET, TWO, image, opened, sql

pytestmark = pytest.mark.anyio

OTHER = Repository("source.test", "other")
STATES = (ImageState.IN_SYNC, ImageState.FAILED, ImageState.BLOCKED)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqlState]:
    """Two rules with two sources of 15 images, of three states in turn."""
    async with opened(tmp_path) as found:
        for rule in ("b", "a"):
            for source in (SOURCE, OTHER):
                images = [image(f"v{n:02}", state=STATES[n % 3]) for n in range(15)]
                found.memory.keep_images(rule, source, reversed(images))
        yield found


async def names(state: SqlState, query: ImageQuery) -> list[tuple[str, str, str | None]]:
    """Return what all pages of a question show."""
    found: list[tuple[str, str, str | None]] = []
    after = None
    while True:
        page = await state.history.images(replace(query, after=after))
        assert len(page.images) <= query.limit
        found += [(one.rule, one.source, one.tag) for one in page.images]
        after = page.next
        if after is None:
            assert page.total == len(found)
            return found


def wanted(rules: str = "ab", states: Collection[ImageState] = STATES) -> list[tuple[str, str, str | None]]:
    return [
        (rule, str(source), f"v{n:02}")
        for rule in rules
        for source in sorted((SOURCE, OTHER))
        for n in range(15)
        if STATES[n % 3] in states
    ]


@pytest.mark.parametrize("limit", [1, 7, 60, 100])
async def test_pages_show_every_image_once_in_order(state: SqlState, limit: int) -> None:
    assert await names(state, ImageQuery(limit=limit)) == wanted()


@pytest.mark.parametrize("limit", [3, 10, 100])
@pytest.mark.parametrize(
    "states", [(ImageState.FAILED,), (ImageState.FAILED, ImageState.BLOCKED), STATES, (ImageState.WAITING,)]
)
async def test_pages_of_states_are_in_the_same_order(
    state: SqlState, states: tuple[ImageState, ...], limit: int
) -> None:
    assert await names(state, ImageQuery(states=states, limit=limit)) == wanted(states=states)
    assert await names(state, ImageQuery(rule="a", states=states, limit=limit)) == wanted("a", states)


async def test_page_of_an_unknown_rule_is_empty(state: SqlState) -> None:
    assert await names(state, ImageQuery(rule="c")) == []


@pytest.mark.parametrize(
    ("search", "count"),
    [
        ("v07", 4),
        ("V07", 4),
        ("other", 30),
        ("TARGET.test:5000/mirror", 60),
        (str(ONE), 60),
        (ONE.hex[:12].upper(), 60),
        (ONE.hex[3:9], 60),
        (str(TWO), 0),
        ("%", 0),
        ("_07", 0),
        ("v0_", 0),
        ("\\", 0),
        ("'", 0),
        ("\0", 0),
        ("v07\0", 0),
        pytest.param("x" * 100_000, 0, id="long"),
        pytest.param("half \ud800", 0, id="half-a-character"),
    ],
)
async def test_search_finds_what_stands_in_names_and_digests(state: SqlState, search: str, count: int) -> None:
    assert len(await names(state, ImageQuery(search=search))) == count


async def test_search_goes_together_with_rule_and_state(state: SqlState) -> None:
    query = ImageQuery(rule="b", states=[ImageState.FAILED], search="test/app", limit=2)

    found = await names(state, query)

    assert found == [one for one in wanted("b", [ImageState.FAILED]) if one[1] == str(SOURCE)]


async def test_search_for_signs_of_patterns_finds_them_as_they_are(state: SqlState) -> None:
    odd = Repository("source.test", "odd_name")
    state.memory.keep_images("a", odd, [image("50_percent")])

    assert [found[1] for found in await names(state, ImageQuery(search="d_n"))] == [str(odd)]


async def test_image_is_shown_with_all_that_is_known_of_it(state: SqlState) -> None:
    kept = replace(
        image("x"),
        state=ImageState.BLOCKED,
        reason="because",
        problem=Problem(code="TAG_IMMUTABLE", message="it stays", remedy="delete it"),
        served=TWO,
        first_seen=START,
        behind_since=START,
    )
    state.memory.keep_images("c", SOURCE, [kept])

    page = await state.history.images(ImageQuery(rule="c"))

    assert page.images == (
        ImageStatus(
            rule="c",
            source=str(SOURCE),
            tag="x",
            target=str(TARGET),
            target_tag="x",
            state=ImageState.BLOCKED,
            reason="because",
            problem=ProblemStatus(code="TAG_IMMUTABLE", message="it stays", remedy="delete it"),
            digest=str(ONE),
            served=str(TWO),
            first_seen=START,
            behind_since=START,
            proven_at=START,
        ),
    )


async def test_image_that_is_named_by_its_digest_has_no_tag(state: SqlState) -> None:
    by_digest = replace(image(), key=replace(image().key, ref=str(ONE), target_tag=""))
    state.memory.keep_images("c", SOURCE, [by_digest])

    (shown,) = (await state.history.images(ImageQuery(rule="c"))).images

    assert (shown.tag, shown.target_tag, shown.digest) == (None, None, str(ONE))


async def test_page_shows_what_was_kept_just_before(state: SqlState) -> None:
    state.memory.keep_images("c", SOURCE, [image(f"{n}") for n in range(2_000)])

    assert (await state.history.images(ImageQuery(rule="c"))).total == 2_000


async def test_image_of_an_unknown_state_is_left_out_of_its_page(state: SqlState, tmp_path: Path) -> None:
    await state.memory.flush()
    sql(tmp_path / "state.db", "UPDATE images SET state = 'novel' WHERE rule = 'a' AND ref = 'v03'")

    page = await state.history.images(ImageQuery(rule="a"))

    assert len(page.images) == 28
    assert len(await state.history.summary("a")) == 1


@pytest.mark.parametrize(
    ("query", "state_name"),
    [
        pytest.param(ImageQuery(), None, id="first"),
        pytest.param(ImageQuery(rule="a"), None, id="of a rule"),
        pytest.param(ImageQuery(states=[ImageState.FAILED]), "failed", id="of a state"),
        pytest.param(ImageQuery(rule="a", states=[ImageState.FAILED]), "failed", id="of a rule and a state"),
    ],
)
async def test_page_is_read_in_the_order_of_an_index_however_many_images_there_are(
    state: SqlState, tmp_path: Path, query: ImageQuery, state_name: str | None
) -> None:
    """Without one SQLite would sort all images for each page."""
    await state.memory.flush()
    asked = filtered(select(IMAGES), query, [state_name] if state_name else []).order_by(*ORDER).limit(100)
    text = str(asked.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))

    plan = " / ".join(str(row[-1]) for row in sql(tmp_path / "state.db", f"EXPLAIN QUERY PLAN {text}"))

    assert "USING INDEX" in plan
    assert "TEMP B-TREE" not in plan
