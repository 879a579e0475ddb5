"""The ledger notices a secret in every form, and everywhere but where it belongs."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from mirrord.demo.registry.asgi import Message, Receive, Scope, Send
from tests.canary.ledger import Ledger, Secret, told

TEXT = "canary/with odd:characters+0123"
HOME, AWAY = "https://home.test", "https://away.test"
SECRET = Secret("it", TEXT, frozenset({HOME}))


@pytest.mark.parametrize("before", ["", "r", "ro", "rob", "robot:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
def test_secret_is_noticed_in_base64_whatever_stands_beside_it(before: str, after: str) -> None:
    raw = f"{before}{TEXT}{after}".encode()

    assert SECRET.is_in(f"Basic {base64.b64encode(raw).decode()}")
    assert SECRET.is_in(base64.urlsafe_b64encode(raw).decode().rstrip("="))
    assert not SECRET.is_in(base64.b64encode(f"{before}canary of another kind{after}".encode()).decode())


@pytest.mark.parametrize("text", [TEXT, quote(TEXT, safe=""), TEXT.encode().hex(), f"...{TEXT[-12:]}"])
def test_secret_is_noticed_escaped_and_cut(text: str) -> None:
    assert told([f"it is {text}, you know"], [SECRET]) == [f"it is told: it is {text}, you know"]
    assert told(["it is something else"], [SECRET]) == []


async def ask(ledger: Ledger, origin: str, target: str, headers: dict[str, str], body: bytes) -> list[Message]:
    """Ask an application under watch, and return what it answers."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    path, _, query = target.partition("?")
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"method": "GET", "path": path, "query_string": query.encode(), "headers": encoded}
    await ledger.around(app, origin)(scope, receive, send)
    return sent


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("target", "headers", "body", "where"),
    [
        ("/x?a=canary%2Fwith+odd%3Acharacters%2B0123", {}, b"", "URL"),
        ("/x", {"x-some-token": TEXT}, b"", "x-some-token"),
        ("/x", {"cookie": f"a={TEXT}"}, b"", "cookie"),
        ("/x", {}, b"a=1&b=canary%2Fwith+odd%3Acharacters%2B0123", "body"),
    ],
)
async def test_secret_that_comes_elsewhere_is_a_leak(
    target: str, headers: dict[str, str], body: bytes, where: str
) -> None:
    ledger = Ledger()
    await ask(ledger, AWAY, target, headers, body)
    await ask(ledger, HOME, target, headers, body)

    at_home = [f"it reached {HOME} in URL of GET /x"] if where == "URL" else []
    assert ledger.leaks([SECRET]) == [f"it reached {AWAY} in {where} of GET /x", *at_home]
    assert ledger.sightings([SECRET]) == {"it": {HOME, AWAY}}


@pytest.mark.anyio
async def test_cookie_of_an_origin_belongs_to_nobody() -> None:
    ledger = Ledger()
    [answer] = await ask(ledger, HOME, "/", {}, b"")
    cookie = dict(answer["headers"])[b"set-cookie"].decode().partition(";")[0]
    await ask(ledger, HOME, "/", {"cookie": cookie}, b"")

    assert ledger.leaks([]) == [f"cookie of {HOME} reached {HOME} in cookie of GET /"]
