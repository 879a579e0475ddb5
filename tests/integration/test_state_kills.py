"""A process that is killed while it remembers: the store opens, is sound, and has all that was said to be written."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mirrord.oci.digest import Digest
from tests.fakes.states import TARGET, Seen, opened

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

KILLS = 20
LIFE = """
import sys
from itertools import count
from pathlib import Path
import anyio
from mirrord.app import SystemClock
from mirrord.oci.digest import Digest
from mirrord.planning.memory import ImageState
from tests.fakes.states import SOURCE, TARGET, Seen, image, opened, run

async def main(directory, life):
    async with opened(Path(directory), clock=SystemClock()) as state:
        print("open", flush=True)
        for number in count():
            name = f"{life}-{number}"
            state.memory.keep_images("rule", SOURCE, [image(name), image("same", state=list(ImageState)[number % 7])])
            state.memory.keep_holder(TARGET, Digest.of(name.encode()), SystemClock().now())
            if number % 3 == 0:
                await state.memory.flush()
                print(number, flush=True)
            if number % 10 == 0:
                await state.history.save_run(run(life * 1_000_000 + number, changes=20), looked=True)
            if number % 100 == 99:
                await state.history.trim(SystemClock().now())

anyio.run(main, sys.argv[1], int(sys.argv[2]))
"""


def live_and_die(directory: Path, life: int, seconds: float) -> int:
    """Let a process remember for a while after it opened the store, and kill it; return what it said was written."""
    command = [sys.executable, "-c", LIFE, str(directory), str(life)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(seconds)  # the moment of a kill is what this is about
        process.kill()
        said = [line for line in process.stdout.read().split("\n")[:-1] if line.isdigit()]
    return int(said[-1]) if said else -1


def begin_and_die(directory: Path, seconds: float) -> None:
    """Let a process make a store, and kill it so long after the file appeared."""
    command = [sys.executable, "-c", LIFE, str(directory), "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as process:
        deadline = time.monotonic() + 30
        while not (directory / "state.db").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(seconds)
        process.kill()


@pytest.mark.covers("C43")
@pytest.mark.timeout(180)
async def test_store_survives_kills_at_any_moment_with_all_that_was_written(tmp_path: Path) -> None:
    chance = random.Random(7)
    file = tmp_path / "state.db"
    written: dict[str, int] = {}
    for life in range(KILLS):
        written[str(life)] = live_and_die(tmp_path, life, chance.uniform(0, 0.4))

        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            refs = {ref for (ref,) in connection.execute("SELECT ref FROM images")}
            blobs = {digest for (digest,) in connection.execute("SELECT digest FROM holders")}
        names = {f"{known}-{number}" for known, last in written.items() for number in range(last + 1)}
        assert names - refs == set()
        assert {str(Digest.of(name.encode())) for name in names} - blobs == set()

    seen = Seen()
    async with opened(tmp_path, events=seen) as state:
        assert (state.rebuilt, seen.events) == (False, [])
        assert len(await state.memory.holders(TARGET.host, [Digest.of(b"0-0")])) == 1
    assert sum(last > 0 for last in written.values()) > KILLS // 2


@pytest.mark.timeout(120)
async def test_first_start_survives_kills_at_any_moment(tmp_path: Path) -> None:
    """What is half made is not taken for the database of another program."""
    chance = random.Random(8)
    for life in range(10):
        directory = tmp_path / f"{life}"
        directory.mkdir()
        begin_and_die(directory, chance.uniform(0, 0.3))

        async with opened(directory) as state:
            await state.history.check()
