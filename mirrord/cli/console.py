"""The rich console that results and bars are drawn with."""

from __future__ import annotations

from rich.console import Console


class PlainSpokenConsole(Console):
    """A console that leaves broken pipes to its caller.

    rich's own answer is to send stdout to nowhere and to exit: that would lose the report where only stderr is gone.
    """

    def on_broken_pipe(self) -> None:
        """Let the error that is being handled go on to the caller."""
        raise  # noqa: PLE0704 - rich calls this while it handles a BrokenPipeError
