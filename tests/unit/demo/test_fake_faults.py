from __future__ import annotations

import anyio
import httpx2
import pytest

from mirrord.demo.registry.asgi import Answer
from mirrord.oci.digest import Digest
from tests.fakes.faults import (
    Action,
    Around,
    Change,
    CutBody,
    CutRequest,
    Drop,
    Endless,
    Hold,
    LoseAnswer,
    Raw,
    Respond,
    WrongLength,
    corrupt,
)
from tests.fakes.registry import BEARER, FakeRegistry

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 1000
DIGEST = Digest.of(CONTENT)
BLOB = f"/v2/team/app/blobs/{DIGEST}"


def connected(registry: FakeRegistry) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=registry.url, verify=False)


def filled() -> FakeRegistry:
    registry = FakeRegistry()
    registry.store.add_blob("team/app", CONTENT)
    return registry


@pytest.mark.parametrize(
    ("action", "error"),
    [
        pytest.param(CutBody(after=100), httpx2.RemoteProtocolError, id="cut-body"),
        pytest.param(CutBody(after=100, reset=True), httpx2.ReadError, id="cut-body-with-reset"),
        pytest.param(Drop(), httpx2.RemoteProtocolError, id="drop"),
        pytest.param(Drop(reset=True), httpx2.ReadError, id="reset"),
        pytest.param(Drop(after_body=True), httpx2.RemoteProtocolError, id="drop-after-body"),
        pytest.param(LoseAnswer(), httpx2.RemoteProtocolError, id="lose-answer"),
        pytest.param(LoseAnswer(reset=True), httpx2.ReadError, id="lose-answer-with-reset"),
        pytest.param(WrongLength(by=1), httpx2.RemoteProtocolError, id="length-too-large"),
        pytest.param(Raw(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), httpx2.RemoteProtocolError, id="raw"),
    ],
)
async def test_fault_breaks_one_request(action: Action, error: type[Exception]) -> None:
    async with filled() as registry, connected(registry) as client:
        fault = registry.fault(action, kind="blob GET")
        with pytest.raises(error):
            await client.get(BLOB)
        retried = await client.get(BLOB)

    assert retried.content == CONTENT
    assert (fault.hits, fault.fired) == (2, 1)
    assert registry.traffic.counts["blob GET"] == 2


async def test_cut_body_sends_the_bytes_before() -> None:
    received = b""

    async def read(client: httpx2.AsyncClient) -> None:
        nonlocal received
        async with client.stream("GET", BLOB) as response:
            async for piece in response.aiter_raw():
                received += piece

    async with filled() as registry, connected(registry) as client:
        registry.fault(CutBody(after=1000), kind="blob GET")
        with pytest.raises(httpx2.RemoteProtocolError):
            await read(client)

    assert received == CONTENT[:1000]


async def test_corrupt_changes_one_bit() -> None:
    async with filled() as registry, connected(registry) as client:
        registry.fault(corrupt(7), kind="blob GET")
        response = await client.get(BLOB)

    assert response.content == CONTENT[:7] + bytes([CONTENT[7] ^ 1]) + CONTENT[8:]


async def test_short_length_hides_the_end() -> None:
    async with filled() as registry, connected(registry) as client:
        registry.fault(WrongLength(by=-1), kind="blob GET")
        response = await client.get(BLOB)

    assert response.content == CONTENT[:-1]


async def test_respond_answers_instead_and_changes_nothing() -> None:
    async with FakeRegistry() as registry, connected(registry) as client:
        registry.fault(Respond(429, (("Retry-After", "7"),), b"slow down"), method="POST", times=2)
        answers = [await client.post("/v2/team/app/blobs/uploads/") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 202]
    assert (answers[0].headers["Retry-After"], answers[0].text) == ("7", "slow down")
    assert len(registry.store.uploads("team/app")) == 1


async def test_change_rewrites_the_answer() -> None:
    def renamed(answer: Answer) -> Answer:
        return Answer(status=203, headers=answer.headers, body=b"other")

    async with filled() as registry, connected(registry) as client:
        registry.fault(Change(renamed), kind="blob GET")
        got = await client.get(BLOB)
        registry.fault(Change(renamed), kind="blob HEAD")
        head = await client.head(BLOB)

    assert (got.status_code, got.content) == (203, b"other")
    assert (head.status_code, head.headers["Content-Length"]) == (203, str(len(CONTENT)))


async def test_lost_answer_leaves_the_effect() -> None:
    async with FakeRegistry() as registry, connected(registry) as client:
        started = await client.post("/v2/team/app/blobs/uploads/")
        registry.fault(LoseAnswer(), kind="upload PUT")
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.put(f"{started.headers['Location']}&digest={DIGEST}", content=CONTENT)

    assert registry.store.blob("team/app", DIGEST) == CONTENT


async def test_cut_request_stores_what_came_before() -> None:
    async with FakeRegistry() as registry, connected(registry) as client:
        started = await client.post("/v2/team/app/blobs/uploads/")
        registry.fault(CutRequest(after=1000), kind="upload PATCH")
        with pytest.raises(httpx2.TransportError):
            await client.patch(started.headers["Location"], content=CONTENT)

        assert registry.store.uploads("team/app")[0].offset == 1000


async def test_endless_body_ends_with_its_reader() -> None:
    async with filled() as registry, connected(registry) as client:
        registry.fault(Endless(headers=(("Content-Type", "text/plain"),)), kind="blob GET")
        received = 0
        async with client.stream("GET", BLOB) as response:
            async for piece in response.aiter_raw():
                received += len(piece)
                if received > 2**20:
                    break

    assert response.headers["Content-Type"] == "text/plain"
    assert received > 2**20


@pytest.mark.parametrize(
    "hold",
    [Hold(), Hold(stored=True), Hold(after=10)],
    ids=["before", "behind-the-effect", "inside-the-body"],
)
async def test_hold_waits_for_its_gate(hold: Hold) -> None:
    answers: list[bytes] = []

    async def ask(client: httpx2.AsyncClient) -> None:
        answers.append((await client.get(BLOB)).content)

    held = Hold(after=hold.after, stored=hold.stored)
    async with filled() as registry, connected(registry) as client:
        registry.fault(held, kind="blob GET")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, client)
            await held.reached.wait()
            before = list(answers)
            held.gate.set()

    assert (before, answers) == ([], [CONTENT])


async def test_around_changes_the_store_between_two_requests() -> None:
    async with filled() as registry, connected(registry) as client:
        registry.fault(Around(after=lambda: registry.store.remove_blob("team/app", DIGEST)), kind="blob HEAD")
        head = await client.head(BLOB)
        got = await client.get(BLOB)

    assert (head.status_code, got.status_code) == (200, 404)


async def test_fault_waits_for_the_nth_request_of_its_repository() -> None:
    async with filled() as registry, connected(registry) as client:
        registry.store.mount("team/other", "team/app", DIGEST)
        registry.fault(Respond(503), repository="team/app", method="HEAD", nth=2)
        paths = ["app", "other", "other", "app", "app"]
        statuses = [(await client.head(f"/v2/team/{name}/blobs/{DIGEST}")).status_code for name in paths]

    assert statuses == [200, 200, 200, 503, 200]


async def test_fault_can_look_at_the_request() -> None:
    async with filled() as registry, connected(registry) as client:
        registry.fault(Respond(503), where=lambda record: record.header("Range") is not None, times=None)
        whole = await client.get(BLOB)
        parts = [await client.get(BLOB, headers={"Range": "bytes=1-"}) for _ in range(2)]

    assert [whole.status_code, *(part.status_code for part in parts)] == [200, 503, 503]


async def test_one_request_meets_one_fault() -> None:
    async with filled() as registry, connected(registry) as client:
        registry.fault(Respond(500), kind="blob HEAD")
        registry.fault(Respond(502), kind="blob HEAD")
        statuses = [(await client.head(BLOB)).status_code for _ in range(3)]

    assert statuses == [500, 502, 200]


async def test_fault_reaches_the_token_service() -> None:
    async with FakeRegistry(BEARER) as registry, connected(registry) as client:
        registry.fault(Respond(503), kind="token")
        response = await client.get(f"http://{registry.token_host}/token")

    assert response.status_code == 503
    assert registry.traffic.counts["token"] == 1


async def leave_a_fault_unmet(error: Exception | None = None) -> None:
    async with FakeRegistry() as registry:
        registry.fault(Respond(500), kind="blob GET")
        if error is not None:
            raise error


async def test_fault_that_never_fired_fails_the_test() -> None:
    with pytest.raises(AssertionError, match=r"never fired.*Respond.*blob GET"):
        await leave_a_fault_unmet()


async def test_error_of_the_test_is_not_hidden_by_a_fault_that_never_fired() -> None:
    with pytest.raises(KeyError):
        await leave_a_fault_unmet(KeyError("of the test"))
