"""A terminal in which commands of a page are given word for word: a bash that keeps what was exported."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

ROWS, COLUMNS = 50, 240
COMMAND_S = 50.0
END_S = 15.0
BASH = ("bash", "--noprofile", "--norc")


class TerminalError(Exception):
    """A command did not end in time, or its shell did."""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def shown(self) -> tuple[str, str]:
        """What a page may show of it: the standard output alone, or all, with what went on before the result."""
        return self.stdout, self.stderr + self.stdout


class Staying:
    """A command that stays, with a terminal of its own to write to; ``text`` is what it wrote so far."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._chunks: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return b"".join(self._chunks).decode("utf-8", "replace")

    def close(self) -> None:
        self._reader.join(END_S)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # the last who had the other side open is gone
                return
            if not chunk:
                return
            self._chunks.append(chunk)


class Terminal:
    """A bash that runs one command after the other.

    Args:
        work_dir: where commands run at first, and for what they print.
        env: the whole environment.
        prefix: put before bash, to have it run elsewhere.
    """

    def __init__(self, work_dir: Path, *, env: Mapping[str, str], prefix: Sequence[str] = ()) -> None:
        self._stdout = work_dir / ".stdout"
        self._stderr = work_dir / ".stderr"
        self._codes, codes = os.pipe()
        self._shell = subprocess.Popen(
            [*prefix, *BASH],
            stdin=subprocess.PIPE,
            env={**env, "CODES": str(codes)},
            cwd=work_dir,
            pass_fds=[codes],
            start_new_session=True,
        )
        os.close(codes)
        self.staying: Staying | None = None
        # Ctrl-C is for the command, not for its shell.
        self._say("trap : INT; codes=$CODES; unset CODES")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait(END_S)
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        if self.staying is not None:
            self.staying.close()
        os.close(self._codes)

    def run(self, command: str, timeout_s: float = COMMAND_S) -> Done:
        """Run a command to its end.

        Raises:
            TerminalError: it did not end within `timeout_s`.
        """
        self._give(command, f">{self._stdout} 2>{self._stderr}")
        code = self._code(command, timeout_s)
        return Done(code, self._stdout.read_text("utf-8"), self._stderr.read_text("utf-8"))

    def start(self, command: str) -> Staying:
        """Start a command that stays, and writes to a terminal."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.staying = Staying(master)
        self._give(command, f">{os.ttyname(slave)} 2>&1")
        # The shell has it open by the time that something was written, or that the command has ended.
        deadline = time.monotonic() + END_S
        while not self.staying.text and not self._has_code() and time.monotonic() < deadline:
            select.select([self._codes], [], [], 0.02)
        os.close(slave)
        return self.staying

    @property
    def stays(self) -> bool:
        """Whether a command that was started goes on."""
        return self.staying is not None and not self._has_code()

    def interrupt(self) -> int:
        """Give Ctrl-C to the command that stays, and return its exit status."""
        assert self.staying is not None
        os.killpg(self._shell.pid, signal.SIGINT)
        code = self._code("Ctrl-C", END_S)
        self.staying.close()
        self.staying = None
        return code

    def _give(self, command: str, redirection: str) -> None:
        self._say(f"(exit ${{code:-0}})\n{{ {command}\n}} {redirection} </dev/null\ncode=$?; echo $code >&$codes")

    def _say(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{text}\n".encode())
        self._shell.stdin.flush()

    def _has_code(self, timeout_s: float = 0) -> bool:
        return bool(select.select([self._codes], [], [], timeout_s)[0])

    def _code(self, command: str, timeout_s: float) -> int:
        if not self._has_code(timeout_s):
            raise TerminalError(f"did not end within {timeout_s:g} s: {command}")
        written = os.read(self._codes, 64).decode()
        if not written:
            raise TerminalError(f"ended its shell: {command}")
        return int(written)
