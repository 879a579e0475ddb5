"""Reloading: all or nothing, once for many requests, and never the end of the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from mirrord.app.reload import Reloader
from mirrord.planning.rule import Rule
from mirrord.planning.status import ConfigStatus
from mirrord.ports.events import NullSink
from mirrord.ports.memory import NoMemory
from mirrord.sync.service import Setup
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

GOOD = """
version: 1
rules:
  - {name: app, source: source.test/team/app, targets: [target.test/mirror/app]}
"""


@dataclass
class Desk:
    """What a reloader puts in force and reports."""

    file: Path
    adopted: list[Setup] = field(default_factory=list)
    reports: list[ConfigStatus] = field(default_factory=list)
    fault: Exception | None = None

    def adopt(self, setup: Setup) -> None:
        if self.fault is not None:
            raise self.fault
        self.adopted.append(setup)

    async def settle(self, rules: Sequence[Rule]) -> None:
        assert self.reports, "what is in force is told before anything that may take long"
        del rules

    def reloader(self, group: TaskGroup) -> Reloader:
        return Reloader(
            path=str(self.file),
            environment={},
            clock=FakeClock(),
            events=NullSink(),
            memory=NoMemory(),
            group=group,
            adopt=self.adopt,
            settle=self.settle,
            report=self.reports.append,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    file = tmp_path / "mirrord.yaml"
    file.write_text(GOOD)
    return Desk(file)


async def test_a_hundred_requests_at_once_read_the_file_twice_at_most(desk: Desk) -> None:
    async with anyio.create_task_group() as group:
        reloader = desk.reloader(group)
        await reloader.begin()
        async with anyio.create_task_group() as storm:
            for _ in range(100):
                storm.start_soon(reloader.again)
        group.cancel_scope.cancel()

    assert len(desk.adopted) in {2, 3}


async def test_request_before_the_first_load_does_nothing(desk: Desk) -> None:
    desk.file.write_text("no: [configuration")
    async with anyio.create_task_group() as group:
        reloader = desk.reloader(group)
        await reloader.again()
        desk.file.write_text(GOOD)
        await reloader.begin()
        group.cancel_scope.cancel()

    assert [report.error for report in desk.reports] == [None]


async def test_whatever_a_file_leads_to_the_one_before_stays_in_force(desk: Desk) -> None:
    async with anyio.create_task_group() as group:
        reloader = desk.reloader(group)
        await reloader.begin()
        desk.fault = ZeroDivisionError("a fault of ours")
        await reloader.again()
        desk.fault = None
        await reloader.again()
        group.cancel_scope.cancel()

    first, refused, again = desk.reports
    assert refused.error is not None
    assert "ZeroDivisionError: a fault of ours" in refused.error
    assert (refused.rules, refused.loaded_at) == (first.rules, first.loaded_at)
    assert again.error is None
    assert len(desk.adopted) == 2
