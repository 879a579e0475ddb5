"""Writes lines from a thread of its own: a stream that is full, closed or slow never holds up the service."""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Final, TextIO

MOST_WAITING: Final = 5_000
"""Lines that wait to be written; more are dropped and counted."""

PATIENCE_S: Final = 2.0
"""How long a full stream that does not block is waited for before its line is dropped."""


class LineWriter:
    """Takes lines from any thread, and never blocks nor raises."""

    def __init__(self, stream: TextIO, *, dropped_line: Callable[[int], str], most_waiting: int = MOST_WAITING) -> None:
        """Write nothing yet.

        Args:
            stream: where lines go; it stays the caller's, and is not closed.
            dropped_line: returns the line that tells how many were dropped, once lines can be written again.
            most_waiting: lines that may wait.
        """
        self.dropped = 0
        self._stream = stream
        self._dropped_line = dropped_line
        self._told = 0
        self._torn = False
        self._lock = threading.Lock()
        self._waiting: queue.Queue[str | threading.Event | None] = queue.Queue(most_waiting)
        self._thread: threading.Thread | None = None
        self._closed = False

    def write(self, line: str) -> None:
        """Take a line, without its end."""
        if self._closed:
            self._drop()
            return
        if self._thread is None:
            self._start()
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._drop()

    def flush(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until all lines so far are written or dropped; say whether they were in time."""
        if self._thread is None:
            return True
        done = threading.Event()
        try:
            self._waiting.put(done, timeout=timeout_s)
        except queue.Full:
            return False
        return done.wait(timeout_s)

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Write what waits, as far as the stream takes it in time, and take no more lines."""
        in_time = self.flush(timeout_s)
        self._closed = True
        if self._thread is not None and in_time:
            self._waiting.put(None)
            self._thread.join(timeout_s)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="log", daemon=True)
                self._thread.start()

    def _drop(self) -> None:
        with self._lock:
            self.dropped += 1

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._put(item)

    def _put(self, line: str) -> None:
        try:
            if self.dropped > self._told:
                count = self.dropped - self._told
                self._send(self._dropped_line(count))
                self._told += count
            self._send(line)
        except Exception:  # noqa: BLE001 - a line that cannot be written is lost, and nothing else
            self._drop()

    def _send(self, line: str) -> None:
        """Write one line, past the stream's buffers where it is a file: those keep a lock that outlives the process."""
        data = f"\n{line}\n" if self._torn else f"{line}\n"
        descriptor = self._descriptor()
        if descriptor is None:
            self._stream.write(data)
            self._stream.flush()
            return
        left = memoryview(data.encode("utf-8", "backslashreplace"))
        size = len(left)
        try:
            while left:
                left = left[_write(descriptor, left) :]
        finally:
            self._torn = 0 < len(left) < size or (self._torn and len(left) == size)

    def _descriptor(self) -> int | None:
        if self._stream.closed:
            raise ValueError("the stream is closed")
        try:
            return self._stream.fileno()
        except (OSError, AttributeError):
            return None


def _write(descriptor: int, data: memoryview) -> int:
    """Write a part of data; a full stream that does not block is waited for, for a while."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(PATIENCE_S * 1000):
            raise
        return os.write(descriptor, data)
