"""Where a page ends and the next begins, as text that its reader hands back and need not understand."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

from mirrord.errors import UsageError

_LONGEST = 4_096


def encode(values: Sequence[str]) -> str:
    """Return the cursor for a row by the values that it is sorted by."""
    return base64.urlsafe_b64encode(json.dumps(list(values)).encode()).decode().rstrip("=")


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
    if not isinstance(values, list) or len(values) != count or not all(isinstance(value, str) for value in values):
        raise _forged()
    return values


def _forged() -> UsageError:
    return UsageError(
        "`after` is not what a page before said under `next`",
        code="CURSOR_INVALID",
        remedy="ask for the first page without `after`, and go on with its `next`",
    )
