"""Plans with memory foretell the run that follows: its changes, and what it asks of source and targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location
from mirrord.planning.report import Outcome
from mirrord.planning.rule import Newest, NewestBy, OnRollback, Rule
from mirrord.ports.memory import ReadOnlyMemory
from mirrord.sync.estimating import Forecast, forecast
from mirrord.sync.run import Run
from tests.fakes.images import make_artifact, make_index
from tests.unit.sync.kept import DAY, HOUR, KeptScene, immutable, on_rollback, rechecking
from tests.unit.sync.scene import SOURCE, A, B, image_with_config, make_rule, only, results, stands, warnings

pytestmark = pytest.mark.anyio

BODIES = {"blob", "piece", "take", "commit", "has_blob", "put_blob", "mount_blob", "put_manifest", "ensure_exists"}
"""What only a run does, and the question for blobs, of which a run asks some and a plan all."""


@pytest.fixture
def scene() -> KeptScene:
    return KeptScene()


async def plan(scene: KeptScene, *rules: Rule) -> tuple[Run, Forecast]:
    """Plan as `mirrord plan` does beside the store."""
    context = replace(scene.context(), memory=ReadOnlyMemory(scene.kept))
    run = Run(context, rules)
    return run, await forecast(context, run)


def looks(scene: KeptScene, *, at: Location) -> Mapping[str, int]:
    """Return what the last run or plan asked of a place before anything is written there."""
    return Counter(f"{op.verb} {op.ref}" for op in scene.memory.log if op.location == at and op.verb not in BODIES)


def asked(scene: KeptScene, written: bool = False) -> dict[Location, Mapping[str, int]]:
    """Return what was asked of all places. Where something is ``written``, targets are left out: it is read back."""
    return {place: looks(scene, at=place) for place in (SOURCE,) + (() if written else (A, B))}


def changes(found: Forecast) -> dict[tuple[str, Location], Digest]:
    """Return what a plan would write, by source tag and target."""
    return {(str(tag.source_tag), one.target): one.wanted for one in found.changes for tag in one.tags}


def copied(run: Run) -> dict[tuple[str, Location], Digest | None]:
    """Return what a run wrote."""
    done = [result for result in results(run) if result.outcome is Outcome.COPIED]
    return {(str(tag), result.target): result.served for result in done for tag, _ in result.tags}


def moved(scene: KeptScene) -> None:
    """Let one tag of the source move and another come."""
    scene.memory.add(SOURCE, make_index("moved"), "1.1")
    scene.memory.add(SOURCE, make_index("new"), "2.0")


def vanished(scene: KeptScene) -> None:
    """Let one tag of the source go."""
    del scene.memory.at(SOURCE).tags[next(iter(scene.memory.at(SOURCE).tags))]


def signed(scene: KeptScene) -> None:
    """Attach something to an image that is mirrored, and let recheck come."""
    subject = scene.memory.at(SOURCE).manifests[next(iter(scene.memory.at(SOURCE).tags.values()))]
    scene.memory.add(SOURCE, make_artifact("signature", subject=subject.descriptor))
    scene.clock.advance(2 * DAY)


def lost(scene: KeptScene) -> None:
    """Let a target lose a tag, which shows after the recheck."""
    held = scene.memory.at(A).tags
    del held[next(iter(held))]
    scene.clock.advance(2 * HOUR)


def late(scene: KeptScene) -> None:
    """Let proofs and attachments come due, and nothing change."""
    scene.clock.advance(2 * DAY)


def rolled_back(scene: KeptScene) -> None:
    """Let a tag return to what it was before it was mirrored the last time."""
    tags = scene.memory.at(SOURCE).tags
    first, second, *_ = tags
    tags[second] = tags[first]


def nothing(scene: KeptScene) -> None:
    """Let no time pass."""


RULES: dict[str, Callable[[], Rule]] = {
    "plain": lambda: make_rule("rule", A, B),
    "platforms": lambda: make_rule("rule", A, B, platforms=["linux/amd64"]),
    "ages": lambda: make_rule("rule", A, B, tags=only("*", max_age=timedelta(days=100_000))),
    "newest": lambda: make_rule("rule", A, B, tags=replace(only("*"), newest=Newest(count=3, by=NewestBy.CREATED))),
    "immutable": lambda: immutable(make_rule("rule", A, B), "1.*"),
    "asked each time": lambda: rechecking(make_rule("rule", A, B), timedelta(0), timedelta(0)),
    "blocked": lambda: on_rollback(make_rule("rule", A, B), OnRollback.BLOCK),
}


@pytest.mark.parametrize("bulk", [False, True], ids=["names", "digests"])
@pytest.mark.parametrize("happens", [nothing, moved, vanished, signed, lost, late, rolled_back])
@pytest.mark.parametrize("kind", list(RULES))
async def test_plan_foretells_the_run_of_the_same_remembered_world(
    scene: KeptScene, kind: str, happens: Callable[[KeptScene], None], bulk: bool
) -> None:
    rule = RULES[kind]()
    if bulk:
        scene.memory.tell_in_bulk(SOURCE.host)
        scene.memory.tell_in_bulk(A.host)
    for number, tag in enumerate(("1.0", "1.1", "1.2")):
        scene.memory.add(SOURCE, make_index(tag), tag)
        created = {"created": f"2024-05-0{number + 1}T00:00:00Z"}
        scene.memory.add(
            SOURCE, image_with_config(f"single {tag}", {"os": "linux", "architecture": "amd64", **created}), f"{tag}-s"
        )
    await scene.sync(rule)
    scene.clock.advance(60)
    happens(scene)
    before = deepcopy((scene.kept.kept, scene.kept.owned, scene.kept.history, scene.kept.times, scene.kept.places))

    planned, found = await plan(scene, rule)
    by_plan = asked(scene), asked(scene, written=True)
    writes = scene.writes()
    after = deepcopy((scene.kept.kept, scene.kept.owned, scene.kept.history, scene.kept.times, scene.kept.places))
    run = await scene.sync(rule)
    by_run = asked(scene), asked(scene, written=True)

    done = copied(run)
    assert changes(found) == done
    assert warnings(planned) == warnings(run)
    assert {key: state for key, state in stands(planned).items() if key not in done} == {
        key: state for key, state in stands(run).items() if key not in done
    }
    written = bool(done)
    assert by_plan[written] == by_run[written]
    assert (writes, after) == (0, before)
