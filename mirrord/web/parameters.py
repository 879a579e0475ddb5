"""Parameters of requests, read strictly: what is not known or not plain is refused, never guessed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Path, Query, Request
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from starlette.datastructures import QueryParams

from mirrord.errors import quote
from mirrord.planning.memory import ImageState
from mirrord.web.answers import HttpError

MOST = 500
"""So many rows a page has at most."""

_DIGITS = re.compile("[0-9]{1,3}", re.ASCII)
_TEXT = r"^[^\x00-\x1f\x7f]*$"


def _plain_number(value: object) -> object:
    """Take decimal digits alone: the general rules would read ``5.0`` and ``1_0`` too."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise PydanticCustomError("plain_number", "expected a number from 1 to 500")
    return value


Limit = Annotated[int, BeforeValidator(_plain_number), Query(ge=1, le=MOST, description="The most rows of the page.")]
After = Annotated[
    str | None, Query(max_length=2048, pattern=_TEXT, description="Go on after this: the `next` of the page before.")
]
RuleFilter = Annotated[str | None, Query(min_length=1, max_length=63, pattern=_TEXT, description="Of this rule alone.")]
StateFilter = Annotated[list[ImageState] | None, Query(max_length=16, description="In one of these states.")]
Search = Annotated[
    str, Query(max_length=300, pattern=_TEXT, description="Text that source, tag, target or digest contain.")
]
RuleName = Annotated[str, Path(max_length=63, pattern=_TEXT)]
RunId = Annotated[str, Path(max_length=100, pattern=_TEXT)]


def allow(*names: str, repeated: str = "") -> Callable[[Request], Awaitable[None]]:
    """Return a check that refuses parameters of other names, and two of a name but for ``repeated``."""

    async def check(request: Request) -> None:
        _check(request.query_params, names, repeated)

    return check


def _check(query: QueryParams, names: tuple[str, ...], repeated: str) -> None:
    for name in query:
        if name not in names:
            known = f"known are {', '.join(names)}" if names else "none is known here"
            raise HttpError(
                400, f'"{quote(name, 60)}" is no parameter; {known}', code="PARAMETER_INVALID", remedy="leave it out"
            )
        if name != repeated and len(query.getlist(name)) > 1:
            raise HttpError(400, f'"{name}" stands twice', code="PARAMETER_INVALID", remedy="give it once")
