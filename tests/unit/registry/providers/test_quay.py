"""Quay's words for scopes, and what its listings refuse."""

from __future__ import annotations

import pytest

from mirrord.errors import RegistryError, UnauthorizedError, UnsupportedError
from mirrord.oci.reference import Tag
from mirrord.ports.credentials import Credential
from mirrord.ports.settings import RegistrySettings
from mirrord.registry import scopes
from mirrord.registry.providers.catalog import choose_provider, known_providers
from mirrord.registry.providers.quay import OAUTH_USER, QuayProvider
from tests.fakes.clients import credential_of, open_client
from tests.fakes.images import make_image
from tests.fakes.internet import Internet
from tests.fakes.profiles import Names
from tests.fakes.registries.quay import NAMES_QUAY, QUAY, QuayApi
from tests.fakes.routes import Routes
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

IMAGE = make_image("app")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (scopes.pull("acme/app"), ("repository:acme/app:pull",)),
        (scopes.push("acme/app"), ("repository:acme/app:pull,push",)),
        (scopes.delete("acme/app"), ("repository:acme/app:pull,push,*",)),
        (scopes.delete("acme/delete"), ("repository:acme/delete:pull,push,*",)),
        (scopes.pull("acme/delete"), ("repository:acme/delete:pull",)),
        (scopes.mount("acme/app", "acme/base"), ("repository:acme/app:pull,push", "repository:acme/base:pull")),
        (scopes.CATALOG, ()),
        (scopes.NO_SCOPE, ()),
    ],
)
def test_scopes_are_put_into_words_that_quay_knows(asked: scopes.Scopes, meant: scopes.Scopes) -> None:
    """Nothing but pull, push and ``*`` on repositories."""
    assert QuayProvider().token_scopes(asked) == meant


@pytest.mark.parametrize(("host", "name"), [("quay.io", "quay"), ("quay.example.com", "generic")])
def test_quay_of_ones_own_is_named_in_the_configuration(host: str, name: str) -> None:
    """Its name says nothing."""
    assert choose_provider(host, None, known_providers()).name == name


async def test_whole_of_quay_io_is_not_listed() -> None:
    """Nothing is asked."""
    routes = Routes()
    async with open_client("quay.io", transport=routes.everywhere()) as client:
        with pytest.raises(UnsupportedError) as refused:
            await client.repositories("")

    assert "quay.io/NAMESPACE/*" in refused.value.remedy
    assert routes.targets() == []


async def test_token_that_the_api_does_not_accept_is_an_error_of_the_listing() -> None:
    """A listing of what is public alone would pass for a whole one."""
    async with Internet() as internet:
        quay = await internet.join(QUAY, NAMES_QUAY)
        put(quay, "acme/app", IMAGE, "1.0")
        wrong = Credential(username=OAUTH_USER, secret="wrong")
        async with internet.client("quay.io", credential=wrong) as client:
            with pytest.raises(UnauthorizedError) as refused:
                await client.repositories("acme/")

    assert "repo:read" in refused.value.remedy


async def test_robot_at_a_quay_without_anonymous_access_is_told_what_is_its_own() -> None:
    """The API refuses everybody without a token; that public repositories may lack is noted."""
    host = "quay.example"
    settings = RegistrySettings(host=host, provider="quay")
    async with Internet() as internet:
        quay = await internet.join(QUAY, Names(registry=host, storage="cdn.example"))
        put(quay, "acme/app", IMAGE, "1.0")
        assert isinstance(quay.api, QuayApi)
        quay.api.anonymous = False
        async with internet.client(host, credential=credential_of(quay), settings=settings) as client:
            assert await client.repositories("acme/") == ["acme/app"]
            assert client.events.notes() == ["catalog_only"]
            assert await client.repositories("") == ["acme/app"]


@pytest.mark.parametrize(
    ("credential", "error"),
    [
        pytest.param(None, UnauthorizedError, id="anonymous"),
        pytest.param(Credential(username="robot", secret="wrong"), UnauthorizedError, id="wrong-password"),
    ],
)
async def test_refused_look_is_an_error_where_no_push_could_make_the_repository(
    credential: Credential | None, error: type[RegistryError]
) -> None:
    """It means "not there yet" only for those whose credential Quay accepts."""
    async with Internet() as internet:
        quay = await internet.join(QUAY, NAMES_QUAY)
        async with internet.client("quay.io", credential=credential) as client:
            with pytest.raises(error):
                await client.writer("acme/app").head(Tag("1.0"))

    assert quay.switches.created == set()
