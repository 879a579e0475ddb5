"""How requests to APIs beside a registry are authorised: by what the provider says, and by nothing else."""

from __future__ import annotations

import pytest

from mirrord.errors import DeniedError, UnauthorizedError
from mirrord.ports.credentials import Credential
from mirrord.registry.authorizing import MOST_REFUSALS, ApiAuthorizer
from mirrord.registry.providers.pages import get_json
from tests.fakes.clients import open_client
from tests.fakes.clock import FakeClock
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


USER = Credential(username="robot", secret="correct horse", origin="registries entry")


def authorizer_of(values: Values, clock: FakeClock | None = None, dropped: list[str] | None = None) -> ApiAuthorizer:
    async def credential() -> Credential | None:
        return USER

    return ApiAuthorizer(
        values,
        clock=clock or FakeClock(),
        credential=credential,
        drop=(dropped if dropped is not None else []).append,
    )


async def test_header_is_asked_for_before_each_request() -> None:
    authorizer = authorizer_of(Values("one", "two"))

    assert [await authorizer.header(()) for _ in range(3)] == ["one", "two", "two"]
    assert authorizer.scheme == "api"


async def test_value_that_was_refused_is_not_sent_again() -> None:
    authorizer = authorizer_of(Values("old", "old", "new"))

    sent = await authorizer.header(())
    await authorizer.forget((), sent or "")

    assert [sent, await authorizer.header(()), await authorizer.header(())] == ["old", None, "new"]


async def test_api_that_wants_nothing_is_sent_nothing() -> None:
    assert await authorizer_of(Values(None)).header(()) is None


async def test_challenge_of_an_api_teaches_nothing() -> None:
    assert not authorizer_of(Values("x")).learn(['Bearer realm="https://evil.test/token"'])


async def test_anonymous_refusal_does_not_make_a_refused_value_usable_again() -> None:
    clock, dropped = FakeClock(), list[str]()
    authorizer = authorizer_of(Values("wrong"), clock, dropped)

    await authorizer.forget((), "wrong")
    await authorizer.forget((), "")
    assert await authorizer.header(()) is None
    await authorizer.forget((), "wrong")
    assert dropped == ["wrong"], "many that were refused at once drop it once"
    assert await authorizer.header(()) is None
    clock.advance(15 * 60)
    assert await authorizer.header(()) == "wrong"


async def test_value_that_was_accepted_elsewhere_is_not_given_up_for_one_right_that_lacks() -> None:
    authorizer = authorizer_of(Values("token"))

    authorizer.heard("token", 200)
    for _ in range(MOST_REFUSALS - 1):
        await authorizer.forget((), "token")
    assert await authorizer.header(()) == "token"
    authorizer.heard("token", 403)
    await authorizer.forget((), "token")
    assert await authorizer.header(()) == "token"


async def test_value_that_is_accepted_no_longer_is_given_up_after_a_few_refusals() -> None:
    authorizer = authorizer_of(Values("token"))

    authorizer.heard("token", 200)
    for _ in range(MOST_REFUSALS):
        await authorizer.forget((), "token")

    assert await authorizer.header(()) is None


async def ask(routes: Routes, values: Values, credential: Credential | None = USER, times: int = 1) -> object:
    async with open_client("registry.test", transport=routes.everywhere(), credential=credential) as client:
        http = client.gateway.handle("registry.test").service.api.open(API, values, wants="be an administrator")
        for _ in range(times - 1):
            with pytest.raises(UnauthorizedError):
                await get_json(http, "/thing", "ask the API")
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


async def test_wrong_password_is_sent_to_an_api_once_however_often_it_is_asked() -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(401)

    with pytest.raises(UnauthorizedError):
        await ask(routes, Values("Basic x"), times=20)

    assert [value for _, value in sent(routes)] == ["Basic x", *[None] * 19]


async def refusal(status: int, values: Values, credential: Credential | None = USER, times: int = 1) -> str:
    routes = Routes()
    routes.get(f"{API}/thing").respond(status)
    with pytest.raises((UnauthorizedError, DeniedError)) as caught:
        await ask(routes, values, credential, times)
    assert "correct horse" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("times", [1, 2], ids=["first", "later"])
async def test_refusal_of_an_api_names_the_api_the_credential_and_the_right(times: int) -> None:
    text = await refusal(401, Values("Bearer old"), times=times)

    assert text == (
        'AUTH_REJECTED: ask the API: the API at api.test does not accept the credential of user "robot" '
        "(registries entry); be an administrator"
    )


async def test_refusal_of_an_api_for_which_the_credential_is_none_says_so() -> None:
    text = await refusal(401, Values(None))

    assert "takes another kind of credential than that of user" in text
    assert text.endswith("be an administrator")


async def test_refusal_of_an_anonymous_client_says_for_which_registry_a_credential_lacks() -> None:
    text = await refusal(401, Values(None), None)

    assert "the API at api.test wants a credential, and none is configured for registry.test" in text


async def test_right_that_lacks_at_an_api_is_named() -> None:
    text = await refusal(403, Values("Bearer known"))

    assert 'api.test answered 403 Forbidden; asked as user "robot" (registries entry); be an administrator' in text


async def test_api_is_not_greeted() -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(200, json=1)

    await ask(routes, Values(None))

    assert routes.targets() == [f"GET {API}/thing"]
