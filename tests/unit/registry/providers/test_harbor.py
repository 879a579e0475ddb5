"""Harbor: its projects, its API with a password of its own, and what its refusals mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import anyio
import pytest

from mirrord.errors import (
    DeniedError,
    MirrordError,
    NotFoundError,
    RegistryError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import Outcome
from mirrord.ports.settings import RegistrySettings
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import Around, LoseAnswer, Respond
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Manifests, Names, Profile, Uploads
from tests.fakes.registries.harbor import HARBOR, NAMES_HARBOR, POLICY, PROXY_CACHE, QUOTA, HarborApi
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import logged_in, mirror
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

HOST = "harbor.test"
NESTED = "team/apps/web"
IMAGE = make_image("one")
OTHER = make_image("two")


class Bench:
    """A Harbor on the emulated net, and a client of it."""

    def __init__(self, internet: Internet, harbor: FakeRegistry, client: Client) -> None:
        self.internet = internet
        self.harbor = harbor
        self.client = client

    @property
    def api(self) -> HarborApi:
        assert isinstance(self.harbor.api, HarborApi)
        return self.harbor.api

    @property
    def asked(self) -> list[str]:
        """What the API was asked, method and path with its query."""
        return [f"{record.method} {record.target.decode()}" for record in self.harbor.traffic.of("api")]

    async def bulk(self, path: str = NESTED) -> dict[str, Digest | None]:
        pages = [page async for page in self.client.reader(path).bulk_tags()]
        return {entry.tag.name: entry.digest for page in pages for entry in page.entries}


@asynccontextmanager
async def harbor(
    profile: Profile = HARBOR, *, create: dict[str, object] | None = None, password: str = "", anonymous: bool = False
) -> AsyncIterator[Bench]:
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_HARBOR)
        settings = RegistrySettings(host=HOST, provider="harbor", create_repositories=create)
        credential = None if anonymous else credential_of(registry)
        if password and credential is not None:
            credential = replace(credential, secret=password)
        async with internet.client(HOST, credential=credential, settings=settings) as client:
            yield Bench(internet, registry, client)


def settings_of_harbor(registry: FakeRegistry, **more: object) -> dict[str, RegistrySettings]:
    return {HOST: logged_in(registry, HOST, provider="harbor", **more)}


# --- tags with their digests


async def test_tags_come_with_digests_from_the_artifacts_api() -> None:
    async with harbor() as bench:
        put(bench.harbor, NESTED, IMAGE, "1.0", "latest")
        put(bench.harbor, NESTED, OTHER, "2.0")
        found = await bench.bulk()

    assert found == {"1.0": IMAGE.digest, "latest": IMAGE.digest, "2.0": OTHER.digest}
    [asked] = bench.asked
    assert asked == (
        "GET /api/v2.0/projects/team/repositories/apps%252Fweb/artifacts?page=1&page_size=100&with_tag=true&q=tags=*"
    )
    assert bench.harbor.traffic.counts == {"api": 1}, "neither a ping nor a token"


async def test_every_page_of_artifacts_is_read() -> None:
    async with harbor() as bench:
        for number in range(250):
            put(bench.harbor, NESTED, make_image(f"image {number}", layers=1), f"v{number}")
        put(bench.harbor, NESTED, make_index("children", platforms=("linux/amd64", "linux/arm64")), "index")
        found = await bench.bulk()

    assert set(found) == {*(f"v{number}" for number in range(250)), "index"}
    assert None not in found.values()
    assert len(bench.asked) == 3, "children without a tag are not told"


@pytest.mark.parametrize("create", [None, {}], ids=["as-it-is", "creating"])
async def test_tags_of_a_project_that_is_missing_are_an_error_that_names_it(create: dict[str, object] | None) -> None:
    async with harbor(create=create) as bench:
        with pytest.raises(NotFoundError, match='no project "ghost"'):
            await bench.client.tags("ghost/app")


# --- repositories


async def test_repositories_are_those_that_the_user_sees() -> None:
    async with harbor() as bench:
        for path in ("team/app", "team/tools/lint", "other/app"):
            put(bench.harbor, path, IMAGE, "1.0")
        everything = await bench.client.repositories()
        below = await bench.client.repositories("team/")
        begun = await bench.client.repositories("tea")
        nothing = await bench.client.repositories("ghost/")

    assert everything == ["other/app", "team/app", "team/tools/lint"]
    assert below == begun == ["team/app", "team/tools/lint"]
    assert nothing == []
    assert [urlsplit(asked.split()[1]).path for asked in bench.asked] == [
        "/api/v2.0/repositories",
        "/api/v2.0/projects/team/repositories",
        "/api/v2.0/repositories",
        "/api/v2.0/projects/ghost/repositories",
    ]
    assert bench.harbor.traffic.counts["catalog"] == 0


async def test_older_harbor_is_listed_project_by_project() -> None:
    async with harbor() as bench:
        bench.api.lacks.add("repositories")
        for number in range(120):
            put(bench.harbor, f"project{number:03}/app", IMAGE, "1.0")

        assert len(await bench.client.repositories()) == 120


@pytest.mark.parametrize("status", [401, 403, 500], ids=str)
async def test_repositories_come_from_the_catalog_where_the_api_refuses(status: int) -> None:
    async with harbor() as bench:
        put(bench.harbor, "team/app", IMAGE, "1.0")
        bench.harbor.fault(Respond(status), kind="api", times=None)

        assert await bench.client.repositories() == ["team/app"]
        assert bench.client.events.notes() == ["bulk_refused"]


async def test_error_of_the_api_is_told_where_the_catalog_is_of_no_use_either() -> None:
    async with harbor() as bench:
        bench.harbor.fault(Respond(403, body=b"not for you"), kind="api", times=None)
        bench.harbor.fault(Respond(401), kind="catalog", times=None)
        with pytest.raises(DeniedError, match="not for you"):
            await bench.client.repositories()


async def test_listing_that_does_not_hold_what_it_says_is_not_believed() -> None:
    async with harbor() as bench:
        put(bench.harbor, "team/app", IMAGE, "1.0")
        bench.api.total_off_by = 1
        await bench.client.repositories()

    assert bench.client.events.notes() == ["bulk_refused"]
    assert bench.harbor.traffic.counts["catalog"] == 1


async def test_listing_that_changes_between_pages_is_read_again() -> None:
    async with harbor() as bench:
        for number in range(150):
            put(bench.harbor, f"team/app{number:03}", IMAGE, "1.0")
        # In front of the second page comes a repository: the last one of the first page is on the second too.
        newcomer = Around(before=lambda: put(bench.harbor, "team/a", IMAGE, "1.0"))
        bench.harbor.fault(newcomer, kind="api", nth=2)
        found = await bench.client.repositories()

    assert len(found) == len(set(found)) == 151
    assert len(bench.asked) == 4
    assert bench.harbor.traffic.counts["catalog"] == 0


# --- projects


async def test_project_is_made_once_for_many_repositories() -> None:
    async with harbor(create={}) as bench, anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(bench.client.writer(f"new/app{number}").ensure_exists)

    assert bench.api.created == [{"project_name": "new", "metadata": {"public": "false"}}]
    assert bench.asked == ["HEAD /api/v2.0/projects?project_name=new", "POST /api/v2.0/projects"]


async def test_wishes_for_the_project_are_passed_on() -> None:
    async with harbor(create={"tag_immutability": True, "scan_on_push": True, "tags": {}}) as bench:
        await bench.client.writer("new/app").ensure_exists()

    assert bench.api.created == [{"project_name": "new", "metadata": {"public": "false", "auto_scan": "true"}}]
    [rule] = bench.api.rules["new"]
    assert isinstance(rule, dict)
    assert (rule["action"], rule["tag_selectors"][0]["pattern"]) == ("immutable", "**")


async def test_project_that_exists_is_left_as_it_is_and_looked_for_once() -> None:
    async with harbor(create={"tag_immutability": True}) as bench:
        put(bench.harbor, "team/app", IMAGE, "1.0")
        bench.api.may_create = False
        for _ in range(3):
            await bench.client.writer("team/other").ensure_exists()

    assert bench.asked == ["HEAD /api/v2.0/projects?project_name=team"]
    assert not bench.api.rules


@pytest.mark.parametrize("status", [409, 201], ids=["conflict", "answer-lost"])
async def test_project_that_another_made_meanwhile_is_success(status: int) -> None:
    async with harbor(create={}) as bench:
        if status == 409:
            bench.harbor.fault(Respond(409), kind="api", method="POST")
        else:
            bench.harbor.fault(LoseAnswer(), kind="api", method="POST")
        await bench.client.writer("new/app").ensure_exists()

    assert bench.harbor.traffic.of("api")[-1].method == "POST"


async def test_right_to_make_projects_that_is_missing_is_one_clear_error() -> None:
    async with harbor(create={}) as bench:
        bench.api.may_create = False
        with pytest.raises(DeniedError, match=r'create the project "new" of harbor\.test.*403') as caught:
            await bench.client.writer("new/app").ensure_exists()

    assert "Harbor" in caught.value.remedy


async def test_password_that_the_api_does_not_accept_is_one_clear_error() -> None:
    async with harbor(create={}, password="wrong") as bench:
        with pytest.raises(UnauthorizedError, match="user and password") as caught:
            await bench.client.writer("new/app").ensure_exists()

    assert "wrong" not in str(caught.value)
    assert "robot account" in caught.value.remedy
    assert bench.api.created == []


async def test_repository_outside_of_projects_is_an_error_that_says_so() -> None:
    async with harbor(create={}) as bench:
        with pytest.raises(UnsupportedError, match="stands in a project"):
            await bench.client.writer("app").ensure_exists()

    assert bench.asked == []


async def test_nothing_is_made_where_the_configuration_does_not_say_so() -> None:
    async with harbor() as bench:
        await bench.client.writer("new/app").ensure_exists()

    assert bench.asked == []


async def test_missing_project_is_looked_for_once_in_a_while() -> None:
    async with harbor() as bench:
        for _ in range(5):
            with pytest.raises(NotFoundError, match=r'no project "new".*create_repositories'):
                await bench.client.reader("new/app").head(Tag("1.0"))
        bench.harbor.switches.created.add("new")
        assert await bench.client.reader("new/app").head(Tag("1.0")) is None

    assert bench.asked == ["HEAD /api/v2.0/projects?project_name=new"]


async def test_refusal_that_has_another_reason_stays_what_it_is() -> None:
    async with harbor() as bench:
        put(bench.harbor, "team/app", IMAGE, "1.0")
        bench.harbor.fault(Respond(401), kind="manifest HEAD", times=None)
        with pytest.raises(UnauthorizedError):
            await bench.client.reader("team/app").head(Tag("1.0"))


async def test_stranger_without_a_password_learns_nothing_of_projects() -> None:
    async with harbor(anonymous=True) as bench:
        with pytest.raises(UnauthorizedError):
            await bench.client.reader("ghost/app").head(Tag("1.0"))

    assert [record.header("Authorization") for record in bench.harbor.traffic.of("api")] == [None]


# --- deleting


async def test_tag_is_deleted_by_the_api_and_its_manifest_stays() -> None:
    async with harbor() as bench:
        put(bench.harbor, NESTED, IMAGE, "1.0", "latest")
        await bench.client.writer(NESTED).delete(Tag("1.0"))
        await bench.client.writer(NESTED).delete(Tag("1.0"))

    assert bench.harbor.store.tags(NESTED) == {"latest": IMAGE.digest}
    assert bench.asked[0] == "DELETE /api/v2.0/projects/team/repositories/apps%252Fweb/artifacts/1.0/tags/1.0"


async def test_tag_that_only_the_api_does_not_know_is_not_called_deleted() -> None:
    """Some proxies decode the path before Harbor sees it."""
    async with harbor() as bench:
        put(bench.harbor, NESTED, IMAGE, "1.0")
        bench.harbor.fault(Respond(404), kind="api", method="DELETE")
        with pytest.raises(UnsupportedError, match="still has it") as caught:
            await bench.client.writer(NESTED).delete(Tag("1.0"))

    assert "%252F" in caught.value.remedy


async def test_immutable_tag_is_not_deleted_and_the_error_says_why() -> None:
    async with harbor() as bench:
        put(bench.harbor, NESTED, IMAGE, "1.0")
        bench.api.immutable.add(f"{NESTED}:1.0")
        with pytest.raises(DeniedError, match="TAG_IMMUTABLE"):
            await bench.client.writer(NESTED).delete(Tag("1.0"))

    assert bench.harbor.store.tags(NESTED) == {"1.0": IMAGE.digest}


# --- refusals


async def test_policy_against_a_pull_is_an_error_of_the_source() -> None:
    profile = replace(HARBOR, name="harbor-with-policy")
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_HARBOR)
        target = await internet.join(DISTRIBUTION_V3, Names(registry="target.test"))
        put(registry, "team/app", IMAGE, "1.0")
        body = json.dumps({"errors": [{"code": POLICY.code, "message": POLICY.message}]}).encode()
        registry.fault(Respond(412, body=body), kind="manifest GET", times=None)
        done = await mirror(internet, f"{HOST}/team/app", "target.test/app", settings=settings_of_harbor(registry))

    assert done.count(Outcome.FAILED) == 1
    [problem] = done.problems
    assert "policy of the registry forbids pulling" in problem
    assert HOST in problem
    assert "1 high" in problem
    assert target.store.repositories() == []


@pytest.mark.parametrize(
    ("refusal", "error", "words"),
    [
        pytest.param(QUOTA, DeniedError, r"TARGET_STORAGE.*quota is used up", id="quota"),
        pytest.param(PROXY_CACHE, DeniedError, "is a proxy cache, which takes no pushes", id="proxy-cache"),
        pytest.param(replace(PROXY_CACHE, status=405), DeniedError, "is a proxy cache", id="older-proxy-cache"),
    ],
)
async def test_refused_push_says_what_the_project_is_in_the_way_with(
    refusal: object, error: type[MirrordError], words: str
) -> None:
    profile = replace(HARBOR, uploads=Uploads(put_body=refusal), manifests=Manifests(immutable_tags=refusal))  # type: ignore[arg-type]
    async with harbor(profile) as bench:
        put(bench.harbor, "team/app", IMAGE, "1.0")
        with pytest.raises(error, match=words) as caught:
            await bench.client.writer("team/app").put_blob(blob_of(b"more"), stream(b"more"))
        with pytest.raises(error, match=words):
            await bench.client.writer("team/app").put_manifest(IMAGE.root, Tag("1.0"))

    assert isinstance(caught.value, RegistryError)
    assert not caught.value.retryable
    assert bench.harbor.store.uploads("team/app") == ()


# --- whole runs


async def test_run_into_harbor_makes_the_project_and_copies_everything() -> None:
    image = make_index("app", platforms=("linux/amd64", "linux/arm64"))
    signature = make_artifact("signature", subject=image.descriptor)
    async with Internet() as internet:
        registry = await internet.join(HARBOR, NAMES_HARBOR)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        put(source, "library/app", image, "1.0", "latest")
        put(source, "library/app", signature)
        settings = settings_of_harbor(registry, create_repositories={})
        first = await mirror(internet, "source.test/library/app", f"{HOST}/mirror/deep/app", settings=settings)
        registry.traffic.clear()
        second = await mirror(internet, "source.test/library/app", f"{HOST}/mirror/deep/app", settings=settings)

    assert (first.count(Outcome.COPIED), first.problems) == (2, [])
    assert registry.store.tags("mirror/deep/app") == {"1.0": image.digest, "latest": image.digest}
    assert registry.store.manifest("mirror/deep/app", signature.digest) is not None
    assert (second.count(Outcome.IN_SYNC), second.problems) == (2, [])
    assert (registry.traffic.counts["manifest PUT"], registry.traffic.counts["api"]) == (0, 1), "one listing"
    assert registry.traffic.counts["manifest GET"] == 0


async def test_run_into_a_project_that_is_missing_is_one_clear_error() -> None:
    async with Internet() as internet:
        registry = await internet.join(HARBOR, NAMES_HARBOR)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        put(source, "library/app", IMAGE, "1.0", "1.1", "1.2")
        done = await mirror(
            internet, "source.test/library/app", f"{HOST}/ghost/app", settings=settings_of_harbor(registry)
        )

    assert done.count(Outcome.FAILED) == 3
    [problem] = done.problems
    assert 'no project "ghost"' in problem
    assert registry.traffic.counts["api"] == 2, "the listing of the target, and one look for the project"
    assert registry.traffic.counts["upload POST"] == 0


async def test_run_out_of_harbor_copies_everything() -> None:
    image = make_index("app", platforms=("linux/amd64", "linux/arm64"))
    signature = make_artifact("signature", subject=image.descriptor)
    async with Internet() as internet:
        registry = await internet.join(HARBOR, NAMES_HARBOR)
        target = await internet.join(DISTRIBUTION_V3, Names(registry="target.test"))
        put(registry, NESTED, image, "1.0", "latest")
        put(registry, NESTED, signature)
        done = await mirror(internet, f"{HOST}/{NESTED}", "target.test/app", settings=settings_of_harbor(registry))

    assert (done.count(Outcome.COPIED), done.problems) == (2, [])
    assert target.store.tags("app") == {"1.0": image.digest, "latest": image.digest}
    assert target.store.manifest("app", signature.digest) is not None


async def test_mount_between_projects_needs_no_bytes() -> None:
    async with harbor() as bench:
        put(bench.harbor, "base/app", IMAGE, "1.0")
        bench.harbor.switches.created.add("team")
        blob = IMAGE.root.blobs()[-1]

        assert await bench.client.writer("team/app").mount_blob(blob, Repository(HOST, "base/app"))
        assert bench.harbor.store.blob("team/app", blob.digest) is not None
