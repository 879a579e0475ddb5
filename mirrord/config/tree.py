"""What a YAML file says, as values that know their place: scalars, tables and items."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

EXTENSION_PREFIX = "x-"

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")


class Position(NamedTuple):
    """A place in a file, counted from 1; line 0 means no place in particular."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar: the characters as written, and whether they stood without quotes.

    What they mean is asked by whoever reads them: for a tag, ``1.20`` is text. The type of a plain scalar follows
    YAML 1.2's core schema, less octal and hexadecimal numbers and numbers with leading zeros, of which readers of
    YAML 1.1 and 1.2 disagree.
    """

    text: str
    plain: bool
    position: Position

    @property
    def is_null(self) -> bool:
        """Whether nothing is said."""
        return self.plain and self.text in _NULL

    @property
    def flag(self) -> bool | None:
        """The truth value; None if the scalar is none."""
        if not self.plain:
            return None
        return True if self.text in _TRUE else False if self.text in _FALSE else None

    @property
    def integer(self) -> int | None:
        """The whole number; None if the scalar is none."""
        return int(self.text) if self.plain and _INTEGER.fullmatch(self.text) else None

    @property
    def number(self) -> float | None:
        """The number; None if the scalar is none."""
        return float(self.text) if self.plain and _FLOAT.fullmatch(self.text) else None

    def with_text(self, text: str) -> Scalar:
        """Return a scalar in the same place that says ``text``."""
        return replace(self, text=text)


class Table(dict[str, object]):
    """A mapping. ``keys_at`` has the place of each key."""

    __slots__ = ("keys_at", "position")

    def __init__(self, position: Position) -> None:
        super().__init__()
        self.position = position
        self.keys_at: dict[str, Position] = {}

    def put(self, key: str, value: object, position: Position) -> None:
        """Set ``key``, which stands at ``position``, to ``value``."""
        self[key] = value
        self.keys_at[key] = position


class Items(list[object]):
    """A list."""

    __slots__ = ("position",)

    def __init__(self, position: Position, items: Iterable[object] = ()) -> None:
        super().__init__(items)
        self.position = position


def describe(value: object) -> str:
    """Return what kind of value this is, in words, without showing it."""
    if isinstance(value, Scalar):
        return "nothing" if value.is_null else "text"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else "nothing"


def place_of(value: object) -> Position | None:
    """Return where a value stands; None for one that did not come from a file."""
    return value.position if isinstance(value, (Scalar, Table, Items)) else None


def locate(root: object, path: Iterable[str | int]) -> tuple[Position, str]:
    """Return the place and the name (``rules[0].schedule``) of what ``path`` leads to.

    A key's place is that of the key. Where the path leads out of the tree, because a key is missing or a scalar
    stands for a mapping, the place is that of the last value on it; a missing key is still part of the name.
    """
    position = place_of(root) or Position(1, 1)
    name = ""
    for step in path:
        if isinstance(root, Table) and isinstance(step, str):
            name = _join(name, step)
            if step not in root:
                break
            position, root = root.keys_at[step], root[step]
        elif isinstance(root, Items) and isinstance(step, int) and step < len(root):
            name, root = f"{name}[{step}]", root[step]
            position = place_of(root) or position
        else:
            break
    return position, name


def _join(name: str, key: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", key):
        return f'{name}["{key}"]'
    return f"{name}.{key}" if name else key
