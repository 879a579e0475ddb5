"""What is asked of a registry and what it answers, as values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypedDict
from urllib.parse import urlsplit

import httpx2

from mirrord.registry.origin import Door
from mirrord.registry.scopes import Scopes

ERROR_BODY_CAP = 64 * 1024
_OK = frozenset({200})
_COUNT = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A registry's answer, read to its end. ``url`` is where it came from, after redirects."""

    status: int
    headers: httpx2.Headers = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to ask. ``what`` says it in words for errors: "GET the manifest of x"; ``target`` is a path or a URL.

    ``ok`` are the statuses that the caller handles itself. ``limit`` caps the body; a longer one is an error.
    Without ``credential`` the call is anonymous; without ``follow`` a redirect is an answer like any other. ``door``
    says where a URL that is not the registry's own came from. ``secrets`` are those in its headers and content: what an
    answer quotes of them is not told. A ``metered`` call asks for a manifest: where the
    registry counts pulls, a GET is one, and every answer tells what is left.
    """

    method: str
    target: str = field(repr=False)
    what: str
    scopes: Scopes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)
    ok: Collection[int] = _OK
    limit: int = ERROR_BODY_CAP
    too_large_code: str = "BODY_TOO_LARGE"
    credential: bool = True
    follow: bool = True
    door: Door = Door.LINK
    metered: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)


class About(TypedDict):
    """The fields of a `RegistryError` that say which request it is about."""

    host: str
    method: str
    path: str
    status: int | None


def path_of(target: str) -> str:
    """Return the path of a path or URL: what an error may show, since queries hold signatures. Never raises."""
    try:
        return urlsplit(target).path
    except ValueError:  # a bracket without its like
        return ""


def count_of(header: str) -> int | None:
    """Return the number that a header such as Content-Length holds, or None if it holds none that can be meant."""
    return int(header) if _COUNT.fullmatch(header) else None
