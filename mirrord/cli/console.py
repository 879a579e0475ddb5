"""The rich console that results and bars are drawn with."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

_HANG = 2
_NARROWEST = 20


class PlainSpokenConsole(Console):
    """A console that leaves broken pipes to its caller.

    rich's own answer is to send stdout to nowhere and to exit: that would lose the report where only stderr is gone.
    """

    def on_broken_pipe(self) -> None:
        """Let the error that is being handled go on to the caller."""
        raise  # noqa: PLE0704 - rich calls this while it handles a BrokenPipeError


def hang(line: Text, console: Console) -> Text:
    """Return a line broken between words where the terminal is too narrow, what follows indented a little further."""
    indent = len(line.plain) - len(line.plain.lstrip(" "))
    room = console.width - indent - _HANG
    if line.cell_len <= console.width or room < _NARROWEST:
        return line
    pieces = line[indent:].wrap(console, room)
    for piece in pieces:
        piece.rstrip()
    first = Text(" " * indent).append_text(pieces[0])
    rest = [Text(" " * (indent + _HANG)).append_text(piece) for piece in pieces[1:]]
    return Text("\n").join([first, *rest])
