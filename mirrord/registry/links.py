"""The headers that tell where more is, and how much of something there is: Link, Content-Range, Range."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mirrord.errors import AddressRefusedError, ListingIncompleteError, quote
from mirrord.registry.origin import resolve

LONGEST_HEADER = 64 * 1024
"""All Link lines of an answer together have at most this many characters."""

_PARAMETER = re.compile(
    r"\s*+;\s*+(?P<name>[^\s=;,<>\"]++)\s*+(?:=\s*+(?:\"(?P<quoted>(?:[^\"\\]++|\\.)*+)\"?|(?P<bare>[^\s;,\"]*+)))?",
    re.DOTALL,
)
_CONTENT_RANGE = re.compile(r"bytes[ =]\s*+(\d{1,19})\s*+-\s*+(\d{1,19})(?:\s*+/\s*+(\d{1,19}|\*))?", re.IGNORECASE)
_UPLOAD_RANGE = re.compile(r"(?:bytes\s*+[=:]?\s*+)?0\s*+-\s*+(\d{1,19})", re.IGNORECASE)
_MOST_LINKS = 32
_SHOWN = 80


def next_link(header_values: Sequence[str], request_url: str) -> str | None:
    """Return the URL of the next page, resolved against the request's; None on the last page.

    Follows RFC 8288 with tolerance: parameters without quotes, raw characters in the target, several links. A link
    without any ``rel`` counts as the next page if no other does. The query stays byte for byte. The URL is still to
    be judged (`origin.judge`, at the door LINK).

    Raises:
        ListingIncompleteError: there is a Link header that cannot be read; it may be the way to more tags.
        AddressRefusedError: the target is no URL that can be used (LINK_UNTRUSTED).
    """
    values = [value for value in header_values if value.strip()]
    if not values:
        return None
    if sum(len(value) for value in values) > LONGEST_HEADER:
        raise ListingIncompleteError(f"the Link header is longer than {LONGEST_HEADER} characters")
    links = [link for value in values for link in _parse_links(value)]
    if not links or len(links) > _MOST_LINKS:
        raise ListingIncompleteError(f'the Link header "{quote(values[0], _SHOWN)}" cannot be read')
    targets = [target for target, rel in links if rel is not None and "next" in rel.lower().split()]
    targets += [target for target, rel in links if rel is None]
    if not targets:
        return None
    try:
        return resolve(request_url, targets[0])
    except AddressRefusedError as exc:
        raise AddressRefusedError(f"the next page of a listing: {exc.message}", code="LINK_UNTRUSTED") from exc


def linked(header_values: Sequence[str], rel: str) -> str | None:
    """Return the target of the first link of a relation ("last" for instance), as it stands; None where there is none.

    Nothing but a hint: a header that cannot be read tells nothing here.
    """
    if sum(len(value) for value in header_values) > LONGEST_HEADER:
        return None
    links = [link for value in header_values for link in _parse_links(value)]
    return next((target for target, found in links if rel in (found or "").lower().split()), None)


def content_range(value: str) -> tuple[int, int, int | None] | None:
    """Return (first, last, total) of a Content-Range header, positions inclusive; None if it tells no range.

    ``total`` is None if the server does not know it. Source: RFC 9110 section 14.4.
    """
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = int(match[3]) if match[3] not in (None, "*") else None
    if last < first or (total is not None and last >= total):
        return None
    return first, last, total


def upload_range(value: str) -> int | None:
    """Return the last byte that an upload session holds by its Range header (``0-N`` or ``bytes=0-N``), or None.

    ``0-0`` means zero or one byte, depending on the registry: callers keep a count of their own.
    """
    match = _UPLOAD_RANGE.fullmatch(value.strip())
    return int(match[1]) if match else None


def _parse_links(value: str) -> list[tuple[str, str | None]]:
    """Return (target, rel) of each link; rel is None where there is none, and the first one counts."""
    links: list[tuple[str, str | None]] = []
    at = value.find("<")
    while at >= 0 and len(links) <= _MOST_LINKS:
        end = value.find(">", at)
        if end < 0:
            break
        target, rel = value[at + 1 : end].strip(), None
        at = end + 1
        while (match := _PARAMETER.match(value, at)) is not None:
            if rel is None and match["name"].lower() == "rel":
                text = match["quoted"] if match["quoted"] is not None else match["bare"]
                rel = text or ""
            at = match.end()
        links.append((target, rel))
        at = value.find("<", at)
    return links
