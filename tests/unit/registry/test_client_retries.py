"""Retries, pauses, the breaker, and the limits of one registry. Time is the test's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import httpx2
import pytest
from trio.testing import MockClock

from mirrord.errors import AddressRefusedError, DeniedError, RateLimitedError, RegistryError, UnavailableError
from mirrord.oci.reference import Repository, Tag
from mirrord.ports.events import BreakerChanged, RegistryPaused, RequestDone
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.http import UNREACHABLE_FOR_S
from mirrord.registry.retry import LONGEST_HINT_S
from mirrord.registry.retrying import RATE_LIMIT_TRIES, TRIES
from mirrord.registry.throttle import RegistrySlots
from tests.contract.images import blob_of, build_artifact, build_image, stream, write_blobs, write_image
from tests.fakes.clients import Client, credential_of, open_client, settings_of
from tests.fakes.clock import START, FakeClock
from tests.fakes.faults import Drop, Hold, LoseAnswer, Respond
from tests.fakes.registry import BEARER, DISTRIBUTION_V3, FakeRegistry, Profile

pytestmark = pytest.mark.anyio

IMAGE = build_image()
CONTENT = bytes(range(256)) * 400
BLOB = blob_of(CONTENT)
HOST = "registry.test"


def filled(registry: FakeRegistry) -> FakeRegistry:
    for blob in IMAGE.manifest.blobs():
        registry.store.add_blob("team/app", IMAGE.contents[blob.digest])
    registry.store.add_blob("team/app", CONTENT)
    registry.store.add_blob("team/base", CONTENT)
    registry.store.add_manifest("team/app", IMAGE.manifest.raw, IMAGE.manifest.descriptor.media_type, tags=["1.0"])
    return registry


async def read_blob(client: Client) -> bytes:
    async with client.reader().blob(BLOB) as pieces:
        return b"".join([piece async for piece in pieces])


ENDPOINTS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "ping": lambda client: client.reader().head(Tag("1.0")),
    "token": lambda client: client.reader().head(Tag("1.0")),
    "manifest HEAD": lambda client: client.reader().head(Tag("1.0")),
    "manifest GET": lambda client: client.reader().manifest(IMAGE.digest),
    "manifest PUT": lambda client: client.writer().put_manifest(IMAGE.manifest, Tag("2.0")),
    "manifest DELETE": lambda client: client.writer().delete(Tag("1.0")),
    "tags/list": lambda client: client.tags(),
    "catalog": lambda client: client.repositories(),
    "referrers": lambda client: client.reader().referrers(IMAGE.digest),
    "blob HEAD": lambda client: client.writer().has_blob(BLOB),
    "upload POST": lambda client: client.writer().put_blob(BLOB, stream(CONTENT)),
    "mount": lambda client: client.writer().mount_blob(BLOB, Repository(client.host, "team/base")),
}


@pytest.mark.covers("D25")
@pytest.mark.parametrize(
    "status", [408, 429, 499, 500, 502, 503, 504, 522], ids=lambda status: f"trap-28-distribution-{status}"
)
@pytest.mark.parametrize("kind", ENDPOINTS)
async def test_request_that_fails_once_is_asked_again(kind: str, status: int) -> None:
    async with filled(FakeRegistry(BEARER)) as registry, open_client(registry) as client:
        registry.fault(Respond(status, body=b"<html>gateway</html>"), kind=kind)
        await ENDPOINTS[kind](client)

    assert registry.traffic.counts[kind] == 2
    assert len(client.events.retries()) == 1


@pytest.mark.parametrize("kind", [kind for kind in ENDPOINTS if kind != "token"])
@pytest.mark.covers("D42")
async def test_request_whose_connection_breaks_is_asked_again(kind: str) -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        registry.fault(Drop(reset=True), kind=kind)
        await ENDPOINTS[kind](client)

    assert registry.traffic.counts[kind] == 2


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("upload POST", id="D8:upload-post"),
        pytest.param("manifest PUT", id="D11:manifest-put"),
        pytest.param("manifest DELETE", id="D12:delete"),
        pytest.param("mount", id="mount"),
    ],
)
async def test_request_whose_answer_was_lost_is_asked_again(kind: str) -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        registry.fault(LoseAnswer(), kind=kind)
        await ENDPOINTS[kind](client)

    assert registry.traffic.counts[kind] == 2
    assert ("1.0" in registry.store.tags("team/app")) is (kind != "manifest DELETE")


@pytest.mark.covers("D27")
async def test_server_error_for_ever_ends_after_four_tries() -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        registry.fault(Respond(500), kind="manifest PUT", times=None)
        with pytest.raises(UnavailableError) as caught:
            await client.writer().put_manifest(IMAGE.manifest, Tag("2.0"))

    assert registry.traffic.counts["manifest PUT"] == TRIES
    assert caught.value.retryable
    assert [first < cap for first, cap in zip(client.slept, (0.5, 1, 2), strict=True)] == [True] * 3


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 501, 507], ids=str)
async def test_answer_that_will_not_change_is_not_asked_for_again(status: int) -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        registry.fault(Respond(status), kind="manifest PUT", times=None)
        with pytest.raises(RegistryError):
            await client.writer().put_manifest(IMAGE.manifest, Tag("2.0"))

    assert registry.traffic.counts["manifest PUT"] == 1 + 3 * (status == 507)


# --- hints to wait

NEVER_LONGER_S = 0.5


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        pytest.param((("Retry-After", "2"),), 2.0, id="D28:trap-27-dockerhub-seconds"),
        pytest.param((("Retry-After", "Thu, 01 Jan 2026 00:00:30 GMT"),), 30.0, id="D29:date"),
        pytest.param((("Retry-After", "Wed, 31 Dec 2025 00:00:00 GMT"),), 1.0, id="D29:past-date"),
        pytest.param((("Retry-After", str(int(START.timestamp()) + 45)),), 45.0, id="D29:unix-time"),
        pytest.param((("Retry-After", "1000000000"),), LONGEST_HINT_S, id="D29:ten-to-the-nine"),
        pytest.param((("Retry-After", "-5"),), 1.0, id="D29:negative"),
        pytest.param((("Retry-After", "soon"),), 1.0, id="D29:text"),
        pytest.param((), 1.0, id="D30:trap-27-dockerhub-no-hint"),
    ],
)
async def test_hint_of_a_429_is_waited_for(headers: tuple[tuple[str, str], ...], wait_s: float) -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        await client.http.ping()
        registry.fault(Respond(429, headers), kind="manifest HEAD")
        assert await client.reader().head(Tag("1.0")) is not None

    assert wait_s <= client.clock.monotonic() <= wait_s + NEVER_LONGER_S


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(
            429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880.092\xc2\xb5s"}]}', id="429"
        ),
        pytest.param(403, b"You have exceeded a secondary rate limit. Please wait a few minutes", id="403"),
    ],
)
@pytest.mark.parametrize("trap", [pytest.param("", id="trap-27-ghcr")])
async def test_throttling_in_words_is_understood(trap: str, status: int, body: bytes) -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        registry.fault(Respond(status, body=body), kind="manifest GET")
        assert (await client.reader().manifest(IMAGE.digest)).raw == IMAGE.manifest.raw

    assert registry.traffic.counts["manifest GET"] == 2
    assert client.clock.monotonic() >= 1, "however short the hint is"


async def test_403_that_is_no_throttling_is_final() -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        registry.fault(Respond(403, body=b"no"), kind="manifest GET", times=None)
        with pytest.raises(DeniedError):
            await client.reader().manifest(IMAGE.digest)

    assert registry.traffic.counts["manifest GET"] == 1


@pytest.mark.covers("D30")
async def test_429_for_ever_ends() -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        registry.fault(Respond(429), kind="manifest HEAD", times=None)
        with pytest.raises(RateLimitedError) as caught:
            await client.reader().head(Tag("1.0"))

    assert registry.traffic.counts["manifest HEAD"] == RATE_LIMIT_TRIES
    assert caught.value.code == "RATE_LIMITED"


class Answers:
    """A transport of functions: what the host answers, and when it was asked."""

    def __init__(self, clock: FakeClock, answer: Callable[[httpx2.Request], int | Exception]) -> None:
        self.clock = clock
        self.answer = answer
        self.moments: list[tuple[float, str]] = []
        self.in_flight = self.most_in_flight = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.moments.append((self.clock.monotonic(), request.url.path))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await anyio.lowlevel.checkpoint()
        self.in_flight -= 1
        found = self.answer(request)
        if isinstance(found, Exception):
            raise found
        headers = {"Retry-After": "2"} if found == 429 else {}
        return httpx2.Response(found, headers=headers, stream=httpx2.ByteStream(b""), request=request)

    async def aclose(self) -> None:
        pass

    def everywhere(self, _settings: RegistrySettings, _foreign: bool) -> Answers:
        return self


@pytest.mark.covers("D28", "C40")
async def test_429_pauses_the_whole_registry() -> None:
    clock = FakeClock(manual=True)
    refused = iter([429])
    answers = Answers(clock, lambda request: next(refused, 404) if "/first/" in request.url.path else 404)
    async with (
        open_client(HOST, transport=answers.everywhere, clock=clock) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(client.reader("first/app").head, Tag("1.0"))
        await anyio.wait_all_tasks_blocked()
        for number in range(20):
            group.start_soon(client.reader(f"other/app{number}").head, Tag("1.0"))
        await anyio.wait_all_tasks_blocked()
        assert len(answers.moments) == 2, "the ping and the one that was refused"
        for _ in range(15):
            clock.advance(0.2)
            await anyio.wait_all_tasks_blocked()

    assert [moment for moment, path in answers.moments[2:] if moment < 2] == []
    assert len(answers.moments) == 2 + 21


async def test_pause_that_many_requests_are_told_of_is_told_once() -> None:
    """The seconds of all pauses are those for which the registry was left alone."""
    clock = FakeClock(manual=True)
    refused = iter([429] * 10)
    answers = Answers(clock, lambda request: next(refused, 404) if "/team/" in request.url.path else 404)
    async with (
        open_client(HOST, transport=answers.everywhere, clock=clock) as client,
        anyio.create_task_group() as group,
    ):
        await client.http.ping()
        for number in range(10):
            group.start_soon(client.reader(f"team/app{number}").head, Tag("1.0"))
        await anyio.wait_all_tasks_blocked()
        pauses = [event for event in client.events.events if isinstance(event, RegistryPaused)]
        group.cancel_scope.cancel()

    assert len(client.events.retries()) > 1
    assert pauses == [RegistryPaused(host=HOST, seconds=2, reason="rate_limited")]


# --- a dead registry


@pytest.mark.covers("D42")
async def test_dead_registry_is_remembered_for_a_moment() -> None:
    clock = FakeClock()
    alive = False
    answers = Answers(clock, lambda _: 404 if alive else httpx2.ConnectError("Connection refused"))
    async with open_client(HOST, transport=answers.everywhere, clock=clock) as client:
        failures: list[RegistryError] = []

        async def look() -> None:
            try:
                await client.reader().head(Tag("1.0"))
            except RegistryError as exc:
                failures.append(exc)

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(look)
        assert len(answers.moments) == TRIES
        assert len(failures) == 50
        assert {(type(failure), failure.code) for failure in failures} == {(UnavailableError, "UNAVAILABLE")}

        clock.advance(UNREACHABLE_FOR_S)
        alive = True
        assert await client.reader().head(Tag("1.0")) is None


@pytest.mark.covers("D26", "C39")
async def test_breaker_leaves_a_failing_registry_alone_and_probes_it() -> None:
    clock = FakeClock()
    status = 404
    answers = Answers(clock, lambda _: status)
    async with open_client(HOST, transport=answers.everywhere, clock=clock) as client:
        await client.reader().head(Tag("1.0"))
        status = 500
        for _ in range(10):
            with pytest.raises(UnavailableError):
                await client.reader().head(Tag("1.0"))
        asked = len(answers.moments)
        assert asked < 30, "forty tries without a breaker"
        with pytest.raises(UnavailableError, match="left alone for a moment"):
            await client.reader().head(Tag("1.0"))
        assert len(answers.moments) == asked

        status = 404
        clock.advance(20)
        assert await client.reader().head(Tag("1.0")) is None
        assert await client.reader().head(Tag("1.0")) is None

        changes = [event for event in client.events.events if isinstance(event, BreakerChanged)]
        assert changes == [BreakerChanged(host=HOST, is_open=True), BreakerChanged(host=HOST, is_open=False)]


@pytest.mark.covers("C41", "D25")
async def test_retries_stay_within_the_budget() -> None:
    clock = FakeClock()
    seen: Counter[str] = Counter()

    def sometimes(request: httpx2.Request) -> int:
        seen[request.url.path] += 1
        return 503 if seen[request.url.path] == 1 and request.url.path.endswith(("0", "5", "7")) else 404

    answers = Answers(clock, sometimes)
    async with (
        open_client(HOST, transport=answers.everywhere, clock=clock) as client,
        anyio.create_task_group() as group,
    ):
        for number in range(200):
            group.start_soon(client.reader(f"team/app{number}").head, Tag(f"v{number}"))

    firsts: set[str] = set()
    retries = [moment for moment, path in answers.moments if path in firsts or firsts.add(path)]  # type: ignore[func-returns-value]
    assert len(retries) == 60
    assert max(Counter(int(moment) for moment in retries[21:]).values()) <= 3


# --- limits


@pytest.mark.covers("C39")
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_requests_are_in_flight_than_set(concurrency: int) -> None:
    async with filled(FakeRegistry()) as registry:
        settings = settings_of(registry, concurrency=concurrency)
        async with open_client(registry, settings=settings) as client:
            await client.http.ping()
            hold = Hold()
            registry.fault(hold, kind="manifest HEAD", times=None)
            async with anyio.create_task_group() as group:
                for _ in range(30):
                    group.start_soon(client.reader().head, Tag("1.0"))
                while registry.traffic.in_flight < concurrency:
                    await anyio.lowlevel.checkpoint()
                hold.gate.set()

    assert registry.traffic.most_in_flight == concurrency
    assert registry.traffic.counts["manifest HEAD"] == 30


@pytest.mark.covers("C39")
@pytest.mark.parametrize("profile", [DISTRIBUTION_V3, BEARER], ids=["open", "bearer"])
async def test_crossing_copies_with_one_place_each_never_wait_in_a_circle(profile: Profile) -> None:
    async with filled(FakeRegistry(profile)) as one, filled(FakeRegistry(profile)) as two:
        narrow = {registry.host: settings_of(registry, concurrency=1) for registry in (one, two)}
        async with open_client(one, settings=narrow[one.host], others=narrow) as client:
            if profile is BEARER:
                client.credentials.by_host[two.host] = credential_of(two)
            for registry in (one, two):
                client.gateway.handle(registry.host)
            slots = RegistrySlots(client.gateway.throttles)

            async def copy(source: FakeRegistry, target: FakeRegistry, number: int) -> None:
                reader = client.gateway.reader(Repository(source.host, "team/app"))
                writer = client.gateway.writer(Repository(target.host, f"copy/app{number}"))
                hold = slots.hold(source=source.host, targets={target.host}, patience_s=1)
                async with hold, reader.blob(BLOB) as pieces:
                    await writer.put_blob(BLOB, pieces)
                assert await writer.has_blob(BLOB)

            with anyio.fail_after(10):
                async with anyio.create_task_group() as group:
                    for number in range(6):
                        group.start_soon(copy, one, two, number)
                        group.start_soon(copy, two, one, number)

    for registry in (one, two):
        assert len([name for name in registry.store.repositories() if name.startswith("copy/")]) == 6


@pytest.mark.covers("D10")
async def test_lost_answer_of_an_upload_is_looked_into_under_the_place_that_is_held() -> None:
    """With one place at the registry a second one would never come."""
    async with (
        FakeRegistry() as registry,
        open_client(registry, settings=settings_of(registry, concurrency=1)) as client,
    ):
        registry.fault(LoseAnswer(), kind="upload PUT")
        await client.http.throttle.acquire()
        with anyio.fail_after(2):
            await client.writer().put_blob(BLOB, stream(CONTENT))
        client.http.throttle.release()

    assert registry.store.blob("team/app", BLOB.digest) == CONTENT


@pytest.mark.covers("C40")
async def test_requests_stay_under_the_rate_in_every_window() -> None:
    clock = FakeClock(manual=True)
    answers = Answers(clock, lambda _: 404)
    settings = RegistrySettings(host=HOST, requests_per_second=5.0)
    async with (
        open_client(HOST, transport=answers.everywhere, settings=settings, clock=clock) as client,
        anyio.create_task_group() as group,
    ):
        for number in range(20):
            group.start_soon(client.reader(f"team/app{number}").head, Tag("1.0"))
        for _ in range(25):
            await anyio.wait_all_tasks_blocked()
            clock.advance(0.2)

    moments = sorted(moment for moment, _ in answers.moments)
    assert len(moments) == 21
    for start in moments:
        assert len([moment for moment in moments if start <= moment < start + 1 - 1e-6]) <= 5


async def test_bandwidth_holds_in_both_directions() -> None:
    async with filled(FakeRegistry()) as registry:
        settings = settings_of(registry, bandwidth=len(CONTENT) // 10)
        async with open_client(registry, settings=settings) as client:
            await read_blob(client)
            await client.writer("team/other").put_blob(BLOB, stream(CONTENT, piece=1024))
            await client.http.throttle.bandwidth.take(1)

    assert client.clock.monotonic() == pytest.approx(20, rel=0.05)


# --- deadlines: on trio, whose clock jumps to the next moment when nothing else is to be done


class Stuck:
    """A transport that never answers, or whose body never ends; ``takes`` says whether it takes a body that goes up."""

    def __init__(self, stuck: str, *, takes: bool = True) -> None:
        self.stuck = stuck
        self.takes = takes
        self.closed = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return self._response(request, 202, {"Location": "/v2/team/app/blobs/uploads/1"})
        if request.method == "PUT" and self.takes:
            async for _ in request.stream:  # type: ignore[union-attr]  # a body that goes up is an async one
                pass
        if request.url.path == "/v2/" or request.method == "DELETE":
            return self._response(request, 200, {})
        if self.stuck == "answer":
            await anyio.sleep_forever()
        return httpx2.Response(200, stream=_Dripping(self), request=request)

    @staticmethod
    def _response(request: httpx2.Request, status: int, headers: dict[str, str]) -> httpx2.Response:
        return httpx2.Response(status, headers=headers, stream=httpx2.ByteStream(b""), request=request)

    async def aclose(self) -> None:
        pass


class _Dripping(httpx2.AsyncByteStream):
    def __init__(self, transport: Stuck) -> None:
        self.transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await anyio.sleep(4)
            yield b"x"

    async def aclose(self) -> None:
        self.transport.closed += 1


class LoopClock(FakeClock):
    """Goes with the clock of the event loop."""

    def monotonic(self) -> float:
        return anyio.current_time()


class TestDeadlines:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        return "trio", {"clock": MockClock(autojump_threshold=0)}

    @pytest.mark.covers("D38", "D40")
    async def test_answer_that_does_not_begin_has_a_deadline(self) -> None:
        stuck = Stuck("answer")
        async with open_client(HOST, transport=lambda _settings, _foreign: stuck) as client:
            before = anyio.current_time()
            with pytest.raises(UnavailableError, match="DEADLINE"):
                await client.reader().head(Tag("1.0"))

        assert anyio.current_time() - before == pytest.approx(TRIES * 70, abs=1)

    @pytest.mark.covers("D39")
    async def test_body_that_drips_has_a_deadline_and_its_connection_is_closed(self) -> None:
        stuck = Stuck("body")
        async with open_client(HOST, transport=lambda _settings, _foreign: stuck) as client:
            with pytest.raises(UnavailableError, match="DEADLINE"):
                await client.reader().manifest(IMAGE.digest)

        assert stuck.closed == TRIES

    @pytest.mark.parametrize("takes", [True, False], ids=["takes-all-and-says-nothing", "takes-nothing"])
    async def test_upload_that_stands_still_is_given_up(self, takes: bool) -> None:
        stuck = Stuck("answer", takes=takes)
        clock = LoopClock()
        async with open_client(HOST, transport=lambda _settings, _foreign: stuck, clock=clock) as client:
            with pytest.raises(UnavailableError, match="took no data and gave no answer for 60 s") as caught:
                await client.writer().put_blob(BLOB, stream(CONTENT))

        assert caught.value.retryable


# --- events


async def test_every_exchange_is_told_once() -> None:
    async with filled(FakeRegistry()) as registry, open_client(registry) as client:
        registry.fault(Respond(500), kind="manifest HEAD")
        registry.fault(Drop(), kind="manifest HEAD", nth=1)
        await client.reader().head(Tag("1.0"))

    told = [event for event in client.events.events if isinstance(event, RequestDone)]
    assert [(event.method, event.status) for event in told] == [("GET", 200), ("HEAD", 500), ("HEAD", 0), ("HEAD", 200)]
    assert client.events.retries() == ["unavailable", "unavailable"]


async def test_guarded_address_is_no_failure_of_the_registry() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        await write_image(client.writer(), IMAGE, "1.0")
        signature = build_artifact(IMAGE.manifest.descriptor)
        await write_blobs(client.writer(), signature)
        await client.writer().put_manifest(signature.manifest)
        location = (("Location", "https://169.254.169.254/x"),)
        registry.fault(Respond(307, location), kind="manifest GET", times=None)
        for _ in range(30):
            with pytest.raises(AddressRefusedError):
                await client.reader().manifest(IMAGE.digest)

        assert await client.reader().head(Tag("1.0")) is not None
