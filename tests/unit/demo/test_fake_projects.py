"""What Harbor and zot need of the emulator: projects, a challenge that flips, bare errors, mounts from anywhere."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from mirrord.oci.digest import Digest
from tests.fakes.images import make_image
from tests.fakes.profiles import Auth, Manifests, Profile, Refusal, TagList, Uploads
from tests.fakes.registries.harbor import HARBOR
from tests.fakes.registry import FakeRegistry
from tests.fakes.relay import open_relay
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

IMAGE = make_image("one")
CONTENT = b"content"
DIGEST = Digest.of(CONTENT)


def connected(registry: FakeRegistry) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=registry.url, verify=False)


async def test_challenge_flips_for_whoever_sent_a_credential() -> None:
    auth = Auth(scheme="bearer", repository_challenge="flip")
    async with FakeRegistry(Profile(auth=auth)) as registry, connected(registry) as client:
        stranger = await client.get("/v2/team/app/tags/list")
        outdated = await client.get("/v2/team/app/tags/list", headers={"Authorization": "Bearer old"})
        catalog = await client.get("/v2/_catalog")

    assert stranger.headers["WWW-Authenticate"].startswith("Bearer ")
    assert outdated.headers["WWW-Authenticate"].startswith("Basic ")
    assert catalog.headers["WWW-Authenticate"].startswith("Basic ")


async def test_bare_refusal_is_one_object() -> None:
    auth = Auth(scheme="basic", bare_refusals=True)
    async with FakeRegistry(Profile(auth=auth)) as registry, connected(registry) as client:
        body = (await client.get("/v2/")).json()

    assert body["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("path", ["manifests/1.0", "tags/list", f"blobs/{DIGEST}"])
async def test_everything_below_a_project_that_is_missing_is_refused(path: str) -> None:
    manifests = Manifests(
        create_on_push=False, projects=True, unknown_repository=Refusal(status=401, headers=(("WWW-Authenticate", ""),))
    )
    async with FakeRegistry(Profile(manifests=manifests)) as registry, connected(registry) as client:
        put(registry, "team/app", IMAGE, "1.0")
        unknown = await client.get(f"/v2/ghost/app/{path}")
        known = await client.get(f"/v2/team/other/{path}")
        registry.switches.created.add("ghost")
        made = await client.get(f"/v2/ghost/app/{path}")

    assert (unknown.status_code, unknown.headers["WWW-Authenticate"]) == (401, "")
    assert known.status_code == made.status_code == 404


async def test_last_tag_that_is_gone_is_a_404_without_a_body() -> None:
    profile = Profile(tags=TagList(unknown_last="gone"))
    async with FakeRegistry(profile) as registry, connected(registry) as client:
        put(registry, "team/app", IMAGE, "1.0")
        answer = await client.get("/v2/team/app/tags/list?n=1&last=0.9")

    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(("mount_from", "status"), [("needed", 202), ("ignored", 201)])
async def test_blob_is_mounted_from_anywhere_if_the_source_is_ignored(mount_from: str, status: int) -> None:
    uploads = Uploads(mount_from=mount_from)  # type: ignore[arg-type]  # the parameters are its literals
    async with FakeRegistry(Profile(uploads=uploads)) as registry, connected(registry) as client:
        registry.store.add_blob("quite/another", CONTENT)
        answer = await client.post(f"/v2/team/app/blobs/uploads/?mount={DIGEST}&from=team/base")

    assert answer.status_code == status
    assert (registry.store.blob("team/app", DIGEST) is not None) == (status == 201)


async def test_api_of_harbor_wants_slashes_encoded_twice_and_a_password() -> None:
    async with FakeRegistry(replace(HARBOR, name="harbor-here")) as registry, connected(registry) as client:
        put(registry, "team/deep/app", IMAGE, "1.0")
        artifacts = "/api/v2.0/projects/team/repositories/{}/artifacts"
        statuses = [
            (await client.get(artifacts.format(name))).status_code
            for name in ("deep%252Fapp", "deep%2Fapp", "deep/app")
        ]
        token = await client.get("/api/v2.0/projects", headers={"Authorization": "Bearer of-the-registry"})

    assert statuses == [200, 404, 404]
    assert token.status_code == 401


async def test_relay_loses_the_answer_and_not_the_effect() -> None:
    async with (
        FakeRegistry() as registry,
        open_relay(registry.host) as relay,
        httpx2.AsyncClient(base_url=f"http://{relay.host}", verify=False) as client,
    ):
        relay.lose("POST", 2)
        assert (await client.post("/v2/team/app/blobs/uploads/")).status_code == 202
        with pytest.raises(httpx2.TransportError):
            await client.post("/v2/team/app/blobs/uploads/")
        assert (await client.get("/v2/")).status_code == 200

    assert relay.lost == 1
    assert len(registry.store.uploads("team/app")) == 2
