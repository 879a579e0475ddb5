"""What runs that go on know better than the history."""

from __future__ import annotations

import pytest

from mirrord.oci.reference import Tag
from mirrord.planning.memory import ImageState
from mirrord.planning.rule import Rule
from mirrord.planning.status import Cause
from mirrord.ports.history import History
from mirrord.sync.livehistory import MOST_LIVE, LiveHistory, live_states
from mirrord.sync.meter import RunMeter
from mirrord.sync.run import Run
from mirrord.sync.slots import Asked, Running
from tests.fakes.history import RamHistory
from tests.fakes.images import make_image
from tests.unit.sync.scene import SOURCE, A, Scene, make_rule, one_image
from tests.unit.sync.test_board import engine

pytestmark = pytest.mark.anyio

DIGEST = make_image("app").root.descriptor.digest


def running(scene: Scene, rule: Rule, *tags: Tag | None) -> Running:
    meter = RunMeter("id", rule.name, scene.clock)
    meter.copying = {(SOURCE, A, tag) for tag in tags}
    asked = Asked(run="id", cause=Cause.MANUAL, order=0)
    return Running(asked=asked, rule=rule, run=Run(scene.context(), [rule]), meter=meter, engine=engine(scene))


async def test_image_on_its_way_is_copying_and_stalled_when_nothing_happens() -> None:
    scene = Scene()
    run = running(scene, make_rule("rule", A), Tag("1"))

    now = live_states([run])
    scene.clock.advance(6 * 60)
    later = live_states([run])

    place = ("rule", str(SOURCE), "1", str(A))
    assert (now, later) == ({place: ImageState.COPYING}, {place: ImageState.STALLED})


async def test_image_that_is_named_by_its_digest_is_found_by_that() -> None:
    run = running(Scene(), one_image("rule", A, digest=DIGEST), None)

    assert list(live_states([run])) == [("rule", str(SOURCE), str(DIGEST), str(A))]


async def test_no_more_are_told_than_a_store_takes() -> None:
    run = running(Scene(), make_rule("rule", A), *(Tag(f"v{number}") for number in range(MOST_LIVE + 5)))

    assert len(live_states([run])) == MOST_LIVE


async def test_all_else_is_asked_of_the_history_itself() -> None:
    history = RamHistory()
    live = LiveHistory(history, list)

    public = {name for name in vars(History) if not name.startswith("_")}

    assert public <= set(vars(LiveHistory)), "a method that is not handed on would answer nothing at all"
    assert await live.rules() is history.memories
