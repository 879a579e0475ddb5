"""What every `Memory` does, whatever stands behind it: the one of dictionaries that other tests use, and SQLite's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Repository, Tag
from mirrord.planning.memory import ImageState, SeenDigest
from mirrord.planning.report import Problem
from mirrord.ports.memory import MOST_SEEN, Memory
from tests.fakes.clock import START
from tests.fakes.remembering import RememberingMemory
from tests.fakes.states import DAY, MINUTE, ONE, SOURCE, TARGET, THREE, TWO, image, opened

pytestmark = pytest.mark.anyio

OTHER = Repository("source.test", "other")
Opener = Callable[[Path], AbstractAsyncContextManager[Memory]]


@asynccontextmanager
async def dictionaries(_directory: Path) -> AsyncIterator[Memory]:
    yield RememberingMemory()


@asynccontextmanager
async def sqlite(directory: Path) -> AsyncIterator[Memory]:
    async with opened(directory) as state:
        yield state.memory


@pytest.fixture(params=[dictionaries, sqlite])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    opener: Opener = request.param
    async with opener(tmp_path) as found:
        yield found


async def test_new_memory_knows_nothing(memory: Memory) -> None:
    assert await memory.images("rule", SOURCE) == {}
    assert await memory.seen(SOURCE, ["1.0"]) == {}
    assert await memory.created([ONE]) == {}
    assert await memory.holders(TARGET.host, [ONE]) == {}


async def test_memory_says_that_it_remembers(memory: Memory) -> None:
    assert memory.remembers


async def test_kept_image_is_read_back_whole(memory: Memory) -> None:
    kept = replace(
        image("1.0"),
        state=ImageState.FAILED,
        reason='half "written"; тест',
        problem=Problem(code="DENIED", message="no 'right'", remedy="ask"),
        first_seen=START - timedelta(microseconds=1),
        behind_since=START - DAY,
        served=None,
        scope="scope",
        referrers_at=START,
        referrers_mark="mark",
        subjects=(ONE, TWO),
        attached_mark="attached",
        attached_at=START + DAY,
    )

    memory.keep_images("rule", SOURCE, [kept])

    assert await memory.images("rule", SOURCE) == {kept.key: kept}


async def test_kept_image_stands_in_place_of_what_was_kept_of_it(memory: Memory) -> None:
    memory.keep_images("rule", SOURCE, [image("1.0"), image("2.0")])
    changed = replace(image("1.0"), digest=TWO, proven_at=None)

    memory.keep_images("rule", SOURCE, [changed])

    assert await memory.images("rule", SOURCE) == {changed.key: changed, image("2.0").key: image("2.0")}


async def test_images_of_other_rules_and_sources_are_not_mixed_up(memory: Memory) -> None:
    memory.keep_images("rule", SOURCE, [image("1.0")])
    memory.keep_images("other", SOURCE, [image("2.0")])
    memory.keep_images("rule", OTHER, [image("3.0")])

    assert list(await memory.images("rule", SOURCE)) == [image("1.0").key]


@pytest.mark.parametrize("path", ["/mirror/images", "relative/images", "/with a:colon/and@sign"])
async def test_directories_are_sources_and_targets_too(memory: Memory, path: str) -> None:
    directory = LayoutDirectory(path)
    memory.keep_images("rule", directory, [image("1.0", directory)])

    assert await memory.images("rule", directory) == {image("1.0", directory).key: image("1.0", directory)}


async def test_dropped_images_are_forgotten_and_can_be_kept_again(memory: Memory) -> None:
    memory.keep_images("rule", SOURCE, [image("1.0"), image("2.0")])

    memory.drop_images("rule", SOURCE, [image("1.0").key, image("never").key])
    first = await memory.images("rule", SOURCE)
    memory.keep_images("rule", SOURCE, [image("1.0")])

    assert list(first) == [image("2.0").key]
    assert set(await memory.images("rule", SOURCE)) == {image("1.0").key, image("2.0").key}


@pytest.mark.parametrize("settled", [True, False])
async def test_sources_that_are_left_are_forgotten_for_that_rule(memory: Memory, *, settled: bool) -> None:
    """Be what was kept of them written already, or waiting to be."""
    memory.keep_images("rule", SOURCE, [image("1.0")])
    memory.keep_images("rule", OTHER, [image("1.0")])
    memory.keep_images("another", OTHER, [image("1.0")])
    if settled:
        await memory.flush()

    memory.drop_sources("rule", [SOURCE])

    assert len(await memory.images("rule", SOURCE)) == 1
    assert len(await memory.images("rule", OTHER)) == 0
    assert len(await memory.images("another", OTHER)) == 1


async def test_source_that_was_left_can_be_kept_again_at_once(memory: Memory) -> None:
    memory.keep_images("rule", OTHER, [image("1.0"), image("2.0")])
    memory.drop_sources("rule", [])
    memory.keep_images("rule", OTHER, [image("1.0")])
    memory.drop_sources("rule", [OTHER])

    assert list(await memory.images("rule", OTHER)) == [image("1.0").key]


async def test_digests_of_a_tag_are_told_oldest_first(memory: Memory) -> None:
    history = [SeenDigest(tag="1.0", digest=d, first_seen=START + n * MINUTE) for n, d in enumerate((TWO, ONE, THREE))]
    memory.keep_seen(SOURCE, history)
    memory.keep_seen(SOURCE, [SeenDigest(tag="2.0", digest=ONE, first_seen=START)])
    memory.keep_seen(OTHER, [SeenDigest(tag="1.0", digest=ONE, first_seen=START)])

    assert {tag: list(seen) for tag, seen in (await memory.seen(SOURCE, ["1.0", "3.0"])).items()} == {"1.0": history}


@pytest.mark.parametrize("settled", [True, False])
async def test_moment_at_which_a_digest_was_first_seen_stays(memory: Memory, *, settled: bool) -> None:
    first = SeenDigest(tag="1.0", digest=ONE, first_seen=START)
    memory.keep_seen(SOURCE, [first])
    if settled:
        await memory.flush()

    memory.keep_seen(SOURCE, [replace(first, first_seen=START + DAY)])

    assert list((await memory.seen(SOURCE, ["1.0"]))["1.0"]) == [first]


async def test_last_digests_of_a_tag_are_told_and_no_more(memory: Memory) -> None:
    every = [
        SeenDigest(tag="1.0", digest=Digest.of(b"%d" % number), first_seen=START + number * MINUTE)
        for number in range(MOST_SEEN + 5)
    ]
    memory.keep_seen(SOURCE, every)

    assert list((await memory.seen(SOURCE, ["1.0"]))["1.0"]) == every[5:]


async def test_times_of_images_are_told_also_that_there_is_none(memory: Memory) -> None:
    memory.keep_created(ONE, START)
    memory.keep_created(TWO, None)

    assert await memory.created([ONE, TWO, THREE]) == {ONE: START, TWO: None}


async def test_many_names_can_be_asked_for_at_once(memory: Memory) -> None:
    digests = [Digest.of(b"%d" % number) for number in range(3_000)]
    for digest in digests:
        memory.keep_created(digest, START)

    assert await memory.created(digests) == dict.fromkeys(digests, START)


async def test_places_of_a_blob_are_told_the_last_one_first(memory: Memory) -> None:
    first, second = Repository(TARGET.host, "first"), Repository(TARGET.host, "second")
    memory.keep_holder(first, ONE, START)
    memory.keep_holder(second, ONE, START + MINUTE)
    memory.keep_holder(Repository("elsewhere.test", "third"), ONE, START)
    before = (await memory.holders(TARGET.host, [ONE, TWO]))[ONE]

    memory.keep_holder(first, ONE, START + 2 * MINUTE)

    assert list(before) == [second, first]
    assert list((await memory.holders(TARGET.host, [ONE]))[ONE]) == [first, second]


async def test_place_that_contradicted_is_forgotten(memory: Memory) -> None:
    memory.keep_holder(TARGET, ONE, START)

    memory.drop_holder(TARGET, ONE)

    assert not (await memory.holders(TARGET.host, [ONE])).get(ONE)


async def test_owning_a_tag_twice_is_no_error(memory: Memory) -> None:
    memory.own("rule", TARGET, [Tag("1.0")], START)
    memory.own("rule", TARGET, [Tag("1.0"), Tag("2.0")], START + DAY)

    await memory.flush()
