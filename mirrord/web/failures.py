"""Every exception as an answer of one shape, without a word of where in the program it came from."""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mirrord.errors import MirrordError, StateError, UsageError, quote
from mirrord.web.answers import HttpError, error_answer


def answer_to(error: Exception) -> Response:
    """Return the answer to a request that ended with an exception."""
    known = _as_http(error)
    return error_answer(known, known.status, known.headers)


def _as_http(error: Exception) -> HttpError:
    if isinstance(error, HttpError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_status(error)
    if isinstance(error, MirrordError):
        status = 400 if isinstance(error, UsageError) else 503 if isinstance(error, StateError) else 500
        return HttpError(status, error.message, code=error.code, remedy=error.remedy)
    return HttpError(
        500, "the service failed to answer", code="INTERNAL_ERROR", remedy="report it, with what the log says"
    )


def _invalid(error: RequestValidationError) -> HttpError:
    """Name the parameters that cannot be used, with what was expected of each."""
    faults = [f"{quote(str(fault['loc'][-1]), 60)}: {quote(str(fault['msg']))}" for fault in error.errors()[:5]]
    return HttpError(
        400, "; ".join(faults), code="PARAMETER_INVALID", remedy="see /api/v1/openapi.json for what can be asked"
    )


def _of_status(error: HTTPException) -> HttpError:
    if error.status_code == 404:  # noqa: PLR2004 - as HTTP has it
        return HttpError(404, "there is nothing at this path", code="PATH_NOT_FOUND", remedy="see /api/v1/openapi.json")
    if error.status_code == 405:  # noqa: PLR2004 - as HTTP has it
        return HttpError(
            405,
            "this path does not serve this method",
            code="METHOD_NOT_ALLOWED",
            remedy="see /api/v1/openapi.json",
            headers=error.headers,
        )
    return HttpError(error.status_code, str(error.detail), code="REQUEST_INVALID", headers=error.headers)
