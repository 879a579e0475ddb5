"""How a validator says what is wrong: a code, a message, and where below its own value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic_core import PydanticCustomError

from mirrord.errors import MirrordError

T = TypeVar("T")
Path = tuple[str | int, ...]


def fault(code: str, message: str, at: Path = ()) -> PydanticCustomError:
    """Return the error to raise in a validator; ``at`` leads from the validated value to the faulty one."""
    # The message is an argument and not the template: pydantic would look for placeholders in its braces.
    return PydanticCustomError(code, "{message}", {"message": message, "at": at})


def parsed(parse: Callable[[str], T], text: str) -> T:
    """Return ``parse(text)``, its error told as a fault of the configuration."""
    try:
        return parse(text)
    except MirrordError as exc:
        raise fault(exc.code, f"{exc.message}; {exc.remedy}" if exc.remedy else exc.message) from None
