"""The emulated net: registries by public names, over TLS, with token service, storage and API on names of their own."""

from __future__ import annotations

import pytest

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from mirrord.errors import UnavailableError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.registry.providers.pages import get_json
from tests.fakes.api import EmulatedApi
from tests.fakes.clients import credential_of
from tests.fakes.images import make_image
from tests.fakes.internet import Internet
from tests.fakes.profiles import Auth, Blobs, Names, Profile
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.anyio


class Echo(EmulatedApi):
    """Says who asked."""

    async def answer(self, request: Request) -> Answer:
        return json_answer({"authorization": request.header("Authorization"), "path": request.path})


HUB = Profile(auth=Auth(scheme="bearer"), blobs=Blobs(redirect=307), api=Echo)
NAMES = Names(registry="registry-1.docker.io", tokens="auth.docker.io", storage="cdn.test", api="hub.docker.com")


def filled(registry: FakeRegistry) -> Descriptor:
    content = make_image("one")
    for raw in content.blobs.values():
        registry.store.add_blob("library/app", raw)
    root = content.root
    registry.store.add_manifest("library/app", root.raw, root.descriptor.media_type, tags=["1.0"])
    return root.blobs()[-1]


async def test_registry_answers_under_its_public_names() -> None:
    async with Internet() as internet:
        hub = await internet.join(HUB, NAMES)
        layer = filled(hub)
        async with internet.client("docker.io", credential=credential_of(hub)) as client:
            head = await client.reader("library/app").head(Tag("1.0"))
            async with client.reader("library/app").blob(layer) as pieces:
                body = b"".join([piece async for piece in pieces])

    assert head is not None
    assert Digest.of(body) == layer.digest
    assert hub.traffic.counts["token"] == 1
    assert [record.header("Authorization") for record in hub.storage_traffic.records] == [None]


async def test_api_gets_what_its_provider_says_and_no_token_of_the_registry() -> None:
    async with Internet() as internet:
        hub = await internet.join(HUB, NAMES)
        filled(hub)
        async with internet.client("docker.io", credential=credential_of(hub)) as client:
            await client.reader("library/app").head(Tag("1.0"))

            async def authorization() -> str | None:
                return "Bearer of-the-api"

            http = client.gateway.handle("docker.io").service.api.open("https://hub.docker.com", authorization)
            answer = await get_json(http, "/v2/repositories", "ask the API")

    assert answer == {"authorization": "Bearer of-the-api", "path": "/v2/repositories"}
    assert hub.traffic.counts["api"] == 1
    assert hub.traffic.counts["ping"] == 1


async def test_no_name_outside_is_reached() -> None:
    async with Internet() as internet, internet.client("registry.example") as client:
        with pytest.raises(UnavailableError, match="no such name on this net"):
            await client.reader("library/app").head(Tag("1.0"))
