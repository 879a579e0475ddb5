"""A page of the documentation as what its reader does: files that are saved and commands that are given, in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6} .+)$", re.MULTILINE)
FILE_NAME = re.compile(r"`([\w.-]+\.yaml)`")
PROMPT = "$ "


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that the page has its reader save."""

    line: int
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the page gives, word for word.

    ``output`` is what the page shows below it; None where it shows nothing. ``section`` is the heading above it.
    """

    line: int
    text: str
    output: tuple[str, ...] | None = None
    section: str = ""


def steps(page: str) -> Iterator[Saved | Command]:
    """Yield what a reader of a page in Markdown does.

    Commands stand in fences of ``sh``, without output, and of ``console``, after a prompt and before their output. A
    fence of ``yaml`` is saved if the paragraph before it names one file in code.
    """
    for fence in FENCE.finditer(page):
        language, content = fence.groups()
        first = page.count("\n", 0, fence.start()) + 2
        if language == "yaml":
            names = set(FILE_NAME.findall(page[: fence.start()].rstrip().rpartition("\n\n")[2]))
            if len(names) == 1:
                yield Saved(first, names.pop(), content)
        elif language in ("sh", "console"):
            found = _script if language == "sh" else _dialogue
            section = _heading_above(page, fence.start())
            yield from (replace(command, section=section) for command in found(content.splitlines(), first))


def _heading_above(page: str, position: int) -> str:
    """Return the last heading before a position; what stands in fences, such as remarks of a shell, is none."""
    headings: list[str] = HEADING.findall(FENCE.sub("", page[:position]))
    return headings[-1] if headings else ""


def _script(lines: list[str], first: int) -> Iterator[Command]:
    at = 0
    while at < len(lines):
        end = _end_of_command(lines, at)
        text = "\n".join(lines[at:end])
        if text.strip() and not text.lstrip().startswith("#"):
            yield Command(first + at, text)
        at = end


def _dialogue(lines: list[str], first: int) -> Iterator[Command]:
    if not lines or not lines[0].startswith(PROMPT):
        raise ValueError(f"line {first}: a fence of console begins with `{PROMPT}` and a command")
    at = 0
    while at < len(lines):
        given = [lines[at].removeprefix(PROMPT), *lines[at + 1 :]]
        end = at + _end_of_command(given, 0)
        shown = end
        while shown < len(lines) and not lines[shown].startswith(PROMPT):
            shown += 1
        yield Command(first + at, "\n".join(given[: end - at]), tuple(lines[end:shown]) or None)
        at = shown


def _end_of_command(lines: list[str], start: int) -> int:
    """Return the line after a command: one with open quotes, or a backslash at its end, goes on."""
    for end in range(start + 1, len(lines) + 1):
        text = "\n".join(lines[start:end])
        try:
            shlex.split(text, comments=True)
        except ValueError:
            continue
        if not text.endswith("\\"):
            return end
    raise ValueError(f"a command does not end: {lines[start]}")
