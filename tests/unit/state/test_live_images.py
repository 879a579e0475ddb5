"""Images whose state at this moment is another than the one that is remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirrord.oci.reference import Repository
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState
from mirrord.ports.events import NullSink
from mirrord.ports.history import ImageQuery
from mirrord.state import SqlState, open_state
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

IN_SYNC, BEHIND, COPYING = ImageState.IN_SYNC, ImageState.OUT_OF_SYNC, ImageState.COPYING
SOURCE, TARGET = Repository("source.test", "app"), Repository("target.test", "app")


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqlState]:
    """Hold six images: 0 to 2 in sync, 3 to 5 behind."""
    async with open_state(f"sqlite:///{tmp_path}/state.db", clock=FakeClock(), events=NullSink()) as state:
        images = [
            ImageMemory(
                key=ImageKey(ref=str(number), target=TARGET, target_tag=str(number)),
                state=IN_SYNC if number < 3 else BEHIND,
                reason="told before",
            )
            for number in range(6)
        ]
        state.memory.keep_images("app", SOURCE, images)
        yield state


def on_its_way(*numbers: int, states: tuple[ImageState, ...] = (), limit: int = 100) -> ImageQuery:
    live = {("app", str(SOURCE), str(number), str(TARGET)): COPYING for number in numbers}
    return ImageQuery(live=live, states=states, limit=limit)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param(
            (), ["0 in_sync", "1 in_sync", "2 copying", "3 copying", "4 out_of_sync", "5 out_of_sync"], id="all"
        ),
        pytest.param((COPYING,), ["2 copying", "3 copying"], id="on their way"),
        pytest.param((BEHIND,), ["4 out_of_sync", "5 out_of_sync"], id="not those on their way"),
        pytest.param((BEHIND, COPYING), ["2 copying", "3 copying", "4 out_of_sync", "5 out_of_sync"], id="both"),
        pytest.param((ImageState.STALLED,), [], id="none"),
    ],
)
async def test_images_are_chosen_and_counted_by_what_holds_now(
    state: SqlState, states: tuple[ImageState, ...], expected: list[str]
) -> None:
    page = await state.history.images(on_its_way(2, 3, 77, states=states))

    assert [f"{image.tag} {image.state}" for image in page.images] == expected
    assert page.total == len(expected)
    assert {image.reason for image in page.images if image.state is COPYING} <= {""}


async def test_pages_of_images_on_their_way_follow_each_other(state: SqlState) -> None:
    query = on_its_way(1, 3, 5, states=(COPYING,), limit=2)

    first = await state.history.images(query)
    second = await state.history.images(replace(query, after=first.next))

    assert [image.tag for page in (first, second) for image in page.images] == ["1", "3", "5"]
    assert (first.total, second.total, second.next) == (3, 3, None)


async def test_as_many_as_are_told_fit_into_one_question(state: SqlState) -> None:
    page = await state.history.images(on_its_way(*range(3_000), states=(COPYING, BEHIND)))

    assert page.total == 6
