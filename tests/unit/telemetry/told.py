"""Events of every kind, made by what their types say, and texts for all of their fields."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin

from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Repository, Tag
from mirrord.planning import memory, report, status
from mirrord.ports import events
from mirrord.ports.events import Event

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
EVENT_TYPES = get_args(Event)
NAMESPACE = {**vars(status), **vars(report), **vars(memory), **vars(events)}


def make_event(kind: type[Any], text: Callable[[str], str]) -> Any:
    """Return an event in which every text is ``text(name of the field)``."""
    return _make(kind, text, "")


def _make(kind: Any, text: Callable[[str], str], name: str) -> Any:  # noqa: PLR0911 - one case for each type
    if get_origin(kind) in (Union, types.UnionType):
        known = [option for option in get_args(kind) if option is not type(None)]
        return _make(known[0], text, name)
    if get_origin(kind) is tuple:
        parts = [part for part in get_args(kind) if part is not Ellipsis]
        return tuple(_make(part, text, name) for part in parts)
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        return {_make(key, text, name): _make(value, text, name)}
    if kind is LayoutDirectory or kind is Repository:
        return Repository("registry.example", "team/app")
    if kind is Tag:
        return Tag("1.0")
    if kind is Digest:
        return Digest.of(b"content")
    if kind is datetime:
        return MOMENT
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, NAMESPACE)
        fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
        return kind(**{field: _make(hint, text, field) for field, hint in fields.items()})
    plain = {str: text(name), int: 3, float: 1.5, bool: True}
    return plain[kind]
