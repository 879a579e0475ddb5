"""What one upload learns about a registry, others that are under way at the same time can use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from mirrord.errors import ContentMismatchError, UnsupportedError
from mirrord.oci.descriptor import Descriptor
from tests.fakes.clients import REPOSITORY, Client, open_client
from tests.fakes.images import content, describe
from tests.fakes.profiles import Profile, Refusal, Uploads
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.anyio

CHUNKS_ONLY = Profile(uploads=Uploads(put_body=Refusal(status=405)))


async def test_uploads_refused_at_the_same_time_may_all_be_sent_again_in_chunks() -> None:
    """The first refusal teaches that chunks are wanted; an upload that began before is no less worth a second try."""
    both_opened = anyio.Event()
    waiting: list[str] = []
    retryable: list[bool] = []

    async def upload(client: Client, name: str) -> None:
        blob = content(name)
        descriptor = describe(blob, "application/octet-stream")

        async def stream() -> AsyncIterator[bytes]:
            waiting.append(name)
            if len(waiting) == 2:
                both_opened.set()
            await both_opened.wait()
            yield blob

        with pytest.raises(UnsupportedError) as refused:
            await client.writer().put_blob(descriptor, stream())
        retryable.append(refused.value.retryable)
        await client.writer().put_blob(descriptor, once(blob))
        assert await has(client, descriptor)

    async with (
        FakeRegistry(CHUNKS_ONLY) as registry,
        open_client(registry) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(upload, client, "one")
        tasks.start_soon(upload, client, "two")
    assert retryable == [True, True]


@pytest.mark.parametrize("sent", [pytest.param(b"", id="before-the-first-byte"), pytest.param(b"x", id="after-it")])
async def test_upload_whose_content_turns_out_wrong_at_the_source_is_cancelled(sent: bytes) -> None:
    """Wrong content is no answer of the target: its session is still open."""

    async def stream() -> AsyncIterator[bytes]:
        if sent:
            yield sent
        raise ContentMismatchError("the source sends something else", host="source.test")

    async with FakeRegistry() as registry, open_client(registry) as client:
        with pytest.raises(ContentMismatchError, match="something else"):
            await client.writer().put_blob(describe(content("blob"), "application/octet-stream"), stream())
        assert registry.store.uploads(REPOSITORY) == ()


async def once(blob: bytes) -> AsyncIterator[bytes]:
    """Yield a blob whole."""
    yield blob


async def has(client: Client, blob: Descriptor) -> bool:
    """Say whether the registry holds a blob."""
    return await client.writer(REPOSITORY).has_blob(blob)
