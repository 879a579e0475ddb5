"""Headers of quotas as values, and the account that they are kept in."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.errors import QuotaExhaustedError, UnavailableError
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.planning.report import PullQuota, window_text
from mirrord.ports.events import ManifestPulled, QuotaTold, RegistryPaused
from mirrord.registry.metering import LONGEST_WAIT_S, Metering
from mirrord.registry.pulled import PulledManifests
from mirrord.registry.quota import Reading, read_quota
from tests.fakes.clients import Recorder
from tests.fakes.clock import FakeClock
from tests.fakes.images import make_image

HUB = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "20;w=21600"}


@pytest.mark.parametrize(
    ("headers", "reading"),
    [
        pytest.param(HUB, Reading(limit=100, remaining=20, window_s=21_600), id="docker hub"),
        pytest.param({"RateLimit-Remaining": "7"}, Reading(remaining=7), id="no window"),
        pytest.param(
            {"RateLimit-Limit": "10", "RateLimit-Remaining": "0", "RateLimit-Reset": "30"},
            Reading(limit=10, remaining=0, reset_s=30.0),
            id="draft 03, reset",
        ),
        pytest.param(
            {"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": " 5 "},
            Reading(limit=100, remaining=5, window_s=60),
            id="draft 03, policy in the limit",
        ),
        pytest.param(
            {"RateLimit": "limit=100, remaining=50, reset=5"},
            Reading(limit=100, remaining=50, reset_s=5.0),
            id="draft 07, one header",
        ),
        pytest.param(
            {"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'},
            Reading(limit=100, remaining=50, window_s=60, reset_s=30.0),
            id="draft 10, two headers",
        ),
        pytest.param(
            {"RateLimit-Remaining": "3", "RateLimit-Reset": "1767225600"}, Reading(remaining=3), id="a moment"
        ),
        pytest.param({"ratelimit-remaining": "20;w=0"}, Reading(remaining=20), id="a window of nothing"),
        pytest.param({"ratelimit-remaining": "-1"}, Reading(), id="negative"),
        pytest.param({"ratelimit-remaining": "many;w=1"}, Reading(window_s=1), id="no number"),
        pytest.param({"X-RateLimit-Remaining": "5"}, Reading(), id="another limit"),
        pytest.param({}, Reading(), id="absent"),
    ],
)
def test_headers_of_a_quota_are_read(headers: dict[str, str], reading: Reading) -> None:
    found = read_quota(headers)

    assert found == reading
    assert bool(found) is (reading.remaining is not None)


@given(st.dictionaries(st.sampled_from(["RateLimit", "ratelimit-limit", "RATELIMIT-REMAINING"]), st.text(max_size=400)))
def test_headers_of_a_quota_never_raise(headers: dict[str, str]) -> None:
    found = read_quota(headers)

    assert found.remaining is None or found.remaining >= 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(21_600, "6 h"), (5_400, "90 min"), (60, "1 min"), (45, "45 s"), (3_601, "3,601 s")]
)
def test_length_of_a_window_is_told_in_the_largest_unit(seconds: int, text: str) -> None:
    assert window_text(seconds) == text


class Registry:
    """A registry's own count, and the tracker over it."""

    def __init__(self, remaining: int | None, *, reserve: int = 0, window_s: int = 21_600) -> None:
        self.clock = FakeClock()
        self.events = Recorder()
        self.who = "me"
        self.remaining = remaining
        self.window_s = window_s
        self.looks = 0
        self.metering = Metering(
            host="docker.io", reserve=reserve, identity=self.identity, clock=self.clock, events=self.events
        )

    async def identity(self) -> str:
        return self.who

    def headers(self, remaining: int | None) -> dict[str, str]:
        if remaining is None:
            return {}
        return {"ratelimit-limit": f"100;w={self.window_s}", "ratelimit-remaining": f"{remaining};w={self.window_s}"}

    async def look(self) -> None:
        self.looks += 1
        await self.metering.hear("HEAD", 200, self.headers(self.remaining), self.metering.tick())

    async def pull(self) -> None:
        async with self.metering.pull(self.look):
            tick = self.metering.tick()
            if self.remaining is not None:
                self.remaining -= 1
            await self.metering.hear("GET", 200, self.headers(self.remaining), tick)

    def told(self) -> PullQuota:
        return [event.quota for event in self.events.events if isinstance(event, QuotaTold)][-1]


@pytest.mark.anyio
class TestMetering:
    async def test_answers_that_overtake_each_other_never_raise_what_is_left(self) -> None:
        """Of requests side by side the smaller number is the later one, whichever answer comes first."""
        hub = Registry(None)
        first, second = hub.metering.tick(), hub.metering.tick()
        await hub.metering.hear("GET", 200, hub.headers(8), second)
        await hub.metering.hear("GET", 200, hub.headers(9), first)
        overtaken = hub.told().remaining
        await hub.metering.hear("HEAD", 200, hub.headers(9), hub.metering.tick())

        assert overtaken == 8
        assert hub.told().remaining == 9

    async def test_pulls_in_flight_count_as_spent(self) -> None:
        """Two are left above the reserve: a third that begins meanwhile waits, and is then refused."""
        hub = Registry(4, reserve=2)
        refused: list[str] = []
        gate = anyio.Event()

        async def slow() -> None:
            try:
                async with hub.metering.pull(hub.look):
                    await gate.wait()
                    assert hub.remaining is not None
                    hub.remaining -= 1
                    await hub.metering.hear("GET", 200, hub.headers(hub.remaining), hub.metering.tick())
            except QuotaExhaustedError as exc:
                refused.append(exc.code)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(slow)
            await anyio.wait_all_tasks_blocked()
            gate.set()

        assert hub.remaining == 2
        assert refused == ["QUOTA_RESERVED"]

    @pytest.mark.parametrize(
        ("remaining", "most"), [pytest.param(15, 15, id="as many as are left"), pytest.param(9, 1, id="one by one")]
    )
    async def test_no_more_pulls_are_in_flight_than_are_left(self, remaining: int, most: int) -> None:
        """Near the end of the quota each pull waits for the answer of the one before."""
        hub = Registry(remaining)
        await hub.look()
        in_flight = seen = 0

        async def pull() -> None:
            nonlocal in_flight, seen
            try:
                async with hub.metering.pull(hub.look):
                    tick = hub.metering.tick()
                    in_flight += 1
                    seen = max(seen, in_flight)
                    await anyio.wait_all_tasks_blocked()
                    in_flight -= 1
                    assert hub.remaining is not None
                    hub.remaining -= 1
                    await hub.metering.hear("GET", 200, hub.headers(hub.remaining), tick)
            except QuotaExhaustedError:
                pass

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(pull)

        assert seen == most
        assert hub.remaining == 0

    async def test_those_who_wait_ask_once_for_all(self) -> None:
        """Twenty pulls wait for the same window of a minute: one of them looks at each interval."""
        hub = Registry(0, window_s=60)
        hub.clock = FakeClock(manual=True)
        hub.metering = Metering(host="docker.io", reserve=0, identity=hub.identity, clock=hub.clock, events=hub.events)
        await hub.look()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(hub.pull)
            for _ in range(10):
                await anyio.wait_all_tasks_blocked()
                if hub.clock.monotonic() == 48:
                    hub.remaining = 20
                hub.clock.advance(6)

        pauses = [event for event in hub.events.events if isinstance(event, RegistryPaused)]
        assert hub.remaining == 0
        assert hub.looks == 10
        assert {(pause.host, pause.reason) for pause in pauses} == {("docker.io", "quota")}
        assert sum(pause.seconds for pause in pauses) == 54, "of one rest, however many wait for its end"

    async def test_each_credential_has_a_quota_of_its_own(self) -> None:
        hub = Registry(1)
        await hub.look()
        await hub.pull()
        with pytest.raises(QuotaExhaustedError):
            await hub.pull()
        hub.who, hub.remaining = "somebody else", 5
        await hub.pull()

        assert hub.remaining == 4

    async def test_window_that_passed_while_nobody_pulled_is_asked_about_at_once(self) -> None:
        """A service sleeps between runs: what was used up then has come back since, and nobody waits for it."""
        hub = Registry(1)
        await hub.look()
        await hub.pull()
        with pytest.raises(QuotaExhaustedError):
            await hub.pull()
        hub.clock.advance(21_601)
        hub.remaining = 100
        await hub.pull()

        assert hub.clock.slept == []

    async def test_pull_that_is_cancelled_while_it_waits_leaves_nothing_behind(self) -> None:
        hub = Registry(0, window_s=60)
        hub.clock = FakeClock(manual=True)
        hub.metering = Metering(host="docker.io", reserve=0, identity=hub.identity, clock=hub.clock, events=hub.events)
        await hub.look()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(hub.pull)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        hub.remaining = 1
        await hub.look()
        await hub.pull()

        assert (hub.remaining, hub.looks) == (0, 2)

    async def test_pull_that_is_cancelled_on_its_way_may_have_counted(self) -> None:
        hub = Registry(1)
        await hub.look()
        with anyio.CancelScope() as scope:
            async with hub.metering.pull(hub.look):
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        with pytest.raises(QuotaExhaustedError):
            await hub.pull()

    async def test_pull_without_an_answer_counts_as_spent(self) -> None:
        """The registry may have counted it: one is left, its answer is lost, and no other is made on a guess."""
        hub = Registry(1)
        await hub.look()
        with pytest.raises(UnavailableError):
            async with hub.metering.pull(hub.look):
                raise UnavailableError("lost", host="docker.io")
        with pytest.raises(QuotaExhaustedError):
            async with hub.metering.pull(hub.look):
                raise AssertionError

        assert hub.looks == 1

    async def test_look_without_headers_lifts_the_limit(self) -> None:
        """An account that came to be paid for: the next look tells no limit, and everything passes."""
        hub = Registry(0)
        await hub.look()
        hub.remaining = None
        hub.clock.advance(60)
        for _ in range(3):
            await hub.pull()

        assert hub.looks == 2

    async def test_it_is_asked_again_once_a_minute_and_not_for_every_image(self) -> None:
        """A thousand images that go without make one look, and one more after a minute."""
        hub = Registry(5, reserve=5)
        for _ in range(1000):
            with pytest.raises(QuotaExhaustedError):
                await hub.pull()
        asked = hub.looks
        hub.clock.advance(60)
        hub.remaining = 6
        await hub.pull()

        assert (asked, hub.looks) == (1, 2)

    async def test_own_pulls_come_back_a_window_after_they_were_made(self) -> None:
        """A service that runs for long knows when its own pulls leave the window, and waits for one that is near."""
        hub = Registry(1)
        await hub.look()
        await hub.pull()
        hub.clock.advance(21_600 - LONGEST_WAIT_S - 60)
        with pytest.raises(QuotaExhaustedError) as early:
            await hub.pull()
        hub.clock.advance(120)
        looks = hub.looks

        async def rolls() -> None:
            hub.remaining = 1 if hub.clock.monotonic() >= 21_600 else 0
            await Registry.look(hub)

        async with hub.metering.pull(rolls):
            pass

        assert early.value.retry_after_s == pytest.approx(LONGEST_WAIT_S + 60)
        assert hub.clock.monotonic() == pytest.approx(21_600, abs=61)
        assert hub.looks - looks <= 16

    async def test_pulls_are_told_as_events(self) -> None:
        hub = Registry(3)
        await hub.pull()
        await hub.metering.hear("GET", 404, {}, hub.metering.tick())
        await hub.metering.hear("GET", 503, {}, hub.metering.tick())
        await hub.metering.hear("HEAD", 200, hub.headers(2), hub.metering.tick())

        assert [event.host for event in hub.events.events if isinstance(event, ManifestPulled)] == ["docker.io"] * 2
        assert hub.told() == PullQuota(limit=100, remaining=2, window_s=21_600)

    async def test_images_take_turns_where_pulls_are_few(self) -> None:
        few, many = Registry(50), Registry(5000)
        inside: list[int] = []
        for hub in (few, many):
            await hub.look()
            count = most = 0

            async def hold(hub: Registry = hub) -> None:
                nonlocal count, most
                async with hub.metering.turn():
                    count += 1
                    most = max(most, count)
                    await anyio.lowlevel.checkpoint()
                    count -= 1

            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(hold)
            inside.append(most)

        assert inside == [1, 5]


@pytest.mark.anyio
async def test_pulled_manifests_are_fetched_once_and_forgotten_by_size_and_deletion() -> None:
    images = [make_image(f"app {i}").root for i in range(3)]
    room = len(images[0].raw) + len(images[1].raw)
    known = PulledManifests(most_bytes=room)
    fetched: list[Digest] = []

    async def get(number: int) -> None:
        async def fetch() -> AnyManifest:
            fetched.append(images[number].descriptor.digest)
            return images[number]

        assert await known.get("a/b", images[number].descriptor.digest, fetch) is images[number]

    for number in (0, 1, 0, 2, 0, 1):
        await get(number)
    known.forget("a/b")
    await get(1)

    numbers = [next(i for i, image in enumerate(images) if image.descriptor.digest == digest) for digest in fetched]
    assert numbers == [0, 1, 2, 1, 1]
