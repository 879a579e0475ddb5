"""Pushes metrics to a Prometheus Pushgateway, after a run that is over before anybody could scrape it."""

from __future__ import annotations

import base64
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import pushadd_to_gateway

from mirrord.errors import MirrordError, UsageError, quote
from mirrord.ports.redaction import redact_text, redact_url
from mirrord.telemetry.metrics import Metrics

DEADLINE_S: Final = 10.0
USERNAME: Final = "MIRRORD_PUSHGATEWAY_USERNAME"
PASSWORD_FILE: Final = "MIRRORD_PUSHGATEWAY_PASSWORD_FILE"  # noqa: S105 - the name of a variable

_Headers = Sequence[tuple[str, str]]


class PushgatewayError(MirrordError):
    """The Pushgateway did not take the metrics."""

    default_code = "PUSHGATEWAY_FAILED"
    default_remedy = "check that the address is that of a Pushgateway, and that it can be reached from here"


def push(
    url: str,
    metrics: Metrics,
    *,
    job: str = "mirrord",
    grouping: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Send mirrord's metrics to a Pushgateway, in place of those of the same names in the same group.

    What this run says nothing about stays as an earlier one left it: the last success, after a run that failed.

    Args:
        url: ``http[s]://host[:port][/path]``. A user in it is refused: command lines are seen by others.
        metrics: what to send, without the metrics of the process.
        job: the label ``job`` of the group.
        grouping: further labels of the group, ``{"instance": "ci-7"}`` for instance.
        environment: where user and password file are looked for, under the names above; None: that of the process.
        deadline_s: how long all of it may take.

    Raises:
        UsageError: the address cannot be used, or the password file cannot be read.
        PushgatewayError: the gateway cannot be reached, or refuses.
    """
    check_address(url)
    authorization = _authorization(os.environ if environment is None else environment)
    failures: list[Exception] = []

    def send() -> None:
        try:
            pushadd_to_gateway(
                url,
                job=job,
                registry=metrics.collector,
                grouping_key=dict(grouping or {}),
                timeout=deadline_s,
                handler=_handler(authorization),
            )
        except Exception as exc:  # noqa: BLE001 - raised below, in the caller's thread
            failures.append(exc)

    # The timeout of a socket begins anew with every byte: only a thread can be left behind when the whole is late.
    thread = threading.Thread(target=send, name="pushgateway", daemon=True)
    thread.start()
    thread.join(deadline_s)
    shown = f"push metrics to {redact_url(url)}"
    if thread.is_alive():
        raise PushgatewayError(f"{shown}: no answer within {deadline_s:g} s")
    if failures:
        raise PushgatewayError(f"{shown}: {_why(failures[0])}") from failures[0]


def check_address(url: str) -> None:
    """See that metrics could be sent there; no request is made.

    Raises:
        UsageError: it is no address of a Pushgateway, or has a user in it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise UsageError(f"{redact_url(url)} is no address of a Pushgateway") from None
    if "@" in parts.netloc:
        raise UsageError(
            f"the address of the Pushgateway has a user in it: {redact_url(url)}",
            remedy=f"set {USERNAME} and {PASSWORD_FILE} instead; command lines are seen by others",
        )
    if not usable or parts.query or parts.fragment:
        raise UsageError(
            f"{redact_url(url)} is no address of a Pushgateway", remedy="expected http[s]://host[:port][/path]"
        )


def _authorization(environment: Mapping[str, str]) -> str | None:
    """Return the value of the Authorization header; None where no user is set."""
    username, file = environment.get(USERNAME, ""), environment.get(PASSWORD_FILE, "")
    if not username and not file:
        return None
    if not username or not file:
        raise UsageError(f"{USERNAME} and {PASSWORD_FILE} go together, and one of them is not set")
    try:
        password = Path(file).read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as exc:
        raise UsageError(f"{PASSWORD_FILE} names {quote(file)}, which cannot be read as text") from exc
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _opener() -> urllib.request.OpenerDirector:
    """Return what sends requests, through a proxy of the environment, and takes a redirect for a failure.

    urllib would make a GET of a redirected POST, without the metrics, and call that a success.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _handler(authorization: str | None) -> Callable[..., Callable[[], None]]:
    """Return what sends one request for prometheus_client."""

    def prepare(url: str, method: str, timeout: float | None, headers: _Headers, data: bytes) -> Callable[[], None]:
        request = urllib.request.Request(url, data=data, method=method, headers=dict(headers))  # noqa: S310 - http or https: checked
        if authorization is not None:
            request.add_unredirected_header("Authorization", authorization)

        def send() -> None:
            with _opener().open(request, timeout=timeout):
                pass

        return send

    return prepare


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        with error:
            said = error.read(2000).decode("utf-8", "replace")
        return f"it answered {error.code}" + (f": {quote(redact_text(said.strip()))}" if said.strip() else "")
    if isinstance(error, urllib.error.URLError):
        return quote(redact_text(str(error.reason)))
    if isinstance(error, OSError | HTTPException | ValueError):
        return quote(redact_text(str(error) or type(error).__name__))
    return quote(redact_text(f"{type(error).__name__}: {error}"))
