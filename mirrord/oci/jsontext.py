"""JSON read strictly: hostile or ambiguous text is refused instead of guessed at.

Source: RFC 8259; what it leaves open (section 4: names that stand twice, section 8.2: half surrogate pairs) differs
between parsers, so that two readers of one manifest could see two images. Such text is refused here.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import accumulate
from typing import NoReturn

from mirrord.errors import InvalidManifestError, quote

MAX_DEPTH = 64
MAX_VALUES = 500_000
"""Three bytes of JSON can become an object of 64 bytes: the number of values is limited, not the size alone.

A manifest at the limits of mirrord (5,000 children with platform and annotations) has a fifth of that.
"""

_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_STRUCTURE = bytes(set(range(256)) - set(b'[{]}",'))
_LONGEST_INTEGER = 40
_SHOWN = 60


def parse_object(raw: bytes, what: str) -> dict[str, object]:
    """Return the JSON object that ``raw`` holds; ``what`` names it in errors.

    Integers without a plain value (``-0``, or more than 40 digits) come as floats.

    Raises:
        InvalidManifestError: not UTF-8 JSON (MANIFEST_NOT_JSON), nested deeper than 64 (JSON_TOO_DEEP), with more
            than 500,000 values (MANIFEST_TOO_LARGE), with one key twice (MANIFEST_DUPLICATE_KEY), or not an
            object (MANIFEST_INVALID).
    """
    _check_structure(raw, what)
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_int=_integer, parse_constant=_refuse_constant
        )
        if _HALF_PAIR.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except _RefusedError as exc:
        raise InvalidManifestError(f"{what}: {exc}", code=exc.code) from None
    except UnicodeEncodeError:
        raise InvalidManifestError(
            f"{what} has an escape for half a character, which is no text", code="MANIFEST_NOT_JSON"
        ) from None
    except ValueError as exc:
        raise InvalidManifestError(
            f'{what} is not JSON; it begins with "{quote(raw, _SHOWN)}"', code="MANIFEST_NOT_JSON"
        ) from exc
    if not isinstance(value, dict):
        raise InvalidManifestError(f"{what} is JSON, but not an object")
    return value


def check_keys(value: Collection[str], known: Mapping[str, str], where: str) -> None:
    """Refuse keys that differ in case alone from one that mirrord reads (``known``, by its case-folded form).

    Parsers that ignore the case of keys, as Go's encoding/json does, would read other content than was checked.

    Raises:
        InvalidManifestError: there is such a key (MANIFEST_AMBIGUOUS).
    """
    for key in value:
        name = known.get(key.casefold(), key)
        if name != key:
            raise InvalidManifestError(
                f'{where}: the key "{quote(key)}" is read by some as "{name}"', code="MANIFEST_AMBIGUOUS"
            )


def fold(*names: str) -> Mapping[str, str]:
    """Return the names by their case-folded form, for `check_keys`."""
    return {name.casefold(): name for name in names}


def _check_structure(raw: bytes, what: str) -> None:
    """Count values and depth before anything is built of them, in linear time and little memory.

    Without escapes, every second piece between quotes stands outside of strings. Where the text is no JSON, this
    may be wrong from the first fault on; the parser stops there.
    """
    unescaped = raw.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NO_STRUCTURE)
    strings = unescaped.count(b'"') // 2
    structure = b"".join(unescaped.split(b'"')[::2]) if strings <= MAX_VALUES else b""
    if strings > MAX_VALUES or len(structure) > MAX_VALUES:
        raise InvalidManifestError(f"{what} holds more than {MAX_VALUES} values", code="MANIFEST_TOO_LARGE")
    brackets = structure.translate(_STEPS, b",")
    if max(accumulate(array("b", brackets)), default=0) > MAX_DEPTH:
        raise InvalidManifestError(f"{what} nests deeper than {MAX_DEPTH} levels", code="JSON_TOO_DEEP")


class _RefusedError(ValueError):
    """Leaves the JSON parser with the code of the refusal."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _RefusedError(f'the key "{quote(twice)}" stands twice', "MANIFEST_DUPLICATE_KEY")
    return result


def _integer(text: str) -> int | float:
    return float(text) if text == "-0" or len(text) > _LONGEST_INTEGER else int(text)


def _refuse_constant(text: str) -> NoReturn:
    raise _RefusedError(f"{quote(text)} is no number of JSON", "MANIFEST_NOT_JSON")
