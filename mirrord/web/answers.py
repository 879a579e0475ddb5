"""Answers of one shape: values of the core as JSON, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter
from starlette.responses import Response

from mirrord.errors import MirrordError
from mirrord.ports.service import Check

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)
"""What every answer is sent with that does not say otherwise."""


class HttpError(MirrordError):
    """A request that is not served. ``status`` is that of the answer, ``headers`` are added to it."""

    default_code = "REQUEST_INVALID"

    def __init__(
        self, status: int, message: str, *, code: str, remedy: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDetail:
    """Why a request was not served, and what to do about it. ``code`` is stable."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """The body of every answer that is no success."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthAnswer:
    """Whether all checks are well, and each of them."""

    ok: bool
    checks: tuple[Check, ...]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump(value: object, kind: object | None = None) -> bytes:
    """Return a value as JSON. ``kind`` is its type where the class does not say it all, as with tuples."""
    return _adapter(kind if kind is not None else type(value)).dump_json(value)


def json_answer(
    value: object, kind: object | None = None, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a value as an answer."""
    return Response(dump(value, kind), status_code=status, media_type="application/json", headers=headers)


def error_body(error: MirrordError) -> bytes:
    """Return an error as the body of an answer."""
    return dump(ErrorAnswer(error=ErrorDetail(code=error.code, message=error.message, remedy=error.remedy)))


def error_answer(error: MirrordError, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as an answer."""
    return Response(error_body(error), status_code=status, media_type="application/json", headers=headers)
