"""What can be told of a command line before, and although, it cannot be parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typer.exceptions import TyperException

from mirrord.errors import UsageError, quote

LONGEST_ARGUMENT = 64 * 1024
_SECRET_WORDS = ("password", "passwd", "token", "creds", "secret")


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments that no command can take.

    Raises:
        UsageError: one is not UTF-8, has a NUL character, or is longer than 64 KiB.
    """
    for number, argument in enumerate(arguments, start=1):
        if len(argument) > LONGEST_ARGUMENT:
            fault = f"is longer than {LONGEST_ARGUMENT:,} characters"
        elif "\x00" in argument:
            fault = "has a NUL character"
        elif not _is_text(argument):
            fault = "is not UTF-8"
        else:
            continue
        raise UsageError(f"argument {number} {fault}", code="ARGUMENT_INVALID")


def usage_error(error: TyperException) -> UsageError:
    """Return what the parser of the command line says as an error of ours."""
    context = getattr(error, "ctx", None)
    message = error.format_message().strip().rstrip(".")
    if message.startswith("Usage:"):
        message = "Missing command"  # typer would answer a group without a command with its help
    remedy = f"see {context.command_path} --help" if context is not None else ""
    option = str(getattr(error, "option_name", ""))
    if any(word in option.lower() for word in _SECRET_WORDS):
        remedy = (
            "secrets are not taken from the command line, where every user of the machine can read them: name an"
            " environment variable, a file or a command in the registry's entry of the configuration file,"
            " or log in with docker or podman"
        )
    elif option and not getattr(error, "possibilities", None):
        remedy = f'put "--" before an argument that begins with "-"; {remedy}'
    return UsageError(quote(" ".join(message.split()), 2000), remedy=remedy)


def json_format(arguments: Sequence[str]) -> str | None:
    """Return "json" or "ndjson" if the result was asked for as that, else None."""
    wanted = None
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        name, _, value = argument.partition("=")
        if name in {"--output", "-o"}:
            wanted = value or (arguments[index + 1] if index + 1 < len(arguments) else "")
        elif argument.startswith("-o") and not argument.startswith("--"):
            wanted = argument.removeprefix("-o")
    return wanted if wanted in {"json", "ndjson"} else None


def wants_detail(arguments: Sequence[str]) -> bool:
    """Say whether 2 means "changes" to whoever called: then it must not mean anything else."""
    return "--detailed-exitcode" in arguments


def wants_traceback(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Say whether the reader wants to know where an error came from."""
    debug = environment.get("MIRRORD_LOG_LEVEL", "").lower() == "debug"
    return debug or "--verbose" in arguments or "-v" in arguments


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
