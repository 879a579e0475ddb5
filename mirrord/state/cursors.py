"""Where a page ends and the next begins, as text that its reader hands back and need not understand."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

from mirrord.errors import UsageError

_LONGEST = 16_384


def encode(values: Sequence[str]) -> str:
    """Return the cursor for a row by the values that it is sorted by."""
    text = json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, count: int) -> list[str]:
    """Return the ``count`` values of a cursor.

    Raises:
        UsageError: it was not made here.
    """
    try:
        if len(cursor) > _LONGEST:
            raise ValueError
        values = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise _forged() from None
    if not isinstance(values, list) or len(values) != count or not all(map(_is_text, values)):
        raise _forged()
    return values


def _is_text(value: object) -> bool:
    """Say whether a value can stand in a column: JSON has halves of characters, which no column takes."""
    return isinstance(value, str) and value == value.encode("utf-8", "replace").decode()


def _forged() -> UsageError:
    return UsageError(
        "`after` is not what a page before said under `next`",
        code="CURSOR_INVALID",
        remedy="ask for the first page without `after`, and go on with its `next`",
    )
