"""Makes what goes into a log line harmless: no secret, no control character, no endless text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mirrord.errors import quote
from mirrord.ports.redaction import PLACEHOLDER, redact_text

LONGEST_TEXT: Final = 2_000
MOST_ITEMS: Final = 50

_LONGEST_READ: Final = 64 * 1024
_DEEPEST: Final = 4
_SECRET_KEY = re.compile(r"(?i)pass(?:word|wd)?$|secret|token|authorization|credential|api_?key|signature|cookie")

Clean = str | int | float | bool | None | list["Clean"] | dict[str, "Clean"]


def clean(value: object, *, key: str = "", depth: int = 0) -> Clean:
    """Return a value as it may stand in a line, under ``key``; what is nested deeper than ever used is left out."""
    if _SECRET_KEY.search(key) and value is not None and not isinstance(value, int | float):
        return PLACEHOLDER
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        items = list(value.items())[:MOST_ITEMS]
        return {clean_text(str(name)): clean(item, key=str(name), depth=depth + 1) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(item, depth=depth + 1) for item in list(value)[:MOST_ITEMS]]
    return clean_text(str(value))


def clean_text(text: str) -> str:
    """Return text without secrets, on one line, harmless to a terminal, and not too long."""
    return quote(redact_text(text[:_LONGEST_READ]), LONGEST_TEXT)
