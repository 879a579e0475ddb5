"""Carries out a page: saves its files, gives its commands, and compares what they print with what the page shows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.integration.docs.pageoutput import ELLIPSIS, difference
from tests.integration.docs.pagesteps import Command, Saved, steps
from tests.integration.docs.pageterminal import Done, Staying, Terminal, TerminalError

STAYING_S = 30.0
LOOK_AGAIN_S = 15.0
"""So long a reader looks again how a service stands that was just started."""
POLL_S = 0.3
HARMLESS = re.compile(
    r"""
    (?: (?: ~/mirrord/bin/ | \.venv/bin/ )? mirrord (?:\ (?!delete|/)(?:"[^"$`]*"|[^\s;&|`>"]+))+ (?:\ >\ [\w.]+)?
      | export(?:\ [A-Z_]+=[^\s;&|`>]+)+ (?:\ +\#.*)?
      | ~/mirrord/bin/pip\ install\ [\w.'\[\],-]+
      | python3\ -m\ venv\ ~/mirrord
      | make\ demo
      | \(umask\ 077;\ openssl\ rand\ -hex\ 32\ >\ token\)
      | curl\ [^;&|`>]*\ http://127\.0\.0\.1:8080/\S*
      | sed\ (?:-i\ )?'[^']*'\ [\w.]+ (?:\ >\ [\w.]+)?
      | echo\ \$\?
    )""",
    re.VERBOSE,
)
"""What is given for real: it stays in the reader's own directories. Commands for administrators do not."""

OpenTerminal = Callable[[], Terminal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a page is read.

    ``left_out`` are commands that are not given, and headings under which none is, with the reason; ``stays`` are
    commands that stay, each with the command before which Ctrl-C ends it, or None if it goes on to the end of the page;
    ``codes`` are exit codes that are not 0.
    """

    page: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    stays: Mapping[str, str | None] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)


class Walk:
    """A reader at work.

    Args:
        reading: what is said of the page.
        work_dir: where the reader is.
        open_terminal: opens a terminal more.
        after_each: done after each command.
        harmless: what commands are given.
        patience_s: so long the output of a command that stays may take to be what the page shows.
    """

    def __init__(
        self,
        reading: Reading,
        work_dir: Path,
        open_terminal: OpenTerminal,
        after_each: Callable[[], None] = lambda: None,
        *,
        harmless: re.Pattern[str] = HARMLESS,
        patience_s: float = STAYING_S,
    ) -> None:
        self.faults: list[str] = []
        self._reading = reading
        self._work_dir = work_dir
        self._open = open_terminal
        self._after_each = after_each
        self._harmless = harmless
        self._patience_s = patience_s
        self._stack = ExitStack()
        self._staying: dict[Command, tuple[Terminal, Staying]] = {}
        self._met: set[str] = set()
        self._for_all: list[str] = []
        self._free = self._new_terminal()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def carry_out(self, text: str) -> int:
        """Carry out a page, note faults, and return how many commands were given."""
        given = 0
        reading = self._reading
        for step in steps(text):
            if isinstance(step, Saved):
                (self._work_dir / step.name).write_text(step.content, encoding="utf-8")
                continue
            self._met |= {step.text, step.section}
            self._end_those_before(step.text)
            if self._reading.left_out.keys() & {step.text, step.section}:
                continue
            if not self._harmless.fullmatch(step.text):
                self._note(step, "was not given: it is not known to be harmless; leave it out, with the reason")
                continue
            given += 1
            try:
                self._give(step)
            except TerminalError as exc:
                self._note(step, f"{exc}; what follows was not read")
                break
        else:
            self._end_those_before(None)
            said = {*reading.left_out, *reading.stays, *reading.codes, *filter(None, reading.stays.values())}
            self.faults += [f"{reading.page} has no {text!r}" for text in sorted(said - self._met)]
        return given

    def _give(self, step: Command) -> None:
        if step.text in self._reading.stays:
            staying = self._free.start(step.text)
            self._staying[step] = (self._free, staying)
            self._free = self._new_terminal()
        else:
            self._compare(step)
            if step.text.startswith("export PATH="):
                self._for_all.append(step.text)
        self._after_each()

    def _compare(self, step: Command) -> None:
        """Run a command and compare; beside a service that runs, look again until it shows what the page does."""
        looks_again = bool(self._staying) and step.output is not None and not self.faults
        deadline = time.monotonic() + (LOOK_AGAIN_S if looks_again else 0)
        while True:
            done = self._free.run(step.text)
            fault = self._fault_of(step, done)
            if not fault or time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        if fault:
            self._note(step, fault)

    def _fault_of(self, step: Command, done: Done) -> str:
        wanted = self._reading.codes.get(step.text, 0)
        if done.code != wanted:
            return f"ended with {done.code}, not {wanted}\n{done.stderr}{done.stdout}"
        return "" if step.output is None else difference(step.output, *done.shown)

    def _end_those_before(self, command: str | None) -> None:
        """Give Ctrl-C to what stays until this command (None: until the end), once it has shown what the page does."""
        for step, (terminal, staying) in reversed(list(self._staying.items())):
            if command is not None and self._reading.stays[step.text] != command:
                continue
            del self._staying[step]
            shown = (*(step.output or ()), ELLIPSIS)
            deadline = time.monotonic() + self._patience_s
            while (fault := difference(shown, staying.text)) and terminal.stays and time.monotonic() < deadline:
                time.sleep(POLL_S)
            if not fault and not terminal.stays:
                fault = f"did not stay\n{staying.text}"
            if not fault and (code := terminal.interrupt()) != 130:
                fault = f"ended with {code} at Ctrl-C\n{staying.text}"
            if fault:
                self._note(step, fault)

    def _note(self, step: Command, fault: str) -> None:
        self.faults.append(f"{self._reading.page}:{step.line}: {step.text}\n{fault}")

    def _new_terminal(self) -> Terminal:
        """Open a terminal, and set PATH there as the page did in the first one: it says so."""
        terminal = self._stack.enter_context(self._open())
        for command in self._for_all:
            terminal.run(command)
        return terminal
