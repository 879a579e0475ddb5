"""The bodies of error answers, read without trust.

They come as OCI error lists, bare objects, HTML of proxies, plain text or not at all; none of that may ever raise.
Shown is one short line: control characters escaped, secrets and file paths of the server left out.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mirrord.errors import QUOTE_LIMIT, quote
from mirrord.registry.redact import redact_text

LONGEST_BODY: Final = 64 * 1024
"""No more of an error body is looked at."""

_MOST_ERRORS: Final = 16
_MOST_SHOWN: Final = 3
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{1,63}")
_CODE_IN_TEXT: Final = re.compile(r'"code"\s{0,4}:\s{0,4}"([A-Z][A-Z0-9_]{1,63})"')
_TITLE: Final = re.compile(r"<title[^<>]{0,200}>([^<]{0,500})", re.IGNORECASE)
_UNSEEN: Final = re.compile(r"<(script|style)\b[^<]*+(?:(?!</\1)<[^<]*+)*+(?:</\1[^<>]*+>|\Z)", re.IGNORECASE)
_MARKUP: Final = re.compile(r"<[^<>]*+>?")
_SERVER_PATH: Final = re.compile(
    r"(?<![\w/.:-])/(?:data|etc|home|mnt|opt|private|root|srv|storage|tmp|usr|var)/[^\s\"',:;)]*+"
)
_NO_SPACE: Final = re.compile(
    rb'no space left on device|ENOSPC|"Err":\s{0,2}28\b|insufficient storage|disk quota exceeded', re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """What an error body says.

    Attributes:
        codes: the error codes in their order, upper case as the OCI ones are, each once.
        text: everything that was said, for looking up words in it; never for showing.
        excerpt: one line fit for a message, at most 200 characters; empty if the body says nothing.
        storage_full: it tells that the registry's storage is full.
    """

    codes: tuple[str, ...] = ()
    text: str = ""
    excerpt: str = ""
    storage_full: bool = False


def read_error_body(body: bytes) -> ErrorBody:
    """Return what ``body`` says; it may be of any form, and cut off."""
    body = body[:LONGEST_BODY]
    storage_full = _NO_SPACE.search(body) is not None
    text = body.decode("utf-8", "replace").strip()
    entries = list(_entries(_json(text)))[:_MOST_ERRORS]
    if entries:
        codes = tuple(dict.fromkeys(code.upper() for code, _ in entries if code))
        said = [": ".join(part for part in (code, message) if part) for code, message in entries]
        text = "; ".join(said)
        shown = "; ".join(dict.fromkeys(said[:_MOST_SHOWN]))
    else:
        is_json = text[:1] in ("{", "[")  # cut off or broken: its codes can still be found, the rest is not shown
        codes = tuple(dict.fromkeys(_CODE_IN_TEXT.findall(text)[:_MOST_ERRORS])) if is_json else ()
        shown = "" if is_json else _plain(text)
    return ErrorBody(codes=codes, text=text, excerpt=_excerpt(shown), storage_full=storage_full)


def _json(text: str) -> object:
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _entries(value: object) -> Iterator[tuple[str, str]]:
    """Yield (code, message) of every error that a JSON body tells in one of the known shapes."""
    match value:
        case list():
            for item in value[:_MOST_ERRORS]:
                yield from _entry(item)
        case {"errors": list() as items}:
            for item in items[:_MOST_ERRORS]:
                yield from _entry(item)
        case {"errors": item} if item:
            yield from _entry(item)
        case _:
            yield from _entry(value)


def _entry(item: object) -> Iterator[tuple[str, str]]:
    match item:
        case str():
            yield "", item
        case {"error": {**nested}}:
            yield from _entry(nested)
        case dict():
            code = _first_text(item, "code", "error", "errorCode", "__type")
            message = _first_text(item, "message", "error_description", "details", "detail", "title", "error")
            if code and not _CODE.fullmatch(code):
                code, message = "", message or code
            if code or message:
                yield code, "" if message == code else message
        case _:
            return


def _first_text(item: Mapping[object, object], *names: str) -> str:
    """Return the first of these members that is text; a ``detail`` object is the server's own affair (paths, SQL)."""
    return next((text for name in names if isinstance(text := item.get(name), str) and text), "")


def _plain(text: str) -> str:
    """Return text or HTML as what a reader would see of it; of HTML the title if there is one."""
    if "<" not in text:
        return text
    title = _TITLE.search(text)
    if title and title[1].strip():
        return html.unescape(title[1])
    return html.unescape(_MARKUP.sub(" ", _UNSEEN.sub(" ", text)))


def _excerpt(text: str) -> str:
    line = " ".join(text[: 8 * QUOTE_LIMIT].split())
    shown = quote(_SERVER_PATH.sub("[path]", redact_text(line)), QUOTE_LIMIT)
    return shown if len(shown) <= QUOTE_LIMIT else f"{shown[: QUOTE_LIMIT - 3]}..."  # escapes make it longer again
