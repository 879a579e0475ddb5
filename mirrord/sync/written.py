"""Writes down a run of several rules that no service carried out, as one run of each rule."""

from __future__ import annotations

from datetime import datetime

import anyio

from mirrord.errors import MirrordError
from mirrord.planning.runstatus import run_status
from mirrord.planning.status import Cause
from mirrord.ports.history import History
from mirrord.sync.board import lag_seconds
from mirrord.sync.context import Context
from mirrord.sync.run import Run
from mirrord.sync.slots import new_run_id

WRITE_DEADLINE_S = 10.0


async def write_down(history: History, context: Context, run: Run, started: datetime, *, interrupted: bool) -> None:
    """Write down what came of each rule, also when cancelled; a history that fails is no failure of the run."""
    finished = context.clock.now()
    with anyio.CancelScope(shield=True), anyio.move_on_after(WRITE_DEADLINE_S):
        await context.memory.flush()
        for rule in run.rules:
            try:
                lag_s = lag_seconds(await history.summary(rule.rule.name), finished)
                status = run_status(
                    new_run_id(started),
                    Cause.ONCE,
                    started=started,
                    finished=finished,
                    report=rule.report(),
                    interrupted=interrupted,
                    lag_seconds=lag_s,
                )
                await history.save_run(status, looked=rule.looked)
            except MirrordError:
                return
