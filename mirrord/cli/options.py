"""Options that several commands have, declared once so that they mean the same everywhere.

A command uses them as the types of its parameters, the default standing in its signature::

    def tags(repository: str, config: ConfigOption = None, output: OutputOption = OutputFormat.TEXT) -> int | None:
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """How a result is written to stdout."""

    TEXT = "text"
    JSON = "json"


class RunOutput(StrEnum):
    """How a run is written to stdout; NDJSON tells of each image as soon as it is settled."""

    TEXT = "text"
    JSON = "json"
    NDJSON = "ndjson"


class Colour(StrEnum):
    """When colours are used; AUTO: on a terminal, unless NO_COLOR or TERM=dumb say otherwise."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


ConfigOption = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", envvar="MIRRORD_CONFIG", help="The configuration file; - is stdin."),
]
RulesOption = Annotated[
    list[str] | None,
    typer.Option("--rule", metavar="NAME", help="Only this rule; may be given several times.", show_default=False),
]
OutputOption = Annotated[OutputFormat, typer.Option("--output", "-o", help="How the result is written.")]
RunOutputOption = Annotated[RunOutput, typer.Option("--output", "-o", help="How the result is written.")]
ColourOption = Annotated[Colour, typer.Option("--color", help="When colours are used.")]
NoProgressOption = Annotated[bool, typer.Option("--no-progress", help="Show nothing on stderr while it goes on.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Tell more: notes, and tracebacks.")]
