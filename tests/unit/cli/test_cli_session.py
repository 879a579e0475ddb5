"""What commands that talk to registries have in common."""

from __future__ import annotations

import gc

from mirrord.app import App
from mirrord.cli.session import run_async


def test_a_run_collects_garbage_although_the_start_did_not() -> None:
    """What comes and goes during a run is collected; what was there before it is left alone."""

    async def body(app: App) -> tuple[bool, int]:
        return gc.isenabled(), gc.get_freeze_count()

    gc.disable()
    try:
        collects, frozen = run_async(body)
    finally:
        gc.enable()
        gc.unfreeze()

    assert collects
    assert frozen > 0


def test_a_run_leaves_the_collector_of_its_caller_alone() -> None:
    """Where the command line did not begin the process, nothing is frozen."""

    async def body(app: App) -> int:
        return gc.get_freeze_count()

    assert run_async(body) == 0
