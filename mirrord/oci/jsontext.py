"""JSON read strictly: hostile or ambiguous text is refused instead of guessed at."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from mirrord.errors import InvalidManifestError, quote

MAX_DEPTH = 64
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SHOWN = 60


def parse_object(raw: bytes, what: str) -> dict[str, object]:
    """Return the JSON object that ``raw`` holds; ``what`` names it in errors.

    Raises:
        InvalidManifestError: not UTF-8 JSON (MANIFEST_NOT_JSON), nested deeper than 64 (JSON_TOO_DEEP), with one
            key twice (MANIFEST_DUPLICATE_KEY), or not an object (MANIFEST_INVALID).
    """
    _check_depth(raw, what)
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        if isinstance(exc.__cause__, InvalidManifestError):
            raise exc.__cause__ from None
        raise InvalidManifestError(
            f'{what} is not JSON; it begins with "{quote(raw[:_SHOWN], _SHOWN)}"', code="MANIFEST_NOT_JSON"
        ) from exc
    if not isinstance(value, dict):
        raise InvalidManifestError(f"{what} is JSON, but not an object")
    return value


def _check_depth(raw: bytes, what: str) -> None:
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for match in _STRINGS_AND_BRACKETS.finditer(raw):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidManifestError(f"{what} nests deeper than {MAX_DEPTH} levels", code="JSON_TOO_DEEP")
        elif token in (b"}", b"]"):
            depth -= 1


class _RefusalError(ValueError):
    """Carries an InvalidManifestError through the JSON parser."""

    def __init__(self, error: InvalidManifestError) -> None:
        super().__init__(str(error))
        self.__cause__ = error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusalError(
                    InvalidManifestError(f'the key "{quote(key)}" stands twice', code="MANIFEST_DUPLICATE_KEY")
                )
            seen.add(key)
    return result


def _refuse_constant(text: str) -> NoReturn:
    raise _RefusalError(InvalidManifestError(f"the number {quote(text)} is no JSON", code="MANIFEST_NOT_JSON"))
