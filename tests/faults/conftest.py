"""Whole mirrors over real sockets, and emulated registries to lose them in the middle of something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.fakes.profiles import Profile
from tests.fakes.registry import FakeRegistry
from tests.faults.mirror import Mirror, OpenMirror


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def open_mirror(stack: AsyncExitStack) -> OpenMirror:
    """Open a source and targets, each of its profile."""

    async def opened(source: Profile, *targets: Profile) -> Mirror:
        registries = [await stack.enter_async_context(FakeRegistry(profile)) for profile in (source, *targets)]
        return Mirror(source=registries[0], targets=registries[1:])

    return opened
