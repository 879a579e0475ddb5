"""Where the GitLab of a registry is, and what its listing refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mirrord.errors import NotFoundError, RegistryError, UnsupportedError
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.origin import Door, Origin, RegistryTrust, Verdict, judge
from mirrord.registry.providers.catalog import choose_provider, known_providers
from mirrord.registry.providers.gitlab import GitlabProvider
from tests.fakes.clients import credential_of
from tests.fakes.images import make_image
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names
from tests.fakes.registries.gitlab import GITLAB, NAMES_GITLAB, GitlabApi
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

IMAGE = make_image("app")


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        ("registry.gitlab.com", ("gitlab.com",)),
        ("registry.git.example.com", ("git.example.com",)),
        ("git.example.com:5050", ("git.example.com",)),
        ("registry.git.example.com:5050", ("registry.git.example.com", "git.example.com")),
        ("git.example.com", ()),
        ("registry.internal", ()),
        ("[2001:db8::1]:5050", ()),
    ],
)
def test_gitlab_is_looked_for_by_its_own_conventions(host: str, hosts: tuple[str, ...]) -> None:
    """Nothing that somebody else could have is among them: HOST gives away all names below it."""
    assert GitlabProvider().auth_hosts(host) == hosts


@pytest.mark.parametrize(
    ("realm", "verdict"),
    [
        ("https://git.example.com/jwt/auth", Verdict.FOLLOW_WITH_CREDENTIAL),
        ("https://git.example.com:8443/jwt/auth", Verdict.REFUSE),
        ("http://git.example.com/jwt/auth", Verdict.REFUSE),
        ("https://git.example.net/jwt/auth", Verdict.REFUSE),
    ],
)
def test_registry_at_a_port_gets_tokens_from_the_gitlab_at_the_port_of_https(realm: str, verdict: Verdict) -> None:
    """So GitLab sets itself up where the registry has no name of its own."""
    host = "git.example.com:5050"
    trust = RegistryTrust(
        origin=Origin.parse(f"https://{host}"), auth_hosts=frozenset(GitlabProvider().auth_hosts(host))
    )

    assert judge(realm, door=Door.REALM, registry=trust).verdict is verdict


@pytest.mark.parametrize(("host", "name"), [("registry.gitlab.com", "gitlab"), ("registry.git.example", "generic")])
def test_gitlab_of_ones_own_is_named_in_the_configuration(host: str, name: str) -> None:
    """Its name says nothing."""
    assert choose_provider(host, None, known_providers()).name == name


async def test_gitlab_of_ones_own_is_asked_where_its_tokens_come_from() -> None:
    """Below a path too, where GitLab is installed there."""
    host = "registry.git.example"
    names = Names(registry=host, tokens="git.example", storage="s.example", api="git.example")
    settings = RegistrySettings(host=host, provider="gitlab")
    async with Internet() as internet:
        gitlab = await internet.join(replace(GITLAB, auth=replace(GITLAB.auth, token_path="/lab/jwt/auth")), names)
        assert isinstance(gitlab.api, GitlabApi)
        gitlab.api.root = "/lab"
        gitlab.api.projects = {"team/app"}
        put(gitlab, "team/app", IMAGE, "1.0")
        async with internet.client(host, credential=credential_of(gitlab), settings=settings) as client:
            assert await client.repositories("team/") == ["team/app"]

    assert [record.target.partition(b"/api/")[0] for record in gitlab.traffic.of("api")] == [b"/lab"]


@pytest.mark.parametrize(
    ("prefix", "error", "remedy", "asked"),
    [
        pytest.param("", UnsupportedError, "/GROUP/**", 0, id="nothing-named"),
        pytest.param("nobody/", NotFoundError, "read_api", 1, id="no-group"),
        pytest.param("a/b/c/d/e/f/", NotFoundError, "read_api", 5, id="too-deep"),
    ],
)
async def test_listing_that_cannot_be_says_what_it_would_need(
    prefix: str, error: type[RegistryError], remedy: str, asked: int
) -> None:
    """A group or a project that the token may see."""
    async with Internet() as internet:
        gitlab = await internet.join(GITLAB, NAMES_GITLAB)
        async with internet.client("registry.gitlab.com", credential=credential_of(gitlab)) as client:
            with pytest.raises(error) as refused:
                await client.repositories(prefix)

    assert remedy in refused.value.remedy
    assert gitlab.traffic.counts["api"] == asked


async def test_registry_whose_tokens_come_from_elsewhere_has_no_gitlab() -> None:
    """There is nobody to ask."""
    host = "registry.example"
    settings = RegistrySettings(host=host, provider="gitlab")
    async with Internet() as internet:
        await internet.join(DISTRIBUTION_V3, Names(registry=host))
        async with internet.client(host, settings=settings) as client:
            with pytest.raises(UnsupportedError, match="do not come from a GitLab"):
                await client.repositories("team/")
