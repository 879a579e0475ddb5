"""``${NAME}`` in a scalar: replaced after parsing, so that no value can change the structure of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mirrord.config.faults import fault
from mirrord.errors import quote

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_FORMS = "${NAME}, ${NAME:-default} or ${NAME:?message}; write $$ for a dollar"
_SPECIAL = re.compile(r"\$\$|\$\(|\$\{(?P<body>[^{}]*)(?P<end>[{}]?)")
_BODY = re.compile(rf"(?P<name>{NAME})(?::(?P<operator>[-?])(?P<argument>.*))?", re.DOTALL)


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """Return ``text`` with its variables replaced and ``$$`` as a dollar.

    A dollar before anything but ``{``, ``(`` and ``$`` is itself, so that ``/^v1$/`` needs no care. As in a shell,
    the default of ``${NAME:-default}`` and the message of ``${NAME:?message}`` stand for a variable that is not set
    or empty; ``${NAME}`` may be empty, but must be set. Nothing is ever run.

    Raises:
        PydanticCustomError: a variable is not set (ENV_UNSET), or this is none of the forms (INTERPOLATION_INVALID).
    """
    if "$" not in text:
        return text
    return _SPECIAL.sub(lambda match: _replacement(match, environment), text)


def escape(text: str) -> str:
    """Return the text that `interpolate` turns into ``text``, whatever the environment."""
    return re.sub(r"\$(?=[${(])", "$$", text)


def _replacement(match: re.Match[str], environment: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    if match[0] == "$(":
        raise fault(
            "INTERPOLATION_INVALID",
            "$( would run a command in a shell, which mirrord never does; for the text itself write $$(",
        )
    body = _BODY.fullmatch(match["body"])
    if match["end"] != "}" or body is None:
        raise fault("INTERPOLATION_INVALID", f'"{quote(match[0], 60)}" is no variable; expected {_FORMS}')
    name, operator, argument = body["name"], body["operator"], body["argument"]
    value = environment.get(name)
    if value or (operator is None and value is not None):
        return value
    if operator == "-":
        return str(argument)
    said = f": {quote(argument)}" if argument else ""
    state = "empty" if value is not None else "not set"
    raise fault("ENV_UNSET", f"the environment variable {name} is {state}{said}")
