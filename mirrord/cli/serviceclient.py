"""Asks a running service, with deadlines and bounds, over no proxy and to no other place than was named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.errors import MirrordError, StartupError, UsageError, quote

if TYPE_CHECKING:
    from http.client import HTTPResponse

DEADLINE_S = 5.0
LARGEST_ANSWER = 64 * 1024 * 1024

_DEFAULT = "127.0.0.1:8080"
_PIECE = 1024 * 1024
_GRACE_S = 0.5
"""So much longer the thread has, which knows better what went wrong."""
_LARGEST_TOKEN = 4096
_HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not listened on

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The address of the service; by default that of MIRRORD_LISTEN."),
]


class ServiceUnreachableError(MirrordError):
    """No service answers at an address."""

    default_code = "SERVICE_UNREACHABLE"


class ServiceForeignError(MirrordError):
    """What answers is no mirrord, or is one that cannot answer."""

    default_code = "SERVICE_FOREIGN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service answered. ``body`` is its JSON; None: it is none."""

    status: int
    body: object


def service_url(url: str | None, environment: Mapping[str, str]) -> str:
    """Return the address of the service, without a slash at its end.

    Raises:
        UsageError: it cannot be read (URL_INVALID).
    """
    from urllib.parse import urlsplit

    shown = url or f"http://{_listening(environment.get('MIRRORD_LISTEN') or _DEFAULT)}"
    try:
        parts = urlsplit(shown)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_good = is_good and parts.username is None and not parts.query and not parts.fragment
    except ValueError:
        is_good = False
    if not is_good or not shown.isascii() or not shown.isprintable() or " " in shown:
        raise UsageError(
            f"the address of the service cannot be read: {quote(_without_user(shown), 100)}",
            code="URL_INVALID",
            remedy="write it as http://127.0.0.1:8080",
        )
    return shown.rstrip("/")


def ask(base: str, path: str, environment: Mapping[str, str]) -> Answer:
    """Return what the service at ``base`` answers to GET. The token goes along where the environment names its file.

    Raises:
        StartupError: the token file cannot be read.
        ServiceUnreachableError: nothing answers in time.
        ServiceForeignError: the answer is too large, or leads elsewhere.
    """
    import threading

    found: list[Answer | Exception] = []

    def work() -> None:
        try:
            found.append(_exchange(base, path, environment))
        except Exception as exc:  # noqa: BLE001 - raised by the thread that waits
            found.append(exc)

    # No timeout of a socket bounds the whole: neither a slow resolver nor a head that comes byte by byte.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(DEADLINE_S + _GRACE_S)
    if not found:
        raise ServiceUnreachableError(
            f"no whole answer came from {base} within {DEADLINE_S:g} s",
            remedy="look at its log, or give another address with --url",
        )
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _exchange(base: str, path: str, environment: Mapping[str, str]) -> Answer:
    import http.client
    import time
    from urllib.error import URLError
    from urllib.request import HTTPErrorProcessor, ProxyHandler, Request, build_opener

    class AsTheyAre(HTTPErrorProcessor):
        """Returns every answer: none is followed elsewhere with the token, none is an exception."""

        def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
            del request
            return response

        https_response = http_response

    headers = {"Accept": "application/json", "User-Agent": "mirrord"}
    token = _token(environment)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    deadline = time.monotonic() + DEADLINE_S
    try:
        request = Request(base + path, headers=headers)  # noqa: S310 - http and https alone, see service_url
        with build_opener(ProxyHandler({}), AsTheyAre).open(request, timeout=DEADLINE_S) as answer:
            content = bytearray()
            while piece := answer.read1(_PIECE):
                content += piece
                if len(content) > LARGEST_ANSWER:
                    raise ServiceForeignError(f"{base} answers more than {LARGEST_ANSWER} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no whole answer within {DEADLINE_S:g} s")
            return Answer(status=answer.status, body=_json(bytes(content)))
    except http.client.HTTPException as exc:
        raise ServiceForeignError(
            f"what answers at {base} speaks no HTTP ({type(exc).__name__})",
            remedy="give the service's address with --url",
        ) from exc
    except OSError as exc:
        reason = exc.reason if isinstance(exc, URLError) else exc
        told = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        raise ServiceUnreachableError(
            f"no service answers at {base}: {quote(told or type(reason).__name__)}",
            remedy="start it with `mirrord sync -c FILE`, or give its address with --url",
        ) from exc


def service_status(base: str, environment: Mapping[str, str]) -> Mapping[str, object]:
    """Return the whole status of the service.

    Raises:
        MirrordError: it cannot be had; the message says why.
    """
    answer = ask(base, "/api/v1/status", environment)
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status == 200 and isinstance(body.get("verdict"), dict) and isinstance(body.get("rules"), list):  # noqa: PLR2004
        return body
    error = body.get("error")
    if isinstance(error, dict) and isinstance(error.get("code"), str) and error["code"].isupper():
        remedy = str(error.get("remedy", ""))
        if answer.status == 401:  # noqa: PLR2004 - as HTTP has it
            remedy = "set MIRRORD_API_TOKEN_FILE to the file with the service's token"
        raise MirrordError(
            f"{base}: {quote(str(error.get('message', '')))}", code=quote(error["code"], 40), remedy=quote(remedy)
        )
    raise ServiceForeignError(
        f"what answers at {base} is no service of mirrord ({answer.status})",
        remedy="give the service's address with --url",
    )


def _listening(listen: str) -> str:
    """Return where one reaches a service on this machine that listens there."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    host = _HERE.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _token(environment: Mapping[str, str]) -> str:
    from pathlib import Path

    file = environment.get("MIRRORD_API_TOKEN_FILE")
    if not file:
        return ""
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(_LARGEST_TOKEN).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        why = getattr(exc, "strerror", None) or "it is no plain text"
        raise StartupError(
            f"the file {quote(file)} (MIRRORD_API_TOKEN_FILE) cannot be read: {why}", code="TOKEN_FILE_UNREADABLE"
        ) from exc
    return text if text.isprintable() else ""


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _without_user(url: str) -> str:
    """Return an address without what stands before its host, which may be a password."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2]
