"""GitHub's registries by name, where their APIs are, and what is refused before anything is asked."""

from __future__ import annotations

import pytest

from mirrord.errors import RegistryError, UnauthorizedError, UnsupportedError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.ports.credentials import Credential
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.providers.catalog import choose_provider, known_providers
from mirrord.registry.providers.ghcr import Base, GhcrProvider, api_base
from tests.fakes.clients import credential_of
from tests.fakes.faults import Respond
from tests.fakes.images import make_image
from tests.fakes.internet import Internet
from tests.fakes.profiles import Names
from tests.fakes.registries.ghcr import GHCR, NAMES_GHCR, GithubApi
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

TOKEN = Credential(username="robot", secret="token")
IMAGE = make_image("app")


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("ghcr.io", Base("https://api.github.com")),
        ("containers.acme.ghe.com", Base("https://api.acme.ghe.com")),
        ("containers.git.example.com", Base("https://git.example.com", "/api/v3")),
        ("docker.pkg.example.com", None),
        ("containers.", None),
    ],
)
def test_api_is_found_from_the_name_of_the_registry(host: str, base: Base | None) -> None:
    """Where it is not known it is not guessed: the token would go there."""
    assert api_base(host) == base


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("ghcr.io", "ghcr"),
        ("containers.acme.ghe.com", "ghcr"),
        ("containers.git.example.com", "generic"),
        ("ghcr.io.example.com", "generic"),
        ("containers.a.b.ghe.com", "generic"),
    ],
)
def test_only_names_of_github_are_taken_for_its_registry(host: str, name: str) -> None:
    """A server of one's own is named in the configuration."""
    assert choose_provider(host, None, known_providers()).name == name


def test_chunks_are_of_the_size_that_the_registry_takes() -> None:
    """4 MiB, where the default is more."""
    assert GhcrProvider().limits.chunk_size == 4 * 1024 * 1024


async def test_registry_of_a_server_is_listed_by_the_api_of_the_server() -> None:
    """GitHub Enterprise Server has its API below a path, and follows it from page to page."""
    host = "containers.git.example"
    names = Names(registry=host, storage="s.test", api="git.example")
    settings = RegistrySettings(host=host, provider="ghcr")
    async with Internet() as internet:
        server = await internet.join(GHCR, names)
        assert isinstance(server.api, GithubApi)
        server.api.page_entries = 1
        put(server, "acme/one", IMAGE, "1.0")
        put(server, "acme/two", IMAGE, "1.0")
        async with internet.client(host, credential=credential_of(server), settings=settings) as client:
            assert await client.repositories("acme/") == ["acme/one", "acme/two"]

    asked = [record.target.partition(b"?")[0] for record in server.traffic.of("api")]
    assert asked == [b"/api/v3/orgs/acme/packages"] * 2


@pytest.mark.parametrize(
    ("prefix", "credential", "error", "remedy"),
    [
        pytest.param("", TOKEN, UnsupportedError, "OWNER", id="no-owner"),
        pytest.param("acme/", None, UnauthorizedError, "read:packages", id="no-token"),
        pytest.param("acme/", TOKEN, UnauthorizedError, "read:packages", id="wrong-token"),
    ],
)
async def test_listing_that_cannot_be_says_what_it_would_need(
    prefix: str, credential: Credential | None, error: type[RegistryError], remedy: str
) -> None:
    """An owner to ask for, and a token that may."""
    async with Internet() as internet:
        await internet.join(GHCR, NAMES_GHCR)
        async with internet.client("ghcr.io", credential=credential) as client:
            with pytest.raises(error) as refused:
                await client.repositories(prefix)

    assert remedy in refused.value.remedy


async def test_registry_whose_api_is_not_known_says_so() -> None:
    """Deletion is impossible then; reading and writing are not."""
    host = "registry.example"
    settings = RegistrySettings(host=host, provider="ghcr")
    async with Internet() as internet:
        server = await internet.join(GHCR, Names(registry=host, storage="s.test"))
        put(server, "acme/one", IMAGE, "1.0")
        async with internet.client(host, credential=credential_of(server), settings=settings) as client:
            assert await client.reader("acme/one").head(Tag("1.0")) is not None
            assert [entry.tag async for page in client.reader("acme/one").bulk_tags() for entry in page.entries]
            with pytest.raises(UnsupportedError, match="API") as refused:
                await client.writer("acme/one").delete(IMAGE.digest)

    assert "containers.HOST" in refused.value.remedy


async def test_tag_is_refused_as_what_registries_without_tag_deletion_answer() -> None:
    """The status makes the core look for other tags of the digest, and delete that."""
    async with Internet() as internet:
        registry = await internet.join(GHCR, NAMES_GHCR)
        async with internet.client("ghcr.io", credential=credential_of(registry)) as client:
            with pytest.raises(UnsupportedError) as refused:
                await client.writer("acme/one").delete(Tag("1.0"))

    assert refused.value.status == 405
    assert list(registry.traffic.records) == []


async def test_digest_that_github_does_not_know_counts_as_deleted() -> None:
    """All versions were looked at."""
    async with Internet() as internet:
        registry = await internet.join(GHCR, NAMES_GHCR)
        put(registry, "acme/one", IMAGE, "1.0")
        async with internet.client("ghcr.io", credential=credential_of(registry)) as client:
            await client.writer("acme/one").delete(Digest.of(b"never there"))
            with pytest.raises(UnsupportedError, match="OWNER/NAME"):
                await client.writer("one").delete(IMAGE.digest)

    assert registry.store.tags("acme/one") == {"1.0": IMAGE.digest}


async def test_version_whose_number_comes_as_text_is_deleted() -> None:
    versions = f'[{{"id": "1000", "name": "{IMAGE.digest}"}}, {{"id": null, "name": "{IMAGE.digest}"}}]'
    async with Internet() as internet:
        registry = await internet.join(GHCR, NAMES_GHCR)
        put(registry, "acme/one", IMAGE, "1.0")
        put(registry, "acme/one", make_image("other"), "2.0")
        registry.fault(Respond(200, body=versions.encode()), kind="api")
        async with internet.client("ghcr.io", credential=credential_of(registry)) as client:
            await client.writer("acme/one").delete(IMAGE.digest)

    removals = [record.target for record in registry.traffic.of("api") if record.method == "DELETE"]
    assert removals == [b"/orgs/acme/packages/container/one/versions/1000"]


async def test_package_that_is_told_twice_is_one_repository() -> None:
    """Pages are counted off: what is made meanwhile shifts the others."""
    async with Internet() as internet:
        registry = await internet.join(GHCR, NAMES_GHCR)
        registry.fault(Respond(200, body=b'[{"name":"one"},{"name":"two"},{"name":"one"},null,7]'), kind="api")
        async with internet.client("ghcr.io", credential=credential_of(registry)) as client:
            assert await client.repositories("acme/") == ["acme/one", "acme/two"]


async def test_packages_whose_names_are_no_repositories_are_left_out() -> None:
    """Nothing can be asked for under such a name."""
    async with Internet() as internet:
        registry = await internet.join(GHCR, NAMES_GHCR)
        registry.store.add_manifest("acme/Upper Case", IMAGE.raw, "application/json", tags=["1.0"])
        put(registry, "acme/one", IMAGE, "1.0")
        async with internet.client("ghcr.io", credential=credential_of(registry)) as client:
            assert await client.repositories("acme/") == ["acme/one"]
