"""The command line: which commands there are, and how they end.

Adding a command: write its function in a module of its own here, with heavy imports inside the function, and add one
line to `make_app`. A command returns its exit code (None: 0) or raises a `MirrordError`; `run` does the rest.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from typer._completion_classes import completion_init
from typer.completion import install_callback, show_callback
from typer.core import TyperGroup, TyperOption
from typer.exceptions import TyperException

from mirrord import __version__
from mirrord.cli.auth import auth
from mirrord.cli.config import config
from mirrord.cli.copy import copy
from mirrord.cli.delete import delete
from mirrord.cli.demo import demo
from mirrord.cli.failures import (
    InterruptedRunError,
    as_error,
    as_json,
    complain,
    exit_code_of,
    explain,
    show_traceback,
    unwrap,
)
from mirrord.cli.github import annotate_error
from mirrord.cli.healthcheck import healthcheck
from mirrord.cli.inspect import inspect
from mirrord.cli.output import Output, OutputFailedError
from mirrord.cli.plan import plan
from mirrord.cli.repositories import repositories
from mirrord.cli.status import status
from mirrord.cli.sync import sync
from mirrord.cli.tags import tags
from mirrord.cli.usage import check_arguments, json_format, usage_error, wants_detail, wants_traceback
from mirrord.cli.version import version
from mirrord.errors import MirrordError
from mirrord.planning.report import EXIT_FAILED, EXIT_REFUSED, EXIT_STARTUP, EXIT_USAGE

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

MIRROR = "Mirror"
LOOK = "Look around"
CHANGE = "Single images"
SETUP = "Set up"


_UNWRITABLE = frozenset({errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT})


class Commands(TyperGroup):
    """Lists commands in sections, in the order in which they were added."""

    def get_help_option(self, ctx: Context) -> TyperOption | None:
        """Return the option ``--help``, with a default that typer takes without loading pydantic."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the list of commands into the help."""
        del ctx
        sections: dict[str, list[tuple[str, str]]] = {}
        width = formatter.width - 6 - max(map(len, self.commands), default=0)
        for name, command in self.commands.items():
            if not command.hidden:
                section = str(getattr(command, "rich_help_panel", None) or "Commands")
                sections.setdefault(section, []).append((name, command.get_short_help_str(width)))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


def make_app() -> typer.Typer:
    """Return the command line. Nothing heavy is imported by it."""
    app = typer.Typer(
        name="mirrord",
        cls=Commands,
        help="Mirrors container images between registries: verified, planned, observable.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,  # typer's own options have values that it needs pydantic to read
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )
    completion_init()
    app.callback()(_options)
    # Short texts fit a terminal of 80 columns; by themselves they would be cut in the middle of the first sentence.
    app.command("sync", rich_help_panel=MIRROR, short_help="Mirror what the rules say: as a service, or once.")(sync)
    app.command("plan", rich_help_panel=MIRROR)(plan)
    app.command("status", rich_help_panel=MIRROR, short_help="Show how the running service stands.")(status)
    app.command("tags", rich_help_panel=LOOK)(tags)
    app.command("repositories", rich_help_panel=LOOK)(repositories)
    app.command("inspect", rich_help_panel=LOOK)(inspect)
    app.command("copy", rich_help_panel=CHANGE)(copy)
    app.command("delete", rich_help_panel=CHANGE)(delete)
    app.add_typer(config, name="config", cls=Commands, rich_help_panel=SETUP)
    app.add_typer(auth, name="auth", cls=Commands, rich_help_panel=SETUP)
    app.command("demo", rich_help_panel=SETUP, short_help="Show mirrord at work, offline.")(demo)
    app.command("healthcheck", rich_help_panel=SETUP, short_help="Say by the exit code if the service is well.")(
        healthcheck
    )
    app.command("version", rich_help_panel=SETUP)(version)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; never raises for what a command does.

    Args:
        arguments: the command's name and its arguments.
    """
    _prepare_streams()
    try:
        check_arguments(arguments)
        return _invoke(arguments)
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - the outermost boundary: everything becomes a code
        return _fail(unwrap(exc), arguments)
    finally:
        _settle_streams()


def _invoke(arguments: Sequence[str]) -> int:
    command = typer.main.get_command(make_app())
    try:
        result = command.main(list(arguments) or ["--help"], prog_name="mirrord", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as exc:
        raise usage_error(exc) from exc
    except OSError as exc:
        if exc.errno not in _UNWRITABLE:
            raise
        raise OutputFailedError(f"the result could not be written to stdout: {exc.strerror}") from exc
    if not arguments:
        return EXIT_USAGE
    return result if isinstance(result, int) else 0


def _fail(error: BaseException, arguments: Sequence[str]) -> int:
    """Tell of an exception on stderr, and in JSON on stdout where JSON was asked for; return the exit code."""
    shown, code = as_error(error), exit_code_of(error)
    if wants_detail(arguments) and code in {EXIT_USAGE, EXIT_STARTUP, EXIT_REFUSED}:
        code = EXIT_FAILED
    if not isinstance(error, InterruptedRunError | KeyboardInterrupt):
        complain(explain(shown))
        annotate_error(shown, os.environ)
        if wants_traceback(arguments, os.environ):
            show_traceback(error)
    wanted = json_format(arguments)
    try:
        if wanted == "ndjson":
            Output().json_line({"type": "error", "error": as_json(shown), "exit_code": code})
        elif wanted == "json":
            Output().json({"error": as_json(shown), "exit_code": code})
    except MirrordError:
        return code  # stdout takes nothing; stderr has said it
    return code


def _prepare_streams() -> None:
    """See that the standard streams exist and never fail for a character that their encoding lacks."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Otherwise the next file or socket would be taken for stdout by whoever writes there.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _settle_streams() -> None:
    """Let what cannot be written go nowhere: Python's own flush at exit would turn it into the exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def _show_version(wanted: bool) -> None:
    if wanted:
        Output().raw(f"mirrord {__version__}\n")
        raise typer.Exit


def _install_completion(ctx: typer.Context, param: typer.CallbackParam, wanted: bool) -> None:
    install_callback(ctx, param, wanted)


def _show_completion(ctx: typer.Context, param: typer.CallbackParam, wanted: bool) -> None:
    show_callback(ctx, param, wanted)


def _options(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
    ),
    install_completion: bool = typer.Option(
        False, "--install-completion", help="Install completion for this shell.", callback=_install_completion
    ),
    show_completion: bool = typer.Option(
        False, "--show-completion", help="Show the completion script for this shell.", callback=_show_completion
    ),
) -> None:
    """Options before the command."""
    del version, install_completion, show_completion
