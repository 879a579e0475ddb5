"""What a process keeps of one registry has bounds, however long it runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mirrord.oci.reference import Tag
from mirrord.ports.credentials import Credential
from tests.contract.images import build_artifact, build_image, write_image
from tests.fakes.clients import open_client, settings_of
from tests.fakes.profiles import Profile, Rate, Refusal
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.anyio

IMAGE = build_image()


async def test_tokens_that_rotate_are_one_account_with_one_quota() -> None:
    """The secret of a cloud's credential is another one each hour; whoever asks is the same."""
    registry = FakeRegistry(Profile(rate=Rate(pulls=100)))
    registry.store.add_manifest("team/app", IMAGE.manifest.raw, IMAGE.manifest.descriptor.media_type, tags=["1.0"])
    async with registry:
        settings = replace(settings_of(registry), quota_reserve=1)
        async with open_client(registry, settings=settings) as client:
            for hour in range(20):
                client.credentials.by_host[registry.host] = Credential(
                    username="AWS", secret=f"token {hour}", expires_at=datetime(2030, 1, 1, tzinfo=UTC)
                )
                await client.reader().head(Tag("1.0"))
            metering = client.http.metering

    assert metering is not None
    assert len(metering._accounts) == 1


async def test_guards_of_fallback_tags_are_given_up_after_use() -> None:
    async with FakeRegistry(Profile(referrers=Refusal(status=404))) as registry, open_client(registry) as client:
        await write_image(client.writer(), IMAGE, "1.0")
        for number in range(5):
            artifact = build_artifact(IMAGE.manifest.descriptor, f"sbom {number}")
            await write_image(client.writer(), artifact, None)
        locks = client.gateway.handle(registry.host).referrers.locks

    assert not locks
