"""The end of the process: threads that cannot be cancelled do not hold it up."""

from __future__ import annotations

import subprocess
import sys
import time

BEGIN = """
import sys, threading, time
threading.Thread(target=time.sleep, args=(SECONDS,)).start()
sys.argv = ["mirrord", *ARGUMENTS]
from mirrord.__main__ import main
main()
"""


def run(seconds: float, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    text = BEGIN.replace("SECONDS", str(seconds)).replace("ARGUMENTS", repr(arguments))
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60)
    return done, time.monotonic() - began


def test_thread_that_asks_a_dead_network_does_not_hold_up_the_end() -> None:
    """The SDKs of clouds are asked in threads; one may wait for its answer for minutes after an interruption."""
    done, seconds = run(30, "version")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mirrord ")
    assert seconds < 15


def test_exit_code_stays_what_it_is_where_a_thread_is_left_behind() -> None:
    done, _ = run(30, "sync")

    assert done.returncode == 2
    assert "CONFIG_MISSING" in done.stderr or "USAGE" in done.stderr
