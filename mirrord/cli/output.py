"""Writes results to stdout: text with or without colours, or JSON with a schema version.

Text that is not ours never meets a markup language: what looks like markup is printed as it stands.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING

from mirrord.cli.options import Colour
from mirrord.errors import MirrordError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SCHEMA_VERSION = 1
"""Of all JSON results. It grows when a key goes away or changes its meaning; new keys do not count."""

NARROWEST = 20
"""Columns that tables and bars are laid out for at least: a terminal may claim to have one."""


class OutputFailedError(MirrordError):
    """The result could not be written to stdout: the device is full, for instance. Exit code 1."""

    default_code = "OUTPUT_FAILED"


class Output:
    """Where a command writes its result. A reader that went away is no error; a device that is full is one."""

    def __init__(self, stream: IO[str] | None = None, *, colour: Colour = Colour.AUTO) -> None:
        """Write to ``stream``; None: stdout."""
        self._stream = stream if stream is not None else sys.stdout
        self._colour = colour
        self._open = True

    def text(self, *lines: RenderableType) -> None:
        """Write lines or tables for people. A plain ``str`` is printed as it stands, brackets included."""
        self._guarded(lambda: self._stream.write(self._render(lines)))

    def json(self, result: Mapping[str, object]) -> None:
        """Write one JSON object, indented, with ``schema_version`` as its first key."""
        self._write(json_text(result))

    def json_line(self, result: Mapping[str, object]) -> None:
        """Write one JSON object on a line of its own, with ``schema_version`` as its first key."""
        self._write(json.dumps({"schema_version": SCHEMA_VERSION, **result}, separators=(",", ":")) + "\n")

    def raw(self, text: str) -> None:
        """Write text that is a result in itself, such as a schema."""
        self._write(text)

    def binary(self, content: bytes) -> None:
        """Write bytes that are a result in themselves, such as a manifest, unchanged."""
        buffer = getattr(self._stream, "buffer", None)
        if buffer is None:  # a stream of text alone
            self._write(content.decode("utf-8", "replace"))
        else:
            self._guarded(lambda: buffer.write(content))

    def _render(self, lines: Sequence[RenderableType]) -> str:
        from rich.text import Text

        from mirrord.cli.console import hang

        console = make_console(self._stream, self._colour)
        with console.capture() as capture:
            for line in lines:
                fitted = hang(line, console) if isinstance(line, Text) and console.is_terminal else line
                console.print(fitted, soft_wrap=True)
        return capture.get()

    def _write(self, text: str) -> None:
        self._guarded(lambda: self._stream.write(text))

    def _guarded(self, write: Callable[[], object]) -> None:
        if not self._open:
            return
        try:
            write()
            self._stream.flush()
        except BrokenPipeError:
            self._close()
        except OSError as exc:
            self._close()
            raise OutputFailedError(f"the result could not be written to stdout: {exc.strerror}") from exc

    def _close(self) -> None:
        """Write nothing any more, and let the interpreter's own flush at exit go nowhere."""
        self._open = False
        if self._stream is sys.stdout:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


def json_text(result: Mapping[str, object]) -> str:
    """Return one JSON object, indented, with ``schema_version`` as its first key."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **result}, indent=2) + "\n"


def make_console(stream: IO[str], colour: Colour, environment: Mapping[str, str] | None = None) -> Console:
    """Return a console without markup, emoji codes or highlighting, with the colours that were asked for."""
    from mirrord.cli.console import PlainSpokenConsole

    environment = os.environ if environment is None else environment
    wanted = colour is Colour.ALWAYS or (colour is Colour.AUTO and bool(environment.get("FORCE_COLOR")))
    refused = colour is Colour.NEVER or (colour is Colour.AUTO and bool(environment.get("NO_COLOR")))
    console = PlainSpokenConsole(
        file=stream,
        color_system=None if refused else "standard" if wanted else "auto",
        force_terminal=True if wanted else None,
        no_color=False if wanted else None,
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.width = max(console.width, NARROWEST)
    return console
