"""Digests of many tags in one answer: what comes of an API that refuses, breaks off, lies or has too much to tell.

bulk-NN are the rules for such APIs, here as the registry adapter keeps them for every provider.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from mirrord.demo.registry.asgi import Answer, json_answer
from mirrord.errors import CredentialError, DeniedError, MirrordError, UnavailableError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.planning.listing import TagEntry, TagHints, TagPage
from mirrord.ports.registry import RepositoryReader
from mirrord.registry.bulk import REFUSED_FOR_S, Bulk, BulkHabits
from mirrord.registry.mirrors import MirroredReader
from mirrord.registry.providers.generic import GenericProvider
from mirrord.registry.providers.service import RegistryService
from mirrord.registry.tags import MAX_NAMES
from tests.contract.images import build_image, write_image
from tests.fakes.bulk import API_TOKEN, BULK, BulkProvider, TagApi, bulk_names, tag_api
from tests.fakes.clients import Client, credential_of, open_client
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Drop, Respond
from tests.fakes.images import make_image
from tests.fakes.internet import Internet
from tests.fakes.memory import Recorder
from tests.fakes.registry import FakeRegistry
from tests.fakes.routes import Routes

pytestmark = pytest.mark.anyio

HOST = "bulk.test"
PATH = "team/app"


def keeps(*numbers: str) -> pytest.MarkDecorator:
    """Name the rules for bulk listings that a test proves of the adapter."""
    return pytest.mark.parametrize("bulk", [pytest.param("", id="-".join(f"bulk-{number}-core" for number in numbers))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A registry with an API that tells digests, and a client of it."""

    registry: FakeRegistry
    api: TagApi
    client: Client

    @property
    def counts(self) -> dict[str, int]:
        """How many requests of each kind arrived since they were last taken."""
        counts = dict(self.registry.traffic.counts)
        self.registry.traffic.clear()
        return counts


@asynccontextmanager
async def net(tags: int = 3) -> AsyncIterator[Net]:
    async with Internet() as internet:
        registry = await internet.join(BULK, bulk_names(HOST))
        add_tags(registry, tags)
        async with internet.client(
            HOST, credential=credential_of(registry), providers=(BulkProvider(), GenericProvider())
        ) as client:
            yield Net(registry=registry, api=tag_api(registry), client=client)


def add_tags(registry: FakeRegistry, count: int) -> None:
    content = make_image("app")
    for raw in content.blobs.values():
        registry.store.add_blob(PATH, raw)
    names = [f"1.{number}" for number in range(count)]
    registry.store.add_manifest(PATH, content.root.raw, content.descriptor.media_type, tags=names)


async def told(reader: RepositoryReader) -> dict[str, Digest | None]:
    """Return what a listing for looks tells."""
    return {entry.tag.name: entry.digest async for page in reader.bulk_tags() for entry in page.entries}


DIGEST = make_image("app").digest
TRUTH = {"1.0": DIGEST, "1.1": DIGEST, "1.2": DIGEST}
NAMES = dict.fromkeys(TRUTH)


# --- what is told


async def test_digests_are_told_page_by_page_and_cost_the_registry_nothing() -> None:
    async with net(tags=250) as scene:
        found = await told(scene.client.reader())
        counts = scene.counts

    assert len(found) == 250
    assert set(found.values()) == {DIGEST}
    assert counts == {"api": 3}


@keeps("05")
async def test_api_gets_its_own_credential_and_the_registry_its_own(bulk: str) -> None:
    async with net() as scene:
        await told(scene.client.reader())
        await scene.client.reader().head(Tag("1.0"))
        records = list(scene.registry.traffic.records)

    sent = {record.kind: record.header("Authorization") for record in records}
    assert sent["api"] == API_TOKEN
    assert sent["manifest HEAD"] not in {None, API_TOKEN}
    assert (sent["token"] or "").startswith("Basic ")


@keeps("06")
async def test_rows_that_are_no_tags_are_left_out_and_digests_that_are_none_unknown(bulk: str) -> None:
    async with net() as scene:
        scene.api.told[PATH] = [("1.0", str(DIGEST)), ("not a tag", str(DIGEST)), ("1.1", None), ("1.2", "sha256:x")]
        pages = [page async for page in scene.client.reader().bulk_tags()]

    assert [(entry.tag.name, entry.digest) for entry in pages[0].entries] == [
        ("1.0", DIGEST),
        ("1.1", None),
        ("1.2", None),
    ]
    assert pages[0].skipped == 1


async def test_hints_are_those_of_the_first_pages() -> None:
    async with net(tags=250) as scene:
        all_of_them = await scene.client.reader().tag_hints(9)
        whole = scene.counts
        few = await scene.client.writer().tag_hints(2)
        part = scene.counts

    assert (len(all_of_them.entries), all_of_them.whole, whole) == (250, True, {"api": 3})
    assert (len(few.entries), few.whole, part) == (200, False, {"api": 2})


async def test_registry_without_such_an_api_tells_no_hints_and_lists_plainly() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        add_tags(registry, 3)
        assert await client.reader().tag_hints(9) == TagHints()
        assert await told(client.reader()) == NAMES
        assert registry.traffic.counts["tags/list"] == 1


async def test_hints_of_a_mirrored_registry_are_its_own() -> None:
    async with net() as scene:
        reader = MirroredReader(scene.client.reader(), [], Recorder())
        found = await reader.tag_hints(5)
        by_listing = await told(reader)

    assert {entry.tag.name: entry.digest for entry in found.entries} == by_listing == TRUTH


# --- refusals


NONSENSE = Answer(status=200, headers=(("Content-Type", "text/html"),), body=b"<html>hello</html>")
REFUSALS = [
    pytest.param(json_answer({}, status=401), id="401"),
    pytest.param(json_answer({}, status=403), id="403"),
    pytest.param(json_answer({}, status=404), id="404"),
    pytest.param(json_answer({}, status=429), id="429"),
    pytest.param(json_answer({}, status=500), id="500"),
    pytest.param(json_answer({}, status=503), id="503"),
    pytest.param(NONSENSE, id="html"),
    pytest.param(json_answer([1, 2]), id="a list"),
    pytest.param(json_answer({"tags": {"1.0": 1}}), id="another shape"),
    pytest.param(Answer(status=200, body=b"[" * 100_000), id="nested too deep"),
]


@keeps("03")
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_api_that_refuses_makes_a_plain_listing_and_is_left_alone(refusal: Answer, bulk: str) -> None:
    async with net() as scene:
        scene.api.refusal = refusal
        first = await told(scene.client.reader())
        asked = scene.counts["api"]
        again = await told(scene.client.reader())
        none = await scene.client.reader().tag_hints(5)
        later = scene.counts
        notes = scene.client.events.notes()

    assert first == again == NAMES
    assert none == TagHints()
    assert 1 <= asked <= 8
    assert "api" not in later
    assert notes.count("bulk_refused") == 1


@keeps("03")
async def test_api_that_refused_is_asked_again_after_a_while(bulk: str) -> None:
    async with net() as scene:
        scene.api.refusal = json_answer({}, status=403)
        await told(scene.client.reader())
        scene.api.refusal = None
        scene.client.clock.advance(REFUSED_FOR_S - 1)
        before = await told(scene.client.reader())
        scene.client.clock.advance(1)
        after = await told(scene.client.reader())

    assert (before, after) == (NAMES, TRUTH)


@keeps("03")
async def test_refusal_of_one_repository_is_not_that_of_the_others(bulk: str) -> None:
    async with net() as scene:
        scene.api.told["team/web"] = [("2.0", str(DIGEST))]
        await scene.client.reader("team/none").tag_hints(5)
        found = await told(scene.client.reader("team/web"))

    assert found == {"2.0": DIGEST}


@keeps("03")
async def test_hints_that_are_refused_cost_no_listing(bulk: str) -> None:
    async with net() as scene:
        scene.api.refusal = json_answer({}, status=403)
        hints = await scene.client.writer().tag_hints(5)
        counts = scene.counts

    assert hints == TagHints()
    assert counts == {"api": 1}


@keeps("03")
async def test_target_that_does_not_exist_yet_is_no_refusal(bulk: str) -> None:
    """The first run to each new repository would warn of what is as it should be."""
    async with net() as scene:
        await scene.client.writer("team/new").tag_hints(5)
        first = scene.client.events.notes()

    assert first == ["bulk_unknown"]


@keeps("03")
async def test_target_that_the_api_does_not_know_after_a_push_is_a_refusal(bulk: str) -> None:
    async with net() as scene:
        scene.api.refusal = json_answer({}, status=404)
        writer = scene.client.writer()
        await writer.tag_hints(5)
        await write_image(writer, build_image("later"), "2.0")
        await writer.tag_hints(5)
        notes = scene.client.events.notes()

    assert notes == ["bulk_unknown", "bulk_refused"]


@keeps("03")
async def test_api_that_breaks_off_tells_nothing(bulk: str) -> None:
    async with net(tags=250) as scene:
        scene.registry.fault(Drop(), kind="api", nth=3, times=None)
        found = await told(scene.client.reader())

    assert len(found) == 250
    assert set(found.values()) == {None}


@keeps("05")
async def test_api_whose_pages_repeat_tells_nothing(bulk: str) -> None:
    async with net(tags=250) as scene:
        scene.api.repeats = True
        found = await told(scene.client.reader())
        counts = scene.counts

    assert set(found.values()) == {None}
    assert counts["api"] == 1, "the first page names itself as the next"


@keeps("05")
async def test_api_that_leads_elsewhere_is_not_followed(bulk: str) -> None:
    async with net() as scene:
        elsewhere = {"tags": [], "next": "https://other.test/tags/team/app?page=2"}
        scene.registry.fault(Respond(200, body=json_answer(elsewhere).body), kind="api")
        found = await told(scene.client.reader())

    assert found == NAMES


@keeps("07")
async def test_api_that_is_too_busy_does_not_hold_up_its_registry(bulk: str) -> None:
    async with net() as scene:
        busy = json_answer({}, status=429)
        scene.api.refusal = Answer(status=429, headers=(("Retry-After", "600"),), body=busy.body)
        await told(scene.client.reader())
        waited = sum(scene.client.slept)
        await scene.client.reader().head(Tag("1.0"))

    assert sum(scene.client.slept) == waited


async def test_repository_that_was_pushed_is_asked_for_again() -> None:
    async with net(tags=0) as scene:
        writer = scene.client.writer("team/new")
        before = await writer.tag_hints(5)
        await write_image(writer, build_image(), "1.0")
        after = await writer.tag_hints(5)

    assert before == TagHints()
    assert [entry.tag.name for entry in after.entries] == ["1.0"]


async def test_push_does_not_make_an_api_that_refused_be_asked_again() -> None:
    async with net() as scene:
        scene.api.refusal = json_answer({}, status=403)
        await scene.client.writer().tag_hints(5)
        await write_image(scene.client.writer(), build_image(), "2.0")
        scene.registry.traffic.clear()
        await scene.client.writer().tag_hints(5)

        assert "api" not in scene.counts


# --- services that tests make


Pages = Callable[[], AsyncIterator[TagPage]]


class Fixed(RegistryService):
    """Tells what a test says; plainly nothing but a name."""

    def __init__(self, client: Client, pages: Pages) -> None:
        super().__init__(client.gateway.handle("registry.test").service.api)
        self.pages = pages
        self.closed = False

    async def list_tags(self, path: str) -> AsyncIterator[TagPage]:
        yield TagPage(entries=(TagEntry(tag=Tag("plain")),))

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        try:
            async for page in self.pages():
                yield page
        finally:
            self.closed = True


@asynccontextmanager
async def fixed(pages: Pages, *, patience_s: float = 60.0) -> AsyncIterator[tuple[Bulk, Fixed]]:
    async with open_client("registry.test", transport=Routes().everywhere()) as client:
        service = Fixed(client, pages)
        yield (
            Bulk(
                service=service,
                path="app",
                habits=BulkHabits(),
                clock=FakeClock(),
                events=client.events,
                patience_s=patience_s,
            ),
            service,
        )


async def tags_of(bulk: Bulk) -> list[str]:
    return [entry.tag.name async for page in bulk.tags() for entry in page.entries]


def page(*names: str) -> TagPage:
    return TagPage(entries=tuple(TagEntry(tag=Tag(name), digest=DIGEST) for name in names))


async def test_too_many_tags_are_not_told() -> None:
    entry = TagEntry(tag=Tag("1.0"), digest=DIGEST)

    async def pages() -> AsyncIterator[TagPage]:
        yield TagPage(entries=(entry,) * MAX_NAMES)
        yield TagPage(entries=(entry,))
        pytest.fail("not to be asked for more")

    async with fixed(pages) as (bulk, service):
        assert await tags_of(bulk) == ["plain"]

    assert service.closed


@pytest.mark.parametrize(
    "error", [DeniedError("no"), CredentialError("no credential for the API"), UnavailableError("gone")]
)
async def test_whatever_an_api_fails_with_ends_in_a_plain_listing(error: MirrordError) -> None:
    async def pages() -> AsyncIterator[TagPage]:
        yield page("1.0")
        raise error

    async with fixed(pages) as (bulk, _service):
        assert await tags_of(bulk) == ["plain"]
        assert await bulk.hints(3) == TagHints()


@keeps("03")
async def test_api_that_keeps_one_waiting_is_given_up(bulk: str) -> None:
    async def pages() -> AsyncIterator[TagPage]:
        yield page("1.0")
        await anyio.sleep_forever()

    async with fixed(pages, patience_s=0.01) as (one, service):
        with anyio.fail_after(5):
            assert await one.hints(3) == TagHints()

    assert service.closed


async def test_listing_that_is_given_up_is_closed() -> None:
    async def pages() -> AsyncIterator[TagPage]:
        yield page("1.0")
        yield page("2.0")
        yield page("3.0")

    async with fixed(pages) as (bulk, service):
        hints = await bulk.hints(2)

        assert service.closed
    assert [entry.tag.name for entry in hints.entries] == ["1.0", "2.0"]
    assert not hints.whole


async def test_fault_of_a_provider_is_not_hidden() -> None:
    async def pages() -> AsyncIterator[TagPage]:
        yield page("1.0")
        raise ZeroDivisionError

    async with fixed(pages) as (bulk, _service):
        with pytest.raises(ZeroDivisionError):
            await bulk.hints(3)


def test_refusals_that_are_remembered_are_bounded() -> None:
    habits = BulkHabits()
    for number in range(5000):
        habits.refuse(f"old/{number}", 0.0, missing=number % 2 == 0)
    kept = len(habits.refused_until)
    habits.refuse("new", REFUSED_FOR_S + 1)

    assert kept <= 4096
    assert list(habits.refused_until) == ["new"]
    assert habits.missing == set()
    assert not habits.allows("new", REFUSED_FOR_S + 2)


def test_error_that_says_missing_is_told_from_one_that_says_no() -> None:
    habits = BulkHabits()
    habits.refuse("missing", 0.0, missing=True)
    habits.refuse("denied", 0.0)

    habits.exists("missing")
    habits.exists("denied")

    assert habits.allows("missing", 1.0)
    assert not habits.allows("denied", 1.0)
