"""The emulated registry answers as the real one: one list of requests goes to both, and the answers are compared."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import httpx2
import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import ACCEPT, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from tests.fakes.registry import DISTRIBUTION_V2, FakeRegistry
from tests.integration.servers import DockerRegistry

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(100))
DIGEST = Digest.of(CONTENT)
CONFIG = b'{"architecture":"amd64","os":"linux"}'
ABSENT = Digest.of(b"absent")
REPOSITORY = "/v2/team/app"
START = f"{REPOSITORY}/blobs/uploads/"
BLOB = f"{REPOSITORY}/blobs/{DIGEST}"
ALL_TYPES = {"Accept": ", ".join(ACCEPT)}
# Their presence is compared; what they hold differs by nature (ids, hosts, states).
HEADERS = ("Location", "Docker-Upload-UUID", "WWW-Authenticate", "Link", "OCI-Subject")
# What they hold is compared too.
VALUES = ("Range", "Content-Range", "Docker-Content-Digest", "Docker-Distribution-Api-Version")


def descriptor(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def image(media_type: str = OCI_MANIFEST, layer: bytes = CONTENT, **extra: object) -> bytes:
    body = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(CONFIG, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER)],
        **extra,
    }
    return json.dumps(body).encode()


def index(child: bytes, media_type: str = OCI_INDEX, child_type: str = OCI_MANIFEST) -> bytes:
    platform = {"os": "linux", "architecture": "amd64"}
    children = [{**descriptor(child, child_type), "platform": platform}]
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": children}).encode()


@dataclass
class Conversation:
    """Sends requests to one registry, and notes what a client would go by in each answer."""

    client: httpx2.AsyncClient
    notes: list[tuple[object, ...]] = field(default_factory=list)

    async def send(
        self, method: str, path: str, *, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        response = await self.client.request(method, path, content=content, headers=headers)
        present = tuple(name in response.headers for name in HEADERS)
        values = tuple(response.headers.get(name) for name in VALUES)
        self.notes.append((method, _generic(path), response.status_code, present, values, *_codes(response)))
        return response

    async def begin(self) -> str:
        return str((await self.send("POST", START)).headers["Location"])

    async def push(self, content: bytes, repository: str = REPOSITORY) -> None:
        started = await self.send("POST", f"{repository}/blobs/uploads/")
        await self.send("PUT", f"{started.headers['Location']}&digest={Digest.of(content)}", content=content)

    async def put(self, reference: object, raw: bytes, media_type: str = OCI_MANIFEST) -> None:
        headers = {"Content-Type": media_type} if media_type else {}
        await self.send("PUT", f"{REPOSITORY}/manifests/{reference}", content=raw, headers=headers)

    async def read(self, reference: object, accept: str = ", ".join(ACCEPT)) -> None:
        for method in ("HEAD", "GET"):
            await self.send(method, f"{REPOSITORY}/manifests/{reference}", headers={"Accept": accept})


def _generic(path: str) -> str:
    """Return the path without what differs from one upload to the next."""
    path = httpx2.URL(path).path
    before, uploads, upload_id = path.partition("/blobs/uploads/")
    return before + uploads + ("ID" if upload_id else "")


def _codes(response: httpx2.Response) -> Iterator[object]:
    """Yield the codes of the error body, or what kind of body it is."""
    if response.headers.get("Content-Type", "").startswith("application/json") and response.content:
        body = response.json()
        yield sorted({error["code"] for error in body["errors"]}) if "errors" in body else sorted(body)
    elif response.status_code >= 400:
        yield response.headers.get("Content-Type", "").partition(";")[0]


async def ping_and_unknown_things(talk: Conversation) -> None:
    for path in ("/v2", "/v2/", "/v3/", f"{REPOSITORY}/tags/list", "/v2/team/App/tags/list", "/v2/_catalog"):
        await talk.send("GET", path)
    await talk.read("1.0")
    await talk.read(ABSENT)
    await talk.send("HEAD", f"{REPOSITORY}/blobs/{ABSENT}")
    await talk.send("GET", f"{REPOSITORY}/blobs/{ABSENT}")
    await talk.send("GET", f"{REPOSITORY}/referrers/{ABSENT}")


async def upload_whole(talk: Conversation) -> None:
    await talk.push(CONTENT)
    await talk.send("HEAD", BLOB)
    await talk.send("GET", f"{REPOSITORY}/tags/list")
    await talk.send("PUT", f"{await talk.begin()}&digest={ABSENT}", content=CONTENT)
    await talk.send("PUT", f"{await talk.begin()}&digest=sha256:short", content=CONTENT)
    await talk.send("PUT", await talk.begin(), content=CONTENT)
    await talk.send("POST", f"{START}?digest={DIGEST}", content=CONTENT)


async def upload_in_chunks(talk: Conversation) -> None:
    first = await talk.begin()
    await talk.send("GET", first)
    patched = await talk.send("PATCH", first, content=CONTENT[:50], headers={"Content-Range": "0-49"})
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        await talk.send(method, f"{first}&digest={DIGEST}")
    latest = patched.headers["Location"]
    await talk.send("GET", latest)
    gap = await talk.send("PATCH", latest, content=CONTENT[50:], headers={"Content-Range": "70-119"})
    closed = f"{gap.headers['Location']}&digest={DIGEST}"
    await talk.send("PUT", closed)
    await talk.send("PUT", closed)
    await talk.send("GET", gap.headers["Location"])


async def upload_cancelled(talk: Conversation) -> None:
    location = await talk.begin()
    await talk.send("DELETE", location)
    await talk.send("GET", location)
    await talk.send("DELETE", location)
    location = await talk.begin()
    await talk.send("PATCH", location, content=b"x", headers={"Content-Type": "text/plain"})
    await talk.send("GET", location.partition("?")[0])


async def mount(talk: Conversation) -> None:
    await talk.push(CONTENT, "/v2/team/base")
    for query in (f"mount={DIGEST}&from=team/nothing", f"mount={DIGEST}", f"mount={DIGEST}&from=team/base"):
        await talk.send("POST", f"{START}?{query}")
    await talk.send("HEAD", BLOB)


async def read_blob(talk: Conversation) -> None:
    await talk.push(CONTENT)
    for wanted in ("bytes=10-19", "bytes=90-", "bytes=-5", "bytes=-500", "bytes=95-500"):
        await talk.send("GET", BLOB, headers={"Range": wanted})
    await talk.send("GET", f"/v2/team/other/blobs/{DIGEST}")
    await talk.send("DELETE", BLOB)
    await talk.send("GET", BLOB)
    await talk.send("DELETE", BLOB)


async def put_manifests(talk: Conversation) -> None:
    await talk.put("1.0", image())
    await talk.push(CONTENT)
    await talk.push(CONFIG)
    await talk.put("1.0", image(), "")
    await talk.put("1.0", image(), f"{OCI_MANIFEST}; charset=utf-8")
    await talk.put(ABSENT, image())
    await talk.put(Digest.of(image()), image())
    await talk.put("bad", b"{")
    await talk.put("bad", b" " * (4 * 1024 * 1024 + 1))
    await talk.put("bad", image(), OCI_INDEX)
    await talk.put("2.0", index(image()), OCI_INDEX)
    await talk.put("2.0", index(b"missing"), OCI_INDEX)
    await talk.put("3.0", image(subject=descriptor(b"absent", OCI_MANIFEST)))


async def read_manifests(talk: Conversation) -> None:
    await talk.push(CONTENT)
    await talk.push(CONFIG)
    docker = image(DOCKER_MANIFEST)
    await talk.put("oci", image())
    await talk.put("index", index(image()), OCI_INDEX)
    await talk.put("docker", docker, DOCKER_MANIFEST)
    docker_list = index(docker, DOCKER_LIST, DOCKER_MANIFEST)
    await talk.put("list", docker_list, DOCKER_LIST)
    for reference in ("oci", "index", "docker", "list", Digest.of(docker_list)):
        for accept in (", ".join(ACCEPT), "*/*", DOCKER_MANIFEST, OCI_MANIFEST):
            if reference in {"docker", "list"} and DOCKER_MANIFEST not in accept:
                continue  # 2.8.2 converts these to schema 1, which the emulator does not speak
            await talk.read(reference, accept)


async def delete_manifests(talk: Conversation) -> None:
    await talk.push(CONTENT)
    await talk.push(CONFIG)
    for tag in ("1.0", "latest"):
        await talk.put(tag, image())
    await talk.send("DELETE", f"{REPOSITORY}/manifests/1.0")
    for _ in range(2):
        await talk.send("DELETE", f"{REPOSITORY}/manifests/{Digest.of(image())}")
    response = await talk.send("GET", f"{REPOSITORY}/tags/list")
    talk.notes.append((response.json(),))


async def list_things(talk: Conversation) -> None:
    await talk.push(CONTENT)
    await talk.push(CONFIG)
    for tag in ("c", "a", "b"):
        await talk.put(tag, image())
    listed = await talk.send("GET", f"{REPOSITORY}/tags/list?n=2&last=a")
    talk.notes.append(tuple(sorted(listed.json()["tags"])))
    await talk.push(CONTENT, "/v2/other")
    await talk.send("GET", "/v2/_catalog?n=1001")
    first = await talk.send("GET", "/v2/_catalog?n=1")
    talk.notes.append((first.json(), first.headers["Link"]))


@pytest.mark.parametrize(
    "conversation",
    [
        ping_and_unknown_things,
        upload_whole,
        upload_in_chunks,
        upload_cancelled,
        mount,
        read_blob,
        put_manifests,
        read_manifests,
        delete_manifests,
        list_things,
    ],
)
async def test_emulator_answers_as_docker_registry(
    source: DockerRegistry, conversation: Callable[[Conversation], Awaitable[None]]
) -> None:
    async with (
        FakeRegistry(DISTRIBUTION_V2) as emulated,
        httpx2.AsyncClient(base_url=emulated.url, verify=False) as emulated_client,
        httpx2.AsyncClient(base_url=source.url, verify=False) as real_client,
    ):
        here, there = Conversation(emulated_client), Conversation(real_client)
        await conversation(here)
        await conversation(there)

    differences = [pair for pair in zip(here.notes, there.notes, strict=True) if pair[0] != pair[1]]
    assert not differences, "\n".join(f"emulated {mine}\n    real {true}" for mine, true in differences)
