"""Commands run inside the test, against emulated registries that are served from another thread.

with serving(DISTRIBUTION_V3) as (registry,):
    put(registry.store, "team/app", make_image("app"), "1.0")
    done = run_command("tags", f"{registry.host}/team/app", "--plain-http", registry.host)
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal

from mirrord.cli.main import run
from tests.fakes.profiles import Profile
from tests.fakes.registry import FakeRegistry


class Finished(NamedTuple):
    """How a command ended: its exit code and what it wrote."""

    code: int
    stdout: str
    stderr: str


@contextmanager
def serving(*profiles: Profile) -> Iterator[tuple[FakeRegistry, ...]]:
    """Serve one registry for each profile while the context lasts."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal("asyncio"))
        yield tuple(
            stack.enter_context(portal.wrap_async_context_manager(FakeRegistry(profile))) for profile in profiles
        )


def run_command(*arguments: str) -> Finished:
    """Run a command of mirrord to its end, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr)
        code = run(arguments)
        written = [stream.buffer.getvalue().decode() for stream in (stdout, stderr)]
    return Finished(code, written[0], written[1])
