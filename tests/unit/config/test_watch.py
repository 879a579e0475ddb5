"""Watching the configuration, with real files and real events."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from mirrord.config.watch import Marks, marks_of, watch_files

pytestmark = pytest.mark.anyio
NEVER_S = 3600.0
OFTEN_S = 0.02


class Watched:
    """A watch that runs, the changes that it told, and how often it looked."""

    def __init__(self, *, by_events: bool) -> None:
        self._by_events = by_events
        self.changes = 0
        self.looks = 0
        self.extra: tuple[Path, ...] = ()
        self._moved = anyio.Event()

    async def changed(self) -> None:
        self.changes += 1
        self._move()

    def files(self) -> Iterable[Path]:
        self.looks += 1
        self._move()
        return self.extra

    async def until(self, *, changes: int = 0, looks: int = 0) -> None:
        """Wait for so many changes, or looks, in all."""
        with anyio.fail_after(20):
            while self.changes < changes or self.looks < looks:
                await self._moved.wait()
            while self._by_events and not await self._is_quiet():
                await anyio.lowlevel.checkpoint()

    async def _is_quiet(self) -> bool:
        """Say whether the watch only waits for events, in its one thread: a change from now on must come by one."""
        await anyio.wait_all_tasks_blocked()
        return anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 1

    async def look_again(self, times: int = 2) -> None:
        """Wait for whole looks from now on: the one on the way may have begun before."""
        await self.until(looks=self.looks + times)

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()


@asynccontextmanager
async def watching(
    file: Path, *, poll_s: float, settle_s: float = 0.0, extra: tuple[Path, ...] = (), since: Marks | None = None
) -> AsyncIterator[Watched]:
    """Watch a file; with a ``poll_s`` of `NEVER_S`, changes can be told by events alone."""
    watched = Watched(by_events=poll_s == NEVER_S)
    watched.extra = extra
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            await watch_files(file, watched.changed, extra=watched.files, since=since, poll_s=poll_s, settle_s=settle_s)

        group.start_soon(watch)
        # The first looks are those of the start; one more follows when the watch on the directory stands.
        await watched.until(looks=3 if since is None else 2)
        yield watched
        group.cancel_scope.cancel()


@pytest.fixture(params=[NEVER_S, OFTEN_S], ids=["by-events", "by-polls"])
def poll_s(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """What a test sees is noticed by events, and by polls where none come."""
    assert isinstance(request.param, float)
    if request.param == OFTEN_S:  # watchfiles polls as well then, and so rarely that nothing comes of it
        monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "1")
        monkeypatch.setenv("WATCHFILES_POLL_DELAY_MS", "3600000")
    return request.param


@pytest.fixture
def file(tmp_path: Path) -> Path:
    directory = tmp_path / "conf"
    directory.mkdir()
    path = directory / "config.yaml"
    path.write_text("version: 1\n")
    return path


def write(file: Path, text: str) -> None:
    """Write a file where it stands."""
    file.write_text(text)


def read(file: Path) -> str:
    return file.read_text()


def remove(file: Path) -> None:
    file.unlink()


def replace(file: Path, text: str) -> None:
    """Write a file as careful editors do: beside it, and then in its place."""
    beside = file.with_name(".new")
    beside.write_text(text)
    beside.replace(file)


async def test_file_that_is_written_anew_is_a_change(file: Path, poll_s: float) -> None:
    async with watching(file, poll_s=poll_s) as watched:
        for count in range(1, 4):
            write(file, f"version: 1 # {count}\n")
            await watched.until(changes=count)

    assert watched.changes == 3


async def test_file_that_is_put_in_its_place_is_a_change_each_time(file: Path, poll_s: float) -> None:
    async with watching(file, poll_s=poll_s) as watched:
        for count in range(1, 4):
            replace(file, f"version: 1 # {count}\n")
            await watched.until(changes=count)

    assert watched.changes == 3


async def test_link_that_kubernetes_swaps_is_a_change_each_time(tmp_path: Path, poll_s: float) -> None:
    """A ConfigMap: the file is a link through ..data, which is swapped, and what it led to is removed."""
    volume = tmp_path / "volume"
    volume.mkdir()
    swap(volume, "0", "version: 1\n")
    (volume / "config.yaml").symlink_to("..data/config.yaml")

    async with watching(volume / "config.yaml", poll_s=poll_s) as watched:
        for count in range(1, 4):
            swap(volume, str(count), f"version: 1 # {count}\n")
            shutil.rmtree(volume / f"..{count - 1}")
            await watched.until(changes=count)

    assert watched.changes == 3


def swap(volume: Path, version: str, text: str) -> None:
    (volume / f"..{version}").mkdir()
    (volume / f"..{version}" / "config.yaml").write_text(text)
    (volume / "..data_tmp").symlink_to(f"..{version}")
    (volume / "..data_tmp").replace(volume / "..data")


async def test_file_elsewhere_that_a_link_leads_to_is_watched(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "etc" / "mirrord.yaml"
    link.parent.mkdir()
    link.symlink_to(file)

    async with watching(link, poll_s=NEVER_S) as watched:
        replace(file, "version: 1 # other\n")
        await watched.until(changes=1)


async def test_link_that_comes_to_lead_elsewhere_is_followed(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "config.yaml"
    other.parent.mkdir()
    write(other, "version: 1 # other\n")
    link = tmp_path / "etc" / "mirrord.yaml"
    link.parent.mkdir()
    link.symlink_to(file)

    async with watching(link, poll_s=NEVER_S) as watched:
        beside = link.with_name("new")
        beside.symlink_to(other)
        beside.replace(link)
        await watched.until(changes=1)

        write(other, "version: 1 # other again\n")
        await watched.until(changes=2)


async def test_directory_that_vanishes_and_comes_back_is_watched_again(file: Path) -> None:
    async with watching(file, poll_s=OFTEN_S) as watched:
        shutil.rmtree(file.parent)
        await watched.until(changes=1)
        await watched.look_again()
        assert watched.changes == 1

        file.parent.mkdir()
        write(file, "version: 1 # back\n")
        await watched.until(changes=2)

        replace(file, "version: 1 # again\n")
        await watched.until(changes=3)
    assert watched.changes == 3


async def test_directory_that_is_not_there_at_the_start_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "later" / "config.yaml"

    async with watching(file, poll_s=OFTEN_S) as watched:
        file.parent.mkdir()
        write(file, "version: 1\n")
        await watched.until(changes=1)


async def test_file_that_is_deleted_and_comes_back_is_two_changes(file: Path, poll_s: float) -> None:
    async with watching(file, poll_s=poll_s) as watched:
        remove(file)
        await watched.until(changes=1)
        write(file, "version: 1\n")
        await watched.until(changes=2)


async def test_many_quick_writes_are_one_change(file: Path) -> None:
    async with watching(file, poll_s=OFTEN_S, settle_s=0.5) as watched:
        for count in range(100):
            write(file, f"version: 1 # {count}\n")
            await anyio.lowlevel.checkpoint()
        await watched.until(changes=1)
        await watched.look_again()

    assert watched.changes == 1


async def test_touch_and_files_beside_are_no_change(file: Path) -> None:
    async with watching(file, poll_s=NEVER_S) as watched:
        os.utime(file, (1, 1))
        await watched.look_again(1)
        file.with_name("other.yaml").write_text("version: 1\n")
        await watched.look_again(1)
        replace(file, read(file))
        await watched.look_again(1)

        assert watched.changes == 0

        write(file, "version: 1 # in earnest\n")
        await watched.until(changes=1)


async def test_change_from_before_the_watch_began_is_told(file: Path) -> None:
    before = marks_of(file)
    write(file, "version: 1 # meanwhile\n")

    async with watching(file, poll_s=NEVER_S, since=before) as watched:
        await watched.until(changes=1)

    assert watched.changes == 1


async def test_certificate_that_is_renewed_is_a_change_and_its_time_alone_is_not(file: Path, tmp_path: Path) -> None:
    certificate = tmp_path / "tls.crt"
    certificate.write_text("one")

    async with watching(file, poll_s=OFTEN_S, extra=(certificate,)) as watched:
        os.utime(certificate, (1, 1))
        replace(certificate, "one")
        await watched.look_again()
        assert watched.changes == 0

        replace(certificate, "two")
        await watched.until(changes=1)
        certificate.unlink()
        await watched.until(changes=2)


async def test_file_that_comes_to_belong_to_the_configuration_is_no_change_of_its_own(
    file: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("one")

    async with watching(file, poll_s=OFTEN_S) as watched:
        watched.extra = (secret,)
        await watched.look_again()
        assert watched.changes == 0

        secret.write_text("two")
        await watched.until(changes=1)


async def test_change_during_a_reload_is_told_after_it(file: Path) -> None:
    reloading, may_end = anyio.Event(), anyio.Event()
    changes = []

    async def reload() -> None:
        changes.append(read(file))
        reloading.set()
        await may_end.wait()
        if len(changes) == 2:
            group.cancel_scope.cancel()

    before = marks_of(file)
    replace(file, "first")
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await watch_files(file, reload, since=before, poll_s=NEVER_S, settle_s=0.01)

            group.start_soon(watch)
            await reloading.wait()
            replace(file, "second")
            may_end.set()

    assert changes == ["first", "second"]


@pytest.mark.parametrize("uvloop", [False, True])
def test_watch_ends_with_its_thread_when_it_is_cancelled(file: Path, *, uvloop: bool) -> None:
    """watchfiles would hold on to its thread for as long as no event comes."""

    async def main() -> None:
        with anyio.fail_after(10):
            async with watching(file, poll_s=NEVER_S):
                pass

    before = threading.enumerate()
    anyio.run(main, backend_options={"use_uvloop": uvloop})

    for thread in threading.enumerate():
        if thread not in before:
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize("kind", ["directory", "fifo", "missing", "nul", "loop", "large"])
def test_marks_of_anything_are_taken_without_waiting_or_raising(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "nul":
        path = tmp_path / "x\0y"
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "large":
        path.write_bytes(bytes(100_000))

    first = marks_of(tmp_path / "config.yaml", [path])

    assert first == marks_of(tmp_path / "config.yaml", [path])
    if kind == "large":
        os.utime(path, (1, 1))
        assert first != marks_of(tmp_path / "config.yaml", [path])
