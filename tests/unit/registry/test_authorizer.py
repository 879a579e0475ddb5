"""Tokens: which are asked for, how often, and what is made of the answers. The token service is a function here."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import parse_qs, parse_qsl, urlsplit

import anyio
import anyio.lowlevel
import pytest

from mirrord.errors import (
    CredentialError,
    ProtocolViolationError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)
from mirrord.ports.credentials import Credential
from mirrord.registry import scopes
from mirrord.registry.tokenanswer import LONGEST_LIFE_S, TokenAnswer
from mirrord.registry.tokens import Authorizer
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

REALM = "https://auth.registry.test/token"
BEARER = f'Bearer realm="{REALM}",service="registry.test"'
USER = Credential(username="robot", secret="correct horse")
IDENTITY = Credential(username="robot", identity_token="refresh-me")
PULL = scopes.pull("team/app")
PUSH = scopes.push("team/app")
REFUSED_POSTS = {400: "trap-07-acr", 401: "trap-07-artifactory", 404: "trap-07-google"}


class Service:
    """A token service that numbers its tokens. ``answers`` replaces answers: the first one is for the first request."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self.answers: list[TokenAnswer] = []
        self.fields: dict[str, object] = {"expires_in": 300}
        self.refuse: Callable[[str], int] = lambda _method: 200
        self.cancel: anyio.CancelScope | None = None

    async def __call__(self, *, method: str, url: str, headers: dict[str, str], content: bytes) -> TokenAnswer:
        self.requests.append({"method": method, "url": url, "content": content.decode(), **headers})
        if self.cancel is not None:
            self.cancel.cancel()
        await anyio.lowlevel.checkpoint()
        if self.answers:
            return self.answers.pop(0)
        status = self.refuse(method)
        body = {"token": f"token-{len(self.requests)}", **self.fields} if status == 200 else {}
        return TokenAnswer(status=status, body=json.dumps(body).encode())

    @property
    def methods(self) -> list[str]:
        return [request["method"] for request in self.requests]


class Bench:
    def __init__(self, credential: Credential | None = USER, challenge: str = BEARER) -> None:
        self.credential = credential
        self.service = Service()
        self.clock = FakeClock(manual=True)
        self.next: Credential | None = credential
        self.drops = 0
        self.authorizer = Authorizer(
            host="registry.test",
            credential=self._credential,
            fetch=self.service,
            clock=self.clock,
            drop_credential=self._drop,
        )
        if challenge:
            assert self.authorizer.learn([challenge])

    async def _credential(self) -> Credential | None:
        return self.credential

    def _drop(self) -> None:
        self.drops += 1
        self.credential = self.next


def basic(credential: Credential = USER) -> str:
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.secret}".encode()).decode()


# --- schemes


async def test_nothing_is_sent_before_a_challenge() -> None:
    bench = Bench(challenge="")

    assert bench.authorizer.scheme == "none"
    assert await bench.authorizer.header(PULL) is None
    await bench.authorizer.forget(PULL, "Bearer old")


async def test_basic_challenge_gets_user_and_password() -> None:
    bench = Bench(challenge='Basic realm="Registry"')

    assert bench.authorizer.scheme == "basic"
    assert await bench.authorizer.header(PULL) == basic()
    assert not bench.service.requests


async def test_basic_challenge_gets_nothing_from_an_anonymous_client() -> None:
    assert await Bench(None, challenge="Basic").authorizer.header(PULL) is None


async def test_user_name_may_be_of_any_script() -> None:
    user = Credential(username="jörg", secret="pässwörd:mit:punkten")

    assert await Bench(user, challenge="Basic").authorizer.header(PULL) == basic(user)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="trap-03-google"),
        pytest.param([""], id="trap-03-harbor"),
        pytest.param(["Negotiate"], id="E53:negotiate-only"),
        pytest.param(['Bearer error="invalid_token"'], id="bearer-without-realm"),
    ],
)
async def test_challenge_that_cannot_be_met_changes_nothing(values: list[str]) -> None:
    bench = Bench()

    assert not bench.authorizer.learn(values)
    assert bench.authorizer.scheme == "bearer"


async def test_basic_challenge_after_a_bearer_one_is_not_believed() -> None:
    """Trap 2: Harbor answers an expired token so."""
    bench = Bench()

    assert bench.authorizer.learn(['Basic realm="harbor"'])
    assert bench.authorizer.scheme == "bearer"


@pytest.mark.covers("E52")
async def test_empty_realm_is_an_error() -> None:
    with pytest.raises(ProtocolViolationError, match="AUTH_CHALLENGE_INVALID"):
        Bench(challenge="").authorizer.learn(['Bearer realm=""'])


# --- the request for a token


async def test_token_is_asked_for_by_get_with_basic() -> None:
    bench = Bench()

    assert await bench.authorizer.header(scopes.mount("team/app", "team/base")) == "Bearer token-1"

    request = bench.service.requests[0]
    query = parse_qsl(urlsplit(request["url"]).query)
    assert request["Authorization"] == basic()
    assert query == [
        ("service", "registry.test"),
        ("scope", "repository:team/app:pull,push"),
        ("scope", "repository:team/base:pull"),
        ("account", "robot"),
    ]


async def test_anonymous_client_asks_without_any_name() -> None:
    bench = Bench(None)

    assert await bench.authorizer.header(PULL) == "Bearer token-1"
    assert "Authorization" not in bench.service.requests[0]
    assert "account" not in bench.service.requests[0]["url"]


@pytest.mark.parametrize(
    ("realm", "joint"), [(REALM, "?"), (f"{REALM}?tenant=a%2Fb", "&")], ids=["plain", "with-a-query"]
)
async def test_query_of_the_realm_stays_as_it_is(realm: str, joint: str) -> None:
    bench = Bench(challenge=f'Bearer realm="{realm}",service="s"')
    await bench.authorizer.header(PULL)

    assert bench.service.requests[0]["url"].startswith(f"{realm}{joint}service=s&scope=repository:team/app:pull")


async def test_challenge_without_a_service_asks_without_one() -> None:
    bench = Bench(None, challenge=f'Bearer realm="{REALM}"')
    await bench.authorizer.header(())

    assert bench.service.requests[0]["url"] == REALM


async def test_identity_token_is_exchanged_by_post_alone() -> None:
    bench = Bench(IDENTITY)

    assert await bench.authorizer.header(PUSH) == "Bearer token-1"

    request = bench.service.requests[0]
    form = {name: values[0] for name, values in parse_qs(request["content"]).items()}
    assert (request["method"], request["url"]) == ("POST", REALM)
    assert form == {
        "service": "registry.test",
        "client_id": "mirrord",
        "scope": "repository:team/app:pull,push",
        "grant_type": "refresh_token",
        "refresh_token": "refresh-me",
    }
    assert "Authorization" not in request


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501], ids=REFUSED_POSTS.get)
async def test_refused_post_falls_back_to_get(status: int) -> None:
    bench = Bench(Credential(username="robot", secret="correct horse", identity_token="refresh-me"))
    bench.service.refuse = lambda method: status if method == "POST" else 200

    assert await bench.authorizer.header(PULL) == "Bearer token-2"
    assert bench.service.methods == ["POST", "GET"]
    assert "refresh-me" not in bench.service.requests[1]["url"]


async def test_refused_post_without_a_password_is_final() -> None:
    bench = Bench(IDENTITY)
    bench.service.refuse = lambda _method: 401

    with pytest.raises(UnauthorizedError, match="AUTH_REJECTED"):
        await bench.authorizer.header(PULL)
    assert set(bench.service.methods) == {"POST"}


@pytest.mark.parametrize("status", [404, 405])
async def test_get_that_is_not_known_falls_back_to_post_with_the_password(status: int) -> None:
    bench = Bench()
    bench.service.refuse = lambda method: status if method == "GET" else 200

    assert await bench.authorizer.header(PULL) == "Bearer token-2"
    form = parse_qs(bench.service.requests[1]["content"])
    assert (form["grant_type"], form["username"], form["password"]) == (["password"], ["robot"], ["correct horse"])


@pytest.mark.parametrize(
    ("credential", "status", "error", "words"),
    [
        pytest.param(USER, 401, UnauthorizedError, 'user "robot"', id="wrong-password"),
        pytest.param(USER, 400, UnauthorizedError, "team/app", id="trap-06-quay"),
        pytest.param(None, 403, UnauthorizedError, "an anonymous client", id="anonymous"),
        pytest.param(None, 404, UnsupportedError, "neither GET nor POST", id="nothing-there"),
        pytest.param(USER, 418, ProtocolViolationError, "418", id="nonsense"),
    ],
)
async def test_refusal_says_who_got_no_token_for_what(
    credential: Credential | None, status: int, error: type[Exception], words: str
) -> None:
    bench = Bench(credential)
    bench.service.refuse = lambda _method: status

    with pytest.raises(error, match=words) as caught:
        await bench.authorizer.header(PULL)
    assert "correct horse" not in str(caught.value)


async def test_dummy_scope_of_the_ping_is_not_used() -> None:
    """Trap 4, GHCR."""
    bench = Bench(challenge=f'{BEARER},scope="repository:user/image:pull"')
    await bench.authorizer.header(PULL)

    assert parse_qs(urlsplit(bench.service.requests[0]["url"]).query)["scope"] == list(PULL)


async def test_opaque_scope_is_passed_on() -> None:
    """Trap 4, ECR Public."""
    bench = Bench(challenge=f'{BEARER},scope="aws"')
    await bench.authorizer.header(PULL)
    await bench.authorizer.header(PUSH)

    assert [parse_qs(urlsplit(request["url"]).query)["scope"] for request in bench.service.requests] == [["aws"]]


# --- the answer


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"token": "t"}, id="trap-01-quay"),
        pytest.param({"access_token": "t"}, id="trap-01-acr"),
        pytest.param({"token": "t", "access_token": "t", "expires_in": 300, "issued_at": "2026-01-01"}, id="both"),
        pytest.param({"token": "", "access_token": "t"}, id="empty-token-beside-a-good-one"),
        pytest.param({"token": "t", "access_token": "u"}, id="E55:two-that-differ"),
    ],
)
async def test_token_is_read_from_any_of_the_known_shapes(body: dict[str, object]) -> None:
    bench = Bench()
    bench.service.answers = [TokenAnswer(status=200, body=json.dumps(body).encode())]

    assert await bench.authorizer.header(PULL) == "Bearer t"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="E55:empty"),
        pytest.param(b"<html>log in</html>", id="E55:html"),
        pytest.param(b"[]", id="E55:list"),
        pytest.param(b'"t"', id="E55:text"),
        pytest.param(b"{}", id="E55:no-token"),
        pytest.param(b'{"token": ""}', id="E55:empty-token"),
        pytest.param(b'{"token": "", "access_token": ""}', id="E55:two-empty-tokens"),
        pytest.param(b'{"token": {"token": "t"}}', id="E55:nested"),
        pytest.param(b'{"token": 7}', id="E55:number"),
        pytest.param(b'{"token": "a\\r\\nX-Evil: 1"}', id="E55:line-break"),
        pytest.param(b'{"token": "a b"}', id="E55:blank"),
        pytest.param('{"token": "tök"}'.encode(), id="E55:not-ascii"),
        pytest.param(b"[" * 20_000, id="E55:deep"),
    ],
)
async def test_answer_without_a_usable_token_is_an_error(body: bytes) -> None:
    bench = Bench()
    bench.service.answers = [TokenAnswer(status=200, body=body)]

    with pytest.raises(ProtocolViolationError, match="TOKEN_INVALID"):
        await bench.authorizer.header(PULL)


@pytest.mark.parametrize(
    ("expires_in", "life_s"),
    [
        pytest.param("300", 300.0, id="300"),
        pytest.param("0.5", 0.5, id="fraction"),
        pytest.param("null", 60.0, id="null"),
        pytest.param("0", 60.0, id="D36:zero"),
        pytest.param("-5", 60.0, id="D36:negative"),
        pytest.param('"300"', 60.0, id="D36:text"),
        pytest.param("true", 60.0, id="D36:true"),
        pytest.param("NaN", 60.0, id="D36:nan"),
        pytest.param("Infinity", 60.0, id="D36:infinite"),
        pytest.param("1000000000000", LONGEST_LIFE_S, id="D36:ten-to-the-twelve"),
        pytest.param("9" * 400, LONGEST_LIFE_S, id="D36:four-hundred-digits"),
    ],
)
async def test_token_is_used_for_four_fifths_of_its_life(expires_in: str, life_s: float) -> None:
    bench = Bench()
    bench.service.answers = [
        TokenAnswer(status=200, body=f'{{"token": "t", "expires_in": {expires_in}}}'.encode()),
    ]
    await bench.authorizer.header(PULL)

    bench.clock.advance(life_s * 0.8 - 0.001)
    assert await bench.authorizer.header(PULL) == "Bearer t"
    bench.clock.advance(0.002)
    assert await bench.authorizer.header(PULL) == "Bearer token-2"


async def test_moment_of_issue_does_not_matter() -> None:
    """Trap 9: clocks of token services go wrong; life counts from receipt."""
    for issued_at in ("2016-01-01T00:00:00Z", "2036-01-01T00:00:00Z"):
        bench = Bench()
        bench.service.fields = {"expires_in": 300, "issued_at": issued_at}
        await bench.authorizer.header(PULL)
        await bench.authorizer.header(PULL)

        assert len(bench.service.requests) == 1


# --- the cache


async def test_a_hundred_tasks_cause_one_request() -> None:
    bench = Bench()
    headers: list[str | None] = []

    async def ask() -> None:
        headers.append(await bench.authorizer.header(PULL))

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask)

    assert headers == ["Bearer token-1"] * 100
    assert len(bench.service.requests) == 1


async def test_a_hundred_tasks_with_a_wrong_password_cause_two_requests() -> None:
    """Token services lock accounts that fail often. The second request tells a wrong password from a missing right."""
    bench = Bench()
    bench.service.refuse = lambda _method: 401
    refused = 0

    async def ask() -> None:
        nonlocal refused
        try:
            await bench.authorizer.header(PULL)
        except UnauthorizedError:
            refused += 1

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask)

    assert refused == 100
    assert ["scope=" in request["url"] for request in bench.service.requests] == [True, False]


@pytest.mark.covers("D35")
async def test_a_hundred_tasks_at_a_dead_service_cause_one_request_and_later_another() -> None:
    bench = Bench()
    failures: list[UnavailableError] = []
    asked = 0

    async def dead(*, method: str, url: str, headers: dict[str, str], content: bytes) -> TokenAnswer:
        nonlocal asked
        asked += 1
        await anyio.lowlevel.checkpoint()
        raise UnavailableError("no answer", host="registry.test", code="DEADLINE")

    authorizer = Authorizer(host="registry.test", credential=bench._credential, fetch=dead, clock=bench.clock)
    authorizer.learn([BEARER])

    async def ask() -> None:
        try:
            await authorizer.header(PULL)
        except UnavailableError as exc:
            failures.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask)
    assert {(failure.code, failure.message) for failure in failures} == {("DEADLINE", "no answer")}
    assert (len(failures), asked) == (100, 1)

    bench.clock.advance(15.1)
    await ask()
    assert asked == 2


async def test_task_that_is_cancelled_while_it_asks_leaves_the_way_free() -> None:
    bench = Bench()
    with anyio.CancelScope() as scope:
        bench.service.cancel = scope
        await bench.authorizer.header(PULL)
    assert scope.cancelled_caught

    assert await bench.authorizer.header(PULL) == "Bearer token-2"


@pytest.mark.covers("C30")
async def test_token_of_one_scope_is_not_used_for_another() -> None:
    bench = Bench()

    assert await bench.authorizer.header(PULL) == "Bearer token-1"
    assert await bench.authorizer.header(PUSH) == "Bearer token-2"
    assert await bench.authorizer.header(PULL) == "Bearer token-1"


@pytest.mark.covers("A21", "A53", "C30")
async def test_token_of_one_credential_is_not_used_for_another() -> None:
    bench = Bench()
    assert await bench.authorizer.header(PULL) == "Bearer token-1"

    bench.credential = None
    assert await bench.authorizer.header(PULL) == "Bearer token-2"
    bench.credential = Credential(username="robot", secret="a new one")
    assert await bench.authorizer.header(PULL) == "Bearer token-3"
    bench.credential = USER
    assert await bench.authorizer.header(PULL) == "Bearer token-1"


async def test_rotated_credential_is_tried_at_once_after_a_refusal() -> None:
    bench = Bench()
    bench.service.answers = [TokenAnswer(status=401, body=b"")] * 2
    with pytest.raises(UnauthorizedError):
        await bench.authorizer.header(PULL)

    bench.credential = Credential(username="robot", secret="the new one")
    assert await bench.authorizer.header(PULL) == "Bearer token-3"


async def test_forgotten_token_is_asked_for_anew_and_the_others_stay() -> None:
    bench = Bench()
    await bench.authorizer.header(PULL)
    await bench.authorizer.header(PUSH)

    await bench.authorizer.forget(PULL, "Bearer token-1")

    assert await bench.authorizer.header(PUSH) == "Bearer token-2"
    assert await bench.authorizer.header(PULL) == "Bearer token-3"


async def test_newer_token_than_the_refused_one_stays() -> None:
    """Many tasks hear of a dead token; the first of them has fetched another by the time the last one hears."""
    bench = Bench()
    await bench.authorizer.header(PULL)

    await bench.authorizer.forget(PULL, "Bearer token-0")

    assert await bench.authorizer.header(PULL) == "Bearer token-1"


@pytest.mark.parametrize("old", [True, False], ids=["dead-ones", "live-ones"])
async def test_cache_of_tokens_is_bounded(old: bool) -> None:
    bench = Bench()
    for number in range(4096):
        await bench.authorizer.header(scopes.pull(f"team/app{number}"))
    if old:
        bench.clock.advance(300)
    await bench.authorizer.header(scopes.pull("team/one-more"))

    assert len(bench.authorizer._tokens) == 1
    assert not bench.authorizer._locks


async def test_failing_source_of_the_credential_is_no_anonymous_request() -> None:
    async def broken() -> Credential | None:
        raise CredentialError("the helper is missing")

    service = Service()
    authorizer = Authorizer(host="registry.test", credential=broken, fetch=service, clock=FakeClock())
    authorizer.learn([BEARER])

    with pytest.raises(CredentialError):
        await authorizer.header(PULL)
    assert not service.requests


# --- credentials that end

ANOTHER = Credential(username="robot", secret="another horse")


async def test_refused_basic_credential_is_dropped_and_its_successor_is_used() -> None:
    bench = Bench(challenge='Basic realm="r"')
    bench.next = ANOTHER

    assert await bench.authorizer.renew(PULL, basic())
    assert await bench.authorizer.header(PULL) == basic(ANOTHER)
    assert bench.drops == 1


async def test_credential_that_was_replaced_meanwhile_is_not_dropped() -> None:
    """Many requests are refused at once: the first one fetched its successor."""
    bench = Bench(ANOTHER, challenge='Basic realm="r"')

    assert await bench.authorizer.renew(PULL, basic())
    assert bench.drops == 0


async def test_credential_without_a_successor_is_not_tried_again_nor_dropped_for_every_request() -> None:
    bench = Bench(challenge='Basic realm="r"')

    for _ in range(5):
        assert not await bench.authorizer.renew(PULL, basic())
    assert bench.drops == 1
    bench.clock.advance(60)
    assert not await bench.authorizer.renew(PULL, basic())
    assert bench.drops == 2


async def test_refused_token_is_renewed_with_the_same_credential() -> None:
    bench = Bench()
    first = await bench.authorizer.header(PULL)
    assert first is not None

    assert await bench.authorizer.renew(PULL, first)
    assert await bench.authorizer.header(PULL) == "Bearer token-2"
    assert bench.drops == 0


async def test_credential_that_the_token_service_refuses_is_dropped_and_its_successor_tried_at_once() -> None:
    bench = Bench()
    bench.next = ANOTHER
    bench.service.answers = [TokenAnswer(status=401, body=b"{}")] * 2

    assert await bench.authorizer.header(PULL) == "Bearer token-3"
    assert [request["Authorization"] for request in bench.service.requests] == [basic(), basic(), basic(ANOTHER)]
    assert bench.drops == 1


@pytest.mark.parametrize("challenge", [BEARER, 'Basic realm="r"'], ids=["bearer", "basic"])
async def test_source_of_a_rejected_credential_is_asked_again_before_long(challenge: str) -> None:
    """Clouds hand out credentials that are not good yet: the next one is used when there is one."""
    bench = Bench(challenge=challenge)
    bench.service.answers = [TokenAnswer(status=401, body=b"{}")] * 2

    async def knock(value: str) -> bool:
        if value == basic():
            raise UnauthorizedError("no", status=401)
        return True

    bench.authorizer._knock = knock
    for _ in range(5):
        with pytest.raises(UnauthorizedError):
            await bench.authorizer.header(PULL)
    assert bench.drops == 1
    bench.next = ANOTHER
    bench.clock.advance(15)

    assert await bench.authorizer.header(PULL) in {"Bearer token-3", basic(ANOTHER)}


async def test_nothing_is_dropped_before_a_challenge() -> None:
    bench = Bench(challenge="")

    assert not await bench.authorizer.renew(PULL, basic())
    assert bench.drops == 0
