"""Tokens as token services hand them out: any of the shapes in use, and how long they live.

Source: distribution, docs/content/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mirrord.errors import ProtocolViolationError

DEFAULT_LIFE_S = 60.0
LONGEST_TOLD_LIFE_S = 15 * 60.0
LONGEST_LIFE_S = 12 * 3600.0
USABLE_SHARE = 0.8

_JWT_PARTS = 3
_TOKEN_TEXT = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """What a token service answered: its status and its body, capped."""

    status: int
    body: bytes = field(repr=False)


class TokenFetcher(Protocol):
    """Asks a token service; checks first that the service may see this registry's credential."""

    async def __call__(self, *, method: str, url: str, headers: dict[str, str], content: bytes) -> TokenAnswer:
        """Carry out one request to a token service.

        Raises:
            AddressRefusedError: the realm is not one that may see the credential.
            RegistryError: there was no usable answer.
        """
        ...


@dataclass(slots=True)
class Token:
    """A token, and until when it is used, in monotonic seconds."""

    text: str = field(repr=False)
    good_until: float


def read_token(body: bytes, received: float, host: str) -> Token:
    """Read a token answer of any of the shapes in use; its life counts from receipt, on the monotonic clock."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    text = (fields.get("token") or fields.get("access_token")) if isinstance(fields, dict) else None
    if not isinstance(text, str) or not _TOKEN_TEXT.fullmatch(text):
        raise ProtocolViolationError(
            f"the token service of {host} answered without a usable token", host=host, code="TOKEN_INVALID"
        )
    life = fields.get("expires_in")
    if not isinstance(life, int | float) or isinstance(life, bool) or not 0 < life < math.inf:
        life = _told_life_s(text)
    return Token(text, received + min(life, LONGEST_LIFE_S) * USABLE_SHARE)


def _told_life_s(token: str) -> float:
    """Return the life that a JWT tells of itself, between its own two moments; what is no such token lives a minute.

    Nobody checks its signature here, so it is a hint: it is believed for no longer than `LONGEST_TOLD_LIFE_S`.
    """
    claims = read_claims(token)
    begins, ends = claims.get("iat"), claims.get("exp")
    if not isinstance(begins, int) or not isinstance(ends, int):
        return DEFAULT_LIFE_S
    return min(max(float(ends - begins), DEFAULT_LIFE_S), LONGEST_TOLD_LIFE_S)


def read_claims(token: str) -> Mapping[str, object]:
    """Return what a JWT says, unverified; nothing of one that cannot be read. Source: RFC 7519, section 3."""
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
