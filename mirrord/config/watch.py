"""Notices that the configuration, or a file that it names, has changed.

The directory is watched and not the file: Kubernetes swaps a link beside it, editors put another file in its place, and
either leaves a watch on the file with the old one. Where events do not come (network file systems, a directory that is
gone), looking now and then finds the change. Only what the files hold counts, so events may come for nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.to_thread
from watchfiles import awatch

from mirrord.config.source import MAX_BYTES

POLL_S = 30.0
SETTLE_S = 0.2
_SETTLE_ROUNDS = 25
_SMALL_BYTES = 64 * 1024
_STEP_MS = 50

Marks = Mapping[str, str]
"""By path, something that differs when the content does; a file that is missing has a mark, too."""


def marks_of(file: Path, extra: Iterable[Path] = ()) -> Marks:
    """Return the marks of a configuration file and of files that it names. Blocks; raises nothing.

    The configuration is told by its content, whatever its times say; so are others up to 64 KiB (certificates, keys,
    secrets). Larger ones are told by size, time of change and inode.
    """
    marks = {os.fspath(path): _mark(path, _SMALL_BYTES) for path in extra}
    marks[os.fspath(file)] = _mark(file, MAX_BYTES)
    return marks


async def watch_files(
    file: Path,
    changed: Callable[[], Awaitable[None]],
    *,
    extra: Callable[[], Iterable[Path]] = tuple,
    since: Marks | None = None,
    poll_s: float = POLL_S,
    settle_s: float = SETTLE_S,
) -> None:
    """Call ``changed`` each time that a file differs from before, until cancelled; never raises of its own.

    A file that goes away or cannot be read any more differs as well. Several changes at once are told once, when the
    files have been the same for ``settle_s`` seconds. What changes while ``changed`` runs is told afterwards.

    Args:
        file: The configuration file; its directory is watched for events.
        changed: What to call.
        extra: Returns the other files of the configuration that is in force; they are looked at with each poll, and
            when anything happens beside ``file``. One that is new among them is no change.
        since: The marks (`marks_of`) from before the configuration was read, so that no change in between is lost;
            None: from now on.
        poll_s: How often the files are looked at without an event, in seconds.
        settle_s: How long they must stay the same, in seconds.
    """
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # or a log file beside would make it tell of itself
    known = since if since is not None else await _look(file, extra)
    bell = _Bell()
    async with anyio.create_task_group() as group:
        group.start_soon(_listen, file, bell, poll_s)
        while True:
            marks = await _settled(file, extra, known, settle_s)
            if _differ(known, marks):
                known = marks
                await changed()
            else:
                known = marks  # with files that have come to belong to it
                await bell.wait(poll_s)
                await anyio.sleep(settle_s)  # a busy directory does not have the files read all the time


class _Bell:
    """Wakes one sleeper; one that does not sleep yet is woken as soon as it does."""

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._rung.wait()
        self._rung = anyio.Event()


async def _settled(file: Path, extra: Callable[[], Iterable[Path]], known: Marks, settle_s: float) -> Marks:
    """Return the files' marks; where they differ from what is known, once they stay the same, or at last anyway."""
    marks = await _look(file, extra)
    for _ in range(_SETTLE_ROUNDS):
        if not _differ(known, marks):
            break
        await anyio.sleep(settle_s)
        before, marks = marks, await _look(file, extra)
        if marks == before:
            break
    return marks


async def _look(file: Path, extra: Callable[[], Iterable[Path]]) -> Marks:
    return await anyio.to_thread.run_sync(marks_of, file, tuple(extra()))


def _differ(known: Marks, marks: Marks) -> bool:
    return any(known[path] != mark for path, mark in marks.items() if path in known)


async def _listen(file: Path, bell: _Bell, poll_s: float) -> None:
    """Ring for every event beside the file, for as long as there is a directory to watch; look for one now and then."""
    while True:
        try:
            await _ring_for_events(file, bell, poll_s)
        except* (OSError, RuntimeError):  # a directory that is not there, or no more watches to be had
            await anyio.sleep(poll_s)


async def _ring_for_events(file: Path, bell: _Bell, poll_s: float) -> None:
    """Ring for every event until the directories are others than at the start."""
    watched = await anyio.to_thread.run_sync(_directories, file)
    stop = anyio.Event()

    async def stop_in_time() -> None:
        # watchfiles waits for events in a thread, which ends when the event is set, and not when it is cancelled.
        try:
            bell.ring()  # the watch stands; what happened just before is seen now
            await anyio.sleep_forever()
        finally:
            stop.set()

    async with anyio.create_task_group() as group:
        group.start_soon(stop_in_time)
        events = awatch(
            *watched,
            watch_filter=None,
            stop_event=stop,
            step=_STEP_MS,
            rust_timeout=max(1, round(poll_s * 1000)),
            yield_on_timeout=True,  # a directory that was replaced sends no more events
            recursive=False,
            ignore_permission_denied=True,
        )
        async with aclosing(events):
            async for _ in events:
                bell.ring()
                if await anyio.to_thread.run_sync(_directories, file) != watched:
                    break
        group.cancel_scope.cancel()


def _directories(file: Path) -> dict[str, tuple[int, int]]:
    """Return the directories in which the file may be changed, by path: that of its name, and that of what it links to.

    The values tell whether they are still the same ones.

    Raises:
        OSError: the first is not there.
    """
    beside = file.absolute().parent
    found = {os.fspath(beside): _identity(beside)}
    try:
        there = file.resolve(strict=True).parent
        found[os.fspath(there)] = _identity(there)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        pass
    return found


def _identity(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def _mark(path: Path, limit: int) -> str:
    try:
        # Without O_NONBLOCK, opening a FIFO that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        return f"error {exc.errno}"
    except ValueError:
        return "no path"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "no file"
        with open(descriptor, "rb", closefd=False) as opened:
            content = opened.read(limit + 1)
    except OSError as exc:
        return f"error {exc.errno}"
    finally:
        os.close(descriptor)
    if len(content) > limit:
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
    return hashlib.sha256(content).hexdigest()
