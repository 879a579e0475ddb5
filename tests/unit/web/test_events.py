"""Server-sent events: what is told, when, and to how many."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio
import pytest
from starlette.types import Message

from mirrord.planning.status import QuotaStatus, RegistryStatus
from mirrord.web.answers import HttpError
from mirrord.web.events import ALIVE_S, EVERY_S, MOST_CLIENTS, MOST_WAITING, STUCK_S, Broadcaster, Client
from tests.fakes.clock import FakeClock
from tests.fakes.pagedata import copying, in_sync, make_run
from tests.fakes.service import FakeView

pytestmark = pytest.mark.anyio


@pytest.fixture
def broadcaster(view: FakeView, clock: FakeClock) -> Broadcaster:
    return Broadcaster(view, clock)


def read(told: bytes | None) -> list[tuple[str, dict[str, object]]]:
    """Return events with their data, without comments and times of retry."""
    found = []
    for block in (told or b"").decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith((":", "retry")))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def joined(broadcaster: Broadcaster) -> Client:
    """Return a client that has taken the first event."""
    client = broadcaster.join()
    assert [name for name, _ in read(await client.take())] == ["status"]
    return client


async def names(client: Client) -> list[str]:
    told = list(client.waiting)
    client.waiting.clear()
    return [name for name, _ in read(b"".join(told))]


async def test_first_event_is_the_whole_status(broadcaster: Broadcaster, view: FakeView) -> None:
    client = broadcaster.join()
    [(name, status)] = read(await client.take())
    broadcaster.leave(client)

    assert name == "status"
    assert [rule["name"] for rule in status["rules"]] == [rule.name for rule in view.current.rules]  # type: ignore[attr-defined]


async def test_changed_rule_is_told_alone(broadcaster: Broadcaster, view: FakeView) -> None:
    client = await joined(broadcaster)
    view.change("redis", queued=True)
    broadcaster.tick()
    [(name, rule)] = read(b"".join(client.waiting))
    broadcaster.leave(client)

    assert (name, rule["name"], rule["queued"]) == ("rule", "redis", True)


async def test_nothing_is_rendered_while_nothing_changes_and_nothing_runs(
    broadcaster: Broadcaster, view: FakeView, clock: FakeClock
) -> None:
    client = await joined(broadcaster)
    asked = view.asked
    for _ in range(20):
        clock.advance(EVERY_S)
        broadcaster.tick()
    broadcaster.leave(client)

    assert view.asked == asked
    assert list(client.waiting) == []


async def test_freshness_and_time_alone_are_no_change(broadcaster: Broadcaster, view: FakeView) -> None:
    client = await joined(broadcaster)
    later = [replace(rule, freshness_seconds=99.0) for rule in view.current.rules]
    view.put(*later, now=view.current.started, rate=5.0)
    broadcaster.tick()
    broadcaster.leave(client)

    assert await names(client) == []


async def test_progress_is_told_without_a_new_version(broadcaster: Broadcaster, view: FakeView) -> None:
    rule = copying()
    assert rule.running is not None
    view.put(rule)
    client = await joined(broadcaster)
    view.current = replace(view.current, rules=(replace(rule, running=replace(rule.running, read_bytes=7)),), rate=3.0)
    broadcaster.tick()
    broadcaster.leave(client)

    assert await names(client) == ["rule", "service"]


async def test_promise_that_only_time_breaks_is_told_in_the_end(
    broadcaster: Broadcaster, view: FakeView, clock: FakeClock
) -> None:
    client = await joined(broadcaster)
    view.current = replace(
        view.current, rules=(replace(view.current.rules[0], is_fresh=False), *view.current.rules[1:])
    )
    broadcaster.tick()
    early = await names(client)
    clock.advance(ALIVE_S)
    broadcaster.tick()
    broadcaster.leave(client)

    assert (early, await names(client)) == ([], ["rule"])


async def test_run_that_ended_is_told_once(broadcaster: Broadcaster, view: FakeView) -> None:
    client = await joined(broadcaster)
    run = make_run("redis", 0, id="20260305T134411-9")
    view.change("redis", last_run=replace(run, finished=None))
    broadcaster.tick()
    begun = await names(client)
    view.change("redis", last_run=run)
    broadcaster.tick()
    ended = await names(client)
    view.change("redis", queued=True)
    broadcaster.tick()
    broadcaster.leave(client)

    assert (begun, ended, await names(client)) == (["rule"], ["rule", "run"], ["rule"])


async def test_rules_that_go_and_come_are_told(broadcaster: Broadcaster, view: FakeView) -> None:
    client = await joined(broadcaster)
    view.put(*view.current.rules[1:], in_sync("valkey"))
    broadcaster.tick()
    told = read(b"".join(client.waiting))
    broadcaster.leave(client)

    assert [name for name, _ in told] == ["gone", "rule"]
    assert told[0][1] == {"name": "nginx"}


async def test_rules_in_another_order_are_told_all(broadcaster: Broadcaster, view: FakeView) -> None:
    client = await joined(broadcaster)
    view.put(*reversed(view.current.rules))
    broadcaster.tick()
    broadcaster.leave(client)

    assert await names(client) == ["status"]


async def test_service_is_told_without_its_rules(broadcaster: Broadcaster, view: FakeView) -> None:
    client = await joined(broadcaster)
    quota = QuotaStatus(registry="docker.io", remaining=1)
    view.put(*view.current.rules, registries=(RegistryStatus(registry="docker.io", quota=quota),))
    broadcaster.tick()
    [(name, service)] = read(b"".join(client.waiting))
    broadcaster.leave(client)

    assert (name, service["rules"]) == ("service", [])


async def test_whoever_falls_behind_gets_the_whole_state_instead(broadcaster: Broadcaster, view: FakeView) -> None:
    slow, quick = await joined(broadcaster), await joined(broadcaster)
    for number in range(MOST_WAITING + 1):
        view.change("redis", schedule=f"every {number}m")
        broadcaster.tick()
        assert len(slow.waiting) <= MOST_WAITING
        await names(quick)
    [(name, status)] = read(b"".join(slow.waiting))
    broadcaster.leave(slow)
    broadcaster.leave(quick)

    assert name == "status"
    assert f"every {MOST_WAITING}m" in json.dumps(status)


async def test_all_clients_are_told_by_one_look(broadcaster: Broadcaster, view: FakeView) -> None:
    clients = [await joined(broadcaster) for _ in range(10)]
    view.change("redis", queued=True)
    broadcaster.tick()
    told = {b"".join(client.waiting) for client in clients}
    for client in clients:
        broadcaster.leave(client)

    assert view.asked == 2
    assert len(told) == 1


async def test_quiet_stream_has_a_comment_now_and_then(broadcaster: Broadcaster, clock: FakeClock) -> None:
    client = await joined(broadcaster)
    clock.advance(ALIVE_S - 0.1)
    broadcaster.tick()
    early = list(client.waiting)
    clock.advance(0.2)
    broadcaster.tick()
    broadcaster.leave(client)

    assert (early, list(client.waiting)) == ([], [b": alive\n\n"])


async def test_clients_are_told_by_themselves_twice_a_second_and_nobody_else_is(
    broadcaster: Broadcaster, view: FakeView, clock: FakeClock
) -> None:
    client = await joined(broadcaster)
    await anyio.wait_all_tasks_blocked()
    view.change("redis", queued=True)
    clock.advance(EVERY_S)
    with anyio.fail_after(5):
        told = read(await client.take())
    broadcaster.leave(client)
    await anyio.wait_all_tasks_blocked()
    slept = len(clock.slept)
    clock.advance(60)
    await anyio.wait_all_tasks_blocked()

    assert [name for name, _ in told] == ["rule"]
    assert len(clock.slept) == slept


async def test_clients_are_bounded_in_number(broadcaster: Broadcaster) -> None:
    clients = [broadcaster.join() for _ in range(MOST_CLIENTS)]
    with pytest.raises(HttpError) as raised:
        broadcaster.stream()
    for client in clients:
        broadcaster.leave(client)

    assert (raised.value.status, raised.value.code) == (503, "STREAMS_TOO_MANY")
    assert broadcaster.stream() is not None


async def test_client_that_takes_nothing_is_cut_off(broadcaster: Broadcaster, view: FakeView, clock: FakeClock) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()  # the connection takes no more

    async def receive() -> Message:
        await anyio.sleep_forever()
        return {}

    async def follow() -> None:
        await broadcaster.stream()({}, receive, send)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            view.change("redis", queued=True)
            for _ in range(2):
                clock.advance(STUCK_S)
                await anyio.wait_all_tasks_blocked()

    assert broadcaster.clients == 0
    assert len(sent) == 2


async def test_streams_end_with_the_service(broadcaster: Broadcaster) -> None:
    client = await joined(broadcaster)
    broadcaster.close()
    ended = await client.take()
    broadcaster.leave(client)

    assert ended is None
    with pytest.raises(HttpError):
        broadcaster.stream()


async def test_stream_ends_once_its_token_is_one_no_more(broadcaster: Broadcaster, clock: FakeClock) -> None:
    answers = [True, False]
    sent: list[Message] = []

    async def may_go_on() -> bool:
        return answers.pop(0)

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def follow() -> None:
        await broadcaster.stream(may_go_on)({}, receive, send)

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        for _ in range(round(2 * ALIVE_S / EVERY_S) + 2):
            clock.advance(EVERY_S)
            await anyio.wait_all_tasks_blocked()

    assert answers == []
    assert [message.get("body") for message in sent][2:] == [b": alive\n\n", b""]
    assert broadcaster.clients == 0
