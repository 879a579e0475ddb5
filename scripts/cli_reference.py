"""Print the reference of the command line, made from the commands: `make docs` writes it to docs/reference."""

# ruff: noqa: INP001 - a script, part of no package

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer.main

from mirrord.cli.main import make_app

HEAD = """\
# Command line

<!-- Made by scripts/cli_reference.py from the commands themselves: `make docs` writes it anew. A test compares. -->

`mirrord [OPTIONS] COMMAND [ARGUMENTS]`. Every command has `--help`. Results go to stdout, all else to stderr; formats
and exit codes are described in [output](output.md).

References are `[host[:port]/]path[:tag][@digest]`; without a host they mean Docker Hub. An OCI image layout is
`oci:DIRECTORY[:tag]`.

The variables of the environment that commands read: [environment](environment.md).

"""


def reference_text() -> str:
    """Return the page."""
    root = typer.main.get_command(make_app())
    lines = ["## Options before the command", "", *_options(root)]
    for words, command in _commands(root, ("mirrord",)):
        lines += ["", f"## `{' '.join(words)}`", "", _paragraphs(command.help), "", f"`{_usage(words, command)}`"]
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        if arguments:
            lines += ["", "| argument | |", "| --- | --- |"]
            lines += [f"| `{_name(argument)}` | {_cell(argument.help)} |" for argument in arguments]
        lines += ["", *_options(command)]
    return HEAD + "\n".join(lines) + "\n"


# The parser's classes are private to typer: `Any` stands for its commands and parameters.
def _commands(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _usage(words: tuple[str, ...], command: Any) -> str:
    arguments = [_name(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
    return " ".join((*words, "[OPTIONS]", *arguments))


def _options(command: Any) -> list[str]:
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    if not options:
        return ["It has no options."]
    rows = []
    for option in options:
        names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
        text = _cell(option.help)
        if option.envvar:
            text += f" Or `{option.envvar}`."
        rows.append(f"| {names} | {_value(option)} | {text} |")
    return ["| option | value | |", "| --- | --- | --- |", *rows]


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    default = option.default
    if isinstance(default, Enum):
        return f"{', '.join(f'`{choice.value}`' for choice in type(default))}; default `{default.value}`"
    return f"`{_name(option)}`" if default is None else f"`{_name(option)}`; default `{default}`"


def _name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference_text())
