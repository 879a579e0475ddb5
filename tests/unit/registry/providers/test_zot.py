"""zot: nothing but the specification, and its refusals of deletions in its own words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mirrord.errors import RegistryError, UnauthorizedError, UnsupportedError
from mirrord.oci.reference import Tag
from mirrord.planning.report import Outcome
from mirrord.ports.settings import RegistrySettings
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import Respond
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Deletes, Names, Profile
from tests.fakes.registries.zot import CONFLICT, NAMES_ZOT, ZOT
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import logged_in, mirror
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

HOST = "zot.test"
IMAGE = make_image("one")
INDEX = make_index("app", platforms=("linux/amd64", "linux/arm64"))
SIGNATURE = make_artifact("signature", subject=INDEX.descriptor)


@asynccontextmanager
async def zot(profile: Profile = ZOT) -> AsyncIterator[tuple[FakeRegistry, Client]]:
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_ZOT)
        settings = RegistrySettings(host=HOST, provider="zot")
        async with internet.client(HOST, credential=credential_of(registry), settings=settings) as client:
            yield registry, client


async def test_manifest_that_several_tags_name_is_not_deleted_and_the_error_says_why() -> None:
    async with zot(replace(ZOT, deletes=Deletes(manifest=CONFLICT))) as (registry, client):
        put(registry, "team/app", IMAGE, "1.0", "1.1")
        with pytest.raises(UnsupportedError, match=r"409.*several tags name the same manifest") as caught:
            await client.writer("team/app").delete(IMAGE.digest)

    assert "one by one" in caught.value.remedy


async def test_deletion_that_is_refused_for_another_reason_stays_what_it_is() -> None:
    async with zot() as (registry, client):
        registry.fault(Respond(401), kind="manifest DELETE", times=None)
        with pytest.raises(UnauthorizedError):
            await client.writer("team/app").delete(Tag("1.0"))


async def test_repositories_come_from_the_catalog() -> None:
    async with zot() as (registry, client):
        for path in ("team/app", "other"):
            put(registry, path, IMAGE, "1.0")

        assert await client.repositories("team/") == ["team/app"]


async def test_unknown_type_of_manifest_is_an_error_of_the_target() -> None:
    async with zot() as (registry, client):
        registry.fault(Respond(415), kind="manifest PUT")
        with pytest.raises(RegistryError, match="does not take this kind of manifest"):
            await client.writer("team/app").put_manifest(IMAGE.root, Tag("1.0"))


async def test_run_into_zot_copies_everything_and_a_second_one_nothing() -> None:
    async with Internet() as internet:
        registry = await internet.join(ZOT, NAMES_ZOT)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        put(source, "app", INDEX, "1.0", "latest")
        put(source, "app", SIGNATURE)
        settings = {HOST: logged_in(registry, HOST, provider="zot")}
        first = await mirror(internet, "source.test/app", f"{HOST}/mirror/app", settings=settings)
        registry.traffic.clear()
        second = await mirror(internet, "source.test/app", f"{HOST}/mirror/app", settings=settings)

    assert (first.count(Outcome.COPIED), first.problems) == (2, [])
    assert registry.store.tags("mirror/app") == {"1.0": INDEX.digest, "latest": INDEX.digest}
    assert registry.store.manifest("mirror/app", SIGNATURE.digest) is not None
    assert (second.count(Outcome.IN_SYNC), second.problems) == (2, [])
    assert registry.traffic.counts["manifest PUT"] == registry.traffic.counts["manifest GET"] == 0


async def test_run_out_of_zot_copies_everything() -> None:
    async with Internet() as internet:
        registry = await internet.join(ZOT, NAMES_ZOT)
        target = await internet.join(DISTRIBUTION_V3, Names(registry="target.test"))
        put(registry, "team/app", INDEX, "1.0", "latest")
        put(registry, "team/app", SIGNATURE)
        settings = {HOST: logged_in(registry, HOST, provider="zot")}
        done = await mirror(internet, f"{HOST}/team/app", "target.test/app", settings=settings)

    assert (done.count(Outcome.COPIED), done.problems) == (2, [])
    assert target.store.tags("app") == {"1.0": INDEX.digest, "latest": INDEX.digest}
    assert target.store.manifest("app", SIGNATURE.digest) is not None
