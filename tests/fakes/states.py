"""State stores of tests: opened in a directory, filled, damaged, and on a disk that takes nothing more.

async with opened(tmp_path, events=seen) as state:
    state.memory.keep_images("rule", SOURCE, [image("1.0")])
with full_disk():
    ...
"""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState
from mirrord.planning.status import Cause, Change, RunResult, RunStatus
from mirrord.ports.clock import Clock
from mirrord.ports.events import Event, EventSink, Noted, StateChanged
from mirrord.state import SqlState, open_state
from tests.fakes.clock import START, FakeClock

SOURCE = Repository("source.test", "app")
TARGET = Repository("target.test:5000", "mirror/app")
ONE, TWO, THREE = (Digest.of(name) for name in (b"one", b"two", b"three"))
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class Seen(EventSink):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    @property
    def errors(self) -> list[str | None]:
        """What was told of the state store, in order."""
        return [event.error for event in self.events if isinstance(event, StateChanged)]

    @property
    def notes(self) -> list[str]:
        """The keys of what was noted."""
        return [event.what for event in self.events if isinstance(event, Noted)]


@asynccontextmanager
async def opened(
    directory: Path, *, clock: Clock | None = None, events: EventSink | None = None, busy_s: float = 5.0
) -> AsyncIterator[SqlState]:
    """Open the state store of a directory."""
    url = f"sqlite://{directory}/state.db"
    async with open_state(url, clock=clock or FakeClock(), events=events or Seen(), busy_s=busy_s) as state:
        yield state


async def until(condition: Callable[[], bool]) -> None:
    """Let tasks and threads go on until ``condition`` holds."""
    with anyio.fail_after(10):
        while not condition():
            await anyio.lowlevel.checkpoint()


def image(ref: str = "1.0", target: Location = TARGET, state: ImageState = ImageState.IN_SYNC) -> ImageMemory:
    """Return what may be remembered of an image."""
    return ImageMemory(key=ImageKey(ref, target, ref), state=state, digest=ONE, served=ONE, proven_at=START)


def run(number: int, rule: str = "rule", *, started: datetime = START, changes: int = 0) -> RunStatus:
    """Return a run that ended well a minute after it began."""
    change = Change(source=str(SOURCE), target=str(TARGET), tags=("1.0",), outcome="copied", digest=str(ONE))
    return RunStatus(
        id=f"run-{number:06}",
        rule=rule,
        cause=Cause.SCHEDULE,
        started=started,
        finished=started + MINUTE,
        result=RunResult.OK,
        changes=(change,) * changes,
    )


def begun(number: int, rule: str = "rule", *, started: datetime = START) -> RunStatus:
    """Return a run that goes on."""
    return replace(run(number, rule, started=started), finished=None, result=RunResult.RUNNING)


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow, nor be written beyond its first byte: the system's own refusal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Have another program hold the right to write."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def sql(file: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Run one statement on the file, as another program."""
    with closing(sqlite3.connect(file)) as other, other:
        return other.execute(statement, values).fetchall()
