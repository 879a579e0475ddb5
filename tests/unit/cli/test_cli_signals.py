"""Signals that come before a command has begun."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SIGNALLED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "mirrord.cli.main":
            os.kill(os.getpid(), signal.{name})

sys.meta_path.insert(0, Finder())
sys.argv = ["mirrord", "version"]
from mirrord.__main__ import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_signal_while_the_command_is_imported_ends_it_without_a_word(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED.format(name=number.name)], capture_output=True, check=False, timeout=30
    )

    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")
