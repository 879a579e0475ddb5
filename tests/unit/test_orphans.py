"""Process 1 of a container takes note of the end of what others left behind, and of nothing that has an owner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mirrord.app.orphans import reaper_for

SCRIPT = """
import ctypes, subprocess, sys, time
from mirrord.app.orphans import Reaper

ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: inherits orphans, as process 1 does
leave = "import subprocess; print(subprocess.Popen(['true']).pid, flush=True)"

def left_behind():
    done = subprocess.run([sys.executable, "-c", leave], capture_output=True, text=True, check=True)
    return int(done.stdout)

def is_zombie(pid):
    try:
        return open(f"/proc/{pid}/stat").read().split()[2] == "Z"
    except FileNotFoundError:
        return False

orphans = [left_behind() for _ in range(3)]
owned = subprocess.Popen(["true"])
deadline = time.monotonic() + 20
while not all(map(is_zombie, orphans + [owned.pid])) and time.monotonic() < deadline:
    time.sleep(0.01)
reaper = Reaper()
first = reaper.look()
for _ in range(8):
    reaper.look()
    if owned.returncode is None and not is_zombie(orphans[0]):
        owned.wait()
print(first, [is_zombie(pid) for pid in orphans])
"""


def test_orphans_are_taken_note_of_at_the_second_look() -> None:
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(Path.cwd())}

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=False, timeout=50
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split(None, 1) == ["0", "[False, False, False]\n"]


def test_only_process_one_looks_for_orphans() -> None:
    assert reaper_for(os.getpid()) is None
    assert reaper_for(1) is not None
