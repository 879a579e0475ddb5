"""How requests to APIs beside a registry are authorised: by what the provider says, and by nothing else."""

from __future__ import annotations

import pytest

from mirrord.errors import UnauthorizedError
from mirrord.ports.credentials import Credential
from mirrord.registry.authorizing import ApiAuthorizer
from mirrord.registry.providers.pages import get_json
from tests.fakes.clients import open_client
from tests.fakes.routes import Routes

pytestmark = pytest.mark.anyio

API = "https://api.test"


class Values:
    """Gives one value after the other, the last one for good."""

    def __init__(self, *values: str | None) -> None:
        self.values = list(values)
        self.asked = 0

    async def __call__(self) -> str | None:
        self.asked += 1
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


async def test_header_is_asked_for_before_each_request() -> None:
    authorizer = ApiAuthorizer(Values("one", "two"))

    assert [await authorizer.header(()) for _ in range(3)] == ["one", "two", "two"]
    assert authorizer.scheme == "api"


async def test_value_that_was_refused_is_not_sent_again() -> None:
    authorizer = ApiAuthorizer(Values("old", "old", "new"))

    sent = await authorizer.header(())
    await authorizer.forget((), sent or "")

    assert [sent, await authorizer.header(()), await authorizer.header(())] == ["old", None, "new"]


async def test_api_that_wants_nothing_is_sent_nothing() -> None:
    assert await ApiAuthorizer(Values(None)).header(()) is None


async def test_challenge_of_an_api_teaches_nothing() -> None:
    assert not ApiAuthorizer(Values("x")).learn(['Bearer realm="https://evil.test/token"'])


async def ask(routes: Routes, values: Values) -> object:
    async with open_client(
        "registry.test", transport=routes.everywhere(), credential=Credential(username="robot", secret="correct horse")
    ) as client:
        http = client.gateway.handle("registry.test").service.api.open(API, values)
        return await get_json(http, "/thing", "ask the API")


def sent(routes: Routes) -> list[tuple[str, str | None]]:
    return [(request.url.host, request.headers.get("authorization")) for request in routes.asked]


async def test_api_that_refuses_is_asked_once_more_with_a_fresh_value() -> None:
    routes = Routes()
    routes.get(f"{API}/thing", headers={"authorization": "Bearer old"}).respond(401)
    routes.get(f"{API}/thing", headers={"authorization": "Bearer new"}).respond(200, json=7)

    assert await ask(routes, Values("Bearer old", "Bearer new")) == 7
    assert sent(routes) == [("api.test", "Bearer old"), ("api.test", "Bearer new")]


async def test_api_that_refuses_for_good_is_not_asked_with_the_same_value() -> None:
    routes = Routes()
    challenge = {"WWW-Authenticate": 'Bearer realm="https://api.test/token",service="api.test"'}
    routes.get(f"{API}/thing").respond(401, headers=challenge)

    with pytest.raises(UnauthorizedError):
        await ask(routes, Values("Bearer old"))

    assert sent(routes) == [("api.test", "Bearer old")], "no token service is asked, nor the registry's credential sent"


async def test_api_is_not_greeted() -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(200, json=1)

    await ask(routes, Values(None))

    assert routes.targets() == [f"GET {API}/thing"]
