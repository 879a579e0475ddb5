"""One process at a time has the state store open; the system takes the lock back when that one dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mirrord.errors import StateError, quote

_MADE = b"made\n"
_LONGEST = 200


class StateLock:
    """Holds ``FILE.lock`` while the context lasts; the file says who holds it, and since when.

    ``was_used`` is whether some process had the store before this one.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        """Lock the store at ``path`` from ``now`` on."""
        self._file = path.with_name(f"{path.name}.lock")
        self._path = path
        self._now = now
        self._descriptor = -1
        self.was_used = False

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            StateError: another process has it (STATE_LOCKED), or the file cannot be made.
        """
        try:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.was_used = _MADE in os.pread(self._descriptor, _LONGEST, 0)
            self._write()
        except BlockingIOError:
            holder = os.pread(self._descriptor, _LONGEST, 0).decode("utf-8", "replace").partition("\n")[0]
            self._close()
            raise self._taken(holder) from None
        except OSError as exc:
            self._close()
            raise StateError(
                f'the state store cannot be locked: "{quote(str(self._file))}": {exc.strerror}',
                remedy="let this user write the file, or name another store: MIRRORD_STATE=sqlite:///PATH",
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays: whoever waits for it by name would otherwise lock one that is gone.
        self._close()

    def sign(self) -> None:
        """Take note that there is a store from now on: where it is gone at the next start, something was lost."""
        self.was_used = True
        with contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        text = f"{os.getpid()} {self._now.isoformat(timespec='seconds')}\n".encode() + (_MADE if self.was_used else b"")
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _taken(self, holder: str) -> StateError:
        pid, _, since = holder.strip().partition(" ")
        who = f"process {pid}" if pid.isdigit() else "another process"
        age = ""
        with contextlib.suppress(ValueError):
            seconds = int((self._now - datetime.fromisoformat(since).astimezone(UTC)).total_seconds())
            age = f", which has had it for {_span(max(0, seconds))}"
        return StateError(
            f'the state store "{quote(str(self._path))}" is in use by {who}{age}',
            code="STATE_LOCKED",
            remedy="end that process, or give this one a state of its own with MIRRORD_STATE",
        )


def _span(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
