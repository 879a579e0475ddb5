"""Scenes whose registries tell digests in bulk, for tests of what a run makes of that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import Outcome
from mirrord.planning.rotation import TURN_S, is_due
from mirrord.ports.events import Noted
from tests.fakes.images import Content, make_image
from tests.fakes.memory import Recorder
from tests.unit.sync.scene import SOURCE, A, B, Scene, make_rule, stands

TAGS = ("1.0", "2.0", "latest")


def keeps(*numbers: str) -> pytest.MarkDecorator:
    """Name the rules for bulk listings that a test proves of the core."""
    return pytest.mark.parametrize("bulk", [pytest.param("", id="-".join(f"bulk-{number}-core" for number in numbers))])


def told_scene() -> Scene:
    """Return a source of three tags and two targets that all tell digests in bulk, at a time when no tag is due."""
    scene = Scene()
    for host in (SOURCE.host, A.host, B.host):
        scene.memory.tell_in_bulk(host)
    for tag in TAGS:
        scene.memory.add(SOURCE, make_image(tag), tag)
    calm(scene)
    return scene


def calm(
    scene: Scene, tags: Sequence[str] = (*TAGS, "3.0", "gone"), places: Sequence[Location] = (SOURCE, A, B)
) -> None:
    """Move the clock to a turn that is none of the tags'."""
    while any(is_due(place, Tag(tag), scene.clock.now()) for place in places for tag in tags):
        scene.clock.advance(TURN_S)


async def mirrored(scene: Scene, *targets: Location) -> None:
    """Bring everything to the targets."""
    run = await scene.sync(make_rule("before", *targets))
    assert set(stands(run).values()) == {Outcome.COPIED}


def move(scene: Scene, tag: str, location: Location = SOURCE) -> Content:
    """Let a tag point to another image."""
    return scene.memory.add(location, make_image(f"{location} {tag} moved {len(scene.memory.held)}"), tag)


def asked(scene: Scene, location: Location) -> list[str]:
    """Return the tags and digests of which a repository was asked for one by one."""
    return sorted(o.ref for o in scene.memory.log if o.verb == "head" and o.location == location)


def verbs(scene: Scene, location: Location) -> list[str]:
    """Return what a repository was asked for, in order."""
    return [operation.verb for operation in scene.memory.log if operation.location == location]


def differences(scene: Scene) -> dict[str, int]:
    """Return how many tags were found to differ, by registry."""
    assert isinstance(scene.events, Recorder)
    found: dict[str, int] = {}
    for event in scene.events.events:
        if isinstance(event, Noted) and event.what == "bulk_differs":
            found[event.host] = found.get(event.host, 0) + 1
    return found
