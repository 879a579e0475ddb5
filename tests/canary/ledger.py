"""Who may see which secret, and who did: every request at every origin, and every text that a user can read.

Source: reliability page, rows A1 to A21.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import quote, quote_plus, unquote_plus

from mirrord.demo.registry.asgi import AsgiApp, Message, Receive, Scope, Send
from tests.fakes.wire import Witness

SHORTEST = 12
"""Characters. A secret of a test has as many at least, and so many of its end give it away."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that only some origins may see; ``origins`` empty: none at all.

    With ``in_urls`` it is a part of URLs: a signature for instance.
    """

    name: str
    text: str = field(repr=False)
    origins: frozenset[str] = frozenset()
    in_urls: bool = False

    def __post_init__(self) -> None:
        assert len(self.text) >= SHORTEST, f"{self.name} is too short to be looked for"

    def is_in(self, text: str) -> bool:
        """Say whether it stands in a text, in whatever form."""
        return any(form in text for form in forms(self.text))


@cache
def forms(secret: str) -> frozenset[str]:
    """Return what gives a secret away: itself and its end, escaped for URLs, in hex, and in base64 at any offset."""
    raw = {secret, secret[-SHORTEST:]}
    found = raw | {escaped for text in raw for escaped in (quote(text, safe=""), quote_plus(text))}
    found |= {secret.encode().hex(), repr(secret)[1:-1]}
    for before in range(3):  # bytes; characters that depend on what stands beside the secret are left out
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode()
        inner = encoded[-(before * -8 // 6) : (before + len(secret)) * 8 // 6]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return frozenset(form for form in found if len(form) >= SHORTEST)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived. ``origin`` is where the socket listens, whatever the request says."""

    origin: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytearray = field(default_factory=bytearray)

    def parts(self) -> list[tuple[str, str]]:
        """Return where something stands, and what: escaped as it came, and plain."""
        text = self.body.decode("latin-1")
        return [
            ("URL", f"{self.target}\n{unquote_plus(self.target)}"),
            *self.headers,
            ("body", text if "%" not in text and "+" not in text else f"{text}\n{unquote_plus(text)}"),
        ]


class Ledger(Witness):
    """Takes down requests, and sets a cookie in each answer: one of its own for each origin."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.cookies: dict[str, str] = {}

    def around(self, app: AsgiApp, origin: str) -> AsgiApp:
        """Return ``app`` under watch."""
        cookie = self.cookies[origin] = hashlib.sha256(f"cookie of {origin}".encode()).hexdigest()

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            query = scope.get("query_string", b"")
            target = scope.get("raw_path") or scope["path"].encode()
            seen = Seen(
                origin,
                scope["method"],
                (target + (b"?" + query if query else b"")).decode("latin-1"),
                tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
            )
            self.seen.append(seen)

            async def listening() -> Message:
                message = await receive()
                seen.body.extend(message.get("body", b""))
                return message

            async def answering(message: Message) -> None:
                if message["type"] == "http.response.start":
                    line = (b"set-cookie", f"session={cookie}; Path=/; Secure".encode())
                    message = {**message, "headers": [*message["headers"], line]}
                await send(message)

            await app(scope, listening, answering)

        return watched

    def at(self, origin: str) -> list[Seen]:
        """Return the requests that arrived at an origin."""
        return [seen for seen in self.seen if seen.origin == origin]

    def sightings(self, secrets: Iterable[Secret]) -> dict[str, set[str]]:
        """Return at which origins each secret was seen, by its name."""
        known, found = list(secrets), dict[str, set[str]]()
        for seen in self.seen:
            whole = "\n".join(text for _, text in seen.parts())
            for secret in known:
                if secret.is_in(whole):
                    found.setdefault(secret.name, set()).add(seen.origin)
        return found

    def leaks(self, secrets: Iterable[Secret]) -> list[str]:
        """Return each secret that came where it does not belong: to a wrong origin, or into a URL."""
        known = [*secrets, *(Secret(f"cookie of {origin}", text) for origin, text in self.cookies.items())]
        found = [
            f"{secret.name} reached {seen.origin} in {where} of {seen.method} {seen.target.partition('?')[0]}"
            for seen in self.seen
            for where, text in seen.parts()
            for secret in known
            if (seen.origin not in secret.origins or (where == "URL" and not secret.in_urls)) and secret.is_in(text)
        ]
        return list(dict.fromkeys(found))


def told(texts: Iterable[str], secrets: Iterable[Secret]) -> list[str]:
    """Return each secret that a text holds, with the text around it cut short."""
    known = list(secrets)
    return [f"{secret.name} is told: {text[:300]}" for text in texts for secret in known if secret.is_in(text)]
