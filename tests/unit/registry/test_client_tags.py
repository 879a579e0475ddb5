"""Tag listings and catalogs over the wire: every page, each name once, a proven end or an error."""

from __future__ import annotations

import json

import httpx2
import pytest

from mirrord.errors import (
    AddressRefusedError,
    ListingIncompleteError,
    MirrordError,
    NotFoundError,
    ProtocolViolationError,
    RegistryError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.digest import Digest
from mirrord.planning.listing import ListingTraits
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.dockerhub import DockerHubProvider
from mirrord.registry.tags import MAX_NAMES, MAX_PAGES
from tests.fakes.clients import Client, open_client
from tests.fakes.faults import Around, Change, Drop, Respond
from tests.fakes.profiles import Auth, Profile, Refusal, TagList
from tests.fakes.registry import DISTRIBUTION_V2, FakeRegistry
from tests.fakes.routes import Routes
from tests.fakes.wire import with_headers

pytestmark = pytest.mark.anyio

NAMES = [f"v{number:03}" for number in range(25)]
DIGEST = Digest.of(b"a manifest")


class Small(Provider):
    """Lists ten names a page."""

    listing = ListingTraits(page_size=10)

    def matches(self, host: str) -> bool:
        return True


SMALL: tuple[Provider, ...] = (Small(),)


def filled(profile: Profile | None = None, names: list[str] | None = None) -> FakeRegistry:
    registry = FakeRegistry(profile or Profile())
    for name in NAMES if names is None else names:
        registry.store.tag("team/app", name, DIGEST)
    return registry


def listing(tags: object, **extra: object) -> bytes:
    return json.dumps({"name": "team/app", "tags": tags, **extra}).encode()


async def tags_of(client: Client) -> list[str]:
    return sorted(await client.tags())


# --- pages


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param(TagList(), id="distribution-v3"),
        pytest.param(DISTRIBUTION_V2.tags, id="trap-21-distribution-v2"),
        pytest.param(TagList(page_entries=3), id="trap-22-quay"),
        pytest.param(TagList(page_entries=1), id="one-a-page"),
        pytest.param(TagList(refuse_n_above=5, page_entries=5), id="trap-22-ecr"),
        pytest.param(TagList(link="relative"), id="trap-23-distribution-v3"),
        pytest.param(TagList(link="absolute"), id="trap-23-quay"),
        pytest.param(TagList(link="raw"), id="trap-23-zot"),
        pytest.param(TagList(link="empty-parameter"), id="trap-23-acr"),
        pytest.param(TagList(link="wrong-path"), id="trap-23-artifactory"),
        pytest.param(TagList(odd_items=(None, str(DIGEST), 7, {"a": 1}, "..", "")), id="trap-24-artifactory"),
        pytest.param(TagList(extra={"child": ["a"], "manifest": {"sha256:x": {"tag": ["b"]}}}), id="trap-24-google"),
        pytest.param(TagList(order="storage"), id="unsorted"),
    ],
)
async def test_all_tags_are_listed_however_the_pages_come(tags: TagList) -> None:
    async with filled(Profile(tags=tags)) as registry, open_client(registry, providers=SMALL) as client:
        assert await tags_of(client) == NAMES

    assert registry.traffic.counts["tags/list"] <= 27


async def test_query_of_a_link_goes_back_byte_for_byte() -> None:
    async with filled() as registry, open_client(registry, providers=SMALL) as client:
        link = '</v2/team/app/tags/list?last=a%2Fb%7e+c&n=10&sig=%3D>; rel="next"'
        registry.fault(Change(lambda answer: with_headers(answer, link=link)), kind="tags/list")
        registry.fault(Respond(200, body=listing(["z"])), kind="tags/list", nth=1)
        await client.tags()

    assert registry.traffic.of("tags/list")[1].target == b"/v2/team/app/tags/list?last=a%2Fb%7e+c&n=10&sig=%3D"


@pytest.mark.parametrize(
    ("tags", "page_size"), [(TagList(), b"10"), (TagList(ignore_n=True), b"10")], ids=["sorted", "all-at-once"]
)
async def test_page_size_is_the_providers(tags: TagList, page_size: bytes) -> None:
    async with filled(Profile(tags=tags)) as registry, open_client(registry, providers=SMALL) as client:
        await client.tags()

    assert registry.traffic.of("tags/list")[0].target.endswith(b"?n=" + page_size)
    assert client.reader().listing == ListingTraits(page_size=10)


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param(TagList(null_when_empty=True), id="E43:trap-24-distribution-v2-null"),
        pytest.param(TagList(), id="empty-list"),
    ],
)
async def test_repository_without_tags_is_an_empty_listing(tags: TagList) -> None:
    async with filled(Profile(tags=tags), names=["once"]) as registry, open_client(registry) as client:
        registry.store.untag("team/app", "once")
        [page] = await client.pages()

    assert page.entries == ()


async def test_repository_that_does_not_exist_is_not_found() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        with pytest.raises(NotFoundError):
            await client.tags()


# --- lists that are none


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"name":"team/app"}', id="E44:no-tags"),
        pytest.param(listing("v1"), id="E44:text"),
        pytest.param(listing(7), id="E44:number"),
        pytest.param(listing({"v1": {}}), id="E44:object"),
        pytest.param(b'["v1"]', id="E44:bare-list"),
        pytest.param(b"null", id="E44:null"),
        pytest.param(b"", id="E44:empty"),
        pytest.param(b"<html>log in</html>", id="D66:html"),
        pytest.param(b'{"tags":["v1"', id="cut-off"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"\xff\xfe", id="not-utf-8"),
    ],
)
async def test_answer_that_is_no_list_is_an_error(body: bytes) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(200, (("Content-Type", "text/html"),), body), kind="tags/list")
        with pytest.raises(ProtocolViolationError, match="LISTING_INVALID"):
            await client.tags()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../x", id="E45:dots"),
        pytest.param("a b", id="E45:blank"),
        pytest.param("a" * 129, id="E45:129-characters"),
        pytest.param("a\r\nb", id="E45:line-break"),
        pytest.param("a\x00", id="E45:nul"),
        pytest.param("\U0001f600", id="E45:emoji"),
        pytest.param("-dash", id="E45:dash"),
        pytest.param(".dot", id="E45:dot"),
        pytest.param(None, id="E45:null"),
        pytest.param(7, id="E45:number"),
        pytest.param("a" * 10_000_000, id="E47:ten-megabytes"),
    ],
)
async def test_name_that_is_no_tag_is_left_out_and_counted(name: object) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(200, body=listing(["v1", name, "v2"])), kind="tags/list")
        [page] = await client.pages()

    assert [entry.tag.name for entry in page.entries] == ["v1", "v2"]
    assert page.skipped == 1


@pytest.mark.covers("E46", "E47")
async def test_tags_are_told_apart_by_case_and_each_comes_once() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(200, body=listing(["Latest", "latest", "LATEST", "latest"])), kind="tags/list")
        assert await client.tags() == ["Latest", "latest", "LATEST"]


@pytest.mark.covers("E47", "C37")
async def test_too_many_tags_are_an_error() -> None:
    async with filled() as registry, open_client(registry) as client:
        names = [f"v{number}" for number in range(MAX_NAMES + 1)]
        registry.fault(Respond(200, body=listing(names)), kind="tags/list")
        with pytest.raises(ListingIncompleteError, match="LISTING_TOO_LARGE"):
            await client.tags()


@pytest.mark.covers("E48")
@pytest.mark.parametrize("name", ["team/other", "other/app", "app2", "xteam/app"])
async def test_list_of_another_repository_is_refused(name: str) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(200, body=listing(["v1"], name=name)), kind="tags/list")
        with pytest.raises(ProtocolViolationError, match="LISTING_WRONG_REPOSITORY"):
            await client.tags()


@pytest.mark.parametrize("name", ["team/app", "app", "proxy/team/app", "", None, 7])
async def test_name_as_a_proxy_sees_it_is_accepted(name: object) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(200, body=listing(["v1"], name=name)), kind="tags/list")
        assert await client.tags() == ["v1"]


# --- links


@pytest.mark.covers("E49", "A10")
@pytest.mark.parametrize(
    "target",
    [
        "https://other.test/v2/team/app/tags/list?n=1",
        "http://8.8.8.8/v2/team/app/tags/list?n=1",
        "https://8.8.8.8:8443/v2/team/app/tags/list?n=1",
        "//10.0.0.1/v2/team/app/tags/list",
        "https://169.254.169.254/",
        "https://u:p@8.8.8.8/v2/x",
        "file:///etc/passwd",
        "\\\\evil\\x",
        "",
    ],
)
async def test_link_that_leads_away_is_refused(target: str) -> None:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/").respond(200)
    routes.get(path="/v2/team/app/tags/list").respond(
        200, content=listing(["v1"]), headers={"Link": f'<{target}>; rel="next"'}
    )
    async with open_client("8.8.8.8", transport=routes.everywhere()) as client:
        with pytest.raises(MirrordError) as caught:
            await client.tags()

    assert caught.value.code == "LINK_UNTRUSTED"
    assert isinstance(caught.value, ListingIncompleteError | AddressRefusedError)
    assert len(routes.asked) == 2


@pytest.mark.covers("E50")
@pytest.mark.parametrize(
    ("link", "asked"),
    [
        pytest.param('</v2/team/app/tags/list?n=10>; rel="next"', 3, id="itself"),
        pytest.param('<?n=10>; rel="next"', 3, id="itself-relative"),
        pytest.param('</v2/team/app/tags/list?n=10&last=a>; rel="next"', 2, id="one-page-for-ever"),
    ],
)
async def test_pages_that_repeat_are_an_error(link: str, asked: int) -> None:
    async with filled() as registry, open_client(registry, providers=SMALL) as client:
        page = Respond(200, (("Link", link),), listing(["a"]))
        registry.fault(page, kind="tags/list", times=None)
        with pytest.raises(ListingIncompleteError, match="the pages repeat"):
            await client.tags()

    assert registry.traffic.counts["tags/list"] <= asked


@pytest.mark.covers("E50", "C37")
async def test_pages_without_an_end_are_an_error() -> None:
    count = 0

    def endless(request: httpx2.Request) -> httpx2.Response:
        nonlocal count
        count += request.url.path != "/v2/"
        link = {"Link": f'</v2/team/app/tags/list?last={count}>; rel="next"'}
        body = httpx2.ByteStream(listing([f"v{count}"]))
        return httpx2.Response(200, headers=link, stream=body, request=request)

    transport = httpx2.MockTransport(endless)
    async with open_client("registry.test", transport=lambda _settings, _foreign: transport) as client:
        with pytest.raises(ListingIncompleteError, match=f"more than {MAX_PAGES} pages"):
            await client.tags()

    assert count == MAX_PAGES


@pytest.mark.covers("E51")
async def test_link_to_an_empty_last_page_ends_there() -> None:
    """distribution#4931."""
    async with filled() as registry, open_client(registry) as client:
        registry.fault(
            Respond(200, (("Link", '</v2/team/app/tags/list?last=v1>; rel="next"'),), listing(["v1"])), kind="tags/list"
        )
        registry.fault(Respond(200, body=listing(None)), kind="tags/list", nth=1)
        assert await client.tags() == ["v1"]


async def test_link_that_cannot_be_read_is_an_error() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(200, (("Link", "next page"),), listing(["v1"])), kind="tags/list")
        with pytest.raises(ListingIncompleteError, match="cannot be read"):
            await client.tags()


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-23-distribution-other-host")])
async def test_link_to_another_host_ends_in_an_error(trap: str) -> None:
    async with (
        filled(Profile(tags=TagList(link="other-host"))) as registry,
        open_client(registry, providers=SMALL) as client,
    ):
        with pytest.raises(RegistryError, match="LINK_UNTRUSTED"):
            await client.tags()


# --- listings that change, or break off


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-25-zot")])
async def test_listing_whose_anchor_vanished_begins_anew(trap: str) -> None:
    async with (
        filled(Profile(tags=TagList(unknown_last="not-found"))) as registry,
        open_client(registry, providers=SMALL) as client,
    ):
        registry.fault(Around(before=lambda: registry.store.untag("team/app", "v009")), kind="tags/list", nth=2)
        found = await client.tags()

    assert sorted(set(found)) == NAMES, "what was seen before it went counts as seen"
    assert len(found) == len(set(found))


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-25-zot-for-ever")])
async def test_listing_whose_anchor_keeps_vanishing_is_an_error(trap: str) -> None:
    async with filled() as registry, open_client(registry, providers=SMALL) as client:
        registry.fault(Respond(404), kind="tags/list", times=None, where=lambda record: b"last=" in record.target)
        with pytest.raises(ListingIncompleteError, match="status 404"):
            await client.tags()

    assert registry.traffic.counts["tags/list"] <= 12


@pytest.mark.parametrize("status", [400, 401, 403, 500, 429], ids=lambda status: f"trap-25-distribution-{status}")
async def test_error_on_a_later_page_is_never_an_end(status: int) -> None:
    async with filled() as registry, open_client(registry, providers=SMALL) as client:
        later = Respond(status)
        registry.fault(later, kind="tags/list", times=None, where=lambda record: b"last=" in record.target)
        with pytest.raises(ListingIncompleteError):
            await client.tags()


async def test_page_that_fails_once_is_asked_for_again() -> None:
    async with filled() as registry, open_client(registry, providers=SMALL) as client:
        registry.fault(Drop(), kind="tags/list", nth=2)
        registry.fault(Respond(503), kind="tags/list", nth=3)
        assert await tags_of(client) == NAMES


async def test_first_page_that_is_refused_for_its_size_is_asked_for_without_one() -> None:
    async with (
        filled(Profile(tags=TagList(refuse_n_above=5))) as registry,
        open_client(registry, providers=SMALL) as client,
    ):
        assert await tags_of(client) == NAMES

    assert [record.target.partition(b"?")[2] for record in registry.traffic.of("tags/list")] == [b"n=10", b""]


async def test_first_page_that_is_refused_either_way_is_the_error() -> None:
    async with filled() as registry, open_client(registry, providers=SMALL) as client:
        registry.fault(Respond(400, body=b'{"errors":[{"code":"NAME_INVALID"}]}'), kind="tags/list", times=None)
        with pytest.raises(RegistryError, match="NAME_INVALID"):
            await client.tags()


# --- the catalog


CATALOG = ["base", "team/app", "team/base", "team2/app"]


def with_repositories() -> FakeRegistry:
    registry = FakeRegistry()
    for name in CATALOG:
        registry.store.tag(name, "v1", DIGEST)
    return registry


@pytest.mark.parametrize(
    ("prefix", "expected"), [("", CATALOG), ("team/", CATALOG[1:3]), ("nothing", [])], ids=["all", "some", "none"]
)
async def test_repositories_are_listed_by_their_prefix(prefix: str, expected: list[str]) -> None:
    async with with_repositories() as registry, open_client(registry) as client:
        assert await client.repositories(prefix) == expected


@pytest.mark.covers("E72")
async def test_names_that_are_no_repositories_are_left_out() -> None:
    names = ["team/app", "team/../app", "Team/App", "", None, 7, "team/app", "a" * 300, "ok"]
    async with with_repositories() as registry, open_client(registry) as client:
        registry.fault(Respond(200, body=json.dumps({"repositories": names}).encode()), kind="catalog")
        assert await client.repositories() == ["team/app", "ok"]


@pytest.mark.covers("E72", "C37")
async def test_catalog_that_is_too_large_is_an_error() -> None:
    names = [f"r{number}" for number in range(MAX_NAMES + 1)]
    async with with_repositories() as registry, open_client(registry) as client:
        registry.fault(Respond(200, body=json.dumps({"repositories": names}).encode()), kind="catalog")
        with pytest.raises(ListingIncompleteError, match="LISTING_TOO_LARGE"):
            await client.repositories()


async def test_catalog_goes_on_over_pages() -> None:
    async with with_repositories() as registry, open_client(registry, providers=(OnePerPage(),)) as client:
        assert await client.repositories() == CATALOG

    assert registry.traffic.counts["catalog"] >= 4


class OnePerPage(Provider):
    listing = ListingTraits(page_size=1)

    def matches(self, host: str) -> bool:
        return True


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refusal(status=404), UnsupportedError),
        (Refusal(status=401), UnauthorizedError),
        (Refusal(status=405), UnsupportedError),
    ],
    ids=["404", "401", "405"],
)
async def test_registry_without_a_catalog_says_so(refusal: Refusal, error: type[Exception]) -> None:
    async with FakeRegistry(Profile(catalog=refusal)) as registry, open_client(registry) as client:
        with pytest.raises(error):
            await client.repositories()


async def test_catalog_wants_its_own_right() -> None:
    auth = Auth(scheme="bearer", granted=frozenset({"pull"}))
    async with FakeRegistry(Profile(auth=auth)) as registry, open_client(registry) as client:
        with pytest.raises(UnauthorizedError):
            await client.repositories()


async def test_provider_without_a_catalog_is_never_asked() -> None:
    routes = Routes()
    async with open_client("docker.io", transport=routes.everywhere()) as client:
        with pytest.raises(UnsupportedError, match="name the repositories in the rules"):
            await client.repositories()

    assert routes.asked == []
    assert DockerHubProvider().endpoint("docker.io") == "registry-1.docker.io"
