"""pydantic's errors to problems that a person can place and mend."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mirrord.config.fields import suggest
from mirrord.config.registry_models import SECRET_FORMS, SecretSection
from mirrord.config.schema import json_schema, keys_below
from mirrord.config.tree import Table, describe, locate
from mirrord.errors import ConfigProblem, quote

Path = tuple[str | int, ...]

_LISTS = frozenset({"tuple_type", "list_type"})
_MAPPINGS = frozenset({"dict_type", "model_type", "model_attributes_type"})
_SECRET_KEYS = tuple(SecretSection.model_fields)
_QUOTED_KEY = 60


def problems_of(error: ValidationError, root: Table, file: str) -> Iterator[tuple[Path, ConfigProblem]]:
    """Yield each error with its path in the file."""
    for detail in error.errors(include_url=False):
        yield _translate(detail, root, file)


def problem_at(path: Path, message: str, code: str, root: Table, file: str) -> ConfigProblem:
    """Return a problem of the value that ``path`` leads to."""
    position, name = locate(root, path)
    return ConfigProblem(
        file=file, line=position.line, column=position.column, key=quote(name), message=message, code=code
    )


def _translate(detail: ErrorDetails, root: Table, file: str) -> tuple[Path, ConfigProblem]:
    path: Path = tuple(detail["loc"])
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "missing":
        path, key = path[:-1], path[-1]
        return path, problem_at(path, f'the key "{key}" is missing', "CONFIG_MISSING_KEY", root, file)
    if kind == "extra_forbidden":
        return path, _unknown_key(path, root, file)
    if kind in _LISTS:
        message = f"expected a list, got {describe(detail['input'])}; write [...], or one item a line after -"
        return path, problem_at(path, message, "CONFIG_TYPE", root, file)
    if kind in _MAPPINGS:
        message = f"expected a mapping, got {describe(detail['input'])}"
        return path, problem_at(path, message, "CONFIG_TYPE", root, file)
    # All that is left was raised by a reader as a fault.
    path += tuple(context.get("at", ()))
    return path, problem_at(path, str(context.get("message", detail["msg"])), kind, root, file)


def _unknown_key(path: Path, root: Table, file: str) -> ConfigProblem:
    known = keys_below(_schema(), path[:-1])
    if known == _SECRET_KEYS:
        # `password: {hunter2}` is a mapping with an unknown key, which must not be shown.
        message = f"a secret is exactly one of {SECRET_FORMS}"
        position, _ = locate(root, path)
        _, name = locate(root, path[:-1])
        return ConfigProblem(
            file=file, line=position.line, column=position.column, key=name, message=message, code="SECRET_INVALID"
        )
    message = f"unknown key{suggest(quote(str(path[-1]), _QUOTED_KEY), known)}"
    return problem_at(path, message, "CONFIG_UNKNOWN_KEY", root, file)


@cache
def _schema() -> dict[str, object]:
    return json_schema()
