from __future__ import annotations

import anyio
import pytest

from mirrord.errors import DeniedError, ListingIncompleteError, NotFoundError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.planning.listing import TagEntry, TagPage
from mirrord.sync.listing import Listings, TagIndex
from tests.fakes.images import make_image
from tests.unit.sync.scene import SOURCE, A, PagedMemory, Scene

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.memory.add(SOURCE, make_image("app"), *(f"1.{number}" for number in range(7)))
    return scene


async def test_listings_return_every_tag_of_every_page(scene: Scene) -> None:
    index = await Listings().complete(scene.memory.reader(SOURCE))

    assert sorted(index.entries) == [Tag(f"1.{number}") for number in range(7)]
    assert scene.memory.count("list_tags") == 3


async def test_listings_ask_once_a_run(scene: Scene) -> None:
    listings = Listings()

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(listings.complete, scene.memory.reader(SOURCE))
    await listings.complete(scene.memory.reader(SOURCE))

    assert scene.memory.count("list_tags") == 3


async def test_listings_list_repositories_side_by_side(scene: Scene) -> None:
    scene.memory.add(A, make_image("app"), "1.0")
    listings, held = Listings(), scene.memory.hold("list_tags", at=SOURCE)

    async with anyio.create_task_group() as group:
        group.start_soon(listings.complete, scene.memory.reader(SOURCE))
        await held.reached.wait()
        with anyio.fail_after(5):
            index = await listings.complete(scene.memory.reader(A))
        held.open()

    assert list(index.entries) == [Tag("1.0")]


async def test_listings_know_what_was_listed(scene: Scene) -> None:
    listings = Listings()
    before = listings.known(SOURCE)

    index = await listings.complete(scene.memory.reader(SOURCE))

    assert before is None
    assert listings.known(SOURCE) is index
    assert listings.known(A) is None


@pytest.mark.covers("D69")
async def test_listings_never_return_a_part(scene: Scene) -> None:
    scene.memory.fail("list_tags", ListingIncompleteError("no proven end"), nth=3)
    listings = Listings()

    with pytest.raises(ListingIncompleteError):
        await listings.complete(scene.memory.reader(SOURCE))

    assert listings.known(SOURCE) is None


async def test_listings_ask_again_after_a_failure(scene: Scene) -> None:
    scene.memory.fail("list_tags", ListingIncompleteError("no proven end"))
    listings = Listings()
    with pytest.raises(ListingIncompleteError):
        await listings.complete(scene.memory.reader(SOURCE))

    index = await listings.complete(scene.memory.reader(SOURCE))

    assert len(index.entries) == 7


async def test_listings_pass_on_that_there_is_no_repository(scene: Scene) -> None:
    with pytest.raises(NotFoundError):
        await Listings().complete(scene.memory.reader(A))


@pytest.mark.covers("E47")
async def test_listings_hold_a_tag_that_pages_repeat_once_as_told_last() -> None:
    one, two = Tag("1.0"), Tag("2.0")
    digest = Digest.of(b"1.0")
    memory = PagedMemory(
        TagPage(entries=(TagEntry(tag=one), TagEntry(tag=two)), skipped=1),
        TagPage(entries=(TagEntry(tag=one, digest=digest),), skipped=2),
    )

    index = await Listings().complete(memory.reader(SOURCE))

    assert index == TagIndex(entries={one: TagEntry(tag=one, digest=digest), two: TagEntry(tag=two)}, skipped=3)


async def test_repository_is_listed_again_once_it_was_written_to(scene: Scene) -> None:
    """The listing from before is not known any more."""
    listings, reader = Listings(), scene.memory.reader(SOURCE)
    await listings.complete(reader)

    listings.forget(SOURCE)
    scene.memory.add(SOURCE, make_image("new"), "2.0")

    assert listings.known(SOURCE) is None
    assert Tag("2.0") in (await listings.complete(reader)).entries


async def test_listing_that_was_under_way_while_the_repository_was_written_to_is_not_remembered(scene: Scene) -> None:
    """Who lists later neither waits for it nor gets it."""
    listings, reader = Listings(), scene.memory.reader(SOURCE)
    held = scene.memory.hold("list_tags", nth=2, times=1)

    async with anyio.create_task_group() as group:
        group.start_soon(listings.complete, reader)
        await held.reached.wait()
        listings.forget(SOURCE)
        scene.memory.add(SOURCE, make_image("new"), "2.0")
        with anyio.fail_after(5):
            index = await listings.complete(reader)
        assert Tag("2.0") in index.entries
        held.open()

    assert listings.known(SOURCE) == index


# --- complete and told


async def test_complete_listing_is_never_what_an_api_told(scene: Scene) -> None:
    scene.memory.tell_in_bulk(SOURCE.host)
    del scene.memory.freeze(SOURCE)[Tag("1.0")]
    listings, reader = Listings(), scene.memory.reader(SOURCE)

    told = await listings.told(reader)
    complete = await listings.complete(reader)

    assert (told.complete, Tag("1.0") in told.entries) == (False, False)
    assert (complete.complete, Tag("1.0") in complete.entries) == (True, True)
    assert listings.known(SOURCE) is complete


async def test_listing_without_digests_is_complete_and_asked_once(scene: Scene) -> None:
    listings, reader = Listings(), scene.memory.reader(SOURCE)

    told = await listings.told(reader)

    assert told.complete
    assert await listings.complete(reader) is told
    assert scene.memory.count("bulk_tags") == 0


async def test_plain_listing_in_place_of_a_refused_one_is_complete_and_not_asked_for_again(scene: Scene) -> None:
    scene.memory.tell_in_bulk(SOURCE.host)
    scene.memory.fail("bulk_tags", DeniedError("no"), times=None)
    listings, reader = Listings(), scene.memory.reader(SOURCE)

    told = await listings.told(reader)

    assert told.complete
    assert await listings.complete(reader) is told
    assert scene.memory.count("list_tags") == 1


async def test_complete_listing_without_digests_does_not_stand_in_where_an_api_tells_them(scene: Scene) -> None:
    scene.memory.tell_in_bulk(SOURCE.host)
    listings, reader = Listings(), scene.memory.reader(SOURCE)
    await listings.complete(reader)

    told = await listings.told(reader)

    assert all(entry.digest is not None for entry in told.entries.values())


async def test_complete_listing_with_digests_stands_in_for_what_an_api_tells() -> None:
    entry = TagEntry(tag=Tag("1.0"), digest=Digest.of(b"1.0"))
    memory = PagedMemory(TagPage(entries=(entry,)))
    memory.tell_in_bulk(SOURCE.host)
    listings, reader = Listings(), memory.reader(SOURCE)
    complete = await listings.complete(reader)

    assert await listings.told(reader) is complete
    assert memory.count("bulk_tags") == 0


async def test_complete_listing_that_fails_is_tried_once_where_it_is_not_needed(scene: Scene) -> None:
    scene.memory.fail("list_tags", ListingIncompleteError("no proven end"))
    listings, reader = Listings(), scene.memory.reader(SOURCE)

    first = await listings.complete_if_possible(reader)
    second = await listings.complete_if_possible(reader)

    assert (first, second) == (None, None)
    assert len((await listings.complete(reader)).entries) == 7, "who needs it asks again"
