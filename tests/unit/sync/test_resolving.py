from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from mirrord.errors import UnavailableError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.sync.resolving import Resolutions
from tests.fakes.images import make_image
from tests.unit.sync.scene import SOURCE, A, B, Scene, image_with_config, make_rule, only

pytestmark = pytest.mark.anyio

TAG = Tag("1.0")


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.memory.add(SOURCE, make_image("app"), "1.0")
    return scene


async def test_tag_is_resolved_once_for_all_who_ask(scene: Scene) -> None:
    resolutions, reader = Resolutions(), scene.memory.reader(SOURCE)
    trap = scene.memory.hold("head")
    found: list[Descriptor | None] = []

    async def ask() -> None:
        found.append(await resolutions.head(reader, TAG))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        trap.open()

    assert len(set(found)) == 1
    assert await resolutions.head(reader, TAG) == found[0]
    assert scene.memory.count("head") == 1


async def test_tag_that_does_not_exist_is_asked_for_once(scene: Scene) -> None:
    resolutions, reader = Resolutions(), scene.memory.reader(SOURCE)

    assert await resolutions.head(reader, Tag("none")) is None
    assert await resolutions.head(reader, Tag("none")) is None
    assert scene.memory.count("head") == 1


async def test_tag_that_could_not_be_asked_for_is_asked_for_again(scene: Scene) -> None:
    resolutions, reader = Resolutions(), scene.memory.reader(SOURCE)
    scene.memory.fail("head", UnavailableError("no answer"))

    with pytest.raises(UnavailableError):
        await resolutions.head(reader, TAG)

    assert await resolutions.head(reader, TAG) is not None


async def test_tag_is_asked_for_by_another_when_the_first_is_cancelled(scene: Scene) -> None:
    resolutions, reader = Resolutions(), scene.memory.reader(SOURCE)
    trap = scene.memory.hold("head", times=1)
    found: list[Descriptor | None] = []

    async def ask() -> None:
        found.append(await resolutions.head(reader, TAG))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as first:
                first.start_soon(resolutions.head, reader, TAG)
                await trap.reached.wait()
                group.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

    assert [descriptor is not None for descriptor in found] == [True]


@pytest.mark.covers("C5", "D50")
async def test_tag_that_moves_during_a_run_is_one_image_for_all_its_rules(scene: Scene) -> None:
    first = scene.memory.at(SOURCE).tags[TAG]

    def move() -> None:
        moved = make_image(f"moved {len(scene.memory.log)}")
        scene.memory.add(SOURCE, moved, "1.0")

    scene.memory.when("manifest", move, at=SOURCE)
    scene.memory.when("head", move, at=SOURCE, nth=2)

    await scene.sync(make_rule("one", A), make_rule("other", B))

    assert scene.memory.count("head", at=SOURCE, ref=TAG) == 1
    assert scene.served(A) == scene.served(B) == {"1.0": first}


@pytest.mark.covers("C22")
async def test_tag_whose_age_matters_is_resolved_once(scene: Scene) -> None:
    created = image_with_config("dated", {"created": "2025-12-31T00:00:00Z", "os": "linux", "architecture": "amd64"})
    scene.memory.add(SOURCE, created, "2.0")

    await scene.sync(make_rule("rule", A, tags=only("2.*", max_age=timedelta(days=30))))

    assert scene.served(A) == {"2.0": created.digest}
    assert isinstance(created.digest, Digest)
    assert scene.memory.count("head", at=SOURCE, ref="2.0") == 1


async def test_tag_is_asked_for_again_once_its_repository_was_written_to(scene: Scene) -> None:
    """What is known of other repositories stays."""
    resolutions, reader, other = Resolutions(), scene.memory.reader(SOURCE), scene.memory.reader(A)
    await resolutions.head(reader, TAG)
    await resolutions.head(other, TAG)

    resolutions.forget(SOURCE)
    moved = scene.memory.add(SOURCE, make_image("moved"), "1.0")

    assert await resolutions.head(reader, TAG) == moved.descriptor
    assert await resolutions.head(other, TAG) is None
    assert scene.memory.count("head", at=A) == 1


async def test_answer_that_was_under_way_while_the_repository_was_written_to_is_not_remembered(scene: Scene) -> None:
    """Who asked before may have the answer from before; who asks later has the new one."""
    resolutions, reader = Resolutions(), scene.memory.reader(SOURCE)
    held = scene.memory.hold("head", times=1)

    async with anyio.create_task_group() as group:
        group.start_soon(resolutions.head, reader, TAG)
        await held.reached.wait()
        resolutions.forget(SOURCE)
        held.open()
    moved = scene.memory.add(SOURCE, make_image("moved"), "1.0")

    assert await resolutions.head(reader, TAG) == moved.descriptor
