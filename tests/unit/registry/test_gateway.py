"""The gateway: one client a registry, its settings, its ways out, its providers and its mirrors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from mirrord.errors import UnavailableError, UsageError
from mirrord.oci.reference import Repository, Tag
from mirrord.ports.settings import ENVIRONMENT_PROXY, RegistrySettings
from mirrord.registry.doors import system_resolver
from mirrord.registry.origin import Door, Verdict
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.catalog import choose_provider, known_providers
from mirrord.registry.providers.dockerhub import DockerHubProvider
from mirrord.registry.providers.generic import GenericProvider
from mirrord.registry.transport import AddressBlockedError, Transport
from tests.contract.images import blob_of, build_image, write_image
from tests.fakes.clients import Client, open_client, settings_of
from tests.fakes.faults import CutBody, Respond
from tests.fakes.profiles import Profile
from tests.fakes.proxy import open_proxy
from tests.fakes.registry import BEARER, FakeRegistry
from tests.fakes.routes import Routes

pytestmark = pytest.mark.anyio

IMAGE = build_image()
LAYER = IMAGE.manifest.layers[0]


# --- providers


def test_docker_hub_is_known_by_its_name_and_all_else_is_generic() -> None:
    providers = known_providers()

    assert isinstance(choose_provider("docker.io", None, providers), DockerHubProvider)
    assert isinstance(choose_provider("registry.test:5000", None, providers), GenericProvider)
    assert isinstance(choose_provider("registry.test", "dockerhub", providers), DockerHubProvider)


def test_unknown_provider_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match='"nope" is not available'):
        choose_provider("registry.test", "nope", known_providers())


def test_providers_of_other_packages_are_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "another-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    provider = "mirrord.registry.providers.generic:GenericProvider"
    (package / "entry_points.txt").write_text(f"[mirrord.providers]\nmine = {provider}\n")
    monkeypatch.syspath_prepend(tmp_path)

    kinds = [type(provider) for provider in known_providers()]

    assert (kinds[0], kinds[1], kinds[-1]) == (GenericProvider, DockerHubProvider, GenericProvider)


def test_provider_defaults_fit_the_specification() -> None:
    provider = Provider()

    assert not provider.matches("registry.test")
    assert provider.endpoint("registry.test:5000") == "registry.test:5000"
    assert provider.auth_hosts("registry.test") == ()
    assert provider.abilities.mount
    assert "one by one" in provider.explain_catalog("registry.test")


async def test_docker_hub_is_asked_at_its_own_hosts() -> None:
    routes = Routes()
    challenge = {"WWW-Authenticate": 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'}
    routes.get("https://registry-1.docker.io/v2/").respond(401, headers=challenge)
    routes.get("https://auth.docker.io/token").respond(200, json={"token": "t"})
    routes.head("https://registry-1.docker.io/v2/library/nginx/manifests/latest").respond(404)
    async with open_client("docker.io", transport=routes.everywhere()) as client:
        assert await client.reader("library/nginx").head(Tag("latest")) is None

    assert "scope=repository:library/nginx:pull" in routes.targets()[1]


# --- clients


async def test_registry_has_one_client_with_its_settings() -> None:
    class Slow(Provider):
        limits = type(Provider.limits)(concurrency=3)

        def matches(self, host: str) -> bool:
            return True

    routes = Routes()
    settings = RegistrySettings(host="one.test", concurrency=7)
    async with open_client("one.test", transport=routes.everywhere(), settings=settings, providers=(Slow(),)) as client:
        assert client.gateway.handle("one.test") is client.gateway.handle("one.test")
        client.gateway.handle("two.test")
        concurrency = [throttle_of(client, host) for host in ("one.test", "two.test")]
        assert client.gateway.settings("two.test") == RegistrySettings(host="two.test")

    assert concurrency == [7, 3]
    assert routes.asked == [], "nothing is asked before it is needed"


def throttle_of(client: Client, host: str) -> int:
    throttle = client.gateway.throttles.throttle(host)
    assert throttle is not None
    return throttle.concurrency


async def test_unusable_proxy_is_told_when_a_client_is_made() -> None:
    settings = RegistrySettings(host="registry.test", proxy="nonsense")
    async with open_client("registry.test", settings=settings) as client:
        with pytest.raises(UsageError, match="PROXY_INVALID"):
            client.reader()


async def test_repository_says_where_it_is() -> None:
    async with open_client("registry.test", transport=Routes().everywhere()) as client:
        assert client.reader().location == client.writer().location == Repository("registry.test", "team/app")
        await client.writer().ensure_exists()


# --- ways out


async def test_requests_go_through_the_proxy_of_the_registry() -> None:
    async with FakeRegistry() as registry, open_proxy() as proxy:
        proxy.hosts["registry.test"] = registry.host
        settings = RegistrySettings(host="registry.test", plain_http=True, proxy=f"http://{proxy.host}")
        async with open_client("registry.test", settings=settings) as client:
            assert await client.reader().head(Tag("1.0")) is None

    assert proxy.lines[0] == "GET http://registry.test/v2/ HTTP/1.1"


@pytest.mark.covers("D67")
async def test_proxy_that_wants_a_password_is_named() -> None:
    async with open_proxy() as proxy:
        proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        settings = RegistrySettings(host="registry.test", proxy=f"http://user:word@{proxy.host}")
        async with open_client("registry.test", settings=settings) as client:
            with pytest.raises(UnavailableError, match=r"PROXY_FAILED.*407") as caught:
                await client.reader().head(Tag("1.0"))

    assert proxy.host in str(caught.value)
    assert "word" not in str(caught.value)


async def ask(transport: Transport, url: str) -> int:
    response = await transport.handle_async_request(httpx2.Request("GET", url))
    await response.aclose()
    await transport.aclose()
    return response.status_code


@pytest.mark.covers("C31", "A20")
@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="no-proxy-there"),
        pytest.param({"HTTP_PROXY": "http://proxy.test:1", "NO_PROXY": "127.0.0.0/8"}, id="excepted"),
    ],
)
@pytest.mark.parametrize("proxy", [None, ENVIRONMENT_PROXY], ids=["direct", "environment"])
async def test_what_goes_out_directly_is_guarded(environment: dict[str, str], proxy: str | None) -> None:
    settings = RegistrySettings(host="registry.test", proxy=proxy)
    async with (
        FakeRegistry() as inside,
        open_client("registry.test", settings=settings, environment=environment) as client,
    ):
        transport = client.gateway._transport(settings, foreign=True, guarded=True)
        with pytest.raises(AddressBlockedError):
            await ask(transport, f"{inside.url}/v2/")
        await transport.aclose()

    assert not inside.traffic.records


async def test_what_goes_through_a_proxy_is_dialled_by_it() -> None:
    async with FakeRegistry() as registry, open_proxy() as proxy:
        settings = RegistrySettings(host="registry.test", proxy=ENVIRONMENT_PROXY)
        environment = {"HTTP_PROXY": f"http://{proxy.host}"}
        async with open_client("registry.test", settings=settings, environment=environment) as client:
            transport = client.gateway._transport(settings, foreign=True, guarded=True)
            assert await ask(transport, f"{registry.url}/v2/") == 200

    assert len(proxy.lines) == 1


@pytest.mark.covers("C31", "A5", "A20")
@pytest.mark.parametrize(
    ("host", "addresses", "guarded"),
    [
        ("registry.test", ["93.184.215.14"], True),
        ("registry.test", ["10.0.0.1"], False),
        ("registry.test", ["10.0.0.1", "93.184.215.14"], True),
        ("registry.test", ["fe80::1%eth0"], False),
        ("registry.test", [], True),
        ("10.0.0.1", [], False),
        ("8.8.8.8", ["10.0.0.1"], True),
    ],
    ids=["public", "private", "both", "link-local", "unknown", "literal", "public-literal"],
)
async def test_only_registries_that_are_inside_may_send_us_inside(
    host: str, addresses: list[str], guarded: bool
) -> None:
    async with open_client(host, transport=Routes().everywhere(), addresses=addresses) as client:
        doors = client.http._exchange.doors
        ruling = await doors.judge("https://storage.example/x", Door.REDIRECT)
        again = await doors.judge("https://10.9.9.9/x", Door.REDIRECT)

    assert ruling.verdict is Verdict.FOLLOW_WITHOUT
    assert ruling.guarded is guarded
    assert (again.verdict is Verdict.REFUSE) is guarded


async def test_connections_to_other_origins_are_shared_and_closed_in_the_end() -> None:
    made: list[tuple[bool, Closing]] = []

    class Closing(httpx2.MockTransport):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    def make(_settings: RegistrySettings, foreign: bool) -> Transport:
        made.append((foreign, Closing(lambda _: httpx2.Response(200))))
        return made[-1][1]

    async with open_client("registry.test", transport=make) as client:
        doors = client.http._exchange.doors
        for _ in range(2):
            ruling = await doors.judge("https://storage.example/x", Door.REDIRECT)
            assert doors.transport(ruling) is made[1][1]
        assert doors.transport(doors.own("/v2/")) is made[0][1]

    assert [(foreign, transport.closed) for foreign, transport in made] == [(False, 1), (True, 1)]


async def test_system_resolver_knows_loopback_and_no_nonsense() -> None:
    assert set(await system_resolver("127.0.0.1")) == {"127.0.0.1"}
    assert await system_resolver(".".join(["a" * 60] * 5)) == []


# --- mirrors


@asynccontextmanager
async def mirrored(profile: Profile | None = None) -> AsyncIterator[tuple[Client, FakeRegistry, FakeRegistry]]:
    async with FakeRegistry(profile or Profile()) as origin, FakeRegistry() as mirror:
        settings = settings_of(origin, mirrors=(mirror.host,))
        others = {mirror.host: settings_of(mirror)}
        async with open_client(origin, settings=settings, others=others) as client:
            await write_image(client.writer(), IMAGE, "1.0")
            origin.traffic.clear()
            yield client, origin, mirror


async def fill(client: Client, mirror: FakeRegistry) -> None:
    await write_image(client.gateway.writer(Repository(mirror.host, "team/app")), IMAGE)
    mirror.traffic.clear()


async def read(client: Client, offset: int = 0) -> bytes:
    async with client.reader().blob(LAYER, offset=offset) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_content_comes_from_the_mirror_and_names_from_the_registry() -> None:
    async with mirrored() as (client, origin, mirror):
        await fill(client, mirror)
        reader = client.reader()
        assert await reader.head(Tag("1.0")) == IMAGE.manifest.descriptor
        assert await client.tags() == ["1.0"]
        assert (await reader.referrers(IMAGE.digest)).descriptors == ()
        assert (await reader.manifest(IMAGE.digest)).raw == IMAGE.manifest.raw
        assert await read(client) == IMAGE.contents[LAYER.digest]
        assert reader.location == Repository(origin.host, "team/app")
        assert reader.has_referrers_api is True
        assert reader.listing == GenericProvider().listing

    assert {kind for kind in origin.traffic.counts if "GET" in kind} == set()
    assert set(mirror.traffic.counts) == {"ping", "manifest GET", "blob GET"} - {"ping"}


async def test_mirror_that_lacks_something_is_passed_over() -> None:
    async with mirrored(BEARER) as (client, origin, mirror):
        assert (await client.reader().manifest(IMAGE.digest)).raw == IMAGE.manifest.raw
        assert await read(client) == IMAGE.contents[LAYER.digest]

    assert mirror.traffic.counts["manifest GET"] == mirror.traffic.counts["blob GET"] == 1
    assert origin.traffic.counts["manifest GET"] == origin.traffic.counts["blob GET"] == 1
    assert client.events.notes() == ["mirror_passed_over"] * 2
    assert not [record for record in mirror.traffic.records if record.header("Authorization")]


@pytest.mark.covers("C3")
async def test_mirror_that_lies_is_passed_over() -> None:
    async with mirrored() as (client, origin, mirror):
        await fill(client, mirror)
        mirror.fault(
            Respond(200, (("Content-Type", IMAGE.manifest.descriptor.media_type),), b"{}"), kind="manifest GET"
        )
        mirror.fault(Respond(200, body=b"shorter"), kind="blob GET")
        assert (await client.reader().manifest(IMAGE.digest)).raw == IMAGE.manifest.raw
        assert await read(client) == IMAGE.contents[LAYER.digest]

    assert origin.traffic.counts["manifest GET"] == origin.traffic.counts["blob GET"] == 1


async def test_rest_of_a_blob_that_broke_off_comes_from_the_registry() -> None:
    async with mirrored() as (client, origin, mirror):
        await fill(client, mirror)
        mirror.fault(CutBody(after=10), kind="blob GET")
        with pytest.raises(UnavailableError):
            await read(client)
        assert await read(client, 10) == IMAGE.contents[LAYER.digest][10:]

    assert origin.traffic.of("blob GET")[0].header("Range") == "bytes=10-"


async def test_blob_that_is_nowhere_is_the_registrys_error() -> None:
    missing = blob_of(b"nowhere")
    async with mirrored() as (client, _origin, _mirror):
        with pytest.raises(Exception, match="no such blob"):
            async with client.reader().blob(missing):
                pytest.fail("not to be opened")
