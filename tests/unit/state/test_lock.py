"""One process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mirrord.errors import StateError
from mirrord.state.lock import StateLock
from tests.fakes.clock import START, FakeClock
from tests.fakes.states import opened

HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from mirrord.state.lock import StateLock
with StateLock(Path(sys.argv[1]), datetime(2026, 1, 1, tzinfo=UTC)):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.anyio
@pytest.mark.covers("E117", "D54")
async def test_second_opening_is_refused_with_the_holder_and_its_age(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock=clock):
        clock.advance(3 * 3600)

        with pytest.raises(StateError) as caught:
            async with opened(tmp_path, clock=clock):
                pytest.fail("it was opened twice")

    assert caught.value.code == "STATE_LOCKED"
    assert f"in use by process {os.getpid()}, which has had it for 3 h" in caught.value.message
    assert f'"{tmp_path}/state.db"' in caught.value.message
    async with opened(tmp_path):
        pass


@pytest.mark.covers("D54")
def test_lock_of_a_process_that_is_killed_is_free(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError, match=f"in use by process {holder.pid}, which has had it for 2 d"):
            StateLock(file, START + timedelta(days=2, hours=5)).__enter__()

        holder.send_signal(signal.SIGKILL)
        holder.wait()

    with StateLock(file, START):
        assert (tmp_path / "state.db.lock").read_text().startswith(f"{os.getpid()} ")


def test_lock_held_from_the_future_has_no_negative_age(tmp_path: Path) -> None:
    with (
        StateLock(tmp_path / "state.db", START + timedelta(days=1)),
        pytest.raises(StateError, match="which has had it for 0 s"),
    ):
        StateLock(tmp_path / "state.db", START).__enter__()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"garbage without sense"])
def test_lock_whose_file_says_nothing_is_held_all_the_same(tmp_path: Path, content: bytes) -> None:
    with StateLock(tmp_path / "state.db", START):
        (tmp_path / "state.db.lock").write_bytes(content)

        with pytest.raises(StateError, match=r"in use by another process(;|$)") as caught:
            StateLock(tmp_path / "state.db", START).__enter__()

    assert caught.value.code == "STATE_LOCKED"


def test_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("content")
    (tmp_path / "state.db.lock").symlink_to(tmp_path / "precious")

    with pytest.raises(StateError, match="cannot be locked"):
        StateLock(tmp_path / "state.db", START).__enter__()

    assert (tmp_path / "precious").read_text() == "content"
