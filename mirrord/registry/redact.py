"""What is secret in a request, and taken out of what servers echo of it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from urllib.parse import quote as percent

from mirrord.ports.redaction import PLACEHOLDER, redact_text, redact_url

__all__ = ["PLACEHOLDER", "hide", "redact_text", "redact_url", "sent_secrets"]

_SHORTEST_SECRET = 4
_SECRET_HEADERS = ("-token", "-identity-header")


def hide(body: bytes, secrets: Iterable[str]) -> bytes:
    """Return what a server said, without the secrets that it was sent: some quote them, in whatever words."""
    for secret in secrets:
        if len(secret) < _SHORTEST_SECRET:
            continue  # it would stand in many words
        for form in {secret, json.dumps(secret)[1:-1], percent(secret, safe="")}:
            body = body.replace(form.encode(), PLACEHOLDER.encode())
    return body


def sent_secrets(headers: Mapping[str, str]) -> list[str]:
    """Return what is secret in the headers of a request that was sent, names in lower case: tokens, and passwords."""
    found = [value for name, value in headers.items() if name.endswith(_SECRET_HEADERS)]
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if text:
        found.append(text)
    if scheme.lower() == "basic":
        with suppress(binascii.Error, ValueError):
            found.append(base64.b64decode(text, validate=True).decode().partition(":")[2])
    return found
